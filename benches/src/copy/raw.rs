//! The same copies by raw Vulkan, through host-visible buffers.

use ash::vk;

use super::Copier;
use crate::raw::{RawBuffer, RawDevice};

/// Two device buffers and two host-visible ones. Never destroyed.
pub(super) struct RawCopier {
    raw: RawDevice,
    up: RawBuffer,
    down: RawBuffer,
    /// Commands that copy `up` to the first buffer, the first to the second, and the second to `down`.
    commands: Vec<vk::CommandBuffer>,
    host: Vec<u8>,
}

impl RawCopier {
    /// Opens the device with this name.
    pub(super) fn open(name: &str, bytes: usize) -> anyhow::Result<Self> {
        let raw = RawDevice::open(name)?;
        let visible = vk::MemoryPropertyFlags::HOST_VISIBLE | vk::MemoryPropertyFlags::HOST_COHERENT;
        let cached = visible | vk::MemoryPropertyFlags::HOST_CACHED;
        let size = bytes as u64;
        let up = raw.buffer(size, &[visible])?;
        let first = raw.buffer(size, &[vk::MemoryPropertyFlags::DEVICE_LOCAL])?;
        let second = raw.buffer(size, &[vk::MemoryPropertyFlags::DEVICE_LOCAL])?;
        let down = raw.buffer(size, &[cached, visible])?;
        let commands = raw.commands(3)?;
        let pairs = [(&up, &first), (&first, &second), (&second, &down)];
        for (commands, (from, to)) in commands.iter().zip(pairs) {
            let regions = [vk::BufferCopy::default().size(size)];
            // SAFETY: both buffers have the same size and are never destroyed.
            unsafe {
                raw.device.begin_command_buffer(*commands, &vk::CommandBufferBeginInfo::default())?;
                raw.device.cmd_copy_buffer(*commands, from.buffer, to.buffer, &regions);
                raw.barrier(*commands, vk::PipelineStageFlags2::COPY);
                raw.device.end_command_buffer(*commands)?;
            }
        }
        Ok(Self { raw, up, down, commands, host: vec![0; bytes] })
    }

    fn run(&mut self, at: usize) -> anyhow::Result<()> {
        self.raw.submit(self.commands[at])?;
        self.raw.wait()
    }
}

impl Copier for RawCopier {
    fn upload(&mut self) -> anyhow::Result<()> {
        // SAFETY: the mapping has the same size, and the device is idle.
        unsafe { self.up.mapped.copy_from_nonoverlapping(self.host.as_ptr(), self.host.len()) };
        self.run(0)
    }

    fn copy(&mut self) -> anyhow::Result<()> {
        self.run(1)
    }

    fn download(&mut self) -> anyhow::Result<()> {
        self.run(2)?;
        // SAFETY: the mapping has the same size, and the device is idle.
        unsafe { self.down.mapped.copy_to_nonoverlapping(self.host.as_mut_ptr(), self.host.len()) };
        Ok(())
    }

    fn host(&mut self) -> &mut [u8] {
        &mut self.host
    }
}
