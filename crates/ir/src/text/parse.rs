//! The parser: tokens, problems, operands and blocks. Header and declarations are in [`declare`], instructions in
//! [`inst`] and [`control`], names in [`scope`].
//!
//! Open blocks are on an explicit stack. After a problem, parsing continues at the next line, and the names that the
//! broken line would define are poisoned: their uses are not reported again.

mod attributes;
mod control;
mod declare;
mod inst;
mod require;
mod scope;
mod suggest;

use std::collections::HashMap;

use fulgurite_spec::limits::{MAX_NESTING, MAX_TEXT_BYTES, MAX_VALUES};
use fulgurite_spec::{Code, Diagnostic, Diagnostics, Literal, Location, Op, Type};

use super::lex::{Lexer, Token, TokenKind};
use super::{is_number, literal};
use crate::kernel::{BlockId, Const, Kernel, Operands, Terminator, ValueDef, ValueId};
use scope::{Meaning, Scopes};

/// The maximum number of problems reported. Later ones are rarely useful.
const MAX_PROBLEMS: usize = 64;

/// The maximum number of operands or results of an instruction, which keeps lists much smaller than the text.
const MAX_LIST: usize = 1 << 16;

/// The maximum length of a message in characters. Messages quote the text, in which a word may be arbitrarily long.
const MAX_MESSAGE: usize = 300;

/// The error of a statement that cannot be parsed further, after a problem was reported.
struct Stop;

type Parsed<T> = Result<T, Stop>;

/// Parses the text of one kernel.
pub(super) fn kernel(text: &str) -> Result<Kernel, Diagnostics> {
    if text.len() > MAX_TEXT_BYTES {
        let message = format!("the text has {} bytes, the limit is {MAX_TEXT_BYTES}", text.len());
        return Err(Diagnostic::new(Code::TextTooLarge, Location::Unknown, message).into());
    }
    let mut parser = Parser::new(text);
    if parser.header().is_ok() {
        parser.blocks();
    }
    Diagnostics::check(parser.problems)?;
    Ok(parser.kernel)
}

/// The role of an open block.
enum Region<'t> {
    /// The kernel body.
    Body,
    /// The first block of an `if`.
    Then { otherwise: BlockId, results: Results<'t> },
    /// The header of a `while`.
    Header { body: BlockId, results: Results<'t> },
    /// The last block of an instruction.
    Last { results: Results<'t> },
    /// A block after a broken line. Its contents are checked and dropped.
    Broken,
}

/// Names to define at the end of the instruction, with their values (`None` if poisoned).
type Results<'t> = Vec<(Token<'t>, Option<ValueId>)>;

struct Open<'t> {
    region: Region<'t>,
    block: BlockId,
    /// The state of the scopes to restore at its end.
    mark: scope::Mark,
    /// The location of its opening brace.
    place: Location,
    /// True if its terminator was read.
    ended: bool,
}

/// An operand: a value, or `None` if poisoned.
#[derive(Clone, Copy)]
struct Operand {
    value: Option<ValueId>,
    place: Location,
}

/// The estimated length of a short line of text in bytes.
const BYTES_OF_A_LINE: usize = 16;

struct Parser<'t> {
    lexer: Lexer<'t>,
    token: Token<'t>,
    /// The end of the last token read.
    last_end: Location,
    kernel: Kernel,
    scopes: Scopes<'t>,
    constants: HashMap<Literal, ValueId>,
    open: Vec<Open<'t>>,
    /// The start of the current statement.
    statement: Location,
    /// Names that the current statement defines.
    pending: Vec<Token<'t>>,
    /// Names that the current statement defines, or may define, in its first block.
    inner: Vec<Token<'t>>,
    problems: Vec<Diagnostic>,
    in_declarations: bool,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Self {
        let mut lexer = Lexer::new(text);
        let last_end = lexer.here();
        let token = lexer.next();
        Self {
            lexer,
            token,
            last_end,
            kernel: Kernel::empty("", [1, 1, 1]),
            // A line defines about one name.
            scopes: Scopes::with_capacity(text.len() / BYTES_OF_A_LINE),
            constants: HashMap::new(),
            open: Vec::new(),
            statement: Location::Unknown,
            pending: Vec::new(),
            inner: Vec::new(),
            problems: Vec::new(),
            in_declarations: true,
        }
    }

    // Tokens.

    fn bump(&mut self) -> Token<'t> {
        let token = self.token;
        self.last_end = self.lexer.here();
        self.token = self.lexer.next();
        token
    }

    fn eat(&mut self, punctuation: &str) -> bool {
        let found = self.token.is(punctuation);
        if found {
            self.bump();
        }
        found
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = self.token.is_word(word);
        if found {
            self.bump();
        }
        found
    }

    fn expect(&mut self, punctuation: &str) -> Parsed<()> {
        if self.eat(punctuation) { Ok(()) } else { Err(self.unexpected(&format!("`{punctuation}`"))) }
    }

    fn expect_word(&mut self, word: &str) -> Parsed<()> {
        if self.eat_word(word) { Ok(()) } else { Err(self.unexpected(&format!("`{word}`"))) }
    }

    fn expect_kind(&mut self, kind: TokenKind, what: &str) -> Parsed<Token<'t>> {
        if self.token.kind == kind { Ok(self.bump()) } else { Err(self.unexpected(what)) }
    }

    /// Returns the location from `start` to the last token read.
    fn place_from(&self, start: Location) -> Location {
        match (start, self.last_end) {
            (Location::Text { start, line, column, .. }, Location::Text { end, .. }) => {
                Location::Text { start, end: end.max(start), line, column }
            }
            _ => start,
        }
    }

    // Problems.

    fn report(&mut self, mut problem: Diagnostic) -> Stop {
        if self.problems.len() < MAX_PROBLEMS {
            if let Some((end, _)) = problem.message.char_indices().nth(MAX_MESSAGE) {
                problem.message.truncate(end);
                problem.message.push('…');
            }
            self.problems.push(problem);
            if self.problems.len() == MAX_PROBLEMS {
                let note = format!("only the first {MAX_PROBLEMS} problems are reported");
                if let Some(last) = self.problems.last_mut() {
                    last.notes.push((Location::Unknown, note));
                }
                self.give_up();
            }
        }
        Stop
    }

    fn error(&mut self, code: Code, place: Location, message: impl Into<String>) -> Stop {
        self.report(Diagnostic::new(code, place, message))
    }

    /// Reports that `wanted` was expected instead of the current token.
    fn unexpected(&mut self, wanted: &str) -> Stop {
        let token = self.token;
        let (place, found) = match token.kind {
            TokenKind::End => (self.last_end, "the end of the text".to_owned()),
            _ if token.first && token.place != self.statement => {
                (self.last_end, "the end of the line".to_owned())
            }
            TokenKind::Name => (token.place, format!("`%{}`", token.text)),
            TokenKind::KernelName => (token.place, format!("`@{}`", token.text)),
            _ => (token.place, format!("`{}`", token.text.escape_debug())),
        };
        self.error(Code::Syntax, place, format!("expected {wanted}, found {found}"))
    }

    /// Stops parsing.
    fn give_up(&mut self) {
        self.lexer.stop();
        self.token = self.lexer.next();
        self.open.clear();
    }

    /// Stops parsing at a list of more than [`MAX_LIST`] items.
    fn check_length(&mut self, length: usize) -> Parsed<()> {
        if length <= MAX_LIST {
            return Ok(());
        }
        Err(self.too_large(self.token.place, format!("more than {MAX_LIST} items in one list")))
    }

    /// Reports an exceeded limit and stops parsing.
    fn too_large(&mut self, place: Location, message: String) -> Stop {
        self.error(Code::TextTooLarge, place, message);
        self.give_up();
        Stop
    }

    /// Skips to the next line or to the closing brace of the block. An opening brace on the way opens a broken block,
    /// so that its contents are not attributed to the enclosing block.
    fn recover(&mut self) {
        while let Some(name) = self.pending.pop() {
            self.scopes.poison(name.text, name.place);
        }
        if self.token.place == self.statement && self.token.kind != TokenKind::End && !self.token.is("{") {
            self.bump();
        }
        loop {
            if self.token.kind == TokenKind::End
                || self.token.is("}")
                || self.token.first && !self.token.is("{")
            {
                return;
            }
            let token = self.bump();
            if token.kind == TokenKind::Name {
                self.inner.push(token);
            }
            if token.is("{") {
                let block = self.kernel.add_block();
                // If it nests too deeply, that was reported and parsing has stopped.
                let _ = self.open_block(block, Region::Broken, token.place);
                for name in std::mem::take(&mut self.inner) {
                    self.scopes.poison(name.text, name.place);
                }
                return;
            }
        }
    }

    // Names and values.

    /// Defines `name` in the innermost scope.
    pub(super) fn define(&mut self, name: Token<'t>, meaning: Meaning) {
        self.check_name(name);
        if let Meaning::Value(value) = meaning
            && !is_number(name.text)
        {
            self.kernel.values[value.index()].name = Some(name.text.into());
        }
        if let Err(earlier) = self.scopes.define(name.text, meaning, name.place) {
            let problem = Diagnostic::new(
                Code::DuplicateName,
                name.place,
                format!("`%{}` is defined already", name.text),
            )
            .with_note(earlier, "here");
            self.report(problem);
        }
    }

    /// Defines the results of an instruction: a value or poison for each name.
    fn define_results(&mut self, results: Results<'t>) {
        for (name, value) in results {
            self.define(name, value.map_or(Meaning::Poison, Meaning::Value));
        }
    }

    fn unknown(&mut self, name: Token<'t>) {
        let mut problem =
            Diagnostic::new(Code::UnknownName, name.place, format!("`%{}` is not defined here", name.text));
        if let Some(place) = self.scopes.ended(name.text) {
            problem = problem.with_note(place, "the block that defines it has ended");
        }
        self.scopes.poison(name.text, name.place);
        self.report(problem);
    }

    fn constant(&mut self, literal: Literal) -> ValueId {
        *self.constants.entry(literal).or_insert_with(|| {
            self.kernel.add_value(Type::scalar(literal.ty), ValueDef::Const(Const(literal.bits)), None)
        })
    }

    fn literal(&mut self, token: Token<'t>) -> Option<Literal> {
        match literal::parse(token.text) {
            Ok(literal) => Some(literal),
            Err(message) => {
                self.error(Code::BadLiteral, token.place, message);
                None
            }
        }
    }

    fn is_operand(&self) -> bool {
        match self.token.kind {
            TokenKind::Name | TokenKind::Number => true,
            TokenKind::Word => matches!(self.token.text, "true" | "false"),
            _ => false,
        }
    }

    /// Parses a value or literal. Reports and poisons a name that is unknown or not a value.
    fn operand(&mut self) -> Parsed<Operand> {
        if !self.is_operand() || self.token.first {
            return Err(self.no_operand());
        }
        let token = self.bump();
        let value = if token.kind == TokenKind::Name {
            match self.scopes.get(token.text) {
                Some(Meaning::Value(value)) => Some(value),
                Some(Meaning::Poison) => None,
                Some(Meaning::Memory(_)) => {
                    let message =
                        format!("`%{}` is memory, not a value; `load` reads an element of it", token.text);
                    self.error(Code::TypeMismatch, token.place, message);
                    if self.eat("[") {
                        // The index of the intended element; the problem is already reported.
                        self.operand()?;
                        self.expect("]")?;
                    }
                    None
                }
                None => {
                    self.unknown(token);
                    None
                }
            }
        } else {
            self.literal(token).map(|literal| self.constant(literal))
        };
        Ok(Operand { value, place: token.place })
    }

    /// Reports that the current token is not an operand.
    fn no_operand(&mut self) -> Stop {
        let token = self.token;
        let on_this_line = !token.first || token.place == self.statement;
        let named = token.text.split('.').next().unwrap_or_default();
        let message = match token.kind {
            TokenKind::Word if on_this_line && self.scopes.get(token.text).is_some() => {
                format!("names of values begin with `%`: `%{}`", token.text)
            }
            TokenKind::Word
                if on_this_line && Op::parse(token.text).or_else(|| Op::parse(named)).is_some() =>
            {
                format!("an operand is a value or a literal: `%name = {} …` on a line before", token.text)
            }
            TokenKind::Punctuation if on_this_line && token.is("(") => String::from(
                "an operand is a value or a literal: give what is in brackets a name, on a line before",
            ),
            _ => return self.unexpected("a value such as `%a` or `1u32`"),
        };
        self.error(Code::Syntax, token.place, message)
    }

    /// Parses comma-separated operands.
    fn operands(&mut self) -> Parsed<Vec<Operand>> {
        let mut all = Vec::with_capacity(4);
        all.push(self.operand()?);
        while self.eat(",") {
            all.push(self.operand()?);
            self.check_length(all.len())?;
        }
        Ok(all)
    }

    // Blocks.

    fn open_block(&mut self, block: BlockId, region: Region<'t>, place: Location) -> Parsed<()> {
        if self.open.len() > MAX_NESTING {
            return Err(self.too_large(place, format!("blocks nest deeper than {MAX_NESTING}")));
        }
        let mark = self.scopes.mark();
        self.open.push(Open { region, block, mark, place, ended: false });
        Ok(())
    }

    /// Parses all blocks, to the end of the text.
    fn blocks(&mut self) {
        while let Some(open) = self.open.last() {
            let (ended, opened) = (open.ended, open.place);
            self.statement = self.token.place;
            let outcome = if self.token.kind == TokenKind::End {
                let problem =
                    Diagnostic::new(Code::Syntax, self.last_end, "expected `}`, found the end of the text")
                        .with_note(opened, "for this block");
                self.report(problem);
                return;
            } else if self.token.is("}") {
                self.close()
            } else if ended {
                Err(self.error(Code::Syntax, self.statement, "nothing may follow what ends a block"))
            } else {
                self.statement()
            };
            if outcome.is_err() {
                self.recover();
            }
            if self.kernel.values.len() > MAX_VALUES {
                self.too_large(self.statement, format!("the kernel has more than {MAX_VALUES} values"));
            }
        }
        if self.problems.is_empty() && self.token.kind != TokenKind::End {
            self.statement = self.token.place;
            self.unexpected("the end of the text after the kernel");
        }
    }

    /// Checks that a statement is followed by the end of the line or of the block.
    fn end_of_line(&mut self) -> Parsed<()> {
        if self.token.first || self.token.is("}") {
            Ok(())
        } else {
            Err(self.unexpected("the end of the line"))
        }
    }

    /// Ends the innermost block at its brace, and opens the next block of the instruction.
    fn close(&mut self) -> Parsed<()> {
        let brace = self.bump().place;
        let Some(open) = self.open.pop() else { return Ok(()) };
        if !open.ended {
            let terminator = match open.region {
                Region::Body => Terminator::Return,
                _ => Terminator::Yield(Operands::EMPTY),
            };
            let block = &mut self.kernel.blocks[open.block.index()];
            block.terminator = terminator;
            block.location = brace;
        }
        match open.region {
            Region::Body => Ok(()),
            Region::Broken => {
                // Also skip the rest of the broken instruction, whose problem is already reported.
                let place = self.token.place;
                if self.eat_word("do") && self.eat("{") {
                    self.open_block(open.block, Region::Broken, place)?;
                    self.keep_names(open.mark);
                    return Ok(());
                }
                self.scopes.back_to(open.mark);
                if self.eat_word("else") && self.eat("{") {
                    return self.open_block(open.block, Region::Broken, place);
                }
                self.end_of_line()
            }
            Region::Then { otherwise, results } => {
                self.scopes.back_to(open.mark);
                if self.eat_word("else") {
                    return self.open_last(otherwise, results);
                }
                if !results.is_empty() {
                    let message = "an `if` with a result has an `else`, which yields it too";
                    self.error(Code::Syntax, brace, message);
                }
                let block = &mut self.kernel.blocks[otherwise.index()];
                block.terminator = Terminator::Yield(Operands::EMPTY);
                block.location = brace;
                self.define_results(results);
                self.end_of_line()
            }
            Region::Header { body, results } => {
                if !open.ended {
                    self.error(Code::Syntax, brace, "the first block of a `while` ends in `condition %c`");
                }
                // The header's names are visible in the body and go out of scope at its end.
                if self.expect_word("do").is_err() {
                    self.scopes.back_to(open.mark);
                    self.pending.extend(results.into_iter().map(|(name, _)| name));
                    return Err(Stop);
                }
                self.open_last(body, results)?;
                self.keep_names(open.mark);
                Ok(())
            }
            Region::Last { results } => {
                self.scopes.back_to(open.mark);
                self.define_results(results);
                self.end_of_line()
            }
        }
    }

    /// Opens the last block of an instruction at its brace.
    fn open_last(&mut self, block: BlockId, results: Results<'t>) -> Parsed<()> {
        let place = self.token.place;
        if self.expect("{").is_err() {
            self.pending.extend(results.into_iter().map(|(name, _)| name));
            return Err(Stop);
        }
        self.open_block(block, Region::Last { results }, place)
    }

    /// Keeps names defined since `mark` in scope until the end of the innermost block.
    fn keep_names(&mut self, mark: scope::Mark) {
        if let Some(last) = self.open.last_mut() {
            last.mark = mark;
        }
    }
}
