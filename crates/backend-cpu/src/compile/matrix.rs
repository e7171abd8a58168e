//! Steps on cooperative matrices.

use fulgurite_hal::Error;
use fulgurite_ir::{Inst, InstKind, MatrixInst, Memory, ValueId};
use fulgurite_spec::{ElementwiseOp, MatrixLayout, MatrixScope, Type};

use super::{Compiler, internal};
use crate::code::{Step, place};
use crate::matrix::{MatrixPlace, MatrixRegister, MatrixStep};

impl Compiler<'_> {
    /// Adds a step on matrices.
    pub(super) fn matrix_step(&mut self, step: MatrixStep) {
        self.steps.push(Step::Matrix(self.matrix_steps.len() as u32));
        self.matrix_steps.push(step);
    }

    /// Returns the register of a matrix.
    pub(super) fn matrix(&self, value: ValueId) -> MatrixRegister {
        self.values[value.index()][0]
    }

    /// Compiles an instruction on matrices.
    pub(super) fn matrix_op(&mut self, inst: &Inst) -> Result<(), Error> {
        let result = inst.results.first().copied();
        let misfit = || internal("an op on matrices that its operands do not fit");
        let ty = result.map_or(Type::BOOL, |r| self.kernel.ty(r));
        let to = result.map_or(0, |r| self.define(r)[0]);
        let step = match inst.kind.matrix() {
            Some(MatrixInst::Load { layout, memory, offset, stride }) => {
                let at = self.matrix_place(ty, layout, memory, [offset, stride]);
                MatrixStep::Load { to, at }
            }
            Some(MatrixInst::Store { layout, memory, offset, stride, value }) => {
                let at = self.matrix_place(self.kernel.ty(value), layout, memory, [offset, stride]);
                MatrixStep::Store { from: self.matrix(value), at }
            }
            Some(MatrixInst::Fill { value }) => MatrixStep::Fill { to, ty, value: self.scalar(value) },
            Some(MatrixInst::MulAdd { a, b, c }) => MatrixStep::MulAdd {
                to,
                operands: [a, b, c].map(|v| self.matrix(v)),
                types: [a, b, c].map(|v| self.kernel.ty(v)),
            },
            Some(MatrixInst::Convert { value }) => MatrixStep::Convert {
                to,
                from: self.matrix(value),
                types: [self.kernel.ty(value).scalar, ty.scalar],
                scope: ty.matrix.ok_or_else(misfit)?.scope,
            },
            None => {
                let InstKind::Scalar { op, operands, .. } = &inst.kind else { return Err(misfit()) };
                match (ElementwiseOp::of(*op).ok_or_else(misfit)?, &**operands) {
                    (ElementwiseOp::Select, [condition, yes, no]) => MatrixStep::Select {
                        to,
                        condition: self.scalar(*condition),
                        operands: [*yes, *no].map(|v| self.matrix(v)),
                    },
                    (op, [a, .., b]) | (op, [a @ b]) => {
                        MatrixStep::Elementwise { to, op, operands: [*a, *b].map(|v| self.matrix(v)), ty }
                    }
                    (_, []) => return Err(misfit()),
                }
            }
        };
        // Chunks run one after the other, so each performs the workgroup's load or store separately, with the same
        // result. Barriers around it make it appear as one access.
        let at = match &step {
            MatrixStep::Load { at, .. } | MatrixStep::Store { at, .. } => at.ty.matrix,
            _ => None,
        };
        let meets = at.is_some_and(|shape| shape.scope == MatrixScope::Workgroup);
        self.steps.extend(meets.then_some(Step::Barrier));
        self.matrix_step(step);
        self.steps.extend(meets.then_some(Step::Barrier));
        Ok(())
    }

    fn matrix_place(
        &self,
        ty: Type,
        layout: MatrixLayout,
        memory: Memory,
        [offset, stride]: [ValueId; 2],
    ) -> MatrixPlace {
        let place = place(self.kernel, memory);
        MatrixPlace { ty, layout, place, offset: self.index(offset), stride: self.scalar(stride) }
    }
}
