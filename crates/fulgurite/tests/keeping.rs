//! A context's reports of cached kernels, and their invalidation; also with a custom registry.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::sync::{Arc, Mutex};

use fulgurite::prelude::*;
use fulgurite::{
    AdapterInfo, AdapterKind, CacheOutcome, CacheTier, Code, CompileOptions, DeviceSnapshot, Manifest,
    OpenOptions, Pack, PipelineCacheMissReason, PipelineFeatureFlags, Registry, SingleDevice, TrustedPack,
};
use fulgurite_pipeline_cache::{
    DeviceParts, DiskOptions, DiskPipelineCache, Durability, Entry, PackWriter, PayloadKind,
    PipelineCacheIdentity, PipelineDeviceFingerprint,
};

fn storing(number: u32) -> Kernel<(Write<u32>,)> {
    kernel::<(Write<u32>,)>("storing", ["y"], [32, 1, 1], |k, (y,)| y.store(k.global_id().x(), number))
        .unwrap()
}

/// Returns a context on the Vulkan device that caches compiled kernels in a folder, with the registry of this build, or
/// `None` if there is no such device.
fn vulkan(folder: &Path, prewarm: &[&Kernel<(Write<u32>,)>]) -> Option<Context> {
    let builder = Context::builder().registry(fulgurite::registry()).backend("vulkan");
    let builder = builder.prewarm(prewarm.iter().map(|kernel| kernel.verified()));
    common::if_available("vulkan", builder.cache_directory(folder).open())
}

/// Returns an empty pack.
fn pack() -> TrustedPack {
    let pack = Pack::from_bytes(PackWriter::new().finish()).unwrap();
    // SAFETY: the pack is empty.
    unsafe { pack.trust() }
}

#[test]
fn a_registry_of_ones_own_is_opened_with_what_the_context_was_told() {
    let told = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&told);
    let mut registry = Registry::new();
    let open = move |options: &OpenOptions| {
        *seen.lock().unwrap() = Some(options.clone());
        fulgurite::registry().open("cpu")
    };
    let info = AdapterInfo::new(AdapterKind::Cpu, 7, DeviceSnapshot::new("mine", "none", "none"));
    registry.register(SingleDevice::new(info, open)).unwrap();
    let seven = storing(7);
    let builder = Context::builder().registry(registry).cache_directory("/kept").trusted_pack(pack());
    let ctx = builder.prewarm([seven.verified()]).open().unwrap();
    let told = told.lock().unwrap().take().unwrap();
    assert_eq!(told.cache_directory.as_deref(), Some(Path::new("/kept")));
    assert_eq!(told.get::<Vec<TrustedPack>>().map(Vec::len), Some(1));
    assert_eq!(
        told.prefetch.iter().map(|kernel| kernel.digest()).collect::<Vec<_>>(),
        [seven.verified().digest()]
    );
    assert_eq!(ctx.counters().compiles, 1);
    let [prewarmed] = ctx.prewarmed() else { panic!("{:?}", ctx.prewarmed()) };
    assert_eq!(prewarmed.origin.clone().unwrap().outcome, CacheOutcome::None, "the backend keeps nothing");
    assert!(prewarmed.to_string().starts_with("storing: none, "), "{prewarmed}");
}

#[test]
fn prewarming_says_where_each_kernel_came_from() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (storing(1), storing(2));
    let Some(first) = vulkan(folder.path(), &[&one]) else { return };
    assert_eq!(first.cache_report().kept_in, Some(folder.path().display().to_string()));
    let origin = first.prewarmed()[0].origin.clone().unwrap();
    assert_eq!(origin.outcome, CacheOutcome::Missed(PipelineCacheMissReason::EmptyCache));
    first.flush().unwrap();
    drop(first);
    let second = vulkan(folder.path(), &[&one, &two]).unwrap();
    let origins: Vec<_> = second.prewarmed().iter().map(|one| one.origin.clone().unwrap()).collect();
    assert!(matches!(origins[0].outcome, CacheOutcome::Binary | CacheOutcome::Artifact), "{}", origins[0]);
    assert_eq!(origins[0].tier, Some(CacheTier::Disk), "also what was read ahead");
    assert_eq!(origins[1].outcome, CacheOutcome::Missed(PipelineCacheMissReason::ProgramChanged));
    let again = second.prewarm([one.verified()], &CompileOptions::default(), &|_| ());
    assert_eq!(again[0].origin.clone().unwrap().outcome, CacheOutcome::Memory);
    assert!(again[0].time.is_some());
}

#[test]
fn what_is_invalidated_is_compiled_anew_by_this_process_and_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (gone, stays) = (storing(3), storing(4));
    let Some(ctx) = vulkan(folder.path(), &[&gone, &stays]) else { return };
    let exe = ctx.compile(&gone).unwrap();
    let binaries = usize::from(ctx.cache_report().keeps_binaries == Some(true));
    let answer = ctx.invalidate(gone.verified()).unwrap();
    assert_eq!((answer.executables, answer.removed), (1, 1 + binaries));
    assert!(answer.failed.is_empty() && answer.forgotten > 0 && answer.layered == 0);
    let none = CompileOptions::default();
    let evicted = CacheOutcome::Missed(PipelineCacheMissReason::Evicted);
    assert_eq!(ctx.compile_with_report(&gone, &none).unwrap().1.cache, evicted);
    assert_eq!(ctx.compile_with_report(&stays, &none).unwrap().1.cache, CacheOutcome::Memory);
    // Existing executables stay usable.
    let mut y = ctx.zeroed::<u32>(2).unwrap();
    exe.launch((&mut y,)).unwrap();
    assert_eq!(y.read().unwrap(), [3, 3]);
    ctx.invalidate(gone.verified()).unwrap();
    drop((ctx, exe, y));
    let next = vulkan(folder.path(), &[]).unwrap();
    assert_eq!(next.compile_with_report(&gone, &none).unwrap().1.cache, evicted);
    assert!(!matches!(next.compile_with_report(&stays, &none).unwrap().1.cache, CacheOutcome::Missed(_)));
}

#[test]
fn a_binary_for_another_driver_version_is_told_and_alarms() {
    let folder = tempfile::tempdir().unwrap();
    let seven = storing(7);
    let Some(ctx) = vulkan(folder.path(), &[&seven]) else { return };
    let keeps_binaries = ctx.cache_report().keeps_binaries == Some(true);
    assert!(!ctx.audit(10_000).is_alarming, "what was never kept is no loss");
    drop(ctx);
    if !keeps_binaries {
        println!("unavailable: this driver gives no binaries");
        return;
    }
    // The same cache, as left by another driver version.
    let there = tempfile::tempdir().unwrap();
    let pack = {
        let disk = DiskPipelineCache::open(folder.path(), DiskOptions::default().read_only()).unwrap();
        Pack::from_bytes(disk.export(&|_| true).unwrap()).unwrap()
    };
    let other = DeviceParts { backend: "vulkan", driver_version: 1, ..Default::default() };
    let other = PipelineDeviceFingerprint::from_parts(&other);
    let disk = DiskPipelineCache::open(there.path(), DiskOptions::default()).unwrap();
    for entry in pack.entries() {
        let id = entry.identity;
        let id = match id.kind() {
            PayloadKind::Binary => PipelineCacheIdentity::new(id.kind(), id.program(), id.policy(), other),
            _ => id,
        };
        disk.write(&Entry::new(id, entry.artifact, entry.payload), Durability::OnFlush).unwrap();
    }
    drop(disk);
    let ctx = vulkan(there.path(), &[]).unwrap();
    let (_, manifest) = ctx.compile_with_report(&seven, &CompileOptions::default()).unwrap();
    let changed = PipelineCacheMissReason::DeviceOrRuntimeChanged;
    assert_eq!((manifest.cache, manifest.binary_miss), (CacheOutcome::Artifact, Some(changed)));
    assert_eq!(ctx.counters().cache_binary_missed_device_or_runtime_changed, 1);
    let report = ctx.cache_report();
    assert_eq!((report.hits, &report.misses[..]), (1, &[(changed, 1)][..]));
    assert_eq!((report.audit.lost, report.audit.kept_rate_basis_points), (1, Some(5_000)));
    assert!(report.notices.iter().any(|notice| notice.code == Code::CacheAlarm), "{:?}", report.notices);
    assert!(ctx.audit(5_001).is_alarming && !ctx.audit(5_000).is_alarming);
    drop(ctx);
    let calm =
        Context::builder().backend("vulkan").cache_directory(there.path()).cache_alarm(0).open().unwrap();
    calm.compile(&seven).unwrap();
    assert!(!calm.cache_report().audit.is_alarming);
}

#[test]
fn what_was_kept_and_is_lost_alarms_in_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let seven = storing(7);
    let Some(ctx) = vulkan(folder.path(), &[&seven]) else { return };
    assert_eq!(ctx.audit(10_000).lost, 0, "what was never kept is no loss");
    drop(ctx);
    let shards = std::fs::read_dir(folder.path()).unwrap().map(|shard| shard.unwrap().path());
    let files = shards.filter(|shard| shard.is_dir()).flat_map(|shard| std::fs::read_dir(shard).unwrap());
    for file in files.map(|file| file.unwrap().path()).filter(|file| file.extension() == Some("bin".as_ref()))
    {
        std::fs::write(file, "damaged").unwrap();
    }
    let ctx = vulkan(folder.path(), &[&seven]).unwrap();
    let report = ctx.cache_report();
    assert!(report.audit.lost > 0 && report.audit.is_alarming, "{report:?}");
    assert_eq!((report.hits, report.audit.kept_rate_basis_points), (0, Some(0)));
    let alarm = report.notices.iter().find(|notice| notice.code == Code::CacheAlarm).unwrap();
    assert!(alarm.message.contains(&format!("{} corrupt", report.audit.lost)), "{alarm}");
    assert_eq!(ctx.audit(9_000), report.audit);
    assert!(!ctx.audit(0).is_alarming);
}

#[test]
fn a_backend_that_keeps_nothing_flushes_and_never_alarms() {
    for id in common::BACKENDS {
        let ctx = common::open(id);
        ctx.compile(&storing(1)).unwrap();
        ctx.flush().unwrap();
        assert_eq!((ctx.audit(10_000).is_alarming, ctx.audit(10_000).kept_rate_basis_points), (false, None));
        assert_eq!(ctx.cache_report(), Default::default());
        let answer = ctx.invalidate(storing(1).verified()).unwrap();
        assert_eq!((answer.executables, answer.removed, answer.forgotten), (1, 0, 0));
        ctx.compile(&storing(1)).unwrap();
        assert_eq!(ctx.counters().compiles, 2, "{id}");
    }
}

#[test]
fn manifests_and_flags_go_through_the_facade() {
    let exe = common::open("cpu").compile(&storing(1)).unwrap();
    let json = exe.manifest().to_json().unwrap();
    assert_eq!(Manifest::from_json(&json).as_ref(), Ok(exe.manifest()));
    assert!(json.contains(&format!("\"schema\": {}", fulgurite::MANIFEST_SCHEMA)), "{json}");
    let unknown: fulgurite::UnknownFeatureFlags = PipelineFeatureFlags::from_bits(1 << 63).unwrap_err();
    assert_eq!(unknown.bits, 1 << 63);
}
