//! Typed buffers on a device, and typed views of them.
//!
//! A view borrows its buffer as a slice borrows its vector, so disjointness is checked at compile time: by the borrow
//! checker for [`slice_mut`](Buffer::slice_mut), by construction for [`split_at_mut`](Buffer::split_at_mut) and
//! [`chunks_mut`](Buffer::chunks_mut).

use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeBounds;

use fulgurite_hal::{DeviceError, Error};
use fulgurite_ir::builder::Storable;
use fulgurite_runtime::{self as runtime, Device};
use fulgurite_spec::Code;

/// A type of buffer elements and parameters: the integers of 8 to 64 bits, `f32`, `f64`, `half::f16`, `half::bf16`,
/// and arrays of two to four of them.
pub trait Element: Storable + bytemuck::Pod + Send + Sync {}

impl<T: Storable + bytemuck::Pod + Send + Sync> Element for T {}

/// A buffer of elements `T` in the memory of a context's device.
///
/// Reads, writes, fills and copies run after every launch made or submitted before. The memory is released when the
/// buffer and every launch and graph that uses it are gone.
///
/// ```
/// use fulgurite::prelude::*;
///
/// let ctx = Context::open()?;
/// let mut y = ctx.buffer(&[1u32, 2, 3, 4])?;
/// y.slice_mut(1..3)?.fill(7)?;
/// assert_eq!(y.read()?, [1, 7, 7, 4]);
///
/// let (mut head, tail) = y.split_at_mut(2)?;
/// head.copy_from(&tail)?;
/// assert_eq!(y.read()?, [7, 4, 7, 4]);
/// # Ok::<(), Error>(())
/// ```
pub struct Buffer<T>(Part<T>);

/// A shared view of elements of a [`Buffer`]. Cheap to clone.
pub struct BufferView<'b, T> {
    part: Part<T>,
    buffer: PhantomData<&'b Buffer<T>>,
}

/// An exclusive view of elements of a [`Buffer`].
pub struct BufferViewMut<'b, T> {
    part: Part<T>,
    buffer: PhantomData<&'b mut Buffer<T>>,
}

/// A byte range of a device buffer, as elements.
struct Part<T> {
    bytes: runtime::BufferView,
    element: PhantomData<fn() -> T>,
}

/// Returns the size of `len` elements in bytes.
fn byte_size<T: Element>(len: usize) -> Result<u64, Error> {
    (len as u64).checked_mul(size_of::<T>() as u64).ok_or_else(|| {
        Error::invalid(Code::BufferSize, format!("{len} elements of {} are over 2^64 bytes", T::TYPE))
    })
}

/// Resizes `memory` to `bytes` bytes, reusing its allocation if large enough.
pub(crate) fn resize<T: Element>(memory: &mut Vec<T>, bytes: u64) -> Result<(), Error> {
    let out_of_memory = || DeviceError::OutOfMemory { bytes };
    let len = usize::try_from(bytes / size_of::<T>() as u64).map_err(|_| out_of_memory())?;
    memory.try_reserve_exact(len.saturating_sub(memory.len())).map_err(|_| out_of_memory())?;
    memory.resize(len, T::zeroed());
    Ok(())
}

impl<T> Clone for Part<T> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), element: PhantomData }
    }
}

impl<T: Element> Part<T> {
    fn new(bytes: runtime::BufferView) -> Self {
        Self { bytes, element: PhantomData }
    }

    fn len(&self) -> usize {
        (self.bytes.bytes() / size_of::<T>() as u64) as usize
    }

    fn range(&self, range: &impl RangeBounds<usize>) -> Result<Self, Error> {
        let [begin, end] = [range.start_bound(), range.end_bound()].map(|bound| bound.map(|at| *at as u64));
        match runtime::range_within((begin, end), self.len() as u64) {
            Ok(range) => {
                let size = size_of::<T>() as u64;
                Ok(Self::new(self.bytes.view(range.start * size..range.end * size)?))
            }
            Err(written) => Err(Error::invalid(
                Code::BufferSize,
                format!("elements `{written}` are not within {} of {}", self.len(), T::TYPE),
            )),
        }
    }

    fn read(&self) -> Result<Vec<T>, Error> {
        let mut data = Vec::new();
        resize(&mut data, self.bytes.bytes())?;
        self.read_into(&mut data)?;
        Ok(data)
    }

    fn read_into(&self, out: &mut [T]) -> Result<(), Error> {
        self.same_length(out.len())?;
        self.bytes.read(bytemuck::cast_slice_mut(out))
    }

    fn write(&self, data: &[T]) -> Result<(), Error> {
        self.same_length(data.len())?;
        self.bytes.write(bytemuck::cast_slice(data))
    }

    fn same_length(&self, host: usize) -> Result<(), Error> {
        if host == self.len() {
            return Ok(());
        }
        Err(Error::invalid(
            Code::BufferSize,
            format!(
                "there are {} elements of {} on the device, {host} in the host's slice",
                self.len(),
                T::TYPE
            ),
        ))
    }

    fn fmt(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{name}({} × {} of {:?})", self.len(), T::TYPE, self.bytes.buffer())
    }
}

impl<T: Element> Buffer<T> {
    pub(crate) fn zeroed(device: &Device, len: usize) -> Result<Self, Error> {
        Ok(Self(Part::new(device.zeroed(byte_size::<T>(len)?)?.whole())))
    }

    pub(crate) fn upload(device: &Device, data: &[T]) -> Result<Self, Error> {
        Ok(Self(Part::new(device.upload(bytemuck::cast_slice(data))?.whole())))
    }

    pub(crate) fn raw(&self) -> &runtime::BufferView {
        &self.0.bytes
    }

    fn part(&self) -> &Part<T> {
        &self.0
    }

    /// Releases the memory as soon as no submitted launch uses it, even if graphs hold it: replaying those returns
    /// `FG0509` from now on.
    pub fn free(self) {
        self.0.bytes.buffer().free();
    }
}

impl<'b, T: Element> BufferView<'b, T> {
    fn new(part: Part<T>) -> Self {
        Self { part, buffer: PhantomData }
    }

    pub(crate) fn into_raw(self) -> runtime::BufferView {
        self.part.bytes
    }

    fn part(&self) -> &Part<T> {
        &self.part
    }

    /// Returns a view of the elements `range`.
    ///
    /// # Errors
    /// `FG0503` if the range exceeds the view.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Result<BufferView<'b, T>, Error> {
        Ok(BufferView::new(self.part.range(&range)?))
    }
}

impl<T: Element> BufferViewMut<'_, T> {
    fn new(part: Part<T>) -> Self {
        Self { part, buffer: PhantomData }
    }

    pub(crate) fn into_raw(self) -> runtime::BufferView {
        self.part.bytes
    }

    fn part(&self) -> &Part<T> {
        &self.part
    }
}

macro_rules! reads {
    ($($type:ty)*) => {
        $(
            impl<T: Element> $type {
                /// Returns the number of elements.
                pub fn len(&self) -> usize {
                    self.part().len()
                }

                /// Returns whether there are no elements.
                pub fn is_empty(&self) -> bool {
                    self.len() == 0
                }

                /// Copies all elements to the host, after every launch made before.
                ///
                /// # Errors
                /// `FG0601` if the host has no memory for them, or a device error.
                pub fn read(&self) -> Result<Vec<T>, Error> {
                    self.part().read()
                }

                /// Copies all elements into `out`.
                ///
                /// # Errors
                /// `FG0503` if the lengths differ, or a device error.
                pub fn read_into(&self, out: &mut [T]) -> Result<(), Error> {
                    self.part().read_into(out)
                }
            }

            impl<T: Element> fmt::Debug for $type {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    let name = stringify!($type);
                    self.part().fmt(name.split('<').next().unwrap_or(name), f)
                }
            }
        )*
    };
}

reads!(Buffer<T> BufferView<'_, T> BufferViewMut<'_, T>);

macro_rules! writes {
    ($($type:ty)*) => {
        $(
            impl<T: Element> $type {
                /// Returns a shared view of the elements `range`.
                ///
                /// # Errors
                /// `FG0503` if the range exceeds the elements.
                pub fn slice(&self, range: impl RangeBounds<usize>) -> Result<BufferView<'_, T>, Error> {
                    Ok(BufferView::new(self.part().range(&range)?))
                }

                /// Returns an exclusive view of the elements `range`.
                ///
                /// # Errors
                /// `FG0503` if the range exceeds the elements.
                pub fn slice_mut(
                    &mut self,
                    range: impl RangeBounds<usize>,
                ) -> Result<BufferViewMut<'_, T>, Error> {
                    Ok(BufferViewMut::new(self.part().range(&range)?))
                }

                /// Returns two disjoint exclusive views: the elements before `middle`, and the others.
                ///
                /// # Errors
                /// `FG0503` if there are fewer than `middle` elements.
                pub fn split_at_mut(
                    &mut self,
                    middle: usize,
                ) -> Result<(BufferViewMut<'_, T>, BufferViewMut<'_, T>), Error> {
                    let (head, tail) = (self.part().range(&(..middle))?, self.part().range(&(middle..))?);
                    Ok((BufferViewMut::new(head), BufferViewMut::new(tail)))
                }

                /// Returns disjoint exclusive views of `len` elements each; the last may be shorter.
                ///
                /// # Errors
                /// `FG0503` if `len` is 0.
                pub fn chunks_mut(
                    &mut self,
                    len: usize,
                ) -> Result<impl ExactSizeIterator<Item = BufferViewMut<'_, T>>, Error> {
                    if len == 0 {
                        return Err(Error::invalid(Code::BufferSize, "chunks of no elements"));
                    }
                    let all = self.len();
                    let begins = (0..all).step_by(len);
                    let chunks: Result<Vec<_>, Error> = begins
                        .map(|begin| self.part().range(&(begin..all.min(begin.saturating_add(len)))))
                        .collect();
                    Ok(chunks?.into_iter().map(BufferViewMut::new))
                }

                /// Replaces all elements, after every launch made before.
                ///
                /// # Errors
                /// `FG0503` if the lengths differ, or a device error.
                pub fn write(&mut self, data: &[T]) -> Result<(), Error> {
                    self.part().write(data)
                }

                /// Sets every element to `value`.
                ///
                /// # Errors
                /// A device error.
                pub fn fill(&mut self, value: T) -> Result<(), Error> {
                    self.part().bytes.fill(bytemuck::bytes_of(&value))
                }

                /// Replaces all elements with those of `source`, on the device.
                ///
                /// # Errors
                /// `FG0503` if the lengths differ, `FG0506` if the source is of another context, or a device error.
                pub fn copy_from<'s>(&mut self, source: impl Into<BufferView<'s, T>>) -> Result<(), Error> {
                    self.part().bytes.copy_from(&source.into().part.bytes)
                }
            }
        )*
    };
}

writes!(Buffer<T> BufferViewMut<'_, T>);

impl<T> Clone for BufferView<'_, T> {
    fn clone(&self) -> Self {
        Self { part: self.part.clone(), buffer: PhantomData }
    }
}

macro_rules! views {
    ($($from:ty => $to:ident;)*) => {
        $(
            impl<'b, T: Element> From<$from> for $to<'b, T> {
                fn from(from: $from) -> Self {
                    Self::new(from.part().clone())
                }
            }
        )*
    };
}

views! {
    &'b Buffer<T> => BufferView;
    &'b BufferView<'_, T> => BufferView;
    &'b BufferViewMut<'_, T> => BufferView;
    &'b mut Buffer<T> => BufferViewMut;
    &'b mut BufferViewMut<'_, T> => BufferViewMut;
}
