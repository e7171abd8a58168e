//! A backend that computes nothing: logs its calls, and fails on demand in ways that are rare on devices.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use fulgurite_hal::{
    self as hal, CompileOptions, DeviceBuffer, DeviceError, Error, Executable, GraphStep, Launch,
    LaunchOptions, LaunchReport, Recording, StepWork, Work,
};
use fulgurite_ir::VerifiedKernel;
use fulgurite_runtime::{Bounds, Device, Program};
use fulgurite_spec::device::DeviceSnapshot;

/// Instructions of the tests to the backend, and its log.
#[derive(Default)]
pub(crate) struct Script {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
pub(crate) struct State {
    /// The backend's actions, in order.
    pub(crate) log: Vec<String>,
    /// Labels of launches that block until they are removed from this set.
    pub(crate) held: HashSet<String>,
    /// Labels of launches that panic.
    pub(crate) panicking: HashSet<String>,
    /// Labels of launches whose submission fails.
    pub(crate) refused: HashSet<String>,
    /// Numbers of unreadable buffers, counted from 1 in order of allocation.
    pub(crate) unreadable: HashSet<usize>,
    /// Whether the backend has a queue.
    pub(crate) has_queue: bool,
    /// Whether the backend records graphs.
    pub(crate) records: bool,
    /// Whether recording fails.
    pub(crate) record_fails: bool,
    allocated: usize,
    /// Number of live executables.
    pub(crate) alive: usize,
    /// Duration of dropping an executable.
    pub(crate) drop_takes: Duration,
}

impl Script {
    pub(crate) fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    /// Releases a blocked launch.
    pub(crate) fn release(&self, label: &str) {
        self.set(|state| state.held.retain(|held| held != label));
    }

    pub(crate) fn alive(&self) -> usize {
        self.state.lock().unwrap().alive
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.state.lock().unwrap().log.clone()
    }

    /// Waits until an action was logged.
    pub(crate) fn wait_for(&self, line: &str) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| !state.log.iter().any(|l| l == line)).unwrap());
    }

    fn add(&self, line: String) {
        self.set(|state| state.log.push(line));
    }

    fn run(&self, how: &str, launch: &Launch) -> Result<LaunchReport, Error> {
        let label = launch.label().to_string();
        self.add(format!("{how} {label}"));
        let state = self.state.lock().unwrap();
        let state = self.changed.wait_while(state, |state| state.held.contains(&label)).unwrap();
        let panics = state.panicking.contains(&label);
        drop(state);
        assert!(!panics, "launch {label} panics, as it was told to");
        self.add(format!("{label} ended"));
        Ok(LaunchReport::default())
    }
}

pub(crate) fn broken() -> Error {
    DeviceError::Call { call: "fake", result: "told to fail".to_owned() }.into()
}

struct Fake {
    snapshot: DeviceSnapshot,
    script: Arc<Script>,
}

struct Memory {
    number: usize,
    bytes: Mutex<Vec<u8>>,
    script: Arc<Script>,
}

struct Compiled {
    kernel: Arc<VerifiedKernel>,
    script: Arc<Script>,
}

struct Queued {
    launch: Launch,
    script: Arc<Script>,
}

struct Recorded {
    name: String,
    script: Arc<Script>,
}

/// A kernel that reads one buffer and writes two.
const KERNEL: &str = "fulgurite 1
kernel @fake workgroup(1, 1, 1) {
  buffer %x: read u32[]
  buffer %y: write u32[]
  buffer %z: write u32[]
  %v = load %x[0u32]
  store %y[0u32], %v
  store %z[0u32], %v
}
";

/// Returns a device on a new backend, the program of a kernel that reads one buffer and writes two, and the script.
pub(crate) fn open() -> (Device, Program, Arc<Script>) {
    open_with(Bounds::default())
}

/// Like [`open`], for a device with these bounds.
pub(crate) fn open_with(bounds: Bounds) -> (Device, Program, Arc<Script>) {
    let script = Arc::new(Script::default());
    let backend =
        Fake { snapshot: DeviceSnapshot::complete("fake", "none", "none", 32), script: Arc::clone(&script) };
    let (compile, launch) = (CompileOptions::default(), LaunchOptions::default());
    let device = Device::with_bounds(Arc::new(backend), compile, launch, bounds);
    let kernel = fulgurite_ir::text::parse(KERNEL).and_then(fulgurite_ir::verify).unwrap();
    let program = device.compile(&Arc::new(kernel), &CompileOptions::default()).unwrap();
    (device, program, script)
}

pub(crate) fn called(label: &str) -> LaunchOptions {
    LaunchOptions::default().label(label)
}

impl hal::Device for Fake {
    fn snapshot(&self) -> &DeviceSnapshot {
        &self.snapshot
    }

    fn allocate(&self, bytes: u64) -> Result<Arc<dyn DeviceBuffer>, Error> {
        let mut state = self.script.state.lock().unwrap();
        state.allocated += 1;
        let bytes = Mutex::new(vec![0; bytes as usize]);
        Ok(Arc::new(Memory { number: state.allocated, bytes, script: Arc::clone(&self.script) }))
    }

    fn compile(&self, kernel: Arc<VerifiedKernel>, _: &CompileOptions) -> Result<Arc<dyn Executable>, Error> {
        self.script.set(|state| state.alive += 1);
        Ok(Arc::new(Compiled { kernel, script: Arc::clone(&self.script) }))
    }

    fn record(&self, steps: &[GraphStep]) -> Result<Option<Box<dyn Recording>>, Error> {
        let state = self.script.state.lock().unwrap();
        let (records, fails) = (state.records, state.record_fails);
        drop(state);
        if !records {
            return Ok(None);
        }
        let shown = steps.iter().map(|step| {
            let what = match &step.work {
                StepWork::Launch { launch, .. } => launch.label().to_string(),
                StepWork::Fill { to, .. } => format!("fill {:?}", to.range()),
                StepWork::Copy { .. } => "copy".to_owned(),
            };
            format!("{what} after {:?}", step.after)
        });
        let name = shown.collect::<Vec<_>>().join(", ");
        self.script.add(format!("record {name}"));
        if fails {
            return Err(broken());
        }
        Ok(Some(Box::new(Recorded { name, script: Arc::clone(&self.script) })))
    }
}

impl DeviceBuffer for Memory {
    fn bytes(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.bytes.lock().unwrap()[offset as usize..][..data.len()].copy_from_slice(data);
        Ok(())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        if self.script.state.lock().unwrap().unreadable.contains(&self.number) {
            return Err(broken());
        }
        out.copy_from_slice(&self.bytes.lock().unwrap()[offset as usize..][..out.len()]);
        Ok(())
    }
}

impl Drop for Compiled {
    #[allow(clippy::disallowed_methods, reason = "a slow drop is what is asked for")]
    fn drop(&mut self) {
        let takes = self.script.state.lock().unwrap().drop_takes;
        std::thread::sleep(takes);
        self.script.set(|state| state.alive -= 1);
    }
}

impl Executable for Compiled {
    fn kernel(&self) -> &Arc<VerifiedKernel> {
        &self.kernel
    }

    fn id(&self) -> &str {
        "fake:one"
    }

    fn launch(&self, launch: &Launch) -> Result<LaunchReport, Error> {
        self.script.run("launch", launch)
    }

    fn submit(self: Arc<Self>, launch: &Launch) -> Result<Option<Box<dyn Work>>, Error> {
        let state = self.script.state.lock().unwrap();
        let (has_queue, refused) = (state.has_queue, state.refused.contains(&**launch.label()));
        drop(state);
        if refused {
            return Err(broken());
        }
        if !has_queue {
            return Ok(None);
        }
        self.script.add(format!("submit {}", launch.label()));
        Ok(Some(Box::new(Queued { launch: launch.clone(), script: Arc::clone(&self.script) })))
    }
}

impl Work for Queued {
    fn finish(self: Box<Self>) -> Result<LaunchReport, Error> {
        self.script.run("finish", &self.launch)
    }
}

impl Recording for Recorded {
    fn replay(&mut self) -> Result<LaunchReport, Error> {
        self.script.add(format!("replay {}", self.name));
        Ok(LaunchReport::default())
    }
}
