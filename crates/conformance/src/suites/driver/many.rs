//! Many threads on one device: each with separate buffers, all with the same program.

use fulgurite_hal::{Error, LaunchOptions};
use fulgurite_runtime::{Call, Program, Recorder};

use super::{PATIENCE, STEP, bounded, compile, step, to_words, word};
use crate::suites::bytes;
use crate::suites::checks::{Checks, Part};
use crate::values::Random;

pub(super) const PARTS: &[(&str, Part)] = &[
    ("sixteen threads", threads),
    ("one buffer from many threads", one_buffer),
    ("one graph from many threads", one_graph),
];

const THREADS: u32 = 16;
const ROUNDS: u32 = 12;
const COUNT: usize = 200;

fn threads(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let program = compile(&device, STEP)?;
    let seed = checks.random().next();
    let shared = program.clone();
    let ended = bounded(move || {
        std::thread::scope(|scope| {
            let begin = |thread: u32| {
                let program = &shared;
                scope.spawn(move || one_thread(program, thread, Random::new(seed ^ u64::from(thread))))
            };
            let handles: Vec<_> = (0..THREADS).map(begin).collect();
            handles.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        })
    });
    let Some(ended) = ended else {
        checks.holds("threads that end", false, || format!("no result within {PATIENCE:?}"));
        return Ok(());
    };
    for (thread, joined) in ended.into_iter().enumerate() {
        match joined {
            Ok(pairs) => {
                for (actual, expected) in pairs? {
                    checks.equal(&format!("the result of thread {thread}"), &actual, &expected);
                }
            }
            Err(_) => checks.holds("a thread", false, || format!("thread {thread} panicked")),
        }
    }
    let counters = device.counters();
    checks.equal("launches of all", &counters.launches, &u64::from(THREADS * ROUNDS));
    checks.equal("compiles of all", &(counters.compiles + counters.compiles_reused), &u64::from(THREADS + 1));
    Ok(())
}

/// Launches on one buffer are ordered, whichever threads make them: each sees all effects of the previous one.
fn one_buffer(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    /// Large enough that a launch takes a while.
    const COUNT: usize = 20_000;
    let device = checks.device();
    let program = compile(&device, STEP)?;
    let x = super::random_words(&mut checks.random(), COUNT);
    let (held, y) = (device.upload(&bytes(&x))?, device.zeroed(4 * COUNT as u64)?);
    let views = [(&held).into(), (&y).into()];
    let ended = bounded(move || {
        std::thread::scope(|scope| {
            let launch = |thread: u32| {
                let (program, views) = (&program, &views);
                scope.spawn(move || -> Result<(), Error> {
                    for round in 0..ROUNDS {
                        let options = LaunchOptions::default();
                        if (thread + round).is_multiple_of(3) {
                            program.submit(views, &[word(7)], &options)?.wait()?;
                        } else {
                            program.launch(views, &[word(7)], &options)?;
                        }
                    }
                    Ok(())
                })
            };
            let handles: Vec<_> = (0..THREADS).map(launch).collect();
            handles.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        })
    });
    checks.holds(
        "threads that end well",
        ended.is_some_and(|all| all.iter().all(|r| matches!(r, Ok(Ok(()))))),
        || format!("not all did within {PATIENCE:?}"),
    );
    let after = |x: &u32| (0..THREADS * ROUNDS).fold(0, |y, _| step([*x, y], 7));
    let expected: Vec<u32> = x.iter().map(after).collect();
    checks.holds("the result of all launches", to_words(&y.whole().to_vec()?) == expected, || {
        String::from("some launch did not see the result of the previous one")
    });
    Ok(())
}

/// Replays of one graph are ordered, whichever threads begin them.
fn one_graph(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let program = compile(&device, STEP)?;
    let x = super::random_words(&mut checks.random(), COUNT);
    let (held, y) = (device.upload(&bytes(&x))?, device.zeroed(4 * COUNT as u64)?);
    let mut recorder = Recorder::new(&device);
    let slots = [recorder.slot(&held), recorder.slot(&y)];
    for a in [1, 2] {
        recorder.launch(&program, &slots, &[word(a)], &LaunchOptions::default())?;
    }
    let graph = recorder.finish();
    let ended = bounded(move || {
        std::thread::scope(|scope| {
            let replay = |_| {
                scope.spawn(|| -> Result<(), Error> {
                    for round in 0..ROUNDS {
                        if round % 3 == 0 {
                            graph.submit()?.wait()?;
                        } else {
                            graph.replay()?;
                        }
                    }
                    Ok(())
                })
            };
            let handles: Vec<_> = (0..THREADS).map(replay).collect();
            handles.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        })
    });
    checks.holds(
        "threads that end well",
        ended.is_some_and(|all| all.iter().all(|r| matches!(r, Ok(Ok(()))))),
        || format!("not all did within {PATIENCE:?}"),
    );
    let mut expected = vec![0; COUNT];
    for _ in 0..THREADS * ROUNDS {
        for (x, y) in x.iter().zip(&mut expected) {
            *y = step([*x, step([*x, *y], 1)], 2);
        }
    }
    checks.equal("the result of all replays", &to_words(&y.whole().to_vec()?), &expected);
    checks.equal("replays of all", &device.counters().replays, &u64::from(THREADS * ROUNDS));
    Ok(())
}

type Pair = (Vec<u32>, Vec<u32>);

/// Runs launches in every form, and returns their actual and expected results.
fn one_thread(shared: &Program, thread: u32, mut random: Random) -> Result<Vec<Pair>, Error> {
    let device = shared.device();
    // The same kernel again, compiled or found concurrently with other threads.
    let own = compile(device, STEP)?;
    let x = super::random_words(&mut random, COUNT);
    let (held, y) = (device.upload(&bytes(&x))?, device.zeroed(4 * COUNT as u64)?);
    let (views, options) = ([(&held).into(), (&y).into()], LaunchOptions::default());
    let (mut expected, mut pairs, mut submitted) = (vec![0; COUNT], Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let a = thread * 1000 + round;
        let program = if round % 2 == 0 { shared } else { &own };
        match random.below(3) {
            0 => drop(program.launch(&views, &[word(a)], &options)?),
            1 => submitted.push(program.submit(&views, &[word(a)], &options)?),
            _ => {
                let before = bytes(&expected);
                let call = Call::new().resident(&held).in_out(&before).param(word(a));
                y.whole().write(&program.call(&call)?.outputs[0])?;
            }
        }
        expected = x.iter().zip(&expected).map(|(x, y)| step([*x, *y], a)).collect();
        if random.below(3) == 0 {
            pairs.push((to_words(&y.whole().to_vec()?), expected.clone()));
        }
    }
    pairs.push((to_words(&y.whole().to_vec()?), expected));
    // A launch is counted once its outcome was observed.
    submitted.into_iter().try_for_each(|pending| pending.wait().map(drop))?;
    Ok(pairs)
}
