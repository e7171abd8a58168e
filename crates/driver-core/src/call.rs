//! One call: a launch on bytes of the host, with buffers that live as long as it does. A call may mix them with resident
//! buffers.
//!
//! Every form copies its inputs to the device once, from where they are, and no output to the host before the launch has
//! ended.

use std::borrow::Cow;
use std::time::Duration;

use fulgurite_ir::Access;
use fulgurite_spec::Code;
use fulgurite_spec::eval::Components;

use crate::backend::LaunchReport;
use crate::binding::Binding;
use crate::buffer::{BufferView, resize};
use crate::counters::add;
use crate::device::Device;
use crate::error::{DeviceError, Error};
use crate::launch::Launch;
use crate::options::LaunchOptions;
use crate::pending::{Pending, promise};
use crate::program::Program;

/// What a call passes for a buffer of the kernel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Arg<'a> {
    /// The kernel reads these bytes.
    In(Cow<'a, [u8]>),
    /// The kernel finds these bytes, and what it leaves is an output.
    InOut(Cow<'a, [u8]>),
    /// The kernel finds as many zero bytes, and what it leaves is an output.
    Out(u64),
    /// The kernel uses memory that stays on the device.
    Resident(BufferView),
}

/// The arguments of one call, in the kernel's order of declaration.
#[derive(Clone, Debug, Default)]
pub struct Call<'a> {
    args: Vec<Arg<'a>>,
    params: Vec<Components>,
    options: LaunchOptions,
}

/// What a call gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Called {
    /// The final bytes of each [`Arg::Out`] and [`Arg::InOut`], in order.
    pub outputs: Vec<Vec<u8>>,
    /// What the launch did.
    pub report: LaunchReport,
}

impl<'a> Call<'a> {
    /// A call without arguments.
    pub fn new() -> Self {
        Self::default()
    }

    /// Passes `arg` for the next buffer.
    #[must_use]
    pub fn arg(mut self, arg: Arg<'a>) -> Self {
        self.args.push(arg);
        self
    }

    /// Passes bytes to read for the next buffer.
    #[must_use]
    pub fn input(self, bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        self.arg(Arg::In(bytes.into()))
    }

    /// Passes bytes to change for the next buffer: an output, too.
    #[must_use]
    pub fn in_out(self, bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        self.arg(Arg::InOut(bytes.into()))
    }

    /// Asks for `bytes` bytes of output from the next buffer.
    #[must_use]
    pub fn output(self, bytes: u64) -> Self {
        self.arg(Arg::Out(bytes))
    }

    /// Passes memory of the device for the next buffer.
    #[must_use]
    pub fn resident(self, view: impl Into<BufferView>) -> Self {
        self.arg(Arg::Resident(view.into()))
    }

    /// Passes a value for the next parameter.
    #[must_use]
    pub fn param(mut self, value: Components) -> Self {
        self.params.push(value);
        self
    }

    /// States options, which win over the program's field by field.
    #[must_use]
    pub fn options(mut self, options: &LaunchOptions) -> Self {
        self.options = self.options.merged(options);
        self
    }

    /// What it passes for each buffer.
    pub(crate) fn args(&self) -> &[Arg<'a>] {
        &self.args
    }

    /// What it passes for each parameter.
    pub(crate) fn params(&self) -> &[Components] {
        &self.params
    }

    /// The options that it states.
    pub(crate) fn stated(&self) -> &LaunchOptions {
        &self.options
    }

    /// Bytes of its outputs together.
    fn output_bytes(&self) -> u64 {
        let sizes = self.args.iter().map(|arg| match arg {
            Arg::In(_) | Arg::Resident(_) => 0,
            Arg::InOut(bytes) => bytes.len() as u64,
            Arg::Out(bytes) => *bytes,
        });
        sizes.fold(0, u64::saturating_add)
    }
}

/// A call whose inputs are on the device.
struct Staged {
    launch: Launch,
    outputs: Vec<Binding>,
}

impl Program {
    /// Runs once on bytes of the host.
    ///
    /// # Errors
    /// As [`launch`](Program::launch); `FG0510` for outputs over the stated limit, `FG0206` for an argument that the
    /// kernel's access does not allow, `FG0607` if an output cannot be read back.
    pub fn call(&self, call: &Call<'_>) -> Result<Called, Error> {
        let mut outputs = Vec::new();
        let report = self.call_into(call, &mut outputs)?;
        Ok(Called { outputs, report })
    }

    /// As [`call`](Self::call), into memory of the caller: each output goes to the vector in its place, which keeps its
    /// allocation if that is large enough. Vectors that are missing are made, and surplus ones dropped. Nothing is written
    /// before the launch has ended well; after `FG0607` what they hold is unspecified.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn call_into(&self, call: &Call<'_>, outputs: &mut Vec<Vec<u8>>) -> Result<LaunchReport, Error> {
        let staged = self.stage(call)?;
        self.device().worker().settle();
        let report = self.run(&staged.launch)?;
        read_back(self.device(), &[&staged], std::slice::from_mut(outputs))?;
        Ok(report)
    }

    /// As [`call`](Self::call), with the time on the device.
    ///
    /// # Errors
    /// As [`call`](Self::call), and [`Error::Unsupported`] from a backend that does not measure.
    pub fn call_timed(&self, call: &Call<'_>) -> Result<(Called, Duration), Error> {
        let called = self.call(&call.clone().options(&LaunchOptions::default().timed(true)))?;
        match called.report.device_time {
            Some(time) => Ok((called, time)),
            None => Err(Error::unsupported("time measured on the device", "no clock")),
        }
    }

    /// Several calls in their order. Nothing is written to `outputs` before all have ended well; then it has the outputs
    /// of each, in the vectors that it has already as far as they go.
    ///
    /// # Errors
    /// That of the first call that fails, as [`call`](Self::call).
    pub fn call_batched(
        &self,
        calls: &[Call<'_>],
        outputs: &mut Vec<Vec<Vec<u8>>>,
    ) -> Result<Vec<LaunchReport>, Error> {
        let staged = calls.iter().map(|call| self.stage(call)).collect::<Result<Vec<_>, Error>>()?;
        let mut begun = Vec::with_capacity(staged.len());
        for staged in &staged {
            let (promise, pending) = promise();
            let submitted = self.submit_checked(staged.launch.clone(), promise, |result| result);
            let is_refused = submitted.is_err();
            begun.push(submitted.map(|()| pending));
            if is_refused {
                break;
            }
        }
        // All are waited for, so that none is under way when an error is returned.
        let ended: Vec<_> = begun.into_iter().map(|begun| begun.and_then(Pending::wait)).collect();
        let reports = ended.into_iter().collect::<Result<Vec<_>, Error>>()?;
        outputs.resize_with(staged.len(), Vec::new);
        read_back(self.device(), &staged.iter().collect::<Vec<_>>(), outputs)?;
        Ok(reports)
    }

    /// Begins a call and does not wait for it. The inputs were copied when this returns.
    ///
    /// # Errors
    /// As [`call`](Self::call), for what is known before it begins.
    pub fn call_async(&self, call: &Call<'_>) -> Result<Pending<Called>, Error> {
        let staged = self.stage(call)?;
        let (promise, pending) = promise();
        let (device, launch) = (self.device().clone(), staged.launch.clone());
        self.submit_checked(launch, promise, move |result| {
            let report = result?;
            let mut outputs = vec![Vec::new()];
            read_back(&device, &[&staged], &mut outputs)?;
            Ok(Called { outputs: outputs.pop().unwrap_or_default(), report })
        })?;
        Ok(pending)
    }

    /// Checks a call, makes its buffers and copies its inputs.
    fn stage(&self, call: &Call<'_>) -> Result<Staged, Error> {
        let (device, kernel) = (self.device(), self.kernel());
        let options = self.merged(&call.options);
        let bytes = call.output_bytes();
        if let Some(most) = options.max_output_bytes.filter(|most| bytes > *most) {
            let message =
                format!("kernel `{}`: {bytes} bytes of output, at most {most} are allowed", kernel.name);
            return Err(Error::invalid(Code::OutputTooLarge, message));
        }
        for (arg, declared) in call.args.iter().zip(&kernel.buffers) {
            allowed(arg, declared.access, &declared.name)?;
        }
        let (mut bindings, mut outputs) = (Vec::with_capacity(call.args.len()), Vec::new());
        for arg in &call.args {
            let binding = match arg {
                Arg::In(data) | Arg::InOut(data) => device.upload(data)?.whole().bind(device)?,
                Arg::Out(bytes) => device.zeroed(*bytes)?.whole().bind(device)?,
                Arg::Resident(view) => view.bind(device)?,
            };
            if matches!(arg, Arg::InOut(_) | Arg::Out(_)) {
                outputs.push(binding.clone());
            }
            bindings.push(binding);
        }
        Ok(Staged { launch: self.check(bindings, &call.params, &options)?, outputs })
    }
}

/// Refuses an input that the kernel writes and an output that it does not.
fn allowed(arg: &Arg<'_>, access: Access, name: &str) -> Result<(), Error> {
    match arg {
        Arg::In(_) if access.can_write() => {
            let message = format!("`%{name}` is written, and was passed as an input alone");
            Err(Error::invalid(Code::NotWritable, message))
        }
        Arg::Out(_) | Arg::InOut(_) if !access.can_write() => Err(Error::invalid(
            Code::NotWritable,
            format!("`%{name}` is only read, and was passed as an output"),
        )),
        _ => Ok(()),
    }
}

/// Copies the outputs of launches that ended to the host, into the caller's allocations as far as they go.
fn read_back(device: &Device, calls: &[&Staged], outputs: &mut [Vec<Vec<u8>>]) -> Result<(), Error> {
    let counting = device.counting();
    for (call, slots) in calls.iter().zip(outputs) {
        slots.truncate(call.outputs.len());
        slots.resize_with(call.outputs.len(), Vec::new);
        for (output, (binding, slot)) in call.outputs.iter().zip(slots).enumerate() {
            let reused = slot.capacity() > 0 && slot.capacity() as u64 >= binding.bytes();
            let read =
                resize(slot, binding.bytes()).and_then(|()| binding.buffer().read(binding.offset(), slot));
            read.map_err(|source| DeviceError::ReadBack { output, source: Box::new(source) })?;
            add(&counting.output_slots, 1);
            add(&counting.output_slots_reused, u64::from(reused));
            add(&counting.bytes_out, binding.bytes());
        }
    }
    Ok(())
}
