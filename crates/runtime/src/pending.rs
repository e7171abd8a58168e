//! Results of submitted work that are available later.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fulgurite_hal::{Error, Process};

use crate::sync::{Arc, Condvar, Mutex, MutexGuard, lock, wait, wait_for};

/// The result of work in progress. It can be polled, waited for, or awaited on any executor.
///
/// Dropping it loses the result but does not stop the work, which owns everything it needs. Wakers are called on the
/// device's own thread: they may schedule a task elsewhere but must not launch or wait themselves.
#[must_use = "the work goes on, but nobody learns how it ended"]
pub struct Pending<T> {
    state: Arc<State<T>>,
}

/// The producing end of a [`Pending`]. Dropping it without a result yields an internal error, so that no one waits
/// forever.
pub(crate) struct Promise<T> {
    state: Arc<State<T>>,
}

struct State<T> {
    slot: Mutex<Slot<T>>,
    ended: Condvar,
    process: Process,
}

enum Slot<T> {
    Open(Option<Then<T>>),
    Ended(Result<T, Error>),
    Taken,
}

/// The consumer of a result.
enum Then<T> {
    /// Wakes the task that polled last.
    Wake(Waker),
    /// Passes the result to another promise.
    Give(Box<dyn FnOnce(Result<T, Error>) + Send>),
}

impl<T> State<T> {
    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        lock(&self.slot)
    }
}

/// Returns a promise and its pending result.
pub(crate) fn promise<T>() -> (Promise<T>, Pending<T>) {
    let state = Arc::new(State {
        slot: Mutex::new(Slot::Open(None)),
        ended: Condvar::new(),
        process: Process::current(),
    });
    (Promise { state: Arc::clone(&state) }, Pending { state })
}

impl<T> Promise<T> {
    /// Fulfills the promise.
    pub(crate) fn keep(self, result: Result<T, Error>) {
        self.give(result);
    }

    fn give(&self, result: Result<T, Error>) {
        let mut slot = self.state.lock();
        let Slot::Open(then) = &mut *slot else { return };
        match then.take() {
            Some(Then::Give(give)) => {
                *slot = Slot::Taken;
                drop(slot);
                give(result);
            }
            then => {
                *slot = Slot::Ended(result);
                drop(slot);
                self.state.ended.notify_all();
                if let Some(Then::Wake(waker)) = then {
                    waker.wake();
                }
            }
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.give(Err(Error::Internal("submitted work was dropped before it ended".to_owned())));
    }
}

impl<T> Pending<T> {
    /// Returns whether the result is available.
    pub fn is_ended(&self) -> bool {
        !matches!(*self.state.lock(), Slot::Open(_))
    }

    /// Waits for the result. The work's own timeout bounds the wait.
    ///
    /// # Errors
    /// The error of the work.
    pub fn wait(self) -> Result<T, Error> {
        crate::worker::check_process(self.state.process)?;
        crate::worker::help(|| self.is_ended());
        let mut slot = self.state.lock();
        loop {
            match take(&mut slot) {
                Some(result) => return result,
                None => slot = wait(&self.state.ended, slot),
            }
        }
    }

    /// Waits for the result for about `limit` at most.
    ///
    /// # Errors
    /// Returns `self`, whose work continues, if the result is not available by then.
    pub fn wait_for(self, limit: Duration) -> Result<Result<T, Error>, Self> {
        let mut slot = self.state.lock();
        if matches!(*slot, Slot::Open(_)) {
            slot = wait_for(&self.state.ended, slot, limit, |slot| matches!(slot, Slot::Open(_)));
        }
        match take(&mut slot) {
            Some(result) => Ok(result),
            None => {
                drop(slot);
                Err(self)
            }
        }
    }

    /// Applies `then` to the result, as [`Result::and_then`] does. It runs on the thread that delivers the result and
    /// should be short; it may read buffers, launch, and wait for other results of the device.
    pub fn and_then<U: Send + 'static>(
        self,
        then: impl FnOnce(T) -> Result<U, Error> + Send + 'static,
    ) -> Pending<U> {
        let (promise, pending) = promise();
        let give = move |result: Result<T, Error>| promise.keep(result.and_then(then));
        let mut slot = self.state.lock();
        match take(&mut slot) {
            Some(result) => {
                drop(slot);
                give(result);
            }
            None => *slot = Slot::Open(Some(Then::Give(Box::new(give)))),
        }
        pending
    }
}

/// Returns the result if it is available.
fn take<T>(slot: &mut Slot<T>) -> Option<Result<T, Error>> {
    match std::mem::replace(slot, Slot::Taken) {
        Slot::Ended(result) => Some(result),
        open @ Slot::Open(_) => {
            *slot = open;
            None
        }
        Slot::Taken => Some(Err(Error::Internal("a result was asked for twice".to_owned()))),
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.state.lock();
        match take(&mut slot) {
            Some(result) => Poll::Ready(result),
            None => {
                *slot = Slot::Open(Some(Then::Wake(context.waker().clone())));
                Poll::Pending
            }
        }
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_ended() { "Pending(ended)" } else { "Pending(under way)" })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use fulgurite_spec::Code;

    #[test]
    fn results_come_by_waiting_polling_and_awaiting() {
        let (promise, pending) = promise();
        assert!(!pending.is_ended());
        let pending = pending.wait_for(Duration::from_millis(1)).unwrap_err();
        promise.keep(Ok(5));
        assert!(pending.is_ended());
        assert_eq!(pending.wait_for(Duration::ZERO).unwrap(), Ok(5));

        let (promise, mut pending) = super::promise();
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut pending).poll(&mut context).is_pending());
        promise.keep(Ok(6));
        assert_eq!(Pin::new(&mut pending).poll(&mut context), Poll::Ready(Ok(6)));
    }

    #[test]
    fn a_result_goes_on_whether_it_came_before_or_after() {
        let (promise, pending) = promise();
        let text = pending.and_then(|n: u32| Ok(n.to_string()));
        assert!(!text.is_ended());
        promise.keep(Ok(5));
        assert_eq!(text.wait(), Ok("5".to_owned()));

        let (promise, pending) = super::promise();
        promise.keep(Ok(6));
        let fails = pending.and_then(|n: u32| Err::<(), _>(Error::Internal(n.to_string())));
        assert!(fails.is_ended());
        assert_eq!(fails.wait(), Err(Error::Internal("6".to_owned())));

        let (promise, pending) = super::promise::<u32>();
        let never = pending.and_then(|_| Ok(()));
        drop(promise);
        assert_eq!(never.wait().unwrap_err().code(), Code::Internal);
    }

    #[test]
    fn a_promise_that_is_broken_is_an_error_and_no_wait() {
        let (promise, pending) = promise::<u32>();
        drop(promise);
        assert_eq!(pending.wait().unwrap_err().code(), Code::Internal);
    }
}
