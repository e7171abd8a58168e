//! Kernels of maximum nesting depth are parsed, verified, written, read and lowered on a small stack.
#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test")]
#![expect(clippy::disallowed_types, reason = "a thread has the stack that is asked for")]

use std::fmt::Write as _;

use fulgurite_ir::{VerifiedKernel, text, verify, wire};
use fulgurite_spec::limits::MAX_NESTING;
use fulgurite_spirv::{Profile, emit};

/// musl's default stack size of threads.
const SMALL_STACK: usize = 128 << 10;

/// Returns a kernel of `depth` nested blocks, each of which begins and ends with the given lines.
fn nested(depth: usize, begin: &str, end: &str) -> String {
    let mut text = String::from(
        "fulgurite 1\nkernel @nested workgroup(1, 1, 1) {\n  buffer %o: read_write u32[]\n  %i = global_id.x\n",
    );
    for level in 0..depth {
        writeln!(text, "%x{level} = load %o[{level}u32]\n%c{level} = gt %x{level}, 3u32").unwrap();
        writeln!(text, "{}", begin.replace('#', &level.to_string())).unwrap();
    }
    for level in (0..depth).rev() {
        writeln!(text, "{}", end.replace('#', &level.to_string())).unwrap();
    }
    text.push_str("}\n");
    text
}

#[test]
fn the_deepest_kernels_need_little_stack() {
    let kinds = [
        (MAX_NESTING, "if %c# {", "}"),
        (MAX_NESTING, "%r# = if %c# -> u32 {\nyield 1u32\n} else {", "yield %x#\n}\nstore %o[%i], %r#"),
        (MAX_NESTING, "for %k# in 0u32 to %x# step 1u32 {", "}"),
        // The second block of a `while` is nested in the first.
        (
            MAX_NESTING / 2,
            "%w# = while carry(%v# = 0u32) {\n%m# = lt %v#, %x#\ncondition %m#\n} do {",
            "yield %x#\n}",
        ),
    ];
    for (depth, begin, end) in kinds {
        let source = nested(depth, begin, end);
        let work = move || {
            let kernel = text::parse(&source).unwrap_or_else(|problems| panic!("{problems}"));
            let kernel: VerifiedKernel = verify(kernel).unwrap_or_else(|problems| panic!("{problems}"));
            let read = wire::decode(&wire::encode(&kernel).unwrap()).unwrap();
            let printed = text::parse(&text::print(&kernel)).unwrap();
            for again in [read, printed] {
                assert_eq!(verify(again).unwrap().digest(), kernel.digest());
            }
            for (_, profile) in Profile::NAMED {
                assert!(!emit(&kernel, profile).words.is_empty());
            }
        };
        let thread = std::thread::Builder::new().stack_size(SMALL_STACK);
        thread.spawn(work).unwrap().join().unwrap();
    }
}
