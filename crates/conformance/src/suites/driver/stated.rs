//! Options: those of a device, of a program and of a launch, each winning field by field over the one before. What a
//! backend is told is seen by standing in between.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fulgurite_driver_core::{
    Backend, Call, CompileOptions, Device, DeviceBuffer, Error, Executable, Launch, LaunchOptions,
    LaunchReport, Recorder, Work,
};
use fulgurite_ir::{Grid, VerifiedKernel};
use fulgurite_spec::Code;
use fulgurite_spec::device::DeviceSnapshot;

use super::{MAP, compile, kernel, word};
use crate::suites::checks::{Checks, Part};

pub(super) const PARTS: &[(&str, Part)] = &[
    ("launch options merge field by field", merged),
    ("output limits merge", limits),
    ("compile options merge", compile_options),
];

/// What a launch was told.
type Told = (Grid, Duration, String);

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Told>>>);

impl Log {
    fn add(&self, launch: &Launch) {
        let told = (launch.grid(), launch.timeout(), launch.label().to_string());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(told);
    }

    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A backend, with a log of its launches.
struct Logged {
    inner: Arc<dyn Backend>,
    log: Log,
}

struct LoggedExecutable {
    inner: Arc<dyn Executable>,
    log: Log,
}

impl Backend for Logged {
    fn snapshot(&self) -> &DeviceSnapshot {
        self.inner.snapshot()
    }

    fn allocate(&self, bytes: u64) -> Result<Arc<dyn DeviceBuffer>, Error> {
        self.inner.allocate(bytes)
    }

    fn compile(
        &self,
        kernel: Arc<VerifiedKernel>,
        options: &CompileOptions,
    ) -> Result<Arc<dyn Executable>, Error> {
        let inner = self.inner.compile(kernel, options)?;
        Ok(Arc::new(LoggedExecutable { inner, log: self.log.clone() }))
    }
}

impl Executable for LoggedExecutable {
    fn kernel(&self) -> &Arc<VerifiedKernel> {
        self.inner.kernel()
    }

    fn id(&self) -> &str {
        self.inner.id()
    }

    fn launch(&self, launch: &Launch) -> Result<LaunchReport, Error> {
        self.log.add(launch);
        self.inner.launch(launch)
    }

    fn submit(self: Arc<Self>, launch: &Launch) -> Result<Option<Box<dyn Work>>, Error> {
        let work = Arc::clone(&self.inner).submit(launch)?;
        if work.is_some() {
            self.log.add(launch);
        }
        Ok(work)
    }
}

/// Options that state what the bits of `fields` select, each level's own values: a grid, a timeout, a label.
fn level(level: u32, fields: u32) -> LaunchOptions {
    let mut options = LaunchOptions::default();
    if fields & 1 != 0 {
        options = LaunchOptions::workgroups([level, 2, 1]);
    }
    if fields & 2 != 0 {
        options = options.timeout(Duration::from_secs(u64::from(100 + level)));
    }
    if fields & 4 != 0 {
        options = options.label(format!("level {level}"));
    }
    options
}

fn merged(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    // Every combination of fields on the three levels.
    for fields in 0..512u32 {
        let levels = [fields & 7, fields >> 3 & 7, fields >> 6 & 7];
        let log = Log::default();
        let inner = Arc::clone(checks.harness.backend());
        let backend = Arc::new(Logged { inner, log: log.clone() });
        let device = Device::new(backend, CompileOptions::default(), level(1, levels[0]));
        let program = compile(&device, MAP)?.with_options(&level(2, levels[1]));
        let options = level(3, levels[2]);
        let (x, out) = (device.zeroed(4 * 70)?, device.zeroed(4 * 70)?);
        // The highest level that states a field.
        let says = |bit: u32| (1..=3u32).rev().find(|level| levels[*level as usize - 1] & bit != 0);
        let expected: Told = (
            says(1).map_or([70u32.div_ceil(32), 1, 1], |level| [level, 2, 1]),
            says(2)
                .map_or(LaunchOptions::DEFAULT_TIMEOUT, |level| Duration::from_secs(u64::from(100 + level))),
            says(4).map_or("map".to_owned(), |level| format!("level {level}")),
        );
        let views = [(&x).into(), (&out).into()];
        // All forms are told the same; which one it is goes round.
        match fields % 5 {
            0 => drop(program.launch(&views, &[word(0)], &options)?),
            1 => drop(program.submit(&views, &[word(0)], &options)?.wait()?),
            2 => drop(program.call(&call(&options))?),
            3 => drop(program.call_batched(&[call(&options)], &mut Vec::new())?),
            _ => {
                let mut recorder = Recorder::new(&device);
                let slots = [recorder.slot(&x), recorder.slot(&out)];
                recorder.launch(&program, &slots, &[word(0)], &options)?;
                recorder.finish().replay()?;
            }
        }
        checks.equal("grid, timeout and label of a launch", &log.take(), &vec![expected]);
    }
    Ok(())
}

fn call(options: &LaunchOptions) -> Call<'static> {
    Call::new().input(vec![0; 4 * 70]).output(4 * 70).param(word(0)).options(options)
}

fn limits(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    // What each level allows: nothing stated, too little, enough.
    let choices = [None, Some(8u64), Some(280)];
    let stated = |most: Option<u64>| {
        let options = LaunchOptions::default();
        most.map_or(options.clone(), |most| options.max_output_bytes(most))
    };
    for of_device in choices {
        let device = checks.device_with(CompileOptions::default(), stated(of_device));
        for of_program in choices {
            let program = compile(&device, MAP)?.with_options(&stated(of_program));
            for of_call in choices {
                let most = of_call.or(of_program).or(of_device);
                let expected = most.is_some_and(|most| most < 280).then_some(Code::OutputTooLarge);
                let code = program.call(&call(&stated(of_call))).err().map(|error| error.code());
                checks.equal("outputs within what three levels allow", &code, &expected);
            }
        }
    }
    Ok(())
}

fn compile_options(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let stated = |keep: Option<bool>| {
        let options = CompileOptions::default();
        keep.map_or(options.clone(), |keep| options.debug_names(keep))
    };
    let choices = [None, Some(false), Some(true)];
    for of_device in choices {
        let device = checks.device_with(stated(of_device), LaunchOptions::default());
        for of_compile in choices {
            let (program, manifest) = device.compile_with_report(&kernel(MAP)?, &stated(of_compile))?;
            let expected: Vec<(String, String)> = of_compile
                .or(of_device)
                .map(|keep| ("debug_names".to_owned(), keep.to_string()))
                .into_iter()
                .collect();
            checks.equal("the options of a compiled kernel", &manifest.options, &expected);
            checks.equal("its manifest", program.manifest(), &manifest);
        }
    }
    Ok(())
}
