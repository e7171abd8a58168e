//! Writing and flushing while others do, and while the disk fails. Whole machines that stop are the conformance suite
//! `cache`'s.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use fulgurite_storage::Meddled;

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

fn meddled(
    root: &Path,
    meddler: impl Fn(&str, &Path) -> io::Result<()> + Send + Sync + 'static,
) -> DiskPipelineCache {
    let options = DiskOptions::default().storage(Arc::new(Meddled::new(meddler)));
    DiskPipelineCache::open(root, options).unwrap()
}

/// What a cache has: its payload.
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
fn what_replaces_an_entry_that_came_in_meanwhile_is_synced_before_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let (root, calls) = (folder.path().to_owned(), Arc::new(Mutex::new(Vec::new())));
    let (other, log) = (open(&root), Arc::clone(&calls));
    let cache = meddled(&root, move |what, _| {
        // After it was looked for and not found.
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
fn what_is_there_already_is_made_durable_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    // A process that ends before it flushes.
    let first = open(folder.path());
    first.write(&entry("a"), Durability::OnFlush).unwrap();
    let syncs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&syncs);
    let cache = meddled(folder.path(), move |what, _| {
        count.fetch_add(usize::from(what == "sync"), Ordering::SeqCst);
        Ok(())
    });
    assert_eq!(cache.write(&entry("a"), Durability::Immediate), Ok(Written::Unchanged));
    assert_eq!(syncs.load(Ordering::SeqCst), 1);
    assert_eq!(cache.write(&entry("a"), Durability::OnFlush), Ok(Written::Unchanged));
    cache.flush().unwrap();
    assert_eq!(syncs.load(Ordering::SeqCst), 2);
    cache.flush().unwrap();
    assert_eq!(syncs.load(Ordering::SeqCst), 2, "what is flushed is forgotten");
}

#[test]
fn an_entry_that_cannot_be_synced_is_dropped_and_said() {
    for durability in [Durability::OnFlush, Durability::Immediate] {
        for fails in ["sync", "sync_dir"] {
            let folder = tempfile::tempdir().unwrap();
            let cache = meddled(folder.path(), move |what, _| match what == fails {
                true => Err(failed()),
                false => Ok(()),
            });
            let done = cache.write(&entry("a"), durability).and_then(|_| cache.flush());
            let dropped = CacheError::NotDurable { dropped: 1, first: "on purpose".to_owned() };
            assert_eq!(done, Err(dropped), "{fails} {durability:?}");
            assert_eq!(found(&cache), None, "{fails} {durability:?}");
            assert_eq!(cache.flush(), Ok(()), "it is forgotten");
        }
    }
}

#[test]
fn a_failed_sync_does_not_take_what_replaced_the_entry_since() {
    for durability in [Durability::OnFlush, Durability::Immediate] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        let (other, fails) = (open(&root), AtomicBool::new(true));
        let target = other.path_for(&entry("").identity);
        let shard = target.parent().unwrap().to_owned();
        let cache = meddled(&root, move |what, path| {
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
fn a_second_flush_does_not_say_that_all_is_durable_before_the_first_is_through() {
    let folder = tempfile::tempdir().unwrap();
    let (begun, begins) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let may_go_on = Mutex::new(may_go_on);
    let cache = meddled(folder.path(), move |what, _| {
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
fn a_removal_that_cannot_be_made_durable_is_said_of_what_others_removed_too() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).write(&entry("a"), Durability::Immediate).unwrap();
    let cache = meddled(folder.path(), |what, _| match what {
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
