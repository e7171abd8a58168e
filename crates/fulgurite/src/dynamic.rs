//! The dynamic form, for kernels whose arguments are not known when the program is compiled: those from text and bytes.

use std::fmt;
use std::ops::RangeBounds;
use std::sync::Arc;
use std::time::Duration;

use fulgurite_driver_core::{self as driver, Manifest, Pending, Program};
use fulgurite_hal::{CompileOptions, Error, LaunchOptions, LaunchReport};
use fulgurite_ir::VerifiedKernel;
use fulgurite_spec::eval;
use fulgurite_spec::{Code, Type};

use crate::args::Bound;
use crate::buffer::{Buffer, Element};
use crate::call::{self, Call, OutputVec, Outputs};
use crate::context::Context;

/// Elements of a type known at run time, in the memory of one context's device. Cheap to clone: clones are handles of the
/// same memory, and a launch that would write what it also uses elsewhere is refused (`FG0504`).
#[derive(Clone)]
pub struct DynBuffer {
    bytes: driver::BufferView,
    element: Type,
}

impl DynBuffer {
    /// The element type.
    pub fn element(&self) -> Type {
        self.element
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        (self.bytes.bytes() / u64::from(self.element.size())) as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.bytes() == 0
    }

    /// Copies the elements to the host, as little-endian bytes, behind every launch made before.
    ///
    /// # Errors
    /// `FG0509` if the memory was freed, or what the device says.
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        self.bytes.to_vec()
    }

    /// Replaces the elements with those of `bytes`, little-endian, behind every launch made before.
    ///
    /// # Errors
    /// `FG0503` if the sizes differ, and as [`read`](Self::read).
    pub fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        self.bytes.write(bytes)
    }

    /// A handle of the bytes `range` of it, which must hold whole elements.
    ///
    /// # Errors
    /// `FG0503` if it does not have them or they are not whole elements.
    pub fn slice_bytes(&self, range: impl RangeBounds<u64>) -> Result<Self, Error> {
        let bytes = self.bytes.view(range)?;
        whole_elements(bytes.bytes(), self.element)?;
        Ok(Self { bytes, element: self.element })
    }

    /// Gives the memory back, all of it, as soon as no launch uses it. Handles that are left give `FG0509` from now on.
    pub fn free(&self) {
        self.bytes.buffer().free();
    }

    pub(crate) fn raw(&self) -> &driver::BufferView {
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
/// Buffers come first, then parameters, each in order of declaration.
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
#[derive(Clone)]
pub struct DynExecutable {
    program: Program,
}

impl Context {
    /// A buffer of `element`s on the device with a copy of `bytes`, little-endian.
    ///
    /// # Errors
    /// `FG0503` if `bytes` are not whole elements, `FG0210` for an element that has no memory form, and as
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
    /// As [`Context::compile`].
    pub fn compile_dynamic(&self, kernel: &Arc<VerifiedKernel>) -> Result<DynExecutable, Error> {
        self.compile_dynamic_with(kernel, &CompileOptions::default())
    }

    /// Compiles such a kernel with options, which win over the context's field by field.
    ///
    /// # Errors
    /// As [`Context::compile`].
    pub fn compile_dynamic_with(
        &self,
        kernel: &Arc<VerifiedKernel>,
        options: &CompileOptions,
    ) -> Result<DynExecutable, Error> {
        Ok(DynExecutable { program: self.driver().compile(kernel, options)? })
    }
}

fn whole_elements(bytes: u64, element: Type) -> Result<(), Error> {
    if bytes.is_multiple_of(u64::from(element.size())) {
        return Ok(());
    }
    let message = format!("{bytes} bytes are not a whole number of {element} elements");
    Err(Error::invalid(Code::BufferSize, message))
}

/// Refuses something of a type for an argument that is declared with another.
pub(crate) fn check_type(name: &str, declared: Type, given: Type) -> Result<(), Error> {
    if declared == given {
        return Ok(());
    }
    Err(Error::invalid(Code::WrongArgumentType, format!("`%{name}` is declared {declared}, got {given}")))
}

/// Refuses another number of bytes than a parameter has.
pub(crate) fn check_param_bytes(ty: Type, bytes: &[u8]) -> Result<(), Error> {
    if bytes.len() == ty.size() as usize {
        return Ok(());
    }
    let message = format!("a parameter of {ty} has {} bytes, got {}", ty.size(), bytes.len());
    Err(Error::invalid(Code::WrongArgumentType, message))
}

impl DynExecutable {
    /// Runs the kernel on its default grid ([`LaunchOptions::grid`]), one invocation for each element of the first buffer that it
    /// writes, and waits for it.
    ///
    /// # Errors
    /// `FG0502` for an argument of the wrong type, and as [`Executable::launch`](crate::Executable::launch).
    pub fn launch(&self, args: &[DynArg<'_>]) -> Result<LaunchReport, Error> {
        self.launch_with(&LaunchOptions::default(), args)
    }

    /// As [`launch`](Self::launch), with options, which win over the executable's and the context's field by field.
    ///
    /// # Errors
    /// As [`launch`](Self::launch).
    pub fn launch_with(&self, options: &LaunchOptions, args: &[DynArg<'_>]) -> Result<LaunchReport, Error> {
        let bound = self.bind(args)?;
        self.program.launch(&bound.buffers, &bound.params, options)
    }

    /// Begins the kernel and does not wait for it. Whatever is done with its buffers next comes behind it.
    ///
    /// # Errors
    /// As [`launch`](Self::launch), for what is known before it begins.
    pub fn submit(&self, args: &[DynArg<'_>]) -> Result<Pending<LaunchReport>, Error> {
        let bound = self.bind(args)?;
        self.program.submit(&bound.buffers, &bound.params, &LaunchOptions::default())
    }

    /// Runs the kernel, waits for it, and gives the time that it took on the device.
    ///
    /// # Errors
    /// As [`launch`](Self::launch), and [`Error::Unsupported`] from a backend that does not measure.
    pub fn timed(&self, args: &[DynArg<'_>]) -> Result<Duration, Error> {
        self.launch_with(&LaunchOptions::default().timed(true), args)?.measured()
    }

    /// The executable with options for its launches, which win over those that it has, field by field.
    #[must_use]
    pub fn with_options(&self, options: &LaunchOptions) -> Self {
        Self { program: self.program.clone().with_options(options) }
    }

    /// A call on slices of the host: see [`Call`].
    pub fn call<'a>(&self) -> Call<'a> {
        Call::new(&self.program)
    }

    /// Runs several calls: see [`Executable::batch`](crate::Executable::batch).
    ///
    /// # Errors
    /// As [`Executable::batch`](crate::Executable::batch).
    pub fn batch<'a>(&self, calls: impl IntoIterator<Item = Call<'a>>) -> Result<Vec<Outputs>, Error> {
        call::batch(&self.program, calls)
    }

    /// Runs several calls into vectors that are there: see [`Executable::batch_into`](crate::Executable::batch_into).
    ///
    /// # Errors
    /// As [`Executable::batch_into`](crate::Executable::batch_into).
    pub fn batch_into<'a>(
        &self,
        calls: impl IntoIterator<Item = Call<'a>>,
        outputs: &mut [&mut dyn OutputVec],
    ) -> Result<Vec<LaunchReport>, Error> {
        call::batch_into(&self.program, calls, outputs)
    }

    /// Starts with the backend's id and a colon, and is unique to what was compiled.
    pub fn id(&self) -> &str {
        self.program.id()
    }

    /// What identifies it, as data.
    pub fn manifest(&self) -> &Manifest {
        self.program.manifest()
    }

    /// The kernel: its buffers and parameters, by name and type.
    pub fn kernel(&self) -> &Arc<VerifiedKernel> {
        self.program.kernel()
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    /// Arguments as the driver takes them; their types are checked, not how many there are.
    pub(crate) fn bind(&self, args: &[DynArg<'_>]) -> Result<Bound, Error> {
        let kernel = self.program.kernel();
        let mut bound = Bound::default();
        for arg in args {
            match arg {
                DynArg::Buffer(buffer) => {
                    if let Some(declared) = kernel.buffers.get(bound.buffers.len()) {
                        check_type(&declared.name, declared.element, buffer.element)?;
                    }
                    bound.buffers.push(buffer.bytes.clone());
                }
                DynArg::Param(ty, bytes) => {
                    check_param_bytes(*ty, bytes)?;
                    if let Some(declared) = kernel.params.get(bound.params.len()) {
                        check_type(&declared.name, declared.ty, *ty)?;
                    }
                    bound.params.push(eval::read_bytes(bytes, *ty));
                }
            }
        }
        Ok(bound)
    }
}

impl fmt::Debug for DynExecutable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DynExecutable").field(&self.id()).finish()
    }
}
