//! The suites of `cargo xtask bench` and their peers. Each result is checked before it is timed.

mod cache;
mod compile;
mod copy;
mod cpu;
mod kernels;
mod launch;
mod passes;
mod start;
mod tune;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use fulgurite::Code;
use fulgurite_hal::Error;

use crate::measurement::{Amount, Measurement};
use crate::problems::Scale;
use crate::target::Target;
use crate::timing::{Policy, Work, in_turns};

/// A suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suite {
    /// From text or bytes to a verified kernel, and to SPIR-V.
    Compile,
    /// The overhead of a launch.
    Launch,
    /// Copies to, from and on the device.
    Copy,
    /// Various workloads on backends that compile, compared with plain Rust.
    Cpu,
    /// The kernels of `examples/kernels` and the kernel library.
    Kernels,
    /// Run times of kernels with and without the passes.
    Passes,
    /// The pipeline cache.
    Cache,
    /// Searches of the autotuner, and its records.
    Tune,
    /// From the start of a process to its first result.
    Start,
}

impl Suite {
    /// Every suite.
    pub const ALL: [Self; 9] = [
        Self::Compile,
        Self::Launch,
        Self::Copy,
        Self::Cpu,
        Self::Kernels,
        Self::Passes,
        Self::Cache,
        Self::Tune,
        Self::Start,
    ];

    /// Returns the suite's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Compile => "compile",
            Self::Launch => "launch",
            Self::Copy => "copy",
            Self::Cpu => "cpu",
            Self::Kernels => "kernels",
            Self::Passes => "passes",
            Self::Cache => "cache",
            Self::Tune => "tune",
            Self::Start => "start",
        }
    }

    /// Returns the suite with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name() == name)
    }

    /// Returns whether the suite runs once, independently of backends.
    pub const fn is_without_backend(self) -> bool {
        matches!(self, Self::Compile | Self::Cache)
    }

    /// Returns whether the suite runs on the backend `id`.
    pub fn is_of(self, id: &str) -> bool {
        !self.is_without_backend() && (self != Self::Cpu || id != "reference")
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Options of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Use small problems and few runs.
    pub quick: bool,
    /// Run only results whose name contains this text.
    pub only: Option<String>,
    /// Run only results with these names; empty for all.
    pub names: Vec<String>,
    /// Folder of SPIR-V modules to compare kernels with, each named after a kernel.
    pub against: Option<PathBuf>,
    /// Program that the suite `start` starts with a role, a backend's id and a folder.
    pub starter: Option<Starter>,
}

/// A program that calls [`crate::start::play`].
#[derive(Clone, Debug)]
pub struct Starter {
    /// The program.
    pub program: PathBuf,
    /// Arguments before the role.
    pub args: Vec<String>,
}

/// Collects results.
pub struct Session<'a> {
    options: &'a Options,
    policy: Policy,
    suite: Suite,
    backend: Option<String>,
    scales: HashMap<String, Scale>,
    /// The results.
    pub results: Vec<Measurement>,
    /// Results that could not be measured here, with the reason.
    pub notes: Vec<String>,
    /// Failures.
    pub failures: Vec<String>,
    told: &'a mut dyn FnMut(&str),
}

impl<'a> Session<'a> {
    /// Creates a session without results. `told` is called with the name of each result before it is measured.
    pub fn new(options: &'a Options, told: &'a mut dyn FnMut(&str)) -> Self {
        let policy = if options.quick { Policy::QUICK } else { Policy::FULL };
        let (results, notes, failures) = (Vec::new(), Vec::new(), Vec::new());
        let scales = HashMap::new();
        Self { options, policy, suite: Suite::Compile, backend: None, scales, results, notes, failures, told }
    }

    /// Runs a suite on `target`, which suites without a backend do not need.
    pub fn run(&mut self, suite: Suite, target: Option<&Target>) {
        self.suite = suite;
        self.backend = target.map(|target| target.id.clone());
        let done = match (suite, target) {
            (Suite::Compile, None) => compile::run(self),
            (Suite::Cache, None) => cache::run(self),
            (Suite::Launch, Some(target)) => launch::run(self, target),
            (Suite::Copy, Some(target)) => copy::run(self, target),
            (Suite::Cpu, Some(target)) => cpu::run(self, target),
            (Suite::Kernels, Some(target)) => kernels::run(self, target),
            (Suite::Passes, Some(target)) => passes::run(self, target),
            (Suite::Tune, Some(target)) => tune::run(self, target),
            (Suite::Start, Some(target)) => start::run(self, target),
            (_, target) => {
                Err(anyhow!("it runs on {}", if target.is_some() { "no backend" } else { "a backend" }))
            }
        };
        if let Err(error) = done {
            self.fail(suite.name(), &error);
        }
        let missing = match suite {
            Suite::Compile => Some("naga"),
            Suite::Launch if target.is_some_and(|target| target.id == "vulkan") => Some("wgpu"),
            _ => None,
        };
        if let Some(peer) = missing.filter(|_| !cfg!(feature = "peers")) {
            let how = "this program was built without it; build `xtask` with `--features peers`";
            self.notes.push(format!("{suite}: the peer {peer}: {how}"));
        }
    }

    /// Returns a result's name with the prefix of the backend.
    fn full_name(&self, name: &str) -> String {
        self.backend.as_ref().map_or_else(|| name.to_owned(), |id| format!("{id}/{name}"))
    }

    /// Returns whether a result is selected. Call this before preparing its work.
    fn wants(&mut self, name: &str) -> bool {
        let name = self.full_name(name);
        let Options { only, names, .. } = self.options;
        let wanted = only.as_ref().is_none_or(|only| name.contains(only.as_str()))
            && (names.is_empty() || names.contains(&name));
        if wanted {
            (self.told)(&format!("{}: {name}", self.suite));
        }
        wanted
    }

    /// Returns whether a result with this prefix may be selected. Call this before generating its data.
    fn may_want(&self, name: &str) -> bool {
        let (names, name) = (&self.options.names, self.full_name(name));
        names.is_empty() || names.iter().any(|wanted| wanted.starts_with(&name))
    }

    /// Times work, alternating with a peer if there is one, and records the result.
    fn time<'w>(
        &mut self,
        name: &str,
        amount: Amount,
        ours: &'w mut Work<'w>,
        peer: Option<(&str, &'w mut Work<'w>)>,
    ) -> anyhow::Result<&mut Measurement> {
        self.time_by(self.policy, name, amount, ours, peer.map(|(of, work)| (of, amount, work)))
    }

    /// Like [`time`](Self::time), with another policy, and a peer that does a different amount of work.
    fn time_by<'w>(
        &mut self,
        policy: Policy,
        name: &str,
        amount: Amount,
        ours: &'w mut Work<'w>,
        peer: Option<(&str, Amount, &'w mut Work<'w>)>,
    ) -> anyhow::Result<&mut Measurement> {
        let (peer, work) = peer.map_or((None, None), |(of, amount, work)| (Some((of, amount)), Some(work)));
        let (samples, others) = in_turns(&policy, ours, work)?;
        let mut result = Measurement::new(self.suite.name(), self.full_name(name), amount, &samples);
        if let (Some((of, amount)), Some(samples)) = (peer, others) {
            result = result.beside(of, amount, &samples);
        }
        let at = self.results.len();
        self.results.push(result);
        Ok(&mut self.results[at])
    }

    /// Records why a result is missing: as a note if the device lacks a feature, otherwise as a failure.
    fn fail(&mut self, name: &str, error: &anyhow::Error) {
        let text = format!("{}: {}: {error:#}", self.suite, self.full_name(name));
        let known = error.downcast_ref::<Error>();
        let is_lacking = known.is_some_and(|error| {
            matches!(error, Error::Unsupported(_)) || error.code() == Code::NoConfiguration
        });
        // The rest is help for the author of the kernel.
        let first = text.lines().next().unwrap_or_default().to_owned();
        if is_lacking { self.notes.push(first) } else { self.failures.push(text) }
    }

    /// Returns the peer, or records a note if it is not available. Results are measured without it, too.
    fn peer<T>(&mut self, name: &str, opened: anyhow::Result<T>) -> Option<T> {
        let told = |error: &anyhow::Error| format!("{}: the peer {name}: {error:#}", self.suite);
        match opened {
            Ok(peer) => Some(peer),
            Err(error) => {
                self.notes.push(told(&error));
                None
            }
        }
    }

    /// Measures a result; an error does not stop the others.
    fn each(&mut self, name: &str, measure: impl FnOnce(&mut Self) -> anyhow::Result<()>) {
        if self.wants(name)
            && let Err(error) = measure(self)
        {
            self.fail(name, &error);
        }
    }

    /// Returns the scale of problems for `target`, chosen by its speed so that an interpreter finishes soon as well.
    fn scale(&mut self, target: &Target) -> anyhow::Result<Scale> {
        if let Some(scale) = self.scales.get(&target.id) {
            return Ok(*scale);
        }
        let scale = kernels::scale(target)?;
        let scale = if self.options.quick { scale.min(Scale::Quick) } else { scale };
        self.scales.insert(target.id.clone(), scale);
        Ok(scale)
    }

    fn against(&self) -> Option<&'a Path> {
        self.options.against.as_deref()
    }
}
