//! `fulgurite check`: parses and verifies kernel texts, and warns about what their authors hardly meant.

use std::path::PathBuf;

use fulgurite::{Diagnostics, Error, VerifiedKernel, ir};
use serde_json::{Value, json};

use crate::output::{self, note, say};
use crate::source::{Source, shown};

#[derive(clap::Args)]
#[command(
    after_help = "Exit status: 0 if every kernel is valid, 1 if one is not, 2 if a file cannot be read. Warnings do not \
                  change it without --deny-warnings."
)]
pub(crate) struct Args {
    /// Kernel texts (`.fg`)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Exit with status 1 if there are warnings
    #[arg(long)]
    deny_warnings: bool,
    /// Print the problems as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Returns the warnings about a kernel, if there are any, in the form of an error.
fn warnings(kernel: &VerifiedKernel) -> Option<Error> {
    Diagnostics::check(ir::lint(kernel)).err().map(Error::Invalid)
}

/// Checks every file and returns whether all kernels are valid, and without warnings if these are denied.
///
/// # Errors
/// The error of the first file that cannot be read, after all others were checked.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let (mut all, mut unreadable, mut is_valid) = (Vec::new(), None, true);
    for path in &args.files {
        let read = Source::read(path);
        let (kernel, problems) = match read.as_ref().map(Source::kernel) {
            Ok(Ok(kernel)) => {
                if !args.json {
                    say!("{}: kernel `{}` is valid", shown(path), kernel.name)?;
                }
                let warnings = warnings(&kernel);
                is_valid &= warnings.is_none() || !args.deny_warnings;
                if let (Some(warnings), Ok(source), false) = (&warnings, &read, args.json) {
                    note!("{}\n", source.invalid(warnings.clone()));
                }
                (Some(kernel.name.clone()), warnings)
            }
            Ok(Err(invalid)) => {
                is_valid = false;
                if !args.json {
                    note!("{invalid}\n");
                }
                (None, Some(invalid.error))
            }
            Err(error) => {
                // The first is the error of the command.
                if unreadable.is_some() && !args.json {
                    output::note_text(&error.to_string());
                }
                unreadable.get_or_insert(error.clone());
                (None, Some(error.clone()))
            }
        };
        let mut problems = problems.as_ref().map(output::of_error);
        let diagnostics =
            problems.as_mut().map_or_else(|| json!([]), |problems| problems["diagnostics"].take());
        all.push(json!({ "file": path.display().to_string(), "kernel": kernel, "diagnostics": diagnostics }));
    }
    if args.json {
        output::json(&json!({ "files": Value::Array(all) }))?;
        // The error is in the list.
        if unreadable.is_some() {
            return Err(output::Reported.into());
        }
    }
    unreadable.map_or(Ok(is_valid), |error| Err(error.into()))
}
