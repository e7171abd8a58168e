//! Uniform control flow: ops that all invocations of a workgroup or subgroup must reach together, and operands that
//! must be uniform.

use std::sync::OnceLock;

use fulgurite_spec::{Code, Diagnostic, Op};

use crate::analysis::uniformity::{describe, holders, mnemonic};
use crate::analysis::{Event, Uniformity, UniformityMap, Walk};
use crate::kernel::{Inst, InstId, InstKind, Kernel, MatrixInst, ValueDef, ValueId};

/// Limits on the problems reported and on the steps of a path shown, because a kernel may have millions of both.
const MAX_REPORTED: usize = 64;
const MAX_STEPS: usize = 16;

/// The requirements of an instruction: the invocations that must reach it together, and up to two operands, with
/// descriptions, that must be uniform across them.
type Demand = (Uniformity, [Option<(&'static str, ValueId)>; 2]);

fn demand(kernel: &Kernel, inst: &Inst) -> Option<Demand> {
    // Most instructions are ops, of which only those on matrices have demands.
    if let (InstKind::Scalar { .. }, [result]) = (&inst.kind, &*inst.results)
        && kernel.ty(*result).matrix.is_none()
    {
        return None;
    }
    if let Some(demand) = matrix_demand(kernel, inst) {
        return Some(demand);
    }
    let second = |value: Option<ValueId>| [value.map(|v| ("operand 2", v)), None];
    match &inst.kind {
        InstKind::Barrier { .. } => Some((Uniformity::Workgroup, [None; 2])),
        InstKind::WorkgroupBroadcast { index, .. } => Some((Uniformity::Workgroup, second(Some(*index)))),
        InstKind::SubgroupBarrier { .. } => Some((Uniformity::Subgroup, [None; 2])),
        InstKind::Subgroup { op: Op::SubgroupBroadcast, operands, .. } => {
            Some((Uniformity::Subgroup, second(operands.get(1).copied())))
        }
        InstKind::Subgroup { .. } => Some((Uniformity::Subgroup, [None; 2])),
        InstKind::Scalar { .. }
        | InstKind::VecShuffle { .. }
        | InstKind::Id { .. }
        | InstKind::Load { .. }
        | InstKind::Store { .. }
        | InstKind::Len { .. }
        | InstKind::Atomic { .. }
        | InstKind::Fence { .. }
        | InstKind::CoopLoad { .. }
        | InstKind::CoopStore { .. }
        | InstKind::CoopFill { .. }
        | InstKind::CoopMulAdd { .. }
        | InstKind::CoopConvert { .. }
        | InstKind::Trap { .. }
        | InstKind::If { .. }
        | InstKind::For { .. }
        | InstKind::Region { .. }
        | InstKind::While { .. } => None,
    }
}

/// Returns the requirements of ops on matrices: all invocations in the scope of the matrix take part.
fn matrix_demand(kernel: &Kernel, inst: &Inst) -> Option<Demand> {
    let matrix = |value: &ValueId| kernel.ty(*value).matrix.map(|shape| (shape, *value));
    // The result with the widest scope.
    let result = inst.results.iter().filter_map(matrix).min_by_key(|(shape, _)| holders(shape.scope));
    let (shape, agreed) = match inst.kind.matrix() {
        Some(MatrixInst::Store { offset, stride, value, .. }) => {
            (matrix(&value)?.0, [Some(("the offset", offset)), Some(("the stride", stride))])
        }
        Some(MatrixInst::Load { offset, stride, .. }) => {
            (result?.0, [Some(("the offset", offset)), Some(("the stride", stride))])
        }
        Some(MatrixInst::Fill { value }) => (result?.0, [Some(("operand 1", value)), None]),
        Some(MatrixInst::MulAdd { .. } | MatrixInst::Convert { .. }) | None => (result?.0, [None; 2]),
    };
    Some((holders(shape.scope), agreed))
}

/// Returns the name of the group of invocations of a level.
fn whose(level: Uniformity) -> &'static str {
    match level {
        Uniformity::Subgroup => "subgroup",
        Uniformity::Dispatch | Uniformity::Workgroup | Uniformity::Varying => "workgroup",
    }
}

/// Checks the demands of all instructions. The uniformity of values is computed only if there are any.
pub(super) fn check(kernel: &Kernel, map: &OnceLock<UniformityMap>, found: &mut Vec<Diagnostic>) {
    if !kernel.insts.iter().any(|inst| demand(kernel, inst).is_some()) {
        return;
    }
    let map = map.get_or_init(|| UniformityMap::of(kernel));
    // The enclosing control instructions whose deciding value is not workgroup-uniform, innermost last.
    let mut divergent: Vec<(InstId, ValueId)> = Vec::new();
    let mut reported = 0;
    for event in Walk::new(kernel) {
        match event {
            Event::Inst(id) => {
                let inst = kernel.inst(id);
                if let Some((wanted, agreed)) = demand(kernel, inst) {
                    let control = divergent.iter().find(|(_, decider)| map.level(*decider) > wanted);
                    let control = control.map(|(control, decider)| {
                        control_problem(kernel, map, inst, wanted, *control, *decider)
                    });
                    let operands = agreed
                        .into_iter()
                        .flatten()
                        .filter(|(_, operand)| map.level(*operand) > wanted)
                        .map(|(role, operand)| operand_problem(kernel, map, inst, wanted, role, operand));
                    let matrices = inst
                        .results
                        .iter()
                        .filter_map(|r| kernel.ty(*r).matrix.map(|shape| (holders(shape.scope), *r)))
                        .filter(|(wanted, result)| map.level(*result) > *wanted)
                        .filter(|_| agreed == [None; 2])
                        .map(|(wanted, result)| matrix_problem(kernel, map, inst, wanted, result));
                    for problem in control.into_iter().chain(operands).chain(matrices) {
                        reported += 1;
                        if reported > MAX_REPORTED {
                            return;
                        }
                        found.push(problem);
                    }
                }
                if let Some(decider) = map.deciding_value(kernel, inst)
                    && map.level(decider) > Uniformity::Workgroup
                {
                    divergent.push((id, decider));
                }
            }
            Event::Done(id) => {
                if divergent.last().is_some_and(|(control, _)| *control == id) {
                    divergent.pop();
                }
            }
            Event::Enter(_) | Event::Exit(_) => {}
        }
    }
}

fn operand_problem(
    kernel: &Kernel,
    map: &UniformityMap,
    inst: &Inst,
    wanted: Uniformity,
    role: &str,
    operand: ValueId,
) -> Diagnostic {
    let message = format!(
        "{role} of `{}` must be the same for the whole {}, {} is {}",
        mnemonic(&inst.kind),
        whose(wanted),
        describe(kernel, operand),
        map.level(operand).name(),
    );
    with_path(Diagnostic::new(Code::NotUniformOperand, inst.location, message), kernel, map, operand)
}

/// Reports a matrix that is not uniform in its scope because a non-uniform value selects it or decides the number of
/// iterations that carry it.
fn matrix_problem(
    kernel: &Kernel,
    map: &UniformityMap,
    inst: &Inst,
    wanted: Uniformity,
    result: ValueId,
) -> Diagnostic {
    let message = format!(
        "the matrix that `{}` yields must be the same for the whole {}, it is {}",
        mnemonic(&inst.kind),
        whose(wanted),
        map.level(result).name(),
    );
    with_path(Diagnostic::new(Code::NotUniform, inst.location, message), kernel, map, result)
}

fn control_problem(
    kernel: &Kernel,
    map: &UniformityMap,
    inst: &Inst,
    wanted: Uniformity,
    control: InstId,
    decider: ValueId,
) -> Diagnostic {
    let control = kernel.inst(control);
    let name = mnemonic(&control.kind);
    let article = if matches!(control.kind, InstKind::If { .. }) { "an" } else { "a" };
    let message = format!(
        "`{}` inside {article} `{name}` decided by {}, which is {}: not every invocation of the {} reaches it",
        mnemonic(&inst.kind),
        describe(kernel, decider),
        map.level(decider).name(),
        whose(wanted),
    );
    let problem = Diagnostic::new(Code::NotUniform, inst.location, message)
        .with_note(control.location, format!("this `{name}` is not {}", wanted.name()));
    with_path(problem, kernel, map, decider)
}

/// Adds notes that lead from `value` to the origin of its variation.
fn with_path(mut diagnostic: Diagnostic, kernel: &Kernel, map: &UniformityMap, value: ValueId) -> Diagnostic {
    let path = map.path(value);
    for (step, value) in path.iter().copied().enumerate() {
        // Omit the middle of a long path: its ends are the most informative.
        if (MAX_STEPS / 2..path.len().saturating_sub(MAX_STEPS / 2)).contains(&step) {
            continue;
        }
        let ValueDef::Inst(inst, _) = kernel.value(value).def else { continue };
        let inst = kernel.inst(inst);
        diagnostic = diagnostic.with_note(
            inst.location,
            format!(
                "{} is {}: it comes from `{}`",
                describe(kernel, value),
                map.level(value).name(),
                mnemonic(&inst.kind)
            ),
        );
    }
    diagnostic
}
