//! Launch arguments, checked against the kernel at compile time.

use fulgurite_ir::builder::{Large, Read, ReadWrite, ValueType, Write};
use fulgurite_runtime as runtime;
use fulgurite_spec::eval::{self, Components};

use crate::buffer::{Buffer, BufferView, BufferViewMut, Element};

/// Arguments in the engine's form.
#[derive(Default)]
pub struct Bound {
    pub(crate) buffers: Vec<runtime::BufferView>,
    pub(crate) params: Vec<Components>,
}

impl Bound {
    pub(crate) fn new<A>(args: impl LaunchArgs<A>) -> Self {
        let mut bound = Self::default();
        args.bind(&mut bound);
        bound
    }
}

/// Returns the components of a value.
pub(crate) fn components<T: Element>(value: &T) -> Components {
    eval::read_bytes(bytemuck::bytes_of(value), <T as ValueType>::TYPE)
}

/// A value that can be passed for the kernel's argument `A`.
///
/// | argument | passed as |
/// |---|---|
/// | [`Read<T>`](Read) | `&Buffer<T>`, `BufferView<T>`, `&BufferView<T>`, `&BufferViewMut<T>` |
/// | [`Write<T>`](Write), [`ReadWrite<T>`](ReadWrite) | `&mut Buffer<T>`, `BufferViewMut<T>`, `&mut BufferViewMut<T>` |
/// | [`Large`] of one | the same |
/// | a parameter `T` | a value |
/// | a struct of parameters ([`KernelParams`](crate::KernelParams)) | the struct |
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed for the kernel's argument `{A}`",
    label = "not what the kernel's argument `{A}` takes",
    note = "pass `&Buffer<T>` for `Read<T>`, `&mut Buffer<T>` for `Write<T>` and `ReadWrite<T>`, views of them, and parameters by value"
)]
pub trait LaunchArg<A> {
    /// Binds the argument after those bound so far.
    #[doc(hidden)]
    fn bind(self, bound: &mut Bound);
}

#[diagnostic::do_not_recommend]
impl<T: Element> LaunchArg<T> for T {
    fn bind(self, bound: &mut Bound) {
        bound.params.push(components(&self));
    }
}

macro_rules! passed {
    ($($view:ident: $($argument:ident)* { $($passed:ty),* })*) => {
        $(passed!(@ $view ($($argument)*) { $($passed),* });)*
    };
    (@ $view:ident ($($argument:ident)*) $passed:tt) => {
        $(
            passed!(@@ $view [$argument<T>] $passed);
            passed!(@@ $view [Large<$argument<T>>] $passed);
        )*
    };
    (@@ $view:ident [$argument:ty] { $($passed:ty),* }) => {
        $(
            #[diagnostic::do_not_recommend]
            impl<T: Element> LaunchArg<$argument> for $passed {
                fn bind(self, bound: &mut Bound) {
                    bound.buffers.push($view::from(self).into_raw());
                }
            }
        )*
    };
}

passed! {
    BufferView: Read { &Buffer<T>, BufferView<'_, T>, &BufferView<'_, T>, &BufferViewMut<'_, T> }
    BufferViewMut: Write ReadWrite { &mut Buffer<T>, BufferViewMut<'_, T>, &mut BufferViewMut<'_, T> }
}

/// A value that can be passed for the arguments `A` of a kernel: a tuple of as many [`LaunchArg`]s.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed for the kernel's arguments `{A}`",
    label = "not what the kernel's arguments `{A}` take",
    note = "pass a tuple with one value for each argument: `(&x, &mut y, 2.0)`"
)]
pub trait LaunchArgs<A> {
    /// Binds the arguments in order.
    #[doc(hidden)]
    fn bind(self, bound: &mut Bound);
}

macro_rules! launch_tuples {
    ($($argument:ident $passed:ident $value:ident),*) => {
        impl<$($argument,)* $($passed: LaunchArg<$argument>),*> LaunchArgs<($($argument,)*)> for ($($passed,)*) {
            fn bind(self, bound: &mut Bound) {
                let ($($value,)*) = self;
                $($value.bind(bound);)*
            }
        }
    };
}

launch_tuples!(A PA a);
launch_tuples!(A PA a, B PB b);
launch_tuples!(A PA a, B PB b, C PC c);
launch_tuples!(A PA a, B PB b, C PC c, D PD d);
launch_tuples!(A PA a, B PB b, C PC c, D PD d, E PE e);
launch_tuples!(A PA a, B PB b, C PC c, D PD d, E PE e, F PF f);
launch_tuples!(A PA a, B PB b, C PC c, D PD d, E PE e, F PF f, G PG g);
launch_tuples!(A PA a, B PB b, C PC c, D PD d, E PE e, F PF f, G PG g, H PH h);
launch_tuples!(A PA a, B PB b, C PC c, D PD d, E PE e, F PF f, G PG g, H PH h, I PI i);
launch_tuples!(A PA a, B PB b, C PC c, D PD d, E PE e, F PF f, G PG g, H PH h, I PI i, J PJ j);
launch_tuples!(A PA a, B PB b, C PC c, D PD d, E PE e, F PF f, G PG g, H PH h, I PI i, J PJ j, K PK k);
launch_tuples!(
    A PA a, B PB b, C PC c, D PD d, E PE e, F PF f, G PG g, H PH h, I PI i, J PJ j, K PK k, L PL l
);
