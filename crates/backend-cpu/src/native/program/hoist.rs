//! Moves steps to before a loop if their results are the same in each of its rounds.

use super::uses::Uses;
use super::{Program, Reg, Step};

impl Uses {
    /// Returns whether the step computes its result from registers alone, without effects.
    pub(super) fn is_computed(&self) -> bool {
        self.is_pure && !self.is_load
    }
}

impl Program {
    /// Moves steps to before the loops that do not change their results, from the innermost loops on. Code that rarely runs
    /// stays.
    pub(crate) fn hoist(&mut self) {
        let writes = self.writes();
        // The steps of open loops, from the outermost one on; those of the program come first.
        let mut open: Vec<Vec<Step>> = vec![Vec::new()];
        // Marks the registers that a loop writes, by the number of the loop.
        let mut marks = vec![0u32; self.classes.len()];
        let mut number = 0;
        for step in std::mem::take(&mut self.steps) {
            if step == Step::LoopBegin {
                open.push(Vec::new());
            }
            if let Some(steps) = open.last_mut() {
                steps.push(step);
            }
            if step != Step::LoopEnd || open.len() < 2 {
                continue;
            }
            let Some(body) = open.pop() else { continue };
            number += 1;
            let written = body.iter().filter_map(|step| step.uses().write);
            written.for_each(|reg| marks[reg.index()] = number);
            let mut kept = Vec::with_capacity(body.len());
            let mut is_cold = false;
            let Some(outer) = open.last_mut() else { continue };
            for step in body {
                match step {
                    Step::Cold => is_cold = true,
                    Step::EndCold => is_cold = false,
                    _ => {}
                }
                let uses = step.uses();
                let changes = |reg: &Reg| marks[reg.index()] == number;
                let is_constant = !is_cold
                    && uses.is_computed()
                    && uses.write.is_some_and(|to| writes[to.index()] == 1)
                    && !uses.reads.iter().flatten().any(changes);
                if is_constant {
                    uses.write.into_iter().for_each(|to| marks[to.index()] = 0);
                    outer.push(step);
                } else {
                    kept.push(step);
                }
            }
            outer.extend(kept);
        }
        self.steps = open.into_iter().flatten().collect();
    }
}
