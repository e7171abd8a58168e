//! `cargo xtask cache`: looks after the folder of compiled kernels, and makes packs of them.

mod pack;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use fulgurite_pipeline_cache::{
    CacheCount, DiskOptions, DiskPipelineCache, DiskStats, Entry, Pack, PayloadKind, VerifyReport,
};
use serde_json::{Value, json};

use crate::progress;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder. Default: the user's
    #[arg(long, value_name = "DIR", global = true)]
    root: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// What there is
    Stats,
    /// Read and check every entry; damaged ones are put aside
    Verify,
    /// Collect what dead processes left, and remove what was used the longest ago
    Gc {
        /// Down to nine tenths of so many bytes, if there are more. Default: the cache's own bound, 1 GiB
        #[arg(long, value_name = "BYTES")]
        max_bytes: Option<u64>,
    },
    /// Remove every entry
    Clear,
    /// Write entries into one file
    Export {
        /// The file
        file: PathBuf,
        /// Only entries of this kind: artifact, binary, kernel or tuned
        #[arg(long, value_name = "KIND")]
        kind: Vec<String>,
    },
    /// Take entries from a file that `export` or `pack` wrote
    Import {
        /// The file
        file: PathBuf,
        /// Take lowered kernels and driver binaries, too, which nothing checks before a device runs them
        #[arg(long)]
        trust: bool,
    },
    /// Make a pack of kernels, to be shipped with a program
    Pack(pack::Args),
    /// Compile kernels ahead of their first use, several at once
    Prewarm {
        /// Kernel texts (`.fg`)
        #[arg(required = true)]
        kernels: Vec<PathBuf>,
    },
}

/// Whether all is well: for `verify` that nothing is damaged, elsewhere that nothing failed.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let root = match &args.root {
        Some(root) => std::path::absolute(root)?,
        None => DiskPipelineCache::default_root()
            .context("error[FG1001]: there is no cache folder: FULGURITE_CACHE_DIR is empty or relative")?,
    };
    let open = |options| {
        if !root.exists() {
            bail!("error[FG0701]: there is no cache in {}: nothing was kept yet", root.display());
        }
        DiskPipelineCache::open(&root, options).map_err(|error| anyhow::anyhow!("{}", error.diagnostic()))
    };
    let (answer, ok) = match &args.command {
        Command::Stats => (stats(&root, &told(open(DiskOptions::default().read_only())?.stats())?), true),
        Command::Verify => {
            let report = verify(&open(DiskOptions::default())?)?;
            let ok = report.corrupt.is_empty() && report.unreadable.is_empty();
            (verified(&report), ok)
        }
        Command::Gc { max_bytes } => {
            let report = told(open(DiskOptions::default())?.gc(*max_bytes))?;
            let rows = vec![
                ("before", count(report.before)),
                ("evicted", count(report.evicted)),
                ("temporary files removed", json!(report.temporary)),
                ("busy", json!(report.is_busy)),
            ];
            (rows, true)
        }
        Command::Clear => {
            let report = told(open(DiskOptions::default())?.clear())?;
            report.failed.iter().for_each(|error| eprintln!("{}", error.diagnostic()));
            let rows = vec![("removed", json!(report.removed)), ("bytes", json!(report.bytes))];
            (rows, report.failed.is_empty())
        }
        Command::Export { file, kind } => {
            let kinds = kinds(kind)?;
            let wanted = |entry: &Entry| kinds.is_empty() || kinds.contains(&entry.identity.kind());
            let pack = told(open(DiskOptions::default().read_only())?.export(&wanted))?;
            write_file(file, &pack)?;
            let entries = told(Pack::from_bytes(pack.clone()))?.len();
            (vec![("entries", json!(entries)), ("bytes", json!(pack.len()))], true)
        }
        Command::Import { file, trust } => import(&root, file, *trust)?,
        Command::Pack(args) => pack::run(args)?,
        Command::Prewarm { kernels } => prewarm(&root, kernels)?,
    };
    print(&answer, args.json)?;
    Ok(ok)
}

/// An answer: names and values, in order.
type Rows = Vec<(&'static str, Value)>;

fn stats(root: &Path, stats: &DiskStats) -> Rows {
    let age = |time: Option<SystemTime>| {
        let age = time.and_then(|time| SystemTime::now().duration_since(time).ok());
        age.map_or(Value::Null, |age| json!(format!("{} s", age.as_secs())))
    };
    let mut rows = vec![("root", json!(root)), ("entries", count(stats.all))];
    for kind in PayloadKind::ALL {
        if let Some(of_kind) = stats.by_kind.get(kind) {
            rows.push((kind.name(), count(*of_kind)));
        }
    }
    rows.extend([
        ("of unknown kind", count(stats.unknown)),
        ("put aside", count(stats.quarantined)),
        ("temporary", count(stats.temporary)),
        ("index bytes", json!(stats.index_bytes)),
        ("last used", age(stats.newest)),
        ("first to go, used", age(stats.oldest)),
    ]);
    rows
}

fn verify(disk: &DiskPipelineCache) -> anyhow::Result<VerifyReport> {
    let bar = progress::bar(0, "entries");
    let report = disk.verify(&mut |done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    told(report)
}

fn verified(report: &VerifyReport) -> Rows {
    for digest in &report.corrupt {
        eprintln!("{digest}: damaged, and put aside");
    }
    for (digest, error) in &report.unreadable {
        eprintln!("{digest}: {error}");
    }
    vec![
        ("good", count(report.good)),
        ("corrupt", json!(report.corrupt.len())),
        ("of another format", json!(report.other_format.len())),
        ("unreadable", json!(report.unreadable.len())),
    ]
}

fn import(root: &Path, file: &Path, trust: bool) -> anyhow::Result<(Rows, bool)> {
    let pack = told(Pack::open(file))?;
    let disk = told(DiskPipelineCache::open(root, DiskOptions::default()))?;
    let report = if trust {
        #[expect(unsafe_code, reason = "who ran the command vouches for the pack")]
        // SAFETY: the user said so.
        let pack = unsafe { pack.trust() };
        told(disk.import_trusted(&pack))?
    } else {
        told(disk.import(&pack))?
    };
    report.failed.iter().for_each(|(digest, error)| eprintln!("{digest}: {}", error.diagnostic()));
    if report.untrusted > 0 {
        let left = report.untrusted;
        eprintln!("{left} lowered kernels and driver binaries were left out; --trust takes them");
    }
    let rows = vec![
        ("added", json!(report.added)),
        ("unchanged", json!(report.unchanged)),
        ("untrusted", json!(report.untrusted)),
        ("failed", json!(report.failed.len())),
    ];
    Ok((rows, report.failed.is_empty()))
}

fn prewarm(root: &Path, paths: &[PathBuf]) -> anyhow::Result<(Rows, bool)> {
    let kernels = pack::read_kernels(paths)?;
    let context = fulgurite::Context::builder().cache_directory(root).backend("vulkan").open()?;
    let bar = progress::bar(kernels.len() as u64, "kernels");
    let failed =
        context.prewarm_telling(&kernels, &Default::default(), &|done| bar.set_position(done as u64));
    bar.finish_and_clear();
    for (at, error) in &failed {
        eprintln!("{}: {error}", paths[*at].display());
    }
    let report = context.cache_report();
    report.notices.iter().for_each(|notice| eprintln!("{notice}"));
    let rows = vec![
        ("kernels", json!(kernels.len())),
        ("failed", json!(failed.len())),
        ("lowered", json!(report.lowered)),
        ("compiled by the driver", json!(report.driver_compiles)),
        ("found", json!(report.hits)),
        ("kept in", json!(report.kept_in)),
    ];
    Ok((rows, failed.is_empty()))
}

fn kinds(names: &[String]) -> anyhow::Result<Vec<PayloadKind>> {
    let known = || PayloadKind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    let find = |name: &String| {
        let found = PayloadKind::ALL.iter().copied().find(|kind| kind.name() == name);
        found.with_context(|| format!("error[FG0704]: there is no kind `{name}`; there are {}", known()))
    };
    names.iter().map(find).collect()
}

fn count(count: CacheCount) -> Value {
    json!({ "entries": count.entries, "bytes": count.bytes })
}

/// A cache's error, with its code and what to do.
fn told<T>(result: Result<T, fulgurite_pipeline_cache::CacheError>) -> anyhow::Result<T> {
    result.map_err(|error| anyhow::anyhow!("{}", error.diagnostic()))
}

fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("error[FG0702]: cannot write {}", path.display()))
}

#[expect(clippy::print_stdout, reason = "what a command answers")]
fn print(rows: &Rows, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let all: serde_json::Map<_, _> =
            rows.iter().map(|(name, value)| (name.replace([' ', ','], "_"), value.clone())).collect();
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in rows {
        let text = match value {
            Value::Object(count) => format!("{:>8}  {:>14} bytes", count["entries"], count["bytes"]),
            Value::String(text) => text.clone(),
            Value::Null => String::from("-"),
            other => format!("{other:>8}"),
        };
        println!("{name:width$}  {text}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_is_none_says_which_there_are() {
        assert_eq!(kinds(&["binary".to_owned()]).unwrap(), [PayloadKind::Binary]);
        let error = kinds(&["spirv".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("FG0704") && error.contains("artifact"), "{error}");
    }
}
