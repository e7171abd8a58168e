//! Division of vectors of integers by a literal: a product and shifts.
//!
//! The quotient is the high half of the product with a reciprocal, which is rounded up so little that it is exact for every
//! dividend (Granlund, Montgomery: Division by Invariant Integers using Multiplication, 1994, sections 4 to 6).

use fulgurite_spec::CompareOp;

use super::wide::Wide;
use super::{Lowering, Reg};
use crate::native::program::{Kind, Relation, ShiftOp, VectorOp2};

/// A divisor of two or more that is no power of two: `x · factor >> (bits + shift)` is the quotient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reciprocal {
    /// May be one bit wider than the dividend.
    factor: u128,
    shift: u32,
}

impl Reciprocal {
    /// Returns the least reciprocal for dividends of `bits` bits that are below 2 to the power of `precision`.
    ///
    /// `bits` and the number of bits of the divisor are at most 127 together.
    fn of(divisor: u64, bits: u32, precision: u32) -> Self {
        let log = u64::BITS - (divisor - 1).leading_zeros();
        let (one, divisor) = (1_u128, u128::from(divisor));
        let mut low = (one << (bits + log)) / divisor;
        let mut high = ((one << (bits + log)) + (one << (bits + log - precision))) / divisor;
        let mut shift = log;
        while shift > 0 && low / 2 < high / 2 {
            (low, high, shift) = (low / 2, high / 2, shift - 1);
        }
        Self { factor: high, shift }
    }
}

/// The steps that divide an unsigned integer by a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unsigned {
    /// The dividend is the quotient, as the language defines it for 0, too.
    Same,
    Shift(u32),
    /// The quotient is 1 from the divisor on, and 0 below.
    AtLeast,
    /// The dividend is shifted right, multiplied, and the high half of the product is shifted right.
    Product {
        before: u32,
        factor: u64,
        after: u32,
    },
    /// The factor is one bit too wide, and `factor` omits its top bit: `t` is the high half of the product, and the quotient is
    /// `(t + (x - t) / 2) >> after`.
    LongProduct {
        factor: u64,
        after: u32,
    },
}

impl Unsigned {
    fn of(divisor: u64, bits: u32) -> Self {
        if divisor < 2 {
            return Self::Same;
        }
        if divisor.is_power_of_two() {
            return Self::Shift(divisor.trailing_zeros());
        }
        if divisor >> (bits - 1) != 0 {
            return Self::AtLeast;
        }
        let whole = Reciprocal::of(divisor, bits, bits);
        if let Ok(factor) = u64::try_from(whole.factor)
            && whole.factor >> bits == 0
        {
            return Self::Product { before: 0, factor, after: whole.shift };
        }
        let before = divisor.trailing_zeros();
        if before > 0 {
            let odd = Reciprocal::of(divisor >> before, bits, bits - before);
            return Self::Product { before, factor: odd.factor as u64, after: odd.shift };
        }
        let factor = (whole.factor - (1 << bits)) as u64;
        Self::LongProduct { factor, after: whole.shift - 1 }
    }
}

/// The steps that divide a signed integer by the magnitude of a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signed {
    /// The dividend is the quotient, as the language defines it for 0, too.
    Same,
    /// The dividend, plus the divisor less 1 if it is negative, is shifted right.
    Shift(u32),
    /// The high half of the product, plus the dividend if `adds`, is shifted right; 1 is added if the dividend is negative.
    Product { factor: u64, adds: bool, after: u32 },
}

impl Signed {
    fn of(magnitude: u64, bits: u32) -> Self {
        if magnitude < 2 {
            return Self::Same;
        }
        if magnitude.is_power_of_two() {
            return Self::Shift(magnitude.trailing_zeros());
        }
        let Reciprocal { factor, shift } = Reciprocal::of(magnitude, bits, bits - 1);
        // A factor from half of the range on is a negative integer, less by the whole range.
        Self::Product { factor: factor as u64, adds: factor >> (bits - 1) != 0, after: shift }
    }
}

/// Integers of one width in registers, and the ops on them that divisions are made of.
pub(super) trait Dividend: Copy {
    const BITS: u32;

    fn constant(lowering: &mut Lowering<'_>, bits: u64) -> Self;
    fn add(self, lowering: &mut Lowering<'_>, other: Self) -> Self;
    fn sub(self, lowering: &mut Lowering<'_>, other: Self) -> Self;
    fn mul(self, lowering: &mut Lowering<'_>, other: Self) -> Self;
    fn mul_high(self, lowering: &mut Lowering<'_>, is_signed: bool, other: Self) -> Self;
    fn shift(self, lowering: &mut Lowering<'_>, op: ShiftOp, by: u32) -> Self;
    /// Returns 1 where it is at least `other` as an unsigned integer, else 0.
    fn is_at_least(self, lowering: &mut Lowering<'_>, other: Self) -> Self;
}

impl Dividend for Reg {
    const BITS: u32 = u32::BITS;

    fn constant(lowering: &mut Lowering<'_>, bits: u64) -> Self {
        lowering.splat(bits as u32)
    }

    fn add(self, lowering: &mut Lowering<'_>, other: Self) -> Self {
        lowering.vector2(VectorOp2::Add, self, other)
    }

    fn sub(self, lowering: &mut Lowering<'_>, other: Self) -> Self {
        lowering.vector2(VectorOp2::Sub, self, other)
    }

    fn mul(self, lowering: &mut Lowering<'_>, other: Self) -> Self {
        lowering.vector2(VectorOp2::Mul, self, other)
    }

    fn mul_high(self, lowering: &mut Lowering<'_>, is_signed: bool, other: Self) -> Self {
        let op = if is_signed { VectorOp2::MulHighSigned } else { VectorOp2::MulHighUnsigned };
        lowering.vector2(op, self, other)
    }

    fn shift(self, lowering: &mut Lowering<'_>, op: ShiftOp, by: u32) -> Self {
        lowering.shift_by(op, self, by)
    }

    fn is_at_least(self, lowering: &mut Lowering<'_>, other: Self) -> Self {
        let [one, zero] = [1, 0].map(|bits| lowering.splat(bits));
        let mask = lowering.compare(Relation::Ge, Kind::Unsigned, self, other);
        lowering.blend(mask, one, zero)
    }
}

impl Dividend for Wide {
    const BITS: u32 = u64::BITS;

    fn constant(lowering: &mut Lowering<'_>, bits: u64) -> Self {
        lowering.wide_constant(bits)
    }

    fn add(self, lowering: &mut Lowering<'_>, other: Self) -> Self {
        lowering.wide_add(self, other)
    }

    fn sub(self, lowering: &mut Lowering<'_>, other: Self) -> Self {
        lowering.wide_sub(self, other)
    }

    fn mul(self, lowering: &mut Lowering<'_>, other: Self) -> Self {
        lowering.wide_mul(self, other)
    }

    fn mul_high(self, lowering: &mut Lowering<'_>, is_signed: bool, other: Self) -> Self {
        lowering.wide_mul_high(is_signed, self, other)
    }

    fn shift(self, lowering: &mut Lowering<'_>, op: ShiftOp, by: u32) -> Self {
        lowering.wide_shift_by(op, self, by)
    }

    fn is_at_least(self, lowering: &mut Lowering<'_>, other: Self) -> Self {
        let [one, zero] = [1, 0].map(|bits| lowering.wide_constant(bits));
        let mask = lowering.wide_compare(CompareOp::Ge, false, self, other);
        lowering.wide_blend(mask, one, zero)
    }
}

impl Lowering<'_> {
    /// Returns the truncating quotient of integers and a literal.
    pub(super) fn divide_by<T: Dividend>(&mut self, is_signed: bool, x: T, divisor: u64) -> T {
        if is_signed {
            return self.divide_signed_by(x, divisor);
        }
        match Unsigned::of(divisor, T::BITS) {
            Unsigned::Same => x,
            Unsigned::Shift(by) => x.shift(self, ShiftOp::Right, by),
            Unsigned::AtLeast => {
                let divisor = T::constant(self, divisor);
                x.is_at_least(self, divisor)
            }
            Unsigned::Product { before, factor, after } => {
                let x = self.shifted_right(ShiftOp::Right, x, before);
                let factor = T::constant(self, factor);
                let high = x.mul_high(self, false, factor);
                self.shifted_right(ShiftOp::Right, high, after)
            }
            Unsigned::LongProduct { factor, after } => {
                let factor = T::constant(self, factor);
                let high = x.mul_high(self, false, factor);
                let half = x.sub(self, high).shift(self, ShiftOp::Right, 1);
                let sum = high.add(self, half);
                self.shifted_right(ShiftOp::Right, sum, after)
            }
        }
    }

    fn divide_signed_by<T: Dividend>(&mut self, x: T, divisor: u64) -> T {
        let above = u64::BITS - T::BITS;
        let divisor = (divisor << above).cast_signed() >> above;
        let quotient = match Signed::of(divisor.unsigned_abs(), T::BITS) {
            Signed::Same => x,
            Signed::Shift(by) => {
                let sign = x.shift(self, ShiftOp::RightSigned, T::BITS - 1);
                let added = sign.shift(self, ShiftOp::Right, T::BITS - by);
                x.add(self, added).shift(self, ShiftOp::RightSigned, by)
            }
            Signed::Product { factor, adds, after } => {
                let factor = T::constant(self, factor);
                let mut high = x.mul_high(self, true, factor);
                if adds {
                    high = high.add(self, x);
                }
                let high = self.shifted_right(ShiftOp::RightSigned, high, after);
                let is_negative = x.shift(self, ShiftOp::Right, T::BITS - 1);
                high.add(self, is_negative)
            }
        };
        if divisor >= 0 {
            return quotient;
        }
        T::constant(self, 0).sub(self, quotient)
    }

    fn shifted_right<T: Dividend>(&mut self, op: ShiftOp, x: T, by: u32) -> T {
        if by == 0 { x } else { x.shift(self, op, by) }
    }

    /// Returns the remainder of integers and a literal, given their quotient.
    pub(super) fn remainder_by<T: Dividend>(&mut self, x: T, quotient: T, divisor: u64) -> T {
        let divisor = match divisor {
            0 => return T::constant(self, 0),
            divisor => T::constant(self, divisor),
        };
        let product = quotient.mul(self, divisor);
        x.sub(self, product)
    }
}

#[cfg(test)]
mod tests {
    use super::{Signed, Unsigned};

    /// The steps on numbers of 8 bits, for each dividend and divisor there is.
    #[test]
    fn quotients_of_bytes_are_exact() {
        for divisor in 1..=u8::MAX {
            for x in 0..=u8::MAX {
                let high = |x: u8, factor: u64| ((u64::from(x) * factor) >> 8) as u8;
                let quotient = match Unsigned::of(divisor.into(), 8) {
                    Unsigned::Same => x,
                    Unsigned::Shift(by) => x >> by,
                    Unsigned::AtLeast => u8::from(x >= divisor),
                    Unsigned::Product { before, factor, after } => {
                        assert!(factor < 256);
                        high(x >> before, factor) >> after
                    }
                    Unsigned::LongProduct { factor, after } => {
                        assert!(factor < 256);
                        let high = high(x, factor);
                        high.wrapping_add((x - high) / 2) >> after
                    }
                };
                assert_eq!(quotient, x / divisor, "{x} / {divisor}");
            }
        }
    }

    #[test]
    fn signed_quotients_of_bytes_are_exact() {
        for divisor in (i8::MIN..=i8::MAX).filter(|divisor| *divisor != 0) {
            for x in i8::MIN..=i8::MAX {
                let quotient = match Signed::of(divisor.unsigned_abs().into(), 8) {
                    Signed::Same => x,
                    Signed::Shift(by) => {
                        let added = ((x >> 7).cast_unsigned() >> (8 - by)).cast_signed();
                        x.wrapping_add(added) >> by
                    }
                    Signed::Product { factor, adds, after } => {
                        let high = ((i32::from(x) * i32::from((factor as u8).cast_signed())) >> 8) as i8;
                        let high = if adds { high.wrapping_add(x) } else { high };
                        (high >> after) + i8::from(x < 0)
                    }
                };
                let quotient = if divisor < 0 { quotient.wrapping_neg() } else { quotient };
                assert_eq!(quotient, x.wrapping_div(divisor), "{x} / {divisor}");
            }
        }
    }
}
