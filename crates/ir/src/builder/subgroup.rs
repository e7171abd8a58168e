//! Ops across the lanes of a subgroup. All lanes must reach them together.

use std::panic::Location as RustLocation;

use fulgurite_spec::{Location, Op};

use super::Builder;
use super::types::{Number, Scalar, ValueType};
use super::value::{Erased, IntoVal, Val};
use crate::kernel::{Combine, InstKind, MemoryScopes};

impl Builder {
    /// This invocation's position in its subgroup: its local index modulo the subgroup size.
    #[track_caller]
    pub fn lane(&self) -> Val<'_, u32> {
        self.id(Op::Lane, 0, RustLocation::caller())
    }

    /// The subgroup's position in its workgroup.
    #[track_caller]
    pub fn subgroup_id(&self) -> Val<'_, u32> {
        self.id(Op::SubgroupId, 0, RustLocation::caller())
    }

    /// The lanes of a full subgroup, at most 128; the last one of a workgroup may have fewer.
    #[track_caller]
    pub fn subgroup_size(&self) -> Val<'_, u32> {
        self.id(Op::SubgroupSize, 0, RustLocation::caller())
    }

    /// The subgroups of a workgroup.
    #[track_caller]
    pub fn num_subgroups(&self) -> Val<'_, u32> {
        self.id(Op::NumSubgroups, 0, RustLocation::caller())
    }

    /// 128 bits, low first, of which those below this lane's are one.
    #[track_caller]
    pub fn lane_mask_lt(&self) -> Val<'_, [u32; 4]> {
        self.id(Op::LaneMaskLt, 0, RustLocation::caller())
    }

    /// Waits for every invocation of the subgroup, and makes what they wrote to shared memory and buffers visible
    /// to all of them.
    #[track_caller]
    pub fn subgroup_barrier(&self) {
        let location = Location::Rust(RustLocation::caller());
        self.state().inst(InstKind::SubgroupBarrier { scopes: MemoryScopes::ALL }, &[], location);
    }

    /// True in the first lane only.
    #[track_caller]
    pub fn subgroup_elect(&self) -> Val<'_, bool> {
        self.subgroup(Op::SubgroupElect, None, &[], RustLocation::caller())
    }

    fn subgroup<'k, R: ValueType>(
        &'k self,
        op: Op,
        combine: Option<Combine>,
        operands: &[Erased<'k>],
        place: &'static RustLocation<'static>,
    ) -> Val<'k, R> {
        let mut state = self.state();
        let operands = operands.iter().map(|v| state.check(*v, self, place)).collect();
        let kind = InstKind::Subgroup { op, combine, operands };
        let id = state.single(kind, R::TYPE, Location::Rust(place));
        drop(state);
        Val::new(self, id)
    }
}

impl<'k, T: ValueType> Val<'k, T> {
    fn other_lane(self, op: Op, which: impl IntoVal<'k, u32>, place: &'static RustLocation<'static>) -> Self {
        let which = which.into_val(self.builder());
        self.builder().subgroup(op, None, &[self.erase(), which.erase()], place)
    }

    /// The value of lane `lane`, which must be the same for the whole subgroup; each lane's own if there is no
    /// such lane. The result counts as uniform in the subgroup for the literal lane 0, which is always there.
    #[track_caller]
    pub fn subgroup_broadcast(self, lane: impl IntoVal<'k, u32>) -> Self {
        self.other_lane(Op::SubgroupBroadcast, lane, RustLocation::caller())
    }

    /// The value of lane `lane`; the lane's own if there is no such lane.
    #[track_caller]
    pub fn subgroup_shuffle(self, lane: impl IntoVal<'k, u32>) -> Self {
        self.other_lane(Op::SubgroupShuffle, lane, RustLocation::caller())
    }

    /// The value of the lane whose number is this one's exclusive-or `mask`; the lane's own if there is none.
    #[track_caller]
    pub fn subgroup_shuffle_xor(self, mask: impl IntoVal<'k, u32>) -> Self {
        self.other_lane(Op::SubgroupShuffleXor, mask, RustLocation::caller())
    }

    /// The value of the lane `distance` below; the lane's own if there is none.
    #[track_caller]
    pub fn subgroup_shuffle_up(self, distance: impl IntoVal<'k, u32>) -> Self {
        self.other_lane(Op::SubgroupShuffleUp, distance, RustLocation::caller())
    }

    /// The value of the lane `distance` above; the lane's own if there is none.
    #[track_caller]
    pub fn subgroup_shuffle_down(self, distance: impl IntoVal<'k, u32>) -> Self {
        self.other_lane(Op::SubgroupShuffleDown, distance, RustLocation::caller())
    }
}

impl<'k, T: Number> Val<'k, T> {
    /// The values of all lanes combined, the same for all of them. Floats are combined in any order; `and`, `or`
    /// and `xor` are for integers.
    #[track_caller]
    pub fn subgroup_reduce(self, combine: Combine) -> Self {
        let place = RustLocation::caller();
        self.builder().subgroup(Op::SubgroupReduce, Some(combine), &[self.erase()], place)
    }

    /// The values of this lane and all below combined.
    #[track_caller]
    pub fn subgroup_inclusive_scan(self, combine: Combine) -> Self {
        let place = RustLocation::caller();
        self.builder().subgroup(Op::SubgroupInclusiveScan, Some(combine), &[self.erase()], place)
    }

    /// The values of all lanes below combined; for the first what changes nothing: 0 for `add`, 1 for `mul`, the
    /// largest for `min`.
    #[track_caller]
    pub fn subgroup_exclusive_scan(self, combine: Combine) -> Self {
        let place = RustLocation::caller();
        self.builder().subgroup(Op::SubgroupExclusiveScan, Some(combine), &[self.erase()], place)
    }
}

impl<'k, T: Number + Scalar> Val<'k, T> {
    /// 128 bits, low first: those of the lanes whose value has the same bits as this lane's.
    #[track_caller]
    pub fn subgroup_match(self) -> Val<'k, [u32; 4]> {
        self.builder().subgroup(Op::SubgroupMatch, None, &[self.erase()], RustLocation::caller())
    }
}

impl<'k> Val<'k, bool> {
    /// 128 bits, low first: those of the lanes where this is true.
    #[track_caller]
    pub fn subgroup_ballot(self) -> Val<'k, [u32; 4]> {
        self.builder().subgroup(Op::SubgroupBallot, None, &[self.erase()], RustLocation::caller())
    }

    /// The number of lanes where this is true.
    #[track_caller]
    pub fn subgroup_ballot_count(self) -> Val<'k, u32> {
        self.builder().subgroup(Op::SubgroupBallotCount, None, &[self.erase()], RustLocation::caller())
    }

    /// Whether this is true in some lane.
    #[track_caller]
    pub fn subgroup_any(self) -> Val<'k, bool> {
        self.builder().subgroup(Op::SubgroupAny, None, &[self.erase()], RustLocation::caller())
    }

    /// Whether this is true in all lanes.
    #[track_caller]
    pub fn subgroup_all(self) -> Val<'k, bool> {
        self.builder().subgroup(Op::SubgroupAll, None, &[self.erase()], RustLocation::caller())
    }
}
