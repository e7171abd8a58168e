//! Typed values and their operators.

use std::marker::PhantomData;
use std::ops;
use std::panic::Location as RustLocation;

use fulgurite_spec::Op;

use super::Builder;
use super::types::{Float, Integer, Logical, Number, Scalar, Transcendental, ValueType, Vector};
use crate::kernel::ValueId;

/// A value of type `T` in a kernel under construction.
///
/// `PartialEq` is not implemented, because comparing two values in Rust would not compare their contents at run time.
/// [`eq`](Val::eq), [`lt`](Val::lt) and similar methods compare in the kernel.
pub struct Val<'k, T> {
    builder: &'k Builder,
    id: ValueId,
    ty: PhantomData<fn() -> T>,
}

impl<T> Clone for Val<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Val<'_, T> {}

/// A value without its Rust type.
#[derive(Clone, Copy)]
pub struct Erased<'k> {
    pub(super) builder: &'k Builder,
    pub(super) id: ValueId,
    pub(super) ty: fulgurite_spec::Type,
}

/// Conversion to a value of type `T`, from a value or a Rust constant.
pub trait IntoVal<'k, T: ValueType> {
    /// Returns the value. A constant is added to the kernel of `builder`.
    fn into_val(self, builder: &'k Builder) -> Val<'k, T>;
}

impl<'k, T: ValueType> IntoVal<'k, T> for Val<'k, T> {
    fn into_val(self, _: &'k Builder) -> Val<'k, T> {
        self
    }
}

impl<'k, T: Scalar> IntoVal<'k, T> for T {
    fn into_val(self, builder: &'k Builder) -> Val<'k, T> {
        builder.val(self)
    }
}

impl<'k, T: ValueType> Val<'k, T> {
    pub(super) fn new(builder: &'k Builder, id: ValueId) -> Self {
        Self { builder, id, ty: PhantomData }
    }

    pub(super) fn erase(self) -> Erased<'k> {
        Erased { builder: self.builder, id: self.id, ty: T::TYPE }
    }

    pub(super) fn builder(self) -> &'k Builder {
        self.builder
    }

    fn unary<R: ValueType>(self, op: Op, place: &'static RustLocation<'static>) -> Val<'k, R> {
        self.builder.apply(op, &[self.erase()], place)
    }

    fn binary<U: ValueType, R: ValueType>(
        self,
        op: Op,
        other: impl IntoVal<'k, U>,
        place: &'static RustLocation<'static>,
    ) -> Val<'k, R> {
        let other = other.into_val(self.builder);
        self.builder.apply(op, &[self.erase(), other.erase()], place)
    }

    /// Names the value in kernel text and in diagnostics.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        let mut state = self.builder.state();
        if let Some(value) = state.kernel.values.get_mut(self.id.index()) {
            value.name = Some(name.into());
        }
        drop(state);
        self
    }

    /// Tests for equality, lane by lane; false if either operand is NaN.
    #[track_caller]
    pub fn eq(self, other: impl IntoVal<'k, T>) -> Val<'k, T::Mask> {
        self.binary(Op::Eq, other, RustLocation::caller())
    }

    /// Tests for inequality, lane by lane; true if either operand is NaN.
    #[track_caller]
    pub fn ne(self, other: impl IntoVal<'k, T>) -> Val<'k, T::Mask> {
        self.binary(Op::Ne, other, RustLocation::caller())
    }

    /// Converts to type `U`; see `convert` in the op table.
    #[track_caller]
    pub fn convert<U: ValueType>(self) -> Val<'k, U>
    where
        T: SameLanes<U>,
    {
        self.unary(Op::Convert, RustLocation::caller())
    }
}

/// Types with the same number of lanes as `U`.
pub trait SameLanes<U> {}

impl<T: Scalar, U: Scalar> SameLanes<U> for T {}
impl<T: Scalar, U: Scalar> SameLanes<[U; 2]> for [T; 2] {}
impl<T: Scalar, U: Scalar> SameLanes<[U; 3]> for [T; 3] {}
impl<T: Scalar, U: Scalar> SameLanes<[U; 4]> for [T; 4] {}

macro_rules! methods {
    ($(impl $class:ident { $($(#[$doc:meta])* fn $name:ident($($arg:ident: $argtype:ty),*) -> $result:ty = $op:ident;)* })*) => {
        $(
            impl<'k, T: $class> Val<'k, T> {
                $(
                    $(#[$doc])*
                    #[track_caller]
                    pub fn $name(self, $($arg: impl IntoVal<'k, $argtype>),*) -> Val<'k, $result> {
                        let operands = [self.erase(), $($arg.into_val(self.builder).erase()),*];
                        self.builder.apply(Op::$op, &operands, RustLocation::caller())
                    }
                )*
            }
        )*
    };
}

methods! {
    impl Number {
        /// Returns whether this is less than `other`.
        fn lt(other: T) -> T::Mask = Lt;
        /// Returns whether this is less than or equal to `other`.
        fn le(other: T) -> T::Mask = Le;
        /// Returns whether this is greater than `other`.
        fn gt(other: T) -> T::Mask = Gt;
        /// Returns whether this is greater than or equal to `other`.
        fn ge(other: T) -> T::Mask = Ge;
        /// Returns the absolute value; the smallest signed integer is returned unchanged.
        fn abs() -> T = Abs;
        /// Returns −1, 0 or 1, or NaN for NaN.
        fn sign() -> T = Sign;
        /// Returns the minimum; if one operand is NaN, the other one.
        fn min(other: T) -> T = Min;
        /// Returns the maximum; if one operand is NaN, the other one.
        fn max(other: T) -> T = Max;
        /// Returns `min(max(self, lo), hi)`.
        fn clamp(lo: T, hi: T) -> T = Clamp;
    }
    impl Integer {
        /// Returns the high half of the double-width product.
        fn mul_hi(other: T) -> T = MulHi;
        /// Returns the sum, saturating at the bounds of the type.
        fn saturating_add(other: T) -> T = AddSat;
        /// Returns the difference, saturating at the bounds of the type.
        fn saturating_sub(other: T) -> T = SubSat;
        /// Rotates left by `amount` modulo the width.
        fn rotate_left(amount: T::Amount) -> T = RotateLeft;
        /// Rotates right by `amount` modulo the width.
        fn rotate_right(amount: T::Amount) -> T = RotateRight;
        /// Returns the number of one bits.
        fn count_ones() -> T = PopCount;
        /// Returns the number of zero bits above the highest one bit, or the width for 0.
        fn leading_zeros() -> T = LeadingZeros;
        /// Returns the number of zero bits below the lowest one bit, or the width for 0.
        fn trailing_zeros() -> T = TrailingZeros;
        /// Reverses the order of the bits.
        fn reverse_bits() -> T = ReverseBits;
        /// Returns `count` bits from `offset`, sign-extended for signed types.
        fn extract_bits(offset: u32, count: u32) -> T = ExtractBits;
        /// Returns this value with `count` bits from `offset` replaced by the low bits of `bits`.
        fn insert_bits(bits: T, offset: u32, count: u32) -> T = InsertBits;
    }
    impl Float {
        /// Returns `self * factor + addend`, rounded once or twice.
        fn mul_add(factor: T, addend: T) -> T = Fma;
        /// Rounds towards negative infinity.
        fn floor() -> T = Floor;
        /// Rounds towards positive infinity.
        fn ceil() -> T = Ceil;
        /// Rounds towards zero.
        fn trunc() -> T = Trunc;
        /// Rounds to the nearest integer, ties to even.
        fn round() -> T = Round;
        /// Returns `self - floor(self)`.
        fn fract() -> T = Fract;
        /// Returns the square root.
        fn sqrt() -> T = Sqrt;
        /// Returns the reciprocal square root.
        fn rsqrt() -> T = Rsqrt;
        /// Returns whether this is NaN.
        fn is_nan() -> T::Mask = IsNan;
        /// Returns whether this is infinite.
        fn is_inf() -> T::Mask = IsInf;
    }
    impl Transcendental {
        /// Returns e raised to this power.
        fn exp() -> T = Exp;
        /// Returns 2 raised to this power.
        fn exp2() -> T = Exp2;
        /// Returns the natural logarithm.
        fn ln() -> T = Log;
        /// Returns the logarithm to base 2.
        fn log2() -> T = Log2;
        /// Returns this value raised to a power; NaN for negative values.
        fn powf(exponent: T) -> T = Pow;
        /// Returns the sine; the error is bounded for magnitudes up to 32768.
        fn sin() -> T = Sin;
        /// Returns the cosine; the error is bounded for magnitudes up to 32768.
        fn cos() -> T = Cos;
        /// Returns the tangent; the error is bounded for magnitudes up to 32768.
        fn tan() -> T = Tan;
        /// Returns the arcsine.
        fn asin() -> T = Asin;
        /// Returns the arccosine.
        fn acos() -> T = Acos;
        /// Returns the arctangent.
        fn atan() -> T = Atan;
        /// Returns the angle of the point (`other`, `self`).
        fn atan2(other: T) -> T = Atan2;
        /// Returns the hyperbolic sine.
        fn sinh() -> T = Sinh;
        /// Returns the hyperbolic cosine.
        fn cosh() -> T = Cosh;
        /// Returns the hyperbolic tangent.
        fn tanh() -> T = Tanh;
    }
    impl Vector {
        /// Returns the component at `index`, or zero if the index is out of bounds.
        fn extract(index: u32) -> T::Component = Extract;
        /// Returns this vector with one component replaced, or unchanged if `index` is out of bounds.
        fn insert(index: u32, component: T::Component) -> T = Insert;
    }
}

impl<'k, T: Vector + Number> Val<'k, T> {
    /// Returns the dot product, summed from left to right.
    #[track_caller]
    pub fn dot(self, other: impl IntoVal<'k, T>) -> Val<'k, T::Component> {
        self.binary(Op::Dot, other, RustLocation::caller())
    }
}

impl<'k, T: Number> Val<'k, T> {
    /// Reinterprets the bits as another type of the same width.
    #[track_caller]
    pub fn bitcast<U: Number>(self) -> Val<'k, U>
    where
        T: SameLanes<U>,
    {
        self.unary(Op::Bitcast, RustLocation::caller())
    }
}

impl<'k, T: Vector + Number> Val<'k, T> {
    /// Packs the components' bits, the first component lowest, into an unsigned integer of the same total width.
    #[track_caller]
    pub fn pack<U: Scalar + Integer>(self) -> Val<'k, U> {
        self.unary(Op::Pack, RustLocation::caller())
    }
}

impl<'k, T: Scalar + Integer> Val<'k, T> {
    /// Splits the bits into a vector of the same total width, the first component from the lowest bits.
    #[track_caller]
    pub fn unpack<U: Vector + Number>(self) -> Val<'k, U> {
        self.unary(Op::Unpack, RustLocation::caller())
    }
}

macro_rules! packed_dots {
    ($($t:ty)*) => {
        $(
            impl<'k> Val<'k, $t> {
                /// Returns the dot product of the four bytes of each operand.
                #[track_caller]
                pub fn dot_packed(self, other: impl IntoVal<'k, $t>) -> Val<'k, $t> {
                    self.binary(Op::DotPacked, other, RustLocation::caller())
                }
            }
        )*
    };
}

packed_dots!(i32 u32);

impl<'k, M: ValueType> Val<'k, M> {
    /// Returns `yes` where this is true and `no` elsewhere, lane by lane.
    #[track_caller]
    pub fn select<T: ValueType<Mask = M>>(
        self,
        yes: impl IntoVal<'k, T>,
        no: impl IntoVal<'k, T>,
    ) -> Val<'k, T> {
        let operands = [self.erase(), yes.into_val(self.builder).erase(), no.into_val(self.builder).erase()];
        self.builder.apply(Op::Select, &operands, RustLocation::caller())
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $class:ident $op:ident $rhs:ty;)*) => {
        $(
            impl<'k, T: $class, R: IntoVal<'k, $rhs>> ops::$trait<R> for Val<'k, T> {
                type Output = Val<'k, T>;

                #[track_caller]
                fn $method(self, other: R) -> Val<'k, T> {
                    self.binary::<$rhs, T>(Op::$op, other, RustLocation::caller())
                }
            }
        )*
    };
}

operators! {
    Add add Number Add T;
    Sub sub Number Sub T;
    Mul mul Number Mul T;
    Div div Number Div T;
    Rem rem Integer Rem T;
    BitAnd bitand Logical And T;
    BitOr bitor Logical Or T;
    BitXor bitxor Logical Xor T;
    Shl shl Integer Shl T::Amount;
    Shr shr Integer Shr T::Amount;
}

impl<'k, T: Number> ops::Neg for Val<'k, T> {
    type Output = Val<'k, T>;

    #[track_caller]
    fn neg(self) -> Val<'k, T> {
        self.unary(Op::Neg, RustLocation::caller())
    }
}

impl<'k, T: Logical> ops::Not for Val<'k, T> {
    type Output = Val<'k, T>;

    #[track_caller]
    fn not(self) -> Val<'k, T> {
        self.unary(Op::Not, RustLocation::caller())
    }
}

macro_rules! constant_on_the_left {
    ($($t:ty: $($trait:ident $method:ident $op:ident),*;)*) => {
        $($(
            impl<'k> ops::$trait<Val<'k, $t>> for $t {
                type Output = Val<'k, $t>;

                #[track_caller]
                fn $method(self, other: Val<'k, $t>) -> Val<'k, $t> {
                    self.into_val(other.builder).binary::<$t, $t>(Op::$op, other, RustLocation::caller())
                }
            }
        )*)*
    };
}

constant_on_the_left! {
    i8: Add add Add, Sub sub Sub, Mul mul Mul, Div div Div, Rem rem Rem;
    i16: Add add Add, Sub sub Sub, Mul mul Mul, Div div Div, Rem rem Rem;
    i32: Add add Add, Sub sub Sub, Mul mul Mul, Div div Div, Rem rem Rem;
    i64: Add add Add, Sub sub Sub, Mul mul Mul, Div div Div, Rem rem Rem;
    u8: Add add Add, Sub sub Sub, Mul mul Mul, Div div Div, Rem rem Rem;
    u16: Add add Add, Sub sub Sub, Mul mul Mul, Div div Div, Rem rem Rem;
    u32: Add add Add, Sub sub Sub, Mul mul Mul, Div div Div, Rem rem Rem;
    u64: Add add Add, Sub sub Sub, Mul mul Mul, Div div Div, Rem rem Rem;
    f32: Add add Add, Sub sub Sub, Mul mul Mul, Div div Div;
    f64: Add add Add, Sub sub Sub, Mul mul Mul, Div div Div;
}

#[cfg(feature = "half")]
constant_on_the_left! {
    half::f16: Add add Add, Sub sub Sub, Mul mul Mul, Div div Div;
    half::bf16: Add add Add, Sub sub Sub, Mul mul Mul, Div div Div;
}
