//! Locks and threads: those of the standard library, or of the model checker in its tests.

use std::time::Duration;

#[cfg(loom)]
pub(crate) use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
#[cfg(not(loom))]
pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use std::sync::PoisonError;

/// Locks. The data behind the locks of this crate stays consistent when a thread panics.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits to be notified.
pub(crate) fn wait<'m, T>(condition: &Condvar, guard: MutexGuard<'m, T>) -> MutexGuard<'m, T> {
    condition.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Waits while `holds`, no longer than `limit`.
#[cfg(not(loom))]
pub(crate) fn wait_for<'m, T>(
    condition: &Condvar,
    guard: MutexGuard<'m, T>,
    limit: Duration,
    holds: impl Fn(&T) -> bool,
) -> MutexGuard<'m, T> {
    let waited = condition.wait_timeout_while(guard, limit, |value| holds(value));
    waited.unwrap_or_else(PoisonError::into_inner).0
}

/// Waits while `holds`; the model has no clock.
#[cfg(loom)]
pub(crate) fn wait_for<'m, T>(
    condition: &Condvar,
    mut guard: MutexGuard<'m, T>,
    _limit: Duration,
    holds: impl Fn(&T) -> bool,
) -> MutexGuard<'m, T> {
    while holds(&guard) {
        guard = wait(condition, guard);
    }
    guard
}
