//! Conversion between buffers and `ndarray` arrays.

use fulgurite_hal::Error;
use fulgurite_spec::Code;
use ndarray::{Array, ArrayView, Dimension, ShapeBuilder};

use crate::buffer::{Buffer, BufferView, BufferViewMut, Element};
use crate::context::Context;

impl Context {
    /// Allocates a buffer with a copy of an array's elements, in row-major order.
    ///
    /// ```
    /// use fulgurite::Context;
    /// use ndarray::array;
    ///
    /// let ctx = Context::open()?;
    /// let buffer = ctx.array(array![[1.0f32, 2.0], [3.0, 4.0]].view())?;
    /// assert_eq!(buffer.read_array((4,))?, array![1.0, 2.0, 3.0, 4.0]);
    /// # Ok::<(), fulgurite::Error>(())
    /// ```
    ///
    /// # Errors
    /// `FG0503` for an array that is not in standard layout (`as_standard_layout` converts it), and those of
    /// [`Context::buffer`].
    pub fn array<T: Element, D: Dimension>(&self, array: ArrayView<'_, T, D>) -> Result<Buffer<T>, Error> {
        let data = array.as_slice().ok_or_else(|| {
            let message = format!("an array of strides {:?} is not in standard layout", array.strides());
            Error::invalid(Code::BufferSize, message)
        })?;
        self.buffer(data)
    }
}

macro_rules! reads {
    ($($type:ty)*) => {
        $(
            impl<T: Element> $type {
                /// Copies all elements to an array of shape `shape`, in row-major order: `(rows, columns)`, or
                /// `IxDyn(&[…])` for a number of axes known only at run time.
                ///
                /// # Errors
                /// `FG0503` if the number of elements differs, and those of [`read`](Self::read).
                pub fn read_array<S: ShapeBuilder>(&self, shape: S) -> Result<Array<T, S::Dim>, Error> {
                    let shape = shape.into_shape_with_order();
                    if shape.raw_dim().size_checked() != Some(self.len()) {
                        let (len, shape) = (self.len(), shape.raw_dim().slice());
                        let message = format!("{len} elements on the device have not the shape {shape:?}");
                        return Err(Error::invalid(Code::BufferSize, message));
                    }
                    Array::from_shape_vec(shape, self.read()?)
                        .map_err(|error| Error::Internal(format!("an array of the right size: {error}")))
                }
            }
        )*
    };
}

reads!(Buffer<T> BufferView<'_, T> BufferViewMut<'_, T>);
