//! The pass `simplify`: replaces results that are constants or operands. Exact on every input, floats included.
//!
//! Ops on literals are evaluated by `fulgurite_spec::eval`. What depends on the bits of a NaN, on rounding that the op table
//! leaves open, or on an approximation is left to the backend.

use fulgurite_ir::analysis::Event;
use fulgurite_ir::{FloatMode, InstId, InstKind, Kernel, ValueDef, ValueId, main_operand};
use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::eval::{self, Components};
use fulgurite_spec::{FloatContract, Literal, Op, ScalarType, Semantics, Type};

use crate::Pass;
use crate::replacement::Replacement;
use crate::rewrite::constant;
use crate::scan::{any, events};

pub(crate) const PASS: Pass = Pass { name: "simplify", fires, run };

fn fires(kernel: &Kernel) -> bool {
    any(kernel, |id| simplified(kernel, id).is_some())
}

fn run(kernel: &mut Kernel) -> usize {
    let mut replacement = Replacement::none(kernel);
    let mut changes = 0;
    for event in events(kernel) {
        let Event::Inst(id) = event else { continue };
        replacement.in_operands(kernel, id);
        let Some((result, simpler)) = simplified(kernel, id) else { continue };
        let by = match simpler {
            Simpler::Operand(value) => value,
            Simpler::Constant(bits) => constant(kernel, kernel.ty(result), bits),
        };
        replacement.replace(result, by);
        changes += 1;
    }
    if changes > 0 {
        replacement.in_terminators(kernel);
    }
    changes
}

/// The simpler form of a result.
enum Simpler {
    Operand(ValueId),
    /// The bits of a scalar constant.
    Constant(u64),
}

/// Returns the result of an instruction and the simpler form that it equals.
fn simplified(kernel: &Kernel, id: InstId) -> Option<(ValueId, Simpler)> {
    let inst = kernel.inst(id);
    let (InstKind::Scalar { op, operands, mode }, [result]) = (&inst.kind, &*inst.results) else {
        return None;
    };
    let (op, operands) = (*op, &**operands);
    // Other ops have a simpler form only if an operand is a literal or the first two operands are equal.
    let is_literal = |value: &ValueId| matches!(kernel.value(*value).def, ValueDef::Const(_));
    let may_be = matches!(operands, [a, b, ..] if a == b)
        || operands.iter().any(is_literal)
        || matches!(op, Op::Select | Op::Convert | Op::Bitcast | Op::Extract | Op::Construct);
    if !may_be {
        return None;
    }
    let ty = kernel.ty(*result);
    if ty.is_matrix() {
        return None;
    }
    let same = identity(kernel, op, operands).or_else(|| component(kernel, op, operands));
    let same = same.or_else(|| whole(kernel, op, operands));
    if let Some(same) = same.filter(|same| kernel.ty(*same) == ty) {
        return Some((*result, Simpler::Operand(same)));
    }
    let bits = evaluated(kernel, op, *mode, operands, ty).or_else(|| absorbed(kernel, op, operands, ty))?;
    Some((*result, Simpler::Constant(bits)))
}

/// Returns the bits of an op on literals.
fn evaluated(kernel: &Kernel, op: Op, mode: FloatMode, operands: &[ValueId], result: Type) -> Option<u64> {
    let literals: Vec<Literal> =
        operands.iter().map(|value| kernel.literal(*value)).collect::<Option<_>>()?;
    let is_nan = |ty: ScalarType, bits: u64| FloatFormat::of(ty).is_some_and(|format| format.is_nan(bits));
    let Semantics::Scalar { float, .. } = op.info().semantics else { return None };
    let main = Type::scalar(literals.get(main_operand(op)?)?.ty);
    // Integers and conditions have one result, whatever the contract of the op on floats is.
    let is_float = literals.iter().any(|literal| literal.ty.is_float()) || result.scalar.is_float();
    let is_exact = !is_float || mode != FloatMode::Fast && is_decided(float);
    if !result.is_scalar() || !is_exact || literals.iter().any(|literal| is_nan(literal.ty, literal.bits)) {
        return None;
    }
    let values: Vec<Components> = literals.iter().map(|literal| [literal.bits, 0, 0, 0]).collect();
    let [bits, ..] = eval::eval(op, main, result, &values)?;
    (!is_nan(result.scalar, bits)).then_some(bits)
}

/// Returns whether an op on floats has one result.
fn is_decided(contract: FloatContract) -> bool {
    match contract {
        FloatContract::Exact | FloatContract::Rounded => true,
        FloatContract::ExactEitherZero
        | FloatContract::FusedOrUnfused
        | FloatContract::RoundedDot
        | FloatContract::Approximate => false,
    }
}

/// Returns the component that an `extract` takes of a `construct`.
fn component(kernel: &Kernel, op: Op, operands: &[ValueId]) -> Option<ValueId> {
    let [vector, index] = operands[..] else { return None };
    let ValueDef::Inst(inst, _) = kernel.value(vector).def else { return None };
    if let InstKind::Scalar { op: Op::Construct, operands, .. } = &kernel.inst(inst).kind
        && op == Op::Extract
    {
        return operands.get(usize::try_from(kernel.literal(index)?.bits).ok()?).copied();
    }
    None
}

/// Returns the vector of whose components, in order, a `construct` makes one. The caller compares the types.
fn whole(kernel: &Kernel, op: Op, operands: &[ValueId]) -> Option<ValueId> {
    let of = |value: ValueId| {
        let ValueDef::Inst(inst, _) = kernel.value(value).def else { return None };
        let InstKind::Scalar { op: Op::Extract, operands, .. } = &kernel.inst(inst).kind else { return None };
        let [vector, index] = operands[..] else { return None };
        Some((vector, kernel.literal(index)?.bits))
    };
    let (vector, _) = of(*operands.first()?)?;
    let mut components = operands.iter().zip(0..);
    let is_whole =
        op == Op::Construct && components.all(|(value, place)| of(*value) == Some((vector, place)));
    is_whole.then_some(vector)
}

/// Returns the operand that an op leaves as it is.
fn identity(kernel: &Kernel, op: Op, operands: &[ValueId]) -> Option<ValueId> {
    if let (Op::Select, [condition, yes, no]) = (op, operands) {
        return match kernel.literal(*condition) {
            Some(literal) => Some(if literal.bits == 0 { *no } else { *yes }),
            None => (yes == no).then_some(*yes),
        };
    }
    if let (Op::Convert | Op::Bitcast, [value]) = (op, operands) {
        // The caller compares the types.
        return Some(*value);
    }
    let [a, b] = *operands else { return None };
    let scalar = kernel.ty(a).scalar;
    if !scalar.is_float() && a == b && IDEMPOTENT.contains(&op) {
        return Some(a);
    }
    let is_neutral = |(place, value): (usize, ValueId)| {
        let Some(literal) = kernel.literal(value).filter(|literal| literal.ty == scalar) else {
            return false;
        };
        match FloatFormat::of(scalar) {
            Some(format) => FLOAT_NEUTRAL
                .iter()
                .any(|(of, at, number)| (*of, *at) == (op, place) && format.encode(*number) == literal.bits),
            None => NEUTRAL
                .iter()
                .any(|(of, at, number)| (*of, *at) == (op, place) && number.bits(scalar) == literal.bits),
        }
    };
    [((0, a), b), ((1, b), a)].into_iter().find(|(literal, _)| is_neutral(*literal)).map(|(_, other)| other)
}

/// Returns the bits of an op on integers or conditions whose result does not depend on its variable operand.
fn absorbed(kernel: &Kernel, op: Op, operands: &[ValueId], result: Type) -> Option<u64> {
    let [a, b] = operands[..] else { return None };
    let scalar = kernel.ty(a).scalar;
    if !result.is_scalar() || scalar.is_float() {
        return None;
    }
    let is = |value: ValueId, bits: u64| kernel.literal(value).is_some_and(|literal| literal.bits == bits);
    let absorbs =
        |(of, number): &&(Op, Number)| *of == op && [a, b].iter().any(|v| is(*v, number.bits(scalar)));
    match ABSORBING.iter().find(absorbs) {
        Some((_, number)) => Some(number.bits(scalar)),
        None => (a == b && CANCELLING.contains(&op)).then_some(0),
    }
}

/// A number in any type of integers or conditions.
#[derive(Clone, Copy)]
enum Number {
    Zero,
    One,
    /// All bits are ones; true.
    Ones,
}

impl Number {
    fn bits(self, scalar: ScalarType) -> u64 {
        match self {
            Self::Zero => 0,
            Self::One => 1,
            Self::Ones if scalar == ScalarType::Bool => 1,
            Self::Ones => scalar.mask(),
        }
    }
}

/// The ops on integers and conditions that leave one operand as it is if the one at this position is this number.
const NEUTRAL: &[(Op, usize, Number)] = &[
    (Op::Add, 0, Number::Zero),
    (Op::Add, 1, Number::Zero),
    (Op::Sub, 1, Number::Zero),
    (Op::Mul, 0, Number::One),
    (Op::Mul, 1, Number::One),
    (Op::Div, 1, Number::One),
    (Op::And, 0, Number::Ones),
    (Op::And, 1, Number::Ones),
    (Op::Or, 0, Number::Zero),
    (Op::Or, 1, Number::Zero),
    (Op::Xor, 0, Number::Zero),
    (Op::Xor, 1, Number::Zero),
    (Op::Shl, 1, Number::Zero),
    (Op::Shr, 1, Number::Zero),
    (Op::RotateLeft, 1, Number::Zero),
    (Op::RotateRight, 1, Number::Zero),
];

/// The same for floats. `x + 0.0` is not `x` if that is −0.
const FLOAT_NEUTRAL: &[(Op, usize, f64)] = &[
    (Op::Mul, 0, 1.0),
    (Op::Mul, 1, 1.0),
    (Op::Div, 1, 1.0),
    (Op::Add, 0, -0.0),
    (Op::Add, 1, -0.0),
    (Op::Sub, 1, 0.0),
];

/// The ops on integers and conditions that leave equal operands as they are.
const IDEMPOTENT: &[Op] = &[Op::And, Op::Or, Op::Min, Op::Max];

/// The ops on integers and conditions that yield this number if either operand is this number.
const ABSORBING: &[(Op, Number)] =
    &[(Op::Mul, Number::Zero), (Op::And, Number::Zero), (Op::Or, Number::Ones)];

/// The ops on integers and conditions that yield 0 for equal operands.
const CANCELLING: &[Op] = &[Op::Sub, Op::Xor];

#[cfg(test)]
mod tests {
    use crate::tests::{after, stored, unchanged};

    #[test]
    fn constants_and_operands_take_the_place_of_results() {
        for (ty, body, value) in [
            ("u32", "%r = add 2u32, 3u32", "5u32"),
            ("i8", "%r = neg -128i8", "-128i8"),
            ("f32", "%r = add 1.5f32, 2.25f32", "3.75f32"),
            ("u32", "%a = lt 1u32, 2u32\n  %r = select %a, 7u32, %x", "7u32"),
            ("u32", "%a = construct %x, 4u32\n  %r = extract %a, 0u32", "%x"),
            ("u32", "%r = add %x, 0u32", "%x"),
            ("u32", "%a = sub 3u32, 2u32\n  %r = mul %a, %x", "%x"),
            ("i64", "%r = and %x, -1i64", "%x"),
            ("u32", "%r = mul %x, 0u32", "0u32"),
            ("i32", "%r = sub %x, %x", "0i32"),
            ("f32", "%r = mul %x, 1.0f32", "%x"),
            ("f32", "%r = add %x, -0.0f32", "%x"),
            ("f32", "%r = convert %x -> f32", "%x"),
            ("f32x2", "%a = extract %x, 0u32\n  %d = extract %x, 1u32\n  %r = construct %a, %d", "%x"),
        ] {
            let text = after(&stored(ty, body), &super::PASS);
            assert!(text.contains(&format!("store %b[0u32], {value}\n")), "{body}:\n{text}");
        }
    }

    #[test]
    fn what_may_differ_in_a_bit_stays() {
        for (ty, body) in [
            ("f32", "%r = add %x, 0.0f32"),
            ("f32", "%r = mul %x, 0.0f32"),
            ("f32", "%r = sub %x, %x"),
            ("f32", "%r = min 0.0f32, -0.0f32"),
            ("f32", "%r = exp 1.0f32"),
            ("f32", "%r = fma 3.0f32, 0.1f32, 1.0f32"),
            ("f32", "%r = add[fast] 1.5f32, 2.25f32"),
            ("u32", "%a = mul nan:0x7fc00001:f32, 2.0f32\n  %r = bitcast %a -> u32"),
            ("i32", "%r = sub 0i32, %x"),
            ("u32", "%a = construct %x, 4u32\n  %r = extract %a, 2u32"),
            ("u32", "%r = min %x, 4u32"),
            ("f32x2", "%a = extract %x, 0u32\n  %d = extract %x, 1u32\n  %r = construct %d, %a"),
            ("f32x2", "%a = extract %x, 0u32\n  %r = construct %a, %a"),
            (
                "f32x2",
                "%y = neg %x\n  %a = extract %x, 0u32\n  %d = extract %y, 1u32\n  %r = construct %a, %d",
            ),
            (
                "f32x4",
                "%a = extract %x, 0u32\n  %d = extract %x, 1u32\n  %c = construct %a, %d\n  %r = vec.shuffle[0, 1, 1, 0] %c, %c",
            ),
        ] {
            unchanged(&stored(ty, body), &super::PASS);
        }
    }

    #[test]
    fn yields_and_conditions_are_replaced() {
        let text = after(
            "fulgurite 1
kernel @k workgroup(1, 1, 1) {
  buffer %b: read_write u32[]
  %x = load %b[0u32]
  %y = while carry(%i = 0u32) {
    %c = lt %i, 5u32
    %d = and %c, true
    condition %d
  } do {
    %n = add %i, 1u32
    %m = mul %n, 1u32
    yield %m
  }
  store %b[0u32], %y
}
",
            &super::PASS,
        );
        assert!(text.contains("condition %c\n") && text.contains("yield %n\n"), "{text}");
    }
}
