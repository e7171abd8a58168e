//! Copies by a backend of ours, plain Rust on host memory, and raw Vulkan.

mod raw;

use anyhow::ensure;
use fulgurite_runtime::Buffer;
use rayon::prelude::*;

use crate::target::Target;

/// Copies between the host and two device buffers of equal size, which each implementor provides.
pub trait Copier {
    /// Copies the host's memory to the first buffer.
    ///
    /// # Errors
    /// The device's error.
    fn upload(&mut self) -> anyhow::Result<()>;
    /// Copies the first buffer to the second.
    ///
    /// # Errors
    /// The device's error.
    fn copy(&mut self) -> anyhow::Result<()>;
    /// Copies the second buffer to the host's memory.
    ///
    /// # Errors
    /// The device's error.
    fn download(&mut self) -> anyhow::Result<()>;
    /// Returns the host's memory.
    fn host(&mut self) -> &mut [u8];
}

/// Checks that the downloaded bytes are those that were uploaded.
///
/// # Errors
/// An error if they are not.
pub fn check(copier: &mut dyn Copier) -> anyhow::Result<()> {
    let byte = |i: usize| (i.wrapping_mul(0x9e37_79b1) >> 13) as u8;
    copier.host().iter_mut().enumerate().for_each(|(i, at)| *at = byte(i));
    copier.upload()?;
    copier.copy()?;
    copier.host().fill(0);
    copier.download()?;
    ensure!(copier.host().iter().enumerate().all(|(i, at)| *at == byte(i)), "other bytes come back");
    Ok(())
}

/// Returns the copier that uses a backend of ours.
///
/// # Errors
/// The device's error.
pub fn ours(target: &Target, bytes: usize) -> anyhow::Result<Box<dyn Copier>> {
    let buffers = [target.device.zeroed(bytes as u64)?, target.device.zeroed(bytes as u64)?];
    Ok(Box::new(Ours { buffers, host: vec![0; bytes] }))
}

/// Returns the peer of the backend, with its names for uploads and downloads, and for copies.
///
/// # Errors
/// The error of the peer's device.
pub fn peer(target: &Target, bytes: usize) -> anyhow::Result<([&'static str; 2], Box<dyn Copier>)> {
    if target.id == "vulkan" {
        let raw = raw::RawCopier::open(&target.backend.snapshot().device, bytes)?;
        return Ok((["ash"; 2], Box::new(raw)));
    }
    let memory = [(); 3].map(|()| vec![0; bytes]);
    Ok((["memcpy", "memcpy, all threads"], Box::new(Memory(memory))))
}

struct Ours {
    buffers: [Buffer; 2],
    host: Vec<u8>,
}

impl Copier for Ours {
    fn upload(&mut self) -> anyhow::Result<()> {
        Ok(self.buffers[0].whole().write(&self.host)?)
    }

    fn copy(&mut self) -> anyhow::Result<()> {
        Ok(self.buffers[1].whole().copy_from(&self.buffers[0].whole())?)
    }

    fn download(&mut self) -> anyhow::Result<()> {
        Ok(self.buffers[1].whole().read(&mut self.host)?)
    }

    fn host(&mut self) -> &mut [u8] {
        &mut self.host
    }
}

/// Two buffers and the host's memory.
struct Memory([Vec<u8>; 3]);

impl Copier for Memory {
    fn upload(&mut self) -> anyhow::Result<()> {
        let [first, _, host] = &mut self.0;
        first.copy_from_slice(std::hint::black_box(host));
        Ok(())
    }

    fn copy(&mut self) -> anyhow::Result<()> {
        let [first, second, _] = &mut self.0;
        let part = first.len().div_ceil(rayon::current_num_threads()).max(1);
        let parts = second.par_chunks_mut(part).zip(first.par_chunks(part));
        parts.for_each(|(to, from)| to.copy_from_slice(std::hint::black_box(from)));
        Ok(())
    }

    fn download(&mut self) -> anyhow::Result<()> {
        let [_, second, host] = &mut self.0;
        host.copy_from_slice(std::hint::black_box(second));
        Ok(())
    }

    fn host(&mut self) -> &mut [u8] {
        &mut self.0[2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back() {
        check(&mut Memory([(); 3].map(|()| vec![0; 1000]))).unwrap();
        let target = Target::open(&fulgurite::registry(), "cpu").unwrap();
        check(ours(&target, 1000).unwrap().as_mut()).unwrap();
    }

    #[test]
    fn bytes_that_do_not_come_back_are_found() {
        struct Forgetful(Vec<u8>);
        impl Copier for Forgetful {
            fn upload(&mut self) -> anyhow::Result<()> {
                Ok(())
            }
            fn copy(&mut self) -> anyhow::Result<()> {
                Ok(())
            }
            fn download(&mut self) -> anyhow::Result<()> {
                Ok(())
            }
            fn host(&mut self) -> &mut [u8] {
                &mut self.0
            }
        }
        assert!(check(&mut Forgetful(vec![0; 1000])).is_err());
    }
}
