//! The least and greatest value that each `u32` of a kernel can have, from its definition alone.

use fulgurite_spec::limits::MAX_SUBGROUP_SIZE;
use fulgurite_spec::{Op, ScalarType, Type};

use crate::analysis::walk::{Event, Walk};
use crate::kernel::{BlockId, Inst, InstKind, Kernel, Operands, Terminator, ValueId};

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
}

impl RangeMap {
    /// Analyses `kernel`, whose structure and types the verifier has checked. One walk: carried values are taken
    /// to be any, so nothing has to be found again.
    pub fn of(kernel: &Kernel) -> Self {
        let mut map = Self { ranges: vec![Range::ALL; kernel.values.len()] };
        for id in (0..kernel.values.len()).map(ValueId::new) {
            if let Some(literal) = kernel.literal(id).filter(|l| l.ty == ScalarType::U32) {
                map.ranges[id.index()] = Range::new(literal.bits as u32, literal.bits as u32);
            }
        }
        for event in Walk::new(kernel) {
            match event {
                Event::Inst(id) => map.before(kernel, kernel.inst(id)),
                Event::Done(id) => map.after(kernel, kernel.inst(id)),
                Event::Enter(_) | Event::Exit(_) => {}
            }
        }
        map
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
                InstKind::Len { memory } => {
                    kernel.array_len(*memory).map_or(Range::ALL, |len| Range::new(len, len))
                }
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
