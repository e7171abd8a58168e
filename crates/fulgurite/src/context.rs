//! Contexts: an open device with its compiled kernels, buffers and tuning.

use std::fmt;
use std::sync::Arc;

use fulgurite_autotune::{AutotunePolicy, AutotuneStore, StoreOptions, Tuner};
use fulgurite_driver_core::{Calibrations, Choice, Registry, Requirements, Route};
use fulgurite_hal::{AdapterId, CacheReport, CompileOptions, Error, Invalidated, LaunchOptions, OpenOptions};
use fulgurite_ir::VerifiedKernel;
use fulgurite_pipeline_cache::{Pack, TrustedPack};
use fulgurite_runtime::{Bounds, Counters, Device, Manifest, Prewarmed, Replayed, Repro};
use fulgurite_spec::Code;
use fulgurite_spec::cache::CacheAudit;
use fulgurite_spec::device::DeviceSnapshot;

use crate::backends::registry;
use crate::buffer::{Buffer, Element};
use crate::calibrate::calibrations;
use crate::executable::Executable;
use crate::kernel::Kernel;
use crate::packs::tuned_files;
use crate::tuned::add_layers;

/// An open device: allocates buffers, compiles kernels, records graphs. Cheap to clone; clones share the device.
///
/// A context may be used from several threads at once, and a program may have several, each with its own device.
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
    /// The threshold of the audit in cache reports.
    audit_threshold: u32,
}

/// Options for opening a context.
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
    /// Options passed to any backend.
    open: OpenOptions,
    packs: Vec<TrustedPack>,
    prewarm: Vec<Arc<VerifiedKernel>>,
    audit_threshold: Option<u32>,
    autotune: AutotunePolicy,
    autotune_directory: Option<std::path::PathBuf>,
    /// Files of tuning records from packs.
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
    Adapter(AdapterId),
    Device(String),
    Requirements(Requirements),
}

impl Chosen {
    /// Returns whether two choices contradict each other. A backend and an adapter or a device of that backend do not.
    fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Backend(_), Self::Device(_)) | (Self::Device(_), Self::Backend(_)) => false,
            (Self::Backend(backend), Self::Adapter(adapter))
            | (Self::Adapter(adapter), Self::Backend(backend)) => adapter.backend() != backend,
            (one, other) => one != other,
        }
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend(id) => write!(f, "the backend `{id}`"),
            Self::Adapter(id) => write!(f, "the adapter `{id}`"),
            Self::Device(part) => write!(f, "the device `{part}`"),
            Self::Requirements(_) => f.write_str("a device by requirements"),
        }
    }
}

impl ContextBuilder {
    /// Selects the backend `id` and no other: `vulkan`, `cpu`, `reference`, or a registered one. Of several devices, the one
    /// of the highest rank is used.
    ///
    /// The order of calls does not matter. Naming another backend, an adapter of another backend, or requirements as well is
    /// an error of [`open`](Self::open).
    pub fn backend(mut self, id: impl Into<String>) -> Self {
        self.choices.push(Chosen::Backend(id.into()));
        self
    }

    /// Selects the backend by required capabilities, preference, and the calibrations of this machine, which
    /// `fulgurite calibrate` and [`keep_calibrations`](crate::keep_calibrations) store.
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

    /// Selects the adapter `id` and no other. [`Registry::adapters`] lists them. Naming a device or requirements as well is an
    /// error of [`open`](Self::open), as is a backend that it is not of.
    ///
    /// ```
    /// use fulgurite::Context;
    ///
    /// let adapters = fulgurite::registry().adapters().adapters;
    /// for adapter in adapters.iter().filter(|adapter| adapter.unsuitable.is_none()) {
    ///     let ctx = Context::builder().adapter(adapter.id.clone()).open()?;
    ///     println!("{}: {}", adapter.id, ctx.device().device);
    /// }
    /// # Ok::<(), fulgurite::Error>(())
    /// ```
    pub fn adapter(mut self, id: AdapterId) -> Self {
        self.choices.push(Chosen::Adapter(id));
        self
    }

    /// Selects the device of the highest rank whose name contains `part`, ignoring case; of the [`backend`](Self::backend) if
    /// one is named. Overrides selections in the environment, such as `FULGURITE_VULKAN_DEVICE`. All backends are asked for their
    /// devices unless one is named.
    ///
    /// ```
    /// use fulgurite::{Code, Context};
    ///
    /// let error = Context::builder().device("a name that no device has").open().err();
    /// assert_eq!(error.map(|error| error.code()), Some(Code::UnknownDevice));
    /// ```
    pub fn device(mut self, part: impl Into<String>) -> Self {
        self.choices.push(Chosen::Device(part.into()));
        self
    }

    /// Adds the tuning records of `pack`, so that a first run on a new machine tunes nothing.
    /// [`packed_kernels`](crate::packed_kernels) returns the kernels of a pack. Its lowered kernels and driver
    /// binaries are ignored because they cannot be checked: see [`trusted_pack`](Self::trusted_pack).
    pub fn pack(mut self, pack: Pack) -> Self {
        self.tuned.extend(tuned_files(&pack));
        self
    }

    /// Adds the lowered kernels, driver binaries and tuning records of `pack`, so that a first run on a new machine
    /// compiles and tunes nothing. Only backends with a cache use lowered kernels. `fulgurite cache pack` makes
    /// packs.
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

    /// Sets the tuning policy; fields that are not set come from the environment.
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

    /// Sets the directory of tuning records. Default: the user's cache directory.
    pub fn autotune_directory(mut self, directory: impl Into<std::path::PathBuf>) -> Self {
        self.autotune_directory = Some(directory.into());
        self
    }

    /// Sets the directory of the backend's cache of compiled kernels, if it has one. Default: the user's cache
    /// directory.
    pub fn cache_directory(mut self, directory: impl Into<std::path::PathBuf>) -> Self {
        self.open = self.open.cache_directory(directory);
        self
    }

    /// Sets the threshold of the alarm in cache reports: fewer than `basis_points` hits in 10,000 lookups of entries
    /// that had been stored. See [`Context::audit`]. Default: [`CacheAudit::DEFAULT_THRESHOLD`]; 0 disables the
    /// alarm.
    pub fn cache_alarm(mut self, basis_points: u32) -> Self {
        self.audit_threshold = Some(basis_points);
        self
    }

    /// Compiles `kernels` in parallel when the context is opened; their cache entries are read while the device is
    /// created. Errors are reported by the next compile of the kernel. [`Context::prewarmed`] returns the cost of
    /// each.
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

    /// Selects among the backends of `registry` instead of those of this build. They are opened with the same
    /// [`OpenOptions`](crate::OpenOptions): cache directory, trusted packs, prewarmed kernels.
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

    /// Sets compile options for all kernels; those of a call override them field by field.
    pub fn compile_options(mut self, options: CompileOptions) -> Self {
        self.compile = options;
        self
    }

    /// Sets the limits of submissions in progress and of retained kernels.
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

    /// Sets launch options for all launches; those of a call override them field by field.
    pub fn launch_options(mut self, options: LaunchOptions) -> Self {
        self.launch = options;
        self
    }

    /// Opens the context.
    ///
    /// # Errors
    /// `FG0401` if there is no such backend, `FG0402` or `FG0410` to `FG0413` if it cannot start here, `FG0404` if none starts or qualifies, `FG0409` if no device has the id or the name, `FG0408` if
    /// the choices contradict each other, and those of [`calibrations`](crate::calibrations) if the requirements name the work.
    pub fn open(self) -> Result<Context, Error> {
        check_choices(&self.choices)?;
        let open = self.open.prefetch(self.prewarm.iter().cloned()).with(self.packs);
        let registry = self.registry.unwrap_or_else(registry);
        let route = match choice(&self.choices) {
            Ok(choice) => registry.route(&choice, &open)?,
            Err(requirements) => {
                let needed = requirements.work.is_some();
                let calibrations = if needed { calibrations()? } else { Calibrations::default() };
                registry.route_for(requirements, &calibrations, &open)?
            }
        };
        let device = Device::with_bounds(Arc::clone(route.device()), self.compile, self.launch, self.bounds);
        // Whoever compiles one of those that failed is told.
        let prewarmed = device.prewarm(&self.prewarm, &CompileOptions::default(), &|_| ());
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

/// Returns what choices that do not contradict each other amount to: a choice, or requirements.
fn choice(choices: &[Chosen]) -> Result<Choice, &Requirements> {
    let (mut backend, mut part) = (None, None);
    for chosen in choices {
        match chosen {
            Chosen::Requirements(requirements) => return Err(requirements),
            Chosen::Adapter(id) => return Ok(Choice::Adapter(id.clone())),
            Chosen::Backend(id) => backend = Some(id.clone()),
            Chosen::Device(name) => part = Some(name.clone()),
        }
    }
    Ok(match (backend, part) {
        (backend, Some(part)) => Choice::Device { part, backend },
        (Some(backend), None) => Choice::Backend(backend),
        (None, None) => Choice::Best,
    })
}

/// Refuses choices that contradict each other, in any order.
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
    /// Opens the best available backend. [`Context::route`] gives the decision and its reasons.
    ///
    /// # Errors
    /// `FG0404` if none starts.
    pub fn open() -> Result<Self, Error> {
        Self::builder().open()
    }

    /// Returns a builder of a context.
    pub fn builder() -> ContextBuilder {
        ContextBuilder::default()
    }

    /// Returns the facts of the device.
    pub fn device(&self) -> &DeviceSnapshot {
        self.device.snapshot()
    }

    /// Returns the routing decision with its reasons.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Returns the tuner.
    pub fn tuner(&self) -> &Tuner {
        &self.tuner
    }

    /// Returns the counters of this context and its clones.
    pub fn counters(&self) -> Counters {
        self.device.counters()
    }

    /// Returns the report of the backend's cache of compiled kernels.
    ///
    /// ```
    /// let ctx = fulgurite::Context::builder().backend("cpu").open()?;
    /// assert_eq!(ctx.cache_report().kept_in, None, "it compiles too fast for that");
    /// # Ok::<(), fulgurite::Error>(())
    /// ```
    ///
    /// The report includes the audit, with `FG1009` among its notices if the alarm is raised: see
    /// [`audit`](Self::audit) and [`ContextBuilder::cache_alarm`].
    pub fn cache_report(&self) -> CacheReport {
        self.device.raw().cache_report().audited(self.audit_threshold)
    }

    /// Audits the backend's cache of compiled kernels. The alarm is raised if fewer than `threshold` of 10,000
    /// lookups of entries that had been stored hit: entries were damaged or evicted, or belong to another driver
    /// version. Kernels that were never stored do not count.
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
        self.device.raw().cache_report().audit(threshold)
    }

    /// Makes the backend's cache entries for later processes durable. Dropping the context does so as well; entries
    /// that are not durable may be lost in a crash of the machine.
    ///
    /// # Errors
    /// `FG1007` if some entries cannot be made durable; those kernels will be compiled again.
    pub fn flush(&self) -> Result<(), Error> {
        self.device.flush()
    }

    /// Evicts the programs of `kernel` for all options and removes its entries from the backend's cache, in memory
    /// and on disk, with the driver binaries made from them. The next compile starts anew; existing executables
    /// remain usable. `fulgurite cache remove` does the same from outside.
    ///
    /// A variant of the kernel that options changed (workgroup, math mode) and that only earlier processes compiled
    /// is a kernel of its own and stays.
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
    /// `FG1001` or `FG1003` if the cache may not be written. A failure of one entry is part of the result.
    pub fn invalidate(&self, kernel: &Arc<VerifiedKernel>) -> Result<Invalidated, Error> {
        self.device.invalidate(kernel)
    }

    /// Returns the outcomes of [`ContextBuilder::prewarm`], in order.
    pub fn prewarmed(&self) -> &[Prewarmed] {
        &self.prewarmed
    }

    /// Allocates a buffer with a copy of `data`.
    ///
    /// # Errors
    /// `FG0601` if the device is out of memory, `FG0403` over its buffer size limit.
    pub fn buffer<T: Element>(&self, data: &[T]) -> Result<Buffer<T>, Error> {
        Buffer::upload(&self.device, data)
    }

    /// Allocates a buffer of `len` elements, all zero.
    ///
    /// # Errors
    /// Those of [`Context::buffer`].
    pub fn zeroed<T: Element>(&self, len: usize) -> Result<Buffer<T>, Error> {
        Buffer::zeroed(&self.device, len)
    }

    /// Compiles a typed kernel, or returns the program compiled earlier.
    ///
    /// # Errors
    /// `FG0403` if the device lacks what the kernel needs, or a device error.
    pub fn compile<A>(&self, kernel: &Kernel<A>) -> Result<Executable<A>, Error> {
        self.compile_with(kernel, &CompileOptions::default())
    }

    /// Compiles a typed kernel with options, which override the context's field by field.
    ///
    /// # Errors
    /// Those of [`Context::compile`].
    pub fn compile_with<A>(
        &self,
        kernel: &Kernel<A>,
        options: &CompileOptions,
    ) -> Result<Executable<A>, Error> {
        Ok(Executable::new(self.device.compile(kernel.verified(), options)?))
    }

    /// Compiles like [`compile_with`](Self::compile_with) and returns the manifest with the origin of the program.
    ///
    /// # Errors
    /// Those of [`Context::compile`].
    pub fn compile_with_report<A>(
        &self,
        kernel: &Kernel<A>,
        options: &CompileOptions,
    ) -> Result<(Executable<A>, Manifest), Error> {
        let (program, manifest) = self.device.compile_with_report(kernel.verified(), options)?;
        Ok((Executable::new(program), manifest))
    }

    /// Compiles kernels in parallel and launches none. Later compiles with the same options find them. Calls `progress`
    /// with the number of finished kernels, from the thread that finished one, and returns the cost and origin of each
    /// kernel or its error, in the order of the list.
    ///
    /// ```
    /// # use fulgurite::prelude::*;
    /// # let ctx = Context::builder().backend("cpu").open()?;
    /// # let build = |name| kernel::<(Write<u32>,)>(name, ["y"], [64, 1, 1], |k, (y,)| y.store(k.global_id().x(), 7));
    /// let (first, second) = (build("first")?, build("second")?);
    /// for kernel in ctx.prewarm([first.verified(), second.verified()], &Default::default(), &|_| ()) {
    ///     println!("{kernel}"); // `first: none, 21.3µs`
    ///     kernel.origin?;
    /// }
    /// assert_eq!(ctx.counters().launches, 0);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use = "it has the errors of the kernels that failed"]
    pub fn prewarm<'k>(
        &self,
        kernels: impl IntoIterator<Item = &'k Arc<VerifiedKernel>>,
        options: &CompileOptions,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Vec<Prewarmed> {
        self.device.prewarm(kernels, options, progress)
    }

    /// Runs a captured call on this device and compares its outputs: see [`Call::capture`](crate::Call::capture).
    ///
    /// # Errors
    /// `FG0703` for a repro that does not fit its kernel, and those of compiling and launching.
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
