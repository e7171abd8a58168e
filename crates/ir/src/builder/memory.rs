//! Typed handles of buffers, shared and local arrays.

use std::marker::PhantomData;
use std::panic::Location as RustLocation;

use fulgurite_spec::Location;

use super::Builder;
use super::types::{Integer, Scalar, Storable};
use super::value::{IntoVal, Val};
use crate::kernel::{
    ArrayDecl, AtomicOrder, Initial, InstKind, LocalId, Memory, SharedId, SyncScope, ViewDecl, ViewId,
};

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

/// Accesses whose memory can be viewed as elements of another type: buffers and shared arrays.
pub trait CanView {}

impl CanView for ReadAccess {}
impl CanView for WriteAccess {}
impl CanView for ReadWriteAccess {}
impl CanView for SharedAccess {}
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

/// What indices of a memory object and its length are: `u32`, or `u64` for a [`Large`](super::Large) buffer.
pub trait Index: Integer + Scalar {}

impl Index for u32 {}
impl Index for u64 {}

/// A buffer or array of `T` that may be accessed as `A` says, with indices `I`.
pub struct Array<'k, T, A, I = u32> {
    pub(super) builder: &'k Builder,
    pub(super) memory: Memory,
    /// What its atomics order, and among whom if they say.
    pub(super) order: AtomicOrder,
    pub(super) scope: Option<SyncScope>,
    pub(super) marker: PhantomData<fn() -> (T, A, I)>,
}

/// A workgroup's shared array.
pub type SharedArray<'k, T> = Array<'k, T, SharedAccess>;
/// An invocation's own array.
pub type LocalArray<'k, T> = Array<'k, T, LocalAccess>;

impl<T, A, I> Clone for Array<'_, T, A, I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, A, I> Copy for Array<'_, T, A, I> {}

impl Builder {
    /// Declares a shared array of `len` elements, zero at start, one for each workgroup.
    #[track_caller]
    pub fn shared<T: Storable>(&self, name: &str, len: u32) -> SharedArray<'_, T> {
        self.declare_shared(name, len, Initial::Zero, RustLocation::caller())
    }

    /// Declares a shared array of `len` elements, one for each workgroup, that holds nothing until it is written:
    /// to read an element before is a bug of the kernel.
    #[track_caller]
    pub fn shared_uninit<T: Storable>(&self, name: &str, len: u32) -> SharedArray<'_, T> {
        self.declare_shared(name, len, Initial::Uninit, RustLocation::caller())
    }

    fn declare_shared<T: Storable>(
        &self,
        name: &str,
        len: u32,
        initial: Initial,
        place: &'static RustLocation<'static>,
    ) -> SharedArray<'_, T> {
        let (name, location) = (name.to_owned(), Location::Rust(place));
        let mut state = self.state();
        let id = SharedId::new(state.kernel.shared.len());
        state.kernel.shared.push(ArrayDecl { name, element: T::TYPE, len, initial, location });
        drop(state);
        Array::new(self, Memory::Shared(id))
    }

    /// Declares a local array of `len` elements, zero at start, one for each invocation.
    #[track_caller]
    pub fn local<T: Storable>(&self, name: &str, len: u32) -> LocalArray<'_, T> {
        let location = Location::Rust(RustLocation::caller());
        let mut state = self.state();
        let id = LocalId::new(state.kernel.locals.len());
        let (name, initial) = (name.to_owned(), Initial::Zero);
        state.kernel.locals.push(ArrayDecl { name, element: T::TYPE, len, initial, location });
        drop(state);
        Array::new(self, Memory::Local(id))
    }
}

impl<'k, T: Storable, A, I: Index> Array<'k, T, A, I> {
    pub(super) fn new(builder: &'k Builder, memory: Memory) -> Self {
        Self { builder, memory, order: AtomicOrder::Relaxed, scope: None, marker: PhantomData }
    }

    /// The number of elements.
    #[track_caller]
    #[allow(clippy::len_without_is_empty, reason = "a length in the kernel, not of a Rust collection")]
    pub fn len(self) -> Val<'k, I> {
        let location = Location::Rust(RustLocation::caller());
        let id = self.builder.state().single(InstKind::Len { memory: self.memory }, I::TYPE, location);
        Val::new(self.builder, id)
    }
}

impl<'k, T: Storable, A: CanView, I: Index> Array<'k, T, A, I> {
    /// The same bytes as elements of type `U`, as many as are whole. Both names are of the same memory: what is
    /// stored through one is loaded through the other.
    #[track_caller]
    pub fn view<U: Storable>(self, name: &str) -> Array<'k, U, A, I> {
        let location = Location::Rust(RustLocation::caller());
        let mut state = self.builder.state();
        let base = state.kernel.base(self.memory);
        let id = ViewId::new(state.kernel.views.len());
        state.kernel.views.push(ViewDecl { name: name.to_owned(), base, element: U::TYPE, location });
        drop(state);
        Array::new(self.builder, Memory::View(id))
    }
}

impl<'k, T: Storable, A: CanLoad, I: Index> Array<'k, T, A, I> {
    /// The element at `index`; zero if there is none.
    #[track_caller]
    pub fn load(self, index: impl IntoVal<'k, I>) -> Val<'k, T> {
        let place = RustLocation::caller();
        let index = index.into_val(self.builder);
        let mut state = self.builder.state();
        let index = state.check(index.erase(), self.builder, place);
        let id = state.single(InstKind::Load { memory: self.memory, index }, T::TYPE, Location::Rust(place));
        drop(state);
        Val::new(self.builder, id)
    }
}

impl<'k, T: Storable, A: CanStore, I: Index> Array<'k, T, A, I> {
    /// Replaces the element at `index`; does nothing if there is none.
    #[track_caller]
    pub fn store(self, index: impl IntoVal<'k, I>, value: impl IntoVal<'k, T>) {
        let place = RustLocation::caller();
        let (index, value) = (index.into_val(self.builder), value.into_val(self.builder));
        let mut state = self.builder.state();
        let index = state.check(index.erase(), self.builder, place);
        let value = state.check(value.erase(), self.builder, place);
        state.inst(InstKind::Store { memory: self.memory, index, value }, &[], Location::Rust(place));
    }
}
