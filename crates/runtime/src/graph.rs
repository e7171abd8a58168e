//! Graphs: launches, copies and fills that are recorded once and replayed any number of times, with different buffers
//! and parameters if needed.
//!
//! A replay has the effect of the recorded steps, one by one, in recording order. Dependencies follow from the access
//! that each kernel declares and the bytes that are bound, so that a device with a queue may overlap independent
//! steps.

mod hazards;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fulgurite_hal::{Error, GraphStep, LaunchOptions, LaunchReport, Recording, StepWork};
use fulgurite_spec::Code;
use fulgurite_spec::eval::Components;

use crate::buffer::BufferView;
use crate::counters::add;
use crate::device::Device;
use crate::pending::{Pending, promise};
use crate::program::Program;
use crate::sync::{Mutex, lock};
use crate::worker::Kind;

pub use hazards::{Hazard, HazardKind};

/// A slot of a graph to which a view is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    graph: u64,
    index: usize,
}

/// A step of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StepId {
    graph: u64,
    index: usize,
}

impl StepId {
    /// The number of the step, from 0 in recording order.
    pub fn index(self) -> usize {
        self.index
    }
}

/// A recorded step.
#[derive(Clone)]
enum Recorded {
    Launch(Box<RecordedLaunch>),
    Copy { from: usize, to: usize },
    Fill { to: usize, pattern: Arc<[u8]> },
}

#[derive(Clone)]
struct RecordedLaunch {
    program: Program,
    /// The slots, by number.
    buffers: Vec<usize>,
    params: Vec<Components>,
    options: LaunchOptions,
}

impl Recorded {
    /// The slots that the step uses.
    fn slots(&self) -> impl Iterator<Item = usize> {
        let (buffers, others) = match self {
            Self::Launch(launch) => (launch.buffers.as_slice(), [None, None]),
            Self::Copy { from, to } => (&[][..], [Some(*from), Some(*to)]),
            Self::Fill { to, .. } => (&[][..], [Some(*to), None]),
        };
        buffers.iter().copied().chain(others.into_iter().flatten())
    }
}

/// Records a [`Graph`]. Recording runs nothing.
pub struct Recorder {
    device: Device,
    graph: u64,
    slots: Vec<BufferView>,
    steps: Vec<Recorded>,
    resolved: Vec<StepWork>,
}

/// Recorded steps that can be replayed.
pub struct Graph {
    device: Device,
    graph: u64,
    slots: Vec<BufferView>,
    steps: Vec<Recorded>,
    hazards: Vec<Hazard>,
    ready: Arc<Ready>,
}

/// The resources of replays.
struct Ready {
    steps: Vec<GraphStep>,
    /// The backend's recordings that are not in use: as many as there were concurrent replays.
    idle: Mutex<Vec<Box<dyn Recording>>>,
    /// Held by the running replay where the backend has no recordings, so that the steps of two replays do not
    /// interleave.
    turn: Mutex<()>,
}

impl Ready {
    fn new(steps: Vec<GraphStep>) -> Arc<Self> {
        Arc::new(Self { steps, idle: Mutex::new(Vec::new()), turn: Mutex::new(()) })
    }
}

impl Recorder {
    /// Returns a recorder of steps on `device`.
    pub fn new(device: &Device) -> Self {
        static GRAPHS: AtomicU64 = AtomicU64::new(0);
        let graph = GRAPHS.fetch_add(1, Ordering::Relaxed);
        Self { device: device.clone(), graph, slots: Vec::new(), steps: Vec::new(), resolved: Vec::new() }
    }

    /// Adds a slot to which `view` is bound until another is. Errors of the view are reported by the steps that use
    /// the slot; an unused view may be foreign or freed.
    pub fn slot(&mut self, view: impl Into<BufferView>) -> Slot {
        self.slots.push(view.into());
        Slot { graph: self.graph, index: self.slots.len() - 1 }
    }

    /// Records a launch.
    ///
    /// # Errors
    /// Those of [`Program::launch`] that are known before the launch; `FG0511` for a slot of another graph, `FG0506`
    /// for a program of another device.
    pub fn launch(
        &mut self,
        program: &Program,
        buffers: &[Slot],
        params: &[Components],
        options: &LaunchOptions,
    ) -> Result<StepId, Error> {
        if !program.device().is_same(&self.device) {
            let message = format!("{program:?} is of another device than the graph's");
            return Err(Error::invalid(Code::ForeignBuffer, message));
        }
        let buffers = buffers.iter().map(|slot| self.index(*slot)).collect::<Result<_, _>>()?;
        let (program, params, options) = (program.clone(), params.to_vec(), options.clone());
        self.push(Recorded::Launch(Box::new(RecordedLaunch { program, buffers, params, options })))
    }

    /// Records a copy between two views of equal size.
    ///
    /// # Errors
    /// `FG0503` if the sizes differ, `FG0504` if the two overlap, `FG0511` for a slot of another graph.
    pub fn copy(&mut self, from: Slot, to: Slot) -> Result<StepId, Error> {
        let (from, to) = (self.index(from)?, self.index(to)?);
        self.push(Recorded::Copy { from, to })
    }

    /// Records a fill of a view with `pattern`, repeated.
    ///
    /// # Errors
    /// `FG0503` if the view is not a whole number of patterns, `FG0511` for a slot of another graph.
    pub fn fill(&mut self, to: Slot, pattern: &[u8]) -> Result<StepId, Error> {
        let to = self.index(to)?;
        self.push(Recorded::Fill { to, pattern: pattern.into() })
    }

    /// Returns the graph of the recorded steps.
    pub fn finish(self) -> Graph {
        let Self { device, graph, slots, steps, resolved } = self;
        let (hazards, ready) = hazards::find(resolved);
        Graph { device, graph, slots, steps, hazards, ready: Ready::new(ready) }
    }

    fn index(&self, slot: Slot) -> Result<usize, Error> {
        own(slot.graph, self.graph, "a slot").map(|()| slot.index)
    }

    fn push(&mut self, step: Recorded) -> Result<StepId, Error> {
        self.resolved.push(resolve(&step, &self.slots, &self.device)?);
        self.steps.push(step);
        Ok(StepId { graph: self.graph, index: self.steps.len() - 1 })
    }
}

fn own(graph: u64, expected: u64, what: &str) -> Result<(), Error> {
    if graph == expected {
        return Ok(());
    }
    Err(Error::invalid(Code::BadGraph, format!("{what} of another graph")))
}

/// A step with the bindings of its slots, checked.
fn resolve(step: &Recorded, slots: &[BufferView], device: &Device) -> Result<StepWork, Error> {
    let bound = |slot: usize| slots[slot].bind(device);
    match step {
        Recorded::Launch(launch) => {
            let RecordedLaunch { program, buffers, params, options } = &**launch;
            let buffers = buffers.iter().map(|slot| bound(*slot)).collect::<Result<_, _>>()?;
            let launch = program.check(buffers, params, options)?;
            StepWork::launch(Arc::clone(program.executable()), launch)
        }
        Recorded::Copy { from, to } => StepWork::copy(bound(*from)?, bound(*to)?),
        Recorded::Fill { to, pattern } => StepWork::fill(bound(*to)?, Arc::clone(pattern)),
    }
}

impl Graph {
    /// Returns the number of steps.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Returns whether the graph has no steps.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Returns the hazards between the steps with their current bindings.
    pub fn hazards(&self) -> &[Hazard] {
        &self.hazards
    }

    /// Binds other views and sets other parameters, all of them or, on an error, none.
    ///
    /// # Errors
    /// Those of recording; `FG0511` for slots and steps of another graph, and for parameters of a step that is not a
    /// launch.
    pub fn update(
        &mut self,
        bind: &[(Slot, BufferView)],
        params: &[(StepId, Vec<Components>)],
    ) -> Result<(), Error> {
        let (mut slots, mut steps) = (self.slots.clone(), self.steps.clone());
        for (slot, view) in bind {
            own(slot.graph, self.graph, "a slot")?;
            slots[slot.index] = view.clone();
        }
        for (step, values) in params {
            own(step.graph, self.graph, "a step")?;
            match &mut steps[step.index] {
                Recorded::Launch(launch) => launch.params.clone_from(values),
                _ => {
                    let message = format!("step {} is no launch and has no parameters", step.index);
                    return Err(Error::invalid(Code::BadGraph, message));
                }
            }
        }
        let resolved = steps.iter().map(|step| resolve(step, &slots, &self.device));
        let (hazards, ready) = hazards::find(resolved.collect::<Result<_, _>>()?);
        // A replay under way keeps what it has.
        self.ready = Ready::new(ready);
        (self.slots, self.steps, self.hazards) = (slots, steps, hazards);
        Ok(())
    }

    /// Runs all steps after everything submitted before, and waits for them.
    ///
    /// # Errors
    /// `FG0509` if a buffer has been freed, and device errors of the steps: the outputs of the failed and all later
    /// steps are then unspecified.
    pub fn replay(&self) -> Result<LaunchReport, Error> {
        self.check_alive()?;
        self.device.worker().settle()?;
        replay(&self.device, &self.ready)
    }

    /// Starts a replay without waiting for it.
    ///
    /// # Errors
    /// `FG0509` if a buffer has been freed.
    pub fn submit(&self) -> Result<Pending<LaunchReport>, Error> {
        self.check_alive()?;
        let (promise, pending) = promise();
        let (device, ready) = (self.device.clone(), Arc::clone(&self.ready));
        let run = move || replay(&device, &ready);
        self.device.worker().push(Kind::Deferred, Box::new(move || promise.keep(run())))?;
        Ok(pending)
    }

    fn check_alive(&self) -> Result<(), Error> {
        // Slots that no step uses may be bound to anything: those of a step that was refused are.
        let mut used = self.steps.iter().flat_map(Recorded::slots);
        used.try_for_each(|slot| self.slots[slot].bind(&self.device).map(drop))
    }
}

fn replay(device: &Device, ready: &Ready) -> Result<LaunchReport, Error> {
    let steps = &ready.steps;
    let span = tracing::debug_span!("replay", steps = steps.len());
    let _in = span.enter();
    // Not locked while the device is waited for: who replays meanwhile has a form of its own.
    let idle = lock(&ready.idle).pop();
    let recording = match idle {
        Some(recording) => Some(recording),
        None => device.raw().record(steps)?,
    };
    let result = match recording {
        Some(mut recording) => {
            let result = recording.replay();
            lock(&ready.idle).push(recording);
            result
        }
        None => {
            let _turn = lock(&ready.turn);
            one_by_one(steps)
        }
    };
    let counting = device.counting();
    match &result {
        Ok(report) => {
            add(&counting.replays, 1);
            let launches = steps.iter().filter(|step| matches!(step.work, StepWork::Launch { .. }));
            add(&counting.launches, launches.count() as u64);
            counting.time(report);
        }
        Err(_) => add(&counting.failed_launches, 1),
    }
    result
}

/// Runs the steps one by one, for a device without recordings.
fn one_by_one(steps: &[GraphStep]) -> Result<LaunchReport, Error> {
    let mut device_time = None;
    for step in steps {
        match &step.work {
            StepWork::Launch { executable, launch, .. } => {
                let report = executable.launch(launch)?;
                if let Some(time) = report.device_time {
                    device_time = Some(device_time.unwrap_or_default() + time);
                }
            }
            StepWork::Copy { from, to, .. } => {
                to.buffer().copy(to.offset(), from.buffer().as_ref(), from.range())?;
            }
            StepWork::Fill { to, pattern, .. } => to.buffer().fill(to.range(), pattern)?,
        }
    }
    Ok(device_time.map_or_else(LaunchReport::default, LaunchReport::timed))
}

/// Prints one line for each step: its work, its byte ranges and its dependencies.
impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.steps.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{i}: ")?;
            match step {
                Recorded::Launch(launch) => {
                    let kernel = launch.program.kernel();
                    write!(f, "launch `{}`", kernel.name)?;
                    for (declared, slot) in kernel.buffers.iter().zip(&launch.buffers) {
                        write!(f, ", %{} = {:?}", declared.name, self.slots[*slot])?;
                    }
                }
                Recorded::Copy { from, to } => {
                    write!(f, "copy {:?} to {:?}", self.slots[*from], self.slots[*to])?;
                }
                Recorded::Fill { to, .. } => write!(f, "fill {:?}", self.slots[*to])?,
            }
            for hazard in self.hazards.iter().filter(|hazard| hazard.step == i) {
                write!(f, "; {hazard}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
