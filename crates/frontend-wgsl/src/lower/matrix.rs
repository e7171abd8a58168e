//! Matrices, as vectors for their columns: products, sums and functions.

use std::rc::Rc;

use fulgurite_ir::ValueId;
use fulgurite_spec::{Op, Type};
use naga::{BinaryOperator, MathFunction};

use super::{Lower, Value};
use crate::refusal::{Res, internal};
use crate::types::Ty;

fn is_matrix(value: &Value) -> bool {
    matches!(&*value.ty, Ty::Array { is_matrix: true, .. })
}

impl Lower<'_> {
    /// Returns the matrix with these columns.
    fn matrix(&self, columns: &[ValueId]) -> Value {
        let column = columns.first().map_or(Type::F32, |column| self.emit.ty(*column));
        Value { ty: Ty::matrix(columns.len() as u32, column), leaves: columns.into() }
    }

    /// Applies an operator to matrices, or returns `None` if there is none among the operands.
    pub(super) fn matrix_binary(
        &mut self,
        op: BinaryOperator,
        left: &Value,
        right: &Value,
    ) -> Res<Option<Value>> {
        let result = match (is_matrix(left), is_matrix(right)) {
            (false, false) => return Ok(None),
            (true, true) if op == BinaryOperator::Multiply => {
                let columns: Vec<ValueId> = right
                    .leaves
                    .iter()
                    .map(|column| self.times(&left.leaves, *column))
                    .collect::<Res<_>>()?;
                self.matrix(&columns)
            }
            (true, true) => {
                let pairs = left.leaves.iter().zip(&*right.leaves);
                let columns: Vec<ValueId> =
                    pairs.map(|(a, b)| self.binary_leaf(op, *a, *b)).collect::<Res<_>>()?;
                self.matrix(&columns)
            }
            (true, false) => {
                let other = self.only(right)?;
                if self.emit.ty(other).is_vector() {
                    let product = self.times(&left.leaves, other)?;
                    return Ok(Some(self.wrap(product)));
                }
                let columns: Vec<ValueId> =
                    left.leaves.iter().map(|a| self.binary_leaf(op, *a, other)).collect::<Res<_>>()?;
                self.matrix(&columns)
            }
            (false, true) => {
                let other = self.only(left)?;
                if self.emit.ty(other).is_vector() {
                    // A row vector: the dot product with each column.
                    let dots: Vec<ValueId> =
                        right.leaves.iter().map(|column| self.dot(other, *column)).collect::<Res<_>>()?;
                    let row = self.emit.construct(&dots)?;
                    return Ok(Some(self.wrap(row)));
                }
                let columns: Vec<ValueId> =
                    right.leaves.iter().map(|b| self.binary_leaf(op, other, *b)).collect::<Res<_>>()?;
                self.matrix(&columns)
            }
        };
        Ok(Some(result))
    }

    /// Returns the product of a matrix and a column vector: the sum of the columns times the components, in order.
    fn times(&mut self, columns: &[ValueId], vector: ValueId) -> Res<ValueId> {
        let mut sum = None;
        for (i, column) in (0..).zip(columns) {
            let component = self.emit.extract(vector, i)?;
            let (component, column) = self.widen(component, *column)?;
            let product = self.emit.op(Op::Mul, &[column, component])?;
            sum = Some(match sum {
                None => product,
                Some(before) => self.emit.op(Op::Add, &[before, product])?,
            });
        }
        sum.ok_or_else(|| internal(self.emit.at, "matrix without columns"))
    }

    /// Applies a function of matrices, or returns `None` if it is none.
    pub(super) fn matrix_math(&mut self, fun: MathFunction, operands: &[Value]) -> Res<Option<Value>> {
        let result = match (fun, operands) {
            (MathFunction::Transpose, [matrix]) => {
                let rows = self.rows(matrix)?;
                let columns: Vec<ValueId> =
                    rows.iter().map(|row| self.emit.construct(row)).collect::<Res<_>>()?;
                self.matrix(&columns)
            }
            (MathFunction::Determinant, [matrix]) => {
                let rows = self.rows(matrix)?;
                let determinant = self.determinant(&rows)?;
                self.wrap(determinant)
            }
            (MathFunction::Inverse, [matrix]) => self.inverse(matrix)?,
            (MathFunction::Outer, [a, b]) => {
                let (a, b) = (self.only(a)?, self.only(b)?);
                let components = self.emit.components(b)?;
                let mut columns = Vec::new();
                for component in components {
                    let (wide, a) = self.widen(component, a)?;
                    columns.push(self.emit.op(Op::Mul, &[a, wide])?);
                }
                self.matrix(&columns)
            }
            (_, _) => return Ok(None),
        };
        Ok(Some(result))
    }

    /// Returns the components of a matrix, row by row.
    fn rows(&mut self, matrix: &Value) -> Res<Vec<Vec<ValueId>>> {
        let columns: Vec<Vec<ValueId>> =
            matrix.leaves.iter().map(|column| self.emit.components(*column)).collect::<Res<_>>()?;
        let rows = columns.first().map_or(0, Vec::len);
        Ok((0..rows).map(|row| columns.iter().map(|column| column[row]).collect()).collect())
    }

    /// Returns the determinant by expansion along the first row.
    fn determinant(&mut self, rows: &[Vec<ValueId>]) -> Res<ValueId> {
        if let [row] = rows {
            return Ok(row[0]);
        }
        let mut sum = None;
        for column in 0..rows.len() {
            let minor = minor(rows, 0, column);
            let cofactor = self.determinant(&minor)?;
            let term = self.emit.op(Op::Mul, &[rows[0][column], cofactor])?;
            let op = if column % 2 == 0 { Op::Add } else { Op::Sub };
            sum = Some(match sum {
                None => term,
                Some(before) => self.emit.op(op, &[before, term])?,
            });
        }
        sum.ok_or_else(|| internal(self.emit.at, "matrix without columns"))
    }

    /// Returns the inverse: the transposed cofactors over the determinant.
    fn inverse(&mut self, matrix: &Value) -> Res<Value> {
        let rows = self.rows(matrix)?;
        let determinant = self.determinant(&rows)?;
        let mut columns = Vec::new();
        for column in 0..rows.len() {
            let mut components = Vec::new();
            for row in 0..rows.len() {
                let cofactor = self.determinant(&minor(&rows, column, row))?;
                let signed =
                    if (row + column) % 2 == 0 { cofactor } else { self.emit.op(Op::Neg, &[cofactor])? };
                components.push(self.emit.op(Op::Div, &[signed, determinant])?);
            }
            columns.push(self.emit.construct(&components)?);
        }
        Ok(Value { ty: Rc::clone(&matrix.ty), leaves: columns.into() })
    }
}

/// Returns the rows without one row and one column.
fn minor(rows: &[Vec<ValueId>], row: usize, column: usize) -> Vec<Vec<ValueId>> {
    let without = |list: &Vec<ValueId>| {
        list.iter().enumerate().filter(|(i, _)| *i != column).map(|(_, value)| *value).collect()
    };
    rows.iter().enumerate().filter(|(i, _)| *i != row).map(|(_, list)| without(list)).collect()
}
