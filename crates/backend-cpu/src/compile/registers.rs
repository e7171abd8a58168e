//! Allocation of registers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::compute::Register;

/// The registers of a kernel.
#[derive(Default)]
pub(super) struct Registers {
    count: u32,
    free: Vec<Register>,
    /// The first register of each free pair.
    free_pairs: Vec<Register>,
    /// Registers in use with their end, first register and count; the earliest end comes first.
    live: BinaryHeap<Reverse<(u32, Register, u32)>>,
}

impl Registers {
    /// Allocates `size` consecutive registers that are never freed.
    pub(super) fn fix(&mut self, size: u32) -> Register {
        self.count += size;
        self.count - size
    }

    /// Allocates one register, or two consecutive ones, until event `end` is over.
    pub(super) fn take(&mut self, size: u32, end: u32) -> Register {
        let free = if size == 1 { self.free.pop() } else { self.free_pairs.pop() };
        let register = free.unwrap_or_else(|| self.fix(size));
        self.live.push(Reverse((end, register, size)));
        register
    }

    /// Frees the registers that are not needed after event `now`.
    pub(super) fn expire(&mut self, now: u32) {
        while let Some(Reverse((end, register, size))) = self.live.peek().copied()
            && end <= now
        {
            self.live.pop();
            if size == 1 { self.free.push(register) } else { self.free_pairs.push(register) }
        }
    }

    /// Returns the number of registers.
    pub(super) fn count(&self) -> usize {
        self.count as usize
    }
}
