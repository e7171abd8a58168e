//! Runs `crates/ir/filetests/run/**/*.fg` on every backend, as one test per file and backend, and a second time on the
//! Vulkan backend with every buffer accessed by its address.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use fulgurite_backend_cpu::{CpuDevice, CpuOptions, Native};
use fulgurite_backend_reference::{ReferenceDevice, ReferenceOptions};
use fulgurite_backend_vulkan::{Options, VulkanDevice};
use fulgurite_conformance::filetest::{Outcome, RunFile};
use fulgurite_hal::{self as hal, Error};
use libtest_mimic::{Arguments, Trial};

type Opened = Result<Arc<dyn hal::Device>, Error>;

fn main() -> io::Result<()> {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ir/filetests/run");
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let mut trials = Vec::new();
    let vulkan = |options: Options| -> Opened { Ok(VulkanDevice::open(&options)?) };
    let cpu = |native: Native| -> Opened { Ok(Arc::new(CpuDevice::with(CpuOptions { native }))) };
    let backends: [(&str, &str, Opened); 6] = [
        ("reference", "reference", Ok(Arc::new(ReferenceDevice::new(ReferenceOptions::default())))),
        ("cpu", "cpu", cpu(Native::Auto)),
        ("cpu-avx2", "cpu", cpu(Native::Avx2)),
        ("cpu-interpreter", "cpu", cpu(Native::Interpreter)),
        ("vulkan", "vulkan", vulkan(Options::from_env())),
        ("vulkan-addresses", "vulkan", vulkan(Options::from_env().addresses(true))),
    ];
    for (label, id, opened) in backends {
        let backend = match opened {
            Ok(backend) => backend,
            Err(error @ Error::Unavailable { .. }) if !required(id) => {
                eprintln!("{label}: unavailable ({error})");
                continue;
            }
            Err(error) => return Err(io::Error::other(error)),
        };
        for path in &files {
            let name = path.strip_prefix(&root).unwrap_or(path).display();
            trials.push(trial(format!("{label} {name}"), backend.clone(), path.clone()));
        }
    }
    libtest_mimic::run(&arguments, trials).exit()
}

/// Returns whether it is a failure if this backend is not available.
fn required(id: &str) -> bool {
    std::env::var("FULGURITE_REQUIRE_BACKENDS").is_ok_and(|list| list.split(',').any(|r| r.trim() == id))
}

fn trial(name: String, backend: Arc<dyn hal::Device>, path: PathBuf) -> Trial {
    Trial::test(name, move || {
        let source = fs::read_to_string(&path)?;
        if let Outcome::Unsupported(reason) = RunFile::parse(&source)?.run(backend.as_ref())? {
            let id = &backend.snapshot().backend;
            // The backends on the host have every capability.
            if id != "vulkan" {
                return Err(format!("{id} does not support it: {reason}").into());
            }
            eprintln!("{} on {id}: unsupported ({reason})", path.display());
        }
        Ok(())
    })
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "fg") {
                files.push(path);
            }
        }
    }
    Ok(())
}
