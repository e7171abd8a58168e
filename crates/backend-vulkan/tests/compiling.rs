//! Stack and time limits of a driver's compiler.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "this is a test"
)]

mod common;

use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{Opened, bytes, in_child, open, open_with, options, words};
use fulgurite_hal::{Device as _, DeviceError, Error, LaunchOptions};
use fulgurite_spec::Code;

/// musl's default stack size of threads.
const SMALL_STACK: usize = 128 << 10;

/// Returns a kernel of nested ifs, each with a result.
fn nested(depth: usize) -> String {
    let mut text = String::from(
        "fulgurite 1\nkernel @nested workgroup(64, 1, 1) {\n  buffer %d: read u32[]\n  buffer %o: write u32[]\n  \
         local %l: u32[8]\n  %i = global_id.x\n  %x = load %d[%i]\n",
    );
    for level in 0..depth {
        let slot = level % 8;
        writeln!(text, "  %c{level} = gt %x, {level}u32\n  %r{level} = if %c{level} -> u32 {{").unwrap();
        writeln!(text, "  store %l[{slot}u32], %x").unwrap();
    }
    writeln!(text, "  %last = load %l[0u32]").unwrap();
    for level in (0..depth).rev() {
        let value = if level + 1 == depth { "%last".to_owned() } else { format!("%r{}", level + 1) };
        writeln!(text, "  yield {value}\n  }} else {{\n  yield {level}u32\n  }}").unwrap();
    }
    text.push_str("  store %o[%i], %r0\n}\n");
    text
}

/// Returns a kernel of consecutive ifs, each of which depends on the previous one, and which no other run has compiled.
fn chain(count: usize) -> String {
    let mut text = String::from(
        "fulgurite 1\nkernel @chain workgroup(64, 1, 1) {\n  buffer %o: write u32[]\n  %i = global_id.x\n",
    );
    let salt = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    writeln!(text, "  %a0 = add %i, {salt}u32\n  %b0 = add %i, 5u32").unwrap();
    for k in 0..count {
        let next = k + 1;
        writeln!(text, "  %c{k} = gt %a{k}, {}u32", 7 * k).unwrap();
        writeln!(text, "  %a{next}, %b{next} = if %c{k} -> u32, u32 {{").unwrap();
        writeln!(text, "    %x = add %a{k}, %b{k}\n    yield %x, %a{k}\n  }} else {{").unwrap();
        writeln!(text, "    %y = xor %b{k}, {k}u32\n    yield %b{k}, %y\n  }}").unwrap();
    }
    writeln!(text, "  store %o[%i], %a{count}\n}}").unwrap();
    text
}

/// Returns a kernel with a local array that takes lavapipe long to compile.
fn local_array(length: u32) -> String {
    let salt = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    format!(
        "fulgurite 1\nkernel @local workgroup(64, 1, 1) {{\n  buffer %o: write u32[]\n  local %s: u32[{length}]\n  \
         %i = global_id.x\n  %at = add %i, {salt}u32\n  %in = and %at, 7u32\n  store %s[%in], 3u32\n  \
         %r = load %s[%i]\n  store %o[%i], %r\n}}\n"
    )
}

fn is_lavapipe(vulkan: &Opened) -> bool {
    vulkan.backend.snapshot().driver.starts_with("llvmpipe")
}

#[test]
fn a_small_stack_is_enough_to_compile_and_launch() {
    let name = "a_small_stack_is_enough_to_compile_and_launch";
    in_child(name, &[], || {
        let work = || {
            let Some(vulkan) = open() else { return };
            // The guard and the `if` of an access count as nesting as well.
            let depth = (vulkan.backend.snapshot().limits.max_nesting as usize - 2).min(390);
            // The compile time of SwiftShader grows faster than its stack.
            let count = if is_lavapipe(&vulkan) { 5000 } else { 1000 };
            for text in [nested(depth), chain(count)] {
                let executable = vulkan.compile(&text);
                let buffers: Vec<_> =
                    executable.kernel().buffers.iter().map(|_| vulkan.upload(&bytes(0..64))).collect();
                let options = LaunchOptions::workgroups([1, 1, 1]);
                vulkan.launch(&*executable, &buffers, &[], &options).unwrap();
                // Invocation `x` ends in the else arm of level `x`.
                if let [_, out] = &buffers[..] {
                    assert_eq!(words(&**out), (0..64).collect::<Vec<u32>>());
                }
            }
            vulkan.finish();
        };
        let thread = std::thread::Builder::new().stack_size(SMALL_STACK);
        thread.spawn(work).unwrap().join().unwrap();
    });
}

#[test]
fn a_compile_that_takes_too_long_is_an_error_of_its_own() {
    // In a separate process, because a driver may still be compiling at the end.
    in_child("a_compile_that_takes_too_long_is_an_error_of_its_own", &[], || {
        let limit = Duration::from_millis(400);
        let Some(vulkan) = open_with(options().compile_limit(limit)) else { return };
        let quick = vulkan.compile(common::SAXPY);
        let begun = Instant::now();
        match vulkan.try_compile(&chain(2000)) {
            Err(Error::Device(error @ DeviceError::CompileTimeout(given))) => {
                assert_eq!((given, error.code()), (limit, Code::CompileTimeout));
                assert!(begun.elapsed() >= limit);
            }
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it took {:?} only", begun.elapsed()),
        }
        // The device stays usable once the driver has returned.
        let buffers =
            [vulkan.upload(&bytes([2f32.to_bits(); 4])), vulkan.upload(&bytes([1f32.to_bits(); 4]))];
        let options = LaunchOptions::workgroups([1, 1, 1]);
        vulkan.launch(&*quick, &buffers, &[common::scalar(3f32.to_bits())], &options).unwrap();
        assert_eq!(common::floats(&*buffers[1]), [7.0; 4]);
    });
}

#[test]
fn a_process_that_gave_up_a_compile_ends_with_its_own_status() {
    const NAME: &str = "a_process_that_gave_up_a_compile_ends_with_its_own_status";
    const STATUS: i32 = 37;
    if std::env::var_os("FULGURITE_TEST_GIVES_UP").is_some() {
        let Some(vulkan) = open_with(options().compile_limit(Duration::from_millis(400))) else {
            std::process::exit(STATUS);
        };
        let error = vulkan.try_compile(&chain(4000)).map(drop).unwrap_err();
        assert_eq!(error.code(), Code::CompileTimeout, "{error}");
        // In a static, so that it is not closed either, which would wait.
        static LEFT: std::sync::OnceLock<Opened> = std::sync::OnceLock::new();
        assert!(LEFT.set(vulkan).is_ok());
        std::process::exit(STATUS);
    }
    for _ in 0..3 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let status = child.args(["--exact", NAME]).env("FULGURITE_TEST_GIVES_UP", "1").status().unwrap();
        assert_eq!(status.code(), Some(STATUS), "{status}");
    }
}

#[test]
fn a_launch_does_not_wait_for_a_compile() {
    let Some(vulkan) = open() else { return };
    let begun = Instant::now();
    let executable = vulkan.compile(&local_array(256));
    println!("compiled in {:?}", begun.elapsed());
    let buffers = [vulkan.upload(&[1; 256])];
    let options = LaunchOptions::workgroups([1, 1, 1]).timeout(Duration::from_millis(250));
    vulkan.launch(&*executable, &buffers, &[], &options).unwrap();
    assert_eq!(words(&*buffers[0])[8..], [0; 56]);
    vulkan.finish();
}

#[test]
fn local_arrays_that_take_a_driver_long_are_refused_at_once() {
    let Some(vulkan) = open() else { return };
    if !is_lavapipe(&vulkan) {
        println!("unavailable: the driver keeps local arrays in memory");
        return;
    }
    for text in [local_array(1024), local_array(4096)] {
        let begun = Instant::now();
        let error = vulkan.try_compile(&text).err().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(1));
        let Error::Unsupported(error) = error else { panic!("{error}") };
        assert!(error.needs.contains("scalars in local arrays"), "{error}");
        assert!(error.have.contains("at most 690 in an array for a compile limit of 120 seconds"), "{error}");
    }
    vulkan.finish();
}
