//! Ops on integers of 64 bits, each two vectors of words.

mod bits;
mod convert;
mod divide;
mod shift;

use fulgurite_spec::{CompareOp, IntegerOp, ScalarType};

use super::bits::shift_right;
use super::scalar::{kind, relation};
use super::{Lowering, Part, component_words};
use crate::native::program::{Kind, MaskOp, Reg, Relation, ShiftOp, VectorOp2};

/// The low and the high words of an integer.
pub(super) type Wide = [Reg; 2];

impl Lowering<'_> {
    /// Returns the words of a component of 64 bits.
    pub(super) fn wide(&self, first: Part) -> Option<Wide> {
        if component_words(self.scalar_type(first)) != 2 {
            return None;
        }
        Some([self.vector(first)?, self.vector(Part(first.0 + 1))?])
    }

    pub(super) fn define_wide(&mut self, first: Part, [low, high]: Wide) {
        self.define_vector(first, low);
        self.define_vector(Part(first.0 + 1), high);
    }

    pub(super) fn wide_constant(&mut self, value: u64) -> Wide {
        [self.splat(value as u32), self.splat((value >> 32) as u32)]
    }

    /// Compiles an op on one component. Amounts of shifts, and offsets and counts of bits, are words.
    pub(super) fn wide_integer(
        &mut self,
        op: IntegerOp,
        ty: ScalarType,
        operands: &[Part],
        result: Part,
    ) -> Option<()> {
        let is_signed = ty.is_signed();
        let a = self.wide(*operands.first()?)?;
        let words: Vec<Option<Reg>> = operands.iter().map(|part| self.vector(*part)).collect();
        let word = |position: usize| words.get(position).copied().flatten();
        // The second operand, unless that is a word.
        let b = operands.get(1).and_then(|part| self.wide(*part)).unwrap_or(a);
        let to = match op {
            IntegerOp::Compare(op) => {
                let mask = self.wide_compare(op, is_signed, a, b);
                self.define_mask(result, mask);
                return Some(());
            }
            IntegerOp::Add => self.wide_add(a, b),
            IntegerOp::Sub => self.wide_sub(a, b),
            IntegerOp::Mul => self.wide_mul(a, b),
            IntegerOp::MulHi => self.wide_mul_high(is_signed, a, b),
            IntegerOp::Div => self.wide_divide(is_signed, a, b).0,
            IntegerOp::Rem => self.wide_divide(is_signed, a, b).1,
            IntegerOp::Neg => self.wide_neg(a),
            IntegerOp::Abs if is_signed => self.wide_abs(a),
            IntegerOp::Abs => a,
            IntegerOp::Sign => {
                let (one, zero) = (self.wide_constant(1), self.wide_constant(0));
                let is_zero = self.wide_compare(CompareOp::Eq, is_signed, a, zero);
                let positive = self.wide_blend(is_zero, zero, one);
                if is_signed {
                    let (is_negative, minus) = (self.is_negative(a[1]), self.wide_constant(u64::MAX));
                    self.wide_blend(is_negative, minus, positive)
                } else {
                    positive
                }
            }
            IntegerOp::Min => self.wide_choice(CompareOp::Lt, is_signed, a, b),
            IntegerOp::Max => self.wide_choice(CompareOp::Gt, is_signed, a, b),
            IntegerOp::Clamp => {
                let high = self.wide(*operands.get(2)?)?;
                let raised = self.wide_choice(CompareOp::Gt, is_signed, a, b);
                self.wide_choice(CompareOp::Lt, is_signed, raised, high)
            }
            IntegerOp::And => self.words2(VectorOp2::And, a, b),
            IntegerOp::Or => self.words2(VectorOp2::Or, a, b),
            IntegerOp::Xor => self.words2(VectorOp2::Xor, a, b),
            IntegerOp::Not => {
                let ones = self.wide_constant(u64::MAX);
                self.words2(VectorOp2::Xor, a, ones)
            }
            IntegerOp::AddSat | IntegerOp::SubSat => self.wide_saturating(op, is_signed, a, b),
            IntegerOp::Shl => self.wide_shift(ShiftOp::Left, a, word(1)?),
            IntegerOp::Shr => self.wide_shift(shift_right(ty), a, word(1)?),
            IntegerOp::RotateLeft => self.wide_shift(ShiftOp::RotateLeft, a, word(1)?),
            IntegerOp::RotateRight => self.wide_shift(ShiftOp::RotateRight, a, word(1)?),
            IntegerOp::PopCount => self.wide_pop_count(a)?,
            IntegerOp::LeadingZeros => self.wide_leading_zeros(a)?,
            IntegerOp::TrailingZeros => self.wide_trailing_zeros(a)?,
            IntegerOp::ReverseBits => self.wide_reverse(a)?,
            IntegerOp::ExtractBits => self.wide_extract(ty, a, word(1)?, word(2)?),
            IntegerOp::InsertBits => self.wide_insert(a, b, word(2)?, word(3)?),
            IntegerOp::DotPacked => return None,
        };
        self.define_wide(result, to);
        Some(())
    }

    /// Adds a step for both words.
    fn words2(&mut self, op: VectorOp2, a: Wide, b: Wide) -> Wide {
        [0, 1].map(|word| self.vector2(op, a[word], b[word]))
    }

    pub(super) fn wide_blend(&mut self, mask: Reg, yes: Wide, no: Wide) -> Wide {
        [0, 1].map(|word| self.blend(mask, yes[word], no[word]))
    }

    /// Returns the lanes whose word, as a signed integer, is negative.
    fn is_negative(&mut self, word: Reg) -> Reg {
        let zero = self.splat(0);
        self.compare(Relation::Lt, Kind::Signed, word, zero)
    }

    pub(super) fn wide_add(&mut self, a: Wide, b: Wide) -> Wide {
        let [low, high] = self.words2(VectorOp2::Add, a, b);
        let carries = self.compare(Relation::Lt, Kind::Unsigned, low, a[0]);
        let one = self.splat(1);
        let next = self.vector2(VectorOp2::Add, high, one);
        [low, self.blend(carries, next, high)]
    }

    pub(super) fn wide_sub(&mut self, a: Wide, b: Wide) -> Wide {
        let [low, high] = self.words2(VectorOp2::Sub, a, b);
        let borrows = self.compare(Relation::Lt, Kind::Unsigned, a[0], b[0]);
        let one = self.splat(1);
        let previous = self.vector2(VectorOp2::Sub, high, one);
        [low, self.blend(borrows, previous, high)]
    }

    pub(super) fn wide_neg(&mut self, a: Wide) -> Wide {
        let zero = self.wide_constant(0);
        self.wide_sub(zero, a)
    }

    fn wide_abs(&mut self, a: Wide) -> Wide {
        let (is_negative, opposite) = (self.is_negative(a[1]), self.wide_neg(a));
        self.wide_blend(is_negative, opposite, a)
    }

    /// Returns the product of two vectors of words.
    fn product(&mut self, a: Reg, b: Reg) -> Wide {
        [self.vector2(VectorOp2::Mul, a, b), self.vector2(VectorOp2::MulHighUnsigned, a, b)]
    }

    pub(super) fn wide_mul(&mut self, a: Wide, b: Wide) -> Wide {
        let [low, mut high] = self.product(a[0], b[0]);
        for (a, b) in [(a[0], b[1]), (a[1], b[0])] {
            let product = self.vector2(VectorOp2::Mul, a, b);
            high = self.vector2(VectorOp2::Add, high, product);
        }
        [low, high]
    }

    pub(super) fn wide_mul_high(&mut self, is_signed: bool, a: Wide, b: Wide) -> Wide {
        let zero = self.splat(0);
        let carried = self.vector2(VectorOp2::MulHighUnsigned, a[0], b[0]);
        // Neither sum exceeds 64 bits: a product of words is at most (2³² − 1)².
        let product = self.product(a[0], b[1]);
        let [middle, first] = self.wide_add(product, [carried, zero]);
        let product = self.product(a[1], b[0]);
        let [_, second] = self.wide_add(product, [middle, zero]);
        let mut high = self.product(a[1], b[1]);
        for carried in [first, second] {
            high = self.wide_add(high, [carried, zero]);
        }
        if is_signed {
            // As unsigned integers, negative operands are larger by 2⁶⁴.
            for (a, b) in [(a, b), (b, a)] {
                let (is_negative, less) = (self.is_negative(a[1]), self.wide_sub(high, b));
                high = self.wide_blend(is_negative, less, high);
            }
        }
        high
    }

    pub(super) fn wide_compare(&mut self, op: CompareOp, is_signed: bool, a: Wide, b: Wide) -> Reg {
        let ty = if is_signed { ScalarType::I32 } else { ScalarType::U32 };
        let same = self.compare(Relation::Eq, Kind::Unsigned, a[1], b[1]);
        // The low words decide if the high ones are equal, and then as unsigned integers.
        let low = self.compare(relation(op), Kind::Unsigned, a[0], b[0]);
        let strict = match op {
            CompareOp::Eq => return self.mask2(MaskOp::And, same, low),
            CompareOp::Ne => Relation::Ne,
            CompareOp::Lt | CompareOp::Le => Relation::Lt,
            CompareOp::Gt | CompareOp::Ge => Relation::Gt,
        };
        let high = self.compare(strict, kind(ty), a[1], b[1]);
        let low = self.mask2(MaskOp::And, same, low);
        self.mask2(MaskOp::Or, high, low)
    }

    /// Returns the first operand where the relation holds, else the second one.
    fn wide_choice(&mut self, op: CompareOp, is_signed: bool, a: Wide, b: Wide) -> Wide {
        let holds = self.wide_compare(op, is_signed, a, b);
        self.wide_blend(holds, a, b)
    }

    fn wide_saturating(&mut self, op: IntegerOp, is_signed: bool, a: Wide, b: Wide) -> Wide {
        let is_sum = op == IntegerOp::AddSat;
        let result = if is_sum { self.wide_add(a, b) } else { self.wide_sub(a, b) };
        let (end, overflows) = if is_signed {
            // A sum overflows if its sign differs from those of both operands; a difference if the signs of its operands
            // differ, and the first one's from that of the result.
            let other = if is_sum { [b[1], result[1]] } else { [a[1], b[1]] };
            let [first, second] = [[a[1], result[1]], other].map(|[a, b]| self.vector2(VectorOp2::Xor, a, b));
            let signs = self.vector2(VectorOp2::And, first, second);
            let (sign, largest) = (self.sign_word(a[1]), self.wide_constant(i64::MAX as u64));
            (self.words2(VectorOp2::Xor, [sign, sign], largest), self.is_negative(signs))
        } else if is_sum {
            (self.wide_constant(u64::MAX), self.wide_compare(CompareOp::Lt, false, result, a))
        } else {
            (self.wide_constant(0), self.wide_compare(CompareOp::Lt, false, a, b))
        };
        self.wide_blend(overflows, end, result)
    }

    /// Returns words of copies of the highest bit.
    pub(super) fn sign_word(&mut self, word: Reg) -> Reg {
        self.shift_by(ShiftOp::RightSigned, word, 31)
    }
}
