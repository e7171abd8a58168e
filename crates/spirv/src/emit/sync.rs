//! Barriers, fences, broadcasts across a workgroup, and traps.

use fulgurite_ir::{AtomicOrder, MemoryScopes, SyncScope, ValueId};
use fulgurite_spec::{IdOp, ScalarType, Type};

use super::Emitter;
use super::memory::order;
use crate::assembler::Id;
use crate::layout::{ControlWord, Layout};
use crate::spv::{op, scope, semantics};

/// Returns the semantics of a barrier that orders `scopes`.
fn ordered(scopes: MemoryScopes) -> u32 {
    let mut ordered = 0;
    if scopes.shared {
        ordered |= semantics::WorkgroupMemory;
    }
    if scopes.buffers {
        ordered |= semantics::UniformMemory;
    }
    if ordered != 0 {
        ordered |= semantics::AcquireRelease | semantics::MakeAvailable | semantics::MakeVisible;
    }
    ordered
}

impl Emitter<'_> {
    pub(super) fn barrier(&mut self, scopes: MemoryScopes) {
        let (workgroup, ordered) = (self.asm.u32(scope::Workgroup), self.asm.u32(ordered(scopes)));
        self.asm.effect(op::ControlBarrier, &[workgroup, workgroup, ordered]);
    }

    pub(super) fn subgroup_barrier(&mut self, scopes: MemoryScopes) {
        let (subgroup, ordered) = (self.asm.u32(scope::Subgroup), self.asm.u32(ordered(scopes)));
        self.asm.effect(op::ControlBarrier, &[subgroup, subgroup, ordered]);
    }

    pub(super) fn fence(&mut self, how: AtomicOrder, among: SyncScope) {
        let (reach, ordered) = (self.reach_of(among, how), self.asm.u32(order(how)));
        self.asm.effect(op::MemoryBarrier, &[reach, ordered]);
    }

    /// Returns to all invocations the value of the one with local index `index`, or zero if there is none.
    pub(super) fn workgroup_broadcast(&mut self, value: ValueId, index: ValueId) -> Id {
        let ty = self.kernel.ty(value);
        let kept = if ty.scalar == ScalarType::Bool { ty.with_scalar(ScalarType::U32) } else { ty };
        let (value, index) = (self.id(value), self.id(index));
        let value = self.convert(value, ty, kept);
        let scratch = match self.broadcasts.get(&kept) {
            Some(scratch) => *scratch,
            None => {
                let scratch = self.shared_scratch(kept);
                self.broadcasts.insert(kept, scratch);
                scratch
            }
        };
        let (own, zero) = (self.built_in(IdOp::LocalIndex), self.asm.u32(0));
        let chosen = self.make(op::IEqual, Type::BOOL, &[own, index]);
        self.where_true(chosen, |e| e.store_to(scratch, kept, zero, value, true));
        let scopes = MemoryScopes { shared: true, buffers: false };
        self.barrier(scopes);
        let loaded = self.load_from(scratch, kept, zero, true);
        // The next broadcast may write only after all invocations have read.
        self.barrier(scopes);
        let count = self.asm.u32(self.kernel.workgroup_invocations());
        let there = self.make(op::ULessThan, Type::BOOL, &[index, count]);
        let there = self.splat_value(Type::BOOL.with_lanes(kept.lanes), there);
        let nothing = self.asm.splat(kept, 0);
        let result = self.make(op::Select, kept, &[there, loaded, nothing]);
        self.convert(result, kept, ty)
    }

    pub(super) fn trap(&mut self, code: ValueId) {
        let code = self.id(code);
        self.record_fault(Layout::FAULT_TRAP, Some((ControlWord::TrapCode, code)));
    }
}
