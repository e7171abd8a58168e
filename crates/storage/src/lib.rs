//! What Fulgurite asks of a disk, for all that keep something there: the pipeline cache, the autotuner, probes and
//! calibrations.
//!
//! | module | owns |
//! |---|---|
//! | `digest` | what things are named by: BLAKE3 with a domain |
//! | `storage` | files and folders, behind a trait, so that faults can be put in their place; the file system |
//! | `folder` | the file system below one open folder, whatever takes its place |
//! | `whole` | small files that are read and replaced as a whole, if they can be trusted |
//! | `lock` | locks between processes that are waited for no longer than a deadline |
//! | `root` | the folder of all that is kept |
//! | `meddled` | the file system with faults, for tests (feature `faults`) |
//!
//! What must not be here: formats, and what to do when something fails. Those belong to whoever keeps something.
#![forbid(unsafe_code)]

mod digest;
#[cfg(unix)]
mod folder;
mod lock;
#[cfg(any(test, feature = "faults"))]
mod meddled;
mod root;
mod storage;
mod whole;

pub use digest::{Digest, DigestBuilder};
pub use lock::{DEADLINE, Locked, lock_within};
#[cfg(any(test, feature = "faults"))]
pub use meddled::Meddled;
pub use root::default_root;
pub use storage::{FileSystem, Listed, Missing, Storage, StoredFile, enter, unique_name};
pub use whole::{read_whole, replace_whole};
