//! Turns: a launch or copy that writes a buffer runs alone, while those that only read it may overlap.
//!
//! A launch holds a lock for each of its buffers, taken in the order of their addresses, so that launches cannot
//! deadlock. The holder of a lock does not depend on its caller's threads (see `pool`), so every lock is eventually
//! released.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use smallvec::SmallVec;

/// Values for each buffer of a launch, of which most have few: those take no memory of the heap.
pub(crate) type PerBuffer<T> = SmallVec<[T; 8]>;

/// The lock that orders uses of a buffer.
#[derive(Default)]
pub(crate) struct Turn(RwLock<()>);

/// A held lock.
pub(crate) enum Taken<'t> {
    Reading(#[expect(dead_code, reason = "held, not read")] RwLockReadGuard<'t, ()>),
    Writing(#[expect(dead_code, reason = "held, not read")] RwLockWriteGuard<'t, ()>),
}

/// The access that a buffer is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Usage {
    Read,
    Write,
}

impl Turn {
    /// Acquires the lock. Ignores poisoning: the words of a buffer are valid even after a panic.
    pub(crate) fn take(&self, usage: Usage) -> Taken<'_> {
        match usage {
            Usage::Read => Taken::Reading(self.0.read().unwrap_or_else(PoisonError::into_inner)),
            Usage::Write => Taken::Writing(self.0.write().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

/// The locks of a launch, held until it ends.
pub(crate) struct Turns<'t>(#[expect(dead_code, reason = "held, not read")] PerBuffer<Taken<'t>>);

impl<'t> Turns<'t> {
    /// Acquires the lock of each buffer.
    pub(crate) fn take(mut uses: PerBuffer<(&'t Turn, Usage)>) -> Self {
        // In the order of addresses; a buffer that is bound twice is locked once, for writing if either binding writes.
        uses.sort_unstable_by_key(|(turn, usage)| (std::ptr::from_ref(*turn), std::cmp::Reverse(*usage)));
        uses.dedup_by_key(|(turn, _)| std::ptr::from_ref(*turn));
        Self(uses.into_iter().map(|(turn, usage)| turn.take(usage)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writes_or_many_read() {
        let [a, b] = [Turn::default(), Turn::default()];
        let (first, second) =
            if std::ptr::from_ref(&a) < std::ptr::from_ref(&b) { (&a, &b) } else { (&b, &a) };
        let order = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let turns = Turns::take(PerBuffer::from_iter([
                (second, Usage::Read),
                (first, Usage::Write),
                (first, Usage::Read),
            ]));
            let writer = scope.spawn(|| {
                let _turns =
                    Turns::take(PerBuffer::from_iter([(first, Usage::Write), (second, Usage::Write)]));
                order.lock().unwrap().push("writer");
            });
            let reader = scope.spawn(|| {
                let _turns = Turns::take(PerBuffer::from_iter([(second, Usage::Read)]));
            });
            // A reader of a buffer that is only read does not wait, unless the writer is already waiting.
            std::thread::sleep(std::time::Duration::from_millis(20));
            order.lock().unwrap().push("first");
            drop(turns);
            writer.join().unwrap();
            reader.join().unwrap();
        });
        assert_eq!(*order.lock().unwrap(), ["first", "writer"]);
    }
}
