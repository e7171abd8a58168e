//! Integer ops, for each integer type.

use fulgurite_spec::eval::integer;
use fulgurite_spec::{CompareOp, IntegerOp};

use super::Compute;
use super::map::{map1, map2, map3, map4, wide1, wide2, wide3};

macro_rules! integer_ops {
    ($t:ident, $map1:ident $map2:ident $map3:ident, $insert_bits:expr, $dot_packed:expr) => {
        /// Returns the function for an op on this type.
        pub(super) fn $t(op: IntegerOp) -> Option<Compute> {
            use fulgurite_spec::eval::integer::$t as eval;

            Some(match op {
                IntegerOp::Add => |r, a| $map2(r, a, eval::add),
                IntegerOp::Sub => |r, a| $map2(r, a, eval::sub),
                IntegerOp::Mul => |r, a| $map2(r, a, eval::mul),
                IntegerOp::MulHi => |r, a| $map2(r, a, eval::mul_hi),
                IntegerOp::AddSat => |r, a| $map2(r, a, eval::add_sat),
                IntegerOp::SubSat => |r, a| $map2(r, a, eval::sub_sat),
                IntegerOp::Div => |r, a| $map2(r, a, eval::div),
                IntegerOp::Rem => |r, a| $map2(r, a, eval::rem),
                IntegerOp::Neg => |r, a| $map1(r, a, eval::neg),
                IntegerOp::Abs => |r, a| $map1(r, a, eval::abs),
                IntegerOp::Sign => |r, a| $map1(r, a, eval::sign),
                IntegerOp::Min => |r, a| $map2(r, a, eval::min),
                IntegerOp::Max => |r, a| $map2(r, a, eval::max),
                IntegerOp::Clamp => |r, a| $map3(r, a, eval::clamp),
                IntegerOp::And => |r, a| $map2(r, a, |x: $t, y: $t| x & y),
                IntegerOp::Or => |r, a| $map2(r, a, |x: $t, y: $t| x | y),
                IntegerOp::Xor => |r, a| $map2(r, a, |x: $t, y: $t| x ^ y),
                IntegerOp::Not => |r, a| $map1(r, a, |x: $t| !x),
                IntegerOp::Shl => |r, a| $map2(r, a, eval::shl),
                IntegerOp::Shr => |r, a| $map2(r, a, eval::shr),
                IntegerOp::RotateLeft => |r, a| $map2(r, a, eval::rotl),
                IntegerOp::RotateRight => |r, a| $map2(r, a, eval::rotr),
                IntegerOp::PopCount => |r, a| $map1(r, a, eval::popcount),
                IntegerOp::LeadingZeros => |r, a| $map1(r, a, eval::clz),
                IntegerOp::TrailingZeros => |r, a| $map1(r, a, eval::ctz),
                IntegerOp::ReverseBits => |r, a| $map1(r, a, eval::reverse_bits),
                IntegerOp::ExtractBits => |r, a| $map3(r, a, eval::extract_bits),
                IntegerOp::Compare(CompareOp::Eq) => |r, a| $map2(r, a, |x: $t, y: $t| x == y),
                IntegerOp::Compare(CompareOp::Ne) => |r, a| $map2(r, a, |x: $t, y: $t| x != y),
                IntegerOp::Compare(CompareOp::Lt) => |r, a| $map2(r, a, |x: $t, y: $t| x < y),
                IntegerOp::Compare(CompareOp::Le) => |r, a| $map2(r, a, |x: $t, y: $t| x <= y),
                IntegerOp::Compare(CompareOp::Gt) => |r, a| $map2(r, a, |x: $t, y: $t| x > y),
                IntegerOp::Compare(CompareOp::Ge) => |r, a| $map2(r, a, |x: $t, y: $t| x >= y),
                IntegerOp::InsertBits => return $insert_bits,
                IntegerOp::DotPacked => return $dot_packed,
            })
        }
    };
}

integer_ops!(i8, map1 map2 map3, None, None);
integer_ops!(i16, map1 map2 map3, None, None);
integer_ops!(
    i32,
    map1 map2 map3,
    Some(|r, a| map4(r, a, integer::i32::insert_bits)),
    Some(|r, a| map2(r, a, integer::i32::dot_packed))
);
integer_ops!(i64, wide1 wide2 wide3, None, None);
integer_ops!(u8, map1 map2 map3, None, None);
integer_ops!(u16, map1 map2 map3, None, None);
integer_ops!(
    u32,
    map1 map2 map3,
    Some(|r, a| map4(r, a, integer::u32::insert_bits)),
    Some(|r, a| map2(r, a, integer::u32::dot_packed))
);
integer_ops!(u64, wide1 wide2 wide3, None, None);
