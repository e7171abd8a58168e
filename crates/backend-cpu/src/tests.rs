//! Tests of the specifics of this backend: chunks and their boundaries, threads, timeouts, buffers. The results of
//! kernels are tested on every backend by the run files under `crates/ir/filetests/run`.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fulgurite_driver_core::Registry;
use fulgurite_hal::{
    Backend as _, Binding, CompileOptions, Device as _, DeviceBuffer, DeviceError, Error, Executable, Launch,
    LaunchOptions, OpenOptions,
};
use fulgurite_ir::{VerifiedKernel, text, verify};
use fulgurite_spec::Code;

use crate::code::Step;
use crate::{Compiled, CpuDevice, CpuOptions, Native, backend};

pub(crate) fn kernel(workgroup: &str, lines: &str) -> Arc<VerifiedKernel> {
    let source = format!("fulgurite 1\nkernel @k workgroup({workgroup}) {{\n{lines}\n}}\n");
    let parsed = text::parse(&source).unwrap_or_else(|e| panic!("{e}"));
    Arc::new(verify(parsed).unwrap_or_else(|e| panic!("{e}")))
}

/// Launches `kernel` on zeroed buffers of `sizes` words, and returns their contents afterwards.
pub(crate) fn run(
    kernel: &Arc<VerifiedKernel>,
    sizes: &[usize],
    options: &LaunchOptions,
) -> Result<Vec<Vec<u32>>, Error> {
    let device = CpuDevice::new();
    let executable = device.compile(kernel.clone(), &CompileOptions::default())?;
    launched(&device, &executable, sizes, options)
}

/// Does what [`run`] does in the interpreter, with subgroups of `subgroup` lanes.
pub(crate) fn interpreted(
    kernel: &Arc<VerifiedKernel>,
    subgroup: usize,
    sizes: &[usize],
    options: &LaunchOptions,
) -> Result<Vec<Vec<u32>>, Error> {
    let (id, engine) = (String::new(), OnceLock::new());
    let compiled = Compiled { id, kernel: kernel.clone(), native: None, subgroup, engine };
    let executable: Arc<dyn Executable> = Arc::new(compiled);
    launched(&CpuDevice::new(), &executable, sizes, options)
}

/// Launches an executable on zeroed buffers of `sizes` words, and returns their contents afterwards.
pub(crate) fn launched(
    device: &CpuDevice,
    executable: &Arc<dyn Executable>,
    sizes: &[usize],
    options: &LaunchOptions,
) -> Result<Vec<Vec<u32>>, Error> {
    let buffers: Vec<_> = sizes.iter().map(|size| device.allocate(*size as u64 * 4).unwrap()).collect();
    let (kernel, limits) = (executable.kernel(), &device.snapshot().limits);
    let report = executable.launch(&Launch::check(kernel, limits, Binding::each(&buffers), &[], options)?)?;
    assert!(report.device_time.is_some());
    let words = |buffer: &Arc<dyn DeviceBuffer>| {
        let mut bytes = vec![0; buffer.bytes() as usize];
        buffer.read(0, &mut bytes).unwrap();
        bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    Ok(buffers.iter().map(words).collect())
}

/// Returns a kernel with many products of large matrices, without a loop: hours of work in total.
fn products() -> Arc<VerifiedKernel> {
    use core::fmt::Write as _;

    let ty = |role: &str| format!("coopmat<f32, 256x256, {role}, subgroup>");
    let mut lines = String::from("buffer %out: write f32[]\n");
    let _ = writeln!(lines, "%a = coop.fill 1f32 -> {}\n%b = coop.fill 1f32 -> {}", ty("a"), ty("b"));
    let _ = writeln!(lines, "%c0 = coop.fill 0f32 -> {}", ty("acc"));
    for k in 0..20_000 {
        let _ = writeln!(lines, "%c{} = coop.mul_add %a, %b, %c{k}", k + 1);
    }
    lines.push_str("coop.store[row_major] %out[0u32], 256u32, %c20000");
    kernel("32, 1, 1", &lines)
}

#[test]
fn matrices_look_at_the_clock_without_a_loop() {
    let options = grid(1).timeout(Duration::from_millis(100));
    let error = run(&products(), &[256 * 256], &options).unwrap_err();
    assert_eq!(error.code(), Code::Timeout);
}

pub(crate) fn grid(x: u32) -> LaunchOptions {
    LaunchOptions::workgroups([x, 1, 1])
}

/// Each invocation writes its index plus 1, and increments a counter.
const COUNT: &str = "buffer %out: write u32[]\nbuffer %count: read_write u32[]
  %i = global_id.x\n%i1 = add %i, 1u32\nstore %out[%i], %i1\natomic.add %count[0u32], 1u32";

#[test]
fn every_invocation_runs_once_however_chunks_are_cut() {
    for size in [1u32, 3, 31, 63, 64, 65, 100, 128, 200] {
        for workgroups in [1, 2, 7, 64, 101] {
            let count = size * workgroups;
            let wanted: Vec<u32> = (1..=count).chain([0]).collect();
            // Without and with a barrier.
            for more in ["", "\nbarrier"] {
                let kernel = kernel(&format!("{size}, 1, 1"), &format!("{COUNT}{more}"));
                let words = run(&kernel, &[count as usize + 1, 1], &grid(workgroups)).unwrap();
                assert_eq!(words[0], wanted, "{workgroups} of {size}{more}");
                assert_eq!(words[1], [count], "{workgroups} of {size}{more}");
            }
        }
    }
}

#[test]
fn ids_are_right_in_chunks_of_many_workgroups() {
    let lines = "buffer %out: write u32[]
  %gx = global_id.x\n%gy = global_id.y\n%gz = global_id.z\n%l = local_index\n%wx = workgroup_id.x
  %ly = local_id.y\n%nx = num_workgroups.x
  %a = mul %gz, 8u32\n%b = add %a, %gy\n%c = mul %b, 15u32\n%at = add %c, %gx
  %p = mul %l, 100u32\n%q = add %p, %wx\n%r = mul %ly, 10000u32\n%s = add %q, %r
  %t = mul %nx, 100000u32\n%u = add %s, %t\nstore %out[%at], %u";
    for more in ["", "\nbarrier"] {
        let kernel = kernel("3, 2, 1", &format!("{lines}{more}"));
        let words = run(&kernel, &[15 * 8 * 3], &LaunchOptions::workgroups([5, 4, 3])).unwrap();
        for (at, found) in words[0].iter().enumerate() {
            let (x, y) = (at as u32 % 15, at as u32 / 15 % 8);
            let wanted = 500_000 + y % 2 * 10_000 + (y % 2 * 3 + x % 3) * 100 + x / 3;
            assert_eq!(*found, wanted, "{at}{more}");
        }
    }
}

#[test]
fn chunks_of_a_workgroup_meet_at_every_barrier() {
    // Each invocation passes its number to the next, around a ring of 200, four times.
    let lines = "buffer %out: write u32[]\nshared %ring: u32[200]
  %l = local_index\n%next = add %l, 1u32\n%to = rem %next, 200u32
  %last = for %round in 0u32 to 4u32 step 1u32 carry(%mine = %l) {
    store %ring[%to], %mine\nbarrier[shared]\n%got = load %ring[%l]\nbarrier[shared]\nyield %got
  }
  store %out[%l], %last";
    let words = run(&kernel("200, 1, 1", lines), &[200], &grid(1)).unwrap();
    let wanted: Vec<u32> = (0..200).map(|l| (l + 196) % 200).collect();
    assert_eq!(words[0], wanted);
}

#[test]
fn endless_loops_time_out_on_every_thread() {
    let timeout = Duration::from_millis(40);
    for more in ["", "\nbarrier"] {
        let lines = format!("buffer %out: write u32[]\nwhile {{\ncondition true\n}} do {{\n}}{more}");
        let error = run(&kernel("64, 1, 1", &lines), &[1], &grid(100).timeout(timeout)).unwrap_err();
        assert_eq!(error, DeviceError::Timeout(timeout).into());
    }
    // A single invocation keeps the launch from ending.
    let lines = "buffer %out: write u32[]\n%i = global_id.x\n%one = eq %i, 5000u32
        while {\ncondition %one\n} do {\n}";
    let error = run(&kernel("64, 1, 1", lines), &[1], &grid(100).timeout(timeout)).unwrap_err();
    assert_eq!(error.code(), Code::Timeout);
}

#[test]
fn the_environment_selects_the_code() {
    let of = |value: &str| CpuOptions::of_variable(Some(value.as_ref()));
    for (name, native) in Native::NAMES {
        assert_eq!(of(name).unwrap(), CpuOptions { native });
        assert_eq!(native.to_string(), name);
        assert_ne!(native.selected(), Native::Auto);
        let open = OpenOptions::new().with(CpuOptions { native });
        let device = backend().adapters(&open).unwrap()[0].open(&open).unwrap();
        let end = format!(", {}", native.selected());
        assert!(device.snapshot().device.ends_with(&end), "{}", device.snapshot().device);
    }
    assert_eq!(of(" ").unwrap(), CpuOptions::default());
    let error = of("sse").unwrap_err();
    assert_eq!(error.code(), Code::BadOption);
    assert!(error.to_string().contains("`avx2`"), "{error}");
}

#[test]
fn long_kernels_without_loops_look_at_the_clock() {
    use core::fmt::Write as _;

    let mut lines = String::from("buffer %out: read_write u32[]\n%i = global_id.x\n%v0 = load %out[%i]\n");
    for k in 0..8000 {
        let _ = writeln!(lines, "%v{} = xor %v{k}, %i", k + 1);
    }
    lines.push_str("%one = or %v8000, 1u32\nstore %out[%i], %one");
    let device = CpuDevice::with(CpuOptions { native: Native::Interpreter });
    let (kernel, count) = (kernel("4096, 1, 1", &lines), 1 << 20);
    let buffers = [device.allocate(count * 4).unwrap()];
    let executable = device.compile(kernel.clone(), &CompileOptions::default()).unwrap();
    let options = grid(count as u32 / 4096).timeout(Duration::from_nanos(1));
    let limits = &device.snapshot().limits;
    let launch = Launch::check(&kernel, limits, Binding::each(&buffers), &[], &options).unwrap();
    assert_eq!(executable.launch(&launch).unwrap_err().code(), Code::Timeout);
    let mut bytes = vec![0; count as usize * 4];
    buffers[0].read(0, &mut bytes).unwrap();
    let done = bytes.chunks_exact(4).filter(|word| word[0] & 1 == 1).count();
    assert!(done <= crate::pool::threads() * 4 * 64, "{done} invocations ran to their end");
}

#[test]
fn too_many_short_workgroups_time_out() {
    let lines = "buffer %out: write u32[]\nbarrier";
    let options = LaunchOptions::workgroups([1 << 22, 1 << 11, 1 << 11]).timeout(Duration::from_millis(40));
    let error = run(&kernel("1, 1, 1", lines), &[1], &options).unwrap_err();
    assert_eq!(error.code(), Code::Timeout);
}

#[test]
fn contended_atomics_lose_nothing() {
    let lines =
        "buffer %sum: read_write u32[]\nbuffer %tickets: read_write u32[]\nbuffer %most: read_write i32[]
  %i = global_id.x\natomic.add %sum[0u32], %i\n%t = atomic.add %sum[1u32], 1u32
  atomic.add %tickets[%t], 1u32\n%s = convert %i -> i32\n%n = neg %s\natomic.min %most[0u32], %n";
    let words = run(&kernel("50, 1, 1", lines), &[2, 10_000, 1], &grid(200)).unwrap();
    assert_eq!(words[0], [49_995_000, 10_000]);
    assert_eq!(words[1], vec![1; 10_000]);
    assert_eq!(words[2], [-9999i32 as u32]);
}

#[test]
fn an_executable_serves_many_launches_at_once() {
    let kernel = kernel("64, 1, 1", COUNT);
    let backend = CpuDevice::new();
    let executable = backend.compile(kernel.clone(), &CompileOptions::default()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let buffers = [backend.allocate(4 * 640).unwrap(), backend.allocate(4).unwrap()];
                    let limits = &backend.snapshot().limits;
                    let launch =
                        Launch::check(&kernel, limits, Binding::each(&buffers), &[], &grid(10)).unwrap();
                    executable.launch(&launch).unwrap();
                    let mut count = [0; 4];
                    buffers[1].read(0, &mut count).unwrap();
                    assert_eq!(u32::from_le_bytes(count), 640);
                }
            });
        }
    });
}

#[test]
fn the_first_trap_fails_the_launch_which_goes_on() {
    let lines = "buffer %out: write u32[]\n%x = global_id.x\n%y = global_id.y\n%l = local_index
  %odd = eq %x, 5u32\n%three = eq %y, 3u32\n%both = and %odd, %three\nif %both {\ntrap 77u32\n}
  %w = mul %y, 12u32\n%i = add %w, %x\nstore %out[%i], 1u32";
    let backend = CpuDevice::new();
    let kernel = kernel("4, 2, 1", lines);
    let buffers = [backend.allocate(4 * 96).unwrap()];
    let executable = backend.compile(kernel.clone(), &CompileOptions::default()).unwrap();
    let limits = &backend.snapshot().limits;
    let options = LaunchOptions::workgroups([3, 4, 1]);
    let launch = Launch::check(&kernel, limits, Binding::each(&buffers), &[], &options).unwrap();
    let error = executable.launch(&launch).unwrap_err();
    assert_eq!(error, DeviceError::Trap { code: 77, invocation: 3 * 12 + 5 }.into());
    let mut bytes = vec![0; 4 * 96];
    buffers[0].read(0, &mut bytes).unwrap();
    assert!(bytes.chunks(4).all(|word| word == 1u32.to_le_bytes()));
    // Without a trap.
    let options = LaunchOptions::workgroups([3, 1, 1]);
    executable
        .launch(&Launch::check(&kernel, limits, Binding::each(&buffers), &[], &options).unwrap())
        .unwrap();
}

#[test]
fn a_linear_launch_and_loops_of_wide_counters() {
    let lines = "buffer %out: write u32[]\n%i = global_id.x\n%n = convert %i -> i64\n%m = neg %n
  %s = for %j in %n to %m step -3i64 carry(%k = 0u32) {\n%k1 = add %k, 1u32\nyield %k1\n}
  %b = convert %i -> u8\n%t = for %j in 0u8 to %b step 7u8 carry(%k = %s) {\n%k1 = add %k, 1000u32\nyield %k1\n}
  store %out[%i], %t";
    let words = run(&kernel("50, 1, 1", lines), &[300], &LaunchOptions::linear(270)).unwrap().remove(0);
    for (i, found) in (0u32..300).zip(words) {
        assert_eq!(found, (2 * i).div_ceil(3) + (i % 256).div_ceil(7) * 1000, "{i}");
    }
}

#[test]
fn regions_shuffles_and_exact_products() {
    // Distinguishes one rounding from two: (1 + 2^-12)^2 - (1 + 2^-11) is 2^-24.
    let lines = "buffer %out: write u32[]\n%i = global_id.x
  %a = region \"outer\" -> u32 {
    %b = region \"inner\" -> u32 {\n%c = mul %i, 3u32\nyield %c\n}
    %d = add %b, 1u32\nyield %d
  }
  %v = construct %i, %a, 7u32\n%w = construct %a, %i, 9u32\n%s = vec.shuffle[5, 1, 0] %v, %w
  %s0 = extract %s, 0u32\n%s1 = extract %s, 1u32\n%s2 = extract %s, 2u32
  %x0 = mul %s0, 1000u32\n%x1 = add %x0, %s1\n%x2 = mul %x1, 1000u32\n%x = add %x2, %s2\nstore %out[%i], %x
  %f = fma[exact] 0x1.001p0f32, 0x1.001p0f32, -0x1.002p0f32\n%bits = bitcast %f -> u32
  %last = eq %i, 63u32\nif %last {\nstore %out[64u32], %bits\n}\nfence";
    let words = run(&kernel("64, 1, 1", lines), &[65], &grid(1)).unwrap().remove(0);
    for (i, found) in (0u32..64).zip(&words) {
        assert_eq!(*found, (9 * 1000 + 3 * i + 1) * 1000 + i);
    }
    assert_eq!(words[64], 2f32.powi(-24).to_bits());
}

#[test]
fn registers_are_used_again() {
    let mut lines = "buffer %out: write u32[]\n%v0 = global_id.x\n".to_owned();
    for i in 0..1000 {
        lines += &format!("%v{} = add %v{i}, 1u32\n", i + 1);
    }
    lines += "store %out[%v0], %v1000";
    let kernel = kernel("64, 1, 1", &lines);
    let code = crate::compile::compile(kernel.clone(), 32).unwrap();
    assert_eq!(code.steps.iter().filter(|s| matches!(s, Step::Compute(..))).count(), 1000);
    // Two fixed registers, and two that alternate.
    assert_eq!(code.registers, 4);
    let words = run(&kernel, &[64], &grid(1)).unwrap();
    assert_eq!(words[0], (1000..1064).collect::<Vec<u32>>());
}

#[test]
fn too_much_state_is_out_of_memory() {
    let kernel = kernel("4096, 1, 1", "buffer %out: write u32[]\nbarrier");
    for registers in [600_000, usize::MAX / 2] {
        let mut code = crate::compile::compile(kernel.clone(), 32).unwrap();
        code.registers = registers;
        let backend = CpuDevice::new();
        let buffers = [backend.allocate(4).unwrap()];
        let launch =
            Launch::check(&kernel, &backend.snapshot().limits, Binding::each(&buffers), &[], &grid(1))
                .unwrap();
        let executable = crate::Compiled {
            id: String::new(),
            kernel: kernel.clone(),
            native: None,
            subgroup: 32,
            engine: crate::schedule::Engine::new(code).into(),
        };
        assert_eq!(executable.launch(&launch).unwrap_err().code(), Code::OutOfMemory);
    }
}

/// A buffer of an unknown backend.
struct Foreign;

impl DeviceBuffer for Foreign {
    fn bytes(&self) -> u64 {
        4
    }
    fn write(&self, _: u64, _: &[u8]) -> Result<(), Error> {
        Ok(())
    }
    fn read(&self, _: u64, _: &mut [u8]) -> Result<(), Error> {
        Ok(())
    }
}

#[test]
fn foreign_buffers_and_oversized_ones_are_refused() {
    let kernel = kernel("1, 1, 1", "buffer %out: write u32[]\nstore %out[0u32], 1u32");
    let backend = CpuDevice::default();
    let executable = backend.compile(kernel.clone(), &CompileOptions::default()).unwrap();
    let buffers: [Arc<dyn DeviceBuffer>; 1] = [Arc::new(Foreign)];
    let launch =
        Launch::check(&kernel, &backend.snapshot().limits, Binding::each(&buffers), &[], &grid(1)).unwrap();
    assert_eq!(executable.launch(&launch).unwrap_err().code(), Code::ForeignBuffer);
    assert_eq!(backend.allocate(1 << 63).err().map(|e| e.code()), Some(Code::Unsupported));
}

#[test]
fn the_registration_opens_it() {
    let mut registry = Registry::new();
    registry.register(backend()).unwrap();
    let route = registry.route(&Default::default(), &Default::default()).unwrap();
    assert_eq!(route.device().snapshot().backend, "cpu");
    let kernel = kernel("1, 1, 1", "");
    let executable = route.device().compile(kernel.clone(), &CompileOptions::default()).unwrap();
    assert_eq!(executable.id(), format!("cpu:{}", kernel.digest()));
}
