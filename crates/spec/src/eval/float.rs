//! Float formats, and float ops.
//!
//! Every op is computed in `f64`, which represents the values of all formats exactly, and rounded once; `bf16` is first
//! rounded to `f32`, because its arithmetic is defined as that of `f32`. Where the op table permits a range of results
//! (`div`, `sqrt`, `exp`, …), these are close to the true value; [`accuracy`](crate::accuracy) defines the range.

use crate::ops::{CompareOp, FloatOp, Op, TranscendentalOp};
use crate::types::ScalarType;

/// A binary floating-point format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloatFormat {
    /// Bits of the significand, including the hidden bit.
    pub precision: u32,
    /// Bits of the exponent.
    pub exponent_bits: u32,
}

impl FloatFormat {
    /// Returns the format of a float type; `None` for other types.
    pub const fn of(ty: ScalarType) -> Option<Self> {
        match ty {
            ScalarType::F16 => Some(Self { precision: 11, exponent_bits: 5 }),
            ScalarType::BF16 => Some(Self { precision: 8, exponent_bits: 8 }),
            ScalarType::F32 => Some(Self { precision: 24, exponent_bits: 8 }),
            ScalarType::F64 => Some(Self { precision: 53, exponent_bits: 11 }),
            ScalarType::Bool
            | ScalarType::I8
            | ScalarType::I16
            | ScalarType::I32
            | ScalarType::I64
            | ScalarType::U8
            | ScalarType::U16
            | ScalarType::U32
            | ScalarType::U64 => None,
        }
    }

    /// Returns the largest exponent of a finite value.
    pub const fn max_exponent(self) -> i32 {
        (1 << (self.exponent_bits - 1)) - 1
    }

    /// Returns the exponent of the smallest normal value.
    pub const fn min_exponent(self) -> i32 {
        1 - self.max_exponent()
    }

    /// Returns the exponent of the smallest subnormal value.
    pub const fn least_exponent(self) -> i32 {
        self.min_exponent() - (self.precision as i32 - 1)
    }

    /// Returns the smallest normal value.
    pub fn min_normal(self) -> f64 {
        f64::from_bits(((self.min_exponent() + 1023) as u64) << 52)
    }

    /// Returns the bits of positive infinity.
    pub const fn infinity(self) -> u64 {
        ((1 << self.exponent_bits) - 1) << (self.precision - 1)
    }

    /// Returns the mask of the sign bit.
    pub const fn sign_bit(self) -> u64 {
        1 << (self.precision + self.exponent_bits - 1)
    }

    /// Returns the bits of a quiet NaN.
    pub const fn nan(self) -> u64 {
        self.infinity() | 1 << (self.precision - 2)
    }

    /// Returns the exact value of `bits`; for a NaN, some NaN.
    pub fn decode(self, bits: u64) -> f64 {
        if self.precision == 53 {
            return f64::from_bits(bits);
        }
        if self.precision == 24 {
            return f64::from(f32::from_bits(bits as u32));
        }
        let magnitude = bits & (self.sign_bit() - 1);
        let value = if magnitude >= self.infinity() {
            if magnitude == self.infinity() { f64::INFINITY } else { f64::NAN }
        } else {
            let fraction = magnitude & ((1 << (self.precision - 1)) - 1);
            let exponent = (magnitude >> (self.precision - 1)) as i32;
            let (significand, exponent) =
                if exponent == 0 { (fraction, 1) } else { (fraction | 1 << (self.precision - 1), exponent) };
            // The factors and the product are exact, because no format other than `f64` reaches below 2^-1022.
            significand as f64 * power_of_two(self.least_exponent() + exponent - 1)
        };
        if bits & self.sign_bit() != 0 { -value } else { value }
    }

    /// Rounds `value` to nearest, ties to even.
    pub fn encode(self, value: f64) -> u64 {
        if self.precision == 53 {
            return value.to_bits();
        }
        if self.precision == 24 {
            return u64::from((value as f32).to_bits());
        }
        if value.is_nan() {
            return self.nan();
        }
        let bits = value.abs().to_bits();
        if bits >= f64::INFINITY.to_bits() {
            return self.infinity() | if value < 0.0 { self.sign_bit() } else { 0 };
        }
        let fraction = bits & ((1 << 52) - 1);
        let (significand, exponent) = match bits >> 52 {
            0 => (fraction, -1074),
            biased => (fraction | 1 << 52, biased as i32 - 1075),
        };
        self.round(value.is_sign_negative(), significand, exponent)
    }

    /// Rounds `±significand × 2^exponent` to nearest, ties to even.
    pub fn round(self, negative: bool, significand: u64, exponent: i32) -> u64 {
        let sign = if negative { self.sign_bit() } else { 0 };
        if significand == 0 {
            return sign;
        }
        let top = 63 - significand.leading_zeros() as i32 + exponent;
        if top > self.max_exponent() {
            return sign | self.infinity();
        }
        // Exponent of the last bit kept.
        let unit = (top - (self.precision as i32 - 1)).max(self.least_exponent());
        let shift = unit - exponent;
        let kept = if shift <= 0 {
            significand << -shift
        } else if shift > 64 {
            0
        } else {
            let kept = significand.checked_shr(shift as u32).unwrap_or(0);
            let rest = significand << (64 - shift);
            let half = 1u64 << 63;
            kept + u64::from(rest > half || (rest == half && kept & 1 == 1))
        };
        // Subnormals have the exponent field 0, and the hidden bit of normals adds 1 to it, so carries propagate
        // correctly, also into infinity.
        let field = (unit - self.least_exponent()) as u64;
        sign | ((field << (self.precision - 1)) + kept)
    }

    /// Returns whether `bits` are a NaN.
    pub const fn is_nan(self, bits: u64) -> bool {
        bits & (self.sign_bit() - 1) > self.infinity()
    }

    /// Returns whether `bits` are a zero of either sign.
    pub const fn is_zero(self, bits: u64) -> bool {
        bits & (self.sign_bit() - 1) == 0
    }

    /// Returns whether `bits` are a subnormal value.
    pub const fn is_subnormal(self, bits: u64) -> bool {
        let magnitude = bits & (self.sign_bit() - 1);
        magnitude != 0 && magnitude < 1 << (self.precision - 1)
    }
}

/// Returns a power of two that is a normal `f64`.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// Returns `a + b` rounded to odd: inexact sums get an odd last bit, so that rounding to a format of at most 51 bits is
/// equivalent to rounding the exact sum once.
fn add_to_odd(a: f64, b: f64) -> f64 {
    let sum = a + b;
    if !sum.is_finite() {
        return sum;
    }
    let bb = sum - a;
    let error = (a - (sum - bb)) + (b - bb);
    if error == 0.0 || sum.to_bits() & 1 == 1 {
        return sum;
    }
    // The sum is even, and the exact sum lies in the direction of the error.
    let away = (error > 0.0) == (sum > 0.0);
    f64::from_bits(if away { sum.to_bits() + 1 } else { sum.to_bits() - 1 })
}

/// Defines the ops on one of Rust's float types as functions.
macro_rules! native_ops {
    ($name:ident, $t:ty) => {
        #[doc = concat!("Ops on `", stringify!($name), "`.")]
        pub mod $name {
            /// Returns −1, 0 or 1; NaN for NaN.
            #[inline]
            pub fn sign(a: $t) -> $t {
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
            /// Returns the smaller operand, or the one that is not NaN.
            #[inline]
            pub fn min(a: $t, b: $t) -> $t {
                if a.is_nan() || b < a { b } else { a }
            }
            /// Returns the larger operand, or the one that is not NaN.
            #[inline]
            pub fn max(a: $t, b: $t) -> $t {
                if a.is_nan() || b > a { b } else { a }
            }
            /// Returns `min(max(x, lo), hi)`.
            #[inline]
            pub fn clamp(x: $t, lo: $t, hi: $t) -> $t {
                min(max(x, lo), hi)
            }
            /// Returns `a × b + c` with one rounding.
            #[inline]
            pub fn fma(a: $t, b: $t, c: $t) -> $t {
                a.mul_add(b, c)
            }
            /// Returns `a × b + c` with a rounding after each step, the other permitted result of `fma`.
            #[inline]
            pub fn fma_unfused(a: $t, b: $t, c: $t) -> $t {
                a * b + c
            }
            /// Returns `x − floor(x)`.
            #[inline]
            pub fn fract(a: $t) -> $t {
                a - a.floor()
            }
            /// Returns the reciprocal square root, rounded twice.
            #[inline]
            pub fn rsqrt(a: $t) -> $t {
                1.0 / a.sqrt()
            }
        }
    };
}

/// Typed functions on Rust's float types.
pub mod native {
    native_ops!(f32, f32);
    native_ops!(f64, f64);
}

/// Returns a power as defined by the op table: NaN if `x` is below zero; otherwise, 1 to any power and any value to the
/// power 0 are 1, except for NaNs.
fn pow(x: f64, y: f64) -> f64 {
    if x.is_nan() || y.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    x.abs().powf(y)
}

pub(super) fn convert(ty: FloatFormat, bits: u64, to: ScalarType) -> u64 {
    let value = ty.decode(bits);
    // `as` truncates, saturates, and converts NaN to 0.
    match to {
        ScalarType::I8 => u64::from(value as i8 as u8),
        ScalarType::I16 => u64::from(value as i16 as u16),
        ScalarType::I32 => u64::from(value as i32 as u32),
        ScalarType::I64 => value as i64 as u64,
        ScalarType::U8 => u64::from(value as u8),
        ScalarType::U16 => u64::from(value as u16),
        ScalarType::U32 => u64::from(value as u32),
        ScalarType::U64 => value as u64,
        ScalarType::Bool => u64::from(value != 0.0),
        ScalarType::F16 | ScalarType::BF16 | ScalarType::F32 | ScalarType::F64 => {
            let format = FloatFormat::of(to).filter(|format| *format != ty);
            format.map_or(bits, |format| format.encode(value))
        }
    }
}

/// Returns the result of `op` on exact operands, before rounding to the operands' format.
///
/// Sums and fused products are rounded to odd in `f64`; products are exact for all formats but `f64`; other results are
/// within a few ulp of `f64`.
fn value(op: FloatOp, wide: bool, args: &[f64]) -> Option<f64> {
    let a = *args.first()?;
    let arg = |i: usize| args.get(i).copied();
    let add = |a: f64, b: f64| if wide { a + b } else { add_to_odd(a, b) };
    Some(match op {
        FloatOp::Add => add(a, arg(1)?),
        FloatOp::Sub => add(a, -arg(1)?),
        FloatOp::Mul => a * arg(1)?,
        FloatOp::Div => a / arg(1)?,
        FloatOp::Neg => -a,
        FloatOp::Abs => a.abs(),
        FloatOp::Sign => native::f64::sign(a),
        FloatOp::Min => native::f64::min(a, arg(1)?),
        FloatOp::Max => native::f64::max(a, arg(1)?),
        FloatOp::Clamp => native::f64::clamp(a, arg(1)?, arg(2)?),
        FloatOp::Fma if wide => a.mul_add(arg(1)?, arg(2)?),
        FloatOp::Fma => add_to_odd(a * arg(1)?, arg(2)?),
        FloatOp::Floor => a.floor(),
        FloatOp::Ceil => a.ceil(),
        FloatOp::Trunc => a.trunc(),
        FloatOp::Round => a.round_ties_even(),
        FloatOp::Fract => add(a, -a.floor()),
        FloatOp::Sqrt => a.sqrt(),
        FloatOp::Rsqrt => 1.0 / a.sqrt(),
        FloatOp::Transcendental(op) => match op {
            TranscendentalOp::Exp => a.exp(),
            TranscendentalOp::Exp2 => a.exp2(),
            TranscendentalOp::Log => a.ln(),
            TranscendentalOp::Log2 => a.log2(),
            TranscendentalOp::Pow => pow(a, arg(1)?),
            TranscendentalOp::Sin => a.sin(),
            TranscendentalOp::Cos => a.cos(),
            TranscendentalOp::Tan => a.tan(),
            TranscendentalOp::Asin => a.asin(),
            TranscendentalOp::Acos => a.acos(),
            TranscendentalOp::Atan => a.atan(),
            TranscendentalOp::Atan2 => a.atan2(arg(1)?),
            TranscendentalOp::Sinh => a.sinh(),
            TranscendentalOp::Cosh => a.cosh(),
            TranscendentalOp::Tanh => a.tanh(),
        },
        FloatOp::Compare(_) | FloatOp::IsNan | FloatOp::IsInf => return None,
    })
}

/// Returns the true result of a float op on exact operands, to the accuracy of `f64`. Oracle for ops with an error
/// bound.
pub fn truth(op: Op, args: &[f64]) -> Option<f64> {
    value(FloatOp::of(op)?, true, args)
}

pub(super) fn apply(ty: FloatFormat, op: FloatOp, bits: &[u64]) -> Option<u64> {
    let mut args = [0.0; 4];
    let args = args.get_mut(..bits.len())?;
    for (arg, bits) in args.iter_mut().zip(bits) {
        *arg = ty.decode(*bits);
    }
    let a = *args.first()?;
    match op {
        FloatOp::Compare(op) => {
            let b = args.get(1)?;
            Some(u64::from(match op {
                CompareOp::Eq => a == *b,
                CompareOp::Ne => a != *b,
                CompareOp::Lt => a < *b,
                CompareOp::Le => a <= *b,
                CompareOp::Gt => a > *b,
                CompareOp::Ge => a >= *b,
            }))
        }
        FloatOp::IsNan => Some(u64::from(a.is_nan())),
        FloatOp::IsInf => Some(u64::from(a.is_infinite())),
        // Only the sign bit changes, so NaN payloads are preserved.
        FloatOp::Neg => Some(bits[0] ^ ty.sign_bit()),
        FloatOp::Abs => Some(bits[0] & (ty.sign_bit() - 1)),
        FloatOp::Add
        | FloatOp::Sub
        | FloatOp::Mul
        | FloatOp::Div
        | FloatOp::Sign
        | FloatOp::Min
        | FloatOp::Max
        | FloatOp::Clamp
        | FloatOp::Fma
        | FloatOp::Floor
        | FloatOp::Ceil
        | FloatOp::Trunc
        | FloatOp::Round
        | FloatOp::Fract
        | FloatOp::Sqrt
        | FloatOp::Rsqrt
        | FloatOp::Transcendental(_) => {
            let exact = value(op, ty.precision == 53, args)?;
            // Arithmetic on bf16 is that of f32, rounded once more.
            Some(ty.encode(if ty.precision == 8 { f64::from(exact as f32) } else { exact }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const F16: FloatFormat = FloatFormat { precision: 11, exponent_bits: 5 };
    const BF16: FloatFormat = FloatFormat { precision: 8, exponent_bits: 8 };

    #[test]
    fn narrow_formats_round_trip() {
        for format in [F16, BF16] {
            for bits in 0..=0xffffu64 {
                let value = format.decode(bits);
                let wanted = if value.is_nan() { format.nan() } else { bits };
                assert_eq!(format.encode(value), wanted, "{bits:#x}");
            }
        }
    }

    #[test]
    fn rounding_is_to_nearest_even() {
        // Midpoints between neighbors round to even, other values to the nearer neighbor.
        for format in [F16, BF16] {
            for bits in 0..format.infinity() - 1 {
                let (low, high) = (format.decode(bits), format.decode(bits + 1));
                let middle = (low + high) / 2.0;
                assert_eq!(format.encode(middle), bits + (bits & 1), "{bits:#x}");
                assert_eq!(format.encode(f64::from_bits(middle.to_bits() + 1)), bits + 1, "{bits:#x}");
                assert_eq!(format.encode(f64::from_bits(middle.to_bits() - 1)), bits, "{bits:#x}");
            }
        }
        assert_eq!(F16.encode(65519.9), 0x7bff);
        assert_eq!(F16.encode(65520.0), F16.infinity());
        assert_eq!(F16.encode(f64::from_bits(1)), 0);
        assert_eq!(BF16.encode(-f64::MAX), BF16.infinity() | BF16.sign_bit());
    }

    #[test]
    fn general_rounding_agrees_with_the_hardware() {
        let single = FloatFormat { precision: 24, exponent_bits: 8 };
        let mut bits = 0x3ff0_0000_0000_0001u64;
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            // Exponents around those of f32, including subnormals and overflows.
            let value =
                f64::from_bits(bits & 0x800f_ffff_ffff_ffff | (1023 - 160 + (bits >> 52) % 320) << 52);
            let exponent = (value.to_bits() >> 52 & 0x7ff) as i32 - 1075;
            let significand = value.to_bits() & ((1 << 52) - 1) | 1 << 52;
            let ours = single.round(value < 0.0, significand, exponent);
            assert_eq!(ours, u64::from((value as f32).to_bits()), "{value:e}");
        }
    }

    #[test]
    fn sums_are_rounded_once() {
        // 1 + 2^-11 is the midpoint of two f16 values; 2^-60 more rounds up, but is lost in `f64`.
        let middle = 1.0 + 2f64.powi(-11);
        assert_eq!(middle + 2f64.powi(-60), middle);
        assert_eq!(F16.encode(add_to_odd(middle, 2f64.powi(-60))), 0x3c01);
        assert_eq!(F16.encode(add_to_odd(middle, -2f64.powi(-60))), 0x3c00);
        assert_eq!(F16.encode(add_to_odd(middle, 0.0)), 0x3c00);
        let next = f64::from_bits(middle.to_bits() + 1);
        assert_eq!(add_to_odd(-next, -2f64.powi(-60)), -next);
    }

    #[test]
    fn bf16_is_rounded_to_f32_first() {
        // 1 + 2^-8 + 2^-40: f32 loses the last term, and the tie rounds to even.
        let bits = |v: f64| BF16.encode(v);
        let args = [bits(1.0 + 2f64.powi(-7)), bits(1.0), bits(0.0)];
        assert_eq!(apply(BF16, FloatOp::Fma, &args), Some(0x3f81));
        let fused = [bits(2f64.powi(-20)), bits(2f64.powi(-20)), bits(1.0)];
        assert_eq!(apply(BF16, FloatOp::Fma, &fused), Some(0x3f80));
    }
}
