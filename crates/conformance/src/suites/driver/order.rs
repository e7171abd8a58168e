//! Order: later operations see submitted work, and dropping handles loses nothing.

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Wake, Waker};

use fulgurite_hal::{Error, LaunchOptions};
use fulgurite_runtime::{BufferView, Call, Program, Recorder};

use super::{MAP, PATIENCE, STEP, compile, map, random_words, step, to_words, word};
use crate::suites::bytes;
use crate::suites::checks::{Checks, Part};

pub(super) const PARTS: &[(&str, Part)] = &[
    ("what comes after submitted work sees it", seen),
    ("submitted work comes in order", in_order),
    ("dropped handles lose nothing", dropped),
    ("what follows a result may use the device", following),
];

const COUNT: usize = 3000;
/// Number of concurrent launches.
const DEPTH: u32 = 20;

fn next(x: &[u32], y: &[u32], a: u32) -> Vec<u32> {
    x.iter().zip(y).map(|(x, y)| step([*x, *y], a)).collect()
}

/// Reads or changes memory in each way after many launches that were not waited for.
fn seen(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let (steps, maps) = (compile(&device, STEP)?, compile(&device, MAP)?);
    let mut random = checks.random();
    let x = random_words(&mut random, COUNT);
    let (held_x, y) = (device.upload(&bytes(&x))?, device.zeroed(4 * COUNT as u64)?);
    let out = device.zeroed(4 * COUNT as u64)?;
    let views: [BufferView; 2] = [(&held_x).into(), (&y).into()];
    let options = LaunchOptions::default();
    let mut expected = vec![0; COUNT];
    let ways = [
        "a read",
        "a launch",
        "a call",
        "a copy",
        "a fill",
        "a write",
        "a graph",
        "a submitted graph",
        "a launch after a submitted graph",
    ];
    for what in ways {
        let mut pending = Vec::new();
        for a in 0..DEPTH {
            pending.push(steps.submit(&views, &[word(a)], &options)?);
            expected = next(&x, &expected, a);
        }
        let mut mapped: Vec<u32> = expected.iter().map(|y| map(*y, 1)).collect();
        match what {
            "a read" => {
                checks.equal(what, &to_words(&y.whole().to_vec()?), &expected);
                continue;
            }
            "a launch" => drop(maps.launch(&[(&y).into(), (&out).into()], &[word(1)], &options)?),
            "a call" => {
                let call = Call::new().resident(&y).output(4 * COUNT as u64).param(word(1));
                out.whole().write(&maps.call(&call)?.outputs[0])?;
            }
            "a copy" => {
                out.whole().copy_from(&y.whole())?;
                mapped.clone_from(&expected);
            }
            "a fill" | "a write" => {
                match what {
                    "a fill" => y.view(4..12)?.fill(&[7, 0, 0, 0])?,
                    _ => y.view(4..12)?.write(&bytes(&[7, 7]))?,
                }
                expected[1..3].fill(7);
                mapped.clone_from(&expected);
                out.whole().copy_from(&y.whole())?;
            }
            _ => {
                let mut recorder = Recorder::new(&device);
                let (from, to) = (recorder.slot(&y), recorder.slot(&out));
                recorder.launch(&maps, &[from, to], &[word(1)], &options)?;
                let graph = recorder.finish();
                if what == "a graph" {
                    graph.replay()?;
                } else {
                    pending.push(graph.submit()?);
                }
                if what == "a launch after a submitted graph" {
                    // It must not overtake the graph, which reads memory that this launch changes.
                    pending.push(steps.submit(&views, &[word(3)], &options)?);
                    expected = next(&x, &expected, 3);
                }
            }
        }
        checks.equal(what, &to_words(&out.whole().to_vec()?), &mapped);
        checks.equal("the result of the preceding launches", &to_words(&y.whole().to_vec()?), &expected);
        for pending in pending {
            let ended = pending.wait_for(PATIENCE);
            checks.holds("a launch that ended well", matches!(ended, Ok(Ok(_))), || format!("{ended:?}"));
        }
    }
    Ok(())
}

/// Launches of two programs and graphs, alternating, on the same memory.
fn in_order(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let (steps, maps) = (compile(&device, STEP)?, compile(&device, MAP)?);
    let mut random = checks.random();
    let mut words = [random_words(&mut random, COUNT), random_words(&mut random, COUNT)];
    let buffers = [device.upload(&bytes(&words[0]))?, device.upload(&bytes(&words[1]))?];
    let options = LaunchOptions::default();
    let mut recorder = Recorder::new(&device);
    let slots = [recorder.slot(&buffers[0]), recorder.slot(&buffers[1])];
    recorder.launch(&steps, &slots, &[word(11)], &options)?;
    let graph = recorder.finish();
    let mut last = None;
    for a in 0..3 * DEPTH {
        let from = random.below(2) as usize;
        let views: [BufferView; 2] = [(&buffers[from]).into(), (&buffers[1 - from]).into()];
        let (x, y) = (words[from].clone(), words[1 - from].clone());
        match random.below(4) {
            0 => {
                last = Some(maps.submit(&views, &[word(a)], &options)?);
                words[1 - from] = x.iter().map(|x| map(*x, a)).collect();
            }
            1 => {
                last = Some(graph.submit()?);
                words[1] = next(&words[0], &words[1], 11);
            }
            2 => {
                steps.launch(&views, &[word(a)], &options)?;
                words[1 - from] = next(&x, &y, a);
            }
            _ => {
                last = Some(steps.submit(&views, &[word(a)], &options)?);
                words[1 - from] = next(&x, &y, a);
            }
        }
    }
    if let Some(last) = last {
        let ended = last.wait_for(PATIENCE);
        checks.holds("the last launch", matches!(ended, Ok(Ok(_))), || format!("{ended:?}"));
    }
    for (buffer, expected) in buffers.iter().zip(&words) {
        checks.equal("the result of all launches", &to_words(&buffer.whole().to_vec()?), expected);
    }
    Ok(())
}

/// Drops handles of pending work, programs and buffers while the work is in progress.
fn dropped(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let y = device.zeroed(4 * COUNT as u64)?;
    let x = random_words(&mut checks.random(), COUNT);
    let mut expected = vec![0; COUNT];
    for a in 0..DEPTH {
        let program = compile(&device, STEP)?;
        let held = device.upload(&bytes(&x))?;
        // Drop the program, the input and the pending handle.
        drop(program.submit(&[(&held).into(), (&y).into()], &[word(a)], &LaunchOptions::default())?);
        if a % 2 == 0 {
            held.free();
        }
        expected = next(&x, &expected, a);
    }
    checks.equal(
        "the result of launches that were not waited for",
        &to_words(&y.whole().to_vec()?),
        &expected,
    );

    let program = compile(&device, MAP)?;
    let x_bytes = bytes(&x);
    let call = Call::new().input(&x_bytes).output(4 * COUNT as u64);
    let calls = (0..DEPTH).map(|a| program.call_async(&call.clone().param(word(a))));
    let under_way: Vec<_> = calls.collect::<Result<_, _>>()?;
    drop((program, device, y));
    for (a, pending) in (0..DEPTH).zip(under_way) {
        let expected: Vec<u32> = x.iter().map(|x| map(*x, a)).collect();
        match pending.wait_for(PATIENCE) {
            Ok(called) => {
                checks.equal("a call whose device was dropped", &to_words(&called?.outputs[0]), &expected);
            }
            Err(_) => {
                checks.holds("a call whose device was dropped", false, || {
                    format!("no result within {PATIENCE:?}")
                });
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Counts a failed case because of a timeout.
fn hung(checks: &mut Checks<'_, '_>, what: &str) -> Result<(), Error> {
    checks.holds(what, false, || format!("no result within {PATIENCE:?}"));
    Ok(())
}

/// A waker that launches, and sends the result of the launch.
struct Launching {
    steps: Program,
    views: [BufferView; 2],
    told: Sender<Result<(), Error>>,
}

impl Wake for Launching {
    fn wake(self: Arc<Self>) {
        let launched = self.steps.launch(&self.views, &[word(0)], &LaunchOptions::default());
        // The receiver is gone once the case has failed.
        let _ = self.told.send(launched.map(|_| ()));
    }
}

/// Continuations that read, launch, or wait for later submissions, and a waker that launches.
fn following(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let steps = compile(&device, STEP)?;
    let mut random = checks.random();
    let x = random_words(&mut random, COUNT);
    let (held_x, y) = (device.upload(&bytes(&x))?, device.zeroed(4 * COUNT as u64)?);
    let views: [BufferView; 2] = [(&held_x).into(), (&y).into()];
    let options = LaunchOptions::default();
    let submit = |a| steps.submit(&views, &[word(a)], &options);
    let mut expected = vec![0; COUNT];

    let whole = y.whole();
    let read = submit(1)?.and_then(move |_| whole.to_vec());
    expected = next(&x, &expected, 1);
    // Submitted later, so the read may have to wait for it.
    let behind = submit(2)?;
    let before = expected.clone();
    expected = next(&x, &expected, 2);
    match read.wait_for(PATIENCE) {
        // The read precedes or follows the later submission.
        Ok(found) => {
            let found = to_words(&found?);
            checks.holds("a read", found == before || found == expected, || format!("{:?}", &found[..4]));
        }
        Err(_) => return hung(checks, "a read"),
    }
    behind.wait()?;

    let (again, again_views) = (steps.clone(), views.clone());
    let launched =
        submit(3)?.and_then(move |_| again.launch(&again_views, &[word(4)], &LaunchOptions::default()));
    match launched.wait_for(PATIENCE) {
        Ok(report) => drop(report?),
        Err(_) => return hung(checks, "a launch"),
    }
    expected = next(&x, &next(&x, &expected, 3), 4);
    checks.equal("a launch", &to_words(&y.whole().to_vec()?), &expected);

    let (first, second) = (submit(5)?, submit(6)?);
    match first.and_then(move |_| second.wait()).wait_for(PATIENCE) {
        Ok(report) => drop(report?),
        Err(_) => return hung(checks, "a wait for what is behind"),
    }
    expected = next(&x, &next(&x, &expected, 5), 6);
    checks.equal("a wait for what is behind", &to_words(&y.whole().to_vec()?), &expected);

    let (told, heard) = channel();
    let waker = Waker::from(Arc::new(Launching { steps: steps.clone(), views: views.clone(), told }));
    let mut pending = pin!(submit(7)?);
    expected = next(&x, &expected, 7);
    if pending.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
        match heard.recv_timeout(PATIENCE) {
            Ok(launched) => launched?,
            Err(_) => return hung(checks, "a waker that launches"),
        }
        expected = next(&x, &expected, 0);
    }
    checks.equal("a waker that launches", &to_words(&y.whole().to_vec()?), &expected);
    Ok(())
}
