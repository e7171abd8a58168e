//! Input files: bounded reading, and kernel texts with their problems.

use std::fmt;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use fulgurite::spec::Location;
use fulgurite::{Code, Diagnostic, Diagnostics, Error, VerifiedKernel, printable, render};
use fulgurite_passes::{PassOptions, PassReport, Refusal};

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

/// Runs passes on a kernel.
///
/// # Errors
/// `FG0403` if the options rule the kernel out, and the problems of a kernel that they make invalid.
pub(crate) fn optimize(
    kernel: &Arc<VerifiedKernel>,
    options: &PassOptions,
) -> Result<(Arc<VerifiedKernel>, PassReport), Error> {
    fulgurite_passes::optimize(kernel, options).map_err(|refusal| match refusal {
        Refusal::Invalid(problems) => Error::Invalid(problems),
        Refusal::Unsupported { needs, have } => Error::unsupported(needs, have),
    })
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

/// Checks that a file can be written, before the work whose result it is to hold. Changes nothing.
///
/// # Errors
/// `FG0702`: the folder does not exist or cannot be written, or the path is a folder, or a file that cannot be written.
pub(crate) fn check_writable(path: &Path) -> Result<(), Error> {
    let unwritable = |reason: &str, fix: Option<String>| {
        let message = format!("cannot write {}: {reason}", shown(path));
        let mut problem = Diagnostic::new(Code::FileUnwritable, Location::Unknown, message);
        problem.fix = fix;
        Error::Invalid(problem.into())
    };
    match path.metadata() {
        Ok(info) if info.is_dir() => {
            return Err(unwritable("it is a folder", Some("Name a file in it.".to_owned())));
        }
        Ok(info) if info.is_file() => {
            let opened = std::fs::OpenOptions::new().append(true).open(path).map(drop);
            return opened.map_err(|error| unwritable(&error.to_string(), None));
        }
        // Opening a pipe or a device may have an effect.
        Ok(_) => return Ok(()),
        Err(_) => {}
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match folder.metadata() {
        Ok(info) if !info.is_dir() => {
            return Err(unwritable(&format!("{} is not a folder", shown(folder)), None));
        }
        Ok(_) => {}
        Err(error) => {
            let fix = (error.kind() == std::io::ErrorKind::NotFound)
                .then(|| format!("Create the folder first: `mkdir -p {}`.", shown(folder)));
            return Err(unwritable(&format!("folder {}: {error}", shown(folder)), fix));
        }
    }
    let probe = tempfile::NamedTempFile::new_in(folder).map(drop);
    probe.map_err(|error| unwritable(&format!("folder {}: {error}", shown(folder)), None))
}

/// Returns `path` for printing.
pub(crate) fn shown(path: &Path) -> String {
    printable(&path.display().to_string()).into_owned()
}

/// Returns the error of a bad command line whose fix no message knows: [`with_command`] names the help to read.
pub(crate) fn usage(message: impl Into<String>) -> Error {
    Error::invalid(Code::BadUsage, message)
}

/// Returns the error of a bad command line, with its fix.
pub(crate) fn usage_with(message: impl Into<String>, fix: impl Into<String>) -> Error {
    let problem = Diagnostic::new(Code::BadUsage, Location::Unknown, message).with_fix(fix);
    Error::Invalid(problem.into())
}

/// Returns the error of a name, such as that of a `kind` of thing, that is none of `known`.
pub(crate) fn unknown_name<N: AsRef<str>>(message: impl Into<String>, kind: &str, known: &[N]) -> Error {
    let mut names: Vec<String> = Vec::new();
    for name in known.iter().map(|name| format!("`{}`", name.as_ref())) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let fix = match &names[..] {
        [] => format!("Omit the argument: there is no {kind} to name."),
        [one] => format!("The only {kind} is {one}."),
        several => format!("Name one of {}.", several.join(", ")),
    };
    usage_with(message, fix)
}

/// Returns `error`; a bad command line without a fix names the help of `command`.
pub(crate) fn with_command(error: Error, command: &str) -> Error {
    let Error::Invalid(problems) = error else { return error };
    let fixed = problems.all().iter().cloned().map(|problem| match (problem.code, &problem.fix) {
        (Code::BadUsage, None) => {
            problem.with_fix(format!("`fulgurite {command} --help` describes the arguments."))
        }
        _ => problem,
    });
    // Never empty, as `problems` is not.
    Diagnostics::check(fixed.collect()).map_or_else(Error::Invalid, |()| Error::Invalid(problems))
}
