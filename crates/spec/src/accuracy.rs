//! Error bounds of [`Approximate`](crate::FloatContract::Approximate) ops.
//!
//! The bounds for `f32` and `f16` are those required by Vulkan ("Precision and operation of SPIR-V instructions"), or
//! follow from the formulas it permits. `bf16` is computed in `f32` and rounded. `f64`, which has only `div`, `sqrt`
//! and `rsqrt`, has the bounds of `f32` in its own units.

use core::f64::consts::{LN_2, PI};

use crate::eval::float::FloatFormat;
use crate::ops::{FloatOp, Op, TranscendentalOp};
use crate::types::ScalarType;

/// The permitted results around a true value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// Any value of the type within these limits, or NaN: the operands are outside the op's domain.
    Any {
        /// Lower limit.
        least: f64,
        /// Upper limit.
        most: f64,
    },
    /// Within the larger of these distances.
    Within {
        /// In units in the last place of the true value, in the op's type.
        ulp: f64,
        /// Absolute.
        absolute: f64,
    },
}

impl Tolerance {
    /// Any value.
    pub const ANY: Tolerance = Tolerance::Any { least: f64::NEG_INFINITY, most: f64::INFINITY };

    const fn ulp(ulp: f64) -> Self {
        Self::Within { ulp, absolute: 0.0 }
    }
}

/// An op with an error bound.
enum ApproximateOp {
    Div,
    Sqrt,
    Rsqrt,
    Transcendental(TranscendentalOp),
}

impl ApproximateOp {
    /// Returns `op`, or `None` if its result on floats is exact or correctly rounded.
    const fn of(op: Op) -> Option<Self> {
        let Some(op) = FloatOp::of(op) else { return None };
        match op {
            FloatOp::Div => Some(Self::Div),
            FloatOp::Sqrt => Some(Self::Sqrt),
            FloatOp::Rsqrt => Some(Self::Rsqrt),
            FloatOp::Transcendental(op) => Some(Self::Transcendental(op)),
            FloatOp::Compare(_)
            | FloatOp::Add
            | FloatOp::Sub
            | FloatOp::Mul
            | FloatOp::Neg
            | FloatOp::Abs
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
            | FloatOp::IsNan
            | FloatOp::IsInf => None,
        }
    }
}

/// Largest magnitude of `sin`, `cos` and `tan` operands with a bound.
pub const LARGEST_ANGLE: f64 = 32768.0;
/// Largest magnitude of `pow` exponents with a bound.
pub const LARGEST_EXPONENT: f64 = 1_048_576.0;

/// Returns the tolerance of `op` on `ty` for `args`, around the true value `truth`. The caller handles exact cases: NaN
/// operands, and zeros and infinities named in the op table; an infinite or NaN truth must be met exactly.
pub fn tolerance(op: Op, ty: ScalarType, args: &[f64], truth: f64) -> Tolerance {
    let half = ty == ScalarType::F16;
    let x = args.first().copied().unwrap_or(0.0);
    let y = args.get(1).copied().unwrap_or(0.0);
    // Error of `exp` of x: its own, and that of the rounded operand.
    let exp = |x: f64| if half { 1.0 + 2.0 * x.abs() } else { 3.0 + 2.0 * x.abs() };
    let log = if half { 2f64.powi(-7) } else { 2f64.powi(-21) };
    let angle = if half { 2f64.powi(-7) } else { 2f64.powi(-11) };
    let arc = if half { 5.0 } else { 4096.0 };
    let unit = unit(ty, 1.0);
    let bound = match ApproximateOp::of(op) {
        None => Tolerance::ulp(0.0),
        Some(ApproximateOp::Div) => {
            let format = FloatFormat::of(ty);
            let most = format.map_or(0.0, |f| 2f64.powi(f.max_exponent() - 1));
            let least = format.map_or(0.0, FloatFormat::min_normal);
            let normal = (least..=most).contains(&y.abs());
            if normal || y == 0.0 || !y.is_finite() { Tolerance::ulp(2.5) } else { Tolerance::ANY }
        }
        Some(ApproximateOp::Rsqrt) => Tolerance::ulp(2.0),
        // 1 / rsqrt(x): 2 ULP of the reciprocal root are at most 4 ULP of the root, plus 2.5 for the division.
        Some(ApproximateOp::Sqrt) => Tolerance::ulp(6.5),
        Some(ApproximateOp::Transcendental(op)) => match op {
            TranscendentalOp::Exp | TranscendentalOp::Exp2 => Tolerance::ulp(exp(x)),
            TranscendentalOp::Log | TranscendentalOp::Log2 if (0.5..=2.0).contains(&x) => {
                Tolerance::Within { ulp: 0.0, absolute: log }
            }
            TranscendentalOp::Log | TranscendentalOp::Log2 => Tolerance::ulp(3.0),
            // exp2(y * log2(x)): the errors of the logarithm and the product, scaled by the exponential.
            TranscendentalOp::Pow => {
                if !x.is_finite() || !y.is_finite() || x == 0.0 || y.abs() > LARGEST_EXPONENT {
                    Tolerance::ANY
                } else {
                    let log2 = x.abs().log2();
                    let error = if (0.5..=2.0).contains(&x) { log } else { 3.0 * log2.abs() * unit };
                    let exponent = y * log2;
                    let drift = (y.abs() * error + exponent.abs() * unit) * LN_2;
                    Tolerance::Within { ulp: exp(exponent), absolute: truth.abs() * drift.exp_m1() }
                }
            }
            TranscendentalOp::Sin | TranscendentalOp::Cos if x.abs() <= LARGEST_ANGLE => {
                Tolerance::Within { ulp: 0.0, absolute: angle }
            }
            TranscendentalOp::Sin | TranscendentalOp::Cos => Tolerance::Any { least: -1.0, most: 1.0 },
            // sin(x) / cos(x).
            TranscendentalOp::Tan if x.abs() <= LARGEST_ANGLE => {
                let (sin, cos) = x.sin_cos();
                if cos.abs() <= 2.0 * angle {
                    Tolerance::ANY
                } else {
                    let most = (sin.abs() + angle) / (cos.abs() - angle) - truth.abs();
                    Tolerance::Within { ulp: 2.5, absolute: most }
                }
            }
            TranscendentalOp::Tan => Tolerance::ANY,
            // atan2(x, sqrt(1 - x * x)), whose subtraction cancels near 1.
            TranscendentalOp::Asin | TranscendentalOp::Acos => {
                Tolerance::Within { ulp: arc, absolute: (8.0 * unit).sqrt() }
            }
            TranscendentalOp::Atan => Tolerance::ulp(arc),
            TranscendentalOp::Atan2 => {
                let least = FloatFormat::of(ty).map_or(0.0, FloatFormat::min_normal);
                let quotient = (x / y).abs();
                let special = (x == 0.0 && y == 0.0) || (x.is_infinite() && y.is_infinite());
                // The quotient must be within the domain of a bounded division.
                if special || (quotient != 0.0 && !(least..=1.0 / least).contains(&quotient)) {
                    Tolerance::Any { least: -PI * 1.01, most: PI * 1.01 }
                } else {
                    Tolerance::ulp(arc)
                }
            }
            // (exp(x) ± exp(-x)) / 2; the difference cancels near 0.
            TranscendentalOp::Sinh => {
                Tolerance::Within { ulp: 2.0 + exp(x), absolute: unit * (exp(x) + 2.0) }
            }
            TranscendentalOp::Cosh => Tolerance::ulp(2.0 + exp(x)),
            // sinh(x) / cosh(x), or 1 - 2 / (exp(2x) + 1).
            TranscendentalOp::Tanh => Tolerance::Within { ulp: 8.0, absolute: 8.0 * unit },
        },
    };
    match (ty, bound) {
        // Computed in `f32`, whose ulp is 2^-16 of this one, and rounded.
        (ScalarType::BF16, Tolerance::Within { ulp, absolute }) => Tolerance::Within {
            ulp: 0.5,
            absolute: absolute.max(ulp * self::unit(ScalarType::F32, truth)) + 0.5 * self::unit(ty, truth),
        },
        (_, bound) => bound,
    }
}

/// Returns the maximum error of `op` on `ty` within its domain, in units in the last place of the true value; `None` if
/// the op has no bound in these units.
///
/// For `exp`, `exp2` and `cosh`, whose bounds grow with the operand, this is the bound at the largest operand whose
/// result rounds to neither infinity nor 0.
pub fn worst_ulp(op: Op, ty: ScalarType) -> Option<f64> {
    let format = FloatFormat::of(ty)?;
    let half = ty == ScalarType::F16;
    // 2 to minus this is half of the smallest subnormal; smaller values round to 0.
    let binades = f64::from(format.min_exponent().abs()) + f64::from(format.precision);
    let exp = |x: f64| if half { 1.0 + 2.0 * x } else { 3.0 + 2.0 * x };
    let ulp = match ApproximateOp::of(op)? {
        ApproximateOp::Div => 2.5,
        ApproximateOp::Rsqrt => 2.0,
        ApproximateOp::Sqrt => 6.5,
        ApproximateOp::Transcendental(op) => match op {
            TranscendentalOp::Exp2 => exp(binades),
            TranscendentalOp::Exp => exp(binades * LN_2),
            TranscendentalOp::Cosh => 2.0 + exp((f64::from(format.max_exponent()) + 2.0) * LN_2),
            TranscendentalOp::Atan | TranscendentalOp::Atan2 => {
                if half {
                    5.0
                } else {
                    4096.0
                }
            }
            TranscendentalOp::Log
            | TranscendentalOp::Log2
            | TranscendentalOp::Pow
            | TranscendentalOp::Sin
            | TranscendentalOp::Cos
            | TranscendentalOp::Tan
            | TranscendentalOp::Asin
            | TranscendentalOp::Acos
            | TranscendentalOp::Sinh
            | TranscendentalOp::Tanh => return None,
        },
    };
    // `bf16` is computed in `f32`, whose ulp is 2^-16 of its own, and rounded.
    Some(if ty == ScalarType::BF16 { 0.5 + ulp / 65536.0 } else { ulp })
}

/// Returns a description of the bound of `op`: for f32, with f16 in parentheses where it differs.
pub const fn describe(op: Op) -> &'static str {
    let Some(op) = ApproximateOp::of(op) else { return "correctly rounded" };
    match op {
        ApproximateOp::Div => {
            "2.5 ULP for a divisor from the smallest normal value to 2^126 (2^14, f64: 2^1022)"
        }
        ApproximateOp::Rsqrt => "2 ULP",
        ApproximateOp::Sqrt => "6.5 ULP",
        ApproximateOp::Transcendental(op) => match op {
            TranscendentalOp::Exp | TranscendentalOp::Exp2 => "3 + 2·\\|x\\| (1 + 2·\\|x\\|) ULP",
            TranscendentalOp::Log | TranscendentalOp::Log2 => "3 ULP; 2^-21 (2^-7) absolute in [0.5, 2]",
            TranscendentalOp::Pow => "that of exp2(y · log2(x))",
            TranscendentalOp::Sin | TranscendentalOp::Cos => "2^-11 (2^-7) absolute",
            TranscendentalOp::Tan => "that of sin(x) / cos(x)",
            TranscendentalOp::Asin | TranscendentalOp::Acos => "4096 (5) ULP, or 2^-10 (2^-3.5) absolute",
            TranscendentalOp::Atan | TranscendentalOp::Atan2 => "4096 (5) ULP",
            TranscendentalOp::Sinh => "5 + 2·\\|x\\| (3 + 2·\\|x\\|) ULP, or as many of the unit at 1",
            TranscendentalOp::Cosh => "5 + 2·\\|x\\| (3 + 2·\\|x\\|) ULP",
            TranscendentalOp::Tanh => "8 ULP, or 8 of the unit at 1",
        },
    }
}

/// Returns the unit in the last place of `ty` at `value`: the distance between neighboring values of `ty`.
pub fn unit(ty: ScalarType, value: f64) -> f64 {
    let Some(format) = FloatFormat::of(ty) else { return 0.0 };
    let bits = value.abs().to_bits();
    let exponent = ((bits >> 52) as i32 - 1023).clamp(format.min_exponent(), format.max_exponent());
    f64::from(exponent - (format.precision as i32 - 1)).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_distances_between_neighbors() {
        for ty in [ScalarType::F16, ScalarType::BF16, ScalarType::F32] {
            let format = FloatFormat::of(ty).unwrap();
            for bits in [0, 1, 1 << (format.precision - 1), format.infinity() / 2, format.infinity() - 2] {
                let (low, high) = (format.decode(bits), format.decode(bits + 1));
                assert_eq!(unit(ty, low), high - low, "{ty} {bits:#x}");
            }
        }
        assert_eq!(unit(ScalarType::F64, 1.0), f64::EPSILON);
        assert_eq!(unit(ScalarType::F64, 0.0), f64::from_bits(1));
    }

    #[test]
    fn worst_error_covers_all_operands() {
        for ty in [ScalarType::F16, ScalarType::F32] {
            for (op, operands) in [
                (Op::Exp, &[0.0, -9.0, 10.9, -17.3][..]),
                (Op::Exp2, &[1.0, -24.0, 15.9]),
                (Op::Rsqrt, &[0.25]),
                (Op::Cosh, &[0.0, 11.7]),
                (Op::Atan, &[3.0]),
            ] {
                let worst = worst_ulp(op, ty).unwrap();
                for x in operands {
                    let Tolerance::Within { ulp, .. } = tolerance(op, ty, &[*x], 1.0) else {
                        panic!("{op:?} {x}")
                    };
                    assert!(ulp <= worst, "{op:?} {ty} {x}: {ulp} {worst}");
                }
            }
        }
        assert_eq!(worst_ulp(Op::Div, ScalarType::F32), Some(2.5));
        assert!(worst_ulp(Op::Div, ScalarType::BF16).is_some_and(|ulp| ulp > 0.5 && ulp < 0.51));
        assert_eq!((worst_ulp(Op::Sin, ScalarType::F32), worst_ulp(Op::Div, ScalarType::U32)), (None, None));
    }

    #[test]
    fn domains_match_the_table() {
        let div = |y: f64| tolerance(Op::Div, ScalarType::F32, &[1.0, y], 1.0 / y);
        assert_eq!(div(2f64.powi(126)), Tolerance::ulp(2.5));
        assert_eq!(div(2f64.powi(127)), Tolerance::ANY);
        assert_eq!(div(2f64.powi(-127)), Tolerance::ANY);
        let sin = |x: f64| tolerance(Op::Sin, ScalarType::F32, &[x], x.sin());
        assert_eq!(sin(LARGEST_ANGLE), Tolerance::Within { ulp: 0.0, absolute: 2f64.powi(-11) });
        assert_eq!(sin(LARGEST_ANGLE + 1.0), Tolerance::Any { least: -1.0, most: 1.0 });
    }
}
