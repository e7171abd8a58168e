//! Tuned kernels of the library: by heuristic, by record, by pack, in the background.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fulgurite::autotune::{
    Argument, AutotuneMode, AutotunePolicy, AutotuneStore, Family, Numbers, Plan, Source, StoreOptions,
    Summary, Trial, TuneOptions, Work,
};
use fulgurite::kernels::{Length, Matrix, Sum, SumConfig, Transpose};
use fulgurite::prelude::*;
use fulgurite::spec::device::DeviceSnapshot;
use fulgurite::{ContextBuilder, Pack, tuned_entry};
use fulgurite_pipeline_cache::PackWriter;

/// Returns a context builder for a backend with its own folder of records.
fn builder(backend: &str, folder: &std::path::Path) -> ContextBuilder {
    Context::builder().backend(backend).autotune_directory(folder)
}

fn few() -> TuneOptions {
    TuneOptions::default().max_candidates(3)
}

#[test]
fn a_sum_is_right_by_rule_by_record_and_by_pack() {
    let folder = tempfile::tempdir().unwrap();
    let numbers: Vec<f32> = (0..5003).map(|i| (i % 7) as f32).collect();
    let expected: f32 = numbers.iter().sum();
    let sum = |ctx: &Context| {
        let tuned = ctx.tuned(Sum, &Length(5003)).unwrap();
        let (x, mut y) = (ctx.buffer(&numbers).unwrap(), ctx.zeroed::<f32>(1).unwrap());
        tuned.launch((&x, &mut y)).unwrap();
        assert_eq!(y.read().unwrap(), [expected]);
        tuned.timed((&x, &mut y)).unwrap();
        tuned.source()
    };
    for backend in ["cpu", "reference"] {
        let ctx = builder(backend, folder.path()).open().unwrap();
        assert_eq!(sum(&ctx), Source::Heuristic);
        let report = ctx.tune(Sum, &Length(5003), &few()).unwrap();
        assert_eq!(report.measured, 3);
        // The handle now uses the tuned kernel.
        assert_eq!(sum(&ctx), Source::Tuned);
        let second = builder(backend, folder.path()).open().unwrap();
        assert_eq!(sum(&second), Source::Record);
        let off = builder(backend, folder.path()).autotune(AutotunePolicy::mode(AutotuneMode::Off));
        assert_eq!(sum(&off.open().unwrap()), Source::Heuristic);
    }
    // The records of both, in a pack, without other records.
    let store = AutotuneStore::open(folder.path(), StoreOptions::default().read_only());
    let (entry, files) = tuned_entry(&store).unwrap();
    assert_eq!(files, 2);
    let mut writer = PackWriter::new();
    writer.add(&entry);
    for backend in ["cpu", "reference"] {
        let elsewhere = tempfile::tempdir().unwrap();
        let pack = Pack::from_bytes(writer.finish()).unwrap();
        let ctx = builder(backend, elsewhere.path()).pack(pack).open().unwrap();
        assert_eq!(sum(&ctx), Source::Record);
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }
}

#[test]
fn what_is_not_recorded_is_tuned_in_the_background() {
    let folder = tempfile::tempdir().unwrap();
    let policy = AutotunePolicy::mode(AutotuneMode::On).max_candidates(4).budget(Duration::from_secs(20));
    let ctx = builder("cpu", folder.path()).autotune(policy).open().unwrap();
    let problem = Matrix { rows: 40, columns: 24 };
    let tuned = ctx.tuned(Transpose, &problem).unwrap();
    let numbers: Vec<f32> = (0..40 * 24).map(|i| i as f32).collect();
    let (x, mut y) = (ctx.buffer(&numbers).unwrap(), ctx.zeroed::<f32>(40 * 24).unwrap());
    for _ in 0..20 {
        tuned.launch((&x, &mut y)).unwrap();
        let out = y.read().unwrap();
        assert!((0..40 * 24).all(|i| out[i % 24 * 40 + i / 24] == numbers[i]));
    }
    assert!(tuned.wait(Duration::from_secs(60)).unwrap());
    assert_eq!(tuned.source(), Source::Tuned);
    // The same handle, and nothing left to tune.
    assert_eq!(ctx.tuned(Transpose, &problem).unwrap().config(), tuned.config());
    assert!(ctx.tuner().notices().is_empty());
    assert_eq!(AutotuneStore::open(folder.path(), StoreOptions::default()).len().unwrap(), 1);
}

/// The family of sums, which logs when data for a problem is requested: before trying its candidates, and before
/// timing.
struct Noting(Arc<Mutex<Vec<Length>>>);

impl Family for Noting {
    type Config = SumConfig;
    type Problem = Length;
    type Arguments = <Sum as Family>::Arguments;

    fn id(&self) -> &'static str {
        "noting"
    }

    fn version(&self) -> u32 {
        1
    }

    fn space(&self, device: &DeviceSnapshot, problem: &Length) -> Vec<SumConfig> {
        Sum.space(device, problem)
    }

    fn heuristic(&self, device: &DeviceSnapshot, problem: &Length) -> SumConfig {
        Sum.heuristic(device, problem)
    }

    fn plan(&self, config: &SumConfig, problem: &Length) -> Result<Plan, Error> {
        Sum.plan(config, problem)
    }

    fn summary(&self, config: &SumConfig) -> Summary {
        Sum.summary(config)
    }

    fn arguments(&self, problem: &Length) -> Vec<Argument> {
        Sum.arguments(problem)
    }

    fn trial(&self, problem: &Length, numbers: Numbers, seed: u64) -> Trial {
        self.0.lock().unwrap().push(*problem);
        // Long enough for another thread to interfere if that were possible.
        std::thread::sleep(Duration::from_millis(50));
        Sum.trial(problem, numbers, seed)
    }

    fn work(&self, problem: &Length) -> Work {
        Sum.work(problem)
    }
}

#[test]
fn problems_are_tuned_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let policy = AutotunePolicy::mode(AutotuneMode::On).max_candidates(2).budget(Duration::from_secs(20));
    let ctx = builder("cpu", folder.path()).autotune(policy).open().unwrap();
    let noted = Arc::new(Mutex::new(Vec::new()));
    let problems = [Length(1000), Length(2000), Length(3000)];
    let all = problems.map(|problem| ctx.tuned(Noting(Arc::clone(&noted)), &problem).unwrap());
    for tuned in all {
        assert!(tuned.wait(Duration::from_secs(60)).unwrap());
        assert_eq!(tuned.source(), Source::Tuned);
    }
    let mut noted = noted.lock().unwrap().clone();
    assert_eq!(noted.len(), 6);
    noted.dedup();
    assert_eq!(noted.len(), 3, "{noted:?}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ctx = builder("cpu", folder.path()).open().unwrap();
    let tuned = ctx.tuned(Sum, &Length(100)).unwrap();
    let foreign = builder("reference", folder.path()).open().unwrap();
    let (x, mut y) = (foreign.zeroed::<f32>(100).unwrap(), ctx.zeroed::<f32>(1).unwrap());
    let refused = tuned.launch((&x, &mut y)).unwrap_err();
    assert_eq!(refused.code().to_string(), "FG0506");
    let odd = fulgurite::kernels::Product { m: 17, n: 16, k: 16 };
    let none = ctx.tuned(fulgurite::kernels::MatmulF32, &odd).unwrap_err();
    assert_eq!(none.code().to_string(), "FG1105");
}
