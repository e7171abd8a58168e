//! Adds instructions to a kernel under construction, folding what literals decide.

use std::collections::HashMap;

use fulgurite_ir::{
    Block, BlockId, Const, FloatMode, InstKind, Kernel, Memory, Operands, Terminator, ValueDef, ValueId,
    id_type, scalar_result,
};
use fulgurite_spec::{Lanes, Literal, Location, Op, ScalarType, Type, eval};

use crate::refusal::{Res, internal};

/// An index that is out of bounds in every memory object.
pub(crate) const OUTSIDE: u32 = u32::MAX;

/// A kernel under construction and the block that instructions are added to.
pub(crate) struct Emit {
    pub(crate) kernel: Kernel,
    pub(crate) block: BlockId,
    /// The place of the construct that is being lowered.
    pub(crate) at: Location,
    constants: HashMap<Literal, ValueId>,
    /// The components of vectors that `construct` makes.
    parts: HashMap<ValueId, Box<[ValueId]>>,
    /// The results of ops, with the blocks that they are in.
    computed: HashMap<(Op, Vec<ValueId>, Type), (ValueId, BlockId)>,
    /// The block around each block.
    parents: HashMap<BlockId, BlockId>,
    ids: HashMap<(Op, u8), ValueId>,
    lengths: HashMap<Memory, ValueId>,
    /// A block whose instructions run before the kernel's body.
    prologue: BlockId,
}

impl Emit {
    pub(crate) fn new(mut kernel: Kernel) -> Self {
        let (block, prologue, at) = (kernel.body, kernel.add_block(), kernel.location);
        Self {
            kernel,
            block,
            at,
            prologue,
            constants: HashMap::new(),
            parts: HashMap::new(),
            computed: HashMap::new(),
            parents: HashMap::new(),
            ids: HashMap::new(),
            lengths: HashMap::new(),
        }
    }

    /// Returns the kernel, with the prologue at the start of its body.
    pub(crate) fn finish(mut self) -> Kernel {
        let mut insts = core::mem::take(&mut self.kernel.blocks[self.prologue.index()].insts);
        let body = self.kernel.body.index();
        insts.append(&mut self.kernel.blocks[body].insts);
        self.kernel.blocks[body].insts = insts;
        self.kernel
    }

    /// Runs `add` with instructions going to the prologue.
    pub(crate) fn in_prologue<R>(&mut self, add: impl FnOnce(&mut Self) -> R) -> R {
        let block = core::mem::replace(&mut self.block, self.prologue);
        let result = add(self);
        self.block = block;
        result
    }

    /// Creates a block that instructions go to until [`close`](Self::close). Returns it with the block before.
    pub(crate) fn open(&mut self) -> (BlockId, BlockId) {
        let block = self.kernel.add_block();
        self.parents.insert(block, self.block);
        (block, core::mem::replace(&mut self.block, block))
    }

    /// Ends `block` and continues with `before`.
    pub(crate) fn close(&mut self, block: BlockId, before: BlockId, terminator: Terminator) {
        let at = self.at;
        let data: &mut Block = &mut self.kernel.blocks[block.index()];
        data.terminator = terminator;
        data.location = at;
        self.block = before;
    }

    /// Adds a parameter to a block.
    pub(crate) fn block_param(&mut self, block: BlockId, ty: Type) -> ValueId {
        let position = self.kernel.block(block).params.len() as u32;
        let id = self.kernel.add_value(ty, ValueDef::BlockParam(block, position), None);
        self.kernel.blocks[block.index()].params.push(id);
        id
    }

    pub(crate) fn ty(&self, value: ValueId) -> Type {
        self.kernel.ty(value)
    }

    pub(crate) fn constant(&mut self, literal: Literal) -> ValueId {
        if let Some(id) = self.constants.get(&literal) {
            return *id;
        }
        let id = self.kernel.add_value(Type::scalar(literal.ty), ValueDef::Const(Const(literal.bits)), None);
        self.constants.insert(literal, id);
        id
    }

    pub(crate) fn u32(&mut self, value: u32) -> ValueId {
        self.constant(Literal::new(ScalarType::U32, u64::from(value)))
    }

    pub(crate) fn bool(&mut self, value: bool) -> ValueId {
        self.constant(Literal::new(ScalarType::Bool, u64::from(value)))
    }

    /// Returns the constant nearest to `value` of a scalar type.
    pub(crate) fn number(&mut self, ty: ScalarType, value: f64) -> ValueId {
        let bits = eval::scalar(Op::Convert, ScalarType::F64, ty, &[value.to_bits()]).unwrap_or(0);
        self.constant(Literal::new(ty, bits))
    }

    /// Returns the value of a `u32` constant.
    pub(crate) fn known(&self, value: ValueId) -> Option<u32> {
        self.kernel.literal(value).filter(|l| l.ty == ScalarType::U32).map(|l| l.bits as u32)
    }

    pub(crate) fn known_bool(&self, value: ValueId) -> Option<bool> {
        self.kernel.literal(value).filter(|l| l.ty == ScalarType::Bool).map(|l| l.bits != 0)
    }

    /// Adds an instruction and returns its results.
    pub(crate) fn inst(&mut self, kind: InstKind, results: &[Type]) -> Vec<ValueId> {
        let (block, at) = (self.block, self.at);
        let id = self.kernel.add_inst(block, kind, results, at);
        self.kernel.inst(id).results.to_vec()
    }

    /// Adds an instruction with one result.
    pub(crate) fn single(&mut self, kind: InstKind, ty: Type) -> ValueId {
        let (block, at) = (self.block, self.at);
        let id = self.kernel.add_inst(block, kind, &[ty], at);
        self.kernel.inst(id).results[0]
    }

    /// Applies a function of operands.
    pub(crate) fn op(&mut self, op: Op, operands: &[ValueId]) -> Res<ValueId> {
        self.apply(op, operands, None)
    }

    /// Applies `convert`, `bitcast` or `unpack`.
    pub(crate) fn cast(&mut self, op: Op, value: ValueId, to: Type) -> Res<ValueId> {
        if self.ty(value) == to && op != Op::Unpack {
            return Ok(value);
        }
        // There and back again.
        if op == Op::Bitcast
            && let ValueDef::Inst(inst, _) = self.kernel.value(value).def
            && let InstKind::Scalar { op: Op::Bitcast, operands, .. } = &self.kernel.inst(inst).kind
            && let [original] = **operands
            && self.ty(original) == to
        {
            return Ok(original);
        }
        self.apply(op, &[value], Some(to))
    }

    fn apply(&mut self, op: Op, operands: &[ValueId], stated: Option<Type>) -> Res<ValueId> {
        let types: Vec<Type> = operands.iter().map(|v| self.ty(*v)).collect();
        let ty = scalar_result(op, &types, stated)
            .map_err(|error| internal(self.at, format!("import of `{}`: {error}", op.mnemonic())))?;
        if let Some(folded) = self.fold(op, operands, ty) {
            return Ok(folded);
        }
        let key = (op, operands.to_vec(), ty);
        if let Some((value, block)) = self.computed.get(&key)
            && self.is_visible(*block)
        {
            return Ok(*value);
        }
        let kind = InstKind::Scalar { op, operands: Operands::new(operands), mode: FloatMode::Default };
        let value = self.single(kind, ty);
        self.computed.insert(key, (value, self.block));
        Ok(value)
    }

    /// Returns whether what a block has computed so far can be used in the current one.
    fn is_visible(&self, block: BlockId) -> bool {
        let mut around = Some(self.block);
        while let Some(current) = around {
            if current == block {
                return true;
            }
            around = self.parents.get(&current).copied();
        }
        block == self.prologue
    }

    /// Returns the value of an op that literals decide. Float arithmetic is left to the backends.
    fn fold(&mut self, op: Op, operands: &[ValueId], ty: Type) -> Option<ValueId> {
        if op == Op::Extract {
            let index = self.known(*operands.get(1)?)?;
            return self.parts.get(operands.first()?)?.get(index as usize).copied();
        }
        if !ty.is_scalar() || ty.scalar.is_float() && op != Op::Select {
            return None;
        }
        let literals: Vec<Option<Literal>> = operands.iter().map(|v| self.kernel.literal(*v)).collect();
        if let Some(all) = literals.iter().copied().collect::<Option<Vec<Literal>>>()
            && all.iter().all(|l| !l.ty.is_float())
        {
            let main = all[fulgurite_ir::main_operand(op)?].ty;
            let bits: Vec<u64> = all.iter().map(|l| l.bits).collect();
            let result = eval::scalar(op, main, ty.scalar, &bits)?;
            return Some(self.constant(Literal::new(ty.scalar, result)));
        }
        let bits = |i: usize| literals.get(i).copied().flatten().map(|l| l.bits);
        match (op, bits(0), bits(1)) {
            (Op::Add | Op::Or | Op::Xor, _, Some(0)) => Some(operands[0]),
            (Op::Add | Op::Or | Op::Xor, Some(0), _) => Some(operands[1]),
            (Op::Sub, _, Some(0)) | (Op::Mul | Op::Div, _, Some(1)) => Some(operands[0]),
            (Op::Mul, Some(1), _) => Some(operands[1]),
            (Op::Mul | Op::And, _, Some(0)) => Some(operands[1]),
            (Op::Mul | Op::And, Some(0), _) => Some(operands[0]),
            (Op::And, _, Some(1)) if ty == Type::BOOL => Some(operands[0]),
            (Op::And, Some(1), _) if ty == Type::BOOL => Some(operands[1]),
            (Op::Or, _, Some(1)) if ty == Type::BOOL => Some(operands[1]),
            (Op::Or, Some(1), _) if ty == Type::BOOL => Some(operands[0]),
            (Op::Select, Some(condition), _) => Some(operands[if condition != 0 { 1 } else { 2 }]),
            (Op::Select, None, _) if operands[1] == operands[2] => Some(operands[1]),
            // Other ops stay as they are.
            (_, _, _) => None,
        }
    }

    /// Returns a vector of 2 to 4 components, or the component itself if there is one.
    pub(crate) fn construct(&mut self, components: &[ValueId]) -> Res<ValueId> {
        if let [one] = components {
            return Ok(*one);
        }
        let vector = self.op(Op::Construct, components)?;
        self.parts.insert(vector, components.into());
        Ok(vector)
    }

    /// Returns a vector with equal components, or `value` for one lane.
    pub(crate) fn splat(&mut self, value: ValueId, lanes: Lanes) -> Res<ValueId> {
        self.construct(&vec![value; lanes.count() as usize])
    }

    /// Returns a component, or the value itself if it is a scalar.
    pub(crate) fn extract(&mut self, value: ValueId, index: u32) -> Res<ValueId> {
        if self.ty(value).is_scalar() {
            return Ok(value);
        }
        let index = self.u32(index);
        self.op(Op::Extract, &[value, index])
    }

    /// Returns all components of a scalar or vector.
    pub(crate) fn components(&mut self, value: ValueId) -> Res<Vec<ValueId>> {
        (0..self.ty(value).lanes.count()).map(|i| self.extract(value, i)).collect()
    }

    /// Returns the components of `value` at `positions` as a vector.
    pub(crate) fn swizzle(&mut self, value: ValueId, positions: &[u8]) -> Res<ValueId> {
        let ty = self.ty(value);
        if self.parts.contains_key(&value) || positions.len() == 1 {
            let parts: Vec<ValueId> =
                positions.iter().map(|i| self.extract(value, u32::from(*i))).collect::<Res<_>>()?;
            return self.construct(&parts);
        }
        let Some(lanes) = Lanes::from_count(positions.len() as u32) else {
            return Err(internal(self.at, "swizzle of more than four components"));
        };
        let kind = InstKind::VecShuffle { components: positions.into(), vectors: [value, value] };
        Ok(self.single(kind, ty.with_lanes(lanes)))
    }

    /// Returns zero of a scalar or vector type.
    pub(crate) fn zero(&mut self, ty: Type) -> Res<ValueId> {
        let zero = self.constant(Literal::new(ty.scalar, 0));
        self.splat(zero, ty.lanes)
    }

    /// Returns whether all bits of a value are known to be zero.
    pub(crate) fn is_zero(&self, value: ValueId) -> bool {
        let is_zero = |value: &ValueId| self.kernel.literal(*value).is_some_and(|literal| literal.bits == 0);
        is_zero(&value) || self.parts.get(&value).is_some_and(|parts| parts.iter().all(is_zero))
    }

    /// Returns an id, read once at the start of the kernel.
    pub(crate) fn id(&mut self, op: Op, component: u8) -> ValueId {
        if let Some(id) = self.ids.get(&(op, component)) {
            return *id;
        }
        let id = self.in_prologue(|e| e.single(InstKind::Id { op, component }, id_type(op)));
        self.ids.insert((op, component), id);
        id
    }

    /// Returns the length of a buffer, read once at the start of the kernel.
    pub(crate) fn len(&mut self, memory: Memory) -> ValueId {
        if let Some(len) = self.lengths.get(&memory) {
            return *len;
        }
        let ty = self.kernel.len_type(memory);
        let len = self.in_prologue(|e| e.single(InstKind::Len { memory }, ty));
        self.lengths.insert(memory, len);
        len
    }

    /// Returns `not value`, of a `bool`.
    pub(crate) fn not(&mut self, value: ValueId) -> Res<ValueId> {
        self.op(Op::Not, &[value])
    }

    /// Returns `not condition`, of a comparison of integers as the opposite one.
    pub(crate) fn inverse(&mut self, condition: ValueId) -> Res<ValueId> {
        if let ValueDef::Inst(inst, _) = self.kernel.value(condition).def
            && let InstKind::Scalar { op, operands, .. } = &self.kernel.inst(inst).kind
            && let (op, [a, b]) = (*op, &**operands)
        {
            let (a, b) = (*a, *b);
            let opposite = match op {
                Op::Eq => Some(Op::Ne),
                Op::Ne => Some(Op::Eq),
                Op::Lt => Some(Op::Ge),
                Op::Ge => Some(Op::Lt),
                Op::Gt => Some(Op::Le),
                Op::Le => Some(Op::Gt),
                // What is no comparison has no opposite.
                _ => None,
            };
            if let Some(opposite) = opposite
                && self.ty(a).scalar.is_integer()
            {
                return self.op(opposite, &[a, b]);
            }
        }
        self.not(condition)
    }

    /// Names a value that has no name.
    pub(crate) fn name(&mut self, value: ValueId, name: &str) {
        let value = &mut self.kernel.values[value.index()];
        let is_result = matches!(value.def, ValueDef::Inst(..) | ValueDef::BlockParam(..));
        if value.name.is_none() && is_result {
            value.name = Some(crate::names::value(name).into());
        }
    }
}
