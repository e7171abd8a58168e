//! Errors as JSON, for tools: the same codes, messages, places and fixes that people read.

use fulgurite_spec::{Code, Diagnostic, Location};
use serde::Serialize;

use crate::error::Error;

#[derive(Serialize)]
struct Report<'e> {
    diagnostics: Vec<Entry<'e>>,
}

#[derive(Serialize)]
struct Entry<'e> {
    code: String,
    severity: &'static str,
    title: &'static str,
    message: String,
    location: Option<Place>,
    notes: Vec<Note<'e>>,
    fix: &'e str,
    doc: String,
}

#[derive(Serialize)]
struct Note<'e> {
    message: &'e str,
    location: Option<Place>,
}

/// Lines and columns count from 1, bytes from 0; `end` is one past the last byte.
#[derive(Serialize)]
#[serde(untagged)]
enum Place {
    Text { line: u32, column: u32, start: u32, end: u32 },
    Rust { file: &'static str, line: u32, column: u32 },
}

impl Error {
    /// The error as JSON: `{"diagnostics": […]}`, each with `code`, `severity`, `title`, `message`, `location` (in the
    /// kernel's text or the Rust program, or `null`), `notes`, `fix` and `doc`, the address of its documentation.
    pub fn to_json(&self) -> String {
        let diagnostics = match self {
            Self::Invalid(all) => all.all().iter().map(entry).collect(),
            other => vec![plain(other)],
        };
        // Strings and numbers only: nothing in it can fail.
        serde_json::to_string(&Report { diagnostics }).unwrap_or_default()
    }
}

fn entry(diagnostic: &Diagnostic) -> Entry<'_> {
    Entry {
        code: diagnostic.code.to_string(),
        severity: diagnostic.severity.name(),
        title: diagnostic.code.title(),
        message: diagnostic.message.clone(),
        location: place(diagnostic.location),
        notes: diagnostic
            .notes
            .iter()
            .map(|(location, message)| Note { message, location: place(*location) })
            .collect(),
        fix: diagnostic.fix_or_explanation(),
        doc: doc(diagnostic.code),
    }
}

fn plain(error: &Error) -> Entry<'static> {
    let code = error.code();
    let message = match error {
        Error::Invalid(all) => all.to_string(),
        Error::Unsupported(reason) => reason.to_string(),
        Error::Unavailable { backend, reason } => format!("backend `{backend}` is not available: {reason}"),
        Error::Device(error) => error.to_string(),
        Error::Internal(message) => message.clone(),
    };
    Entry {
        code: code.to_string(),
        severity: "error",
        title: code.title(),
        message,
        location: None,
        notes: Vec::new(),
        fix: code.explanation(),
        doc: doc(code),
    }
}

fn place(location: Location) -> Option<Place> {
    match location {
        Location::Text { start, end, line, column } => Some(Place::Text { line, column, start, end }),
        Location::Rust(at) => Some(Place::Rust { file: at.file(), line: at.line(), column: at.column() }),
        _ => None,
    }
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
    fn every_address_is_a_heading_of_the_page() {
        let page = include_str!("../../../docs/diagnostics.md");
        for code in Code::ALL {
            let heading = format!("### {code}: {}", code.title());
            assert!(page.lines().any(|line| line == heading), "{heading}");
        }
    }
}
