//! Steps of ops across a workgroup or subgroup.

use fulgurite_hal::Error;
use fulgurite_ir::{Combine, Operands, ValueId};
use fulgurite_spec::{Op, SubgroupOp};

use super::{Compiler, internal};
use crate::code::Step;
use crate::compute::compute;
use crate::subgroup::{Broadcast, Scan, ScanKind, Shuffle, Source, Vote, VoteKind};

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
        let Some(op) = SubgroupOp::of(op) else { return Err(internal("no op across a subgroup")) };
        let scan = |compiler: &mut Self, kind: ScanKind| {
            let how = combine.ok_or_else(|| internal("a scan that combines nothing"))?;
            let ty = ty.scalar;
            let function = compute(how.op(), ty, ty);
            let combine = function.ok_or_else(|| internal("a scan of what cannot be combined"))?;
            for (to, value) in components() {
                let scratch = [compiler.temporary(ty), compiler.temporary(ty)];
                let identity = how.identity(ty);
                compiler.steps.push(Step::Scan(Scan { kind, combine, ty, identity, value, to, scratch }));
            }
            Ok(())
        };
        let shuffle = |compiler: &mut Self, source: Source| {
            let other = operands.get(1).map(|v| compiler.scalar(*v));
            let other = other.ok_or_else(|| internal("a shuffle without a lane"))?;
            for (to, value) in components() {
                compiler.steps.push(Step::Shuffle(Shuffle { source, ty: ty.scalar, value, other, to }));
            }
            Ok(())
        };
        let vote = |compiler: &mut Self, kind: VoteKind| {
            compiler.steps.push(Step::Vote(Vote { kind, ty: ty.scalar, value: value[0], to }));
            Ok(())
        };
        match op {
            SubgroupOp::Reduce => scan(self, ScanKind::Reduce),
            SubgroupOp::InclusiveScan => scan(self, ScanKind::Inclusive),
            SubgroupOp::ExclusiveScan => scan(self, ScanKind::Exclusive),
            SubgroupOp::Broadcast | SubgroupOp::Shuffle => shuffle(self, Source::Lane),
            SubgroupOp::ShuffleXor => shuffle(self, Source::Xor),
            SubgroupOp::ShuffleUp => shuffle(self, Source::Up),
            SubgroupOp::ShuffleDown => shuffle(self, Source::Down),
            SubgroupOp::Ballot => vote(self, VoteKind::Ballot),
            SubgroupOp::BallotCount => vote(self, VoteKind::BallotCount),
            SubgroupOp::Match => vote(self, VoteKind::Match),
            SubgroupOp::Any => vote(self, VoteKind::Any),
            SubgroupOp::All => vote(self, VoteKind::All),
            SubgroupOp::Elect => vote(self, VoteKind::Elect),
        }
    }
}
