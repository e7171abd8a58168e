//! Splits kernel text into tokens. Never fails: what it does not know becomes a token of its own kind.

use fulgurite_spec::Location;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// `%name`; the text is without the `%`.
    Name,
    /// `@name`; the text is without the `@`.
    KernelName,
    /// A keyword, op, type or `true`.
    Word,
    /// A literal that begins with a digit or sign, or `inf:…` and `nan:…`; not checked yet.
    Number,
    /// Text in quotes; without them.
    String,
    /// `->`.
    Arrow,
    /// One of `( ) { } [ ] , : = < >`.
    Punctuation,
    /// Something that no text contains.
    Unknown,
    /// The end of the text.
    End,
}

/// A token and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'t> {
    pub(super) kind: TokenKind,
    pub(super) text: &'t str,
    pub(super) place: Location,
    /// Whether it is the first of its line.
    pub(super) first: bool,
}

impl Token<'_> {
    /// Whether this is the punctuation `text`.
    pub(super) fn is(&self, text: &str) -> bool {
        self.kind == TokenKind::Punctuation && self.text == text
    }

    /// Whether this is the word `text`.
    pub(super) fn is_word(&self, text: &str) -> bool {
        self.kind == TokenKind::Word && self.text == text
    }
}

/// The state of reading a text.
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

    /// The place after all that was read.
    pub(super) fn here(&self) -> Location {
        let at = self.at as u32;
        Location::Text { start: at, end: at, line: self.line, column: self.column }
    }

    /// Moves to the end of the text.
    pub(super) fn stop(&mut self) {
        self.at = self.text.len();
    }

    /// The next token; at the end of the text, [`TokenKind::End`] again and again.
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
            // These alone may have characters of several bytes.
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

    /// Skips `length` bytes of one line, each of which is a character.
    fn advance_ascii(&mut self, length: usize) {
        self.column = self.column.saturating_add(length as u32);
        self.at += length;
    }

    /// Skips `length` bytes of one line.
    fn advance(&mut self, length: usize) {
        let passed = &self.text[self.at..self.at + length];
        self.column = self.column.saturating_add(passed.chars().count() as u32);
        self.at += length;
    }
}

/// Whether each byte is a letter, a digit, `_` or `.`.
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

/// The number of leading bytes that may stand in a word.
fn word_length(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| IN_WORDS[usize::from(**b)]).count()
}

/// The same for what follows `inf:` or `nan:`, where more colons may come.
fn special_length(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| IN_WORDS[usize::from(**b)] || **b == b':').count()
}

/// How many bytes stand before the quote that ends a text, if it ends in this line.
fn quoted(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|b| matches!(b, b'"' | b'\n')).filter(|end| bytes[*end] == b'"')
}

/// The length of the number at the start of `bytes`: letters, digits, `.`, `:`, and a sign in front or after an
/// exponent's letter.
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
