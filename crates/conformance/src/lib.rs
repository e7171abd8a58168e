//! Suites that any backend can be held to, and the reports they give.
//!
//! [`run`] takes an open backend, whoever wrote it, and holds it to the language: every op on edge values and
//! random ones against [`fulgurite_spec::eval`], and kernels against expectations computed in plain Rust. The
//! reference is held to the same, so it is never compared with itself.
//!
//! A case is one op, or one kernel, on one input tuple. Nothing is counted twice, nothing is skipped in
//! silence: what a device cannot do is counted as unsupported, with the reason.
#![forbid(unsafe_code)]

#[cfg(feature = "command")]
pub mod command;
mod compare;
mod expectations;
pub mod filetest;
mod harness;
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

/// Whether this build validates the SPIR-V of every kernel of the suites and of `robust`: the feature `spirv-val`.
pub const VALIDATES_SPIRV: bool = cfg!(feature = "spirv-val");

/// How much to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For every change: a minute or two for each backend on two cores.
    Smoke,
    /// For nightly runs: many more random inputs.
    Full,
}

/// What to run, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The suites, in order.
    pub suites: Vec<Suite>,
    /// How much.
    pub level: Level,
    /// What random inputs come from: equal seeds give equal inputs.
    pub seed: u64,
    /// Failures that are known.
    pub expectations: Vec<Expectations>,
    /// Only groups (an op × type, a kernel) whose name contains this.
    pub only: Option<String>,
    /// Most kinds of failure of the suite `chains` that are reduced to a small kernel and reported, in each part.
    pub shrunk_kinds: usize,
    /// The folder that the suite `chains` writes such kernels to, as run files with their inputs.
    pub failures: Option<PathBuf>,
    /// More openings of the same device, which the suite `chains` uses beside the first: some drivers compile one kernel at a
    /// time for each.
    pub twins: Twins,
    /// How the suites `cache` and `tune` start processes: a command that calls [`work`] with what is added to its arguments. Without
    /// one its groups of several processes are unsupported.
    pub worker: Option<Worker>,
}

/// More openings of a device.
#[derive(Clone, Default)]
pub struct Twins(pub Vec<Arc<dyn hal::Device>>);

impl fmt::Debug for Twins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|backend| &backend.snapshot().backend)).finish()
    }
}

impl Options {
    /// Every suite at `level`, with the expected failures that come with the suites.
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

/// Runs the suites on `backend`. `progress` is told the suite, how many of its groups are done, and how many
/// there are.
pub fn run(
    backend: &Arc<dyn hal::Device>,
    options: &Options,
    progress: &mut dyn FnMut(Suite, usize, usize),
) -> BackendReport {
    let mut reports = Vec::new();
    for suite in &options.suites {
        let mut harness = Harness::new(backend, options, *suite);
        suite.run(&mut harness, &mut |done, all| progress(*suite, done, all));
        reports.extend(harness.finish());
    }
    BackendReport::new(backend.snapshot(), reports, backend.complaints())
}
