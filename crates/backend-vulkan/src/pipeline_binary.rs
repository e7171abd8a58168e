//! The structures and functions of `VK_KHR_pipeline_binary`, which is newer than the Vulkan headers that `ash` was
//! generated from. Names and numbers are those of the Vulkan registry.

use std::ffi::{CStr, c_void};
use std::mem;

use ash::prelude::VkResult;
use ash::vk;

/// The name of the extension.
pub(crate) const NAME: &CStr = c"VK_KHR_pipeline_binary";
/// `VK_PIPELINE_CREATE_2_CAPTURE_DATA_BIT_KHR`.
pub(crate) const CAPTURE_DATA: vk::PipelineCreateFlags2KHR =
    vk::PipelineCreateFlags2KHR::from_raw(0x8000_0000);
/// `VK_MAX_PIPELINE_BINARY_KEY_SIZE_KHR`.
const MAX_KEY_BYTES: usize = 32;
/// Maximum size in bytes of a binary that is accepted from a driver.
const MAX_BYTES: usize = 64 << 20;
/// Maximum number of binaries per pipeline that are accepted from a driver.
const MAX_BINARIES: usize = 64;

const fn structure(number: i32) -> vk::StructureType {
    vk::StructureType::from_raw(1_000_483_000 + number)
}

/// A binary with the key and data of its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredBinary {
    /// At most 32 bytes.
    pub(crate) key: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

/// `VkPipelineBinaryKHR`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct PipelineBinary(u64);

impl PipelineBinary {
    #[cfg(test)]
    pub(crate) fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
}

/// `VkPhysicalDevicePipelineBinaryFeaturesKHR`.
#[repr(C)]
pub(crate) struct Features {
    s_type: vk::StructureType,
    p_next: *mut c_void,
    pub(crate) pipeline_binaries: vk::Bool32,
}

impl Features {
    /// Returns the structure with the feature set to the given value.
    pub(crate) fn new(pipeline_binaries: vk::Bool32) -> Self {
        Self { s_type: structure(0), p_next: std::ptr::null_mut(), pipeline_binaries }
    }
}

// SAFETY: the structure has the layout of the registry and begins with `sType` and `pNext`, `sType` has the value of
// this structure, and the registry allows it to extend both.
unsafe impl vk::ExtendsPhysicalDeviceFeatures2 for Features {}
// SAFETY: as above.
unsafe impl vk::ExtendsDeviceCreateInfo for Features {}

/// `VkPipelineBinaryInfoKHR`: the binaries that a pipeline is created from. Points to them, so they must outlive it.
#[repr(C)]
pub(crate) struct BinaryInfo {
    s_type: vk::StructureType,
    p_next: *const c_void,
    count: u32,
    binaries: *const PipelineBinary,
}

impl BinaryInfo {
    pub(crate) fn new(binaries: &[PipelineBinary]) -> Self {
        Self {
            s_type: structure(2),
            p_next: std::ptr::null(),
            count: binaries.len() as u32,
            binaries: binaries.as_ptr(),
        }
    }
}

// SAFETY: the structure has the layout and the `sType` of the registry, which allows it to extend
// `VkComputePipelineCreateInfo`.
unsafe impl vk::ExtendsComputePipelineCreateInfo for BinaryInfo {}

/// `VkPipelineBinaryKeyKHR`.
#[repr(C)]
struct Key {
    s_type: vk::StructureType,
    p_next: *mut c_void,
    bytes: u32,
    key: [u8; MAX_KEY_BYTES],
}

impl Key {
    fn empty() -> Self {
        Self { s_type: structure(3), p_next: std::ptr::null_mut(), bytes: 0, key: [0; MAX_KEY_BYTES] }
    }

    fn of(key: &[u8]) -> Self {
        let mut all = Self::empty();
        let bytes = key.len().min(MAX_KEY_BYTES);
        all.bytes = bytes as u32;
        all.key[..bytes].copy_from_slice(&key[..bytes]);
        all
    }

    fn bytes(&self) -> Vec<u8> {
        self.key[..(self.bytes as usize).min(MAX_KEY_BYTES)].to_vec()
    }
}

/// `VkPipelineBinaryDataKHR`.
#[repr(C)]
struct Data {
    bytes: usize,
    data: *const c_void,
}

/// `VkPipelineBinaryKeysAndDataKHR`.
#[repr(C)]
struct KeysAndData {
    count: u32,
    keys: *const Key,
    data: *const Data,
}

/// `VkPipelineBinaryCreateInfoKHR`.
#[repr(C)]
struct CreateInfo {
    s_type: vk::StructureType,
    p_next: *const c_void,
    keys_and_data: *const KeysAndData,
    pipeline: vk::Pipeline,
    create_info: *const c_void,
}

/// `VkPipelineBinaryHandlesInfoKHR`.
#[repr(C)]
struct HandlesInfo {
    s_type: vk::StructureType,
    p_next: *const c_void,
    count: u32,
    binaries: *mut PipelineBinary,
}

/// `VkPipelineBinaryDataInfoKHR`.
#[repr(C)]
struct DataInfo {
    s_type: vk::StructureType,
    p_next: *mut c_void,
    binary: PipelineBinary,
}

/// `VkReleaseCapturedPipelineDataInfoKHR`.
#[repr(C)]
struct ReleaseInfo {
    s_type: vk::StructureType,
    p_next: *mut c_void,
    pipeline: vk::Pipeline,
}

type Allocator = *const c_void;
type Create =
    unsafe extern "system" fn(vk::Device, *const CreateInfo, Allocator, *mut HandlesInfo) -> vk::Result;
type Destroy = unsafe extern "system" fn(vk::Device, PipelineBinary, Allocator);
type GetKey = unsafe extern "system" fn(vk::Device, *const c_void, *mut Key) -> vk::Result;
type GetData =
    unsafe extern "system" fn(vk::Device, *const DataInfo, *mut Key, *mut usize, *mut c_void) -> vk::Result;
type Release = unsafe extern "system" fn(vk::Device, *const ReleaseInfo, Allocator) -> vk::Result;

/// The functions of the extension, for a device that has it enabled.
#[derive(Clone)]
pub(crate) struct Functions {
    device: vk::Device,
    create: Create,
    destroy: Destroy,
    key: GetKey,
    data: GetData,
    release: Release,
}

impl Functions {
    /// Loads the functions of `device`, which has the extension enabled; `None` if the driver lacks one nevertheless.
    pub(crate) fn load(instance: &ash::Instance, device: &ash::Device) -> Option<Self> {
        let load = |name: &CStr| {
            // SAFETY: the device was created from the instance, and the name is null-terminated.
            unsafe { (instance.fp_v1_0().get_device_proc_addr)(device.handle(), name.as_ptr()) }
        };
        // SAFETY: the types are those that the registry gives for the functions of these names.
        unsafe {
            Some(Self {
                device: device.handle(),
                create: mem::transmute::<vk::PFN_vkVoidFunction, Option<Create>>(load(
                    c"vkCreatePipelineBinariesKHR",
                ))?,
                destroy: mem::transmute::<vk::PFN_vkVoidFunction, Option<Destroy>>(load(
                    c"vkDestroyPipelineBinaryKHR",
                ))?,
                key: mem::transmute::<vk::PFN_vkVoidFunction, Option<GetKey>>(load(c"vkGetPipelineKeyKHR"))?,
                data: mem::transmute::<vk::PFN_vkVoidFunction, Option<GetData>>(load(
                    c"vkGetPipelineBinaryDataKHR",
                ))?,
                release: mem::transmute::<vk::PFN_vkVoidFunction, Option<Release>>(load(
                    c"vkReleaseCapturedPipelineDataKHR",
                ))?,
            })
        }
    }

    /// Returns the device's global pipeline key: binaries depend on it and on their pipeline only.
    pub(crate) fn global_key(&self) -> VkResult<Vec<u8>> {
        let mut key = Key::empty();
        // SAFETY: the device is alive, the pipeline info may be null, and the key has the structure that the
        // call expects.
        unsafe { (self.key)(self.device, std::ptr::null(), &raw mut key) }.result()?;
        Ok(key.bytes())
    }

    /// Returns the binaries of a pipeline that was created with [`CAPTURE_DATA`].
    pub(crate) fn captured(&self, pipeline: vk::Pipeline) -> VkResult<Vec<StoredBinary>> {
        let info = CreateInfo {
            s_type: structure(1),
            p_next: std::ptr::null(),
            keys_and_data: std::ptr::null(),
            pipeline,
            create_info: std::ptr::null(),
        };
        let binaries = self.create(&info)?;
        let stored = binaries.iter().map(|binary| self.stored(*binary)).collect();
        self.destroy(&binaries);
        let release = ReleaseInfo { s_type: structure(5), p_next: std::ptr::null_mut(), pipeline };
        // SAFETY: the pipeline was created with the flag, and its data is released once.
        let _ = unsafe { (self.release)(self.device, &raw const release, std::ptr::null()) };
        stored
    }

    /// Recreates binaries that an earlier process stored.
    pub(crate) fn restore(&self, stored: &[StoredBinary]) -> VkResult<Vec<PipelineBinary>> {
        let keys: Vec<Key> = stored.iter().map(|binary| Key::of(&binary.key)).collect();
        let data: Vec<Data> = stored
            .iter()
            .map(|binary| Data { bytes: binary.data.len(), data: binary.data.as_ptr().cast() })
            .collect();
        let both = KeysAndData { count: stored.len() as u32, keys: keys.as_ptr(), data: data.as_ptr() };
        let info = CreateInfo {
            s_type: structure(1),
            p_next: std::ptr::null(),
            keys_and_data: &raw const both,
            pipeline: vk::Pipeline::null(),
            create_info: std::ptr::null(),
        };
        self.create(&info)
    }

    fn create(&self, info: &CreateInfo) -> VkResult<Vec<PipelineBinary>> {
        let mut handles = HandlesInfo {
            s_type: structure(9),
            p_next: std::ptr::null(),
            count: 0,
            binaries: std::ptr::null_mut(),
        };
        // SAFETY: the device is alive, everything that `info` points to outlives the call, and with null
        // handles only their number is queried.
        let counted = unsafe { (self.create)(self.device, info, std::ptr::null(), &raw mut handles) };
        counted.result()?;
        let count = handles.count as usize;
        if count == 0 || count > MAX_BINARIES {
            return Err(vk::Result::ERROR_UNKNOWN);
        }
        let mut binaries = vec![PipelineBinary::default(); count];
        handles.binaries = binaries.as_mut_ptr();
        // SAFETY: as above, with room for all handles.
        let created = unsafe { (self.create)(self.device, info, std::ptr::null(), &raw mut handles) };
        if created == vk::Result::SUCCESS {
            return Ok(binaries);
        }
        // Destroys the binaries created before the one that failed.
        self.destroy(&binaries);
        Err(if created.as_raw() < 0 { created } else { vk::Result::PIPELINE_COMPILE_REQUIRED })
    }

    fn stored(&self, binary: PipelineBinary) -> VkResult<StoredBinary> {
        let info = DataInfo { s_type: structure(6), p_next: std::ptr::null_mut(), binary };
        let (mut key, mut bytes) = (Key::empty(), 0);
        // SAFETY: the binary is alive; with a null pointer only the size is queried.
        let counted = unsafe {
            (self.data)(self.device, &raw const info, &raw mut key, &raw mut bytes, std::ptr::null_mut())
        };
        counted.result()?;
        if bytes > MAX_BYTES {
            return Err(vk::Result::ERROR_OUT_OF_HOST_MEMORY);
        }
        let mut data = vec![0u8; bytes];
        // SAFETY: as above, with room for all bytes.
        let read = unsafe {
            (self.data)(self.device, &raw const info, &raw mut key, &raw mut bytes, data.as_mut_ptr().cast())
        };
        read.result()?;
        data.truncate(bytes);
        Ok(StoredBinary { key: key.bytes(), data })
    }

    /// Destroys binaries; null handles are ignored.
    pub(crate) fn destroy(&self, binaries: &[PipelineBinary]) {
        for binary in binaries {
            // SAFETY: each was made from this device and is destroyed once; null is allowed.
            unsafe { (self.destroy)(self.device, *binary, std::ptr::null()) };
        }
    }
}

/// The structures above rely on pipeline handles of 64 bits, of which the null handle is 0.
const _: () = assert!(mem::size_of::<vk::Pipeline>() == mem::size_of::<u64>());

#[cfg(test)]
mod tests {
    use ash::vk::Handle as _;

    use super::*;

    #[test]
    fn structures_are_laid_out_as_in_the_registry() {
        assert_eq!((mem::size_of::<Key>(), mem::offset_of!(Key, key)), (56, 20));
        assert_eq!((mem::size_of::<CreateInfo>(), mem::offset_of!(CreateInfo, pipeline)), (40, 24));
        assert_eq!((mem::size_of::<HandlesInfo>(), mem::offset_of!(HandlesInfo, binaries)), (32, 24));
        assert_eq!((mem::size_of::<DataInfo>(), mem::offset_of!(DataInfo, binary)), (24, 16));
        assert_eq!((mem::size_of::<BinaryInfo>(), mem::offset_of!(BinaryInfo, binaries)), (32, 24));
        assert_eq!((mem::size_of::<KeysAndData>(), mem::size_of::<Data>()), (24, 16));
        assert_eq!(mem::size_of::<Features>(), 24);
        assert_eq!(vk::Pipeline::null().as_raw(), 0);
        assert_eq!(Key::of(b"key").bytes(), b"key");
        assert_eq!(Key::of(&[7; 40]).bytes(), [7; 32]);
    }
}
