//! Backends and the devices that they find: [`Backend`] → [`Adapter`] → [`Device`].

use std::fmt;
use std::sync::Arc;

use fulgurite_spec::device::DeviceSnapshot;

use crate::device::Device;
use crate::error::Error;
use crate::open_options::OpenOptions;

/// An API through which devices are found, such as Vulkan. A registry of backends finds and opens devices of all of them.
///
/// Implementations may live in any crate. One that always has the same device is a [`SingleDevice`].
pub trait Backend: Send + Sync {
    /// Returns the id, the [`backend`](DeviceSnapshot::backend) of its devices' snapshots.
    fn id(&self) -> &str;

    /// Returns the highest rank that an adapter of this backend may have. Where the best device is wanted, a backend is not
    /// asked for adapters if a device of that rank or a higher one opens.
    fn rank(&self) -> u32;

    /// Lists the devices on this machine without opening one, in an order that is the same each time. Of `options` a
    /// backend uses those that concern how it looks for devices.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if there is no driver or no device.
    fn adapters(&self, options: &OpenOptions) -> Result<Vec<Box<dyn Adapter>>, Error>;
}

/// A device that can be opened.
pub trait Adapter: Send + Sync {
    /// Returns the facts that are known before it is opened.
    fn info(&self) -> &AdapterInfo;

    /// Opens the device. Each call opens it anew.
    ///
    /// # Errors
    /// [`Error::Unavailable`], or another error that kept it from starting.
    fn open(&self, options: &OpenOptions) -> Result<Arc<dyn Device>, Error>;
}

/// The id of an adapter: the backend's id, and for a backend of several devices a colon and what tells them apart. It is the
/// same in each process as long as machine and drivers stay the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AdapterId(String);

impl AdapterId {
    /// Returns the id with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the id of the adapter's backend.
    pub fn backend(&self) -> &str {
        self.0.split_once(':').map_or(self.as_str(), |(backend, _)| backend)
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AdapterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The kind of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum AdapterKind {
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU that shares the host's memory.
    Integrated,
    /// A GPU, or a part of one, that a virtual machine is given.
    Virtual,
    /// The CPU, by compiled code.
    Cpu,
    /// An interpreter on the CPU.
    Interpreter,
    /// Anything else.
    Other,
}

impl AdapterKind {
    /// Returns the name: `discrete`, `integrated`, `virtual`, `cpu`, `interpreter` or `other`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Cpu => "cpu",
            Self::Interpreter => "interpreter",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The facts about a device before it is opened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AdapterInfo {
    /// The id.
    pub id: AdapterId,
    /// The kind.
    pub kind: AdapterKind,
    /// The rank: where the caller states no choice, the device of the highest rank that opens is used. Of equal ranks, the
    /// backend that was registered first, and the adapter that it lists first, comes first.
    pub rank: u32,
    /// The bytes of the device's own memory; `None` if it uses the host's, or that is not known.
    pub memory_bytes: Option<u64>,
    /// Name, driver, capabilities and limits as the driver declares them. It has every capability that the open device may
    /// have: routing passes over a device whose declaration lacks one. Opening may find faults, and withdraw some.
    pub declared: DeviceSnapshot,
    /// The reason why the device cannot be opened, if that is known.
    pub unsuitable: Option<String>,
    /// The reason why the device is used only if it is named: options or the environment select another one of the backend.
    pub deselected: Option<String>,
}

impl AdapterInfo {
    /// Returns the facts of the only device of its backend.
    pub fn new(kind: AdapterKind, rank: u32, declared: DeviceSnapshot) -> Self {
        let id = AdapterId::new(declared.backend.clone());
        Self { id, kind, rank, memory_bytes: None, declared, unsuitable: None, deselected: None }
    }

    /// Sets the part of the id behind the colon, which tells the device apart from others of its backend.
    #[must_use]
    pub fn distinct(mut self, suffix: impl fmt::Display) -> Self {
        self.id = AdapterId::new(format!("{}:{suffix}", self.declared.backend));
        self
    }

    /// Sets the bytes of the device's own memory.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.memory_bytes = Some(bytes);
        self
    }

    /// Sets the reason why the device cannot be opened.
    #[must_use]
    pub fn unsuitable(mut self, reason: impl Into<String>) -> Self {
        self.unsuitable = Some(reason.into());
        self
    }

    /// Sets the reason why the device is used only if it is named.
    #[must_use]
    pub fn deselected(mut self, reason: impl Into<String>) -> Self {
        self.deselected = Some(reason.into());
        self
    }
}

type Open = dyn Fn(&OpenOptions) -> Result<Arc<dyn Device>, Error> + Send + Sync;

/// A backend of one device.
///
/// ```
/// use fulgurite_hal::{AdapterInfo, AdapterKind, Backend, Error, OpenOptions, SingleDevice};
/// use fulgurite_spec::device::DeviceSnapshot;
///
/// let snapshot = DeviceSnapshot::new("example", "a device", "1.0");
/// let info = AdapterInfo::new(AdapterKind::Other, 10, snapshot);
/// let backend = SingleDevice::new(info, |_| Err(Error::unavailable("example", "it is switched off")));
/// let adapters = backend.adapters(&OpenOptions::new())?;
/// assert_eq!(adapters[0].info().id.as_str(), "example");
/// assert!(adapters[0].open(&OpenOptions::new()).is_err());
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct SingleDevice {
    info: AdapterInfo,
    open: Arc<Open>,
}

impl SingleDevice {
    /// Returns the backend of the device that `open` opens.
    pub fn new(
        info: AdapterInfo,
        open: impl Fn(&OpenOptions) -> Result<Arc<dyn Device>, Error> + Send + Sync + 'static,
    ) -> Self {
        Self { info, open: Arc::new(open) }
    }
}

impl Backend for SingleDevice {
    fn id(&self) -> &str {
        &self.info.declared.backend
    }

    fn rank(&self) -> u32 {
        self.info.rank
    }

    fn adapters(&self, _options: &OpenOptions) -> Result<Vec<Box<dyn Adapter>>, Error> {
        Ok(vec![Box::new(self.clone())])
    }
}

impl Adapter for SingleDevice {
    fn info(&self) -> &AdapterInfo {
        &self.info
    }

    fn open(&self, options: &OpenOptions) -> Result<Arc<dyn Device>, Error> {
        (self.open)(options)
    }
}
