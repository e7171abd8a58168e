//! Attributes in brackets after an op, and the ops that take them.

use fulgurite_spec::{Code, Location, MatrixLayout, MatrixOp, Op, Type};

use super::super::lex::Token;
use super::{Parsed, Parser, TokenKind};
use crate::kernel::{
    AtomicOrder, BufferId, Combine, FloatMode, InstKind, Memory, MemoryScopes, SyncScope, ValueId,
};
use crate::verify::{shuffle_result, subgroup_result};

/// The maximum number of attributes of an op.
const MAX_ATTRIBUTES: usize = 8;

impl<'t> Parser<'t> {
    /// Parses attributes such as `[add, 0]`, if present. An attribute is a word or a number.
    pub(super) fn attributes(&mut self) -> Parsed<Vec<Token<'t>>> {
        let mut found = Vec::new();
        if !self.eat("[") {
            return Ok(found);
        }
        loop {
            if !matches!(self.token.kind, TokenKind::Word | TokenKind::Number)
                || found.len() == MAX_ATTRIBUTES
            {
                return Err(self.unexpected("an attribute"));
            }
            found.push(self.bump());
            if !self.eat(",") {
                break;
            }
        }
        self.expect("]")?;
        Ok(found)
    }

    fn no_attribute(&mut self, op: Token<'t>, attribute: Token<'t>, known: &str) -> super::Stop {
        let message = format!("`{}` is no attribute of `{}`, which takes {known}", attribute.text, op.text);
        self.error(Code::Syntax, attribute.place, message)
    }

    /// Converts attributes to an optional order followed by an optional scope.
    pub(super) fn order_and_scope(
        &mut self,
        op: Token<'t>,
        attributes: &[Token<'t>],
    ) -> Parsed<(Option<AtomicOrder>, Option<SyncScope>)> {
        let (mut order, mut scope) = (None, None);
        for attribute in attributes {
            match (AtomicOrder::parse(attribute.text), SyncScope::parse(attribute.text)) {
                (Some(found), _) if order.is_none() && scope.is_none() => order = Some(found),
                (_, Some(found)) if scope.is_none() => scope = Some(found),
                _ => return Err(self.no_attribute(op, *attribute, "an order and then a scope")),
            }
        }
        Ok((order, scope))
    }

    pub(super) fn float_mode(&mut self, op: Token<'t>) -> Parsed<FloatMode> {
        let attributes = self.attributes()?;
        let mut mode = FloatMode::Default;
        for attribute in attributes {
            match FloatMode::parse(attribute.text) {
                Some(found) if found != FloatMode::Default && mode == FloatMode::Default => mode = found,
                _ => return Err(self.no_attribute(op, attribute, "`fast`, `fma` also `exact`")),
            }
        }
        Ok(mode)
    }

    /// Parses the memory that a barrier orders; all of it if there are no brackets.
    pub(super) fn scopes(&mut self) -> Parsed<MemoryScopes> {
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
        Ok(scopes)
    }

    pub(super) fn fence(&mut self, start: Location, word: Token<'t>) -> Parsed<()> {
        let attributes = self.attributes()?;
        let (order, scope) = self.order_and_scope(word, &attributes)?;
        let order = order.unwrap_or(AtomicOrder::AcquireRelease);
        let scope = scope.unwrap_or(SyncScope::Device);
        self.finish(start, word, InstKind::Fence { order, scope }, None)
    }

    pub(super) fn broadcast(&mut self, start: Location, word: Token<'t>) -> Parsed<()> {
        let value = self.operand()?;
        self.expect(",")?;
        let index = Self::value(self.operand()?);
        let ty = value.value.map(|v| self.kernel.ty(v));
        let kind = InstKind::WorkgroupBroadcast { value: Self::value(value), index };
        self.finish(start, word, kind, Some(ty))
    }

    pub(super) fn subgroup(&mut self, start: Location, word: Token<'t>, op: Op) -> Parsed<()> {
        let mut combine = None;
        for attribute in self.attributes()? {
            match Combine::parse(attribute.text) {
                Some(found) if combine.is_none() => combine = Some(found),
                _ => {
                    let known = "one of `add mul min max and or xor` if it combines values";
                    return Err(self.no_attribute(word, attribute, known));
                }
            }
        }
        let operands = if self.token.first || !self.is_operand() { Vec::new() } else { self.operands()? };
        self.end_of_line()?;
        self.expect_results(word, 1)?;
        let ty = match self.types(&operands) {
            Some(types) => match subgroup_result(op, combine, &types) {
                Ok(ty) => Some(ty),
                Err(problem) => {
                    let place = problem.operand.and_then(|i| operands.get(i)).map_or(word.place, |o| o.place);
                    return Err(self.error(problem.code, place, problem.to_string()));
                }
            },
            None => None,
        };
        let kind = InstKind::Subgroup { op, combine, operands: Self::values(&operands) };
        self.finish(start, word, kind, Some(ty))
    }

    /// Parses a `coop` op. Its types are left to the verifier.
    pub(super) fn matrix_op(&mut self, start: Location, word: Token<'t>, op: MatrixOp) -> Parsed<()> {
        let accesses = match op {
            MatrixOp::Load | MatrixOp::Store => true,
            MatrixOp::Fill | MatrixOp::MulAdd | MatrixOp::Convert => false,
        };
        let nowhere = Memory::Buffer(BufferId::new(0));
        let mut layout = None;
        for attribute in self.attributes()? {
            match MatrixLayout::parse(attribute.text) {
                Some(found) if layout.is_none() && accesses => layout = Some(found),
                _ => {
                    let known = "`row_major` or `column_major` if it accesses memory";
                    return Err(self.no_attribute(word, attribute, known));
                }
            }
        }
        let (place, offset) = if accesses {
            let (place, offset) = self.element()?;
            self.expect(",")?;
            (place.unwrap_or(nowhere), Self::value(offset))
        } else {
            (nowhere, super::inst::NOTHING)
        };
        let operands = self.operands()?;
        let wanted = match op {
            MatrixOp::MulAdd => 3,
            MatrixOp::Store => 2,
            MatrixOp::Load | MatrixOp::Fill | MatrixOp::Convert => 1,
        };
        if operands.len() != wanted {
            let after = if layout.is_some() { " after the element" } else { "" };
            let wanted = crate::verify::counted(wanted, "operand");
            let message = format!("`{}` takes {wanted}{after}, got {}", word.text, operands.len());
            return Err(self.error(Code::BadOperandCount, word.place, message));
        }
        let layout = match layout {
            Some(layout) => layout,
            None if accesses => {
                let message =
                    format!("`{0}` needs a layout: `{0}[row_major]` or `{0}[column_major]`", word.text);
                return Err(self.error(Code::BadAttribute, word.place, message));
            }
            None => MatrixLayout::RowMajor,
        };
        let result = match op {
            MatrixOp::Store => None,
            // A poisoned operand makes the result poisoned.
            MatrixOp::MulAdd => Some(operands[2].value.map(|c| self.kernel.ty(c))),
            MatrixOp::Load | MatrixOp::Fill | MatrixOp::Convert if self.token.kind == TokenKind::Arrow => {
                self.bump();
                Some(Some(self.type_name()?))
            }
            MatrixOp::Load | MatrixOp::Fill | MatrixOp::Convert => {
                let message = format!("`{0}` needs a stated result type: `{0} … -> coopmat<…>`", word.text);
                return Err(self.error(Code::BadResultType, word.place, message));
            }
        };
        let values: Vec<ValueId> = operands.iter().map(|o| Self::value(*o)).collect();
        let kind = match (op, values.as_slice()) {
            (MatrixOp::Store, [stride, value]) => {
                InstKind::CoopStore { layout, memory: place, offset, stride: *stride, value: *value }
            }
            (MatrixOp::MulAdd, [a, b, c]) => InstKind::CoopMulAdd { a: *a, b: *b, c: *c },
            (MatrixOp::Load, [stride]) => {
                InstKind::CoopLoad { layout, memory: place, offset, stride: *stride }
            }
            (MatrixOp::Fill, [value]) => InstKind::CoopFill { value: *value },
            (MatrixOp::Convert, [value]) => InstKind::CoopConvert { value: *value },
            _ => return Err(super::Stop),
        };
        self.finish(start, word, kind, result)
    }

    pub(super) fn vec_shuffle(&mut self, start: Location, word: Token<'t>) -> Parsed<()> {
        let mut components = Vec::new();
        for attribute in self.attributes()? {
            match attribute.text.parse::<u8>() {
                Ok(component) => components.push(component),
                Err(_) => return Err(self.no_attribute(word, attribute, "2 to 4 positions of components")),
            }
        }
        let first = self.operand()?;
        self.expect(",")?;
        let second = self.operand()?;
        let ty: Option<Type> = match self.types(&[first, second]) {
            Some(types) => match shuffle_result(&components, types[0], types[1]) {
                Ok(ty) => Some(ty),
                Err(problem) => return Err(self.error(problem.code, word.place, problem.to_string())),
            },
            None => None,
        };
        let vectors = [Self::value(first), Self::value(second)];
        self.finish(start, word, InstKind::VecShuffle { components: components.into(), vectors }, Some(ty))
    }
}
