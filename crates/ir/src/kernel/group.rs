//! Groups of instruction kinds that analyses and lowerings treat alike.

use fulgurite_spec::{MatrixLayout, Op};

use super::arena::{BlockId, Operands, ValueId};
use super::attributes::FloatMode;
use super::declared::{Access, Memory};
use super::inst::InstKind;

/// The control flow of an instruction with nested blocks, with the fields of the [`InstKind`]. Exhaustive for the same
/// reason.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the kinds of instructions document the fields")]
pub enum Control<'k> {
    /// [`InstKind::If`].
    If { condition: ValueId, then_block: BlockId, else_block: BlockId },
    /// [`InstKind::For`].
    For { start: ValueId, end: ValueId, step: ValueId, initial: &'k Operands, body: BlockId },
    /// [`InstKind::Region`].
    Region { name: &'k str, body: BlockId },
    /// [`InstKind::While`].
    While { initial: &'k Operands, header: BlockId, body: BlockId },
}

impl Control<'_> {
    /// Returns the nested blocks, in the order of the text.
    pub fn blocks(self) -> impl DoubleEndedIterator<Item = BlockId> {
        let blocks = match self {
            Self::If { then_block, else_block, .. } => [Some(then_block), Some(else_block)],
            Self::For { body, .. } | Self::Region { body, .. } => [Some(body), None],
            Self::While { header, body, .. } => [Some(header), Some(body)],
        };
        blocks.into_iter().flatten()
    }

    /// Returns whether the nested blocks may run more than once.
    pub fn is_loop(self) -> bool {
        match self {
            Self::For { .. } | Self::While { .. } => true,
            Self::If { .. } | Self::Region { .. } => false,
        }
    }
}

/// An instruction on cooperative matrices, with the fields of the [`InstKind`]. Exhaustive for the same reason.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the kinds of instructions document the fields")]
pub enum MatrixInst {
    /// [`InstKind::CoopLoad`].
    Load { layout: MatrixLayout, memory: Memory, offset: ValueId, stride: ValueId },
    /// [`InstKind::CoopStore`].
    Store { layout: MatrixLayout, memory: Memory, offset: ValueId, stride: ValueId, value: ValueId },
    /// [`InstKind::CoopFill`].
    Fill { value: ValueId },
    /// [`InstKind::CoopMulAdd`].
    MulAdd { a: ValueId, b: ValueId, c: ValueId },
    /// [`InstKind::CoopConvert`].
    Convert { value: ValueId },
}

/// An instruction whose results depend on its operands and the launch alone, and that has no effect, with the fields of the
/// [`InstKind`]. Exhaustive for the same reason.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the kinds of instructions document the fields")]
pub enum PureInst<'k> {
    /// [`InstKind::Scalar`].
    Scalar { op: Op, operands: &'k Operands, mode: FloatMode },
    /// [`InstKind::VecShuffle`].
    VecShuffle { components: &'k [u8], vectors: [ValueId; 2] },
    /// [`InstKind::Id`].
    Id { op: Op, component: u8 },
    /// [`InstKind::Len`].
    Len { memory: Memory },
}

impl InstKind {
    /// Returns the pure instruction, or `None` for one that has an effect, reads memory or involves other invocations.
    #[inline]
    pub fn pure(&self) -> Option<PureInst<'_>> {
        Some(match self {
            Self::Scalar { op, operands, mode } => PureInst::Scalar { op: *op, operands, mode: *mode },
            Self::VecShuffle { components, vectors } => {
                PureInst::VecShuffle { components, vectors: *vectors }
            }
            Self::Id { op, component } => PureInst::Id { op: *op, component: *component },
            Self::Len { memory } => PureInst::Len { memory: *memory },
            Self::Load { .. }
            | Self::Store { .. }
            | Self::Atomic { .. }
            | Self::Fence { .. }
            | Self::Barrier { .. }
            | Self::SubgroupBarrier { .. }
            | Self::WorkgroupBroadcast { .. }
            | Self::Subgroup { .. }
            | Self::CoopLoad { .. }
            | Self::CoopStore { .. }
            | Self::CoopFill { .. }
            | Self::CoopMulAdd { .. }
            | Self::CoopConvert { .. }
            | Self::Trap { .. }
            | Self::If { .. }
            | Self::For { .. }
            | Self::Region { .. }
            | Self::While { .. } => return None,
        })
    }

    /// Returns the control flow, or `None` for an instruction without nested blocks.
    #[inline]
    pub fn control(&self) -> Option<Control<'_>> {
        Some(match self {
            Self::If { condition, then_block, else_block } => {
                Control::If { condition: *condition, then_block: *then_block, else_block: *else_block }
            }
            Self::For { start, end, step, initial, body } => {
                Control::For { start: *start, end: *end, step: *step, initial, body: *body }
            }
            Self::Region { name, body } => Control::Region { name, body: *body },
            Self::While { initial, header, body } => Control::While { initial, header: *header, body: *body },
            Self::Scalar { .. }
            | Self::VecShuffle { .. }
            | Self::Id { .. }
            | Self::Load { .. }
            | Self::Store { .. }
            | Self::Len { .. }
            | Self::Atomic { .. }
            | Self::Fence { .. }
            | Self::Barrier { .. }
            | Self::SubgroupBarrier { .. }
            | Self::WorkgroupBroadcast { .. }
            | Self::Subgroup { .. }
            | Self::CoopLoad { .. }
            | Self::CoopStore { .. }
            | Self::CoopFill { .. }
            | Self::CoopMulAdd { .. }
            | Self::CoopConvert { .. }
            | Self::Trap { .. } => return None,
        })
    }

    /// Returns the instruction on matrices, or `None` for any other, which may yet select or compute with matrices.
    pub fn matrix(&self) -> Option<MatrixInst> {
        Some(match *self {
            Self::CoopLoad { layout, memory, offset, stride } => {
                MatrixInst::Load { layout, memory, offset, stride }
            }
            Self::CoopStore { layout, memory, offset, stride, value } => {
                MatrixInst::Store { layout, memory, offset, stride, value }
            }
            Self::CoopFill { value } => MatrixInst::Fill { value },
            Self::CoopMulAdd { a, b, c } => MatrixInst::MulAdd { a, b, c },
            Self::CoopConvert { value } => MatrixInst::Convert { value },
            Self::Scalar { .. }
            | Self::VecShuffle { .. }
            | Self::Id { .. }
            | Self::Load { .. }
            | Self::Store { .. }
            | Self::Len { .. }
            | Self::Atomic { .. }
            | Self::Fence { .. }
            | Self::Barrier { .. }
            | Self::SubgroupBarrier { .. }
            | Self::WorkgroupBroadcast { .. }
            | Self::Subgroup { .. }
            | Self::Trap { .. }
            | Self::If { .. }
            | Self::For { .. }
            | Self::Region { .. }
            | Self::While { .. } => return None,
        })
    }

    /// Returns the memory object that the instruction accesses or measures.
    pub fn memory(&self) -> Option<Memory> {
        self.access().map(|(memory, _)| memory)
    }

    /// Returns the memory object that the instruction accesses, and how, or `None` for how if it only measures it.
    pub fn access(&self) -> Option<(Memory, Option<Access>)> {
        match self {
            Self::Load { memory, .. } | Self::CoopLoad { memory, .. } => Some((*memory, Some(Access::Read))),
            Self::Store { memory, .. } | Self::CoopStore { memory, .. } => {
                Some((*memory, Some(Access::Write)))
            }
            Self::Atomic { memory, .. } => Some((*memory, Some(Access::ReadWrite))),
            Self::Len { memory } => Some((*memory, None)),
            Self::Scalar { .. }
            | Self::VecShuffle { .. }
            | Self::Id { .. }
            | Self::Fence { .. }
            | Self::Barrier { .. }
            | Self::SubgroupBarrier { .. }
            | Self::WorkgroupBroadcast { .. }
            | Self::Subgroup { .. }
            | Self::CoopFill { .. }
            | Self::CoopMulAdd { .. }
            | Self::CoopConvert { .. }
            | Self::Trap { .. }
            | Self::If { .. }
            | Self::For { .. }
            | Self::Region { .. }
            | Self::While { .. } => None,
        }
    }
}
