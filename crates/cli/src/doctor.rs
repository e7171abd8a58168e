//! `fulgurite doctor`: checks that this machine has what the backends and the cache need, and says how to provide what is
//! missing. The advice is that of the errors that a program would meet.

#[cfg(unix)]
use std::fs::Metadata;
use std::path::Path;

use fulgurite::{
    AdapterInfo, AdapterKind, Backend, Choice, Code, DeviceSnapshot, Error, OpenOptions, Registry,
    calibrations, registry,
};
use fulgurite_backend_vulkan::{Options, VulkanDevice};
use fulgurite_pipeline_cache::{CacheError, DiskOptions, DiskPipelineCache, default_root};
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

/// A device that opened.
struct Opened {
    info: AdapterInfo,
    snapshot: DeviceSnapshot,
    /// The index of its finding.
    finding: usize,
}

impl Finding {
    /// Returns the finding on the backend or the adapter `id`.
    fn backend(id: &str, status: Status, message: impl Into<String>) -> Self {
        Self::new(format!("backend {id}"), status, message)
    }

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
    if opened.iter().any(|one| one.info.id.backend() == "vulkan") {
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

/// Opens every suitable device of each backend, of all if none is `wanted`, and returns those that open.
fn backends(registry: &Registry, wanted: &[String], findings: &mut Vec<Finding>) -> Vec<Opened> {
    let is_wanted = |id: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == id);
    let found = registry.adapters();
    let mut opened: Vec<Opened> = Vec::new();
    for id in registry.list().map(Backend::id).filter(|id| is_wanted(id)) {
        let unavailable = found.unavailable.iter().filter(|(backend, _)| backend == id);
        findings.extend(unavailable.map(|(_, error)| Finding::backend(id, Status::Missing, reason(error))));
        let own: Vec<_> = found.adapters.iter().filter(|info| info.id.backend() == id).collect();
        // Without a suitable device, the backend cannot be used; beside one, an unsuitable one only is of no use.
        let is_usable = own.iter().any(|info| crate::is_selectable(info));
        let unused = if is_usable { Status::Note } else { Status::Missing };
        for info in own {
            let name = info.id.as_str();
            if let Some(reason) = &info.unsuitable {
                let message = format!("{} is not suitable: {reason}", info.declared.device);
                findings.push(Finding::backend(name, unused, message));
                continue;
            }
            if let Some(reason) = &info.deselected {
                let message = format!("{} is used only if it is named: {reason}", info.declared.device);
                findings.push(Finding::backend(name, unused, message));
                continue;
            }
            match registry.route(&Choice::Adapter(info.id.clone()), &OpenOptions::default()) {
                Ok(route) => {
                    let snapshot = route.device().snapshot().clone();
                    opened.push(Opened { info: info.clone(), snapshot, finding: findings.len() });
                    findings.push(Finding::backend(name, Status::Fine, ""));
                }
                Err(error) => findings.push(Finding::backend(name, Status::Missing, reason(&error))),
            }
        }
    }
    let highest = opened.iter().map(|one| one.info.rank).max();
    let default = opened.iter().position(|one| Some(one.info.rank) == highest);
    for (at, Opened { info, snapshot, finding }) in opened.iter().enumerate() {
        let is_software = info.id.backend() == "vulkan" && info.kind == AdapterKind::Cpu;
        let software = if is_software { ", which runs on the CPU" } else { "" };
        let default = if Some(at) == default { ", the default here" } else { "" };
        findings[*finding].message = format!("{} ({}){software}{default}", snapshot.device, snapshot.driver);
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
        return Finding::new(name, Status::Missing, unusable_folder(&error));
    }
    // The folder of calibrations, and that of tuning records, which need not exist. Opening one creates no file.
    let folders = default_root().into_iter().flat_map(|root| [root.join("autotune"), root]);
    for folder in folders.filter(|folder| folder.symlink_metadata().is_ok()) {
        if let Err(error) = DiskPipelineCache::open(&folder, DiskOptions::default().read_only()) {
            return Finding::new(name, Status::Missing, unusable_folder(&error));
        }
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

/// Returns the reason why a folder is refused, and the command that mends it where there is one.
fn unusable_folder(error: &CacheError) -> String {
    let CacheError::Refused { path, reason } = error else { return error.diagnostic().to_string() };
    let fix = if may_be_written_by_others(path) {
        format!("`chmod 700 {}` as its owner, or set FULGURITE_CACHE_DIR to another folder", path.display())
    } else {
        "set FULGURITE_CACHE_DIR to a folder that this user owns and nobody else can write".to_owned()
    };
    format!("{} is not trusted: {reason}; {fix} ({})", path.display(), error.code())
}

/// Returns whether `path` is a folder whose permissions let users other than its owner write it.
#[cfg(unix)]
fn may_be_written_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let others = |info: &Metadata| info.is_dir() && info.permissions().mode() & 0o022 != 0;
    path.symlink_metadata().is_ok_and(|info| others(&info))
}

#[cfg(not(unix))]
fn may_be_written_by_others(_: &Path) -> bool {
    false
}

/// Checks that routing knows the speeds of the devices.
fn calibration(opened: &[Opened]) -> Finding {
    let name = "calibration";
    let known = match calibrations() {
        Ok(known) => known,
        Err(error) => return Finding::new(name, Status::Note, unusable(&error)),
    };
    let unknown: Vec<_> = opened
        .iter()
        .filter(|one| known.get(&one.snapshot).is_none())
        .map(|one| one.info.id.as_str())
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
    let fix = match error.code() {
        Code::BadFileFormat => "`fulgurite calibrate` replaces them",
        _ => {
            "`fulgurite calibrate` cannot replace them either until the file is removed and its folder trusted"
        }
    };
    format!("the stored calibrations are unusable, {fix}: {error}")
}
