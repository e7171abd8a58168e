//! Correctness checks: every candidate runs once on inputs with an exact expected result, which is compared with plain
//! Rust before the candidate is timed.

use std::time::Duration;

use fulgurite_hal::{DeviceError, Error, LaunchOptions};
use fulgurite_runtime::{Buffer, BufferView, Device};

use crate::family::{Argument, Numbers, Trial};
use crate::instance::{Candidate, Instance};
use crate::prepared::{Prepared, compile_together};
use crate::record::TuneVerdict;

/// The reason why a candidate must not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Outcome of the candidate.
    pub verdict: TuneVerdict,
    /// Human-readable reason; for a wrong result, the first difference.
    pub reason: String,
}

impl Rejection {
    /// Creates the rejection of a candidate that cannot be run.
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self { verdict: TuneVerdict::Invalid, reason: reason.into() }
    }

    /// Creates the rejection of a candidate that failed with `error`.
    pub fn of(error: &Error) -> Self {
        let verdict = match error {
            Error::Device(DeviceError::Timeout(_)) => TuneVerdict::TimedOut,
            Error::Device(DeviceError::Lost(_)) => TuneVerdict::Crashed,
            Error::Device(DeviceError::OutOfMemory { .. }) => TuneVerdict::OutOfMemory,
            _ => TuneVerdict::Invalid,
        };
        // The following lines are help for the kernel's author.
        let text = error.to_string();
        Self { verdict, reason: text.lines().next().unwrap_or_default().to_owned() }
    }
}

/// Checks candidates before they are timed.
///
/// [`InProcess`] runs them in this process. Other implementations can run them elsewhere, as `fulgurite tune` does in a
/// child process, so that a candidate that crashes the process or loses the device is merely rejected.
pub trait Gate {
    /// Checks each of `candidates` once, and passes each result to `done`, in any order.
    ///
    /// # Errors
    /// The error that prevents checking the remaining candidates, which are not rejected for it.
    fn check(
        &mut self,
        instance: &Instance,
        candidates: &[usize],
        done: &mut dyn FnMut(usize, Result<(), Rejection>),
    ) -> Result<(), Error>;
}

/// Checks candidates in this process, on a device.
#[derive(Debug)]
pub struct InProcess<'d> {
    device: &'d Device,
    seed: u64,
    timeout: Duration,
    /// For the family and problem of the last call.
    tester: Option<([String; 2], Tester)>,
}

impl<'d> InProcess<'d> {
    /// Creates a gate for `device` with inputs from `seed`; candidates that run longer than `timeout` are rejected.
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
        // Use the same inputs for all candidates of a problem.
        let problem = [instance.family.clone(), instance.problem.clone()];
        let tester = match self.tester.take() {
            Some((of, tester)) if of == problem => tester,
            _ => Tester::new(self.device, instance, self.seed, self.timeout)?,
        };
        let (_, tester) = self.tester.insert((problem, tester));
        compile_together(self.device, instance, candidates);
        for index in candidates {
            let outputs = tester.run(&instance.candidates[*index]);
            let lost = match &outputs {
                Err(error @ Error::Device(DeviceError::Lost(_))) => Some(error.clone()),
                _ => None,
            };
            done(*index, tester.judge(outputs));
            // The other candidates cannot be checked on a lost device.
            lost.map_or(Ok(()), Err)?;
        }
        Ok(())
    }
}

/// The arguments of a problem on a device, and the check of its outputs.
#[derive(Debug)]
pub struct Tester {
    device: Device,
    buffers: Vec<Buffer>,
    arguments: Vec<Argument>,
    trial: Trial,
    timeout: Duration,
}

/// Pattern of outputs and scratch memory before a run, so that no result is correct by chance or left by another
/// candidate.
const NOT_WRITTEN: [u8; 1] = [0xa5];

impl Tester {
    /// Uploads inputs from `seed` to `device`.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn new(device: &Device, instance: &Instance, seed: u64, timeout: Duration) -> Result<Self, Error> {
        let trial = instance.trial(Numbers::Exact, seed);
        let buffers = resident(device, &instance.arguments, &trial)?;
        let arguments = instance.arguments.clone();
        Ok(Self { device: device.clone(), buffers, arguments, trial, timeout })
    }

    /// Compiles a candidate, runs it once and checks its outputs.
    ///
    /// # Errors
    /// The reason for the rejection.
    pub fn check(&self, candidate: &Candidate) -> Result<(), Rejection> {
        self.judge(self.run(candidate))
    }

    /// Compiles a candidate, runs it once and returns its outputs.
    fn run(&self, candidate: &Candidate) -> Result<Vec<Vec<u8>>, Error> {
        let prepared = Prepared::new(&self.device, candidate.plan()?)?;
        let outputs = self.outputs().map(Buffer::whole).collect::<Vec<_>>();
        outputs.iter().try_for_each(|output| output.fill(&NOT_WRITTEN))?;
        prepared.fill_scratch(&NOT_WRITTEN)?;
        let options = LaunchOptions::default().timeout(self.timeout);
        prepared.launch(&views(&self.buffers), &options)?;
        outputs.iter().map(BufferView::to_vec).collect()
    }

    /// Checks what [`run`](Self::run) returned.
    fn judge(&self, outputs: Result<Vec<Vec<u8>>, Error>) -> Result<(), Rejection> {
        let outputs = outputs.map_err(|error| Rejection::of(&error))?;
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

/// Creates buffers for the arguments of a launch, initialized from `trial`.
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
