//! Accesses proven to be in bounds, which lowering leaves unguarded.
//!
//! An access is in bounds if the range of its index lies below the length, or if an enclosing `if`, `for` or `while`,
//! or a precondition, states that the index is below a number that is at most the length. Facts hold in the block
//! where they were found and in all blocks nested in it, because values never change. If an index and the length are
//! multiples of the same number, the index plus less than that number is also in bounds. Elements of views are in
//! bounds with the narrower elements that they consist of. Two more patterns are recognized: an index in the workgroup's own part of a buffer, and the minimum of any number and the last index of
//! a non-empty buffer. A matrix is in bounds if ranges prove it for its last component.

mod parts;
mod tiles;

use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, HashSet};

use fulgurite_spec::{CompareOp, IntegerOp, MatrixLayout, Op, ScalarType, Type};

use crate::analysis::divisibility::{DivisibilityMap, gcd, power};
use crate::analysis::numbering::{Number, Numbering, conjuncts};
use crate::analysis::ranges::RangeMap;
use crate::analysis::walk::{Assumptions, Event, Walk};
use crate::kernel::{BlockId, InstId, InstKind, Kernel, Memory, Terminator, ValueDef, ValueId};
use crate::require::{Require, RequireNode};

use tiles::Tiles;

/// The maximum number of steps from bound to bound in a proof.
const MAX_STEPS: usize = 8;
/// The maximum number of facts that a proof examines. Without this limit, the analysis would take time proportional
/// to the product of facts and accesses. Accesses without a proof keep their guards.
const MAX_FACTS: usize = 256;
/// The exclusive upper bound of the literals in larger sums that prove a smaller one: the bytes of the largest vector.
const MAX_SUMS: u64 = 16;
/// The maximum number of parts of a condition that are examined.
const MAX_CONJUNCTS: usize = 4096;

/// The accesses of a kernel that are proven to be in bounds.
#[derive(Clone, Debug)]
pub struct BoundsMap {
    inside: Vec<bool>,
    /// The number of facts that all proofs together examined.
    #[cfg(test)]
    facts: usize,
}

impl BoundsMap {
    /// Analyzes `kernel`, which the verifier has accepted, given the ranges of its values.
    pub fn of(kernel: &Kernel, ranges: &RangeMap<'_>) -> Self {
        let mut prover = Prover::new(kernel, ranges);
        prover.preconditions();
        let mut inside = vec![false; kernel.insts.len()];
        // The number of facts known before each open block.
        let mut marks: Vec<usize> = Vec::new();
        let mut assumptions = Assumptions::default();
        // The counter of each `for` over indices whose body is entered later, and its exclusive bound.
        let mut counters: HashMap<BlockId, [ValueId; 2]> = HashMap::new();
        Walk::new(kernel).for_each(|event| match event {
            Event::Enter(block) => {
                marks.push(prover.undo.len());
                if let Some((condition, holds)) = assumptions.enter(block) {
                    prover.assume(condition, holds);
                }
                if let Some(counted) = counters.remove(&block) {
                    let [counter, end] = counted.map(|value| prover.number(value));
                    prover.fact(counter, end, Relation::Below);
                }
            }
            Event::Inst(id) => match kernel.inst(id).kind {
                InstKind::Load { memory, index }
                | InstKind::Store { memory, index, .. }
                | InstKind::Atomic { memory, index, .. } => {
                    inside[id.index()] = prover.is_inside(memory, index);
                }
                InstKind::CoopLoad { memory, offset, stride, layout } => {
                    let matrix = kernel.inst(id).results.first().map(|r| kernel.ty(*r));
                    inside[id.index()] =
                        matrix.is_some_and(|ty| prover.holds_matrix(memory, ty, layout, [offset, stride]));
                }
                InstKind::CoopStore { memory, offset, stride, layout, value } => {
                    let place = [offset, stride];
                    inside[id.index()] = prover.holds_matrix(memory, kernel.ty(value), layout, place);
                }
                InstKind::Scalar { op, ref operands, .. } => prover.computed(id, op, operands),
                InstKind::VecShuffle { .. }
                | InstKind::Id { .. }
                | InstKind::Len { .. }
                | InstKind::Fence { .. }
                | InstKind::Barrier { .. }
                | InstKind::SubgroupBarrier { .. }
                | InstKind::WorkgroupBroadcast { .. }
                | InstKind::Subgroup { .. }
                | InstKind::CoopFill { .. }
                | InstKind::CoopMulAdd { .. }
                | InstKind::CoopConvert { .. }
                | InstKind::Trap { .. } => {}
                InstKind::If { .. } | InstKind::While { .. } => assumptions.note(kernel, id),
                InstKind::For { end, body, .. } if is_index(kernel.ty(end)) => {
                    if let Some(counter) = kernel.block(body).params.first() {
                        counters.insert(body, [*counter, end]);
                    }
                }
                InstKind::For { .. } | InstKind::Region { .. } => {}
            },
            Event::Exit(_) => prover.forget(marks.pop().unwrap_or(0)),
            Event::Done(_) => {}
        });
        Self {
            inside,
            #[cfg(test)]
            facts: prover.seen.into_inner().facts,
        }
    }

    /// Returns a map without any proven access.
    pub fn unknown(kernel: &Kernel) -> Self {
        Self {
            inside: vec![false; kernel.insts.len()],
            #[cfg(test)]
            facts: 0,
        }
    }

    /// Returns whether this load, store or atomic is proven to be in bounds; for a matrix, all of its components.
    pub fn is_inside(&self, access: InstId) -> bool {
        self.inside[access.index()]
    }
}

/// Returns whether a value of this type can be an index. Facts relate such values as numbers, regardless of their
/// width.
fn is_index(ty: Type) -> bool {
    ty == Type::U32 || ty == Type::scalar(ScalarType::U64)
}

/// A relation between two numbers.
#[derive(Clone, Copy)]
enum Relation {
    Below,
    AtMost,
}

struct Prover<'a> {
    kernel: &'a Kernel,
    ranges: &'a RangeMap<'a>,
    numbering: Numbering<'a>,
    /// Computed on first use.
    divisors: OnceCell<DivisibilityMap>,
    tiles: Tiles<'a>,
    /// For each number, its known upper bounds, the latest last. `Below` bounds are exclusive.
    at_most: Vec<Vec<(Number, Relation)>>,
    /// An upper bound of each number; `u32::MAX` if unknown.
    most: Vec<u32>,
    /// Literals compared in preconditions, which need not be values of the kernel.
    literals: Vec<(u32, Number)>,
    /// The left sides of facts in the order found, used to remove them at the end of a block.
    undo: Vec<Number>,
    seen: RefCell<Seen>,
}

/// The state of the current proof.
#[derive(Default)]
struct Seen {
    /// For each number, the last proofs that reached it as an inclusive and as an exclusive upper bound.
    proofs: Vec<[u32; 2]>,
    proof: u32,
    /// The number of facts that this proof may still examine.
    left: usize,
    /// The number of facts that all proofs examined.
    #[cfg(test)]
    facts: usize,
}

impl Seen {
    /// Begins a proof. `numbers` is the count of numbers.
    fn begin(&mut self, numbers: usize) {
        self.proofs.resize(numbers, [0; 2]);
        self.proof += 1;
        self.left = MAX_FACTS;
    }

    /// Returns whether this proof reaches `number` for the first time.
    fn is_new(&mut self, number: Number, below: bool) -> bool {
        let last = &mut self.proofs[number.index()][usize::from(below)];
        core::mem::replace(last, self.proof) != self.proof
    }

    /// Returns whether this proof may examine one more fact, and counts it.
    fn may_go_on(&mut self) -> bool {
        let left = self.left.checked_sub(1);
        self.left = left.unwrap_or_default();
        #[cfg(test)]
        {
            self.facts += usize::from(left.is_some());
        }
        left.is_some()
    }
}

impl<'a> Prover<'a> {
    fn new(kernel: &'a Kernel, ranges: &'a RangeMap<'a>) -> Self {
        Self {
            kernel,
            ranges,
            numbering: Numbering::of(kernel),
            divisors: OnceCell::new(),
            tiles: Tiles::of(kernel, ranges),
            at_most: Vec::new(),
            most: Vec::new(),
            literals: Vec::new(),
            undo: Vec::new(),
            seen: RefCell::default(),
        }
    }

    /// Returns the divisors of values.
    fn divisors(&self) -> &DivisibilityMap {
        self.divisors.get_or_init(|| DivisibilityMap::of(self.kernel, self.ranges))
    }

    /// Returns the number of a value.
    fn number(&mut self, value: ValueId) -> Number {
        let Self { kernel, ranges, numbering, most, .. } = self;
        numbering.number(value, |value, number| note_most(most, number, greatest(kernel, ranges, value)))
    }

    fn preconditions(&mut self) {
        let kernel = self.kernel;
        for require in &kernel.requires {
            let types = require.types(kernel);
            for position in conjuncts(require) {
                let RequireNode::Op { op, operands } = &require.nodes[position as usize] else { continue };
                let [a, b] = operands.as_slice() else { continue };
                let numbers = (self.node(require, *a), self.node(require, *b));
                let indices = [a, b].iter().all(|i| types[**i as usize].is_some_and(is_index));
                if let ((Some(a), Some(b)), true, Some(op)) = (numbers, indices, CompareOp::of(*op)) {
                    self.relate(op, a, b);
                }
                for (number, node) in [(numbers.0, a), (numbers.1, b)] {
                    if let (Some(number), RequireNode::Literal(literal)) =
                        (number, &require.nodes[*node as usize])
                        && is_index(Type::scalar(literal.ty))
                        && let Ok(bits) = u32::try_from(literal.bits)
                    {
                        note_most(&mut self.most, number, bits);
                        self.literals.push((bits, number));
                    }
                }
            }
        }
        // The smallest sufficient literal comes first.
        self.literals.sort_unstable();
        self.literals.dedup();
    }

    /// Returns the number of a precondition's node.
    fn node(&mut self, require: &Require, position: u32) -> Option<Number> {
        let Self { kernel, ranges, numbering, most, .. } = self;
        let note = |value, number| note_most(most, number, greatest(kernel, ranges, value));
        numbering.node(require, position, note)
    }

    /// Returns an upper bound of a number, if known.
    fn most(&self, number: Number) -> Option<u32> {
        self.most.get(number.index()).copied().filter(|most| *most != u32::MAX)
    }

    /// Returns the literals of preconditions that are at least `least`, with their numbers.
    fn literals_from(&self, least: u64) -> &[(u32, Number)] {
        &self.literals[self.literals.partition_point(|(literal, _)| u64::from(*literal) < least)..]
    }

    /// Returns the upper bounds of a number, the latest fact first.
    fn bounds(&self, number: Number) -> impl Iterator<Item = (Number, Relation)> {
        self.at_most.get(number.index()).into_iter().flatten().rev().copied()
    }

    /// Adds the facts implied by a true comparison of two indices.
    fn relate(&mut self, op: CompareOp, a: Number, b: Number) {
        match op {
            CompareOp::Lt => self.fact(a, b, Relation::Below),
            CompareOp::Le => self.fact(a, b, Relation::AtMost),
            CompareOp::Gt => self.fact(b, a, Relation::Below),
            CompareOp::Ge => self.fact(b, a, Relation::AtMost),
            CompareOp::Eq => {
                self.fact(a, b, Relation::AtMost);
                self.fact(b, a, Relation::AtMost);
            }
            CompareOp::Ne => {}
        }
    }

    /// Adds the facts implied by the op that computes an index: a minimum is at most either operand, and subtracting
    /// a non-zero literal from a number at least as large gives a smaller number. Therefore `min(i, len - 1)` is in
    /// bounds if `len` is at least 1.
    fn computed(&mut self, inst: InstId, op: Op, operands: &[ValueId]) {
        let index = || {
            let result = *self.kernel.inst(inst).results.first()?;
            is_index(self.kernel.ty(result)).then_some(result)
        };
        match IntegerOp::of(op) {
            Some(IntegerOp::Min) => {
                let (Some(result), [a, b]) = (index(), operands) else { return };
                let [number, a, b] = [result, *a, *b].map(|value| self.number(value));
                self.fact(number, a, Relation::AtMost);
                self.fact(number, b, Relation::AtMost);
            }
            Some(IntegerOp::Sub) => {
                let (Some(result), [a, b]) = (index(), operands) else { return };
                let taken = self.kernel.literal(*b).and_then(|literal| u32::try_from(literal.bits).ok());
                let Some(taken) = taken.filter(|taken| *taken > 0) else { return };
                let from = self.number(*a);
                if self.is_at_least(from, taken) || self.has_elements(*a, taken) {
                    let number = self.number(result);
                    self.fact(number, from, Relation::Below);
                }
            }
            Some(
                IntegerOp::Compare(_)
                | IntegerOp::Add
                | IntegerOp::Mul
                | IntegerOp::MulHi
                | IntegerOp::Div
                | IntegerOp::Rem
                | IntegerOp::Neg
                | IntegerOp::Abs
                | IntegerOp::Sign
                | IntegerOp::Max
                | IntegerOp::Clamp
                | IntegerOp::AddSat
                | IntegerOp::SubSat
                | IntegerOp::And
                | IntegerOp::Or
                | IntegerOp::Xor
                | IntegerOp::Not
                | IntegerOp::Shl
                | IntegerOp::Shr
                | IntegerOp::RotateLeft
                | IntegerOp::RotateRight
                | IntegerOp::PopCount
                | IntegerOp::LeadingZeros
                | IntegerOp::TrailingZeros
                | IntegerOp::ReverseBits
                | IntegerOp::ExtractBits
                | IntegerOp::InsertBits
                | IntegerOp::DotPacked,
            )
            | None => {}
        }
    }

    /// Returns whether a value is the length of a view or buffer that is proven to have at least `count` elements.
    fn has_elements(&self, length: ValueId, count: u32) -> bool {
        let ValueDef::Inst(inst, _) = self.kernel.value(length).def else { return false };
        let InstKind::Len { memory } = self.kernel.inst(inst).kind else { return false };
        let base = self.kernel.base(memory);
        let [own, whole] = [memory, base].map(|memory| self.kernel.element(memory).size());
        let needed = (u64::from(count) * u64::from(own)).div_ceil(u64::from(whole.max(1)));
        let number = self.numbering.length(base, whole);
        number
            .zip(u32::try_from(needed).ok())
            .is_some_and(|(number, needed)| self.is_at_least(number, needed))
    }

    /// Returns whether a number is proven to be at least `least`.
    fn is_at_least(&self, number: Number, least: u32) -> bool {
        let mut seen = self.seen.borrow_mut();
        seen.begin(self.numbering.count());
        // Search from literals to the numbers that they bound from below. Each step adds at most one to the lower
        // bound.
        let literals = self.literals_from(u64::from(least.saturating_sub(MAX_STEPS as u32)));
        let mut front: Vec<(Number, u32)> =
            literals.iter().take(MAX_FACTS).map(|(bits, bound)| (*bound, *bits)).collect();
        for _ in 0..MAX_STEPS {
            if front.iter().any(|(bound, at_least)| *bound == number && *at_least >= least) {
                return true;
            }
            let mut next = Vec::new();
            for (bound, at_least) in front {
                for (above, relation) in self.bounds(bound) {
                    if !seen.may_go_on() {
                        return false;
                    }
                    let more = u32::from(matches!(relation, Relation::Below));
                    next.push((above, at_least.saturating_add(more)));
                }
            }
            front = next;
        }
        false
    }

    fn fact(&mut self, a: Number, b: Number, relation: Relation) {
        if self.at_most.len() <= a.index() {
            self.at_most.resize(self.numbering.count(), Vec::new());
        }
        self.at_most[a.index()].push((b, relation));
        self.undo.push(a);
    }

    fn forget(&mut self, mark: usize) {
        for number in self.undo.drain(mark..).rev() {
            self.at_most[number.index()].pop();
        }
    }

    /// Adds the facts implied by `condition` being equal to `holds`. A true `and` and a false `or` imply both
    /// operands.
    fn assume(&mut self, condition: ValueId, holds: bool) {
        let kernel = self.kernel;
        let mut stack = vec![(condition, holds)];
        let mut seen = HashSet::new();
        while let Some((condition, holds)) = stack.pop() {
            if seen.len() >= MAX_CONJUNCTS || !seen.insert((condition, holds)) {
                continue;
            }
            let ValueDef::Inst(inst, position) = kernel.value(condition).def else { continue };
            // The result of a region is the value that it yields.
            if let InstKind::Region { body, .. } = kernel.inst(inst).kind {
                if let Terminator::Yield(values) = &kernel.block(body).terminator {
                    stack.extend(values.get(position as usize).map(|v| (*v, holds)));
                }
                continue;
            }
            let InstKind::Scalar { op, operands, .. } = &kernel.inst(inst).kind else { continue };
            match (op, holds) {
                (Op::And, true) | (Op::Or, false) => {
                    stack.extend(operands.iter().map(|v| (*v, holds)));
                }
                (Op::Not, _) => stack.extend(operands.iter().map(|v| (*v, !holds))),
                (op, _) => {
                    let [a, b] = **operands else { continue };
                    if !is_index(kernel.ty(a)) {
                        continue;
                    }
                    let Some(op) = CompareOp::of(*op) else { continue };
                    let op = match (op, holds) {
                        (op, true) => op,
                        // Different values have no order.
                        (CompareOp::Eq, false) => continue,
                        (op, false) => op.negated(),
                    };
                    let (a, b) = (self.number(a), self.number(b));
                    self.relate(op, a, b);
                }
            }
        }
    }

    /// Returns the length of `memory` in elements of `size` bytes.
    fn length(&self, memory: Memory, size: u32) -> Option<Length> {
        let own = u64::from(self.kernel.element(memory).size());
        match self.kernel.array_len(memory) {
            Some(len) => {
                // An incomplete element at the end is not counted, which is conservative.
                let count = u64::from(len) * own / u64::from(size.max(1));
                u32::try_from(count).ok().map(Length::Known)
            }
            None => self.numbering.length(memory, size).map(Length::Number),
        }
    }

    /// Returns whether `index` is proven to be in bounds of `memory`.
    fn is_inside(&mut self, memory: Memory, index: ValueId) -> bool {
        let size = self.kernel.element(memory).size();
        let length = self.length(memory, size);
        if self.is_value_below(length, index) || self.tiles.is_inside(memory, index) {
            return true;
        }
        let (base, added) = self.sum(index);
        if self.is_sum_below(memory, size, base, added) {
            return true;
        }
        // A quotient is the index of `count` narrower elements, the last of which is behind those of the dividend.
        let Some((narrow, count)) = self.quotient(index) else { return false };
        if !size.is_multiple_of(count) || !self.divisors().is_multiple(narrow, 1, count) {
            return false;
        }
        let (size, behind) = (size / count, u64::from(count) - 1);
        let (base, added) = self.sum(narrow);
        self.is_sum_below(memory, size, narrow, behind)
            || added != 0 && self.is_sum_below(memory, size, base, added.saturating_add(behind))
    }

    /// Returns whether `base + added` is proven to be below the length of `memory` in elements of `size` bytes, other than by
    /// facts on the sum itself.
    fn is_sum_below(&mut self, memory: Memory, size: u32, base: ValueId, added: u64) -> bool {
        if added != 0 {
            // Both are multiples of `common`, so a base below the length is below it by at least that much. A sum
            // that wraps is even smaller.
            let divisors = self.divisors();
            let common = gcd(divisors.divisor(base), divisors.length_in(self.kernel, memory, size));
            let length = self.length(memory, size);
            if added < common && self.is_value_below(length, base) {
                return true;
            }
        }
        if self.is_larger_sum_below(memory, size, base, added) {
            return true;
        }
        // `count` elements form one element of a wider view, and `element` is its index.
        let Some((element, count)) = self.product(base).filter(|(_, count)| added < u64::from(*count)) else {
            return false;
        };
        let wide = size.checked_mul(count).and_then(|size| self.length(memory, size));
        self.is_value_below(wide, element)
    }

    /// Returns whether a sum of the same base and at least `added` is proven to be below the length. A multiple of a power of two
    /// and less than that do not wrap.
    fn is_larger_sum_below(&mut self, memory: Memory, size: u32, base: ValueId, added: u64) -> bool {
        let (ty, Some(length)) = (self.kernel.ty(base), self.length(memory, size)) else { return false };
        // No fact speaks of the sums of a literal.
        if !is_index(ty) || self.kernel.literal(base).is_some() {
            return false;
        }
        let room = power(self.divisors().divisor(base)).min(MAX_SUMS);
        let base = self.number(base);
        (added..room).any(|more| {
            let sum = self.numbering.sum(base, more, ty);
            sum.is_some_and(|sum| self.is_below(length, vec![(sum, false)]))
        })
    }

    /// Returns whether a value is proven to be below a length. `None` is a length that no fact mentions.
    fn is_value_below(&mut self, length: Option<Length>, value: ValueId) -> bool {
        length.is_some_and(|length| {
            let number = self.number(value);
            self.is_below(length, vec![(number, false)])
        })
    }

    /// Returns whether all components of a matrix of type `ty` at the given offset and stride are proven to be in
    /// bounds of `memory`.
    fn holds_matrix(
        &mut self,
        memory: Memory,
        ty: Type,
        layout: MatrixLayout,
        [offset, stride]: [ValueId; 2],
    ) -> bool {
        let size = self.kernel.element(memory).size();
        let (Some(shape), Some(length)) = (ty.matrix, self.length(memory, size)) else { return false };
        let (lines, along) = shape.lines(layout);
        let [offset, stride] = [offset, stride].map(|value| {
            let number = self.number(value);
            self.most(number).map(u64::from)
        });
        let (Some(offset), Some(stride)) = (offset, stride) else { return false };
        let line = (u64::from(along) * u64::from(ty.scalar.size())).div_ceil(u64::from(size.max(1)));
        let last = offset + u64::from(lines.saturating_sub(1)) * stride + line.saturating_sub(1);
        match length {
            Length::Known(length) => last < u64::from(length),
            Length::Number(_) => {
                let above = self.literals_from(last).iter().take(MAX_FACTS);
                let bounds = above.map(|(literal, bound)| (*bound, u64::from(*literal) > last)).collect();
                self.is_below(length, bounds)
            }
        }
    }

    /// Returns whether any of the upper bounds in `front` proves that a value is below `length`. The flag of a bound
    /// is true if it is exclusive.
    fn is_below(&self, length: Length, mut front: Vec<(Number, bool)>) -> bool {
        let mut seen = self.seen.borrow_mut();
        seen.begin(self.numbering.count());
        // Breadth-first from bound to bound. Each number is visited at most once as an inclusive and once as an
        // exclusive bound.
        for _ in 0..MAX_STEPS {
            let mut next = Vec::new();
            for (number, below) in front {
                if !seen.is_new(number, below) {
                    continue;
                }
                let most = self.most(number);
                let shown = match length {
                    Length::Number(length) => below && number == length,
                    Length::Known(length) => most.is_some_and(|m| m < length || (below && m == length)),
                };
                if shown {
                    return true;
                }
                let bounds =
                    self.bounds(number).map(|(bound, relation)| (bound, matches!(relation, Relation::Below)));
                let above = most.map_or(&[][..], |most| self.literals_from(u64::from(most)));
                let above = above.iter().map(|(literal, bound)| (*bound, Some(*literal) > most));
                for (bound, is_more) in bounds.chain(above) {
                    if !seen.may_go_on() {
                        return false;
                    }
                    next.push((bound, below || is_more));
                }
            }
            front = next;
        }
        false
    }
}

/// Returns an upper bound of a value, or `u32::MAX` if unknown.
fn greatest(kernel: &Kernel, ranges: &RangeMap<'_>, value: ValueId) -> u32 {
    match kernel.literal(value).filter(|literal| literal.ty == ScalarType::U64) {
        Some(literal) => u32::try_from(literal.bits).unwrap_or(u32::MAX),
        None if kernel.ty(value) == Type::U32 => ranges.range(value).most,
        None => u32::MAX,
    }
}

/// Records that a number is at most `known`.
fn note_most(most: &mut Vec<u32>, number: Number, known: u32) {
    if known != u32::MAX {
        if most.len() <= number.index() {
            most.resize(number.index() + 1, u32::MAX);
        }
        most[number.index()] = known.min(most[number.index()]);
    }
}

/// The length of a memory object.
#[derive(Clone, Copy)]
enum Length {
    /// The number of a buffer's length.
    Number(Number),
    /// The length of an array.
    Known(u32),
}

#[cfg(test)]
mod tests;
