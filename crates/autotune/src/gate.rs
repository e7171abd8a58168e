//! Correct first: every candidate runs once on numbers for which right and wrong are told apart exactly, and what it gives is
//! compared with plain Rust before its time counts.

use std::time::Duration;

use fulgurite_driver_core::{Buffer, BufferView, Device};
use fulgurite_hal::{DeviceError, Error, LaunchOptions};

use crate::family::{Argument, Numbers, Trial};
use crate::instance::{Candidate, Instance};
use crate::prepared::{Prepared, compile_together};
use crate::record::TuneVerdict;

/// Why a candidate may not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// What became of it.
    pub verdict: TuneVerdict,
    /// Why, for people: of a wrong result, the first difference.
    pub reason: String,
}

impl Rejection {
    /// A candidate that cannot be run.
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self { verdict: TuneVerdict::Invalid, reason: reason.into() }
    }

    /// A candidate that an error ended.
    pub fn of(error: &Error) -> Self {
        let verdict = match error {
            Error::Device(DeviceError::Timeout(_)) => TuneVerdict::TimedOut,
            Error::Device(DeviceError::Lost(_)) => TuneVerdict::Crashed,
            Error::Device(DeviceError::OutOfMemory { .. }) => TuneVerdict::OutOfMemory,
            _ => TuneVerdict::Invalid,
        };
        // The help that follows is for whoever wrote the kernel.
        let text = error.to_string();
        Self { verdict, reason: text.lines().next().unwrap_or_default().to_owned() }
    }
}

/// Who tries candidates before they are timed.
///
/// [`InProcess`] does it here. A gate of one's own may do it elsewhere, as `xtask tune` does in a child process, so that a
/// candidate that takes the process or the device with it is no more than rejected.
pub trait Gate {
    /// Tries `candidates` of `instance`, each once, and tells `done` what came of each, in any order.
    ///
    /// # Errors
    /// Why those that `done` was not told of cannot be tried: that is not held against them.
    fn check(
        &mut self,
        instance: &Instance,
        candidates: &[usize],
        done: &mut dyn FnMut(usize, Result<(), Rejection>),
    ) -> Result<(), Error>;
}

/// Tries candidates in this process, on a device.
#[derive(Debug)]
pub struct InProcess<'d> {
    device: &'d Device,
    seed: u64,
    timeout: Duration,
    /// Of the family and problem that it was last asked for.
    tester: Option<([String; 2], Tester)>,
}

impl<'d> InProcess<'d> {
    /// Tries on `device`, with numbers of `seed`; who runs longer than `timeout` is rejected.
    pub fn new(device: &'d Device, seed: u64, timeout: Duration) -> Self {
        Self { device, seed, timeout, tester: None }
    }
}

impl Gate for InProcess<'_> {
    fn check(
        &mut self,
        instance: &Instance,
        candidates: &[usize],
        done: &mut dyn FnMut(usize, Result<(), Rejection>),
    ) -> Result<(), Error> {
        // The same numbers for all of a problem.
        let problem = [instance.family.clone(), instance.problem.clone()];
        let tester = match self.tester.take() {
            Some((of, tester)) if of == problem => tester,
            _ => Tester::new(self.device, instance, self.seed, self.timeout)?,
        };
        let (_, tester) = self.tester.insert((problem, tester));
        compile_together(self.device, instance, candidates);
        for index in candidates {
            let result = tester.check(&instance.candidates[*index]);
            let is_lost = matches!(&result, Err(rejection) if rejection.verdict == TuneVerdict::Crashed);
            done(*index, result);
            if is_lost {
                // With the device of the others.
                return Err(DeviceError::Lost("the trial of a candidate").into());
            }
        }
        Ok(())
    }
}

/// One problem's arguments on a device, and what must come out.
#[derive(Debug)]
pub struct Tester {
    device: Device,
    buffers: Vec<Buffer>,
    arguments: Vec<Argument>,
    trial: Trial,
    timeout: Duration,
}

/// What outputs and scratch memory hold before a candidate runs: nothing that is right by chance, or that another candidate left.
const NOT_WRITTEN: [u8; 1] = [0xa5];

impl Tester {
    /// Puts the numbers of `seed` on `device`.
    ///
    /// # Errors
    /// What the device says.
    pub fn new(device: &Device, instance: &Instance, seed: u64, timeout: Duration) -> Result<Self, Error> {
        let trial = instance.trial(Numbers::Exact, seed);
        let buffers = resident(device, &instance.arguments, &trial)?;
        let arguments = instance.arguments.clone();
        Ok(Self { device: device.clone(), buffers, arguments, trial, timeout })
    }

    /// Compiles a candidate, runs it once and looks at what it gives.
    ///
    /// # Errors
    /// Why it is rejected.
    pub fn check(&self, candidate: &Candidate) -> Result<(), Rejection> {
        let run = || {
            let prepared = Prepared::new(&self.device, candidate.plan()?)?;
            let outputs = self.outputs().map(Buffer::whole).collect::<Vec<_>>();
            outputs.iter().try_for_each(|output| output.fill(&NOT_WRITTEN))?;
            prepared.fill_scratch(&NOT_WRITTEN)?;
            let options = LaunchOptions::default().timeout(self.timeout);
            prepared.launch(&views(&self.buffers), &options)?;
            outputs.iter().map(BufferView::to_vec).collect::<Result<Vec<_>, _>>()
        };
        let outputs = run().map_err(|error| Rejection::of(&error))?;
        let wrong = |mismatch: crate::family::Mismatch| Rejection {
            verdict: TuneVerdict::Wrong,
            reason: mismatch.to_string(),
        };
        (self.trial.check)(&outputs).map_err(wrong)
    }

    fn outputs(&self) -> impl Iterator<Item = &Buffer> {
        self.buffers.iter().zip(&self.arguments).filter(|(_, argument)| argument.is_output).map(|(b, _)| b)
    }
}

/// Buffers for the arguments of a launch, with what a trial wants in them.
pub(crate) fn resident(device: &Device, arguments: &[Argument], trial: &Trial) -> Result<Vec<Buffer>, Error> {
    let mut buffers = Vec::with_capacity(arguments.len());
    for (index, argument) in arguments.iter().enumerate() {
        buffers.push(match trial.arguments.get(index) {
            Some(bytes) if !bytes.is_empty() => device.upload(bytes)?,
            _ => device.zeroed(argument.bytes)?,
        });
    }
    Ok(buffers)
}

pub(crate) fn views(buffers: &[Buffer]) -> Vec<BufferView> {
    buffers.iter().map(Buffer::whole).collect()
}
