//! Dynamically typed arguments, for kernels from text and bytes.

use std::fmt;
use std::ops::RangeBounds;
use std::sync::Arc;

use fulgurite_hal::{CompileOptions, Error};
use fulgurite_ir::VerifiedKernel;
use fulgurite_runtime as runtime;
use fulgurite_spec::{Code, Type};

use crate::args::Dynamic;
use crate::buffer::{Buffer, Element};
use crate::context::Context;
use crate::executable::Executable;

/// A buffer with an element type known at run time. Cheap to clone: clones are handles of the same memory. A launch
/// that would write memory which it also uses through another argument is refused (`FG0504`).
#[derive(Clone)]
pub struct DynBuffer {
    bytes: runtime::BufferView,
    element: Type,
}

impl DynBuffer {
    /// Returns the element type.
    pub fn element(&self) -> Type {
        self.element
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        (self.bytes.bytes() / u64::from(self.element.size())) as usize
    }

    /// Returns whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.bytes.bytes() == 0
    }

    /// Copies the elements to the host as little-endian bytes, after every launch made before.
    ///
    /// # Errors
    /// `FG0509` if the memory was freed, or a device error.
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        self.bytes.to_vec()
    }

    /// Replaces the elements with little-endian `bytes`, after every launch made before.
    ///
    /// # Errors
    /// `FG0503` if the sizes differ, and those of [`read`](Self::read).
    pub fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        self.bytes.write(bytes)
    }

    /// Returns a handle of the bytes `range`, which must be whole elements.
    ///
    /// # Errors
    /// `FG0503` if the range exceeds the buffer or is not whole elements.
    pub fn slice_bytes(&self, range: impl RangeBounds<u64>) -> Result<Self, Error> {
        let bytes = self.bytes.view(range)?;
        whole_elements(bytes.bytes(), self.element)?;
        Ok(Self { bytes, element: self.element })
    }

    /// Releases all of the memory as soon as no launch uses it. Remaining handles return `FG0509` from now on.
    pub fn free(&self) {
        self.bytes.buffer().free();
    }

    pub(crate) fn raw(&self) -> &runtime::BufferView {
        &self.bytes
    }
}

impl fmt::Debug for DynBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DynBuffer({} × {} of {:?})", self.len(), self.element, self.bytes.buffer())
    }
}

impl<T: Element> From<Buffer<T>> for DynBuffer {
    fn from(buffer: Buffer<T>) -> Self {
        Self { bytes: buffer.raw().clone(), element: T::TYPE }
    }
}

/// An argument of a dynamic launch.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum DynArg<'a> {
    /// A buffer.
    Buffer(&'a DynBuffer),
    /// A parameter of this type, as little-endian bytes.
    Param(Type, &'a [u8]),
}

impl<'a> DynArg<'a> {
    /// A parameter of a Rust type.
    pub fn param<T: Element>(value: &'a T) -> Self {
        Self::Param(T::TYPE, bytemuck::bytes_of(value))
    }
}

/// A compiled kernel whose arguments are checked at each launch. Cheap to clone.
///
/// Buffers come first, then parameters, each in declaration order.
///
/// ```
/// use fulgurite::{Context, DynArg};
///
/// let text = "fulgurite 1
/// kernel @scale workgroup(64, 1, 1) {
///   buffer %y: read_write f32[]
///   param %a: f32
///   %i = global_id.x
///   %v = load %y[%i]
///   %w = mul %v, %a
///   store %y[%i], %w
/// }
/// ";
/// let ctx = Context::open()?;
/// let exe = ctx.compile_dynamic(&fulgurite::parse(text)?)?;
/// let y = ctx.buffer(&[1.0f32, 2.0])?.into();
/// exe.launch(&[DynArg::Buffer(&y), DynArg::param(&3.0f32)])?;
/// assert_eq!(y.read()?, [3.0f32.to_le_bytes(), 6.0f32.to_le_bytes()].concat());
///
/// let mut outputs = exe.call().in_out(&[1.0f32, 2.0]).param(0.5f32).run()?;
/// assert_eq!(outputs.take::<f32>(0)?, [0.5, 1.0]);
/// # Ok::<(), fulgurite::Error>(())
/// ```
pub type DynExecutable = Executable<Dynamic>;

impl Context {
    /// Allocates a buffer of `element`s with a copy of little-endian `bytes`.
    ///
    /// # Errors
    /// `FG0503` if `bytes` are not whole elements, `FG0210` for an element type that has no memory form, and those of
    /// [`Context::buffer`].
    pub fn dyn_buffer(&self, element: Type, bytes: &[u8]) -> Result<DynBuffer, Error> {
        if !element.is_storable() {
            return Err(Error::invalid(Code::BadElementType, format!("a buffer cannot hold {element}")));
        }
        whole_elements(bytes.len() as u64, element)?;
        Ok(DynBuffer { bytes: self.driver().upload(bytes)?.whole(), element })
    }

    /// Compiles a kernel whose arguments are checked at each launch.
    ///
    /// # Errors
    /// Those of [`Context::compile`].
    pub fn compile_dynamic(&self, kernel: &Arc<VerifiedKernel>) -> Result<DynExecutable, Error> {
        self.compile_dynamic_with(kernel, &CompileOptions::default())
    }

    /// Compiles such a kernel with options, which override the context's field by field.
    ///
    /// # Errors
    /// Those of [`Context::compile`].
    pub fn compile_dynamic_with(
        &self,
        kernel: &Arc<VerifiedKernel>,
        options: &CompileOptions,
    ) -> Result<DynExecutable, Error> {
        Ok(Executable::new(self.driver().compile(kernel, options)?))
    }
}

fn whole_elements(bytes: u64, element: Type) -> Result<(), Error> {
    if bytes.is_multiple_of(u64::from(element.size())) {
        return Ok(());
    }
    let message = format!("{bytes} bytes are not a whole number of {element} elements");
    Err(Error::invalid(Code::BufferSize, message))
}

/// Refuses an argument whose type is not the declared one.
pub(crate) fn check_type(name: &str, declared: Type, given: Type) -> Result<(), Error> {
    if declared == given {
        return Ok(());
    }
    Err(Error::invalid(Code::WrongArgumentType, format!("`%{name}` is declared {declared}, got {given}")))
}

/// Refuses a parameter value of the wrong size.
pub(crate) fn check_param_bytes(ty: Type, bytes: &[u8]) -> Result<(), Error> {
    if bytes.len() == ty.size() as usize {
        return Ok(());
    }
    let message = format!("a parameter of {ty} has {} bytes, got {}", ty.size(), bytes.len());
    Err(Error::invalid(Code::WrongArgumentType, message))
}
