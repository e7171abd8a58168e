//! WGSL types as trees of scalars and vectors, with their layout in buffers.

use std::rc::Rc;

use fulgurite_spec::{Lanes, Location, ScalarType, Type};
use naga::{ArraySize, Handle, Module, Override, ScalarKind, TypeInner, VectorSize};

use crate::refusal::{Res, resource, too_large, unsupported};

/// The largest number of scalars and vectors of a value. Larger arrays are only accessed by element.
pub(crate) const MAX_VALUE_LEAVES: u64 = 4096;

/// The deepest nesting of structures and arrays. Types are walked recursively.
const MAX_DEPTH: u32 = 32;

/// A type of WGSL that kernels can represent.
#[derive(Debug, PartialEq)]
pub(crate) enum Ty {
    /// A scalar or vector, or an atomic scalar.
    Leaf {
        ty: Type,
        atomic: bool,
    },
    /// An array, or a matrix as an array of its columns.
    Array {
        element: Rc<Ty>,
        /// The number of elements, `None` for a runtime-sized array.
        len: Option<u32>,
        /// Distance of elements in bytes.
        stride: u32,
        is_matrix: bool,
    },
    Struct {
        members: Vec<Member>,
    },
}

/// A member of a structure.
#[derive(Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// Offset in bytes.
    pub(crate) offset: u32,
    pub(crate) ty: Rc<Ty>,
}

impl Ty {
    pub(crate) fn leaf(ty: Type) -> Rc<Self> {
        Rc::new(Self::Leaf { ty, atomic: false })
    }

    /// Returns the type of a matrix.
    pub(crate) fn matrix(columns: u32, column: Type) -> Rc<Self> {
        let rows = if column.lanes == Lanes::Three { 4 } else { column.lanes.count() };
        let stride = rows * column.scalar.size();
        Rc::new(Self::Array { element: Self::leaf(column), len: Some(columns), stride, is_matrix: true })
    }

    /// Returns the number of leaves where an array counts as one element: the arrays that hold the type field by
    /// field.
    pub(crate) fn fields(&self) -> usize {
        match self {
            Self::Leaf { .. } => 1,
            Self::Array { element, .. } => element.fields(),
            Self::Struct { members } => members.iter().map(|m| m.ty.fields()).sum(),
        }
    }

    /// Returns the number of scalars and vectors of a value, with one element for a runtime-sized array.
    pub(crate) fn leaves(&self) -> u64 {
        match self {
            Self::Leaf { .. } => 1,
            Self::Array { element, len, .. } => element.leaves().saturating_mul(u64::from(len.unwrap_or(1))),
            Self::Struct { members } => {
                members.iter().fold(0, |sum: u64, m| sum.saturating_add(m.ty.leaves()))
            }
        }
    }

    /// Returns whether the type contains an array that is not a matrix.
    pub(crate) fn has_arrays(&self) -> bool {
        match self {
            Self::Leaf { .. } => false,
            Self::Array { element, is_matrix, .. } => !is_matrix || element.has_arrays(),
            Self::Struct { members } => members.iter().any(|m| m.ty.has_arrays()),
        }
    }

    /// Calls `each` with each field, in order: the offset of its first element in bytes, the path of member names,
    /// its type and the lengths of the arrays around it.
    pub(crate) fn each_field(&self, each: &mut impl FnMut(u32, &str, Type, &[Option<u32>])) {
        self.walk(0, &mut String::new(), &mut Vec::new(), each);
    }

    fn walk(
        &self,
        offset: u32,
        path: &mut String,
        dims: &mut Vec<Option<u32>>,
        each: &mut impl FnMut(u32, &str, Type, &[Option<u32>]),
    ) {
        match self {
            Self::Leaf { ty, .. } => each(offset, path, *ty, dims),
            Self::Array { element, len, .. } => {
                dims.push(*len);
                element.walk(offset, path, dims, each);
                dims.pop();
            }
            Self::Struct { members } => {
                for member in members {
                    let length = path.len();
                    path.push('.');
                    path.push_str(&member.name);
                    member.ty.walk(offset + member.offset, path, dims, each);
                    path.truncate(length);
                }
            }
        }
    }

    /// Returns the element type of a buffer of this type: that of all leaves if there is one, else their scalar type if
    /// there is one, else unsigned words. Vectors of three count as scalars, since WGSL pads them to four.
    pub(crate) fn buffer_element(&self) -> Type {
        let (mut whole, mut scalar): (Option<Option<Type>>, Option<Option<ScalarType>>) = (None, None);
        let mut narrow = true;
        self.each_field(&mut |_, _, ty, _| {
            let ty = in_memory(ty);
            whole = Some(whole.map_or(Some(ty), |seen| seen.filter(|seen| *seen == ty)));
            scalar = Some(scalar.map_or(Some(ty.scalar), |seen| seen.filter(|seen| *seen == ty.scalar)));
            narrow &= ty.scalar.size() == 2;
        });
        let word = if narrow { Type::U16 } else { Type::U32 };
        whole.flatten().or(scalar.flatten().map(Type::scalar)).unwrap_or(word)
    }

    /// Returns the size in bytes, with no elements for a runtime-sized array.
    pub(crate) fn least_bytes(&self) -> u32 {
        match self {
            Self::Leaf { ty, .. } => ty.size(),
            Self::Array { len, stride, .. } => len.unwrap_or(0).saturating_mul(*stride),
            Self::Struct { members } => {
                members.iter().map(|m| m.offset.saturating_add(m.ty.least_bytes())).max().unwrap_or(0)
            }
        }
    }
}

/// Returns the type as which a leaf is accessed in a buffer: the components of a vector of three one by one.
pub(crate) fn in_memory(ty: Type) -> Type {
    if ty.lanes == Lanes::Three { ty.element() } else { ty }
}

/// Returns the scalar type, `None` for abstract numbers.
pub(crate) fn scalar(scalar: naga::Scalar) -> Option<ScalarType> {
    Some(match (scalar.kind, scalar.width) {
        (ScalarKind::Bool, _) => ScalarType::Bool,
        (ScalarKind::Sint, 2) => ScalarType::I16,
        (ScalarKind::Sint, 4) => ScalarType::I32,
        (ScalarKind::Sint, 8) => ScalarType::I64,
        (ScalarKind::Uint, 2) => ScalarType::U16,
        (ScalarKind::Uint, 4) => ScalarType::U32,
        (ScalarKind::Uint, 8) => ScalarType::U64,
        (ScalarKind::Float, 2) => ScalarType::F16,
        (ScalarKind::Float, 4) => ScalarType::F32,
        (ScalarKind::Float, 8) => ScalarType::F64,
        (
            ScalarKind::Sint
            | ScalarKind::Uint
            | ScalarKind::Float
            | ScalarKind::AbstractInt
            | ScalarKind::AbstractFloat,
            _,
        ) => return None,
    })
}

pub(crate) fn lanes(size: VectorSize) -> Lanes {
    match size {
        VectorSize::Bi => Lanes::Two,
        VectorSize::Tri => Lanes::Three,
        VectorSize::Quad => Lanes::Four,
    }
}

/// Returns the tree of a type of the module. `at` is the place of the declaration that needs it, and `length` returns the
/// length of an array that an override states.
///
/// # Errors
/// `FG1302` and `FG1303` for types without an equivalent, `FG1306` for one that is too large, and those of `length`.
pub(crate) fn convert(
    module: &Module,
    handle: Handle<naga::Type>,
    at: Location,
    length: &mut dyn FnMut(Handle<Override>) -> Res<u32>,
) -> Res<Rc<Ty>> {
    convert_at(module, handle, at, length, 0)
}

fn convert_at(
    module: &Module,
    handle: Handle<naga::Type>,
    at: Location,
    length: &mut dyn FnMut(Handle<Override>) -> Res<u32>,
    depth: u32,
) -> Res<Rc<Ty>> {
    if depth > MAX_DEPTH {
        return Err(too_large(at, format!("types nest more than {MAX_DEPTH} deep")));
    }
    let ty = &module.types[handle];
    let leaf = |inner: naga::Scalar, lanes: Lanes, atomic: bool| {
        let scalar = scalar(inner).ok_or_else(|| {
            let fix = "Use a scalar type of 16, 32 or 64 bits.";
            unsupported(at, format!("scalar type {inner:?} has no equivalent"), fix)
        })?;
        Ok(Rc::new(Ty::Leaf { ty: Type::vector(scalar, lanes), atomic }))
    };
    match &ty.inner {
        TypeInner::Scalar(inner) => leaf(*inner, Lanes::One, false),
        TypeInner::Vector { size, scalar } => leaf(*scalar, lanes(*size), false),
        TypeInner::Atomic(inner) => leaf(*inner, Lanes::One, true),
        TypeInner::Matrix { columns, rows, scalar: inner } => {
            let scalar = scalar(*inner).unwrap_or(ScalarType::F32);
            Ok(Ty::matrix(*columns as u32, Type::vector(scalar, lanes(*rows))))
        }
        TypeInner::Array { base, size, stride } => {
            let len = match size {
                ArraySize::Constant(len) => Some(len.get()),
                ArraySize::Dynamic => None,
                ArraySize::Pending(size) => Some(length(*size)?),
            };
            let element = convert_at(module, *base, at, length, depth + 1)?;
            Ok(Rc::new(Ty::Array { element, len, stride: *stride, is_matrix: false }))
        }
        TypeInner::Struct { members, .. } => {
            let members = members.iter().enumerate().map(|(i, member)| {
                Ok(Member {
                    name: crate::names::ascii(member.name.as_deref().unwrap_or(&format!("m{i}"))),
                    offset: member.offset,
                    ty: convert_at(module, member.ty, at, length, depth + 1)?,
                })
            });
            let ty = Ty::Struct { members: members.collect::<Res<Vec<_>>>()? };
            if ty.fields() as u64 > MAX_VALUE_LEAVES {
                return Err(too_large(at, format!("structure has more than {MAX_VALUE_LEAVES} members")));
            }
            Ok(Rc::new(ty))
        }
        TypeInner::Image { .. } => Err(resource(
            at,
            "textures cannot be bound to a kernel",
            "Pass the texels in a storage buffer, and compute their index from the coordinates.",
        )),
        TypeInner::Sampler { .. } => Err(resource(
            at,
            "samplers cannot be bound to a kernel",
            "Pass the texels in a storage buffer, and interpolate in the shader.",
        )),
        TypeInner::BindingArray { .. } => Err(resource(
            at,
            "arrays of bindings cannot be bound to a kernel",
            "Declare a binding for each buffer, or one storage buffer that holds the data of all.",
        )),
        TypeInner::AccelerationStructure { .. } | TypeInner::RayQuery { .. } => Err(resource(
            at,
            "ray queries have no equivalent",
            "Traverse the scene in the shader, with its nodes in storage buffers.",
        )),
        TypeInner::CooperativeMatrix { .. } => Err(unsupported(
            at,
            "cooperative matrices are not imported",
            "Write that part of the kernel in Fulgurite, whose `coop` ops work on such matrices.",
        )),
        TypeInner::Pointer { .. } | TypeInner::ValuePointer { .. } => Err(unsupported(
            at,
            "pointers cannot be stored in memory",
            "Store an index, and index the variable where the pointer is used.",
        )),
    }
}
