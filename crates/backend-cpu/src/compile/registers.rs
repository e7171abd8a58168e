//! Gives out registers and takes them back.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::compute::Register;

/// The registers of a kernel.
#[derive(Default)]
pub(super) struct Registers {
    count: u32,
    free: Vec<Register>,
    /// Registers in use, those first that are given back first.
    live: BinaryHeap<Reverse<(u32, Register)>>,
}

impl Registers {
    /// A register that is never given back.
    pub(super) fn fix(&mut self) -> Register {
        self.count += 1;
        self.count - 1
    }

    /// A register until event `end` is over.
    pub(super) fn take(&mut self, end: u32) -> Register {
        let register = self.free.pop().unwrap_or_else(|| self.fix());
        self.live.push(Reverse((end, register)));
        register
    }

    /// Takes back what nothing needs after event `now`.
    pub(super) fn expire(&mut self, now: u32) {
        while let Some(Reverse((end, register))) = self.live.peek().copied()
            && end <= now
        {
            self.live.pop();
            self.free.push(register);
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count as usize
    }
}
