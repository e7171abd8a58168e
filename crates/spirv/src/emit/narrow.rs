//! Values narrower than a word: their representation in registers, and the assembly of words from them.
//!
//! Integers of 8 and 16 bits, and the bits of a `bf16`, are sign-extended or zero-extended to words in registers.
//! Arithmetic is done on words, and a result that may exceed the narrow type is wrapped by shifts or a mask. Drivers
//! that compute in narrow types were found to leave garbage above the type's bits, and to mistake rotations by half the
//! width for byte swaps.

use fulgurite_spec::{Lanes, ScalarType, Type};

use super::Emitter;
use crate::assembler::{Id, register};
use crate::spv::op;

/// Returns the unsigned integer of the same width, or a word if there is none.
pub(super) fn unsigned(ty: Type) -> Type {
    ty.with_scalar(ty.scalar.unsigned().unwrap_or(ScalarType::U32))
}

impl Emitter<'_> {
    /// Wraps a word, the low bits of which are an integer of type `ty`, to a value of `ty`.
    #[inline]
    pub(super) fn wrapped(&mut self, ty: Type, word: Id) -> Id {
        let held = register(ty);
        if held.scalar == ty.scalar {
            return word;
        }
        let signed = ty.scalar.is_signed();
        if !signed && !self.profile.rules.narrow_integers {
            let mask = self.asm.splat(held, ty.scalar.mask());
            return self.make(op::BitwiseAnd, held, &[word, mask]);
        }
        // Such a driver turns a mask, even a hidden one, into a narrow operation and leaves the bits above it in place.
        let unused = u64::from(32 - ty.scalar.bits());
        let unused = self.wrapping_constant(ty.with_scalar(ScalarType::U32), unused);
        let up = self.make(op::ShiftLeftLogical, held, &[word, unused]);
        let down = if signed { op::ShiftRightArithmetic } else { op::ShiftRightLogical };
        self.make(down, held, &[up, unused])
    }

    /// Converts a word that already is a value of type `ty`: changes only the signedness of the word.
    pub(super) fn word_as(&mut self, from: ScalarType, ty: Type, word: Id) -> Id {
        let (from, to) = (register(ty.with_scalar(from)), register(ty));
        if from == to { word } else { self.make(op::Bitcast, to, &[word]) }
    }

    /// Extends a loaded value to its register type.
    pub(super) fn extended(&mut self, ty: Type, value: Id) -> Id {
        let held = register(ty);
        if held == ty {
            return value;
        }
        let opcode = if ty.scalar.is_signed() { op::SConvert } else { op::UConvert };
        let word = self.make(opcode, held, &[value]);
        // All uses of a `bf16` shift its bits up or wrap them.
        let wraps = self.profile.rules.narrow_integers && ty.scalar != ScalarType::BF16;
        if wraps { self.wrapped(ty, word) } else { word }
    }

    /// Truncates a value in a register to its memory type.
    pub(super) fn truncated(&mut self, ty: Type, value: Id) -> Id {
        if register(ty) == ty {
            return value;
        }
        let opcode = if ty.scalar.is_signed() { op::SConvert } else { op::UConvert };
        let stored = self.asm.memory_ty(ty);
        self.asm.value(opcode, stored, &[value])
    }

    /// Reinterprets the bits as another type of the same size.
    pub(super) fn as_type(&mut self, from: Type, to: Type, value: Id) -> Id {
        let narrow = |ty: Type| register(ty) != ty;
        let halves = to.with_scalar(ScalarType::U16);
        match (narrow(from), narrow(to)) {
            _ if from == to => value,
            (true, true) => self.integer_to_integer(value, from, to),
            // The other type is `f16`.
            (true, false) => {
                let bits = self.integer_to_integer(value, from, halves);
                let bits = self.keep_bits(halves, bits);
                let bits = self.truncated(halves, bits);
                self.make(op::Bitcast, to, &[bits])
            }
            (false, true) => {
                let stored = self.asm.memory_ty(halves);
                let bits = self.asm.value(op::Bitcast, stored, &[value]);
                let bits = self.extended(halves, bits);
                self.integer_to_integer(bits, halves, to)
            }
            (false, false) => self.make(op::Bitcast, to, &[value]),
        }
    }

    /// Assembles a scalar from pieces of type `stored`, the lowest first.
    pub(super) fn join(&mut self, pieces: &[Id], stored: Type, to: Type) -> Id {
        if let [one] = pieces {
            return self.as_type(stored, to, *one);
        }
        let bits = stored.scalar.bits();
        let pieces: Vec<Id> =
            pieces.iter().map(|piece| self.as_type(stored, unsigned(stored), *piece)).collect();
        let per_word = (32 / bits) as usize;
        let words: Vec<Id> = pieces
            .chunks(per_word)
            .map(|pieces| {
                let mut word = pieces[0];
                for (piece, place) in pieces.iter().zip(0u32..).skip(1) {
                    let amount = self.asm.u32(place * bits);
                    let moved = self.make(op::ShiftLeftLogical, Type::U32, &[*piece, amount]);
                    word = self.make(op::BitwiseOr, Type::U32, &[word, moved]);
                }
                word
            })
            .collect();
        match words.as_slice() {
            [word] => self.as_type(unsigned(to), to, *word),
            words => {
                let pair = self.make(op::CompositeConstruct, Type::U32.with_lanes(Lanes::Two), words);
                self.make(op::Bitcast, to, &[pair])
            }
        }
    }

    /// Splits a scalar into pieces of type `stored`, the lowest first.
    pub(super) fn split(&mut self, value: Id, from: Type, stored: Type) -> Vec<Id> {
        let count = from.size() / stored.size();
        if count == 1 {
            return vec![self.as_type(from, stored, value)];
        }
        let bits = stored.scalar.bits();
        let words = if from.size() == 8 {
            let pair = self.make(op::Bitcast, Type::U32.with_lanes(Lanes::Two), &[value]);
            vec![0, 1].into_iter().map(|i| self.make(op::CompositeExtract, Type::U32, &[pair, i])).collect()
        } else {
            vec![self.as_type(from, unsigned(from), value)]
        };
        let per_word = 32 / bits;
        (0..count)
            .map(|place| {
                let mut word = words[(place / per_word) as usize];
                if place % per_word > 0 {
                    let amount = self.asm.u32(place % per_word * bits);
                    word = self.make(op::ShiftRightLogical, Type::U32, &[word, amount]);
                }
                let piece = self.wrapped(unsigned(stored), word);
                self.as_type(unsigned(stored), stored, piece)
            })
            .collect()
    }

    /// Packs the components of a vector into one integer.
    pub(super) fn pack(&mut self, vector: Type, to: Type, value: Id) -> Id {
        if vector.scalar.bits() >= 32 {
            return self.make(op::Bitcast, to, &[value]);
        }
        let element = vector.element();
        let components: Vec<Id> = (0..vector.lanes.count())
            .map(|lane| self.make(op::CompositeExtract, element, &[value, lane]))
            .collect();
        self.join(&components, element, to)
    }

    /// Unpacks an integer into the components of a vector.
    pub(super) fn unpack(&mut self, from: Type, to: Type, value: Id) -> Id {
        if to.scalar.bits() >= 32 {
            return self.make(op::Bitcast, to, &[value]);
        }
        let components = self.split(value, from, to.element());
        self.make(op::CompositeConstruct, to, &components)
    }
}
