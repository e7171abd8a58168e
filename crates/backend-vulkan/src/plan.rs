//! Decisions about a physical device, from its facts alone: which device to use, what to enable on it, what emission
//! may use, and whether a kernel fits. Pure; makes no Vulkan calls.

use std::ffi::CStr;
use std::time::Duration;

use ash::{ext, khr};
use fulgurite_hal::Error;
use fulgurite_ir::analysis::{Event, Walk};
use fulgurite_ir::{ArrayDecl, Control, InstId, Kernel};
use fulgurite_spec::device::{Capability, DeviceSnapshot, Limits, Matrices, MatrixShapes};
use fulgurite_spec::limits::{
    MAX_DECLARATIONS, MAX_SHARED_BYTES, MAX_SUBGROUP_SIZE, MAX_WORKGROUP_INVOCATIONS,
};
use fulgurite_spec::{MatrixScope, ScalarType};
use fulgurite_spirv::{BlockPlacement, Layout, Module, Profile, Rules};

use crate::blob::Writer;
use crate::driver::Keeping;
use crate::error::BACKEND;
use crate::options::Options;
use crate::snapshot::{ApiVersion, DeviceKind, Independence, PhysicalSnapshot, QueryError, TypeFeatures};
use crate::{bfloat16, pipeline_binary, record};

/// Default time limit for a driver to compile a kernel.
const COMPILE_LIMIT: Duration = Duration::from_secs(120);
/// The vendor id of NVIDIA.
const NVIDIA: u32 = 0x10de;

/// The quirks of a driver, as detected by the probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DriverQuirks {
    /// Number of iterations after which the driver silently ends an invocation's loops.
    pub(crate) loop_limit: Option<u32>,
    /// The rules whose chains of ops the driver folded wrongly.
    pub(crate) misfolds: Rules,
    /// True if subgroups are not runs of consecutive flattened local indices.
    pub(crate) scrambles_lanes: bool,
    /// True if invocations wait for others at ordered atomics of workgroup scope.
    pub(crate) waits_at_fences: bool,
}

impl DriverQuirks {
    /// Returns descriptions of the quirks for users.
    fn names(self) -> Vec<String> {
        let loops = self.loop_limit.map(|limit| format!("ends loops after {limit} iterations"));
        let folds = self.misfolds.names().map(|rule| format!("folds wrongly: {rule}"));
        let lanes = self.scrambles_lanes.then(|| "scrambles lanes".to_owned());
        let fences = self.waits_at_fences.then(|| "waits at fences of a workgroup".to_owned());
        loops.into_iter().chain(folds).chain(lanes).chain(fences).collect()
    }
}

/// The quirks of an unknown driver, which is not trusted with any chain of ops.
impl Default for DriverQuirks {
    fn default() -> Self {
        Self { loop_limit: None, misfolds: Rules::ALL, scrambles_lanes: false, waits_at_fences: false }
    }
}

/// Everything that is needed to create a device.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DevicePlan {
    pub(crate) extensions: Vec<&'static CStr>,
    pub(crate) features: OptionalFeatures,
    pub(crate) queue_family: u32,
    pub(crate) memory: MemoryPlan,
    /// `None` if the queue family writes no timestamps.
    pub(crate) timestamps: Option<Timestamps>,
    pub(crate) bounds: Bounds,
    /// Time that a launch may run past its timeout, if the caller set it.
    pub(crate) grace_period: Option<Duration>,
    /// Time limit for the driver to compile a kernel.
    pub(crate) compile_limit: Duration,
    /// True if the driver compiles a pipeline at its first dispatch.
    pub(crate) compiles_late: bool,
    pub(crate) profile: Profile,
    /// The form in which the driver's pipelines are stored.
    pub(crate) keeping: Keeping,
    /// The writer of the driver's data.
    pub(crate) writer: Writer,
    pub(crate) snapshot: DeviceSnapshot,
}

/// Features to enable beyond the minimum requirements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OptionalFeatures {
    pub(crate) robust_buffer_access: bool,
    pub(crate) robust_buffer_access2: bool,
    pub(crate) types: TypeFeatures,
    pub(crate) subgroup_extended_types: bool,
    pub(crate) subgroup_uniform_control_flow: bool,
    /// Subgroup sizes vary, so pipelines request one.
    pub(crate) subgroup_size_control: bool,
    pub(crate) explicit_shared_layout: bool,
    pub(crate) cooperative_matrix: bool,
    pub(crate) bfloat16_matrix: bool,
    pub(crate) cache_control: bool,
    pub(crate) pipeline_binaries: bool,
}

/// The memory of buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemoryPlan {
    /// Memory that host and device share, mapped by the host.
    Mapped,
    /// Device memory, written and read through staging buffers.
    Staged,
}

/// The interpretation of timestamps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Timestamps {
    /// Nanoseconds per tick.
    pub(crate) period: f32,
    /// The valid bits.
    pub(crate) mask: u64,
}

/// Alignment of the sizes and base addresses of buffers in bytes.
pub(crate) const ALIGNMENT: u64 = 16;

/// Limits that only this backend checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Maximum number of storage buffers that one pipeline may bind.
    pub(crate) max_descriptors: u32,
    pub(crate) max_push_constant_bytes: u32,
    pub(crate) max_shared_bytes: u32,
    /// Alignment of descriptor offsets in bytes.
    pub(crate) descriptor_alignment: u64,
    /// Maximum range of one descriptor in bytes.
    pub(crate) max_descriptor_bytes: u64,
    /// Maximum size of a buffer in bytes.
    pub(crate) max_allocation_bytes: u64,
}

/// The reason why a device cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum PlanError {
    /// The device is below the minimum requirements.
    #[error("`{device}` lacks {}", missing.join(", "))]
    BelowLeast {
        device: String,
        /// Every missing feature.
        missing: Vec<String>,
    },
    /// The device could not be queried.
    #[error(transparent)]
    Unknown(#[from] QueryError),
    /// The options name an unknown rule.
    #[error("no rule of lowering is called `{0}`; there are {names}, and `all` and `none`", names = Rules::NAMES.join(", "))]
    NoRule(String),
    /// The environment names no limit of compilations.
    #[error("FULGURITE_VULKAN_COMPILE_LIMIT is `{0}`, which is no number of seconds above 0")]
    NoLimit(String),
}

/// The result of querying a physical device.
pub(crate) type Queried = Result<PhysicalSnapshot, QueryError>;

/// The reason why no device was chosen.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum ChoiceError {
    #[error("there is no Vulkan device")]
    NoDevice,
    #[error("no device matches `{wanted}`, which FULGURITE_VULKAN_DEVICE or `Options::device` selects: the devices are {}", names.join(", "))]
    NoMatch { wanted: String, names: Vec<String> },
    #[error("no device is suitable: {}", reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    NoneSuitable { reasons: Vec<PlanError> },
}

/// Returns for each device whether `wanted` (an index, or part of a name in any case) selects it; without it, all are.
pub(crate) fn selected(devices: &[Queried], wanted: Option<&str>) -> Result<Vec<bool>, ChoiceError> {
    if devices.is_empty() {
        return Err(ChoiceError::NoDevice);
    }
    let name = |queried: &Queried| match queried {
        Ok(known) => known.name.clone(),
        Err(unknown) => unknown.device.clone(),
    };
    let Some(wanted) = wanted else { return Ok(vec![true; devices.len()]) };
    let selected: Vec<bool> = match wanted.parse::<usize>() {
        Ok(number) => (0..devices.len()).map(|index| index == number).collect(),
        Err(_) => {
            let part = wanted.to_lowercase();
            devices.iter().map(|device| name(device).to_lowercase().contains(&part)).collect()
        }
    };
    if !selected.contains(&true) {
        return Err(ChoiceError::NoMatch {
            wanted: wanted.to_owned(),
            names: devices.iter().enumerate().map(|(i, d)| format!("{i} (`{}`)", name(d))).collect(),
        });
    }
    Ok(selected)
}

/// Chooses the best suitable device among those that `wanted` [selects](selected): discrete before integrated before
/// virtual before CPU. Returns its index and its facts.
pub(crate) fn choose<'d>(
    devices: &'d [Queried],
    wanted: Option<&str>,
) -> Result<(usize, &'d PhysicalSnapshot), ChoiceError> {
    let selected = selected(devices, wanted)?;
    let mut candidates: Vec<usize> = (0..devices.len()).filter(|index| selected[*index]).collect();
    candidates.sort_by_key(|index| devices[*index].as_ref().map_or_else(|e| e.kind, |d| d.kind));
    let mut reasons = Vec::new();
    for index in candidates {
        match &devices[index] {
            Ok(known) => match plan(known, DriverQuirks::default(), &Options::default()) {
                Ok(_) => return Ok((index, known)),
                Err(reason) => reasons.push(reason),
            },
            Err(unknown) => reasons.push(unknown.clone().into()),
        }
    }
    Err(ChoiceError::NoneSuitable { reasons })
}

/// Plans the use of a device.
pub(crate) fn plan(
    physical: &PhysicalSnapshot,
    quirks: DriverQuirks,
    options: &Options,
) -> Result<DevicePlan, PlanError> {
    if let Some(text) = &options.no_limit {
        return Err(PlanError::NoLimit(text.clone()));
    }
    let queue_family = queue_family(physical);
    let missing = missing(physical, queue_family);
    let Some(queue_family) = queue_family.filter(|_| missing.is_empty()) else {
        return Err(PlanError::BelowLeast { device: physical.name.clone(), missing });
    };

    let robustness2 = physical.features.robust_buffer_access2
        && physical.features.robust_buffer_access
        && physical.has_extension(ext::robustness2::NAME);
    let types = types(physical);
    let mut extensions = Vec::new();
    if robustness2 {
        extensions.push(ext::robustness2::NAME);
    }
    if types.atomic_float_add || types.atomic_double_add {
        extensions.push(ext::shader_atomic_float::NAME);
    }
    let bounds = bounds(physical);
    let mut profile = profile(physical, &bounds, quirks);
    if let Some(names) = &options.rules {
        profile.rules = asked_for(names)?;
    }
    profile.addresses = options.addresses && types.int64;
    if profile.subgroup_uniform_control_flow {
        extensions.push(khr::shader_subgroup_uniform_control_flow::NAME);
    }
    if profile.explicit_shared_layout {
        extensions.push(khr::workgroup_memory_explicit_layout::NAME);
    }
    let products = matrices(physical, quirks, types);
    let cooperative_matrix = !products.is_empty();
    if cooperative_matrix {
        extensions.push(khr::cooperative_matrix::NAME);
    }
    let bfloat16_matrix = products.iter().any(has_bfloat16);
    if bfloat16_matrix {
        extensions.push(bfloat16::NAME);
    }
    if physical.features.pipeline_binaries {
        extensions.extend([pipeline_binary::NAME, khr::maintenance5::NAME]);
    }
    let valid_bits = physical.queue_families[queue_family].timestamp_valid_bits;
    Ok(DevicePlan {
        extensions,
        features: OptionalFeatures {
            robust_buffer_access: physical.features.robust_buffer_access,
            robust_buffer_access2: robustness2,
            types,
            subgroup_extended_types: physical.features.subgroup_extended_types,
            subgroup_uniform_control_flow: profile.subgroup_uniform_control_flow,
            subgroup_size_control: physical.subgroups.sizes_vary && physical.features.subgroup_size_control,
            explicit_shared_layout: profile.explicit_shared_layout,
            cooperative_matrix,
            bfloat16_matrix,
            cache_control: physical.features.cache_control,
            pipeline_binaries: physical.features.pipeline_binaries,
        },
        queue_family: queue_family as u32,
        memory: if options.staging { MemoryPlan::Staged } else { memory(physical) },
        timestamps: (valid_bits > 0).then(|| Timestamps {
            period: physical.limits.timestamp_period,
            mask: u64::MAX >> 64u32.saturating_sub(valid_bits).min(63),
        }),
        bounds,
        grace_period: options.grace_period,
        compile_limit: options.compile_limit.unwrap_or(COMPILE_LIMIT),
        compiles_late: record::compiles_late(physical),
        keeping: match (physical.features.pipeline_binaries, physical.features.cache_control) {
            (true, _) => Keeping::Binaries,
            (false, true) => Keeping::CacheData,
            (false, false) => Keeping::CacheDataUntold,
        },
        writer: Writer {
            vendor: physical.vendor_id,
            device: physical.device_id,
            driver_version: physical.driver_version,
            cache_uuid: physical.cache_uuid,
        },
        snapshot: public_snapshot(physical, &bounds, &profile, quirks, robustness2, types, products),
        profile,
    })
}

/// Returns the minimum requirements that the device does not meet.
fn missing(physical: &PhysicalSnapshot, queue_family: Option<usize>) -> Vec<String> {
    let ApiVersion(major, minor) = physical.api_version;
    if physical.api_version < ApiVersion(1, 3) {
        return vec![format!("Vulkan 1.3 (it has {major}.{minor})")];
    }
    let features = &physical.features;
    [
        (features.vulkan_memory_model, "vulkanMemoryModel"),
        (features.timeline_semaphore, "timelineSemaphore"),
        (features.synchronization2, "synchronization2"),
        (features.buffer_device_address, "bufferDeviceAddress"),
        (features.integer_dot_product, "shaderIntegerDotProduct"),
        (
            physical.float_controls.widths[1].signed_zero_inf_nan_preserve,
            "shaderSignedZeroInfNanPreserveFloat32",
        ),
        (queue_family.is_some(), "a compute queue"),
        (
            physical.memory_types.iter().any(|m| m.host_visible && m.host_coherent),
            "host-visible coherent memory",
        ),
    ]
    .into_iter()
    .filter(|(there, _)| !there)
    .map(|(_, name)| name.to_owned())
    .collect()
}

/// Selects a compute queue family, preferably one without graphics, so that a desktop's rendering does not interfere.
fn queue_family(physical: &PhysicalSnapshot) -> Option<usize> {
    let families = &physical.queue_families;
    let usable = |index: &usize| families[*index].compute && families[*index].queues > 0;
    (0..families.len()).filter(usable).min_by_key(|index| families[*index].graphics)
}

/// Maps buffers on devices that share the host's memory. Mapped memory of a discrete device is slow to read.
fn memory(physical: &PhysicalSnapshot) -> MemoryPlan {
    let shared = physical.memory_types.iter().any(|m| m.device_local && m.host_visible && m.host_coherent);
    match physical.kind {
        DeviceKind::Integrated | DeviceKind::Cpu if shared => MemoryPlan::Mapped,
        _ => MemoryPlan::Staged,
    }
}

fn bounds(physical: &PhysicalSnapshot) -> Bounds {
    let limits = &physical.limits;
    // An allocation beyond maxMemoryAllocationSize may still succeed, and if it does not, the driver returns an error;
    // but a driver on the CPU may count bytes in 32 bits.
    let most = match physical.kind {
        DeviceKind::Cpu => limits.max_buffer_size.min(limits.max_memory_allocation_size),
        _ => limits.max_buffer_size,
    };
    Bounds {
        max_descriptors: limits
            .max_per_stage_descriptor_storage_buffers
            .min(limits.max_descriptor_set_storage_buffers)
            .min(limits.max_per_stage_resources),
        max_push_constant_bytes: limits.max_push_constants_size,
        max_shared_bytes: limits.max_compute_shared_memory_size,
        descriptor_alignment: limits.min_storage_buffer_offset_alignment.max(4),
        // Descriptors cover whole words.
        max_descriptor_bytes: u64::from(limits.max_storage_buffer_range & !3),
        // Sizes are rounded up, so a limit between two multiples cannot be reached.
        max_allocation_bytes: most / ALIGNMENT * ALIGNMENT,
    }
}

/// Returns the types that modules may use: a type only if buffers can hold it, and a float type only if signed zeros,
/// infinities and NaNs are preserved. `f16` also requires 16-bit integers, which hold its bits.
fn types(physical: &PhysicalSnapshot) -> TypeFeatures {
    let has = physical.features.types;
    let atomic_floats = physical.has_extension(ext::shader_atomic_float::NAME);
    let keeps = physical.float_controls.widths.map(|width| width.signed_zero_inf_nan_preserve);
    TypeFeatures {
        int8: has.int8 && has.storage8,
        int16: has.int16 && has.storage16,
        float16: has.float16 && has.int16 && has.storage16 && keeps[0],
        float64: has.float64 && keeps[2],
        atomic_int64: has.atomic_int64 && has.int64,
        atomic_float_add: has.atomic_float_add && atomic_floats,
        atomic_double_add: has.atomic_double_add && atomic_floats && has.float64 && keeps[2],
        ..has
    }
}

/// Parses the rules that the options name.
fn asked_for(names: &str) -> Result<Rules, PlanError> {
    match names {
        "all" => Ok(Rules::ALL),
        "none" => Ok(Rules::NONE),
        names => {
            Rules::named(names.split(',').map(str::trim)).map_err(|name| PlanError::NoRule(name.to_owned()))
        }
    }
}

/// Requires a float control for a width only if the device can set it independently of the other widths, because
/// modules declare nothing about widths that they do not use.
fn profile(physical: &PhysicalSnapshot, bounds: &Bounds, quirks: DriverQuirks) -> Profile {
    let floats = &physical.float_controls;
    let mut profile = Profile::least();
    profile.push_constant_bytes = bounds.max_push_constant_bytes;
    for (width, (has, demanded)) in floats.widths.iter().zip(&mut profile.floats).enumerate() {
        let apart = |independence: Independence| match independence {
            Independence::All => true,
            Independence::Single => width == 1,
            Independence::None => false,
        };
        demanded.rounding_mode_rte = has.rounding_mode_rte && apart(floats.rounding);
        demanded.denorm_preserve = has.denorm_preserve && apart(floats.denorms);
    }
    profile.subgroup_size = physical.subgroups.size;
    profile.subgroup_uniform_control_flow = physical.features.subgroup_uniform_control_flow
        && physical.has_extension(khr::shader_subgroup_uniform_control_flow::NAME);
    profile.explicit_shared_layout = physical.features.explicit_shared_layout
        && physical.has_extension(khr::workgroup_memory_explicit_layout::NAME);
    profile.driver_ends_loops = quirks.loop_limit.is_some();
    profile.rules = record::rules(physical).or(quirks.misfolds);
    profile.driver_waits_at_workgroup_fences = quirks.waits_at_fences;
    profile
}

/// Returns the cooperative matrix products that modules may use: only of types that the device supports otherwise too,
/// only on subgroups with lanes in order, and only with 64-bit integers, which locate the tiles.
fn matrices(physical: &PhysicalSnapshot, quirks: DriverQuirks, types: TypeFeatures) -> Vec<MatrixShapes> {
    let known = physical.features.cooperative_matrix
        && physical.has_extension(khr::cooperative_matrix::NAME)
        && subgroups(physical)
        && !quirks.scrambles_lanes
        && types.int64;
    let brain = physical.features.bfloat16_matrix && physical.has_extension(bfloat16::NAME);
    let has = |ty: ScalarType| match ty {
        ScalarType::I8 | ScalarType::U8 => types.int8,
        ScalarType::F16 => types.float16,
        // Outside of matrices, `bf16` values are 16-bit integers.
        ScalarType::BF16 => brain && types.int16,
        ScalarType::F64 => types.float64,
        // Lowering needs no feature for these, or the device would not have the capability.
        ScalarType::Bool
        | ScalarType::I16
        | ScalarType::U16
        | ScalarType::I32
        | ScalarType::U32
        | ScalarType::I64
        | ScalarType::U64
        | ScalarType::F32 => true,
    };
    let usable =
        |p: &&MatrixShapes| p.scope == MatrixScope::Subgroup && [p.a, p.b, p.acc].into_iter().all(has);
    physical.products.iter().filter(|_| known).filter(usable).copied().collect()
}

fn has_bfloat16(product: &MatrixShapes) -> bool {
    [product.a, product.b, product.acc].contains(&ScalarType::BF16)
}

/// Returns whether workgroups that have begun are known to make progress while others wait for them. No API reports
/// this, so these are the drivers on which scans with look-back were measured.
fn progresses(physical: &PhysicalSnapshot) -> bool {
    physical.vendor_id == NVIDIA && physical.driver_name == "NVIDIA"
}

/// Returns whether subgroups support every op of the language, on values of every type that the device has.
fn subgroups(physical: &PhysicalSnapshot) -> bool {
    let subgroups = &physical.subgroups;
    let narrow =
        physical.features.types.int8 || physical.features.types.int64 || physical.features.types.float16;
    let sized = subgroups.size.is_power_of_two() && subgroups.size <= MAX_SUBGROUP_SIZE;
    let controlled = !subgroups.sizes_vary || physical.features.subgroup_size_control;
    subgroups.complete && sized && controlled && (!narrow || physical.features.subgroup_extended_types)
}

fn public_snapshot(
    physical: &PhysicalSnapshot,
    bounds: &Bounds,
    profile: &Profile,
    quirks: DriverQuirks,
    robustness2: bool,
    types: TypeFeatures,
    products: Vec<MatrixShapes>,
) -> DeviceSnapshot {
    let mut snapshot = DeviceSnapshot::new(BACKEND, &physical.name, physical.driver());
    snapshot.capabilities = [
        (profile.floats[0].denorm_preserve && types.float16, Capability::SubnormalsF16),
        (profile.floats[1].denorm_preserve, Capability::SubnormalsF32),
        (profile.floats[2].denorm_preserve && types.float64, Capability::SubnormalsF64),
        (profile.floats[1].rounding_mode_rte, Capability::RoundingModeF32),
        (robustness2, Capability::Robustness2),
        (types.int8, Capability::Int8),
        (types.int16, Capability::Int16),
        (types.int64, Capability::Int64),
        (types.float16, Capability::Float16),
        // Stored and rounded as 16-bit integers.
        (types.int16, Capability::BFloat16),
        (types.float64, Capability::Float64),
        (types.atomic_int64, Capability::AtomicInt64),
        (types.atomic_float_add, Capability::AtomicFloatAdd),
        (types.atomic_double_add, Capability::AtomicDoubleAdd),
        (subgroups(physical) && !quirks.scrambles_lanes, Capability::Subgroups),
        (!products.is_empty(), Capability::CooperativeMatrix),
        (progresses(physical), Capability::WorkgroupProgress),
        // Addresses are computed as 64-bit integers.
        (types.int64, Capability::LargeBuffers),
    ]
    .into_iter()
    .filter(|(there, _)| *there)
    .map(|(_, capability)| capability)
    .collect();

    if !products.is_empty() {
        snapshot.matrices = Matrices::Listed(products);
    }
    let from = &physical.limits;
    let mut limits = Limits::unlimited();
    // Workgroups that use subgroup ops extend along x.
    let invocations = from.max_compute_work_group_invocations.min(from.max_compute_work_group_size[0]);
    limits.max_workgroup_invocations = invocations.min(MAX_WORKGROUP_INVOCATIONS);
    limits.max_workgroup_size = from.max_compute_work_group_size.map(|n| n.min(MAX_WORKGROUP_INVOCATIONS));
    limits.max_workgroup_count = from.max_compute_work_group_count;
    limits.max_shared_bytes = from.max_compute_shared_memory_size.min(MAX_SHARED_BYTES as u32);
    let reach = if types.int64 { u64::MAX } else { bounds.max_descriptor_bytes };
    limits.max_buffer_bytes = reach.min(bounds.max_allocation_bytes);
    limits.subgroup_size = profile.subgroup_size;
    // Buffers beyond the descriptors are accessed by address.
    let most = if types.int64 { u32::MAX } else { described_buffers(bounds) };
    limits.max_bound_buffers = most.min(MAX_DECLARATIONS as u32);
    limits.loop_limit = quirks.loop_limit;
    limits.max_nesting = record::nesting(physical) as u32;
    snapshot.limits = limits;
    snapshot.quirks = quirks.names();
    snapshot.rules = profile.rules.names().map(str::to_owned).collect();
    snapshot
}

/// Returns the depth of nested control flow. An `if` or the guard of an access counts as one level, a loop as two.
fn nesting(kernel: &Kernel) -> u32 {
    let weight = |id: InstId| match kernel.inst(id).kind.control() {
        Some(Control::If { .. }) => 1,
        Some(Control::For { .. } | Control::While { .. }) => 2,
        Some(Control::Region { .. }) | None => 0,
    };
    let (mut depth, mut deepest) = (0, 0);
    for event in Walk::new(kernel) {
        match event {
            Event::Inst(id) => {
                depth += weight(id);
                deepest = deepest.max(depth + 1);
            }
            Event::Done(id) => depth -= weight(id),
            Event::Enter(_) | Event::Exit(_) => {}
        }
    }
    deepest
}

/// Checks a kernel's workgroup, shared memory and nesting of control flow against `limits`.
pub(crate) fn check_kernel(kernel: &Kernel, limits: &Limits) -> Result<(), Error> {
    for (axis, name) in ["x", "y", "z"].into_iter().enumerate() {
        let (size, most) = (kernel.workgroup[axis], limits.max_workgroup_size[axis]);
        if size > most {
            return Err(Error::unsupported(
                format!("a workgroup of {size} invocations along {name}"),
                format!("at most {most}"),
            ));
        }
    }
    let (invocations, most) = (kernel.workgroup_invocations(), limits.max_workgroup_invocations);
    if invocations > most {
        let needs = format!("a workgroup of {invocations} invocations");
        return Err(Error::unsupported(needs, format!("at most {most}")));
    }
    let (bytes, most) = (kernel.shared_bytes(), limits.max_shared_bytes);
    if bytes > u64::from(most) {
        return Err(Error::unsupported(
            format!("{bytes} bytes of shared memory"),
            format!("at most {most} a workgroup"),
        ));
    }
    let (depth, most) = (nesting(kernel), limits.max_nesting);
    if depth > most {
        return Err(Error::unsupported(
            format!("control flow nested {depth} deep"),
            format!("at most {most}: the driver's compiler fails beyond"),
        ));
    }
    Ok(())
}

/// Checks that the driver compiles a kernel's local arrays within `limit`. Meant for drivers whose compiler keeps each
/// scalar of an array in a register: the time grows with the square of the number of scalars, and takes seconds for
/// 512.
pub(crate) fn check_local_arrays(kernel: &Kernel, limit: Duration) -> Result<(), Error> {
    let limit = limit.as_secs_f64();
    let count = |array: &ArrayDecl| f64::from(array.len) * f64::from(array.element.lanes.count());
    let scalars = kernel.locals.iter().map(count);
    let seconds: f64 = scalars.clone().map(|n| record::SECONDS_OF_1024_LOCALS * (n / 1024.0).powi(2)).sum();
    if seconds * record::SLOWER <= limit {
        return Ok(());
    }
    let most = 1024.0 * (limit / record::SLOWER / record::SECONDS_OF_1024_LOCALS).sqrt();
    Err(Error::unsupported(
        format!(
            "{} scalars in local arrays, which the driver takes {seconds:.0} seconds or more to compile",
            scalars.sum::<f64>()
        ),
        format!("at most {most:.0} in an array for a compile limit of {limit} seconds"),
    ))
}

/// Returns whether a kernel has more buffers than there are descriptors, on a device with the 64-bit integers that
/// access by address requires.
pub(crate) fn needs_addresses(kernel: &Kernel, plan: &DevicePlan) -> bool {
    let described = kernel.buffers.iter().filter(|buffer| !buffer.large).count() as u32;
    described > described_buffers(&plan.bounds) && plan.snapshot.has(Capability::Int64)
}

/// Returns the number of a kernel's buffers that descriptors can bind; the control buffer and the parameter block may
/// take two.
fn described_buffers(bounds: &Bounds) -> u32 {
    bounds.max_descriptors.saturating_sub(2)
}

/// Checks a module's bindings, push constants and shared memory against `bounds`.
pub(crate) fn check_layout(layout: &Layout, bounds: &Bounds) -> Result<(), Error> {
    let (descriptors, most) = (layout.bindings().len() as u32, bounds.max_descriptors);
    if descriptors > most {
        return Err(Error::unsupported(
            format!("{descriptors} storage buffers in one pipeline ({} of the kernel's)", layout.buffers),
            format!("at most {most}"),
        ));
    }
    let bytes = layout.block_words * 4;
    if layout.placement == BlockPlacement::PushConstants && bytes > bounds.max_push_constant_bytes {
        return Err(Error::unsupported(
            format!("{bytes} bytes of push constants"),
            format!("at most {}", bounds.max_push_constant_bytes),
        ));
    }
    if layout.shared_bytes > u64::from(bounds.max_shared_bytes) {
        return Err(Error::unsupported(
            format!(
                "{} bytes of shared memory with the 4 that stopping its loops takes",
                layout.shared_bytes
            ),
            format!("at most {}", bounds.max_shared_bytes),
        ));
    }
    Ok(())
}

/// Checks a module's id bound against the minimum that SPIR-V requires every driver to support.
pub(crate) fn check_module(module: &Module) -> Result<(), Error> {
    let (bound, most) = (module.id_bound(), Module::MAX_ID_BOUND);
    if bound > most {
        let needs = format!("a SPIR-V module of {bound} ids, for {} words", module.words.len());
        return Err(Error::unsupported(needs, format!("at most {most}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
