//! `fulgurite fmt`: prints kernel texts in their canonical form, in place.
//!
//! The kernel representation has no comments and no spelling of literals: both are carried over from the text. A text whose
//! comments cannot be placed is refused unless the caller allows their loss.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fulgurite::Error;
use fulgurite::ir::text::{self, Kept};
use fulgurite::spec::Location;

use crate::output;
use crate::source::{Source, shown, usage_with, write};

#[derive(clap::Args)]
#[command(
    after_help = "Comments are kept, and literals stay as they are written. Where the canonical form changes a name, comments \
    in the kernel have no place in it: such a file is refused unless --drop-comments is given.\n\n\
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
    /// Remove the comments after the first line of a kernel
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
    let comment = text.lines().skip(header.len()).position(has_comment).map(|at| header.len() + at);
    let printed = text::print(&kernel);
    let kept = if drop_comments { Kept::Literals } else { Kept::LiteralsAndComments };
    let formatted = match text::keep(text, &printed, kept) {
        Ok(formatted) => formatted,
        // Without a comment, only the spelling of literals is lost.
        Err(_) if comment.is_none() || drop_comments => printed.clone(),
        Err(place) => return Err(unplaced(source, comment, &printed, place).into()),
    };
    // Guards the file against a fault of the printer.
    let again = text::parse(&formatted).ok().map(|kernel| text::print(&kernel));
    (again.as_ref() == Some(&printed)).then_some(()).context(Error::Internal(format!(
        "{}: the printed text does not parse to the same kernel",
        source.name
    )))?;
    let header: String = header.iter().map(|line| format!("{line}\n")).collect();
    Ok(header + &formatted)
}

/// Returns the error of a text whose comments have no place in the canonical form, which changes the token at `place`.
fn unplaced(source: &Source, comment: Option<usize>, printed: &str, place: Location) -> Error {
    let line = match place {
        Location::Text { line, .. } => printed.lines().nth(line as usize - 1).unwrap_or_default().trim(),
        _ => "",
    };
    let message = format!(
        "{}:{}: no place for this comment in the canonical form, which changes names or the order of lines",
        source.name,
        comment.map_or(1, |at| at + 1)
    );
    let fix =
        format!("Write `{line}` as the canonical form does, or remove the comments with `--drop-comments`.");
    usage_with(message, fix)
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
    fn comments_are_kept_or_dropped() {
        let kernel = "fulgurite 1\nkernel @k workgroup(1, 1, 1) {\n}\n";
        let header = "// A kernel.\n\n//   more\n";
        assert_eq!(formatted(&format!("{header}{kernel}"), false).unwrap(), format!("{header}{kernel}"));
        let loose = "fulgurite  1\nkernel @k  workgroup(1,1,1) { // inner\n}\n";
        let kept = "fulgurite 1\nkernel @k workgroup(1, 1, 1) { // inner\n}\n";
        assert_eq!(formatted(loose, false).unwrap(), kept);
        assert_eq!(formatted(loose, true).unwrap(), kernel);
    }

    #[test]
    fn literals_stay_as_they_are_written() {
        let kernel = "fulgurite 1\nkernel @k workgroup(1, 1, 1) {\n  %a = add 0x1Fu32, 010u32\n  \
            %b = mul %a, 3u32\n  %c = mul 0x1.8p1f32, 1e2f32\n}\n";
        assert_eq!(formatted(kernel, false).unwrap(), kernel);
        assert_eq!(formatted(&kernel.replace(", ", " ,  "), true).unwrap(), kernel);
    }

    #[test]
    fn comment_without_a_place_is_refused() {
        let source = Source { name: "k.fg".to_owned(), text: "a\n  // b\n".to_owned() };
        let place = Location::Text { start: 0, end: 1, line: 2, column: 1 };
        let error = unplaced(&source, Some(1), "x\n  y z\n", place).to_string();
        for part in ["FG0704", "k.fg:2", "`y z`", "--drop-comments"] {
            assert!(error.contains(part), "{error}");
        }
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
