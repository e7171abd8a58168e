//! What launches cost besides their work, on lavapipe or whatever driver there is: ours, the same calls of raw Vulkan and,
//! with the feature `wgpu`, those of wgpu, in one process.
//!
//! `one`: a workgroup is recorded, submitted and waited for. `chain`: sixteen of them, each waiting for the one before, are
//! submitted together and waited for; ours and raw Vulkan's were recorded before, wgpu records each time.
#![allow(missing_docs, reason = "criterion's macros define undocumented functions")]

mod raw;
#[cfg(feature = "wgpu")]
mod webgpu;

use std::sync::Arc;

use anyhow::Context as _;
use criterion::{Criterion, criterion_group, criterion_main};
use fulgurite::{CompileOptions, LaunchOptions, registry};
use fulgurite_benches::SMALL;
use fulgurite_driver_core::{Buffer, Choice, Device, Graph, Program, Recorder};

/// Launches of a chain.
const CHAIN: usize = 16;
/// Bytes of what is written.
const BYTES: u64 = 256;

/// What is measured of each.
trait Contender {
    /// One launch, waited for.
    fn one(&mut self) -> anyhow::Result<()>;
    /// Several, each behind the one before, waited for.
    fn chain(&mut self) -> anyhow::Result<()>;
    /// What was written.
    fn written(&mut self) -> anyhow::Result<Vec<u8>>;
}

/// A backend of ours.
struct Ours {
    program: Program,
    out: Buffer,
    graph: Graph,
}

impl Ours {
    fn open(id: &str) -> anyhow::Result<Self> {
        let route = registry().route(&Choice::Exactly(id.to_owned()))?;
        let (compile, launch) = (CompileOptions::default(), LaunchOptions::workgroups([1, 1, 1]));
        let device = Device::new(Arc::clone(route.backend()), compile.clone(), launch.clone());
        let program = device.compile(&fulgurite::parse(SMALL)?, &compile)?;
        let out = device.zeroed(BYTES)?;
        let mut recorder = Recorder::new(&device);
        let slot = recorder.slot(&out);
        for _ in 0..CHAIN {
            recorder.launch(&program, &[slot], &[], &launch)?;
        }
        Ok(Self { program, out, graph: recorder.finish() })
    }
}

impl Contender for Ours {
    fn one(&mut self) -> anyhow::Result<()> {
        self.program.launch(&[self.out.whole()], &[], &LaunchOptions::default())?;
        Ok(())
    }

    fn chain(&mut self) -> anyhow::Result<()> {
        self.graph.replay()?;
        Ok(())
    }

    fn written(&mut self) -> anyhow::Result<Vec<u8>> {
        Ok(self.out.whole().to_vec()?)
    }
}

fn contenders() -> Vec<(&'static str, anyhow::Result<Box<dyn Contender>>)> {
    fn boxed(opened: anyhow::Result<impl Contender + 'static>) -> anyhow::Result<Box<dyn Contender>> {
        Ok(Box::new(opened?))
    }
    vec![
        ("ash", boxed(raw::Raw::open())),
        ("fulgurite vulkan", boxed(Ours::open("vulkan"))),
        #[cfg(feature = "wgpu")]
        ("wgpu", boxed(webgpu::WebGpu::open())),
        ("fulgurite cpu", boxed(Ours::open("cpu"))),
    ]
}

/// That a contender runs, and writes what all are to.
fn check(contender: &mut dyn Contender) -> anyhow::Result<()> {
    let expected: Vec<u8> = (0..64u32).flat_map(u32::to_le_bytes).collect();
    contender.one().and_then(|()| contender.chain()).context("it does not run")?;
    anyhow::ensure!(contender.written()? == expected, "it wrote something else");
    Ok(())
}

fn launches(criterion: &mut Criterion) {
    let mut ready = Vec::new();
    for (name, opened) in contenders() {
        match opened {
            Ok(contender) => ready.push((name, contender)),
            Err(error) => eprintln!("{name}: unavailable: {error:#}"),
        }
    }
    let runs: [(&str, fn(&mut dyn Contender) -> anyhow::Result<()>); 2] =
        [("one", |contender| contender.one()), ("chain", |contender| contender.chain())];
    for (group, run) in runs {
        let mut group = criterion.benchmark_group(group);
        for (name, contender) in &mut ready {
            if let Err(error) = check(contender.as_mut()) {
                eprintln!("{name}: {error:#}");
                std::process::exit(1);
            }
            // Times of launches that failed say nothing.
            let mut failure = None;
            group.bench_function(*name, |b| {
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
