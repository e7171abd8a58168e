//! Native code on machines without an emitter: there is none.

use std::sync::Arc;

use fulgurite_hal::{Error, Launch};
use fulgurite_ir::VerifiedKernel;

use crate::memory::NativeBuffer;
use crate::poll::Stop;
use crate::{Interpreted, Native};

/// A kernel as native code; it has no values.
pub(crate) enum NativeKernel {}

impl NativeKernel {
    /// Returns the largest number of words of a buffer that the code accesses.
    pub(crate) fn most_words(&self) -> usize {
        match *self {}
    }

    /// Runs a launch to its end.
    pub(crate) fn run(
        &self,
        _launch: &Launch,
        _buffers: &[NativeBuffer<'_>],
        _stop: &Stop,
    ) -> Result<(), Error> {
        match *self {}
    }
}

/// Returns the code that `native` selects on this machine.
pub(crate) fn selected(_native: Native) -> Native {
    Native::Interpreter
}

/// Returns the number of lanes of a vector, which does not exist here.
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
