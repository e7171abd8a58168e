//! Pipeline cache entries for measurements.

use std::path::Path;

use fulgurite_pipeline_cache::{
    Digest, DiskOptions, DiskPipelineCache, Entry, PayloadKind, PipelineCacheIdentity,
    PipelineDeviceFingerprint,
};

/// Size of an entry's payload in bytes.
pub const BYTES: usize = 64 << 10;

/// Returns entry `number`, with a payload of `bytes` bytes.
pub fn entry(number: u32, bytes: usize) -> Entry {
    let any = PipelineDeviceFingerprint::ANY;
    let program = Digest::of(&number.to_le_bytes());
    let identity = PipelineCacheIdentity::new(PayloadKind::Binary, program, Digest::ZERO, any);
    let payload = program.as_bytes().iter().copied().cycle().take(bytes).collect();
    Entry::new(identity, Digest::ZERO, payload)
}

/// Opens the cache's disk tier in a folder.
///
/// # Errors
/// An error if the folder cannot be used.
pub fn open(root: &Path) -> anyhow::Result<DiskPipelineCache> {
    Ok(DiskPipelineCache::open(root, DiskOptions::default())?)
}
