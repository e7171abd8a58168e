//! The range of each `u32` of a kernel, from its definition and from preconditions that compare parameters and
//! lengths with literals.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

use fulgurite_spec::limits::MAX_SUBGROUP_SIZE;
use fulgurite_spec::{CompareOp, IdOp, IntegerOp, Literal, Op, ScalarOp, ScalarType, SubgroupOp, Type};

use crate::analysis::numbering::conjuncts;
use crate::analysis::walk::{instructions, operands};
use crate::kernel::{
    BlockId, Const, Control, InstId, InstKind, Kernel, Memory, Operands, Terminator, Value, ValueDef, ValueId,
};
use crate::require::{Require, RequireNode};

/// An inclusive range of `u32`, which is never empty. Contradictory preconditions may make it larger than necessary;
/// such kernels are never launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The smallest value.
    pub least: u32,
    /// The largest value.
    pub most: u32,
}

impl Range {
    /// The range of all `u32` values.
    pub const ALL: Range = Range { least: 0, most: u32::MAX };

    const fn new(least: u32, most: u32) -> Self {
        Self { least, most }
    }

    const fn up_to(most: u32) -> Self {
        Self { least: 0, most }
    }

    /// Returns the intersection with `least..=most`, or the whole range if the intersection is empty.
    fn narrowed(self, least: u32, most: u32) -> Self {
        let part = Self { least: self.least.max(least), most: self.most.min(most) };
        if part.least <= part.most { part } else { self }
    }

    fn union(self, other: Self) -> Self {
        Self { least: self.least.min(other.least), most: self.most.max(other.most) }
    }

    /// Returns the range from `least` to `most`, or [`Range::ALL`] if a bound overflowed.
    fn checked(least: Option<u32>, most: Option<u32>) -> Self {
        match (least, most) {
            (Some(least), Some(most)) => Self { least, most },
            _ => Self::ALL,
        }
    }
}

/// The ranges of a kernel's values; [`Range::ALL`] for types other than `u32`. A range is computed when it is first
/// asked for, with those that it depends on.
#[derive(Debug)]
pub struct RangeMap<'k> {
    kernel: &'k Kernel,
    /// The ranges computed so far, and those of parameters.
    ranges: RefCell<Vec<Option<Range>>>,
    /// The ranges of the lengths of buffers, from preconditions.
    lengths: Vec<Range>,
    /// The `for` of each body; computed on first use.
    loops: OnceCell<HashMap<BlockId, InstId>>,
}

impl<'k> RangeMap<'k> {
    /// Analyzes `kernel`, whose structure, dominance and types the verifier has checked. Carried values are assumed to
    /// have any value.
    pub fn of(kernel: &'k Kernel) -> Self {
        let mut map = Self {
            kernel,
            ranges: RefCell::new(vec![None; kernel.values.len()]),
            lengths: vec![Range::ALL; kernel.buffers.len()],
            loops: OnceCell::new(),
        };
        for param in kernel.params.iter().filter(|param| param.ty == Type::U32) {
            map.ranges.get_mut()[param.value.index()] = Some(Range::ALL);
        }
        kernel.requires.iter().for_each(|require| map.precondition(require));
        map
    }

    /// Returns a map in which every range is [`Range::ALL`].
    pub fn unknown(kernel: &'k Kernel) -> Self {
        Self {
            kernel,
            ranges: RefCell::new(vec![Some(Range::ALL); kernel.values.len()]),
            lengths: Vec::new(),
            loops: OnceCell::new(),
        }
    }

    /// Applies comparisons of parameters and lengths with literals.
    fn precondition(&mut self, require: &Require) {
        for position in conjuncts(require) {
            let RequireNode::Op { op, operands } = &require.nodes[position as usize] else { continue };
            let (Some(op), [a, b]) = (CompareOp::of(*op), operands.as_slice()) else { continue };
            let [a, b] = [a, b].map(|i| &require.nodes[*i as usize]);
            match (a, b) {
                (subject, RequireNode::Literal(bound)) => self.bounded(subject, op, *bound),
                (RequireNode::Literal(bound), subject) => self.bounded(subject, op.mirrored(), *bound),
                _ => {}
            }
        }
    }

    /// Applies the fact that `subject op bound` is true.
    fn bounded(&mut self, subject: &RequireNode, op: CompareOp, bound: Literal) {
        let range = match subject {
            RequireNode::Param(id) => {
                let param = self.kernel.params[id.index()].value;
                self.ranges.get_mut()[param.index()].as_mut()
            }
            RequireNode::Len(id) => self.lengths.get_mut(id.index()),
            _ => None,
        };
        let Some(range) = range.filter(|_| bound.ty == ScalarType::U32) else { return };
        let bound = bound.bits as u32;
        *range = match op {
            CompareOp::Lt => range.narrowed(0, bound.saturating_sub(1)),
            CompareOp::Le => range.narrowed(0, bound),
            CompareOp::Gt => range.narrowed(bound.saturating_add(1), u32::MAX),
            CompareOp::Ge => range.narrowed(bound, u32::MAX),
            CompareOp::Eq => range.narrowed(bound, bound),
            CompareOp::Ne => return,
        };
    }

    /// Returns the range of a value.
    pub fn range(&self, value: ValueId) -> Range {
        if let Some(known) = self.known(value) {
            return known;
        }
        // Operands first, without recursion: a chain of ops may be as long as the kernel.
        let (mut pending, mut needed) = (vec![value], Vec::new());
        while let Some(value) = pending.last().copied() {
            if self.known(value).is_none() {
                self.dependencies(value, &mut needed);
                needed.retain(|value| self.known(*value).is_none());
                if !needed.is_empty() {
                    pending.append(&mut needed);
                    continue;
                }
                let range = self.computed(value);
                self.ranges.borrow_mut()[value.index()] = Some(range);
            }
            pending.pop();
        }
        self.known(value).unwrap_or(Range::ALL)
    }

    /// Returns the range of a value that is of another type, a literal, or was computed before.
    fn known(&self, value: ValueId) -> Option<Range> {
        let Value { ty, def, .. } = self.kernel.value(value);
        if *ty != Type::U32 {
            return Some(Range::ALL);
        }
        match (self.ranges.borrow()[value.index()], def) {
            (None, ValueDef::Const(Const(bits))) => Some(Range::new(*bits as u32, *bits as u32)),
            (known, _) => known,
        }
    }

    /// Returns the maximum number of iterations of a `for`.
    pub fn most_trips(&self, start: ValueId, end: ValueId, step: ValueId) -> u64 {
        let kernel = self.kernel;
        let (Some(step), ty) = (kernel.literal(step), kernel.ty(start)) else { return u64::from(u32::MAX) };
        if ty != Type::U32 {
            return match (kernel.literal(start), kernel.literal(end)) {
                (Some(start), Some(end)) => {
                    fulgurite_spec::eval::trip_count(step.ty, start.bits, end.bits, step.bits)
                }
                _ => ty.scalar.mask(),
            };
        }
        let distance = self.range(end).most.saturating_sub(self.range(start).least);
        u64::from(distance).div_ceil(step.bits.max(1))
    }

    /// Returns the bounds of the `for` whose counter a value is.
    fn counted(&self, value: ValueId) -> Option<[ValueId; 2]> {
        let ValueDef::BlockParam(block, 0) = self.kernel.value(value).def else { return None };
        let loops = self.loops.get_or_init(|| {
            let body = |id: InstId| match self.kernel.inst(id).kind.control()? {
                Control::For { body, .. } => Some((body, id)),
                Control::If { .. } | Control::Region { .. } | Control::While { .. } => None,
            };
            instructions(self.kernel).filter_map(body).collect()
        });
        match self.kernel.inst(*loops.get(&block)?).kind.control()? {
            Control::For { start, end, .. } => Some([start, end]),
            Control::If { .. } | Control::Region { .. } | Control::While { .. } => None,
        }
    }

    /// Appends the values whose ranges decide the range of `value`.
    fn dependencies(&self, value: ValueId, found: &mut Vec<ValueId>) {
        let kernel = self.kernel;
        let ValueDef::Inst(inst, position) = kernel.value(value).def else {
            found.extend(self.counted(value).into_iter().flatten());
            return;
        };
        let mut yielded = |block: BlockId| {
            if let Terminator::Yield(values) = &kernel.block(block).terminator {
                found.extend(values.get(position as usize));
            }
        };
        let kind = &kernel.inst(inst).kind;
        match kind.control() {
            Some(Control::If { then_block, else_block, .. }) => {
                yielded(then_block);
                yielded(else_block);
            }
            Some(Control::Region { body, .. }) => yielded(body),
            Some(Control::For { .. } | Control::While { .. }) => {}
            None => found.extend(operands(kind)),
        }
    }

    /// Computes the range of a `u32` from those of its dependencies.
    fn computed(&self, value: ValueId) -> Range {
        let kernel = self.kernel;
        let ValueDef::Inst(inst, position) = kernel.value(value).def else {
            let Some([start, end]) = self.counted(value) else { return Range::ALL };
            // The body runs only while the counter is below the end.
            let most = self.range(end).most.saturating_sub(1);
            return Range::new(self.range(start).least.min(most), most);
        };
        match &kernel.inst(inst).kind {
            InstKind::Scalar { op, operands, .. } => self.scalar(*op, operands),
            InstKind::Id { op, component } => id_range(kernel, *op, *component),
            InstKind::Len { memory } => match (kernel.array_len(*memory), memory) {
                (Some(len), _) => Range::new(len, len),
                (None, Memory::Buffer(id)) => self.lengths.get(id.index()).copied().unwrap_or(Range::ALL),
                (None, _) => Range::ALL,
            },
            InstKind::If { then_block, else_block, .. } => {
                let [first, second] =
                    [then_block, else_block].map(|block| self.yielded(*block, position as usize));
                first.union(second)
            }
            InstKind::Region { body, .. } => self.yielded(*body, position as usize),
            InstKind::WorkgroupBroadcast { value, .. } => Range::up_to(self.range(*value).most),
            InstKind::Subgroup { op, operands, .. } => match SubgroupOp::of(*op) {
                Some(SubgroupOp::BallotCount) => Range::up_to(lanes(kernel)),
                Some(
                    SubgroupOp::Broadcast
                    | SubgroupOp::Shuffle
                    | SubgroupOp::ShuffleXor
                    | SubgroupOp::ShuffleUp
                    | SubgroupOp::ShuffleDown,
                ) => operands.first().map_or(Range::ALL, |v| self.range(*v)),
                Some(
                    SubgroupOp::Reduce
                    | SubgroupOp::InclusiveScan
                    | SubgroupOp::ExclusiveScan
                    | SubgroupOp::Ballot
                    | SubgroupOp::Match
                    | SubgroupOp::Any
                    | SubgroupOp::All
                    | SubgroupOp::Elect,
                )
                | None => Range::ALL,
            },
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
            | InstKind::Trap { .. }
            | InstKind::For { .. }
            | InstKind::While { .. } => Range::ALL,
        }
    }

    fn yielded(&self, block: BlockId, position: usize) -> Range {
        match &self.kernel.block(block).terminator {
            Terminator::Yield(values) => values.get(position).map_or(Range::ALL, |v| self.range(*v)),
            Terminator::Return | Terminator::Condition(_) => Range::ALL,
        }
    }

    fn scalar(&self, op: Op, operands: &Operands) -> Range {
        let range = |i: usize| operands.get(i).map_or(Range::ALL, |v| self.range(*v));
        let Some(first) = operands.first().map(|v| self.kernel.ty(*v)) else { return Range::ALL };
        let Some(op) = op.on(first.scalar.class()) else { return Range::ALL };
        match op {
            ScalarOp::Convert => match first {
                Type::BOOL => Range::up_to(1),
                Type::U32 => range(0),
                _ => Range::ALL,
            },
            ScalarOp::Select => range(1).union(range(2)),
            ScalarOp::Integer(op) if first == Type::U32 => of_op(op, [range(0), range(1), range(2)]),
            // Components of vectors are not tracked.
            ScalarOp::Integer(_)
            | ScalarOp::Bool(_)
            | ScalarOp::Float(_)
            | ScalarOp::Bitcast
            | ScalarOp::Pack
            | ScalarOp::Unpack
            | ScalarOp::Construct
            | ScalarOp::Extract
            | ScalarOp::Insert
            | ScalarOp::Dot => Range::ALL,
        }
    }
}

/// Returns the range of an op on `u32` operands of these ranges. Ranges beyond its operands are ignored.
fn of_op(op: IntegerOp, [a, b, c]: [Range; 3]) -> Range {
    match op {
        IntegerOp::Add => Range::checked(a.least.checked_add(b.least), a.most.checked_add(b.most)),
        IntegerOp::Sub => Range::checked(a.least.checked_sub(b.most), a.most.checked_sub(b.least)),
        IntegerOp::Mul => Range::checked(a.least.checked_mul(b.least), a.most.checked_mul(b.most)),
        // `x / 0` is `x`.
        IntegerOp::Div if b.least == 0 => Range::up_to(a.most),
        IntegerOp::Div => Range::new(a.least / b.most, a.most / b.least),
        // `x % 0` is 0; a dividend below the divisor is unchanged.
        IntegerOp::Rem => Range::up_to(a.most.min(b.most.saturating_sub(1))),
        IntegerOp::Min => Range::new(a.least.min(b.least), a.most.min(b.most)),
        IntegerOp::Max => Range::new(a.least.max(b.least), a.most.max(b.most)),
        IntegerOp::Clamp => {
            let raised = Range::new(a.least.max(b.least), a.most.max(b.most));
            Range::new(raised.least.min(c.least), raised.most.min(c.most))
        }
        IntegerOp::And => Range::up_to(a.most.min(b.most)),
        // The highest bit possible in either operand bounds the result.
        IntegerOp::Or | IntegerOp::Xor => Range::up_to(below_power_of_two(a.most | b.most)),
        IntegerOp::Shr if b.least == b.most => Range::new(a.least >> (b.least % 32), a.most >> (b.most % 32)),
        IntegerOp::Shr => Range::up_to(a.most),
        IntegerOp::Shl if b.least == b.most && a.most.leading_zeros() >= b.most % 32 => {
            Range::new(a.least << (b.least % 32), a.most << (b.most % 32))
        }
        IntegerOp::PopCount | IntegerOp::LeadingZeros | IntegerOp::TrailingZeros => Range::up_to(32),
        IntegerOp::ExtractBits => match c.most {
            count @ 0..32 => Range::up_to((1u32 << count) - 1),
            _ => Range::ALL,
        },
        IntegerOp::Abs => a,
        IntegerOp::Sign => Range::up_to(1),
        IntegerOp::Compare(_)
        | IntegerOp::Neg
        | IntegerOp::Not
        | IntegerOp::MulHi
        | IntegerOp::AddSat
        | IntegerOp::SubSat
        | IntegerOp::Shl
        | IntegerOp::RotateLeft
        | IntegerOp::RotateRight
        | IntegerOp::ReverseBits
        | IntegerOp::InsertBits
        | IntegerOp::DotPacked => Range::ALL,
    }
}

/// Returns the largest number with as many bits as `value`.
fn below_power_of_two(value: u32) -> u32 {
    u32::MAX.checked_shr(value.leading_zeros()).unwrap_or(0)
}

/// Returns the maximum number of lanes in a subgroup of `kernel`.
fn lanes(kernel: &Kernel) -> u32 {
    kernel.workgroup_invocations().min(MAX_SUBGROUP_SIZE)
}

fn id_range(kernel: &Kernel, op: Op, component: u8) -> Range {
    let size = kernel.workgroup[usize::from(component).min(2)];
    let Some(op) = IdOp::of(op) else { return Range::ALL };
    match op {
        IdOp::LocalId => Range::up_to(size.saturating_sub(1)),
        IdOp::Lane => Range::up_to(lanes(kernel).saturating_sub(1)),
        IdOp::SubgroupSize => Range::new(1, MAX_SUBGROUP_SIZE),
        IdOp::NumSubgroups => Range::new(1, kernel.workgroup_invocations().max(1)),
        IdOp::LocalIndex | IdOp::SubgroupId => Range::up_to(kernel.workgroup_invocations().saturating_sub(1)),
        IdOp::GlobalId | IdOp::WorkgroupId | IdOp::NumWorkgroups | IdOp::LaneMaskLt => Range::ALL,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::analysis::walk::instructions;
    use crate::{text, verify};

    const OPS: [Op; 23] = [
        Op::Add,
        Op::Sub,
        Op::Mul,
        Op::MulHi,
        Op::AddSat,
        Op::SubSat,
        Op::Div,
        Op::Rem,
        Op::Min,
        Op::Max,
        Op::Clamp,
        Op::And,
        Op::Or,
        Op::Xor,
        Op::Not,
        Op::Shl,
        Op::Shr,
        Op::RotateLeft,
        Op::PopCount,
        Op::LeadingZeros,
        Op::TrailingZeros,
        Op::Abs,
        Op::Sign,
    ];

    /// Bounds of ranges: numbers near the extremes and near powers of two, and any number.
    fn number() -> impl Strategy<Value = u32> {
        prop_oneof![
            0..4u32,
            (u32::MAX - 3)..=u32::MAX,
            (0..32u32, 0..3u32).prop_map(|(bit, near)| (1u32 << bit).wrapping_add(near).wrapping_sub(1)),
            any::<u32>(),
        ]
    }

    /// A non-empty range and a number in it.
    fn inhabited() -> impl Strategy<Value = (Range, u32)> {
        [number(), number(), number()].prop_map(|mut numbers| {
            numbers.sort_unstable();
            (Range::new(numbers[0], numbers[2]), numbers[1])
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn every_result_is_in_the_range_of_its_op(
            op in proptest::sample::select(&OPS[..]),
            operands in [inhabited(), inhabited(), inhabited()],
        ) {
            let count = match op {
                Op::Not | Op::PopCount | Op::LeadingZeros | Op::TrailingZeros | Op::Abs | Op::Sign => 1,
                Op::Clamp => 3,
                _ => 2,
            };
            let values: Vec<u64> = operands[..count].iter().map(|(_, value)| u64::from(*value)).collect();
            let result = fulgurite_spec::eval::scalar(op, ScalarType::U32, ScalarType::U32, &values);
            let range = of_op(IntegerOp::of(op).expect("the op is defined on u32"), operands.map(|(range, _)| range));
            prop_assert!(range.least <= range.most);
            let result = result.expect("the op is defined on u32") as u32;
            prop_assert!((range.least..=range.most).contains(&result), "{op:?} {values:?}: {result} in {range:?}");
        }

        #[test]
        fn fields_of_bits_are_in_range(value in inhabited(), offset in inhabited(), count in inhabited()) {
            let values = [value.1, offset.1, count.1].map(u64::from);
            let result = fulgurite_spec::eval::scalar(Op::ExtractBits, ScalarType::U32, ScalarType::U32, &values);
            let range = of_op(IntegerOp::ExtractBits, [value.0, offset.0, count.0]);
            let result = result.expect("the op is defined on u32") as u32;
            prop_assert!((range.least..=range.most).contains(&result), "{values:?}: {result} in {range:?}");
        }

        #[test]
        fn whatever_preconditions_say_no_range_is_empty(
            facts in proptest::collection::vec(
                (proptest::sample::select(&["lt", "le", "gt", "ge", "eq"][..]), number(), any::<bool>()),
                0..6,
            ),
        ) {
            let requires: String = facts
                .iter()
                .map(|(op, bound, turned)| match turned {
                    false => format!("  require {op} %n, {bound}u32\n"),
                    true => format!("  require {op} {bound}u32, (len %y)\n"),
                })
                .collect();
            let source = format!(
                "fulgurite 1\nkernel @k workgroup(1, 1, 1) {{\n  buffer %y: read_write u32[]\n  param %n: u32\n{requires}\n  \
                 %l = len %y\n  %a = div %l, %n\n  %b = rem %a, %l\n  %c = shr %b, %n\n  %d = for %i in %n to %l step \
                 3u32 carry(%s = %c) {{\n    %t = div %s, %i\n    yield %t\n  }}\n  store %y[%d], %a\n}}\n"
            );
            let kernel = verify(text::parse(&source).expect("it is a kernel")).expect("it verifies");
            let map = RangeMap::of(&kernel);
            for id in instructions(&kernel) {
                for result in &kernel.inst(id).results {
                    let range = map.range(*result);
                    prop_assert!(range.least <= range.most, "{source}");
                }
            }
        }
    }
}
