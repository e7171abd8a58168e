//! The suites, by name.

mod atomics;
mod cache;
mod chains;
mod checks;
mod control;
mod coopmat;
mod driver;
mod literals;
mod memory;
mod ops;
mod subgroup;
mod tune;
mod vec_shuffle;
mod worker;

use crate::harness::Harness;

/// A suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Suite {
    /// Every op × type on edge values and random values.
    Ops,
    /// Ops in sequence: pairs, random expressions, deep and wide control flow.
    Chains,
    /// Loads, stores, bounds, parameters, shared and local memory, and invalid launches.
    Memory,
    /// Nested and divergent control flow, loops with every kind of trip count.
    Control,
    /// Subgroup ops in full and partial subgroups and under control flow.
    Subgroup,
    /// Cooperative matrices: products, loads and stores, componentwise ops.
    Coopmat,
    /// Contention: sums, tickets, compare-exchange loops, message passing.
    Atomics,
    /// Caches of compiled kernels: damage, crashes, many processes, full disks.
    Cache,
    /// The autotuner: candidates that must never win, its records, and concurrent processes that save them.
    Tune,
    /// The engine around a backend: buffers, calls, order, options, counters, graphs, launches that trap or never end.
    /// Runs last, because launches that never end may cause a device loss.
    Driver,
}

impl Suite {
    /// Every suite, in the order in which they run.
    pub const ALL: [Suite; 10] = [
        Self::Ops,
        Self::Chains,
        Self::Memory,
        Self::Control,
        Self::Subgroup,
        Self::Coopmat,
        Self::Atomics,
        Self::Cache,
        Self::Tune,
        Self::Driver,
    ];

    /// Returns the name used on command lines and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ops => "ops",
            Self::Chains => "chains",
            Self::Memory => "memory",
            Self::Control => "control",
            Self::Subgroup => "subgroup",
            Self::Coopmat => "coopmat",
            Self::Atomics => "atomics",
            Self::Cache => "cache",
            Self::Tune => "tune",
            Self::Driver => "driver",
        }
    }

    /// Returns the suite with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    pub(crate) fn run(self, harness: &mut Harness<'_>, progress: &mut dyn FnMut(usize, usize)) {
        match self {
            Self::Ops => ops::run(harness, progress),
            Self::Chains => chains::run(harness, progress),
            Self::Memory => memory::run(harness, progress),
            Self::Control => control::run(harness, progress),
            Self::Subgroup => subgroup::run(harness, progress),
            Self::Coopmat => coopmat::run(harness, progress),
            Self::Atomics => atomics::run(harness, progress),
            Self::Cache => cache::run(harness, progress),
            Self::Tune => tune::run(harness, progress),
            Self::Driver => driver::run(harness, progress),
        }
    }
}

pub(crate) use cache::properties as cache_properties;
pub use worker::Worker;

/// Runs the worker command in `args`, for programs that suites start.
///
/// # Errors
/// A message that describes the failure or the violated property.
pub fn work(args: &[String]) -> Result<(), String> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = cache::work(&args).or_else(|| tune::work(&args));
    done.unwrap_or_else(|| Err(format!("unknown worker command `{}`", args.join(" "))))
}

/// Returns words as little-endian bytes.
pub(crate) fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}
