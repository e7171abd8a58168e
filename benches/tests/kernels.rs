//! The kernels of `examples/kernels` on every backend, against plain Rust.
#![forbid(unsafe_code)]

use std::sync::Arc;

use fulgurite::registry;
use fulgurite_benches::problems::{self, Problem, Scale};
use fulgurite_driver_core::{Backend, Binding, CompileOptions, DeviceBuffer, Error, Launch};

/// Runs a problem; `Ok(false)` if the device lacks what it needs.
fn run(problem: &Problem, backend: &Arc<dyn Backend>) -> Result<bool, String> {
    let text = |error: Error| error.to_string();
    let mut buffers: Vec<Arc<dyn DeviceBuffer>> = Vec::new();
    for bytes in &problem.buffers {
        let buffer = backend.allocate(bytes.len() as u64).map_err(text)?;
        buffer.write(0, bytes).map_err(text)?;
        buffers.push(buffer);
    }
    for step in &problem.steps {
        let kernel = problems::kernel(step).map_err(text)?;
        let executable = match backend.compile(kernel, &CompileOptions::default()) {
            Err(Error::Unsupported(_)) => return Ok(false),
            other => other.map_err(text)?,
        };
        let bound: Vec<_> = step.buffers.iter().map(|i| Arc::clone(&buffers[*i])).collect();
        let limits = &backend.snapshot().limits;
        let launch =
            Launch::check(executable.kernel(), limits, Binding::each(&bound), &step.params, &step.options);
        executable.launch(&launch.map_err(text)?).map_err(text)?;
    }
    let mut after = Vec::new();
    for buffer in &buffers {
        let mut bytes = vec![0; buffer.bytes() as usize];
        buffer.read(0, &mut bytes).map_err(text)?;
        after.push(bytes);
    }
    (problem.check)(&after, backend.snapshot()).map(|()| true)
}

/// Opens a backend. `None` if it is not there, which is a failure where it is required.
fn open(id: &str) -> Result<Option<Arc<dyn Backend>>, String> {
    let registry = registry();
    let registration = registry.get(id).ok_or_else(|| format!("{id} is not registered"))?;
    let reason = match registration.open() {
        Ok(backend) => return Ok(Some(backend)),
        Err(reason @ Error::Unavailable { .. }) => reason,
        Err(error) => return Err(format!("{id}: {error}")),
    };
    let required = std::env::var("FULGURITE_REQUIRE_BACKENDS").unwrap_or_default();
    if required.split(',').any(|r| r.trim() == id) {
        return Err(format!("{id} is required, but: {reason}"));
    }
    eprintln!("{id}: unavailable ({reason})");
    Ok(None)
}

/// Runs problems on a backend, which may lack what those named in `may_lack` need.
fn on(id: &str, problems: &[Problem], may_lack: &[&str]) -> Result<(), String> {
    let Some(backend) = open(id)? else { return Ok(()) };
    let mut failures = Vec::new();
    let mut unsupported = Vec::new();
    for problem in problems {
        let name = format!("{id}, {}, {}", problem.name, problem.size);
        match run(problem, &backend) {
            Ok(true) => {}
            Ok(false) if may_lack.contains(&problem.name) => unsupported.push(problem.name),
            Ok(false) => failures.push(format!("{name}: unsupported")),
            Err(error) => failures.push(format!("{name}: {error}")),
        }
    }
    unsupported.dedup();
    eprintln!("{id}: {} problems; unsupported: {unsupported:?}", problems.len());
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// Every problem by name, of random numbers.
fn random() -> Result<Vec<Problem>, String> {
    let problem =
        |name: &&str| problems::problem(name, Scale::Test).ok_or_else(|| format!("there is no {name}"));
    problems::NAMES.iter().map(problem).collect()
}

/// What a poor Vulkan driver may lack is said by each kernel's needs.
const VULKAN_MAY_LACK: &[&str] = &["matmul_f16", "scan_lookback"];

#[test]
fn the_reference_runs_every_kernel() -> Result<(), String> {
    on("reference", &random()?, &[])
}

#[test]
fn the_cpu_runs_every_kernel() -> Result<(), String> {
    on("cpu", &random()?, &[])
}

#[test]
fn vulkan_runs_what_it_has() -> Result<(), String> {
    on("vulkan", &random()?, VULKAN_MAY_LACK)
}

#[test]
fn special_values_are_right_on_the_reference() -> Result<(), String> {
    on("reference", &problems::special(), &[])
}

#[test]
fn special_values_are_right_on_the_cpu() -> Result<(), String> {
    on("cpu", &problems::special(), &[])
}

#[test]
fn special_values_are_right_on_vulkan() -> Result<(), String> {
    on("vulkan", &problems::special(), VULKAN_MAY_LACK)
}

/// Every kernel has problems of special values, so that one that is added is not forgotten.
#[test]
fn every_kernel_has_special_values() -> Result<(), String> {
    let special = problems::special();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/kernels");
    for entry in std::fs::read_dir(folder).map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let of_kernel = special.iter().filter(|problem| problem.steps.iter().any(|step| step.name == name));
        assert!(of_kernel.count() > 1, "{name} has no special values");
    }
    Ok(())
}
