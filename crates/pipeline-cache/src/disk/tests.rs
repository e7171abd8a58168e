//! The disk tier on a real folder. The conformance suite `cache` covers failing disks.

use crate::entry::TEMPORARY;
use std::fs;
use std::time::{Duration, SystemTime};

use fulgurite_spec::Code;
use fulgurite_spec::cache::PipelineCacheMissReason as Reason;

use super::*;
use crate::entry::HEADER_BYTES;
use crate::identity::{PayloadKind, PipelineDeviceFingerprint};
use crate::pack::Pack;

fn entry_of(kind: PayloadKind, name: &str, payload: &[u8]) -> Entry {
    let any = PipelineDeviceFingerprint::ANY;
    let identity = PipelineCacheIdentity::new(kind, Digest::of(name.as_bytes()), Digest::ZERO, any);
    Entry::new(identity, Digest::of(b"artifact"), payload.to_vec())
}

fn entry(name: &str) -> Entry {
    entry_of(PayloadKind::Artifact, name, name.as_bytes())
}

fn open(root: &Path) -> DiskPipelineCache {
    DiskPipelineCache::open(root, DiskOptions::default()).unwrap()
}

fn hit(cache: &DiskPipelineCache, entry: &Entry) -> bool {
    match cache.read(&entry.identity) {
        Lookup::Hit(found) => {
            assert_eq!(*found, *entry);
            true
        }
        Lookup::Miss(_) => false,
    }
}

fn why(cache: &DiskPipelineCache, entry: &Entry) -> Reason {
    match cache.read(&entry.identity) {
        Lookup::Hit(_) => panic!("unexpected hit"),
        Lookup::Miss(reason) => reason,
    }
}

/// Returns the paths and contents of all files below a folder.
fn files(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for found in fs::read_dir(root).unwrap().map(|found| found.unwrap().path()) {
        if found.is_dir() {
            all.extend(files(&found));
        } else {
            all.push((found.clone(), fs::read(&found).unwrap()));
        }
    }
    all.sort();
    all
}

#[test]
fn written_entries_are_read_by_other_processes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("a/b");
    let first = open(&root);
    for (name, durability) in [("now", Durability::Immediate), ("later", Durability::OnFlush)] {
        let entry = entry(name);
        assert_eq!(
            why(&first, &entry),
            if name == "now" { Reason::EmptyCache } else { Reason::ProgramChanged }
        );
        assert_eq!(first.write(&entry, durability), Ok(Written::New));
        assert_eq!(first.write(&entry, durability), Ok(Written::Unchanged));
        assert!(hit(&first, &entry) && hit(&open(&root), &entry));
        let digest = entry.identity.digest().to_string();
        assert_eq!(first.path_for(&entry.identity), root.join(&digest[..2]).join(format!("{digest}.bin")));
    }
    first.flush().unwrap();
    // Replaces the existing entry.
    let other = entry_of(PayloadKind::Artifact, "now", b"other");
    assert_eq!(first.write(&other, Durability::OnFlush), Ok(Written::New));
    assert!(hit(&open(&root), &other));
    first.close().unwrap();
    assert!(files(&root).iter().all(|(path, _)| !path.to_string_lossy().contains(TEMPORARY)));
}

#[test]
fn flush_ignores_removed_entries() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    cache.write(&entry("a"), Durability::OnFlush).unwrap();
    cache.write(&entry("b"), Durability::OnFlush).unwrap();
    fs::remove_file(cache.path_for(&entry("a").identity)).unwrap();
    assert_eq!(cache.flush(), Ok(()));
    assert!(!hit(&cache, &entry("a")) && hit(&cache, &entry("b")));
}

#[test]
fn oversized_entry_is_a_typed_error_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cache = DiskPipelineCache::open(folder.path(), DiskOptions::default().max_entry_bytes(300)).unwrap();
    let error =
        cache.write(&entry_of(PayloadKind::Binary, "a", &[0; 77]), Durability::Immediate).unwrap_err();
    assert_eq!(error, CacheError::TooLarge { bytes: 301, most: 300 });
    assert_eq!(error.code(), Code::CacheEntryTooLarge);
    assert!(files(folder.path()).is_empty());
    assert!(cache.write(&entry_of(PayloadKind::Binary, "a", &[0; 76]), Durability::Immediate).is_ok());
    // An entry written by a process with a larger limit is corrupt here.
    open(folder.path()).write(&entry_of(PayloadKind::Binary, "b", &[0; 99]), Durability::Immediate).unwrap();
    assert_eq!(why(&cache, &entry_of(PayloadKind::Binary, "b", &[0; 99])), Reason::Corrupt);
}

#[test]
fn read_only_cache_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).write(&entry("good"), Durability::Immediate).unwrap();
    let bad = open(folder.path()).path_for(&entry("bad").identity);
    fs::create_dir_all(bad.parent().unwrap()).unwrap();
    fs::write(&bad, "damaged").unwrap();
    let old = SystemTime::now() - Duration::from_secs(7200);
    let good = open(folder.path()).path_for(&entry("good").identity);
    fs::File::options().write(true).open(&good).unwrap().set_modified(old).unwrap();
    let before = files(folder.path());
    let cache = DiskPipelineCache::open(folder.path(), DiskOptions::default().read_only()).unwrap();
    assert!(hit(&cache, &entry("good")));
    assert_eq!(why(&cache, &entry("bad")), Reason::Corrupt);
    assert_eq!(cache.write(&entry("new"), Durability::Immediate), Err(CacheError::ReadOnly));
    assert_eq!(cache.gc(Some(0)).unwrap_err(), CacheError::ReadOnly);
    assert_eq!(cache.clear().unwrap_err(), CacheError::ReadOnly);
    assert_eq!(cache.invalidate(&[], &[]).unwrap_err(), CacheError::ReadOnly);
    let report = cache.verify(&mut |_, _| ()).unwrap();
    assert_eq!((report.good.entries, report.corrupt.len()), (1, 1));
    assert_eq!(files(folder.path()), before);
    assert_eq!(fs::metadata(&good).unwrap().modified().unwrap(), old);
    let nowhere = DiskPipelineCache::open(&folder.path().join("none"), DiskOptions::default().read_only());
    assert!(nowhere.is_err());
}

#[test]
fn invalidation_reports_each_outcome() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    let all = ["a", "b", "c", "d"].map(entry);
    all[..3].iter().for_each(|entry| assert!(cache.write(entry, Durability::Immediate).is_ok()));
    let digests = all.each_ref().map(|entry| entry.identity.digest());
    let error = cache.invalidate(&[true], &digests).unwrap_err();
    assert_eq!(
        (error.code(), &error),
        (Code::CacheSelection, &CacheError::Selection { mask: 1, digests: 4 })
    );
    // A folder in the place of an entry cannot be removed as a file.
    let stuck = cache.path_for(&all[1].identity);
    fs::remove_file(&stuck).unwrap();
    fs::create_dir(&stuck).unwrap();
    let report = cache.invalidate(&[true, true, false, true], &digests).unwrap();
    assert_eq!((report.removed, report.absent), (1, 1));
    assert_eq!(report.failed.iter().map(|(digest, _)| *digest).collect::<Vec<_>>(), [digests[1]]);
    assert_eq!(why(&cache, &all[0]), Reason::Evicted);
    assert!(hit(&cache, &all[2]));
    assert_eq!(why(&cache, &all[1]), Reason::Unreadable);
}

/// Sets the last use of an entry to `seconds` ago, or into the future if negative.
fn age(cache: &DiskPipelineCache, entry: &Entry, seconds: i64) {
    let step = Duration::from_secs(seconds.unsigned_abs());
    let now = SystemTime::now();
    let time = if seconds < 0 { now + step } else { now - step };
    let file = fs::File::options().write(true).open(cache.path_for(&entry.identity)).unwrap();
    file.set_modified(time).unwrap();
}

#[test]
fn least_recently_used_entries_are_evicted_first() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    // 1,000 bytes each.
    let all: Vec<_> = (0..10)
        .map(|i| entry_of(PayloadKind::Binary, &i.to_string(), &vec![i; 1000 - HEADER_BYTES]))
        .collect();
    for (entry, hours) in all.iter().zip([9i64, 1, 5, 3, -50, 7, 2, 8, 4, 6]) {
        cache.write(entry, Durability::OnFlush).unwrap();
        age(&cache, entry, hours * 3600);
    }
    // Reading updates the last use, and times in the future count as now.
    assert!(hit(&cache, &all[0]) && hit(&cache, &all[4]));
    let in_place = fs::metadata(cache.path_for(&all[4].identity)).unwrap().modified().unwrap();
    assert!(in_place <= SystemTime::now(), "a time in the future is replaced");
    let report = cache.gc(Some(5000)).unwrap();
    assert_eq!((report.before.entries, report.before.bytes), (10, 10_000));
    assert_eq!((report.evicted.entries, report.evicted.bytes), (6, 6000), "down to nine tenths");
    let left: Vec<usize> = (0..10).filter(|i| hit(&cache, &all[*i])).collect();
    assert_eq!(left, [0, 1, 4, 6], "read just now, 1 hour, read just now, 2 hours");
    assert_eq!(why(&cache, &all[7]), Reason::Evicted);
    assert_eq!(cache.gc(Some(5000)).unwrap().evicted.entries, 0);
    assert_eq!(cache.gc(None).unwrap().before.entries, 4);
}

#[test]
fn writing_keeps_the_folder_within_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let cache = DiskPipelineCache::open(folder.path(), DiskOptions::default().max_bytes(32_000)).unwrap();
    for i in 0..100u32 {
        let payload = vec![7; 1000 - HEADER_BYTES];
        cache.write(&entry_of(PayloadKind::Binary, &i.to_string(), &payload), Durability::OnFlush).unwrap();
        // The limit, plus the bytes written before the next trim.
        assert!(cache.stats().unwrap().all.bytes <= 32_000 + 3_000);
    }
}

#[test]
fn temporary_files_of_dead_processes_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    cache.write(&entry("a"), Durability::Immediate).unwrap();
    let shard = cache.path_for(&entry("a").identity).parent().unwrap().to_owned();
    let living = FileSystem.create(&shard.join(".tmp-living")).unwrap();
    drop(FileSystem.create(&shard.join(".tmp-dead")).unwrap());
    fs::write(shard.join("no entry.bin"), "left alone").unwrap();
    assert_eq!(cache.stats().unwrap().temporary.entries, 2);
    assert_eq!(cache.gc(None).unwrap().temporary, 1);
    assert!(shard.join(".tmp-living").exists() && !shard.join(".tmp-dead").exists());
    drop(living);
    assert_eq!(cache.gc(None).unwrap().temporary, 1);
    assert!(shard.join("no entry.bin").exists() && hit(&cache, &entry("a")));
}

#[test]
fn one_process_at_a_time_trims_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    cache.write(&entry("a"), Durability::Immediate).unwrap();
    let path = folder.path().join("locks/evict.lock");
    let held = FileSystem.try_lock(&path, fulgurite_storage::Missing::Create).unwrap();
    let report = cache.gc(Some(0)).unwrap();
    assert!(report.is_busy && hit(&cache, &entry("a")));
    drop(held);
    assert_eq!(cache.gc(Some(0)).unwrap().evicted.entries, 1);
}

#[test]
fn damaged_entries_are_quarantined_up_to_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    for i in 0..5 {
        assert!(!cache.is_off());
        let entry = entry(&i.to_string());
        cache.write(&entry, Durability::Immediate).unwrap();
        let path = cache.path_for(&entry.identity);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(why(&cache, &entry), Reason::Corrupt);
        assert!(!path.exists());
    }
    assert!(cache.is_off());
    assert_eq!(cache.write(&entry("more"), Durability::Immediate), Err(CacheError::SwitchedOff));
    assert_eq!(why(&cache, &entry("0")), Reason::KeyAbsent);
    let said: Vec<_> = cache.notices.read().iter().map(|notice| notice.code).collect();
    assert_eq!(said, [Code::CacheSwitchedOff]);
    let other = open(folder.path());
    assert_eq!(other.stats().unwrap().quarantined.entries, 5);
    assert_eq!(other.write(&entry("0"), Durability::Immediate), Ok(Written::New), "for this process only");
    for i in 0..40 {
        let path = other.path_for(&entry(&i.to_string()).identity);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "damaged").unwrap();
    }
    let found = other.verify(&mut |_, _| ()).unwrap();
    assert_eq!((found.corrupt.len(), found.good.entries), (40, 0));
    assert_eq!(other.stats().unwrap().quarantined.entries, 32, "the quarantine is bounded");
}

#[test]
fn undamaged_replacement_is_not_quarantined() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    let good = entry("a");
    cache.write(&good, Durability::Immediate).unwrap();
    // As if this process had read a damaged entry that another has replaced since.
    cache.put_aside(&good.identity, &cache.path_for(&good.identity));
    assert!(hit(&cache, &good));
    assert!(!cache.evict(&good.identity.digest(), SystemTime::UNIX_EPOCH), "it was used after that time");
    assert!(hit(&cache, &good));
}

#[test]
fn foreign_and_swapped_files_are_not_entries() {
    let folder = tempfile::tempdir().unwrap();
    let cache = DiskPipelineCache::open(folder.path(), DiskOptions::default().max_quarantined(99)).unwrap();
    let [a, b] = ["a", "b"].map(entry);
    for entry in [&a, &b] {
        cache.write(entry, Durability::Immediate).unwrap();
    }
    let [path_a, path_b] = [&a, &b].map(|entry| cache.path_for(&entry.identity));
    fs::copy(&path_a, &path_b).unwrap();
    assert_eq!(why(&cache, &b), Reason::Corrupt);
    let mut other_format = fs::read(&path_a).unwrap();
    other_format[8] += 1;
    for (bytes, reason) in [
        (Vec::new(), Reason::Corrupt),
        (b"#!/bin/sh\n".to_vec(), Reason::Corrupt),
        (other_format, Reason::FormatChanged),
    ] {
        fs::write(&path_a, bytes).unwrap();
        assert_eq!(why(&cache, &a), reason);
        assert_eq!(cache.write(&a, Durability::OnFlush), Ok(Written::New));
        assert!(hit(&cache, &a));
    }
}

#[test]
#[cfg(unix)]
fn link_is_not_followed_and_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(&folder.path().join("cache"));
    let good = entry("a");
    cache.write(&good, Durability::Immediate).unwrap();
    let path = cache.path_for(&good.identity);
    let elsewhere = folder.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    assert_eq!(why(&cache, &good), Reason::Unreadable);
    assert_eq!(cache.write(&good, Durability::OnFlush), Ok(Written::New));
    assert!(hit(&cache, &good) && !fs::symlink_metadata(&path).unwrap().is_symlink());
    assert!(elsewhere.exists());
}

/// After a folder was checked and opened, another takes its path: entries are read from and written to the one that was
/// checked.
#[test]
#[cfg(unix)]
fn folder_that_takes_the_path_of_an_open_one_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let [root, moved, planted] = ["cache", "moved", "planted"].map(|name| folder.path().join(name));
    let (good, absent) = (entry("a"), entry("b"));
    let cache = open(&root);
    cache.write(&good, Durability::Immediate).unwrap();
    let foreign = open(&planted);
    let evil = Entry::new(good.identity, Digest::ZERO, b"evil".to_vec());
    assert_eq!(foreign.write(&evil, Durability::Immediate), Ok(Written::New));
    assert_eq!(foreign.write(&absent, Durability::Immediate), Ok(Written::New));
    drop(foreign);
    let before = files(&planted);
    fs::rename(&root, &moved).unwrap();
    std::os::unix::fs::symlink(&planted, &root).unwrap();
    assert!(hit(&cache, &good), "what was written before");
    why(&cache, &absent);
    let new = entry("c");
    assert_eq!(cache.write(&new, Durability::OnFlush), Ok(Written::New));
    cache.flush().unwrap();
    cache.invalidate(&[true], &[good.identity.digest()]).unwrap();
    assert_eq!(files(&planted), before);
    drop(cache);
    let after = open(&moved);
    assert!(hit(&after, &new) && !hit(&after, &good));
    assert!(DiskPipelineCache::open(&root, DiskOptions::default()).is_err(), "it is a link now");
}

#[test]
#[cfg(unix)]
fn untrusted_folder_is_refused() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let folder = tempfile::tempdir().unwrap();
    let [file, link, shared] = ["file", "link", "shared"].map(|name| folder.path().join(name));
    fs::write(&file, "").unwrap();
    fs::create_dir(&shared).unwrap();
    symlink(&shared, &link).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();
    for root in [&file, &link, &shared, Path::new("relative")] {
        let error = DiskPipelineCache::open(root, DiskOptions::default()).err().unwrap();
        assert_eq!(error.code(), Code::CacheDegraded, "{error}");
    }
    let inside = shared.join("own");
    let _own = open(&inside);
    assert_eq!(fs::metadata(&inside).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
#[expect(unsafe_code, reason = "the test made the pack")]
fn packs_export_and_import_entries_but_code_only_if_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (open(&folder.path().join("here")), open(&folder.path().join("there")));
    let kinds = [(PayloadKind::Kernel, "k"), (PayloadKind::Tuned, "t"), (PayloadKind::Binary, "c")];
    let [kernel, tuned, binary] = kinds.map(|(kind, name)| entry_of(kind, name, name.as_bytes()));
    let all = [entry("a"), entry("b"), kernel, tuned, binary];
    all.iter().for_each(|entry| assert!(here.write(entry, Durability::OnFlush).is_ok()));
    fs::write(here.path_for(&entry("damaged").identity).with_file_name("x.bin"), "no").unwrap_or(());
    let pack = Pack::from_bytes(here.export(&|_| true).unwrap()).unwrap();
    assert_eq!(pack.len(), 5);
    let report = there.import(&pack).unwrap();
    assert_eq!((report.added, report.unchanged, report.untrusted), (2, 0, 3));
    assert!(all.iter().map(|entry| hit(&there, entry)).eq([false, false, true, true, false]));
    // SAFETY: the pack's contents are never run.
    let trusted = unsafe { pack.trust() };
    let report = there.import_trusted(&trusted).unwrap();
    assert_eq!((report.added, report.unchanged, report.untrusted), (3, 2, 0));
    assert!(all.iter().all(|entry| hit(&there, entry)));
    let only = here.export(&|entry| entry.identity.kind() == PayloadKind::Binary).unwrap();
    assert_eq!(Pack::from_bytes(only).unwrap().len(), 1);
    let stats = there.stats().unwrap();
    assert_eq!(stats.all.entries, 5);
    assert_eq!(stats.by_kind[&PayloadKind::Artifact].entries, 2);
    assert_eq!(stats.unknown.entries, 0);
    let cleared = there.clear().unwrap();
    assert_eq!((cleared.removed, cleared.failed), (5, Vec::new()));
    assert_eq!(there.stats().unwrap().all.entries, 0);
    assert_eq!(why(&there, &all[0]), Reason::EmptyCache);
}

#[test]
fn losing_the_index_loses_only_miss_reasons() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    cache.write(&entry("a"), Durability::Immediate).unwrap();
    fs::remove_file(folder.path().join("index.log")).unwrap();
    let other = open(folder.path());
    assert!(hit(&other, &entry("a")));
    assert_eq!(why(&other, &entry("b")), Reason::KeyAbsent);
    assert_eq!(other.stats().unwrap().unknown.entries, 1);
    assert_eq!(other.export(&|_| true).map(|pack| Pack::from_bytes(pack).unwrap().len()), Ok(1));
}

#[test]
fn a_poisoned_lock_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    cache.write(&entry("a"), Durability::Immediate).unwrap();
    std::thread::scope(|scope| {
        let poisoned = scope.spawn(|| {
            let _held = cache.state.lock().unwrap();
            panic!("on purpose");
        });
        assert!(poisoned.join().is_err());
    });
    assert_eq!(cache.flush().unwrap_err().code(), Code::CachePoisoned);
    assert_eq!(cache.write(&entry("b"), Durability::OnFlush), Err(CacheError::Poisoned));
    assert_eq!(cache.stats().unwrap_err(), CacheError::Poisoned);
    assert!(hit(&cache, &entry("a")), "entries are still read");
    assert_eq!(why(&cache, &entry("c")), Reason::KeyAbsent);
}

#[test]
fn many_threads_and_caches_share_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8u8 {
            let root = folder.path();
            scope.spawn(move || {
                let cache = open(root);
                for round in 0..40u8 {
                    let entry = entry(&((thread + round) % 11).to_string());
                    match round % 4 {
                        0 => assert!(cache.write(&entry, Durability::OnFlush).is_ok()),
                        1 => assert!(hit(&cache, &entry) || !cache.is_off()),
                        2 => assert!(cache.invalidate(&[true], &[entry.identity.digest()]).is_ok()),
                        _ => cache.flush().unwrap(),
                    }
                }
            });
        }
    });
    let cache = open(folder.path());
    let found = cache.verify(&mut |_, _| ()).unwrap();
    assert!(found.corrupt.is_empty() && found.unreadable.is_empty());
    assert_eq!(cache.stats().unwrap().all.entries, found.good.entries);
    assert_eq!(cache.stats().unwrap().temporary.entries, 0);
}

#[test]
fn short_lived_processes_keep_the_folder_within_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..150u32 {
        let cache = DiskPipelineCache::open(folder.path(), DiskOptions::default().max_bytes(32_000)).unwrap();
        let payload = vec![7; 1000 - HEADER_BYTES];
        cache.write(&entry_of(PayloadKind::Binary, &i.to_string(), &payload), Durability::OnFlush).unwrap();
        // About every other process trims, so thirty in a row that do not are no accident.
        assert!(cache.stats().unwrap().all.bytes <= 32_000 + 30_000, "after {i}");
    }
}

#[test]
fn temporary_logs_of_dead_processes_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    let living = FileSystem.create(&folder.path().join(".tmp-living")).unwrap();
    drop(FileSystem.create(&folder.path().join(".tmp-dead")).unwrap());
    assert_eq!(cache.stats().unwrap().temporary.entries, 2);
    assert_eq!(cache.gc(None).unwrap().temporary, 1);
    drop(living);
    assert_eq!(cache.gc(None).unwrap().temporary, 1);
}

#[test]
fn oversized_index_is_restarted() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    cache.write(&entry("a"), Durability::Immediate).unwrap();
    let index = folder.path().join("index.log");
    fs::File::options().write(true).open(&index).unwrap().set_len(65 << 20).unwrap();
    let other = open(folder.path());
    assert_eq!(why(&other, &entry("b")), Reason::KeyAbsent);
    other.gc(None).unwrap();
    assert!(fs::metadata(&index).map_or(0, |info| info.len()) < 1000);
    assert!(hit(&other, &entry("a")));
}

#[test]
fn replacement_of_a_condemned_entry_stays() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    let (bad, good) =
        (entry_of(PayloadKind::Binary, "a", b"bad"), entry_of(PayloadKind::Binary, "a", b"good"));
    cache.write(&good, Durability::Immediate).unwrap();
    cache.condemn(&bad);
    assert!(hit(&cache, &good));
    cache.condemn(&good);
    assert_eq!(cache.read(&good.identity), Lookup::Miss(Reason::KeyAbsent));
    assert_eq!(cache.stats().unwrap().quarantined.entries, 1);
}
