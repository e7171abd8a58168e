//! A context: the backend that a program runs on, chosen once.

use std::fmt;
use std::sync::Arc;

use fulgurite_driver_core::{Backend, Choice, CompileOptions, Error, LaunchOptions, Registry, Route};
use fulgurite_spec::device::DeviceSnapshot;

use crate::args::LaunchArgs;
use crate::buffer::{Buffer, Element};
use crate::kernel::{Executable, Kernel};

/// The backends that this build has, by Cargo feature.
pub fn registry() -> Registry {
    #[allow(unused_mut, reason = "with no backend feature there is nothing to register")]
    let mut registry = Registry::new();
    // Ids are distinct, so registration cannot fail.
    #[cfg(feature = "vulkan")]
    let _ = registry.register(fulgurite_backend_vulkan::registration());
    #[cfg(feature = "cpu")]
    let _ = registry.register(fulgurite_backend_cpu::registration());
    #[cfg(feature = "reference")]
    let _ = registry.register(fulgurite_backend_reference::registration());
    registry
}

/// An open backend: makes buffers, compiles kernels. Cheap to clone; clones share the device.
#[derive(Clone)]
pub struct Context {
    route: Route,
    compile: CompileOptions,
    launch: LaunchOptions,
}

/// Choices made before a context is opened.
#[derive(Default)]
#[must_use = "nothing is opened until `open`"]
pub struct ContextBuilder {
    registry: Option<Registry>,
    choice: Choice,
    compile: CompileOptions,
    launch: LaunchOptions,
}

impl ContextBuilder {
    /// Uses the backend called `id` and no other: `vulkan`, `cpu`, `reference`, or one that was registered.
    pub fn backend(mut self, id: impl Into<String>) -> Self {
        self.choice = Choice::Exactly(id.into());
        self
    }

    /// Chooses among these backends instead of the build's own.
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Compile options for all kernels; a field that a call states wins.
    pub fn compile_options(mut self, options: CompileOptions) -> Self {
        self.compile = options;
        self
    }

    /// Launch options for all launches; a field that a call states wins.
    pub fn launch_options(mut self, options: LaunchOptions) -> Self {
        self.launch = options;
        self
    }

    /// Opens the context.
    ///
    /// # Errors
    /// `FG0401` if there is no such backend, `FG0402` if it cannot start here, `FG0404` if none can.
    pub fn open(self) -> Result<Context, Error> {
        let route = self.registry.unwrap_or_else(registry).route(&self.choice)?;
        Ok(Context { route, compile: self.compile, launch: self.launch })
    }
}

impl Context {
    /// Opens the best backend there is. [`Context::route`] says which and why.
    ///
    /// # Errors
    /// `FG0404` if none can start.
    pub fn open() -> Result<Self, Error> {
        Self::builder().open()
    }

    /// A context with choices of one's own.
    pub fn builder() -> ContextBuilder {
        ContextBuilder::default()
    }

    /// The device in use.
    pub fn device(&self) -> &DeviceSnapshot {
        self.backend().snapshot()
    }

    /// Which backend was chosen, and why each other was not.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// A buffer on the device with a copy of `data`.
    ///
    /// # Errors
    /// Out of memory, or more bytes than the device's buffers hold.
    pub fn buffer<T: Element>(&self, data: &[T]) -> Result<Buffer<T>, Error> {
        let mut buffer = self.zeroed(data.len())?;
        buffer.write(data)?;
        Ok(buffer)
    }

    /// A buffer on the device of `len` elements, all zero.
    ///
    /// # Errors
    /// As [`Context::buffer`].
    pub fn zeroed<T: Element>(&self, len: usize) -> Result<Buffer<T>, Error> {
        Buffer::allocate(self.backend(), len)
    }

    /// Compiles a typed kernel.
    ///
    /// # Errors
    /// `FG0403` if the device lacks what the kernel needs, or what the driver says.
    pub fn compile<A: LaunchArgs>(&self, kernel: &Kernel<A>) -> Result<Executable<A>, Error> {
        self.compile_with(kernel, &CompileOptions::default())
    }

    /// Compiles a typed kernel with options, which win over the context's field by field.
    ///
    /// # Errors
    /// As [`Context::compile`].
    pub fn compile_with<A: LaunchArgs>(
        &self,
        kernel: &Kernel<A>,
        options: &CompileOptions,
    ) -> Result<Executable<A>, Error> {
        let raw = self.backend().compile(Arc::clone(kernel.verified()), &self.compile.merged(options))?;
        Ok(Executable::new(Arc::clone(self.backend()), raw, self.launch.clone()))
    }

    pub(crate) fn backend(&self) -> &Arc<dyn Backend> {
        self.route.backend()
    }

    pub(crate) fn options(&self) -> (&CompileOptions, &LaunchOptions) {
        (&self.compile, &self.launch)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("route", &self.route).finish_non_exhaustive()
    }
}

/// Whether two handles are of one open backend.
pub(crate) fn same_backend(a: &Arc<dyn Backend>, b: &Arc<dyn Backend>) -> bool {
    Arc::as_ptr(a).cast::<()>() == Arc::as_ptr(b).cast::<()>()
}
