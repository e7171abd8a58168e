//! Buffers: 32-bit words that any thread may read and write. Relaxed accesses are plain moves on the supported
//! machines, and make data races between kernels harmless to the rest of the program. Native code accesses the same words by
//! address.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use fulgurite_hal::{DeviceBuffer, DeviceError, Error};
use fulgurite_spec::Code;

use crate::turn::{Turn, Usage};

/// Alignment of the first word of a buffer: that of the widest vectors, whose accesses are slower across a cache line.
const ALIGNMENT: usize = 64;

/// A buffer of this backend.
pub(crate) struct WordBuffer {
    bytes: u64,
    /// The bytes, little-endian, after [`WordBuffer::first`] words. The last word may extend past the end of the buffer.
    words: Vec<AtomicU32>,
    /// The number of words before the first aligned one.
    first: usize,
    turn: Turn,
}

impl WordBuffer {
    /// Creates a buffer of zeros.
    pub(crate) fn zeroed(bytes: u64) -> Result<Self, Error> {
        let out_of_memory = || DeviceError::OutOfMemory { bytes };
        let count = usize::try_from(bytes.div_ceil(4)).map_err(|_| out_of_memory())?;
        let mut words: Vec<AtomicU32> = Vec::new();
        words.try_reserve_exact(count + ALIGNMENT / 4).map_err(|_| out_of_memory())?;
        // The address does not change, because the words fit the reserved memory.
        let first = (words.as_ptr() as usize).wrapping_neg() % ALIGNMENT / 4;
        words.resize_with(first + count, || AtomicU32::new(0));
        Ok(Self { bytes, words, first, turn: Turn::default() })
    }

    /// Returns the lock that orders uses of the buffer.
    pub(crate) fn turn(&self) -> &Turn {
        &self.turn
    }

    /// Returns the words.
    pub(crate) fn words(&self) -> &[AtomicU32] {
        &self.words[self.first..]
    }

    fn check(&self, offset: u64, length: usize) -> Result<usize, Error> {
        let fits = offset.checked_add(length as u64).is_some_and(|end| end <= self.bytes);
        usize::try_from(offset).ok().filter(|_| fits).ok_or_else(|| {
            let message =
                format!("{length} bytes from {offset} on do not fit a buffer of {} bytes", self.bytes);
            Error::invalid(Code::BufferSize, message)
        })
    }
}

/// Splits `length` bytes from byte `offset` on into bytes up to a word boundary, whole words, and the remaining bytes.
/// Returns the sizes of the first two parts in bytes.
fn split(offset: usize, length: usize) -> (usize, usize) {
    let front = (offset.wrapping_neg() % 4).min(length);
    (front, (length - front) / 4 * 4)
}

impl DeviceBuffer for WordBuffer {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let offset = self.check(offset, data.len())?;
        let _turn = self.turn.take(Usage::Write);
        let (front, whole) = split(offset, data.len());
        let (first, rest) = data.split_at(front);
        let (middle, last) = rest.split_at(whole);
        for (at, byte) in (offset..).zip(first).chain((offset + front + whole..).zip(last)) {
            let shift = at % 4 * 8;
            // The other bytes of the word must not change, even if other threads write them.
            let change = |word| Some(word & !(0xff << shift) | u32::from(*byte) << shift);
            let _ = self.words()[at / 4].fetch_update(Relaxed, Relaxed, change);
        }
        for (word, bytes) in self.words()[(offset + front) / 4..].iter().zip(middle.chunks_exact(4)) {
            let mut whole = [0; 4];
            whole.copy_from_slice(bytes);
            word.store(u32::from_le_bytes(whole), Relaxed);
        }
        Ok(())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let offset = self.check(offset, out.len())?;
        let _turn = self.turn.take(Usage::Read);
        let (front, whole) = split(offset, out.len());
        let (first, rest) = out.split_at_mut(front);
        let (middle, last) = rest.split_at_mut(whole);
        for (at, byte) in (offset..).zip(first).chain((offset + front + whole..).zip(last)) {
            *byte = self.words()[at / 4].load(Relaxed).to_le_bytes()[at % 4];
        }
        for (word, bytes) in self.words()[(offset + front) / 4..].iter().zip(middle.chunks_exact_mut(4)) {
            bytes.copy_from_slice(&word.load(Relaxed).to_le_bytes());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_range_is_read_and_written_byte_for_byte() {
        let buffer = WordBuffer::zeroed(19).unwrap();
        let mut model = [0u8; 19];
        let mut next = 1u8;
        for offset in 0..=19usize {
            for length in 0..=19 - offset {
                let data: Vec<u8> = (0..length).map(|i| next.wrapping_add(i as u8)).collect();
                next = next.wrapping_mul(5).wrapping_add(3);
                buffer.write(offset as u64, &data).unwrap();
                model[offset..offset + length].copy_from_slice(&data);
                let mut all = [0; 19];
                buffer.read(0, &mut all).unwrap();
                assert_eq!(all, model);
                let mut part = vec![0; length];
                buffer.read(offset as u64, &mut part).unwrap();
                assert_eq!(part, data);
            }
        }
        assert_eq!(buffer.write(17, &[0; 3]).unwrap_err().code(), Code::BufferSize);
        assert_eq!(buffer.read(u64::MAX, &mut [0; 3]).unwrap_err().code(), Code::BufferSize);
    }
}
