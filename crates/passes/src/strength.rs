//! The pass `strength`: divides unsigned integers by powers of two by shifts and masks.
//!
//! A compiler that optimizes does so itself, and knows more about a quotient or remainder than about the shift or mask that
//! replaces it: with NVIDIA's, a product of `f16` matrices took 2 % longer with this pass. It runs for other devices only. Other
//! literals are left to code generation: the product that replaces such a division tells the analyses nothing.

use fulgurite_ir::analysis::instructions;
use fulgurite_ir::{InstId, InstKind, Kernel};
use fulgurite_spec::{Op, Type};

use crate::Pass;
use crate::rewrite::constant;
use crate::scan::{any, has};

pub(crate) const PASS: Pass = Pass { name: "strength", fires, run };

fn fires(kernel: &Kernel) -> bool {
    let divides = |kind: &InstKind| matches!(kind, InstKind::Scalar { op: Op::Div | Op::Rem, .. });
    has(kernel, divides) && any(kernel, |id| cheaper(kernel, id).is_some())
}

fn run(kernel: &mut Kernel) -> usize {
    let found: Vec<_> = instructions(kernel).filter_map(|id| Some((id, cheaper(kernel, id)?))).collect();
    for (id, (cheaper, ty, bits)) in &found {
        let by = constant(kernel, *ty, *bits);
        if let InstKind::Scalar { op, operands, .. } = &mut kernel.insts[id.index()].kind {
            (*op, operands[1]) = (*cheaper, by);
        }
    }
    found.len()
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
    use std::sync::Arc;

    use crate::tests::{after, stored, unchanged};
    use crate::{PassOptions, optimize};

    #[test]
    fn compilers_that_optimize_get_the_division() {
        let text = stored("u32", "%r = div %x, 8u32");
        let kernel = Arc::new(fulgurite_ir::text::parse(&text).and_then(fulgurite_ir::verify).unwrap());
        for device_optimizes in [false, true] {
            let options = PassOptions { optimize: true, device_optimizes, ..PassOptions::default() };
            let (_, report) = optimize(&kernel, &options).unwrap();
            let passes: Vec<_> = report.changes.iter().map(|(pass, _)| *pass).collect();
            assert_eq!(passes.contains(&"strength"), !device_optimizes, "{report}");
        }
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
