//! Conversion of a kernel to flat structs. The order of the arenas and their unreachable entries are not preserved.
//!
//! Accepts any kernel with a valid structure, in particular every kernel read from bytes.

use std::collections::HashMap;

use fulgurite_spec::{Op, Type};

use super::body::{self, Body, Constant, END, LEAF, Node, TypeCode, TypedName};
use crate::analysis::uniformity::op;
use crate::analysis::walk::{Event, Walk};
use crate::kernel::{
    ArrayDecl, AtomicOrder, BlockId, Inst, InstKind, Kernel, Memory, MemoryScopes, SyncScope, Terminator,
    ValueDef, ValueId, components_code,
};
use crate::require::{Require, RequireNode};

/// Converts `kernel` to a body.
pub(super) fn body(kernel: &Kernel) -> Body<'_> {
    let body = Body {
        name: &kernel.name,
        workgroup: kernel.workgroup,
        buffers: (kernel.buffers.iter())
            .map(|b| body::Buffer {
                name: &b.name,
                element: code(b.element),
                access: b.access as u8 | u8::from(b.large) << 2,
            })
            .collect(),
        params: kernel.params.iter().map(|p| TypedName { name: &p.name, ty: code(p.ty) }).collect(),
        shared: arrays(&kernel.shared),
        locals: arrays(&kernel.locals),
        views: (kernel.views.iter())
            .map(|v| body::View { name: &v.name, base: memory(kernel, v.base), element: code(v.element) })
            .collect(),
        needs: u8::from(kernel.needs_progress),
        constants: Vec::new(),
        requires: Vec::with_capacity(kernel.requires.len()),
        nodes: Vec::new(),
        values: Vec::with_capacity(kernel.values.len()),
        regions: Vec::new(),
        insts: Vec::with_capacity(kernel.insts.len() + kernel.blocks.len()),
        words: Vec::new(),
    };
    let mut writer =
        Writer { kernel, body, numbers: vec![UNKNOWN; kernel.values.len()], constants: HashMap::new() };
    for (param, number) in kernel.params.iter().zip(0..) {
        writer.numbers[param.value.index()] = number;
    }
    kernel.requires.iter().for_each(|r| writer.require(r));
    writer.blocks();
    writer.body
}

fn code(ty: Type) -> TypeCode {
    TypeCode { scalar: ty.scalar.number(), components: components_code(ty) }
}

fn arrays(arrays: &[ArrayDecl]) -> Vec<body::Array<'_>> {
    (arrays.iter())
        .map(|a| body::Array {
            name: &a.name,
            element: code(a.element),
            len: a.len,
            initial: a.initial as u8,
        })
        .collect()
}

/// Returns the number of a memory object: buffers from 0, then shared arrays, local arrays and views.
fn memory(kernel: &Kernel, memory: Memory) -> u32 {
    let (buffers, shared, locals) = (kernel.buffers.len(), kernel.shared.len(), kernel.locals.len());
    let number = match memory {
        Memory::Buffer(id) => id.index(),
        Memory::Shared(id) => buffers + id.index(),
        Memory::Local(id) => buffers + shared + id.index(),
        Memory::View(id) => buffers + shared + locals + id.index(),
    };
    number as u32
}

fn scopes(scopes: MemoryScopes) -> u8 {
    u8::from(scopes.shared) | u8::from(scopes.buffers) << 1
}

fn order(order: AtomicOrder, scope: SyncScope) -> u8 {
    order.number() | scope.number() << 2
}

/// The number of a value or node that is not numbered yet.
const UNKNOWN: i32 = i32::MAX;

struct Writer<'k> {
    kernel: &'k Kernel,
    body: Body<'k>,
    /// Numbers of values: parameters from 0, then block parameters and results; constants from −1 down.
    numbers: Vec<i32>,
    /// Numbers of constants, by type and bits.
    constants: HashMap<(u8, u64), i32>,
}

impl<'k> Writer<'k> {
    /// Writes the nodes that the condition depends on, operands first, with equal nodes merged.
    fn require(&mut self, require: &Require) {
        let first = self.body.nodes.len();
        let mut known: HashMap<(u16, Vec<i32>), i32> = HashMap::new();
        let mut numbers: Vec<i32> = vec![UNKNOWN; require.nodes.len()];
        // A node and the number of its operands already visited. Operands are earlier nodes, so the loop terminates.
        let mut stack: Vec<(usize, usize)> =
            require.nodes.len().checked_sub(1).map(|i| (i, 0)).into_iter().collect();
        while let Some((index, position)) = stack.pop() {
            let node = &require.nodes[index];
            if let RequireNode::Op { operands, .. } = node
                && let Some(operand) = operands.get(position)
            {
                stack.push((index, position + 1));
                if numbers[*operand as usize] == UNKNOWN {
                    stack.push((*operand as usize, 0));
                }
                continue;
            }
            let form = match node {
                RequireNode::Literal(literal) => {
                    (LEAF, vec![self.constant(literal.ty.number(), literal.bits)])
                }
                RequireNode::Param(id) => (LEAF, vec![id.index() as i32]),
                RequireNode::Len(id) => (Op::Len.number(), vec![id.index() as i32]),
                RequireNode::NumWorkgroups(axis) => (Op::NumWorkgroups.number(), vec![i32::from(*axis)]),
                RequireNode::Op { op, operands } => {
                    (op.number(), operands.iter().map(|i| numbers[*i as usize]).collect())
                }
            };
            let body = &mut self.body;
            numbers[index] = *known.entry(form).or_insert_with_key(|(op, words)| {
                let number = (body.nodes.len() - first) as i32;
                body.nodes.push(Node { op: *op, words: words.len() as u32 });
                body.words.extend_from_slice(words);
                number
            });
        }
        self.body.requires.push((self.body.nodes.len() - first) as u32);
    }

    fn blocks(&mut self) {
        let kernel = self.kernel;
        // The two blocks of each enclosing `while`. In the walk, a header's `Exit` follows its body's; in the format,
        // the header ends before its body begins.
        let mut whiles: Vec<(BlockId, BlockId)> = Vec::new();
        for event in Walk::new(kernel) {
            match event {
                Event::Enter(block) => {
                    if let Some((header, body)) = whiles.last()
                        && *body == block
                    {
                        self.end(*header);
                    }
                    self.define(&kernel.block(block).params);
                }
                Event::Inst(id) => {
                    let inst = kernel.inst(id);
                    if let InstKind::While { header, body, .. } = inst.kind {
                        whiles.push((header, body));
                    }
                    self.inst(inst);
                }
                Event::Done(id) => self.define(&kernel.inst(id).results),
                Event::Exit(block) => {
                    if whiles.last().is_some_and(|(header, _)| *header == block) {
                        whiles.pop();
                    } else {
                        self.end(block);
                    }
                }
            }
        }
    }

    fn define(&mut self, values: &[ValueId]) {
        let params = self.kernel.params.len();
        for id in values {
            let value = self.kernel.value(*id);
            self.numbers[id.index()] = (params + self.body.values.len()) as i32;
            let name = value.name.as_deref().unwrap_or("");
            self.body.values.push(TypedName { name, ty: code(value.ty) });
        }
    }

    fn constant(&mut self, scalar: u8, bits: u64) -> i32 {
        let constants = &mut self.body.constants;
        *self.constants.entry((scalar, bits)).or_insert_with(|| {
            constants.push(Constant { scalar, bits });
            -(constants.len() as i32)
        })
    }

    fn value(&mut self, id: ValueId) {
        let number = match self.kernel.value(id).def {
            ValueDef::Const(bits) => self.constant(self.kernel.ty(id).scalar.number(), bits.0),
            _ => self.numbers[id.index()],
        };
        self.body.words.push(number);
    }

    fn values(&mut self, values: &[ValueId]) {
        values.iter().for_each(|v| self.value(*v));
    }

    fn memory(&mut self, memory: Memory) {
        self.body.words.push(self::memory(self.kernel, memory) as i32);
    }

    fn inst(&mut self, inst: &'k Inst) {
        let first = self.body.words.len();
        let mut attributes = 0;
        match &inst.kind {
            InstKind::Scalar { operands, mode, .. } => {
                attributes = mode.number();
                self.values(operands);
            }
            InstKind::VecShuffle { components, vectors } => {
                self.values(vectors);
                self.body.words.extend(components.iter().map(|c| i32::from(*c)));
            }
            InstKind::Id { component, .. } => self.body.words.push(i32::from(*component)),
            InstKind::Load { memory, index } => {
                self.memory(*memory);
                self.value(*index);
            }
            InstKind::Store { memory, index, value } => {
                self.memory(*memory);
                self.values(&[*index, *value]);
            }
            InstKind::Len { memory } => self.memory(*memory),
            InstKind::Atomic { order, scope, memory, index, operands, .. } => {
                attributes = self::order(*order, *scope);
                self.memory(*memory);
                self.value(*index);
                self.values(operands);
            }
            InstKind::Fence { order, scope } => attributes = self::order(*order, *scope),
            InstKind::Barrier { scopes } | InstKind::SubgroupBarrier { scopes } => {
                attributes = self::scopes(*scopes);
            }
            InstKind::WorkgroupBroadcast { value, index } => self.values(&[*value, *index]),
            InstKind::Subgroup { combine, operands, .. } => {
                attributes = combine.map_or(0, |c| c.number());
                self.values(operands);
            }
            InstKind::CoopLoad { layout, memory, offset, stride } => {
                attributes = layout.number();
                self.memory(*memory);
                self.values(&[*offset, *stride]);
            }
            InstKind::CoopStore { layout, memory, offset, stride, value } => {
                attributes = layout.number();
                self.memory(*memory);
                self.values(&[*offset, *stride, *value]);
            }
            InstKind::CoopMulAdd { a, b, c } => self.values(&[*a, *b, *c]),
            InstKind::CoopFill { value } | InstKind::CoopConvert { value } => self.value(*value),
            InstKind::Trap { code } => self.value(*code),
            InstKind::Region { name, .. } => self.body.regions.push(name),
            InstKind::If { condition, .. } => self.value(*condition),
            InstKind::For { start, end, step, initial, .. } => {
                self.values(&[*start, *end, *step]);
                self.values(initial);
            }
            InstKind::While { initial, .. } => self.values(initial),
        }
        self.push(op(&inst.kind).number(), attributes, inst.results.len(), first);
    }

    /// Writes the end of `block`. The kind of terminator is implied by the position of the block.
    fn end(&mut self, block: BlockId) {
        let first = self.body.words.len();
        match &self.kernel.block(block).terminator {
            Terminator::Return => {}
            Terminator::Yield(values) => self.values(values),
            Terminator::Condition(go) => self.value(*go),
        }
        self.push(END, 0, 0, first);
    }

    /// Adds an instruction whose words begin at `first`.
    fn push(&mut self, op: u16, attributes: u8, results: usize, first: usize) {
        let words = (self.body.words.len() - first) as u32;
        self.body.insts.push(body::Inst { op, attributes, results: results as u32, words });
    }
}
