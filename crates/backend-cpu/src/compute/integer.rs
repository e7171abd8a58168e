//! Integer ops, once for each integer type.

use fulgurite_spec::Op;

use super::{Compute, binary, quaternary, ternary, unary};

macro_rules! integer_ops {
    ($name:ident, $module:ident, $t:ty) => {
        /// The function for an op on this type.
        pub(super) fn $name(op: Op) -> Option<Compute> {
            use fulgurite_spec::eval::integer::$module as eval;

            /// Around a function of two integers.
            macro_rules! two {
                ($f:path) => {
                    |r, a| binary(r, a, |x, y| $f(x as $t, y as $t) as u32)
                };
            }
            /// Around a function of an integer and an amount.
            macro_rules! amount {
                ($f:path) => {
                    |r, a| binary(r, a, |x, n| $f(x as $t, n) as u32)
                };
            }
            /// Around a function of one integer.
            macro_rules! one {
                ($f:path) => {
                    |r, a| unary(r, a, |x| $f(x as $t) as u32)
                };
            }
            /// Around a comparison.
            macro_rules! compare {
                ($operator:tt) => { |r, a| binary(r, a, |x, y| u32::from((x as $t) $operator (y as $t))) };
            }
            Some(match op {
                Op::Add => two!(eval::add),
                Op::Sub => two!(eval::sub),
                Op::Mul => two!(eval::mul),
                Op::MulHi => two!(eval::mul_hi),
                Op::Div => two!(eval::div),
                Op::Rem => two!(eval::rem),
                Op::Neg => one!(eval::neg),
                Op::Abs => one!(eval::abs),
                Op::Sign => one!(eval::sign),
                Op::Min => two!(eval::min),
                Op::Max => two!(eval::max),
                Op::Clamp => {
                    |r, a| ternary(r, a, |x, lo, hi| eval::clamp(x as $t, lo as $t, hi as $t) as u32)
                }
                Op::And => |r, a| binary(r, a, |x, y| x & y),
                Op::Or => |r, a| binary(r, a, |x, y| x | y),
                Op::Xor => |r, a| binary(r, a, |x, y| x ^ y),
                Op::Not => |r, a| unary(r, a, |x| !x),
                Op::Shl => amount!(eval::shl),
                Op::Shr => amount!(eval::shr),
                Op::RotateLeft => amount!(eval::rotl),
                Op::RotateRight => amount!(eval::rotr),
                Op::PopCount => one!(eval::popcount),
                Op::LeadingZeros => one!(eval::clz),
                Op::TrailingZeros => one!(eval::ctz),
                Op::ReverseBits => one!(eval::reverse_bits),
                Op::ExtractBits => {
                    |r, a| ternary(r, a, |x, from, count| eval::extract_bits(x as $t, from, count) as u32)
                }
                Op::InsertBits => |r, a| {
                    quaternary(r, a, |x, y, from, count| {
                        eval::insert_bits(x as $t, y as $t, from, count) as u32
                    })
                },
                Op::Eq => compare!(==),
                Op::Ne => compare!(!=),
                Op::Lt => compare!(<),
                Op::Le => compare!(<=),
                Op::Gt => compare!(>),
                Op::Ge => compare!(>=),
                _ => return None,
            })
        }
    };
}

integer_ops!(signed, i32, i32);
integer_ops!(unsigned, u32, u32);
