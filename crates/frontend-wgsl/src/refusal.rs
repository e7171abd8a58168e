//! Diagnostics of the importer: places in the WGSL source and constructors.

use fulgurite_spec::{Code, Diagnostic, Location};
use naga::Span;

/// One problem. Boxed because results carry it everywhere.
pub(crate) type Refusal = Box<Diagnostic>;

pub(crate) type Res<T> = Result<T, Refusal>;

/// Bytes between the positions whose number of characters is kept, so that places in long lines are found fast.
const STRIDE: usize = 64;

/// A WGSL source text with its line starts.
pub(crate) struct Source<'s> {
    pub(crate) text: &'s str,
    /// The byte offset of the start of each line.
    lines: Vec<usize>,
    /// The number of characters before each multiple of [`STRIDE`] bytes.
    characters: Vec<u32>,
}

/// Returns the number of characters that begin in some bytes of UTF-8.
fn begun(bytes: &[u8]) -> u32 {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count() as u32
}

impl<'s> Source<'s> {
    pub(crate) fn new(text: &'s str) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let mut characters = vec![0];
        for chunk in text.as_bytes().chunks(STRIDE) {
            characters.push(characters[characters.len() - 1] + begun(chunk));
        }
        Self { text, lines: core::iter::once(0).chain(starts).collect(), characters }
    }

    /// Returns the number of characters before a byte offset.
    fn characters_before(&self, at: usize) -> u32 {
        let chunk = at / STRIDE;
        self.characters[chunk] + begun(&self.text.as_bytes()[chunk * STRIDE..at])
    }

    /// Returns the place of a span, [`Location::Unknown`] for an undefined one.
    pub(crate) fn place(&self, span: Span) -> Location {
        let Some(range) = span.to_range() else { return Location::Unknown };
        let start = range.start.min(self.text.len());
        let line = self.lines.partition_point(|at| *at <= start);
        let line_start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        Location::Text {
            start: start as u32,
            end: range.end.min(self.text.len()).max(start) as u32,
            line: line as u32,
            column: self.characters_before(start) - self.characters_before(line_start) + 1,
        }
    }
}

/// Returns the error of a construct that has no equivalent: `what` names it, `fix` says what to write instead.
pub(crate) fn unsupported(at: Location, what: impl Into<String>, fix: impl Into<String>) -> Refusal {
    Box::new(Diagnostic::new(Code::WgslUnsupported, at, what).with_fix(fix))
}

/// Returns the error of a resource that kernels cannot bind.
pub(crate) fn resource(at: Location, what: impl Into<String>, fix: impl Into<String>) -> Refusal {
    Box::new(Diagnostic::new(Code::WgslResource, at, what).with_fix(fix))
}

/// Returns the error of a shader that exceeds a limit of the importer.
pub(crate) fn too_large(at: Location, what: impl Into<String>) -> Refusal {
    Box::new(Diagnostic::new(Code::WgslTooLarge, at, what))
}

/// Returns the error of a broken assumption of the importer.
pub(crate) fn internal(at: Location, what: impl Into<String>) -> Refusal {
    Box::new(Diagnostic::new(Code::Internal, at, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_start_at_one() {
        let source = Source::new("ab\nñc d\n");
        let place = |from, to| match source.place(Span::new(from, to)) {
            Location::Text { line, column, .. } => (line, column),
            _ => (0, 0),
        };
        assert_eq!(place(0, 1), (1, 1));
        assert_eq!(place(3, 5), (2, 1));
        assert_eq!(place(7, 8), (2, 4));
        assert_eq!(source.place(Span::UNDEFINED), Location::Unknown);
        let long = format!("{}\n{}x", "é".repeat(500), "ü".repeat(300));
        let place = Source::new(&long).place(Span::new(1001 + 600, 1001 + 601));
        assert!(matches!(place, Location::Text { line: 2, column: 301, .. }), "{place:?}");
        let end = Source::new("ab").place(Span::new(2, 9));
        assert!(matches!(end, Location::Text { start: 2, end: 2, line: 1, column: 3 }), "{end:?}");
    }
}
