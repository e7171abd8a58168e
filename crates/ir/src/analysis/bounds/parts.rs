//! The parts of an index: a literal that is added, a literal factor or divisor, a number that was widened.

use fulgurite_spec::{Op, Type};

use crate::analysis::divisibility::power;
use crate::kernel::{InstKind, ValueDef, ValueId};

use super::{Prover, is_index};

impl Prover<'_> {
    /// Splits an index into a base and a literal added to it.
    pub(super) fn sum(&self, index: ValueId) -> (ValueId, u64) {
        let index = self.unwidened(index);
        let ValueDef::Inst(inst, _) = self.kernel.value(index).def else { return (index, 0) };
        let InstKind::Scalar { op: op @ (Op::Add | Op::Or), operands, .. } = &self.kernel.inst(inst).kind
        else {
            return (index, 0);
        };
        let [a, b] = **operands else { return (index, 0) };
        let literal = |v: ValueId| self.kernel.literal(v).map(|l| l.bits);
        let (base, added) = match (literal(a), literal(b)) {
            (_, Some(added)) => (a, added),
            (Some(added), _) => (b, added),
            (None, None) => return (index, 0),
        };
        // `or` equals `add` if the operands have no bit in common.
        let overlaps = || match power(self.divisors().divisor(base)) {
            0 => false,
            power => added >= power,
        };
        if *op == Op::Or && overlaps() { (index, 0) } else { (self.unwidened(base), added) }
    }

    /// Splits a product into a factor and a literal.
    pub(super) fn product(&self, value: ValueId) -> Option<(ValueId, u32)> {
        let ValueDef::Inst(inst, _) = self.kernel.value(value).def else { return None };
        let InstKind::Scalar { op, operands, .. } = &self.kernel.inst(inst).kind else { return None };
        let [a, b] = **operands else { return None };
        let literal = |v: ValueId| self.kernel.literal(v).and_then(|l| u32::try_from(l.bits).ok());
        match (op, literal(a), literal(b)) {
            (Op::Mul, _, Some(count)) => Some((a, count)),
            (Op::Mul, Some(count), _) => Some((b, count)),
            (Op::Shl, _, Some(amount)) if amount < 31 => Some((a, 1 << amount)),
            _ => None,
        }
    }

    /// Splits a quotient of a number and a power of two that is more than 1 into both.
    pub(super) fn quotient(&self, value: ValueId) -> Option<(ValueId, u32)> {
        let ValueDef::Inst(inst, _) = self.kernel.value(value).def else { return None };
        let InstKind::Scalar { op, operands, .. } = &self.kernel.inst(inst).kind else { return None };
        let [a, b] = **operands else { return None };
        let by = u32::try_from(self.kernel.literal(b)?.bits).ok()?;
        if *op == Op::Shr && (1..31).contains(&by) {
            return Some((a, 1 << by));
        }
        (*op == Op::Div && by > 1 && by.is_power_of_two()).then_some((a, by))
    }

    /// Returns the operand of a widening conversion from `u32`, or the value itself.
    pub(super) fn unwidened(&self, value: ValueId) -> ValueId {
        if let ValueDef::Inst(inst, _) = self.kernel.value(value).def
            && let InstKind::Scalar { op: Op::Convert, operands, .. } = &self.kernel.inst(inst).kind
            && let [narrow] = **operands
            && self.kernel.ty(narrow) == Type::U32
            && is_index(self.kernel.ty(value))
        {
            return narrow;
        }
        value
    }
}
