//! A divisor of each integer value, used to prove alignment and bounds.
//!
//! Values are treated as unsigned. A sum or product that may wrap keeps only the power of two in its divisor; ranges
//! show that it does not wrap. Carried values are assumed to be multiples of every number until the yielded values
//! refute it.

use std::collections::HashMap;

use fulgurite_spec::{IdOp, IntegerOp, Literal, Op, ScalarOp, ScalarType, SubgroupOp, Type};

use crate::analysis::numbering::conjuncts;
use crate::analysis::ranges::{Range, RangeMap};
use crate::analysis::walk::{Event, Walk};
use crate::kernel::{
    BlockId, BufferId, Combine, Control, Inst, InstKind, Kernel, Memory, Operands, ParamId, Terminator,
    ValueDef, ValueId,
};
use crate::require::{Require, RequireNode};

/// The maximum number of passes, after which carried values are assumed to have the divisor 1.
const MAX_PASSES: usize = 12;

/// A number that divides a value; 0 if the value is always 0, which every number divides.
type Divisor = u64;

/// A launch argument that preconditions can refer to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Leaf {
    Param(ParamId),
    Len(BufferId),
    NumWorkgroups(u8),
}

/// A divisor of each value of a kernel.
#[derive(Clone, Debug)]
pub struct DivisibilityMap {
    divisors: Vec<Divisor>,
    /// Divisors of the lengths of buffers.
    lengths: Vec<Divisor>,
}

impl DivisibilityMap {
    /// Analyzes `kernel`, whose structure and types the verifier has checked, given the ranges of its values.
    pub fn of(kernel: &Kernel, ranges: &RangeMap<'_>) -> Self {
        let stated = stated(kernel);
        let known = |leaf: Leaf| stated.get(&leaf).copied().unwrap_or(1);
        let mut divisors = vec![1; kernel.values.len()];
        for id in (0..kernel.values.len()).map(ValueId::new) {
            let slot = &mut divisors[id.index()];
            match (kernel.value(id).def, kernel.literal(id)) {
                (_, Some(literal)) => *slot = of_literal(literal),
                (ValueDef::Param(param), _) if kernel.ty(id).is_scalar() => *slot = known(Leaf::Param(param)),
                _ => {}
            }
        }
        let lengths = (0..kernel.buffers.len()).map(|i| known(Leaf::Len(BufferId::new(i)))).collect();
        let mut finder = Finder {
            kernel,
            ranges,
            map: Self { divisors, lengths },
            grid: core::array::from_fn(|axis| known(Leaf::NumWorkgroups(axis as u8))),
        };
        finder.suppose(0);
        let settled = (0..MAX_PASSES).any(|_| !finder.pass());
        if !settled {
            finder.suppose(1);
            finder.pass();
        }
        finder.map
    }

    /// Returns a divisor of this value: 0 for a value that is always 0, otherwise at least 1, and 1 for values that
    /// are not scalar integers. Negative numbers are treated as unsigned.
    pub fn divisor(&self, value: ValueId) -> u64 {
        self.divisors[value.index()]
    }

    /// Returns whether `value` times `unit` is proven to be a multiple of `wanted`.
    pub fn is_multiple(&self, value: ValueId, unit: u32, wanted: u32) -> bool {
        scaled(self.divisor(value), u64::from(unit)).is_multiple_of(u64::from(wanted))
    }

    /// Returns a divisor of the length of a memory object.
    pub fn length(&self, kernel: &Kernel, memory: Memory) -> u64 {
        self.length_in(kernel, memory, kernel.element(memory).size())
    }

    /// Returns a divisor of the number of whole elements of `size` bytes in a memory object.
    pub(crate) fn length_in(&self, kernel: &Kernel, memory: Memory, size: u32) -> u64 {
        let own = kernel.element(memory).size();
        if let Some(len) = kernel.array_len(memory) {
            return match u64::from(len).checked_mul(u64::from(own)) {
                Some(bytes) if size != 0 && bytes.is_multiple_of(size.into()) => bytes / u64::from(size),
                Some(_) | None => 1,
            };
        }
        let Memory::Buffer(base) = kernel.base(memory) else { return 1 };
        let bytes =
            scaled(self.lengths[base.index()], u64::from(kernel.element(Memory::Buffer(base)).size()));
        match u64::from(size) {
            0 => 1,
            own if bytes.is_multiple_of(own) => bytes / own,
            _ => 1,
        }
    }
}

/// Returns the greatest common divisor, where 0 is a multiple of every number.
pub(crate) fn gcd(a: Divisor, b: Divisor) -> Divisor {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Returns the least common multiple, or the larger operand if it overflows.
fn lcm(a: Divisor, b: Divisor) -> Divisor {
    match gcd(a, b) {
        0 => 0,
        common => (a / common).checked_mul(b).unwrap_or(a.max(b)),
    }
}

/// Returns the largest power of two that divides `divisor`, or 0 for 0.
pub(crate) fn power(divisor: Divisor) -> Divisor {
    divisor & divisor.wrapping_neg()
}

/// Returns a divisor of products: the product of the divisors, or only its power of two if it overflows.
fn scaled(a: Divisor, b: Divisor) -> Divisor {
    let powers = || 1u64.checked_shl(a.trailing_zeros() + b.trailing_zeros()).unwrap_or(1 << 63);
    a.checked_mul(b).unwrap_or_else(powers)
}

fn of_literal(literal: Literal) -> Divisor {
    match literal.ty {
        ty if !ty.is_integer() => 1,
        ty if ty.is_signed() => power(literal.bits),
        _ => literal.bits,
    }
}

/// Returns the divisors that preconditions state for parameters, lengths and grid sizes, in the forms `eq x, k`,
/// `eq x, y`, `eq (rem x, k), 0` and `eq (and x, 2ⁿ - 1), 0`.
fn stated(kernel: &Kernel) -> HashMap<Leaf, Divisor> {
    let mut known: HashMap<Leaf, Divisor> = HashMap::new();
    let mut equal: Vec<(Leaf, Leaf)> = Vec::new();
    for require in &kernel.requires {
        for position in conjuncts(require) {
            let RequireNode::Op { op: Op::Eq, operands } = &require.nodes[position as usize] else {
                continue;
            };
            let [a, b] = operands.as_slice() else { continue };
            for (a, b) in [(*a, *b), (*b, *a)] {
                let fact = match (leaf(require, a), literal(require, b)) {
                    (Some(leaf), Some(literal)) => Some((leaf, of_literal(literal))),
                    (None, Some(zero)) if zero.bits == 0 => remainder(require, a),
                    _ => None,
                };
                if let Some((leaf, divisor)) = fact {
                    let entry = known.entry(leaf).or_insert(1);
                    *entry = lcm(*entry, divisor);
                }
            }
            if let (Some(a), Some(b)) = (leaf(require, *a), leaf(require, *b)) {
                equal.push((a, b));
            }
        }
    }
    // Chains of equalities take several rounds.
    for _ in 0..4 {
        for (a, b) in &equal {
            let both = lcm(known.get(a).copied().unwrap_or(1), known.get(b).copied().unwrap_or(1));
            known.insert(*a, both);
            known.insert(*b, both);
        }
    }
    known
}

fn leaf(require: &Require, position: u32) -> Option<Leaf> {
    match require.nodes.get(position as usize)? {
        RequireNode::Param(id) => Some(Leaf::Param(*id)),
        RequireNode::Len(id) => Some(Leaf::Len(*id)),
        RequireNode::NumWorkgroups(axis) => Some(Leaf::NumWorkgroups(*axis)),
        RequireNode::Literal(_) | RequireNode::Op { .. } => None,
    }
}

fn literal(require: &Require, position: u32) -> Option<Literal> {
    match require.nodes.get(position as usize)? {
        RequireNode::Literal(literal) => Some(*literal),
        _ => None,
    }
}

/// Returns the parameter, length or grid size and its divisor that follow if the node at `position` is zero.
fn remainder(require: &Require, position: u32) -> Option<(Leaf, Divisor)> {
    let RequireNode::Op { op, operands } = require.nodes.get(position as usize)? else { return None };
    let [a, b] = operands.as_slice() else { return None };
    if *op == Op::Rem {
        // `x % 0` is 0 and implies nothing.
        return Some((leaf(require, *a)?, of_literal(literal(require, *b)?).max(1)));
    }
    if *op != Op::And {
        return None;
    }
    let low = |mask: Literal| power(mask.bits.wrapping_add(1)).max(1);
    match (leaf(require, *a), leaf(require, *b)) {
        (Some(leaf), None) => Some((leaf, low(literal(require, *b)?))),
        (None, Some(leaf)) => Some((leaf, low(literal(require, *a)?))),
        _ => None,
    }
}

struct Finder<'a> {
    kernel: &'a Kernel,
    ranges: &'a RangeMap<'a>,
    map: DivisibilityMap,
    grid: [Divisor; 3],
}

impl Finder<'_> {
    /// Sets the divisor of all carried values.
    fn suppose(&mut self, divisor: Divisor) {
        let kernel = self.kernel;
        for event in Walk::new(kernel) {
            let Event::Inst(id) = event else { continue };
            for param in carried(kernel, &kernel.inst(id).kind) {
                if is_integer(kernel.ty(*param)) {
                    self.map.divisors[param.index()] = divisor;
                }
            }
        }
    }

    /// Analyzes the kernel once. Returns whether a carried value changed.
    fn pass(&mut self) -> bool {
        let kernel = self.kernel;
        let mut changed = false;
        for event in Walk::new(kernel) {
            match event {
                Event::Inst(id) => {
                    let kind = &kernel.inst(id).kind;
                    if let InstKind::For { start, step, body, .. } = kind
                        && let Some(counter) = kernel.block(*body).params.first()
                    {
                        // The counter does not wrap.
                        let common = gcd(self.of(*start), self.of(*step));
                        self.set(*counter, common);
                    }
                }
                Event::Done(id) => {
                    let inst = kernel.inst(id);
                    changed |= self.carry(inst);
                    for (position, result) in inst.results.iter().enumerate() {
                        let divisor = self.result(inst, *result, position);
                        self.set(*result, divisor);
                    }
                }
                Event::Enter(_) | Event::Exit(_) => {}
            }
        }
        changed
    }

    fn of(&self, value: ValueId) -> Divisor {
        self.map.divisors[value.index()]
    }

    fn set(&mut self, value: ValueId, divisor: Divisor) {
        let ty = self.kernel.ty(value);
        self.map.divisors[value.index()] = match () {
            () if !is_integer(ty) => 1,
            () if ty.scalar.is_signed() => power(divisor),
            () => divisor,
        };
    }

    /// Combines the divisors of a loop's initial and yielded values. Returns whether a carried value changed.
    fn carry(&mut self, inst: &Inst) -> bool {
        let kernel = self.kernel;
        let (initial, body) = match inst.kind.control() {
            Some(Control::For { initial, body, .. } | Control::While { initial, body, .. }) => {
                (initial, body)
            }
            Some(Control::If { .. } | Control::Region { .. }) | None => return false,
        };
        let mut changed = false;
        for (position, param) in carried(kernel, &inst.kind).iter().enumerate() {
            let before = self.of(*param);
            let first = initial.get(position).map_or(1, |v| self.of(*v));
            let after = gcd(before, gcd(first, self.yielded(body, position)));
            self.set(*param, after);
            changed |= self.of(*param) != before;
        }
        changed
    }

    fn yielded(&self, block: BlockId, position: usize) -> Divisor {
        match &self.kernel.block(block).terminator {
            Terminator::Yield(values) => values.get(position).map_or(1, |v| self.of(*v)),
            Terminator::Return | Terminator::Condition(_) => 1,
        }
    }

    fn result(&self, inst: &Inst, result: ValueId, position: usize) -> Divisor {
        let kernel = self.kernel;
        match &inst.kind {
            InstKind::Scalar { op, operands, .. } => self.scalar(*op, operands, result),
            InstKind::Id { op, component } => self.id(*op, *component),
            InstKind::Len { memory } => self.map.length(kernel, *memory),
            InstKind::If { then_block, else_block, .. } => {
                gcd(self.yielded(*then_block, position), self.yielded(*else_block, position))
            }
            InstKind::Region { body, .. } => self.yielded(*body, position),
            InstKind::For { .. } | InstKind::While { .. } => {
                carried(kernel, &inst.kind).get(position).map_or(1, |v| self.of(*v))
            }
            // The value of some invocation, or zero.
            InstKind::WorkgroupBroadcast { value, .. } => self.of(*value),
            InstKind::Subgroup { op, combine, operands } => {
                let value = operands.first().map_or(1, |v| self.of(*v));
                match (SubgroupOp::of(*op), combine) {
                    (
                        Some(
                            SubgroupOp::Broadcast
                            | SubgroupOp::Shuffle
                            | SubgroupOp::ShuffleXor
                            | SubgroupOp::ShuffleUp
                            | SubgroupOp::ShuffleDown,
                        ),
                        _,
                    )
                    | (Some(SubgroupOp::Reduce), Some(Combine::Min | Combine::Max)) => value,
                    (Some(SubgroupOp::Reduce), Some(Combine::Add)) => power(value),
                    (
                        Some(SubgroupOp::Reduce),
                        Some(Combine::Mul | Combine::And | Combine::Or | Combine::Xor) | None,
                    )
                    | (
                        Some(
                            SubgroupOp::InclusiveScan
                            | SubgroupOp::ExclusiveScan
                            | SubgroupOp::Ballot
                            | SubgroupOp::BallotCount
                            | SubgroupOp::Match
                            | SubgroupOp::Any
                            | SubgroupOp::All
                            | SubgroupOp::Elect,
                        )
                        | None,
                        _,
                    ) => 1,
                }
            }
            InstKind::VecShuffle { .. }
            | InstKind::Load { .. }
            | InstKind::Store { .. }
            | InstKind::Atomic { .. }
            | InstKind::Fence { .. }
            | InstKind::Barrier { .. }
            | InstKind::SubgroupBarrier { .. }
            | InstKind::CoopLoad { .. }
            | InstKind::CoopStore { .. }
            | InstKind::CoopFill { .. }
            | InstKind::CoopMulAdd { .. }
            | InstKind::CoopConvert { .. }
            | InstKind::Trap { .. } => 1,
        }
    }

    fn id(&self, op: Op, component: u8) -> Divisor {
        let axis = usize::from(component);
        let Some(op) = IdOp::of(op) else { return 1 };
        match op {
            IdOp::NumWorkgroups => self.grid.get(axis).copied().unwrap_or(1),
            IdOp::LocalId if self.kernel.workgroup[axis.min(2)] == 1 => 0,
            IdOp::LocalId
            | IdOp::GlobalId
            | IdOp::WorkgroupId
            | IdOp::LocalIndex
            | IdOp::Lane
            | IdOp::SubgroupId
            | IdOp::SubgroupSize
            | IdOp::NumSubgroups
            | IdOp::LaneMaskLt => 1,
        }
    }

    fn scalar(&self, op: Op, operands: &Operands, result: ValueId) -> Divisor {
        let kernel = self.kernel;
        let of = |position: usize| operands.get(position).map_or(1, |v| self.of(*v));
        let ty = |position: usize| operands.get(position).map(|v| kernel.ty(*v));
        let literal = |position: usize| operands.get(position).and_then(|v| kernel.literal(*v));
        let range = |position: usize| operands.get(position).map_or(Range::ALL, |v| self.ranges.range(*v));
        let Some(main) = ty(0) else { return 1 };
        let op = match op.on(main.scalar.class()) {
            Some(ScalarOp::Select) => return gcd(of(1), of(2)),
            Some(ScalarOp::Convert | ScalarOp::Bitcast) if is_integer(main) => {
                let to = kernel.ty(result).scalar;
                let grows = to.bits() > main.scalar.bits() || to == main.scalar;
                let keeps = grows && !main.scalar.is_signed() && !to.is_signed();
                return if keeps { of(0) } else { power(of(0)) };
            }
            Some(ScalarOp::Integer(op)) if is_integer(main) => op,
            Some(
                ScalarOp::Integer(_)
                | ScalarOp::Bool(_)
                | ScalarOp::Float(_)
                | ScalarOp::Convert
                | ScalarOp::Bitcast
                | ScalarOp::Pack
                | ScalarOp::Unpack
                | ScalarOp::Construct
                | ScalarOp::Extract
                | ScalarOp::Insert
                | ScalarOp::Dot,
            )
            | None => return 1,
        };
        // The divisor of a result that may have wrapped.
        let is_u32 = main == Type::U32;
        let wrapping = |divisor: Divisor, fits: bool| {
            if is_u32 && fits { divisor } else { power(divisor) }
        };
        let (a, b) = (range(0), range(1));
        match op {
            IntegerOp::Add => wrapping(gcd(of(0), of(1)), a.most.checked_add(b.most).is_some()),
            IntegerOp::Sub => wrapping(gcd(of(0), of(1)), a.least >= b.most),
            IntegerOp::Mul => wrapping(scaled(of(0), of(1)), a.most.checked_mul(b.most).is_some()),
            IntegerOp::Neg => power(of(0)),
            IntegerOp::Shl => {
                let Some(amount) = literal(1).map(|l| l.bits as u32 % main.scalar.bits()) else {
                    return power(of(0));
                };
                wrapping(scaled(of(0), 1 << amount), a.most.leading_zeros() >= amount)
            }
            IntegerOp::Shr => match literal(1).map(|l| l.bits as u32 % main.scalar.bits()) {
                Some(amount) if of(0) % (1 << amount) == 0 => of(0) >> amount,
                _ => 1,
            },
            IntegerOp::And => match (power(of(0)), power(of(1))) {
                (0, _) | (_, 0) => 0,
                (a, b) => a.max(b),
            },
            IntegerOp::Or | IntegerOp::Xor => gcd(power(of(0)), power(of(1))),
            IntegerOp::Min | IntegerOp::Max => gcd(of(0), of(1)),
            IntegerOp::Clamp => gcd(of(0), gcd(of(1), of(2))),
            IntegerOp::Div if !main.scalar.is_signed() => match literal(1).map(|l| l.bits) {
                Some(by) if by != 0 && of(0) % by == 0 => of(0) / by,
                _ => 1,
            },
            // The result is `x - x / y * y`, or 0 for a divisor of 0.
            IntegerOp::Rem => gcd(of(0), of(1)),
            IntegerOp::Compare(_)
            | IntegerOp::Div
            | IntegerOp::Abs
            | IntegerOp::Sign
            | IntegerOp::Not
            | IntegerOp::MulHi
            | IntegerOp::AddSat
            | IntegerOp::SubSat
            | IntegerOp::RotateLeft
            | IntegerOp::RotateRight
            | IntegerOp::PopCount
            | IntegerOp::LeadingZeros
            | IntegerOp::TrailingZeros
            | IntegerOp::ReverseBits
            | IntegerOp::ExtractBits
            | IntegerOp::InsertBits
            | IntegerOp::DotPacked => 1,
        }
    }
}

fn is_integer(ty: Type) -> bool {
    ty.is_scalar() && ty.scalar != ScalarType::Bool && ty.scalar.is_integer()
}

/// Returns the carried values of a loop.
fn carried<'k>(kernel: &'k Kernel, kind: &InstKind) -> &'k [ValueId] {
    match kind.control() {
        Some(Control::For { body, .. }) => kernel.block(body).params.get(1..).unwrap_or_default(),
        Some(Control::While { header, .. }) => &kernel.block(header).params,
        Some(Control::If { .. } | Control::Region { .. }) | None => &[],
    }
}

#[cfg(test)]
mod tests;
