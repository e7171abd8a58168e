//! Ops on the bits of vectors of integers, in terms of shifts, products and logical ops.

use fulgurite_spec::{IntegerOp, ScalarType};

use super::Lowering;
use crate::native::program::{Class, Kind, Reg, Relation, ShiftOp, Step, VectorOp2};

/// The width of a lane in bits.
const WIDTH: u32 = 32;

/// Returns the shift to the right that keeps the sign of a type.
pub(super) fn shift_right(ty: ScalarType) -> ShiftOp {
    if ty.is_signed() { ShiftOp::RightSigned } else { ShiftOp::Right }
}

impl Lowering<'_> {
    /// Compiles an op on bits; `None` for other ops.
    pub(super) fn bit_op(&mut self, op: IntegerOp, ty: ScalarType, args: &[Reg]) -> Option<Reg> {
        let a = *args.first()?;
        let b = args.get(1).copied().unwrap_or(a);
        Some(match op {
            IntegerOp::PopCount => self.pop_count(a),
            IntegerOp::LeadingZeros => {
                // All bits below the highest one bit are set; those that remain clear are counted.
                let mut filled = a;
                for distance in [1, 2, 4, 8, 16] {
                    let moved = self.shift_by(ShiftOp::Right, filled, distance);
                    filled = self.vector2(VectorOp2::Or, filled, moved);
                }
                let clear = self.complement(filled);
                self.pop_count(clear)
            }
            IntegerOp::TrailingZeros => {
                let one = self.splat(1);
                let (clear, less) = (self.complement(a), self.vector2(VectorOp2::Sub, a, one));
                let below = self.vector2(VectorOp2::And, clear, less);
                self.pop_count(below)
            }
            IntegerOp::ReverseBits => {
                let mut value = a;
                for (distance, bits) in
                    [(1, 0x5555_5555), (2, 0x3333_3333), (4, 0x0f0f_0f0f), (8, 0x00ff_00ff)]
                {
                    value = self.swap_groups(value, distance, bits);
                }
                self.shift_by(ShiftOp::RotateLeft, value, WIDTH / 2)
            }
            IntegerOp::ExtractBits => self.extract_bits(ty, WIDTH, [a, b, *args.get(2)?]),
            IntegerOp::InsertBits => self.insert_bits(WIDTH, [a, b, *args.get(2)?, *args.get(3)?]),
            IntegerOp::MulHi if ty.is_signed() => self.vector2(VectorOp2::MulHighSigned, a, b),
            IntegerOp::MulHi => self.vector2(VectorOp2::MulHighUnsigned, a, b),
            // min(a, !b) + b, and max(a, b) - b.
            IntegerOp::AddSat if !ty.is_signed() => {
                let room = self.complement(b);
                let low = self.vector2(VectorOp2::MinUnsigned, a, room);
                self.vector2(VectorOp2::Add, low, b)
            }
            IntegerOp::SubSat if !ty.is_signed() => {
                let high = self.vector2(VectorOp2::MaxUnsigned, a, b);
                self.vector2(VectorOp2::Sub, high, b)
            }
            IntegerOp::AddSat => {
                // The sum overflows if its sign differs from the signs of both operands.
                let sum = self.vector2(VectorOp2::Add, a, b);
                self.saturate(a, sum, [[a, sum], [b, sum]])
            }
            IntegerOp::SubSat => {
                let difference = self.vector2(VectorOp2::Sub, a, b);
                self.saturate(a, difference, [[a, b], [a, difference]])
            }
            IntegerOp::DotPacked => self.dot_packed(ty, a, b),
            IntegerOp::Compare(_)
            | IntegerOp::Add
            | IntegerOp::Sub
            | IntegerOp::Mul
            | IntegerOp::Div
            | IntegerOp::Rem
            | IntegerOp::Neg
            | IntegerOp::Abs
            | IntegerOp::Sign
            | IntegerOp::Min
            | IntegerOp::Max
            | IntegerOp::Clamp
            | IntegerOp::And
            | IntegerOp::Or
            | IntegerOp::Xor
            | IntegerOp::Not
            | IntegerOp::Shl
            | IntegerOp::Shr
            | IntegerOp::RotateLeft
            | IntegerOp::RotateRight => return None,
        })
    }

    /// Shifts or rotates all lanes by the same amount.
    pub(super) fn shift_by(&mut self, op: ShiftOp, a: Reg, by: u32) -> Reg {
        let to = self.reg(Class::Vector);
        self.push(Step::ShiftBy { op, to, a, by });
        to
    }

    pub(super) fn complement(&mut self, a: Reg) -> Reg {
        let ones = self.splat(u32::MAX);
        self.vector2(VectorOp2::Xor, a, ones)
    }

    fn and_bits(&mut self, a: Reg, bits: u32) -> Reg {
        let bits = self.splat(bits);
        self.vector2(VectorOp2::And, a, bits)
    }

    /// Swaps neighboring groups of `distance` bits; `bits` are those of every other group, from the lowest one on.
    fn swap_groups(&mut self, a: Reg, distance: u32, bits: u32) -> Reg {
        let high = self.shift_by(ShiftOp::Right, a, distance);
        let (high, low) = (self.and_bits(high, bits), self.and_bits(a, bits));
        let low = self.shift_by(ShiftOp::Left, low, distance);
        self.vector2(VectorOp2::Or, high, low)
    }

    /// Counts in groups of 2, 4 and 8 bits, and then adds the bytes by a product.
    fn pop_count(&mut self, a: Reg) -> Reg {
        let half = self.shift_by(ShiftOp::Right, a, 1);
        let half = self.and_bits(half, 0x5555_5555);
        let pairs = self.vector2(VectorOp2::Sub, a, half);
        let high = self.shift_by(ShiftOp::Right, pairs, 2);
        let (high, low) = (self.and_bits(high, 0x3333_3333), self.and_bits(pairs, 0x3333_3333));
        let fours = self.vector2(VectorOp2::Add, high, low);
        let high = self.shift_by(ShiftOp::Right, fours, 4);
        let bytes = self.vector2(VectorOp2::Add, high, fours);
        let (bytes, ones) = (self.and_bits(bytes, 0x0f0f_0f0f), self.splat(0x0101_0101));
        let sum = self.vector2(VectorOp2::Mul, bytes, ones);
        self.shift_by(ShiftOp::Right, sum, 24)
    }

    /// Returns the offset and the count of a field, clamped to the width of the type, and the lanes in which it is empty.
    pub(super) fn field(&mut self, width: u32, offset: Reg, count: Reg) -> [Reg; 3] {
        let (width, zero) = (self.splat(width), self.splat(0));
        let offset = self.vector2(VectorOp2::MinUnsigned, offset, width);
        let room = self.vector2(VectorOp2::Sub, width, offset);
        let count = self.vector2(VectorOp2::MinUnsigned, count, room);
        let is_empty = self.compare(Relation::Eq, Kind::Unsigned, count, zero);
        [offset, count, is_empty]
    }

    pub(super) fn extract_bits(&mut self, ty: ScalarType, bits: u32, [a, offset, count]: [Reg; 3]) -> Reg {
        let [offset, count, is_empty] = self.field(bits, offset, count);
        let (width, zero) = (self.splat(WIDTH), self.splat(0));
        let above = self.vector2(VectorOp2::Sub, width, count);
        let left = self.vector2(VectorOp2::Sub, above, offset);
        let moved = self.vector2(VectorOp2::Shift(ShiftOp::Left), a, left);
        let field = self.vector2(VectorOp2::Shift(shift_right(ty)), moved, above);
        self.blend(is_empty, zero, field)
    }

    pub(super) fn insert_bits(&mut self, bits: u32, [a, b, offset, count]: [Reg; 4]) -> Reg {
        let [offset, count, is_empty] = self.field(bits, offset, count);
        let (width, zero, ones) = (self.splat(WIDTH), self.splat(0), self.splat(u32::MAX));
        let above = self.vector2(VectorOp2::Sub, width, count);
        let low = self.vector2(VectorOp2::Shift(ShiftOp::Right), ones, above);
        let bits = self.vector2(VectorOp2::Shift(ShiftOp::Left), low, offset);
        let bits = self.blend(is_empty, zero, bits);
        let others = self.complement(bits);
        let (kept, moved) = (
            self.vector2(VectorOp2::And, a, others),
            self.vector2(VectorOp2::Shift(ShiftOp::Left), b, offset),
        );
        let new = self.vector2(VectorOp2::And, moved, bits);
        self.vector2(VectorOp2::Or, kept, new)
    }

    /// Returns `result`, or the end of the type in the direction of `a` where both pairs differ in sign.
    fn saturate(&mut self, a: Reg, result: Reg, pairs: [[Reg; 2]; 2]) -> Reg {
        let [first, second] = pairs.map(|[a, b]| self.vector2(VectorOp2::Xor, a, b));
        let signs = self.vector2(VectorOp2::And, first, second);
        let (zero, largest) = (self.splat(0), self.splat(i32::MAX as u32));
        let overflows = self.compare(Relation::Lt, Kind::Signed, signs, zero);
        let sign = self.shift_by(ShiftOp::RightSigned, a, WIDTH - 1);
        let end = self.vector2(VectorOp2::Xor, sign, largest);
        self.blend(overflows, end, result)
    }

    /// Returns the sum of the products of four bytes.
    fn dot_packed(&mut self, ty: ScalarType, a: Reg, b: Reg) -> Reg {
        let shift = shift_right(ty);
        let mut sum = self.splat(0);
        for above in [24, 16, 8, 0] {
            let [a, b] = [a, b].map(|word| {
                let top = self.shift_by(ShiftOp::Left, word, above);
                self.shift_by(shift, top, 24)
            });
            let product = self.vector2(VectorOp2::Mul, a, b);
            sum = self.vector2(VectorOp2::Add, sum, product);
        }
        sum
    }
}
