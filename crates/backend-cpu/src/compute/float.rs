//! Float ops, for each float type.

use fulgurite_spec::Op;

use super::Compute;
use super::half::{BF16, F16};
use super::map::{Value, map1, map2, map3, wide1, wide2, wide3};

/// Defines the ops on a type `$v` around a native type `$t`, with conversions `$get` and `$make`.
macro_rules! float_ops {
    ($(#[$doc:meta])* $name:ident, $v:ty, $t:ident, $get:expr, $make:expr, $fma:expr, $map1:ident $map2:ident $map3:ident) => {
        $(#[$doc])*
        pub(super) fn $name(op: Op) -> Option<Compute> {
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
            Some(match op {
                Op::Add => two!(|x: $t, y: $t| x + y),
                Op::Sub => two!(|x: $t, y: $t| x - y),
                Op::Mul => two!(|x: $t, y: $t| x * y),
                Op::Div => two!(|x: $t, y: $t| x / y),
                Op::Neg => one!(|x: $t| -x),
                Op::Abs => one!($t::abs),
                Op::Sign => one!(eval::sign),
                Op::Min => two!(eval::min),
                Op::Max => two!(eval::max),
                Op::Clamp => |r, a| {
                    $map3(r, a, |x: $v, lo: $v, hi: $v| $make(eval::clamp($get(x), $get(lo), $get(hi))))
                },
                Op::Fma => |r, a| $map3(r, a, $fma),
                Op::Floor => one!($t::floor),
                Op::Ceil => one!($t::ceil),
                Op::Trunc => one!($t::trunc),
                Op::Round => one!($t::round_ties_even),
                Op::Fract => one!(eval::fract),
                Op::Sqrt => one!($t::sqrt),
                Op::Rsqrt => one!(eval::rsqrt),
                Op::Eq => compare!(==),
                Op::Ne => compare!(!=),
                Op::Lt => compare!(<),
                Op::Le => compare!(<=),
                Op::Gt => compare!(>),
                Op::Ge => compare!(>=),
                Op::IsNan => |r, a| $map1(r, a, |x: $v| $get(x).is_nan()),
                Op::IsInf => |r, a| $map1(r, a, |x: $v| $get(x).is_infinite()),
                // Ops that only types of at most 32 bits have.
                Op::Exp => one!($t::exp),
                Op::Exp2 => one!($t::exp2),
                Op::Log => one!($t::ln),
                Op::Log2 => one!($t::log2),
                Op::Sin => one!($t::sin),
                Op::Cos => one!($t::cos),
                Op::Tan => one!($t::tan),
                Op::Asin => one!($t::asin),
                Op::Acos => one!($t::acos),
                Op::Atan => one!($t::atan),
                Op::Sinh => one!($t::sinh),
                Op::Cosh => one!($t::cosh),
                Op::Tanh => one!($t::tanh),
                Op::Atan2 => two!($t::atan2),
                Op::Pow => two!(|x: $t, y: $t| if x < 0.0 || y.is_nan() { $t::NAN } else { x.abs().powf(y) }),
                _ => return None,
            })
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
