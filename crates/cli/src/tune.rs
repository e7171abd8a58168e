//! `fulgurite tune`: searches for the fastest configurations of the kernel library's families, and maintains the records.

mod plot;
mod records;
mod table;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use fulgurite::autotune::{
    AutotuneStore, InProcess, Instance, MeasurePolicy, ProcessGate, Progress, Rejection, StoreOptions,
    Tester, TuneOptions, TuneReport, answer, tune_with,
};
use fulgurite::kernels::{Listed, families, family};
use fulgurite::registry;
use fulgurite_hal::{CompileOptions, Error, LaunchOptions};
use fulgurite_runtime::Device;

use crate::output::{self, note, say};
use crate::progress;
use crate::source::unknown_name;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<records::Command>,
    /// The folder of records. Default: `autotune` in the user's cache folder
    #[arg(long, value_name = "DIR", global = true)]
    root: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    tune: TuneArgs,
}

#[derive(clap::Args)]
struct TuneArgs {
    /// The backend's id, or `all`
    #[arg(long, value_name = "ID", default_value = "vulkan")]
    backend: String,
    /// A family; may be given several times. Default: every one
    #[arg(long, value_name = "F")]
    family: Vec<String>,
    /// A problem of the families; may be given several times. Default: three of each
    #[arg(long, value_name = "SIZES")]
    problem: Vec<String>,
    /// Time limit for each problem; candidates not tried by then are left for the next run
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = budget)]
    budget: Duration,
    /// Maximum number of candidates tried for each problem
    #[arg(long, value_name = "N")]
    max_candidates: Option<usize>,
    /// Minimum number of timed runs of each candidate that is not eliminated; short ones run for half a second
    #[arg(long, value_name = "N", default_value_t = 15)]
    rounds: u32,
    /// Keep the device busy before candidates are timed, until they become no faster for this time
    #[arg(long, value_name = "TIME", default_value = "300ms", value_parser = humantime::parse_duration)]
    warm_up: Duration,
    /// Seed for inputs, order and sampling
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Afterwards time every candidate in full, and print how much slower the chosen one is than the best
    #[arg(long)]
    regret: bool,
    /// Also measure recorded candidates again
    #[arg(long)]
    again: bool,
    /// Try candidates in this process: faster, but a candidate that crashes ends it
    #[arg(long)]
    in_process: bool,
    /// Print only the N fastest candidates. Default: all
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Draw the landscape of each problem into this folder, as SVG
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
}

/// The arguments of a process that tries candidates.
#[derive(clap::Args)]
pub(crate) struct WorkerArgs {
    backend: String,
    family: String,
    problem: String,
    seed: u64,
    timeout_ms: u64,
}

/// Parses the time limit of a problem. Within a limit of zero, no candidate could be tried.
fn budget(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("no candidate can be tried in no time; `30s` is the default".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

/// Timeout of one launch.
const LAUNCH: Duration = Duration::from_secs(10);
/// Time limit for compiling and trying a candidate.
const CANDIDATE: Duration = Duration::from_secs(60);

/// Tunes, or runs a subcommand, and returns whether all is well.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let root = match &args.root {
        Some(root) => std::path::absolute(root)?,
        None => fulgurite_pipeline_cache::default_root()
            .context("error[FG1102]: there is no cache folder: FULGURITE_CACHE_DIR is empty or relative")?
            .join("autotune"),
    };
    let store = AutotuneStore::open(&root, StoreOptions::default());
    let result = match &args.command {
        Some(command) => records::run(command, &store, args.json),
        None => tune_all(&args.tune, &store, args.json),
    };
    store.notices().iter().for_each(|notice| note!("{notice}"));
    result
}

fn tune_all(args: &TuneArgs, store: &AutotuneStore, json: bool) -> anyhow::Result<bool> {
    let families = match &args.family[..] {
        [] => families(),
        ids => ids.iter().map(|id| found(id)).collect::<Result<_, _>>()?,
    };
    let (mut reports, mut complete) = (Vec::new(), true);
    for id in crate::backend_ids(&registry(), &args.backend) {
        let device = match open(&id) {
            Ok(device) => device,
            Err(Error::Unavailable { reason, .. }) if args.backend == "all" => {
                note!("{id}: unavailable: {reason}");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if !json {
            let snapshot = device.snapshot();
            say!("{id}: {}, {}", snapshot.device, snapshot.driver)?;
        }
        for listed in &families {
            let own = listed.problems.map(str::to_owned);
            let problems = if args.problem.is_empty() { &own[..] } else { &args.problem };
            for problem in problems {
                match tune_one(args, store, &device, listed, problem) {
                    Ok(report) => {
                        if json {
                            reports.push(table::json(&report));
                        } else {
                            table::print(&report, args.top)?;
                        }
                        if let Some(folder) = &args.plot {
                            plot::write(folder, &report)?;
                        }
                    }
                    // A device without what all of a family's kernels need has nothing to be tuned.
                    Err(error) if is_empty(&error) && args.family.is_empty() => {
                        note!("{}: {error}", listed.id);
                    }
                    Err(error) => {
                        complete = false;
                        note!("{} {problem}: {error:#}", listed.id);
                    }
                }
            }
        }
    }
    if json {
        output::json(&serde_json::Value::Array(reports))?;
    }
    Ok(complete)
}

fn is_empty(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<Error>().map(Error::code);
    code == Some(fulgurite::Code::NoConfiguration)
}

fn found(id: &str) -> anyhow::Result<Listed> {
    let Some(found) = family(id) else {
        let known: Vec<_> = families().iter().map(|family| family.id).collect();
        return Err(unknown_name(format!("there is no family `{id}`"), "family", &known).into());
    };
    Ok(found)
}

fn open(id: &str) -> Result<Device, Error> {
    Ok(Device::new(registry().open(id)?, CompileOptions::default(), LaunchOptions::default()))
}

fn tune_one(
    args: &TuneArgs,
    store: &AutotuneStore,
    device: &Device,
    family: &Listed,
    problem: &str,
) -> anyhow::Result<TuneReport> {
    let instance = family.instance(device.snapshot(), problem)?;
    let mut options = TuneOptions::default();
    options.measure = MeasurePolicy::default().rounds(args.rounds).warm_up(args.warm_up).timeout(LAUNCH);
    (options.budget, options.max_candidates) = (Some(args.budget), args.max_candidates);
    (options.seed, options.regret, options.again) = (args.seed, args.regret, args.again);
    let bar = progress::bar(0, format!("{} {problem}", family.id));
    let mut told = |progress| {
        let (what, done, all) = match progress {
            Progress::Tried(done, all) => ("tried", done, all),
            Progress::Timed(done, all) => ("timed", done, all),
            _ => return,
        };
        bar.set_message(what);
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    };
    let report = if args.in_process {
        let mut gate = InProcess::new(device, args.seed, LAUNCH);
        tune_with(device, &instance, store, &options, &mut gate, &mut told)
    } else {
        let program = std::env::current_exe()?;
        let backend = device.snapshot().backend.clone();
        let start = || {
            let mut command = Command::new(&program);
            command.args(["tune-worker", &backend, family.id, problem]);
            command.args([args.seed.to_string(), LAUNCH.as_millis().to_string()]);
            command
        };
        let mut gate = ProcessGate::new(start, CANDIDATE);
        tune_with(device, &instance, store, &options, &mut gate, &mut told)
    };
    bar.finish_and_clear();
    // Results are kept even if no candidate was correct.
    store.save()?;
    Ok(report?)
}

/// Tries the candidates whose numbers arrive on standard input.
pub(crate) fn work(args: &WorkerArgs) -> anyhow::Result<bool> {
    let device = open(&args.backend)?;
    let instance: Instance = found(&args.family)?.instance(device.snapshot(), &args.problem)?;
    let timeout = Duration::from_millis(args.timeout_ms);
    let tester = Tester::new(&device, &instance, args.seed, timeout)?;
    let check = |index: usize| match instance.candidates.get(index) {
        Some(candidate) => tester.check(candidate),
        None => Err(Rejection::invalid("the process has no such candidate")),
    };
    answer(std::io::stdin().lock(), std::io::stdout().lock(), check)?;
    Ok(true)
}
