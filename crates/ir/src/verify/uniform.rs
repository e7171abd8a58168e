//! Uniform control flow: what every invocation of a workgroup must reach together.

use fulgurite_spec::{Code, Diagnostic, Location};

use crate::analysis::uniformity::{describe, mnemonic};
use crate::analysis::{Event, Uniformity, UniformityMap, Walk};
use crate::kernel::{InstId, InstKind, Kernel, ValueDef, ValueId};

/// Most barriers that are reported, and most steps of a path that are shown: a kernel may have millions of both.
const MAX_REPORTED: usize = 64;
const MAX_STEPS: usize = 16;

pub(super) fn check(kernel: &Kernel, map: &UniformityMap, found: &mut Vec<Diagnostic>) {
    // The enclosing control instructions whose deciding value is not workgroup-uniform, innermost last.
    let mut divergent: Vec<(InstId, ValueId)> = Vec::new();
    let mut reported = 0;
    for event in Walk::new(kernel) {
        match event {
            Event::Inst(id) => {
                let inst = kernel.inst(id);
                if let InstKind::Barrier { .. } = inst.kind
                    && let Some((control, decider)) = divergent.first()
                {
                    reported += 1;
                    if reported > MAX_REPORTED {
                        return;
                    }
                    found.push(diagnostic(kernel, map, inst.location, *control, *decider));
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

fn diagnostic(
    kernel: &Kernel,
    map: &UniformityMap,
    barrier: Location,
    control: InstId,
    decider: ValueId,
) -> Diagnostic {
    let control = kernel.inst(control);
    let name = mnemonic(&control.kind);
    let article = if matches!(control.kind, InstKind::If { .. }) { "an" } else { "a" };
    let mut diagnostic = Diagnostic::new(
        Code::NotUniform,
        barrier,
        format!(
            "`barrier` inside {article} `{name}` decided by {}, which is {}: not every invocation of the workgroup reaches it",
            describe(kernel, decider),
            map.level(decider).name(),
        ),
    )
    .with_note(control.location, format!("this `{name}` is not workgroup-uniform"));
    let path = map.path(decider);
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
