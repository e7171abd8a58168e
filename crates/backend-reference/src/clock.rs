//! When a launch must end: by the clock where there is one, and by steps.
#![cfg_attr(
    feature = "std",
    expect(clippy::disallowed_types, reason = "the feature `std` is for this clock")
)]

use std::time::Duration;
#[cfg(feature = "std")]
use std::time::Instant;

use fulgurite_hal::{DeviceError, Error};

/// Steps between two looks at the clock.
const POLL_STEPS: u64 = 4096;

/// A running launch's time.
pub(crate) struct Deadline {
    #[cfg(feature = "std")]
    start: Instant,
    timeout: Duration,
    budget: u64,
    steps: u64,
    next_poll: u64,
}

impl Deadline {
    /// Starts counting.
    pub(crate) fn start(timeout: Duration, budget: Option<u64>) -> Self {
        Self {
            #[cfg(feature = "std")]
            start: Instant::now(),
            timeout,
            budget: budget.unwrap_or(u64::MAX),
            steps: 0,
            next_poll: POLL_STEPS,
        }
    }

    /// Counts `steps` more; a timeout if that is too many, or it took too long.
    pub(crate) fn advance(&mut self, steps: u64) -> Result<(), Error> {
        self.steps = self.steps.saturating_add(steps);
        let mut late = self.steps > self.budget;
        if self.steps >= self.next_poll {
            self.next_poll = self.steps.saturating_add(POLL_STEPS);
            late |= self.elapsed().is_some_and(|elapsed| elapsed > self.timeout);
        }
        if late { Err(DeviceError::Timeout(self.timeout).into()) } else { Ok(()) }
    }

    /// Says that as much was done as takes so many steps: the clock is looked at the sooner, and the budget is as it was.
    pub(crate) fn hurry(&mut self, steps: u64) {
        self.next_poll = self.next_poll.saturating_sub(steps);
    }

    /// Time since the start, if there is a clock.
    #[cfg(feature = "std")]
    #[expect(clippy::unnecessary_wraps, reason = "there is not always a clock")]
    pub(crate) fn elapsed(&self) -> Option<Duration> {
        Some(self.start.elapsed())
    }

    /// Time since the start, if there is a clock.
    #[cfg(not(feature = "std"))]
    #[expect(clippy::unused_self, reason = "there is not always a clock")]
    pub(crate) fn elapsed(&self) -> Option<Duration> {
        None
    }
}
