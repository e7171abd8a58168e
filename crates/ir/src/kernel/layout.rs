//! Memory objects of a kernel: element type, length, access and layout.

use fulgurite_spec::{ScalarType, Type};

use super::Kernel;
use super::arena::{SharedId, ViewId};
use super::attributes::SyncScope;
use super::declared::{Access, ArrayDecl, Memory, ViewDecl};
use super::inst::{Inst, InstKind};

/// The largest alignment required of a matrix in memory, in bytes: the width of the widest device load.
pub const MATRIX_ALIGNMENT: u32 = 16;

/// The type of the length of a `large` buffer.
const LARGE_LENGTH: Type = Type::scalar(ScalarType::U64);

/// Returns the alignment in bytes of elements of type `ty`: the size of a component for a packed vector of three,
/// otherwise the size of the element, at most 16. Returns 1 for types without a memory form.
pub fn alignment(ty: Type) -> u32 {
    let size = if ty.lanes.count() == 3 { ty.scalar.size() } else { ty.size() };
    size.clamp(1, 16)
}

fn bytes(array: &ArrayDecl) -> u64 {
    u64::from(array.len) * u64::from(array.element.size())
}

impl Kernel {
    /// Returns the default scope of an atomic op on `memory`.
    pub(crate) fn default_scope(&self, memory: Memory) -> SyncScope {
        match memory {
            Memory::View(id)
                if self.views.get(id.index()).is_some_and(|v| matches!(v.base, Memory::Shared(_))) =>
            {
                SyncScope::Workgroup
            }
            Memory::Shared(_) => SyncScope::Workgroup,
            Memory::Buffer(_) | Memory::Local(_) | Memory::View(_) => SyncScope::Device,
        }
    }

    /// Returns the element type of a memory object.
    pub fn element(&self, memory: Memory) -> Type {
        match memory {
            Memory::Buffer(id) => self.buffers[id.index()].element,
            Memory::Shared(id) => self.shared[id.index()].element,
            Memory::Local(id) => self.locals[id.index()].element,
            Memory::View(id) => self.views[id.index()].element,
        }
    }

    /// Returns the name of a memory object, without `%`.
    pub fn memory_name(&self, memory: Memory) -> &str {
        match memory {
            Memory::Buffer(id) => &self.buffers[id.index()].name,
            Memory::Shared(id) => &self.shared[id.index()].name,
            Memory::Local(id) => &self.locals[id.index()].name,
            Memory::View(id) => &self.views[id.index()].name,
        }
    }

    /// Returns the buffer or array that a view refers to, or the memory object itself if it is not a view.
    pub fn base(&self, memory: Memory) -> Memory {
        match memory {
            Memory::View(id) => self.views[id.index()].base,
            Memory::Buffer(_) | Memory::Shared(_) | Memory::Local(_) => memory,
        }
    }

    /// Returns the kernel's access to a memory object: read-write for arrays.
    pub fn access(&self, memory: Memory) -> Access {
        match self.base(memory) {
            Memory::Buffer(id) => self.buffers[id.index()].access,
            Memory::Shared(_) | Memory::Local(_) | Memory::View(_) => Access::ReadWrite,
        }
    }

    /// Returns the type of a memory object's length: `u64` for `large` buffers and their views.
    pub fn len_type(&self, memory: Memory) -> Type {
        match self.base(memory) {
            Memory::Buffer(id) if self.buffers[id.index()].large => LARGE_LENGTH,
            Memory::Buffer(_) | Memory::Shared(_) | Memory::Local(_) | Memory::View(_) => Type::U32,
        }
    }

    /// Returns the length of a shared or local array or of a view of a shared array. Returns `None` for buffers and
    /// their views, whose length is known only at launch.
    pub fn array_len(&self, memory: Memory) -> Option<u32> {
        match memory {
            Memory::Buffer(_) => None,
            Memory::Shared(id) => Some(self.shared[id.index()].len),
            Memory::Local(id) => Some(self.locals[id.index()].len),
            Memory::View(id) => {
                let view = &self.views[id.index()];
                let bytes = match view.base {
                    Memory::Shared(id) => bytes(&self.shared[id.index()]),
                    Memory::Buffer(_) | Memory::Local(_) | Memory::View(_) => return None,
                };
                u32::try_from(bytes / u64::from(view.element.size().max(1))).ok()
            }
        }
    }

    /// Returns the views of a buffer or array.
    pub fn views_of(&self, base: Memory) -> impl Iterator<Item = &ViewDecl> {
        self.views.iter().filter(move |v| v.base == base)
    }

    /// Returns a memory object and the views of it: all names by which a kernel can access its bytes.
    pub fn aliases(&self, base: Memory) -> impl Iterator<Item = Memory> + Clone + '_ {
        let views = (0..self.views.len()).map(|i| Memory::View(ViewId::new(i)));
        std::iter::once(base).chain(views.filter(move |view| self.base(*view) == base))
    }

    /// Returns the offset of each shared array in the workgroup's memory and the total number of bytes. Each array is
    /// aligned for its elements and those of its views, and to 16 bytes if the kernel loads or stores matrices.
    pub fn shared_layout(&self) -> (Vec<u64>, u64) {
        let is_matrix_access =
            |inst: &Inst| matches!(inst.kind, InstKind::CoopLoad { .. } | InstKind::CoopStore { .. });
        let least = if !self.shared.is_empty() && self.insts.iter().any(is_matrix_access) {
            MATRIX_ALIGNMENT
        } else {
            1
        };
        let mut offsets = Vec::with_capacity(self.shared.len());
        let mut end = 0u64;
        for (i, array) in self.shared.iter().enumerate() {
            let views = self.views_of(Memory::Shared(SharedId::new(i))).map(|v| v.element);
            let aligned = views.chain([array.element]).map(alignment).max().unwrap_or(1).max(least);
            end = end.next_multiple_of(u64::from(aligned));
            offsets.push(end);
            end += bytes(array);
        }
        (offsets, end)
    }

    /// Returns the number of bytes of shared memory.
    pub fn shared_bytes(&self) -> u64 {
        self.shared_layout().1
    }

    /// Returns the number of bytes of local memory of one invocation.
    pub fn local_bytes(&self) -> u64 {
        self.locals.iter().map(bytes).sum()
    }
}
