//! The registers that steps read and write.

use super::{Label, Program, Reg, Step, Words};

/// How a step accesses a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    /// Reads it, and then writes it.
    Change,
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
        let (mut uses, mut count) = (Uses::default(), 0);
        let mut step = *self;
        step.registers_mut(|reg, access| {
            if access != Access::Write {
                uses.reads[count] = Some(*reg);
                count += 1;
            }
            if access != Access::Read {
                uses.write = Some(*reg);
            }
        });
        uses.is_load = matches!(
            self,
            Self::LoadScalar { .. }
                | Self::LoadBroadcast { .. }
                | Self::LoadRow { .. }
                | Self::LoadRowNarrow { .. }
                | Self::Vector2Row { .. }
                | Self::Gather { .. }
        );
        uses.is_pure = uses.write.is_some() && !matches!(self, Self::Atomic { .. } | Self::CountDown { .. });
        uses
    }

    /// Passes each register of the step to `visit`, for replacing it. What the step reads comes first.
    pub(crate) fn registers_mut(&mut self, mut visit: impl FnMut(&mut Reg, Access)) {
        let mut all = |reads: &mut [&mut Reg], write: Option<&mut Reg>| {
            reads.iter_mut().for_each(|reg| visit(reg, Access::Read));
            write.into_iter().for_each(|reg| visit(reg, Access::Write));
        };
        match self {
            Self::Bind(_)
            | Self::Jump(_)
            | Self::Cold
            | Self::EndCold
            | Self::LoopBegin
            | Self::LoopEnd
            | Self::Poll
            | Self::Return => {}
            Self::CountDown { left, .. } => visit(left, Access::Change),
            Self::Move { to, from } | Self::Broadcast { to, from } | Self::BroadcastMask { to, from } => {
                all(&mut [from], Some(to));
            }
            Self::AddWide { to, a, .. } | Self::Vector1 { to, a, .. } | Self::ShiftBy { to, a, .. } => {
                all(&mut [a], Some(to));
            }
            Self::Scalar { to, a, b, .. }
            | Self::SubWide { to, a, b }
            | Self::MinWide { to, a, b }
            | Self::CompareScalar { to, a, b, .. }
            | Self::Vector2 { to, a, b, .. }
            | Self::Compare { to, a, b, .. }
            | Self::Merge { to, a, b, .. }
            | Self::Mask { to, a, b, .. }
            | Self::Permute { to, a, lanes: b } => all(&mut [a, b], Some(to)),
            Self::BranchWide { a, b, .. } | Self::Branch { a, b, .. } => all(&mut [a, b], None),
            Self::MaskBits { to, mask } => all(&mut [mask], Some(to)),
            Self::BranchNone { mask, .. }
            | Self::BranchAny { mask, .. }
            | Self::BranchNotAll { mask, .. } => all(&mut [mask], None),
            Self::SelectScalar { to, condition: a, yes: b, no: c }
            | Self::Blend { to, mask: a, yes: b, no: c }
            | Self::Fma { to, a, b, c } => all(&mut [a, b, c], Some(to)),
            Self::LoadScalar { to, words, len } | Self::LoadBroadcast { to, words, len } => {
                let Words { pointer, index, .. } = words;
                match len {
                    Some(len) => all(&mut [pointer, index, len], Some(to)),
                    None => all(&mut [pointer, index], Some(to)),
                }
            }
            Self::LoadRow { to, words } | Self::LoadRowNarrow { to, words, .. } => {
                all(&mut [&mut words.pointer, &mut words.index], Some(to));
            }
            Self::Vector2Row { to, a, words, .. } | Self::Gather { to, words, mask: a } => {
                all(&mut [&mut words.pointer, &mut words.index, a], Some(to));
            }
            Self::StoreScalar { from, words } | Self::UpdateRow { a: from, words, .. } => {
                all(&mut [&mut words.pointer, &mut words.index, from], None);
            }
            Self::StoreRow { from, words, mask }
            | Self::StoreOne { from, words, mask }
            | Self::StoreRowNarrow { from, words, mask, .. } => {
                all(&mut [&mut words.pointer, &mut words.index, from], None);
                mask.iter_mut().for_each(|mask| all(&mut [mask], None));
            }
            Self::Scatter { from, words, mask, numbers } => {
                all(&mut [&mut words.pointer, &mut words.index, from, mask], None);
                numbers.iter_mut().for_each(|numbers| all(&mut [numbers], None));
            }
            Self::ScatterNarrow { from, words, mask, .. } => {
                all(&mut [&mut words.pointer, &mut words.index, from, mask], None);
            }
            Self::Atomic { to, words, mask, a, b, .. } => {
                mask.iter_mut().for_each(|mask| all(&mut [mask], None));
                all(&mut [&mut words.pointer, &mut words.index, a, b], Some(to));
            }
        }
    }

    /// Replaces the registers that the step reads, and does not write in the same place, by those of `same`, by number.
    pub(crate) fn replace_reads(&mut self, same: &[Option<Reg>]) {
        self.registers_mut(|reg, access| {
            if access == Access::Read
                && let Some(Some(other)) = same.get(reg.index())
            {
                *reg = *other;
            }
        });
    }

    /// Returns the step with another target.
    pub(crate) fn computing(mut self, target: Reg) -> Self {
        self.registers_mut(|reg, access| {
            if access == Access::Write {
                *reg = target;
            }
        });
        self
    }

    /// Returns the label of the step, if it has one, for replacing it.
    pub(crate) fn label_mut(&mut self) -> Option<&mut Label> {
        match self {
            Self::Bind(to)
            | Self::Jump(to)
            | Self::BranchWide { to, .. }
            | Self::Branch { to, .. }
            | Self::CountDown { to, .. }
            | Self::BranchNone { to, .. }
            | Self::BranchAny { to, .. }
            | Self::BranchNotAll { to, .. } => Some(to),
            _ => None,
        }
    }
}

impl Program {
    /// Returns how many steps write each register, by number.
    pub(crate) fn writes(&self) -> Vec<u32> {
        let mut writes = vec![0; self.classes.len()];
        self.steps.iter().filter_map(|step| step.uses().write).for_each(|reg| writes[reg.index()] += 1);
        writes
    }
}
