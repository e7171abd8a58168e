//! One call: a launch on bytes of the host, with temporary buffers. A call may also use resident buffers.
//!
//! Every form copies inputs to the device once, from the caller's memory, and copies no output to the host before the
//! launch has ended.

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

/// The argument for a buffer of the kernel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Arg<'a> {
    /// Bytes that the kernel reads.
    In(Cow<'a, [u8]>),
    /// Initial bytes whose final contents are an output. Also allowed for a write-only buffer: elements that are not
    /// written keep their value.
    InOut(Cow<'a, [u8]>),
    /// The size of a buffer of zero bytes whose final contents are an output.
    Out(u64),
    /// A resident buffer of the device.
    Resident(BufferView),
}

/// The arguments of one call, in the kernel's declaration order.
#[derive(Clone, Debug, Default)]
pub struct Call<'a> {
    args: Vec<Arg<'a>>,
    params: Vec<Components>,
    options: LaunchOptions,
}

/// Host memory that receives an output.
pub trait HostMemory {
    /// Returns the capacity of the current allocation in bytes.
    fn capacity(&self) -> u64;

    /// Resizes the memory to `bytes` bytes, reusing the current allocation if it is large enough, and returns it.
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

/// The result of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Called<M = Vec<u8>> {
    /// The final bytes of each [`Arg::Out`] and [`Arg::InOut`], in order.
    pub outputs: Vec<M>,
    /// The report of the launch.
    pub report: LaunchReport,
}

impl<'a> Call<'a> {
    /// Returns a call without arguments.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the argument for the next buffer.
    #[must_use]
    pub fn arg(mut self, arg: Arg<'a>) -> Self {
        self.args.push(arg);
        self
    }

    /// Adds read-only bytes for the next buffer.
    #[must_use]
    pub fn input(self, bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        self.arg(Arg::In(bytes.into()))
    }

    /// Adds bytes that the kernel changes for the next buffer, as an output.
    #[must_use]
    pub fn in_out(self, bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        self.arg(Arg::InOut(bytes.into()))
    }

    /// Adds `bytes` bytes of output for the next buffer.
    #[must_use]
    pub fn output(self, bytes: u64) -> Self {
        self.arg(Arg::Out(bytes))
    }

    /// Adds a resident buffer for the next buffer.
    #[must_use]
    pub fn resident(self, view: impl Into<BufferView>) -> Self {
        self.arg(Arg::Resident(view.into()))
    }

    /// Adds the value of the next parameter.
    #[must_use]
    pub fn param(mut self, value: Components) -> Self {
        self.params.push(value);
        self
    }

    /// Sets launch options, which override the program's field by field.
    #[must_use]
    pub fn options(mut self, options: &LaunchOptions) -> Self {
        self.options = self.options.merged(options);
        self
    }

    /// Returns the buffer arguments.
    pub(crate) fn args(&self) -> &[Arg<'a>] {
        &self.args
    }

    /// Returns the parameter values.
    pub(crate) fn params(&self) -> &[Components] {
        &self.params
    }

    /// Returns the launch options.
    pub(crate) fn stated(&self) -> &LaunchOptions {
        &self.options
    }

    /// Returns the total size of the outputs in bytes.
    fn output_bytes(&self) -> u64 {
        let sizes = self.args.iter().map(|arg| match arg {
            Arg::In(_) | Arg::Resident(_) => 0,
            Arg::InOut(bytes) => bytes.len() as u64,
            Arg::Out(bytes) => *bytes,
        });
        sizes.fold(0, u64::saturating_add)
    }

    /// Returns the number of outputs.
    fn output_count(&self) -> usize {
        self.args.iter().filter(|arg| matches!(arg, Arg::InOut(_) | Arg::Out(_))).count()
    }
}

/// A call whose inputs have been copied to the device.
struct Staged {
    launch: Launch,
    outputs: Vec<Binding>,
}

impl Program {
    /// Runs the kernel once on bytes of the host.
    ///
    /// # Errors
    /// Those of [`launch`](Program::launch); `FG0510` for outputs over the stated limit, `FG0512` for an argument
    /// that the kernel's access does not allow, `FG0607` if an output cannot be read back.
    pub fn call(&self, call: &Call<'_>) -> Result<Called, Error> {
        let mut outputs = Vec::new();
        let report = self.call_into(call, &mut outputs)?;
        Ok(Called { outputs, report })
    }

    /// Runs like [`call`](Self::call) and copies each output to the vector at its index, reusing its allocation if
    /// large enough. Missing vectors are added, surplus ones removed. Nothing is written before the launch has
    /// succeeded; after `FG0607` the contents are unspecified.
    ///
    /// # Errors
    /// Those of [`call`](Self::call).
    pub fn call_into(&self, call: &Call<'_>, outputs: &mut Vec<Vec<u8>>) -> Result<LaunchReport, Error> {
        let (staged, report) = self.run_staged(call)?;
        outputs.resize_with(staged.outputs.len(), Vec::new);
        staged.read_back(self.device(), outputs)?;
        Ok(report)
    }

    /// Runs like [`call_into`](Self::call_into) with one [`HostMemory`] for each output.
    ///
    /// # Errors
    /// Those of [`call`](Self::call), and `FG0501` for a different number of outputs.
    pub fn call_to<M: HostMemory>(&self, call: &Call<'_>, outputs: &mut [M]) -> Result<LaunchReport, Error> {
        self.one_for_each_output(call, outputs)?;
        let (staged, report) = self.run_staged(call)?;
        staged.read_back(self.device(), outputs)?;
        Ok(report)
    }

    /// Runs like [`call`](Self::call) and measures the time on the device.
    ///
    /// # Errors
    /// Those of [`call`](Self::call), and [`Error::Unsupported`] from a backend that does not measure.
    pub fn call_timed(&self, call: &Call<'_>) -> Result<(Called, Duration), Error> {
        let called = self.call(&call.clone().options(&LaunchOptions::default().timed(true)))?;
        let time = called.report.measured()?;
        Ok((called, time))
    }

    /// Runs several calls in order. Nothing is written to `outputs` before all have succeeded; existing vectors are
    /// reused.
    ///
    /// # Errors
    /// That of the first call that fails, as for [`call`](Self::call).
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

    /// Runs like [`call_batched`](Self::call_batched) with one [`HostMemory`] for each output of each call.
    ///
    /// # Errors
    /// Those of [`call_batched`](Self::call_batched), and `FG0501` for a different number of outputs.
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

    /// Starts a call without waiting for it. The inputs have been copied when this returns.
    ///
    /// # Errors
    /// Those of [`call`](Self::call) that are known before the launch.
    pub fn call_async(&self, call: &Call<'_>) -> Result<Pending<Called>, Error> {
        self.call_async_to(call, vec![Vec::new(); call.output_count()])
    }

    /// Starts like [`call_async`](Self::call_async) with one [`HostMemory`] for each output, which is returned with
    /// the result.
    ///
    /// # Errors
    /// Those of [`call_async`](Self::call_async), and `FG0501` for a different number of outputs.
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

    /// Runs several calls and waits for all of them.
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

    /// Checks a call, allocates its buffers and copies its inputs.
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

/// Refuses an input argument for a buffer that the kernel writes, and an output argument for one that it only reads.
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
    /// Copies the outputs of a finished launch to the host.
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
