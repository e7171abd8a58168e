//! Lowering of `convert`: total where SPIR-V's conversions are not.

use fulgurite_spec::{ScalarType, Type};

use super::Emitter;
use crate::assembler::Id;
use crate::spv::op;

impl Emitter<'_> {
    pub(super) fn convert(&mut self, value: Id, from: Type, to: Type) -> Id {
        match (from.scalar, to.scalar) {
            (a, b) if a == b => value,
            (ScalarType::Bool, _) => {
                let one = match to.scalar {
                    ScalarType::F32 => u64::from(1f32.to_bits()),
                    _ => 1,
                };
                let (one, zero) = (self.asm.splat(to, one), self.asm.splat(to, 0));
                self.make(op::Select, to, &[value, one, zero])
            }
            (ScalarType::F32, ScalarType::Bool) => {
                let zero = self.asm.splat(from, 0);
                self.make(op::FUnordNotEqual, to, &[value, zero])
            }
            (_, ScalarType::Bool) => {
                let zero = self.asm.splat(from, 0);
                self.make(op::INotEqual, to, &[value, zero])
            }
            (ScalarType::F32, _) => self.float_to_integer(value, from, to),
            (_, ScalarType::F32) => self.integer_to_float(value, from, to),
            _ => self.make(op::Bitcast, to, &[value]),
        }
    }

    /// To nearest even. Where the device does not promise that of conversions, both halves are converted, which
    /// is exact, and their sum is rounded once.
    fn integer_to_float(&mut self, value: Id, from: Type, to: Type) -> Id {
        let signed = from.scalar == ScalarType::I32;
        let convert = if signed { op::ConvertSToF } else { op::ConvertUToF };
        if self.profile.rounding_mode_rte_f32 {
            return self.make(convert, to, &[value]);
        }
        let words = from.with_scalar(ScalarType::U32);
        let (half, mask) = (self.asm.splat(words, 16), self.asm.splat(from, 0xffff));
        let shift = if signed { op::ShiftRightArithmetic } else { op::ShiftRightLogical };
        let high = self.make(shift, from, &[value, half]);
        let low = self.make(op::BitwiseAnd, from, &[value, mask]);
        let [high, low] = [high, low].map(|part| self.make(convert, to, &[part]));
        let scale = self.asm.splat(to, u64::from(65_536f32.to_bits()));
        let high = self.arithmetic(op::FMul, to, &[high, scale]);
        self.arithmetic(op::FAdd, to, &[high, low])
    }

    /// Truncates, saturates, NaN to 0: SPIR-V leaves what is out of range undefined.
    fn float_to_integer(&mut self, value: Id, from: Type, to: Type) -> Id {
        let mask = from.with_scalar(ScalarType::Bool);
        let signed = to.scalar == ScalarType::I32;
        // Both bounds are powers of two or 0, so they are exact; the upper one is just out of range.
        let (least, above, most) = if signed {
            (-2_147_483_648f32, 2_147_483_648f32, 0x7fff_ffff)
        } else {
            (0.0, 4_294_967_296.0, 0xffff_ffff)
        };
        let least_bits = if signed { 0x8000_0000 } else { 0 };
        let [low, high] = [least, above].map(|bound| self.asm.splat(from, u64::from(bound.to_bits())));
        let at_least = self.make(op::FOrdGreaterThanEqual, mask, &[value, low]);
        let below = self.make(op::FOrdLessThan, mask, &[value, high]);
        let inside = self.make(op::LogicalAnd, mask, &[at_least, below]);
        let zero = self.asm.splat(from, 0);
        let safe = self.make(op::Select, from, &[inside, value, zero]);
        let converted = self.make(if signed { op::ConvertFToS } else { op::ConvertFToU }, to, &[safe]);
        let too_high = self.make(op::FOrdGreaterThanEqual, mask, &[value, high]);
        let too_low = self.make(op::FOrdLessThan, mask, &[value, low]);
        let (most, least) = (self.asm.splat(to, most), self.asm.splat(to, least_bits));
        // NaN is neither: what is left is the conversion of zero.
        let result = self.make(op::Select, to, &[too_high, most, converted]);
        self.make(op::Select, to, &[too_low, least, result])
    }
}
