//! Built-in math functions: those that are one op, and the choice of sequences for the others.

use fulgurite_ir::ValueId;
use fulgurite_spec::{Op, Type};
use naga::MathFunction;

use super::{Lower, Value};
use crate::refusal::{Res, internal, unsupported};

/// Returns the op that is the function, for functions that are one op on equal operands.
fn single_op(fun: MathFunction) -> Option<Op> {
    Some(match fun {
        MathFunction::Abs => Op::Abs,
        MathFunction::Min => Op::Min,
        MathFunction::Max => Op::Max,
        MathFunction::Clamp => Op::Clamp,
        MathFunction::Cos => Op::Cos,
        MathFunction::Cosh => Op::Cosh,
        MathFunction::Sin => Op::Sin,
        MathFunction::Sinh => Op::Sinh,
        MathFunction::Tan => Op::Tan,
        MathFunction::Tanh => Op::Tanh,
        MathFunction::Acos => Op::Acos,
        MathFunction::Asin => Op::Asin,
        MathFunction::Atan => Op::Atan,
        MathFunction::Atan2 => Op::Atan2,
        MathFunction::Ceil => Op::Ceil,
        MathFunction::Floor => Op::Floor,
        MathFunction::Round => Op::Round,
        MathFunction::Fract => Op::Fract,
        MathFunction::Trunc => Op::Trunc,
        MathFunction::Exp => Op::Exp,
        MathFunction::Exp2 => Op::Exp2,
        MathFunction::Log => Op::Log,
        MathFunction::Log2 => Op::Log2,
        MathFunction::Pow => Op::Pow,
        MathFunction::Sign => Op::Sign,
        MathFunction::Fma => Op::Fma,
        MathFunction::Sqrt => Op::Sqrt,
        MathFunction::InverseSqrt => Op::Rsqrt,
        MathFunction::CountTrailingZeros => Op::TrailingZeros,
        MathFunction::CountLeadingZeros => Op::LeadingZeros,
        MathFunction::CountOneBits => Op::PopCount,
        MathFunction::ReverseBits => Op::ReverseBits,
        MathFunction::ExtractBits => Op::ExtractBits,
        MathFunction::InsertBits => Op::InsertBits,
        MathFunction::Dot => Op::Dot,
        MathFunction::Saturate
        | MathFunction::Asinh
        | MathFunction::Acosh
        | MathFunction::Atanh
        | MathFunction::Radians
        | MathFunction::Degrees
        | MathFunction::Modf
        | MathFunction::Frexp
        | MathFunction::Ldexp
        | MathFunction::Dot4I8Packed
        | MathFunction::Dot4U8Packed
        | MathFunction::Outer
        | MathFunction::Cross
        | MathFunction::Distance
        | MathFunction::Length
        | MathFunction::Normalize
        | MathFunction::FaceForward
        | MathFunction::Reflect
        | MathFunction::Refract
        | MathFunction::Mix
        | MathFunction::Step
        | MathFunction::SmoothStep
        | MathFunction::Inverse
        | MathFunction::Transpose
        | MathFunction::Determinant
        | MathFunction::QuantizeToF16
        | MathFunction::FirstTrailingBit
        | MathFunction::FirstLeadingBit
        | MathFunction::Pack4x8snorm
        | MathFunction::Pack4x8unorm
        | MathFunction::Pack2x16snorm
        | MathFunction::Pack2x16unorm
        | MathFunction::Pack2x16float
        | MathFunction::Pack4xI8
        | MathFunction::Pack4xU8
        | MathFunction::Pack4xI8Clamp
        | MathFunction::Pack4xU8Clamp
        | MathFunction::Unpack4x8snorm
        | MathFunction::Unpack4x8unorm
        | MathFunction::Unpack2x16snorm
        | MathFunction::Unpack2x16unorm
        | MathFunction::Unpack2x16float
        | MathFunction::Unpack4xI8
        | MathFunction::Unpack4xU8 => return None,
    })
}

impl Lower<'_> {
    /// Applies a math function.
    pub(super) fn math(&mut self, fun: MathFunction, operands: &[Value]) -> Res<Value> {
        if let Some(value) = self.matrix_math(fun, operands)? {
            return Ok(value);
        }
        let leaves: Vec<ValueId> = operands.iter().map(|value| self.only(value)).collect::<Res<_>>()?;
        if let (MathFunction::Modf | MathFunction::Frexp, [x]) = (fun, &*leaves) {
            return self.split_math(fun, *x);
        }
        let result = match single_op(fun) {
            Some(op) => {
                if !self.has_f64(op, leaves[0]) {
                    return Err(self.no_f64(fun));
                }
                self.emit.op(op, &leaves)?
            }
            None => self.composed(fun, &leaves)?,
        };
        Ok(self.wrap(result))
    }

    /// Returns whether the op exists for the type of `value`: transcendental functions do not for `f64`.
    fn has_f64(&self, op: Op, value: ValueId) -> bool {
        let ty = self.emit.ty(value);
        ty.scalar != fulgurite_spec::ScalarType::F64
            || fulgurite_ir::scalar_result(op, &vec![ty; arity(op)], None).is_ok()
    }

    fn no_f64(&self, fun: MathFunction) -> crate::refusal::Refusal {
        let what = format!("`{fun:?}` does not exist for `f64`");
        unsupported(self.emit.at, what, "Convert the operand to `f32`, or compute the function by a series.")
    }

    /// Applies a function that is a sequence of ops on scalars or vectors.
    fn composed(&mut self, fun: MathFunction, leaves: &[ValueId]) -> Res<ValueId> {
        let x = leaves[0];
        let wrong = internal(self.emit.at, format!("`{fun:?}` with other operands"));
        match (fun, leaves) {
            (MathFunction::Saturate, _) => {
                let (zero, one) = (self.like(x, 0.0)?, self.like(x, 1.0)?);
                self.emit.op(Op::Clamp, &[x, zero, one])
            }
            (MathFunction::Radians, _) => self.scaled(x, std::f64::consts::PI / 180.0),
            (MathFunction::Degrees, _) => self.scaled(x, 180.0 / std::f64::consts::PI),
            (MathFunction::Asinh, _) => self.asinh(x),
            (MathFunction::Acosh, _) => self.acosh(x),
            (MathFunction::Atanh, _) => self.atanh(x),
            (MathFunction::Ldexp, [_, exponent]) => self.ldexp(x, *exponent),
            (MathFunction::Dot4I8Packed, [a, b]) => {
                let (a, b) = (
                    self.emit.cast(Op::Bitcast, *a, Type::I32)?,
                    self.emit.cast(Op::Bitcast, *b, Type::I32)?,
                );
                self.emit.op(Op::DotPacked, &[a, b])
            }
            (MathFunction::Dot4U8Packed, [a, b]) => self.emit.op(Op::DotPacked, &[*a, *b]),
            (MathFunction::Cross, [a, b]) => self.cross(*a, *b),
            (MathFunction::Length, _) => self.length(x),
            (MathFunction::Distance, [a, b]) => {
                let difference = self.emit.op(Op::Sub, &[*a, *b])?;
                self.length(difference)
            }
            (MathFunction::Normalize, _) => {
                let length = self.length(x)?;
                let (x, length) = self.widen(x, length)?;
                self.emit.op(Op::Div, &[x, length])
            }
            (MathFunction::FaceForward, [n, i, reference]) => {
                let dot = self.dot(*reference, *i)?;
                let zero = self.like(dot, 0.0)?;
                let faces = self.emit.op(Op::Lt, &[dot, zero])?;
                let turned = self.emit.op(Op::Neg, &[*n])?;
                self.select(faces, *n, turned)
            }
            (MathFunction::Reflect, [incident, normal]) => {
                let dot = self.dot(*normal, *incident)?;
                let twice = self.emit.op(Op::Add, &[dot, dot])?;
                let (twice, normal) = self.widen(twice, *normal)?;
                let along = self.emit.op(Op::Mul, &[twice, normal])?;
                self.emit.op(Op::Sub, &[*incident, along])
            }
            (MathFunction::Refract, [incident, normal, ratio]) => self.refract(*incident, *normal, *ratio),
            (MathFunction::Mix, [a, b, t]) => self.mix(*a, *b, *t),
            (MathFunction::Step, [edge, x]) => {
                let (one, zero) = (self.like(*x, 1.0)?, self.like(*x, 0.0)?);
                let reached = self.emit.op(Op::Le, &[*edge, *x])?;
                self.emit.op(Op::Select, &[reached, one, zero])
            }
            (MathFunction::SmoothStep, [low, high, x]) => self.smoothstep(*low, *high, *x),
            (MathFunction::QuantizeToF16, _) => self.quantize(x),
            (MathFunction::FirstTrailingBit, _) => self.first_trailing_bit(x),
            (MathFunction::FirstLeadingBit, _) => self.first_leading_bit(x),
            (
                MathFunction::Pack4x8snorm
                | MathFunction::Pack4x8unorm
                | MathFunction::Pack2x16snorm
                | MathFunction::Pack2x16unorm
                | MathFunction::Pack2x16float
                | MathFunction::Pack4xI8
                | MathFunction::Pack4xU8
                | MathFunction::Pack4xI8Clamp
                | MathFunction::Pack4xU8Clamp,
                _,
            ) => self.pack(fun, x),
            (
                MathFunction::Unpack4x8snorm
                | MathFunction::Unpack4x8unorm
                | MathFunction::Unpack2x16snorm
                | MathFunction::Unpack2x16unorm
                | MathFunction::Unpack2x16float
                | MathFunction::Unpack4xI8
                | MathFunction::Unpack4xU8,
                _,
            ) => self.unpack(fun, x),
            (_, _) => Err(wrong),
        }
    }
}

/// Returns the number of operands of an op whose operands are of one type.
fn arity(op: Op) -> usize {
    match op {
        Op::Clamp | Op::Fma => 3,
        Op::Min | Op::Max | Op::Pow | Op::Atan2 | Op::Dot => 2,
        // The others that `single_op` returns on floats.
        _ => 1,
    }
}
