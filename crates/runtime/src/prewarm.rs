//! Parallel compilation of kernels ahead of their first use, and its reports.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fulgurite_hal::{CompileOptions, Error};
use fulgurite_ir::VerifiedKernel;
use fulgurite_spec::cache::CacheOrigin;

use crate::device::Device;

/// The outcome of compiling one kernel ahead of its first use. `Display` prints one line.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Prewarmed {
    /// The kernel's name.
    pub kernel: String,
    /// The time taken, including waiting for another thread or the cache. `None` without the feature `threads`, which
    /// has no clock.
    pub time: Option<Duration>,
    /// The origin of the program, or the error.
    pub origin: Result<CacheOrigin, Error>,
}

impl fmt::Display for Prewarmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.kernel)?;
        match &self.origin {
            Ok(origin) => write!(f, "{origin}")?,
            Err(error) => write!(f, "failed ({})", error.code())?,
        }
        match self.time {
            Some(time) => write!(f, ", {time:.1?}"),
            None => Ok(()),
        }
    }
}

impl Device {
    /// Compiles kernels in parallel and launches none. Later compiles with the same options find them. Calls `progress`
    /// with the number of finished kernels, from the thread that finished one, and returns the cost and origin of each
    /// kernel or its error, in the order of the list.
    #[must_use = "it has the errors of the kernels that failed"]
    pub fn prewarm<'k>(
        &self,
        kernels: impl IntoIterator<Item = &'k Arc<VerifiedKernel>>,
        options: &CompileOptions,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Vec<Prewarmed> {
        let kernels: Vec<_> = kernels.into_iter().collect();
        let count = AtomicU64::new(0);
        let mut all = for_each(kernels.len(), &|at| {
            let (origin, time) = timed(|| self.compile_tracing(kernels[at], options).map(|made| made.2));
            progress(count.fetch_add(1, Ordering::Relaxed) as usize + 1);
            (at, Prewarmed { kernel: kernels[at].name.clone(), time, origin })
        });
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(_, one)| one).collect()
    }
}

/// Returns the result of `work` and the time taken.
#[cfg(feature = "threads")]
#[expect(clippy::disallowed_types, reason = "a build with threads has a clock, too")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Option<Duration>) {
    let begun = std::time::Instant::now();
    let done = work();
    (done, Some(begun.elapsed()))
}

#[cfg(not(feature = "threads"))]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Option<Duration>) {
    (work(), None)
}

/// Returns the result of `job` for each number below `count`, computed in parallel and in no particular order.
#[cfg(feature = "threads")]
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the feature `threads` is for these threads, too"
)]
fn for_each<T: Send>(count: usize, job: &(dyn Fn(usize) -> T + Sync)) -> Vec<T> {
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(count);
    let work = || {
        let places = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed) as usize);
        places.take_while(|at| *at < count).map(job).collect::<Vec<T>>()
    };
    std::thread::scope(|scope| {
        // With fewer threads, each does more.
        let start =
            || std::thread::Builder::new().name("fulgurite prewarm".to_owned()).spawn_scoped(scope, work);
        let others: Vec<_> = (1..threads).filter_map(|_| start().ok()).collect();
        let mut all = work();
        for thread in others {
            match thread.join() {
                Ok(done) => all.extend(done),
                // Its results are lost, so there is no report.
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}

#[cfg(not(feature = "threads"))]
fn for_each<T>(count: usize, job: &(dyn Fn(usize) -> T + Sync)) -> Vec<T> {
    (0..count).map(job).collect()
}
