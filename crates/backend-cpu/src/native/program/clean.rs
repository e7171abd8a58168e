//! Removal of steps that nothing needs.

use super::{Program, Step, VectorOp2};

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
            | Step::BranchNotAll { .. }
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
            | Step::ShiftBy { .. }
            | Step::Vector2Row { .. }
            | Step::Fma { .. }
            | Step::Compare { .. }
            | Step::Blend { .. }
            | Step::Mask { .. }
            | Step::Broadcast { .. }
            | Step::Merge { .. }
            | Step::Permute { .. }
            | Step::MaskBits { .. }
            | Step::BroadcastMask { .. }
            | Step::LoadScalar { .. }
            | Step::LoadBroadcast { .. }
            | Step::LoadRow { .. }
            | Step::LoadRowNarrow { .. }
            | Step::StoreRowNarrow { .. }
            | Step::ScatterNarrow { .. }
            | Step::StoreScalar { .. }
            | Step::StoreRow { .. }
            | Step::StoreOne { .. }
            | Step::Gather { .. }
            | Step::Scatter { .. }
            | Step::Atomic { .. }
            | Step::UpdateRow { .. } => false,
        }
    }

    /// Removes steps whose results nothing reads, and then inputs that nothing reads.
    pub(crate) fn remove_dead(&mut self) {
        // Reads of a register by steps that compute another one or have an effect.
        let mut reads = vec![0u32; self.classes.len()];
        let counted = |step: &Step| {
            let uses = step.uses();
            let own = uses.write.filter(|_| uses.is_pure);
            uses.reads.into_iter().flatten().filter(move |reg| Some(*reg) != own)
        };
        self.steps.iter().flat_map(counted).for_each(|reg| reads[reg.index()] += 1);
        loop {
            let before = self.steps.len();
            // Backwards, so that what only dead steps read is dead in the same pass.
            let mut kept: Vec<Step> = Vec::with_capacity(before);
            for step in self.steps.drain(..).rev() {
                let uses = step.uses();
                if uses.is_pure && uses.write.is_some_and(|to| reads[to.index()] == 0) {
                    counted(&step).for_each(|reg| reads[reg.index()] -= 1);
                } else {
                    kept.push(step);
                }
            }
            kept.reverse();
            self.steps = kept;
            if self.steps.len() == before {
                self.inputs.retain(|(reg, _)| reads[reg.index()] > 0);
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
            if let Some(position) = origin {
                self.steps[position] = self.steps[position].computing(to);
                // A move to itself, which is removed below.
                self.steps[at] = Step::Move { to, from: to };
            }
        }
        self.steps.retain(|step| !matches!(step, Step::Move { to, from } if to == from));
    }

    /// Makes loads of consecutive words operands of the ops that use them, if one does and nothing is stored in between.
    pub(crate) fn fold_loads(&mut self, is_foldable: impl Fn(VectorOp2) -> bool) {
        let mut counts = vec![[0u32; 2]; self.classes.len()];
        for step in &self.steps {
            let uses = step.uses();
            uses.reads.into_iter().flatten().for_each(|reg| counts[reg.index()][0] += 1);
            uses.write.into_iter().for_each(|reg| counts[reg.index()][1] += 1);
        }
        let mut is_folded = vec![false; self.steps.len()];
        for (at, folded) in is_folded.iter_mut().enumerate() {
            let Step::LoadRow { to: loaded, words } = self.steps[at] else { continue };
            if counts[loaded.index()] != [1, 1] {
                continue;
            }
            for step in &mut self.steps[at + 1..] {
                let uses = step.uses();
                if let Step::Vector2 { op, to, a, b } = *step
                    && is_foldable(op)
                    && b == loaded
                {
                    *step = Step::Vector2Row { op, to, a, words };
                    *folded = true;
                    break;
                }
                let is_changed = [words.pointer, words.index].map(Some).contains(&uses.write);
                // A step with an effect may store to the loaded words, or jump.
                if !uses.is_pure || is_changed || uses.reads.contains(&Some(loaded)) {
                    break;
                }
            }
        }
        let mut is_folded = is_folded.into_iter();
        self.steps.retain(|_| !is_folded.next().unwrap_or(false));
    }
}
