//! A process that is forked from one with devices has none of their threads, and must not wait for one. Alone in its file, since a
//! fork is of one thread.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod common;

use std::time::{Duration, Instant};

use common::code;
use fulgurite::prelude::*;
use fulgurite::{Code, Pending};

type Slow = Executable<(ReadWrite<u32>, u32)>;

/// A device with work under way, which a test goes on with on both sides of a fork.
struct Begun {
    ctx: Context,
    slow: Slow,
    y: Buffer<u32>,
    pending: Option<Pending<fulgurite::LaunchReport>>,
}

fn begin(backend: &str) -> Option<Begun> {
    let ctx = match Context::builder().backend(backend).open() {
        Err(error) if backend == "vulkan" => {
            let required = std::env::var("FULGURITE_REQUIRE_BACKENDS").unwrap_or_default();
            assert!(!required.contains("vulkan"), "{error}");
            println!("unavailable: {error}");
            return None;
        }
        opened => opened.unwrap(),
    };
    let slow = kernel::<(ReadWrite<u32>, u32)>("slow", ["y", "n"], [64, 1, 1], |k, (y, n)| {
        let i = k.global_id().x();
        let sum = k.for_carry(0u32, n, 1u32, y.load(i), |_, j, sum| sum * 1_664_525u32 + j);
        y.store(i, sum);
    });
    let slow = ctx.compile(&slow.unwrap()).unwrap();
    let mut y = ctx.zeroed::<u32>(1 << 11).unwrap();
    let pending = Some(slow.submit((&mut y, 500)).unwrap());
    Some(Begun { ctx, slow, y, pending })
}

/// In the child: whether all that the parent's device is asked for is refused at once.
fn is_refused(mut begun: Begun) -> bool {
    let refused = [
        code(begun.ctx.zeroed::<u32>(4)),
        code(begun.y.read()),
        code(begun.slow.launch((&mut begun.y, 1))),
        code(begun.slow.submit((&mut begun.y, 1))),
        begun.pending.take().and_then(|pending| code(pending.wait())),
    ];
    println!("{:?}: {refused:?}", begun.ctx.device().backend);
    // Dropping it here waits for nobody either.
    refused.iter().all(|code| *code == Some(Code::DeviceLost))
}

/// In the child: whether a device that it opened itself computes.
fn computes() -> bool {
    let Some(mut begun) = begin("cpu") else { return false };
    begun.pending.take().is_some_and(|pending| pending.wait().is_ok())
        && begun.slow.launch((&mut begun.y, 3)).is_ok()
}

#[test]
fn a_forked_process_is_told_and_waits_for_nobody() {
    let mut all: Vec<Begun> = ["cpu", "reference", "vulkan"].into_iter().filter_map(begin).collect();
    // SAFETY: the child does what this test says, and ends without unwinding or running what the parent registered.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            all.into_iter().map(is_refused).filter(|refused| !refused).count() == 0 && computes()
        }));
        // SAFETY: ends the process.
        unsafe { libc::_exit(i32::from(!matches!(tried, Ok(true)))) }
    }
    assert!(child > 0, "the process could not be forked");
    let (begun, mut status) = (Instant::now(), 0);
    // SAFETY: `status` is written to; the child is this process's own.
    while unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == 0 {
        if begun.elapsed() > Duration::from_secs(60) {
            // SAFETY: as above.
            unsafe { libc::kill(child, libc::SIGKILL) };
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(status, 0, "the child's status");
    for begun in &mut all {
        begun.pending.take().unwrap().wait().unwrap();
        begun.slow.launch((&mut begun.y, 1)).unwrap();
    }
}
