//! What a kernel declares: buffers, parameters, arrays and views.

use fulgurite_spec::{Location, Type};

use super::arena::{BufferId, LocalId, SharedId, ValueId, ViewId};

/// The second byte of a type in digests and in the wire format: the number of components, or of the matrix's shape.
pub(crate) fn components_code(ty: Type) -> u8 {
    ty.matrix.map_or(ty.lanes.count() as u8, |shape| shape.number())
}

/// What a kernel may do with a buffer.
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
    /// Every access, in order of number.
    pub const ALL: [Access; 3] = [Self::Read, Self::Write, Self::ReadWrite];

    /// The word in kernel text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadWrite => "read_write",
        }
    }

    /// Whether loads are allowed.
    pub const fn can_read(self) -> bool {
        !matches!(self, Self::Write)
    }

    /// Whether stores are allowed.
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
    /// What the kernel may do with it.
    pub access: Access,
    /// Whether it may have 2³² elements or more: its length is a `u64`.
    pub large: bool,
    /// Where it was declared.
    pub location: Location,
}

/// A value that each launch passes, the same for all invocations.
#[derive(Clone, Debug)]
pub struct ParamDecl {
    /// Name, without `%`.
    pub name: String,
    /// Its type; not `bool`.
    pub ty: Type,
    /// The value that stands for it in the kernel.
    pub value: ValueId,
    /// Where it was declared.
    pub location: Location,
}

/// What an array holds when the kernel begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Initial {
    /// Zeros.
    #[default]
    Zero = 0,
    /// Nothing until it is written; shared arrays only. Reading it before is a bug of the kernel.
    Uninit = 1,
}

/// A shared array (one per workgroup) or a local one (one per invocation).
#[derive(Clone, Debug)]
pub struct ArrayDecl {
    /// Name, without `%`.
    pub name: String,
    /// Element type.
    pub element: Type,
    /// Number of elements, at least 1.
    pub len: u32,
    /// What it begins as.
    pub initial: Initial,
    /// Where it was declared.
    pub location: Location,
}

/// The bytes of a buffer or shared array as elements of another type.
#[derive(Clone, Debug)]
pub struct ViewDecl {
    /// Name, without `%`.
    pub name: String,
    /// Whose bytes: a buffer or a shared array.
    pub base: Memory,
    /// Element type.
    pub element: Type,
    /// Where it was declared.
    pub location: Location,
}

/// A memory object that a kernel accesses by element index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Memory {
    /// A bound buffer.
    Buffer(BufferId),
    /// A workgroup's shared array.
    Shared(SharedId),
    /// An invocation's own array.
    Local(LocalId),
    /// Another's bytes as elements of another type.
    View(ViewId),
}
