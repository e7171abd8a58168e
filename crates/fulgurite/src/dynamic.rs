//! The dynamic form, for kernels whose arguments are not known when the program is compiled: those from text.

use std::fmt;
use std::sync::Arc;

use fulgurite_driver_core::{self as driver, Backend, DeviceBuffer, Error, LaunchOptions, LaunchReport};
use fulgurite_ir::VerifiedKernel;
use fulgurite_spec::eval;
use fulgurite_spec::{Code, Type};

use crate::Element;
use crate::args::Bound;
use crate::buffer::Buffer;
use crate::context::Context;
use crate::kernel::launch_bound;

/// Elements of a type known at run time, in the memory of one context's device.
pub struct DynBuffer {
    raw: Arc<dyn DeviceBuffer>,
    backend: Arc<dyn Backend>,
    element: Type,
}

impl DynBuffer {
    /// The element type.
    pub fn element(&self) -> Type {
        self.element
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        (self.raw.bytes() / u64::from(self.element.size())) as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.raw.bytes() == 0
    }

    /// Copies the elements to the host, as little-endian bytes.
    ///
    /// # Errors
    /// What the device says.
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; self.raw.bytes() as usize];
        self.raw.read(0, &mut bytes)?;
        Ok(bytes)
    }
}

impl fmt::Debug for DynBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DynBuffer({} elements of {})", self.len(), self.element)
    }
}

impl<T: Element> From<Buffer<T>> for DynBuffer {
    fn from(buffer: Buffer<T>) -> Self {
        Self { raw: Arc::clone(buffer.raw()), backend: Arc::clone(buffer.backend()), element: T::TYPE }
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

/// A compiled kernel whose arguments are checked at each launch.
pub struct DynExecutable {
    backend: Arc<dyn Backend>,
    raw: Arc<dyn driver::Executable>,
    options: LaunchOptions,
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
        if !bytes.len().is_multiple_of(element.size() as usize) {
            return Err(Error::invalid(
                Code::BufferSize,
                format!("{} bytes are not a whole number of {element} elements", bytes.len()),
            ));
        }
        let raw = self.backend().allocate(bytes.len() as u64)?;
        raw.write(0, bytes)?;
        Ok(DynBuffer { raw, backend: Arc::clone(self.backend()), element })
    }

    /// Compiles a kernel whose arguments are checked at each launch.
    ///
    /// # Errors
    /// As [`Context::compile`].
    pub fn compile_dynamic(&self, kernel: &Arc<VerifiedKernel>) -> Result<DynExecutable, Error> {
        let (compile, launch) = self.options();
        let raw = self.backend().compile(Arc::clone(kernel), compile)?;
        Ok(DynExecutable { backend: Arc::clone(self.backend()), raw, options: launch.clone() })
    }
}

impl DynExecutable {
    /// Starts with the backend's id and a colon, and is unique to what was compiled.
    pub fn id(&self) -> &str {
        self.raw.id()
    }

    /// Runs the kernel and waits for it. Buffers come first, then parameters, each in order of declaration.
    ///
    /// # Errors
    /// `FG0502` for an argument of the wrong type, and as [`Executable::launch`](crate::Executable::launch).
    pub fn launch_with(&self, options: &LaunchOptions, args: &[DynArg<'_>]) -> Result<LaunchReport, Error> {
        let kernel = self.raw.kernel();
        let mut bound = Bound::new(&self.backend);
        for arg in args {
            let (name, declared, given) = match arg {
                DynArg::Buffer(buffer) => {
                    let declared = kernel.buffers.get(bound.buffers.len());
                    bound.raw_buffer(&buffer.raw, &buffer.backend)?;
                    (declared.map(|b| &b.name), declared.map(|b| b.element), buffer.element)
                }
                DynArg::Param(ty, bytes) => {
                    let declared = kernel.params.get(bound.params.len());
                    if bytes.len() != ty.size() as usize {
                        return Err(Error::invalid(
                            Code::WrongArgumentType,
                            format!("a parameter of {ty} has {} bytes, got {}", ty.size(), bytes.len()),
                        ));
                    }
                    bound.params.push(eval::read_bytes(bytes, *ty));
                    (declared.map(|p| &p.name), declared.map(|p| p.ty), *ty)
                }
            };
            if let (Some(name), Some(declared)) = (name, declared)
                && declared != given
            {
                return Err(Error::invalid(
                    Code::WrongArgumentType,
                    format!("`%{name}` is declared {declared}, got {given}"),
                ));
            }
        }
        launch_bound(&self.backend, &self.raw, &bound, &self.options.merged(options))
    }
}
