//! The memory that a launch sees: buffers, the workgroup's shared arrays, each invocation's local ones.

use std::ops::Range;

use fulgurite_driver_core::Launch;
use fulgurite_ir::{Memory, VerifiedKernel};
use fulgurite_spec::eval::{self, Components};

use crate::buffer::Bound;
use crate::program::Program;

/// All memory of the workgroup that runs.
pub(crate) struct Memories<'a> {
    program: &'a Program,
    lengths: &'a [u32],
    buffers: Bound<'a>,
    shared: Vec<u8>,
    /// Of all invocations, one after the other.
    local: Vec<u8>,
}

impl<'a> Memories<'a> {
    pub(crate) fn new(
        program: &'a Program,
        launch: &'a Launch<'_>,
        buffers: Bound<'a>,
        local: Vec<u8>,
    ) -> Self {
        let shared = vec![0; program.shared.bytes()];
        Self { program, lengths: launch.lengths(), buffers, shared, local }
    }

    /// Clears shared and local memory for the next workgroup.
    pub(crate) fn reset(&mut self) {
        self.shared.fill(0);
        self.local.fill(0);
    }

    /// The number of elements of `memory`.
    pub(crate) fn len(&self, memory: Memory) -> u32 {
        let kernel: &VerifiedKernel = self.program.kernel();
        match memory {
            Memory::Buffer(id) => self.lengths[id.index()],
            Memory::Shared(id) => kernel.shared[id.index()].len,
            Memory::Local(id) => kernel.locals[id.index()].len,
        }
    }

    /// The element at `index` of `memory` as `invocation` sees it; zero out of bounds.
    pub(crate) fn load(&self, memory: Memory, invocation: usize, index: u32) -> Components {
        let Some(range) = self.range(memory, invocation, index) else { return [0; 4] };
        let bytes = match memory {
            Memory::Buffer(id) => self.buffers.get(id.index()),
            Memory::Shared(_) => &self.shared,
            Memory::Local(_) => &self.local,
        };
        eval::read_bytes(&bytes[range], self.program.kernel().element(memory))
    }

    /// Changes the element at `index` of `memory`; nothing out of bounds.
    pub(crate) fn store(&mut self, memory: Memory, invocation: usize, index: u32, value: &Components) {
        let Some(range) = self.range(memory, invocation, index) else { return };
        let bytes = match memory {
            Memory::Buffer(id) => self.buffers.get_mut(id.index()),
            Memory::Shared(_) => &mut self.shared,
            Memory::Local(_) => &mut self.local,
        };
        eval::write_bytes(value, self.program.kernel().element(memory), &mut bytes[range]);
    }

    /// Where an element lies in the bytes of its kind of memory.
    fn range(&self, memory: Memory, invocation: usize, index: u32) -> Option<Range<usize>> {
        if index >= self.len(memory) {
            return None;
        }
        let size = self.program.kernel().element(memory).size() as usize;
        let base = match memory {
            Memory::Buffer(_) => 0,
            Memory::Shared(id) => self.program.shared.offset(id.index()),
            Memory::Local(id) => {
                invocation * self.program.local.bytes() + self.program.local.offset(id.index())
            }
        };
        let start = base + index as usize * size;
        Some(start..start + size)
    }
}
