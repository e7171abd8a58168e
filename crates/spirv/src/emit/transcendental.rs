//! Lowering of transcendental functions to `GLSL.std.450`, with explicit handling of cases in which drivers disagree:
//! the range of trigonometric functions, negative bases of `pow`, large operands of hyperbolic functions.
//!
//! `f16` is computed in `f32`, as in the drivers, so that there is a single set of edge cases.

use fulgurite_spec::{ScalarType, TranscendentalOp, Type};

use super::Emitter;
use crate::assembler::Id;
use crate::spv::{glsl, op};

/// 2π in three parts, the first two of 11 and 10 bits: their products with a number of turns below 2^13 are exact.
const TURN: [f64; 3] = [6.28125, 0.001_934_051_513_671_875, 1.255_665_941_024_841_6e-6];

/// Exponent of the power of two by which subnormal operands of logarithms are scaled.
const SCALE: u8 = 32;

impl Emitter<'_> {
    pub(super) fn transcendental(
        &mut self,
        transcendental_op: TranscendentalOp,
        ty: Type,
        args: &[Id],
    ) -> Id {
        if ty.scalar != ScalarType::F32 {
            let wide = ty.with_scalar(ScalarType::F32);
            let args: Vec<Id> = args.iter().map(|arg| self.convert(*arg, ty, wide)).collect();
            let result = self.transcendental(transcendental_op, wide, &args);
            return self.convert(result, wide, ty);
        }
        let x = args[0];
        match transcendental_op {
            TranscendentalOp::Exp => self.exponential(glsl::Exp, ty, x),
            TranscendentalOp::Exp2 => self.exponential(glsl::Exp2, ty, x),
            TranscendentalOp::Log => self.logarithm(glsl::Log, core::f64::consts::LN_2, ty, x),
            TranscendentalOp::Log2 => self.logarithm(glsl::Log2, 1.0, ty, x),
            TranscendentalOp::Pow => self.power(ty, args),
            TranscendentalOp::Sin => self.of_angle(glsl::Sin, ty, x),
            TranscendentalOp::Cos => self.of_angle(glsl::Cos, ty, x),
            TranscendentalOp::Tan => self.of_angle(glsl::Tan, ty, x),
            TranscendentalOp::Asin => self.glsl(glsl::Asin, ty, args),
            TranscendentalOp::Acos => self.glsl(glsl::Acos, ty, args),
            TranscendentalOp::Atan => self.glsl(glsl::Atan, ty, args),
            TranscendentalOp::Atan2 => self.angle_of_point(ty, args),
            TranscendentalOp::Tanh => self.hyperbolic_tangent(ty, x),
            TranscendentalOp::Sinh => self.hyperbolic_sine(ty, x),
            TranscendentalOp::Cosh => {
                let [half, rest] = self.hyperbolic_parts(ty, x);
                self.arithmetic(op::FAdd, ty, &[half, rest])
            }
        }
    }

    /// Returns NaN for NaN; SwiftShader returns an infinity for some NaNs.
    fn exponential(&mut self, function: u32, ty: Type, x: Id) -> Id {
        let power = self.glsl(function, ty, &[x]);
        let nan = self.make(op::IsNan, ty.with_scalar(ScalarType::Bool), &[x]);
        self.make(op::Select, ty, &[nan, x, power])
    }

    /// Scales subnormals into the normal range if they need not be kept, because drivers neither keep nor flush them
    /// here; a driver that flushes them still gets a zero. Operands that are not positive and finite are handled
    /// separately, because SwiftShader treats every bit pattern as a positive finite number. `of_two` is the function
    /// of 2.
    fn logarithm(&mut self, function: u32, of_two: f64, ty: Type, x: Id) -> Id {
        if self.profile.float_controls(ty.scalar).denorm_preserve {
            return self.glsl(function, ty, &[x]);
        }
        let mask = ty.with_scalar(ScalarType::Bool);
        let least = self.float_constant(ty, f64::from(f32::MIN_POSITIVE));
        let small = self.make(op::FOrdLessThan, mask, &[x, least]);
        let scale = self.float_constant(ty, f64::from(SCALE).exp2());
        let scaled = self.arithmetic(op::FMul, ty, &[x, scale]);
        let x = self.make(op::Select, ty, &[small, scaled, x]);
        let result = self.glsl(function, ty, &[x]);
        let excess = self.float_constant(ty, of_two * f64::from(SCALE));
        let less = self.arithmetic(op::FSub, ty, &[result, excess]);
        let result = self.make(op::Select, ty, &[small, less, result]);
        // Zero, negative numbers, infinity and NaN.
        let [zero, infinity, pole, nan] =
            [0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN].map(|v| self.float_constant(ty, v));
        let positive = self.make(op::FOrdGreaterThan, mask, &[x, zero]);
        let finite = self.make(op::FOrdLessThan, mask, &[x, infinity]);
        let none = self.make(op::FOrdEqual, mask, &[x, zero]);
        let below = self.make(op::Select, ty, &[none, pole, nan]);
        let result = self.make(op::Select, ty, &[positive, result, below]);
        let beyond = self.make(op::Select, ty, &[positive, infinity, below]);
        self.make(op::Select, ty, &[finite, result, beyond])
    }

    /// Returns NaN for a negative base and any exponent.
    fn power(&mut self, ty: Type, args: &[Id]) -> Id {
        let mask = ty.with_scalar(ScalarType::Bool);
        let power = self.glsl(glsl::Pow, ty, args);
        let (zero, nan) = (self.float_constant(ty, 0.0), self.float_constant(ty, f64::NAN));
        let negative = self.make(op::FOrdLessThan, mask, &[args[0], zero]);
        self.make(op::Select, ty, &[negative, nan, power])
    }

    /// Returns a function of period 2π, applied to the angle minus whole turns.
    fn of_angle(&mut self, function: u32, ty: Type, x: Id) -> Id {
        let per_turn = self.float_constant(ty, core::f64::consts::TAU.recip());
        let turns = self.arithmetic(op::FMul, ty, &[x, per_turn]);
        let turns = self.glsl(glsl::RoundEven, ty, &[turns]);
        let mut angle = x;
        for part in TURN {
            let part = self.float_constant(ty, part);
            let whole = self.arithmetic(op::FMul, ty, &[turns, part]);
            angle = self.arithmetic(op::FSub, ty, &[angle, whole]);
        }
        self.glsl(function, ty, &[angle])
    }

    /// Handles points on the first axis separately: before a driver's own steps, a zero second coordinate may lose its
    /// sign, or a subnormal may be flushed. On the positive side the angle is 0, on the negative side π with the zero's
    /// sign.
    fn angle_of_point(&mut self, ty: Type, args: &[Id]) -> Id {
        let (mask, words) = (ty.with_scalar(ScalarType::Bool), ty.with_scalar(ScalarType::U32));
        let (y, x) = (args[0], args[1]);
        let angle = self.glsl(glsl::Atan2, ty, args);
        let zero = self.float_constant(ty, 0.0);
        let on_axis = self.make(op::FOrdEqual, mask, &[y, zero]);
        let left = self.make(op::FOrdLessThan, mask, &[x, zero]);
        let right = self.make(op::FOrdGreaterThan, mask, &[x, zero]);
        let (sign_bit, half_turn) =
            (self.asm.splat(words, 1 << 31), self.float_constant(ty, core::f64::consts::PI));
        let bits = self.make(op::Bitcast, words, &[y]);
        let sign = self.make(op::BitwiseAnd, words, &[bits, sign_bit]);
        let half_turn = self.make(op::Bitcast, words, &[half_turn]);
        let turned = self.make(op::BitwiseOr, words, &[half_turn, sign]);
        let turned = self.make(op::Bitcast, ty, &[turned]);
        let to_the_left = self.make(op::LogicalAnd, mask, &[on_axis, left]);
        let to_the_right = self.make(op::LogicalAnd, mask, &[on_axis, right]);
        let angle = self.make(op::Select, ty, &[to_the_left, turned, angle]);
        self.make(op::Select, ty, &[to_the_right, zero, angle])
    }

    /// Returns `e` and `1 / 4e`, where `e` is half the exponential of the magnitude, so that neither overflows before
    /// their sum or difference does.
    fn hyperbolic_parts(&mut self, ty: Type, x: Id) -> [Id; 2] {
        let magnitude = self.glsl(glsl::FAbs, ty, &[x]);
        let (ln_2, quarter) =
            (self.float_constant(ty, core::f64::consts::LN_2), self.float_constant(ty, 0.25));
        let less = self.arithmetic(op::FSub, ty, &[magnitude, ln_2]);
        let half = self.exponential(glsl::Exp, ty, less);
        let rest = self.arithmetic(op::FDiv, ty, &[quarter, half]);
        [half, rest]
    }

    fn hyperbolic_sine(&mut self, ty: Type, x: Id) -> Id {
        let [half, rest] = self.hyperbolic_parts(ty, x);
        let difference = self.arithmetic(op::FSub, ty, &[half, rest]);
        let negated = self.make(op::FNegate, ty, &[difference]);
        let zero = self.float_constant(ty, 0.0);
        let negative = self.make(op::FOrdLessThan, ty.with_scalar(ScalarType::Bool), &[x, zero]);
        self.make(op::Select, ty, &[negative, negated, difference])
    }

    /// Clamps to ±10, beyond which the hyperbolic tangent is ±1.
    fn hyperbolic_tangent(&mut self, ty: Type, x: Id) -> Id {
        let mask = ty.with_scalar(ScalarType::Bool);
        let [most, least] = [10.0, -10.0].map(|v| self.float_constant(ty, v));
        let above = self.make(op::FOrdGreaterThan, mask, &[x, most]);
        let x = self.make(op::Select, ty, &[above, most, x]);
        let below = self.make(op::FOrdLessThan, mask, &[x, least]);
        let x = self.make(op::Select, ty, &[below, least, x]);
        self.glsl(glsl::Tanh, ty, &[x])
    }
}
