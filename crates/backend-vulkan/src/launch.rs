//! Launches: bind, record, submit, wait for at most the timeout, and report the result.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ash::vk;
use fulgurite_hal::{DeviceError, Error, Executable, Launch, LaunchReport, Work};
use fulgurite_ir::VerifiedKernel;
use fulgurite_spec::cache::{CacheOrigin, CacheOutcome};
use fulgurite_spirv::{BlockFacts, BlockPlacement, ControlWord, Layout};

use crate::commands::{Lease, Slot};
use crate::descriptors::{allocate_set, write_of};
use crate::device::Device;
use crate::exit;
use crate::memory::VulkanBuffer;
use crate::pipeline::{Artifact, VulkanExecutable};
use crate::sync::{BufferSync, Ticket, Waited};

/// Maximum number of workgroups in one dispatch. lavapipe and SwiftShader count the workgroups of a dispatch in 32
/// bits: of 2³² they run none, and of slightly fewer only a part.
const MOST_WORKGROUPS: u32 = 1 << 28;

/// Grace period for a launch that polls the abort word.
const ABORTED: Duration = Duration::from_secs(10);
/// Minimum grace period for a launch that cannot be aborted, and is more likely slow than stuck.
const UNSTOPPED: Duration = Duration::from_secs(60);

impl Executable for VulkanExecutable {
    fn kernel(&self) -> &Arc<VerifiedKernel> {
        &self.kernel
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn artifact_digest(&self) -> Option<String> {
        Some(self.digest().to_string())
    }

    fn cache_outcome(&self) -> CacheOutcome {
        self.origin.outcome
    }

    fn cache_origin(&self) -> CacheOrigin {
        self.origin
    }

    fn launch(&self, launch: &Launch) -> Result<LaunchReport, Error> {
        let _inside = exit::enter();
        // SAFETY: everything that the launch uses is borrowed until it is over.
        match unsafe { self.begin(launch) }? {
            Some(submission) => submission.finish(),
            None => Ok(nothing(self, launch)),
        }
    }

    fn submit(self: Arc<Self>, launch: &Launch) -> Result<Option<Box<dyn Work>>, Error> {
        let _inside = exit::enter();
        // SAFETY: `Submitted` keeps everything that the launch uses until it is over.
        let submission = unsafe { self.begin(launch) }?;
        Ok(Some(Box::new(Submitted { submission, kept: (self, launch.clone()) })))
    }
}

/// Returns the report of a launch without workgroups.
fn nothing(executable: &VulkanExecutable, launch: &Launch) -> LaunchReport {
    match executable.device.times([launch]) {
        true => LaunchReport::timed(Duration::ZERO),
        false => LaunchReport::default(),
    }
}

/// A submitted launch, with everything that it uses.
struct Submitted {
    /// `None` once the launch is over, and if there was nothing to do.
    submission: Option<Submission>,
    kept: (Arc<VulkanExecutable>, Launch),
}

impl Work for Submitted {
    fn finish(mut self: Box<Self>) -> Result<LaunchReport, Error> {
        let _inside = exit::enter();
        let (executable, launch) = &self.kept;
        let nothing = nothing(executable, launch);
        self.submission.take().map_or(Ok(nothing), Submission::finish)
    }
}

impl Drop for Submitted {
    fn drop(&mut self) {
        let _inside = exit::enter();
        // The launch's buffers may be destroyed next. Its result has no receiver.
        let _ = self.submission.take().map(Submission::finish);
    }
}

/// Launches of one submission that are not yet waited for.
pub(crate) struct Submission {
    lease: Lease,
    ticket: Ticket,
    timeout: Duration,
    grace_period: Duration,
    /// For each launch, true if it has a control buffer.
    controls: Vec<bool>,
    timed: bool,
}

impl Submission {
    /// Submits the commands of `lease`. `timeout` is for all of them; `abortable` says that their loops poll the
    /// abort word.
    ///
    /// # Safety
    /// See [`Lease::submit`].
    pub(crate) unsafe fn submit(
        mut lease: Lease,
        uses: &[&BufferSync],
        timeout: Duration,
        abortable: bool,
        controls: Vec<bool>,
        timed: bool,
    ) -> Result<Self, Error> {
        let grace_period =
            lease.device().plan.grace_period.unwrap_or_else(|| default_grace_period(timeout, abortable));
        // SAFETY: by this function's contract.
        let ticket = unsafe { lease.submit(timeout.saturating_add(grace_period), uses) }?;
        Ok(Self { lease, ticket, timeout, grace_period, controls, timed })
    }

    /// Waits until the submission ends or its time is up, and reports the result.
    pub(crate) fn finish(self) -> Result<LaunchReport, Error> {
        self.finish_and_keep().map(|(report, _)| report)
    }

    /// Does what [`finish`](Self::finish) does, and also returns the slot, which can be submitted again.
    pub(crate) fn finish_and_keep(mut self) -> Result<(LaunchReport, Lease), Error> {
        let device = Arc::clone(self.lease.device());
        let mut ended = device.wait(self.ticket, self.timeout)?;
        let timed_out = ended == Waited::Expired;
        if timed_out {
            for launch in 0..self.controls.len() as u32 {
                self.lease.slot().abort(launch)?;
            }
            ended = device.wait(self.ticket, self.grace_period)?;
        }
        if ended == Waited::Expired {
            return Err(device.lose("a launch that ended neither in time nor long after"));
        }
        self.lease.done();
        if timed_out {
            return Err(DeviceError::Timeout(self.timeout).into());
        }
        let slot = self.lease.slot();
        for (launch, has_control) in (0..).zip(&self.controls) {
            if *has_control {
                check_fault(&device, slot, launch)?;
            }
        }
        let time = if self.timed { device_time(&device, slot) } else { None };
        let report = time.map(LaunchReport::timed).unwrap_or_default();
        Ok((report, self.lease))
    }
}

impl VulkanExecutable {
    /// Submits a launch; returns `None` if there is nothing to do.
    ///
    /// # Safety
    /// The executable and the launch's buffers must stay alive until the returned submission has finished.
    unsafe fn begin(&self, launch: &Launch) -> Result<Option<Submission>, Error> {
        let device = &self.device;
        device.check_alive()?;
        let prepared = Prepared::new(self, launch)?;
        if launch.is_empty() {
            return Ok(None);
        }
        let mut lease = device.lease()?;
        lease.slot().clear_control(0)?;
        let placed = match prepared.block_buffer_bytes() {
            Some(bytes) => {
                let memory = lease.scratch(bytes)?;
                memory.write_mapped(0, &prepared.block)?;
                Some(memory.descriptor(0..bytes))
            }
            None => None,
        };
        lease.reset_descriptors()?;
        let set = prepared.bind(lease.slot(), 0, placed)?;
        let (queries, timed) = (lease.slot().queries, device.times([launch]));
        lease.record(|raw, commands| {
            // SAFETY: `commands` is being recorded, and the queries are of this device.
            unsafe {
                if timed {
                    begin_time(raw, commands, queries);
                }
                prepared.record(raw, commands, set);
                if timed {
                    end_time(raw, commands, queries);
                }
            }
        })?;
        let layout = &prepared.artifact.layout;
        let (abortable, controls) = (layout.abortable, vec![layout.control.is_some()]);
        // SAFETY: the recorded dispatch binds the caller's buffers, this executable's pipeline and the lease's
        // own memory; it was checked against the kernel's layout and the device's limits.
        unsafe { Submission::submit(lease, &prepared.uses(), launch.timeout(), abortable, controls, timed) }
            .map(Some)
    }
}

/// A range of a buffer, as bound by a launch.
struct Part<'b> {
    buffer: &'b VulkanBuffer,
    range: Range<u64>,
    /// Bytes from the start of its descriptor, which must be aligned, to its own start.
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

/// A launch with all of its arguments to the device.
pub(crate) struct Prepared<'l> {
    pub(crate) artifact: &'l Artifact,
    pub(crate) launch: &'l Launch,
    parts: Vec<Part<'l>>,
    /// The parameter block.
    pub(crate) block: Vec<u8>,
}

impl<'l> Prepared<'l> {
    pub(crate) fn new(executable: &'l VulkanExecutable, launch: &'l Launch) -> Result<Self, Error> {
        launch.check_kernel(&executable.kernel)?;
        let device = &executable.device;
        let bound = launch.buffers().iter().zip(&executable.alignments);
        let parts = bound
            .map(|(binding, alignment)| {
                let buffer = VulkanBuffer::of(device, binding.buffer().as_ref())?;
                Ok(Part::new(buffer, binding.range(), *alignment))
            })
            .collect::<Result<Vec<Part<'_>>, Error>>()?;
        let offsets: Vec<u64> = parts.iter().map(|part| part.before).collect();
        let described = parts.iter().zip(&executable.kernel.buffers).filter(|(_, declared)| !declared.large);
        let largest = described.map(|(part, _)| part.before + part.bytes()).max().unwrap_or(0);
        let artifact = executable.artifact(largest, &offsets)?;
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
        let words = layout.block(&executable.kernel, &facts);
        let block = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        Ok(Self { artifact, launch, parts, block })
    }

    /// Returns the synchronization state of its buffers.
    pub(crate) fn uses(&self) -> Vec<&'l BufferSync> {
        self.parts.iter().map(|part| &part.buffer.used).collect()
    }

    /// Returns the size of its parameter block in bytes, if that is in a buffer.
    pub(crate) fn block_buffer_bytes(&self) -> Option<u64> {
        let in_buffer = matches!(self.artifact.layout.placement, BlockPlacement::StorageBuffer { .. });
        in_buffer.then_some(self.block.len() as u64)
    }

    /// Creates the descriptor set for launch number `launch` of the slot. `block` is its parameter block, if in a
    /// buffer.
    pub(crate) fn bind(
        &self,
        slot: &Slot,
        launch: u32,
        block: Option<vk::DescriptorBufferInfo>,
    ) -> Result<vk::DescriptorSet, Error> {
        let layout = &self.artifact.layout;
        if layout.bindings().is_empty() {
            return Ok(vk::DescriptorSet::null());
        }
        let mut infos: Vec<(u32, vk::DescriptorBufferInfo)> = Vec::new();
        for ((part, binding), by_address) in self.parts.iter().zip(0..).zip(&layout.by_address) {
            if !by_address {
                infos.push((binding, part.descriptor()?));
            }
        }
        if let Some(binding) = layout.control {
            infos.push((binding, slot.control.descriptor(slot.control_range(launch))));
        }
        if let (BlockPlacement::StorageBuffer { binding }, Some(block)) = (layout.placement, block) {
            infos.push((binding, block));
        }

        let pipeline = &self.artifact.pipeline;
        let device = &pipeline.device;
        let set = allocate_set(device, slot, pipeline.set_layout)?;
        let writes: Vec<_> =
            infos.iter().map(|(binding, info)| write_of(set, *binding, std::slice::from_ref(info))).collect();
        // SAFETY: the set is new and used by no submission; the buffers are alive and the ranges within them.
        unsafe { device.raw.update_descriptor_sets(&writes, &[]) };
        Ok(set)
    }

    /// Records the dispatch.
    ///
    /// # Safety
    /// `commands` must be in the recording state, and `set` must come from [`bind`](Self::bind).
    pub(crate) unsafe fn record(
        &self,
        raw: &ash::Device,
        commands: vk::CommandBuffer,
        set: vk::DescriptorSet,
    ) {
        let (pipeline, launch) = (&self.artifact.pipeline, self.launch);
        let pushed =
            self.artifact.layout.placement == BlockPlacement::PushConstants && !self.block.is_empty();
        let most = pipeline.device.plan.snapshot.limits.max_workgroup_count;
        let label = pipeline.device.begin_label(commands, launch.label());
        // SAFETY: by this function's contract. Pipeline, set and push constants are compatible; each part of
        // the grid is within the device's limits.
        unsafe {
            let point = vk::PipelineBindPoint::COMPUTE;
            raw.cmd_bind_pipeline(commands, point, pipeline.handle);
            if set != vk::DescriptorSet::null() {
                raw.cmd_bind_descriptor_sets(commands, point, pipeline.layout, 0, &[set], &[]);
            }
            if pushed {
                let stage = vk::ShaderStageFlags::COMPUTE;
                raw.cmd_push_constants(commands, pipeline.layout, stage, 0, &self.block);
            }
            for ([x, y, z], [width, height, depth]) in launch.parts(most, MOST_WORKGROUPS) {
                raw.cmd_dispatch_base(commands, x, y, z, width, height, depth);
            }
        }
        pipeline.device.end_label(commands, label);
    }
}

/// Writes the first timestamp once all earlier work is done, so that waiting for it is not measured.
///
/// # Safety
/// `commands` must be in the recording state; the pool must be of the same device and have two timestamps.
pub(crate) unsafe fn begin_time(raw: &ash::Device, commands: vk::CommandBuffer, queries: vk::QueryPool) {
    // SAFETY: by this function's contract.
    unsafe {
        raw.cmd_reset_query_pool(commands, queries, 0, 2);
        raw.cmd_write_timestamp2(commands, vk::PipelineStageFlags2::ALL_COMMANDS, queries, 0);
    }
}

/// Writes the second timestamp once all work is done.
///
/// # Safety
/// As for [`begin_time`], which must come before.
pub(crate) unsafe fn end_time(raw: &ash::Device, commands: vk::CommandBuffer, queries: vk::QueryPool) {
    // SAFETY: by this function's contract.
    unsafe { raw.cmd_write_timestamp2(commands, vk::PipelineStageFlags2::ALL_COMMANDS, queries, 1) };
}

/// Returns an error if a launch of a slot, which has ended, recorded a fault.
fn check_fault(device: &Device, slot: &Slot, launch: u32) -> Result<(), Error> {
    let invocation = slot.control_word(launch, ControlWord::Invocation)?;
    match slot.control_word(launch, ControlWord::Fault)? {
        0 => Ok(()),
        Layout::FAULT_LOOP_ENDED => {
            let limit = device.plan.snapshot.limits.loop_limit.unwrap_or_default();
            Err(DeviceError::LoopLimit { invocation, limit }.into())
        }
        Layout::FAULT_TRAP => {
            let code = slot.control_word(launch, ControlWord::TrapCode)?;
            Err(DeviceError::Trap { code, invocation }.into())
        }
        unknown => Err(Error::Internal(format!("unknown fault code {unknown}"))),
    }
}

/// Returns the default time that a launch may run past its timeout before the device counts as lost.
fn default_grace_period(timeout: Duration, abortable: bool) -> Duration {
    if abortable { ABORTED } else { UNSTOPPED.max(timeout.saturating_mul(10)) }
}

impl Device {
    /// Returns whether to measure launches that are submitted together. Only on request, because timestamps cost as
    /// much as a launch on lavapipe.
    pub(crate) fn times<'l>(&self, launches: impl IntoIterator<Item = &'l Launch>) -> bool {
        self.plan.timestamps.is_some() && launches.into_iter().any(Launch::is_timed)
    }
}

/// Returns the time between the two timestamps, if the device wrote them.
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
    use fulgurite_hal::LaunchOptions;
    use fulgurite_spec::device::Limits;

    use super::*;

    /// Drivers that count the workgroups of a dispatch in 32 bits run none of 2^32 and report success.
    #[test]
    fn no_dispatch_has_workgroups_that_a_driver_cannot_count() {
        let text = "fulgurite 1\nkernel @k workgroup(1, 1, 1) {\n}\n";
        let kernel = fulgurite_ir::text::parse(text).and_then(fulgurite_ir::verify).unwrap();
        let kernel = Arc::new(kernel);
        for grid in
            [[32_768, 32_768, 4], [4, 32_768, 32_768], [65_536, 65_535, 1], [u32::MAX, 2, 1], [65_535; 3]]
        {
            let options = LaunchOptions::workgroups(grid);
            let all: u128 = grid.iter().map(|count| u128::from(*count)).product();
            let checked = Launch::check(&kernel, &Limits::unlimited(), Vec::new(), &[], &options);
            let Ok(launch) = checked else {
                assert!(all > 1 << 44, "{grid:?} is refused");
                continue;
            };
            for most in [[65_535; 3], [u32::MAX, 65_535, 65_535], [u32::MAX; 3]] {
                let mut sum = 0;
                for (_, part) in launch.parts(most, MOST_WORKGROUPS) {
                    let count: u128 = part.iter().map(|count| u128::from(*count)).product();
                    assert!((1..1 << 31).contains(&count), "{part:?} of {grid:?}");
                    sum += count;
                }
                assert_eq!(sum, all, "{grid:?} in parts of at most {most:?}");
            }
        }
    }

    #[test]
    fn what_nothing_can_end_is_waited_for_long() {
        let seconds = Duration::from_secs;
        assert_eq!(default_grace_period(seconds(1), true), seconds(10));
        assert_eq!(default_grace_period(seconds(100), true), seconds(10));
        assert_eq!(default_grace_period(seconds(1), false), seconds(60));
        assert_eq!(default_grace_period(seconds(100), false), seconds(1000));
        assert_eq!(default_grace_period(Duration::MAX, false), Duration::MAX);
    }
}
