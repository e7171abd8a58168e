//! What is left to do when the process exits while drivers compile on other threads: their marks say nothing.

use std::ffi::c_int;
use std::sync::Once;

unsafe extern "C" {
    fn atexit(callback: extern "C" fn()) -> c_int;
}

extern "C" fn forget() {
    fulgurite_pipeline_cache::forget_marks();
}

/// Has [`forget_marks`](fulgurite_pipeline_cache::forget_marks) called when the process exits, by itself or by returning from
/// `main`. A process that ends otherwise does not come here.
pub(crate) fn forget_marks_at_exit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the function is the C standard's, and what it is given is there as long as this code is. If the system has no
        // room for it, marks stay.
        let _ = unsafe { atexit(forget) };
    });
}
