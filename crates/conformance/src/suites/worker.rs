//! Worker processes of the suites.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Command that starts a process which calls [`work`](super::work).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Worker {
    /// The program.
    pub program: PathBuf,
    /// Its leading arguments.
    pub args: Vec<OsString>,
}

impl Worker {
    /// Creates the command `program` with `args`. The process must pass all arguments after `args` to [`work`](super::work).
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
