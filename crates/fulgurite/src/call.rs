//! Calls: one launch on slices of the host, with temporary device buffers.

mod outputs;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use fulgurite_hal::{Error, LaunchOptions, LaunchReport};
use fulgurite_runtime::{self as runtime, Called, Pending, Program, Repro};
use fulgurite_spec::{Code, Type, eval};

use crate::args::components;
use crate::buffer::{Buffer, BufferView, BufferViewMut, Element};
use crate::dynamic::{DynBuffer, check_param_bytes, check_type};
use crate::params::{KernelParams, ParamList};

use outputs::{Lent, Output, given_for};
pub use outputs::{OutputVec, Outputs};

/// A call of a kernel. [`Executable::call`](crate::Executable::call) starts it, one method for each buffer and
/// parameter in the kernel's order adds an argument, and [`run`](Self::run) or [`submit`](Self::submit) executes it.
///
/// Inputs are copied once from the caller's memory to the device, and outputs once into vectors of their type. Types
/// and access are checked on execution; after an error nothing has been written.
///
/// ```
/// use fulgurite::prelude::*;
///
/// let saxpy = kernel::<(Read<f32>, ReadWrite<f32>, f32)>("saxpy", ["x", "y", "a"], [64, 1, 1], |k, (x, y, a)| {
///     let i = k.global_id().x();
///     y.store(i, a * x.load(i) + y.load(i));
/// })?;
/// let exe = Context::open()?.compile(&saxpy)?;
/// let (x, y) = (vec![1.0f32, 2.0], vec![10.0f32, 20.0]);
///
/// let mut outputs = exe.call().input(&x).in_out(&y).param(2.0f32).label("saxpy of two").run()?;
/// assert_eq!(outputs.take::<f32>(0)?, [12.0, 24.0]);
///
/// // Into a vector that is there, and without waiting.
/// let mut result = Vec::<f32>::with_capacity(2);
/// exe.call().input(&x).in_out(&y).param(3.0f32).run_into(&mut [&mut result])?;
/// assert_eq!(result, [13.0, 26.0]);
/// let pending = exe.call().input(&x).in_out(&y).param(4.0f32).submit()?;
/// assert_eq!(pending.wait()?.take::<f32>(0)?, [14.0, 28.0]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
#[must_use = "nothing is done until `run` or `submit`"]
pub struct Call<'a> {
    program: Program,
    call: runtime::Call<'a>,
    buffers: Vec<Passed>,
    /// The type of each parameter, or the bytes it was given as.
    params: Vec<Type>,
    outputs: Vec<MakeOutput>,
    /// The first argument that is invalid regardless of the others.
    wrong: Option<Error>,
    timed: bool,
}

/// Creates the vector of an output.
type MakeOutput = fn() -> Output;

/// The facts about a buffer argument when it is passed.
#[derive(Clone, Copy)]
struct Passed {
    /// The element type; `None` for bytes, which match any type.
    element: Option<Type>,
    /// Whether the argument is read-only.
    shared: bool,
}

/// A resident argument of a [`Call`]: a typed or dynamic buffer or view.
pub struct Resident<'a> {
    view: runtime::BufferView,
    element: Type,
    shared: bool,
    buffer: PhantomData<&'a ()>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(program: &Program) -> Self {
        Self {
            program: program.clone(),
            call: runtime::Call::new().options(program.options()),
            buffers: Vec::new(),
            params: Vec::new(),
            outputs: Vec::new(),
            wrong: None,
            timed: false,
        }
    }

    /// Adds elements for the kernel's next buffer, which is read-only.
    pub fn input<T: Element>(self, data: &'a [T]) -> Self {
        self.add(Some(T::TYPE), |call| call.input(bytemuck::cast_slice(data)))
    }

    /// Adds little-endian bytes, of any element type, for the kernel's next buffer, which is read-only.
    pub fn input_bytes(self, bytes: &'a [u8]) -> Self {
        self.add(None, |call| call.input(bytes))
    }

    /// Adds `len` zero elements for the kernel's next buffer, whose final contents are an output.
    pub fn output<T: Element>(mut self, len: usize) -> Self {
        self.outputs.push(Output::new::<T>);
        let bytes = (len as u64).saturating_mul(size_of::<T>() as u64);
        self.add(Some(T::TYPE), |call| call.output(bytes))
    }

    /// Adds `len` zero bytes, of any element type, for the kernel's next buffer, whose final contents are an output
    /// of `u8`, little-endian.
    pub fn output_bytes(mut self, len: usize) -> Self {
        self.outputs.push(Output::new::<u8>);
        self.add(None, |call| call.output(len as u64))
    }

    /// Adds elements for the kernel's next buffer, whose final contents are an output.
    pub fn in_out<T: Element>(mut self, data: &'a [T]) -> Self {
        self.outputs.push(Output::new::<T>);
        self.add(Some(T::TYPE), |call| call.in_out(bytemuck::cast_slice(data)))
    }

    /// Adds little-endian bytes, of any element type, for the kernel's next buffer, whose final contents are an
    /// output of `u8`.
    pub fn in_out_bytes(mut self, bytes: &'a [u8]) -> Self {
        self.outputs.push(Output::new::<u8>);
        self.add(None, |call| call.in_out(bytes))
    }

    /// Adds a resident buffer for the kernel's next buffer: `&Buffer<T>` or a view if the kernel only reads it, `&mut
    /// Buffer<T>` or a view for writing, `&DynBuffer`. It is not an output.
    pub fn resident(mut self, memory: impl Into<Resident<'a>>) -> Self {
        let Resident { view, element, shared, .. } = memory.into();
        self.buffers.push(Passed { element: Some(element), shared });
        self.call = self.call.resident(view);
        self
    }

    /// Adds the value of the kernel's next parameter.
    pub fn param<T: Element>(mut self, value: T) -> Self {
        self.params.push(T::TYPE);
        self.call = self.call.param(components(&value));
        self
    }

    /// Adds the fields of a struct as the kernel's next parameters.
    pub fn params(mut self, params: impl KernelParams) -> Self {
        for (ty, value) in ParamList::of(params).0 {
            self.params.push(ty);
            self.call = self.call.param(value);
        }
        self
    }

    /// Adds the value of the kernel's next parameter as little-endian bytes of its declared type.
    pub fn param_bytes(mut self, bytes: &[u8]) -> Self {
        if let Some(declared) = self.program.kernel().params.get(self.params.len()) {
            let ty = declared.ty;
            self.params.push(ty);
            match check_param_bytes(ty, bytes) {
                Ok(()) => self.call = self.call.param(eval::read_bytes(bytes, ty)),
                Err(error) => self.wrong = self.wrong.or(Some(error)),
            }
        } else {
            // One too many, whatever its type.
            self.call = self.call.param([0; 4]);
        }
        self
    }

    /// Sets options, which override the executable's and earlier ones field by field.
    pub fn options(mut self, options: &LaunchOptions) -> Self {
        self.call = self.call.options(options);
        self
    }

    /// Sets the label of the launch in traces and in the driver's debugging tools.
    pub fn label(self, label: impl Into<Arc<str>>) -> Self {
        self.options(&LaunchOptions::default().label(label))
    }

    /// Requires the time on the device in [`Outputs::report`]. The call is [`Error::Unsupported`] where the backend
    /// does not measure.
    pub fn timed(mut self) -> Self {
        self.timed = true;
        self.options(&LaunchOptions::default().timed(true))
    }

    /// Runs the kernel, waits for it, and returns its outputs.
    ///
    /// # Errors
    /// `FG0502` for an argument of the wrong type, `FG0512` for one that the kernel's access does not allow, `FG0510`
    /// for outputs over the stated limit, `FG0607` if an output cannot be read back, and those of
    /// [`Executable::launch`](crate::Executable::launch).
    pub fn run(self) -> Result<Outputs, Error> {
        self.check()?;
        let mut outputs = self.make_outputs();
        let report = self.program.call_to(&self.call, &mut outputs)?;
        Outputs::new(Called { outputs, report }, self.timed)
    }

    /// Runs like [`run`](Self::run) and copies the outputs, in order, into existing vectors: `&mut [&mut a, &mut b]`.
    /// Each vector is resized and reuses its allocation if large enough. Nothing is written before the launch has
    /// succeeded; after `FG0607` the contents are unspecified.
    ///
    /// # Errors
    /// Those of [`run`](Self::run); `FG0501` for a wrong number of vectors, `FG0502` for one of the wrong element
    /// type.
    pub fn run_into(self, outputs: &mut [&mut dyn OutputVec]) -> Result<LaunchReport, Error> {
        self.check()?;
        for (at, (made, given)) in self.make_outputs().iter().zip(&*outputs).enumerate() {
            given_for(at, made.element(), given.element())?;
        }
        let mut outputs: Vec<_> = outputs.iter_mut().map(|vec| Lent(&mut **vec)).collect();
        let report = self.program.call_to(&self.call, &mut outputs)?;
        if self.timed {
            report.measured()?;
        }
        Ok(report)
    }

    /// Runs this call and then `others`, of the same executable, into existing vectors: see
    /// [`Executable::batch_into`](crate::Executable::batch_into).
    ///
    /// ```
    /// # use fulgurite::prelude::*;
    /// # let double = kernel::<(ReadWrite<u32>,)>("double", ["y"], [64, 1, 1], |k, (y,)| {
    /// #     let i = k.global_id().x();
    /// #     y.store(i, y.load(i) + y.load(i));
    /// # })?;
    /// let exe = Context::open()?.compile(&double)?;
    /// let (mut first, mut second) = (Vec::<u32>::with_capacity(2), Vec::<u32>::with_capacity(1));
    /// let other = exe.call().in_out(&[7u32]);
    /// exe.call().in_out(&[1u32, 2]).batch_into([other], &mut [&mut first, &mut second])?;
    /// assert_eq!((first, second), (vec![2, 4], vec![14]));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Executable::batch_into`](crate::Executable::batch_into).
    pub fn batch_into(
        self,
        others: impl IntoIterator<Item = Call<'a>>,
        outputs: &mut [&mut dyn OutputVec],
    ) -> Result<Vec<LaunchReport>, Error> {
        let program = self.program.clone();
        batch_into(&program, std::iter::once(self).chain(others), outputs)
    }

    /// Starts the kernel without waiting for it. The inputs have been copied when this returns; resident buffers may
    /// be used at once, and later work on them runs after the call.
    ///
    /// # Errors
    /// Those of [`run`](Self::run) that are known before the launch.
    pub fn submit(self) -> Result<Pending<Outputs>, Error> {
        self.check()?;
        let pending = self.program.call_async_to(&self.call, self.make_outputs())?;
        let timed = self.timed;
        Ok(pending.and_then(move |called| Outputs::new(called, timed)))
    }

    /// Runs the kernel on copies of the arguments and captures arguments and outputs as a file that
    /// [`Context::replay`](crate::Context::replay) or `fulgurite replay` can run again.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub fn capture(self) -> Result<Repro, Error> {
        self.check()?;
        self.program.capture(&self.call)
    }

    fn add(
        mut self,
        element: Option<Type>,
        pass: impl FnOnce(runtime::Call<'a>) -> runtime::Call<'a>,
    ) -> Self {
        self.buffers.push(Passed { element, shared: false });
        self.call = pass(self.call);
        self
    }

    fn make_outputs(&self) -> Vec<Output> {
        self.outputs.iter().map(|make| make()).collect()
    }

    /// Checks types and read-only arguments, which the engine does not know.
    fn check(&self) -> Result<(), Error> {
        let kernel = self.program.kernel();
        for (passed, declared) in self.buffers.iter().zip(&kernel.buffers) {
            if let Some(element) = passed.element {
                check_type(&declared.name, declared.element, element)?;
            }
            if passed.shared && declared.access.can_write() {
                let message = format!("`%{}` is written, and was passed for reading", declared.name);
                return Err(Error::invalid(Code::WrongAccess, message));
            }
        }
        for (given, declared) in self.params.iter().zip(&kernel.params) {
            check_type(&declared.name, declared.ty, *given)?;
        }
        self.wrong.clone().map_or(Ok(()), Err)
    }
}

/// Runs several calls of one program.
pub(crate) fn batch<'a>(
    program: &Program,
    calls: impl IntoIterator<Item = Call<'a>>,
) -> Result<Vec<Outputs>, Error> {
    let calls = of_program(program, calls)?;
    let mut outputs: Vec<_> = calls.iter().map(Call::make_outputs).collect();
    let (calls, timed): (Vec<_>, Vec<_>) = calls.into_iter().map(|call| (call.call, call.timed)).unzip();
    let reports = program.call_batched_to(&calls, &mut outputs)?;
    let all = outputs.into_iter().zip(reports).zip(timed);
    all.map(|((outputs, report), timed)| Outputs::new(Called { outputs, report }, timed)).collect()
}

/// Runs like [`batch`], into existing vectors: one for each output of each call.
pub(crate) fn batch_into<'a>(
    program: &Program,
    calls: impl IntoIterator<Item = Call<'a>>,
    outputs: &mut [&mut dyn OutputVec],
) -> Result<Vec<LaunchReport>, Error> {
    let calls = of_program(program, calls)?;
    let has: usize = calls.iter().map(|call| call.outputs.len()).sum();
    if has != outputs.len() {
        let message =
            format!("{} calls of {has} outputs together, vectors for {}", calls.len(), outputs.len());
        return Err(Error::invalid(Code::WrongArgumentCount, message));
    }
    let stated = calls.iter().flat_map(|call| call.make_outputs());
    for (at, (made, given)) in stated.zip(&*outputs).enumerate() {
        given_for(at, made.element(), given.element())?;
    }
    let mut given = outputs.iter_mut().map(|vec| Lent(&mut **vec));
    let mut lent: Vec<Vec<_>> =
        calls.iter().map(|call| given.by_ref().take(call.outputs.len()).collect()).collect();
    let (calls, timed): (Vec<_>, Vec<_>) = calls.into_iter().map(|call| (call.call, call.timed)).unzip();
    let reports = program.call_batched_to(&calls, &mut lent)?;
    for (report, _) in reports.iter().zip(timed).filter(|(_, timed)| *timed) {
        report.measured()?;
    }
    Ok(reports)
}

/// Returns the calls if all are of `program` and have arguments of its types.
fn of_program<'a>(
    program: &Program,
    calls: impl IntoIterator<Item = Call<'a>>,
) -> Result<Vec<Call<'a>>, Error> {
    let calls: Vec<_> = calls.into_iter().collect();
    for call in &calls {
        if call.program.id() != program.id() || !call.program.device().is_same(program.device()) {
            let message = format!("a call of {:?} in a batch of {program:?}", call.program);
            return Err(Error::invalid(Code::ForeignBuffer, message));
        }
        call.check()?;
    }
    Ok(calls)
}

macro_rules! resident {
    ($($from:ty, $view:ident, $shared:literal;)*) => {
        $(
            impl<'a, T: Element> From<$from> for Resident<'a> {
                fn from(from: $from) -> Self {
                    let view = $view::from(from).into_raw();
                    Self { view, element: T::TYPE, shared: $shared, buffer: PhantomData }
                }
            }
        )*
    };
}

resident! {
    &'a Buffer<T>, BufferView, true;
    BufferView<'a, T>, BufferView, true;
    &'a BufferView<'_, T>, BufferView, true;
    &'a BufferViewMut<'_, T>, BufferView, true;
    &'a mut Buffer<T>, BufferViewMut, false;
    BufferViewMut<'a, T>, BufferViewMut, false;
    &'a mut BufferViewMut<'_, T>, BufferViewMut, false;
}

impl<'a> From<&'a DynBuffer> for Resident<'a> {
    fn from(buffer: &'a DynBuffer) -> Self {
        Self { view: buffer.raw().clone(), element: buffer.element(), shared: false, buffer: PhantomData }
    }
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (buffers, params) = (self.buffers.len(), self.params.len());
        write!(f, "Call({:?}, {buffers} buffers, {params} parameters)", self.program)
    }
}
