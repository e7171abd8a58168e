//! Typed handles of buffers, shared arrays and local arrays.

use std::marker::PhantomData;
use std::panic::Location as RustLocation;

use fulgurite_spec::Location;

use super::Builder;
use super::types::{Integer, Scalar, Storable};
use super::value::{IntoVal, Val};
use crate::kernel::{
    ArrayDecl, AtomicOrder, Initial, InstKind, LocalId, Memory, SharedId, SyncScope, ViewDecl, ViewId,
};

/// Access marker: loads only.
pub enum ReadAccess {}
/// Access marker: stores only.
pub enum WriteAccess {}
/// Access marker: loads, stores and atomics.
pub enum ReadWriteAccess {}
/// Access marker: a shared array of the workgroup.
pub enum SharedAccess {}
/// Access marker: a local array of the invocation.
pub enum LocalAccess {}

/// Access markers that allow loads.
pub trait CanLoad {}
/// Access markers that allow stores.
pub trait CanStore {}
/// Access markers that allow atomics.
pub trait CanAtomic {}

/// Access markers of memory that can be viewed as elements of another type: buffers and shared arrays.
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

/// The type of indices and lengths of a memory object: `u32`, or `u64` for a [`Large`](super::Large) buffer.
pub trait Index: Integer + Scalar {}

impl Index for u32 {}
impl Index for u64 {}

/// A buffer or array of `T` with access `A` and indices of type `I`.
pub struct Array<'k, T, A, I = u32> {
    pub(super) builder: &'k Builder,
    pub(super) memory: Memory,
    /// Memory order of atomic ops, and their scope unless it is the default.
    pub(super) order: AtomicOrder,
    pub(super) scope: Option<SyncScope>,
    pub(super) marker: Marker<T, A, I>,
}

/// The type arguments of an [`Array`].
type Marker<T, A, I> = PhantomData<fn() -> (T, A, I)>;

/// A shared array of the workgroup.
pub type SharedArray<'k, T> = Array<'k, T, SharedAccess>;
/// A local array of the invocation.
pub type LocalArray<'k, T> = Array<'k, T, LocalAccess>;

impl<T, A, I> Clone for Array<'_, T, A, I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, A, I> Copy for Array<'_, T, A, I> {}

impl Builder {
    /// Declares a shared array of `len` elements per workgroup, initialized to zero.
    #[track_caller]
    pub fn shared<T: Storable>(&self, name: &str, len: u32) -> SharedArray<'_, T> {
        self.declare_shared(name, len, Initial::Zero, RustLocation::caller())
    }

    /// Declares an uninitialized shared array of `len` elements per workgroup. Reading an element before it is
    /// written is a bug in the kernel.
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

    /// Declares a local array of `len` elements per invocation, initialized to zero.
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

    /// Returns the number of elements.
    #[track_caller]
    #[allow(clippy::len_without_is_empty, reason = "a length in the kernel, not of a Rust collection")]
    pub fn len(self) -> Val<'k, I> {
        let location = Location::Rust(RustLocation::caller());
        let id = self.builder.state().single(InstKind::Len { memory: self.memory }, I::TYPE, location);
        Val::new(self.builder, id)
    }
}

impl<'k, T: Storable, A: CanView, I: Index> Array<'k, T, A, I> {
    /// Declares a view of the same bytes as elements of type `U`; an incomplete last element is not part of it.
    /// Stores through either handle are visible to loads through the other.
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
    /// Returns the element at `index`, or zero if the index is out of bounds.
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
    /// Replaces the element at `index`. Does nothing if the index is out of bounds.
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
