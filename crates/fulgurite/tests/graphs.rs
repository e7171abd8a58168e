//! Graphs of typed and dynamic launches, copies and fills.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{BACKENDS, code, open};
use fulgurite::prelude::*;
use fulgurite::{Code, DynArg, DynBuffer, HazardKind};

type Axpy = (Read<i32>, ReadWrite<i32>, i32);

fn axpy(ctx: &Context) -> Executable<Axpy> {
    let kernel = kernel::<Axpy>("axpy", ["x", "y", "a"], [64, 1, 1], |k, (x, y, a)| {
        let i = k.global_id().x();
        y.store(i, a * x.load(i) + y.load(i));
    });
    ctx.compile(&kernel.unwrap()).unwrap()
}

#[test]
fn a_graph_does_what_its_steps_would() {
    for id in BACKENDS {
        let ctx = open(id);
        let exe = axpy(&ctx);
        let x = ctx.buffer(&[1, 2, 3, 4]).unwrap();
        let (mut y, mut z) = (ctx.zeroed(4).unwrap(), ctx.zeroed(4).unwrap());
        let mut recorder = ctx.graph();
        recorder.fill(&mut y, 10).unwrap();
        let add = recorder.launch(&exe, (&x, &mut y, 2)).unwrap();
        recorder.copy(y.slice(2..).unwrap(), z.slice_mut(..2).unwrap()).unwrap();
        let other = recorder.launch(&exe, (&x, &mut z, 1)).unwrap();
        let mut graph = recorder.finish();
        assert_eq!((graph.len(), graph.is_empty()), (4, false));
        let waits: Vec<_> = graph.hazards().iter().map(|h| (h.before, h.step, h.kind)).collect();
        use HazardKind::{ReadAfterWrite, WriteAfterWrite};
        assert_eq!(waits, [(0, 1, WriteAfterWrite), (1, 2, ReadAfterWrite), (2, 3, WriteAfterWrite)]);
        assert!(graph.to_string().starts_with("0: fill "), "{graph}");
        assert_eq!(y.read().unwrap(), [0; 4], "nothing ran");

        graph.replay().unwrap();
        assert_eq!((y.read().unwrap(), z.read().unwrap()), (vec![12, 14, 16, 18], vec![17, 20, 3, 4]));
        let pending = graph.submit().unwrap();
        assert_eq!(z.read().unwrap(), [17, 20, 6, 8], "{id}: reading comes behind");
        pending.wait().unwrap();

        // Parameters and buffers of several steps at once.
        let mut w = ctx.zeroed(4).unwrap();
        graph.update().launch(&add, (&x, &mut y, 3)).launch(&other, (&x, &mut w, -1)).apply().unwrap();
        graph.replay().unwrap();
        assert_eq!(y.read().unwrap(), [13, 16, 19, 22]);
        assert_eq!((z.read().unwrap(), w.read().unwrap()), (vec![19, 22, 6, 8], vec![-1, -2, -3, -4]));
        let counters = ctx.counters();
        assert_eq!((counters.replays, counters.launches), (3, 6), "{id}");
    }
}

#[test]
fn dynamic_launches_are_recorded_and_changed() {
    let text = "fulgurite 1
kernel @add workgroup(64, 1, 1) {
  buffer %y: read_write u32[]
  param %n: u32
  %i = global_id.x
  %v = load %y[%i]
  %w = add %v, %n
  store %y[%i], %w
}
";
    let ctx = open("reference");
    let exe = ctx.compile_dynamic(&fulgurite::parse(text).unwrap()).unwrap();
    let y = DynBuffer::from(ctx.buffer(&[1u32, 2]).unwrap());
    let (buffer, floats) = (DynArg::Buffer(&y), DynBuffer::from(ctx.buffer(&[1.0f32]).unwrap()));
    let mut recorder = ctx.graph();
    let step = recorder.launch(&exe, &[buffer, DynArg::param(&1u32)]).unwrap();
    assert_eq!(
        code(recorder.launch(&exe, &[DynArg::Buffer(&floats), DynArg::param(&1u32)])),
        Some(Code::WrongArgumentType)
    );
    let mut graph = recorder.finish();
    graph.replay().unwrap();
    graph.update().launch(&step, &[buffer, DynArg::param(&10u32)]).apply().unwrap();
    graph.replay().unwrap();
    assert_eq!(y.read().unwrap(), [12, 0, 0, 0, 13, 0, 0, 0]);
    let mut refused = |args: &[DynArg<'_>]| code(graph.update().launch(&step, args).apply());
    assert_eq!(refused(&[buffer]), Some(Code::WrongArgumentCount));
    assert_eq!(refused(&[DynArg::param(&1u32)]), Some(Code::WrongArgumentCount));
    assert_eq!(refused(&[buffer, buffer, DynArg::param(&1u32)]), Some(Code::WrongArgumentCount));
    assert_eq!(refused(&[buffer, DynArg::param(&1i32)]), Some(Code::WrongArgumentType));
    graph.replay().unwrap();
    assert_eq!(y.read().unwrap(), [22, 0, 0, 0, 23, 0, 0, 0], "a refused change changes nothing");
}

#[test]
fn what_does_not_fit_a_graph() {
    let ctx = open("cpu");
    let exe = axpy(&ctx);
    let (x, mut y) = (ctx.buffer(&[1]).unwrap(), ctx.zeroed(1).unwrap());
    let mut recorder = ctx.graph();
    let step = recorder.launch(&exe, (&x, &mut y, 1)).unwrap();
    let mut graph = recorder.finish();

    let other = open("cpu");
    let mut recorder = other.graph();
    assert_eq!(code(recorder.launch(&exe, (&x, &mut y, 1))), Some(Code::ForeignBuffer));
    assert_eq!(code(recorder.fill(&mut y, 1)), Some(Code::ForeignBuffer));
    assert_eq!(code(recorder.copy(&x, &mut y)), Some(Code::ForeignBuffer));
    let mut empty = recorder.finish();
    assert!(empty.is_empty() && empty.replay().unwrap().device_time.is_none());
    assert_eq!(code(empty.update().launch(&step, (&x, &mut y, 1)).apply()), Some(Code::BadGraph));

    let mut recorder = ctx.graph();
    assert_eq!(code(recorder.copy(&x, y.slice_mut(..0).unwrap())), Some(Code::BufferSize));

    let mut foreign = other.zeroed(1).unwrap();
    assert_eq!(code(graph.update().launch(&step, (&x, &mut foreign, 1)).apply()), Some(Code::ForeignBuffer));
    graph.replay().unwrap();
    y.free();
    assert_eq!(code(graph.replay()), Some(Code::BufferFreed));
    assert_eq!(code(graph.submit()), Some(Code::BufferFreed));
    assert_eq!(code(graph.update().launch(&step, (&x, &mut foreign, 1)).apply()), Some(Code::ForeignBuffer));
}
