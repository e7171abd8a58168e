//! The least that a program which calls Vulkan itself would do for the same launches, with the SPIR-V that ours has.

use anyhow::Context as _;
use ash::vk;
use fulgurite_spirv::Profile;

use super::{BYTES, CHAIN, Contender, MANY};
use crate::SMALL;

/// No wait takes longer, in nanoseconds.
const LIMIT: u64 = 10_000_000_000;

/// A device of Vulkan's, and all that the launches need. It lives as long as the process.
pub(super) struct Raw {
    device: ash::Device,
    queue: vk::Queue,
    semaphore: vk::Semaphore,
    value: u64,
    one: vk::CommandBuffer,
    many: Vec<vk::CommandBuffer>,
    chain: vk::CommandBuffer,
    pipeline: vk::Pipeline,
    layout: vk::PipelineLayout,
    set: vk::DescriptorSet,
    mapped: *const u8,
    _entry: ash::Entry,
}

impl Raw {
    pub(super) fn open() -> anyhow::Result<Self> {
        let kernel = fulgurite::ir::text::parse(SMALL).and_then(fulgurite::ir::verify)?;
        let module = fulgurite_spirv::emit(&kernel, &Profile::least());
        anyhow::ensure!(module.layout.bindings() == [0], "the kernel binds more than its buffer");
        // SAFETY: plain Vulkan in the order that its specification asks for; whatever fails is left to the process's end.
        unsafe {
            let entry = ash::Entry::load().context("no Vulkan loader")?;
            let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let info = vk::InstanceCreateInfo::default().application_info(&application);
            let instance = entry.create_instance(&info, None)?;
            let physical = *instance.enumerate_physical_devices()?.first().context("no Vulkan device")?;
            let families = instance.get_physical_device_queue_family_properties(physical);
            let family = families
                .iter()
                .position(|f| f.queue_flags.contains(vk::QueueFlags::COMPUTE))
                .context("no compute queue")? as u32;
            let queues =
                [vk::DeviceQueueCreateInfo::default().queue_family_index(family).queue_priorities(&[1.0])];
            let mut v12 = vk::PhysicalDeviceVulkan12Features::default()
                .timeline_semaphore(true)
                .vulkan_memory_model(true);
            let mut v13 = vk::PhysicalDeviceVulkan13Features::default().synchronization2(true);
            let info = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queues)
                .push_next(&mut v12)
                .push_next(&mut v13);
            let device = instance.create_device(physical, &info, None)?;
            let queue = device.get_device_queue(family, 0);
            let mut kind = vk::SemaphoreTypeCreateInfo::default().semaphore_type(vk::SemaphoreType::TIMELINE);
            let semaphore =
                device.create_semaphore(&vk::SemaphoreCreateInfo::default().push_next(&mut kind), None)?;

            let info =
                vk::BufferCreateInfo::default().size(BYTES).usage(vk::BufferUsageFlags::STORAGE_BUFFER);
            let buffer = device.create_buffer(&info, None)?;
            let needs = device.get_buffer_memory_requirements(buffer);
            let memory = instance.get_physical_device_memory_properties(physical);
            let visible = vk::MemoryPropertyFlags::HOST_VISIBLE | vk::MemoryPropertyFlags::HOST_COHERENT;
            let fits = |(i, kind): (usize, &vk::MemoryType)| {
                needs.memory_type_bits >> i & 1 == 1 && kind.property_flags.contains(visible)
            };
            let kind =
                memory.memory_types_as_slice().iter().enumerate().position(fits).context("no memory")?;
            let info =
                vk::MemoryAllocateInfo::default().allocation_size(needs.size).memory_type_index(kind as u32);
            let memory = device.allocate_memory(&info, None)?;
            device.bind_buffer_memory(buffer, memory, 0)?;
            let mapped = device.map_memory(memory, 0, BYTES, vk::MemoryMapFlags::empty())?.cast::<u8>();

            let bindings = [vk::DescriptorSetLayoutBinding::default()
                .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                .descriptor_count(1)
                .stage_flags(vk::ShaderStageFlags::COMPUTE)];
            let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            let sets = [device.create_descriptor_set_layout(&info, None)?];
            let constants =
                [vk::PushConstantRange::default().stage_flags(vk::ShaderStageFlags::COMPUTE).size(4)];
            let info =
                vk::PipelineLayoutCreateInfo::default().set_layouts(&sets).push_constant_ranges(&constants);
            let layout = device.create_pipeline_layout(&info, None)?;
            let shader = device
                .create_shader_module(&vk::ShaderModuleCreateInfo::default().code(&module.words), None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(shader)
                .name(c"main");
            let info = vk::ComputePipelineCreateInfo::default().stage(stage).layout(layout);
            let made = device.create_compute_pipelines(vk::PipelineCache::null(), &[info], None);
            let pipeline = *made.map_err(|(_, result)| result)?.first().context("no pipeline")?;

            let sizes = [vk::DescriptorPoolSize::default()
                .ty(vk::DescriptorType::STORAGE_BUFFER)
                .descriptor_count(1)];
            let info = vk::DescriptorPoolCreateInfo::default().max_sets(1).pool_sizes(&sizes);
            let descriptors = device.create_descriptor_pool(&info, None)?;
            let info =
                vk::DescriptorSetAllocateInfo::default().descriptor_pool(descriptors).set_layouts(&sets);
            let set = *device.allocate_descriptor_sets(&info)?.first().context("no set")?;
            let buffers = [vk::DescriptorBufferInfo::default().buffer(buffer).range(vk::WHOLE_SIZE)];
            let write = vk::WriteDescriptorSet::default()
                .dst_set(set)
                .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                .buffer_info(&buffers);
            device.update_descriptor_sets(&[write], &[]);

            let info = vk::CommandPoolCreateInfo::default()
                .flags(vk::CommandPoolCreateFlags::RESET_COMMAND_BUFFER)
                .queue_family_index(family);
            let pool = device.create_command_pool(&info, None)?;
            let info = vk::CommandBufferAllocateInfo::default()
                .command_pool(pool)
                .command_buffer_count(2 + MANY as u32);
            let commands = device.allocate_command_buffers(&info)?;
            let (one, chain, many) = (commands[0], commands[1], commands[2..].to_vec());
            let raw = Self {
                device,
                queue,
                semaphore,
                value: 0,
                one,
                many,
                chain,
                pipeline,
                layout,
                set,
                mapped,
                _entry: entry,
            };
            raw.record(chain, CHAIN)?;
            Ok(raw)
        }
    }

    /// Records `count` dispatches, each behind the one before.
    fn record(&self, commands: vk::CommandBuffer, count: usize) -> anyhow::Result<()> {
        let device = &self.device;
        let barriers = [vk::MemoryBarrier2::default()
            .src_stage_mask(vk::PipelineStageFlags2::COMPUTE_SHADER)
            .src_access_mask(vk::AccessFlags2::MEMORY_WRITE)
            .dst_stage_mask(vk::PipelineStageFlags2::COMPUTE_SHADER | vk::PipelineStageFlags2::HOST)
            .dst_access_mask(vk::AccessFlags2::MEMORY_READ | vk::AccessFlags2::MEMORY_WRITE)];
        let barrier = vk::DependencyInfo::default().memory_barriers(&barriers);
        let length = (BYTES / 4) as u32;
        // SAFETY: as in `open`; the commands are not under way.
        unsafe {
            device.begin_command_buffer(commands, &vk::CommandBufferBeginInfo::default())?;
            device.cmd_bind_pipeline(commands, vk::PipelineBindPoint::COMPUTE, self.pipeline);
            let sets = [self.set];
            device.cmd_bind_descriptor_sets(
                commands,
                vk::PipelineBindPoint::COMPUTE,
                self.layout,
                0,
                &sets,
                &[],
            );
            let stage = vk::ShaderStageFlags::COMPUTE;
            device.cmd_push_constants(commands, self.layout, stage, 0, &length.to_ne_bytes());
            for _ in 0..count {
                device.cmd_dispatch(commands, 1, 1, 1);
                device.cmd_pipeline_barrier2(commands, &barrier);
            }
            device.end_command_buffer(commands)?;
        }
        Ok(())
    }

    /// Submits commands, for the semaphore to have the next value when they are done.
    fn submit(&mut self, commands: vk::CommandBuffer) -> anyhow::Result<()> {
        self.value += 1;
        let commands = [vk::CommandBufferSubmitInfo::default().command_buffer(commands)];
        let signals = [vk::SemaphoreSubmitInfo::default()
            .semaphore(self.semaphore)
            .value(self.value)
            .stage_mask(vk::PipelineStageFlags2::ALL_COMMANDS)];
        let submit =
            vk::SubmitInfo2::default().command_buffer_infos(&commands).signal_semaphore_infos(&signals);
        // SAFETY: as in `open`; the commands are not under way.
        unsafe { self.device.queue_submit2(self.queue, &[submit], vk::Fence::null())? };
        Ok(())
    }

    /// Waits for all that was submitted.
    fn wait(&self) -> anyhow::Result<()> {
        let (semaphores, values) = ([self.semaphore], [self.value]);
        let wait = vk::SemaphoreWaitInfo::default().semaphores(&semaphores).values(&values);
        // SAFETY: as in `open`.
        unsafe { self.device.wait_semaphores(&wait, LIMIT)? };
        Ok(())
    }

    /// Records a dispatch anew.
    fn again(&self, commands: vk::CommandBuffer) -> anyhow::Result<()> {
        // SAFETY: the command buffer is of this pool, and was waited for.
        unsafe { self.device.reset_command_buffer(commands, vk::CommandBufferResetFlags::empty())? };
        self.record(commands, 1)
    }
}

impl Contender for Raw {
    fn one(&mut self) -> anyhow::Result<()> {
        self.again(self.one)?;
        self.submit(self.one)?;
        self.wait()
    }

    fn many(&mut self) -> anyhow::Result<()> {
        for at in 0..self.many.len() {
            self.again(self.many[at])?;
            self.submit(self.many[at])?;
        }
        self.wait()
    }

    fn chain(&mut self) -> anyhow::Result<()> {
        self.submit(self.chain)?;
        self.wait()
    }

    fn written(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = vec![0; BYTES as usize];
        // SAFETY: as many bytes are mapped, and the device is idle.
        unsafe { self.mapped.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
        Ok(bytes)
    }
}
