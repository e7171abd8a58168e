//! Loads and stores of local arrays.
//!
//! A local array is in the frame. A word of an element is one vector, with a lane for each invocation, so an index that
//! is the same in all lanes is an access to consecutive words. Other indices gather and scatter.

use fulgurite_ir::{InstId, Kernel, LocalId, Memory, ValueId};

use super::{Lowering, Part, element_words};
use crate::native::program::{
    Area, Class, Input, Kind, Label, Reg, Relation, ScalarOp2, Step, VectorOp2, Words,
};

/// The number of vectors that are zeroed without a loop.
const UNROLLED: u32 = 8;

/// Returns the number of words of an invocation in the local arrays before array `end`.
fn words_before(kernel: &Kernel, end: usize) -> u64 {
    kernel.locals[..end].iter().map(|a| u64::from(a.len) * u64::from(element_words(a.element))).sum()
}

/// Returns the number of words of an invocation in all local arrays.
pub(super) fn local_words(kernel: &Kernel) -> u64 {
    words_before(kernel, kernel.locals.len())
}

/// A place in a local array.
struct Element {
    /// Index of the first word of lane 0, without `offset`: a scalar, or a vector.
    first: Reg,
    /// Bytes from there to the first component.
    offset: i32,
    /// The index that must be less than the length, if that is not known.
    unchecked: Option<Reg>,
}

impl Lowering<'_> {
    /// Returns the bytes of a vector.
    fn vector_bytes(&self) -> i32 {
        4 * self.lanes as i32
    }

    fn local_words(&mut self, element: &Element, component: usize) -> Words {
        let pointer = self.input(Input::Area(Area::Local));
        let offset = element.offset + component as i32 * self.vector_bytes();
        Words { pointer, index: element.first, offset }
    }

    /// Returns the index of the first word of the local arrays of the current vector.
    fn local_base(&mut self) -> Reg {
        match self.position {
            Some(position) => position.local_words,
            None => self.input(Input::Constant(0)),
        }
    }

    /// Returns the offset in bytes of the first word of an array.
    fn local_offset(&self, id: LocalId) -> i32 {
        words_before(self.kernel, id.index()) as i32 * self.vector_bytes()
    }

    /// Returns the element at an index that is the same in all lanes, or `None` if the index is a literal that is out of
    /// bounds.
    fn uniform_element(
        &mut self,
        id: LocalId,
        index: ValueId,
        scalar: Reg,
        is_inside: bool,
    ) -> Option<Element> {
        let array = &self.kernel.locals[id.index()];
        let (len, stride) = (array.len, element_words(array.element));
        let offset = self.local_offset(id);
        if let Some(literal) = self.kernel.literal(index) {
            let at = u32::try_from(literal.bits).ok().filter(|at| *at < len)?;
            let offset = offset + (at * stride) as i32 * self.vector_bytes();
            return Some(Element { first: self.local_base(), offset, unchecked: None });
        }
        let width = self.input(Input::Constant(stride * self.lanes));
        let mut first = self.scalar2(ScalarOp2::Mul, scalar, width);
        if let Some(position) = self.position {
            first = self.scalar2(ScalarOp2::Add, first, position.local_words);
        }
        Some(Element { first, offset, unchecked: (!is_inside).then_some(scalar) })
    }

    /// Returns the elements at the indices of a vector, and the active lanes whose index is in bounds.
    fn varying_element(&mut self, id: LocalId, index: Reg) -> (Element, Reg) {
        let array = &self.kernel.locals[id.index()];
        let (len, stride) = (array.len, element_words(array.element));
        let (lens, width) = (self.splat(len), self.splat(stride * self.lanes));
        let inside = self.compare(Relation::Lt, Kind::Unsigned, index, lens);
        let mask = self.active(inside);
        let numbers = self.program.input(Class::Vector, Input::LaneNumbers);
        let rows = self.vector2(VectorOp2::Mul, index, width);
        let mut first = self.vector2(VectorOp2::Add, rows, numbers);
        if let Some(position) = self.position {
            let before = self.reg(Class::Vector);
            self.push(Step::Broadcast { to: before, from: position.local_words });
            first = self.vector2(VectorOp2::Add, first, before);
        }
        (Element { first, offset: self.local_offset(id), unchecked: None }, mask)
    }

    /// Adds a jump over the following steps for an element that is out of bounds. Returns the label to bind after them.
    fn skip_outside(&mut self, id: LocalId, element: &Element) -> Option<Label> {
        let a = element.unchecked?;
        let (to, b) = (self.label(), self.input(Input::Constant(self.kernel.locals[id.index()].len)));
        self.push(Step::Branch { relation: Relation::Ge, kind: Kind::Unsigned, a, b, to });
        Some(to)
    }

    pub(super) fn load_local(
        &mut self,
        inst: InstId,
        id: LocalId,
        index: ValueId,
        result: ValueId,
    ) -> Option<()> {
        let is_inside = self.bounds.is_inside(inst);
        let parts: Vec<Part> = self.parts(&[result]);
        let variables: Vec<Reg> = parts.iter().map(|_| self.reg(Class::Vector)).collect();
        let first = self.first(index);
        if let Some(scalar) = self.scalar(first) {
            let element = self.uniform_element(id, index, scalar, is_inside);
            let is_checked = element.as_ref().is_none_or(|element| element.unchecked.is_some());
            if is_checked {
                let zero = self.splat(0);
                variables.iter().for_each(|to| self.push(Step::Move { to: *to, from: zero }));
            }
            if let Some(element) = element {
                let behind = self.skip_outside(id, &element);
                for (component, to) in variables.iter().copied().enumerate() {
                    let words = self.local_words(&element, component);
                    self.push(Step::LoadRow { to, words });
                }
                behind.into_iter().for_each(|label| self.push(Step::Bind(label)));
            }
        } else {
            let vector = self.vector(first)?;
            let (element, mask) = self.varying_element(id, vector);
            for (component, to) in variables.iter().copied().enumerate() {
                let words = self.local_words(&element, component);
                self.push(Step::Gather { to, words, mask });
            }
        }
        for (part, to) in parts.into_iter().zip(variables) {
            self.define_vector(part, to);
        }
        Some(())
    }

    pub(super) fn store_local(
        &mut self,
        inst: InstId,
        id: LocalId,
        index: ValueId,
        value: ValueId,
    ) -> Option<()> {
        let is_inside = self.bounds.is_inside(inst);
        let parts = self.parts(&[value]);
        let (from, first, mask) = (self.vectors(&parts)?, self.first(index), self.mask);
        if let Some(scalar) = self.scalar(first) {
            let Some(element) = self.uniform_element(id, index, scalar, is_inside) else { return Some(()) };
            let behind = self.skip_outside(id, &element);
            for (component, from) in from.into_iter().enumerate() {
                let words = self.local_words(&element, component);
                self.push(Step::StoreRow { from, words, mask });
            }
            behind.into_iter().for_each(|label| self.push(Step::Bind(label)));
            return Some(());
        }
        let vector = self.vector(first)?;
        let (element, mask) = self.varying_element(id, vector);
        for (component, from) in from.into_iter().enumerate() {
            let words = self.local_words(&element, component);
            self.push(Step::Scatter { from, words, mask, numbers: None });
        }
        Some(())
    }

    /// Zeros the local arrays of all lanes.
    pub(super) fn zero_locals(&mut self) {
        let (base, count) = (self.local_base(), local_words(self.kernel) as u32);
        self.zero(Area::Local, base, 0, count);
    }

    /// Zeros vectors of an area, from a word index plus an offset in bytes on.
    pub(super) fn zero(&mut self, area: Area, base: Reg, offset: i32, count: u32) {
        let (pointer, from) = (self.input(Input::Area(area)), self.splat(0));
        if count <= UNROLLED {
            for vector in 0..count {
                let offset = offset + vector as i32 * self.vector_bytes();
                let words = Words { pointer, index: base, offset };
                self.push(Step::StoreRow { from, words, mask: None });
            }
            return;
        }
        let (at, left, top) = (self.reg(Class::Scalar), self.reg(Class::Scalar), self.label());
        let all = self.input(Input::Constant(count));
        self.push(Step::Move { to: at, from: base });
        self.push(Step::Move { to: left, from: all });
        self.push(Step::LoopBegin);
        self.push(Step::Bind(top));
        self.push(Step::StoreRow { from, words: Words { pointer, index: at, offset }, mask: None });
        self.push(Step::AddWide { to: at, a: at, b: self.lanes as i32 });
        self.push(Step::CountDown { left, by: 1, to: top });
        self.push(Step::LoopEnd);
    }

    /// Returns the local array that a memory object is.
    pub(super) fn local(&self, memory: Memory) -> Option<LocalId> {
        match self.kernel.base(memory) {
            Memory::Local(id) => Some(id),
            Memory::Buffer(_) | Memory::Shared(_) | Memory::View(_) => None,
        }
    }
}
