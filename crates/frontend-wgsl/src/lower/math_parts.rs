//! Math functions of WGSL as sequences of ops, by the formulas that its specification gives.

use fulgurite_ir::ValueId;
use fulgurite_spec::{Lanes, Op, ScalarType, Type};
use naga::MathFunction;

use super::{Lower, Value};
use crate::refusal::{Res, internal};
use crate::types::{Member, Ty};

impl Lower<'_> {
    /// Returns `number` in the type of `value`.
    pub(super) fn like(&mut self, value: ValueId, number: f64) -> Res<ValueId> {
        let ty = self.emit.ty(value);
        let constant = self.emit.number(ty.scalar, number);
        self.emit.splat(constant, ty.lanes)
    }

    pub(super) fn scaled(&mut self, value: ValueId, factor: f64) -> Res<ValueId> {
        let factor = self.like(value, factor)?;
        self.emit.op(Op::Mul, &[value, factor])
    }

    /// Returns the dot product, of scalars too.
    pub(super) fn dot(&mut self, a: ValueId, b: ValueId) -> Res<ValueId> {
        let op = if self.emit.ty(a).is_scalar() { Op::Mul } else { Op::Dot };
        self.emit.op(op, &[a, b])
    }

    pub(super) fn length(&mut self, value: ValueId) -> Res<ValueId> {
        if self.emit.ty(value).is_scalar() {
            return self.emit.op(Op::Abs, &[value]);
        }
        let square = self.dot(value, value)?;
        self.emit.op(Op::Sqrt, &[square])
    }

    pub(super) fn cross(&mut self, a: ValueId, b: ValueId) -> Res<ValueId> {
        let rotate = |lower: &mut Self, v, order: [u8; 3]| lower.emit.swizzle(v, &order);
        let (a1, b2) = (rotate(self, a, [1, 2, 0])?, rotate(self, b, [2, 0, 1])?);
        let (a2, b1) = (rotate(self, a, [2, 0, 1])?, rotate(self, b, [1, 2, 0])?);
        let left = self.emit.op(Op::Mul, &[a1, b2])?;
        let right = self.emit.op(Op::Mul, &[a2, b1])?;
        self.emit.op(Op::Sub, &[left, right])
    }

    /// `a · (1 − t) + b · t`.
    pub(super) fn mix(&mut self, a: ValueId, b: ValueId, t: ValueId) -> Res<ValueId> {
        let (a, t) = self.widen(a, t)?;
        let one = self.like(t, 1.0)?;
        let rest = self.emit.op(Op::Sub, &[one, t])?;
        let from = self.emit.op(Op::Mul, &[a, rest])?;
        let to = self.emit.op(Op::Mul, &[b, t])?;
        self.emit.op(Op::Add, &[from, to])
    }

    /// `t² · (3 − 2t)` with `t = clamp((x − low) / (high − low), 0, 1)`.
    pub(super) fn smoothstep(&mut self, low: ValueId, high: ValueId, x: ValueId) -> Res<ValueId> {
        let part = self.emit.op(Op::Sub, &[x, low])?;
        let whole = self.emit.op(Op::Sub, &[high, low])?;
        let ratio = self.emit.op(Op::Div, &[part, whole])?;
        let (zero, one) = (self.like(x, 0.0)?, self.like(x, 1.0)?);
        let t = self.emit.op(Op::Clamp, &[ratio, zero, one])?;
        let (square, twice) = (self.emit.op(Op::Mul, &[t, t])?, self.emit.op(Op::Add, &[t, t])?);
        let three = self.like(x, 3.0)?;
        let rest = self.emit.op(Op::Sub, &[three, twice])?;
        self.emit.op(Op::Mul, &[square, rest])
    }

    /// `ratio · i − (ratio · n·i + √k) · n` with `k = 1 − ratio² · (1 − (n·i)²)`, or zero if `k` is negative.
    pub(super) fn refract(&mut self, i: ValueId, n: ValueId, ratio: ValueId) -> Res<ValueId> {
        let cosine = self.dot(n, i)?;
        let one = self.like(cosine, 1.0)?;
        let square = self.emit.op(Op::Mul, &[cosine, cosine])?;
        let sine = self.emit.op(Op::Sub, &[one, square])?;
        let ratios = self.emit.op(Op::Mul, &[ratio, ratio])?;
        let part = self.emit.op(Op::Mul, &[ratios, sine])?;
        let k = self.emit.op(Op::Sub, &[one, part])?;
        let root = self.emit.op(Op::Sqrt, &[k])?;
        let along = self.emit.op(Op::Mul, &[ratio, cosine])?;
        let along = self.emit.op(Op::Add, &[along, root])?;
        let (along, wide) = self.widen(along, n)?;
        let along = self.emit.op(Op::Mul, &[along, wide])?;
        let (ratio, i) = self.widen(ratio, i)?;
        let through = self.emit.op(Op::Mul, &[ratio, i])?;
        let result = self.emit.op(Op::Sub, &[through, along])?;
        let zero = self.like(k, 0.0)?;
        let reflects = self.emit.op(Op::Lt, &[k, zero])?;
        let none = self.like(result, 0.0)?;
        self.select(reflects, none, result)
    }

    /// `sign(x) · log(|x| + √(x² + 1))`.
    pub(super) fn asinh(&mut self, x: ValueId) -> Res<ValueId> {
        let magnitude = self.emit.op(Op::Abs, &[x])?;
        let square = self.emit.op(Op::Mul, &[x, x])?;
        let one = self.like(x, 1.0)?;
        let sum = self.emit.op(Op::Add, &[square, one])?;
        let root = self.emit.op(Op::Sqrt, &[sum])?;
        let sum = self.emit.op(Op::Add, &[magnitude, root])?;
        let log = self.emit.op(Op::Log, &[sum])?;
        let sign = self.emit.op(Op::Sign, &[x])?;
        self.emit.op(Op::Mul, &[sign, log])
    }

    /// `log(x + √(x² − 1))`.
    pub(super) fn acosh(&mut self, x: ValueId) -> Res<ValueId> {
        let square = self.emit.op(Op::Mul, &[x, x])?;
        let one = self.like(x, 1.0)?;
        let difference = self.emit.op(Op::Sub, &[square, one])?;
        let root = self.emit.op(Op::Sqrt, &[difference])?;
        let sum = self.emit.op(Op::Add, &[x, root])?;
        self.emit.op(Op::Log, &[sum])
    }

    /// `log((1 + x) / (1 − x)) / 2`.
    pub(super) fn atanh(&mut self, x: ValueId) -> Res<ValueId> {
        let one = self.like(x, 1.0)?;
        let (above, below) = (self.emit.op(Op::Add, &[one, x])?, self.emit.op(Op::Sub, &[one, x])?);
        let quotient = self.emit.op(Op::Div, &[above, below])?;
        let log = self.emit.op(Op::Log, &[quotient])?;
        self.scaled(log, 0.5)
    }

    /// `x · 2^exponent`, by two exact powers of two, so that no product overflows before the last.
    pub(super) fn ldexp(&mut self, x: ValueId, exponent: ValueId) -> Res<ValueId> {
        let ty = self.emit.ty(x);
        let (mantissa, bias, int) = match ty.scalar {
            ScalarType::F16 => (10, 15, ScalarType::I16),
            ScalarType::F64 => (52, 1023, ScalarType::I64),
            _ => (23, 127, ScalarType::I32),
        };
        let (low, high) =
            (self.like(exponent, f64::from(-2 * bias + 2)), self.like(exponent, f64::from(2 * bias)));
        let exponent = self.emit.op(Op::Clamp, &[exponent, low?, high?])?;
        let exponent = self.emit.cast(Op::Convert, exponent, ty.with_scalar(int))?;
        let one = self.u32_like(exponent, 1)?;
        let half = self.emit.op(Op::Shr, &[exponent, one])?;
        let rest = self.emit.op(Op::Sub, &[exponent, half])?;
        let mut result = x;
        for part in [half, rest] {
            let offset = self.like(part, f64::from(bias))?;
            let biased = self.emit.op(Op::Add, &[part, offset])?;
            let amount = self.u32_like(part, mantissa)?;
            let bits = self.emit.op(Op::Shl, &[biased, amount])?;
            let power = self.emit.cast(Op::Bitcast, bits, ty)?;
            result = self.emit.op(Op::Mul, &[result, power])?;
        }
        Ok(result)
    }

    /// Returns a `u32` per lane of `value`.
    fn u32_like(&mut self, value: ValueId, number: u32) -> Res<ValueId> {
        let lanes = self.emit.ty(value).lanes;
        let constant = self.emit.u32(number);
        self.emit.splat(constant, lanes)
    }

    /// Rounds to the nearest value of `f16`.
    pub(super) fn quantize(&mut self, x: ValueId) -> Res<ValueId> {
        let ty = self.emit.ty(x);
        let half = self.emit.cast(Op::Convert, x, ty.with_scalar(ScalarType::F16))?;
        self.emit.cast(Op::Convert, half, ty)
    }

    /// Returns the position of the lowest one bit, −1 for 0.
    pub(super) fn first_trailing_bit(&mut self, x: ValueId) -> Res<ValueId> {
        let zeros = self.emit.op(Op::TrailingZeros, &[x])?;
        self.unless_zero(x, zeros)
    }

    /// Returns the position of the highest bit that differs from the sign bit, of the highest one bit for unsigned
    /// types; −1 if there is none.
    pub(super) fn first_leading_bit(&mut self, x: ValueId) -> Res<ValueId> {
        let ty = self.emit.ty(x);
        let mut bits = x;
        if ty.scalar.is_signed() {
            let amount = self.u32_like(x, ty.scalar.bits() - 1)?;
            let sign = self.emit.op(Op::Shr, &[x, amount])?;
            bits = self.emit.op(Op::Xor, &[x, sign])?;
        }
        let zeros = self.emit.op(Op::LeadingZeros, &[bits])?;
        let last = self.like(x, f64::from(ty.scalar.bits() - 1))?;
        let position = self.emit.op(Op::Sub, &[last, zeros])?;
        self.unless_zero(bits, position)
    }

    /// Returns −1 where `bits` is 0, else `position`.
    fn unless_zero(&mut self, bits: ValueId, position: ValueId) -> Res<ValueId> {
        let (zero, none) = (self.like(bits, 0.0)?, self.like(bits, 0.0)?);
        let none = self.emit.op(Op::Not, &[none])?;
        let is_zero = self.emit.op(Op::Eq, &[bits, zero])?;
        self.emit.op(Op::Select, &[is_zero, none, position])
    }

    /// Applies `modf` or `frexp`, whose results are structures.
    pub(super) fn split_math(&mut self, fun: MathFunction, x: ValueId) -> Res<Value> {
        let (names, leaves) = match fun {
            MathFunction::Modf => {
                let whole = self.emit.op(Op::Trunc, &[x])?;
                let fraction = self.emit.op(Op::Sub, &[x, whole])?;
                (["fract", "whole"], [fraction, whole])
            }
            _ => {
                let (fraction, exponent) = self.frexp(x)?;
                (["fract", "exp"], [fraction, exponent])
            }
        };
        let members = names.iter().zip(leaves).map(|(name, leaf)| Member {
            name: (*name).to_owned(),
            offset: 0,
            ty: Ty::leaf(self.emit.ty(leaf)),
        });
        Ok(Value { ty: Ty::Struct { members: members.collect() }.into(), leaves: leaves.into() })
    }

    /// Returns a fraction from 0.5 to 1 and an exponent, an `i32`, whose power of two times the fraction is `x`. Zero,
    /// infinities and NaN are their own fraction, with exponent 0.
    fn frexp(&mut self, x: ValueId) -> Res<(ValueId, ValueId)> {
        let ty = self.emit.ty(x);
        let (mantissa, bias, int) = match ty.scalar {
            ScalarType::F16 => (10u32, 15i32, ScalarType::I16),
            ScalarType::F64 => (52, 1023, ScalarType::I64),
            _ => (23, 127, ScalarType::I32),
        };
        let magnitude = self.emit.op(Op::Abs, &[x])?;
        let normal = self.like(x, 2f64.powi(1 - bias))?;
        let is_small = self.emit.op(Op::Lt, &[magnitude, normal])?;
        // A subnormal operand is scaled into the normal range first.
        let scale = mantissa as i32 + 1;
        let scaled = self.scaled(x, 2f64.powi(scale))?;
        let value = self.emit.op(Op::Select, &[is_small, scaled, x])?;
        let bits = self.emit.cast(Op::Bitcast, value, ty.with_scalar(int))?;
        let exponents = (2i64 * i64::from(bias) + 1) as f64;
        let mask = self.like(bits, exponents)?;
        let amount = self.u32_like(bits, mantissa)?;
        let exponent = self.emit.op(Op::Shr, &[bits, amount])?;
        let exponent = self.emit.op(Op::And, &[exponent, mask])?;
        let special = self.emit.op(Op::Eq, &[exponent, mask])?;
        let zero = self.like(x, 0.0)?;
        let is_zero = self.emit.op(Op::Eq, &[x, zero])?;
        let special = self.emit.op(Op::Or, &[special, is_zero])?;
        let field = self.emit.op(Op::Shl, &[mask, amount])?;
        let others = self.emit.op(Op::Not, &[field])?;
        let kept = self.emit.op(Op::And, &[bits, others])?;
        let half = self.like(bits, f64::from(bias - 1))?;
        let half = self.emit.op(Op::Shl, &[half, amount])?;
        let fraction = self.emit.op(Op::Or, &[kept, half])?;
        let fraction = self.emit.cast(Op::Bitcast, fraction, ty)?;
        let fraction = self.emit.op(Op::Select, &[special, x, fraction])?;
        let (usual, small) =
            (self.like(bits, f64::from(bias - 1))?, self.like(bits, f64::from(bias - 1 + scale))?);
        let offset = self.emit.op(Op::Select, &[is_small, small, usual])?;
        let exponent = self.emit.op(Op::Sub, &[exponent, offset])?;
        let none = self.like(exponent, 0.0)?;
        let exponent = self.emit.op(Op::Select, &[special, none, exponent])?;
        Ok((fraction, self.emit.cast(Op::Convert, exponent, ty.with_scalar(ScalarType::I32))?))
    }

    /// Packs a vector into a `u32`.
    pub(super) fn pack(&mut self, fun: MathFunction, x: ValueId) -> Res<ValueId> {
        let ty = self.emit.ty(x);
        let narrow = |lower: &mut Self, value, scalar| {
            let narrowed = lower.emit.cast(Op::Convert, value, ty.with_scalar(scalar))?;
            lower.emit.op(Op::Pack, &[narrowed])
        };
        let clamped = |lower: &mut Self, low: f64, high: f64| {
            let (low, high) = (lower.like(x, low)?, lower.like(x, high)?);
            lower.emit.op(Op::Clamp, &[x, low, high])
        };
        // `floor(0.5 + scale · clamp(x))`, as WGSL defines it.
        let normalized = |lower: &mut Self, low: f64, scale: f64, scalar| {
            let within = clamped(lower, low, 1.0)?;
            let scaled = lower.scaled(within, scale)?;
            let half = lower.like(x, 0.5)?;
            let sum = lower.emit.op(Op::Add, &[half, scaled])?;
            let rounded = lower.emit.op(Op::Floor, &[sum])?;
            narrow(lower, rounded, scalar)
        };
        match fun {
            MathFunction::Pack4x8snorm => normalized(self, -1.0, 127.0, ScalarType::I8),
            MathFunction::Pack4x8unorm => normalized(self, 0.0, 255.0, ScalarType::U8),
            MathFunction::Pack2x16snorm => normalized(self, -1.0, 32767.0, ScalarType::I16),
            MathFunction::Pack2x16unorm => normalized(self, 0.0, 65535.0, ScalarType::U16),
            MathFunction::Pack2x16float => narrow(self, x, ScalarType::F16),
            MathFunction::Pack4xI8 => narrow(self, x, ScalarType::I8),
            MathFunction::Pack4xU8 => narrow(self, x, ScalarType::U8),
            MathFunction::Pack4xI8Clamp => {
                let within = clamped(self, -128.0, 127.0)?;
                narrow(self, within, ScalarType::I8)
            }
            MathFunction::Pack4xU8Clamp => {
                let within = clamped(self, 0.0, 255.0)?;
                narrow(self, within, ScalarType::U8)
            }
            _ => Err(internal(self.emit.at, "function that does not pack")),
        }
    }

    /// Unpacks a `u32` into a vector.
    pub(super) fn unpack(&mut self, fun: MathFunction, x: ValueId) -> Res<ValueId> {
        let (parts, lanes, to, scale) = match fun {
            MathFunction::Unpack4x8snorm => (ScalarType::I8, Lanes::Four, ScalarType::F32, Some(127.0)),
            MathFunction::Unpack4x8unorm => (ScalarType::U8, Lanes::Four, ScalarType::F32, Some(255.0)),
            MathFunction::Unpack2x16snorm => (ScalarType::I16, Lanes::Two, ScalarType::F32, Some(32767.0)),
            MathFunction::Unpack2x16unorm => (ScalarType::U16, Lanes::Two, ScalarType::F32, Some(65535.0)),
            MathFunction::Unpack2x16float => (ScalarType::F16, Lanes::Two, ScalarType::F32, None),
            MathFunction::Unpack4xI8 => (ScalarType::I8, Lanes::Four, ScalarType::I32, None),
            MathFunction::Unpack4xU8 => (ScalarType::U8, Lanes::Four, ScalarType::U32, None),
            _ => return Err(internal(self.emit.at, "function that does not unpack")),
        };
        let narrow = self.emit.cast(Op::Unpack, x, Type::vector(parts, lanes))?;
        let wide = self.emit.cast(Op::Convert, narrow, Type::vector(to, lanes))?;
        let Some(scale) = scale else { return Ok(wide) };
        let scale = self.like(wide, scale)?;
        let quotient = self.emit.op(Op::Div, &[wide, scale])?;
        if parts.is_signed() {
            let least = self.like(wide, -1.0)?;
            return self.emit.op(Op::Max, &[quotient, least]);
        }
        Ok(quotient)
    }
}
