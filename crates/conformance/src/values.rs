//! Input values: edge grids and random ones.

use std::collections::BTreeSet;

use fulgurite_spec::ScalarType;
use fulgurite_spec::eval::float::FloatFormat;

/// A small generator of random numbers (SplitMix64): equal seeds give equal sequences on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn word(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.word()) * u64::from(bound)) >> 32) as u32
    }

    /// A value of `ty`: for floats any bits, or one of a moderate size, as often.
    pub(crate) fn value(&mut self, ty: ScalarType) -> u64 {
        let moderate = self.next() & 1 == 0;
        match FloatFormat::of(ty) {
            Some(format) if moderate => {
                let unit = f64::from(self.word()) / f64::from(u32::MAX) - 0.5;
                format.encode(unit * 2000.0)
            }
            Some(_) => self.next() & ty.mask(),
            // Small magnitudes meet small ones more often than uniform words would.
            None => (self.next() & ty.mask()) >> if moderate { self.below(ty.bits().max(1)) } else { 0 },
        }
    }
}

/// The values of `ty` at which ops change their behavior.
pub(crate) fn edges(ty: ScalarType) -> Vec<u64> {
    let values: BTreeSet<u64> = match FloatFormat::of(ty) {
        Some(format) => {
            floats(format).into_iter().flat_map(|bits| [bits, bits | format.sign_bit()]).collect()
        }
        None if ty == ScalarType::Bool => [0, 1].into(),
        None => {
            let mut values =
                vec![0u64, 1, 2, 3, 7, 8, 10, 15, 16, 31, 32, 33, 63, 64, 100, 255, 256, 0xffff, 0x1_0000];
            values.extend([0xaaaa_aaaa_aaaa_aaaa, 0x1234_5678_1234_5678, 0xffff_ffff, 0x1_0000_0000]);
            // Around the signed extremes.
            let least = ty.mask() / 2 + 1;
            values.extend([least - 2, least - 1, least, least + 1]);
            values.into_iter().flat_map(|v| [v & ty.mask(), v.wrapping_neg() & ty.mask()]).collect()
        }
    };
    values.into_iter().collect()
}

/// Magnitudes of a format, as bits.
fn floats(format: FloatFormat) -> Vec<u64> {
    let normal = 1 << (format.precision - 1);
    let one = format.encode(1.0);
    let (infinity, quiet) = (format.infinity(), format.nan());
    let mut all = vec![0, 1, normal - 1, normal, normal + normal / 2, infinity - 1, infinity, quiet];
    // A signaling NaN with a payload.
    all.extend([infinity | (normal / 4) | 1, one - 1, one, one + 1, format.encode(0.5) - 1]);
    let values = [
        1e-20,
        0.25,
        0.5,
        1.5,
        2.0,
        2.5,
        3.0,
        std::f64::consts::PI,
        100.25,
        8_388_607.5,
        8_388_608.0,
        16_777_216.0,
        2_147_483_500.0,
        2_147_483_600.0,
        4_294_967_000.0,
        4_294_967_300.0,
        9.3e18,
        1e20,
        8.507_059e37,
    ];
    all.extend(values.map(|value| format.encode(value)));
    // Around the ends of the smaller integers.
    all.extend([127.0, 128.0, 255.0, 256.0, 32767.0, 32768.0, 65504.0].map(|value| format.encode(value)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_values_and_others_do_not() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..100).map(|_| random.value(ScalarType::F32)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn edge_values_are_distinct_and_hold_the_extremes() {
        for ty in ScalarType::ALL {
            let all = edges(ty);
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{ty}");
        }
        assert!(edges(ScalarType::I32).contains(&0x8000_0000));
        assert!(edges(ScalarType::F32).contains(&u64::from(f32::NEG_INFINITY.to_bits())));
    }
}
