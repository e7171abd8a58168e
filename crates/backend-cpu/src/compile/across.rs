//! Steps of ops across a workgroup or subgroup.

use fulgurite_hal::Error;
use fulgurite_ir::{Combine, Operands, ValueId};
use fulgurite_spec::Op;

use super::{Compiler, internal};
use crate::code::Step;
use crate::compute::compute;
use crate::subgroup::{Broadcast, Scan, ScanKind, Shuffle, Vote};

impl Compiler<'_> {
    pub(super) fn broadcast(&mut self, value: ValueId, index: ValueId, results: &Operands) {
        let Some(result) = results.first().copied() else { return };
        let to = self.define(result);
        let ty = self.kernel.ty(value);
        self.steps.push(Step::Broadcast(Broadcast {
            ty: ty.scalar,
            count: ty.lanes.count(),
            value: self.value(value),
            index: self.scalar(index),
            to,
        }));
    }

    pub(super) fn subgroup(
        &mut self,
        op: Op,
        combine: Option<Combine>,
        operands: &Operands,
        results: &Operands,
    ) -> Result<(), Error> {
        let Some(result) = results.first().copied() else {
            return Err(internal("an op without a result"));
        };
        let to = self.define(result);
        let ty = operands.first().map_or(self.kernel.ty(result), |v| self.kernel.ty(*v));
        let value = operands.first().map_or([0; 4], |v| self.value(*v));
        let components = || to.into_iter().zip(value).take(ty.lanes.count() as usize);
        match op {
            Op::SubgroupReduce | Op::SubgroupInclusiveScan | Op::SubgroupExclusiveScan => {
                let kind = match op {
                    Op::SubgroupReduce => ScanKind::Reduce,
                    Op::SubgroupInclusiveScan => ScanKind::Inclusive,
                    _ => ScanKind::Exclusive,
                };
                let how = combine.ok_or_else(|| internal("a scan that combines nothing"))?;
                let ty = ty.scalar;
                let function = compute(how.op(), ty, ty);
                let combine = function.ok_or_else(|| internal("a scan of what cannot be combined"))?;
                for (to, value) in components() {
                    let scratch = [self.temporary(ty), self.temporary(ty)];
                    let identity = how.identity(ty);
                    self.steps.push(Step::Scan(Scan { kind, combine, ty, identity, value, to, scratch }));
                }
            }
            Op::SubgroupBroadcast
            | Op::SubgroupShuffle
            | Op::SubgroupShuffleXor
            | Op::SubgroupShuffleUp
            | Op::SubgroupShuffleDown => {
                let other = operands.get(1).map(|v| self.scalar(*v));
                let other = other.ok_or_else(|| internal("a shuffle without a lane"))?;
                for (to, value) in components() {
                    self.steps.push(Step::Shuffle(Shuffle { op, ty: ty.scalar, value, other, to }));
                }
            }
            _ => self.steps.push(Step::Vote(Vote { op, ty: ty.scalar, value: value[0], to })),
        }
        Ok(())
    }
}
