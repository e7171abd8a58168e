//! Inter-process locks with a deadline, even on a file system that does not respond.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::storage::{Missing, Storage};

/// Default deadline for a lock.
pub const DEADLINE: Duration = Duration::from_secs(2);
/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);
/// Slack after the deadline for the locking thread to report; threads start late on a busy machine.
const ANSWER: Duration = Duration::from_millis(100);

/// The result of [`lock_within`].
pub enum Locked {
    /// Locked until this is dropped.
    Held(Box<dyn Send>),
    /// Another holder kept the lock past the deadline.
    Late,
    /// The file system did not respond.
    Unanswered,
    /// The lock could not be requested, for example because the file system has no locks.
    Unusable(std::io::Error),
}

impl Locked {
    /// Returns whether the lock was acquired.
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Held(_))
    }
}

/// Locks the file at `path` within `deadline`. The request runs on its own thread, because on some file systems it
/// never returns; that thread is then leaked.
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
        // If the caller has given up, dropping the message releases the lock.
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
    use crate::fault_injection::FaultInjectingStorage;
    use crate::storage::FileSystem;

    #[test]
    fn lock_wait_ends_by_the_deadline() {
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
    fn unresponsive_file_system_is_abandoned() {
        let folder = tempfile::tempdir().unwrap();
        let silent = FaultInjectingStorage::new(|what, _| match what {
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
