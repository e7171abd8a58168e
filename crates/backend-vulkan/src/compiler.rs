//! Where a driver compiles: on threads whose stacks do not depend on the caller's, and which are left behind when it takes too
//! long.
//!
//! Compilers recurse with the depth of what they compile, and the stack of whoever calls may be small: musl gives threads
//! 128 KiB. A driver cannot be told to stop, so whoever waited no longer leaves to the thread all that it uses.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::Builder;
use std::time::Duration;

use crate::device::lock;

/// Bytes of stack, in the order in which they are tried: memory is used only as far as a compiler goes down.
const STACK_BYTES: [usize; 3] = [64 << 20, 8 << 20, 2 << 20];

/// How long a thread waits for something more to compile. Drivers keep state for each thread that calls them, which is made
/// and dropped with it.
const IDLE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

/// The process's threads that compile.
struct Threads {
    /// How many there have been.
    started: u64,
    /// Those that have nothing to do, the last to become idle last.
    idle: Vec<Idle>,
}

struct Idle {
    number: u64,
    jobs: Sender<Job>,
}

static THREADS: Mutex<Threads> = Mutex::new(Threads { started: 0, idle: Vec::new() });

/// What `work` gives, done on a thread with a large stack; `None` if it takes longer than `limit`. Then it goes on, and what it
/// gives is dropped there.
///
/// Where no thread can be had, this one does the work, however long it takes.
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = sync_channel::<Result<T, Box<dyn Any + Send>>>(1);
    let job = move || {
        // Nobody may be waiting any more.
        let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
    };
    if let Err(job) = hand_over(Box::new(job)) {
        job();
    }
    match receiver.recv_timeout(limit) {
        Ok(Ok(done)) => Some(done),
        Ok(Err(panic)) => resume_unwind(panic),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
    }
}

/// Gives a job to a thread that is idle, or to a new one; or back, if there can be none.
fn hand_over(mut job: Job) -> Result<(), Job> {
    loop {
        let Some(thread) = lock(&THREADS).idle.pop() else { return start(job) };
        match thread.jobs.send(job) {
            Ok(()) => return Ok(()),
            Err(refused) => job = refused.0,
        }
    }
}

fn start(job: Job) -> Result<(), Job> {
    let number = {
        let mut threads = lock(&THREADS);
        threads.started += 1;
        threads.started
    };
    let job = Arc::new(Mutex::new(Some(job)));
    for bytes in STACK_BYTES {
        let job = Arc::clone(&job);
        let thread = Builder::new().name("fulgurite compile".to_owned()).stack_size(bytes);
        let first = move || {
            let job = lock(&job).take();
            if let Some(job) = job {
                job();
            }
            serve(number);
        };
        if thread.spawn(first).is_ok() {
            return Ok(());
        }
    }
    let job = lock(&job).take();
    job.map_or(Ok(()), Err)
}

/// Does the jobs that come, until none has come for a while.
fn serve(number: u64) {
    loop {
        let (jobs, incoming) = channel();
        lock(&THREADS).idle.push(Idle { number, jobs });
        let job = match incoming.recv_timeout(IDLE) {
            // Whoever took this thread from the list meanwhile is about to send a job.
            Err(RecvTimeoutError::Timeout) if !leave(number) => incoming.recv().ok(),
            job => job.ok(),
        };
        match job {
            Some(job) => job(),
            None => return,
        }
    }
}

/// Takes a thread from the list of those that are idle, if it is there.
fn leave(number: u64) -> bool {
    let idle = &mut lock(&THREADS).idle;
    let place = idle.iter().position(|thread| thread.number == number);
    place.map(|place| idle.remove(place)).is_some()
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// Takes so many KiB of stack, and gives as many.
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
        // Other tests share the threads, so one of a few is enough.
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
