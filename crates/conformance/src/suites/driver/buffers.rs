//! Buffers and views: their contents at every offset, refused operations, and untouched neighbors.

use std::sync::Arc;

use fulgurite_hal::{Binding, CompileOptions, DeviceError, Error, Launch, LaunchOptions, StepWork};
use fulgurite_ir::{text, verify};
use fulgurite_runtime::{Buffer, Call};
use fulgurite_spec::eval;
use fulgurite_spec::{Code, Type};

use super::{MAP, STEP, compile, map, random_words, step, to_words, word};
use crate::suites::bytes;
use crate::suites::checks::{Checks, Part};

pub(super) const PARTS: &[(&str, Part)] = &[
    ("buffer contents", contents),
    ("buffer fill", fill),
    ("buffer copy", copy),
    ("buffer refusals", refusals),
    ("buffers of the largest size", largest),
    ("buffer free", free),
    ("buffer of another device", foreign),
    ("what a backend's buffers refuse", raw),
    ("launches of another kernel", of_another_kernel),
    ("views in launches", views),
    ("views of words at any word", words_at_any_word),
    ("views of u8 at any byte", |checks| narrow(checks, Type::U8)),
    ("views of u16 at any half word", |checks| narrow(checks, Type::U16)),
];

/// Size of the buffers here in bytes: not a multiple of a word size.
const BYTES: usize = 243;

/// Ranges with arbitrary bounds, including empty ones.
const RANGES: [(usize, usize); 9] =
    [(0, BYTES), (0, 1), (1, 2), (3, 7), (5, 69), (64, 128), (127, 242), (242, 243), (100, 100)];

fn random_bytes(checks: &Checks<'_, '_>) -> Vec<u8> {
    let mut random = checks.random();
    (0..BYTES).map(|_| random.word() as u8).collect()
}

fn contents(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    for bytes in [0, 1, 3, 4, 1000] {
        let buffer = device.zeroed(bytes)?;
        checks.equal("the size of a zeroed buffer", &buffer.bytes(), &bytes);
        checks.equal("a zeroed buffer", &buffer.whole().to_vec()?, &vec![0; bytes as usize]);
    }
    let mut expected = random_bytes(checks);
    let buffer = device.upload(&expected)?;
    checks.equal("an uploaded buffer", &buffer.whole().to_vec()?, &expected);
    for (from, to) in RANGES {
        let view = buffer.view(from as u64..to as u64)?;
        checks.equal("a range that is read", &view.to_vec()?, &expected[from..to].to_vec());
        let new: Vec<u8> = expected[from..to].iter().map(|b| b ^ 0x5a).collect();
        view.write(&new)?;
        expected[from..to].copy_from_slice(&new);
        checks.equal("all after a range was written", &buffer.whole().to_vec()?, &expected);
        let inner = view.view((to - from).min(1) as u64..)?;
        let place = (inner.offset(), inner.bytes());
        let begin = from + (to - from).min(1);
        checks.equal("the range of a view of a view", &place, &(begin as u64, (to - begin) as u64));
        checks.equal("a view of a view", &inner.to_vec()?, &expected[begin..to].to_vec());
    }
    Ok(())
}

fn fill(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    for length in [1usize, 2, 3, 4, 8, 12, 16] {
        let mut expected = random_bytes(checks);
        let buffer = device.upload(&expected)?;
        let pattern: Vec<u8> = (0..length).map(|i| 0xc1u8.wrapping_add(7 * i as u8)).collect();
        for (offset, times) in [(0usize, 1), (1, 3), (5, 0), (33, 10), (4, 12)] {
            let range = offset..offset + length * times;
            buffer.view(range.start as u64..range.end as u64)?.fill(&pattern)?;
            expected[range].copy_from_slice(&pattern.repeat(times));
            checks.equal("all after a fill", &buffer.whole().to_vec()?, &expected);
        }
    }
    let large = device.zeroed(5 << 20)?;
    large.view(3..(5 << 20) - 2)?.fill(&[1, 2, 3])?;
    let all = large.whole().to_vec()?;
    let middle = all[3..all.len() - 2].chunks(3).all(|chunk| chunk == [1, 2, 3]);
    let ends = (all[..3].to_vec(), all[all.len() - 2..].to_vec());
    checks.holds("a fill of five mebibytes", middle, || "other bytes in between".to_owned());
    checks.equal("the bytes beside it", &ends, &(vec![0; 3], vec![0; 2]));
    let buffer = device.zeroed(10)?;
    checks.refused("a fill of a partial pattern", buffer.whole().fill(&[1, 2, 3]), Code::BufferSize);
    checks.refused("a fill of an empty pattern", buffer.whole().fill(&[]), Code::BufferSize);
    checks.equal("the buffer after refused fills", &buffer.whole().to_vec()?, &vec![0; 10]);
    Ok(())
}

fn copy(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let mut expected = random_bytes(checks);
    let (buffer, other) = (device.upload(&expected)?, device.upload(&[0xee; BYTES])?);
    let mut others = vec![0xee; BYTES];
    for (from, to, length) in
        [(0usize, 100usize, 100usize), (3, 121, 64), (121, 0, 121), (7, 8, 1), (9, 9, 0)]
    {
        let view = |buffer: &Buffer, at: usize| buffer.view(at as u64..(at + length) as u64);
        // Copy within one buffer, and then to another.
        view(&buffer, to)?.copy_from(&view(&buffer, from)?)?;
        expected.copy_within(from..from + length, to);
        view(&other, from)?.copy_from(&view(&buffer, to)?)?;
        others[from..from + length].copy_from_slice(&expected[to..to + length]);
        checks.equal("all after a copy within it", &buffer.whole().to_vec()?, &expected);
        checks.equal("all after a copy to it", &other.whole().to_vec()?, &others);
    }
    for [from, to] in [[0u64, 0], [0, 9], [9, 0], [50, 41]] {
        let result = buffer.view(to..to + 10)?.copy_from(&buffer.view(from..from + 10)?);
        checks.refused("a copy that overlaps", result, Code::BufferOverlap);
    }
    let result = buffer.view(..10)?.copy_from(&other.view(..11)?);
    checks.refused("a copy of different sizes", result, Code::BufferSize);
    checks.equal("all after copies that were refused", &buffer.whole().to_vec()?, &expected);
    Ok(())
}

fn refusals(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let buffer = device.zeroed(16)?;
    let tail = buffer.view(4..)?;
    checks.equal("a view to the end", &(tail.offset(), tail.bytes()), &(4, 12));
    let last = buffer.view(3..=6)?;
    checks.equal("a view of a closed range", &(last.offset(), last.bytes()), &(3, 4));
    for (from, to) in [(0, 17), (16, 17), (17, 17), (0, u64::MAX), (u64::MAX, u64::MAX)] {
        checks.refused("a view out of range", buffer.view(from..to), Code::BufferSize);
    }
    checks.refused("a view out of a view", tail.view(..13), Code::BufferSize);
    checks.refused("a closed view to the largest number", buffer.view(0..=u64::MAX), Code::BufferSize);
    #[expect(clippy::reversed_empty_ranges, reason = "this is what is refused")]
    let backwards = buffer.view(9..8);
    checks.refused("a view that ends before it begins", backwards, Code::BufferSize);
    for length in [11, 13] {
        checks.refused("a write of the wrong size", tail.write(&vec![1; length]), Code::BufferSize);
        checks.refused("a read of the wrong size", tail.read(&mut vec![1; length]), Code::BufferSize);
    }
    let most = device.snapshot().limits.max_buffer_bytes;
    if let Some(bytes) = most.checked_add(1) {
        checks.refused("more than the device holds", device.zeroed(bytes), Code::Unsupported);
    }
    checks.equal("all after refusals", &buffer.whole().to_vec()?, &vec![0; 16]);
    Ok(())
}

/// Returns whether an allocation of this size is tried: one that the machine can make, or one that it cannot make at
/// all. Those in between would take most of its memory.
fn is_tried(bytes: u64) -> bool {
    bytes <= 1 << 32 || bytes >= 1 << 40
}

/// Sizes at the device's limit and just below are allocated or refused for lack of memory; sizes above are refused.
fn largest(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let program = compile(&device, MAP)?;
    let most = device.snapshot().limits.max_buffer_bytes;
    for bytes in [most.saturating_sub(4), most.saturating_sub(1), most] {
        if !is_tried(bytes) {
            continue;
        }
        match device.zeroed(bytes) {
            Ok(buffer) => {
                checks.equal("the size of a buffer of the largest size", &buffer.bytes(), &bytes);
                let end = buffer.view(bytes - 8..)?;
                checks.equal("its last bytes", &end.to_vec()?, &vec![0; 8]);
                end.write(&[7; 8])?;
                checks.equal("its last bytes, written", &end.to_vec()?, &vec![7; 8]);
                checks.refused("a view beyond its end", buffer.view(bytes - 8..bytes + 1), Code::BufferSize);
            }
            Err(error) => {
                let is_typed = matches!(error, Error::Device(DeviceError::OutOfMemory { .. }));
                checks.holds("a buffer of the largest size", is_typed, || error.to_string());
            }
        }
    }
    for bytes in [most.checked_add(1), most.checked_add(4), Some(1 << 63), Some(u64::MAX - 2), Some(u64::MAX)]
    {
        let Some(bytes) = bytes.filter(|bytes| *bytes > most) else { continue };
        checks.refused("a buffer beyond the largest size", device.zeroed(bytes), Code::Unsupported);
        let call = Call::new().input(vec![0; 4]).output(bytes).param(word(0));
        checks.refused("an output beyond the largest size", program.call(&call), Code::Unsupported);
    }
    // The device and its memory are as before.
    let (x, out) = (device.upload(&bytes(&[5]))?, device.zeroed(4)?);
    program.launch(&[(&x).into(), (&out).into()], &[word(1)], &LaunchOptions::default())?;
    checks.equal("a launch after refusals", &to_words(&out.whole().to_vec()?), &vec![map(5, 1)]);
    Ok(())
}

fn free(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let mut numbers = Vec::new();
    for _ in 0..20 {
        let buffer = device.zeroed(4)?;
        numbers.push(buffer.generation());
        // Memory may be reused, buffer numbers may not.
        buffer.free();
    }
    let mut distinct = numbers.clone();
    distinct.sort_unstable();
    distinct.dedup();
    checks.equal("numbers of buffers", &distinct.len(), &numbers.len());

    let program = compile(&device, MAP)?;
    let (buffer, out) = (device.upload(&bytes(&[1, 2, 3, 4]))?, device.zeroed(16)?);
    let (view, clone) = (buffer.view(4..8)?, buffer.clone());
    checks.equal("a buffer before it is freed", &buffer.is_freed(), &false);
    buffer.free();
    checks.equal("a clone of a freed buffer", &clone.is_freed(), &true);
    // The next buffer in that memory must not be reachable.
    let next = device.upload(&bytes(&[5; 4]))?;
    checks.refused("reading a freed buffer", view.to_vec(), Code::BufferFreed);
    checks.refused("writing a freed buffer", view.write(&[0; 4]), Code::BufferFreed);
    checks.refused("filling a freed buffer", view.fill(&[0; 4]), Code::BufferFreed);
    checks.refused("copying from a freed buffer", out.view(..4)?.copy_from(&view), Code::BufferFreed);
    checks.refused("copying to a freed buffer", view.copy_from(&out.view(..4)?), Code::BufferFreed);
    let launched = program.launch(&[(&clone).into(), (&out).into()], &[word(0)], &LaunchOptions::default());
    checks.refused("launching on a freed buffer", launched, Code::BufferFreed);
    checks.equal("a buffer allocated since", &to_words(&next.whole().to_vec()?), &vec![5; 4]);
    buffer.free();
    checks.equal("a buffer freed twice", &buffer.is_freed(), &true);
    Ok(())
}

fn foreign(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let (one, other) = (checks.device(), checks.device());
    checks.equal("a device is the same as its clone", &one.is_same(&one.clone()), &true);
    checks.equal("a device is the same as another of its backend", &one.is_same(&other), &false);
    let program = compile(&one, MAP)?;
    let (own, foreign) = (one.zeroed(16)?, other.upload(&bytes(&[9; 4]))?);
    let options = LaunchOptions::default();
    let launched = program.launch(&[(&foreign).into(), (&own).into()], &[word(0)], &options);
    checks.refused("another device's input", launched, Code::ForeignBuffer);
    let launched = program.submit(&[(&own).into(), (&foreign).into()], &[word(0)], &options);
    checks.refused("another device's output", launched, Code::ForeignBuffer);
    checks.refused("a copy to another device", foreign.whole().copy_from(&own.whole()), Code::ForeignBuffer);
    checks.equal("the target of a refused copy", &to_words(&foreign.whole().to_vec()?), &vec![9; 4]);
    Ok(())
}

/// Launches on parts of one buffer, some written and some read; nothing else may change.
fn views(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let program = compile(&device, STEP)?;
    let mut random = checks.random();
    for [from, to, length] in
        [[0usize, 10, 10], [10, 0, 10], [3, 50, 7], [50, 3, 33], [1, 99, 1], [60, 20, 40]]
    {
        let before = random_words(&mut random, 100);
        let buffer = device.upload(&bytes(&before))?;
        let view = |at: usize| buffer.view(4 * at as u64..4 * (at + length) as u64);
        program.launch(&[view(from)?, view(to)?], &[word(5)], &LaunchOptions::default())?;
        let mut expected = before.clone();
        for i in 0..length {
            expected[to + i] = step([before[from + i], before[to + i]], 5);
        }
        checks.equal("all after a launch on two parts", &to_words(&buffer.whole().to_vec()?), &expected);
    }
    let buffer = device.zeroed(400)?;
    for [from, to] in [[0u64, 36], [36, 0], [0, 0]] {
        let views = [buffer.view(from..from + 40)?, buffer.view(to..to + 40)?];
        let result = program.launch(&views, &[word(0)], &LaunchOptions::default());
        checks.refused("a launch on parts that overlap", result, Code::BufferOverlap);
    }
    Ok(())
}

/// Views with elements smaller than a word, which begin and end within words.
fn narrow(checks: &mut Checks<'_, '_>, ty: Type) -> Result<(), Error> {
    let device = checks.device();
    let text = format!(
        "fulgurite 1
kernel @narrow workgroup(32, 1, 1) {{
  buffer %x: read {ty}[]
  buffer %out: write {ty}[]
  %i = global_id.x
  %v = load %x[%i]
  %r = add %v, 1{ty}
  store %out[%i], %r
}}
"
    );
    let program = compile(&device, &text)?;
    let size = ty.size() as usize;
    for (from, to) in [(1usize, 30), (2, 43), (3, 37), (41, 3), (29, 2)] {
        let (from, to, length) = (from * size, to * size, 7 * size);
        let mut expected: Vec<u8> = (0..128).map(|i: u8| i.wrapping_mul(2)).collect();
        let buffer = device.upload(&expected)?;
        let view = |at: usize| buffer.view(at as u64..(at + length) as u64);
        program.launch(&[view(from)?, view(to)?], &[], &LaunchOptions::default())?;
        for at in 0..length {
            // The low byte of each element is even, so there is no carry.
            let low = u8::from(at % size == 0);
            expected[to + at] = expected[from + at] + low;
        }
        checks.equal("all after a launch on narrow views", &buffer.whole().to_vec()?, &expected);
    }
    Ok(())
}

/// Views may begin at any multiple of the element size.
fn words_at_any_word(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let program = compile(&device, MAP)?;
    for at in 0..9u64 {
        let before: Vec<u32> = (0..32).collect();
        let buffer = device.upload(&bytes(&before))?;
        let views = [buffer.view(4 * at..4 * at + 20)?, buffer.view(64 + 4 * at..64 + 4 * at + 20)?];
        program.launch(&views, &[word(100)], &LaunchOptions::default())?;
        let mut expected = before;
        for i in at as usize..at as usize + 5 {
            expected[16 + i] = map(expected[i], 100);
        }
        checks.equal("all after a launch on words", &to_words(&buffer.whole().to_vec()?), &expected);
    }
    let buffer = device.zeroed(64)?;
    for (from, bytes) in [(1, 4), (2, 4), (0, 6)] {
        let views = [buffer.view(from..from + bytes)?, buffer.view(32..36)?];
        let result = program.launch(&views, &[word(0)], &LaunchOptions::default());
        checks.refused("a view that begins or ends within an element", result, Code::BufferSize);
    }
    Ok(())
}

/// Calls the backend's buffers directly, without the engine's checks: they must be safe by themselves.
fn raw(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let backend = Arc::clone(checks.backend());
    let data: Vec<u8> = (0..=63).collect();
    let buffers = [backend.allocate(64)?, backend.allocate(64)?];
    let [one, other] = &buffers;
    one.write(0, &data)?;
    for [start, end] in [[16, 80], [60, 65], [u64::MAX - 3, u64::MAX], [16, 4]] {
        let range = start..end;
        checks.refused("a fill beyond the end", one.fill(range.clone(), &[1]), Code::BufferSize);
        checks.refused("a copy from beyond the end", other.copy(0, one.as_ref(), range), Code::BufferSize);
    }
    for offset in [1, 64, u64::MAX - 2] {
        let copied = other.copy(offset, one.as_ref(), 0..64);
        checks.refused("a copy to beyond the end", copied, Code::BufferSize);
    }
    checks.refused("a fill of an empty pattern", one.fill(0..16, &[]), Code::BufferSize);
    checks.refused("a fill of a partial pattern", one.fill(3..16, &[1, 2, 3, 4]), Code::BufferSize);
    let onto_itself = one.copy(4, one.as_ref(), 0..60);
    checks.refused("a copy of bytes onto themselves", onto_itself, Code::BufferOverlap);
    one.copy(32, one.as_ref(), 0..32)?;
    let mut bytes = vec![0; 64];
    one.read(0, &mut bytes)?;
    checks.equal("a copy within a buffer", &bytes, &[&data[..32], &data[..32]].concat());
    let bindings = buffers.each_ref().map(Binding::whole);
    let [whole, part] = [bindings[0].clone(), Binding::whole(&backend.allocate(16)?)];
    let copied = StepWork::copy(part.clone(), whole).map(|_| ());
    checks.refused("a step that copies out of range", copied, Code::BufferSize);
    let filled = StepWork::fill(part, Arc::from([])).map(|_| ());
    checks.refused("a step that fills with an empty pattern", filled, Code::BufferSize);
    Ok(())
}

/// Gives a launch that was checked for one kernel to the executable of another, which omits a guard because of a
/// precondition.
fn of_another_kernel(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let kernel = |requires: &str| {
        let source = format!(
            "fulgurite 1\nkernel @k workgroup(1, 1, 1) {{\n  buffer %y: read_write u32[]\n  param %a: u32\n{requires}  \
             store %y[%a], 7u32\n}}\n"
        );
        let kernel = text::parse(&source).and_then(verify);
        kernel.map(Arc::new).map_err(|error| Error::Internal(error.to_string()))
    };
    let checked = kernel("")?;
    let trusting = kernel("  require ge (len %y), 1000000u32\n  require lt %a, 1000000u32\n")?;
    let backend = Arc::clone(checks.backend());
    let executable = backend.compile(trusting, &CompileOptions::default())?;
    let buffers = [backend.allocate(64)?];
    let limits = &backend.snapshot().limits;
    let params = [eval::splat_low(999_999)];
    let options = LaunchOptions::workgroups([1, 1, 1]);
    let launch = Launch::check(&checked, limits, Binding::each(&buffers), &params, &options)?;
    let launched = executable.launch(&launch).map(|_| ());
    checks.refused("a launch of another kernel", launched, Code::ForeignLaunch);
    let submitted = Arc::clone(&executable).submit(&launch).and_then(|work| match work {
        Some(work) => work.finish().map(|_| ()),
        // An executable that cannot submit is launched.
        None => executable.launch(&launch).map(|_| ()),
    });
    checks.refused("a submission of another kernel", submitted, Code::ForeignLaunch);
    let step = StepWork::launch(executable, launch).map(|_| ());
    checks.refused("a step of another kernel", step, Code::ForeignLaunch);
    Ok(())
}
