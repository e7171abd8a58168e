//! Whether a result is one that the op table allows.
//!
//! Any NaN stands for any NaN. Where a device does not keep subnormals, operands, results or both may have
//! been replaced by zeros of their sign, in every step alike.

use fulgurite_spec::eval::{self, Components};
use fulgurite_spec::{FloatContract, Op, ScalarType, Semantics, Type};

/// What a device may do to subnormals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flush {
    operands: bool,
    results: bool,
}

impl Flush {
    /// Every behavior that is allowed, given whether the device promises to keep subnormals.
    pub(crate) fn allowed(keeps_subnormals: bool) -> &'static [Flush] {
        const ALL: [Flush; 4] = [
            Flush { operands: false, results: false },
            Flush { operands: true, results: true },
            Flush { operands: true, results: false },
            Flush { operands: false, results: true },
        ];
        if keeps_subnormals { &ALL[..1] } else { &ALL }
    }
}

/// One application of an op.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case<'a> {
    pub(crate) op: Op,
    pub(crate) main: Type,
    pub(crate) result: Type,
    pub(crate) operands: &'a [Components],
}

impl Case<'_> {
    /// Whether the op table says anything of the result: `div` by a number outside its range is not a case.
    pub(crate) fn is_decided(&self) -> bool {
        let Semantics::Scalar { float: FloatContract::Ulp { divisor: Some((least, most)), .. }, .. } =
            self.op.info().semantics
        else {
            return true;
        };
        let lanes = self.main.lanes.count() as usize;
        !self.main.scalar.is_float()
            || self.operands[1][..lanes].iter().all(|bits| {
                let magnitude = f32::from_bits(*bits as u32).abs();
                (least..=most).contains(&magnitude) || magnitude == 0.0 || !magnitude.is_finite()
            })
    }

    /// The oracle's result.
    pub(crate) fn expected(&self) -> Option<Components> {
        eval::eval(self.op, self.main, self.result, self.operands)
    }

    /// Whether `actual` is a result that the contract allows.
    pub(crate) fn accepts(&self, actual: &Components, keeps_subnormals: bool) -> bool {
        if self.op == Op::Dot && self.main.scalar.is_float() {
            return Flush::allowed(keeps_subnormals).iter().any(|f| self.accepts_dot(actual[0] as u32, *f));
        }
        if matches!(self.op, Op::Extract | Op::Insert | Op::Construct | Op::Dot) {
            let Some(expected) = self.expected() else { return false };
            return (0..self.result.lanes.count() as usize)
                .all(|i| moved(self.result.scalar, expected[i], actual[i], keeps_subnormals));
        }
        let kinds = match self.op.info().semantics {
            Semantics::Scalar { operands, .. } => operands,
            Semantics::Special(_) => return false,
        };
        (0..self.main.lanes.count() as usize).all(|lane| {
            let args: Vec<u64> = self
                .operands
                .iter()
                .zip(kinds)
                .map(|(v, kind)| v[if *kind == fulgurite_spec::Operand::U32 { 0 } else { lane }])
                .collect();
            Flush::allowed(keeps_subnormals).iter().any(|f| self.accepts_lane(&args, actual[lane], *f))
        })
    }

    fn accepts_lane(&self, args: &[u64], actual: u64, flush: Flush) -> bool {
        let Semantics::Scalar { operands: kinds, float, .. } = self.op.info().semantics else { return false };
        let args: Vec<u64> = args
            .iter()
            .zip(kinds)
            .map(|(bits, kind)| {
                let float = self.main.scalar.is_float() && *kind == fulgurite_spec::Operand::Same;
                if float && flush.operands { flushed(*bits) } else { *bits }
            })
            .collect();
        let Some(expected) = eval::scalar(self.op, self.main.scalar, self.result.scalar, &args) else {
            return false;
        };
        if self.op == Op::Bitcast && self.main.scalar.is_float() && is_nan(args[0]) {
            // A NaN's bits are any NaN's bits.
            return is_nan(actual);
        }
        if !self.result.scalar.is_float() {
            return expected == actual;
        }
        let after = |bits: u64| if flush.results { flushed(bits) } else { bits };
        let same = |wanted: u64| after(wanted) == actual || (is_nan(wanted) && is_nan(actual));
        match float {
            FloatContract::Ulp { ulp, .. } => {
                same(expected) || self.within(&args, expected, actual, ulp, flush)
            }
            FloatContract::FusedOrUnfused => {
                let [a, b, c] = [0, 1, 2].map(|i| f32::from_bits(args[i] as u32));
                let product = f32::from_bits(after(u64::from((a * b).to_bits())) as u32);
                same(expected) || same(u64::from((product + c).to_bits()))
            }
            FloatContract::ExactEitherZero => same(expected) || (zero(after(expected)) && zero(actual)),
            FloatContract::Exact | FloatContract::Rounded | FloatContract::RoundedDot => same(expected),
        }
    }

    /// Whether `actual` lies within `bound` units in the last place of the true value.
    fn within(&self, args: &[u64], expected: u64, actual: u64, bound: f32, flush: Flush) -> bool {
        let arg = |i: usize| f64::from(f32::from_bits(args[i] as u32));
        // In f64 these are within 2^-52 of the truth, 2^-29 of an f32 unit: far below any bound's last digit.
        let truth = match self.op {
            Op::Div => arg(0) / arg(1),
            Op::Sqrt => arg(0).sqrt(),
            Op::Rsqrt => 1.0 / arg(0).sqrt(),
            _ => return false,
        };
        let got = f32::from_bits(actual as u32);
        if zero(expected) && zero(actual) {
            // Roots of zeros, quotients of zeros: the table promises a zero, of either sign.
            return true;
        }
        if truth == 0.0 || truth.is_nan() || truth.is_infinite() || got.is_nan() {
            // Infinities of `rsqrt(±0)` may have either sign; all else was compared exactly.
            return self.op == Op::Rsqrt && truth.is_infinite() && got.is_infinite();
        }
        let exponent = truth.abs().log2().floor().max(-126.0);
        let unit = (exponent - 23.0).exp2();
        let room = f64::from(bound) * unit;
        if flush.results && got == 0.0 {
            return truth.abs() - room < f64::from(f32::MIN_POSITIVE);
        }
        if got.is_infinite() {
            return truth.abs() + room >= f64::from(f32::MAX)
                && truth.is_sign_positive() == got.is_sign_positive();
        }
        (f64::from(got) - truth).abs() <= room
    }

    fn accepts_dot(&self, actual: u32, flush: Flush) -> bool {
        let lanes = self.main.lanes.count() as usize;
        let operand = |i: usize, lane: usize| {
            let bits = self.operands[i][lane];
            f32::from_bits(if flush.operands { flushed(bits) } else { bits } as u32)
        };
        let after = |v: f32| {
            let bits = u64::from(v.to_bits());
            f32::from_bits(if flush.results { flushed(bits) } else { bits } as u32)
        };
        let into = |v: f32| {
            let bits = u64::from(v.to_bits());
            f32::from_bits(if flush.operands { flushed(bits) } else { bits } as u32)
        };
        let product = |lane: usize| after(operand(0, lane) * operand(1, lane));
        let sum = (1..lanes).fold(product(0), |sum, lane| after(into(sum) + into(product(lane))));
        sum.to_bits() == actual || (sum.is_nan() && f32::from_bits(actual).is_nan())
    }
}

/// Whether `actual` is `expected`, carried unchanged; a NaN may become another, a subnormal its zero.
pub(crate) fn moved(ty: ScalarType, expected: u64, actual: u64, keeps_subnormals: bool) -> bool {
    expected == actual
        || (ty.is_float()
            && ((is_nan(expected) && is_nan(actual)) || (!keeps_subnormals && flushed(expected) == actual)))
}

fn is_nan(bits: u64) -> bool {
    f32::from_bits(bits as u32).is_nan()
}

fn zero(bits: u64) -> bool {
    f32::from_bits(bits as u32) == 0.0
}

/// A subnormal's zero; other values as they are.
fn flushed(bits: u64) -> u64 {
    if f32::from_bits(bits as u32).is_subnormal() { bits & 0x8000_0000 } else { bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(op: Op, args: &[f32], actual: f32, keeps: bool) -> bool {
        let operands: Vec<Components> = args.iter().map(|v| [u64::from(v.to_bits()), 0, 0, 0]).collect();
        let case = Case { op, main: Type::F32, result: Type::F32, operands: &operands };
        case.accepts(&[u64::from(actual.to_bits()), 0, 0, 0], keeps)
    }

    fn nudge(v: f32, by: i32) -> f32 {
        f32::from_bits(v.to_bits().wrapping_add_signed(by))
    }

    #[test]
    fn rounded_ops_accept_one_value_only() {
        assert!(accepts(Op::Add, &[0.1, 0.2], 0.1 + 0.2, true));
        assert!(!accepts(Op::Add, &[0.1, 0.2], nudge(0.1 + 0.2, 1), true));
        assert!(!accepts(Op::Sub, &[1.0, 1.0], -0.0, false));
    }

    #[test]
    fn bounds_are_kept_and_not_exceeded() {
        assert!(accepts(Op::Div, &[1.0, 3.0], nudge(1.0 / 3.0, 2), true));
        assert!(!accepts(Op::Div, &[1.0, 3.0], nudge(1.0 / 3.0, 4), true));
        assert!(accepts(Op::Rsqrt, &[2.0], nudge(std::f32::consts::FRAC_1_SQRT_2, -1), true));
        assert!(!accepts(Op::Rsqrt, &[2.0], nudge(std::f32::consts::FRAC_1_SQRT_2, 4), true));
        assert!(!accepts(Op::Sqrt, &[4.0], f32::NAN, true));
    }

    #[test]
    fn flushing_is_accepted_only_where_it_is_allowed() {
        let tiny = f32::from_bits(3);
        assert!(accepts(Op::Add, &[tiny, 0.0], tiny, false));
        assert!(accepts(Op::Add, &[tiny, 0.0], 0.0, false));
        assert!(!accepts(Op::Add, &[tiny, 0.0], 0.0, true));
        assert!(!accepts(Op::Add, &[tiny, 0.0], f32::from_bits(4), false));
    }

    #[test]
    fn special_values() {
        assert!(accepts(Op::Min, &[0.0, -0.0], 0.0, true) && accepts(Op::Min, &[0.0, -0.0], -0.0, true));
        assert!(!accepts(Op::Min, &[f32::NAN, 1.0], f32::NAN, true));
        assert!(accepts(Op::Div, &[1.0, 0.0], f32::INFINITY, true));
        assert!(!accepts(Op::Div, &[1.0, 0.0], f32::NEG_INFINITY, true));
        assert!(accepts(Op::Fma, &[1.000_000_1, 1.000_000_1, -1.0], 1.000_000_1 * 1.000_000_1 - 1.0, true));
        let operands = [[u64::from(1f32.to_bits()), 0, 0, 0], [u64::from(1e38f32.to_bits()), 0, 0, 0]];
        assert!(!Case { op: Op::Div, main: Type::F32, result: Type::F32, operands: &operands }.is_decided());
    }
}
