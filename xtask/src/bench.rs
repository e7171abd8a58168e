//! `cargo xtask bench`: runs the suites of `fulgurite-benches` on backends and reports the results. Contains the
//! command line, reports and baselines; the suites define the measurements.

mod baseline;
mod html;
mod print;
mod report;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use fulgurite_benches::{Measurement, Options, Session, Starter, Suite, Target};

use crate::progress;
use report::{BackendName, Machine, Report, SCHEMA};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only this suite; may be repeated
    #[arg(long, value_name = "NAME")]
    suite: Vec<String>,
    /// Id of the backend to measure, or `all` for every available one; may be repeated
    #[arg(long, value_name = "ID", default_value = "all")]
    backend: Vec<String>,
    /// Use small problems and few runs, for a quick look or for CI
    #[arg(long)]
    quick: bool,
    /// Run only results whose name contains this text
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Compare kernels on Vulkan with the SPIR-V modules in this folder, each named after a kernel, such as those
    /// compiled from `benches/glsl`
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Write the report to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report to this file as a self-contained HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Exit with status 1 if a result is slower than in this report (JSON) by more than the spread
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
}

/// Arguments of a process of the suite `start`.
#[derive(clap::Args)]
pub(crate) struct StartArgs {
    role: String,
    backend: String,
    root: PathBuf,
}

/// Number of repeated measurements of a result that looks slower than the baseline, before it counts as slower.
const AGAIN: usize = 4;

/// Runs the command. Returns whether all results were measured and none is slower than the baseline.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let suites = suites(&args.suite)?;
    // Read the baseline before spending minutes on measurements.
    let baseline = args.baseline.as_deref().map(read_baseline).transpose()?;
    let targets = if suites.iter().all(|suite| suite.is_without_backend()) {
        Vec::new()
    } else {
        targets(&args.backend, &suites)?
    };
    let mut report = Report { schema: SCHEMA, device: Machine::here(args.quick), results: Vec::new() };
    report.device.backends.extend(targets.iter().map(|target| BackendName::of(&*target.backend)));
    if let (Some(path), Some(baseline)) = (&args.baseline, &baseline) {
        baseline::check(baseline, &report).with_context(|| format!("error[FG0703]: {}", path.display()))?;
    }
    print_machine(&report.device);
    let options = Options {
        quick: args.quick,
        only: args.only.clone(),
        names: Vec::new(),
        against: args.against.clone(),
        starter: Some(Starter { program: std::env::current_exe()?, args: vec!["bench-start".to_owned()] }),
    };
    let plan = plan(&suites, &targets);
    let measured = measure(&options, &plan, |results| {
        report.results = results.to_vec();
        // So that a run that is stopped leaves what it measured. The end writes again and reports what fails.
        let _ = write_report(args, &report);
    });
    let mut regressions = Vec::new();
    if let Some(baseline) = &baseline {
        let is_asked_for = |old: &Measurement| {
            plan.iter().any(|(suite, target)| {
                suite.name() == old.suite && target.map(|target| target.id.as_str()) == old.backend()
            }) && args.only.as_ref().is_none_or(|only| old.name.contains(only.as_str()))
        };
        let compare = |now: &[Measurement]| baseline::compare(&baseline.results, now, is_asked_for);
        regressions = compare(&report.results);
        for _ in 0..AGAIN {
            if regressions.is_empty() {
                break;
            }
            // Noise only adds time, so one run as fast as the baseline suffices.
            again(&options, &plan, &regressions, &mut report.results);
            regressions = compare(&report.results);
        }
    }
    print::table(&report.results);
    print::across(&report.results);
    measured.notes.iter().for_each(|note| eprintln!("not measured: {note}"));
    measured.failures.iter().for_each(|failure| eprintln!("failed: {failure}"));
    regressions.iter().for_each(|regression| eprintln!("{regression}"));
    write_report(args, &report)?;
    Ok(measured.failures.is_empty() && regressions.is_empty())
}

/// Writes the files that the command line asks for.
fn write_report(args: &Args, report: &Report) -> anyhow::Result<()> {
    if let Some(path) = &args.json {
        write(path, &report.to_json()?)?;
    }
    if let Some(path) = &args.html {
        write(path, &html::page(report))?;
    }
    Ok(())
}

/// Plays a role of the suite `start` in this process.
pub(crate) fn play(args: &StartArgs) -> anyhow::Result<bool> {
    fulgurite_benches::start::play(&args.role, &args.backend, &args.root)?;
    Ok(true)
}

fn suites(names: &[String]) -> anyhow::Result<Vec<Suite>> {
    if names.is_empty() {
        return Ok(Suite::ALL.to_vec());
    }
    let mut suites = Vec::new();
    for name in names {
        let Some(suite) = Suite::parse(name) else {
            let known: Vec<_> = Suite::ALL.iter().map(|suite| suite.name()).collect();
            bail!("error[FG0704]: unknown suite `{name}`, expected one of {}", known.join(", "));
        };
        suites.push(suite);
    }
    suites.sort_unstable();
    suites.dedup();
    Ok(suites)
}

/// Opens the backends that `wanted` selects. A backend that is named explicitly must be available.
fn targets(wanted: &[String], suites: &[Suite]) -> anyhow::Result<Vec<Target>> {
    let registry = fulgurite::registry();
    let mut targets: Vec<Target> = Vec::new();
    let all = wanted.iter().flat_map(|wanted| {
        let is_demanded = wanted != "all";
        crate::backend_ids(&registry, wanted).into_iter().map(move |id| (id, is_demanded))
    });
    for (id, is_demanded) in all {
        registry.named(fulgurite::AdapterId::new(&id).backend())?;
        let is_open = targets.iter().any(|target| target.id == id);
        if is_open || !suites.iter().any(|suite| suite.is_of(&id)) {
            continue;
        }
        match Target::open(&registry, &id) {
            Ok(target) => targets.push(target),
            Err(error) if !is_demanded => eprintln!("{id}: unavailable: {error}"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(targets)
}

/// A suite and the backend it runs on.
type Part<'t> = (Suite, Option<&'t Target>);

/// Returns the suites and backends to run, in order.
fn plan<'t>(suites: &[Suite], targets: &'t [Target]) -> Vec<Part<'t>> {
    let mut plan = Vec::new();
    for suite in suites {
        if suite.is_without_backend() {
            plan.push((*suite, None));
        }
        plan.extend(
            targets.iter().filter(|target| suite.is_of(&target.id)).map(|target| (*suite, Some(target))),
        );
    }
    plan
}

/// The results of a run, and what could not be measured.
struct Measured {
    results: Vec<Measurement>,
    notes: Vec<String>,
    failures: Vec<String>,
}

/// Runs `plan`, with a progress bar on a terminal, and passes all results so far to `each` after each suite.
fn measure(options: &Options, plan: &[Part<'_>], mut each: impl FnMut(&[Measurement])) -> Measured {
    let bar = progress::bar(plan.len() as u64, "bench");
    let mut told = |what: &str| bar.set_message(what.to_owned());
    let mut session = Session::new(options, &mut told);
    for (suite, target) in plan {
        session.run(*suite, *target);
        each(&session.results);
        bar.inc(1);
    }
    let Session { results, notes, failures, .. } = session;
    bar.finish_and_clear();
    Measured { results, notes, failures }
}

/// Measures again the results that look slower, and keeps the faster value of each.
fn again(options: &Options, plan: &[Part<'_>], slower: &[baseline::Regression], results: &mut [Measurement]) {
    let names: Vec<String> = slower.iter().map(|regression| regression.result().1.to_owned()).collect();
    let suspect = |suite: &Suite| slower.iter().any(|regression| regression.result().0 == suite.name());
    let plan: Vec<Part<'_>> = plan.iter().filter(|(suite, _)| suspect(suite)).copied().collect();
    for new in measure(&Options { names, ..options.clone() }, &plan, |_| ()).results {
        let same = |old: &&mut Measurement| (&old.suite, &old.name) == (&new.suite, &new.name);
        if let Some(old) = results.iter_mut().find(same)
            && new.unit.ratio(new.value, old.value) > 1.0
        {
            *old = new;
        }
    }
}

fn read_baseline(path: &Path) -> anyhow::Result<Report> {
    Report::read(path).with_context(|| {
        "the baseline is of no use; make a new one: run the same command with `--json FILE` in place of `--baseline FILE`"
    })
}

fn print_machine(machine: &Machine) {
    let quick = if machine.quick { ", --quick" } else { "" };
    print::line(&format!("{}, {} threads, {}{quick}", machine.cpu, machine.threads, machine.platform));
    for backend in &machine.backends {
        print::line(&format!("{}: {}, {}", backend.id, backend.device, backend.driver));
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("error[FG0702]: cannot write {}", path.display()))
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

    fn bench(line: &[&str]) -> anyhow::Result<bool> {
        run(&Line::try_parse_from([&["bench"], line].concat())?.args)
    }

    #[test]
    fn a_quick_run_is_its_own_baseline_and_a_planted_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let quick = ["--quick", "--suite", "compile", "--only", "saxpy"];
        let (json, html) = (file("report.json"), file("report.html"));
        assert!(bench(&[&quick[..], &["--json", &json, "--html", &html]].concat()).unwrap());
        let mut report = Report::read(Path::new(&json)).unwrap();
        let names: Vec<&str> = report.results.iter().map(|result| result.name.as_str()).collect();
        let steps = [
            "parsed to SPIR-V",
            "parsed to SPIR-V, optimized",
            "text to verified",
            "wire to verified",
            "verified to SPIR-V",
        ];
        assert_eq!(names, steps.map(|step| format!("{step}, saxpy")));
        assert!(report.results.iter().all(|result| result.suite == "compile" && result.value > 0.0));
        assert!(std::fs::read_to_string(html).unwrap().contains("text to verified, saxpy"));
        // A machine that is a thousand times slower, or faster, regardless of its other load.
        for (factor, is_fine) in [(1000.0, true), (0.001, false)] {
            let planted = file("planted.json");
            report.results.iter_mut().for_each(|result| result.value *= factor);
            write(Path::new(&planted), &report.to_json().unwrap()).unwrap();
            report.results.iter_mut().for_each(|result| result.value /= factor);
            assert_eq!(bench(&[&quick[..], &["--baseline", &planted]].concat()).unwrap(), is_fine);
        }
    }

    #[test]
    fn each_suite_passes_on_what_was_measured_so_far() {
        let only = Some("miss".to_owned());
        let options = Options { quick: true, only, names: Vec::new(), against: None, starter: None };
        let mut lengths = Vec::new();
        let plan = [(Suite::Cache, None), (Suite::Compile, None)];
        let measured = measure(&options, &plan, |results| lengths.push(results.len()));
        assert!(measured.failures.is_empty(), "{:?}", measured.failures);
        assert_eq!(lengths, [1, 1], "one result of the first suite, none of the second");
    }

    #[test]
    fn what_there_is_not_is_told_by_its_code() {
        let folder = tempfile::tempdir().unwrap();
        let bad = folder.path().join("bad.json");
        std::fs::write(&bad, "{\"schema\": 7}").unwrap();
        let bad = bad.display().to_string();
        for (line, wanted) in [
            (&["--suite", "nothing"][..], &["FG0704", "compile, launch"][..]),
            (&["--suite", "launch", "--backend", "nothing"], &["FG0401", "cpu"]),
            (&["--suite", "compile", "--baseline", "/nothing/here"], &["FG0701"]),
            (&["--suite", "compile", "--baseline", &bad], &["FG0703", "schema 7", "--json FILE"]),
        ] {
            let error = format!("{:#}", bench(line).unwrap_err());
            assert!(wanted.iter().all(|part| error.contains(part)), "{line:?}: {error}");
        }
    }

    #[test]
    fn suites_without_a_backend_run_once_and_that_of_the_cpu_on_no_other() {
        let targets = [Target::open(&fulgurite::registry(), "cpu").unwrap()];
        let other = [Target::open(&fulgurite::registry(), "reference").unwrap()];
        assert_eq!(plan(&Suite::ALL, &targets).len(), Suite::ALL.len());
        assert_eq!(plan(&Suite::ALL, &other).len(), Suite::ALL.len() - 1);
        assert!(
            suites(&[]).unwrap() == Suite::ALL && suites(&["copy".into(), "copy".into()]).unwrap().len() == 1
        );
    }
}
