//! The deadline of a launch, by the clock if there is one, and by steps.
#![cfg_attr(
    feature = "std",
    expect(clippy::disallowed_types, reason = "the feature `std` is for this clock")
)]

use std::time::Duration;
#[cfg(feature = "std")]
use std::time::Instant;

use fulgurite_hal::{DeviceError, Error};

/// Steps between reads of the clock.
const POLL_STEPS: u64 = 4096;

/// Time and steps of a running launch.
pub(crate) struct Deadline {
    #[cfg(feature = "std")]
    start: Instant,
    timeout: Duration,
    budget: u64,
    steps: u64,
    next_poll: u64,
}

impl Deadline {
    /// Starts the clock.
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

    /// Counts `steps`. Fails if the step budget or the timeout is exceeded.
    pub(crate) fn advance(&mut self, steps: u64) -> Result<(), Error> {
        self.steps = self.steps.saturating_add(steps);
        let mut late = self.steps > self.budget;
        if self.steps >= self.next_poll {
            self.next_poll = self.steps.saturating_add(POLL_STEPS);
            late |= self.elapsed().is_some_and(|elapsed| elapsed > self.timeout);
        }
        if late { Err(DeviceError::Timeout(self.timeout).into()) } else { Ok(()) }
    }

    /// Brings the next read of the clock forward by `steps`, for work that is not counted in the step budget.
    pub(crate) fn hurry(&mut self, steps: u64) {
        self.next_poll = self.next_poll.saturating_sub(steps);
    }

    /// Returns the time since the start, if there is a clock.
    #[cfg(feature = "std")]
    #[expect(clippy::unnecessary_wraps, reason = "there is no clock without `std`")]
    pub(crate) fn elapsed(&self) -> Option<Duration> {
        Some(self.start.elapsed())
    }

    /// Returns the time since the start, if there is a clock.
    #[cfg(not(feature = "std"))]
    #[expect(clippy::unused_self, reason = "there is no clock without `std`")]
    pub(crate) fn elapsed(&self) -> Option<Duration> {
        None
    }
}
