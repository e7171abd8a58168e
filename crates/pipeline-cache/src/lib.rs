//! The pipeline cache: a content-addressed store of compiled kernels that outlives the process.
//!
//! | module | owns |
//! |---|---|
//! | `key` `identity` | what an entry is found by |
//! | `entry` `pack` | the bytes of an entry, and of many in one file |
//! | `disk` | the folder: reading, writing, removing, looking after it |
//! | `index` `marks` | logs of what happened to entries, and of what processes ended with |
//! | `interrupts` | signals from outside, which are nobody's fault (feature `interrupts`) |
//! | `memory` | entries of this process, each made once |
//! | `cache` | all of it, as a backend uses it |
//! | `audit` `error` | hits and misses, errors and notices |
//!
//! What must hold: a file is data from outside. Whatever is wrong with one is a miss with a reason, never an error to the
//! user, a panic or a wrong kernel; a full or read-only disk degrades to memory and says so, once. Checksums detect
//! accidents; permissions are the boundary against people.
//!
//! What must not be here: how anything is compiled, kernels, Vulkan, a device. The crate stores bytes under keys that
//! others make; what it asks of a disk is `storage`'s. `docs/cache-format.md` specifies its files byte by byte.
// One `unsafe fn` is declared, with which callers vouch for a pack; there is no unsafe block.
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
