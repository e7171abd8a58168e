//! A context: the backend that a program runs on, chosen once.

use std::fmt;
use std::sync::Arc;

use fulgurite_autotune::{AutotunePolicy, AutotuneStore, StoreOptions, Tuner};
#[cfg(feature = "vulkan")]
use fulgurite_backend_vulkan::Options as VulkanOptions;
use fulgurite_driver_core::{
    Bounds, Calibrations, Choice, Counters, Device, Manifest, Prewarmed, Registry, Replayed, Repro,
    Requirements, Route,
};
use fulgurite_hal::{CacheReport, CompileOptions, Error, Invalidated, LaunchOptions, OpenOptions};
use fulgurite_ir::VerifiedKernel;
use fulgurite_pipeline_cache::{Pack, TrustedPack};
use fulgurite_spec::Code;
use fulgurite_spec::cache::CacheAudit;
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
    prewarmed: Arc<[Prewarmed]>,
    /// Of the audit in cache reports.
    audit_threshold: u32,
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
    /// What any backend is opened with.
    open: OpenOptions,
    packs: Vec<TrustedPack>,
    prewarm: Vec<Arc<VerifiedKernel>>,
    audit_threshold: Option<u32>,
    autotune: AutotunePolicy,
    autotune_directory: Option<std::path::PathBuf>,
    /// Files of tuning records, from packs.
    tuned: Vec<Vec<u8>>,
    choices: Vec<Chosen>,
    compile: CompileOptions,
    launch: LaunchOptions,
    bounds: Bounds,
}

/// The choice made by one call of the builder.
#[derive(Clone, Debug, PartialEq)]
enum Chosen {
    Backend(String),
    #[cfg(feature = "vulkan")]
    VulkanDevice(String),
    Requirements(Requirements),
}

impl Chosen {
    /// Returns the id of the named backend, or an empty string if none is named.
    fn backend(&self) -> &str {
        match self {
            Self::Backend(id) => id,
            #[cfg(feature = "vulkan")]
            Self::VulkanDevice(_) => "vulkan",
            Self::Requirements(_) => "",
        }
    }

    /// Returns whether two choices contradict each other. A backend and a device of that backend do not.
    fn excludes(&self, other: &Self) -> bool {
        let same_kind = std::mem::discriminant(self) == std::mem::discriminant(other);
        if same_kind { self != other } else { self.backend() != other.backend() }
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend(id) => write!(f, "the backend `{id}`"),
            #[cfg(feature = "vulkan")]
            Self::VulkanDevice(selector) => write!(f, "the Vulkan device `{selector}`"),
            Self::Requirements(_) => f.write_str("a backend by requirements"),
        }
    }
}

impl ContextBuilder {
    /// Uses the backend called `id` and no other: `vulkan`, `cpu`, `reference`, or one that was registered.
    ///
    /// The order of calls does not matter. Naming another backend, a Vulkan device for another backend, or requirements as
    /// well is an error of [`open`](Self::open).
    pub fn backend(mut self, id: impl Into<String>) -> Self {
        self.choices.push(Chosen::Backend(id.into()));
        self
    }

    /// Selects the backend by required capabilities, preference, and the calibrations of this machine, which
    /// `xtask calibrate` and [`keep_calibrations`](crate::keep_calibrations) store.
    ///
    /// ```
    /// use fulgurite::spec::device::Capability;
    /// use fulgurite::{Context, Requirements};
    ///
    /// let ctx = Context::builder().requirements(Requirements::new().needs(Capability::Float64).prefer("cpu")).open()?;
    /// assert!(ctx.route().to_string().contains("cpu: chosen"));
    /// # Ok::<(), fulgurite::Error>(())
    /// ```
    pub fn requirements(mut self, requirements: Requirements) -> Self {
        self.choices.push(Chosen::Requirements(requirements));
        self
    }

    /// Uses the Vulkan device `selector`: its index in the loader's order, or part of its name in any case. Other options
    /// of the backend are those of the environment; where `FULGURITE_VULKAN_DEVICE` names another device, this one wins.
    #[cfg(feature = "vulkan")]
    pub fn vulkan_device(mut self, selector: impl Into<String>) -> Self {
        let selector = selector.into();
        self.choices.push(Chosen::VulkanDevice(selector.clone()));
        self.vulkan(|options| options.device(selector))
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
        self.packs.push(pack);
        self
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

    /// Keeps compiled kernels in `directory` instead of the user's cache folder, if the backend keeps any.
    pub fn cache_directory(mut self, directory: impl Into<std::path::PathBuf>) -> Self {
        self.open = self.open.cache_directory(directory);
        self
    }

    /// Alarms in cache reports if fewer than `basis_points` of 10,000 lookups of what had been kept hit: see
    /// [`Context::audit`]. Default: [`CacheAudit::DEFAULT_THRESHOLD`]; 0 turns the alarm off.
    pub fn cache_alarm(mut self, basis_points: u32) -> Self {
        self.audit_threshold = Some(basis_points);
        self
    }

    #[cfg(feature = "vulkan")]
    fn vulkan(mut self, change: impl FnOnce(VulkanOptions) -> VulkanOptions) -> Self {
        self.vulkan = Some(change(self.vulkan.take().unwrap_or_else(VulkanOptions::from_env)));
        self
    }

    /// Compiles `kernels` when the context is opened, several at once; what is kept of them is read while the device is made.
    /// One that cannot be compiled says so when it is compiled next. [`Context::prewarmed`] says what each cost.
    ///
    /// ```
    /// # use fulgurite::prelude::*;
    /// let seven = kernel::<(Write<u32>,)>("seven", ["y"], [64, 1, 1], |k, (y,)| y.store(k.global_id().x(), 7))?;
    /// let ctx = Context::builder().prewarm([seven.verified()]).open()?;
    /// assert_eq!(ctx.counters().compiles, 1);
    /// println!("{}", ctx.prewarmed()[0]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn prewarm<'k>(mut self, kernels: impl IntoIterator<Item = &'k Arc<VerifiedKernel>>) -> Self {
        self.prewarm.extend(kernels.into_iter().cloned());
        self
    }

    /// Chooses among these backends instead of the build's own. The cache directory, trusted packs, kernels to be compiled
    /// ahead and the Vulkan device reach those that heed them: backends whose registration takes
    /// [`OpenOptions`](crate::OpenOptions), as all of [`registry`] do.
    ///
    /// ```
    /// # use fulgurite::prelude::*;
    /// let mut registry = fulgurite::registry();
    /// // … and `registry.register(…)` with a backend of one's own.
    /// let folder = std::env::temp_dir().join(format!("fulgurite-doc-registry-{}", std::process::id()));
    /// let ctx = Context::builder().registry(registry).cache_directory(&folder).open()?;
    /// if let Some(kept_in) = ctx.cache_report().kept_in {
    ///     assert_eq!(std::path::Path::new(&kept_in), folder);
    /// }
    /// # drop(ctx);
    /// # std::fs::remove_dir_all(&folder).ok();
    /// # Ok::<(), Error>(())
    /// ```
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Compile options for all kernels; a field that a call states wins.
    pub fn compile_options(mut self, options: CompileOptions) -> Self {
        self.compile = options;
        self
    }

    /// How many submissions and compiled kernels the context holds on to.
    ///
    /// ```
    /// use fulgurite::{Bounds, Context};
    ///
    /// // A service that compiles kernels without end, and submits no more than 64 launches ahead.
    /// let ctx = Context::builder().backend("cpu").bounds(Bounds::default().submitted(64).compiled(256)).open()?;
    /// # Ok::<(), fulgurite::Error>(())
    /// ```
    pub fn bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
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
    /// `FG0401` if there is no such backend, `FG0402` if it cannot start here, `FG0404` if none starts or qualifies, `FG0408` if
    /// the choices contradict each other, and those of [`calibrations`](crate::calibrations) if the requirements name the work.
    pub fn open(self) -> Result<Context, Error> {
        check_choices(&self.choices)?;
        let open = self.open.prefetch(self.prewarm.iter().cloned()).with(self.packs);
        #[cfg(feature = "vulkan")]
        let open = self.vulkan.into_iter().fold(open, OpenOptions::with);
        let mut registry = self.registry.unwrap_or_else(registry);
        registry.configure(&open);
        let route = match self.choices.first() {
            Some(Chosen::Requirements(requirements)) if requirements.work.is_some() => {
                registry.route_for(requirements, &calibrations()?)?
            }
            Some(Chosen::Requirements(requirements)) => {
                registry.route_for(requirements, &Calibrations::default())?
            }
            Some(named) => registry.route(&Choice::Exactly(named.backend().to_owned()))?,
            None => registry.route(&Choice::Best)?,
        };
        let device = Device::with_bounds(Arc::clone(route.backend()), self.compile, self.launch, self.bounds);
        // Whoever compiles one of those that failed is told.
        let prewarmed = device.prewarm_with_report(&self.prewarm, &CompileOptions::default(), &|_| ());
        let store = match self.autotune_directory {
            Some(directory) => AutotuneStore::open(directory, StoreOptions::default()),
            None => AutotuneStore::of_user(),
        };
        let tuner = Tuner::new(device.clone(), store, &self.autotune);
        add_layers(&tuner, &self.tuned);
        let audit_threshold = self.audit_threshold.unwrap_or(CacheAudit::DEFAULT_THRESHOLD);
        Ok(Context { route, device, tuner, prewarmed: prewarmed.into(), audit_threshold })
    }
}

/// Refuses two choices of which one excludes the other, in whatever order they were made.
fn check_choices(choices: &[Chosen]) -> Result<(), Error> {
    for (at, one) in choices.iter().enumerate() {
        if let Some(other) = choices[at + 1..].iter().find(|other| one.excludes(other)) {
            let message = format!("a context was asked for on {one} and on {other}");
            return Err(Error::invalid(Code::ContradictingChoices, message));
        }
    }
    Ok(())
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
    ///
    /// With its audit, and `FG1009` among its notices if that is alarming: see [`audit`](Self::audit) and
    /// [`ContextBuilder::cache_alarm`].
    pub fn cache_report(&self) -> CacheReport {
        self.device.backend().cache_report().audited(self.audit_threshold)
    }

    /// How well the backend's cache of compiled kernels served so far. It is alarming if fewer than `threshold` of 10,000
    /// lookups of what had been kept hit: entries were damaged or evicted, or are of another driver version. What was never
    /// kept alarms nobody.
    ///
    /// ```
    /// let ctx = fulgurite::Context::open()?;
    /// let audit = ctx.audit(9_500);
    /// if audit.is_alarming {
    ///     eprintln!("{} of {} kept entries were lost", audit.lost, audit.hits + audit.lost);
    /// }
    /// # Ok::<(), fulgurite::Error>(())
    /// ```
    pub fn audit(&self, threshold: u32) -> CacheAudit {
        self.device.backend().cache_report().audit(threshold)
    }

    /// Makes durable what the backend keeps of compiled kernels for later processes. It is flushed when the context is
    /// dropped, too; a crash of the machine before that costs what was not.
    ///
    /// # Errors
    /// `FG1007` if some of it cannot be made durable: that will be compiled again.
    pub fn flush(&self) -> Result<(), Error> {
        self.device.flush()
    }

    /// Forgets what was compiled of `kernel`, with whatever options, and removes what the backend's cache keeps of it, in
    /// memory and on disk, with the driver binaries made from it. The next compile makes it anew; executables that were
    /// made before go on as they are. `cargo xtask cache remove` does it from outside.
    ///
    /// A form of the kernel that options changed (its workgroup, its math) and that only earlier processes compiled is a
    /// kernel of its own, and stays.
    ///
    /// ```
    /// # use fulgurite::prelude::*;
    /// # let ctx = Context::builder().backend("cpu").open()?;
    /// let seven = kernel::<(Write<u32>,)>("seven", ["y"], [64, 1, 1], |k, (y,)| y.store(k.global_id().x(), 7))?;
    /// ctx.compile(&seven)?;
    /// assert_eq!(ctx.invalidate(seven.verified())?.executables, 1);
    /// ctx.compile(&seven)?;
    /// assert_eq!(ctx.counters().compiles, 2);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `FG1001` or `FG1003` if the cache may not be written. What is wrong with one entry is in the answer.
    pub fn invalidate(&self, kernel: &Arc<VerifiedKernel>) -> Result<Invalidated, Error> {
        self.device.invalidate(kernel)
    }

    /// What became of the kernels of [`ContextBuilder::prewarm`], in their order.
    pub fn prewarmed(&self) -> &[Prewarmed] {
        &self.prewarmed
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
        self.prewarm_with_progress(kernels, options, &|_| ())
    }

    /// As [`prewarm`](Self::prewarm); `done` is told how many kernels are done, from whichever thread did one.
    #[must_use = "these are the kernels that failed"]
    pub fn prewarm_with_progress<'k>(
        &self,
        kernels: impl IntoIterator<Item = &'k Arc<VerifiedKernel>>,
        options: &CompileOptions,
        done: &(dyn Fn(usize) + Sync),
    ) -> Vec<(usize, Error)> {
        self.device.prewarm_with_progress(kernels, options, done).err().unwrap_or_default()
    }

    /// As [`prewarm_with_progress`](Self::prewarm_with_progress), and says of each kernel, in the order of the list, what it cost and
    /// where it came from.
    ///
    /// ```
    /// # use fulgurite::prelude::*;
    /// # let ctx = Context::builder().backend("cpu").open()?;
    /// # let seven = kernel::<(Write<u32>,)>("seven", ["y"], [64, 1, 1], |k, (y,)| y.store(k.global_id().x(), 7))?;
    /// for kernel in ctx.prewarm_with_report([seven.verified()], &Default::default(), &|_| ()) {
    ///     // `seven: none, 1.2ms`: no cache was asked. Or `seven: binary from disk, 0.3ms`.
    ///     println!("{kernel}");
    ///     assert!(kernel.origin.is_ok() && kernel.time.is_some());
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    pub fn prewarm_with_report<'k>(
        &self,
        kernels: impl IntoIterator<Item = &'k Arc<VerifiedKernel>>,
        options: &CompileOptions,
        done: &(dyn Fn(usize) + Sync),
    ) -> Vec<Prewarmed> {
        self.device.prewarm_with_report(kernels, options, done)
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
