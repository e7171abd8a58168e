//! What Fulgurite asks of a disk, for the crates that keep something there: the pipeline cache and the autotuner.
//!
//! | module | owns |
//! |---|---|
//! | `digest` | what things are named by: BLAKE3 with a domain |
//! | `storage` | files and folders, behind a trait, so that faults can be put in their place; the file system |
//! | `lock` | locks between processes that are waited for no longer than a deadline |
//! | `root` | the folder of all that is kept |
//! | `meddled` | the file system with faults, for tests (feature `faults`) |
//!
//! What must not be here: formats, and what to do when something fails. Those belong to whoever keeps something.
#![forbid(unsafe_code)]

mod digest;
mod lock;
#[cfg(any(test, feature = "faults"))]
mod meddled;
mod root;
mod storage;

pub use digest::{Digest, DigestBuilder};
pub use lock::{DEADLINE, Locked, lock_within};
#[cfg(any(test, feature = "faults"))]
pub use meddled::Meddled;
pub use root::default_root;
pub use storage::{FileSystem, Listed, Missing, Storage, StoredFile, unique_name};
