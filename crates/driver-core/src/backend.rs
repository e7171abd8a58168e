//! The traits that a backend implements.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use fulgurite_ir::VerifiedKernel;
use fulgurite_spec::device::DeviceSnapshot;

use crate::error::Error;
use crate::launch::Launch;
use crate::options::CompileOptions;

/// A device that compiles and runs verified kernels.
///
/// Implementations may live anywhere: register one with [`Registry::register`](crate::Registry::register).
/// New methods will always have defaults.
pub trait Backend: Send + Sync {
    /// What is known of the device. Its `backend` field is the backend's id.
    fn snapshot(&self) -> &DeviceSnapshot;

    /// A buffer of `bytes` bytes, all zero.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`](crate::DeviceError::OutOfMemory), or
    /// [`Error::Unsupported`] over the device's limit.
    fn allocate(&self, bytes: u64) -> Result<Arc<dyn DeviceBuffer>, Error>;

    /// Compiles `kernel`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the device lacks what the kernel needs, [`Error::Device`] if the driver fails.
    fn compile(
        &self,
        kernel: Arc<VerifiedKernel>,
        options: &CompileOptions,
    ) -> Result<Arc<dyn Executable>, Error>;
}

/// Memory of one backend's device.
///
/// Reads and writes are ordered after every launch that was made before them.
pub trait DeviceBuffer: Any + Send + Sync {
    /// Its size.
    fn bytes(&self) -> u64;

    /// Copies `data` to byte `offset` on.
    ///
    /// # Errors
    /// `FG0503` if it does not fit, or a device error.
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error>;

    /// Copies bytes from `offset` on into `out`.
    ///
    /// # Errors
    /// `FG0503` if the buffer does not hold that much, or a device error.
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error>;
}

/// A compiled kernel of one backend.
pub trait Executable: Send + Sync {
    /// The kernel that was compiled.
    fn kernel(&self) -> &Arc<VerifiedKernel>;

    /// Starts with the backend's id and a colon, and is unique to what was compiled.
    fn id(&self) -> &str;

    /// Runs the kernel and waits for it.
    ///
    /// The launch was checked against the kernel and the limits of the backend's snapshot; buffers of another
    /// backend are an error here.
    ///
    /// # Errors
    /// [`Error::Device`] or `FG0506`. After an error the written buffers' contents are unspecified.
    fn launch(&self, launch: &Launch) -> Result<LaunchReport, Error>;
}

/// What a launch did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaunchReport {
    /// Time on the device, where the backend can measure it.
    pub device_time: Option<Duration>,
}

impl LaunchReport {
    /// A report that gives the time on the device.
    pub fn timed(device_time: Duration) -> Self {
        Self { device_time: Some(device_time) }
    }
}
