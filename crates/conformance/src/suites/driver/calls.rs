//! Single calls: their results, the memory that receives them, and what an error must not change.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use fulgurite_hal::{DeviceError, Error, LaunchOptions};
use fulgurite_runtime::{Arg, Call, Pending};
use fulgurite_spec::Code;

use super::{
    JOIN, MAP, PATIENCE, STEP, TRAP, bounded, compile, join, map, random_words, step, to_words, word,
};
use crate::suites::bytes;
use crate::suites::checks::{Checks, Part};

pub(super) const PARTS: &[(&str, Part)] = &[
    ("call on mixed arguments", mixed),
    ("call_into", into),
    ("call_into after errors", into_errors),
    ("call_timed", timed),
    ("call_batched", batched),
    ("call_batched after errors", batched_errors),
    ("call_async", asynchronous),
    ("call_async owns its inputs", owned),
    ("call refusals", refusals),
];

const COUNT: usize = 50;
const SIZE: u64 = 4 * COUNT as u64;

fn mixed(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let program = compile(&device, JOIN)?;
    let mut random = checks.random();
    // Each buffer in host or device memory, in every combination.
    for resident in 0..16u32 {
        let [x, y, z] = [0; 3].map(|_| random_words(&mut random, COUNT));
        let a = random.word();
        let held = [&x, &y, &vec![0; COUNT], &z].map(|words| device.upload(&bytes(words)));
        let [held_x, held_y, held_out, held_z] = held;
        let [held_x, held_y, held_out, held_z] = [held_x?, held_y?, held_out?, held_z?];
        let is_resident = |buffer: u32| resident >> buffer & 1 == 1;
        let pick = |buffer: u32, held: &fulgurite_runtime::Buffer, host: Arg<'static>| {
            if is_resident(buffer) { Arg::Resident(held.into()) } else { host }
        };
        let call = Call::new()
            .arg(pick(0, &held_x, Arg::In(bytes(&x).into())))
            .arg(pick(1, &held_y, Arg::In(bytes(&y).into())))
            .arg(pick(2, &held_out, Arg::Out(SIZE)))
            .arg(pick(3, &held_z, Arg::InOut(bytes(&z).into())))
            .param(word(a));
        let called = program.call(&call)?;
        let mut outputs = called.outputs.iter();
        let mut result = |buffer: u32, held: &fulgurite_runtime::Buffer| {
            let host = if is_resident(buffer) { None } else { outputs.next() };
            host.map_or_else(|| held.whole().to_vec(), |bytes| Ok(bytes.clone()))
        };
        let (out, counted) = (result(2, &held_out)?, result(3, &held_z)?);
        checks.equal("number of remaining outputs", &outputs.count(), &0);
        let expected: Vec<u32> = x.iter().zip(&y).map(|(x, y)| join([*x, *y], a)).collect();
        checks.equal("the output", &to_words(&out), &expected);
        let expected: Vec<u32> = z.iter().map(|z| z.wrapping_add(1)).collect();
        checks.equal("the read-write buffer", &to_words(&counted), &expected);
        if is_resident(2) {
            checks.equal("memory of the device", &held_out.whole().to_vec()?, &out);
        } else {
            let untouched = held_out.whole().to_vec()?;
            checks.equal("memory that was not passed", &untouched, &vec![0; SIZE as usize]);
        }
    }
    Ok(())
}

fn into(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let program = compile(&device, JOIN)?;
    let mut random = checks.random();
    let [x, y, z] = [0; 3].map(|_| random_words(&mut random, COUNT));
    let (x, y, z) = (bytes(&x), bytes(&y), bytes(&z));
    let call = Call::new().input(&x).input(&y).output(SIZE).in_out(&z).param(word(7));
    let expected = program.call(&call)?.outputs;
    let sizes: Vec<usize> = expected.iter().map(Vec::len).collect();
    checks.equal("the sizes of outputs", &sizes, &vec![SIZE as usize; 2]);
    // Vectors that are empty, too small, too long, of exact size, or with spare capacity; missing and surplus ones.
    let with_room = |length: usize, room: usize| {
        let mut vector = Vec::with_capacity(room);
        vector.resize(length, 0xaa);
        vector
    };
    let starts: [Vec<Vec<u8>>; 6] = [
        Vec::new(),
        vec![with_room(0, 0)],
        vec![with_room(0, 512), with_room(300, 300)],
        vec![with_room(200, 200), with_room(10, 4096), with_room(7, 7)],
        vec![with_room(199, 199), with_room(0, 200), Vec::new(), with_room(1, 1)],
        vec![Vec::new(), Vec::new()],
    ];
    for mut outputs in starts {
        let kept: Vec<Option<*const u8>> = outputs
            .iter()
            .map(|vector| (vector.capacity() >= SIZE as usize).then_some(vector.as_ptr()))
            .take(2)
            .collect();
        program.call_into(&call, &mut outputs)?;
        checks.equal("outputs in memory of the caller", &outputs, &expected);
        for (slot, kept) in kept.into_iter().enumerate() {
            if let Some(pointer) = kept {
                checks.equal("the allocation of an output", &outputs[slot].as_ptr(), &pointer);
            }
        }
    }
    Ok(())
}

/// Returns vectors, copies of them, and pointers to their allocations.
fn marked() -> (Vec<Vec<u8>>, Vec<Vec<u8>>, Vec<*const u8>) {
    let outputs = vec![vec![0xaa; 999], vec![0xbb; 3], vec![0xcc; 5]];
    let pointers = outputs.iter().map(|vector| vector.as_ptr()).collect();
    let before = outputs.clone();
    (outputs, before, pointers)
}

fn into_errors(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let program = compile(&device, TRAP)?;
    let mut words = vec![0; COUNT];
    words[COUNT - 3] = 77;
    let bad = bytes(&words);
    let options = LaunchOptions::default().max_output_bytes(SIZE - 1);
    for (what, call, code) in [
        ("a launch that traps", Call::new().input(&bad).output(SIZE), Code::Trap),
        ("too few arguments", Call::new().input(&bad), Code::WrongArgumentCount),
        ("parts of elements", Call::new().input(&bad).output(SIZE - 1), Code::BufferSize),
        (
            "outputs over the limit",
            Call::new().input(&bad).output(SIZE).options(&options),
            Code::OutputTooLarge,
        ),
        ("an input that is written", Call::new().input(&bad).input(&bad), Code::WrongAccess),
    ] {
        let (mut outputs, before, pointers) = marked();
        checks.refused(what, program.call_into(&call, &mut outputs), code);
        checks.equal("outputs after an error", &outputs, &before);
        let after: Vec<*const u8> = outputs.iter().map(|vector| vector.as_ptr()).collect();
        checks.equal("allocations after an error", &after, &pointers);
    }
    Ok(())
}

fn timed(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let program = compile(&device, MAP)?;
    let x: Vec<u32> = (0..COUNT as u32).collect();
    let x_bytes = bytes(&x);
    let call = Call::new().input(&x_bytes).output(SIZE).param(word(9));
    let asked = program.call(&call.clone().options(&LaunchOptions::default().timed(true)))?;
    match (asked.report.device_time, program.call_timed(&call)) {
        (Some(_), result) => {
            let (called, time) = result?;
            let expected: Vec<u32> = x.iter().map(|x| map(*x, 9)).collect();
            checks.equal("the output of a timed call", &to_words(&called.outputs[0]), &expected);
            checks.equal("the time, and the report's", &Some(time), &called.report.device_time);
            checks.holds("a time within reason", time < PATIENCE, || format!("{time:?}"));
        }
        (None, result) => checks.refused("a timed call without a clock", result, Code::Unsupported),
    }
    Ok(())
}

fn batched(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let program = compile(&device, STEP)?;
    let mut random = checks.random();
    let (x, start) = (random_words(&mut random, COUNT), random_words(&mut random, COUNT));
    let (x_bytes, start_bytes) = (bytes(&x), bytes(&start));
    let held = device.upload(&start_bytes)?;
    for size in [0usize, 1, 2, 17] {
        // Independent calls each get separate buffers; calls on one buffer build on one another.
        let calls: Vec<Call<'_>> = (0..size)
            .map(|i| {
                let call = Call::new().input(&x_bytes).param(word(i as u32));
                if i % 2 == 0 { call.in_out(&start_bytes) } else { call.resident(&held) }
            })
            .collect();
        held.whole().write(&start_bytes)?;
        let mut outputs = vec![vec![vec![0xaa; SIZE as usize + 100]], vec![vec![1], vec![2]], Vec::new()];
        let first = outputs[0][0].as_ptr();
        let reports = program.call_batched(&calls, &mut outputs)?;
        checks.equal("number of reports", &reports.len(), &size);
        let mut chained = start.clone();
        let expected: Vec<Vec<Vec<u8>>> = (0..size)
            .map(|i| {
                let next = |y: &[u32]| -> Vec<u32> {
                    x.iter().zip(y).map(|(x, y)| step([*x, *y], i as u32)).collect()
                };
                if i % 2 == 0 {
                    return vec![bytes(&next(&start))];
                }
                chained = next(&chained);
                Vec::new()
            })
            .collect();
        checks.equal("outputs of a batch", &outputs, &expected);
        checks.equal("the shared buffer of a batch", &to_words(&held.whole().to_vec()?), &chained);
        if size > 0 {
            checks.equal("the allocation of a batch's output", &outputs[0][0].as_ptr(), &first);
        }
    }
    Ok(())
}

fn batched_errors(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let program = compile(&device, TRAP)?;
    let (good, mut bad) = (vec![0; COUNT], vec![0; COUNT]);
    bad[3] = 41;
    let (good, bad) = (bytes(&good), bytes(&bad));
    for place in [0usize, 4, 8] {
        let call = |i| Call::new().input(if i == place { &bad } else { &good }).output(SIZE);
        let calls: Vec<Call<'_>> = (0..9).map(call).collect();
        let mut outputs = vec![vec![vec![0xaa; 999]], vec![vec![0xbb; 3]]];
        let (before, pointer) = (outputs.clone(), outputs[0][0].as_ptr());
        let result = program.call_batched(&calls, &mut outputs);
        let code = match &result {
            Err(Error::Device(DeviceError::Trap { code, .. })) => Some(*code),
            _ => None,
        };
        checks.equal("the code of the call that traps", &code, &Some(41));
        checks.equal("outputs of a batch that failed", &outputs, &before);
        checks.equal("its allocations", &outputs[0][0].as_ptr(), &pointer);
    }
    // A call with mismatched arguments is refused before any call of the batch runs.
    let held = device.zeroed(SIZE)?;
    let calls = [Call::new().input(&good).resident(&held), Call::new().input(&good)];
    let mut outputs = vec![vec![vec![1, 2, 3]]];
    checks.refused(
        "a batch with a call that does not fit",
        program.call_batched(&calls, &mut outputs),
        Code::WrongArgumentCount,
    );
    checks.equal("the buffer of a refused batch", &held.whole().to_vec()?, &vec![0; SIZE as usize]);
    checks.equal("outputs of a refused batch", &outputs, &vec![vec![vec![1, 2, 3]]]);
    Ok(())
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A minimal executor, which polls when it is woken.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn asynchronous(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    type Take = fn(Pending<fulgurite_runtime::Called>) -> Option<Result<fulgurite_runtime::Called, Error>>;
    let ways: [(&str, Take); 4] = [
        ("the output by waiting", |pending| bounded(move || pending.wait())),
        ("the output by waiting for so long", |pending| pending.wait_for(PATIENCE).ok()),
        ("the output by awaiting", |pending| bounded(move || block_on(pending))),
        ("the output by awaiting in turns", |pending| {
            // First polled with a no-op waker, which is then replaced.
            bounded(move || {
                let mut pending = Box::pin(pending);
                let mut context = Context::from_waker(Waker::noop());
                match pending.as_mut().poll(&mut context) {
                    Poll::Ready(result) => result,
                    Poll::Pending => block_on(pending),
                }
            })
        }),
    ];
    let device = checks.device();
    let (maps, traps) = (compile(&device, MAP)?, compile(&device, TRAP)?);
    for (round, (what, take)) in ways.into_iter().enumerate() {
        let x: Vec<u32> = (0..COUNT as u32).map(|i| i * 5 + round as u32).collect();
        let x_bytes = bytes(&x);
        let pending = maps.call_async(&Call::new().input(&x_bytes).output(SIZE).param(word(3)))?;
        let Some(called) = take(pending) else {
            checks.holds(what, false, || format!("no result within {PATIENCE:?}"));
            continue;
        };
        let expected: Vec<u32> = x.iter().map(|x| map(*x, 3)).collect();
        checks.equal(what, &to_words(&called?.outputs[0]), &expected);
        let mut bad = vec![0; COUNT];
        bad[7] = 5;
        let pending = traps.call_async(&Call::new().input(bytes(&bad)).output(SIZE))?;
        let code = take(pending).and_then(Result::err).map(|error| error.code());
        checks.equal("an error that comes later", &code, &Some(Code::Trap));
    }
    // Mismatched arguments are refused at once.
    let refused = maps.call_async(&Call::new().input(bytes(&[1])));
    checks.refused("an asynchronous call with too few arguments", refused, Code::WrongArgumentCount);
    Ok(())
}

fn owned(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let program = compile(&device, MAP)?;
    let mut under_way = Vec::new();
    let mut input = bytes(&[0; COUNT]);
    for round in 0..20u32 {
        input.copy_from_slice(&bytes(&[round; COUNT]));
        under_way.push(program.call_async(&Call::new().input(&input).output(SIZE).param(word(round)))?);
        // Both are owned by the call.
        input.fill(0xff);
    }
    drop(input);
    for (round, pending) in (0..20u32).zip(under_way) {
        let Ok(called) = pending.wait_for(PATIENCE) else {
            checks.holds("a call that ends", false, || format!("no result within {PATIENCE:?}"));
            return Ok(());
        };
        let expected = vec![map(round, round); COUNT];
        checks.equal("the output of inputs that changed since", &to_words(&called?.outputs[0]), &expected);
    }
    Ok(())
}

fn refusals(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let program = compile(&device, JOIN)?;
    let words = bytes(&[1; COUNT]);
    let call = |x: Arg<'static>, out: Arg<'static>| {
        let call = Call::new().arg(x).arg(Arg::In(words.clone().into())).arg(out);
        call.arg(Arg::InOut(words.clone().into())).param(word(1))
    };
    let host = || std::borrow::Cow::Owned(words.clone());
    let good = call(Arg::In(host()), Arg::Out(SIZE));
    checks.equal("a call that fits", &program.call(&good)?.outputs.len(), &2);
    let refused = program.call(&call(Arg::Out(SIZE), Arg::Out(SIZE)));
    checks.refused("an output that is only read", refused, Code::WrongAccess);
    let refused = program.call(&call(Arg::InOut(host()), Arg::Out(SIZE)));
    checks.refused("bytes to change that are only read", refused, Code::WrongAccess);
    let refused = program.call(&call(Arg::In(host()), Arg::In(host())));
    checks.refused("an input that is written", refused, Code::WrongAccess);
    checks.refused(
        "a parameter too many",
        program.call(&good.clone().param(word(2))),
        Code::WrongArgumentCount,
    );
    // Buffers that the kernel changes in place count as outputs.
    for (most, fits) in [(2 * SIZE, true), (2 * SIZE - 1, false), (0, false)] {
        let call = good.clone().options(&LaunchOptions::default().max_output_bytes(most));
        let code = program.call(&call).err().map(|error| error.code());
        checks.equal("outputs and their limit", &code, &(!fits).then_some(Code::OutputTooLarge));
        let code = program.call_async(&call).err().map(|error| error.code());
        checks.equal("outputs of a later call", &code, &(!fits).then_some(Code::OutputTooLarge));
    }
    Ok(())
}
