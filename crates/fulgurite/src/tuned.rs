//! Tuned kernels of a family with typed arguments.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use fulgurite_autotune::{Family, Source, TuneOptions, TuneReport, Tuned, Tuner};
use fulgurite_hal::{Error, LaunchOptions};

use crate::args::{Bound, LaunchArgs};
use crate::context::Context;

/// A family's kernels for one problem, with arguments `A`, in the best known configuration. Cheap to clone.
///
/// ```
/// use fulgurite::kernels::{Length, Sum};
/// use fulgurite::prelude::*;
///
/// let ctx = Context::open()?;
/// let (x, mut sum) = (ctx.buffer(&[1.5f32; 1000])?, ctx.zeroed(1)?);
/// // At once: by a record of this device, or else by the family's own rule.
/// let tuned = ctx.tuned(Sum, &Length(1000))?;
/// tuned.launch((&x, &mut sum))?;
/// assert_eq!(sum.read()?, [1500.0f32]);
/// # Ok::<(), Error>(())
/// ```
pub struct TunedExecutable<A> {
    tuned: Tuned,
    args: PhantomData<fn() -> A>,
}

impl Context {
    /// Returns `family`'s kernels for `problem`, configured by a record of this device or else by the family's
    /// default rule. Nothing is measured before this returns. Whether tuning continues in the background depends on
    /// the policy: [`ContextBuilder::autotune`](crate::ContextBuilder::autotune), else `FULGURITE_AUTOTUNE` (`off`,
    /// `cached`, `on`).
    ///
    /// # Errors
    /// `FG1105` if no configuration fits, and those of compiling.
    pub fn tuned<F: Family>(
        &self,
        family: F,
        problem: &F::Problem,
    ) -> Result<TunedExecutable<F::Arguments>, Error> {
        Ok(TunedExecutable { tuned: self.tuner().get(family, problem)?, args: PhantomData })
    }

    /// Searches for the fastest configuration now and stores it for all processes.
    ///
    /// ```
    /// use fulgurite::autotune::TuneOptions;
    /// use fulgurite::kernels::{Length, Sum};
    /// use fulgurite::prelude::*;
    ///
    /// let folder = std::env::temp_dir().join(format!("fulgurite-doc-{}", std::process::id()));
    /// let ctx = Context::builder().backend("cpu").autotune_directory(&folder).open()?;
    /// let report = ctx.tune(Sum, &Length(4096), &TuneOptions::default().max_candidates(3))?;
    /// assert_eq!(report.measured, 3);
    /// # std::fs::remove_dir_all(&folder).ok();
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `FG1105` if no configuration fits, `FG1107` if none gives correct results, and device errors.
    pub fn tune<F: Family>(
        &self,
        family: F,
        problem: &F::Problem,
        options: &TuneOptions,
    ) -> Result<TuneReport, Error> {
        self.tuner().tune(family, problem, options)
    }
}

impl<A> TunedExecutable<A> {
    /// Launches the kernels and waits for them.
    ///
    /// # Errors
    /// Those of [`Executable::launch`](crate::Executable::launch).
    pub fn launch(&self, args: impl LaunchArgs<A>) -> Result<(), Error> {
        self.launch_with(&LaunchOptions::default(), args)
    }

    /// Launches with options, which override the context's; the grid is the configuration's.
    ///
    /// # Errors
    /// Those of [`launch`](Self::launch).
    pub fn launch_with(&self, options: &LaunchOptions, args: impl LaunchArgs<A>) -> Result<(), Error> {
        self.tuned.launch(&Bound::new(args).buffers, options)
    }

    /// Launches the kernels, waits for them, and returns the time they took on the device.
    ///
    /// # Errors
    /// Those of [`launch`](Self::launch).
    pub fn timed(&self, args: impl LaunchArgs<A>) -> Result<Duration, Error> {
        self.tuned.timed(&Bound::new(args).buffers, &LaunchOptions::default())
    }

    /// Returns the configuration in use, on one line.
    pub fn config(&self) -> String {
        self.tuned.config()
    }

    /// Returns the origin of the configuration.
    pub fn source(&self) -> Source {
        self.tuned.source()
    }

    /// Waits until background tuning has ended, for `timeout` at most. Returns whether it has ended.
    ///
    /// # Errors
    /// The error of tuning, if it failed.
    pub fn wait(&self, timeout: Duration) -> Result<bool, Error> {
        self.tuned.wait(timeout)
    }
}

impl<A> Clone for TunedExecutable<A> {
    fn clone(&self) -> Self {
        Self { tuned: self.tuned.clone(), args: PhantomData }
    }
}

impl<A> fmt::Debug for TunedExecutable<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tuned.fmt(f)
    }
}

/// Adds the records of packs to those of `tuner`; local records take precedence.
pub(crate) fn add_layers(tuner: &Tuner, files: &[Vec<u8>]) {
    for text in files {
        if let Err(error) = tuner.store().add_layer(text) {
            tracing::warn!("{}", error.diagnostic());
        }
    }
}
