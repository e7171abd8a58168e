//! Declarations of a kernel: buffers, parameters, arrays and views.

use fulgurite_spec::{Location, Type};

use super::arena::{BufferId, LocalId, SharedId, ValueId, ViewId};

/// Returns the second byte of a type in digests and in the wire format: the number of components, or the number of
/// the matrix shape.
pub(crate) fn components_code(ty: Type) -> u8 {
    ty.matrix.map_or(ty.lanes.count() as u8, |shape| shape.number())
}

/// The kernel's access to a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Access {
    /// Loads only.
    Read = 0,
    /// Stores only.
    Write = 1,
    /// Loads, stores and atomics.
    ReadWrite = 2,
}

impl Access {
    /// All accesses, in order of their numbers.
    pub const ALL: [Access; 3] = [Self::Read, Self::Write, Self::ReadWrite];

    /// Returns the word in kernel text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadWrite => "read_write",
        }
    }

    /// Returns whether loads are allowed.
    pub const fn can_read(self) -> bool {
        !matches!(self, Self::Write)
    }

    /// Returns whether stores are allowed.
    pub const fn can_write(self) -> bool {
        !matches!(self, Self::Read)
    }
}

/// A buffer that each launch binds. Its length in elements is known at launch.
#[derive(Clone, Debug)]
pub struct BufferDecl {
    /// Name, without `%`.
    pub name: String,
    /// Element type.
    pub element: Type,
    /// The kernel's access to it.
    pub access: Access,
    /// True if it may have 2³² elements or more. Its length is then a `u64`.
    pub large: bool,
    /// Source location of the declaration.
    pub location: Location,
}

/// A value passed to each launch, the same for all invocations.
#[derive(Clone, Debug)]
pub struct ParamDecl {
    /// Name, without `%`.
    pub name: String,
    /// Type; not `bool`.
    pub ty: Type,
    /// The value of the parameter in the kernel.
    pub value: ValueId,
    /// Source location of the declaration.
    pub location: Location,
}

/// The initial contents of an array.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Initial {
    /// Zeros.
    #[default]
    Zero = 0,
    /// Unspecified until written; shared arrays only. Reading an element before it is written is a bug in the kernel.
    Uninit = 1,
}

/// A shared array (one per workgroup) or a local array (one per invocation).
#[derive(Clone, Debug)]
pub struct ArrayDecl {
    /// Name, without `%`.
    pub name: String,
    /// Element type.
    pub element: Type,
    /// Number of elements, at least 1.
    pub len: u32,
    /// Initial contents.
    pub initial: Initial,
    /// Source location of the declaration.
    pub location: Location,
}

/// A view of the bytes of a buffer or shared array as elements of another type.
#[derive(Clone, Debug)]
pub struct ViewDecl {
    /// Name, without `%`.
    pub name: String,
    /// The buffer or shared array.
    pub base: Memory,
    /// Element type.
    pub element: Type,
    /// Source location of the declaration.
    pub location: Location,
}

/// A memory object that a kernel accesses by element index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Memory {
    /// A bound buffer.
    Buffer(BufferId),
    /// A shared array of the workgroup.
    Shared(SharedId),
    /// A local array of the invocation.
    Local(LocalId),
    /// A view of a buffer or shared array as elements of another type.
    View(ViewId),
}
