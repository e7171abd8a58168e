//! The Vulkan backend: compiles verified kernels to compute pipelines and runs them on one device.
//!
//! Decisions are pure functions: they turn the facts of a physical device into a [`DeviceSnapshot`] and a plan, and are
//! tested without a GPU. The modules that call the driver follow the plan.
//!
//! | module | owns |
//! |---|---|
//! | `options` | the options of a caller or of the environment |
//! | `instance` | the loader, the `VkInstance`, the validation layer |
//! | `manifests` | finding damaged loader manifests, for error messages |
//! | `validation` | the messages of the validation layer |
//! | `snapshot` | querying the facts of a physical device |
//! | `plan` | device selection, features to enable, limits of emission and kernels; pure |
//! | `record` | known driver versions, with the lowering rules and nesting that they need or allow |
//! | `probe` | detection of quirks that no driver reports, and the file that stores them |
//! | `device` | the `VkDevice`, its destruction, its loss |
//! | `sync` | the queue's timeline, submission, bounded waits |
//! | `memory` | buffers |
//! | `lock` | locking of mutexes |
//! | `descriptors` | descriptor sets and their writes |
//! | `commands` | reusable slots that a launch or copy is recorded into |
//! | `pipeline` | from a kernel to a pipeline, and the executable's id |
//! | `pipeline_store` | modules and pipelines, made through the pipeline cache |
//! | `driver` | the calls that make a pipeline from data that its driver produced earlier |
//! | `compiler` | the threads on which drivers compile, with a time limit |
//! | `exit` | cleanup when the process exits |
//! | `blob` | the format of stored driver data; pure |
//! | `launch` | launches |
//! | `graph` | recorded launches, copies and fills |
//! | `bfloat16` `pipeline_binary` | extensions that `ash` does not declare |
//! | `error` | from `VkResult` to the engine's errors |
//!
//! Everything may be used from several threads at once. The only lock of this crate held while waiting for the device
//! is that of a buffer which launches would otherwise keep from the host indefinitely. Every wait is bounded: a launch
//! that exceeds its timeout is told to end through the control buffer or, if its kernel has no loop that polls it, is
//! given more time ([`Options::grace_period`]). If it then ends, the error is a timeout. If it does not, the device is
//! lost: its handles are leaked on purpose, and every later call fails.
//!
//! If the driver takes too long to compile ([`Options::compile_limit`]), the call fails while the driver continues in
//! the background. Objects that it may still use are never destroyed, nor is the device, which stays usable.
//!
//! This is the only library crate of the workspace with unsafe blocks. They rely on two facts: the words that
//! [`fulgurite_spirv::emit`] makes from a verified kernel are a valid module, and only this user and the system can
//! write where modules are stored. The pipeline cache refuses folders that others may write, and the caller vouches for
//! packs. `docs/soundness.md` has the whole argument.
#![deny(unsafe_op_in_unsafe_fn)]

mod adapter;
mod bfloat16;
mod blob;
mod commands;
mod compiler;
mod descriptors;
mod device;
mod driver;
mod error;
mod exit;
mod graph;
mod instance;
mod launch;
mod lock;
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

use ash::vk;
use fulgurite_hal::{
    self as hal, CacheReport, CompileOptions, DeviceBuffer, Error, Executable, GraphStep, Invalidated,
    Recording,
};
use fulgurite_ir::VerifiedKernel;
use fulgurite_pipeline_cache::PipelineCache;
use fulgurite_spec::Code;
use fulgurite_spec::device::DeviceSnapshot;
use fulgurite_spirv::Profile;

pub use adapter::backend;
pub use options::{Options, Prefetch};
pub use pipeline_store::lowered_entry;
pub use validation::{Severity, ValidationLog, ValidationMessage};

use device::Device;
use error::{INSTALL_HINT, unavailable};
use instance::Instance;
use plan::{ChoiceError, PlanError};
use snapshot::PhysicalSnapshot;

/// One Vulkan device.
pub struct VulkanDevice {
    device: Arc<Device>,
}

/// Returns the error if no device can be chosen.
fn refused(reason: ChoiceError) -> Error {
    match reason {
        // A driver is installed; another device name helps.
        ChoiceError::NoMatch { .. } => unavailable(Code::BackendUnavailable, reason.to_string()),
        ChoiceError::NoDevice => unavailable(Code::NoDriver, format!("{reason}; {INSTALL_HINT}")),
        ChoiceError::NoneSuitable { .. } => {
            unavailable(Code::BackendUnavailable, format!("{reason}; {INSTALL_HINT}"))
        }
    }
}

impl VulkanDevice {
    /// Opens the device that `options` select. Probes its driver for quirks unless their stored results are found.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if there is no loader, driver or suitable device, or no validation layer although it was
    /// asked for; [`Error::Device`] if the driver fails; [`Code::BadOption`] if [`Options::rules`] names no rule, or the
    /// environment no limit.
    pub fn open(options: &Options) -> Result<Arc<Self>, Error> {
        let _inside = exit::enter();
        let instance = Instance::open(options.validation)?;
        let (physical, queried) = instance.queried()?;
        let (index, known) = plan::choose(&queried, options.device.as_deref()).map_err(refused)?;
        Self::of(instance, physical[index], known, options)
    }

    /// Opens a physical device of `instance`.
    fn of(
        instance: Arc<Instance>,
        physical: vk::PhysicalDevice,
        known: &PhysicalSnapshot,
        options: &Options,
    ) -> Result<Arc<Self>, Error> {
        // Reads from disk while the driver starts: first the logs, then the kernels to prefetch, once their
        // lowering is known.
        let cache = options.cache();
        let (read_ahead, wanted) = mpsc::channel();
        let opening = std::thread::Builder::new().name("fulgurite cache".to_owned()).spawn(move || {
            let cache = PipelineCache::open(cache);
            wanted.iter().for_each(|identity| cache.prefetch(&identity));
            cache
        });
        let store = || opening.ok().and_then(|thread| thread.join().ok());
        let quirks = probe::quirks(&instance, physical, known, options.probe_directory.as_deref())?;
        let plan = plan::plan(known, quirks, options).map_err(|reason| match reason {
            PlanError::NoRule(_) | PlanError::NoLimit(_) => {
                Error::invalid(Code::BadOption, reason.to_string())
            }
            reason => unavailable(Code::BackendUnavailable, reason.to_string()),
        })?;
        for kernel in options.prefetch.kernels() {
            // Without the thread, nothing is prefetched.
            let _ = read_ahead.send(pipeline_store::module_identity(kernel, &plan.profile));
        }
        drop(read_ahead);
        Ok(Arc::new(Self { device: Device::open(instance, physical, plan, store)? }))
    }

    /// Returns the profile that kernels are emitted for.
    pub fn profile(&self) -> &Profile {
        &self.device.plan.profile
    }

    /// Returns the first thousand messages of the validation layer so far; empty without [`Options::validation`].
    pub fn validation_messages(&self) -> Vec<ValidationMessage> {
        self.validation_log().messages()
    }

    /// Compiles a foreign SPIR-V module, to be launched like a kernel with the declarations of `signature`. Binding
    /// `i` of set 0 is buffer `i`. Push constants hold, in words, the lengths of the buffers, then of their views,
    /// then the parameters, then the grid if the signature's body reads it.
    /// # Errors
    /// [`Error::Unsupported`] if the module exceeds the device's limits, [`Error::Device`] if the driver fails.
    ///
    /// # Safety
    /// The module must be valid for the device, bind no more than that, stay within its buffers and terminate.
    #[cfg(feature = "foreign")]
    pub unsafe fn compile_foreign(
        &self,
        signature: Arc<VerifiedKernel>,
        words: &[u32],
    ) -> Result<Arc<dyn Executable>, Error> {
        let _inside = exit::enter();
        // SAFETY: guaranteed by the caller.
        Ok(Arc::new(unsafe { pipeline::compile_foreign(&self.device, signature, words) }?))
    }

    /// Returns the log of the validation layer's messages, which may outlive the backend.
    pub fn validation_log(&self) -> &Arc<ValidationLog> {
        self.device.instance().validation_log()
    }
}

impl hal::Device for VulkanDevice {
    fn snapshot(&self) -> &DeviceSnapshot {
        &self.device.plan.snapshot
    }

    fn allocate(&self, bytes: u64) -> Result<Arc<dyn DeviceBuffer>, Error> {
        let _inside = exit::enter();
        Ok(Arc::new(memory::VulkanBuffer::create(&self.device, bytes)?))
    }

    fn compile(
        &self,
        kernel: Arc<VerifiedKernel>,
        options: &CompileOptions,
    ) -> Result<Arc<dyn Executable>, Error> {
        let _inside = exit::enter();
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
