//! The order of loops in kernels that are run by whole workgroups.
//!
//! A workgroup often reads a part of a buffer in several rounds, in each of them as many consecutive elements as it has
//! invocations. If one vector of invocations ran all of its rounds before the next one, it would jump from one round's
//! elements to the next one's. Such a loop is run the other way round: for each round, all vectors, which read
//! memory from front to back.

use std::cell::Cell;

use fulgurite_ir::{
    BlockId, Control, InstId, InstKind, Kernel, Memory, Operands, PureInst, ValueDef, ValueId,
};
use fulgurite_spec::{Op, Type};

use super::Lowering;
use super::control::Counting;
use super::plan::Segment;
use crate::native::program::{Class, Input, Kind, Label, Reg, Relation, ScalarOp2, Step};
use crate::native::shape::Scalars;

/// A loop that is run round by round for the whole workgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounds {
    /// All invocations have the same counter.
    Uniform,
    /// Counters are consecutive from invocation to invocation along x.
    Row,
}

impl Rounds {
    /// Returns how the rounds of an instruction are run, if it is a loop without barriers that is to be run that way.
    pub(super) fn of(kernel: &Kernel, scalars: &Scalars, id: InstId) -> Option<Self> {
        let Control::For { start, end, step, initial, body } = kernel.inst(id).kind.control()? else {
            return None;
        };
        if !initial.is_empty() || kernel.ty(start) != Type::U32 || !scalars.is_scalar(end) {
            return None;
        }
        let counter = *kernel.block(body).params.first()?;
        let is_uniform = scalars.is_scalar(start);
        let left = Cell::new(MOST_VALUES);
        let mut search = Search { left, kernel, scalars, body, counter, from: Form { lane: 0, round: 0 } };
        if !is_uniform {
            let from = search.form(start)?;
            if from != (Form { lane: 1, round: 0 }) {
                return None;
            }
            search.from = from;
        }
        let step = kernel.literal(step)?.bits;
        search.reads_in_rounds(step).then_some(if is_uniform { Self::Uniform } else { Self::Row })
    }
}

/// The coefficients of an integer that is linear in the invocation's position along x and in the counter of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    lane: u64,
    round: u64,
}

/// The maximum number of values that are looked at for a loop. A value is looked at once for each of its uses.
const MOST_VALUES: u32 = 256;

struct Search<'k> {
    /// The number of values that may still be looked at.
    left: Cell<u32>,
    kernel: &'k Kernel,
    scalars: &'k Scalars,
    body: BlockId,
    counter: ValueId,
    /// The first counter.
    from: Form,
}

impl Search<'_> {
    /// Returns whether the loop reads buffers, and all that it reads are as many consecutive elements as the workgroup has
    /// invocations, or more, in each round.
    fn reads_in_rounds(&self, step: u64) -> bool {
        let invocations = u64::from(self.kernel.workgroup_invocations());
        let mut reads = false;
        for id in &self.kernel.block(self.body).insts {
            let kind = &self.kernel.inst(*id).kind;
            if kind.control().is_some() {
                return false;
            }
            let InstKind::Load { memory, index } = *kind else { continue };
            let Memory::Buffer(_) = self.kernel.base(memory) else { continue };
            match self.form(index) {
                Some(Form { lane: 1, round }) if round.saturating_mul(step) >= invocations => reads = true,
                _ => return false,
            }
        }
        reads
    }

    /// Returns the form of an integer, if it has one.
    fn form(&self, value: ValueId) -> Option<Form> {
        let kernel = self.kernel;
        self.left.set(self.left.get().checked_sub(1)?);
        if value == self.counter {
            return Some(Form { round: 1, ..self.from });
        }
        let ValueDef::Inst(id, _) = kernel.value(value).def else { return self.outer(value) };
        match kernel.inst(id).kind.pure() {
            Some(
                PureInst::Id { op: Op::GlobalId | Op::LocalId, component: 0 }
                | PureInst::Id { op: Op::LocalIndex, .. },
            ) => Some(Form { lane: 1, round: 0 }),
            Some(PureInst::Scalar { op, operands, .. }) => {
                let [a, b] = **operands else { return self.outer(value) };
                let literal = kernel.literal(b).map(|literal| literal.bits);
                match (op, literal) {
                    (Op::Add, _) => {
                        let (a, b) = (self.form(a)?, self.form(b)?);
                        let (lane, round) = (a.lane.checked_add(b.lane)?, a.round.checked_add(b.round)?);
                        Some(Form { lane, round })
                    }
                    (Op::Mul, Some(factor @ 0..=0xffff_ffff)) => self.scaled(a, factor),
                    (Op::Shl, Some(amount @ 0..=31)) => self.scaled(a, 1 << amount),
                    _ => self.outer(value),
                }
            }
            Some(PureInst::Id { .. } | PureInst::Len { .. } | PureInst::VecShuffle { .. }) | None => {
                self.outer(value)
            }
        }
    }

    fn scaled(&self, value: ValueId, factor: u64) -> Option<Form> {
        let form = self.form(value)?;
        Some(Form { lane: form.lane.checked_mul(factor)?, round: form.round.checked_mul(factor)? })
    }

    /// Returns the form of a value that is the same in all invocations and rounds.
    fn outer(&self, value: ValueId) -> Option<Form> {
        let is_inner = match self.kernel.value(value).def {
            ValueDef::Inst(id, _) => self.kernel.block(self.body).insts.contains(&id),
            ValueDef::BlockParam(block, _) => block == self.body,
            ValueDef::Const(_) | ValueDef::Param(_) => false,
        };
        (!is_inner && self.scalars.is_scalar(value)).then_some(Form { lane: 0, round: 0 })
    }
}

impl Lowering<'_> {
    /// Compiles a loop whose counters are a row, for each round all vectors of the workgroup, until none has counters left.
    pub(super) fn rounds(&mut self, id: InstId, segment: &Segment) -> Option<()> {
        let kernel = self.kernel;
        let Some(Control::For { start, end, step, body, .. }) = kernel.inst(id).kind.control() else {
            return None;
        };
        let counter = self.first(*kernel.block(body).params.first()?);
        let counting = self.counting(start, end, step)?;
        let [zero, one] = [0, 1].map(|bits| self.input(Input::Constant(bits)));
        let (before, runs) = (self.reg(Class::Scalar), self.reg(Class::Scalar));
        let top = self.label();
        self.push(Step::Move { to: before, from: zero });
        self.push(Step::LoopBegin);
        self.push(Step::Bind(top));
        self.push(Step::Move { to: runs, from: zero });
        self.each_vector(|lowering| {
            for part in lowering.parts(&segment.reads) {
                lowering.recall(part)?;
            }
            let (first, end) = (lowering.values[lowering.first(start).0].row?.first, lowering.decisive(end)?);
            let count = lowering.scalar2(ScalarOp2::AddWide, first, before);
            let (partial, done) = (lowering.label(), lowering.label());
            lowering.wrapping_row(&counting, first, before, body, done)?;
            lowering.push(Step::BranchWide { relation: Relation::Ge, a: count, b: end, to: done });
            lowering.push(Step::Move { to: runs, from: one });
            let left = lowering.reg(Class::Scalar);
            lowering.push(Step::SubWide { to: left, a: end, b: count });
            if lowering.mask.is_none() {
                let all = lowering.input(Input::Constant(lowering.lanes));
                let (relation, kind) = (Relation::Lt, Kind::Unsigned);
                lowering.push(Step::Branch { relation, kind, a: left, b: all, to: partial });
                lowering.define_row(counter, count);
                lowering.versions += 1;
                lowering.items(segment)?;
                lowering.versions -= 1;
                lowering.push(Step::Jump(done));
            }
            lowering.push(Step::Bind(partial));
            let lefts = lowering.reg(Class::Vector);
            lowering.push(Step::Broadcast { to: lefts, from: left });
            let numbers = lowering.program.input(Class::Vector, Input::LaneNumbers);
            let are_left = lowering.compare(Relation::Lt, Kind::Unsigned, numbers, lefts);
            let active = lowering.active(are_left);
            let outer = lowering.mask.replace(active);
            lowering.define_row(counter, count);
            lowering.items(segment)?;
            lowering.mask = outer;
            lowering.push(Step::Bind(done));
            Some(())
        })?;
        let step = self.input(Input::Constant(counting.step));
        self.push(Step::Scalar { op: ScalarOp2::AddWide, to: before, a: before, b: step });
        self.push(Step::Poll);
        let (relation, kind) = (Relation::Ne, Kind::Unsigned);
        self.push(Step::Branch { relation, kind, a: runs, b: zero, to: top });
        self.push(Step::LoopEnd);
        Some(())
    }

    /// Adds the case of a vector whose first counters wrap: it runs all of its rounds in the first one, under a mask, and then goes
    /// to a label.
    fn wrapping_row(
        &mut self,
        counting: &Counting,
        first: Reg,
        before: Reg,
        body: BlockId,
        done: Label,
    ) -> Option<()> {
        let [zero, most] = [0, u32::MAX].map(|bits| self.input(Input::Constant(bits)));
        let (last, usual) = (self.reg(Class::Scalar), self.label());
        self.push(Step::AddWide { to: last, a: first, b: self.lanes as i32 - 1 });
        self.push(Step::BranchWide { relation: Relation::Le, a: last, b: most, to: usual });
        self.push(Step::BranchWide { relation: Relation::Ne, a: before, b: zero, to: done });
        let starts = self.vector(self.first(counting.start))?;
        self.masked_for(counting, starts, &[], body, &Operands::new(&[]))?;
        self.push(Step::Jump(done));
        self.push(Step::Bind(usual));
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use fulgurite_ir::analysis::instructions;

    use super::*;
    use crate::tests::kernel;

    /// Returns how the first loop of a kernel is run: `for %k in {range}`, which loads `%x[%at]`.
    fn rounds(range: &str, at: &str) -> Option<Rounds> {
        let lines = format!(
            "buffer %x: read u32[]\nbuffer %y: read_write u32[]\nparam %n: u32\nshared %t: u32[64]\n%l = local_index\n%g = workgroup_id.x
%first = mul %g, 1024u32\n%start = add %first, %l\n%twice = mul %l, 2u32\nfor %k in {range} {{\n  %skip = mul %k, 64u32\n  %few = mul %k, 4u32
  {at}\n  %v = load %x[%at]\n  %b = and %v, 63u32\n  atomic.add %t[%b], 1u32\n}}\nbarrier\n%c = load %t[%l]\nstore %y[%l], %c"
        );
        let kernel = kernel("64, 1, 1", &lines);
        let is_loop = |id: &InstId| matches!(kernel.inst(*id).kind, InstKind::For { .. });
        Rounds::of(&kernel, &Scalars::of(&kernel), instructions(&kernel).find(is_loop).unwrap())
    }

    #[test]
    fn loops_over_parts_as_large_as_the_workgroup_are_run_in_rounds() {
        let [all, rows] = ["0u32 to %n step 1u32", "%start to %n step 64u32"];
        assert_eq!(rounds(all, "%at = add %start, %skip"), Some(Rounds::Uniform));
        assert_eq!(rounds(rows, "%at = add %k, 1u32"), Some(Rounds::Row));
        // Rounds that overlap, invocations that are apart, the same number in each round, and none that is known.
        assert_eq!(rounds(all, "%at = add %start, %few"), None);
        assert_eq!(rounds("%start to %n step 63u32", "%at = add %k, 1u32"), None);
        assert_eq!(rounds(all, "%at = add %twice, %skip"), None);
        assert_eq!(rounds("%twice to %n step 64u32", "%at = add %k, 1u32"), None);
        assert_eq!(rounds(all, "%at = add %start, 1u32"), None);
        assert_eq!(rounds(all, "%at = rem %skip, 7u32"), None);
        // Looking at each use of each sum would take forever.
        let doubled: String = (0..80).map(|n| format!("%d{} = add %d{n}, %d{n}\n", n + 1)).collect();
        let lines = format!("%d0 = add %start, %skip\n{doubled}%at = add %d80, %skip");
        assert_eq!(rounds(all, &lines), None);
        assert_eq!(rounds("0u32 to %l step 1u32", "%at = add %start, %skip"), None);
    }
}
