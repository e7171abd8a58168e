//! Atomic ops on words of buffers and shared arrays. Accesses to memory are ordered on x86-64 as acquire and release ask for.

use fulgurite_ir::{InstKind, Memory, Operands, ValueId};
use fulgurite_spec::{AtomicOp, ScalarType};

use super::Lowering;
use crate::native::program::{Class, Reg, Step, Update};

/// Returns the change of a word that an op makes; `None` for loads and stores.
fn update(op: AtomicOp, ty: ScalarType) -> Option<Update> {
    Some(match op {
        AtomicOp::Load | AtomicOp::Store => return None,
        AtomicOp::Exchange => Update::Exchange,
        AtomicOp::CompareExchange => Update::CompareExchange,
        AtomicOp::Add if ty.is_float() => Update::FloatAdd,
        AtomicOp::Add => Update::Add,
        AtomicOp::And => Update::And,
        AtomicOp::Or => Update::Or,
        AtomicOp::Xor => Update::Xor,
        AtomicOp::Min if ty.is_signed() => Update::MinSigned,
        AtomicOp::Min => Update::MinUnsigned,
        AtomicOp::Max if ty.is_signed() => Update::MaxSigned,
        AtomicOp::Max => Update::MaxUnsigned,
    })
}

impl Lowering<'_> {
    pub(super) fn atomic(&mut self, kind: &InstKind, results: &Operands) -> Option<()> {
        let InstKind::Atomic { op, memory, index, operands, .. } = kind else { return None };
        let op = AtomicOp::of(*op)?;
        let index = self.vector(self.first(*index))?;
        let (mask, first) = self.inside(*memory, index, 1);
        let words = self.words(*memory, first, 0);
        let args =
            operands.iter().map(|value| self.vector(self.first(*value))).collect::<Option<Vec<Reg>>>()?;
        let to = self.reg(Class::Vector);
        // An aligned access to a word is indivisible.
        match op {
            AtomicOp::Load => self.push(Step::Gather { to, words, mask }),
            AtomicOp::Store => self.push(Step::Scatter { from: *args.first()?, words, mask }),
            AtomicOp::Exchange
            | AtomicOp::CompareExchange
            | AtomicOp::Add
            | AtomicOp::And
            | AtomicOp::Or
            | AtomicOp::Xor
            | AtomicOp::Min
            | AtomicOp::Max => {
                let update = update(op, self.kernel.element(*memory).scalar)?;
                let a = *args.first()?;
                let b = args.get(1).copied().unwrap_or(a);
                // One thread runs all invocations that access a shared array.
                let is_locked = match self.kernel.base(*memory) {
                    Memory::Shared(_) => false,
                    Memory::Buffer(_) | Memory::Local(_) | Memory::View(_) => true,
                };
                self.push(Step::Atomic { update, to, words, mask, a, b, is_locked });
            }
        }
        for result in results.iter().copied().collect::<Vec<ValueId>>() {
            self.define_vector(self.first(result), to);
        }
        Some(())
    }
}
