//! Cooperative matrices: values that all invocations of a subgroup or workgroup hold together.
//!
//! The component type is a Rust type; rows, columns, role and scope are checked when the kernel is verified.

use std::marker::PhantomData;
use std::ops;
use std::panic::Location as RustLocation;

use fulgurite_spec::{Location, MatrixLayout, MatrixRole, MatrixScope, MatrixShape, Op, Type};

use super::Builder;
use super::control::{Carry, Ids};
use super::memory::{Array, CanLoad, CanStore, CanView, Index};
use super::types::{Float, Number, Scalar, Storable};
use super::value::{Erased, IntoVal, Val};
use crate::kernel::{FloatMode, InstKind, ValueId};

/// A cooperative matrix with components of type `T` in a kernel under construction. Operators are elementwise and
/// take matrices of the same type.
pub struct Matrix<'k, T> {
    builder: &'k Builder,
    id: ValueId,
    ty: PhantomData<fn() -> T>,
}

impl<T> Clone for Matrix<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Matrix<'_, T> {}

impl<'k, T> Matrix<'k, T> {
    fn new(builder: &'k Builder, id: ValueId) -> Self {
        Self { builder, id, ty: PhantomData }
    }

    fn ty(self) -> Type {
        self.builder.state().kernel.ty(self.id)
    }

    fn erase(self) -> Erased<'k> {
        Erased { builder: self.builder, id: self.id, ty: self.ty() }
    }

    /// Names the matrix in kernel text and in diagnostics.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        if let Some(value) = self.builder.state().kernel.values.get_mut(self.id.index()) {
            value.name = Some(name.into());
        }
        self
    }

    fn elementwise(self, op: Op, others: &[Self], place: &'static RustLocation<'static>) -> Self {
        let operands: Vec<Erased<'k>> = [self].iter().chain(others).map(|m| m.erase()).collect();
        let ty = self.ty();
        let mut state = self.builder.state();
        let operands = operands.iter().map(|m| state.check(*m, self.builder, place)).collect();
        let kind = InstKind::Scalar { op, operands, mode: FloatMode::Default };
        let id = state.single(kind, ty, Location::Rust(place));
        drop(state);
        Self::new(self.builder, id)
    }
}

impl<'k, T: Number + Scalar> Matrix<'k, T> {
    /// Converts each component to type `U` by value, and the matrix to the role `role`.
    #[track_caller]
    pub fn convert<U: Number + Scalar>(self, role: MatrixRole) -> Matrix<'k, U> {
        let place = RustLocation::caller();
        let matrix = self.erase();
        let shape = matrix.ty.matrix.map(|shape| MatrixShape { role, ..shape });
        let ty = Type { matrix: shape, ..U::TYPE };
        let mut state = self.builder.state();
        let value = state.check(matrix, self.builder, place);
        let id = state.single(InstKind::CoopConvert { value }, ty, Location::Rust(place));
        drop(state);
        Matrix::new(self.builder, id)
    }

    /// Returns `self × other + sum`, where `self` is M × K of role `a`, `other` K × N of role `b`, and `sum` and the
    /// result M × N of role `acc`. Integers wrap; floats are summed in any order.
    #[track_caller]
    pub fn mul_add<U: Number + Scalar>(self, other: Matrix<'k, T>, sum: Matrix<'k, U>) -> Matrix<'k, U> {
        let place = RustLocation::caller();
        let (operands, ty) = ([self.erase(), other.erase(), sum.erase()], sum.ty());
        let mut state = self.builder.state();
        let [a, b, c] = operands.map(|m| state.check(m, self.builder, place));
        let id = state.single(InstKind::CoopMulAdd { a, b, c }, ty, Location::Rust(place));
        drop(state);
        Matrix::new(self.builder, id)
    }
}

impl<'k> Val<'k, bool> {
    /// Returns the first matrix if this is true and the second otherwise. The condition must be uniform in the scope
    /// of the matrices.
    #[track_caller]
    pub fn select_matrix<T>(self, yes: Matrix<'k, T>, no: Matrix<'k, T>) -> Matrix<'k, T> {
        let place = RustLocation::caller();
        let (operands, ty) = ([self.erase(), yes.erase(), no.erase()], yes.ty());
        let mut state = self.builder().state();
        let operands = operands.iter().map(|m| state.check(*m, self.builder(), place)).collect();
        let kind = InstKind::Scalar { op: Op::Select, operands, mode: FloatMode::Default };
        let id = state.single(kind, ty, Location::Rust(place));
        drop(state);
        Matrix::new(self.builder(), id)
    }
}

impl<'k, T> Carry<'k> for Matrix<'k, T> {
    fn collect(&self, out: &mut Vec<Erased<'k>>) {
        out.push(self.erase());
    }

    fn rebuild(&self, builder: &'k Builder, ids: &mut Ids) -> Self {
        Matrix::new(builder, ids.next())
    }
}

impl Builder {
    /// Returns a `rows` × `cols` matrix with all components equal to `value`, which must be uniform in `scope`.
    #[track_caller]
    pub fn matrix<'k, T: Number + Scalar>(
        &'k self,
        value: impl IntoVal<'k, T>,
        rows: u16,
        cols: u16,
        role: MatrixRole,
        scope: MatrixScope,
    ) -> Matrix<'k, T> {
        let place = RustLocation::caller();
        let value = value.into_val(self);
        let ty = Type::matrix_of(T::TYPE.scalar, MatrixShape::new(rows, cols, role, scope));
        let mut state = self.state();
        let value = state.check(value.erase(), self, place);
        let id = state.single(InstKind::CoopFill { value }, ty, Location::Rust(place));
        drop(state);
        Matrix::new(self, id)
    }
}

/// Matrix access to buffers, shared arrays and views of them.
impl<'k, E: Storable, A: CanView + CanLoad, I: Index> Array<'k, E, A, I> {
    /// Loads a matrix whose first component is at element `offset`. Consecutive lines start `stride` elements apart;
    /// lines are rows or columns as `layout` states. The components of a line are contiguous, regardless of the
    /// element type. Components out of bounds are zero.
    ///
    /// `offset` and `stride` must be uniform in the scope of the matrix. In bytes, they must be provable multiples of
    /// 16 or of the length of a line, whichever is less.
    #[track_caller]
    pub fn load_matrix<T: Number + Scalar>(
        self,
        layout: MatrixLayout,
        offset: impl IntoVal<'k, I>,
        stride: impl IntoVal<'k, u32>,
        shape: MatrixShape,
    ) -> Matrix<'k, T> {
        let place = RustLocation::caller();
        let (offset, stride) = (offset.into_val(self.builder), stride.into_val(self.builder));
        let ty = Type::matrix_of(T::TYPE.scalar, shape);
        let mut state = self.builder.state();
        let offset = state.check(offset.erase(), self.builder, place);
        let stride = state.check(stride.erase(), self.builder, place);
        let kind = InstKind::CoopLoad { layout, memory: self.memory, offset, stride };
        let id = state.single(kind, ty, Location::Rust(place));
        drop(state);
        Matrix::new(self.builder, id)
    }
}

impl<'k, E: Storable, A: CanView + CanStore, I: Index> Array<'k, E, A, I> {
    /// Stores a matrix in the layout that [`load_matrix`](Self::load_matrix) reads. Components out of bounds are not
    /// stored.
    #[track_caller]
    pub fn store_matrix<T: Number + Scalar>(
        self,
        layout: MatrixLayout,
        offset: impl IntoVal<'k, I>,
        stride: impl IntoVal<'k, u32>,
        matrix: Matrix<'k, T>,
    ) {
        let place = RustLocation::caller();
        let (offset, stride) = (offset.into_val(self.builder), stride.into_val(self.builder));
        let matrix = matrix.erase();
        let mut state = self.builder.state();
        let offset = state.check(offset.erase(), self.builder, place);
        let stride = state.check(stride.erase(), self.builder, place);
        let value = state.check(matrix, self.builder, place);
        let kind = InstKind::CoopStore { layout, memory: self.memory, offset, stride, value };
        state.inst(kind, &[], Location::Rust(place));
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $class:ident;)*) => {
        $(
            impl<T: $class + Scalar> ops::$trait for Matrix<'_, T> {
                type Output = Self;

                #[track_caller]
                fn $method(self, other: Self) -> Self {
                    self.elementwise(Op::$trait, &[other], RustLocation::caller())
                }
            }
        )*
    };
}

operators! {
    Add add Number;
    Sub sub Number;
    Mul mul Number;
    Div div Float;
}

impl<T: Number + Scalar> ops::Neg for Matrix<'_, T> {
    type Output = Self;

    #[track_caller]
    fn neg(self) -> Self {
        self.elementwise(Op::Neg, &[], RustLocation::caller())
    }
}
