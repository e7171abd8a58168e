//! Names of kernels, memory objects and values, from identifiers of WGSL.

use std::collections::HashSet;

use fulgurite_spec::limits::MAX_NAME_BYTES;

/// Room for a suffix, such as that of a view.
const MAX_BASE: usize = MAX_NAME_BYTES - 32;

/// Returns an identifier in ASCII: other characters become their numbers. Long identifiers are cut.
pub(crate) fn ascii(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() || c == '_' {
            text.push(c);
        } else {
            text.push_str(&format!("u{:x}_", u32::from(c)));
        }
    }
    text.truncate(MAX_BASE);
    if text.is_empty() { "_".to_owned() } else { text }
}

/// Returns the name of a value: an identifier, or the path of a part of one.
pub(crate) fn value(path: &str) -> String {
    let parts: Vec<String> = path.split('.').map(ascii).collect();
    let mut text = parts.join(".");
    text.truncate(MAX_BASE);
    text
}

/// Names in use.
#[derive(Default)]
pub(crate) struct Names(HashSet<String>);

impl Names {
    /// Returns `name`, with a number if it is in use.
    pub(crate) fn unique(&mut self, name: &str) -> String {
        let mut candidate: String = name.chars().take(MAX_NAME_BYTES - 8).collect();
        let base = candidate.clone();
        let mut number = 1;
        while !self.0.insert(candidate.clone()) {
            candidate = format!("{base}.{number}");
            number += 1;
        }
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ascii_short_and_unique() {
        assert_eq!(ascii("größe"), "gruf6_udf_e");
        assert!(ascii(&"x".repeat(500)).len() < MAX_NAME_BYTES);
        assert_eq!(value("é.x"), "ue9_.x");
        let mut names = Names::default();
        assert_eq!([names.unique("a"), names.unique("a"), names.unique("a")], ["a", "a.1", "a.2"]);
    }
}
