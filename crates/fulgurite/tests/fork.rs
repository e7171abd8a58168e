//! A forked child has none of the threads of its parent's devices and must not wait for them. Alone in this file,
//! because fork copies only the calling thread.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod common;

use std::time::{Duration, Instant};

use common::{code, if_available};
use fulgurite::prelude::*;
use fulgurite::{Code, Pending};

type Slow = Executable<(ReadWrite<u32>, u32)>;

/// A device with pending work, for use on both sides of a fork.
struct Begun {
    ctx: Context,
    slow: Slow,
    y: Buffer<u32>,
    pending: Option<Pending<fulgurite::LaunchReport>>,
}

fn begin(backend: &str) -> Option<Begun> {
    let ctx = if_available(backend, Context::builder().backend(backend).open())?;
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

/// In the child: returns whether all operations on the parent's device are refused at once.
fn is_refused(mut begun: Begun) -> bool {
    let refused = [
        code(begun.ctx.zeroed::<u32>(4)),
        code(begun.y.read()),
        code(begun.slow.launch((&mut begun.y, 1))),
        code(begun.slow.submit((&mut begun.y, 1))),
        begun.pending.take().and_then(|pending| code(pending.wait())),
    ];
    println!("{:?}: {refused:?}", begun.ctx.device().backend);
    // Dropping the device here must not wait either.
    refused.iter().all(|code| *code == Some(Code::DeviceLost))
}

/// In the child: returns whether a newly opened device computes.
fn computes() -> bool {
    let Some(mut begun) = begin("cpu") else { return false };
    begun.pending.take().is_some_and(|pending| pending.wait().is_ok())
        && begun.slow.launch((&mut begun.y, 3)).is_ok()
}

#[test]
fn a_forked_process_is_told_and_waits_for_nobody() {
    let mut all: Vec<Begun> = ["cpu", "reference", "vulkan"].into_iter().filter_map(begin).collect();
    assert!(all.len() >= 2, "the CPU and the reference are always there");
    // SAFETY: the child runs only the code below, and exits without unwinding or running exit handlers of the parent.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            all.into_iter().map(is_refused).filter(|refused| !refused).count() == 0 && computes()
        }));
        // SAFETY: terminates the process.
        unsafe { libc::_exit(i32::from(!matches!(tried, Ok(true)))) }
    }
    assert!(child > 0, "the process could not be forked");
    let (begun, mut status) = (Instant::now(), 0);
    // SAFETY: `status` is valid for writes; the child belongs to this process.
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
