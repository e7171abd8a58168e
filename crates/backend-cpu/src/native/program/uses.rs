//! The registers that steps read and write.

use super::{Reg, Step};

/// The registers that a step reads and writes, at most five and one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Uses {
    pub(crate) reads: [Option<Reg>; 5],
    pub(crate) write: Option<Reg>,
    /// True if the step does nothing but write its result.
    pub(crate) is_pure: bool,
    /// True if the result depends on memory.
    pub(crate) is_load: bool,
}

impl Step {
    /// Returns the registers that the step reads and writes.
    pub(crate) fn uses(&self) -> Uses {
        let five = |[a, b, c, d]: [Option<Reg>; 4]| [a, b, c, d, None];
        let pure =
            |to: Reg, reads| Uses { reads: five(reads), write: Some(to), is_pure: true, is_load: false };
        let load = |to: Reg, reads| Uses { is_load: true, ..pure(to, reads) };
        let effect = |reads| Uses { reads: five(reads), write: None, ..Uses::default() };
        match *self {
            Self::Bind(_)
            | Self::Jump(_)
            | Self::Cold
            | Self::EndCold
            | Self::LoopBegin
            | Self::LoopEnd
            | Self::Poll
            | Self::Return => Uses::default(),
            Self::MaskBits { to, mask } => pure(to, [Some(mask), None, None, None]),
            Self::Permute { to, a, lanes } => pure(to, [Some(a), Some(lanes), None, None]),
            Self::Move { to, from } | Self::Broadcast { to, from } | Self::BroadcastMask { to, from } => {
                pure(to, [Some(from), None, None, None])
            }
            Self::AddWide { to, a, .. } | Self::Vector1 { to, a, .. } | Self::ShiftBy { to, a, .. } => {
                pure(to, [Some(a), None, None, None])
            }
            Self::Scalar { to, a, b, .. }
            | Self::SubWide { to, a, b }
            | Self::MinWide { to, a, b }
            | Self::CompareScalar { to, a, b, .. }
            | Self::Vector2 { to, a, b, .. }
            | Self::Compare { to, a, b, .. }
            | Self::Merge { to, a, b, .. }
            | Self::Mask { to, a, b, .. } => pure(to, [Some(a), Some(b), None, None]),
            Self::SelectScalar { to, condition, yes, no } => {
                pure(to, [Some(condition), Some(yes), Some(no), None])
            }
            Self::Blend { to, mask, yes, no } => pure(to, [Some(mask), Some(yes), Some(no), None]),
            Self::Fma { to, a, b, c } => pure(to, [Some(a), Some(b), Some(c), None]),
            Self::LoadScalar { to, words, len } | Self::LoadBroadcast { to, words, len } => {
                load(to, [Some(words.pointer), Some(words.index), len, None])
            }
            Self::LoadRow { to, words } | Self::LoadRowNarrow { to, words, .. } => {
                load(to, [Some(words.pointer), Some(words.index), None, None])
            }
            Self::Vector2Row { to, a, words, .. } => {
                load(to, [Some(words.pointer), Some(words.index), Some(a), None])
            }
            Self::Gather { to, words, mask } => {
                load(to, [Some(words.pointer), Some(words.index), Some(mask), None])
            }
            Self::BranchWide { a, b, .. } | Self::Branch { a, b, .. } => {
                effect([Some(a), Some(b), None, None])
            }
            Self::CountDown { left, .. } => {
                Uses { reads: five([Some(left), None, None, None]), write: Some(left), ..Uses::default() }
            }
            Self::Atomic { to, words, mask, a, b, .. } => Uses {
                reads: [words.pointer, words.index, mask, a, b].map(Some),
                write: Some(to),
                ..Uses::default()
            },
            Self::BranchNone { mask, .. }
            | Self::BranchAny { mask, .. }
            | Self::BranchNotAll { mask, .. } => effect([Some(mask), None, None, None]),
            Self::StoreScalar { from, words } => {
                effect([Some(words.pointer), Some(words.index), Some(from), None])
            }
            Self::StoreRow { from, words, mask } | Self::StoreRowNarrow { from, words, mask, .. } => {
                effect([Some(words.pointer), Some(words.index), Some(from), mask])
            }
            Self::Scatter { from, words, mask } | Self::ScatterNarrow { from, words, mask, .. } => {
                effect([Some(words.pointer), Some(words.index), Some(from), Some(mask)])
            }
        }
    }

    /// Returns the register that the step writes, for replacing it.
    pub(crate) fn write_mut(&mut self) -> Option<&mut Reg> {
        match self {
            Self::Move { to, .. }
            | Self::Broadcast { to, .. }
            | Self::BroadcastMask { to, .. }
            | Self::AddWide { to, .. }
            | Self::Vector1 { to, .. }
            | Self::Scalar { to, .. }
            | Self::SubWide { to, .. }
            | Self::MinWide { to, .. }
            | Self::CompareScalar { to, .. }
            | Self::Vector2 { to, .. }
            | Self::ShiftBy { to, .. }
            | Self::Compare { to, .. }
            | Self::Mask { to, .. }
            | Self::Merge { to, .. }
            | Self::Permute { to, .. }
            | Self::MaskBits { to, .. }
            | Self::SelectScalar { to, .. }
            | Self::Blend { to, .. }
            | Self::Fma { to, .. }
            | Self::LoadScalar { to, .. }
            | Self::LoadBroadcast { to, .. }
            | Self::LoadRow { to, .. }
            | Self::LoadRowNarrow { to, .. }
            | Self::Vector2Row { to, .. }
            | Self::Gather { to, .. }
            | Self::Atomic { to, .. } => Some(to),
            Self::CountDown { left, .. } => Some(left),
            Self::Bind(_)
            | Self::Jump(_)
            | Self::Cold
            | Self::EndCold
            | Self::LoopBegin
            | Self::LoopEnd
            | Self::BranchWide { .. }
            | Self::Branch { .. }
            | Self::BranchNone { .. }
            | Self::BranchAny { .. }
            | Self::BranchNotAll { .. }
            | Self::Poll
            | Self::StoreScalar { .. }
            | Self::StoreRow { .. }
            | Self::StoreRowNarrow { .. }
            | Self::Scatter { .. }
            | Self::ScatterNarrow { .. }
            | Self::Return => None,
        }
    }
}
