//! Buffers: device memory, its zeroing, and reads and writes by the host.

use std::any::Any;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use ash::vk;
use fulgurite_hal::{DeviceBuffer, DeviceError, Error, check_copy, check_fill, fill_by_writing};
use fulgurite_spec::Code;
use gpu_allocator::MemoryLocation;
use gpu_allocator::vulkan::{Allocation, AllocationCreateDesc, AllocationScheme, Allocator};

use crate::commands::Lease;
use crate::device::Device;
use crate::error::allocation_error;
use crate::exit;
use crate::plan::{ALIGNMENT, MemoryPlan};
use crate::sync::{BufferSync, Waited};

/// Maximum size of one staging copy in bytes.
const CHUNK: usize = 16 << 20;
/// Time limit of a copy or fill, from the end of all earlier work.
const COPY_BUDGET: Duration = Duration::from_secs(60);

/// A `VkBuffer` with its memory. Must be destroyed explicitly; dropping it leaks the buffer.
pub(crate) struct Memory {
    pub(crate) buffer: vk::Buffer,
    allocation: Allocation,
    bytes: u64,
}

impl Device {
    /// Creates memory of at least `bytes` bytes with undefined contents.
    pub(crate) fn create_memory(&self, bytes: u64, location: MemoryLocation) -> Result<Memory, Error> {
        let most = self.plan.bounds.max_allocation_bytes;
        let size = bytes.max(1).checked_next_multiple_of(ALIGNMENT).filter(|size| *size <= most);
        let size = size.ok_or_else(|| {
            Error::unsupported(format!("a buffer of {bytes} bytes"), format!("at most {most} bytes"))
        })?;
        let info = vk::BufferCreateInfo::default()
            .size(size)
            .usage(
                vk::BufferUsageFlags::STORAGE_BUFFER
                    | vk::BufferUsageFlags::SHADER_DEVICE_ADDRESS
                    | vk::BufferUsageFlags::TRANSFER_SRC
                    | vk::BufferUsageFlags::TRANSFER_DST,
            )
            .sharing_mode(vk::SharingMode::EXCLUSIVE);
        // SAFETY: the device is alive, and the size is within its limit and not 0.
        let buffer = unsafe { self.raw.create_buffer(&info, None) }
            .map_err(|r| self.fail("vkCreateBuffer", r, bytes))?;
        self.bind(buffer, size, location).inspect_err(|_| {
            // SAFETY: the buffer was created above and not shared; no memory in use is bound to it.
            unsafe { self.raw.destroy_buffer(buffer, None) };
        })
    }

    fn bind(&self, buffer: vk::Buffer, bytes: u64, location: MemoryLocation) -> Result<Memory, Error> {
        // SAFETY: `buffer` is of this device.
        let mut requirements = unsafe { self.raw.get_buffer_memory_requirements(buffer) };
        requirements.alignment = requirements.alignment.max(ALIGNMENT);
        let desc = AllocationCreateDesc {
            name: "fulgurite",
            requirements,
            location,
            linear: true,
            allocation_scheme: AllocationScheme::GpuAllocatorManaged,
        };
        let allocation =
            self.allocator().allocate(&desc).map_err(|error| match allocation_error(&error, bytes) {
                DeviceError::Lost(call) => self.lose(call),
                other => other.into(),
            })?;
        // SAFETY: the allocation was made for this buffer's requirements and is bound to nothing else.
        let bound = unsafe { self.raw.bind_buffer_memory(buffer, allocation.memory(), allocation.offset()) };
        if let Err(result) = bound {
            // Nothing uses the allocation; if the allocator cannot free it, it leaks.
            let _ = self.allocator().free(allocation);
            return Err(self.fail("vkBindBufferMemory", result, bytes));
        }
        Ok(Memory { buffer, allocation, bytes })
    }
}

impl Memory {
    /// Returns the descriptor of a range of bytes.
    pub(crate) fn descriptor(&self, bytes: Range<u64>) -> vk::DescriptorBufferInfo {
        let info = vk::DescriptorBufferInfo::default().buffer(self.buffer);
        info.offset(bytes.start).range(bytes.end - bytes.start)
    }

    /// Returns the size in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Destroys the buffer, which must not be in use by a submission.
    pub(crate) fn destroy(self, device: &ash::Device, allocator: &mut Allocator) {
        // SAFETY: the buffer is idle by this function's contract, and is destroyed before its memory.
        unsafe { device.destroy_buffer(self.buffer, None) };
        let freed = allocator.free(self.allocation);
        debug_assert!(freed.is_ok(), "{freed:?}");
    }

    /// Returns the mapped address of `length` bytes from `offset` on.
    fn mapped(&self, offset: u64, length: usize) -> Result<NonNull<u8>, Error> {
        let inside = offset.checked_add(length as u64).is_some_and(|end| end <= self.bytes);
        match self.allocation.mapped_ptr() {
            // SAFETY: the mapping covers the allocation, which is at least `bytes` long.
            Some(base) if inside => Ok(unsafe { base.cast::<u8>().add(offset as usize) }),
            _ => Err(Error::Internal(format!(
                "{length} bytes at {offset} of a buffer of {} bytes are not mapped",
                self.bytes
            ))),
        }
    }

    /// Copies `data` to mapped memory.
    pub(crate) fn write_mapped(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let to = self.mapped(offset, data.len())?;
        // SAFETY: `mapped` checked the range, and `data` cannot overlap memory that only the driver hands out.
        unsafe { to.as_ptr().copy_from_nonoverlapping(data.as_ptr(), data.len()) };
        Ok(())
    }

    /// Copies from mapped memory.
    pub(crate) fn read_mapped(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let from = self.mapped(offset, out.len())?;
        // SAFETY: as in `write_mapped`.
        unsafe { from.as_ptr().copy_to_nonoverlapping(out.as_mut_ptr(), out.len()) };
        Ok(())
    }

    /// Writes a 32-bit word of mapped memory that the device may be reading.
    pub(crate) fn write_word(&self, index: u32, value: u32) -> Result<(), Error> {
        let to = self.mapped(u64::from(index) * 4, 4)?.cast::<u32>();
        // SAFETY: in range, and aligned because base addresses are.
        unsafe { to.as_ptr().write_volatile(value) };
        Ok(())
    }

    /// Reads a 32-bit word of mapped memory.
    pub(crate) fn read_word(&self, index: u32) -> Result<u32, Error> {
        let from = self.mapped(u64::from(index) * 4, 4)?.cast::<u32>();
        // SAFETY: as in `write_word`.
        Ok(unsafe { from.as_ptr().read_volatile() })
    }

    fn zero_mapped(&self) -> Result<(), Error> {
        let to = self.mapped(0, self.bytes as usize)?;
        // SAFETY: `mapped` checked the range.
        unsafe { to.as_ptr().write_bytes(0, self.bytes as usize) };
        Ok(())
    }
}

/// A buffer of this backend.
pub(crate) struct VulkanBuffer {
    device: Arc<Device>,
    // Taken on drop.
    memory: Option<Memory>,
    bytes: u64,
    /// Orders accesses by the host and the device.
    pub(crate) used: BufferSync,
}

impl VulkanBuffer {
    /// Creates a buffer of `bytes` bytes, zeroed.
    pub(crate) fn create(device: &Arc<Device>, bytes: u64) -> Result<Self, Error> {
        device.check_alive()?;
        let location = match device.plan.memory {
            // Cached, because the host reads results from it.
            MemoryPlan::Mapped => MemoryLocation::GpuToCpu,
            MemoryPlan::Staged => MemoryLocation::GpuOnly,
        };
        let memory = device.create_memory(bytes, location)?;
        let buffer =
            Self { device: Arc::clone(device), memory: Some(memory), bytes, used: BufferSync::default() };
        let memory = buffer.memory()?;
        match device.plan.memory {
            MemoryPlan::Mapped => memory.zero_mapped()?,
            MemoryPlan::Staged => buffer.run(|raw, commands| {
                // SAFETY: `commands` is being recorded; the size is a multiple of 4.
                unsafe { raw.cmd_fill_buffer(commands, memory.buffer, 0, memory.bytes, 0) };
            })?,
        }
        Ok(buffer)
    }

    /// Downcasts `buffer` to a buffer of `device`.
    pub(crate) fn of<'b>(device: &Arc<Device>, buffer: &'b dyn DeviceBuffer) -> Result<&'b Self, Error> {
        let any: &dyn Any = buffer;
        any.downcast_ref::<Self>().filter(|own| Arc::ptr_eq(&own.device, device)).ok_or_else(|| {
            Error::invalid(
                Code::ForeignBuffer,
                format!("a buffer of {} bytes was made by another backend or device", buffer.bytes()),
            )
        })
    }

    /// Returns the descriptor of a range, rounded up to whole words; an empty range gets a descriptor that is not
    /// empty.
    pub(crate) fn descriptor(&self, bytes: Range<u64>) -> Result<vk::DescriptorBufferInfo, Error> {
        let (offset, size) =
            if bytes.is_empty() { (0, ALIGNMENT) } else { (bytes.start, bytes.end - bytes.start) };
        Ok(self.memory()?.descriptor(offset..offset + size.next_multiple_of(4)))
    }

    /// Returns the Vulkan handle.
    pub(crate) fn handle(&self) -> Result<vk::Buffer, Error> {
        Ok(self.memory()?.buffer)
    }

    /// Returns the device address.
    pub(crate) fn address(&self) -> Result<u64, Error> {
        let info = vk::BufferDeviceAddressInfo::default().buffer(self.memory()?.buffer);
        // SAFETY: the buffer is alive, bound to memory, and has the usage `SHADER_DEVICE_ADDRESS`.
        Ok(unsafe { self.device.raw.get_buffer_device_address(&info) })
    }

    fn memory(&self) -> Result<&Memory, Error> {
        self.memory.as_ref().ok_or_else(|| Error::Internal("a buffer without memory".to_owned()))
    }

    fn check_range(&self, offset: u64, length: usize) -> Result<(), Error> {
        if offset.checked_add(length as u64).is_some_and(|end| end <= self.bytes) {
            return Ok(());
        }
        let message = format!("{length} bytes at {offset} are not within a buffer of {} bytes", self.bytes);
        Err(Error::invalid(Code::BufferSize, message))
    }

    /// Runs commands on this buffer, and waits for them.
    fn run(&self, body: impl FnOnce(&ash::Device, vk::CommandBuffer)) -> Result<(), Error> {
        let mut lease = self.device.lease()?;
        self.copy_with(&mut lease, &[&self.used], body)
    }

    /// Runs commands on the buffers of `uses`, and waits for them.
    fn copy_with(
        &self,
        lease: &mut Lease,
        uses: &[&BufferSync],
        body: impl FnOnce(&ash::Device, vk::CommandBuffer),
    ) -> Result<(), Error> {
        lease.record(body)?;
        // SAFETY: callers record copies and fills within the buffers of `uses`, which outlive the wait, and
        // within the lease's own memory.
        let ticket = unsafe { lease.submit(COPY_BUDGET, uses) }?;
        match self.device.wait(ticket, COPY_BUDGET)? {
            Waited::Done => {
                lease.done();
                Ok(())
            }
            Waited::Expired => Err(self.device.lose("a copy")),
        }
    }
}

/// Returns the word that `pattern` repeats over `range`, if there is one and the range is aligned to words.
pub(crate) fn word_of(pattern: &[u8], range: &Range<u64>) -> Option<u32> {
    if !range.start.is_multiple_of(4) || !range.end.is_multiple_of(4) {
        return None;
    }
    let four = match pattern.len() {
        1 | 2 => pattern.repeat(4 / pattern.len()),
        _ => pattern.to_vec(),
    };
    let mut words = four.chunks(4).map(|word| word.try_into().ok().map(u32::from_ne_bytes));
    let first = words.next()??;
    words.all(|word| word == Some(first)).then_some(first)
}

impl DeviceBuffer for VulkanBuffer {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let _inside = exit::enter();
        self.check_range(offset, data.len())?;
        let memory = self.memory()?;
        if self.device.plan.memory == MemoryPlan::Mapped {
            return self.device.with_host_turn(&self.used, || memory.write_mapped(offset, data));
        }
        self.device.check_alive()?;
        let mut lease = self.device.lease()?;
        for (chunk, at) in data.chunks(CHUNK).zip((offset..).step_by(CHUNK)) {
            let staging = lease.scratch(chunk.len() as u64)?;
            staging.write_mapped(0, chunk)?;
            let (from, to) = (staging.buffer, memory.buffer);
            let region = vk::BufferCopy::default().dst_offset(at).size(chunk.len() as u64);
            self.copy_with(&mut lease, &[&self.used], |raw, commands| {
                // SAFETY: `commands` is being recorded; both ranges were checked and are of different buffers.
                unsafe { raw.cmd_copy_buffer(commands, from, to, &[region]) };
            })?;
        }
        Ok(())
    }

    fn fill(&self, range: Range<u64>, pattern: &[u8]) -> Result<(), Error> {
        let _inside = exit::enter();
        check_fill(self, &range, pattern)?;
        let Some(word) = word_of(pattern, &range).filter(|_| !range.is_empty()) else {
            return fill_by_writing(self, range, pattern);
        };
        let buffer = self.memory()?.buffer;
        self.run(|raw, commands| {
            // SAFETY: `commands` is being recorded; the range was checked, is not empty and is aligned to words.
            unsafe { raw.cmd_fill_buffer(commands, buffer, range.start, range.end - range.start, word) };
        })
    }

    fn copy(&self, offset: u64, source: &dyn DeviceBuffer, from: Range<u64>) -> Result<(), Error> {
        let _inside = exit::enter();
        check_copy(self, offset, source, &from)?;
        let source = Self::of(&self.device, source)?;
        let bytes = from.end - from.start;
        if bytes == 0 {
            return Ok(());
        }
        let (to, from_buffer) = (self.memory()?.buffer, source.memory()?.buffer);
        let region = vk::BufferCopy::default().src_offset(from.start).dst_offset(offset).size(bytes);
        let mut lease = self.device.lease()?;
        self.copy_with(&mut lease, &[&self.used, &source.used], |raw, commands| {
            // SAFETY: `commands` is being recorded; both ranges were checked and do not overlap.
            unsafe { raw.cmd_copy_buffer(commands, from_buffer, to, &[region]) };
        })
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let _inside = exit::enter();
        self.check_range(offset, out.len())?;
        let memory = self.memory()?;
        if self.device.plan.memory == MemoryPlan::Mapped {
            return self.device.with_host_turn(&self.used, || memory.read_mapped(offset, out));
        }
        self.device.check_alive()?;
        let mut lease = self.device.lease()?;
        for (chunk, at) in out.chunks_mut(CHUNK).zip((offset..).step_by(CHUNK)) {
            let to = lease.scratch(chunk.len() as u64)?.buffer;
            let from = memory.buffer;
            let region = vk::BufferCopy::default().src_offset(at).size(chunk.len() as u64);
            self.copy_with(&mut lease, &[&self.used], |raw, commands| {
                // SAFETY: as in `write`.
                unsafe { raw.cmd_copy_buffer(commands, from, to, &[region]) };
            })?;
            lease.scratch(chunk.len() as u64)?.read_mapped(0, chunk)?;
        }
        Ok(())
    }
}

impl Drop for VulkanBuffer {
    fn drop(&mut self) {
        let _inside = exit::enter();
        // A lost device may still be using the buffer. On any other device every submission was waited for by
        // the launch or copy that made it, which borrowed this buffer.
        if let Some(memory) = self.memory.take().filter(|_| !self.device.is_lost()) {
            memory.destroy(&self.device.raw, &mut self.device.allocator());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::tests::if_available;
    use crate::{Options, VulkanDevice};

    #[test]
    fn memory_of_freed_buffers_goes_back_to_the_driver() {
        const BYTES: u64 = 2 << 20;
        let mut options = Options::default();
        (options.probe_directory, options.cache_directory) = (None, None);
        let Some(opened) = if_available(VulkanDevice::open(&options)) else { return };
        let device = &opened.device;
        let held = || {
            let report = device.allocator().generate_report();
            (report.total_allocated_bytes, report.total_capacity_bytes, report.blocks.len())
        };
        let make = |count: usize| -> Vec<VulkanBuffer> {
            (0..count).map(|_| VulkanBuffer::create(device, BYTES).unwrap()).collect()
        };
        // The size of a block, which a host keeps in its own memory where buffers are mapped.
        let most = if device.plan.memory == MemoryPlan::Mapped { 64 << 20 } else { 256 << 20 };
        // The first buffer brings what each device keeps.
        drop(make(1));
        let before = held();
        for _ in 0..3 {
            let all = make(100);
            let during = held();
            assert!(during.0 >= before.0 + 100 * BYTES, "{before:?}, {during:?}");
            drop(all);
            let after = held();
            assert_eq!(after.0, before.0, "bytes in use");
            // The allocator keeps one empty block.
            let kept = after.1 - before.1;
            assert!(after.2 <= before.2 + 1 && kept <= most, "{before:?}, {during:?}, {after:?}");
        }
    }
}
