//! Values that are rows: the value of each lane is that of lane 0 plus the number of the lane.
//!
//! The global id along x is one. Sums with and differences from scalars are rows again. A minimum or maximum with a scalar,
//! as of an index that is clamped to the edges of an image, is a row if no lane is clamped, which is compared at run time.

use fulgurite_spec::{IntegerOp, ScalarType};

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
