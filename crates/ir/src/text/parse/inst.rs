//! Statements: instructions without blocks. Attributes are in [`super::attributes`].

use fulgurite_spec::{AtomicOp, Code, Diagnostic, Location, MemoryOp, Op, OpClass, Semantics, Special, Type};

use super::super::lex::Token;
use super::{Meaning, Open, Operand, Parsed, Parser, Stop, TokenKind, suggest};
use crate::kernel::{AtomicOrder, InstKind, Memory, Operands, SyncScope, ValueId};
use crate::verify::{id_type, scalar_result};

/// Placeholder for a poisoned value in a kernel that is not returned.
pub(super) const NOTHING: ValueId = ValueId::new(0);

/// The memory object of an instruction, or `None` if poisoned.
pub(super) type Place = Option<Memory>;

/// Returns whether an op is an id of which the program names a component.
fn has_components(op: Op) -> bool {
    op.info().semantics == Semantics::Special(Special::Id)
}

impl<'t> Parser<'t> {
    /// Parses a statement to the end of its line, or to the opening brace of its first block.
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
            "region" => return self.region(start),
            "yield" => self.yield_(word)?,
            "condition" => self.condition(word)?,
            _ => self.plain(start, word)?,
        }
        self.end_of_line()
    }

    pub(super) fn value(operand: Operand) -> ValueId {
        operand.value.unwrap_or(NOTHING)
    }

    pub(super) fn values(operands: &[Operand]) -> Operands {
        operands.iter().map(|o| Self::value(*o)).collect()
    }

    pub(super) fn types(&self, operands: &[Operand]) -> Option<Vec<Type>> {
        operands.iter().map(|o| o.value.map(|v| self.kernel.ty(v))).collect()
    }

    /// Returns the innermost open block.
    pub(super) fn innermost(&mut self) -> Parsed<&mut Open<'t>> {
        self.open.last_mut().ok_or(Stop)
    }

    /// Checks that the number of names before `=` is the number of results.
    pub(super) fn expect_results(&mut self, word: Token<'t>, wanted: usize) -> Parsed<()> {
        let found = self.pending.len();
        if found == wanted {
            return Ok(());
        }
        let text = word.text;
        let message = match (wanted, found) {
            (0, _) if matches!(text, "if" | "region") => {
                format!("`{text}` has a result only where it states a type, such as `{text} … -> u32 {{`")
            }
            (0, _) if matches!(text, "for" | "while") => {
                format!("`{text}` has a result only where it carries a value: `carry(%name = …)`")
            }
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
        let Some(op) = op.filter(|op| axis.is_none() || has_components(*op)) else {
            return Err(self.unknown_op(word));
        };
        match op.class() {
            OpClass::Scalar => self.scalar(start, word, op),
            OpClass::Id(_) if !has_components(op) => {
                let ty = id_type(op);
                self.finish(start, word, InstKind::Id { op, component: 0 }, Some(Some(ty)))
            }
            OpClass::Id(_) => {
                let Some(axis) = axis else {
                    let message = format!("`{0}` needs a component: `{0}.x`, `{0}.y` or `{0}.z`", word.text);
                    return Err(self.error(Code::Syntax, word.place, message));
                };
                let component = axis.as_bytes()[0] - b'x';
                self.finish(start, word, InstKind::Id { op, component }, Some(Some(Type::U32)))
            }
            OpClass::Barrier => {
                let scopes = self.scopes()?;
                self.finish(start, word, InstKind::Barrier { scopes }, None)
            }
            OpClass::SubgroupBarrier => {
                let scopes = self.scopes()?;
                self.finish(start, word, InstKind::SubgroupBarrier { scopes }, None)
            }
            OpClass::Fence => self.fence(start, word),
            OpClass::WorkgroupBroadcast => self.broadcast(start, word),
            OpClass::Subgroup(_) => self.subgroup(start, word, op),
            OpClass::Matrix(op) => self.matrix_op(start, word, op),
            OpClass::VecShuffle => self.vec_shuffle(start, word),
            OpClass::Trap => {
                let code = Self::value(self.operand()?);
                self.finish(start, word, InstKind::Trap { code }, None)
            }
            OpClass::Memory(op) => self.memory_op(start, word, op),
            OpClass::Atomic(op) => self.atomic(start, word, op),
            OpClass::If | OpClass::For | OpClass::While | OpClass::Region => Err(self.unknown_op(word)),
        }
    }

    fn unknown_op(&mut self, word: Token<'t>) -> Stop {
        let mut problem =
            Diagnostic::new(Code::UnknownOp, word.place, format!("there is no op `{}`", word.text));
        if let Some(fix) = suggest::instead_of(word.text) {
            problem = problem.with_fix(fix);
        }
        self.report(problem)
    }

    /// Adds an instruction with no result (`None`) or one result, whose type is `None` if poisoned.
    pub(super) fn finish(
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
        let ty = result.flatten();
        let inst = self.kernel.add_inst(block, kind, ty.as_slice(), location);
        let value = self.kernel.insts[inst.index()].results.first().copied();
        if let Some(name) = self.pending.pop() {
            self.define(name, value.map_or(Meaning::Poison, Meaning::Value));
        }
        Ok(())
    }

    fn scalar(&mut self, start: Location, word: Token<'t>, op: Op) -> Parsed<()> {
        let mode = self.float_mode(word)?;
        let has_operands = !self.token.first && self.token.kind != TokenKind::Arrow && !self.token.is("}");
        let operands = if has_operands { self.operands()? } else { Vec::new() };
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
        let kind = InstKind::Scalar { op, operands: Self::values(&operands), mode };
        self.finish(start, word, kind, Some(ty))
    }

    /// Parses the name of a memory object. Returns `None` if it is poisoned.
    pub(super) fn memory(&mut self) -> Parsed<Place> {
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

    pub(super) fn element(&mut self) -> Parsed<(Place, Operand)> {
        let memory = self.memory()?;
        self.expect("[")?;
        let index = self.operand()?;
        self.expect("]")?;
        Ok((memory, index))
    }

    fn memory_op(&mut self, start: Location, word: Token<'t>, op: MemoryOp) -> Parsed<()> {
        let nowhere = Memory::Buffer(crate::kernel::BufferId::new(0));
        match op {
            MemoryOp::Len => {
                let place = self.memory()?;
                let ty = place.map(|memory| self.kernel.len_type(memory));
                let memory = place.unwrap_or(nowhere);
                self.finish(start, word, InstKind::Len { memory }, Some(ty))
            }
            MemoryOp::Load => {
                let (place, index) = self.element()?;
                let (memory, index) = (place.unwrap_or(nowhere), Self::value(index));
                let ty = place.map(|m| self.kernel.element(m));
                self.finish(start, word, InstKind::Load { memory, index }, Some(ty))
            }
            MemoryOp::Store => {
                let (place, index) = self.element()?;
                let (memory, index) = (place.unwrap_or(nowhere), Self::value(index));
                self.expect(",")?;
                let value = Self::value(self.operand()?);
                self.finish(start, word, InstKind::Store { memory, index, value }, None)
            }
        }
    }

    fn atomic(&mut self, start: Location, word: Token<'t>, op: AtomicOp) -> Parsed<()> {
        let attributes = self.attributes()?;
        let (place, index) = self.element()?;
        let memory = place.unwrap_or(Memory::Buffer(crate::kernel::BufferId::new(0)));
        let (order, scope) = self.order_and_scope(word, &attributes)?;
        let scope =
            scope.unwrap_or_else(|| place.map_or(SyncScope::Device, |m| self.kernel.default_scope(m)));
        let order = order.unwrap_or(AtomicOrder::Relaxed);
        let operands = if self.eat(",") { self.operands()? } else { Vec::new() };
        let wanted = op.operands();
        if operands.len() != wanted {
            let wanted = crate::verify::counted(wanted, "operand");
            let message = format!("`{}` takes {wanted} after the element, got {}", word.text, operands.len());
            return Err(self.error(Code::BadOperandCount, word.place, message));
        }
        let ty = place.map(|m| self.kernel.element(m));
        let result = (op != AtomicOp::Store).then_some(ty);
        let op = Op::from(op);
        let (index, operands) = (Self::value(index), Self::values(&operands));
        let kind = InstKind::Atomic { op, order, scope, memory, index, operands };
        self.finish(start, word, kind, result)
    }
}
