//! The same launches through wgpu, on the Vulkan adapter with a given name.

use anyhow::Context as _;
use wgpu::util::DeviceExt as _;

use super::{BYTES, CHAIN, Contender, MANY};

/// The kernel `@small` in WGSL.
const SMALL: &str = "
@group(0) @binding(0) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < arrayLength(&out) {
        out[id.x] = id.x;
    }
}
";

pub(super) struct WebGpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
    out: wgpu::Buffer,
    read: wgpu::Buffer,
}

impl WebGpu {
    /// Opens the adapter with this name.
    pub(super) fn open(name: &str) -> anyhow::Result<Self> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::VULKAN;
        // As in a release build.
        descriptor.flags = wgpu::InstanceFlags::empty();
        let instance = wgpu::Instance::new(descriptor);
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN));
        let adapter =
            adapters.into_iter().find(|adapter| adapter.get_info().name == name).context("no adapter")?;
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default()))?;
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(SMALL.into()),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let out = device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: &vec![0; BYTES as usize],
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        });
        let read = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: BYTES,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let bindings = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry { binding: 0, resource: out.as_entire_binding() }],
        });
        Ok(Self { device, queue, pipeline, bindings, out, read })
    }

    fn record(&self, count: usize) -> wgpu::CommandEncoder {
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(&self.pipeline);
            pass.set_bind_group(0, &self.bindings, &[]);
            for _ in 0..count {
                pass.dispatch_workgroups(1, 1, 1);
            }
        }
        encoder
    }

    fn finish(&self, encoder: wgpu::CommandEncoder) -> anyhow::Result<()> {
        self.queue.submit([encoder.finish()]);
        self.device.poll(wgpu::PollType::wait_indefinitely())?;
        Ok(())
    }
}

impl Contender for WebGpu {
    fn one(&mut self) -> anyhow::Result<()> {
        self.finish(self.record(1))
    }

    fn many(&mut self) -> anyhow::Result<()> {
        for _ in 1..MANY {
            self.queue.submit([self.record(1).finish()]);
        }
        self.finish(self.record(1))
    }

    fn chain(&mut self) -> anyhow::Result<()> {
        self.finish(self.record(CHAIN))
    }

    fn written(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&self.out, 0, &self.read, 0, BYTES);
        self.finish(encoder)?;
        self.read.map_async(wgpu::MapMode::Read, .., drop);
        self.device.poll(wgpu::PollType::wait_indefinitely())?;
        let bytes = self.read.get_mapped_range(..)?.to_vec();
        self.read.unmap();
        Ok(bytes)
    }
}
