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
    (problem.check)(&after).map(|()| true)
}

fn on(id: &str, may_lack: &[&str]) -> Result<(), String> {
    let registry = registry();
    let opened = registry.get(id).map(fulgurite_driver_core::Registration::open);
    let Some(Ok(backend)) = opened else {
        let required = std::env::var("FULGURITE_REQUIRE_BACKENDS").unwrap_or_default();
        assert!(!required.split(',').any(|r| r == id), "{id} is required");
        eprintln!("{id}: unavailable");
        return Ok(());
    };
    for name in problems::NAMES {
        let problem = problems::problem(name, Scale::Test).ok_or_else(|| format!("there is no {name}"))?;
        let ran = run(&problem, &backend).map_err(|e| format!("{id}, {name}: {e}"))?;
        assert!(ran || may_lack.contains(name), "{id} cannot run {name}");
    }
    Ok(())
}

#[test]
fn the_reference_runs_every_kernel() -> Result<(), String> {
    on("reference", &[])
}

#[test]
fn the_cpu_runs_every_kernel() -> Result<(), String> {
    on("cpu", &[])
}

/// What a poor Vulkan driver may lack is said by each kernel's needs.
#[test]
fn vulkan_runs_what_it_has() -> Result<(), String> {
    on("vulkan", &["matmul_f16", "scan_lookback"])
}
