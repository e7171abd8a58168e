//! Every configuration of every family against its plain Rust reference, on small problems: exactly on integers, and
//! within the bounds on random numbers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{cpu, reference};
use fulgurite_autotune::{Instance, Numbers, Prepared, Table};
use fulgurite_hal::LaunchOptions;
use fulgurite_kernels::{families, family};
use fulgurite_runtime::{Buffer, Device};

/// Runs every `every`-th configuration, and the heuristic's choice.
fn try_all(device: &Device, instance: &Instance, every: usize) {
    let trials = [Numbers::Exact, Numbers::Random].map(|numbers| instance.trial(numbers, 7));
    for (at, candidate) in instance.candidates.iter().enumerate() {
        if at % every != 0 && at != instance.heuristic {
            continue;
        }
        let prepared = Prepared::new(device, candidate.plan().unwrap()).unwrap();
        for trial in &trials {
            let buffers: Vec<Buffer> = (0..instance.arguments.len())
                .map(|i| match &trial.arguments[i][..] {
                    [] => device.upload(&vec![0xa5; instance.arguments[i].bytes as usize]).unwrap(),
                    bytes => device.upload(bytes).unwrap(),
                })
                .collect();
            let views: Vec<_> = buffers.iter().map(Buffer::whole).collect();
            let name = format!("{instance:?}: {}", candidate.name());
            prepared.launch(&views, &LaunchOptions::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
            let outputs = instance.arguments.iter().zip(&views).filter(|(argument, _)| argument.is_output);
            let outputs: Vec<_> = outputs.map(|(_, view)| view.to_vec().unwrap()).collect();
            assert_eq!((trial.check)(&outputs), Ok(()), "{name}");
        }
    }
}

#[test]
fn every_configuration_is_correct_on_cpu() {
    let device = cpu();
    for (id, problem, every) in [
        ("elementwise", "1", 7),
        ("elementwise", "5003", 1),
        ("sum", "3", 1),
        ("sum", "70001", 3),
        ("transpose", "64x128", 1),
        ("transpose", "33x70", 1),
        ("transpose", "1x1", 1),
        ("matmul_f32", "128x256x64", 3),
        ("matmul_f32", "48x16x32", 1),
        ("matmul_f16", "128x256x64", 3),
        ("matmul_f16", "32x64x32", 1),
    ] {
        let instance = family(id).unwrap().instance(device.snapshot(), problem).unwrap();
        try_all(&device, &instance, every);
    }
}

#[test]
fn concurrent_launches_of_a_two_stage_sum_are_serialized() {
    let device = cpu();
    let instance = family("sum").unwrap().instance(device.snapshot(), "70001").unwrap();
    let two = instance.candidates.iter().find(|c| c.config["stages"].as_integer() == Some(2)).unwrap();
    let prepared = Prepared::new(&device, two.plan().unwrap()).unwrap();
    std::thread::scope(|scope| {
        for thread in 1..5u8 {
            let (prepared, device) = (&prepared, &device);
            scope.spawn(move || {
                // Every partial sum is an integer that f32 represents.
                let x = f32::from(thread);
                let input: Vec<u8> = std::iter::repeat_n(x.to_le_bytes(), 70001).flatten().collect();
                let buffers = [device.upload(&input).unwrap(), device.zeroed(4).unwrap()];
                let views = buffers.each_ref().map(Buffer::whole);
                for _ in 0..50 {
                    prepared.launch(&views, &LaunchOptions::default()).unwrap();
                    assert_eq!(views[1].to_vec().unwrap(), (x * 70001.0).to_le_bytes());
                }
            });
        }
    });
}

#[test]
fn configurations_are_correct_on_reference() {
    let device = reference();
    for (id, problem, every) in [
        ("elementwise", "131", 5),
        ("sum", "1030", 5),
        ("transpose", "20x36", 5),
        ("matmul_f32", "32x32x16", 5),
        ("matmul_f16", "32x32x32", 3),
    ] {
        let instance = family(id).unwrap().instance(device.snapshot(), problem).unwrap();
        try_all(&device, &instance, every);
    }
}

#[test]
fn families_are_listed_once_and_reject_invalid_problems() {
    let device = cpu();
    for listed in families() {
        assert_eq!(family(listed.id).unwrap().id, listed.id);
        assert_eq!(families().iter().filter(|other| other.id == listed.id).count(), 1);
        for problem in listed.problems {
            let instance = listed.instance(device.snapshot(), problem).unwrap();
            assert!(instance.candidates.len() > 4, "{instance:?}");
        }
        let refused = |text| listed.instance(device.snapshot(), text).unwrap_err().code().to_string();
        assert_eq!(refused("many"), "FG1106");
        assert_eq!(refused("0"), "FG1106");
    }
    // A recorded configuration is planned without a device.
    let sum = family("sum").unwrap();
    let instance = sum.instance(device.snapshot(), "70001").unwrap();
    let config = &instance.candidates[3].config;
    let planned = sum.plan(config, "70001").unwrap();
    assert_eq!(
        planned.steps[0].kernel.digest(),
        instance.candidates[3].plan().unwrap().steps[0].kernel.digest()
    );
    let refused = |config: &Table, problem| sum.plan(config, problem).unwrap_err().code().to_string();
    assert_eq!(refused(config, "x"), "FG1106");
    assert_eq!(refused(&Table::new(), "70001"), "FG1104");
    // Sizes that are not a multiple of any tile.
    let none = family("matmul_f32").unwrap().instance(device.snapshot(), "17x16x16").unwrap_err();
    assert_eq!(none.code().to_string(), "FG1105");
    assert!(family("none").is_none());
}
