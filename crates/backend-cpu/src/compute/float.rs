//! Float ops, for each float type.

use fulgurite_spec::{CompareOp, FloatOp, TranscendentalOp};

use super::Compute;
use super::half::{BF16, F16};
use super::map::{Value, map1, map2, map3, wide1, wide2, wide3};

/// Defines the ops on a type `$v` around a native type `$t`, with conversions `$get` and `$make`.
macro_rules! float_ops {
    ($(#[$doc:meta])* $name:ident, $v:ty, $t:ident, $get:expr, $make:expr, $fma:expr, $map1:ident $map2:ident $map3:ident) => {
        $(#[$doc])*
        pub(super) fn $name(op: FloatOp) -> Compute {
            use fulgurite_spec::eval::float::native::$t as eval;

            macro_rules! one {
                ($f:expr) => {
                    |r, a| $map1(r, a, |x: $v| $make($f($get(x))))
                };
            }
            macro_rules! two {
                ($f:expr) => {
                    |r, a| $map2(r, a, |x: $v, y: $v| $make($f($get(x), $get(y))))
                };
            }
            macro_rules! compare {
                ($operator:tt) => { |r, a| $map2(r, a, |x: $v, y: $v| $get(x) $operator $get(y)) };
            }
            match op {
                FloatOp::Add => two!(|x: $t, y: $t| x + y),
                FloatOp::Sub => two!(|x: $t, y: $t| x - y),
                FloatOp::Mul => two!(|x: $t, y: $t| x * y),
                FloatOp::Div => two!(|x: $t, y: $t| x / y),
                FloatOp::Neg => one!(|x: $t| -x),
                FloatOp::Abs => one!($t::abs),
                FloatOp::Sign => one!(eval::sign),
                FloatOp::Min => two!(eval::min),
                FloatOp::Max => two!(eval::max),
                FloatOp::Clamp => |r, a| {
                    $map3(r, a, |x: $v, lo: $v, hi: $v| $make(eval::clamp($get(x), $get(lo), $get(hi))))
                },
                FloatOp::Fma => |r, a| $map3(r, a, $fma),
                FloatOp::Floor => one!($t::floor),
                FloatOp::Ceil => one!($t::ceil),
                FloatOp::Trunc => one!($t::trunc),
                FloatOp::Round => one!($t::round_ties_even),
                FloatOp::Fract => one!(eval::fract),
                FloatOp::Sqrt => one!($t::sqrt),
                FloatOp::Rsqrt => one!(eval::rsqrt),
                FloatOp::Compare(CompareOp::Eq) => compare!(==),
                FloatOp::Compare(CompareOp::Ne) => compare!(!=),
                FloatOp::Compare(CompareOp::Lt) => compare!(<),
                FloatOp::Compare(CompareOp::Le) => compare!(<=),
                FloatOp::Compare(CompareOp::Gt) => compare!(>),
                FloatOp::Compare(CompareOp::Ge) => compare!(>=),
                FloatOp::IsNan => |r, a| $map1(r, a, |x: $v| $get(x).is_nan()),
                FloatOp::IsInf => |r, a| $map1(r, a, |x: $v| $get(x).is_infinite()),
                // Ops that only types of at most 32 bits have.
                FloatOp::Transcendental(op) => match op {
                    TranscendentalOp::Exp => one!($t::exp),
                    TranscendentalOp::Exp2 => one!($t::exp2),
                    TranscendentalOp::Log => one!($t::ln),
                    TranscendentalOp::Log2 => one!($t::log2),
                    TranscendentalOp::Sin => one!($t::sin),
                    TranscendentalOp::Cos => one!($t::cos),
                    TranscendentalOp::Tan => one!($t::tan),
                    TranscendentalOp::Asin => one!($t::asin),
                    TranscendentalOp::Acos => one!($t::acos),
                    TranscendentalOp::Atan => one!($t::atan),
                    TranscendentalOp::Sinh => one!($t::sinh),
                    TranscendentalOp::Cosh => one!($t::cosh),
                    TranscendentalOp::Tanh => one!($t::tanh),
                    TranscendentalOp::Atan2 => two!($t::atan2),
                    TranscendentalOp::Pow => two!(|x: $t, y: $t| if x < 0.0 || y.is_nan() { $t::NAN } else { x.abs().powf(y) }),
                },
            }
        }
    };
}

/// `a × b + c`: fused if the target has an instruction for it, because it is slow otherwise. The op allows both.
macro_rules! fma {
    ($t:ident) => {
        |a: $t, b: $t, c: $t| if cfg!(target_feature = "fma") { a.mul_add(b, c) } else { a * b + c }
    };
}

float_ops!(
    /// Returns the function for an op on `f32`.
    single, f32, f32, |x: f32| x, |x: f32| x, fma!(f32), map1 map2 map3
);
float_ops!(
    /// Returns the function for an op on `f64`.
    double, f64, f64, |x: f64| x, |x: f64| x, fma!(f64), wide1 wide2 wide3
);
float_ops!(
    /// Returns the function for an op on `f16`.
    half, F16, f32, |x: F16| x.0, F16, |a: F16, b: F16, c: F16| F16(F16(a.0 * b.0).rounded().0 + c.0), map1 map2 map3
);
float_ops!(
    /// Returns the function for an op on `bf16`.
    brain, BF16, f32, |x: BF16| x.0, BF16, |a: BF16, b: BF16, c: BF16| BF16(a.0 * b.0 + c.0), map1 map2 map3
);
