//! `fulgurite run`: runs kernels from text files on buffers from the command line or `.npy` files, compares the results with
//! the reference's, and prints them or writes them to `.npy` files.

mod npy;
mod plan;
mod report;
mod sequence;
mod values;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fulgurite::{Choice, Context, Error, LaunchOptions, VerifiedKernel};

use crate::output::{self, note};
use crate::source::{check_writable, kernel, usage_with, write};
use plan::Plan;
use report::Results;
use sequence::Sequence;

#[derive(clap::Args)]
#[command(
    after_help = "Contents of a buffer: x=1,2,3 (integers also as 0xff), x=@file.npy, x=zeros:1000 (so many elements), or\n\
    x=hex:0000803f (bytes in memory order). The components of vectors follow one another.\n\n\
    Several files run in order on one device. Kernels share buffers, and values of parameters, by name; --bind joins\n\
    buffers of different names. KERNEL is a kernel's name; if several have the name `k`, they are `k#1`, `k#2` and so on.\n\n\
    Exit status: 0 if the results are the reference's, 1 if they are not or a kernel is invalid, 2 if a kernel cannot be\n\
    run."
)]
pub(crate) struct Args {
    /// Kernel texts (`.fg`), launched in this order
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The backend's id: `vulkan`, `cpu` or `reference`, or an adapter's, as `devices` lists them. Default: the best
    /// device
    #[arg(long, value_name = "ID")]
    backend: Option<String>,
    /// A part of the device's name, in any case
    #[arg(long, value_name = "PART")]
    device: Option<String>,
    /// The contents of a buffer
    #[arg(short, long, value_name = "NAME=CONTENTS")]
    buffer: Vec<String>,
    /// A parameter: `a=2.5`, or `v=1,2,3,4` for a vector; `KERNEL:a=2.5` for one of several kernels
    #[arg(short, long, value_name = "[KERNEL:]NAME=VALUE")]
    param: Vec<String>,
    /// Let a kernel use the buffer BUFFER under its own name NAME
    #[arg(long, value_name = "KERNEL:NAME=BUFFER")]
    bind: Vec<String>,
    /// Workgroups along x, y and z: `8`, `8,8` or `8,8,1`
    #[arg(long, value_name = "[KERNEL=]X,Y,Z")]
    grid: Vec<String>,
    /// Invocations along x, y and z, rounded up to workgroups
    #[arg(long, value_name = "[KERNEL=]X,Y,Z")]
    invocations: Vec<String>,
    /// Invocations along x, which may exceed the device's largest grid
    #[arg(long, value_name = "[KERNEL=]N")]
    linear: Vec<String>,
    /// Time so many further runs, each on the original contents, and print the median and the spread
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    repeat: Option<u32>,
    /// Runs before those that are timed
    #[arg(long, value_name = "N", default_value_t = 3, requires = "repeat")]
    warm_up: u32,
    /// Seconds after which a launch is stopped
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<f64>,
    /// Write a buffer to a `.npy` file afterwards: `y=out.npy`. Other written buffers are printed
    #[arg(short, long, value_name = "NAME=FILE")]
    out: Vec<String>,
    /// Write the launch with its inputs and outputs to a file, for `fulgurite replay`
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
    /// Do not compare with the reference
    #[arg(long)]
    unchecked: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the kernels and returns whether the results agree with the reference's.
///
/// # Errors
/// Invalid kernels and arguments, and errors of devices and files.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let kernels = args.files.iter().map(|path| kernel(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let results = run_kernels(args, &kernels)?;
    if args.json {
        output::json(&results.entry(args))?;
    } else {
        results.print(args)?;
    }
    Ok(results.is_right())
}

/// Runs verified kernels and writes the files asked for.
fn run_kernels(args: &Args, kernels: &[Arc<VerifiedKernel>]) -> Result<Results, Error> {
    let plan = Plan::new(args, kernels)?;
    if args.capture.is_some() && plan.steps.len() > 1 {
        let message = format!("--capture writes one launch, and there are {} kernels", plan.steps.len());
        return Err(usage_with(message, "Give one kernel, or omit `--capture`."));
    }
    // Results that cannot be written would be lost after a long run.
    let files = plan.buffers.iter().filter_map(|buffer| buffer.file.as_deref());
    files.chain(args.capture.as_deref()).try_for_each(check_writable)?;
    let builder = Context::builder().launch_options(LaunchOptions::default().timed(true));
    let builder = args.backend.iter().fold(builder, |builder, id| match Choice::id(id) {
        Choice::Adapter(id) => builder.adapter(id),
        _ => builder.backend(id),
    });
    let ctx = args.device.iter().fold(builder, |builder, part| builder.device(part)).open()?;
    note_cache(&ctx);
    let sequence = Sequence::open(&ctx, &plan)?;
    if let Some(path) = &args.capture {
        capture(&sequence, &plan, path)?;
    }
    let first = sequence.run(!args.unchecked)?;
    let repeated = args.repeat.map(|runs| sequence.repeat(args.warm_up, runs)).transpose()?;
    for (buffer, bytes) in plan.buffers.iter().zip(&first.contents) {
        if let Some(path) = &buffer.file {
            npy::write(path, buffer.element, bytes)?;
        }
    }
    let route = ctx.route().clone();
    let compile = sequence.compile_times();
    Ok(Results { route, compile, first, repeated, plan })
}

/// Prints why compiled kernels are not kept for the next run, where they could be.
fn note_cache(ctx: &Context) {
    ctx.cache_report().notices.iter().for_each(|notice| note!("{notice}"));
    let folder = std::env::var_os("FULGURITE_CACHE_DIR").unwrap_or_default();
    if !folder.is_empty() && !Path::new(&folder).is_absolute() {
        note!("FULGURITE_CACHE_DIR is not an absolute path, so nothing is kept: `{}`", folder.display());
    }
}

/// Runs the only kernel and writes its inputs and outputs.
fn capture(sequence: &Sequence<'_>, plan: &Plan, path: &Path) -> Result<(), Error> {
    for (step, executable) in plan.steps.iter().zip(sequence.executables()) {
        let declared = step.kernel.buffers.iter().zip(&step.buffers);
        let call = declared.fold(executable.call(), |call, (declared, at)| {
            let bytes = plan.buffers[*at].contents.as_slice();
            if declared.access.can_write() { call.in_out_bytes(bytes) } else { call.input_bytes(bytes) }
        });
        let call = step.params.iter().fold(call, |call, bytes| call.param_bytes(bytes));
        write(path, call.options(&step.options).capture()?.to_json()?.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
