//! Gives out registers and takes them back.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::compute::Register;

/// The registers of a kernel.
#[derive(Default)]
pub(super) struct Registers {
    count: u32,
    free: Vec<Register>,
    /// The first of two.
    free_pairs: Vec<Register>,
    /// Registers in use, one or two from each on, those first that are given back first.
    live: BinaryHeap<Reverse<(u32, Register, u32)>>,
}

impl Registers {
    /// So many registers, one behind the other, that are never given back.
    pub(super) fn fix(&mut self, size: u32) -> Register {
        self.count += size;
        self.count - size
    }

    /// One register, or two one behind the other, until event `end` is over.
    pub(super) fn take(&mut self, size: u32, end: u32) -> Register {
        let free = if size == 1 { self.free.pop() } else { self.free_pairs.pop() };
        let register = free.unwrap_or_else(|| self.fix(size));
        self.live.push(Reverse((end, register, size)));
        register
    }

    /// Takes back what nothing needs after event `now`.
    pub(super) fn expire(&mut self, now: u32) {
        while let Some(Reverse((end, register, size))) = self.live.peek().copied()
            && end <= now
        {
            self.live.pop();
            if size == 1 { self.free.push(register) } else { self.free_pairs.push(register) }
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count as usize
    }
}
