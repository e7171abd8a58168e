//! Rendering of diagnostics with the source line they point at.

use std::borrow::Cow;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use fulgurite_spec::{Diagnostic, Location, Severity};

/// Renders `diagnostic` for a terminal: the source line with the place marked, notes, and the fix.
///
/// `source` is the text that was parsed and `path` its name. A diagnostic that does not point into text prints
/// its own location instead.
pub fn render(diagnostic: &Diagnostic, source: &str, path: &str) -> String {
    let id = diagnostic.code.to_string();
    let level = match diagnostic.severity {
        Severity::Warning => Level::WARNING,
        Severity::Error => Level::ERROR,
    };
    let title = level.primary_title(diagnostic.message.as_str()).id(id.as_str());
    let mut group = match span(diagnostic.location, source) {
        Some(span) => {
            let mut snippet =
                Snippet::source(source).path(path).annotation(AnnotationKind::Primary.span(span));
            for (location, note) in &diagnostic.notes {
                if let Some(span) = self::span(*location, source) {
                    snippet = snippet.annotation(AnnotationKind::Context.span(span).label(note.as_str()));
                }
            }
            title.element(snippet)
        }
        None => title.elements(core::iter::empty::<annotate_snippets::Element<'_>>()),
    };
    if let Location::Rust(location) = diagnostic.location {
        group = group.element(Level::NOTE.message(format!("built at {location}")));
    }
    for (location, note) in &diagnostic.notes {
        match location {
            Location::Text { .. } if !source.is_empty() => {}
            Location::Rust(place) => group = group.element(Level::NOTE.message(format!("{note} ({place})"))),
            _ => group = group.element(Level::NOTE.message(note.as_str())),
        }
    }
    group = group.element(Level::HELP.message(diagnostic.fix_or_explanation()));
    printable(&Renderer::plain().render(&[group]).to_string()).into_owned()
}

/// Escapes control characters of `text`, and characters that change its direction, for printing on a terminal. Line
/// ends and tabs stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    let unsafe_char = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(unsafe_char) {
        return Cow::Borrowed(text);
    }
    let escaped = text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        if unsafe_char(c) {
            escaped.extend(c.escape_unicode())
        } else {
            escaped.push(c)
        }
        escaped
    });
    Cow::Owned(escaped)
}

/// The byte range of a text location, if it lies within `source` on character boundaries.
fn span(location: Location, source: &str) -> Option<core::ops::Range<usize>> {
    let Location::Text { start, end, .. } = location else { return None };
    let range = start as usize..(end as usize).max(start as usize);
    source.get(range.clone()).map(|_| range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fulgurite_spec::Code;

    #[test]
    fn the_source_line_and_the_fix_are_shown() {
        let source = "fulgurite 1\nkernel @k workgroup(1, 1, 1) {\n  %a = add %b, 1u32\n}\n";
        let start = source.find("%b").unwrap() as u32;
        let location = Location::Text { start, end: start + 2, line: 3, column: 12 };
        let text =
            render(&Diagnostic::new(Code::UnknownName, location, "`%b` is not defined"), source, "k.fg");
        assert!(text.contains("error[FG0104]: `%b` is not defined"), "{text}");
        assert!(
            text.contains("k.fg:3:12") && text.contains("%a = add %b, 1u32") && text.contains("^^"),
            "{text}"
        );
        assert!(text.contains("help: The name is not defined"), "{text}");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let source = "fulgurite 1\n// \u{1b}[2J\u{202e}\nkernel @k \u{1b}[31m\n";
        let start = source.rfind('\u{1b}').unwrap() as u32;
        let location = Location::Text { start, end: start + 1, line: 3, column: 11 };
        let text =
            render(&Diagnostic::new(Code::Syntax, location, "found `\u{1b}]0;x\u{7}`"), source, "\u{9b}k.fg");
        assert!(!text.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}']), "{text:?}");
        assert!(text.contains("kernel @k") && text.contains("^"), "{text}");
        assert_eq!(printable("a\tb\né"), "a\tb\né");
        assert_eq!(printable("a\r\u{1b}b"), "a\\u{d}\\u{1b}b");
    }

    #[test]
    fn a_place_outside_the_source_is_no_panic() {
        let location = Location::Text { start: 90, end: 95, line: 9, column: 1 };
        let text = render(&Diagnostic::new(Code::Syntax, location, "unexpected end"), "short", "k.fg");
        assert!(text.contains("unexpected end"), "{text}");
    }
}
