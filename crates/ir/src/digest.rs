//! The digest of a kernel: a hash of its canonical form as submitted.
//!
//! Names, source locations, regions and the order of the arenas do not affect the digest; everything that can change
//! a result or a binding does. Every list is length-prefixed and every item begins with its kind, so that the
//! encoding is unambiguous.

use core::fmt;
use std::collections::HashMap;

use fulgurite_spec::Type;

use crate::analysis::walk::{Event, Walk};
use crate::kernel::{
    ArrayDecl, BlockId, InstKind, Kernel, Memory, MemoryScopes, Terminator, ValueDef, ValueId,
};
use crate::require::{Require, RequireNode};

const DOMAIN: &[u8] = b"fulgurite kernel 1";

/// A 256-bit hash that identifies the behavior and bindings of a kernel, regardless of names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Computes the digest of a kernel whose structure the verifier has checked.
    pub(crate) fn of(kernel: &Kernel) -> Self {
        let mut form = Form {
            bytes: DOMAIN.to_vec(),
            numbers: vec![u32::MAX; kernel.values.len()],
            aliases: (0..kernel.values.len()).map(ValueId::new).collect(),
            next: 0,
        };
        form.kernel(kernel);
        Self(*blake3::hash(&form.bytes).as_bytes())
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Formats the digest as 64 hex digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The canonical form under construction. Values are numbered in order of definition.
struct Form {
    bytes: Vec<u8>,
    numbers: Vec<u32>,
    /// The value that each value stands for: itself, or for the result of a region, the value that the region yields.
    aliases: Vec<ValueId>,
    next: u32,
}

impl Form {
    fn kernel(&mut self, kernel: &Kernel) {
        kernel.workgroup.iter().for_each(|n| self.word(*n));
        self.word(kernel.buffers.len() as u32);
        for buffer in &kernel.buffers {
            self.ty(buffer.element);
            self.bytes.extend_from_slice(&[buffer.access as u8, u8::from(buffer.large)]);
        }
        self.word(kernel.params.len() as u32);
        kernel.params.iter().for_each(|p| self.ty(p.ty));
        self.arrays(&kernel.shared);
        self.arrays(&kernel.locals);
        self.word(kernel.views.len() as u32);
        for view in &kernel.views {
            self.memory(view.base);
            self.ty(view.element);
        }
        self.bytes.push(u8::from(kernel.needs_progress));
        self.word(kernel.requires.len() as u32);
        kernel.requires.iter().for_each(|r| self.require(r));
        // A scalar op on two values takes 26 bytes.
        self.bytes.reserve(kernel.insts.len() * 26);
        // Regions are not encoded: their results are numbered as the values that they yield.
        let mut regions: Vec<BlockId> = Vec::new();
        Walk::new(kernel).for_each(|event| {
            if let Event::Inst(id) | Event::Done(id) = event
                && let InstKind::Region { body, .. } = kernel.inst(id).kind
            {
                if matches!(event, Event::Inst(_)) {
                    regions.push(body);
                } else {
                    regions.pop();
                    self.alias(kernel, &kernel.inst(id).results, body);
                }
                return;
            }
            match event {
                Event::Enter(block) | Event::Exit(block) if regions.last() == Some(&block) => {}
                Event::Enter(block) => {
                    self.bytes.push(b'{');
                    self.define(kernel, &kernel.block(block).params);
                }
                Event::Inst(id) => self.inst(kernel, &kernel.inst(id).kind),
                Event::Done(id) => self.define(kernel, &kernel.inst(id).results),
                Event::Exit(block) => self.terminator(kernel, block),
            }
        });
    }

    fn word(&mut self, word: u32) {
        self.bytes.extend_from_slice(&word.to_le_bytes());
    }

    fn ty(&mut self, ty: Type) {
        self.bytes.extend_from_slice(&[ty.scalar.number(), crate::kernel::components_code(ty)]);
    }

    fn arrays(&mut self, arrays: &[ArrayDecl]) {
        self.word(arrays.len() as u32);
        for array in arrays {
            self.ty(array.element);
            self.word(array.len);
            self.bytes.push(array.initial as u8);
        }
    }

    /// Encodes the nodes that the condition depends on, operands first, with equal nodes merged: neither the order of
    /// the nodes nor their sharing affects the digest.
    fn require(&mut self, require: &Require) {
        let mut forms: Vec<Vec<u8>> = Vec::new();
        let mut known: HashMap<Vec<u8>, u32> = HashMap::new();
        let mut numbers: Vec<Option<u32>> = vec![None; require.nodes.len()];
        let mut stack: Vec<usize> = require.nodes.len().checked_sub(1).into_iter().collect();
        while let Some(&index) = stack.last() {
            let node = &require.nodes[index];
            // Operands are earlier nodes, so the loop terminates.
            if numbers[index].is_none()
                && let RequireNode::Op { operands, .. } = node
                && let Some(next) = operands.iter().find(|i| numbers[**i as usize].is_none())
            {
                stack.push(*next as usize);
                continue;
            }
            stack.pop();
            let form = require_node(node, &numbers);
            let next = forms.len() as u32;
            numbers[index] = Some(*known.entry(form).or_insert_with_key(|form| {
                forms.push(form.clone());
                next
            }));
        }
        self.word(forms.len() as u32);
        forms.iter().for_each(|form| self.bytes.extend_from_slice(form));
    }

    /// Numbers newly defined values. Their types are encoded because nothing else determines the result type of, for
    /// example, `convert`.
    fn define(&mut self, kernel: &Kernel, values: &[ValueId]) {
        self.word(values.len() as u32);
        for value in values {
            self.ty(kernel.ty(*value));
            self.numbers[value.index()] = self.next;
            self.next += 1;
        }
    }

    /// Makes the results of a region aliases of the values that `body` yields.
    fn alias(&mut self, kernel: &Kernel, results: &[ValueId], body: BlockId) {
        let Terminator::Yield(values) = &kernel.block(body).terminator else { return };
        for (result, value) in results.iter().zip(values) {
            self.aliases[result.index()] = self.aliases[value.index()];
        }
    }

    fn value(&mut self, kernel: &Kernel, value: ValueId) {
        let value = self.aliases[value.index()];
        match kernel.value(value).def {
            ValueDef::Const(bits) => {
                self.bytes.extend_from_slice(&[0, kernel.ty(value).scalar.number()]);
                self.bytes.extend_from_slice(&bits.0.to_le_bytes());
            }
            ValueDef::Param(id) => self.numbered(1, id.index() as u32),
            ValueDef::Inst(..) | ValueDef::BlockParam(..) => self.numbered(2, self.numbers[value.index()]),
        }
    }

    /// Appends a kind and a number at once, which is faster than one after the other.
    fn numbered(&mut self, kind: u8, number: u32) {
        let [a, b, c, d] = number.to_le_bytes();
        self.bytes.extend_from_slice(&[kind, a, b, c, d]);
    }

    fn values(&mut self, kernel: &Kernel, values: &[ValueId]) {
        self.word(values.len() as u32);
        values.iter().for_each(|v| self.value(kernel, *v));
    }

    fn memory(&mut self, memory: Memory) {
        let (kind, index) = match memory {
            Memory::Buffer(id) => (0, id.index()),
            Memory::Shared(id) => (1, id.index()),
            Memory::Local(id) => (2, id.index()),
            Memory::View(id) => (3, id.index()),
        };
        self.bytes.push(kind);
        self.word(index as u32);
    }

    fn inst(&mut self, kernel: &Kernel, kind: &InstKind) {
        match kind {
            InstKind::Scalar { op, operands, mode } => {
                let [low, high] = op.number().to_le_bytes();
                self.bytes.extend_from_slice(&[10, mode.number(), low, high, 0, 0]);
                self.values(kernel, operands);
            }
            InstKind::Id { op, component } => {
                self.bytes.push(11);
                self.word(u32::from(op.number()));
                self.bytes.push(*component);
            }
            InstKind::Load { memory, index } => {
                self.bytes.push(12);
                self.memory(*memory);
                self.value(kernel, *index);
            }
            InstKind::Store { memory, index, value } => {
                self.bytes.push(13);
                self.memory(*memory);
                self.value(kernel, *index);
                self.value(kernel, *value);
            }
            InstKind::Len { memory } => {
                self.bytes.push(14);
                self.memory(*memory);
            }
            InstKind::Atomic { op, order, scope, memory, index, operands } => {
                self.bytes.extend_from_slice(&[15, order.number(), scope.number()]);
                self.word(u32::from(op.number()));
                self.memory(*memory);
                self.value(kernel, *index);
                self.values(kernel, operands);
            }
            InstKind::Barrier { scopes: MemoryScopes { shared, buffers } } => {
                self.bytes.extend_from_slice(&[16, u8::from(*shared), u8::from(*buffers)]);
            }
            InstKind::VecShuffle { components, vectors } => {
                self.bytes.extend_from_slice(&[23, components.len() as u8]);
                self.bytes.extend_from_slice(components);
                self.values(kernel, vectors);
            }
            InstKind::Fence { order, scope } => {
                self.bytes.extend_from_slice(&[24, order.number(), scope.number()]);
            }
            InstKind::SubgroupBarrier { scopes: MemoryScopes { shared, buffers } } => {
                self.bytes.extend_from_slice(&[25, u8::from(*shared), u8::from(*buffers)]);
            }
            InstKind::WorkgroupBroadcast { value, index } => {
                self.bytes.push(26);
                self.values(kernel, &[*value, *index]);
            }
            InstKind::Subgroup { op, combine, operands } => {
                self.bytes.extend_from_slice(&[27, combine.map_or(0, |c| c.number())]);
                self.word(u32::from(op.number()));
                self.values(kernel, operands);
            }
            InstKind::Trap { code } => {
                self.bytes.push(28);
                self.value(kernel, *code);
            }
            InstKind::CoopLoad { layout, memory, offset, stride } => {
                self.bytes.extend_from_slice(&[29, layout.number()]);
                self.memory(*memory);
                self.values(kernel, &[*offset, *stride]);
            }
            InstKind::CoopStore { layout, memory, offset, stride, value } => {
                self.bytes.extend_from_slice(&[30, layout.number()]);
                self.memory(*memory);
                self.values(kernel, &[*offset, *stride, *value]);
            }
            InstKind::CoopFill { value } => {
                self.bytes.push(31);
                self.value(kernel, *value);
            }
            InstKind::CoopMulAdd { a, b, c } => {
                self.bytes.push(32);
                self.values(kernel, &[*a, *b, *c]);
            }
            InstKind::CoopConvert { value } => {
                self.bytes.push(33);
                self.value(kernel, *value);
            }
            InstKind::Region { .. } => {}
            InstKind::If { condition, .. } => {
                self.bytes.push(17);
                self.value(kernel, *condition);
            }
            InstKind::For { start, end, step, initial, .. } => {
                self.bytes.push(18);
                [start, end, step].into_iter().for_each(|v| self.value(kernel, *v));
                self.values(kernel, initial);
            }
            InstKind::While { initial, .. } => {
                self.bytes.push(19);
                self.values(kernel, initial);
            }
        }
    }

    fn terminator(&mut self, kernel: &Kernel, block: BlockId) {
        match &kernel.block(block).terminator {
            Terminator::Return => self.bytes.push(20),
            Terminator::Yield(values) => {
                self.bytes.push(21);
                self.values(kernel, values);
            }
            Terminator::Condition(go) => {
                self.bytes.push(22);
                self.value(kernel, *go);
            }
        }
    }
}

/// Encodes a node of a precondition, with its operands replaced by `numbers`.
fn require_node(node: &RequireNode, numbers: &[Option<u32>]) -> Vec<u8> {
    let mut form = Form { bytes: Vec::new(), numbers: Vec::new(), aliases: Vec::new(), next: 0 };
    match node {
        RequireNode::Literal(literal) => {
            form.bytes.extend_from_slice(&[0, literal.ty.number()]);
            form.bytes.extend_from_slice(&literal.bits.to_le_bytes());
        }
        RequireNode::Param(id) => {
            form.bytes.push(1);
            form.word(id.index() as u32);
        }
        RequireNode::Len(id) => {
            form.bytes.push(2);
            form.word(id.index() as u32);
        }
        RequireNode::NumWorkgroups(axis) => form.bytes.extend_from_slice(&[3, *axis]),
        RequireNode::Op { op, operands } => {
            form.bytes.push(4);
            form.word(u32::from(op.number()));
            form.word(operands.len() as u32);
            operands.iter().for_each(|i| form.word(numbers[*i as usize].unwrap_or(u32::MAX)));
        }
    }
    form.bytes
}
