//! The data structure of a kernel: declarations, and arenas of values, instructions and blocks.
//!
//! Nothing here is checked: a [`Kernel`] may be malformed until it passes [`verify`](crate::verify).

mod arena;
mod attributes;
mod declared;
mod group;
mod inst;
mod layout;
mod names;
mod operands;

pub use arena::{BlockId, BufferId, InstId, LocalId, Operands, ParamId, SharedId, ValueId, ViewId};
pub use attributes::{AtomicOrder, Combine, FloatMode, MemoryScopes, SyncScope};
pub(crate) use declared::components_code;
pub use declared::{Access, ArrayDecl, BufferDecl, Initial, Memory, ParamDecl, ViewDecl};
pub use group::{Control, MatrixInst, PureInst};
pub use inst::{Inst, InstKind};
pub use layout::{MATRIX_ALIGNMENT, alignment};
pub(crate) use names::{is_name, is_region_name};

use fulgurite_spec::{Literal, Location, Type};

use crate::require::Require;

/// The number of workgroups along x, y and z.
pub type Grid = [u32; 3];

/// A value: its type, its definition and its optional name.
#[derive(Clone, Debug)]
pub struct Value {
    /// Type.
    pub ty: Type,
    /// Definition.
    pub def: ValueDef,
    /// Name without `%`, for diagnostics and text only.
    pub name: Option<Box<str>>,
}

/// The definition of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueDef {
    /// A scalar constant, defined everywhere.
    Const(Const),
    /// A launch parameter, defined everywhere.
    Param(ParamId),
    /// A result of an instruction, with its position.
    Inst(InstId, u32),
    /// A parameter of a block, with its position: the loop counter first, then carried values.
    BlockParam(BlockId, u32),
}

/// The bits of a scalar constant, whose type is that of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Const(pub u64);

/// A sequence of instructions with a terminator.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// Parameters, which the enclosing instruction supplies.
    pub params: Vec<ValueId>,
    /// Instructions in order of execution.
    pub insts: Vec<InstId>,
    /// Terminator.
    pub terminator: Terminator,
    /// Source location of the terminator.
    pub location: Location,
}

/// The terminator of a block.
#[derive(Clone, Debug, Default)]
pub enum Terminator {
    /// The end of the kernel body.
    #[default]
    Return,
    /// The end of a nested block, with the values that it yields.
    Yield(Operands),
    /// The end of a `while` header: the loop continues while this `bool` is true.
    Condition(ValueId),
}

/// A kernel, which may be malformed. A [`VerifiedKernel`](crate::VerifiedKernel) is well-formed and immutable.
#[derive(Clone)]
pub struct Kernel {
    /// Name without `@`, for diagnostics and text only.
    pub name: String,
    /// The number of invocations in a workgroup along x, y and z.
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
    /// True if workgroups may wait for others that have started: `needs workgroup_progress`.
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
    /// Source location of the declaration.
    pub location: Location,
}

impl Kernel {
    /// Returns a kernel with no declarations and an empty body.
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

    /// Returns the number of invocations in a workgroup, saturating at the numeric bounds.
    pub fn workgroup_invocations(&self) -> u32 {
        self.workgroup.iter().fold(1u32, |product, n| product.saturating_mul(*n))
    }

    /// Returns a value of this kernel.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// Returns the type of a value of this kernel.
    pub fn ty(&self, id: ValueId) -> Type {
        self.values[id.index()].ty
    }

    /// Returns the literal of a constant, or `None` for any other value.
    pub fn literal(&self, id: ValueId) -> Option<Literal> {
        let value = self.value(id);
        match value.def {
            ValueDef::Const(Const(bits)) => Some(Literal::new(value.ty.scalar, bits)),
            _ => None,
        }
    }

    /// Returns an instruction of this kernel.
    pub fn inst(&self, id: InstId) -> &Inst {
        &self.insts[id.index()]
    }

    /// Returns a block of this kernel.
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

    /// Adds an instruction at the end of `block`, with one result for each type in `results`.
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
