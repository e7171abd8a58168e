//! Ops across a subgroup.

use fulgurite_ir::{Combine, InstKind, Operands, ValueId, subgroup_result};
use fulgurite_spec::Op;
use naga::{CollectiveOperation, Direction, Expression, GatherMode, Handle, SubgroupOperation};

use super::{Item, Lower};
use crate::refusal::{Res, internal, unsupported};

impl Lower<'_> {
    fn across(&mut self, op: Op, combine: Option<Combine>, operands: &[ValueId]) -> Res<ValueId> {
        let types: Vec<_> = operands.iter().map(|value| self.emit.ty(*value)).collect();
        let ty = subgroup_result(op, combine, &types)
            .map_err(|error| internal(self.emit.at, format!("import of `{}`: {error}", op.mnemonic())))?;
        Ok(self.emit.single(InstKind::Subgroup { op, combine, operands: Operands::new(operands) }, ty))
    }

    fn define(&mut self, handle: Handle<Expression>, value: ValueId) {
        let value = self.wrap(value);
        self.frame_mut().cache.insert(handle, Item::Value(value));
    }

    pub(super) fn ballot(
        &mut self,
        result: Handle<Expression>,
        predicate: Option<Handle<Expression>>,
    ) -> Res<()> {
        let predicate = match predicate {
            Some(predicate) => self.leaf(predicate)?,
            None => self.emit.bool(true),
        };
        let mask = self.across(Op::SubgroupBallot, None, &[predicate])?;
        self.define(result, mask);
        Ok(())
    }

    pub(super) fn gather(
        &mut self,
        mode: &GatherMode,
        argument: Handle<Expression>,
        result: Handle<Expression>,
    ) -> Res<()> {
        let value = self.leaf(argument)?;
        let (op, operand) = match mode {
            // The first lane is always there.
            GatherMode::BroadcastFirst => (Op::SubgroupBroadcast, self.emit.u32(0)),
            GatherMode::Broadcast(lane) => (Op::SubgroupBroadcast, self.lane(*lane)?),
            GatherMode::Shuffle(lane) => (Op::SubgroupShuffle, self.lane(*lane)?),
            GatherMode::ShuffleDown(delta) => (Op::SubgroupShuffleDown, self.lane(*delta)?),
            GatherMode::ShuffleUp(delta) => (Op::SubgroupShuffleUp, self.lane(*delta)?),
            GatherMode::ShuffleXor(mask) => (Op::SubgroupShuffleXor, self.lane(*mask)?),
            GatherMode::QuadBroadcast(index) => {
                let index = self.lane(*index)?;
                let (lane, three) = (self.emit.id(Op::Lane, 0), self.emit.u32(3));
                let others = self.emit.u32(!3);
                let quad = self.emit.op(Op::And, &[lane, others])?;
                let index = self.emit.op(Op::And, &[index, three])?;
                (Op::SubgroupShuffle, self.emit.op(Op::Or, &[quad, index])?)
            }
            GatherMode::QuadSwap(direction) => {
                let mask = match direction {
                    Direction::X => 1,
                    Direction::Y => 2,
                    Direction::Diagonal => 3,
                };
                (Op::SubgroupShuffleXor, self.emit.u32(mask))
            }
        };
        let gathered = self.across(op, None, &[value, operand])?;
        self.define(result, gathered);
        Ok(())
    }

    fn lane(&mut self, handle: Handle<Expression>) -> Res<ValueId> {
        let lane = self.leaf(handle)?;
        self.index(lane)
    }

    pub(super) fn collective(
        &mut self,
        op: SubgroupOperation,
        kind: CollectiveOperation,
        argument: Handle<Expression>,
        result: Handle<Expression>,
    ) -> Res<()> {
        let value = self.leaf(argument)?;
        let combine = match op {
            SubgroupOperation::All | SubgroupOperation::Any => {
                let op = if op == SubgroupOperation::All { Op::SubgroupAll } else { Op::SubgroupAny };
                if self.emit.ty(value).is_vector() {
                    let fix = "Reduce the vector by `all` or `any` first.";
                    return Err(unsupported(self.emit.at, "vote on a vector", fix));
                }
                let all = self.across(op, None, &[value])?;
                self.define(result, all);
                return Ok(());
            }
            SubgroupOperation::Add => Combine::Add,
            SubgroupOperation::Mul => Combine::Mul,
            SubgroupOperation::Min => Combine::Min,
            SubgroupOperation::Max => Combine::Max,
            SubgroupOperation::And => Combine::And,
            SubgroupOperation::Or => Combine::Or,
            SubgroupOperation::Xor => Combine::Xor,
        };
        let op = match kind {
            CollectiveOperation::Reduce => Op::SubgroupReduce,
            CollectiveOperation::InclusiveScan => Op::SubgroupInclusiveScan,
            CollectiveOperation::ExclusiveScan => Op::SubgroupExclusiveScan,
        };
        let combined = self.across(op, Some(combine), &[value])?;
        self.define(result, combined);
        Ok(())
    }
}
