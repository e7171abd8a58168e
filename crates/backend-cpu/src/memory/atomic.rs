//! Atomic ops of all lanes, on integers and floats of 32 and 64 bits.
//!
//! One word is updated by the machine's atomics. Two words are updated under one of a set of locks, selected by address
//! and shared by all launches. A 64-bit location is therefore atomic only to other atomic accesses, which is all that
//! the language promises.

use std::sync::atomic::Ordering::{self, Relaxed};
use std::sync::atomic::{AtomicU32, fence};
use std::sync::{Mutex, PoisonError};

use fulgurite_ir::AtomicOrder;
use fulgurite_spec::eval;
use fulgurite_spec::{AtomicOp, ScalarType};

use super::{Access, Global, Indices, View, Words};
use crate::code::{Index, Place};
use crate::compute::{Register, bits, registers_of, set_bits};
use crate::lanes::{Lanes, Mask, lanes_of};

/// The locks of two-word locations.
static LOCKS: [Mutex<()>; 64] = [const { Mutex::new(()) }; 64];

/// An atomic op on an integer or float of one or two words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Atomic {
    pub(crate) op: AtomicOp,
    /// The order of other accesses relative to this one.
    pub(crate) order: AtomicOrder,
    pub(crate) ty: ScalarType,
    pub(crate) place: Place,
}

impl Atomic {
    /// Returns the value that replaces `old`.
    fn next(&self, old: u64, args: [u64; 2]) -> u64 {
        eval::atomic(self.op.into(), self.ty, old, &args).unwrap_or(old)
    }

    /// Atomically updates a word and returns its old value.
    fn apply(&self, word: &AtomicU32, args: [u64; 2]) -> u32 {
        let [first, second] = args.map(|bits| bits as u32);
        let signed_or_float = self.ty != ScalarType::U32;
        match self.op {
            AtomicOp::Load => word.load(Relaxed),
            AtomicOp::Store | AtomicOp::Exchange => word.swap(first, Relaxed),
            AtomicOp::Add if !self.ty.is_float() => word.fetch_add(first, Relaxed),
            AtomicOp::And => word.fetch_and(first, Relaxed),
            AtomicOp::Or => word.fetch_or(first, Relaxed),
            AtomicOp::Xor => word.fetch_xor(first, Relaxed),
            AtomicOp::Min if !signed_or_float => word.fetch_min(first, Relaxed),
            AtomicOp::Max if !signed_or_float => word.fetch_max(first, Relaxed),
            AtomicOp::CompareExchange => match word.compare_exchange(first, second, Relaxed, Relaxed) {
                Ok(old) | Err(old) => old,
            },
            AtomicOp::Add | AtomicOp::Min | AtomicOp::Max => {
                let next = |old: u32| Some(self.next(old.into(), args) as u32);
                match word.fetch_update(Relaxed, Relaxed, next) {
                    Ok(old) | Err(old) => old,
                }
            }
        }
    }

    /// Atomically updates the words of a buffer from `at` on, and returns their old value.
    pub(super) fn change_global(
        &self,
        words: &mut Global<'_>,
        at: usize,
        lane: usize,
        args: [u64; 2],
    ) -> u64 {
        let Some(word) = words.0.get(at) else { return 0 };
        if registers_of(self.ty) == 1 {
            return self.apply(word, args).into();
        }
        let address = std::ptr::from_ref(word).addr();
        let lock = &LOCKS[address / 8 % LOCKS.len()];
        let _guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.replace(words, at, lane, args)
    }

    /// Updates the words from `at` on, which nothing else may change meanwhile, and returns their old value.
    pub(super) fn replace<W: Words>(&self, words: &mut W, at: usize, lane: usize, args: [u64; 2]) -> u64 {
        let count = registers_of(self.ty) as usize;
        let mut old = 0;
        for word in 0..count {
            old |= u64::from(words.get(at + word, lane)) << (32 * word);
        }
        if self.op != AtomicOp::Load {
            let next = self.next(old, args);
            for word in 0..count {
                words.set(at + word, lane, u32::MAX, (next >> (32 * word)) as u32);
            }
        }
        old
    }
}

impl View<'_> {
    /// Applies an atomic op in active lanes, lane by lane; `to` receives the old values.
    pub(crate) fn atomic(
        &mut self,
        registers: &mut [Lanes],
        mask: Mask,
        atomic: Atomic,
        index: Index,
        operands: [Register; 2],
        to: Register,
    ) {
        for word in 0..registers_of(atomic.ty) {
            registers[(to + word) as usize] = Lanes::splat(0);
        }
        // Relaxed accesses between fences give the same guarantees as ordered ones.
        if atomic.order.releases() {
            fence(Ordering::Release);
        }
        self.access(registers, atomic.place, index, Change { atomic, mask, operands, to });
        if atomic.order.acquires() {
            fence(Ordering::Acquire);
        }
    }
}

struct Change {
    atomic: Atomic,
    mask: Mask,
    operands: [Register; 2],
    to: Register,
}

impl Access for Change {
    fn run<W: Words, I: Indices>(self, words: &mut W, elements: u64, indices: &I, registers: &mut [Lanes]) {
        let (atomic, count) = (&self.atomic, registers_of(self.atomic.ty) as usize);
        for lane in lanes_of(self.mask) {
            let index = indices.at(lane);
            if index < elements {
                let args = self.operands.map(|register| bits(registers, register, atomic.ty, lane));
                let old = words.change(atomic, index as usize * count, lane, args);
                set_bits(registers, self.to, atomic.ty, lane, old);
            }
        }
    }
}
