//! A context: the backend that a program runs on, chosen once.

use std::fmt;
use std::sync::Arc;

use fulgurite_autotune::{AutotunePolicy, AutotuneStore, StoreOptions, Tuner};
#[cfg(feature = "vulkan")]
use fulgurite_backend_vulkan::{Options as VulkanOptions, VulkanBackend};
#[cfg(feature = "vulkan")]
use fulgurite_driver_core::{Backend, Registration};
use fulgurite_driver_core::{
    CacheReport, Calibrations, Choice, CompileOptions, Counters, Device, Error, LaunchOptions, Manifest,
    Registry, Replayed, Repro, Route, Wish,
};
use fulgurite_ir::VerifiedKernel;
use fulgurite_pipeline_cache::{Pack, TrustedPack};
use fulgurite_spec::device::DeviceSnapshot;

use crate::buffer::{Buffer, Element};
use crate::calibrate::calibrations;
use crate::executable::Executable;
use crate::kernel::Kernel;
use crate::packs::tuned_files;
use crate::tuned::add_layers;

/// The backends that this build has, by Cargo feature. Opens none.
///
/// ```
/// for registration in fulgurite::registry().list() {
///     println!("{} of rank {}", registration.id(), registration.rank());
/// }
/// ```
pub fn registry() -> Registry {
    #[allow(unused_mut, reason = "with no backend feature there is nothing to register")]
    let mut registry = Registry::new();
    // Ids are distinct, so registration cannot fail.
    #[cfg(feature = "vulkan")]
    let _ = registry.register(fulgurite_backend_vulkan::registration());
    with_others(registry)
}

/// The backends of this build; Vulkan is opened with `options`.
#[cfg(feature = "vulkan")]
fn registry_with(options: VulkanOptions) -> Registry {
    let vulkan = fulgurite_backend_vulkan::registration();
    let open = move || Ok(VulkanBackend::open(&options)? as Arc<dyn Backend>);
    let mut registry = Registry::new();
    // The only one so far, so its id is new.
    let _ = registry.register(Registration::new(vulkan.id(), vulkan.rank(), open));
    with_others(registry)
}

/// Adds the backends that nobody has options for.
#[allow(unused_mut, reason = "with no backend feature there is nothing to register")]
fn with_others(mut registry: Registry) -> Registry {
    #[cfg(feature = "cpu")]
    let _ = registry.register(fulgurite_backend_cpu::registration());
    #[cfg(feature = "reference")]
    let _ = registry.register(fulgurite_backend_reference::registration());
    registry
}

/// An open backend: makes buffers, compiles kernels, records graphs. Cheap to clone; clones share the device.
///
/// A context may be used from several threads at once, and a program may have several, each with a device of its own.
///
/// ```
/// use fulgurite::Context;
///
/// let best = Context::open()?;
/// println!("{}", best.route());
/// let cpu = Context::builder().backend("cpu").open()?;
/// assert_eq!(cpu.device().backend, "cpu");
/// # Ok::<(), fulgurite::Error>(())
/// ```
#[derive(Clone)]
pub struct Context {
    route: Route,
    device: Device,
    tuner: Tuner,
}

/// Choices made before a context is opened.
///
/// ```
/// use std::time::Duration;
/// use fulgurite::{Context, LaunchOptions};
///
/// let options = LaunchOptions::default().timeout(Duration::from_secs(5));
/// let ctx = Context::builder().backend("cpu").launch_options(options).open()?;
/// assert!(ctx.route().to_string().contains("\n  cpu: chosen"));
/// # Ok::<(), fulgurite::Error>(())
/// ```
#[derive(Default)]
#[must_use = "nothing is opened until `open`"]
pub struct ContextBuilder {
    registry: Option<Registry>,
    #[cfg(feature = "vulkan")]
    vulkan: Option<VulkanOptions>,
    prewarm: Vec<Arc<VerifiedKernel>>,
    autotune: AutotunePolicy,
    autotune_directory: Option<std::path::PathBuf>,
    /// Files of tuning records, from packs.
    tuned: Vec<Vec<u8>>,
    choice: Choice,
    wish: Option<Wish>,
    compile: CompileOptions,
    launch: LaunchOptions,
}

impl ContextBuilder {
    /// Uses the backend called `id` and no other: `vulkan`, `cpu`, `reference`, or one that was registered.
    pub fn backend(mut self, id: impl Into<String>) -> Self {
        self.choice = Choice::Exactly(id.into());
        self.wish = None;
        self
    }

    /// Uses the backend that `wish` describes: by what it must have, by preference, and by what `xtask calibrate` or
    /// [`keep_calibrations`](crate::keep_calibrations) kept of this machine.
    ///
    /// ```
    /// use fulgurite::spec::device::Capability;
    /// use fulgurite::{Context, Wish};
    ///
    /// let ctx = Context::builder().wish(Wish::new().needs(Capability::Float64).prefer("cpu")).open()?;
    /// assert!(ctx.route().to_string().contains("cpu: chosen"));
    /// # Ok::<(), fulgurite::Error>(())
    /// ```
    pub fn wish(mut self, wish: Wish) -> Self {
        self.wish = Some(wish);
        self
    }

    /// Uses the Vulkan device `selector`: its index in the loader's order, or part of its name in any case. Other options
    /// of the backend are those of the environment; where `FULGURITE_VULKAN_DEVICE` names another device, this one wins.
    #[cfg(feature = "vulkan")]
    pub fn vulkan_device(self, selector: impl Into<String>) -> Self {
        self.vulkan(|options| options.device(selector)).backend("vulkan")
    }

    /// Looks into `pack`, too, for tuning records: a first run on a new machine that tunes nothing. The kernels of a pack are
    /// [`packed_kernels`](crate::packed_kernels). What a pack has of lowered kernels and driver binaries is passed over, because
    /// nothing could check it: see [`trusted_pack`](Self::trusted_pack).
    pub fn pack(mut self, pack: Pack) -> Self {
        self.tuned.extend(tuned_files(&pack));
        self
    }

    /// Looks into `pack`, too, for lowered kernels, driver binaries and tuning records: a first run on a new machine that
    /// compiles and tunes nothing. Lowered kernels are of use to backends that keep what they compile. `cargo xtask cache pack`
    /// makes packs.
    ///
    /// ```no_run
    /// use fulgurite::{Context, Pack};
    ///
    /// // Or `Pack::from_bytes(include_bytes!("kernels.fgpack"))`, to ship it in the program.
    /// let pack = Pack::open("/usr/share/example/kernels.fgpack".as_ref()).expect("a pack");
    /// // SAFETY: the pack was made with the program, and is installed with it.
    /// let pack = unsafe { pack.trust() };
    /// let ctx = Context::builder().trusted_pack(pack).open()?;
    /// # Ok::<(), fulgurite::Error>(())
    /// ```
    pub fn trusted_pack(mut self, pack: TrustedPack) -> Self {
        self.tuned.extend(tuned_files(&pack));
        #[cfg(feature = "vulkan")]
        return self.vulkan(|options| options.pack(pack));
        #[cfg(not(feature = "vulkan"))]
        return self;
    }

    /// Whether and how kernels of families are tuned; what is not stated is the environment's.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fulgurite::Context;
    /// use fulgurite::autotune::{AutotuneMode, AutotunePolicy};
    ///
    /// let policy = AutotunePolicy::mode(AutotuneMode::On).budget(Duration::from_secs(5));
    /// let ctx = Context::builder().backend("cpu").autotune(policy).open()?;
    /// # Ok::<(), fulgurite::Error>(())
    /// ```
    pub fn autotune(mut self, policy: AutotunePolicy) -> Self {
        self.autotune = self.autotune.merged(&policy);
        self
    }

    /// Keeps tuning records in `directory` instead of the user's cache folder.
    pub fn autotune_directory(mut self, directory: impl Into<std::path::PathBuf>) -> Self {
        self.autotune_directory = Some(directory.into());
        self
    }

    /// Keeps compiled kernels in `directory` instead of the user's cache folder.
    #[cfg(feature = "vulkan")]
    pub fn cache_directory(self, directory: impl Into<std::path::PathBuf>) -> Self {
        self.vulkan(|options| options.cache_directory(directory))
    }

    #[cfg(feature = "vulkan")]
    fn vulkan(mut self, change: impl FnOnce(VulkanOptions) -> VulkanOptions) -> Self {
        self.vulkan = Some(change(self.vulkan.take().unwrap_or_else(VulkanOptions::from_env)));
        self
    }

    /// Compiles `kernels` when the context is opened, several at once; what is kept of them is read while the device is made.
    /// One that cannot be compiled says so when it is compiled next.
    ///
    /// ```
    /// # use fulgurite::prelude::*;
    /// let seven = kernel::<(Write<u32>,)>("seven", ["y"], [64, 1, 1], |k, (y,)| y.store(k.global_id().x(), 7))?;
    /// let ctx = Context::builder().prewarm([seven.verified()]).open()?;
    /// assert_eq!(ctx.counters().compiles, 1);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn prewarm<'k>(mut self, kernels: impl IntoIterator<Item = &'k Arc<VerifiedKernel>>) -> Self {
        self.prewarm.extend(kernels.into_iter().cloned());
        self
    }

    /// Chooses among these backends instead of the build's own, for which other options then say nothing.
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Compile options for all kernels; a field that a call states wins.
    pub fn compile_options(mut self, options: CompileOptions) -> Self {
        self.compile = options;
        self
    }

    /// Launch options for all launches; a field that a call states wins.
    pub fn launch_options(mut self, options: LaunchOptions) -> Self {
        self.launch = options;
        self
    }

    /// Opens the context.
    ///
    /// # Errors
    /// `FG0401` if there is no such backend, `FG0402` if it cannot start here, `FG0404` if none can or none will do, and
    /// as [`calibrations`](crate::calibrations) where a wish is for some work.
    pub fn open(self) -> Result<Context, Error> {
        #[cfg(feature = "vulkan")]
        let built = || match (self.vulkan, self.prewarm.is_empty()) {
            (None, true) => registry(),
            (options, _) => {
                let options = options.unwrap_or_else(VulkanOptions::from_env);
                registry_with(options.prefetch(self.prewarm.iter().cloned()))
            }
        };
        #[cfg(not(feature = "vulkan"))]
        let built = registry;
        let registry = self.registry.unwrap_or_else(built);
        let route = match &self.wish {
            Some(wish) if wish.work.is_some() => registry.route_for(wish, &calibrations()?)?,
            Some(wish) => registry.route_for(wish, &Calibrations::default())?,
            None => registry.route(&self.choice)?,
        };
        let device = Device::new(Arc::clone(route.backend()), self.compile, self.launch);
        // Whoever compiles one of those that failed is told.
        let _ = device.prewarm(&self.prewarm, &CompileOptions::default());
        let store = match self.autotune_directory {
            Some(directory) => AutotuneStore::open(directory, StoreOptions::default()),
            None => AutotuneStore::of_user(),
        };
        let tuner = Tuner::new(device.clone(), store, &self.autotune);
        add_layers(&tuner, &self.tuned);
        Ok(Context { route, device, tuner })
    }
}

impl Context {
    /// Opens the best backend there is. [`Context::route`] says which and why.
    ///
    /// # Errors
    /// `FG0404` if none can start.
    pub fn open() -> Result<Self, Error> {
        Self::builder().open()
    }

    /// A context with choices of one's own.
    pub fn builder() -> ContextBuilder {
        ContextBuilder::default()
    }

    /// The device in use.
    pub fn device(&self) -> &DeviceSnapshot {
        self.device.snapshot()
    }

    /// Which backend was chosen, and why each other was not.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// What tunes its kernels: records, and what is not with them as it was asked for.
    pub fn tuner(&self) -> &Tuner {
        &self.tuner
    }

    /// What was done through this context and its clones so far.
    pub fn counters(&self) -> Counters {
        self.device.counters()
    }

    /// What the backend's cache of compiled kernels did so far.
    ///
    /// ```
    /// let ctx = fulgurite::Context::builder().backend("cpu").open()?;
    /// assert_eq!(ctx.cache_report().kept_in, None, "it compiles too fast for that");
    /// # Ok::<(), fulgurite::Error>(())
    /// ```
    pub fn cache_report(&self) -> CacheReport {
        self.device.cache_report()
    }

    /// A buffer on the device with a copy of `data`.
    ///
    /// # Errors
    /// Out of memory, or more bytes than the device's buffers hold.
    pub fn buffer<T: Element>(&self, data: &[T]) -> Result<Buffer<T>, Error> {
        Buffer::upload(&self.device, data)
    }

    /// A buffer on the device of `len` elements, all zero.
    ///
    /// # Errors
    /// As [`Context::buffer`].
    pub fn zeroed<T: Element>(&self, len: usize) -> Result<Buffer<T>, Error> {
        Buffer::zeroed(&self.device, len)
    }

    /// Compiles a typed kernel, or finds what was compiled of it before.
    ///
    /// # Errors
    /// `FG0403` if the device lacks what the kernel needs, or what the driver says.
    pub fn compile<A>(&self, kernel: &Kernel<A>) -> Result<Executable<A>, Error> {
        self.compile_with(kernel, &CompileOptions::default())
    }

    /// Compiles a typed kernel with options, which win over the context's field by field.
    ///
    /// # Errors
    /// As [`Context::compile`].
    pub fn compile_with<A>(
        &self,
        kernel: &Kernel<A>,
        options: &CompileOptions,
    ) -> Result<Executable<A>, Error> {
        Ok(Executable::new(self.device.compile(kernel.verified(), options)?))
    }

    /// As [`compile_with`](Self::compile_with), with what identifies the result and says whether it was compiled now.
    ///
    /// # Errors
    /// As [`Context::compile`].
    pub fn compile_with_report<A>(
        &self,
        kernel: &Kernel<A>,
        options: &CompileOptions,
    ) -> Result<(Executable<A>, Manifest), Error> {
        let (program, manifest) = self.device.compile_with_report(kernel.verified(), options)?;
        Ok((Executable::new(program), manifest))
    }

    /// Compiles kernels ahead of their first use, several at once, and launches none. Later compiles with the same options find them.
    ///
    /// ```
    /// # use fulgurite::prelude::*;
    /// # let ctx = Context::builder().backend("cpu").open()?;
    /// # let build = |name| kernel::<(Write<u32>,)>(name, ["y"], [64, 1, 1], |k, (y,)| y.store(k.global_id().x(), 7));
    /// let (first, second) = (build("first")?, build("second")?);
    /// for (kernel, error) in ctx.prewarm([first.verified(), second.verified()], &Default::default()) {
    ///     eprintln!("kernel {kernel}: {error}");
    /// }
    /// assert_eq!(ctx.counters().launches, 0);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// Gives the error of each kernel that failed, with its place in the list; the others are compiled all the same.
    #[must_use = "these are the kernels that failed"]
    pub fn prewarm<'k>(
        &self,
        kernels: impl IntoIterator<Item = &'k Arc<VerifiedKernel>>,
        options: &CompileOptions,
    ) -> Vec<(usize, Error)> {
        self.prewarm_telling(kernels, options, &|_| ())
    }

    /// As [`prewarm`](Self::prewarm); `done` is told how many kernels are done, from whichever thread did one.
    #[must_use = "these are the kernels that failed"]
    pub fn prewarm_telling<'k>(
        &self,
        kernels: impl IntoIterator<Item = &'k Arc<VerifiedKernel>>,
        options: &CompileOptions,
        done: &(dyn Fn(usize) + Sync),
    ) -> Vec<(usize, Error)> {
        self.device.prewarm_telling(kernels, options, done).err().unwrap_or_default()
    }

    /// Runs a captured call on this device and compares: see [`Call::capture`](crate::Call::capture).
    ///
    /// # Errors
    /// `FG0703` for a repro that does not fit its kernel, and what compiling and running meet.
    pub fn replay(&self, repro: &Repro) -> Result<Replayed, Error> {
        repro.replay(&self.device)
    }

    pub(crate) fn driver(&self) -> &Device {
        &self.device
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("route", &self.route).finish_non_exhaustive()
    }
}
