//! Counts of bits, and fields.

use fulgurite_spec::{CompareOp, IntegerOp, ScalarType};

use super::super::bits::shift_right;
use super::{Lowering, Wide};
use crate::native::program::{Kind, Reg, Relation, ShiftOp, VectorOp2};

impl Lowering<'_> {
    /// Returns the results of an op on the bits of each word.
    fn of_words(&mut self, op: IntegerOp, [low, high]: Wide) -> Option<Wide> {
        Some([self.bit_op(op, ScalarType::U32, &[low])?, self.bit_op(op, ScalarType::U32, &[high])?])
    }

    pub(super) fn wide_pop_count(&mut self, a: Wide) -> Option<Wide> {
        let [low, high] = self.of_words(IntegerOp::PopCount, a)?;
        Some([self.vector2(VectorOp2::Add, low, high), self.splat(0)])
    }

    pub(super) fn wide_leading_zeros(&mut self, a: Wide) -> Option<Wide> {
        let [low, high] = self.of_words(IntegerOp::LeadingZeros, a)?;
        Some(self.sum_if_zero(a[1], high, low))
    }

    pub(super) fn wide_trailing_zeros(&mut self, a: Wide) -> Option<Wide> {
        let [low, high] = self.of_words(IntegerOp::TrailingZeros, a)?;
        Some(self.sum_if_zero(a[0], low, high))
    }

    pub(super) fn wide_reverse(&mut self, a: Wide) -> Option<Wide> {
        let [low, high] = self.of_words(IntegerOp::ReverseBits, a)?;
        Some([high, low])
    }

    /// Returns the count of zeros in the first word, and those of the next one as well where the first word is 0.
    fn sum_if_zero(&mut self, word: Reg, count: Reg, next: Reg) -> Wide {
        let (zero, width) = (self.splat(0), self.splat(32));
        let is_zero = self.compare(Relation::Eq, Kind::Unsigned, word, zero);
        let more = self.vector2(VectorOp2::Add, next, width);
        [self.blend(is_zero, more, count), zero]
    }

    pub(super) fn wide_extract(&mut self, ty: ScalarType, a: Wide, offset: Reg, count: Reg) -> Wide {
        let [offset, count, is_empty] = self.field(64, offset, count);
        let (width, zero) = (self.splat(64), self.wide_constant(0));
        let above = self.vector2(VectorOp2::Sub, width, count);
        let left = self.vector2(VectorOp2::Sub, above, offset);
        let moved = self.wide_shift(ShiftOp::Left, a, left);
        let field = self.wide_shift(shift_right(ty), moved, above);
        self.wide_blend(is_empty, zero, field)
    }

    pub(super) fn wide_insert(&mut self, a: Wide, b: Wide, offset: Reg, count: Reg) -> Wide {
        let [offset, count, is_empty] = self.field(64, offset, count);
        let (width, ones) = (self.splat(64), self.wide_constant(u64::MAX));
        let above = self.vector2(VectorOp2::Sub, width, count);
        let low = self.wide_shift(ShiftOp::Right, ones, above);
        let bits = self.wide_shift(ShiftOp::Left, low, offset);
        let moved = self.wide_shift(ShiftOp::Left, b, offset);
        let others = self.words2(VectorOp2::Xor, bits, ones);
        let (kept, new) = (self.words2(VectorOp2::And, a, others), self.words2(VectorOp2::And, moved, bits));
        let replaced = self.words2(VectorOp2::Or, kept, new);
        self.wide_blend(is_empty, a, replaced)
    }

    /// Returns the lanes in which an integer is not 0.
    pub(in crate::native::lower) fn wide_is_set(&mut self, a: Wide) -> Reg {
        let zero = self.wide_constant(0);
        self.wide_compare(CompareOp::Ne, false, a, zero)
    }
}
