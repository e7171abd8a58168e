//! Storage primitives shared by the pipeline cache, the autotuner, probes and calibrations.
//!
//! | module | owns |
//! |---|---|
//! | `digest` | BLAKE3 digests with a domain |
//! | `storage` | the trait for files and folders, and its implementation for the file system |
//! | `folder` | file system access relative to an open folder |
//! | `whole` | small files, checked for trust, read whole and replaced atomically |
//! | `lock` | inter-process locks with a deadline |
//! | `root` | the default cache folder |
//! | `fault_injection` | a file system that injects faults, for tests (feature `faults`) |
//!
//! Does not contain file formats or error recovery; those belong to the callers.
#![forbid(unsafe_code)]

mod digest;
#[cfg(any(test, feature = "faults"))]
mod fault_injection;
#[cfg(unix)]
mod folder;
mod lock;
mod root;
mod storage;
mod whole;

pub use digest::{Digest, DigestBuilder};
#[cfg(any(test, feature = "faults"))]
pub use fault_injection::FaultInjectingStorage;
pub use lock::{DEADLINE, Locked, lock_within};
pub use root::default_root;
pub use storage::{FileSystem, Listed, Missing, Storage, StoredFile, enter, unique_name};
pub use whole::{read_whole, replace, replace_durably, replace_whole};
