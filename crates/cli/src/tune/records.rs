//! Maintenance of tuning records: listing, pruning, export and import, comparison of devices.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use fulgurite::autotune::{AutotuneStore, CandidateRow, DeviceKey, MeasurePolicy, PruneOptions, config_name};
use fulgurite::kernels::families;
use serde_json::json;

use crate::output::{self, say};
use crate::source::unknown_name;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// List the best configuration of each problem
    List,
    /// Remove obsolete data: marks of forgotten records, damaged records, records of other versions of families
    Prune {
        /// Also remove records measured longer ago than this
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        older_than: Option<Duration>,
        /// Also remove records of other devices and driver versions than those of the backends here
        #[arg(long)]
        other_devices: bool,
    },
    /// Write every file of records into a folder
    Export {
        /// The folder
        folder: PathBuf,
    },
    /// Merge files that `export` wrote
    Import {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Compare the best configurations on two devices, each named by a part of its name, backend or driver
    Diff {
        /// The first device
        left: String,
        /// The second device
        right: String,
    },
    /// Remove the records of a problem, even if another process saves them again
    Forget {
        /// The family
        family: String,
        /// The problem. Default: all of its problems
        problem: Option<String>,
    },
}

pub(super) fn run(command: &Command, store: &AutotuneStore, json: bool) -> anyhow::Result<bool> {
    match command {
        Command::List => list(store, json)?,
        Command::Prune { older_than, other_devices } => {
            let mut options = PruneOptions::default().policy(MeasurePolicy::default().key());
            if let Some(age) = older_than {
                options = options.older_than(SystemTime::now() - *age);
            }
            for family in families() {
                options = options.version(family.id, family.version);
            }
            if *other_devices {
                let registry = fulgurite::registry();
                for id in crate::backend_ids(&registry, "all") {
                    if let Ok(device) = super::open(&id) {
                        options = options.device(DeviceKey::of(device.snapshot()));
                    }
                }
            }
            let report = store.prune(&options)?;
            let rows = [
                ("files", report.files),
                ("records", report.records),
                ("candidates", report.rows),
                ("marks of forgotten records", report.forgotten),
                ("unusable records", report.rejected),
            ];
            told(&rows, json)?;
        }
        Command::Export { folder } => {
            std::fs::create_dir_all(folder)?;
            let files = store.export()?;
            for (name, text) in &files {
                let path = folder.join(name);
                std::fs::write(&path, text)
                    .with_context(|| format!("error[FG0702]: cannot write {}", path.display()))?;
            }
            told(&[("files", files.len())], json)?;
        }
        Command::Import { files } => {
            let (mut records, mut rejected) = (0, 0);
            for path in files {
                let text = std::fs::read(path)
                    .with_context(|| format!("error[FG0701]: cannot read {}", path.display()))?;
                let report = store.import(&text).with_context(|| path.display().to_string())?;
                records += report.records;
                rejected += report.rejected;
            }
            store.save()?;
            told(&[("records", records), ("unusable records", rejected)], json)?;
            return Ok(rejected == 0);
        }
        Command::Diff { left, right } => diff(store, left, right, json)?,
        Command::Forget { family, problem } => {
            // As it is tuned: 512 is 512x512x512. What is no problem now may be one of an earlier version.
            let listed = fulgurite::kernels::family(family);
            let problem = problem.as_ref().map(|text| {
                let bucket = listed.as_ref().and_then(|listed| listed.bucket(text).ok());
                bucket.unwrap_or_else(|| text.clone())
            });
            let keys: Vec<_> = store
                .records()?
                .into_keys()
                .filter(|key| key.family == *family && problem.as_ref().is_none_or(|p| key.bucket == *p))
                .collect();
            let forgotten = keys.iter().filter(|key| store.forget(key)).count();
            store.save()?;
            told(&[("records", forgotten)], json)?;
        }
    }
    Ok(true)
}

fn told(rows: &[(&str, usize)], json: bool) -> anyhow::Result<()> {
    if json {
        let all: serde_json::Map<_, _> =
            rows.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect();
        output::json(&json!(all))?;
    } else {
        rows.iter().try_for_each(|(name, count)| say!("{name:<28} {count}"))?;
    }
    Ok(())
}

fn list(store: &AutotuneStore, json: bool) -> anyhow::Result<()> {
    let records = store.records()?;
    if json {
        let all: Vec<_> = records
            .iter()
            .map(|(key, record)| {
                json!({
                    "family": key.family, "version": key.version, "problem": key.bucket, "policy": key.policy,
                    "backend": key.device.backend, "device": key.device.device, "driver": key.device.driver,
                    "candidates": record.candidates().len(), "best": record.best().map(|(_, row)| row),
                })
            })
            .collect();
        output::json(&json!(all))?;
        return Ok(());
    }
    let mut device = None;
    for (key, record) in &records {
        if device != Some(&key.device) {
            say!("{}", key.device)?;
            device = Some(&key.device);
        }
        let best = record.best().map_or_else(|| "none was right".to_owned(), |(_, row)| shown(row));
        say!("  {:<12} {:<16} {:>4} candidates, {best}", key.family, key.bucket, record.candidates().len())?;
    }
    Ok(())
}

fn shown(row: &CandidateRow) -> String {
    format!("{:.2} µs: {}", row.time_ns.unwrap_or(f64::NAN) / 1e3, config_name(&row.config))
}

fn diff(store: &AutotuneStore, left: &str, right: &str, json: bool) -> anyhow::Result<()> {
    let devices = store.devices()?;
    let [left, right] = [left, right].map(|part| {
        let named: Vec<_> = devices
            .iter()
            .filter(|key| key.to_string().to_lowercase().contains(&part.to_lowercase()))
            .collect();
        match named[..] {
            [one] => Ok(one),
            _ => {
                let known: Vec<_> = devices.iter().map(DeviceKey::to_string).collect();
                let message = format!("`{part}` names {} of the tuned devices, not one", named.len());
                Err(unknown_name(message, "tuned device", &known))
            }
        }
    });
    let (left, right) = (left?, right?);
    let all = store.diff(left, right)?;
    if json {
        let rows: Vec<_> = all
            .iter()
            .map(|row| json!({ "family": row.family, "problem": row.bucket, "left": row.best[0], "right": row.best[1] }))
            .collect();
        output::json(&json!(rows))?;
        return Ok(());
    }
    say!("<  {left}\n>  {right}")?;
    for row in all {
        let configs = row.best.each_ref().map(|best| best.as_ref().map(|best| &best.config));
        let same = matches!(configs, [Some(a), Some(b)] if a == b);
        say!("{} {}{}", row.family, row.bucket, if same { ": the same" } else { "" })?;
        for (side, best) in ["<", ">"].iter().zip(&row.best) {
            say!("  {side} {}", best.as_ref().map_or_else(|| "not tuned".to_owned(), shown))?;
        }
    }
    Ok(())
}
