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
/// Buffers and parameters are passed in the kernel's order of declaration, parameters as the components of their types.
#[derive(Clone)]
pub struct Program {
    device: Device,
    kernel: Arc<VerifiedKernel>,
    executable: Arc<dyn Executable>,
    manifest: Arc<Manifest>,
    options: LaunchOptions,
}

impl Program {
    pub(crate) fn new(
        device: Device,
        kernel: Arc<VerifiedKernel>,
        executable: Arc<dyn Executable>,
        manifest: Manifest,
    ) -> Self {
        let options = device.launch_options().clone();
        Self { device, kernel, executable, manifest: Arc::new(manifest), options }
    }

    /// The program with options for its launches, which win over the device's field by field.
    #[must_use]
    pub fn with_options(mut self, options: &LaunchOptions) -> Self {
        self.options = self.options.merged(options);
        self
    }

    /// The options of launches that state none.
    pub fn options(&self) -> &LaunchOptions {
        &self.options
    }

    /// The device that it runs on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The kernel.
    pub fn kernel(&self) -> &Arc<VerifiedKernel> {
        &self.kernel
    }

    /// Starts with the backend's id and a colon, and is unique to what was compiled.
    pub fn id(&self) -> &str {
        self.executable.id()
    }

    /// What identifies it.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Runs on resident buffers and waits for it. `options` win over the program's field by field.
    ///
    /// # Errors
    /// `FG05xx` for arguments that do not fit, `FG0403` and `FG0405` over the device's limits, `FG06xx` from the device.
    /// After an error of the device, what the written buffers hold is unspecified.
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

    /// Begins a launch on resident buffers and does not wait for it. What it needs, it owns. Where more are under way than
    /// [`Bounds::submitted`](crate::Bounds) says, it waits for one to end first.
    ///
    /// # Errors
    /// As [`launch`](Self::launch), for what is known before it begins.
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
        Launch::check(&self.kernel, limits, buffers, params, &self.options.merged(options))
    }

    /// The program's options with those of a launch.
    pub(crate) fn merged(&self, options: &LaunchOptions) -> LaunchOptions {
        self.options.merged(options)
    }

    pub(crate) fn executable(&self) -> &Arc<dyn Executable> {
        &self.executable
    }

    /// Runs now, whatever was submitted.
    pub(crate) fn run(&self, launch: &Launch) -> Result<LaunchReport, Error> {
        let span = tracing::debug_span!("launch", label = %launch.label(), grid = ?launch.grid());
        let _in = span.enter();
        let result = self.executable.launch(launch);
        self.device.count(&result);
        result
    }

    /// Begins `launch`; `then` makes the promised result of how it ended, behind it in the device's order.
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
                worker.push(Kind::Queued, Box::new(move || promise.keep(then(program.finish(work)))))
            }
            None => worker.push(Kind::Deferred, Box::new(move || promise.keep(then(program.run(&launch))))),
        }
    }

    /// Waits for work that the device's queue has.
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
