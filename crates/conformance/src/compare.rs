//! Checks results against the op table, and measures their distance from the true value.
//!
//! Any NaN matches any NaN. On a device that does not keep subnormals, operands, results or both may be flushed to
//! zeros of their sign, independently in each lane.

use fulgurite_spec::accuracy::{self, Tolerance};
use fulgurite_spec::eval::float::{self, FloatFormat};
use fulgurite_spec::eval::{self, Components};
use fulgurite_spec::{FloatContract, Op, Operand, ScalarType, Semantics, Type, TypeSet};

/// One way in which a device may treat subnormals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flush {
    operands: bool,
    results: Results,
}

/// Treatment of a subnormal result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Results {
    Kept,
    /// Flushed if it is subnormal after rounding.
    FlushedAfterRounding,
    /// Flushed if its magnitude before rounding is below the smallest normal number.
    FlushedBeforeRounding,
}

impl Flush {
    fn operand(self, ty: ScalarType, bits: u64) -> u64 {
        if self.operands { flushed(ty, bits) } else { bits }
    }

    /// Returns a rounded result of type `ty`. `exact` is its value before rounding, if known.
    fn result(self, ty: ScalarType, rounded: u64, exact: Option<f64>) -> u64 {
        let Some(format) = FloatFormat::of(ty) else { return rounded };
        match self.results {
            Results::Kept => rounded,
            Results::FlushedBeforeRounding if exact.is_some_and(|e| e.abs() < format.min_normal()) => {
                rounded & format.sign_bit()
            }
            Results::FlushedAfterRounding | Results::FlushedBeforeRounding => flushed(ty, rounded),
        }
    }
}

/// Returns the value of an arithmetic op before rounding. Products are exact in `f64` for narrower types; sums are
/// close enough to decide on which side of the smallest normal number they lie.
fn exact(op: Op, ty: ScalarType, args: &[u64]) -> Option<f64> {
    let format = FloatFormat::of(ty)?;
    let arg = |i: usize| args.get(i).map(|bits| format.decode(*bits));
    Some(match op {
        Op::Add => arg(0)? + arg(1)?,
        Op::Sub => arg(0)? - arg(1)?,
        Op::Mul => arg(0)? * arg(1)?,
        Op::Fma => arg(0)? * arg(1)? + arg(2)?,
        Op::Convert => arg(0)?,
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
    /// Types whose subnormals the device guarantees to keep.
    pub(crate) kept: TypeSet,
}

/// Judgment of a result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// Whether the contract allows the result.
    pub(crate) accepted: bool,
    /// The error of an approximate result within its domain.
    pub(crate) error: Option<Error>,
}

/// The distance of a result from the true value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Error {
    /// In units in the last place of the true value.
    pub(crate) ulp: f64,
    /// Relative to the tolerance.
    pub(crate) share: f64,
}

impl Error {
    /// Returns the componentwise maximum of both.
    pub(crate) fn worst(self, other: Self) -> Self {
        Self { ulp: self.ulp.max(other.ulp), share: self.share.max(other.share) }
    }
}

const ACCEPTED: Verdict = Verdict { accepted: true, error: None };
const REFUSED: Verdict = Verdict { accepted: false, error: None };

impl From<bool> for Verdict {
    fn from(accepted: bool) -> Self {
        if accepted { ACCEPTED } else { REFUSED }
    }
}

impl Case<'_> {
    /// Returns whether the op table defines the result. For example, `div` by a number outside its range is not a case.
    pub(crate) fn is_decided(&self) -> bool {
        let Semantics::Scalar { float: FloatContract::Approximate, .. } = self.op.info().semantics else {
            return true;
        };
        let Some(format) = FloatFormat::of(self.main.scalar) else { return true };
        (0..self.main.lanes.count() as usize).all(|lane| {
            let args: Vec<f64> = self.operands.iter().map(|v| format.decode(v[lane])).collect();
            let truth = float::truth(self.op, &args).unwrap_or(f64::NAN);
            accuracy::tolerance(self.op, self.main.scalar, &args, truth) != Tolerance::ANY
        })
    }

    /// Returns the oracle's result.
    pub(crate) fn expected(&self) -> Option<Components> {
        eval::eval(self.op, self.main, self.result, self.operands)
    }

    /// Returns every allowed treatment of subnormals.
    fn flushes(&self) -> impl Iterator<Item = Flush> {
        let operands: &[bool] = if self.keeps(self.main.scalar) { &[false] } else { &[false, true] };
        let results: &[Results] = if self.keeps(self.result.scalar) {
            &[Results::Kept]
        } else {
            &[Results::Kept, Results::FlushedAfterRounding, Results::FlushedBeforeRounding]
        };
        operands.iter().flat_map(move |o| results.iter().map(move |r| Flush { operands: *o, results: *r }))
    }

    fn keeps(&self, ty: ScalarType) -> bool {
        !ty.is_float() || self.kept.contains(ty)
    }

    /// Judges `actual` by the contract of the op.
    pub(crate) fn judge(&self, actual: &Components) -> Verdict {
        if self.op == Op::Dot && self.main.scalar.is_float() {
            return self.flushes().any(|f| self.accepts_dot(actual[0], f)).into();
        }
        if matches!(self.op, Op::Extract | Op::Insert | Op::Construct | Op::Dot | Op::Pack | Op::Unpack) {
            let Some(expected) = self.expected() else { return REFUSED };
            let ty = self.result.scalar;
            // Packed components are moved, so they may be flushed or become another NaN.
            let packed = self.op == Op::Pack && self.main.scalar.is_float();
            let same =
                |i: usize| moved(ty, expected[i], actual[i], self.kept) || (packed && self.packed(actual[0]));
            return (0..self.result.lanes.count() as usize).all(same).into();
        }
        let Semantics::Scalar { operands: kinds, .. } = self.op.info().semantics else { return REFUSED };
        let mut verdict = ACCEPTED;
        // Each lane is judged separately: SwiftShader flushes operands of its `min`, but not a value that it selects
        // because the other operand is a NaN.
        for (lane, actual) in actual.iter().enumerate().take(self.main.lanes.count() as usize) {
            let pick = |kind: &Operand| if *kind == Operand::U32 { 0 } else { lane };
            let args: Vec<u64> = self.operands.iter().zip(kinds).map(|(v, kind)| v[pick(kind)]).collect();
            let mut judged = self.flushes().map(|f| self.judge_lane(&args, *actual, f));
            let Some(best) = judged.find(|v| v.accepted) else { return REFUSED };
            verdict.error = match (verdict.error, best.error) {
                (Some(a), Some(b)) => Some(a.worst(b)),
                (a, b) => a.or(b),
            };
        }
        verdict
    }

    /// Returns whether each component in `word` is a possible result of packing.
    fn packed(&self, word: u64) -> bool {
        let ty = self.main.scalar;
        (0..self.main.lanes.count()).all(|lane| {
            let actual = word >> (lane * ty.bits()) & ty.mask();
            moved(ty, self.operands[0][lane as usize], actual, self.kept)
        })
    }

    fn judge_lane(&self, args: &[u64], actual: u64, flush: Flush) -> Verdict {
        let Semantics::Scalar { operands: kinds, float, .. } = self.op.info().semantics else {
            return REFUSED;
        };
        let (main, result) = (self.main.scalar, self.result.scalar);
        let args: Vec<u64> = args
            .iter()
            .zip(kinds)
            .map(|(bits, kind)| if *kind == Operand::Same { flush.operand(main, *bits) } else { *bits })
            .collect();
        let Some(expected) = eval::scalar(self.op, main, result, &args) else { return REFUSED };
        if self.op == Op::Bitcast && is_nan(main, args[0]) {
            // Any NaN may stand for any NaN.
            return is_nan(main, actual).into();
        }
        let Some(format) = FloatFormat::of(result) else { return (expected == actual).into() };
        let exact = exact(self.op, main, &args);
        let same = |wanted: u64| {
            flush.result(result, wanted, exact) == actual || (format.is_nan(wanted) && format.is_nan(actual))
        };
        match float {
            FloatContract::Approximate => self.judge_near(&args, expected, actual, flush),
            FloatContract::FusedOrUnfused => {
                let step = |op: Op, args: &[u64]| {
                    let rounded = eval::scalar(op, result, result, args).unwrap_or_default();
                    (rounded, self::exact(op, result, args))
                };
                // An unfused product is a result and may be flushed; a product that is fused into the sum is not.
                let (product, whole) = step(Op::Mul, &args[..2]);
                let product = flush.result(result, product, whole);
                let (sum, _) = step(Op::Add, &[product, args[2]]);
                (same(expected) || same(sum)).into()
            }
            FloatContract::ExactEitherZero => {
                // If both −0 and +0 are operands, either is allowed; otherwise only the one that occurs.
                let has = |bits: u64| args.iter().any(|a| flush.result(main, *a, None) == bits);
                let both = has(0) && has(format.sign_bit());
                let zeros = format.is_zero(flush.result(main, expected, None)) && format.is_zero(actual);
                (same(expected) || (both && zeros)).into()
            }
            FloatContract::Exact | FloatContract::Rounded | FloatContract::RoundedDot => {
                same(expected).into()
            }
        }
    }

    /// Judges whether `actual` lies within the op's tolerance of the true value. The `f64` truth is accurate to within
    /// a few 2^-52, which is negligible next to every bound; a result that cannot be decided is rejected.
    fn judge_near(&self, args: &[u64], expected: u64, actual: u64, flush: Flush) -> Verdict {
        let ty = self.main.scalar;
        let Some(format) = FloatFormat::of(ty) else { return (expected == actual).into() };
        let values: Vec<f64> = args.iter().map(|bits| format.decode(*bits)).collect();
        let Some(truth) = float::truth(self.op, &values) else { return REFUSED };
        let got = format.decode(actual);
        let (ulp, absolute) = match accuracy::tolerance(self.op, ty, &values, truth) {
            Tolerance::Any { least, most } => {
                return (got.is_nan() || (least..=most).contains(&got)).into();
            }
            Tolerance::Within { ulp, absolute } => (ulp, absolute),
        };
        if truth.is_nan() || got.is_nan() {
            return (truth.is_nan() && got.is_nan()).into();
        }
        if truth.is_infinite() {
            // The sign of an infinity that results from a zero is not specified.
            let either = self.op == Op::Rsqrt;
            return (got == truth || (either && got.is_infinite())).into();
        }
        let unit = accuracy::unit(ty, truth);
        let room = (ulp * unit).max(absolute);
        if flush.results != Results::Kept && got == 0.0 {
            return (truth.abs() - room < format.min_normal()).into();
        }
        if got.is_infinite() {
            let beyond = truth.abs() + room >= format.decode(format.infinity() - 1);
            return (beyond && truth.is_sign_positive() == got.is_sign_positive()).into();
        }
        let error = (got - truth).abs();
        // A correctly rounded result is accepted under any bound.
        let accepted = error <= room || actual == expected;
        let share = if error == 0.0 { 0.0 } else { error / room.max(unit / 2.0) };
        Verdict { accepted, error: Some(Error { ulp: error / unit, share }) }
    }

    fn accepts_dot(&self, actual: u64, flush: Flush) -> bool {
        let ty = self.main.scalar;
        let lanes = self.main.lanes.count() as usize;
        let operand = |i: usize, lane: usize| flush.operand(ty, self.operands[i][lane]);
        let step = |op: Op, a: u64, b: u64| {
            let args = [a, b];
            let rounded = eval::scalar(op, ty, ty, &args).unwrap_or_default();
            flush.result(ty, rounded, exact(op, ty, &args))
        };
        let product = |lane: usize| step(Op::Mul, operand(0, lane), operand(1, lane));
        let sum = (1..lanes).fold(product(0), |sum, lane| {
            step(Op::Add, flush.operand(ty, sum), flush.operand(ty, product(lane)))
        });
        sum == actual || (is_nan(ty, sum) && is_nan(ty, actual))
    }
}

/// Returns whether `actual` is `expected` after a move without arithmetic: a NaN may become another NaN, and a
/// subnormal a zero if its type is not in `kept`.
pub(crate) fn moved(ty: ScalarType, expected: u64, actual: u64, kept: TypeSet) -> bool {
    expected == actual
        || (is_nan(ty, expected) && is_nan(ty, actual))
        || (!kept.contains(ty) && flushed(ty, expected) == actual)
}

fn is_nan(ty: ScalarType, bits: u64) -> bool {
    FloatFormat::of(ty).is_some_and(|format| format.is_nan(bits))
}

/// Returns the zero of its sign for a subnormal, and other values unchanged.
fn flushed(ty: ScalarType, bits: u64) -> u64 {
    match FloatFormat::of(ty) {
        Some(format) if format.is_subnormal(bits) => bits & format.sign_bit(),
        _ => bits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(op: Op, args: &[f32], actual: f32, keeps: bool) -> bool {
        let operands: Vec<Components> = args.iter().map(|v| [u64::from(v.to_bits()), 0, 0, 0]).collect();
        let kept = if keeps { TypeSet::FLOAT } else { TypeSet::EMPTY };
        let case = Case { op, main: Type::F32, result: Type::F32, operands: &operands, kept };
        case.judge(&[u64::from(actual.to_bits()), 0, 0, 0]).accepted
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
        // A product just below the smallest normal number that rounds up to it: it may be flushed before rounding.
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
        assert!(
            !Case {
                op: Op::Div,
                main: Type::F32,
                result: Type::F32,
                operands: &operands,
                kept: TypeSet::EMPTY
            }
            .is_decided()
        );
    }
}
