//! Worker processes of the suites.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{cache, tune};

/// Command that starts a process which calls [`work`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Worker {
    /// The program.
    pub program: PathBuf,
    /// Its leading arguments.
    pub args: Vec<OsString>,
}

impl Worker {
    /// Creates the command `program` with `args`. The process must pass all arguments after `args` to [`work`].
    pub fn new(program: impl Into<PathBuf>, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self { program: program.into(), args: args.into_iter().map(Into::into).collect() }
    }

    /// Starts a process with the worker command `what`.
    pub(crate) fn start(&self, what: &[&str]) -> std::io::Result<Child> {
        self.command(what).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()
    }

    /// Returns the command for a process with the worker command `what`.
    pub(crate) fn command(&self, what: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).args(what);
        command
    }
}

/// Runs the worker command in `args`, for programs that suites start.
///
/// # Errors
/// A message that describes the failure or the violated property.
pub fn work(args: &[String]) -> Result<(), String> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = cache::work(&args).or_else(|| tune::work(&args));
    done.unwrap_or_else(|| Err(format!("unknown worker command `{}`", args.join(" "))))
}
