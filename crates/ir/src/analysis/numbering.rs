//! Value numbering: finds values that are equal because they apply the same op to equal operands.
//!
//! Only pure ops of the op table, `len`, ids and literals share numbers; every other value has its own. Lengths that
//! a precondition states to be equal share a number, too.

use std::collections::HashMap;

use fulgurite_spec::limits::MAX_SCALAR_OPERANDS;
use fulgurite_spec::{BoolOp, IntegerOp, Literal, Op, ScalarClass, ScalarOp, ScalarType, Type};

use crate::kernel::{BufferId, FloatMode, InstKind, Kernel, Memory, Terminator, ValueDef, ValueId};
use crate::require::{Require, RequireNode};

/// The number of a value. Values with equal numbers are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Number(u32);

impl Number {
    /// Returns the position among all numbers.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The definition of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    Literal(Literal),
    /// The length of a buffer, represented by the first buffer of equal length.
    Len(BufferId),
    /// The length of a view of a buffer, by the buffer and the size of an element.
    ViewLen(BufferId, u32),
    Id(Op, u8),
    /// Unused operands are [`NONE`].
    Scalar(Op, FloatMode, Type, [Number; MAX_SCALAR_OPERANDS]),
    Own(ValueId),
}

/// The absence of a number.
const NONE: Number = Number(u32::MAX);

/// The numbers of a kernel's values. Values are numbered on demand, together with their operands, because few values
/// of a kernel are indices or compared with one.
pub(crate) struct Numbering<'k> {
    kernel: &'k Kernel,
    numbers: Vec<Number>,
    forms: HashMap<Form, Number>,
    /// For each buffer, the first one with the same length.
    equal_lengths: Vec<BufferId>,
}

impl<'k> Numbering<'k> {
    /// Creates the numbering of `kernel`, whose structure the verifier has checked.
    pub(crate) fn of(kernel: &'k Kernel) -> Self {
        Self {
            kernel,
            numbers: vec![NONE; kernel.values.len()],
            forms: HashMap::new(),
            equal_lengths: equal_lengths(kernel),
        }
    }

    /// Returns the number of a value. `fresh` is called for each value that gets a number.
    pub(crate) fn number(&mut self, value: ValueId, mut fresh: impl FnMut(ValueId, Number)) -> Number {
        // An explicit stack, because chains of operands may be long.
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

    /// Returns the number of a value, unless operands must be numbered first; these are added to `asked`.
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
            // The result of a region is the value that it yields.
            InstKind::Region { body, .. } => match &kernel.block(*body).terminator {
                Terminator::Yield(values) => match values.get(position as usize) {
                    Some(yielded) => return known(&self.numbers, *yielded),
                    None => Form::Own(value),
                },
                _ => Form::Own(value),
            },
            // Widening preserves the value. Unsigned ops with a result of another type give the same result for both
            // widths.
            InstKind::Scalar { op: Op::Convert, operands, .. }
                if let [narrow] = **operands
                    && (kernel.ty(narrow), ty) == (Type::U32, Type::scalar(ScalarType::U64)) =>
            {
                return known(&self.numbers, narrow);
            }
            InstKind::Scalar { op, operands, mode } if operands.len() <= MAX_SCALAR_OPERANDS => {
                let mut numbers = [NONE; MAX_SCALAR_OPERANDS];
                for (number, operand) in numbers.iter_mut().zip(operands.iter()) {
                    *number = known(&self.numbers, *operand);
                }
                if commutes(*op, ty.scalar.class()) {
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
            InstKind::Scalar { .. }
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
            | InstKind::While { .. } => Form::Own(value),
        };
        self.intern(form)
    }

    fn intern(&mut self, form: Form) -> Number {
        let next = Number(self.forms.len() as u32);
        *self.forms.entry(form).or_insert(next)
    }

    /// Returns the number of numbers so far.
    pub(crate) fn count(&self) -> usize {
        self.forms.len()
    }

    /// Returns the form of the length of a buffer, or of a view of one, in elements of `size` bytes. For elements of
    /// the buffer's own size, it is the length of the buffer.
    fn length_form(&self, memory: Memory, size: u32) -> Option<Form> {
        let Memory::Buffer(buffer) = self.kernel.base(memory) else { return None };
        Some(if size == self.kernel.element(Memory::Buffer(buffer)).size() {
            Form::Len(self.equal_lengths[buffer.index()])
        } else {
            Form::ViewLen(buffer, size)
        })
    }

    /// Returns the number of the length of a buffer, or of a view of one, in elements of `size` bytes, if that length
    /// has a number.
    pub(crate) fn length(&self, memory: Memory, size: u32) -> Option<Number> {
        self.forms.get(&self.length_form(memory, size)?).copied()
    }

    /// Returns the number of the sum of a value of type `ty` and a literal, if the kernel has it as an index that was numbered.
    pub(crate) fn sum(&self, value: Number, literal: u64, ty: Type) -> Option<Number> {
        let literal = *self.forms.get(&Form::Literal(Literal::new(ty.scalar, literal)))?;
        let mut operands = [NONE; MAX_SCALAR_OPERANDS];
        operands[..2].copy_from_slice(&[value.min(literal), value.max(literal)]);
        self.forms.get(&Form::Scalar(Op::Add, FloatMode::Default, ty, operands)).copied()
    }

    /// Returns the number of a precondition's node, or `None` for an op, which is never numbered.
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

/// Returns whether the operands of an op with a result of this class are sorted, so that both orders share a number.
/// Operands of comparisons and of ops on floats are not.
fn commutes(op: Op, result: ScalarClass) -> bool {
    let Some(op) = op.on(result) else { return false };
    match op {
        ScalarOp::Bool(op) => match op {
            BoolOp::And | BoolOp::Or | BoolOp::Xor => true,
            BoolOp::Not | BoolOp::Eq | BoolOp::Ne => false,
        },
        ScalarOp::Integer(op) => match op {
            IntegerOp::Add
            | IntegerOp::Mul
            | IntegerOp::And
            | IntegerOp::Or
            | IntegerOp::Xor
            | IntegerOp::Min
            | IntegerOp::Max => true,
            // Some of these commute, too, and are seldom part of an index.
            IntegerOp::Compare(_)
            | IntegerOp::Sub
            | IntegerOp::MulHi
            | IntegerOp::Div
            | IntegerOp::Rem
            | IntegerOp::Neg
            | IntegerOp::Abs
            | IntegerOp::Sign
            | IntegerOp::Clamp
            | IntegerOp::AddSat
            | IntegerOp::SubSat
            | IntegerOp::Not
            | IntegerOp::Shl
            | IntegerOp::Shr
            | IntegerOp::RotateLeft
            | IntegerOp::RotateRight
            | IntegerOp::PopCount
            | IntegerOp::LeadingZeros
            | IntegerOp::TrailingZeros
            | IntegerOp::ReverseBits
            | IntegerOp::ExtractBits
            | IntegerOp::InsertBits
            | IntegerOp::DotPacked => false,
        },
        ScalarOp::Float(_)
        | ScalarOp::Select
        | ScalarOp::Convert
        | ScalarOp::Bitcast
        | ScalarOp::Pack
        | ScalarOp::Unpack
        | ScalarOp::Construct
        | ScalarOp::Extract
        | ScalarOp::Insert
        | ScalarOp::Dot => false,
    }
}

/// Returns the conjuncts of a precondition: the operands of nested `and`s.
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

/// For each buffer, returns the first one that preconditions state to have the same length.
pub fn equal_lengths(kernel: &Kernel) -> Vec<BufferId> {
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
