//! Buffers and views: contents, valid arguments, and element types.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{BACKENDS, code, open};
use fulgurite::prelude::*;
use fulgurite::{Code, Element};
use half::{bf16, f16};

fn negate() -> Kernel<(Read<i32>, ReadWrite<i32>, i32)> {
    kernel::<(Read<i32>, ReadWrite<i32>, i32)>("fma", ["x", "y", "a"], [64, 1, 1], |k, (x, y, a)| {
        let i = k.global_id().x();
        y.store(i, a * x.load(i) + y.load(i));
    })
    .unwrap()
}

#[test]
fn parts_are_read_and_written() {
    for id in BACKENDS {
        let ctx = open(id);
        let mut y = ctx.buffer(&[0i32, 1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(y.slice(2..=3).unwrap().read().unwrap(), [2, 3]);
        assert_eq!(y.slice(..).unwrap().slice(5..).unwrap().len(), 2);
        y.slice_mut(1..3).unwrap().write(&[10, 20]).unwrap();
        y.slice_mut(5..).unwrap().fill(-1).unwrap();
        let mut out = [0; 3];
        y.slice(4..).unwrap().read_into(&mut out).unwrap();
        assert_eq!(out, [4, -1, -1]);
        let (mut head, tail) = y.split_at_mut(4).unwrap();
        assert_eq!((head.len(), tail.len(), head.is_empty()), (4, 3, false));
        head.slice_mut(..3).unwrap().copy_from(&tail).unwrap();
        assert_eq!(y.read().unwrap(), [4, -1, -1, 3, 4, -1, -1]);
        for (n, mut chunk) in y.chunks_mut(3).unwrap().enumerate() {
            chunk.fill(n as i32).unwrap();
        }
        assert_eq!(y.read().unwrap(), [0, 0, 0, 1, 1, 1, 2]);
        let other = ctx.buffer(&[7i32; 7]).unwrap();
        y.copy_from(&other).unwrap();
        y.slice_mut(0..2).unwrap().copy_from(other.slice(0..2).unwrap()).unwrap();
        y.fill(8).unwrap();
        assert_eq!(y.read().unwrap(), [8; 7]);
        assert!(ctx.zeroed::<i32>(0).unwrap().read().unwrap().is_empty());
    }
}

#[test]
fn parts_that_are_not_there() {
    let ctx = open("cpu");
    let mut y = ctx.buffer(&[1u8, 2, 3]).unwrap();
    assert_eq!(code(y.slice(2..4)), Some(Code::BufferSize));
    #[allow(clippy::reversed_empty_ranges, reason = "that is what is tested")]
    let reversed = y.slice(2..1);
    assert_eq!(code(reversed), Some(Code::BufferSize));
    assert_eq!(code(y.slice(..=usize::MAX)), Some(Code::BufferSize));
    assert_eq!(code(y.split_at_mut(4)), Some(Code::BufferSize));
    assert_eq!(code(y.chunks_mut(0)), Some(Code::BufferSize));
    assert_eq!(y.chunks_mut(usize::MAX).unwrap().len(), 1);
    assert_eq!(code(y.slice_mut(1..).unwrap().write(&[1])), Some(Code::BufferSize));
    let foreign = open("cpu").buffer(&[1u8, 2, 3]).unwrap();
    assert_eq!(code(y.copy_from(&foreign)), Some(Code::ForeignBuffer));
    assert_eq!(code(y.copy_from(foreign.slice(1..).unwrap())), Some(Code::ForeignBuffer));
    assert_eq!(y.read().unwrap(), [1, 2, 3]);
}

#[test]
fn launches_on_views_of_one_buffer() {
    for id in BACKENDS {
        let ctx = open(id);
        let exe = ctx.compile(&negate()).unwrap();
        let mut y = ctx.buffer(&[1i32, 2, 3, 4, 5, 6]).unwrap();
        let (head, mut tail) = y.split_at_mut(3).unwrap();
        exe.launch((&head, &mut tail, -1)).unwrap();
        assert_eq!(y.read().unwrap(), [1, 2, 3, 3, 3, 3], "{id}");
        let x = ctx.buffer(&[100i32, 200, 300]).unwrap();
        exe.launch((x.slice(1..2).unwrap(), y.slice_mut(5..).unwrap(), 1)).unwrap();
        assert_eq!(y.read().unwrap(), [1, 2, 3, 3, 3, 203], "{id}");
    }
}

#[test]
fn submitted_launches_come_in_order_and_before_what_follows() {
    for id in BACKENDS {
        let ctx = open(id);
        let exe = ctx.compile(&negate()).unwrap();
        let x = ctx.buffer(&[1i32; 100]).unwrap();
        let mut y = ctx.zeroed(100).unwrap();
        let pending: Vec<_> = (0..20).map(|a| exe.submit((&x, &mut y, a)).unwrap()).collect();
        assert_eq!(y.read().unwrap(), [190; 100], "{id}");
        for pending in pending {
            pending.wait().unwrap();
        }
        let time = exe.timed((&x, &mut y, 1)).unwrap();
        assert!(!time.is_zero(), "{id}");
        let none = exe.with_options(&LaunchOptions::workgroups([0, 1, 1]));
        none.launch((&x, &mut y, 1)).unwrap();
        assert_eq!(y.read().unwrap(), [191; 100], "{id}");
        let pending = exe.submit((&x, &mut y, 1)).unwrap();
        y.free();
        pending.wait().unwrap();
        assert_eq!(ctx.counters().launches, 23);
    }
}

#[test]
fn a_freed_buffer_is_refused() {
    let ctx = open("cpu");
    let buffer: fulgurite::DynBuffer = ctx.buffer(&[1u32]).unwrap().into();
    let other = buffer.clone();
    buffer.free();
    assert_eq!(code(other.read()), Some(Code::BufferFreed));
    assert_eq!(code(other.write(&[0; 4])), Some(Code::BufferFreed));
}

/// Stores a parameter and an element, and checks that both survive the round trip to the device.
fn round_trip<T: Element + PartialEq + std::fmt::Debug>(values: [T; 2]) {
    let copy = kernel::<(Read<T>, Write<T>, T)>("copy", ["x", "y", "v"], [1, 1, 1], |_, (x, y, v)| {
        y.store(0, x.load(0));
        y.store(1, v);
    })
    .unwrap();
    for id in BACKENDS {
        let ctx = open(id);
        let x = ctx.buffer(&values[..1]).unwrap();
        let mut y = ctx.zeroed(3).unwrap();
        y.slice_mut(2..).unwrap().fill(values[1]).unwrap();
        let exe = ctx.compile(&copy).unwrap().with_options(&LaunchOptions::workgroups([1, 1, 1]));
        exe.launch((&x, &mut y, values[1])).unwrap();
        let expected = [values[0], values[1], values[1]];
        assert_eq!(y.read().unwrap(), expected, "{id}: {}", T::TYPE);
        let mut outputs = exe.call().input(&values[..1]).in_out(&expected).param(values[0]).run().unwrap();
        let expected = [values[0], values[0], values[1]];
        assert_eq!(outputs.take::<T>(0).unwrap(), expected, "{id}: {}", T::TYPE);
    }
}

macro_rules! elements {
    ($($test:ident $t:ty, $a:expr, $b:expr;)*) => {
        $(
            #[test]
            fn $test() {
                let (a, b): ($t, $t) = ($a, $b);
                round_trip([a, b]);
                round_trip([[a, b], [b, b]]);
                round_trip([[a, b, a], [b, b, a]]);
                round_trip([[a, b, a, b], [b, b, a, a]]);
            }
        )*
    };
}

elements! {
    elements_of_i8 i8, -5, 7;
    elements_of_i16 i16, i16::MIN, 7;
    elements_of_i32 i32, i32::MIN, 7;
    elements_of_i64 i64, i64::MIN + 3, 7;
    elements_of_u8 u8, 255, 7;
    elements_of_u16 u16, 0xfedc, 7;
    elements_of_u32 u32, 0xfedc_ba98, 7;
    elements_of_u64 u64, 0xfedc_ba98_7654_3210, 7;
    elements_of_f32 f32, -1.5, f32::MIN_POSITIVE / 2.0;
    elements_of_f64 f64, -1.5e300, 7.25;
    elements_of_f16 f16, f16::from_f32(-1.5), f16::MAX;
    elements_of_bf16 bf16, bf16::from_f32(-1.5), bf16::MAX;
}
