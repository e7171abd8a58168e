//! The suites, by name.

mod atomics;
mod control;
mod memory;
mod ops;

use crate::harness::Harness;

/// A suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Suite {
    /// Every op × type on edge values and random ones.
    Ops,
    /// Loads, stores, bounds, parameters, shared and local memory, and what a launch refuses.
    Memory,
    /// Nested and divergent control flow, loops of every trip count.
    Control,
    /// Contention: sums, tickets, compare-exchange loops.
    Atomics,
}

impl Suite {
    /// Every suite, in the order they run.
    pub const ALL: [Suite; 4] = [Self::Ops, Self::Memory, Self::Control, Self::Atomics];

    /// Its name on command lines and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ops => "ops",
            Self::Memory => "memory",
            Self::Control => "control",
            Self::Atomics => "atomics",
        }
    }

    /// The suite called `name`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    pub(crate) fn run(self, harness: &mut Harness<'_>, progress: &mut dyn FnMut(usize, usize)) {
        match self {
            Self::Ops => ops::run(harness, progress),
            Self::Memory => memory::run(harness, progress),
            Self::Control => control::run(harness, progress),
            Self::Atomics => atomics::run(harness, progress),
        }
    }
}
