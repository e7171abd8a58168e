//! A compiled kernel on its device, and launches on resident buffers.

use std::fmt;
use std::sync::Arc;

use fulgurite_hal::{Binding, Error, Executable, Launch, LaunchOptions, LaunchReport, Work};
use fulgurite_ir::VerifiedKernel;
use fulgurite_spec::eval::Components;

use crate::buffer::BufferView;
use crate::device::Device;
use crate::manifest::Manifest;
use crate::pending::{Pending, Promise, promise};
use crate::worker::Kind;

/// A compiled kernel on its device. Cheap to clone.
///
/// Buffers and parameters are passed in the kernel's declaration order, parameters as the components of their types.
#[derive(Clone)]
pub struct Program {
    device: Device,
    kernel: Arc<VerifiedKernel>,
    /// The kernel that was compiled, for which launches are checked.
    optimized: Arc<VerifiedKernel>,
    executable: Arc<dyn Executable>,
    manifest: Arc<Manifest>,
    options: LaunchOptions,
}

impl Program {
    pub(crate) fn new(
        device: Device,
        kernel: Arc<VerifiedKernel>,
        optimized: Arc<VerifiedKernel>,
        executable: Arc<dyn Executable>,
        manifest: Manifest,
    ) -> Self {
        let options = device.launch_options().clone();
        Self { device, kernel, optimized, executable, manifest: Arc::new(manifest), options }
    }

    /// Returns the program with launch options, which override the device's field by field.
    #[must_use]
    pub fn with_options(mut self, options: &LaunchOptions) -> Self {
        self.options = self.options.merged(options);
        self
    }

    /// Returns the default launch options.
    pub fn options(&self) -> &LaunchOptions {
        &self.options
    }

    /// Returns the device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Returns the kernel, with what compile options change in its meaning, but not optimized.
    pub fn kernel(&self) -> &Arc<VerifiedKernel> {
        &self.kernel
    }

    /// Returns the id. It starts with the backend's id and a colon, and is unique to the compiled code.
    pub fn id(&self) -> &str {
        self.executable.id()
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Launches on resident buffers and waits. `options` override the program's field by field.
    ///
    /// # Errors
    /// `FG05xx` for invalid arguments, `FG0403` and `FG0405` over the device's limits, `FG06xx` from the device.
    /// After a device error the contents of written buffers are unspecified.
    pub fn launch(
        &self,
        buffers: &[BufferView],
        params: &[Components],
        options: &LaunchOptions,
    ) -> Result<LaunchReport, Error> {
        let launch = self.check(self.bind(buffers)?, params, options)?;
        self.device.worker().settle()?;
        self.run(&launch)
    }

    /// Starts a launch on resident buffers without waiting for it. The launch owns everything it needs. If
    /// [`Bounds::submitted`](crate::Bounds) launches are in progress, this blocks until one ends.
    ///
    /// # Errors
    /// Those of [`launch`](Self::launch) that are known before the launch.
    pub fn submit(
        &self,
        buffers: &[BufferView],
        params: &[Components],
        options: &LaunchOptions,
    ) -> Result<Pending<LaunchReport>, Error> {
        let launch = self.check(self.bind(buffers)?, params, options)?;
        let (promise, pending) = promise();
        self.submit_checked(launch, promise, |result| result)?;
        Ok(pending)
    }

    pub(crate) fn bind(&self, buffers: &[BufferView]) -> Result<Vec<Binding>, Error> {
        buffers.iter().map(|view| view.bind(&self.device)).collect()
    }

    pub(crate) fn check(
        &self,
        buffers: Vec<Binding>,
        params: &[Components],
        options: &LaunchOptions,
    ) -> Result<Launch, Error> {
        let limits = &self.device.snapshot().limits;
        Launch::check(&self.optimized, limits, buffers, params, &self.options.merged(options))
    }

    /// Returns the program's options merged with those of a launch.
    pub(crate) fn merged(&self, options: &LaunchOptions) -> LaunchOptions {
        self.options.merged(options)
    }

    pub(crate) fn executable(&self) -> &Arc<dyn Executable> {
        &self.executable
    }

    /// Launches immediately, without regard to submitted work.
    pub(crate) fn run(&self, launch: &Launch) -> Result<LaunchReport, Error> {
        let span = tracing::debug_span!("launch", label = %launch.label(), grid = ?launch.grid());
        let _in = span.enter();
        let result = self.executable.launch(launch);
        self.device.count(&result);
        result
    }

    /// Starts `launch`; `then` computes the pending result from its outcome, in the device's order.
    pub(crate) fn submit_checked<T: Send + 'static>(
        &self,
        launch: Launch,
        promise: Promise<T>,
        then: impl FnOnce(Result<LaunchReport, Error>) -> Result<T, Error> + Send + 'static,
    ) -> Result<(), Error> {
        let program = self.clone();
        let worker = self.device.worker();
        // Behind a job that is still to come to the device, its queue would be a way past.
        let queued = match worker.is_settled() {
            true => Arc::clone(&self.executable).submit(&launch).inspect_err(|error| {
                self.device.count(&Err(error.clone()));
            })?,
            false => None,
        };
        match queued {
            Some(work) => {
                let finish = move || then(program.finish(work));
                worker.push(Kind::Queued, Box::new(move || promise.keep(finish())))
            }
            None => {
                let run = move || then(program.run(&launch));
                worker.push(Kind::Deferred, Box::new(move || promise.keep(run())))
            }
        }
    }

    /// Waits for work in the device's queue.
    pub(crate) fn finish(&self, work: Box<dyn Work>) -> Result<LaunchReport, Error> {
        let result = work.finish();
        self.device.count(&result);
        result
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Program(`{}`, {})", self.kernel.name, self.id())
    }
}
