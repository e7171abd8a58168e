//! Processes of suites: how they are started, and what they do.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{cache, tune};

/// How a process is started that calls [`work`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Worker {
    /// The program.
    pub program: PathBuf,
    /// Its first arguments.
    pub args: Vec<OsString>,
}

impl Worker {
    /// The program `program`, which with `args` and what follows them calls [`work`] with what follows.
    pub fn new(program: impl Into<PathBuf>, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self { program: program.into(), args: args.into_iter().map(Into::into).collect() }
    }

    /// Starts a process that does `what`.
    pub(crate) fn start(&self, what: &[&str]) -> std::io::Result<Child> {
        self.command(what).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()
    }

    /// The command of a process that does `what`.
    pub(crate) fn command(&self, what: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).args(what);
        command
    }
}

/// What a process of a suite does, by its arguments: for programs that suites start.
///
/// # Errors
/// What went wrong, or was found wrong.
pub fn work(args: &[String]) -> Result<(), String> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = cache::work(&args).or_else(|| tune::work(&args));
    done.unwrap_or_else(|| Err(format!("there is no work `{}`", args.join(" "))))
}
