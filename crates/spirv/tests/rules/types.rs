//! Scalar types other than the 32-bit ones, and transcendental functions.

use rspirv::dr::Operand;
use rspirv::spirv::GlslStd450Op as GLOp;
use rspirv::spirv::{Capability, Op};

use crate::support::{Loaded, fullest, id, least};

fn has(loaded: &Loaded, capability: Capability) -> bool {
    loaded.module.capabilities.iter().any(|i| i.operands[0] == Operand::Capability(capability))
}

/// Emits a kernel that loads `%a` and `%b` of `ty`, runs `body`, and stores `%r` as `result`.
fn of(ty: &str, result: &str, body: &str) -> Loaded {
    let declarations = format!("buffer %x: read {ty}[]\nbuffer %w: write {result}[]");
    least(&declarations, &format!("%a = load %x[0u32]\n%b = load %x[1u32]\n{body}\nstore %w[0u32], %r"))
}

fn glsl(loaded: &Loaded, op: GLOp) -> usize {
    loaded.extended(op as u32).len()
}

#[test]
fn capabilities_follow_the_types_made() {
    for (ty, value, storage) in [
        ("u8", Some(Capability::Int8), Some(Capability::StorageBuffer8BitAccess)),
        ("i16", Some(Capability::Int16), Some(Capability::StorageBuffer16BitAccess)),
        ("f16", Some(Capability::Float16), Some(Capability::StorageBuffer16BitAccess)),
        ("bf16", Some(Capability::Int16), Some(Capability::StorageBuffer16BitAccess)),
        ("u64", Some(Capability::Int64), None),
        ("f64", Some(Capability::Float64), None),
        ("u32", None, None),
    ] {
        let loaded = of(ty, ty, "%r = add %a, %b");
        let optional = [
            Capability::Int8,
            Capability::Int16,
            Capability::Int64,
            Capability::Float16,
            Capability::Float64,
            Capability::StorageBuffer8BitAccess,
            Capability::StorageBuffer16BitAccess,
        ];
        for capability in optional {
            let wanted = [value, storage].contains(&Some(capability));
            assert_eq!(has(&loaded, capability), wanted, "{ty}: {capability:?}");
        }
    }
}

#[test]
fn bf16_is_its_bits_and_computed_in_f32() {
    let loaded = of("bf16", "bf16", "%r = mul %a, %b");
    assert!(!has(&loaded, Capability::Float16) && !has(&loaded, Capability::BFloat16TypeKHR));
    let product = loaded.one(Op::FMul);
    let width = &loaded.def(product.result_type.unwrap()).operands[0];
    assert_eq!(*width, Operand::LiteralBit32(32));
    for factor in 0..2 {
        assert_eq!(loaded.operand(product, factor).class.opcode, Op::Bitcast, "its bits above 16 zeros");
    }
    // Values that are only moved stay unchanged.
    let moved = of("bf16", "bf16", "%c = lt 1u32, 2u32\n%r = select %c, %a, %b");
    moved.assert_without(&[Op::FMul, Op::FConvert, Op::ShiftLeftLogical, Op::ShiftRightLogical]);
}

#[test]
fn f64_to_f16_is_rounded_once() {
    // Round-to-odd in f32, which takes a comparison with the converted value, and a step of its bits.
    let loaded = of("f64", "f16", "%s = add %a, %b\n%r = convert %s -> f16");
    assert_eq!(loaded.all(Op::FConvert).len(), 3, "there, back to compare, and on");
    assert_eq!((loaded.all(Op::IAdd).len(), loaded.all(Op::FOrdGreaterThan).len()), (1, 1));
    let narrower = of("f64", "f32", "%s = add %a, %b\n%r = convert %s -> f32");
    assert_eq!(narrower.all(Op::FConvert).len(), 1);
}

#[test]
fn integers_to_bf16_are_rounded_once() {
    let loaded = of("u32", "bf16", "%s = add %a, %b\n%r = convert %s -> bf16");
    // The lost bits are combined into the last kept bit.
    assert!(!loaded.all(Op::ShiftRightLogical).is_empty() && !loaded.all(Op::BitwiseOr).is_empty());
    assert!(glsl(&loaded, GLOp::FindUMsb) == 1);
}

#[test]
fn bits_of_narrow_integers_are_counted_in_words_and_of_wide_ones_in_halves() {
    for (ty, count) in [("u8", 1), ("u16", 1), ("u32", 1), ("u64", 2)] {
        let loaded = of(ty, ty, "%r = popcount %a");
        assert_eq!(loaded.all(Op::BitCount).len(), count, "{ty}");
        let leading = of(ty, ty, "%r = clz %a");
        assert_eq!(glsl(&leading, GLOp::FindUMsb), count, "{ty}");
        for counted in loaded.all(Op::BitCount) {
            let width = &loaded.def(counted.result_type.unwrap()).operands[0];
            assert_eq!(*width, Operand::LiteralBit32(32), "{ty}");
        }
    }
}

#[test]
fn rotation_by_a_literal_has_literal_shifts() {
    let loaded = of("u32", "u32", "%r = rotl %a, 37u32");
    let amounts: Vec<_> =
        [Op::ShiftLeftLogical, Op::ShiftRightLogical].map(|op| loaded.constant(id(loaded.one(op), 1))).into();
    assert_eq!(amounts, [Some(5), Some(27)]);
    let whole = of("u32", "u32", "%r = rotl %a, 32u32");
    whole.assert_without(&[Op::ShiftLeftLogical, Op::ShiftRightLogical]);
}

#[test]
fn exponentials_of_nan_are_selected() {
    for op in ["exp", "exp2"] {
        let loaded = of("f32", "f32", &format!("%r = {op} %a"));
        assert_eq!((loaded.all(Op::IsNan).len(), loaded.all(Op::Select).len()), (1, 1));
    }
}

#[test]
fn rsqrt_of_a_double_nan_is_selected() {
    let guards = |loaded: &Loaded| (loaded.all(Op::IsNan).len(), loaded.all(Op::Select).len());
    let double = of("f64", "f64", "%r = rsqrt %a");
    assert_eq!((glsl(&double, GLOp::InverseSqrt), guards(&double)), (1, (1, 1)));
    // If the operand is NaN, it is selected.
    let select = double.one(Op::Select);
    assert_eq!(double.operand(select, 0).class.opcode, Op::IsNan);
    assert_eq!(id(select, 1), id(double.operand(select, 0), 0));
    let single = of("f32", "f32", "%r = rsqrt %a");
    assert_eq!((glsl(&single, GLOp::InverseSqrt), guards(&single)), (1, (0, 0)));
}

#[test]
fn logarithms_scale_subnormals_and_select_what_is_not_positive_and_finite() {
    let loaded = of("f32", "f32", "%r = log2 %a");
    assert_eq!(
        (glsl(&loaded, GLOp::Log2), loaded.all(Op::FMul).len(), loaded.all(Op::FSub).len()),
        (1, 1, 1)
    );
    assert!(loaded.all(Op::Select).len() >= 5);
    let declarations = "buffer %x: read f32[]\nbuffer %w: write f32[]";
    let kept = fullest(declarations, "%a = load %x[0u32]\n%r = log2 %a\nstore %w[0u32], %r");
    kept.assert_without(&[Op::FMul, Op::FSub]);
}

#[test]
fn a_power_of_what_is_negative_is_nan() {
    let loaded = of("f32", "f32", "%r = pow %a, %b");
    assert_eq!((glsl(&loaded, GLOp::Pow), loaded.all(Op::FOrdLessThan).len()), (1, 1));
    let select = loaded.one(Op::Select);
    assert_eq!(loaded.operand(select, 0).class.opcode, Op::FOrdLessThan);
    assert_eq!(loaded.constant(id(select, 1)).map(|bits| f32::from_bits(bits).is_nan()), Some(true));
}

#[test]
fn angles_lose_whole_turns_first() {
    for (op, function) in [("sin", GLOp::Sin), ("cos", GLOp::Cos), ("tan", GLOp::Tan)] {
        let loaded = of("f32", "f32", &format!("%r = {op} %a"));
        let found = loaded.extended(function as u32);
        assert_eq!((found.len(), glsl(&loaded, GLOp::RoundEven)), (1, 1));
        assert_eq!(loaded.operand(found[0], 2).class.opcode, Op::FSub, "less the last part of 2π");
        assert_eq!(loaded.all(Op::FSub).len(), 3);
    }
}

#[test]
fn atan2_on_the_axis_is_selected() {
    let loaded = of("f32", "f32", "%r = atan2 %a, %b");
    assert_eq!((glsl(&loaded, GLOp::Atan2), loaded.all(Op::Select).len()), (1, 2));
}

#[test]
fn hyperbolic_functions_are_made_of_exponentials_and_tanh_is_clamped() {
    for op in ["sinh", "cosh"] {
        let loaded = of("f32", "f32", &format!("%r = {op} %a"));
        assert_eq!(
            (glsl(&loaded, GLOp::Exp), glsl(&loaded, GLOp::Sinh), glsl(&loaded, GLOp::Cosh)),
            (1, 0, 0)
        );
    }
    let loaded = of("f32", "f32", "%r = tanh %a");
    let tangent = loaded.extended(GLOp::Tanh as u32);
    assert_eq!(loaded.operand(tangent[0], 2).class.opcode, Op::Select);
    assert_eq!(loaded.all(Op::Select).len(), 2);
}

#[test]
fn functions_of_f16_are_computed_in_f32() {
    let loaded = of("f16", "f16", "%r = exp %a");
    let exponential = loaded.extended(GLOp::Exp as u32)[0];
    let width = &loaded.def(exponential.result_type.unwrap()).operands[0];
    assert_eq!(*width, Operand::LiteralBit32(32));
    assert_eq!(loaded.all(Op::FConvert).len(), 2);
}
