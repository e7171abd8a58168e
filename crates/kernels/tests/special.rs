//! Configurations of every family on special values: infinities, NaNs, zeros of either sign, subnormals, overflows,
//! sizes that leave invocations without elements, and empty buffers. On each backend, against plain Rust.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use common::{cpu, reference, vulkan};
use fulgurite_autotune::{Family, Instance, Prepared};
use fulgurite_conformance::special::{
    NANS, SUBNORMAL, SpecialFactors, VALUES, factors, is_exact_sum, is_moved, is_product_and_sum,
    is_sum_of_products, sum_of_products,
};
use fulgurite_hal::LaunchOptions;
use fulgurite_kernels::{
    Elementwise, Length, MatmulF16, MatmulF32, Matrix, Product, Sum, Transpose, families,
};
use fulgurite_runtime::{Buffer, Device};
use fulgurite_spec::ScalarType;
use fulgurite_spec::device::DeviceSnapshot;
use half::f16;

const INF: f32 = f32::INFINITY;

/// Compares an output with plain Rust.
type Check = Box<dyn Fn(&[f32], &DeviceSnapshot) -> Result<(), String>>;

/// Inputs of a launch, and the comparison of its output.
struct Case {
    name: String,
    inputs: Vec<Vec<u8>>,
    check: Check,
}

fn bytes(floats: &[f32]) -> Vec<u8> {
    floats.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Checks every element with `is_right`; `wanted` formats the expected value.
fn each(
    got: &[f32],
    is_right: impl Fn(usize, f32) -> bool,
    wanted: impl Fn(usize) -> String,
) -> Result<(), String> {
    match got.iter().enumerate().find(|(i, got)| !is_right(*i, **got)) {
        Some((i, got)) => Err(format!("element {i}: got {got:e}, expected {}", wanted(i))),
        None => Ok(()),
    }
}

/// Runs every `every`-th configuration, and the heuristic's choice, on each case. The output is first filled with a
/// pattern that no case expects. Returns the number of launches.
fn try_all<F: Family>(
    device: &Device,
    family: F,
    problem: &F::Problem,
    cases: &[Case],
    every: usize,
) -> usize {
    let instance = Instance::new(Arc::new(family), device.snapshot(), problem).unwrap();
    let output = instance.arguments.iter().find(|argument| argument.is_output).unwrap().bytes as usize;
    let mut count = 0;
    for (at, candidate) in instance.candidates.iter().enumerate() {
        if at % every != 0 && at != instance.heuristic {
            continue;
        }
        let prepared = Prepared::new(device, candidate.plan().unwrap()).unwrap();
        for case in cases {
            let name = || {
                format!("{}, {instance:?}: {}: {}", device.snapshot().backend, candidate.name(), case.name)
            };
            let mut buffers: Vec<Buffer> =
                case.inputs.iter().map(|input| device.upload(input).unwrap()).collect();
            buffers.push(device.upload(&vec![0xa5; output]).unwrap());
            let views: Vec<_> = buffers.iter().map(Buffer::whole).collect();
            prepared.launch(&views, &LaunchOptions::default()).unwrap_or_else(|e| panic!("{}: {e}", name()));
            let got = floats(&views.last().unwrap().to_vec().unwrap());
            if let Err(wrong) = (case.check)(&got, device.snapshot()) {
                panic!("{}: {wrong}", name());
            }
            count += 1;
        }
    }
    count
}

/// Creates the case of a·x + y.
fn elementwise_case(a: f32, x: Vec<f32>, y: Vec<f32>) -> Case {
    let inputs = vec![bytes(&x), bytes(&y)];
    let check = move |got: &[f32], device: &DeviceSnapshot| {
        let is_right = |i: usize, got: f32| is_product_and_sum(got, [a, x[i], y[i]], device);
        each(got, is_right, |i| format!("{a:e} · {:e} + {:e}", x[i], y[i]))
    };
    Case { name: format!("a = {a:e}"), inputs, check: Box::new(check) }
}

/// All pairs of special values, and vectors shorter than the widest load.
fn elementwise(device: &Device, every: usize) -> usize {
    let mut count = 0;
    // Three more elements than whole vectors of four.
    let behind = [(f32::MAX, f32::MAX), (INF, -INF)];
    let pairs: Vec<(f32, f32)> =
        VALUES.iter().flat_map(|x| VALUES.iter().map(move |y| (*x, *y))).chain(behind).collect();
    for factor in VALUES {
        let (x, y): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
        let length = Length(x.len() as u32);
        let case = elementwise_case(factor, x, y);
        count += try_all(device, Elementwise { factor }, &length, &[case], every);
    }
    for length in [0, 1, 2, 3, 5] {
        let case = |x: f32, y: f32| elementwise_case(1.0, vec![x; length], vec![y; length]);
        let cases = [case(INF, -INF), case(-0.0, -0.0), case(f32::NAN, 1.0)];
        let family = Elementwise { factor: 1.0 };
        count += try_all(device, family, &Length(length as u32), &cases, every);
    }
    count
}

fn sum_case(name: &str, x: Vec<f32>) -> Case {
    let inputs = vec![bytes(&x)];
    let check = move |got: &[f32], device: &DeviceSnapshot| {
        let wanted = || x.iter().copied().map(f64::from).fold(0.0, |sum, x| sum + x);
        each(got, |_, got| is_exact_sum(got, &x, device), |_| format!("{:e}", wanted()))
    };
    Case { name: name.to_owned(), inputs, check: Box::new(check) }
}

/// Vectors of one repeated number, except for the first, a middle, or the last element, which may follow the last whole
/// vector of four.
fn sum_cases(length: usize) -> Vec<Case> {
    let with = |rest: f32, places: &[(usize, f32)]| {
        let mut x = vec![rest; length];
        for (at, value) in places {
            if let Some(x) = x.get_mut(*at) {
                *x = *value;
            }
        }
        x
    };
    let last = length.saturating_sub(1);
    let mut cases: Vec<Case> = [0.0, -0.0, 1.0, INF, -INF, f32::NAN]
        .into_iter()
        .map(|value| sum_case(&format!("all {value}"), with(value, &[])))
        .collect();
    for at in [0, length / 2, last] {
        for value in [INF, -INF, f32::NAN, f32::MAX, SUBNORMAL, -SUBNORMAL, -f32::MIN_POSITIVE] {
            // The other elements are zeros, so every sum is exact.
            cases.push(sum_case(&format!("{value:e} at {at}"), with(-0.0, &[(at, value)])));
        }
    }
    let ends = |name: &str, first: f32, end: f32| sum_case(name, with(0.0, &[(0, first), (last, end)]));
    cases.push(ends("infinities of both signs", INF, -INF));
    cases.push(ends("two infinities", -INF, -INF));
    cases.push(ends("an overflow", f32::MAX, f32::MAX));
    cases.push(ends("a negative overflow", f32::MIN, f32::MIN));
    cases.push(ends("numbers that cancel", f32::MAX, f32::MIN));
    cases.push(ends("subnormals that cancel", SUBNORMAL, -SUBNORMAL));
    cases.push(ends("a NaN and an infinity", f32::NAN, INF));
    cases
}

/// Lengths from zero to those that use two stages.
fn sum(device: &Device, lengths: &[(usize, usize)]) -> usize {
    let run = |&(length, every): &(usize, usize)| {
        try_all(device, Sum, &Length(length as u32), &sum_cases(length), every)
    };
    lengths.iter().map(run).sum()
}

/// Special values and NaNs with payloads at every position; matrices without rows or columns.
fn transpose(device: &Device, every: usize) -> usize {
    let bits: Vec<u32> = VALUES.iter().map(|value| value.to_bits()).chain(NANS).collect();
    let sizes = [(0, 0), (0, 32), (64, 0), (1, 1), (1, 70), (33, 70), (20, 36), (64, 64)];
    let run = |(rows, columns): (u32, u32)| {
        let x: Vec<u32> = bits.iter().copied().cycle().take((rows * columns) as usize).collect();
        let inputs = vec![x.iter().flat_map(|bits| bits.to_le_bytes()).collect()];
        let check = move |got: &[f32], device: &DeviceSnapshot| {
            let from = |i: usize| x[i % rows as usize * columns as usize + i / rows as usize];
            let is_right = |i: usize, got: f32| is_moved(from(i), got.to_bits(), device);
            each(got, is_right, |i| format!("{:#x}", from(i)))
        };
        let case = Case { name: "special values".to_owned(), inputs, check: Box::new(check) };
        try_all(device, Transpose, &Matrix { rows, columns }, &[case], every)
    };
    sizes.into_iter().map(run).sum()
}

/// Creates product cases with factors of `ty`, which `convert` converts from f32 to numbers and bytes.
fn product_cases(
    Product { m, n, k }: Product,
    ty: ScalarType,
    [max, subnormal]: [f32; 2],
    convert: fn(f32) -> (f64, Vec<u8>),
) -> Vec<Case> {
    let [rows, columns, depth] = [m, n, k].map(|size| size as usize);
    let case = |special: SpecialFactors| {
        let converted = factors([rows, columns, depth], special, max, subnormal).map(|factor| {
            let (numbers, bytes): (Vec<_>, Vec<_>) = factor.into_iter().map(convert).unzip();
            (numbers, bytes.concat())
        });
        let [(a, a_bytes), (b, b_bytes)] = converted;
        let check = move |got: &[f32], device: &DeviceSnapshot| {
            let pairs = |at: usize| {
                let (row, column) = (&a[at / columns * depth..], at % columns);
                row[..depth].iter().copied().zip(b[column..].iter().copied().step_by(columns))
            };
            let is_right = |i: usize, got: f32| is_sum_of_products(got, pairs(i), ty, device);
            each(got, is_right, |i| format!("{:e}", sum_of_products(pairs(i))))
        };
        Case { name: format!("{special:?}"), inputs: vec![a_bytes, b_bytes], check: Box::new(check) }
    };
    [SpecialFactors::A, SpecialFactors::B, SpecialFactors::Both].map(case).into()
}

fn matmul_f32(device: &Device, problem: Product, every: usize) -> usize {
    let convert = |value: f32| (f64::from(value), value.to_le_bytes().to_vec());
    let cases = product_cases(problem, ScalarType::F32, [f32::MAX, SUBNORMAL], convert);
    try_all(device, MatmulF32, &problem, &cases, every)
}

/// Returns 0 for a device without configurations, because it lacks cooperative matrices.
fn matmul_f16(device: &Device, problem: Product, every: usize) -> usize {
    if MatmulF16.space(device.snapshot(), &problem).is_empty() {
        eprintln!("{}: matmul_f16 is unsupported: no cooperative matrices", device.snapshot().backend);
        return 0;
    }
    let convert = |value: f32| {
        let half = f16::from_f32(value);
        (half.to_f64(), half.to_le_bytes().to_vec())
    };
    // The largest f16, and a subnormal one.
    let cases = product_cases(problem, ScalarType::F16, [65504.0, 3e-7], convert);
    try_all(device, MatmulF16, &problem, &cases, every)
}

fn product(m: u32, n: u32, k: u32) -> Product {
    Product { m, n, k }
}

/// Prints the number of launches of each family. Panics if a family that the device supports had none.
fn report(device: &Device, launches: [(&str, usize); 5]) {
    let snapshot = device.snapshot();
    eprintln!("{} on {}: {launches:?} launches", snapshot.backend, snapshot.device);
    for (family, count) in launches {
        let may_lack = snapshot.backend == "vulkan" && family == "matmul_f16";
        assert!(count > 0 || may_lack, "{family} did not run");
    }
}

#[test]
fn special_values_are_correct_on_reference() {
    let device = reference();
    let launches = [
        ("elementwise", elementwise(&device, 12)),
        ("sum", sum(&device, &[(0, 7), (1, 7), (3, 7), (6, 7), (1030, 9)])),
        ("transpose", transpose(&device, 9)),
        ("matmul_f32", matmul_f32(&device, product(32, 32, 16), 7)),
        ("matmul_f16", matmul_f16(&device, product(32, 64, 32), 7)),
    ];
    report(&device, launches);
}

#[test]
fn special_values_are_correct_on_cpu() {
    let device = cpu();
    let small = matmul_f32(&device, product(48, 16, 32), 1);
    let small_f16 = matmul_f16(&device, product(32, 64, 32), 1);
    let launches = [
        ("elementwise", elementwise(&device, 5)),
        ("sum", sum(&device, &[(0, 1), (1, 3), (2, 3), (3, 3), (6, 3), (1030, 2), (9001, 9)])),
        ("transpose", transpose(&device, 1)),
        ("matmul_f32", small + matmul_f32(&device, product(128, 128, 64), 19)),
        ("matmul_f16", small_f16 + matmul_f16(&device, product(128, 256, 64), 19)),
    ];
    report(&device, launches);
}

#[test]
fn special_values_are_correct_on_vulkan() {
    let Some(device) = vulkan() else { return };
    let small = matmul_f32(&device, product(48, 16, 32), 5);
    let launches = [
        ("elementwise", elementwise(&device, 7)),
        ("sum", sum(&device, &[(0, 7), (1, 7), (3, 7), (6, 7), (1030, 7), (9001, 19)])),
        ("transpose", transpose(&device, 7)),
        ("matmul_f32", small + matmul_f32(&device, product(128, 128, 64), 41)),
        ("matmul_f16", matmul_f16(&device, product(128, 256, 64), 19)),
    ];
    report(&device, launches);
}

/// A new family needs a line in each test of this file.
#[test]
fn every_family_has_special_values() {
    let tested = ["elementwise", "sum", "transpose", "matmul_f32", "matmul_f16"];
    let listed: Vec<_> = families().iter().map(|family| family.id).collect();
    assert_eq!(listed, tested);
}
