//! Ops on floats of 16 bits, each the low bits of a word: computed as `f32`, and rounded.
//!
//! Sums, differences, products, quotients and roots are the same as those rounded once, because `f32` has more than twice as
//! many digits. `fma` would not be, so on `f16` it rounds its product as well; on `bf16`, the op table asks for `f32` first.

use fulgurite_spec::{FloatOp, ScalarType};

use super::{Lowering, Part};
use crate::native::program::{Kind, Reg, Relation, ShiftOp, VectorOp1, VectorOp2};

/// The sign of a float of 16 bits.
const SIGN: u32 = 1 << 15;

/// Returns whether floats of the type have 16 bits.
pub(super) fn is_half(ty: ScalarType) -> bool {
    match ty {
        ScalarType::F16 | ScalarType::BF16 => true,
        ScalarType::Bool
        | ScalarType::I8
        | ScalarType::I16
        | ScalarType::I32
        | ScalarType::I64
        | ScalarType::U8
        | ScalarType::U16
        | ScalarType::U32
        | ScalarType::U64
        | ScalarType::F32
        | ScalarType::F64 => false,
    }
}

impl Lowering<'_> {
    /// Converts to `f32`, exactly.
    pub(super) fn single_of(&mut self, ty: ScalarType, a: Reg) -> Reg {
        if ty == ScalarType::BF16 {
            self.shift_by(ShiftOp::Left, a, 16)
        } else {
            self.vector1(VectorOp1::FloatOfHalf, a)
        }
    }

    /// Rounds `f32` to a type of 16 bits.
    pub(super) fn half_of(&mut self, ty: ScalarType, a: Reg) -> Reg {
        if ty == ScalarType::F16 {
            return self.vector1(VectorOp1::HalfOfFloat, a);
        }
        // To nearest: adds half of the last place, or a little less if the last bit is 0. The carry goes into the exponent.
        let (one, less) = (self.splat(1), self.splat(0x7fff));
        let high = self.shift_by(ShiftOp::Right, a, 16);
        let last = self.vector2(VectorOp2::And, high, one);
        let bias = self.vector2(VectorOp2::Add, last, less);
        let sum = self.vector2(VectorOp2::Add, a, bias);
        let rounded = self.shift_by(ShiftOp::Right, sum, 16);
        let (is_nan, quiet) = (self.compare(Relation::Ne, Kind::Float, a, a), self.splat(0x40));
        let nan = self.vector2(VectorOp2::Or, high, quiet);
        self.blend(is_nan, nan, rounded)
    }

    /// Returns an integer that `f32` represents exactly, and that is rounded to the same `bf16`. An integer of more than 24
    /// bits is rounded far above its eight lowest ones, so that these matter only in whether any is set: one bit says so.
    pub(super) fn with_sticky_bit(&mut self, magnitude: Reg) -> Reg {
        let (low, zero, sticky, largest) =
            (self.splat(0xff), self.splat(0), self.splat(0x100), self.splat((1 << 24) - 1));
        let others = self.complement(low);
        let below = self.vector2(VectorOp2::And, magnitude, low);
        let is_set = self.compare(Relation::Ne, Kind::Unsigned, below, zero);
        let high = self.vector2(VectorOp2::And, magnitude, others);
        let set = self.vector2(VectorOp2::Or, high, sticky);
        let cut = self.blend(is_set, set, high);
        let is_long = self.compare(Relation::Gt, Kind::Unsigned, magnitude, largest);
        self.blend(is_long, cut, magnitude)
    }

    /// Compiles an op on one component.
    pub(super) fn half_op(
        &mut self,
        op: FloatOp,
        ty: ScalarType,
        operands: &[Part],
        result: Part,
    ) -> Option<()> {
        let bits = self.vectors(operands)?;
        let a = *bits.first()?;
        match op {
            // Only the sign bit changes.
            FloatOp::Neg => {
                let sign = self.splat(SIGN);
                let to = self.vector2(VectorOp2::Xor, a, sign);
                self.define_vector(result, to);
                return Some(());
            }
            FloatOp::Abs => {
                let magnitude = self.splat(SIGN - 1);
                let to = self.vector2(VectorOp2::And, a, magnitude);
                self.define_vector(result, to);
                return Some(());
            }
            FloatOp::Compare(_)
            | FloatOp::IsNan
            | FloatOp::IsInf
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
            | FloatOp::Rsqrt
            | FloatOp::Transcendental(_) => {}
        }
        let args: Vec<Reg> = bits.into_iter().map(|bits| self.single_of(ty, bits)).collect();
        if let (FloatOp::Fma, ScalarType::F16, [a, b, c]) = (op, ty, &args[..]) {
            let product = self.vector2(VectorOp2::FloatMul, *a, *b);
            let product = self.half_of(ty, product);
            let product = self.single_of(ty, product);
            let sum = self.vector2(VectorOp2::FloatAdd, product, *c);
            let to = self.half_of(ty, sum);
            self.define_vector(result, to);
            return Some(());
        }
        self.float_op(op, &args, result)?;
        if let Some(single) = self.vector(result) {
            let to = self.half_of(ty, single);
            self.define_vector(result, to);
        }
        Some(())
    }
}
