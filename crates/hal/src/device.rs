//! The traits of an open device, its buffers and its executables.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use fulgurite_ir::VerifiedKernel;
use fulgurite_spec::Code;
use fulgurite_spec::cache::{CacheOrigin, CacheOutcome};
use fulgurite_spec::device::DeviceSnapshot;

use crate::cache_report::{CacheReport, Invalidated};
use crate::error::Error;
use crate::launch::Launch;
use crate::options::CompileOptions;
use crate::steps::{GraphStep, Recording};

/// The size of the host's staging chunk where a device cannot copy by itself.
const CHUNK: usize = 1 << 20;

/// An open device, which compiles and runs verified kernels. New methods will always have defaults.
pub trait Device: Send + Sync {
    /// Returns the facts of the device. Its `backend` field is the backend's id.
    fn snapshot(&self) -> &DeviceSnapshot;

    /// Allocates a buffer of `bytes` bytes, all zero.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`](crate::DeviceError::OutOfMemory), or
    /// [`Error::Unsupported`] over the device's limit.
    fn allocate(&self, bytes: u64) -> Result<Arc<dyn DeviceBuffer>, Error>;

    /// Compiles `kernel`.
    ///
    /// The caller has compared what the kernel needs with the [snapshot](Self::snapshot), by [`Error::check_needs`]; the
    /// engine does it for every kernel. A backend need not.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for what the backend lacks and its snapshot cannot state, [`Error::Device`] if the driver
    /// fails.
    fn compile(
        &self,
        kernel: Arc<VerifiedKernel>,
        options: &CompileOptions,
    ) -> Result<Arc<dyn Executable>, Error>;

    /// Returns the id that the executable of `kernel` would have, without asking a driver to compile it: a driver may crash
    /// on it. The default is `None`, for a backend that knows the id only after it has compiled.
    ///
    /// # Errors
    /// As [`compile`](Self::compile), for errors that are known before the driver is asked.
    fn executable_id(
        &self,
        kernel: &Arc<VerifiedKernel>,
        options: &CompileOptions,
    ) -> Result<Option<String>, Error> {
        let _ = (kernel, options);
        Ok(None)
    }

    /// Records a graph's steps in a form that the device replays as a whole. The default is `None`, for a backend without
    /// recordings: the steps then run one by one.
    ///
    /// # Errors
    /// An error of the driver.
    fn record(&self, steps: &[GraphStep]) -> Result<Option<Box<dyn Recording>>, Error> {
        let _ = steps;
        Ok(None)
    }

    /// Returns the messages so far of a layer that validates the backend's own use of its device; `None`, the default, if
    /// there is no such layer or it was not asked for.
    fn complaints(&self) -> Option<Vec<String>> {
        None
    }

    /// Reports on the backend's cache of compiled kernels. The default is the report of a backend without one. The engine
    /// adds the audit.
    fn cache_report(&self) -> CacheReport {
        CacheReport::default()
    }

    /// Makes the cache's entries for later processes durable. The default does nothing.
    ///
    /// # Errors
    /// `FG1007` if some entry cannot be made durable.
    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Removes the cache's entries of `kernel`, in memory and for later processes, and everything made from them. The
    /// default does nothing.
    ///
    /// # Errors
    /// `FG1001` or `FG1003` if the cache may not be written. A failure of one entry is part of the result.
    fn invalidate(&self, kernel: &VerifiedKernel) -> Result<Invalidated, Error> {
        let _ = kernel;
        Ok(Invalidated::default())
    }
}

/// Memory of one backend's device.
///
/// Reads and writes are ordered after every launch that was made before them.
pub trait DeviceBuffer: Any + Send + Sync {
    /// Returns the size in bytes.
    fn bytes(&self) -> u64;

    /// Copies `data` to the bytes from `offset`.
    ///
    /// # Errors
    /// `FG0503` if it does not fit, or a device error.
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error>;

    /// Copies the bytes from `offset` into `out`.
    ///
    /// # Errors
    /// `FG0503` if the buffer does not hold as many, or a device error.
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error>;

    /// Fills the bytes `range` with `pattern`.
    ///
    /// # Errors
    /// As [`write`](Self::write), and `FG0503` unless the range is a whole number of patterns: see [`check_fill`].
    fn fill(&self, range: Range<u64>, pattern: &[u8]) -> Result<(), Error> {
        fill_by_writing(self, range, pattern)
    }

    /// Copies the bytes `from` of `source`, a buffer of the same device, to the bytes from `offset`.
    ///
    /// # Errors
    /// As [`write`](Self::write), `FG0503` for a range that is not within its buffer, and `FG0504` if both
    /// ranges overlap: see [`check_copy`].
    fn copy(&self, offset: u64, source: &dyn DeviceBuffer, from: Range<u64>) -> Result<(), Error> {
        check_copy(self, offset, source, &from)?;
        let mut chunk = vec![0; CHUNK.min((from.end - from.start) as usize)];
        let mut at = from.start;
        while at < from.end {
            let bytes = (from.end - at).min(chunk.len() as u64);
            let chunk = &mut chunk[..bytes as usize];
            source.read(at, chunk)?;
            self.write(offset + (at - from.start), chunk)?;
            at += bytes;
        }
        Ok(())
    }
}

/// Refuses a fill that is not within the buffer or not a whole number of patterns.
///
/// # Errors
/// `FG0503`.
pub fn check_fill(
    buffer: &(impl DeviceBuffer + ?Sized),
    range: &Range<u64>,
    pattern: &[u8],
) -> Result<(), Error> {
    check_within(buffer.bytes(), range)?;
    check_pattern(range.end - range.start, pattern)
}

/// Refuses a copy outside either buffer, or between overlapping ranges of one.
///
/// # Errors
/// `FG0503`, `FG0504`.
pub fn check_copy(
    to: &(impl DeviceBuffer + ?Sized),
    offset: u64,
    source: &dyn DeviceBuffer,
    from: &Range<u64>,
) -> Result<(), Error> {
    check_within(source.bytes(), from)?;
    let into = offset..offset.saturating_add(from.end - from.start);
    check_within(to.bytes(), &into)?;
    let is_same = core::ptr::addr_eq(core::ptr::from_ref(to), core::ptr::from_ref(source));
    if is_same && into.start < from.end && from.start < into.end {
        let message = format!("a copy of bytes {from:?} of a buffer to its bytes {into:?}");
        return Err(Error::invalid(Code::BufferOverlap, message));
    }
    Ok(())
}

/// Refuses a fill of `bytes` bytes that is not a whole number of patterns.
///
/// # Errors
/// `FG0503`.
pub fn check_pattern(bytes: u64, pattern: &[u8]) -> Result<(), Error> {
    if !pattern.is_empty() && bytes.is_multiple_of(pattern.len() as u64) {
        return Ok(());
    }
    let message = format!("{bytes} bytes are no whole number of patterns of {} bytes", pattern.len());
    Err(Error::invalid(Code::BufferSize, message))
}

fn check_within(bytes: u64, range: &Range<u64>) -> Result<(), Error> {
    if range.start <= range.end && range.end <= bytes {
        return Ok(());
    }
    let message = format!("there are no bytes {range:?} in a buffer of {bytes}");
    Err(Error::invalid(Code::BufferSize, message))
}

/// Fills by writes from the host, as the default of [`DeviceBuffer::fill`] does: for backends that can fill faster with some
/// patterns only.
///
/// # Errors
/// As [`DeviceBuffer::write`].
pub fn fill_by_writing(
    buffer: &(impl DeviceBuffer + ?Sized),
    range: Range<u64>,
    pattern: &[u8],
) -> Result<(), Error> {
    check_fill(buffer, &range, pattern)?;
    let chunk = pattern.repeat((CHUNK / pattern.len()).max(1));
    let mut at = range.start;
    while at < range.end {
        let bytes = (range.end - at).min(chunk.len() as u64);
        buffer.write(at, &chunk[..bytes as usize])?;
        at += bytes;
    }
    Ok(())
}

/// A compiled kernel of one backend.
pub trait Executable: Any + Send + Sync {
    /// Returns the kernel that was compiled.
    fn kernel(&self) -> &Arc<VerifiedKernel>;

    /// Returns the id: it starts with the backend's id and a colon, and is unique to what was compiled.
    fn id(&self) -> &str;

    /// Returns a digest of the lowered kernel and of how it is compiled, in hexadecimal: equal where both are. The default is
    /// `None`, for a backend that lowers nothing.
    fn artifact_digest(&self) -> Option<String> {
        None
    }

    /// Returns where the executable came from when it was compiled. The default says that no cache was asked.
    fn cache_outcome(&self) -> CacheOutcome {
        CacheOutcome::None
    }

    /// Returns the outcome with further details. The default has the outcome alone.
    fn cache_origin(&self) -> CacheOrigin {
        CacheOrigin::new(self.cache_outcome())
    }

    /// Runs the kernel and waits for it.
    ///
    /// The launch was checked against the kernel and the limits of the backend's snapshot; buffers of another
    /// backend are an error here. Launches and copies from several threads that use one buffer run one after the other if any
    /// of them writes it.
    ///
    /// # Errors
    /// [`Error::Device`] or `FG0506`. After an error the written buffers' contents are unspecified.
    fn launch(&self, launch: &Launch) -> Result<LaunchReport, Error>;

    /// Submits the kernel to the device's queue, behind all earlier work, without waiting for it. The default is `None`, for
    /// a device without a queue: [`launch`](Self::launch) is then called in its turn.
    ///
    /// # Errors
    /// As [`launch`](Self::launch).
    fn submit(self: Arc<Self>, launch: &Launch) -> Result<Option<Box<dyn Work>>, Error> {
        let _ = launch;
        Ok(None)
    }
}

/// A launch in a device's queue. It ends by itself; dropping it waits for the end.
pub trait Work: Send {
    /// Waits for the end, at most as long as the launch's timeout allows.
    ///
    /// # Errors
    /// As [`Executable::launch`].
    fn finish(self: Box<Self>) -> Result<LaunchReport, Error>;
}

/// A backend without a compile step. [`interpret`] makes a [`Device`] of it, whose executables call it once for each
/// launch.
pub trait Interpreter: Send + Sync + 'static {
    /// Returns the facts of the device: see [`Device::snapshot`].
    fn snapshot(&self) -> &DeviceSnapshot;

    /// Allocates a buffer: see [`Device::allocate`].
    ///
    /// # Errors
    /// As [`Device::allocate`].
    fn allocate(&self, bytes: u64) -> Result<Arc<dyn DeviceBuffer>, Error>;

    /// Refuses a kernel that the interpreter cannot run. Kernels that need what the snapshot lacks do not reach it: see
    /// [`Device::compile`].
    ///
    /// # Errors
    /// [`Error::Unsupported`].
    fn admit(&self, kernel: &VerifiedKernel) -> Result<(), Error> {
        let _ = kernel;
        Ok(())
    }

    /// Runs `kernel` and waits for it: see [`Executable::launch`].
    ///
    /// # Errors
    /// As [`Executable::launch`].
    fn dispatch(&self, kernel: &Arc<VerifiedKernel>, launch: &Launch) -> Result<LaunchReport, Error>;
}

/// Returns `interpreter` as a device.
pub fn interpret(interpreter: impl Interpreter) -> Arc<dyn Device> {
    Arc::new(Interpreted(Arc::new(interpreter)))
}

struct Interpreted<I>(Arc<I>);

impl<I: Interpreter> Device for Interpreted<I> {
    fn snapshot(&self) -> &DeviceSnapshot {
        self.0.snapshot()
    }

    fn allocate(&self, bytes: u64) -> Result<Arc<dyn DeviceBuffer>, Error> {
        self.0.allocate(bytes)
    }

    fn compile(
        &self,
        kernel: Arc<VerifiedKernel>,
        _options: &CompileOptions,
    ) -> Result<Arc<dyn Executable>, Error> {
        let id = self.id(&kernel)?;
        Ok(Arc::new(OneCall { interpreter: Arc::clone(&self.0), kernel, id }))
    }

    fn executable_id(
        &self,
        kernel: &Arc<VerifiedKernel>,
        _options: &CompileOptions,
    ) -> Result<Option<String>, Error> {
        self.id(kernel).map(Some)
    }
}

impl<I: Interpreter> Interpreted<I> {
    fn id(&self, kernel: &VerifiedKernel) -> Result<String, Error> {
        self.0.admit(kernel)?;
        Ok(format!("{}:{}", self.0.snapshot().backend, kernel.digest()))
    }
}

struct OneCall<I> {
    interpreter: Arc<I>,
    kernel: Arc<VerifiedKernel>,
    id: String,
}

impl<I: Interpreter> Executable for OneCall<I> {
    fn kernel(&self) -> &Arc<VerifiedKernel> {
        &self.kernel
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn launch(&self, launch: &Launch) -> Result<LaunchReport, Error> {
        self.interpreter.dispatch(&self.kernel, launch)
    }
}

/// The report of a launch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaunchReport {
    /// Time on the device, if the launch asked for it and the backend can measure it.
    pub device_time: Option<Duration>,
}

impl LaunchReport {
    /// Returns a report with the time on the device.
    pub fn timed(device_time: Duration) -> Self {
        Self { device_time: Some(device_time) }
    }

    /// Returns the time on the device.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it was not measured.
    pub fn measured(&self) -> Result<Duration, Error> {
        self.device_time.ok_or_else(|| Error::unsupported("time measured on the device", "no clock"))
    }
}
