//! One call: a launch on bytes of the host, with buffers that live as long as it does. A call may mix them with resident
//! buffers.
//!
//! Every form copies its inputs to the device once, from where they are, and no output to the host before the launch has
//! ended.

use std::borrow::Cow;
use std::time::Duration;

use fulgurite_hal::{Binding, DeviceError, Error, Launch, LaunchOptions, LaunchReport};
use fulgurite_ir::Access;
use fulgurite_spec::Code;
use fulgurite_spec::eval::Components;

use crate::buffer::{BufferView, resize};
use crate::counters::add;
use crate::device::Device;
use crate::pending::{Pending, promise};
use crate::program::Program;

/// What a call passes for a buffer of the kernel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Arg<'a> {
    /// The kernel reads these bytes.
    In(Cow<'a, [u8]>),
    /// The kernel finds these bytes, and what it leaves is an output. One that only writes may be given them, too: what it
    /// does not write stays.
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

/// Memory of the host that an output is copied to.
pub trait HostMemory {
    /// How many bytes the allocation that it has can hold.
    fn capacity(&self) -> u64;

    /// Makes it `bytes` bytes large, in the allocation that it has if that can hold them, and lends it.
    ///
    /// # Errors
    /// `FG0601` if the host has no memory for it.
    fn resize(&mut self, bytes: u64) -> Result<&mut [u8], Error>;
}

impl HostMemory for Vec<u8> {
    fn capacity(&self) -> u64 {
        self.capacity() as u64
    }

    fn resize(&mut self, bytes: u64) -> Result<&mut [u8], Error> {
        resize(self, bytes)?;
        Ok(self)
    }
}

/// What a call gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Called<M = Vec<u8>> {
    /// The final bytes of each [`Arg::Out`] and [`Arg::InOut`], in order.
    pub outputs: Vec<M>,
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

    /// How many outputs it has.
    fn output_count(&self) -> usize {
        self.args.iter().filter(|arg| matches!(arg, Arg::InOut(_) | Arg::Out(_))).count()
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
    /// As [`launch`](Program::launch); `FG0510` for outputs over the stated limit, `FG0512` for an argument that the
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
        let (staged, report) = self.run_staged(call)?;
        outputs.resize_with(staged.outputs.len(), Vec::new);
        staged.read_back(self.device(), outputs)?;
        Ok(report)
    }

    /// As [`call_into`](Self::call_into), into memory of any kind: one for each output.
    ///
    /// # Errors
    /// As [`call`](Self::call), and `FG0501` for another number of outputs.
    pub fn call_to<M: HostMemory>(&self, call: &Call<'_>, outputs: &mut [M]) -> Result<LaunchReport, Error> {
        self.one_for_each_output(call, outputs)?;
        let (staged, report) = self.run_staged(call)?;
        staged.read_back(self.device(), outputs)?;
        Ok(report)
    }

    /// As [`call`](Self::call), with the time on the device.
    ///
    /// # Errors
    /// As [`call`](Self::call), and [`Error::Unsupported`] from a backend that does not measure.
    pub fn call_timed(&self, call: &Call<'_>) -> Result<(Called, Duration), Error> {
        let called = self.call(&call.clone().options(&LaunchOptions::default().timed(true)))?;
        let time = called.report.measured()?;
        Ok((called, time))
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
        let (staged, reports) = self.run_batch(calls)?;
        outputs.resize_with(staged.len(), Vec::new);
        for (staged, outputs) in staged.iter().zip(outputs) {
            outputs.resize_with(staged.outputs.len(), Vec::new);
            staged.read_back(self.device(), outputs)?;
        }
        Ok(reports)
    }

    /// As [`call_batched`](Self::call_batched), into memory of any kind: one for each output of each call.
    ///
    /// # Errors
    /// As [`call_batched`](Self::call_batched), and `FG0501` for another number of outputs.
    pub fn call_batched_to<M: HostMemory>(
        &self,
        calls: &[Call<'_>],
        outputs: &mut [Vec<M>],
    ) -> Result<Vec<LaunchReport>, Error> {
        if calls.len() != outputs.len() {
            let message = format!("{} calls were given the outputs of {}", calls.len(), outputs.len());
            return Err(Error::invalid(Code::WrongArgumentCount, message));
        }
        for (call, outputs) in calls.iter().zip(&*outputs) {
            self.one_for_each_output(call, outputs)?;
        }
        let (staged, reports) = self.run_batch(calls)?;
        for (staged, outputs) in staged.iter().zip(outputs) {
            staged.read_back(self.device(), outputs)?;
        }
        Ok(reports)
    }

    /// Begins a call and does not wait for it. The inputs were copied when this returns.
    ///
    /// # Errors
    /// As [`call`](Self::call), for what is known before it begins.
    pub fn call_async(&self, call: &Call<'_>) -> Result<Pending<Called>, Error> {
        self.call_async_to(call, vec![Vec::new(); call.output_count()])
    }

    /// As [`call_async`](Self::call_async), into memory of any kind, which comes back with the result: one for each
    /// output.
    ///
    /// # Errors
    /// As [`call_async`](Self::call_async), and `FG0501` for another number of outputs.
    pub fn call_async_to<M: HostMemory + Send + 'static>(
        &self,
        call: &Call<'_>,
        mut outputs: Vec<M>,
    ) -> Result<Pending<Called<M>>, Error> {
        self.one_for_each_output(call, &outputs)?;
        let staged = self.stage(call)?;
        let (promise, pending) = promise();
        let (device, launch) = (self.device().clone(), staged.launch.clone());
        self.submit_checked(launch, promise, move |result| {
            let report = result?;
            staged.read_back(&device, &mut outputs)?;
            Ok(Called { outputs, report })
        })?;
        Ok(pending)
    }

    fn one_for_each_output<M>(&self, call: &Call<'_>, outputs: &[M]) -> Result<(), Error> {
        let (has, given) = (call.output_count(), outputs.len());
        if has == given {
            return Ok(());
        }
        let message = format!("kernel `{}`: {has} outputs, memory for {given}", self.kernel().name);
        Err(Error::invalid(Code::WrongArgumentCount, message))
    }

    /// Runs a call and waits for it.
    fn run_staged(&self, call: &Call<'_>) -> Result<(Staged, LaunchReport), Error> {
        let staged = self.stage(call)?;
        self.device().worker().settle()?;
        let report = self.run(&staged.launch)?;
        Ok((staged, report))
    }

    /// Runs several calls and waits for all.
    fn run_batch(&self, calls: &[Call<'_>]) -> Result<(Vec<Staged>, Vec<LaunchReport>), Error> {
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
        Ok((staged, reports))
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
            Err(Error::invalid(Code::WrongAccess, message))
        }
        Arg::Out(_) | Arg::InOut(_) if !access.can_write() => Err(Error::invalid(
            Code::WrongAccess,
            format!("`%{name}` is only read, and was passed as an output"),
        )),
        _ => Ok(()),
    }
}

impl Staged {
    /// Copies the outputs of the launch, which has ended, to the host: one for each.
    fn read_back<M: HostMemory>(&self, device: &Device, outputs: &mut [M]) -> Result<(), Error> {
        let counting = device.counting();
        for (output, (binding, memory)) in self.outputs.iter().zip(outputs).enumerate() {
            let capacity = memory.capacity();
            let reused = capacity > 0 && capacity >= binding.bytes();
            let read =
                memory.resize(binding.bytes()).and_then(|out| binding.buffer().read(binding.offset(), out));
            read.map_err(|source| DeviceError::ReadBack { output, source: Box::new(source) })?;
            add(&counting.output_slots, 1);
            add(&counting.output_slots_reused, u64::from(reused));
            add(&counting.bytes_out, binding.bytes());
        }
        Ok(())
    }
}
