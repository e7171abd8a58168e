//! Locks between processes that are waited for no longer than a deadline, whatever the file system does.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::storage::{Missing, Storage};

/// How long anyone waits for a lock.
pub const DEADLINE: Duration = Duration::from_secs(2);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);
/// How long after the deadline whoever asks may take to say so: threads start late on a busy machine.
const ANSWER: Duration = Duration::from_millis(100);

/// What came of asking for a lock.
pub enum Locked {
    /// It is held until this is dropped.
    Held(Box<dyn Send>),
    /// It did not come: someone has it.
    Late,
    /// The file system does not answer.
    Unanswered,
    /// There are no locks here.
    Unusable(std::io::Error),
}

impl Locked {
    /// Whether it came.
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Held(_))
    }
}

/// Takes the lock that the file at `path` is, within `deadline`. A thread of its own asks for it: on some file systems
/// that never returns, and the thread stays behind.
pub fn lock_within(storage: &Arc<dyn Storage>, path: &Path, deadline: Duration, missing: Missing) -> Locked {
    let (sender, receiver) = mpsc::sync_channel(1);
    let (storage, path) = (Arc::clone(storage), path.to_owned());
    let until = Instant::now() + deadline;
    let started = std::thread::Builder::new().name("fulgurite lock".to_owned()).spawn(move || {
        let mut pause = Duration::from_micros(100);
        let locked = loop {
            match storage.try_lock(&path, missing) {
                Ok(Some(held)) => break Locked::Held(held),
                Ok(None) if Instant::now() >= until => break Locked::Late,
                Ok(None) => std::thread::sleep(pause),
                Err(error) => break Locked::Unusable(error),
            }
            pause = (2 * pause).min(LONGEST_PAUSE);
        };
        // If nobody waits any more, the lock is given back here.
        let _ = sender.send(locked);
    });
    match started {
        Ok(_) => receiver
            .recv_timeout(until.saturating_duration_since(Instant::now()) + ANSWER)
            .unwrap_or(Locked::Unanswered),
        Err(error) => Locked::Unusable(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meddled::Meddled;
    use crate::storage::FileSystem;

    #[test]
    fn a_lock_comes_late_or_never_but_the_wait_ends() {
        let folder = tempfile::tempdir().unwrap();
        let storage = FileSystem::shared();
        let path = folder.path().join("lock");
        let held = lock_within(&storage, &path, DEADLINE, Missing::Create);
        assert!(held.is_held());
        let begun = Instant::now();
        assert!(matches!(
            lock_within(&storage, &path, Duration::from_millis(50), Missing::Create),
            Locked::Late
        ));
        assert!(begun.elapsed() < DEADLINE);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| lock_within(&storage, &path, DEADLINE, Missing::Create).is_held());
            std::thread::sleep(Duration::from_millis(20));
            drop(held);
            assert!(waiting.join().unwrap());
        });
        let nowhere = folder.path().join("none").join("lock");
        assert!(matches!(lock_within(&storage, &nowhere, DEADLINE, Missing::Create), Locked::Unusable(_)));
    }

    #[test]
    fn a_file_system_that_does_not_answer_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let silent = Meddled::new(|what, _| match what {
            "try_lock" => loop {
                std::thread::park();
            },
            _ => Ok(()),
        });
        let storage: Arc<dyn Storage> = Arc::new(silent);
        let asked = lock_within(&storage, &folder.path().join("lock"), Duration::ZERO, Missing::Create);
        assert!(matches!(asked, Locked::Unanswered));
    }
}
