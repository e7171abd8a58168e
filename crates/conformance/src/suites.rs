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

use fulgurite_spec::Type;
use fulgurite_spec::eval::Components;

use crate::harness::Harness;

/// A suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Suite {
    /// Every op × type on edge values and random ones.
    Ops,
    /// Ops in sequence: pairs, random expressions, deep and wide control flow.
    Chains,
    /// Loads, stores, bounds, parameters, shared and local memory, and what a launch refuses.
    Memory,
    /// Nested and divergent control flow, loops of every trip count.
    Control,
    /// Ops across subgroups, full and partial ones, and what surrounds them.
    Subgroup,
    /// Cooperative matrices: products, their memory, and what is done to each component.
    Coopmat,
    /// Contention: sums, tickets, compare-exchange loops, message passing.
    Atomics,
    /// What is kept of compiled kernels: damage, crashes, many processes, full disks.
    Cache,
    /// The autotuner: what must never win, what is remembered, what several processes do to its records.
    Tune,
    /// What is round a backend: buffers, calls, order, options, counters, graphs, launches that trap or never end. Last:
    /// a device may be lost to the launches that never end.
    Driver,
}

impl Suite {
    /// Every suite, in the order they run.
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

    /// Its name on command lines and in reports.
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

    /// The suite called `name`.
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
pub use worker::{Worker, work};

/// A value as text: its literals, with bits for floats.
pub(crate) fn show(value: &Components, ty: Type) -> String {
    let lanes: Vec<String> = value[..ty.lanes.count() as usize]
        .iter()
        .map(|bits| {
            let literal = fulgurite_spec::Literal::new(ty.scalar, *bits);
            if ty.scalar.is_float() { format!("{literal} ({bits:#010x})") } else { literal.to_string() }
        })
        .collect();
    lanes.join(" ")
}

/// Words as little-endian bytes.
pub(crate) fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}
