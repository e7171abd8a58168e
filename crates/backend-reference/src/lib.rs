//! The reference backend: an exact, slow interpreter that serves as the test oracle.
//!
//! It interprets the verified kernel directly. Each invocation has explicit, resumable state. The invocations of a
//! workgroup are scheduled round-robin, with a quantum of steps, so that they can wait for each other at barriers and
//! through atomics. Every scalar op is evaluated by [`fulgurite_spec::eval`]. Workgroups run sequentially.
//!
//! Does not use threads or files, and uses a clock only with the feature `std`.
#![forbid(unsafe_code)]

mod buffer;
mod clock;
mod interpreter;
mod matrix;
mod memory;
mod monitor;
mod prepared;
mod subgroup;

use std::sync::Arc;

use fulgurite_hal::{
    self as hal, AdapterInfo, AdapterKind, Backend, CompileOptions, DeviceBuffer, Error, Executable, Launch,
    LaunchReport, SingleDevice,
};
use fulgurite_ir::VerifiedKernel;
use fulgurite_spec::device::DeviceSnapshot;
use fulgurite_spec::limits::MAX_SUBGROUP_SIZE;

use buffer::HostBuffer;
use monitor::Claims;
use prepared::PreparedKernel;

/// Id of the backend.
pub const ID: &str = "reference";

/// Rank of the backend: low, so that other backends are preferred.
pub const RANK: u32 = 1;

/// Returns the reference backend. Its device uses the host's memory.
pub fn backend() -> impl Backend {
    let snapshot = ReferenceDevice::new(ReferenceOptions::default()).snapshot;
    let info = AdapterInfo::new(AdapterKind::Interpreter, RANK, snapshot);
    SingleDevice::new(info, |_| Ok(Arc::new(ReferenceDevice::new(ReferenceOptions::default()))))
}

/// Options of the interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReferenceOptions {
    /// Quantum of the scheduler: steps per turn of an invocation, at least 1.
    pub quantum: u32,
    /// Step budget of a launch, over all invocations, above which it times out.
    pub step_budget: Option<u64>,
    /// Subgroup size. Rounded down to a power of two and clamped to 1 to 128.
    pub subgroup_size: u32,
    /// Seed for the initial contents of `uninit` shared memory.
    pub uninit_seed: u32,
}

impl ReferenceOptions {
    /// Default quantum.
    pub const DEFAULT_QUANTUM: u32 = 64;

    /// Default subgroup size.
    pub const DEFAULT_SUBGROUP_SIZE: u32 = 32;

    /// Sets the subgroup size, a power of two from 1 to 128.
    #[must_use]
    pub fn subgroup_size(mut self, lanes: u32) -> Self {
        self.subgroup_size = lanes;
        self
    }

    /// Sets the seed for the initial contents of `uninit` shared memory.
    #[must_use]
    pub fn uninit_seed(mut self, seed: u32) -> Self {
        self.uninit_seed = seed;
        self
    }

    /// Returns the effective subgroup size.
    fn lanes(self) -> u32 {
        1 << self.subgroup_size.clamp(1, MAX_SUBGROUP_SIZE).ilog2()
    }

    /// Sets the quantum.
    #[must_use]
    pub fn quantum(mut self, steps: u32) -> Self {
        self.quantum = steps;
        self
    }

    /// Sets the step budget.
    #[must_use]
    pub fn step_budget(mut self, steps: u64) -> Self {
        self.step_budget = Some(steps);
        self
    }
}

/// Without a clock, the default has a step budget, so that every launch ends.
impl Default for ReferenceOptions {
    fn default() -> Self {
        let step_budget = if cfg!(feature = "std") { None } else { Some(1 << 36) };
        let subgroup_size = Self::DEFAULT_SUBGROUP_SIZE;
        Self { quantum: Self::DEFAULT_QUANTUM, step_budget, subgroup_size, uninit_seed: 1 }
    }
}

/// The reference backend.
pub struct ReferenceDevice {
    snapshot: DeviceSnapshot,
    options: ReferenceOptions,
}

impl ReferenceDevice {
    /// Creates a backend with `options`.
    pub fn new(options: ReferenceOptions) -> Self {
        let driver = concat!("fulgurite ", env!("CARGO_PKG_VERSION"));
        // All capabilities, including forward progress: a workgroup that has begun has ended, or is running on its
        // launch's thread.
        Self { snapshot: DeviceSnapshot::complete(ID, "interpreter", driver, options.lanes()), options }
    }
}

impl hal::Device for ReferenceDevice {
    fn snapshot(&self) -> &DeviceSnapshot {
        &self.snapshot
    }

    fn allocate(&self, bytes: u64) -> Result<Arc<dyn DeviceBuffer>, Error> {
        Error::check_allocation(bytes, &self.snapshot)?;
        Ok(Arc::new(HostBuffer::zeroed(bytes)?))
    }

    fn compile(
        &self,
        kernel: Arc<VerifiedKernel>,
        _options: &CompileOptions,
    ) -> Result<Arc<dyn Executable>, Error> {
        let id = id(&kernel);
        Ok(Arc::new(Interpreted { id, program: PreparedKernel::new(kernel), options: self.options }))
    }

    fn executable_id(
        &self,
        kernel: &Arc<VerifiedKernel>,
        _options: &CompileOptions,
    ) -> Result<Option<String>, Error> {
        Ok(Some(id(kernel)))
    }
}

fn id(kernel: &VerifiedKernel) -> String {
    format!("{ID}:{}", kernel.digest())
}

struct Interpreted {
    id: String,
    program: PreparedKernel,
    options: ReferenceOptions,
}

impl Executable for Interpreted {
    fn kernel(&self) -> &Arc<VerifiedKernel> {
        self.program.kernel()
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn launch(&self, launch: &Launch) -> Result<LaunchReport, Error> {
        launch.check_kernel(self.kernel())?;
        let mut claims = Claims::new(&self.program);
        let report = interpreter::launch(&self.program, launch, self.options, &mut claims)?;
        claims.check()?;
        Ok(report)
    }
}

#[cfg(test)]
mod tests;
