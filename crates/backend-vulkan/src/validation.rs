//! What the validation layer says, kept so that tests can hold it against us.

use std::ffi::{CStr, c_void};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use ash::vk;

/// How many messages are kept; further ones are only counted.
const KEPT: usize = 1000;

/// How bad a validation message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// Likely a mistake, or slow.
    Warning,
    /// Against the Vulkan specification.
    Error,
}

/// A warning or error of the validation layer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ValidationMessage {
    /// How bad.
    pub severity: Severity,
    /// The layer's name of the rule, such as a `VUID-…`; may be empty.
    pub rule: String,
    /// The text.
    pub text: String,
}

impl fmt::Display for ValidationMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "validation {severity} [{}]: {}", self.rule, self.text)
    }
}

/// What the validation layer said, up to a bound. Outlives the backend, so that it also shows what the end of a
/// device provoked.
#[derive(Debug, Default)]
pub struct ValidationLog {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    messages: Vec<ValidationMessage>,
    count: usize,
}

impl ValidationLog {
    fn add(&self, message: ValidationMessage) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.count += 1;
        if kept.messages.len() < KEPT {
            kept.messages.push(message);
        }
    }

    /// The first thousand messages.
    pub fn messages(&self) -> Vec<ValidationMessage> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).messages.clone()
    }

    /// How many messages there were.
    pub fn count(&self) -> usize {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).count
    }
}

/// The messenger that gives `log` every warning and error about our use of the API. Loader chatter
/// (type `GENERAL`) is not about us and is left out.
pub(crate) fn messenger(log: &ValidationLog) -> vk::DebugUtilsMessengerCreateInfoEXT<'_> {
    vk::DebugUtilsMessengerCreateInfoEXT::default()
        .message_severity(
            vk::DebugUtilsMessageSeverityFlagsEXT::WARNING | vk::DebugUtilsMessageSeverityFlagsEXT::ERROR,
        )
        .message_type(
            vk::DebugUtilsMessageTypeFlagsEXT::VALIDATION | vk::DebugUtilsMessageTypeFlagsEXT::PERFORMANCE,
        )
        .pfn_user_callback(Some(callback))
        .user_data(std::ptr::from_ref(log).cast_mut().cast())
}

/// # Safety
/// Called by the driver with a valid `data`, and with the `user_data` that [`messenger`] set, alive until the
/// messenger is destroyed.
unsafe extern "system" fn callback(
    severity: vk::DebugUtilsMessageSeverityFlagsEXT,
    _: vk::DebugUtilsMessageTypeFlagsEXT,
    data: *const vk::DebugUtilsMessengerCallbackDataEXT<'_>,
    user_data: *mut c_void,
) -> vk::Bool32 {
    // SAFETY: `user_data` is the `ValidationLog` of `messenger`, which the instance keeps until the messenger is gone.
    let log = unsafe { user_data.cast::<ValidationLog>().as_ref() };
    // SAFETY: the layer passes data that is valid during the call, or null.
    let data = unsafe { data.as_ref() };
    if let (Some(log), Some(data)) = (log, data) {
        let severity = if severity.contains(vk::DebugUtilsMessageSeverityFlagsEXT::ERROR) {
            Severity::Error
        } else {
            Severity::Warning
        };
        // SAFETY: both are null or strings that live as long as `data`.
        let (rule, text) = unsafe { (string(data.p_message_id_name), string(data.p_message)) };
        log.add(ValidationMessage { severity, rule, text });
    }
    vk::FALSE
}

/// # Safety
/// `text` is null or a C string that lives during the call.
unsafe fn string(text: *const std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and a C string by this function's contract.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callback_keeps_what_it_is_told_up_to_a_bound() {
        let log = ValidationLog::default();
        let info = messenger(&log);
        let data =
            vk::DebugUtilsMessengerCallbackDataEXT::default().message(c"bad").message_id_name(c"VUID-1");
        let call = info.pfn_user_callback.unwrap();
        for _ in 0..KEPT + 5 {
            // SAFETY: `data` and the messages behind `user_data` outlive the call.
            let go_on = unsafe {
                call(
                    vk::DebugUtilsMessageSeverityFlagsEXT::ERROR,
                    vk::DebugUtilsMessageTypeFlagsEXT::VALIDATION,
                    &data,
                    info.p_user_data,
                )
            };
            assert_eq!(go_on, vk::FALSE);
        }
        assert_eq!((log.count(), log.messages().len()), (KEPT + 5, KEPT));
        assert_eq!(log.messages()[0].to_string(), "validation error [VUID-1]: bad");
    }
}
