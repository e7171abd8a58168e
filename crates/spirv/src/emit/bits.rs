//! Lowering of ops that count, reverse, extract and insert bits. SPIR-V's instructions support only 32 bits: narrower
//! integers are widened to a word, wider ones are split into two.

use fulgurite_spec::{ScalarType, Type};

use super::Emitter;
use super::narrow::unsigned;
use crate::assembler::Id;
use crate::spv::{glsl, op};

impl Emitter<'_> {
    /// Zero-extends `value`, which is narrower than a word, to a word.
    fn widened(&mut self, ty: Type, value: Id) -> Id {
        self.as_type(ty, unsigned(ty), value)
    }

    /// Returns the low and the high word of a 64-bit value.
    pub(super) fn halves(&mut self, ty: Type, value: Id) -> [Id; 2] {
        let (wide, words) = (ty.with_scalar(ScalarType::U64), ty.with_scalar(ScalarType::U32));
        let bits = self.as_type(ty, wide, value);
        let amount = self.asm.splat(words, 32);
        let high = self.make(op::ShiftRightLogical, wide, &[bits, amount]);
        [bits, high].map(|half| self.make(op::UConvert, words, &[half]))
    }

    /// Converts a word with a number of bits to `ty`.
    fn narrowed(&mut self, ty: Type, word: Id) -> Id {
        if ty.scalar.bits() < 32 {
            return self.word_as(ScalarType::U32, ty, word);
        }
        self.convert(word, ty.with_scalar(ScalarType::U32), ty)
    }

    pub(super) fn population(&mut self, ty: Type, value: Id) -> Id {
        let words = ty.with_scalar(ScalarType::U32);
        let count = match ty.scalar.bits() {
            32 => return self.make(op::BitCount, ty, &[value]),
            64 => {
                let [low, high] = self.halves(ty, value).map(|half| self.make(op::BitCount, words, &[half]));
                self.make(op::IAdd, words, &[low, high])
            }
            _ => {
                let word = self.widened(ty, value);
                self.make(op::BitCount, words, &[word])
            }
        };
        self.narrowed(ty, count)
    }

    pub(super) fn reverse_bits(&mut self, ty: Type, value: Id) -> Id {
        let words = ty.with_scalar(ScalarType::U32);
        match ty.scalar.bits() {
            32 => self.make(op::BitReverse, ty, &[value]),
            64 => {
                let wide = ty.with_scalar(ScalarType::U64);
                let [low, high] = self.halves(ty, value).map(|half| {
                    let reversed = self.make(op::BitReverse, words, &[half]);
                    self.make(op::UConvert, wide, &[reversed])
                });
                let amount = self.asm.splat(words, 32);
                let top = self.make(op::ShiftLeftLogical, wide, &[low, amount]);
                let both = self.make(op::BitwiseOr, wide, &[top, high]);
                self.as_type(wide, ty, both)
            }
            bits => {
                let word = self.widened(ty, value);
                let reversed = self.make(op::BitReverse, words, &[word]);
                let amount = self.asm.splat(words, u64::from(32 - bits));
                let low = self.make(op::ShiftRightLogical, words, &[reversed, amount]);
                self.as_type(unsigned(ty), ty, low)
            }
        }
    }

    /// Returns the number of zero bits above the highest one bit of a word, or 32 for 0.
    pub(super) fn word_leading_zeros(&mut self, words: Type, bits: Id) -> Id {
        // The position of the highest one bit, or −1 if there is none.
        let highest = self.glsl(glsl::FindUMsb, words, &[bits]);
        let top = self.asm.splat(words, 31);
        self.make(op::ISub, words, &[top, highest])
    }

    pub(super) fn leading_zeros(&mut self, ty: Type, value: Id) -> Id {
        let words = ty.with_scalar(ScalarType::U32);
        let zeros = match ty.scalar.bits() {
            32 => {
                let bits = self.as_type(ty, words, value);
                self.word_leading_zeros(words, bits)
            }
            64 => {
                let [low, high] = self.halves(ty, value);
                let (zero, width) = (self.asm.splat(words, 0), self.asm.splat(words, 32));
                let below = self.word_leading_zeros(words, low);
                let below = self.make(op::IAdd, words, &[below, width]);
                let above = self.word_leading_zeros(words, high);
                let none = self.make(op::IEqual, ty.with_scalar(ScalarType::Bool), &[high, zero]);
                self.make(op::Select, words, &[none, below, above])
            }
            bits => {
                let word = self.widened(ty, value);
                let zeros = self.word_leading_zeros(words, word);
                let unused = self.asm.splat(words, u64::from(32 - bits));
                self.make(op::ISub, words, &[zeros, unused])
            }
        };
        self.narrowed(ty, zeros)
    }

    pub(super) fn trailing_zeros(&mut self, ty: Type, value: Id) -> Id {
        let words = ty.with_scalar(ScalarType::U32);
        // The position of the lowest one bit, or −1 if there is none, which as an unsigned number is above any width.
        let zeros = match ty.scalar.bits() {
            64 => {
                let [low, high] = self.halves(ty, value);
                let (zero, width) = (self.asm.splat(words, 0), self.asm.splat(words, 32));
                let below = self.glsl(glsl::FindILsb, words, &[low]);
                let above = self.glsl(glsl::FindILsb, words, &[high]);
                let above = self.glsl(glsl::UMin, words, &[above, width]);
                let above = self.make(op::IAdd, words, &[above, width]);
                let none = self.make(op::IEqual, ty.with_scalar(ScalarType::Bool), &[low, zero]);
                self.make(op::Select, words, &[none, above, below])
            }
            bits => {
                let word = if bits == 32 { self.as_type(ty, words, value) } else { self.widened(ty, value) };
                let lowest = self.glsl(glsl::FindILsb, words, &[word]);
                let width = self.asm.splat(words, u64::from(bits));
                self.glsl(glsl::UMin, words, &[lowest, width])
            }
        };
        self.narrowed(ty, zeros)
    }

    /// Clamps the offset to the width, and the count to the rest of the width.
    fn field(&mut self, ty: Type, offset: Id, count: Id) -> (Id, Id) {
        let width = self.asm.u32(ty.scalar.bits());
        let offset = self.glsl(glsl::UMin, Type::U32, &[offset, width]);
        let left = self.make(op::ISub, Type::U32, &[width, offset]);
        let count = self.glsl(glsl::UMin, Type::U32, &[count, left]);
        (offset, count)
    }

    pub(super) fn extract_bits(&mut self, ty: Type, value: Id, offset: Id, count: Id) -> Id {
        let bits = ty.scalar.bits().max(32);
        let (offset, count) = self.field(ty, offset, count);
        let (width, zero, top) = (self.asm.u32(bits), self.asm.u32(0), self.asm.u32(bits - 1));
        // Shift the field to the high end, then down with sign or zero extension. No shift is by the whole width.
        let unused = self.make(op::ISub, Type::U32, &[width, count]);
        let above = self.make(op::ISub, Type::U32, &[unused, offset]);
        let up = self.make(op::BitwiseAnd, Type::U32, &[above, top]);
        let down = self.make(op::BitwiseAnd, Type::U32, &[unused, top]);
        let words = ty.with_scalar(ScalarType::U32);
        let (up, down) = (self.splat_value(words, up), self.splat_value(words, down));
        let raised = self.make(op::ShiftLeftLogical, ty, &[value, up]);
        let right = if ty.scalar.is_signed() { op::ShiftRightArithmetic } else { op::ShiftRightLogical };
        let field = self.make(right, ty, &[raised, down]);
        let none = self.make(op::IEqual, Type::BOOL, &[count, zero]);
        let none = self.splat_value(ty.with_scalar(ScalarType::Bool), none);
        let nothing = self.asm.splat(ty, 0);
        self.make(op::Select, ty, &[none, nothing, field])
    }

    pub(super) fn insert_bits(&mut self, ty: Type, args: &[Id]) -> Id {
        let bits = ty.scalar.bits();
        // The mask is an unsigned integer of the value's width.
        let unsigned = unsigned(ty.element());
        let (offset, count) = self.field(ty, args[2], args[3]);
        let (width, zero, top) = (self.asm.u32(bits), self.asm.u32(0), self.asm.u32(bits - 1));
        let (all, nothing) = (self.asm.splat(unsigned, unsigned.scalar.mask()), self.asm.splat(unsigned, 0));
        let unused = self.make(op::ISub, Type::U32, &[width, count]);
        let unused = self.make(op::BitwiseAnd, Type::U32, &[unused, top]);
        let low = self.make(op::ShiftRightLogical, unsigned, &[all, unused]);
        let none = self.make(op::IEqual, Type::BOOL, &[count, zero]);
        let low = self.make(op::Select, unsigned, &[none, nothing, low]);
        let offset = self.make(op::BitwiseAnd, Type::U32, &[offset, top]);
        let mask = self.make(op::ShiftLeftLogical, unsigned, &[low, offset]);
        let mask = self.as_type(unsigned, ty.element(), mask);
        let mask = self.splat_value(ty, mask);
        let offset = self.splat_value(ty.with_scalar(ScalarType::U32), offset);
        let moved = self.make(op::ShiftLeftLogical, ty, &[args[1], offset]);
        let taken = self.make(op::BitwiseAnd, ty, &[moved, mask]);
        let kept_mask = self.make(op::Not, ty, &[mask]);
        let kept = self.make(op::BitwiseAnd, ty, &[args[0], kept_mask]);
        let both = self.make(op::BitwiseOr, ty, &[kept, taken]);
        self.wrapped(ty, both)
    }
}
