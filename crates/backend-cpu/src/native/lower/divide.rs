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

/// How an unsigned integer is divided by a literal.
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

/// How a signed integer is divided by the magnitude of a literal.
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

impl Lowering<'_> {
    /// Returns the truncating quotient of words and a literal.
    pub(super) fn divide_words(&mut self, is_signed: bool, x: Reg, divisor: u32) -> Reg {
        if is_signed {
            return self.divide_signed_words(x, divisor.cast_signed());
        }
        match Unsigned::of(divisor.into(), u32::BITS) {
            Unsigned::Same => x,
            Unsigned::Shift(by) => self.shift_by(ShiftOp::Right, x, by),
            Unsigned::AtLeast => {
                let [divisor, one, zero] = [divisor, 1, 0].map(|bits| self.splat(bits));
                let reaches = self.compare(Relation::Ge, Kind::Unsigned, x, divisor);
                self.blend(reaches, one, zero)
            }
            Unsigned::Product { before, factor, after } => {
                let x = self.shift_right(ShiftOp::Right, x, before);
                let factor = self.splat(factor as u32);
                let high = self.vector2(VectorOp2::MulHighUnsigned, x, factor);
                self.shift_right(ShiftOp::Right, high, after)
            }
            Unsigned::LongProduct { factor, after } => {
                let factor = self.splat(factor as u32);
                let high = self.vector2(VectorOp2::MulHighUnsigned, x, factor);
                let rest = self.vector2(VectorOp2::Sub, x, high);
                let half = self.shift_by(ShiftOp::Right, rest, 1);
                let sum = self.vector2(VectorOp2::Add, high, half);
                self.shift_right(ShiftOp::Right, sum, after)
            }
        }
    }

    fn divide_signed_words(&mut self, x: Reg, divisor: i32) -> Reg {
        let quotient = match Signed::of(divisor.unsigned_abs().into(), u32::BITS) {
            Signed::Same => x,
            Signed::Shift(by) => {
                let sign = self.shift_by(ShiftOp::RightSigned, x, u32::BITS - 1);
                let added = self.shift_by(ShiftOp::Right, sign, u32::BITS - by);
                let sum = self.vector2(VectorOp2::Add, x, added);
                self.shift_by(ShiftOp::RightSigned, sum, by)
            }
            Signed::Product { factor, adds, after } => {
                let factor = self.splat(factor as u32);
                let mut high = self.vector2(VectorOp2::MulHighSigned, x, factor);
                if adds {
                    high = self.vector2(VectorOp2::Add, high, x);
                }
                let high = self.shift_right(ShiftOp::RightSigned, high, after);
                let is_negative = self.shift_by(ShiftOp::Right, x, u32::BITS - 1);
                self.vector2(VectorOp2::Add, high, is_negative)
            }
        };
        if divisor >= 0 {
            return quotient;
        }
        let zero = self.splat(0);
        self.vector2(VectorOp2::Sub, zero, quotient)
    }

    fn shift_right(&mut self, op: ShiftOp, x: Reg, by: u32) -> Reg {
        if by == 0 { x } else { self.shift_by(op, x, by) }
    }

    /// Returns the remainder of words and a literal, given their quotient.
    pub(super) fn remainder_of_words(&mut self, x: Reg, quotient: Reg, divisor: u32) -> Reg {
        if divisor == 0 {
            return self.splat(0);
        }
        let divisor = self.splat(divisor);
        let product = self.vector2(VectorOp2::Mul, quotient, divisor);
        self.vector2(VectorOp2::Sub, x, product)
    }

    /// Returns the truncating quotient of integers of 64 bits and a literal.
    pub(super) fn divide_wide_by(&mut self, is_signed: bool, x: Wide, divisor: u64) -> Wide {
        if is_signed {
            return self.divide_wide_signed(x, divisor.cast_signed());
        }
        match Unsigned::of(divisor, u64::BITS) {
            Unsigned::Same => x,
            Unsigned::Shift(by) => self.wide_shift_by(ShiftOp::Right, x, by),
            Unsigned::AtLeast => {
                let [divisor, one, zero] = [divisor, 1, 0].map(|bits| self.wide_constant(bits));
                let reaches = self.wide_compare(CompareOp::Ge, false, x, divisor);
                self.wide_blend(reaches, one, zero)
            }
            Unsigned::Product { before, factor, after } => {
                let x = self.wide_shift_by(ShiftOp::Right, x, before);
                let factor = self.wide_constant(factor);
                let high = self.wide_mul_high(false, x, factor);
                self.wide_shift_by(ShiftOp::Right, high, after)
            }
            Unsigned::LongProduct { factor, after } => {
                let factor = self.wide_constant(factor);
                let high = self.wide_mul_high(false, x, factor);
                let rest = self.wide_sub(x, high);
                let half = self.wide_shift_by(ShiftOp::Right, rest, 1);
                let sum = self.wide_add(high, half);
                self.wide_shift_by(ShiftOp::Right, sum, after)
            }
        }
    }

    fn divide_wide_signed(&mut self, x: Wide, divisor: i64) -> Wide {
        let quotient = match Signed::of(divisor.unsigned_abs(), u64::BITS) {
            Signed::Same => x,
            Signed::Shift(by) => {
                let sign = self.wide_shift_by(ShiftOp::RightSigned, x, u64::BITS - 1);
                let added = self.wide_shift_by(ShiftOp::Right, sign, u64::BITS - by);
                let sum = self.wide_add(x, added);
                self.wide_shift_by(ShiftOp::RightSigned, sum, by)
            }
            Signed::Product { factor, adds, after } => {
                let factor = self.wide_constant(factor);
                let mut high = self.wide_mul_high(true, x, factor);
                if adds {
                    high = self.wide_add(high, x);
                }
                let high = self.wide_shift_by(ShiftOp::RightSigned, high, after);
                let is_negative = self.wide_shift_by(ShiftOp::Right, x, u64::BITS - 1);
                self.wide_add(high, is_negative)
            }
        };
        if divisor < 0 { self.wide_neg(quotient) } else { quotient }
    }

    /// Returns the remainder of integers of 64 bits and a literal, given their quotient.
    pub(super) fn remainder_of_wide(&mut self, x: Wide, quotient: Wide, divisor: u64) -> Wide {
        if divisor == 0 {
            return self.wide_constant(0);
        }
        let divisor = self.wide_constant(divisor);
        let product = self.wide_mul(quotient, divisor);
        self.wide_sub(x, product)
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
