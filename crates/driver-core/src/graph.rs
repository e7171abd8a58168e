//! Graphs: launches, copies and fills that are recorded once and replayed as often as one likes, with other buffers and
//! parameters if need be.
//!
//! A replay does what the same calls would do one by one, in the order of recording. Which steps depend on which is found
//! from the access that each kernel declares and the bytes that are bound, so that a device with a queue may overlap the
//! others.

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

/// A place of a graph that a view is bound to.
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
    /// Its number, from 0 in order of recording.
    pub fn index(self) -> usize {
        self.index
    }
}

/// A step as it was recorded.
#[derive(Clone)]
enum Recorded {
    Launch(Box<RecordedLaunch>),
    Copy { from: usize, to: usize },
    Fill { to: usize, pattern: Arc<[u8]> },
}

#[derive(Clone)]
struct RecordedLaunch {
    program: Program,
    /// Slots, by number.
    buffers: Vec<usize>,
    params: Vec<Components>,
    options: LaunchOptions,
}

impl Recorded {
    /// The slots that it uses.
    fn slots(&self) -> impl Iterator<Item = usize> {
        let (buffers, others) = match self {
            Self::Launch(launch) => (launch.buffers.as_slice(), [None, None]),
            Self::Copy { from, to } => (&[][..], [Some(*from), Some(*to)]),
            Self::Fill { to, .. } => (&[][..], [Some(*to), None]),
        };
        buffers.iter().copied().chain(others.into_iter().flatten())
    }
}

/// Records a [`Graph`]. Nothing runs.
pub struct Recorder {
    device: Device,
    graph: u64,
    slots: Vec<BufferView>,
    steps: Vec<Recorded>,
    resolved: Vec<StepWork>,
}

/// Recorded steps, ready to be replayed.
pub struct Graph {
    device: Device,
    graph: u64,
    slots: Vec<BufferView>,
    steps: Vec<Recorded>,
    hazards: Vec<Hazard>,
    ready: Arc<Ready>,
}

/// What a replay needs.
struct Ready {
    steps: Vec<GraphStep>,
    /// The backend's forms that no replay is using: as many as there were replays at once.
    idle: Mutex<Vec<Box<dyn Recording>>>,
    /// Whose turn it is where there are no recordings: the steps of one replay do not mix with those of another.
    turn: Mutex<()>,
}

impl Ready {
    fn new(steps: Vec<GraphStep>) -> Arc<Self> {
        Arc::new(Self { steps, idle: Mutex::new(Vec::new()), turn: Mutex::new(()) })
    }
}

impl Recorder {
    /// A recorder of steps on `device`.
    pub fn new(device: &Device) -> Self {
        static GRAPHS: AtomicU64 = AtomicU64::new(0);
        let graph = GRAPHS.fetch_add(1, Ordering::Relaxed);
        Self { device: device.clone(), graph, slots: Vec::new(), steps: Vec::new(), resolved: Vec::new() }
    }

    /// A place for a buffer, to which `view` is bound until another is. Whatever is wrong with the view is said by the steps
    /// that use the slot: a view that none uses, foreign or freed, does no harm.
    pub fn slot(&mut self, view: impl Into<BufferView>) -> Slot {
        self.slots.push(view.into());
        Slot { graph: self.graph, index: self.slots.len() - 1 }
    }

    /// Records a launch.
    ///
    /// # Errors
    /// As [`Program::launch`] for what is known before it runs; `FG0511` for a slot of another graph, `FG0506` for a
    /// program of another device.
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

    /// Records a copy of as many bytes as both views have.
    ///
    /// # Errors
    /// `FG0503` if the sizes differ, `FG0504` if the two overlap, `FG0511` for a slot of another graph.
    pub fn copy(&mut self, from: Slot, to: Slot) -> Result<StepId, Error> {
        let (from, to) = (self.index(from)?, self.index(to)?);
        self.push(Recorded::Copy { from, to })
    }

    /// Records that `pattern` is repeated over a view.
    ///
    /// # Errors
    /// `FG0503` if it is no whole number of patterns, `FG0511` for a slot of another graph.
    pub fn fill(&mut self, to: Slot, pattern: &[u8]) -> Result<StepId, Error> {
        let to = self.index(to)?;
        self.push(Recorded::Fill { to, pattern: pattern.into() })
    }

    /// The graph of what was recorded.
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

/// A step with what is bound to its slots, checked.
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
    /// How many steps it has.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Why steps wait for earlier ones, as they are bound now.
    pub fn hazards(&self) -> &[Hazard] {
        &self.hazards
    }

    /// Binds other views and sets other parameters, all at once: after an error, none.
    ///
    /// # Errors
    /// As recording; `FG0511` for slots and steps of another graph and for parameters of a step that is no launch.
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

    /// Does all steps and waits for them, behind all that was submitted before.
    ///
    /// # Errors
    /// `FG0509` if a buffer was freed since, and what a step meets on the device: what it and later ones write is then
    /// unspecified.
    pub fn replay(&self) -> Result<LaunchReport, Error> {
        self.check_alive()?;
        self.device.worker().settle()?;
        replay(&self.device, &self.ready)
    }

    /// Begins a replay and does not wait for it.
    ///
    /// # Errors
    /// `FG0509` if a buffer was freed since.
    pub fn submit(&self) -> Result<Pending<LaunchReport>, Error> {
        self.check_alive()?;
        let (promise, pending) = promise();
        let (device, ready) = (self.device.clone(), Arc::clone(&self.ready));
        let job = Box::new(move || promise.keep(replay(&device, &ready)));
        self.device.worker().push(Kind::Deferred, job)?;
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
        None => device.backend().record(steps)?,
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

/// What a device without recordings does.
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

/// A line for each step: what it does, with which bytes, and what it waits for.
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
