//! Statements, and the control flow of `if`, `switch` and early exits.
//!
//! What follows an `if` of which one branch always exits is lowered inside the other branch. Only where an exit cannot be
//! expressed like this, what follows stands under a test of the flags that `break`, `continue` and `return` set.

use fulgurite_ir::{BlockId, InstKind, Operands, Terminator, ValueId};
use fulgurite_spec::Op;
use naga::{Block, Expression, Handle, Span, Statement, SwitchCase, SwitchValue};

use super::{Lower, Scope};
use crate::refusal::{Res, internal, resource, unsupported};
use crate::scan::outcome;

/// Statements with their places.
pub(super) type List<'m> = Vec<(&'m Statement, Span)>;

/// Statements that follow those of a nested block.
#[derive(Clone, Copy)]
pub(super) struct Rest<'m, 'r> {
    list: &'r [(&'m Statement, Span)],
    next: Option<&'r Rest<'m, 'r>>,
}

/// How lowered statements end.
#[derive(Clone, Debug, Default)]
pub(super) struct End {
    /// They may reach their end.
    pub(super) falls: bool,
    /// The flags that may be set if they do not.
    pub(super) flags: Vec<usize>,
}

impl End {
    pub(super) const FALLS: Self = Self { falls: true, flags: Vec::new() };

    fn exit(flag: usize) -> Self {
        Self { falls: false, flags: vec![flag] }
    }

    fn or(mut self, other: Self) -> Self {
        self.falls |= other.falls;
        for flag in other.flags {
            if !self.flags.contains(&flag) {
                self.flags.push(flag);
            }
        }
        self
    }
}

pub(super) fn list(block: &Block) -> List<'_> {
    block.span_iter().map(|(statement, span)| (statement, *span)).collect()
}

impl<'m> Lower<'m> {
    /// Lowers a block.
    pub(super) fn block(&mut self, block: &'m Block) -> Res<End> {
        self.statements(&list(block), None)
    }

    /// Lowers statements and then those of `rest`.
    pub(super) fn statements(
        &mut self,
        list: &[(&'m Statement, Span)],
        rest: Option<&Rest<'m, '_>>,
    ) -> Res<End> {
        self.nested(|lower| lower.sequence(list, rest))
    }

    fn sequence(&mut self, list: &[(&'m Statement, Span)], rest: Option<&Rest<'m, '_>>) -> Res<End> {
        let (mut list, mut rest) = (list, rest);
        loop {
            let Some(((statement, span), tail)) = list.split_first() else {
                let Some(next) = rest else { return Ok(End::FALLS) };
                (list, rest) = (next.list, next.next);
                continue;
            };
            self.at(*span);
            self.count_statement()?;
            let following = Rest { list: tail, next: rest };
            let end = match statement {
                Statement::Block(inner) if outcome(inner).exits() => {
                    return self.statements(&self::list(inner), Some(&following));
                }
                Statement::If { condition, accept, reject } => {
                    let (yes, no) = (outcome(accept), outcome(reject));
                    let early = yes.exits() || no.exits();
                    let (after_yes, after_no) = match (yes.falls, no.falls) {
                        (true, true) => (None, None),
                        (yes, no) if early => (yes.then_some(&following), no.then_some(&following)),
                        (_, _) => (None, None),
                    };
                    let condition = self.leaf(*condition)?;
                    let (accept, reject) = (self::list(accept), self::list(reject));
                    let end = self.fork(
                        condition,
                        |lower| lower.statements(&accept, after_yes),
                        |lower| lower.statements(&reject, after_no),
                    )?;
                    if early && !(yes.falls && no.falls) {
                        return Ok(end);
                    }
                    end
                }
                other => self.statement(other)?,
            };
            if !end.falls {
                return Ok(end);
            }
            if !end.flags.is_empty() {
                return self.guarded(end, tail, rest);
            }
            list = tail;
        }
    }

    /// Lowers what follows statements that may have exited.
    fn guarded(&mut self, end: End, list: &[(&'m Statement, Span)], rest: Option<&Rest<'m, '_>>) -> Res<End> {
        if list.is_empty() && rest.is_none() {
            return Ok(end);
        }
        let go = self.none_of(&end.flags)?;
        let after = self.fork(go, |lower| lower.statements(list, rest), |_| Ok(End::default()))?;
        Ok(End { falls: after.falls, ..end.or(after) })
    }

    /// Returns whether none of these flags is set.
    pub(super) fn none_of(&mut self, flags: &[usize]) -> Res<ValueId> {
        let mut any = self.emit.bool(false);
        for flag in flags {
            any = self.emit.op(Op::Or, &[any, self.slots[*flag]])?;
        }
        self.emit.not(any)
    }

    /// Lowers an `if`, whose results are the slots that its branches change differently.
    pub(super) fn fork(
        &mut self,
        condition: ValueId,
        accept: impl FnOnce(&mut Self) -> Res<End>,
        reject: impl FnOnce(&mut Self) -> Res<End>,
    ) -> Res<End> {
        match self.emit.known_bool(condition) {
            Some(true) => return accept(self),
            Some(false) => return reject(self),
            None => {}
        }
        let at = self.emit.at;
        let saved = self.slots.clone();
        let (then_block, before) = self.emit.open();
        let yes = accept(self)?;
        let accepted = core::mem::replace(&mut self.slots, saved);
        self.emit.block = before;
        let (else_block, _) = self.emit.open();
        let count = self.slots.len();
        let no = reject(self)?;
        self.slots.truncate(count);
        self.emit.at = at;
        let pairs = accepted.iter().copied().zip(self.slots.iter().copied()).enumerate();
        let differing = pairs.map(|(slot, (a, b))| (slot, a, b)).filter(|(_, a, b)| a != b);
        // A flag that one branch sets is the condition itself.
        let is_flag =
            |lower: &Self, a, b| lower.emit.known_bool(a).is_some() && lower.emit.known_bool(b).is_some();
        let (flags, values): (Vec<_>, Vec<_>) = differing.partition(|(_, a, b)| is_flag(self, *a, *b));
        let yields = |side: fn(&(usize, ValueId, ValueId)) -> ValueId| {
            Terminator::Yield(values.iter().map(side).collect::<Operands>())
        };
        self.emit.close(then_block, before, yields(|(_, a, _)| *a));
        self.emit.close(else_block, before, yields(|(_, _, b)| *b));
        let types: Vec<_> = values.iter().map(|(_, a, _)| self.emit.ty(*a)).collect();
        let is_empty = |block: BlockId| self.emit.kernel.block(block).insts.is_empty();
        // `if c {} else { … }` reads better the other way around.
        let kind = if is_empty(then_block) && !is_empty(else_block) {
            let condition = self.emit.inverse(condition)?;
            InstKind::If { condition, then_block: else_block, else_block: then_block }
        } else {
            InstKind::If { condition, then_block, else_block }
        };
        let results = self.emit.inst(kind, &types);
        for ((slot, _, _), result) in values.into_iter().zip(results) {
            self.slots[slot] = result;
        }
        for (slot, a, _) in flags {
            self.slots[slot] =
                if self.emit.known_bool(a) == Some(true) { condition } else { self.emit.not(condition)? };
        }
        Ok(yes.or(no))
    }

    fn statement(&mut self, statement: &'m Statement) -> Res<End> {
        match statement {
            Statement::Emit(range) => {
                for handle in range.clone() {
                    self.emit_expression(handle)?;
                }
            }
            Statement::Block(inner) => return self.block(inner),
            Statement::If { .. } => return Err(internal(self.emit.at, "`if` outside of a sequence")),
            Statement::Switch { selector, cases } => return self.switch(*selector, cases),
            Statement::Loop { body, continuing, break_if } => {
                return self.loop_statement(body, continuing, *break_if);
            }
            Statement::Break => {
                let broke = match self.frame().scopes.last() {
                    Some(Scope::Loop { broke, .. } | Scope::Switch { broke }) => *broke,
                    None => return Err(internal(self.emit.at, "`break` outside of a loop")),
                };
                return Ok(self.exit(broke));
            }
            Statement::Continue => {
                let of_loop = |scope: &Scope| match scope {
                    Scope::Loop { continued, .. } => Some(*continued),
                    Scope::Switch { .. } => None,
                };
                let Some(continued) = self.frame().scopes.iter().rev().find_map(of_loop) else {
                    return Err(internal(self.emit.at, "`continue` outside of a loop"));
                };
                return Ok(self.exit(continued));
            }
            Statement::Return { value } => {
                if let (Some(value), Some((_, first))) = (value, self.frame().result.clone()) {
                    let value = self.value(*value)?;
                    for (i, leaf) in value.leaves.iter().enumerate() {
                        self.slots[first + i] = *leaf;
                    }
                }
                let returned = self.frame().returned;
                return Ok(self.exit(returned));
            }
            Statement::Kill => {
                return Err(unsupported(
                    self.emit.at,
                    "`discard` exists in fragment shaders only",
                    "Return from the function.",
                ));
            }
            Statement::Store { pointer, value } => {
                let (place, value) = (self.place(*pointer)?, self.value(*value)?);
                self.store(&place, &value)?;
            }
            Statement::ControlBarrier(barrier) => self.barrier(*barrier),
            Statement::MemoryBarrier(barrier) => self.fence(*barrier),
            Statement::Atomic { pointer, fun, value, result } => {
                self.atomic(*pointer, *fun, *value, *result)?;
            }
            Statement::WorkGroupUniformLoad { pointer, result } => {
                self.workgroup_uniform_load(*pointer, *result)?;
            }
            Statement::Call { function, arguments, result } => self.call(*function, arguments, *result)?,
            Statement::SubgroupBallot { result, predicate } => self.ballot(*result, *predicate)?,
            Statement::SubgroupGather { mode, argument, result } => self.gather(mode, *argument, *result)?,
            Statement::SubgroupCollectiveOperation { op, collective_op, argument, result } => {
                self.collective(*op, *collective_op, *argument, *result)?;
            }
            Statement::ImageStore { .. } | Statement::ImageAtomic { .. } => {
                return Err(resource(
                    self.emit.at,
                    "textures cannot be written in a kernel",
                    "Write the texels to a storage buffer.",
                ));
            }
            Statement::RayQuery { .. } | Statement::RayPipelineFunction(_) => {
                return Err(resource(
                    self.emit.at,
                    "ray queries have no equivalent",
                    "Traverse the scene in the shader, with its nodes in storage buffers.",
                ));
            }
            Statement::CooperativeStore { .. } => {
                return Err(unsupported(
                    self.emit.at,
                    "cooperative matrices are not imported",
                    "Write that part of the kernel in Fulgurite, whose `coop` ops work on such matrices.",
                ));
            }
        }
        Ok(End::FALLS)
    }

    fn exit(&mut self, flag: usize) -> End {
        self.slots[flag] = self.emit.bool(true);
        End::exit(flag)
    }

    fn switch(&mut self, selector: Handle<Expression>, cases: &'m [SwitchCase]) -> Res<End> {
        let selector = self.leaf(selector)?;
        let (mut groups, mut values) = (Vec::new(), Vec::new());
        let mut default: List<'m> = Vec::new();
        for case in cases {
            values.push(case.value);
            if case.fall_through {
                if !case.body.is_empty() {
                    return Err(internal(self.emit.at, "case that falls through"));
                }
                continue;
            }
            let values = core::mem::take(&mut values);
            if values.contains(&SwitchValue::Default) {
                default = list(&case.body);
            } else {
                groups.push((values, list(&case.body)));
            }
        }
        let base = self.slots.len();
        let broke = self.flag()?;
        self.frame_mut().scopes.push(Scope::Switch { broke });
        let end = self.cases(selector, &groups, &default)?;
        self.frame_mut().scopes.pop();
        self.slots.truncate(base);
        let breaks = end.flags.contains(&broke);
        let flags = end.flags.into_iter().filter(|flag| *flag != broke).collect();
        Ok(End { falls: end.falls || breaks, flags })
    }

    fn cases(
        &mut self,
        selector: ValueId,
        groups: &[(Vec<SwitchValue>, List<'m>)],
        default: &[(&'m Statement, Span)],
    ) -> Res<End> {
        let Some(((values, body), others)) = groups.split_first() else {
            return self.statements(default, None);
        };
        let mut chosen = self.emit.bool(false);
        for value in values {
            let constant = match value {
                SwitchValue::I32(value) => naga::Literal::I32(*value),
                SwitchValue::U32(value) => naga::Literal::U32(*value),
                SwitchValue::Default => continue,
            };
            let constant = self.literal(constant)?;
            let equal = self.emit.op(Op::Eq, &[selector, constant.leaves[0]])?;
            chosen = self.emit.op(Op::Or, &[chosen, equal])?;
        }
        self.fork(
            chosen,
            |lower| lower.statements(body, None),
            |lower| lower.nested(|lower| lower.cases(selector, others, default)),
        )
    }
}
