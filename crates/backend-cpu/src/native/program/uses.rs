//! The registers that steps read and write.

use super::{Label, Reg, Step};

/// What a step does with a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

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
                reads: [Some(words.pointer), Some(words.index), mask, Some(a), Some(b)],
                write: Some(to),
                ..Uses::default()
            },
            Self::BranchNone { mask, .. }
            | Self::BranchAny { mask, .. }
            | Self::BranchNotAll { mask, .. } => effect([Some(mask), None, None, None]),
            Self::StoreScalar { from, words } | Self::UpdateRow { a: from, words, .. } => {
                effect([Some(words.pointer), Some(words.index), Some(from), None])
            }
            Self::StoreRow { from, words, mask }
            | Self::StoreOne { from, words, mask }
            | Self::StoreRowNarrow { from, words, mask, .. } => {
                effect([Some(words.pointer), Some(words.index), Some(from), mask])
            }
            Self::Scatter { from, words, mask, numbers } => Uses {
                reads: [Some(words.pointer), Some(words.index), Some(from), Some(mask), numbers],
                ..Uses::default()
            },
            Self::ScatterNarrow { from, words, mask, .. } => {
                effect([Some(words.pointer), Some(words.index), Some(from), Some(mask)])
            }
        }
    }

    /// Passes the registers that the step reads and writes to `visit`, for replacing them. One that it reads and writes in
    /// one place is passed as written.
    pub(crate) fn registers_mut(&mut self, visit: &mut dyn FnMut(&mut Reg, Access)) {
        let mut read = |regs: &mut [&mut Reg]| regs.iter_mut().for_each(|reg| visit(reg, Access::Read));
        match self {
            Self::Bind(_)
            | Self::Jump(_)
            | Self::Cold
            | Self::EndCold
            | Self::LoopBegin
            | Self::LoopEnd
            | Self::Poll
            | Self::Return
            | Self::CountDown { .. } => {}
            Self::Move { from, .. } | Self::Broadcast { from, .. } | Self::BroadcastMask { from, .. } => {
                read(&mut [from]);
            }
            Self::AddWide { a, .. } | Self::Vector1 { a, .. } | Self::ShiftBy { a, .. } => read(&mut [a]),
            Self::Scalar { a, b, .. }
            | Self::SubWide { a, b, .. }
            | Self::MinWide { a, b, .. }
            | Self::CompareScalar { a, b, .. }
            | Self::Vector2 { a, b, .. }
            | Self::Compare { a, b, .. }
            | Self::Merge { a, b, .. }
            | Self::Mask { a, b, .. }
            | Self::BranchWide { a, b, .. }
            | Self::Branch { a, b, .. } => read(&mut [a, b]),
            Self::Permute { a, lanes, .. } => read(&mut [a, lanes]),
            Self::MaskBits { mask, .. }
            | Self::BranchNone { mask, .. }
            | Self::BranchAny { mask, .. }
            | Self::BranchNotAll { mask, .. } => read(&mut [mask]),
            Self::SelectScalar { condition, yes, no, .. } => read(&mut [condition, yes, no]),
            Self::Blend { mask, yes, no, .. } => read(&mut [mask, yes, no]),
            Self::Fma { a, b, c, .. } => read(&mut [a, b, c]),
            Self::LoadScalar { words, len, .. } | Self::LoadBroadcast { words, len, .. } => {
                read(&mut [&mut words.pointer, &mut words.index]);
                len.iter_mut().for_each(|len| read(&mut [len]));
            }
            Self::LoadRow { words, .. } | Self::LoadRowNarrow { words, .. } => {
                read(&mut [&mut words.pointer, &mut words.index]);
            }
            Self::Vector2Row { a, words, .. } => read(&mut [&mut words.pointer, &mut words.index, a]),
            Self::Gather { words, mask, .. } => read(&mut [&mut words.pointer, &mut words.index, mask]),
            Self::StoreScalar { from, words } | Self::UpdateRow { a: from, words, .. } => {
                read(&mut [&mut words.pointer, &mut words.index, from]);
            }
            Self::StoreRow { from, words, mask }
            | Self::StoreOne { from, words, mask }
            | Self::StoreRowNarrow { from, words, mask, .. } => {
                read(&mut [&mut words.pointer, &mut words.index, from]);
                mask.iter_mut().for_each(|mask| read(&mut [mask]));
            }
            Self::Scatter { from, words, mask, numbers } => {
                read(&mut [&mut words.pointer, &mut words.index, from, mask]);
                numbers.iter_mut().for_each(|numbers| read(&mut [numbers]));
            }
            Self::ScatterNarrow { from, words, mask, .. } => {
                read(&mut [&mut words.pointer, &mut words.index, from, mask]);
            }
            Self::Atomic { words, mask, a, b, .. } => {
                read(&mut [&mut words.pointer, &mut words.index, a, b]);
                mask.iter_mut().for_each(|mask| read(&mut [mask]));
            }
        }
        if let Some(to) = self.write_mut() {
            visit(to, Access::Write);
        }
    }

    /// Passes the labels of the step to `visit`, for replacing them.
    pub(crate) fn labels_mut(&mut self, visit: impl FnMut(&mut Label)) {
        match self {
            Self::Bind(to)
            | Self::Jump(to)
            | Self::BranchWide { to, .. }
            | Self::Branch { to, .. }
            | Self::CountDown { to, .. }
            | Self::BranchNone { to, .. }
            | Self::BranchAny { to, .. }
            | Self::BranchNotAll { to, .. } => Some(to),
            Self::Move { .. }
            | Self::Cold
            | Self::EndCold
            | Self::LoopBegin
            | Self::LoopEnd
            | Self::Scalar { .. }
            | Self::AddWide { .. }
            | Self::SubWide { .. }
            | Self::MinWide { .. }
            | Self::CompareScalar { .. }
            | Self::SelectScalar { .. }
            | Self::Poll
            | Self::Vector1 { .. }
            | Self::Vector2 { .. }
            | Self::ShiftBy { .. }
            | Self::Vector2Row { .. }
            | Self::Fma { .. }
            | Self::Compare { .. }
            | Self::Blend { .. }
            | Self::Mask { .. }
            | Self::Broadcast { .. }
            | Self::Merge { .. }
            | Self::Permute { .. }
            | Self::MaskBits { .. }
            | Self::BroadcastMask { .. }
            | Self::LoadScalar { .. }
            | Self::LoadBroadcast { .. }
            | Self::LoadRow { .. }
            | Self::LoadRowNarrow { .. }
            | Self::StoreRowNarrow { .. }
            | Self::ScatterNarrow { .. }
            | Self::StoreScalar { .. }
            | Self::StoreRow { .. }
            | Self::StoreOne { .. }
            | Self::Gather { .. }
            | Self::Scatter { .. }
            | Self::Atomic { .. }
            | Self::UpdateRow { .. }
            | Self::Return => None,
        }
        .into_iter()
        .for_each(visit);
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
            | Self::StoreOne { .. }
            | Self::StoreRowNarrow { .. }
            | Self::Scatter { .. }
            | Self::ScatterNarrow { .. }
            | Self::UpdateRow { .. }
            | Self::Return => None,
        }
    }
}
