//! Rules for names.

use fulgurite_spec::limits::MAX_NAME_BYTES;

/// Returns whether `name` is a valid name after `%` or `@`: 1 to 128 ASCII letters, digits, `_` or `.`.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'))
}

/// Returns whether `name` is a valid name of a region: up to 128 bytes, without quotes, backslashes or control
/// characters.
pub(crate) fn is_region_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES && !name.contains(|c: char| c.is_control() || matches!(c, '"' | '\\'))
}
