//! `cargo xtask calibrate`: measures devices for routing, and keeps what it found.

use fulgurite::{calibrate, calibrations, keep_calibrations, registry};
use fulgurite_hal::Error;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The backend's id, or `all`
    #[arg(long, value_name = "ID", default_value = "all")]
    backend: String,
}

/// Whether every backend that is there was measured.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let registry = registry();
    let all = args.backend == "all";
    // What is unreadable is no loss: it is measured anew.
    let mut known = calibrations().unwrap_or_else(|error| {
        eprintln!("what was kept is of no use: {error}");
        Default::default()
    });
    let mut complete = true;
    for id in crate::backend_ids(&registry, &args.backend) {
        let measured = registry.open(&id).and_then(|device| calibrate(&device));
        match measured {
            Ok(measured) => {
                eprintln!("{measured}");
                known.insert(measured);
            }
            Err(Error::Unavailable { reason, .. }) if all => eprintln!("{id}: unavailable: {reason}"),
            Err(error) => {
                complete = false;
                eprintln!("{id}: {error}");
            }
        }
    }
    eprintln!("kept in {}", keep_calibrations(&known)?.display());
    Ok(complete)
}
