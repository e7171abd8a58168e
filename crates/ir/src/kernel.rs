//! The data structure of a kernel: declarations, and arenas of values, instructions and blocks.
//!
//! Nothing here checks anything: a [`Kernel`] may be malformed until [`verify`](crate::verify) has seen it.

mod arena;
mod attributes;
mod declared;
mod inst;
mod layout;

pub use arena::{BlockId, BufferId, InstId, LocalId, Operands, ParamId, SharedId, ValueId, ViewId};
pub use attributes::{AtomicOrder, Combine, FloatMode, MemoryScopes, SyncScope};
pub(crate) use declared::components_code;
pub use declared::{Access, ArrayDecl, BufferDecl, Initial, Memory, ParamDecl, ViewDecl};
pub use inst::{Inst, InstKind};
pub use layout::{MATRIX_ALIGNMENT, alignment};

use fulgurite_spec::{Literal, Location, Type};

use crate::require::Require;

/// The number of workgroups along x, y and z.
pub type Grid = [u32; 3];

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
    /// Views of buffers and shared arrays.
    pub views: Vec<ViewDecl>,
    /// Whether workgroups may wait for others that have begun: `needs workgroup_progress`.
    pub needs_progress: bool,
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
            views: Vec::new(),
            needs_progress: false,
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

/// Prints the kernel's text.
impl core::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&crate::text::print(self))
    }
}
