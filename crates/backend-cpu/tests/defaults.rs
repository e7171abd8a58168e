//! Kernels compiled with default options, before which the passes run.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use fulgurite_backend_cpu::CpuDevice;
use fulgurite_hal::{CompileOptions, LaunchOptions};
use fulgurite_ir::VerifiedKernel;
use fulgurite_runtime::Device;

fn device() -> Device {
    Device::new(Arc::new(CpuDevice::new()), CompileOptions::default(), LaunchOptions::default())
}

fn kernel(name: &str, lines: &str) -> Arc<VerifiedKernel> {
    let source = format!("fulgurite 1\nkernel @{name} workgroup(64, 1, 1) {{\n{lines}\n}}\n");
    Arc::new(fulgurite_ir::text::parse(&source).and_then(fulgurite_ir::verify).unwrap())
}

#[test]
fn ops_with_literals_are_compiled_after_the_passes() {
    let device = device();
    let mut wrong = Vec::new();
    for ty in ["i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"] {
        let literals = ["div", "rem", "mul"].map(|op| format!("{op} %a, 8{ty}"));
        let amounts = ["shl", "shr", "rotl", "rotr"].map(|op| format!("{op} %a, %k"));
        let fields = ["extract_bits %a, %k, %k", "insert_bits %a, %a, %k, %k"].map(String::from);
        for op in literals.iter().chain(&amounts).chain(&fields) {
            let lines = format!(
                "buffer %x: read_write {ty}[]\n%i = global_id.x\n%a = load %x[%i]\n%k = add 2u32, 1u32\n%b = {op}\n\
                 store %x[%i], %b"
            );
            let compile = || device.compile(&kernel("k", &lines), &CompileOptions::default()).map(|_| ());
            if !matches!(catch_unwind(AssertUnwindSafe(compile)), Ok(Ok(()))) {
                wrong.push(format!("{ty}: {op}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Returns the lines of a kernel that the passes change.
fn lines(buffer: &str) -> String {
    format!(
        "buffer %{buffer}: read_write u32[]\n%i = global_id.x\n%a = load %{buffer}[%i]\n%b = mul %a, 1u32\n\
         store %{buffer}[%i], %b"
    )
}

#[test]
fn a_program_has_the_names_of_its_own_kernel() {
    let device = device();
    for (name, buffer) in [("first", "apples"), ("second", "pears")] {
        let kernel = kernel(name, &lines(buffer));
        let (program, manifest) = device.compile_with_report(&kernel, &CompileOptions::default()).unwrap();
        assert_eq!((program.kernel().name.as_str(), manifest.kernel.as_str()), (name, name));
        assert_eq!(program.kernel().buffers[0].name, buffer);
    }
}

#[test]
fn a_program_is_evicted_by_its_own_kernel() {
    let device = device();
    let program = device.compile(&kernel("k", &lines("x")), &CompileOptions::default()).unwrap();
    assert_eq!(device.invalidate(program.kernel()).unwrap().executables, 1);
}
