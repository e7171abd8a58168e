//! Writing and flushing with concurrent writers and failing disks. The conformance suite `cache` covers system crashes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use fulgurite_storage::FaultInjectingStorage;

use super::super::{DiskOptions, Lookup};
use super::*;
use crate::identity::{PayloadKind, PipelineCacheIdentity, PipelineDeviceFingerprint};

fn entry(payload: &str) -> Entry {
    let any = PipelineDeviceFingerprint::ANY;
    let identity = PipelineCacheIdentity::new(PayloadKind::Binary, Digest::of(b"a"), Digest::ZERO, any);
    Entry::new(identity, Digest::ZERO, payload.as_bytes().to_vec())
}

fn open(root: &Path) -> DiskPipelineCache {
    DiskPipelineCache::open(root, DiskOptions::default()).unwrap()
}

fn faulty(
    root: &Path,
    hook: impl Fn(&str, &Path) -> io::Result<()> + Send + Sync + 'static,
) -> DiskPipelineCache {
    let options = DiskOptions::default().storage(Arc::new(FaultInjectingStorage::new(hook)));
    DiskPipelineCache::open(root, options).unwrap()
}

/// Returns the payload of the stored entry.
fn found(cache: &DiskPipelineCache) -> Option<Vec<u8>> {
    match cache.read(&entry("").identity) {
        Lookup::Hit(entry) => Some(entry.payload),
        Lookup::Miss(_) => None,
    }
}

fn failed() -> io::Error {
    io::Error::other("on purpose")
}

#[test]
fn replacement_of_a_concurrent_entry_is_synced_before_the_rename() {
    let folder = tempfile::tempdir().unwrap();
    let (root, calls) = (folder.path().to_owned(), Arc::new(Mutex::new(Vec::new())));
    let (other, log) = (open(&root), Arc::clone(&calls));
    let cache = faulty(&root, move |what, _| {
        // After the lookup that found no entry.
        if what == "create" {
            assert!(other.write(&entry("theirs"), Durability::Immediate).is_ok());
        }
        if matches!(what, "sync" | "rename" | "sync_dir") {
            log.lock().unwrap().push(what.to_owned());
        }
        Ok(())
    });
    assert_eq!(cache.write(&entry("ours"), Durability::OnFlush), Ok(Written::New));
    let calls = calls.lock().unwrap().clone();
    assert_eq!(calls[..3], ["sync", "rename", "sync_dir"]);
    assert_eq!(found(&cache).unwrap(), b"ours");
}

#[test]
fn existing_entries_are_made_durable() {
    let folder = tempfile::tempdir().unwrap();
    // A process that ends before it flushes.
    let first = open(folder.path());
    first.write(&entry("a"), Durability::OnFlush).unwrap();
    let syncs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&syncs);
    let cache = faulty(folder.path(), move |what, _| {
        count.fetch_add(usize::from(what == "sync"), Ordering::SeqCst);
        Ok(())
    });
    assert_eq!(cache.write(&entry("a"), Durability::Immediate), Ok(Written::Unchanged));
    assert_eq!(syncs.load(Ordering::SeqCst), 1);
    assert_eq!(cache.write(&entry("a"), Durability::OnFlush), Ok(Written::Unchanged));
    cache.flush().unwrap();
    assert_eq!(syncs.load(Ordering::SeqCst), 2);
    cache.flush().unwrap();
    assert_eq!(syncs.load(Ordering::SeqCst), 2, "flushed entries are not synced again");
}

#[test]
fn entry_that_cannot_be_synced_is_dropped_with_an_error() {
    for durability in [Durability::OnFlush, Durability::Immediate] {
        for fails in ["sync", "sync_dir"] {
            let folder = tempfile::tempdir().unwrap();
            let cache = faulty(folder.path(), move |what, _| match what == fails {
                true => Err(failed()),
                false => Ok(()),
            });
            let done = cache.write(&entry("a"), durability).and_then(|_| cache.flush());
            let dropped = CacheError::NotDurable { dropped: 1, first: "on purpose".to_owned() };
            assert_eq!(done, Err(dropped), "{fails} {durability:?}");
            assert_eq!(found(&cache), None, "{fails} {durability:?}");
            assert_eq!(cache.flush(), Ok(()), "the dropped entry is forgotten");
        }
    }
}

#[test]
fn failed_sync_does_not_remove_a_replacement() {
    for durability in [Durability::OnFlush, Durability::Immediate] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        let (other, fails) = (open(&root), AtomicBool::new(true));
        let target = other.path_for(&entry("").identity);
        let shard = target.parent().unwrap().to_owned();
        let cache = faulty(&root, move |what, path| {
            let is_due = match durability {
                Durability::OnFlush => what == "sync" && path == target,
                Durability::Immediate => what == "sync_dir" && path == shard,
            };
            if is_due && fails.swap(false, Ordering::SeqCst) {
                assert!(other.write(&entry("theirs, and longer"), Durability::Immediate).is_ok());
                return Err(failed());
            }
            Ok(())
        });
        let done = cache.write(&entry("ours"), durability).and_then(|_| cache.flush());
        assert!(matches!(done, Err(CacheError::NotDurable { .. })), "{durability:?}: {done:?}");
        assert_eq!(found(&cache).unwrap(), b"theirs, and longer", "{durability:?}");
    }
}

#[test]
fn concurrent_flush_waits_for_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let (begun, begins) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let may_go_on = Mutex::new(may_go_on);
    let cache = faulty(folder.path(), move |what, _| {
        if what == "sync" {
            begun.send(()).map_err(io::Error::other)?;
            may_go_on.lock().unwrap().recv().map_err(io::Error::other)?;
        }
        Ok(())
    });
    cache.write(&entry("a"), Durability::OnFlush).unwrap();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| cache.flush());
        begins.recv().unwrap();
        let second = scope.spawn(|| cache.flush());
        std::thread::sleep(std::time::Duration::from_millis(30));
        let waits = !second.is_finished();
        go_on.send(()).unwrap();
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (Ok(()), Ok(())));
        assert!(waits);
    });
}

#[test]
fn unsynced_removal_is_an_error_even_for_absent_entries() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).write(&entry("a"), Durability::Immediate).unwrap();
    let cache = faulty(folder.path(), |what, _| match what {
        "sync_dir" => Err(failed()),
        _ => Ok(()),
    });
    let digest = entry("a").identity.digest();
    for _ in 0..2 {
        let report = cache.invalidate(&[true], &[digest]).unwrap();
        assert_eq!((report.removed, report.absent), (0, 0));
        assert_eq!(report.failed.iter().map(|(digest, _)| *digest).collect::<Vec<_>>(), [digest]);
        assert_eq!(found(&cache), None);
    }
}

/// Returns the entry named `number`.
fn numbered(number: u32) -> Entry {
    let (any, program) = (PipelineDeviceFingerprint::ANY, Digest::of(&number.to_le_bytes()));
    let identity = PipelineCacheIdentity::new(PayloadKind::Artifact, program, Digest::ZERO, any);
    Entry::new(identity, Digest::ZERO, number.to_le_bytes().to_vec())
}

#[test]
fn flush_syncs_files_concurrently_then_each_shard_once() {
    const ENTRIES: u32 = 40;
    const THREADS: usize = 4;
    let folder = tempfile::tempdir().unwrap();
    let (calls, syncing) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let (log, now) = (Arc::clone(&calls), Arc::clone(&syncing));
    // The first sync blocks until as many files are being synced as there are threads.
    let storage = FaultInjectingStorage::new(move |what, path: &Path| {
        if what == "sync" {
            now.fetch_add(1, Ordering::SeqCst);
            let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
            while now.load(Ordering::SeqCst) < THREADS && std::time::Instant::now() < until {
                std::thread::yield_now();
            }
        }
        if matches!(what, "sync" | "sync_dir") {
            log.lock().unwrap().push((what.to_owned(), path.to_owned()));
        }
        Ok(())
    });
    let options = DiskOptions::default().storage(Arc::new(storage.concurrent_syncs(THREADS)));
    let cache = DiskPipelineCache::open(folder.path(), options).unwrap();
    for number in 0..ENTRIES {
        cache.write(&numbered(number), Durability::OnFlush).unwrap();
    }
    let begun = std::time::Instant::now();
    cache.flush().unwrap();
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "files were synced sequentially");
    let calls = calls.lock().unwrap().clone();
    let files: Vec<_> = calls.iter().take_while(|(what, _)| what == "sync").collect();
    assert_eq!(files.len(), ENTRIES as usize, "all files are synced before any folder");
    let shards: BTreeSet<_> = files.iter().map(|(_, path)| path.parent().unwrap().to_owned()).collect();
    let mut folders: Vec<_> = calls[files.len()..].iter().map(|(_, path)| path.clone()).collect();
    let above = folders.split_off(shards.len());
    assert_eq!(folders.into_iter().collect::<BTreeSet<_>>(), shards);
    assert_eq!(above[0], folder.path(), "the root is synced after its shards");
}

#[test]
fn concurrent_flush_drops_only_failed_entries() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_owned();
    let bad: BTreeSet<PathBuf> =
        (0..3).map(|number| open(&root).path_for(&numbered(number).identity)).collect();
    let storage =
        FaultInjectingStorage::new(move |what, path: &Path| match what == "sync" && bad.contains(path) {
            true => Err(failed()),
            false => Ok(()),
        });
    let options = DiskOptions::default().storage(Arc::new(storage.concurrent_syncs(8)));
    let cache = DiskPipelineCache::open(&root, options).unwrap();
    for number in 0..50 {
        cache.write(&numbered(number), Durability::OnFlush).unwrap();
    }
    let dropped = CacheError::NotDurable { dropped: 3, first: "on purpose".to_owned() };
    assert_eq!(cache.flush(), Err(dropped));
    for number in 0..50 {
        let is_there = matches!(cache.read(&numbered(number).identity), Lookup::Hit(_));
        assert_eq!(is_there, number >= 3, "{number}");
    }
    assert_eq!(cache.flush(), Ok(()));
}
