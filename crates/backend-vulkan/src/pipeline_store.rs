//! Compiled kernels that outlive the process: how a kernel becomes a module and a module a pipeline by way of the
//! pipeline cache. What a driver keeps is [`crate::driver`]'s to know; how it is stored is `pipeline-cache`'s.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ash::vk;
use fulgurite_hal::{CachePolicy, CacheReport, DeviceError, Error, Invalidated};
use fulgurite_ir::{VerifiedKernel, analysis};
use fulgurite_pipeline_cache::{
    CacheError, CacheOptions, Digest, DigestBuilder, Entry, Made, PayloadKind, PipelineCache,
    PipelineCacheIdentity, PipelineCacheKey, PipelineCacheKeyDesc, PipelineCacheMissReason,
    PipelineDeviceFingerprint, PipelineFeatureFlags, Traced,
};
use fulgurite_spec::cache::{CacheOrigin, CacheOutcome, CacheTier};
use fulgurite_spec::device::Capability;
use fulgurite_spirv::{BlockPlacement, Layout, Module, Profile, emit};

use crate::driver::{Driver, Functions, Restored};
use crate::error::BACKEND;

/// A device's compiled kernels.
pub(crate) struct PipelineStore {
    store: PipelineCache,
    driver: Driver,
    fingerprint: PipelineDeviceFingerprint,
    lowered: AtomicU64,
    driver_compiles: AtomicU64,
}

/// A module, and where it came from.
pub(crate) type Lowered = (Module, Lowering);

/// Where a module came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lowering {
    /// It was emitted; no cache was asked.
    Unasked,
    /// It was emitted, because the cache did not have it.
    Missed(PipelineCacheMissReason),
    /// The cache had it.
    Found(CacheTier),
}

/// A pipeline, and whether the driver had kept it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MadePipeline {
    pub(crate) handle: vk::Pipeline,
    pub(crate) was_kept: bool,
    /// Where what the driver had kept was found.
    pub(crate) tier: Option<CacheTier>,
    /// Why it was not, if it was looked for and the driver keeps anything.
    pub(crate) miss: Option<PipelineCacheMissReason>,
}

/// What a pipeline that nothing was kept of is made from.
pub(crate) struct Source<'a> {
    pub(crate) functions: &'a dyn Functions,
    /// What it is made of.
    pub(crate) key: PipelineCacheKey,
    /// The options that it is made with.
    pub(crate) policy: Digest,
    /// Gives the digest of the artifact that it is made from.
    pub(crate) artifact: &'a dyn Fn() -> Digest,
}

impl PipelineStore {
    pub(crate) fn new(store: PipelineCache, driver: Driver, fingerprint: PipelineDeviceFingerprint) -> Self {
        Self { store, driver, fingerprint, lowered: AtomicU64::new(0), driver_compiles: AtomicU64::new(0) }
    }

    /// Nothing is kept: for throw-away devices.
    pub(crate) fn nothing(driver: Driver) -> Self {
        let store = PipelineCache::open(CacheOptions::memory_only());
        Self::new(store, driver, PipelineDeviceFingerprint::ANY)
    }

    /// The module of `kernel` for `profile`, emitted unless it was kept.
    pub(crate) fn module(&self, kernel: &VerifiedKernel, profile: &Profile, policy: CachePolicy) -> Lowered {
        let emitted = || {
            self.lowered.fetch_add(1, Relaxed);
            emit(kernel, profile)
        };
        let identity = module_identity(kernel, profile);
        let mut made = None;
        let found = match policy {
            CachePolicy::Off => return (emitted(), Lowering::Unasked),
            CachePolicy::ReadOnly => match self.store.trace(&identity) {
                Ok(found) => Some(found),
                Err(reason) => return (emitted(), Lowering::Missed(reason)),
            },
            _ => {
                let keep = |reason| {
                    let module = emitted();
                    let payload = module.to_bytes();
                    made = Some((module, Lowering::Missed(reason)));
                    Ok::<_, CacheError>(Made::Keep { artifact: Digest::ZERO, payload })
                };
                // Making it cannot fail.
                self.store.trace_or_make(&identity, keep).unwrap_or_default()
            }
        };
        if let Some(made) = made {
            return made;
        }
        let read = |found: Traced| {
            Module::from_bytes(kernel, profile, &found.entry.payload).map(|module| (module, found.tier))
        };
        match found.and_then(read) {
            Some((module, tier)) => (module, Lowering::Found(tier)),
            // Whole, and not a module: something else wrote it.
            None => {
                let module = emitted();
                if policy == CachePolicy::Use {
                    self.store.keep(&identity, Digest::ZERO, module.to_bytes());
                }
                (module, Lowering::Missed(PipelineCacheMissReason::Corrupt))
            }
        }
    }

    /// The pipeline of `source`, compiled unless the driver's binary was kept.
    pub(crate) fn pipeline(&self, source: &Source<'_>, policy: CachePolicy) -> Result<MadePipeline, Failure> {
        let identity = self.identity(source);
        let compiled = |handle, miss: Option<_>| {
            // A driver that keeps nothing misses nothing.
            let miss = miss.filter(|_| self.driver.keeps() != Some(false));
            MadePipeline { handle, was_kept: false, tier: None, miss }
        };
        if policy == CachePolicy::Off || self.driver.keeps() == Some(false) {
            return Ok(compiled(self.compile(source)?.0, None));
        }
        let (mut made, mut missed) = (None, None);
        let found = match policy {
            CachePolicy::ReadOnly => self.store.trace(&identity).map_err(|reason| missed = Some(reason)).ok(),
            _ => self.store.trace_or_make(&identity, |reason| {
                missed = Some(reason);
                let (handle, blob) = self.compile(source)?;
                made = Some(handle);
                Ok::<_, Failure>(match blob {
                    Some(payload) => Made::Keep { artifact: (source.artifact)(), payload },
                    None => Made::Nothing,
                })
            })?,
        };
        if let Some(handle) = made {
            return Ok(compiled(handle, missed));
        }
        let Some(Traced { entry, tier, .. }) = found else {
            return Ok(compiled(self.compile(source)?.0, missed));
        };
        let whole = |handle| MadePipeline { handle, was_kept: true, tier: Some(tier), miss: None };
        let refused = Some(PipelineCacheMissReason::DeviceOrRuntimeChanged);
        let restored = self.store.load(&entry, |kept| self.driver.restore(source.functions, kept))?;
        match restored {
            Restored::Whole(handle) => Ok(whole(handle)),
            Restored::Unknown(handle) => {
                self.store.count_unknown();
                Ok(whole(handle))
            }
            Restored::Compiled(handle) => {
                self.driver_compiles.fetch_add(1, Relaxed);
                self.store.refuse(&entry);
                Ok(compiled(handle, refused))
            }
            Restored::Refused(why) => {
                self.store.refuse(&entry);
                self.store.notice(&CacheError::DriverRefused(format!("{why:?}")));
                let (handle, blob) = self.compile(source)?;
                if let (Some(payload), CachePolicy::Use) = (blob, policy) {
                    self.store.keep(&identity, (source.artifact)(), payload);
                }
                Ok(compiled(handle, refused))
            }
        }
    }

    /// What the driver's binary of `source` is found by, and what is suspected if a process ends while the driver compiles it: another
    /// driver, another version or other words are something else.
    fn identity(&self, source: &Source<'_>) -> PipelineCacheIdentity {
        PipelineCacheIdentity::new(PayloadKind::Binary, source.key.digest(), source.policy, self.fingerprint)
    }

    fn compile(&self, source: &Source<'_>) -> Result<(vk::Pipeline, Option<Vec<u8>>), Failure> {
        self.driver_compiles.fetch_add(1, Relaxed);
        let made = self
            .store
            .compile(self.identity(source).digest(), || self.driver.compile(source.functions))??;
        if self.driver.keeps() == Some(false) {
            self.store.notice(&CacheError::DriverKeepsNothing);
        }
        Ok(made)
    }

    /// Makes durable what was kept.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        self.store.flush().map_err(cache_error)
    }

    /// Removes what is kept of `kernel`, for any profile and device.
    pub(crate) fn invalidate(&self, kernel: &VerifiedKernel) -> Result<Invalidated, Error> {
        let program = Digest::from_bytes(*kernel.digest().as_bytes());
        let report = self.store.invalidate_kernel(&program).map_err(cache_error)?;
        let mut all = Invalidated::default();
        (all.removed, all.forgotten, all.layered) = (report.removed, report.forgotten, report.layered);
        all.failed = report.failed.iter().map(|(_, error)| error.diagnostic()).collect();
        Ok(all)
    }

    /// What was found and made so far.
    pub(crate) fn report(&self) -> CacheReport {
        let statistics = self.store.statistics();
        let mut report = CacheReport::default();
        report.kept_in = self.store.disk().map(|disk| disk.root().display().to_string());
        report.keeps_binaries = self.driver.keeps();
        report.lowered = self.lowered.load(Relaxed);
        report.driver_compiles = self.driver_compiles.load(Relaxed);
        report.hits = statistics.hits();
        report.misses = statistics.by_reason().filter(|(_, count)| *count > 0).collect();
        report.unknown = statistics.unknown;
        report.notices = self.store.notices();
        report
    }
}

/// Where a kernel came from of which a module and a pipeline were made.
pub(crate) fn origin(lowering: Lowering, pipeline: MadePipeline) -> CacheOrigin {
    let (outcome, tier) = match (lowering, pipeline.was_kept) {
        (Lowering::Unasked, _) => (CacheOutcome::None, None),
        (Lowering::Missed(reason), _) => (CacheOutcome::Missed(reason), None),
        (Lowering::Found(_), true) => (CacheOutcome::Binary, pipeline.tier),
        (Lowering::Found(tier), false) => (CacheOutcome::Artifact, Some(tier)),
    };
    CacheOrigin::new(outcome).tier(tier).binary_miss(pipeline.miss)
}

/// What a caller is told of a cache that cannot do what it was asked for.
fn cache_error(error: CacheError) -> Error {
    Error::Invalid(error.diagnostic().into())
}

/// Why there is no pipeline.
#[derive(Debug, PartialEq)]
pub(crate) enum Failure {
    /// The driver's result of making it.
    Driver(vk::Result),
    /// The driver is not asked any more.
    Cache(CacheError),
}

impl From<vk::Result> for Failure {
    fn from(result: vk::Result) -> Self {
        Self::Driver(result)
    }
}

impl From<CacheError> for Failure {
    fn from(error: CacheError) -> Self {
        Self::Cache(error)
    }
}

impl Failure {
    /// The error of the engine; `driver` says what a result of the driver means.
    pub(crate) fn into_error(self, driver: impl FnOnce(vk::Result) -> Error) -> Error {
        match self {
            Self::Driver(result) => driver(result),
            Self::Cache(CacheError::Banned(ban)) => DeviceError::Banned(ban.to_string()).into(),
            Self::Cache(error) => Error::Internal(error.to_string()),
        }
    }
}

/// The entry of a pack with `kernel` lowered for `profile`: a device that is planned with that profile then lowers
/// nothing. `None` if no module for the profile can express the kernel.
///
/// ```
/// use fulgurite_spirv::Profile;
///
/// let text = "fulgurite 1\nkernel @k workgroup(1, 1, 1) {\n  buffer %y: write u32[]\n  store %y[0u32], 7u32\n}\n";
/// let kernel = fulgurite_ir::text::parse(text).and_then(fulgurite_ir::verify)?;
/// let mut pack = fulgurite_pipeline_cache::PackWriter::new();
/// for (_, profile) in Profile::NAMED {
///     pack.add(&fulgurite_backend_vulkan::lowered_entry(&kernel, profile).unwrap());
/// }
/// assert_eq!(pack.len(), Profile::NAMED.len());
/// # Ok::<(), fulgurite_spec::Diagnostics>(())
/// ```
pub fn lowered_entry(kernel: &VerifiedKernel, profile: &Profile) -> Option<Entry> {
    if fulgurite_spirv::unsupported(kernel, profile).is_some() {
        return None;
    }
    let payload = emit(kernel, profile).to_bytes();
    Some(Entry::new(module_identity(kernel, profile), Digest::ZERO, payload))
}

/// What a module is found by: the kernel, and all that decides how it is lowered.
pub(crate) fn module_identity(kernel: &VerifiedKernel, profile: &Profile) -> PipelineCacheIdentity {
    let policy = DigestBuilder::new("fulgurite lowering policy 1");
    let policy = profile.identity().into_iter().fold(policy, |policy, number| policy.number(number.into()));
    // Names do not count in a kernel's digest; here they do if they are to be in the module.
    let names = if profile.debug_names { fulgurite_ir::text::print(kernel) } else { String::new() };
    PipelineCacheIdentity::new(
        PayloadKind::Artifact,
        Digest::from_bytes(*kernel.digest().as_bytes()),
        policy.text(&names).finish(),
        PipelineDeviceFingerprint::ANY,
    )
}

/// What a pipeline is made of.
pub(crate) fn key(kernel: &VerifiedKernel, module: &Module) -> PipelineCacheKey {
    let mut shader = blake3::Hasher::new_derive_key("fulgurite SPIR-V words 1");
    for words in module.words.chunks(1024) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        shader.update(&bytes);
    }
    let layout = &module.layout;
    let is_pushed = layout.placement == BlockPlacement::PushConstants && layout.block_words > 0;
    let needs = analysis::needs(kernel);
    let flag = |capability| needs.contains(&capability);
    PipelineCacheKey::new(&PipelineCacheKeyDesc {
        shader: shader.finalize().into(),
        layout: layout_digest(kernel, layout),
        push_constant_bytes: if is_pushed { layout.block_words * 4 } else { 0 },
        workgroup: kernel.workgroup,
        flags: PipelineFeatureFlags::empty()
            .with(PipelineFeatureFlags::SUBGROUP, flag(Capability::Subgroups))
            .with(PipelineFeatureFlags::F16, flag(Capability::Float16))
            .with(PipelineFeatureFlags::BF16, flag(Capability::BFloat16))
            .with(PipelineFeatureFlags::TENSOR_CORES, flag(Capability::CooperativeMatrix))
            .with(PipelineFeatureFlags::PUSH_CONSTANTS, is_pushed)
            .with(PipelineFeatureFlags::PERSISTENT_THREAD, flag(Capability::WorkgroupProgress)),
        backend: BACKEND,
    })
}

/// What is bound where, and how.
fn layout_digest(kernel: &VerifiedKernel, layout: &Layout) -> Digest {
    let placement = match layout.placement {
        BlockPlacement::PushConstants => 0,
        BlockPlacement::StorageBuffer { binding } => 1 + u64::from(binding),
    };
    let digest = DigestBuilder::new("fulgurite vulkan layout 1")
        .number(layout.buffers.into())
        .number(layout.control.map_or(0, |binding| 1 + u64::from(binding)))
        .number(placement)
        .number(layout.block_words.into());
    let buffers = layout.by_address.iter().zip(&kernel.buffers);
    buffers
        .fold(digest, |digest, (by_address, buffer)| {
            digest.number(u64::from(*by_address)).number(buffer.access as u64)
        })
        .finish()
}
