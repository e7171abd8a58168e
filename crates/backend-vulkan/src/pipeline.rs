//! From a module to a compute pipeline, and the identity of the result. Launches are in [`crate::launch`].

use std::cell::Cell;
use std::sync::{Arc, OnceLock};

use ash::prelude::VkResult;
use ash::vk;
use fulgurite_hal::{CachePolicy, CompileOptions, DeviceError, Error, OptimizationLevel, TargetProfile};
use fulgurite_ir::{BufferId, Kernel, Memory, VerifiedKernel};
use fulgurite_pipeline_cache::{Digest, DigestBuilder, PipelineCacheKey, artifact_digest};
use fulgurite_spec::cache::CacheOrigin;
use fulgurite_spirv::{Layout, Module, Profile};

use crate::commands::Lease;
use crate::compiler;
use crate::descriptors::{allocate_set, pushed_bytes, write_of};
use crate::device::Device;
use crate::driver::{Feedback, Functions, With};
use crate::error::BACKEND;
use crate::exit;
use crate::pipeline_binary::{BinaryInfo, CAPTURE_DATA, PipelineBinary, StoredBinary};
use crate::pipeline_store::{self, MadePipeline, Source};
use crate::plan::{check_kernel, check_layout, check_local_arrays, check_module, needs_addresses};
use crate::sync::{Ticket, Waited};

/// On a driver that compiles on the queue, later launches wait this many times the compile limit.
const LATER: u32 = 10;

/// A kernel compiled for one device.
pub(crate) struct VulkanExecutable {
    pub(crate) kernel: Arc<VerifiedKernel>,
    pub(crate) device: Arc<Device>,
    /// Digest of the pipeline's key and flags, for the form that binds buffers by descriptors.
    digest: Digest,
    pub(crate) id: String,
    pub(crate) origin: CacheOrigin,
    profile: Profile,
    policy: CachePolicy,
    /// For each buffer, the alignment of its descriptors in bytes: a multiple of the device's alignment and of the
    /// sizes of its elements.
    pub(crate) alignments: Vec<u64>,
    /// The form that binds buffers by descriptors, except `large` ones.
    bound: Artifact,
    /// The form for buffer ranges that begin where no descriptor may; made when a launch first has one.
    offset: OnceLock<Artifact>,
    /// The form that accesses every buffer by its address; made when a launch first has a range that is too large
    /// for a descriptor.
    addressed: OnceLock<Artifact>,
}

/// One compiled form of a kernel.
pub(crate) struct Artifact {
    pub(crate) layout: Layout,
    pub(crate) pipeline: Pipeline,
}

/// A compute pipeline and its layouts. Handles that were not created are null.
pub(crate) struct Pipeline {
    pub(crate) device: Arc<Device>,
    pub(crate) set_layout: vk::DescriptorSetLayout,
    pub(crate) layout: vk::PipelineLayout,
    pub(crate) handle: vk::Pipeline,
}

/// Compiles `kernel` with the caller's options.
pub(crate) fn compile(
    device: &Arc<Device>,
    kernel: Arc<VerifiedKernel>,
    options: &CompileOptions,
) -> Result<VulkanExecutable, Error> {
    let profile = profile_for(device, &kernel, options);
    compile_for(device, kernel, &profile, options.cache.unwrap_or(CachePolicy::Use))
}

/// Returns the id of the executable that [`compile`] would make. Lowers `kernel`, but does not call the driver.
pub(crate) fn executable_id(
    device: &Arc<Device>,
    kernel: &VerifiedKernel,
    options: &CompileOptions,
) -> Result<String, Error> {
    let profile = profile_for(device, kernel, options);
    admit(device, kernel, &profile)?;
    let policy = options.cache.unwrap_or(CachePolicy::Use);
    let (module, _) = device.kept().module(kernel, &profile, policy);
    let digest = form_digest(&pipeline_store::key(kernel, &module), flags(&profile));
    Ok(format!("{BACKEND}:{digest}"))
}

fn profile_for(device: &Device, kernel: &Kernel, options: &CompileOptions) -> Profile {
    let mut profile = match options.profile {
        Some(TargetProfile::Least) => device.plan.profile.portable(),
        _ => device.plan.profile.clone(),
    };
    profile.addresses |= needs_addresses(kernel, &device.plan);
    profile.debug_names = options.debug_names.unwrap_or(false);
    profile.optimize = options.optimization != Some(OptimizationLevel::None);
    profile
}

/// Rejects kernels that the device cannot run, before anything is lowered.
fn admit(device: &Device, kernel: &VerifiedKernel, profile: &Profile) -> Result<(), Error> {
    device.check_alive()?;
    check_kernel(kernel, &device.plan.snapshot.limits)?;
    if device.plan.compiles_late {
        check_local_arrays(kernel, device.plan.compile_limit)?;
    }
    match fulgurite_spirv::unsupported(kernel, profile) {
        Some(needs) => Err(Error::unsupported(needs, "no such thing")),
        None => Ok(()),
    }
}

/// Compiles `kernel` for `profile`, which the device supports.
pub(crate) fn compile_for(
    device: &Arc<Device>,
    kernel: Arc<VerifiedKernel>,
    profile: &Profile,
    policy: CachePolicy,
) -> Result<VulkanExecutable, Error> {
    admit(device, &kernel, profile)?;
    let form = form(device, &kernel, profile, policy)?;
    Ok(VulkanExecutable::new(device, kernel, profile.clone(), policy, form))
}

/// A form of a kernel, with its identity and origin.
struct Form {
    artifact: Artifact,
    digest: Digest,
    origin: CacheOrigin,
}

/// Makes one form of `kernel`.
fn form(
    device: &Arc<Device>,
    kernel: &VerifiedKernel,
    profile: &Profile,
    policy: CachePolicy,
) -> Result<Form, Error> {
    if let Some(needs) = fulgurite_spirv::unsupported(kernel, profile) {
        return Err(Error::unsupported(needs, "no such thing"));
    }
    let (module, lowering) = device.kept().module(kernel, profile, policy);
    form_of(device, kernel, module, flags(profile), policy, |pipeline| {
        pipeline_store::origin(lowering, pipeline)
    })
}

fn form_of(
    device: &Arc<Device>,
    kernel: &VerifiedKernel,
    module: Module,
    flags: vk::PipelineCreateFlags,
    policy: CachePolicy,
    origin: impl FnOnce(MadePipeline) -> CacheOrigin,
) -> Result<Form, Error> {
    check_layout(&module.layout, &device.plan.bounds)?;
    check_module(&module)?;
    let key = pipeline_store::key(kernel, &module);
    let mut pipeline = Pipeline::with_layouts(Arc::clone(device), &module.layout)?;
    let made = {
        let shader = Shader::create(device, &module, &pipeline, flags)?;
        let artifact = || artifact_digest(&module.to_bytes());
        let source = Source { functions: &shader, key, policy: shader.policy(), artifact: &artifact };
        let made = device.kept().pipeline(&source, policy);
        if shader.is_left.get() {
            // The driver may still use the pipeline's layouts, and the device.
            std::mem::forget(pipeline);
            return Err(DeviceError::CompileTimeout(device.plan.compile_limit).into());
        }
        made.map_err(|failure| {
            failure.into_error(|result| device.fail("vkCreateComputePipelines", result, 0))
        })?
    };
    pipeline.handle = made.handle;
    let artifact = Artifact { layout: module.layout, pipeline };
    Ok(Form { artifact, digest: form_digest(&key, flags), origin: origin(made) })
}

fn form_digest(key: &PipelineCacheKey, flags: vk::PipelineCreateFlags) -> Digest {
    DigestBuilder::new("fulgurite vulkan executable 2")
        .digest(&key.digest())
        .number(flags.as_raw().into())
        .finish()
}

/// Returns the flags of pipelines. `DISPATCH_BASE`, because a large grid is dispatched in parts.
fn flags(profile: &Profile) -> vk::PipelineCreateFlags {
    let base = vk::PipelineCreateFlags::DISPATCH_BASE;
    if profile.optimize { base } else { base | vk::PipelineCreateFlags::DISABLE_OPTIMIZATION }
}

/// Compiles a foreign module, to be bound and launched as if it were emitted from `signature`.
///
/// # Safety
/// The module must be valid, use only features that the device's plan enables, bind only what the layout of `signature`
/// says, stay within its buffers and terminate.
#[cfg(feature = "foreign")]
pub(crate) unsafe fn compile_foreign(
    device: &Arc<Device>,
    signature: Arc<VerifiedKernel>,
    words: &[u32],
) -> Result<VulkanExecutable, Error> {
    device.check_alive()?;
    let profile = device.plan.profile.clone();
    let layout = Layout::new(&signature, &profile, false);
    let module = Module { words: words.to_vec(), layout };
    let policy = CachePolicy::Off;
    let form = form_of(device, &signature, module, flags(&profile), policy, |_| CacheOrigin::default())?;
    Ok(VulkanExecutable::new(device, signature, profile, policy, form))
}

impl VulkanExecutable {
    fn new(
        device: &Arc<Device>,
        kernel: Arc<VerifiedKernel>,
        profile: Profile,
        policy: CachePolicy,
        bound: Form,
    ) -> Self {
        let alignments = (0..kernel.buffers.len()).map(|i| {
            let elements = kernel.aliases(Memory::Buffer(BufferId::new(i))).map(|m| kernel.element(m).size());
            elements
                .fold(device.plan.bounds.descriptor_alignment, |all, size| least_multiple(all, size.into()))
        });
        let alignments = alignments.collect();
        let (offset, addressed) = (OnceLock::new(), OnceLock::new());
        let Form { artifact: bound, digest, origin } = bound;
        let (device, id) = (Arc::clone(device), format!("{BACKEND}:{digest}"));
        Self { kernel, device, digest, id, origin, profile, policy, alignments, bound, offset, addressed }
    }

    /// Returns the digest of the lowered kernel and its pipeline flags.
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the form for buffer ranges whose descriptors are at most `largest` bytes long, and which begin
    /// `before` bytes after the start of their descriptors.
    pub(crate) fn artifact(&self, largest: u64, before: &[u64]) -> Result<&Artifact, Error> {
        let addresses = largest > self.device.plan.bounds.max_descriptor_bytes;
        let form = match before.iter().any(|bytes| *bytes > 0) {
            _ if addresses => &self.addressed,
            true => &self.offset,
            false => return Ok(&self.bound),
        };
        if let Some(made) = form.get() {
            return Ok(made);
        }
        let mut profile = self.profile.clone();
        if addresses {
            profile.addresses = true;
        } else {
            profile.offsets = true;
        }
        let made = self::form(&self.device, &self.kernel, &profile, self.policy)?;
        // If another thread was faster, this form is dropped.
        Ok(form.get_or_init(|| made.artifact))
    }
}

/// Returns the least common multiple.
fn least_multiple(a: u64, b: u64) -> u64 {
    let (mut divisor, mut rest) = (a, b);
    while rest > 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    a / divisor.max(1) * b
}

impl Pipeline {
    /// Creates the layouts of a pipeline that is yet to be created.
    fn with_layouts(device: Arc<Device>, layout: &Layout) -> Result<Self, Error> {
        let mut pipeline = Self {
            device,
            set_layout: vk::DescriptorSetLayout::null(),
            layout: vk::PipelineLayout::null(),
            handle: vk::Pipeline::null(),
        };
        pipeline.create_layouts(layout)?;
        Ok(pipeline)
    }

    fn create_layouts(&mut self, layout: &Layout) -> Result<(), Error> {
        let device = &self.device;
        let bindings: Vec<_> = layout
            .bindings()
            .into_iter()
            .map(|binding| {
                vk::DescriptorSetLayoutBinding::default()
                    .binding(binding)
                    .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                    .descriptor_count(1)
                    .stage_flags(vk::ShaderStageFlags::COMPUTE)
            })
            .collect();
        let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
        // SAFETY: the device is alive; the number of bindings was checked against its limits.
        self.set_layout = unsafe { device.raw.create_descriptor_set_layout(&info, None) }
            .map_err(|r| device.fail("vkCreateDescriptorSetLayout", r, 0))?;

        let sets = [self.set_layout];
        let ranges = [vk::PushConstantRange::default()
            .stage_flags(vk::ShaderStageFlags::COMPUTE)
            .size(pushed_bytes(layout))];
        let mut info = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
        if pushed_bytes(layout) > 0 {
            info = info.push_constant_ranges(&ranges);
        }
        // SAFETY: as above; the push constants were checked as well.
        self.layout = unsafe { device.raw.create_pipeline_layout(&info, None) }
            .map_err(|r| device.fail("vkCreatePipelineLayout", r, 0))?;
        Ok(())
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        let _inside = exit::enter();
        if self.device.is_lost() {
            return;
        }
        let raw = &self.device.raw;
        // SAFETY: on a device that is not lost, every launch was waited for by its caller, who held this
        // pipeline. The handles are null or of this device.
        unsafe {
            raw.destroy_pipeline(self.handle, None);
            raw.destroy_pipeline_layout(self.layout, None);
            raw.destroy_descriptor_set_layout(self.set_layout, None);
        }
    }
}

/// The inputs of a pipeline, which any thread may create it from.
#[derive(Clone)]
struct Parts {
    device: Arc<Device>,
    module: vk::ShaderModule,
    layout: vk::PipelineLayout,
    flags: vk::PipelineCreateFlags,
}

/// A shader module, with everything that a pipeline of it needs.
struct Shader<'l> {
    parts: Parts,
    set_layout: vk::DescriptorSetLayout,
    /// The bindings and the push constants.
    bound: &'l Layout,
    /// True if a driver that took too long may still use the inputs, which are then never destroyed.
    is_left: Cell<bool>,
}

impl<'l> Shader<'l> {
    fn create(
        device: &Arc<Device>,
        module: &'l Module,
        pipeline: &Pipeline,
        flags: vk::PipelineCreateFlags,
    ) -> Result<Self, Error> {
        let bound = &module.layout;
        let info = vk::ShaderModuleCreateInfo::default().code(&module.words);
        // SAFETY: the words were emitted from a verified kernel, by this process or by the one that stored
        // them, so they are a valid module that uses only features of the profile, and so of the device. Stored
        // words are intact, and come from a place where only this user and the system write, or from a pack
        // that the caller vouched for.
        let module = unsafe { device.raw.create_shader_module(&info, None) }
            .map_err(|r| device.fail("vkCreateShaderModule", r, 0))?;
        let parts = Parts { device: Arc::clone(device), module, layout: pipeline.layout, flags };
        Ok(Self { parts, set_layout: pipeline.set_layout, bound, is_left: Cell::new(false) })
    }

    /// Returns the digest of the pipeline options other than module and layout.
    fn policy(&self) -> Digest {
        DigestBuilder::new("fulgurite vulkan pipeline policy 1")
            .number(self.parts.flags.as_raw().into())
            .number(self.parts.subgroup_size().unwrap_or_default().into())
            .finish()
    }

    /// Dispatches no workgroups, so that a driver that compiles a pipeline at its first dispatch does so now.
    /// Otherwise the first launch would include the compile, and could exceed its timeout. Returns false if the
    /// driver takes too long. Any other failure is left for the first launch to report.
    fn dispatch_nothing(&self, pipeline: vk::Pipeline) -> bool {
        let device = &self.parts.device;
        let Ok(mut lease) = device.lease() else { return true };
        // SAFETY: the pipeline and its layouts live until the lease is done, or are never destroyed.
        let begun = unsafe { self.submit_nothing(&mut lease, pipeline) };
        match begun.and_then(|ticket| device.wait(ticket, device.plan.compile_limit)) {
            Ok(Waited::Expired) => {
                std::mem::forget(lease);
                return false;
            }
            Ok(Waited::Done) => lease.done(),
            Err(_) => {}
        }
        true
    }

    /// Submits a dispatch of no workgroups.
    ///
    /// # Safety
    /// The pipeline and its layouts must live until the submission is done.
    unsafe fn submit_nothing(&self, lease: &mut Lease, pipeline: vk::Pipeline) -> Result<Ticket, Error> {
        let device = &self.parts.device;
        lease.reset_descriptors()?;
        let bindings = self.bound.bindings();
        let mut set = vk::DescriptorSet::null();
        if !bindings.is_empty() {
            // The buffer is not accessed, but each binding needs one.
            let info = [lease.slot().control.descriptor(lease.slot().control_range(0))];
            set = allocate_set(device, lease.slot(), self.set_layout)?;
            let writes: Vec<_> = bindings.iter().map(|binding| write_of(set, *binding, &info)).collect();
            // SAFETY: the set is new and used by no submission; the buffer is the slot's own.
            unsafe { device.raw.update_descriptor_sets(&writes, &[]) };
        }
        let pushed = pushed_bytes(self.bound);
        lease.record(|raw, commands| {
            let point = vk::PipelineBindPoint::COMPUTE;
            // SAFETY: `commands` is being recorded; pipeline, set and push constants are compatible.
            unsafe {
                raw.cmd_bind_pipeline(commands, point, pipeline);
                if set != vk::DescriptorSet::null() {
                    raw.cmd_bind_descriptor_sets(commands, point, self.parts.layout, 0, &[set], &[]);
                }
                if pushed > 0 {
                    let (stage, zeros) = (vk::ShaderStageFlags::COMPUTE, vec![0; pushed as usize]);
                    raw.cmd_push_constants(commands, self.parts.layout, stage, 0, &zeros);
                }
                raw.cmd_dispatch(commands, 0, 0, 0);
            }
        })?;
        // A driver that takes too long delays all later work, which should wait rather than mark the device as lost.
        let budget = device.plan.compile_limit.saturating_mul(LATER);
        // SAFETY: by this function's contract; the recorded commands refer to nothing else besides the lease's
        // own objects.
        unsafe { lease.submit(budget, &[]) }
    }
}

impl Parts {
    /// Returns the subgroup size that pipelines request, if they request one.
    fn subgroup_size(&self) -> Option<u32> {
        let plan = &self.device.plan;
        plan.features.subgroup_size_control.then_some(plan.profile.subgroup_size)
    }

    fn create_pipeline(&self, with: With<'_>) -> VkResult<(vk::Pipeline, Feedback)> {
        let stage = vk::PipelineShaderStageCreateInfo::default()
            .stage(vk::ShaderStageFlags::COMPUTE)
            .module(self.module)
            .name(c"main");
        let mut size = vk::PipelineShaderStageRequiredSubgroupSizeCreateInfo::default()
            .required_subgroup_size(self.subgroup_size().unwrap_or_default());
        let stage = if self.subgroup_size().is_some() { stage.push_next(&mut size) } else { stage };
        let (mut flags, mut cache) = (self.flags, vk::PipelineCache::null());
        let captured = vk::PipelineCreateFlags2KHR::from_raw(self.flags.as_raw().into()) | CAPTURE_DATA;
        let mut capture = vk::PipelineCreateFlags2CreateInfoKHR::default().flags(captured);
        let mut binaries = BinaryInfo::new(match with {
            With::Binaries(binaries) => binaries,
            _ => &[],
        });
        let mut said = vk::PipelineCreationFeedback::default();
        let mut feedback =
            vk::PipelineCreationFeedbackCreateInfo::default().pipeline_creation_feedback(&mut said);
        let mut info = vk::ComputePipelineCreateInfo::default().stage(stage).layout(self.layout);
        match with {
            With::Compiler => {}
            With::CapturingCompiler => info = info.push_next(&mut capture),
            With::Cache(kept) => {
                cache = kept;
                info = info.push_next(&mut feedback);
            }
            With::CacheOnly(kept) => {
                cache = kept;
                flags |= vk::PipelineCreateFlags::FAIL_ON_PIPELINE_COMPILE_REQUIRED;
            }
            With::Binaries(_) => info = info.push_next(&mut binaries),
        }
        let info = info.flags(flags);
        // SAFETY: the layout was made from the module's own; the workgroup was checked against the limits; the
        // cache and the binaries are of this device, and everything that `info` points to outlives the call.
        let created = unsafe { self.device.raw.create_compute_pipelines(cache, &[info], None) };
        // With `FAIL_ON_PIPELINE_COMPILE_REQUIRED`, a pipeline that needs a compile is null, and the result is
        // not an error.
        let handle = match created {
            Ok(handles) => handles.first().copied().unwrap_or_default(),
            Err((_, result)) => return Err(result),
        };
        if handle == vk::Pipeline::null() {
            return Err(vk::Result::PIPELINE_COMPILE_REQUIRED);
        }
        let feedback = match said.flags {
            flags if !flags.contains(vk::PipelineCreationFeedbackFlags::VALID) => Feedback::Silent,
            flags if flags.contains(vk::PipelineCreationFeedbackFlags::APPLICATION_PIPELINE_CACHE_HIT) => {
                Feedback::Hit
            }
            _ => Feedback::Missed,
        };
        Ok((handle, feedback))
    }
}

impl Functions for Shader<'_> {
    fn create_pipeline(&self, with: With<'_>) -> VkResult<(vk::Pipeline, Feedback)> {
        let compiling = match with {
            With::Compiler => Some(With::Compiler),
            With::CapturingCompiler => Some(With::CapturingCompiler),
            With::Cache(cache) => Some(With::Cache(cache)),
            // These never compile, so they need no other thread.
            With::CacheOnly(_) | With::Binaries(_) => None,
        };
        let plan = &self.parts.device.plan;
        let made = match compiling {
            None => Some(self.parts.create_pipeline(with)),
            Some(with) => {
                let parts = self.parts.clone();
                compiler::within(plan.compile_limit, move || parts.create_pipeline(with))
            }
        };
        let in_time = match made {
            Some(Ok((pipeline, _))) if plan.compiles_late => self.dispatch_nothing(pipeline),
            Some(_) => true,
            None => false,
        };
        match made.filter(|_| in_time) {
            Some(made) => made,
            None => {
                self.is_left.set(true);
                Err(vk::Result::TIMEOUT)
            }
        }
    }

    fn create_cache(&self, data: &[u8]) -> VkResult<vk::PipelineCache> {
        let info = vk::PipelineCacheCreateInfo::default().initial_data(data);
        // SAFETY: the data is empty, or its header shows that this driver wrote it for this device.
        unsafe { self.parts.device.raw.create_pipeline_cache(&info, None) }
    }

    fn cache_data(&self, cache: vk::PipelineCache) -> VkResult<Vec<u8>> {
        if self.is_left.get() {
            return Err(vk::Result::TIMEOUT);
        }
        // SAFETY: the cache is of this device.
        unsafe { self.parts.device.raw.get_pipeline_cache_data(cache) }
    }

    fn destroy_cache(&self, cache: vk::PipelineCache) {
        if self.is_left.get() {
            return;
        }
        // SAFETY: the cache is of this device, and no call uses it.
        unsafe { self.parts.device.raw.destroy_pipeline_cache(cache, None) };
    }

    fn captured(&self, pipeline: vk::Pipeline) -> VkResult<Vec<StoredBinary>> {
        let functions = self.parts.device.binaries().ok_or(vk::Result::ERROR_EXTENSION_NOT_PRESENT)?;
        functions.captured(pipeline)
    }

    fn create_binaries(&self, stored: &[StoredBinary]) -> VkResult<Vec<PipelineBinary>> {
        let functions = self.parts.device.binaries().ok_or(vk::Result::ERROR_EXTENSION_NOT_PRESENT)?;
        functions.restore(stored)
    }

    fn destroy_binaries(&self, binaries: &[PipelineBinary]) {
        if let Some(functions) = self.parts.device.binaries() {
            functions.destroy(binaries);
        }
    }
}

impl Drop for Shader<'_> {
    fn drop(&mut self) {
        if self.is_left.get() {
            return;
        }
        // SAFETY: a shader module is needed only while pipelines are created from it.
        unsafe { self.parts.device.raw.destroy_shader_module(self.parts.module, None) };
    }
}
