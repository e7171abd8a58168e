//! Roles of the processes that the suite `start` starts, from process start to first result.
//!
//! `bare` creates an instance and a device with raw Vulkan. `empty` does nothing. `first` opens a context, compiles a
//! kernel, runs it and reads its output. When done, each prints the number of kernels that were lowered, and compiled
//! by the driver.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use ash::vk;
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

/// Plays a role in this process.
///
/// # Errors
/// An error if a step fails or the result is wrong.
pub fn play(role: &str, backend: &str, root: &Path) -> anyhow::Result<()> {
    match role {
        "empty" => done(0, 0),
        "bare" => bare(),
        "first" => first(backend, root),
        other => bail!("error[FG0704]: there is no role `{other}`"),
    }
}

/// Reports that the role is done.
fn done(lowered: u64, compiled: u64) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{lowered} {compiled}")?;
    Ok(out.flush()?)
}

/// Creates an instance and a device, which are not used further.
fn bare() -> anyhow::Result<()> {
    // SAFETY: Vulkan calls in the order that the specification requires; the objects are never destroyed.
    unsafe {
        let entry = ash::Entry::load().context("no Vulkan loader")?;
        let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
        let info = vk::InstanceCreateInfo::default().application_info(&application);
        let instance = entry.create_instance(&info, None)?;
        let physical = *instance.enumerate_physical_devices()?.first().context("no Vulkan device")?;
        let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
        let info = vk::DeviceCreateInfo::default().queue_create_infos(&queues);
        instance.create_device(physical, &info, None)?;
        done(0, 0)?;
        // Exit without destroying them.
        std::process::exit(0);
    }
}

/// Opens a context and runs a kernel.
fn first(backend: &str, root: &Path) -> anyhow::Result<()> {
    let context = Context::builder().cache_directory(root).backend(backend).open()?;
    let executable = context.compile_dynamic(&fulgurite::parse(KERNEL)?)?;
    let result = executable.call().in_out(&[1u32, 2, 3]).run()?.take::<u32>(0)?;
    ensure!(result == [2, 3, 4], "wrong result {result:?}");
    let report = context.cache_report();
    done(report.lowered, report.driver_compiles)
}
