//! The traits that a backend implements.

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

/// Bytes that go through the host at once where a device cannot copy by itself.
const CHUNK: usize = 1 << 20;

/// A device that compiles and runs verified kernels.
///
/// Implementations may live in any crate; a [`Registration`](crate::Registration) makes one known to a registry.
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

    /// The id that the executable of `kernel` would have, without asking a driver to compile it: a driver may crash on it.
    /// Default: `None`, of a backend that knows it only when it has compiled.
    ///
    /// # Errors
    /// As [`compile`](Self::compile), for what is known before the driver is asked.
    fn executable_id(
        &self,
        kernel: &Arc<VerifiedKernel>,
        options: &CompileOptions,
    ) -> Result<Option<String>, Error> {
        let _ = (kernel, options);
        Ok(None)
    }

    /// A form of a graph's steps that the device replays as a whole: `None` from a backend that has none. Then the steps
    /// are done one by one.
    ///
    /// # Errors
    /// What the driver says.
    fn record(&self, steps: &[GraphStep]) -> Result<Option<Box<dyn Recording>>, Error> {
        let _ = steps;
        Ok(None)
    }

    /// What a layer that checks how the backend uses its device has complained of so far; `None` if there is no such layer, or it
    /// was not asked for. Default: none.
    fn complaints(&self) -> Option<Vec<String>> {
        None
    }

    /// What its cache of compiled kernels did so far. Default: it keeps none. The engine adds the audit.
    fn cache_report(&self) -> CacheReport {
        CacheReport::default()
    }

    /// Makes durable what its cache of compiled kernels keeps for later processes. Default: it keeps nothing.
    ///
    /// # Errors
    /// `FG1007` if some of it cannot be made durable.
    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Removes what its cache keeps of `kernel`, in memory and for later processes, with what was made from that. Default:
    /// it keeps nothing.
    ///
    /// # Errors
    /// `FG1001` or `FG1003` if the cache may not be written. What is wrong with one entry is in the answer.
    fn invalidate(&self, kernel: &VerifiedKernel) -> Result<Invalidated, Error> {
        let _ = kernel;
        Ok(Invalidated::default())
    }
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

    /// Repeats `pattern` over the bytes `range`.
    ///
    /// # Errors
    /// As [`write`](Self::write), and `FG0503` unless the range is a whole number of patterns: see [`check_fill`].
    fn fill(&self, range: Range<u64>, pattern: &[u8]) -> Result<(), Error> {
        fill_by_writing(self, range, pattern)
    }

    /// Copies the bytes `from` of `source`, a buffer of the same device, to byte `offset` on.
    ///
    /// # Errors
    /// As [`write`](Self::write), `FG0503` for a range that is not within its buffer, and `FG0504` if both have bytes in
    /// common: see [`check_copy`].
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

/// Refuses a fill that is not of a whole number of patterns within the buffer.
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

/// Refuses a copy of bytes that either buffer does not have, or of bytes onto themselves.
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

/// What [`DeviceBuffer::fill`] does by itself: for backends that have something better for some patterns only.
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
    /// The kernel that was compiled.
    fn kernel(&self) -> &Arc<VerifiedKernel>;

    /// Starts with the backend's id and a colon, and is unique to what was compiled.
    fn id(&self) -> &str;

    /// A digest of what the kernel was lowered to and of how that is compiled, in hexadecimal: equal where both are. Default:
    /// none, of a backend that lowers nothing.
    fn artifact_digest(&self) -> Option<String> {
        None
    }

    /// Where it came from when it was compiled. Default: no cache was asked.
    fn cache_outcome(&self) -> CacheOutcome {
        CacheOutcome::None
    }

    /// The same with what else is known of it. Default: the outcome alone.
    fn cache_origin(&self) -> CacheOrigin {
        CacheOrigin::new(self.cache_outcome())
    }

    /// Runs the kernel and waits for it.
    ///
    /// The launch was checked against the kernel and the limits of the backend's snapshot; buffers of another
    /// backend are an error here. Of several threads' launches and copies that use one buffer, one comes after the other if
    /// any writes it.
    ///
    /// # Errors
    /// [`Error::Device`] or `FG0506`. After an error the written buffers' contents are unspecified.
    fn launch(&self, launch: &Launch) -> Result<LaunchReport, Error>;

    /// Begins the kernel and does not wait for it, behind all that was begun or done on the device before: `None` from
    /// a backend whose device has no queue. Then [`launch`](Self::launch) is called in its turn.
    ///
    /// # Errors
    /// As [`launch`](Self::launch).
    fn submit(self: Arc<Self>, launch: &Launch) -> Result<Option<Box<dyn Work>>, Error> {
        let _ = launch;
        Ok(None)
    }
}

/// A launch that a device's queue has. It ends without anyone's help; dropped unfinished, it is waited for.
pub trait Work: Send {
    /// Waits for the end, no longer than the launch's timeout allows.
    ///
    /// # Errors
    /// As [`Executable::launch`].
    fn finish(self: Box<Self>) -> Result<LaunchReport, Error>;
}

/// A backend that runs kernels as they are, without a compile step. [`interpret`] makes a [`Backend`] of it, whose
/// executables call it once for each launch.
pub trait Interpreter: Send + Sync + 'static {
    /// As [`Backend::snapshot`].
    fn snapshot(&self) -> &DeviceSnapshot;

    /// As [`Backend::allocate`].
    ///
    /// # Errors
    /// As [`Backend::allocate`].
    fn allocate(&self, bytes: u64) -> Result<Arc<dyn DeviceBuffer>, Error>;

    /// Refuses a kernel that the interpreter cannot run. Kernels that need what the snapshot lacks do not reach it: see
    /// [`Backend::compile`].
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

/// The backend that `interpreter` is.
pub fn interpret(interpreter: impl Interpreter) -> Arc<dyn Backend> {
    Arc::new(Interpreted(Arc::new(interpreter)))
}

struct Interpreted<I>(Arc<I>);

impl<I: Interpreter> Backend for Interpreted<I> {
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

/// What a launch did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaunchReport {
    /// Time on the device, where the launch was to be timed and the backend can.
    pub device_time: Option<Duration>,
}

impl LaunchReport {
    /// A report that gives the time on the device.
    pub fn timed(device_time: Duration) -> Self {
        Self { device_time: Some(device_time) }
    }

    /// The time on the device.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it was not measured.
    pub fn measured(&self) -> Result<Duration, Error> {
        self.device_time.ok_or_else(|| Error::unsupported("time measured on the device", "no clock"))
    }
}
