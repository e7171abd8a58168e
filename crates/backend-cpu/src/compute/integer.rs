//! Integer ops, for each integer type.

use fulgurite_spec::eval::integer as eval;
use fulgurite_spec::{Op, ScalarType};

use super::Compute;
use super::map::{map1, map2, map3, map4, wide1, wide2, wide3};

macro_rules! integer_ops {
    ($t:ident, $map1:ident $map2:ident $map3:ident) => {
        /// Returns the function for an op on this type.
        pub(super) fn $t(op: Op) -> Option<Compute> {
            use fulgurite_spec::eval::integer::$t as eval;

            Some(match op {
                Op::Add => |r, a| $map2(r, a, eval::add),
                Op::Sub => |r, a| $map2(r, a, eval::sub),
                Op::Mul => |r, a| $map2(r, a, eval::mul),
                Op::MulHi => |r, a| $map2(r, a, eval::mul_hi),
                Op::AddSat => |r, a| $map2(r, a, eval::add_sat),
                Op::SubSat => |r, a| $map2(r, a, eval::sub_sat),
                Op::Div => |r, a| $map2(r, a, eval::div),
                Op::Rem => |r, a| $map2(r, a, eval::rem),
                Op::Neg => |r, a| $map1(r, a, eval::neg),
                Op::Abs => |r, a| $map1(r, a, eval::abs),
                Op::Sign => |r, a| $map1(r, a, eval::sign),
                Op::Min => |r, a| $map2(r, a, eval::min),
                Op::Max => |r, a| $map2(r, a, eval::max),
                Op::Clamp => |r, a| $map3(r, a, eval::clamp),
                Op::And => |r, a| $map2(r, a, |x: $t, y: $t| x & y),
                Op::Or => |r, a| $map2(r, a, |x: $t, y: $t| x | y),
                Op::Xor => |r, a| $map2(r, a, |x: $t, y: $t| x ^ y),
                Op::Not => |r, a| $map1(r, a, |x: $t| !x),
                Op::Shl => |r, a| $map2(r, a, eval::shl),
                Op::Shr => |r, a| $map2(r, a, eval::shr),
                Op::RotateLeft => |r, a| $map2(r, a, eval::rotl),
                Op::RotateRight => |r, a| $map2(r, a, eval::rotr),
                Op::PopCount => |r, a| $map1(r, a, eval::popcount),
                Op::LeadingZeros => |r, a| $map1(r, a, eval::clz),
                Op::TrailingZeros => |r, a| $map1(r, a, eval::ctz),
                Op::ReverseBits => |r, a| $map1(r, a, eval::reverse_bits),
                Op::ExtractBits => |r, a| $map3(r, a, eval::extract_bits),
                Op::Eq => |r, a| $map2(r, a, |x: $t, y: $t| x == y),
                Op::Ne => |r, a| $map2(r, a, |x: $t, y: $t| x != y),
                Op::Lt => |r, a| $map2(r, a, |x: $t, y: $t| x < y),
                Op::Le => |r, a| $map2(r, a, |x: $t, y: $t| x <= y),
                Op::Gt => |r, a| $map2(r, a, |x: $t, y: $t| x > y),
                Op::Ge => |r, a| $map2(r, a, |x: $t, y: $t| x >= y),
                _ => return None,
            })
        }
    };
}

integer_ops!(i8, map1 map2 map3);
integer_ops!(i16, map1 map2 map3);
integer_ops!(i32, map1 map2 map3);
integer_ops!(i64, wide1 wide2 wide3);
integer_ops!(u8, map1 map2 map3);
integer_ops!(u16, map1 map2 map3);
integer_ops!(u32, map1 map2 map3);
integer_ops!(u64, wide1 wide2 wide3);

/// Returns the function for `dot_packed` or `insert_bits` on 32 bits.
pub(super) fn more(op: Op, main: ScalarType) -> Option<Compute> {
    Some(match (op, main) {
        (Op::DotPacked, ScalarType::I32) => |r, a| map2(r, a, eval::i32::dot_packed),
        (Op::DotPacked, ScalarType::U32) => |r, a| map2(r, a, eval::u32::dot_packed),
        (Op::InsertBits, ScalarType::I32) => |r, a| map4(r, a, eval::i32::insert_bits),
        (Op::InsertBits, ScalarType::U32) => |r, a| map4(r, a, eval::u32::insert_bits),
        _ => return None,
    })
}
