//! The data structure of a kernel: declarations, and arenas of values, instructions and blocks.
//!
//! Nothing here checks anything: a [`Kernel`] may be malformed until [`verify`](crate::verify) has seen it.

mod arena;

pub use arena::{BlockId, BufferId, InstId, LocalId, Operands, ParamId, SharedId, ValueId};

use fulgurite_spec::{Literal, Location, Op, Type};

use crate::require::Require;

/// The number of workgroups along x, y and z.
pub type Grid = [u32; 3];

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

/// A shared array (one per workgroup) or a local one (one per invocation), zero at start.
#[derive(Clone, Debug)]
pub struct ArrayDecl {
    /// Name, without `%`.
    pub name: String,
    /// Element type.
    pub element: Type,
    /// Number of elements, at least 1.
    pub len: u32,
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
}

/// Which memory a barrier orders, besides execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemoryScopes {
    /// Shared memory.
    pub shared: bool,
    /// Buffers.
    pub buffers: bool,
}

impl MemoryScopes {
    /// Shared memory and buffers: what a bare `barrier` orders.
    pub const ALL: MemoryScopes = MemoryScopes { shared: true, buffers: true };
}

/// A value: its type, where it comes from, and its name if it has one.
#[derive(Clone, Debug)]
pub struct Value {
    /// Type.
    pub ty: Type,
    /// What defines it.
    pub def: ValueDef,
    /// Name, without `%`; provenance only.
    pub name: Option<Box<str>>,
}

/// What defines a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueDef {
    /// A scalar constant, defined everywhere.
    Const(Const),
    /// A launch parameter, defined everywhere.
    Param(ParamId),
    /// A result of an instruction, by position.
    Inst(InstId, u32),
    /// A block's parameter, by position: loop counter first, then carried values.
    BlockParam(BlockId, u32),
}

/// The bits of a scalar constant; the type is the value's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Const(pub u64);

/// An instruction: what it does, its results, and where it was written.
#[derive(Clone, Debug)]
pub struct Inst {
    /// What it does.
    pub kind: InstKind,
    /// Its results; one for most ops, any number for control flow.
    pub results: Operands,
    /// Where it was written.
    pub location: Location,
}

/// What an instruction does.
#[derive(Clone, Debug)]
pub enum InstKind {
    /// A pure op of the table's `Scalar` semantics, or `construct`.
    Scalar {
        /// The op.
        op: Op,
        /// Operands in the table's order.
        operands: Operands,
    },
    /// `global_id` and its kin. `component` is 0 for the scalar ids.
    Id {
        /// The op.
        op: Op,
        /// 0, 1 or 2: x, y or z.
        component: u8,
    },
    /// `load`: one result of the element type.
    Load {
        /// From where.
        memory: Memory,
        /// Element index, `u32`.
        index: ValueId,
    },
    /// `store`.
    Store {
        /// To where.
        memory: Memory,
        /// Element index, `u32`.
        index: ValueId,
        /// What.
        value: ValueId,
    },
    /// `len`: one `u32`.
    Len {
        /// Of what.
        memory: Memory,
    },
    /// An atomic op, relaxed; workgroup scope on shared memory, device scope on buffers.
    Atomic {
        /// Which.
        op: Op,
        /// Where.
        memory: Memory,
        /// Element index, `u32`.
        index: ValueId,
        /// What follows: none for `load`, comparator and value for `compare_exchange`, else one.
        operands: Operands,
    },
    /// `barrier`.
    Barrier {
        /// Which memory it orders.
        scopes: MemoryScopes,
    },
    /// `if`: results are what the taken block yields.
    If {
        /// `bool`.
        condition: ValueId,
        /// Taken when true.
        then_block: BlockId,
        /// Taken when false; empty if the text has none.
        else_block: BlockId,
    },
    /// `for`: results are the carried values after the last iteration.
    For {
        /// First counter value.
        start: ValueId,
        /// The counter stops before this.
        end: ValueId,
        /// A non-zero literal.
        step: ValueId,
        /// What the carried values begin with.
        initial: Operands,
        /// Parameters: the counter, then the carried values; yields the next carried values.
        body: BlockId,
    },
    /// `while`: results are the carried values when the condition fails.
    While {
        /// What the carried values begin with.
        initial: Operands,
        /// Parameters: the carried values; ends in `condition`.
        header: BlockId,
        /// Sees the header's values and parameters; yields the next carried values.
        body: BlockId,
    },
}

/// A straight run of instructions and what ends it.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// Values that the enclosing instruction supplies.
    pub params: Vec<ValueId>,
    /// In order.
    pub insts: Vec<InstId>,
    /// What ends it.
    pub terminator: Terminator,
    /// Where the terminator was written.
    pub location: Location,
}

/// What ends a block.
#[derive(Clone, Debug, Default)]
pub enum Terminator {
    /// The kernel's own block.
    #[default]
    Return,
    /// A region's values.
    Yield(Operands),
    /// A `while` header: go on while this `bool` holds.
    Condition(ValueId),
}

/// A kernel. Fields are reached by accessors; only builder, parser and passes change one.
#[derive(Clone)]
pub struct Kernel {
    /// Name, without `@`; provenance only.
    pub name: String,
    /// Invocations in a workgroup along x, y and z.
    pub workgroup: [u32; 3],
    /// Buffers, in binding order.
    pub buffers: Vec<BufferDecl>,
    /// Parameters, in order.
    pub params: Vec<ParamDecl>,
    /// Shared arrays.
    pub shared: Vec<ArrayDecl>,
    /// Local arrays.
    pub locals: Vec<ArrayDecl>,
    /// Preconditions of a launch.
    pub requires: Vec<Require>,
    /// All values.
    pub values: Vec<Value>,
    /// All instructions.
    pub insts: Vec<Inst>,
    /// All blocks.
    pub blocks: Vec<Block>,
    /// The outermost block.
    pub body: BlockId,
    /// Where the kernel was declared.
    pub location: Location,
}

impl Kernel {
    /// A kernel that does nothing.
    pub fn empty(name: impl Into<String>, workgroup: [u32; 3]) -> Self {
        Self {
            name: name.into(),
            workgroup,
            buffers: Vec::new(),
            params: Vec::new(),
            shared: Vec::new(),
            locals: Vec::new(),
            requires: Vec::new(),
            values: Vec::new(),
            insts: Vec::new(),
            blocks: vec![Block::default()],
            body: BlockId::new(0),
            location: Location::Unknown,
        }
    }

    /// Invocations in a workgroup, saturating.
    pub fn workgroup_invocations(&self) -> u32 {
        self.workgroup.iter().fold(1u32, |product, n| product.saturating_mul(*n))
    }

    /// A value of this kernel.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// The type of a value of this kernel.
    pub fn ty(&self, id: ValueId) -> Type {
        self.values[id.index()].ty
    }

    /// The literal that a value is, if it is a constant.
    pub fn literal(&self, id: ValueId) -> Option<Literal> {
        let value = self.value(id);
        match value.def {
            ValueDef::Const(Const(bits)) => Some(Literal::new(value.ty.scalar, bits)),
            _ => None,
        }
    }

    /// An instruction of this kernel.
    pub fn inst(&self, id: InstId) -> &Inst {
        &self.insts[id.index()]
    }

    /// A block of this kernel.
    pub fn block(&self, id: BlockId) -> &Block {
        &self.blocks[id.index()]
    }

    /// The element type of a memory object.
    pub fn element(&self, memory: Memory) -> Type {
        match memory {
            Memory::Buffer(id) => self.buffers[id.index()].element,
            Memory::Shared(id) => self.shared[id.index()].element,
            Memory::Local(id) => self.locals[id.index()].element,
        }
    }

    /// The name of a memory object, without `%`.
    pub fn memory_name(&self, memory: Memory) -> &str {
        match memory {
            Memory::Buffer(id) => &self.buffers[id.index()].name,
            Memory::Shared(id) => &self.shared[id.index()].name,
            Memory::Local(id) => &self.locals[id.index()].name,
        }
    }

    /// Bytes of shared memory.
    pub fn shared_bytes(&self) -> u64 {
        array_bytes(&self.shared)
    }

    /// Bytes of local memory of one invocation.
    pub fn local_bytes(&self) -> u64 {
        array_bytes(&self.locals)
    }

    /// Adds a value.
    pub fn add_value(&mut self, ty: Type, def: ValueDef, name: Option<Box<str>>) -> ValueId {
        let id = ValueId::new(self.values.len());
        self.values.push(Value { ty, def, name });
        id
    }

    /// Adds an empty block.
    pub fn add_block(&mut self) -> BlockId {
        let id = BlockId::new(self.blocks.len());
        self.blocks.push(Block::default());
        id
    }

    /// Adds an instruction at the end of `block`, with one result of each of `results`.
    pub fn add_inst(
        &mut self,
        block: BlockId,
        kind: InstKind,
        results: &[Type],
        location: Location,
    ) -> InstId {
        let id = InstId::new(self.insts.len());
        let results =
            results.iter().zip(0..).map(|(ty, i)| self.add_value(*ty, ValueDef::Inst(id, i), None)).collect();
        self.insts.push(Inst { kind, results, location });
        self.blocks[block.index()].insts.push(id);
        id
    }
}

fn array_bytes(arrays: &[ArrayDecl]) -> u64 {
    arrays.iter().map(|a| u64::from(a.len) * u64::from(a.element.size())).sum()
}

/// Prints the kernel's text.
impl core::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&crate::text::print(self))
    }
}
