//! Which accesses are surely in bounds: lowering leaves out their guards.
//!
//! An access is in bounds if its index's range lies below the length, or if an enclosing `if`, `for` or `while`,
//! or a precondition, says that the index is below something that is at most the length. Facts hold where they
//! were found and in all blocks inside: values never change.

use std::collections::HashMap;

use fulgurite_spec::{Op, Type};

use crate::analysis::numbering::{Number, Numbering, conjuncts};
use crate::analysis::ranges::RangeMap;
use crate::analysis::walk::{Event, Walk, instructions};
use crate::kernel::{BlockId, InstId, InstKind, Kernel, Memory, Terminator, ValueDef, ValueId};
use crate::require::RequireNode;

/// How many steps from one bound to the next a proof may take.
const MAX_STEPS: usize = 8;

/// For each instruction of a kernel, whether it is an access that is surely in bounds.
#[derive(Clone, Debug)]
pub struct BoundsMap {
    inside: Vec<bool>,
}

impl BoundsMap {
    /// Analyses `kernel`, which the verifier has accepted, given the ranges of its values.
    pub fn of(kernel: &Kernel, ranges: &RangeMap) -> Self {
        let mut prover = Prover::new(kernel, ranges);
        prover.preconditions();
        let mut inside = vec![false; kernel.insts.len()];
        // How many facts each open block found.
        let mut marks: Vec<usize> = Vec::new();
        let mut assumptions = assumptions(kernel);
        let counters = counters(kernel);
        for event in Walk::new(kernel) {
            match event {
                Event::Enter(block) => {
                    marks.push(prover.undo.len());
                    for (condition, holds) in assumptions.remove(&block).unwrap_or_default() {
                        prover.assume(condition, holds);
                    }
                    if let Some((counter, end)) = counters.get(&block) {
                        let numbers = [counter, end].map(|v| prover.numbering.number(*v));
                        prover.fact(numbers[0], numbers[1], Relation::Below);
                    }
                }
                Event::Inst(id) => match kernel.inst(id).kind {
                    InstKind::Load { memory, index }
                    | InstKind::Store { memory, index, .. }
                    | InstKind::Atomic { memory, index, .. } => {
                        inside[id.index()] = prover.is_inside(memory, index);
                    }
                    _ => {}
                },
                Event::Exit(_) => prover.forget(marks.pop().unwrap_or(0)),
                Event::Done(_) => {}
            }
        }
        Self { inside }
    }

    /// Whether this load, store or atomic is surely in bounds.
    pub fn is_inside(&self, access: InstId) -> bool {
        self.inside[access.index()]
    }
}

/// What holds on entering each block: conditions, and whether they hold or fail.
fn assumptions(kernel: &Kernel) -> HashMap<BlockId, Vec<(ValueId, bool)>> {
    let mut found: HashMap<BlockId, Vec<(ValueId, bool)>> = HashMap::new();
    for inst in instructions(kernel).map(|id| kernel.inst(id)) {
        match &inst.kind {
            InstKind::If { condition, then_block, else_block } => {
                found.entry(*then_block).or_default().push((*condition, true));
                found.entry(*else_block).or_default().push((*condition, false));
            }
            InstKind::While { header, body, .. } => {
                if let Terminator::Condition(go) = kernel.block(*header).terminator {
                    found.entry(*body).or_default().push((go, true));
                }
            }
            _ => {}
        }
    }
    found
}

/// For the body of each `for` over `u32`, the counter and the end that it stays below.
fn counters(kernel: &Kernel) -> HashMap<BlockId, (ValueId, ValueId)> {
    let bodies = instructions(kernel).filter_map(|id| match kernel.inst(id).kind {
        InstKind::For { end, body, .. } if kernel.ty(end) == Type::U32 => {
            kernel.block(body).params.first().map(|counter| (body, (*counter, end)))
        }
        _ => None,
    });
    bodies.collect()
}

/// A relation between two numbers.
#[derive(Clone, Copy)]
enum Relation {
    Below,
    AtMost,
}

struct Prover<'a> {
    kernel: &'a Kernel,
    numbering: Numbering,
    /// For each number, those that it is at most, and whether it is below.
    at_most: HashMap<Number, Vec<(Number, Relation)>>,
    /// The greatest value that each number can have, where that is known.
    most: HashMap<Number, u32>,
    /// The literals that preconditions compare with something, which need not be values of the kernel.
    literals: Vec<(u32, Number)>,
    /// The left sides of facts in the order found, to forget them again.
    undo: Vec<Number>,
}

impl<'a> Prover<'a> {
    fn new(kernel: &'a Kernel, ranges: &'a RangeMap) -> Self {
        let numbering = Numbering::of(kernel);
        let mut most: HashMap<Number, u32> = HashMap::new();
        for value in (0..kernel.values.len()).map(ValueId::new) {
            let known = ranges.range(value).most;
            if known != u32::MAX && kernel.ty(value) == Type::U32 {
                let entry = most.entry(numbering.number(value)).or_insert(known);
                *entry = known.min(*entry);
            }
        }
        Self { kernel, numbering, at_most: HashMap::new(), most, literals: Vec::new(), undo: Vec::new() }
    }

    fn preconditions(&mut self) {
        let kernel = self.kernel;
        for require in &kernel.requires {
            for position in conjuncts(require) {
                let RequireNode::Op { op, operands } = &require.nodes[position as usize] else { continue };
                let [a, b] = operands.as_slice() else { continue };
                let numbers =
                    (self.numbering.node(kernel, require, *a), self.numbering.node(kernel, require, *b));
                let types = require.types(kernel);
                let u32s = [a, b].iter().all(|i| types[**i as usize] == Some(Type::U32));
                if let ((Some(a), Some(b)), true) = (numbers, u32s) {
                    self.relate(*op, a, b);
                }
                for (number, node) in [(numbers.0, a), (numbers.1, b)] {
                    if let (Some(number), RequireNode::Literal(l)) = (number, &require.nodes[*node as usize])
                    {
                        self.most.insert(number, l.bits as u32);
                        self.literals.push((l.bits as u32, number));
                    }
                }
            }
        }
    }

    /// Adds what a comparison that holds says of two `u32`s.
    fn relate(&mut self, op: Op, a: Number, b: Number) {
        match op {
            Op::Lt => self.fact(a, b, Relation::Below),
            Op::Le => self.fact(a, b, Relation::AtMost),
            Op::Gt => self.fact(b, a, Relation::Below),
            Op::Ge => self.fact(b, a, Relation::AtMost),
            Op::Eq => {
                self.fact(a, b, Relation::AtMost);
                self.fact(b, a, Relation::AtMost);
            }
            _ => {}
        }
    }

    fn fact(&mut self, a: Number, b: Number, relation: Relation) {
        self.at_most.entry(a).or_default().push((b, relation));
        self.undo.push(a);
    }

    fn forget(&mut self, mark: usize) {
        for number in self.undo.drain(mark..).rev() {
            if let Some(facts) = self.at_most.get_mut(&number) {
                facts.pop();
            }
        }
    }

    /// Adds what follows from `condition` being `holds`; `and` that holds, and `or` that fails, say both sides.
    fn assume(&mut self, condition: ValueId, holds: bool) {
        let kernel = self.kernel;
        let mut stack = vec![(condition, holds)];
        while let Some((condition, holds)) = stack.pop() {
            let ValueDef::Inst(inst, _) = kernel.value(condition).def else { continue };
            let InstKind::Scalar { op, operands, .. } = &kernel.inst(inst).kind else { continue };
            match (op, holds) {
                (Op::And, true) | (Op::Or, false) if stack.len() < 64 => {
                    stack.extend(operands.iter().map(|v| (*v, holds)));
                }
                (Op::Not, _) => stack.extend(operands.iter().map(|v| (*v, !holds))),
                (op, _) => {
                    let [a, b] = **operands else { continue };
                    if kernel.ty(a) != Type::U32 {
                        continue;
                    }
                    let op = match (op, holds) {
                        (op, true) => *op,
                        (Op::Lt, false) => Op::Ge,
                        (Op::Le, false) => Op::Gt,
                        (Op::Gt, false) => Op::Le,
                        (Op::Ge, false) => Op::Lt,
                        (Op::Ne, false) => Op::Eq,
                        _ => continue,
                    };
                    let (a, b) = (self.numbering.number(a), self.numbering.number(b));
                    self.relate(op, a, b);
                }
            }
        }
    }

    /// Whether `index` is surely an element of `memory`.
    fn is_inside(&self, memory: Memory, index: ValueId) -> bool {
        let length = match (self.kernel.array_len(memory), self.numbering.length(self.kernel, memory)) {
            (Some(len), _) => Length::Known(len),
            (None, Some(number)) => Length::Number(number),
            (None, None) => return false,
        };
        // From bound to bound, each number once for each of: shown to be at most it, shown to be below it.
        let mut seen: Vec<(Number, bool)> = Vec::new();
        let mut front = vec![(self.numbering.number(index), false)];
        for _ in 0..MAX_STEPS {
            let mut next = Vec::new();
            for (number, below) in core::mem::take(&mut front) {
                if seen.contains(&(number, below)) {
                    continue;
                }
                seen.push((number, below));
                let most = self.most.get(&number).copied();
                let shown = match length {
                    Length::Number(length) => below && number == length,
                    Length::Known(length) => most.is_some_and(|m| m < length || (below && m == length)),
                };
                if shown {
                    return true;
                }
                for (bound, relation) in self.at_most.get(&number).into_iter().flatten() {
                    next.push((*bound, below || matches!(relation, Relation::Below)));
                }
                if let Some(most) = most {
                    let above = self.literals.iter().filter(|(literal, _)| *literal >= most);
                    next.extend(above.map(|(literal, bound)| (*bound, below || *literal > most)));
                }
            }
            front = next;
        }
        false
    }
}

/// How long a memory object is.
#[derive(Clone, Copy)]
enum Length {
    /// A buffer's, by number.
    Number(Number),
    /// An array's.
    Known(u32),
}

#[cfg(test)]
mod tests;
