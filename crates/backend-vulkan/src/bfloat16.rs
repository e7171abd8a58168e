//! `VK_KHR_shader_bfloat16`, which is newer than the Vulkan headers that `ash` was generated from. Names and numbers
//! are those of the Vulkan registry.

use std::ffi::{CStr, c_void};

use ash::vk;

/// The name of the extension.
pub(crate) const NAME: &CStr = c"VK_KHR_shader_bfloat16";
/// `VK_COMPONENT_TYPE_BFLOAT16_KHR`.
pub(crate) const COMPONENT: vk::ComponentTypeKHR = vk::ComponentTypeKHR::from_raw(1_000_141_000);

/// `VkPhysicalDeviceShaderBfloat16FeaturesKHR`.
#[repr(C)]
pub(crate) struct Features {
    s_type: vk::StructureType,
    p_next: *mut c_void,
    pub(crate) bfloat16_type: vk::Bool32,
    pub(crate) bfloat16_dot_product: vk::Bool32,
    pub(crate) bfloat16_cooperative_matrix: vk::Bool32,
}

impl Features {
    /// Returns the features that cooperative matrices of `bf16` require.
    pub(crate) fn matrices() -> Self {
        Self { bfloat16_type: vk::TRUE, bfloat16_cooperative_matrix: vk::TRUE, ..Self::default() }
    }
}

impl Default for Features {
    fn default() -> Self {
        Self {
            s_type: vk::StructureType::from_raw(1_000_141_000),
            p_next: std::ptr::null_mut(),
            bfloat16_type: vk::FALSE,
            bfloat16_dot_product: vk::FALSE,
            bfloat16_cooperative_matrix: vk::FALSE,
        }
    }
}

// SAFETY: the structure has the layout of the registry and begins with `sType` and `pNext`, `sType` has the value of
// this structure, and the registry allows it to extend both.
unsafe impl vk::ExtendsPhysicalDeviceFeatures2 for Features {}
// SAFETY: as above.
unsafe impl vk::ExtendsDeviceCreateInfo for Features {}
