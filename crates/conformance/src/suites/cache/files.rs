//! Arbitrary bytes as each of the files of a cache folder: the property behind `crate::robust::cache_files`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fulgurite_pipeline_cache::{
    CacheOptions, Digest, DiskOptions, DiskPipelineCache, Durability, HEADER_BYTES, PayloadKind,
    PipelineCache, Storage as _,
};

use super::simulated::SimulatedDisk;
use super::{entry, identity};

const ROOT: &str = "/simulated/cache";
const KIND: PayloadKind = PayloadKind::Artifact;
const NAME: &str = "entry";
/// Bytes of a header that its checksum covers.
const SEALED: usize = 192;

/// Replaces an entry, the index, the crash log and the mark of a dead process by `bytes`, and again by `bytes` with
/// valid checksums, for the entry as changes to a good one. The folder must stay usable, and the entry may be found
/// only if it equals the written one byte for byte. Returns whether it was found.
///
/// # Errors
/// The violated property.
pub(crate) fn properties(bytes: &[u8]) -> Result<bool, String> {
    let root = Path::new(ROOT);
    let disk = SimulatedDisk::new(root);
    let store = open(&disk)?;
    store.write(&entry(KIND, NAME, 1, 40), Durability::Immediate).map_err(|e| e.to_string())?;
    let path = store.path_for(&identity(KIND, NAME));
    drop(store);
    let good = disk.seen(&path).ok_or("the written entry is missing")?;
    let mut is_found = false;
    let sealed =
        [reheaded(&good, bytes), sealed(bytes, 152, 160), sealed(bytes, 56, 64), sealed(bytes, 56, 64)];
    let plain = [bytes, bytes, bytes, bytes].map(<[u8]>::to_vec);
    for [stored, index, crashes, mark] in [plain, sealed] {
        let disk = SimulatedDisk::new(root);
        let put = |path: PathBuf, bytes: &[u8]| -> io::Result<()> {
            disk.create_dir(path.parent().unwrap_or(root))?;
            disk.create(&path)?.write_at(0, bytes)
        };
        put(path.clone(), &stored)
            .and_then(|()| put(root.join("index.log"), &index))
            .and_then(|()| put(root.join("crashes.log"), &crashes))
            .and_then(|()| put(root.join("marks").join("0.mark"), &mark))
            .map_err(|error| error.to_string())?;
        is_found |= use_it(&disk, &stored, &good)?;
    }
    Ok(is_found)
}

fn open(disk: &SimulatedDisk) -> Result<DiskPipelineCache, String> {
    let options = DiskOptions::default().storage(Arc::new(disk.clone()));
    DiskPipelineCache::open(Path::new(ROOT), options).map_err(|error| error.to_string())
}

/// Uses a folder whose entry has the bytes `stored`. Returns whether the entry was found.
fn use_it(disk: &SimulatedDisk, stored: &[u8], good: &[u8]) -> Result<bool, String> {
    let options = DiskOptions::default().storage(Arc::new(disk.clone()));
    let cache = PipelineCache::open(CacheOptions::in_folder(ROOT).disk(options));
    let found = cache.find(&identity(KIND, NAME)).is_ok();
    if found != (stored == good) {
        return Err(format!("entry of {} bytes: found is {found}, unchanged is {}", stored.len(), !found));
    }
    // Other operations that read the index and the crash log.
    let _ = (cache.find(&identity(KIND, "another")), cache.suspects(), cache.compile(Digest::ZERO, || ()));
    let store = open(disk)?;
    let (stats, checked) =
        (store.stats().map_err(|e| e.to_string())?, store.verify(&mut |_, _| ()).map_err(|e| e.to_string())?);
    match (stats.all.entries, checked.good.entries) {
        (all, good) if all == good && good == u64::from(found) => Ok(found),
        (all, good) => Err(format!("{all} entries are left, {good} of them intact, but found is {found}")),
    }
}

/// Returns the good entry with its header changed by the first of `bytes`, a matching checksum, and its payload changed
/// by the rest.
fn reheaded(good: &[u8], bytes: &[u8]) -> Vec<u8> {
    let (header, payload) = bytes.split_at(SEALED.min(bytes.len()));
    let mut changed = good.to_vec();
    changed.iter_mut().zip(header).for_each(|(byte, change)| *byte ^= change);
    changed[HEADER_BYTES..].iter_mut().zip(payload).for_each(|(byte, change)| *byte ^= change);
    let seal = Digest::of(&changed[..SEALED]);
    changed[SEALED..HEADER_BYTES].copy_from_slice(seal.as_bytes());
    changed
}

/// Returns `bytes` as records of `record` bytes, the last eight of which are a checksum of the first `body`.
fn sealed(bytes: &[u8], body: usize, record: usize) -> Vec<u8> {
    let mut records = Vec::new();
    for chunk in bytes.chunks(body) {
        let from = records.len();
        records.extend_from_slice(chunk);
        records.resize(from + body, 0);
        let seal = Digest::of(&records[from..]);
        records.extend_from_slice(&seal.as_bytes()[..record - body]);
    }
    records
}
