//! Runs the suite `driver` in a separate process: it launches kernels that never end, and a driver that cannot stop
//! them must not take the other suites down.

use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use fulgurite_hal::Error;

use super::{Args, LevelArg};
use crate::{Failure, Report, Suite, SuiteReport};

/// Deadline for the suite, far above its usual duration.
const DEADLINE: Duration = Duration::from_secs(900);
/// Number of characters of the process's output that a failure quotes.
const TOLD: usize = 4000;

/// The outcome of the suite in its process.
pub(super) enum Outcome {
    Ran(SuiteReport),
    /// No group of the suite is selected; names of groups, as examples.
    NoneSelected(Vec<String>),
}

/// Runs the suite on backend `id` as selected by `args`. `before` are the arguments that precede those of the suites.
pub(super) fn run(args: &Args, before: &[&str], id: &str) -> Result<Outcome, Error> {
    started(args, before, id)
        .map_err(|error| Error::Internal(format!("the suite `driver` in a separate process: {error}")))
}

fn started(args: &Args, before: &[&str], id: &str) -> io::Result<Outcome> {
    let folder = tempfile::tempdir()?;
    let json = folder.path().join("report.json");
    let mut command = Command::new(std::env::current_exe()?);
    let level = match args.level {
        LevelArg::Smoke => "smoke",
        LevelArg::Full => "full",
    };
    command.args(before).args(["--in-process", "--part", "--suite", Suite::Driver.name(), "--backend", id]);
    command.args(["--level", level, "--seed", &args.seed.to_string()]).arg("--json").arg(&json);
    if let Some(only) = &args.only {
        command.args(["--only", only]);
    }
    for path in &args.expectations {
        command.arg("--expectations").arg(path);
    }
    let output = folder.path().join("output");
    let file = std::fs::File::create(&output)?;
    let ended = wait(&mut command.stdin(Stdio::null()).stdout(file).spawn()?)?;
    let printed = String::from_utf8_lossy(&std::fs::read(&output)?).into_owned();
    let report = std::fs::read_to_string(&json).ok().and_then(|text| Report::from_json(&text).ok());
    let backend = report.and_then(|report| report.backends.into_iter().next());
    let suite = backend.as_ref().and_then(|backend| backend.suites.first().cloned());
    let failed = suite.as_ref().is_some_and(|suite| suite.failed > 0);
    match (ended, suite) {
        (Some(status), Some(suite)) if status.success() || failed => Ok(Outcome::Ran(suite)),
        // The process reported success and then crashed on exit: after an abandoned launch, threads of some drivers
        // still run while the system frees their memory.
        (Some(status), Some(mut suite)) if status.code().is_none() => {
            suite.notes.push(format!("the process ended with {status} after its report"));
            Ok(Outcome::Ran(suite))
        }
        // With `only`, a process in which no group matches fails, and its report lacks the suite.
        (Some(_), None) if args.only.is_some() && backend.is_some() => {
            Ok(Outcome::NoneSelected(backend.map(|backend| backend.unselected).unwrap_or_default()))
        }
        (ended, _) => Ok(Outcome::Ran(broken(ended, &printed))),
    }
}

/// Waits for the process to exit; kills it at the deadline.
fn wait(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let started = Instant::now();
    while started.elapsed() < DEADLINE {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// Returns a failed suite report for a process that wrote no report, or one without its cause of failure.
fn broken(ended: Option<ExitStatus>, printed: &str) -> SuiteReport {
    let actual = match ended {
        Some(status) => {
            let told: String = printed.chars().take(TOLD).collect();
            format!("process ended with {status}: {told}")
        }
        None => format!("process did not end within {DEADLINE:?}"),
    };
    let failure = Failure {
        group: "driver".to_owned(),
        input: "the suite in a separate process".to_owned(),
        expected: "a report and a successful exit".to_owned(),
        actual,
    };
    let mut report = SuiteReport { name: Suite::Driver.name().to_owned(), ..SuiteReport::default() };
    (report.cases, report.failed, report.failures) = (1, 1, vec![failure]);
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_gives_no_report_fails_the_suite() {
        let status = Command::new("false").status().unwrap();
        let report = broken(Some(status), "what it said");
        assert_eq!((report.cases, report.failed), (1, 1));
        assert!(report.failures[0].actual.contains("what it said"), "{:?}", report.failures);
        assert!(broken(None, "").failures[0].actual.contains("did not end"));
    }
}
