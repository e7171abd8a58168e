//! The command line of the suites, for use in a custom binary: `fn main() -> ExitCode {
//! fulgurite_conformance::main(&registry) }`.

mod child;
mod table;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use fulgurite_driver_core::Registry;
use fulgurite_hal::{self as hal, AdapterId, Error};
use fulgurite_spec::{Code, Diagnostic, Location};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{BackendReport, Expectations, Level, Options, Report, Suite, Twins, Worker};

/// First argument of the worker processes that suites start.
const WORKER: &str = "suite-worker";

/// Parsed command line.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Id of the backend to test, or `all`
    #[arg(long, default_value = "all")]
    backend: String,
    /// Run only this suite; may be repeated
    #[arg(long)]
    suite: Vec<String>,
    /// Run only groups (an op and type, a kernel) whose name contains this text. A chain that fails only together with
    /// other chains may pass
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Amount of work
    #[arg(long, value_enum, default_value = "smoke")]
    level: LevelArg,
    /// Seed of the random inputs; equal seeds give equal inputs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run the suite `driver` in this process. Some of its launches may never end
    #[arg(long)]
    in_process: bool,
    /// Run the suite for another process, which reports it if no group is selected
    #[arg(long, hide = true)]
    part: bool,
    /// File of expected failures (TOML), in addition to the built-in ones
    #[arg(long, value_name = "FILE")]
    expectations: Vec<PathBuf>,
    /// Number of times to open the device for the suite `chains`: CPU drivers compile one kernel at a time per opened
    /// device
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    openings: u32,
    /// Folder in which to write a run file for each kind of failure of the suite `chains`; the command `replay` runs it
    #[arg(long, value_name = "FOLDER")]
    failures: Option<PathBuf>,
    /// Print the largest errors of approximate ops
    #[arg(long)]
    accuracy: bool,
    /// Write the report to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LevelArg {
    /// For every change: a few minutes for all backends
    Smoke,
    /// For nightly runs: twenty times the random inputs
    Full,
}

#[derive(clap::Parser)]
#[command(
    about = "Hold backends to the language: every op on edge values, and kernels against plain Rust",
    version
)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// Runs the suites on the backends of `registry` as selected by the command line, prints the results, and returns the
/// exit status: 0 if nothing failed, 1 if something failed, 2 if the command could not be carried out. `cargo xtask
/// conformance` calls the same code with the backends of this project.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use fulgurite_conformance::Registry;
///
/// fn main() -> ExitCode {
///     let mut registry = Registry::new();
///     // registry.register(my_backend::backend())?;
///     fulgurite_conformance::main(&registry)
/// }
/// ```
pub fn main(registry: &Registry) -> ExitCode {
    let mut args = std::env::args().skip(1).peekable();
    let result = if args.next_if_eq(WORKER).is_some() {
        crate::work(&args.collect::<Vec<_>>()).map(|()| true).map_err(Error::Internal)
    } else {
        run(registry, &Line::parse().args, &[])
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            note(&error);
            ExitCode::from(2)
        }
    }
}

/// Prints a line to standard error. If it cannot be written, nobody can be told.
fn note(text: &dyn std::fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Like [`main()`], for a program that has already parsed its command line. `before` are the arguments that precede
/// those of `Args` when this program restarts itself for the suite `driver`. A command line that begins with
/// `suite-worker` must go to [`work`](crate::work) instead.
///
/// # Errors
/// `FG0401` for an unregistered backend, `FG0704` for an unknown suite or if `--only` selects no group, `FG0701` and `FG0702` for files that cannot be
/// read or written.
pub fn run(registry: &Registry, args: &Args, before: &[&str]) -> Result<bool, Error> {
    let options = options(args)?;
    let ids: Vec<String> = match args.backend.as_str() {
        "all" => registry.list().map(|r| r.id().to_owned()).collect(),
        id => vec![id.to_owned()],
    };
    // Check every id before the first device is opened.
    ids.iter().try_for_each(|id| registry.named(AdapterId::new(id).backend()).map(drop))?;
    let required: Vec<String> = std::env::var("FULGURITE_REQUIRE_BACKENDS")
        .unwrap_or_default()
        .split(',')
        .map(|id| id.trim().to_owned())
        .filter(|id| !id.is_empty() && (args.backend == "all" || *id == args.backend))
        .collect();
    let mut here = options.clone();
    let apart = !args.in_process && options.suites.contains(&Suite::Driver);
    if apart {
        here.suites.retain(|suite| *suite != Suite::Driver);
    }
    let open = |id: &str| registry.open(id);
    let mut reports = Vec::new();
    let mut missing: Vec<String> = required.iter().filter(|r| !ids.contains(r)).cloned().collect();
    for id in &ids {
        let backend = match open(id) {
            Ok(backend) => backend,
            Err(error) => {
                note(&format_args!("{id}: unavailable: {error}"));
                // A backend that is named explicitly is required.
                if required.contains(id) || args.backend != "all" {
                    missing.push(id.clone());
                }
                continue;
            }
        };
        let started = Instant::now();
        // Complaints of a checking layer cannot be attributed to one of several openings.
        if here.suites.contains(&Suite::Chains) && backend.complaints().is_none() {
            here.twins = Twins((1..args.openings).map_while(|_| open(id).ok()).collect());
        }
        let mut report = with_progress(&backend, &here);
        here.twins = Twins::default();
        if apart {
            match child::run(args, before, id)? {
                child::Outcome::Ran(suite) => report.suites.push(suite),
                child::Outcome::NoneSelected(names) => report.unselected.extend(names),
            }
        }
        if report.suites.is_empty() && args.only.is_some() {
            // An empty table says nothing; if no other backend has the groups either, that is an error below.
            reports.push(report);
            continue;
        }
        table::print_backend(&report, started.elapsed().as_secs_f64());
        table::print_cache(&backend.cache_report());
        if args.accuracy {
            table::print_accuracy(&report);
        }
        table::print_complaints(report.complaints.as_deref());
        reports.push(report);
    }
    let report = Report::new(reports, &missing);
    for id in &missing {
        note(&format_args!("{id}: required, but not available"));
    }
    if let Some(path) = &args.json {
        let text = report.to_json()?;
        std::fs::write(path, text).map_err(|error| unwritable(path, &error))?;
    }
    if !args.part {
        check_selected(args, &report.backends)?;
    }
    if crate::VALIDATES_SPIRV {
        table::print_line("the SPIR-V of every kernel was validated, for the least and the fullest device");
    }
    let passed: u64 = report.backends.iter().map(|b| b.cases() - table::failed(b)).sum();
    let failures: u64 = report.backends.iter().map(table::failed).sum();
    table::print_line(&format!("{passed} passed, {failures} failed"));
    Ok(report.ok)
}

/// Checks that `--only` selects a group on some backend.
///
/// # Errors
/// `FG0704`, with examples of names.
fn check_selected(args: &Args, backends: &[BackendReport]) -> Result<(), Error> {
    let Some(only) = &args.only else { return Ok(()) };
    if backends.is_empty() || backends.iter().any(|backend| !backend.suites.is_empty()) {
        return Ok(());
    }
    let names: BTreeSet<_> = backends.iter().flat_map(|backend| &backend.unselected).collect();
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    let message = format!("no group of the selected suites has `{only}` in its name");
    let mut problem = Diagnostic::new(Code::BadUsage, Location::Unknown, message);
    if !names.is_empty() {
        problem = problem.with_fix(format!("Give a part of a name, for example of {}.", names.join(", ")));
    }
    Err(Error::Invalid(problem.into()))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    Error::invalid(Code::FileUnwritable, format!("cannot write {}: {error}", path.display()))
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::invalid(Code::FileUnreadable, format!("cannot read {}: {error}", path.display()))
}

fn options(args: &Args) -> Result<Options, Error> {
    let level = match args.level {
        LevelArg::Smoke => Level::Smoke,
        LevelArg::Full => Level::Full,
    };
    let mut options = Options::new(level, args.seed);
    options.only.clone_from(&args.only);
    if let Some(folder) = &args.failures {
        std::fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
        options.failures = Some(folder.clone());
    }
    options.worker = std::env::current_exe().ok().map(|program| Worker::new(program, [WORKER]));
    if !args.suite.is_empty() {
        options.suites.clear();
        for name in &args.suite {
            let Some(suite) = Suite::parse(name) else {
                let known: Vec<_> = Suite::ALL.iter().map(|s| s.name()).collect();
                let problem =
                    Diagnostic::new(Code::BadUsage, Location::Unknown, format!("unknown suite `{name}`"))
                        .with_fix(format!("Name one of `{}`.", known.join("`, `")));
                return Err(Error::Invalid(problem.into()));
            };
            options.suites.push(suite);
        }
    }
    for path in &args.expectations {
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        let list = Expectations::parse(&text).map_err(|error| unreadable(path, &error))?;
        options.expectations.push(list);
    }
    Ok(options)
}

fn with_progress(backend: &Arc<dyn hal::Device>, options: &Options) -> BackendReport {
    let bar = bar(1, backend.snapshot().backend.clone());
    let report = crate::run(backend, options, &mut |suite, done, all| {
        bar.set_message(suite.name());
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    report
}

/// Returns a progress bar of `length` steps, preceded by `prefix` and followed by its message. It is drawn on a
/// terminal only.
pub fn bar(length: u64, prefix: impl Into<String>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{prefix} {msg:<8} {wide_bar} {pos}/{len}") {
        bar.set_style(style);
    }
    bar.set_prefix(prefix.into());
    bar
}

/// Returns a spinner for work whose progress is not known: `prefix`, the time since now, and its message. It is drawn on
/// a terminal only, until it is finished.
pub fn spinner(prefix: impl Into<String>) -> ProgressBar {
    let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} for {elapsed}; {msg}") {
        spinner.set_style(style);
    }
    spinner.set_prefix(prefix.into());
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

#[cfg(test)]
mod tests {
    use fulgurite_hal::{AdapterInfo, AdapterKind, SingleDevice};
    use fulgurite_spec::device::DeviceSnapshot;

    use super::*;

    /// Returns a registry with one backend, which is not available.
    fn unavailable() -> Registry {
        let info = AdapterInfo::new(AdapterKind::Other, 1, DeviceSnapshot::new("one", "none", "none"));
        let mut registry = Registry::new();
        let backend = SingleDevice::new(info, |_| Err(Error::unavailable("one", "it is nowhere")));
        registry.register(backend).unwrap();
        registry
    }

    fn refused(line: &[&str]) -> String {
        let args = Line::try_parse_from([&["conformance"], line].concat()).map(|line| line.args);
        match args {
            Ok(args) => run(&unavailable(), &args, &[]).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_there_is_not_is_told_by_its_code() {
        let suite = refused(&["--suite", "nothing", "--backend", "one"]);
        assert!(suite.contains("FG0704") && suite.contains("`ops`, "), "{suite}");
        let backend = refused(&["--backend", "nothing"]);
        assert!(backend.contains("FG0401") && backend.contains("one"), "{backend}");
        let list = refused(&["--expectations", "/nothing/here", "--backend", "one"]);
        assert!(list.contains("FG0701"), "{list}");
    }

    #[test]
    fn text_in_no_name_of_a_group_is_an_error_with_names() {
        let mut registry = Registry::new();
        registry.register(fulgurite_backend_reference::backend()).unwrap();
        let run = |line: &[&str]| {
            let here = ["conformance", "--in-process", "--backend", "reference"];
            let line = Line::try_parse_from([&here, line].concat()).unwrap();
            super::run(&registry, &line.args, &[])
        };
        let error = run(&["--suite", "ops", "--suite", "driver", "--only", "no such group"]).unwrap_err();
        let text = error.to_string();
        assert!(error.code() == Code::BadUsage && text.contains("`no such group`"), "{text}");
        let (_, help) = text.split_once("help: ").unwrap();
        let names: Vec<_> = help.split('`').skip(1).step_by(2).collect();
        assert_eq!(names.len(), 2, "{help}");
        // Each name that the help gives selects a group.
        for name in names {
            assert_eq!(run(&["--suite", "ops", "--suite", "driver", "--only", name]), Ok(true), "{name}");
        }
    }

    #[test]
    fn a_backend_that_is_named_must_be_there() {
        let line = Line::try_parse_from(["conformance", "--backend", "one", "--suite", "ops"]).unwrap();
        assert!(!run(&unavailable(), &line.args, &[]).unwrap());
    }
}
