//! Compiled kernels with typed arguments.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use fulgurite_hal::{Error, LaunchOptions, LaunchReport};
use fulgurite_ir::VerifiedKernel;
use fulgurite_runtime::{Manifest, Pending, Program};

use crate::args::{Bound, LaunchArgs};
use crate::call::{self, Call, OutputVec, Outputs};

/// A compiled kernel with arguments `A` on one context. Cheap to clone.
///
/// Arguments are a tuple in the kernel's order, as [`LaunchArg`](crate::LaunchArg) lists: buffers by reference or as
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

    /// Launches the kernel on its default grid ([`LaunchOptions::grid`]), one invocation for each element of the
    /// first buffer that it writes, and waits for it.
    ///
    /// # Errors
    /// `FG05xx` for invalid arguments, among them `FG0502` for one of the wrong type; `FG0403` and `FG0405` over the device's limits, `FG06xx` from the device.
    pub fn launch(&self, args: impl LaunchArgs<A>) -> Result<LaunchReport, Error> {
        self.launch_with(&LaunchOptions::default(), args)
    }

    /// Launches with options, which override the executable's and the context's field by field.
    ///
    /// # Errors
    /// Those of [`launch`](Self::launch).
    pub fn launch_with(
        &self,
        options: &LaunchOptions,
        args: impl LaunchArgs<A>,
    ) -> Result<LaunchReport, Error> {
        let bound = Bound::checked(args, self.program.kernel())?;
        self.program.launch(&bound.buffers, &bound.params, options)
    }

    /// Starts the kernel without waiting for it. Later work on its buffers runs after it.
    ///
    /// # Errors
    /// Those of [`launch`](Self::launch) that are known before the launch.
    pub fn submit(&self, args: impl LaunchArgs<A>) -> Result<Pending<LaunchReport>, Error> {
        let bound = Bound::checked(args, self.program.kernel())?;
        self.program.submit(&bound.buffers, &bound.params, &LaunchOptions::default())
    }

    /// Launches the kernel, waits for it, and returns the time it took on the device.
    ///
    /// # Errors
    /// Those of [`launch`](Self::launch), and [`Error::Unsupported`] from a backend that does not measure.
    pub fn timed(&self, args: impl LaunchArgs<A>) -> Result<Duration, Error> {
        self.launch_with(&LaunchOptions::default().timed(true), args)?.measured()
    }

    /// Returns the executable with launch options, which override its current ones field by field.
    #[must_use]
    pub fn with_options(&self, options: &LaunchOptions) -> Self {
        Self::new(self.program.clone().with_options(options))
    }

    /// Starts a call on slices of the host: see [`Call`].
    pub fn call<'a>(&self) -> Call<'a> {
        Call::new(&self.program)
    }

    /// Runs several calls of this executable in order and waits for all of them. All inputs are on the device before
    /// the first launch, and no output is copied to the host before the last has succeeded.
    ///
    /// # Errors
    /// That of the first call that fails; `FG0506` for a call of another executable.
    pub fn batch<'a>(&self, calls: impl IntoIterator<Item = Call<'a>>) -> Result<Vec<Outputs>, Error> {
        call::batch(&self.program, calls)
    }

    /// Runs like [`batch`](Self::batch) and copies the outputs into existing vectors: one for each output of each
    /// call, in order. Each vector is resized and reuses its allocation if large enough. Nothing is written before
    /// all calls have succeeded; after `FG0607` the contents are unspecified.
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
    /// Those of [`batch`](Self::batch); `FG0501` for a wrong number of vectors, `FG0502` for one of the wrong element
    /// type.
    pub fn batch_into<'a>(
        &self,
        calls: impl IntoIterator<Item = Call<'a>>,
        outputs: &mut [&mut dyn OutputVec],
    ) -> Result<Vec<LaunchReport>, Error> {
        call::batch_into(&self.program, calls, outputs)
    }

    /// Returns the id. It starts with the backend's id and a colon, and is unique to the compiled code.
    pub fn id(&self) -> &str {
        self.program.id()
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &Manifest {
        self.program.manifest()
    }

    /// Returns the kernel with the names and types of its buffers and parameters.
    pub fn kernel(&self) -> &Arc<VerifiedKernel> {
        self.program.kernel()
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
