//! `require`: expressions in parentheses, parsed with an explicit stack.

use fulgurite_spec::{Code, Location, Op, Type};

use super::{Meaning, Parsed, Parser, Stop, TokenKind};
use crate::kernel::{BufferId, Memory, ParamId, ValueDef};
use crate::require::{Require, RequireNode};
use crate::verify::scalar_result;

/// A parsed operand: its node and type; the type is `None` if poisoned.
#[derive(Clone, Copy)]
struct Term {
    node: u32,
    ty: Option<Type>,
    place: Location,
}

/// An op whose operands are being parsed.
struct Pending {
    op: Option<Op>,
    place: Location,
    parenthesized: bool,
    operands: Vec<Term>,
}

/// The start of an expression.
enum Start {
    Term(Term),
    Op(Pending),
}

impl Parser<'_> {
    /// Parses the expression after `require`. `start` is the location of `require`.
    pub(super) fn require(&mut self, start: Location) -> Parsed<()> {
        let mut nodes = Vec::new();
        let mut stack: Vec<Pending> = Vec::new();
        loop {
            let mut term = match self.start(&mut nodes, stack.is_empty())? {
                Start::Op(pending) => {
                    stack.push(pending);
                    self.check_length(stack.len())?;
                    continue;
                }
                Start::Term(term) => term,
            };
            // Add the term to its op. If that op ends here, its result is the next term.
            loop {
                let Some(pending) = stack.last_mut() else {
                    let location = self.place_from(start);
                    if term.ty.is_some() {
                        self.kernel.requires.push(Require { nodes, location });
                    }
                    return Ok(());
                };
                pending.operands.push(term);
                let (parenthesized, count) = (pending.parenthesized, pending.operands.len());
                self.check_length(count)?;
                if self.eat(",") {
                    break;
                }
                if parenthesized {
                    self.expect(")")?;
                }
                let Some(pending) = stack.pop() else { return Ok(()) };
                term = self.apply(pending, &mut nodes);
            }
        }
    }

    fn start(&mut self, nodes: &mut Vec<RequireNode>, outermost: bool) -> Parsed<Start> {
        let parenthesized = self.eat("(");
        let token = self.token;
        if token.first || token.kind == TokenKind::End {
            return Err(self.unexpected("an operand of `require`"));
        }
        let axis = token
            .text
            .strip_prefix("num_workgroups.")
            .and_then(|a| ["x", "y", "z"].iter().position(|n| *n == a));
        let (node, ty) = match token.kind {
            TokenKind::Name if !parenthesized => {
                self.bump();
                match self.scopes.get(token.text) {
                    Some(Meaning::Value(value)) => {
                        let ty = self.kernel.ty(value);
                        match self.kernel.value(value).def {
                            ValueDef::Param(id) => (RequireNode::Param(id), Some(ty)),
                            _ => (RequireNode::Param(ParamId::new(0)), None),
                        }
                    }
                    Some(Meaning::Poison) => (RequireNode::Param(ParamId::new(0)), None),
                    Some(Meaning::Memory(_)) => {
                        let message =
                            format!("`%{0}` is memory, not a value; did you mean `(len %{0})`", token.text);
                        return Err(self.error(Code::TypeMismatch, token.place, message));
                    }
                    None => {
                        self.unknown(token);
                        (RequireNode::Param(ParamId::new(0)), None)
                    }
                }
            }
            TokenKind::Number if !parenthesized => {
                self.bump();
                let Some(literal) = self.literal(token) else { return Err(Stop) };
                (RequireNode::Literal(literal), Some(Type::scalar(literal.ty)))
            }
            TokenKind::Word if matches!(token.text, "true" | "false") && !parenthesized => {
                self.bump();
                let literal = (token.text == "true").into();
                (RequireNode::Literal(literal), Some(Type::BOOL))
            }
            TokenKind::Word if token.text == "len" => {
                self.bump();
                let id = self.buffer()?;
                if parenthesized {
                    self.expect(")")?;
                }
                (
                    RequireNode::Len(id.unwrap_or(BufferId::new(0))),
                    id.map(|id| self.kernel.len_type(Memory::Buffer(id))),
                )
            }
            TokenKind::Word if axis.is_some() && !parenthesized => {
                self.bump();
                (RequireNode::NumWorkgroups(axis.unwrap_or(0) as u8), Some(Type::U32))
            }
            TokenKind::Word if parenthesized || outermost => {
                self.bump();
                let op = Op::parse(token.text);
                if op.is_none() {
                    let message = format!("there is no op `{}`", token.text);
                    self.error(Code::UnknownOp, token.place, message);
                }
                let operands = Vec::new();
                return Ok(Start::Op(Pending { op, place: token.place, parenthesized, operands }));
            }
            _ => {
                return Err(self.unexpected(
                    "an operand: a literal, `%param`, `len %buffer`, `num_workgroups.x` or `(op …)`",
                ));
            }
        };
        nodes.push(node);
        Ok(Start::Term(Term { node: (nodes.len() - 1) as u32, ty, place: token.place }))
    }

    /// Parses the name of the buffer in `len`. Returns `None` if it is poisoned.
    fn buffer(&mut self) -> Parsed<Option<BufferId>> {
        let name = self.expect_kind(TokenKind::Name, "a buffer")?;
        match self.scopes.get(name.text) {
            Some(Meaning::Memory(Memory::Buffer(id))) => Ok(Some(id)),
            Some(Meaning::Poison) => Ok(None),
            Some(_) => {
                let message = format!("`%{}` is not a buffer", name.text);
                self.error(Code::TypeMismatch, name.place, message);
                Ok(None)
            }
            None => {
                self.unknown(name);
                Ok(None)
            }
        }
    }

    fn apply(&mut self, pending: Pending, nodes: &mut Vec<RequireNode>) -> Term {
        let mut term = Term { node: 0, ty: None, place: pending.place };
        let types: Option<Vec<Type>> = pending.operands.iter().map(|o| o.ty).collect();
        if let (Some(op), Some(types)) = (pending.op, types) {
            match scalar_result(op, &types, None) {
                Ok(ty) => {
                    term.ty = Some(ty);
                    term.node = nodes.len() as u32;
                    let operands = pending.operands.iter().map(|o| o.node).collect();
                    nodes.push(RequireNode::Op { op, operands });
                }
                Err(problem) => {
                    let place = problem
                        .operand
                        .and_then(|i| pending.operands.get(i))
                        .map_or(pending.place, |o| o.place);
                    self.error(problem.code, place, problem.to_string());
                }
            }
        }
        term
    }
}
