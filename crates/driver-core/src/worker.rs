//! The thread of a device that does what was submitted, one job after the other, for devices without a queue, and waits
//! for what was submitted to those with one.

use std::collections::VecDeque;

use fulgurite_hal::{Error, Process};

use crate::sync::{Arc, Condvar, Mutex, lock, wait};

type Job = Box<dyn FnOnce() + Send>;

/// What a job is to the device's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It uses the device when its turn comes: see [`Worker::settle`].
    Deferred,
    /// The device's own queue has it already; the job waits for it.
    Queued,
}

/// A queue of jobs and the thread that does them, begun with the first. Dropped, it does what it has and ends.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    /// The most jobs that are not done.
    most: u64,
    process: Process,
}

struct Shared {
    queue: Mutex<Queue>,
    /// A job came, one was done, or no more will come.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    is_running: bool,
    is_closed: bool,
    /// Jobs pushed, begun and done so far.
    pushed: u64,
    begun: u64,
    done: u64,
    /// How many had been pushed with the last deferred one.
    deferred: u64,
}

impl Worker {
    /// A worker that has at most so many jobs that are not done.
    pub(crate) fn new(most: usize) -> Self {
        let shared = Shared { queue: Mutex::new(Queue::default()), changed: Condvar::new() };
        Self { shared: Arc::new(shared), most: most.max(1) as u64, process: Process::current() }
    }

    /// Refuses a process that was forked from the one that this worker is of.
    ///
    /// # Errors
    /// As [`Process::check`].
    pub(crate) fn check_process(&self) -> Result<(), Error> {
        check_process(self.process)
    }

    /// Has `job` done once all earlier ones are. Where there are no threads, it is done at once. Waits while there are too many
    /// that are not done.
    ///
    /// # Errors
    /// As [`check_process`](Self::check_process).
    pub(crate) fn push(&self, kind: Kind, job: Job) -> Result<(), Error> {
        self.check_process()?;
        let is_own = self.is_own();
        let mut queue = lock(&self.shared.queue);
        while queue.pushed - queue.done >= self.most {
            if is_own {
                // A job that submits more: it does some of them itself.
                drop(queue);
                let did = self.shared.next();
                queue = lock(&self.shared.queue);
                if !did {
                    break;
                }
            } else {
                queue = wait(&self.shared.changed, queue);
            }
        }
        if !queue.is_running && !start(&self.shared) {
            drop(queue);
            job();
            return Ok(());
        }
        queue.is_running = true;
        queue.jobs.push_back(job);
        queue.pushed += 1;
        if kind == Kind::Deferred {
            queue.deferred = queue.pushed;
        }
        drop(queue);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Whether this is its thread.
    fn is_own(&self) -> bool {
        own().is_some_and(|own| Arc::ptr_eq(&own, &self.shared))
    }

    /// Whether the device has all that was submitted so far, so that its own queue may be given more.
    pub(crate) fn is_settled(&self) -> bool {
        let queue = lock(&self.shared.queue);
        queue.done >= queue.deferred
    }

    /// Waits until the device has all that was submitted so far: what is done on it next comes behind. A job, such as what
    /// follows a result, does what it would wait for.
    ///
    /// # Errors
    /// As [`check_process`](Self::check_process).
    pub(crate) fn settle(&self) -> Result<(), Error> {
        self.check_process()?;
        let mut queue = lock(&self.shared.queue);
        let until = queue.deferred;
        if self.is_own() {
            drop(queue);
            while lock(&self.shared.queue).begun < until && self.shared.next() {}
            return Ok(());
        }
        while queue.done < until {
            queue = wait(&self.shared.changed, queue);
        }
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        lock(&self.shared.queue).is_closed = true;
        self.shared.changed.notify_all();
    }
}

/// Refuses a process that was forked from `process`, which had a thread that the fork has not. Without the feature
/// `threads` there is none to miss.
///
/// # Errors
/// As [`Process::check`].
pub(crate) fn check_process(process: Process) -> Result<(), Error> {
    if cfg!(feature = "threads") { process.check() } else { Ok(()) }
}

/// On the thread of a worker, does its jobs until `has_ended` or there are none: what a job waits for may be behind it.
pub(crate) fn help(has_ended: impl Fn() -> bool) {
    let Some(own) = own() else { return };
    while !has_ended() && own.next() {}
}

impl Shared {
    /// Does jobs until there are no more and none will come.
    fn run(&self) {
        loop {
            while self.next() {}
            let mut queue = lock(&self.queue);
            while queue.jobs.is_empty() {
                if queue.is_closed {
                    return;
                }
                queue = wait(&self.changed, queue);
            }
        }
    }

    /// Does the next job, if there is one.
    fn next(&self) -> bool {
        let mut queue = lock(&self.queue);
        let Some(job) = queue.jobs.pop_front() else { return false };
        queue.begun += 1;
        drop(queue);
        // A job that panics breaks its promise, which is an error to whoever waits; the others go on.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
        lock(&self.queue).done += 1;
        self.changed.notify_all();
        true
    }
}

#[cfg(all(feature = "threads", not(loom)))]
std::thread_local! {
    /// Of a worker's thread, the worker.
    static OWN: std::cell::OnceCell<Arc<Shared>> = const { std::cell::OnceCell::new() };
}

/// The worker whose thread this is.
#[cfg(all(feature = "threads", not(loom)))]
fn own() -> Option<Arc<Shared>> {
    OWN.try_with(|own| own.get().cloned()).ok().flatten()
}

#[cfg(not(all(feature = "threads", not(loom))))]
fn own() -> Option<Arc<Shared>> {
    None
}

/// Starts the thread; false if there is none to be had.
#[cfg(all(feature = "threads", not(loom)))]
#[expect(clippy::disallowed_types, reason = "the feature `threads` is for this thread")]
fn start(shared: &Arc<Shared>) -> bool {
    let shared = Arc::clone(shared);
    let run = move || {
        let _ = OWN.try_with(|own| own.set(Arc::clone(&shared)));
        shared.run();
    };
    std::thread::Builder::new().name("fulgurite".to_owned()).spawn(run).is_ok()
}

#[cfg(loom)]
fn start(shared: &Arc<Shared>) -> bool {
    let shared = Arc::clone(shared);
    loom::thread::spawn(move || shared.run());
    true
}

#[cfg(not(any(feature = "threads", loom)))]
fn start(shared: &Arc<Shared>) -> bool {
    // Only a thread would.
    let _ = Shared::run;
    let _ = shared;
    false
}

#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use crate::pending::promise;

    /// Every way in which threads may take turns, with as many changes where none has to wait as usually show a fault:
    /// all of them are too many.
    fn model(test: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(test);
    }

    #[test]
    fn jobs_are_done_in_order_and_settling_waits_for_all_before() {
        model(|| {
            let (worker, done) = (Worker::new(100), Arc::new(Mutex::new(Vec::new())));
            for i in 0..2 {
                let done = Arc::clone(&done);
                worker.push(Kind::Deferred, Box::new(move || lock(&done).push(i))).unwrap();
            }
            worker.settle().unwrap();
            assert!(worker.is_settled());
            assert_eq!(*lock(&done), [0, 1]);
        });
    }

    #[test]
    fn a_result_reaches_the_one_who_waits_while_others_submit() {
        model(|| {
            let worker = Arc::new(Worker::new(100));
            let other = Arc::clone(&worker);
            let thread = loom::thread::spawn(move || {
                let (promise, pending) = promise();
                other.push(Kind::Deferred, Box::new(move || promise.keep(Ok(1)))).unwrap();
                pending.wait().unwrap()
            });
            let (promise, pending) = promise();
            worker.push(Kind::Queued, Box::new(move || promise.keep(Ok(2)))).unwrap();
            worker.settle().unwrap();
            assert_eq!((pending.wait().unwrap(), thread.join().unwrap()), (2, 1));
        });
    }

    #[test]
    fn what_was_submitted_is_done_although_the_device_is_dropped() {
        model(|| {
            let worker = Worker::new(100);
            let (promise, pending) = promise();
            worker.push(Kind::Deferred, Box::new(move || promise.keep(Ok(3)))).unwrap();
            drop(worker);
            assert_eq!(pending.wait(), Ok(3));
        });
    }

    #[test]
    fn whoever_submits_too_much_waits() {
        model(|| {
            let (worker, done) = (Worker::new(1), Arc::new(Mutex::new(0)));
            for i in 0..3 {
                let counted = Arc::clone(&done);
                worker.push(Kind::Deferred, Box::new(move || *lock(&counted) += 1)).unwrap();
                assert!(*lock(&done) >= i, "one is not done at most");
            }
            worker.settle().unwrap();
            assert_eq!(*lock(&done), 3);
        });
    }
}
