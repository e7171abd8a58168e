//! The threads of launches. The pool belongs to this backend: in a pool shared with callers, a launch could wait for
//! workers that wait for that launch, and a waiting worker could pick up a job that starts another launch.

use std::sync::OnceLock;

use fulgurite_hal::{Error, Process};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Returns the pool for all launches of this process, with rayon's default number of threads. Returns `None` if no
/// threads can be started, and in a process that was forked from the one that started them; launches then run on the
/// calling thread.
fn pool() -> Option<&'static ThreadPool> {
    static POOL: OnceLock<Option<(Process, ThreadPool)>> = OnceLock::new();
    let build = || ThreadPoolBuilder::new().thread_name(|i| format!("fulgurite cpu {i}")).build().ok();
    let (process, pool) = POOL.get_or_init(|| Some((Process::current(), build()?))).as_ref()?;
    process.is_current().then_some(pool)
}

/// Returns the maximum number of threads of a launch.
pub(crate) fn threads() -> usize {
    pool().map_or(1, ThreadPool::current_num_threads)
}

/// Runs `work` on up to `most` threads, waits for all of them, and returns the first error.
pub(crate) fn run(most: u64, work: impl Fn() -> Result<(), Error> + Sync) -> Result<(), Error> {
    let threads = (threads() as u64).min(most);
    let Some(pool) = pool().filter(|_| threads > 1) else { return work() };
    let all = || pool.install(|| (0..threads).into_par_iter().try_for_each(|_| work()));
    if rayon::current_thread_index().is_none() {
        return all();
    }
    // A worker of the caller's pool that waits here would run other jobs of that pool, which might launch. So another
    // thread waits for the launch, and the worker blocks on that thread.
    std::thread::scope(|scope| match std::thread::Builder::new().spawn_scoped(scope, all) {
        Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        // Without a thread, the worker does all the work.
        Err(_) => work(),
    })
}
