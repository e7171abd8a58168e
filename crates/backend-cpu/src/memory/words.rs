//! The words of each kind of memory, and indices of each width, as accessed by all lanes.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::Atomic;
use crate::lanes::{Lanes, WIDTH};

/// The words of a memory object, as accessed by lanes.
pub(super) trait Words {
    /// True if each lane has its own words.
    const IS_PRIVATE: bool = false;
    /// Returns a word; zero past the end.
    fn get(&self, word: usize, lane: usize) -> u32;
    /// Changes the bits of `part` in a word; does nothing past the end.
    fn set(&mut self, word: usize, lane: usize, part: u32, bits: u32);
    /// Reads every `step`th word from `first` on, one for each lane; all must be in bounds.
    fn get_row(&self, first: usize, step: usize, to: &mut Lanes);
    /// Writes every `step`th word from `first` on, one for each lane; all must be in bounds.
    fn set_row(&mut self, first: usize, step: usize, from: &Lanes);
    /// Atomically applies an op to the words from `at` on, and returns their old value.
    fn change(&mut self, atomic: &Atomic, at: usize, lane: usize, args: [u64; 2]) -> u64;
}

/// The words of a buffer.
pub(super) struct Global<'a>(pub(super) &'a [AtomicU32]);

impl Words for Global<'_> {
    #[inline]
    fn get(&self, word: usize, _lane: usize) -> u32 {
        self.0.get(word).map_or(0, |word| word.load(Relaxed))
    }

    #[inline]
    fn set(&mut self, word: usize, _lane: usize, part: u32, bits: u32) {
        let Some(word) = self.0.get(word) else { return };
        if part == u32::MAX {
            word.store(bits, Relaxed);
        } else {
            // The other bits of the word must not change, even if other threads write them.
            let _ = word.fetch_update(Relaxed, Relaxed, |old| Some(old & !part | bits & part));
        }
    }

    #[inline(always)]
    fn get_row(&self, first: usize, step: usize, to: &mut Lanes) {
        if step == 1 {
            for (to, word) in to.0.iter_mut().zip(&self.0[first..first + WIDTH]) {
                *to = word.load(Relaxed);
            }
        } else {
            for (to, word) in to.0.iter_mut().zip(self.0[first..].iter().step_by(step)) {
                *to = word.load(Relaxed);
            }
        }
    }

    #[inline(always)]
    fn set_row(&mut self, first: usize, step: usize, from: &Lanes) {
        if step == 1 {
            for (from, word) in from.0.iter().zip(&self.0[first..first + WIDTH]) {
                word.store(*from, Relaxed);
            }
        } else {
            for (from, word) in from.0.iter().zip(self.0[first..].iter().step_by(step)) {
                word.store(*from, Relaxed);
            }
        }
    }

    fn change(&mut self, atomic: &Atomic, at: usize, lane: usize, args: [u64; 2]) -> u64 {
        atomic.change_global(self, at, lane, args)
    }
}

/// The words of a shared array.
pub(super) struct Shared<'a>(pub(super) &'a mut [u32]);

impl Words for Shared<'_> {
    #[inline]
    fn get(&self, word: usize, _lane: usize) -> u32 {
        self.0.get(word).copied().unwrap_or(0)
    }

    #[inline]
    fn set(&mut self, word: usize, _lane: usize, part: u32, bits: u32) {
        if let Some(word) = self.0.get_mut(word) {
            *word = *word & !part | bits & part;
        }
    }

    #[inline(always)]
    fn get_row(&self, first: usize, step: usize, to: &mut Lanes) {
        for (to, word) in to.0.iter_mut().zip(self.0[first..].iter().step_by(step)) {
            *to = *word;
        }
    }

    #[inline(always)]
    fn set_row(&mut self, first: usize, step: usize, from: &Lanes) {
        for (from, word) in from.0.iter().zip(self.0[first..].iter_mut().step_by(step)) {
            *word = *from;
        }
    }

    // A workgroup runs on one thread, so the update need not be atomic.
    fn change(&mut self, atomic: &Atomic, at: usize, lane: usize, args: [u64; 2]) -> u64 {
        atomic.replace(self, at, lane, args)
    }
}

/// The words of a local array.
pub(super) struct Local<'a>(pub(super) &'a mut [Lanes]);

impl Words for Local<'_> {
    const IS_PRIVATE: bool = true;

    #[inline]
    fn get(&self, word: usize, lane: usize) -> u32 {
        self.0.get(word).map_or(0, |word| word.0[lane])
    }

    #[inline]
    fn set(&mut self, word: usize, lane: usize, part: u32, bits: u32) {
        if let Some(word) = self.0.get_mut(word) {
            word.0[lane] = word.0[lane] & !part | bits & part;
        }
    }

    fn get_row(&self, first: usize, step: usize, to: &mut Lanes) {
        for (lane, (to, word)) in to.0.iter_mut().zip(self.0[first..].iter().step_by(step)).enumerate() {
            *to = word.0[lane];
        }
    }

    fn set_row(&mut self, first: usize, step: usize, from: &Lanes) {
        for (lane, (from, word)) in from.0.iter().zip(self.0[first..].iter_mut().step_by(step)).enumerate() {
            word.0[lane] = *from;
        }
    }

    fn change(&mut self, atomic: &Atomic, at: usize, lane: usize, args: [u64; 2]) -> u64 {
        atomic.replace(self, at, lane, args)
    }
}

/// The indices of all lanes.
pub(super) trait Indices {
    fn at(&self, lane: usize) -> u64;

    /// Returns the first index if the 64 indices are consecutive and in bounds.
    #[inline]
    fn row(&self, elements: u64) -> Option<usize> {
        let first = self.at(0);
        let mut differences = 0;
        for lane in 0..WIDTH {
            differences |= self.at(lane).wrapping_sub(first) ^ lane as u64;
        }
        let fits = first.checked_add(WIDTH as u64).is_some_and(|end| end <= elements);
        (differences == 0 && fits).then_some(first as usize)
    }
}

impl Indices for Lanes {
    #[inline]
    fn at(&self, lane: usize) -> u64 {
        self.0[lane].into()
    }

    #[inline]
    fn row(&self, elements: u64) -> Option<usize> {
        let first = self.0[0];
        let mut differences = 0;
        for (lane, index) in self.0.iter().enumerate() {
            differences |= index.wrapping_sub(first) ^ lane as u32;
        }
        let first = u64::from(first);
        (differences == 0 && first + WIDTH as u64 <= elements).then_some(first as usize)
    }
}

/// Indices offset by a number of skipped elements.
pub(super) struct Skipping<'i, I>(pub(super) &'i I, pub(super) u64);

impl<I: Indices> Indices for Skipping<'_, I> {
    #[inline]
    fn at(&self, lane: usize) -> u64 {
        // Saturates, so that an index far out of bounds stays out of bounds.
        self.0.at(lane).saturating_add(self.1)
    }
}

/// Low words, then high words.
impl Indices for [Lanes; 2] {
    #[inline]
    fn at(&self, lane: usize) -> u64 {
        u64::from(self[0].0[lane]) | u64::from(self[1].0[lane]) << 32
    }
}
