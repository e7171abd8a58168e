//! The engine's handling of a backend with a cache: origins of kernels, invalidation, and audits.
#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test")]

use std::sync::{Arc, Mutex};

use fulgurite_hal::{
    self as hal, CacheReport, CompileOptions, DeviceBuffer, Error, Executable, Invalidated, Launch,
    LaunchOptions, LaunchReport,
};
use fulgurite_ir::VerifiedKernel;
use fulgurite_runtime::Device;
use fulgurite_spec::cache::{CacheAudit, CacheOrigin, CacheOutcome, CacheTier, PipelineCacheMissReason};
use fulgurite_spec::device::DeviceSnapshot;
use fulgurite_spec::{Code, Diagnostic, Location};

/// A backend that stores binaries for another device, or reports that it does.
struct Keeping {
    snapshot: DeviceSnapshot,
    log: Mutex<Vec<String>>,
    report: CacheReport,
}

struct Compiled(Arc<VerifiedKernel>);

impl Executable for Compiled {
    fn kernel(&self) -> &Arc<VerifiedKernel> {
        &self.0
    }

    fn id(&self) -> &str {
        "keeping:1"
    }

    fn cache_origin(&self) -> CacheOrigin {
        let miss = PipelineCacheMissReason::DeviceOrRuntimeChanged;
        CacheOrigin::new(CacheOutcome::Artifact).tier(Some(CacheTier::Layer)).binary_miss(Some(miss))
    }

    fn launch(&self, _: &Launch) -> Result<LaunchReport, Error> {
        Ok(LaunchReport::default())
    }
}

impl hal::Device for Keeping {
    fn snapshot(&self) -> &DeviceSnapshot {
        &self.snapshot
    }

    fn allocate(&self, _: u64) -> Result<Arc<dyn DeviceBuffer>, Error> {
        Err(Error::Internal("no memory is needed".to_owned()))
    }

    fn compile(&self, kernel: Arc<VerifiedKernel>, _: &CompileOptions) -> Result<Arc<dyn Executable>, Error> {
        if kernel.name == "bad" {
            return Err(Error::unsupported("what no device has", "no such thing"));
        }
        self.log.lock().unwrap().push(format!("compile {}", kernel.workgroup[0]));
        Ok(Arc::new(Compiled(kernel)))
    }

    fn cache_report(&self) -> CacheReport {
        self.report.clone()
    }

    fn flush(&self) -> Result<(), Error> {
        Err(Error::invalid(Code::CacheNotDurable, "the disk is full"))
    }

    fn invalidate(&self, kernel: &VerifiedKernel) -> Result<Invalidated, Error> {
        self.log.lock().unwrap().push(format!("invalidate {}", kernel.workgroup[0]));
        let mut one = Invalidated::default();
        (one.removed, one.forgotten, one.layered) = (2, 1, 3);
        one.failed = vec![Diagnostic::new(Code::CacheDegraded, Location::Unknown, "no")];
        Ok(one)
    }
}

fn open(report: CacheReport) -> (Device, Arc<Keeping>) {
    let snapshot = DeviceSnapshot::complete("keeping", "none", "none", 32);
    let backend = Arc::new(Keeping { snapshot, log: Mutex::default(), report });
    let device = Device::new(Arc::clone(&backend) as _, CompileOptions::default(), LaunchOptions::default());
    (device, backend)
}

fn kernel(name: &str) -> Arc<VerifiedKernel> {
    let text = format!("fulgurite 1\nkernel @{name} workgroup(32, 1, 1) {{\n}}\n");
    Arc::new(fulgurite_ir::text::parse(&text).and_then(fulgurite_ir::verify).unwrap())
}

#[test]
fn each_prewarmed_kernel_says_what_it_cost_and_where_it_came_from() {
    let (device, _) = open(CacheReport::default());
    let (good, bad) = (kernel("good"), kernel("bad"));
    let done = Mutex::new(Vec::new());
    // Two kernels with equal digests: one is compiled, and the other finds it or fails.
    let all = device.prewarm([&good, &bad], &CompileOptions::default(), &|count| {
        done.lock().unwrap().push(count);
    });
    let mut done = done.into_inner().unwrap();
    done.sort_unstable();
    assert_eq!(done, [1, 2]);
    assert_eq!(all.iter().map(|one| one.kernel.as_str()).collect::<Vec<_>>(), ["good", "bad"]);
    assert!(all.iter().all(|one| one.time.is_some()), "{all:?}");

    let (device, _) = open(CacheReport::default());
    let wide = CompileOptions::default().workgroup([64, 1, 1]);
    let first = device.prewarm([&good], &wide, &|_| ()).remove(0);
    let origin = first.origin.clone().unwrap();
    assert_eq!((origin.outcome, origin.tier), (CacheOutcome::Artifact, Some(CacheTier::Layer)));
    let line = "good: artifact from layer, binary missed: device_or_runtime_changed, ";
    assert!(first.to_string().starts_with(line), "{first}");
    let again = device.prewarm([&good], &wide, &|_| ()).remove(0);
    assert_eq!(again.origin, Ok(CacheOrigin::new(CacheOutcome::Memory)));
    let failed = device.prewarm([&bad], &CompileOptions::default(), &|_| ()).remove(0);
    assert_eq!(failed.origin.as_ref().map_err(Error::code), Err(Code::Unsupported));
    assert!(failed.to_string().starts_with("bad: failed (FG0403), "), "{failed}");
}

#[test]
fn why_a_binary_was_missed_is_counted_and_stands_in_the_manifest() {
    let (device, _) = open(CacheReport::default());
    let (_, manifest) = device.compile_with_report(&kernel("k"), &CompileOptions::default()).unwrap();
    assert_eq!(manifest.binary_miss, Some(PipelineCacheMissReason::DeviceOrRuntimeChanged));
    let counters = device.counters();
    assert_eq!((counters.cache_artifact_hits, counters.cache_misses()), (1, 0));
    assert_eq!(counters.cache_binary_missed_device_or_runtime_changed, 1);
    let (_, manifest) = device.compile_with_report(&kernel("k"), &CompileOptions::default()).unwrap();
    assert_eq!((manifest.cache, manifest.binary_miss), (CacheOutcome::Memory, None));
}

#[test]
fn invalidating_reaches_every_form_that_was_compiled_and_compiles_anew() {
    let (device, backend) = open(CacheReport::default());
    let (k, other) = (kernel("k"), {
        let text = "fulgurite 1\nkernel @other workgroup(8, 1, 1) {\n}\n";
        Arc::new(fulgurite_ir::text::parse(text).and_then(fulgurite_ir::verify).unwrap())
    });
    let none = CompileOptions::default();
    let all = [none.clone(), none.clone().workgroup([64, 1, 1]), none.clone().debug_names(true)];
    for options in &all {
        device.compile(&k, options).unwrap();
    }
    device.compile(&other, &none).unwrap();
    backend.log.lock().unwrap().clear();
    let gone = device.invalidate(&k).unwrap();
    let mut log = std::mem::take(&mut *backend.log.lock().unwrap());
    log.sort();
    assert_eq!(log, ["invalidate 32", "invalidate 64"]);
    assert_eq!((gone.executables, gone.removed, gone.forgotten, gone.layered), (3, 4, 2, 6));
    assert_eq!(gone.failed.len(), 2);
    for options in &all {
        device.compile(&k, options).unwrap();
    }
    device.compile(&other, &none).unwrap();
    assert_eq!(backend.log.lock().unwrap().len(), 3, "the other kernel stayed");
    assert_eq!(device.counters().compiles_reused, 1);
    // The cache is asked even about a kernel that was not compiled here.
    let report = open(CacheReport::default()).0.invalidate(&k).unwrap();
    assert_eq!((report.executables, report.removed), (0, 2));
}

#[test]
fn reports_are_audited_and_flushes_reach_the_backend() {
    let mut report = CacheReport::default();
    report.hits = 8;
    report.misses = vec![(PipelineCacheMissReason::Corrupt, 2), (PipelineCacheMissReason::EmptyCache, 90)];
    let (device, _) = open(report.clone());
    let told = device.cache_report();
    assert_eq!(told.audit, report.audit(CacheAudit::DEFAULT_THRESHOLD));
    assert_eq!((told.audit.kept_rate_basis_points, told.audit.is_alarming), (Some(8_000), true));
    assert_eq!(told.notices.iter().map(|notice| notice.code).collect::<Vec<_>>(), [Code::CacheAlarm]);
    assert_eq!(device.flush().unwrap_err().code(), Code::CacheNotDurable);
}
