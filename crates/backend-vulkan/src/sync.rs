//! The order of work on the queue: one timeline semaphore, one value per submission, and bounded waits.
//!
//! A launch's timeout starts when everything before it on the queue is done, so that one thread's long launch does not
//! time out another thread's launch. Each submission extends the *horizon*, the time by which everything submitted has
//! either ended or been abandoned by its submitter; waits for other submissions end there.
//!
//! Accesses to mapped memory by the host are part of the same order: see [`Use`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use ash::vk;
use fulgurite_hal::Error;

use crate::device::Device;
use crate::error::device_error;
use crate::lock::lock;

/// Upper bound of every time limit, whatever the caller asks.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
/// Slack before a submission counts as abandoned.
const SLACK: Duration = Duration::from_secs(2);
/// Interval at which a wait checks whether another thread lost the device.
const SLICE: Duration = Duration::from_millis(100);
/// Number of waits during which the host lets other submissions go first, before it keeps a buffer's lock.
const ROUNDS: u32 = 2;
/// Time that dropping a device waits for its work.
const DROP_WAIT: Duration = Duration::from_secs(5);

/// The queue and its timeline semaphore.
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
    /// Time by which the last submission has ended or its submitter has marked the device as lost.
    horizon: Instant,
}

impl Queue {
    /// Returns the time by which all submissions so far have ended or been abandoned; those up to `reached` have ended.
    fn turn(&self, reached: u64, now: Instant) -> Instant {
        // Once the queue is idle, the time limits of earlier work no longer matter.
        if reached >= self.last { now } else { self.horizon.max(now) }
    }
}

/// Orders the accesses of host and device to a buffer. Submitting work that uses the buffer waits for the host's copies
/// to and from it, and such a copy waits for all submissions that use it.
#[derive(Debug, Default)]
pub(crate) struct BufferSync {
    /// The value of the last submission that uses the buffer.
    last: AtomicU64,
    /// Held during the host's copies, and while work is submitted.
    turn: Mutex<()>,
}

/// A submission.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    value: u64,
    /// Time by which all earlier submissions have ended or been abandoned.
    turn: Instant,
}

/// The result of a wait.
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
    /// All submissions must have ended, and nothing may use the timeline afterwards.
    pub(crate) unsafe fn destroy(&self, device: &ash::Device) {
        // SAFETY: by this function's contract.
        unsafe { device.destroy_semaphore(self.semaphore, None) };
    }
}

impl Device {
    /// Submits `commands`. The submitter waits for them no longer than `budget` after all earlier work is done.
    /// `uses` are the states of the buffers that they access.
    ///
    /// # Safety
    /// `commands` must be recorded and of this device. It and everything that it refers to must stay alive, and
    /// untouched by the host, until the ticket is reached or the device is lost.
    pub(crate) unsafe fn submit(
        &self,
        commands: vk::CommandBuffer,
        budget: Duration,
        uses: &[&BufferSync],
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

    /// Waits until everything submitted before `ticket` is done, and then for `ticket` for at most `limit`.
    pub(crate) fn wait(&self, ticket: Ticket, limit: Duration) -> Result<Waited, Error> {
        match self.wait_value(ticket.value - 1, ticket.turn)? {
            Waited::Done => self.wait_value(ticket.value, Instant::now() + limit.min(LONGEST)),
            Waited::Expired => Err(self.lose("a wait for earlier launches")),
        }
    }

    /// Runs `copy` once no submission uses the buffer, and prevents new ones until it returns.
    ///
    /// The lock is released while waiting for the device, so that submissions which also use other buffers do not hold
    /// those up. But threads that always submit again before their last submission is done would starve the host, so
    /// after a few rounds the lock is kept while waiting: those threads then wait for the host, behind the same work.
    pub(crate) fn with_host_turn(
        &self,
        used: &BufferSync,
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

    /// Waits until all work has ended, at most until `deadline`, unless a submission is in progress or the device is lost.
    pub(crate) fn wait_unless_locked(&self, deadline: Instant) {
        let last = match self.timeline.queue.try_lock() {
            Ok(queue) => queue.last,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().last,
            Err(TryLockError::WouldBlock) => return,
        };
        // A device that is lost, or belongs to another process, has no work to wait for.
        let _ = self.wait_value(last, deadline);
    }

    /// Returns whether all work has ended, after waiting for a short time.
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

/// Returns `uses` without duplicates, in an order that is the same for all threads, so that locking them in turn cannot
/// deadlock.
fn in_order<'u>(uses: &[&'u BufferSync]) -> Vec<&'u BufferSync> {
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
        let uses: [BufferSync; 3] = Default::default();
        let [a, b, c] = uses.each_ref();
        let expected = [a, b, c].map(std::ptr::from_ref);
        for given in [[a, b, c, a], [c, b, a, c], [b, c, a, b]] {
            let ordered: Vec<*const BufferSync> =
                in_order(&given).into_iter().map(std::ptr::from_ref).collect();
            assert_eq!(ordered, expected);
        }
        assert!(in_order(&[]).is_empty());
    }
}
