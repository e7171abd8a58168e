//! Statements: instructions, and what ends a block.

use fulgurite_spec::{Code, Diagnostic, Location, OPS, Op, Semantics, Special, Type};

use super::super::lex::Token;
use super::{Meaning, Open, Operand, Parsed, Parser, Region, Results, Stop, TokenKind};
use crate::kernel::{InstKind, Memory, MemoryScopes, Operands, Terminator, ValueDef, ValueId};
use crate::verify::scalar_result;

/// What stands for a poisoned value in a kernel that is not going to be returned.
const NOTHING: ValueId = ValueId::new(0);

/// A memory object that an instruction names, unless it is poisoned.
type Place = Option<Memory>;

impl<'t> Parser<'t> {
    /// Reads a statement to the end of its line, or to the brace that begins its first block.
    pub(super) fn statement(&mut self) -> Parsed<()> {
        if let Some(outcome) = self.declaration() {
            return outcome.and_then(|()| self.end_of_line());
        }
        self.in_declarations = false;
        self.inner.clear();
        let start = self.token.place;
        if self.token.kind == TokenKind::Name {
            loop {
                let name = self.expect_kind(TokenKind::Name, "a name for the result")?;
                self.pending.push(name);
                self.check_length(self.pending.len())?;
                if !self.eat(",") {
                    break;
                }
            }
            self.expect("=")?;
            if self.token.first {
                return Err(self.unexpected("an instruction"));
            }
        }
        let word = self.expect_kind(TokenKind::Word, "an instruction")?;
        match word.text {
            "if" => return self.if_(start),
            "for" => return self.for_(start),
            "while" => return self.while_(start),
            "yield" => self.yield_(word)?,
            "condition" => self.condition(word)?,
            _ => self.plain(start, word)?,
        }
        self.end_of_line()
    }

    fn value(operand: Operand) -> ValueId {
        operand.value.unwrap_or(NOTHING)
    }

    fn values(operands: &[Operand]) -> Operands {
        operands.iter().map(|o| Self::value(*o)).collect()
    }

    fn types(&self, operands: &[Operand]) -> Option<Vec<Type>> {
        operands.iter().map(|o| o.value.map(|v| self.kernel.ty(v))).collect()
    }

    /// The block that is being read.
    fn innermost(&mut self) -> Parsed<&mut Open<'t>> {
        self.open.last_mut().ok_or(Stop)
    }

    /// Checks that as many names stand before `=` as there are results.
    fn expect_results(&mut self, word: Token<'t>, wanted: usize) -> Parsed<()> {
        let found = self.pending.len();
        if found == wanted {
            return Ok(());
        }
        let text = word.text;
        let message = match (wanted, found) {
            (0, _) => format!("`{text}` has no result, write it without `=`"),
            (1, 0) => format!("`{text}` has a result, give it a name: `%name = {text} …`"),
            _ => format!("`{text}` yields {wanted} here, but {found} names stand before `=`"),
        };
        Err(self.error(Code::Syntax, word.place, message))
    }

    // Instructions without blocks.

    fn plain(&mut self, start: Location, word: Token<'t>) -> Parsed<()> {
        let (name, axis) = match word.text.rsplit_once('.') {
            Some((name, axis @ ("x" | "y" | "z"))) => (name, Some(axis)),
            _ => (word.text, None),
        };
        let op = Op::parse(name).or_else(|| Op::parse(word.text));
        let Some(op) =
            op.filter(|op| axis.is_none() || op.info().semantics == Semantics::Special(Special::Id))
        else {
            return Err(self.unknown_op(word));
        };
        match op.info().semantics {
            Semantics::Scalar { .. } | Semantics::Special(Special::Construct) => self.scalar(start, word, op),
            Semantics::Special(Special::Id) => {
                let Some(axis) = axis else {
                    let message = format!("`{0}` needs a component: `{0}.x`, `{0}.y` or `{0}.z`", word.text);
                    return Err(self.error(Code::Syntax, word.place, message));
                };
                let component = axis.as_bytes()[0] - b'x';
                self.finish(start, word, InstKind::Id { op, component }, Some(Some(Type::U32)))
            }
            Semantics::Special(Special::ScalarId) => {
                self.finish(start, word, InstKind::Id { op, component: 0 }, Some(Some(Type::U32)))
            }
            Semantics::Special(Special::Barrier) => self.barrier(start, word),
            Semantics::Special(Special::Memory) => self.memory_op(start, word, op),
            Semantics::Special(Special::Atomic) => self.atomic(start, word, op),
            Semantics::Special(Special::Control) => Err(self.unknown_op(word)),
        }
    }

    fn unknown_op(&mut self, word: Token<'t>) -> Stop {
        let mut problem =
            Diagnostic::new(Code::UnknownOp, word.place, format!("there is no op `{}`", word.text));
        let near = OPS.iter().map(|row| row.mnemonic).filter(|m| is_near(m, word.text)).min();
        if let Some(near) = near {
            problem = problem.with_fix(format!("did you mean `{near}`"));
        }
        self.report(problem)
    }

    /// Adds an instruction with no result (`None`) or one, whose type is unknown if it is poisoned.
    fn finish(
        &mut self,
        start: Location,
        word: Token<'t>,
        kind: InstKind,
        result: Option<Option<Type>>,
    ) -> Parsed<()> {
        let may_omit =
            matches!(kind, InstKind::Atomic { op, .. } if op != Op::AtomicLoad) && self.pending.is_empty();
        if !may_omit {
            self.expect_results(word, usize::from(result.is_some()))?;
        }
        let location = self.place_from(start);
        let block = self.innermost()?.block;
        let types: Vec<Type> = result.into_iter().flatten().collect();
        let inst = self.kernel.add_inst(block, kind, &types, location);
        let value = self.kernel.insts[inst.index()].results.first().copied();
        if let Some(name) = self.pending.pop() {
            self.define_results(vec![(name, value)]);
        }
        Ok(())
    }

    fn scalar(&mut self, start: Location, word: Token<'t>, op: Op) -> Parsed<()> {
        let operands = if self.token.first || !self.is_operand() { Vec::new() } else { self.operands()? };
        let stated = if self.token.kind == TokenKind::Arrow {
            self.bump();
            Some(self.type_name()?)
        } else {
            None
        };
        self.end_of_line()?;
        self.expect_results(word, 1)?;
        let ty = match self.types(&operands) {
            Some(types) => match scalar_result(op, &types, stated) {
                Ok(ty) => Some(ty),
                Err(problem) => {
                    let place = problem.operand.and_then(|i| operands.get(i)).map_or(word.place, |o| o.place);
                    return Err(self.error(problem.code, place, problem.to_string()));
                }
            },
            None => None,
        };
        let kind = InstKind::Scalar { op, operands: Self::values(&operands) };
        self.finish(start, word, kind, Some(ty))
    }

    fn barrier(&mut self, start: Location, word: Token<'t>) -> Parsed<()> {
        let mut scopes = MemoryScopes::ALL;
        if self.eat("[") {
            scopes = MemoryScopes { shared: false, buffers: false };
            while !self.eat("]") {
                if self.eat_word("shared") {
                    scopes.shared = true;
                } else if self.eat_word("buffers") {
                    scopes.buffers = true;
                } else {
                    return Err(self.unexpected("`shared`, `buffers` or `]`"));
                }
                if !self.token.is("]") {
                    self.expect(",")?;
                }
            }
        }
        self.finish(start, word, InstKind::Barrier { scopes }, None)
    }

    /// A memory object by name; `None` if it is poisoned.
    fn memory(&mut self) -> Parsed<Place> {
        if self.token.first {
            return Err(self.unexpected("a buffer or array"));
        }
        let name = self.expect_kind(TokenKind::Name, "a buffer or array")?;
        match self.scopes.get(name.text) {
            Some(Meaning::Memory(memory)) => Ok(Some(memory)),
            Some(Meaning::Poison) => Ok(None),
            Some(Meaning::Value(_)) => {
                let message = format!("`%{}` is a value, not a buffer or array", name.text);
                self.error(Code::TypeMismatch, name.place, message);
                Ok(None)
            }
            None => {
                self.unknown(name);
                Ok(None)
            }
        }
    }

    fn element(&mut self) -> Parsed<(Place, Operand)> {
        let memory = self.memory()?;
        self.expect("[")?;
        let index = self.operand()?;
        self.expect("]")?;
        Ok((memory, index))
    }

    fn memory_op(&mut self, start: Location, word: Token<'t>, op: Op) -> Parsed<()> {
        let nowhere = Memory::Buffer(crate::kernel::BufferId::new(0));
        if op == Op::Len {
            let memory = self.memory()?.unwrap_or(nowhere);
            return self.finish(start, word, InstKind::Len { memory }, Some(Some(Type::U32)));
        }
        let (place, index) = self.element()?;
        let (memory, index) = (place.unwrap_or(nowhere), Self::value(index));
        if op == Op::Load {
            let ty = place.map(|m| self.kernel.element(m));
            self.finish(start, word, InstKind::Load { memory, index }, Some(ty))
        } else {
            self.expect(",")?;
            let value = Self::value(self.operand()?);
            self.finish(start, word, InstKind::Store { memory, index, value }, None)
        }
    }

    fn atomic(&mut self, start: Location, word: Token<'t>, op: Op) -> Parsed<()> {
        let (place, index) = self.element()?;
        let operands = if self.eat(",") { self.operands()? } else { Vec::new() };
        let wanted = match op {
            Op::AtomicLoad => 0,
            Op::AtomicCompareExchange => 2,
            _ => 1,
        };
        if operands.len() != wanted {
            let wanted = crate::verify::counted(wanted, "operand");
            let message = format!("`{}` takes {wanted} after the element, got {}", word.text, operands.len());
            return Err(self.error(Code::BadOperandCount, word.place, message));
        }
        let ty = place.map(|m| self.kernel.element(m));
        let result = (op != Op::AtomicStore).then_some(ty);
        let memory = place.unwrap_or(Memory::Buffer(crate::kernel::BufferId::new(0)));
        let kind =
            InstKind::Atomic { op, memory, index: Self::value(index), operands: Self::values(&operands) };
        self.finish(start, word, kind, result)
    }

    // What ends a block.

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

    fn yield_(&mut self, word: Token<'t>) -> Parsed<()> {
        let allowed = !matches!(self.innermost()?.region, Region::Body | Region::Header { .. });
        let values = if self.token.first || self.token.is("}") { Vec::new() } else { self.operands()? };
        if !allowed {
            let message = "`yield` ends a block of an `if`, or the body of a loop";
            return Err(self.error(Code::Syntax, word.place, message));
        }
        self.end_block(word, Terminator::Yield(Self::values(&values)))
    }

    fn condition(&mut self, word: Token<'t>) -> Parsed<()> {
        let allowed = matches!(self.innermost()?.region, Region::Header { .. } | Region::Broken);
        let value = self.operand()?;
        if !allowed {
            let message = "`condition` ends the first block of a `while`";
            return Err(self.error(Code::Syntax, word.place, message));
        }
        self.end_block(word, Terminator::Condition(Self::value(value)))
    }

    // Instructions with blocks.

    /// Adds an instruction with blocks, read up to its first brace; `types` are its results' where known.
    ///
    /// Returns the names before `=` with their values, to be defined when the instruction ends, and the brace.
    fn control(
        &mut self,
        start: Location,
        word: &'static str,
        kind: InstKind,
        types: &[Option<Type>],
    ) -> Parsed<(Results<'t>, Location)> {
        let location = self.place_from(start);
        if !self.pending.is_empty() || word == "if" {
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

    fn if_(&mut self, start: Location) -> Parsed<()> {
        let condition = Self::value(self.operand()?);
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
        let (then_block, otherwise) = (self.kernel.add_block(), self.kernel.add_block());
        let kind = InstKind::If { condition, then_block, else_block: otherwise };
        let (results, brace) = self.control(start, "if", kind, &types)?;
        self.open_block(then_block, Region::Then { otherwise, results }, brace)
    }

    fn for_(&mut self, start: Location) -> Parsed<()> {
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

    fn while_(&mut self, start: Location) -> Parsed<()> {
        let (names, initial) = self.carry()?;
        let (header, body) = (self.kernel.add_block(), self.kernel.add_block());
        let kind = InstKind::While { initial: Self::values(&initial), header, body };
        let types: Vec<_> = initial.iter().map(|o| o.value.map(|v| self.kernel.ty(v))).collect();
        let (results, brace) = self.control(start, "while", kind, &types)?;
        self.open_block(header, Region::Header { body, results }, brace)?;
        self.block_params(names.into_iter(), types.into_iter());
        Ok(())
    }

    /// `carry(%p = 0.0f32, …)`, if it stands here.
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

    /// Defines the parameters of the block that was just opened.
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

/// Whether `a` and `b` differ by at most one letter put in, left out or replaced.
fn is_near(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let front = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let back = a[front..].iter().rev().zip(b[front..].iter().rev()).take_while(|(x, y)| x == y).count();
    a.len().max(b.len()) - front - back <= 1
}

#[cfg(test)]
mod tests {
    use super::is_near;

    #[test]
    fn near_names_differ_by_a_letter() {
        assert!(
            is_near("add", "ad") && is_near("add", "addd") && is_near("mul", "mol") && is_near("sub", "sub")
        );
        assert!(!is_near("add", "sub") && !is_near("add", "a"));
    }
}
