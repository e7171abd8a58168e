//! Launches that end by a trap or by their timeout, or are abandoned. Last of the suite, because a launch that cannot
//! be stopped may cause a device loss; `xtask conformance` runs the suite in a separate process.

use std::time::{Duration, Instant};

use fulgurite_hal::{DeviceError, Error, LaunchOptions, LaunchReport};
use fulgurite_runtime::{BufferView, Device, Program};
use fulgurite_spec::Code;

use super::{MAP, PATIENCE, TRAP, bounded, compile, map, to_words, word};
use crate::suites::bytes;
use crate::suites::checks::{Checks, Part};

pub(super) const PARTS: &[(&str, Part)] = &[
    ("a trap says who and why", traps),
    ("a launch that never ends", endless),
    ("a device dropped with work under way", abandoned),
];

/// Runs for years, in loops that are too short for a driver to end and that no compiler can analyze.
pub(super) const YEARS: &str = "fulgurite 1
kernel @years workgroup(4, 1, 1) {
  buffer %x: read_write u32[]
  param %n: u32
  for %a in 0u32 to %n step 1u32 {
    for %b in 0u32 to %n step 1u32 {
      for %c in 0u32 to %n step 1u32 {
        for %d in 0u32 to %n step 1u32 {
          for %e in 0u32 to %n step 1u32 {
            store %x[%e], %a
          }
        }
      }
    }
  }
}
";

const TIMEOUT: Duration = Duration::from_secs(1);

fn traps(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let program = compile(&device, TRAP)?;
    for (place, code) in [(0usize, 1u32), (37, u32::MAX), (99, 0x8000_0000)] {
        let mut words = vec![0; 100];
        words[place] = code;
        let x = device.upload(&bytes(&words))?;
        let out = device.zeroed(400)?;
        let views = [(&x).into(), (&out).into()];
        let expected = Some(DeviceError::Trap { code, invocation: place as u32 });
        let who = |result: Result<LaunchReport, Error>| match result {
            Err(Error::Device(error)) => Some(error),
            _ => None,
        };
        let launched = who(program.launch(&views, &[], &LaunchOptions::default()));
        checks.equal("the error of a launch", &launched, &expected);
        let submitted = program.submit(&views, &[], &LaunchOptions::default())?.wait_for(PATIENCE);
        checks.equal("the error of a submitted launch", &submitted.ok().and_then(who), &expected);
        // The next launch is not affected.
        x.whole().fill(&[0])?;
        program.launch(&views, &[], &LaunchOptions::default())?;
        checks.equal("a launch after a trap", &to_words(&out.whole().to_vec()?), &vec![1; 100]);
    }
    Ok(())
}

/// Maximum duration of an endless launch: its timeout plus the time that a backend gives a device to stop.
const AT_MOST: Duration = Duration::from_secs(30);

/// Returns the program of [`YEARS`] and its arguments.
fn years(device: &Device) -> Result<(Program, Vec<BufferView>), Error> {
    Ok((compile(device, YEARS)?, vec![device.zeroed(4000)?.whole()]))
}

fn options() -> LaunchOptions {
    LaunchOptions::workgroups([1, 1, 1]).timeout(TIMEOUT)
}

/// Returns whether an endless launch on `device` may end with `error`.
fn is_stopped(device: &Device, error: &Error) -> bool {
    let cuts = device.snapshot().limits.loop_limit.is_some();
    error.code() == Code::Timeout || cuts && error.code() == Code::LoopLimit
}

fn endless(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let small = compile(&device, MAP)?;
    let (program, views) = years(&device)?;
    let started = Instant::now();
    let ended = bounded(move || program.launch(&views, &[word(1000)], &options()));
    let Some(result) = ended else {
        checks.holds("a launch that is stopped", false, || format!("not stopped within {PATIENCE:?}"));
        return Ok(());
    };
    let took = started.elapsed();
    let stopped = result.as_ref().err().is_some_and(|error| is_stopped(&device, error));
    checks.holds("a launch that is stopped", stopped, || format!("{result:?}"));
    if let Err(Error::Device(DeviceError::Timeout(stated))) = &result {
        checks.equal("the timeout that is reported", stated, &TIMEOUT);
        checks.holds("a launch that has its time", took >= TIMEOUT, || format!("{took:?}"));
    }
    checks.holds("a launch that is stopped in time", took < AT_MOST, || format!("{took:?}"));

    // The device stays usable or reports that it is lost.
    let next = bounded(move || -> Result<Vec<u8>, Error> {
        let (x, out) = (device.upload(&bytes(&[1, 2, 3]))?, device.zeroed(12)?);
        small.launch(&[(&x).into(), (&out).into()], &[word(4)], &LaunchOptions::default())?;
        out.whole().to_vec()
    });
    match next {
        Some(Ok(out)) => {
            let expected: Vec<u32> = [1, 2, 3].map(|x| map(x, 4)).into();
            checks.equal("a launch after a timeout", &to_words(&out), &expected);
        }
        Some(Err(error)) => {
            checks.equal("an error after a timeout", &error.code(), &Code::DeviceLost);
        }
        None => checks.holds("a launch after a timeout", false, || format!("no result within {PATIENCE:?}")),
    }
    Ok(())
}

fn abandoned(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let (program, views) = years(&device)?;
    let kept = checks.device();
    let begun = bounded(move || {
        let submit = |_| program.submit(&views, &[word(1000)], &options());
        let pending: Result<Vec<_>, Error> = (0..2).map(submit).collect();
        let started = Instant::now();
        drop((device, program, views));
        (pending, started.elapsed())
    });
    let Some((pending, took)) = begun else {
        checks.holds("a device that can be dropped", false, || format!("not dropped within {PATIENCE:?}"));
        return Ok(());
    };
    // Less than the duration of the work in progress.
    checks.holds("a device that is dropped at once", took < TIMEOUT, || format!("{took:?}"));
    for pending in pending? {
        match pending.wait_for(PATIENCE) {
            Ok(result) => {
                let lost = |error: &Error| error.code() == Code::DeviceLost;
                let stopped = result.as_ref().err().is_some_and(|e| is_stopped(&kept, e) || lost(e));
                checks.holds("work whose device was dropped", stopped, || format!("{result:?}"));
            }
            Err(_) => {
                checks.holds("work whose device was dropped", false, || {
                    format!("no result within {PATIENCE:?}")
                });
            }
        }
    }
    Ok(())
}
