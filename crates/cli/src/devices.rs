//! `fulgurite devices`: lists the devices of every backend of this build, and the backends without one.

use fulgurite::spec::device::Matrices;
use fulgurite::{AdapterInfo, Choice, DeviceSnapshot, Error, OpenOptions, Registry, registry};
use serde_json::{Value, json};

use crate::output;

#[derive(clap::Args)]
#[command(
    after_help = "The default is the device that is used where none is named: the first one listed that is suitable and \
    not excluded by the environment, and with --open, that opens."
)]
pub(crate) struct Args {
    /// Open each device, to print what it does rather than what its driver declares: with quirks and lowering rules
    #[arg(long)]
    open: bool,
    /// Print JSON, with all limits
    #[arg(long)]
    pub(crate) json: bool,
}

/// A device, and what opening it gave if it was opened.
struct Listed {
    info: AdapterInfo,
    is_default: bool,
    opened: Option<Result<DeviceSnapshot, Error>>,
}

/// Prints the facts of each device. A backend without one is no failure of the command.
///
/// # Errors
/// The error of standard output.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let registry = registry();
    let found = registry.adapters();
    let mut has_default = false;
    // In the order in which routing tries them.
    let listed = found.adapters.into_iter().map(|info| {
        let opened = args.open.then(|| open(&registry, &info));
        let opens = opened.as_ref().is_none_or(Result::is_ok);
        let is_default = !has_default && crate::is_selectable(&info) && opens;
        has_default |= is_default;
        Listed { info, is_default, opened }
    });
    if args.json {
        let unavailable = found.unavailable.iter().map(
            |(id, error)| json!({ "backend": id, "code": error.code().to_string(), "reason": reason(error) }),
        );
        output::json(&json!({
            "devices": listed.map(|listed| listed.entry()).collect::<Value>(),
            "unavailable": unavailable.collect::<Value>(),
        }))?;
        return Ok(true);
    }
    for listed in listed {
        output::line(&listed.text())?;
    }
    for (id, error) in &found.unavailable {
        output::line(&format!("{id}: not available: {}", reason(error)))?;
    }
    Ok(true)
}

fn open(registry: &Registry, info: &AdapterInfo) -> Result<DeviceSnapshot, Error> {
    let route = registry.route(&Choice::Adapter(info.id.clone()), &OpenOptions::default())?;
    Ok(route.device().snapshot().clone())
}

impl Listed {
    /// Returns the reason why the device cannot be used, if there is one.
    fn unsuitable(&self) -> Option<String> {
        let failed = self.opened.as_ref().and_then(|opened| opened.as_ref().err()).map(reason);
        self.info.unsuitable.clone().or(failed)
    }

    /// Returns what is known of the device: what opening it showed, or else what its driver declares.
    fn snapshot(&self) -> &DeviceSnapshot {
        self.opened.as_ref().and_then(|opened| opened.as_ref().ok()).unwrap_or(&self.info.declared)
    }

    fn text(&self) -> String {
        let (info, snapshot) = (&self.info, self.snapshot());
        let limits = &snapshot.limits;
        let list = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let mut rows = vec![("driver", snapshot.driver.clone()), ("kind", info.kind.to_string())];
        if let Some(reason) = self.unsuitable() {
            rows.push(("not suitable", reason));
        } else {
            let memory = info.memory_bytes.map_or("the host's".to_owned(), |bytes| format!("{bytes} bytes"));
            let workgroup = format!(
                "{} invocations, {} bytes of shared memory",
                limits.max_workgroup_invocations, limits.max_shared_bytes
            );
            rows.extend(info.deselected.clone().map(|reason| ("only if named", reason)));
            rows.extend([
                ("rank", info.rank.to_string()),
                ("memory", memory),
                ("subgroup size", limits.subgroup_size.to_string()),
                ("workgroup", workgroup),
                ("largest buffer", format!("{} bytes", limits.max_buffer_bytes)),
                ("matrices", matrices(&snapshot.matrices)),
                ("capabilities", list(snapshot.capabilities.iter().map(|c| c.name()).collect())),
            ]);
        }
        if let Some(Ok(opened)) = &self.opened {
            rows.push(("quirks", list(opened.quirks.iter().map(String::as_str).collect())));
            rows.push(("lowering rules", list(opened.rules.iter().map(String::as_str).collect())));
        }
        let rows: Vec<_> = rows.iter().map(|(name, value)| format!("\n  {name:<14} {value}")).collect();
        let default = if self.is_default { " (default)" } else { "" };
        format!("{}: {}{default}{}", info.id, snapshot.device, rows.concat())
    }

    fn entry(&self) -> Value {
        let (info, snapshot) = (&self.info, self.snapshot());
        let limits = &snapshot.limits;
        let shapes = match &snapshot.matrices {
            Matrices::Any => json!("any"),
            Matrices::Listed(shapes) => shapes.iter().map(|shape| json!(shape.to_string())).collect(),
            Matrices::None => json!([]),
        };
        json!({
            "id": info.id.as_str(),
            "backend": info.id.backend(),
            "device": snapshot.device,
            "driver": snapshot.driver,
            "kind": info.kind.name(),
            "rank": info.rank,
            "is_default": self.is_default,
            "deselected": info.deselected,
            "memory_bytes": info.memory_bytes,
            "unsuitable": self.unsuitable(),
            "is_opened": matches!(self.opened, Some(Ok(_))),
            "capabilities": snapshot.capabilities.iter().map(|c| c.name()).collect::<Vec<_>>(),
            "limits": {
                "max_workgroup_invocations": limits.max_workgroup_invocations,
                "max_workgroup_size": limits.max_workgroup_size,
                "max_workgroup_count": limits.max_workgroup_count,
                "max_shared_bytes": limits.max_shared_bytes,
                "max_buffer_bytes": limits.max_buffer_bytes,
                "max_bound_buffers": limits.max_bound_buffers,
                "loop_limit": limits.loop_limit,
                "max_nesting": limits.max_nesting,
                "subgroup_size": limits.subgroup_size,
            },
            "matrices": shapes,
            "quirks": snapshot.quirks,
            "rules": snapshot.rules,
        })
    }
}

fn matrices(matrices: &Matrices) -> String {
    match matrices {
        Matrices::Any => "of any shape".to_owned(),
        Matrices::Listed(shapes) => format!("{} products", shapes.len()),
        Matrices::None => "none".to_owned(),
    }
}

/// Returns the reason why a backend did not open, without its id.
pub(crate) fn reason(error: &Error) -> String {
    match error {
        Error::Unavailable { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}
