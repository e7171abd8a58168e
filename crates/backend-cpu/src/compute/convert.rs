//! `convert` between all types.
//!
//! Rust's `as` has the semantics of the op: conversions to integers truncate and saturate, with NaN as 0; conversions
//! to floats round to nearest even.

use fulgurite_spec::ScalarType::{self, Bool, F16 as Half, F32, I32, U32};

use super::half::{BF16, F16};
use super::map::{map1, wide1};
use super::{Compute, copy};

/// Converts from a native type `$a`; `$f16` and `$bf16` are the functions to the narrow floats.
macro_rules! from {
    ($to:expr, $a:ty, $f16:expr, $bf16:expr) => {{
        let convert: Compute = match $to {
            ScalarType::Bool => |r, a| wide1(r, a, |x: $a| x != <$a>::default()),
            ScalarType::I8 => |r, a| wide1(r, a, |x: $a| x as i8),
            ScalarType::I16 => |r, a| wide1(r, a, |x: $a| x as i16),
            ScalarType::I32 => |r, a| wide1(r, a, |x: $a| x as i32),
            ScalarType::I64 => |r, a| wide1(r, a, |x: $a| x as i64),
            ScalarType::U8 => |r, a| wide1(r, a, |x: $a| x as u8),
            ScalarType::U16 => |r, a| wide1(r, a, |x: $a| x as u16),
            ScalarType::U32 => |r, a| wide1(r, a, |x: $a| x as u32),
            ScalarType::U64 => |r, a| wide1(r, a, |x: $a| x as u64),
            ScalarType::F32 => |r, a| wide1(r, a, |x: $a| x as f32),
            ScalarType::F64 => |r, a| wide1(r, a, |x: $a| x as f64),
            ScalarType::F16 => |r, a| wide1(r, a, $f16),
            ScalarType::BF16 => |r, a| wide1(r, a, $bf16),
        };
        convert
    }};
}

/// Converts from a narrow float through `f32`, which represents it exactly.
macro_rules! from_narrow {
    ($to:expr, $a:ident) => {{
        let convert: Compute = match $to {
            ScalarType::Bool => |r, a| wide1(r, a, |x: $a| x.0 != 0.0),
            ScalarType::I8 => |r, a| wide1(r, a, |x: $a| x.0 as i8),
            ScalarType::I16 => |r, a| wide1(r, a, |x: $a| x.0 as i16),
            ScalarType::I32 => |r, a| wide1(r, a, |x: $a| x.0 as i32),
            ScalarType::I64 => |r, a| wide1(r, a, |x: $a| x.0 as i64),
            ScalarType::U8 => |r, a| wide1(r, a, |x: $a| x.0 as u8),
            ScalarType::U16 => |r, a| wide1(r, a, |x: $a| x.0 as u16),
            ScalarType::U32 => |r, a| wide1(r, a, |x: $a| x.0 as u32),
            ScalarType::U64 => |r, a| wide1(r, a, |x: $a| x.0 as u64),
            ScalarType::F32 => |r, a| wide1(r, a, |x: $a| x.0),
            ScalarType::F64 => |r, a| wide1(r, a, |x: $a| f64::from(x.0)),
            ScalarType::F16 => |r, a| wide1(r, a, |x: $a| F16(x.0)),
            ScalarType::BF16 => |r, a| wide1(r, a, |x: $a| BF16(x.0)),
        };
        convert
    }};
}

/// Converts from an `f32`, or from an integer of at most 24 bits, which `f32` represents exactly.
macro_rules! from_exact {
    ($to:expr, $a:ty) => {
        from!($to, $a, |x: $a| F16(x as f32), |x: $a| BF16(x as f32))
    };
}

/// Converts from a wider integer. Values that `f32` must round are beyond the range of `f16`.
macro_rules! from_integer {
    ($to:expr, $a:ident) => {
        from!($to, $a, |x: $a| F16(x as f32), |x: $a| BF16(integer_to_odd(x.into())))
    };
}

/// Returns the function that converts `from` to `to`.
pub(super) fn compute(from: ScalarType, to: ScalarType) -> Compute {
    // Common conversions between types of one register use the narrow loop.
    match (from, to) {
        _ if from == to => return copy(from),
        (Bool | I32 | U32, I32 | U32) => return copy(U32),
        (I32 | U32, Bool) => return |r, a| map1(r, a, |x: u32| x != 0),
        (Bool | U32, F32) => return |r, a| map1(r, a, |x: u32| x as f32),
        (I32, F32) => return |r, a| map1(r, a, |x: i32| x as f32),
        (F32, I32) => return |r, a| map1(r, a, |x: f32| x as i32),
        (F32, U32) => return |r, a| map1(r, a, |x: f32| x as u32),
        (F32, Half) => return |r, a| map1(r, a, F16),
        (Half, F32) => return |r, a| map1(r, a, |x: F16| x.0),
        _ => {}
    }
    match from {
        // The bits of a `bool` are those of a `u8`.
        ScalarType::Bool | ScalarType::U8 => from_exact!(to, u8),
        ScalarType::I8 => from_exact!(to, i8),
        ScalarType::I16 => from_exact!(to, i16),
        ScalarType::U16 => from_exact!(to, u16),
        ScalarType::I32 => from_integer!(to, i32),
        ScalarType::I64 => from_integer!(to, i64),
        ScalarType::U32 => from_integer!(to, u32),
        ScalarType::U64 => from_integer!(to, u64),
        ScalarType::F16 => from_narrow!(to, F16),
        ScalarType::BF16 => from_narrow!(to, BF16),
        ScalarType::F32 => from_exact!(to, f32),
        ScalarType::F64 => from!(to, f64, |x: f64| F16(to_odd(x)), |x: f64| BF16(to_odd(x))),
    }
}

/// Rounds `value` to odd in `f32`: exact values are unchanged, others get an odd last bit, so that rounding again to
/// fewer bits is the same as rounding once.
#[inline]
fn to_odd(value: f64) -> f32 {
    let near = value as f32;
    let bits = near.to_bits();
    let error = f64::from(near).abs() - value.abs();
    // Neither condition holds for a NaN.
    if bits & 1 == 0 && error > 0.0 {
        f32::from_bits(bits - 1)
    } else if bits & 1 == 0 && error < 0.0 {
        f32::from_bits(bits + 1)
    } else {
        near
    }
}

/// Rounds an integer of at most 64 bits to odd in `f32`.
#[inline]
fn integer_to_odd(value: i128) -> f32 {
    let magnitude = value.unsigned_abs() as u64;
    let surplus = 40u32.saturating_sub(magnitude.leading_zeros());
    let lost = magnitude & ((1 << surplus) - 1);
    let kept = magnitude >> surplus | u64::from(lost != 0);
    let scale = f32::from_bits((127 + surplus) << 23);
    let value_of = kept as f32 * scale;
    if value < 0 { -value_of } else { value_of }
}
