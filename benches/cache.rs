//! Costs of the pipeline cache: a hit in memory and on disk, a write, and a folder of ten thousand entries. The lower
//! bound for a hit on disk is measured as well: opening, reading and hashing the file.
#![allow(missing_docs, reason = "criterion's macros define undocumented functions")]

use std::fs;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use fulgurite_benches::entries::{BYTES, entry, open};
use fulgurite_pipeline_cache::{CacheOptions, Digest, Durability, Lookup, PipelineCache};

/// Entries of the large folder.
const MANY: u32 = 10_000;

fn hits(criterion: &mut Criterion) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let entry = entry(1, BYTES);
    let cache = PipelineCache::open(CacheOptions::in_folder(folder.path()));
    cache.keep(&entry.identity, Digest::ZERO, entry.payload.clone());
    criterion.bench_function("hit in memory, 64 KiB", |bencher| {
        bencher.iter(|| black_box(cache.find(black_box(&entry.identity))).is_ok());
    });
    let disk = open(folder.path())?;
    criterion.bench_function("hit on disk, 64 KiB, verified", |bencher| {
        bencher.iter(|| matches!(black_box(disk.read(black_box(&entry.identity))), Lookup::Hit(_)));
    });
    let path = disk.path_for(&entry.identity);
    criterion.bench_function("open, read and hash 64 KiB, nothing else", |bencher| {
        bencher.iter(|| fs::read(&path).map(|bytes| Digest::of(&bytes)));
    });
    Ok(())
}

fn writes(criterion: &mut Criterion) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    for (name, durability) in [
        ("write 64 KiB, durable when flushed", Durability::OnFlush),
        ("write 64 KiB, durable at once", Durability::Immediate),
    ] {
        let disk = open(&folder.path().join(name.replace(' ', "_")))?;
        let mut number = 0;
        criterion.bench_function(name, |bencher| {
            let next = || {
                number += 1;
                entry(number, BYTES)
            };
            bencher.iter_batched(next, |entry| disk.write(&entry, durability), BatchSize::SmallInput);
        });
    }
    Ok(())
}

fn many(criterion: &mut Criterion) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let disk = open(folder.path())?;
    for number in 0..MANY {
        disk.write(&entry(number, 2000), Durability::OnFlush)?;
    }
    disk.flush()?;
    let entry = entry(MANY / 2, 2000);
    criterion.bench_function("10,000 entries: open and first hit", |bencher| {
        bencher.iter(|| open(folder.path()).map(|disk| disk.read(&entry.identity)));
    });
    let absent = fulgurite_benches::entries::entry(MANY + 1, 10);
    criterion.bench_function("10,000 entries: open and first miss, with its reason", |bencher| {
        bencher.iter(|| open(folder.path()).map(|disk| disk.read(&absent.identity)));
    });
    criterion.bench_function("10,000 entries: stats", |bencher| bencher.iter(|| disk.stats()));
    criterion
        .bench_function("10,000 entries: gc with nothing to do", |bencher| bencher.iter(|| disk.gc(None)));
    Ok(())
}

fn all(criterion: &mut Criterion) {
    for part in [hits, writes, many] {
        if let Err(error) = part(criterion) {
            eprintln!("{error:#}");
        }
    }
}

criterion_group! {
    name = cache;
    config = Criterion::default().sample_size(20);
    targets = all
}
criterion_main!(cache);
