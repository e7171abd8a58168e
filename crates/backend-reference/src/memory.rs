//! The memory that a launch sees: buffers, the workgroup's shared arrays, each invocation's local ones.

use std::ops::Range;

use fulgurite_hal::Launch;
use fulgurite_ir::{Initial, Memory, VerifiedKernel};
use fulgurite_spec::eval::{self, Components};
use fulgurite_spec::{ScalarType, Type};

use crate::buffer::Bound;
use crate::program::Program;

/// The high half of each word of an `uninit` array: no small number, and as a float a large negative one.
const UNINIT: u32 = 0xbadd_0000;

/// All memory of the workgroup that runs.
pub(crate) struct Memories<'a> {
    program: &'a Program,
    lengths: &'a [u64],
    buffers: Bound<'a>,
    /// What decides the bytes that `uninit` arrays hold.
    seed: u32,
    shared: Vec<u8>,
    /// Of all invocations, one after the other.
    local: Vec<u8>,
}

impl<'a> Memories<'a> {
    pub(crate) fn new(
        program: &'a Program,
        launch: &'a Launch,
        buffers: Bound<'a>,
        local: Vec<u8>,
        seed: u32,
    ) -> Self {
        let shared = vec![0; program.shared.bytes()];
        Self { program, lengths: launch.lengths(), buffers, seed, shared, local }
    }

    /// Clears shared and local memory for the next workgroup. Arrays that are `uninit` get bytes that differ from
    /// workgroup to workgroup and from word to word, so that a kernel that reads them is seen to.
    pub(crate) fn reset(&mut self) {
        self.shared.fill(0);
        self.local.fill(0);
        for (i, array) in self.program.kernel().shared.iter().enumerate() {
            if array.initial == Initial::Uninit {
                let start = self.program.shared.offset(i);
                let end = start + array.len as usize * array.element.size() as usize;
                for chunk in self.shared[start..end].chunks_mut(4) {
                    self.seed = self.seed.wrapping_mul(0x915f_77f5).wrapping_add(0x9e37_79b9);
                    let word = UNINIT | self.seed >> 16;
                    chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
                }
            }
        }
    }

    /// The number of elements of `memory`.
    pub(crate) fn len(&self, memory: Memory) -> u64 {
        let kernel: &VerifiedKernel = self.program.kernel();
        match (memory, kernel.base(memory)) {
            (Memory::Buffer(id), _) => self.lengths[id.index()],
            (_, Memory::Buffer(id)) => {
                self.buffers.get(id.index()).len() as u64 / u64::from(kernel.element(memory).size())
            }
            _ => u64::from(kernel.array_len(memory).unwrap_or(0)),
        }
    }

    /// The element at `index` of `memory` as `invocation` sees it; zero out of bounds.
    pub(crate) fn load(&self, memory: Memory, invocation: usize, index: u64) -> Components {
        let Some(range) = self.range(memory, invocation, index) else { return [0; 4] };
        let bytes = match self.program.kernel().base(memory) {
            Memory::Buffer(id) => self.buffers.get(id.index()),
            Memory::Local(_) => &self.local,
            _ => &self.shared,
        };
        eval::read_bytes(&bytes[range], self.program.kernel().element(memory))
    }

    /// Changes the element at `index` of `memory`; nothing out of bounds.
    pub(crate) fn store(&mut self, memory: Memory, invocation: usize, index: u64, value: &Components) {
        let Some(range) = self.range(memory, invocation, index) else { return };
        let bytes = match self.program.kernel().base(memory) {
            Memory::Buffer(id) => self.buffers.get_mut(id.index()),
            Memory::Local(_) => &mut self.local,
            _ => &mut self.shared,
        };
        eval::write_bytes(value, self.program.kernel().element(memory), &mut bytes[range]);
    }

    /// The scalar of type `ty` that begins at byte `offset` of `memory`, a buffer, a shared array or a view of one, at the
    /// bits' low end; zero if it is not wholly inside.
    pub(crate) fn load_scalar(&self, memory: Memory, ty: ScalarType, offset: u64) -> u64 {
        let Some(range) = self.bytes(memory, ty, offset) else { return 0 };
        let bytes = match self.program.kernel().base(memory) {
            Memory::Buffer(id) => self.buffers.get(id.index()),
            _ => &self.shared,
        };
        eval::read_bytes(&bytes[range], Type::scalar(ty))[0]
    }

    /// Changes the scalar of type `ty` that begins at byte `offset` of `memory`; nothing if it is not wholly inside.
    pub(crate) fn store_scalar(&mut self, memory: Memory, ty: ScalarType, offset: u64, bits: u64) {
        let Some(range) = self.bytes(memory, ty, offset) else { return };
        let bytes = match self.program.kernel().base(memory) {
            Memory::Buffer(id) => self.buffers.get_mut(id.index()),
            _ => &mut self.shared,
        };
        eval::write_bytes(&eval::splat_low(bits), Type::scalar(ty), &mut bytes[range]);
    }

    /// Where a scalar lies in the bytes of its kind of memory, which is not local.
    fn bytes(&self, memory: Memory, ty: ScalarType, offset: u64) -> Option<Range<usize>> {
        let kernel = self.program.kernel();
        let all = self.len(memory) * u64::from(kernel.element(memory).size());
        let end = offset.checked_add(u64::from(ty.size())).filter(|end| *end <= all)?;
        let base = match kernel.base(memory) {
            Memory::Shared(id) => self.program.shared.offset(id.index()),
            _ => 0,
        };
        Some(base + offset as usize..base + end as usize)
    }

    /// Where an element lies in the bytes of its kind of memory.
    fn range(&self, memory: Memory, invocation: usize, index: u64) -> Option<Range<usize>> {
        if index >= self.len(memory) {
            return None;
        }
        let size = self.program.kernel().element(memory).size() as usize;
        let base = match self.program.kernel().base(memory) {
            // No view is of a view.
            Memory::Buffer(_) | Memory::View(_) => 0,
            Memory::Shared(id) => self.program.shared.offset(id.index()),
            Memory::Local(id) => {
                invocation * self.program.local.bytes() + self.program.local.offset(id.index())
            }
        };
        let start = base + index as usize * size;
        Some(start..start + size)
    }
}
