//! Whether a result is one that the op table allows.
//!
//! Any NaN stands for any NaN. Where a device does not keep subnormals, operands, results or both may have
//! been replaced by zeros of their sign, in each lane in its own way.

use fulgurite_spec::eval::{self, Components};
use fulgurite_spec::{FloatContract, Op, Operand, ScalarType, Semantics, Type};

/// What a device may do to subnormals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flush {
    operands: bool,
    results: Results,
}

/// What becomes of a subnormal result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Results {
    Kept,
    /// Flushed if it is subnormal once rounded.
    FlushedAfterRounding,
    /// Flushed if its magnitude is below the least normal number before it is rounded.
    FlushedBeforeRounding,
}

impl Flush {
    /// Every behavior that is allowed, given whether the device promises to keep subnormals.
    pub(crate) fn allowed(keeps_subnormals: bool) -> &'static [Flush] {
        const ALL: [Flush; 6] = [
            Flush { operands: false, results: Results::Kept },
            Flush { operands: true, results: Results::FlushedAfterRounding },
            Flush { operands: true, results: Results::FlushedBeforeRounding },
            Flush { operands: true, results: Results::Kept },
            Flush { operands: false, results: Results::FlushedAfterRounding },
            Flush { operands: false, results: Results::FlushedBeforeRounding },
        ];
        if keeps_subnormals { &ALL[..1] } else { &ALL }
    }

    fn operand(self, bits: u64) -> u64 {
        if self.operands { flushed(bits) } else { bits }
    }

    /// A rounded result, whose value before rounding is `exact` where that is known.
    fn result(self, rounded: u64, exact: Option<f64>) -> u64 {
        match self.results {
            Results::Kept => rounded,
            Results::FlushedBeforeRounding
                if exact.is_some_and(|e| e.abs() < f64::from(f32::MIN_POSITIVE)) =>
            {
                rounded & 0x8000_0000
            }
            Results::FlushedAfterRounding | Results::FlushedBeforeRounding => flushed(rounded),
        }
    }
}

/// The value of an arithmetic op before it is rounded. Products of two `f32` are exact in `f64`; sums are close
/// enough to tell on which side of the least normal number they lie.
fn exact(op: Op, args: &[u64]) -> Option<f64> {
    let arg = |i: usize| args.get(i).map(|bits| f64::from(f32::from_bits(*bits as u32)));
    Some(match op {
        Op::Add => arg(0)? + arg(1)?,
        Op::Sub => arg(0)? - arg(1)?,
        Op::Mul => arg(0)? * arg(1)?,
        Op::Fma => arg(0)? * arg(1)? + arg(2)?,
        _ => return None,
    })
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
            return Flush::allowed(keeps_subnormals).iter().any(|f| self.accepts_dot(actual[0], *f));
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
        let mut lanes = 0..self.main.lanes.count() as usize;
        let args_of = |lane: usize| -> Vec<u64> {
            let pick = |kind: &Operand| if *kind == Operand::U32 { 0 } else { lane };
            self.operands.iter().zip(kinds).map(|(v, kind)| v[pick(kind)]).collect()
        };
        // Lane by lane: SwiftShader flushes what goes through its `min`, but not what it selects beside a NaN.
        lanes.all(|lane| {
            let args = args_of(lane);
            Flush::allowed(keeps_subnormals).iter().any(|f| self.accepts_lane(&args, actual[lane], *f))
        })
    }

    fn accepts_lane(&self, args: &[u64], actual: u64, flush: Flush) -> bool {
        let Semantics::Scalar { operands: kinds, float, .. } = self.op.info().semantics else { return false };
        let args: Vec<u64> = args
            .iter()
            .zip(kinds)
            .map(|(bits, kind)| {
                let float = self.main.scalar.is_float() && *kind == Operand::Same;
                if float { flush.operand(*bits) } else { *bits }
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
        let exact = exact(self.op, &args);
        let same = |wanted: u64| flush.result(wanted, exact) == actual || (is_nan(wanted) && is_nan(actual));
        match float {
            FloatContract::Ulp { ulp, .. } => {
                same(expected) || self.within(&args, expected, actual, ulp, flush)
            }
            FloatContract::FusedOrUnfused => {
                let [a, b, c] = [0, 1, 2].map(|i| f32::from_bits(args[i] as u32));
                let whole = f64::from(a) * f64::from(b);
                let product = flush.result(u64::from((a * b).to_bits()), Some(whole));
                let sum = f32::from_bits(product as u32) + c;
                same(expected) || same(u64::from(sum.to_bits()))
            }
            FloatContract::ExactEitherZero => {
                // Of −0 and +0 either; not the other one where there is only one.
                let has = |bits: u64| args.iter().any(|a| flush.result(*a, None) == bits);
                let both = has(0) && has(0x8000_0000);
                same(expected) || (both && zero(flush.result(expected, None)) && zero(actual))
            }
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
        if self.op != Op::Div && zero(expected) && zero(actual) {
            // Roots of zeros: the table promises a zero, of either sign.
            return true;
        }
        if truth == 0.0 || truth.is_nan() || truth.is_infinite() || got.is_nan() {
            // Infinities of `rsqrt(±0)` may have either sign; all else was compared exactly.
            return self.op == Op::Rsqrt && truth.is_infinite() && got.is_infinite();
        }
        let exponent = truth.abs().log2().floor().max(-126.0);
        let unit = (exponent - 23.0).exp2();
        let room = f64::from(bound) * unit;
        if flush.results != Results::Kept && got == 0.0 {
            return truth.abs() - room < f64::from(f32::MIN_POSITIVE);
        }
        if got.is_infinite() {
            return truth.abs() + room >= f64::from(f32::MAX)
                && truth.is_sign_positive() == got.is_sign_positive();
        }
        (f64::from(got) - truth).abs() <= room
    }

    fn accepts_dot(&self, actual: u64, flush: Flush) -> bool {
        let lanes = self.main.lanes.count() as usize;
        let operand = |i: usize, lane: usize| flush.operand(self.operands[i][lane]);
        let step = |op: Op, a: u64, b: u64| {
            let args = [a, b];
            let rounded = eval::scalar(op, self.main.scalar, self.main.scalar, &args).unwrap_or_default();
            flush.result(rounded, exact(op, &args))
        };
        let product = |lane: usize| step(Op::Mul, operand(0, lane), operand(1, lane));
        let sum = (1..lanes)
            .fold(product(0), |sum, lane| step(Op::Add, flush.operand(sum), flush.operand(product(lane))));
        sum == actual || (is_nan(sum) && is_nan(actual))
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
        // Just below the least normal number, and rounded up to it: it may be flushed before it is rounded.
        let below = [0.999_999_94, f32::MIN_POSITIVE];
        assert!(accepts(Op::Mul, &below, f32::MIN_POSITIVE, false) && accepts(Op::Mul, &below, 0.0, false));
        assert!(
            !accepts(Op::Mul, &below, 0.0, true) && !accepts(Op::Mul, &[1.0, f32::MIN_POSITIVE], 0.0, false)
        );
    }

    #[test]
    fn special_values() {
        assert!(accepts(Op::Min, &[0.0, -0.0], 0.0, true) && accepts(Op::Min, &[0.0, -0.0], -0.0, true));
        assert!(!accepts(Op::Max, &[0.0, 0.0], -0.0, true) && !accepts(Op::Min, &[1.0, 0.0], -0.0, true));
        assert!(!accepts(Op::Min, &[f32::NAN, 1.0], f32::NAN, true));
        assert!(accepts(Op::Div, &[1.0, 0.0], f32::INFINITY, true));
        assert!(!accepts(Op::Div, &[1.0, 0.0], f32::NEG_INFINITY, true));
        assert!(accepts(Op::Fma, &[1.000_000_1, 1.000_000_1, -1.0], 1.000_000_1 * 1.000_000_1 - 1.0, true));
        let operands = [[u64::from(1f32.to_bits()), 0, 0, 0], [u64::from(1e38f32.to_bits()), 0, 0, 0]];
        assert!(!Case { op: Op::Div, main: Type::F32, result: Type::F32, operands: &operands }.is_decided());
    }
}
