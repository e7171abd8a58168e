//! Buffers: plain bytes behind a lock.

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
    /// A buffer of zeros.
    pub(crate) fn zeroed(length: u64) -> Result<Self, Error> {
        let out_of_memory = || DeviceError::OutOfMemory { bytes: length };
        let size = usize::try_from(length).map_err(|_| out_of_memory())?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).map_err(|_| out_of_memory())?;
        bytes.resize(size, 0);
        Ok(Self { length, bytes: Mutex::new(bytes) })
    }

    /// The bytes. A panic elsewhere while they were locked leaves bytes all the same.
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The range of `length` bytes from `offset` on, if a buffer of `size` bytes has it.
fn range(offset: u64, length: usize, size: usize) -> Result<Range<usize>, Error> {
    usize::try_from(offset)
        .ok()
        .and_then(|start| Some(start..start.checked_add(length)?))
        .filter(|range| range.end <= size)
        .ok_or_else(|| {
            let message = format!("{length} bytes from {offset} on do not fit a buffer of {size} bytes");
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
    /// Which guard a binding has, and which of its bytes; bindings may share one.
    parts: Vec<(usize, Range<usize>)>,
}

impl<'a> Bound<'a> {
    /// Locks `buffers`, in an order that all launches share so that no two wait for each other.
    pub(crate) fn lock(bindings: &'a [Binding]) -> Result<Self, Error> {
        let mut own: Vec<&'a HostBuffer> = Vec::with_capacity(bindings.len());
        for binding in bindings {
            let any: &dyn Any = binding.buffer().as_ref();
            let Some(buffer) = any.downcast_ref() else {
                let message = "a buffer of another backend was bound to a launch on `reference`";
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
        // Buffers are no larger than the host's memory.
        let bytes = bindings.iter().map(|b| b.range().start as usize..b.range().end as usize);
        Ok(Self { guards, parts: positions.into_iter().zip(bytes).collect() })
    }

    /// The bytes of a binding.
    pub(crate) fn get(&self, binding: usize) -> &[u8] {
        let (guard, bytes) = &self.parts[binding];
        &self.guards[*guard][bytes.clone()]
    }

    /// The bytes of a binding, to be changed.
    pub(crate) fn get_mut(&mut self, binding: usize) -> &mut [u8] {
        let (guard, bytes) = &self.parts[binding];
        &mut self.guards[*guard][bytes.clone()]
    }
}
