//! The order of work on the queue: one timeline semaphore, one value a submission, and waits that all end.
//!
//! A launch's timeout counts from when everything before it on the queue is done, so that one thread's long
//! launch is not another's timeout. Each submission extends the *horizon*, the time by which all that was
//! submitted has either ended or been given up by whoever submitted it; waiting for others ends there.
//!
//! The host's own turn at memory that it maps is in the same order: see [`Use`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ash::vk;
use fulgurite_hal::Error;

use crate::device::{Device, lock};
use crate::error::device_error;

/// The longest that anything is waited for, whatever the caller asks.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
/// How late a submitter may be in giving its work up.
const SLACK: Duration = Duration::from_secs(2);
/// How often a wait looks whether another thread gave the device up.
const SLICE: Duration = Duration::from_millis(100);
/// How often the host lets others go first before it keeps its turn at a buffer.
const ROUNDS: u32 = 2;
/// How long dropping a device waits for it.
const DROP_WAIT: Duration = Duration::from_secs(5);

/// The queue and its timeline.
pub(crate) struct Timeline {
    semaphore: vk::Semaphore,
    queue: Mutex<Queue>,
    /// The highest value known to be reached.
    reached: AtomicU64,
}

struct Queue {
    handle: vk::Queue,
    /// The value of the last submission.
    last: u64,
    /// By when it has ended or its submitter has given the device up.
    horizon: Instant,
}

impl Queue {
    /// By when all that was submitted so far has ended or been given up; `reached` is known to have ended.
    fn turn(&self, reached: u64, now: Instant) -> Instant {
        // Once the queue is idle it does not matter how long earlier work might have taken.
        if reached >= self.last { now } else { self.horizon.max(now) }
    }
}

/// When a buffer was last used, and whose turn it is: a submission that uses the buffer waits for the host's copies
/// to and from it, and such a copy for all submissions.
#[derive(Debug, Default)]
pub(crate) struct Use {
    /// The last submission that uses the buffer.
    last: AtomicU64,
    /// Held while the host copies, and while a submission is made.
    turn: Mutex<()>,
}

/// A submission.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    value: u64,
    /// By when all earlier ones have ended or been given up.
    turn: Instant,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    Done,
    Expired,
}

impl Timeline {
    pub(crate) fn create(device: &ash::Device, handle: vk::Queue) -> Result<Self, Error> {
        let mut kind = vk::SemaphoreTypeCreateInfo::default()
            .semaphore_type(vk::SemaphoreType::TIMELINE)
            .initial_value(0);
        let info = vk::SemaphoreCreateInfo::default().push_next(&mut kind);
        // SAFETY: the device is alive and has timeline semaphores enabled.
        let semaphore = unsafe { device.create_semaphore(&info, None) }
            .map_err(|r| device_error("vkCreateSemaphore", r, 0))?;
        let queue = Mutex::new(Queue { handle, last: 0, horizon: Instant::now() });
        Ok(Self { semaphore, queue, reached: AtomicU64::new(0) })
    }

    /// # Safety
    /// All submissions have ended, and nothing uses the timeline again.
    pub(crate) unsafe fn destroy(&self, device: &ash::Device) {
        // SAFETY: by this function's contract.
        unsafe { device.destroy_semaphore(self.semaphore, None) };
    }
}

impl Device {
    /// Submits `commands`, which its submitter will wait for no longer than `budget` from its turn. `uses` are
    /// those of the buffers that it touches.
    ///
    /// # Safety
    /// `commands` is recorded, of this device, and it and all that it refers to stay alive and untouched by the
    /// host until the ticket is reached or the device is given up.
    pub(crate) unsafe fn submit(
        &self,
        commands: vk::CommandBuffer,
        budget: Duration,
        uses: &[&Use],
    ) -> Result<Ticket, Error> {
        self.check_alive()?;
        let turns = in_order(uses).into_iter().map(|used| lock(&used.turn));
        let turns: Vec<MutexGuard<'_, ()>> = turns.collect();
        let commands = [vk::CommandBufferSubmitInfo::default().command_buffer(commands)];
        let mut queue = lock(&self.timeline.queue);
        let value = queue.last + 1;
        let signals = [vk::SemaphoreSubmitInfo::default()
            .semaphore(self.timeline.semaphore)
            .value(value)
            .stage_mask(vk::PipelineStageFlags2::ALL_COMMANDS)];
        let info =
            vk::SubmitInfo2::default().command_buffer_infos(&commands).signal_semaphore_infos(&signals);
        // SAFETY: by this function's contract; the lock makes this the only use of the queue.
        unsafe { self.raw.queue_submit2(queue.handle, &[info], vk::Fence::null()) }
            .map_err(|r| self.fail("vkQueueSubmit2", r, 0))?;
        let turn = queue.turn(self.timeline.reached.load(Ordering::SeqCst), Instant::now());
        queue.last = value;
        queue.horizon = turn + budget.min(LONGEST);
        for used in uses {
            used.last.store(value, Ordering::SeqCst);
        }
        drop(turns);
        Ok(Ticket { value, turn: turn + SLACK })
    }

    /// Waits until everything submitted before `ticket` is done, and then for it, no longer than `limit`.
    pub(crate) fn wait(&self, ticket: Ticket, limit: Duration) -> Result<Waited, Error> {
        match self.wait_value(ticket.value - 1, ticket.turn)? {
            Waited::Done => self.wait_value(ticket.value, Instant::now() + limit.min(LONGEST)),
            Waited::Expired => Err(self.lose("a wait for earlier launches")),
        }
    }

    /// Runs `copy` once no submission uses the buffer, and keeps others from doing so meanwhile.
    ///
    /// The turn is let go while the device is waited for, so that submissions which use other buffers, too, do not
    /// hold those up. But threads that always submit again before the last one is done would starve the host: after
    /// a few rounds they wait with it, behind the same work of the same queue.
    pub(crate) fn with_host_turn(
        &self,
        used: &Use,
        copy: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut round = 0;
        loop {
            let mut turn = Some(lock(&used.turn));
            let last = used.last.load(Ordering::SeqCst);
            if self.timeline.reached.load(Ordering::SeqCst) >= last {
                self.check_alive()?;
                return copy();
            }
            if round < ROUNDS {
                turn = None;
                round += 1;
            }
            let horizon = lock(&self.timeline.queue).horizon;
            if self.wait_value(last, horizon + SLACK)? == Waited::Expired {
                return Err(self.lose("a wait for earlier launches"));
            }
            if turn.is_some() {
                return copy();
            }
        }
    }

    /// Whether all work has ended; waits a little for it.
    pub(crate) fn is_idle(&self) -> bool {
        let last = lock(&self.timeline.queue).last;
        matches!(self.wait_value(last, Instant::now() + DROP_WAIT), Ok(Waited::Done))
    }

    fn wait_value(&self, value: u64, deadline: Instant) -> Result<Waited, Error> {
        let (semaphores, values) = ([self.timeline.semaphore], [value]);
        let info = vk::SemaphoreWaitInfo::default().semaphores(&semaphores).values(&values);
        loop {
            self.check_alive()?;
            if self.timeline.reached.load(Ordering::SeqCst) >= value {
                return Ok(Waited::Done);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let slice = left.min(SLICE);
            // SAFETY: the semaphore lives as long as `self`.
            match unsafe { self.raw.wait_semaphores(&info, slice.as_nanos() as u64) } {
                Ok(()) => {
                    self.timeline.reached.fetch_max(value, Ordering::SeqCst);
                    return Ok(Waited::Done);
                }
                Err(vk::Result::TIMEOUT) if left <= SLICE => return Ok(Waited::Expired),
                Err(vk::Result::TIMEOUT) => {}
                Err(result) => return Err(self.fail("vkWaitSemaphores", result, 0)),
            }
        }
    }
}

/// `uses` in an order that all threads agree on, each once, so that locking them one by one cannot deadlock.
fn in_order<'u>(uses: &[&'u Use]) -> Vec<&'u Use> {
    let mut ordered = uses.to_vec();
    ordered.sort_by_key(|used| std::ptr::from_ref(*used).addr());
    ordered.dedup_by(|a, b| std::ptr::eq(*a, *b));
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_horizon_begins_anew_when_the_queue_is_idle() {
        let now = Instant::now();
        let later = now + Duration::from_secs(100);
        let queue = |last, horizon| Queue { handle: vk::Queue::null(), last, horizon };
        assert_eq!(queue(0, now).turn(0, later), later);
        assert_eq!(queue(7, later).turn(6, now), later, "one is under way");
        assert_eq!(queue(7, now).turn(6, later), later, "and late");
        assert_eq!(queue(7, later).turn(7, now), now, "none is");
    }

    #[test]
    fn uses_are_locked_in_one_order_and_once() {
        let uses: [Use; 3] = Default::default();
        let [a, b, c] = uses.each_ref();
        let expected = [a, b, c].map(std::ptr::from_ref);
        for given in [[a, b, c, a], [c, b, a, c], [b, c, a, b]] {
            let ordered: Vec<*const Use> = in_order(&given).into_iter().map(std::ptr::from_ref).collect();
            assert_eq!(ordered, expected);
        }
        assert!(in_order(&[]).is_empty());
    }
}
