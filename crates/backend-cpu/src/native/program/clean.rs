//! Removal of steps that nothing needs.

use super::{Program, Step};

impl Program {
    /// Returns whether code between two labels may be skipped or repeated at this step.
    fn is_boundary(step: &Step) -> bool {
        match step {
            Step::Bind(_)
            | Step::Jump(_)
            | Step::Cold
            | Step::EndCold
            | Step::LoopBegin
            | Step::LoopEnd
            | Step::BranchWide { .. }
            | Step::Branch { .. }
            | Step::CountDown { .. }
            | Step::BranchNone { .. }
            | Step::BranchAny { .. }
            | Step::Poll
            | Step::Return => true,
            Step::Move { .. }
            | Step::Scalar { .. }
            | Step::AddWide { .. }
            | Step::SubWide { .. }
            | Step::MinWide { .. }
            | Step::CompareScalar { .. }
            | Step::SelectScalar { .. }
            | Step::Vector1 { .. }
            | Step::Vector2 { .. }
            | Step::Fma { .. }
            | Step::Compare { .. }
            | Step::Blend { .. }
            | Step::Mask { .. }
            | Step::Broadcast { .. }
            | Step::BroadcastMask { .. }
            | Step::LoadScalar { .. }
            | Step::LoadBroadcast { .. }
            | Step::LoadRow { .. }
            | Step::StoreRow { .. }
            | Step::Gather { .. }
            | Step::Scatter { .. } => false,
        }
    }

    /// Removes steps whose results nothing reads, and then inputs that nothing reads.
    pub(crate) fn remove_dead(&mut self) {
        loop {
            let mut read = vec![false; self.classes.len()];
            for step in &self.steps {
                let uses = step.uses();
                // A register that is only read to compute itself is dead as well.
                for reg in uses.reads.into_iter().flatten() {
                    read[reg.index()] |= !uses.is_pure || uses.write != Some(reg);
                }
            }
            let before = self.steps.len();
            self.steps.retain(|step| {
                let uses = step.uses();
                !uses.is_pure || uses.write.is_none_or(|to| read[to.index()])
            });
            if self.steps.len() == before {
                self.inputs.retain(|(reg, _)| read[reg.index()]);
                return;
            }
        }
    }

    /// Computes into the target of a move where the moved value has no other use, and the target is not used between
    /// its computation and the move.
    pub(crate) fn coalesce_moves(&mut self) {
        let mut counts = vec![[0u32; 2]; self.classes.len()];
        for step in &self.steps {
            let uses = step.uses();
            uses.reads.into_iter().flatten().for_each(|reg| counts[reg.index()][0] += 1);
            uses.write.into_iter().for_each(|reg| counts[reg.index()][1] += 1);
        }
        for at in 0..self.steps.len() {
            let Step::Move { to, from } = self.steps[at] else { continue };
            if counts[from.index()] != [1, 1] {
                continue;
            }
            let mut origin = None;
            for (position, step) in self.steps[..at].iter().enumerate().rev() {
                let uses = step.uses();
                if uses.write == Some(from) {
                    origin = Some(position);
                    break;
                }
                if Self::is_boundary(step) || uses.write == Some(to) || uses.reads.contains(&Some(to)) {
                    break;
                }
            }
            if let Some(write) = origin.and_then(|position| self.steps[position].write_mut()) {
                *write = to;
                // A move to itself, which is removed below.
                self.steps[at] = Step::Move { to, from: to };
            }
        }
        self.steps.retain(|step| !matches!(step, Step::Move { to, from } if to == from));
    }
}
