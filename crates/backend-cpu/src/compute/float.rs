//! Ops on `f32`.

use fulgurite_spec::Op;
use fulgurite_spec::eval::float::native::f32 as float;

use super::{Compute, binary, ternary, unary};

/// `a × b + c`: fused where the target has an instruction for it, since it is slow where it has not. The op
/// allows both.
#[inline]
fn fma(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(target_feature = "fma") { float::fma(a, b, c) } else { float::fma_unfused(a, b, c) }
}

/// Around a function of one float.
macro_rules! one {
    ($f:expr) => {
        |r, a| unary(r, a, |x| $f(f32::from_bits(x)).to_bits())
    };
}

/// Around a function of two floats.
macro_rules! two {
    ($f:expr) => {
        |r, a| binary(r, a, |x, y| $f(f32::from_bits(x), f32::from_bits(y)).to_bits())
    };
}

/// Around a function of three floats.
macro_rules! three {
    ($f:expr) => {
        |r, a| ternary(r, a, |x, y, z| $f(f32::from_bits(x), f32::from_bits(y), f32::from_bits(z)).to_bits())
    };
}

/// Around a comparison.
macro_rules! compare {
    ($operator:tt) => { |r, a| binary(r, a, |x, y| u32::from(f32::from_bits(x) $operator f32::from_bits(y))) };
}

/// The function for an op on `f32`.
pub(super) fn compute(op: Op) -> Option<Compute> {
    Some(match op {
        Op::Add => two!(|x: f32, y: f32| x + y),
        Op::Sub => two!(|x: f32, y: f32| x - y),
        Op::Mul => two!(|x: f32, y: f32| x * y),
        Op::Div => two!(|x: f32, y: f32| x / y),
        Op::Neg => one!(|x: f32| -x),
        Op::Abs => one!(f32::abs),
        Op::Sign => one!(float::sign),
        Op::Min => two!(float::min),
        Op::Max => two!(float::max),
        Op::Clamp => three!(float::clamp),
        Op::Fma => three!(fma),
        Op::Floor => one!(f32::floor),
        Op::Ceil => one!(f32::ceil),
        Op::Trunc => one!(f32::trunc),
        Op::Round => one!(f32::round_ties_even),
        Op::Fract => one!(float::fract),
        Op::Sqrt => one!(f32::sqrt),
        Op::Rsqrt => one!(float::rsqrt),
        Op::Eq => compare!(==),
        Op::Ne => compare!(!=),
        Op::Lt => compare!(<),
        Op::Le => compare!(<=),
        Op::Gt => compare!(>),
        Op::Ge => compare!(>=),
        Op::IsNan => |r, a| unary(r, a, |x| u32::from(f32::from_bits(x).is_nan())),
        Op::IsInf => |r, a| unary(r, a, |x| u32::from(f32::from_bits(x).is_infinite())),
        _ => return None,
    })
}
