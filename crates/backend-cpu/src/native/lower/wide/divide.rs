//! Division by values that are not literals: as words if all high words are 0, else bit by bit.

use fulgurite_spec::CompareOp;

use super::{Lowering, Wide};
use crate::native::program::{Class, Input, Kind, MaskOp, Reg, Relation, ShiftOp, Step, VectorOp2};

impl Lowering<'_> {
    /// Returns the truncating quotient, which is `a` where `b` is 0, and the remainder, which is 0 there.
    pub(super) fn wide_divide(&mut self, is_signed: bool, a: Wide, b: Wide) -> (Wide, Wide) {
        if let [Some(low), Some(high)] = b.map(|word| self.program.constant(word)) {
            let divisor = u64::from(high) << u32::BITS | u64::from(low);
            let quotient = self.divide_by(is_signed, a, divisor);
            return (quotient, self.remainder_by(a, quotient, divisor));
        }
        if !is_signed {
            return self.wide_divide_unsigned(a, b);
        }
        let [magnitude, divisor] = [a, b].map(|value| self.wide_abs(value));
        let (quotient, remainder) = self.wide_divide_unsigned(magnitude, divisor);
        let signs = self.vector2(VectorOp2::Xor, a[1], b[1]);
        let [differs, is_negative] = [signs, a[1]].map(|word| self.is_negative(word));
        // A divisor of 0 has no sign, so the quotient gets the sign of the dividend.
        let [opposite, negative] = [quotient, remainder].map(|value| self.wide_neg(value));
        (self.wide_blend(differs, opposite, quotient), self.wide_blend(is_negative, negative, remainder))
    }

    fn wide_divide_unsigned(&mut self, a: Wide, b: Wide) -> (Wide, Wide) {
        let zero = self.splat(0);
        let high = self.vector2(VectorOp2::Or, a[1], b[1]);
        let is_long = self.compare(Relation::Ne, Kind::Unsigned, high, zero);
        let is_long = self.active(is_long);
        let results: [Reg; 4] = std::array::from_fn(|_| self.reg(Class::Vector));
        let (long, done) = (self.label(), self.label());
        self.push(Step::BranchAny { mask: is_long, to: long });
        let quotient = self.vector2(VectorOp2::DivUnsigned, a[0], b[0]);
        let remainder = self.vector2(VectorOp2::RemUnsigned, a[0], b[0]);
        self.move_all(results, [quotient, zero, remainder, zero]);
        self.push(Step::Cold);
        self.push(Step::Bind(long));
        let [quotient, remainder] = self.long_division(a, b);
        let is_zero = self.wide_compare(CompareOp::Eq, false, b, [zero, zero]);
        let quotient = self.wide_blend(is_zero, a, quotient);
        let remainder = self.wide_blend(is_zero, [zero, zero], remainder);
        self.move_all(results, [quotient[0], quotient[1], remainder[0], remainder[1]]);
        self.push(Step::Jump(done));
        self.push(Step::EndCold);
        self.push(Step::Bind(done));
        let [a, b, c, d] = results;
        ([a, b], [c, d])
    }

    fn move_all<const N: usize>(&mut self, to: [Reg; N], from: [Reg; N]) {
        for (to, from) in to.into_iter().zip(from) {
            self.push(Step::Move { to, from });
        }
    }

    /// Divides by shifts and differences: each round moves a bit of the dividend to the remainder, and a bit of the
    /// quotient into its place.
    fn long_division(&mut self, a: Wide, b: Wide) -> [Wide; 2] {
        let (zero, bits) = (self.splat(0), self.input(Input::Constant(64)));
        let [rest, remainder]: [Wide; 2] =
            std::array::from_fn(|_| std::array::from_fn(|_| self.reg(Class::Vector)));
        self.move_all(rest, a);
        self.move_all(remainder, [zero, zero]);
        let (left, top) = (self.reg(Class::Scalar), self.label());
        self.push(Step::Move { to: left, from: bits });
        self.push(Step::LoopBegin);
        self.push(Step::Bind(top));
        let overflows = self.is_negative(remainder[1]);
        let bit = self.shift_by(ShiftOp::Right, rest[1], 31);
        let [low, high] = self.wide_double(remainder);
        let shifted = [self.vector2(VectorOp2::Or, low, bit), high];
        let fits = self.wide_compare(CompareOp::Ge, false, shifted, b);
        let fits = self.mask2(MaskOp::Or, overflows, fits);
        let less = self.wide_sub(shifted, b);
        let next = self.wide_blend(fits, less, shifted);
        let [low, high] = self.wide_double(rest);
        let one = self.splat(1);
        let set = self.vector2(VectorOp2::Or, low, one);
        let low = self.blend(fits, set, low);
        self.move_all(rest, [low, high]);
        self.move_all(remainder, next);
        self.push(Step::CountDown { left, by: 1, to: top });
        self.push(Step::LoopEnd);
        [rest, remainder]
    }

    /// Shifts left by 1.
    fn wide_double(&mut self, [low, high]: Wide) -> Wide {
        let (out, low_twice) =
            (self.shift_by(ShiftOp::Right, low, 31), self.vector2(VectorOp2::Add, low, low));
        let high_twice = self.vector2(VectorOp2::Add, high, high);
        [low_twice, self.vector2(VectorOp2::Or, high_twice, out)]
    }
}
