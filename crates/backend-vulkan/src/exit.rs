//! The end of the process: nothing may run in a driver while the driver's exit handlers run.
//!
//! Drivers and layers register handlers that destroy their global state. A thread that is in a driver at that time, or
//! enters one later, crashes the process. It may be a thread that the program never sees: the engine's, which runs
//! submitted work, one that compiles, or one of a driver that executes kernels on the CPU. So every call from outside the
//! crate holds an [`Inside`]. The handler registered here runs before those of the drivers, waits for these calls and
//! for the queues of all devices, and threads that come later sleep for good.
//!
//! A driver that still compiles what was given up would crash the process as well, and may take hours. There the process
//! ends without the handlers of the driver, where its exit status is known (with glibc).

use std::cell::Cell;
use std::ffi::c_int;
#[cfg(target_env = "gnu")]
use std::ffi::c_void;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, TryLockError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::device::Device;
use crate::lock::lock;

/// The longest time that the end of the process waits, in all.
const LONGEST: Duration = Duration::from_secs(5);
/// Interval at which it checks whether calls have ended.
const STEP: Duration = Duration::from_millis(1);

/// The number of threads in drivers, besides those that follow another.
static INSIDE: AtomicUsize = AtomicUsize::new(0);
/// The number of compilations that nobody waits for any more.
static GIVEN_UP: AtomicUsize = AtomicUsize::new(0);
static IS_EXITING: AtomicBool = AtomicBool::new(false);
/// Set in a process that was forked after drivers were loaded.
static IS_FORKED: AtomicBool = AtomicBool::new(false);
/// The open devices.
static DEVICES: Mutex<Vec<Weak<Device>>> = Mutex::new(Vec::new());

thread_local! {
    /// The number of [`Inside`]s of the current thread.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

unsafe extern "C" {
    #[cfg(not(target_env = "gnu"))]
    fn atexit(callback: extern "C" fn()) -> c_int;
    #[cfg(target_env = "gnu")]
    fn on_exit(callback: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
    #[cfg(target_env = "gnu")]
    fn fflush(stream: *mut c_void) -> c_int;
    #[cfg(target_env = "gnu")]
    fn _exit(status: c_int) -> !;
    #[cfg(unix)]
    fn pthread_atfork(
        prepare: Option<extern "C" fn()>,
        parent: Option<extern "C" fn()>,
        child: Option<extern "C" fn()>,
    ) -> c_int;
}

/// Marks the current thread as being in a driver while it lives.
#[must_use = "the thread counts as inside only while this lives"]
pub(crate) struct Inside {
    /// True if this added the thread to `INSIDE`.
    is_counted: bool,
    /// It belongs to its thread.
    _not_send: PhantomData<*const ()>,
}

/// Enters drivers. Once the process exits, threads that are not inside already never return from here.
pub(crate) fn enter() -> Inside {
    let is_counted = DEPTH.get() == 0;
    if is_counted {
        // Either `wait_for_threads` sees this thread, or this thread sees that the process exits.
        INSIDE.fetch_add(1, Ordering::SeqCst);
        if IS_EXITING.load(Ordering::SeqCst) {
            INSIDE.fetch_sub(1, Ordering::SeqCst);
            loop {
                thread::sleep(LONGEST);
            }
        }
    }
    DEPTH.set(DEPTH.get() + 1);
    Inside { is_counted, _not_send: PhantomData }
}

/// Enters drivers on behalf of another thread, which is inside and waits for this one, at most as long as it likes.
pub(crate) fn follow() -> Inside {
    DEPTH.set(DEPTH.get() + 1);
    Inside { is_counted: false, _not_send: PhantomData }
}

impl Drop for Inside {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        if self.is_counted {
            INSIDE.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// A compilation that a caller waits for until it gives up.
#[derive(Clone)]
pub(crate) struct Awaited {
    state: Arc<AtomicU8>,
    given_up: &'static AtomicUsize,
}

impl Awaited {
    const GIVEN_UP: u8 = 1;
    const DONE: u8 = 2;

    pub(crate) fn new() -> Self {
        Self::counted_by(&GIVEN_UP)
    }

    fn counted_by(given_up: &'static AtomicUsize) -> Self {
        Self { state: Arc::default(), given_up }
    }

    /// Notes that the compilation has ended.
    pub(crate) fn done(&self) {
        if self.state.swap(Self::DONE, Ordering::SeqCst) == Self::GIVEN_UP {
            self.given_up.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Notes that the caller waits no longer.
    pub(crate) fn give_up(&self) {
        // Counted first: the compilation may end at any time.
        self.given_up.fetch_add(1, Ordering::SeqCst);
        if self.state.swap(Self::GIVEN_UP, Ordering::SeqCst) == Self::DONE {
            self.given_up.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Closes drivers to other threads, and waits until those that are inside have left.
fn wait_for_threads(deadline: Instant) {
    // The exiting thread may be inside itself, or follow a thread that is.
    let own = usize::from(DEPTH.get() > 0);
    // It goes on using drivers: statics of the program may own devices.
    DEPTH.set(DEPTH.get() + 1);
    while INSIDE.load(Ordering::SeqCst) > own && Instant::now() < deadline {
        thread::sleep(STEP);
    }
}

/// Waits until the devices have done what they were given. Passes over locks that a call in progress still holds.
fn wait_for_queues(deadline: Instant) {
    let devices = match DEVICES.try_lock() {
        Ok(devices) => devices,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    let open: Vec<Arc<Device>> = devices.iter().filter_map(Weak::upgrade).collect();
    drop(devices);
    open.iter().for_each(|device| device.wait_unless_locked(deadline));
}

fn leave() {
    // The handler registered last runs first, before those of the drivers, and has waited already.
    if IS_EXITING.swap(true, Ordering::SeqCst) {
        return;
    }
    let deadline = Instant::now() + LONGEST;
    wait_for_threads(deadline);
    wait_for_queues(deadline);
    // Compilations still in progress have not crashed, so their marks are removed.
    fulgurite_pipeline_cache::forget_marks();
}

#[cfg(not(target_env = "gnu"))]
extern "C" fn exiting() {
    leave();
}

#[cfg(target_env = "gnu")]
extern "C" fn exiting(status: c_int, _: *mut c_void) {
    leave();
    if GIVEN_UP.load(Ordering::SeqCst) > 0 {
        // SAFETY: both are functions of the C standard library; a null stream stands for all. Rust's own streams were
        // flushed before exit handlers run.
        unsafe {
            fflush(std::ptr::null_mut());
            _exit(status);
        }
    }
}

/// Begins the count anew in a forked process, which has none of its parent's other threads.
#[cfg(unix)]
extern "C" fn forked() {
    let is_counted = DEPTH.get() > 0;
    INSIDE.store(usize::from(is_counted), Ordering::SeqCst);
    IS_FORKED.store(true, Ordering::SeqCst);
}

/// Returns whether this process is a fork of one that had loaded drivers.
pub(crate) fn is_forked() -> bool {
    IS_FORKED.load(Ordering::SeqCst)
}

/// Registers the handler to run when the process calls `exit` or returns from `main`. It does not run if the process ends
/// otherwise, such as by a signal. Handlers run in reverse order, so this is called each time that drivers were loaded.
pub(crate) fn register_handler() {
    #[cfg(unix)]
    {
        static FORKS: std::sync::Once = std::sync::Once::new();
        FORKS.call_once(|| {
            // SAFETY: `pthread_atfork` is a function of the C standard library. The callback stores to an atomic and stays
            // loaded as long as this code. If registration fails, a forked process may wait for `LONGEST`.
            let _ = unsafe { pthread_atfork(None, None, Some(forked)) };
        });
    }
    // SAFETY: a function of the C standard library, and the callback stays loaded as long as this code. If registration
    // fails, the process exits without waiting, and marks remain.
    #[cfg(target_env = "gnu")]
    let _ = unsafe { on_exit(exiting, std::ptr::null_mut()) };
    // SAFETY: as above.
    #[cfg(not(target_env = "gnu"))]
    let _ = unsafe { atexit(exiting) };
}

/// Registers the handler, which waits for the queue of `device` among others.
pub(crate) fn register(device: &Arc<Device>) {
    register_handler();
    let mut devices = lock(&DEVICES);
    devices.retain(|device| device.strong_count() > 0);
    devices.push(Arc::downgrade(device));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compilation_counts_from_when_it_is_given_up_until_it_ends() {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let given_up = || COUNT.load(Ordering::SeqCst);
        let awaited = Awaited::counted_by(&COUNT);
        awaited.give_up();
        assert_eq!(given_up(), 1);
        awaited.done();
        assert_eq!(given_up(), 0);
        let ended = Awaited::counted_by(&COUNT);
        ended.done();
        assert_eq!(given_up(), 0);
        ended.give_up();
        assert_eq!(given_up(), 0);
    }

    #[test]
    fn a_thread_counts_once_and_a_follower_not_at_all() {
        // Other tests may be inside, so the count is compared on a thread of its own with what it adds.
        let depth = || DEPTH.get();
        assert_eq!(depth(), 0);
        let outer = enter();
        let inner = enter();
        assert!(outer.is_counted && !inner.is_counted && depth() == 2);
        assert!(INSIDE.load(Ordering::SeqCst) >= 1);
        thread::scope(|scope| {
            scope.spawn(|| {
                let follower = follow();
                let nested = enter();
                assert!(!follower.is_counted && !nested.is_counted && DEPTH.get() == 2);
                drop((nested, follower));
                assert_eq!(DEPTH.get(), 0);
            });
        });
        drop(inner);
        drop(outer);
        assert_eq!(depth(), 0);
    }
}
