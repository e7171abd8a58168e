//! The Vulkan backend: compiles verified kernels to compute pipelines and runs them on one device.
//!
//! It decides purely and acts thinly. The facts of a physical device become a [`DeviceSnapshot`] and a plan by
//! pure functions, which are tested without a GPU; the modules that call the driver follow the plan.
//!
//! | module | owns |
//! |---|---|
//! | `options` | what a caller or the environment asks for |
//! | `instance` | the loader, the `VkInstance`, the validation layer |
//! | `validation` | what the validation layer said |
//! | `snapshot` | the facts of a physical device, queried |
//! | `plan` | which device, what to enable, what emission may use, whether a kernel fits; pure |
//! | `probe` | quirks that no driver reports, and the file they are kept in |
//! | `device` | the `VkDevice`, its end, and its loss |
//! | `sync` | the queue's timeline, submission, waits that end |
//! | `memory` | buffers |
//! | `commands` | reusable slots that a launch or copy records into |
//! | `pipeline` | from a kernel to a pipeline, and the executable's id |
//! | `kept` | modules and pipelines by way of the pipeline cache |
//! | `driver` | which calls make a pipeline of what its driver kept |
//! | `compiler` | the threads on which drivers compile, and for how long |
//! | `exit` | what is left to do when the process exits |
//! | `blob` | what a driver keeps, as bytes; pure |
//! | `launch` | launches |
//! | `graph` | recorded launches, copies and fills |
//! | `bfloat16` `pipeline_binary` | extensions that `ash` does not know |
//! | `error` | from `VkResult` to the driver's errors |
//!
//! Everything may be used from several threads at once. No lock is held while the device is waited for, but that of
//! a buffer which launches would otherwise keep from the host for ever; and every wait ends: a launch that does not end in time is told to through the control buffer, or, if its kernel has
//! no loop that listens, is given more time ([`Options::grace_period`]). It is a timeout if it then comes back. If it
//! does not, the device is given up, its handles leaked on purpose, and every later call says that it is lost.
//!
//! A driver that takes too long to compile ([`Options::compile_limit`]) is left to it, with all that it may still use: that is never
//! destroyed, nor is the device, which goes on.
//!
//! This is the one crate of the workspace with unsafe code. What it relies on is that the words which
//! [`fulgurite_spirv::emit`] makes from a verified kernel are a valid module, and that nobody but this user and the system
//! writes where they are kept: the pipeline cache refuses folders that others may write, and whoever brings a pack vouches for it.
//! `docs/soundness.md` has the whole argument.
#![deny(unsafe_op_in_unsafe_fn)]

mod bfloat16;
mod blob;
mod commands;
mod compiler;
mod device;
mod driver;
mod error;
mod exit;
mod graph;
mod instance;
mod launch;
mod manifests;
mod memory;
mod options;
mod pipeline;
mod pipeline_binary;
mod pipeline_store;
mod plan;
mod probe;
mod record;
mod snapshot;
mod sync;
mod validation;

use std::sync::{Arc, mpsc};

use fulgurite_hal::{
    Backend, CacheReport, CompileOptions, DeviceBuffer, Error, Executable, GraphStep, Invalidated, Recording,
    Registration,
};
use fulgurite_ir::VerifiedKernel;
use fulgurite_pipeline_cache::PipelineCache;
use fulgurite_spec::Code;
use fulgurite_spec::device::DeviceSnapshot;
use fulgurite_spirv::Profile;

pub use options::{Options, Prefetch};
pub use pipeline_store::lowered_entry;
pub use validation::{Severity, ValidationLog, ValidationMessage};

use device::Device;
use error::{BACKEND, INSTALL_HINT, unavailable};
use instance::Instance;
use plan::PlanError;

/// The backend's registration: id `vulkan`, rank 100, opened with [`Options::of`].
pub fn registration() -> Registration {
    Registration::configurable(BACKEND, 100, |options| Ok(VulkanBackend::open(&Options::of(options))?))
}

/// One Vulkan device.
pub struct VulkanBackend {
    device: Arc<Device>,
}

impl VulkanBackend {
    /// Opens the device that `options` select. Probes its driver for quirks, unless that was done before.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if there is no loader, driver or suitable device, or no validation layer although
    /// it was asked for; [`Error::Device`] if the driver fails; [`Code::BadOption`] if [`Options::rules`] names no rule.
    pub fn open(options: &Options) -> Result<Arc<Self>, Error> {
        // What it reads of the disk, it reads while the driver starts: logs first, and the kernels to be read ahead once it is
        // known how they are lowered.
        let cache = options.cache();
        let (read_ahead, wanted) = mpsc::channel();
        let opening = std::thread::Builder::new().name("fulgurite cache".to_owned()).spawn(move || {
            let cache = PipelineCache::open(cache);
            wanted.iter().for_each(|identity| cache.prefetch(&identity));
            cache
        });
        let store = || opening.ok().and_then(|thread| thread.join().ok());
        let instance = Instance::open(options.validation)?;
        let physical = instance.physical_devices()?;
        let queried: Vec<_> = physical.iter().map(|device| instance.query(*device)).collect();
        let (index, snapshot) =
            plan::choose(&queried, options.device.as_deref()).map_err(|reason| match reason {
                // There is a driver; another name is what helps.
                plan::ChoiceError::NoMatch { .. } => unavailable(reason.to_string()),
                reason => unavailable(format!("{reason}; {INSTALL_HINT}")),
            })?;
        let physical = physical[index];
        let directory = options.probe_directory.as_deref();
        let quirks = probe::quirks(&instance, physical, snapshot, directory)?;
        let plan = plan::plan(snapshot, quirks, options).map_err(|reason| match reason {
            PlanError::NoRule(_) => Error::invalid(Code::BadOption, reason.to_string()),
            reason => unavailable(reason.to_string()),
        })?;
        for kernel in options.prefetch.kernels() {
            // If there is no such thread, nothing is read ahead.
            let _ = read_ahead.send(pipeline_store::module_identity(kernel, &plan.profile));
        }
        drop(read_ahead);
        Ok(Arc::new(Self { device: Device::open(instance, physical, plan, store)? }))
    }

    /// What emission reads of the device.
    pub fn profile(&self) -> &Profile {
        &self.device.plan.profile
    }

    /// What the validation layer said so far, the first thousand messages; none without
    /// [`Options::validation`].
    pub fn validation_messages(&self) -> Vec<ValidationMessage> {
        self.validation_log().messages()
    }

    /// Compiles a SPIR-V module that others made, to be launched as a kernel with the declarations of `signature` would
    /// be: binding `i` of set 0 is its buffer `i`; push constants hold the buffers' lengths, then its views', then its
    /// parameters, then the grid if its body asks for it, in words.
    ///
    /// # Errors
    /// [`Error::Unsupported`] over the device's limits, [`Error::Device`] if the driver fails.
    ///
    /// # Safety
    /// The module is valid for the device, binds no more than that, stays within its buffers and ends.
    #[cfg(feature = "foreign")]
    pub unsafe fn compile_foreign(
        &self,
        signature: Arc<VerifiedKernel>,
        words: &[u32],
    ) -> Result<Arc<dyn Executable>, Error> {
        // SAFETY: the caller's promise.
        Ok(Arc::new(unsafe { pipeline::compile_foreign(&self.device, signature, words) }?))
    }

    /// Where the validation layer's messages go, also after the backend is gone.
    pub fn validation_log(&self) -> &Arc<ValidationLog> {
        self.device.instance().validation_log()
    }
}

impl Backend for VulkanBackend {
    fn snapshot(&self) -> &DeviceSnapshot {
        &self.device.plan.snapshot
    }

    fn allocate(&self, bytes: u64) -> Result<Arc<dyn DeviceBuffer>, Error> {
        Ok(Arc::new(memory::VulkanBuffer::create(&self.device, bytes)?))
    }

    fn compile(
        &self,
        kernel: Arc<VerifiedKernel>,
        options: &CompileOptions,
    ) -> Result<Arc<dyn Executable>, Error> {
        Ok(Arc::new(pipeline::compile(&self.device, kernel, options)?))
    }

    fn executable_id(
        &self,
        kernel: &Arc<VerifiedKernel>,
        options: &CompileOptions,
    ) -> Result<Option<String>, Error> {
        pipeline::executable_id(&self.device, kernel, options).map(Some)
    }

    fn complaints(&self) -> Option<Vec<String>> {
        let validates = self.device.instance().validates();
        validates.then(|| self.validation_messages().iter().map(ToString::to_string).collect())
    }

    fn cache_report(&self) -> CacheReport {
        self.device.kept().report()
    }

    fn flush(&self) -> Result<(), Error> {
        self.device.kept().flush()
    }

    fn invalidate(&self, kernel: &VerifiedKernel) -> Result<Invalidated, Error> {
        self.device.kept().invalidate(kernel)
    }

    fn record(&self, steps: &[GraphStep]) -> Result<Option<Box<dyn Recording>>, Error> {
        self.device.check_alive()?;
        Ok(Some(graph::record(&self.device, steps)))
    }
}
