//! The process that a device belongs to: a forked process has none of its parent's threads.

use crate::error::{DeviceError, Error};

/// A process. Threads do not survive a fork, so waiting in the child for a thread of its parent would never end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(u32);

impl Process {
    /// Returns the current process. On WebAssembly, which has no processes, all are equal.
    pub fn current() -> Self {
        Self(if cfg!(target_family = "wasm") { 0 } else { std::process::id() })
    }

    /// Returns whether this is the current process.
    pub fn is_current(self) -> bool {
        self == Self::current()
    }

    /// Refuses to continue in another process.
    ///
    /// # Errors
    /// `FG0604`: the device belongs to the parent process.
    pub fn check(self) -> Result<(), Error> {
        if self.is_current() {
            return Ok(());
        }
        Err(DeviceError::Lost("a fork: a device is its process's own, open another").into())
    }
}
