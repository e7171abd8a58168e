//! Diagnostics with the source line they point at.

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
    Renderer::plain().render(&[group]).to_string()
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
    fn a_place_outside_the_source_is_no_panic() {
        let location = Location::Text { start: 90, end: 95, line: 9, column: 1 };
        let text = render(&Diagnostic::new(Code::Syntax, location, "unexpected end"), "short", "k.fg");
        assert!(text.contains("unexpected end"), "{text}");
    }
}
