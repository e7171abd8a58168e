//! Tests of the plan on sample snapshots, without any device.

use super::*;
use crate::snapshot::sample::{discrete, lavapipe};

fn plan(physical: &PhysicalSnapshot, quirks: DriverQuirks) -> Result<DevicePlan, PlanError> {
    super::plan(physical, quirks, &Options::default())
}

/// Returns the index of the chosen device.
fn index(devices: &[Queried], wanted: Option<&str>) -> Result<usize, ChoiceError> {
    let (index, known) = choose(devices, wanted)?;
    assert_eq!(devices[index].as_ref(), Ok(known));
    Ok(index)
}

const NONE: DriverQuirks =
    DriverQuirks { loop_limit: None, misfolds: Rules::NONE, scrambles_lanes: false, waits_at_fences: false };

#[test]
fn what_the_environment_limits_compilations_to_is_used_or_refused() {
    let of = |options: &Options| super::plan(&lavapipe(), DriverQuirks::default(), options);
    let limit = |options: &Options| of(options).unwrap().compile_limit;
    assert_eq!(limit(&Options::default()), COMPILE_LIMIT);
    let second = Duration::from_secs(1);
    assert_eq!(limit(&Options::default().compile_limit(second)), second);
    let options = Options { no_limit: Some("soon".to_owned()), ..Options::default() };
    let error = of(&options).unwrap_err();
    assert_eq!(error, PlanError::NoLimit("soon".to_owned()));
    assert!(error.to_string().contains("`soon`, which is no number of seconds"), "{error}");
}

#[test]
fn options_name_the_rules_of_lowering() {
    let with = |names: &str| {
        super::plan(&lavapipe(), DriverQuirks::default(), &Options::default().rules(names))
            .map(|plan| plan.profile.rules)
    };
    assert_eq!(with("all"), Ok(Rules::ALL));
    assert_eq!(with("none"), Ok(Rules::NONE));
    assert_eq!(with("zeros, signs"), Ok(Rules { zeros: true, signs: true, ..Rules::NONE }));
    let error = with("zeros,sings").unwrap_err();
    assert!(error.to_string().contains("`sings`; there are zeros, "), "{error}");
}

#[test]
fn lavapipe_is_planned_with_its_quirk() {
    let plan = self::plan(
        &lavapipe(),
        DriverQuirks {
            loop_limit: Some(65_535),
            misfolds: Rules { signs: true, ..Rules::NONE },
            scrambles_lanes: false,
            waits_at_fences: true,
        },
    )
    .unwrap();
    assert_eq!(plan.extensions, [c"VK_EXT_robustness2", c"VK_EXT_shader_atomic_float"]);
    assert_eq!(plan.memory, MemoryPlan::Mapped);
    assert!(plan.profile.driver_ends_loops && plan.profile.floats[1].rounding_mode_rte);
    assert!(!plan.profile.floats[1].denorm_preserve);
    let snapshot = &plan.snapshot;
    assert_eq!(snapshot.backend, "vulkan");
    assert_eq!(snapshot.limits.loop_limit, Some(65_535));
    // The record waives `narrow_integers`, `wide_division` and `repeated_loads`; it waives `signs` too, but the probe found it necessary.
    assert_eq!(
        plan.profile.rules,
        Rules { wide_division: false, narrow_integers: false, repeated_loads: false, ..Rules::ALL }
    );
    assert!(plan.profile.driver_ends_loops);
    assert!(plan.profile.driver_waits_at_workgroup_fences);
    // Buffers beyond the number of descriptors are accessed by address.
    assert_eq!((plan.bounds.max_descriptors, snapshot.limits.max_bound_buffers), (32, 64));
    // Larger buffers are accessed by address.
    assert_eq!((plan.bounds.max_descriptor_bytes, snapshot.limits.max_buffer_bytes), (128 << 20, 2 << 30));
    for has in [Capability::RoundingModeF32, Capability::Robustness2, Capability::Int8, Capability::BFloat16]
    {
        assert!(snapshot.has(has), "{has}");
    }
    for lacks in [Capability::SubnormalsF32, Capability::AtomicDoubleAdd] {
        assert!(!snapshot.has(lacks), "{lacks}");
    }
}

#[test]
fn a_discrete_device_is_staged_on_its_compute_family() {
    let plan = self::plan(&discrete(), NONE).unwrap();
    assert_eq!((plan.queue_family, plan.memory), (2, MemoryPlan::Staged));
    assert_eq!(plan.timestamps, Some(Timestamps { period: 2.0, mask: (1 << 36) - 1 }));
    assert_eq!(plan.profile.push_constant_bytes, 256);
    assert!(plan.snapshot.has(Capability::SubnormalsF32) && !plan.profile.driver_ends_loops);
    // The device is not on record, so it gets every rule although its probes found no quirk.
    assert_eq!(plan.profile.rules, Rules::ALL);
    assert_eq!(plan.snapshot.rules.len(), Rules::NAMES.len());
    assert_eq!(plan.snapshot.limits.max_bound_buffers, 64);
    // The maximum size of one allocation is not a limit: more may succeed.
    assert_eq!(plan.snapshot.limits.max_buffer_bytes, 0xffff_fff0, "whole units of alignment");
    assert_eq!(plan.snapshot.limits.loop_limit, None);
}

#[test]
fn timestamps_use_every_valid_bit_or_are_off() {
    let mut device = lavapipe();
    assert_eq!(plan(&device, NONE).unwrap().timestamps.unwrap().mask, u64::MAX);
    device.queue_families[0].timestamp_valid_bits = 0;
    assert_eq!(plan(&device, NONE).unwrap().timestamps, None);
}

#[test]
fn a_device_below_the_least_is_refused_by_name() {
    let mut device = lavapipe();
    device.features.timeline_semaphore = false;
    device.float_controls.widths[1].signed_zero_inf_nan_preserve = false;
    let error = plan(&device, NONE).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`llvmpipe (LLVM 15.0.6, 256 bits)` lacks timelineSemaphore, shaderSignedZeroInfNanPreserveFloat32"
    );
    for (name, take) in [
        ("vulkanMemoryModel", (|d| d.features.vulkan_memory_model = false) as fn(&mut PhysicalSnapshot)),
        ("synchronization2", |d| d.features.synchronization2 = false),
        ("bufferDeviceAddress", |d| d.features.buffer_device_address = false),
        ("a compute queue", |d| d.queue_families[0].compute = false),
        ("host-visible coherent memory", |d| d.memory_types.clear()),
        ("Vulkan 1.3 (it has 1.2)", |d| d.api_version = ApiVersion(1, 2)),
    ] {
        let mut device = lavapipe();
        take(&mut device);
        let PlanError::BelowLeast { missing, .. } = plan(&device, NONE).unwrap_err() else {
            panic!("{name}")
        };
        assert_eq!(missing, [name]);
    }
}

#[test]
fn optional_features_need_all_that_they_rest_on() {
    let mut device = lavapipe();
    device.extensions.clear();
    let without = plan(&device, NONE).unwrap();
    assert!(without.extensions.is_empty() && !without.features.robust_buffer_access2);
    assert!(without.features.robust_buffer_access);
    assert!(
        !without.snapshot.has(Capability::Robustness2) && !without.snapshot.has(Capability::AtomicFloatAdd)
    );

    let mut device = lavapipe();
    device.features.types.storage16 = false;
    device.features.types.storage8 = false;
    device.float_controls.widths[2].signed_zero_inf_nan_preserve = false;
    let narrow = plan(&device, NONE).unwrap();
    for lacks in
        [Capability::Int8, Capability::Int16, Capability::Float16, Capability::BFloat16, Capability::Float64]
    {
        assert!(!narrow.snapshot.has(lacks), "{lacks}");
    }

    let mut device = discrete();
    device.float_controls.denorms = Independence::None;
    device.float_controls.rounding = Independence::None;
    let dependent = plan(&device, NONE).unwrap();
    assert!(!dependent.profile.floats[1].denorm_preserve && !dependent.profile.floats[1].rounding_mode_rte);
    assert!(!dependent.snapshot.has(Capability::SubnormalsF32));
}

#[test]
fn every_buffer_is_reached_by_address_only_if_the_caller_asks_and_the_device_has_wide_integers() {
    let with = Options::default().addresses(true);
    assert!(!plan(&lavapipe(), NONE).unwrap().profile.addresses);
    assert!(super::plan(&lavapipe(), NONE, &with).unwrap().profile.addresses);
    let mut device = lavapipe();
    device.features.types.int64 = false;
    assert!(!super::plan(&device, NONE, &with).unwrap().profile.addresses);
}

#[test]
fn more_buffers_than_descriptors_need_addresses_and_wide_integers() {
    let wide = plan(&lavapipe(), NONE).unwrap();
    let mut device = lavapipe();
    device.features.types.int64 = false;
    let narrow = plan(&device, NONE).unwrap();
    assert_eq!(narrow.snapshot.limits.max_bound_buffers, 30);
    for (buffers, needed) in [(1, false), (30, false), (31, true), (64, true)] {
        let declared: String = (0..buffers).map(|i| format!("  buffer %b{i}: write u32[]\n")).collect();
        let text = format!("fulgurite 1\nkernel @k workgroup(1, 1, 1) {{\n{declared}}}\n");
        let kernel = fulgurite_ir::text::parse(&text).unwrap();
        assert_eq!(needs_addresses(&kernel, &wide), needed, "{buffers}");
        assert!(!needs_addresses(&kernel, &narrow), "{buffers}");
        // Buffers accessed by address need no descriptor.
        let large = fulgurite_ir::text::parse(&text.replace("u32[]", "u32[] large")).unwrap();
        assert!(!needs_addresses(&large, &wide), "{buffers}");
    }
}

#[test]
fn buffers_are_mapped_only_if_memory_is_shared_and_the_caller_agrees() {
    let mut device = discrete();
    device.kind = DeviceKind::Integrated;
    assert_eq!(plan(&device, NONE).unwrap().memory, MemoryPlan::Mapped);
    let staging = super::plan(&device, NONE, &Options::default().staging(true)).unwrap();
    assert_eq!(staging.memory, MemoryPlan::Staged);
    device.memory_types.pop();
    assert_eq!(plan(&device, NONE).unwrap().memory, MemoryPlan::Staged);
}

#[test]
fn the_best_suitable_device_is_chosen() {
    let mut old = discrete();
    old.name = "Old GPU".to_owned();
    old.api_version = ApiVersion(1, 1);
    let devices = [lavapipe(), old, discrete()].map(Ok);
    assert_eq!(index(&devices, None), Ok(2));
    assert_eq!(index(&devices[..2], None), Ok(0));
    assert_eq!(index(&[], None), Err(ChoiceError::NoDevice));
}

#[test]
fn a_selector_is_an_index_or_part_of_a_name() {
    let mut old = discrete();
    old.name = "Old GPU".to_owned();
    old.api_version = ApiVersion(1, 1);
    let devices = [lavapipe(), old, discrete()].map(Ok);
    assert_eq!(index(&devices, Some("LLVM")), Ok(0));
    assert_eq!(index(&devices, Some("2")), Ok(2));
    assert_eq!(index(&devices, Some("gpu")), Ok(2));
    let error = choose(&devices, Some("1")).unwrap_err();
    assert_eq!(error.to_string(), "no device is suitable: `Old GPU` lacks Vulkan 1.3 (it has 1.1)");
    let error = choose(&devices[..1], Some("7")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no device matches `7`, which FULGURITE_VULKAN_DEVICE or `Options::device` selects: the devices are 0 \
         (`llvmpipe (LLVM 15.0.6, 256 bits)`)"
    );
}

#[test]
fn a_device_that_cannot_be_queried_is_none_of_the_others_business() {
    let broken = QueryError {
        device: "Broken GPU".to_owned(),
        kind: DeviceKind::Discrete,
        error: fulgurite_hal::DeviceError::OutOfMemory { bytes: 0 },
    };
    let reason = format!("`Broken GPU` cannot be queried: {}", broken.error);
    let devices = [Err(broken), Ok(lavapipe())];
    assert_eq!(index(&devices, None), Ok(1));
    assert_eq!(index(&devices, Some("llvm")), Ok(1));
    for (devices, wanted) in
        [(&devices[..], Some("broken")), (&devices[..], Some("0")), (&devices[..1], None)]
    {
        let error = choose(devices, wanted).unwrap_err();
        assert_eq!(error.to_string(), format!("no device is suitable: {reason}"));
    }
    let error = choose(&devices, Some("7")).unwrap_err();
    assert!(error.to_string().contains("0 (`Broken GPU`), 1 (`llvmpipe"), "{error}");
}

#[test]
fn a_kernel_over_a_limit_is_refused_with_both_numbers() {
    let limits = plan(&lavapipe(), NONE).unwrap().snapshot.limits;
    let refused = |kernel: &Kernel| check_kernel(kernel, &limits).unwrap_err().to_string();
    assert_eq!(check_kernel(&Kernel::empty("k", [32, 32, 1]), &limits), Ok(()));
    assert!(
        refused(&Kernel::empty("k", [1, 2048, 1]))
            .contains("needs a workgroup of 2048 invocations along y, the device has at most 1024")
    );
    assert!(
        refused(&Kernel::empty("k", [64, 32, 1]))
            .contains("needs a workgroup of 2048 invocations, the device has at most 1024")
    );
    let mut shared = Kernel::empty("k", [1, 1, 1]);
    shared.shared.push(fulgurite_ir::kernel::ArrayDecl {
        name: "s".to_owned(),
        element: fulgurite_spec::Type::F32,
        len: 8193,
        initial: fulgurite_ir::Initial::Zero,
        location: fulgurite_spec::Location::Unknown,
    });
    assert!(refused(&shared).contains("needs 32772 bytes of shared memory, the device has at most 32768"));
}

fn layout(buffers: usize, push_constant_bytes: u32, control: bool) -> Layout {
    let mut profile = Profile::least();
    profile.push_constant_bytes = push_constant_bytes;
    Layout::new(&kernel_with_buffers(buffers), &profile, control)
}

fn kernel_with_buffers(count: usize) -> Kernel {
    let mut kernel = Kernel::empty("k", [1, 1, 1]);
    for i in 0..count {
        kernel.buffers.push(fulgurite_ir::kernel::BufferDecl {
            name: format!("b{i}"),
            element: fulgurite_spec::Type::U32,
            access: fulgurite_ir::kernel::Access::Read,
            large: false,
            location: fulgurite_spec::Location::Unknown,
        });
    }
    kernel
}

#[test]
fn a_layout_over_a_limit_is_refused_with_both_numbers() {
    let bounds = plan(&lavapipe(), NONE).unwrap().bounds;
    let layout = self::layout(30, 128, true);
    assert_eq!(check_layout(&layout, &bounds), Ok(()));
    let layout = self::layout(32, 128, true);
    let error = check_layout(&layout, &bounds).unwrap_err().to_string();
    assert!(error.contains("needs 33 storage buffers in one pipeline (32 of the kernel's)"), "{error}");
    assert!(error.contains("the device has at most 32"), "{error}");
    let layout = self::layout(33, 256, false);
    let wide = Bounds { max_descriptors: 64, ..bounds };
    let error = check_layout(&layout, &wide).unwrap_err().to_string();
    assert!(error.contains("needs 132 bytes of push constants, the device has at most 128"), "{error}");
    let mut layout = self::layout(1, 128, true);
    layout.shared_bytes = 32_768;
    assert_eq!(check_layout(&layout, &bounds), Ok(()));
    layout.shared_bytes += 4;
    let error = check_layout(&layout, &bounds).unwrap_err().to_string();
    assert!(error.contains("needs 32772 bytes of shared memory with the 4 that"), "{error}");
}

#[test]
fn a_module_of_more_ids_than_spirv_asks_drivers_to_take_is_refused() {
    let layout = self::layout(1, 128, false);
    let module = |bound| Module { words: vec![0, 0, 0, bound, 0], layout: layout.clone() };
    assert_eq!(check_module(&module(4_194_303)), Ok(()));
    let error = check_module(&module(4_194_304)).unwrap_err().to_string();
    assert!(error.contains("needs a SPIR-V module of 4194304 ids"), "{error}");
}

#[test]
fn control_flow_is_refused_beyond_the_depth_that_the_driver_is_given() {
    let nested = |depth: usize| {
        let mut text = String::from(
            "fulgurite 1\nkernel @k workgroup(1, 1, 1) {\n  buffer %y: write u32[]\n  param %n: u32\n",
        );
        for level in 0..depth {
            text += &format!("  %c{level} = gt %n, {level}u32\n  if %c{level} {{\n");
        }
        text += "  store %y[0u32], 1u32\n";
        text += &"  }\n".repeat(depth);
        text += "}\n";
        fulgurite_ir::text::parse(&text).and_then(fulgurite_ir::verify).unwrap()
    };
    let limits = plan(&lavapipe(), NONE).unwrap().snapshot.limits;
    // A guarded store in the innermost block adds one level.
    assert_eq!(check_kernel(&nested(63), &limits), Ok(()));
    let error = check_kernel(&nested(64), &limits).unwrap_err();
    assert!(error.to_string().contains("control flow nested 65 deep"), "{error}");
}

#[test]
fn local_arrays_are_refused_by_how_long_they_take_to_compile() {
    let kernel = |arrays: &str| {
        let text = format!("fulgurite 1\nkernel @k workgroup(1, 1, 1) {{\n{arrays}}}\n");
        fulgurite_ir::text::parse(&text).and_then(fulgurite_ir::verify).unwrap()
    };
    let limit = Duration::from_secs(120);
    let check = |arrays: &str, limit| super::check_local_arrays(&kernel(arrays), limit);
    for fits in
        ["", "local %a: u32[690]\n", "local %a: u32[480]\nlocal %b: f16[480]\n", "local %a: u64[512]\n"]
    {
        assert_eq!(check(fits, limit).err(), None, "{fits}");
    }
    for large in
        ["local %a: u32[691]\n", "local %a: u32[500]\nlocal %b: f16[500]\n", "local %a: f32x4[173]\n"]
    {
        let error = check(large, limit).unwrap_err();
        assert_eq!(error.code(), fulgurite_spec::Code::Unsupported, "{error}");
        assert!(error.to_string().contains("10 seconds or more"), "{error}");
        assert!(error.to_string().contains("at most 690 in an array"), "{error}");
        assert!(check(large, 2 * limit).is_ok(), "who has time may wait");
    }
}
