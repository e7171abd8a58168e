//! Known zeros, hidden from drivers whose compilers fold float arithmetic with them wrongly.
//!
//! Such a compiler looks for the constant itself, which a literal, a converted counter of an unrolled loop or a
//! local array that nothing wrote may become. What cannot become one is not hidden.

use fulgurite_ir::analysis::instructions;
use fulgurite_ir::{InstKind, Memory, ValueDef, ValueId};
use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::{Op, ScalarType, Type};

use super::Emitter;
use crate::assembler::Id;
use crate::spv::op;

/// Ops whose lowering, here or in the driver, adds, subtracts, multiplies or divides floats.
fn is_arithmetic(op: Op) -> bool {
    matches!(op, Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Fma | Op::Fract | Op::Dot)
        || op.is_transcendental()
}

impl Emitter<'_> {
    /// Makes the hidden zero, at the start of the function, if the driver and the kernel need it.
    pub(super) fn hide_zero(&mut self) {
        let kernel = self.kernel;
        let floats = instructions(kernel)
            .any(|id| kernel.inst(id).results.iter().any(|r| kernel.ty(*r).scalar.is_float()));
        if !self.profile.driver_folds_zeros || !floats {
            return;
        }
        // Two dimensions of 2³¹ workgroups and more never run.
        let [x, y] = [0, 1].map(|axis| self.built_in_component(Op::NumWorkgroups, axis));
        let both = self.make(op::BitwiseAnd, Type::U32, &[x, y]);
        let top = self.asm.u32(31);
        self.hidden = Some(self.make(op::ShiftRightLogical, Type::U32, &[both, top]));
    }

    /// The operands of a float op, with what may be a known zero hidden where that matters.
    pub(super) fn hide_known(&mut self, scalar_op: Op, main: Type, operands: &[ValueId], args: &mut [Id]) {
        // Matrices have no bits to be combined with.
        let matters = main.scalar.is_float() && !main.is_matrix() && is_arithmetic(scalar_op);
        let Some(hidden) = self.hidden.filter(|_| matters) else { return };
        for (value, arg) in operands.iter().zip(args) {
            if self.is_nonzero(*value) || self.is_unknown(*value) {
                continue;
            }
            let ty = self.kernel.ty(*value);
            let bits_type = ty.with_scalar(ty.scalar.unsigned().unwrap_or(ScalarType::U32));
            let bits = self.as_type(ty, bits_type, *arg);
            let hidden = self.convert(hidden, Type::U32, bits_type.element());
            let hidden = self.splat_value(bits_type, hidden);
            let bits = self.make(op::BitwiseOr, bits_type, &[bits, hidden]);
            *arg = self.as_type(bits_type, ty, bits);
        }
    }

    /// Whether a value is a literal other than a zero.
    fn is_nonzero(&self, value: ValueId) -> bool {
        self.kernel.literal(value).is_some_and(|literal| {
            FloatFormat::of(literal.ty).is_some_and(|format| !format.is_zero(literal.bits))
        })
    }

    /// Whether no compiler can know a value: it comes from the host, or from arithmetic with such a value, or with
    /// one that was hidden.
    fn is_unknown(&self, value: ValueId) -> bool {
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
