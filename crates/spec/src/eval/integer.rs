//! Integer ops: a module of typed functions for each integer type.

/// Defines the ops on one integer type. All are total.
macro_rules! integer_ops {
    ($name:ident, $t:ty, $unsigned:ty, $wide:ty, $signed:literal) => {
        #[doc = concat!("Ops on `", stringify!($name), "`.")]
        #[allow(
            clippy::cast_lossless,
            unused_comparisons,
            clippy::absurd_extreme_comparisons,
            reason = "the same code for all types: some need a cast or a sign test that others do not"
        )]
        pub mod $name {
            use crate::ops::{CompareOp, IntegerOp};

            const BITS: u32 = <$t>::BITS;

            /// Returns the wrapping sum.
            #[inline]
            pub fn add(a: $t, b: $t) -> $t {
                a.wrapping_add(b)
            }
            /// Returns the wrapping difference.
            #[inline]
            pub fn sub(a: $t, b: $t) -> $t {
                a.wrapping_sub(b)
            }
            /// Returns the wrapping product.
            #[inline]
            pub fn mul(a: $t, b: $t) -> $t {
                a.wrapping_mul(b)
            }
            /// Returns the high half of the double-width product.
            #[inline]
            pub fn mul_hi(a: $t, b: $t) -> $t {
                ((a as $wide).wrapping_mul(b as $wide) >> BITS) as $t
            }
            /// Returns the saturating sum.
            #[inline]
            pub fn add_sat(a: $t, b: $t) -> $t {
                a.saturating_add(b)
            }
            /// Returns the saturating difference.
            #[inline]
            pub fn sub_sat(a: $t, b: $t) -> $t {
                a.saturating_sub(b)
            }
            /// Returns the truncating quotient; `a` if `b` is 0.
            #[inline]
            pub fn div(a: $t, b: $t) -> $t {
                if b == 0 { a } else { a.wrapping_div(b) }
            }
            /// Returns the remainder with the sign of the dividend; 0 if `b` is 0.
            #[inline]
            pub fn rem(a: $t, b: $t) -> $t {
                if b == 0 { 0 } else { a.wrapping_rem(b) }
            }
            /// Returns the wrapping negation.
            #[inline]
            pub fn neg(a: $t) -> $t {
                a.wrapping_neg()
            }
            /// Returns the wrapping magnitude.
            #[inline]
            pub fn abs(a: $t) -> $t {
                if a < (0 as $t) { a.wrapping_neg() } else { a }
            }
            /// Returns −1, 0 or 1.
            #[inline]
            pub fn sign(a: $t) -> $t {
                ((a > 0) as $t).wrapping_sub((a < (0 as $t)) as $t)
            }
            /// Returns the smaller operand.
            #[inline]
            pub fn min(a: $t, b: $t) -> $t {
                a.min(b)
            }
            /// Returns the larger operand.
            #[inline]
            pub fn max(a: $t, b: $t) -> $t {
                a.max(b)
            }
            /// Returns `min(max(x, lo), hi)`.
            #[inline]
            pub fn clamp(x: $t, lo: $t, hi: $t) -> $t {
                x.max(lo).min(hi)
            }
            /// Shifts left by the amount modulo the width.
            #[inline]
            pub fn shl(a: $t, n: u32) -> $t {
                a.wrapping_shl(n)
            }
            /// Shifts right by the amount modulo the width; arithmetically if signed.
            #[inline]
            pub fn shr(a: $t, n: u32) -> $t {
                a.wrapping_shr(n)
            }
            /// Rotates left by the amount modulo the width.
            #[inline]
            pub fn rotl(a: $t, n: u32) -> $t {
                a.rotate_left(n % BITS)
            }
            /// Rotates right by the amount modulo the width.
            #[inline]
            pub fn rotr(a: $t, n: u32) -> $t {
                a.rotate_right(n % BITS)
            }
            /// Returns the number of one bits.
            #[inline]
            pub fn popcount(a: $t) -> $t {
                a.count_ones() as $t
            }
            /// Returns the number of leading zeros.
            #[inline]
            pub fn clz(a: $t) -> $t {
                a.leading_zeros() as $t
            }
            /// Returns the number of trailing zeros.
            #[inline]
            pub fn ctz(a: $t) -> $t {
                a.trailing_zeros() as $t
            }
            /// Reverses the order of the bits.
            #[inline]
            pub fn reverse_bits(a: $t) -> $t {
                a.reverse_bits()
            }
            /// Returns `count` bits from `offset`, clamped as in WGSL.
            #[inline]
            pub fn extract_bits(a: $t, offset: u32, count: u32) -> $t {
                let offset = offset.min(BITS);
                let count = count.min(BITS - offset);
                if count == 0 { 0 } else { a << (BITS - offset - count) >> (BITS - count) }
            }
            /// Returns `a` with `count` bits from `offset` replaced by the low bits of `b`, clamped as in WGSL.
            #[inline]
            pub fn insert_bits(a: $t, b: $t, offset: u32, count: u32) -> $t {
                let offset = offset.min(BITS);
                let count = count.min(BITS - offset);
                if count == 0 {
                    return a;
                }
                let mask = <$unsigned>::MAX >> (BITS - count) << offset;
                ((a as $unsigned & !mask) | ((b as $unsigned) << offset & mask)) as $t
            }
            /// Returns the sum of the products of the four bytes of both operands.
            #[inline]
            pub fn dot_packed(a: $t, b: $t) -> $t {
                let byte = |word: $t, i: u32| {
                    let byte = word.checked_shr(8 * i).unwrap_or(0) as u8;
                    if $signed { i64::from(byte as i8) } else { i64::from(byte) }
                };
                (0..4).map(|i| byte(a, i) * byte(b, i)).sum::<i64>() as $t
            }

            pub(in crate::eval) fn apply(op: IntegerOp, args: &[u64]) -> Option<u64> {
                let a = *args.first()? as $t;
                let b = || args.get(1).map(|v| *v as $t);
                let n = |i: usize| args.get(i).map(|v| *v as u32);
                let value = match op {
                    IntegerOp::Add => add(a, b()?),
                    IntegerOp::Sub => sub(a, b()?),
                    IntegerOp::Mul => mul(a, b()?),
                    IntegerOp::MulHi => mul_hi(a, b()?),
                    IntegerOp::AddSat => add_sat(a, b()?),
                    IntegerOp::SubSat => sub_sat(a, b()?),
                    IntegerOp::Div => div(a, b()?),
                    IntegerOp::Rem => rem(a, b()?),
                    IntegerOp::Min => min(a, b()?),
                    IntegerOp::Max => max(a, b()?),
                    IntegerOp::DotPacked => dot_packed(a, b()?),
                    IntegerOp::Neg => neg(a),
                    IntegerOp::Abs => abs(a),
                    IntegerOp::Sign => sign(a),
                    IntegerOp::PopCount => popcount(a),
                    IntegerOp::LeadingZeros => clz(a),
                    IntegerOp::TrailingZeros => ctz(a),
                    IntegerOp::ReverseBits => reverse_bits(a),
                    IntegerOp::Clamp => clamp(a, b()?, *args.get(2)? as $t),
                    IntegerOp::And => a & b()?,
                    IntegerOp::Or => a | b()?,
                    IntegerOp::Xor => a ^ b()?,
                    IntegerOp::Not => !a,
                    IntegerOp::Shl => shl(a, n(1)?),
                    IntegerOp::Shr => shr(a, n(1)?),
                    IntegerOp::RotateLeft => rotl(a, n(1)?),
                    IntegerOp::RotateRight => rotr(a, n(1)?),
                    IntegerOp::ExtractBits => extract_bits(a, n(1)?, n(2)?),
                    IntegerOp::InsertBits => insert_bits(a, b()?, n(2)?, n(3)?),
                    IntegerOp::Compare(op) => {
                        let b = b()?;
                        return Some(u64::from(match op {
                            CompareOp::Eq => a == b,
                            CompareOp::Ne => a != b,
                            CompareOp::Lt => a < b,
                            CompareOp::Le => a <= b,
                            CompareOp::Gt => a > b,
                            CompareOp::Ge => a >= b,
                        }));
                    }
                };
                Some(u64::from(value as $unsigned))
            }
        }
    };
}

integer_ops!(i8, i8, u8, i16, true);
integer_ops!(i16, i16, u16, i32, true);
integer_ops!(i32, i32, u32, i64, true);
integer_ops!(i64, i64, u64, i128, true);
integer_ops!(u8, u8, u8, u16, false);
integer_ops!(u16, u16, u16, u32, false);
integer_ops!(u32, u32, u32, u64, false);
integer_ops!(u64, u64, u64, u128, false);
