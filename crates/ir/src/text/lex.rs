//! The lexer. It never fails: unknown characters become tokens of kind [`TokenKind::Unknown`].

use fulgurite_spec::Location;

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// `%name`; the token's text excludes the `%`.
    Name,
    /// `@name`; the token's text excludes the `@`.
    KernelName,
    /// A keyword, op, type or `true`.
    Word,
    /// A literal that begins with a digit or sign, `inf:` or `nan:`; not validated yet.
    Number,
    /// A string; the token's text excludes the quotes.
    String,
    /// `->`.
    Arrow,
    /// One of `( ) { } [ ] , : = < >`.
    Punctuation,
    /// A character that is not part of any token.
    Unknown,
    /// The end of the text.
    End,
}

/// A token and its location.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'t> {
    pub(super) kind: TokenKind,
    pub(super) text: &'t str,
    pub(super) place: Location,
    /// True for the first token of a line.
    pub(super) first: bool,
}

impl Token<'_> {
    /// Returns whether this is the punctuation `text`.
    pub(super) fn is(&self, text: &str) -> bool {
        self.kind == TokenKind::Punctuation && self.text == text
    }

    /// Returns whether this is the word `text`.
    pub(super) fn is_word(&self, text: &str) -> bool {
        self.kind == TokenKind::Word && self.text == text
    }
}

/// A reader of the tokens of a text.
pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    line: u32,
    column: u32,
    first: bool,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0, line: 1, column: 1, first: true }
    }

    /// Returns the location after everything read so far.
    pub(super) fn here(&self) -> Location {
        let at = self.at as u32;
        Location::Text { start: at, end: at, line: self.line, column: self.column }
    }

    /// Moves to the end of the text.
    pub(super) fn stop(&mut self) {
        self.at = self.text.len();
    }

    /// Returns the next token; [`TokenKind::End`] at the end of the text, repeatedly.
    pub(super) fn next(&mut self) -> Token<'t> {
        self.skip_blanks();
        let rest = &self.text[self.at..];
        let bytes = rest.as_bytes();
        let named = |kind: TokenKind| match word_length(&bytes[1..]) {
            0 => (TokenKind::Unknown, 1),
            length => (kind, length + 1),
        };
        let (kind, length) = match bytes {
            [] => (TokenKind::End, 0),
            [b'%', ..] => named(TokenKind::Name),
            [b'@', ..] => named(TokenKind::KernelName),
            [b'"', rest @ ..] if quoted(rest).is_some() => (TokenKind::String, quoted(rest).unwrap_or(0) + 2),
            [b'-', b'>', ..] => (TokenKind::Arrow, 2),
            [b'0'..=b'9' | b'-', ..] => (TokenKind::Number, number_length(bytes)),
            [b'i', b'n', b'f', b':', rest @ ..] | [b'n', b'a', b'n', b':', rest @ ..] => {
                (TokenKind::Number, 4 + special_length(rest))
            }
            [b'a'..=b'z' | b'A'..=b'Z' | b'_', ..] => (TokenKind::Word, word_length(bytes)),
            [b'(' | b')' | b'{' | b'}' | b'[' | b']' | b',' | b':' | b'=' | b'<' | b'>', ..] => {
                (TokenKind::Punctuation, 1)
            }
            _ => (TokenKind::Unknown, rest.chars().next().map_or(0, char::len_utf8)),
        };
        let (start, line, column, first) = (self.at, self.line, self.column, self.first);
        match kind {
            // Only these may contain multi-byte characters.
            TokenKind::String | TokenKind::Unknown => self.advance(length),
            _ => self.advance_ascii(length),
        }
        self.first = false;
        let quote = usize::from(kind == TokenKind::String);
        let sigil = quote.max(usize::from(matches!(kind, TokenKind::Name | TokenKind::KernelName)));
        Token {
            kind,
            text: &self.text[start + sigil..self.at - quote],
            place: Location::Text { start: start as u32, end: self.at as u32, line, column },
            first: first || kind == TokenKind::End,
        }
    }

    fn skip_blanks(&mut self) {
        loop {
            let bytes = &self.text.as_bytes()[self.at..];
            match bytes {
                [b'\n', ..] => {
                    self.at += 1;
                    self.line = self.line.saturating_add(1);
                    self.column = 1;
                    self.first = true;
                }
                [b' ' | b'\t' | b'\r', ..] => {
                    let blank = |b: &&u8| matches!(b, b' ' | b'\t' | b'\r');
                    self.advance_ascii(bytes.iter().take_while(blank).count());
                }
                [b'/', b'/', ..] => {
                    self.advance(bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len()));
                }
                _ => return,
            }
        }
    }

    /// Skips `length` bytes within a line, which must be ASCII.
    fn advance_ascii(&mut self, length: usize) {
        self.column = self.column.saturating_add(length as u32);
        self.at += length;
    }

    /// Skips `length` bytes within a line.
    fn advance(&mut self, length: usize) {
        let passed = &self.text[self.at..self.at + length];
        self.column = self.column.saturating_add(passed.chars().count() as u32);
        self.at += length;
    }
}

/// True for each byte that is an ASCII letter, a digit, `_` or `.`.
const IN_WORDS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let known = byte as u8;
        table[byte] = known.is_ascii_alphanumeric() || known == b'_' || known == b'.';
        byte += 1;
    }
    table
};

/// Returns the number of leading bytes that may be part of a word.
fn word_length(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| IN_WORDS[usize::from(**b)]).count()
}

/// Returns the number of leading bytes that may follow `inf:` or `nan:`: those of a word, and colons.
fn special_length(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| IN_WORDS[usize::from(**b)] || **b == b':').count()
}

/// Returns the number of bytes before the closing quote, if it is on the same line.
fn quoted(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|b| matches!(b, b'"' | b'\n')).filter(|end| bytes[*end] == b'"')
}

/// Returns the length of the number at the start of `bytes`: letters, digits, `_`, `.`, `:`, and a sign at the front
/// or after the letter of an exponent.
fn number_length(bytes: &[u8]) -> usize {
    let sign = usize::from(bytes.first() == Some(&b'-'));
    let exponents: &[u8] = if matches!(bytes.get(sign..), Some([b'0', b'x', ..])) { b"pP" } else { b"eE" };
    let mut length = sign;
    while let Some(byte) = bytes.get(length) {
        let after_exponent = length > sign && exponents.contains(&bytes[length - 1]);
        match byte {
            b'-' | b'+' if after_exponent => {}
            b'_' | b'.' | b':' => {}
            _ if byte.is_ascii_alphanumeric() => {}
            _ => break,
        }
        length += 1;
    }
    length
}
