//! Damaged entries of many kinds: none is served, and all are made again.

use std::fs;
use std::path::Path;

use fulgurite_hal::Error;
use fulgurite_pipeline_cache::{
    CacheOptions, Digest, DiskOptions, DiskPipelineCache, Durability, Entry, HEADER_BYTES, Made, PayloadKind,
    PipelineCache, PipelineCacheMissReason,
};

use super::{entry, identity, unexpected, version_of};
use crate::Level;
use crate::suites::checks::{Checks, Part};
use crate::values::Random;

pub(super) const PARTS: &[(&str, Part)] = &[("damaged entries", damaged)];

/// Entries that are damaged together.
const ROUND: usize = 500;
/// Bytes of a header that its checksum covers.
const SEALED: usize = 192;

/// A kind of damage: its name, and a function that changes an entry's bytes, given those of another entry.
type Damage = (&'static str, fn(&mut Vec<u8>, &[u8], &mut Random));

/// Offset and size of each field of the header, as in `docs/cache-format.md`.
const FIELDS: &[(usize, usize)] = &[
    (0, 8),
    (8, 4),
    (12, 4),
    (16, 4),
    (20, 4),
    (24, 32),
    (56, 32),
    (88, 32),
    (120, 32),
    (152, 8),
    (160, 32),
    (192, 32),
];

const DAMAGES: &[Damage] = &[
    ("a field of the header", |bytes, _, random| flip_field(bytes, FIELDS.len(), random)),
    ("a field of the header, its checksum made to fit", |bytes, _, random| {
        flip_field(bytes, FIELDS.len() - 1, random);
        reseal(bytes);
    }),
    ("the payload", |bytes, _, random| flip_payload(bytes, random)),
    ("the payload, with its checksum", |bytes, _, random| {
        flip_payload(bytes, random);
        let payload = Digest::of(&bytes[HEADER_BYTES..]);
        bytes[160..192].copy_from_slice(payload.as_bytes());
    }),
    ("the payload, with both checksums", |bytes, _, random| {
        flip_payload(bytes, random);
        let payload = Digest::of(&bytes[HEADER_BYTES..]);
        bytes[160..192].copy_from_slice(payload.as_bytes());
        reseal(bytes);
    }),
    ("cut short", |bytes, _, random| {
        let keep = 1 + random.below(bytes.len() as u32 - 1) as usize;
        bytes.truncate(keep);
    }),
    ("the end zeroed", |bytes, _, random| {
        let from = random.below(bytes.len() as u32 - 32) as usize;
        bytes[from..].fill(0);
    }),
    ("swapped with another", |bytes, other, _| *bytes = other.to_vec()),
    ("foreign", |bytes, _, random| {
        let length = random.below(2000) as usize;
        *bytes = (0..length).map(|_| random.word() as u8).collect();
    }),
    ("empty", |bytes, _, _| bytes.clear()),
    ("longer", |bytes, _, random| {
        let more = 1 + random.below(3000) as usize;
        bytes.resize(bytes.len() + more, 7);
    }),
    ("over the bound", |bytes, _, _| bytes.resize(OVERSIZED, 0)),
];

/// Size of an entry above the limit of this suite's caches.
const OVERSIZED: usize = (128 << 10) + 1;

fn flip_field(bytes: &mut [u8], fields: usize, random: &mut Random) {
    let (from, length) = FIELDS[random.below(fields as u32) as usize];
    bytes[from + random.below(length as u32) as usize] ^= 1 << random.below(8);
}

fn flip_payload(bytes: &mut [u8], random: &mut Random) {
    let at = HEADER_BYTES + random.below((bytes.len() - HEADER_BYTES) as u32) as usize;
    bytes[at] ^= 1 << random.below(8);
}

fn reseal(bytes: &mut [u8]) {
    let seal = Digest::of(&bytes[..SEALED]);
    bytes[SEALED..HEADER_BYTES].copy_from_slice(seal.as_bytes());
}

fn damaged(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let count = match checks.harness.level() {
        Level::Smoke => 3_000,
        Level::Full => 100_000,
    };
    // Damaged files need not be durable, and on a real disk most of the time would go into syncs.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).map_err(unexpected)?;
    let mut random = checks.random();
    let mut reasons = [0u64; PipelineCacheMissReason::ALL.len()];
    for first in (0..count).step_by(ROUND) {
        let names: Vec<String> = (first..(first + ROUND).min(count)).map(|i| format!("entry {i}")).collect();
        let root = folder.path().join(format!("{first}"));
        round(checks, &root, &names, first, &mut random, &mut reasons)?;
        fs::remove_dir_all(&root).map_err(unexpected)?;
    }
    let counted = PipelineCacheMissReason::ALL.iter().zip(reasons).filter(|(_, count)| *count > 0);
    let counted: Vec<_> = counted.map(|(reason, count)| format!("{count} {reason}")).collect();
    checks.harness.note(format!(
        "{count} entries damaged in {} ways, none served, all remade: {}",
        DAMAGES.len(),
        counted.join(", ")
    ));
    Ok(())
}

/// Writes entries, damages each, and looks each up.
fn round(
    checks: &mut Checks<'_, '_>,
    root: &Path,
    names: &[String],
    first: usize,
    random: &mut Random,
    reasons: &mut [u64],
) -> Result<(), Error> {
    let options = DiskOptions::default().max_quarantined(u32::MAX).max_entry_bytes(OVERSIZED as u64 - 1);
    let disk = DiskPipelineCache::open(root, options.clone()).map_err(unexpected)?;
    // Only an artifact is also checked against its own digest; all other payloads are checked by their users.
    let kind = PayloadKind::Artifact;
    let good = |name: &str| entry(kind, name, 1, 300);
    for name in names {
        disk.write(&good(name), Durability::OnFlush).map_err(unexpected)?;
    }
    let mut before: Vec<u8> = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let path = disk.path_for(&identity(kind, name));
        let whole = fs::read(&path).map_err(unexpected)?;
        let mut bytes = whole.clone();
        let (_, damage) = DAMAGES[(first + place) % DAMAGES.len()];
        let other = if before.is_empty() { vec![0; 8] } else { std::mem::take(&mut before) };
        damage(&mut bytes, &other, random);
        if bytes == whole {
            // The damage changed nothing, such as zeroing zeros: truncate the file instead.
            bytes.pop();
        }
        fs::write(&path, bytes).map_err(unexpected)?;
        before = whole;
    }
    drop(disk);
    let cache = PipelineCache::open(CacheOptions::in_folder(root).disk(options));
    for (place, name) in names.iter().enumerate() {
        let how = DAMAGES[(first + place) % DAMAGES.len()].0;
        let mut made = None;
        let found = cache.find_or_make(&identity(kind, name), |reason| {
            made = Some(reason);
            Ok::<_, Error>(Made::Keep { artifact: Digest::ZERO, payload: good(name).payload })
        })?;
        checks.holds(how, made.is_some(), || format!("`{name}` was served although it was damaged"));
        let is_right = found.is_some_and(|entry| version_of(name, &entry.payload) == Some(1));
        checks.holds(how, is_right, || format!("`{name}` differs from the made entry"));
        if let Some(reason) = made {
            reasons[reason.index()] += 1;
        }
    }
    let again = PipelineCache::open(CacheOptions::in_folder(root));
    for name in names {
        let found: Result<_, PipelineCacheMissReason> = again.find(&identity(kind, name));
        let is_right = found.is_ok_and(|found| is_good(&found, name));
        checks.holds("a remade entry is stored", is_right, || format!("`{name}` is missing"));
    }
    Ok(())
}

fn is_good(found: &Entry, name: &str) -> bool {
    version_of(name, &found.payload) == Some(1)
}
