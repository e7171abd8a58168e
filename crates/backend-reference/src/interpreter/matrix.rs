//! Cooperative matrix ops, executed once for all holders. Memory accesses are attributed to the first holder.

use core::ops::Range;

use fulgurite_hal::Error;
use fulgurite_ir::{InstId, InstKind, Kernel, MatrixInst, Memory, ValueId};
use fulgurite_spec::{MatrixLayout, MatrixScope, Type};

use super::{Interpreter, internal};
use crate::matrix::{self, Matrix};
use crate::monitor::{Access, AccessKind, Monitor};

/// Returns the scope of the matrices that an instruction operates on.
pub(super) fn scope(kernel: &Kernel, inst: InstId) -> Option<MatrixScope> {
    let inst = kernel.inst(inst);
    let value = match inst.kind.matrix() {
        Some(MatrixInst::Store { value, .. }) => value,
        Some(
            MatrixInst::Load { .. }
            | MatrixInst::Fill { .. }
            | MatrixInst::MulAdd { .. }
            | MatrixInst::Convert { .. },
        )
        | None => *inst.results.first()?,
    };
    kernel.ty(value).matrix.map(|shape| shape.scope)
}

/// A matrix access.
#[derive(Clone, Copy)]
struct Place {
    inst: InstId,
    kind: AccessKind,
    ty: Type,
    layout: MatrixLayout,
    memory: Memory,
    offset: u64,
    stride: u64,
}

impl<M: Monitor> Interpreter<'_, M> {
    /// Executes `inst` for `holders`, which have all arrived at it.
    pub(super) fn matrix_op(&mut self, inst: InstId, holders: Range<usize>) -> Result<(), Error> {
        let kernel = self.kernel;
        let data = kernel.inst(inst);
        let first = holders.start;
        let bits = |value: ValueId| self.get(first, value)[0];
        let misfit = || internal("operands do not fit the matrix op");
        let result = data.results.first().map_or(Type::U32, |r| kernel.ty(*r));
        let matrix: Option<Matrix> = match data.kind.matrix() {
            Some(MatrixInst::Load { layout, memory, offset, stride }) => {
                let (offset, stride) = (bits(offset), bits(stride));
                let place =
                    Place { inst, kind: AccessKind::Load, ty: result, layout, memory, offset, stride };
                let mut loaded = vec![0; result.matrix.map_or(0, |m| m.components()) as usize];
                for (position, byte) in self.components(first, place) {
                    loaded[position] = self.memory.load_scalar(memory, result.scalar, byte);
                }
                Some(loaded.into())
            }
            Some(MatrixInst::Store { layout, memory, offset, stride, value }) => {
                let (offset, stride) = (bits(offset), bits(stride));
                let ty = kernel.ty(value);
                let stored = self.matrix(first, value);
                let place = Place { inst, kind: AccessKind::Store, ty, layout, memory, offset, stride };
                for (position, byte) in self.components(first, place) {
                    let bits = stored.get(position).copied().ok_or_else(misfit)?;
                    self.memory.store_scalar(memory, ty.scalar, byte, bits);
                }
                None
            }
            Some(MatrixInst::Fill { value }) => {
                let count = result.matrix.map_or(0, |m| m.components()) as usize;
                Some(vec![bits(value); count].into())
            }
            Some(MatrixInst::Convert { value }) => {
                let from = self.matrix(first, value);
                let converted = matrix::convert(kernel.ty(value).scalar, result.scalar, &from);
                Some(converted.ok_or_else(misfit)?)
            }
            Some(MatrixInst::MulAdd { a, b, c }) => {
                let types = [a, b, c].map(|v| kernel.ty(v));
                let [a, b, c] = [a, b, c].map(|v| self.matrix(first, v));
                Some(matrix::mul_add(types, [&a, &b, &c]).ok_or_else(misfit)?)
            }
            None => {
                let InstKind::Scalar { op, operands, .. } = &data.kind else { return Err(misfit()) };
                let operands: Vec<Matrix> = operands.iter().map(|v| self.matrix(first, *v)).collect();
                Some(matrix::elementwise(*op, result, &operands).ok_or_else(misfit)?)
            }
        };
        let summed: u32 = match data.kind.matrix() {
            Some(MatrixInst::MulAdd { a, .. }) => kernel.ty(a).matrix.map_or(1, |shape| shape.cols.into()),
            Some(
                MatrixInst::Load { .. }
                | MatrixInst::Store { .. }
                | MatrixInst::Fill { .. }
                | MatrixInst::Convert { .. },
            )
            | None => 1,
        };
        let components = result.matrix.map_or(1, |shape| shape.components());
        self.matrix_steps += u64::from(components) * u64::from(summed);
        if let (Some(matrix), Some(result)) = (matrix, data.results.first()) {
            for holder in holders {
                self.set_matrix(holder, *result, matrix.clone());
            }
        }
        Ok(())
    }

    /// Reports the elements of a matrix access to the monitor. Returns the position and byte offset of each component,
    /// except for those whose offset overflows, which are out of bounds.
    fn components(&mut self, invocation: usize, place: Place) -> Vec<(usize, u64)> {
        let Some(shape) = place.ty.matrix else { return Vec::new() };
        let (lines, along) = shape.lines(place.layout);
        let element = u64::from(self.kernel.element(place.memory).size());
        let component = u64::from(place.ty.scalar.size());
        let length = self.memory.len(place.memory);
        let mut found = Vec::with_capacity(shape.components() as usize);
        for line in 0..lines {
            let first = place.offset.saturating_add(u64::from(line) * place.stride);
            for index in 0..(u64::from(along) * component).div_ceil(element) {
                let index = first.saturating_add(index);
                self.monitor.access(&Access {
                    kind: place.kind,
                    memory: place.memory,
                    index,
                    in_bounds: index < length,
                    workgroup: self.workgroup,
                    invocation: invocation as u32,
                    inst: place.inst,
                });
            }
            let Some(byte) = first.checked_mul(element) else { continue };
            for position in 0..along {
                if let Some(byte) = byte.checked_add(u64::from(position) * component) {
                    found.push((matrix::position(shape, place.layout, line, position), byte));
                }
            }
        }
        found
    }
}
