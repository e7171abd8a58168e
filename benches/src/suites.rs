//! The suites of `cargo xtask bench`: what is measured, beside which peer. Each result is checked before it is timed.

mod cache;
mod compile;
mod copy;
mod cpu;
mod kernels;
mod launch;
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
    /// Plain work of all kinds beside plain Rust.
    Cpu,
    /// The kernels of `examples/kernels` and the kernel library.
    Kernels,
    /// The pipeline cache.
    Cache,
    /// Searches of the autotuner, and its records.
    Tune,
    /// From the start of a process to its first result.
    Start,
}

impl Suite {
    /// Each.
    pub const ALL: [Self; 8] = [
        Self::Compile,
        Self::Launch,
        Self::Copy,
        Self::Cpu,
        Self::Kernels,
        Self::Cache,
        Self::Tune,
        Self::Start,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Compile => "compile",
            Self::Launch => "launch",
            Self::Copy => "copy",
            Self::Cpu => "cpu",
            Self::Kernels => "kernels",
            Self::Cache => "cache",
            Self::Tune => "tune",
            Self::Start => "start",
        }
    }

    /// The suite of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name() == name)
    }

    /// Whether it is run once, whatever backends there are.
    pub const fn is_without_backend(self) -> bool {
        matches!(self, Self::Compile | Self::Cache)
    }

    /// Whether it is run on the backend `id`.
    pub fn is_of(self, id: &str) -> bool {
        !self.is_without_backend() && (self != Self::Cpu || id == "cpu")
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How suites are run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Small problems, few runs.
    pub quick: bool,
    /// Only results whose name contains this.
    pub only: Option<String>,
    /// If there are any, only results of these names.
    pub names: Vec<String>,
    /// A folder of SPIR-V modules that kernels are compared with, each named after a kernel.
    pub against: Option<PathBuf>,
    /// The program that is started by the suite `start`, with a role, a backend's id and a folder.
    pub starter: Option<Starter>,
}

/// A program that calls [`crate::start::play`].
#[derive(Clone, Debug)]
pub struct Starter {
    /// It.
    pub program: PathBuf,
    /// What it is passed before the role.
    pub args: Vec<String>,
}

/// Results so far.
pub struct Session<'a> {
    options: &'a Options,
    policy: Policy,
    suite: Suite,
    backend: Option<String>,
    scales: HashMap<String, Scale>,
    /// What was measured.
    pub results: Vec<Measurement>,
    /// What could not be measured here, and why.
    pub notes: Vec<String>,
    /// What failed.
    pub failures: Vec<String>,
    told: &'a mut dyn FnMut(&str),
}

impl<'a> Session<'a> {
    /// Without results. `told` is told what is measured next.
    pub fn new(options: &'a Options, told: &'a mut dyn FnMut(&str)) -> Self {
        let policy = if options.quick { Policy::QUICK } else { Policy::FULL };
        let (results, notes, failures) = (Vec::new(), Vec::new(), Vec::new());
        let scales = HashMap::new();
        Self { options, policy, suite: Suite::Compile, backend: None, scales, results, notes, failures, told }
    }

    /// Runs a suite on `target`, which those without a backend do not need.
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

    /// A name as results have it.
    fn full_name(&self, name: &str) -> String {
        self.backend.as_ref().map_or_else(|| name.to_owned(), |id| format!("{id}/{name}"))
    }

    /// Whether a result is wanted. To be asked before its work is prepared.
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

    /// Whether a result whose name begins so may be wanted: to be asked before its numbers are made.
    fn may_want(&self, name: &str) -> bool {
        let (names, name) = (&self.options.names, self.full_name(name));
        names.is_empty() || names.iter().any(|wanted| wanted.starts_with(&name))
    }

    /// Times work, beside a peer's if there is one, and keeps the result.
    fn time<'w>(
        &mut self,
        name: &str,
        amount: Amount,
        ours: &'w mut Work<'w>,
        peer: Option<(&str, &'w mut Work<'w>)>,
    ) -> anyhow::Result<&mut Measurement> {
        self.time_by(self.policy, name, amount, ours, peer.map(|(of, work)| (of, amount, work)))
    }

    /// As [`time`](Self::time), by another policy, beside a peer that does another amount.
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

    /// Keeps why a result is missing: what a device lacks is no failure.
    fn fail(&mut self, name: &str, error: &anyhow::Error) {
        let text = format!("{}: {}: {error:#}", self.suite, self.full_name(name));
        let known = error.downcast_ref::<Error>();
        let is_lacking = known.is_some_and(|error| {
            matches!(error, Error::Unsupported(_)) || error.code() == Code::NoConfiguration
        });
        // The help that follows is for whoever wrote the kernel.
        let first = text.lines().next().unwrap_or_default().to_owned();
        if is_lacking { self.notes.push(first) } else { self.failures.push(text) }
    }

    /// A peer, if it is there: ours are measured without it, too.
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

    /// Measures one result after the other; one that fails does not keep the others from being measured.
    fn each(&mut self, name: &str, measure: impl FnOnce(&mut Self) -> anyhow::Result<()>) {
        if self.wants(name)
            && let Err(error) = measure(self)
        {
            self.fail(name, &error);
        }
    }

    /// How large problems are on `target`: as large as it is fast, so that an interpreter is done, too.
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
