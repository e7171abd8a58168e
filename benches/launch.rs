//! The overhead of launches on the default Vulkan driver, in one process: Fulgurite, raw Vulkan, rayon and, with the
//! feature `peers`, wgpu.
//!
//! `one`: a workgroup is recorded, submitted and waited for. `many`: thirty-two are submitted separately and waited for
//! together. `chain`: sixteen, each dependent on the previous one, are submitted together and waited for; those of
//! Fulgurite and raw Vulkan are prerecorded, wgpu records each time.
#![allow(missing_docs, reason = "criterion's macros define undocumented functions")]

use criterion::{Criterion, criterion_group, criterion_main};
use fulgurite_benches::Target;
use fulgurite_benches::launch::{self, Contender};

type Run = fn(&mut dyn Contender) -> anyhow::Result<()>;

fn contenders() -> Vec<(String, anyhow::Result<Box<dyn Contender>>)> {
    let registry = fulgurite::registry();
    let mut all = Vec::new();
    for id in ["vulkan", "cpu"] {
        match Target::open(&registry, id) {
            Ok(target) => {
                let device = &target.backend.snapshot().device;
                let peers = launch::peers(id).into_iter();
                all.extend(peers.map(|(name, open)| (name.to_owned(), open(device))));
                all.push((format!("fulgurite {id}"), launch::ours(&target)));
            }
            Err(error) => all.push((format!("fulgurite {id}"), Err(error.into()))),
        }
    }
    all
}

fn launches(criterion: &mut Criterion) {
    let mut ready = Vec::new();
    for (name, opened) in contenders() {
        match opened {
            Ok(contender) => ready.push((name, contender)),
            Err(error) => eprintln!("{name}: unavailable: {error:#}"),
        }
    }
    let runs: [(&str, Run); 3] = [
        ("one", |contender| contender.one()),
        ("many", |contender| contender.many()),
        ("chain", |contender| contender.chain()),
    ];
    for (group, run) in runs {
        let mut group = criterion.benchmark_group(group);
        for (name, contender) in &mut ready {
            if let Err(error) = launch::check(contender.as_mut()) {
                eprintln!("{name}: {error:#}");
                std::process::exit(1);
            }
            // Times of failed launches are meaningless.
            let mut failure = None;
            group.bench_function(name.as_str(), |b| {
                b.iter(|| run(contender.as_mut()).err().map(|e| failure = Some(e)))
            });
            if let Some(error) = failure {
                eprintln!("{name}: a launch failed: {error:#}");
                std::process::exit(1);
            }
        }
        group.finish();
    }
}

criterion_group!(benches, launches);
criterion_main!(benches);
