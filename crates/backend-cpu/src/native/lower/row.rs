//! Values that are rows: the value of each lane is that of lane 0 plus the number of the lane.
//!
//! The global id along x is one. Sums with and differences from scalars are rows again. A minimum or maximum with a scalar,
//! as of an index that is clamped to the edges of an image, is a row if no lane is clamped, which is compared at run time.
//!
//! In a workgroup whose rows are whole vectors, the local index of lane 0 is a multiple of the number of lanes. Its remainder by such
//! a number is a row again, and its quotient is the same in all lanes.

use fulgurite_ir::{PureInst, ValueId};
use fulgurite_spec::{IntegerOp, Op, ScalarType};

use super::scalar::scalar_step;
use super::{Lowering, Part};
use crate::native::program::{Class, Input, Kind, Reg, Relation, ScalarOp2, Step};

/// A row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// The value of lane 0; those of the others are modulo 2³².
    pub(super) first: Reg,
    /// The bool that must be true for the value to be this row; `None` if it always is.
    pub(super) when: Option<Reg>,
}

impl Lowering<'_> {
    /// Returns the row that an integer op gives, if it gives one.
    pub(super) fn row_op(&mut self, op: IntegerOp, ty: ScalarType, operands: &[Part]) -> Option<Row> {
        let [a, b] = operands else { return None };
        let rows = [a, b].map(|part| self.values[part.0].row);
        let (row, other, is_first) = match (rows, self.scalar(*a), self.scalar(*b)) {
            ([Some(row), None], _, Some(other)) => (row, other, true),
            ([None, Some(row)], Some(other), _) => (row, other, false),
            _ => return None,
        };
        match op {
            IntegerOp::And if is_first && self.keeps_lanes(*a, other) => {
                Some(Row { first: self.scalar2(ScalarOp2::And, row.first, other), ..row })
            }
            IntegerOp::Rem if is_first && self.takes_vectors(*a, ty, other) => {
                Some(Row { first: self.scalar2(ScalarOp2::RemUnsigned, row.first, other), ..row })
            }
            IntegerOp::Add => Some(Row { first: self.scalar2(ScalarOp2::Add, row.first, other), ..row }),
            IntegerOp::Sub if is_first => {
                Some(Row { first: self.scalar2(ScalarOp2::Sub, row.first, other), ..row })
            }
            IntegerOp::Max if !ty.is_signed() => {
                let most = self.input(Input::Constant(u32::MAX));
                Some(self.between(row, other, most))
            }
            IntegerOp::Min if !ty.is_signed() => {
                let least = self.input(Input::Constant(0));
                Some(self.between(row, least, other))
            }
            IntegerOp::Sub
            | IntegerOp::Max
            | IntegerOp::Min
            | IntegerOp::Compare(_)
            | IntegerOp::Mul
            | IntegerOp::Div
            | IntegerOp::Neg
            | IntegerOp::Abs
            | IntegerOp::Sign
            | IntegerOp::Clamp
            | IntegerOp::And
            | IntegerOp::Or
            | IntegerOp::Xor
            | IntegerOp::Not
            | IntegerOp::MulHi
            | IntegerOp::Rem
            | IntegerOp::AddSat
            | IntegerOp::SubSat
            | IntegerOp::Shl
            | IntegerOp::Shr
            | IntegerOp::RotateLeft
            | IntegerOp::RotateRight
            | IntegerOp::PopCount
            | IntegerOp::LeadingZeros
            | IntegerOp::TrailingZeros
            | IntegerOp::ReverseBits
            | IntegerOp::ExtractBits
            | IntegerOp::InsertBits
            | IntegerOp::DotPacked => None,
        }
    }

    /// Returns the value that an integer op gives in all lanes, of scalars, or of a row by what it does to whole vectors.
    pub(super) fn uniform_op(&mut self, op: IntegerOp, ty: ScalarType, operands: &[Part]) -> Option<Reg> {
        let [a, b] = operands else { return None };
        let other = self.scalar(*b)?;
        if let Some(scalar) = self.scalar(*a) {
            return Some(self.scalar2(scalar_step(op, ty)?, scalar, other));
        }
        let row = self.values[a.0].row.filter(|row| row.when.is_none())?;
        let bits = self.program.constant(other)?;
        let is_whole = if op == IntegerOp::Shr {
            !ty.is_signed() && bits < u32::BITS && 1 << bits >= self.lanes && self.is_aligned(*a)
        } else {
            op == IntegerOp::Div && self.takes_vectors(*a, ty, other)
        };
        if !is_whole {
            return None;
        }
        Some(self.scalar2(scalar_step(op, ty)?, row.first, other))
    }

    /// Returns whether a mask keeps the bits of a row that differ from lane to lane.
    fn keeps_lanes(&self, row: Part, mask: Reg) -> bool {
        let low = self.lanes - 1;
        self.program.constant(mask).is_some_and(|bits| bits & low == low) && self.is_aligned(row)
    }

    /// Returns whether a row begins at a multiple of the number of lanes, as a divisor is one.
    fn takes_vectors(&self, row: Part, ty: ScalarType, divisor: Reg) -> bool {
        let is_multiple = |bits: u32| bits != 0 && bits.is_multiple_of(self.lanes);
        !ty.is_signed() && self.program.constant(divisor).is_some_and(is_multiple) && self.is_aligned(row)
    }

    /// Returns whether the value of lane 0 of a row is a multiple of the number of lanes.
    fn is_aligned(&self, part: Part) -> bool {
        // Rows of other kernels begin anywhere.
        if self.position.is_none() || !self.kernel.workgroup[0].is_multiple_of(self.lanes) {
            return false;
        }
        let is_multiple = |value: ValueId| {
            self.kernel.literal(value).is_some_and(|literal| literal.bits.is_multiple_of(self.lanes.into()))
        };
        let mut value = self.owners[part.0];
        loop {
            value = match self.definition(value) {
                Some(PureInst::Id { op, component }) => {
                    let is_x = component == 0 && matches!(op, Op::LocalId | Op::GlobalId);
                    return is_x || matches!(op, Op::LocalIndex | Op::Lane);
                }
                Some(PureInst::Scalar { op: Op::Add | Op::Sub, operands, .. }) => match **operands {
                    [row, literal] if is_multiple(literal) => row,
                    _ => return false,
                },
                Some(PureInst::Scalar { op: Op::And | Op::Rem, operands, .. }) => match **operands {
                    [row, literal] if self.kernel.literal(literal).is_some() => row,
                    _ => return false,
                },
                Some(PureInst::Scalar { .. } | PureInst::VecShuffle { .. } | PureInst::Len { .. }) | None => {
                    return false;
                }
            };
        }
    }

    /// Returns a row on the condition that all of its values lie between two unsigned scalars, which may be in any
    /// order, and that none wraps.
    fn between(&mut self, row: Row, least: Reg, most: Reg) -> Row {
        // The first value is one of `count` from `least` on. Where the scalars do not change, neither does `count`, and only
        // the last comparison is made for each row.
        let (zero, kind) = (self.input(Input::Constant(0)), Kind::Unsigned);
        let (distance, before) =
            (self.input(Input::Constant(self.lanes - 1)), self.input(Input::Constant(self.lanes - 2)));
        let span = self.scalar2(ScalarOp2::Sub, most, least);
        let all = self.scalar2(ScalarOp2::Sub, span, before);
        let mut count = all;
        for (a, b) in [(most, least), (span, distance)] {
            let (holds, to) = (self.reg(Class::Scalar), self.reg(Class::Scalar));
            self.push(Step::CompareScalar { relation: Relation::Ge, kind, to: holds, a, b });
            self.push(Step::SelectScalar { to, condition: holds, yes: count, no: zero });
            count = to;
        }
        let is_from_zero = self.program.constant(least) == Some(0);
        let offset = if is_from_zero { row.first } else { self.scalar2(ScalarOp2::Sub, row.first, least) };
        let holds = self.reg(Class::Scalar);
        self.push(Step::CompareScalar { relation: Relation::Lt, kind, to: holds, a: offset, b: count });
        let when = row.when.map_or(holds, |when| self.scalar2(ScalarOp2::And, when, holds));
        Row { first: row.first, when: Some(when) }
    }
}
