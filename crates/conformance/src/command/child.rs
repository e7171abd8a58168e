//! The suite `driver` in a process of its own: it launches what never ends, and a driver that does not bear that must not
//! take the other suites with it.

use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use fulgurite_hal::Error;

use super::{Args, LevelArg};
use crate::{Failure, Report, Suite, SuiteReport};

/// How long the suite may take, by far.
const DEADLINE: Duration = Duration::from_secs(900);
/// How much of what the process printed is told of a failure.
const TOLD: usize = 4000;

/// Runs the suite on backend `id` as `args` say. `None` if it has nothing that they ask for.
/// `before` are the arguments that stand before those of the suites.
pub(super) fn run(args: &Args, before: &[&str], id: &str) -> Result<Option<SuiteReport>, Error> {
    started(args, before, id)
        .map_err(|error| Error::Internal(format!("the suite `driver` in a process of its own: {error}")))
}

fn started(args: &Args, before: &[&str], id: &str) -> io::Result<Option<SuiteReport>> {
    let folder = tempfile::tempdir()?;
    let json = folder.path().join("report.json");
    let mut command = Command::new(std::env::current_exe()?);
    let level = match args.level {
        LevelArg::Smoke => "smoke",
        LevelArg::Full => "full",
    };
    command.args(before).args(["--in-process", "--suite", Suite::Driver.name(), "--backend", id]);
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
    let suite = report.as_ref().and_then(|report| report.backends.first()?.suites.first().cloned());
    let failed = suite.as_ref().is_some_and(|suite| suite.failed > 0);
    match (ended, suite) {
        (Some(status), Some(suite)) if status.success() || failed => Ok(Some(suite)),
        // It said that all is well, and then its end did not go well: with launches that were given up, some drivers' own
        // threads still run when the system takes their memory.
        (Some(status), Some(mut suite)) if status.code().is_none() => {
            suite.notes.push(format!("its process ended with {status}, after its report"));
            Ok(Some(suite))
        }
        // Nothing that matches is no success to the process, and none was asked for.
        (Some(_), None) if args.only.is_some() && report.is_some_and(|r| r.backends.len() == 1) => Ok(None),
        (ended, _) => Ok(Some(broken(ended, &printed))),
    }
}

/// Waits for the end of the process; kills it when its time is over.
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

/// The report of a suite that gave none, or none that says why it failed.
fn broken(ended: Option<ExitStatus>, printed: &str) -> SuiteReport {
    let actual = match ended {
        Some(status) => {
            let told: String = printed.chars().take(TOLD).collect();
            format!("it ended with {status}: {told}")
        }
        None => format!("it did not end within {DEADLINE:?}"),
    };
    let failure = Failure {
        group: "driver".to_owned(),
        input: "the suite in a process of its own".to_owned(),
        expected: "a report, and a good end".to_owned(),
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
