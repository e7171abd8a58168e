//! Test inputs, and conversion to and from bytes.

use std::ops::Range;

use fulgurite_autotune::{Mismatch, Numbers};
use half::f16;
use rayon::prelude::*;

/// A seeded random number generator.
pub(crate) struct Random(fulgurite_autotune::Random);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(fulgurite_autotune::Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    fn next(&mut self) -> u64 {
        self.0.next()
    }

    /// Returns an integer from `-most` to `most`.
    pub(crate) fn whole(&mut self, most: u32) -> i32 {
        (self.next() % u64::from(2 * most + 1)) as i32 - most as i32
    }

    /// Returns a number from −1 to 1 with 24 random bits.
    fn real(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// Returns floats: integers from `-most` to `most`, or random numbers from −1 to 1.
    pub(crate) fn floats(&mut self, count: usize, numbers: Numbers, most: u32) -> Vec<f32> {
        self.made(count, numbers, most, |value| value)
    }

    /// Like [`floats`](Self::floats), in `f16`. `most` must not exceed 2048, up to which `f16` represents all integers.
    pub(crate) fn halves(&mut self, count: usize, numbers: Numbers, most: u32) -> Vec<f16> {
        self.made(count, numbers, most, f16::from_f32)
    }

    /// Generates a vector in parallel, in parts with separate seeds, so that the result does not depend on the number
    /// of threads.
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

/// Number of elements that a thread generates or checks at a time.
const PART: usize = 1 << 16;

/// Returns the result of `look` for the first of `parts` where it is not `None`, searching in parallel.
pub(crate) fn first_of<T: Send>(parts: usize, look: impl Fn(usize) -> Option<T> + Sync + Send) -> Option<T> {
    (0..parts).into_par_iter().find_map_first(look)
}

/// Returns the first wrong of `count` elements. `look` checks a range of elements.
pub(crate) fn first_wrong(
    count: usize,
    look: impl Fn(Range<usize>) -> Option<Mismatch> + Sync + Send,
) -> Result<(), Mismatch> {
    let part = |part: usize| look(part * PART..(part * PART + PART).min(count));
    first_of(count.div_ceil(PART), part).map_or(Ok(()), Err)
}

/// Converts floats to bytes.
pub(crate) fn bytes(floats: &[f32]) -> Vec<u8> {
    bytemuck::cast_slice(floats).to_vec()
}

/// Converts bytes to floats. The length must be a multiple of 4.
pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.par_iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
