//! The pass `strength`: divides unsigned integers by powers of two by shifts and masks.

use fulgurite_ir::analysis::Event;
use fulgurite_ir::{Const, InstId, InstKind, Kernel, ValueDef};
use fulgurite_spec::{Op, Type};

use crate::Pass;
use crate::replacement::{any, events};

pub(crate) const PASS: Pass = Pass { name: "strength", fires, run };

fn fires(kernel: &Kernel) -> bool {
    any(kernel, |id| cheaper(kernel, id).is_some())
}

fn run(kernel: &mut Kernel) -> usize {
    let mut changes = 0;
    for event in events(kernel) {
        let Event::Inst(id) = event else { continue };
        let Some((cheaper, ty, bits)) = cheaper(kernel, id) else { continue };
        let by = kernel.add_value(ty, ValueDef::Const(Const(bits)), None);
        if let InstKind::Scalar { op, operands, .. } = &mut kernel.insts[id.index()].kind
            && let [_, second] = &mut **operands
        {
            (*op, *second) = (cheaper, by);
            changes += 1;
        }
    }
    changes
}

/// Returns the op that replaces an instruction, and the type and bits of its second operand.
fn cheaper(kernel: &Kernel, id: InstId) -> Option<(Op, Type, u64)> {
    let InstKind::Scalar { op: op @ (Op::Div | Op::Rem), operands, .. } = &kernel.inst(id).kind else {
        return None;
    };
    let [_, divisor] = **operands else { return None };
    let literal = kernel.literal(divisor)?;
    let is_unsigned = literal.ty.is_integer() && !literal.ty.is_signed();
    if !is_unsigned || !literal.bits.is_power_of_two() {
        return None;
    }
    let shift = (Op::Shr, Type::U32, u64::from(literal.bits.trailing_zeros()));
    let mask = (Op::And, Type::scalar(literal.ty), literal.bits - 1);
    Some(if *op == Op::Div { shift } else { mask })
}

#[cfg(test)]
mod tests {
    use crate::tests::{after, unchanged};

    fn stored(ty: &str, body: &str) -> String {
        format!(
            "fulgurite 1\nkernel @k workgroup(1, 1, 1) {{\n  buffer %b: read_write {ty}[]\n  %x = load %b[0u32]\n  \
             {body}\n  store %b[0u32], %r\n}}\n"
        )
    }

    #[test]
    fn powers_of_two_divide_by_shifts_and_masks() {
        for (ty, body, cheaper) in [
            ("u32", "%r = div %x, 8u32", "%r = shr %x, 3u32"),
            ("u32", "%r = rem %x, 8u32", "%r = and %x, 7u32"),
            ("u8", "%r = div %x, 128u8", "%r = shr %x, 7u32"),
            ("u64", "%r = rem %x, 9223372036854775808u64", "%r = and %x, 9223372036854775807u64"),
            ("u16", "%r = div %x, 1u16", "%r = shr %x, 0u32"),
        ] {
            let text = after(&stored(ty, body), &super::PASS);
            assert!(text.contains(cheaper), "{body}:\n{text}");
        }
    }

    #[test]
    fn other_divisions_stay() {
        for (ty, body) in [
            ("i32", "%r = div %x, 8i32"),
            ("i32", "%r = rem %x, 8i32"),
            ("u32", "%r = div %x, 6u32"),
            ("u32", "%r = rem %x, 0u32"),
            ("u32", "%r = div 8u32, %x"),
            ("f32", "%r = div %x, 8.0f32"),
        ] {
            unchanged(&stored(ty, body), &super::PASS);
        }
    }
}
