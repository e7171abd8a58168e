//! Memory that launches and kernels take: a launch allocates nothing, and what was dropped is returned.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "counts allocations")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use fulgurite_backend_cpu::CpuDevice;
use fulgurite_hal::{Binding, CompileOptions, Device as _, DeviceBuffer, Executable, Launch, LaunchOptions};

/// The system's allocator, which counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends may allocate after its counter is gone.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn kernel(number: usize) -> Arc<fulgurite_ir::VerifiedKernel> {
    let text = format!(
        "fulgurite 1\nkernel @step workgroup(64, 1, 1) {{\n  buffer %y: read_write u32[]\n  %i = global_id.x
  %v = load %y[%i]\n  %w = mul %v, {number}u32\n  %x = add %w, 1u32\n  store %y[%i], %x\n}}\n"
    );
    Arc::new(fulgurite_ir::text::parse(&text).and_then(fulgurite_ir::verify).unwrap())
}

fn compiled(device: &CpuDevice, number: usize) -> Arc<dyn Executable> {
    device.compile(kernel(number), &CompileOptions::default()).unwrap()
}

fn run(executable: &Arc<dyn Executable>, launch: &Launch, times: usize) {
    for _ in 0..times {
        executable.launch(launch).unwrap();
    }
}

/// Returns the launch of one workgroup.
fn launch(device: &CpuDevice, executable: &Arc<dyn Executable>, buffers: &[Arc<dyn DeviceBuffer>]) -> Launch {
    let options = LaunchOptions::workgroups([1, 1, 1]);
    let limits = &device.snapshot().limits;
    Launch::check(executable.kernel(), limits, Binding::each(buffers), &[], &options).unwrap()
}

/// Returns the bytes of the process that are in memory.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn a_launch_of_one_workgroup_allocates_nothing() {
    let device = CpuDevice::new();
    let buffers = [device.allocate(256).unwrap()];
    let executable = compiled(&device, 3);
    let launch = launch(&device, &executable, &buffers);
    run(&executable, &launch, 10);
    let before = ALLOCATIONS.get();
    run(&executable, &launch, 100);
    assert_eq!(ALLOCATIONS.get() - before, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_launches_and_dropped_kernels() {
    let many = std::env::var("FULGURITE_MANY_LAUNCHES").ok().and_then(|count| count.parse().ok());
    let (launches, kernels) = many.map_or((20_000, 500), |count: usize| (count, count / 100));
    let device = CpuDevice::new();
    let buffers = [device.allocate(256).unwrap()];
    let executable = compiled(&device, 3);
    let one = launch(&device, &executable, &buffers);
    let round = |launches: usize, kernels: usize| {
        run(&executable, &one, launches);
        for number in 0..kernels {
            let executable = compiled(&device, number);
            executable.launch(&launch(&device, &executable, &buffers)).unwrap();
        }
    };
    round(launches / 10, kernels / 10);
    let before = resident();
    round(launches, kernels);
    let after = resident();
    eprintln!("{launches} launches and {kernels} kernels: {before} bytes in memory before, {after} after");
    // A kernel's code alone takes a page of 4 KiB.
    assert!(after < before + (1 << 20), "{before} bytes in memory before, {after} after");
}
