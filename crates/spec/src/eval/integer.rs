//! Integer ops: one module of typed functions for each integer type.

/// The ops on one integer type, each total.
macro_rules! integer_ops {
    ($name:ident, $t:ty, $unsigned:ty, $wide:ty, $signed:literal) => {
        #[doc = concat!("Ops on `", stringify!($name), "`.")]
        #[allow(
            clippy::cast_lossless,
            unused_comparisons,
            clippy::absurd_extreme_comparisons,
            reason = "one text for all types: some need a cast or a sign test that others do not"
        )]
        pub mod $name {
            use crate::ops::Op;

            const BITS: u32 = <$t>::BITS;

            /// Wrapping sum.
            #[inline]
            pub fn add(a: $t, b: $t) -> $t {
                a.wrapping_add(b)
            }
            /// Wrapping difference.
            #[inline]
            pub fn sub(a: $t, b: $t) -> $t {
                a.wrapping_sub(b)
            }
            /// Wrapping product.
            #[inline]
            pub fn mul(a: $t, b: $t) -> $t {
                a.wrapping_mul(b)
            }
            /// The high half of the double-width product.
            #[inline]
            pub fn mul_hi(a: $t, b: $t) -> $t {
                ((a as $wide).wrapping_mul(b as $wide) >> BITS) as $t
            }
            /// The sum, or the nearest value of the type.
            #[inline]
            pub fn add_sat(a: $t, b: $t) -> $t {
                a.saturating_add(b)
            }
            /// The difference, or the nearest value of the type.
            #[inline]
            pub fn sub_sat(a: $t, b: $t) -> $t {
                a.saturating_sub(b)
            }
            /// Truncating quotient; `a` for a divisor of 0.
            #[inline]
            pub fn div(a: $t, b: $t) -> $t {
                if b == 0 { a } else { a.wrapping_div(b) }
            }
            /// Remainder with the dividend's sign; 0 for a divisor of 0.
            #[inline]
            pub fn rem(a: $t, b: $t) -> $t {
                if b == 0 { 0 } else { a.wrapping_rem(b) }
            }
            /// Wrapping negation.
            #[inline]
            pub fn neg(a: $t) -> $t {
                a.wrapping_neg()
            }
            /// Wrapping magnitude.
            #[inline]
            pub fn abs(a: $t) -> $t {
                if a < (0 as $t) { a.wrapping_neg() } else { a }
            }
            /// −1, 0 or 1.
            #[inline]
            pub fn sign(a: $t) -> $t {
                ((a > 0) as $t).wrapping_sub((a < (0 as $t)) as $t)
            }
            /// The smaller.
            #[inline]
            pub fn min(a: $t, b: $t) -> $t {
                a.min(b)
            }
            /// The larger.
            #[inline]
            pub fn max(a: $t, b: $t) -> $t {
                a.max(b)
            }
            /// `min(max(x, lo), hi)`.
            #[inline]
            pub fn clamp(x: $t, lo: $t, hi: $t) -> $t {
                x.max(lo).min(hi)
            }
            /// Shift left, amount modulo the width.
            #[inline]
            pub fn shl(a: $t, n: u32) -> $t {
                a.wrapping_shl(n)
            }
            /// Shift right (arithmetic if signed), amount modulo the width.
            #[inline]
            pub fn shr(a: $t, n: u32) -> $t {
                a.wrapping_shr(n)
            }
            /// Rotate left.
            #[inline]
            pub fn rotl(a: $t, n: u32) -> $t {
                a.rotate_left(n % BITS)
            }
            /// Rotate right.
            #[inline]
            pub fn rotr(a: $t, n: u32) -> $t {
                a.rotate_right(n % BITS)
            }
            /// One bits.
            #[inline]
            pub fn popcount(a: $t) -> $t {
                a.count_ones() as $t
            }
            /// Leading zeros.
            #[inline]
            pub fn clz(a: $t) -> $t {
                a.leading_zeros() as $t
            }
            /// Trailing zeros.
            #[inline]
            pub fn ctz(a: $t) -> $t {
                a.trailing_zeros() as $t
            }
            /// Bits in opposite order.
            #[inline]
            pub fn reverse_bits(a: $t) -> $t {
                a.reverse_bits()
            }
            /// `count` bits from `offset`, clamped as in WGSL.
            #[inline]
            pub fn extract_bits(a: $t, offset: u32, count: u32) -> $t {
                let offset = offset.min(BITS);
                let count = count.min(BITS - offset);
                if count == 0 { 0 } else { a << (BITS - offset - count) >> (BITS - count) }
            }
            /// `a` with `count` bits from `offset` taken from the low bits of `b`, clamped as in WGSL.
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
            /// The products of the four bytes of both operands, summed.
            #[inline]
            pub fn dot_packed(a: $t, b: $t) -> $t {
                let byte = |word: $t, i: u32| {
                    let byte = word.checked_shr(8 * i).unwrap_or(0) as u8;
                    if $signed { i64::from(byte as i8) } else { i64::from(byte) }
                };
                (0..4).map(|i| byte(a, i) * byte(b, i)).sum::<i64>() as $t
            }

            pub(in crate::eval) fn apply(op: Op, args: &[u64]) -> Option<u64> {
                let a = *args.first()? as $t;
                let b = || args.get(1).map(|v| *v as $t);
                let n = |i: usize| args.get(i).map(|v| *v as u32);
                let value = match op {
                    Op::Add => add(a, b()?),
                    Op::Sub => sub(a, b()?),
                    Op::Mul => mul(a, b()?),
                    Op::MulHi => mul_hi(a, b()?),
                    Op::AddSat => add_sat(a, b()?),
                    Op::SubSat => sub_sat(a, b()?),
                    Op::Div => div(a, b()?),
                    Op::Rem => rem(a, b()?),
                    Op::Min => min(a, b()?),
                    Op::Max => max(a, b()?),
                    Op::DotPacked => dot_packed(a, b()?),
                    Op::Neg => neg(a),
                    Op::Abs => abs(a),
                    Op::Sign => sign(a),
                    Op::PopCount => popcount(a),
                    Op::LeadingZeros => clz(a),
                    Op::TrailingZeros => ctz(a),
                    Op::ReverseBits => reverse_bits(a),
                    Op::Clamp => clamp(a, b()?, *args.get(2)? as $t),
                    Op::And => a & b()?,
                    Op::Or => a | b()?,
                    Op::Xor => a ^ b()?,
                    Op::Not => !a,
                    Op::Shl => shl(a, n(1)?),
                    Op::Shr => shr(a, n(1)?),
                    Op::RotateLeft => rotl(a, n(1)?),
                    Op::RotateRight => rotr(a, n(1)?),
                    Op::ExtractBits => extract_bits(a, n(1)?, n(2)?),
                    Op::InsertBits => insert_bits(a, b()?, n(2)?, n(3)?),
                    Op::Eq => return Some(u64::from(a == b()?)),
                    Op::Ne => return Some(u64::from(a != b()?)),
                    Op::Lt => return Some(u64::from(a < b()?)),
                    Op::Le => return Some(u64::from(a <= b()?)),
                    Op::Gt => return Some(u64::from(a > b()?)),
                    Op::Ge => return Some(u64::from(a >= b()?)),
                    _ => return None,
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
