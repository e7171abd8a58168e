//! Calls with host slices.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{BACKENDS, code, open};
use fulgurite::prelude::*;
use fulgurite::{Code, CompileOptions, DynBuffer, LaunchOptions, OptimizationLevel, OutputVec};

type Axpy = (Read<f32>, ReadWrite<f32>, f32);

fn axpy(ctx: &Context) -> Executable<Axpy> {
    let kernel = kernel::<Axpy>("axpy", ["x", "y", "a"], [64, 1, 1], |k, (x, y, a)| {
        let i = k.global_id().x();
        k.if_(i.lt(y.len()), |_| y.store(i, a * x.load(i) + y.load(i)));
    });
    ctx.compile(&kernel.unwrap()).unwrap()
}

#[test]
fn inputs_outputs_and_what_stays() {
    for id in BACKENDS {
        let ctx = open(id);
        let exe = axpy(&ctx);
        let (x, y) = (vec![1.0f32, 2.0, 3.0], [10.0f32; 3]);
        let mut outputs = exe.call().input(&x).in_out(&y).param(2.0f32).timed().run().unwrap();
        assert_eq!(outputs.len(), 1);
        assert!(outputs.report().device_time.is_some());
        assert_eq!(code(outputs.take::<u32>(0)), Some(Code::WrongArgumentType));
        assert_eq!(outputs.take::<f32>(0).unwrap(), [12.0, 14.0, 16.0]);
        assert_eq!(code(outputs.take::<f32>(0)), Some(Code::WrongArgumentCount), "it was taken");
        assert_eq!(code(outputs.take::<f32>(1)), Some(Code::WrongArgumentCount));

        // Zeros that the kernel adds to; bytes; resident memory.
        let call = exe.call().input(&x).output::<f32>(2).param(2.0f32);
        assert_eq!(code(call.clone().run()), Some(Code::BadGrid), "it reads more than it writes");
        let mut outputs = call.options(&LaunchOptions::linear(2)).run().unwrap();
        assert_eq!(outputs.take::<f32>(0).unwrap(), [2.0, 4.0]);
        let bytes: Vec<u8> = x.iter().flat_map(|v| v.to_le_bytes()).collect();
        let call = exe.call().input_bytes(&bytes).in_out_bytes(&bytes).param_bytes(&3.0f32.to_le_bytes());
        let expected: Vec<u8> = [4.0f32, 8.0, 12.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(call.run().unwrap().take::<u8>(0).unwrap(), expected);
        let mut resident = ctx.buffer(&[1.0f32; 4]).unwrap();
        let view = resident.slice_mut(1..).unwrap();
        let none = exe.call().input(&x).resident(view).param(1.0f32).run().unwrap();
        assert!(none.is_empty());
        assert_eq!(resident.read().unwrap(), [1.0, 2.0, 3.0, 4.0], "{id}");
        let call = exe.call().resident(resident.slice(1..2).unwrap()).output_bytes(4).param(1.0f32);
        assert_eq!(call.run().unwrap().take::<u8>(0).unwrap(), 2.0f32.to_le_bytes());
        let dynamic = DynBuffer::from(resident);
        exe.call().input(&x).resident(&dynamic).param(0.5f32).run().unwrap();
        assert_eq!(dynamic.read().unwrap()[..4], 1.5f32.to_le_bytes());
    }
}

#[test]
fn the_callers_vectors_keep_their_memory() {
    for id in BACKENDS {
        let ctx = open(id);
        let exe = axpy(&ctx);
        let mut out = Vec::with_capacity(8);
        out.extend([9.0f32; 5]);
        let memory = out.as_ptr();
        let x = [1.0f32, 2.0];
        let call = exe.call().input(&x).output::<f32>(2).param(2.0f32);
        let report = call.clone().timed().run_into(&mut [&mut out]).unwrap();
        assert!(report.device_time.is_some());
        assert_eq!((out.as_slice(), out.as_ptr()), ([2.0, 4.0].as_slice(), memory), "{id}");
        assert_eq!((ctx.counters().output_slots, ctx.counters().output_slots_reused), (1, 1));

        assert_eq!(code(call.clone().run_into(&mut [])), Some(Code::WrongArgumentCount));
        let mut words = vec![7u32];
        assert_eq!(code(call.clone().run_into(&mut [&mut words])), Some(Code::WrongArgumentType));
        let options = LaunchOptions::default().max_output_bytes(7);
        assert_eq!(code(call.options(&options).run_into(&mut [&mut out])), Some(Code::OutputTooLarge));
        assert_eq!((out, words), (vec![2.0, 4.0], vec![7]), "a refused call writes nothing");
    }
}

#[test]
fn submitted_calls_own_what_they_need() {
    for id in BACKENDS {
        let ctx = open(id);
        let exe = axpy(&ctx);
        let pending: Vec<_> = (0..8)
            .map(|n| {
                let (x, y) = (vec![n as f32; 10], vec![1.0f32; 10]);
                exe.call().input(&x).in_out(&y).param(2.0f32).label("one of eight").submit().unwrap()
            })
            .collect();
        for (n, pending) in pending.into_iter().enumerate() {
            let expected = [2.0 * n as f32 + 1.0; 10];
            assert_eq!(pending.wait().unwrap().take::<f32>(0).unwrap(), expected, "{id}");
        }
    }
}

#[test]
fn batches_come_in_order_and_of_one_executable() {
    for id in BACKENDS {
        let ctx = open(id);
        let exe = axpy(&ctx);
        let inputs: Vec<Vec<f32>> = (1..5).map(|n| vec![n as f32; n]).collect();
        let calls = inputs.iter().map(|x| exe.call().input(x).output::<f32>(x.len()).param(10.0f32));
        let outputs = exe.batch(calls).unwrap();
        for (mut outputs, x) in outputs.into_iter().zip(&inputs) {
            let expected: Vec<f32> = x.iter().map(|v| v * 10.0).collect();
            assert_eq!(outputs.take::<f32>(0).unwrap(), expected, "{id}");
        }
        assert!(exe.batch([]).unwrap().is_empty());
        // A call uses the options of the executable that created it.
        let none = exe.with_options(&LaunchOptions::workgroups([0, 1, 1]));
        let mut outputs = exe
            .batch([&exe, &none].map(|exe| exe.call().input(&[1.0f32]).output::<f32>(1).param(1.0f32)))
            .unwrap();
        let first: Vec<f32> = outputs.iter_mut().flat_map(|o| o.take::<f32>(0).unwrap()).collect();
        assert_eq!(first, [1.0, 0.0]);
        let foreign = axpy(&open(id));
        let call = foreign.call().input(&[1.0f32]).output::<f32>(1).param(1.0f32);
        assert_eq!(code(exe.batch([call])), Some(Code::ForeignBuffer));
    }
}

#[test]
fn batches_go_into_vectors_of_the_caller() {
    for id in BACKENDS {
        let ctx = open(id);
        let exe = axpy(&ctx);
        let inputs: Vec<Vec<f32>> = (1..5).map(|n| vec![n as f32; n]).collect();
        let calls = || inputs.iter().map(|x| exe.call().input(x).output::<f32>(x.len()).param(10.0f32));
        // Each vector keeps its allocation, although it is too long; the last has none.
        let mut results = vec![vec![7.0f32; 9], vec![7.0; 9], vec![7.0; 9], Vec::new()];
        let places: Vec<_> = results.iter().map(|vec| vec.as_ptr()).collect();
        fn lend(all: &mut [Vec<f32>]) -> Vec<&mut dyn OutputVec> {
            all.iter_mut().map(|vec| vec as &mut dyn OutputVec).collect()
        }
        let before = ctx.counters();
        let reports = exe.batch_into(calls(), &mut lend(&mut results)).unwrap();
        let after = ctx.counters();
        let reused = after.output_slots_reused - before.output_slots_reused;
        assert_eq!((reports.len(), after.launches - before.launches, reused), (4, 4, 3), "{id}");
        for (result, x) in results.iter().zip(&inputs) {
            assert_eq!(*result, x.iter().map(|v| v * 10.0).collect::<Vec<_>>(), "{id}");
        }
        assert!(results.iter().zip(&places).take(3).all(|(vec, place)| vec.as_ptr() == *place));

        // Invalid arguments are detected before any launch or write.
        let written = results.clone();
        let mut other = Vec::<u32>::new();
        let [a, b, c, _] = &mut results[..] else { panic!("there are four") };
        let few = exe.batch_into(calls(), &mut [&mut *a, &mut *b, &mut *c]);
        assert_eq!(code(few), Some(Code::WrongArgumentCount));
        let odd = exe.batch_into(calls(), &mut [a, b, c, &mut other]);
        assert_eq!(code(odd), Some(Code::WrongArgumentType));
        let foreign = axpy(&open(id));
        let call = foreign.call().input(&[1.0f32]).output::<f32>(1).param(1.0f32);
        let mixed = exe.call().input(&[1.0f32]).output::<f32>(1).param(1.0f32);
        let mixed = mixed.batch_into([call], &mut lend(&mut results[..2]));
        assert_eq!(code(mixed), Some(Code::ForeignBuffer));
        assert_eq!((&results, ctx.counters().launches), (&written, after.launches), "{id}");
        assert_eq!(exe.batch_into([], &mut []).unwrap(), []);
    }
}

#[test]
fn arguments_that_do_not_fit() {
    let ctx = open("cpu");
    let exe = axpy(&ctx);
    let (x, words) = ([1.0f32], [1u32]);
    let run = |call: fulgurite::Call<'_>| code(call.run());
    let call = || exe.call().input(&x);
    assert_eq!(run(call().in_out(&x).param(1.0f32)), None);
    assert_eq!(run(call().in_out(&x)), Some(Code::WrongArgumentCount));
    assert_eq!(run(call().in_out(&x).in_out(&x).param(1.0f32)), Some(Code::WrongArgumentCount));
    assert_eq!(run(call().in_out(&x).param(1.0f32).param(1.0f32)), Some(Code::WrongArgumentCount));
    assert_eq!(run(call().in_out(&x).param(1.0f32).param_bytes(&[1, 2])), Some(Code::WrongArgumentCount));
    assert_eq!(run(call().in_out(&words).param(1.0f32)), Some(Code::WrongArgumentType));
    assert_eq!(run(call().output::<u32>(1).param(1.0f32)), Some(Code::WrongArgumentType));
    assert_eq!(run(call().in_out(&x).param(1u32)), Some(Code::WrongArgumentType));
    assert_eq!(run(call().in_out(&x).param_bytes(&[0; 3])), Some(Code::WrongArgumentType));
    assert_eq!(run(call().in_out_bytes(&[0; 3]).param(1.0f32)), Some(Code::BufferSize));
    assert_eq!(run(call().input(&x).param(1.0f32)), Some(Code::WrongAccess));
    assert_eq!(run(exe.call().in_out(&x).in_out(&x).param(1.0f32)), Some(Code::WrongAccess));
    assert_eq!(run(call().output::<f32>(usize::MAX).param(1.0f32)), Some(Code::Unsupported));
    let mut buffer = ctx.buffer(&x).unwrap();
    assert_eq!(run(call().resident(&buffer).param(1.0f32)), Some(Code::WrongAccess));
    assert_eq!(buffer.read().unwrap(), x);
    assert_eq!(run(call().resident(&mut buffer).param(1.0f32)), None);
    let mut foreign = open("cpu").buffer(&x).unwrap();
    assert_eq!(run(call().resident(&mut foreign).param(1.0f32)), Some(Code::ForeignBuffer));
    let wrong = ctx.buffer(&words).unwrap();
    assert_eq!(run(exe.call().resident(&wrong).in_out(&x).param(1.0f32)), Some(Code::WrongArgumentType));
    assert_eq!(code(call().in_out(&words).param(1.0f32).submit()), Some(Code::WrongArgumentType));
}

#[test]
fn a_captured_call_is_replayed_elsewhere() {
    let ctx = open("cpu");
    let exe = axpy(&ctx);
    let mut resident = ctx.buffer(&[1.0f32, 2.0]).unwrap();
    let call = exe.call().input(&[3.0f32, 4.0]).resident(&mut resident).param(2.0f32);
    let json = call.capture().unwrap().to_json().unwrap();
    assert_eq!(resident.read().unwrap(), [1.0, 2.0], "it ran on a copy");
    let repro = fulgurite::Repro::from_json(&json).unwrap();
    assert_eq!(repro.manifest.backend_id, "cpu");
    let replayed = open("reference").replay(&repro).unwrap();
    assert!(replayed.differences.is_empty(), "{:?}", replayed.differences);
    let wrong = exe.call().input(&[3u32]).output::<f32>(1).param(2.0f32);
    assert_eq!(code(wrong.capture()), Some(Code::WrongArgumentType));
}

#[test]
fn a_captured_call_counts_on_its_options_elsewhere() {
    let ctx = open("cpu");
    let counting = kernel::<(Write<u32>,)>("lanes", ["y"], [64, 1, 1], |k, (y,)| {
        let i = k.global_id().x();
        y.store(i, i);
    });
    let lanes = ctx.device().limits.subgroup_size;
    let options = CompileOptions::default().subgroup_size(lanes).optimization(OptimizationLevel::None);
    let exe = ctx.compile_with(&counting.unwrap(), &options).unwrap();
    let mut repro = exe.call().output::<u32>(64).capture().unwrap();
    let other = open("cpu");
    assert!(other.replay(&repro).unwrap().differences.is_empty());
    let size = repro.manifest.options.iter_mut().find(|(name, _)| name == "subgroup_size").unwrap();
    // As captured on a device with another subgroup size.
    size.1 = (lanes * 2).to_string();
    assert_eq!(code(other.replay(&repro)), Some(Code::Unsupported));
}
