//! Kernels whose arguments are known only at run time: parts of buffers, and compile options.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{BACKENDS, code, open};
use fulgurite::{Code, CompileOptions, DynArg, DynBuffer, ScalarType, Type};

const ADD: &str = "fulgurite 1
kernel @add workgroup(64, 1, 1) {
  buffer %y: read_write u32[]
  param %n: u32
  %i = global_id.x
  %v = load %y[%i]
  %w = add %v, %n
  store %y[%i], %w
}
";

#[test]
fn parts_of_dynamic_buffers_are_passed_as_whole_ones_are() {
    for id in BACKENDS {
        let ctx = open(id);
        let exe = ctx.compile_dynamic(&fulgurite::parse(ADD).unwrap()).unwrap();
        let bytes = |words: [u32; 4]| words.map(u32::to_le_bytes).concat();
        let y = ctx.dyn_buffer(Type::scalar(ScalarType::U32), &bytes([1, 2, 3, 4])).unwrap();
        let middle = y.slice_bytes(4..12).unwrap();
        assert_eq!((middle.len(), middle.element()), (2, y.element()));
        exe.launch(&[DynArg::Buffer(&middle), DynArg::param(&10u32)]).unwrap();
        assert_eq!(y.read().unwrap(), bytes([1, 12, 13, 4]), "{id}");
        middle.slice_bytes(4..).unwrap().write(&7u32.to_le_bytes()).unwrap();
        assert_eq!(y.read().unwrap(), bytes([1, 12, 7, 4]), "{id}");
        assert_eq!(code(y.slice_bytes(4..10)), Some(Code::BufferSize), "half an element");
        assert_eq!(code(middle.slice_bytes(..12)), Some(Code::BufferSize), "more than there is");
    }
}

#[test]
fn what_is_compiled_ahead_with_options_is_found() {
    let ctx = open("cpu");
    let (kernel, options) = (fulgurite::parse(ADD).unwrap(), CompileOptions::default().workgroup([32, 1, 1]));
    assert!(ctx.prewarm([&kernel], &options, &|_| ()).iter().all(|one| one.origin.is_ok()));
    let exe = ctx.compile_dynamic_with(&kernel, &options).unwrap();
    assert_eq!(exe.kernel().workgroup, [32, 1, 1]);
    assert_eq!(exe.manifest().options, [("workgroup".to_owned(), "32, 1, 1".to_owned())]);
    assert_eq!((ctx.counters().compiles, ctx.counters().compiles_reused), (1, 1));
}

/// A kernel of almost the largest depth, on a thread that has 512 KiB of stack, as in unoptimized builds of programs
/// with small threads.
#[test]
fn the_deepest_kernels_run_on_a_small_stack() {
    const DEPTH: usize = 398;
    let opened = "  if %c {\n".repeat(DEPTH);
    let closed = "  }\n".repeat(DEPTH);
    let text = format!(
        "fulgurite 1\nkernel @deep workgroup(64, 1, 1) {{\n  buffer %y: read_write u32[]\n  %i = global_id.x\n  \
         %c = lt %i, 5u32\n{opened}  store %y[%i], 7u32\n{closed}}}\n"
    );
    let run = move || {
        for id in BACKENDS {
            let ctx = open(id);
            let exe = ctx.compile_dynamic(&fulgurite::parse(&text).unwrap()).unwrap();
            let y = DynBuffer::from(ctx.zeroed::<u32>(8).unwrap());
            exe.launch(&[DynArg::Buffer(&y)]).unwrap();
            let bytes = y.read().unwrap();
            let words: Vec<u32> =
                bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
            assert_eq!(words, [7, 7, 7, 7, 7, 0, 0, 0], "{id}");
        }
    };
    std::thread::Builder::new().stack_size(512 << 10).spawn(run).unwrap().join().unwrap();
}
