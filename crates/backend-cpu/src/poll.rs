//! Stopping a launch: a flag that all workers check, and the clock.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use fulgurite_spec::limits::POLL_INTERVAL;

/// Number of counts between two checks. Fewer than the language's interval of back edges, because a back edge here is
/// one of up to 64 invocations.
const INTERVAL: u32 = POLL_INTERVAL / 16;

/// The launch was stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped;

/// The state that all workers of a launch share.
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

    /// Returns the time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Returns whether the launch was stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// Stops the launch.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }
}

/// The poll state of one worker.
pub(crate) struct Poll<'a> {
    stop: &'a Stop,
    countdown: u32,
}

impl<'a> Poll<'a> {
    pub(crate) fn new(stop: &'a Stop) -> Self {
        Self { stop, countdown: INTERVAL }
    }

    /// Counts a back edge or a similar amount of work, and checks now and then whether to stop.
    #[inline]
    pub(crate) fn count(&mut self) -> Result<(), Stopped> {
        self.countdown -= 1;
        if self.countdown == 0 { self.look() } else { Ok(()) }
    }

    /// Counts work that takes as long as `small` back edges.
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
