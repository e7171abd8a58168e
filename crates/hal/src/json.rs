//! Errors as JSON, for tools: the same codes, messages, places and fixes that people read.
//!
//! The few forms that occur are written by hand, so that backends do not depend on a JSON library.

use fulgurite_spec::{Code, Diagnostic, Location};

use crate::error::Error;

impl Error {
    /// Returns the error as JSON: `{"diagnostics": […]}`, each with `code`, `severity`, `title`, `message`, `location`
    /// (in the kernel's text or the Rust program, or `null`), `notes`, `fix` and `doc`, the address of its documentation.
    ///
    /// Lines and columns count from 1, bytes from 0; `end` is one past the last byte.
    pub fn to_json(&self) -> String {
        let diagnostics = match self {
            Self::Invalid(all) => array(all.all().iter().map(diagnostic)),
            other => array([plain(other)]),
        };
        object([("diagnostics", diagnostics)])
    }
}

fn diagnostic(diagnostic: &Diagnostic) -> String {
    let code = diagnostic.code;
    let notes = diagnostic
        .notes
        .iter()
        .map(|(location, message)| object([("message", string(message)), ("location", place(*location))]));
    object([
        ("code", string(&code.to_string())),
        ("severity", string(diagnostic.severity.name())),
        ("title", string(code.title())),
        ("message", string(&diagnostic.message)),
        ("location", place(diagnostic.location)),
        ("notes", array(notes)),
        ("fix", string(diagnostic.fix_or_explanation())),
        ("doc", string(&doc(code))),
    ])
}

/// An error without a diagnostic of its own.
fn plain(error: &Error) -> String {
    let code = error.code();
    let message = match error {
        Error::Invalid(all) => all.to_string(),
        Error::Unsupported(reason) => reason.to_string(),
        Error::Unavailable { backend, reason, .. } => {
            format!("backend `{backend}` is not available: {reason}")
        }
        Error::Device(error) => error.to_string(),
        Error::Internal(message) => message.clone(),
    };
    object([
        ("code", string(&code.to_string())),
        ("severity", string("error")),
        ("title", string(code.title())),
        ("message", string(&message)),
        ("location", "null".to_owned()),
        ("notes", array([])),
        ("fix", string(code.explanation())),
        ("doc", string(&doc(code))),
    ])
}

fn place(location: Location) -> String {
    match location {
        Location::Text { start, end, line, column } => object([
            ("line", line.to_string()),
            ("column", column.to_string()),
            ("start", start.to_string()),
            ("end", end.to_string()),
        ]),
        Location::Rust(at) => object([
            ("file", string(at.file())),
            ("line", at.line().to_string()),
            ("column", at.column().to_string()),
        ]),
        _ => "null".to_owned(),
    }
}

/// An object of fields whose values are JSON.
fn object<const N: usize>(fields: [(&str, String); N]) -> String {
    let fields: Vec<String> = fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// An array of elements that are JSON.
fn array(elements: impl IntoIterator<Item = String>) -> String {
    let elements: Vec<String> = elements.into_iter().collect();
    format!("[{}]", elements.join(","))
}

/// A string, escaped as RFC 8259, section 7, demands.
fn string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            '\0'..='\u{1f}' => json.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

/// The heading of `code` in the generated page.
fn doc(code: Code) -> String {
    let heading = format!("{code}: {}", code.title()).to_lowercase();
    let anchor: String = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect();
    format!("{}/blob/main/docs/diagnostics.md#{anchor}", env!("CARGO_PKG_REPOSITORY"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::DeviceError;

    #[test]
    fn text_has_its_place_and_its_fix() {
        let text = "fulgurite 1\nkernel @k workgroup(1, 1, 1) {\n  %a = add %b, 1u32\n}\n";
        let error = Error::from(fulgurite_ir::text::parse(text).unwrap_err());
        let json: serde_json::Value = serde_json::from_str(&error.to_json()).unwrap();
        let first = &json["diagnostics"][0];
        assert_eq!((&first["code"], &first["severity"]), (&"FG0104".into(), &"error".into()));
        assert_eq!((&first["location"]["line"], &first["location"]["column"]), (&3.into(), &12.into()));
        let span = text.find("%b").unwrap();
        assert_eq!(
            (&first["location"]["start"], &first["location"]["end"]),
            (&span.into(), &(span + 2).into())
        );
        assert!(first["fix"].as_str().unwrap().contains("not defined"), "{first}");
        assert!(first["doc"].as_str().unwrap().ends_with("diagnostics.md#fg0104-unknown-name"), "{first}");
    }

    #[test]
    fn every_kind_of_error_has_an_entry() {
        for error in [
            Error::unsupported("a", "b"),
            Error::unavailable("gpu", "no driver"),
            DeviceError::OutOfMemory { bytes: 7 }.into(),
            Error::Internal("broken".to_owned()),
        ] {
            let json: serde_json::Value = serde_json::from_str(&error.to_json()).unwrap();
            let entry = &json["diagnostics"][0];
            assert_eq!(entry["code"], error.code().to_string());
            assert!(error.to_string().contains(entry["message"].as_str().unwrap()), "{error}: {entry}");
        }
    }

    #[test]
    fn strings_are_escaped_as_serde_json_does() {
        let ascii: String = (0..=0x7f).map(char::from).collect();
        for text in [ascii.as_str(), "", "µ × 2³² \u{1f600} \u{2028} \u{fffd}"] {
            assert_eq!(string(text), serde_json::to_string(text).unwrap());
        }
    }

    #[test]
    fn every_address_is_a_heading_of_the_page() {
        let page = include_str!("../../../docs/diagnostics.md");
        for code in Code::ALL {
            let heading = format!("### {code}: {}", code.title());
            assert!(page.lines().any(|line| line == heading), "{heading}");
        }
    }
}
