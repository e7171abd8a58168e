//! Command slots: the objects that one launch or copy records into and owns while it runs, reused afterwards.

use std::mem::ManuallyDrop;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ash::vk;
use fulgurite_hal::Error;
use fulgurite_spec::limits::MAX_DECLARATIONS;
use fulgurite_spirv::{ControlWord, Layout};
use gpu_allocator::MemoryLocation;
use gpu_allocator::vulkan::Allocator;

use crate::device::Device;
use crate::exit;
use crate::lock::lock;
use crate::memory::Memory;
use crate::sync::{BufferSync, Ticket};

/// Descriptors for a kernel's buffers, the control buffer and the parameter block.
const MOST_DESCRIPTORS: u32 = MAX_DECLARATIONS as u32 + 2;
/// Minimum size of a staging buffer in bytes.
const LEAST_STAGING: u64 = 64 << 10;

/// The reusable objects of a launch, a graph of launches or a copy.
pub(crate) struct Slot {
    pool: vk::CommandPool,
    pub(crate) commands: vk::CommandBuffer,
    pub(crate) descriptors: vk::DescriptorPool,
    /// Null if the device does not support timestamps.
    pub(crate) queries: vk::QueryPool,
    /// The control buffers of [`Layout`], one per launch; see [`control_range`](Self::control_range).
    pub(crate) control: Memory,
    /// Bytes from one control buffer to the next.
    control_stride: u64,
    /// Memory for parameter blocks that are not in push constants, or for staging; grown as needed.
    scratch: Option<Memory>,
}

impl Slot {
    /// Creates a slot for `launches` launches of one submission, with `descriptors` descriptors in all.
    fn create(device: &Device, launches: u32, descriptors: u32) -> Result<Self, Error> {
        let control_stride = Layout::CONTROL_BYTES.next_multiple_of(device.plan.bounds.descriptor_alignment);
        let control_bytes = control_stride * u64::from(launches.max(1));
        let control = device.create_memory(control_bytes, MemoryLocation::CpuToGpu)?;
        let mut slot = Self {
            pool: vk::CommandPool::null(),
            commands: vk::CommandBuffer::null(),
            descriptors: vk::DescriptorPool::null(),
            queries: vk::QueryPool::null(),
            control,
            control_stride,
            scratch: None,
        };
        match slot.fill(device, launches, descriptors) {
            Ok(()) => Ok(slot),
            Err(error) => {
                slot.destroy(&device.raw, &mut device.allocator());
                Err(error)
            }
        }
    }

    fn fill(&mut self, device: &Device, launches: u32, descriptors: u32) -> Result<(), Error> {
        let raw = &device.raw;
        let info = vk::CommandPoolCreateInfo::default()
            .flags(vk::CommandPoolCreateFlags::TRANSIENT)
            .queue_family_index(device.plan.queue_family);
        // SAFETY: the device is alive, as for every call of this function.
        self.pool = unsafe { raw.create_command_pool(&info, None) }
            .map_err(|r| device.fail("vkCreateCommandPool", r, 0))?;
        let info = vk::CommandBufferAllocateInfo::default().command_pool(self.pool).command_buffer_count(1);
        // SAFETY: the pool was just created, and nothing else uses it.
        let commands = unsafe { raw.allocate_command_buffers(&info) }
            .map_err(|r| device.fail("vkAllocateCommandBuffers", r, 0))?;
        self.commands = commands.first().copied().unwrap_or_default();

        let sizes = [vk::DescriptorPoolSize::default()
            .ty(vk::DescriptorType::STORAGE_BUFFER)
            .descriptor_count(descriptors.max(1))];
        let sets = launches.max(1);
        let info = vk::DescriptorPoolCreateInfo::default().max_sets(sets).pool_sizes(&sizes);
        // SAFETY: as above.
        self.descriptors = unsafe { raw.create_descriptor_pool(&info, None) }
            .map_err(|r| device.fail("vkCreateDescriptorPool", r, 0))?;
        if device.plan.timestamps.is_some() {
            let info = vk::QueryPoolCreateInfo::default().query_type(vk::QueryType::TIMESTAMP).query_count(2);
            // SAFETY: as above.
            self.queries = unsafe { raw.create_query_pool(&info, None) }
                .map_err(|r| device.fail("vkCreateQueryPool", r, 0))?;
        }
        Ok(())
    }

    /// Returns the byte range of the control buffer of launch `launch`, counted from 0.
    pub(crate) fn control_range(&self, launch: u32) -> Range<u64> {
        let start = self.control_stride * u64::from(launch);
        start..start + Layout::CONTROL_BYTES
    }

    /// Returns the index of the first word of a launch's control buffer.
    fn control_at(&self, launch: u32) -> u32 {
        (self.control_range(launch).start / 4) as u32
    }

    /// Zeroes the control buffer of a launch.
    pub(crate) fn clear_control(&self, launch: u32) -> Result<(), Error> {
        let first = self.control_at(launch);
        (0..(Layout::CONTROL_BYTES / 4) as u32).try_for_each(|i| self.control.write_word(first + i, 0))
    }

    /// Reads a word of a launch's control buffer.
    pub(crate) fn control_word(&self, launch: u32, word: ControlWord) -> Result<u32, Error> {
        self.control.read_word(self.control_at(launch) + word as u32)
    }

    /// Sets the abort word of a launch.
    pub(crate) fn abort(&self, launch: u32) -> Result<(), Error> {
        self.control.write_word(self.control_at(launch) + ControlWord::Abort as u32, 1)
    }

    /// Returns the memory that [`Lease::scratch`] made, if any.
    pub(crate) fn scratch(&self) -> Option<&Memory> {
        self.scratch.as_ref()
    }

    /// Destroys the slot, which must not be in use by a submission.
    pub(crate) fn destroy(self, device: &ash::Device, allocator: &mut Allocator) {
        // SAFETY: only idle slots are destroyed; the handles are null or of this device, and are used nowhere else.
        unsafe {
            device.destroy_query_pool(self.queries, None);
            device.destroy_descriptor_pool(self.descriptors, None);
            device.destroy_command_pool(self.pool, None);
        }
        for memory in [Some(self.control), self.scratch].into_iter().flatten() {
            memory.destroy(device, allocator);
        }
    }
}

/// A slot in use. Dropped idle, a shared slot returns to the device and an owned one is destroyed. Dropped while its
/// work runs, the device is lost, because nothing would tell when the slot and its bound buffers are free again.
pub(crate) struct Lease {
    device: Arc<Device>,
    slot: ManuallyDrop<Slot>,
    under_way: bool,
    /// True if the slot was created for this lease and is destroyed with it.
    own: bool,
}

impl Device {
    /// Leases a slot for one launch or copy.
    pub(crate) fn lease(self: &Arc<Self>) -> Result<Lease, Error> {
        self.check_alive()?;
        let idle = lock(&self.idle_slots).pop();
        let slot = match idle {
            Some(slot) => slot,
            None => Slot::create(self, 1, MOST_DESCRIPTORS)?,
        };
        Ok(Lease { device: Arc::clone(self), slot: ManuallyDrop::new(slot), under_way: false, own: false })
    }

    /// Leases a new slot for `launches` launches of one submission, with `descriptors` descriptors in all.
    pub(crate) fn lease_for(self: &Arc<Self>, launches: u32, descriptors: u32) -> Result<Lease, Error> {
        self.check_alive()?;
        let slot = Slot::create(self, launches, descriptors)?;
        Ok(Lease { device: Arc::clone(self), slot: ManuallyDrop::new(slot), under_way: false, own: true })
    }
}

impl Lease {
    /// Returns the device.
    pub(crate) fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Returns the slot.
    pub(crate) fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Returns host-visible memory of at least `bytes` bytes, cached for fast reads by the host.
    pub(crate) fn scratch(&mut self, bytes: u64) -> Result<&Memory, Error> {
        let memory = match self.slot.scratch.take() {
            Some(memory) if memory.bytes() >= bytes => memory,
            old => {
                if let Some(old) = old {
                    old.destroy(&self.device.raw, &mut self.device.allocator());
                }
                let size = bytes.max(LEAST_STAGING).next_power_of_two();
                self.device.create_memory(size, MemoryLocation::GpuToCpu)?
            }
        };
        Ok(self.slot.scratch.insert(memory))
    }

    /// Frees all descriptor sets of the slot.
    pub(crate) fn reset_descriptors(&mut self) -> Result<(), Error> {
        let device = &self.device;
        // SAFETY: the slot is idle, so no submission uses sets of its pool.
        unsafe {
            device.raw.reset_descriptor_pool(self.slot.descriptors, vk::DescriptorPoolResetFlags::empty())
        }
        .map_err(|r| device.fail("vkResetDescriptorPool", r, 0))
    }

    /// Records the commands of `body`, ordered after all earlier work of the queue and before reads by the host.
    pub(crate) fn record(&mut self, body: impl FnOnce(&ash::Device, vk::CommandBuffer)) -> Result<(), Error> {
        let (device, raw, commands) = (&self.device, &self.device.raw, self.slot.commands);
        // SAFETY: the slot is idle, and only this lease uses it.
        unsafe { raw.reset_command_pool(self.slot.pool, vk::CommandPoolResetFlags::empty()) }
            .map_err(|r| device.fail("vkResetCommandPool", r, 0))?;
        let mut info = vk::CommandBufferBeginInfo::default();
        if !self.own {
            info = info.flags(vk::CommandBufferUsageFlags::ONE_TIME_SUBMIT);
        }
        // SAFETY: the command buffer was just reset with its pool.
        unsafe { raw.begin_command_buffer(commands, &info) }
            .map_err(|r| device.fail("vkBeginCommandBuffer", r, 0))?;

        let work = vk::PipelineStageFlags2::COMPUTE_SHADER | vk::PipelineStageFlags2::ALL_TRANSFER;
        let after_earlier = vk::MemoryBarrier2::default()
            .src_stage_mask(vk::PipelineStageFlags2::ALL_COMMANDS)
            .src_access_mask(vk::AccessFlags2::MEMORY_WRITE)
            .dst_stage_mask(work)
            .dst_access_mask(vk::AccessFlags2::MEMORY_READ | vk::AccessFlags2::MEMORY_WRITE);
        let before_host = vk::MemoryBarrier2::default()
            .src_stage_mask(work)
            .src_access_mask(vk::AccessFlags2::MEMORY_WRITE)
            .dst_stage_mask(vk::PipelineStageFlags2::HOST)
            .dst_access_mask(vk::AccessFlags2::HOST_READ | vk::AccessFlags2::HOST_WRITE);
        barrier(raw, commands, after_earlier);
        body(raw, commands);
        barrier(raw, commands, before_host);
        // SAFETY: recording began above.
        unsafe { raw.end_command_buffer(commands) }.map_err(|r| device.fail("vkEndCommandBuffer", r, 0))
    }

    /// Submits the recorded commands; see [`Device::submit`].
    ///
    /// # Safety
    /// The recorded commands must be valid. Everything that they refer to besides this slot must stay alive, and
    /// untouched by the host, until the ticket is reached or the device is lost.
    pub(crate) unsafe fn submit(&mut self, budget: Duration, uses: &[&BufferSync]) -> Result<Ticket, Error> {
        // SAFETY: by this function's contract; `under_way` keeps the slot itself alive.
        let ticket = unsafe { self.device.submit(self.slot.commands, budget, uses) }?;
        self.under_way = true;
        Ok(ticket)
    }

    /// Marks the submission as done, after a wait for it.
    pub(crate) fn done(&mut self) {
        self.under_way = false;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _inside = exit::enter();
        if self.under_way {
            // The caller that waited has the reason; this also covers a panic in between.
            let _ = self.device.lose("a launch that was not waited for");
        }
        if !self.device.is_lost() {
            // SAFETY: the slot is taken only here, and the lease ends.
            let slot = unsafe { ManuallyDrop::take(&mut self.slot) };
            if self.own {
                slot.destroy(&self.device.raw, &mut self.device.allocator());
            } else {
                lock(&self.device.idle_slots).push(slot);
            }
        }
    }
}

pub(crate) fn barrier(device: &ash::Device, commands: vk::CommandBuffer, barrier: vk::MemoryBarrier2<'_>) {
    let barriers = [barrier];
    let info = vk::DependencyInfo::default().memory_barriers(&barriers);
    // SAFETY: `commands` is being recorded, outside a render pass; `synchronization2` is enabled.
    unsafe { device.cmd_pipeline_barrier2(commands, &info) };
}
