//! The autotuner: searches families of kernels for the fastest configuration, and stores the results.
//!
//! | module | owns |
//! |---|---|
//! | `family` `instance` | the trait for a family of kernels; a family applied to a problem and a device |
//! | `prepared` | a compiled configuration, ready to run |
//! | `gate` `process` | correctness checks before timing, in this process or a child process |
//! | `measure` | timing candidates against each other |
//! | `effects` | predicting times from the times of other candidates |
//! | `search` | which candidates are checked and timed, in which order, and when to stop |
//! | `tune` | tuning one problem: options, report, store updates |
//! | `key` `record` | the keys of records; their rows, and merging |
//! | `text` `store` | the format of record files, and the folder of them |
//! | `policy` `tuner` | whether and how a program tunes; tuned kernels for programs |
//! | `random` `error` | reproducible random numbers; errors and notices of the store |
//!
//! Invariants: an incorrect or crashing candidate never wins. Tuning never blocks a caller that did not request it. A
//! tuned configuration is never slower than the heuristic on the problem measured. A record saved by one process is
//! never lost by another, even in a crash; a damaged file loses only its damaged records.
//!
//! Does not contain particular kernels (see `kernels`), particular backends (only `driver-core` is used), or compiled
//! artifacts (see `pipeline-cache`).
#![forbid(unsafe_code)]

mod effects;
mod error;
mod family;
mod gate;
mod instance;
mod key;
mod measure;
mod policy;
mod prepared;
mod process;
mod random;
mod record;
mod search;
mod store;
mod text;
mod tune;
mod tuner;

pub use error::StoreError;
pub use family::{
    Argument, Check, Family, Mismatch, Numbers, Plan, Slot, SlotBuffer, Step, Summary, Trial, Work,
};
pub use gate::{Gate, InProcess, Rejection, Tester};
pub use instance::{Candidate, Instance, config_name, parse_problem};
pub use key::{AutotuneKey, DeviceKey};
pub use measure::MeasurePolicy;
pub use policy::{AutotuneMode, AutotunePolicy};
pub use prepared::Prepared;
pub use process::{ProcessGate, answer};
pub use random::Random;
pub use record::{AutotuneRecord, CandidateRow, MAX_PASSED_OVER, MAX_ROWS, TuneVerdict};
pub use store::{
    AutotuneStore, ImportReport, MAX_FILE_BYTES, PruneOptions, PruneReport, RecordDifference, StoreOptions,
};
pub use toml::Table;
pub use tune::{CandidateReport, Progress, TuneOptions, TuneReport, tune, tune_with};
pub use tuner::{Source, Tuned, Tuner};
