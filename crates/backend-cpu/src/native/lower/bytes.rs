//! Loads and stores of elements whose components have 8 or 16 bits.
//!
//! Elements of whole words are accessed as words, which their components share. Of others, a row is one access, and any other
//! load gathers the words that the components are in. Components are stored one by one, because other invocations may store
//! the rest of the word.

use fulgurite_ir::{Memory, ValueId};

use super::narrow::narrow_bits;
use super::{Lowering, Part};
use crate::native::program::{Class, Kind, Reg, Relation, ScalarOp2, ShiftOp, Step, VectorOp2, Words};

impl Lowering<'_> {
    pub(super) fn load_narrow(
        &mut self,
        memory: Memory,
        index: Part,
        is_inside: bool,
        result: ValueId,
    ) -> Option<()> {
        let element = self.kernel.element(memory);
        let (width, ty) = (narrow_bits(element.scalar)?, element.scalar);
        let parts = self.parts(&[result]);
        if element.size().is_multiple_of(4) {
            let words: Vec<Reg> = (0..element.size() / 4).map(|_| self.reg(Class::Vector)).collect();
            self.load_words(memory, index, is_inside, &words)?;
            let components = self.unpacked(ty, parts.len(), &words);
            for (part, component) in parts.into_iter().zip(components) {
                self.define_vector(part, component);
            }
            return Some(());
        }
        let vector = self.vector(index)?;
        let to: Vec<Reg> = parts.iter().map(|_| self.reg(Class::Vector)).collect();
        for (part, to) in parts.iter().zip(&to) {
            self.define_vector(*part, *to);
        }
        let (Some(row), [only]) = (self.values[index.0].row, &to[..]) else {
            self.gather_narrow(memory, vector, &to);
            return Some(());
        };
        let is_inside = is_inside && self.mask.is_none();
        let len = if is_inside { None } else { Some(self.len(memory)) };
        let words = self.bytes_of_row(memory, row.first);
        let all = |lowering: &mut Self| {
            lowering.push(Step::LoadRowNarrow { to: *only, words, width, is_signed: ty.is_signed() });
        };
        if len.is_none() && row.when.is_none() {
            all(self);
        } else {
            self.row(row, len, all, |lowering| lowering.gather_narrow(memory, vector, &to));
        }
        Some(())
    }

    pub(super) fn store_narrow(
        &mut self,
        memory: Memory,
        index: Part,
        is_inside: bool,
        from: &[Reg],
    ) -> Option<()> {
        let element = self.kernel.element(memory);
        let width = narrow_bits(element.scalar)?;
        if element.size().is_multiple_of(4) {
            let words = self.packed(width, from);
            return self.store_words(memory, index, is_inside, &words);
        }
        let vector = self.vector(index)?;
        let (Some(row), &[only]) = (self.values[index.0].row, from) else {
            self.scatter_narrow(memory, vector, from);
            return Some(());
        };
        let mask = self.mask;
        let is_inside = is_inside && mask.is_none();
        let len = if is_inside { None } else { Some(self.len(memory)) };
        let words = self.bytes_of_row(memory, row.first);
        let all =
            |lowering: &mut Self| lowering.push(Step::StoreRowNarrow { from: only, words, width, mask });
        if len.is_none() && row.when.is_none() {
            all(self);
        } else {
            self.row(row, len, all, |lowering| lowering.scatter_narrow(memory, vector, from));
        }
        Some(())
    }

    /// Returns the bytes of a row of elements, with the index of the first byte.
    fn bytes_of_row(&mut self, memory: Memory, first: Reg) -> Words {
        let size = self.input(super::Input::Constant(self.kernel.element(memory).size()));
        let first = self.scalar2(ScalarOp2::Mul, first, size);
        self.words(memory, first, 0)
    }

    /// Returns the active lanes whose index is in bounds, and the indices of the first bytes of the elements.
    fn inside_narrow(&mut self, memory: Memory, index: Reg) -> (Reg, Reg) {
        let lens = self.program.input(Class::Vector, self.len_input(memory));
        let inside = self.compare(Relation::Lt, Kind::Unsigned, index, lens);
        let (mask, size) = (self.active(inside), self.splat(self.kernel.element(memory).size()));
        (mask, self.vector2(VectorOp2::Mul, index, size))
    }

    fn gather_narrow(&mut self, memory: Memory, index: Reg, to: &[Reg]) {
        let ty = self.kernel.element(memory).scalar;
        let (mask, first) = self.inside_narrow(memory, index);
        for (component, to) in (0..).zip(to) {
            let (offset, three) = (self.splat(component * ty.size()), self.splat(3));
            let byte = self.vector2(VectorOp2::Add, first, offset);
            let index = self.shift_by(ShiftOp::Right, byte, 2);
            let words = self.words(memory, index, 0);
            let word = self.reg(Class::Vector);
            self.push(Step::Gather { to: word, words, mask });
            let within = self.vector2(VectorOp2::And, byte, three);
            let bit = self.shift_by(ShiftOp::Left, within, 3);
            let moved = self.vector2(VectorOp2::Shift(ShiftOp::Right), word, bit);
            let extended = self.extend(ty, moved);
            self.push(Step::Move { to: *to, from: extended });
        }
    }

    fn scatter_narrow(&mut self, memory: Memory, index: Reg, from: &[Reg]) {
        let ty = self.kernel.element(memory).scalar;
        let (mask, first) = self.inside_narrow(memory, index);
        for (component, from) in (0i32..).zip(from) {
            let mut words = self.words(memory, first, 0);
            words.offset += component * ty.size() as i32;
            self.push(Step::ScatterNarrow { from: *from, words, width: 8 * ty.size(), mask });
        }
    }
}
