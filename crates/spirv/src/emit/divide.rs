//! Integer division: total, unlike SPIR-V's, and computed from word divisions if the driver's 64-bit division is wrong.

use fulgurite_ir::ValueId;
use fulgurite_spec::{ScalarType, Type};

use super::Emitter;
use crate::assembler::Id;
use crate::spv::{glsl, op};

/// The result of a division that an op yields.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Quotient,
    Remainder,
}

/// A quotient and its remainder.
struct Divided {
    quotient: Id,
    remainder: Id,
}

impl Emitter<'_> {
    /// Lowers `div` or `rem`.
    pub(super) fn division(&mut self, part: Part, ty: Type, x: Id, y: Id) -> Id {
        let divisor = self.safe_divisor(ty, x, y);
        if ty.scalar.bits() == 64 && self.profile.rules.wide_division {
            let Divided { quotient, remainder } = self.divide_wide(ty, x, divisor);
            return match part {
                Part::Quotient => quotient,
                Part::Remainder => remainder,
            };
        }
        self.divide_natively(part, ty, x, divisor)
    }

    /// Lowers `div` or `rem` by constants for which the native instruction is defined for every dividend.
    pub(super) fn division_by_constant(&mut self, part: Part, ty: Type, x: Id, y: ValueId) -> Option<Id> {
        if ty.scalar.bits() == 64 && self.profile.rules.wide_division {
            return None;
        }
        let (signed, mask) = (ty.scalar.is_signed(), ty.scalar.mask());
        let lanes = self.constant(y)?;
        let lanes = &lanes[..ty.lanes.count() as usize];
        let is_negative = |bits: u64| signed && bits > mask / 2;
        if self.profile.rules.signs && lanes.iter().any(|bits| is_negative(*bits)) {
            // The minimum has no magnitude in its type.
            let is_least = |bits: u64| bits == mask / 2 + 1;
            if lanes.iter().any(|bits| !is_negative(*bits) || is_least(*bits)) {
                return None;
            }
            let magnitudes: Vec<u64> = lanes.iter().map(|bits| bits.wrapping_neg() & mask).collect();
            let magnitudes = self.asm.lanes(ty, &magnitudes);
            let result = self.divide_natively(part, ty, x, magnitudes);
            return Some(match part {
                Part::Quotient => {
                    let negated = self.negated(ty, result);
                    self.wrapped(ty, negated)
                }
                Part::Remainder => result,
            });
        }
        let is_refused = |bits: u64| bits == 0 || signed && bits == mask;
        let is_plain = lanes.iter().all(|bits| !is_refused(*bits));
        is_plain.then(|| self.id(y)).map(|y| self.divide_natively(part, ty, x, y))
    }

    /// Emits SPIR-V's own instruction, which is defined for these operands.
    fn divide_natively(&mut self, part: Part, ty: Type, x: Id, divisor: Id) -> Id {
        let opcode = if ty.scalar.is_signed() { op::SDiv } else { op::UDiv };
        let quotient = self.make(opcode, ty, &[x, divisor]);
        if part == Part::Quotient {
            return quotient;
        }
        let whole = self.make(op::IMul, ty, &[quotient, divisor]);
        self.make(op::ISub, ty, &[x, whole])
    }

    /// Returns the divisor, replaced by 1 if the division is undefined; the quotient is then the dividend. The divisor
    /// is hidden from compilers that fold signs incorrectly.
    fn safe_divisor(&mut self, ty: Type, x: Id, y: Id) -> Id {
        let mask = ty.with_scalar(ScalarType::Bool);
        let (zero, one) = (self.limit(ty, 0), self.asm.splat(ty, 1));
        let mut bad = self.make(op::IEqual, mask, &[y, zero]);
        if ty.scalar.is_signed() {
            let (least, minus_one) =
                (self.limit(ty, ty.scalar.mask() / 2 + 1), self.limit(ty, ty.scalar.mask()));
            let at_least = self.make(op::IEqual, mask, &[x, least]);
            let by_minus_one = self.make(op::IEqual, mask, &[y, minus_one]);
            let overflows = self.make(op::LogicalAnd, mask, &[at_least, by_minus_one]);
            bad = self.make(op::LogicalOr, mask, &[bad, overflows]);
        }
        let divisor = self.make(op::Select, ty, &[bad, one, y]);
        if ty.scalar.is_signed() { self.keep_sign(ty, divisor) } else { divisor }
    }

    /// Divides 64-bit integers, signed or unsigned.
    fn divide_wide(&mut self, ty: Type, x: Id, y: Id) -> Divided {
        if !ty.scalar.is_signed() {
            return self.divide_words(ty, x, y);
        }
        let (wide, mask) = (ty.with_scalar(ScalarType::U64), ty.with_scalar(ScalarType::Bool));
        let zero = self.limit(ty, 0);
        let [x_negative, y_negative] = [x, y].map(|value| self.make(op::SLessThan, mask, &[value, zero]));
        let [x, y] = [(x, x_negative), (y, y_negative)].map(|(value, negative)| {
            let value = self.as_type(ty, wide, value);
            self.negated_where(wide, negative, value)
        });
        let Divided { quotient, remainder } = self.divide_words(wide, x, y);
        let differ = self.make(op::LogicalNotEqual, mask, &[x_negative, y_negative]);
        let quotient = self.negated_where(wide, differ, quotient);
        let remainder = self.negated_where(wide, x_negative, remainder);
        let [quotient, remainder] = [quotient, remainder].map(|value| self.as_type(wide, ty, value));
        Divided { quotient, remainder }
    }

    /// Divides by a nonzero `y`. If `y` fits a word, two steps of long division in base 2³² suffice. Otherwise the
    /// quotient fits a word; it is estimated from the leading 32 bits of `y`, decremented, and corrected. (Knuth, *The
    /// Art of Computer Programming*, volume 2, section 4.3.1, algorithm D.)
    fn divide_words(&mut self, ty: Type, x: Id, y: Id) -> Divided {
        let (words, mask) = (ty.with_scalar(ScalarType::U32), ty.with_scalar(ScalarType::Bool));
        let (zero, one) = (self.asm.splat(words, 0), self.asm.splat(words, 1));
        let [x_low, x_high] = self.halves(ty, x);
        let [y_low, y_high] = self.halves(ty, y);
        let is_word = self.make(op::IEqual, mask, &[y_high, zero]);

        let divisor = self.glsl(glsl::UMax, words, &[y_low, one]);
        let high = self.make(op::UDiv, words, &[x_high, divisor]);
        let whole = self.make(op::IMul, words, &[high, divisor]);
        let rest = self.make(op::ISub, words, &[x_high, whole]);
        let high = self.make(op::Select, words, &[is_word, high, zero]);

        let leading = self.make(op::Select, words, &[is_word, y_low, y_high]);
        let zeros = self.word_leading_zeros(words, leading);
        let shifted = self.make(op::ShiftLeftLogical, ty, &[y, zeros]);
        let [shifted_low, shifted_high] = self.halves(ty, shifted);
        let leading = self.make(op::Select, words, &[is_word, shifted_low, shifted_high]);
        let left = self.joined(ty, rest, x_low);
        let left = self.make(op::ShiftLeftLogical, ty, &[left, zeros]);
        let half = self.make(op::ShiftRightLogical, ty, &[x, one]);
        let dividend = self.make(op::Select, ty, &[is_word, left, half]);
        let low = self.divide_by_leading(ty, dividend, leading);

        let most = self.asm.splat(words, 31);
        let unused = self.make(op::BitwiseXor, words, &[zeros, most]);
        let estimate = self.make(op::ShiftRightLogical, words, &[low, unused]);
        let excess = self.glsl(glsl::UMin, words, &[estimate, one]);
        let estimate = self.make(op::ISub, words, &[estimate, excess]);
        let low = self.make(op::Select, words, &[is_word, low, estimate]);

        let quotient = self.joined(ty, high, low);
        let whole = self.make(op::IMul, ty, &[quotient, y]);
        let left = self.make(op::ISub, ty, &[x, whole]);
        let again = self.make(op::UGreaterThanEqual, mask, &[left, y]);
        let (nothing, once) = (self.asm.splat(ty, 0), self.asm.splat(ty, 1));
        let more = self.make(op::Select, ty, &[again, once, nothing]);
        let quotient = self.make(op::IAdd, ty, &[quotient, more]);
        let taken = self.make(op::Select, ty, &[again, y, nothing]);
        let remainder = self.make(op::ISub, ty, &[left, taken]);
        Divided { quotient, remainder }
    }

    /// Returns the quotient, a word, of two words by a word whose highest bit is set and which exceeds the high word of
    /// the dividend: two digits of 16 bits.
    fn divide_by_leading(&mut self, ty: Type, dividend: Id, divisor: Id) -> Id {
        let words = ty.with_scalar(ScalarType::U32);
        let (digit, low_digit) = (self.asm.splat(words, 16), self.asm.splat(ty, 0xffff));
        let leading = self.make(op::ShiftRightLogical, words, &[divisor, digit]);
        let divisor = self.make(op::UConvert, ty, &[divisor]);
        let [_, above] = self.halves(ty, dividend);
        let first = self.make(op::ShiftRightLogical, ty, &[dividend, digit]);
        let (high, rest) = self.digit(ty, first, above, divisor, leading);
        let above = self.make(op::UConvert, words, &[rest]);
        let rest = self.make(op::ShiftLeftLogical, ty, &[rest, digit]);
        let below = self.make(op::BitwiseAnd, ty, &[dividend, low_digit]);
        let second = self.make(op::BitwiseOr, ty, &[rest, below]);
        let (low, _) = self.digit(ty, second, above, divisor, leading);
        let high = self.make(op::ShiftLeftLogical, words, &[high, digit]);
        self.make(op::BitwiseOr, words, &[high, low])
    }

    /// Returns one digit of a quotient, and the remainder. The digit is estimated from all but the last digit of the
    /// dividend and from the leading digit of the divisor; the estimate is at most two too large.
    fn digit(&mut self, ty: Type, dividend: Id, above: Id, divisor: Id, leading: Id) -> (Id, Id) {
        let (words, mask) = (ty.with_scalar(ScalarType::U32), ty.with_scalar(ScalarType::Bool));
        let signed = ty.with_scalar(ScalarType::I64);
        let (one, nothing) = (self.asm.splat(words, 1), self.asm.splat(words, 0));
        let (none, zero) = (self.asm.splat(ty, 0), self.asm.splat(signed, 0));
        let mut digit = self.make(op::UDiv, words, &[above, leading]);
        let factor = self.make(op::UConvert, ty, &[digit]);
        let whole = self.make(op::IMul, ty, &[factor, divisor]);
        let mut left = self.make(op::ISub, ty, &[dividend, whole]);
        for _ in 0..2 {
            let sign = self.as_type(ty, signed, left);
            let negative = self.make(op::SLessThan, mask, &[sign, zero]);
            let less = self.make(op::Select, words, &[negative, one, nothing]);
            digit = self.make(op::ISub, words, &[digit, less]);
            let back = self.make(op::Select, ty, &[negative, divisor, none]);
            left = self.make(op::IAdd, ty, &[left, back]);
        }
        (digit, left)
    }

    /// Returns the 64-bit value of two words.
    fn joined(&mut self, ty: Type, high: Id, low: Id) -> Id {
        let amount = self.asm.splat(ty.with_scalar(ScalarType::U32), 32);
        let [high, low] = [high, low].map(|word| self.make(op::UConvert, ty, &[word]));
        let high = self.make(op::ShiftLeftLogical, ty, &[high, amount]);
        self.make(op::BitwiseOr, ty, &[high, low])
    }
}
