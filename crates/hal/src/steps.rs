//! The steps of a graph as a backend receives them, and the recording that it makes of them.

use std::sync::Arc;

use crate::binding::Binding;
use crate::device::{Executable, LaunchReport, check_pattern};
use crate::error::Error;
use crate::launch::Launch;

/// A step of a graph.
#[derive(Clone)]
pub struct GraphStep {
    /// The work of the step.
    pub work: StepWork,
    /// Indices of the earlier steps that must have ended before this one begins, ascending.
    pub after: Vec<usize>,
}

/// The work of a graph step. Only the constructors make one, and they check it.
///
/// Matches are exhaustive: a new kind of step does not compile in a backend that cannot do it.
#[derive(Clone)]
pub enum StepWork {
    /// Runs a kernel.
    #[non_exhaustive]
    Launch {
        /// The compiled kernel, of the backend that receives the step.
        executable: Arc<dyn Executable>,
        /// A launch of that kernel.
        launch: Box<Launch>,
    },
    /// Copies one range to another of the same size. They do not overlap.
    #[non_exhaustive]
    Copy {
        /// The source.
        from: Binding,
        /// The destination.
        to: Binding,
    },
    /// Fills a range with a pattern, a whole number of times.
    #[non_exhaustive]
    Fill {
        /// The destination.
        to: Binding,
        /// The pattern.
        pattern: Arc<[u8]>,
    },
}

impl StepWork {
    /// Returns a launch of a compiled kernel.
    ///
    /// # Errors
    /// `FG0513` if the launch is of another kernel.
    pub fn launch(executable: Arc<dyn Executable>, launch: Launch) -> Result<Self, Error> {
        launch.check_kernel(executable.kernel())?;
        Ok(Self::Launch { executable, launch: Box::new(launch) })
    }

    /// Returns a copy between two ranges.
    ///
    /// # Errors
    /// `FG0503` if the sizes differ, `FG0504` if the ranges overlap.
    pub fn copy(from: Binding, to: Binding) -> Result<Self, Error> {
        from.check_copy_to(&to)?;
        Ok(Self::Copy { from, to })
    }

    /// Returns a fill of `to` with `pattern`.
    ///
    /// # Errors
    /// `FG0503` if the range is not a whole number of patterns.
    pub fn fill(to: Binding, pattern: Arc<[u8]>) -> Result<Self, Error> {
        check_pattern(to.bytes(), &pattern)?;
        Ok(Self::Fill { to, pattern })
    }
}

/// A graph in a form that a backend replays as a whole.
pub trait Recording: Send {
    /// Runs all steps and waits for them.
    ///
    /// # Errors
    /// As [`Executable::launch`]: the first error of any step.
    fn replay(&mut self) -> Result<LaunchReport, Error>;
}
