//! The oracle: a reference backend that is exact and slow.
//!
//! It interprets the verified kernel as it stands. Each invocation has explicit, resumable state; those of a
//! workgroup take turns, a quantum of steps each, so that they may wait for one another at barriers and through
//! atomics. Every scalar op goes through [`fulgurite_spec::eval`]. Workgroups run one after the other.
//!
//! Owns no scheduling policy of the host: no threads, no files, and a clock only under the feature `std`.
#![forbid(unsafe_code)]

mod buffer;
mod clock;
mod interpreter;
mod matrix;
mod memory;
mod monitor;
mod program;
mod subgroup;

use std::sync::Arc;

use fulgurite_hal::{
    Backend, CompileOptions, DeviceBuffer, Error, Executable, Launch, LaunchReport, Registration,
};
use fulgurite_ir::VerifiedKernel;
use fulgurite_spec::device::DeviceSnapshot;
use fulgurite_spec::limits::MAX_SUBGROUP_SIZE;

use buffer::HostBuffer;
use monitor::Claims;
use program::Program;

/// The backend's id.
pub const ID: &str = "reference";

/// Its rank: used where no other backend opens.
pub const RANK: u32 = 1;

/// The registration of the reference backend.
pub fn registration() -> Registration {
    Registration::new(ID, RANK, || Ok(Arc::new(ReferenceBackend::new(ReferenceOptions::default()))))
}

/// How the interpreter runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReferenceOptions {
    /// Steps that an invocation takes before it is another's turn; at least 1 is used.
    pub quantum: u32,
    /// Steps of one launch, all invocations together, after which it counts as timed out.
    pub step_budget: Option<u64>,
    /// Lanes of a full subgroup; the power of two from 1 to 128 that is nearest below is used.
    pub subgroup_size: u32,
    /// What decides the values that `uninit` shared memory begins with.
    pub uninit_seed: u32,
}

impl ReferenceOptions {
    /// The quantum where none is chosen.
    pub const DEFAULT_QUANTUM: u32 = 64;

    /// The lanes of a subgroup where no other number is chosen.
    pub const DEFAULT_SUBGROUP_SIZE: u32 = 32;

    /// These options with subgroups of `lanes`, a power of two from 1 to 128.
    #[must_use]
    pub fn subgroup_size(mut self, lanes: u32) -> Self {
        self.subgroup_size = lanes;
        self
    }

    /// These options with other values in `uninit` shared memory.
    #[must_use]
    pub fn uninit_seed(mut self, seed: u32) -> Self {
        self.uninit_seed = seed;
        self
    }

    /// The lanes that are used.
    fn lanes(self) -> u32 {
        1 << self.subgroup_size.clamp(1, MAX_SUBGROUP_SIZE).ilog2()
    }

    /// These options with another quantum.
    #[must_use]
    pub fn quantum(mut self, steps: u32) -> Self {
        self.quantum = steps;
        self
    }

    /// These options with a step budget.
    #[must_use]
    pub fn step_budget(mut self, steps: u64) -> Self {
        self.step_budget = Some(steps);
        self
    }
}

/// Without a clock there is a step budget, so that a launch ends all the same.
impl Default for ReferenceOptions {
    fn default() -> Self {
        let step_budget = if cfg!(feature = "std") { None } else { Some(1 << 36) };
        let subgroup_size = Self::DEFAULT_SUBGROUP_SIZE;
        Self { quantum: Self::DEFAULT_QUANTUM, step_budget, subgroup_size, uninit_seed: 1 }
    }
}

/// The reference backend.
pub struct ReferenceBackend {
    snapshot: DeviceSnapshot,
    options: ReferenceOptions,
}

impl ReferenceBackend {
    /// A backend that interprets as `options` say.
    pub fn new(options: ReferenceOptions) -> Self {
        let driver = concat!("fulgurite ", env!("CARGO_PKG_VERSION"));
        // Every capability: workgroups that have begun have ended, or have a thread of their own.
        Self { snapshot: DeviceSnapshot::complete(ID, "interpreter", driver, options.lanes()), options }
    }
}

impl Backend for ReferenceBackend {
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
        Ok(Arc::new(Interpreted { id, program: Program::new(kernel), options: self.options }))
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
    program: Program,
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
