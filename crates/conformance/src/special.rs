//! Special float values for tests of whole kernels, and comparison of results with plain Rust: NaNs, infinities, signed
//! zeros, and subnormals that a device may flush.
//!
//! Any NaN equals any NaN. A subnormal may be flushed to a zero of its sign, except on devices that state that they
//! keep subnormals of that type. Single ops are compared by the op table instead, in `compare`.

use fulgurite_spec::ScalarType;
use fulgurite_spec::device::{Capability, DeviceSnapshot};
use fulgurite_spec::eval::float::FloatFormat;

use crate::values::Random;

/// A subnormal f32 far above the smallest one.
pub const SUBNORMAL: f32 = 3e-39;

/// Floats of every class.
pub const VALUES: [f32; 17] = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    SUBNORMAL,
    -SUBNORMAL,
    // The smallest subnormal.
    1e-45,
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    // The largest subnormal.
    1.175_494_2e-38,
    f32::MAX,
    f32::MIN,
    1e-30,
    -1e30,
];

/// Bit patterns of NaNs of both signs, quiet and signaling, with payloads.
pub const NANS: [u32; 5] = [0x7f80_0001, 0x7fc0_0000, 0xffc0_dead, 0xff80_0001, 0x7fff_ffff];

/// Returns whether the device keeps subnormals of `ty`.
pub fn keeps_subnormals(device: &DeviceSnapshot, ty: ScalarType) -> bool {
    let capability = match ty {
        ScalarType::F16 => Capability::SubnormalsF16,
        ScalarType::F32 | ScalarType::BF16 => Capability::SubnormalsF32,
        ScalarType::F64 => Capability::SubnormalsF64,
        _ => return true,
    };
    device.has(capability)
}

/// Returns whether `got` matches `wanted`: a NaN if `wanted` is NaN, the same infinity if `wanted` rounds to one, and
/// otherwise within `bound` of it. A bound of 0 also requires zeros of the same sign.
pub fn close(got: f32, wanted: f64, bound: f64) -> bool {
    let rounded = wanted as f32;
    if rounded.is_nan() || rounded.is_infinite() {
        return same(got, rounded);
    }
    if bound == 0.0 { same(got, rounded) } else { (f64::from(got) - wanted).abs() <= bound }
}

/// Returns whether both are NaN, or have the same bits.
fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

/// Returns `value`, or a zero of its sign if it is subnormal.
fn flushed(value: f32) -> f32 {
    if value.is_subnormal() { 0.0f32.copysign(value) } else { value }
}

/// Returns whether the bits `got` are those of an f32 that was moved from `wanted` without arithmetic.
pub fn is_moved(wanted: u32, got: u32, device: &DeviceSnapshot) -> bool {
    moved(wanted, got, keeps_subnormals(device, ScalarType::F32))
}

fn moved(wanted: u32, got: u32, keeps: bool) -> bool {
    let (wanted, got) = (f32::from_bits(wanted), f32::from_bits(got));
    same(wanted, got) || (!keeps && same(flushed(wanted), got))
}

/// Returns every form in which a device may give a rounded result whose value before rounding is `exact`.
fn rounded(exact: f64, keeps_subnormals: bool) -> impl Iterator<Item = f32> {
    let kept = exact as f32;
    // A device may flush before rounding, which includes values that would round up to the smallest normal number.
    let tiny = exact.abs() < f64::from(f32::MIN_POSITIVE);
    let zero = (!keeps_subnormals && tiny).then(|| 0.0f32.copysign(kept));
    std::iter::once(kept).chain(zero)
}

/// Returns every form in which a device may read an operand.
fn operand(value: f32, keeps_subnormals: bool) -> impl Iterator<Item = f32> + Clone {
    std::iter::once(value).chain((!keeps_subnormals).then(|| flushed(value)))
}

/// Returns whether `got` is `a · x + y` with the product and the sum rounded separately.
pub fn is_product_and_sum(got: f32, [a, x, y]: [f32; 3], device: &DeviceSnapshot) -> bool {
    product_and_sum(got, [a, x, y], keeps_subnormals(device, ScalarType::F32))
}

fn product_and_sum(got: f32, [a, x, y]: [f32; 3], keeps: bool) -> bool {
    // The product of two f32 is exact in f64. Their sum is accurate enough to round to the same f32 and to compare with
    // the smallest normal number: double rounding of a sum is innocuous from 24 to 53 bits.
    let products = operand(a, keeps).flat_map(|a| {
        operand(x, keeps).flat_map(move |x| rounded(f64::from(a) * f64::from(x), keeps).collect::<Vec<_>>())
    });
    products.flat_map(|product| operand(product, keeps).collect::<Vec<_>>()).any(|product| {
        operand(y, keeps)
            .any(|y| rounded(f64::from(product) + f64::from(y), keeps).any(|wanted| same(got, wanted)))
    })
}

/// Returns whether `got` is the sum of `values`, whose partial sums are exact or infinite in every order of addition.
/// The sum of no numbers is +0, and so is that of zeros of either sign.
pub fn is_exact_sum(got: f32, values: &[f32], device: &DeviceSnapshot) -> bool {
    exact_sum(got, values, keeps_subnormals(device, ScalarType::F32))
}

fn exact_sum(got: f32, values: &[f32], keeps: bool) -> bool {
    let sum = |read: fn(f32) -> f32| values.iter().fold(0.0f64, |sum, value| sum + f64::from(read(*value)));
    let kept = sum(|value| value);
    close(got, kept, 0.0)
        || (!keeps && (same(got, flushed(kept as f32)) || same(got, flushed(sum(flushed) as f32))))
}

/// Returns the sum of products, and the sum of their magnitudes.
fn sum_and_size(pairs: impl Iterator<Item = (f64, f64)>) -> (f64, f64) {
    pairs.map(|(a, b)| a * b).fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs()))
}

/// Returns the sum of products in f64. An empty sum is +0, and so is that of zeros of either sign.
pub fn sum_of_products(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    sum_and_size(pairs).0
}

/// Returns whether `got` is a sum of products in f32, added in any order, with each product rounded or fused. The
/// factors are of type `ty`.
pub fn is_sum_of_products(
    got: f32,
    pairs: impl Iterator<Item = (f64, f64)> + Clone,
    ty: ScalarType,
    device: &DeviceSnapshot,
) -> bool {
    let (keeps, keeps_sums) = (keeps_subnormals(device, ty), keeps_subnormals(device, ScalarType::F32));
    let least_normal = FloatFormat::of(ty).map_or(0.0, FloatFormat::min_normal);
    let read = move |factor: f64| {
        if factor.abs() < least_normal { 0.0f64.copysign(factor) } else { factor }
    };
    let count = pairs.clone().count();
    let near = |(sum, size)| close(got, sum, bound(count, size, keeps_sums));
    near(sum_and_size(pairs.clone()))
        || (!keeps && near(sum_and_size(pairs.map(|(a, b)| (read(a), read(b))))))
}

/// Returns the maximum error of a sum of `count` products whose magnitudes add up to `size`: each product and each
/// addition rounds once. Zeros need no rounding.
fn bound(count: usize, size: f64, keeps: bool) -> f64 {
    if size == 0.0 {
        return 0.0;
    }
    // Maximum loss by rounding or flushing a result below the smallest normal number.
    let least = f64::from(f32::MIN_POSITIVE) * if keeps { f64::from(f32::EPSILON) } else { 1.0 };
    count as f64 * (f64::from(f32::EPSILON) * size + 2.0 * least)
}

/// Selects the factors of a matrix product that contain special values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialFactors {
    /// The left one.
    A,
    /// The right one.
    B,
    /// Both.
    Both,
}

/// Returns factors of a product of M × K and K × N in row-major order: small whole numbers, with special values in some
/// rows of A and columns of B. The finite rows and columns between them detect values that leak. `max` and `subnormal`
/// are numbers of the type that the factors are converted to. Every size is at least 16.
pub fn factors(sizes: [usize; 3], special: SpecialFactors, max: f32, subnormal: f32) -> [Vec<f32>; 2] {
    let [m, n, depth] = sizes;
    let lines = |seed: u64, lines: usize, is_special: bool| {
        let mut random = Random::new(seed);
        let mut values: Vec<f32> =
            (0..lines * depth).map(|_| (random.next() >> 40) as f32 % 9.0 - 4.0).collect();
        if is_special {
            place_specials(&mut values, lines, depth, max, subnormal);
        }
        values
    };
    let a = lines(10, m, special != SpecialFactors::B);
    let columns = lines(11, n, special != SpecialFactors::A);
    let b = (0..depth).flat_map(|i| (0..n).map(move |column| (column, i)));
    [a, b.map(|(column, i)| columns[column * depth + i]).collect()]
}

/// Places special values in `lines` of `depth` numbers.
fn place_specials(values: &mut [f32], lines: usize, depth: usize, max: f32, subnormal: f32) {
    const INF: f32 = f32::INFINITY;
    let last = depth - 1;
    // Lines that consist of one value, or of zeros and one value.
    for (line, value) in [(6, -0.0), (7, 0.0), (1, -INF)] {
        values[line * depth..(line + 1) * depth].fill(value);
    }
    for (line, value) in [(8, max), (10, subnormal), (11, -subnormal), (12, -0.0), (13, INF), (14, -max)] {
        values[line * depth..(line + 1) * depth].fill(0.0);
        values[line * depth + line] = value;
    }
    // Lines of numbers that contain a special value or infinities of both signs. Loads beyond the end are clamped to
    // the last element.
    let among = [(0, 3, INF), (2, 3, INF), (2, last, -INF), (4, 5, f32::NAN), (lines / 2, 0, f32::NAN)];
    for (line, at, value) in among.into_iter().chain([(lines - 1, last, -INF)]) {
        values[line * depth + at] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: f32 = f32::MIN_POSITIVE / 4.0;

    #[test]
    fn special_values_equal_only_themselves() {
        assert!(close(f32::NAN, f64::NAN, 1.0) && close(f32::INFINITY, f64::INFINITY, 1.0));
        assert!(close(f32::INFINITY, 1e39, 1e39) && close(1.0, 1.5, 0.5));
        for (got, wanted) in [
            (f32::NAN, 1.0),
            (f32::INFINITY, 1.0),
            (1.0, f64::NAN),
            (1.0, f64::INFINITY),
            (f32::NEG_INFINITY, f64::INFINITY),
            (f32::NAN, f64::INFINITY),
        ] {
            assert!(!close(got, wanted, 1e30) && !close(got, wanted, 0.0), "{got} {wanted}");
        }
        assert!(close(0.0, 0.0, 0.0) && !close(-0.0, 0.0, 0.0));
    }

    #[test]
    fn subnormals_may_be_flushed_only_where_the_device_does_not_keep_them() {
        for keeps in [false, true] {
            assert!(moved(TINY.to_bits(), TINY.to_bits(), keeps));
            assert_eq!(moved((-TINY).to_bits(), (-0.0f32).to_bits(), keeps), !keeps);
            assert!(!moved(TINY.to_bits(), (-0.0f32).to_bits(), keeps));
            assert!(!moved(0, (-0.0f32).to_bits(), keeps) && !moved(1.0f32.to_bits(), 0, keeps));
            assert!(moved(0x7f80_0001, 0xffc0_0000, keeps));
            assert!(product_and_sum(TINY, [1.0, TINY, 0.0], keeps));
            assert_eq!(product_and_sum(0.0, [1.0, TINY, 0.0], keeps), !keeps);
            assert!(!product_and_sum(TINY * 4.0, [1.0, TINY, TINY], keeps));
            assert!(product_and_sum(-0.0, [-0.0, 1.0, -0.0], keeps));
            assert!(!product_and_sum(-0.0, [-0.0, 1.0, 0.0], keeps));
        }
    }

    #[test]
    fn sums_of_zeros_are_positive_and_infinities_are_kept() {
        for keeps in [false, true] {
            assert!(exact_sum(0.0, &[-0.0, -0.0], keeps) && !exact_sum(-0.0, &[-0.0, -0.0], keeps));
            assert!(exact_sum(0.0, &[], keeps) && !exact_sum(-0.0, &[], keeps));
            assert!(exact_sum(f32::NAN, &[f32::INFINITY, f32::NEG_INFINITY], keeps));
            assert!(!exact_sum(f32::INFINITY, &[f32::INFINITY, f32::NEG_INFINITY], keeps));
            assert!(exact_sum(f32::INFINITY, &[f32::MAX, f32::MAX], keeps));
            assert!(
                !exact_sum(f32::MAX, &[f32::MAX, f32::MAX], keeps) && !exact_sum(f32::NAN, &[1.0], keeps)
            );
            assert!(exact_sum(TINY, &[-0.0, TINY], keeps));
            assert_eq!(exact_sum(0.0, &[-0.0, TINY], keeps), !keeps);
        }
        assert_eq!(sum_and_size([(-0.0, 1.0)].into_iter()).0.to_bits(), 0);
        assert_eq!(bound(5, 0.0, false).to_bits(), 0);
        assert!(bound(5, 1e-38, true) < bound(5, 1e-38, false) && bound(5, 1.0, false) < 1e-6);
    }

    #[test]
    fn factors_hold_every_special_value_and_finite_lines() {
        let sizes @ [m, n, depth] = [16, 32, 16];
        for special in [SpecialFactors::A, SpecialFactors::B, SpecialFactors::Both] {
            let [a, b] = factors(sizes, special, f32::MAX, SUBNORMAL);
            assert_eq!((a.len(), b.len()), (m * depth, depth * n));
            let has_all = |values: &[f32]| {
                let kinds: [fn(&f32) -> bool; 6] = [
                    |v| v.is_nan(),
                    |v| *v == f32::INFINITY,
                    |v| *v == f32::NEG_INFINITY,
                    |v| v.is_subnormal(),
                    |v| v.to_bits() == 1 << 31,
                    |v| *v == f32::MAX,
                ];
                kinds.iter().all(|kind| values.iter().any(kind))
            };
            assert_eq!(has_all(&a), special != SpecialFactors::B);
            assert_eq!(has_all(&b), special != SpecialFactors::A);
            let finite_rows = a.chunks(depth).filter(|row| row.iter().all(|v| v.is_finite() && *v != 0.0));
            let finite_columns = (0..n).filter(|c| (0..depth).all(|i| b[i * n + c].is_finite()));
            assert!(finite_rows.count() + finite_columns.count() > 1);
        }
    }
}
