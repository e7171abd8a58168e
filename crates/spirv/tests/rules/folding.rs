//! Values that are hidden from drivers' compilers, and forms that they fold correctly.

use fulgurite_spirv::{Field, Profile, Rules};
use rspirv::dr::{Instruction, Operand};
use rspirv::spirv::{Decoration, GlslStd450Op as GLOp, Op, Word};

use crate::support::{Loaded, id, kernel, load, result, source};

/// Emits a body with two operands `%a` and `%b` and a stored result `%r`.
fn of(from: &str, to: &str, body: &str, rules: Rules) -> Loaded {
    let declarations = format!("buffer %y: write {to}[]\nparam %a: {from}\nparam %b: {from}");
    let text = source(&declarations, &format!("{body}\nstore %y[0u32], %r"));
    let mut profile = Profile::least();
    profile.rules = rules;
    load(&kernel(&text), &profile)
}

/// Returns the zero with which the module hides values: the last word of the parameter block.
fn hidden_zero(loaded: &Loaded) -> Word {
    assert_eq!(loaded.layout.fields.last(), Some(&Field::Zero));
    let last = loaded.layout.block_words - 1;
    let is_last = |load: &&Instruction| {
        let pointer = loaded.operand(load, 0);
        pointer.class.opcode == Op::AccessChain && loaded.constant(id(pointer, 2)) == Some(last)
    };
    let loads = loaded.all(Op::Load);
    result(loads.into_iter().find(is_last).expect("the zero is loaded"))
}

/// Returns whether `value` is computed from the hidden zero.
fn is_hidden(loaded: &Loaded, value: Word) -> bool {
    let zero = hidden_zero(loaded);
    let mut pending = vec![value];
    while let Some(id) = pending.pop() {
        if id == zero {
            return true;
        }
        let inst = loaded.def(id);
        if !matches!(inst.class.opcode, Op::Load | Op::Constant | Op::ConstantComposite) {
            pending.extend(inst.operands.iter().filter_map(Operand::id_ref_any));
        }
    }
    false
}

fn width(loaded: &Loaded, inst: &Instruction) -> u32 {
    let ty = loaded.def(inst.result_type.expect("it has a type"));
    match ty.operands[0] {
        Operand::LiteralBit32(bits) => bits,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn narrow_integers_are_words_in_registers() {
    for (ty, wrapped_by) in
        [("u8", Op::BitwiseAnd), ("i8", Op::ShiftRightArithmetic), ("u16", Op::BitwiseAnd)]
    {
        let loaded = of(ty, ty, "%r = add %a, %b", Rules::NONE);
        let sum = loaded.one(Op::IAdd);
        assert_eq!(width(&loaded, sum), 32, "{ty}");
        let wraps = loaded.all(wrapped_by);
        assert!(wraps.iter().any(|inst| {
            let from = loaded.operand(inst, 0);
            from == sum
                || loaded.def(result(from)).operands.first().and_then(Operand::id_ref_any)
                    == Some(result(sum))
        }));
        // Only the stored value is narrow.
        let narrow =
            [Op::UConvert, Op::SConvert].into_iter().flat_map(|op| loaded.all(op)).collect::<Vec<_>>();
        assert_eq!(narrow.len(), 1, "{ty}");
    }
}

#[test]
fn narrow_integers_are_wrapped_by_hidden_shifts_where_masks_are_misfolded() {
    let rules = Rules { narrow_integers: true, ..Rules::NONE };
    for (ty, down) in [("u8", Op::ShiftRightLogical), ("i16", Op::ShiftRightArithmetic)] {
        let loaded = of(ty, ty, "%r = neg %a", rules);
        for mask in loaded.all(Op::BitwiseAnd) {
            assert!(is_hidden(&loaded, id(mask, 0)) && is_hidden(&loaded, id(mask, 1)), "{ty}");
        }
        let shift = *loaded.all(down).last().expect("it is shifted down");
        assert!(is_hidden(&loaded, id(shift, 1)), "{ty}");
        assert!(is_hidden(&loaded, id(loaded.operand(shift, 0), 1)), "{ty}");
    }
}

#[test]
fn known_zeros_are_hidden_from_drivers_that_fold_them() {
    let rules = Rules { zeros: true, ..Rules::NONE };
    let body = "%c = add %a, 0.0f32\n%d = mul %c, 2.0f32\n%z = convert 0u32 -> f32\n%r = sub %d, %z";
    let loaded = of("f32", "f32", body, rules);
    let operands = |op: Op| [0, 1].map(|i| is_hidden(&loaded, id(loaded.one(op), i)));
    // The literal zero and the converted value are hidden, the parameter and the literal 2 are not.
    assert_eq!(operands(Op::FAdd), [false, true]);
    assert!(loaded.constant(id(loaded.one(Op::FMul), 1)).is_some());
    assert!(is_hidden(&loaded, id(loaded.one(Op::FSub), 1)));
    let selected = of("f32", "f32", "%c = lt %a, %b\n%r = select %c, -1.0f32, 0.0f32", rules);
    assert!(is_hidden(&selected, id(selected.one(Op::Select), 2)));
    let bits = of("u32", "u32", "%c = lt %a, %b\n%r = select %c, 0xbf800000u32, 0u32", rules);
    assert!(is_hidden(&bits, id(bits.one(Op::Select), 1)));
    let body = "%c = lt %a, %b\n%r = if %c -> f32 {\nyield -1.0f32\n} else {\nyield 0.0f32\n}";
    let branched = of("f32", "f32", body, rules);
    assert_eq!([0, 2].map(|i| is_hidden(&branched, id(branched.one(Op::Phi), i))), [false, true]);
    // A constant index needs no selection.
    let body = "%v = construct %a, 1.0f32\n%w = insert %v, 1u32, -0.0f32\n%r = extract %w, 0u32";
    let inserted = of("f32", "f32", body, rules);
    inserted.assert_without(&[Op::BitwiseOr]);
    // Integers have a single zero, and no value that `x + 0` would lose.
    let integers = of("i32", "i32", "%r = add %a, 0i32", rules);
    assert!(!is_hidden(&integers, id(integers.one(Op::IAdd), 1)));
    let bare = of("f32", "f32", "%r = add %a, 0.0f32", Rules::NONE);
    assert!(!bare.layout.fields.contains(&Field::Zero));
}

#[test]
fn roundings_to_f16_are_hidden_unless_they_are_only_stored() {
    let rules = Rules { rounding: true, ..Rules::NONE };
    let used = of("f32", "f32", "%h = convert %a -> f16\n%r = convert %h -> f32", rules);
    let wide = *used.all(Op::FConvert).last().expect("it is converted back");
    assert!(is_hidden(&used, id(wide, 0)));
    let stored = of("f32", "f16", "%r = convert %a -> f16", rules);
    assert!(stored.all(Op::BitwiseOr).is_empty());
}

#[test]
fn doubles_rounded_to_integral_values_are_hidden_unless_they_are_only_stored() {
    let rules = Rules { rounding: true, ..Rules::NONE };
    for op in ["floor", "ceil", "trunc", "round"] {
        let used = of("f64", "i32", &format!("%w = {op} %a\n%r = convert %w -> i32"), rules);
        let least = used.all(Op::FOrdGreaterThanEqual)[0];
        assert!(is_hidden(&used, id(least, 0)), "{op}");
        let stored = of("f64", "f64", &format!("%r = {op} %a"), rules);
        stored.assert_without(&[Op::BitwiseOr]);
        let single = of("f32", "i32", &format!("%w = {op} %a\n%r = convert %w -> i32"), rules);
        single.assert_without(&[Op::BitwiseOr]);
    }
}

#[test]
fn pairs_of_f16_are_hidden_as_words() {
    let rules = Rules { rounding: true, ..Rules::NONE };
    let body = "%c = add %a, %b\n%v = construct %a, %b, %c\n%h = convert %v -> f16x3\n%w = convert %h -> f32x3\n\
                %r = extract %w, 1u32";
    let loaded = of("f32", "f32", body, rules);
    let combined = loaded.one(Op::BitwiseOr);
    let component = loaded.def(combined.result_type.expect("it has a type"));
    assert_eq!(component.class.opcode, Op::TypeVector);
    assert_eq!(loaded.def(id(component, 0)).operands[0], Operand::LiteralBit32(32));
    assert!(is_hidden(&loaded, result(combined)));
}

#[test]
fn halves_that_may_be_constants_are_hidden_one_by_one() {
    let rules = Rules { rounding: true, ..Rules::NONE };
    let makes_halves = |loaded: &Loaded, inst: &Instruction| {
        let ty = loaded.def(inst.result_type.expect("it has a type"));
        let is_vector = ty.class.opcode == Op::TypeVector;
        is_vector && loaded.def(id(ty, 0)).operands[0] == Operand::LiteralBit32(16)
    };
    for (from, to, body) in [
        // Truth values that a compiler finds out, a constant beside a loaded value, and a result that is constant in part.
        (
            "u32",
            "f32",
            "%t = ne %a, %a\n%u = ge %a, 5u32\n%v = construct %t, %u, true\n%h = convert %v -> f16x3\n\
             %e = extract %h, 1u32\n%r = convert %e -> f32",
        ),
        (
            "f32",
            "f32",
            "%v = construct %a, 1.0f32\n%h = convert %v -> f16x2\n%e = extract %h, 1u32\n\
             %r = convert %e -> f32",
        ),
        (
            "f32",
            "u64",
            "%v = construct %a, %b, %a, %b\n%s = construct %a, 1.0f32, 1.0f32, %b\n%m = min %v, %s\n\
             %h = convert %m -> f16x4\n%r = pack %h -> u64",
        ),
        (
            "f16",
            "u16",
            "%v = construct 1.0f16, 1.0f16\n%h = insert %v, 1u32, %a\n%w = bitcast %h -> u16x2\n\
             %r = extract %w, 0u32",
        ),
    ] {
        let loaded = of(from, to, body, rules);
        for cast in loaded.all(Op::Bitcast) {
            let from = loaded.operand(cast, 0);
            assert!(
                !makes_halves(&loaded, from) || is_hidden(&loaded, result(from)),
                "{body}: pairs as words"
            );
        }
        for made in loaded.all(Op::FConvert).into_iter().chain(loaded.all(Op::Select)) {
            assert!(!makes_halves(&loaded, made), "{body}: a pair is converted");
        }
    }
}

#[test]
fn widened_integers_and_amounts_of_shifts_are_hidden_where_they_are_misfolded() {
    let rules = Rules { wide_integers: true, ..Rules::NONE };
    let compared =
        of("i32", "u32", "%w = convert %a -> i64\n%c = lt %w, 5i64\n%r = convert %c -> u32", rules);
    assert!(is_hidden(&compared, id(compared.one(Op::SLessThan), 0)));
    let shifted = of("u32", "u64", "%w = convert %a -> u64\n%r = shl %w, %b", rules);
    assert!(is_hidden(&shifted, id(shifted.one(Op::ShiftLeftLogical), 1)));
    // The low half of a 64-bit conversion differs from a 32-bit conversion.
    let halved = of("f32", "u32", "%w = convert %a -> u64\n%r = convert %w -> u32", rules);
    let low = halved.one(Op::UConvert);
    assert_eq!(halved.operand(low, 0).class.opcode, Op::ShiftRightLogical);
    assert!(is_hidden(&halved, id(low, 0)));
    let limited = of("i64", "u32", "%c = lt %a, 5i64\n%r = convert %c -> u32", rules);
    assert!(is_hidden(&limited, id(limited.one(Op::SLessThan), 1)));
    let body = "%s = add %a, %a\n%c = abs %s\n%r = convert %c -> u32";
    let magnitude = of("i64", "u32", body, rules);
    assert!(is_hidden(&magnitude, id(magnitude.one(Op::SLessThan), 1)));
    let high = of("u32", "u32", "%c = mul_hi %a, %b\n%r = add %c, %a", rules);
    assert!(is_hidden(&high, id(high.one(Op::IAdd), 0)));
}

#[test]
fn integers_of_64_bits_are_divided_as_words_where_a_driver_loses_what_is_alive() {
    let rules = Rules { wide_division: true, ..Rules::NONE };
    for (ty, op) in [("u64", "div"), ("i64", "rem"), ("u64", "rem")] {
        let loaded = of(ty, ty, &format!("%r = {op} %a, %b"), rules);
        loaded.assert_without(&[Op::SDiv]);
        assert!(loaded.all(Op::UDiv).iter().all(|inst| width(&loaded, inst) == 32), "{ty}");
    }
    let native = of("u64", "u64", "%r = div %a, %b", Rules::NONE);
    assert_eq!(width(&native, native.one(Op::UDiv)), 64);
    // The divisor is safe.
    let literal = of("i32", "i32", "%r = div %a, 7i32", Rules::NONE);
    literal.assert_without(&[Op::Select, Op::IEqual]);
}

#[test]
fn negations_and_comparisons_are_hidden_where_signs_are_misfolded() {
    let rules = Rules { signs: true, ..Rules::NONE };
    let magnitude = of("i32", "i32", "%r = abs %a", rules);
    magnitude.assert_without(&[Op::SNegate]);
    assert_eq!(id(magnitude.one(Op::ISub), 0), hidden_zero(&magnitude));
    let compared = of("f32", "u32", "%m = abs %a\n%c = le -3.0f32, %m\n%r = convert %c -> u32", rules);
    let test = compared.one(Op::FOrdLessThanEqual);
    assert_eq!([0, 1].map(|i| is_hidden(&compared, id(test, i))), [true, false]);
}

#[test]
fn no_integer_is_negated_in_sight_where_signs_are_misfolded() {
    let rules = Rules { signs: true, ..Rules::NONE };
    let of = |ty: &str, body: &str| of(ty, ty, body, rules);
    let by_constant = of("i32", "%r = div %a, -32i32");
    let division = by_constant.one(Op::SDiv);
    assert_eq!(by_constant.constant(id(division, 1)), Some(32));
    let negation = by_constant.one(Op::ISub);
    assert_eq!([id(negation, 0), id(negation, 1)], [hidden_zero(&by_constant), result(division)]);
    let remainder = of("i32", "%r = rem %a, -7i32");
    assert_eq!(remainder.constant(id(remainder.one(Op::SDiv), 1)), Some(7));
    // The minimum has no magnitude, and a variable divisor may turn out to be constant.
    for body in ["%r = div %a, -2147483648i32", "%r = div %a, -1i32", "%r = div %a, %b", "%r = rem %a, %b"] {
        let loaded = of("i32", body);
        let divisor = id(loaded.one(Op::SDiv), 1);
        assert!(is_hidden(&loaded, divisor) || loaded.constant(divisor) == Some(1), "{body}");
    }
    for (ty, body, op, operand) in [
        ("i32", "%r = sub 0i32, %a", Op::ISub, 0),
        ("u32", "%r = sub 0u32, %a", Op::ISub, 0),
        ("i16", "%r = mul %a, -1i16", Op::IMul, 1),
        ("i32", "%r = mul %a, -4i32", Op::IMul, 1),
    ] {
        let loaded = of(ty, body);
        assert!(is_hidden(&loaded, id(loaded.one(op), operand)), "{body}");
    }
    let plain = of("i32", "%s = sub %a, %b\n%r = mul %s, 4i32");
    assert!(!is_hidden(&plain, id(plain.one(Op::IMul), 1)));
    // All bits of −1 are ones, which an or does not hide.
    let minus_one = of("i32", "%r = mul %a, -1i32");
    let hidden = minus_one.operand(minus_one.one(Op::IMul), 1);
    let mask = minus_one.operand(hidden, 0);
    assert_eq!((hidden.class.opcode, mask.class.opcode), (Op::Bitcast, Op::BitwiseAnd));
    assert!(is_hidden(&minus_one, id(mask, 1)));
}

#[test]
fn bounds_are_hidden_where_signs_are_misfolded() {
    let is_hidden_in = |ty: &str, body: &str, op: GLOp, operand: usize| {
        let loaded = of(ty, ty, body, Rules { signs: true, ..Rules::NONE });
        let inst = *loaded.extended(op as u32).last().expect("it is there");
        is_hidden(&loaded, id(inst, 2 + operand))
    };
    assert!(is_hidden_in("i32", "%v = mul %a, %b\n%r = min %a, %v", GLOp::SMin, 1));
    assert!(is_hidden_in("u32", "%v = add %a, %b\n%r = max %v, %b", GLOp::UMax, 0));
    assert!(is_hidden_in("i32", "%v = sub %a, %b\n%r = clamp %a, %b, %v", GLOp::SMin, 1));
    assert!(is_hidden_in("u32", "%v = mul %a, %b\n%r = add_sat %v, %b", GLOp::UMin, 0));
    for (ty, body, operand) in [
        ("i32", "%r = min %a, %b", 1),
        ("i32", "%r = min %a, 7i32", 1),
        ("i32", "%v = min %a, 5i32\n%r = min %b, %v", 1),
        ("i32", "%v = and %a, %b\n%r = min %a, %v", 1),
        // Narrow integers are wrapped, and those of 64 bits have no such instruction.
        ("i64", "%v = mul %a, %b\n%r = min %a, %v", 1),
    ] {
        assert!(!is_hidden_in(ty, body, GLOp::SMin, operand), "{body}");
    }
}

#[test]
fn computed_factors_of_64_bits_are_hidden_where_wide_integers_are_misfolded() {
    let factors = |ty: &str, body: &str| {
        let loaded = of(ty, ty, body, Rules { wide_integers: true, ..Rules::NONE });
        [0, 1].map(|operand| is_hidden(&loaded, id(loaded.one(Op::IMul), operand)))
    };
    assert_eq!(factors("i64", "%v = and %a, 1i64\n%r = mul %v, %b"), [true, false]);
    assert_eq!(factors("u64", "%r = mul %a, 5u64"), [false, false]);
    assert_eq!(factors("i32", "%v = and %a, 1i32\n%r = mul %v, %b"), [false, false]);
}

#[test]
fn bits_that_become_floats_of_16_bits_are_hidden_where_narrow_integers_are_misfolded() {
    let body = "%c = lt %a, %b\n%w = convert %c -> u16\n%r = bitcast %w -> f16";
    let is_hidden_in = |rules| {
        let loaded = of("f16", "f16", body, rules);
        let store = loaded.one(Op::Store);
        loaded.layout.fields.last() == Some(&Field::Zero) && is_hidden(&loaded, id(store, 1))
    };
    assert!(is_hidden_in(Rules { narrow_integers: true, ..Rules::NONE }));
    assert!(!is_hidden_in(Rules { rounding: true, ..Rules::NONE }));
}

#[test]
fn truth_values_are_hidden_where_they_are_reinterpreted_and_signs_are_misfolded() {
    let is_hidden_of = |to: &str, body: &str| {
        let loaded = of("f32", to, &format!("%c = lt %a, %b\n{body}"), Rules { signs: true, ..Rules::NONE });
        let zero_is_there = loaded.layout.fields.last() == Some(&Field::Zero);
        zero_is_there && is_hidden(&loaded, id(loaded.one(Op::Store), 1))
    };
    assert!(is_hidden_of("u32", "%f = convert %c -> f32\n%r = bitcast %f -> u32"));
    assert!(is_hidden_of("i32", "%s = select %c, 2.0f32, 0.0f32\n%r = bitcast %s -> i32"));
    assert!(is_hidden_of("f32", "%s = select %c, 1u32, 0u32\n%r = bitcast %s -> f32"));
    assert!(!is_hidden_of("u32", "%s = select %c, %a, %b\n%r = bitcast %s -> u32"));
    assert!(!is_hidden_of("i32", "%s = select %c, 1u32, 0u32\n%r = bitcast %s -> i32"));
}

#[test]
fn factors_of_a_bit_are_hidden_where_narrow_integers_are_misfolded() {
    let factors = |ty: &str, body: &str| {
        let loaded = of(ty, ty, body, Rules { narrow_integers: true, ..Rules::NONE });
        let product = *loaded.all(Op::IMul).last().expect("it is there");
        [0, 1].map(|operand| is_hidden(&loaded, id(product, operand)))
    };
    for body in [
        "%v = and %a, 1u32",
        "%v = shr %a, 31u32",
        "%v = min %a, 1u32",
        "%v = rem %a, 2u32",
        "%c = lt %a, %b\n%v = convert %c -> u32",
        "%c = lt %a, %b\n%v = select %c, 0u32, 1u32",
        "%h = convert %a -> u64\n%l = and %h, 1u64\n%v = convert %l -> u32",
        "%l = and %a, 1u32\n%m = shr %b, 31u32\n%v = xor %l, %m",
    ] {
        assert_eq!(factors("u32", &format!("{body}\n%r = mul %v, %b")), [true, false], "{body}");
    }
    for body in ["%v = and %a, 2u32", "%v = shr %a, 30u32", "%v = add %a, 1u32", "%v = bitcast %a -> u32"] {
        assert_eq!(factors("u32", &format!("{body}\n%r = mul %v, %b")), [false, false], "{body}");
    }
    // The lesser of −5 and 1 is no bit.
    assert_eq!(factors("i32", "%v = min %a, 1i32\n%r = mul %v, %b"), [false, false]);
}

#[test]
fn halves_are_selected_from_copies_that_stay_apart() {
    let rules = Rules { rounding: true, ..Rules::NONE };
    let check = |loaded: &Loaded, arms: [Word; 2], body: &str| {
        let zeros = arms.map(|arm| {
            assert!(is_hidden(loaded, arm), "{body}");
            let bits = loaded.operand(loaded.def(arm), 0);
            assert_eq!(bits.class.opcode, Op::BitwiseOr, "{body}");
            id(bits, 1)
        });
        assert_ne!(zeros[0], zeros[1], "{body}: a compiler may combine both with the zero at once");
    };
    let body = "%c = lt %a, %b\n%r = select %c, %a, %b";
    let loaded = of("f16", "f16", body, rules);
    let select = loaded.one(Op::Select);
    check(&loaded, [id(select, 1), id(select, 2)], body);
    let body = "%c = lt %a, %b\n%r = if %c -> f16 {\nyield %a\n} else {\nyield %b\n}";
    let loaded = of("f16", "f16", body, rules);
    let phi = loaded.one(Op::Phi);
    check(&loaded, [id(phi, 0), id(phi, 2)], body);
    let words = of("f32", "f32", "%c = lt %a, %b\n%r = select %c, %a, %b", rules);
    words.assert_without(&[Op::BitwiseOr]);
}

#[test]
fn constants_are_hidden_where_they_become_halves_of_pairs() {
    let rules = Rules { rounding: true, ..Rules::NONE };
    let made = |body: &str| {
        let loaded = of("f16", "f16", &format!("{body}\n%r = dot %v, %v"), rules);
        let vector = *loaded.all(Op::CompositeConstruct).last().expect("a vector is made");
        [0, 1].map(|component| is_hidden(&loaded, id(vector, component)))
    };
    assert_eq!(made("%v = construct %a, 2.0f16"), [false, true]);
    assert_eq!(made("%w = construct %a, %b\n%v = insert %w, 1u32, 2.0f16"), [false, true]);
    assert_eq!(made("%w = construct 2.0f16, 3.0f16\n%v = insert %w, 1u32, %a"), [true, false]);
    assert_eq!(made("%v = construct %a, %b"), [false, false]);
}

#[test]
fn minus_zero_an_upper_bound_of_one_and_choices_are_hidden_where_signs_are_misfolded() {
    let rules = Rules { signs: true, ..Rules::NONE };
    let hidden = |body: &str, op: GLOp, operand: usize| {
        let loaded = of("f32", "f32", body, rules);
        let inst = *loaded.extended(op as u32).last().expect("it is there");
        is_hidden(&loaded, id(inst, 2 + operand))
    };
    assert!(hidden("%r = min %a, 1.0f32", GLOp::NMin, 1));
    assert!(!hidden("%r = min %a, 2.0f32", GLOp::NMin, 1));
    assert!(hidden("%r = clamp %a, -0.0f32, 1.0f32", GLOp::NMax, 1));
    assert!(hidden("%r = clamp %a, %b, 1.0f32", GLOp::NMin, 1));
    // Clamping from 0 to 1 is a hardware modifier.
    assert!(!hidden("%r = clamp %a, 0.0f32, 1.0f32", GLOp::NMin, 1));
    assert!(hidden("%c = lt %a, %b\n%s = select %c, %a, -2.0f32\n%r = abs %s", GLOp::FAbs, 0));
    assert!(hidden("%c = lt %a, %b\n%f = convert %c -> f32\n%n = neg %f\n%r = round %n", GLOp::RoundEven, 0));
    assert!(!hidden("%c = lt %a, %b\n%s = select %c, %a, %b\n%r = abs %s", GLOp::FAbs, 0));
    let arithmetic = |body: &str, op: Op| {
        let loaded = of("f32", "f32", body, rules);
        is_hidden(&loaded, id(loaded.one(op), 0))
    };
    let truth = "%c = lt %a, %b\n%f = convert %c -> f32\n%n = neg %f";
    assert!(arithmetic(&format!("{truth}\n%r = mul %n, %b"), Op::FMul));
    assert!(arithmetic(&format!("{truth}\n%r = add %f, %b"), Op::FAdd));
    // One of the two is any number.
    assert!(!arithmetic("%c = lt %a, %b\n%s = select %c, %a, 0.0f32\n%r = mul %s, %b", Op::FMul));
    let arms = "%s = if %c -> f32 {\n%n = neg %f\nyield %n\n} else {\nyield %a\n}";
    assert!(hidden(&format!("%c = lt %a, %b\n%f = convert %c -> f32\n{arms}\n%r = abs %s"), GLOp::FAbs, 0));
}

#[test]
fn minus_zeros_that_loops_carry_are_hidden_where_signs_are_misfolded() {
    let carried = |initial: &str, rules: Rules| {
        let body = format!(
            "%r = for %i in 0u32 to %a step 1u32 carry(%c = {initial}) {{\n%d = mul %c, 2.0f32\nyield %d\n}}"
        );
        let loaded = of("u32", "f32", &body, rules);
        let phi = *loaded.all(Op::Phi).last().expect("the carried value");
        is_hidden(&loaded, id(phi, 0))
    };
    let signs = Rules { signs: true, ..Rules::NONE };
    assert!(carried("-0.0f32", signs));
    assert!(!carried("0.0f32", signs));
    assert!(!carried("-0.0f32", Rules { signs: false, ..Rules::ALL }));
}

#[test]
fn loops_carry_truth_values_as_words() {
    let body = "%c = lt %a, %b\n%d = for %i in 0u32 to %a step 1u32 carry(%e = %c) {\n%f = not %e\n\
                yield %f\n}\n%r = convert %d -> u32";
    let loaded = of("u32", "u32", body, Rules::NONE);
    for phi in loaded.all(Op::Phi) {
        assert_eq!(width(&loaded, phi), 32);
    }
    assert_eq!(loaded.all(Op::Phi).len(), 2);
    let body = "%c = lt %a, %b\n%d = while carry(%e = %c) {\ncondition %e\n} do {\n%f = gt %a, %b\nyield %f\n}\n\
                %r = convert %d -> u32";
    let loaded = of("u32", "u32", body, Rules::NONE);
    let phi = loaded.one(Op::Phi);
    assert_eq!(width(&loaded, phi), 32);
    assert!(loaded.all(Op::INotEqual).iter().any(|inst| id(inst, 0) == result(phi)));
}

#[test]
fn truth_values_that_leave_loops_are_made_of_words_behind_them() {
    let loops = [
        "for %i in 0u32 to %a step 1u32 carry(%e = %c) {\nyield %f\n}",
        "while carry(%e = %c) {\n%go = lt %a, %b\ncondition %go\n} do {\nyield %f\n}",
    ];
    for text in loops {
        let body = format!("%c = lt %a, %b\n%f = gt %a, 3u32\n%d = {text}\n%r = convert %d -> u32");
        let loaded = of("u32", "u32", &body, Rules::NONE);
        let phis: Vec<_> = loaded.all(Op::Phi).iter().map(|phi| result(phi)).collect();
        let after = loaded.all(Op::LoopMerge).iter().map(|merge| id(merge, 0)).next().unwrap();
        let behind = |op| {
            let all = loaded.all(op);
            all.into_iter().find(|inst| loaded.block_of(inst) == after).unwrap()
        };
        let truth = behind(Op::INotEqual);
        assert!(phis.contains(&id(truth, 0)), "{text}");
        let chosen = behind(Op::Select);
        assert_eq!(id(chosen, 0), result(truth), "{text}");
    }
}

#[test]
fn ops_on_constants_are_folded_by_emission() {
    let body = "%c = abs -0.0f32\n%d = bitcast %c -> u32\n%r = add %d, 7u32";
    let loaded = of("f32", "u32", body, Rules::NONE);
    loaded.assert_without(&[Op::IAdd, Op::ExtInst]);
    assert_eq!(loaded.constant(id(loaded.one(Op::Store), 1)), Some(7));
    let vector = "%v = unpack 0x0004000300020001u64 -> u16x4\n%c = extract %v, 2u32\n%r = convert %c -> u32";
    let unpacked = of("u32", "u32", vector, Rules::NONE);
    let store = unpacked.one(Op::Store);
    assert_eq!(unpacked.constant(id(store, 1)), Some(3));
}

#[test]
fn saturation_of_unsigned_integers_is_made_of_extremes() {
    for (op, extreme, last) in [("add_sat", GLOp::UMin, Op::IAdd), ("sub_sat", GLOp::UMax, Op::ISub)] {
        let loaded = of("u64", "u64", &format!("%r = {op} %a, %b"), Rules::NONE);
        loaded.assert_without(&[Op::Select]);
        assert_eq!(loaded.operand(loaded.one(last), 0), loaded.extended(extreme as u32)[0]);
    }
}

#[test]
fn rotation_of_64_bits_takes_no_difference_of_the_width() {
    let declarations = "buffer %y: write u64[]\nparam %a: u64\nparam %n: u32";
    let text = source(declarations, "%r = rotl %a, %n\nstore %y[0u32], %r");
    let loaded = load(&kernel(&text), &Profile::least());
    loaded.assert_without(&[Op::SNegate, Op::ISub]);
    let shifts = loaded.all(Op::ShiftRightLogical);
    assert_eq!(shifts.len(), 2);
    assert_eq!(loaded.constant(id(shifts[0], 1)), Some(1), "down by one first");
}

#[test]
fn the_sign_of_a_float_is_made_of_its_bits() {
    let loaded = of("f32", "f32", "%r = sign %a", Rules::NONE);
    // The only selection of floats is that for a NaN.
    let floats = loaded.all(Op::Select).into_iter().filter(|select| {
        loaded.def(select.result_type.expect("it has a type")).class.opcode == Op::TypeFloat
    });
    assert_eq!(floats.count(), 1);
    assert_eq!(loaded.one(Op::FOrdNotEqual).operands.len(), 2);
    // The bits of a zero, or of a one with a sign that a compiler may know.
    let bits = |rules| {
        let loaded = of("f32", "f32", "%r = sign %a", rules);
        let bitcast = *loaded.all(Op::Bitcast).last().expect("the bits are a float again");
        let select = loaded.def(id(bitcast, 0));
        assert_eq!(select.class.opcode, Op::Select);
        rules.zeros && is_hidden(&loaded, id(select, 2))
    };
    assert!(bits(Rules { zeros: true, ..Rules::NONE }));
    assert!(!bits(Rules::NONE));
}

#[test]
fn narrow_components_are_packed_by_shifts() {
    let declarations = "buffer %y: write u32[]\nparam %a: u8x4";
    let packed = load(&kernel(&source(declarations, "%r = pack %a\nstore %y[0u32], %r")), &Profile::least());
    packed.assert_without(&[Op::Bitcast]);
    assert_eq!(packed.all(Op::ShiftLeftLogical).len(), 3);
}

#[test]
fn buffers_are_not_declared_unwritten_where_repeated_loads_are_merged() {
    let is_declared = |rules: Rules| {
        let text =
            source("buffer %x: read u32[]\nbuffer %y: write u32[]", "%v = load %x[0u32]\nstore %y[0u32], %v");
        let mut profile = Profile::least();
        profile.rules = rules;
        let loaded = load(&kernel(&text), &profile);
        loaded.is_decorated(result(loaded.binding(0)), Decoration::NonWritable)
    };
    assert!(is_declared(Rules::NONE));
    assert!(!is_declared(Rules { repeated_loads: true, ..Rules::NONE }));
}
