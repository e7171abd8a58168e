//! The pass `common`: computes a value once that several instructions compute from the same operands.

use std::collections::HashMap;

use fulgurite_ir::analysis::Event;
use fulgurite_ir::{FloatMode, InstKind, Kernel, Memory, Operands, ValueId};
use fulgurite_spec::{Op, Type};

use crate::replacement::{Replacement, events};

/// The computation of an instruction without effects: equal forms have equal results.
#[derive(PartialEq, Eq, Hash, Clone)]
enum Form {
    Scalar(Op, FloatMode, Box<[ValueId]>),
    Shuffle(Box<[u8]>, [ValueId; 2]),
    Id(Op, u8),
    Len(Memory),
}

/// Returns the number of results replaced.
pub(crate) fn run(kernel: &mut Kernel) -> usize {
    let mut replacement = Replacement::none(kernel);
    let mut known: HashMap<(Form, Type), ValueId> = HashMap::new();
    // The forms that each open block has added: its values are defined in it only.
    let mut open: Vec<Vec<(Form, Type)>> = Vec::new();
    let mut changes = 0;
    for event in events(kernel) {
        match event {
            Event::Enter(_) => open.push(Vec::new()),
            Event::Exit(_) => {
                for form in open.pop().unwrap_or_default() {
                    known.remove(&form);
                }
            }
            Event::Inst(id) => {
                replacement.in_operands(kernel, id);
                let inst = kernel.inst(id);
                let (Some(form), [result]) = (form(&inst.kind), &*inst.results) else { continue };
                let key = (form, kernel.ty(*result));
                if let Some(first) = known.get(&key) {
                    replacement.replace(*result, *first);
                    changes += 1;
                    continue;
                }
                if let Some(block) = open.last_mut() {
                    block.push(key.clone());
                }
                known.insert(key, *result);
            }
            Event::Done(_) => {}
        }
    }
    if changes > 0 {
        replacement.in_terminators(kernel);
    }
    changes
}

/// Returns the form of an instruction whose result depends on its operands alone.
fn form(kind: &InstKind) -> Option<Form> {
    match kind {
        InstKind::Scalar { op, operands, mode } => Some(Form::Scalar(*op, *mode, ordered(*op, operands))),
        InstKind::VecShuffle { components, vectors } => Some(Form::Shuffle(components.clone(), *vectors)),
        InstKind::Id { op, component } => Some(Form::Id(*op, *component)),
        InstKind::Len { memory } => Some(Form::Len(*memory)),
        InstKind::Load { .. }
        | InstKind::Store { .. }
        | InstKind::Atomic { .. }
        | InstKind::Fence { .. }
        | InstKind::Barrier { .. }
        | InstKind::SubgroupBarrier { .. }
        | InstKind::WorkgroupBroadcast { .. }
        | InstKind::Subgroup { .. }
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

/// Returns the operands, in one order where their order does not matter.
fn ordered(op: Op, operands: &Operands) -> Box<[ValueId]> {
    let mut operands: Box<[ValueId]> = (&**operands).into();
    if [Op::Add, Op::Mul, Op::And, Op::Or, Op::Xor, Op::Eq, Op::Ne].contains(&op) {
        operands.sort_unstable();
    }
    operands
}

#[cfg(test)]
mod tests {
    use crate::tests::{after, unchanged};

    const TWICE: &str = "fulgurite 1
kernel @k workgroup(64, 1, 1) {
  buffer %b: read_write u32[]
  %i = global_id.x
  %j = global_id.x
  %x = load %b[%i]
  %p = mul %x, %i
  %q = mul %j, %x
  %s = add %p, %q
  store %b[%j], %s
}
";

    #[test]
    fn equal_values_are_computed_once() {
        let text = after(TWICE, super::run);
        assert!(text.contains("%s = add %p, %p\n") && text.contains("store %b[%i], %s\n"), "{text}");
    }

    #[test]
    fn loads_and_values_of_other_blocks_are_not_merged() {
        unchanged(
            "fulgurite 1
kernel @k workgroup(1, 1, 1) {
  buffer %b: read_write u32[]
  %x = load %b[0u32]
  store %b[1u32], %x
  %y = load %b[0u32]
  %c = lt %x, %y
  if %c {
    %p = add %x, 1u32
    store %b[2u32], %p
  } else {
    %q = add %x, 1u32
    store %b[3u32], %q
  }
  %d = sub %x, %y
  %e = sub %y, %x
  %f = add %d, %e
  store %b[4u32], %f
}
",
            super::run,
        );
    }
}
