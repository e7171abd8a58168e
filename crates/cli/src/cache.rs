//! `fulgurite cache`: maintains the folder of compiled kernels, and makes packs of them.

mod pack;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use fulgurite_pipeline_cache::{
    Ban, CacheCount, CacheOptions, Digest, DiskOptions, DiskPipelineCache, DiskStats, Entry,
    InvalidateReport, Pack, PayloadKind, PipelineCache, VerifyReport,
};
use serde_json::{Value, json};

use crate::output::{self, note, say};
use crate::progress;
use crate::source::{unknown_name, usage_with};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder. Default: `pipelines` in the user's cache folder
    #[arg(long, value_name = "DIR", global = true)]
    root: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Count entries and bytes by kind
    Stats,
    /// Read and check every entry; damaged ones are quarantined
    Verify,
    /// Remove temporary files of dead processes, and the entries used the longest ago
    Gc {
        /// Trim to nine tenths of this size, if the cache exceeds it. Default: the cache's own limit, 1 GiB
        #[arg(long, value_name = "BYTES")]
        max_bytes: Option<u64>,
    },
    /// Remove every entry
    Clear,
    /// Remove all entries made from kernels, including driver binaries
    Remove {
        /// Each a kernel text (`.fg`), or 64 hex digits: the digest of a kernel or of one entry
        #[arg(required = true, value_name = "KERNEL")]
        kernels: Vec<String>,
    },
    /// List banned kernels: those that are not compiled for now, because processes ended while a driver compiled them
    Bans,
    /// Lift bans
    Lift {
        /// Each the 64 hex digits that the error or `bans` gives
        #[arg(required = true, value_name = "DIGEST")]
        digests: Vec<String>,
    },
    /// Write entries into one file
    Export {
        /// The file
        file: PathBuf,
        /// Only entries of this kind: artifact, binary, kernel or tuned
        #[arg(long, value_name = "KIND")]
        kind: Vec<String>,
    },
    /// Add entries from a file that `export` or `pack` wrote
    Import {
        /// The file
        file: PathBuf,
        /// Also add lowered kernels and driver binaries, which nothing checks before a device runs them
        #[arg(long)]
        trust: bool,
    },
    /// Make a pack of kernels to ship with a program
    Pack(pack::Args),
    /// Compile kernels ahead of their first use, several at once
    Prewarm {
        /// Kernel texts (`.fg`)
        #[arg(required = true)]
        kernels: Vec<PathBuf>,
    },
}

/// Runs a subcommand and returns whether nothing is damaged and nothing failed.
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
    let kept = || open(DiskOptions::default()).map(|_| PipelineCache::open(CacheOptions::in_folder(&root)));
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
            report.failed.iter().for_each(|error| note!("{}", error.diagnostic()));
            let rows = vec![("removed", json!(report.removed)), ("bytes", json!(report.bytes))];
            (rows, report.failed.is_empty())
        }
        Command::Bans => (vec![("bans", Value::Array(bans(&kept()?)))], true),
        Command::Lift { digests } => lift(&kept()?, digests)?,
        Command::Remove { kernels } => remove(&open(DiskOptions::default())?, kernels)?,
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
        ("quarantined", count(stats.quarantined)),
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
        note!("{digest}: damaged, quarantined");
    }
    for (digest, error) in &report.unreadable {
        note!("{digest}: {error}");
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
        #[expect(unsafe_code, reason = "the user who ran the command vouches for the pack")]
        // SAFETY: the user said so.
        let pack = unsafe { pack.trust() };
        told(disk.import_trusted(&pack))?
    } else {
        told(disk.import(&pack))?
    };
    report.failed.iter().for_each(|(digest, error)| note!("{digest}: {}", error.diagnostic()));
    if report.untrusted > 0 {
        let left = report.untrusted;
        note!("{left} lowered kernels and driver binaries were left out; --trust takes them");
    }
    let rows = vec![
        ("added", json!(report.added)),
        ("unchanged", json!(report.unchanged)),
        ("untrusted", json!(report.untrusted)),
        ("failed", json!(report.failed.len())),
    ];
    Ok((rows, report.failed.is_empty()))
}

fn remove(disk: &DiskPipelineCache, kernels: &[String]) -> anyhow::Result<(Rows, bool)> {
    // Nothing is removed if any is wrong.
    let digests = kernels.iter().map(|name| digest_of(name)).collect::<anyhow::Result<Vec<_>>>()?;
    let (mut removed, mut failed) = (0, Vec::new());
    let mut add = |report: InvalidateReport| {
        removed += report.removed;
        failed.extend(report.failed);
    };
    for digest in &digests {
        add(told(disk.invalidate_kernel(digest))?);
        add(told(disk.invalidate(&[true], &[*digest]))?);
    }
    failed.iter().for_each(|(digest, error)| note!("{digest}: {}", error.diagnostic()));
    let rows = vec![("removed", json!(removed)), ("failed", json!(failed.len()))];
    Ok((rows, failed.is_empty()))
}

/// A line for each ban.
fn bans(cache: &PipelineCache) -> Vec<Value> {
    let mut all = cache.bans();
    all.sort_by_key(|ban| ban.left);
    let one = |ban: &Ban| {
        json!({
            "digest": ban.program.to_string(),
            "processes": ban.deaths,
            "seconds_left": ban.left.as_secs(),
            "lift": ban.command(),
        })
    };
    all.iter().map(one).collect()
}

fn lift(cache: &PipelineCache, digests: &[String]) -> anyhow::Result<(Rows, bool)> {
    let parse = |text: &String| {
        Digest::parse(&text.to_ascii_lowercase()).ok_or_else(|| {
            let fix = "`fulgurite cache bans` lists the banned kernels with their digests.";
            usage_with(format!("`{text}` is not a digest of 64 hex digits"), fix)
        })
    };
    // Nothing is lifted if any is wrong.
    let digests = digests.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let unknown: Vec<_> = digests.iter().filter(|digest| !cache.lift(**digest)).collect();
    unknown.iter().for_each(|digest| note!("{digest}: not banned"));
    Ok((vec![("lifted", json!(digests.len() - unknown.len()))], unknown.is_empty()))
}

/// Returns the digest that `name` spells, or that of the kernel in the file `name`.
fn digest_of(name: &str) -> anyhow::Result<Digest> {
    if let Some(digest) = Digest::parse(&name.to_ascii_lowercase()) {
        return Ok(digest);
    }
    let path = PathBuf::from(name);
    if !path.exists() {
        let fix = "Name a kernel text (`.fg`), or give the 64 hex digits of a digest.";
        return Err(
            usage_with(format!("`{name}` is neither a digest of 64 hex digits nor a file"), fix).into()
        );
    }
    let kernels = pack::read_kernels(&[path])?;
    kernels.first().map(|kernel| Digest::from_bytes(*kernel.digest().as_bytes())).context("no kernel")
}

fn prewarm(root: &Path, paths: &[PathBuf]) -> anyhow::Result<(Rows, bool)> {
    let kernels = pack::read_kernels(paths)?;
    let context = fulgurite::Context::builder().cache_directory(root).backend("vulkan").open()?;
    let bar = progress::bar(kernels.len() as u64, "kernels");
    let all = context.prewarm(&kernels, &Default::default(), &|done| bar.set_position(done as u64));
    bar.finish_and_clear();
    let mut failed = 0;
    for (path, error) in
        paths.iter().zip(&all).filter_map(|(path, one)| Some((path, one.origin.as_ref().err()?)))
    {
        note!("{}: {error}", path.display());
        failed += 1;
    }
    let each = paths.iter().zip(&all).map(|(path, one)| prewarmed(path, one)).collect();
    let report = context.cache_report();
    report.notices.iter().for_each(|notice| note!("{notice}"));
    let rows = vec![
        ("kernels", json!(kernels.len())),
        ("failed", json!(failed)),
        ("lowered", json!(report.lowered)),
        ("compiled by the driver", json!(report.driver_compiles)),
        ("found", json!(report.hits)),
        ("kept in", json!(report.kept_in)),
        ("each", Value::Array(each)),
    ];
    Ok((rows, failed == 0))
}

/// Returns the origin and the compile time of a kernel.
fn prewarmed(path: &Path, one: &fulgurite::Prewarmed) -> Value {
    let from = match &one.origin {
        Ok(origin) => origin.to_string(),
        Err(error) => format!("failed ({})", error.code()),
    };
    let milliseconds = one.time.map(|time| (time.as_secs_f64() * 1e4).round() / 10.0);
    json!({ "file": path, "kernel": one.kernel, "from": from, "milliseconds": milliseconds })
}

fn kinds(names: &[String]) -> anyhow::Result<Vec<PayloadKind>> {
    let known = || PayloadKind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>();
    let find = |name: &String| {
        let found = PayloadKind::ALL.iter().copied().find(|kind| kind.name() == name);
        found.ok_or_else(|| unknown_name(format!("there is no kind `{name}`"), "kind", &known()).into())
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

fn print(rows: &Rows, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let all: serde_json::Map<_, _> =
            rows.iter().map(|(name, value)| (name.replace([' ', ','], "_"), value.clone())).collect();
        output::json(&json!(all))?;
        return Ok(());
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in rows {
        let text = match value {
            Value::Object(count) => format!("{:>8}  {:>14} bytes", count["entries"], count["bytes"]),
            Value::String(text) => text.clone(),
            Value::Null => String::from("-"),
            Value::Array(all) => all.iter().map(line).collect::<Vec<_>>().join(&format!("\n{:width$}  ", "")),
            other => format!("{other:>8}"),
        };
        say!("{name:width$}  {text}")?;
    }
    Ok(())
}

/// Formats a kernel or a ban of a list as a line.
fn line(one: &Value) -> String {
    let text = |name: &str| one[name].as_str().unwrap_or("-");
    if let Some(seconds) = one["seconds_left"].as_u64() {
        let (processes, minutes) = (&one["processes"], seconds.div_ceil(60));
        return format!("{processes} processes ended, {minutes} min left: {}", text("lift"));
    }
    let milliseconds = one["milliseconds"].to_string();
    format!("{milliseconds:>8} ms  {}: {}", text("file"), text("from"))
}

#[cfg(test)]
mod tests {
    use fulgurite_pipeline_cache::{
        Durability, Lookup, PipelineCacheIdentity, PipelineDeviceFingerprint, artifact_digest,
    };

    use super::*;

    const KERNEL: &str = "fulgurite 1\nkernel @k workgroup(1, 1, 1) {\n}\n";

    /// What was lowered of the program `program`, and what a driver made of that.
    fn entries(program: Digest) -> [Entry; 2] {
        let any = PipelineDeviceFingerprint::ANY;
        let id = |kind, program| PipelineCacheIdentity::new(kind, program, Digest::ZERO, any);
        let words = program.as_bytes().to_vec();
        let key = artifact_digest(&words);
        let binary = Entry::new(id(PayloadKind::Binary, Digest::of(key.as_bytes())), key, vec![1]);
        [Entry::new(id(PayloadKind::Artifact, program), Digest::ZERO, words), binary]
    }

    #[test]
    fn kernels_are_removed_by_file_and_by_digest() {
        let folder = tempfile::tempdir().unwrap();
        let (root, file) = (folder.path().join("pipelines"), folder.path().join("k.fg"));
        std::fs::write(&file, KERNEL).unwrap();
        let of_file = digest_of(file.to_str().unwrap()).unwrap();
        let [other, third] = [b"other", b"third"].map(|name| Digest::of(name));
        let disk = DiskPipelineCache::open(&root, DiskOptions::default()).unwrap();
        for entry in [of_file, other, third].into_iter().flat_map(entries) {
            disk.write(&entry, Durability::OnFlush).unwrap();
        }
        let has = || {
            let all = [of_file, other, third].into_iter().flat_map(entries);
            all.map(|entry| matches!(disk.read(&entry.identity), Lookup::Hit(_))).collect::<Vec<_>>()
        };
        let remove = |names: &[String]| {
            let command = Command::Remove { kernels: names.to_vec() };
            run(&Args { root: Some(root.clone()), json: true, command })
        };
        let wrong = remove(&[other.to_string(), "no such file".to_owned()]).unwrap_err().to_string();
        assert!(wrong.contains("FG0704") && wrong.contains("no such file"), "{wrong}");
        assert_eq!(has(), [true; 6], "nothing is removed if any is wrong");
        assert!(remove(&[file.display().to_string()]).unwrap());
        assert_eq!(has(), [false, false, true, true, true, true]);
        // A kernel, however its digest is written, and one entry.
        let entry = entries(third)[1].identity.digest();
        assert!(remove(&[other.to_string().to_uppercase(), entry.to_string()]).unwrap());
        assert_eq!(has(), [false, false, false, false, true, false]);
        assert!(remove(&[other.to_string()]).unwrap(), "what is not there need not be removed");
    }

    #[test]
    fn a_ban_is_listed_and_lifted_alone() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("pipelines");
        let [banned, other] = [b"banned", b"others"].map(|name| Digest::of(name));
        let open = || PipelineCache::open(CacheOptions::in_folder(&root));
        drop(open());
        // A record for each process that ended, as `docs/cache-format.md` has them.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let record = |program: Digest| {
            let mut record = b"FGCR\x02\x01\0\0".to_vec();
            record.extend_from_slice(program.as_bytes());
            record.extend_from_slice(&now.to_le_bytes());
            record.extend_from_slice(&[0; 8]);
            let seal = Digest::of(&record);
            record.extend_from_slice(&seal.as_bytes()[..8]);
            record
        };
        let log = [record(banned).repeat(3), record(other).repeat(4)].concat();
        std::fs::write(root.join("crashes.log"), log).unwrap();
        let listed: Vec<String> = bans(&open()).iter().map(line).collect();
        assert!(listed[0].contains("3 processes ended, 60 min left: fulgurite cache lift"), "{listed:?}");
        assert!(listed[1].starts_with("4 processes ended, 120 min left"), "{listed:?}");
        let lift = |digest: String| {
            let command = Command::Lift { digests: vec![digest] };
            run(&Args { root: Some(root.clone()), json: true, command })
        };
        assert!(lift("none".to_owned()).unwrap_err().to_string().contains("FG0704"));
        assert!(lift(banned.to_string()).unwrap());
        assert_eq!(open().bans().iter().map(|ban| ban.program).collect::<Vec<_>>(), [other]);
        assert!(!lift(banned.to_string()).unwrap(), "it says that there was nothing to lift");
    }

    #[test]
    fn what_a_kernel_cost_is_a_line() {
        let one = json!({ "file": "k.fg", "kernel": "k", "from": "binary from disk", "milliseconds": 1.5 });
        assert_eq!(line(&one), "     1.5 ms  k.fg: binary from disk");
    }

    #[test]
    fn a_kind_that_is_none_says_which_there_are() {
        assert_eq!(kinds(&["binary".to_owned()]).unwrap(), [PayloadKind::Binary]);
        let error = kinds(&["spirv".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("FG0704") && error.contains("artifact"), "{error}");
    }
}
