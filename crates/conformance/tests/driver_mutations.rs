//! Mutation tests: the suite `driver` must detect each of these faults, injected around the reference.
#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test")]

use std::any::Any;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use fulgurite_backend_reference::{ReferenceDevice, ReferenceOptions};
use fulgurite_conformance::{Level, Options, Suite};
use fulgurite_hal::{
    self as hal, Binding, CompileOptions, Device as _, DeviceBuffer, DeviceError, Error, Executable,
    GraphStep, Launch, LaunchOptions, LaunchReport, OptimizationLevel, Recording, StepWork, Work,
};
use fulgurite_ir::VerifiedKernel;
use fulgurite_spec::device::DeviceSnapshot;

/// Delay of slow faults, long enough for other work to overtake.
const LATE: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// New memory is not zero.
    Dirty,
    /// Writes begin at word boundaries.
    WritesAtWords,
    /// Reads begin at word boundaries.
    ReadsAtWords,
    /// Fills begin with the second byte of the pattern.
    FillsOutOfPhase,
    /// Copies omit the last byte.
    CopiesShort,
    /// Copies of bytes onto themselves are not refused.
    CopiesOntoThemselves,
    /// Launches that were checked for another kernel are not refused.
    TrustsLaunches,
    /// Launches bind buffers from their start.
    BindsFromTheStart,
    /// Traps are not reported.
    TrapsIgnored,
    /// The code of a trap is lost.
    TrapsWithoutCode,
    /// A launch that timed out is reported as successful.
    TimeoutsIgnored,
    /// Ids do not begin with the backend's id.
    BareIds,
    /// All executables have the same id.
    OneId,
    /// Kernels of the same name are confused.
    ByName,
    /// The queue runs a launch only when it is waited for, and with a delay.
    LazyQueue,
    /// The queue loses launches.
    LossyQueue,
    /// Recordings run their steps in reverse order.
    BackwardRecordings,
    /// Recordings omit fills.
    RecordingsWithoutFills,
    /// Recordings omit steps beyond a power of two.
    RecordingsCutOff,
    /// A buffer beyond the largest size is out of memory.
    SizesUnchecked,
    /// A kernel keeps the parameters of its first launch.
    ForgetfulLaunches,
    /// An unoptimized kernel keeps the parameters of its first launch.
    ForgetfulUnoptimized,
    /// A launch works on copies of its buffers, with a delay, so that concurrent launches do not see each other's
    /// effects.
    LaunchesApart,
}

struct Faulty {
    inner: ReferenceDevice,
    fault: Fault,
    first: Mutex<Vec<Arc<dyn Executable>>>,
}

struct Memory {
    inner: Arc<dyn DeviceBuffer>,
    fault: Fault,
}

struct Compiled {
    inner: Arc<dyn Executable>,
    id: String,
    fault: Fault,
    limits: DeviceSnapshot,
    params: Mutex<Option<Vec<[u64; 4]>>>,
}

struct Lazy(Arc<Compiled>, Launch);

struct Steps(Vec<GraphStep>, Fault);

impl hal::Device for Faulty {
    fn snapshot(&self) -> &DeviceSnapshot {
        self.inner.snapshot()
    }

    fn allocate(&self, bytes: u64) -> Result<Arc<dyn DeviceBuffer>, Error> {
        if self.fault == Fault::SizesUnchecked && bytes > self.snapshot().limits.max_buffer_bytes {
            return Err(DeviceError::OutOfMemory { bytes }.into());
        }
        let inner = self.inner.allocate(bytes)?;
        if self.fault == Fault::Dirty {
            inner.write(0, &vec![0xcd; bytes as usize])?;
        }
        Ok(Arc::new(Memory { inner, fault: self.fault }))
    }

    fn compile(
        &self,
        kernel: Arc<VerifiedKernel>,
        options: &CompileOptions,
    ) -> Result<Arc<dyn Executable>, Error> {
        let mut first = self.first.lock().unwrap();
        let same = first.iter().find(|executable| executable.kernel().name == kernel.name);
        if let Some(same) = same.filter(|_| self.fault == Fault::ByName) {
            return Ok(Arc::clone(same));
        }
        let unoptimized = options.optimization == Some(OptimizationLevel::None);
        let inner = self.inner.compile(kernel, options)?;
        let id = match self.fault {
            Fault::BareIds => inner.kernel().digest().to_string(),
            Fault::OneId => "reference:kernel".to_owned(),
            _ => inner.id().to_owned(),
        };
        let limits = self.snapshot().clone();
        let fault = match (self.fault, unoptimized) {
            (Fault::ForgetfulUnoptimized, true) => Fault::ForgetfulLaunches,
            (fault, _) => fault,
        };
        let compiled: Arc<dyn Executable> =
            Arc::new(Compiled { inner, id, fault, limits, params: Mutex::new(None) });
        first.push(Arc::clone(&compiled));
        Ok(compiled)
    }

    fn record(&self, steps: &[GraphStep]) -> Result<Option<Box<dyn Recording>>, Error> {
        let records = matches!(
            self.fault,
            Fault::BackwardRecordings | Fault::RecordingsWithoutFills | Fault::RecordingsCutOff
        );
        Ok(records.then(|| Box::new(Steps(steps.to_vec(), self.fault)) as Box<dyn Recording>))
    }
}

impl DeviceBuffer for Memory {
    fn bytes(&self) -> u64 {
        self.inner.bytes()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let offset = if self.fault == Fault::WritesAtWords { offset & !3 } else { offset };
        self.inner.write(offset, data)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let offset = if self.fault == Fault::ReadsAtWords { offset & !3 } else { offset };
        self.inner.read(offset, out)
    }

    fn fill(&self, range: Range<u64>, pattern: &[u8]) -> Result<(), Error> {
        let mut pattern = pattern.to_vec();
        if self.fault == Fault::FillsOutOfPhase {
            pattern.rotate_left(1);
        }
        self.inner.fill(range, &pattern)
    }

    fn copy(&self, offset: u64, source: &dyn DeviceBuffer, mut from: Range<u64>) -> Result<(), Error> {
        if self.fault == Fault::CopiesShort {
            from.end = from.end.saturating_sub(1).max(from.start);
        }
        let memory: &dyn Any = source;
        let inner = memory.downcast_ref().map(|memory: &Memory| memory.inner.as_ref());
        match inner.filter(|_| self.fault != Fault::CopiesOntoThemselves) {
            Some(inner) => self.inner.copy(offset, inner, from),
            None => self.inner.copy(offset, source, from),
        }
    }
}

impl Compiled {
    /// Translates a launch to the reference's buffers, with the fault.
    fn translate(&self, launch: &Launch) -> Result<Launch, Error> {
        let bind = |binding: &Binding| -> Result<Binding, Error> {
            let memory: &dyn Any = binding.buffer().as_ref();
            let memory: &Memory = memory.downcast_ref().unwrap();
            let offset = if self.fault == Fault::BindsFromTheStart { 0 } else { binding.offset() };
            Binding::whole(&memory.inner).part(offset, binding.bytes())
        };
        let buffers = launch.buffers().iter().map(bind).collect::<Result<_, _>>()?;
        let params = match self.fault {
            Fault::ForgetfulLaunches => {
                self.params.lock().unwrap().get_or_insert(launch.params().to_vec()).clone()
            }
            _ => launch.params().to_vec(),
        };
        let options = LaunchOptions::workgroups(launch.grid()).timeout(launch.timeout());
        Launch::check(self.inner.kernel(), &self.limits.limits, buffers, &params, &options)
    }

    /// Runs the launch on copies of its buffers.
    fn apart(&self, launch: &Launch) -> Result<LaunchReport, Error> {
        let memory = ReferenceDevice::new(ReferenceOptions::default());
        let copy = |binding: &Binding| -> Result<Binding, Error> {
            let copy = memory.allocate(binding.bytes())?;
            copy.copy(0, binding.buffer().as_ref(), binding.range())?;
            Ok(Binding::whole(&copy))
        };
        let copies: Vec<Binding> = launch.buffers().iter().map(copy).collect::<Result<_, _>>()?;
        let options = LaunchOptions::workgroups(launch.grid()).timeout(launch.timeout());
        let limits = &self.limits.limits;
        let apart = Launch::check(self.inner.kernel(), limits, copies.clone(), launch.params(), &options)?;
        let report = self.inner.launch(&apart)?;
        thread::sleep(LATE);
        for ((binding, copy), declared) in launch.buffers().iter().zip(&copies).zip(&self.kernel().buffers) {
            if declared.access.can_write() {
                binding.buffer().copy(binding.offset(), copy.buffer().as_ref(), copy.range())?;
            }
        }
        Ok(report)
    }
}

impl Executable for Compiled {
    fn kernel(&self) -> &Arc<VerifiedKernel> {
        self.inner.kernel()
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn launch(&self, launch: &Launch) -> Result<LaunchReport, Error> {
        if self.fault != Fault::TrustsLaunches {
            launch.check_kernel(self.kernel())?;
        }
        let launch = self.translate(launch)?;
        if self.fault == Fault::LaunchesApart {
            return self.apart(&launch);
        }
        match self.inner.launch(&launch) {
            Err(Error::Device(DeviceError::Trap { .. })) if self.fault == Fault::TrapsIgnored => {
                Ok(LaunchReport::default())
            }
            Err(Error::Device(DeviceError::Trap { invocation, .. }))
                if self.fault == Fault::TrapsWithoutCode =>
            {
                Err(DeviceError::Trap { code: 0, invocation }.into())
            }
            Err(Error::Device(DeviceError::Timeout(_))) if self.fault == Fault::TimeoutsIgnored => {
                Ok(LaunchReport::default())
            }
            result => result,
        }
    }

    fn submit(self: Arc<Self>, launch: &Launch) -> Result<Option<Box<dyn Work>>, Error> {
        let has_queue = matches!(self.fault, Fault::LazyQueue | Fault::LossyQueue);
        Ok(has_queue.then(|| Box::new(Lazy(self, launch.clone())) as Box<dyn Work>))
    }
}

impl Work for Lazy {
    fn finish(self: Box<Self>) -> Result<LaunchReport, Error> {
        if self.0.fault == Fault::LossyQueue {
            return Ok(LaunchReport::default());
        }
        thread::sleep(LATE);
        self.0.launch(&self.1)
    }
}

impl Recording for Steps {
    fn replay(&mut self) -> Result<LaunchReport, Error> {
        let mut steps: Vec<&GraphStep> = self.0.iter().collect();
        if self.1 == Fault::BackwardRecordings {
            steps.reverse();
        }
        if self.1 == Fault::RecordingsCutOff {
            steps.truncate(1 << 13);
        }
        for step in steps {
            match &step.work {
                StepWork::Launch { executable, launch, .. } => drop(executable.launch(launch)?),
                StepWork::Copy { from, to, .. } => {
                    to.buffer().copy(to.offset(), from.buffer().as_ref(), from.range())?;
                }
                StepWork::Fill { to, pattern, .. } if self.1 != Fault::RecordingsWithoutFills => {
                    to.buffer().fill(to.range(), pattern)?;
                }
                _ => {}
            }
        }
        Ok(LaunchReport::default())
    }
}

/// Each fault, and a filter for the groups that must fail.
const FAULTS: &[(Fault, &str)] = &[
    (Fault::Dirty, "buffer contents"),
    (Fault::WritesAtWords, "buffer contents"),
    (Fault::ReadsAtWords, "buffer contents"),
    (Fault::FillsOutOfPhase, "buffer fill"),
    (Fault::CopiesShort, "buffer copy"),
    (Fault::BindsFromTheStart, "views in launches"),
    (Fault::BindsFromTheStart, "views of u8 at any byte"),
    (Fault::BindsFromTheStart, "random graphs"),
    (Fault::TrapsIgnored, "a trap says who and why"),
    (Fault::TrapsIgnored, "call_into after errors"),
    (Fault::TrapsIgnored, "call_batched after errors"),
    (Fault::TrapsWithoutCode, "a trap says who and why"),
    (Fault::TimeoutsIgnored, "a launch that never ends"),
    (Fault::TimeoutsIgnored, "a device dropped with work under way"),
    (Fault::BareIds, "ids of executables"),
    (Fault::OneId, "ids of executables"),
    (Fault::ByName, "ids of executables"),
    (Fault::LazyQueue, "what comes after submitted work sees it"),
    (Fault::LazyQueue, "submitted work comes in order"),
    (Fault::LossyQueue, "call_async"),
    (Fault::LossyQueue, "call_batched"),
    (Fault::CopiesOntoThemselves, "what a backend's buffers refuse"),
    (Fault::TrustsLaunches, "launches of another kernel"),
    (Fault::LossyQueue, "dropped handles lose nothing"),
    (Fault::LossyQueue, "sixteen threads"),
    (Fault::BackwardRecordings, "random graphs"),
    (Fault::BackwardRecordings, "graph replays"),
    (Fault::RecordingsWithoutFills, "random graphs"),
    (Fault::RecordingsCutOff, "a graph of many steps"),
    (Fault::SizesUnchecked, "buffers of the largest size"),
    (Fault::RecordingsWithoutFills, "graphs and freed buffers"),
    (Fault::ForgetfulLaunches, "graph replays"),
    (Fault::ForgetfulLaunches, "random graphs"),
    (Fault::ForgetfulUnoptimized, "compile options and results"),
    (Fault::LaunchesApart, "one buffer from many threads"),
];

/// Returns the number of cases in the groups whose names contain `only`, and the number of failures.
fn run(fault: Fault, only: Option<&str>) -> (u64, u64) {
    let inner = ReferenceDevice::new(ReferenceOptions::default());
    let backend: Arc<dyn hal::Device> = Arc::new(Faulty { inner, fault, first: Mutex::new(Vec::new()) });
    let mut options = Options::new(Level::Smoke, 3);
    options.suites = vec![Suite::Driver];
    options.only = only.map(str::to_owned);
    let report = fulgurite_conformance::run(&backend, &options, &mut |_, _, _| {});
    (report.cases(), report.suites.iter().map(|suite| suite.failed).sum())
}

#[test]
fn every_broken_contract_is_caught_and_nothing_else() {
    let (cases, failed) = run(Fault::None, None);
    assert!(cases > 3000 && failed == 0, "{failed} of {cases}");
    for (fault, group) in FAULTS {
        let (cases, failed) = run(*fault, Some(group));
        assert!(cases > 0 && failed > 0, "{fault:?} is not caught by `{group}`, of {cases} cases");
    }
}
