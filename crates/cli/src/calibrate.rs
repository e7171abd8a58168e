//! `fulgurite calibrate`: measures devices for routing, and stores the results.

use fulgurite::{Calibration, calibrate, calibrations, keep_calibrations, registry};
use fulgurite_hal::Error;
use serde_json::{Value, json};

use crate::output::{self, note, say};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The backend's id, an adapter's, or `all` for every suitable device, as `devices` lists them
    #[arg(long, value_name = "ID", default_value = "all")]
    backend: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Measures the devices and returns whether every available one was measured.
///
/// # Errors
/// `FG0702` if the results cannot be stored.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let registry = registry();
    let all = args.backend == "all";
    // Unreadable calibrations are measured again.
    let mut known = calibrations().unwrap_or_else(|error| {
        note!("stored calibrations are ignored: {error}");
        Default::default()
    });
    let (mut complete, mut entries) = (true, Vec::new());
    for id in crate::device_ids(&registry, &args.backend) {
        let measured = registry.open(&id).and_then(|device| calibrate(&device));
        match measured {
            Ok(measured) => {
                entries.push(entry(&measured));
                if !args.json {
                    output::line(&measured.to_string())?;
                }
                known.insert(measured);
            }
            Err(Error::Unavailable { reason, .. }) if all => {
                note!("{id}: unavailable: {reason}");
            }
            Err(error) => {
                complete = false;
                note!("{id}: {error}");
            }
        }
    }
    let path = keep_calibrations(&known)?;
    if args.json {
        output::json(&json!({ "calibrations": entries, "kept_in": path }))?;
    } else {
        say!("kept in {}", path.display())?;
    }
    Ok(complete)
}

fn entry(measured: &Calibration) -> Value {
    json!({
        "backend": measured.backend,
        "device": measured.device,
        "driver": measured.driver,
        "launch_seconds": measured.launch_seconds,
        "memory_bytes_per_second": measured.memory_bytes_per_second,
        "upload_bytes_per_second": measured.upload_bytes_per_second,
        "download_bytes_per_second": measured.download_bytes_per_second,
    })
}
