//! Buffers and launches on a real driver.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "this is a test"
)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use common::{COUNT, Opened, SAXPY, bytes, download, floats, open, open_with, options, scalar, words};
use fulgurite_hal::{Device as _, DeviceBuffer, DeviceError, Error, Executable, LaunchOptions};
use fulgurite_spec::Code;

fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491u32;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    })
    .take(length)
    .collect()
}

#[test]
fn buffers_of_any_size_round_trip_and_begin_zero() {
    for staging in [false, true] {
        let Some(vulkan) = open_with(options().staging(staging)) else { return };
        round_trip(&vulkan);
        vulkan.finish();
    }
}

fn round_trip(vulkan: &Opened) {
    // The last size needs more than one staging copy.
    for size in [0, 1, 2, 3, 4, 5, 15, 16, 17, 4095, 65_537, (16 << 20) + 3] {
        let buffer = vulkan.backend.allocate(size as u64).unwrap();
        assert_eq!(buffer.bytes(), size as u64);
        assert!(download(&*buffer).iter().all(|byte| *byte == 0), "{size} bytes are not zero");
        let data = noise(size);
        buffer.write(0, &data).unwrap();
        assert!(download(&*buffer) == data, "{size} bytes do not round trip");
    }
    // Reused memory is zeroed again.
    let buffer = vulkan.backend.allocate(65_537).unwrap();
    assert!(download(&*buffer).iter().all(|byte| *byte == 0));
}

#[test]
fn parts_of_buffers_are_written_and_read_in_place() {
    for staging in [false, true] {
        let Some(vulkan) = open_with(options().staging(staging)) else { return };
        write_and_read_parts(&vulkan);
        vulkan.finish();
    }
}

fn write_and_read_parts(vulkan: &Opened) {
    let buffer = vulkan.upload(&[7; 13]);
    buffer.write(3, &[1, 2, 3, 4, 5]).unwrap();
    buffer.write(13, &[]).unwrap();
    assert_eq!(download(&*buffer), [7, 7, 7, 1, 2, 3, 4, 5, 7, 7, 7, 7, 7]);
    let mut part = [0; 4];
    buffer.read(6, &mut part).unwrap();
    assert_eq!(part, [4, 5, 7, 7]);
    for (offset, length) in [(0, 14), (10, 4), (14, 0), (u64::MAX, 1)] {
        let mut out = vec![0; length];
        assert_eq!(buffer.write(offset, &out).unwrap_err().code(), Code::BufferSize);
        assert_eq!(buffer.read(offset, &mut out).unwrap_err().code(), Code::BufferSize);
    }
}

#[test]
fn a_buffer_that_is_too_large_is_refused() {
    let Some(vulkan) = open() else { return };
    let error = vulkan.backend.allocate(u64::MAX).err().unwrap();
    assert_eq!(error.code(), Code::Unsupported, "{error}");
    assert!(vulkan.backend.allocate(4).is_ok());
    vulkan.finish();
}

fn run_saxpy(vulkan: &Opened, executable: &dyn Executable, count: u32, seed: f32) {
    let x: Vec<f32> = (0..count).map(|i| i as f32 * 0.5 + seed).collect();
    let y: Vec<f32> = (0..count).map(|i| 1000.0 - i as f32).collect();
    let buffers = [
        vulkan.upload(&bytes(x.iter().map(|v| v.to_bits()))),
        vulkan.upload(&bytes(y.iter().map(|v| v.to_bits()))),
    ];
    let a = 2.0f32;
    let report = vulkan
        .launch(executable, &buffers, &[scalar(a.to_bits())], &LaunchOptions::default().timed(true))
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(count == 0 || report.device_time.is_some(), "{report:?}");
    let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| a * x + y).collect();
    assert!(floats(&*buffers[1]) == expected, "saxpy of {count} elements is wrong");
    assert!(floats(&*buffers[0]) == x, "a read-only buffer has changed");
}

#[test]
fn saxpy_of_many_sizes() {
    let Some(vulkan) = open() else { return };
    let executable = vulkan.compile(SAXPY);
    for count in [0, 1, 63, 64, 65, 1000, 100_003] {
        run_saxpy(&vulkan, &*executable, count, 0.25);
    }
    drop(executable);
    vulkan.finish();
}

#[test]
fn empty_buffers_are_bound_and_have_no_elements() {
    let Some(vulkan) = open() else { return };
    let executable = vulkan.compile(SAXPY);
    let buffers = [vulkan.upload(&[]), vulkan.upload(&[])];
    let options = LaunchOptions::workgroups([3, 1, 1]);
    vulkan.launch(&*executable, &buffers, &[scalar(0)], &options).unwrap();
    let buffers = [vulkan.upload(&[]), vulkan.upload(&bytes([5.0f32.to_bits(); 70]))];
    vulkan.launch(&*executable, &buffers, &[scalar(1.0f32.to_bits())], &options).unwrap();
    assert_eq!(floats(&*buffers[1]), [5.0; 70], "loads out of bounds are 0");
    drop((buffers, executable));
    vulkan.finish();
}

#[test]
fn the_id_is_that_of_what_was_compiled() {
    let Some(vulkan) = open() else { return };
    let (one, same, other) = (vulkan.compile(SAXPY), vulkan.compile(SAXPY), vulkan.compile(COUNT));
    assert!(one.id().starts_with("vulkan:"), "{}", one.id());
    assert_eq!(one.id(), same.id());
    assert_ne!(one.id(), other.id());
    drop((one, same, other));
    vulkan.finish();
}

#[test]
fn several_threads_launch_at_once() {
    for staging in [false, true] {
        let Some(vulkan) = open_with(options().staging(staging)) else { return };
        launch_from_threads(&vulkan);
        vulkan.finish();
    }
}

fn launch_from_threads(vulkan: &Opened) {
    let executable = vulkan.compile(SAXPY);
    thread::scope(|scope| {
        for thread in 0..4 {
            let shared = &executable;
            scope.spawn(move || {
                let own = vulkan.compile(SAXPY);
                for round in 0..8 {
                    let executable = if round % 2 == 0 { shared } else { &own };
                    run_saxpy(vulkan, &**executable, 1000 + 37 * thread + round, thread as f32);
                }
            });
        }
    });
}

/// Adds 1 to each element.
const INCREMENT: &str = "fulgurite 1
kernel @increment workgroup(64, 1, 1) {
  buffer %x: read_write u32[]
  buffer %y: read_write u32[]

  %i = global_id.x
  %n = len %x
  %in = lt %i, %n
  if %in {
    %0 = load %x[%i]
    %1 = add %0, 1u32
    store %x[%i], %1
    %2 = load %y[%i]
    %3 = add %2, 1u32
    store %y[%i], %3
  }
}
";

#[test]
fn the_host_and_launches_of_other_threads_take_turns_at_a_buffer() {
    for staging in [false, true] {
        let Some(vulkan) = open_with(options().staging(staging)) else { return };
        take_turns(&vulkan);
        vulkan.finish();
    }
}

fn take_turns(vulkan: &Opened) {
    const BYTES: usize = 8 << 20;
    const ROUNDS: usize = 20;
    let executable = vulkan.compile(INCREMENT);
    let zeros = vec![0; BYTES];
    let (x, y) = (vulkan.upload(&zeros), vulkan.upload(&zeros));
    let (forth, back) = ([Arc::clone(&x), Arc::clone(&y)], [Arc::clone(&y), Arc::clone(&x)]);
    let copying = AtomicBool::new(true);
    let launches = AtomicU32::new(0);
    // All elements are equal.
    let whole = |bytes: &[u8]| bytes[4..] == bytes[..bytes.len() - 4];
    // A copy sees all effects of a launch or none, and a launch all of a copy or none.
    thread::scope(|scope| {
        for buffers in [&forth, &back] {
            let (executable, copying, launches) = (&executable, &copying, &launches);
            scope.spawn(move || {
                while copying.load(Ordering::SeqCst) {
                    vulkan.launch(&**executable, buffers, &[], &LaunchOptions::default()).unwrap();
                    launches.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let reads = scope.spawn(|| (0..ROUNDS).all(|_| whole(&download(&*x))));
        for round in 0..ROUNDS {
            y.write(0, &vec![round as u8; BYTES]).unwrap();
        }
        let reads = reads.join();
        copying.store(false, Ordering::SeqCst);
        assert!(reads.unwrap(), "a read saw a part of a launch");
    });
    let expected = launches.into_inner();
    assert!(expected > 0 && words(&*x).into_iter().all(|word| word == expected));
    assert!(whole(&download(&*y)), "a launch saw a part of a write");
}

#[test]
fn a_buffer_of_another_device_is_refused() {
    let (Some(vulkan), Some(other)) = (open(), open()) else { return };
    let executable = vulkan.compile(SAXPY);
    let buffers = [vulkan.upload(&[0; 8]), other.upload(&[0; 8])];
    let error = vulkan.launch(&*executable, &buffers, &[scalar(0)], &LaunchOptions::default()).unwrap_err();
    assert_eq!(error.code(), Code::ForeignBuffer, "{error}");
    drop((buffers, executable));
    other.finish();
    vulkan.finish();
}

/// Returns a kernel of `params` parameters that stores each of them.
fn many_params(params: u32) -> String {
    let declared: String = (0..params).map(|i| format!("  param %p{i}: u32\n")).collect();
    let stored: String = (0..params).map(|i| format!("  store %out[{i}u32], %p{i}\n")).collect();
    format!(
        "fulgurite 1\nkernel @many workgroup(1, 1, 1) {{\n  buffer %out: write u32[]\n{declared}\n{stored}}}\n"
    )
}

#[test]
fn parameters_arrive_in_push_constants_and_beyond() {
    let Some(vulkan) = open() else { return };
    // 31 parameters and the length fill the 128 bytes that every device supports; 64 exceed every known device.
    for count in [1, 31, 32, 64] {
        let executable = vulkan.compile(&many_params(count));
        let out = vulkan.backend.allocate(u64::from(count) * 4).unwrap();
        let params: Vec<_> = (0..count).map(|i| scalar(i * i + 1)).collect();
        let buffers = [out];
        vulkan.launch(&*executable, &buffers, &params, &LaunchOptions::workgroups([1, 1, 1])).unwrap();
        let expected: Vec<u32> = (0..count).map(|i| i * i + 1).collect();
        assert_eq!(words(&*buffers[0]), expected);
    }
    vulkan.finish();
}

#[test]
fn shared_memory_and_barriers_work_across_a_workgroup() {
    let Some(vulkan) = open() else { return };
    let executable = vulkan.compile(
        "fulgurite 1
kernel @mirror workgroup(64, 1, 1) {
  buffer %x: read_write u32[]
  shared %tile: u32[64]

  %i = global_id.x
  %l = local_index
  %v = load %x[%i]
  store %tile[%l], %v
  barrier
  %m = sub 63u32, %l
  %w = load %tile[%m]
  store %x[%i], %w
}
",
    );
    let buffers = [vulkan.upload(&bytes(0..640))];
    vulkan.launch(&*executable, &buffers, &[], &LaunchOptions::default()).unwrap();
    let expected: Vec<u32> = (0..10).flat_map(|group| (0..64).map(move |l| group * 64 + 63 - l)).collect();
    assert_eq!(words(&*buffers[0]), expected);
    drop((buffers, executable));
    vulkan.finish();
}

#[test]
fn a_kernel_over_a_limit_is_unsupported() {
    let Some(vulkan) = open() else { return };
    let limits = vulkan.backend.snapshot().limits.clone();
    let most = limits.max_workgroup_invocations;
    let sized = |x: u32| SAXPY.replace("workgroup(64, 1, 1)", &format!("workgroup({x}, 1, 1)"));
    assert!(vulkan.try_compile(&sized(most.min(limits.max_workgroup_size[0]))).is_ok());
    if most < fulgurite_spec::limits::MAX_WORKGROUP_INVOCATIONS {
        let error = vulkan.try_compile(&sized(most + 1)).err().unwrap();
        assert_eq!(error.code(), Code::Unsupported, "{error}");
        assert!(error.to_string().contains(&most.to_string()), "{error}");
    }

    let floats = limits.max_shared_bytes / 4;
    let shared = |count: u32| SAXPY.replace("\n\n", &format!("\n  shared %s: f32[{count}]\n\n"));
    if u64::from(floats) * 4 < fulgurite_spec::limits::MAX_SHARED_BYTES {
        let error = vulkan.try_compile(&shared(floats + 1)).err().unwrap();
        assert_eq!(error.code(), Code::Unsupported, "{error}");
    }

    let buffers = |count: u32| {
        let declared: String = (0..count).map(|i| format!("  buffer %b{i}: write u32[]\n")).collect();
        let stored: String = (0..count).map(|i| format!("  store %b{i}[0u32], {i}u32\n")).collect();
        format!("fulgurite 1\nkernel @many workgroup(1, 1, 1) {{\n{declared}\n{stored}}}\n")
    };
    // Below, at and above the number that fits in descriptors.
    for count in [1, 28, 29, 30, 31, 32, 33, 63, 64] {
        if count > limits.max_bound_buffers {
            break;
        }
        let bound: Vec<Arc<dyn DeviceBuffer>> =
            (0..count).map(|_| vulkan.backend.allocate(4).unwrap()).collect();
        let executable = vulkan.compile(&buffers(count));
        vulkan.launch(&*executable, &bound, &[], &LaunchOptions::workgroups([1, 1, 1])).unwrap();
        let stored: Vec<u32> = bound.iter().flat_map(|buffer| words(&**buffer)).collect();
        assert_eq!(stored, (0..count).collect::<Vec<_>>());
    }
    if limits.max_bound_buffers + 3 <= fulgurite_spec::limits::MAX_DECLARATIONS as u32 {
        let error = vulkan.try_compile(&buffers(limits.max_bound_buffers + 3)).err().unwrap();
        assert_eq!(error.code(), Code::Unsupported, "{error}");
    }
    vulkan.finish();
}

#[test]
fn loops_run_to_their_end_or_say_that_the_driver_ended_them() {
    let Some(vulkan) = open() else { return };
    let executable = vulkan.compile(COUNT);
    let buffers: [Arc<dyn DeviceBuffer>; 1] = [vulkan.backend.allocate(4).unwrap()];
    let options = LaunchOptions::workgroups([1, 1, 1]);
    let short = vulkan.launch(&*executable, &buffers, &[scalar(50_000)], &options);
    assert!(short.is_ok(), "{short:?}");
    assert_eq!(words(&*buffers[0]), [50_000]);

    let long = vulkan.launch(&*executable, &buffers, &[scalar(300_000)], &options);
    match vulkan.backend.snapshot().limits.loop_limit {
        None => {
            assert!(long.is_ok(), "{long:?}");
            assert_eq!(words(&*buffers[0]), [300_000]);
        }
        Some(limit) => {
            println!("vulkan: the driver ends loops after {limit} iterations");
            assert_eq!(long, Err(Error::Device(DeviceError::LoopLimit { invocation: 0, limit })));
            // The device is usable, and the fault is not reported again.
            let again = vulkan.launch(&*executable, &buffers, &[scalar(9)], &options);
            assert!(again.is_ok(), "{again:?}");
            assert_eq!(words(&*buffers[0]), [9]);
        }
    }
    drop((buffers, executable));
    vulkan.finish();
}

/// Zeros that a compiler sees or may infer, each in arithmetic that must not treat them specially.
const ZEROS: &str = "fulgurite 1
kernel @zeros workgroup(1, 1, 1) {
  buffer %x: read f32[]
  buffer %out: write f32[]
  local %none: f32[2]

  %nan = load %x[0u32]
  %minus = load %x[1u32]
  %zero = load %x[2u32]
  %0 = mul %nan, 0.0f32
  store %out[0u32], %0
  %1 = add %minus, 0.0f32
  store %out[1u32], %1
  %2 = sub 0.0f32, %zero
  store %out[2u32], %2
  %3 = div 0.0f32, %nan
  store %out[3u32], %3
  %4 = fma %nan, 0.0f32, 1.0f32
  store %out[4u32], %4
  %5 = fma %minus, 1.0f32, 0.0f32
  store %out[5u32], %5
  %n = load %none[1u32]
  %6 = add %minus, %n
  store %out[6u32], %6
  %f = convert 0u32 -> f32
  %7 = mul %f, %nan
  store %out[7u32], %7
  %same = sub 3.0f32, 3.0f32
  %8 = mul %same, %nan
  store %out[8u32], %8
  %9 = for %i in 0u32 to 2u32 step 1u32 carry(%sum = 0.0f32) {
    %c = convert %i -> f32
    %p = mul %c, %nan
    %first = eq %i, 0u32
    %s = select %first, %p, %sum
    yield %s
  }
  store %out[9u32], %9
  %v = construct 0.0f32, 1.0f32
  %w = construct %nan, %minus
  %10 = dot %v, %w
  store %out[10u32], %10
  %11 = fract 0.0f32
  store %out[11u32], %11
}
";

#[test]
fn zeros_that_a_compiler_sees_are_numbers_like_others() {
    let Some(vulkan) = open() else { return };
    let executable = vulkan.compile(ZEROS);
    let inputs: Vec<u8> = [f32::NAN, -0.0, 0.0].iter().flat_map(|x| x.to_ne_bytes()).collect();
    let buffers = [vulkan.upload(&inputs), vulkan.backend.allocate(48).unwrap()];
    vulkan.launch(&*executable, &buffers, &[], &LaunchOptions::workgroups([1, 1, 1])).unwrap();
    let nan = |word: u32| f32::from_bits(word).is_nan();
    for (i, word) in words(&*buffers[1]).into_iter().enumerate() {
        let good = if matches!(i, 1 | 2 | 5 | 6 | 11) { word == 0 } else { nan(word) };
        assert!(good, "%{i} is {}", f32::from_bits(word));
    }
    drop((executable, buffers));
    vulkan.finish();
}
