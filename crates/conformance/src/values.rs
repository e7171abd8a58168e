//! Input values: grids of edge values, and random values; values as text and as bytes of buffers.

use fulgurite_spec::eval::Components;
use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::{ScalarType, Type};

/// A small random number generator (SplitMix64): equal seeds give equal sequences on every machine.
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

    /// Returns a number below `bound`, which must not be 0.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.word()) * u64::from(bound)) >> 32) as u32
    }

    /// Returns a value of `ty`; for floats, arbitrary bits or a moderate value with equal probability.
    pub(crate) fn value(&mut self, ty: ScalarType) -> u64 {
        if let Some(format) = FloatFormat::of(ty) {
            if self.next() & 1 == 0 {
                let unit = f64::from(self.word()) / f64::from(u32::MAX) - 0.5;
                return format.encode(unit * if self.next() & 1 == 0 { 2000.0 } else { 8.0 });
            }
            return self.next() & ty.mask();
        }
        // Reduce the magnitude half of the time, so that small values meet small ones more often than in uniform words.
        let shift = if self.next() & 1 == 0 { self.below(ty.bits()) } else { 0 };
        (self.next() & ty.mask()) >> shift
    }
}

/// Returns the values of `ty` at which ops change their behavior.
pub(crate) fn edges(ty: ScalarType) -> Vec<u64> {
    let mut all = match FloatFormat::of(ty) {
        Some(format) => floats(format),
        None => integers(ty),
    };
    all.sort_unstable();
    all.dedup();
    all
}

/// Returns small numbers, powers of two and their neighbors, the limits of this and of narrower widths, and their
/// negatives.
fn integers(ty: ScalarType) -> Vec<u64> {
    let mut words = vec![0u64, 1, 2, 3, 7, 10, 15, 31, 32, 33, 63, 64, 100, 255, 256, 0xffff, 0x1_0000];
    words.extend([0x1234_5678, 0xaaaa_aaaa_aaaa_aaaa, 0xffff_ffff, 0x1_0000_0000, 0x8000_0000]);
    let least = ty.mask() / 2 + 1;
    words.extend([least.wrapping_sub(2), least - 1, least, least + 1]);
    let negated: Vec<u64> = words.iter().map(|w| w.wrapping_neg()).collect();
    words.into_iter().chain(negated).map(|w| w & ty.mask()).collect()
}

fn floats(format: FloatFormat) -> Vec<u64> {
    let ones = format.encode(1.0);
    let least_normal = format.encode(format.min_normal());
    let infinity = format.infinity();
    let mut bits = vec![0, 1, least_normal - 1, least_normal, least_normal + least_normal / 2];
    bits.extend([ones - 1, ones, ones + 1, infinity - 1, infinity, format.nan(), infinity + 1]);
    // From `whole` on, all floats are integers; below it, halves occur. Then the limits of integer types and their
    // neighbors.
    let whole = f64::from(format.precision - 1).exp2();
    let mut values = vec![1e-20, 0.25, 0.5, 1.5, 2.0, 2.5, 3.0, std::f64::consts::PI, 100.25, 1e20];
    values.extend([whole - 0.5, whole, 2.0 * whole, 8.507_059e37, 20_000.0, 88.0]);
    bits.extend(values.into_iter().map(|v| format.encode(v)));
    for end in [7, 8, 15, 16, 31, 32, 63, 64] {
        let bits_of_end = format.encode(f64::from(end).exp2());
        if bits_of_end < infinity {
            bits.extend([bits_of_end - 1, bits_of_end]);
        }
    }
    bits.push(format.encode(0.5) - 1);
    bits.iter().flat_map(|b| [*b, *b | format.sign_bit()]).collect()
}

/// Formats a value as literals, with the bits of floats.
pub(crate) fn show(value: &Components, ty: Type) -> String {
    let lanes: Vec<String> = value[..ty.lanes.count() as usize]
        .iter()
        .map(|bits| {
            let literal = fulgurite_spec::Literal::new(ty.scalar, *bits);
            if ty.scalar.is_float() { format!("{literal} ({bits:#010x})") } else { literal.to_string() }
        })
        .collect();
    lanes.join(" ")
}

/// Returns the type in which a buffer stores values of `ty`.
pub(crate) fn memory_type(ty: Type) -> Type {
    if ty.scalar == ScalarType::Bool { ty.with_scalar(ScalarType::U32) } else { ty }
}

/// Returns the bytes of a buffer that stores `values` of type `ty`.
pub(crate) fn encode<'v>(ty: Type, values: impl Iterator<Item = &'v Components>) -> Vec<u8> {
    let ty = memory_type(ty);
    let size = ty.size() as usize;
    let mut bytes = Vec::new();
    for value in values {
        let start = bytes.len();
        bytes.resize(start + size, 0);
        fulgurite_spec::eval::write_bytes(value, ty, &mut bytes[start..]);
    }
    bytes
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
