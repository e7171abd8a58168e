//! Comparison of results with plain Rust: NaNs, infinities, signed zeros, and subnormals that a device may flush.
//!
//! Any NaN equals any NaN. A subnormal may be replaced by a zero of its sign only on devices that do not state that they
//! keep subnormals of that type.

use fulgurite::DeviceSnapshot;
use fulgurite::spec::device::Capability;

/// Returns whether the device keeps subnormals of f32.
pub(super) fn keeps_f32(device: &DeviceSnapshot) -> bool {
    device.has(Capability::SubnormalsF32)
}

/// Returns whether the device keeps subnormals of f16.
pub(super) fn keeps_f16(device: &DeviceSnapshot) -> bool {
    device.has(Capability::SubnormalsF16)
}

/// Returns whether `got` is NaN where `wanted` is, the same infinity where `wanted` rounds to one, and else within `bound`
/// of it. A bound of 0 also holds zeros to their sign.
pub(super) fn close(got: f32, wanted: f64, bound: f64) -> bool {
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
pub(super) fn flushed(value: f32) -> f32 {
    if value.is_subnormal() { 0.0f32.copysign(value) } else { value }
}

/// Returns whether `got` are the bits of an f32 that was moved from `wanted` without arithmetic.
pub(super) fn moved(wanted: u32, got: u32, keeps_subnormals: bool) -> bool {
    let (wanted, got) = (f32::from_bits(wanted), f32::from_bits(got));
    same(wanted, got) || (!keeps_subnormals && same(flushed(wanted), got))
}

/// A rounded result, whose value before rounding is `exact`, in every form that a device may give it.
fn rounded(exact: f64, keeps_subnormals: bool) -> impl Iterator<Item = f32> {
    let kept = exact as f32;
    // A device may flush before it rounds: what would round up to the least normal number is then flushed, too.
    let tiny = exact.abs() < f64::from(f32::MIN_POSITIVE);
    let zero = (!keeps_subnormals && tiny).then(|| 0.0f32.copysign(kept));
    std::iter::once(kept).chain(zero)
}

/// An operand, in every form that a device may read it.
fn operand(value: f32, keeps_subnormals: bool) -> impl Iterator<Item = f32> + Clone {
    std::iter::once(value).chain((!keeps_subnormals).then(|| flushed(value)))
}

/// Returns whether `got` is `a · x + y`, where the product is rounded and then the sum.
pub(super) fn is_product_and_sum(a: f32, x: f32, y: f32, got: f32, keeps_subnormals: bool) -> bool {
    let keeps = keeps_subnormals;
    // The product of two f32 is exact in f64. Their sum is near enough to round to the same f32 and to compare with
    // the least normal number: double rounding of a sum is innocuous from 24 bits through 53.
    let products = operand(a, keeps).flat_map(|a| {
        operand(x, keeps).flat_map(move |x| rounded(f64::from(a) * f64::from(x), keeps).collect::<Vec<_>>())
    });
    products.flat_map(|product| operand(product, keeps).collect::<Vec<_>>()).any(|product| {
        operand(y, keeps)
            .any(|y| rounded(f64::from(product) + f64::from(y), keeps).any(|wanted| same(got, wanted)))
    })
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
            assert!(is_product_and_sum(1.0, TINY, 0.0, TINY, keeps));
            assert_eq!(is_product_and_sum(1.0, TINY, 0.0, 0.0, keeps), !keeps);
            assert!(!is_product_and_sum(1.0, TINY, TINY, TINY * 4.0, keeps));
            assert!(is_product_and_sum(-0.0, 1.0, -0.0, -0.0, keeps));
            assert!(!is_product_and_sum(-0.0, 1.0, 0.0, -0.0, keeps));
        }
    }
}
