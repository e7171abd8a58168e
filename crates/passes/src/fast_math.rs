//! The pass `fast_math`: makes float ops `[fast]` whose result may be inexact and for which the kernel states no precision.

use fulgurite_ir::{FloatMode, InstKind, Kernel};
use fulgurite_spec::{FloatContract, Op, Semantics};

/// Returns the number of ops changed.
pub(crate) fn run(kernel: &mut Kernel) -> usize {
    let mut changes = 0;
    for inst in &mut kernel.insts {
        let is_float = inst.results.iter().any(|result| kernel.values[result.index()].ty.scalar.is_float());
        if let InstKind::Scalar { op, mode: mode @ FloatMode::Default, .. } = &mut inst.kind
            && is_float
            && may_be_inexact(*op)
        {
            *mode = FloatMode::Fast;
            changes += 1;
        }
    }
    changes
}

/// Returns whether a float result of `op` may be inexact.
fn may_be_inexact(op: Op) -> bool {
    match op.info().semantics {
        Semantics::Scalar { float, .. } => {
            !matches!(float, FloatContract::Exact | FloatContract::ExactEitherZero)
        }
        Semantics::Special(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::kernel;

    #[test]
    fn what_is_rounded_once_or_is_no_float_stays() {
        let mut kernel = (**kernel()).clone();
        let before = fulgurite_ir::text::print(&kernel);
        assert_eq!(super::run(&mut kernel), 1);
        // `fma[exact]`, `select` and the integer `add` stay.
        assert_eq!(fulgurite_ir::text::print(&kernel), before.replace("mul %a, %a", "mul[fast] %a, %a"));
        assert_eq!(super::run(&mut kernel), 0);
    }
}
