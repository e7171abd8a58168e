//! Loops: counted ones as `for`, others as `while`.

use std::collections::HashSet;

use fulgurite_ir::{InstKind, Operands, Terminator, ValueId};
use fulgurite_spec::{Lanes, Op, Type, eval};
use naga::{BinaryOperator, Block, Expression, Handle, LocalVariable, Statement};

use super::flow::{End, List, list};
use super::storage::{Store, count};
use super::{Item, Lower, Object, Scope};
use crate::refusal::Res;
use crate::scan::{self, Outcome, Root};

/// A test at the start of a loop's body that leaves the loop.
struct Lead<'m> {
    condition: Handle<Expression>,
    /// The value of the condition for which the loop goes on.
    goes_on: bool,
    /// Statements before the test, all `Emit`.
    before: List<'m>,
    /// Statements after it.
    after: List<'m>,
}

/// Returns the test at the start of a body, if everything before it only evaluates expressions.
fn lead<'m>(body: &List<'m>) -> Option<Lead<'m>> {
    let at = body.iter().position(|(statement, _)| !matches!(statement, Statement::Emit(_)))?;
    let Statement::If { condition, accept, reject } = body[at].0 else { return None };
    let goes_on = match (&accept[..], &reject[..]) {
        ([], [Statement::Break]) => true,
        ([Statement::Break], []) => false,
        (_, _) => return None,
    };
    let (before, after) = (body[..at].to_vec(), body[at + 1..].to_vec());
    Some(Lead { condition: *condition, goes_on, before, after })
}

/// The parts of a loop that counts.
struct Counted {
    counter: Handle<LocalVariable>,
    /// Slot of the counter.
    slot: usize,
    end: ValueId,
    step: ValueId,
}

impl<'m> Lower<'m> {
    pub(super) fn loop_statement(
        &mut self,
        body: &'m Block,
        continuing: &'m Block,
        break_if: Option<Handle<Expression>>,
    ) -> Res<End> {
        let body_list = list(body);
        let lead = lead(&body_list);
        let tail = lead.as_ref().map_or(&body_list, |lead| &lead.after);
        let inner = scan::outcome(tail.iter().map(|(statement, _)| *statement));
        let mut stored = self.facts.stored_in(self.frame().function, body);
        stored.extend(self.facts.stored_in(self.frame().function, continuing));
        if let Some(lead) = &lead
            && break_if.is_none()
            && !inner.breaks
            && !inner.returns
            && let Some(counted) = self.counted(lead, tail, continuing, &stored)?
        {
            return self.for_loop(&counted, lead, &stored);
        }
        self.while_loop(&body_list, lead, continuing, break_if, inner, &stored)
    }

    /// Returns the slots of the variables in `stored`.
    fn carried(&self, stored: &HashSet<Root>) -> Vec<usize> {
        let mut slots = Vec::new();
        for root in stored {
            let object = match root {
                Root::Local(handle) => self.frame().locals.get(handle).map(|i| Object::Variable(*i)),
                Root::Global(handle) => self.globals.get(handle).copied(),
                Root::Argument(index) => match self.frame().arguments.get(*index as usize) {
                    Some(Item::Place(place)) => Some(place.object),
                    Some(Item::Value(_)) | None => None,
                },
            };
            let Some(Object::Variable(index)) = object else { continue };
            for field in &self.variables[index].fields {
                if let Store::Slots(first) = field.store {
                    slots.extend(first..first + count(&field.dims) as usize);
                }
            }
        }
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    /// Names the values that a loop carries after their variables.
    fn name_carried(&mut self, slot: usize, value: ValueId) {
        let locals = self.frame().locals.values().map(|index| &self.variables[*index]);
        let owner = locals.into_iter().find(|variable| {
            variable.fields.iter().any(|field| match field.store {
                Store::Slots(first) => (first..first + count(&field.dims) as usize).contains(&slot),
                Store::Array(_) => false,
            })
        });
        if let Some(name) = owner.map(|variable| variable.name.clone()) {
            self.emit.name(value, &name);
        }
    }

    fn while_loop(
        &mut self,
        body_list: &List<'m>,
        lead: Option<Lead<'m>>,
        continuing: &'m Block,
        break_if: Option<Handle<Expression>>,
        inner: Outcome,
        stored: &HashSet<Root>,
    ) -> Res<End> {
        let at = self.emit.at;
        let base = self.slots.len();
        let (broke, continued) = (self.flag()?, self.flag()?);
        let mut carried = self.carried(stored);
        let mut flags = Vec::new();
        if inner.breaks || break_if.is_some() {
            flags.push(broke);
        }
        if inner.returns {
            flags.push(self.frame().returned);
            if let Some((ty, first)) = &self.frame().result {
                carried.extend(*first..*first + ty.leaves() as usize);
            }
        }
        carried.extend(&flags);
        let initial: Operands = carried.iter().map(|slot| self.slots[*slot]).collect();
        let (header, before) = self.emit.open();
        for slot in &carried {
            let param = self.emit.block_param(header, self.emit.ty(self.slots[*slot]));
            self.name_carried(*slot, param);
            self.slots[*slot] = param;
        }
        let mut go = self.none_of(&flags)?;
        if let Some(lead) = &lead {
            self.evaluate_all(&lead.before)?;
            let condition = self.leaf(lead.condition)?;
            let condition = if lead.goes_on { condition } else { self.emit.not(condition)? };
            go = self.emit.op(Op::And, &[go, condition])?;
        }
        self.emit.close(header, before, Terminator::Condition(go));
        let (body, _) = self.emit.open();
        // In the body, the condition held.
        for flag in flags.iter().chain([&continued]) {
            self.slots[*flag] = self.emit.bool(false);
        }
        self.frame_mut().scopes.push(Scope::Loop { broke, continued });
        let tail = lead.as_ref().map_or(body_list, |lead| &lead.after);
        let end = self.statements(tail, None)?;
        self.frame_mut().scopes.pop();
        if end.falls || end.flags.contains(&continued) {
            let exits: Vec<usize> = end.flags.iter().copied().filter(|flag| *flag != continued).collect();
            let go = self.none_of(&exits)?;
            self.fork(
                go,
                |lower| {
                    lower.block(continuing)?;
                    if let Some(condition) = break_if {
                        lower.slots[broke] = lower.leaf(condition)?;
                    }
                    Ok(End::FALLS)
                },
                |_| Ok(End::FALLS),
            )?;
        }
        self.emit.at = at;
        let next: Operands = carried.iter().map(|slot| self.slots[*slot]).collect();
        let types: Vec<Type> = next.iter().map(|value| self.emit.ty(*value)).collect();
        self.emit.close(body, before, Terminator::Yield(next));
        let results = self.emit.inst(InstKind::While { initial, header, body }, &types);
        for (slot, result) in carried.iter().zip(results) {
            self.slots[*slot] = result;
        }
        self.slots.truncate(base);
        let falls = lead.is_some() || inner.breaks || break_if.is_some();
        let flags = if inner.returns { vec![self.frame().returned] } else { Vec::new() };
        Ok(End { falls, flags })
    }

    fn evaluate_all(&mut self, list: &List<'m>) -> Res<()> {
        for (statement, _) in list {
            if let Statement::Emit(range) = statement {
                for handle in range.clone() {
                    self.emit_expression(handle)?;
                }
            }
        }
        Ok(())
    }

    /// Returns how a loop counts, if the number of iterations follows from values before it.
    fn counted(
        &mut self,
        lead: &Lead<'m>,
        tail: &List<'m>,
        continuing: &'m Block,
        stored: &HashSet<Root>,
    ) -> Res<Option<Counted>> {
        let function = self.frame().function;
        let Expression::Binary { op, left, right } = function.expressions[lead.condition] else {
            return Ok(None);
        };
        let slot_of = |handle| loaded(function, handle).and_then(|v| Some((v, self.counter_slot(v)?)));
        let is_counter = |handle| slot_of(handle).is_some_and(|(v, _)| stored.contains(&Root::Local(v)));
        // `n > i` is `i < n`.
        let (op, left, right) = match op {
            _ if is_counter(left) => (op, left, right),
            BinaryOperator::Less => (BinaryOperator::Greater, right, left),
            BinaryOperator::LessEqual => (BinaryOperator::GreaterEqual, right, left),
            BinaryOperator::Greater => (BinaryOperator::Less, right, left),
            BinaryOperator::GreaterEqual => (BinaryOperator::LessEqual, right, left),
            _ => return Ok(None),
        };
        let Some((counter, slot)) = slot_of(left) else { return Ok(None) };
        let Some((step, is_down)) = self.step_of(counter, continuing)? else { return Ok(None) };
        let stores = stores_to(function, counter, tail) + calls_with(function, counter, tail);
        if stores != 0 || !lead.goes_on || !self.is_invariant(right, stored, 0) {
            return Ok(None);
        }
        let scalar = self.emit.ty(step).scalar;
        let one = self.emit.number(scalar, 1.0);
        let by_one = match (is_down, self.emit.kernel.literal(step)) {
            (false, _) => step == one,
            (true, literal) => literal.is_some_and(|l| l.bits == scalar.mask()),
        };
        // Nothing is cached: the loop evaluates its expressions again.
        let end = self.leaf(right)?;
        let bound = self.emit.kernel.literal(end);
        let adjusted = match (op, is_down) {
            (BinaryOperator::Less, false) | (BinaryOperator::Greater, true) if by_one => Some(end),
            (BinaryOperator::Less | BinaryOperator::LessEqual, false)
            | (BinaryOperator::Greater | BinaryOperator::GreaterEqual, true) => {
                // With other steps and bounds the counter could wrap, which a literal bound can rule out.
                let strict = matches!(op, BinaryOperator::Less | BinaryOperator::Greater);
                bound
                    .and_then(|bound| {
                        let (value, step) = (signed(bound), signed(self.emit.kernel.literal(step)?));
                        let end = if strict { value } else { value + step.signum() };
                        let last = end + step;
                        let (low, high) = range(scalar);
                        (low..=high).contains(&last).then_some(end)
                    })
                    .map(|end| self.emit.constant(fulgurite_spec::Literal::new(scalar, end as u64)))
            }
            (_, _) => None,
        };
        Ok(adjusted.map(|end| Counted { counter, slot, end, step }))
    }

    /// Returns the slot of a variable that may be the counter of a loop: a scalar integer.
    fn counter_slot(&self, variable: Handle<LocalVariable>) -> Option<usize> {
        let index = *self.frame().locals.get(&variable)?;
        let [field] = &self.variables[index].fields[..] else { return None };
        let is_counter =
            field.dims.is_empty() && field.ty.lanes == Lanes::One && field.ty.scalar.is_integer();
        match field.store {
            Store::Slots(first) if is_counter => Some(first),
            Store::Slots(_) | Store::Array(_) => None,
        }
    }

    /// Returns the step of a counter that `continuing` adds a literal to and does nothing else, and whether it counts
    /// down.
    fn step_of(
        &mut self,
        counter: Handle<LocalVariable>,
        continuing: &'m Block,
    ) -> Res<Option<(ValueId, bool)>> {
        let function = self.frame().function;
        let mut stored = None;
        for statement in continuing {
            match statement {
                Statement::Emit(_) => {}
                Statement::Store { pointer, value } if stored.is_none() => stored = Some((*pointer, *value)),
                _ => return Ok(None),
            }
        }
        let Some((pointer, value)) = stored else { return Ok(None) };
        let is_counter = matches!(function.expressions[pointer], Expression::LocalVariable(variable) if variable == counter);
        let Expression::Binary { op, left, right } = function.expressions[value] else { return Ok(None) };
        if !is_counter || loaded(function, left) != Some(counter) {
            return Ok(None);
        }
        if !matches!(function.expressions[right], Expression::Literal(_) | Expression::Constant(_)) {
            return Ok(None);
        }
        let literal = self.leaf(right)?;
        let Some(amount) = self.emit.kernel.literal(literal).map(signed) else { return Ok(None) };
        let step = match op {
            BinaryOperator::Add => amount,
            BinaryOperator::Subtract => -amount,
            _ => return Ok(None),
        };
        let scalar = self.emit.ty(literal).scalar;
        let (low, high) = range(scalar);
        // An unsigned `for` counts up only.
        if step == 0 || !(low..=high).contains(&step) {
            return Ok(None);
        }
        let step_value = self.emit.constant(fulgurite_spec::Literal::new(scalar, step as u64));
        Ok(Some((step_value, step < 0)))
    }

    /// Returns whether an expression has the same value before the loop as in each iteration.
    fn is_invariant(&self, handle: Handle<Expression>, stored: &HashSet<Root>, depth: u32) -> bool {
        const DEEPEST: u32 = 16;
        if depth > DEEPEST {
            return false;
        }
        let function = self.frame().function;
        // What is evaluated already does not change.
        if self.frame().cache.contains_key(&handle) {
            return true;
        }
        let again = |handle: Handle<Expression>| self.is_invariant(handle, stored, depth + 1);
        match &function.expressions[handle] {
            Expression::Literal(_) | Expression::Constant(_) | Expression::FunctionArgument(_) => true,
            Expression::Load { pointer } => match scan::root(function, *pointer) {
                Some(root @ Root::Local(_)) => !stored.contains(&root) && is_static(function, *pointer),
                Some(Root::Global(global)) => {
                    let space = self.module.global_variables[global].space;
                    let fixed = matches!(space, naga::AddressSpace::Uniform | naga::AddressSpace::Immediate);
                    fixed && is_static(function, *pointer)
                }
                Some(Root::Argument(_)) | None => false,
            },
            Expression::ArrayLength(pointer) => is_static(function, *pointer),
            Expression::AccessIndex { base, .. } => again(*base),
            Expression::Unary { expr, .. } | Expression::As { expr, .. } => again(*expr),
            Expression::Binary { left, right, .. } => again(*left) && again(*right),
            Expression::Math { arg, arg1, arg2, arg3, .. } => {
                [Some(arg), arg1.as_ref(), arg2.as_ref(), arg3.as_ref()]
                    .into_iter()
                    .flatten()
                    .all(|h| again(*h))
            }
            _ => false,
        }
    }

    fn for_loop(&mut self, counted: &Counted, lead: &Lead<'m>, stored: &HashSet<Root>) -> Res<End> {
        let at = self.emit.at;
        let base = self.slots.len();
        let (broke, continued) = (self.flag()?, self.flag()?);
        let slot = counted.slot;
        let carried: Vec<usize> = self.carried(stored).into_iter().filter(|other| *other != slot).collect();
        let initial: Operands = carried.iter().map(|slot| self.slots[*slot]).collect();
        let first = self.slots[slot];
        // A counter that is never negative counts as `u32`, whose range the analyses know.
        let bounds = [first, counted.end, counted.step];
        let is_unsigned = self.emit.ty(first) == Type::I32
            && bounds.iter().all(|v| self.emit.kernel.literal(*v).is_some_and(|l| signed(l) >= 0));
        let ty = if is_unsigned { Type::U32 } else { self.emit.ty(first) };
        let mut casts = Vec::new();
        for bound in bounds {
            casts.push(self.emit.cast(Op::Bitcast, bound, ty)?);
        }
        let (start, end, step) = (casts[0], casts[1], casts[2]);
        let (body, before) = self.emit.open();
        let counter = self.emit.block_param(body, ty);
        let function = self.frame().function;
        if let Some(name) = &function.local_variables[counted.counter].name {
            self.emit.name(counter, name);
        }
        self.slots[slot] = self.emit.cast(Op::Bitcast, counter, self.emit.ty(first))?;
        for slot in &carried {
            let param = self.emit.block_param(body, self.emit.ty(self.slots[*slot]));
            self.name_carried(*slot, param);
            self.slots[*slot] = param;
        }
        self.evaluate_all(&lead.before)?;
        self.frame_mut().scopes.push(Scope::Loop { broke, continued });
        self.statements(&lead.after, None)?;
        self.frame_mut().scopes.pop();
        self.emit.at = at;
        let next: Operands = carried.iter().map(|slot| self.slots[*slot]).collect();
        let types: Vec<Type> = next.iter().map(|value| self.emit.ty(*value)).collect();
        self.emit.close(body, before, Terminator::Yield(next));
        let results = self.emit.inst(InstKind::For { start, end, step, initial, body }, &types);
        for (slot, result) in carried.iter().zip(results) {
            self.slots[*slot] = result;
        }
        self.slots[slot] = self.last_count(first, counted.end, counted.step)?;
        self.slots.truncate(base);
        Ok(End::FALLS)
    }

    /// Returns the counter after a loop: the first value at or past `end`, or `start` if that is past it.
    fn last_count(&mut self, start: ValueId, end: ValueId, step: ValueId) -> Res<ValueId> {
        let ty = self.emit.ty(start);
        let Some(literal) = self.emit.kernel.literal(step) else { return Ok(end) };
        if let (Some(start), Some(end)) = (self.emit.kernel.literal(start), self.emit.kernel.literal(end)) {
            let trips = eval::trip_count(ty.scalar, start.bits, end.bits, literal.bits);
            let last = signed(start) + i128::from(trips) * signed(literal);
            return Ok(self.emit.constant(fulgurite_spec::Literal::new(ty.scalar, last as u64)));
        }
        let is_down = signed(literal) < 0;
        let stride = signed(literal).unsigned_abs();
        let Some(unsigned) = ty.scalar.unsigned().map(Type::scalar) else { return Ok(end) };
        let (low, high) = if is_down { (end, start) } else { (start, end) };
        let distance = self.emit.op(Op::Sub, &[high, low])?;
        let distance = self.emit.cast(Op::Bitcast, distance, unsigned)?;
        let literal_of = |n: u128| fulgurite_spec::Literal::new(unsigned.scalar, n as u64);
        let (less, whole) =
            (self.emit.constant(literal_of(stride - 1)), self.emit.constant(literal_of(stride)));
        // The distance is positive here, so the count of whole strides is that of the distance less one, and one.
        let rounded = self.emit.op(Op::Add, &[distance, less])?;
        let trips = self.emit.op(Op::Div, &[rounded, whole])?;
        let way = self.emit.op(Op::Mul, &[trips, whole])?;
        let way = self.emit.cast(Op::Bitcast, way, ty)?;
        let last = self.emit.op(if is_down { Op::Sub } else { Op::Add }, &[start, way])?;
        let runs = self.emit.op(Op::Lt, &[low, high])?;
        self.select(runs, last, start)
    }
}

/// Returns the value of an integer literal.
fn signed(literal: fulgurite_spec::Literal) -> i128 {
    if literal.ty.is_signed() {
        let unused = 64 - literal.ty.bits();
        i128::from((literal.bits << unused) as i64 >> unused)
    } else {
        i128::from(literal.bits)
    }
}

/// Returns the least and the largest value of an integer type.
fn range(ty: fulgurite_spec::ScalarType) -> (i128, i128) {
    let bits = ty.bits();
    if ty.is_signed() {
        (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)
    } else {
        (0, (1i128 << bits) - 1)
    }
}

/// Returns the variable that an expression loads as a whole.
fn loaded(function: &naga::Function, handle: Handle<Expression>) -> Option<Handle<LocalVariable>> {
    let Expression::Load { pointer } = function.expressions[handle] else { return None };
    match function.expressions[pointer] {
        Expression::LocalVariable(variable) => Some(variable),
        _ => None,
    }
}

/// Returns whether a pointer expression has no dynamic index.
fn is_static(function: &naga::Function, mut pointer: Handle<Expression>) -> bool {
    loop {
        match function.expressions[pointer] {
            Expression::AccessIndex { base, .. } => pointer = base,
            Expression::LocalVariable(_) | Expression::GlobalVariable(_) => return true,
            _ => return false,
        }
    }
}

/// Returns the number of stores to a variable.
fn stores_to(function: &naga::Function, variable: Handle<LocalVariable>, list: &List<'_>) -> usize {
    let mut found = 0;
    each(list, &mut |statement| {
        if let Statement::Store { pointer, .. } = statement
            && scan::root(function, *pointer) == Some(Root::Local(variable))
        {
            found += 1;
        }
    });
    found
}

/// Returns the number of calls that receive a pointer to a variable.
fn calls_with(function: &naga::Function, variable: Handle<LocalVariable>, list: &List<'_>) -> usize {
    let mut found = 0;
    each(list, &mut |statement| {
        if let Statement::Call { arguments, .. } = statement {
            found += arguments
                .iter()
                .filter(|argument| scan::root(function, **argument) == Some(Root::Local(variable)))
                .count();
        }
    });
    found
}

fn each<'m>(list: &List<'m>, visit: &mut impl FnMut(&'m Statement)) {
    for (statement, _) in list {
        scan::each_in(statement, visit);
    }
}
