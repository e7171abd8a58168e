//! Replacement of steps that compute what an earlier one has computed.

use std::collections::HashMap;

use super::{Program, Reg, Step};

impl Program {
    /// Computes each result once in code without labels.
    pub(crate) fn common(&mut self) {
        let writes = self.writes();
        let mut same: Vec<Option<Reg>> = vec![None; self.classes.len()];
        // The results of steps, which are given without their targets, and the steps that read each register that is written
        // more than once.
        let mut known: HashMap<Step, Reg> = HashMap::new();
        let mut readers: HashMap<Reg, Vec<Step>> = HashMap::new();
        let mut kept = Vec::with_capacity(self.steps.len());
        for mut step in std::mem::take(&mut self.steps) {
            step.replace_reads(&same);
            // Code may get to a label without what is before it, and to code that rarely runs and what follows it.
            if matches!(step, Step::Bind(_) | Step::Cold | Step::EndCold) {
                known.clear();
                readers.clear();
            }
            let uses = step.uses();
            if let Some(to) = uses.write {
                for reader in readers.remove(&to).into_iter().flatten() {
                    known.remove(&reader);
                }
                if writes[to.index()] == 1 && uses.is_computed() {
                    let computed = step.computing(Reg(u32::MAX));
                    if let Some(first) = known.get(&computed) {
                        same[to.index()] = Some(*first);
                        continue;
                    }
                    for reg in uses.reads.into_iter().flatten().filter(|reg| writes[reg.index()] > 1) {
                        readers.entry(reg).or_default().push(computed);
                    }
                    known.insert(computed, to);
                }
            }
            kept.push(step);
        }
        self.steps = kept;
    }
}
