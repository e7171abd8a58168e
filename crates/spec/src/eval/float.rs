//! Ops on `f32`.
//!
//! Where the op table allows a range of results (`div`, `sqrt`, `rsqrt`, `fma`) these give one near the
//! true value; [`FloatContract`](crate::FloatContract) says what else is accepted.

use crate::ops::Op;
use crate::types::ScalarType;

/// −1, 0 or 1 as a float; NaN for NaN.
#[inline]
pub fn sign(a: f32) -> f32 {
    if a > 0.0 {
        1.0
    } else if a < 0.0 {
        -1.0
    } else if a.is_nan() {
        a
    } else {
        0.0
    }
}

/// The smaller; the operand that is not NaN if one is.
#[inline]
pub fn min(a: f32, b: f32) -> f32 {
    if a.is_nan() || b < a { b } else { a }
}

/// The larger; the operand that is not NaN if one is.
#[inline]
pub fn max(a: f32, b: f32) -> f32 {
    if a.is_nan() || b > a { b } else { a }
}

/// `min(max(x, lo), hi)`.
#[inline]
pub fn clamp(x: f32, lo: f32, hi: f32) -> f32 {
    min(max(x, lo), hi)
}

/// `a × b + c` with one rounding.
#[inline]
pub fn fma(a: f32, b: f32, c: f32) -> f32 {
    a.mul_add(b, c)
}

/// `a × b + c` with a rounding after each step: the other value that `fma` may have.
#[inline]
pub fn fma_unfused(a: f32, b: f32, c: f32) -> f32 {
    a * b + c
}

/// `x − floor(x)`.
#[inline]
pub fn fract(a: f32) -> f32 {
    a - a.floor()
}

/// The reciprocal square root, by way of `f64`.
#[inline]
pub fn rsqrt(a: f32) -> f32 {
    (1.0 / f64::from(a).sqrt()) as f32
}

pub(super) fn convert(value: f32, to: ScalarType) -> u64 {
    u64::from(match to {
        ScalarType::Bool => u32::from(value != 0.0),
        // `as` truncates, saturates, and takes NaN to 0.
        ScalarType::I32 => value as i32 as u32,
        ScalarType::U32 => value as u32,
        ScalarType::F32 => value.to_bits(),
    })
}

pub(super) fn apply(op: Op, args: &[u64]) -> Option<u64> {
    let arg = |i: usize| args.get(i).map(|v| f32::from_bits(*v as u32));
    let a = arg(0)?;
    let value = match op {
        Op::Add => a + arg(1)?,
        Op::Sub => a - arg(1)?,
        Op::Mul => a * arg(1)?,
        Op::Div => a / arg(1)?,
        Op::Neg => -a,
        Op::Abs => a.abs(),
        Op::Sign => sign(a),
        Op::Min => min(a, arg(1)?),
        Op::Max => max(a, arg(1)?),
        Op::Clamp => clamp(a, arg(1)?, arg(2)?),
        Op::Fma => fma(a, arg(1)?, arg(2)?),
        Op::Floor => a.floor(),
        Op::Ceil => a.ceil(),
        Op::Trunc => a.trunc(),
        Op::Round => a.round_ties_even(),
        Op::Fract => fract(a),
        Op::Sqrt => a.sqrt(),
        Op::Rsqrt => rsqrt(a),
        Op::Eq => return Some(u64::from(a == arg(1)?)),
        Op::Ne => return Some(u64::from(a != arg(1)?)),
        Op::Lt => return Some(u64::from(a < arg(1)?)),
        Op::Le => return Some(u64::from(a <= arg(1)?)),
        Op::Gt => return Some(u64::from(a > arg(1)?)),
        Op::Ge => return Some(u64::from(a >= arg(1)?)),
        Op::IsNan => return Some(u64::from(a.is_nan())),
        Op::IsInf => return Some(u64::from(a.is_infinite())),
        _ => return None,
    };
    Some(u64::from(value.to_bits()))
}
