//! Launch arguments, checked against the kernel: by the compiler where they are a tuple, else at the launch.

use fulgurite_hal::Error;
use fulgurite_ir::Kernel;
use fulgurite_ir::builder::{Large, Read, ReadWrite, ValueType, Write};
use fulgurite_runtime as runtime;
use fulgurite_spec::Type;
use fulgurite_spec::eval::{self, Components};

use crate::buffer::{Buffer, BufferView, BufferViewMut, Element};
use crate::dynamic::{DynArg, check_param_bytes, check_type};

/// Arguments in the engine's form.
#[derive(Default)]
pub struct Bound {
    pub(crate) buffers: Vec<runtime::BufferView>,
    pub(crate) params: Vec<Components>,
    /// The types of arguments that the compiler has not checked.
    given: Option<Given>,
}

/// The types of the buffers' elements and of the parameters, as they were given.
#[derive(Default)]
struct Given {
    elements: Vec<Type>,
    params: Vec<Type>,
    /// The first argument that is invalid for any kernel.
    wrong: Option<Error>,
}

impl Bound {
    /// Binds arguments whose types the compiler has checked.
    pub(crate) fn new<A>(args: impl LaunchArgs<A>) -> Self {
        let mut bound = Self::default();
        args.bind(&mut bound);
        bound
    }

    /// Binds arguments of `kernel`, and checks the types that the compiler has not. Their number is the engine's to check.
    pub(crate) fn checked<A>(args: impl LaunchArgs<A>, kernel: &Kernel) -> Result<Self, Error> {
        let mut bound = Self::new(args);
        let Some(given) = bound.given.take() else { return Ok(bound) };
        if let Some(wrong) = given.wrong {
            return Err(wrong);
        }
        let counts = (given.elements.len(), given.params.len());
        if counts != (kernel.buffers.len(), kernel.params.len()) {
            // One is missing or too many, so the others need not be those that stand at their place.
            return Ok(bound);
        }
        for (declared, element) in kernel.buffers.iter().zip(given.elements) {
            check_type(&declared.name, declared.element, element)?;
        }
        for (declared, ty) in kernel.params.iter().zip(given.params) {
            check_type(&declared.name, declared.ty, ty)?;
        }
        Ok(bound)
    }

    /// Binds dynamic arguments after those bound so far.
    fn extend(&mut self, args: &[DynArg<'_>]) {
        let given = self.given.get_or_insert_default();
        for arg in args {
            match arg {
                DynArg::Buffer(buffer) => {
                    given.elements.push(buffer.element());
                    self.buffers.push(buffer.raw().clone());
                }
                DynArg::Param(ty, bytes) => match check_param_bytes(*ty, bytes) {
                    Ok(()) => {
                        given.params.push(*ty);
                        self.params.push(eval::read_bytes(bytes, *ty));
                    }
                    Err(error) => given.wrong = given.wrong.take().or(Some(error)),
                },
            }
        }
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

/// A value that can be passed for the arguments `A` of a kernel: a tuple of as many [`LaunchArg`]s, or for a
/// [`DynExecutable`](crate::DynExecutable) a slice of [`DynArg`]s.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed for the kernel's arguments `{A}`",
    label = "not what the kernel's arguments `{A}` take",
    note = "pass a tuple with one value for each argument: `(&x, &mut y, 2.0)`; for a `DynExecutable` a slice: `&[DynArg::Buffer(&x)]`"
)]
pub trait LaunchArgs<A> {
    /// Binds the arguments in order.
    #[doc(hidden)]
    fn bind(self, bound: &mut Bound);
}

/// Stands for the arguments of a kernel that are checked at each launch.
#[derive(Clone, Copy, Debug)]
pub enum Dynamic {}

impl LaunchArgs<Dynamic> for &[DynArg<'_>] {
    fn bind(self, bound: &mut Bound) {
        bound.extend(self);
    }
}

impl<const N: usize> LaunchArgs<Dynamic> for &[DynArg<'_>; N] {
    fn bind(self, bound: &mut Bound) {
        bound.extend(self);
    }
}

impl LaunchArgs<Dynamic> for &Vec<DynArg<'_>> {
    fn bind(self, bound: &mut Bound) {
        bound.extend(self);
    }
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
