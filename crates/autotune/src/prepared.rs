//! Compiled plans: programs, scratch memory and execution.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fulgurite_hal::{CompileOptions, Error, LaunchOptions};
use fulgurite_runtime::{Buffer, BufferView, Device, Graph, Program, Recorder};
use fulgurite_spec::Code;
use fulgurite_storage::DigestBuilder;

use crate::family::{Plan, Slot, SlotBuffer};
use crate::instance::{Candidate, Instance};

/// A compiled plan on its device.
#[derive(Debug)]
pub struct Prepared {
    device: Device,
    steps: Vec<PreparedStep>,
    scratch: Vec<Buffer>,
    /// Serializes use of the scratch memory.
    turn: Mutex<()>,
}

#[derive(Debug)]
struct PreparedStep {
    program: Program,
    buffers: Vec<Slot>,
    params: Vec<fulgurite_spec::eval::Components>,
    options: LaunchOptions,
}

/// Returns the id of a candidate: its executable's id, or a digest of several, followed by a digest of its
/// configuration, because two configurations may launch the same kernel with different grids.
///
/// # Errors
/// Errors of building the kernels, and of compiling them before the driver is called.
pub(crate) fn candidate_id(device: &Device, candidate: &Candidate) -> Result<String, Error> {
    let plan = candidate.plan()?;
    let ids = plan.steps.iter().map(|step| device.executable_id(&step.kernel, &CompileOptions::default()));
    let ids = ids.collect::<Result<Vec<_>, _>>()?;
    let runs = match &ids[..] {
        [one] => one.clone(),
        several => {
            let digest = DigestBuilder::new("fulgurite plan 1");
            let digest = several.iter().fold(digest, |digest, id| digest.text(id)).finish();
            format!("{}:{digest}", device.snapshot().backend)
        }
    };
    let config = DigestBuilder::new("fulgurite configuration 1").text(&candidate.name()).finish();
    Ok(format!("{runs}#{}", &config.to_string()[..8]))
}

/// Compiles the kernels of candidates concurrently. Errors recur when the kernels are compiled individually.
pub(crate) fn compile_together(device: &Device, instance: &Instance, candidates: &[usize]) {
    let plans: Vec<_> = candidates.iter().filter_map(|at| instance.candidates[*at].plan().ok()).collect();
    let kernels = plans.iter().flat_map(|plan| &plan.steps).map(|step| &step.kernel);
    let _ = device.prewarm(kernels, &CompileOptions::default(), &|_| ());
}

impl Prepared {
    /// Compiles the kernels of `plan` and allocates its scratch memory.
    ///
    /// # Errors
    /// Errors of compilation and allocation.
    pub fn new(device: &Device, plan: Plan) -> Result<Self, Error> {
        let mut steps = Vec::with_capacity(plan.steps.len());
        for step in plan.steps {
            let program = device.compile(&step.kernel, &CompileOptions::default())?;
            let (buffers, params, options) = (step.buffers, step.params, step.options);
            steps.push(PreparedStep { program, buffers, params, options });
        }
        let scratch = plan.scratch.iter().map(|bytes| device.zeroed(*bytes)).collect::<Result<_, _>>()?;
        Ok(Self { device: device.clone(), steps, scratch, turn: Mutex::new(()) })
    }

    /// Locks the scratch memory. `None` if there is none, in which case launches may run concurrently.
    fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        // Data left by a launch that panicked is overwritten.
        (!self.scratch.is_empty()).then(|| self.turn.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fills the scratch memory, whose initial contents no launch may rely on.
    pub(crate) fn fill_scratch(&self, pattern: &[u8]) -> Result<(), Error> {
        self.scratch.iter().try_for_each(|buffer| buffer.whole().fill(pattern))
    }

    /// Returns the workgroup size of the first launch.
    pub fn workgroup(&self) -> Option<[u32; 3]> {
        self.steps.first().map(|step| step.program.kernel().workgroup)
    }

    /// Runs all launches and waits for them. `options` override the plan's, except for the grid.
    ///
    /// # Errors
    /// `FG0501` if an argument is missing; otherwise as for [`Program::launch`].
    pub fn launch(&self, arguments: &[BufferView], options: &LaunchOptions) -> Result<(), Error> {
        let Some((last, before)) = self.steps.split_last() else { return Ok(()) };
        let _turn = self.turn();
        // Submissions run in order, so waiting for the last suffices; errors of earlier ones are collected below.
        let mut pending = Vec::with_capacity(before.len());
        for step in before {
            let bound = self.bind(step, arguments)?;
            pending.push(step.program.submit(&bound, &step.params, &merged(step, options))?);
        }
        let bound = self.bind(last, arguments)?;
        last.program.launch(&bound, &last.params, &merged(last, options))?;
        pending.into_iter().try_for_each(|pending| pending.wait().map(drop))
    }

    /// Records all launches `times` times, for submission as one graph.
    pub(crate) fn repeated(
        &self,
        arguments: &[BufferView],
        options: &LaunchOptions,
        times: usize,
    ) -> Result<Graph, Error> {
        let mut recorder = Recorder::new(&self.device);
        for step in std::iter::repeat_n(&self.steps, times).flatten() {
            let views = self.bind(step, arguments)?.into_iter();
            let slots: Vec<_> = views.map(|view| recorder.slot(view)).collect();
            recorder.launch(&step.program, &slots, &step.params, &merged(step, options))?;
        }
        Ok(recorder.finish())
    }

    /// Runs all launches and returns their total device time, or host time where the device measures none.
    ///
    /// # Errors
    /// As for [`launch`](Self::launch).
    pub fn timed(&self, arguments: &[BufferView], options: &LaunchOptions) -> Result<Duration, Error> {
        let _turn = self.turn();
        let mut all = Duration::ZERO;
        for step in &self.steps {
            let bound = self.bind(step, arguments)?;
            let begun = Instant::now();
            let report = step.program.launch(&bound, &step.params, &merged(step, options).timed(true))?;
            all += report.device_time.unwrap_or_else(|| begun.elapsed());
        }
        Ok(all)
    }

    fn bind(&self, step: &PreparedStep, arguments: &[BufferView]) -> Result<Vec<BufferView>, Error> {
        let view = |slot: &Slot| {
            let whole = match slot.buffer {
                SlotBuffer::Argument(index) => arguments.get(index).cloned(),
                SlotBuffer::Scratch(index) => self.scratch.get(index).map(Buffer::whole),
            };
            let whole = whole.ok_or_else(|| {
                let message =
                    format!("{:?} is bound, but {} arguments were passed", slot.buffer, arguments.len());
                Error::invalid(Code::WrongArgumentCount, message)
            })?;
            slot.range.as_ref().map_or(Ok(whole.clone()), |range| whole.view(range.clone()))
        };
        step.buffers.iter().map(view).collect()
    }
}

fn merged(step: &PreparedStep, options: &LaunchOptions) -> LaunchOptions {
    let mut merged = step.options.merged(options);
    merged.grid = step.options.grid;
    merged
}
