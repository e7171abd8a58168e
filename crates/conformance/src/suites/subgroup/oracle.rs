//! Expected results of reductions and scans, computed from the values that they combine.

use fulgurite_ir::Combine;
use fulgurite_spec::eval;
use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::{Literal, ScalarType};

/// Expected result.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expected {
    /// Exactly these bits. Any NaN matches a NaN, and a zero matches the zeros in `zeros`.
    Exact { bits: u64, zeros: Vec<u64> },
    /// A float at most `room` away from `value`.
    Near { value: f64, room: f64 },
}

/// Combines the values. Float results that depend on the order have a tolerance of n·ε·Σ|x|, for products n·ε·∏|x|.
pub(super) fn combined(combine: Combine, ty: ScalarType, values: &[u64], is_exact: bool) -> Expected {
    let fold = |a: u64, b: u64| eval::scalar(combine.op(), ty, ty, &[a, b]).unwrap_or_default();
    let Some((first, rest)) = values.split_first() else {
        let identity = combine.identity(ty);
        return Expected::Exact { bits: identity, zeros: zeros(ty, &[identity], combine) };
    };
    let Some(format) = FloatFormat::of(ty).filter(|_| !is_exact) else {
        let bits = rest.iter().fold(*first, |all, v| fold(all, *v));
        return Expected::Exact { bits, zeros: zeros(ty, values, combine) };
    };
    let decoded = values.iter().map(|bits| format.decode(*bits));
    let (value, size) = match combine {
        Combine::Mul => (decoded.clone().product::<f64>(), decoded.map(f64::abs).product::<f64>()),
        _ => (decoded.clone().sum::<f64>(), decoded.map(f64::abs).sum::<f64>()),
    };
    let epsilon = f64::from(1 - format.precision as i32).exp2();
    Expected::Near { value, room: values.len() as f64 * epsilon * size }
}

/// Returns the zeros that match a zero result: both for sums and products, those among the values for minimum and
/// maximum.
fn zeros(ty: ScalarType, values: &[u64], combine: Combine) -> Vec<u64> {
    let Some(format) = FloatFormat::of(ty) else { return Vec::new() };
    match combine {
        Combine::Min | Combine::Max => values.iter().copied().filter(|v| format.is_zero(*v)).collect(),
        _ => vec![0, format.sign_bit()],
    }
}

impl Expected {
    pub(super) fn accepts(&self, ty: ScalarType, actual: u64) -> bool {
        let Some(format) = FloatFormat::of(ty) else {
            return matches!(self, Self::Exact { bits, .. } if *bits == actual);
        };
        match self {
            Self::Exact { bits, zeros } => {
                *bits == actual
                    || (format.is_nan(*bits) && format.is_nan(actual))
                    || (format.is_zero(*bits) && zeros.contains(&actual))
            }
            // The distance of a NaN is a NaN, which is not within any tolerance.
            Self::Near { value, room } => (format.decode(actual) - value).abs() <= *room,
        }
    }

    pub(super) fn show(&self, ty: ScalarType) -> String {
        match self {
            Self::Exact { bits, .. } => Literal::new(ty, *bits).to_string(),
            Self::Near { value, room } => format!("{value:e} ± {room:e}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f32s(values: &[f32]) -> Vec<u64> {
        values.iter().map(|v| u64::from(v.to_bits())).collect()
    }

    #[test]
    fn integers_wrap_and_nothing_combines_to_the_identity() {
        let sum = combined(Combine::Add, ScalarType::U8, &[200, 100, 1], true);
        assert!(sum.accepts(ScalarType::U8, 45) && !sum.accepts(ScalarType::U8, 44));
        let least = combined(Combine::Min, ScalarType::I16, &[], true);
        assert!(least.accepts(ScalarType::I16, 0x7fff));
        assert!(combined(Combine::Mul, ScalarType::F16, &[], false).accepts(ScalarType::F16, 0x3c00));
    }

    #[test]
    fn nans_are_passed_over_unless_there_is_nothing_else() {
        let ty = ScalarType::F32;
        let one = u64::from(1f32.to_bits());
        let least = combined(Combine::Min, ty, &f32s(&[f32::NAN, 1.0, f32::NAN]), true);
        assert!(least.accepts(ty, one) && !least.accepts(ty, u64::from(f32::NAN.to_bits())));
        let none = combined(Combine::Max, ty, &f32s(&[f32::NAN, f32::NAN]), true);
        assert!(none.accepts(ty, u64::from(f32::NAN.to_bits())) && !none.accepts(ty, one));
    }

    #[test]
    fn zeros_and_bounds() {
        let ty = ScalarType::F32;
        let zero = combined(Combine::Min, ty, &f32s(&[0.0, 1.0]), true);
        assert!(zero.accepts(ty, 0) && !zero.accepts(ty, 1 << 31));
        let sum = combined(Combine::Add, ty, &f32s(&[1.0, 1e8, -1e8]), false);
        assert!(sum.accepts(ty, 0) && sum.accepts(ty, u64::from(8f32.to_bits())));
        assert!(
            !sum.accepts(ty, u64::from(200f32.to_bits())) && !sum.accepts(ty, u64::from(f32::NAN.to_bits()))
        );
    }
}
