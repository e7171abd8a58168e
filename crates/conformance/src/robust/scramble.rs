//! Mutates kernels at random through their public fields: ids, ops, types, declarations, order.
//!
//! Most mutations are small, so that some kernels still verify; none of them keeps the kernel consistent.

use fulgurite_ir::require::RequireNode;
use fulgurite_ir::{
    Access, AtomicOrder, Block, BlockId, BufferId, Combine, Const, FloatMode, Inst, InstId, InstKind, Kernel,
    LocalId, Memory, MemoryScopes, Operands, ParamId, SharedId, SyncScope, Terminator, ValueDef, ValueId,
    ViewId,
};
use fulgurite_spec::{
    Literal, Location, MatrixLayout, MatrixRole, MatrixScope, MatrixShape, OPS, Op, ScalarType, Type,
};

/// Maximum number of mutations per kernel.
const MAX_CHANGES: usize = 48;

/// Returns the mutated kernel that `bytes` encode.
pub(super) fn kernel(bytes: &[u8]) -> Result<Kernel, String> {
    let mut choices = Choices { bytes: bytes.iter() };
    let seeds = super::SEEDS.as_ref().map_err(Clone::clone)?;
    let at = choices.below(seeds.len());
    let mut kernel = seeds.get(at).cloned().ok_or("there are no seeds")?;
    for _ in 0..MAX_CHANGES {
        if choices.bytes.len() == 0 {
            break;
        }
        choices.change(&mut kernel);
    }
    Ok(kernel)
}

/// Choices derived from bytes; zeros once the bytes are used up.
struct Choices<'b> {
    bytes: core::slice::Iter<'b, u8>,
}

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        self.bytes.next().copied().unwrap_or(0)
    }

    /// Returns a number below `count`, or 0 if `count` is 0.
    fn below(&mut self, count: usize) -> usize {
        let mut number = usize::from(self.byte());
        if count > 256 {
            number = number << 8 | usize::from(self.byte());
        }
        if count == 0 { 0 } else { number % count }
    }

    /// Returns an index into an arena of `count` elements, occasionally one past the end or far out of range.
    fn id(&mut self, count: usize) -> usize {
        match self.byte() {
            0 => count,
            1 => u32::MAX as usize,
            _ => self.below(count),
        }
    }

    fn word(&mut self) -> u32 {
        match self.byte() % 6 {
            0 => 0,
            1 => u32::MAX,
            2 => 1 << (self.byte() % 32),
            _ => u32::from(self.byte()),
        }
    }

    fn pick<T: Copy>(&mut self, all: &[T], default: T) -> T {
        let at = self.below(all.len());
        all.get(at).copied().unwrap_or(default)
    }

    fn value(&mut self, kernel: &Kernel) -> ValueId {
        ValueId::new(self.id(kernel.values.len()))
    }

    fn block(&mut self, kernel: &Kernel) -> BlockId {
        BlockId::new(self.id(kernel.blocks.len()))
    }

    fn ty(&mut self) -> Type {
        if self.byte().is_multiple_of(8) {
            let sides = [8, 16, 32, 256, 1, 0, 12, 512];
            let (rows, cols) = (self.pick(&sides, 8), self.pick(&sides, 8));
            let role = self.pick(MatrixRole::ALL, MatrixRole::A);
            let scope = self.pick(MatrixScope::ALL, MatrixScope::Subgroup);
            let scalar = self.pick(&ScalarType::ALL, ScalarType::F32);
            return Type::matrix_of(scalar, MatrixShape::new(rows, cols, role, scope));
        }
        let all: Vec<Type> = Type::all().collect();
        self.pick(&all, Type::U32)
    }

    fn op(&mut self) -> Op {
        let all: Vec<Op> = OPS.iter().map(|row| row.op).collect();
        self.pick(&all, Op::Add)
    }

    fn memory(&mut self, kernel: &Kernel) -> Memory {
        match self.byte() % 4 {
            0 => Memory::Buffer(BufferId::new(self.id(kernel.buffers.len()))),
            3 => Memory::View(ViewId::new(self.id(kernel.views.len()))),
            1 => Memory::Shared(SharedId::new(self.id(kernel.shared.len()))),
            _ => Memory::Local(LocalId::new(self.id(kernel.locals.len()))),
        }
    }

    fn operands(&mut self, kernel: &Kernel) -> Operands {
        (0..self.byte() % 6).map(|_| self.value(kernel)).collect()
    }

    fn name(&mut self) -> String {
        let long = "n".repeat(200);
        self.pick(&["a", "", "7", "é", "x", "a.1", "%", "_", "if", "a b", long.as_str()], "a").to_owned()
    }

    fn definition(&mut self, kernel: &Kernel) -> ValueDef {
        let position = u32::from(self.byte() % 4);
        match self.byte() % 4 {
            0 => ValueDef::Const(Const(u64::from(self.word()) << (self.byte() % 33))),
            1 => ValueDef::Param(ParamId::new(self.id(kernel.params.len()))),
            2 => ValueDef::Inst(InstId::new(self.id(kernel.insts.len())), position),
            _ => ValueDef::BlockParam(self.block(kernel), position),
        }
    }

    fn terminator(&mut self, kernel: &Kernel) -> Terminator {
        match self.byte() % 3 {
            0 => Terminator::Return,
            1 => Terminator::Yield(self.operands(kernel)),
            _ => Terminator::Condition(self.value(kernel)),
        }
    }

    /// Applies one mutation.
    fn change(&mut self, kernel: &mut Kernel) {
        match self.byte() % 16 {
            0..=3 => self.operand(kernel),
            4..=5 => self.instruction(kernel),
            6 => self.kind(kernel),
            7..=8 => self.order(kernel),
            9 => self.structure(kernel),
            10 => {
                let definition = self.definition(kernel);
                let (at, ty, name) = (self.below(kernel.values.len()), self.ty(), self.name());
                let what = self.byte() % 3;
                if let Some(value) = kernel.values.get_mut(at) {
                    match what {
                        0 => value.def = definition,
                        1 => value.ty = ty,
                        _ => value.name = Some(name.into()),
                    }
                }
            }
            11 => {
                // Replace a constant that is used.
                let (at, word) = (self.below(kernel.values.len()), self.word());
                if let Some(value) = kernel.values.get_mut(at)
                    && matches!(value.def, ValueDef::Const(_))
                {
                    value.def = ValueDef::Const(Const(u64::from(word)));
                }
            }
            12 => self.addition(kernel),
            13..=14 => self.declaration(kernel),
            _ => self.precondition(kernel),
        }
    }

    /// Replaces one operand of an instruction.
    fn operand(&mut self, kernel: &mut Kernel) {
        let (at, position, new) =
            (self.below(kernel.insts.len()), usize::from(self.byte() % 6), self.value(kernel));
        let Some(inst) = kernel.insts.get_mut(at) else { return };
        let slot: Option<&mut ValueId> = match &mut inst.kind {
            InstKind::Scalar { operands, .. } | InstKind::Subgroup { operands, .. } => {
                operands.get_mut(position)
            }
            InstKind::VecShuffle { vectors, .. } => vectors.get_mut(position),
            InstKind::WorkgroupBroadcast { value, index } => Some(if position < 3 { index } else { value }),
            InstKind::Trap { code } => Some(code),
            InstKind::CoopLoad { offset, stride, .. } => Some(if position < 3 { offset } else { stride }),
            InstKind::CoopStore { offset, stride, value, .. } => {
                [offset, stride, value].into_iter().nth(position % 3)
            }
            InstKind::CoopFill { value } | InstKind::CoopConvert { value } => Some(value),
            InstKind::CoopMulAdd { a, b, c } => [a, b, c].into_iter().nth(position % 3),
            InstKind::Load { index, .. } => Some(index),
            InstKind::Store { index, value, .. } => Some(if position < 3 { index } else { value }),
            InstKind::Atomic { index, operands, .. } => match position.checked_sub(1) {
                None => Some(index),
                Some(position) => operands.get_mut(position),
            },
            InstKind::If { condition, .. } => Some(condition),
            InstKind::For { start, end, step, initial, .. } => match position {
                0 => Some(start),
                1 => Some(end),
                2 => Some(step),
                _ => initial.get_mut(position - 3),
            },
            InstKind::While { initial, .. } => initial.get_mut(position),
            InstKind::Id { .. }
            | InstKind::Len { .. }
            | InstKind::Fence { .. }
            | InstKind::Barrier { .. }
            | InstKind::SubgroupBarrier { .. }
            | InstKind::Region { .. } => None,
        };
        match slot {
            Some(slot) => *slot = new,
            None => {
                // Replace an operand of a terminator instead.
                let blocks = kernel.blocks.len().max(1);
                let Some(block) = kernel.blocks.get_mut(at % blocks) else { return };
                match &mut block.terminator {
                    Terminator::Condition(value) => *value = new,
                    Terminator::Yield(values) => {
                        if let Some(slot) = values.get_mut(position) {
                            *slot = new;
                        }
                    }
                    Terminator::Return => {}
                }
            }
        }
    }

    /// Replaces the op, memory object, component or nested block of an instruction.
    fn instruction(&mut self, kernel: &mut Kernel) {
        let at = self.below(kernel.insts.len());
        let (new_op, new_memory, block, byte) =
            (self.op(), self.memory(kernel), self.block(kernel), self.byte());
        let results = if byte % 16 == 15 { Some(self.operands(kernel)) } else { None };
        let Some(inst) = kernel.insts.get_mut(at) else { return };
        if let Some(results) = results {
            inst.results = results;
            return;
        }
        match &mut inst.kind {
            InstKind::Scalar { op, mode, .. } => {
                if byte % 4 == 0 {
                    *mode = FloatMode::ALL[usize::from(byte / 4) % FloatMode::ALL.len()];
                } else {
                    *op = new_op;
                }
            }
            InstKind::VecShuffle { components, .. } => {
                *components = (0..byte % 6).map(|i| byte.rotate_left(u32::from(i)) % 9).collect();
            }
            InstKind::Fence { order, scope } => {
                *order = AtomicOrder::ALL[usize::from(byte % 4)];
                *scope = SyncScope::ALL[usize::from(byte / 4 % 2)];
            }
            InstKind::Subgroup { op, combine, .. } => match byte % 3 {
                0 => *combine = None,
                1 => *combine = Some(Combine::ALL[usize::from(byte / 3) % Combine::ALL.len()]),
                _ => *op = new_op,
            },
            InstKind::WorkgroupBroadcast { value, index } => core::mem::swap(value, index),
            InstKind::Trap { .. } | InstKind::CoopFill { .. } | InstKind::CoopConvert { .. } => {}
            InstKind::CoopMulAdd { a, b, c } => match byte % 3 {
                0 => core::mem::swap(a, b),
                1 => core::mem::swap(b, c),
                _ => core::mem::swap(a, c),
            },
            InstKind::CoopLoad { layout, memory, .. } | InstKind::CoopStore { layout, memory, .. } => {
                if byte % 2 == 0 {
                    *layout = MatrixLayout::ALL[usize::from(byte / 2 % 2)];
                } else {
                    *memory = new_memory;
                }
            }
            InstKind::Region { name, body } => {
                if byte % 2 == 0 {
                    *body = block;
                } else {
                    *name = ["a", "", "\"", "é", "\n"][usize::from(byte / 2) % 5].into();
                }
            }
            InstKind::Id { op, component } => {
                if byte % 2 == 0 {
                    *component = byte / 2 % 5;
                } else {
                    *op = new_op;
                }
            }
            InstKind::Load { memory, .. } | InstKind::Store { memory, .. } | InstKind::Len { memory } => {
                *memory = new_memory;
            }
            InstKind::Atomic { op, order, scope, memory, .. } => match byte % 4 {
                0 => *memory = new_memory,
                1 => *order = AtomicOrder::ALL[usize::from(byte / 4 % 4)],
                2 => *scope = SyncScope::ALL[usize::from(byte / 4 % 2)],
                _ => *op = new_op,
            },
            InstKind::Barrier { scopes } | InstKind::SubgroupBarrier { scopes } => {
                *scopes = MemoryScopes { shared: byte % 2 == 0, buffers: byte % 4 < 2 };
            }
            InstKind::If { then_block, else_block, .. } => {
                if byte % 3 == 0 {
                    core::mem::swap(then_block, else_block);
                } else {
                    *then_block = block;
                }
            }
            InstKind::For { body, .. } => *body = block,
            InstKind::While { header, body, .. } => {
                if byte % 3 == 0 {
                    core::mem::swap(header, body);
                } else {
                    *body = block;
                }
            }
        }
    }

    /// Replaces the kind of an instruction by a new one or that of another instruction.
    fn kind(&mut self, kernel: &mut Kernel) {
        let (at, other) = (self.below(kernel.insts.len()), self.below(kernel.insts.len()));
        let kind = match self.byte() % 16 {
            12 => InstKind::CoopLoad {
                layout: MatrixLayout::RowMajor,
                memory: self.memory(kernel),
                offset: self.value(kernel),
                stride: self.value(kernel),
            },
            13 => InstKind::CoopStore {
                layout: MatrixLayout::ColumnMajor,
                memory: self.memory(kernel),
                offset: self.value(kernel),
                stride: self.value(kernel),
                value: self.value(kernel),
            },
            14 => {
                InstKind::CoopMulAdd { a: self.value(kernel), b: self.value(kernel), c: self.value(kernel) }
            }
            15 => InstKind::CoopConvert { value: self.value(kernel) },
            0 => {
                InstKind::Scalar { op: self.op(), operands: self.operands(kernel), mode: FloatMode::Default }
            }
            8 => InstKind::Region { name: "r".into(), body: self.block(kernel) },
            9 => InstKind::Trap { code: self.value(kernel) },
            10 => InstKind::Subgroup { op: self.op(), combine: None, operands: self.operands(kernel) },
            11 => InstKind::WorkgroupBroadcast { value: self.value(kernel), index: self.value(kernel) },
            1 => InstKind::Id { op: self.op(), component: self.byte() % 4 },
            2 => InstKind::Atomic {
                op: self.op(),
                order: AtomicOrder::Relaxed,
                scope: SyncScope::Device,
                memory: self.memory(kernel),
                index: self.value(kernel),
                operands: self.operands(kernel),
            },
            3 => InstKind::Barrier { scopes: MemoryScopes::ALL },
            4 => InstKind::If {
                condition: self.value(kernel),
                then_block: self.block(kernel),
                else_block: self.block(kernel),
            },
            5 => InstKind::While {
                initial: self.operands(kernel),
                header: self.block(kernel),
                body: self.block(kernel),
            },
            _ => match kernel.insts.get(other) {
                Some(inst) => inst.kind.clone(),
                None => return,
            },
        };
        if let Some(inst) = kernel.insts.get_mut(at) {
            inst.kind = kind;
        }
    }

    /// Swaps, moves, removes or duplicates instructions.
    fn order(&mut self, kernel: &mut Kernel) {
        let (from, to) = (self.below(kernel.blocks.len()), self.below(kernel.blocks.len()));
        let count = |block: Option<&Block>| block.map_or(0, |b| b.insts.len());
        let (a, b) = (self.below(count(kernel.blocks.get(from))), self.below(count(kernel.blocks.get(from))));
        let what = self.byte() % 4;
        let Some(source) = kernel.blocks.get_mut(from).filter(|b| !b.insts.is_empty()) else { return };
        let moved = match what {
            0 => {
                source.insts.swap(a, b);
                return;
            }
            1 => {
                source.insts.remove(a);
                return;
            }
            2 => source.insts.remove(a),
            _ => source.insts[a],
        };
        if let Some(target) = kernel.blocks.get_mut(to) {
            let at = b.min(target.insts.len());
            target.insts.insert(at, moved);
        }
    }

    /// Changes parameters or terminators of blocks, or the body of the kernel.
    fn structure(&mut self, kernel: &mut Kernel) {
        let at = self.below(kernel.blocks.len());
        let (terminator, value, body) = (self.terminator(kernel), self.value(kernel), self.block(kernel));
        let what = self.byte() % 8;
        if what == 0 {
            kernel.body = body;
        }
        let Some(block) = kernel.blocks.get_mut(at) else { return };
        match what {
            1 | 2 => block.terminator = terminator,
            3 => block.params.push(value),
            4 => drop(block.params.pop()),
            5 => block.params.reverse(),
            6 => block.insts.truncate(block.insts.len() / 2),
            _ => {}
        }
    }

    /// Adds an instruction, with or without a new result.
    fn addition(&mut self, kernel: &mut Kernel) {
        let block = BlockId::new(self.below(kernel.blocks.len()));
        let ty = self.ty();
        let results = if self.byte().is_multiple_of(4) { &[][..] } else { &[ty][..] };
        let kind = match self.byte() % 4 {
            0 => InstKind::Load { memory: self.memory(kernel), index: self.value(kernel) },
            1 => InstKind::Store {
                memory: self.memory(kernel),
                index: self.value(kernel),
                value: self.value(kernel),
            },
            2 => {
                let condition = self.value(kernel);
                let (then_block, else_block) = (kernel.add_block(), kernel.add_block());
                for block in [then_block, else_block] {
                    let end = self.operands(kernel);
                    kernel.blocks[block.index()].terminator = Terminator::Yield(end);
                }
                InstKind::If { condition, then_block, else_block }
            }
            _ => {
                InstKind::Scalar { op: self.op(), operands: self.operands(kernel), mode: FloatMode::Default }
            }
        };
        if self.byte().is_multiple_of(8) {
            // Add it to the arena only, not to a block.
            kernel.insts.push(Inst { kind, results: Operands::EMPTY, location: Location::Unknown });
        } else if block.index() < kernel.blocks.len() {
            kernel.add_inst(block, kind, results, Location::Unknown);
        }
    }

    fn declaration(&mut self, kernel: &mut Kernel) {
        let (ty, word, name, what) = (self.ty(), self.word(), self.name(), self.byte());
        match what % 9 {
            0 => kernel.workgroup[usize::from(what / 9 % 3)] = word,
            1 => {
                let at = self.below(kernel.buffers.len());
                let access = self.pick(&Access::ALL, Access::Read);
                if let Some(buffer) = kernel.buffers.get_mut(at) {
                    match what / 9 % 3 {
                        0 => buffer.access = access,
                        1 => buffer.element = ty,
                        _ => buffer.name = name,
                    }
                }
            }
            2 | 3 => {
                let arrays = if what % 9 == 2 { &mut kernel.shared } else { &mut kernel.locals };
                let at = self.below(arrays.len());
                if let Some(array) = arrays.get_mut(at) {
                    match what / 9 % 3 {
                        0 => array.len = word,
                        1 => array.element = ty,
                        _ => array.name = name,
                    }
                }
            }
            4 => {
                let (at, value) = (self.below(kernel.params.len()), self.value(kernel));
                if let Some(param) = kernel.params.get_mut(at) {
                    match what / 9 % 3 {
                        0 => param.ty = ty,
                        1 => param.value = value,
                        _ => param.name = name,
                    }
                }
            }
            5 => kernel.buffers.truncate(usize::from(what / 9 % 3)),
            6 => kernel.buffers.extend_from_within(..kernel.buffers.len().min(1)),
            7 => kernel.params.reverse(),
            _ => kernel.name = name,
        }
    }

    fn precondition(&mut self, kernel: &mut Kernel) {
        let node = match self.byte() % 6 {
            0 => RequireNode::Literal(Literal {
                ty: self.pick(&ScalarType::ALL, ScalarType::U32),
                bits: u64::from(self.word()),
            }),
            1 => RequireNode::Param(ParamId::new(self.id(kernel.params.len()))),
            2 => RequireNode::Len(BufferId::new(self.id(kernel.buffers.len()))),
            3 => RequireNode::NumWorkgroups(self.byte() % 4),
            _ => RequireNode::Op {
                op: self.op(),
                operands: (0..self.byte() % 4).map(|_| u32::from(self.byte() % 12)).collect(),
            },
        };
        let (what, at) = (self.byte() % 4, self.byte());
        let Some(require) = kernel.requires.first_mut() else { return };
        match what {
            0 | 1 => require.nodes.push(node),
            2 => {
                let count = require.nodes.len().max(1);
                if let Some(slot) = require.nodes.get_mut(usize::from(at) % count) {
                    *slot = node;
                }
            }
            _ => require.nodes.truncate(usize::from(at % 8)),
        }
    }
}
