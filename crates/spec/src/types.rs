//! Scalar, vector and matrix types, sets of scalar types, and typed literals.
//!
//! The bits of a value are passed as `u64`, low bits first; `bool` is 0 or 1.

use core::fmt;

use crate::eval::float::FloatFormat;
use crate::matrix::{MatrixRole, MatrixScope, MatrixShape};

macro_rules! scalar_types {
    ($($number:literal $variant:ident $name:literal $size:literal $class:ident $what:literal;)*) => {
        /// A scalar type. The discriminants are permanent: they go into digests and the wire format.
        ///
        /// Exhaustive: a lowering that misses a type must not compile, so a new type is a breaking change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum ScalarType {
            $(
                #[doc = $what]
                $variant = $number,
            )*
        }

        impl ScalarType {
            /// All scalar types, in order of number.
            pub const ALL: [ScalarType; 13] = [$(Self::$variant),*];

            /// Returns the name in kernel text.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Returns the size in memory in bytes; 0 for `bool`, which has no memory form.
            pub const fn size(self) -> u32 {
                match self {
                    $(Self::$variant => $size,)*
                }
            }

            /// Returns the class of the type.
            pub const fn class(self) -> ScalarClass {
                match self {
                    $(Self::$variant => ScalarClass::$class,)*
                }
            }
        }
    };
}

/// The class of a scalar type. Exhaustive for the same reason as [`ScalarType`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScalarClass {
    /// `bool`.
    Bool,
    /// A two's complement integer.
    Signed,
    /// An unsigned integer.
    Unsigned,
    /// A floating-point number.
    Float,
}

scalar_types! {
    0 Bool "bool" 0 Bool "Boolean, without a memory form.";
    1 I8 "i8" 1 Signed "8-bit two's complement integer.";
    2 I16 "i16" 2 Signed "16-bit two's complement integer.";
    3 I32 "i32" 4 Signed "32-bit two's complement integer.";
    4 I64 "i64" 8 Signed "64-bit two's complement integer.";
    5 U8 "u8" 1 Unsigned "8-bit unsigned integer.";
    6 U16 "u16" 2 Unsigned "16-bit unsigned integer.";
    7 U32 "u32" 4 Unsigned "32-bit unsigned integer.";
    8 U64 "u64" 8 Unsigned "64-bit unsigned integer.";
    9 F16 "f16" 2 Float "IEEE 754 binary16.";
    10 BF16 "bf16" 2 Float "bfloat16: the upper half of a binary32.";
    11 F32 "f32" 4 Float "IEEE 754 binary32.";
    12 F64 "f64" 8 Float "IEEE 754 binary64.";
}

impl ScalarType {
    /// Returns whether this is an integer type.
    pub const fn is_integer(self) -> bool {
        matches!(self.class(), ScalarClass::Signed | ScalarClass::Unsigned)
    }

    /// Returns whether this is a signed integer type.
    pub const fn is_signed(self) -> bool {
        matches!(self.class(), ScalarClass::Signed)
    }

    /// Returns whether this is a floating-point type.
    pub const fn is_float(self) -> bool {
        matches!(self.class(), ScalarClass::Float)
    }

    /// Returns the width in bits; 1 for `bool`.
    pub const fn bits(self) -> u32 {
        match self.size() {
            0 => 1,
            bytes => bytes * 8,
        }
    }

    /// Returns the mask of the bits that a value can have.
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// Returns the unsigned integer type of this width; `None` for `bool`.
    pub const fn unsigned(self) -> Option<ScalarType> {
        match self.size() {
            1 => Some(Self::U8),
            2 => Some(Self::U16),
            4 => Some(Self::U32),
            8 => Some(Self::U64),
            _ => None,
        }
    }

    /// Returns the permanent number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Returns the type with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

impl fmt::Display for ScalarType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The number of components of a scalar or vector.
///
/// Exhaustive: a lowering that misses a count must not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Lanes {
    /// A scalar.
    One = 1,
    /// A vector of two.
    Two = 2,
    /// A vector of three, with a stride of three components.
    Three = 3,
    /// A vector of four.
    Four = 4,
}

impl Lanes {
    /// All lane counts, ascending.
    pub const ALL: [Lanes; 4] = [Self::One, Self::Two, Self::Three, Self::Four];

    /// Returns the number of components.
    pub const fn count(self) -> u32 {
        self as u32
    }

    /// Returns the lane count for `count` components, if it exists.
    pub const fn from_count(count: u32) -> Option<Self> {
        match count {
            1 => Some(Self::One),
            2 => Some(Self::Two),
            3 => Some(Self::Three),
            4 => Some(Self::Four),
            _ => None,
        }
    }
}

/// The type of a value: a scalar, a vector of scalars, or a cooperative matrix of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Type {
    /// The component type.
    pub scalar: ScalarType,
    /// The number of components; [`Lanes::One`] for matrices.
    pub lanes: Lanes,
    /// The shape, for a matrix.
    pub matrix: Option<MatrixShape>,
}

impl Type {
    /// `bool`.
    pub const BOOL: Type = Type::scalar(ScalarType::Bool);
    /// `i8`.
    pub const I8: Type = Type::scalar(ScalarType::I8);
    /// `i16`.
    pub const I16: Type = Type::scalar(ScalarType::I16);
    /// `i32`.
    pub const I32: Type = Type::scalar(ScalarType::I32);
    /// `i64`.
    pub const I64: Type = Type::scalar(ScalarType::I64);
    /// `u8`.
    pub const U8: Type = Type::scalar(ScalarType::U8);
    /// `u16`.
    pub const U16: Type = Type::scalar(ScalarType::U16);
    /// `u32`.
    pub const U32: Type = Type::scalar(ScalarType::U32);
    /// `u64`.
    pub const U64: Type = Type::scalar(ScalarType::U64);
    /// `f16`.
    pub const F16: Type = Type::scalar(ScalarType::F16);
    /// `bf16`.
    pub const BF16: Type = Type::scalar(ScalarType::BF16);
    /// `f32`.
    pub const F32: Type = Type::scalar(ScalarType::F32);
    /// `f64`.
    pub const F64: Type = Type::scalar(ScalarType::F64);

    /// Creates a scalar type.
    pub const fn scalar(scalar: ScalarType) -> Self {
        Self { scalar, lanes: Lanes::One, matrix: None }
    }

    /// Creates a vector type, or a scalar type for [`Lanes::One`].
    pub const fn vector(scalar: ScalarType, lanes: Lanes) -> Self {
        Self { scalar, lanes, matrix: None }
    }

    /// Creates a cooperative matrix type.
    pub const fn matrix_of(scalar: ScalarType, shape: MatrixShape) -> Self {
        Self { scalar, lanes: Lanes::One, matrix: Some(shape) }
    }

    /// Returns the scalar or vector type with the same component type and other lanes.
    pub const fn with_lanes(self, lanes: Lanes) -> Self {
        Self { scalar: self.scalar, lanes, matrix: None }
    }

    /// Returns the type with the same lanes and shape and another component type.
    pub const fn with_scalar(self, scalar: ScalarType) -> Self {
        Self { scalar, lanes: self.lanes, matrix: self.matrix }
    }

    /// Returns the component type.
    pub const fn element(self) -> Self {
        Self::scalar(self.scalar)
    }

    /// Returns whether this is a scalar.
    pub const fn is_scalar(self) -> bool {
        matches!(self.lanes, Lanes::One) && self.matrix.is_none()
    }

    /// Returns whether this is a vector.
    pub const fn is_vector(self) -> bool {
        !matches!(self.lanes, Lanes::One)
    }

    /// Returns whether this is a cooperative matrix.
    pub const fn is_matrix(self) -> bool {
        self.matrix.is_some()
    }

    /// Returns the size in memory in bytes, which is also the array stride; 0 for `bool`, its vectors, and matrices.
    pub const fn size(self) -> u32 {
        if self.matrix.is_some() { 0 } else { self.scalar.size() * self.lanes.count() }
    }

    /// Returns whether values of this type can be stored in memory.
    pub const fn is_storable(self) -> bool {
        self.size() != 0
    }

    /// Iterates over all scalar and vector types, by component type, then lanes.
    pub fn all() -> impl Iterator<Item = Type> {
        ScalarType::ALL.into_iter().flat_map(|s| Lanes::ALL.into_iter().map(move |l| Type::vector(s, l)))
    }

    /// Parses a type's name in kernel text, such as `f32`, `u32x4` or `coopmat<f16, 16x16, a, subgroup>`.
    pub fn parse(name: &str) -> Option<Type> {
        if let Some(rest) = name.strip_prefix("coopmat<") {
            return Type::parse_matrix(rest.strip_suffix('>')?);
        }
        Type::all().find(|t| {
            name.strip_prefix(t.scalar.name()).is_some_and(|rest| match t.lanes {
                Lanes::One => rest.is_empty(),
                Lanes::Two => rest == "x2",
                Lanes::Three => rest == "x3",
                Lanes::Four => rest == "x4",
            })
        })
    }
}

impl Type {
    /// Parses the text in a matrix type's angle brackets. Accepts shapes that the language does not have.
    fn parse_matrix(inside: &str) -> Option<Type> {
        let mut parts = inside.split(',').map(str::trim);
        let [component, sides, role, scope] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        let (rows, cols) = sides.split_once('x')?;
        let scalar = ScalarType::ALL.into_iter().find(|s| s.name() == component)?;
        let shape = MatrixShape {
            rows: rows.parse().ok()?,
            cols: cols.parse().ok()?,
            role: MatrixRole::parse(role)?,
            scope: MatrixScope::parse(scope)?,
        };
        parts.next().is_none().then_some(Type::matrix_of(scalar, shape))
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(shape) = self.matrix {
            return write!(f, "coopmat<{}, {shape}>", self.scalar);
        }
        f.write_str(self.scalar.name())?;
        if !self.is_scalar() {
            write!(f, "x{}", self.lanes.count())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A set of scalar types: the domain of an op.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TypeSet(u32);

impl TypeSet {
    /// No types.
    pub const EMPTY: TypeSet = TypeSet(0);
    /// `bool`.
    pub const BOOL: TypeSet = TypeSet::of(ScalarType::Bool);
    /// Signed integers.
    pub const SIGNED: TypeSet =
        TypeSet::all_of(&[ScalarType::I8, ScalarType::I16, ScalarType::I32, ScalarType::I64]);
    /// Unsigned integers.
    pub const UNSIGNED: TypeSet =
        TypeSet::all_of(&[ScalarType::U8, ScalarType::U16, ScalarType::U32, ScalarType::U64]);
    /// All integers.
    pub const INTEGER: TypeSet = TypeSet::SIGNED.union(TypeSet::UNSIGNED);
    /// The 32-bit integers.
    pub const INTEGER32: TypeSet = TypeSet::all_of(&[ScalarType::I32, ScalarType::U32]);
    /// `bool` and the integers.
    pub const BOOL_OR_INTEGER: TypeSet = TypeSet::BOOL.union(TypeSet::INTEGER);
    /// Floats with transcendental functions: all but `f64`.
    pub const TRANSCENDENTAL: TypeSet =
        TypeSet::all_of(&[ScalarType::F16, ScalarType::BF16, ScalarType::F32]);
    /// Floating-point types.
    pub const FLOAT: TypeSet = TypeSet::TRANSCENDENTAL.union(TypeSet::of(ScalarType::F64));
    /// Integers and floats.
    pub const NUMERIC: TypeSet = TypeSet::INTEGER.union(TypeSet::FLOAT);
    /// All types.
    pub const ALL: TypeSet = TypeSet::NUMERIC.union(TypeSet::BOOL);

    /// Creates the set of one type.
    pub const fn of(scalar: ScalarType) -> Self {
        TypeSet(1 << scalar as u32)
    }

    const fn all_of(members: &[ScalarType]) -> Self {
        let mut set = 0;
        let mut i = 0;
        while i < members.len() {
            set |= 1 << members[i] as u32;
            i += 1;
        }
        TypeSet(set)
    }

    /// Returns the union of both sets.
    pub const fn union(self, other: Self) -> Self {
        TypeSet(self.0 | other.0)
    }

    /// Returns whether the set contains `scalar`.
    pub const fn contains(self, scalar: ScalarType) -> bool {
        self.0 & (1 << scalar as u32) != 0
    }

    /// Iterates over the members, in order of number.
    pub fn iter(self) -> impl Iterator<Item = ScalarType> {
        ScalarType::ALL.into_iter().filter(move |s| self.contains(*s))
    }
}

impl fmt::Display for TypeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, scalar) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            f.write_str(scalar.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for TypeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

/// A scalar constant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Literal {
    /// The type.
    pub ty: ScalarType,
    /// The bits, low first; unused high bits are zero.
    pub bits: u64,
}

impl Literal {
    /// Creates a literal of `ty`. Bits beyond its width are discarded.
    pub const fn new(ty: ScalarType, bits: u64) -> Self {
        Self { ty, bits: bits & ty.mask() }
    }

    /// Returns zero of `ty` (`false` for `bool`).
    pub const fn zero(ty: ScalarType) -> Self {
        Self { ty, bits: 0 }
    }
}

impl From<bool> for Literal {
    fn from(value: bool) -> Self {
        Self::new(ScalarType::Bool, u64::from(value))
    }
}

macro_rules! literal_from {
    ($($t:ty, $unsigned:ty, $variant:ident;)*) => {
        $(
            impl From<$t> for Literal {
                fn from(value: $t) -> Self {
                    Self::new(ScalarType::$variant, u64::from(value as $unsigned))
                }
            }
        )*
    };
}

literal_from! {
    i8, u8, I8;
    i16, u16, I16;
    i32, u32, I32;
    i64, u64, I64;
    u8, u8, U8;
    u16, u16, U16;
    u32, u32, U32;
    u64, u64, U64;
}

impl From<f32> for Literal {
    fn from(value: f32) -> Self {
        Self::new(ScalarType::F32, u64::from(value.to_bits()))
    }
}

impl From<f64> for Literal {
    fn from(value: f64) -> Self {
        Self::new(ScalarType::F64, value.to_bits())
    }
}

/// Prints the literal as kernel text: `true`, `-3i32`, `4u64`, `1.5f32`, `inf:f16`, `nan:0x7fc00000`, `nan:0x7e00:f16`.
impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(format) = FloatFormat::of(self.ty) else {
            return match self.ty.class() {
                ScalarClass::Bool => write!(f, "{}", self.bits != 0),
                ScalarClass::Signed => {
                    let unused = 64 - self.ty.bits();
                    write!(f, "{}{}", (self.bits << unused) as i64 >> unused, self.ty)
                }
                ScalarClass::Unsigned | ScalarClass::Float => write!(f, "{}{}", self.bits, self.ty),
            };
        };
        let value = format.decode(self.bits);
        if value.is_nan() {
            let width = self.ty.size() as usize * 2 + 2;
            write!(f, "nan:{:#0width$x}", self.bits)?;
            if self.ty == ScalarType::F32 { Ok(()) } else { write!(f, ":{}", self.ty) }
        } else if value.is_infinite() {
            write!(f, "{}inf:{}", if value < 0.0 { "-" } else { "" }, self.ty)
        } else if self.ty == ScalarType::F64 {
            // `Debug` prints the shortest decimal that parses to the same bits, with a point or exponent.
            write!(f, "{value:?}f64")
        } else {
            // Narrower formats are exact in `f32`.
            write!(f, "{:?}{}", value as f32, self.ty)
        }
    }
}

impl fmt::Debug for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_names_round_trip() {
        for ty in Type::all() {
            assert_eq!(Type::parse(&ty.to_string()), Some(ty));
        }
        assert_eq!(Type::parse("f32x5"), None);
        assert_eq!(Type::parse("f32x"), None);
        assert_eq!(Type::parse("f128"), None);
    }

    #[test]
    fn literals_print_as_kernel_text() {
        assert_eq!(Literal::from(-3i32).to_string(), "-3i32");
        assert_eq!(Literal::from(4u32).to_string(), "4u32");
        assert_eq!(Literal::from(1.0f32).to_string(), "1.0f32");
        assert_eq!(Literal::from(-0.0f32).to_string(), "-0.0f32");
        assert_eq!(Literal::from(f32::NEG_INFINITY).to_string(), "-inf:f32");
        assert_eq!(Literal::from(f32::from_bits(0x7fc0_0001)).to_string(), "nan:0x7fc00001");
        assert_eq!(Literal::from(true).to_string(), "true");
        assert_eq!(Literal::from(-128i8).to_string(), "-128i8");
        assert_eq!(Literal::from(i64::MIN).to_string(), "-9223372036854775808i64");
        assert_eq!(Literal::from(u64::MAX).to_string(), "18446744073709551615u64");
        assert_eq!(Literal::new(ScalarType::F16, 0x3c00).to_string(), "1.0f16");
        assert_eq!(Literal::new(ScalarType::F16, 0x7e01).to_string(), "nan:0x7e01:f16");
        assert_eq!(Literal::new(ScalarType::BF16, 0xff80).to_string(), "-inf:bf16");
        assert_eq!(Literal::from(0.1f64).to_string(), "0.1f64");
    }
}
