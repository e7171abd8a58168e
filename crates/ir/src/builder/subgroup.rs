//! Subgroup ops. All lanes of the subgroup must reach them together.

use std::panic::Location as RustLocation;

use fulgurite_spec::{Location, Op};

use super::Builder;
use super::types::{Number, Scalar, ValueType};
use super::value::{Erased, IntoVal, Val};
use crate::kernel::{Combine, InstKind, MemoryScopes};

impl Builder {
    /// Returns this invocation's position in its subgroup: its local index modulo the subgroup size.
    #[track_caller]
    pub fn lane(&self) -> Val<'_, u32> {
        self.id(Op::Lane, 0, RustLocation::caller())
    }

    /// Returns the subgroup's position in its workgroup.
    #[track_caller]
    pub fn subgroup_id(&self) -> Val<'_, u32> {
        self.id(Op::SubgroupId, 0, RustLocation::caller())
    }

    /// Returns the number of lanes of a full subgroup, at most 128. The last subgroup of a workgroup may have fewer.
    #[track_caller]
    pub fn subgroup_size(&self) -> Val<'_, u32> {
        self.id(Op::SubgroupSize, 0, RustLocation::caller())
    }

    /// Returns the number of subgroups in a workgroup.
    #[track_caller]
    pub fn num_subgroups(&self) -> Val<'_, u32> {
        self.id(Op::NumSubgroups, 0, RustLocation::caller())
    }

    /// Returns a 128-bit mask, low word first, with a bit set for each lane below this one.
    #[track_caller]
    pub fn lane_mask_lt(&self) -> Val<'_, [u32; 4]> {
        self.id(Op::LaneMaskLt, 0, RustLocation::caller())
    }

    /// Waits for every invocation of the subgroup and makes their earlier writes to shared memory and buffers visible
    /// to all of them.
    #[track_caller]
    pub fn subgroup_barrier(&self) {
        let location = Location::Rust(RustLocation::caller());
        self.state().inst(InstKind::SubgroupBarrier { scopes: MemoryScopes::ALL }, &[], location);
    }

    /// Returns true in the first lane only.
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

    /// Returns the value of lane `lane`, which must be subgroup-uniform, or the invocation's own value if there is no
    /// such lane. The result is known to be subgroup-uniform only if `lane` is the literal 0, because lane 0 always
    /// exists.
    #[track_caller]
    pub fn subgroup_broadcast(self, lane: impl IntoVal<'k, u32>) -> Self {
        self.other_lane(Op::SubgroupBroadcast, lane, RustLocation::caller())
    }

    /// Returns the value of lane `lane`, or the invocation's own value if there is no such lane.
    #[track_caller]
    pub fn subgroup_shuffle(self, lane: impl IntoVal<'k, u32>) -> Self {
        self.other_lane(Op::SubgroupShuffle, lane, RustLocation::caller())
    }

    /// Returns the value of the lane whose number is this lane's exclusive-or `mask`, or the invocation's own value
    /// if there is no such lane.
    #[track_caller]
    pub fn subgroup_shuffle_xor(self, mask: impl IntoVal<'k, u32>) -> Self {
        self.other_lane(Op::SubgroupShuffleXor, mask, RustLocation::caller())
    }

    /// Returns the value of the lane `distance` below this one, or the invocation's own value if there is no such
    /// lane.
    #[track_caller]
    pub fn subgroup_shuffle_up(self, distance: impl IntoVal<'k, u32>) -> Self {
        self.other_lane(Op::SubgroupShuffleUp, distance, RustLocation::caller())
    }

    /// Returns the value of the lane `distance` above this one, or the invocation's own value if there is no such
    /// lane.
    #[track_caller]
    pub fn subgroup_shuffle_down(self, distance: impl IntoVal<'k, u32>) -> Self {
        self.other_lane(Op::SubgroupShuffleDown, distance, RustLocation::caller())
    }
}

impl<'k, T: Number> Val<'k, T> {
    /// Combines the values of all lanes. The result is the same in every lane. Floats are combined in any order;
    /// `and`, `or` and `xor` require integers.
    #[track_caller]
    pub fn subgroup_reduce(self, combine: Combine) -> Self {
        let place = RustLocation::caller();
        self.builder().subgroup(Op::SubgroupReduce, Some(combine), &[self.erase()], place)
    }

    /// Combines the values of this lane and all lanes below.
    #[track_caller]
    pub fn subgroup_inclusive_scan(self, combine: Combine) -> Self {
        let place = RustLocation::caller();
        self.builder().subgroup(Op::SubgroupInclusiveScan, Some(combine), &[self.erase()], place)
    }

    /// Combines the values of all lanes below. Returns the identity element in the first lane: 0 for `add`, 1 for
    /// `mul`, the largest value for `min`.
    #[track_caller]
    pub fn subgroup_exclusive_scan(self, combine: Combine) -> Self {
        let place = RustLocation::caller();
        self.builder().subgroup(Op::SubgroupExclusiveScan, Some(combine), &[self.erase()], place)
    }
}

impl<'k, T: Number + Scalar> Val<'k, T> {
    /// Returns a 128-bit mask, low word first, of the lanes whose value has the same bits as this lane's.
    #[track_caller]
    pub fn subgroup_match(self) -> Val<'k, [u32; 4]> {
        self.builder().subgroup(Op::SubgroupMatch, None, &[self.erase()], RustLocation::caller())
    }
}

impl<'k> Val<'k, bool> {
    /// Returns a 128-bit mask, low word first, of the lanes where this is true.
    #[track_caller]
    pub fn subgroup_ballot(self) -> Val<'k, [u32; 4]> {
        self.builder().subgroup(Op::SubgroupBallot, None, &[self.erase()], RustLocation::caller())
    }

    /// Returns the number of lanes where this is true.
    #[track_caller]
    pub fn subgroup_ballot_count(self) -> Val<'k, u32> {
        self.builder().subgroup(Op::SubgroupBallotCount, None, &[self.erase()], RustLocation::caller())
    }

    /// Returns whether this is true in any lane.
    #[track_caller]
    pub fn subgroup_any(self) -> Val<'k, bool> {
        self.builder().subgroup(Op::SubgroupAny, None, &[self.erase()], RustLocation::caller())
    }

    /// Returns whether this is true in all lanes.
    #[track_caller]
    pub fn subgroup_all(self) -> Val<'k, bool> {
        self.builder().subgroup(Op::SubgroupAll, None, &[self.erase()], RustLocation::caller())
    }
}
