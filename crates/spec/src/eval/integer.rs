//! Integer ops, once for each integer type.

macro_rules! integer_ops {
    ($(#[$doc:meta])* $module:ident, $t:ty, $wide:ty, $div:item, $rem:item, $abs:item, $sign:item, $extract:item) => {
        $(#[$doc])*
        pub mod $module {
            use crate::ops::Op;

            const BITS: u32 = <$t>::BITS;

            /// Wrapping sum.
            #[inline]
            pub fn add(a: $t, b: $t) -> $t { a.wrapping_add(b) }
            /// Wrapping difference.
            #[inline]
            pub fn sub(a: $t, b: $t) -> $t { a.wrapping_sub(b) }
            /// Wrapping product.
            #[inline]
            pub fn mul(a: $t, b: $t) -> $t { a.wrapping_mul(b) }
            /// The high half of the double-width product.
            #[inline]
            pub fn mul_hi(a: $t, b: $t) -> $t { ((<$wide>::from(a) * <$wide>::from(b)) >> BITS) as $t }
            /// Truncating quotient; total (see the op table).
            #[inline]
            $div
            /// Remainder with the dividend's sign; total.
            #[inline]
            $rem
            /// Wrapping negation.
            #[inline]
            pub fn neg(a: $t) -> $t { a.wrapping_neg() }
            /// Wrapping magnitude.
            #[inline]
            $abs
            /// −1, 0 or 1.
            #[inline]
            $sign
            /// The smaller.
            #[inline]
            pub fn min(a: $t, b: $t) -> $t { a.min(b) }
            /// The larger.
            #[inline]
            pub fn max(a: $t, b: $t) -> $t { a.max(b) }
            /// `min(max(x, lo), hi)`.
            #[inline]
            pub fn clamp(x: $t, lo: $t, hi: $t) -> $t { x.max(lo).min(hi) }
            /// Shift left, amount modulo the width.
            #[inline]
            pub fn shl(a: $t, n: u32) -> $t { a.wrapping_shl(n) }
            /// Shift right (arithmetic if signed), amount modulo the width.
            #[inline]
            pub fn shr(a: $t, n: u32) -> $t { a.wrapping_shr(n) }
            /// Rotate left.
            #[inline]
            pub fn rotl(a: $t, n: u32) -> $t { a.rotate_left(n % BITS) }
            /// Rotate right.
            #[inline]
            pub fn rotr(a: $t, n: u32) -> $t { a.rotate_right(n % BITS) }
            /// One bits.
            #[inline]
            pub fn popcount(a: $t) -> $t { a.count_ones() as $t }
            /// Leading zeros.
            #[inline]
            pub fn clz(a: $t) -> $t { a.leading_zeros() as $t }
            /// Trailing zeros.
            #[inline]
            pub fn ctz(a: $t) -> $t { a.trailing_zeros() as $t }
            /// Bits in opposite order.
            #[inline]
            pub fn reverse_bits(a: $t) -> $t { a.reverse_bits() }
            /// `count` bits from `offset`, clamped as in WGSL.
            #[inline]
            $extract
            /// `a` with `count` bits from `offset` taken from the low bits of `b`, clamped as in WGSL.
            #[inline]
            pub fn insert_bits(a: $t, b: $t, offset: u32, count: u32) -> $t {
                let offset = offset.min(BITS);
                let count = count.min(BITS - offset);
                if count == 0 {
                    return a;
                }
                let mask = (<$t>::MAX as u32 | 1 << (BITS - 1)) >> (BITS - count) << offset;
                ((a as u32 & !mask) | (((b as u32) << offset) & mask)) as $t
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
                    Op::Div => div(a, b()?),
                    Op::Rem => rem(a, b()?),
                    Op::Neg => neg(a),
                    Op::Abs => abs(a),
                    Op::Sign => sign(a),
                    Op::Min => min(a, b()?),
                    Op::Max => max(a, b()?),
                    Op::Clamp => clamp(a, b()?, *args.get(2)? as $t),
                    Op::And => a & b()?,
                    Op::Or => a | b()?,
                    Op::Xor => a ^ b()?,
                    Op::Not => !a,
                    Op::Shl => shl(a, n(1)?),
                    Op::Shr => shr(a, n(1)?),
                    Op::RotateLeft => rotl(a, n(1)?),
                    Op::RotateRight => rotr(a, n(1)?),
                    Op::PopCount => popcount(a),
                    Op::LeadingZeros => clz(a),
                    Op::TrailingZeros => ctz(a),
                    Op::ReverseBits => reverse_bits(a),
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
                Some(u64::from(value as u32))
            }
        }
    };
}

integer_ops! {
    /// Ops on `i32`.
    signed, i32, i64,
    pub fn div(a: i32, b: i32) -> i32 { if b == 0 { a } else { a.wrapping_div(b) } },
    pub fn rem(a: i32, b: i32) -> i32 { if b == 0 { 0 } else { a.wrapping_rem(b) } },
    pub fn abs(a: i32) -> i32 { a.wrapping_abs() },
    pub fn sign(a: i32) -> i32 { a.signum() },
    pub fn extract_bits(a: i32, offset: u32, count: u32) -> i32 {
        let offset = offset.min(BITS);
        let count = count.min(BITS - offset);
        if count == 0 { 0 } else { a << (BITS - offset - count) >> (BITS - count) }
    }
}

integer_ops! {
    /// Ops on `u32`.
    unsigned, u32, u64,
    pub fn div(a: u32, b: u32) -> u32 { a.checked_div(b).unwrap_or(a) },
    pub fn rem(a: u32, b: u32) -> u32 { a.checked_rem(b).unwrap_or(0) },
    pub fn abs(a: u32) -> u32 { a },
    pub fn sign(a: u32) -> u32 { a.min(1) },
    pub fn extract_bits(a: u32, offset: u32, count: u32) -> u32 {
        let offset = offset.min(BITS);
        let count = count.min(BITS - offset);
        if count == 0 { 0 } else { a << (BITS - offset - count) >> (BITS - count) }
    }
}
