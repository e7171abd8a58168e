//! Costs of tuning records: opening a store of ten thousand records of eight candidates each with a first lookup, and
//! saving one more record.
#![allow(missing_docs, reason = "criterion's macros define undocumented functions")]

use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use fulgurite::DeviceSnapshot;
use fulgurite::autotune::{
    AutotuneKey, AutotuneStore, CandidateRow, DeviceKey, StoreOptions, Table, TuneVerdict,
};

/// Number of records, in one file and in fifty.
const RECORDS: usize = 10_000;
/// Candidates per record.
const CANDIDATES: usize = 8;

fn open(root: &Path) -> AutotuneStore {
    AutotuneStore::open(root, StoreOptions::default())
}

fn key(families: usize, number: usize) -> AutotuneKey {
    AutotuneKey {
        device: DeviceKey::of(&DeviceSnapshot::new("vulkan", "a device", "a driver 1.0")),
        family: format!("family_{}", number % families),
        version: 1,
        bucket: format!("{}x{}x{}", 16 * number, 4096, 4096),
        policy: "mean of the faster half, device clock".to_owned(),
    }
}

fn row(candidate: usize) -> CandidateRow {
    let mut config = Table::new();
    for field in ["tile_m", "tile_n", "depth", "subgroup_m", "subgroup_n", "padding"] {
        config.insert(field.to_owned(), (candidate as i64 * 16).into());
    }
    let mut row = CandidateRow::new(config, TuneVerdict::Measured).timed(1e5 + candidate as f64, 0.01, 15);
    row.recorded_at = "2026-11-26T12:00:00Z".to_owned();
    row.recorded_by = "fulgurite 0.1.0".to_owned();
    (row.workgroup, row.unroll, row.tile) = (Some([128, 1, 1]), Some(4), vec![128, 128, 64]);
    row
}

fn id(candidate: usize) -> String {
    format!("vulkan:{candidate:064x}#01234567")
}

fn many(criterion: &mut Criterion) -> anyhow::Result<()> {
    for families in [1, 50] {
        let folder = tempfile::tempdir()?;
        let store = open(folder.path());
        for number in 0..RECORDS {
            store.insert(&key(families, number), (0..CANDIDATES).map(|c| (id(c), row(c))));
        }
        store.save()?;
        let bytes: u64 = std::fs::read_dir(folder.path())?
            .filter_map(|file| Some(file.ok()?.metadata().ok()?.len()))
            .sum();
        let what = format!("{RECORDS} records in {families} files, {} MB", bytes / 1_000_000);
        let wanted = key(families, RECORDS / 2);
        criterion.bench_function(&format!("{what}: open and first lookup"), |bencher| {
            bencher.iter(|| open(folder.path()).get(black_box(&wanted)).is_some());
        });
        let store = open(folder.path());
        assert!(store.get(&wanted).is_some(), "the record is there");
        criterion.bench_function(&format!("{what}: another lookup"), |bencher| {
            bencher.iter(|| store.get(black_box(&wanted)).is_some());
        });
        let mut number = 0;
        criterion.bench_function(&format!("{what}: open, add one, save"), |bencher| {
            let next = || {
                number += 1;
                (open(folder.path()), key(families, number % 16))
            };
            let save = |(store, key): (AutotuneStore, AutotuneKey)| {
                store.insert(&key, [(id(0), row(0))]);
                store.save()
            };
            bencher.iter_batched(next, save, BatchSize::SmallInput);
        });
    }
    Ok(())
}

fn all(criterion: &mut Criterion) {
    if let Err(error) = many(criterion) {
        eprintln!("{error:#}");
    }
}

criterion_group! {
    name = autotune;
    config = Criterion::default().sample_size(10);
    targets = all
}
criterion_main!(autotune);
