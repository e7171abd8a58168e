//! Access to the operands of instructions, for passes that replace values.

use super::arena::ValueId;
use super::inst::InstKind;

impl InstKind {
    /// Calls `change` with each operand, without those of nested blocks.
    pub fn change_operands(&mut self, mut change: impl FnMut(&mut ValueId)) {
        match self {
            Self::Scalar { operands, .. } | Self::Subgroup { operands, .. } => {
                operands.iter_mut().for_each(change);
            }
            Self::VecShuffle { vectors, .. } => vectors.iter_mut().for_each(change),
            Self::Load { index, .. } => change(index),
            Self::Store { index, value, .. } | Self::WorkgroupBroadcast { value, index } => {
                change(index);
                change(value);
            }
            Self::Atomic { index, operands, .. } => {
                change(index);
                operands.iter_mut().for_each(change);
            }
            Self::CoopLoad { offset, stride, .. } => {
                change(offset);
                change(stride);
            }
            Self::CoopStore { offset, stride, value, .. } => {
                change(offset);
                change(stride);
                change(value);
            }
            Self::CoopFill { value } | Self::CoopConvert { value } => change(value),
            Self::CoopMulAdd { a, b, c } => {
                change(a);
                change(b);
                change(c);
            }
            Self::Trap { code } => change(code),
            Self::If { condition, .. } => change(condition),
            Self::For { start, end, step, initial, .. } => {
                change(start);
                change(end);
                change(step);
                initial.iter_mut().for_each(change);
            }
            Self::While { initial, .. } => initial.iter_mut().for_each(change),
            Self::Id { .. }
            | Self::Len { .. }
            | Self::Fence { .. }
            | Self::Barrier { .. }
            | Self::SubgroupBarrier { .. }
            | Self::Region { .. } => {}
        }
    }
}
