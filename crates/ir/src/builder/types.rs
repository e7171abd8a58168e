//! Rust types that represent kernel types, and traits for their operations.

use fulgurite_spec::{Lanes, Literal, ScalarType, Type};

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that represents a kernel type: `bool`, integers of 8 to 64 bits, `f32`, `f64`, with the feature `half`
/// also `f16` and `bf16`, and arrays of two to four of them.
pub trait ValueType: sealed::Sealed + Copy + 'static {
    /// The kernel type.
    const TYPE: Type;
    /// The type of a component.
    type Component: Scalar;
    /// The `bool` type with the same number of lanes.
    type Mask: ValueType;
    /// The `u32` type with the same number of lanes.
    type Amount: ValueType;
}

/// A scalar type.
pub trait Scalar: ValueType<Component = Self> {
    /// Returns the value as a literal.
    fn literal(self) -> Literal;
}

/// A vector type.
pub trait Vector: ValueType {}

/// A type that buffers and arrays can hold: every type except `bool`.
pub trait Storable: ValueType {}

/// An integer or float type, scalar or vector.
pub trait Number: Storable {}

/// An integer type, scalar or vector.
pub trait Integer: Number {}

/// A float type, scalar or vector.
pub trait Float: Number {}

/// A float type with transcendental functions, scalar or vector: all but `f64`.
pub trait Transcendental: Float {}

/// `bool` or an integer type, scalar or vector.
pub trait Logical: ValueType {}

macro_rules! value_types {
    ($($t:ty, $scalar:ident, $bits:expr, [$($class:ident),*];)*) => {
        $(
            impl sealed::Sealed for $t {}
            impl sealed::Sealed for [$t; 2] {}
            impl sealed::Sealed for [$t; 3] {}
            impl sealed::Sealed for [$t; 4] {}
            impl ValueType for $t {
                const TYPE: Type = Type::scalar(ScalarType::$scalar);
                type Component = $t;
                type Mask = bool;
                type Amount = u32;
            }
            impl ValueType for [$t; 2] {
                const TYPE: Type = Type::vector(ScalarType::$scalar, Lanes::Two);
                type Component = $t;
                type Mask = [bool; 2];
                type Amount = [u32; 2];
            }
            impl ValueType for [$t; 3] {
                const TYPE: Type = Type::vector(ScalarType::$scalar, Lanes::Three);
                type Component = $t;
                type Mask = [bool; 3];
                type Amount = [u32; 3];
            }
            impl ValueType for [$t; 4] {
                const TYPE: Type = Type::vector(ScalarType::$scalar, Lanes::Four);
                type Component = $t;
                type Mask = [bool; 4];
                type Amount = [u32; 4];
            }
            impl Scalar for $t {
                fn literal(self) -> Literal {
                    let bits: fn($t) -> u64 = $bits;
                    Literal::new(ScalarType::$scalar, bits(self))
                }
            }
            impl Vector for [$t; 2] {}
            impl Vector for [$t; 3] {}
            impl Vector for [$t; 4] {}
            $(
                impl $class for $t {}
                impl $class for [$t; 2] {}
                impl $class for [$t; 3] {}
                impl $class for [$t; 4] {}
            )*
        )*
    };
}

value_types! {
    bool, Bool, u64::from, [Logical];
    i8, I8, |v| v as u64, [Storable, Number, Integer, Logical];
    i16, I16, |v| v as u64, [Storable, Number, Integer, Logical];
    i32, I32, |v| v as u64, [Storable, Number, Integer, Logical];
    i64, I64, |v| v as u64, [Storable, Number, Integer, Logical];
    u8, U8, u64::from, [Storable, Number, Integer, Logical];
    u16, U16, u64::from, [Storable, Number, Integer, Logical];
    u32, U32, u64::from, [Storable, Number, Integer, Logical];
    u64, U64, |v| v, [Storable, Number, Integer, Logical];
    f32, F32, |v| u64::from(v.to_bits()), [Storable, Number, Float, Transcendental];
    f64, F64, f64::to_bits, [Storable, Number, Float];
}

#[cfg(feature = "half")]
value_types! {
    half::f16, F16, |v| u64::from(v.to_bits()), [Storable, Number, Float, Transcendental];
    half::bf16, BF16, |v| u64::from(v.to_bits()), [Storable, Number, Float, Transcendental];
}
