//! The 16-bit floats, computed in `f32`.
//!
//! For a sum, product, quotient or square root of values of at most 11 bits, rounding to the 24 bits of `f32` and then
//! to the narrow type is the same as rounding once.

use super::map::Value;

/// An `f16`, or an `f32` that is yet to be rounded to one.
#[derive(Clone, Copy)]
pub(super) struct F16(pub(super) f32);

/// A `bf16`, or an `f32` that is yet to be rounded to one.
#[derive(Clone, Copy)]
pub(super) struct BF16(pub(super) f32);

impl Value for F16 {
    type Bits = u32;

    #[inline]
    fn from_bits(bits: u32) -> Self {
        let magnitude = (bits & 0x7fff) << 13;
        // A subnormal is subnormal in `f32` too; moving the exponent by 112 corrects subnormal and normal values alike.
        let finite = (f32::from_bits(magnitude) * f32::from_bits((127 + 112) << 23)).to_bits();
        let wide = if magnitude >= 0x1f << 23 { magnitude | 0xff << 23 } else { finite };
        Self(f32::from_bits(wide | (bits & 0x8000) << 16))
    }

    #[inline]
    fn bits(self) -> u32 {
        let bits = self.0.to_bits();
        let magnitude = bits & 0x7fff_ffff;
        // Moves the exponent by 112 and the fraction by 13 bits; carries propagate into the exponent, and to infinity.
        let normal = magnitude.wrapping_sub((112 << 23) - 0xfff).wrapping_add(magnitude >> 13 & 1) >> 13;
        // The last place of 0.5 is the smallest subnormal, so the sum is rounded to it.
        let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
        let finite = if magnitude < 113 << 23 { subnormal } else { normal };
        // From 2^16 on: infinity, or a NaN.
        let other = if magnitude > 0xff << 23 { 0x7e00 } else { 0x7c00 };
        let half = if magnitude >= 143 << 23 { other } else { finite };
        half | bits >> 16 & 0x8000
    }
}

impl Value for BF16 {
    type Bits = u32;

    #[inline]
    fn from_bits(bits: u32) -> Self {
        Self(f32::from_bits(bits << 16))
    }

    #[inline]
    fn bits(self) -> u32 {
        let bits = self.0.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        if self.0.is_nan() { 0x7fc0 } else { rounded }
    }
}

#[cfg(test)]
mod tests {
    use fulgurite_spec::ScalarType::{self, F32};
    use fulgurite_spec::eval::float::FloatFormat;

    use super::*;

    #[test]
    fn narrow_floats_are_read_exactly_and_rounded_once() {
        let mut random = 1u32;
        let mut check = |ty: ScalarType, read: fn(u32) -> f32, write: fn(f32) -> u32| {
            let (Some(format), Some(single)) = (FloatFormat::of(ty), FloatFormat::of(F32)) else {
                return;
            };
            for bits in 0..=0xffffu32 {
                let value = read(bits);
                let wanted = format.decode(bits.into());
                assert!(f64::from(value) == wanted || value.is_nan() && wanted.is_nan(), "{ty} {bits:#x}");
                // The exact value, points half-way to its neighbors and next to them, and a random value.
                random = random.wrapping_mul(0x915f_77f5).wrapping_add(1);
                let step = 1u32 << if ty == ScalarType::F16 { 12 } else { 15 };
                let exact = value.to_bits();
                for single_bits in [exact, exact + step, exact + step - 1, exact + step + 1, random] {
                    let value = single.decode(single_bits.into());
                    let found = u64::from(write(f32::from_bits(single_bits)));
                    let wanted = format.encode(value);
                    let nan = format.is_nan(found) && format.is_nan(wanted);
                    assert!(found == wanted || nan, "{ty} {single_bits:#x}: {found:#x}, not {wanted:#x}");
                }
            }
        };
        check(ScalarType::F16, |bits| F16::from_bits(bits).0, |value| F16(value).bits());
        check(ScalarType::BF16, |bits| BF16::from_bits(bits).0, |value| BF16(value).bits());
    }
}
