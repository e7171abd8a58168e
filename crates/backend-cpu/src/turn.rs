//! Turns: launches and copies that use one buffer come one after the other, whichever threads make them.
//!
//! A launch holds a lock of each of its buffers, taken in the order of their addresses so that two launches never wait for
//! each other. Whoever holds one goes on without its caller's threads (see `pool`), so that each turn comes.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::buffer::WordBuffer;

/// Whose turn it is to use a buffer.
#[derive(Default)]
pub(crate) struct Turn(RwLock<()>);

/// A turn that was taken.
pub(crate) enum Taken<'t> {
    Reading(#[expect(dead_code, reason = "held, not read")] RwLockReadGuard<'t, ()>),
    Writing(#[expect(dead_code, reason = "held, not read")] RwLockWriteGuard<'t, ()>),
}

/// What a buffer is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Usage {
    Read,
    Write,
}

impl Turn {
    /// Waits for it. A panic in another turn left words in the buffer all the same.
    pub(crate) fn take(&self, usage: Usage) -> Taken<'_> {
        match usage {
            Usage::Read => Taken::Reading(self.0.read().unwrap_or_else(PoisonError::into_inner)),
            Usage::Write => Taken::Writing(self.0.write().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

/// The turns of a launch, until it ends.
pub(crate) struct Turns<'t>(#[expect(dead_code, reason = "held, not read")] Vec<Taken<'t>>);

impl<'t> Turns<'t> {
    /// Waits for the turn of each buffer.
    pub(crate) fn take(uses: impl Iterator<Item = (&'t WordBuffer, Usage)>) -> Self {
        // By address; of one that is bound twice, what it is written for counts.
        let mut uses: Vec<_> = uses.collect();
        uses.sort_by_key(|(buffer, usage)| (std::ptr::from_ref(*buffer), std::cmp::Reverse(*usage)));
        uses.dedup_by_key(|(buffer, _)| std::ptr::from_ref(*buffer));
        Self(uses.into_iter().map(|(buffer, usage)| buffer.turn().take(usage)).collect())
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
}
