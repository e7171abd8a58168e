//! What a family of kernels is: its configurations for a device and a problem, and the launches of each.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use fulgurite_hal::{Error, LaunchOptions};
use fulgurite_ir::VerifiedKernel;
use fulgurite_spec::device::DeviceSnapshot;
use fulgurite_spec::eval::Components;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Kernels that compute the same in different ways, of which the fastest is looked for.
///
/// All of it is pure: what a device can do is in its snapshot.
pub trait Family: Send + Sync + 'static {
    /// One way to compute it: numbers, flags and names, as a record keeps them.
    type Config: Serialize + DeserializeOwned + Clone + PartialEq + fmt::Debug + Send + Sync + 'static;
    /// What is to be computed: sizes. As text, it is what `--problem` takes.
    type Problem: Clone + fmt::Display + FromStr<Err = String> + Send + Sync + 'static;

    /// The arguments, as types of the builder: `(Read<f32>, Write<f32>)`, in the order of
    /// [`arguments`](Self::arguments).
    type Arguments: 'static;

    /// Its name: lower case and `_`.
    fn id(&self) -> &'static str;

    /// The version of what its configurations mean: what was measured of another one is of no use.
    fn version(&self) -> u32;

    /// The problems that share a record with `problem`: equal text for those. Default: only itself.
    fn bucket(&self, problem: &Self::Problem) -> String {
        problem.to_string()
    }

    /// Every configuration that is valid for `problem` within the limits of `device`: what cannot run is left out before
    /// anything is compiled. Empty if none is.
    fn space(&self, device: &DeviceSnapshot, problem: &Self::Problem) -> Vec<Self::Config>;

    /// Which problems have a configuration on a device that has what it takes, if not all have: said where
    /// [`space`](Self::space) is empty.
    fn takes(&self) -> &'static str {
        ""
    }

    /// The configuration that is used untuned. Valid wherever [`space`](Self::space) is not empty.
    fn heuristic(&self, device: &DeviceSnapshot, problem: &Self::Problem) -> Self::Config;

    /// What a configuration launches.
    ///
    /// # Errors
    /// What the builder or the verifier says of the kernel: a bug of the family.
    fn plan(&self, config: &Self::Config, problem: &Self::Problem) -> Result<Plan, Error>;

    /// What people look for first in a configuration.
    fn summary(&self, config: &Self::Config) -> Summary;

    /// The arguments of a launch, in order.
    fn arguments(&self, problem: &Self::Problem) -> Vec<Argument>;

    /// Arguments to run on, made of `seed`, and what must come out: by plain Rust, not by another configuration.
    fn trial(&self, problem: &Self::Problem, numbers: Numbers, seed: u64) -> Trial;

    /// What its time is put in proportion to.
    fn work(&self, problem: &Self::Problem) -> Work;

    /// How promising a configuration is: those with less are tried first. Default: all alike.
    fn prior(&self, device: &DeviceSnapshot, problem: &Self::Problem, config: &Self::Config) -> f64 {
        let _ = (device, problem, config);
        0.0
    }
}

/// What people look for first in a configuration, next to its workgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How often the innermost loop's body is repeated in the text, or how many items an invocation has.
    pub unroll: Option<u32>,
    /// What a workgroup computes together, by dimension.
    pub tile: Vec<u32>,
}

/// One argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its size.
    pub bytes: u64,
    /// Whether the launches write it.
    pub is_output: bool,
}

impl Argument {
    /// Memory that is read.
    pub const fn input(bytes: u64) -> Self {
        Self { bytes, is_output: false }
    }

    /// Memory that is written.
    pub const fn output(bytes: u64) -> Self {
        Self { bytes, is_output: true }
    }
}

/// Launches that follow each other.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Sizes of buffers that the launches need besides the arguments. What they hold before is unspecified.
    pub scratch: Vec<u64>,
    /// The launches.
    pub steps: Vec<Step>,
}

impl Plan {
    /// One launch of `kernel` on all arguments.
    pub fn of(kernel: Arc<VerifiedKernel>, params: Vec<Components>, options: LaunchOptions) -> Self {
        let buffers = (0..kernel.buffers.len()).map(Slot::argument).collect();
        Self { scratch: Vec::new(), steps: vec![Step { kernel, buffers, params, options }] }
    }
}

/// One launch.
#[derive(Clone, Debug)]
pub struct Step {
    /// The kernel.
    pub kernel: Arc<VerifiedKernel>,
    /// What it binds, in its order.
    pub buffers: Vec<Slot>,
    /// Its parameters.
    pub params: Vec<Components>,
    /// Its grid, and what else a launch states.
    pub options: LaunchOptions,
}

/// Which buffer a step binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Which one.
    pub buffer: SlotBuffer,
    /// A part of its bytes, or all.
    pub range: Option<Range<u64>>,
}

/// A buffer of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotBuffer {
    /// The argument with this number.
    Argument(usize),
    /// The scratch buffer with this number.
    Scratch(usize),
}

impl Slot {
    /// All of an argument.
    pub const fn argument(index: usize) -> Self {
        Self { buffer: SlotBuffer::Argument(index), range: None }
    }

    /// All of a scratch buffer.
    pub const fn scratch(index: usize) -> Self {
        Self { buffer: SlotBuffer::Scratch(index), range: None }
    }

    /// Only the bytes `range` of it.
    #[must_use]
    pub fn part(mut self, range: Range<u64>) -> Self {
        self.range = Some(range);
        self
    }
}

/// What the numbers of a trial are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Whole numbers so small that every sum is exact in whatever order it is made: results are right or wrong.
    Exact,
    /// Random ones, as in use: results are right within the bounds of the ops. Devices are timed on these, since some draw
    /// less power, and run faster, on others.
    Random,
}

/// Arguments, and what must come out.
pub struct Trial {
    /// What each argument holds before: zeros where it is empty.
    pub arguments: Vec<Vec<u8>>,
    /// Looks at what the outputs hold afterwards, in order.
    pub check: Check,
}

/// Whether outputs are right.
pub type Check = Box<dyn Fn(&[Vec<u8>]) -> Result<(), Mismatch> + Send + Sync>;

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trial of {} arguments", self.arguments.len())
    }
}

/// The first difference that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Which output.
    pub output: usize,
    /// Which element of it.
    pub element: u64,
    /// What it must be.
    pub expected: String,
    /// What it is.
    pub actual: String,
}

impl Mismatch {
    /// Element `element` of the first output differs.
    pub fn at(element: u64, expected: impl fmt::Display, actual: impl fmt::Display) -> Self {
        Self { output: 0, element, expected: expected.to_string(), actual: actual.to_string() }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { output, element, expected, actual } = self;
        write!(f, "output {output}, element {element}: {actual}, not {expected}")
    }
}

/// What a problem's time is put in proportion to.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Work {
    /// Bytes that must be read or written.
    Bytes(u64),
    /// Multiplications and additions of floats.
    Operations(f64),
}

impl Work {
    /// How much of it is done in a second, with its unit.
    pub fn rate(self, seconds: f64) -> (f64, &'static str) {
        match self {
            Self::Bytes(bytes) => (bytes as f64 / seconds / 1e9, "GB/s"),
            Self::Operations(count) => (count / seconds / 1e9, "GFLOP/s"),
        }
    }
}
