//! From text to SPIR-V: parsing, verification and emission, measured separately on a small kernel and on long ones.
#![allow(missing_docs, reason = "criterion's macros define undocumented functions")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fulgurite::ir::{text, verify};
use fulgurite_benches::compile::{sources, to_spirv};

fn from_text_to_spirv(criterion: &mut Criterion) {
    for source in sources(&[1_000, 100_000]) {
        let name = &source.name;
        let parsed = text::parse(&source.text).and_then(|kernel| Ok((kernel.clone(), verify(kernel)?)));
        let (kernel, verified) = match parsed {
            Ok(both) => both,
            Err(problems) => {
                eprintln!("{name}: {problems}");
                std::process::exit(1);
            }
        };
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(kernel.insts.len() as u64)).sample_size(20);
        group.bench_function("parse", |b| b.iter(|| text::parse(black_box(&source.text))));
        group.bench_function("verify", |b| b.iter_batched(|| kernel.clone(), verify, BatchSize::LargeInput));
        group.bench_function("emit", |b| b.iter(|| to_spirv(black_box(&verified))));
        group.finish();
    }
}

criterion_group!(benches, from_text_to_spirv);
criterion_main!(benches);
