//! Numbers to run kernels on, and bytes of them.

use fulgurite_autotune::Numbers;
use half::f16;

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A whole number of at most `most` either way.
    pub(crate) fn whole(&mut self, most: u32) -> i32 {
        (self.next() % u64::from(2 * most + 1)) as i32 - most as i32
    }

    /// A number between −1 and 1, of 24 bits.
    fn real(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// Floats: whole ones of at most `most` either way, or random ones between −1 and 1.
    pub(crate) fn floats(&mut self, count: usize, numbers: Numbers, most: u32) -> Vec<f32> {
        let next = |_| match numbers {
            Numbers::Exact => self.whole(most) as f32,
            Numbers::Random => self.real(),
        };
        (0..count).map(next).collect()
    }

    /// As [`floats`](Self::floats), of half the size: `most` is at most 2048, up to which each whole number is one.
    pub(crate) fn halves(&mut self, count: usize, numbers: Numbers, most: u32) -> Vec<f16> {
        let next = |_| match numbers {
            Numbers::Exact => f16::from_f32(self.whole(most) as f32),
            Numbers::Random => f16::from_f32(self.real()),
        };
        (0..count).map(next).collect()
    }
}

/// The bytes of floats.
pub(crate) fn bytes(floats: &[f32]) -> Vec<u8> {
    bytemuck::cast_slice(floats).to_vec()
}

/// The floats of bytes, of which whoever calls knows that they are whole.
pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
