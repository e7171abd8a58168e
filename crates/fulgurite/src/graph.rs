//! Graphs: launches, copies and fills that are recorded once and replayed any number of times.

use std::fmt;

use fulgurite_hal::{Error, LaunchOptions, LaunchReport};
use fulgurite_runtime::{self as runtime, Hazard, Pending, Slot, StepId};
use fulgurite_spec::eval::Components;

use crate::args::{Bound, LaunchArgs};
use crate::buffer::{BufferView, BufferViewMut, Element};
use crate::context::Context;
use crate::executable::Executable;

impl Context {
    /// Starts recording a graph: see [`GraphRecorder`].
    pub fn graph(&self) -> GraphRecorder {
        GraphRecorder { raw: runtime::Recorder::new(self.driver()) }
    }
}

/// Records a [`Graph`]. Nothing runs until it is replayed.
///
/// Buffers are borrowed only while a step is recorded: the graph holds handles of its own, and a replay is ordered
/// with all other work on the buffers.
///
/// ```
/// use fulgurite::prelude::*;
///
/// let add = kernel::<(ReadWrite<u32>, u32)>("add", ["y", "n"], [64, 1, 1], |k, (y, n)| {
///     let i = k.global_id().x();
///     y.store(i, y.load(i) + n);
/// })?;
/// let ctx = Context::open()?;
/// let add = ctx.compile(&add)?;
/// let (mut y, mut sum) = (ctx.zeroed::<u32>(3)?, ctx.zeroed::<u32>(3)?);
///
/// let mut recorder = ctx.graph();
/// recorder.fill(&mut y, 5)?;
/// let step = recorder.launch(&add, (&mut y, 1))?;
/// recorder.copy(&y, &mut sum)?;
/// let mut graph = recorder.finish();
///
/// graph.replay()?;
/// assert_eq!(sum.read()?, [6, 6, 6]);
/// graph.update().launch(&step, (&mut y, 10)).apply()?;
/// graph.replay()?;
/// assert_eq!(sum.read()?, [15, 15, 15]);
/// # Ok::<(), Error>(())
/// ```
pub struct GraphRecorder {
    raw: runtime::Recorder,
}

/// Recorded steps that can be replayed. `Debug` prints the work and the dependencies of each step.
pub struct Graph {
    raw: runtime::Graph,
}

/// A launch of a graph whose kernel has the arguments `A`.
pub struct LaunchStep<A> {
    step: StepId,
    /// One for each buffer.
    slots: Vec<Slot>,
    executable: Executable<A>,
}

/// Updates of the arguments of launches, applied all at once.
#[must_use = "nothing is changed until `apply`"]
pub struct GraphUpdate<'g> {
    graph: &'g mut runtime::Graph,
    buffers: Vec<(Slot, runtime::BufferView)>,
    params: Vec<(StepId, Vec<Components>)>,
    wrong: Option<Error>,
}

impl GraphRecorder {
    /// Records a launch with the executable's options; [`with_options`](Executable::with_options) changes them.
    ///
    /// # Errors
    /// Those of [`Executable::launch`] that are known before the launch, and `FG0506` for an executable of another
    /// context.
    pub fn launch<A>(
        &mut self,
        executable: &Executable<A>,
        args: impl LaunchArgs<A>,
    ) -> Result<LaunchStep<A>, Error> {
        let bound = Bound::checked(args, executable.kernel())?;
        let slots: Vec<_> = bound.buffers.into_iter().map(|view| self.raw.slot(view)).collect();
        let step = self.raw.launch(executable.program(), &slots, &bound.params, &LaunchOptions::default())?;
        Ok(LaunchStep { step, slots, executable: executable.clone() })
    }

    /// Records a copy between two buffers or views of equal length.
    ///
    /// # Errors
    /// `FG0503` if the lengths differ, `FG0506` for a buffer of another context.
    pub fn copy<'f, 't, T: Element>(
        &mut self,
        from: impl Into<BufferView<'f, T>>,
        to: impl Into<BufferViewMut<'t, T>>,
    ) -> Result<(), Error> {
        let (from, to) = (self.raw.slot(from.into().into_raw()), self.raw.slot(to.into().into_raw()));
        self.raw.copy(from, to).map(drop)
    }

    /// Records a fill of a buffer or view with `value`.
    ///
    /// # Errors
    /// `FG0506` for a buffer of another context.
    pub fn fill<'t, T: Element>(
        &mut self,
        to: impl Into<BufferViewMut<'t, T>>,
        value: T,
    ) -> Result<(), Error> {
        let to = self.raw.slot(to.into().into_raw());
        self.raw.fill(to, bytemuck::bytes_of(&value)).map(drop)
    }

    /// Returns the graph of the recorded steps.
    pub fn finish(self) -> Graph {
        Graph { raw: self.raw.finish() }
    }
}

impl Graph {
    /// Runs all steps after everything submitted before, and waits for them.
    ///
    /// # Errors
    /// `FG0509` if a buffer has been freed, and device errors of the steps: the outputs of the failed and all later
    /// steps are then unspecified.
    pub fn replay(&self) -> Result<LaunchReport, Error> {
        self.raw.replay()
    }

    /// Starts a replay without waiting for it.
    ///
    /// # Errors
    /// `FG0509` if a buffer has been freed.
    pub fn submit(&self) -> Result<Pending<LaunchReport>, Error> {
        self.raw.submit()
    }

    /// Starts an update of arguments. A replay in progress keeps its arguments.
    pub fn update(&mut self) -> GraphUpdate<'_> {
        GraphUpdate { graph: &mut self.raw, buffers: Vec::new(), params: Vec::new(), wrong: None }
    }

    /// Returns the number of steps.
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Returns whether the graph has no steps.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Returns the hazards between the steps with their current arguments.
    pub fn hazards(&self) -> &[Hazard] {
        self.raw.hazards()
    }
}

impl GraphUpdate<'_> {
    /// Sets the arguments of a launch, of as many buffers and parameters.
    pub fn launch<A>(mut self, step: &LaunchStep<A>, args: impl LaunchArgs<A>) -> Self {
        match Bound::checked(args, step.executable.kernel()) {
            Ok(bound) if bound.buffers.len() == step.slots.len() => {
                self.buffers.extend(step.slots.iter().copied().zip(bound.buffers));
                self.params.push((step.step, bound.params));
            }
            Ok(bound) => {
                let (has, given) = (step.slots.len(), bound.buffers.len());
                let name = &step.executable.kernel().name;
                let message = format!("kernel `{name}`: {has} buffers, {given} arguments");
                let error = Error::invalid(fulgurite_spec::Code::WrongArgumentCount, message);
                self.wrong = self.wrong.or(Some(error));
            }
            Err(error) => self.wrong = self.wrong.or(Some(error)),
        }
        self
    }

    /// Applies all updates, or none on an error.
    ///
    /// # Errors
    /// Those of [`GraphRecorder::launch`], and `FG0511` for a step of another graph.
    pub fn apply(self) -> Result<(), Error> {
        match self.wrong {
            Some(error) => Err(error),
            None => self.graph.update(&self.buffers, &self.params),
        }
    }
}

impl<A> Clone for LaunchStep<A> {
    fn clone(&self) -> Self {
        Self { step: self.step, slots: self.slots.clone(), executable: self.executable.clone() }
    }
}

impl<A> fmt::Debug for LaunchStep<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LaunchStep({})", self.step.index())
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.raw, f)
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
