//! Options of a device, of a program and of a launch, each field of which overrides the level before. A wrapper around
//! the backend records what it is given.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fulgurite_hal::{
    self as hal, CachePolicy, CompileOptions, DeviceBuffer, Error, Executable, Launch, LaunchOptions,
    LaunchReport, MathMode, OptimizationLevel, TargetProfile, Work,
};
use fulgurite_ir::{Grid, VerifiedKernel};
use fulgurite_runtime::{Call, Device, Recorder};
use fulgurite_spec::Code;
use fulgurite_spec::device::DeviceSnapshot;

use super::{MAP, compile, kernel, map, random_words, to_words, word};
use crate::suites::bytes;
use crate::suites::checks::{Checks, Part};

pub(super) const PARTS: &[(&str, Part)] = &[
    ("launch options merge field by field", merged),
    ("output limits merge", limits),
    ("compile options merge", compile_options),
    ("compile options and results", equal),
    ("compile options that refuse", refused),
];

/// Grid, timeout and label of a launch.
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

/// A backend that logs its launches.
struct Logged {
    inner: Arc<dyn hal::Device>,
    log: Log,
}

struct LoggedExecutable {
    inner: Arc<dyn Executable>,
    log: Log,
}

impl hal::Device for Logged {
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

/// Returns options that set the fields selected by the bits of `fields` (grid, timeout, label) to values specific to
/// the level.
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
        // The highest level that sets a field.
        let says = |bit: u32| (1..=3u32).rev().find(|level| levels[*level as usize - 1] & bit != 0);
        let expected: Told = (
            says(1).map_or([70u32.div_ceil(32), 1, 1], |level| [level, 2, 1]),
            says(2)
                .map_or(LaunchOptions::DEFAULT_TIMEOUT, |level| Duration::from_secs(u64::from(100 + level))),
            says(4).map_or("map".to_owned(), |level| format!("level {level}")),
        );
        let views = [(&x).into(), (&out).into()];
        // All ways to launch get the same options; alternate between them.
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
    // Limit of each level: not set, too small, sufficient.
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

/// Returns two values of each compile option, with their names in a manifest. [`MAP`] compiles with all of them.
fn stated(lanes: u32) -> [(&'static str, [(CompileOptions, &'static str); 2]); 8] {
    let none = CompileOptions::default;
    [
        ("debug_names", [(none().debug_names(true), "true"), (none().debug_names(false), "false")]),
        (
            "workgroup",
            [(none().workgroup([64, 1, 1]), "64, 1, 1"), (none().workgroup([16, 2, 1]), "16, 2, 1")],
        ),
        // No device has two subgroup sizes.
        ("subgroup_size", [(none().subgroup_size(lanes), ""), (none().subgroup_size(lanes), "")]),
        ("math", [(none().math(MathMode::Fast), "fast"), (none().math(MathMode::Strict), "strict")]),
        (
            "optimization",
            [
                (none().optimization(OptimizationLevel::None), "none"),
                (none().optimization(OptimizationLevel::Full), "full"),
            ],
        ),
        (
            "profile",
            [
                (none().profile(TargetProfile::Least), "least"),
                (none().profile(TargetProfile::Device), "device"),
            ],
        ),
        ("float_budget", [(none().float_budget(3), "3"), (none().float_budget(0), "0")]),
        (
            "cache",
            [(none().cache(CachePolicy::Off), "off"), (none().cache(CachePolicy::ReadOnly), "read_only")],
        ),
    ]
}

fn compile_options(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let lanes = checks.device().snapshot().limits.subgroup_size;
    let all = stated(lanes);
    let pick = |field: usize, choice: usize| choice.checked_sub(1).map(|value| &all[field].1[value]);
    // For each field: not set, or one of its values, on the device and at the compile. The other fields are set at the
    // other of these two levels, or not at all.
    for field in 0..all.len() {
        for (of_device, of_compile) in (0..3).flat_map(|device| (0..3).map(move |compile| (device, compile)))
        {
            let choice = |at: usize| {
                if at == field {
                    [of_device, of_compile]
                } else {
                    [[1, 0], [0, 2], [0, 0]][(at + of_device) % 3]
                }
            };
            let options = |level: usize| {
                let fields = (0..all.len()).filter_map(|at| pick(at, choice(at)[level]));
                fields.fold(CompileOptions::default(), |options, (stated, _)| options.merged(stated))
            };
            let expected: Vec<(String, String)> = (0..all.len())
                .filter_map(|at| {
                    let [of_device, of_compile] = choice(at);
                    let (_, value) = pick(at, of_compile).or(pick(at, of_device))?;
                    let value = if value.is_empty() { lanes.to_string() } else { (*value).to_owned() };
                    Some((all[at].0.to_owned(), value))
                })
                .collect();
            let device = checks.device_with(options(0), LaunchOptions::default());
            let (program, manifest) = device.compile_with_report(&kernel(MAP)?, &options(1))?;
            checks.equal("the options of a compiled kernel", &manifest.options, &expected);
            checks.equal("its manifest", program.manifest(), &manifest);
        }
    }
    Ok(())
}

/// Accesses that the analyses prove to be in bounds: of a local and a shared array and, by preconditions, of a buffer;
/// and a short loop. `out = x · 3 + 140` below `n`.
const SHOWN: &str = "fulgurite 1
kernel @shown workgroup(32, 1, 1) {
  buffer %x: read u32[]
  buffer %out: write u32[]
  param %n: u32
  local %a: u32[4]
  shared %s: u32[32]
  require le %n, len %x
  require le %n, len %out
  %i = global_id.x
  %l = local_index
  %square = mul %l, %l
  store %s[%l], %square
  barrier
  %sum = for %j in 0u32 to 8u32 step 1u32 carry(%c = 0u32) {
    %t = load %s[%j]
    %u = add %c, %t
    yield %u
  }
  %below = lt %i, %n
  if %below {
    %v = load %x[%i]
    store %a[1u32], %v
    %w = load %a[1u32]
    %m = mul %w, 3u32
    %r = add %m, %sum
    store %out[%i], %r
  }
}
";

/// Computes the word that a kernel leaves, given the previous word, its index and the parameter.
type Leaves = fn(u32, u32, u32) -> u32;

/// Kernels compiled without optimization, or for the minimal device, compute the same results.
fn equal(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let all = [
        CompileOptions::default(),
        CompileOptions::default().optimization(OptimizationLevel::Full),
        CompileOptions::default().optimization(OptimizationLevel::None),
        CompileOptions::default().profile(TargetProfile::Device),
        CompileOptions::default().profile(TargetProfile::Least),
        CompileOptions::default().profile(TargetProfile::Least).optimization(OptimizationLevel::None),
        CompileOptions::default().debug_names(true),
        CompileOptions::default().float_budget(0),
    ];
    const COUNT: usize = 100;
    let words = random_words(&mut checks.random(), COUNT);
    let device = checks.device();
    let x = device.upload(&bytes(&words))?;
    let kernels: [(&str, Leaves); 2] =
        [(MAP, |x, _, a| map(x, a)), (SHOWN, |x, i, n| if i < n { map(x, 140) } else { 0 })];
    for options in all {
        for (text, expected) in kernels {
            let program = device.compile(&kernel(text)?, &options)?;
            for a in [COUNT as u32, 50] {
                let out = device.zeroed(4 * COUNT as u64)?;
                program.launch(&[(&x).into(), (&out).into()], &[word(a)], &LaunchOptions::default())?;
                let expected: Vec<u32> = (0u32..).zip(&words).map(|(i, x)| expected(*x, i, a)).collect();
                let what = format!("`{}` with {options:?}", program.kernel().name);
                checks.equal(&what, &to_words(&out.whole().to_vec()?), &expected);
            }
        }
    }
    Ok(())
}

/// Options that are refused before the backend is called.
fn refused(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let none = CompileOptions::default;
    let float = |op: &str| {
        kernel(&format!(
            "fulgurite 1\nkernel @k workgroup(32, 1, 1) {{\n  buffer %y: read_write f32[]\n  %i = global_id.x\n  \
             %a = load %y[%i]\n  %b = {op} %a, %a\n  store %y[%i], %b\n}}\n"
        ))
    };
    let lanes = device.snapshot().limits.subgroup_size;
    checks.refused(
        "another subgroup size",
        device.compile(&kernel(MAP)?, &none().subgroup_size(2 * lanes)),
        Code::Unsupported,
    );
    checks.refused(
        "a workgroup of nothing",
        device.compile(&kernel(MAP)?, &none().workgroup([0, 1, 1])),
        Code::BadWorkgroup,
    );
    // The bound of `div` is 2.5 ULP.
    for (op, budget, passes) in [
        ("add", 0, true),
        ("add[fast]", 1000, false),
        ("div", 2, false),
        ("div", 3, true),
        ("pow", 1_000_000, false),
    ] {
        let what = format!("`{op}` and a budget of {budget}");
        let compiled = device.compile(&float(op)?, &none().float_budget(budget));
        match passes {
            true => checks.equal(&what, &compiled.err().map(|error| error.to_string()), &None),
            false => checks.refused(&what, compiled, Code::Unsupported),
        }
    }
    let fast = none().math(MathMode::Fast).float_budget(1000);
    checks.refused("fast math and a budget", device.compile(&float("add")?, &fast), Code::Unsupported);
    // Refused even if the device supports it.
    let wide = kernel(&MAP.replace("u32[]", "u64[]").replace("u32\n", "u64\n").replace("3u32", "3u64"))?;
    let least = none().profile(TargetProfile::Least);
    checks.refused("64 bits and the least profile", device.compile(&wide, &least), Code::Unsupported);
    Ok(())
}
