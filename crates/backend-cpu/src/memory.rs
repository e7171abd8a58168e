//! Loads and stores of all lanes, and the translation of memory operands to words.
//!
//! Memory consists of 32-bit words. Lanes that are out of bounds read zeros and write nothing. Loads ignore the mask: a
//! load by an inactive lane is harmless.

mod atomic;
mod matrix;
mod words;

use std::ops::Range;
use std::sync::atomic::AtomicU32;

use crate::code::{Index, Layout, Place, Space};
use crate::compute::Register;
use crate::lanes::{Lanes, Mask, lanes_of};

pub(crate) use atomic::Atomic;
use words::{Global, Indices, Local, Shared, Skipping, Words};

/// The bound range of a buffer.
#[derive(Clone, Copy)]
pub(crate) struct Bound<'a> {
    words: &'a [AtomicU32],
    /// Bytes of `words` that precede the range: whole elements of 1, 2, 3 or 6 bytes.
    skipped: u64,
    bytes: u64,
}

impl<'a> Bound<'a> {
    /// Creates the binding of bytes `range` of the buffer with the given words.
    pub(crate) fn new(words: &'a [AtomicU32], range: Range<u64>) -> Self {
        // A range that begins within a word has elements of 1, 2, 3 or 6 bytes, all of which divide 12.
        let skipped = if range.start.is_multiple_of(4) { 0 } else { range.start % 12 };
        let (first, end) = ((range.start - skipped) / 4, range.end.div_ceil(4));
        Self {
            words: &words[first as usize..end.max(first) as usize],
            skipped,
            bytes: range.end - range.start,
        }
    }

    /// Returns the range for native code, or `None` if it does not begin at a word.
    pub(crate) fn native(&self) -> Option<NativeBuffer<'a>> {
        (self.skipped == 0).then_some(NativeBuffer { words: self.words, bytes: self.bytes })
    }

    /// Returns the number of whole elements of `stride` bytes.
    pub(crate) fn elements(&self, stride: usize) -> u64 {
        self.bytes / stride.max(1) as u64
    }
}

/// The bound range of a buffer that begins at a word.
#[derive(Clone, Copy)]
pub(crate) struct NativeBuffer<'a> {
    /// The words that have bytes of the range.
    pub(crate) words: &'a [AtomicU32],
    #[cfg_attr(
        not(all(target_arch = "x86_64", unix)),
        expect(dead_code, reason = "only native code reads it")
    )]
    pub(crate) bytes: u64,
}

/// The memory that is visible to the lanes of one chunk.
pub(crate) struct View<'a> {
    pub(crate) buffers: &'a [Bound<'a>],
    /// The workgroup's memory, indexed by word.
    pub(crate) shared: &'a mut [u32],
    /// The chunk's memory, indexed by word, then by lane.
    pub(crate) local: &'a mut [Lanes],
}

/// An access to the elements of a place, generic over kinds of words and indices.
trait Access {
    fn run<W: Words, I: Indices>(self, words: &mut W, elements: u64, indices: &I, registers: &mut [Lanes]);
}

impl View<'_> {
    /// Resolves the words, the number of elements and the indices of a memory operand.
    fn access(&mut self, registers: &mut [Lanes], place: Place, index: Index, access: impl Access) {
        match index {
            Index::Narrow(register) => {
                let indices = registers[register as usize];
                self.access_at(registers, place, &indices, access);
            }
            Index::Wide(register) => {
                let indices = [registers[register as usize], registers[register as usize + 1]];
                self.access_at(registers, place, &indices, access);
            }
        }
    }

    fn access_at(
        &mut self,
        registers: &mut [Lanes],
        place: Place,
        indices: &impl Indices,
        access: impl Access,
    ) {
        let stride = place.layout.stride().max(1);
        let range = |base: u32, len: u32| base as usize..base as usize + (len as usize * stride).div_ceil(4);
        match place.space {
            Space::Buffer(binding) => {
                let bound = self.buffers[binding as usize];
                let elements = bound.elements(stride);
                if bound.skipped == 0 {
                    return access.run(&mut Global(bound.words), elements, indices, registers);
                }
                let skipped = bound.skipped / stride as u64;
                access.run(
                    &mut Global(bound.words),
                    elements + skipped,
                    &Skipping(indices, skipped),
                    registers,
                );
            }
            Space::Shared { base, len } => {
                let words = &mut self.shared[range(base, len)];
                access.run(&mut Shared(words), len.into(), indices, registers);
            }
            Space::Local { base, len } => {
                let words = &mut self.local[range(base, len)];
                access.run(&mut Local(words), len.into(), indices, registers);
            }
        }
    }

    /// Reads the elements at `index` into `to`.
    pub(crate) fn load(&mut self, registers: &mut [Lanes], place: Place, index: Index, to: [Register; 4]) {
        if let (Space::Buffer(binding), Layout::WORD, Index::Narrow(index)) =
            (place.space, place.layout, index)
        {
            // The most common case: no copies, no widened indices.
            let bound = self.buffers[binding as usize];
            if let Ok([index, to]) = registers.get_disjoint_mut([index as usize, to[0] as usize]) {
                load_word(&Global(bound.words), bound.elements(4), &*index, to);
            }
            return;
        }
        self.access(registers, place, index, Load { layout: place.layout, to });
    }

    /// Writes `from` to the elements at `index`, in active lanes.
    pub(crate) fn store(
        &mut self,
        registers: &mut [Lanes],
        mask: Mask,
        place: Place,
        index: Index,
        from: [Register; 4],
    ) {
        if let (Space::Buffer(binding), Layout::WORD, Index::Narrow(index), Mask::MAX) =
            (place.space, place.layout, index, mask)
        {
            let bound = self.buffers[binding as usize];
            if let Some(first) = registers[index as usize].row(bound.elements(4)) {
                return Global(bound.words).set_row(first, 1, &registers[from[0] as usize]);
            }
        }
        self.access(registers, place, index, Store { layout: place.layout, mask, from });
    }
}

struct Load {
    layout: Layout,
    to: [Register; 4],
}

impl Access for Load {
    fn run<W: Words, I: Indices>(self, words: &mut W, elements: u64, indices: &I, registers: &mut [Lanes]) {
        let load = if self.layout.size < 4 { load_parts } else { load_words };
        load(words, elements, self.layout, indices, registers, &self.to);
    }
}

struct Store {
    layout: Layout,
    mask: Mask,
    from: [Register; 4],
}

impl Access for Store {
    fn run<W: Words, I: Indices>(self, words: &mut W, elements: u64, indices: &I, registers: &mut [Lanes]) {
        let store = if self.layout.size < 4 { store_parts } else { store_words };
        store(words, elements, self.layout, indices, self.mask, registers, &self.from);
    }
}

/// Returns the registers of an element of whole words, in the order of memory.
#[inline]
fn element_registers(layout: Layout, components: &[Register; 4]) -> impl Iterator<Item = usize> + '_ {
    let words = layout.words() as usize;
    components
        .iter()
        .take(layout.components as usize)
        .flat_map(move |first| *first as usize..*first as usize + words)
}

/// Loads elements of one word.
#[inline]
fn load_word<W: Words, I: Indices>(words: &W, elements: u64, indices: &I, to: &mut Lanes) {
    if let Some(first) = indices.row(elements) {
        return words.get_row(first, 1, to);
    }
    for (lane, value) in to.0.iter_mut().enumerate() {
        let index = indices.at(lane);
        *value = words.get(if index < elements { index as usize } else { usize::MAX }, lane);
    }
}

fn load_words<W: Words, I: Indices>(
    words: &W,
    elements: u64,
    layout: Layout,
    indices: &I,
    registers: &mut [Lanes],
    to: &[Register; 4],
) {
    let stride = layout.stride() / 4;
    if stride == 1 {
        return load_word(words, elements, indices, &mut registers[to[0] as usize]);
    }
    if let Some(first) = indices.row(elements) {
        for (offset, register) in element_registers(layout, to).enumerate() {
            words.get_row(first * stride + offset, stride, &mut registers[register]);
        }
        return;
    }
    for (offset, register) in element_registers(layout, to).enumerate() {
        for (lane, value) in registers[register].0.iter_mut().enumerate() {
            let index = indices.at(lane);
            // The product cannot overflow for an index in bounds, whatever the width of `usize`.
            let word = if index < elements { index as usize * stride + offset } else { usize::MAX };
            *value = words.get(word, lane);
        }
    }
}

fn store_words<W: Words, I: Indices>(
    words: &mut W,
    elements: u64,
    layout: Layout,
    indices: &I,
    mask: Mask,
    registers: &[Lanes],
    from: &[Register; 4],
) {
    let stride = layout.stride() / 4;
    if mask == Mask::MAX
        && let Some(first) = indices.row(elements)
    {
        for (offset, register) in element_registers(layout, from).enumerate() {
            words.set_row(first * stride + offset, stride, &registers[register]);
        }
        return;
    }
    for lane in lanes_of(mask) {
        let index = indices.at(lane);
        if index < elements {
            for (offset, register) in element_registers(layout, from).enumerate() {
                words.set(index as usize * stride + offset, lane, u32::MAX, registers[register].0[lane]);
            }
        }
    }
}

/// Loads components that are smaller than a word, and never cross a word boundary.
fn load_parts<W: Words, I: Indices>(
    words: &W,
    elements: u64,
    layout: Layout,
    indices: &I,
    registers: &mut [Lanes],
    to: &[Register; 4],
) {
    let stride = layout.stride();
    let part = part(layout);
    for (component, register) in to.iter().enumerate().take(layout.components as usize) {
        for (lane, value) in registers[*register as usize].0.iter_mut().enumerate() {
            let index = indices.at(lane);
            let inside = index < elements;
            let byte = if inside { index as usize * stride } else { 0 } + component * layout.size as usize;
            let word = if inside { byte / 4 } else { usize::MAX };
            *value = words.get(word, lane) >> (byte % 4 * 8) & part;
        }
    }
}

/// Stores components that are smaller than a word; neighbors in the same word are written together.
fn store_parts<W: Words, I: Indices>(
    words: &mut W,
    elements: u64,
    layout: Layout,
    indices: &I,
    mask: Mask,
    registers: &[Lanes],
    from: &[Register; 4],
) {
    let stride = layout.stride();
    let whole_part = part(layout);
    // The pending write of the previous lanes: word, mask and bits.
    let mut pending = (usize::MAX, 0, 0);
    let mut last = 0;
    for lane in lanes_of(mask) {
        let index = indices.at(lane);
        if index >= elements {
            continue;
        }
        for (component, register) in from.iter().enumerate().take(layout.components as usize) {
            let byte = index as usize * stride + component * layout.size as usize;
            let (word, shift) = (byte / 4, byte % 4 * 8);
            // Each lane has its own local memory.
            if word != pending.0 || (lane != last && W::IS_PRIVATE) {
                words.set(pending.0, last, pending.1, pending.2);
                pending = (word, 0, 0);
            }
            let part = whole_part << shift;
            let bits = registers[*register as usize].0[lane] << shift;
            pending = (word, pending.1 | part, pending.2 & !part | bits & part);
            last = lane;
        }
    }
    words.set(pending.0, last, pending.1, pending.2);
}

/// Returns the mask of a component in the lowest bits.
fn part(layout: Layout) -> u32 {
    (1 << (8 * layout.size.min(3))) - 1
}

#[cfg(test)]
mod tests;
