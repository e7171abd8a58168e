//! Hand-written expectations for the semantics of ops.

use super::*;

fn i(op: Op, args: &[i32]) -> i32 {
    let args: Vec<u64> = args.iter().map(|v| u64::from(*v as u32)).collect();
    scalar(op, ScalarType::I32, ScalarType::I32, &args).unwrap() as i32
}

fn u(op: Op, args: &[u32]) -> u32 {
    let args: Vec<u64> = args.iter().map(|v| u64::from(*v)).collect();
    scalar(op, ScalarType::U32, ScalarType::U32, &args).unwrap() as u32
}

fn f(op: Op, args: &[f32]) -> f32 {
    let args: Vec<u64> = args.iter().map(|v| u64::from(v.to_bits())).collect();
    f32::from_bits(scalar(op, ScalarType::F32, ScalarType::F32, &args).unwrap() as u32)
}

fn conv(from: Literal, to: ScalarType) -> u64 {
    scalar(Op::Convert, from.ty, to, &[from.bits]).unwrap()
}

#[test]
fn integer_division_is_total() {
    assert_eq!(i(Op::Div, &[7, 0]), 7);
    assert_eq!(i(Op::Rem, &[7, 0]), 0);
    assert_eq!(i(Op::Div, &[i32::MIN, -1]), i32::MIN);
    assert_eq!(i(Op::Rem, &[i32::MIN, -1]), 0);
    assert_eq!(i(Op::Div, &[-7, 2]), -3);
    assert_eq!(i(Op::Rem, &[-7, 2]), -1);
    assert_eq!(i(Op::Rem, &[7, -2]), 1);
    assert_eq!(u(Op::Div, &[7, 0]), 7);
    assert_eq!(u(Op::Rem, &[7, 0]), 0);
}

#[test]
fn shifts_take_the_amount_modulo_the_width() {
    assert_eq!(u(Op::Shl, &[1, 33]), 2);
    assert_eq!(i(Op::Shr, &[-8, 1]), -4);
    assert_eq!(u(Op::Shr, &[0x8000_0000, 63]), 1);
    assert_eq!(u(Op::RotateLeft, &[0x8000_0001, 33]), 3);
    assert_eq!(u(Op::RotateRight, &[3, 1]), 0x8000_0001);
}

#[test]
fn bit_counting_and_fields() {
    assert_eq!(u(Op::LeadingZeros, &[0]), 32);
    assert_eq!(u(Op::TrailingZeros, &[0]), 32);
    assert_eq!(i(Op::PopCount, &[-1]), 32);
    assert_eq!(u(Op::ExtractBits, &[0xabcd_1234, 8, 8]), 0x12);
    assert_eq!(i(Op::ExtractBits, &[0xf0, 4, 4]), -1);
    assert_eq!(u(Op::ExtractBits, &[0xabcd_1234, 28, 100]), 0xa);
    assert_eq!(u(Op::ExtractBits, &[0xabcd_1234, 40, 4]), 0);
    assert_eq!(u(Op::ExtractBits, &[0xabcd_1234, 0, 32]), 0xabcd_1234);
    assert_eq!(u(Op::InsertBits, &[0xffff_ffff, 0, 8, 8]), 0xffff_00ff);
    assert_eq!(u(Op::InsertBits, &[5, 9, 0, 32]), 9);
    assert_eq!(u(Op::InsertBits, &[5, 9, 32, 8]), 5);
    assert_eq!(i(Op::InsertBits, &[0, -1, 31, 9]), i32::MIN);
}

#[test]
fn integers_wrap() {
    assert_eq!(i(Op::Add, &[i32::MAX, 1]), i32::MIN);
    assert_eq!(i(Op::Abs, &[i32::MIN]), i32::MIN);
    assert_eq!(i(Op::Neg, &[i32::MIN]), i32::MIN);
    assert_eq!(u(Op::Neg, &[1]), u32::MAX);
    assert_eq!(i(Op::MulHi, &[i32::MIN, i32::MIN]), 1 << 30);
    assert_eq!(u(Op::MulHi, &[u32::MAX, u32::MAX]), u32::MAX - 1);
    assert_eq!(i(Op::Sign, &[-9]), -1);
    assert_eq!(u(Op::Sign, &[9]), 1);
    assert_eq!(i(Op::Clamp, &[5, 9, 3]), 3);
}

#[test]
fn float_edge_cases() {
    assert_eq!(f(Op::Min, &[f32::NAN, 1.0]), 1.0);
    assert_eq!(f(Op::Min, &[1.0, f32::NAN]), 1.0);
    assert_eq!(f(Op::Max, &[f32::NAN, 1.0]), 1.0);
    assert_eq!(f(Op::Max, &[1.0, f32::NAN]), 1.0);
    assert!(f(Op::Max, &[f32::NAN, f32::NAN]).is_nan());
    assert_eq!(f(Op::Clamp, &[5.0, 9.0, 3.0]), 3.0);
    assert_eq!(f(Op::Round, &[2.5]), 2.0);
    assert_eq!(f(Op::Round, &[-0.5]).to_bits(), (-0.0f32).to_bits());
    assert_eq!(f(Op::Sign, &[-0.0]).to_bits(), 0);
    assert!(f(Op::Sign, &[f32::NAN]).is_nan());
    assert_eq!(f(Op::Fract, &[-0.25]), 0.75);
    assert!(f(Op::Fract, &[f32::INFINITY]).is_nan());
    assert_eq!(f(Op::Rsqrt, &[4.0]), 0.5);
    assert_eq!(f(Op::Rsqrt, &[0.0]), f32::INFINITY);
    assert!(f(Op::Sqrt, &[-1.0]).is_nan());
}

#[test]
fn conversions_saturate_and_round_once() {
    assert_eq!(conv(Literal::from(f32::NAN), ScalarType::I32), 0);
    assert_eq!(conv(Literal::from(3e9f32), ScalarType::I32) as i32, i32::MAX);
    assert_eq!(conv(Literal::from(-3e9f32), ScalarType::I32) as u32 as i32, i32::MIN);
    assert_eq!(conv(Literal::from(-1.5f32), ScalarType::U32), 0);
    assert_eq!(conv(Literal::from(5e9f32), ScalarType::U32) as u32, u32::MAX);
    assert_eq!(conv(Literal::from(-1.9f32), ScalarType::I32) as u32 as i32, -1);
    assert_eq!(conv(Literal::from(-1i32), ScalarType::U32) as u32, u32::MAX);
    assert_eq!(conv(Literal::from(16_777_217u32), ScalarType::F32) as u32, 16_777_216f32.to_bits());
    assert_eq!(conv(Literal::from(16_777_219u32), ScalarType::F32) as u32, 16_777_220f32.to_bits());
    assert_eq!(conv(Literal::from(-0.0f32), ScalarType::Bool), 0);
    assert_eq!(conv(Literal::from(f32::NAN), ScalarType::Bool), 1);
    assert_eq!(conv(Literal::from(true), ScalarType::F32) as u32, 1.0f32.to_bits());
}

#[test]
fn vectors() {
    let v4 = Type::vector(ScalarType::U32, Lanes::Four);
    let v = [1, 2, 3, 4];
    assert_eq!(eval(Op::Extract, v4, Type::U32, &[v, splat_low(2)]), Some(splat_low(3)));
    assert_eq!(eval(Op::Extract, v4, Type::U32, &[v, splat_low(4)]), Some(splat_low(0)));
    assert_eq!(eval(Op::Insert, v4, v4, &[v, splat_low(1), splat_low(9)]), Some([1, 9, 3, 4]));
    assert_eq!(eval(Op::Insert, v4, v4, &[v, splat_low(7), splat_low(9)]), Some(v));
    assert_eq!(eval(Op::Dot, v4, Type::U32, &[v, v]), Some(splat_low(30)));
    assert_eq!(eval(Op::Add, v4, v4, &[v, v]), Some([2, 4, 6, 8]));
    let shifted = eval(Op::Shl, v4, v4, &[v, [0, 1, 2, 3]]);
    assert_eq!(shifted, Some([1, 4, 12, 32]));
    let field = eval(Op::ExtractBits, v4, v4, &[v, splat_low(1), splat_low(2)]);
    assert_eq!(field, Some([0, 1, 1, 2]));
    let v2 = Type::vector(ScalarType::U32, Lanes::Two);
    assert_eq!(eval(Op::Construct, Type::U32, v2, &[splat_low(5), splat_low(6)]), Some([5, 6, 0, 0]));
}

#[test]
fn narrow_and_wide_integers() {
    let apply = |op: Op, ty: ScalarType, args: &[u64]| scalar(op, ty, ty, args).unwrap();
    assert_eq!(apply(Op::AddSat, ScalarType::I8, &[100, 100]), 127);
    assert_eq!(apply(Op::SubSat, ScalarType::I8, &[0x80, 1]), 0x80);
    assert_eq!(apply(Op::SubSat, ScalarType::U8, &[3, 5]), 0);
    assert_eq!(apply(Op::AddSat, ScalarType::U64, &[u64::MAX, 1]), u64::MAX);
    assert_eq!(apply(Op::MulHi, ScalarType::U64, &[u64::MAX, u64::MAX]), u64::MAX - 1);
    assert_eq!(apply(Op::MulHi, ScalarType::I64, &[u64::MAX, u64::MAX]), 0);
    assert_eq!(apply(Op::MulHi, ScalarType::I8, &[0x80, 0x80]), 0x40);
    assert_eq!(apply(Op::Div, ScalarType::I16, &[0x8000, 0xffff]), 0x8000);
    assert_eq!(apply(Op::Shl, ScalarType::U8, &[1, 9]), 2);
    assert_eq!(apply(Op::RotateRight, ScalarType::U16, &[1, 17]), 0x8000);
    assert_eq!(apply(Op::LeadingZeros, ScalarType::I8, &[1]), 7);
    assert_eq!(apply(Op::ExtractBits, ScalarType::I8, &[0xf0, 4, 4]), 0xff);
    assert_eq!(apply(Op::InsertBits, ScalarType::U64, &[0, u64::MAX, 60, 9]), 0xf << 60);
    assert_eq!(apply(Op::DotPacked, ScalarType::I32, &[0xff02_0304, 0x0201_0101]), 7);
    assert_eq!(apply(Op::DotPacked, ScalarType::U32, &[0xff00_0000, 0xff00_0000]), 65025);
    assert_eq!(apply(Op::Sign, ScalarType::I64, &[u64::MAX]), u64::MAX);
    assert_eq!(apply(Op::Abs, ScalarType::I16, &[0x8000]), 0x8000);
}

#[test]
fn packing_is_concatenation() {
    let bytes = Type::vector(ScalarType::U8, Lanes::Four);
    assert_eq!(eval(Op::Pack, bytes, Type::U32, &[[1, 2, 3, 4]]), Some(splat_low(0x0403_0201)));
    assert_eq!(eval(Op::Unpack, Type::U32, bytes, &[splat_low(0x0403_0201)]), Some([1, 2, 3, 4]));
    let words = Type::vector(ScalarType::F32, Lanes::Two);
    assert_eq!(eval(Op::Unpack, Type::U64, words, &[splat_low(7 << 32 | 9)]), Some([9, 7, 0, 0]));
    assert_eq!(result_type(Outcome::Packed, Type::F64.with_lanes(Lanes::Two), None), None);
    assert_eq!(result_type(Outcome::Packed, Type::U16.with_lanes(Lanes::Three), None), None);
    assert_eq!(result_type(Outcome::Unpacked, Type::U32, Some(words)), None);
}

#[test]
fn conversions_between_all_widths() {
    let f16 = |v: f64| FloatFormat::of(ScalarType::F16).unwrap().encode(v);
    assert_eq!(conv(Literal::from(-1i8), ScalarType::U64), u64::MAX);
    assert_eq!(conv(Literal::from(300u32), ScalarType::U8), 44);
    assert_eq!(conv(Literal::from(u64::MAX), ScalarType::F32) as u32, 1.844_674_4e19f32.to_bits());
    // Rounding to f64 first would give a midpoint of two f32 values; one rounding gives the upper neighbor.
    assert_eq!(
        conv(Literal::from((1u64 << 54) + (1 << 30) + 1), ScalarType::F32) as u32,
        (2f32.powi(54) + 2f32.powi(31)).to_bits()
    );
    assert_eq!(conv(Literal::from(i64::MIN), ScalarType::F64), (-9_223_372_036_854_775_808f64).to_bits());
    assert_eq!(conv(Literal::from(2049u32), ScalarType::F16), f16(2048.0));
    assert_eq!(conv(Literal::from(65520i64), ScalarType::F16), f16(f64::INFINITY));
    assert_eq!(
        conv(Literal::from(1.0 + 2f64.powi(-11) + 2f64.powi(-40)), ScalarType::F16),
        f16(1.0 + 2f64.powi(-10))
    );
    assert_eq!(conv(Literal::new(ScalarType::F16, f16(-1.5)), ScalarType::I8), 0xff);
    assert_eq!(conv(Literal::new(ScalarType::F16, f16(-1.5)), ScalarType::BF16), 0xbfc0);
    assert_eq!(conv(Literal::from(1e300f64), ScalarType::I64), i64::MAX as u64);
}

#[test]
fn transcendentals_at_their_named_points() {
    assert_eq!(f(Op::Tanh, &[100.0]), 1.0);
    assert!(f(Op::Pow, &[-2.0, 2.0]).is_nan());
    assert_eq!(f(Op::Pow, &[2.0, 3.0]), 8.0);
    assert_eq!(f(Op::Log2, &[0.0]), f32::NEG_INFINITY);
    assert_eq!(f(Op::Exp, &[f32::NEG_INFINITY]), 0.0);
    assert!(f(Op::Asin, &[1.5]).is_nan() && f(Op::Cos, &[f32::INFINITY]).is_nan());
}

#[test]
fn atomics_and_trip_counts() {
    assert_eq!(atomic(Op::AtomicAdd, ScalarType::U32, u64::from(u32::MAX), &[2]), Some(1));
    assert_eq!(
        atomic(Op::AtomicMin, ScalarType::I32, 1, &[u64::from(-1i32 as u32)]),
        Some(u64::from(u32::MAX))
    );
    assert_eq!(atomic(Op::AtomicCompareExchange, ScalarType::U32, 4, &[4, 9]), Some(9));
    assert_eq!(atomic(Op::AtomicCompareExchange, ScalarType::U32, 5, &[4, 9]), Some(5));
    let one = u64::from(1.0f32.to_bits());
    assert_eq!(atomic(Op::AtomicAdd, ScalarType::F32, one, &[one]), Some(u64::from(2.0f32.to_bits())));
    assert_eq!(atomic(Op::AtomicMin, ScalarType::F32, one, &[one]), None);
    assert_eq!(trip_count(ScalarType::U64, 0, u64::MAX, 1), u64::MAX);
    assert_eq!(trip_count(ScalarType::I8, 0x7f, 0x80, 0xff), 255);
    assert_eq!(trip_count(ScalarType::U32, 0, 10, 3), 4);
    assert_eq!(trip_count(ScalarType::U32, 10, 10, 1), 0);
    assert_eq!(trip_count(ScalarType::U32, 0, u64::from(u32::MAX), 1), u64::from(u32::MAX));
    let down = |start: i32, end: i32, step: i32| {
        trip_count(ScalarType::I32, u64::from(start as u32), u64::from(end as u32), u64::from(step as u32))
    };
    assert_eq!(down(i32::MAX, i32::MIN, -1), u64::from(u32::MAX));
    assert_eq!(down(-5, 5, 4), 3);
    assert_eq!(down(5, -5, 4), 0);
}

#[test]
fn every_scalar_op_is_defined_on_its_whole_domain() {
    for row in crate::OPS {
        let Semantics::Scalar { domain, operands, outcome, .. } = row.semantics else {
            continue;
        };
        for scalar_type in domain.iter() {
            for lanes in lane_counts(row.op) {
                let main = Type::vector(scalar_type, lanes);
                let stated = match outcome {
                    Outcome::Unpacked if main.size() > 1 => Type::vector(ScalarType::U8, Lanes::Two),
                    _ => main,
                };
                let Some(result) = result_type(outcome, main, Some(stated)) else { continue };
                let args = vec![[1, 1, 1, 1]; operands.len()];
                assert!(eval(row.op, main, result, &args).is_some(), "{} on {main}", row.mnemonic);
            }
        }
    }
}

#[test]
fn memory_bytes_round_trip() {
    for ty in Type::all().filter(|t| t.is_storable()) {
        let value = [0x0102_0304, 5, 0xffff_ffff, 7].map(|bits| bits & ty.scalar.mask());
        let mut bytes = vec![0; ty.size() as usize];
        write_bytes(&value, ty, &mut bytes);
        let read = read_bytes(&bytes, ty);
        assert_eq!(read[..ty.lanes.count() as usize], value[..ty.lanes.count() as usize]);
    }
}
