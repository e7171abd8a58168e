//! The command `fulgurite`: its command line, and the exit status of every command.
//!
//! Thin over the facade and the suites: each module owns one command.
// One block, where the user vouches for a pack.
#![deny(unsafe_code)]

mod asm;
mod cache;
mod calibrate;
mod check;
mod conformance;
mod devices;
mod doctor;
mod explain;
mod fmt;
#[cfg(feature = "wgsl")]
mod import;
mod output;
mod progress;
mod replay;
mod run;
mod source;
mod spirv;
mod tune;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "fulgurite",
    about = "Runs, checks, tunes and replays compute kernels",
    version,
    after_help = "Exit status: 0 if all is well, 1 if a problem was found, 2 if the command could not be carried out."
)]
struct Cli {
    #[command(subcommand)]
    command: Invocation,
}

#[derive(Subcommand)]
enum Invocation {
    #[command(flatten)]
    Command(Command),
    #[command(flatten)]
    Worker(Worker),
}

/// Processes that commands start; not for users.
#[derive(Subcommand)]
enum Worker {
    /// A process of a suite
    #[command(hide = true)]
    SuiteWorker {
        /// Its task
        args: Vec<String>,
    },
    /// A process that tries candidates
    #[command(hide = true)]
    TuneWorker(tune::WorkerArgs),
}

#[derive(Subcommand)]
enum Command {
    /// Run kernel texts on buffers from the command line or `.npy` files, checked against the reference
    Run(Box<run::Args>),
    /// Parse and verify kernel texts, and show every problem in the source
    Check(check::Args),
    /// Print kernel texts in their canonical form
    Fmt(fmt::Args),
    /// Print the kernel of a WGSL compute shader
    #[cfg(feature = "wgsl")]
    Import(import::Args),
    /// Disassemble the SPIR-V module of a kernel
    Spirv(spirv::Args),
    /// Disassemble the machine code that the CPU backend generates for a kernel
    Asm(asm::Args),
    /// Explain a diagnostic code, or how a kernel is optimized and checked
    Explain(explain::Args),
    /// List the backends of this build and their devices
    Devices(devices::Args),
    /// Say what this machine lacks, and how to provide it
    Doctor(doctor::Args),
    /// Search for the fastest configurations of the kernel library, and maintain the records
    Tune(tune::Args),
    /// Maintain the cache of compiled kernels, and make packs of them
    Cache(cache::Args),
    /// Measure devices for routing
    Calibrate(calibrate::Args),
    /// Run a captured call or a run file again, on any backend, and compare its outputs
    Replay(replay::Args),
    /// Test backends against the language: every op on edge values, and kernels against plain Rust
    Conformance(conformance::Args),
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// Returns the name on the command line.
    fn name(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Check(_) => "check",
            Self::Fmt(_) => "fmt",
            #[cfg(feature = "wgsl")]
            Self::Import(_) => "import",
            Self::Spirv(_) => "spirv",
            Self::Asm(_) => "asm",
            Self::Explain(_) => "explain",
            Self::Devices(_) => "devices",
            Self::Doctor(_) => "doctor",
            Self::Tune(_) => "tune",
            Self::Cache(_) => "cache",
            Self::Calibrate(_) => "calibrate",
            Self::Replay(_) => "replay",
            Self::Conformance(_) => "conformance",
            Self::Completions { .. } => "completions",
        }
    }

    /// Returns whether results, and so errors, are printed as JSON.
    fn wants_json(&self) -> bool {
        match self {
            Self::Run(args) => args.json,
            Self::Check(args) => args.json,
            #[cfg(feature = "wgsl")]
            Self::Import(args) => args.json,
            Self::Explain(args) => args.json,
            Self::Devices(args) => args.json,
            Self::Doctor(args) => args.json,
            Self::Tune(args) => args.json,
            Self::Cache(args) => args.json,
            Self::Calibrate(args) => args.json,
            Self::Replay(args) => args.json,
            _ => false,
        }
    }

    /// Carries the command out and returns whether all is well.
    fn run(&self) -> anyhow::Result<bool> {
        match self {
            Self::Run(args) => run::run(args),
            Self::Check(args) => check::run(args),
            Self::Fmt(args) => fmt::run(args),
            #[cfg(feature = "wgsl")]
            Self::Import(args) => import::run(args),
            Self::Spirv(args) => spirv::run(args),
            Self::Asm(args) => asm::run(args),
            Self::Explain(args) => explain::run(args),
            Self::Devices(args) => devices::run(args),
            Self::Doctor(args) => doctor::run(args),
            Self::Tune(args) => tune::run(args),
            Self::Cache(args) => cache::run(args),
            Self::Calibrate(args) => calibrate::run(args),
            Self::Replay(args) => replay::run(args),
            Self::Conformance(args) => conformance::run(args),
            Self::Completions { shell } => completions(*shell),
        }
    }
}

impl Invocation {
    /// Returns the name of the command on the command line.
    fn name(&self) -> &'static str {
        match self {
            Self::Command(command) => command.name(),
            Self::Worker(Worker::SuiteWorker { .. }) => "suite-worker",
            Self::Worker(Worker::TuneWorker(_)) => "tune-worker",
        }
    }

    fn wants_json(&self) -> bool {
        matches!(self, Self::Command(command) if command.wants_json())
    }

    fn run(&self) -> anyhow::Result<bool> {
        match self {
            Self::Command(command) => command.run(),
            Self::Worker(Worker::SuiteWorker { args }) => {
                fulgurite_conformance::work(args).map(|()| true).map_err(anyhow::Error::msg)
            }
            Self::Worker(Worker::TuneWorker(args)) => tune::work(args),
        }
    }
}

/// Prints the completions of `shell`.
fn completions(shell: clap_complete::Shell) -> anyhow::Result<bool> {
    let mut script = Vec::new();
    // Not of `Cli`: hidden commands would be completed as well.
    let mut commands =
        Command::augment_subcommands(clap::Command::new("fulgurite").version(env!("CARGO_PKG_VERSION")));
    clap_complete::generate(shell, &mut commands, "fulgurite", &mut script);
    output::raw(&script)?;
    Ok(true)
}

/// Returns the ids of the backends that `wanted` names: `all`, or one that may not be registered.
fn backend_ids(registry: &fulgurite::Registry, wanted: &str) -> Vec<String> {
    match wanted {
        "all" => registry.list().map(|r| r.id().to_owned()).collect(),
        id => vec![id.to_owned()],
    }
}

/// Returns the ids of the devices that `wanted` names: a backend, an adapter, or `all` for every suitable adapter, as
/// `devices` lists them. Of `all`, a backend without a suitable adapter is listed by its own id, with which opening it
/// returns the reason.
fn device_ids(registry: &fulgurite::Registry, wanted: &str) -> Vec<String> {
    if wanted != "all" {
        return vec![wanted.to_owned()];
    }
    let found = registry.adapters().adapters;
    let of_backend = |id: &str| {
        let own = found.iter().filter(|info| info.id.backend() == id && is_selectable(info));
        let ids: Vec<_> = own.map(|info| info.id.to_string()).collect();
        if ids.is_empty() { vec![id.to_owned()] } else { ids }
    };
    registry.list().flat_map(|backend| of_backend(backend.id())).collect()
}

/// Returns whether a device may be used without being named: nothing known speaks against it.
fn is_selectable(info: &fulgurite::AdapterInfo) -> bool {
    info.unsuitable.is_none() && info.deselected.is_none()
}

fn main() -> ExitCode {
    // Without the handlers, an interrupted compile counts as a crash of the driver once.
    #[cfg(unix)]
    let _ = fulgurite::handle_interrupts();
    let command = Cli::parse().command;
    match command.run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if output::is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let error = match error.downcast_ref::<fulgurite::Error>() {
                Some(usage) if usage.code() == fulgurite::Code::BadUsage => {
                    source::with_command(usage.clone(), command.name()).into()
                }
                _ => error,
            };
            output::error(&error, command.wants_json());
            // A kernel text with problems is a result, not a failure of the command.
            let is_result = error.downcast_ref::<source::InvalidKernel>().is_some();
            ExitCode::from(if is_result { 1 } else { 2 })
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_has_its_name() {
        for name in Command::augment_subcommands(clap::Command::new("fulgurite")).get_subcommands() {
            let (name, first) = (name.get_name(), "one");
            let lines = [vec![name], vec![name, first], vec![name, "bash"], vec![name, "stats"]];
            let parsed = lines
                .into_iter()
                .find_map(|line| Cli::try_parse_from([&["fulgurite"], &line[..]].concat()).ok());
            assert_eq!(parsed.map(|cli| cli.command.name()), Some(name));
        }
    }

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
