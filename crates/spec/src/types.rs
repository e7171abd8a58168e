//! Scalar and vector types, sets of scalar types, and typed literals.
//!
//! A value's bits travel as `u64`, low bits first, whatever the type; `bool` is 0 or 1.

use core::fmt;

/// A scalar type. The discriminants are permanent: they go into digests and the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum ScalarType {
    /// Truth value. Lives in values only, never in a buffer.
    Bool = 0,
    /// 32-bit two's complement integer.
    I32 = 3,
    /// 32-bit unsigned integer.
    U32 = 7,
    /// IEEE 754 binary32.
    F32 = 11,
}

impl ScalarType {
    /// Every scalar type, in ascending order of its number.
    pub const ALL: [ScalarType; 4] = [Self::Bool, Self::I32, Self::U32, Self::F32];

    /// The name in kernel text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::I32 => "i32",
            Self::U32 => "u32",
            Self::F32 => "f32",
        }
    }

    /// Size in memory, in bytes; 0 for `bool`, which has no memory form.
    pub const fn size(self) -> u32 {
        match self {
            Self::Bool => 0,
            Self::I32 | Self::U32 | Self::F32 => 4,
        }
    }

    /// Whether this is an integer type.
    pub const fn is_integer(self) -> bool {
        matches!(self, Self::I32 | Self::U32)
    }

    /// Whether this is a floating-point type.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32)
    }

    /// The permanent number of this type.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for ScalarType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How many components a value has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum Lanes {
    /// A scalar.
    One = 1,
    /// A vector of two.
    Two = 2,
    /// A vector of four.
    Four = 4,
}

impl Lanes {
    /// Every lane count, ascending.
    pub const ALL: [Lanes; 3] = [Self::One, Self::Two, Self::Four];

    /// The count.
    pub const fn count(self) -> u32 {
        self as u32
    }

    /// The lane count for `count` components, if there is such a type.
    pub const fn from_count(count: u32) -> Option<Self> {
        match count {
            1 => Some(Self::One),
            2 => Some(Self::Two),
            4 => Some(Self::Four),
            _ => None,
        }
    }
}

/// The type of a value: a scalar, or a vector of scalars.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Type {
    /// The component type.
    pub scalar: ScalarType,
    /// How many components.
    pub lanes: Lanes,
}

impl Type {
    /// `bool`.
    pub const BOOL: Type = Type::scalar(ScalarType::Bool);
    /// `i32`.
    pub const I32: Type = Type::scalar(ScalarType::I32);
    /// `u32`.
    pub const U32: Type = Type::scalar(ScalarType::U32);
    /// `f32`.
    pub const F32: Type = Type::scalar(ScalarType::F32);

    /// A scalar type.
    pub const fn scalar(scalar: ScalarType) -> Self {
        Self { scalar, lanes: Lanes::One }
    }

    /// A vector type, or the scalar itself for [`Lanes::One`].
    pub const fn vector(scalar: ScalarType, lanes: Lanes) -> Self {
        Self { scalar, lanes }
    }

    /// The same component type with another lane count.
    pub const fn with_lanes(self, lanes: Lanes) -> Self {
        Self { scalar: self.scalar, lanes }
    }

    /// The same lane count with another component type.
    pub const fn with_scalar(self, scalar: ScalarType) -> Self {
        Self { scalar, lanes: self.lanes }
    }

    /// The component type as a type.
    pub const fn element(self) -> Self {
        Self::scalar(self.scalar)
    }

    /// Whether this is a scalar.
    pub const fn is_scalar(self) -> bool {
        matches!(self.lanes, Lanes::One)
    }

    /// Size in memory, in bytes, which is also the array stride; 0 for `bool` and its vectors.
    pub const fn size(self) -> u32 {
        self.scalar.size() * self.lanes.count()
    }

    /// Whether values of this type can be kept in buffers, shared and local memory.
    pub const fn is_storable(self) -> bool {
        self.size() != 0
    }

    /// Every type there is, by component type, then lane count.
    pub fn all() -> impl Iterator<Item = Type> {
        ScalarType::ALL.into_iter().flat_map(|s| Lanes::ALL.into_iter().map(move |l| Type::vector(s, l)))
    }

    /// The type named `name` in kernel text (`f32`, `u32x4`, …).
    pub fn parse(name: &str) -> Option<Type> {
        Type::all().find(|t| {
            name.strip_prefix(t.scalar.name()).is_some_and(|rest| match t.lanes {
                Lanes::One => rest.is_empty(),
                Lanes::Two => rest == "x2",
                Lanes::Four => rest == "x4",
            })
        })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    /// No type.
    pub const EMPTY: TypeSet = TypeSet(0);
    /// `bool`.
    pub const BOOL: TypeSet = TypeSet::of(ScalarType::Bool);
    /// Signed integers.
    pub const SIGNED: TypeSet = TypeSet::of(ScalarType::I32);
    /// Unsigned integers.
    pub const UNSIGNED: TypeSet = TypeSet::of(ScalarType::U32);
    /// All integers.
    pub const INTEGER: TypeSet = TypeSet::SIGNED.union(TypeSet::UNSIGNED);
    /// Floating-point types.
    pub const FLOAT: TypeSet = TypeSet::of(ScalarType::F32);
    /// Integers and floats.
    pub const NUMERIC: TypeSet = TypeSet::INTEGER.union(TypeSet::FLOAT);
    /// Every type.
    pub const ALL: TypeSet = TypeSet::NUMERIC.union(TypeSet::BOOL);

    /// The set of one type.
    pub const fn of(scalar: ScalarType) -> Self {
        TypeSet(1 << scalar as u32)
    }

    /// Both sets together.
    pub const fn union(self, other: Self) -> Self {
        TypeSet(self.0 | other.0)
    }

    /// Whether `scalar` belongs to the set.
    pub const fn contains(self, scalar: ScalarType) -> bool {
        self.0 & (1 << scalar as u32) != 0
    }

    /// The members, ascending.
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

/// A scalar constant: a type and its bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Literal {
    /// The type.
    pub ty: ScalarType,
    /// The bits, low first; unused high bits are zero.
    pub bits: u64,
}

impl Literal {
    /// A literal of `ty`; bits that the type does not have are dropped.
    pub const fn new(ty: ScalarType, bits: u64) -> Self {
        let mask = match ty {
            ScalarType::Bool => 1,
            ScalarType::I32 | ScalarType::U32 | ScalarType::F32 => 0xffff_ffff,
        };
        Self { ty, bits: bits & mask }
    }

    /// Zero of `ty` (`false` for `bool`).
    pub const fn zero(ty: ScalarType) -> Self {
        Self { ty, bits: 0 }
    }
}

impl From<bool> for Literal {
    fn from(value: bool) -> Self {
        Self::new(ScalarType::Bool, u64::from(value))
    }
}

impl From<i32> for Literal {
    fn from(value: i32) -> Self {
        Self::new(ScalarType::I32, u64::from(value as u32))
    }
}

impl From<u32> for Literal {
    fn from(value: u32) -> Self {
        Self::new(ScalarType::U32, u64::from(value))
    }
}

impl From<f32> for Literal {
    fn from(value: f32) -> Self {
        Self::new(ScalarType::F32, u64::from(value.to_bits()))
    }
}

/// Prints the literal as kernel text: `true`, `-3i32`, `4u32`, `1.5f32`, `inf:f32`, `nan:0x7fc00000`.
impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ty {
            ScalarType::Bool => write!(f, "{}", self.bits != 0),
            ScalarType::I32 => write!(f, "{}i32", self.bits as u32 as i32),
            ScalarType::U32 => write!(f, "{}u32", self.bits as u32),
            ScalarType::F32 => {
                let value = f32::from_bits(self.bits as u32);
                if value.is_nan() {
                    write!(f, "nan:{:#010x}", self.bits as u32)
                } else if value.is_infinite() {
                    write!(f, "{}inf:f32", if value < 0.0 { "-" } else { "" })
                } else {
                    // Debug prints the shortest decimal that reads back as the same bits, with a point or exponent.
                    write!(f, "{value:?}f32")
                }
            }
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
    fn type_names_read_back() {
        for ty in Type::all() {
            assert_eq!(Type::parse(&ty.to_string()), Some(ty));
        }
        assert_eq!(Type::parse("f32x3"), None);
        assert_eq!(Type::parse("f32x"), None);
        assert_eq!(Type::parse("f64"), None);
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
    }
}
