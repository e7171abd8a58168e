//! Random kernels on the CPU backend and after passes, against the reference. Every bit but a NaN's must agree.
#![expect(clippy::unwrap_used, reason = "a failure anywhere fails the test")]

mod planted;

use std::collections::BTreeMap;
use std::sync::Arc;

use fulgurite_backend_cpu::CpuDevice;
use fulgurite_backend_reference::{ReferenceDevice, ReferenceOptions};
use fulgurite_conformance::robust;
use fulgurite_conformance::robust::random::{self, MATRICES, Numbers, RandomKernel, reference_like, run};
use fulgurite_hal as hal;
use fulgurite_ir::{text, verify};
use fulgurite_passes::{PassOptions, optimize};
use fulgurite_spec::Code;

/// Number of kernels.
const KERNELS: u64 = 200;
/// The variable with another number of kernels to optimize, at least [`KERNELS`].
const MORE_KERNELS: &str = "FULGURITE_RANDOM_KERNELS";
/// Returns the random kernel of a seed, and the number of invocations of its workgroups.
fn random_kernel(seed: u64) -> (String, u32) {
    let RandomKernel { text, invocations } = random::kernel(Numbers::seeded(seed));
    (text, invocations)
}

/// Adds a few preconditions on parameters and lengths to `source`. They may contradict each other.
fn with_facts(source: &str, numbers: &mut Numbers<'_>) -> String {
    let declarations = "param %f: f32x4\n";
    let (before, after) = source.split_once(declarations).unwrap();
    let mut facts = String::new();
    for _ in 0..=numbers.below(4) {
        let op = numbers.pick(&["lt", "le", "gt", "ge", "eq", "ne"]);
        let subject = numbers.pick(&["%n", "%n", "(len %in)", "(len %out)", "(rem %n, 4u32)"]);
        let bound = numbers.pick(&["0u32", "1u32", "40u32", "64u32", "0x7fffffffu32", "0xffffffffu32"]);
        facts += &match numbers.below(2) {
            0 => format!("require {op} {subject}, {bound}\n"),
            _ => format!("require {op} {bound}, {subject}\n"),
        };
    }
    format!("{before}{declarations}{facts}{after}")
}

#[test]
fn random_kernels_hold_every_construct() {
    let sources: Vec<String> = (0..KERNELS).map(|seed| random_kernel(seed).0).collect();
    let constructs = [
        "if ",
        "for ",
        "while ",
        "region ",
        "barrier",
        "atomic.add",
        "vec.shuffle",
        "workgroup_broadcast",
        "subgroup.reduce",
        "subgroup.exclusive_scan",
        "subgroup.shuffle",
        "subgroup.any",
        "%in2[",
        "%ini[",
        "%out2[",
        "eq (rem (len %in), 4u32), 0u32",
        "coop.load[row_major] %vectors",
        "coop.load[column_major] %tile",
        "%matrices[%matrix_place]",
        "%floats[%matrix_place]",
        "%wide[%wide_place]",
        "coop.fill",
        "coop.convert",
        "coop.mul_add",
    ];
    for construct in constructs {
        let count = sources.iter().filter(|s| s.contains(construct)).count();
        assert!(count >= 10, "`{construct}` is in {count} kernels only");
    }
}

#[test]
fn random_kernels_keep_the_properties_of_texts() {
    for seed in 0..KERNELS {
        let (source, _) = random_kernel(seed);
        assert_eq!(robust::text(source.as_bytes()), Ok(true), "seed {seed}:\n{source}");
    }
}

#[test]
fn optimized_kernels_give_the_same_results() {
    let reference = ReferenceDevice::new(ReferenceOptions::default());
    let mut options = PassOptions::default();
    options.optimize = true;
    let mut changed: BTreeMap<&str, usize> = BTreeMap::new();
    let more = std::env::var(MORE_KERNELS).map(|count| count.parse::<u64>().unwrap());
    for seed in 0..more.unwrap_or(KERNELS).max(KERNELS) {
        let (source, count) = random_kernel(seed);
        let kernel = Arc::new(verify(text::parse(&source).unwrap()).unwrap());
        let (optimized, report) = optimize(&kernel, &options).unwrap();
        for (pass, _) in &report.changes {
            *changed.entry(pass).or_default() += 1;
        }
        let [expected, actual] =
            [&kernel, &optimized].map(|kernel| run(&reference, kernel, count, seed).unwrap());
        assert!(expected == actual, "seed {seed}, {report}:\n{source}\n{}", text::print(&optimized));
    }
    let passes = [
        "simplify",
        "common",
        "if_convert",
        "unroll",
        "forward",
        "hoist",
        "vectorize",
        "strength",
        "dead_code",
    ];
    for pass in passes {
        assert!(changed.get(pass).is_some_and(|kernels| *kernels >= 10), "{pass}: {changed:?}");
    }
    println!("{changed:?}");
}

#[test]
fn planted_miscompilations_are_found() {
    let reference = ReferenceDevice::new(ReferenceOptions::default());
    let expected: Vec<_> = (0..KERNELS)
        .map(|seed| {
            let (source, count) = random_kernel(seed);
            let kernel = Arc::new(verify(text::parse(&source).unwrap()).unwrap());
            (run(&reference, &kernel, count, seed).unwrap(), source, count, seed)
        })
        .collect();
    for (name, plant) in planted::PLANTED {
        let is_found = expected.iter().any(|(expected, source, count, seed)| {
            let mut kernel = text::parse(source).unwrap();
            plant(&mut kernel);
            verify(kernel).is_ok_and(|kernel| {
                match run(&reference, &Arc::new(kernel), *count, *seed) {
                    Ok(found) => found != *expected,
                    // A loop that ends no more.
                    Err(error) => error.code() == Code::Timeout,
                }
            })
        });
        assert!(is_found, "not found: {name}");
    }
}

#[test]
fn facts_may_contradict_each_other() {
    let cpu = CpuDevice::new();
    let backends: [&dyn hal::Device; 2] = [&reference_like(&cpu), &cpu];
    let (mut refused, mut ran) = (0, 0);
    for seed in 0..KERNELS {
        let (source, count) = random_kernel(seed);
        let source = with_facts(&source, &mut Numbers::seeded(seed << 8));
        assert_eq!(robust::text(source.as_bytes()), Ok(true), "seed {seed}:\n{source}");
        let kernel = Arc::new(text::parse(&source).and_then(verify).unwrap());
        let [wanted, found] = [0, 1].map(|which| run(backends[which], &kernel, count, seed));
        match (wanted, found) {
            (Ok(wanted), Ok(found)) => {
                assert!(wanted == found, "seed {seed}:\n{source}");
                ran += 1;
            }
            (Err(wanted), Err(found)) => {
                assert_eq!([wanted.code(), found.code()], [Code::RequireFailed; 2], "{source}");
                refused += 1;
            }
            (wanted, found) => panic!("seed {seed}: {wanted:?}, {found:?}:\n{source}"),
        }
    }
    assert!(refused > 20 && ran > 20, "{refused} kernels are refused, {ran} run");
}

#[test]
fn the_cpu_backend_agrees_with_the_reference() {
    let cpu = CpuDevice::new();
    let reference = reference_like(&cpu);
    let (mut varied, mut stored) = (0, 0);
    for seed in 0..KERNELS {
        let (source, count) = random_kernel(seed);
        let kernel = text::parse(&source).and_then(verify).unwrap_or_else(|e| panic!("{source}\n{e}"));
        let kernel = Arc::new(kernel);
        let wanted = run(&reference, &kernel, count, seed).unwrap();
        let found = run(&cpu, &kernel, count, seed).unwrap();
        assert!(wanted == found, "seed {seed}:\n{source}\nreference {wanted:?}\ncpu {found:?}");
        varied += u32::from(wanted[2].chunks_exact(16).any(|own| own != &wanted[2][..16]));
        stored += u32::from(wanted[MATRICES].iter().flatten().any(|byte| *byte != 0));
    }
    assert!(varied > KERNELS as u32 / 2, "only {varied} kernels tell their invocations apart");
    assert!(stored > KERNELS as u32 / 4, "only {stored} kernels store matrices");
}
