//! `fulgurite fmt`: prints kernel texts in their canonical form, in place.
//!
//! The kernel representation has no comments. Those before the first line of a text are kept as they are; a text with
//! others is refused unless the caller allows their loss.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fulgurite::ir::text;
use fulgurite::{Code, Error};

use crate::output;
use crate::source::{Source, shown, write};

#[derive(clap::Args)]
#[command(
    after_help = "Comments before the first line of a text are kept. The canonical form has no others, so a file with \
    comments in its kernel is refused unless --drop-comments is given.\n\n\
    Exit status: 0 if every file is in canonical form or was rewritten, 1 if --check found one that is not or a text \
    does not parse, 2 if a file cannot be read or written or its comments would be lost."
)]
pub(crate) struct Args {
    /// Kernel texts (`.fg`), rewritten in place
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Change nothing, and list the files that are not in canonical form
    #[arg(long)]
    check: bool,
    /// Remove the comments of a kernel, which the canonical form does not have
    #[arg(long)]
    drop_comments: bool,
}

/// Formats every file and returns whether none differed, or all could be rewritten.
///
/// # Errors
/// The error of the first file that could not be formatted, after all others were.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let (mut is_formatted, mut failed) = (true, None);
    for path in &args.files {
        match format(path, args) {
            Ok(false) => {}
            Ok(true) => {
                output::line(&shown(path))?;
                is_formatted &= !args.check;
            }
            Err(error) => {
                // The last is the error of the command.
                if let Some(earlier) = failed.replace(error) {
                    output::error(&earlier, false);
                }
            }
        }
    }
    failed.map_or(Ok(is_formatted), Err)
}

/// Formats a file and returns whether it differs from its canonical form.
fn format(path: &Path, args: &Args) -> anyhow::Result<bool> {
    let source = Source::read(path)?;
    let canonical = canonical(&source, args.drop_comments)?;
    let differs = canonical != source.text;
    if differs && !args.check {
        write(path, canonical.as_bytes())?;
    }
    Ok(differs)
}

/// Returns the canonical form of a text, after the comments that precede it.
fn canonical(source: &Source, drop_comments: bool) -> anyhow::Result<String> {
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
    let kernel = text::parse(text).map_err(|all| source.invalid(Error::from(all)))?;
    let is_header = |line: &&str| line.trim().is_empty() || line.trim_start().starts_with("//");
    let header: Vec<&str> = text.lines().take_while(is_header).map(str::trim_end).collect();
    let comment = text.lines().enumerate().skip(header.len()).find(|(_, line)| has_comment(line));
    if let (Some((at, _)), false) = (comment, drop_comments) {
        let message = format!(
            "{}:{}: the canonical form has no comments, and this one would be lost; remove them with --drop-comments",
            source.name,
            at + 1
        );
        return Err(Error::invalid(Code::BadUsage, message).into());
    }
    let printed = text::print(&kernel);
    // Guards the file against a fault of the printer.
    let again = text::parse(&printed).ok().map(|kernel| text::print(&kernel));
    (again.as_ref() == Some(&printed)).then_some(()).context(Error::Internal(format!(
        "{}: the printed text does not parse to the same kernel",
        source.name
    )))?;
    let header: String = header.iter().map(|line| format!("{line}\n")).collect();
    Ok(header + &printed)
}

/// Returns whether a comment begins in `line`, outside of strings.
fn has_comment(line: &str) -> bool {
    let mut in_string = false;
    let bytes = line.as_bytes();
    bytes.iter().enumerate().any(|(at, byte)| {
        in_string ^= *byte == b'"';
        !in_string && bytes[at..].starts_with(b"//")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(text: &str, drop_comments: bool) -> Result<String, String> {
        let source = Source { name: "k.fg".to_owned(), text: text.to_owned() };
        canonical(&source, drop_comments).map_err(|error| error.to_string())
    }

    #[test]
    fn leading_comments_are_kept_and_others_refused() {
        let kernel = "fulgurite 1\nkernel @k workgroup(1, 1, 1) {\n}\n";
        let header = "// A kernel.\n\n//   more\n";
        assert_eq!(formatted(&format!("{header}{kernel}"), false).unwrap(), format!("{header}{kernel}"));
        let loose = "fulgurite  1\nkernel @k  workgroup(1,1,1) { // inner\n}\n";
        let error = formatted(loose, false).unwrap_err();
        assert!(
            error.contains("FG0704") && error.contains("k.fg:2") && error.contains("--drop-comments"),
            "{error}"
        );
        assert_eq!(formatted(loose, true).unwrap(), kernel);
    }

    #[test]
    fn slashes_in_strings_are_no_comment() {
        assert!(has_comment("  %a = add %b, 1u32 // sum") && has_comment("//"));
        assert!(has_comment("region \"a\" { // b") && has_comment("region \"a // b\" // c"));
        assert!(!has_comment("region \"a // b\" {") && !has_comment("%a = div %b, %c"));
    }

    #[test]
    fn text_that_does_not_parse_is_shown_in_the_source() {
        let error = formatted("fulgurite 1\nkernel @k workgroup(1, 1, 1) {\n  %a = add %b, 1u32\n}\n", false);
        assert!(error.unwrap_err().contains("k.fg:3:12"));
    }
}
