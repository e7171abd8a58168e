//! Moves steps whose results only code that rarely runs needs into that code.
//!
//! A row of indices is such a result: where all of it is in bounds, only its first index is used.

use super::{Program, Step};

/// The largest number of places that a step is copied to.
const MOST_COPIES: usize = 8;

/// A stretch of code that rarely runs.
struct Section {
    /// The position of its first step, which is [`Step::Cold`].
    begin: usize,
    /// The loop that it is in, by the position of its first step.
    inside: Option<usize>,
    /// The steps that are moved to its start, from the last one on.
    moved: Vec<usize>,
}

/// The section and the loop of each step, by its position.
struct Places {
    /// The section that each step is in.
    sections: Vec<Option<usize>>,
    /// The innermost loop that each step is in.
    loops: Vec<Option<usize>>,
}

impl Program {
    fn places(&self) -> (Vec<Section>, Places) {
        let mut sections = Vec::new();
        let mut places = Places { sections: Vec::new(), loops: Vec::new() };
        let (mut open, mut is_cold) = (Vec::new(), false);
        for (at, step) in self.steps.iter().enumerate() {
            match step {
                Step::LoopBegin => open.push(at),
                Step::Cold => {
                    is_cold = true;
                    sections.push(Section { begin: at, inside: open.last().copied(), moved: Vec::new() });
                }
                _ => {}
            }
            places.sections.push(if is_cold { sections.len().checked_sub(1) } else { None });
            places.loops.push(open.last().copied());
            match step {
                Step::LoopEnd => {
                    open.pop();
                }
                Step::EndCold => is_cold = false,
                _ => {}
            }
        }
        (sections, places)
    }

    /// Moves steps, from the last one on, so that what only they need follows.
    pub(crate) fn sink(&mut self) {
        let (mut sections, places) = self.places();
        if sections.is_empty() {
            return;
        }
        let count = self.classes.len();
        // The positions at which each register is written, how often other code reads it, and the sections that do, up to one
        // more than a step may be copied to.
        let mut writes: Vec<Vec<usize>> = vec![Vec::new(); count];
        let mut others = vec![0u32; count];
        let mut readers: Vec<Vec<usize>> = vec![Vec::new(); count];
        let add = |readers: &mut Vec<usize>, section: usize| {
            if readers.len() <= MOST_COPIES && !readers.contains(&section) {
                readers.push(section);
            }
        };
        for (at, step) in self.steps.iter().enumerate() {
            let uses = step.uses();
            uses.write.into_iter().for_each(|reg| writes[reg.index()].push(at));
            for reg in uses.reads.into_iter().flatten() {
                match places.sections[at] {
                    Some(section) => add(&mut readers[reg.index()], section),
                    None => others[reg.index()] += 1,
                }
            }
        }
        let mut is_moved = vec![false; self.steps.len()];
        for at in (0..self.steps.len()).rev() {
            let step = &self.steps[at];
            let uses = step.uses();
            let Some(to) = uses.write else { continue };
            let needed = readers[to.index()].clone();
            if others[to.index()] > 0 || !(1..=MOST_COPIES).contains(&needed.len()) {
                continue;
            }
            let is_cold = places.sections[at].is_some();
            if is_cold || !uses.is_computed() || writes[to.index()].len() != 1 {
                continue;
            }
            // The operands must have the same values there: they are written once, or not between here and there.
            let has_same = |section: &usize, reg: super::Reg| {
                let Section { begin, inside, .. } = sections[*section];
                let writes = &writes[reg.index()];
                writes.len() <= 1
                    || (inside == places.loops[at] && !writes.iter().any(|write| (at..begin).contains(write)))
            };
            let operands: Vec<super::Reg> = uses.reads.into_iter().flatten().collect();
            let are_later = needed.iter().all(|section| sections[*section].begin > at);
            if !are_later || !needed.iter().all(|section| operands.iter().all(|reg| has_same(section, *reg)))
            {
                continue;
            }
            is_moved[at] = true;
            // The operands are read there now, and here no longer.
            for section in needed {
                sections[section].moved.push(at);
                operands.iter().for_each(|reg| add(&mut readers[reg.index()], section));
            }
            operands.iter().for_each(|reg| others[reg.index()] -= 1);
        }
        self.move_to(&sections, &is_moved);
    }

    /// Writes the steps in their new order.
    fn move_to(&mut self, sections: &[Section], is_moved: &[bool]) {
        let steps = std::mem::take(&mut self.steps);
        let mut next = sections.iter().peekable();
        // The moved steps of a section follow its first label.
        let mut waiting: Option<&Section> = None;
        for (at, step) in steps.iter().enumerate() {
            if let Some(section) = next.next_if(|section| section.begin == at) {
                waiting = Some(section);
            }
            if !is_moved[at] {
                self.steps.push(*step);
            }
            if let (Step::Bind(_), Some(section)) = (step, waiting) {
                self.steps.extend(section.moved.iter().rev().map(|at| steps[*at]));
                waiting = None;
            }
        }
    }
}
