//! Buffers with an owner, and views of them.

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
/// Memory is given back when the last handle, view and launch that uses it is gone, or by [`free`](Self::free): handles
/// that are left then give an error and never reach memory that others got since.
#[derive(Clone)]
pub struct Buffer {
    shared: Arc<Shared>,
}

struct Shared {
    device: Device,
    bytes: u64,
    generation: u64,
    /// `None` once freed.
    raw: Mutex<Option<Arc<dyn DeviceBuffer>>>,
}

/// Part of a [`Buffer`]: bytes from an offset on. Cheap to clone.
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

    /// The device whose memory it is.
    pub fn device(&self) -> &Device {
        &self.shared.device
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes
    }

    /// Its number among the buffers of its device, which no other has or gets.
    pub fn generation(&self) -> u64 {
        self.shared.generation
    }

    /// All of it.
    pub fn whole(&self) -> BufferView {
        BufferView { buffer: self.clone(), offset: 0, bytes: self.bytes() }
    }

    /// The bytes `range`.
    ///
    /// # Errors
    /// `FG0503` if it does not have them.
    pub fn view(&self, range: impl RangeBounds<u64>) -> Result<BufferView, Error> {
        self.whole().view(range)
    }

    /// Gives the memory back as soon as no launch uses it. Handles that are left give `FG0509` from now on.
    pub fn free(&self) {
        *lock(&self.shared.raw) = None;
    }

    /// Whether it was freed.
    pub fn is_freed(&self) -> bool {
        lock(&self.shared.raw).is_none()
    }

    /// The backend's buffer.
    pub(crate) fn raw(&self) -> Result<Arc<dyn DeviceBuffer>, Error> {
        lock(&self.shared.raw).clone().ok_or_else(|| {
            let message = format!("buffer {} of {} bytes was freed", self.generation(), self.bytes());
            Error::invalid(Code::BufferFreed, message)
        })
    }
}

impl BufferView {
    /// The buffer that it is part of.
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// Where it begins in the buffer, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The bytes `range` of it.
    ///
    /// # Errors
    /// `FG0503` if it does not have them.
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

    /// Copies `data` to it, behind all that was submitted before.
    ///
    /// # Errors
    /// `FG0503` if the sizes differ, `FG0509`, or what the device says.
    pub fn write(&self, data: &[u8]) -> Result<(), Error> {
        self.same_size(data.len())?;
        let _in = tracing::trace_span!("write", bytes = self.bytes).entered();
        let raw = self.settled()?;
        raw.write(self.offset, data)?;
        add(&self.buffer.device().counting().bytes_in, self.bytes);
        Ok(())
    }

    /// Copies it to `out`, behind all that was submitted before.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn read(&self, out: &mut [u8]) -> Result<(), Error> {
        self.same_size(out.len())?;
        let _in = tracing::trace_span!("read", bytes = self.bytes).entered();
        let raw = self.settled()?;
        raw.read(self.offset, out)?;
        add(&self.buffer.device().counting().bytes_out, self.bytes);
        Ok(())
    }

    /// A copy of it.
    ///
    /// # Errors
    /// As [`read`](Self::read), and `FG0601` if the host has no memory for it.
    pub fn to_vec(&self) -> Result<Vec<u8>, Error> {
        let mut out = host_memory(self.bytes)?;
        self.read(&mut out)?;
        Ok(out)
    }

    /// Repeats `pattern` over it, behind all that was submitted before.
    ///
    /// # Errors
    /// `FG0503` if it is no whole number of patterns, `FG0509`, or what the device says.
    pub fn fill(&self, pattern: &[u8]) -> Result<(), Error> {
        check_pattern(self.bytes, pattern)?;
        self.settled()?.fill(self.range(), pattern)
    }

    /// Copies another view of as many bytes to it, behind all that was submitted before.
    ///
    /// # Errors
    /// `FG0503` if the sizes differ, `FG0504` if the two overlap, `FG0506` if the other is of another device, `FG0509`, or
    /// what a device says.
    pub fn copy_from(&self, source: &Self) -> Result<(), Error> {
        let to = self.bind(self.buffer.device())?;
        let from = source.bind(self.buffer.device())?;
        from.check_copy_to(&to)?;
        self.buffer.device().worker().settle()?;
        to.buffer().copy(self.offset, from.buffer().as_ref(), from.range())
    }

    /// What a launch on `device` binds.
    ///
    /// # Errors
    /// `FG0506` if it is of another device, `FG0509` if it was freed.
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

    /// The backend's buffer, once the device has all that was submitted.
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

/// What `bounds` mean of `len` things, if there are as many, or else as they are written in Rust: `3..9`, `..=4`.
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

/// Zeroed bytes of the host.
pub(crate) fn host_memory(bytes: u64) -> Result<Vec<u8>, Error> {
    let mut memory = Vec::new();
    resize(&mut memory, bytes)?;
    Ok(memory)
}

/// Gives `memory` as many bytes, in the allocation that it has if that is large enough.
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
