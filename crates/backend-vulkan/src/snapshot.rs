//! The facts of a physical device that planning reads, as plain data. [`query`] reads them from the driver; nothing
//! here makes decisions.

use std::ffi::CStr;

use ash::{ext, khr, vk};
use fulgurite_hal::DeviceError;
use fulgurite_spec::device::MatrixShapes;
use fulgurite_spec::{MatrixScope, ScalarType};
use fulgurite_spirv::FloatControls;

use crate::error::device_error;
use crate::{bfloat16, pipeline_binary};

/// The reason why a device could not be queried. Other devices are not affected.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("`{device}` cannot be queried: {error}")]
pub(crate) struct QueryError {
    pub(crate) device: String,
    pub(crate) kind: DeviceKind,
    pub(crate) error: DeviceError,
}

/// The kind of a device, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DeviceKind {
    Discrete,
    Integrated,
    Virtual,
    Cpu,
    Other,
}

/// An API version: major, minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion(pub(crate) u32, pub(crate) u32);

/// The facts of one physical device.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PhysicalSnapshot {
    pub(crate) name: String,
    pub(crate) kind: DeviceKind,
    pub(crate) vendor_id: u32,
    pub(crate) device_id: u32,
    pub(crate) api_version: ApiVersion,
    pub(crate) driver_version: u32,
    /// `deviceUUID`: tells devices of one model apart. Zero below Vulkan 1.3.
    pub(crate) device_uuid: [u8; 16],
    /// `pipelineCacheUUID`: the driver accepts pipeline data only if it is unchanged.
    pub(crate) cache_uuid: [u8; 16],
    pub(crate) driver_name: String,
    pub(crate) driver_info: String,
    pub(crate) limits: PhysicalLimits,
    pub(crate) features: Features,
    pub(crate) float_controls: FloatProperties,
    pub(crate) subgroups: SubgroupProperties,
    pub(crate) queue_families: Vec<QueueFamily>,
    pub(crate) extensions: Vec<String>,
    pub(crate) memory_types: Vec<MemoryType>,
    /// The bytes of the memory that is local to the device.
    pub(crate) memory_bytes: u64,
    /// The cooperative matrix products that the language can express.
    pub(crate) products: Vec<MatrixShapes>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PhysicalLimits {
    pub(crate) max_compute_work_group_invocations: u32,
    pub(crate) max_compute_work_group_size: [u32; 3],
    pub(crate) max_compute_work_group_count: [u32; 3],
    pub(crate) max_compute_shared_memory_size: u32,
    pub(crate) max_storage_buffer_range: u32,
    pub(crate) min_storage_buffer_offset_alignment: u64,
    pub(crate) max_push_constants_size: u32,
    pub(crate) max_per_stage_descriptor_storage_buffers: u32,
    pub(crate) max_descriptor_set_storage_buffers: u32,
    pub(crate) max_per_stage_resources: u32,
    /// Nanoseconds per timestamp tick.
    pub(crate) timestamp_period: f32,
    pub(crate) max_memory_allocation_size: u64,
    pub(crate) max_buffer_size: u64,
}

/// Features that are required or used; all off for a device below Vulkan 1.3, whose features are not queried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features {
    pub(crate) robust_buffer_access: bool,
    pub(crate) vulkan_memory_model: bool,
    pub(crate) timeline_semaphore: bool,
    pub(crate) buffer_device_address: bool,
    pub(crate) synchronization2: bool,
    pub(crate) robust_buffer_access2: bool,
    pub(crate) integer_dot_product: bool,
    pub(crate) subgroup_extended_types: bool,
    pub(crate) subgroup_size_control: bool,
    pub(crate) subgroup_uniform_control_flow: bool,
    pub(crate) explicit_shared_layout: bool,
    pub(crate) cooperative_matrix: bool,
    /// Cooperative matrices of `bf16`.
    pub(crate) bfloat16_matrix: bool,
    /// `pipelineCreationCacheControl`: the driver can fail instead of compiling a pipeline.
    pub(crate) cache_control: bool,
    /// `pipelineBinaries` and `maintenance5`, which the flag for capturing binaries requires.
    pub(crate) pipeline_binaries: bool,
    pub(crate) types: TypeFeatures,
}

/// Features of types that are not 32 bits wide, and of atomics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TypeFeatures {
    pub(crate) int8: bool,
    pub(crate) int16: bool,
    pub(crate) int64: bool,
    pub(crate) float16: bool,
    pub(crate) float64: bool,
    pub(crate) storage8: bool,
    pub(crate) storage16: bool,
    /// In buffers and in shared memory, as for the two below.
    pub(crate) atomic_int64: bool,
    pub(crate) atomic_float_add: bool,
    pub(crate) atomic_double_add: bool,
}

/// Float controls of 16-bit, 32-bit and 64-bit floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FloatProperties {
    pub(crate) widths: [FloatControls; 3],
    /// The widths whose denorm mode can be set independently.
    pub(crate) denorms: Independence,
    /// The widths whose rounding mode can be set independently.
    pub(crate) rounding: Independence,
}

impl Default for FloatProperties {
    fn default() -> Self {
        let none = FloatControls { signed_zero_inf_nan_preserve: false, ..FloatControls::LEAST };
        Self { widths: [none; 3], denorms: Independence::None, rounding: Independence::None }
    }
}

/// Properties of subgroups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SubgroupProperties {
    pub(crate) size: u32,
    /// True if compute shaders support every group of subgroup ops that is emitted.
    pub(crate) complete: bool,
    /// True if there are several sizes.
    pub(crate) sizes_vary: bool,
}

/// The float widths that can be set independently of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Independence {
    None,
    /// 32 bits only.
    Single,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueFamily {
    pub(crate) compute: bool,
    pub(crate) graphics: bool,
    pub(crate) queues: u32,
    /// 0 if the family writes no timestamps.
    pub(crate) timestamp_valid_bits: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryType {
    pub(crate) device_local: bool,
    pub(crate) host_visible: bool,
    pub(crate) host_coherent: bool,
}

/// Queries the facts of a device.
pub(crate) fn query(
    instance: &ash::Instance,
    device: vk::PhysicalDevice,
) -> Result<PhysicalSnapshot, QueryError> {
    // SAFETY: `device` was enumerated from `instance`.
    let base = unsafe { instance.get_physical_device_properties(device) };
    let (name, kind) = (text(base.device_name_as_c_str().unwrap_or_default()), kind(base.device_type));
    // SAFETY: as above.
    let extensions = match unsafe { instance.enumerate_device_extension_properties(device) } {
        Ok(extensions) => extensions,
        Err(result) => {
            let error = device_error("vkEnumerateDeviceExtensionProperties", result, 0);
            return Err(QueryError { device: name, kind, error });
        }
    };
    let extensions: Vec<String> =
        extensions.iter().map(|e| text(e.extension_name_as_c_str().unwrap_or_default())).collect();
    let api_version =
        ApiVersion(vk::api_version_major(base.api_version), vk::api_version_minor(base.api_version));

    let mut snapshot = PhysicalSnapshot {
        name,
        kind,
        vendor_id: base.vendor_id,
        device_id: base.device_id,
        api_version,
        driver_version: base.driver_version,
        device_uuid: [0; 16],
        cache_uuid: base.pipeline_cache_uuid,
        driver_name: String::new(),
        driver_info: String::new(),
        limits: limits(&base.limits),
        features: Features::default(),
        float_controls: FloatProperties::default(),
        subgroups: SubgroupProperties::default(),
        queue_families: Vec::new(),
        extensions,
        memory_types: Vec::new(),
        memory_bytes: 0,
        products: Vec::new(),
    };
    // The structures below require Vulkan 1.3; an older device is rejected by its version alone.
    if api_version >= ApiVersion(1, 3) {
        query_properties(instance, device, &mut snapshot);
        query_features(instance, device, &mut snapshot);
    }
    // SAFETY: as above.
    let families = unsafe { instance.get_physical_device_queue_family_properties(device) };
    snapshot.queue_families = families.iter().map(queue_family).collect();
    // SAFETY: as above.
    let memory = unsafe { instance.get_physical_device_memory_properties(device) };
    snapshot.memory_types = memory.memory_types_as_slice().iter().map(memory_type).collect();
    let heaps = memory.memory_heaps_as_slice().iter();
    let local = heaps.filter(|heap| heap.flags.contains(vk::MemoryHeapFlags::DEVICE_LOCAL));
    snapshot.memory_bytes = local.map(|heap| heap.size).sum();
    Ok(snapshot)
}

/// Returns the cooperative matrix products of `device`; none if the query fails.
pub(crate) fn query_products(
    functions: &khr::cooperative_matrix::Instance,
    device: vk::PhysicalDevice,
) -> Vec<MatrixShapes> {
    // SAFETY: the caller found the extension on `device`, of the instance that the functions were loaded for.
    let all = unsafe { functions.get_physical_device_cooperative_matrix_properties(device) };
    all.unwrap_or_default().iter().filter_map(product).collect()
}

fn product(from: &vk::CooperativeMatrixPropertiesKHR<'_>) -> Option<MatrixShapes> {
    if from.saturating_accumulation != 0 || from.c_type != from.result_type {
        return None;
    }
    let side = |size: u32| u16::try_from(size).ok();
    Some(MatrixShapes {
        m: side(from.m_size)?,
        n: side(from.n_size)?,
        k: side(from.k_size)?,
        a: component(from.a_type)?,
        b: component(from.b_type)?,
        acc: component(from.c_type)?,
        scope: match from.scope {
            vk::ScopeKHR::SUBGROUP => MatrixScope::Subgroup,
            vk::ScopeKHR::WORKGROUP => MatrixScope::Workgroup,
            _ => return None,
        },
    })
}

fn component(ty: vk::ComponentTypeKHR) -> Option<ScalarType> {
    Some(match ty {
        vk::ComponentTypeKHR::FLOAT16 => ScalarType::F16,
        vk::ComponentTypeKHR::FLOAT32 => ScalarType::F32,
        vk::ComponentTypeKHR::FLOAT64 => ScalarType::F64,
        vk::ComponentTypeKHR::SINT8 => ScalarType::I8,
        vk::ComponentTypeKHR::UINT8 => ScalarType::U8,
        vk::ComponentTypeKHR::SINT32 => ScalarType::I32,
        vk::ComponentTypeKHR::UINT32 => ScalarType::U32,
        bfloat16::COMPONENT => ScalarType::BF16,
        _ => return None,
    })
}

fn query_properties(instance: &ash::Instance, device: vk::PhysicalDevice, snapshot: &mut PhysicalSnapshot) {
    let mut v11 = vk::PhysicalDeviceVulkan11Properties::default();
    let mut v12 = vk::PhysicalDeviceVulkan12Properties::default();
    let mut v13 = vk::PhysicalDeviceVulkan13Properties::default();
    let mut all =
        vk::PhysicalDeviceProperties2::default().push_next(&mut v11).push_next(&mut v12).push_next(&mut v13);
    // SAFETY: `device` was enumerated from `instance`, and its version has these structures.
    unsafe { instance.get_physical_device_properties2(device, &mut all) };
    snapshot.device_uuid = v11.device_uuid;
    snapshot.driver_name = text(v12.driver_name_as_c_str().unwrap_or_default());
    snapshot.driver_info = text(v12.driver_info_as_c_str().unwrap_or_default());
    snapshot.limits.max_memory_allocation_size = v11.max_memory_allocation_size;
    snapshot.limits.max_buffer_size = v13.max_buffer_size;
    let needed = vk::SubgroupFeatureFlags::BASIC
        | vk::SubgroupFeatureFlags::VOTE
        | vk::SubgroupFeatureFlags::ARITHMETIC
        | vk::SubgroupFeatureFlags::BALLOT
        | vk::SubgroupFeatureFlags::SHUFFLE;
    snapshot.subgroups = SubgroupProperties {
        size: v11.subgroup_size,
        complete: v11.subgroup_supported_operations.contains(needed)
            && v11.subgroup_supported_stages.contains(vk::ShaderStageFlags::COMPUTE),
        sizes_vary: v13.min_subgroup_size != v13.max_subgroup_size,
    };
    let independence = |of: vk::ShaderFloatControlsIndependence| match of {
        vk::ShaderFloatControlsIndependence::ALL => Independence::All,
        vk::ShaderFloatControlsIndependence::TYPE_32_ONLY => Independence::Single,
        _ => Independence::None,
    };
    let controls = |zero: vk::Bool32, rounding: vk::Bool32, denorm: vk::Bool32| FloatControls {
        signed_zero_inf_nan_preserve: zero != 0,
        rounding_mode_rte: rounding != 0,
        denorm_preserve: denorm != 0,
    };
    snapshot.float_controls = FloatProperties {
        widths: [
            controls(
                v12.shader_signed_zero_inf_nan_preserve_float16,
                v12.shader_rounding_mode_rte_float16,
                v12.shader_denorm_preserve_float16,
            ),
            controls(
                v12.shader_signed_zero_inf_nan_preserve_float32,
                v12.shader_rounding_mode_rte_float32,
                v12.shader_denorm_preserve_float32,
            ),
            controls(
                v12.shader_signed_zero_inf_nan_preserve_float64,
                v12.shader_rounding_mode_rte_float64,
                v12.shader_denorm_preserve_float64,
            ),
        ],
        denorms: independence(v12.denorm_behavior_independence),
        rounding: independence(v12.rounding_mode_independence),
    };
}

fn query_features(instance: &ash::Instance, device: vk::PhysicalDevice, snapshot: &mut PhysicalSnapshot) {
    let mut v11 = vk::PhysicalDeviceVulkan11Features::default();
    let mut v12 = vk::PhysicalDeviceVulkan12Features::default();
    let mut v13 = vk::PhysicalDeviceVulkan13Features::default();
    let mut uniform_control_flow = vk::PhysicalDeviceShaderSubgroupUniformControlFlowFeaturesKHR::default();
    let mut cooperative_matrix = vk::PhysicalDeviceCooperativeMatrixFeaturesKHR::default();
    let mut bfloat16 = bfloat16::Features::default();
    let mut explicit_layout = vk::PhysicalDeviceWorkgroupMemoryExplicitLayoutFeaturesKHR::default();
    let mut atomic_float = vk::PhysicalDeviceShaderAtomicFloatFeaturesEXT::default();
    let mut robustness2 = vk::PhysicalDeviceRobustness2FeaturesEXT::default();
    let mut pipeline_binary = pipeline_binary::Features::new(vk::FALSE);
    let mut maintenance5 = vk::PhysicalDeviceMaintenance5FeaturesKHR::default();
    let mut all =
        vk::PhysicalDeviceFeatures2::default().push_next(&mut v11).push_next(&mut v12).push_next(&mut v13);
    if snapshot.has_extension(ext::shader_atomic_float::NAME) {
        all = all.push_next(&mut atomic_float);
    }
    if snapshot.has_extension(khr::shader_subgroup_uniform_control_flow::NAME) {
        all = all.push_next(&mut uniform_control_flow);
    }
    if snapshot.has_extension(khr::cooperative_matrix::NAME) {
        all = all.push_next(&mut cooperative_matrix);
    }
    if snapshot.has_extension(bfloat16::NAME) {
        all = all.push_next(&mut bfloat16);
    }
    if snapshot.has_extension(khr::workgroup_memory_explicit_layout::NAME) {
        all = all.push_next(&mut explicit_layout);
    }
    if snapshot.has_extension(ext::robustness2::NAME) {
        all = all.push_next(&mut robustness2);
    }
    if snapshot.has_extension(pipeline_binary::NAME) && snapshot.has_extension(khr::maintenance5::NAME) {
        all = all.push_next(&mut pipeline_binary).push_next(&mut maintenance5);
    }
    // SAFETY: `device` was enumerated from `instance`; its version and extensions have these structures.
    unsafe { instance.get_physical_device_features2(device, &mut all) };
    let base = all.features;
    let both = |buffer: vk::Bool32, shared: vk::Bool32| buffer != 0 && shared != 0;
    let types = TypeFeatures {
        int8: v12.shader_int8 != 0,
        int16: base.shader_int16 != 0,
        int64: base.shader_int64 != 0,
        float16: v12.shader_float16 != 0,
        float64: base.shader_float64 != 0,
        storage8: v12.storage_buffer8_bit_access != 0,
        storage16: v11.storage_buffer16_bit_access != 0,
        atomic_int64: both(v12.shader_buffer_int64_atomics, v12.shader_shared_int64_atomics),
        // Memory that is added to may also be loaded, stored and exchanged.
        atomic_float_add: both(
            atomic_float.shader_buffer_float32_atomic_add,
            atomic_float.shader_shared_float32_atomic_add,
        ) && both(
            atomic_float.shader_buffer_float32_atomics,
            atomic_float.shader_shared_float32_atomics,
        ),
        atomic_double_add: both(
            atomic_float.shader_buffer_float64_atomic_add,
            atomic_float.shader_shared_float64_atomic_add,
        ) && both(
            atomic_float.shader_buffer_float64_atomics,
            atomic_float.shader_shared_float64_atomics,
        ),
    };
    snapshot.features = Features {
        robust_buffer_access: base.robust_buffer_access != 0,
        vulkan_memory_model: v12.vulkan_memory_model != 0,
        timeline_semaphore: v12.timeline_semaphore != 0,
        buffer_device_address: v12.buffer_device_address != 0,
        synchronization2: v13.synchronization2 != 0,
        robust_buffer_access2: robustness2.robust_buffer_access2 != 0,
        integer_dot_product: v13.shader_integer_dot_product != 0,
        subgroup_extended_types: v12.shader_subgroup_extended_types != 0,
        subgroup_size_control: v13.subgroup_size_control != 0,
        subgroup_uniform_control_flow: uniform_control_flow.shader_subgroup_uniform_control_flow != 0,
        cooperative_matrix: cooperative_matrix.cooperative_matrix != 0,
        bfloat16_matrix: both(bfloat16.bfloat16_type, bfloat16.bfloat16_cooperative_matrix),
        cache_control: v13.pipeline_creation_cache_control != 0,
        pipeline_binaries: both(pipeline_binary.pipeline_binaries, maintenance5.maintenance5),
        // Views may be of any type that the device has.
        explicit_shared_layout: explicit_layout.workgroup_memory_explicit_layout != 0
            && explicit_layout.workgroup_memory_explicit_layout8_bit_access != 0
            && explicit_layout.workgroup_memory_explicit_layout16_bit_access != 0,
        types,
    };
}

impl PhysicalSnapshot {
    pub(crate) fn has_extension(&self, name: &CStr) -> bool {
        self.extensions.iter().any(|e| e.as_bytes() == name.to_bytes())
    }

    /// Returns the driver's name and version for display: `llvmpipe (Mesa 22.3.6)`.
    pub(crate) fn driver(&self) -> String {
        if self.driver_info.is_empty() {
            let version = self.driver_version;
            format!(
                "{} ({}.{}.{})",
                self.driver_name,
                vk::api_version_major(version),
                vk::api_version_minor(version),
                vk::api_version_patch(version)
            )
        } else {
            format!("{} ({})", self.driver_name, self.driver_info)
        }
    }
}

fn kind(kind: vk::PhysicalDeviceType) -> DeviceKind {
    match kind {
        vk::PhysicalDeviceType::DISCRETE_GPU => DeviceKind::Discrete,
        vk::PhysicalDeviceType::INTEGRATED_GPU => DeviceKind::Integrated,
        vk::PhysicalDeviceType::VIRTUAL_GPU => DeviceKind::Virtual,
        vk::PhysicalDeviceType::CPU => DeviceKind::Cpu,
        _ => DeviceKind::Other,
    }
}

fn limits(l: &vk::PhysicalDeviceLimits) -> PhysicalLimits {
    PhysicalLimits {
        max_compute_work_group_invocations: l.max_compute_work_group_invocations,
        max_compute_work_group_size: l.max_compute_work_group_size,
        max_compute_work_group_count: l.max_compute_work_group_count,
        max_compute_shared_memory_size: l.max_compute_shared_memory_size,
        max_storage_buffer_range: l.max_storage_buffer_range,
        min_storage_buffer_offset_alignment: l.min_storage_buffer_offset_alignment,
        max_push_constants_size: l.max_push_constants_size,
        max_per_stage_descriptor_storage_buffers: l.max_per_stage_descriptor_storage_buffers,
        max_descriptor_set_storage_buffers: l.max_descriptor_set_storage_buffers,
        max_per_stage_resources: l.max_per_stage_resources,
        timestamp_period: l.timestamp_period,
        // Added by later versions; filled in from their structures.
        max_memory_allocation_size: 0,
        max_buffer_size: 0,
    }
}

fn queue_family(family: &vk::QueueFamilyProperties) -> QueueFamily {
    QueueFamily {
        compute: family.queue_flags.contains(vk::QueueFlags::COMPUTE),
        graphics: family.queue_flags.contains(vk::QueueFlags::GRAPHICS),
        queues: family.queue_count,
        timestamp_valid_bits: family.timestamp_valid_bits,
    }
}

fn memory_type(memory: &vk::MemoryType) -> MemoryType {
    let has = |flags| memory.property_flags.contains(flags);
    MemoryType {
        device_local: has(vk::MemoryPropertyFlags::DEVICE_LOCAL),
        host_visible: has(vk::MemoryPropertyFlags::HOST_VISIBLE),
        host_coherent: has(vk::MemoryPropertyFlags::HOST_COHERENT),
    }
}

fn text(name: &CStr) -> String {
    name.to_string_lossy().trim().to_owned()
}

#[cfg(test)]
pub(crate) mod sample {
    //! Snapshots of lavapipe and of a typical discrete GPU.

    use super::*;

    /// Returns the facts that lavapipe of Mesa 22.3.6 reports.
    pub(crate) fn lavapipe() -> PhysicalSnapshot {
        PhysicalSnapshot {
            name: "llvmpipe (LLVM 15.0.6, 256 bits)".to_owned(),
            kind: DeviceKind::Cpu,
            vendor_id: 0x10005,
            device_id: 0,
            api_version: ApiVersion(1, 3),
            driver_version: 1,
            device_uuid: *b"mesa22.3.6\0\0\0\0\0\0",
            cache_uuid: *b"lavapipe 22.3.6 ",
            driver_name: "llvmpipe".to_owned(),
            driver_info: "Mesa 22.3.6 (LLVM 15.0.6)".to_owned(),
            limits: PhysicalLimits {
                max_compute_work_group_invocations: 1024,
                max_compute_work_group_size: [1024; 3],
                max_compute_work_group_count: [65_535; 3],
                max_compute_shared_memory_size: 32_768,
                max_storage_buffer_range: 134_217_728,
                min_storage_buffer_offset_alignment: 16,
                max_push_constants_size: 128,
                max_per_stage_descriptor_storage_buffers: 32,
                max_descriptor_set_storage_buffers: 256,
                max_per_stage_resources: 128,
                timestamp_period: 1.0,
                max_memory_allocation_size: 0x8000_0000,
                max_buffer_size: 0xffff_ffff,
            },
            features: Features {
                robust_buffer_access: true,
                vulkan_memory_model: true,
                timeline_semaphore: true,
                buffer_device_address: true,
                synchronization2: true,
                robust_buffer_access2: true,
                integer_dot_product: true,
                subgroup_extended_types: true,
                subgroup_size_control: true,
                subgroup_uniform_control_flow: false,
                explicit_shared_layout: false,
                cooperative_matrix: false,
                bfloat16_matrix: false,
                cache_control: true,
                pipeline_binaries: false,
                types: TypeFeatures {
                    int8: true,
                    int16: true,
                    int64: true,
                    float16: true,
                    float64: true,
                    storage8: true,
                    storage16: true,
                    atomic_int64: true,
                    atomic_float_add: true,
                    atomic_double_add: false,
                },
            },
            float_controls: FloatProperties {
                widths: [FloatControls { rounding_mode_rte: true, ..FloatControls::LEAST }; 3],
                denorms: Independence::All,
                rounding: Independence::All,
            },
            subgroups: SubgroupProperties { size: 8, complete: true, sizes_vary: false },
            queue_families: vec![QueueFamily {
                compute: true,
                graphics: true,
                queues: 1,
                timestamp_valid_bits: 64,
            }],
            extensions: vec!["VK_EXT_robustness2".to_owned(), "VK_EXT_shader_atomic_float".to_owned()],
            memory_types: vec![MemoryType { device_local: true, host_visible: true, host_coherent: true }],
            memory_bytes: 8 << 30,
            products: Vec::new(),
        }
    }

    /// Returns the facts of a typical discrete GPU: a compute-only queue family, and memory separate from the host's.
    pub(crate) fn discrete() -> PhysicalSnapshot {
        let base = lavapipe();
        PhysicalSnapshot {
            name: "Example GPU 9".to_owned(),
            kind: DeviceKind::Discrete,
            driver_name: "Example".to_owned(),
            driver_info: String::new(),
            driver_version: vk::make_api_version(0, 5, 80, 1),
            float_controls: FloatProperties {
                widths: base.float_controls.widths.map(|w| FloatControls { denorm_preserve: true, ..w }),
                ..base.float_controls
            },
            limits: PhysicalLimits {
                max_storage_buffer_range: u32::MAX,
                max_push_constants_size: 256,
                max_per_stage_descriptor_storage_buffers: 1_048_576,
                max_descriptor_set_storage_buffers: 1_048_576,
                max_per_stage_resources: u32::MAX,
                timestamp_period: 2.0,
                ..base.limits
            },
            queue_families: vec![
                QueueFamily { compute: true, graphics: true, queues: 16, timestamp_valid_bits: 64 },
                QueueFamily { compute: false, graphics: false, queues: 2, timestamp_valid_bits: 64 },
                QueueFamily { compute: true, graphics: false, queues: 8, timestamp_valid_bits: 36 },
            ],
            memory_types: vec![
                MemoryType { device_local: true, host_visible: false, host_coherent: false },
                MemoryType { device_local: false, host_visible: true, host_coherent: true },
                MemoryType { device_local: true, host_visible: true, host_coherent: true },
            ],
            ..base
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_is_named_with_its_version() {
        assert_eq!(sample::lavapipe().driver(), "llvmpipe (Mesa 22.3.6 (LLVM 15.0.6))");
        assert_eq!(sample::discrete().driver(), "Example (5.80.1)");
    }

    #[test]
    fn facts_are_read_from_the_drivers_structures() {
        let family = vk::QueueFamilyProperties::default()
            .queue_flags(vk::QueueFlags::COMPUTE | vk::QueueFlags::TRANSFER)
            .queue_count(8)
            .timestamp_valid_bits(36);
        let expected = QueueFamily { compute: true, graphics: false, queues: 8, timestamp_valid_bits: 36 };
        assert_eq!(queue_family(&family), expected);
        let visible = vk::MemoryType::default()
            .property_flags(vk::MemoryPropertyFlags::HOST_VISIBLE | vk::MemoryPropertyFlags::HOST_COHERENT);
        let expected = MemoryType { device_local: false, host_visible: true, host_coherent: true };
        assert_eq!(memory_type(&visible), expected);
        assert_eq!(kind(vk::PhysicalDeviceType::VIRTUAL_GPU), DeviceKind::Virtual);
        assert_eq!(kind(vk::PhysicalDeviceType::from_raw(77)), DeviceKind::Other);
        assert!(DeviceKind::Discrete < DeviceKind::Integrated && DeviceKind::Virtual < DeviceKind::Cpu);
        assert!(ApiVersion(1, 2) < ApiVersion(1, 3) && ApiVersion(1, 3) < ApiVersion(2, 0));
    }

    #[test]
    fn extensions_are_found_by_their_whole_name() {
        let snapshot = sample::lavapipe();
        assert!(snapshot.has_extension(ext::robustness2::NAME));
        assert!(!snapshot.has_extension(c"VK_EXT_robustness"));
    }
}
