//! Which process a device is of: one that was forked has none of its parent's threads.

use crate::error::{DeviceError, Error};

/// A process: threads do not follow into one that is forked from it, and whoever waited there for one would wait for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(u32);

impl Process {
    /// Returns the current process. On WebAssembly, which has no processes, all are equal.
    pub fn current() -> Self {
        Self(if cfg!(target_family = "wasm") { 0 } else { std::process::id() })
    }

    /// Whether it is this one.
    pub fn is_current(self) -> bool {
        self == Self::current()
    }

    /// Refuses to go on in another process.
    ///
    /// # Errors
    /// `FG0604`: what is there of the device is its parent's.
    pub fn check(self) -> Result<(), Error> {
        if self.is_current() {
            return Ok(());
        }
        Err(DeviceError::Lost("a fork: a device is its process's own, open another").into())
    }
}
