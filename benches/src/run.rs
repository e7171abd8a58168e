//! Problems on a backend: buffers, executables, and sequential runs. On Vulkan also with foreign SPIR-V.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use fulgurite::VerifiedKernel;
use fulgurite_hal::{Binding, CompileOptions, DeviceBuffer, Error, Executable, Launch, OptimizationLevel};

use crate::measurement::Amount;
use crate::problems::{self, Problem, Work};
use crate::target::Target;

/// A problem whose buffers are on a device.
pub struct Loaded<'t> {
    target: &'t Target,
    /// The problem.
    pub problem: Problem,
    buffers: Vec<Arc<dyn DeviceBuffer>>,
}

/// One implementation of a problem: an executable for each step.
pub type Way = Vec<Arc<dyn Executable>>;

impl<'t> Loaded<'t> {
    /// Uploads the buffers of `problem` to `target`.
    ///
    /// # Errors
    /// The device's error.
    pub fn new(target: &'t Target, problem: Problem) -> anyhow::Result<Self> {
        let mut buffers: Vec<Arc<dyn DeviceBuffer>> = Vec::new();
        for bytes in &problem.buffers {
            let buffer = target.backend.allocate(bytes.len() as u64)?;
            buffer.write(0, bytes)?;
            buffers.push(buffer);
        }
        Ok(Self { target, problem, buffers })
    }

    /// Compiles the problem's kernels, as a program without options would.
    ///
    /// # Errors
    /// Errors in a kernel, or features that the device lacks.
    pub fn ours(&self) -> anyhow::Result<Way> {
        self.compiled(|given| Ok(self.target.device.optimized(&given, &CompileOptions::default())?))
    }

    /// Compiles the problem's kernels as they are.
    ///
    /// # Errors
    /// Errors in a kernel, or features that the device lacks.
    pub fn given(&self) -> anyhow::Result<Way> {
        self.compiled(Ok)
    }

    /// Compiles what `change` makes of each kernel.
    fn compiled(
        &self,
        mut change: impl FnMut(Arc<VerifiedKernel>) -> anyhow::Result<Arc<VerifiedKernel>>,
    ) -> anyhow::Result<Way> {
        let backend = &self.target.backend;
        let compile = |step| {
            let kernel = change(problems::kernel(step)?)?;
            Error::check_needs(&kernel, backend.snapshot())?;
            Ok(backend.compile(kernel, &CompileOptions::default())?)
        };
        self.problem.steps.iter().map(compile).collect()
    }

    /// Compiles the problem's kernels after the passes. Returns `None` if no pass changes any of them.
    ///
    /// # Errors
    /// Errors in a kernel, or features that the device lacks.
    pub fn optimized(&self) -> anyhow::Result<Option<Way>> {
        let mut is_changed = false;
        let full = CompileOptions::default().optimization(OptimizationLevel::Full);
        let way = self.compiled(|given| {
            let kernel = self.target.device.optimized(&given, &full)?;
            is_changed |= !Arc::ptr_eq(&given, &kernel);
            Ok(kernel)
        })?;
        Ok(is_changed.then_some(way))
    }

    /// Compiles the SPIR-V modules in a folder, each named after a kernel. Returns `None` unless there is one for every
    /// step, and on backends other than Vulkan.
    ///
    /// # Errors
    /// An error if a module cannot be read, or the driver refuses it.
    pub fn foreign(&self, folder: &Path) -> anyhow::Result<Option<Way>> {
        let Some(vulkan) = &self.target.vulkan else { return Ok(None) };
        let mut way = Way::new();
        for step in &self.problem.steps {
            let path = folder.join(format!("{}.spv", step.name));
            if !path.exists() {
                return Ok(None);
            }
            let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
            if bytes.len() % 4 != 0 {
                bail!("{} is no SPIR-V: {} bytes", path.display(), bytes.len());
            }
            let words: Vec<u32> =
                bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            // SAFETY: the user chose the folder; its modules are those of `benches/glsl`, written for these problems.
            way.push(unsafe { vulkan.compile_foreign(problems::kernel(step)?, &words) }?);
        }
        Ok(Some(way))
    }

    /// Runs all steps and returns their time on the device, or wall-clock time if the device has no clock.
    ///
    /// # Errors
    /// The device's error.
    pub fn once(&self, way: &Way) -> anyhow::Result<Duration> {
        self.restore(&self.problem.reset)?;
        let limits = &self.target.backend.snapshot().limits;
        let mut time = Duration::ZERO;
        for (step, executable) in self.problem.steps.iter().zip(way) {
            let bound: Vec<_> = step.buffers.iter().map(|i| Arc::clone(&self.buffers[*i])).collect();
            let options = step.options.clone().timed(true);
            let bound = Binding::each(&bound);
            let launch = Launch::check(executable.kernel(), limits, bound, &step.params, &options)?;
            let begun = Instant::now();
            let report = executable.launch(&launch)?;
            time += report.device_time.unwrap_or_else(|| begun.elapsed());
        }
        Ok(time)
    }

    /// Checks that an implementation gives the expected results.
    ///
    /// # Errors
    /// The first mismatch, or the device's error.
    pub fn check(&self, way: &Way) -> anyhow::Result<()> {
        let all: Vec<usize> = (0..self.buffers.len()).collect();
        self.restore(&all)?;
        self.once(way)?;
        let mut after = Vec::with_capacity(self.buffers.len());
        for buffer in &self.buffers {
            let mut bytes = vec![0; buffer.bytes() as usize];
            buffer.read(0, &mut bytes)?;
            after.push(bytes);
        }
        (self.problem.check)(&after, self.target.backend.snapshot())
            .map_err(|wrong| anyhow!("wrong: {wrong}"))
    }

    /// Restores the initial contents of buffers.
    fn restore(&self, buffers: &[usize]) -> anyhow::Result<()> {
        for at in buffers {
            self.buffers[*at].write(0, &self.problem.buffers[*at])?;
        }
        Ok(())
    }
}

impl Work {
    /// Returns the amount from which a rate is computed.
    pub const fn amount(self) -> Amount {
        match self {
            Self::Bytes(bytes) => Amount::Bytes(bytes),
            Self::Operations(count) => Amount::Operations(count),
            Self::Elements(count) => Amount::Elements(count),
        }
    }
}
