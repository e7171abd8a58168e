//! The subset of raw Vulkan that peers need: a device, its queue, buffers, and submission with a wait.

use anyhow::Context as _;
use ash::vk;

/// Timeout of a wait in nanoseconds.
const LIMIT: u64 = 10_000_000_000;

/// A device and its queue. Never destroyed.
pub(crate) struct RawDevice {
    pub(crate) device: ash::Device,
    pub(crate) pool: vk::CommandPool,
    queue: vk::Queue,
    semaphore: vk::Semaphore,
    value: u64,
    memory: vk::PhysicalDeviceMemoryProperties,
    _entry: ash::Entry,
}

/// A device buffer, mapped if it is host-visible.
pub(crate) struct RawBuffer {
    pub(crate) buffer: vk::Buffer,
    pub(crate) mapped: *mut u8,
}

impl RawDevice {
    /// Opens the device with this name.
    pub(crate) fn open(name: &str) -> anyhow::Result<Self> {
        // SAFETY: Vulkan calls in the order that the specification requires; objects created before a failure are
        // leaked.
        unsafe {
            let entry = ash::Entry::load().context("no Vulkan loader")?;
            let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let info = vk::InstanceCreateInfo::default().application_info(&application);
            let instance = entry.create_instance(&info, None)?;
            let is_it = |physical: &vk::PhysicalDevice| {
                let properties = instance.get_physical_device_properties(*physical);
                properties.device_name_as_c_str().is_ok_and(|own| own.to_bytes() == name.as_bytes())
            };
            let physical = instance.enumerate_physical_devices()?.into_iter().find(is_it);
            let physical = physical.with_context(|| format!("there is no Vulkan device `{name}`"))?;
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
            let info = vk::CommandPoolCreateInfo::default()
                .flags(vk::CommandPoolCreateFlags::RESET_COMMAND_BUFFER)
                .queue_family_index(family);
            let pool = device.create_command_pool(&info, None)?;
            let memory = instance.get_physical_device_memory_properties(physical);
            Ok(Self { device, pool, queue, semaphore, value: 0, memory, _entry: entry })
        }
    }

    /// Allocates a buffer in the first available memory type of `wanted`, and maps it if it is host-visible.
    pub(crate) fn buffer(&self, bytes: u64, wanted: &[vk::MemoryPropertyFlags]) -> anyhow::Result<RawBuffer> {
        let usage = vk::BufferUsageFlags::STORAGE_BUFFER
            | vk::BufferUsageFlags::TRANSFER_SRC
            | vk::BufferUsageFlags::TRANSFER_DST;
        // SAFETY: as in `open`.
        unsafe {
            let info = vk::BufferCreateInfo::default().size(bytes).usage(usage);
            let buffer = self.device.create_buffer(&info, None)?;
            let needs = self.device.get_buffer_memory_requirements(buffer);
            let kinds = self.memory.memory_types_as_slice();
            let of = |flags: &vk::MemoryPropertyFlags| {
                let fits = |(i, kind): (usize, &vk::MemoryType)| {
                    needs.memory_type_bits >> i & 1 == 1 && kind.property_flags.contains(*flags)
                };
                kinds.iter().enumerate().position(fits)
            };
            let kind = wanted.iter().find_map(of).context("no memory of that kind")?;
            let info =
                vk::MemoryAllocateInfo::default().allocation_size(needs.size).memory_type_index(kind as u32);
            let memory = self.device.allocate_memory(&info, None)?;
            self.device.bind_buffer_memory(buffer, memory, 0)?;
            let mut mapped = std::ptr::null_mut();
            if kinds[kind].property_flags.contains(vk::MemoryPropertyFlags::HOST_VISIBLE) {
                mapped = self.device.map_memory(memory, 0, bytes, vk::MemoryMapFlags::empty())?.cast::<u8>();
            }
            Ok(RawBuffer { buffer, mapped })
        }
    }

    /// Allocates `count` command buffers.
    pub(crate) fn commands(&self, count: usize) -> anyhow::Result<Vec<vk::CommandBuffer>> {
        let info = vk::CommandBufferAllocateInfo::default()
            .command_pool(self.pool)
            .command_buffer_count(count as u32);
        // SAFETY: as in `open`.
        Ok(unsafe { self.device.allocate_command_buffers(&info)? })
    }

    /// Submits commands that set the semaphore to its next value on completion.
    pub(crate) fn submit(&mut self, commands: vk::CommandBuffer) -> anyhow::Result<()> {
        self.value += 1;
        let commands = [vk::CommandBufferSubmitInfo::default().command_buffer(commands)];
        let signals = [vk::SemaphoreSubmitInfo::default()
            .semaphore(self.semaphore)
            .value(self.value)
            .stage_mask(vk::PipelineStageFlags2::ALL_COMMANDS)];
        let submit =
            vk::SubmitInfo2::default().command_buffer_infos(&commands).signal_semaphore_infos(&signals);
        // SAFETY: as in `open`; the commands are not pending.
        unsafe { self.device.queue_submit2(self.queue, &[submit], vk::Fence::null())? };
        Ok(())
    }

    /// Waits for all submitted work.
    pub(crate) fn wait(&self) -> anyhow::Result<()> {
        let (semaphores, values) = ([self.semaphore], [self.value]);
        let wait = vk::SemaphoreWaitInfo::default().semaphores(&semaphores).values(&values);
        // SAFETY: as in `open`.
        unsafe { self.device.wait_semaphores(&wait, LIMIT)? };
        Ok(())
    }

    /// Records a barrier that makes the writes of stage `before` visible to later commands and the host.
    pub(crate) fn barrier(&self, commands: vk::CommandBuffer, before: vk::PipelineStageFlags2) {
        let barriers = [vk::MemoryBarrier2::default()
            .src_stage_mask(before)
            .src_access_mask(vk::AccessFlags2::MEMORY_WRITE)
            .dst_stage_mask(before | vk::PipelineStageFlags2::HOST)
            .dst_access_mask(vk::AccessFlags2::MEMORY_READ | vk::AccessFlags2::MEMORY_WRITE)];
        let barrier = vk::DependencyInfo::default().memory_barriers(&barriers);
        // SAFETY: as in `open`; the commands are being recorded.
        unsafe { self.device.cmd_pipeline_barrier2(commands, &barrier) };
    }
}
