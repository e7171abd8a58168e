//! Control flow.
//!
//! A scalar condition is a branch. Any other is a mask, with a branch around blocks that no lane enters. Results of an
//! `if` and carried values are variables, which each block assigns.

use fulgurite_ir::{BlockId, Control, InstId, Operands, Terminator, ValueId};
use fulgurite_spec::{ScalarType, Type};

use super::row::Row;
use super::{Fallback, Lowering};
use crate::native::program::{Class, Input, Kind, MaskOp, Reg, Relation, ScalarOp2, Step, VectorOp2};
use crate::native::shape::yielded;

/// The maximum depth of conditions, each true in all lanes, whose blocks are compiled another time for that case.
const MAX_VERSIONS: u32 = 2;

/// A loop's counter, and the distance that it has left, which is unsigned.
pub(super) struct Counting {
    pub(super) start: ValueId,
    end: ValueId,
    /// Bits of the increment.
    pub(super) step: u32,
    pub(super) kind: Kind,
    is_down: bool,
}

impl Counting {
    /// Returns the magnitude of the increment.
    pub(super) fn stride(&self) -> u32 {
        if self.is_down { self.step.wrapping_neg() } else { self.step }
    }

    /// Returns the ends in ascending order.
    pub(super) fn ascending<T>(&self, start: T, end: T) -> [T; 2] {
        if self.is_down { [end, start] } else { [start, end] }
    }
}

impl Lowering<'_> {
    pub(super) fn control(&mut self, id: InstId, control: Control<'_>, results: &Operands) -> Option<()> {
        let is_region = matches!(control, Control::Region { .. });
        if !is_region {
            self.fallback = None;
        }
        match control {
            Control::If { then_block, .. } if self.assumed == Some(id) => self.inline(then_block, results),
            Control::If { condition, then_block, else_block } => match self.scalar(self.first(condition)) {
                Some(scalar) => self.branch(scalar, [then_block, else_block], results),
                None => self.diverge(condition, [then_block, else_block], results),
            },
            Control::Region { body, .. } => self.inline(body, results),
            Control::For { start, end, step, initial, body } => {
                let counting = self.counting(start, end, step)?;
                let row = self.values[self.first(start).0].row;
                match (self.scalar(self.first(start)), self.scalar(self.first(end)), row) {
                    (Some(start), Some(end), _) => {
                        self.uniform_for(&counting, [start, end], initial, body, results)
                    }
                    (None, Some(end), Some(Row { first, when: None }))
                        if counting.kind == Kind::Unsigned
                            && self.mask.is_none()
                            && self.versions < MAX_VERSIONS =>
                    {
                        let step = self.input(Input::Constant(counting.step));
                        self.row_for(&counting, [first, end, step], initial, body, results)
                    }
                    _ => self.varying_for(&counting, initial, body, results),
                }
            }
            Control::While { initial, header, body } => self.while_loop(initial, header, body, results),
        }
    }

    pub(super) fn counting(&self, start: ValueId, end: ValueId, step: ValueId) -> Option<Counting> {
        let bits = self.kernel.literal(step)?.bits as u32;
        let is_signed = self.kernel.ty(start) == Type::scalar(ScalarType::I32);
        let kind = if is_signed { Kind::Signed } else { Kind::Unsigned };
        let is_down = is_signed && bits > i32::MAX as u32;
        Some(Counting { start, end, step: bits, kind, is_down })
    }

    /// Compiles a block that all active lanes run once.
    fn inline(&mut self, block: BlockId, results: &Operands) -> Option<()> {
        self.block(block)?;
        let kernel = self.kernel;
        let yields = self.parts(yielded(kernel, block));
        for (result, value) in self.parts(results).into_iter().zip(yields) {
            self.values[result.0] = self.values[value.0];
        }
        Some(())
    }

    fn variables(&mut self, values: &[ValueId]) -> Vec<Reg> {
        self.parts(values).into_iter().map(|part| self.variable(part)).collect()
    }

    /// Assigns values to variables, all at once.
    pub(super) fn assign(&mut self, variables: &[Reg], values: &[ValueId]) -> Option<()> {
        let mut moves = Vec::new();
        for (to, part) in variables.iter().zip(self.parts(values)) {
            let from = self.get(part, self.program.class(*to))?;
            if from != *to {
                moves.push((*to, from));
            }
        }
        // A variable that is the source of a later assignment is saved first.
        for position in 0..moves.len() {
            let (to, _) = moves[position];
            if moves[position + 1..].iter().all(|(_, from)| *from != to) {
                continue;
            }
            let saved = self.reg(self.program.class(to));
            self.push(Step::Move { to: saved, from: to });
            moves[position + 1..].iter_mut().filter(|(_, from)| *from == to).for_each(|m| m.1 = saved);
        }
        for (to, from) in moves {
            self.push(Step::Move { to, from });
        }
        Some(())
    }

    /// Assigns values to variables, all at once, in the lanes of a mask.
    fn assign_masked(&mut self, variables: &[Reg], values: &[ValueId], mask: Reg) -> Option<()> {
        let mut sources = Vec::new();
        for (to, part) in variables.iter().zip(self.parts(values)) {
            let mut from = self.get(part, self.program.class(*to))?;
            if from != *to && variables.contains(&from) {
                let saved = self.reg(self.program.class(from));
                self.push(Step::Move { to: saved, from });
                from = saved;
            }
            sources.push((*to, from));
        }
        for (to, from) in sources.into_iter().filter(|(to, from)| to != from) {
            if self.program.class(to) == Class::Mask {
                let kept = self.mask2(MaskOp::AndNot, to, mask);
                let new = self.mask2(MaskOp::And, from, mask);
                self.push(Step::Mask { op: MaskOp::Or, to, a: kept, b: new });
            } else {
                self.push(Step::Blend { to, mask, yes: from, no: to });
            }
        }
        Some(())
    }

    fn define_all(&mut self, values: &[ValueId], variables: &[Reg]) {
        for (part, variable) in self.parts(values).into_iter().zip(variables) {
            self.define(part, *variable);
        }
    }

    fn branch(&mut self, condition: Reg, blocks: [BlockId; 2], results: &Operands) -> Option<()> {
        let kernel = self.kernel;
        let variables = self.variables(results);
        let (otherwise, done) = (self.label(), self.label());
        let zero = self.input(Input::Constant(0));
        self.push(Step::Branch {
            relation: Relation::Eq,
            kind: Kind::Unsigned,
            a: condition,
            b: zero,
            to: otherwise,
        });
        self.block(blocks[0])?;
        self.assign(&variables, yielded(kernel, blocks[0]))?;
        let is_empty = kernel.block(blocks[1]).insts.is_empty() && results.is_empty();
        if !is_empty {
            self.push(Step::Jump(done));
        }
        self.push(Step::Bind(otherwise));
        if !is_empty {
            self.block(blocks[1])?;
            self.assign(&variables, yielded(kernel, blocks[1]))?;
            self.push(Step::Bind(done));
        }
        self.define_all(results, &variables);
        Some(())
    }

    fn diverge(&mut self, condition: ValueId, blocks: [BlockId; 2], results: &Operands) -> Option<()> {
        let kernel = self.kernel;
        let variables = self.variables(results);
        let condition = self.mask(self.first(condition))?;
        let outer = self.mask;
        let (otherwise, done) = (self.label(), self.label());

        // Another form for the case that the condition is true in all lanes: without masks, and without guards that
        // the bounds analysis makes superfluous.
        let versioned = outer.is_none() && self.versions < MAX_VERSIONS;
        let all_done = self.label();
        if versioned {
            let partial = self.label();
            self.push(Step::BranchNotAll { mask: condition, to: partial });
            self.versions += 1;
            self.fallback = Some(Fallback { label: partial, known: Vec::new() });
            self.block(blocks[0])?;
            self.fallback = None;
            self.versions -= 1;
            self.assign(&variables, yielded(kernel, blocks[0]))?;
            self.push(Step::Jump(all_done));
            self.push(Step::Bind(partial));
        }

        let yes = self.active(condition);
        self.push(Step::BranchNone { mask: yes, to: otherwise });
        self.mask = Some(yes);
        self.block(blocks[0])?;
        self.assign(&variables, yielded(kernel, blocks[0]))?;
        self.push(Step::Bind(otherwise));
        self.mask = outer;
        if !kernel.block(blocks[1]).insts.is_empty() || !results.is_empty() {
            let all = self.all_active();
            let no = self.mask2(MaskOp::AndNot, all, condition);
            self.push(Step::BranchNone { mask: no, to: done });
            self.mask = Some(no);
            self.block(blocks[1])?;
            self.assign_masked(&variables, yielded(kernel, blocks[1]), no)?;
            self.push(Step::Bind(done));
            self.mask = outer;
        }
        if versioned {
            self.push(Step::Bind(all_done));
        }
        self.define_all(results, &variables);
        Some(())
    }

    fn uniform_for(
        &mut self,
        counting: &Counting,
        [start, end]: [Reg; 2],
        initial: &Operands,
        body: BlockId,
        results: &Operands,
    ) -> Option<()> {
        let kernel = self.kernel;
        let (counter, carried) = kernel.block(body).params.split_first()?;
        let variables = self.variables(carried);
        self.assign(&variables, initial)?;
        let count = self.reg(Class::Scalar);
        self.push(Step::Move { to: count, from: start });
        let (top, done) = (self.label(), self.label());
        let [low, high] = counting.ascending(start, end);
        self.push(Step::Branch { relation: Relation::Ge, kind: counting.kind, a: low, b: high, to: done });
        let left = self.scalar2(ScalarOp2::Sub, high, low);
        self.push(Step::LoopBegin);
        self.push(Step::Bind(top));
        self.define_scalar(self.first(*counter), count);
        self.define_all(carried, &variables);
        self.block(body)?;
        self.assign(&variables, yielded(kernel, body))?;
        let step = self.input(Input::Constant(counting.step));
        self.push(Step::Scalar { op: ScalarOp2::Add, to: count, a: count, b: step });
        self.push(Step::Poll);
        self.push(Step::CountDown { left, by: counting.stride(), to: top });
        self.push(Step::LoopEnd);
        self.push(Step::Bind(done));
        self.define_all(results, &variables);
        Some(())
    }

    /// Compiles a loop whose first counters are a row, as in a kernel whose grid strides over an array. As long as all lanes
    /// iterate, the counters are a row, and nothing is masked; a second loop, under a mask, makes the other rounds.
    fn row_for(
        &mut self,
        counting: &Counting,
        [first, end, step]: [Reg; 3],
        initial: &Operands,
        body: BlockId,
        results: &Operands,
    ) -> Option<()> {
        let kernel = self.kernel;
        let (counter, carried) = kernel.block(body).params.split_first()?;
        let variables = self.variables(carried);
        self.assign(&variables, initial)?;
        let starts = self.reg(Class::Vector);
        let given = self.vector(self.first(counting.start))?;
        self.push(Step::Move { to: starts, from: given });
        // The counter of lane 0, which has 64 bits, so that it passes the end without wrapping. A row that wraps is left to the
        // loop under a mask.
        let (count, of_last, last) =
            (self.reg(Class::Scalar), self.reg(Class::Scalar), self.lanes as i32 - 1);
        let [all, past, rest] = [0; 3].map(|_| self.label());
        self.push(Step::Move { to: count, from: first });
        let most = self.input(Input::Constant(u32::MAX));
        self.push(Step::AddWide { to: of_last, a: count, b: last });
        self.push(Step::BranchWide { relation: Relation::Gt, a: of_last, b: most, to: rest });
        self.push(Step::LoopBegin);
        self.push(Step::Bind(all));
        self.push(Step::AddWide { to: of_last, a: count, b: last });
        self.push(Step::BranchWide { relation: Relation::Ge, a: of_last, b: end, to: past });
        self.define_row(self.first(*counter), count);
        self.define_all(carried, &variables);
        self.versions += 1;
        self.block(body)?;
        self.versions -= 1;
        self.assign(&variables, yielded(kernel, body))?;
        self.push(Step::Scalar { op: ScalarOp2::AddWide, to: count, a: count, b: step });
        self.push(Step::Poll);
        self.push(Step::Jump(all));
        self.push(Step::LoopEnd);
        self.push(Step::Bind(past));
        // The counters of all lanes; the largest value in lanes whose counter would wrap.
        let limited = self.reg(Class::Scalar);
        self.push(Step::MinWide { to: limited, a: count, b: most });
        let (left, lefts, counts) =
            (self.scalar2(ScalarOp2::Sub, most, limited), self.reg(Class::Vector), self.reg(Class::Vector));
        self.push(Step::Broadcast { to: lefts, from: left });
        self.push(Step::Broadcast { to: counts, from: limited });
        let numbers = self.program.input(Class::Vector, Input::LaneNumbers);
        let further = self.vector2(VectorOp2::MinUnsigned, numbers, lefts);
        self.push(Step::Vector2 { op: VectorOp2::Add, to: starts, a: counts, b: further });
        self.push(Step::Bind(rest));
        self.masked_for(counting, starts, &variables, body, results)
    }

    fn varying_for(
        &mut self,
        counting: &Counting,
        initial: &Operands,
        body: BlockId,
        results: &Operands,
    ) -> Option<()> {
        let kernel = self.kernel;
        let (_, carried) = kernel.block(body).params.split_first()?;
        let variables = self.variables(carried);
        self.assign(&variables, initial)?;
        let start = self.vector(self.first(counting.start))?;
        self.masked_for(counting, start, &variables, body, results)
    }

    /// Compiles the rounds of a loop under a mask.
    pub(super) fn masked_for(
        &mut self,
        counting: &Counting,
        start: Reg,
        variables: &[Reg],
        body: BlockId,
        results: &Operands,
    ) -> Option<()> {
        let kernel = self.kernel;
        let (counter, carried) = kernel.block(body).params.split_first()?;
        let end = self.vector(self.first(counting.end))?;
        let (count, left, going) = (self.reg(Class::Vector), self.reg(Class::Vector), self.reg(Class::Mask));
        self.push(Step::Move { to: count, from: start });
        let [low, high] = counting.ascending(start, end);
        let iterates = self.compare(Relation::Lt, counting.kind, low, high);
        let iterates = self.active(iterates);
        self.push(Step::Move { to: going, from: iterates });
        self.push(Step::Vector2 { op: VectorOp2::Sub, to: left, a: high, b: low });
        let (top, done) = (self.label(), self.label());
        self.push(Step::BranchNone { mask: going, to: done });
        let outer = self.mask.replace(going);
        self.push(Step::LoopBegin);
        self.push(Step::Bind(top));
        self.define_vector(self.first(*counter), count);
        self.define_all(carried, variables);
        self.block(body)?;
        self.assign_masked(variables, yielded(kernel, body), going)?;
        let (step, stride) = (self.splat(counting.step), self.splat(counting.stride()));
        let more = self.compare(Relation::Gt, Kind::Unsigned, left, stride);
        self.push(Step::Mask { op: MaskOp::And, to: going, a: going, b: more });
        self.push(Step::Vector2 { op: VectorOp2::Sub, to: left, a: left, b: stride });
        self.push(Step::Vector2 { op: VectorOp2::Add, to: count, a: count, b: step });
        self.push(Step::Poll);
        self.push(Step::BranchAny { mask: going, to: top });
        self.push(Step::LoopEnd);
        self.push(Step::Bind(done));
        self.mask = outer;
        self.define_all(results, variables);
        Some(())
    }

    fn while_loop(
        &mut self,
        initial: &Operands,
        header: BlockId,
        body: BlockId,
        results: &Operands,
    ) -> Option<()> {
        let kernel = self.kernel;
        let Terminator::Condition(condition) = kernel.block(header).terminator else { return None };
        let carried = &kernel.block(header).params;
        let variables = self.variables(carried);
        self.assign(&variables, initial)?;
        let (top, done) = (self.label(), self.label());
        let outer = self.mask;
        let is_uniform = self.scalars.is_scalar(condition);
        let going = self.reg(Class::Mask);
        if !is_uniform {
            let all = self.all_active();
            self.push(Step::Move { to: going, from: all });
            self.mask = Some(going);
        }
        self.push(Step::LoopBegin);
        self.push(Step::Bind(top));
        self.define_all(carried, &variables);
        self.block(header)?;
        if is_uniform {
            let (a, b) = (self.scalar(self.first(condition))?, self.input(Input::Constant(0)));
            self.push(Step::Branch { relation: Relation::Eq, kind: Kind::Unsigned, a, b, to: done });
        } else {
            let holds = self.mask(self.first(condition))?;
            self.push(Step::Mask { op: MaskOp::And, to: going, a: going, b: holds });
            self.push(Step::BranchNone { mask: going, to: done });
        }
        self.block(body)?;
        let next = yielded(kernel, body);
        if is_uniform {
            self.assign(&variables, next)?;
        } else {
            self.assign_masked(&variables, next, going)?;
        }
        self.push(Step::Poll);
        self.push(Step::Jump(top));
        self.push(Step::LoopEnd);
        self.push(Step::Bind(done));
        self.mask = outer;
        self.define_all(results, &variables);
        Some(())
    }
}
