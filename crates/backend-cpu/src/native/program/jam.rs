//! Unrolling and jamming of a loop over vectors.
//!
//! In a kernel with a loop whose rounds depend on each other, as of a hash, the processor waits for each result before it can
//! begin the next step. Several vectors that run the rounds together fill these waits.

use std::collections::HashSet;

use super::{Class, Label, Program, Reg, Step};

/// The maximum number of steps of all vectors together.
const MOST_STEPS: usize = 512;
/// The numbers of vectors to try, the best one first.
const FACTORS: [u32; 2] = [4, 2];

/// Which registers differ from vector to vector, by number.
struct Varying(Vec<bool>);

impl Varying {
    /// Finds what depends on `x`, the position of the vector.
    fn of(program: &Program, body: &[Step], x: Reg) -> Self {
        let mut varying = Self(vec![false; program.classes.len()]);
        varying.0[x.index()] = true;
        loop {
            let mut changed = false;
            for step in body {
                if let Some(to) = step.uses().write.filter(|to| !varying.has(*to))
                    && varying.is_read_by(step)
                {
                    varying.0[to.index()] = true;
                    changed = true;
                }
            }
            if !changed {
                return varying;
            }
        }
    }

    fn has(&self, reg: Reg) -> bool {
        self.0[reg.index()]
    }

    fn is_read_by(&self, step: &Step) -> bool {
        step.uses().reads.into_iter().flatten().any(|reg| self.has(reg))
    }

    /// Returns whether each vector has a step of its own.
    fn is_accessed_by(&self, step: &Step) -> bool {
        self.is_read_by(step) || step.uses().write.is_some_and(|to| self.has(to))
    }
}

impl Program {
    /// Returns the body of a loop over vectors for several vectors at a time, with their number, if that is of use: the body
    /// has a loop, goes the same way for all vectors, and `vectors` registers hold what it needs. `x` is the position of
    /// the first one, and `lanes` the distance to the next.
    pub(crate) fn jam(
        &mut self,
        body: &[Step],
        x: Reg,
        lanes: u32,
        vectors: u32,
    ) -> Option<(u32, Vec<Step>)> {
        let body = &self.read(body);
        let varying = Varying::of(self, body, x);
        let goes_the_same_way = body.iter().all(|step| match step {
            Step::Branch { .. }
            | Step::BranchWide { .. }
            | Step::CountDown { .. }
            | Step::BranchNone { .. }
            | Step::BranchAny { .. }
            | Step::BranchNotAll { .. } => !varying.is_read_by(step),
            Step::Atomic { .. } | Step::UpdateRow { .. } | Step::Cold | Step::Return => false,
            _ => true,
        });
        if !goes_the_same_way || !body.contains(&Step::LoopBegin) {
            return None;
        }
        let of_each = body.iter().filter(|step| varying.is_accessed_by(step)).count();
        let factor = FACTORS.into_iter().find(|factor| {
            body.len() + of_each * (*factor as usize - 1) <= MOST_STEPS
                && self.most_live(body, &varying, *factor) <= vectors
        })?;
        Some((factor, self.jammed(body, x, lanes, &varying, factor)))
    }

    /// Returns the steps of the body whose results it reads, and those that have effects.
    fn read(&self, body: &[Step]) -> Vec<Step> {
        let mut is_read = vec![false; self.classes.len()];
        let mut is_kept = vec![false; body.len()];
        loop {
            let mut changed = false;
            for (step, is_kept) in body.iter().zip(&mut is_kept).rev() {
                let uses = step.uses();
                if *is_kept || uses.is_pure && !uses.write.is_some_and(|to| is_read[to.index()]) {
                    continue;
                }
                (*is_kept, changed) = (true, true);
                uses.reads.into_iter().flatten().for_each(|reg| is_read[reg.index()] = true);
            }
            if !changed {
                return body
                    .iter()
                    .zip(is_kept)
                    .filter(|(_, is_kept)| *is_kept)
                    .map(|(step, _)| *step)
                    .collect();
            }
        }
    }

    /// Returns how many registers for vectors and masks are in use at a time in the body's loops, at most, if `factor` vectors
    /// run together.
    fn most_live(&self, body: &[Step], varying: &Varying, factor: u32) -> u32 {
        // The positions of the first and the last access to each register. Registers that a loop accesses and other code, too,
        // are in use in the whole loop.
        let mut spans: Vec<Option<[usize; 2]>> = vec![None; self.classes.len()];
        let mut open: Vec<usize> = Vec::new();
        let mut loops = Vec::new();
        for (at, step) in body.iter().enumerate() {
            match step {
                Step::LoopBegin => open.push(at),
                Step::LoopEnd => loops.extend(open.pop().map(|begin| [begin, at])),
                _ => {}
            }
            let uses = step.uses();
            for reg in uses.reads.into_iter().chain([uses.write]).flatten() {
                spans[reg.index()].get_or_insert([at, at])[1] = at;
            }
        }
        let inputs: HashSet<usize> = self.inputs.iter().map(|(reg, _)| reg.index()).collect();
        for [begin, end] in &loops {
            for (number, span) in spans.iter_mut().enumerate() {
                let Some([first, last]) = span else { continue };
                let is_inside = *first > *begin && *last < *end;
                let is_accessed = *first < *end && *last > *begin;
                if is_accessed && (!is_inside || inputs.contains(&number)) {
                    (*first, *last) = ((*first).min(*begin), (*last).max(*end));
                }
            }
        }
        let live = |at: usize| -> u32 {
            let registers = spans.iter().enumerate().filter(|(number, span)| {
                self.classes[*number] != Class::Scalar
                    && span.is_some_and(|[first, last]| first <= at && at <= last)
            });
            registers.map(|(number, _)| if varying.0[number] { factor } else { 1 }).sum()
        };
        loops.iter().flat_map(|[begin, end]| *begin..=*end).map(live).max().unwrap_or(0)
    }

    fn jammed(&mut self, body: &[Step], x: Reg, lanes: u32, varying: &Varying, factor: u32) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut positions = vec![x];
        for number in 1..factor {
            let to = self.reg(Class::Scalar);
            steps.push(Step::AddWide { to, a: x, b: (number * lanes) as i32 });
            positions.push(to);
        }
        // The registers and labels of each vector in place of those of one.
        let mut names: Vec<Vec<Option<Reg>>> = vec![vec![None; varying.0.len()]; factor as usize];
        for step in body {
            let Some(to) = step.uses().write else { continue };
            if names[0][to.index()].is_some() || to == x {
                continue;
            }
            let class = self.class(to);
            let common = self.reg(class);
            for (number, names) in names.iter_mut().enumerate() {
                let own = if number == 0 || !varying.has(to) { common } else { self.reg(class) };
                names[to.index()] = Some(own);
            }
        }
        for (names, position) in names.iter_mut().zip(positions) {
            names[x.index()] = Some(position);
        }
        let mut labels: Vec<(Label, Label)> = Vec::new();
        for step in body {
            if let Step::Bind(label) = step {
                labels.push((*label, self.label()));
            }
        }
        for step in body {
            let copies = if varying.is_accessed_by(step) { factor as usize } else { 1 };
            for names in &names[..copies] {
                let mut copy = *step;
                copy.registers_mut(|reg, _| {
                    if let Some(Some(name)) = names.get(reg.index()) {
                        *reg = *name;
                    }
                });
                if let Some(label) = copy.label_mut()
                    && let Some((_, own)) = labels.iter().find(|(given, _)| given == label)
                {
                    *label = *own;
                }
                steps.push(copy);
            }
        }
        steps
    }
}
