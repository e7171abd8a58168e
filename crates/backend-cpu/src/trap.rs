//! What a launch's `trap`s report: the first of all workers.

use std::sync::{Mutex, PoisonError};

use fulgurite_hal::DeviceError;

/// The first trap of a launch.
pub(crate) struct Trap {
    /// Invocations along x and y.
    size: [u32; 2],
    /// Code and flattened invocation.
    first: Mutex<Option<(u32, u32)>>,
}

impl Trap {
    /// None yet, in a launch of so many invocations along x and y, modulo 2³².
    pub(crate) fn new(size: [u32; 2]) -> Self {
        Self { size, first: Mutex::new(None) }
    }

    /// Records a trap of the invocation with this global id, unless there was one before.
    pub(crate) fn record(&self, code: u32, [x, y, z]: [u32; 3]) {
        let [width, height] = self.size;
        let invocation = z.wrapping_mul(height).wrapping_add(y).wrapping_mul(width).wrapping_add(x);
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((code, invocation));
    }

    /// What the launch fails with, if it trapped.
    pub(crate) fn error(&self) -> Option<DeviceError> {
        let first = *self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.map(|(code, invocation)| DeviceError::Trap { code, invocation })
    }
}
