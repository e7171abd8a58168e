//! Times the kernels of `examples/kernels` on the Vulkan device, beside SPIR-V that others made for the same buffers
//! and grid where there is some: a folder of `<kernel>.spv`, such as `glslc` makes of `benches/glsl`.
#![allow(clippy::print_stdout, reason = "it prints its table")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use clap::Parser;
use fulgurite_backend_vulkan::{Options, VulkanBackend};
use fulgurite_benches::problems::{self, Problem, Scale, Work};
use fulgurite_driver_core::{Backend, Binding, CompileOptions, DeviceBuffer, Executable, Launch};

#[derive(Parser)]
#[command(about = "Times kernels on the Vulkan device, beside other SPIR-V for the same work")]
struct Args {
    /// Only problems whose name holds this
    #[arg(long)]
    only: Option<String>,
    /// A folder of SPIR-V modules to compare with, each named after a kernel
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Small problems
    #[arg(long)]
    small: bool,
    /// Print the time of every run, in order
    #[arg(long)]
    times: bool,
    /// Timed runs of each
    #[arg(long, default_value_t = 20)]
    runs: usize,
}

/// How long a problem runs before it is timed.
const WARM_UP: Duration = Duration::from_millis(700);

/// One way to do a problem: an executable for each step.
type Way = Vec<Arc<dyn Executable>>;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> anyhow::Result<bool> {
    let backend = VulkanBackend::open(&Options::from_env())?;
    let snapshot = backend.snapshot();
    println!("{}, {}", snapshot.device, snapshot.driver);
    println!("{:<16} {:<24} {:>12} {:>14} {:>12} {:>8}", "problem", "size", "time", "rate", "other", "ratio");
    let scale = if args.small { Scale::Test } else { Scale::Full };
    let mut good = true;
    for name in problems::NAMES {
        if args.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let problem =
            problems::problem(name, scale).with_context(|| format!("there is no problem {name}"))?;
        if let Err(error) = measure(&backend, &problem, args) {
            println!("{:<16} {:<24} {error:#}", problem.name, problem.size);
            good = false;
        }
    }
    Ok(good)
}

fn measure(backend: &Arc<VulkanBackend>, problem: &Problem, args: &Args) -> anyhow::Result<()> {
    let mut buffers: Vec<Arc<dyn DeviceBuffer>> = Vec::new();
    for bytes in &problem.buffers {
        let buffer = backend.allocate(bytes.len() as u64)?;
        buffer.write(0, bytes)?;
        buffers.push(buffer);
    }
    let ours: Way = problem
        .steps
        .iter()
        .map(|step| Ok(backend.compile(problems::kernel(step)?, &CompileOptions::default())?))
        .collect::<anyhow::Result<_>>()?;
    let other =
        args.against.as_deref().map(|folder| foreign(backend, problem, folder)).transpose()?.flatten();

    once(backend, problem, &ours, &buffers)?;
    check(backend, problem, &buffers)?;
    if let Some(other) = &other {
        for (buffer, bytes) in buffers.iter().zip(&problem.buffers) {
            buffer.write(0, bytes)?;
        }
        once(backend, problem, other, &buffers)?;
        check(backend, problem, &buffers).context("the other module")?;
    }
    // Clocks rise only under load.
    let begun = Instant::now();
    while begun.elapsed() < WARM_UP {
        for way in [Some(&ours), other.as_ref()].into_iter().flatten() {
            once(backend, problem, way, &buffers)?;
        }
    }
    // Turn by turn, so that both meet the same clocks.
    let (mut times, mut other_times) = (Vec::new(), Vec::new());
    for _ in 0..args.runs {
        times.push(once(backend, problem, &ours, &buffers)?);
        if let Some(other) = &other {
            other_times.push(once(backend, problem, other, &buffers)?);
        }
    }
    if args.times {
        println!("{}: {times:.1?}\n{}, other: {other_times:.1?}", problem.name, problem.name);
    }
    let time = median(&mut times);
    let (other_time, ratio) = match other_times.is_empty() {
        true => (String::from("-"), String::from("-")),
        false => {
            let other = median(&mut other_times);
            (format!("{other:.1?}"), format!("{:.1} %", 100.0 * other.as_secs_f64() / time.as_secs_f64()))
        }
    };
    let time_text = format!("{time:.1?}");
    let rate = rate(problem.work, time);
    println!(
        "{:<16} {:<24} {time_text:>12} {rate:>14} {other_time:>12} {ratio:>8}",
        problem.name, problem.size
    );
    Ok(())
}

/// The other modules, if there is one for every step.
fn foreign(backend: &Arc<VulkanBackend>, problem: &Problem, folder: &Path) -> anyhow::Result<Option<Way>> {
    let mut way = Way::new();
    for step in &problem.steps {
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
        // SAFETY: the caller of this program chose the folder: modules of `benches/glsl`, written for these problems.
        way.push(unsafe { backend.compile_foreign(problems::kernel(step)?, &words) }?);
    }
    Ok(Some(way))
}

/// Runs all steps; their time on the device.
fn once(
    backend: &Arc<VulkanBackend>,
    problem: &Problem,
    way: &Way,
    buffers: &[Arc<dyn DeviceBuffer>],
) -> anyhow::Result<Duration> {
    for binding in &problem.reset {
        buffers[*binding].write(0, &problem.buffers[*binding])?;
    }
    let mut time = Duration::ZERO;
    for (step, executable) in problem.steps.iter().zip(way) {
        let bound: Vec<_> = step.buffers.iter().map(|i| Arc::clone(&buffers[*i])).collect();
        let limits = &backend.snapshot().limits;
        let options = step.options.clone().timed(true);
        let launch =
            Launch::check(executable.kernel(), limits, Binding::each(&bound), &step.params, &options)?;
        let report = executable.launch(&launch)?;
        time += report.device_time.ok_or_else(|| anyhow!("the device measures no time"))?;
    }
    Ok(time)
}

fn check(
    backend: &Arc<VulkanBackend>,
    problem: &Problem,
    buffers: &[Arc<dyn DeviceBuffer>],
) -> anyhow::Result<()> {
    let mut after = Vec::with_capacity(buffers.len());
    for buffer in buffers {
        let mut bytes = vec![0; buffer.bytes() as usize];
        buffer.read(0, &mut bytes)?;
        after.push(bytes);
    }
    (problem.check)(&after, backend.snapshot()).map_err(|wrong| anyhow!("wrong: {wrong}"))
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn rate(work: Work, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match work {
        Work::Bytes(bytes) => format!("{:.0} GB/s", bytes as f64 / seconds / 1e9),
        Work::Operations(count) => format!("{:.1} TFLOP/s", count / seconds / 1e12),
        Work::Elements(count) => format!("{:.2} G/s", count as f64 / seconds / 1e9),
    }
}
