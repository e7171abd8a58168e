//! The pipeline cache: a persistent, content-addressed store of compiled kernels.
//!
//! | module | owns |
//! |---|---|
//! | `key` `identity` | cache keys and entry identities |
//! | `entry` `pack` | the encoding of one entry, and of many in one file |
//! | `disk` | the disk tier: reading, writing, removal, maintenance |
//! | `index` `marks` | the log of insertions and removals; crash marks and the crash log |
//! | `interrupts` | handlers for termination signals, which clear the crash marks (feature `interrupts`) |
//! | `memory` | the in-process tier, with single-flight creation |
//! | `cache` | the tiers combined, as backends use them |
//! | `audit` `error` | hit and miss statistics, errors and notices |
//!
//! Invariants: cache files are untrusted input. Any problem with one is a miss with a reason, never an error for the
//! user, a panic or a wrong kernel; a full or read-only disk degrades to the memory tier with a single warning.
//! Checksums detect accidental damage; file permissions protect against other users.
//!
//! Does not contain compilation, kernels, Vulkan or devices: the crate stores bytes under keys that its callers make,
//! and accesses the disk through `storage`. `docs/cache-format.md` specifies the file formats.
// The crate declares one `unsafe fn`, by which callers vouch for a pack, and has no unsafe blocks.
#![deny(unsafe_code)]

mod audit;
mod cache;
mod disk;
mod entry;
mod error;
mod identity;
mod index;
#[cfg(all(feature = "interrupts", unix))]
mod interrupts;
mod key;
mod marks;
mod memory;
mod pack;

pub use audit::CacheStatistics;
pub use cache::{CacheOptions, Layer, Made, PipelineCache};
pub use disk::{
    CacheCount, ClearReport, DiskOptions, DiskPipelineCache, DiskStats, Durability, GcReport, ImportReport,
    InvalidateReport, Lookup, Mode, VerifyReport, Written,
};
pub use entry::{Entry, FORMAT_VERSION, HEADER_BYTES, MAX_ENTRY_BYTES, artifact_digest};
pub use error::CacheError;
pub use fulgurite_spec::cache::{
    CacheAudit, CacheOutcome, CacheTier, EntryState, PipelineCacheMissEvidence, PipelineCacheMissReason,
};
pub use fulgurite_storage::{
    Digest, DigestBuilder, FileSystem, Listed, Missing, Storage, StoredFile, default_root,
};
pub use identity::{
    DeviceParts, PayloadKind, PipelineCacheIdentity, PipelineDeviceFingerprint, classify_identities,
};
#[cfg(all(feature = "interrupts", unix))]
pub use interrupts::handle_interrupts;
pub use key::{
    KEY_VERSION, PipelineCacheKey, PipelineCacheKeyDesc, PipelineFeatureFlags, UnknownFeatureFlags,
};
pub use marks::{Ban, forget_marks};
pub use memory::Traced;
pub use pack::{Pack, PackWriter, TrustedPack};
