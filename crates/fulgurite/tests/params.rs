//! Parameter structs in every form of a launch.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{BACKENDS, code, open};
use fulgurite::Code;
use fulgurite::prelude::*;

#[derive(Clone, Copy, KernelParams)]
struct Line {
    scale: i64,
    offset: [u32; 2],
}

#[derive(Clone, Copy, KernelParams)]
struct Limit {
    n: u32,
}

/// Structs before, between and after other arguments.
type Args = (Limit, Read<i64>, u32, Write<i64>, Line);

fn build() -> Kernel<Args> {
    kernel::<Args>("line", ["limit", "x", "more", "y", "p"], [64, 1, 1], |k, (limit, x, more, y, p)| {
        let i = k.global_id().x();
        let [first, second] = [0, 1].map(|at| p.offset.extract(at));
        k.if_(i.lt(limit.n), |_| y.store(i, p.scale * x.load(i) + (first + second * more).convert::<i64>()));
    })
    .unwrap()
}

const FIRST: Line = Line { scale: -3, offset: [10, 100] };
const SECOND: Line = Line { scale: 1 << 40, offset: [1, 2] };

/// Returns the expected element for `x`.
fn line(x: i64, more: u32, p: Line) -> i64 {
    p.scale * x + i64::from(p.offset[0] + p.offset[1] * more)
}

#[test]
fn parameters_are_called_as_the_argument_and_the_field() {
    let text = format!("{:?}", build());
    let at = |name: &str| text.find(&format!("param %{name}")).unwrap();
    let places = ["limit.n: u32\n", "more: u32\n", "p.scale: i64\n", "p.offset: u32x2\n"].map(at);
    assert!(places.is_sorted(), "{text}");
}

#[test]
fn every_form_of_a_launch_takes_them() {
    for id in BACKENDS {
        let ctx = open(id);
        let exe = ctx.compile(&build()).unwrap();
        let x = ctx.buffer(&[5i64, 6, 7]).unwrap();
        let mut y = ctx.zeroed::<i64>(3).unwrap();
        exe.launch((Limit { n: 2 }, &x, 4, &mut y, FIRST)).unwrap();
        assert_eq!(y.read().unwrap(), [line(5, 4, FIRST), line(6, 4, FIRST), 0], "{id}");
        exe.submit((Limit { n: 3 }, &x, 4, &mut y, SECOND)).unwrap().wait().unwrap();
        let all = |p| [5, 6, 7].map(|x| line(x, 4, p)).to_vec();
        assert_eq!(y.read().unwrap(), all(SECOND), "{id}");

        let mut recorder = ctx.graph();
        let step = recorder.launch(&exe, (Limit { n: 3 }, &x, 4, &mut y, FIRST)).unwrap();
        let mut graph = recorder.finish();
        graph.replay().unwrap();
        assert_eq!(y.read().unwrap(), all(FIRST), "{id}");
        graph.update().launch(&step, (Limit { n: 3 }, &x, 4, &mut y, SECOND)).apply().unwrap();
        graph.replay().unwrap();
        assert_eq!(y.read().unwrap(), all(SECOND), "{id}");
    }
}

#[test]
fn calls_take_them_in_the_kernels_order_and_by_type() {
    let ctx = open("reference");
    let exe = ctx.compile(&build()).unwrap();
    let call = || exe.call().input(&[5i64, 6]).output::<i64>(2);
    let mut outputs = call().params(Limit { n: 2 }).param(4u32).params(SECOND).run().unwrap();
    assert_eq!(outputs.take::<i64>(0).unwrap(), [line(5, 4, SECOND), line(6, 4, SECOND)]);
    let swapped = call().params(SECOND).param(4u32).params(Limit { n: 2 }).run();
    assert_eq!(code(swapped), Some(Code::WrongArgumentType));
    let short = call().params(Limit { n: 2 }).params(SECOND).run();
    assert!(short.is_err(), "a parameter is missing");
}
