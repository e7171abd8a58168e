//! `cargo xtask conformance`: runs the suites on backends and prints what they found.

mod child;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use fulgurite_backend_vulkan::{Options as VulkanOptions, ValidationLog, VulkanBackend};
use fulgurite_conformance::{BackendReport, Expectations, Level, Options, Report, Suite, Twins, Worker};
use fulgurite_driver_core::{Backend, CacheReport, Error};

use crate::progress;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which backend: an id, or `all`
    #[arg(long, default_value = "all")]
    backend: String,
    /// Only this suite
    #[arg(long)]
    suite: Vec<String>,
    /// Only groups (an op and type, a kernel) whose name contains this. Chains that fail only in company may pass without it
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// How much to run
    #[arg(long, value_enum, default_value = "smoke")]
    level: LevelArg,
    /// Where random inputs come from; equal seeds give equal inputs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run the suite `driver` in this process, too: what it launches may never end
    #[arg(long)]
    in_process: bool,
    /// A list of expected failures (TOML) besides those that come with the suites
    #[arg(long, value_name = "FILE")]
    expectations: Vec<PathBuf>,
    /// How often the device is opened for the suite `chains`: drivers of CPUs compile one kernel at a time for each
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    openings: u32,
    /// Write a run file for each kind of failure of the suite `chains` into this folder: `cargo xtask replay` runs it
    #[arg(long, value_name = "FOLDER")]
    failures: Option<PathBuf>,
    /// Print how far approximate ops were from the true values at worst
    #[arg(long)]
    accuracy: bool,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum LevelArg {
    /// For every change: under a minute for all backends
    Smoke,
    /// For nightly runs: twenty times the random inputs
    Full,
}

/// A backend that is open, and the validation layer's log if it has one.
struct Opened {
    backend: Arc<dyn Backend>,
    log: Option<Arc<ValidationLog>>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let options = options(args)?;
    let registry = fulgurite::registry();
    let ids = crate::backend_ids(&registry, &args.backend);
    if let Some(id) = ids.iter().find(|id| registry.get(id).is_none()) {
        let known: Vec<_> = registry.list().map(|r| r.id()).collect();
        bail!("error[FG0401]: there is no backend `{id}`; there are {}", known.join(", "));
    }
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
    let mut reports = Vec::new();
    let mut missing: Vec<String> = required.iter().filter(|r| !ids.contains(r)).cloned().collect();
    let mut clean = true;
    for id in &ids {
        let opened = match open(&registry, id) {
            Ok(opened) => opened,
            Err(error) => {
                eprintln!("{id}: unavailable: {error}");
                // Naming a backend demands it.
                if required.contains(id) || args.backend != "all" {
                    missing.push(id.clone());
                }
                continue;
            }
        };
        let started = Instant::now();
        if here.suites.contains(&Suite::Chains) && opened.log.is_none() {
            let more = (1..args.openings).map_while(|_| open(&registry, id).ok());
            here.twins = Twins(more.map(|opened| opened.backend).collect());
        }
        let mut report = with_progress(&opened.backend, &here);
        here.twins = Twins::default();
        if apart {
            report.suites.extend(child::run(args, id)?);
        }
        print_backend(&report, started.elapsed().as_secs_f64());
        print_cache(&opened.backend.cache_report());
        if args.accuracy {
            print_accuracy(&report);
        }
        reports.push(report);
        clean &= print_validation(opened.log.as_deref());
    }
    let mut report = Report::new(reports, &missing);
    // What the validation layer complains of is a failure too.
    report.ok &= clean;
    for id in &missing {
        eprintln!("{id}: required, and not there");
    }
    if let Some(path) = &args.json {
        let mut text = serde_json::to_string_pretty(&report)?;
        text.push('\n');
        std::fs::write(path, text)
            .with_context(|| format!("error[FG0702]: cannot write {}", path.display()))?;
    }
    if fulgurite_conformance::VALIDATES_SPIRV {
        print_line("the SPIR-V of every kernel was validated, for the least and the fullest device");
    }
    let passed: u64 = report.backends.iter().map(|b| b.cases() - failed(b)).sum();
    let failures: u64 = report.backends.iter().map(failed).sum();
    print_line(&format!("{passed} passed, {failures} failed"));
    Ok(report.ok)
}

fn options(args: &Args) -> anyhow::Result<Options> {
    let level = match args.level {
        LevelArg::Smoke => Level::Smoke,
        LevelArg::Full => Level::Full,
    };
    let mut options = Options::new(level, args.seed);
    options.only.clone_from(&args.only);
    if let Some(folder) = &args.failures {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("error[FG0702]: cannot make {}", folder.display()))?;
        options.failures = Some(folder.clone());
    }
    options.worker = std::env::current_exe().ok().map(|program| Worker::new(program, ["suite-worker"]));
    if !args.suite.is_empty() {
        options.suites.clear();
        for name in &args.suite {
            let Some(suite) = Suite::parse(name) else {
                let known: Vec<_> = Suite::ALL.iter().map(|s| s.name()).collect();
                bail!("error[FG0704]: there is no suite `{name}`; there are {}", known.join(", "));
            };
            options.suites.push(suite);
        }
    }
    for path in &args.expectations {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("error[FG0701]: cannot read {}", path.display()))?;
        let list = Expectations::parse(&text).with_context(|| path.display().to_string())?;
        options.expectations.push(list);
    }
    Ok(options)
}

/// Opens a backend; Vulkan's in a way that keeps its validation log in reach.
fn open(registry: &fulgurite::Registry, id: &str) -> Result<Opened, Error> {
    if id == "vulkan" {
        let options = VulkanOptions::from_env();
        let backend = VulkanBackend::open(&options)?;
        let log = options.validation.then(|| Arc::clone(backend.validation_log()));
        return Ok(Opened { backend, log });
    }
    let route = registry.route(&fulgurite::Choice::Exactly(id.to_owned()))?;
    Ok(Opened { backend: Arc::clone(route.backend()), log: None })
}

fn with_progress(backend: &Arc<dyn Backend>, options: &Options) -> BackendReport {
    let bar = progress::bar(1, backend.snapshot().backend.clone());
    let report = fulgurite_conformance::run(backend, options, &mut |suite, done, all| {
        bar.set_message(suite.name());
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    report
}

fn failed(report: &BackendReport) -> u64 {
    report.suites.iter().map(|s| s.failed).sum()
}

/// What was compiled, and what a cache had of it. The suites that run in processes of their own are not in it.
fn print_cache(report: &CacheReport) {
    let Some(kept_in) = &report.kept_in else { return };
    let missed: Vec<_> = report.misses.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    print_line(&format!(
        "  cache: {} kernels lowered, {} compiled by the driver; {} found in {kept_in}, not found: {}",
        report.lowered,
        report.driver_compiles,
        report.hits,
        if missed.is_empty() { "none".to_owned() } else { missed.join(", ") }
    ));
    for notice in &report.notices {
        print_line(&format!("  cache: {}: {}", notice.code, notice.message));
    }
}

fn print_backend(report: &BackendReport, seconds: f64) {
    print_line(&format!("{}: {}, {} ({seconds:.1} s)", report.id, report.device, report.driver));
    if !report.quirks.is_empty() {
        print_line(&format!("  quirks found: {}", report.quirks.join(", ")));
    }
    if report.id == "vulkan" {
        let rules = if report.rules.is_empty() { "none".to_owned() } else { report.rules.join(", ") };
        print_line(&format!("  rules of lowering in force: {rules}"));
    }
    print_line("  suite       cases   failed  unsupported  expected  fewest per op and type");
    for suite in &report.suites {
        print_line(&format!(
            "  {:<8} {:>8} {:>8} {:>12} {:>9} {:>8}",
            suite.name,
            suite.cases,
            suite.failed,
            suite.unsupported,
            suite.expected_failures,
            suite.min_per_op_type
        ));
        for (reason, groups) in by_reason(&suite.unsupported_reasons) {
            match groups.as_slice() {
                [one] => print_line(&format!("    unsupported: {one}: {reason}")),
                many => {
                    print_line(&format!(
                        "    unsupported: {} kernels, such as {}: {reason}",
                        many.len(),
                        many[0]
                    ));
                }
            }
        }
        for note in &suite.notes {
            print_line(&format!("    {note}"));
        }
        for failure in suite.failures.iter().take(20) {
            print_line(&format!("    FAILED {}", failure.group));
            print_line(&format!("      input    {}", failure.input));
            print_line(&format!("      expected {}", failure.expected));
            print_line(&format!("      actual   {}", failure.actual));
        }
        if suite.failures.len() > 20 {
            print_line(&format!("    and {} more kinds of failure", suite.failures.len() - 20));
        }
    }
}

/// Prints the largest error of each approximate op on each type.
fn print_accuracy(report: &BackendReport) {
    let rows: Vec<_> = report.suites.iter().flat_map(|s| &s.accuracy).collect();
    if rows.is_empty() {
        print_line("  accuracy: no approximate op was run");
        return;
    }
    print_line("  op       type  worst ULP  share of bound");
    for row in rows {
        let (ulp, share) = (row.worst_ulp, row.share_of_bound * 100.0);
        print_line(&format!("  {:<8} {:<5} {ulp:>9.3} {share:>14.1}%", row.op, row.ty));
    }
}

/// Prints what the validation layer said; whether that was nothing.
fn print_validation(log: Option<&ValidationLog>) -> bool {
    let Some(log) = log else { return true };
    let messages = log.messages();
    print_line(&format!("  validation layer: {} messages", messages.len()));
    for message in messages.iter().take(10) {
        print_line(&format!("    {message:?}"));
    }
    messages.is_empty()
}

/// Prints a line of the table. Nobody need read on.
fn print_line(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// What devices lack, each with the kernels that need it; each reason comes as `kernel: reason`.
fn by_reason(reasons: &[String]) -> BTreeMap<&str, Vec<&str>> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in reasons {
        let (group, reason) = line.rsplit_once(": ").unwrap_or(("", line));
        groups.entry(reason).or_default().push(group);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn refused(line: &[&str]) -> String {
        let args = Line::try_parse_from([&["conformance"], line].concat()).map(|line| line.args);
        match args {
            Ok(args) => run(&args).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_there_is_not_is_told_by_its_code() {
        let suite = refused(&["--suite", "nothing", "--backend", "cpu"]);
        assert!(suite.contains("FG0704") && suite.contains("ops, "), "{suite}");
        let backend = refused(&["--backend", "nothing"]);
        assert!(backend.contains("FG0401") && backend.contains("cpu"), "{backend}");
        let list = refused(&["--expectations", "/nothing/here", "--backend", "cpu"]);
        assert!(list.contains("FG0701"), "{list}");
    }
}
