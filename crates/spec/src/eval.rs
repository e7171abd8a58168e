//! Semantics of every scalar and vector op, on bits.
//!
//! [`eval`] is the definition. The interpreters, constant folding and the conformance suites all use it, so they cannot
//! disagree. [`integer`] and [`float`] have the same definitions as typed functions. Every function is total.

pub mod float;
pub mod integer;

use float::FloatFormat;

use crate::ops::{AtomicOp, BoolOp, IntegerOp, Op, Outcome, ScalarOp, Semantics};
use crate::types::{Lanes, Literal, ScalarType, Type};

/// The components of a value as bits, low first; unused components are 0.
pub type Components = [u64; 4];

/// Applies `op` to `operands` with the main type `main`. Returns a value of type `result`.
///
/// Returns `None` if `op` is not a pure function of its operands (loads, ids, control flow), or if the number or types
/// of the operands do not fit, which verification rules out.
pub fn eval(op: Op, main: Type, result: Type, operands: &[Components]) -> Option<Components> {
    let Semantics::Scalar { domain, operands: kinds, outcome, .. } = op.info().semantics else {
        return construct(op, main, result, operands);
    };
    if kinds.len() != operands.len() || !domain.contains(main.scalar) {
        return None;
    }
    let mut out = [0; 4];
    match op.on(main.scalar.class())? {
        ScalarOp::Extract => {
            let index = operands[1][0] as u32;
            out[0] = if index < main.lanes.count() { operands[0][index as usize] } else { 0 };
        }
        ScalarOp::Insert => {
            out = operands[0];
            let index = operands[1][0] as u32;
            if index < main.lanes.count() {
                out[index as usize] = operands[2][0];
            }
        }
        ScalarOp::Dot => out[0] = dot(main, operands)?,
        ScalarOp::Pack => {
            let components = operands[0].iter().take(main.lanes.count() as usize);
            out[0] =
                components.zip(0..).fold(0, |word, (bits, lane)| word | bits << (lane * main.scalar.bits()));
        }
        ScalarOp::Unpack => {
            let width = result.scalar.bits();
            for (component, lane) in out.iter_mut().zip(0..result.lanes.count()) {
                *component = operands[0][0].checked_shr(lane * width).unwrap_or(0) & result.scalar.mask();
            }
        }
        ScalarOp::Construct => return None,
        op @ (ScalarOp::Bool(_)
        | ScalarOp::Integer(_)
        | ScalarOp::Float(_)
        | ScalarOp::Select
        | ScalarOp::Convert
        | ScalarOp::Bitcast) => {
            debug_assert!(outcome != Outcome::Element);
            for (lane, slot) in out.iter_mut().enumerate().take(main.lanes.count() as usize) {
                let mut args = [0u64; 4];
                for (arg, (value, kind)) in args.iter_mut().zip(operands.iter().zip(kinds)) {
                    *arg = value[if *kind == crate::ops::Operand::U32 { 0 } else { lane }];
                }
                *slot = lane_by_lane(op, main.scalar, result.scalar, &args[..operands.len()])?;
            }
        }
    }
    Some(out)
}

fn construct(op: Op, main: Type, result: Type, operands: &[Components]) -> Option<Components> {
    let count = result.lanes.count() as usize;
    if op != Op::Construct || operands.len() != count || !main.is_scalar() || result.is_scalar() {
        return None;
    }
    let mut out = [0; 4];
    for (slot, value) in out.iter_mut().zip(operands) {
        *slot = value[0];
    }
    Some(out)
}

fn dot(main: Type, operands: &[Components]) -> Option<u64> {
    let product =
        |lane: usize| scalar(Op::Mul, main.scalar, main.scalar, &[operands[0][lane], operands[1][lane]]);
    let mut sum = product(0)?;
    for lane in 1..main.lanes.count() as usize {
        sum = scalar(Op::Add, main.scalar, main.scalar, &[sum, product(lane)?])?;
    }
    Some(sum)
}

/// Applies a lane-by-lane `op` with the main type `main` to one lane.
///
/// Returns `None` as [`eval`] does.
pub fn scalar(op: Op, main: ScalarType, result: ScalarType, args: &[u64]) -> Option<u64> {
    lane_by_lane(op.on(main.class())?, main, result, args)
}

fn lane_by_lane(op: ScalarOp, main: ScalarType, result: ScalarType, args: &[u64]) -> Option<u64> {
    match op {
        ScalarOp::Convert => convert(Literal::new(main, *args.first()?), result),
        ScalarOp::Bitcast => (main.size() == result.size() && main.size() != 0).then_some(*args.first()?),
        ScalarOp::Select => Some(if *args.first()? & 1 != 0 { *args.get(1)? } else { *args.get(2)? }),
        ScalarOp::Bool(op) => boolean(op, args),
        ScalarOp::Integer(op) => on_integers(op, main, args),
        ScalarOp::Float(op) => float::apply(FloatFormat::of(main)?, op, args),
        ScalarOp::Pack
        | ScalarOp::Unpack
        | ScalarOp::Construct
        | ScalarOp::Extract
        | ScalarOp::Insert
        | ScalarOp::Dot => None,
    }
}

fn on_integers(op: IntegerOp, ty: ScalarType, args: &[u64]) -> Option<u64> {
    match ty {
        ScalarType::I8 => integer::i8::apply(op, args),
        ScalarType::I16 => integer::i16::apply(op, args),
        ScalarType::I32 => integer::i32::apply(op, args),
        ScalarType::I64 => integer::i64::apply(op, args),
        ScalarType::U8 => integer::u8::apply(op, args),
        ScalarType::U16 => integer::u16::apply(op, args),
        ScalarType::U32 => integer::u32::apply(op, args),
        ScalarType::U64 => integer::u64::apply(op, args),
        ScalarType::Bool | ScalarType::F16 | ScalarType::BF16 | ScalarType::F32 | ScalarType::F64 => None,
    }
}

fn boolean(op: BoolOp, args: &[u64]) -> Option<u64> {
    let a = *args.first()? & 1;
    let b = || args.get(1).map(|b| b & 1);
    Some(match op {
        BoolOp::And => a & b()?,
        BoolOp::Or => a | b()?,
        BoolOp::Xor | BoolOp::Ne => a ^ b()?,
        BoolOp::Eq => a ^ b()? ^ 1,
        BoolOp::Not => a ^ 1,
    })
}

fn convert(value: Literal, to: ScalarType) -> Option<u64> {
    if let Some(format) = FloatFormat::of(value.ty) {
        return Some(float::convert(format, value.bits, to));
    }
    let negative = value.ty.is_signed() && value.bits >> (value.ty.bits() - 1) & 1 == 1;
    // Sign-extended to 64 bits.
    let wide = if negative { value.bits | !value.ty.mask() } else { value.bits };
    Some(match FloatFormat::of(to) {
        Some(format) => format.round(negative, if negative { wide.wrapping_neg() } else { wide }, 0),
        None if to == ScalarType::Bool => u64::from(wide != 0),
        None => wide & to.mask(),
    })
}

/// Returns the result type of a scalar op with the main type `main`; `stated` is the type stated in the program, if
/// any.
pub fn result_type(outcome: Outcome, main: Type, stated: Option<Type>) -> Option<Type> {
    Some(match outcome {
        Outcome::Same => main,
        Outcome::BoolLanes => main.with_scalar(ScalarType::Bool),
        Outcome::U32Lanes => main.with_scalar(ScalarType::U32),
        Outcome::Element => main.element(),
        Outcome::Stated => stated.filter(|t| t.lanes == main.lanes)?,
        Outcome::Packed => Type::scalar(match main.size() {
            2 => ScalarType::U16,
            4 => ScalarType::U32,
            8 => ScalarType::U64,
            _ => return None,
        }),
        Outcome::Unpacked => stated.filter(|t| !t.is_scalar() && t.size() == main.size())?,
    })
}

/// Returns components with the bits of a scalar in the first.
pub const fn splat_low(bits: u64) -> Components {
    [bits, 0, 0, 0]
}

/// Writes a value to memory as little-endian bytes, `ty.size()` of them; nothing for `bool`.
pub fn write_bytes(value: &Components, ty: Type, out: &mut [u8]) {
    let size = ty.scalar.size() as usize;
    if size == 0 {
        return;
    }
    for (component, chunk) in value.iter().zip(out.chunks_exact_mut(size)).take(ty.lanes.count() as usize) {
        chunk.copy_from_slice(&component.to_le_bytes()[..size]);
    }
}

/// Reads a value of type `ty` from little-endian bytes. Components beyond the end are zero.
pub fn read_bytes(bytes: &[u8], ty: Type) -> Components {
    let size = ty.scalar.size() as usize;
    let mut out = [0; 4];
    if size == 0 {
        return out;
    }
    for (component, chunk) in out.iter_mut().zip(bytes.chunks_exact(size)).take(ty.lanes.count() as usize) {
        let mut word = [0; 8];
        word[..size].copy_from_slice(chunk);
        *component = u64::from_le_bytes(word);
    }
    out
}

/// Returns the value stored by an atomic `op`, given the old value and the operands.
///
/// Returns `None` if `op` is not a read-modify-write of `ty`; floats can only be added and moved.
pub fn atomic(op: Op, ty: ScalarType, old: u64, operands: &[u64]) -> Option<u64> {
    let first = *operands.first()?;
    let scalar_op = match AtomicOp::of(op)? {
        AtomicOp::Load => return None,
        AtomicOp::Store | AtomicOp::Exchange => return Some(first),
        AtomicOp::CompareExchange => {
            return Some(if old == first { *operands.get(1)? } else { old });
        }
        AtomicOp::Add => Op::Add,
        AtomicOp::Min => Op::Min,
        AtomicOp::Max => Op::Max,
        AtomicOp::And => Op::And,
        AtomicOp::Or => Op::Or,
        AtomicOp::Xor => Op::Xor,
    };
    let adds = ty.is_float() && scalar_op == Op::Add;
    if !ty.is_integer() && !adds {
        return None;
    }
    scalar(scalar_op, ty, ty, &[old, first])
}

/// Returns the number of iterations of a `for` from `start` to `end` by `step`, all of integer type `ty`.
///
/// A zero step, which verification rules out, gives no iterations. With a negative step, the loop counts down while
/// above `end`.
pub fn trip_count(ty: ScalarType, start: u64, end: u64, step: u64) -> u64 {
    let value = |bits: u64| {
        let unused = 64 - ty.bits();
        if ty.is_signed() { i128::from((bits << unused) as i64 >> unused) } else { i128::from(bits) }
    };
    let (start, end, step) = (value(start), value(end), value(step));
    let (distance, stride) = if step >= 0 { (end - start, step) } else { (start - end, -step) };
    // The distance is below 2^64, so the count is too.
    if distance <= 0 || stride == 0 { 0 } else { ((distance - 1) / stride + 1) as u64 }
}

/// Iterates over the permitted lane counts of the main type of `op`.
pub fn lane_counts(op: Op) -> impl Iterator<Item = Lanes> {
    use crate::ops::LaneRule;
    let rule = match op.info().semantics {
        Semantics::Scalar { lanes, .. } => lanes,
        Semantics::Special(_) => LaneRule::Any,
    };
    Lanes::ALL.into_iter().filter(move |lanes| match rule {
        LaneRule::Any => true,
        LaneRule::VectorOnly => *lanes != Lanes::One,
        LaneRule::ScalarOnly => *lanes == Lanes::One,
    })
}

#[cfg(test)]
mod tests;
