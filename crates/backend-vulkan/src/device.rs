//! The `VkDevice`: created from its plan, marked when lost, destroyed when idle or leaked on purpose. All decisions are
//! in [`crate::plan`].

use std::ffi::CString;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use ash::{ext, vk};
use fulgurite_hal::{DeviceError, Error, Process};
use fulgurite_pipeline_cache::{DeviceParts, PipelineCache, PipelineDeviceFingerprint};
use gpu_allocator::vulkan::{Allocator, AllocatorCreateDesc};
use gpu_allocator::{AllocationSizes, AllocatorDebugSettings};

use crate::commands::Slot;
use crate::driver::Driver;
use crate::error::{BACKEND, allocation_error, device_error};
use crate::instance::Instance;
use crate::lock::lock;
use crate::pipeline_store::PipelineStore;
use crate::plan::DevicePlan;
use crate::sync::Timeline;
use crate::{bfloat16, exit, pipeline_binary};

/// Size of the first memory block in bytes. Blocks double up to the largest size, so that a program's first launch does
/// not wait for memory that it may never need.
const FIRST_BLOCK: u64 = 4 << 20;
/// Sizes in bytes of the largest device and host blocks.
const LARGEST_BLOCKS: [u64; 2] = [256 << 20, 64 << 20];

/// A device and the state that its users share. Buffers and executables hold an `Arc` of it.
pub(crate) struct Device {
    pub(crate) raw: ash::Device,
    pub(crate) plan: DevicePlan,
    pub(crate) timeline: Timeline,
    /// Command slots that are not in use.
    pub(crate) idle_slots: Mutex<Vec<Slot>>,
    // Both are dropped by hand, in order, and only if the device is idle.
    allocator: ManuallyDrop<Mutex<Allocator>>,
    instance: ManuallyDrop<Arc<Instance>>,
    lost: AtomicBool,
    /// The process that opened the device. A forked child has none of the driver's threads.
    process: Process,
    /// The functions of `VK_KHR_pipeline_binary`, if enabled.
    binaries: Option<pipeline_binary::Functions>,
    /// Compiled kernels that outlive the process.
    kept: PipelineStore,
    /// The functions that set debug labels, if `VK_EXT_debug_utils` is enabled.
    labels: Option<ext::debug_utils::Device>,
}

impl Device {
    /// Creates the device that `plan` describes. Calls `store` for the cache of compiled kernels once the device
    /// exists.
    pub(crate) fn open(
        instance: Arc<Instance>,
        physical: vk::PhysicalDevice,
        plan: DevicePlan,
        store: impl FnOnce() -> Option<PipelineCache>,
    ) -> Result<Arc<Self>, Error> {
        let raw = create(&instance, physical, &plan)?;
        let enabled = plan.features.pipeline_binaries;
        let binaries = if enabled { pipeline_binary::Functions::load(&instance.raw, &raw) } else { None };
        let parts = allocator(&instance, physical, &raw).and_then(|allocator| {
            // SAFETY: the plan's queue family has a queue, and one was requested.
            let queue = unsafe { raw.get_device_queue(plan.queue_family, 0) };
            Ok((allocator, Timeline::create(&raw, queue)?))
        });
        match parts {
            Ok((allocator, timeline)) => {
                let device = Arc::new(Self {
                    kept: kept(&plan, binaries.as_ref(), store()),
                    binaries,
                    labels: instance
                        .has_debug_utils()
                        .then(|| ext::debug_utils::Device::new(&instance.raw, &raw)),
                    raw,
                    plan,
                    timeline,
                    idle_slots: Mutex::default(),
                    allocator: ManuallyDrop::new(Mutex::new(allocator)),
                    instance: ManuallyDrop::new(instance),
                    lost: AtomicBool::new(false),
                    process: Process::current(),
                });
                exit::register(&device);
                Ok(device)
            }
            Err(error) => {
                // SAFETY: no object created from the device is still alive.
                unsafe { raw.destroy_device(None) };
                Err(error)
            }
        }
    }

    /// Returns the store of compiled kernels that outlive the process.
    pub(crate) fn kept(&self) -> &PipelineStore {
        &self.kept
    }

    /// Returns the functions of `VK_KHR_pipeline_binary`, if enabled.
    pub(crate) fn binaries(&self) -> Option<&pipeline_binary::Functions> {
        self.binaries.as_ref()
    }

    /// Returns the instance.
    pub(crate) fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Locks the allocator. The lock is never held across a wait.
    pub(crate) fn allocator(&self) -> MutexGuard<'_, Allocator> {
        lock(&self.allocator)
    }

    /// Begins a debug label. Returns the argument of [`end_label`](Self::end_label).
    pub(crate) fn begin_label(&self, commands: vk::CommandBuffer, label: &str) -> bool {
        let (Some(functions), Ok(name)) = (&self.labels, CString::new(label)) else { return false };
        let info = vk::DebugUtilsLabelEXT::default().label_name(&name);
        // SAFETY: the caller is recording `commands`, which is of this device, whose instance has the extension
        // enabled.
        unsafe { functions.cmd_begin_debug_utils_label(commands, &info) };
        true
    }

    /// Ends a label, if one was begun.
    pub(crate) fn end_label(&self, commands: vk::CommandBuffer, begun: bool) {
        if let (Some(functions), true) = (&self.labels, begun) {
            // SAFETY: as in `begin_label`, which was called for the same commands.
            unsafe { functions.cmd_end_debug_utils_label(commands) };
        }
    }

    /// Returns whether the device is lost or belongs to another process; none of its objects may then be destroyed.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst) || !self.process.is_current()
    }

    /// Returns an error if the device is lost or belongs to another process.
    pub(crate) fn check_alive(&self) -> Result<(), Error> {
        self.process.check()?;
        if self.is_lost() { Err(DeviceError::Lost("an earlier launch").into()) } else { Ok(()) }
    }

    /// Marks the device as lost: from now on all its handles are leaked.
    pub(crate) fn lose(&self, during: &'static str) -> Error {
        self.lost.store(true, Ordering::SeqCst);
        DeviceError::Lost(during).into()
    }

    /// Converts the result of a failed call; marks the device as lost if the driver reports that.
    pub(crate) fn fail(&self, call: &'static str, result: vk::Result, bytes: u64) -> Error {
        match device_error(call, result, bytes) {
            DeviceError::Lost(call) => self.lose(call),
            other => other.into(),
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _inside = exit::enter();
        if self.is_lost() || !self.is_idle() {
            // Work may still run: destroying objects in use is undefined behavior, and the driver may never return.
            return;
        }
        for slot in lock(&self.idle_slots).drain(..) {
            slot.destroy(&self.raw, &mut lock(&self.allocator));
        }
        // SAFETY: the device is idle, and the owners of handles made from it held an `Arc` of it and are gone.
        // Both values are taken only here, the allocator before the device whose memory it frees.
        unsafe {
            self.timeline.destroy(&self.raw);
            ManuallyDrop::drop(&mut self.allocator);
            self.raw.destroy_device(None);
            ManuallyDrop::drop(&mut self.instance);
        }
    }
}

/// Returns the store of compiled kernels: over `store`, or in memory only.
fn kept(
    plan: &DevicePlan,
    binaries: Option<&pipeline_binary::Functions>,
    store: Option<PipelineCache>,
) -> PipelineStore {
    let global_key = binaries.and_then(|functions| functions.global_key().ok()).unwrap_or_default();
    let driver = Driver::new(plan.keeping, plan.writer);
    let Some(store) = store else { return PipelineStore::nothing(driver) };
    let extensions = plan.extensions.iter().map(|name| name.to_string_lossy().into_owned());
    // Every feature by name, in the order of the fields.
    let features: Vec<String> = extensions.chain([format!("{:?}", plan.features)]).collect();
    let fingerprint = PipelineDeviceFingerprint::from_parts(&DeviceParts {
        backend: BACKEND,
        vendor: plan.writer.vendor,
        device: plan.writer.device,
        driver: &plan.snapshot.driver,
        driver_version: plan.writer.driver_version,
        cache_uuid: plan.writer.cache_uuid,
        pointer_bytes: size_of::<usize>() as u32,
        features: &features,
        global_key: &global_key,
    });
    PipelineStore::new(store, driver, fingerprint)
}

fn create(
    instance: &Instance,
    physical: vk::PhysicalDevice,
    plan: &DevicePlan,
) -> Result<ash::Device, Error> {
    let queues =
        [vk::DeviceQueueCreateInfo::default().queue_family_index(plan.queue_family).queue_priorities(&[1.0])];
    let extensions: Vec<_> = plan.extensions.iter().map(|name| name.as_ptr()).collect();
    let types = plan.features.types;
    let features = vk::PhysicalDeviceFeatures::default()
        .robust_buffer_access(plan.features.robust_buffer_access)
        .shader_int16(types.int16)
        .shader_int64(types.int64)
        .shader_float64(types.float64);
    let mut v11 = vk::PhysicalDeviceVulkan11Features::default().storage_buffer16_bit_access(types.storage16);
    let mut v12 = vk::PhysicalDeviceVulkan12Features::default()
        .shader_int8(types.int8)
        .shader_subgroup_extended_types(plan.features.subgroup_extended_types)
        .shader_float16(types.float16)
        .storage_buffer8_bit_access(types.storage8)
        .shader_buffer_int64_atomics(types.atomic_int64)
        .shader_shared_int64_atomics(types.atomic_int64)
        .vulkan_memory_model(true)
        .timeline_semaphore(true)
        .buffer_device_address(true);
    let mut v13 = vk::PhysicalDeviceVulkan13Features::default()
        .synchronization2(true)
        .subgroup_size_control(plan.features.subgroup_size_control)
        .pipeline_creation_cache_control(plan.features.cache_control)
        .shader_integer_dot_product(true);
    let mut robustness2 = vk::PhysicalDeviceRobustness2FeaturesEXT::default().robust_buffer_access2(true);
    let mut uniform_control_flow = vk::PhysicalDeviceShaderSubgroupUniformControlFlowFeaturesKHR::default()
        .shader_subgroup_uniform_control_flow(true);
    let mut cooperative_matrix =
        vk::PhysicalDeviceCooperativeMatrixFeaturesKHR::default().cooperative_matrix(true);
    let mut bfloat16 = bfloat16::Features::matrices();
    let mut pipeline_binaries = pipeline_binary::Features::new(vk::TRUE);
    let mut maintenance5 = vk::PhysicalDeviceMaintenance5FeaturesKHR::default().maintenance5(true);
    let mut explicit_layout = vk::PhysicalDeviceWorkgroupMemoryExplicitLayoutFeaturesKHR::default()
        .workgroup_memory_explicit_layout(true)
        .workgroup_memory_explicit_layout8_bit_access(true)
        .workgroup_memory_explicit_layout16_bit_access(true);
    let mut atomic_float = vk::PhysicalDeviceShaderAtomicFloatFeaturesEXT::default()
        .shader_buffer_float32_atomics(types.atomic_float_add)
        .shader_buffer_float32_atomic_add(types.atomic_float_add)
        .shader_shared_float32_atomics(types.atomic_float_add)
        .shader_shared_float32_atomic_add(types.atomic_float_add)
        .shader_buffer_float64_atomics(types.atomic_double_add)
        .shader_buffer_float64_atomic_add(types.atomic_double_add)
        .shader_shared_float64_atomics(types.atomic_double_add)
        .shader_shared_float64_atomic_add(types.atomic_double_add);
    let mut info = vk::DeviceCreateInfo::default()
        .queue_create_infos(&queues)
        .enabled_extension_names(&extensions)
        .enabled_features(&features)
        .push_next(&mut v11)
        .push_next(&mut v12)
        .push_next(&mut v13);
    if plan.features.robust_buffer_access2 {
        info = info.push_next(&mut robustness2);
    }
    if types.atomic_float_add || types.atomic_double_add {
        info = info.push_next(&mut atomic_float);
    }
    if plan.features.subgroup_uniform_control_flow {
        info = info.push_next(&mut uniform_control_flow);
    }
    if plan.features.cooperative_matrix {
        info = info.push_next(&mut cooperative_matrix);
    }
    if plan.features.bfloat16_matrix {
        info = info.push_next(&mut bfloat16);
    }
    if plan.features.explicit_shared_layout {
        info = info.push_next(&mut explicit_layout);
    }
    if plan.features.pipeline_binaries {
        info = info.push_next(&mut pipeline_binaries).push_next(&mut maintenance5);
    }
    // SAFETY: the physical device is of this instance, and its snapshot has everything that `info` enables.
    unsafe { instance.raw.create_device(physical, &info, None) }
        .map_err(|r| device_error("vkCreateDevice", r, 0).into())
}

fn allocator(
    instance: &Instance,
    physical: vk::PhysicalDevice,
    device: &ash::Device,
) -> Result<Allocator, Error> {
    let mut debug_settings = AllocatorDebugSettings::default();
    // Memory leaks only on purpose, with a lost device.
    debug_settings.log_leaks_on_shutdown = false;
    Allocator::new(&AllocatorCreateDesc {
        instance: instance.raw.clone(),
        device: device.clone(),
        physical_device: physical,
        debug_settings,
        buffer_device_address: true,
        allocation_sizes: AllocationSizes::new(FIRST_BLOCK, FIRST_BLOCK)
            .with_max_device_memblock_size(LARGEST_BLOCKS[0])
            .with_max_host_memblock_size(LARGEST_BLOCKS[1]),
    })
    .map_err(|error| allocation_error(&error, 0).into())
}
