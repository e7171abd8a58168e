//! The production CPU backend.
//!
//! A kernel is compiled once to a flat list of steps over registers of 64 lanes; each step is one tight loop over the
//! lanes, which the compiler turns into vector instructions. Divergence is a mask of active lanes. Workgroups are
//! spread over rayon's threads. What an op means is [`fulgurite_spec::eval`]'s business: this crate only applies it
//! many times.
#![forbid(unsafe_code)]

mod buffer;
mod code;
mod compile;
mod compute;
mod lanes;
mod machine;
mod matrix;
mod memory;
mod poll;
mod pool;
mod schedule;
mod subgroup;
mod trap;
mod turn;

use std::any::Any;
use std::sync::Arc;

use fulgurite_hal::{
    Backend, CompileOptions, DeviceBuffer, DeviceError, Error, Executable, Launch, LaunchReport, Registration,
};
use fulgurite_ir::VerifiedKernel;
use fulgurite_spec::Code as DiagnosticCode;
use fulgurite_spec::device::DeviceSnapshot;

use buffer::WordBuffer;
use machine::Launched;
use memory::Bound;
use poll::Stop;
use schedule::Engine;
use trap::Trap;
use turn::{Turns, Usage};

/// The backend's id.
pub const ID: &str = "cpu";

/// Its rank: above the reference, below devices.
pub const RANK: u32 = 50;

/// The registration of the CPU backend.
pub fn registration() -> Registration {
    Registration::new(ID, RANK, || Ok(Arc::new(CpuBackend::new())))
}

/// The CPU backend.
pub struct CpuBackend {
    snapshot: DeviceSnapshot,
}

impl CpuBackend {
    /// The backend, on threads that all of them in the process share: as many as the machine has, or as
    /// `RAYON_NUM_THREADS` says.
    pub fn new() -> Self {
        let device = format!("{} threads, {}", pool::threads(), std::env::consts::ARCH);
        let driver = concat!("fulgurite ", env!("CARGO_PKG_VERSION"));
        // Every capability: workgroups that have begun have ended, or have a thread of their own.
        Self { snapshot: DeviceSnapshot::complete(ID, device, driver, lanes::SUBGROUP as u32) }
    }
}

impl Default for CpuBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl Backend for CpuBackend {
    fn snapshot(&self) -> &DeviceSnapshot {
        &self.snapshot
    }

    fn allocate(&self, bytes: u64) -> Result<Arc<dyn DeviceBuffer>, Error> {
        Error::check_allocation(bytes, &self.snapshot)?;
        Ok(Arc::new(WordBuffer::zeroed(bytes)?))
    }

    fn compile(
        &self,
        kernel: Arc<VerifiedKernel>,
        _options: &CompileOptions,
    ) -> Result<Arc<dyn Executable>, Error> {
        let id = id(&kernel);
        Ok(Arc::new(Compiled { id, engine: Engine::new(compile::compile(kernel)?) }))
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

struct Compiled {
    id: String,
    engine: Engine,
}

impl Executable for Compiled {
    fn kernel(&self) -> &Arc<VerifiedKernel> {
        &self.engine.code().kernel
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn launch(&self, launch: &Launch) -> Result<LaunchReport, Error> {
        let kernel = &self.engine.code().kernel;
        launch.check_kernel(kernel)?;
        let mut buffers: Vec<Bound<'_>> = Vec::with_capacity(launch.buffers().len());
        let mut uses = Vec::with_capacity(launch.buffers().len());
        for (binding, declared) in launch.buffers().iter().zip(&kernel.buffers) {
            let any: &dyn Any = binding.buffer().as_ref();
            let Some(buffer) = any.downcast_ref::<WordBuffer>() else {
                let message = "a buffer of another backend was bound to a launch on `cpu`";
                return Err(Error::invalid(DiagnosticCode::ForeignBuffer, message));
            };
            buffers.push(Bound::new(buffer.words(), binding.range()));
            uses.push((buffer, if declared.access.can_write() { Usage::Write } else { Usage::Read }));
        }
        let _turns = Turns::take(uses.into_iter());
        // It begins when its turn has come.
        let stop = Stop::start(launch.timeout());
        let size =
            [0, 1].map(|axis| launch.grid()[axis].wrapping_mul(self.engine.code().kernel.workgroup[axis]));
        let trap = Trap::new(size);
        self.engine.run(launch, Launched { buffers: &buffers, trap: &trap }, &stop)?;
        if let Some(error) = trap.error() {
            return Err(error.into());
        }
        // Workers stop quietly; only a launch that took too long makes them.
        if stop.is_stopped() {
            return Err(DeviceError::Timeout(launch.timeout()).into());
        }
        Ok(LaunchReport::timed(stop.elapsed()))
    }
}

#[cfg(test)]
mod tests;
