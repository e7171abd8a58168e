//! Native code on machines without an emitter: there is none.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use fulgurite_hal::{Error, Launch};
use fulgurite_ir::VerifiedKernel;

use crate::poll::Stop;
use crate::{Interpreted, Native};

/// The largest number of words of a buffer that native code accesses.
pub(crate) const MAX_WORDS: usize = i32::MAX as usize;

/// A kernel as native code; it has no values.
pub(crate) enum NativeKernel {}

impl NativeKernel {
    /// Runs a launch to its end.
    pub(crate) fn run(&self, _launch: &Launch, _buffers: &[&[AtomicU32]], _stop: &Stop) -> Result<(), Error> {
        match *self {}
    }
}

/// Returns the code that `native` selects on this machine.
pub(crate) fn selected(_native: Native) -> Native {
    Native::Interpreter
}

/// Returns the number of lanes of a vector: there is none.
pub(crate) fn lanes(_native: Native) -> Option<u32> {
    None
}

/// Generates the code of a kernel.
pub(crate) fn machine_code(_kernel: &VerifiedKernel, _native: Native) -> Result<Vec<u8>, Interpreted> {
    Err(Interpreted::Machine)
}

/// Compiles a kernel to native code.
pub(crate) fn compile(_kernel: &Arc<VerifiedKernel>, _native: Native) -> Option<NativeKernel> {
    None
}
