//! What a launch passes for each argument of a kernel, checked at compile time.

use std::sync::Arc;

use fulgurite_driver_core::{Backend, DeviceBuffer, Error};
use fulgurite_ir::builder::{Arg, Args, Large, Read, ReadWrite, ValueType, Write};
use fulgurite_spec::Code;
use fulgurite_spec::eval::{self, Components};

use crate::buffer::{Buffer, Element};
use crate::context::same_backend;

/// Arguments as a backend takes them.
pub struct Bound<'b> {
    backend: &'b Arc<dyn Backend>,
    pub(crate) buffers: Vec<Arc<dyn DeviceBuffer>>,
    pub(crate) params: Vec<Components>,
}

impl<'b> Bound<'b> {
    pub(crate) fn new(backend: &'b Arc<dyn Backend>) -> Self {
        Self { backend, buffers: Vec::new(), params: Vec::new() }
    }

    fn buffer<T: Element>(&mut self, buffer: &Buffer<T>) -> Result<(), Error> {
        self.raw_buffer(buffer.raw(), buffer.backend())
    }

    pub(crate) fn raw_buffer(
        &mut self,
        raw: &Arc<dyn DeviceBuffer>,
        owner: &Arc<dyn Backend>,
    ) -> Result<(), Error> {
        if !same_backend(owner, self.backend) {
            return Err(Error::invalid(
                Code::ForeignBuffer,
                format!("argument {} belongs to another context", self.buffers.len() + self.params.len() + 1),
            ));
        }
        self.buffers.push(Arc::clone(raw));
        Ok(())
    }

    fn param<T: Element>(&mut self, value: T) {
        self.params.push(eval::read_bytes(bytemuck::bytes_of(&value), <T as ValueType>::TYPE));
    }
}

/// An argument that a typed launch can pass: `&Buffer<T>` for [`Read`], `&mut Buffer<T>` for [`Write`] and
/// [`ReadWrite`], a value for a parameter.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no kernel argument",
    note = "use `Read<T>`, `Write<T>`, `ReadWrite<T>`, each perhaps in `Large`, or a value type"
)]
pub trait LaunchArg: Arg {
    /// What is passed.
    type Value<'a>;

    /// Binds it.
    ///
    /// # Errors
    /// `FG0506` for a buffer of another context.
    fn bind(value: Self::Value<'_>, bound: &mut Bound<'_>) -> Result<(), Error>;
}

impl<T: Element> LaunchArg for Read<T> {
    type Value<'a> = &'a Buffer<T>;

    fn bind(value: &Buffer<T>, bound: &mut Bound<'_>) -> Result<(), Error> {
        bound.buffer(value)
    }
}

impl<T: Element> LaunchArg for Write<T> {
    type Value<'a> = &'a mut Buffer<T>;

    fn bind(value: &mut Buffer<T>, bound: &mut Bound<'_>) -> Result<(), Error> {
        bound.buffer(value)
    }
}

impl<T: Element> LaunchArg for ReadWrite<T> {
    type Value<'a> = &'a mut Buffer<T>;

    fn bind(value: &mut Buffer<T>, bound: &mut Bound<'_>) -> Result<(), Error> {
        bound.buffer(value)
    }
}

/// What may have 2³² elements or more is passed as any buffer is.
impl<B: LaunchArg> LaunchArg for Large<B>
where
    Large<B>: Arg,
{
    type Value<'a> = B::Value<'a>;

    fn bind(value: B::Value<'_>, bound: &mut Bound<'_>) -> Result<(), Error> {
        B::bind(value, bound)
    }
}

macro_rules! params {
    ($($t:ty)*) => {
        $(
            impl LaunchArg for $t {
                type Value<'a> = $t;

                fn bind(value: $t, bound: &mut Bound<'_>) -> Result<(), Error> {
                    bound.param(value);
                    Ok(())
                }
            }
        )*
    };
}

params!(i32 u32 f32 [i32; 2] [u32; 2] [f32; 2] [i32; 4] [u32; 4] [f32; 4]);

/// The arguments of a typed launch: a tuple of what each [`LaunchArg`] passes.
pub trait LaunchArgs: Args {
    /// The tuple.
    type Values<'a>;

    /// Binds them in order.
    ///
    /// # Errors
    /// As [`LaunchArg::bind`].
    fn bind(values: Self::Values<'_>, bound: &mut Bound<'_>) -> Result<(), Error>;
}

macro_rules! launch_tuples {
    ($($name:ident $value:ident),*) => {
        impl<$($name: LaunchArg),*> LaunchArgs for ($($name,)*) {
            type Values<'a> = ($($name::Value<'a>,)*);

            fn bind(($($value,)*): Self::Values<'_>, bound: &mut Bound<'_>) -> Result<(), Error> {
                $($name::bind($value, bound)?;)*
                Ok(())
            }
        }
    };
}

launch_tuples!(A a);
launch_tuples!(A a, B b);
launch_tuples!(A a, B b, C c);
launch_tuples!(A a, B b, C c, D d);
launch_tuples!(A a, B b, C c, D d, E e);
launch_tuples!(A a, B b, C c, D d, E e, F f);
launch_tuples!(A a, B b, C c, D d, E e, F f, G g);
launch_tuples!(A a, B b, C c, D d, E e, F f, G g, H h);
launch_tuples!(A a, B b, C c, D d, E e, F f, G g, H h, I i);
launch_tuples!(A a, B b, C c, D d, E e, F f, G g, H h, I i, J j);
launch_tuples!(A a, B b, C c, D d, E e, F f, G g, H h, I i, J j, K k);
launch_tuples!(A a, B b, C c, D d, E e, F f, G g, H h, I i, J j, K k, L l);
