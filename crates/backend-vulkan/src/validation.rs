//! The messages of the validation layer, collected so that tests can check them.

use std::ffi::{CStr, c_void};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use ash::vk;

/// Maximum number of messages kept; further ones are only counted.
const KEPT: usize = 1000;

/// The severity of a validation message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// A likely mistake, or slow use of the API.
    Warning,
    /// A violation of the Vulkan specification.
    Error,
}

/// A warning or error of the validation layer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ValidationMessage {
    /// The severity.
    pub severity: Severity,
    /// The layer's name for the rule, such as a `VUID-…`; may be empty.
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

/// The messages of the validation layer, up to a maximum number. Outlives the backend, so that it also has the messages
/// about the destruction of the device.
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

    /// Returns the first thousand messages.
    pub fn messages(&self) -> Vec<ValidationMessage> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).messages.clone()
    }

    /// Returns the total number of messages.
    pub fn count(&self) -> usize {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).count
    }
}

/// Returns the messenger that adds every warning and error about this crate's use of the API to `log`. Messages of type
/// `GENERAL`, which the loader emits, are left out.
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
/// Must be called with a `data` that is null or valid during the call, and with the `user_data` that [`messenger`] set,
/// which must be alive until the messenger is destroyed.
unsafe extern "system" fn callback(
    severity: vk::DebugUtilsMessageSeverityFlagsEXT,
    _: vk::DebugUtilsMessageTypeFlagsEXT,
    data: *const vk::DebugUtilsMessengerCallbackDataEXT<'_>,
    user_data: *mut c_void,
) -> vk::Bool32 {
    // SAFETY: `user_data` is the `ValidationLog` of `messenger`, which the instance keeps until the messenger is
    // destroyed.
    let log = unsafe { user_data.cast::<ValidationLog>().as_ref() };
    // SAFETY: the layer passes null or data that is valid during the call.
    let data = unsafe { data.as_ref() };
    if let (Some(log), Some(data)) = (log, data) {
        let severity = if severity.contains(vk::DebugUtilsMessageSeverityFlagsEXT::ERROR) {
            Severity::Error
        } else {
            Severity::Warning
        };
        // SAFETY: each is null or a string that lives as long as `data`.
        let (rule, text) = unsafe { (string(data.p_message_id_name), string(data.p_message)) };
        log.add(ValidationMessage { severity, rule, text });
    }
    vk::FALSE
}

/// # Safety
/// `text` must be null or a C string that is valid during the call.
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
