//! Values hidden from drivers whose compilers fold what they see of them wrongly: combined with a zero that only the launch
//! knows.
//!
//! The profile's [`Rules`](crate::Rules) say which values a driver must not see through. A value that no compiler can fold
//! is left as it is.

use fulgurite_ir::analysis::{instructions, operands};
use fulgurite_ir::{InstKind, Kernel, Memory, Terminator, ValueDef, ValueId};
use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::{Op, ScalarType, Type};

use super::Emitter;
use crate::assembler::{Id, register};
use crate::profile::Profile;
use crate::spv::op;

/// Ops whose lowering, here or in the driver, adds, subtracts, multiplies or divides floats.
fn is_arithmetic(op: Op) -> bool {
    matches!(op, Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Fma | Op::Fract | Op::Dot | Op::Abs)
        || op.is_transcendental()
}

/// Whether a module for `profile` hides anything of `kernel`, so that its parameter block has a zero.
pub(crate) fn hides(kernel: &Kernel, profile: &Profile) -> bool {
    let result = |is: &dyn Fn(ScalarType) -> bool| {
        instructions(kernel).any(|id| kernel.inst(id).results.iter().any(|r| is(kernel.ty(*r).scalar)))
    };
    profile.rules.zeros && result(&ScalarType::is_float)
        || profile.rules.f16_rounding && result(&|ty| ty == ScalarType::F16)
        || profile.rules.wide_integers && result(&|ty| matches!(ty, ScalarType::I64 | ScalarType::U64))
        || profile.rules.narrow_integers
            && result(&|ty| register(Type::scalar(ty)).scalar != ty || ty == ScalarType::F16)
        || profile.rules.signs && negates_or_compares(kernel)
}

/// Whether `kernel` negates integers, or compares floats.
fn negates_or_compares(kernel: &Kernel) -> bool {
    instructions(kernel).any(|id| match &kernel.inst(id).kind {
        InstKind::Scalar { op: Op::Neg | Op::Abs, .. } => true,
        InstKind::Scalar { op: Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge, operands, .. } => {
            operands.iter().any(|value| kernel.ty(*value).scalar.is_float())
        }
        _ => false,
    })
}

/// For each value, whether it is used by anything but a store to memory that other invocations can see.
pub(super) fn used_in_registers(kernel: &Kernel) -> Vec<bool> {
    let mut used = vec![false; kernel.values.len()];
    for id in instructions(kernel) {
        let stored = match kernel.inst(id).kind {
            InstKind::Store { memory, value, .. } if !matches!(memory, Memory::Local(_)) => Some(value),
            _ => None,
        };
        operands(&kernel.inst(id).kind)
            .filter(|value| Some(*value) != stored)
            .for_each(|value| used[value.index()] = true);
    }
    for block in &kernel.blocks {
        match &block.terminator {
            Terminator::Yield(values) => values.iter().for_each(|value| used[value.index()] = true),
            Terminator::Return | Terminator::Condition(_) => {}
        }
    }
    used
}

impl Emitter<'_> {
    /// The hidden zero in every lane of the unsigned integer `ty`.
    fn hidden_zero(&mut self, ty: Type) -> Option<Id> {
        let zero = self.hidden?;
        let zero = self.convert_hidden(zero, ty.element());
        Some(self.splat_value(ty, zero))
    }

    fn convert_hidden(&mut self, zero: Id, ty: Type) -> Id {
        if ty.scalar.bits() == 64 { self.make(op::UConvert, ty, &[zero]) } else { zero }
    }

    /// `value` combined with the hidden zero, so that no compiler can fold it.
    fn opaque(&mut self, ty: Type, value: Id) -> Id {
        let unsigned = ty.with_scalar(ty.scalar.unsigned().unwrap_or(ScalarType::U32));
        let Some(zero) = self.hidden_zero(unsigned) else { return value };
        if ty.scalar == ScalarType::F16 {
            // In 16 bits, as it is in registers.
            let halves = self.asm.memory_ty(unsigned);
            let zero = self.truncated(unsigned, zero);
            let bits = self.asm.value(op::Bitcast, halves, &[value]);
            let bits = self.asm.value(op::BitwiseOr, halves, &[bits, zero]);
            return self.make(op::Bitcast, ty, &[bits]);
        }
        let bits = self.as_type(ty, unsigned, value);
        // Not an exclusive or: a compiler cancels two of them.
        let bits = self.make(op::BitwiseOr, unsigned, &[bits, zero]);
        self.as_type(unsigned, ty, bits)
    }

    /// A result rounded to `f16`, so that a conversion to a wider type does not take the rounding back.
    pub(super) fn keep_rounding(&mut self, scalar_op: Op, result: ValueId, value: Id) -> Id {
        let ty = self.kernel.ty(result);
        let rounds = scalar_op == Op::Convert || scalar_op.is_transcendental();
        let hides = self.profile.rules.f16_rounding
            && rounds
            && ty.scalar == ScalarType::F16
            && self.used_in_registers.get(result.index()).copied().unwrap_or(true);
        if hides { self.opaque(ty, value) } else { value }
    }

    /// A 64-bit integer widened from a narrower one, or the amount that one is shifted by.
    pub(super) fn keep_wide(&mut self, ty: Type, value: Id) -> Id {
        if self.profile.rules.wide_integers { self.opaque(ty, value) } else { value }
    }

    /// A 64-bit integer made of a float, shifted by zero: else a driver that only sees its low half used converts to a word,
    /// which saturates elsewhere.
    pub(super) fn keep_high_half(&mut self, ty: Type, value: Id) -> Id {
        let amount = self.hidden_zero(ty.with_scalar(ScalarType::U32));
        match amount.filter(|_| self.profile.rules.wide_integers) {
            Some(amount) => self.make(op::ShiftRightLogical, ty, &[value, amount]),
            None => value,
        }
    }

    /// A constant of an integer type, which no compiler can know where narrow integers are misfolded.
    pub(super) fn wrapping_constant(&mut self, ty: Type, bits: u64) -> Id {
        let constant = self.asm.splat(ty, bits);
        if self.profile.rules.narrow_integers { self.opaque(ty, constant) } else { constant }
    }

    /// The negative of an integer.
    pub(super) fn negated(&mut self, ty: Type, value: Id) -> Id {
        let unsigned = ty.with_scalar(ty.scalar.unsigned().unwrap_or(ScalarType::U32));
        if !self.profile.rules.signs {
            return self.make(op::SNegate, ty, &[value]);
        }
        match self.hidden_zero(unsigned) {
            Some(zero) => self.make(op::ISub, ty, &[zero, value]),
            None => self.make(op::SNegate, ty, &[value]),
        }
    }

    /// The operands of a comparison of floats.
    fn hide_literals(&mut self, scalar_op: Op, main: Type, operands: &[ValueId], args: &mut [Id]) {
        let compares = matches!(scalar_op, Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge);
        if !self.profile.rules.signs || !compares || !main.scalar.is_float() {
            return;
        }
        for (value, arg) in operands.iter().zip(args) {
            if self.constant(*value).is_some() {
                *arg = self.opaque(main, *arg);
            }
        }
    }

    /// The operands of an op, with those hidden of which the driver's compiler would make too much.
    pub(super) fn hide(&mut self, scalar_op: Op, main: Type, operands: &[ValueId], args: &mut [Id]) {
        self.hide_known(scalar_op, main, operands, args);
        self.hide_literals(scalar_op, main, operands, args);
    }

    /// The operands of a float op, with what may be a known zero hidden where that matters.
    fn hide_known(&mut self, scalar_op: Op, main: Type, operands: &[ValueId], args: &mut [Id]) {
        // Matrices have no bits to be combined with.
        // A selection of −1 or 0 is one, too: of a truth value converted and negated.
        let sees_zeros = is_arithmetic(scalar_op) || scalar_op == Op::Select;
        let matters = main.scalar.is_float() && !main.is_matrix() && sees_zeros;
        if !matters || !self.profile.rules.zeros {
            return;
        }
        for (value, arg) in operands.iter().zip(args) {
            let ty = self.kernel.ty(*value);
            if !ty.scalar.is_float() || self.is_nonzero(*value) || self.is_unknown(*value) {
                continue;
            }
            *arg = self.opaque(ty, *arg);
        }
    }

    /// Zero of a type, which a driver that folds zeros cannot know.
    pub(super) fn unknown_zero(&mut self, ty: Type) -> Id {
        let zero = self.asm.splat(ty, 0);
        let hides = self.profile.rules.zeros && ty.scalar.is_float();
        if hides { self.opaque(ty, zero) } else { zero }
    }

    /// Whether a value is known, and no component of it is a zero.
    fn is_nonzero(&self, value: ValueId) -> bool {
        let ty = self.kernel.ty(value);
        let (Some(lanes), Some(format)) = (self.constant(value), FloatFormat::of(ty.scalar)) else {
            return false;
        };
        !lanes[..ty.lanes.count() as usize].iter().any(|bits| format.is_zero(*bits))
    }

    /// Whether no compiler can know a value: it comes from the host, or from arithmetic with such a value, or with
    /// one that was hidden.
    fn is_unknown(&self, value: ValueId) -> bool {
        if self.known.contains_key(&value) {
            return false;
        }
        match self.kernel.value(value).def {
            ValueDef::Param(_) => true,
            ValueDef::Inst(inst, _) => match &self.kernel.inst(inst).kind {
                InstKind::Load { memory: Memory::Buffer(_), .. } => true,
                InstKind::Scalar { op, operands, .. } => {
                    is_arithmetic(*op) && operands.iter().any(|operand| !self.is_nonzero(*operand))
                }
                _ => false,
            },
            _ => false,
        }
    }
}
