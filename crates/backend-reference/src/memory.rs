//! The memory of a launch: buffers, shared arrays of the workgroup, and local arrays of each invocation.

use std::ops::Range;

use fulgurite_hal::Launch;
use fulgurite_ir::{Initial, Memory, VerifiedKernel};
use fulgurite_spec::eval::{self, Components};
use fulgurite_spec::{ScalarType, Type};

use crate::buffer::Bound;
use crate::prepared::PreparedKernel;

/// High half of each word of an `uninit` array: a large integer, and about -0.0017 as a float.
const UNINIT: u32 = 0xbadd_0000;

/// The memory of the running workgroup.
pub(crate) struct Memories<'a> {
    program: &'a PreparedKernel,
    lengths: &'a [u64],
    buffers: Bound<'a>,
    /// State of the generator for the contents of `uninit` arrays.
    seed: u32,
    shared: Vec<u8>,
    /// Local memory of all invocations, concatenated.
    local: Vec<u8>,
}

impl<'a> Memories<'a> {
    pub(crate) fn new(
        program: &'a PreparedKernel,
        launch: &'a Launch,
        buffers: Bound<'a>,
        local: Vec<u8>,
        seed: u32,
    ) -> Self {
        let shared = vec![0; program.shared.bytes()];
        Self { program, lengths: launch.lengths(), buffers, seed, shared, local }
    }

    /// Clears shared and local memory for the next workgroup. `uninit` arrays get contents that differ between
    /// workgroups and words, so that reads of them are noticed.
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

    /// Returns the number of elements of `memory`.
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

    /// Loads the element at `index` of `memory` for `invocation`; zero if out of bounds.
    pub(crate) fn load(&self, memory: Memory, invocation: usize, index: u64) -> Components {
        let Some(range) = self.range(memory, invocation, index) else { return [0; 4] };
        let bytes = match self.program.kernel().base(memory) {
            Memory::Buffer(id) => self.buffers.get(id.index()),
            Memory::Local(_) => &self.local,
            Memory::Shared(_) | Memory::View(_) => &self.shared,
        };
        eval::read_bytes(&bytes[range], self.program.kernel().element(memory))
    }

    /// Stores the element at `index` of `memory`; does nothing if out of bounds.
    pub(crate) fn store(&mut self, memory: Memory, invocation: usize, index: u64, value: &Components) {
        let Some(range) = self.range(memory, invocation, index) else { return };
        let bytes = match self.program.kernel().base(memory) {
            Memory::Buffer(id) => self.buffers.get_mut(id.index()),
            Memory::Local(_) => &mut self.local,
            Memory::Shared(_) | Memory::View(_) => &mut self.shared,
        };
        eval::write_bytes(value, self.program.kernel().element(memory), &mut bytes[range]);
    }

    /// Loads the scalar of type `ty` at byte `offset` of `memory`, which is a buffer, a shared array or a view of one,
    /// into the low bits; zero if not entirely in bounds.
    pub(crate) fn load_scalar(&self, memory: Memory, ty: ScalarType, offset: u64) -> u64 {
        let Some(range) = self.bytes(memory, ty, offset) else { return 0 };
        let bytes = match self.program.kernel().base(memory) {
            Memory::Buffer(id) => self.buffers.get(id.index()),
            Memory::Shared(_) | Memory::Local(_) | Memory::View(_) => &self.shared,
        };
        eval::read_bytes(&bytes[range], Type::scalar(ty))[0]
    }

    /// Stores the scalar of type `ty` at byte `offset` of `memory`; does nothing if not entirely in bounds.
    pub(crate) fn store_scalar(&mut self, memory: Memory, ty: ScalarType, offset: u64, bits: u64) {
        let Some(range) = self.bytes(memory, ty, offset) else { return };
        let bytes = match self.program.kernel().base(memory) {
            Memory::Buffer(id) => self.buffers.get_mut(id.index()),
            Memory::Shared(_) | Memory::Local(_) | Memory::View(_) => &mut self.shared,
        };
        eval::write_bytes(&eval::splat_low(bits), Type::scalar(ty), &mut bytes[range]);
    }

    /// Returns the byte range of a scalar in its kind of memory, which must not be local.
    fn bytes(&self, memory: Memory, ty: ScalarType, offset: u64) -> Option<Range<usize>> {
        let kernel = self.program.kernel();
        let all = self.len(memory) * u64::from(kernel.element(memory).size());
        let end = offset.checked_add(u64::from(ty.size())).filter(|end| *end <= all)?;
        let base = match kernel.base(memory) {
            Memory::Shared(id) => self.program.shared.offset(id.index()),
            Memory::Buffer(_) | Memory::Local(_) | Memory::View(_) => 0,
        };
        Some(base + offset as usize..base + end as usize)
    }

    /// Returns the byte range of an element in its kind of memory.
    fn range(&self, memory: Memory, invocation: usize, index: u64) -> Option<Range<usize>> {
        if index >= self.len(memory) {
            return None;
        }
        let size = self.program.kernel().element(memory).size() as usize;
        let base = match self.program.kernel().base(memory) {
            // Views cannot be nested.
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
