//! The kernels that are compiled to native code.
//!
//! A kernel with any value, op or memory that is not listed here runs in the interpreter.

use fulgurite_ir::analysis::uniformity::op;
use fulgurite_ir::analysis::{instructions, operands};
use fulgurite_ir::{Inst, InstKind, Memory, Operands, PureInst, ValueDef, ValueId, VerifiedKernel};
use fulgurite_spec::{IdOp, ScalarType, Type};

use super::lower::plan::{is_divisible, needs_whole_workgroups};
use super::lower::subgroup::are_vectors;

/// The maximum number of components of all values of a kernel but constants. Some analyses of the lane program take quadratic
/// time.
const MAX_COMPONENTS: u32 = 16_384;
/// The maximum number of values that control flow yields or carries, for the same reason.
const MAX_CARRIED: usize = 512;

/// Returns what of `kernel` native code cannot be generated for, if anything.
pub(crate) fn unsupported(kernel: &VerifiedKernel, lanes: u32) -> Option<String> {
    let computed = kernel.values.iter().filter(|value| !matches!(value.def, ValueDef::Const(_)));
    let components: u32 = computed.map(|value| value.ty.lanes.count()).sum();
    if components > MAX_COMPONENTS {
        return Some(format!("{components} components of values, more than {MAX_COMPONENTS}"));
    }
    // Rows may begin and end within a workgroup, which then makes no progress of its own.
    if kernel.needs_progress && !needs_whole_workgroups(kernel) {
        return Some("workgroups that wait for each other".to_owned());
    }
    if let Some(param) = kernel.params.iter().find(|param| !is_of_words(param.ty)) {
        return Some(format!("the parameter `%{}` of type {}", param.name, param.ty));
    }
    if let Some(array) = kernel.locals.iter().find(|array| !is_of_words(array.element)) {
        return Some(format!("the array `%{}` of {}", array.name, array.element));
    }
    if let Some(buffer) = kernel.buffers.iter().find(|buffer| buffer.large) {
        return Some(format!("the large buffer `%{}`", buffer.name));
    }
    if !are_vectors(kernel, lanes) && instructions(kernel).any(|id| sees_subgroups(kernel.inst(id))) {
        let [x, y, z] = kernel.workgroup;
        return Some(format!("subgroups of {lanes} lanes, or a broadcast, in workgroups of {x} x {y} x {z}"));
    }
    if let Some(id) = instructions(kernel).find(|id| !is_supported(kernel, kernel.inst(*id))) {
        let inst = kernel.inst(id);
        let types = inst
            .results
            .iter()
            .copied()
            .chain(operands(&inst.kind))
            .map(|value| kernel.ty(value).to_string());
        let (name, types) = (op(&inst.kind).mnemonic(), types.collect::<Vec<_>>().join(", "));
        return Some(if types.is_empty() { format!("`{name}`") } else { format!("`{name}` with {types}") });
    }
    (needs_whole_workgroups(kernel) && !is_divisible(kernel)).then(|| {
        "many barriers, one in a `while`, or one in control flow that is decided by a vector value".to_owned()
    })
}

/// Returns whether an instruction depends on the order of the invocations of a workgroup in vectors.
fn sees_subgroups(inst: &Inst) -> bool {
    match inst.kind {
        InstKind::Subgroup { .. } | InstKind::WorkgroupBroadcast { .. } => true,
        InstKind::Id { op, .. } => match IdOp::of(op) {
            Some(
                IdOp::Lane | IdOp::SubgroupId | IdOp::SubgroupSize | IdOp::NumSubgroups | IdOp::LaneMaskLt,
            ) => true,
            Some(
                IdOp::GlobalId | IdOp::LocalId | IdOp::WorkgroupId | IdOp::NumWorkgroups | IdOp::LocalIndex,
            )
            | None => false,
        },
        InstKind::Scalar { .. }
        | InstKind::VecShuffle { .. }
        | InstKind::Len { .. }
        | InstKind::Load { .. }
        | InstKind::Store { .. }
        | InstKind::Atomic { .. }
        | InstKind::Fence { .. }
        | InstKind::Barrier { .. }
        | InstKind::SubgroupBarrier { .. }
        | InstKind::CoopLoad { .. }
        | InstKind::CoopStore { .. }
        | InstKind::CoopFill { .. }
        | InstKind::CoopMulAdd { .. }
        | InstKind::CoopConvert { .. }
        | InstKind::Trap { .. }
        | InstKind::If { .. }
        | InstKind::For { .. }
        | InstKind::Region { .. }
        | InstKind::While { .. } => false,
    }
}

/// Returns whether values of this type are held in words for each lane, or in masks.
fn is_value(ty: Type) -> bool {
    is_of_words(ty) || ty.scalar == ScalarType::Bool
}

/// Returns whether values of this type are held in words.
fn is_of_words(ty: Type) -> bool {
    let is_held = match ty.scalar {
        ScalarType::I8
        | ScalarType::I16
        | ScalarType::I32
        | ScalarType::I64
        | ScalarType::U8
        | ScalarType::U16
        | ScalarType::U32
        | ScalarType::U64
        | ScalarType::F16
        | ScalarType::BF16
        | ScalarType::F32 => true,
        ScalarType::Bool | ScalarType::F64 => false,
    };
    is_held && !ty.is_matrix()
}

fn is_supported(kernel: &VerifiedKernel, inst: &Inst) -> bool {
    let all = |values: &Operands| {
        values.len() <= MAX_CARRIED && values.iter().all(|value| is_value(kernel.ty(*value)))
    };
    if let Some(pure) = inst.kind.pure() {
        return all(&inst.results)
            && match pure {
                PureInst::Scalar { operands, .. } => all(operands),
                PureInst::VecShuffle { vectors, .. } => vectors.iter().all(|v| is_value(kernel.ty(*v))),
                PureInst::Id { .. } => true,
                // The length of a buffer does not depend on what it holds.
                PureInst::Len { memory } => {
                    matches!(kernel.base(memory), Memory::Buffer(_)) || is_of_words(kernel.element(memory))
                }
            };
    }
    let accesses =
        |memory: Memory, index: ValueId| is_of_words(kernel.element(memory)) && kernel.ty(index) == Type::U32;
    match inst.kind {
        // Where barriers may be is checked for the whole kernel.
        InstKind::Barrier { .. } => true,
        InstKind::SubgroupBarrier { .. } | InstKind::Fence { .. } => true,
        InstKind::Subgroup { ref operands, .. } => all(operands) && all(&inst.results),
        InstKind::WorkgroupBroadcast { .. } => all(&inst.results),
        InstKind::Load { memory, index } => accesses(memory, index),
        InstKind::Store { memory, index, .. } => accesses(memory, index),
        InstKind::Atomic { memory, index, .. } => {
            let is_shared = match kernel.base(memory) {
                Memory::Buffer(_) | Memory::Shared(_) => true,
                Memory::Local(_) | Memory::View(_) => false,
            };
            is_shared && kernel.element(memory).size() == 4 && accesses(memory, index)
        }
        InstKind::If { .. } | InstKind::Region { .. } | InstKind::While { .. } => all(&inst.results),
        InstKind::For { start, .. } => all(&inst.results) && kernel.ty(start).size() == 4,
        InstKind::Scalar { .. }
        | InstKind::VecShuffle { .. }
        | InstKind::Id { .. }
        | InstKind::Len { .. }
        | InstKind::CoopLoad { .. }
        | InstKind::CoopStore { .. }
        | InstKind::CoopFill { .. }
        | InstKind::CoopMulAdd { .. }
        | InstKind::CoopConvert { .. }
        | InstKind::Trap { .. } => false,
    }
}
