//! `fulgurite replay`: runs captured calls and run files again, on any backend, and compares their outputs as far as the op
//! table fixes them. Text from a file is escaped before it is printed.

use std::path::{Path, PathBuf};

use fulgurite::{AdapterId, Code, CompileOptions, Error, LaunchOptions, Registry, Repro, registry};
use fulgurite_conformance::filetest::{self, RunFile};
use fulgurite_runtime::Device;
use serde_json::{Value, json};

use crate::output::{self, note, say};
use crate::source::{read_text, shown};

/// Maximum size of a file in bytes.
const MAX_BYTES: u64 = 4 << 30;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A captured call, as `Call::capture` and `fulgurite run --capture` write it, or a run file (`.fg`) of `fulgurite conformance
    /// --failures`
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The backend's id, an adapter's, or `all` for every suitable device, as `devices` lists them. Default: the backend
    /// that the call was captured on, and all for a run file
    #[arg(long, value_name = "ID")]
    backend: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The outcome of a file on a backend.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The outputs are as expected.
    Equal,
    /// They are not, or the launch failed.
    Different,
    /// The backend is not available, or lacks a feature.
    NotRun,
}

/// A file on a device.
struct Replay {
    /// The id of the backend or of the adapter.
    backend: String,
    outcome: Outcome,
    /// Differences, the reason for `NotRun`, or lowering rules in force.
    messages: Vec<String>,
    /// Buffers that the kernel may write and whose contents the file does not fix, in whole or in part.
    unchecked: Vec<String>,
}

impl Replay {
    fn new(backend: &str, outcome: Outcome, messages: Vec<String>) -> Self {
        Self { backend: backend.to_owned(), outcome, messages, unchecked: Vec::new() }
    }

    fn entry(&self) -> Value {
        let outcome = match self.outcome {
            Outcome::Equal => "as_expected",
            Outcome::Different => "different",
            Outcome::NotRun => "not_run",
        };
        json!({
            "backend": self.backend,
            "outcome": outcome,
            "messages": self.messages,
            "unchecked": self.unchecked,
        })
    }

    fn print(&self) -> anyhow::Result<()> {
        let id = &self.backend;
        self.messages.iter().try_for_each(|message| say!("{id}: {message}"))?;
        match (self.outcome, &self.unchecked[..]) {
            (Outcome::Equal, []) => say!("{id}: every output is as expected"),
            (Outcome::Equal, unchecked) => say!(
                "{id}: every checked output is as expected; not checked, or only in part: {}",
                unchecked.join(", ")
            ),
            (Outcome::Different | Outcome::NotRun, _) => Ok(()),
        }
    }
}

/// Runs each file and returns whether all outputs were as expected.
///
/// # Errors
/// The error that kept a single file from being run, or the error of standard output.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let registry = registry();
    let (mut right, mut entries) = (0, Vec::new());
    let is_single = args.files.len() == 1;
    for file in &args.files {
        match replay(&registry, file, args) {
            Ok(replays) => {
                right += usize::from(replays.iter().all(|replay| replay.outcome != Outcome::Different));
                let backends: Value = replays.iter().map(Replay::entry).collect();
                entries.push(json!({ "file": file.display().to_string(), "backends": backends }));
            }
            Err(error) if is_single || output::is_closed(&error) => return Err(error),
            Err(error) => {
                note!("{}: {error:#}", shown(file));
                entries.push(json!({ "file": file.display().to_string(), "error": format!("{error:#}") }));
            }
        }
    }
    if args.json {
        output::json(&json!({ "files": entries }))?;
    } else if !is_single {
        say!("{right} of {} files as expected", args.files.len())?;
    }
    Ok(right == args.files.len())
}

/// Runs a file on its backends.
///
/// # Errors
/// If it cannot be read, or no backend could run it.
fn replay(registry: &Registry, path: &Path, args: &Args) -> anyhow::Result<Vec<Replay>> {
    let is_run_file = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("fg"));
    let text = read_text(path, MAX_BYTES)?;
    let invalid = |error: &dyn std::fmt::Display| {
        Error::invalid(Code::BadFileFormat, format!("{}: {error}", shown(path)))
    };
    let mut replays = Vec::new();
    let mut add = |replay: Replay| {
        let printed = if args.json { Ok(()) } else { replay.print() };
        replays.push(replay);
        printed
    };
    if is_run_file {
        let file = RunFile::parse(&text).map_err(|error| invalid(&error))?;
        for id in wanted(registry, args.backend.as_deref().unwrap_or("all"))? {
            add(run_file(registry, &file, &id))?;
        }
    } else {
        let repro = Repro::from_json(&text).map_err(|error| invalid(&error))?;
        let manifest = &repro.manifest;
        note!(
            "kernel `{}` ({}), captured on `{}`: {} ({})",
            manifest.kernel,
            digest(&repro),
            manifest.backend_id,
            manifest.device,
            manifest.driver
        );
        for id in wanted(registry, args.backend.as_deref().unwrap_or(&manifest.backend_id))? {
            add(run_repro(registry, &repro, &id))?;
        }
    }
    anyhow::ensure!(
        replays.iter().any(|r| r.outcome != Outcome::NotRun),
        "no backend could run {}",
        shown(path)
    );
    Ok(replays)
}

/// Returns the digest that the file states, and whether it is the one of the kernel that the file holds.
fn digest(repro: &Repro) -> String {
    let stated = &repro.manifest.program_digest;
    match fulgurite::parse(&repro.text).map(|kernel| kernel.digest().to_string()) {
        Ok(digest) if digest == *stated => stated.clone(),
        Ok(digest) => format!("{digest}, while the file states {stated}: it was changed after the capture"),
        Err(_) => format!("{stated} as the file states, not checked: its kernel is invalid"),
    }
}

/// Returns the ids of the devices named by `wanted`.
///
/// # Errors
/// `FG0401` for a backend that is not registered.
fn wanted(registry: &Registry, wanted: &str) -> Result<Vec<String>, Error> {
    let ids = crate::device_ids(registry, wanted);
    ids.iter().try_for_each(|id| registry.named(AdapterId::new(id).backend()).map(drop))?;
    Ok(ids)
}

/// Replays a captured call on a backend.
fn run_repro(registry: &Registry, repro: &Repro, id: &str) -> Replay {
    let replayed = registry.open(id).and_then(|device| {
        repro.replay(&Device::new(device, CompileOptions::default(), LaunchOptions::default()))
    });
    match replayed {
        Ok(replayed) => {
            let outcome = if replayed.differences.is_empty() { Outcome::Equal } else { Outcome::Different };
            let all = replayed.differences.iter().chain(&replayed.allowed);
            Replay::new(id, outcome, all.map(ToString::to_string).collect())
        }
        Err(error @ (Error::Unavailable { .. } | Error::Unsupported(_))) => {
            Replay::new(id, Outcome::NotRun, vec![error.to_string()])
        }
        Err(error) => Replay::new(id, Outcome::Different, vec![error.to_string()]),
    }
}

/// Runs a run file on a backend.
fn run_file(registry: &Registry, file: &RunFile, id: &str) -> Replay {
    let device = match registry.open(id) {
        Ok(device) => device,
        Err(error) => return Replay::new(id, Outcome::NotRun, vec![error.to_string()]),
    };
    let rules = &device.snapshot().rules;
    let mut messages = Vec::new();
    if !rules.is_empty() {
        messages.push(format!("lowering rules in force: {}", rules.join(", ")));
    }
    let outcome = match file.run(device.as_ref()) {
        Ok(filetest::Outcome::AsExpected) => Outcome::Equal,
        Ok(filetest::Outcome::Unsupported(reason)) => {
            messages.push(format!("unsupported: {reason}"));
            Outcome::NotRun
        }
        Err(difference) => {
            messages.push(difference);
            Outcome::Different
        }
    };
    let mut replay = Replay::new(id, outcome, messages);
    if outcome != Outcome::NotRun {
        replay.unchecked = file.unchecked().map(|name| format!("`%{name}`")).collect();
    }
    replay
}
