//! Handlers for signals that end the process, which clear its crash marks first. Installed only on request.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::{emulate_default_handler, unregister};
use signal_hook::{SigId, flag};

use crate::marks::forget_marks;

/// Installs handlers for SIGINT, SIGTERM, SIGHUP and SIGQUIT that call [`forget_marks`] before the signal ends the
/// process as usual, so that interrupted compiles are not suspected. A second signal ends the process at once.
///
/// Signal handlers are process-wide, so only a program should call this, never a library. Signals that the process
/// ignores or handles are left unchanged; where this cannot be determined (anywhere but on Linux), only SIGINT and
/// SIGTERM are handled. A program that handles these signals itself calls [`forget_marks`] instead. Further calls do
/// nothing.
///
/// # Errors
/// The underlying I/O error; nothing has changed in that case.
pub fn handle_interrupts() -> io::Result<()> {
    static IS_DONE: Mutex<bool> = Mutex::new(false);
    let mut is_done = IS_DONE.lock().unwrap_or_else(PoisonError::into_inner);
    if !*is_done {
        install()?;
        *is_done = true;
    }
    Ok(())
}

fn install() -> io::Result<()> {
    let wanted = signals(std::fs::read_to_string("/proc/self/status").ok().as_deref());
    let mut registered = Registered(Vec::new());
    let again = Arc::new(AtomicBool::new(false));
    // Order matters: the first signal finds the flag unset and sets it.
    for signal in &wanted {
        registered.0.push(flag::register_conditional_default(*signal, Arc::clone(&again))?);
        registered.0.push(flag::register(*signal, Arc::clone(&again))?);
    }
    let mut signals = Signals::new(&wanted)?;
    std::thread::Builder::new().name("fulgurite interrupts".to_owned()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            forget_marks();
            // A repeated signal ends the process here, too.
            let _ = emulate_default_handler(signal);
        }
    })?;
    registered.0.clear();
    Ok(())
}

/// Handlers that are unregistered on drop.
struct Registered(Vec<SigId>);

impl Drop for Registered {
    fn drop(&mut self) {
        for id in self.0.drain(..) {
            unregister(id);
        }
    }
}

/// Returns the signals to handle, given the process's `/proc/self/status`.
fn signals(status: Option<&str>) -> Vec<i32> {
    let mask = |name: &str| {
        let line = status?.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    match (mask("SigIgn:"), mask("SigCgt:")) {
        (Some(ignored), Some(caught)) => {
            let is_free = |signal: &i32| (ignored | caught) & (1 << (signal - 1)) == 0;
            [SIGINT, SIGTERM, SIGHUP, SIGQUIT].into_iter().filter(is_free).collect()
        }
        _ => vec![SIGINT, SIGTERM],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_or_handled_signals_are_left_alone() {
        let status = |ignored, caught| format!("Name:\tx\nSigIgn:\t{ignored}\nSigCgt:\t{caught}\n");
        let none = "0000000000000000";
        assert_eq!(signals(Some(&status(none, none))), [SIGINT, SIGTERM, SIGHUP, SIGQUIT]);
        assert_eq!(signals(Some(&status("0000000000000001", "0000000000000002"))), [SIGTERM, SIGQUIT]);
        assert_eq!(signals(Some("Name:\tx\n")), [SIGINT, SIGTERM]);
        assert_eq!(signals(None), [SIGINT, SIGTERM]);
    }
}
