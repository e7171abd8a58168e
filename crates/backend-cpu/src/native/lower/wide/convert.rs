//! Conversions between integers of 64 bits and floats.

use fulgurite_spec::{IntegerOp, ScalarType};

use super::super::vector::SIGN;
use super::{Lowering, Wide};
use crate::native::program::{Class, Kind, MaskOp, Reg, Relation, ShiftOp, Step, VectorOp1, VectorOp2};

impl Lowering<'_> {
    /// Converts to the nearest float: the highest 32 bits, of which the lowest is set if any bit below is, so that these
    /// are rounded as all bits would be; then the scale.
    ///
    /// If `to_brain`, so that the float can be rounded once more to `bf16`.
    pub(in crate::native::lower) fn float_of_wide(
        &mut self,
        is_signed: bool,
        to_brain: bool,
        a: Wide,
    ) -> Option<Reg> {
        let magnitude = if is_signed { self.wide_abs(a) } else { a };
        let [low, high] = magnitude;
        let (zero, one, width) = (self.splat(0), self.splat(1), self.splat(32));
        let above = self.bit_op(IntegerOp::LeadingZeros, ScalarType::U32, &[high])?;
        let exponent = self.vector2(VectorOp2::Sub, width, above);
        let [top, _] = self.wide_shift(ShiftOp::Right, magnitude, exponent);
        let below = self.vector2(VectorOp2::Shift(ShiftOp::Left), low, above);
        let [is_cut, is_inexact] =
            [high, below].map(|word| self.compare(Relation::Ne, Kind::Unsigned, word, zero));
        let is_inexact = self.mask2(MaskOp::And, is_cut, is_inexact);
        let sticky = self.blend(is_inexact, one, zero);
        let top = self.vector2(VectorOp2::Or, top, sticky);
        let top = if to_brain { self.with_sticky_bit(top) } else { top };
        let float = self.vector1(VectorOp1::FloatOfUnsigned, top);
        let bias = self.splat(127);
        let biased = self.vector2(VectorOp2::Add, exponent, bias);
        let scale = self.shift_by(ShiftOp::Left, biased, 23);
        let scaled = self.vector2(VectorOp2::FloatMul, float, scale);
        Some(if is_signed { self.signed(scaled, a[1]) } else { scaled })
    }

    /// Converts to the integer nearest to 0 that the type has; 0 for NaN.
    pub(in crate::native::lower) fn wide_of_float(&mut self, is_signed: bool, a: Reg) -> Wide {
        let (zero, magnitudes) = (self.splat(0), self.splat(!SIGN));
        // NaN is not greater than 0.
        let magnitude = if is_signed { self.vector2(VectorOp2::And, a, magnitudes) } else { a };
        let is_positive = self.compare(Relation::Gt, Kind::Float, magnitude, zero);
        let magnitude = self.blend(is_positive, magnitude, zero);
        // Both steps are exact: the quotient is a power of two less, and the rest consists of low bits of `a`.
        let (down, up) = (self.splat(2f32.powi(-32).to_bits()), self.splat((-2f32.powi(32)).to_bits()));
        let quotient = self.vector2(VectorOp2::FloatMul, magnitude, down);
        let quotient = self.vector1(VectorOp1::Trunc, quotient);
        let rest = self.reg(Class::Vector);
        self.push(Step::Fma { to: rest, a: quotient, b: up, c: magnitude });
        let words = [rest, quotient].map(|float| self.vector1(VectorOp1::UnsignedOfFloat, float));
        let (limit, end) = if is_signed { (63, i64::MAX as u64) } else { (64, u64::MAX) };
        let (limit, mut end) = (self.splat(2f32.powi(limit).to_bits()), self.wide_constant(end));
        let is_beyond = self.compare(Relation::Ge, Kind::Float, magnitude, limit);
        if !is_signed {
            return self.wide_blend(is_beyond, end, words);
        }
        let (is_negative, opposite) = (self.is_negative(a), self.wide_neg(words));
        let words = self.wide_blend(is_negative, opposite, words);
        let least = self.wide_constant(i64::MIN as u64);
        end = self.wide_blend(is_negative, least, end);
        self.wide_blend(is_beyond, end, words)
    }
}
