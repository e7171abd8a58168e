//! Loads and stores.
//!
//! An index that is the same in all lanes is one access; a row of indices is a vector access if all of it is in bounds,
//! which one comparison checks; everything else gathers or scatters the lanes whose index is in bounds. The comparison
//! is left out only where the bounds analysis proves the access in bounds and all lanes are active.

use fulgurite_ir::{InstId, Memory, ValueId};

use super::Lowering;
use crate::native::program::{Class, Input, Kind, Reg, Relation, Step, Words};

impl Lowering<'_> {
    fn words(&mut self, memory: Memory, index: Reg) -> Words {
        let binding = self.binding(memory);
        Words { pointer: self.input(Input::Pointer(binding)), index }
    }

    pub(super) fn load(&mut self, id: InstId, memory: Memory, index: ValueId, result: ValueId) -> Option<()> {
        let len = self.len(memory);
        let is_inside = self.bounds.is_inside(id);
        if let Some(scalar) = self.scalar(index) {
            let (words, len) = (self.words(memory, scalar), (!is_inside).then_some(len));
            let to = self.variable(result);
            self.push(match self.program.class(to) {
                Class::Scalar => Step::LoadScalar { to, words, len },
                Class::Vector | Class::Mask => Step::LoadBroadcast { to, words, len },
            });
            self.define(result, to);
            return Some(());
        }
        let to = self.reg(Class::Vector);
        self.define_vector(result, to);
        let vector = self.vector(index)?;
        let Some(row) = self.values[index.index()].row else {
            self.gather(memory, vector, to);
            return Some(());
        };
        let words = self.words(memory, row);
        if is_inside && self.mask.is_none() {
            self.push(Step::LoadRow { to, words });
            return Some(());
        }
        // Inactive lanes may be loaded as well, so the mask does not matter.
        self.row(
            row,
            len,
            |lowering| lowering.push(Step::LoadRow { to, words }),
            |lowering| {
                lowering.gather(memory, vector, to);
            },
        );
        Some(())
    }

    pub(super) fn store(&mut self, id: InstId, memory: Memory, index: ValueId, value: ValueId) -> Option<()> {
        let len = self.len(memory);
        let is_inside = self.bounds.is_inside(id);
        let (from, vector) = (self.vector(value)?, self.vector(index)?);
        let Some(row) = self.values[index.index()].row else {
            self.scatter(memory, vector, from);
            return Some(());
        };
        let words = self.words(memory, row);
        let mask = self.mask;
        if is_inside && mask.is_none() {
            self.push(Step::StoreRow { from, words, mask });
            return Some(());
        }
        self.row(
            row,
            len,
            |lowering| lowering.push(Step::StoreRow { from, words, mask }),
            |lowering| {
                lowering.scatter(memory, vector, from);
            },
        );
        Some(())
    }

    /// Adds two forms of an access to a row of words: one if all are in bounds, and one for any indices.
    fn row(&mut self, row: Reg, len: Reg, inside: impl FnOnce(&mut Self), other: impl FnOnce(&mut Self)) {
        let (outside, done) = (self.label(), self.label());
        // In 64 bits, so that the comparison fails for indices that wrap.
        let end = self.reg(Class::Scalar);
        self.push(Step::AddWide { to: end, a: row, b: self.lanes as i32 });
        self.push(Step::BranchWide { relation: Relation::Gt, a: end, b: len, to: outside });
        inside(self);
        self.push(Step::Cold);
        self.push(Step::Bind(outside));
        other(self);
        self.push(Step::Jump(done));
        self.push(Step::EndCold);
        self.push(Step::Bind(done));
    }

    /// Returns the active lanes whose index is in bounds.
    fn inside(&mut self, index: Reg, binding: usize) -> Reg {
        let lens = self.program.input(Class::Vector, Input::Len(binding));
        let inside = self.compare(Relation::Lt, Kind::Unsigned, index, lens);
        self.active(inside)
    }

    fn gather(&mut self, memory: Memory, index: Reg, to: Reg) {
        let (mask, words) = (self.inside(index, self.binding(memory)), self.words(memory, index));
        self.push(Step::Gather { to, words, mask });
    }

    fn scatter(&mut self, memory: Memory, index: Reg, from: Reg) {
        let (mask, words) = (self.inside(index, self.binding(memory)), self.words(memory, index));
        self.push(Step::Scatter { from, words, mask });
    }
}
