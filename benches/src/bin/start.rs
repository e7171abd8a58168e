//! From the start of a process to its first result, beside what the driver alone takes: each measured in processes of
//! their own, turn by turn, from the same folder of compiled kernels.
//!
//! `bare` makes an instance and a device with raw Vulkan and nothing else. `cold` opens a context, compiles a kernel, runs
//! it and reads what it wrote, with an empty cache but the driver's probes known; `warm` does so with a full one. Switch
//! the driver's own caches off: `__GL_SHADER_DISK_CACHE=0 MESA_SHADER_CACHE_DISABLE=true`.
#![allow(clippy::print_stdout, reason = "a benchmark prints what it found")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use ash::vk;
use clap::Parser;
use fulgurite::Context;

/// Adds one to each element.
const KERNEL: &str = "fulgurite 1
kernel @next workgroup(64, 1, 1) {
  buffer %y: read_write u32[]
  %i = global_id.x
  %v = load %y[%i]
  %w = add %v, 1u32
  store %y[%i], %w
}
";

#[derive(Parser)]
#[command(about = "Process start to first result, against bare instance and device creation")]
struct Cli {
    /// Processes of each kind
    #[arg(long, default_value_t = 15)]
    runs: usize,
    /// What one process does: bare, or first. Default: runs them all
    #[arg(long, hide = true, requires = "root")]
    role: Option<String>,
    #[arg(long, hide = true)]
    root: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let started = Instant::now();
    let cli = Cli::parse();
    match (cli.role.as_deref(), &cli.root) {
        (None, _) => compare(cli.runs),
        (Some("bare"), _) => bare(started),
        (Some("first"), Some(root)) => first(started, root),
        (Some(other), _) => anyhow::bail!("there is no role `{other}`"),
    }
}

/// Makes an instance and a device, and nothing of them.
fn bare(started: Instant) -> anyhow::Result<()> {
    // SAFETY: plain Vulkan in the order that its specification asks for; what is made lives as long as the process.
    unsafe {
        let entry = ash::Entry::load().context("no Vulkan loader")?;
        let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
        let info = vk::InstanceCreateInfo::default().application_info(&application);
        let instance = entry.create_instance(&info, None)?;
        let physical = *instance.enumerate_physical_devices()?.first().context("no Vulkan device")?;
        let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
        let info = vk::DeviceCreateInfo::default().queue_create_infos(&queues);
        instance.create_device(physical, &info, None)?;
        println!("{}", started.elapsed().as_nanos());
        // As the other processes do, without taking anything down.
        std::process::exit(0);
    }
}

/// Opens a context and runs a kernel; says how long it took, and what had to be compiled.
fn first(started: Instant, root: &Path) -> anyhow::Result<()> {
    let context = Context::builder().cache_directory(root).backend("vulkan").open()?;
    let opened = started.elapsed();
    let executable = context.compile_dynamic(&fulgurite::parse(KERNEL)?)?;
    let compiled = started.elapsed();
    let result = executable.call().in_out(&[1u32, 2, 3]).run()?.take::<u32>(0)?;
    let took = started.elapsed();
    ensure!(result == [2, 3, 4], "wrong result {result:?}");
    let report = context.cache_report();
    let [took, opened, compiled] = [took, opened, compiled].map(|time| time.as_nanos());
    println!("{took} {} {} {opened} {compiled}", report.lowered, report.driver_compiles);
    drop(context);
    Ok(())
}

/// What one process of `role` said.
fn run(role: &str, root: &Path) -> anyhow::Result<Vec<u64>> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--role", role, "--root"])
        .arg(root)
        .output()
        .context("no process")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{role}: {}", String::from_utf8_lossy(&output.stderr));
    said.split_whitespace().map(|word| Ok(word.parse::<u64>()?)).collect()
}

fn compare(runs: usize) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (warm, cold) = (folder.path().join("warm"), folder.path().join("cold"));
    // Probes the driver, and fills the cache.
    run("first", &warm)?;
    let mut times: [Vec<u64>; 3] = Default::default();
    let (mut opened, mut compiled) = (Vec::new(), Vec::new());
    let mut compiles = [(0, 0); 2];
    for _ in 0..runs {
        times[0].push(run("bare", &warm)?[0]);
        let _ = std::fs::remove_dir_all(&cold);
        for (place, root) in [(1, &cold), (2, &warm)] {
            let said = run("first", root)?;
            times[place].push(said[0]);
            compiles[place - 1] = (said[1], said[2]);
            if place == 2 {
                opened.push(said[3]);
                compiled.push(said[4]);
            }
        }
    }
    let median = |times: &mut Vec<u64>| {
        times.sort_unstable();
        Duration::from_nanos(times[times.len() / 2])
    };
    let [bare, cold, warm] = times.each_mut().map(median);
    let ratio = |time: Duration| time.as_secs_f64() / bare.as_secs_f64();
    println!("{runs} processes of each, medians:");
    println!("bare instance and device    {bare:>10.2?}");
    println!(
        "first result, cold cache    {cold:>10.2?}  {:.3} x bare, {} lowered, {} compiled by the driver",
        ratio(cold),
        compiles[0].0,
        compiles[0].1
    );
    println!(
        "first result, warm cache    {warm:>10.2?}  {:.3} x bare, {} lowered, {} compiled by the driver",
        ratio(warm),
        compiles[1].0,
        compiles[1].1
    );
    println!(
        "  the warm ones had a context after {:.2?} and the kernel after {:.2?}",
        median(&mut opened),
        median(&mut compiled)
    );
    Ok(())
}
