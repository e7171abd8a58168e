//! Shifts and rotations.

use super::{Lowering, Wide};
use crate::native::program::{Kind, Reg, Relation, ShiftOp, VectorOp2};

impl Lowering<'_> {
    /// Shifts or rotates by an amount modulo 64.
    pub(super) fn wide_shift(&mut self, op: ShiftOp, a: Wide, amount: Reg) -> Wide {
        if let Some(amount) = self.program.constant(amount) {
            return self.wide_shift_by(op, a, amount % 64);
        }
        let half = self.splat(32);
        let bit = self.vector2(VectorOp2::And, amount, half);
        let is_far = self.compare(Relation::Eq, Kind::Unsigned, bit, half);
        // The near shift takes amounts modulo 32, the far one moves a whole word.
        match op {
            ShiftOp::Left => {
                let zero = self.splat(0);
                let [low, high] = a;
                let (out, low) =
                    (self.spill_up(low, amount), self.vector2(VectorOp2::Shift(ShiftOp::Left), low, amount));
                let high = self.vector2(VectorOp2::Shift(ShiftOp::Left), high, amount);
                let high = self.vector2(VectorOp2::Or, high, out);
                self.wide_blend(is_far, [zero, low], [low, high])
            }
            ShiftOp::Right | ShiftOp::RightSigned => {
                let [low, high] = a;
                let (out, fill) = (self.spill_down(high, amount), self.fill(op, high));
                let low = self.vector2(VectorOp2::Shift(ShiftOp::Right), low, amount);
                let high = self.vector2(VectorOp2::Shift(op), high, amount);
                let low = self.vector2(VectorOp2::Or, low, out);
                self.wide_blend(is_far, [high, fill], [low, high])
            }
            ShiftOp::RotateLeft => {
                let [low, high] = self.wide_blend(is_far, [a[1], a[0]], a);
                [[low, high], [high, low]].map(|[to, from]| {
                    let out = self.spill_up(from, amount);
                    let to = self.vector2(VectorOp2::Shift(ShiftOp::Left), to, amount);
                    self.vector2(VectorOp2::Or, to, out)
                })
            }
            ShiftOp::RotateRight => {
                let [low, high] = self.wide_blend(is_far, [a[1], a[0]], a);
                [[low, high], [high, low]].map(|[to, from]| {
                    let out = self.spill_down(from, amount);
                    let to = self.vector2(VectorOp2::Shift(ShiftOp::Right), to, amount);
                    self.vector2(VectorOp2::Or, to, out)
                })
            }
        }
    }

    /// Returns the bits that a shift left by an amount modulo 32 moves out of a word, as the low bits of the next one.
    fn spill_up(&mut self, word: Reg, amount: Reg) -> Reg {
        let (half, rest) = (self.shift_by(ShiftOp::Right, word, 1), self.complement(amount));
        self.vector2(VectorOp2::Shift(ShiftOp::Right), half, rest)
    }

    /// Returns the bits that a shift right by an amount modulo 32 moves out of a word, as the high bits of the next one.
    fn spill_down(&mut self, word: Reg, amount: Reg) -> Reg {
        let (half, rest) = (self.shift_by(ShiftOp::Left, word, 1), self.complement(amount));
        self.vector2(VectorOp2::Shift(ShiftOp::Left), half, rest)
    }

    /// Returns the word that a shift moves in above the high one.
    fn fill(&mut self, op: ShiftOp, high: Reg) -> Reg {
        if op == ShiftOp::RightSigned { self.sign_word(high) } else { self.splat(0) }
    }

    /// Shifts or rotates by less than 64.
    pub(in crate::native::lower) fn wide_shift_by(&mut self, op: ShiftOp, a: Wide, amount: u32) -> Wide {
        let zero = self.splat(0);
        let (near, is_far) = (amount % 32, amount >= 32);
        let [low, high] = a;
        match op {
            ShiftOp::Left => {
                let [low, high] = if is_far { [zero, low] } else { a };
                [self.shift_by(ShiftOp::Left, low, near), self.funnel([low, high], near)]
            }
            ShiftOp::Right | ShiftOp::RightSigned => {
                let fill = self.fill(op, high);
                let [low, high] = if is_far { [high, fill] } else { a };
                // The low word of a shift right is the high word of one left, by the rest of a word.
                let moved = if near == 0 { low } else { self.funnel([low, high], 32 - near) };
                [moved, self.shift_by(op, high, near)]
            }
            ShiftOp::RotateLeft => {
                let [low, high] = if is_far { [high, low] } else { a };
                [self.funnel([high, low], near), self.funnel([low, high], near)]
            }
            ShiftOp::RotateRight => self.wide_shift_by(ShiftOp::RotateLeft, a, (64 - amount) % 64),
        }
    }

    /// Returns the high word of an integer that is shifted left by less than 32.
    fn funnel(&mut self, [low, high]: Wide, amount: u32) -> Reg {
        if amount == 0 {
            return high;
        }
        let (up, down) =
            (self.shift_by(ShiftOp::Left, high, amount), self.shift_by(ShiftOp::Right, low, 32 - amount));
        self.vector2(VectorOp2::Or, up, down)
    }
}
