//! `convert`, from each type to each.

use fulgurite_spec::ScalarType::{self, Bool, F32, I32, U32};

use super::{Compute, copy, unary};

/// The function that converts `from` to `to`. Rust's `as` has the op's meaning: it truncates and saturates into
/// integers with NaN as 0, and rounds to nearest even into floats.
pub(super) fn compute(from: ScalarType, to: ScalarType) -> Option<Compute> {
    Some(match (from, to) {
        (Bool | I32 | U32, I32 | U32) | (Bool, Bool) | (F32, F32) => copy,
        (I32 | U32, Bool) => |r, a| unary(r, a, |x| u32::from(x != 0)),
        (F32, Bool) => |r, a| unary(r, a, |x| u32::from(f32::from_bits(x) != 0.0)),
        (Bool | U32, F32) => |r, a| unary(r, a, |x| (x as f32).to_bits()),
        (I32, F32) => |r, a| unary(r, a, |x| (x as i32 as f32).to_bits()),
        (F32, I32) => |r, a| unary(r, a, |x| f32::from_bits(x) as i32 as u32),
        (F32, U32) => |r, a| unary(r, a, |x| f32::from_bits(x) as u32),
        _ => return None,
    })
}
