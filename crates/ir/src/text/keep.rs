//! Comments and spellings of literals, which a kernel does not have: carries them from a text to its canonical form. It
//! compares the tokens of both and must not change a value: neither the parser nor the printer depends on it.

use std::fmt::Write as _;

use fulgurite_spec::Location;

use super::is_number;
use super::lex::{Lexer, Token, TokenKind};
use super::literal;

/// The parts of a text that [`keep()`](super::keep()) carries to its canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The spelling of literals.
    Literals,
    /// The spelling of literals, and comments.
    LiteralsAndComments,
}

/// A comment of a text, or an empty line beside one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Above<'t> {
    Blank,
    Comment(&'t str),
}

/// A line of a text that has tokens, or what follows the last one.
#[derive(Default)]
struct Line<'t> {
    above: Vec<Above<'t>>,
    tokens: Vec<Token<'t>>,
    /// The comment behind the tokens.
    behind: Option<&'t str>,
}

/// A line of the canonical form.
#[derive(Default)]
struct Target<'t> {
    above: Vec<Above<'t>>,
    behind: Option<&'t str>,
    /// Literals as the text writes them, in order, each with the bytes of the canonical form that it replaces.
    literals: Vec<(usize, usize, &'t str)>,
}

/// Implements [`keep()`](super::keep()).
pub(super) fn keep(text: &str, printed: &str, kept: Kept) -> Result<String, Location> {
    let mut lines = lines(text);
    if let Some(first) = lines.first_mut() {
        first.above.clear();
    }
    sort_declarations(&mut lines);
    let mut targets: Vec<Target<'_>> = printed.lines().map(|_| Target::default()).collect();
    let places = place(&lines, printed, &mut targets)?;
    if kept == Kept::LiteralsAndComments {
        let tail = attach(&lines, &places, &mut targets);
        return Ok(write(printed, &targets, &tail));
    }
    Ok(write(printed, &targets, &[]))
}

/// Splits a text into lines with the comments around their tokens. The last line has no tokens.
fn lines(text: &str) -> Vec<Line<'_>> {
    let (mut lines, mut lexer, mut at) = (Vec::new(), Lexer::new(text), 0);
    let mut line = Line::default();
    loop {
        let token = lexer.next();
        let Location::Text { start, end, .. } = token.place else { break };
        let between = &text[at..start as usize];
        at = end as usize;
        // The end of the text is the first token of a line even if no line ends before it.
        if token.first {
            let (behind, above) = between.split_once('\n').unwrap_or((between, ""));
            let behind = comment(behind);
            if line.tokens.is_empty() {
                line.above.extend(behind.map(Above::Comment));
            } else {
                line.behind = behind;
                lines.push(std::mem::take(&mut line));
            }
            // After the last line feed: the indentation of the token, or a comment that ends the text.
            let (whole, last) =
                above.rsplit_once('\n').map_or((None, above), |(whole, last)| (Some(whole), last));
            let whole = whole.into_iter().flat_map(|whole| whole.split('\n'));
            line.above.extend(whole.map(|one| comment(one).map_or(Above::Blank, Above::Comment)));
            line.above.extend(comment(last).map(Above::Comment));
        }
        if token.kind == TokenKind::End {
            break;
        }
        line.tokens.push(token);
    }
    lines.push(line);
    lines
}

/// Returns the comment in a part of a line that has no tokens.
fn comment(part: &str) -> Option<&str> {
    Some(part.trim()).filter(|comment| !comment.is_empty())
}

/// Sorts declarations by kind, as the canonical form lists them. Other lines stay where they are.
fn sort_declarations(lines: &mut [Line<'_>]) {
    let kind = |line: &Line<'_>| {
        let word = line.tokens.first().filter(|token| token.kind == TokenKind::Word)?;
        ["buffer", "param", "shared", "local", "view", "needs", "require"]
            .iter()
            .position(|k| *k == word.text)
    };
    let Some(first) = lines.iter().position(|line| kind(line).is_some()) else { return };
    let count = lines[first..].iter().take_while(|line| kind(line).is_some()).count();
    lines[first..first + count].sort_by_key(kind);
}

/// Returns the indices of the tokens that both forms have in the same order: all but those in the brackets behind a word,
/// which are attributes or belong to a type.
fn ordered(tokens: &[Token<'_>]) -> Vec<usize> {
    let (mut kept, mut after_word, mut in_brackets) = (Vec::new(), false, false);
    for (index, token) in tokens.iter().enumerate() {
        in_brackets |= after_word && token.is("[");
        if !in_brackets {
            kept.push(index);
        }
        in_brackets &= !token.is("]");
        after_word = token.kind == TokenKind::Word;
    }
    kept
}

/// Finds the tokens of the canonical form in the lines of the text, and the literals that are written differently. Returns
/// the first and the last line of the canonical form with tokens of each line of the text, if there are any.
fn place<'t>(
    lines: &[Line<'t>],
    printed: &str,
    targets: &mut [Target<'t>],
) -> Result<Vec<Option<(usize, usize)>>, Location> {
    let mut written = lines
        .iter()
        .enumerate()
        .flat_map(|(at, line)| ordered(&line.tokens).into_iter().map(move |index| (at, line.tokens[index])));
    let mut places: Vec<Option<(usize, usize)>> = vec![None; lines.len()];
    for (to, canonical) in self::lines(printed).iter().flat_map(|line| {
        ordered(&line.tokens).into_iter().filter_map(|index| Some((row(line)?, line.tokens[index])))
    }) {
        let Some((at, token)) = written.find(|(_, token)| is_same(token, &canonical)) else {
            return Err(canonical.place);
        };
        places[at] = Some((places[at].map_or(to, |(first, _)| first), to));
        if let (true, Location::Text { start, end, .. }) = (token.text != canonical.text, canonical.place)
            && token.kind == TokenKind::Number
            && let Some(target) = targets.get_mut(to)
        {
            target.literals.push((start as usize, end as usize, token.text));
        }
    }
    Ok(places)
}

/// Returns the number of a line among all lines, starting at 0.
fn row(line: &Line<'_>) -> Option<usize> {
    match line.tokens.first()?.place {
        Location::Text { line, .. } => Some(line as usize - 1),
        _ => None,
    }
}

/// Returns whether two tokens mean the same. Names made of digits only are given anew, and a name that would clash has a
/// suffix in the canonical form.
fn is_same(written: &Token<'_>, canonical: &Token<'_>) -> bool {
    let is_same_value = || match (literal::parse(written.text), literal::parse(canonical.text)) {
        (Ok(written), Ok(canonical)) => written == canonical,
        _ => false,
    };
    written.kind == canonical.kind
        && (written.text == canonical.text
            || match written.kind {
                TokenKind::Name if is_number(written.text) => is_number(canonical.text),
                TokenKind::Name => {
                    let rest = canonical.text.strip_prefix(written.text);
                    rest.and_then(|rest| rest.strip_prefix('.')).is_some_and(is_number)
                }
                TokenKind::Number => is_same_value(),
                _ => false,
            })
}

/// Gives each comment to a line of the canonical form. Returns those that follow the last line.
fn attach<'t>(
    lines: &[Line<'t>],
    places: &[Option<(usize, usize)>],
    targets: &mut [Target<'t>],
) -> Vec<Above<'t>> {
    let mut waiting: Vec<Above<'t>> = Vec::new();
    for (line, place) in lines.iter().zip(places) {
        waiting.extend(&line.above);
        let Some((first, last)) = *place else {
            // The canonical form leaves the line out.
            waiting.extend(line.behind.map(Above::Comment));
            continue;
        };
        if waiting.iter().any(|above| *above != Above::Blank) {
            targets[first].above.append(&mut waiting);
        }
        waiting.clear();
        if let Some(behind) = line.behind
            && let Some(earlier) = targets[last].behind.replace(behind)
        {
            targets[last].above.push(Above::Comment(earlier));
        }
    }
    waiting
}

/// Writes the canonical form with the comments and literals of its lines.
fn write(printed: &str, targets: &[Target<'_>], tail: &[Above<'_>]) -> String {
    let (mut out, mut at) = (String::with_capacity(printed.len()), 0);
    let mut previous = "";
    for (line, target) in printed.lines().zip(targets) {
        let depth =
            line.len() - line.trim_start().len() + if line.trim_start().starts_with('}') { 2 } else { 0 };
        // No empty line begins a block.
        let first = target.above.iter().position(|above| *above != Above::Blank || !previous.ends_with('{'));
        write_above(&mut out, &target.above[first.unwrap_or_default()..], depth);
        previous = line;
        let (mut done, end) = (at, at + line.len());
        for (from, to, literal) in &target.literals {
            out.push_str(&printed[done..*from]);
            out.push_str(literal);
            done = *to;
        }
        out.push_str(&printed[done..end]);
        if let Some(behind) = target.behind {
            let _ = write!(out, " {behind}");
        }
        out.push('\n');
        at = end + 1;
    }
    let last = tail.iter().rposition(|above| *above != Above::Blank).map_or(0, |last| last + 1);
    write_above(&mut out, &tail[..last], 0);
    out
}

/// Writes comments on lines of their own, with at most one empty line between them.
fn write_above(out: &mut String, above: &[Above<'_>], depth: usize) {
    for one in above {
        match one {
            Above::Blank if out.is_empty() || out.ends_with("\n\n") => {}
            Above::Blank => out.push('\n'),
            Above::Comment(text) => {
                let _ = writeln!(out, "{:depth$}{text}", "");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{parse, print};

    fn kept(text: &str, kept: Kept) -> String {
        keep(text, &print(&parse(text).unwrap()), kept).unwrap()
    }

    const WRITTEN: &str = "// Header.
fulgurite   1 // version
// Above.
kernel @k workgroup(1, 1, 1) { // opens
  // The count.
  param  %n: u32 // how many

  // The buffers.
  buffer %y: read_write u32[]  // one
  shared %s: u32[ 4 ]


  // The body.
  %5 = add %n, 0xFFu32

  // Two paragraphs

  // in one place.

  %r = if true -> u32 { // chosen
    %r = atomic.add[relaxed, device] %y[0x0u32], 007u32
    // Before a yield.
    yield %r // yielded
  } else { // another
    yield 0x10u32
    // At the end.
  }
  if false { store %y[0u32], 0x1u32 } else {
    // Nothing.
  }
  store %y[0u32], %5
  // Last.
} // closes
// After it.

// The end";

    const FORMATTED: &str = "fulgurite 1 // version
// Above.
kernel @k workgroup(1, 1, 1) { // opens
  // The buffers.
  buffer %y: read_write u32[] // one
  // The count.
  param %n: u32 // how many
  shared %s: u32[4]

  // The body.
  %0 = add %n, 0xFFu32

  // Two paragraphs

  // in one place.

  %r = if true -> u32 { // chosen
    %r.1 = atomic.add %y[0x0u32], 007u32
    // Before a yield.
    yield %r.1 // yielded
  } else { // another
    yield 0x10u32
    // At the end.
  }
  if false {
    store %y[0u32], 0x1u32
  }
  // Nothing.
  store %y[0u32], %0
  // Last.
} // closes
// After it.

// The end
";

    #[test]
    fn comments_and_literals_are_kept() {
        let formatted = kept(WRITTEN, Kept::LiteralsAndComments);
        assert_eq!(formatted, FORMATTED);
        assert_eq!(kept(&formatted, Kept::LiteralsAndComments), formatted, "it stays as it is");
        assert_eq!(print(&parse(&formatted).unwrap()), print(&parse(WRITTEN).unwrap()));
        let count = |text: &str| text.matches("//").count();
        assert_eq!(count(&formatted) + 1, count(WRITTEN), "all but the header");
    }

    #[test]
    fn literals_are_kept_without_comments() {
        let formatted = kept(WRITTEN, Kept::Literals);
        assert!(!formatted.contains("//") && formatted.contains("add %n, 0xFFu32"), "{formatted}");
        let plain = print(&parse(WRITTEN).unwrap());
        assert_eq!(formatted.lines().count(), plain.lines().count());
    }

    #[test]
    fn literals_of_every_kind_are_kept() {
        for literal in ["0x1.8p1f32", "3e0f32", "-0x0p0f32", "nan:0x7fc00001", "-inf:f32", "1.50f32"] {
            let text =
                format!("fulgurite 1\nkernel @k workgroup(1, 1, 1) {{\n  %a = add {literal}, 1.0f32\n}}\n");
            assert_eq!(kept(&text, Kept::Literals), text);
        }
    }

    #[test]
    fn another_kernel_has_no_place() {
        let text = "fulgurite 1\nkernel @k workgroup(1, 1, 1) {\n  %a = add 1u32, 2u32\n}\n";
        let other = text.replace("add 1u32, 2u32", "add 2u32, 1u32");
        let place = keep(text, &other, Kept::Literals).unwrap_err();
        assert!(matches!(place, Location::Text { line: 3, .. }), "{place}");
    }
}
