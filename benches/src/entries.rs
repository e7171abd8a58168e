//! Entries of the pipeline cache to measure it with.

use std::path::Path;

use fulgurite_pipeline_cache::{
    Digest, DiskOptions, DiskPipelineCache, Entry, PayloadKind, PipelineCacheIdentity,
    PipelineDeviceFingerprint,
};

/// Bytes of an entry's payload.
pub const BYTES: usize = 64 << 10;

/// The entry of that number, with a payload of so many bytes.
pub fn entry(number: u32, bytes: usize) -> Entry {
    let any = PipelineDeviceFingerprint::ANY;
    let program = Digest::of(&number.to_le_bytes());
    let identity = PipelineCacheIdentity::new(PayloadKind::Binary, program, Digest::ZERO, any);
    let payload = program.as_bytes().iter().copied().cycle().take(bytes).collect();
    Entry::new(identity, Digest::ZERO, payload)
}

/// The cache's tier on disk, in a folder.
///
/// # Errors
/// If the folder cannot be used.
pub fn open(root: &Path) -> anyhow::Result<DiskPipelineCache> {
    Ok(DiskPipelineCache::open(root, DiskOptions::default())?)
}
