//! Exponentials, logarithms and trigonometric functions of vectors of `f32`.
//!
//! Each reduces its operand to a short interval, on which a polynomial is close to the function, and undoes the reduction.
//! The coefficients were fitted so that the largest relative error of the result is about as small as possible: by weighted
//! least squares at 2,000 Chebyshev nodes, in `f64`, with weights that grew with the errors in 300 rounds.

use fulgurite_spec::TranscendentalOp;

use super::Lowering;
use super::scalar::ONE;
use super::vector::SIGN;
use crate::native::program::{Class, Kind, Reg, Relation, ShiftOp, Step, VectorOp1, VectorOp2};

/// Coefficients of (eˣ − 1 − x) / x², for magnitudes up to ln 2 / 2. Like all that follow, they begin with that of the lowest
/// power.
const EXP: [f32; 5] = [0.5, 0.166_665_2, 0.041_666_206, 0.008_368_882, 0.001_395_047_9];
/// Coefficients of (2ˣ − 1) / x, for magnitudes up to 0.5.
const EXP2: [f32; 6] = [LN_2[0], 0.240_226_5, 0.055_503_28, 0.009_618_004, 0.001_340_027, 0.000_154_763];
/// Coefficients of (ln(1 + x) − x + x² / 2) / x³, for 1 + x from √½ to √2.
const LOG: [f32; 9] = [
    0.333_333_13,
    -0.250_000_1,
    0.200_021_19,
    -0.166_679_96,
    0.142_195_52,
    -0.124_055_89,
    0.118_881_635,
    -0.116_756_506,
    0.067_466_356,
];
/// Coefficients of (sin x / x − 1) / x², by powers of x², for magnitudes up to π / 4.
const SIN: [f32; 3] = [-0.166_666_55, 0.008_332_178, -0.000_195_173];
/// Coefficients of (cos x − 1 + x² / 2) / x⁴, by powers of x², for magnitudes up to π / 4.
const COS: [f32; 3] = [0.041_666_646, -0.001_388_736_8, 2.443_845_2e-5];
/// Coefficients of (arcsin x / x − 1) / x², by powers of x², for magnitudes up to 0.5.
const ASIN: [f32; 5] = [0.166_667_54, 0.074_952_416, 0.045_477_1, 0.024_147_602, 0.042_218_566];
/// Coefficients of (arctan x / x − 1) / x², by powers of x², for magnitudes up to 1.
const ATAN: [f32; 9] = [
    -0.333_333_02,
    0.199_986_38,
    -0.142_652_45,
    0.109_575_756,
    -0.084_194_58,
    0.058_234_524,
    -0.031_455_673,
    0.011_064_426,
    -0.001_827_209_5,
];
/// Coefficients of (tanh x / x − 1) / x², by powers of x², for magnitudes up to [`SMALL_TANH`].
const TANH: [f32; 5] = [-0.333_332_84, 0.133_314_91, -0.053_743_497, 0.020_650_586, -0.005_717_043_8];
const SMALL_TANH: f32 = 0.625;
/// Coefficients of (sinh x / x − 1) / x², by powers of x², for magnitudes up to 1.
const SINH: [f32; 3] = [0.166_667_18, 0.008_330_211, 0.000_203_774_05];

/// ln 2, as a sum.
const LN_2: [f32; 2] = [core::f32::consts::LN_2, -1.904_654_2e-9];
/// π / 2, as a sum.
const HALF_PI: [f32; 3] = [core::f32::consts::FRAC_PI_2, -4.371_139e-8, -1.715_124_5e-15];
const TWO_OVER_PI: f32 = core::f32::consts::FRAC_2_PI;
/// The largest magnitude of angles that are reduced; larger ones count as 0.
const LARGEST_ANGLE: f32 = 4_194_304.0;

impl Lowering<'_> {
    /// Compiles an op on one component.
    pub(super) fn transcendental(&mut self, op: TranscendentalOp, a: Reg, b: Reg) -> Reg {
        match op {
            TranscendentalOp::Exp => self.exp(a),
            TranscendentalOp::Exp2 => self.exp2(a),
            TranscendentalOp::Log => {
                let [exponent, log] = self.log_parts(a);
                let (low, high) = (self.float(LN_2[1]), self.float(LN_2[0]));
                let log = self.fma(exponent, low, log);
                let log = self.fma(exponent, high, log);
                self.log_of_special(a, log)
            }
            TranscendentalOp::Log2 => {
                let log = self.log2(a);
                self.log_of_special(a, log)
            }
            TranscendentalOp::Pow => self.pow(a, b),
            TranscendentalOp::Sin => self.sin_cos(a)[0],
            TranscendentalOp::Cos => self.sin_cos(a)[1],
            TranscendentalOp::Tan => {
                let [sin, cos] = self.sin_cos(a);
                self.vector2(VectorOp2::FloatDiv, sin, cos)
            }
            TranscendentalOp::Asin => self.asin_acos(a)[0],
            TranscendentalOp::Acos => self.asin_acos(a)[1],
            TranscendentalOp::Atan => {
                let one = self.float(1.0);
                self.angle(a, one)
            }
            TranscendentalOp::Atan2 => self.angle(a, b),
            TranscendentalOp::Sinh => self.sinh(a),
            TranscendentalOp::Cosh => {
                let [half, inverse] = self.half_exponentials(a);
                self.vector2(VectorOp2::FloatAdd, half, inverse)
            }
            TranscendentalOp::Tanh => self.tanh(a),
        }
    }

    fn float(&mut self, value: f32) -> Reg {
        self.splat(value.to_bits())
    }

    pub(super) fn fma(&mut self, a: Reg, b: Reg, c: Reg) -> Reg {
        let to = self.reg(Class::Vector);
        self.push(Step::Fma { to, a, b, c });
        to
    }

    /// Returns the value of a polynomial.
    fn polynomial(&mut self, x: Reg, coefficients: &[f32]) -> Reg {
        let Some((last, others)) = coefficients.split_last() else { return self.splat(0) };
        let mut sum = self.float(*last);
        for coefficient in others.iter().rev() {
            let coefficient = self.float(*coefficient);
            sum = self.fma(sum, x, coefficient);
        }
        sum
    }

    /// Returns `x + x · square · p(square)`.
    fn odd(&mut self, x: Reg, square: Reg, coefficients: &[f32]) -> Reg {
        let (sum, cube) =
            (self.polynomial(square, coefficients), self.vector2(VectorOp2::FloatMul, x, square));
        self.fma(cube, sum, x)
    }

    fn is_nan(&mut self, a: Reg) -> Reg {
        self.compare(Relation::Ne, Kind::Float, a, a)
    }

    /// Returns `magnitude` with the sign of `sign`.
    fn with_sign_of(&mut self, magnitude: Reg, sign: Reg) -> Reg {
        let bit = self.splat(SIGN);
        let (sign, magnitude) = (self.vector2(VectorOp2::And, sign, bit), self.magnitude(magnitude));
        self.vector2(VectorOp2::Or, magnitude, sign)
    }

    // Exponentials.

    /// Returns `a` between limits beyond which the result is 0 or infinite anyway.
    fn limited(&mut self, a: Reg, least: f32, most: f32) -> Reg {
        let (least, most) = (self.float(least), self.float(most));
        let raised = self.vector2(VectorOp2::FloatMax, a, least);
        self.vector2(VectorOp2::FloatMin, raised, most)
    }

    /// Returns `value · 2^exponent`, for a value near 1 and an exponent that is an integer. Two factors, because one may be
    /// too large or too small for the type; only the last product is rounded.
    fn scaled(&mut self, value: Reg, exponent: Reg) -> Reg {
        let exponent = self.vector1(VectorOp1::SignedOfFloat, exponent);
        let half = self.shift_by(ShiftOp::RightSigned, exponent, 1);
        let rest = self.vector2(VectorOp2::Sub, exponent, half);
        let mut scaled = value;
        for part in [half, rest] {
            let bias = self.splat(127);
            let biased = self.vector2(VectorOp2::Add, part, bias);
            let factor = self.shift_by(ShiftOp::Left, biased, 23);
            scaled = self.vector2(VectorOp2::FloatMul, scaled, factor);
        }
        scaled
    }

    /// Returns `result`, or the operand where that is NaN.
    fn unless_nan(&mut self, a: Reg, result: Reg) -> Reg {
        let is_nan = self.is_nan(a);
        self.blend(is_nan, a, result)
    }

    fn exp(&mut self, a: Reg) -> Reg {
        let x = self.limited(a, -105.0, 89.0);
        let (scale, one) = (self.float(core::f32::consts::LOG2_E), self.float(1.0));
        let exponent = self.vector2(VectorOp2::FloatMul, x, scale);
        let exponent = self.vector1(VectorOp1::Round, exponent);
        let [high, low] = LN_2.map(|part| self.float(-part));
        let rest = self.fma(exponent, high, x);
        let rest = self.fma(exponent, low, rest);
        let square = self.vector2(VectorOp2::FloatMul, rest, rest);
        let sum = self.polynomial(rest, &EXP);
        let sum = self.fma(sum, square, rest);
        let sum = self.vector2(VectorOp2::FloatAdd, sum, one);
        let result = self.scaled(sum, exponent);
        self.unless_nan(a, result)
    }

    fn exp2(&mut self, a: Reg) -> Reg {
        let x = self.limited(a, -152.0, 129.0);
        let (exponent, one) = (self.vector1(VectorOp1::Round, x), self.float(1.0));
        let rest = self.vector2(VectorOp2::FloatSub, x, exponent);
        let sum = self.polynomial(rest, &EXP2);
        let sum = self.fma(sum, rest, one);
        let result = self.scaled(sum, exponent);
        self.unless_nan(a, result)
    }

    // Logarithms.

    /// Returns the exponent of `a`, and the natural logarithm of its significand, which is from √½ to √2. `a` is a finite
    /// positive number.
    fn log_parts(&mut self, a: Reg) -> [Reg; 2] {
        let (least, zero, one) = (self.float(f32::MIN_POSITIVE), self.splat(0), self.float(1.0));
        let (up, down) = (self.float(8_388_608.0), self.float(-23.0));
        let is_subnormal = self.compare(Relation::Lt, Kind::Float, a, least);
        let raised = self.vector2(VectorOp2::FloatMul, a, up);
        let (x, offset) = (self.blend(is_subnormal, raised, a), self.blend(is_subnormal, down, zero));
        // The exponent is rounded so that the significand lies around 1: its bits minus those of √½.
        let root = self.splat(core::f32::consts::FRAC_1_SQRT_2.to_bits());
        let above = self.vector2(VectorOp2::Sub, x, root);
        let exponent = self.shift_by(ShiftOp::RightSigned, above, 23);
        let moved = self.shift_by(ShiftOp::Left, exponent, 23);
        let significand = self.vector2(VectorOp2::Sub, x, moved);
        let exponent = self.vector1(VectorOp1::FloatOfSigned, exponent);
        let exponent = self.vector2(VectorOp2::FloatAdd, exponent, offset);
        let t = self.vector2(VectorOp2::FloatSub, significand, one);
        let square = self.vector2(VectorOp2::FloatMul, t, t);
        let (sum, minus_half) = (self.polynomial(t, &LOG), self.float(-0.5));
        let sum = self.fma(sum, t, minus_half);
        [exponent, self.fma(sum, square, t)]
    }

    /// Returns the logarithm to base 2 of a finite positive number.
    fn log2(&mut self, a: Reg) -> Reg {
        let [exponent, log] = self.log_parts(a);
        let scale = self.float(core::f32::consts::LOG2_E);
        self.fma(log, scale, exponent)
    }

    /// Returns the logarithm of numbers that have no exponent, or are negative.
    fn log_of_special(&mut self, a: Reg, log: Reg) -> Reg {
        let (zero, infinity, least, nan) =
            (self.splat(0), self.float(f32::INFINITY), self.float(f32::NEG_INFINITY), self.float(f32::NAN));
        let is_finite = self.compare(Relation::Lt, Kind::Float, a, infinity);
        let is_zero = self.compare(Relation::Eq, Kind::Float, a, zero);
        let is_negative = self.compare(Relation::Lt, Kind::Float, a, zero);
        // Infinity and NaN are their own logarithms.
        let log = self.blend(is_finite, log, a);
        let log = self.blend(is_zero, least, log);
        self.blend(is_negative, nan, log)
    }

    fn pow(&mut self, a: Reg, b: Reg) -> Reg {
        let (zero, one, nan) = (self.splat(0), self.float(1.0), self.float(f32::NAN));
        let log = self.log2(a);
        let log = self.log_of_special(a, log);
        let exponent = self.vector2(VectorOp2::FloatMul, b, log);
        let power = self.exp2(exponent);
        let is_zero = self.compare(Relation::Eq, Kind::Float, b, zero);
        let power = self.blend(is_zero, one, power);
        let is_negative = self.compare(Relation::Lt, Kind::Float, a, zero);
        self.blend(is_negative, nan, power)
    }

    // Angles.

    fn sin_cos(&mut self, a: Reg) -> [Reg; 2] {
        let (magnitude, most, zero) = (self.magnitude(a), self.float(LARGEST_ANGLE), self.splat(0));
        let is_beyond = self.compare(Relation::Gt, Kind::Float, magnitude, most);
        // 0, but NaN for infinities and NaN.
        let none = self.vector2(VectorOp2::FloatMul, a, zero);
        let x = self.blend(is_beyond, none, a);
        let scale = self.float(TWO_OVER_PI);
        let turns = self.vector2(VectorOp2::FloatMul, x, scale);
        let turns = self.vector1(VectorOp1::Round, turns);
        let mut rest = x;
        for part in HALF_PI {
            let part = self.float(-part);
            rest = self.fma(turns, part, rest);
        }
        let square = self.vector2(VectorOp2::FloatMul, rest, rest);
        let sin = self.odd(rest, square, &SIN);
        let fourth = self.vector2(VectorOp2::FloatMul, square, square);
        let (sum, minus_half, one) = (self.polynomial(square, &COS), self.float(-0.5), self.float(1.0));
        let cos = self.fma(square, minus_half, one);
        let cos = self.fma(sum, fourth, cos);
        // Each quarter of a turn exchanges the two, and changes one sign.
        let quarters = self.vector1(VectorOp1::SignedOfFloat, turns);
        let (odd, sign) = (self.splat(1), self.splat(SIGN));
        let is_odd = self.vector2(VectorOp2::And, quarters, odd);
        let is_odd = self.compare(Relation::Eq, Kind::Unsigned, is_odd, odd);
        let [mut of_sin, mut of_cos] = [self.blend(is_odd, cos, sin), self.blend(is_odd, sin, cos)];
        let next = self.vector2(VectorOp2::Add, quarters, odd);
        for (value, quarters) in [(&mut of_sin, quarters), (&mut of_cos, next)] {
            let bit = self.shift_by(ShiftOp::Left, quarters, 30);
            let bit = self.vector2(VectorOp2::And, bit, sign);
            *value = self.vector2(VectorOp2::Xor, *value, bit);
        }
        [of_sin, of_cos]
    }

    fn asin_acos(&mut self, a: Reg) -> [Reg; 2] {
        let (magnitude, half, one) = (self.magnitude(a), self.float(0.5), self.float(1.0));
        // Above 0.5: arcsin x = π/2 − 2 · arcsin √((1 − x) / 2).
        let is_large = self.compare(Relation::Gt, Kind::Float, magnitude, half);
        let distance = self.vector2(VectorOp2::FloatSub, one, magnitude);
        let distance = self.vector2(VectorOp2::FloatMul, distance, half);
        let own = self.vector2(VectorOp2::FloatMul, magnitude, magnitude);
        let square = self.blend(is_large, distance, own);
        let root = self.vector1(VectorOp1::Sqrt, distance);
        let x = self.blend(is_large, root, magnitude);
        let angle = self.odd(x, square, &ASIN);
        let twice = self.vector2(VectorOp2::FloatAdd, angle, angle);
        let (right, straight) = (self.float(HALF_PI[0]), self.float(core::f32::consts::PI));
        let rest = self.vector2(VectorOp2::FloatSub, right, twice);
        let asin = self.blend(is_large, rest, angle);
        let asin = self.with_sign_of(asin, a);
        let zero = self.splat(0);
        let is_negative = self.compare(Relation::Lt, Kind::Float, a, zero);
        let opposite = self.vector2(VectorOp2::FloatSub, straight, twice);
        let of_large = self.blend(is_negative, opposite, twice);
        let of_small = self.vector2(VectorOp2::FloatSub, right, asin);
        [asin, self.blend(is_large, of_large, of_small)]
    }

    /// Returns the angle of the point (x, y).
    fn angle(&mut self, y: Reg, x: Reg) -> Reg {
        let zero = self.splat(0);
        let [height, width] = [y, x].map(|value| self.magnitude(value));
        let is_steep = self.compare(Relation::Gt, Kind::Float, height, width);
        let less = self.blend(is_steep, width, height);
        let more = self.blend(is_steep, height, width);
        let quotient = self.vector2(VectorOp2::FloatDiv, less, more);
        let is_origin = self.compare(Relation::Eq, Kind::Float, more, zero);
        let quotient = self.blend(is_origin, zero, quotient);
        let square = self.vector2(VectorOp2::FloatMul, quotient, quotient);
        let angle = self.odd(quotient, square, &ATAN);
        let (right, straight) = (self.float(HALF_PI[0]), self.float(core::f32::consts::PI));
        let rest = self.vector2(VectorOp2::FloatSub, right, angle);
        let angle = self.blend(is_steep, rest, angle);
        let is_left = self.compare(Relation::Lt, Kind::Signed, x, zero);
        let rest = self.vector2(VectorOp2::FloatSub, straight, angle);
        let angle = self.blend(is_left, rest, angle);
        self.with_sign_of(angle, y)
    }

    // Hyperbolic functions.

    /// Returns e^|x| / 2 and e^−|x| / 2, as products of the exponential of |x| / 2, which is finite where they are.
    fn half_exponentials(&mut self, a: Reg) -> [Reg; 2] {
        let (half, magnitude) = (self.float(0.5), self.magnitude(a));
        let x = self.vector2(VectorOp2::FloatMul, magnitude, half);
        let root = self.exp(x);
        let part = self.vector2(VectorOp2::FloatMul, root, half);
        let large = self.vector2(VectorOp2::FloatMul, root, part);
        let square = self.vector2(VectorOp2::FloatMul, root, root);
        [large, self.vector2(VectorOp2::FloatDiv, half, square)]
    }

    fn sinh(&mut self, a: Reg) -> Reg {
        let one = self.float(1.0);
        let [half, inverse] = self.half_exponentials(a);
        let difference = self.vector2(VectorOp2::FloatSub, half, inverse);
        let magnitude = self.magnitude(a);
        let square = self.vector2(VectorOp2::FloatMul, magnitude, magnitude);
        let near = self.odd(magnitude, square, &SINH);
        let is_small = self.compare(Relation::Lt, Kind::Float, magnitude, one);
        let result = self.blend(is_small, near, difference);
        self.with_sign_of(result, a)
    }

    fn tanh(&mut self, a: Reg) -> Reg {
        let (one, two, small) = (self.splat(ONE), self.float(2.0), self.float(SMALL_TANH));
        let magnitude = self.magnitude(a);
        let twice = self.vector2(VectorOp2::FloatAdd, magnitude, magnitude);
        let power = self.exp(twice);
        let sum = self.vector2(VectorOp2::FloatAdd, power, one);
        let quotient = self.vector2(VectorOp2::FloatDiv, two, sum);
        let far = self.vector2(VectorOp2::FloatSub, one, quotient);
        let square = self.vector2(VectorOp2::FloatMul, magnitude, magnitude);
        let near = self.odd(magnitude, square, &TANH);
        let is_small = self.compare(Relation::Lt, Kind::Float, magnitude, small);
        let result = self.blend(is_small, near, far);
        self.with_sign_of(result, a)
    }
}
