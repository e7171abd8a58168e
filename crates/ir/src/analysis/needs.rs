//! Which capabilities of a device a kernel needs.

use std::collections::BTreeSet;

use fulgurite_spec::device::Capability;
use fulgurite_spec::{Op, ScalarType, Type};

use crate::analysis::instructions;
use crate::kernel::{AtomicOrder, FloatMode, Initial, InstKind, Kernel};
use crate::text::default_scope;

/// The capabilities that running `kernel`, which the verifier has seen, takes.
pub fn needs(kernel: &Kernel) -> BTreeSet<Capability> {
    let declared = kernel.buffers.iter().map(|b| b.element).chain(kernel.params.iter().map(|p| p.ty));
    let arrays = kernel.shared.iter().chain(&kernel.locals).map(|a| a.element);
    let values = kernel.values.iter().map(|v| v.ty);
    let of_type = |ty: Type| Capability::of_type(ty.scalar);
    let mut needs: BTreeSet<Capability> = declared.chain(arrays).chain(values).filter_map(of_type).collect();
    needs.extend(kernel.views.iter().map(|v| v.element).filter_map(of_type));
    if kernel.buffers.iter().any(|b| b.large) {
        needs.insert(Capability::LargeBuffers);
    }
    if kernel.values.iter().any(|v| v.ty.is_matrix()) {
        needs.insert(Capability::CooperativeMatrix);
    }
    for id in instructions(kernel) {
        match &kernel.inst(id).kind {
            InstKind::Atomic { op, memory, .. } => {
                needs.extend(of_atomic(*op, kernel.element(*memory).scalar));
            }
            InstKind::Scalar { mode: FloatMode::Exact, .. } => {
                needs.insert(Capability::ExactFma);
            }
            InstKind::Subgroup { .. }
            | InstKind::SubgroupBarrier { .. }
            | InstKind::Id {
                op: Op::Lane | Op::SubgroupId | Op::SubgroupSize | Op::NumSubgroups | Op::LaneMaskLt,
                ..
            } => {
                needs.insert(Capability::Subgroups);
            }
            _ => {}
        }
    }
    needs
}

/// The first part of the language that `kernel` uses and that backends are still being taught: what to name in
/// [`Unsupported`](Capability) until they are.
pub fn recent_feature(kernel: &Kernel) -> Option<&'static str> {
    if kernel.buffers.iter().any(|b| b.large) {
        return Some("large buffers");
    }
    if !kernel.views.is_empty() {
        return Some("views");
    }
    if kernel.values.iter().any(|v| v.ty.is_matrix()) {
        return Some("cooperative matrices");
    }
    if kernel.shared.iter().any(|a| a.initial == Initial::Uninit) {
        return Some("`uninit` shared memory");
    }
    instructions(kernel).find_map(|id| match &kernel.inst(id).kind {
        InstKind::VecShuffle { .. } => Some("`vec.shuffle`"),
        InstKind::Fence { .. } => Some("`fence`"),
        InstKind::WorkgroupBroadcast { .. } => Some("`workgroup_broadcast`"),
        InstKind::Trap { .. } => Some("`trap`"),
        InstKind::Region { .. } => Some("regions"),
        InstKind::Subgroup { .. } | InstKind::SubgroupBarrier { .. } => Some("subgroups"),
        InstKind::Id { op, .. } if op.number() > Op::LocalIndex.number() => Some("subgroups"),
        InstKind::Atomic { order, scope, memory, .. }
            if *order != AtomicOrder::Relaxed || *scope != default_scope(kernel, *memory) =>
        {
            Some("ordered atomics")
        }
        InstKind::Load { index, .. } | InstKind::Store { index, .. } | InstKind::Atomic { index, .. }
            if kernel.ty(*index) != Type::U32 =>
        {
            Some("64-bit indices")
        }
        _ => None,
    })
}

fn of_atomic(op: Op, ty: ScalarType) -> Option<Capability> {
    match ty {
        ScalarType::I64 | ScalarType::U64 => Some(Capability::AtomicInt64),
        ScalarType::F32 if op == Op::AtomicAdd => Some(Capability::AtomicFloatAdd),
        ScalarType::F64 if op == Op::AtomicAdd => Some(Capability::AtomicDoubleAdd),
        _ => None,
    }
}
