//! The store on a real folder: saving, merging, and handling of damaged files.

use std::fs;
use std::io::ErrorKind;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use fulgurite_spec::Code;
use fulgurite_spec::device::DeviceSnapshot;
use fulgurite_storage::FaultInjectingStorage;

use super::*;
use crate::record::TuneVerdict;

fn device(driver: &str) -> DeviceKey {
    DeviceKey::of(&DeviceSnapshot::new("gpu", "A Device (9000)", driver))
}

fn key(driver: &str, bucket: &str) -> AutotuneKey {
    AutotuneKey {
        device: device(driver),
        family: "family".to_owned(),
        version: 1,
        bucket: bucket.to_owned(),
        policy: "mean of the faster half, device clock".to_owned(),
    }
}

fn row(time: f64) -> CandidateRow {
    let mut config = toml::Table::new();
    config.insert("tile".to_owned(), 64.into());
    let mut row = CandidateRow::new(config, TuneVerdict::Measured).timed(time, 0.01, 15);
    (row.recorded_at, row.recorded_by) = ("2026-11-26T12:00:00Z".to_owned(), "fulgurite 0.1.0".to_owned());
    (row.workgroup, row.tile) = (Some([64, 1, 1]), vec![64, 64]);
    row
}

fn open(root: &Path) -> AutotuneStore {
    AutotuneStore::open(root, StoreOptions::default())
}

fn file(root: &Path) -> PathBuf {
    root.join(file_name(&device("1"), "family"))
}

/// Returns the names of the files in a folder.
fn names(root: &Path) -> Vec<String> {
    let mut all: Vec<_> = fs::read_dir(root)
        .map(|all| all.map(|file| file.unwrap().file_name().into_string().unwrap()).collect())
        .unwrap_or_default();
    all.sort();
    all
}

fn best(store: &AutotuneStore, key: &AutotuneKey) -> Option<f64> {
    store.get(key)?.best().and_then(|(_, row)| row.time_ns)
}

fn saved(root: &Path, bucket: &str, id: &str, time: f64) {
    let store = open(root);
    store.insert(&key("1", bucket), [(id.to_owned(), row(time))]);
    assert!(store.save().unwrap());
}

#[test]
fn saved_records_are_found_and_clean_saves_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("new").join("folder");
    let store = open(&root);
    assert_eq!(store.get(&key("1", "a")), None);
    assert!(!store.save().unwrap());
    assert!(!root.exists());
    store.insert(&key("1", "a"), [("gpu:1".to_owned(), row(5.0)), ("gpu:2".to_owned(), row(4.0))]);
    assert_eq!(best(&store, &key("1", "a")), Some(4.0));
    assert!(store.save().unwrap());
    assert!(!store.save().unwrap());
    let again = open(&root);
    assert_eq!(again.get(&key("1", "a")), store.get(&key("1", "a")));
    // Another driver is another device; other problems, versions and policies have other records.
    let others = [
        key("2", "a"),
        key("1", "b"),
        AutotuneKey { version: 2, ..key("1", "a") },
        AutotuneKey { policy: "another".to_owned(), ..key("1", "a") },
        AutotuneKey { family: "other".to_owned(), ..key("1", "a") },
    ];
    assert!(others.iter().all(|other| again.get(other).is_none()));
    assert!(again.notices().is_empty());
    let text = fs::read_to_string(file(&root)).unwrap();
    for shown in
        ["family = \"family\"", "driver = \"1\"", "microseconds = 0.0", "workgroup = [64, 1, 1]", "tile = 64"]
    {
        assert!(text.contains(shown), "{shown} in {text}");
    }
}

#[test]
fn passed_over_candidates_are_stored_and_pruned_with_their_record() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let a = key("1", "a");
    store.insert(&a, [("gpu:1".to_owned(), row(5.0))]);
    store.pass_over(&a, ["gpu:3".to_owned(), "gpu:2".to_owned()]);
    store.save().unwrap();
    let again = open(folder.path());
    let known = again.get(&a).unwrap();
    assert_eq!(Some(&known), store.get(&a).as_ref());
    let expected = [("gpu:2".to_owned(), 2), ("gpu:3".to_owned(), 2)];
    assert_eq!(known.passed_over(), &BTreeMap::from(expected));
    // The later generation wins if another writer passed over the same candidate.
    again.pass_over(&a, ["gpu:3".to_owned()]);
    again.save().unwrap();
    assert_eq!(open(folder.path()).get(&a).unwrap().passed_over()["gpu:3"], 3);
    let old = std::time::SystemTime::UNIX_EPOCH;
    let pruned = |options: PruneOptions| {
        let store = open(folder.path());
        store.prune(&options).unwrap();
        store.get(&a).map_or(0, |record| record.passed_over().len())
    };
    assert_eq!(pruned(PruneOptions::default().older_than(old).version("other", 1)), 2);
    assert_eq!(pruned(PruneOptions::default().version("family", 2)), 0);
    // Invalid generations are rejected for passed-over candidates, rows and forgotten records.
    saved(folder.path(), "a", "gpu:1", 5.0);
    let text = fs::read_to_string(file(folder.path())).unwrap();
    let passed = |generation: u64| {
        format!("{text}[[record.passed_over]]\ngeneration = {generation}\nexecutables = [\"gpu:2\"]\n")
    };
    let forgotten =
        text.replace("version = 1\n", &format!("version = 1\nforgotten = {}\n", u64::MAX / 2 + 1));
    let generation = text.replace("generation = 1\n", &format!("generation = {}\n", u64::MAX));
    assert!(forgotten != text && generation != text);
    for bad in [passed(0), passed(u64::MAX), forgotten, generation] {
        fs::write(file(folder.path()), &bad).unwrap();
        let store = open(folder.path());
        assert_eq!(store.get(&a), None, "{bad}");
        assert_eq!(store.notices()[0].code, Code::TuningRecordRejected, "{bad}");
    }
}

#[test]
fn packs_are_used_only_for_unknown_candidates() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (key("1", "a"), key("1", "b"));
    let packer = AutotuneStore::in_memory();
    for _ in 0..3 {
        packer.insert(&a, [("gpu:1".to_owned(), row(1.0)), ("gpu:2".to_owned(), row(2.0))]);
        packer.insert(&b, [("gpu:1".to_owned(), row(1.0))]);
    }
    let pack = packer.export().unwrap().remove(0).1;
    let here = || {
        let store = open(folder.path());
        store.add_layer(pack.as_bytes()).unwrap();
        store
    };
    let store = here();
    assert_eq!(best(&store, &a), Some(1.0));
    // A candidate that crashed here is not used, although the pack's row has a higher generation.
    let crashed = CandidateRow::new(toml::Table::new(), TuneVerdict::Crashed).because("it did");
    store.insert(&a, [("gpu:1".to_owned(), crashed)]);
    assert_eq!(best(&store, &a), Some(2.0));
    assert!(store.forget(&b));
    store.save().unwrap();
    let again = here();
    assert_eq!((best(&again, &a), best(&again, &b)), (Some(2.0), None));
    // Records of packs are never written.
    assert_eq!(open(folder.path()).get(&a).unwrap().candidates().len(), 1);
}

#[test]
fn records_of_two_writers_are_merged() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (open(folder.path()), open(folder.path()));
    for store in [&one, &two] {
        assert_eq!(store.get(&key("1", "a")), None);
    }
    one.insert(&key("1", "a"), [("gpu:1".to_owned(), row(5.0))]);
    two.insert(&key("1", "a"), [("gpu:2".to_owned(), row(4.0))]);
    two.insert(&key("1", "b"), [("gpu:3".to_owned(), row(3.0))]);
    assert!(one.save().unwrap() && two.save().unwrap());
    let all = open(folder.path());
    assert_eq!(all.get(&key("1", "a")).unwrap().candidates().len(), 2);
    assert_eq!(all.len().unwrap(), 2);
    // An unchanged record is written back byte for byte.
    let before = fs::read_to_string(file(folder.path())).unwrap();
    saved(folder.path(), "c", "gpu:4", 1.0);
    assert!(fs::read_to_string(file(folder.path())).unwrap().starts_with(&before));
}

#[test]
fn forgotten_records_stay_forgotten_when_saved_again() {
    let folder = tempfile::tempdir().unwrap();
    saved(folder.path(), "a", "gpu:1", 5.0);
    let (one, two) = (open(folder.path()), open(folder.path()));
    assert!(two.get(&key("1", "a")).is_some());
    assert!(one.forget(&key("1", "a")) && !one.forget(&key("1", "a")));
    one.save().unwrap();
    two.insert(&key("1", "b"), [("gpu:1".to_owned(), row(5.0))]);
    two.save().unwrap();
    let all = open(folder.path());
    assert_eq!((all.get(&key("1", "a")), all.len().unwrap()), (None, 1));
    // Pruning removes the marker.
    let report = all.prune(&PruneOptions::default()).unwrap();
    assert_eq!((report.files, report.records, report.forgotten), (1, 0, 1));
    assert_eq!(open(folder.path()).prune(&PruneOptions::default()).unwrap(), PruneReport::default());
}

#[test]
fn pruning_follows_its_options() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let old = CandidateRow { recorded_at: "2020-01-01T00:00:00Z".to_owned(), ..row(1.0) };
    store.insert(&key("1", "a"), [("gpu:1".to_owned(), old.clone()), ("gpu:2".to_owned(), row(2.0))]);
    store.insert(&AutotuneKey { version: 2, ..key("1", "a") }, [("gpu:3".to_owned(), row(2.0))]);
    store.insert(&key("2", "a"), [("gpu:4".to_owned(), old)]);
    store.save().unwrap();
    let year = |year: u32| humantime::parse_rfc3339(&format!("{year}-01-01T00:00:00Z")).unwrap();
    let report = store.prune(&PruneOptions::default().older_than(year(2021)).device(device("1"))).unwrap();
    assert_eq!((report.files, report.records, report.rows), (2, 1, 2));
    assert_eq!(names(folder.path()).iter().filter(|name| name.ends_with(".toml")).count(), 1);
    let report = store.prune(&PruneOptions::default().version("family", 2)).unwrap();
    assert_eq!((report.records, report.rows), (1, 1));
    assert_eq!(open(folder.path()).len().unwrap(), 1);
}

#[test]
fn exports_are_imported_and_devices_compared() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("one"));
    store.insert(&key("1", "a"), [("gpu:1".to_owned(), row(5.0))]);
    store.insert(&key("2", "a"), [("gpu:1".to_owned(), row(2.0))]);
    store.insert(&key("2", "b"), [("gpu:1".to_owned(), row(3.0))]);
    let other = open(&folder.path().join("two"));
    for (name, text) in store.export().unwrap() {
        assert!(name.starts_with("family.gpu.a-device-9000."), "{name}");
        assert!(other.import(text.as_bytes()).unwrap().rejected == 0);
    }
    assert!(other.save().unwrap());
    assert_eq!(other.records().unwrap(), store.records().unwrap());
    let diff = other.diff(&device("1"), &device("2")).unwrap();
    let times = |row: &RecordDifference| row.best.clone().map(|best| best.and_then(|row| row.time_ns));
    assert_eq!(diff.iter().map(times).collect::<Vec<_>>(), [[Some(5.0), Some(2.0)], [None, Some(3.0)]]);
    assert_eq!(other.devices().unwrap().len(), 2);
    for bad in ["", "schema = 2", "schema = 1", "?"] {
        assert_eq!(other.import(bad.as_bytes()).unwrap_err().code(), Code::TuningFileLeftAlone, "{bad}");
    }
    // As a layer, they are used but not written.
    let third = open(&folder.path().join("three"));
    let (_, text) = store.export().unwrap().remove(0);
    third.add_layer(text.as_bytes()).unwrap();
    assert!(third.get(&key("1", "a")).is_some() || third.get(&key("2", "a")).is_some());
    assert!(!third.save().unwrap());
    assert!(third.add_layer(b"schema = 1").is_err());
}

#[test]
fn damaged_files_lose_only_damaged_records() {
    let folder = tempfile::tempdir().unwrap();
    let (root, path) = (folder.path(), file(folder.path()));
    for bucket in ["a", "b", "c"] {
        saved(root, bucket, "gpu:1", 5.0);
    }
    let good = fs::read(&path).unwrap();
    let found = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let store = open(root);
        let there = ["a", "b", "c"].iter().filter(|bucket| store.get(&key("1", bucket)).is_some()).count();
        (there, store.notices().iter().map(|notice| notice.code).collect::<Vec<_>>())
    };
    // Truncated anywhere: all complete records are found.
    let starts = text::records(&good);
    for cut in (0..good.len()).step_by(37) {
        // Including a record that lost only the blank lines after it.
        let whole = starts.iter().filter(|range| range.end <= cut);
        assert!(found(&good[..cut]).0 >= whole.count(), "cut at {cut}");
    }
    assert_eq!(found(b""), (0, vec![]));
    assert_eq!(found(&[0; 1000]), (0, vec![Code::TuningRecordRejected]));
    // Overwrite the head, and a record in the middle.
    let mut damaged = good.clone();
    damaged[..20].fill(b'?');
    assert_eq!(found(&damaged), (3, vec![]));
    let mut damaged = good.clone();
    damaged[starts[1].start + 12..starts[1].start + 20].fill(0);
    assert_eq!(found(&damaged).0, 2);
    // The next save moves it to a separate file and loses nothing else.
    let aside = root.join(file_name(&device("1"), "family").replace(".toml", ".rejected.toml"));
    assert!(!aside.exists());
    saved(root, "d", "gpu:1", 1.0);
    assert_eq!(open(root).len().unwrap(), 3);
    assert!(fs::read(&aside).unwrap().windows(8).any(|bytes| bytes == [0; 8]));
    // Invalid times, duplicate candidates, rows without a generation.
    let text = String::from_utf8(good.clone()).unwrap();
    for (from, to) in [
        ("time_ns = 5.0", "time_ns = -5.0"),
        ("generation = 1", "generation = 0"),
        ("verdict = \"measured\"", "verdict = \"fine\""),
    ] {
        assert!(text.contains(from), "{text}");
        assert_eq!(
            found(text.replacen(from, to, 1).as_bytes()),
            (2, vec![Code::TuningRecordRejected]),
            "{to}"
        );
    }
}

#[test]
fn many_invalid_records_hide_no_valid_one() {
    let folder = tempfile::tempdir().unwrap();
    saved(folder.path(), "good", "gpu:1", 5.0);
    let path = file(folder.path());
    let mut text = fs::read_to_string(&path).unwrap();
    for i in 0..1000 {
        text += &format!("[[record]]\nbucket = \"bad {i}\"\nversion = \"one\"\n\n");
    }
    fs::write(&path, &text).unwrap();
    saved(folder.path(), "another", "gpu:1", 5.0);
    let store = open(folder.path());
    assert!(store.get(&key("1", "good")).is_some() && store.get(&key("1", "another")).is_some());
    assert_eq!(store.len().unwrap(), 2);
    assert!(store.notices().iter().all(|notice| notice.code == Code::TuningRecordRejected));
    let report = store.prune(&PruneOptions::default()).unwrap();
    assert_eq!((report.rejected, report.records), (1000, 0));
    let store = open(folder.path());
    assert_eq!((store.len().unwrap(), store.notices().len()), (2, 0));
}

#[test]
fn invalid_records_stay_if_they_cannot_be_moved() {
    let folder = tempfile::tempdir().unwrap();
    saved(folder.path(), "a", "gpu:1", 5.0);
    let path = file(folder.path());
    let bad = "[[record]]\nbucket = 1\n";
    fs::write(&path, fs::read_to_string(&path).unwrap() + bad).unwrap();
    let faulty = FaultInjectingStorage::new(|what, _| match what {
        "append" => Err(std::io::Error::from(ErrorKind::StorageFull)),
        _ => Ok(()),
    });
    let store = AutotuneStore::open(folder.path(), StoreOptions::default().storage(Arc::new(faulty)));
    assert_eq!(store.prune(&PruneOptions::default()).unwrap().rejected, 1);
    assert!(fs::read_to_string(&path).unwrap().contains(bad));
    assert_eq!(open(folder.path()).prune(&PruneOptions::default()).unwrap().rejected, 1);
    assert!(!fs::read_to_string(&path).unwrap().contains(bad));
    assert_eq!(open(folder.path()).len().unwrap(), 1);
}

#[test]
fn newer_and_oversized_files_are_left_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    saved(folder.path(), "a", "gpu:1", 5.0);
    let path = file(folder.path());
    let newer = fs::read_to_string(&path).unwrap().replace("schema = 1", "schema = 2");
    let huge = vec![b'#'; 100 << 20];
    for bytes in [newer.into_bytes(), huge] {
        fs::write(&path, &bytes).unwrap();
        let store = open(folder.path());
        store.insert(&key("1", "b"), [("gpu:1".to_owned(), row(1.0))]);
        assert_eq!(store.save().unwrap_err().code(), Code::TuningFileLeftAlone);
        assert_eq!(store.notices().len(), 1);
        // The record is used in this process.
        assert_eq!(best(&store, &key("1", "b")), Some(1.0));
        assert_eq!(store.get(&key("1", "a")), None);
        assert!(fs::read(&path).unwrap() == bytes);
    }
}

#[test]
fn unusable_folders_are_errors_without_data_loss() {
    let folder = tempfile::tempdir().unwrap();
    let in_the_way = folder.path().join("file");
    fs::write(&in_the_way, "").unwrap();
    let store = open(&in_the_way.join("autotune"));
    store.insert(&key("1", "a"), [("gpu:1".to_owned(), row(1.0))]);
    assert_eq!(store.save().unwrap_err().code(), Code::TuningNotKept);
    assert_eq!(best(&store, &key("1", "a")), Some(1.0));
    fs::remove_file(&in_the_way).unwrap();
    assert!(store.save().unwrap());
    assert_eq!(best(&open(&in_the_way.join("autotune")), &key("1", "a")), Some(1.0));
    let read_only = AutotuneStore::open(in_the_way.join("autotune"), StoreOptions::default().read_only());
    assert!(!read_only.save().unwrap());
    read_only.insert(&key("1", "b"), [("gpu:1".to_owned(), row(1.0))]);
    assert_eq!(read_only.save(), Err(StoreError::ReadOnly));
    let memory = AutotuneStore::in_memory();
    memory.insert(&key("1", "b"), [("gpu:1".to_owned(), row(1.0))]);
    assert!(memory.save().is_ok() && memory.len().unwrap() == 1);
}

#[test]
fn store_is_dirty_between_change_and_save() {
    let folder = tempfile::tempdir().unwrap();
    for store in [open(folder.path()), AutotuneStore::in_memory()] {
        assert!(!store.is_dirty() && !store.save().unwrap(), "{store:?}");
        assert_eq!(store.get(&key("1", "a")), None);
        assert!(!store.is_dirty(), "lookups do not change the store");
        for time in [2.0, 1.0] {
            store.insert(&key("1", "a"), [("gpu:1".to_owned(), row(time))]);
            assert!(store.is_dirty() && store.save().unwrap(), "{store:?}");
            assert!(!store.is_dirty() && !store.save().unwrap(), "{store:?}");
            assert_eq!(best(&store, &key("1", "a")), Some(time), "saved records are found");
        }
        assert!(!store.forget(&key("1", "b")) && !store.is_dirty());
        assert!(store.forget(&key("1", "a")) && store.is_dirty());
        assert!(store.save().unwrap() && !store.save().unwrap() && store.len().unwrap() == 0);
    }
    let read_only = AutotuneStore::open(folder.path(), StoreOptions::default().read_only());
    read_only.insert(&key("1", "c"), [("gpu:1".to_owned(), row(1.0))]);
    assert!(read_only.save().is_err() && read_only.is_dirty());
}

#[test]
fn records_at_the_highest_generation_can_be_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    saved(root, "a", "gpu:1", 5.0);
    let text = fs::read_to_string(file(root)).unwrap();
    let highest = text.replace("generation = 1\n", &format!("generation = {}\n", i64::MAX));
    assert_ne!(highest, text);
    for change in ["insert", "pass over", "forget"] {
        fs::write(file(root), &highest).unwrap();
        let store = open(root);
        assert_eq!(best(&store, &key("1", "a")), Some(5.0));
        match change {
            "insert" => store.insert(&key("1", "a"), [("gpu:2".to_owned(), row(4.0))]),
            "pass over" => store.pass_over(&key("1", "a"), ["gpu:3".to_owned()]),
            _ => assert!(store.forget(&key("1", "a"))),
        }
        assert!(store.save().unwrap(), "{change}");
        let again = open(root);
        let expected = [("insert", Some(4.0)), ("pass over", Some(5.0)), ("forget", None)];
        let (_, expected) = expected.into_iter().find(|(name, _)| *name == change).unwrap();
        assert_eq!(best(&again, &key("1", "a")), expected, "{change}");
        // No record is invalid, even if all are parsed.
        again.insert(&key("1", "a"), [("gpu:4".to_owned(), row(9.0))]);
        again.save().unwrap();
        again.prune(&PruneOptions::default()).unwrap();
        assert_eq!((again.notices(), open(root).notices()), (vec![], vec![]), "{change}");
        assert!(names(root).iter().all(|name| !name.contains("rejected")), "{change}: {:?}", names(root));
    }
}

#[test]
fn without_locks_each_process_writes_a_fragment() {
    let folder = tempfile::tempdir().unwrap();
    let locks = |kind| {
        FaultInjectingStorage::new(move |what, _| match what {
            "try_lock" => Err(std::io::Error::from(kind)),
            _ => Ok(()),
        })
    };
    for (bucket, id) in [("a", "gpu:1"), ("a", "gpu:2"), ("b", "gpu:3")] {
        let options = StoreOptions::default().storage(Arc::new(locks(ErrorKind::Unsupported)));
        let store = AutotuneStore::open(folder.path(), options);
        store.insert(&key("1", bucket), [(id.to_owned(), row(1.0))]);
        assert!(store.save().unwrap());
    }
    let fragments = || names(folder.path()).iter().filter(|name| name.ends_with(".part.toml")).count();
    assert_eq!(fragments(), 3);
    assert_eq!(open(folder.path()).get(&key("1", "a")).unwrap().candidates().len(), 2);
    // A process with locks merges the fragments.
    saved(folder.path(), "c", "gpu:4", 1.0);
    assert_eq!((fragments(), open(folder.path()).len().unwrap()), (0, 3));
}

#[test]
fn saving_does_not_block_lookups() {
    let folder = tempfile::tempdir().unwrap();
    // The first lock request blocks until the test continues.
    let (asked, answered) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (at, until) = (Arc::clone(&asked), Arc::clone(&answered));
    let count = AtomicUsize::new(0);
    let faulty = FaultInjectingStorage::new(move |what, path| {
        let is_first = what == "try_lock"
            && path.extension().is_some_and(|extension| extension == "lock")
            && count.fetch_add(1, Ordering::Relaxed) == 0;
        if is_first {
            at.wait();
            until.wait();
        }
        Ok(())
    });
    let options = StoreOptions::default().storage(Arc::new(faulty)).lock_deadline(Duration::from_secs(10));
    let store = AutotuneStore::open(folder.path(), options);
    let (a, b) = (key("1", "a"), key("1", "b"));
    store.insert(&a, [("gpu:1".to_owned(), row(5.0))]);
    store.insert(&b, [("gpu:1".to_owned(), row(6.0))]);
    std::thread::scope(|scope| {
        let saver = scope.spawn(|| store.save());
        asked.wait();
        assert_eq!(best(&store, &a), Some(5.0));
        store.insert(&a, [("gpu:2".to_owned(), row(4.0))]);
        store.forget(&b);
        answered.wait();
        assert!(saver.join().unwrap().unwrap());
    });
    // A timed-out lock request would have left a fragment.
    assert!(!names(folder.path()).iter().any(|name| name.ends_with(".part.toml")));
    assert_eq!([best(&store, &a), best(&store, &b)], [Some(4.0), None]);
    assert_eq!([&a, &b].map(|key| best(&open(folder.path()), key)), [Some(5.0), Some(6.0)]);
    // Changes made meanwhile are still unsaved.
    assert!(store.save().unwrap());
    assert_eq!([&a, &b].map(|key| best(&open(folder.path()), key)), [Some(4.0), None]);
    assert!(!store.save().unwrap());
}

#[test]
fn any_failure_leaves_the_old_or_the_new_file() {
    for fails in ["create", "write_at", "sync", "rename", "sync_dir"] {
        let folder = tempfile::tempdir().unwrap();
        saved(folder.path(), "a", "gpu:1", 5.0);
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let faulty = FaultInjectingStorage::new(move |what, _| {
            match what == fails && counted.fetch_add(1, Ordering::Relaxed) == 0 {
                true => Err(std::io::Error::from(ErrorKind::StorageFull)),
                false => Ok(()),
            }
        });
        let store = AutotuneStore::open(folder.path(), StoreOptions::default().storage(Arc::new(faulty)));
        store.insert(&key("1", "b"), [("gpu:1".to_owned(), row(1.0))]);
        assert_eq!(store.save().map_err(|error| error.code()), Err(Code::TuningNotKept), "{fails}");
        assert_eq!(count.load(Ordering::Relaxed), 1, "{fails}");
        assert!(open(folder.path()).get(&key("1", "a")).is_some());
        assert!(!names(folder.path()).iter().any(|name| name.starts_with(".tmp")), "{fails}");
        // The failed changes are still unsaved.
        assert!(store.save().unwrap(), "{fails}");
        assert_eq!(open(folder.path()).len().unwrap(), 2, "{fails}");
    }
}

#[test]
fn temporary_files_of_dead_processes_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".tmp-dead"), "half").unwrap();
    let living = FileSystem.create(&folder.path().join(".tmp-living")).unwrap();
    saved(folder.path(), "a", "gpu:1", 5.0);
    assert!(names(folder.path()).contains(&".tmp-living".to_owned()));
    assert!(!names(folder.path()).contains(&".tmp-dead".to_owned()));
    drop(living);
}
