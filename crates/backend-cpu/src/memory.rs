//! Loads, stores and atomics of all lanes.
//!
//! Lanes that are out of bounds read zeros and write nothing. Loads ignore the mask: a lane that is not active
//! reads something harmless.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use fulgurite_spec::eval;
use fulgurite_spec::{Op, ScalarType};

use crate::code::{Place, Space};
use crate::compute::Register;
use crate::lanes::{Lanes, Mask, WIDTH, lanes_of};

/// The memory that the lanes of one chunk see.
pub(crate) struct View<'a> {
    pub(crate) buffers: &'a [&'a [AtomicU32]],
    /// The workgroup's, by word.
    pub(crate) shared: &'a mut [u32],
    /// The chunk's, by word, then lane.
    pub(crate) local: &'a mut [Lanes],
}

/// The word of a component of an element; past every end if there are not so many elements.
#[inline]
fn word(index: u32, elements: usize, components: usize, component: usize) -> usize {
    let index = index as usize;
    // The product stays small for an index in bounds, whatever the width of `usize`.
    if index < elements { index * components + component } else { usize::MAX }
}

/// The first element of 64 that lie next to each other, lane by lane, all in bounds.
fn run_of(index: &Lanes, len: usize) -> Option<usize> {
    let first = index.0[0];
    let mut differences = 0;
    for (lane, index) in index.0.iter().enumerate() {
        differences |= index.wrapping_sub(first) ^ lane as u32;
    }
    let first = first as usize;
    (differences == 0 && first + WIDTH <= len).then_some(first)
}

impl View<'_> {
    /// Reads the elements at `index` into `to`.
    pub(crate) fn load(&self, registers: &mut [Lanes], place: Place, index: Register, to: [Register; 4]) {
        let index = registers[index as usize];
        let components = place.components as usize;
        let to = &to[..components.min(4)];
        match place.space {
            Space::Buffer(binding) => {
                let words = self.buffers[binding];
                let elements = words.len() / components;
                if let ([to], Some(first)) = (to, run_of(&index, words.len())) {
                    let lanes = &mut registers[*to as usize].0;
                    for (lane, word) in lanes.iter_mut().zip(&words[first..first + WIDTH]) {
                        *lane = word.load(Relaxed);
                    }
                    return;
                }
                for (component, to) in to.iter().enumerate() {
                    let lanes = &mut registers[*to as usize].0;
                    for (lane, index) in lanes.iter_mut().zip(&index.0) {
                        let word = words.get(word(*index, elements, components, component));
                        *lane = word.map_or(0, |word| word.load(Relaxed));
                    }
                }
            }
            Space::Shared(base) => {
                let elements = place.len as usize;
                let words = &self.shared[base..base + elements * components];
                for (component, to) in to.iter().enumerate() {
                    let lanes = &mut registers[*to as usize].0;
                    for (lane, index) in lanes.iter_mut().zip(&index.0) {
                        *lane =
                            words.get(word(*index, elements, components, component)).copied().unwrap_or(0);
                    }
                }
            }
            Space::Local(base) => {
                let elements = place.len as usize;
                let words = &self.local[base..base + elements * components];
                for (component, to) in to.iter().enumerate() {
                    let lanes = &mut registers[*to as usize].0;
                    for (number, (lane, index)) in lanes.iter_mut().zip(&index.0).enumerate() {
                        let word = words.get(word(*index, elements, components, component));
                        *lane = word.map_or(0, |word| word.0[number]);
                    }
                }
            }
        }
    }

    /// Writes `from` to the elements at `index`, in active lanes.
    pub(crate) fn store(
        &mut self,
        registers: &[Lanes],
        mask: Mask,
        place: Place,
        index: Register,
        from: [Register; 4],
    ) {
        let index = &registers[index as usize];
        let components = place.components as usize;
        let from = &from[..components.min(4)];
        match place.space {
            Space::Buffer(binding) => {
                let words = self.buffers[binding];
                let elements = words.len() / components;
                if let ([from], Mask::MAX, Some(first)) = (from, mask, run_of(index, words.len())) {
                    let lanes = &registers[*from as usize].0;
                    for (word, lane) in words[first..first + WIDTH].iter().zip(lanes) {
                        word.store(*lane, Relaxed);
                    }
                    return;
                }
                for lane in lanes_of(mask) {
                    for (component, from) in from.iter().enumerate() {
                        if let Some(word) = words.get(word(index.0[lane], elements, components, component)) {
                            word.store(registers[*from as usize].0[lane], Relaxed);
                        }
                    }
                }
            }
            Space::Shared(base) => {
                let elements = place.len as usize;
                let words = &mut self.shared[base..base + elements * components];
                for lane in lanes_of(mask) {
                    for (component, from) in from.iter().enumerate() {
                        if let Some(word) =
                            words.get_mut(word(index.0[lane], elements, components, component))
                        {
                            *word = registers[*from as usize].0[lane];
                        }
                    }
                }
            }
            Space::Local(base) => {
                let elements = place.len as usize;
                let words = &mut self.local[base..base + elements * components];
                for lane in lanes_of(mask) {
                    for (component, from) in from.iter().enumerate() {
                        if let Some(word) =
                            words.get_mut(word(index.0[lane], elements, components, component))
                        {
                            word.0[lane] = registers[*from as usize].0[lane];
                        }
                    }
                }
            }
        }
    }

    /// Applies an atomic op in active lanes, lane by lane; gives the old values.
    pub(crate) fn atomic(
        &mut self,
        atomic: &Atomic,
        mask: Mask,
        index: &Lanes,
        operands: [&Lanes; 2],
    ) -> Lanes {
        let mut old = Lanes::splat(0);
        for lane in lanes_of(mask) {
            let (at, args) = (index.0[lane] as usize, operands.map(|o| o.0[lane]));
            let value = match atomic.place.space {
                Space::Buffer(binding) => self.buffers[binding].get(at).map(|word| atomic.apply(word, args)),
                Space::Shared(base) => {
                    let words = &mut self.shared[base..base + atomic.place.len as usize];
                    words.get_mut(at).map(|word| core::mem::replace(word, atomic.next(*word, args)))
                }
                Space::Local(_) => None,
            };
            old.0[lane] = value.unwrap_or(0);
        }
        old
    }
}

/// An atomic op on one-word integers.
pub(crate) struct Atomic {
    pub(crate) op: Op,
    pub(crate) is_signed: bool,
    pub(crate) place: Place,
}

impl Atomic {
    /// What follows `old`.
    fn next(&self, old: u32, args: [u32; 2]) -> u32 {
        let ty = if self.is_signed { ScalarType::I32 } else { ScalarType::U32 };
        let next = eval::atomic(self.op, ty, u64::from(old), &args.map(u64::from));
        next.map_or(old, |bits| bits as u32)
    }

    /// Indivisibly replaces a word by what follows it; gives what it was.
    fn apply(&self, word: &AtomicU32, args: [u32; 2]) -> u32 {
        let [first, second] = args;
        match self.op {
            Op::AtomicLoad => word.load(Relaxed),
            Op::AtomicStore | Op::AtomicExchange => word.swap(first, Relaxed),
            Op::AtomicAdd => word.fetch_add(first, Relaxed),
            Op::AtomicAnd => word.fetch_and(first, Relaxed),
            Op::AtomicOr => word.fetch_or(first, Relaxed),
            Op::AtomicXor => word.fetch_xor(first, Relaxed),
            Op::AtomicMin if !self.is_signed => word.fetch_min(first, Relaxed),
            Op::AtomicMax if !self.is_signed => word.fetch_max(first, Relaxed),
            Op::AtomicCompareExchange => match word.compare_exchange(first, second, Relaxed, Relaxed) {
                Ok(old) | Err(old) => old,
            },
            _ => match word.fetch_update(Relaxed, Relaxed, |old| Some(self.next(old, args))) {
                Ok(old) | Err(old) => old,
            },
        }
    }
}
