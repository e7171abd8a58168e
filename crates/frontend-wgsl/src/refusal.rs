//! Diagnostics of the importer: places in the WGSL source and constructors.

use fulgurite_spec::{Code, Diagnostic, Location};
use naga::Span;

/// One problem. Boxed because results carry it everywhere.
pub(crate) type Refusal = Box<Diagnostic>;

pub(crate) type Res<T> = Result<T, Refusal>;

/// A WGSL source text with its line starts.
pub(crate) struct Source<'s> {
    pub(crate) text: &'s str,
    /// The byte offset of the start of each line.
    lines: Vec<usize>,
}

impl<'s> Source<'s> {
    pub(crate) fn new(text: &'s str) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, lines: core::iter::once(0).chain(starts).collect() }
    }

    /// Returns the place of a span, [`Location::Unknown`] for an undefined one.
    pub(crate) fn place(&self, span: Span) -> Location {
        let Some(range) = span.to_range() else { return Location::Unknown };
        let start = range.start.min(self.text.len());
        let line = self.lines.partition_point(|at| *at <= start);
        let line_start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(line_start..start).unwrap_or_default();
        Location::Text {
            start: start as u32,
            end: range.end.min(self.text.len()).max(start) as u32,
            line: line as u32,
            column: before.chars().count() as u32 + 1,
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
    }
}
