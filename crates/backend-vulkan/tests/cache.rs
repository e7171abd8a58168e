//! Persistence of compiled kernels across processes, on the installed driver.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "this is a test"
)]

mod common;

use std::path::Path;
use std::sync::Arc;

use fulgurite_backend_vulkan::{Options, lowered_entry};
use fulgurite_hal::{self as hal, CachePolicy, CompileOptions, Device as _, LaunchOptions};
use fulgurite_pipeline_cache::{DiskOptions, DiskPipelineCache, Pack, PackWriter};
use fulgurite_runtime::{Arg, Call, Device};
use fulgurite_spec::cache::{CacheOutcome, PipelineCacheMissReason};
use fulgurite_spirv::Profile;

const KERNEL: &str = "fulgurite 1
kernel @triple workgroup(32, 1, 1) {
  buffer %x: read u32[]
  buffer %y: write u32[]
  %i = global_id.x
  %v = load %x[%i]
  %m = mul %v, 3u32
  store %y[%i], %m
}
";

/// Opens a device as a new process would; [`common::Opened::finish`] closes it.
fn open(options: Options) -> Option<(Device, common::Opened)> {
    let opened = common::open_with(options)?;
    let backend = Arc::clone(&opened.backend) as Arc<dyn hal::Device>;
    Some((Device::new(backend, CompileOptions::default(), LaunchOptions::default()), opened))
}

/// Compiles and runs the kernel, and returns where it came from.
fn run(device: &Device, text: &str, options: &CompileOptions) -> CacheOutcome {
    let kernel = fulgurite_ir::text::parse(text).and_then(fulgurite_ir::verify).unwrap();
    let (program, manifest) = device.compile_with_report(&Arc::new(kernel), options).unwrap();
    let call = Call::new().arg(Arg::In([5, 0, 0, 0, 7, 0, 0, 0][..].into())).output(8);
    assert_eq!(program.call(&call).unwrap().outputs[0], [15, 0, 0, 0, 21, 0, 0, 0]);
    assert!(manifest.artifact_digest.is_some());
    manifest.cache
}

/// Compiles and stores the kernel below `root` on a separate device. Returns `None` without a driver.
fn keep(root: &Path) -> Option<()> {
    let (device, opened) = open(in_folder(root))?;
    run(&device, KERNEL, &CompileOptions::default());
    drop(device);
    opened.finish();
    Some(())
}

fn in_folder(root: &Path) -> Options {
    common::options().cache_directory(root)
}

#[test]
fn the_second_process_lowers_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("pipelines");
    let options = CompileOptions::default();
    let Some((first, opened)) = open(in_folder(&root)) else { return };
    let empty = CacheOutcome::Missed(PipelineCacheMissReason::EmptyCache);
    assert_eq!(run(&first, KERNEL, &options), empty);
    assert_eq!(run(&first, KERNEL, &options), CacheOutcome::Memory);
    let report = opened.backend.cache_report();
    assert_eq!((report.lowered, report.driver_compiles), (1, 1));
    let keeps = report.keeps_binaries.unwrap();
    assert_eq!(report.notices.len(), usize::from(!keeps), "{:?}", report.notices);
    drop(first);
    opened.finish();

    let Some((second, opened)) = open(in_folder(&root)) else { panic!("it was there") };
    let warm = if keeps { CacheOutcome::Binary } else { CacheOutcome::Artifact };
    assert_eq!(run(&second, KERNEL, &options), warm);
    // The same kernel with other names.
    let renamed = KERNEL.replace("@triple", "@other").replace("%v", "%w");
    assert_eq!(run(&second, &renamed, &options), CacheOutcome::Memory);
    let report = opened.backend.cache_report();
    assert_eq!((report.lowered, report.driver_compiles), (0, u64::from(!keeps)));
    let counters = second.counters();
    let hits = counters.cache_artifact_hits + counters.cache_binary_hits;
    assert_eq!((hits, counters.cache_misses(), counters.compiles), (1, 0, 1));

    // Another dispatch policy, another kernel, and no cache.
    let named = options.clone().debug_names(true);
    let policy = CacheOutcome::Missed(PipelineCacheMissReason::DispatchPolicyChanged);
    assert_eq!(run(&second, KERNEL, &named), policy);
    let program = CacheOutcome::Missed(PipelineCacheMissReason::ProgramChanged);
    let changed = KERNEL.replace("workgroup(32", "workgroup(64");
    assert_eq!(run(&second, &changed, &options), program);
    assert_eq!(run(&second, &changed, &options.clone().cache(CachePolicy::Off)), CacheOutcome::None);
    let lowered = opened.backend.cache_report().lowered;
    let only_read = options.cache(CachePolicy::ReadOnly);
    let unseen = KERNEL.replace("workgroup(32", "workgroup(16");
    assert_eq!(run(&second, &unseen, &only_read), program);
    assert_eq!(run(&second, &unseen, &CompileOptions::default()), program, "nothing was kept");
    assert_eq!(opened.backend.cache_report().lowered, lowered + 2);
}

#[test]
fn what_is_read_ahead_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("pipelines");
    let options = CompileOptions::default();
    let Some(()) = keep(&root) else { return };
    let kernel = Arc::new(fulgurite_ir::text::parse(KERNEL).and_then(fulgurite_ir::verify).unwrap());
    let Some((second, opened)) = open(in_folder(&root).prefetch([kernel])) else { panic!("it was there") };
    // It is in memory, so the folder is no longer needed.
    std::fs::remove_dir_all(&root).unwrap();
    assert!(matches!(run(&second, KERNEL, &options), CacheOutcome::Artifact | CacheOutcome::Binary));
    assert_eq!(opened.backend.cache_report().lowered, 0);
}

#[test]
fn a_damaged_entry_is_compiled_again() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("pipelines");
    let options = CompileOptions::default();
    let Some(()) = keep(&root) else { return };
    let mut damaged = 0;
    for shard in std::fs::read_dir(&root).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()) {
        for file in std::fs::read_dir(shard).unwrap().map(|e| e.unwrap().path()) {
            if file.extension().is_some_and(|e| e == "bin") {
                let mut bytes = std::fs::read(&file).unwrap();
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                std::fs::write(&file, bytes).unwrap();
                damaged += 1;
            }
        }
    }
    assert!(damaged > 0);
    let Some((second, opened)) = open(in_folder(&root)) else { panic!("it was there") };
    let corrupt = CacheOutcome::Missed(PipelineCacheMissReason::Corrupt);
    assert_eq!(run(&second, KERNEL, &options), corrupt);
    assert_eq!(opened.backend.cache_report().lowered, 1);
    drop(second);
    opened.finish();
    let Some((third, opened)) = open(in_folder(&root)) else { panic!("it was there") };
    run(&third, KERNEL, &options);
    assert_eq!(opened.backend.cache_report().lowered, 0);
}

#[test]
fn a_pack_serves_a_machine_that_has_compiled_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    let options = CompileOptions::default();
    let Some(()) = keep(&here) else { return };
    let disk = DiskPipelineCache::open(&here, DiskOptions::default()).unwrap();
    // SAFETY: the contents were produced by this test.
    let pack = unsafe { Pack::from_bytes(disk.export(&|_| true).unwrap()).unwrap().trust() };
    for options_there in [common::options(), in_folder(&there)] {
        let Some((second, opened)) = open(options_there.pack(pack.clone())) else { panic!("it was there") };
        let outcome = run(&second, KERNEL, &options);
        assert!(matches!(outcome, CacheOutcome::Artifact | CacheOutcome::Binary), "{outcome}");
        assert_eq!(opened.backend.cache_report().lowered, 0);
    }
    let other = DiskPipelineCache::open(&folder.path().join("imported"), DiskOptions::default()).unwrap();
    let report = other.import(&pack).unwrap();
    assert_eq!((report.added, report.untrusted), (0, pack.len()));
}

#[test]
fn a_measured_driver_is_planned_with_the_profile_of_its_name() {
    let Some((device, opened)) = open(common::options()) else { return };
    let driver = device.snapshot().driver.to_lowercase();
    let known = [("llvmpipe", "lavapipe"), ("swiftshader", "swiftshader"), ("nvidia", "nvidia")];
    let (_, name) = known.iter().find(|(part, _)| driver.contains(part)).unwrap_or(&("", ""));
    match Profile::named(name) {
        Some(profile) => assert_eq!(*opened.backend.profile(), profile, "{driver}"),
        None => println!("{driver}: not measured"),
    }
    drop(device);
    opened.finish();
}

#[test]
fn a_pack_made_for_a_profile_serves_its_driver() {
    let Some((device, opened)) = open(common::options()) else { return };
    let kernel = fulgurite_ir::text::parse(KERNEL).and_then(fulgurite_ir::verify).unwrap();
    let mut pack = PackWriter::new();
    pack.add(&lowered_entry(&kernel, opened.backend.profile()).unwrap());
    drop(device);
    opened.finish();
    // SAFETY: the contents were lowered by this test.
    let options = common::options().pack(unsafe { Pack::from_bytes(pack.finish()).unwrap().trust() });
    let Some((device, opened)) = open(options) else { panic!("it was there") };
    assert_eq!(run(&device, KERNEL, &CompileOptions::default()), CacheOutcome::Artifact);
    assert_eq!(opened.backend.cache_report().lowered, 0);
}
