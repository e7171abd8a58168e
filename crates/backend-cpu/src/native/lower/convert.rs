//! Conversions between types.

use fulgurite_spec::ScalarType;

use super::half::is_half;
use super::scalar::ONE;
use super::vector::SIGN;
use super::{Lowering, Part, component_words};
use crate::native::program::{Kind, Reg, Relation, VectorOp1, VectorOp2};

impl Lowering<'_> {
    /// Compiles a conversion of a component that is not a scalar.
    pub(super) fn convert(&mut self, from: ScalarType, operand: Part, result: Part) -> Option<()> {
        let to = self.scalar_type(result);
        if from == to {
            self.alias_component(operand, result);
        } else if from == ScalarType::Bool {
            self.convert_bool(to, operand, result)?;
        } else if to == ScalarType::Bool {
            let mask = self.is_set(from, operand)?;
            self.define_mask(result, mask);
        } else if from.is_float() {
            let bits = self.vector(operand)?;
            let single = if is_half(from) { self.single_of(from, bits) } else { bits };
            if is_half(to) {
                let half = self.half_of(to, single);
                self.define_vector(result, half);
            } else if to.is_float() {
                self.define_vector(result, single);
            } else if component_words(to) == 2 {
                let wide = self.wide_of_float(to.is_signed(), single);
                self.define_wide(result, wide);
            } else {
                let integer = self.narrow_of_float(to, single);
                self.define_vector(result, integer);
            }
        } else if to.is_float() {
            let single = self.single_of_integer(from, to, operand)?;
            let float = if is_half(to) { self.half_of(to, single) } else { single };
            self.define_vector(result, float);
        } else {
            self.convert_integer(from, operand, result)?;
        }
        Some(())
    }

    /// Converts a bool to 0 or 1.
    fn convert_bool(&mut self, to: ScalarType, operand: Part, result: Part) -> Option<()> {
        let one = match to {
            ScalarType::F32 => ONE,
            ScalarType::BF16 => ONE >> 16,
            ScalarType::F16 => 0x3c00,
            ScalarType::Bool
            | ScalarType::I8
            | ScalarType::I16
            | ScalarType::I32
            | ScalarType::I64
            | ScalarType::U8
            | ScalarType::U16
            | ScalarType::U32
            | ScalarType::U64 => 1,
            ScalarType::F64 => return None,
        };
        let (mask, one, zero) = (self.mask(operand)?, self.splat(one), self.splat(0));
        let word = self.blend(mask, one, zero);
        for (position, part) in self.words_of(result).enumerate() {
            self.define_vector(part, if position == 0 { word } else { zero });
        }
        Some(())
    }

    /// Returns where a value is not 0.
    fn is_set(&mut self, from: ScalarType, operand: Part) -> Option<Reg> {
        if component_words(from) == 2 {
            let wide = self.wide(operand)?;
            return Some(self.wide_is_set(wide));
        }
        let (bits, zero) = (self.vector(operand)?, self.splat(0));
        let value = if is_half(from) { self.single_of(from, bits) } else { bits };
        let kind = if from.is_float() { Kind::Float } else { Kind::Unsigned };
        Some(self.compare(Relation::Ne, kind, value, zero))
    }

    /// Converts between integers: keeps the low bits.
    fn convert_integer(&mut self, from: ScalarType, operand: Part, result: Part) -> Option<()> {
        let to = self.scalar_type(result);
        if component_words(from) == 2 && component_words(to) == 2 {
            self.alias_component(operand, result);
            return Some(());
        }
        let low = self.vector(operand)?;
        if component_words(to) == 2 {
            let high = if from.is_signed() { self.sign_word(low) } else { self.splat(0) };
            self.define_wide(result, [low, high]);
        } else {
            let extended = self.extend(to, low);
            self.define_vector(result, extended);
        }
        Some(())
    }

    /// Converts an integer to `f32`, so that this can be rounded to `to`.
    fn single_of_integer(&mut self, from: ScalarType, to: ScalarType, operand: Part) -> Option<Reg> {
        let is_cut = to == ScalarType::BF16;
        if component_words(from) == 2 {
            let wide = self.wide(operand)?;
            return self.float_of_wide(from.is_signed(), is_cut, wide);
        }
        let word = self.vector(operand)?;
        let is_exact = from.size() < 4;
        if !is_cut || is_exact {
            let op = if from.is_signed() { VectorOp1::FloatOfSigned } else { VectorOp1::FloatOfUnsigned };
            return Some(self.vector1(op, word));
        }
        let magnitude = if from.is_signed() { self.vector1(VectorOp1::Abs, word) } else { word };
        let magnitude = self.with_sticky_bit(magnitude);
        let float = self.vector1(VectorOp1::FloatOfUnsigned, magnitude);
        Some(if from.is_signed() { self.signed(float, word) } else { float })
    }

    /// Sets the sign of a float to that of an integer.
    pub(super) fn signed(&mut self, float: Reg, integer: Reg) -> Reg {
        let sign = self.splat(SIGN);
        let sign = self.vector2(VectorOp2::And, integer, sign);
        self.vector2(VectorOp2::Or, float, sign)
    }
}
