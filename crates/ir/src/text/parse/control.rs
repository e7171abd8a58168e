//! Instructions with blocks, and terminators.

use fulgurite_spec::{Code, Location, Type};

use super::super::lex::Token;
use super::{Meaning, Operand, Parsed, Parser, Region, Results, TokenKind};
use crate::kernel::{InstKind, Terminator, ValueDef};

impl<'t> Parser<'t> {
    // Terminators.

    fn end_block(&mut self, word: Token<'t>, terminator: Terminator) -> Parsed<()> {
        self.expect_results(word, 0)?;
        let location = self.place_from(word.place);
        let open = self.innermost()?;
        open.ended = true;
        let block = open.block;
        let block = &mut self.kernel.blocks[block.index()];
        block.terminator = terminator;
        block.location = location;
        Ok(())
    }

    pub(super) fn yield_(&mut self, word: Token<'t>) -> Parsed<()> {
        let allowed = !matches!(self.innermost()?.region, Region::Body | Region::Header { .. });
        let values = if self.token.first || self.token.is("}") { Vec::new() } else { self.operands()? };
        if !allowed {
            let message = "`yield` ends a block of an `if`, a region, or the body of a loop";
            return Err(self.error(Code::Syntax, word.place, message));
        }
        self.end_block(word, Terminator::Yield(Self::values(&values)))
    }

    pub(super) fn condition(&mut self, word: Token<'t>) -> Parsed<()> {
        let allowed = matches!(self.innermost()?.region, Region::Header { .. } | Region::Broken);
        let value = self.operand()?;
        if !allowed {
            let message = "`condition` ends the first block of a `while`";
            return Err(self.error(Code::Syntax, word.place, message));
        }
        self.end_block(word, Terminator::Condition(Self::value(value)))
    }

    // Instructions with blocks.

    /// Adds an instruction with blocks, parsed up to its first brace. `types` are those of its results, `None` if
    /// unknown.
    ///
    /// Returns the names before `=` with their values, to be defined at the end of the instruction, and the location
    /// of the brace.
    fn control(
        &mut self,
        start: Location,
        word: &'static str,
        kind: InstKind,
        types: &[Option<Type>],
    ) -> Parsed<(Results<'t>, Location)> {
        let location = self.place_from(start);
        if !self.pending.is_empty() || matches!(word, "if" | "region") {
            let place = Token { kind: TokenKind::Word, text: word, place: location, first: false };
            self.expect_results(place, types.len())?;
        }
        let brace = self.token.place;
        self.expect("{")?;
        let block = self.innermost()?.block;
        let known: Vec<Type> = types.iter().map(|t| t.unwrap_or(Type::U32)).collect();
        let inst = self.kernel.add_inst(block, kind, &known, location);
        let values: Vec<_> = self.kernel.insts[inst.index()]
            .results
            .iter()
            .zip(types)
            .map(|(value, ty)| ty.map(|_| *value))
            .collect();
        Ok((self.pending.drain(..).zip(values).collect(), brace))
    }

    pub(super) fn if_(&mut self, start: Location) -> Parsed<()> {
        let condition = Self::value(self.operand()?);
        let types = self.stated_types()?;
        let (then_block, otherwise) = (self.kernel.add_block(), self.kernel.add_block());
        let kind = InstKind::If { condition, then_block, else_block: otherwise };
        let (results, brace) = self.control(start, "if", kind, &types)?;
        self.open_block(then_block, Region::Then { otherwise, results }, brace)
    }

    /// Parses `-> f32, u32`, if present.
    fn stated_types(&mut self) -> Parsed<Vec<Option<Type>>> {
        let mut types = Vec::new();
        if self.token.kind == TokenKind::Arrow {
            self.bump();
            loop {
                types.push(Some(self.type_name()?));
                self.check_length(types.len())?;
                if !self.eat(",") {
                    break;
                }
            }
        }
        Ok(types)
    }

    pub(super) fn region(&mut self, start: Location) -> Parsed<()> {
        let name = self.expect_kind(TokenKind::String, "the region's name in quotes")?;
        let types = self.stated_types()?;
        let body = self.kernel.add_block();
        let kind = InstKind::Region { name: name.text.into(), body };
        let (results, brace) = self.control(start, "region", kind, &types)?;
        self.open_block(body, Region::Last { results }, brace)
    }

    pub(super) fn for_(&mut self, start: Location) -> Parsed<()> {
        let counter = self.expect_kind(TokenKind::Name, "a name for the counter")?;
        self.inner.push(counter);
        self.expect_word("in")?;
        let first = self.operand()?;
        self.expect_word("to")?;
        let end = self.operand()?;
        self.expect_word("step")?;
        let step = self.operand()?;
        let (names, initial) = self.carry()?;
        let body = self.kernel.add_block();
        let kind = InstKind::For {
            start: Self::value(first),
            end: Self::value(end),
            step: Self::value(step),
            initial: Self::values(&initial),
            body,
        };
        let types: Vec<_> = initial.iter().map(|o| o.value.map(|v| self.kernel.ty(v))).collect();
        let (results, brace) = self.control(start, "for", kind, &types)?;
        self.open_block(body, Region::Last { results }, brace)?;
        let counter_type = first.value.map(|v| self.kernel.ty(v));
        self.block_params(std::iter::once(counter).chain(names), std::iter::once(counter_type).chain(types));
        Ok(())
    }

    pub(super) fn while_(&mut self, start: Location) -> Parsed<()> {
        let (names, initial) = self.carry()?;
        let (header, body) = (self.kernel.add_block(), self.kernel.add_block());
        let kind = InstKind::While { initial: Self::values(&initial), header, body };
        let types: Vec<_> = initial.iter().map(|o| o.value.map(|v| self.kernel.ty(v))).collect();
        let (results, brace) = self.control(start, "while", kind, &types)?;
        self.open_block(header, Region::Header { body, results }, brace)?;
        self.block_params(names.into_iter(), types.into_iter());
        Ok(())
    }

    /// Parses `carry(%p = 0.0f32, …)`, if present.
    fn carry(&mut self) -> Parsed<(Vec<Token<'t>>, Vec<Operand>)> {
        let (mut names, mut initial) = (Vec::new(), Vec::new());
        if self.eat_word("carry") {
            self.expect("(")?;
            loop {
                let name = self.expect_kind(TokenKind::Name, "a name for the carried value")?;
                self.inner.push(name);
                names.push(name);
                self.check_length(names.len())?;
                self.expect("=")?;
                initial.push(self.operand()?);
                if !self.eat(",") {
                    break;
                }
            }
            self.expect(")")?;
        }
        Ok((names, initial))
    }

    /// Defines the parameters of the innermost block.
    fn block_params(
        &mut self,
        names: impl Iterator<Item = Token<'t>>,
        types: impl Iterator<Item = Option<Type>>,
    ) {
        let Some(block) = self.open.last().map(|o| o.block) else { return };
        for (position, (name, ty)) in names.zip(types).enumerate() {
            let def = ValueDef::BlockParam(block, position as u32);
            let value = self.kernel.add_value(ty.unwrap_or(Type::U32), def, None);
            self.kernel.blocks[block.index()].params.push(value);
            self.define(name, if ty.is_some() { Meaning::Value(value) } else { Meaning::Poison });
        }
    }
}
