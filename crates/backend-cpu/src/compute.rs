//! Scalar ops on whole registers: selects the function that applies an op to every lane.
//!
//! Each function is one loop over the lanes around a typed function of [`fulgurite_spec::eval`], so that it has the
//! same meaning and becomes vector code. All lanes are computed, active or not, because ops are total. Ops without a
//! specialized loop evaluate the definition lane by lane.

mod convert;
mod float;
mod generic;
mod half;
mod integer;
mod map;

use fulgurite_spec::{BoolOp, FloatOp, IntegerOp, Op, ScalarOp, ScalarType};

use crate::lanes::Lanes;
pub(crate) use generic::{Generic, bits, set_bits};
use half::{BF16, F16};
use map::{Value, map1, map2, map3, wide1, wide3};

/// Returns the value of a narrow float; any other type is read as an `f32`.
pub(crate) fn widened(ty: ScalarType, bits: u32) -> f32 {
    match ty {
        ScalarType::F16 => F16::from_bits(bits).0,
        ScalarType::BF16 => BF16::from_bits(bits).0,
        ScalarType::F32
        | ScalarType::F64
        | ScalarType::Bool
        | ScalarType::I8
        | ScalarType::I16
        | ScalarType::I32
        | ScalarType::I64
        | ScalarType::U8
        | ScalarType::U16
        | ScalarType::U32
        | ScalarType::U64 => f32::from_bits(bits),
    }
}

/// Returns the bits of a value rounded to a narrow float; any other type is written as an `f32`.
pub(crate) fn narrowed(ty: ScalarType, value: f32) -> u32 {
    match ty {
        ScalarType::F16 => F16(value).bits(),
        ScalarType::BF16 => BF16(value).bits(),
        ScalarType::F32
        | ScalarType::F64
        | ScalarType::Bool
        | ScalarType::I8
        | ScalarType::I16
        | ScalarType::I32
        | ScalarType::I64
        | ScalarType::U8
        | ScalarType::U16
        | ScalarType::U32
        | ScalarType::U64 => value.to_bits(),
    }
}

/// The index of a register.
pub(crate) type Register = u32;

/// Returns the number of consecutive registers of a scalar: two for 64 bits, with the low words first.
pub(crate) const fn registers_of(ty: ScalarType) -> u32 {
    if ty.size() == 8 { 2 } else { 1 }
}

/// The registers of an op: the first of each operand and of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Args {
    /// The result, which must not overlap an operand.
    pub(crate) result: Register,
    /// The operands; 0 beyond those of the op.
    pub(crate) operands: [Register; 4],
}

/// A function that applies an op to every lane.
pub(crate) type Compute = fn(&mut [Lanes], &Args);

/// Returns the function for `op` on components of type `main` with a result of type `result`.
///
/// Returns `None` if there is none; the op may still be [`Generic`].
pub(crate) fn compute(op: Op, main: ScalarType, result: ScalarType) -> Option<Compute> {
    match op.on(main.class())? {
        ScalarOp::Convert => Some(convert::compute(main, result)),
        ScalarOp::Bitcast => (main.size() == result.size()).then(|| copy(main)),
        ScalarOp::Select if registers_of(main) == 2 => {
            Some(|r, a| wide3(r, a, |c: bool, x: u64, y: u64| if c { x } else { y }))
        }
        ScalarOp::Select => Some(|r, a| map3(r, a, |c: bool, x: u32, y: u32| if c { x } else { y })),
        ScalarOp::Bool(op) => Some(boolean(op)),
        ScalarOp::Integer(op) => on_integers(op, main),
        ScalarOp::Float(op) => on_floats(op, main),
        ScalarOp::Pack
        | ScalarOp::Unpack
        | ScalarOp::Construct
        | ScalarOp::Extract
        | ScalarOp::Insert
        | ScalarOp::Dot => None,
    }
}

fn on_integers(op: IntegerOp, ty: ScalarType) -> Option<Compute> {
    match ty {
        ScalarType::I8 => integer::i8(op),
        ScalarType::I16 => integer::i16(op),
        ScalarType::I32 => integer::i32(op),
        ScalarType::I64 => integer::i64(op),
        ScalarType::U8 => integer::u8(op),
        ScalarType::U16 => integer::u16(op),
        ScalarType::U32 => integer::u32(op),
        ScalarType::U64 => integer::u64(op),
        ScalarType::Bool | ScalarType::F16 | ScalarType::BF16 | ScalarType::F32 | ScalarType::F64 => None,
    }
}

fn on_floats(op: FloatOp, ty: ScalarType) -> Option<Compute> {
    match ty {
        ScalarType::F16 => Some(float::half(op)),
        ScalarType::BF16 => Some(float::brain(op)),
        ScalarType::F32 => Some(float::single(op)),
        ScalarType::F64 => Some(float::double(op)),
        ScalarType::Bool
        | ScalarType::I8
        | ScalarType::I16
        | ScalarType::I32
        | ScalarType::I64
        | ScalarType::U8
        | ScalarType::U16
        | ScalarType::U32
        | ScalarType::U64 => None,
    }
}

/// Returns the singly rounded function for `op`, if [`compute`] may return one that is not singly rounded (`fma`). If
/// there is none, the [`Generic`] op is singly rounded.
pub(crate) fn exact(op: Op, main: ScalarType) -> Option<Compute> {
    match (op, main) {
        (Op::Fma, ScalarType::F32) => Some(|r, a| map3(r, a, f32::mul_add)),
        (Op::Fma, ScalarType::F64) => Some(|r, a| wide3(r, a, f64::mul_add)),
        _ => None,
    }
}

/// Returns the function that copies its operand.
fn copy(ty: ScalarType) -> Compute {
    if registers_of(ty) == 2 { |r, a| wide1(r, a, |x: u64| x) } else { |r, a| map1(r, a, |x: u32| x) }
}

fn boolean(op: BoolOp) -> Compute {
    match op {
        BoolOp::And => |r, a| map2(r, a, |x: u32, y: u32| x & y),
        BoolOp::Or => |r, a| map2(r, a, |x: u32, y: u32| x | y),
        BoolOp::Xor | BoolOp::Ne => |r, a| map2(r, a, |x: u32, y: u32| x ^ y),
        BoolOp::Eq => |r, a| map2(r, a, |x: u32, y: u32| x ^ y ^ 1),
        BoolOp::Not => |r, a| map1(r, a, |x: u32| x ^ 1),
    }
}

#[cfg(test)]
mod tests;
