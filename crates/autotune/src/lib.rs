//! The autotuner: search over families of kernels, and what it found.
//!
//! | module | owns |
//! |---|---|
//! | `family` `instance` | what a family of kernels is; one put together with a problem and a device |
//! | `prepared` | a configuration that was compiled, and running it |
//! | `gate` `process` | correct first: trying candidates against plain Rust, here or in a process of their own |
//! | `measure` | timing candidates against each other |
//! | `effects` | what times of some candidates say of others |
//! | `search` | which are tried and timed, in which order, until when |
//! | `tune` | tuning a problem: how, what came of it, what the store is told |
//! | `key` `record` | what a record is found by; its rows, and how two become one |
//! | `text` `store` | the files of records, and the folder of them |
//! | `policy` `tuner` | whether and how a program tunes; tuned kernels as it uses them |
//! | `random` `error` | repeatable random numbers; what is said of records |
//!
//! What must hold: a wrong or crashing candidate never wins. Tuning never blocks a caller who did not ask for it. A tuned
//! choice is never slower than the heuristic on the problem measured. What one process saves, no other loses, whatever ends
//! either; a bad file costs its bad parts.
//!
//! What must not be here: particular kernels (those are `kernels`), particular backends (it sees `driver-core` alone), and
//! compiled artefacts (those are `pipeline-cache`).
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
