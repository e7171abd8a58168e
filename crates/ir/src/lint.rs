//! Warnings about valid kernels: declarations without a use, results that nothing reads, code that never runs, and
//! invocations that store different values in one element.
//!
//! A warning is given only for what the analyses prove, so that a kernel without surprises has none. Names that begin
//! with `_` are passed over.

use std::collections::{HashMap, HashSet};

use fulgurite_spec::{Code, CompareOp, Diagnostic, Location, Op, Type};

use crate::analysis::uniformity::describe;
use crate::analysis::walk::{Event, Walk, instructions, used_values};
use crate::analysis::{RangeMap, Uniformity, UniformityMap};
use crate::kernel::{
    Access, BlockId, BufferId, Control, InstId, InstKind, Kernel, LocalId, Memory, SharedId, ValueDef,
    ValueId, ViewId,
};
use crate::require::RequireNode;
use crate::verify::VerifiedKernel;

/// Returns the warnings about a kernel, in the order of the declarations and of the instructions.
///
/// ```
/// # use fulgurite_ir::{lint, text, verify};
/// let kernel = text::parse("fulgurite 1\nkernel @k workgroup(64, 1, 1) {\n  buffer %y: write f32[]\n}\n")?;
/// let warnings = lint(&verify(kernel)?);
/// assert_eq!(warnings[0].message, "buffer `%y` is not used");
/// # Ok::<(), fulgurite_spec::Diagnostics>(())
/// ```
pub fn lint(kernel: &VerifiedKernel) -> Vec<Diagnostic> {
    let uses = Uses::of(kernel);
    let mut found = declarations(kernel, &uses);
    found.extend(instruction_warnings(kernel, &uses.values));
    found
}

/// The values and memory objects that instructions and preconditions use.
struct Uses {
    values: Vec<bool>,
    /// Memory objects that are named, read and written; of a view, also its base.
    named: HashSet<Memory>,
    read: HashSet<Memory>,
    written: HashSet<Memory>,
}

impl Uses {
    fn of(kernel: &Kernel) -> Self {
        let mut uses = Self {
            values: used_values(kernel),
            named: HashSet::new(),
            read: HashSet::new(),
            written: HashSet::new(),
        };
        for node in kernel.requires.iter().flat_map(|require| &require.nodes) {
            match node {
                RequireNode::Param(id) => uses.values[kernel.params[id.index()].value.index()] = true,
                RequireNode::Len(id) => {
                    uses.named.insert(Memory::Buffer(*id));
                }
                RequireNode::Literal(_) | RequireNode::NumWorkgroups(_) | RequireNode::Op { .. } => {}
            }
        }
        for id in instructions(kernel) {
            let Some((memory, access)) = kernel.inst(id).kind.access() else { continue };
            for memory in [memory, kernel.base(memory)] {
                uses.named.insert(memory);
                if access.is_some_and(Access::can_read) {
                    uses.read.insert(memory);
                }
                if access.is_some_and(Access::can_write) {
                    uses.written.insert(memory);
                }
            }
        }
        uses
    }
}

fn warning(code: Code, location: Location, message: String) -> Diagnostic {
    Diagnostic::new(code, location, message).as_warning()
}

/// Returns the warnings about declarations.
fn declarations(kernel: &Kernel, uses: &Uses) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let is_exempt = |name: &str| name.starts_with('_');
    let mut unused = |what: &str, name: &str, location| {
        found.push(warning(Code::UnusedDeclaration, location, format!("{what} `%{name}` is not used")));
    };
    for param in kernel.params.iter().filter(|param| !is_exempt(&param.name)) {
        if !uses.values[param.value.index()] {
            unused("parameter", &param.name, param.location);
        }
    }
    for (position, view) in kernel.views.iter().enumerate().filter(|(_, view)| !is_exempt(&view.name)) {
        if !uses.named.contains(&Memory::View(ViewId::new(position))) {
            unused("view", &view.name, view.location);
        }
    }
    let of_views: HashSet<Memory> = kernel.views.iter().map(|view| view.base).collect();
    let is_named = |memory: Memory| uses.named.contains(&memory) || of_views.contains(&memory);
    for (position, buffer) in kernel.buffers.iter().enumerate().filter(|(_, b)| !is_exempt(&b.name)) {
        let memory = Memory::Buffer(BufferId::new(position));
        if !is_named(memory) {
            unused("buffer", &buffer.name, buffer.location);
        }
    }
    let shared = kernel.shared.iter().enumerate().map(|(i, array)| (Memory::Shared(SharedId::new(i)), array));
    let locals = kernel.locals.iter().enumerate().map(|(i, array)| (Memory::Local(LocalId::new(i)), array));
    let arrays: Vec<_> = shared.chain(locals).filter(|(_, array)| !is_exempt(&array.name)).collect();
    for (memory, array) in &arrays {
        if !is_named(*memory) {
            unused("array", &array.name, array.location);
        }
    }
    for (position, buffer) in kernel.buffers.iter().enumerate().filter(|(_, b)| !is_exempt(&b.name)) {
        let memory = Memory::Buffer(BufferId::new(position));
        if buffer.access.can_write() && is_named(memory) && !uses.written.contains(&memory) {
            let message =
                format!("buffer `%{}` is declared `{}` and never written", buffer.name, buffer.access.name());
            let problem = warning(Code::NeverWritten, buffer.location, message);
            found.push(match buffer.access {
                Access::ReadWrite => problem.with_fix("Declare it `read`, or store in it."),
                Access::Write | Access::Read => problem,
            });
        }
    }
    for (memory, array) in arrays.iter().filter(|(memory, _)| is_named(*memory)) {
        let (is_read, is_written) = (uses.read.contains(memory), uses.written.contains(memory));
        if is_read && !is_written {
            let message = format!("array `%{}` is read and never written", array.name);
            found.push(warning(Code::NeverWritten, array.location, message));
        } else if is_written && !is_read {
            let message = format!("array `%{}` is written and never read", array.name);
            found.push(warning(Code::UnusedDeclaration, array.location, message));
        }
    }
    found
}

/// Why a block never runs.
type Reasons = HashMap<BlockId, String>;

/// Returns the warnings about instructions.
fn instruction_warnings(kernel: &Kernel, used: &[bool]) -> Vec<Diagnostic> {
    let (ranges, levels) = (RangeMap::of(kernel), UniformityMap::of(kernel));
    let (mut found, mut reasons) = (Vec::new(), Reasons::new());
    // The levels of what decides whether the enclosing blocks run, and the number of open blocks that never do.
    let (mut deciding, mut idle) = (vec![Uniformity::Dispatch], 0usize);
    Walk::new(kernel).for_each(|event| match event {
        Event::Enter(block) => idle += usize::from(idle > 0 || reasons.contains_key(&block)),
        Event::Exit(_) => idle = idle.saturating_sub(1),
        Event::Done(id) => {
            if kernel.inst(id).kind.control().is_some() {
                deciding.pop();
            }
        }
        Event::Inst(id) => {
            let inst = kernel.inst(id);
            let location = inst.location;
            if let Some(control) = inst.kind.control() {
                let outer = deciding.last().copied().unwrap_or(Uniformity::Varying);
                let own = levels.deciding_value(kernel, inst).map(|value| levels.level(value));
                deciding.push(own.map_or(outer, |own| own.max(outer)));
                for (block, reason) in never_runs(kernel, &ranges, control) {
                    if idle == 0 && !kernel.block(block).insts.is_empty() {
                        found.push(warning(Code::NeverRuns, location, reason.clone()));
                    }
                    reasons.insert(block, reason);
                }
            }
            if idle > 0 {
                return;
            }
            if let Some(name) = unused_result(kernel, used, id) {
                found.push(warning(Code::UnusedResult, location, format!("{name} is not used")));
            }
            found.extend(outside(kernel, &ranges, id));
            let level = deciding.last().copied().unwrap_or(Uniformity::Varying);
            found.extend(race(kernel, &levels, level, id));
        }
    });
    found
}

/// Returns the blocks of an instruction that never run, with the reasons.
fn never_runs(kernel: &Kernel, ranges: &RangeMap<'_>, control: Control<'_>) -> Vec<(BlockId, String)> {
    match control {
        Control::If { condition, then_block, else_block } => match truth(kernel, ranges, condition) {
            Some(true) => {
                vec![(
                    else_block,
                    format!("{} is always true, so `else` never runs", describe(kernel, condition)),
                )]
            }
            Some(false) => {
                vec![(
                    then_block,
                    format!("{} is always false, so the block never runs", describe(kernel, condition)),
                )]
            }
            None => Vec::new(),
        },
        Control::For { start, end, step, body, .. } if ranges.most_trips(start, end, step) == 0 => {
            vec![(body, "the loop has no iteration, whatever the launch".to_owned())]
        }
        Control::For { .. } | Control::Region { .. } | Control::While { .. } => Vec::new(),
    }
}

/// Returns the value of a condition that is the same in every launch.
fn truth(kernel: &Kernel, ranges: &RangeMap<'_>, condition: ValueId) -> Option<bool> {
    // Without recursion: a chain of negations may be as long as the kernel.
    let (mut condition, mut is_negated) = (condition, false);
    let value = loop {
        if let Some(literal) = kernel.literal(condition) {
            break literal.bits != 0;
        }
        let ValueDef::Inst(inst, _) = kernel.value(condition).def else { return None };
        let InstKind::Scalar { op, operands, .. } = &kernel.inst(inst).kind else { return None };
        match &**operands {
            [negated] if *op == Op::Not => (condition, is_negated) = (*negated, !is_negated),
            [a, b] => break compared(kernel, ranges, CompareOp::of(*op)?, [*a, *b])?,
            _ => return None,
        }
    };
    Some(value != is_negated)
}

/// Returns the result of a comparison that is the same in every launch.
fn compared(
    kernel: &Kernel,
    ranges: &RangeMap<'_>,
    compare: CompareOp,
    [a, b]: [ValueId; 2],
) -> Option<bool> {
    if kernel.ty(a) != Type::U32 {
        return None;
    }
    let (a, b) = (ranges.range(a), ranges.range(b));
    let (below, at_most) = (a.most < b.least, a.most <= b.least);
    let (above, at_least) = (a.least > b.most, a.least >= b.most);
    let decided = |yes: bool, no: bool| if yes { Some(true) } else { no.then_some(false) };
    match compare {
        CompareOp::Lt => decided(below, at_least),
        CompareOp::Le => decided(at_most, above),
        CompareOp::Gt => decided(above, at_most),
        CompareOp::Ge => decided(at_least, below),
        CompareOp::Eq => decided(at_most && at_least, below || above),
        CompareOp::Ne => decided(below || above, at_most && at_least),
    }
}

/// Returns how to call the result of an instruction that has no effect, if nothing uses it.
fn unused_result(kernel: &Kernel, used: &[bool], id: InstId) -> Option<String> {
    let inst = kernel.inst(id);
    let has_no_effect = inst.kind.pure().is_some() || matches!(inst.kind, InstKind::Load { .. });
    let [result] = inst.results[..] else { return None };
    let is_exempt = kernel.value(result).name.as_ref().is_some_and(|name| name.starts_with('_'));
    (has_no_effect && !used[result.index()] && !is_exempt).then(|| describe(kernel, result))
}

/// Returns the warning about an access to an array outside of it, whatever the launch.
fn outside(kernel: &Kernel, ranges: &RangeMap<'_>, id: InstId) -> Option<Diagnostic> {
    let inst = kernel.inst(id);
    let (InstKind::Load { memory, index } | InstKind::Store { memory, index, .. }) = inst.kind else {
        return None;
    };
    let len = match memory {
        Memory::Shared(array) => kernel.shared[array.index()].len,
        Memory::Local(array) => kernel.locals[array.index()].len,
        Memory::Buffer(_) | Memory::View(_) => return None,
    };
    let least = ranges.range(index).least;
    if kernel.ty(index) != Type::U32 || least < len {
        return None;
    }
    let what = if matches!(inst.kind, InstKind::Load { .. }) { "loads 0" } else { "stores nothing" };
    let message = format!(
        "the index is {least} or more, and `%{}` has {len} elements, so this {what}",
        kernel.memory_name(memory)
    );
    Some(warning(Code::NeverRuns, inst.location, message))
}

/// Returns the warning about a store by which the invocations of a workgroup, or the workgroups, store values of their own
/// in one element, if it runs where `level` is uniform.
fn race(kernel: &Kernel, levels: &UniformityMap, level: Uniformity, id: InstId) -> Option<Diagnostic> {
    let inst = kernel.inst(id);
    let InstKind::Store { memory, index, value } = inst.kind else { return None };
    let place = levels.level(index).max(level);
    let who = match (place, levels.level(value)) {
        // A local array is the invocation's own.
        _ if matches!(memory, Memory::Local(_)) => return None,
        (Uniformity::Dispatch | Uniformity::Workgroup, Uniformity::Varying) => {
            "the invocations of a workgroup"
        }
        (Uniformity::Dispatch, Uniformity::Workgroup) if matches!(kernel.base(memory), Memory::Buffer(_)) => {
            "all workgroups"
        }
        _ => return None,
    };
    // Only ids are known to differ: values that vary for another reason may still be equal.
    let origin = *levels.path(value).last()?;
    let ValueDef::Inst(origin, _) = kernel.value(origin).def else { return None };
    matches!(kernel.inst(origin).kind, InstKind::Id { .. }).then(|| {
        let message = format!(
            "{who} store values that depend on {} in one element of `%{}`: which one stays is not defined",
            crate::analysis::uniformity::mnemonic(&kernel.inst(origin).kind),
            kernel.memory_name(memory)
        );
        warning(Code::RacingStores, inst.location, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{text, verify};

    /// Returns the codes, places and messages of the warnings about a kernel.
    fn of(lines: &str) -> Vec<String> {
        let source = format!("fulgurite 1\nkernel @k workgroup(64, 1, 1) {{\n{lines}\n}}\n");
        let kernel = verify(text::parse(&source).expect("it is a text")).expect("it is valid");
        let warnings = lint(&kernel);
        assert!(warnings.iter().all(|warning| warning.severity == fulgurite_spec::Severity::Warning));
        warnings.iter().map(|w| format!("{} {} {}", w.code, w.location, w.message)).collect()
    }

    #[test]
    fn declarations_without_a_use_are_reported() {
        assert_eq!(
            of(
                "  buffer %x: read f32[]\n  buffer %y: write u32[]\n  buffer %_z: read f32[]\n  param %n: u32\n  param %m: u32\n  \
                shared %t: u32[4]\n  view %v = %y as u32x2[]\n  require le %m, 7u32\n  store %y[0u32], 1u32"
            ),
            [
                "FG1201 6:3 parameter `%n` is not used",
                "FG1201 9:3 view `%v` is not used",
                "FG1201 3:3 buffer `%x` is not used",
                "FG1201 8:3 array `%t` is not used",
            ]
        );
    }

    #[test]
    fn what_is_declared_to_be_written_and_is_not_is_reported() {
        assert_eq!(
            of(
                "  buffer %x: read_write u32[]\n  buffer %y: write u32[]\n  shared %t: u32[4]\n  local %l: u32[4]\n  \
                %a = load %x[0u32]\n  %b = load %t[0u32]\n  %c = add %a, %b\n  store %l[0u32], %c\n  %n = len %y\n  store %l[1u32], %n"
            ),
            [
                "FG1202 3:3 buffer `%x` is declared `read_write` and never written",
                "FG1202 4:3 buffer `%y` is declared `write` and never written",
                "FG1202 5:3 array `%t` is read and never written",
                "FG1201 6:3 array `%l` is written and never read",
            ]
        );
    }

    #[test]
    fn results_without_a_use_are_reported() {
        assert_eq!(
            of(
                "  buffer %y: read_write u32[]\n  %i = global_id.x\n  %a = add %i, 1u32\n  %b = load %y[%i]\n  %_c = mul %b, 2u32\n  \
                atomic.add %y[%i], 1u32\n  %old = atomic.add %y[%i], 1u32"
            ),
            ["FG1203 5:3 `%a` is not used"]
        );
    }

    #[test]
    fn code_that_never_runs_is_reported_once() {
        let store = "store %y[%i], 1u32";
        assert_eq!(
            of(&format!(
                "  buffer %y: write u32[]\n  shared %t: u32[64]\n  %i = global_id.x\n  %l = local_index\n  %c = ge %l, 64u32\n  \
                 if %c {{\n    if true {{\n      {store}\n    }}\n  }}\n  for %k in 5u32 to 5u32 step 1u32 {{\n    {store}\n  }}\n  \
                 %far = add %l, 64u32\n  store %t[%far], 1u32\n  %z = load %t[%l]\n  store %y[%i], %z"
            )),
            [
                "FG1204 8:3 `%c` is always false, so the block never runs",
                "FG1204 13:3 the loop has no iteration, whatever the launch",
                "FG1204 17:3 the index is 64 or more, and `%t` has 64 elements, so this stores nothing",
            ]
        );
        assert_eq!(
            of(
                "  buffer %y: write u32[]\n  %i = global_id.x\n  %c = lt %i, 64u32\n  if %c {\n  store %y[%i], 1u32\n  }"
            ),
            [""; 0]
        );
    }

    #[test]
    fn a_long_chain_of_negations_is_followed() {
        let mut lines = String::from("  buffer %y: write u32[]\n  %l = local_index\n  %c0 = lt %l, 64u32\n");
        for i in 0..100_001 {
            lines += &format!("  %c{} = not %c{i}\n", i + 1);
        }
        lines += "  if %c100001 {\n    store %y[%l], 1u32\n  }";
        assert_eq!(of(&lines), ["FG1204 100007:3 `%c100001` is always false, so the block never runs"]);
    }

    #[test]
    fn stores_of_different_values_in_one_element_are_reported() {
        let of = |lines: &str| of(&format!("  buffer %y: write u32[]\n  buffer %x: read u32[]\n  {lines}"));
        assert_eq!(
            of("%i = global_id.x\n  %v = load %x[%i]\n  store %y[0u32], %v"),
            [
                "FG1205 7:3 the invocations of a workgroup store values that depend on global_id.x in one element of `%y`: which \
                 one stays is not defined"
            ]
        );
        assert_eq!(
            of("%w = workgroup_id.x\n  %v = load %x[%w]\n  %a = add %v, %w\n  store %y[0u32], %a"),
            [
                "FG1205 8:3 all workgroups store values that depend on workgroup_id.x in one element of `%y`: which one stays is \
                 not defined"
            ]
        );
        // Each stores in its own element, one of them stores, or all store the same.
        for lines in [
            "%i = global_id.x\n  %v = load %x[%i]\n  store %y[%i], %v",
            "%i = local_index\n  %v = load %x[%i]\n  %c = eq %i, 0u32\n  if %c {\n  store %y[0u32], %v\n  }",
            "%v = load %x[3u32]\n  store %y[0u32], %v",
            "%w = workgroup_id.x\n  %v = load %x[%w]\n  store %y[%w], %v",
        ] {
            assert_eq!(of(lines), [""; 0], "{lines}");
        }
    }
}
