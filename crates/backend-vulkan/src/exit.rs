//! Cleanup when the process exits while drivers compile on other threads: their marks are cleared.

use std::ffi::c_int;
use std::sync::Once;

unsafe extern "C" {
    fn atexit(callback: extern "C" fn()) -> c_int;
}

extern "C" fn forget() {
    fulgurite_pipeline_cache::forget_marks();
}

/// Registers [`forget_marks`](fulgurite_pipeline_cache::forget_marks) to run when the process calls `exit` or returns
/// from `main`. It does not run if the process ends otherwise, such as by a signal.
pub(crate) fn forget_marks_at_exit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: `atexit` is a function of the C standard library, and the callback stays loaded as long as
        // this code. If registration fails, marks remain.
        let _ = unsafe { atexit(forget) };
    });
}
