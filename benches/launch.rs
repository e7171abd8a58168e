//! What a launch costs besides its work: one workgroup on each backend that opens.
#![allow(missing_docs, reason = "criterion's macros define undocumented functions")]

use criterion::{Criterion, criterion_group, criterion_main};
use fulgurite::{Context, DynArg, DynBuffer, DynExecutable, Error, LaunchOptions};
use fulgurite_benches::SMALL;

fn prepare(id: &str) -> Result<(DynExecutable, DynBuffer), Error> {
    let context = Context::builder().backend(id).open()?;
    let executable = context.compile_dynamic(&fulgurite::parse(SMALL)?)?;
    let out = DynBuffer::from(context.zeroed::<u32>(64)?);
    Ok((executable, out))
}

fn one_workgroup(criterion: &mut Criterion) {
    let options = LaunchOptions::workgroups([1, 1, 1]);
    let mut group = criterion.benchmark_group("launch of one workgroup");
    for id in ["cpu", "vulkan"] {
        let (executable, out) = match prepare(id) {
            Ok(ready) => ready,
            Err(error) => {
                eprintln!("{id}: unavailable: {error}");
                continue;
            }
        };
        let mut failure = None;
        group.bench_function(id, |b| {
            b.iter(|| {
                if let Err(error) = executable.launch_with(&options, &[DynArg::Buffer(&out)]) {
                    failure = Some(error);
                }
            });
        });
        // Times of launches that failed say nothing.
        if let Some(error) = failure {
            eprintln!("{id}: a launch failed: {error}");
            std::process::exit(1);
        }
    }
    group.finish();
}

criterion_group!(benches, one_workgroup);
criterion_main!(benches);
