//! The kernels of `examples/kernels` and of the benchmarks on every backend, compared with plain Rust.
#![forbid(unsafe_code)]

use fulgurite::registry;
use fulgurite_benches::Target;
use fulgurite_benches::problems::{self, Problem, Scale};
use fulgurite_benches::run::Loaded;
use fulgurite_hal::Error;

/// Runs a problem. Returns `Ok(false)` if the device lacks a feature that it needs.
fn run(problem: Problem, target: &Target) -> Result<bool, String> {
    let done = || {
        let loaded = Loaded::new(target, problem)?;
        loaded.check(&loaded.ours()?)
    };
    match done() {
        Ok(()) => Ok(true),
        Err(error) => match error.downcast_ref::<Error>() {
            Some(Error::Unsupported(_)) => Ok(false),
            _ => Err(format!("{error:#}")),
        },
    }
}

/// Opens a backend. Returns `None` if it is not available, or an error if it is required.
fn open(id: &str) -> Result<Option<Target>, String> {
    let reason = match Target::open(&registry(), id) {
        Ok(target) => return Ok(Some(target)),
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

/// Runs problems on a backend, which may lack features that those named in `may_lack` need.
fn on(id: &str, problems: Vec<Problem>, may_lack: &[&str]) -> Result<(), String> {
    let Some(target) = open(id)? else { return Ok(()) };
    let mut failures = Vec::new();
    let mut unsupported = Vec::new();
    let count = problems.len();
    for problem in problems {
        let (kernel, name) = (problem.name, format!("{id}, {}, {}", problem.name, problem.size));
        match run(problem, &target) {
            Ok(true) => {}
            Ok(false) if may_lack.contains(&kernel) => unsupported.push(kernel),
            Ok(false) => failures.push(format!("{name}: unsupported")),
            Err(error) => failures.push(format!("{name}: {error}")),
        }
    }
    unsupported.dedup();
    eprintln!("{id}: {count} problems; unsupported: {unsupported:?}");
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// Returns every problem by name, and those with a plain Rust implementation, with random numbers.
fn random() -> Result<Vec<Problem>, String> {
    let problem =
        |name: &&str| problems::problem(name, Scale::Test).ok_or_else(|| format!("there is no {name}"));
    let mut all = problems::NAMES.iter().map(problem).collect::<Result<Vec<_>, _>>()?;
    all.extend(problems::rivals().map(|rival| rival.make(Scale::Test).0));
    Ok(all)
}

/// Kernels whose needs a minimal Vulkan driver may not meet.
const VULKAN_MAY_LACK: &[&str] = &["matmul_f16", "scan_lookback", "sha3"];

#[test]
fn the_reference_runs_every_kernel() -> Result<(), String> {
    on("reference", random()?, &[])
}

#[test]
fn the_cpu_runs_every_kernel() -> Result<(), String> {
    on("cpu", random()?, &[])
}

#[test]
fn vulkan_runs_what_it_has() -> Result<(), String> {
    on("vulkan", random()?, VULKAN_MAY_LACK)
}

#[test]
fn special_values_are_right_on_the_reference() -> Result<(), String> {
    on("reference", problems::special(), &[])
}

#[test]
fn special_values_are_right_on_the_cpu() -> Result<(), String> {
    on("cpu", problems::special(), &[])
}

#[test]
fn special_values_are_right_on_vulkan() -> Result<(), String> {
    on("vulkan", problems::special(), VULKAN_MAY_LACK)
}

/// Checks that every kernel has problems with special values, so that none is forgotten when a kernel is added.
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

/// Checks that the plain Rust implementations give the expected results.
#[test]
fn plain_rust_is_right() -> Result<(), String> {
    let Some(target) = open("cpu")? else { return Ok(()) };
    for rival in problems::rivals() {
        let (problem, mut plain) = rival.make(Scale::Test);
        plain.run();
        (problem.check)(&plain.buffers(), target.backend.snapshot())?;
        // The check itself must fail for the initial contents.
        let (problem, plain) = rival.make(Scale::Test);
        assert!((problem.check)(&plain.buffers(), target.backend.snapshot()).is_err(), "{}", problem.name);
    }
    Ok(())
}

/// Checks that the check of each workload notices a single wrong element, wherever it is.
#[test]
fn a_wrong_element_is_found() -> Result<(), String> {
    let Some(target) = open("cpu")? else { return Ok(()) };
    for rival in problems::rivals() {
        let (problem, mut plain) = rival.make(Scale::Test);
        plain.run();
        let after = plain.buffers();
        let mut outputs = 0;
        for (at, (bytes, before)) in after.iter().zip(&problem.buffers).enumerate() {
            // Scratch buffers of the kernels have no contents in plain Rust.
            if bytes.is_empty() || bytes == before {
                continue;
            }
            assert_eq!(bytes.len(), before.len(), "buffer {at} of {}", problem.name);
            outputs += 1;
            for word in [0, bytes.len() / 8, bytes.len() / 4 - 1] {
                let mut wrong = after.clone();
                // The bit is the highest one of a float's exponent.
                wrong[at][word * 4 + 3] ^= 0x40;
                let found = (problem.check)(&wrong, target.backend.snapshot());
                assert!(found.is_err(), "word {word} of buffer {at} of {}", problem.name);
            }
        }
        assert!(outputs > 0, "{} has no output", problem.name);
    }
    Ok(())
}
