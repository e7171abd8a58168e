//! Uniform control flow: what every invocation of a workgroup or subgroup must reach together, and operands that
//! must be the same for all of them.

use fulgurite_spec::{Code, Diagnostic, Op};

use crate::analysis::uniformity::{describe, mnemonic};
use crate::analysis::{Event, Uniformity, UniformityMap, Walk};
use crate::kernel::{Inst, InstId, InstKind, Kernel, ValueDef, ValueId};

/// Most problems that are reported, and most steps of a path that are shown: a kernel may have millions of both.
const MAX_REPORTED: usize = 64;
const MAX_STEPS: usize = 16;

/// What an instruction asks for: who must reach it together, and an operand that they must agree on.
fn demand(inst: &Inst) -> Option<(Uniformity, Option<ValueId>)> {
    match &inst.kind {
        InstKind::Barrier { .. } => Some((Uniformity::Workgroup, None)),
        InstKind::WorkgroupBroadcast { index, .. } => Some((Uniformity::Workgroup, Some(*index))),
        InstKind::SubgroupBarrier { .. } => Some((Uniformity::Subgroup, None)),
        InstKind::Subgroup { op: Op::SubgroupBroadcast, operands, .. } => {
            Some((Uniformity::Subgroup, operands.get(1).copied()))
        }
        InstKind::Subgroup { .. } => Some((Uniformity::Subgroup, None)),
        _ => None,
    }
}

/// Whose invocations share a level.
fn whose(level: Uniformity) -> &'static str {
    match level {
        Uniformity::Subgroup => "subgroup",
        _ => "workgroup",
    }
}

pub(super) fn check(kernel: &Kernel, map: &UniformityMap, found: &mut Vec<Diagnostic>) {
    // The enclosing control instructions whose deciding value is not workgroup-uniform, innermost last.
    let mut divergent: Vec<(InstId, ValueId)> = Vec::new();
    let mut reported = 0;
    for event in Walk::new(kernel) {
        match event {
            Event::Inst(id) => {
                let inst = kernel.inst(id);
                if let Some((wanted, agreed)) = demand(inst) {
                    let control = divergent.iter().find(|(_, decider)| map.level(*decider) > wanted);
                    let control = control.map(|(control, decider)| {
                        control_problem(kernel, map, inst, wanted, *control, *decider)
                    });
                    let operand = agreed
                        .filter(|operand| map.level(*operand) > wanted)
                        .map(|operand| operand_problem(kernel, map, inst, wanted, operand));
                    for problem in control.into_iter().chain(operand) {
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
    operand: ValueId,
) -> Diagnostic {
    let message = format!(
        "operand 2 of `{}` must be the same for the whole {}, {} is {}",
        mnemonic(&inst.kind),
        whose(wanted),
        describe(kernel, operand),
        map.level(operand).name(),
    );
    with_path(Diagnostic::new(Code::NotUniformOperand, inst.location, message), kernel, map, operand)
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

/// Adds notes that lead from `value` to what made it vary.
fn with_path(mut diagnostic: Diagnostic, kernel: &Kernel, map: &UniformityMap, value: ValueId) -> Diagnostic {
    let path = map.path(value);
    for (step, value) in path.iter().copied().enumerate() {
        // The ends of a long path say most: what decides, and where it comes from.
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
