//! Buffers in host memory, behind a lock.

use std::any::Any;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fulgurite_hal::{Binding, DeviceBuffer, DeviceError, Error};
use fulgurite_spec::Code;

/// A buffer of this backend.
pub(crate) struct HostBuffer {
    length: u64,
    bytes: Mutex<Vec<u8>>,
}

impl HostBuffer {
    /// Allocates a zeroed buffer.
    pub(crate) fn zeroed(length: u64) -> Result<Self, Error> {
        let out_of_memory = || DeviceError::OutOfMemory { bytes: length };
        let size = usize::try_from(length).map_err(|_| out_of_memory())?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).map_err(|_| out_of_memory())?;
        bytes.resize(size, 0);
        Ok(Self { length, bytes: Mutex::new(bytes) })
    }

    /// Locks the bytes, which remain valid after a panic.
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the range of `length` bytes at `offset`, checked against a buffer of `size` bytes.
fn range(offset: u64, length: usize, size: usize) -> Result<Range<usize>, Error> {
    usize::try_from(offset)
        .ok()
        .and_then(|start| Some(start..start.checked_add(length)?))
        .filter(|range| range.end <= size)
        .ok_or_else(|| {
            let message = format!("{length} bytes at offset {offset} exceed the buffer of {size} bytes");
            Error::invalid(Code::BufferSize, message)
        })
}

impl DeviceBuffer for HostBuffer {
    fn bytes(&self) -> u64 {
        self.length
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let mut bytes = self.lock();
        let range = range(offset, data.len(), bytes.len())?;
        bytes[range].copy_from_slice(data);
        Ok(())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let bytes = self.lock();
        let range = range(offset, out.len(), bytes.len())?;
        out.copy_from_slice(&bytes[range]);
        Ok(())
    }
}

/// The buffers of a launch, locked until it ends.
pub(crate) struct Bound<'a> {
    guards: Vec<MutexGuard<'a, Vec<u8>>>,
    /// The guard and the byte range of each binding; bindings may share a guard.
    parts: Vec<(usize, Range<usize>)>,
}

impl<'a> Bound<'a> {
    /// Locks the buffers in the order of their addresses, so that concurrent launches cannot deadlock.
    pub(crate) fn lock(bindings: &'a [Binding]) -> Result<Self, Error> {
        let mut own: Vec<&'a HostBuffer> = Vec::with_capacity(bindings.len());
        for binding in bindings {
            let any: &dyn Any = binding.buffer().as_ref();
            let Some(buffer) = any.downcast_ref() else {
                let message = "buffer of another backend bound to a launch on `reference`";
                return Err(Error::invalid(Code::ForeignBuffer, message));
            };
            own.push(buffer);
        }
        let mut order: Vec<*const HostBuffer> = own.iter().map(|b| std::ptr::from_ref(*b)).collect();
        order.sort_unstable();
        order.dedup();
        let position = |buffer: &HostBuffer| order.partition_point(|o| *o < std::ptr::from_ref(buffer));
        let positions: Vec<usize> = own.iter().map(|buffer| position(buffer)).collect();
        let guards = (0..order.len())
            .filter_map(|position| positions.iter().position(|p| *p == position))
            .map(|binding| own[binding].lock())
            .collect();
        // Buffers fit in host memory, so the casts are lossless.
        let bytes = bindings.iter().map(|b| b.range().start as usize..b.range().end as usize);
        Ok(Self { guards, parts: positions.into_iter().zip(bytes).collect() })
    }

    /// Returns the bytes of a binding.
    pub(crate) fn get(&self, binding: usize) -> &[u8] {
        let (guard, bytes) = &self.parts[binding];
        &self.guards[*guard][bytes.clone()]
    }

    /// Returns the bytes of a binding mutably.
    pub(crate) fn get_mut(&mut self, binding: usize) -> &mut [u8] {
        let (guard, bytes) = &self.parts[binding];
        &mut self.guards[*guard][bytes.clone()]
    }
}
