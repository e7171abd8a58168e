//! Printing of results and errors: text, escaped for a terminal, or JSON. Results go to standard output, everything else
//! to standard error.

use std::io::{self, Write as _};

use fulgurite::{Error, printable};
use serde_json::{Value, json};

use crate::source::InvalidKernel;

/// Prints a line of a result, formatted: see [`line`].
macro_rules! say {
    ($($text:tt)*) => { crate::output::line(&format!($($text)*)) };
}

/// Prints a note, formatted: see [`note_text`].
macro_rules! note {
    ($($text:tt)*) => { crate::output::note_text(&format!($($text)*)) };
}

pub(crate) use {note, say};

/// An error that was printed with the results. The command only has to exit with its status.
#[derive(Debug)]
pub(crate) struct Reported;

impl std::fmt::Display for Reported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("see the results")
    }
}

impl std::error::Error for Reported {}

/// Prints a line of a result, or several.
///
/// # Errors
/// The error of standard output.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    raw(format!("{}\n", printable(text)).as_bytes())
}

/// Prints a result as JSON.
///
/// # Errors
/// The error of standard output.
pub(crate) fn json(value: &Value) -> anyhow::Result<()> {
    raw(format!("{value:#}\n").as_bytes())
}

/// Writes `bytes` to standard output.
///
/// # Errors
/// The error of standard output.
pub(crate) fn raw(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Prints a note to standard error. If it cannot be written, nobody can be told.
pub(crate) fn note_text(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", printable(text));
}

/// Returns whether the reader of standard output is gone, as in `fulgurite … | head`.
pub(crate) fn is_closed(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints the error of a command: as text to standard error, or as JSON in place of the result.
pub(crate) fn error(error: &anyhow::Error, as_json: bool) {
    if error.is::<Reported>() {
        return;
    }
    if as_json {
        // If standard output is broken, nobody can be told.
        let _ = json(&diagnostics(error));
    } else {
        note_text(&format!("{error:#}"));
    }
}

/// Returns an error in the form of [`Error::to_json`]; the code of an error without one is `null`.
fn diagnostics(error: &anyhow::Error) -> Value {
    let of_kernel = error.downcast_ref::<InvalidKernel>().map(|invalid| &invalid.error);
    match of_kernel.or_else(|| error.downcast_ref::<Error>()) {
        Some(error) => of_error(error),
        None => {
            let message = format!("{error:#}");
            let one = json!({ "code": null, "severity": "error", "message": message });
            json!({ "diagnostics": [one] })
        }
    }
}

/// Returns `{"diagnostics": […]}`.
pub(crate) fn of_error(error: &Error) -> Value {
    serde_json::from_str(&error.to_json()).unwrap_or_else(|_| json!({ "diagnostics": [] }))
}
