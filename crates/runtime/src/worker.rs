//! The worker thread of a device: runs submitted jobs in order on devices without a queue, and waits for submitted
//! work on those with one.

use std::collections::VecDeque;

use fulgurite_hal::{Error, Process};

use crate::sync::{Arc, Condvar, Mutex, lock, wait};

type Job = Box<dyn FnOnce() + Send>;

/// How a job relates to the device's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It uses the device when its turn comes: see [`Worker::settle`].
    Deferred,
    /// It waits for work that the device's own queue already has.
    Queued,
}

/// A queue of jobs and its thread, which starts with the first job. Dropping it finishes the queued jobs.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    /// The maximum number of unfinished jobs.
    most: u64,
    process: Process,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Notified when a job is added or finished, and when no more will be added.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    is_running: bool,
    is_closed: bool,
    /// The number of jobs pushed, started and finished so far.
    pushed: u64,
    begun: u64,
    done: u64,
    /// The number of jobs pushed up to and including the last deferred one.
    deferred: u64,
}

impl Worker {
    /// Returns a worker with at most so many unfinished jobs.
    pub(crate) fn new(most: usize) -> Self {
        let shared = Shared { queue: Mutex::new(Queue::default()), changed: Condvar::new() };
        Self { shared: Arc::new(shared), most: most.max(1) as u64, process: Process::current() }
    }

    /// Checks that the current process is the one that created the worker, not a fork of it.
    ///
    /// # Errors
    /// Those of [`Process::check`].
    pub(crate) fn check_process(&self) -> Result<(), Error> {
        check_process(self.process)
    }

    /// Queues `job` after all earlier ones; without threads it runs immediately. Blocks while there are too many
    /// unfinished jobs.
    ///
    /// # Errors
    /// Those of [`check_process`](Self::check_process).
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
            run(job);
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

    /// Returns whether the current thread is the worker's.
    fn is_own(&self) -> bool {
        own().is_some_and(|own| Arc::ptr_eq(&own, &self.shared))
    }

    /// Returns whether the device has received everything submitted, so that its own queue may be given more.
    pub(crate) fn is_settled(&self) -> bool {
        let queue = lock(&self.shared.queue);
        queue.done >= queue.deferred
    }

    /// Waits until the device has received everything submitted so far; later work then runs after it. Called from a
    /// job, such as a continuation of a result, it runs the jobs that it would wait for.
    ///
    /// # Errors
    /// Those of [`check_process`](Self::check_process).
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

/// Checks that the current process is `process`. A fork lacks the threads of its parent; without the feature
/// `threads` there are none.
///
/// # Errors
/// Those of [`Process::check`].
pub(crate) fn check_process(process: Process) -> Result<(), Error> {
    if cfg!(feature = "threads") { process.check() } else { Ok(()) }
}

/// Runs jobs on the worker's thread until `has_ended` or the queue is empty: the job waited for may be behind others.
pub(crate) fn help(has_ended: impl Fn() -> bool) {
    let Some(own) = own() else { return };
    while !has_ended() && own.next() {}
}

impl Shared {
    /// Runs jobs until the queue is empty and closed.
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

    /// Runs the next job, if there is one.
    fn next(&self) -> bool {
        let mut queue = lock(&self.queue);
        let Some(job) = queue.jobs.pop_front() else { return false };
        queue.begun += 1;
        drop(queue);
        run(job);
        lock(&self.queue).done += 1;
        self.changed.notify_all();
        true
    }
}

/// Runs a job. If it panics, its result is an error for those who wait for it; later jobs still run.
fn run(job: Job) {
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
}

#[cfg(all(feature = "threads", not(loom)))]
std::thread_local! {
    /// The worker of the current thread.
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

/// Starts the thread. Returns whether one could be started.
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

    /// Explores every interleaving with a bounded number of preemptions, which is known to expose most faults; all
    /// interleavings are too many.
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
