//! Conformance suites for backends, and their reports.
//!
//! [`run`] tests an open backend of any origin against the language: every op on edge values and random values against
//! [`fulgurite_spec::eval`], and kernels against expectations computed in plain Rust. The reference backend is tested
//! in the same way, so it is never compared with itself.
//!
//! A case is one op, or one kernel, on one input tuple. No case is counted twice or skipped silently: a kernel that a
//! device cannot run is counted as unsupported, with the reason.
#![forbid(unsafe_code)]

#[cfg(feature = "command")]
pub mod command;
mod compare;
mod expectations;
pub mod filetest;
mod harness;
pub mod reduce;
mod report;
pub mod robust;
pub mod special;
mod suites;
mod validate;
mod values;

#[cfg(feature = "command")]
pub use command::main;
pub use expectations::{Expectations, ExpectationsError};
pub use fulgurite_driver_core::Registry;
pub use harness::Harness;
pub use report::{BackendReport, Failure, Report, SuiteReport};
pub use suites::{Suite, Worker, work};

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use fulgurite_hal as hal;

/// Whether this build validates the SPIR-V of every kernel of the suites and of `robust` (feature `spirv-val`).
pub const VALIDATES_SPIRV: bool = cfg!(feature = "spirv-val");

/// Amount of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For every change: a minute or two for each backend on two cores.
    Smoke,
    /// For nightly runs: many more random inputs.
    Full,
}

/// Options of a run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The suites, in order.
    pub suites: Vec<Suite>,
    /// Amount of work.
    pub level: Level,
    /// Seed of the random inputs: equal seeds give equal inputs.
    pub seed: u64,
    /// Lists of expected failures.
    pub expectations: Vec<Expectations>,
    /// Runs only groups (an op × type, a kernel) whose name contains this text.
    pub only: Option<String>,
    /// Maximum number of kinds of failure per part of the suite `chains` that are reduced to a small kernel and
    /// reported.
    pub shrunk_kinds: usize,
    /// Folder in which the suite `chains` writes such kernels, as run files with their inputs.
    pub failures: Option<PathBuf>,
    /// Further openings of the same device, which the suite `chains` uses in parallel: some drivers compile one kernel
    /// at a time per opened device.
    pub twins: Twins,
    /// Command that starts a worker process of the suites `cache` and `tune`. The process must pass the arguments that
    /// are appended to the command to [`work`]. If `None`, groups that need several processes are unsupported.
    pub worker: Option<Worker>,
}

/// Further openings of a device.
#[derive(Clone, Default)]
pub struct Twins(pub Vec<Arc<dyn hal::Device>>);

impl fmt::Debug for Twins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|backend| &backend.snapshot().backend)).finish()
    }
}

impl Options {
    /// Selects every suite at `level`, with the built-in lists of expected failures.
    pub fn new(level: Level, seed: u64) -> Self {
        let expectations = Expectations::shipped();
        Self {
            suites: Suite::ALL.to_vec(),
            level,
            seed,
            expectations,
            only: None,
            shrunk_kinds: 80,
            failures: None,
            twins: Twins::default(),
            worker: None,
        }
    }
}

/// Runs the suites on `backend`. Calls `progress` with the suite, the number of its groups that are done, and their
/// total number.
pub fn run(
    backend: &Arc<dyn hal::Device>,
    options: &Options,
    progress: &mut dyn FnMut(Suite, usize, usize),
) -> BackendReport {
    let (mut reports, mut unselected) = (Vec::new(), Vec::new());
    for suite in &options.suites {
        let mut harness = Harness::new(backend, options, *suite);
        suite.run(&mut harness, &mut |done, all| progress(*suite, done, all));
        unselected.extend(harness.unselected());
        reports.extend(harness.finish());
    }
    let mut report = BackendReport::new(backend.snapshot(), reports, backend.complaints());
    report.unselected = unselected;
    report
}
