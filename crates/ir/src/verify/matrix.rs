//! Rules of cooperative matrices: types, ops, and provable alignment of accesses.

use fulgurite_spec::{Code, Diagnostic, MatrixRole, MatrixShape, Type};

use super::body::Checker;
use crate::analysis::instructions;
use crate::analysis::uniformity::describe;
use crate::analysis::{DivisibilityMap, RangeMap};
use crate::kernel::{Inst, InstKind, Kernel, MATRIX_ALIGNMENT, MatrixInst, Memory, ValueId};
use crate::typing::{TypingError, error};

/// Returns the result type of `coop.mul_add` on operands of these types.
///
/// # Errors
/// The broken rule.
pub fn mul_add_result(a: Type, b: Type, c: Type) -> Result<Type, TypingError> {
    let mut shapes = [None; 3];
    for (position, (ty, role)) in [a, b, c].into_iter().zip(MatrixRole::ALL).enumerate() {
        let found = ty.matrix.filter(|shape| shape.role == *role);
        if found.is_none() {
            let (position, role) = (position + 1, role.name());
            let message =
                format!("operand {position} of `coop.mul_add` must be a matrix of role `{role}`, is {ty}");
            return Err(error(Code::BadMatrix, Some(position - 1), message));
        }
        shapes[position] = found;
    }
    let [Some(left), Some(right), Some(sum)] = shapes else {
        return Err(error(Code::BadMatrix, None, "`coop.mul_add` takes three matrices".to_owned()));
    };
    let fit = left.cols == right.rows && (left.rows, right.cols) == (sum.rows, sum.cols);
    if !fit || left.scope != right.scope || left.scope != sum.scope {
        let message =
            format!("`coop.mul_add` cannot multiply {a} by {b} and add {c}: shapes or scopes differ");
        return Err(error(Code::BadMatrix, None, message));
    }
    if a.scalar != b.scalar {
        let message = format!("`coop.mul_add` multiplies matrices of one component type, not {a} by {b}");
        return Err(error(Code::BadMatrix, Some(1), message));
    }
    let (factor, sum) = (a.scalar, c.scalar);
    let holds =
        sum.size() > factor.size() || sum.size() == factor.size() && (sum == factor || sum.is_integer());
    if factor.is_float() != sum.is_float() || !holds {
        let message = format!("`coop.mul_add` cannot add products of {factor} up in {sum}");
        return Err(error(Code::BadMatrix, Some(2), message));
    }
    Ok(c)
}

/// Returns the problem with a matrix type, if any.
fn bad_type(ty: Type) -> Option<String> {
    let Some(shape) = ty.matrix else { return Some(format!("{ty} is no cooperative matrix")) };
    if !MatrixShape::COMPONENTS.contains(ty.scalar) {
        return Some(format!("a matrix has components of {}, not of {}", MatrixShape::COMPONENTS, ty.scalar));
    }
    let (rows, cols) = (shape.rows, shape.cols);
    (!shape.is_known())
        .then(|| format!("a matrix has 8 to 256 rows and columns, powers of two, not {rows} and {cols}"))
}

impl Checker<'_> {
    /// Checks the types of a `coop` op.
    pub(super) fn matrix(&mut self, inst: &Inst, kind: MatrixInst) {
        let at = inst.location;
        let result = inst.results.first().map(|r| self.kernel.ty(*r));
        match kind {
            MatrixInst::Load { memory, offset, stride, .. } => {
                self.matrix_place(inst, memory, offset, stride);
                self.readable(memory, at, "coop.load");
                self.matrix_result(inst);
            }
            MatrixInst::Store { memory, offset, stride, value, .. } => {
                self.matrix_place(inst, memory, offset, stride);
                self.writable(memory, at, "coop.store");
                if !self.kernel.ty(value).is_matrix() {
                    let message = format!(
                        "`coop.store` stores a matrix, {} is {}",
                        describe(self.kernel, value),
                        self.kernel.ty(value)
                    );
                    self.report(Code::TypeMismatch, at, message);
                }
                self.results(inst, &[]);
            }
            MatrixInst::Fill { value } => {
                self.matrix_result(inst);
                if let Some(ty) = result {
                    self.expect(value, ty.element(), at, "what `coop.fill` fills the matrix with");
                }
            }
            MatrixInst::Convert { value } => {
                self.matrix_result(inst);
                let (from, to) = (self.kernel.ty(value), result.unwrap_or(Type::BOOL));
                let sides = |ty: Type| ty.matrix.map(|m| (m.rows, m.cols, m.scope));
                if sides(from).is_none() || sides(from) != sides(to) {
                    let message = format!("`coop.convert` cannot turn {from} into {to}: the shapes differ");
                    self.report(Code::BadMatrix, at, message);
                }
            }
            MatrixInst::MulAdd { a, b, c } => {
                let [a, b, c] = [a, b, c].map(|v| self.kernel.ty(v));
                self.typed(inst, mul_add_result(a, b, c));
            }
        }
    }

    fn matrix_result(&mut self, inst: &Inst) {
        let [result] = *inst.results else {
            self.report(Code::Malformed, inst.location, "a `coop` op yields one matrix");
            return;
        };
        if let Some(message) = bad_type(self.kernel.ty(result)) {
            self.report(Code::BadMatrix, inst.location, message);
        }
    }

    fn matrix_place(&mut self, inst: &Inst, memory: Memory, offset: ValueId, stride: ValueId) {
        self.index(offset, inst.location);
        self.expect(stride, Type::U32, inst.location, "the stride of a matrix");
        if matches!(memory, Memory::Local(_)) {
            let name = self.kernel.memory_name(memory);
            let message = format!("`%{name}` is local to an invocation, and many hold a matrix together");
            self.report(Code::BadMatrix, inst.location, message);
        }
    }
}

/// Returns the matrix type of an access and its required alignment in bytes.
fn wanted_alignment(kernel: &Kernel, inst: &Inst) -> Option<(Type, u32)> {
    let (layout, matrix) = match inst.kind.matrix()? {
        MatrixInst::Load { layout, .. } => (layout, *inst.results.first()?),
        MatrixInst::Store { layout, value, .. } => (layout, value),
        MatrixInst::Fill { .. } | MatrixInst::MulAdd { .. } | MatrixInst::Convert { .. } => return None,
    };
    let ty = kernel.ty(matrix);
    let (_, line) = ty.matrix?.lines(layout);
    Some((ty, (line * ty.scalar.size()).min(MATRIX_ALIGNMENT)))
}

/// Checks that the offset and stride of every matrix access are multiples of its alignment.
pub(super) fn alignment(kernel: &Kernel, found: &mut Vec<Diagnostic>) {
    let accesses = |inst: &Inst| matches!(inst.kind, InstKind::CoopLoad { .. } | InstKind::CoopStore { .. });
    if !kernel.insts.iter().any(accesses) {
        return;
    }
    let map = DivisibilityMap::of(kernel, &RangeMap::of(kernel));
    for inst in instructions(kernel).map(|id| kernel.inst(id)) {
        let (InstKind::CoopLoad { memory, offset, stride, .. }
        | InstKind::CoopStore { memory, offset, stride, .. }) = inst.kind
        else {
            continue;
        };
        let Some((ty, alignment)) = wanted_alignment(kernel, inst) else { continue };
        let size = kernel.element(memory).size();
        for (role, value) in [("offset", offset), ("stride", stride)] {
            if map.is_multiple(value, size, alignment) {
                continue;
            }
            let elements = alignment / gcd(alignment, size);
            let name = kernel.memory_name(memory);
            let message = format!(
                "the {role} of {ty} in `%{name}` must be a multiple of {elements} elements ({alignment} bytes), \
                 which {} is not known to be",
                describe(kernel, value)
            );
            let fix = format!(
                "access `%{name}` through a view of 16-byte elements such as u32x4, state \
                 `require eq (rem …, {elements}u32), 0u32` of what it is computed from, or use a literal"
            );
            found.push(Diagnostic::new(Code::BadMatrixAlignment, inst.location, message).with_fix(fix));
        }
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}
