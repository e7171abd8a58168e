//! Threads on which drivers compile. Their stacks do not depend on the caller's, and a thread that takes too long is
//! abandoned.
//!
//! Compilers recurse with the depth of their input, and the caller's stack may be small: musl gives threads 128 KiB. A
//! driver cannot be interrupted, so a caller that stops waiting must leave everything that the thread uses alive.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::thread::{self, Builder, ThreadId};
use std::time::Duration;

use crate::exit;
use crate::lock::lock;

/// Stack sizes in bytes, in the order tried. A stack takes memory only as deep as a compiler recurses.
const STACK_BYTES: [usize; 3] = [64 << 20, 8 << 20, 2 << 20];

/// Time that a thread waits for another job. Threads are reused because drivers keep state per calling thread, which is
/// created and dropped with it.
const IDLE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

/// An idle compile thread and the channel of its next job.
struct Idle {
    thread: ThreadId,
    jobs: Sender<Job>,
}

/// The idle compile threads of this process; the last to become idle is at the end.
static IDLE_THREADS: Mutex<Vec<Idle>> = Mutex::new(Vec::new());

/// Runs `work` on a thread with a large stack and returns its result. Returns `None` if it takes longer than `limit`;
/// the work then continues, and its result is dropped on that thread.
///
/// If no thread can be started, the calling thread does the work, however long it takes.
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = sync_channel::<Result<T, Box<dyn Any + Send>>>(1);
    let awaited = exit::Awaited::new();
    let ended = awaited.clone();
    let job = move || {
        let _inside = exit::follow();
        let done = catch_unwind(AssertUnwindSafe(work));
        ended.done();
        // The caller may have stopped waiting.
        let _ = sender.send(done);
    };
    if let Err(job) = hand_over(Box::new(job)) {
        job();
    }
    match receiver.recv_timeout(limit) {
        Ok(Ok(done)) => Some(done),
        Ok(Err(panic)) => resume_unwind(panic),
        Err(RecvTimeoutError::Timeout) => {
            awaited.give_up();
            None
        }
        // The job was dropped, so nothing runs that the end of the process could crash.
        Err(RecvTimeoutError::Disconnected) => None,
    }
}

/// Passes a job to an idle thread or a new one; returns the job if no thread can be started.
fn hand_over(mut job: Job) -> Result<(), Job> {
    loop {
        let Some(thread) = lock(&IDLE_THREADS).pop() else { return start(job) };
        match thread.jobs.send(job) {
            Ok(()) => return Ok(()),
            Err(refused) => job = refused.0,
        }
    }
}

fn start(job: Job) -> Result<(), Job> {
    for bytes in STACK_BYTES {
        let (jobs, incoming) = channel();
        let thread = Builder::new().name("fulgurite compile".to_owned()).stack_size(bytes);
        if thread.spawn(move || serve(&incoming)).is_ok() {
            return jobs.send(job).map_err(|refused| refused.0);
        }
    }
    Err(job)
}

/// Runs the job of `first`, and then others until none arrives for a while.
fn serve(first: &Receiver<Job>) {
    let mut job = first.recv().ok();
    while let Some(run) = job {
        run();
        let (jobs, incoming) = channel();
        lock(&IDLE_THREADS).push(Idle { thread: thread::current().id(), jobs });
        job = match incoming.recv_timeout(IDLE) {
            // The caller that took this thread off the list is about to send a job.
            Err(RecvTimeoutError::Timeout) if !leave() => incoming.recv().ok(),
            job => job.ok(),
        };
    }
}

/// Takes the current thread off the list of idle threads; returns whether it was there.
fn leave() -> bool {
    let (idle, current) = (&mut lock(&IDLE_THREADS), thread::current().id());
    let place = idle.iter().position(|idle| idle.thread == current);
    place.map(|place| idle.remove(place)).is_some()
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// Uses `kib` KiB of stack or more, and returns `kib`.
    fn deep(kib: usize) -> usize {
        let frame = black_box([1u8; 1024]);
        if kib == 0 { 0 } else { deep(kib - 1) + usize::from(frame[kib % 1024]) }
    }

    #[test]
    fn a_small_stack_is_enough_for_who_asks() {
        let thread = Builder::new().stack_size(128 << 10);
        let asked = thread.spawn(|| within(LONG, || deep(20_000))).unwrap();
        assert_eq!(asked.join().unwrap(), Some(20_000));
    }

    #[test]
    fn what_takes_too_long_is_left_behind() {
        let (sender, receiver) = sync_channel::<()>(1);
        let begun = Instant::now();
        assert_eq!(within(Duration::from_millis(20), move || receiver.recv().is_ok()), None);
        assert!(begun.elapsed() < LONG / 2);
        sender.send(()).unwrap();
    }

    #[test]
    fn threads_are_used_again() {
        // Other tests share the threads, so a few ids are allowed.
        let ids: Vec<_> = (0..100).filter_map(|_| within(LONG, || std::thread::current().id())).collect();
        assert_eq!(ids.len(), 100);
        let different: std::collections::HashSet<_> = ids.iter().collect();
        assert!(different.len() <= 10, "{} threads for one caller", different.len());
    }

    #[test]
    fn many_at_once_have_threads_of_their_own() {
        let met = Arc::new(std::sync::Barrier::new(8));
        let callers: Vec<_> = (0..8)
            .map(|number| {
                let met = Arc::clone(&met);
                std::thread::spawn(move || {
                    within(LONG, move || {
                        met.wait();
                        number
                    })
                })
            })
            .collect();
        let numbers: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
        assert_eq!(numbers, (0..8).map(Some).collect::<Vec<_>>());
    }

    #[test]
    #[should_panic(expected = "as it is")]
    fn a_panic_is_the_callers() {
        within(LONG, || panic!("as it is"));
    }
}
