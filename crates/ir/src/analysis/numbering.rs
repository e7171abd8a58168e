//! Value numbering: which values are surely equal because they compute the same from the same.
//!
//! Only pure ops of the table, `len` and ids are numbered together; every other value has a number of its own.
//! Equal `len`s that a precondition states are one number too.

use std::collections::HashMap;

use fulgurite_spec::{Literal, Op, ScalarType, Type};

use crate::analysis::walk::{Event, Walk};
use crate::kernel::{BufferId, FloatMode, InstKind, Kernel, Memory, Operands, Terminator, ValueId};
use crate::require::{Require, RequireNode};

/// The number of a value; equal numbers are equal values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Number(u32);

impl Number {
    /// Its place among all numbers.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a number is computed by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Form {
    Literal(Literal),
    /// The length of a buffer, by the first of those of equal length.
    Len(BufferId),
    /// The length of a view of a buffer, by the base and the size of an element.
    ViewLen(BufferId, u32),
    Id(Op, u8),
    Scalar(Op, FloatMode, Type, Vec<Number>),
    Own(ValueId),
}

/// The numbers of a kernel's values.
pub(crate) struct Numbering {
    numbers: Vec<Number>,
    forms: HashMap<Form, Number>,
    /// For each buffer, the first that surely has its length.
    equal_lengths: Vec<BufferId>,
}

impl Numbering {
    /// Numbers the values of `kernel`, whose structure the verifier has checked.
    pub(crate) fn of(kernel: &Kernel) -> Self {
        let mut numbering = Self {
            numbers: vec![Number(0); kernel.values.len()],
            forms: HashMap::new(),
            equal_lengths: equal_lengths(kernel),
        };
        for id in (0..kernel.values.len()).map(ValueId::new) {
            let form = kernel.literal(id).map_or(Form::Own(id), Form::Literal);
            numbering.set(id, form);
        }
        for event in Walk::new(kernel) {
            if let Event::Done(id) = event
                && let InstKind::Region { body, .. } = kernel.inst(id).kind
                && let Terminator::Yield(values) = &kernel.block(body).terminator
            {
                for (result, value) in kernel.inst(id).results.iter().zip(values) {
                    numbering.numbers[result.index()] = numbering.number(*value);
                }
            }
            let Event::Inst(id) = event else { continue };
            let inst = kernel.inst(id);
            let [result] = *inst.results else { continue };
            if let InstKind::Scalar { op: Op::Convert, operands, .. } = &inst.kind
                && let [narrow] = **operands
                && (kernel.ty(narrow), kernel.ty(result)) == (Type::U32, Type::scalar(ScalarType::U64))
            {
                // The same number. Unsigned ops whose result is of neither type give the same of both.
                numbering.numbers[result.index()] = numbering.number(narrow);
                continue;
            }
            let form = match &inst.kind {
                InstKind::Scalar { op, operands, mode } => {
                    numbering.scalar(*op, *mode, kernel.ty(result), operands)
                }
                InstKind::Id { op, component } => Form::Id(*op, *component),
                InstKind::Len { memory } => {
                    let size = kernel.element(*memory).size();
                    match (kernel.array_len(*memory), numbering.length_form(kernel, *memory, size)) {
                        (Some(len), _) => Form::Literal(Literal::from(len)),
                        (None, Some(form)) => form,
                        (None, None) => continue,
                    }
                }
                _ => continue,
            };
            numbering.set(result, form);
        }
        numbering
    }

    fn scalar(&self, op: Op, mode: FloatMode, ty: Type, operands: &Operands) -> Form {
        let mut numbers: Vec<Number> = operands.iter().map(|v| self.number(*v)).collect();
        let commutes = matches!(op, Op::Add | Op::Mul | Op::And | Op::Or | Op::Xor | Op::Min | Op::Max);
        if commutes && !ty.scalar.is_float() {
            numbers.sort_unstable();
        }
        Form::Scalar(op, mode, ty, numbers)
    }

    fn set(&mut self, value: ValueId, form: Form) {
        self.numbers[value.index()] = self.intern(form);
    }

    fn intern(&mut self, form: Form) -> Number {
        let next = Number(self.forms.len() as u32);
        *self.forms.entry(form).or_insert(next)
    }

    /// How many numbers there are so far.
    pub(crate) fn count(&self) -> usize {
        self.forms.len()
    }

    /// The number of a value.
    pub(crate) fn number(&self, value: ValueId) -> Number {
        self.numbers[value.index()]
    }

    /// What computes the length of a buffer or a view of one, in elements of `size` bytes. In those of the buffer's own
    /// size it is the buffer's length.
    fn length_form(&self, kernel: &Kernel, memory: Memory, size: u32) -> Option<Form> {
        let Memory::Buffer(buffer) = kernel.base(memory) else { return None };
        Some(if size == kernel.element(Memory::Buffer(buffer)).size() {
            Form::Len(self.equal_lengths[buffer.index()])
        } else {
            Form::ViewLen(buffer, size)
        })
    }

    /// The number that the length of a buffer or a view of one has in elements of `size` bytes, if the kernel or a
    /// precondition computes it.
    pub(crate) fn length(&self, kernel: &Kernel, memory: Memory, size: u32) -> Option<Number> {
        self.forms.get(&self.length_form(kernel, memory, size)?).copied()
    }

    /// The number of a precondition's node, made if it has none; `None` for what is never numbered.
    pub(crate) fn node(&mut self, kernel: &Kernel, require: &Require, position: u32) -> Option<Number> {
        match require.nodes.get(position as usize)? {
            RequireNode::Literal(literal) => Some(self.intern(Form::Literal(*literal))),
            RequireNode::Param(id) => Some(self.number(kernel.params[id.index()].value)),
            RequireNode::Len(buffer) => {
                let first = self.equal_lengths[buffer.index()];
                Some(self.intern(Form::Len(first)))
            }
            RequireNode::NumWorkgroups(axis) => Some(self.intern(Form::Id(Op::NumWorkgroups, *axis))),
            RequireNode::Op { .. } => None,
        }
    }
}

/// The conditions that a precondition states together: its nodes that are not `and`.
pub(crate) fn conjuncts(require: &Require) -> Vec<u32> {
    let mut found = Vec::new();
    let mut seen = vec![false; require.nodes.len()];
    let mut stack: Vec<u32> =
        require.nodes.len().checked_sub(1).map(|last| last as u32).into_iter().collect();
    while let Some(position) = stack.pop() {
        if core::mem::replace(&mut seen[position as usize], true) {
            continue;
        }
        match &require.nodes[position as usize] {
            RequireNode::Op { op: Op::And, operands } => stack.extend(operands),
            _ => found.push(position),
        }
    }
    found
}

/// For each buffer, the first that preconditions state to be of its length.
fn equal_lengths(kernel: &Kernel) -> Vec<BufferId> {
    let mut first: Vec<usize> = (0..kernel.buffers.len()).collect();
    let root = |first: &[usize], mut buffer: usize| {
        while first[buffer] != buffer {
            buffer = first[buffer];
        }
        buffer
    };
    for require in &kernel.requires {
        for position in conjuncts(require) {
            let RequireNode::Op { op: Op::Eq, operands } = &require.nodes[position as usize] else {
                continue;
            };
            let [a, b] = operands.as_slice() else { continue };
            if let (RequireNode::Len(a), RequireNode::Len(b)) =
                (&require.nodes[*a as usize], &require.nodes[*b as usize])
            {
                let (a, b) = (root(&first, a.index()), root(&first, b.index()));
                first[a.max(b)] = a.min(b);
            }
        }
    }
    (0..first.len()).map(|buffer| BufferId::new(root(&first, buffer))).collect()
}
