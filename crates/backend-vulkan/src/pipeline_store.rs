//! Compiled kernels that outlive the process: a kernel becomes a module, and a module a pipeline, by way of the
//! pipeline cache. The data of drivers is handled by [`crate::driver`]; the crate `pipeline-cache` stores it.

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

/// The compiled kernels of a device.
pub(crate) struct PipelineStore {
    store: PipelineCache,
    driver: Driver,
    fingerprint: PipelineDeviceFingerprint,
    lowered: AtomicU64,
    driver_compiles: AtomicU64,
}

/// A module and its origin.
pub(crate) type Lowered = (Module, Lowering);

/// The origin of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lowering {
    /// Emitted without a lookup in the cache.
    Unasked,
    /// Emitted because the cache did not have it.
    Missed(PipelineCacheMissReason),
    /// Found in the cache.
    Found(CacheTier),
}

/// A pipeline and its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MadePipeline {
    pub(crate) handle: vk::Pipeline,
    pub(crate) was_kept: bool,
    /// The tier of the cache that had the driver's data.
    pub(crate) tier: Option<CacheTier>,
    /// Why no stored data was used, if it was looked up and the driver produces any.
    pub(crate) miss: Option<PipelineCacheMissReason>,
}

/// The inputs of a pipeline.
pub(crate) struct Source<'a> {
    pub(crate) functions: &'a dyn Functions,
    /// The key of the pipeline.
    pub(crate) key: PipelineCacheKey,
    /// The digest of the pipeline's options.
    pub(crate) policy: Digest,
    /// Returns the digest of the artifact that the pipeline is made from.
    pub(crate) artifact: &'a dyn Fn() -> Digest,
}

impl PipelineStore {
    pub(crate) fn new(store: PipelineCache, driver: Driver, fingerprint: PipelineDeviceFingerprint) -> Self {
        Self { store, driver, fingerprint, lowered: AtomicU64::new(0), driver_compiles: AtomicU64::new(0) }
    }

    /// Creates a store without persistent storage, for temporary devices.
    pub(crate) fn nothing(driver: Driver) -> Self {
        let store = PipelineCache::open(CacheOptions::memory_only());
        Self::new(store, driver, PipelineDeviceFingerprint::ANY)
    }

    /// Returns the module of `kernel` for `profile`, from the cache or emitted.
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
                // Making the module cannot fail.
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
            // The entry is intact but not a module, so something else wrote it.
            None => {
                let module = emitted();
                if policy == CachePolicy::Use {
                    self.store.keep(&identity, Digest::ZERO, module.to_bytes());
                }
                (module, Lowering::Missed(PipelineCacheMissReason::Corrupt))
            }
        }
    }

    /// Returns the pipeline of `source`, from stored driver data or compiled.
    pub(crate) fn pipeline(&self, source: &Source<'_>, policy: CachePolicy) -> Result<MadePipeline, Failure> {
        let identity = self.identity(source);
        let compiled = |handle, miss: Option<_>| {
            // A driver that produces no data cannot miss any.
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

    /// Returns the identity under which the driver's data of `source` is stored, and which is suspect if the
    /// process ends while the driver compiles it. It differs for another driver, driver version or module.
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

    /// Makes all stored entries durable.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        self.store.flush().map_err(cache_error)
    }

    /// Removes the entries of `kernel`, for all profiles and devices.
    pub(crate) fn invalidate(&self, kernel: &VerifiedKernel) -> Result<Invalidated, Error> {
        let program = Digest::from_bytes(*kernel.digest().as_bytes());
        let report = self.store.invalidate_kernel(&program).map_err(cache_error)?;
        let mut all = Invalidated::default();
        (all.removed, all.forgotten, all.layered) = (report.removed, report.forgotten, report.layered);
        all.failed = report.failed.iter().map(|(_, error)| error.diagnostic()).collect();
        Ok(all)
    }

    /// Returns the statistics of lookups and compiles so far.
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

/// Returns the origin of a kernel from those of its module and its pipeline.
pub(crate) fn origin(lowering: Lowering, pipeline: MadePipeline) -> CacheOrigin {
    let (outcome, tier) = match (lowering, pipeline.was_kept) {
        (Lowering::Unasked, _) => (CacheOutcome::None, None),
        (Lowering::Missed(reason), _) => (CacheOutcome::Missed(reason), None),
        (Lowering::Found(_), true) => (CacheOutcome::Binary, pipeline.tier),
        (Lowering::Found(tier), false) => (CacheOutcome::Artifact, Some(tier)),
    };
    CacheOrigin::new(outcome).tier(tier).binary_miss(pipeline.miss)
}

/// Converts an error of the pipeline cache that is reported to the caller.
fn cache_error(error: CacheError) -> Error {
    Error::Invalid(error.diagnostic().into())
}

/// The reason why a pipeline could not be made.
#[derive(Debug, PartialEq)]
pub(crate) enum Failure {
    /// The result of the failed driver call.
    Driver(vk::Result),
    /// The pipeline cache prevented the driver call.
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
    /// Converts to the engine's error; `driver` converts a driver's result.
    pub(crate) fn into_error(self, driver: impl FnOnce(vk::Result) -> Error) -> Error {
        match self {
            Self::Driver(result) => driver(result),
            Self::Cache(CacheError::Banned(ban)) => DeviceError::Banned(ban.to_string()).into(),
            Self::Cache(error) => Error::Internal(error.to_string()),
        }
    }
}

/// Returns the pack entry of `kernel` lowered for `profile`; a device whose plan has that profile then need not lower
/// the kernel. Returns `None` if no module for the profile can express the kernel.
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

/// Returns the identity under which a module is stored: the kernel, and everything that affects its lowering.
pub(crate) fn module_identity(kernel: &VerifiedKernel, profile: &Profile) -> PipelineCacheIdentity {
    let policy = DigestBuilder::new("fulgurite lowering policy 1");
    let policy = profile.identity().into_iter().fold(policy, |policy, number| policy.number(number.into()));
    // A kernel's digest ignores names; they count here if the module contains them.
    let names = if profile.debug_names { fulgurite_ir::text::print(kernel) } else { String::new() };
    PipelineCacheIdentity::new(
        PayloadKind::Artifact,
        Digest::from_bytes(*kernel.digest().as_bytes()),
        policy.text(&names).finish(),
        PipelineDeviceFingerprint::ANY,
    )
}

/// Returns the key of a pipeline.
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

/// Returns the digest of a module's bindings and their kinds.
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
