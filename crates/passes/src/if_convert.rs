//! The pass `if_convert`: computes both arms of a small `if` and selects their results.
//!
//! Every op is defined on every input, so an arm without effects may run although the condition is false. A branch costs more
//! than a few cheap ops where invocations take both ways; where they do not, these cost little.

use fulgurite_ir::{BlockId, Control, Inst, InstId, InstKind, Kernel, Operands, Terminator, ValueId};
use fulgurite_spec::{FloatOp, IntegerOp, Lanes, Op, ScalarClass, ScalarOp};

use crate::Pass;
use crate::rewrite::{define, op};
use crate::scan;

pub(crate) const PASS: Pass = Pass { name: "if_convert", fires, run };

/// The largest number of instructions in both arms together.
const MOST_INSTRUCTIONS: usize = 4;
/// The largest number of results.
const MOST_RESULTS: usize = 2;

fn fires(kernel: &Kernel) -> bool {
    scan::has(kernel, |kind| matches!(kind, InstKind::If { .. }))
        && scan::any(kernel, |id| arms(kernel, id).is_some())
}

fn run(kernel: &mut Kernel) -> usize {
    let mut converted = 0;
    for block in scan::blocks(kernel) {
        if !kernel.block(block).insts.iter().any(|id| arms(kernel, *id).is_some()) {
            continue;
        }
        let insts = core::mem::take(&mut kernel.blocks[block.index()].insts);
        for id in insts {
            let Some((condition, arms)) = arms(kernel, id) else {
                kernel.blocks[block.index()].insts.push(id);
                continue;
            };
            let [yes, no] = arms.map(|arm| {
                let insts = core::mem::take(&mut kernel.blocks[arm.index()].insts);
                kernel.blocks[block.index()].insts.extend(insts);
                match &kernel.block(arm).terminator {
                    Terminator::Yield(values) => values.to_vec(),
                    Terminator::Return | Terminator::Condition(_) => Vec::new(),
                }
            });
            select(kernel, block, id, condition, &yes, &no);
            converted += 1;
        }
    }
    converted
}

/// Appends the selections that give the results of an `if`.
fn select(
    kernel: &mut Kernel,
    block: BlockId,
    id: InstId,
    condition: ValueId,
    yes: &[ValueId],
    no: &[ValueId],
) {
    // The selections define them now.
    let results = core::mem::replace(&mut kernel.insts[id.index()].results, Operands::new(&[]));
    let location = kernel.inst(id).location;
    for ((result, yes), no) in results.iter().zip(yes).zip(no) {
        let added = kernel.add_inst(block, op(Op::Select, &[condition, *yes, *no]), &[], location);
        define(kernel, added, Operands::new(&[*result]));
    }
}

/// Returns the condition and the arms of an `if` that is worth converting.
fn arms(kernel: &Kernel, id: InstId) -> Option<(ValueId, [BlockId; 2])> {
    let inst = kernel.inst(id);
    let Some(Control::If { condition, then_block, else_block }) = inst.kind.control() else { return None };
    let arms = [then_block, else_block];
    let mut insts = arms.iter().flat_map(|arm| &kernel.block(*arm).insts);
    let is_small =
        (1..=MOST_RESULTS).contains(&inst.results.len()) && insts.clone().count() <= MOST_INSTRUCTIONS;
    (has_scalar_results(kernel, inst) && is_small && insts.all(|id| is_cheap(kernel, *id)))
        .then_some((condition, arms))
}

/// Returns whether an instruction has no effect and takes a processor a cycle or two.
fn is_cheap(kernel: &Kernel, id: InstId) -> bool {
    let inst = kernel.inst(id);
    let InstKind::Scalar { op, operands, .. } = &inst.kind else { return false };
    let class = operands.first().map_or(ScalarClass::Bool, |operand| kernel.ty(*operand).scalar.class());
    has_scalar_results(kernel, inst)
        && match op.on(class) {
            Some(ScalarOp::Integer(op)) => !matches!(op, IntegerOp::Div | IntegerOp::Rem),
            Some(ScalarOp::Float(op)) => {
                !matches!(op, FloatOp::Transcendental(_) | FloatOp::Div | FloatOp::Sqrt | FloatOp::Rsqrt)
            }
            Some(ScalarOp::Bool(_) | ScalarOp::Select | ScalarOp::Convert | ScalarOp::Bitcast) => true,
            Some(
                ScalarOp::Dot
                | ScalarOp::Pack
                | ScalarOp::Unpack
                | ScalarOp::Construct
                | ScalarOp::Extract
                | ScalarOp::Insert,
            )
            | None => false,
        }
}

/// Returns whether all results are scalars.
fn has_scalar_results(kernel: &Kernel, inst: &Inst) -> bool {
    inst.results.iter().all(|result| {
        let ty = kernel.ty(*result);
        ty.lanes == Lanes::One && !ty.is_matrix()
    })
}

#[cfg(test)]
mod tests {
    use crate::tests::{after, unchanged};

    fn kernel(body: &str) -> String {
        format!(
            "fulgurite 1\nkernel @k workgroup(64, 1, 1) {{\n  buffer %b: read_write u32[]\n  param %n: u32\n  \
             %i = local_index\n  %c = lt %i, %n\n{body}}}\n"
        )
    }

    #[test]
    fn small_arms_become_selections() {
        let text = after(
            &kernel(
                "  %r, %s = if %c -> u32, bool {\n    %x = add %i, 1u32\n    %y = lt %x, 7u32\n    yield %x, %y\n  } else {\n    \
                 yield %n, %c\n  }\n  %t = select %s, %r, %i\n  store %b[%r], %t\n",
            ),
            &super::PASS,
        );
        assert!(
            text.contains("%r = select %c, %x, %n\n") && text.contains("%s = select %c, %y, %c\n"),
            "{text}"
        );
        assert!(!text.contains("if ") && text.contains("store %b[%r], %t\n"), "{text}");
    }

    #[test]
    fn what_costs_more_or_has_effects_stays() {
        for arm in [
            "%x = div %n, %i\n    yield %x",
            "%x = load %b[%i]\n    yield %x",
            "store %b[%i], %n\n    yield %n",
            "%x = add %n, %i\n    %y = mul %x, %i\n    %z = xor %y, %n\n    %u = sub %z, %x\n    %v = or %u, %i\n    yield %v",
        ] {
            let body = format!(
                "  %r = if %c -> u32 {{\n    {arm}\n  }} else {{\n    yield %n\n  }}\n  store %b[0u32], %r\n"
            );
            unchanged(&kernel(&body), &super::PASS);
        }
        unchanged(&kernel("  if %c {\n    store %b[%i], %n\n  }\n"), &super::PASS);
    }
}
