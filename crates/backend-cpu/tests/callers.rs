//! Launches from rayon workers: launches, submitted work and replays from a parallel loop complete, and those that
//! write the same buffer are ordered, regardless of other threads.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, mpsc};
use std::time::Duration;

use fulgurite_backend_cpu::CpuDevice;
use fulgurite_hal::{CompileOptions, LaunchOptions};
use fulgurite_runtime::{Buffer, Device, Program, Recorder};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// Timeout, longer than any of these tests takes.
const PATIENCE: Duration = Duration::from_secs(20);
const ROUNDS: u32 = 200;
const COUNT: usize = 20_000;

/// `y = y + 1`: concurrent launches would lose increments.
const STEP: &str = "fulgurite 1
kernel @step workgroup(64, 1, 1) {
  buffer %y: read_write u32[]
  %i = global_id.x
  %v = load %y[%i]
  %w = add %v, 1u32
  store %y[%i], %w
}
";

fn program() -> (Program, Buffer) {
    let device = Device::new(Arc::new(CpuDevice::new()), CompileOptions::default(), LaunchOptions::default());
    let kernel = fulgurite_ir::text::parse(STEP).and_then(fulgurite_ir::verify).unwrap();
    let program = device.compile(&Arc::new(kernel), &CompileOptions::default()).unwrap();
    let y = device.zeroed(4 * COUNT as u64).unwrap();
    (program, y)
}

/// Runs `work` on a separate thread, which is abandoned if it hangs.
fn ends(work: impl FnOnce() + Send + 'static) {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        work();
        sender.send(()).unwrap();
    });
    receiver.recv_timeout(PATIENCE).unwrap();
}

fn all_are(y: &Buffer, expected: u32) {
    let bytes = y.whole().to_vec().unwrap();
    assert!(bytes.chunks_exact(4).all(|word| word == expected.to_le_bytes()));
}

#[test]
fn launches_from_a_parallel_loop_and_from_a_thread_take_turns() {
    ends(|| {
        let (program, y) = program();
        let launch = || {
            program.launch(&[(&y).into()], &[], &LaunchOptions::default()).unwrap();
        };
        std::thread::scope(|scope| {
            scope.spawn(|| (0..ROUNDS).for_each(|_| launch()));
            (0..ROUNDS).into_par_iter().for_each(|_| launch());
        });
        all_are(&y, 2 * ROUNDS);
    });
}

#[test]
fn a_parallel_loop_may_wait_for_what_it_submits() {
    ends(|| {
        let (program, y) = program();
        (0..ROUNDS).into_par_iter().for_each(|_| {
            let pending = program.submit(&[(&y).into()], &[], &LaunchOptions::default()).unwrap();
            pending.wait().unwrap();
        });
        all_are(&y, ROUNDS);
    });
}

#[test]
fn a_parallel_loop_replays_one_graph() {
    ends(|| {
        let (program, y) = program();
        let mut recorder = Recorder::new(program.device());
        let slot = recorder.slot(&y);
        for _ in 0..2 {
            recorder.launch(&program, &[slot], &[], &LaunchOptions::default()).unwrap();
        }
        let graph = recorder.finish();
        (0..ROUNDS).into_par_iter().for_each(|_| {
            graph.replay().unwrap();
        });
        all_are(&y, 2 * ROUNDS);
    });
}
