//! Atomic ops on words of buffers and shared arrays. Accesses to memory are ordered on x86-64 as acquire and release ask for.

use fulgurite_ir::{InstId, InstKind, Memory, Operands, ValueId};
use fulgurite_spec::{AtomicOp, ScalarType};

use super::Lowering;
use super::row::Row;
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
    pub(super) fn atomic(&mut self, id: InstId, kind: &InstKind, results: &Operands) -> Option<()> {
        let InstKind::Atomic { op, memory, index, operands, .. } = kind else { return None };
        let (op, index) = (AtomicOp::of(*op)?, self.first(*index));
        let args =
            operands.iter().map(|value| self.vector(self.first(*value))).collect::<Option<Vec<Reg>>>()?;
        let is_inside = self.mask.is_none() && self.bounds.is_inside(id);
        let update = update(op, self.kernel.element(*memory).scalar);
        // One thread runs all invocations that access a shared array.
        let is_locked = match self.kernel.base(*memory) {
            Memory::Shared(_) => false,
            Memory::Buffer(_) | Memory::Local(_) | Memory::View(_) => true,
        };
        let is_used = results.iter().any(|result| self.used[result.index()]);
        if let (Some(update), Some(Row { first, when: None })) = (update, self.values[index.0].row)
            && update.direct().is_some()
            && is_inside
            && !is_used
        {
            let words = self.words(*memory, first, 0);
            self.push(Step::UpdateRow { update, words, a: *args.first()?, is_locked });
            return Some(());
        }
        let vector = self.vector(index)?;
        let words = self.words(*memory, vector, 0);
        // The lanes that access memory; `None` if all do.
        let lanes = if is_inside { None } else { Some(self.inside(*memory, vector, 1).0) };
        let to = self.reg(Class::Vector);
        match (update, op) {
            (Some(update), _) => {
                let a = *args.first()?;
                let b = args.get(1).copied().unwrap_or(a);
                self.push(Step::Atomic { update, to, words, mask: lanes, a, b, is_locked });
            }
            // An aligned access to a word is indivisible.
            (None, AtomicOp::Store) => {
                let mask = lanes.unwrap_or_else(|| self.all_active());
                self.push(Step::Scatter { from: *args.first()?, words, mask, numbers: None });
            }
            (None, _) => {
                let mask = lanes.unwrap_or_else(|| self.all_active());
                self.push(Step::Gather { to, words, mask });
            }
        }
        for result in results.iter().copied().collect::<Vec<ValueId>>() {
            self.define_vector(self.first(result), to);
        }
        Some(())
    }
}
