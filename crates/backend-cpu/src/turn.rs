//! Turns: launches and copies that use one buffer come one after the other, whichever threads make them.
//!
//! A launch holds a lock of each of its buffers, taken in the order of their addresses so that two launches never wait for
//! each other. One that is made inside another, by a job that a waiting worker of rayon took up, waits for nothing: what
//! it would wait for may be below it on the same stack.

use std::cell::Cell;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use crate::buffer::WordBuffer;

thread_local! {
    /// Launches that are under way below on this stack.
    static LAUNCHES: Cell<u32> = const { Cell::new(0) };
}

/// Whose turn it is to use a buffer.
#[derive(Default)]
pub(crate) struct Turn(RwLock<()>);

/// A turn that was taken.
pub(crate) enum Taken<'t> {
    Reading(#[expect(dead_code, reason = "held, not read")] RwLockReadGuard<'t, ()>),
    Writing(#[expect(dead_code, reason = "held, not read")] RwLockWriteGuard<'t, ()>),
    /// Inside another launch, of a buffer that is in use.
    OutOfTurn,
}

/// What a buffer is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Usage {
    Read,
    Write,
}

impl Turn {
    pub(crate) fn take(&self, usage: Usage) -> Taken<'_> {
        let is_inside = LAUNCHES.get() > 0;
        // A panic in another turn left words in the buffer all the same.
        match (usage, is_inside) {
            (Usage::Read, false) => Taken::Reading(self.0.read().unwrap_or_else(|e| e.into_inner())),
            (Usage::Write, false) => Taken::Writing(self.0.write().unwrap_or_else(|e| e.into_inner())),
            (Usage::Read, true) => match self.0.try_read() {
                Ok(guard) => Taken::Reading(guard),
                Err(TryLockError::Poisoned(poisoned)) => Taken::Reading(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => Taken::OutOfTurn,
            },
            (Usage::Write, true) => match self.0.try_write() {
                Ok(guard) => Taken::Writing(guard),
                Err(TryLockError::Poisoned(poisoned)) => Taken::Writing(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => Taken::OutOfTurn,
            },
        }
    }
}

/// The turns of a launch, until it ends.
pub(crate) struct Turns<'t>(#[allow(dead_code, reason = "held, and read by tests alone")] Vec<Taken<'t>>);

impl<'t> Turns<'t> {
    /// Waits for the turn of each buffer.
    pub(crate) fn take(uses: impl Iterator<Item = (&'t WordBuffer, Usage)>) -> Self {
        // By address; of one that is bound twice, what it is written for counts.
        let mut uses: Vec<_> = uses.collect();
        uses.sort_by_key(|(buffer, usage)| (std::ptr::from_ref(*buffer), std::cmp::Reverse(*usage)));
        uses.dedup_by_key(|(buffer, _)| std::ptr::from_ref(*buffer));
        let taken = uses.into_iter().map(|(buffer, usage)| buffer.turn().take(usage)).collect();
        LAUNCHES.set(LAUNCHES.get() + 1);
        Self(taken)
    }
}

impl Drop for Turns<'_> {
    fn drop(&mut self) {
        LAUNCHES.set(LAUNCHES.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writes_or_many_read() {
        let [a, b] = [8, 8].map(|bytes| WordBuffer::zeroed(bytes).unwrap());
        let (first, second) =
            if std::ptr::from_ref(&a) < std::ptr::from_ref(&b) { (&a, &b) } else { (&b, &a) };
        let order = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let turns =
                Turns::take([(second, Usage::Read), (first, Usage::Write), (first, Usage::Read)].into_iter());
            let writer = scope.spawn(|| {
                let _turns = Turns::take([(first, Usage::Write), (second, Usage::Write)].into_iter());
                order.lock().unwrap().push("writer");
            });
            let reader = scope.spawn(|| {
                let _turns = Turns::take([(second, Usage::Read)].into_iter());
            });
            // A reader of what is only read does not wait, unless the writer came first and waits itself.
            std::thread::sleep(std::time::Duration::from_millis(20));
            order.lock().unwrap().push("first");
            drop(turns);
            writer.join().unwrap();
            reader.join().unwrap();
        });
        assert_eq!(*order.lock().unwrap(), ["first", "writer"]);
    }

    #[test]
    fn a_launch_inside_another_waits_for_nothing() {
        let buffer = WordBuffer::zeroed(8).unwrap();
        let outer = Turns::take([(&buffer, Usage::Write)].into_iter());
        let inner = Turns::take([(&buffer, Usage::Write)].into_iter());
        assert!(matches!(inner.0[0], Taken::OutOfTurn));
        drop(inner);
        assert!(matches!(buffer.turn().take(Usage::Read), Taken::OutOfTurn));
        drop(outer);
        assert!(matches!(buffer.turn().take(Usage::Read), Taken::Reading(_)));
    }
}
