//! The minimum of raw Vulkan calls for the same launches, with the SPIR-V that Fulgurite emits.

use anyhow::Context as _;
use ash::vk;
use fulgurite_spirv::Profile;

use super::{BYTES, CHAIN, Contender, MANY};
use crate::SMALL;
use crate::raw::{RawBuffer, RawDevice};

/// The objects that the launches need. Never destroyed.
pub(super) struct Raw {
    raw: RawDevice,
    one: vk::CommandBuffer,
    many: Vec<vk::CommandBuffer>,
    chain: vk::CommandBuffer,
    pipeline: vk::Pipeline,
    layout: vk::PipelineLayout,
    set: vk::DescriptorSet,
    out: RawBuffer,
}

impl Raw {
    /// Opens the device with this name.
    pub(super) fn open(name: &str) -> anyhow::Result<Self> {
        let kernel = fulgurite::ir::text::parse(SMALL).and_then(fulgurite::ir::verify)?;
        let module = fulgurite_spirv::emit(&kernel, &Profile::least());
        anyhow::ensure!(module.layout.bindings() == [0], "the kernel binds more than its buffer");
        let raw = RawDevice::open(name)?;
        let visible = vk::MemoryPropertyFlags::HOST_VISIBLE | vk::MemoryPropertyFlags::HOST_COHERENT;
        let out = raw.buffer(BYTES, &[visible])?;
        let device = &raw.device;
        // SAFETY: Vulkan calls in the order that the specification requires; objects created before a failure are
        // leaked.
        let (pipeline, layout, set) = unsafe {
            let bindings = [vk::DescriptorSetLayoutBinding::default()
                .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                .descriptor_count(1)
                .stage_flags(vk::ShaderStageFlags::COMPUTE)];
            let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            let sets = [device.create_descriptor_set_layout(&info, None)?];
            let constants =
                [vk::PushConstantRange::default().stage_flags(vk::ShaderStageFlags::COMPUTE).size(4)];
            let info =
                vk::PipelineLayoutCreateInfo::default().set_layouts(&sets).push_constant_ranges(&constants);
            let layout = device.create_pipeline_layout(&info, None)?;
            let shader = device
                .create_shader_module(&vk::ShaderModuleCreateInfo::default().code(&module.words), None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(shader)
                .name(c"main");
            let info = vk::ComputePipelineCreateInfo::default().stage(stage).layout(layout);
            let made = device.create_compute_pipelines(vk::PipelineCache::null(), &[info], None);
            let pipeline = *made.map_err(|(_, result)| result)?.first().context("no pipeline")?;

            let sizes = [vk::DescriptorPoolSize::default()
                .ty(vk::DescriptorType::STORAGE_BUFFER)
                .descriptor_count(1)];
            let info = vk::DescriptorPoolCreateInfo::default().max_sets(1).pool_sizes(&sizes);
            let descriptors = device.create_descriptor_pool(&info, None)?;
            let info =
                vk::DescriptorSetAllocateInfo::default().descriptor_pool(descriptors).set_layouts(&sets);
            let set = *device.allocate_descriptor_sets(&info)?.first().context("no set")?;
            let buffers = [vk::DescriptorBufferInfo::default().buffer(out.buffer).range(vk::WHOLE_SIZE)];
            let write = vk::WriteDescriptorSet::default()
                .dst_set(set)
                .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                .buffer_info(&buffers);
            device.update_descriptor_sets(&[write], &[]);
            (pipeline, layout, set)
        };
        let commands = raw.commands(2 + MANY)?;
        let (one, chain, many) = (commands[0], commands[1], commands[2..].to_vec());
        let raw = Self { raw, one, many, chain, pipeline, layout, set, out };
        raw.record(chain, CHAIN)?;
        Ok(raw)
    }

    /// Records `count` dispatches, each ordered after the previous one.
    fn record(&self, commands: vk::CommandBuffer, count: usize) -> anyhow::Result<()> {
        let device = &self.raw.device;
        let length = (BYTES / 4) as u32;
        // SAFETY: as in `open`; the commands are not pending.
        unsafe {
            device.begin_command_buffer(commands, &vk::CommandBufferBeginInfo::default())?;
            device.cmd_bind_pipeline(commands, vk::PipelineBindPoint::COMPUTE, self.pipeline);
            let (sets, point) = ([self.set], vk::PipelineBindPoint::COMPUTE);
            device.cmd_bind_descriptor_sets(commands, point, self.layout, 0, &sets, &[]);
            let stage = vk::ShaderStageFlags::COMPUTE;
            device.cmd_push_constants(commands, self.layout, stage, 0, &length.to_ne_bytes());
            for _ in 0..count {
                device.cmd_dispatch(commands, 1, 1, 1);
                self.raw.barrier(commands, vk::PipelineStageFlags2::COMPUTE_SHADER);
            }
            device.end_command_buffer(commands)?;
        }
        Ok(())
    }

    /// Records a dispatch again and submits it.
    fn again(&mut self, commands: vk::CommandBuffer) -> anyhow::Result<()> {
        // SAFETY: the command buffer belongs to this pool, and its execution has completed.
        unsafe {
            self.raw.device.reset_command_buffer(commands, vk::CommandBufferResetFlags::empty())?;
        }
        self.record(commands, 1)?;
        self.raw.submit(commands)
    }
}

impl Contender for Raw {
    fn one(&mut self) -> anyhow::Result<()> {
        self.again(self.one)?;
        self.raw.wait()
    }

    fn many(&mut self) -> anyhow::Result<()> {
        for at in 0..self.many.len() {
            self.again(self.many[at])?;
        }
        self.raw.wait()
    }

    fn chain(&mut self) -> anyhow::Result<()> {
        self.raw.submit(self.chain)?;
        self.raw.wait()
    }

    fn written(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = vec![0; BYTES as usize];
        // SAFETY: the mapping has the same size, and the device is idle.
        unsafe { self.out.mapped.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
        Ok(bytes)
    }
}
