//! The end of the process: nothing may run in a driver while the driver's exit handlers run.
//!
//! Drivers and layers register handlers that destroy their global state. A thread that is in a driver at that time, or
//! enters one later, crashes the process. It may be a thread that the program never sees: the engine's, which runs
//! submitted work, one that compiles, or one of a driver that executes kernels on the CPU. So every call from outside the
//! crate holds an [`Inside`]. The handler registered here runs before those of the drivers, waits for these calls and
//! for the queues of all devices, and threads that come later sleep for good.

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use std::{process, thread};

use crate::device::{Device, lock};

/// The longest time that the end of the process waits for calls in progress.
const LONGEST: Duration = Duration::from_secs(5);
/// Interval at which it checks whether they have ended.
const STEP: Duration = Duration::from_millis(1);

/// The number of threads in drivers.
static INSIDE: AtomicUsize = AtomicUsize::new(0);
/// The id of the process whose threads `INSIDE` counts.
static PROCESS: AtomicU32 = AtomicU32::new(0);
static IS_EXITING: AtomicBool = AtomicBool::new(false);
/// The open devices.
static DEVICES: Mutex<Vec<Weak<Device>>> = Mutex::new(Vec::new());

thread_local! {
    /// The number of [`Inside`]s of the current thread.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

unsafe extern "C" {
    fn atexit(callback: extern "C" fn()) -> c_int;
}

/// Marks the current thread as being in a driver while it lives.
#[must_use = "the thread counts as inside only while this lives"]
pub(crate) struct Inside(());

/// Enters drivers. Once the process exits, threads that are not inside already never return from here.
pub(crate) fn enter() -> Inside {
    let depth = DEPTH.get();
    DEPTH.set(depth + 1);
    if depth == 0 {
        // Either `wait_for_threads` sees this thread, or this thread sees that the process exits.
        INSIDE.fetch_add(1, Ordering::SeqCst);
        if IS_EXITING.load(Ordering::SeqCst) {
            INSIDE.fetch_sub(1, Ordering::SeqCst);
            loop {
                thread::sleep(LONGEST);
            }
        }
    }
    Inside(())
}

/// Enters drivers on behalf of another thread, which is inside and waits for this one.
pub(crate) fn follow() -> Inside {
    DEPTH.set(DEPTH.get() + 1);
    if DEPTH.get() == 1 {
        INSIDE.fetch_add(1, Ordering::SeqCst);
    }
    Inside(())
}

impl Drop for Inside {
    fn drop(&mut self) {
        let depth = DEPTH.get();
        DEPTH.set(depth - 1);
        if depth == 1 {
            INSIDE.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Closes drivers to other threads, and waits until those that are inside have left.
fn wait_for_threads() {
    // The thread that exits goes on using drivers: statics of the program may own devices.
    let depth = DEPTH.get();
    DEPTH.set(depth + 1);
    IS_EXITING.store(true, Ordering::SeqCst);
    let own = usize::from(depth > 0);
    let begun = Instant::now();
    while INSIDE.load(Ordering::SeqCst) > own && begun.elapsed() < LONGEST {
        thread::sleep(STEP);
    }
}

/// Waits until the devices have done what they were given.
fn wait_for_queues() {
    // A thread that still holds the lock, because its call takes too long, is not waited for again.
    let Ok(devices) = DEVICES.try_lock() else { return };
    let open: Vec<Arc<Device>> = devices.iter().filter_map(Weak::upgrade).collect();
    drop(devices);
    open.iter().filter(|device| !device.is_lost()).for_each(|device| {
        device.is_idle();
    });
}

extern "C" fn leave() {
    // A fork has none of its parent's threads.
    if PROCESS.load(Ordering::SeqCst) == process::id() {
        wait_for_threads();
        wait_for_queues();
    }
    // Of compilations that are still in progress, none has crashed.
    fulgurite_pipeline_cache::forget_marks();
}

/// Registers the handler, which waits for the queue of `device` among others, to run when the process calls `exit` or
/// returns from `main`. It does not run if the process ends otherwise, such as by a signal. Handlers run in reverse order,
/// so this is called after a driver was loaded, by a thread that is inside.
pub(crate) fn register(device: &Arc<Device>) {
    register_handler();
    let mut devices = lock(&DEVICES);
    devices.retain(|device| device.strong_count() > 0);
    devices.push(Arc::downgrade(device));
}

/// Registers the handler; see [`register`].
pub(crate) fn register_handler() {
    let current = process::id();
    if PROCESS.swap(current, Ordering::SeqCst) != current {
        // The first device of this process: other threads that were counted are those of a parent.
        INSIDE.store(1, Ordering::SeqCst);
    }
    // SAFETY: `atexit` is a function of the C standard library, and the callback stays loaded as long as this code.
    // If registration fails, the process exits without waiting, and marks remain.
    let _ = unsafe { atexit(leave) };
}
