//! `fulgurite devices`: lists every backend of this build with the facts of its device, or the reason why it is not
//! available.

use fulgurite::spec::device::Matrices;
use fulgurite::{DeviceSnapshot, Error, Registration, registry};
use serde_json::{Value, json};

use crate::output;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print JSON, with all limits
    #[arg(long)]
    pub(crate) json: bool,
}

/// Opens every backend and prints its facts. A backend that is not available is no failure of the command.
///
/// # Errors
/// The error of standard output.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let registry = registry();
    let opened = registry
        .list()
        .map(|registration| (registration, registration.open().map(|backend| backend.snapshot().clone())));
    if args.json {
        output::json(
            &json!({ "backends": opened.map(|(r, snapshot)| entry(r, &snapshot)).collect::<Value>() }),
        )?;
        return Ok(true);
    }
    for (registration, snapshot) in opened {
        output::line(&text(registration, &snapshot))?;
    }
    Ok(true)
}

fn text(registration: &Registration, snapshot: &Result<DeviceSnapshot, Error>) -> String {
    let id = registration.id();
    let snapshot = match snapshot {
        Ok(snapshot) => snapshot,
        Err(error) => return format!("{id}: not available: {}", reason(error)),
    };
    let limits = &snapshot.limits;
    let list = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let rows = [
        ("driver", snapshot.driver.clone()),
        ("rank", registration.rank().to_string()),
        ("subgroup size", limits.subgroup_size.to_string()),
        (
            "workgroup",
            format!(
                "{} invocations, {} bytes of shared memory",
                limits.max_workgroup_invocations, limits.max_shared_bytes
            ),
        ),
        ("largest buffer", format!("{} bytes", limits.max_buffer_bytes)),
        ("matrices", matrices(&snapshot.matrices)),
        ("capabilities", list(snapshot.capabilities.iter().map(|c| c.name()).collect())),
        ("quirks", list(snapshot.quirks.iter().map(String::as_str).collect())),
        ("lowering rules", list(snapshot.rules.iter().map(String::as_str).collect())),
    ];
    let rows: Vec<_> = rows.iter().map(|(name, value)| format!("\n  {name:<14} {value}")).collect();
    format!("{id}: {}{}", snapshot.device, rows.concat())
}

fn matrices(matrices: &Matrices) -> String {
    match matrices {
        Matrices::Any => "of any shape".to_owned(),
        Matrices::Listed(shapes) => format!("{} products", shapes.len()),
        _ => "none".to_owned(),
    }
}

/// Returns the reason why a backend did not open, without its id.
pub(crate) fn reason(error: &Error) -> String {
    match error {
        Error::Unavailable { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

fn entry(registration: &Registration, snapshot: &Result<DeviceSnapshot, Error>) -> Value {
    let (id, rank) = (registration.id(), registration.rank());
    let snapshot = match snapshot {
        Ok(snapshot) => snapshot,
        Err(error) => {
            let (code, reason) = (error.code().to_string(), reason(error));
            return json!({ "id": id, "rank": rank, "available": false, "code": code, "reason": reason });
        }
    };
    let limits = &snapshot.limits;
    let shapes = match &snapshot.matrices {
        Matrices::Any => json!("any"),
        Matrices::Listed(shapes) => shapes.iter().map(|shape| json!(shape.to_string())).collect(),
        _ => json!([]),
    };
    json!({
        "id": id,
        "rank": rank,
        "available": true,
        "device": snapshot.device,
        "driver": snapshot.driver,
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
