//! One launch: bind, record, submit, wait no longer than the timeout, and say what happened.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ash::vk;
use fulgurite_driver_core::{DeviceError, Error, Executable, Launch, LaunchReport};
use fulgurite_ir::VerifiedKernel;
use fulgurite_spirv::{BlockFacts, BlockPlacement, ControlWord, Layout};

use crate::commands::{Lease, Slot};
use crate::device::Device;
use crate::memory::VulkanBuffer;
use crate::pipeline::{Artifact, VulkanExecutable};
use crate::sync::{Use, Waited};

/// How long a launch that looks at the abort word may take to come back once it is set.
const ABORTED: Duration = Duration::from_secs(10);
/// The least that a launch may take to come back which nothing can end: it is slow rather than stuck.
const UNSTOPPED: Duration = Duration::from_secs(60);

impl Executable for VulkanExecutable {
    fn kernel(&self) -> &Arc<VerifiedKernel> {
        &self.kernel
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn launch(&self, launch: &Launch) -> Result<LaunchReport, Error> {
        let device = &self.device;
        device.check_alive()?;
        let buffers = launch
            .buffers()
            .iter()
            .map(|part| VulkanBuffer::of(device, part.buffer().as_ref()))
            .collect::<Result<Vec<_>, Error>>()?;
        if launch.is_empty() {
            return Ok(LaunchReport::default());
        }
        let parts: Vec<Part<'_>> = buffers
            .iter()
            .zip(launch.buffers())
            .zip(&self.alignments)
            .map(|((buffer, binding), alignment)| Part::new(buffer, binding.range(), *alignment))
            .collect();
        let offsets: Vec<u64> = parts.iter().map(|part| part.before).collect();
        let described = parts.iter().zip(&self.kernel.buffers).filter(|(_, declared)| !declared.large);
        let largest = described.map(|(part, _)| part.before + part.bytes()).max().unwrap_or(0);
        let artifact = self.artifact(largest, &offsets)?;
        let mut lease = device.lease()?;
        for index in 0..(Layout::CONTROL_BYTES / 4) as u32 {
            lease.slot().control.write_word(index, 0)?;
        }
        let layout = &artifact.layout;
        let addresses = match layout.by_address.contains(&true) {
            true => parts.iter().map(Part::address).collect::<Result<Vec<_>, Error>>()?,
            false => Vec::new(),
        };
        let facts = BlockFacts {
            lengths: launch.lengths(),
            addresses: &addresses,
            offsets: &offsets,
            params: launch.params(),
            grid: launch.grid(),
        };
        let block: Vec<u8> =
            layout.block(&self.kernel, &facts).iter().flat_map(|word| word.to_ne_bytes()).collect();
        let set = artifact.bind(&mut lease, &parts, &block)?;
        artifact.record(&mut lease, set, &block, launch)?;

        let uses: Vec<&Use> = buffers.iter().map(|buffer| &buffer.used).collect();
        let timeout = launch.timeout();
        let patience = device.plan.patience.unwrap_or_else(|| default_patience(timeout, layout.abortable));
        // SAFETY: the recorded dispatch binds the caller's buffers, which `launch` keeps alive, this pipeline, and
        // the lease's own memory; it was checked against the kernel's layout and the device's limits.
        let ticket = unsafe { lease.submit(timeout.saturating_add(patience), &uses) }?;
        let mut ended = device.wait(ticket, timeout)?;
        let timed_out = ended == Waited::Expired;
        if timed_out {
            lease.slot().control.write_word(ControlWord::Abort as u32, 1)?;
            ended = device.wait(ticket, patience)?;
        }
        if ended == Waited::Expired {
            return Err(device.lose("a launch that ended neither in time nor long after"));
        }
        lease.done();
        if timed_out {
            return Err(DeviceError::Timeout(timeout).into());
        }
        artifact.report(device, lease.slot())
    }
}

/// A part of a buffer as a launch binds it.
struct Part<'b> {
    buffer: &'b VulkanBuffer,
    range: Range<u64>,
    /// Bytes of its descriptor that come before it: a descriptor begins only where it may.
    before: u64,
}

impl<'b> Part<'b> {
    fn new(buffer: &'b VulkanBuffer, range: Range<u64>, alignment: u64) -> Self {
        let before = if range.is_empty() { 0 } else { range.start % alignment };
        Self { buffer, range, before }
    }

    fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn descriptor(&self) -> Result<vk::DescriptorBufferInfo, Error> {
        self.buffer.descriptor(self.range.start - self.before..self.range.end)
    }

    fn address(&self) -> Result<u64, Error> {
        Ok(self.buffer.address()? + self.range.start)
    }
}

impl Artifact {
    /// Makes the descriptor set; writes the parameter block if it is in a buffer.
    fn bind(
        &self,
        lease: &mut Lease<'_>,
        parts: &[Part<'_>],
        block: &[u8],
    ) -> Result<vk::DescriptorSet, Error> {
        if self.layout.bindings().is_empty() {
            return Ok(vk::DescriptorSet::null());
        }
        let mut infos: Vec<(u32, vk::DescriptorBufferInfo)> = Vec::new();
        for ((part, binding), by_address) in parts.iter().zip(0..).zip(&self.layout.by_address) {
            if !by_address {
                infos.push((binding, part.descriptor()?));
            }
        }
        if let Some(binding) = self.layout.control {
            infos.push((binding, whole(lease.slot().control.buffer, Layout::CONTROL_BYTES)));
        }
        if let BlockPlacement::StorageBuffer { binding } = self.layout.placement {
            let memory = lease.scratch(block.len() as u64)?;
            memory.write_mapped(0, block)?;
            infos.push((binding, whole(memory.buffer, block.len() as u64)));
        }

        let device = &self.pipeline.device;
        let pool = lease.slot().descriptors;
        // SAFETY: the slot is idle, so no submission uses sets of its pool.
        unsafe { device.raw.reset_descriptor_pool(pool, vk::DescriptorPoolResetFlags::empty()) }
            .map_err(|r| device.fail("vkResetDescriptorPool", r, 0))?;
        let layouts = [self.pipeline.set_layout];
        let info = vk::DescriptorSetAllocateInfo::default().descriptor_pool(pool).set_layouts(&layouts);
        // SAFETY: the pool is this lease's, and was made for the most descriptors that a kernel can have.
        let sets = unsafe { device.raw.allocate_descriptor_sets(&info) }
            .map_err(|r| device.fail("vkAllocateDescriptorSets", r, 0))?;
        let set = sets.first().copied().unwrap_or_default();
        let writes: Vec<_> = infos
            .iter()
            .map(|(binding, info)| {
                vk::WriteDescriptorSet::default()
                    .dst_set(set)
                    .dst_binding(*binding)
                    .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                    .buffer_info(std::slice::from_ref(info))
            })
            .collect();
        // SAFETY: the set is new and used by no submission; the buffers are alive and the ranges within them.
        unsafe { device.raw.update_descriptor_sets(&writes, &[]) };
        Ok(set)
    }

    fn record(
        &self,
        lease: &mut Lease<'_>,
        set: vk::DescriptorSet,
        block: &[u8],
        launch: &Launch,
    ) -> Result<(), Error> {
        let pipeline = &self.pipeline;
        let queries = lease.slot().queries;
        let timed = pipeline.device.plan.timestamps.is_some();
        let pushed = self.layout.placement == BlockPlacement::PushConstants && !block.is_empty();
        let [_, y, z] = launch.grid();
        let most = if launch.is_linear() {
            pipeline.device.plan.snapshot.limits.max_workgroup_count[0]
        } else {
            u32::MAX
        };
        lease.record(|raw, commands| {
            // SAFETY: `commands` is being recorded. Pipeline, set, push constants and query pool are of this device
            // and fit each other; the grid was checked against the device's limits.
            unsafe {
                if timed {
                    raw.cmd_reset_query_pool(commands, queries, 0, 2);
                    // Written once all earlier work is done: the time waiting for it does not count.
                    raw.cmd_write_timestamp2(commands, vk::PipelineStageFlags2::ALL_COMMANDS, queries, 0);
                }
                let point = vk::PipelineBindPoint::COMPUTE;
                raw.cmd_bind_pipeline(commands, point, pipeline.handle);
                if set != vk::DescriptorSet::null() {
                    raw.cmd_bind_descriptor_sets(commands, point, pipeline.layout, 0, &[set], &[]);
                }
                if pushed {
                    raw.cmd_push_constants(
                        commands,
                        pipeline.layout,
                        vk::ShaderStageFlags::COMPUTE,
                        0,
                        block,
                    );
                }
                for (first, count) in launch.chunks(most) {
                    raw.cmd_dispatch_base(commands, first, 0, 0, count, y, z);
                }
                if timed {
                    raw.cmd_write_timestamp2(commands, vk::PipelineStageFlags2::ALL_COMMANDS, queries, 1);
                }
            }
        })
    }

    /// Reads the fault word and the time of a launch that ended.
    fn report(&self, device: &Device, slot: &Slot) -> Result<LaunchReport, Error> {
        if self.layout.control.is_some() {
            let invocation = slot.control.read_word(ControlWord::Invocation as u32)?;
            match slot.control.read_word(ControlWord::Fault as u32)? {
                0 => {}
                Layout::FAULT_LOOP_ENDED => {
                    let limit = device.plan.snapshot.limits.loop_limit.unwrap_or_default();
                    return Err(DeviceError::LoopLimit { invocation, limit }.into());
                }
                Layout::FAULT_TRAP => {
                    let code = slot.control.read_word(ControlWord::TrapCode as u32)?;
                    return Err(DeviceError::Trap { code, invocation }.into());
                }
                unknown => return Err(Error::Internal(format!("unknown fault code {unknown}"))),
            }
        }
        Ok(device_time(device, slot).map(LaunchReport::timed).unwrap_or_default())
    }
}

/// How long a launch that timed out may take to come back before the device is given up.
fn default_patience(timeout: Duration, abortable: bool) -> Duration {
    if abortable { ABORTED } else { UNSTOPPED.max(timeout.saturating_mul(10)) }
}

fn whole(buffer: vk::Buffer, bytes: u64) -> vk::DescriptorBufferInfo {
    vk::DescriptorBufferInfo::default().buffer(buffer).offset(0).range(bytes)
}

/// The time between the two timestamps, if the device wrote them.
fn device_time(device: &Device, slot: &Slot) -> Option<Duration> {
    let timestamps = device.plan.timestamps?;
    let mut ticks = [0u64; 2];
    // SAFETY: the pool has two queries, which the ended launch has written.
    unsafe { device.raw.get_query_pool_results(slot.queries, 0, &mut ticks, vk::QueryResultFlags::TYPE_64) }
        .ok()?;
    let elapsed = ticks[1].wrapping_sub(ticks[0]) & timestamps.mask;
    Duration::try_from_secs_f64(elapsed as f64 * f64::from(timestamps.period) * 1e-9).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_can_end_is_waited_for_long() {
        let seconds = Duration::from_secs;
        assert_eq!(default_patience(seconds(1), true), seconds(10));
        assert_eq!(default_patience(seconds(100), true), seconds(10));
        assert_eq!(default_patience(seconds(1), false), seconds(60));
        assert_eq!(default_patience(seconds(100), false), seconds(1000));
        assert_eq!(default_patience(Duration::MAX, false), Duration::MAX);
    }
}
