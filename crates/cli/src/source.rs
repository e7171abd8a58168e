//! Input files: bounded reading, and kernel texts with their problems.

use std::fmt;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use fulgurite::{Code, Error, VerifiedKernel, printable, render};

/// Maximum size of a kernel text in bytes.
const MAX_TEXT_BYTES: u64 = 1 << 28;

/// A text file.
pub(crate) struct Source {
    /// The path, escaped for printing.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A kernel text with problems. `Display` shows each in the source.
#[derive(Debug)]
pub(crate) struct InvalidKernel {
    pub(crate) error: Error,
    shown: String,
}

impl fmt::Display for InvalidKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl std::error::Error for InvalidKernel {}

impl Source {
    /// Reads the file of a kernel text.
    ///
    /// # Errors
    /// `FG0701` if it cannot be read, `FG0703` if it is not UTF-8 text.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        Ok(Self { name: shown(path), text: read_text(path, MAX_TEXT_BYTES)? })
    }

    /// Parses and verifies the kernel.
    ///
    /// # Errors
    /// Every problem found.
    pub(crate) fn kernel(&self) -> Result<Arc<VerifiedKernel>, InvalidKernel> {
        fulgurite::parse(&self.text).map_err(|error| self.invalid(error))
    }

    /// Returns the problems of this text.
    pub(crate) fn invalid(&self, error: Error) -> InvalidKernel {
        let shown = match &error {
            Error::Invalid(all) => {
                let each: Vec<_> = all.all().iter().map(|one| render(one, &self.text, &self.name)).collect();
                each.join("\n\n")
            }
            other => format!("{}: {other}", self.name),
        };
        InvalidKernel { error, shown }
    }
}

/// Reads and verifies the kernel of a text file.
///
/// # Errors
/// Those of [`Source::read`], or [`InvalidKernel`].
pub(crate) fn kernel(path: &Path) -> anyhow::Result<Arc<VerifiedKernel>> {
    Ok(Source::read(path)?.kernel()?)
}

/// Reads the text of a file of at most `most` bytes. The bound also holds for pipes.
///
/// # Errors
/// `FG0701` if the file cannot be read or is larger, `FG0703` if it is not UTF-8 text.
pub(crate) fn read_text(path: &Path, most: u64) -> Result<String, Error> {
    let unreadable = |reason: &dyn fmt::Display| {
        Error::invalid(Code::FileUnreadable, format!("cannot read {}: {reason}", shown(path)))
    };
    let file = std::fs::File::open(path).map_err(|error| unreadable(&error))?;
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > most {
        return Err(unreadable(&format!("file exceeds the limit of {most} bytes")));
    }
    String::from_utf8(bytes)
        .map_err(|_| Error::invalid(Code::BadFileFormat, format!("{} is not UTF-8 text", shown(path))))
}

/// Writes a file.
///
/// # Errors
/// `FG0702`.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    std::fs::write(path, bytes).map_err(|error| {
        Error::invalid(Code::FileUnwritable, format!("cannot write {}: {error}", shown(path)))
    })
}

/// Returns `path` for printing.
pub(crate) fn shown(path: &Path) -> String {
    printable(&path.display().to_string()).into_owned()
}

/// Returns the error of a bad command line.
pub(crate) fn usage(message: impl Into<String>) -> Error {
    Error::invalid(Code::BadUsage, message)
}
