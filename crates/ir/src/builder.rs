//! A typed Rust builder for kernels, with operators for arithmetic.
//!
//! ```
//! use fulgurite_ir::builder::{Read, ReadWrite, kernel};
//!
//! let saxpy = kernel::<(Read<f32>, ReadWrite<f32>, f32)>("saxpy", ["x", "y", "a"], [256, 1, 1], |k, (x, y, a)| {
//!     let i = k.global_id().x();
//!     k.if_(i.lt(y.len()), |_| y.store(i, a * x.load(i) + y.load(i)));
//! })?;
//! let verified = fulgurite_ir::verify(saxpy)?;
//! assert_eq!(verified.buffers.len(), 2);
//! # Ok::<(), fulgurite_spec::Diagnostics>(())
//! ```
//!
//! A [`Val`] is `Copy` and belongs to its [`Builder`]. Operators never panic: the use of a value of another kernel,
//! or of a value outside its region, is recorded with its Rust source location. [`kernel`] returns all such errors
//! together.

mod args;
mod atomic;
mod control;
mod exact;
mod matrix;
mod memory;
mod state;
mod subgroup;
mod types;
mod value;

use std::cell::RefCell;
use std::panic::Location as RustLocation;

use fulgurite_spec::{Code, Diagnostics, Location, Op};

pub use args::{Arg, Args, Large, Read, ReadWrite, Write};
pub use control::Carry;
pub use matrix::Matrix;
pub use memory::{
    Array, CanAtomic, CanLoad, CanStore, CanView, Index, LocalArray, ReadAccess, ReadWriteAccess,
    SharedArray, WriteAccess,
};
pub use types::{Float, Integer, Logical, Number, Scalar, Storable, ValueType, Vector};
pub use value::{IntoVal, Val};

pub use crate::kernel::{AtomicOrder, Combine, SyncScope};
use crate::kernel::{FloatMode, InstKind, Kernel, MemoryScopes, Terminator};
use crate::require::Require;
pub use fulgurite_spec::{MatrixLayout, MatrixRole, MatrixScope, MatrixShape};
use state::State;

/// Builds a kernel called `name` with arguments of types `A`, called `names`.
///
/// `body` receives the builder and one handle for each argument.
///
/// # Errors
/// All errors made while building, each with its Rust source location: `FG0301` to `FG0303`, and those of the rules
/// that the builder checks itself (`FG0209`, `FG0213`, `FG0214` and `FG0222`). The kernel is not yet verified.
#[track_caller]
pub fn kernel<A: Args>(
    name: &str,
    names: A::Names,
    workgroup: [u32; 3],
    body: impl for<'k> FnOnce(&'k Builder, A::Handles<'k>),
) -> Result<Kernel, Diagnostics> {
    let place = RustLocation::caller();
    let mut empty = Kernel::empty(name, workgroup);
    empty.location = Location::Rust(place);
    let builder = Builder { state: RefCell::new(State::new(empty)) };
    let handles = A::declare(&builder, names, place);
    body(&builder, handles);
    builder.finish()
}

/// A kernel under construction.
pub struct Builder {
    state: RefCell<State>,
}

impl Builder {
    fn finish(self) -> Result<Kernel, Diagnostics> {
        let State { kernel, errors, .. } = self.state.into_inner();
        Diagnostics::check(errors)?;
        Ok(kernel)
    }

    fn state(&self) -> std::cell::RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// Returns a constant.
    pub fn val<T: Scalar>(&self, value: T) -> Val<'_, T> {
        Val::new(self, self.state().constant(value.literal()))
    }

    /// Returns this invocation's position in the dispatch.
    #[track_caller]
    pub fn global_id(&self) -> Id3<'_> {
        Id3::new(self, Op::GlobalId)
    }

    /// Returns this invocation's position in its workgroup.
    #[track_caller]
    pub fn local_id(&self) -> Id3<'_> {
        Id3::new(self, Op::LocalId)
    }

    /// Returns the workgroup's position in the grid.
    #[track_caller]
    pub fn workgroup_id(&self) -> Id3<'_> {
        Id3::new(self, Op::WorkgroupId)
    }

    /// Returns the grid size in workgroups.
    #[track_caller]
    pub fn num_workgroups(&self) -> Id3<'_> {
        Id3::new(self, Op::NumWorkgroups)
    }

    /// Returns this invocation's flattened position in its workgroup, with x varying fastest.
    #[track_caller]
    pub fn local_index(&self) -> Val<'_, u32> {
        self.id(Op::LocalIndex, 0, RustLocation::caller())
    }

    /// Waits for every invocation of the workgroup and makes their earlier writes to shared memory and buffers
    /// visible to all of them.
    #[track_caller]
    pub fn barrier(&self) {
        self.barrier_of(MemoryScopes::ALL);
    }

    /// Like [`barrier`](Self::barrier), but orders shared memory only.
    #[track_caller]
    pub fn barrier_shared(&self) {
        self.barrier_of(MemoryScopes { shared: true, buffers: false });
    }

    #[track_caller]
    fn barrier_of(&self, scopes: MemoryScopes) {
        let location = Location::Rust(RustLocation::caller());
        self.state().inst(InstKind::Barrier { scopes }, &[], location);
    }

    /// Orders this invocation's memory accesses before the fence with those after it, among the invocations in
    /// `scope`. Does not wait.
    #[track_caller]
    pub fn fence(&self, order: AtomicOrder, scope: SyncScope) {
        let location = Location::Rust(RustLocation::caller());
        self.state().inst(InstKind::Fence { order, scope }, &[], location);
    }

    /// Reports `code` and continues. The launch runs to its end and then fails with the first code reported; its
    /// outputs are unspecified.
    #[track_caller]
    pub fn trap<'k>(&'k self, code: impl IntoVal<'k, u32>) {
        let place = RustLocation::caller();
        let code = code.into_val(self);
        let mut state = self.state();
        let code = state.check(code.erase(), self, place);
        state.inst(InstKind::Trap { code }, &[], Location::Rust(place));
    }

    /// Returns the `value` of the invocation with local index `index` to all of the workgroup, or zero if there is no
    /// such invocation. `index` must be workgroup-uniform, and all invocations of the workgroup must reach this op.
    #[track_caller]
    pub fn workgroup_broadcast<'k, T: ValueType>(
        &'k self,
        value: Val<'k, T>,
        index: impl IntoVal<'k, u32>,
    ) -> Val<'k, T> {
        let place = RustLocation::caller();
        let index = index.into_val(self);
        let mut state = self.state();
        let value = state.check(value.erase(), self, place);
        let index = state.check(index.erase(), self, place);
        let kind = InstKind::WorkgroupBroadcast { value, index };
        let id = state.single(kind, T::TYPE, Location::Rust(place));
        drop(state);
        Val::new(self, id)
    }

    /// Returns a two-component vector.
    #[track_caller]
    pub fn vec2<'k, T: Scalar>(&'k self, x: impl IntoVal<'k, T>, y: impl IntoVal<'k, T>) -> Val<'k, [T; 2]>
    where
        [T; 2]: ValueType,
    {
        self.apply(
            Op::Construct,
            &[x.into_val(self).erase(), y.into_val(self).erase()],
            RustLocation::caller(),
        )
    }

    /// Returns a four-component vector.
    #[track_caller]
    pub fn vec4<'k, T: Scalar>(
        &'k self,
        x: impl IntoVal<'k, T>,
        y: impl IntoVal<'k, T>,
        z: impl IntoVal<'k, T>,
        w: impl IntoVal<'k, T>,
    ) -> Val<'k, [T; 4]>
    where
        [T; 4]: ValueType,
    {
        let components =
            [x.into_val(self), y.into_val(self), z.into_val(self), w.into_val(self)].map(Val::erase);
        self.apply(Op::Construct, &components, RustLocation::caller())
    }

    /// Allows workgroups to wait for others that have started. The kernel runs only on devices where started
    /// workgroups make progress while others wait for them.
    pub fn needs_progress(&self) {
        self.state().kernel.needs_progress = true;
    }

    /// Adds a precondition of every launch: a `bool` computed from parameters, buffer lengths, the grid size and
    /// constants. The host checks it before each launch.
    #[track_caller]
    pub fn require<'k>(&'k self, condition: impl FnOnce(&'k Builder) -> Val<'k, bool>) {
        let place = RustLocation::caller();
        let location = Location::Rust(place);
        self.state().open();
        let value = condition(self);
        let id = self.state().check(value.erase(), self, place);
        let computes = self.state().only_computes();
        let nodes = self.state().require_nodes(id).filter(|_| computes);
        let mut state = self.state();
        state.discard();
        match nodes {
            Some(nodes) => state.kernel.requires.push(Require { nodes, location }),
            None => state.report(
                Code::BadRequire,
                place,
                "a precondition reads something else than parameters, buffer lengths, the grid and constants",
            ),
        }
    }

    fn id<T: ValueType>(&self, op: Op, component: u8, place: &'static RustLocation<'static>) -> Val<'_, T> {
        let id = self.state().single(InstKind::Id { op, component }, T::TYPE, Location::Rust(place));
        Val::new(self, id)
    }

    /// Applies a scalar op. The Rust types of the caller guarantee the operand types.
    fn apply<'k, T: ValueType>(
        &'k self,
        op: Op,
        operands: &[value::Erased<'k>],
        place: &'static RustLocation<'static>,
    ) -> Val<'k, T> {
        let mut state = self.state();
        let operands = operands.iter().map(|v| state.check(*v, self, place)).collect();
        let id = state.single(
            InstKind::Scalar { op, operands, mode: FloatMode::Default },
            T::TYPE,
            Location::Rust(place),
        );
        drop(state);
        Val::new(self, id)
    }

    /// Runs `body` in a new block, which yields the values that `body` returns. Returns the block and those values.
    fn block<'k, C: Carry<'k>>(
        &'k self,
        place: &'static RustLocation<'static>,
        body: impl FnOnce() -> C,
    ) -> (crate::kernel::BlockId, C) {
        let block = self.state().open();
        let yielded = body();
        self.close(block, &yielded, place);
        (block, yielded)
    }

    fn close<'k, C: Carry<'k>>(
        &'k self,
        block: crate::kernel::BlockId,
        yielded: &C,
        place: &'static RustLocation<'static>,
    ) {
        let mut values = Vec::new();
        yielded.collect(&mut values);
        let mut state = self.state();
        let ids = values.iter().map(|v| state.check(*v, self, place)).collect();
        state.end(block, Terminator::Yield(ids), Location::Rust(place));
    }
}

/// A three-component id. Each component is read at the call of its accessor.
#[derive(Clone, Copy)]
pub struct Id3<'k> {
    builder: &'k Builder,
    op: Op,
}

impl<'k> Id3<'k> {
    fn new(builder: &'k Builder, op: Op) -> Self {
        Self { builder, op }
    }

    /// Returns the x component.
    #[track_caller]
    pub fn x(self) -> Val<'k, u32> {
        self.builder.id(self.op, 0, RustLocation::caller())
    }

    /// Returns the y component.
    #[track_caller]
    pub fn y(self) -> Val<'k, u32> {
        self.builder.id(self.op, 1, RustLocation::caller())
    }

    /// Returns the z component.
    #[track_caller]
    pub fn z(self) -> Val<'k, u32> {
        self.builder.id(self.op, 2, RustLocation::caller())
    }
}

#[cfg(test)]
mod tests;
