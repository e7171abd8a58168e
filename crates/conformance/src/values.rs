//! Input values: edge grids and random ones.

use fulgurite_spec::ScalarType;

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
        match ty {
            ScalarType::Bool => self.next() & 1,
            ScalarType::F32 if self.next() & 1 == 0 => {
                let unit = f64::from(self.word()) / f64::from(u32::MAX) - 0.5;
                u64::from(((unit * 2000.0) as f32).to_bits())
            }
            // Small magnitudes meet small ones more often than uniform words would.
            _ => u64::from(self.word() >> if self.next() & 1 == 0 { self.below(32) } else { 0 }),
        }
    }
}

/// The values of `ty` at which ops change their behavior.
pub(crate) fn edges(ty: ScalarType) -> Vec<u64> {
    match ty {
        ScalarType::Bool => vec![0, 1],
        ScalarType::F32 => {
            floats().into_iter().map(|v| u64::from(v.to_bits())).chain([0x7fa0_0001]).collect()
        }
        _ => {
            let mut words =
                vec![0u32, 1, 2, 3, 7, 10, 15, 31, 32, 33, 63, 64, 100, 255, 256, 0xffff, 0x1_0000];
            words.extend([0x7fff_fffe, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0xaaaa_aaaa, 0x1234_5678]);
            let negated: Vec<u32> = words.iter().map(|w| w.wrapping_neg()).collect();
            words.extend(negated);
            words.sort_unstable();
            words.dedup();
            words.into_iter().map(u64::from).collect()
        }
    }
}

fn floats() -> Vec<f32> {
    let magnitudes = [
        0.0,
        f32::from_bits(1),
        f32::from_bits(0x007f_ffff),
        f32::MIN_POSITIVE,
        f32::MIN_POSITIVE * 1.5,
        1e-20,
        0.25,
        0.499_999_97,
        0.5,
        0.999_999_94,
        1.0,
        1.000_000_1,
        1.5,
        2.0,
        2.5,
        3.0,
        std::f32::consts::PI,
        100.25,
        8_388_607.5,
        8_388_608.0,
        16_777_216.0,
        2_147_483_500.0,
        2_147_483_600.0,
        4_294_967_000.0,
        4_294_967_300.0,
        1e20,
        8.507_059e37,
        f32::MAX,
        f32::INFINITY,
        f32::NAN,
    ];
    magnitudes.into_iter().flat_map(|v| [v, -v]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

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
