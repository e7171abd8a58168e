//! Conversion of `VkResult` and allocator errors to the engine's errors. Does not change a device's state:
//! [`crate::device`] remembers that a device is lost.

use ash::vk;
use fulgurite_hal::{DeviceError, Error};
use fulgurite_spec::Code;
use gpu_allocator::AllocationError;

/// The backend's id.
pub(crate) const BACKEND: &str = "vulkan";

/// Advice for a machine without a usable driver.
pub(crate) const INSTALL_HINT: &str = "install a Vulkan 1.3 driver (Debian: `libvulkan1` with the GPU vendor's driver, or \
     `mesa-vulkan-drivers` for one that needs no GPU)";

/// Returns the error of a backend that cannot start.
pub(crate) fn unavailable(code: Code, reason: impl Into<String>) -> Error {
    Error::Unavailable { backend: BACKEND.to_owned(), code, reason: reason.into() }
}

/// Converts the result of a failed driver call. `bytes` is the size that an allocating call requested, else 0.
pub(crate) fn device_error(call: &'static str, result: vk::Result, bytes: u64) -> DeviceError {
    match result {
        vk::Result::ERROR_OUT_OF_HOST_MEMORY
        | vk::Result::ERROR_OUT_OF_DEVICE_MEMORY
        | vk::Result::ERROR_OUT_OF_POOL_MEMORY
        | vk::Result::ERROR_FRAGMENTED_POOL => DeviceError::OutOfMemory { bytes },
        vk::Result::ERROR_DEVICE_LOST => DeviceError::Lost(call),
        other => DeviceError::Call { call, result: format!("{other:?}") },
    }
}

/// Converts the error of a failed allocation of `bytes` bytes.
pub(crate) fn allocation_error(error: &AllocationError, bytes: u64) -> DeviceError {
    match error {
        AllocationError::OutOfMemory => DeviceError::OutOfMemory { bytes },
        // The allocator reports every other result only by its name in the text.
        AllocationError::Internal(text) if text.contains("OUT_OF_HOST_MEMORY") => {
            DeviceError::OutOfMemory { bytes }
        }
        AllocationError::Internal(text) if text.contains("DEVICE_LOST") => {
            DeviceError::Lost("vkAllocateMemory")
        }
        other => DeviceError::Call { call: "vkAllocateMemory", result: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_fall_into_their_kinds() {
        assert_eq!(
            device_error("vkAllocateMemory", vk::Result::ERROR_OUT_OF_DEVICE_MEMORY, 7),
            DeviceError::OutOfMemory { bytes: 7 }
        );
        assert_eq!(
            device_error("vkQueueSubmit2", vk::Result::ERROR_DEVICE_LOST, 0),
            DeviceError::Lost("vkQueueSubmit2")
        );
        assert_eq!(
            device_error("vkCreateComputePipelines", vk::Result::ERROR_INVALID_SHADER_NV, 0),
            DeviceError::Call {
                call: "vkCreateComputePipelines",
                result: "ERROR_INVALID_SHADER_NV".to_owned()
            }
        );
        let fault = device_error("vkCreateComputePipelines", vk::Result::ERROR_INVALID_SHADER_NV, 0);
        assert_eq!(fault.code(), fulgurite_spec::Code::DeviceFault);
    }

    #[test]
    fn allocator_errors_fall_into_their_kinds() {
        assert_eq!(allocation_error(&AllocationError::OutOfMemory, 5), DeviceError::OutOfMemory { bytes: 5 });
        let host = AllocationError::Internal(
            "Unexpected error in vkAllocateMemory: ERROR_OUT_OF_HOST_MEMORY".into(),
        );
        assert_eq!(allocation_error(&host, 5), DeviceError::OutOfMemory { bytes: 5 });
        let lost =
            AllocationError::Internal("Unexpected error in vkAllocateMemory: ERROR_DEVICE_LOST".into());
        assert_eq!(allocation_error(&lost, 5), DeviceError::Lost("vkAllocateMemory"));
        assert!(matches!(
            allocation_error(&AllocationError::NoCompatibleMemoryTypeFound, 5),
            DeviceError::Call { call: "vkAllocateMemory", .. }
        ));
    }
}
