//! Ops on integers of 8 and 16 bits, each in a word: extended by its sign or by zeros.

use fulgurite_spec::{IntegerOp, ScalarType};

use super::bits::shift_right;
use super::scalar::{kind, relation};
use super::{Lowering, Part};
use crate::native::program::{Class, Reg, ShiftOp, Step, VectorOp1, VectorOp2};

/// Returns the width of a type of 8 or 16 bits.
pub(super) fn narrow_bits(ty: ScalarType) -> Option<u32> {
    match ty {
        ScalarType::I8 | ScalarType::U8 => Some(8),
        ScalarType::I16 | ScalarType::U16 | ScalarType::F16 | ScalarType::BF16 => Some(16),
        ScalarType::Bool
        | ScalarType::I32
        | ScalarType::I64
        | ScalarType::U32
        | ScalarType::U64
        | ScalarType::F32
        | ScalarType::F64 => None,
    }
}

/// Returns the word that holds a constant of the type.
pub(super) fn extended(ty: ScalarType, bits: u32) -> u32 {
    match narrow_bits(ty) {
        Some(width) if ty.is_signed() => ((bits << (32 - width)) as i32 >> (32 - width)) as u32,
        Some(width) => bits & ((1 << width) - 1),
        None => bits,
    }
}

impl Lowering<'_> {
    /// Extends the low bits of words by their sign or by zeros, depending on the type. Words of wider types stay as they are.
    pub(super) fn extend(&mut self, ty: ScalarType, a: Reg) -> Reg {
        let Some(width) = narrow_bits(ty) else { return a };
        if ty.is_signed() {
            let above = self.shift_by(ShiftOp::Left, a, 32 - width);
            self.shift_by(ShiftOp::RightSigned, above, 32 - width)
        } else {
            self.low_bits(a, width)
        }
    }

    fn low_bits(&mut self, a: Reg, width: u32) -> Reg {
        let mask = self.splat((1 << width) - 1);
        self.vector2(VectorOp2::And, a, mask)
    }

    /// Limits words to the range of the type.
    fn limit(&mut self, ty: ScalarType, width: u32, a: Reg) -> Reg {
        if ty.is_signed() {
            let (least, most) =
                (self.splat((-1i32 << (width - 1)) as u32), self.splat((1 << (width - 1)) - 1));
            let raised = self.vector2(VectorOp2::MaxSigned, a, least);
            self.vector2(VectorOp2::MinSigned, raised, most)
        } else {
            let most = self.splat((1 << width) - 1);
            self.vector2(VectorOp2::MinUnsigned, a, most)
        }
    }

    /// Compiles an op on one component.
    pub(super) fn narrow_integer(
        &mut self,
        op: IntegerOp,
        ty: ScalarType,
        width: u32,
        operands: &[Part],
        result: Part,
    ) -> Option<()> {
        let args = self.vectors(operands)?;
        let a = *args.first()?;
        let b = args.get(1).copied().unwrap_or(a);
        // The type of words that is signed if the type is. The results of its ops are extended below.
        let word = if ty.is_signed() { ScalarType::I32 } else { ScalarType::U32 };
        let to = match op {
            IntegerOp::Compare(op) => {
                let to = self.compare(relation(op), kind(ty), a, b);
                self.define_mask(result, to);
                return Some(());
            }
            IntegerOp::Add
            | IntegerOp::Sub
            | IntegerOp::Mul
            | IntegerOp::Neg
            | IntegerOp::Not
            | IntegerOp::Abs
            | IntegerOp::Sign
            | IntegerOp::Min
            | IntegerOp::Max
            | IntegerOp::Clamp
            | IntegerOp::Div
            | IntegerOp::Rem
            | IntegerOp::And
            | IntegerOp::Or
            | IntegerOp::Xor => self.word_op(op, word, &args)?,
            IntegerOp::MulHi => {
                let product = self.vector2(VectorOp2::Mul, a, b);
                self.shift_by(shift_right(ty), product, width)
            }
            IntegerOp::AddSat => {
                let sum = self.vector2(VectorOp2::Add, a, b);
                self.limit(ty, width, sum)
            }
            IntegerOp::SubSat if ty.is_signed() => {
                let difference = self.vector2(VectorOp2::Sub, a, b);
                self.limit(ty, width, difference)
            }
            IntegerOp::SubSat => self.word_op(op, word, &args)?,
            IntegerOp::Shl | IntegerOp::Shr => {
                let amount = self.narrow_amount(b, width);
                let shift = if op == IntegerOp::Shl { ShiftOp::Left } else { shift_right(ty) };
                self.vector2(VectorOp2::Shift(shift), a, amount)
            }
            IntegerOp::RotateLeft | IntegerOp::RotateRight => {
                let (bits, amount, all) =
                    (self.low_bits(a, width), self.narrow_amount(b, width), self.splat(width));
                let rest = self.vector2(VectorOp2::Sub, all, amount);
                let (left, right) = if op == IntegerOp::RotateLeft { (amount, rest) } else { (rest, amount) };
                let high = self.vector2(VectorOp2::Shift(ShiftOp::Left), bits, left);
                let low = self.vector2(VectorOp2::Shift(ShiftOp::Right), bits, right);
                self.vector2(VectorOp2::Or, high, low)
            }
            IntegerOp::PopCount => {
                let bits = self.low_bits(a, width);
                self.bit_op(op, ScalarType::U32, &[bits])?
            }
            IntegerOp::LeadingZeros => {
                let (bits, above) = (self.low_bits(a, width), self.splat(32 - width));
                let zeros = self.bit_op(op, ScalarType::U32, &[bits])?;
                self.vector2(VectorOp2::Sub, zeros, above)
            }
            IntegerOp::TrailingZeros => {
                // A bit above the type ends the count.
                let end = self.splat(1 << width);
                let bits = self.vector2(VectorOp2::Or, a, end);
                self.bit_op(op, ScalarType::U32, &[bits])?
            }
            IntegerOp::ReverseBits => {
                let reversed = self.bit_op(op, ScalarType::U32, &[a])?;
                self.shift_by(ShiftOp::Right, reversed, 32 - width)
            }
            IntegerOp::ExtractBits => self.extract_bits(ty, width, [a, b, *args.get(2)?]),
            IntegerOp::InsertBits => self.insert_bits(width, [a, b, *args.get(2)?, *args.get(3)?]),
            IntegerOp::DotPacked => return None,
        };
        let to = self.extend(ty, to);
        self.define_vector(result, to);
        Some(())
    }

    /// Returns an amount of a shift modulo the width.
    fn narrow_amount(&mut self, amount: Reg, width: u32) -> Reg {
        let most = self.splat(width - 1);
        self.vector2(VectorOp2::And, amount, most)
    }

    /// Converts words of floats to integers of the type, saturating; NaN is 0.
    pub(super) fn narrow_of_float(&mut self, ty: ScalarType, a: Reg) -> Reg {
        let op = if ty.is_signed() { VectorOp1::SignedOfFloat } else { VectorOp1::UnsignedOfFloat };
        let to = self.reg(Class::Vector);
        self.push(Step::Vector1 { op, to, a });
        match narrow_bits(ty) {
            Some(width) => self.limit(ty, width, to),
            None => to,
        }
    }
}
