//! Stores of consecutive words by each lane, as to a tile: each lane stores four, directly after those of the previous lane.
//!
//! Alone, each of the four stores scatters words that are four apart. Together they are rows of words, which a few merges of
//! vectors put in order.

use std::collections::HashMap;

use fulgurite_ir::analysis::{Event, Walk};
use fulgurite_ir::{InstId, InstKind, Kernel, Memory, ValueDef, ValueId};
use fulgurite_spec::{IntegerOp, Op, Type};

use super::{Lowering, Part};
use crate::native::program::{Reg, ScalarOp2};

/// The number of stores of a group, and of words from lane to lane.
const COUNT: usize = 4;

/// A value that grows by [`COUNT`] from lane to lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strided {
    /// The value of lane 0; those of the others are modulo 2³².
    first: Reg,
}

/// The stores of consecutive words, with only pure instructions between them.
#[derive(Default)]
pub(super) struct Groups {
    /// The last of each group, with all of it.
    last: HashMap<InstId, [InstId; COUNT]>,
    /// The last of the group of each of the others.
    others: HashMap<InstId, InstId>,
}

impl Groups {
    pub(super) fn of(kernel: &Kernel) -> Self {
        let mut groups = Self::default();
        let mut run: Vec<InstId> = Vec::new();
        let mut next: Option<(Memory, Place)> = None;
        Walk::new(kernel).for_each(|event| {
            let id = match event {
                Event::Inst(id) => id,
                Event::Done(_) => return,
                Event::Enter(_) | Event::Exit(_) => {
                    // A run is in one block.
                    next = None;
                    return;
                }
            };
            let kind = &kernel.inst(id).kind;
            let InstKind::Store { memory, index, value } = *kind else {
                next = next.filter(|_| kind.pure().is_some());
                return;
            };
            let place = Place::of(kernel, index);
            if next != Some((memory, place)) {
                run.clear();
            }
            let is_word = kernel.ty(value).is_scalar() && kernel.ty(value).size() == 4;
            next = is_word.then_some((memory, Place { offset: place.offset.wrapping_add(1), ..place }));
            run.push(id);
            if let (Ok(all), true) = (<[InstId; COUNT]>::try_from(run.as_slice()), is_word) {
                groups.others.extend(all[..COUNT - 1].iter().map(|other| (*other, id)));
                groups.last.insert(id, all);
                next = None;
            }
        });
        groups
    }
}

/// A value and the literal added to it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    base: ValueId,
    offset: u32,
}

impl Place {
    fn of(kernel: &Kernel, index: ValueId) -> Self {
        Self::sum(kernel, index).unwrap_or(Self { base: index, offset: 0 })
    }

    fn sum(kernel: &Kernel, index: ValueId) -> Option<Self> {
        let ValueDef::Inst(inst, _) = kernel.value(index).def else { return None };
        let InstKind::Scalar { op: Op::Add, operands, .. } = &kernel.inst(inst).kind else { return None };
        let [base, added] = **operands else { return None };
        let offset = kernel.literal(added).filter(|_| kernel.ty(index) == Type::U32)?.bits as u32;
        Some(Self { base, offset })
    }
}

impl Lowering<'_> {
    /// Returns the strided value that an op on words gives, if it gives one.
    pub(super) fn strided_op(&mut self, op: IntegerOp, operands: &[Part]) -> Option<Strided> {
        let [a, b] = operands else { return None };
        let [x, y] = [a, b].map(|part| self.values[part.0]);
        let literal = y.scalar.and_then(|scalar| self.program.constant(scalar));
        let (op, first, other) = match (op, x.strided, y.strided) {
            (IntegerOp::Add | IntegerOp::Sub, Some(strided), None) => {
                let op = if op == IntegerOp::Add { ScalarOp2::Add } else { ScalarOp2::Sub };
                (op, strided.first, y.scalar?)
            }
            (IntegerOp::Add, None, Some(strided)) => (ScalarOp2::Add, strided.first, x.scalar?),
            (IntegerOp::Mul, None, None) if literal == Some(COUNT as u32) => {
                (ScalarOp2::Mul, x.row.filter(|row| row.when.is_none())?.first, y.scalar?)
            }
            (IntegerOp::Shl, None, None) if literal == Some(COUNT.trailing_zeros()) => {
                (ScalarOp2::Shl, x.row.filter(|row| row.when.is_none())?.first, y.scalar?)
            }
            _ => return None,
        };
        Some(Strided { first: self.scalar2(op, first, other) })
    }

    /// Compiles a store. Those of a group are compiled together, where the last of them is.
    pub(super) fn ordered_store(&mut self, id: InstId) -> Option<()> {
        if self.groups.others.contains_key(&id) {
            return Some(());
        }
        match self.groups.last.get(&id).copied() {
            Some(all) => self.store_group(all),
            None => self.store_alone(id),
        }
    }

    fn store_alone(&mut self, id: InstId) -> Option<()> {
        let InstKind::Store { memory, index, value } = self.kernel.inst(id).kind else { return None };
        self.store(id, memory, index, value)
    }

    fn store_each(&mut self, all: [InstId; COUNT]) -> Option<()> {
        all.into_iter().try_for_each(|id| self.store_alone(id))
    }

    /// Compiles the stores of a group, as stores of rows if their words are consecutive from lane to lane.
    fn store_group(&mut self, all: [InstId; COUNT]) -> Option<()> {
        let InstKind::Store { memory, index, .. } = self.kernel.inst(all[0]).kind else { return None };
        let strided = self.values[self.first(index).0].strided;
        let (Some(strided), None, None) = (strided, self.mask, self.local(memory)) else {
            return self.store_each(all);
        };
        let mut from = Vec::new();
        for id in all {
            let InstKind::Store { value, .. } = self.kernel.inst(id).kind else { return None };
            from.push(self.vector(self.first(value))?);
        }
        let together = |lowering: &mut Self| lowering.store_zipped(memory, strided.first, &from);
        if all.iter().all(|id| self.bounds.is_inside(*id)) {
            together(self);
            return Some(());
        }
        let (len, count) = (self.len(memory), COUNT as u32 * self.lanes);
        let mut compiled = None;
        self.if_inside(strided.first, count, len, together, |lowering| compiled = lowering.store_each(all));
        compiled
    }
}
