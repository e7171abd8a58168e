//! Ranges of device buffers, as launches bind and copies and fills use them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use fulgurite_spec::Code;

use crate::device::DeviceBuffer;
use crate::error::Error;

/// A range of bytes of a device buffer. Cheap to clone; keeps the buffer alive.
#[derive(Clone)]
pub struct Binding {
    buffer: Arc<dyn DeviceBuffer>,
    offset: u64,
    bytes: u64,
}

impl Binding {
    /// Returns the whole of a buffer.
    pub fn whole(buffer: &Arc<dyn DeviceBuffer>) -> Self {
        Self { buffer: Arc::clone(buffer), offset: 0, bytes: buffer.bytes() }
    }

    /// Returns the whole of each buffer.
    pub fn each(buffers: &[Arc<dyn DeviceBuffer>]) -> Vec<Self> {
        buffers.iter().map(Self::whole).collect()
    }

    /// Returns the `bytes` bytes of this range from its byte `offset`.
    ///
    /// # Errors
    /// `FG0503` if they are not within the range.
    pub fn part(&self, offset: u64, bytes: u64) -> Result<Self, Error> {
        let end = offset.checked_add(bytes).filter(|end| *end <= self.bytes);
        if end.is_none() {
            let message = format!("{bytes} bytes from {offset} on do not fit {} bytes", self.bytes);
            return Err(Error::invalid(Code::BufferSize, message));
        }
        Ok(Self { buffer: Arc::clone(&self.buffer), offset: self.offset + offset, bytes })
    }

    /// Returns the buffer.
    pub fn buffer(&self) -> &Arc<dyn DeviceBuffer> {
        &self.buffer
    }

    /// Returns where the range begins in the buffer, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the size of the range in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the range as offsets into the buffer.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.bytes
    }

    /// Returns whether both ranges have a byte of one buffer in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (a, b) = (self.range(), other.range());
        Arc::ptr_eq(&self.buffer, &other.buffer) && a.start.max(b.start) < a.end.min(b.end)
    }

    /// Refuses a copy of this range to `to` if the sizes differ or the ranges overlap.
    ///
    /// # Errors
    /// `FG0503`, `FG0504`.
    pub fn check_copy_to(&self, to: &Self) -> Result<(), Error> {
        if self.bytes != to.bytes {
            let message = format!("a copy of {} bytes to {}", self.bytes, to.bytes);
            return Err(Error::invalid(Code::BufferSize, message));
        }
        if self.overlaps(to) {
            let message = format!("a copy of {self:?} to {to:?}, the same one");
            return Err(Error::invalid(Code::BufferOverlap, message));
        }
        Ok(())
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {:?} of a buffer of {}", self.range(), self.buffer.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A buffer of a stated size that nobody touches. It is not zero-sized in Rust, so that no two share an address.
    struct Nowhere(u64);

    impl DeviceBuffer for Nowhere {
        fn bytes(&self) -> u64 {
            self.0
        }
        fn write(&self, _: u64, _: &[u8]) -> Result<(), Error> {
            Ok(())
        }
        fn read(&self, _: u64, _: &mut [u8]) -> Result<(), Error> {
            Ok(())
        }
    }

    #[test]
    fn parts_stay_inside_and_know_what_they_share() {
        let buffers: [Arc<dyn DeviceBuffer>; 2] = [Arc::new(Nowhere(16)), Arc::new(Nowhere(16))];
        let all = Binding::each(&buffers);
        let tail = all[0].part(4, 12).unwrap();
        assert_eq!(tail.part(4, 8).unwrap().range(), 8..16);
        for (offset, bytes) in [(4, 9), (13, 0), (u64::MAX, 2)] {
            assert_eq!(tail.part(offset, bytes).unwrap_err().code(), Code::BufferSize);
        }
        let head = all[0].part(0, 4).unwrap();
        assert!(!head.overlaps(&tail) && tail.overlaps(&all[0]) && !all[0].overlaps(&all[1]));
        assert!(!tail.part(3, 0).unwrap().overlaps(&tail));
    }
}
