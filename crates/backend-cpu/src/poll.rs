//! Stopping a launch: a word that all workers look at, and the clock.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use fulgurite_spec::limits::POLL_INTERVAL;

/// What is counted between two looks: fewer than the language's interval of back edges, since each is one of up to
/// 64 invocations.
const INTERVAL: u32 = POLL_INTERVAL / 16;

/// The launch is over before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped;

/// What all workers of a launch share.
pub(crate) struct Stop {
    start: Instant,
    timeout: Duration,
    stopped: AtomicBool,
}

impl Stop {
    /// Starts the clock.
    pub(crate) fn start(timeout: Duration) -> Self {
        Self { start: Instant::now(), timeout, stopped: AtomicBool::new(false) }
    }

    /// Time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Whether the launch was ended.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// Ends the launch.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }
}

/// One worker's look-out.
pub(crate) struct Poll<'a> {
    stop: &'a Stop,
    countdown: u32,
}

impl<'a> Poll<'a> {
    pub(crate) fn new(stop: &'a Stop) -> Self {
        Self { stop, countdown: INTERVAL }
    }

    /// Counts a back edge or another small piece of work, and looks now and then.
    #[inline]
    pub(crate) fn count(&mut self) -> Result<(), Stopped> {
        self.countdown -= 1;
        if self.countdown == 0 { self.look() } else { Ok(()) }
    }

    /// Counts a piece of work that takes as long as so many small ones.
    #[inline]
    pub(crate) fn count_many(&mut self, small: u32) -> Result<(), Stopped> {
        self.countdown = self.countdown.saturating_sub(small);
        if self.countdown == 0 { self.look() } else { Ok(()) }
    }

    fn look(&mut self) -> Result<(), Stopped> {
        self.countdown = INTERVAL;
        if self.stop.elapsed() > self.stop.timeout {
            self.stop.stop();
        }
        if self.stop.is_stopped() { Err(Stopped) } else { Ok(()) }
    }
}
