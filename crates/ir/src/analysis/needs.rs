//! Device capabilities that a kernel requires.

use std::collections::BTreeSet;

use fulgurite_spec::device::Capability;
use fulgurite_spec::{IdOp, Op, ScalarType, Type};

use crate::analysis::instructions;
use crate::kernel::{FloatMode, InstKind, Kernel};

/// Returns the capabilities required to run `kernel`, which the verifier has checked.
pub fn needs(kernel: &Kernel) -> BTreeSet<Capability> {
    let declared = kernel.buffers.iter().map(|b| b.element).chain(kernel.params.iter().map(|p| p.ty));
    let arrays = kernel.shared.iter().chain(&kernel.locals).map(|a| a.element);
    let values = kernel.values.iter().map(|v| v.ty);
    let of_type = |ty: Type| Capability::of_type(ty.scalar);
    let mut needs: BTreeSet<Capability> = declared.chain(arrays).chain(values).filter_map(of_type).collect();
    needs.extend(kernel.views.iter().map(|v| v.element).filter_map(of_type));
    if kernel.needs_progress {
        needs.insert(Capability::WorkgroupProgress);
    }
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
            InstKind::Id { op, .. } => {
                let sees_subgroups = IdOp::of(*op).is_some_and(IdOp::sees_subgroups);
                needs.extend(sees_subgroups.then_some(Capability::Subgroups));
            }
            InstKind::Subgroup { .. } | InstKind::SubgroupBarrier { .. } => {
                needs.insert(Capability::Subgroups);
            }
            InstKind::Scalar { mode: FloatMode::Default | FloatMode::Fast, .. }
            | InstKind::VecShuffle { .. }
            | InstKind::Load { .. }
            | InstKind::Store { .. }
            | InstKind::Len { .. }
            | InstKind::Fence { .. }
            | InstKind::Barrier { .. }
            | InstKind::WorkgroupBroadcast { .. }
            | InstKind::CoopLoad { .. }
            | InstKind::CoopStore { .. }
            | InstKind::CoopFill { .. }
            | InstKind::CoopMulAdd { .. }
            | InstKind::CoopConvert { .. }
            | InstKind::Trap { .. }
            | InstKind::If { .. }
            | InstKind::For { .. }
            | InstKind::Region { .. }
            | InstKind::While { .. } => {}
        }
    }
    needs
}

fn of_atomic(op: Op, ty: ScalarType) -> Option<Capability> {
    match ty {
        ScalarType::I64 | ScalarType::U64 => Some(Capability::AtomicInt64),
        ScalarType::F32 if op == Op::AtomicAdd => Some(Capability::AtomicFloatAdd),
        ScalarType::F64 if op == Op::AtomicAdd => Some(Capability::AtomicDoubleAdd),
        // Implemented with 64-bit integer atomics.
        ScalarType::F64 => Some(Capability::AtomicInt64),
        ScalarType::Bool
        | ScalarType::I8
        | ScalarType::I16
        | ScalarType::I32
        | ScalarType::U8
        | ScalarType::U16
        | ScalarType::U32
        | ScalarType::F16
        | ScalarType::BF16
        | ScalarType::F32 => None,
    }
}
