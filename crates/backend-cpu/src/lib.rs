//! The production CPU backend.
//!
//! On x86-64 with AVX2 or AVX-512, a kernel is compiled to native code if all of its ops are supported there; any other
//! kernel is interpreted. For the interpreter, a kernel is compiled once to a flat list of steps over registers of 64
//! lanes. Each step is one tight loop over the lanes, which rustc turns into vector instructions. Divergence is a mask
//! of active lanes. Workgroups are spread over the threads of a rayon pool. [`fulgurite_spec::eval`] defines the meaning
//! of each op; this crate applies it to all lanes.
#![deny(unsafe_code)]

mod buffer;
mod code;
mod compile;
mod compute;
mod lanes;
mod machine;
mod matrix;
mod memory;
#[cfg(all(target_arch = "x86_64", unix))]
mod native;
#[cfg(not(all(target_arch = "x86_64", unix)))]
#[path = "native/absent.rs"]
mod native;
mod poll;
mod pool;
mod schedule;
mod subgroup;
mod trap;
mod turn;

use std::any::Any;
use std::ffi::OsStr;
use std::fmt;
use std::sync::{Arc, OnceLock};

use fulgurite_hal::{
    self as hal, Adapter, AdapterInfo, AdapterKind, Backend, CompileOptions, DeviceBuffer, DeviceError,
    Error, Executable, Launch, LaunchReport, OpenOptions, SingleDevice,
};
use fulgurite_ir::VerifiedKernel;
use fulgurite_spec::Code as DiagnosticCode;
use fulgurite_spec::device::DeviceSnapshot;

use buffer::WordBuffer;
use machine::Launched;
use memory::Bound;
use native::NativeKernel;
use poll::Stop;
use schedule::Engine;
use trap::Trap;
use turn::{PerBuffer, Turn, Turns, Usage};

/// The id of the backend.
pub const ID: &str = "cpu";

/// The rank of the backend: above the reference backend, below devices.
pub const RANK: u32 = 50;

/// The code that kernels are compiled to. A kernel that native code does not support is interpreted in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Native {
    /// The widest native code that this machine runs.
    #[default]
    Auto,
    /// No native code.
    Interpreter,
    /// Native code for AVX2 and FMA, with 8 lanes. Interpreted on machines without these.
    Avx2,
    /// Native code for AVX-512 F, BW, DQ and VL, with 16 lanes. Interpreted on machines without these.
    Avx512,
}

impl Native {
    /// The values and their names.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("auto", Self::Auto),
        ("interpreter", Self::Interpreter),
        ("avx2", Self::Avx2),
        ("avx512", Self::Avx512),
    ];

    /// Returns the value with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, native)| native)
    }

    /// Returns the code that this option selects on this machine: [`Native::Interpreter`], [`Native::Avx2`] or
    /// [`Native::Avx512`].
    #[must_use]
    pub fn selected(self) -> Self {
        native::selected(self)
    }

    /// Returns whether this machine runs the native code that this option asks for; false for
    /// [`Native::Interpreter`].
    pub fn is_available(self) -> bool {
        self.selected() != Self::Interpreter
    }

    /// Returns the number of lanes of a full subgroup on a device with this option: those of a vector, or 32 without native
    /// code.
    #[must_use]
    pub fn subgroup_size(self) -> u32 {
        native::lanes(self).unwrap_or(32)
    }
}

impl fmt::Display for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, native)| native == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// The environment variable that selects the code that kernels are compiled to.
const VARIABLE: &str = "FULGURITE_CPU_NATIVE";

/// Options of the CPU backend and its device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuOptions {
    /// The code that kernels are compiled to.
    pub native: Native,
}

impl CpuOptions {
    /// Reads options from the environment: `FULGURITE_CPU_NATIVE` is one of [`Native::NAMES`].
    ///
    /// # Errors
    /// [`Code::BadOption`](DiagnosticCode::BadOption) for any other value.
    pub fn from_env() -> Result<Self, Error> {
        Self::of_variable(std::env::var_os(VARIABLE).as_deref())
    }

    /// Derives options from those that any backend is opened with: their extra of type `CpuOptions`, or
    /// [`CpuOptions::from_env`].
    ///
    /// # Errors
    /// Those of [`CpuOptions::from_env`].
    pub fn of(open: &OpenOptions) -> Result<Self, Error> {
        open.get().copied().map_or_else(Self::from_env, Ok)
    }

    fn of_variable(value: Option<&OsStr>) -> Result<Self, Error> {
        let Some(value) = value.map(OsStr::to_string_lossy).filter(|value| !value.trim().is_empty()) else {
            return Ok(Self::default());
        };
        let native = Native::named(value.trim()).ok_or_else(|| {
            let names: Vec<String> = Native::NAMES.iter().map(|(name, _)| format!("`{name}`")).collect();
            let message = format!("{VARIABLE} is `{value}`, not one of {}", names.join(", "));
            Error::invalid(DiagnosticCode::BadOption, message)
        })?;
        Ok(Self { native })
    }
}

/// Returns the CPU backend. Its device uses the host's memory, and has the options of [`CpuOptions::of`].
pub fn backend() -> impl Backend {
    CpuBackend
}

/// The reason why a kernel is interpreted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Interpreted {
    /// The options ask for the interpreter, or for code that this machine does not run.
    #[error("no native code is selected, or this machine does not run it")]
    Machine,
    /// The kernel has something for which no native code can be generated yet.
    #[error("native code is not supported for {0}")]
    Unsupported(String),
    /// Native code would take much memory, or use few lanes.
    #[error("native code would take much memory for a workgroup, or leave most lanes unused")]
    Unprofitable,
}

/// Returns the machine code of a kernel, for disassemblers.
///
/// # Errors
/// The reason why the kernel is interpreted.
pub fn machine_code(kernel: &VerifiedKernel, options: CpuOptions) -> Result<Vec<u8>, Interpreted> {
    native::machine_code(kernel, options.native)
}

struct CpuBackend;

impl Backend for CpuBackend {
    fn id(&self) -> &str {
        ID
    }

    fn rank(&self) -> u32 {
        RANK
    }

    fn adapters(&self, options: &OpenOptions) -> Result<Vec<Box<dyn Adapter>>, Error> {
        // Counting its threads starts them, so a program that does not ask has none.
        let info =
            AdapterInfo::new(AdapterKind::Cpu, RANK, CpuDevice::with(CpuOptions::of(options)?).snapshot);
        Ok(vec![Box::new(SingleDevice::new(info, |open| {
            Ok(Arc::new(CpuDevice::with(CpuOptions::of(open)?)))
        }))])
    }
}

/// The CPU as a device.
pub struct CpuDevice {
    snapshot: DeviceSnapshot,
    options: CpuOptions,
}

impl CpuDevice {
    /// Opens the device. All instances in a process share their threads: one per hardware thread, or as many as
    /// `RAYON_NUM_THREADS` says.
    pub fn new() -> Self {
        Self::with(CpuOptions::default())
    }

    /// Opens the device with options.
    pub fn with(options: CpuOptions) -> Self {
        let (threads, code) = (pool::threads(), options.native.selected());
        let device = format!("{threads} threads, {}, {code}", std::env::consts::ARCH);
        let driver = concat!("fulgurite ", env!("CARGO_PKG_VERSION"));
        // Every capability, including progress: a workgroup that has begun has ended or is being run by a thread.
        let subgroup = options.native.subgroup_size();
        let mut snapshot = DeviceSnapshot::complete(ID, device, driver, subgroup);
        snapshot.optimizes = false;
        Self { snapshot, options }
    }
}

impl Default for CpuDevice {
    fn default() -> Self {
        Self::new()
    }
}

impl hal::Device for CpuDevice {
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
        let native = native::compile(&kernel, self.options.native);
        let subgroup = self.snapshot.limits.subgroup_size as usize;
        let compiled = Compiled { id, kernel, native, subgroup, engine: OnceLock::new() };
        if compiled.native.is_none() {
            compiled.engine()?;
        }
        Ok(Arc::new(compiled))
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
    kernel: Arc<VerifiedKernel>,
    native: Option<NativeKernel>,
    /// The number of lanes of a full subgroup.
    subgroup: usize,
    /// The form for the interpreter. With native code, it is compiled by the first launch that cannot use that.
    engine: OnceLock<Engine>,
}

impl Compiled {
    /// Returns the form for the interpreter.
    ///
    /// # Errors
    /// [`Error::Internal`] for kernels that the verifier should have rejected. Native code is generated for none of
    /// these, so a launch does not fail here.
    fn engine(&self) -> Result<&Engine, Error> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let engine = Engine::new(compile::compile(self.kernel.clone(), self.subgroup)?);
        Ok(self.engine.get_or_init(|| engine))
    }

    /// Runs a launch on native code, if there is any and it can access the buffers.
    fn run(&self, launch: &Launch, launched: Launched<'_>, stop: &Stop) -> Result<(), Error> {
        if let Some(native) = &self.native {
            let most = native.most_words();
            let buffers = launched.buffers.iter().map(|bound| bound.native());
            let buffers = buffers.map(|buffer| buffer.filter(|buffer| buffer.words.len() <= most));
            if let Some(buffers) = buffers.collect::<Option<PerBuffer<_>>>() {
                return native.run(launch, &buffers, stop);
            }
        }
        self.engine()?.run(launch, launched, stop)
    }
}

impl Executable for Compiled {
    fn kernel(&self) -> &Arc<VerifiedKernel> {
        &self.kernel
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn launch(&self, launch: &Launch) -> Result<LaunchReport, Error> {
        let kernel = &self.kernel;
        launch.check_kernel(kernel)?;
        let mut buffers: PerBuffer<Bound<'_>> = PerBuffer::new();
        let mut uses: PerBuffer<(&Turn, Usage)> = PerBuffer::new();
        for (binding, declared) in launch.buffers().iter().zip(&kernel.buffers) {
            let any: &dyn Any = binding.buffer().as_ref();
            let Some(buffer) = any.downcast_ref::<WordBuffer>() else {
                let message = "a buffer of another backend was bound to a launch on `cpu`";
                return Err(Error::invalid(DiagnosticCode::ForeignBuffer, message));
            };
            buffers.push(Bound::new(buffer.words(), binding.range()));
            uses.push((buffer.turn(), if declared.access.can_write() { Usage::Write } else { Usage::Read }));
        }
        let _turns = Turns::take(uses);
        // The timeout starts when the launch has its buffers.
        let stop = Stop::start(launch.timeout());
        let size = [0, 1].map(|axis| launch.grid()[axis].wrapping_mul(kernel.workgroup[axis]));
        let trap = Trap::new(size);
        self.run(launch, Launched { buffers: &buffers, trap: &trap }, &stop)?;
        if let Some(error) = trap.error() {
            return Err(error.into());
        }
        // Without an error, workers stop early only after the timeout.
        if stop.is_stopped() {
            return Err(DeviceError::Timeout(launch.timeout()).into());
        }
        Ok(LaunchReport::timed(stop.elapsed()))
    }
}

#[cfg(test)]
mod tests;
