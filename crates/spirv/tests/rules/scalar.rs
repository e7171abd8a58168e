//! Ops that are functions of their operands and for which SPIR-V's own instructions do not suffice.

use rspirv::dr::Instruction;
use rspirv::spirv::{Decoration, GlslStd450Op as GLOp, Op};

use crate::support::{Loaded, fullest, id, least, result};

const FLOATS: &str = "buffer %y: write f32[]\nparam %a: f32\nparam %b: f32\nparam %c: f32";
const INTEGERS: &str = "buffer %y: write i32[]\nbuffer %z: write u32[]\nparam %a: i32\nparam %b: i32\nparam %u: u32\nparam %w: u32";

fn glsl(loaded: &Loaded, op: GLOp) -> Vec<&Instruction> {
    loaded.extended(op as u32)
}

/// Returns the operand of the last store.
fn stored(loaded: &Loaded) -> &Instruction {
    loaded.operand(loaded.all(Op::Store).last().expect("something is stored"), 1)
}

fn is_constant(loaded: &Loaded, inst: &Instruction, position: usize, bits: u32) -> bool {
    loaded.constant(id(inst, position)) == Some(bits)
}

#[test]
fn no_float_arithmetic_may_be_contracted() {
    let vectors =
        "buffer %y: write f32[]\nbuffer %v: write f32x4[]\nparam %a: f32x4\nparam %b: f32x4\nparam %i: i32";
    let body = "%c = add %a, %b\n%d = sub %c, %a\n%e = mul %d, %b\n%f = div %e, %a\n%g = fma %f, %a, %b\n\
        %h = fract %g\n%k = dot %h, %a\n%l = convert %i -> f32\n%m = add %k, %l\nstore %v[0u32], %h\nstore %y[0u32], %m";
    for loaded in [least(vectors, body), fullest(vectors, body)] {
        let mut found = 0;
        for inst in loaded.code() {
            let arithmetic = matches!(inst.class.opcode, Op::FAdd | Op::FSub | Op::FMul | Op::FDiv)
                || glsl(&loaded, GLOp::Fma).contains(&inst);
            if arithmetic {
                found += 1;
                assert_eq!(loaded.decorations(result(inst), Decoration::NoContraction).len(), 1, "{inst:?}");
            }
        }
        // Five ops, the subtraction of `fract`, a product and three sums of `dot`, and an addition.
        assert!(found >= 11, "{found}");
    }
}

#[test]
fn dot_is_summed_left_to_right() {
    let loaded = least(
        "buffer %y: write f32[]\nparam %a: f32x4\nparam %b: f32x4",
        "%c = dot %a, %b\nstore %y[0u32], %c",
    );
    loaded.assert_without(&[Op::Dot]);
    let products = loaded.one(Op::FMul);
    let component = |inst: &Instruction, lane: u32| {
        assert_eq!((inst.class.opcode, id(inst, 0)), (Op::CompositeExtract, result(products)));
        assert_eq!(inst.operands[1], rspirv::dr::Operand::LiteralBit32(lane));
    };
    let mut sum = stored(&loaded);
    for lane in [3, 2, 1] {
        assert_eq!(sum.class.opcode, Op::FAdd);
        component(loaded.operand(sum, 1), lane);
        sum = loaded.operand(sum, 0);
    }
    component(sum, 0);
}

#[test]
fn min_max_and_clamp_never_use_clamp_instructions() {
    let floats = least(FLOATS, "%d = min %a, %b\n%e = max %d, %c\n%f = clamp %e, %a, %b\nstore %y[0u32], %f");
    let outer = stored(&floats);
    assert!(glsl(&floats, GLOp::NMin).contains(&outer));
    assert!(glsl(&floats, GLOp::NMax).contains(&floats.operand(outer, 2)), "min(max(x, lo), hi)");
    let integers = least(
        INTEGERS,
        "%d = clamp %a, %b, 5i32\nstore %y[0u32], %d\n%e = clamp %u, %w, 5u32\nstore %z[0u32], %e",
    );
    assert!(glsl(&integers, GLOp::UMin).contains(&stored(&integers)));
    for op in [GLOp::SMin, GLOp::SMax, GLOp::UMin, GLOp::UMax] {
        assert_eq!(glsl(&integers, op).len(), 1);
    }
    let banned = [GLOp::FMin, GLOp::FMax, GLOp::FClamp, GLOp::NClamp, GLOp::SClamp, GLOp::UClamp];
    for loaded in [&floats, &integers] {
        assert!(banned.iter().all(|op| glsl(loaded, *op).is_empty()));
    }
}

#[test]
fn comparisons_with_nan_are_false_and_ne_is_true() {
    for (name, op) in [
        ("eq", Op::FOrdEqual),
        ("ne", Op::FUnordNotEqual),
        ("lt", Op::FOrdLessThan),
        ("le", Op::FOrdLessThanEqual),
        ("gt", Op::FOrdGreaterThan),
        ("ge", Op::FOrdGreaterThanEqual),
    ] {
        let loaded =
            least(FLOATS, &format!("%d = {name} %a, %b\n%e = select %d, %a, %b\nstore %y[0u32], %e"));
        assert_eq!(loaded.operand(stored(&loaded), 0).class.opcode, op);
    }
}

#[test]
fn division_is_guarded_against_zero_and_overflow() {
    for (op, vector) in [("div", false), ("rem", false), ("div", true)] {
        let declarations = if vector { INTEGERS.replace("i32", "i32x2") } else { INTEGERS.to_owned() };
        let loaded = least(&declarations, &format!("%d = {op} %a, %b\nstore %y[0u32], %d"));
        let quotient = loaded.one(Op::SDiv);
        let divisor = loaded.operand(quotient, 1);
        assert_eq!(divisor.class.opcode, Op::Select);
        let either = loaded.operand(divisor, 0);
        assert_eq!(either.class.opcode, Op::LogicalOr);
        let overflow = loaded.operand(either, 1);
        assert_eq!(overflow.class.opcode, Op::LogicalAnd);
        let tests = [loaded.operand(either, 0), loaded.operand(overflow, 0), loaded.operand(overflow, 1)];
        if !vector {
            let [zero, least, minus_one] = tests;
            assert!(is_constant(&loaded, zero, 1, 0) && id(zero, 0) == id(divisor, 2));
            assert!(is_constant(&loaded, least, 1, 0x8000_0000) && id(least, 0) == id(quotient, 0));
            assert!(is_constant(&loaded, minus_one, 1, u32::MAX) && id(minus_one, 0) == id(divisor, 2));
            assert!(is_constant(&loaded, divisor, 1, 1), "x / 1 is x");
        }
        assert!(tests.iter().all(|test| test.class.opcode == Op::IEqual));
    }
    let loaded = least(INTEGERS, "%d = div %u, %w\nstore %z[0u32], %d");
    let test = loaded.operand(loaded.operand(loaded.one(Op::UDiv), 1), 0);
    assert!(test.class.opcode == Op::IEqual && is_constant(&loaded, test, 1, 0));
}

#[test]
fn rem_never_uses_the_remainder_instructions() {
    for (operands, target) in [("%a, %b", "%y"), ("%u, %w", "%z")] {
        let loaded = least(INTEGERS, &format!("%d = rem {operands}\nstore {target}[0u32], %d"));
        loaded.assert_without(&[Op::SRem, Op::SMod, Op::UMod]);
        // x − (x / d)·d
        let difference = stored(&loaded);
        assert_eq!(difference.class.opcode, Op::ISub);
        let whole = loaded.operand(difference, 1);
        assert_eq!(whole.class.opcode, Op::IMul);
        let quotient = loaded.operand(whole, 0);
        assert!(matches!(quotient.class.opcode, Op::SDiv | Op::UDiv));
        assert_eq!(id(quotient, 1), id(whole, 1), "the same divisor");
        assert_eq!(id(quotient, 0), id(difference, 0));
    }
}

#[test]
fn shift_amounts_are_taken_modulo_the_width() {
    let shifts = [Op::ShiftLeftLogical, Op::ShiftRightLogical, Op::ShiftRightArithmetic];
    for (body, count) in [
        ("%d = shl %a, %u\nstore %y[0u32], %d", 1),
        ("%d = shr %a, %u\nstore %y[0u32], %d", 1),
        ("%d = shr %u, %w\nstore %z[0u32], %d", 1),
        ("%d = rotl %a, %u\nstore %y[0u32], %d", 2),
        ("%d = rotr %u, %w\nstore %z[0u32], %d", 2),
        ("%d = extract_bits %a, %u, %w\nstore %y[0u32], %d", 2),
    ] {
        let loaded = least(INTEGERS, body);
        let found: Vec<&Instruction> =
            loaded.code().into_iter().filter(|i| shifts.contains(&i.class.opcode)).collect();
        assert_eq!(found.len(), count, "{body}");
        for shift in found {
            let amount = loaded.operand(shift, 1);
            assert!(amount.class.opcode == Op::BitwiseAnd && is_constant(&loaded, amount, 1, 31), "{body}");
        }
    }
    let signed = least(INTEGERS, "%d = shr %a, %u\nstore %y[0u32], %d");
    assert_eq!(stored(&signed).class.opcode, Op::ShiftRightArithmetic);
}

#[test]
fn bit_fields_are_clamped_and_built_from_shifts() {
    for body in [
        "%d = extract_bits %a, %u, %w\nstore %y[0u32], %d",
        "%d = insert_bits %a, %b, %u, %w\nstore %y[0u32], %d",
    ] {
        let loaded = least(INTEGERS, body);
        loaded.assert_without(&[Op::BitFieldInsert, Op::BitFieldSExtract, Op::BitFieldUExtract]);
        let clamps = glsl(&loaded, GLOp::UMin);
        let [offset, count] = clamps.as_slice() else { panic!("{clamps:?}") };
        assert!(is_constant(&loaded, offset, 3, 32));
        let left = loaded.operand(count, 3);
        assert_eq!((left.class.opcode, id(left, 1)), (Op::ISub, result(offset)));
        assert!(is_constant(&loaded, left, 0, 32));
    }
}

#[test]
fn counts_of_zeros_have_an_answer_for_zero() {
    // The highest bit of 0 is −1, so that 31 minus it is the width.
    let loaded = least(INTEGERS, "%d = clz %a\nstore %y[0u32], %d");
    let zeros = loaded.operand(stored(&loaded), 0);
    assert!(zeros.class.opcode == Op::ISub && is_constant(&loaded, zeros, 0, 31));
    assert_eq!(glsl(&loaded, GLOp::FindUMsb), [loaded.operand(zeros, 1)]);
    assert!(glsl(&loaded, GLOp::FindSMsb).is_empty(), "a negative number has no leading zeros");
    let loaded = least(INTEGERS, "%d = ctz %u\nstore %z[0u32], %d");
    let zeros = stored(&loaded);
    assert_eq!(glsl(&loaded, GLOp::UMin), [zeros]);
    assert!(is_constant(&loaded, zeros, 3, 32));
    assert_eq!(glsl(&loaded, GLOp::FindILsb), [loaded.operand(zeros, 2)]);
}

#[test]
fn float_to_integer_converts_only_what_fits() {
    for (target, convert, low, high, least_value, most) in [
        ("i32", Op::ConvertFToS, -2_147_483_648f32, 2_147_483_648f32, 0x8000_0000, 0x7fff_ffff),
        ("u32", Op::ConvertFToU, 0.0, 4_294_967_296.0, 0, u32::MAX),
    ] {
        let loaded = least(
            &format!("buffer %y: write {target}[]\nparam %a: f32"),
            &format!("%d = convert %a -> {target}\nstore %y[0u32], %d"),
        );
        let conversion = loaded.one(convert);
        let safe = loaded.operand(conversion, 0);
        assert_eq!(safe.class.opcode, Op::Select);
        assert!(is_constant(&loaded, safe, 2, 0), "zero where it does not fit, and for NaN");
        let inside = loaded.operand(safe, 0);
        let (above, below) = (loaded.operand(inside, 0), loaded.operand(inside, 1));
        assert_eq!(above.class.opcode, Op::FOrdGreaterThanEqual);
        assert!(is_constant(&loaded, above, 1, low.to_bits()));
        assert_eq!(below.class.opcode, Op::FOrdLessThan);
        assert!(is_constant(&loaded, below, 1, high.to_bits()));
        let too_low = stored(&loaded);
        let too_high = loaded.operand(too_low, 2);
        assert!(is_constant(&loaded, too_low, 1, least_value) && is_constant(&loaded, too_high, 1, most));
        assert_eq!(id(too_high, 2), result(conversion));
    }
}

#[test]
fn integers_round_to_floats_once() {
    let declarations = "buffer %y: write f32[]\nparam %a: i32";
    let body = "%d = convert %a -> f32\nstore %y[0u32], %d";
    // The halves are exact; only their sum rounds.
    let loaded = least(declarations, body);
    let sum = stored(&loaded);
    assert_eq!(sum.class.opcode, Op::FAdd);
    let high = loaded.operand(sum, 0);
    assert!(high.class.opcode == Op::FMul && is_constant(&loaded, high, 1, 65_536f32.to_bits()));
    let halves = [loaded.operand(high, 0), loaded.operand(sum, 1)].map(|c| {
        assert_eq!(c.class.opcode, Op::ConvertSToF);
        loaded.operand(c, 0)
    });
    assert_eq!(halves.map(|h| h.class.opcode), [Op::ShiftRightArithmetic, Op::BitwiseAnd]);
    // The device guarantees the rounding.
    let promised = fullest(declarations, body);
    assert_eq!(stored(&promised).class.opcode, Op::ConvertSToF);
}

#[test]
fn dynamic_components_are_guarded() {
    let declarations = "buffer %y: write f32[]\nbuffer %v: write f32x2[]\nparam %a: f32x2\nparam %i: u32";
    let loaded = least(declarations, "%c = extract %a, %i\nstore %y[0u32], %c");
    let chosen = stored(&loaded);
    let picked = loaded.one(Op::VectorExtractDynamic);
    let inside = loaded.operand(chosen, 0);
    assert!(inside.class.opcode == Op::ULessThan && is_constant(&loaded, inside, 1, 2));
    assert_eq!(id(chosen, 1), result(picked));
    assert!(is_constant(&loaded, chosen, 2, 0));
    let index = loaded.operand(picked, 1);
    assert!(id(index, 0) == result(inside) && is_constant(&loaded, index, 2, 0));

    let loaded = least(declarations, "%c = insert %a, %i, 9.0f32\nstore %v[0u32], %c");
    let (chosen, changed) = (stored(&loaded), loaded.one(Op::VectorInsertDynamic));
    assert_eq!((id(chosen, 1), id(chosen, 2)), (result(changed), id(changed, 0)), "unchanged outside");
    assert!(is_constant(&loaded, changed, 1, 9f32.to_bits()), "vector, component, index");
    let index = loaded.operand(changed, 2);
    assert!(index.class.opcode == Op::Select && is_constant(&loaded, index, 2, 0));

    let known = least(
        declarations,
        "%c = extract %a, 1u32\n%d = extract %a, 2u32\n%e = add %c, %d\nstore %y[0u32], %e",
    );
    known.assert_without(&[Op::VectorExtractDynamic]);
    assert!(is_constant(&known, stored(&known), 1, 0));
}

#[test]
fn constants_of_vectors_repeat_one_scalar() {
    let loaded = least(
        "buffer %v: write i32x4[]\nparam %a: i32x4",
        "%c = popcount %a\n%d = clz %c\nstore %v[0u32], %d",
    );
    let composites: Vec<&Instruction> = loaded
        .module
        .types_global_values
        .iter()
        .filter(|i| i.class.opcode == Op::ConstantComposite)
        .collect();
    assert_eq!(composites.len(), 1);
    assert_eq!(composites[0].operands.len(), 4);
    assert!((0..4).all(|lane| is_constant(&loaded, composites[0], lane, 31)));
}
