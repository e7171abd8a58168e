//! Problems with special values: infinities, NaNs, zeros of either sign, subnormals, masked rows, empty buffers, and
//! sizes that leave invocations without elements. Each is small enough for an interpreter.

use fulgurite_conformance::special::{NANS, SUBNORMAL, SpecialFactors, VALUES, factors};
use half::f16;

use super::data::Random;
use super::integers::{radix_pass_of, scan_lookback_of, scan_passes_of, scan_spine_of};
use super::product::{matmul_f16_of, matmul_f32_of};
use super::{Problem, saxpy_of, softmax_of, transpose_of};

const INF: f32 = f32::INFINITY;

/// Returns problems with special values for each kernel.
pub fn special() -> Vec<Problem> {
    let mut all = saxpy();
    all.extend(transpose());
    all.extend(softmax());
    all.extend(matmul());
    all.extend(scans());
    all.extend(radix());
    all
}

/// Every pair of `VALUES`, with each of them as the factor, and sizes around a workgroup of 64.
fn saxpy() -> Vec<Problem> {
    let pairs = || VALUES.iter().flat_map(|x| VALUES.iter().map(move |y| (*x, *y)));
    let mut all: Vec<Problem> = VALUES
        .iter()
        .map(|a| saxpy_of(*a, pairs().map(|p| p.0).collect(), pairs().map(|p| p.1).collect()))
        .collect();
    all.extend([0, 1, 64, 65].map(|count| saxpy_of(1.0, vec![-0.0; count], vec![-INF; count])));
    all
}

/// Special values at every position of a tile, including NaNs with payloads.
fn transpose() -> Vec<Problem> {
    let kinds: Vec<u32> = VALUES.iter().map(|value| value.to_bits()).chain(NANS).collect();
    let filled = |rows: u32, columns: u32| {
        let input = kinds.iter().copied().cycle().take((rows * columns) as usize).collect();
        transpose_of(rows, columns, input)
    };
    vec![filled(64, 64), filled(64, 128), filled(0, 0), filled(0, 64), filled(64, 0)]
}

/// Rows of each kind: with so few columns that most invocations have no elements, and with so many that some
/// invocations have one vector of four more than others.
fn softmax() -> Vec<Problem> {
    let mut all: Vec<Problem> = [4, 8, 64, 1024, 1028, 2052]
        .map(|columns| softmax_of(columns, softmax_rows(columns as usize)))
        .into();
    all.push(softmax_of(4, Vec::new()));
    all
}

fn softmax_rows(columns: usize) -> Vec<f32> {
    /// Returns whether a column belongs to one of the invocations `of`, out of the 256 of a workgroup.
    fn mine(column: usize, of: std::ops::Range<usize>) -> bool {
        of.contains(&(column / 4 % 256))
    }
    let random = Random::new(9).floats(columns, 10.0);
    let finite = |column: usize| random[column];
    let last = columns - 1;
    let with = |at: usize, value: f32, rest: f32| move |c: usize| if c == at { value } else { rest };
    let masked =
        |is_masked: fn(usize) -> bool| move |c: usize| if is_masked(c) { -INF } else { random_at(c) };
    fn random_at(column: usize) -> f32 {
        (column * 37 % 101) as f32 / 10.0 - 5.0
    }
    let rows: Vec<Box<dyn Fn(usize) -> f32 + '_>> = vec![
        Box::new(finite),
        // All elements are masked: NaN.
        Box::new(|_| -INF),
        // All elements except one are masked.
        Box::new(with(0, 1.0, -INF)),
        Box::new(with(last, -1.0, -INF)),
        Box::new(with(columns / 2, f32::MIN, -INF)),
        // All elements of one invocation, of some, or of more than a subgroup are masked.
        Box::new(masked(|c| mine(c, 0..1))),
        Box::new(masked(|c| mine(c, 1..2))),
        Box::new(masked(|c| mine(c, 0..255))),
        Box::new(masked(|c| mine(c, 0..64))),
        Box::new(masked(|c| mine(c, 64..256))),
        // The first vectors of each invocation, the later ones, every other element, and the diagonal of a mask.
        Box::new(masked(|c| c < 1024)),
        Box::new(masked(|c| c >= 1024)),
        Box::new(masked(|c| c % 2 == 0)),
        Box::new(move |c| if c > columns / 2 { -INF } else { finite(c) }),
        // Rows with a NaN: NaN.
        Box::new(move |c| if c == last { f32::NAN } else { finite(c) }),
        Box::new(with(0, f32::NAN, -INF)),
        Box::new(with(last, f32::NAN, -INF)),
        Box::new(|_| f32::NAN),
        Box::new(|c| if mine(c, 0..1) { f32::NAN } else { -INF }),
        Box::new(move |c| [f32::NAN, -INF, INF, finite(c)][c % 4]),
        // Rows with +inf: NaN.
        Box::new(move |c| if c == 0 { INF } else { finite(c) }),
        Box::new(with(0, INF, -INF)),
        Box::new(with(last, INF, -INF)),
        Box::new(|_| INF),
        Box::new(|c| if mine(c, 0..1) { INF } else { -INF }),
        // The largest and the smallest finite numbers.
        Box::new(|_| f32::MAX),
        Box::new(|_| f32::MIN),
        Box::new(|c| if c % 2 == 0 { f32::MIN } else { -INF }),
        Box::new(|c| if c % 3 == 0 { f32::MAX } else { f32::MIN }),
        Box::new(|c| if c % 4 == 3 { f32::MIN } else { 1.0 }),
        // Zeros of either sign, subnormals, and elements whose exponentials vanish.
        Box::new(|c| if c % 2 == 0 { -0.0 } else { 0.0 }),
        Box::new(|c| VALUES[7 + c % 5]),
        Box::new(with(last, 0.0, -100.0)),
        Box::new(with(0, 0.0, -200.0)),
    ];
    rows.iter().flat_map(|row| (0..columns).map(row)).collect()
}

/// Products with special values in A, in B, or in both; and one of depth zero, whose elements are +0.
fn matmul() -> Vec<Problem> {
    let halves = |floats: Vec<f32>| floats.into_iter().map(f16::from_f32).collect();
    let mut all = Vec::new();
    for special in [SpecialFactors::A, SpecialFactors::B, SpecialFactors::Both] {
        let [a, b] = factors([128, 128, 32], special, f32::MAX, SUBNORMAL);
        all.push(matmul_f32_of([128, 128, 32], a, b));
        let [a, b] = factors([128, 128, 64], special, 65504.0, 3e-7);
        all.push(matmul_f16_of([128, 128, 64], halves(a), halves(b)));
    }
    for [m, n, k] in [[128, 128, 0], [0, 128, 32], [128, 0, 32], [0, 0, 0]] {
        let matrix = |rows: u32, columns: u32| vec![1.0; (rows * columns) as usize];
        all.push(matmul_f32_of([m, n, k], matrix(m, k), matrix(k, n)));
        let halves = |rows: u32, columns: u32| vec![f16::ONE; (rows * columns) as usize];
        all.push(matmul_f16_of([m, n, k], halves(m, k), halves(k, n)));
    }
    all
}

/// Sums of extreme numbers that wrap around; empty input, and one tile.
fn scans() -> Vec<Problem> {
    let inputs = || {
        let every = |count: usize, number: fn(usize) -> u32| (0..count).map(number).collect::<Vec<u32>>();
        [
            Vec::new(),
            every(4096, |_| 0),
            every(4096, |_| u32::MAX),
            every(3 * 4096, |i| if i % 4096 == 0 { u32::MAX } else { 0 }),
            every(3 * 4096, |i| if i % 2 == 0 { 1 << 31 } else { u32::MAX >> 1 }),
        ]
    };
    // One vector of four, one per invocation, and one more.
    let spines = [0, 4, 1024, 1028, 2052].map(|count| scan_spine_of(Random::new(12).words(count)));
    let mut all: Vec<Problem> = spines.into();
    all.push(scan_spine_of(vec![u32::MAX; 1024]));
    all.extend(inputs().map(scan_passes_of));
    all.extend(inputs().map(scan_lookback_of));
    all
}

/// Keys with equal, alternating or descending digits, by the lowest and the highest digit.
fn radix() -> Vec<Problem> {
    let every = |count: usize, key: fn(usize) -> u32| (0..count).map(key).collect::<Vec<u32>>();
    let mut all = vec![radix_pass_of(Vec::new(), 0)];
    for shift in [0, 28] {
        all.extend([
            radix_pass_of(every(2048, |_| 0), shift),
            radix_pass_of(every(2048, |_| u32::MAX), shift),
            radix_pass_of(every(2 * 2048, |i| if i % 2 == 0 { u32::MAX } else { i as u32 & 0xff0 }), shift),
            radix_pass_of(every(2 * 2048, |i| (4095 - i as u32).wrapping_mul(0x0010_0001)), shift),
            // Digits that do not occur in the first tile.
            radix_pass_of(every(2 * 2048, |i| if i < 2048 { 0xf000_000f } else { i as u32 >> 4 }), shift),
        ]);
    }
    all
}
