//! Lines of matrices: contiguous scalars in a memory object, from any byte that is a multiple of their size.

use super::View;
use super::words::{Global, Shared, Words};
use crate::code::{Place, Space};

impl View<'_> {
    /// Reads scalars of `size` bytes from byte `start` on; zeros for those that are not wholly in bounds.
    pub(crate) fn read_line(&mut self, place: Place, start: u64, size: u32, to: &mut [u64]) {
        match self.words(place) {
            Found::Global(words, bytes) => read(&words, bytes, start, size, to),
            Found::Shared(words, bytes) => read(&words, bytes, start, size, to),
            Found::None => to.fill(0),
        }
    }

    /// Writes scalars of `size` bytes from byte `start` on, except those that are not wholly in bounds.
    pub(crate) fn write_line(&mut self, place: Place, start: u64, size: u32, from: &[u64]) {
        match self.words(place) {
            Found::Global(mut words, bytes) => write(&mut words, bytes, start, size, from),
            Found::Shared(mut words, bytes) => write(&mut words, bytes, start, size, from),
            Found::None => {}
        }
    }

    fn words(&mut self, place: Place) -> Found<'_> {
        let stride = place.layout.stride().max(1);
        match place.space {
            Space::Buffer(binding) => {
                let bound = self.buffers[binding as usize];
                Found::Global(Global(bound.words), bound.elements(stride) * stride as u64)
            }
            Space::Shared { base, len } => {
                let bytes = len as usize * stride;
                let words = &mut self.shared[base as usize..base as usize + bytes.div_ceil(4)];
                Found::Shared(Shared(words), bytes as u64)
            }
            Space::Local { .. } => Found::None,
        }
    }
}

/// Words, and the number of their bytes that form whole elements.
enum Found<'a> {
    Global(Global<'a>, u64),
    Shared(Shared<'a>, u64),
    /// Local memory, which holds no matrices.
    None,
}

/// Returns the number of scalars of `size` bytes that are wholly in bounds.
fn inside(bytes: u64, start: u64, size: u32, count: usize) -> usize {
    let fit = bytes.saturating_sub(start) / u64::from(size.max(1));
    usize::try_from(fit).map_or(count, |fit| fit.min(count))
}

fn read<W: Words>(words: &W, bytes: u64, start: u64, size: u32, to: &mut [u64]) {
    let (there, missing) = to.split_at_mut(inside(bytes, start, size, to.len()));
    missing.fill(0);
    // If any scalar is in bounds, `start` is small.
    let start = start as usize;
    for (position, to) in there.iter_mut().enumerate() {
        let byte = start + position * size as usize;
        let word = u64::from(words.get(byte / 4, 0));
        *to = match size {
            4 => word,
            8 => word | u64::from(words.get(byte / 4 + 1, 0)) << 32,
            _ => word >> (byte % 4 * 8) & ((1 << (8 * size)) - 1),
        };
    }
}

fn write<W: Words>(words: &mut W, bytes: u64, start: u64, size: u32, from: &[u64]) {
    let there = &from[..inside(bytes, start, size, from.len())];
    let start = start as usize;
    for (position, from) in there.iter().enumerate() {
        let byte = start + position * size as usize;
        match size {
            4 => words.set(byte / 4, 0, u32::MAX, *from as u32),
            8 => {
                words.set(byte / 4, 0, u32::MAX, *from as u32);
                words.set(byte / 4 + 1, 0, u32::MAX, (*from >> 32) as u32);
            }
            _ => {
                let shift = byte % 4 * 8;
                let part = ((1u32 << (8 * size)) - 1) << shift;
                words.set(byte / 4, 0, part, (*from as u32) << shift);
            }
        }
    }
}
