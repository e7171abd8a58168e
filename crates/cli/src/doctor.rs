//! `fulgurite doctor`: checks that this machine has what the backends and the cache need, and says how to provide what is
//! missing. The advice is that of the errors that a program would meet.

use fulgurite::{
    AdapterKind, Backend, Choice, DeviceSnapshot, Error, OpenOptions, Registry, calibrations, registry,
};
use fulgurite_backend_vulkan::{Options, VulkanDevice};
use fulgurite_pipeline_cache::{DiskOptions, DiskPipelineCache};
use serde_json::{Value, json};

use crate::devices::reason;
use crate::output::{self, say};

#[derive(clap::Args)]
#[command(
    after_help = "Exit status: 0 if every backend opens and compiled kernels can be kept, with or without notes; 1 if \
    something is missing. On a machine that is meant to have no GPU, name the backends that matter: --backend cpu."
)]
pub(crate) struct Args {
    /// Check only this backend; may be given several times. Default: every backend of this build
    #[arg(long, value_name = "ID")]
    backend: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The result of a check.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Fine,
    /// Something optional is missing.
    Note,
    /// Something is missing that programs need.
    Missing,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Note => "note",
            Self::Missing => "missing",
        }
    }
}

/// A check, with its result.
struct Finding {
    name: String,
    status: Status,
    message: String,
}

impl Finding {
    fn new(name: impl Into<String>, status: Status, message: impl Into<String>) -> Self {
        Self { name: name.into(), status, message: message.into() }
    }
}

/// Runs every check and returns whether nothing is missing.
///
/// # Errors
/// `FG0401` for a backend that is not registered.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let registry = registry();
    args.backend.iter().try_for_each(|id| registry.named(id).map(drop))?;
    let mut findings = Vec::new();
    let opened = backends(&registry, &args.backend, &mut findings);
    if opened.iter().any(|snapshot| snapshot.backend == "vulkan") {
        findings.push(validation_layer());
    }
    findings.push(cache());
    findings.push(calibration(&opened));
    let is_fine = findings.iter().all(|finding| finding.status != Status::Missing);
    if args.json {
        let checks: Value = findings
            .iter()
            .map(|f| json!({ "name": f.name, "status": f.status.name(), "message": f.message }))
            .collect();
        output::json(&json!({ "ok": is_fine, "checks": checks }))?;
    } else {
        for Finding { name, status, message } in &findings {
            say!("{:<8} {name}: {message}", status.name())?;
        }
        output::line(if is_fine { "nothing is missing" } else { "something is missing: see above" })?;
    }
    Ok(is_fine)
}

/// Opens the best device of each backend, of all if none is `wanted`, and returns those that open.
fn backends(registry: &Registry, wanted: &[String], findings: &mut Vec<Finding>) -> Vec<DeviceSnapshot> {
    let is_wanted = |id: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == id);
    let backends = registry.list().map(Backend::id).filter(|id| is_wanted(id));
    let choice = |id: &str| registry.route(&Choice::Backend(id.to_owned()), &OpenOptions::default());
    let routes: Vec<_> = backends.map(|id| (id, choice(id))).collect();
    let highest = routes.iter().filter_map(|(_, route)| Some(route.as_ref().ok()?.adapter().rank)).max();
    let mut opened: Vec<DeviceSnapshot> = Vec::new();
    for (id, route) in routes {
        let name = format!("backend {id}");
        match route {
            Ok(route) => {
                let (snapshot, adapter) = (route.device().snapshot().clone(), route.adapter());
                let is_software = id == "vulkan" && adapter.kind == AdapterKind::Cpu;
                let software = if is_software { ", which runs on the CPU" } else { "" };
                let default = if Some(adapter.rank) == highest { ", the default here" } else { "" };
                let message = format!("{} ({}){software}{default}", snapshot.device, snapshot.driver);
                findings.push(Finding::new(name, Status::Fine, message));
                opened.push(snapshot);
            }
            Err(error) => findings.push(Finding::new(name, Status::Missing, reason(&error))),
        }
    }
    opened
}

/// Opens the Vulkan device under the validation layer, which only developers need.
fn validation_layer() -> Finding {
    let mut options = Options::from_env();
    options.validation = true;
    match VulkanDevice::open(&options) {
        Ok(_) => {
            Finding::new("validation layer", Status::Fine, "works (FULGURITE_VULKAN_VALIDATION=1 enables it)")
        }
        Err(error) => Finding::new("validation layer", Status::Note, reason(&error)),
    }
}

/// Checks that compiled kernels can be kept for later processes.
fn cache() -> Finding {
    let name = "cache folder";
    let Some(root) = DiskPipelineCache::default_root() else {
        let message = "there is none, so every process compiles its kernels anew: set FULGURITE_CACHE_DIR to an absolute path";
        return Finding::new(name, Status::Missing, message);
    };
    if let Err(error) = DiskPipelineCache::open(&root, DiskOptions::default()) {
        return Finding::new(name, Status::Missing, error.diagnostic().to_string());
    }
    // A folder on a full or read-only disk opens as well.
    match tempfile::NamedTempFile::new_in(&root)
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"doctor"))
    {
        Ok(()) => Finding::new(name, Status::Fine, root.display().to_string()),
        Err(error) => {
            let message = format!(
                "{} is not writable ({error}): mend its permissions, or set FULGURITE_CACHE_DIR to another folder",
                root.display()
            );
            Finding::new(name, Status::Missing, message)
        }
    }
}

/// Checks that routing knows the speeds of the devices.
fn calibration(opened: &[DeviceSnapshot]) -> Finding {
    let name = "calibration";
    let known = match calibrations() {
        Ok(known) => known,
        Err(error) => return Finding::new(name, Status::Note, unusable(&error)),
    };
    let unknown: Vec<_> = opened
        .iter()
        .filter(|device| known.get(device).is_none())
        .map(|device| device.backend.as_str())
        .collect();
    if unknown.is_empty() {
        return Finding::new(name, Status::Fine, "every device is calibrated");
    }
    let message = format!(
        "{} not calibrated, so that routing goes by rank and not by speed: `fulgurite calibrate`",
        unknown.join(", ")
    );
    Finding::new(name, Status::Note, message)
}

fn unusable(error: &Error) -> String {
    format!("the stored calibrations are unusable, `fulgurite calibrate` replaces them: {error}")
}
