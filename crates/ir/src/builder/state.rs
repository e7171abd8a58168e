//! The untyped state of a builder: the kernel so far, open blocks, constants and errors.

use std::collections::HashMap;
use std::panic::Location as RustLocation;

use fulgurite_spec::{Code, Diagnostic, Literal, Location, Op, Outcome, Semantics, Type};

use super::Builder;
use super::value::Erased;
use crate::analysis::walk::operands;
use crate::kernel::{BlockId, Const, InstKind, Kernel, Memory, Terminator, ValueDef, ValueId};
use crate::require::RequireNode;

pub(super) struct State {
    pub(super) kernel: Kernel,
    pub(super) errors: Vec<Diagnostic>,
    /// Blocks that have been entered but not ended, innermost last.
    open: Vec<BlockId>,
    /// For each block, true if it is in `open`, so that its values may be used.
    is_open: Vec<bool>,
    /// The block that defines each value; `None` for constants and parameters.
    homes: Vec<Option<BlockId>>,
    constants: HashMap<Literal, ValueId>,
}

impl State {
    pub(super) fn new(kernel: Kernel) -> Self {
        Self {
            open: vec![kernel.body],
            is_open: vec![true],
            homes: Vec::new(),
            constants: HashMap::new(),
            errors: Vec::new(),
            kernel,
        }
    }

    pub(super) fn report(
        &mut self,
        code: Code,
        place: &'static RustLocation<'static>,
        message: impl Into<String>,
    ) {
        self.errors.push(Diagnostic::new(code, Location::Rust(place), message));
    }

    /// Returns the block that instructions are added to.
    fn current(&self) -> BlockId {
        self.open.last().copied().unwrap_or(self.kernel.body)
    }

    /// Creates and enters a nested block.
    pub(super) fn open(&mut self) -> BlockId {
        let block = self.kernel.add_block();
        self.reopen(block);
        block
    }

    fn reopen(&mut self, block: BlockId) {
        self.open.push(block);
        self.is_open.resize(self.kernel.blocks.len(), false);
        self.is_open[block.index()] = true;
    }

    /// Adds a parameter to an open block.
    pub(super) fn block_param(&mut self, block: BlockId, ty: Type) -> ValueId {
        let position = self.kernel.block(block).params.len() as u32;
        let id = self.kernel.add_value(ty, ValueDef::BlockParam(block, position), None);
        self.kernel.blocks[block.index()].params.push(id);
        self.home(Some(block));
        id
    }

    /// Sets the terminator of a block and leaves the innermost block.
    pub(super) fn end(&mut self, block: BlockId, terminator: Terminator, location: Location) {
        self.terminate(block, terminator, location);
        self.leave();
    }

    /// Sets the terminator of a block, but keeps its values usable.
    pub(super) fn terminate(&mut self, block: BlockId, terminator: Terminator, location: Location) {
        let data = &mut self.kernel.blocks[block.index()];
        data.terminator = terminator;
        data.location = location;
    }

    /// Leaves the innermost block.
    pub(super) fn leave(&mut self) {
        if let Some(block) = self.open.pop() {
            self.is_open[block.index()] = false;
        }
    }

    /// Leaves the innermost block and removes its instructions.
    pub(super) fn discard(&mut self) {
        let block = self.current();
        self.leave();
        self.kernel.blocks[block.index()].insts.clear();
    }

    fn home(&mut self, block: Option<BlockId>) {
        self.homes.resize(self.kernel.values.len(), block);
    }

    pub(super) fn constant(&mut self, literal: Literal) -> ValueId {
        if let Some(id) = self.constants.get(&literal) {
            return *id;
        }
        let id = self.kernel.add_value(Type::scalar(literal.ty), ValueDef::Const(Const(literal.bits)), None);
        self.home(None);
        self.constants.insert(literal, id);
        id
    }

    /// Adds the value of the next parameter to be declared.
    pub(super) fn param(&mut self, ty: Type, name: &str) -> ValueId {
        let param = crate::kernel::ParamId::new(self.kernel.params.len());
        let id = self.kernel.add_value(ty, ValueDef::Param(param), Some(name.into()));
        self.home(None);
        id
    }

    /// Adds an instruction to the innermost block and returns its results.
    pub(super) fn inst(&mut self, kind: InstKind, results: &[Type], location: Location) -> Vec<ValueId> {
        let block = self.current();
        let id = self.kernel.add_inst(block, kind, results, location);
        self.home(Some(block));
        self.kernel.inst(id).results.to_vec()
    }

    /// Adds an instruction with one result to the innermost block and returns the result.
    pub(super) fn single(&mut self, kind: InstKind, ty: Type, location: Location) -> ValueId {
        let block = self.current();
        let id = self.kernel.add_inst(block, kind, &[ty], location);
        self.home(Some(block));
        self.kernel.inst(id).results[0]
    }

    /// Returns the id of a value if it may be used in the innermost block. Otherwise, reports an error and returns a
    /// zero of the same type.
    pub(super) fn check(
        &mut self,
        value: Erased<'_>,
        builder: &Builder,
        place: &'static RustLocation<'static>,
    ) -> ValueId {
        let code = if !core::ptr::eq(value.builder, builder) {
            Some((Code::ForeignValue, "the value belongs to another kernel"))
        } else {
            match self.homes.get(value.id.index()) {
                Some(Some(block)) if !self.is_open[block.index()] => {
                    Some((Code::EscapedValue, "the value was made inside a region that has ended"))
                }
                _ => None,
            }
        };
        let Some((code, message)) = code else { return value.id };
        self.report(code, place, message);
        // Any value will do: the kernel is not returned after an error.
        let zero = self.kernel.add_value(value.ty, ValueDef::Const(Const(0)), None);
        self.home(None);
        zero
    }

    /// Returns whether the innermost block contains only scalar ops, ids and lengths.
    pub(super) fn only_computes(&self) -> bool {
        let insts = &self.kernel.block(self.current()).insts;
        insts.iter().all(|i| {
            matches!(
                self.kernel.inst(*i).kind,
                InstKind::Scalar { .. } | InstKind::Id { .. } | InstKind::Len { .. }
            )
        })
    }

    /// Returns the precondition that computes `id`, or `None` if it reads anything that a precondition may not.
    pub(super) fn require_nodes(&self, id: ValueId) -> Option<Vec<RequireNode>> {
        let mut nodes: Vec<RequireNode> = Vec::new();
        let mut positions: HashMap<ValueId, u32> = HashMap::new();
        let mut stack = vec![(id, false)];
        while let Some((value, ready)) = stack.pop() {
            if positions.contains_key(&value) {
                continue;
            }
            let node = match self.kernel.value(value).def {
                ValueDef::Const(_) => RequireNode::Literal(self.kernel.literal(value)?),
                ValueDef::Param(param) => RequireNode::Param(param),
                ValueDef::BlockParam(..) => return None,
                ValueDef::Inst(inst, _) => match &self.kernel.inst(inst).kind {
                    InstKind::Len { memory: Memory::Buffer(buffer) } => RequireNode::Len(*buffer),
                    InstKind::Id { op: Op::NumWorkgroups, component } => {
                        RequireNode::NumWorkgroups(*component)
                    }
                    kind @ InstKind::Scalar { op, .. } => {
                        match op.info().semantics {
                            Semantics::Scalar { outcome: Outcome::Stated, .. } | Semantics::Special(_) => {
                                return None;
                            }
                            Semantics::Scalar { .. } => {}
                        }
                        if !ready {
                            stack.push((value, true));
                            stack.extend(operands(kind).map(|v| (v, false)));
                            continue;
                        }
                        let operands =
                            operands(kind).map(|v| positions.get(&v).copied()).collect::<Option<_>>()?;
                        RequireNode::Op { op: *op, operands }
                    }
                    InstKind::Len { .. }
                    | InstKind::Id { .. }
                    | InstKind::VecShuffle { .. }
                    | InstKind::Load { .. }
                    | InstKind::Store { .. }
                    | InstKind::Atomic { .. }
                    | InstKind::Fence { .. }
                    | InstKind::Barrier { .. }
                    | InstKind::SubgroupBarrier { .. }
                    | InstKind::WorkgroupBroadcast { .. }
                    | InstKind::Subgroup { .. }
                    | InstKind::CoopLoad { .. }
                    | InstKind::CoopStore { .. }
                    | InstKind::CoopFill { .. }
                    | InstKind::CoopMulAdd { .. }
                    | InstKind::CoopConvert { .. }
                    | InstKind::Trap { .. }
                    | InstKind::If { .. }
                    | InstKind::For { .. }
                    | InstKind::Region { .. }
                    | InstKind::While { .. } => return None,
                },
            };
            positions.insert(value, nodes.len() as u32);
            nodes.push(node);
        }
        Some(nodes)
    }
}
