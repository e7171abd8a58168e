//! Descriptor sets, their writes, and the size of push constants.

use ash::vk;
use fulgurite_hal::Error;
use fulgurite_spirv::{BlockPlacement, Layout};

use crate::commands::Slot;
use crate::device::Device;

/// Allocates a descriptor set from a slot that is not in use.
pub(crate) fn allocate_set(
    device: &Device,
    slot: &Slot,
    layout: vk::DescriptorSetLayout,
) -> Result<vk::DescriptorSet, Error> {
    let layouts = [layout];
    let info =
        vk::DescriptorSetAllocateInfo::default().descriptor_pool(slot.descriptors).set_layouts(&layouts);
    // SAFETY: the pool is of a slot that is not in use, and has room for the descriptors of its launches.
    let sets = unsafe { device.raw.allocate_descriptor_sets(&info) }
        .map_err(|r| device.fail("vkAllocateDescriptorSets", r, 0))?;
    Ok(sets.first().copied().unwrap_or_default())
}

/// Returns the write that binds a buffer.
pub(crate) fn write_of(
    set: vk::DescriptorSet,
    binding: u32,
    info: &[vk::DescriptorBufferInfo],
) -> vk::WriteDescriptorSet<'_> {
    vk::WriteDescriptorSet::default()
        .dst_set(set)
        .dst_binding(binding)
        .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
        .buffer_info(info)
}

/// Returns the size of the push constants in bytes.
pub(crate) fn pushed_bytes(layout: &Layout) -> u32 {
    let is_pushed = layout.placement == BlockPlacement::PushConstants;
    if is_pushed { layout.block_words * 4 } else { 0 }
}
