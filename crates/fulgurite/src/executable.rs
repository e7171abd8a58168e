//! Compiled kernels whose arguments are types.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use fulgurite_driver_core::{Manifest, Pending, Program};
use fulgurite_hal::{Error, LaunchOptions, LaunchReport};

use crate::args::{Bound, LaunchArgs};
use crate::call::{self, Call, OutputVec, Outputs};

/// A compiled kernel of arguments `A` on one context. Cheap to clone.
///
/// Arguments are a tuple in the kernel's order, each as [`LaunchArg`](crate::LaunchArg) says: buffers by reference or as
/// views, parameters by value.
///
/// ```
/// use fulgurite::prelude::*;
///
/// let scale = kernel::<(Read<f32>, Write<f32>, f32)>("scale", ["x", "y", "a"], [64, 1, 1], |k, (x, y, a)| {
///     let i = k.global_id().x();
///     y.store(i, a * x.load(i));
/// })?;
/// let ctx = Context::open()?;
/// let exe = ctx.compile(&scale)?;
/// let (x, mut y) = (ctx.buffer(&[1.0f32, 2.0, 3.0])?, ctx.zeroed(3)?);
///
/// exe.launch((&x, &mut y, 2.0))?;
/// assert_eq!(y.read()?, [2.0, 4.0, 6.0]);
///
/// // Without waiting, and on part of a buffer.
/// let pending = exe.submit((x.slice(1..)?, y.slice_mut(..2)?, 10.0))?;
/// pending.wait()?;
/// assert_eq!(y.read()?, [20.0, 30.0, 6.0]);
///
/// // On slices, with buffers that live as long as the call.
/// let mut outputs = exe.call().input(&[5.0f32, 6.0]).output::<f32>(2).param(0.5f32).run()?;
/// assert_eq!(outputs.take::<f32>(0)?, [2.5, 3.0]);
/// # Ok::<(), Error>(())
/// ```
pub struct Executable<A> {
    program: Program,
    args: PhantomData<fn() -> A>,
}

impl<A> Executable<A> {
    pub(crate) fn new(program: Program) -> Self {
        Self { program, args: PhantomData }
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    /// Runs the kernel on its default grid ([`LaunchOptions::grid`]), one invocation for each element of the first buffer that it
    /// writes, and waits for it.
    ///
    /// # Errors
    /// `FG05xx` for arguments that do not fit, `FG0403` and `FG0405` over the device's limits, `FG06xx` from
    /// the device.
    pub fn launch(&self, args: impl LaunchArgs<A>) -> Result<LaunchReport, Error> {
        self.launch_with(&LaunchOptions::default(), args)
    }

    /// As [`launch`](Self::launch), with options, which win over the executable's and the context's field by field.
    ///
    /// # Errors
    /// As [`launch`](Self::launch).
    pub fn launch_with(
        &self,
        options: &LaunchOptions,
        args: impl LaunchArgs<A>,
    ) -> Result<LaunchReport, Error> {
        let bound = Bound::new(args);
        self.program.launch(&bound.buffers, &bound.params, options)
    }

    /// Begins the kernel and does not wait for it. Whatever is done with its buffers next comes behind it.
    ///
    /// # Errors
    /// As [`launch`](Self::launch), for what is known before it begins.
    pub fn submit(&self, args: impl LaunchArgs<A>) -> Result<Pending<LaunchReport>, Error> {
        let bound = Bound::new(args);
        self.program.submit(&bound.buffers, &bound.params, &LaunchOptions::default())
    }

    /// Runs the kernel, waits for it, and gives the time that it took on the device.
    ///
    /// # Errors
    /// As [`launch`](Self::launch), and [`Error::Unsupported`] from a backend that does not measure.
    pub fn timed(&self, args: impl LaunchArgs<A>) -> Result<Duration, Error> {
        self.launch_with(&LaunchOptions::default().timed(true), args)?.measured()
    }

    /// The executable with options for its launches, which win over those that it has, field by field.
    #[must_use]
    pub fn with_options(&self, options: &LaunchOptions) -> Self {
        Self::new(self.program.clone().with_options(options))
    }

    /// A call on slices of the host: see [`Call`].
    pub fn call<'a>(&self) -> Call<'a> {
        Call::new(&self.program)
    }

    /// Runs several calls of this executable in their order and waits for all. Their inputs are all on the device before
    /// the first begins, and no output is copied to the host before the last has ended well.
    ///
    /// # Errors
    /// That of the first call that fails; `FG0506` for a call of another executable.
    pub fn batch<'a>(&self, calls: impl IntoIterator<Item = Call<'a>>) -> Result<Vec<Outputs>, Error> {
        call::batch(&self.program, calls)
    }

    /// As [`batch`](Self::batch), into vectors that are there: one for each output of each call, in order. Each becomes as
    /// long as its output and keeps its allocation if that is large enough. Nothing is written before all calls have ended
    /// well; after `FG0607` what the vectors hold is unspecified.
    ///
    /// ```
    /// # use fulgurite::prelude::*;
    /// # let double = kernel::<(ReadWrite<u32>,)>("double", ["y"], [64, 1, 1], |k, (y,)| {
    /// #     let i = k.global_id().x();
    /// #     y.store(i, y.load(i) + y.load(i));
    /// # })?;
    /// use fulgurite::OutputVec;
    ///
    /// let exe = Context::open()?.compile(&double)?;
    /// let inputs = [[1u32, 2], [3, 4], [5, 6]];
    /// let mut results = vec![Vec::<u32>::with_capacity(2); 3];
    /// let mut outputs: Vec<&mut dyn OutputVec> = results.iter_mut().map(|vec| vec as _).collect();
    /// exe.batch_into(inputs.iter().map(|x| exe.call().in_out(x)), &mut outputs)?;
    /// assert_eq!(results, [[2, 4], [6, 8], [10, 12]]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`batch`](Self::batch); `FG0501` for another number of vectors than outputs, `FG0502` for one of other elements.
    pub fn batch_into<'a>(
        &self,
        calls: impl IntoIterator<Item = Call<'a>>,
        outputs: &mut [&mut dyn OutputVec],
    ) -> Result<Vec<LaunchReport>, Error> {
        call::batch_into(&self.program, calls, outputs)
    }

    /// Starts with the backend's id and a colon, and is unique to what was compiled.
    pub fn id(&self) -> &str {
        self.program.id()
    }

    /// What identifies it, as data.
    pub fn manifest(&self) -> &Manifest {
        self.program.manifest()
    }
}

impl<A> Clone for Executable<A> {
    fn clone(&self) -> Self {
        Self::new(self.program.clone())
    }
}

impl<A> fmt::Debug for Executable<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Executable").field(&self.id()).finish()
    }
}
