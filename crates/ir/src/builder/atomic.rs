//! Atomic ops on elements of buffers and shared arrays.

use std::panic::Location as RustLocation;

use fulgurite_spec::{Location, Op};

use super::memory::{Array, CanAtomic, Index};
use super::types::{Integer, Number, Scalar, Storable};
use super::value::{IntoVal, Val};
use crate::kernel::{AtomicOrder, InstKind, SyncScope};

macro_rules! atomics {
    ($($(#[$doc:meta])* $name:ident $op:ident;)*) => {
        $(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(self, index: impl IntoVal<'k, I>, value: impl IntoVal<'k, T>) -> Val<'k, T> {
                let value = value.into_val(self.builder);
                self.atomic(Op::$op, index, &[value], RustLocation::caller())
            }
        )*
    };
}

impl<'k, T: Storable, A: CanAtomic, I: Index> Array<'k, T, A, I> {
    /// Returns a handle to the same memory whose atomic ops have this order. The default is relaxed. Loads cannot
    /// release and stores cannot acquire.
    #[must_use]
    pub fn ordered(self, order: AtomicOrder) -> Self {
        Self { order, ..self }
    }

    /// Returns a handle to the same memory whose atomic ops have this scope. The default is the workgroup for shared
    /// memory and the device for buffers.
    #[must_use]
    pub fn scoped(self, scope: SyncScope) -> Self {
        Self { scope: Some(scope), ..self }
    }
}

impl<'k, T: Number + Scalar, A: CanAtomic, I: Index> Array<'k, T, A, I> {
    fn kind(
        self,
        op: Op,
        index: impl IntoVal<'k, I>,
        values: &[Val<'k, T>],
        place: &'static RustLocation<'static>,
    ) -> InstKind {
        let index = index.into_val(self.builder);
        let mut state = self.builder.state();
        let index = state.check(index.erase(), self.builder, place);
        let operands = values.iter().map(|v| state.check(v.erase(), self.builder, place)).collect();
        let scope = self.scope.unwrap_or_else(|| state.kernel.default_scope(self.memory));
        InstKind::Atomic { op, order: self.order, scope, memory: self.memory, index, operands }
    }

    fn atomic(
        self,
        op: Op,
        index: impl IntoVal<'k, I>,
        values: &[Val<'k, T>],
        place: &'static RustLocation<'static>,
    ) -> Val<'k, T> {
        let kind = self.kind(op, index, values, place);
        let id = self.builder.state().single(kind, T::TYPE, Location::Rust(place));
        Val::new(self.builder, id)
    }

    /// Reads the element at `index` atomically. Returns zero if the index is out of bounds.
    #[track_caller]
    pub fn atomic_load(self, index: impl IntoVal<'k, I>) -> Val<'k, T> {
        self.atomic(Op::AtomicLoad, index, &[], RustLocation::caller())
    }

    /// Writes the element at `index` atomically.
    #[track_caller]
    pub fn atomic_store(self, index: impl IntoVal<'k, I>, value: impl IntoVal<'k, T>) {
        let place = RustLocation::caller();
        let value = value.into_val(self.builder);
        let kind = self.kind(Op::AtomicStore, index, &[value], place);
        self.builder.state().inst(kind, &[], Location::Rust(place));
    }

    atomics! {
        /// Adds `value`, wrapping for integers, and returns the old element.
        atomic_add AtomicAdd;
        /// Replaces the element and returns the old one.
        atomic_exchange AtomicExchange;
    }
}

impl<'k, T: Integer + Scalar, A: CanAtomic, I: Index> Array<'k, T, A, I> {
    atomics! {
        /// Stores the minimum of the element and `value` and returns the old element.
        atomic_min AtomicMin;
        /// Stores the maximum of the element and `value` and returns the old element.
        atomic_max AtomicMax;
        /// Stores the bitwise and of the element and `value` and returns the old element.
        atomic_and AtomicAnd;
        /// Stores the bitwise or of the element and `value` and returns the old element.
        atomic_or AtomicOr;
        /// Stores the bitwise exclusive or of the element and `value` and returns the old element.
        atomic_xor AtomicXor;
    }

    /// Replaces the element with `value` if it equals `expected`, and returns the old element.
    #[track_caller]
    pub fn atomic_compare_exchange(
        self,
        index: impl IntoVal<'k, I>,
        expected: impl IntoVal<'k, T>,
        value: impl IntoVal<'k, T>,
    ) -> Val<'k, T> {
        let (expected, value) = (expected.into_val(self.builder), value.into_val(self.builder));
        self.atomic(Op::AtomicCompareExchange, index, &[expected, value], RustLocation::caller())
    }
}
