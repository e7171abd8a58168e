//! Lowering of `convert`, total unlike SPIR-V's conversions, and of arithmetic on `bf16`, which is done in `f32`.

use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::{FloatOp, ScalarType, Type};

use super::Emitter;
use super::narrow::unsigned;
use crate::assembler::Id;
use crate::spv::{glsl, op};

impl Emitter<'_> {
    pub(super) fn convert(&mut self, value: Id, from: Type, to: Type) -> Id {
        let wide = from.with_scalar(ScalarType::F32);
        match (from.scalar, to.scalar) {
            (a, b) if a == b => value,
            (ScalarType::Bool, _) => {
                let one = FloatFormat::of(to.scalar).map_or(1, |format| format.encode(1.0));
                let (one, zero) = (self.asm.splat(to, one), self.asm.splat(to, 0));
                self.make(op::Select, to, &[value, one, zero])
            }
            (ScalarType::BF16, _) => {
                let value = self.widen_brain_float(from, value);
                self.convert(value, wide, to)
            }
            (a, ScalarType::Bool) => {
                let zero = self.limit(from, 0);
                self.make(if a.is_float() { op::FUnordNotEqual } else { op::INotEqual }, to, &[value, zero])
            }
            (a, b) if a.is_float() && b.is_float() => self.float_to_float(value, from, to),
            // Because of its small range, the bounds of every integer type are exact in f32.
            (ScalarType::F16, _) => {
                let value = self.make(op::FConvert, wide, &[value]);
                self.float_to_integer(value, wide, to)
            }
            (a, _) if a.is_float() => self.float_to_integer(value, from, to),
            (_, ScalarType::BF16) => {
                let value = self.integer_to_odd(value, from);
                self.narrow_to_brain_float(to, value)
            }
            // Integers that need more than 24 bits are above the largest f16 anyway.
            (_, ScalarType::F16) => {
                let value = self.integer_to_float(value, from, wide);
                self.make(op::FConvert, to, &[value])
            }
            (_, b) if b.is_float() => self.integer_to_float(value, from, to),
            _ => self.integer_to_integer(value, from, to),
        }
    }

    pub(super) fn integer_to_integer(&mut self, value: Id, from: Type, to: Type) -> Id {
        let (bits, wanted) = (from.scalar.bits(), to.scalar.bits());
        let (signed, wants_sign) = (from.scalar.is_signed(), to.scalar.is_signed());
        if wanted == 64 || bits == 64 {
            if bits == wanted {
                return self.as_type(from, to, value);
            }
            // The result of `OpUConvert` is unsigned.
            let (opcode, through) = match (signed, wanted) {
                (true, 64) => (op::SConvert, ScalarType::I64),
                (false, 64) => (op::UConvert, ScalarType::U64),
                _ => (op::UConvert, ScalarType::U32),
            };
            let through = to.with_scalar(through);
            let value = self.make(opcode, through, &[value]);
            if wanted == 64 {
                let value = self.as_type(through, to, value);
                return if signed { self.keep_wide(to, value) } else { value };
            }
            let value = self.word_as(through.scalar, to, value);
            return self.wrapped(to, value);
        }
        // Between words: values that both types can represent need no wrapping.
        let value = self.word_as(from.scalar, to, value);
        let same = from.scalar == to.scalar || bits == 32 && wanted == 32;
        let brain = self.profile.rules.narrow_integers && from.scalar == ScalarType::BF16;
        let fits = same
            || !brain && (bits < wanted && (!signed || wants_sign) || bits == wanted && signed == wants_sign);
        if fits { value } else { self.wrapped(to, value) }
    }

    /// Converts between float formats with a single rounding.
    fn float_to_float(&mut self, value: Id, from: Type, to: Type) -> Id {
        let wide = from.with_scalar(ScalarType::F32);
        match (from.scalar, to.scalar) {
            (ScalarType::F32, ScalarType::BF16) => self.narrow_to_brain_float(to, value),
            (ScalarType::F16, ScalarType::BF16) => {
                let value = self.make(op::FConvert, wide, &[value]);
                self.narrow_to_brain_float(to, value)
            }
            (ScalarType::F64, ScalarType::F16 | ScalarType::BF16) => {
                let odd = self.double_to_odd(value, from);
                self.float_to_float(odd, wide, to)
            }
            _ => self.make(op::FConvert, to, &[value]),
        }
    }

    /// Converts an `f64` to an `f32` with round-to-odd (the last bit is odd unless the result is exact), so that a
    /// second rounding is correct.
    fn double_to_odd(&mut self, value: Id, from: Type) -> Id {
        let (wide, words) = (from.with_scalar(ScalarType::F32), from.with_scalar(ScalarType::U32));
        let mask = from.with_scalar(ScalarType::Bool);
        let near = self.make(op::FConvert, wide, &[value]);
        let back = self.make(op::FConvert, from, &[near]);
        let [magnitude, back_magnitude] = [value, back].map(|v| self.glsl(glsl::FAbs, from, &[v]));
        let bits = self.make(op::Bitcast, words, &[near]);
        let (zero, one) = (self.asm.splat(words, 0), self.asm.splat(words, 1));
        let (more, less) = (one, self.asm.splat(words, u64::from(u32::MAX)));
        let last = self.make(op::BitwiseAnd, words, &[bits, one]);
        let even = self.make(op::IEqual, mask, &[last, zero]);
        let above = self.make(op::FOrdGreaterThan, mask, &[magnitude, back_magnitude]);
        let below = self.make(op::FOrdLessThan, mask, &[magnitude, back_magnitude]);
        let step = self.make(op::Select, words, &[below, less, zero]);
        let step = self.make(op::Select, words, &[above, more, step]);
        let step = self.make(op::Select, words, &[even, step, zero]);
        let bits = self.make(op::IAdd, words, &[bits, step]);
        self.make(op::Bitcast, wide, &[bits])
    }

    /// Converts an integer to an `f32` with round-to-odd: keeps the sign and the leading bits, and sets the last bit if
    /// bits are lost, so that a second rounding is correct.
    fn integer_to_odd(&mut self, value: Id, from: Type) -> Id {
        let wide = from.with_scalar(ScalarType::F32);
        if from.scalar.bits() <= 16 {
            return self.integer_to_float(value, from, wide);
        }
        let (signed, bits) = (from.scalar.is_signed(), from.scalar.bits());
        let unsigned = unsigned(from);
        let (mask, words) = (from.with_scalar(ScalarType::Bool), from.with_scalar(ScalarType::U32));
        let mut magnitude = self.as_type(from, unsigned, value);
        let mut negative = None;
        if signed {
            let zero = self.limit(from, 0);
            let below = self.make(op::SLessThan, mask, &[value, zero]);
            magnitude = self.negated_where(unsigned, below, magnitude);
            negative = Some(below);
        }
        // Number of bits beyond 24.
        let zeros = self.leading_zeros(unsigned, magnitude);
        let zeros = self.convert(zeros, unsigned, words);
        let spare = self.asm.splat(words, u64::from(bits - 24));
        let kept_zeros = self.glsl(glsl::UMin, words, &[zeros, spare]);
        let shift = self.make(op::ISub, words, &[spare, kept_zeros]);
        let high = self.make(op::ShiftRightLogical, unsigned, &[magnitude, shift]);
        let again = self.make(op::ShiftLeftLogical, unsigned, &[high, shift]);
        let lost = self.make(op::INotEqual, mask, &[again, magnitude]);
        let (one, zero) = (self.asm.splat(unsigned, 1), self.asm.splat(unsigned, 0));
        let sticky = self.make(op::Select, unsigned, &[lost, one, zero]);
        let kept = self.make(op::BitwiseOr, unsigned, &[high, sticky]);
        let float = self.make(op::ConvertUToF, wide, &[kept]);
        // 2^shift, built from its exponent field.
        let bias = self.asm.splat(words, 127);
        let exponent = self.make(op::IAdd, words, &[shift, bias]);
        let place = self.asm.splat(words, 23);
        let scale = self.make(op::ShiftLeftLogical, words, &[exponent, place]);
        let scale = self.make(op::Bitcast, wide, &[scale]);
        let scaled = self.arithmetic(op::FMul, wide, &[float, scale]);
        match negative {
            Some(below) => {
                let negated = self.make(op::FNegate, wide, &[scaled]);
                self.make(op::Select, wide, &[below, negated, scaled])
            }
            None => scaled,
        }
    }

    /// Rounds to nearest even. If the device does not guarantee that for conversions, both halves are converted, which
    /// is exact, and their sum is rounded once.
    fn integer_to_float(&mut self, value: Id, from: Type, to: Type) -> Id {
        let (signed, bits) = (from.scalar.is_signed(), from.scalar.bits());
        let convert = if signed { op::ConvertSToF } else { op::ConvertUToF };
        let exact = FloatFormat::of(to.scalar).is_some_and(|format| bits <= format.precision);
        if exact || bits > 32 || self.profile.float_controls(to.scalar).rounding_mode_rte {
            return self.make(convert, to, &[value]);
        }
        let words = from.with_scalar(ScalarType::U32);
        let (half, mask) = (self.asm.splat(words, 16), self.asm.splat(from, 0xffff));
        let shift = if signed { op::ShiftRightArithmetic } else { op::ShiftRightLogical };
        let high = self.make(shift, from, &[value, half]);
        let low = self.make(op::BitwiseAnd, from, &[value, mask]);
        let [high, low] = [high, low].map(|part| self.make(convert, to, &[part]));
        let scale = self.float_constant(to, 65_536.0);
        let high = self.arithmetic(op::FMul, to, &[high, scale]);
        self.arithmetic(op::FAdd, to, &[high, low])
    }

    /// Truncates and saturates, and maps NaN to 0. SPIR-V leaves values out of range undefined.
    fn float_to_integer(&mut self, value: Id, from: Type, to: Type) -> Id {
        let mask = from.with_scalar(ScalarType::Bool);
        let (signed, bits) = (to.scalar.is_signed(), to.scalar.bits());
        // Both bounds are powers of two or 0, so they are exact. The upper one is the first value out of range.
        let above = f64::from(bits - u32::from(signed)).exp2();
        let (least, least_bits, most) = if signed {
            (-above, to.scalar.mask() / 2 + 1, to.scalar.mask() / 2)
        } else {
            (0.0, 0, to.scalar.mask())
        };
        let [low, high] = [least, above].map(|bound| self.float_constant(from, bound));
        let at_least = self.make(op::FOrdGreaterThanEqual, mask, &[value, low]);
        let below = self.make(op::FOrdLessThan, mask, &[value, high]);
        let inside = self.make(op::LogicalAnd, mask, &[at_least, below]);
        let zero = self.asm.splat(from, 0);
        let safe = self.make(op::Select, from, &[inside, value, zero]);
        // Narrow integers go through a word, a conversion that every driver supports.
        let through = match (bits < 32, signed) {
            (true, true) => to.with_scalar(ScalarType::I32),
            (true, false) => to.with_scalar(ScalarType::U32),
            (false, _) => to,
        };
        let converted = self.make(if signed { op::ConvertFToS } else { op::ConvertFToU }, through, &[safe]);
        // In range, so it is already a value of the narrow type.
        let converted = self.word_as(through.scalar, to, converted);
        let too_high = self.make(op::FOrdGreaterThanEqual, mask, &[value, high]);
        let too_low = self.make(op::FOrdLessThan, mask, &[value, low]);
        let (most, least) = (self.asm.splat(to, most), self.asm.splat(to, least_bits));
        // For NaN neither condition holds, which leaves the conversion of zero.
        let result = self.make(op::Select, to, &[too_high, most, converted]);
        let result = self.make(op::Select, to, &[too_low, least, result]);
        if bits == 64 { self.keep_high_half(to, result) } else { result }
    }

    /// Widens a `bf16`, which is the upper half of an `f32`.
    fn widen_brain_float(&mut self, ty: Type, value: Id) -> Id {
        let words = ty.with_scalar(ScalarType::U32);
        let half = self.asm.splat(words, 16);
        let bits = self.make(op::ShiftLeftLogical, words, &[value, half]);
        self.make(op::Bitcast, ty.with_scalar(ScalarType::F32), &[bits])
    }

    /// Rounds the bits of an `f32` to nearest even; NaNs stay NaNs.
    fn narrow_to_brain_float(&mut self, to: Type, value: Id) -> Id {
        let words = to.with_scalar(ScalarType::U32);
        let mask = to.with_scalar(ScalarType::Bool);
        let bits = self.make(op::Bitcast, words, &[value]);
        let [half, one, below, quiet] =
            [16, 1, 0x7fff, 0x7fc0].map(|constant| self.asm.splat(words, constant));
        let high = self.make(op::ShiftRightLogical, words, &[bits, half]);
        let odd = self.make(op::BitwiseAnd, words, &[high, one]);
        let round = self.make(op::IAdd, words, &[below, odd]);
        let sum = self.make(op::IAdd, words, &[bits, round]);
        let rounded = self.make(op::ShiftRightLogical, words, &[sum, half]);
        let nan = self.make(op::IsNan, mask, &[value]);
        self.make(op::Select, words, &[nan, quiet, rounded])
    }

    /// Lowers an op on `bf16`: moved as bits, or computed in `f32` and rounded.
    pub(super) fn brain_float(&mut self, float_op: FloatOp, ty: Type, args: &[Id]) -> Id {
        let is_rounded = match float_op {
            FloatOp::Neg => {
                let sign = self.asm.splat(ty, 0x8000);
                return self.make(op::BitwiseXor, ty, &[args[0], sign]);
            }
            FloatOp::Abs => {
                let rest = self.asm.splat(ty, 0x7fff);
                return self.make(op::BitwiseAnd, ty, &[args[0], rest]);
            }
            FloatOp::Compare(_) | FloatOp::IsNan | FloatOp::IsInf => false,
            FloatOp::Transcendental(_)
            | FloatOp::Add
            | FloatOp::Sub
            | FloatOp::Mul
            | FloatOp::Div
            | FloatOp::Sign
            | FloatOp::Min
            | FloatOp::Max
            | FloatOp::Clamp
            | FloatOp::Fma
            | FloatOp::Floor
            | FloatOp::Ceil
            | FloatOp::Trunc
            | FloatOp::Round
            | FloatOp::Fract
            | FloatOp::Sqrt
            | FloatOp::Rsqrt => true,
        };
        let wide = ty.with_scalar(ScalarType::F32);
        let args: Vec<Id> = args.iter().map(|arg| self.widen_brain_float(ty, *arg)).collect();
        let result = self.float(float_op, wide, &args);
        if is_rounded { self.narrow_to_brain_float(ty, result) } else { result }
    }
}
