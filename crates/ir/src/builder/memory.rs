//! Typed handles of buffers, shared and local arrays.

use std::marker::PhantomData;
use std::panic::Location as RustLocation;

use fulgurite_spec::{Location, Op};

use super::Builder;
use super::types::{Integer, Scalar, Storable};
use super::value::{IntoVal, Val};
use crate::kernel::{ArrayDecl, InstKind, LocalId, Memory, SharedId};

/// Access marker: loads.
pub enum ReadAccess {}
/// Access marker: stores.
pub enum WriteAccess {}
/// Access marker: loads, stores and atomics.
pub enum ReadWriteAccess {}
/// Access marker: a workgroup's shared array.
pub enum SharedAccess {}
/// Access marker: an invocation's own array.
pub enum LocalAccess {}

/// Accesses that allow loads.
pub trait CanLoad {}
/// Accesses that allow stores.
pub trait CanStore {}
/// Accesses that allow atomics.
pub trait CanAtomic {}

impl CanLoad for ReadAccess {}
impl CanLoad for ReadWriteAccess {}
impl CanLoad for SharedAccess {}
impl CanLoad for LocalAccess {}
impl CanStore for WriteAccess {}
impl CanStore for ReadWriteAccess {}
impl CanStore for SharedAccess {}
impl CanStore for LocalAccess {}
impl CanAtomic for ReadWriteAccess {}
impl CanAtomic for SharedAccess {}

/// A buffer or array of `T` that may be accessed as `A` says.
pub struct Array<'k, T, A> {
    builder: &'k Builder,
    memory: Memory,
    marker: PhantomData<fn() -> (T, A)>,
}

/// A workgroup's shared array.
pub type SharedArray<'k, T> = Array<'k, T, SharedAccess>;
/// An invocation's own array.
pub type LocalArray<'k, T> = Array<'k, T, LocalAccess>;

impl<T, A> Clone for Array<'_, T, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, A> Copy for Array<'_, T, A> {}

impl Builder {
    /// Declares a shared array of `len` elements, zero at start, one for each workgroup.
    #[track_caller]
    pub fn shared<T: Storable>(&self, name: &str, len: u32) -> SharedArray<'_, T> {
        let location = Location::Rust(RustLocation::caller());
        let mut state = self.state();
        let id = SharedId::new(state.kernel.shared.len());
        state.kernel.shared.push(ArrayDecl { name: name.to_owned(), element: T::TYPE, len, location });
        drop(state);
        Array::new(self, Memory::Shared(id))
    }

    /// Declares a local array of `len` elements, zero at start, one for each invocation.
    #[track_caller]
    pub fn local<T: Storable>(&self, name: &str, len: u32) -> LocalArray<'_, T> {
        let location = Location::Rust(RustLocation::caller());
        let mut state = self.state();
        let id = LocalId::new(state.kernel.locals.len());
        state.kernel.locals.push(ArrayDecl { name: name.to_owned(), element: T::TYPE, len, location });
        drop(state);
        Array::new(self, Memory::Local(id))
    }
}

impl<'k, T: Storable, A> Array<'k, T, A> {
    pub(super) fn new(builder: &'k Builder, memory: Memory) -> Self {
        Self { builder, memory, marker: PhantomData }
    }

    /// The number of elements.
    #[track_caller]
    #[allow(clippy::len_without_is_empty, reason = "a length in the kernel, not of a Rust collection")]
    pub fn len(self) -> Val<'k, u32> {
        let location = Location::Rust(RustLocation::caller());
        let id = self.builder.state().single(
            InstKind::Len { memory: self.memory },
            fulgurite_spec::Type::U32,
            location,
        );
        Val::new(self.builder, id)
    }
}

impl<'k, T: Storable, A: CanLoad> Array<'k, T, A> {
    /// The element at `index`; zero if there is none.
    #[track_caller]
    pub fn load(self, index: impl IntoVal<'k, u32>) -> Val<'k, T> {
        let place = RustLocation::caller();
        let index = index.into_val(self.builder);
        let mut state = self.builder.state();
        let index = state.check(index.erase(), self.builder, place);
        let id = state.single(InstKind::Load { memory: self.memory, index }, T::TYPE, Location::Rust(place));
        drop(state);
        Val::new(self.builder, id)
    }
}

impl<'k, T: Storable, A: CanStore> Array<'k, T, A> {
    /// Replaces the element at `index`; does nothing if there is none.
    #[track_caller]
    pub fn store(self, index: impl IntoVal<'k, u32>, value: impl IntoVal<'k, T>) {
        let place = RustLocation::caller();
        let (index, value) = (index.into_val(self.builder), value.into_val(self.builder));
        let mut state = self.builder.state();
        let index = state.check(index.erase(), self.builder, place);
        let value = state.check(value.erase(), self.builder, place);
        state.inst(InstKind::Store { memory: self.memory, index, value }, &[], Location::Rust(place));
    }
}

macro_rules! atomics {
    ($($(#[$doc:meta])* $name:ident $op:ident;)*) => {
        $(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(self, index: impl IntoVal<'k, u32>, value: impl IntoVal<'k, T>) -> Val<'k, T> {
                let value = value.into_val(self.builder);
                self.atomic(Op::$op, index, &[value], RustLocation::caller())
            }
        )*
    };
}

impl<'k, T: Integer + Scalar, A: CanAtomic> Array<'k, T, A> {
    fn atomic(
        self,
        op: Op,
        index: impl IntoVal<'k, u32>,
        values: &[Val<'k, T>],
        place: &'static RustLocation<'static>,
    ) -> Val<'k, T> {
        let index = index.into_val(self.builder);
        let mut state = self.builder.state();
        let index = state.check(index.erase(), self.builder, place);
        let operands = values.iter().map(|v| state.check(v.erase(), self.builder, place)).collect();
        let kind = InstKind::Atomic { op, memory: self.memory, index, operands };
        let id = state.single(kind, T::TYPE, Location::Rust(place));
        drop(state);
        Val::new(self.builder, id)
    }

    /// Reads the element; zero if there is none.
    #[track_caller]
    pub fn atomic_load(self, index: impl IntoVal<'k, u32>) -> Val<'k, T> {
        self.atomic(Op::AtomicLoad, index, &[], RustLocation::caller())
    }

    /// Writes the element.
    #[track_caller]
    pub fn atomic_store(self, index: impl IntoVal<'k, u32>, value: impl IntoVal<'k, T>) {
        let place = RustLocation::caller();
        let (index, value) = (index.into_val(self.builder), value.into_val(self.builder));
        let mut state = self.builder.state();
        let index = state.check(index.erase(), self.builder, place);
        let value = state.check(value.erase(), self.builder, place);
        let operands = crate::Operands::new(&[value]);
        let kind = InstKind::Atomic { op: Op::AtomicStore, memory: self.memory, index, operands };
        state.inst(kind, &[], Location::Rust(place));
    }

    atomics! {
        /// Adds, wrapping; the old value.
        atomic_add AtomicAdd;
        /// Keeps the smaller; the old value.
        atomic_min AtomicMin;
        /// Keeps the larger; the old value.
        atomic_max AtomicMax;
        /// Bitwise and; the old value.
        atomic_and AtomicAnd;
        /// Bitwise or; the old value.
        atomic_or AtomicOr;
        /// Bitwise exclusive or; the old value.
        atomic_xor AtomicXor;
        /// Replaces; the old value.
        atomic_exchange AtomicExchange;
    }

    /// Replaces the element with `value` if it equals `expected`; the old value.
    #[track_caller]
    pub fn atomic_compare_exchange(
        self,
        index: impl IntoVal<'k, u32>,
        expected: impl IntoVal<'k, T>,
        value: impl IntoVal<'k, T>,
    ) -> Val<'k, T> {
        let (expected, value) = (expected.into_val(self.builder), value.into_val(self.builder));
        self.atomic(Op::AtomicCompareExchange, index, &[expected, value], RustLocation::caller())
    }
}
