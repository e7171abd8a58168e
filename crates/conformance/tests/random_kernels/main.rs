//! Random kernels on the CPU backend and after passes, against the reference. Every bit but a NaN's must agree.
#![expect(clippy::unwrap_used, reason = "a failure anywhere fails the test")]

mod planted;
mod reduced;

use std::collections::BTreeMap;
use std::sync::Arc;

use fulgurite_backend_cpu::{CpuDevice, CpuOptions, Native, machine_code};
use fulgurite_backend_reference::{ReferenceDevice, ReferenceOptions};
use fulgurite_conformance::robust;
use fulgurite_conformance::robust::random::{
    self, Accuracy, MATRICES, Numbers, RandomKernel, reference_like,
};
use fulgurite_hal as hal;
use fulgurite_ir::analysis::{instructions, uniformity, used_values};
use fulgurite_ir::{InstKind, VerifiedKernel, text, verify};
use fulgurite_passes::{PassOptions, optimize};
use fulgurite_spec::{Code, OPS, Op, ScalarType};

use reduced::{Failing, Wrongly};

/// Number of kernels.
const KERNELS: u64 = 200;
/// Number of kernels to optimize, which hold every op often.
const OPTIMIZED: u64 = 400;
/// The variable with a larger number of kernels to run.
const MORE_KERNELS: &str = "FULGURITE_RANDOM_KERNELS";

/// Returns `count`, or the number that [`MORE_KERNELS`] asks for if it is larger.
fn at_least(count: u64) -> u64 {
    std::env::var(MORE_KERNELS).map_or(0, |more| more.parse().unwrap()).max(count)
}

/// Returns the random kernel of a seed, and the number of invocations of its workgroups.
fn random_kernel(seed: u64, accuracy: Accuracy) -> (String, u32) {
    let RandomKernel { text, invocations } = random::kernel(Numbers::seeded(seed), accuracy);
    (text, invocations)
}

/// Runs a kernel, and returns the contents of its buffers afterwards, or the code of the error.
fn run(
    device: &dyn hal::Device,
    kernel: &Arc<VerifiedKernel>,
    invocations: u32,
    seed: u64,
) -> Result<Vec<Vec<u8>>, Code> {
    random::run(device, kernel, invocations, seed).map_err(|error| error.code())
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
    let sources: Vec<String> = (0..KERNELS).map(|seed| random_kernel(seed, Accuracy::Any).0).collect();
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
fn random_kernels_hold_every_op_and_type_often() {
    let mut ops: BTreeMap<Op, usize> = OPS.iter().map(|row| (row.op, 0)).collect();
    let mut types: BTreeMap<&str, usize> = ScalarType::ALL.iter().map(|ty| (ty.name(), 0)).collect();
    for seed in 0..OPTIMIZED {
        let kernel = text::parse(&random_kernel(seed, Accuracy::Any).0).unwrap();
        let used = used_values(&kernel);
        for inst in instructions(&kernel).map(|id| kernel.inst(id)) {
            let results = inst.results.iter().filter(|result| used[result.index()]);
            results
                .clone()
                .for_each(|result| *types.entry(kernel.ty(*result).scalar.name()).or_default() += 1);
            // A result that nothing uses tests nothing, unless it is that of an instruction with an effect.
            let has_effect = inst.results.is_empty()
                || matches!(inst.kind, InstKind::Atomic { .. })
                || inst.kind.control().is_some();
            if has_effect || results.count() > 0 {
                *ops.entry(uniformity::op(&inst.kind)).or_default() += 1;
            }
        }
    }
    let rare: Vec<_> = ops.iter().filter(|(_, count)| **count < 100).collect();
    assert!(rare.is_empty(), "{rare:?}");
    let rare: Vec<_> = types.iter().filter(|(_, count)| **count < 100).collect();
    assert!(rare.is_empty(), "{rare:?}");
}

#[test]
fn random_kernels_keep_the_properties_of_texts() {
    for seed in 0..KERNELS {
        let (source, _) = random_kernel(seed, Accuracy::Any);
        assert_eq!(robust::text(source.as_bytes()), Ok(true), "seed {seed}:\n{source}");
    }
}

#[test]
fn optimized_kernels_give_the_same_results() {
    let reference = ReferenceDevice::new(ReferenceOptions::default());
    let mut options = PassOptions::default();
    options.optimize = true;
    let mut changed: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..at_least(OPTIMIZED) {
        let (source, count) = random_kernel(seed, Accuracy::Any);
        let kernel = Arc::new(verify(text::parse(&source).unwrap()).unwrap());
        let (optimized, report) = optimize(&kernel, &options).unwrap();
        for (pass, _) in &report.changes {
            *changed.entry(pass).or_default() += 1;
        }
        let [expected, actual] = [&kernel, &optimized].map(|kernel| run(&reference, kernel, count, seed));
        assert!(matches!(expected, Ok(_) | Err(Code::Trap)), "seed {seed}: {expected:?}");
        if expected != actual {
            // A refused kernel is no wrong result here.
            let passes = |kernel: &Arc<VerifiedKernel>| {
                optimize(kernel, &options).map_or_else(|_| Arc::clone(kernel), |(optimized, _)| optimized)
            };
            let wrongly = Wrongly::After(&passes);
            let failing = Failing { what: "optimized", seed, kernel: &kernel, invocations: count, wrongly };
            panic!("{report}\n{}", failing.report());
        }
    }
    let passes = [
        "simplify",
        "common",
        "implied",
        "if_convert",
        "unroll",
        "forward",
        "hoist",
        "vectorize",
        "guards",
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
            let (source, count) = random_kernel(seed, Accuracy::Any);
            let kernel = Arc::new(verify(text::parse(&source).unwrap()).unwrap());
            (run(&reference, &kernel, count, seed), source, count, seed)
        })
        .collect();
    for (name, plant) in planted::PLANTED {
        let is_found = expected.iter().any(|(expected, source, count, seed)| {
            let mut kernel = text::parse(source).unwrap();
            plant(&mut kernel);
            verify(kernel).is_ok_and(|kernel| {
                match run(&reference, &Arc::new(kernel), *count, *seed) {
                    // A loop that ends no more.
                    Err(code) if code != Code::Timeout && code != Code::Trap => false,
                    found => found != *expected,
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
        let (source, count) = random_kernel(seed, Accuracy::Equal);
        let source = with_facts(&source, &mut Numbers::seeded(seed << 8));
        assert_eq!(robust::text(source.as_bytes()), Ok(true), "seed {seed}:\n{source}");
        let kernel = Arc::new(text::parse(&source).and_then(verify).unwrap());
        let [wanted, found] = [0, 1].map(|which| run(backends[which], &kernel, count, seed));
        if wanted != found {
            let wrongly = Wrongly::On(&cpu);
            let failing = Failing { what: "facts", seed, kernel: &kernel, invocations: count, wrongly };
            panic!("{}", failing.report());
        }
        match wanted {
            Ok(_) => ran += 1,
            Err(Code::RequireFailed) => refused += 1,
            Err(code) => assert_eq!(code, Code::Trap, "seed {seed}:\n{source}"),
        }
    }
    assert!(refused > 20 && ran > 20, "{refused} kernels are refused, {ran} run");
}

#[test]
fn the_cpu_backend_agrees_with_the_reference() {
    let cpu = CpuDevice::new();
    let reference = reference_like(&cpu);
    let (mut varied, mut stored, mut native) = (0, 0, 0);
    for seed in 0..at_least(KERNELS) {
        let (source, count) = random_kernel(seed, Accuracy::Equal);
        let kernel = text::parse(&source).and_then(verify).unwrap_or_else(|e| panic!("{source}\n{e}"));
        let kernel = Arc::new(kernel);
        native += u32::from(machine_code(&kernel, CpuOptions::default()).is_ok());
        let wanted = run(&reference, &kernel, count, seed);
        let found = run(&cpu, &kernel, count, seed);
        if wanted != found {
            let wrongly = Wrongly::On(&cpu);
            let failing = Failing { what: "cpu", seed, kernel: &kernel, invocations: count, wrongly };
            panic!("{}", failing.report());
        }
        let Ok(wanted) = wanted else {
            assert_eq!(wanted, Err(Code::Trap), "seed {seed}:\n{source}");
            continue;
        };
        varied += u32::from(wanted[2].chunks_exact(16).any(|own| own != &wanted[2][..16]));
        stored += u32::from(wanted[MATRICES].iter().flatten().any(|byte| *byte != 0));
    }
    assert!(varied > KERNELS as u32 / 2, "only {varied} kernels tell their invocations apart");
    assert!(stored > KERNELS as u32 / 4, "only {stored} kernels store matrices");
    let has_native = Native::Auto.is_available();
    assert!(!has_native || native > KERNELS as u32 / 8, "only {native} kernels run as native code");
}
