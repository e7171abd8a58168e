//! Families of kernels: the configurations for a device and a problem, and the launches of each.

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

/// A set of kernels that compute the same result in different ways, searched for the fastest.
///
/// All methods are pure; the capabilities of a device come from its snapshot.
pub trait Family: Send + Sync + 'static {
    /// A configuration: numbers, flags and names, as stored in records.
    type Config: Serialize + DeserializeOwned + Clone + PartialEq + fmt::Debug + Send + Sync + 'static;
    /// The sizes of a problem. Its text form is the argument of `--problem`.
    type Problem: Clone + fmt::Display + FromStr<Err = String> + Send + Sync + 'static;

    /// Types of the arguments in the builder, such as `(Read<f32>, Write<f32>)`, in the order of
    /// [`arguments`](Self::arguments).
    type Arguments: 'static;

    /// Returns the name of the family, in lower case and `_`.
    fn id(&self) -> &'static str;

    /// Returns the version of the configurations' meaning. Records of other versions are not used.
    fn version(&self) -> u32;

    /// Returns the bucket of `problem`; problems with equal buckets share a record. The default is one bucket per
    /// problem.
    fn bucket(&self, problem: &Self::Problem) -> String {
        problem.to_string()
    }

    /// Returns all configurations valid for `problem` within the limits of `device`, so that none fails for lack of
    /// resources; empty if there are none.
    fn space(&self, device: &DeviceSnapshot, problem: &Self::Problem) -> Vec<Self::Config>;

    /// Describes the problems that the family supports on a capable device, if not all; used in the error for an empty
    /// [`space`](Self::space).
    fn takes(&self) -> &'static str {
        ""
    }

    /// Returns the configuration used without tuning. It must be valid wherever [`space`](Self::space) is not empty.
    fn heuristic(&self, device: &DeviceSnapshot, problem: &Self::Problem) -> Self::Config;

    /// Returns the launches of a configuration.
    ///
    /// # Errors
    /// Errors of the builder or the verifier, which are bugs of the family.
    fn plan(&self, config: &Self::Config, problem: &Self::Problem) -> Result<Plan, Error>;

    /// Returns the main characteristics of a configuration, for reports.
    fn summary(&self, config: &Self::Config) -> Summary;

    /// Returns the arguments of a launch, in order.
    fn arguments(&self, problem: &Self::Problem) -> Vec<Argument>;

    /// Returns input for a run, generated from `seed`, and the check of its outputs, computed by plain Rust rather than
    /// another configuration.
    fn trial(&self, problem: &Self::Problem, numbers: Numbers, seed: u64) -> Trial;

    /// Returns the amount of work, for rates.
    fn work(&self, problem: &Self::Problem) -> Work;

    /// Returns a priority of a configuration; lower ones are tried first. The default is the same for all.
    fn prior(&self, device: &DeviceSnapshot, problem: &Self::Problem, config: &Self::Config) -> f64 {
        let _ = (device, problem, config);
        0.0
    }
}

/// Main characteristics of a configuration, besides its workgroup size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Unroll factor of the innermost loop, or items per invocation.
    pub unroll: Option<u32>,
    /// Tile computed by a workgroup, by dimension.
    pub tile: Vec<u32>,
}

/// An argument of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Size in bytes.
    pub bytes: u64,
    /// Whether the launches write it.
    pub is_output: bool,
}

impl Argument {
    /// Creates an input.
    pub const fn input(bytes: u64) -> Self {
        Self { bytes, is_output: false }
    }

    /// Creates an output.
    pub const fn output(bytes: u64) -> Self {
        Self { bytes, is_output: true }
    }
}

/// A sequence of launches.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Sizes in bytes of buffers needed besides the arguments. Their initial contents are unspecified.
    pub scratch: Vec<u64>,
    /// Launches.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Creates a plan with one launch of `kernel` on all arguments.
    pub fn of(kernel: Arc<VerifiedKernel>, params: Vec<Components>, options: LaunchOptions) -> Self {
        let buffers = (0..kernel.buffers.len()).map(Slot::argument).collect();
        Self { scratch: Vec::new(), steps: vec![Step { kernel, buffers, params, options }] }
    }
}

/// A launch.
#[derive(Clone, Debug)]
pub struct Step {
    /// Kernel.
    pub kernel: Arc<VerifiedKernel>,
    /// Bound buffers, in the kernel's order.
    pub buffers: Vec<Slot>,
    /// Parameters.
    pub params: Vec<Components>,
    /// Launch options, including the grid.
    pub options: LaunchOptions,
}

/// A buffer bound by a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Buffer.
    pub buffer: SlotBuffer,
    /// Bound byte range; `None` for all.
    pub range: Option<Range<u64>>,
}

/// A buffer of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotBuffer {
    /// The argument with this index.
    Argument(usize),
    /// The scratch buffer with this index.
    Scratch(usize),
}

impl Slot {
    /// Binds a whole argument.
    pub const fn argument(index: usize) -> Self {
        Self { buffer: SlotBuffer::Argument(index), range: None }
    }

    /// Binds a whole scratch buffer.
    pub const fn scratch(index: usize) -> Self {
        Self { buffer: SlotBuffer::Scratch(index), range: None }
    }

    /// Restricts the binding to the byte range `range`.
    #[must_use]
    pub fn part(mut self, range: Range<u64>) -> Self {
        self.range = Some(range);
        self
    }
}

/// The kind of numbers in a trial's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Integers so small that sums are exact in any order, so that results are exactly correct or wrong.
    Exact,
    /// Random numbers, as in typical use; results are correct within the bounds of the ops. Timing uses these, because
    /// some devices draw less power, and run faster, on others.
    Random,
}

/// Input for a run, and the check of its outputs.
pub struct Trial {
    /// Initial contents of each argument; empty for zeros.
    pub arguments: Vec<Vec<u8>>,
    /// Checks the outputs, in order.
    pub check: Check,
}

/// Checks whether outputs are correct.
pub type Check = Box<dyn Fn(&[Vec<u8>]) -> Result<(), Mismatch> + Send + Sync>;

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trial of {} arguments", self.arguments.len())
    }
}

/// The first difference found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Index of the output.
    pub output: usize,
    /// Index of the element.
    pub element: u64,
    /// Expected value.
    pub expected: String,
    /// Actual value.
    pub actual: String,
}

impl Mismatch {
    /// Creates a mismatch in the first output.
    pub fn at(element: u64, expected: impl fmt::Display, actual: impl fmt::Display) -> Self {
        Self { output: 0, element, expected: expected.to_string(), actual: actual.to_string() }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { output, element, expected, actual } = self;
        write!(f, "output {output}, element {element}: expected {expected}, got {actual}")
    }
}

/// The amount of work of a problem.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Work {
    /// Bytes read or written.
    Bytes(u64),
    /// Floating-point multiplications and additions.
    Operations(f64),
}

impl Work {
    /// Returns the work per second, with its unit.
    pub fn rate(self, seconds: f64) -> (f64, &'static str) {
        match self {
            Self::Bytes(bytes) => (bytes as f64 / seconds / 1e9, "GB/s"),
            Self::Operations(count) => (count / seconds / 1e9, "GFLOP/s"),
        }
    }
}
