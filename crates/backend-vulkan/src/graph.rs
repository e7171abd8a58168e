//! Graphs as one command buffer each: recorded once, submitted for every replay.
//!
//! A barrier is recorded only where a step depends on an earlier step that no barrier separates from it yet.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ash::vk;
use fulgurite_hal::{Binding, Error, Executable, GraphStep, LaunchReport, Recording, StepWork};

use crate::commands::{Lease, Slot, barrier};
use crate::device::Device;
use crate::exit;
use crate::launch::{Prepared, Submission, begin_time, end_time};
use crate::memory::{VulkanBuffer, word_of};
use crate::pipeline::VulkanExecutable;
use crate::sync::BufferSync;

/// Time allowed for the copies and fills of a graph.
const COPIES: Duration = Duration::from_secs(60);
/// Size in bytes to which the host repeats a pattern that is not one word, for the device to copy from.
const PATTERN: usize = 64 << 10;

/// The steps of a graph, and their command buffer.
struct Recorded {
    device: Arc<Device>,
    steps: Vec<GraphStep>,
    /// The buffers of the steps, each once.
    buffers: Vec<Binding>,
    /// `None` before the first replay and after a failed one.
    ready: Option<Ready>,
}

/// Recorded commands.
struct Ready {
    lease: Lease,
    timeout: Duration,
    /// True if every launch polls the abort word.
    abortable: bool,
    /// For each launch, true if it has a control buffer.
    controls: Vec<bool>,
    timed: bool,
}

/// Records `steps`, which are of this device.
pub(crate) fn record(device: &Arc<Device>, steps: &[GraphStep]) -> Box<dyn Recording> {
    let mut buffers: Vec<Binding> = Vec::new();
    for step in steps {
        match &step.work {
            StepWork::Launch { launch, .. } => buffers.extend_from_slice(launch.buffers()),
            StepWork::Copy { from, to, .. } => buffers.extend([from.clone(), to.clone()]),
            StepWork::Fill { to, .. } => buffers.push(to.clone()),
        }
    }
    buffers.sort_by_key(|binding| Arc::as_ptr(binding.buffer()).addr());
    buffers.dedup_by(|a, b| Arc::ptr_eq(a.buffer(), b.buffer()));
    Box::new(Recorded { device: Arc::clone(device), steps: steps.to_vec(), buffers, ready: None })
}

/// The work of a step, with all of its arguments to the device.
enum Action<'s> {
    /// The set is created once there is a slot for it.
    Launch {
        prepared: Prepared<'s>,
        set: vk::DescriptorSet,
    },
    Copy {
        from: vk::Buffer,
        to: vk::Buffer,
        regions: Vec<vk::BufferCopy>,
    },
    Fill {
        to: vk::Buffer,
        range: Range<u64>,
        word: u32,
    },
    /// A fill with a pattern that is not one word; becomes a copy once its bytes have a place.
    Repeat {
        bytes: Vec<u8>,
        to: vk::Buffer,
        range: Range<u64>,
    },
    Nothing,
}

impl Recording for Recorded {
    fn replay(&mut self) -> Result<LaunchReport, Error> {
        let _inside = exit::enter();
        self.device.check_alive()?;
        let ready = match self.ready.take() {
            Some(ready) => ready,
            None => self.commands()?,
        };
        let Ready { lease, timeout, abortable, controls, timed } = ready;
        for launch in (0..).zip(&controls).filter(|(_, has)| **has).map(|(launch, _)| launch) {
            lease.slot().clear_control(launch)?;
        }
        let uses = self
            .buffers
            .iter()
            .map(|binding| Ok(&VulkanBuffer::of(&self.device, binding.buffer().as_ref())?.used))
            .collect::<Result<Vec<&BufferSync>, Error>>()?;
        // SAFETY: the commands access the buffers and pipelines of the steps, which live as long as `self`, and
        // the lease's own memory; all were checked, and this function waits for the end.
        let submission =
            unsafe { Submission::submit(lease, &uses, timeout, abortable, controls.clone(), timed) }?;
        let (report, lease) = submission.finish_and_keep()?;
        self.ready = Some(Ready { lease, timeout, abortable, controls, timed });
        Ok(report)
    }
}

impl Recorded {
    /// Records the commands of all steps.
    fn commands(&self) -> Result<Ready, Error> {
        let mut actions =
            self.steps.iter().map(|step| self.action(&step.work)).collect::<Result<Vec<_>, Error>>()?;
        let (mut timeout, mut abortable, mut controls) = (COPIES, true, Vec::new());
        let (mut descriptors, mut bytes) = (0, 0);
        for action in &actions {
            match action {
                Action::Launch { prepared, .. } => {
                    let layout = &prepared.artifact.layout;
                    timeout = timeout.saturating_add(prepared.launch.timeout());
                    abortable &= layout.abortable;
                    controls.push(layout.control.is_some());
                    descriptors += layout.bindings().len() as u32;
                    bytes += self.aligned(prepared.block_buffer_bytes().unwrap_or(0));
                }
                Action::Repeat { bytes: repeated, .. } => bytes += self.aligned(repeated.len() as u64),
                Action::Copy { .. } | Action::Fill { .. } | Action::Nothing => {}
            }
        }
        let mut lease = self.device.lease_for(controls.len() as u32, descriptors)?;
        lease.scratch(bytes.max(1))?;
        self.place(&mut actions, lease.slot())?;
        let launches = self.steps.iter().filter_map(|step| match &step.work {
            StepWork::Launch { launch, .. } => Some(launch.as_ref()),
            StepWork::Copy { .. } | StepWork::Fill { .. } => None,
        });
        let (queries, timed) = (lease.slot().queries, self.device.times(launches));
        lease.record(|raw, commands| {
            // SAFETY: `commands` is being recorded. Sets, pipelines, ranges and queries are of this device
            // and were checked.
            unsafe {
                if timed {
                    begin_time(raw, commands, queries);
                }
                // Steps before this index precede a barrier.
                let mut behind = 0;
                for (i, (step, action)) in self.steps.iter().zip(&actions).enumerate() {
                    if step.after.iter().any(|earlier| *earlier >= behind) {
                        barrier(raw, commands, between());
                        behind = i;
                    }
                    match action {
                        Action::Launch { prepared, set } => prepared.record(raw, commands, *set),
                        Action::Copy { from, to, regions } => {
                            raw.cmd_copy_buffer(commands, *from, *to, regions);
                        }
                        Action::Fill { to, range, word } => {
                            let bytes = range.end - range.start;
                            raw.cmd_fill_buffer(commands, *to, range.start, bytes, *word);
                        }
                        // `place` has turned `Repeat` into `Copy`.
                        Action::Repeat { .. } | Action::Nothing => {}
                    }
                }
                if timed {
                    end_time(raw, commands, queries);
                }
            }
        })?;
        Ok(Ready { lease, timeout, abortable, controls, timed })
    }

    /// Returns the action of a step.
    fn action<'s>(&self, work: &'s StepWork) -> Result<Action<'s>, Error> {
        Ok(match work {
            StepWork::Launch { launch, .. } if launch.is_empty() => Action::Nothing,
            StepWork::Launch { executable, launch, .. } => {
                let executable = own(executable)?;
                if !Arc::ptr_eq(&executable.device, &self.device) {
                    return Err(unknown());
                }
                let prepared = Prepared::new(executable, launch)?;
                Action::Launch { prepared, set: vk::DescriptorSet::null() }
            }
            StepWork::Copy { to, .. } | StepWork::Fill { to, .. } if to.bytes() == 0 => Action::Nothing,
            StepWork::Copy { from, to, .. } => Action::Copy {
                from: self.buffer(from)?,
                to: self.buffer(to)?,
                regions: vec![region(from.offset(), to.range())],
            },
            StepWork::Fill { to, pattern, .. } => {
                let (range, to) = (to.range(), self.buffer(to)?);
                match word_of(pattern, &range) {
                    Some(word) => Action::Fill { to, range, word },
                    None => Action::Repeat { bytes: repeated(pattern), to, range },
                }
            }
        })
    }

    /// Creates descriptor sets, and writes parameter blocks and patterns to the slot's scratch memory, which has
    /// room for them.
    fn place(&self, actions: &mut [Action<'_>], slot: &Slot) -> Result<(), Error> {
        let scratch = slot.scratch().ok_or_else(unknown)?;
        let (mut at, mut launches) = (0, 0);
        let mut place = |bytes: &[u8]| -> Result<Range<u64>, Error> {
            scratch.write_mapped(at, bytes)?;
            let range = at..at + bytes.len() as u64;
            at += self.aligned(bytes.len() as u64);
            Ok(range)
        };
        for action in actions {
            match action {
                Action::Launch { prepared, set } => {
                    let block = match prepared.block_buffer_bytes() {
                        Some(_) => Some(scratch.descriptor(place(&prepared.block)?)),
                        None => None,
                    };
                    *set = prepared.bind(slot, launches, block)?;
                    launches += 1;
                }
                Action::Repeat { bytes, to, range } => {
                    let from = place(bytes)?;
                    let step = from.end - from.start;
                    let pieces = range.clone().step_by(step as usize);
                    let regions = pieces.map(|at| region(from.start, at..range.end.min(at + step))).collect();
                    *action = Action::Copy { from: scratch.buffer, to: *to, regions };
                }
                Action::Copy { .. } | Action::Fill { .. } | Action::Nothing => {}
            }
        }
        Ok(())
    }

    fn buffer(&self, binding: &Binding) -> Result<vk::Buffer, Error> {
        VulkanBuffer::of(&self.device, binding.buffer().as_ref())?.handle()
    }

    /// Rounds up, so that a descriptor may begin at the result.
    fn aligned(&self, bytes: u64) -> u64 {
        bytes.next_multiple_of(self.device.plan.bounds.descriptor_alignment)
    }
}

/// Downcasts an executable to this backend's type.
fn own(executable: &Arc<dyn Executable>) -> Result<&VulkanExecutable, Error> {
    let any: &dyn Any = executable.as_ref();
    any.downcast_ref().ok_or_else(unknown)
}

fn unknown() -> Error {
    Error::Internal("a graph's step is of another backend or device".to_owned())
}

/// Repeats a pattern as often as it fits into [`PATTERN`] bytes, at least once.
fn repeated(pattern: &[u8]) -> Vec<u8> {
    pattern.repeat((PATTERN / pattern.len().max(1)).max(1))
}

fn region(from: u64, to: Range<u64>) -> vk::BufferCopy {
    vk::BufferCopy::default().src_offset(from).dst_offset(to.start).size(to.end - to.start)
}

/// Returns the barrier that makes a step's writes visible to the next.
fn between() -> vk::MemoryBarrier2<'static> {
    let work = vk::PipelineStageFlags2::COMPUTE_SHADER | vk::PipelineStageFlags2::ALL_TRANSFER;
    vk::MemoryBarrier2::default()
        .src_stage_mask(work)
        .src_access_mask(vk::AccessFlags2::MEMORY_WRITE)
        .dst_stage_mask(work)
        .dst_access_mask(vk::AccessFlags2::MEMORY_READ | vk::AccessFlags2::MEMORY_WRITE)
}
