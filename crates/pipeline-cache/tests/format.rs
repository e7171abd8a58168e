//! The file formats of `docs/cache-format.md`: bytes assembled by hand from its tables are read by the cache, and vice
//! versa.

use std::fs;

use fulgurite_pipeline_cache::{
    CacheOptions, Digest, DiskOptions, DiskPipelineCache, Durability, Entry, FileSystem, Lookup, Pack,
    PackWriter, PayloadKind, PipelineCache, PipelineCacheIdentity, PipelineDeviceFingerprint, Storage as _,
};

/// The document; the tests check its tables for the offsets used below.
const DOCUMENT: &str = include_str!("../../../docs/cache-format.md");

fn derived(context: &str, fields: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for field in fields {
        hasher.update(field);
    }
    *hasher.finalize().as_bytes()
}

/// Assembles an artifact entry byte by byte.
fn by_hand(program: &[u8; 32], policy: &[u8; 32], payload: &[u8]) -> (String, Vec<u8>) {
    let length = (payload.len() as u64).to_le_bytes();
    let mut bytes = vec![0x46, 0x47, 0x43, 0x41, 0x43, 0x48, 0x45, 0x1a];
    for number in [1u32, 224, 1, 0] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(program);
    bytes.extend_from_slice(policy);
    bytes.extend_from_slice(&[0; 32]);
    bytes.extend_from_slice(&derived("fulgurite artifact 1", &[&length, payload]));
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(blake3::hash(payload).as_bytes());
    bytes.extend_from_slice(blake3::hash(&bytes).as_bytes());
    bytes.extend_from_slice(payload);
    let digest = derived("fulgurite cache identity 1", &[&1u64.to_le_bytes(), program, policy, &[0; 32]]);
    (blake3::Hash::from_bytes(digest).to_hex().to_string(), bytes)
}

fn entry(program: &[u8; 32], policy: &[u8; 32], payload: &[u8]) -> Entry {
    let [program, policy] = [program, policy].map(|digest| Digest::from_bytes(*digest));
    let any = PipelineDeviceFingerprint::ANY;
    let identity = PipelineCacheIdentity::new(PayloadKind::Artifact, program, policy, any);
    Entry::new(identity, Digest::ZERO, payload.to_vec())
}

#[test]
fn entry_encoding_matches_the_document() {
    let folder = tempfile::tempdir().unwrap();
    let cache = DiskPipelineCache::open(folder.path(), DiskOptions::default()).unwrap();
    let (program, policy, payload) = ([3; 32], [5; 32], b"some words");
    let (digest, bytes) = by_hand(&program, &policy, payload);
    let path = folder.path().join(&digest[..2]).join(format!("{digest}.bin"));
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::write(&path, &bytes).unwrap();
    let entry = entry(&program, &policy, payload);
    assert_eq!(cache.path_for(&entry.identity), path);
    assert_eq!(cache.read(&entry.identity), Lookup::Hit(Box::new(entry.clone())));
    fs::remove_file(&path).unwrap();
    cache.write(&entry, Durability::Immediate).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes);
    for row in ["| 24 | 32 | program |", "| 56 | 32 | policy |", "| 160 | 32 | BLAKE3 of the payload |"] {
        assert!(DOCUMENT.contains(row), "{row}");
    }
}

#[test]
fn index_record_encoding_matches_the_document() {
    let folder = tempfile::tempdir().unwrap();
    let cache = DiskPipelineCache::open(folder.path(), DiskOptions::default()).unwrap();
    let entry = entry(&[3; 32], &[5; 32], b"some words");
    cache.write(&entry, Durability::Immediate).unwrap();
    let log = fs::read(folder.path().join("index.log")).unwrap();
    assert_eq!(log.len(), 160);
    assert_eq!((&log[..4], log[4], log[5], &log[6..8]), (&b"FGIX"[..], 1, 1, &[0, 0][..]));
    assert_eq!(log[8..40], *entry.identity.digest().as_bytes());
    assert_eq!((&log[40..72], &log[72..104], &log[104..136]), (&[3; 32][..], &[5; 32][..], &[0; 32][..]));
    assert_eq!(log[144..152], [0; 8]);
    assert_eq!(log[152..], blake3::hash(&log[..152]).as_bytes()[..8]);
}

#[test]
fn pack_encoding_matches_the_document() {
    let (program, policy, payload) = ([3; 32], [5; 32], b"some words");
    let (digest, stored) = by_hand(&program, &policy, payload);
    let mut bytes = vec![0x46, 0x47, 0x50, 0x41, 0x43, 0x4b, 0x1a, 0x0a];
    bytes.extend_from_slice(&1u32.to_le_bytes());
    bytes.extend_from_slice(&0u32.to_le_bytes());
    bytes.extend_from_slice(&1u64.to_le_bytes());
    bytes.extend_from_slice(blake3::Hash::from_hex(&digest).unwrap().as_bytes());
    bytes.extend_from_slice(&(24u64 + 48 + 32).to_le_bytes());
    bytes.extend_from_slice(&(stored.len() as u64).to_le_bytes());
    bytes.extend_from_slice(blake3::hash(&bytes).as_bytes());
    bytes.extend_from_slice(&stored);
    let entry = entry(&program, &policy, payload);
    assert_eq!(Pack::from_bytes(bytes.clone()).unwrap().get(&entry.identity), Some(entry.clone()));
    let mut writer = PackWriter::new();
    writer.add(&entry);
    assert_eq!(writer.finish(), bytes);
}

/// Assembles a slot of a mark file: a driver compiles `program` in the current boot.
fn slot_by_hand(program: &[u8; 32]) -> Vec<u8> {
    let mut bytes = b"FGMK\x02\0\0\0".to_vec();
    bytes.extend_from_slice(program);
    bytes.extend_from_slice(&FileSystem.boot().unwrap_or(0).to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    let seal = blake3::hash(&bytes);
    bytes.extend_from_slice(&seal.as_bytes()[..8]);
    bytes
}

/// Assembles a record of the crash log: a process ended while compiling `program`.
fn crash_by_hand(program: &[u8; 32], time: u64) -> Vec<u8> {
    let mut bytes = b"FGCR\x02\x01\0\0".to_vec();
    bytes.extend_from_slice(program);
    bytes.extend_from_slice(&time.to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    let seal = blake3::hash(&bytes);
    bytes.extend_from_slice(&seal.as_bytes()[..8]);
    bytes
}

#[test]
fn mark_and_crash_log_encoding_matches_the_document() {
    let folder = tempfile::tempdir().unwrap();
    let open = || PipelineCache::open(CacheOptions::in_folder(folder.path()));
    let (marks, log) = (folder.path().join("marks"), folder.path().join("crashes.log"));
    let program = [7; 32];
    let slot = slot_by_hand(&program);
    let cache = open();
    let written = cache.compile(Digest::from_bytes(program), || {
        let mark = fs::read_dir(&marks).unwrap().next().unwrap().unwrap().path();
        fs::read(mark).unwrap()
    });
    assert_eq!(written.unwrap(), slot);
    drop(cache);
    // The file of a dead process, with an empty first slot.
    fs::write(marks.join("00.mark"), [&[0; 64], &slot[..]].concat()).unwrap();
    assert_eq!(open().suspects(), (0, 1));
    let written = fs::read(&log).unwrap();
    let time = u64::from_le_bytes(written[40..48].try_into().unwrap());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(time <= now && time + 600 > now, "{time}");
    let crash = crash_by_hand(&program, time);
    assert_eq!((slot.len(), crash.len(), &written), (64, 64, &crash));
    assert!(!marks.join("00.mark").exists());
    fs::write(&log, crash.repeat(3)).unwrap();
    assert!(open().compile(Digest::from_bytes(program), || ()).is_err());
    for row in ["| 0 | 4 | `FGMK` |", "| 8 | 32 | of a binary, the BLAKE3", "| 0 | 4 | `FGCR` |"] {
        assert!(DOCUMENT.contains(row), "{row}");
    }
}
