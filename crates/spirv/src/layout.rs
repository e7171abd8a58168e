//! The layout of a module: bindings, parameter block and control buffer.

use fulgurite_ir::analysis::instructions;
use fulgurite_ir::{BufferId, Grid, InstKind, Kernel, Memory, ParamId, ViewId};
use fulgurite_spec::Op;
use fulgurite_spec::eval::Components;

use crate::profile::Profile;
use crate::rules::Rules;

/// The location of the parameter block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockPlacement {
    /// In push constants from offset 0.
    PushConstants,
    /// In a storage buffer of descriptor set 0.
    StorageBuffer {
        /// The binding.
        binding: u32,
    },
}

/// A 32-bit word of the control buffer, by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ControlWord {
    /// First fault: 0 for none, else one of the `FAULT_*` codes of [`Layout`].
    Fault = 0,
    /// The flattened global index of the faulting invocation, modulo 2³².
    Invocation = 1,
    /// Set by the host to a non-zero value to abort the launch.
    Abort = 2,
    /// Always 0, unknown to drivers, so that they cannot fold the check for ended loops.
    Zero = 3,
    /// The code of the `trap` behind [`Layout::FAULT_TRAP`].
    TrapCode = 4,
}

/// One entry of the parameter block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// The length in elements of a buffer or of a view of one: one word, two for `large` buffers.
    Length(Memory),
    /// The device address of a buffer: two words.
    Address(BufferId),
    /// The offset in bytes of the bound range within a buffer's descriptor: one word.
    Offset(BufferId),
    /// A parameter: one word for each component, two for components of 64 bits.
    Param(ParamId),
    /// The number of workgroups along x, y and z.
    Grid,
    /// A zero that drivers cannot constant-fold, for hiding values from them.
    Zero,
}

impl Field {
    /// Returns the size in 32-bit words.
    pub fn words(self, kernel: &Kernel) -> u32 {
        match self {
            Self::Length(memory) => kernel.len_type(memory).size() / 4,
            Self::Address(_) => 2,
            Self::Offset(_) | Self::Zero => 1,
            Self::Param(id) => {
                let ty = kernel.params[id.index()].ty;
                ty.lanes.count() * if ty.scalar.bits() == 64 { 2 } else { 1 }
            }
            Self::Grid => 3,
        }
    }
}

/// The values of the parameter block for a launch.
#[derive(Clone, Copy, Debug)]
pub struct BlockFacts<'a> {
    /// The length of each buffer in whole elements.
    pub lengths: &'a [u64],
    /// The device addresses of buffers accessed by address.
    pub addresses: &'a [u64],
    /// The offset in bytes of each buffer's bound range within its descriptor.
    pub offsets: &'a [u64],
    /// Parameter values.
    pub params: &'a [Components],
    /// The number of workgroups along x, y and z.
    pub grid: Grid,
}

/// The resources that a host binds, in descriptor set 0. Binding `i` is the kernel's buffer `i`, except for buffers
/// accessed by address, which have none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Layout {
    /// The number of buffers.
    pub buffers: u32,
    /// For each buffer, whether it is accessed by its device address.
    pub by_address: Vec<bool>,
    /// The binding of the control buffer ([`Layout::CONTROL_BYTES`] bytes, zeroed before each launch), if the module
    /// has one.
    pub control: Option<u32>,
    /// Whether the module polls [`ControlWord::Abort`], so that setting it ends the launch.
    pub abortable: bool,
    /// The location of the parameter block.
    pub placement: BlockPlacement,
    /// The fields of the parameter block, in order.
    pub fields: Vec<Field>,
    /// The size of the parameter block in 32-bit words. May be 0.
    pub block_words: u32,
    /// The size of shared memory in bytes, including what the module adds to the kernel's.
    pub shared_bytes: u64,
}

impl Layout {
    /// The size of a control buffer in bytes.
    pub const CONTROL_BYTES: u64 = 32;
    /// The fault code of a loop that the driver ended while its condition held.
    pub const FAULT_LOOP_ENDED: u32 = 1;
    /// The fault code of `trap`.
    pub const FAULT_TRAP: u32 = 2;

    /// Returns the layout of `kernel`: the same for every module emitted from it with this profile and control
    /// buffer, except for what only [`emit`](crate::emit) knows: `abortable`, and additions to `shared_bytes`.
    pub fn new(kernel: &Kernel, profile: &Profile, control: bool) -> Self {
        let reads_grid = |id| matches!(kernel.inst(id).kind, InstKind::Id { op: Op::NumWorkgroups, .. });
        Self::of(kernel, profile, control, instructions(kernel).any(reads_grid))
    }

    /// Does the same for a kernel of which it is known whether it reads the grid.
    pub(crate) fn of(kernel: &Kernel, profile: &Profile, control: bool, reads_grid: bool) -> Self {
        let buffers = kernel.buffers.len() as u32;
        let ids = (0..kernel.buffers.len()).map(BufferId::new);
        let by_address: Vec<bool> = kernel.buffers.iter().map(|b| b.large || profile.addresses).collect();
        // 8-byte fields first, so that they are aligned.
        let addresses = ids.clone().filter(|id| by_address[id.index()]).map(Field::Address);
        let params = (0..kernel.params.len()).map(|i| Field::Param(ParamId::new(i)));
        let views = (0..kernel.views.len()).map(|i| Memory::View(ViewId::new(i)));
        let views = views.filter(|view| matches!(kernel.base(*view), Memory::Buffer(_)));
        let offsets = ids.clone().filter(|id| profile.offsets && !by_address[id.index()]).map(Field::Offset);
        let lengths = ids.map(Memory::Buffer).chain(views).map(Field::Length);
        let grid = reads_grid.then_some(Field::Grid);
        let zero = (profile.rules != Rules::NONE).then_some(Field::Zero);
        let fields: Vec<Field> =
            addresses.chain(lengths).chain(offsets).chain(params).chain(grid).chain(zero).collect();
        let block_words: u32 = fields.iter().map(|field| field.words(kernel)).sum();
        let control = control.then_some(buffers);
        let placement = if block_words * 4 <= profile.push_constant_bytes {
            BlockPlacement::PushConstants
        } else {
            BlockPlacement::StorageBuffer { binding: buffers + u32::from(control.is_some()) }
        };
        Self {
            buffers,
            by_address,
            control,
            abortable: false,
            placement,
            fields,
            block_words,
            shared_bytes: kernel.shared_bytes(),
        }
    }

    /// Returns the bindings of descriptor set 0.
    pub fn bindings(&self) -> Vec<u32> {
        let buffers = (0..self.buffers).filter(|binding| !self.by_address[*binding as usize]);
        let block = match self.placement {
            BlockPlacement::StorageBuffer { binding } => Some(binding),
            BlockPlacement::PushConstants => None,
        };
        buffers.chain(self.control).chain(block).collect()
    }

    /// Returns the words of the parameter block; of a pair, the low one first.
    pub fn block(&self, kernel: &Kernel, facts: &BlockFacts<'_>) -> Vec<u32> {
        let mut words = Vec::with_capacity(self.block_words as usize);
        let mut push = |bits: u64, count: u32| {
            words.push(bits as u32);
            if count == 2 {
                words.push((bits >> 32) as u32);
            }
        };
        for field in &self.fields {
            match *field {
                Field::Length(memory) => push(length(kernel, facts.lengths, memory), field.words(kernel)),
                Field::Address(id) => push(facts.addresses[id.index()], 2),
                Field::Offset(id) => push(facts.offsets[id.index()], 1),
                Field::Param(id) => {
                    let ty = kernel.params[id.index()].ty;
                    for bits in &facts.params[id.index()][..ty.lanes.count() as usize] {
                        push(*bits, if ty.scalar.bits() == 64 { 2 } else { 1 });
                    }
                }
                Field::Grid => facts.grid.into_iter().for_each(|count| push(count.into(), 1)),
                Field::Zero => push(0, 1),
            }
        }
        debug_assert_eq!(words.len(), self.block_words as usize);
        words
    }
}

/// Returns the number of elements of a buffer, or of whole elements of a view of it.
fn length(kernel: &Kernel, lengths: &[u64], memory: Memory) -> u64 {
    let base = kernel.base(memory);
    let Memory::Buffer(id) = base else { return 0 };
    let bytes = lengths[id.index()] * u64::from(kernel.element(base).size());
    bytes / u64::from(kernel.element(memory).size().max(1))
}
