//! Where a driver compiles: on a thread whose stack does not depend on the caller's, and which is left behind when it takes
//! too long.
//!
//! Compilers recurse with the depth of what they compile, and the stack of whoever calls may be small: musl gives threads
//! 128 KiB. A driver cannot be told to stop, so whoever waited no longer leaves to the thread all that it uses.

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::Builder;
use std::time::Duration;

use crate::device::lock;

/// Bytes of stack, in the order in which they are tried: memory is used only as far as a compiler goes down.
const STACK_BYTES: [usize; 3] = [64 << 20, 8 << 20, 2 << 20];

/// What `work` gives, done on a thread with a large stack; `None` if it takes longer than `limit`. Then it goes on, and what it
/// gives is dropped there.
///
/// Where no thread can be had, this one does the work, however long it takes.
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let work = Arc::new(Mutex::new(Some(work)));
    let started = STACK_BYTES.into_iter().find_map(|bytes| {
        let work = Arc::clone(&work);
        let (sender, receiver) = sync_channel(1);
        let thread = Builder::new().name("fulgurite compile".to_owned()).stack_size(bytes);
        let thread = thread.spawn(move || {
            let work = lock(&work).take();
            // Nobody may be waiting any more.
            let _ = work.map(|work| sender.send(work()));
        });
        Some((thread.ok()?, receiver))
    });
    let Some((thread, receiver)) = started else { return lock(&work).take().map(|work| work()) };
    match receiver.recv_timeout(limit) {
        Ok(done) => Some(done),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Ok(()) => None,
            Err(panic) => resume_unwind(panic),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// Takes so many KiB of stack, and gives as many.
    fn deep(kib: usize) -> usize {
        let frame = black_box([1u8; 1024]);
        if kib == 0 { 0 } else { deep(kib - 1) + usize::from(frame[kib % 1024]) }
    }

    #[test]
    fn a_small_stack_is_enough_for_who_asks() {
        let thread = Builder::new().stack_size(128 << 10);
        let asked = thread.spawn(|| within(LONG, || deep(20_000))).unwrap();
        assert_eq!(asked.join().unwrap(), Some(20_000));
    }

    #[test]
    fn what_takes_too_long_is_left_behind() {
        let (sender, receiver) = sync_channel::<()>(1);
        let begun = Instant::now();
        assert_eq!(within(Duration::from_millis(20), move || receiver.recv().is_ok()), None);
        assert!(begun.elapsed() < LONG / 2);
        sender.send(()).unwrap();
    }

    #[test]
    #[should_panic(expected = "as it is")]
    fn a_panic_is_the_callers() {
        within(LONG, || panic!("as it is"));
    }
}
