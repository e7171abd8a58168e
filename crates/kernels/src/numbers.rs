//! Numbers to run kernels on, and bytes of them.

use std::ops::Range;

use fulgurite_autotune::{Mismatch, Numbers};
use half::f16;
use rayon::prelude::*;

/// Numbers that look random and are the same for the same seed.
pub(crate) struct Random(fulgurite_autotune::Random);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(fulgurite_autotune::Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    fn next(&mut self) -> u64 {
        self.0.next()
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
        self.made(count, numbers, most, |value| value)
    }

    /// As [`floats`](Self::floats), of half the size: `most` is at most 2048, up to which each whole number is one.
    pub(crate) fn halves(&mut self, count: usize, numbers: Numbers, most: u32) -> Vec<f16> {
        self.made(count, numbers, most, f16::from_f32)
    }

    /// Large vectors are made by all processors, in parts with a seed each, so that they are the same everywhere.
    fn made<T: Default + Copy + Send>(
        &mut self,
        count: usize,
        numbers: Numbers,
        most: u32,
        convert: impl Fn(f32) -> T + Sync,
    ) -> Vec<T> {
        let seed = self.next();
        let mut all = vec![T::default(); count];
        all.par_chunks_mut(PART).enumerate().for_each(|(part, values)| {
            let mut random = Random::new(seed.wrapping_add(part as u64));
            for value in values {
                *value = convert(match numbers {
                    Numbers::Exact => random.whole(most) as f32,
                    Numbers::Random => random.real(),
                });
            }
        });
        all
    }
}

/// Elements that one processor makes or looks at in one go.
const PART: usize = 1 << 16;

/// The first of `parts` that `look` finds something in, and what: looked at by all processors.
pub(crate) fn first_of<T: Send>(parts: usize, look: impl Fn(usize) -> Option<T> + Sync + Send) -> Option<T> {
    (0..parts).into_par_iter().find_map_first(look)
}

/// The first element of `count` that is wrong, and how: `look` is given parts of the elements in order.
pub(crate) fn first_wrong(
    count: usize,
    look: impl Fn(Range<usize>) -> Option<Mismatch> + Sync + Send,
) -> Result<(), Mismatch> {
    let part = |part: usize| look(part * PART..(part * PART + PART).min(count));
    first_of(count.div_ceil(PART), part).map_or(Ok(()), Err)
}

/// The bytes of floats.
pub(crate) fn bytes(floats: &[f32]) -> Vec<u8> {
    bytemuck::cast_slice(floats).to_vec()
}

/// The floats of bytes, of which whoever calls knows that they are whole.
pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.par_iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
