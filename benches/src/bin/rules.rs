//! Measures the cost of each lowering rule: times loops of the affected ops on values in registers, with and without
//! the rule, and with all other rules in force.
//!
//! The rules are those of `docs/spirv-lowering.md`. On a driver that needs a rule, results may differ without it; the
//! table shows that.
#![allow(clippy::print_stdout, reason = "it prints its table")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;
use fulgurite::LaunchOptions;
use fulgurite::spec::eval;
use fulgurite_backend_vulkan::{Options, VulkanDevice};
use fulgurite_hal::{Binding, CompileOptions, Device as _, DeviceBuffer, Error, Executable, Launch};

#[derive(Parser)]
#[command(about = "Times kernels with and without each rule of lowering")]
struct Args {
    /// Timed runs of each variant
    #[arg(long, default_value_t = 21)]
    runs: usize,
    /// Invocations per launch
    #[arg(long, default_value_t = 1 << 20)]
    invocations: u64,
    /// Iterations per invocation
    #[arg(long, default_value_t = 256)]
    iterations: u32,
}

/// Ops that a rule affects, as the body of a loop: `%a` is carried and becomes `%next`, `%b` is constant.
struct Case {
    rule: &'static str,
    what: &'static str,
    /// The type of `%a` and `%b`.
    ty: &'static str,
    body: &'static str,
}

/// The cases; a rule has several if its parts have separate costs.
const CASES: &[Case] = &[
    Case {
        rule: "zeros",
        what: "f32: select of 1 or 0, added",
        ty: "f32",
        body: "%c = lt %a, %b\n%d = select %c, 1.0f32, 0.0f32\n%e = add %d, %a\n%next = mul %e, 0.5f32",
    },
    Case {
        rule: "rounding",
        what: "f32 rounded to f16 and back",
        ty: "f32",
        body: "%c = convert %a -> f16\n%d = convert %c -> f32\n%next = fma %d, 0.5f32, %b",
    },
    Case {
        rule: "rounding",
        what: "f64: floor, converted to i32",
        ty: "f64",
        body: "%c = floor %a\n%d = convert %c -> i32\n%e = convert %d -> f64\n%next = fma %e, 0.5f64, %b",
    },
    Case {
        rule: "wide_integers",
        what: "i32 widened, shifted and compared",
        ty: "i64",
        body: "%n = convert %a -> u32\n%c = convert %b -> i32\n%d = convert %c -> i64\n%e = shl %d, %n\n\
               %f = xor %e, %a\n%g = lt %f, 12345i64\n%next = select %g, %f, %b",
    },
    Case {
        rule: "wide_integers",
        what: "u32: the high half of a product",
        ty: "u32",
        body: "%c = mul_hi %a, 2654435769u32\n%next = add %c, %b",
    },
    Case {
        rule: "wide_integers",
        what: "u64: mul, add",
        ty: "u64",
        body: "%c = mul %a, %b\n%next = add %c, 3u64",
    },
    Case {
        rule: "wide_division",
        what: "u64 divided by u64",
        ty: "u64",
        body: "%c = div %b, %a\n%next = add %c, 3u64",
    },
    Case {
        rule: "wide_division",
        what: "u64 divided by a literal",
        ty: "u64",
        body: "%c = div %a, 1000u64\n%next = xor %c, %b",
    },
    Case {
        rule: "narrow_integers",
        what: "u8: mul, add",
        ty: "u8",
        body: "%c = mul %a, 5u8\n%next = add %c, %b",
    },
    Case {
        rule: "narrow_integers",
        what: "i16: mul, add",
        ty: "i16",
        body: "%c = mul %a, 5i16\n%next = add %c, %b",
    },
    Case { rule: "signs", what: "i32: abs, add", ty: "i32", body: "%c = abs %a\n%next = sub %b, %c" },
    Case {
        rule: "signs",
        what: "f32: compare with a literal",
        ty: "f32",
        body: "%c = lt %a, 1.5f32\n%d = select %c, %b, 0.25f32\n%next = add %a, %d",
    },
    Case {
        rule: "signs",
        what: "f32: min with a literal 1",
        ty: "f32",
        body: "%c = min %a, 1.0f32\n%next = add %c, %b",
    },
    Case {
        rule: "signs",
        what: "f32: select of 1 or 0, added",
        ty: "f32",
        body: "%c = lt %a, %b\n%d = select %c, 1.0f32, 0.0f32\n%e = add %d, %a\n%next = mul %e, 0.5f32",
    },
    Case {
        rule: "signs",
        what: "i32: mul, min, sub",
        ty: "i32",
        body: "%c = mul %a, 3i32\n%d = min %c, %b\n%next = sub %d, 7i32",
    },
];

/// A kernel loaded on a device.
struct Loaded {
    backend: Arc<VulkanDevice>,
    executable: Arc<dyn Executable>,
    buffers: Vec<Arc<dyn DeviceBuffer>>,
    options: LaunchOptions,
    iterations: u32,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let open = |rules: &str| Ok::<_, anyhow::Error>(VulkanDevice::open(&Options::from_env().rules(rules))?);
    let all = open("all")?;
    let names: Vec<String> = all.snapshot().rules.clone();
    println!("{}, {}", all.snapshot().device, all.snapshot().driver);
    println!("{:<16} {:<44} {:>10} {:>10} {:>7}  results", "rule", "ops", "with", "without", "cost");
    for case in CASES {
        let others: Vec<&str> = names.iter().map(String::as_str).filter(|name| *name != case.rule).collect();
        let without = open(&others.join(","))?;
        let both = [Arc::clone(&all), without].map(|backend| load(backend, case, &args));
        let [with, without] =
            both.map(|loaded| loaded.with_context(|| format!("{}: {}", case.rule, case.what)));
        let (with, without) = (with?, without?);
        let equal = with.result()? == without.result()?;
        let (mut ours, mut other) = (Vec::new(), Vec::new());
        // Warm up: clock rates rise only under load.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(300) {
            with.run()?;
        }
        for _ in 0..args.runs {
            ours.push(with.run()?);
            other.push(without.run()?);
        }
        let [ours, other] = [&mut ours, &mut other].map(|times| {
            times.sort_unstable();
            times[times.len() / 2]
        });
        println!(
            "{:<16} {:<44} {:>10} {:>10} {:>6.1}%  {}",
            case.rule,
            case.what,
            format!("{ours:.1?}"),
            format!("{other:.1?}"),
            100.0 * (ours.as_secs_f64() / other.as_secs_f64() - 1.0),
            if equal { "equal" } else { "differ" }
        );
    }
    Ok(())
}

fn load(backend: Arc<VulkanDevice>, case: &Case, args: &Args) -> Result<Loaded> {
    let Case { ty, body, .. } = case;
    let body = body.lines().map(|line| format!("    {}\n", line.trim())).collect::<String>();
    let source = format!(
        "fulgurite 1\nkernel @case workgroup(256, 1, 1) {{\n  buffer %y: read {ty}[]\n  buffer %x: read_write {ty}[]\n  param %count: u32\n\n  \
         %i = global_id.x\n  %first = load %x[%i]\n  %b = load %y[%i]\n  \
         %last = for %k in 0u32 to %count step 1u32 carry(%a = %first) {{\n{body}    yield %next\n  }}\n  \
         store %x[%i], %last\n}}\n"
    );
    let kernel = fulgurite::parse(&source)?;
    let size = u64::from(kernel.buffers[0].element.scalar.size());
    let buffers = [(); 2].map(|()| backend.allocate(args.invocations * size));
    let buffers = buffers.into_iter().collect::<Result<Vec<_>, _>>()?;
    buffers[0].write(0, &words(args.invocations * size, 0x85eb_ca6b))?;
    Error::check_needs(&kernel, backend.snapshot())?;
    let executable = backend.compile(kernel, &CompileOptions::default())?;
    let options = LaunchOptions::linear(args.invocations).timed(true);
    Ok(Loaded { backend, executable, buffers, options, iterations: args.iterations })
}

/// Returns distinct nonzero words, `bytes` bytes in total.
fn words(bytes: u64, factor: u32) -> Vec<u8> {
    let words = bytes.div_ceil(4) as u32;
    let mut all: Vec<u8> = (0..words).flat_map(|i| (i.wrapping_mul(factor) | 1).to_le_bytes()).collect();
    all.truncate(bytes as usize);
    all
}

impl Loaded {
    /// Launches with the same initial contents each time, and returns the device time.
    fn run(&self) -> Result<Duration> {
        let [_, changed] = self.buffers.as_slice() else { anyhow::bail!("a case has two buffers") };
        changed.write(0, &words(changed.bytes(), 0x9e37_79b9))?;
        let params = [eval::splat_low(self.iterations.into())];
        let limits = &self.backend.snapshot().limits;
        let bound = Binding::each(&self.buffers);
        let launch = Launch::check(self.executable.kernel(), limits, bound, &params, &self.options)?;
        self.executable.launch(&launch)?.device_time.context("the device measures no time")
    }

    /// Launches once and reads the output back.
    fn result(&self) -> Result<Vec<u8>> {
        self.run()?;
        let mut bytes = vec![0; self.buffers[1].bytes() as usize];
        self.buffers[1].read(0, &mut bytes)?;
        Ok(bytes)
    }
}
