//! Kernel arguments as Rust types: buffers by access, and parameters.

use std::marker::PhantomData;
use std::panic::Location as RustLocation;

use fulgurite_spec::Location;

use super::Builder;
use super::memory::{Array, ReadAccess, ReadWriteAccess, WriteAccess};
use super::types::Storable;
use super::value::Val;
use crate::kernel::{Access, BufferDecl, BufferId, Memory, ParamDecl};

/// A buffer of `T` that the kernel only reads.
pub struct Read<T>(PhantomData<fn() -> T>);
/// A buffer of `T` that the kernel only writes.
pub struct Write<T>(PhantomData<fn() -> T>);
/// A buffer of `T` that the kernel reads and writes.
pub struct ReadWrite<T>(PhantomData<fn() -> T>);

/// A buffer that may have 2³² elements or more, with a length and indices of type `u64`, such as `Large<Read<f32>>`.
pub struct Large<B>(PhantomData<fn() -> B>);

/// An argument: [`Read`], [`Write`], [`ReadWrite`] or [`Large`] for a buffer, or a value type for a parameter.
pub trait Arg: 'static {
    /// The handle passed to the kernel's body.
    type Handle<'k>;

    /// Declares the argument and returns its handle.
    fn declare<'k>(builder: &'k Builder, name: &str, location: Location) -> Self::Handle<'k>;
}

/// The arguments of a kernel: a tuple of one to twelve [`Arg`]s.
pub trait Args: 'static {
    /// An array with one name for each argument.
    type Names;
    /// A tuple of handles.
    type Handles<'k>;

    /// Declares the arguments in order and returns their handles.
    fn declare<'k>(
        builder: &'k Builder,
        names: Self::Names,
        place: &'static RustLocation<'static>,
    ) -> Self::Handles<'k>;
}

fn buffer(builder: &Builder, declared: BufferDecl) -> Memory {
    let buffers = &mut builder.state().kernel.buffers;
    buffers.push(declared);
    Memory::Buffer(BufferId::new(buffers.len() - 1))
}

macro_rules! buffer_args {
    ($($marker:ident $access:ident;)*) => {
        $(
            impl<T: Storable> Arg for $marker<T> {
                type Handle<'k> = Array<'k, T, $access>;

                fn declare<'k>(builder: &'k Builder, name: &str, location: Location) -> Self::Handle<'k> {
                    let name = name.to_owned();
                    let (element, access) = (T::TYPE, Access::$marker);
                    let declared = BufferDecl { name, element, access, large: false, location };
                    Array::new(builder, buffer(builder, declared))
                }
            }

            impl<T: Storable> Arg for Large<$marker<T>> {
                type Handle<'k> = Array<'k, T, $access, u64>;

                fn declare<'k>(builder: &'k Builder, name: &str, location: Location) -> Self::Handle<'k> {
                    let name = name.to_owned();
                    let (element, access) = (T::TYPE, Access::$marker);
                    let declared = BufferDecl { name, element, access, large: true, location };
                    Array::new(builder, buffer(builder, declared))
                }
            }
        )*
    };
}

buffer_args! {
    Read ReadAccess;
    Write WriteAccess;
    ReadWrite ReadWriteAccess;
}

impl<T: Storable> Arg for T {
    type Handle<'k> = Val<'k, T>;

    fn declare<'k>(builder: &'k Builder, name: &str, location: Location) -> Self::Handle<'k> {
        let mut state = builder.state();
        let value = state.param(T::TYPE, name);
        state.kernel.params.push(ParamDecl { name: name.to_owned(), ty: T::TYPE, value, location });
        drop(state);
        Val::new(builder, value)
    }
}

macro_rules! arg_tuples {
    ($count:literal $($name:ident $index:tt)*) => {
        impl<$($name: Arg),*> Args for ($($name,)*) {
            type Names = [&'static str; $count];
            type Handles<'k> = ($($name::Handle<'k>,)*);

            fn declare<'k>(
                builder: &'k Builder,
                names: Self::Names,
                place: &'static RustLocation<'static>,
            ) -> Self::Handles<'k> {
                let location = Location::Rust(place);
                ($($name::declare(builder, names[$index], location),)*)
            }
        }
    };
}

arg_tuples!(1 A 0);
arg_tuples!(2 A 0 B 1);
arg_tuples!(3 A 0 B 1 C 2);
arg_tuples!(4 A 0 B 1 C 2 D 3);
arg_tuples!(5 A 0 B 1 C 2 D 3 E 4);
arg_tuples!(6 A 0 B 1 C 2 D 3 E 4 F 5);
arg_tuples!(7 A 0 B 1 C 2 D 3 E 4 F 5 G 6);
arg_tuples!(8 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7);
arg_tuples!(9 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8);
arg_tuples!(10 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9);
arg_tuples!(11 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10);
arg_tuples!(12 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11);
