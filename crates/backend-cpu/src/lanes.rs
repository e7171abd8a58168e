//! Registers of one 32-bit value for each of 64 lanes, and masks of lanes.

/// Number of lanes that run together.
pub(crate) const WIDTH: usize = 64;

/// The smallest number of lanes of a full subgroup. A device's subgroups have this many, or a larger power of two that a
/// chunk's lanes form whole subgroups of.
pub(crate) const LEAST_SUBGROUP: usize = 8;

/// One value per lane: the bits of an integer or float, or 0 or 1 for a `bool`.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Lanes(pub(crate) [u32; WIDTH]);

impl Lanes {
    /// Returns the same value in every lane.
    pub(crate) const fn splat(bits: u32) -> Self {
        Self([bits; WIDTH])
    }
}

/// A set of lanes; lane 0 is the lowest bit.
pub(crate) type Mask = u64;

/// Returns the first `count` lanes.
pub(crate) const fn first_lanes(count: usize) -> Mask {
    if count >= WIDTH { Mask::MAX } else { (1 << count) - 1 }
}

/// Returns the lanes in which a `bool` is true.
pub(crate) fn mask_of(bools: &Lanes) -> Mask {
    let mut bytes = [0u8; WIDTH];
    for (byte, value) in bytes.iter_mut().zip(&bools.0) {
        *byte = (value & 1) as u8;
    }
    let mut mask = 0;
    for (position, eight) in bytes.chunks_exact(8).enumerate() {
        let mut word = [0; 8];
        word.copy_from_slice(eight);
        // The product moves the lowest bit of byte k to bit 56 + k.
        let bits = u64::from_le_bytes(word).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        mask |= bits << (8 * position);
    }
    mask
}

/// Iterates over the lanes of a mask in ascending order.
pub(crate) fn lanes_of(mut mask: Mask) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lane = mask.trailing_zeros() as usize;
        mask &= mask.wrapping_sub(1);
        (lane < WIDTH).then_some(lane)
    })
}

/// A mask expanded to one word per lane, all ones for the lanes of the mask. Computed once and reused by many blends.
pub(crate) struct Spread {
    mask: Mask,
    words: Lanes,
}

impl Spread {
    /// No lanes.
    pub(crate) const EMPTY: Self = Self { mask: 0, words: Lanes::splat(0) };

    /// Updates the words for `mask`.
    fn become_mask(&mut self, mask: Mask) {
        if self.mask == mask {
            return;
        }
        for (eight, byte) in self.words.0.chunks_exact_mut(8).zip(mask.to_le_bytes()) {
            for (position, word) in eight.iter_mut().enumerate() {
                *word = 0u32.wrapping_sub(u32::from(byte >> position) & 1);
            }
        }
        self.mask = mask;
    }
}

/// Copies the lanes of `mask` from `from` to `to`.
pub(crate) fn blend(to: &mut Lanes, from: &Lanes, mask: Mask, spread: &mut Spread) {
    if mask == Mask::MAX {
        *to = *from;
        return;
    }
    spread.become_mask(mask);
    for ((to, from), keep) in to.0.iter_mut().zip(&from.0).zip(&spread.words.0) {
        *to = (from & keep) | (*to & !keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_and_bools_agree() {
        let mut spread = Spread::EMPTY;
        for seed in [0u64, 1, 0x8000_0000_0000_0000, 0xdead_beef_0bad_cafe, u64::MAX] {
            let bools = Lanes(core::array::from_fn(|lane| (seed >> lane) as u32 & 1));
            assert_eq!(mask_of(&bools), seed);
            let lanes: Vec<usize> = (0..WIDTH).filter(|lane| seed >> lane & 1 != 0).collect();
            assert_eq!(lanes_of(seed).collect::<Vec<_>>(), lanes);
            let mut to = Lanes::splat(7);
            blend(&mut to, &Lanes(core::array::from_fn(|lane| lane as u32 + 100)), seed, &mut spread);
            for (lane, value) in to.0.iter().enumerate() {
                assert_eq!(*value, if seed >> lane & 1 != 0 { lane as u32 + 100 } else { 7 });
            }
        }
        assert_eq!(first_lanes(0), 0);
        assert_eq!(first_lanes(3), 7);
        assert_eq!(first_lanes(64), u64::MAX);
    }
}
