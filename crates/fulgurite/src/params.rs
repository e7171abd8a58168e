//! Structs of kernel parameters.

use fulgurite_ir::builder::{Arg, Builder, Val, ValueType};
use fulgurite_spec::eval::Components;
use fulgurite_spec::{Location, Type};

use crate::args::{Bound, components};
use crate::buffer::Element;

/// A struct whose fields are parameters of a kernel, in order. It is derived, never implemented by hand.
///
/// As an argument of a kernel it gives the kernel's body a struct of values, named after it with the suffix `Values`;
/// a launch takes the struct itself, and a [`Call`](crate::Call) takes it by [`params`](crate::Call::params). In the
/// kernel's text the parameters are named after the argument and the field: `%p.scale`.
///
/// ```
/// use fulgurite::prelude::*;
///
/// #[derive(Clone, Copy, KernelParams)]
/// struct Line {
///     scale: f32,
///     offset: f32,
/// }
///
/// let line = kernel::<(Read<f32>, Write<f32>, Line)>("line", ["x", "y", "p"], [64, 1, 1], |k, (x, y, p)| {
///     let i = k.global_id().x();
///     y.store(i, p.scale * x.load(i) + p.offset);
/// })?;
/// let ctx = Context::open()?;
/// let exe = ctx.compile(&line)?;
/// let (x, mut y) = (ctx.buffer(&[1.0f32, 2.0])?, ctx.zeroed(2)?);
/// exe.launch((&x, &mut y, Line { scale: 10.0, offset: 0.5 }))?;
/// assert_eq!(y.read()?, [10.5, 20.5]);
///
/// let p = Line { scale: 2.0, offset: 1.0 };
/// let mut outputs = exe.call().input(&[3.0f32]).output::<f32>(1).params(p).run()?;
/// assert_eq!(outputs.take::<f32>(0)?, [7.0]);
/// # Ok::<(), Error>(())
/// ```
pub trait KernelParams: Arg + Copy {
    /// Passes each field.
    #[doc(hidden)]
    fn pass(self, to: &mut ParamList);
}

/// A type of a parameter field.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a kernel's parameter cannot be of type `{Self}`",
    label = "not the type of a parameter",
    note = "fields are numbers such as `f32` and `u32`, and vectors of them such as `[f32; 4]`"
)]
pub trait ParamField: Sized {
    /// Declares a parameter of this type.
    fn declare<'k>(builder: &'k Builder, name: &str, location: Location) -> Val<'k, Self>;

    /// Appends its value to those of the struct.
    fn pass(self, to: &mut ParamList);
}

#[diagnostic::do_not_recommend]
impl<T: Element> ParamField for T {
    fn declare<'k>(builder: &'k Builder, name: &str, location: Location) -> Val<'k, Self> {
        <T as Arg>::declare(builder, name, location)
    }

    fn pass(self, to: &mut ParamList) {
        to.0.push((<T as ValueType>::TYPE, components(&self)));
    }
}

/// The values of a struct's fields with their types.
#[doc(hidden)]
#[derive(Default)]
pub struct ParamList(pub(crate) Vec<(Type, Components)>);

impl ParamList {
    pub(crate) fn of(params: impl KernelParams) -> Self {
        let mut list = Self::default();
        params.pass(&mut list);
        list
    }
}

impl Bound {
    /// Passes a struct of parameters.
    #[doc(hidden)]
    pub fn pass(&mut self, params: impl KernelParams) {
        self.params.extend(ParamList::of(params).0.into_iter().map(|(_, value)| value));
    }
}
