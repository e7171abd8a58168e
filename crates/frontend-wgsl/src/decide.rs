//! Comparisons of indices that the ranges of values decide, such as whether a `local_id` is within the workgroup.
//!
//! Accesses to nested arrays test each index, since the position in the whole array can be in bounds where an index is
//! not. Most of these tests are decided, and the bare position lets the analyses prove more.

use fulgurite_ir::analysis::{Range, RangeMap, instructions};
use fulgurite_ir::{Const, InstKind, Kernel, ValueDef, ValueId};
use fulgurite_spec::{Op, Type};

/// Returns the value that stands for each value whose result is decided. May add constants.
pub(crate) fn decided(kernel: &mut Kernel) -> Vec<Option<ValueId>> {
    let [no, yes] = [0, 1].map(|bits| kernel.add_value(Type::BOOL, ValueDef::Const(Const(bits)), None));
    let mut decided: Vec<Option<ValueId>> = vec![None; kernel.values.len()];
    let ranges = RangeMap::of(kernel);
    for id in instructions(kernel) {
        let inst = kernel.inst(id);
        let (InstKind::Scalar { op, operands, .. }, [result]) = (&inst.kind, &*inst.results) else {
            continue;
        };
        // In program order, operands are decided before they are used.
        let operands: Vec<ValueId> = operands.iter().map(|v| decided[v.index()].unwrap_or(*v)).collect();
        let truth = |value: ValueId| match kernel.value(value).def {
            ValueDef::Const(Const(bits)) if kernel.ty(value) == Type::BOOL => Some(bits != 0),
            ValueDef::Const(_) | ValueDef::Param(_) | ValueDef::Inst(..) | ValueDef::BlockParam(..) => None,
        };
        decided[result.index()] = match (*op, &operands[..]) {
            (Op::And, [a, b]) => match (truth(*a), truth(*b)) {
                (Some(true), _) => Some(*b),
                (_, Some(true)) => Some(*a),
                (_, _) => None,
            },
            (Op::Select, [condition, a, b]) => truth(*condition).map(|holds| if holds { *a } else { *b }),
            (op, [a, b]) if kernel.ty(*a) == Type::U32 && kernel.ty(*b) == Type::U32 => {
                of_ranges(op, (*a, ranges.range(*a)), (*b, ranges.range(*b)), [no, yes])
            }
            (_, _) => None,
        };
    }
    decided
}

/// Returns the result of an op on two values of these ranges, if it is one of them or a constant.
fn of_ranges(
    op: Op,
    (a, of_a): (ValueId, Range),
    (b, of_b): (ValueId, Range),
    [no, yes]: [ValueId; 2],
) -> Option<ValueId> {
    // `a < b` and `b < a`, as far as they are known.
    let less = |a: Range, b: Range| match (a.most < b.least, a.least >= b.most) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        (_, _) => None,
    };
    let constant = |holds: bool| if holds { yes } else { no };
    match op {
        Op::Lt => less(of_a, of_b).map(constant),
        Op::Gt => less(of_b, of_a).map(constant),
        Op::Le => less(of_b, of_a).map(|holds| constant(!holds)),
        Op::Ge => less(of_a, of_b).map(|holds| constant(!holds)),
        Op::Min if of_a.most <= of_b.least => Some(a),
        Op::Min if of_b.most <= of_a.least => Some(b),
        // Other ops compute.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use fulgurite_ir::text;

    use super::*;

    #[test]
    fn tests_of_indices_fall_where_ranges_decide_them() {
        let source = "fulgurite 1\nkernel @k workgroup(16, 1, 1) {\n  buffer %y: read_write u32[]\n  param %n: u32\n\n  \
            %l = local_id.x\n  %m = min %l, 16u32\n  %in = lt %l, 16u32\n  %i = select %in, %m, 7u32\n  \
            %out = ge %l, 15u32\n  %near = lt %l, 15u32\n  %k = min %n, 16u32\n  store %y[%i], %k\n}\n";
        let mut kernel = text::parse(source).unwrap();
        let named = |kernel: &Kernel, name: &str| {
            let found = kernel.values.iter().position(|value| value.name.as_deref() == Some(name));
            ValueId::new(found.unwrap())
        };
        let all = decided(&mut kernel);
        let of = |name: &str| all[named(&kernel, name).index()];
        assert_eq!(of("m"), Some(named(&kernel, "l")));
        assert_eq!(of("in").and_then(|v| kernel.literal(v)).map(|l| l.bits), Some(1));
        assert_eq!(of("i"), Some(named(&kernel, "l")), "through what was decided before");
        assert_eq!((of("out"), of("near"), of("k")), (None, None, None));
    }
}
