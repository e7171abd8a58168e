//! The threads that launches run on. They are this backend's own: in a pool that it shared with its callers, a launch could
//! wait for workers that wait for that launch, and a worker that waits could take up a job that makes another launch.

use std::sync::OnceLock;

use fulgurite_hal::{Error, Process};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// The threads of all launches of this process, as many as rayon begins where nobody says how many; `None` where none can be
/// had, as in a process that was forked from this one: then whoever launches does all the work.
fn pool() -> Option<&'static ThreadPool> {
    static POOL: OnceLock<Option<(Process, ThreadPool)>> = OnceLock::new();
    let build = || ThreadPoolBuilder::new().thread_name(|i| format!("fulgurite cpu {i}")).build().ok();
    let (process, pool) = POOL.get_or_init(|| Some((Process::current(), build()?))).as_ref()?;
    process.is_current().then_some(pool)
}

/// How many threads a launch runs on at most.
pub(crate) fn threads() -> usize {
    pool().map_or(1, ThreadPool::current_num_threads)
}

/// Has as many threads as there are, at most `most`, do `work`, and waits for all of them. The first error is the result.
pub(crate) fn run(most: u64, work: impl Fn() -> Result<(), Error> + Sync) -> Result<(), Error> {
    let threads = (threads() as u64).min(most);
    let Some(pool) = pool().filter(|_| threads > 1) else { return work() };
    let all = || pool.install(|| (0..threads).into_par_iter().try_for_each(|_| work()));
    if rayon::current_thread_index().is_none() {
        return all();
    }
    // A worker of the caller's pool would do other jobs of the caller's while it waits, and those might launch. It is another
    // thread that waits for the launch, and the worker for that thread.
    std::thread::scope(|scope| match std::thread::Builder::new().spawn_scoped(scope, all) {
        Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        // It does the work alone then.
        Err(_) => work(),
    })
}
