//! The least and greatest value that each `u32` of a kernel can have, from its definition and from
//! preconditions that compare parameters and lengths with literals.

use fulgurite_spec::limits::MAX_SUBGROUP_SIZE;
use fulgurite_spec::{Literal, Op, ScalarType, Type};

use crate::analysis::numbering::conjuncts;
use crate::analysis::walk::{Event, Walk};
use crate::kernel::{BlockId, Inst, InstKind, Kernel, Memory, Operands, Terminator, ValueId};
use crate::require::{Require, RequireNode};

/// A range of `u32`, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The least value.
    pub least: u32,
    /// The greatest value.
    pub most: u32,
}

impl Range {
    /// Every `u32`.
    pub const ALL: Range = Range { least: 0, most: u32::MAX };

    const fn new(least: u32, most: u32) -> Self {
        Self { least, most }
    }

    const fn up_to(most: u32) -> Self {
        Self { least: 0, most }
    }

    fn union(self, other: Self) -> Self {
        Self { least: self.least.min(other.least), most: self.most.max(other.most) }
    }

    /// The range from `least` to `most`, or every `u32` if an end overflowed.
    fn checked(least: Option<u32>, most: Option<u32>) -> Self {
        match (least, most) {
            (Some(least), Some(most)) => Self { least, most },
            _ => Self::ALL,
        }
    }
}

/// The ranges of a kernel's values; those of other types than `u32` are [`Range::ALL`].
#[derive(Clone, Debug)]
pub struct RangeMap {
    ranges: Vec<Range>,
    /// What preconditions say of the length of each buffer.
    lengths: Vec<Range>,
}

impl RangeMap {
    /// Analyses `kernel`, whose structure and types the verifier has checked. One walk: carried values are taken
    /// to be any, so nothing has to be found again.
    pub fn of(kernel: &Kernel) -> Self {
        let mut map = Self::unknown(kernel);
        for id in (0..kernel.values.len()).map(ValueId::new) {
            if let Some(literal) = kernel.literal(id).filter(|l| l.ty == ScalarType::U32) {
                map.ranges[id.index()] = Range::new(literal.bits as u32, literal.bits as u32);
            }
        }
        kernel.requires.iter().for_each(|require| map.precondition(kernel, require));
        for event in Walk::new(kernel) {
            match event {
                Event::Inst(id) => map.before(kernel, kernel.inst(id)),
                Event::Done(id) => map.after(kernel, kernel.inst(id)),
                Event::Enter(_) | Event::Exit(_) => {}
            }
        }
        map
    }

    /// What is known without any analysis: nothing.
    pub fn unknown(kernel: &Kernel) -> Self {
        let lengths = vec![Range::ALL; kernel.buffers.len()];
        Self { ranges: vec![Range::ALL; kernel.values.len()], lengths }
    }

    /// Takes in comparisons of parameters and lengths with literals.
    fn precondition(&mut self, kernel: &Kernel, require: &Require) {
        for position in conjuncts(require) {
            let RequireNode::Op { op, operands } = &require.nodes[position as usize] else { continue };
            let [a, b] = operands.as_slice() else { continue };
            let [a, b] = [a, b].map(|i| &require.nodes[*i as usize]);
            match (a, b) {
                (subject, RequireNode::Literal(bound)) => self.bounded(kernel, subject, *op, *bound),
                (RequireNode::Literal(bound), subject) => {
                    let turned = match op {
                        Op::Lt => Op::Gt,
                        Op::Le => Op::Ge,
                        Op::Gt => Op::Lt,
                        Op::Ge => Op::Le,
                        op => *op,
                    };
                    self.bounded(kernel, subject, turned, *bound);
                }
                _ => {}
            }
        }
    }

    /// `subject op bound` holds.
    fn bounded(&mut self, kernel: &Kernel, subject: &RequireNode, op: Op, bound: Literal) {
        let range = match subject {
            RequireNode::Param(id) if kernel.params[id.index()].ty == Type::U32 => {
                &mut self.ranges[kernel.params[id.index()].value.index()]
            }
            RequireNode::Len(id) => &mut self.lengths[id.index()],
            _ => return,
        };
        if bound.ty != ScalarType::U32 {
            return;
        }
        let bound = bound.bits as u32;
        // What contradicts itself is never launched.
        match op {
            Op::Lt => range.most = range.most.min(bound.saturating_sub(1)),
            Op::Le => range.most = range.most.min(bound),
            Op::Gt => range.least = range.least.max(bound.saturating_add(1)),
            Op::Ge => range.least = range.least.max(bound),
            Op::Eq => *range = Range::new(bound, bound),
            _ => {}
        }
    }

    /// The range of a value.
    pub fn range(&self, value: ValueId) -> Range {
        self.ranges[value.index()]
    }

    /// The most iterations that a `for` can take.
    pub fn most_trips(&self, kernel: &Kernel, start: ValueId, end: ValueId, step: ValueId) -> u64 {
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

    /// The counter of a `for` is known before its body.
    fn before(&mut self, kernel: &Kernel, inst: &Inst) {
        let InstKind::For { start, end, body, .. } = &inst.kind else { return };
        let Some(counter) = kernel.block(*body).params.first() else { return };
        if kernel.ty(*counter) == Type::U32 {
            // The body runs only while the counter is below the end.
            let most = self.range(*end).most.saturating_sub(1);
            let least = self.range(*start).least.min(most);
            self.ranges[counter.index()] = Range::new(least, most);
        }
    }

    fn after(&mut self, kernel: &Kernel, inst: &Inst) {
        for (position, result) in inst.results.iter().enumerate() {
            if kernel.ty(*result) != Type::U32 {
                continue;
            }
            self.ranges[result.index()] = match &inst.kind {
                InstKind::Scalar { op, operands, .. } => self.scalar(kernel, *op, operands),
                InstKind::Id { op, component } => id_range(kernel, *op, *component),
                InstKind::Len { memory } => match (kernel.array_len(*memory), memory) {
                    (Some(len), _) => Range::new(len, len),
                    (None, Memory::Buffer(id)) => self.lengths[id.index()],
                    (None, _) => Range::ALL,
                },
                InstKind::If { then_block, else_block, .. } => self
                    .yielded(kernel, *then_block, position)
                    .union(self.yielded(kernel, *else_block, position)),
                InstKind::Region { body, .. } => self.yielded(kernel, *body, position),
                InstKind::WorkgroupBroadcast { value, .. } => Range::up_to(self.range(*value).most),
                InstKind::Subgroup { op: Op::SubgroupBallotCount, .. } => Range::up_to(lanes(kernel)),
                InstKind::Subgroup { op, operands, .. } if gives_some_lanes_value(*op) => {
                    operands.first().map_or(Range::ALL, |v| self.range(*v))
                }
                _ => Range::ALL,
            };
        }
    }

    fn yielded(&self, kernel: &Kernel, block: BlockId, position: usize) -> Range {
        match &kernel.block(block).terminator {
            Terminator::Yield(values) => values.get(position).map_or(Range::ALL, |v| self.range(*v)),
            Terminator::Return | Terminator::Condition(_) => Range::ALL,
        }
    }

    fn scalar(&self, kernel: &Kernel, op: Op, operands: &Operands) -> Range {
        let range = |i: usize| operands.get(i).map_or(Range::ALL, |v| self.range(*v));
        let scalar_of = |i: usize| operands.get(i).map(|v| kernel.ty(*v));
        if op == Op::Convert {
            return match scalar_of(0) {
                Some(Type::BOOL) => Range::up_to(1),
                Some(Type::U32) => range(0),
                _ => Range::ALL,
            };
        }
        if op == Op::Select {
            return range(1).union(range(2));
        }
        // All that follows is on `u32` operands; a component of a vector may be anything.
        if scalar_of(0) != Some(Type::U32) {
            return Range::ALL;
        }
        let (a, b) = (range(0), range(1));
        match op {
            Op::Add => Range::checked(a.least.checked_add(b.least), a.most.checked_add(b.most)),
            Op::Sub => Range::checked(a.least.checked_sub(b.most), a.most.checked_sub(b.least)),
            Op::Mul => Range::checked(a.least.checked_mul(b.least), a.most.checked_mul(b.most)),
            // `x / 0` is `x`.
            Op::Div if b.least == 0 => Range::up_to(a.most),
            Op::Div => Range::new(a.least / b.most, a.most / b.least),
            // `x % 0` is 0; a divisor above the dividend leaves it.
            Op::Rem => Range::up_to(a.most.min(b.most.saturating_sub(1))),
            Op::Min => Range::new(a.least.min(b.least), a.most.min(b.most)),
            Op::Max => Range::new(a.least.max(b.least), a.most.max(b.most)),
            Op::Clamp => {
                let raised = Range::new(a.least.max(b.least), a.most.max(b.most));
                Range::new(raised.least.min(range(2).least), raised.most.min(range(2).most))
            }
            Op::And => Range::up_to(a.most.min(b.most)),
            // The highest bit that either can have bounds both.
            Op::Or | Op::Xor => Range::up_to(below_power_of_two(a.most | b.most)),
            Op::Shr if b.least == b.most => Range::new(a.least >> (b.least % 32), a.most >> (b.most % 32)),
            Op::Shr => Range::up_to(a.most),
            Op::Shl if b.least == b.most && a.most.leading_zeros() >= b.most % 32 => {
                Range::new(a.least << (b.least % 32), a.most << (b.most % 32))
            }
            Op::PopCount | Op::LeadingZeros | Op::TrailingZeros => Range::up_to(32),
            Op::ExtractBits => match range(2).most {
                count @ 0..32 => Range::up_to((1u32 << count) - 1),
                _ => Range::ALL,
            },
            Op::Abs => a,
            Op::Sign => Range::up_to(1),
            _ => Range::ALL,
        }
    }
}

/// The greatest number with as many bits as `value`.
fn below_power_of_two(value: u32) -> u32 {
    u32::MAX.checked_shr(value.leading_zeros()).unwrap_or(0)
}

/// The most lanes that a subgroup of `kernel` can have.
fn lanes(kernel: &Kernel) -> u32 {
    kernel.workgroup_invocations().min(MAX_SUBGROUP_SIZE)
}

/// Whether an op across a subgroup gives each lane a value that one of them had.
fn gives_some_lanes_value(op: Op) -> bool {
    matches!(
        op,
        Op::SubgroupBroadcast
            | Op::SubgroupShuffle
            | Op::SubgroupShuffleXor
            | Op::SubgroupShuffleUp
            | Op::SubgroupShuffleDown
    )
}

fn id_range(kernel: &Kernel, op: Op, component: u8) -> Range {
    let size = kernel.workgroup[usize::from(component).min(2)];
    match op {
        Op::LocalId => Range::up_to(size.saturating_sub(1)),
        Op::Lane => Range::up_to(lanes(kernel).saturating_sub(1)),
        Op::SubgroupSize => Range::new(1, MAX_SUBGROUP_SIZE),
        Op::NumSubgroups => Range::new(1, kernel.workgroup_invocations().max(1)),
        Op::LocalIndex | Op::SubgroupId => Range::up_to(kernel.workgroup_invocations().saturating_sub(1)),
        _ => Range::ALL,
    }
}
