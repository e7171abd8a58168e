//! Owned buffers and views of them.

use std::fmt;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use fulgurite_hal::{Binding, DeviceBuffer, DeviceError, Error, check_pattern};
use fulgurite_spec::Code;

use crate::counters::add;
use crate::device::Device;
use crate::sync::{Mutex, lock};

/// Memory of one device. Cheap to clone; clones are handles of the same memory.
///
/// The memory is released when the last handle, view and launch that uses it is gone, or by [`free`](Self::free):
/// remaining handles then return errors and never reach memory that was allocated since.
#[derive(Clone)]
pub struct Buffer {
    shared: Arc<Shared>,
}

struct Shared {
    device: Device,
    bytes: u64,
    generation: u64,
    /// The memory; `None` once freed.
    raw: Mutex<Option<Arc<dyn DeviceBuffer>>>,
}

/// A byte range of a [`Buffer`]. Cheap to clone.
#[derive(Clone)]
pub struct BufferView {
    buffer: Buffer,
    offset: u64,
    bytes: u64,
}

impl Buffer {
    pub(crate) fn new(device: Device, raw: Arc<dyn DeviceBuffer>, generation: u64) -> Self {
        let shared = Shared { device, bytes: raw.bytes(), generation, raw: Mutex::new(Some(raw)) };
        Self { shared: Arc::new(shared) }
    }

    /// Returns the device of the memory.
    pub fn device(&self) -> &Device {
        &self.shared.device
    }

    /// Returns the size in bytes.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes
    }

    /// Returns the number of the buffer, unique on its device and never reused.
    pub fn generation(&self) -> u64 {
        self.shared.generation
    }

    /// Returns a view of the whole buffer.
    pub fn whole(&self) -> BufferView {
        BufferView { buffer: self.clone(), offset: 0, bytes: self.bytes() }
    }

    /// Returns a view of the bytes `range`.
    ///
    /// # Errors
    /// `FG0503` if the range exceeds the buffer.
    pub fn view(&self, range: impl RangeBounds<u64>) -> Result<BufferView, Error> {
        self.whole().view(range)
    }

    /// Releases the memory as soon as no launch uses it. Remaining handles return `FG0509` from now on.
    pub fn free(&self) {
        *lock(&self.shared.raw) = None;
    }

    /// Returns whether the buffer was freed.
    pub fn is_freed(&self) -> bool {
        lock(&self.shared.raw).is_none()
    }

    /// Returns the backend's buffer.
    pub(crate) fn raw(&self) -> Result<Arc<dyn DeviceBuffer>, Error> {
        lock(&self.shared.raw).clone().ok_or_else(|| {
            let message = format!("buffer {} of {} bytes was freed", self.generation(), self.bytes());
            Error::invalid(Code::BufferFreed, message)
        })
    }
}

impl BufferView {
    /// Returns the buffer of the view.
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// Returns the offset in the buffer, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns a view of the bytes `range` of this view.
    ///
    /// # Errors
    /// `FG0503` if the range exceeds the view.
    pub fn view(&self, range: impl RangeBounds<u64>) -> Result<Self, Error> {
        match range_within((range.start_bound().cloned(), range.end_bound().cloned()), self.bytes) {
            Ok(Range { start, end }) => {
                Ok(Self { buffer: self.buffer.clone(), offset: self.offset + start, bytes: end - start })
            }
            Err(written) => {
                let message = format!("bytes `{written}` are not within {} bytes", self.bytes);
                Err(Error::invalid(Code::BufferSize, message))
            }
        }
    }

    /// Copies `data` to the view, after everything submitted before.
    ///
    /// # Errors
    /// `FG0503` if the sizes differ, `FG0509` if freed, or a device error.
    pub fn write(&self, data: &[u8]) -> Result<(), Error> {
        self.same_size(data.len())?;
        let _in = tracing::trace_span!("write", bytes = self.bytes).entered();
        let raw = self.settled()?;
        raw.write(self.offset, data)?;
        add(&self.buffer.device().counting().bytes_in, self.bytes);
        Ok(())
    }

    /// Copies the view to `out`, after everything submitted before.
    ///
    /// # Errors
    /// Those of [`write`](Self::write).
    pub fn read(&self, out: &mut [u8]) -> Result<(), Error> {
        self.same_size(out.len())?;
        let _in = tracing::trace_span!("read", bytes = self.bytes).entered();
        let raw = self.settled()?;
        raw.read(self.offset, out)?;
        add(&self.buffer.device().counting().bytes_out, self.bytes);
        Ok(())
    }

    /// Returns a copy of the view.
    ///
    /// # Errors
    /// Those of [`read`](Self::read), and `FG0601` if the host has no memory for it.
    pub fn to_vec(&self) -> Result<Vec<u8>, Error> {
        let mut out = host_memory(self.bytes)?;
        self.read(&mut out)?;
        Ok(out)
    }

    /// Fills the view with `pattern`, repeated, after everything submitted before.
    ///
    /// # Errors
    /// `FG0503` if the view is not a whole number of patterns, `FG0509` if freed, or a device error.
    pub fn fill(&self, pattern: &[u8]) -> Result<(), Error> {
        check_pattern(self.bytes, pattern)?;
        self.settled()?.fill(self.range(), pattern)
    }

    /// Copies another view of equal size to this one, after everything submitted before.
    ///
    /// # Errors
    /// `FG0503` if the sizes differ, `FG0504` if the views overlap, `FG0506` if the source is of another device,
    /// `FG0509` if freed, or a device error.
    pub fn copy_from(&self, source: &Self) -> Result<(), Error> {
        let to = self.bind(self.buffer.device())?;
        let from = source.bind(self.buffer.device())?;
        from.check_copy_to(&to)?;
        self.buffer.device().worker().settle()?;
        to.buffer().copy(self.offset, from.buffer().as_ref(), from.range())
    }

    /// Returns the binding for a launch on `device`.
    ///
    /// # Errors
    /// `FG0506` if the view is of another device, `FG0509` if it was freed.
    pub(crate) fn bind(&self, device: &Device) -> Result<Binding, Error> {
        if !self.buffer.device().is_same(device) {
            let message = format!("{self:?} is of another device than {device:?}");
            return Err(Error::invalid(Code::ForeignBuffer, message));
        }
        Binding::whole(&self.buffer.raw()?).part(self.offset, self.bytes)
    }

    fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.bytes
    }

    /// Returns the backend's buffer after the device has received everything submitted.
    fn settled(&self) -> Result<Arc<dyn DeviceBuffer>, Error> {
        let raw = self.buffer.raw()?;
        self.buffer.device().worker().settle()?;
        Ok(raw)
    }

    fn same_size(&self, host: usize) -> Result<(), Error> {
        if host as u64 == self.bytes {
            return Ok(());
        }
        let message = format!("{self:?} was given {host} bytes of the host");
        Err(Error::invalid(Code::BufferSize, message))
    }
}

/// Resolves `bounds` against `len` elements, or returns the range in Rust's notation (`3..9`, `..=4`) if it exceeds
/// them.
#[doc(hidden)]
pub fn range_within(bounds: (Bound<u64>, Bound<u64>), len: u64) -> Result<Range<u64>, String> {
    let begin = match bounds.0 {
        Bound::Included(begin) => Some(begin),
        Bound::Excluded(before) => before.checked_add(1),
        Bound::Unbounded => Some(0),
    };
    let end = match bounds.1 {
        Bound::Included(last) => last.checked_add(1),
        Bound::Excluded(end) => Some(end),
        Bound::Unbounded => Some(len),
    };
    match (begin, end) {
        (Some(begin), Some(end)) if begin <= end && end <= len => Ok(begin..end),
        _ => Err(written(bounds)),
    }
}

fn written(bounds: (Bound<u64>, Bound<u64>)) -> String {
    let begin = match bounds.0 {
        Bound::Included(begin) => begin.to_string(),
        Bound::Excluded(before) => format!("{before} (excluded)"),
        Bound::Unbounded => String::new(),
    };
    match bounds.1 {
        Bound::Included(last) => format!("{begin}..={last}"),
        Bound::Excluded(end) => format!("{begin}..{end}"),
        Bound::Unbounded => format!("{begin}.."),
    }
}

/// Returns zeroed bytes of the host.
pub(crate) fn host_memory(bytes: u64) -> Result<Vec<u8>, Error> {
    let mut memory = Vec::new();
    resize(&mut memory, bytes)?;
    Ok(memory)
}

/// Resizes `memory`, reusing its allocation if large enough.
pub(crate) fn resize(memory: &mut Vec<u8>, bytes: u64) -> Result<(), Error> {
    let out_of_memory = || DeviceError::OutOfMemory { bytes };
    let length = usize::try_from(bytes).map_err(|_| out_of_memory())?;
    memory.try_reserve_exact(length.saturating_sub(memory.len())).map_err(|_| out_of_memory())?;
    memory.resize(length, 0);
    Ok(())
}

impl From<&Buffer> for BufferView {
    fn from(buffer: &Buffer) -> Self {
        buffer.whole()
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backend = &self.device().snapshot().backend;
        write!(f, "buffer {} of {} bytes on `{backend}`", self.generation(), self.bytes())
    }
}

impl fmt::Debug for BufferView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {:?} of {:?}", self.range(), self.buffer)
    }
}
