//! `fulgurite cache pack`: writes kernels, their lowered forms for named profiles, and the binaries of the driver here into one
//! file.

use std::path::PathBuf;
use std::sync::Arc;

use fulgurite::autotune::{AutotuneStore, StoreOptions};
use fulgurite::kernels::family;
use fulgurite::{Context, tuned_entry};
use fulgurite_backend_vulkan::lowered_entry;
use fulgurite_pipeline_cache::{
    Digest, DiskOptions, DiskPipelineCache, Entry, Pack, PackWriter, PayloadKind, PipelineCacheIdentity,
    PipelineDeviceFingerprint,
};
use fulgurite_spirv::Profile;
use serde_json::json;

use super::{Rows, told, write_file};
use crate::output::note;
use crate::source::unknown_name;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kernel texts (`.fg`)
    #[arg(required_unless_present_any = ["tuned", "tuned_root"])]
    kernels: Vec<PathBuf>,
    /// The pack
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Lower for this profile; may be given several times. Default: every named one
    #[arg(long, value_name = "NAME")]
    profile: Vec<String>,
    /// Also compile with the driver here, and add its binaries
    #[arg(long)]
    binaries: bool,
    /// Add the user's tuning records, of all devices, and the kernels that are fastest by them
    #[arg(long)]
    tuned: bool,
    /// Add the tuning records of this folder, and the kernels that are fastest by them
    #[arg(long, value_name = "DIR", conflicts_with = "tuned")]
    tuned_root: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<(Rows, bool)> {
    let store = match &args.tuned_root {
        Some(root) => {
            Some(AutotuneStore::open(std::path::absolute(root)?, StoreOptions::default().read_only()))
        }
        None => args.tuned.then(AutotuneStore::of_user),
    };
    let mut kernels = read_kernels(&args.kernels)?;
    if let Some(store) = &store {
        kernels.extend(tuned_kernels(store)?);
    }
    let profiles = profiles(&args.profile)?;
    let mut pack = PackWriter::new();
    let mut unsupported = 0;
    for kernel in &kernels {
        let program = Digest::from_bytes(*kernel.digest().as_bytes());
        let any = PipelineDeviceFingerprint::ANY;
        let identity = PipelineCacheIdentity::new(PayloadKind::Kernel, program, Digest::ZERO, any);
        pack.add(&Entry::new(identity, Digest::ZERO, fulgurite::ir::wire::encode(kernel)?));
        for (name, profile) in &profiles {
            match lowered_entry(kernel, profile) {
                Some(entry) => pack.add(&entry),
                None => {
                    unsupported += 1;
                    note!("`{}` cannot be lowered for `{name}`, and is left out there", kernel.name);
                }
            }
        }
    }
    let lowered = pack.len() - kernels.len();
    let binaries = if args.binaries { add_binaries(&mut pack, &kernels)? } else { 0 };
    let mut tuned = 0;
    if let Some(store) = &store {
        let (entry, files) = tuned_entry(store)?;
        pack.add(&entry);
        tuned = files;
        store.notices().iter().for_each(|notice| note!("{notice}"));
    }
    let bytes = pack.finish();
    write_file(&args.output, &bytes)?;
    let rows = vec![
        ("kernels", json!(kernels.len())),
        ("lowered", json!(lowered)),
        ("left out", json!(unsupported)),
        ("driver binaries", json!(binaries)),
        ("files of tuning records", json!(tuned)),
        ("bytes", json!(bytes.len())),
    ];
    Ok((rows, true))
}

/// Returns the fastest kernels of each record, which are launched where the pack is used.
fn tuned_kernels(store: &AutotuneStore) -> anyhow::Result<Vec<Arc<fulgurite::VerifiedKernel>>> {
    let mut kernels = Vec::new();
    for (key, record) in store.records()? {
        let (Some(listed), Some((_, best))) = (family(&key.family), record.best()) else { continue };
        // A bucket is a problem's own text in the library's families.
        match listed.plan(&best.config, &key.bucket) {
            Ok(plan) => kernels.extend(plan.steps.into_iter().map(|step| step.kernel)),
            Err(error) => note!("{key}: {error}"),
        }
    }
    kernels.sort_by_key(|kernel| *kernel.digest().as_bytes());
    kernels.dedup_by_key(|kernel| kernel.digest());
    Ok(kernels)
}

/// Compiles all kernels into a temporary cache, adds its entries, and returns the number of driver binaries.
fn add_binaries(pack: &mut PackWriter, kernels: &[Arc<fulgurite::VerifiedKernel>]) -> anyhow::Result<usize> {
    let folder = tempfile::tempdir()?;
    let context = Context::builder().cache_directory(folder.path()).backend("vulkan").open()?;
    for (at, prewarmed) in context.prewarm(kernels, &Default::default(), &|_| ()).iter().enumerate() {
        if let Err(error) = &prewarmed.origin {
            note!("kernel {at}: {error}");
        }
    }
    for notice in context.cache_report().notices {
        note!("{notice}");
    }
    drop(context);
    let disk = told(DiskPipelineCache::open(folder.path(), DiskOptions::default().read_only()))?;
    let all = told(Pack::from_bytes(told(disk.export(&|_| true))?))?;
    let mut binaries = 0;
    for entry in all.entries() {
        binaries += usize::from(entry.identity.kind() == PayloadKind::Binary);
        pack.add(&entry);
    }
    Ok(binaries)
}

/// The kernels of text files, verified.
pub(super) fn read_kernels(paths: &[PathBuf]) -> anyhow::Result<Vec<Arc<fulgurite::VerifiedKernel>>> {
    paths.iter().map(|path| crate::source::kernel(path)).collect()
}

fn profiles(names: &[String]) -> anyhow::Result<Vec<(String, Profile)>> {
    if names.is_empty() {
        return Ok(Profile::NAMED
            .iter()
            .map(|(name, profile)| ((*name).to_owned(), profile.clone()))
            .collect());
    }
    let find = |name: &String| match Profile::named(name) {
        Some(profile) => Ok((name.clone(), profile)),
        None => {
            let known: Vec<_> = Profile::NAMED.iter().map(|(name, _)| *name).collect();
            Err(unknown_name(format!("there is no profile `{name}`"), "profile", &known).into())
        }
    };
    names.iter().map(find).collect()
}
