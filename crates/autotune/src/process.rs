//! Checking candidates in a child process, so that a candidate that crashes the process is merely rejected.
//!
//! The process reads one candidate index per line, and answers each with a line of the index followed by `ok` or a
//! verdict and a reason. Other lines, such as messages of drivers and layers, are ignored.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use fulgurite_hal::Error;

use crate::gate::{Gate, Rejection};
use crate::instance::Instance;
use crate::record::TuneVerdict;

/// A [`Gate`] that checks candidates in a child process, started on first use and restarted whenever it has ended.
#[derive(Debug)]
pub struct ProcessGate<F> {
    start: F,
    deadline: Duration,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    to: ChildStdin,
    answers: Receiver<String>,
}

impl Running {
    /// Returns the answer for candidate `index`, received within `deadline`.
    fn answer(&self, index: usize, deadline: Duration) -> Result<String, RecvTimeoutError> {
        let (begun, beginning) = (Instant::now(), format!("{index} "));
        loop {
            let line = self.answers.recv_timeout(deadline.saturating_sub(begun.elapsed()))?;
            if let Some(answer) = line.strip_prefix(&beginning) {
                return Ok(answer.to_owned());
            }
        }
    }
}

impl<F: FnMut() -> Command> ProcessGate<F> {
    /// Creates a gate that starts processes with `start`: programs that call [`answer`] with the same instance. A
    /// process that takes longer than `deadline` for a candidate is killed.
    pub fn new(start: F, deadline: Duration) -> Self {
        Self { start, deadline, running: None }
    }

    fn running(&mut self) -> std::io::Result<&mut Running> {
        if self.running.is_none() {
            let mut command = (self.start)();
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            let mut child = command.spawn()?;
            let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
                return Err(std::io::ErrorKind::BrokenPipe.into());
            };
            let (sender, answers) = mpsc::sync_channel(16);
            // Ends with the process's output.
            std::thread::Builder::new().name("fulgurite tune".to_owned()).spawn(move || {
                for line in BufReader::new(from).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            })?;
            self.running = Some(Running { child, to, answers });
        }
        self.running.as_mut().ok_or_else(|| std::io::ErrorKind::BrokenPipe.into())
    }

    /// Checks a candidate. The outer error means that no process could be started.
    fn ask(&mut self, index: usize) -> std::io::Result<Result<(), Rejection>> {
        let deadline = self.deadline;
        let asked = self.running().and_then(|running| {
            writeln!(running.to, "{index}")?;
            running.to.flush()
        });
        let received = match (asked, &self.running) {
            // A process that ended has not answered for this candidate.
            (Err(error), None) => return Err(error),
            (_, Some(running)) => running.answer(index, deadline),
            (Ok(()), None) => Err(RecvTimeoutError::Disconnected),
        };
        let result = match received {
            Ok(answer) => {
                let result = parse(&answer);
                if matches!(&result, Err(rejection) if rejection.verdict == TuneVerdict::Crashed) {
                    // The process has lost its device, which the next candidates need.
                    self.end();
                }
                result
            }
            Err(RecvTimeoutError::Disconnected) => Err(Rejection {
                verdict: TuneVerdict::Crashed,
                reason: match self.end() {
                    Some(status) => format!("the checking process ended with {status}"),
                    None => String::from("the checking process ended"),
                },
            }),
            Err(RecvTimeoutError::Timeout) => {
                self.end();
                let reason = format!("not finished after {deadline:?}; the process was killed");
                Err(Rejection { verdict: TuneVerdict::TimedOut, reason })
            }
        };
        Ok(result)
    }

    /// Ends the process, if there is one, and waits for it.
    fn end(&mut self) -> Option<std::process::ExitStatus> {
        let mut running = self.running.take()?;
        // The process may have ended already.
        if !matches!(running.child.try_wait(), Ok(Some(_))) {
            let ended = wait_a_little(&mut running.child);
            if ended.is_some() {
                return ended;
            }
            let _ = running.child.kill();
        }
        running.child.wait().ok()
    }
}

/// Waits briefly for a process whose output has ended, which happens shortly before its exit.
fn wait_a_little(child: &mut Child) -> Option<std::process::ExitStatus> {
    for _ in 0..50 {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}

impl<F: FnMut() -> Command> Gate for ProcessGate<F> {
    fn check(
        &mut self,
        instance: &Instance,
        candidates: &[usize],
        done: &mut dyn FnMut(usize, Result<(), Rejection>),
    ) -> Result<(), Error> {
        for index in candidates {
            let result = self.ask(*index).map_err(|error| {
                let reason = format!("cannot start a process to check candidates: {error}");
                Error::unavailable(instance.device.backend.clone(), reason)
            })?;
            done(*index, result);
        }
        Ok(())
    }
}

impl<F> Drop for ProcessGate<F> {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            // Killing the process loses nothing.
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

fn parse(line: &str) -> Result<(), Rejection> {
    if line == "ok" {
        return Ok(());
    }
    let (name, reason) = line.split_once(' ').unwrap_or((line, ""));
    let verdict =
        TuneVerdict::ALL.into_iter().find(|verdict| verdict.is_rejected() && verdict.name() == name);
    Err(Rejection {
        verdict: verdict.unwrap_or(TuneVerdict::Invalid),
        reason: if verdict.is_some() { reason.to_owned() } else { format!("unexpected answer `{line}`") },
    })
}

/// Checks each candidate whose index is read from `input`, and writes the results to `output`. This is the main loop of
/// a [`ProcessGate`] process.
///
/// # Errors
/// I/O errors, and an error for a line that is not a number.
pub fn answer(
    input: impl BufRead,
    mut output: impl Write,
    mut check: impl FnMut(usize) -> Result<(), Rejection>,
) -> std::io::Result<()> {
    for line in input.lines() {
        let index = line?.trim().parse::<usize>().map_err(std::io::Error::other)?;
        match check(index) {
            Ok(()) => writeln!(output, "{index} ok")?,
            Err(Rejection { verdict, reason }) => {
                writeln!(output, "{index} {} {}", verdict.name(), reason.replace(['\n', '\r'], " "))?;
            }
        }
        output.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection(verdict: TuneVerdict, reason: &str) -> Rejection {
        Rejection { verdict, reason: reason.to_owned() }
    }

    #[test]
    fn answers_round_trip() {
        let mut output = Vec::new();
        let all = [
            Ok(()),
            Err(rejection(TuneVerdict::Wrong, "element 3")),
            Err(rejection(TuneVerdict::TimedOut, "a\nb")),
        ];
        answer(&b"0\n2\n1\n"[..], &mut output, |index| all[index].clone()).unwrap();
        let lines = std::str::from_utf8(&output).unwrap().lines();
        let (numbers, answers): (Vec<_>, Vec<_>) = lines.map(|line| line.split_once(' ').unwrap()).unzip();
        assert_eq!(numbers, ["0", "2", "1"]);
        let answers: Vec<_> = answers.into_iter().map(parse).collect();
        assert_eq!(answers, [Ok(()), Err(rejection(TuneVerdict::TimedOut, "a b")), all[1].clone()]);
        assert!(answer(&b"x\n"[..], &mut output, |_| Ok(())).is_err());
        assert_eq!(parse("measured").map_err(|r| r.verdict), Err(TuneVerdict::Invalid));
    }

    #[test]
    #[cfg(unix)]
    fn process_that_ends_or_hangs_rejects_one_candidate() {
        // Candidate 5 is preceded by an answer for another one; candidate 6 reports a lost device.
        let script = "while read i; do case $i in 1) kill -9 $$;; 2) sleep 60;; 5) echo layer; echo 4 ok; echo 5 wrong at 1;; \
                      6) echo 6 crashed; read j; echo $j wrong;; *) echo $i ok;; esac; done";
        let start = || {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        let mut gate = ProcessGate::new(start, Duration::from_millis(500));
        let verdicts: Vec<_> =
            [0, 1, 3, 2, 4, 5, 6, 7].iter().map(|i| gate.ask(*i).unwrap().map_err(|r| r.verdict)).collect();
        use TuneVerdict::{Crashed, TimedOut, Wrong};
        let expected =
            [Ok(()), Err(Crashed), Ok(()), Err(TimedOut), Ok(()), Err(Wrong), Err(Crashed), Ok(())];
        assert_eq!(verdicts, expected);
        let mut none = ProcessGate::new(|| Command::new("/nonexistent"), Duration::from_secs(1));
        assert_eq!(none.ask(0).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    }
}
