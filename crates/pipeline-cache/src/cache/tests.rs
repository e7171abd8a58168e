//! The cache as a backend uses it, on real folders.

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

/// Finds or makes the entry called `name`: whether it was made, and why.
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
fn an_entry_is_made_once_and_found_in_each_tier() {
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
fn what_is_read_ahead_is_found_in_memory() {
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
fn why_something_could_not_be_read_ahead_is_the_reason_of_the_miss() {
    let folder = tempfile::tempdir().unwrap();
    ask(&open(folder.path()), ARTIFACT, "a");
    let cache = open(folder.path());
    std::fs::write(cache.disk().unwrap().path_for(&identity(ARTIFACT, "a")), "damaged").unwrap();
    cache.prefetch(&identity(ARTIFACT, "a"));
    assert_eq!(ask(&cache, ARTIFACT, "a"), Some(Reason::Corrupt));
    cache.prefetch(&identity(ARTIFACT, "b"));
    assert_eq!(cache.find(&identity(ARTIFACT, "b")), Err(Reason::ProgramChanged));
    // It is that of one lookup: what is kept since is found.
    ask(&open(folder.path()), ARTIFACT, "b");
    assert_eq!(ask(&cache, ARTIFACT, "b"), None);
}

#[test]
fn what_cannot_be_kept_is_made_each_time() {
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
fn of_two_processes_one_makes_it() {
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
fn without_a_folder_it_goes_on_in_memory_and_says_so_once() {
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
fn layers_serve_and_are_left_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let (shared, own) = (folder.path().join("shared"), folder.path().join("own"));
    assert!(ask(&open(&shared), ARTIFACT, "in the folder").is_some());
    let mut pack = PackWriter::new();
    let packed = identity(ARTIFACT, "in the pack");
    pack.add(&Entry::new(packed, Digest::ZERO, b"payload of in the pack".to_vec()));
    // SAFETY: nothing of it is ever run.
    let pack = unsafe { Pack::from_bytes(pack.finish()).unwrap().trust() };
    let options = CacheOptions::in_folder(&own).layer(Layer::Folder(shared.clone())).layer(Layer::Pack(pack));
    let cache = PipelineCache::open(options.clone());
    assert_eq!(ask(&cache, ARTIFACT, "in the folder"), None);
    assert_eq!(ask(&cache, ARTIFACT, "in the pack"), None);
    assert!(ask(&cache, ARTIFACT, "in none").is_some());
    assert_eq!(cache.statistics().layer_hits, 2);
    drop(cache);
    assert!(ask(&open(&shared), ARTIFACT, "in none").is_some(), "what is made goes to the own folder");
    let refused = PipelineCache::open(options.layer(Layer::Folder(folder.path().join("nowhere"))));
    assert_eq!(refused.notices().len(), 1);
    assert_eq!(ask(&refused, ARTIFACT, "in none"), None);
}

#[test]
fn a_refused_entry_is_replaced() {
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

/// Ends a process while its driver has what `during` hands it.
fn die(root: &Path, during: impl FnOnce(&PipelineCache)) {
    let cache = open(root);
    during(&cache);
    // Its files are closed and its memory is gone, but nothing is cleaned up.
    cache.marks.as_ref().unwrap().abandon();
}

#[test]
fn a_binary_that_a_process_ended_with_is_left_out_once_and_then_for_good() {
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
    assert_eq!(ask(&second, ARTIFACT, "a"), None, "what no driver reads is not suspected");
    assert_eq!(ask(&second, BINARY, "a"), Some(Reason::Suspect));
    drop(second);
    assert_eq!(ask(&open(root), BINARY, "a"), None, "it was left out once, and kept");
    crash(root);
    assert_eq!(ask(&open(root), BINARY, "a"), Some(Reason::Suspect));
    let later = open(root);
    assert!(ask(&later, BINARY, "a").is_some(), "those very bytes are not kept again");
    assert_eq!(later.disk().unwrap().stats().unwrap().quarantined.entries, 1);
}

#[test]
fn a_compile_that_three_processes_ended_with_is_a_typed_error() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let program = Digest::of(b"program");
    for _ in 0..3 {
        assert_eq!(open(root).suspects().1, usize::from(root.join("marks").exists()));
        die(root, |cache| {
            cache.compile(program, || cache.marks.as_ref().unwrap().freeze()).unwrap();
        });
    }
    let error = open(root).compile(program, || panic!("it is not asked")).unwrap_err();
    let bans = open(root).bans();
    assert_eq!((error.code(), bans.len()), (Code::CompileBanned, 1));
    assert_eq!(error, CacheError::Banned(Box::new(bans[0].clone())));
    assert_eq!(bans[0].deaths, 3);
    assert_eq!(open(root).compile(Digest::of(b"other"), || 7), Ok(7));
    open(root).disk().unwrap().clear().unwrap();
    assert_eq!(open(root).compile(program, || 7), Ok(7), "clearing the cache gives it another try");
    assert!(!open(root).lift(program));
}

#[test]
fn a_suspect_is_left_out_as_long_as_the_process_lasts() {
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
    assert_eq!(ask(&open(root), BINARY, "a"), None, "the next process tries it once more");
}

/// A kernel's entries: itself, two lowered forms, and of one of them what two devices made of it.
fn family_of(name: &str) -> Vec<Entry> {
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
fn invalidating_a_kernel_removes_all_that_was_made_of_it_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (gone, other) = (family_of("gone"), family_of("other"));
    let kernel = Digest::of(b"gone");
    keep_all(&open(folder.path()), &[gone.clone(), other.clone()].concat());
    let cache = open(folder.path());
    // One of them is in memory, too.
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
    // Without the index more is read, and the same is found.
    std::fs::remove_file(folder.path().join("index.log")).unwrap();
    assert_eq!(open(folder.path()).invalidate_kernel(&Digest::of(b"other")).unwrap().removed, 5);
}

#[test]
fn entries_are_invalidated_by_digest_in_memory_too() {
    let memory = PipelineCache::open(CacheOptions::memory_only());
    let all = family_of("a");
    keep_all(&memory, &all);
    let digest = all[0].identity.digest();
    let report = memory.invalidate(&[digest, Digest::ZERO]).unwrap();
    assert_eq!((report.removed, report.forgotten, report.absent), (0, 1, 2));
    assert!(memory.find(&all[0].identity).is_err() && memory.find(&all[1].identity).is_ok());
    assert_eq!(memory.invalidate_kernel(&Digest::of(b"a")).unwrap().forgotten, 4);
    assert!(all.iter().all(|entry| memory.find(&entry.identity).is_err()));
}

/// A pack of one entry, as a layer.
#[expect(unsafe_code, reason = "the test made the pack")]
fn packed(entry: &Entry) -> Layer {
    let mut pack = PackWriter::new();
    pack.add(entry);
    // SAFETY: nothing of it is ever run.
    Layer::Pack(unsafe { Pack::from_bytes(pack.finish()).unwrap().trust() })
}

#[test]
fn what_a_layer_has_is_said_to_stay_and_leads_to_what_was_made_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let all = family_of("a");
    let options = CacheOptions::in_folder(folder.path().join("own"));
    let cache = PipelineCache::open(options.layer(packed(&all[1])));
    // What was lowered is in the pack alone.
    keep_all(&cache, &all[3..]);
    let report = cache.invalidate_kernel(&Digest::of(b"a")).unwrap();
    assert_eq!((report.removed, report.absent, report.layered), (2, 1, 1));
    assert!(cache.find(&all[1].identity).is_ok() && cache.find(&all[3].identity).is_err());
}

#[test]
fn a_folder_that_is_only_read_keeps_its_entries_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let all = family_of("a");
    keep_all(&open(folder.path()), &all);
    let options = CacheOptions::in_folder(folder.path()).disk(DiskOptions::default().read_only());
    let cache = PipelineCache::open(options);
    assert_eq!(cache.invalidate_kernel(&Digest::of(b"a")), Err(CacheError::ReadOnly));
    assert!(cache.find(&all[0].identity).is_ok());
}

#[test]
fn an_entry_tells_where_this_process_has_it_from() {
    use fulgurite_spec::cache::CacheTier;
    let folder = tempfile::tempdir().unwrap();
    let all = family_of("a");
    keep_all(&open(folder.path()), &all[..2]);
    let cache = PipelineCache::open(CacheOptions::in_folder(folder.path()).layer(packed(&all[2])));
    cache.prefetch(&all[1].identity);
    let tier = |at: usize| cache.trace(&all[at].identity).map(|found| found.tier);
    for _ in 0..2 {
        assert_eq!([tier(0), tier(1)], [Ok(CacheTier::Disk); 2], "also what was read ahead");
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
