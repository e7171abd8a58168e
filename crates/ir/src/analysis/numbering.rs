//! Value numbering: which values are surely equal because they compute the same from the same.
//!
//! Only pure ops of the table, `len` and ids are numbered together; every other value has a number of its own.
//! Equal `len`s that a precondition states are one number too.

use std::collections::HashMap;

use fulgurite_spec::{Literal, Op, ScalarType, Type};

use crate::kernel::{BufferId, FloatMode, InstKind, Kernel, Memory, Terminator, ValueDef, ValueId};
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    Literal(Literal),
    /// The length of a buffer, by the first of those of equal length.
    Len(BufferId),
    /// The length of a view of a buffer, by the base and the size of an element.
    ViewLen(BufferId, u32),
    Id(Op, u8),
    /// Operands behind the last are [`NONE`].
    Scalar(Op, FloatMode, Type, [Number; MOST_OPERANDS]),
    Own(ValueId),
}

/// Ops with more operands are not numbered together.
const MOST_OPERANDS: usize = 4;

/// No number.
const NONE: Number = Number(u32::MAX);

/// The numbers of a kernel's values. A value is numbered when it is asked for, with what it is computed from: few of a kernel's
/// values are indices or compared with one.
pub(crate) struct Numbering<'k> {
    kernel: &'k Kernel,
    numbers: Vec<Number>,
    forms: HashMap<Form, Number>,
    /// For each buffer, the first that surely has its length.
    equal_lengths: Vec<BufferId>,
}

impl<'k> Numbering<'k> {
    /// The numbering of `kernel`, whose structure the verifier has checked.
    pub(crate) fn of(kernel: &'k Kernel) -> Self {
        Self {
            kernel,
            numbers: vec![NONE; kernel.values.len()],
            forms: HashMap::new(),
            equal_lengths: equal_lengths(kernel),
        }
    }

    /// The number of a value. `fresh` is told each value that is numbered for that.
    pub(crate) fn number(&mut self, value: ValueId, mut fresh: impl FnMut(ValueId, Number)) -> Number {
        // What a value is computed from comes before it; a chain of those may be long.
        let mut asked = vec![value];
        while let Some(value) = asked.last().copied() {
            if self.numbers[value.index()] == NONE {
                let waiting = asked.len();
                let number = self.compute(value, &mut asked);
                if asked.len() > waiting {
                    continue;
                }
                self.numbers[value.index()] = number;
                fresh(value, number);
            }
            asked.pop();
        }
        self.numbers[value.index()]
    }

    /// The number of a value, unless others that it is computed from must be numbered first: these are added to `asked`.
    fn compute(&mut self, value: ValueId, asked: &mut Vec<ValueId>) -> Number {
        let kernel = self.kernel;
        if let Some(literal) = kernel.literal(value) {
            return self.intern(Form::Literal(literal));
        }
        let ValueDef::Inst(inst, position) = kernel.value(value).def else {
            return self.intern(Form::Own(value));
        };
        let ty = kernel.ty(value);
        let mut known = |numbers: &[Number], value: ValueId| {
            let number = numbers[value.index()];
            if number == NONE {
                asked.push(value);
            }
            number
        };
        let form = match &kernel.inst(inst).kind {
            // A region's result is what it yields.
            InstKind::Region { body, .. } => match &kernel.block(*body).terminator {
                Terminator::Yield(values) => match values.get(position as usize) {
                    Some(yielded) => return known(&self.numbers, *yielded),
                    None => Form::Own(value),
                },
                _ => Form::Own(value),
            },
            // The same number. Unsigned ops whose result is of neither type give the same of both.
            InstKind::Scalar { op: Op::Convert, operands, .. }
                if let [narrow] = **operands
                    && (kernel.ty(narrow), ty) == (Type::U32, Type::scalar(ScalarType::U64)) =>
            {
                return known(&self.numbers, narrow);
            }
            InstKind::Scalar { op, operands, mode } if operands.len() <= MOST_OPERANDS => {
                let mut numbers = [NONE; MOST_OPERANDS];
                for (number, operand) in numbers.iter_mut().zip(operands.iter()) {
                    *number = known(&self.numbers, *operand);
                }
                let commutes =
                    matches!(op, Op::Add | Op::Mul | Op::And | Op::Or | Op::Xor | Op::Min | Op::Max);
                if commutes && !ty.scalar.is_float() {
                    numbers[..operands.len()].sort_unstable();
                }
                Form::Scalar(*op, *mode, ty, numbers)
            }
            InstKind::Id { op, component } => Form::Id(*op, *component),
            InstKind::Len { memory } => {
                let size = kernel.element(*memory).size();
                match (kernel.array_len(*memory), self.length_form(*memory, size)) {
                    (Some(len), _) => Form::Literal(Literal::from(len)),
                    (None, Some(form)) => form,
                    (None, None) => Form::Own(value),
                }
            }
            _ => Form::Own(value),
        };
        self.intern(form)
    }

    fn intern(&mut self, form: Form) -> Number {
        let next = Number(self.forms.len() as u32);
        *self.forms.entry(form).or_insert(next)
    }

    /// How many numbers there are so far.
    pub(crate) fn count(&self) -> usize {
        self.forms.len()
    }

    /// What computes the length of a buffer or a view of one, in elements of `size` bytes. In those of the buffer's own
    /// size it is the buffer's length.
    fn length_form(&self, memory: Memory, size: u32) -> Option<Form> {
        let Memory::Buffer(buffer) = self.kernel.base(memory) else { return None };
        Some(if size == self.kernel.element(Memory::Buffer(buffer)).size() {
            Form::Len(self.equal_lengths[buffer.index()])
        } else {
            Form::ViewLen(buffer, size)
        })
    }

    /// The number that the length of a buffer or a view of one has in elements of `size` bytes, if it was compared with
    /// something.
    pub(crate) fn length(&self, memory: Memory, size: u32) -> Option<Number> {
        self.forms.get(&self.length_form(memory, size)?).copied()
    }

    /// The number of a precondition's node, made if it has none; `None` for what is never numbered.
    pub(crate) fn node(
        &mut self,
        require: &Require,
        position: u32,
        fresh: impl FnMut(ValueId, Number),
    ) -> Option<Number> {
        match require.nodes.get(position as usize)? {
            RequireNode::Literal(literal) => Some(self.intern(Form::Literal(*literal))),
            RequireNode::Param(id) => Some(self.number(self.kernel.params[id.index()].value, fresh)),
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
