//! From a module to a compute pipeline, and the identity of what was compiled. Launching it is
//! [`crate::launch`]'s.

use std::sync::{Arc, OnceLock};

use ash::vk;
use fulgurite_driver_core::{CompileOptions, Error};
use fulgurite_ir::{BufferId, Memory, VerifiedKernel};
use fulgurite_spirv::{BlockPlacement, Layout, Module, Profile, emit};

use crate::device::Device;
use crate::error::BACKEND;
use crate::plan::{check_kernel, check_layout, check_module};

/// A kernel compiled for one device.
pub(crate) struct VulkanExecutable {
    pub(crate) kernel: Arc<VerifiedKernel>,
    pub(crate) device: Arc<Device>,
    pub(crate) id: String,
    profile: Profile,
    /// What parts of buffers begin at a multiple of: for each, what holds whole elements and may begin a descriptor.
    pub(crate) alignments: Vec<u64>,
    /// The form that binds buffers by descriptors, but for `large` ones.
    bound: Artifact,
    /// The form for parts of buffers that begin where no descriptor may; made when a launch first has one.
    offset: OnceLock<Artifact>,
    /// The form that reaches every buffer by its address: made when a launch first has a buffer that is larger than a
    /// descriptor reaches.
    addressed: OnceLock<Artifact>,
}

/// One compiled form of a kernel.
pub(crate) struct Artifact {
    pub(crate) layout: Layout,
    pub(crate) pipeline: Pipeline,
}

/// A compute pipeline and its layouts. Handles that were not made are null.
pub(crate) struct Pipeline {
    pub(crate) device: Arc<Device>,
    pub(crate) set_layout: vk::DescriptorSetLayout,
    pub(crate) layout: vk::PipelineLayout,
    pub(crate) handle: vk::Pipeline,
}

/// Compiles `kernel` with the options of a caller.
pub(crate) fn compile(
    device: &Arc<Device>,
    kernel: Arc<VerifiedKernel>,
    options: &CompileOptions,
) -> Result<VulkanExecutable, Error> {
    let mut profile = device.plan.profile.clone();
    profile.debug_names = options.debug_names.unwrap_or(false);
    compile_for(device, kernel, &profile)
}

/// Compiles `kernel` for `profile`, which the device fulfills.
pub(crate) fn compile_for(
    device: &Arc<Device>,
    kernel: Arc<VerifiedKernel>,
    profile: &Profile,
) -> Result<VulkanExecutable, Error> {
    device.check_alive()?;
    Error::check_needs(&kernel, &device.plan.snapshot)?;
    check_kernel(&kernel, &device.plan.snapshot.limits)?;
    let (bound, id) = artifact(device, &kernel, profile)?;
    Ok(VulkanExecutable::new(device, kernel, id, profile.clone(), bound))
}

/// One form of `kernel`, and the identity of what was compiled.
fn artifact(
    device: &Arc<Device>,
    kernel: &VerifiedKernel,
    profile: &Profile,
) -> Result<(Artifact, String), Error> {
    if let Some(needs) = fulgurite_spirv::unsupported(kernel, profile) {
        return Err(Error::unsupported(needs, "no such thing"));
    }
    let module = emit(kernel, profile);
    check_layout(&module.layout, &device.plan.bounds)?;
    check_module(&module)?;
    let id = id(&module);
    let pipeline = Pipeline::create(Arc::clone(device), &module)?;
    Ok((Artifact { layout: module.layout, pipeline }, id))
}

/// A module that others made, bound and launched as one emitted from `signature` would be.
///
/// # Safety
/// The module is valid, uses only what the device's plan has enabled, binds what the layout of `signature` says, stays
/// within its buffers and ends.
#[cfg(feature = "foreign")]
pub(crate) unsafe fn compile_foreign(
    device: &Arc<Device>,
    signature: Arc<VerifiedKernel>,
    words: &[u32],
) -> Result<VulkanExecutable, Error> {
    device.check_alive()?;
    let profile = device.plan.profile.clone();
    let layout = Layout::new(&signature, &profile, false);
    check_layout(&layout, &device.plan.bounds)?;
    let module = Module { words: words.to_vec(), layout };
    let id = id(&module);
    let pipeline = Pipeline::create(Arc::clone(device), &module)?;
    let bound = Artifact { layout: module.layout, pipeline };
    Ok(VulkanExecutable::new(device, signature, id, profile, bound))
}

impl VulkanExecutable {
    fn new(
        device: &Arc<Device>,
        kernel: Arc<VerifiedKernel>,
        id: String,
        profile: Profile,
        bound: Artifact,
    ) -> Self {
        let alignments = (0..kernel.buffers.len()).map(|i| {
            let elements = kernel.aliases(Memory::Buffer(BufferId::new(i))).map(|m| kernel.element(m).size());
            elements
                .fold(device.plan.bounds.descriptor_alignment, |all, size| least_multiple(all, size.into()))
        });
        let alignments = alignments.collect();
        let (offset, addressed) = (OnceLock::new(), OnceLock::new());
        Self { kernel, device: Arc::clone(device), id, profile, alignments, bound, offset, addressed }
    }

    /// The form that can launch on parts of buffers that reach to `largest` bytes of a descriptor at most and begin
    /// `before` bytes after it.
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
        let (made, _) = artifact(&self.device, &self.kernel, &profile)?;
        // Another thread may have been faster: then this one is dropped.
        Ok(form.get_or_init(|| made))
    }
}

/// The least common multiple.
fn least_multiple(a: u64, b: u64) -> u64 {
    let (mut divisor, mut rest) = (a, b);
    while rest > 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    a / divisor.max(1) * b
}

impl Pipeline {
    fn create(device: Arc<Device>, module: &Module) -> Result<Self, Error> {
        let mut pipeline = Self {
            device,
            set_layout: vk::DescriptorSetLayout::null(),
            layout: vk::PipelineLayout::null(),
            handle: vk::Pipeline::null(),
        };
        pipeline.create_layouts(&module.layout)?;
        pipeline.create_pipeline(&module.words)?;
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
            .size(layout.block_words * 4)];
        let mut info = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
        if layout.placement == BlockPlacement::PushConstants && layout.block_words > 0 {
            info = info.push_constant_ranges(&ranges);
        }
        // SAFETY: as above, and so were the push constants.
        self.layout = unsafe { device.raw.create_pipeline_layout(&info, None) }
            .map_err(|r| device.fail("vkCreatePipelineLayout", r, 0))?;
        Ok(())
    }

    fn create_pipeline(&mut self, words: &[u32]) -> Result<(), Error> {
        let device = &self.device;
        let info = vk::ShaderModuleCreateInfo::default().code(words);
        // SAFETY: the words were emitted from a verified kernel, so they are a valid module that uses only what
        // the profile, and so the device, has.
        let shader = unsafe { device.raw.create_shader_module(&info, None) }
            .map_err(|r| device.fail("vkCreateShaderModule", r, 0))?;
        let stage = vk::PipelineShaderStageCreateInfo::default()
            .stage(vk::ShaderStageFlags::COMPUTE)
            .module(shader)
            .name(c"main");
        let mut size = vk::PipelineShaderStageRequiredSubgroupSizeCreateInfo::default()
            .required_subgroup_size(device.plan.profile.subgroup_size);
        let stage =
            if device.plan.features.subgroup_size_control { stage.push_next(&mut size) } else { stage };
        // A one-dimensional grid may be launched in parts.
        let info = vk::ComputePipelineCreateInfo::default()
            .flags(vk::PipelineCreateFlags::DISPATCH_BASE)
            .stage(stage)
            .layout(self.layout);
        // SAFETY: the layout was made from the module's own; the workgroup was checked against the limits.
        let created =
            unsafe { device.raw.create_compute_pipelines(vk::PipelineCache::null(), &[info], None) };
        // SAFETY: a shader module is needed only while pipelines are made from it.
        unsafe { device.raw.destroy_shader_module(shader, None) };
        let handles = created.map_err(|(_, r)| device.fail("vkCreateComputePipelines", r, 0))?;
        self.handle = handles.first().copied().unwrap_or_default();
        Ok(())
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if self.device.is_lost() {
            return;
        }
        let raw = &self.device.raw;
        // SAFETY: of a device that is not lost every launch was waited for by whoever made it, holding this
        // pipeline. The handles are of this device, or null.
        unsafe {
            raw.destroy_pipeline(self.handle, None);
            raw.destroy_pipeline_layout(self.layout, None);
            raw.destroy_descriptor_set_layout(self.set_layout, None);
        }
    }
}

/// The identity of what was compiled: the words, and how they are bound.
fn id(module: &Module) -> String {
    let layout = &module.layout;
    let placement = match layout.placement {
        BlockPlacement::PushConstants => 0,
        BlockPlacement::StorageBuffer { binding } => 1 + u64::from(binding),
    };
    let facts = [
        u64::from(layout.buffers),
        layout.control.map_or(0, |binding| 1 + u64::from(binding)),
        placement,
        u64::from(layout.block_words),
        module.words.len() as u64,
        layout.by_address.iter().fold(1, |bits, by| bits << 1 | u64::from(*by)),
    ];
    let mut hasher = blake3::Hasher::new_derive_key("fulgurite vulkan executable 1");
    for fact in facts {
        hasher.update(&fact.to_le_bytes());
    }
    for word in &module.words {
        hasher.update(&word.to_le_bytes());
    }
    format!("{BACKEND}:{}", hasher.finalize().to_hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fulgurite_ir::Kernel;

    #[test]
    fn the_id_depends_on_words_and_layout() {
        let kernel = Kernel::empty("k", [1, 1, 1]);
        let module = |words: &[u32], control| Module {
            words: words.to_vec(),
            layout: Layout::new(&kernel, &Profile::least(), control),
        };
        let plain = id(&module(&[1, 2], false));
        assert!(plain.starts_with("vulkan:") && plain.len() == 7 + 64, "{plain}");
        assert_eq!(plain, id(&module(&[1, 2], false)));
        assert_ne!(plain, id(&module(&[1, 3], false)));
        assert_ne!(plain, id(&module(&[1, 2], true)));
    }
}
