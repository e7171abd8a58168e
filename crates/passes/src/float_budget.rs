//! The check `float_budget`: refuses a kernel with an op whose error may exceed the budget.

use fulgurite_ir::analysis::instructions;
use fulgurite_ir::{Combine, FloatMode, InstKind, Kernel, ValueId};
use fulgurite_spec::accuracy::worst_ulp;
use fulgurite_spec::{FloatContract, Op, ScalarType, Semantics};

use crate::Refusal;

/// The error bound of an op's result.
enum Bound {
    /// At most half a unit in the last place.
    Rounded,
    /// A number of units in the last place.
    Ulp(f64),
    /// A bound in other units.
    None,
}

/// Refuses `kernel` if the error of an op may exceed `ulp` units in the last place.
pub(crate) fn check(kernel: &Kernel, ulp: u32) -> Result<(), Refusal> {
    for id in instructions(kernel) {
        let inst = kernel.inst(id);
        let is_float = |value: &ValueId| kernel.values[value.index()].ty.scalar.is_float();
        let result = inst.results.first().filter(|value| is_float(value));
        let ty = result.map(|value| kernel.values[value.index()].ty.scalar);
        let (op, bound) = match (&inst.kind, ty) {
            (InstKind::Scalar { op, mode, .. }, Some(ty)) => (op.info().mnemonic, scalar(*op, *mode, ty)),
            // In any order. The least and the greatest are the same in each.
            (InstKind::Subgroup { op, combine: Some(Combine::Add | Combine::Mul), .. }, Some(_)) => {
                (op.info().mnemonic, Bound::None)
            }
            (InstKind::Atomic { op: op @ Op::AtomicAdd, operands, .. }, _)
                if operands.first().is_some_and(is_float) =>
            {
                (op.info().mnemonic, Bound::None)
            }
            (InstKind::CoopMulAdd { .. }, Some(_)) => (Op::CoopMulAdd.info().mnemonic, Bound::None),
            _ => continue,
        };
        let refused = match bound {
            Bound::Rounded => continue,
            Bound::Ulp(most) if most <= f64::from(ulp) => continue,
            Bound::Ulp(most) => format!("may be off by {most} ULP"),
            Bound::None => "has no bound in ULP".to_owned(),
        };
        let ty = ty.map_or(String::new(), |ty| format!(" on {ty}"));
        return Err(Refusal::unsupported(
            format!("a float budget of {ulp} ULP or less, and `{op}`{ty}, which {refused}"),
            "both only with a larger budget, or without one",
        ));
    }
    Ok(())
}

fn scalar(op: Op, mode: FloatMode, ty: ScalarType) -> Bound {
    let Semantics::Scalar { float, .. } = op.info().semantics else { return Bound::Rounded };
    match (float, mode) {
        (FloatContract::Exact | FloatContract::ExactEitherZero, _) => Bound::Rounded,
        (_, FloatMode::Fast) => Bound::None,
        (FloatContract::Rounded, _) | (FloatContract::FusedOrUnfused, FloatMode::Exact) => Bound::Rounded,
        // Each step is rounded, and what cancels leaves no digit of their sum certain.
        (FloatContract::FusedOrUnfused | FloatContract::RoundedDot, _) => Bound::None,
        (FloatContract::Approximate, _) => worst_ulp(op, ty).map_or(Bound::None, Bound::Ulp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the smallest of the budgets 0, 3 and 5,000 ULP that `op` meets.
    fn least(op: &str) -> Option<u32> {
        let text = format!(
            "fulgurite 1\nkernel @k workgroup(64, 1, 1) {{\n  buffer %y: read_write f32[]\n  %i = global_id.x\n  \
             %a = load %y[%i]\n  %b = {op}\n  store %y[%i], %b\n}}\n"
        );
        let kernel = fulgurite_ir::text::parse(&text).and_then(fulgurite_ir::verify).unwrap();
        [0, 3, 5_000].into_iter().find(|ulp| match check(&kernel, *ulp) {
            Ok(()) => true,
            Err(error) => {
                assert!(matches!(error, Refusal::Unsupported { .. }), "{error}");
                assert!(error.to_string().contains(op.split([' ', '[']).next().unwrap()), "{error}");
                false
            }
        })
    }

    #[test]
    fn ops_pass_with_the_budget_of_their_bounds() {
        for op in ["add %a, %a", "mul %a, %a", "max %a, %a", "floor %a", "fma[exact] %a, %a, %a"] {
            assert_eq!(least(op), Some(0), "{op}");
        }
        for op in ["div %a, %a", "rsqrt %a"] {
            assert_eq!(least(op), Some(3), "{op}");
        }
        for op in ["sqrt %a", "exp %a", "atan %a"] {
            assert_eq!(least(op), Some(5_000), "{op}");
        }
        for op in ["sin %a", "log %a", "pow %a, %a", "fma %a, %a, %a", "add[fast] %a, %a"] {
            assert_eq!(least(op), None, "{op}");
        }
        assert_eq!(least("subgroup.reduce[add] %a"), None);
        assert_eq!(least("subgroup.reduce[max] %a"), Some(0));
    }

    #[test]
    fn products_of_integers_are_exact_and_those_of_floats_are_not() {
        for (factor, sum, passes) in [("i8", "i32", true), ("f16", "f32", false)] {
            let matrix = |ty: &str, role: &str| format!("coopmat<{ty}, 16x16, {role}, subgroup>");
            let load = |name: &str, ty: &str, role: &str| {
                let ty = matrix(ty, role);
                format!("  %{role} = coop.load[row_major] %{name}[0u32], 16u32 -> {ty}\n")
            };
            let text = format!(
                "fulgurite 1\nkernel @k workgroup(32, 1, 1) {{\n  buffer %x: read {factor}[]\n  buffer %y: read_write \
                 {sum}[]\n{}{}{}  %sum = coop.mul_add %a, %b, %acc\n  coop.store[row_major] %y[0u32], 16u32, %sum\n}}\n",
                load("x", factor, "a"),
                load("x", factor, "b"),
                load("y", sum, "acc"),
            );
            let kernel = fulgurite_ir::text::parse(&text).and_then(fulgurite_ir::verify).unwrap();
            assert_eq!(check(&kernel, 1_000_000).is_ok(), passes, "{factor}");
        }
    }
}
