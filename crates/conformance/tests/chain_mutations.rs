//! Mutation tests: the suite `chains` must detect drivers that fold sequences of ops incorrectly. Each fault is
//! injected into the kernels that a correct backend compiles. Single ops stay correct, so the suite `ops` does not
//! detect it.
#![expect(clippy::expect_used, reason = "a mutant that does not verify fails the test")]

mod broken;

use std::sync::Arc;
use std::time::Instant;

use fulgurite_backend_cpu::CpuDevice;
use fulgurite_conformance::{Level, Options, Suite};
use fulgurite_hal as hal;
use fulgurite_ir::{
    BlockId, Const, FloatMode, InstId, InstKind, Kernel, Operands, Terminator, ValueDef, ValueId,
};
use fulgurite_spec::{Op, ScalarType, Type};

use broken::{Broken, Mutation, insert_before, instructions};

/// An instruction and its block.
type At = (BlockId, InstId);

/// A driver fault.
struct Fault {
    name: &'static str,
    /// Filter for the part or the kinds of chain of the suite `chains` that must detect it.
    found_by: &'static str,
    /// Groups of the suite `ops` that must not detect it.
    hidden_from: Option<&'static str>,
    plant: Mutation,
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "rounding to f16 dropped before another conversion",
        found_by: "convert f16",
        hidden_from: Some("convert f16 ->"),
        plant: |k| without_conversion_through(k, |_, through, _| through == ScalarType::F16),
    },
    Fault {
        name: "rotation of 8 and 16 bits by half the width gives the operand",
        found_by: "",
        hidden_from: Some("rotl u8"),
        plant: |k| {
            replace_scalars(k, &[Op::RotateLeft, Op::RotateRight], |k, ty, args| {
                let half = u64::from(ty.bits() / 2);
                (ty.bits() <= 16 && is_literal(k, args[1], half)).then_some(args[0])
            });
        },
    },
    Fault {
        name: "popcount of a computed value counts bits above its type",
        found_by: "popcount",
        hidden_from: Some("popcount"),
        plant: popcount_of_wide_value,
    },
    Fault {
        name: "neg and abs of the least value not wrapped before a widening conversion",
        found_by: "",
        hidden_from: Some("convert i8"),
        plant: widen_before_sign_change,
    },
    Fault {
        name: "garbage in the upper half of a saturated u64",
        found_by: "u64",
        hidden_from: Some("_sat u64"),
        plant: garbage_after_saturation,
    },
    Fault {
        name: "widened i32 compared with a constant as u32",
        found_by: "",
        hidden_from: Some("lt i64"),
        plant: compare_widened_as_unsigned,
    },
    Fault {
        name: "float to u64 to a narrower integer saturates at the narrower type",
        found_by: "",
        hidden_from: Some("convert u64 ->"),
        plant: |k| {
            without_conversion_through(k, |from, through, to| {
                from.is_float() && through == ScalarType::U64 && to.is_integer() && to.bits() < 64
            });
        },
    },
    Fault {
        name: "shl and rotation of 64 bits by 32 give the operand",
        found_by: "64",
        // With a literal amount, `ops` detects it as well.
        hidden_from: None,
        plant: |k| {
            replace_scalars(k, &[Op::RotateLeft, Op::RotateRight, Op::Shl], |k, ty, args| {
                (ty.bits() == 64 && is_literal(k, args[1], 32)).then_some(args[0])
            });
        },
    },
    Fault {
        name: "unpack of a computed u64 to four components loses the last",
        found_by: "unpack u64",
        hidden_from: Some("unpack u64"),
        plant: lose_last_component,
    },
    Fault {
        name: "zero from a sign made negative by a conversion to float",
        found_by: "",
        hidden_from: Some("convert i8 ->"),
        plant: |k| {
            rewrite(k, |k, at, op, args| {
                let ty = result(k, at);
                let of_sign = op == Op::Convert && ty.scalar.is_float() && ty.is_scalar();
                if of_sign && operands_of(k, args[0], Op::Sign).is_some() {
                    negative_zero(k, at, args[0], ty);
                }
            });
        },
    },
    Fault {
        name: "select of a negative number and zero made a product",
        found_by: "select",
        hidden_from: Some("select f32"),
        plant: select_as_product,
    },
    Fault {
        name: "negation lost in two extremes that share an operand",
        found_by: "",
        hidden_from: Some("min i32"),
        plant: lose_negation,
    },
    Fault {
        name: "sign of a product with a known -1 lost in two extremes that share an operand",
        found_by: "known",
        hidden_from: Some("min i32"),
        plant: |k| {
            lose_negation_by(k, |k, negated| {
                let [x, factor] = operands_of(k, negated, Op::Mul)?[..] else { return None };
                let bits = operands_of(k, factor, Op::Or)?.get(1)?;
                is_literal(k, *bits, k.ty(factor).scalar.mask()).then_some(x)
            });
        },
    },
    Fault {
        name: "product with the lowest bit of an i64 taken for the other factor in a sum",
        found_by: "known",
        hidden_from: Some("dot i64"),
        plant: |k| {
            rewrite(k, |k, at, op, args| {
                let Some(masked) = operands_of(k, args[args.len() - 1], Op::And).cloned() else { return };
                if op == Op::Dot && result(k, at) == Type::I64 {
                    set(k, at, Op::Dot, &[args[0], masked[1]]);
                }
            });
        },
    },
    Fault {
        name: "product with a negated truth value loses the sign of its zero",
        found_by: "known",
        hidden_from: Some("mul f32"),
        plant: |k| {
            rewrite(k, |k, at, op, args| {
                let ty = result(k, at);
                let of_truth = operands_of(k, args[0], Op::Neg)
                    .and_then(|negated| operands_of(k, negated[0], Op::Convert))
                    .is_some_and(|converted| k.ty(converted[0]).scalar == ScalarType::Bool);
                if op == Op::Mul && of_truth && ty == Type::F32 {
                    let product = before(k, at, Op::Mul, &args, ty);
                    let zero = constant(k, ScalarType::F32, 0);
                    set(k, at, Op::Add, &[product, zero]);
                }
            });
        },
    },
    Fault {
        name: "truth value reinterpreted as f16 gives 1.0",
        found_by: "bitcast",
        hidden_from: Some("bitcast u16 -> f16"),
        plant: |k| {
            rewrite(k, |k, at, op, args| {
                let of_truth = operands_of(k, args[0], Op::Convert).map(|operands| operands[0]);
                let Some(truth) = of_truth.filter(|value| k.ty(*value).scalar == ScalarType::Bool) else {
                    return;
                };
                if op == Op::Bitcast && result(k, at).scalar == ScalarType::F16 {
                    set(k, at, Op::Convert, &[truth]);
                }
            });
        },
    },
    Fault {
        name: "64-bit loop past its end that carries a converted float runs once",
        found_by: "known",
        hidden_from: None,
        plant: run_past_the_end,
    },
    Fault {
        name: "last of four truth values rounded as f64 is one",
        found_by: "known",
        hidden_from: Some("round f64"),
        plant: |k| {
            rewrite(k, |k, at, op, args| {
                let of_truth = operands_of(k, args[0], Op::Convert)
                    .is_some_and(|converted| k.ty(converted[0]).scalar == ScalarType::Bool);
                let ty = result(k, at);
                if op == Op::Round && of_truth && ty.scalar == ScalarType::F64 && ty.lanes.count() == 4 {
                    let last = constant(k, ScalarType::U32, 3);
                    let one = constant(k, ScalarType::F64, 1f64.to_bits());
                    set(k, at, Op::Insert, &[args[0], last, one]);
                }
            });
        },
    },
    Fault {
        name: "load behind a loop gives zero if the loop's header loads the element too",
        found_by: "known",
        hidden_from: None,
        plant: lose_loads_behind_loops,
    },
    Fault {
        name: "condition nested deeper than thirty ifs taken for true",
        found_by: "shapes",
        hidden_from: None,
        plant: |k| deep_conditions_are_true(k, k.body, 0),
    },
    Fault {
        name: "last of more than thirty carried values lacks one update",
        found_by: "shapes",
        hidden_from: None,
        plant: lag_last_carried,
    },
];

/// Calls `change` with every scalar op of `kernel`, its operands and its location.
fn rewrite(kernel: &mut Kernel, mut change: impl FnMut(&mut Kernel, At, Op, Operands)) {
    for at in instructions(kernel) {
        if let InstKind::Scalar { op, operands, .. } = &kernel.inst(at.1).kind {
            let (op, operands) = (*op, operands.clone());
            change(kernel, at, op, operands);
        }
    }
}

/// Replaces the results of those `ops` on scalars for which `equal` returns a value.
fn replace_scalars(
    kernel: &mut Kernel,
    ops: &[Op],
    equal: impl Fn(&Kernel, ScalarType, &[ValueId]) -> Option<ValueId>,
) {
    rewrite(kernel, |k, at, op, args| {
        let ty = result(k, at);
        if ops.contains(&op)
            && ty.is_scalar()
            && let Some(value) = equal(k, ty.scalar, &args)
        {
            set_copy(k, at, value);
        }
    });
}

/// Returns the type of the first result.
fn result(kernel: &Kernel, at: At) -> Type {
    kernel.ty(kernel.inst(at.1).results[0])
}

/// Returns the scalar op that defines `value`, with its operands.
fn definition(kernel: &Kernel, value: ValueId) -> Option<(Op, &Operands)> {
    let ValueDef::Inst(inst, _) = kernel.value(value).def else { return None };
    match &kernel.inst(inst).kind {
        InstKind::Scalar { op, operands, .. } => Some((*op, operands)),
        _ => None,
    }
}

/// Returns the operands of `value` if it is defined by `op`.
fn operands_of(kernel: &Kernel, value: ValueId, op: Op) -> Option<&Operands> {
    definition(kernel, value).filter(|(defining, _)| *defining == op).map(|(_, operands)| operands)
}

fn is_literal(kernel: &Kernel, value: ValueId, bits: u64) -> bool {
    kernel.literal(value).is_some_and(|literal| literal.bits == bits)
}

fn constant(kernel: &mut Kernel, ty: ScalarType, bits: u64) -> ValueId {
    kernel.add_value(Type::scalar(ty), ValueDef::Const(Const(bits & ty.mask())), None)
}

fn scalar(op: Op, operands: &[ValueId]) -> InstKind {
    InstKind::Scalar { op, operands: Operands::new(operands), mode: FloatMode::Default }
}

/// Inserts an op before `at`.
fn before(kernel: &mut Kernel, at: At, op: Op, operands: &[ValueId], ty: Type) -> ValueId {
    insert_before(kernel, at, scalar(op, operands), Some(ty)).expect("a scalar op has a result")
}

fn set(kernel: &mut Kernel, at: At, op: Op, operands: &[ValueId]) {
    kernel.insts[at.1.index()].kind = scalar(op, operands);
}

/// Replaces a scalar instruction by a copy of `value`.
fn set_copy(kernel: &mut Kernel, at: At, value: ValueId) {
    let yes = constant(kernel, ScalarType::Bool, 1);
    set(kernel, at, Op::Select, &[yes, value, value]);
}

/// Drops the intermediate type of two consecutive conversions if `is_dropped` returns true for the three types.
fn without_conversion_through(
    kernel: &mut Kernel,
    is_dropped: impl Fn(ScalarType, ScalarType, ScalarType) -> bool,
) {
    rewrite(kernel, |k, at, op, args| {
        let (through, to) = (k.ty(args[0]), result(k, at));
        let Some(from) = operands_of(k, args[0], Op::Convert).map(|operands| operands[0]) else { return };
        let ty = k.ty(from);
        if op != Op::Convert || !is_dropped(ty.scalar, through.scalar, to.scalar) {
            return;
        }
        if ty != to {
            set(k, at, Op::Convert, &[from]);
        } else if ty.is_scalar() {
            set_copy(k, at, from);
        }
    });
}

/// Counts the bits of narrow arithmetic results in a word that is not truncated to the type, and those of signed
/// numbers after sign extension.
fn popcount_of_wide_value(kernel: &mut Kernel) {
    let ops = [Op::Add, Op::Sub, Op::Mul, Op::Neg, Op::Not];
    rewrite(kernel, |k, at, op, args| {
        let ty = result(k, at);
        if op != Op::PopCount || ty.scalar.bits() > 16 || !ty.is_scalar() {
            return;
        }
        let Some((defining, operands)) = definition(k, args[0]) else { return };
        let operands = operands.clone();
        let signed = ty.scalar.is_signed();
        let wide = if signed { Type::I32 } else { Type::U32 };
        let value = if signed {
            before(k, at, Op::Convert, &[args[0]], wide)
        } else if ops.contains(&defining) {
            let words: Vec<ValueId> =
                operands.iter().map(|value| before(k, at, Op::Convert, &[*value], wide)).collect();
            before(k, at, defining, &words, wide)
        } else {
            return;
        };
        let count = before(k, at, Op::PopCount, &[value], wide);
        set(k, at, Op::Convert, &[count]);
    });
}

fn widen_before_sign_change(kernel: &mut Kernel) {
    rewrite(kernel, |k, at, op, args| {
        let (from, to) = (k.ty(args[0]), result(k, at));
        let widening =
            to.scalar.is_signed() && to.scalar.is_integer() && to.scalar.bits() > from.scalar.bits();
        if op != Op::Convert || !from.scalar.is_signed() || !widening {
            return;
        }
        let Some((inner @ (Op::Neg | Op::Abs), operands)) = definition(k, args[0]) else { return };
        let operand = operands[0];
        let wide = before(k, at, Op::Convert, &[operand], to);
        set(k, at, inner, &[wide]);
    });
}

fn garbage_after_saturation(kernel: &mut Kernel) {
    let users =
        [Op::Add, Op::Sub, Op::Mul, Op::And, Op::Or, Op::Xor, Op::Not, Op::Min, Op::Max, Op::Lt, Op::Eq];
    rewrite(kernel, |k, at, op, args| {
        for (position, value) in args.iter().enumerate() {
            let saturated = definition(k, *value).filter(|(op, _)| matches!(op, Op::AddSat | Op::SubSat));
            let Some(operands) = saturated.map(|(_, operands)| operands.clone()) else { continue };
            if k.ty(*value) != Type::U64 || !users.contains(&op) {
                continue;
            }
            let [none, noise] = [0, 0x5a5a_0000_0000_0000].map(|bits| constant(k, ScalarType::U64, bits));
            let amount = constant(k, ScalarType::U32, 32);
            let both = before(k, at, Op::Or, &operands, Type::U64);
            let high = before(k, at, Op::Shr, &[both, amount], Type::U64);
            let any = before(k, at, Op::Ne, &[high, none], Type::BOOL);
            let garbage = before(k, at, Op::Select, &[any, noise, none], Type::U64);
            let wrong = before(k, at, Op::Xor, &[*value, garbage], Type::U64);
            if let InstKind::Scalar { operands, .. } = &mut k.insts[at.1.index()].kind {
                operands[position] = wrong;
            }
        }
    });
}

fn compare_widened_as_unsigned(kernel: &mut Kernel) {
    rewrite(kernel, |k, at, op, args| {
        if !matches!(op, Op::Lt | Op::Le | Op::Gt | Op::Ge) || k.ty(args[0]) != Type::I64 {
            return;
        }
        let narrow = |value: ValueId| {
            let from = operands_of(k, value, Op::Convert)?[0];
            (k.ty(from) == Type::I32).then_some(from)
        };
        let (position, from) = match (narrow(args[0]), narrow(args[1])) {
            (Some(from), None) => (0, from),
            (None, Some(from)) => (1, from),
            _ => return,
        };
        let Some(limit) = k.literal(args[1 - position]) else { return };
        let word = before(k, at, Op::Convert, &[from], Type::U32);
        let limit = constant(k, ScalarType::U32, limit.bits & 0xffff_ffff);
        let operands = if position == 0 { [word, limit] } else { [limit, word] };
        set(k, at, op, &operands);
    });
}

fn lose_last_component(kernel: &mut Kernel) {
    rewrite(kernel, |k, at, op, args| {
        let known = k.literal(args[0]).is_some() || definition(k, args[0]).is_some();
        if op == Op::Unpack && k.ty(args[0]) == Type::U64 && result(k, at).lanes.count() == 4 && known {
            let mask = constant(k, ScalarType::U64, 0xffff_ffff_ffff);
            let rest = before(k, at, Op::And, &[args[0], mask], Type::U64);
            set(k, at, Op::Unpack, &[rest]);
        }
    });
}

/// Makes an instruction convert `value` to `ty` and return -0.0 for zero.
fn negative_zero(kernel: &mut Kernel, at: At, value: ValueId, ty: Type) {
    let zero = constant(kernel, ty.scalar, 0);
    let converted = before(kernel, at, Op::Convert, &[value], ty);
    let negated = before(kernel, at, Op::Sub, &[zero, converted], ty);
    set(kernel, at, Op::Neg, &[negated]);
}

/// Replaces `select c, -a, 0.0` by `mul (convert c), -a`, which is -0.0 if the condition is false.
fn select_as_product(kernel: &mut Kernel) {
    rewrite(kernel, |k, at, op, args| {
        let ty = result(k, at);
        let [Some(yes), Some(no)] =
            [1, 2].map(|position| args.get(position).and_then(|value| k.literal(*value)))
        else {
            return;
        };
        let is_negative = yes.bits > (ty.scalar.mask() >> 1) + 1;
        if op == Op::Select && ty.scalar.is_float() && is_negative && no.bits == 0 {
            let factor = before(k, at, Op::Convert, &[args[0]], ty);
            set(k, at, Op::Mul, &[factor, args[1]]);
        }
    });
}

/// Replaces `min(a, min(a, -x))`, and likewise with `max`, by `min(a, x)`.
fn lose_negation(kernel: &mut Kernel) {
    lose_negation_by(kernel, |k, negated| operands_of(k, negated, Op::Neg).map(|operands| operands[0]));
}

/// Does so with the negations of which `positive` returns the operand.
fn lose_negation_by(kernel: &mut Kernel, positive: impl Fn(&Kernel, ValueId) -> Option<ValueId>) {
    rewrite(kernel, |k, at, op, args| {
        if !matches!(op, Op::Min | Op::Max) || !result(k, at).scalar.is_integer() {
            return;
        }
        for [shared, inner] in [[args[0], args[1]], [args[1], args[0]]] {
            let Some(inner) = operands_of(k, inner, op) else { continue };
            let Some(other) =
                inner.iter().find(|value| **value != shared).filter(|_| inner.contains(&shared))
            else {
                continue;
            };
            if let Some(positive) = positive(k, *other) {
                set(k, at, op, &[shared, positive]);
                return;
            }
        }
    });
}

/// Makes the counter of a 64-bit `for` that carries a converted float begin before its end.
fn run_past_the_end(kernel: &mut Kernel) {
    for at in instructions(kernel) {
        let InstKind::For { start, end, initial, .. } = kernel.inst(at.1).kind.clone() else { continue };
        let of_float = |value: &ValueId| {
            let converted = operands_of(kernel, *value, Op::Convert);
            converted.is_some_and(|operands| kernel.ty(operands[0]).scalar.is_float())
        };
        let Some(last) = kernel.literal(end) else { continue };
        if kernel.ty(start) == Type::U64 && initial.iter().any(of_float) {
            let last = constant(kernel, ScalarType::U64, last.bits - 1);
            let earlier = before(kernel, at, Op::Min, &[start, last], Type::U64);
            if let InstKind::For { start, .. } = &mut kernel.insts[at.1.index()].kind {
                *start = earlier;
            }
        }
    }
}

fn lose_loads_behind_loops(kernel: &mut Kernel) {
    // The memory and the distance from the invocation's index.
    let element = |kernel: &Kernel, id: InstId| match kernel.inst(id).kind {
        InstKind::Load { memory, index } => {
            let distance = *operands_of(kernel, index, Op::Add)?.get(1)?;
            Some((memory, kernel.literal(distance)?.bits))
        }
        _ => None,
    };
    let mut in_headers = Vec::new();
    let mut lost = Vec::new();
    for id in kernel.block(kernel.body).insts.clone() {
        if let InstKind::While { header, .. } = kernel.inst(id).kind {
            in_headers.extend(kernel.block(header).insts.iter().filter_map(|id| element(kernel, *id)));
        }
        if element(kernel, id).is_some_and(|element| in_headers.contains(&element)) {
            lost.push(id);
        }
    }
    for id in lost {
        let beyond = constant(kernel, ScalarType::U32, u64::from(u32::MAX));
        if let InstKind::Load { index, .. } = &mut kernel.insts[id.index()].kind {
            *index = beyond;
        }
    }
}

fn deep_conditions_are_true(kernel: &mut Kernel, block: BlockId, depth: u32) {
    for id in kernel.block(block).insts.clone() {
        match kernel.inst(id).kind.clone() {
            InstKind::If { then_block, else_block, .. } => {
                if depth >= 30 {
                    let yes = constant(kernel, ScalarType::Bool, 1);
                    kernel.insts[id.index()].kind = InstKind::If { condition: yes, then_block, else_block };
                }
                deep_conditions_are_true(kernel, then_block, depth + 1);
                deep_conditions_are_true(kernel, else_block, depth + 1);
            }
            InstKind::For { body, .. } | InstKind::Region { body, .. } => {
                deep_conditions_are_true(kernel, body, depth);
            }
            _ => {}
        }
    }
}

/// Delays the last carried value by one iteration, also in the loop's result.
fn lag_last_carried(kernel: &mut Kernel) {
    for (_, id) in instructions(kernel) {
        let InstKind::For { initial, body, .. } = &mut kernel.insts[id.index()].kind else { continue };
        if initial.len() <= 30 {
            continue;
        }
        let (body, first) = (*body, initial[initial.len() - 1]);
        *initial = initial.iter().copied().chain([first]).collect();
        let results = kernel.inst(id).results.clone();
        let (current, ty) = (kernel.block(body).params[results.len()], kernel.ty(first));
        let position = |count: usize| count as u32;
        let params = kernel.block(body).params.len();
        let earlier = kernel.add_value(ty, ValueDef::BlockParam(body, position(params)), None);
        let block = &mut kernel.blocks[body.index()];
        block.params.push(earlier);
        if let Terminator::Yield(values) = &mut block.terminator {
            *values = values.iter().copied().chain([current]).collect();
        }
        let lagging = kernel.add_value(ty, ValueDef::Inst(id, position(results.len())), None);
        let last = results[results.len() - 1];
        for inst in &mut kernel.insts {
            if let InstKind::Scalar { operands, .. } = &mut inst.kind {
                operands.iter_mut().filter(|value| **value == last).for_each(|value| *value = lagging);
            }
        }
        kernel.insts[id.index()].results = results.iter().copied().chain([lagging]).collect();
    }
}

/// Returns the number of failures that `suite` reports for a backend with a fault.
fn failures(suite: Suite, only: Option<&str>, mutation: Mutation) -> u64 {
    let backend: Arc<dyn hal::Device> = Arc::new(Broken { inner: Arc::new(CpuDevice::new()), mutation });
    let mut options = Options::new(Level::Smoke, 1);
    options.suites = vec![suite];
    options.only = only.map(str::to_owned);
    options.expectations = Vec::new();
    // Skip the reduction of failures: only their number matters.
    options.shrunk_kinds = 0;
    broken::failures(&fulgurite_conformance::run(&backend, &options, &mut |_, _, _| {}))
}

#[test]
fn every_planted_fault_is_found_in_chains_and_not_in_single_ops() {
    let mut missed = Vec::new();
    for fault in FAULTS {
        let start = Instant::now();
        let found = failures(Suite::Chains, Some(fault.found_by), fault.plant);
        let alone = fault.hidden_from.map_or(0, |only| failures(Suite::Ops, Some(only), fault.plant));
        println!(
            "{}: {found} failures of chains, {alone} of single ops, {:.1?}",
            fault.name,
            start.elapsed()
        );
        if found == 0 || alone > 0 {
            missed.push(fault.name);
        }
    }
    assert!(missed.is_empty(), "missed, or found in single ops: {missed:?}");
}

#[test]
fn a_backend_without_faults_passes() {
    assert_eq!(failures(Suite::Chains, None, |_| {}), 0);
}
