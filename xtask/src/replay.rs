//! `cargo xtask replay`: runs captured calls and run files again, on any backend, and compares their outputs, as far as the op
//! table fixes them. Whatever a file says is escaped before it is printed.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fulgurite::{CompileOptions, LaunchOptions, Registry, registry};
use fulgurite_conformance::filetest::{Outcome, RunFile};
use fulgurite_driver_core::{Device, Repro, printable};
use fulgurite_hal::Error;

/// Bytes of the largest file that is read.
const MOST: u64 = 4 << 30;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The repro, as `Program::capture` made it, or a run file (`.fg`), as `cargo xtask conformance --failures` writes them
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The backend's id, or `all`; by default the one that it was captured on, and for a run file all
    #[arg(long, value_name = "ID")]
    backend: Option<String>,
}

/// Runs each file and returns whether all outputs were as expected.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    // Backends are opened once, however many files there are.
    let registry = registry();
    let (mut right, several) = (0, args.files.len() > 1);
    for file in &args.files {
        if several {
            eprintln!("{}", printable(&file.display().to_string()));
        }
        let wanted = args.backend.as_deref();
        let is_run_file = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("fg"));
        let outcome =
            if is_run_file { run_file(&registry, file, wanted) } else { run_repro(&registry, file, wanted) };
        match outcome {
            Ok(is_right) => right += usize::from(is_right),
            Err(error) if several => eprintln!("{}", printable(&format!("{error:#}"))),
            Err(error) => return Err(error),
        }
    }
    if several {
        eprintln!("{right} of {} files as expected", args.files.len());
    }
    Ok(right == args.files.len())
}

/// Replays a captured call and returns whether every backend that ran it gave the captured outputs.
fn run_repro(registry: &Registry, file: &Path, wanted: Option<&str>) -> anyhow::Result<bool> {
    let path = file.display();
    let json = read(file)?;
    let repro = Repro::from_json(&json)
        .map_err(|error| anyhow::anyhow!("{path}: {}", printable(&error.to_string())))?;
    let manifest = &repro.manifest;
    let title = format!(
        "kernel `{}` ({}), captured on `{}`: {} ({})",
        manifest.kernel, manifest.program_digest, manifest.backend_id, manifest.device, manifest.driver
    );
    eprintln!("{}", printable(&title));
    let wanted = crate::backend_ids(registry, wanted.unwrap_or(&manifest.backend_id));
    let all = wanted.len() > 1;
    let (mut equal, mut ran) = (true, false);
    let say = |id: &str, what: &dyn std::fmt::Display| eprintln!("{}", printable(&format!("{id}: {what}")));
    for id in wanted {
        let replayed = registry.open(&id).and_then(|device| {
            repro.replay(&Device::new(device, CompileOptions::default(), LaunchOptions::default()))
        });
        match replayed {
            Ok(replayed) => {
                ran = true;
                equal &= replayed.differences.is_empty();
                let all = replayed.differences.iter().chain(&replayed.allowed);
                all.clone().for_each(|difference| say(&id, difference));
                if all.count() == 0 {
                    say(&id, &"every output is equal");
                }
            }
            // Of all backends, some may not be there or lack something; of a named one that is an error.
            Err(error @ (Error::Unavailable { .. } | Error::Unsupported(_))) if all => {
                say(&id, &error);
            }
            Err(error) => {
                equal = false;
                say(&id, &error);
            }
        }
    }
    anyhow::ensure!(ran || !equal, "no backend could run it");
    Ok(equal)
}

/// Reads a file's text. The bound also holds for pipes.
fn read(path: &Path) -> anyhow::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MOST + 1).read_to_string(&mut text));
    let shown = path.display();
    read.with_context(|| format!("cannot read {shown}"))?;
    anyhow::ensure!(text.len() as u64 <= MOST, "{shown} has more than {MOST} bytes");
    Ok(text)
}

/// Runs a run file and returns whether every backend that ran it gave what the file expects.
fn run_file(registry: &Registry, file: &Path, wanted: Option<&str>) -> anyhow::Result<bool> {
    let path = file.display();
    let text = read(file)?;
    let file = RunFile::parse(&text).map_err(|error| anyhow::anyhow!("{path}: {}", printable(&error)))?;
    let wanted = crate::backend_ids(registry, wanted.unwrap_or("all"));
    let all = wanted.len() > 1;
    let (mut right, mut ran) = (true, false);
    for id in wanted {
        let ran_on = registry.open(&id).map(|device| {
            let rules = &device.snapshot().rules;
            if !rules.is_empty() {
                eprintln!("{id}: rules of lowering in force: {}", rules.join(", "));
            }
            file.run(device.as_ref())
        });
        match ran_on {
            Ok(Ok(Outcome::AsExpected)) => {
                ran = true;
                eprintln!("{id}: as expected");
            }
            Ok(Ok(Outcome::Unsupported(reason))) => eprintln!("{id}: unsupported: {}", printable(&reason)),
            Ok(Err(difference)) => {
                right = false;
                eprintln!("{id}: {}", printable(&difference));
            }
            Err(error) if all => eprintln!("{id}: {}", printable(&error.to_string())),
            Err(error) => return Err(error.into()),
        }
    }
    anyhow::ensure!(ran || !right, "no backend could run it");
    Ok(right)
}
