//! The cache as backends use it, on real folders.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use fulgurite_spec::Code;
use fulgurite_spec::cache::PipelineCacheMissReason as Reason;

use super::*;
use crate::identity::PipelineDeviceFingerprint;
use crate::pack::{Pack, PackWriter};

fn identity(kind: PayloadKind, name: &str) -> PipelineCacheIdentity {
    let any = PipelineDeviceFingerprint::ANY;
    PipelineCacheIdentity::new(kind, Digest::of(name.as_bytes()), Digest::ZERO, any)
}

fn open(root: &Path) -> PipelineCache {
    PipelineCache::open(CacheOptions::in_folder(root))
}

/// Finds or creates the entry `name`. Returns the miss reason if it was created.
fn ask(cache: &PipelineCache, kind: PayloadKind, name: &str) -> Option<Reason> {
    let mut made = None;
    let make = |reason| {
        made = Some(reason);
        let payload = format!("payload of {name}").into_bytes();
        Ok::<_, CacheError>(Made::Keep { artifact: Digest::ZERO, payload })
    };
    let entry = cache.find_or_make(&identity(kind, name), make).unwrap().unwrap();
    assert_eq!(entry.payload, format!("payload of {name}").into_bytes());
    made
}

const ARTIFACT: PayloadKind = PayloadKind::Artifact;
const BINARY: PayloadKind = PayloadKind::Binary;

#[test]
fn entry_is_created_once_and_found_in_each_tier() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    assert_eq!(ask(&first, ARTIFACT, "a"), Some(Reason::EmptyCache));
    assert_eq!(ask(&first, ARTIFACT, "a"), None);
    let second = open(folder.path());
    assert_eq!(ask(&second, ARTIFACT, "a"), None);
    assert_eq!(ask(&second, ARTIFACT, "b"), Some(Reason::ProgramChanged));
    assert!(second.find(&identity(ARTIFACT, "a")).is_ok());
    assert_eq!(second.find(&identity(ARTIFACT, "c")), Err(Reason::ProgramChanged));
    let counted = second.statistics();
    assert_eq!((counted.disk_hits, counted.memory_hits, counted.misses()), (1, 1, 2));
    assert_eq!(second.audit(5_000).hit_rate_basis_points, Some(5_000));
    assert!(second.notices().is_empty() && second.flush().is_ok());
}

#[test]
fn prefetched_entries_are_found_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    ask(&open(folder.path()), ARTIFACT, "a");
    let cache = open(folder.path());
    ["a", "b"].iter().for_each(|name| cache.prefetch(&identity(ARTIFACT, name)));
    assert_eq!(ask(&cache, ARTIFACT, "a"), None);
    assert!(ask(&cache, ARTIFACT, "b").is_some());
    let counted = cache.statistics();
    assert_eq!((counted.memory_hits, counted.disk_hits, counted.misses()), (1, 0, 1));
}

#[test]
fn failed_prefetch_determines_the_miss_reason() {
    let folder = tempfile::tempdir().unwrap();
    ask(&open(folder.path()), ARTIFACT, "a");
    let cache = open(folder.path());
    std::fs::write(cache.disk().unwrap().path_for(&identity(ARTIFACT, "a")), "damaged").unwrap();
    cache.prefetch(&identity(ARTIFACT, "a"));
    assert_eq!(ask(&cache, ARTIFACT, "a"), Some(Reason::Corrupt));
    cache.prefetch(&identity(ARTIFACT, "b"));
    assert_eq!(cache.find(&identity(ARTIFACT, "b")), Err(Reason::ProgramChanged));
    // The reason applies to one lookup only: an entry stored since is found.
    ask(&open(folder.path()), ARTIFACT, "b");
    assert_eq!(ask(&cache, ARTIFACT, "b"), None);
}

#[test]
fn unstorable_results_are_created_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    for _ in 0..2 {
        let mut calls = 0;
        let nothing = |_| {
            calls += 1;
            Ok::<_, CacheError>(Made::Nothing)
        };
        assert_eq!(cache.find_or_make(&identity(BINARY, "a"), nothing), Ok(None));
        assert_eq!(calls, 1);
    }
    let failing = |_| Err::<Made, _>(CacheError::ReadOnly);
    assert_eq!(cache.find_or_make(&identity(BINARY, "a"), failing), Err(CacheError::ReadOnly));
    assert!(ask(&cache, BINARY, "a").is_some());
}

#[test]
fn one_of_two_processes_creates_the_entry() {
    let folder = tempfile::tempdir().unwrap();
    let made = AtomicUsize::new(0);
    let caches = [open(folder.path()), open(folder.path())];
    std::thread::scope(|scope| {
        for cache in caches.iter().flat_map(|cache| [cache; 4]) {
            scope.spawn(|| {
                let make = |_| {
                    made.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(std::time::Duration::from_millis(50));
                    Ok::<_, CacheError>(Made::Keep { artifact: Digest::ZERO, payload: b"made".to_vec() })
                };
                let entry = cache.find_or_make(&identity(ARTIFACT, "a"), make).unwrap().unwrap();
                assert_eq!(entry.payload, b"made");
            });
        }
    });
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

#[test]
fn unusable_folder_degrades_to_memory_with_one_warning() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for root in [file.clone(), file.join("below")] {
        let cache = open(&root);
        for name in ["a", "b", "a"] {
            let _ = ask(&cache, ARTIFACT, name);
        }
        assert_eq!(cache.statistics().misses(), 2);
        let codes: Vec<_> = cache.notices().iter().map(|notice| notice.code).collect();
        assert_eq!(codes, [Code::CacheDegraded]);
    }
    let memory = PipelineCache::open(CacheOptions::memory_only());
    assert_eq!(ask(&memory, ARTIFACT, "a"), Some(Reason::EmptyCache));
    assert_eq!(ask(&memory, ARTIFACT, "a"), None);
    assert!(memory.notices().is_empty() && memory.disk().is_none());
}

#[test]
#[expect(unsafe_code, reason = "the test made the pack")]
fn layers_serve_entries_and_stay_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let (shared, own) = (folder.path().join("shared"), folder.path().join("own"));
    assert!(ask(&open(&shared), ARTIFACT, "in the folder").is_some());
    let mut pack = PackWriter::new();
    let packed = identity(ARTIFACT, "in the pack");
    pack.add(&Entry::new(packed, Digest::ZERO, b"payload of in the pack".to_vec()));
    // SAFETY: the pack's contents are never run.
    let pack = unsafe { Pack::from_bytes(pack.finish()).unwrap().trust() };
    let options = CacheOptions::in_folder(&own).layer(Layer::Folder(shared.clone())).layer(Layer::Pack(pack));
    let cache = PipelineCache::open(options.clone());
    assert_eq!(ask(&cache, ARTIFACT, "in the folder"), None);
    assert_eq!(ask(&cache, ARTIFACT, "in the pack"), None);
    assert!(ask(&cache, ARTIFACT, "in none").is_some());
    assert_eq!(cache.statistics().layer_hits, 2);
    drop(cache);
    assert!(ask(&open(&shared), ARTIFACT, "in none").is_some(), "new entries go to the cache's own folder");
    let refused = PipelineCache::open(options.layer(Layer::Folder(folder.path().join("nowhere"))));
    assert_eq!(refused.notices().len(), 1);
    assert_eq!(ask(&refused, ARTIFACT, "in none"), None);
}

#[test]
fn rejected_entry_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    let id = identity(BINARY, "a");
    ask(&cache, BINARY, "a");
    let entry = cache.find(&id).unwrap();
    cache.refuse(&entry);
    cache.keep(&id, Digest::ZERO, b"new".to_vec());
    assert_eq!(cache.find(&id).unwrap().payload, b"new");
    assert_eq!(open(folder.path()).find(&id).unwrap().payload, b"new");
    assert_eq!(cache.statistics().missed(Reason::DeviceOrRuntimeChanged), 1);
}

/// Simulates the end of a process during the driver call `during`.
fn die(root: &Path, during: impl FnOnce(&PipelineCache)) {
    let cache = open(root);
    during(&cache);
    // Files are closed and memory is gone, without any cleanup.
    cache.marks.as_ref().unwrap().abandon();
}

#[test]
fn suspected_binary_is_skipped_once_then_condemned() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    ask(&open(root), BINARY, "a");
    ask(&open(root), ARTIFACT, "a");
    let crash = |root: &Path| {
        die(root, |cache| {
            let entry = cache.find(&identity(BINARY, "a")).unwrap();
            cache.load(&entry, |_| cache.marks.as_ref().unwrap().freeze());
        });
    };
    crash(root);
    let second = open(root);
    assert_eq!(second.suspects(), (1, 0));
    assert_eq!(ask(&second, ARTIFACT, "a"), None, "artifacts are never suspected");
    assert_eq!(ask(&second, BINARY, "a"), Some(Reason::Suspect));
    drop(second);
    assert_eq!(ask(&open(root), BINARY, "a"), None, "skipped once, and still stored");
    crash(root);
    assert_eq!(ask(&open(root), BINARY, "a"), Some(Reason::Suspect));
    let later = open(root);
    assert!(ask(&later, BINARY, "a").is_some(), "the condemned bytes are not stored again");
    assert_eq!(later.disk().unwrap().stats().unwrap().quarantined.entries, 1);
}

#[test]
fn compile_with_three_deaths_is_a_typed_error() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let program = Digest::of(b"program");
    for _ in 0..3 {
        assert_eq!(open(root).suspects().1, usize::from(root.join("marks").exists()));
        die(root, |cache| {
            cache.compile(program, || cache.marks.as_ref().unwrap().freeze()).unwrap();
        });
    }
    let error = open(root).compile(program, || panic!("compile called despite the ban")).unwrap_err();
    let bans = open(root).bans();
    assert_eq!((error.code(), bans.len()), (Code::CompileBanned, 1));
    assert_eq!(error, CacheError::Banned(Box::new(bans[0].clone())));
    assert_eq!(bans[0].deaths, 3);
    assert_eq!(open(root).compile(Digest::of(b"other"), || 7), Ok(7));
    open(root).disk().unwrap().clear().unwrap();
    assert_eq!(open(root).compile(program, || 7), Ok(7), "clearing the cache lifts the ban");
    assert!(!open(root).lift(program));
}

#[test]
fn suspect_is_skipped_for_the_process_lifetime() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    ask(&open(root), BINARY, "a");
    die(root, |cache| {
        let entry = cache.find(&identity(BINARY, "a")).unwrap();
        cache.load(&entry, |_| cache.marks.as_ref().unwrap().freeze());
    });
    let second = open(root);
    second.prefetch(&identity(BINARY, "a"));
    for _ in 0..2 {
        assert_eq!(second.find(&identity(BINARY, "a")), Err(Reason::Suspect));
    }
    assert_eq!(ask(&second, BINARY, "a"), Some(Reason::Suspect));
    drop(second);
    assert_eq!(ask(&open(root), BINARY, "a"), None, "the next process tries it again");
}

/// The entries of a kernel: the kernel, two lowered forms, and two devices' binaries of one of them.
fn entries_of(name: &str) -> Vec<Entry> {
    let kernel = Digest::of(name.as_bytes());
    let any = PipelineDeviceFingerprint::ANY;
    let id = |kind, program, policy: &str, device| {
        PipelineCacheIdentity::new(kind, program, Digest::of(policy.as_bytes()), device)
    };
    let own = PipelineCacheIdentity::new(PayloadKind::Kernel, kernel, Digest::ZERO, any);
    let lowered = |policy: &str| {
        let words = format!("{name} {policy}").into_bytes();
        Entry::new(id(ARTIFACT, kernel, policy, any), Digest::ZERO, words)
    };
    let made = |device: &str, from: &Entry| {
        let parts = crate::DeviceParts { backend: device, ..Default::default() };
        let program = Digest::of(format!("key of {name}").as_bytes());
        let device = PipelineDeviceFingerprint::from_parts(&parts);
        Entry::new(id(BINARY, program, "flags", device), from.artifact, device.digest().as_bytes().to_vec())
    };
    let (fast, plain) = (lowered("fast"), lowered("plain"));
    let binaries = [made("one", &fast), made("two", &fast)];
    [Entry::new(own, Digest::ZERO, name.as_bytes().to_vec()), fast, plain]
        .into_iter()
        .chain(binaries)
        .collect()
}

fn keep_all(cache: &PipelineCache, entries: &[Entry]) {
    for entry in entries {
        cache.keep(&entry.identity, entry.artifact, entry.payload.clone());
    }
}

#[test]
fn invalidating_a_kernel_removes_exactly_its_entries() {
    let folder = tempfile::tempdir().unwrap();
    let (gone, other) = (entries_of("gone"), entries_of("other"));
    let kernel = Digest::of(b"gone");
    keep_all(&open(folder.path()), &[gone.clone(), other.clone()].concat());
    let cache = open(folder.path());
    // One of them is also in memory.
    cache.find(&gone[3].identity).unwrap();
    let report = cache.invalidate_kernel(&kernel).unwrap();
    assert_eq!((report.removed, report.forgotten, report.absent, report.layered), (5, 1, 0, 0));
    assert!(report.failed.is_empty());
    for cache in [&cache, &open(folder.path())] {
        for entry in &gone {
            assert_eq!(cache.find(&entry.identity), Err(Reason::Evicted), "{}", entry.identity.kind());
        }
        for entry in &other {
            assert_eq!(*cache.find(&entry.identity).unwrap(), *entry);
        }
    }
    assert_eq!(cache.invalidate_kernel(&kernel).unwrap(), InvalidateReport::default());
    // Without the index, more entries are read, with the same result.
    std::fs::remove_file(folder.path().join("index.log")).unwrap();
    assert_eq!(open(folder.path()).invalidate_kernel(&Digest::of(b"other")).unwrap().removed, 5);
}

#[test]
fn entries_are_invalidated_by_digest_in_memory_too() {
    let memory = PipelineCache::open(CacheOptions::memory_only());
    let all = entries_of("a");
    keep_all(&memory, &all);
    let digest = all[0].identity.digest();
    let report = memory.invalidate(&[digest, Digest::ZERO]).unwrap();
    assert_eq!((report.removed, report.forgotten, report.absent), (0, 1, 2));
    assert!(memory.find(&all[0].identity).is_err() && memory.find(&all[1].identity).is_ok());
    assert_eq!(memory.invalidate_kernel(&Digest::of(b"a")).unwrap().forgotten, 4);
    assert!(all.iter().all(|entry| memory.find(&entry.identity).is_err()));
}

/// Wraps one entry in a pack, as a layer.
#[expect(unsafe_code, reason = "the test made the pack")]
fn packed(entry: &Entry) -> Layer {
    let mut pack = PackWriter::new();
    pack.add(entry);
    // SAFETY: the pack's contents are never run.
    Layer::Pack(unsafe { Pack::from_bytes(pack.finish()).unwrap().trust() })
}

#[test]
fn layer_entries_are_reported_and_lead_to_derived_entries() {
    let folder = tempfile::tempdir().unwrap();
    let all = entries_of("a");
    let options = CacheOptions::in_folder(folder.path().join("own"));
    let cache = PipelineCache::open(options.layer(packed(&all[1])));
    // Only the pack has the artifacts.
    keep_all(&cache, &all[3..]);
    let report = cache.invalidate_kernel(&Digest::of(b"a")).unwrap();
    assert_eq!((report.removed, report.absent, report.layered), (2, 1, 1));
    assert!(cache.find(&all[1].identity).is_ok() && cache.find(&all[3].identity).is_err());
}

#[test]
fn read_only_folder_refuses_invalidation() {
    let folder = tempfile::tempdir().unwrap();
    let all = entries_of("a");
    keep_all(&open(folder.path()), &all);
    let options = CacheOptions::in_folder(folder.path()).disk(DiskOptions::default().read_only());
    let cache = PipelineCache::open(options);
    assert_eq!(cache.invalidate_kernel(&Digest::of(b"a")), Err(CacheError::ReadOnly));
    assert!(cache.find(&all[0].identity).is_ok());
}

#[test]
fn entries_report_their_tier() {
    use fulgurite_spec::cache::CacheTier;
    let folder = tempfile::tempdir().unwrap();
    let all = entries_of("a");
    keep_all(&open(folder.path()), &all[..2]);
    let cache = PipelineCache::open(CacheOptions::in_folder(folder.path()).layer(packed(&all[2])));
    cache.prefetch(&all[1].identity);
    let tier = |at: usize| cache.trace(&all[at].identity).map(|found| found.tier);
    for _ in 0..2 {
        assert_eq!([tier(0), tier(1)], [Ok(CacheTier::Disk); 2], "including prefetched entries");
        assert_eq!(tier(2), Ok(CacheTier::Layer));
    }
    let made = |_| Ok::<_, CacheError>(Made::Keep { artifact: all[1].artifact, payload: b"made".to_vec() });
    for _ in 0..2 {
        let found = cache.trace_or_make(&all[3].identity, made).unwrap().unwrap();
        assert_eq!((found.tier, found.entry.artifact), (CacheTier::Memory, all[1].artifact));
    }
    let counted = cache.statistics();
    assert_eq!((counted.memory_hits, counted.disk_hits, counted.layer_hits), (5, 1, 1));
}
