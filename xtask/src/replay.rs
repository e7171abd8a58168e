//! `cargo xtask replay`: runs a captured call or a run file again, on any backend, and compares its outputs, as far as the op
//! table fixes them. Whatever a file says is escaped before it is printed.

use std::path::PathBuf;

use anyhow::Context as _;
use fulgurite::{Choice, CompileOptions, LaunchOptions, registry};
use fulgurite_conformance::filetest::{Outcome, RunFile};
use fulgurite_driver_core::{Device, Repro, printable};
use fulgurite_hal::Error;

/// Bytes of the largest file that is read.
const MOST: u64 = 4 << 30;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The repro, as `Program::capture` made it, or a run file (`.fg`), as `cargo xtask conformance --failures` writes them
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The backend's id, or `all`; by default the one that it was captured on, and for a run file all
    #[arg(long, value_name = "ID")]
    backend: Option<String>,
}

/// Whether every backend that ran it gave the captured outputs.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let path = args.file.display();
    if args.file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("fg")) {
        return run_file(args);
    }
    let json = read(&args.file)?;
    let repro = Repro::from_json(&json)
        .map_err(|error| anyhow::anyhow!("{path}: {}", printable(&error.to_string())))?;
    let manifest = &repro.manifest;
    let title = format!(
        "kernel `{}` ({}), captured on `{}`: {} ({})",
        manifest.kernel, manifest.program_digest, manifest.backend_id, manifest.device, manifest.driver
    );
    eprintln!("{}", printable(&title));
    let registry = registry();
    let wanted = crate::backend_ids(&registry, args.backend.as_deref().unwrap_or(&manifest.backend_id));
    let all = wanted.len() > 1;
    let (mut equal, mut ran) = (true, false);
    let say = |id: &str, what: &dyn std::fmt::Display| eprintln!("{}", printable(&format!("{id}: {what}")));
    for id in wanted {
        let replayed = registry.route(&Choice::Exactly(id.clone())).and_then(|route| {
            let backend = route.backend().clone();
            repro.replay(&Device::new(backend, CompileOptions::default(), LaunchOptions::default()))
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

/// A file's text. What is no file in a folder, such as a pipe, is bounded as well.
fn read(path: &std::path::Path) -> anyhow::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MOST + 1).read_to_string(&mut text));
    let shown = path.display();
    read.with_context(|| format!("cannot read {shown}"))?;
    anyhow::ensure!(text.len() as u64 <= MOST, "{shown} has more than {MOST} bytes");
    Ok(text)
}

/// Whether every backend that ran a run file gave what it expects.
fn run_file(args: &Args) -> anyhow::Result<bool> {
    let path = args.file.display();
    let text = read(&args.file)?;
    let file = RunFile::parse(&text).map_err(|error| anyhow::anyhow!("{path}: {}", printable(&error)))?;
    let registry = registry();
    let wanted = crate::backend_ids(&registry, args.backend.as_deref().unwrap_or("all"));
    let all = wanted.len() > 1;
    let (mut right, mut ran) = (true, false);
    for id in wanted {
        let ran_on = registry.route(&Choice::Exactly(id.clone())).map(|route| {
            let rules = &route.backend().snapshot().rules;
            if !rules.is_empty() {
                eprintln!("{id}: rules of lowering in force: {}", rules.join(", "));
            }
            file.run(route.backend().as_ref())
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
