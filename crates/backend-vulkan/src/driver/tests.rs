//! Tests of the driver tier with a fake driver: stored data, rejected data, and processes that die.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::Path;

use ash::vk::Handle as _;
use fulgurite_hal::CachePolicy;
use fulgurite_pipeline_cache::{
    CacheError, CacheOptions, DeviceParts, Digest, PipelineCache, PipelineCacheKey, PipelineCacheKeyDesc,
    PipelineCacheMissReason, PipelineDeviceFingerprint, PipelineFeatureFlags,
};
use fulgurite_spec::cache::{CacheOrigin, CacheOutcome, CacheTier};

use fulgurite_spec::Code;

use super::*;
use crate::blob::tests::{WRITER, cache_data};
use crate::pipeline_store::{self, Failure, Lowering, MadePipeline, PipelineStore, Source};

/// The fake driver's response to stored data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mood {
    #[default]
    Takes,
    /// Creates no cache or binaries from the data.
    RefusesData,
    /// Creates them, but would have to compile.
    RefusesPipeline,
    /// Ends the process.
    Crashes,
}

/// A fake driver that compiles one shader and counts its calls.
#[derive(Default)]
struct Fake {
    /// True if the driver produces no data to store.
    keeps_nothing: bool,
    mood: Mood,
    feedback: Option<Feedback>,
    fails_to_compile: Option<vk::Result>,
    crashes_compiling: bool,
    exits_compiling: bool,
    next: Cell<u64>,
    live: Live,
    compiles: Cell<u32>,
    captures: Cell<u32>,
}

/// The objects created and not yet destroyed.
#[derive(Default)]
struct Live {
    caches: RefCell<HashMap<u64, Vec<u8>>>,
    binaries: Cell<usize>,
}

impl Drop for Live {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.caches.borrow().is_empty() && self.binaries.get() == 0, "everything was destroyed");
        }
    }
}

impl Fake {
    fn handle(&self) -> u64 {
        self.next.set(self.next.get() + 1);
        self.next.get()
    }

    fn compile(&self) -> VkResult<vk::Pipeline> {
        if self.crashes_compiling {
            std::process::abort();
        }
        if self.exits_compiling {
            std::process::exit(3);
        }
        if let Some(result) = self.fails_to_compile {
            return Err(result);
        }
        self.compiles.set(self.compiles.get() + 1);
        Ok(vk::Pipeline::from_raw(self.handle()))
    }

    fn has_code(&self, cache: vk::PipelineCache) -> bool {
        self.live.caches.borrow()[&cache.as_raw()].ends_with(b"code")
    }
}

impl Functions for Fake {
    fn create_pipeline(&self, with: With<'_>) -> VkResult<(vk::Pipeline, Feedback)> {
        let said = |hit: bool| self.feedback.unwrap_or(if hit { Feedback::Hit } else { Feedback::Missed });
        match with {
            With::Compiler => Ok((self.compile()?, Feedback::Silent)),
            With::CapturingCompiler => {
                self.captures.set(self.captures.get() + 1);
                Ok((self.compile()?, Feedback::Silent))
            }
            With::Binaries(binaries) => {
                assert!(!binaries.is_empty());
                match self.mood {
                    Mood::Crashes => std::process::abort(),
                    Mood::RefusesPipeline => Err(vk::Result::ERROR_UNKNOWN),
                    _ => Ok((vk::Pipeline::from_raw(self.handle()), Feedback::Silent)),
                }
            }
            With::Cache(cache) | With::CacheOnly(cache) => {
                let has_code = self.has_code(cache);
                if has_code && self.mood == Mood::Crashes {
                    std::process::abort();
                }
                let hit = has_code && self.mood != Mood::RefusesPipeline;
                if hit {
                    return Ok((vk::Pipeline::from_raw(self.handle()), said(true)));
                }
                if matches!(with, With::CacheOnly(_)) {
                    return Err(vk::Result::PIPELINE_COMPILE_REQUIRED);
                }
                let made = self.compile()?;
                if !self.keeps_nothing {
                    let data = cache_data(&WRITER, b"code");
                    self.live.caches.borrow_mut().insert(cache.as_raw(), data);
                }
                Ok((made, said(false)))
            }
        }
    }

    fn create_cache(&self, data: &[u8]) -> VkResult<vk::PipelineCache> {
        if !data.is_empty() && self.mood == Mood::RefusesData {
            return Err(vk::Result::ERROR_UNKNOWN);
        }
        let handle = self.handle();
        let data = if data.is_empty() { cache_data(&WRITER, b"") } else { data.to_vec() };
        self.live.caches.borrow_mut().insert(handle, data);
        Ok(vk::PipelineCache::from_raw(handle))
    }

    fn cache_data(&self, cache: vk::PipelineCache) -> VkResult<Vec<u8>> {
        Ok(self.live.caches.borrow()[&cache.as_raw()].clone())
    }

    fn destroy_cache(&self, cache: vk::PipelineCache) {
        assert!(self.live.caches.borrow_mut().remove(&cache.as_raw()).is_some(), "destroyed once");
    }

    fn captured(&self, _pipeline: vk::Pipeline) -> VkResult<Vec<StoredBinary>> {
        match self.keeps_nothing {
            true => Err(vk::Result::ERROR_UNKNOWN),
            false => Ok(vec![StoredBinary { key: b"key".to_vec(), data: b"code".to_vec() }]),
        }
    }

    fn create_binaries(&self, stored: &[StoredBinary]) -> VkResult<Vec<PipelineBinary>> {
        assert_eq!(stored, [StoredBinary { key: b"key".to_vec(), data: b"code".to_vec() }]);
        if self.mood == Mood::RefusesData {
            return Err(vk::Result::ERROR_UNKNOWN);
        }
        self.live.binaries.set(self.live.binaries.get() + 1);
        Ok(vec![PipelineBinary::from_raw(self.handle())])
    }

    fn destroy_binaries(&self, binaries: &[PipelineBinary]) {
        self.live.binaries.set(self.live.binaries.get() - binaries.len());
    }
}

const WAYS: [Keeping; 3] = [Keeping::Binaries, Keeping::CacheData, Keeping::CacheDataUntold];

/// The digest of the artifact that pipelines are made from.
const ARTIFACT: Digest = Digest::from_bytes([5; 32]);

/// Opens the cache in `root`, as a process would.
fn kept(root: &Path, keeping: Keeping) -> PipelineStore {
    kept_by(root, keeping, WRITER.driver_version)
}

/// Does what [`kept`] does, for a driver of this version.
fn kept_by(root: &Path, keeping: Keeping, driver_version: u32) -> PipelineStore {
    let store = PipelineCache::open(CacheOptions::in_folder(root.join("pipelines")));
    let parts = DeviceParts { backend: "vulkan", driver_version, ..DeviceParts::default() };
    let driver = Driver::new(keeping, Writer { driver_version, ..WRITER });
    PipelineStore::new(store, driver, PipelineDeviceFingerprint::from_parts(&parts))
}

fn desc() -> PipelineCacheKeyDesc<'static> {
    PipelineCacheKeyDesc {
        shader: Digest::of(b"words"),
        layout: Digest::ZERO,
        push_constant_bytes: 4,
        workgroup: [64, 1, 1],
        flags: PipelineFeatureFlags::empty(),
        backend: "vulkan",
    }
}

fn key() -> PipelineCacheKey {
    PipelineCacheKey::new(&desc())
}

fn make(kept: &PipelineStore, functions: &Fake) -> Result<MadePipeline, Failure> {
    kept.pipeline(
        &Source { functions, key: key(), policy: Digest::ZERO, artifact: &|| ARTIFACT },
        CachePolicy::Use,
    )
}

/// Makes the pipeline as a new process would; returns the number of compiles and whether stored data was used.
fn start(root: &Path, keeping: Keeping, fake: &Fake) -> (u32, bool) {
    let before = fake.compiles.get();
    let made = make(&kept(root, keeping), fake).unwrap();
    assert_ne!(made.handle, vk::Pipeline::null());
    (fake.compiles.get() - before, made.was_kept)
}

#[test]
fn the_second_process_compiles_nothing() {
    for keeping in WAYS {
        let folder = tempfile::tempdir().unwrap();
        let fake = Fake::default();
        assert_eq!(start(folder.path(), keeping, &fake), (1, false), "{keeping:?}");
        assert_eq!(start(folder.path(), keeping, &fake), (0, true), "{keeping:?}");
        assert_eq!(fake.captures.get(), u32::from(keeping == Keeping::Binaries));
    }
}

#[test]
fn a_binary_of_another_driver_version_is_told_from_one_that_never_was() {
    use PipelineCacheMissReason as Reason;
    for keeping in WAYS {
        for policy in [CachePolicy::ReadOnly, CachePolicy::Use] {
            let folder = tempfile::tempdir().unwrap();
            let fake = Fake::default();
            let first = kept_by(folder.path(), keeping, 580);
            assert_eq!(make(&first, &fake).unwrap().miss, Some(Reason::EmptyCache));
            drop(first);

            let second = kept_by(folder.path(), keeping, 581);
            let source =
                Source { functions: &fake, key: key(), policy: Digest::ZERO, artifact: &|| ARTIFACT };
            let made = second.pipeline(&source, policy).unwrap();
            assert_eq!((made.was_kept, made.miss), (false, Some(Reason::DeviceOrRuntimeChanged)));
            let found = Lowering::Found(CacheTier::Disk);
            let expected = CacheOrigin::new(CacheOutcome::Artifact).tier(Some(CacheTier::Disk));
            assert_eq!(pipeline_store::origin(found, made), expected.binary_miss(made.miss));
            assert_eq!(
                second.report().misses,
                [(Reason::DeviceOrRuntimeChanged, 1)],
                "{keeping:?} {policy:?}"
            );
            let other = Source { policy: Digest::of(b"flags"), ..source };
            let made = second.pipeline(&other, policy).unwrap();
            assert_eq!(made.miss, Some(Reason::DispatchPolicyChanged));
            let desc = PipelineCacheKeyDesc { shader: Digest::of(b"unseen"), ..desc() };
            let unseen = Source { key: PipelineCacheKey::new(&desc), ..other };
            assert_eq!(second.pipeline(&unseen, policy).unwrap().miss, Some(Reason::ProgramChanged));
            drop(second);

            let third = make(&kept_by(folder.path(), keeping, 580), &fake).unwrap();
            assert_eq!((third.was_kept, third.tier, third.miss), (true, Some(CacheTier::Disk), None));
        }
    }
}

#[test]
fn a_binary_goes_with_the_kernel_that_it_was_made_from() {
    let folder = tempfile::tempdir().unwrap();
    let text =
        "fulgurite 1\nkernel @k workgroup(1, 1, 1) {\n  buffer %y: write u32[]\n  store %y[0u32], 7u32\n}\n";
    let kernel = fulgurite_ir::text::parse(text).and_then(fulgurite_ir::verify).unwrap();
    let other =
        fulgurite_ir::text::parse(&text.replace("7u32", "8u32")).and_then(fulgurite_ir::verify).unwrap();
    let (_, profile) = &fulgurite_spirv::Profile::NAMED[0];
    let fake = Fake::default();
    let start = |keep: &PipelineStore, kernel: &fulgurite_ir::VerifiedKernel| {
        let (module, lowering) = keep.module(kernel, profile, CachePolicy::Use);
        let artifact = || fulgurite_pipeline_cache::artifact_digest(&module.to_bytes());
        let key = pipeline_store::key(kernel, &module);
        let source = Source { functions: &fake, key, policy: Digest::ZERO, artifact: &artifact };
        pipeline_store::origin(lowering, keep.pipeline(&source, CachePolicy::Use).unwrap())
    };
    for kernel in [&kernel, &other] {
        start(&kept(folder.path(), Keeping::CacheData), kernel);
    }
    let second = kept(folder.path(), Keeping::CacheData);
    let binary = CacheOrigin::new(CacheOutcome::Binary).tier(Some(CacheTier::Disk));
    assert_eq!(start(&second, &kernel), binary);
    let gone = second.invalidate(&kernel).unwrap();
    assert_eq!((gone.removed, gone.forgotten, gone.layered), (2, 2, 0));
    let evicted = PipelineCacheMissReason::Evicted;
    let missed = CacheOrigin::new(CacheOutcome::Missed(evicted)).binary_miss(Some(evicted));
    assert_eq!(start(&kept(folder.path(), Keeping::CacheData), &kernel), missed, "also for other processes");
    assert_eq!(start(&second, &other), binary, "nothing else is gone");
}

#[test]
fn what_a_driver_refuses_is_compiled_and_kept_again() {
    for keeping in WAYS {
        for mood in [Mood::RefusesData, Mood::RefusesPipeline] {
            let folder = tempfile::tempdir().unwrap();
            let mut fake = Fake::default();
            start(folder.path(), keeping, &fake);
            fake.mood = mood;
            let refusing = kept(folder.path(), keeping);
            assert!(!make(&refusing, &fake).unwrap().was_kept, "{keeping:?} {mood:?}");
            assert_eq!(fake.compiles.get(), 2, "{keeping:?} {mood:?}");
            let report = refusing.report();
            assert_eq!(report.misses, [(PipelineCacheMissReason::DeviceOrRuntimeChanged, 1)]);
            assert_eq!((report.driver_compiles, report.hits), (1, 0), "{keeping:?} {mood:?}");
            let codes: Vec<_> = report.notices.iter().map(|notice| notice.code).collect();
            let told = !(keeping == Keeping::CacheDataUntold && mood == Mood::RefusesPipeline);
            assert_eq!(codes, if told { vec![Code::DriverRefused] } else { vec![] }, "{keeping:?} {mood:?}");
            drop(refusing);
            fake.mood = Mood::Takes;
            assert_eq!(start(folder.path(), keeping, &fake), (0, true));
        }
    }
}

#[test]
fn a_driver_that_keeps_nothing_is_reported_once() {
    for keeping in WAYS {
        let folder = tempfile::tempdir().unwrap();
        let fake = Fake { keeps_nothing: true, ..Fake::default() };
        let kept = kept(folder.path(), keeping);
        for compiles in 1..4 {
            assert!(!make(&kept, &fake).unwrap().was_kept);
            assert_eq!(fake.compiles.get(), compiles);
        }
        let report = kept.report();
        assert_eq!((report.keeps_binaries, report.driver_compiles), (Some(false), 3));
        let codes: Vec<_> = report.notices.iter().map(|notice| notice.code).collect();
        assert_eq!(codes, [Code::DriverKeepsNothing]);
        assert!(fake.captures.get() <= 1, "it is not asked again");
    }
}

#[test]
fn a_driver_that_cannot_be_told_is_believed_or_counted_as_unknown() {
    for (feedback, was_kept, unknown) in
        [(Feedback::Hit, true, 0), (Feedback::Missed, false, 0), (Feedback::Silent, true, 1)]
    {
        let folder = tempfile::tempdir().unwrap();
        let mut fake = Fake::default();
        start(folder.path(), Keeping::CacheDataUntold, &fake);
        fake.feedback = Some(feedback);
        let second = kept(folder.path(), Keeping::CacheDataUntold);
        assert_eq!(make(&second, &fake).unwrap().was_kept, was_kept, "{feedback:?}");
        assert_eq!(second.report().unknown, unknown, "{feedback:?}");
    }
}

#[test]
fn another_way_of_keeping_takes_nothing_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    start(folder.path(), Keeping::CacheData, &fake);
    assert_eq!(start(folder.path(), Keeping::Binaries, &fake), (1, false));
    assert_eq!(start(folder.path(), Keeping::Binaries, &fake), (0, true));
}

#[test]
fn a_policy_says_whether_anything_is_asked_or_kept() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    let source = Source { functions: &fake, key: key(), policy: Digest::ZERO, artifact: &|| ARTIFACT };
    for policy in [CachePolicy::Off, CachePolicy::ReadOnly] {
        assert!(!kept(folder.path(), Keeping::CacheData).pipeline(&source, policy).unwrap().was_kept);
    }
    assert_eq!(start(folder.path(), Keeping::CacheData, &fake), (1, false), "neither has kept anything");
    let again = |policy| kept(folder.path(), Keeping::CacheData).pipeline(&source, policy).unwrap().was_kept;
    assert_eq!([CachePolicy::Off, CachePolicy::ReadOnly, CachePolicy::Use].map(again), [false, true, true]);
    let other = Source { policy: Digest::of(b"flags"), ..source };
    let other = kept(folder.path(), Keeping::CacheData).pipeline(&other, CachePolicy::ReadOnly).unwrap();
    assert!(!other.was_kept, "pipelines of other flags are others");
}

#[test]
fn a_failing_compile_is_the_drivers_error_and_keeps_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let lost = vk::Result::ERROR_DEVICE_LOST;
    let mut fake = Fake { fails_to_compile: Some(lost), ..Fake::default() };
    for keeping in WAYS {
        let failed = make(&kept(folder.path(), keeping), &fake).unwrap_err();
        assert_eq!(failed, Failure::Driver(lost));
    }
    fake.fails_to_compile = None;
    assert_eq!(start(folder.path(), Keeping::CacheData, &fake), (1, false));
}

/// The variable that makes a test process act as a child: holds a mood, a way of keeping, and a folder.
const CHILD: &str = "FULGURITE_TEST_CRASHING_DRIVER";

/// Runs the test `name` in a child process, in which [`child`] acts. Returns whether it exited successfully.
fn in_a_process(name: &str, what: &str, root: &Path) -> bool {
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("driver::tests::{name}"), "--nocapture", "--test-threads", "1"])
        .env(CHILD, format!("{what}\n{}", root.display()))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
    status.unwrap().success()
}

/// Acts as the child that [`in_a_process`] started; returns false in any other process.
fn child() -> bool {
    let Ok(told) = std::env::var(CHILD) else { return false };
    let (what, root) = told.split_once('\n').unwrap();
    let fake = match what {
        "load" => Fake { mood: Mood::Crashes, ..Fake::default() },
        "compile" => Fake { crashes_compiling: true, ..Fake::default() },
        "exit" => {
            crate::exit::register_handler();
            Fake { exits_compiling: true, ..Fake::default() }
        }
        _ => panic!("{what}"),
    };
    let made = make(&kept(Path::new(root), Keeping::CacheData), &fake);
    assert!(made.is_ok(), "{made:?}");
    true
}

#[test]
fn a_driver_that_takes_too_long_is_asked_once() {
    for keeping in WAYS {
        let folder = tempfile::tempdir().unwrap();
        let late = Fake { fails_to_compile: Some(vk::Result::TIMEOUT), ..Fake::default() };
        let failed = make(&kept(folder.path(), keeping), &late).unwrap_err();
        assert_eq!((failed, late.compiles.get()), (Failure::Driver(vk::Result::TIMEOUT), 0));
        assert_eq!(start(folder.path(), keeping, &Fake::default()), (1, false), "nothing was kept");
    }
    assert_eq!(refused(vk::Result::TIMEOUT), Err(vk::Result::TIMEOUT), "nor is it asked to compile instead");
}

#[test]
fn a_driver_that_dies_of_a_binary_is_not_given_it_for_ever() {
    if child() {
        return;
    }
    let name = "a_driver_that_dies_of_a_binary_is_not_given_it_for_ever";
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    assert_eq!(start(root, Keeping::CacheData, &Fake::default()), (1, false));
    assert!(!in_a_process(name, "load", root), "first start: it dies");
    assert!(in_a_process(name, "load", root), "second start: the binary is left out");
    assert!(!in_a_process(name, "load", root), "third start: it is tried once more");
    assert!(in_a_process(name, "load", root), "fourth start: it is put aside");
    for _ in 0..2 {
        let fake = Fake::default();
        assert_eq!(start(root, Keeping::CacheData, &fake), (1, false), "those very bytes never come back");
    }
    let aside = root.join("pipelines/quarantine");
    assert_eq!(std::fs::read_dir(aside).unwrap().count(), 1);
}

#[test]
fn a_driver_that_dies_compiling_is_not_asked_a_fourth_time() {
    if child() {
        return;
    }
    let name = "a_driver_that_dies_compiling_is_not_asked_a_fourth_time";
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for _ in 0..4 {
        assert!(!in_a_process(name, "exit", root), "that a process exits is nobody's fault");
    }
    for _ in 0..3 {
        assert!(!in_a_process(name, "compile", root));
    }
    let fake = Fake { crashes_compiling: true, ..Fake::default() };
    let failed = make(&kept(root, Keeping::CacheData), &fake).unwrap_err();
    let Failure::Cache(CacheError::Banned(ban)) = &failed else { panic!("{failed:?}") };
    assert_eq!(ban.deaths, 3);
    let command = ban.command();
    let error = failed.into_error(|_| fulgurite_hal::Error::Internal(String::new()));
    assert_eq!(error.code(), Code::CompileBanned);
    assert!(error.to_string().contains(&command) && error.to_string().contains("crashes.log"), "{error}");
    // Another driver has another identity.
    let other = kept_by(root, Keeping::CacheData, WRITER.driver_version + 1);
    assert!(make(&other, &Fake::default()).is_ok());
}
