//! The pipeline cache: a content-addressed store of compiled kernels that outlives the process.
//!
//! | module | owns |
//! |---|---|
//! | `digest` `key` `identity` | what an entry is found by |
//! | `entry` `pack` | the bytes of an entry, and of many in one file |
//! | `storage` | what is asked of a disk |
//! | `disk` | the folder: reading, writing, removing, looking after it |
//! | `index` `marks` | logs of what happened to entries, and of what crashed a driver |
//! | `memory` | entries of this process, each made once |
//! | `cache` | all of it, as a backend uses it |
//! | `audit` `error` | hits and misses, errors and notices |
//! | `root` | where users' caches are |
//!
//! What must hold: a file is data from outside. Whatever is wrong with one is a miss with a reason, never an error to the
//! user, a panic or a wrong kernel; a full or read-only disk degrades to memory and says so, once. Checksums detect
//! accidents; permissions are the boundary against people.
//!
//! What must not be here: how anything is compiled, kernels, Vulkan, a device. The crate stores bytes under keys that
//! others make, and depends on `spec` alone. `docs/cache-format.md` specifies its files byte by byte.
#![forbid(unsafe_code)]

mod audit;
mod cache;
mod digest;
mod disk;
mod entry;
mod error;
mod identity;
mod index;
mod key;
mod lock;
mod marks;
mod memory;
mod pack;
mod root;
mod storage;

pub use audit::{CacheAudit, CacheStatistics, Tier};
pub use cache::{CacheOptions, Layer, Made, PipelineCache};
pub use digest::{Digest, DigestBuilder};
pub use disk::{
    CacheCount, ClearReport, DiskOptions, DiskPipelineCache, DiskStats, Durability, GcReport, ImportReport,
    InvalidateReport, Lookup, Mode, Trust, VerifyReport, Written,
};
pub use entry::{Entry, FORMAT_VERSION, HEADER_BYTES, MAX_ENTRY_BYTES};
pub use error::CacheError;
pub use fulgurite_spec::cache::{
    CacheOutcome, EntryState, PipelineCacheMissEvidence, PipelineCacheMissReason,
};
pub use identity::{DeviceParts, PayloadKind, PipelineCacheIdentity, PipelineDeviceFingerprint};
pub use key::{KEY_VERSION, PipelineCacheKey, PipelineCacheKeyDesc, PipelineFeatureFlags};
pub use pack::{Pack, PackWriter};
pub use root::default_root;
pub use storage::{FileSystem, Listed, Missing, Storage, StoredFile};
