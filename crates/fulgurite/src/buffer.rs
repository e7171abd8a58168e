//! Typed buffers on a device.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use fulgurite_driver_core::{Backend, DeviceBuffer, Error};
use fulgurite_ir::builder::Storable;
use fulgurite_spec::Code;

/// A type that buffers hold: `i32`, `u32`, `f32`, and arrays of two or four of one.
pub trait Element: Storable + bytemuck::Pod {}

impl<T: Storable + bytemuck::Pod> Element for T {}

/// Elements of `T` in the memory of one context's device.
pub struct Buffer<T> {
    raw: Arc<dyn DeviceBuffer>,
    backend: Arc<dyn Backend>,
    len: usize,
    element: PhantomData<fn() -> T>,
}

impl<T: Element> Buffer<T> {
    pub(crate) fn allocate(backend: &Arc<dyn Backend>, len: usize) -> Result<Self, Error> {
        let bytes = (len as u64).checked_mul(size_of::<T>() as u64).ok_or_else(|| {
            Error::invalid(Code::BufferSize, format!("{len} elements of {} are over 2^64 bytes", T::TYPE))
        })?;
        let raw = backend.allocate(bytes)?;
        Ok(Self { raw, backend: Arc::clone(backend), len, element: PhantomData })
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies all elements to the host, after every launch made before.
    ///
    /// # Errors
    /// What the device says.
    pub fn read(&self) -> Result<Vec<T>, Error> {
        let mut data = vec![T::zeroed(); self.len];
        self.read_into(&mut data)?;
        Ok(data)
    }

    /// Copies all elements into `out`.
    ///
    /// # Errors
    /// `FG0503` if the lengths differ, or what the device says.
    pub fn read_into(&self, out: &mut [T]) -> Result<(), Error> {
        self.same_length(out.len())?;
        self.raw.read(0, bytemuck::cast_slice_mut(out))
    }

    /// Replaces all elements.
    ///
    /// # Errors
    /// `FG0503` if the lengths differ, or what the device says.
    pub fn write(&mut self, data: &[T]) -> Result<(), Error> {
        self.same_length(data.len())?;
        self.raw.write(0, bytemuck::cast_slice(data))
    }

    fn same_length(&self, host: usize) -> Result<(), Error> {
        if host == self.len {
            return Ok(());
        }
        Err(Error::invalid(
            Code::BufferSize,
            format!("the buffer has {} elements of {}, the host's slice {host}", self.len, T::TYPE),
        ))
    }

    pub(crate) fn raw(&self) -> &Arc<dyn DeviceBuffer> {
        &self.raw
    }

    pub(crate) fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }
}

impl<T: Element> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer<{}>({} elements on {})", T::TYPE, self.len, self.backend.snapshot().backend)
    }
}
