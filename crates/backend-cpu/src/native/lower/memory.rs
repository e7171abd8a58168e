//! Loads and stores of buffers and shared arrays.
//!
//! An index that is the same in all lanes is one access; a row of indices is a vector access if all of it is in bounds,
//! which one comparison checks; everything else gathers or scatters the lanes whose index is in bounds. The comparison
//! is left out only where the bounds analysis proves the access in bounds and all lanes are active.

use fulgurite_ir::{Initial, InstId, Kernel, Memory, ValueId};

use super::narrow::narrow_bits;
use super::row::Row;
use super::{Fallback, Lowering, Part};
use crate::native::program::{
    Area, Class, Input, Kind, Label, MergeOp, Reg, Relation, ScalarOp2, Step, VectorOp2, Words,
};

/// The alignment of shared arrays in bytes: a vector of any width.
const ALIGNMENT: u64 = 64;

/// Returns the size in bytes of the shared arrays before array `end`.
pub(super) fn shared_bytes(kernel: &Kernel, end: usize) -> u64 {
    let bytes = |len: u32, size: u32| (u64::from(len) * u64::from(size)).next_multiple_of(ALIGNMENT);
    kernel.shared[..end].iter().map(|array| bytes(array.len, array.element.size())).sum()
}

impl Lowering<'_> {
    /// Returns the words of a component at the index of the first word of an element.
    pub(super) fn words(&mut self, memory: Memory, index: Reg, component: usize) -> Words {
        let (input, base) = match self.kernel.base(memory) {
            Memory::Shared(id) => (Input::Area(Area::Shared), shared_bytes(self.kernel, id.index()) as i32),
            Memory::Buffer(_) | Memory::Local(_) | Memory::View(_) => {
                (Input::Pointer(self.binding(memory)), 0)
            }
        };
        Words { pointer: self.input(input), index, offset: base + 4 * component as i32 }
    }

    /// Returns the input that has the number of elements of a memory object.
    pub(super) fn len_input(&self, memory: Memory) -> Input {
        let (binding, stride) = (self.binding(memory), self.kernel.element(memory).size());
        self.kernel.array_len(memory).map_or(Input::Len { binding, stride }, Input::Constant)
    }

    /// Zeros the shared arrays that begin as zeros.
    pub(super) fn zero_shared(&mut self) {
        let base = self.input(Input::Constant(0));
        for (position, array) in self.kernel.shared.iter().enumerate() {
            if array.initial == Initial::Uninit {
                continue;
            }
            let [begin, end] = [position, position + 1].map(|position| shared_bytes(self.kernel, position));
            let count = (end - begin) / (4 * u64::from(self.lanes));
            self.zero(Area::Shared, base, begin as i32, count as u32);
        }
    }

    pub(super) fn load(&mut self, id: InstId, memory: Memory, index: ValueId, result: ValueId) -> Option<()> {
        if let Some(local) = self.local(memory) {
            return self.load_local(id, local, index, result);
        }
        let is_inside = self.bounds.is_inside(id);
        let (index, parts) = (self.first(index), self.parts(&[result]));
        if narrow_bits(self.kernel.element(memory).scalar).is_some() {
            return self.load_narrow(memory, index, is_inside, result);
        }
        let is_uniform = self.scalar(index).is_some();
        let to: Vec<Reg> = parts
            .iter()
            .map(|part| if is_uniform { self.variable(*part) } else { self.reg(Class::Vector) })
            .collect();
        self.load_words(memory, index, is_inside, &to)?;
        for (part, to) in parts.into_iter().zip(to) {
            self.define(part, to);
        }
        Some(())
    }

    /// Loads the words of elements, as many as there are registers.
    pub(super) fn load_words(
        &mut self,
        memory: Memory,
        index: Part,
        is_inside: bool,
        to: &[Reg],
    ) -> Option<()> {
        if let Some(scalar) = self.scalar(index) {
            self.load_uniform(memory, scalar, is_inside, to);
            return Some(());
        }
        let vector = self.vector(index)?;
        let row = self.values[index.0].row;
        if let (Some(row), 2 | 4) = (row, to.len()) {
            self.load_elements(memory, row, vector, to, is_inside);
            return Some(());
        }
        let (Some(row), [to]) = (row, to) else {
            self.gather(memory, vector, to);
            return Some(());
        };
        let (words, to) = (self.words(memory, row.first, 0), *to);
        let is_inside = is_inside && self.mask.is_none();
        if is_inside && row.when.is_none() {
            self.push(Step::LoadRow { to, words });
            return Some(());
        }
        // Inactive lanes may be loaded as well, so the mask does not matter.
        let len = if is_inside { None } else { Some(self.len(memory)) };
        self.row(
            row,
            len,
            |lowering| lowering.push(Step::LoadRow { to, words }),
            |lowering| lowering.gather(memory, vector, &[to]),
        );
        Some(())
    }

    /// Loads a row of elements of two or four words: all words, from which the components are then taken.
    fn load_elements(&mut self, memory: Memory, row: Row, vector: Reg, to: &[Reg], is_inside: bool) {
        let is_inside = is_inside && self.mask.is_none();
        let len = if is_inside { None } else { Some(self.len(memory)) };
        let rows: Vec<Reg> = to.iter().map(|_| self.reg(Class::Vector)).collect();
        let all = |lowering: &mut Self| {
            let width = lowering.input(Input::Constant(rows.len() as u32));
            let first = lowering.scalar2(ScalarOp2::Mul, row.first, width);
            let words = lowering.words(memory, first, 0);
            for (position, to) in rows.iter().copied().enumerate() {
                let offset = words.offset + position as i32 * 4 * lowering.lanes as i32;
                lowering.push(Step::LoadRow { to, words: Words { offset, ..words } });
            }
        };
        if len.is_none() && row.when.is_none() {
            all(self);
        } else {
            self.row(row, len, all, |lowering| {
                let parts: Vec<Reg> = rows.iter().map(|_| lowering.reg(Class::Vector)).collect();
                lowering.gather(memory, vector, &parts);
                for (to, from) in rows.iter().zip(lowering.zip(&parts)) {
                    lowering.push(Step::Move { to: *to, from });
                }
            });
        }
        for (to, from) in to.iter().zip(self.unzip(&rows)) {
            self.push(Step::Move { to: *to, from });
        }
        self.unzipped.insert(to.to_vec(), rows);
    }

    /// Stores a row of elements of two or four words, all of which are in bounds.
    fn store_elements(&mut self, memory: Memory, row: Row, from: &[Reg]) {
        let width = self.input(Input::Constant(from.len() as u32));
        let first = self.scalar2(ScalarOp2::Mul, row.first, width);
        self.store_zipped(memory, first, from);
    }

    /// Stores consecutive words, of which each lane has one from each of two or four vectors, from the one at `first` on.
    pub(super) fn store_zipped(&mut self, memory: Memory, first: Reg, from: &[Reg]) {
        let words = self.words(memory, first, 0);
        // Elements that are stored unchanged are stored from the rows that they were loaded as.
        let rows = self.unzipped.get(from).cloned().unwrap_or_else(|| self.zip(from));
        for (position, from) in rows.into_iter().enumerate() {
            let offset = words.offset + position as i32 * 4 * self.lanes as i32;
            self.push(Step::StoreRow { from, words: Words { offset, ..words }, mask: None });
        }
    }

    fn merge(&mut self, op: MergeOp, a: Reg, b: Reg) -> Reg {
        let to = self.reg(Class::Vector);
        self.push(Step::Merge { op, to, a, b });
        to
    }

    /// Returns the two or four components of consecutive elements, whose words are in as many vectors.
    fn unzip(&mut self, vectors: &[Reg]) -> Vec<Reg> {
        let mut pair = |a, b| [MergeOp::Even, MergeOp::Odd].map(|op| self.merge(op, a, b));
        match *vectors {
            [a, b] => pair(a, b).to_vec(),
            [a, b, c, d] => {
                let (low, high) = (pair(a, b), pair(c, d));
                let ([x, z], [y, w]) = (pair(low[0], high[0]), pair(low[1], high[1]));
                vec![x, y, z, w]
            }
            _ => Vec::new(),
        }
    }

    /// Returns the words of consecutive elements, whose two or four components are in as many vectors.
    fn zip(&mut self, components: &[Reg]) -> Vec<Reg> {
        let mut pair = |a, b| [MergeOp::Low, MergeOp::High].map(|op| self.merge(op, a, b));
        match *components {
            [a, b] => pair(a, b).to_vec(),
            [a, b, c, d] => {
                let (first, second) = (pair(a, c), pair(b, d));
                [pair(first[0], second[0]), pair(first[1], second[1])].concat()
            }
            _ => Vec::new(),
        }
    }

    /// Loads an element at an index that is the same in all lanes.
    fn load_uniform(&mut self, memory: Memory, index: Reg, is_inside: bool, to: &[Reg]) {
        let (index, end) = self.uniform_words(memory, index, is_inside, to.len() as u32);
        for (component, to) in to.iter().copied().enumerate() {
            let words = self.words(memory, index, component);
            self.push(match self.program.class(to) {
                Class::Scalar => Step::LoadScalar { to, words, len: end },
                Class::Vector | Class::Mask => Step::LoadBroadcast { to, words, len: end },
            });
        }
    }

    /// Stores an element at an index that is the same in all lanes: that of one active lane, as only one may store there unless all
    /// store the same.
    fn store_uniform(&mut self, memory: Memory, index: Reg, is_inside: bool, from: &[Reg]) {
        let (index, end) = self.uniform_words(memory, index, is_inside, from.len() as u32);
        let outside = end.map(|end| {
            let to = self.label();
            self.push(Step::BranchWide { relation: Relation::Ge, a: index, b: end, to });
            to
        });
        let mask = self.mask;
        for (component, from) in from.iter().copied().enumerate() {
            let words = self.words(memory, index, component);
            self.push(Step::StoreOne { from, words, mask });
        }
        outside.into_iter().for_each(|label| self.push(Step::Bind(label)));
    }

    /// Returns the index of the first word of an element of `count` words at a scalar index, and the number of words of all
    /// elements, unless it is known to be larger.
    fn uniform_words(
        &mut self,
        memory: Memory,
        index: Reg,
        is_inside: bool,
        count: u32,
    ) -> (Reg, Option<Reg>) {
        let binding = self.binding(memory);
        let whole = match self.kernel.array_len(memory) {
            Some(len) => Input::Constant(len * count),
            None => Input::Whole { binding, stride: 4 * count },
        };
        let end = (!is_inside).then(|| self.input(whole));
        let index = match count {
            1 => index,
            count => {
                // Indices that are out of bounds must stay so as indices of words.
                let (len, width) = (self.len(memory), self.input(Input::Constant(count)));
                let index = if is_inside { index } else { self.scalar2(ScalarOp2::MinUnsigned, index, len) };
                self.scalar2(ScalarOp2::Mul, index, width)
            }
        };
        (index, end)
    }

    pub(super) fn store(&mut self, id: InstId, memory: Memory, index: ValueId, value: ValueId) -> Option<()> {
        if let Some(local) = self.local(memory) {
            return self.store_local(id, local, index, value);
        }
        let is_inside = self.bounds.is_inside(id);
        let (index, parts) = (self.first(index), self.parts(&[value]));
        let from = self.vectors(&parts)?;
        if narrow_bits(self.kernel.element(memory).scalar).is_some() {
            return self.store_narrow(memory, index, is_inside, &from);
        }
        self.store_words(memory, index, is_inside, &from)
    }

    /// Stores the words of elements, as many as there are registers.
    pub(super) fn store_words(
        &mut self,
        memory: Memory,
        index: Part,
        is_inside: bool,
        from: &[Reg],
    ) -> Option<()> {
        if let Some(scalar) = self.scalar(index) {
            self.store_uniform(memory, scalar, is_inside, from);
            return Some(());
        }
        let vector = self.vector(index)?;
        let row = self.values[index.0].row;
        if let (Some(row), 2 | 4, None) = (row, from.len(), self.mask) {
            let len = if is_inside { None } else { Some(self.len(memory)) };
            let all = |lowering: &mut Self| lowering.store_elements(memory, row, from);
            if len.is_none() && row.when.is_none() {
                all(self);
            } else {
                self.row(row, len, all, |lowering| lowering.scatter(memory, vector, from));
            }
            return Some(());
        }
        let (Some(row), &[only]) = (row, from) else {
            self.scatter(memory, vector, from);
            return Some(());
        };
        let (words, mask) = (self.words(memory, row.first, 0), self.mask);
        let is_inside = is_inside && mask.is_none();
        if is_inside && row.when.is_none() {
            self.push(Step::StoreRow { from: only, words, mask });
            return Some(());
        }
        let len = if is_inside { None } else { Some(self.len(memory)) };
        self.row(
            row,
            len,
            |lowering| lowering.push(Step::StoreRow { from: only, words, mask }),
            |lowering| lowering.scatter(memory, vector, from),
        );
        Some(())
    }

    /// Adds two forms of an access: one if the index is a row of which all is in bounds, and one for any indices. Without
    /// a length, all of it is known to be in bounds.
    pub(super) fn row(
        &mut self,
        row: Row,
        len: Option<Reg>,
        inside: impl FnOnce(&mut Self),
        other: impl FnOnce(&mut Self),
    ) {
        let (outside, done) = match &self.fallback {
            Some(fallback) => (fallback.label, None),
            None => (self.label(), Some(self.label())),
        };
        let is_known = |fallback: &Fallback| row.when.is_some_and(|when| fallback.known.contains(&when));
        if let Some(when) = row.when
            && !self.fallback.as_ref().is_some_and(is_known)
        {
            let (relation, kind, zero) = (Relation::Eq, Kind::Unsigned, self.input(Input::Constant(0)));
            self.push(Step::Branch { relation, kind, a: when, b: zero, to: outside });
            self.fallback.iter_mut().for_each(|fallback| fallback.known.push(when));
        }
        if let Some(len) = len {
            self.leave_outside(row.first, self.lanes, len, outside);
        }
        match done {
            Some(done) => self.two_forms(outside, done, inside, other),
            None => inside(self),
        }
    }

    /// Adds two forms of an access to consecutive elements: one if all are in bounds, and one for any indices.
    pub(super) fn if_inside(
        &mut self,
        first: Reg,
        count: u32,
        len: Reg,
        inside: impl FnOnce(&mut Self),
        other: impl FnOnce(&mut Self),
    ) {
        let (outside, done) = (self.label(), self.label());
        self.leave_outside(first, count, len, outside);
        self.two_forms(outside, done, inside, other);
    }

    /// Branches if some of the elements are out of bounds.
    fn leave_outside(&mut self, first: Reg, count: u32, len: Reg, outside: Label) {
        // In 64 bits, so that the comparison fails for indices that wrap. The difference may be negative; it is the same for
        // the whole launch, and computed before loops.
        let last = self.reg(Class::Scalar);
        self.push(Step::AddWide { to: last, a: len, b: -(count as i32) });
        self.push(Step::BranchWide { relation: Relation::Gt, a: first, b: last, to: outside });
    }

    fn two_forms(
        &mut self,
        outside: Label,
        done: Label,
        inside: impl FnOnce(&mut Self),
        other: impl FnOnce(&mut Self),
    ) {
        inside(self);
        self.push(Step::Cold);
        self.push(Step::Bind(outside));
        other(self);
        self.push(Step::Jump(done));
        self.push(Step::EndCold);
        self.push(Step::Bind(done));
    }

    /// Returns the active lanes whose index of an element is in bounds, and the indices of the first words.
    pub(super) fn inside(&mut self, memory: Memory, index: Reg, stride: usize) -> (Reg, Reg) {
        let lens = self.program.input(Class::Vector, self.len_input(memory));
        let inside = self.compare(Relation::Lt, Kind::Unsigned, index, lens);
        let mask = self.active(inside);
        let first = match stride {
            1 => index,
            2 | 3 => {
                let double = self.vector2(VectorOp2::Add, index, index);
                if stride == 2 { double } else { self.vector2(VectorOp2::Add, double, index) }
            }
            4 => {
                let double = self.vector2(VectorOp2::Add, index, index);
                self.vector2(VectorOp2::Add, double, double)
            }
            _ => {
                let width = self.splat(stride as u32);
                self.vector2(VectorOp2::Mul, index, width)
            }
        };
        (mask, first)
    }

    fn gather(&mut self, memory: Memory, index: Reg, to: &[Reg]) {
        let (mask, first) = self.inside(memory, index, to.len());
        for (component, to) in to.iter().copied().enumerate() {
            let words = self.words(memory, first, component);
            self.push(Step::Gather { to, words, mask });
        }
    }

    fn scatter(&mut self, memory: Memory, index: Reg, from: &[Reg]) {
        let (mask, first) = self.inside(memory, index, from.len());
        // Where only some lanes store, their elements often follow one another, as those that a kernel keeps of many.
        let is_conditional = self.mask.is_some() || self.versions > 0;
        let numbers = (is_conditional && from.len() == 1)
            .then(|| self.program.input(Class::Vector, Input::LaneNumbers));
        for (component, from) in from.iter().copied().enumerate() {
            let words = self.words(memory, first, component);
            self.push(Step::Scatter { from, words, mask, numbers });
        }
    }
}
