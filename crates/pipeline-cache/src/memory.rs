//! The memory tier: the entries of this process, each created by one thread while others wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use fulgurite_spec::cache::CacheTier;
use fulgurite_storage::Digest;

use crate::entry::Entry;
use crate::error::{CacheError, lock};

/// Limit on the total payload size in bytes.
const MAX_BYTES: usize = 64 << 20;

/// The slot of one entry, locked while a thread creates the entry.
type Place = Arc<Mutex<Option<Traced>>>;

/// An entry and the tier it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traced {
    /// The entry.
    pub entry: Arc<Entry>,
    /// The tier it was first read from; [`CacheTier::Memory`] if this process created it.
    pub tier: CacheTier,
}

impl Traced {
    pub(crate) fn new(entry: Entry, tier: CacheTier) -> Self {
        Self { entry: Arc::new(entry), tier }
    }
}

/// The entries in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryTier(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    by_digest: HashMap<Digest, Place>,
    bytes: usize,
}

impl MemoryTier {
    /// Returns the entry of `digest`, or creates it with `make`. If several threads ask at once, one creates the entry
    /// and the others wait; if it fails, panics or creates nothing, the next one tries.
    pub(crate) fn get_or_make<E: From<CacheError>>(
        &self,
        digest: Digest,
        make: impl FnOnce() -> Result<Option<Traced>, E>,
    ) -> Result<Option<Traced>, E> {
        let place = Arc::clone(lock(&self.0)?.by_digest.entry(digest).or_default());
        // A panic leaves the slot empty.
        let mut here = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = &*here {
            return Ok(Some(held.clone()));
        }
        let Some(made) = make()? else { return Ok(None) };
        *here = Some(made.clone());
        drop(here);
        self.make_room(made.entry.payload.len())?;
        Ok(Some(made))
    }

    /// Returns the entry of `digest`, after waiting for a thread that is creating it.
    pub(crate) fn get(&self, digest: &Digest) -> Result<Option<Traced>, CacheError> {
        let Some(place) = lock(&self.0)?.by_digest.get(digest).cloned() else { return Ok(None) };
        let here = place.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(here.clone())
    }

    /// Inserts an entry, replacing the one with the same digest.
    pub(crate) fn put(&self, held: &Traced) -> Result<(), CacheError> {
        let digest = held.entry.identity.digest();
        let place = Arc::clone(lock(&self.0)?.by_digest.entry(digest).or_default());
        let before = place.lock().unwrap_or_else(PoisonError::into_inner).replace(held.clone());
        let freed = before.map_or(0, |before| before.entry.payload.len());
        let mut places = lock(&self.0)?;
        places.bytes = places.bytes.saturating_sub(freed);
        drop(places);
        self.make_room(held.entry.payload.len())
    }

    /// Returns all entries, except those being created.
    pub(crate) fn all(&self) -> Result<Vec<Arc<Entry>>, CacheError> {
        let places: Vec<Place> = lock(&self.0)?.by_digest.values().cloned().collect();
        let held =
            places.iter().filter_map(|place| place.try_lock().ok()?.as_ref().map(|h| Arc::clone(&h.entry)));
        Ok(held.collect())
    }

    /// Removes an entry. Returns whether it was present.
    pub(crate) fn forget(&self, digest: &Digest) -> Result<bool, CacheError> {
        let removed = lock(&self.0)?.by_digest.remove(digest);
        if let Some(place) = removed {
            // The map must not be locked here: the thread that creates the entry may need it.
            let held = place.lock().unwrap_or_else(PoisonError::into_inner).take();
            let mut places = lock(&self.0)?;
            places.bytes = places.bytes.saturating_sub(held.as_ref().map_or(0, |h| h.entry.payload.len()));
            return Ok(held.is_some());
        }
        Ok(false)
    }

    /// Adds `more` to the byte count. Above the limit the tier is emptied, except for entries being created: repeated
    /// lookups are rare, and entries are still on disk.
    fn make_room(&self, more: usize) -> Result<(), CacheError> {
        let mut places = lock(&self.0)?;
        places.bytes += more;
        if places.bytes > MAX_BYTES {
            places.by_digest.retain(|_, place| place.try_lock().is_err());
            places.bytes = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Barrier, mpsc};

    use super::*;
    use crate::identity::{PayloadKind, PipelineCacheIdentity, PipelineDeviceFingerprint};

    fn entry(name: &str, bytes: usize) -> Traced {
        let program = Digest::of(name.as_bytes());
        let any = PipelineDeviceFingerprint::ANY;
        let identity = PipelineCacheIdentity::new(PayloadKind::Artifact, program, Digest::ZERO, any);
        Traced::new(Entry::new(identity, Digest::ZERO, vec![7; bytes]), CacheTier::Memory)
    }

    #[test]
    fn one_of_many_threads_creates_the_entry() {
        let (tier, made, together) = (MemoryTier::default(), AtomicUsize::new(0), Barrier::new(16));
        let entry = entry("a", 8);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    together.wait();
                    let make = || {
                        made.fetch_add(1, Ordering::SeqCst);
                        std::thread::sleep(std::time::Duration::from_millis(20));
                        Ok::<_, CacheError>(Some(entry.clone()))
                    };
                    let got = tier.get_or_make(entry.entry.identity.digest(), make).unwrap();
                    assert!(got.is_some_and(|got| Arc::ptr_eq(&got.entry, &entry.entry)));
                });
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), 1);
    }

    /// Runs `leader`, which ends without an entry, while another thread waits for it.
    fn follower_takes_over_after(leader: impl FnOnce() -> Result<Option<Traced>, CacheError> + Send) {
        let tier = MemoryTier::default();
        let entry = entry("a", 8);
        let digest = entry.entry.identity.digest();
        let (begun, waiting) = mpsc::channel();
        std::thread::scope(|scope| {
            let tier = &tier;
            let first = scope.spawn(move || {
                let make = || {
                    let _ = begun.send(());
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    leader()
                };
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| tier.get_or_make(digest, make)))
            });
            waiting.recv().unwrap();
            let followed = tier.get_or_make(digest, || Ok::<_, CacheError>(Some(entry.clone())));
            assert!(followed.unwrap().is_some_and(|made| Arc::ptr_eq(&made.entry, &entry.entry)));
            assert!(!matches!(first.join().unwrap(), Ok(Ok(Some(_)))));
        });
        assert!(tier.get(&digest).unwrap().is_some());
    }

    #[test]
    fn a_leader_that_fails_or_panics_wakes_its_followers() {
        follower_takes_over_after(|| Err(CacheError::ReadOnly));
        follower_takes_over_after(|| Ok(None));
        follower_takes_over_after(|| panic!("on purpose"));
    }

    #[test]
    fn memory_is_bounded_and_entries_can_be_removed() {
        let tier = MemoryTier::default();
        let (small, large) = (entry("a", 8), entry("b", MAX_BYTES));
        tier.put(&small).unwrap();
        assert!(tier.get(&small.entry.identity.digest()).unwrap().is_some());
        tier.put(&large).unwrap();
        assert!(tier.get(&small.entry.identity.digest()).unwrap().is_none());
        tier.put(&small).unwrap();
        assert_eq!(tier.all().unwrap(), [Arc::clone(&small.entry)]);
        assert!(tier.forget(&small.entry.identity.digest()).unwrap());
        assert!(!tier.forget(&small.entry.identity.digest()).unwrap());
        assert!(tier.get(&small.entry.identity.digest()).unwrap().is_none());
    }

    #[test]
    fn a_poisoned_lock_is_an_error() {
        let tier = MemoryTier::default();
        std::thread::scope(|scope| {
            let poisoned = scope.spawn(|| {
                let _held = tier.0.lock().unwrap();
                panic!("on purpose");
            });
            assert!(poisoned.join().is_err());
        });
        assert_eq!(tier.get(&Digest::ZERO).unwrap_err(), CacheError::Poisoned);
        assert_eq!(tier.put(&entry("a", 1)).unwrap_err(), CacheError::Poisoned);
    }
}
