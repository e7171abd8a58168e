//! The trap that a launch reports: the first of all workers.

use std::sync::{Mutex, PoisonError};

use fulgurite_hal::DeviceError;

/// The first trap of a launch.
pub(crate) struct Trap {
    /// The number of invocations along x and y.
    size: [u32; 2],
    /// The trap code and the flattened invocation.
    first: Mutex<Option<(u32, u32)>>,
}

impl Trap {
    /// Creates the state of a launch with `size` invocations along x and y, modulo 2³², and without a trap.
    pub(crate) fn new(size: [u32; 2]) -> Self {
        Self { size, first: Mutex::new(None) }
    }

    /// Records a trap of the invocation with this global id, unless there is an earlier one.
    pub(crate) fn record(&self, code: u32, [x, y, z]: [u32; 3]) {
        let [width, height] = self.size;
        let invocation = z.wrapping_mul(height).wrapping_add(y).wrapping_mul(width).wrapping_add(x);
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((code, invocation));
    }

    /// Returns the error of the launch, if it trapped.
    pub(crate) fn error(&self) -> Option<DeviceError> {
        let first = *self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.map(|(code, invocation)| DeviceError::Trap { code, invocation })
    }
}
