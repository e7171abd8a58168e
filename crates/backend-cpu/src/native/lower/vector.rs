//! Pure ops on vectors of integers and floats.

use fulgurite_spec::{FloatOp, IntegerOp, ScalarType};

use super::scalar::{ONE, kind, relation, steps};
use super::{Lowering, Part, Row};
use crate::native::program::{Kind, Reg, Relation, VectorOp1, VectorOp2};

/// The sign of a float or integer of 32 bits.
pub(super) const SIGN: u32 = 1 << 31;
const INFINITY: u32 = f32::INFINITY.to_bits();

impl Lowering<'_> {
    // Vectors of integers.

    pub(super) fn integer_op(
        &mut self,
        op: IntegerOp,
        ty: ScalarType,
        operands: &[Part],
        result: Part,
    ) -> Option<()> {
        if let Some(scalar) = self.uniform_op(op, ty, operands) {
            self.define_scalar(result, scalar);
            return Some(());
        }
        let row = self.row_op(op, ty, operands);
        if let Some(Row { first, when: None }) = row {
            self.define_row(result, first);
            return Some(());
        }
        let args = self.vectors(operands)?;
        if let (IntegerOp::Compare(op), [a, b]) = (op, &args[..]) {
            let to = self.compare(relation(op), kind(ty), *a, *b);
            self.define_mask(result, to);
            return Some(());
        }
        let (to, strided) = (self.word_op(op, ty, &args)?, self.strided_op(op, operands));
        self.define_vector(result, to);
        (self.values[result.0].row, self.values[result.0].strided) = (row, strided);
        Some(())
    }

    /// Compiles an op on words whose result is a word; `None` for comparisons.
    pub(super) fn word_op(&mut self, op: IntegerOp, ty: ScalarType, args: &[Reg]) -> Option<Reg> {
        let a = *args.first()?;
        let b = args.get(1).copied().unwrap_or(a);
        let is_signed = ty.is_signed();
        let [min, max] = [IntegerOp::Min, IntegerOp::Max].map(|op| vector_step(op, ty));
        if let (IntegerOp::Div | IntegerOp::Rem, Some(divisor)) = (op, self.program.constant(b)) {
            let divisor = divisor.into();
            let quotient = self.divide_by(is_signed, a, divisor);
            let is_quotient = op == IntegerOp::Div;
            return Some(if is_quotient { quotient } else { self.remainder_by(a, quotient, divisor) });
        }
        Some(match op {
            IntegerOp::Compare(_) => return None,
            IntegerOp::Neg => {
                let zero = self.splat(0);
                self.vector2(VectorOp2::Sub, zero, a)
            }
            IntegerOp::Not => {
                let ones = self.splat(u32::MAX);
                self.vector2(VectorOp2::Xor, a, ones)
            }
            IntegerOp::Abs if is_signed => self.vector1(VectorOp1::Abs, a),
            IntegerOp::Abs => a,
            IntegerOp::Sign => {
                let (one, minus) = (self.splat(1), self.splat(u32::MAX));
                let low = self.vector2(min?, a, one);
                if is_signed { self.vector2(max?, low, minus) } else { low }
            }
            IntegerOp::Clamp => {
                let low = self.vector2(max?, a, b);
                self.vector2(min?, low, *args.get(2)?)
            }
            IntegerOp::AddSat
            | IntegerOp::SubSat
            | IntegerOp::MulHi
            | IntegerOp::PopCount
            | IntegerOp::LeadingZeros
            | IntegerOp::TrailingZeros
            | IntegerOp::ReverseBits
            | IntegerOp::ExtractBits
            | IntegerOp::InsertBits
            | IntegerOp::DotPacked => self.bit_op(op, ty, args)?,
            IntegerOp::Add
            | IntegerOp::Sub
            | IntegerOp::Mul
            | IntegerOp::Div
            | IntegerOp::Rem
            | IntegerOp::Min
            | IntegerOp::Max
            | IntegerOp::And
            | IntegerOp::Or
            | IntegerOp::Xor
            | IntegerOp::Shl
            | IntegerOp::Shr
            | IntegerOp::RotateLeft
            | IntegerOp::RotateRight => self.vector2(vector_step(op, ty)?, a, b),
        })
    }

    // Vectors of floats.

    pub(super) fn float_op(&mut self, op: FloatOp, args: &[Reg], result: Part) -> Option<()> {
        let a = *args.first()?;
        let b = args.get(1).copied().unwrap_or(a);
        let to = match op {
            FloatOp::Compare(op) => {
                let to = self.compare(relation(op), Kind::Float, a, b);
                self.define_mask(result, to);
                return Some(());
            }
            FloatOp::IsNan => {
                let to = self.compare(Relation::Ne, Kind::Float, a, a);
                self.define_mask(result, to);
                return Some(());
            }
            FloatOp::IsInf => {
                let (magnitude, infinity) = (self.magnitude(a), self.splat(INFINITY));
                let to = self.compare(Relation::Eq, Kind::Unsigned, magnitude, infinity);
                self.define_mask(result, to);
                return Some(());
            }
            FloatOp::Add => self.vector2(VectorOp2::FloatAdd, a, b),
            FloatOp::Sub => self.vector2(VectorOp2::FloatSub, a, b),
            FloatOp::Mul => self.vector2(VectorOp2::FloatMul, a, b),
            FloatOp::Div => self.vector2(VectorOp2::FloatDiv, a, b),
            FloatOp::Min => self.vector2(VectorOp2::FloatMin, a, b),
            FloatOp::Max => self.vector2(VectorOp2::FloatMax, a, b),
            FloatOp::Clamp => {
                let raised = self.vector2(VectorOp2::FloatMax, a, b);
                self.vector2(VectorOp2::FloatMin, raised, *args.get(2)?)
            }
            FloatOp::Neg => {
                let sign = self.splat(SIGN);
                self.vector2(VectorOp2::Xor, a, sign)
            }
            FloatOp::Abs => self.magnitude(a),
            FloatOp::Sign => self.sign(a),
            FloatOp::Fma => self.fma(a, b, *args.get(2)?),
            FloatOp::Floor => self.vector1(VectorOp1::Floor, a),
            FloatOp::Ceil => self.vector1(VectorOp1::Ceil, a),
            FloatOp::Trunc => self.vector1(VectorOp1::Trunc, a),
            FloatOp::Round => self.vector1(VectorOp1::Round, a),
            FloatOp::Fract => {
                let floor = self.vector1(VectorOp1::Floor, a);
                self.vector2(VectorOp2::FloatSub, a, floor)
            }
            FloatOp::Sqrt => self.vector1(VectorOp1::Sqrt, a),
            FloatOp::Rsqrt => {
                let (one, root) = (self.splat(ONE), self.vector1(VectorOp1::Sqrt, a));
                self.vector2(VectorOp2::FloatDiv, one, root)
            }
            FloatOp::Transcendental(op) => self.transcendental(op, a, b),
        };
        self.define_vector(result, to);
        Some(())
    }

    pub(super) fn magnitude(&mut self, a: Reg) -> Reg {
        let mask = self.splat(!SIGN);
        self.vector2(VectorOp2::And, a, mask)
    }

    /// Returns −1, 0 or 1; NaN for NaN.
    fn sign(&mut self, a: Reg) -> Reg {
        let (zero, one, minus) = (self.splat(0), self.splat(ONE), self.splat(ONE | SIGN));
        let is_more = self.compare(Relation::Gt, Kind::Float, a, zero);
        let is_less = self.compare(Relation::Lt, Kind::Float, a, zero);
        let is_zero = self.compare(Relation::Eq, Kind::Float, a, zero);
        let sign = self.blend(is_zero, zero, a);
        let sign = self.blend(is_more, one, sign);
        self.blend(is_less, minus, sign)
    }
}

fn vector_step(op: IntegerOp, ty: ScalarType) -> Option<VectorOp2> {
    steps(op, ty).map(|(_, step)| step)
}
