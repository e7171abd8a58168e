//! Compiles a verified kernel to [`Code`]: one walk for lifetimes, one that gives out registers and steps.
//!
//! What makes the flat form right under divergence: a value is read only by lanes that were active when it was
//! computed, so plain steps compute all lanes. Only three things heed the mask: memory that is written, results of
//! the second block of an `if`, and values carried by loops, which keep what they were in lanes that have left.
//! A loop's results are its carried values' own registers.

mod lifetimes;
mod registers;

use std::collections::HashMap;
use std::sync::Arc;

use fulgurite_driver_core::Error;
use fulgurite_ir::analysis::{Event, Walk, instructions};
use fulgurite_ir::{
    BlockId, Const, InstId, InstKind, Memory, Operands, Terminator, ValueDef, ValueId, VerifiedKernel,
    main_type,
};
use fulgurite_spec::{Op, Operand, ScalarType, Semantics, Type};

use crate::code::{Code, Fixed, ForLoop, Position, Step};
use crate::compute::{Args, Register, compute};
use lifetimes::Lifetimes;
use registers::Registers;

/// Compiles `kernel`.
///
/// # Errors
/// [`Error::Internal`] for what the verifier should have refused.
pub(crate) fn compile(kernel: Arc<VerifiedKernel>) -> Result<Code, Error> {
    let mut compiler = Compiler {
        lifetimes: Lifetimes::of(&kernel),
        kernel: &kernel,
        registers: Registers::default(),
        fixed: Vec::new(),
        known: HashMap::new(),
        values: vec![[0; 4]; kernel.values.len()],
        steps: Vec::new(),
        roles: vec![Role::Body; kernel.blocks.len()],
        begins: Vec::new(),
        now: 0,
    };
    compiler.fix_registers();
    compiler.walk()?;
    let Compiler { registers, fixed, steps, .. } = compiler;
    let words = |bytes: u64| (bytes / 4) as usize;
    let meets = !kernel.shared.is_empty() || steps.iter().any(|s| matches!(s, Step::Barrier));
    Ok(Code {
        steps,
        fixed,
        registers: registers.count(),
        shared_words: words(kernel.shared_bytes()),
        local_words: words(kernel.local_bytes()),
        invocations: kernel.workgroup_invocations() as usize,
        meets,
        kernel,
    })
}

fn internal(what: &str) -> Error {
    Error::Internal(format!("cpu: {what}"))
}

/// What a block is to the instruction it belongs to.
#[derive(Clone, Copy)]
enum Role {
    Body,
    Then(InstId),
    Else(InstId),
    For,
    Header,
    WhileBody(InstId),
}

struct Compiler<'k> {
    kernel: &'k VerifiedKernel,
    lifetimes: Lifetimes,
    registers: Registers,
    fixed: Vec<Fixed>,
    /// Fixed registers by what they hold.
    known: HashMap<Fixed, Register>,
    /// Each value's registers, by component.
    values: Vec<[Register; 4]>,
    steps: Vec<Step>,
    roles: Vec<Role>,
    /// Steps of open control flow, whose targets are not known yet.
    begins: Vec<Position>,
    /// The event at hand.
    now: u32,
}

impl Compiler<'_> {
    // Registers.

    fn fix(&mut self, fixed: Fixed) -> Register {
        *self.known.entry(fixed).or_insert_with(|| {
            self.fixed.push(fixed);
            self.registers.fix()
        })
    }

    /// Gives registers to all that is known before the first step.
    fn fix_registers(&mut self) {
        let kernel = self.kernel;
        for (index, value) in kernel.values.iter().enumerate() {
            match value.def {
                ValueDef::Const(Const(bits)) => {
                    self.values[index][0] = self.fix(Fixed::Constant(bits as u32));
                }
                ValueDef::Param(id) => {
                    for component in 0..value.ty.lanes.count() as usize {
                        self.values[index][component] = self.fix(Fixed::Param(id.index(), component));
                    }
                }
                ValueDef::Inst(..) | ValueDef::BlockParam(..) => {}
            }
        }
        self.fix(Fixed::Constant(0));
        for inst in instructions(kernel).map(|id| kernel.inst(id)) {
            let fixed = match &inst.kind {
                InstKind::Id { op, component } => Fixed::Id(*op, *component),
                InstKind::Len { memory: Memory::Buffer(id) } => Fixed::Len(id.index()),
                InstKind::Len { memory } => Fixed::Constant(Code::place(kernel, *memory).len),
                _ => continue,
            };
            let register = self.fix(fixed);
            if let Some(result) = inst.results.first() {
                self.values[result.index()][0] = register;
            }
        }
    }

    /// Gives registers to a value, until its lifetime ends.
    fn define(&mut self, value: ValueId) -> [Register; 4] {
        let mut registers = [0; 4];
        let end = self.lifetimes.end(value);
        let count = self.kernel.ty(value).lanes.count() as usize;
        for register in &mut registers[..count] {
            *register = self.registers.take(end);
        }
        self.values[value.index()] = registers;
        registers
    }

    /// A register for the step at hand only.
    fn temporary(&mut self) -> Register {
        self.registers.take(self.now)
    }

    fn value(&self, value: ValueId) -> [Register; 4] {
        self.values[value.index()]
    }

    fn scalar(&self, value: ValueId) -> Register {
        self.values[value.index()][0]
    }

    fn components(&self, value: ValueId) -> usize {
        self.kernel.ty(value).lanes.count() as usize
    }

    // Steps.

    fn here(&self) -> Position {
        self.steps.len() as Position
    }

    fn walk(&mut self) -> Result<(), Error> {
        let kernel = self.kernel;
        for (event, now) in Walk::new(kernel).zip(0..) {
            self.now = now;
            match event {
                Event::Enter(block) => self.enter(block)?,
                Event::Inst(inst) => self.inst(inst)?,
                Event::Done(_) => {}
                Event::Exit(block) => self.exit(block)?,
            }
            self.registers.expire(now);
        }
        self.steps.push(Step::End);
        Ok(())
    }

    fn enter(&mut self, block: BlockId) -> Result<(), Error> {
        let Role::WhileBody(inst) = self.roles[block.index()] else { return Ok(()) };
        let InstKind::While { header, .. } = self.kernel.inst(inst).kind else {
            return Err(internal("a body without its loop"));
        };
        let Terminator::Condition(condition) = self.kernel.block(header).terminator else {
            return Err(internal("a `while` without a condition"));
        };
        self.begins.push(self.here());
        self.steps.push(Step::Condition { condition: self.scalar(condition), next: 0 });
        Ok(())
    }

    fn inst(&mut self, id: InstId) -> Result<(), Error> {
        let kernel = self.kernel;
        let inst = kernel.inst(id);
        match &inst.kind {
            InstKind::Scalar { op, operands, .. } => self.scalar_op(*op, operands, &inst.results)?,
            InstKind::Id { .. } | InstKind::Len { .. } => {}
            InstKind::Load { memory, index } => {
                let place = Code::place(kernel, *memory);
                let index = self.scalar(*index);
                for result in &inst.results {
                    let to = self.define(*result);
                    self.steps.push(Step::Load { place, index, to });
                }
            }
            InstKind::Store { memory, index, value } => {
                let place = Code::place(kernel, *memory);
                let (index, from) = (self.scalar(*index), self.value(*value));
                self.steps.push(Step::Store { place, index, from });
            }
            InstKind::Atomic { op, memory, index, operands, .. } => {
                let mut args = [0; 2];
                for (arg, operand) in args.iter_mut().zip(operands) {
                    *arg = self.scalar(*operand);
                }
                let to = match inst.results.first() {
                    Some(result) => self.define(*result)[0],
                    None => self.temporary(),
                };
                self.steps.push(Step::Atomic {
                    op: *op,
                    is_signed: kernel.element(*memory).scalar == ScalarType::I32,
                    place: Code::place(kernel, *memory),
                    index: self.scalar(*index),
                    operands: args,
                    to,
                });
            }
            InstKind::Barrier { .. } => self.steps.push(Step::Barrier),
            InstKind::If { condition, then_block, else_block } => {
                self.roles[then_block.index()] = Role::Then(id);
                self.roles[else_block.index()] = Role::Else(id);
                for result in &inst.results {
                    self.define(*result);
                }
                self.begins.push(self.here());
                self.steps.push(Step::If { condition: self.scalar(*condition), otherwise: 0 });
            }
            InstKind::For { start, end, step, initial, body } => {
                self.roles[body.index()] = Role::For;
                let Some((counter, carried)) = kernel.block(*body).params.split_first() else {
                    return Err(internal("a `for` without a counter"));
                };
                self.define_carried(carried, initial, &inst.results);
                let counter_register = self.define(*counter)[0];
                let trips = self.registers.take(self.lifetimes.end(*counter));
                let Some(step) = kernel.literal(*step) else {
                    return Err(internal("a `for` whose step is no literal"));
                };
                let looping = ForLoop {
                    start: self.scalar(*start),
                    end: self.scalar(*end),
                    counter: counter_register,
                    trips,
                    step: step.bits as u32,
                    is_signed: kernel.ty(*start).scalar == ScalarType::I32,
                };
                self.begins.push(self.here());
                self.steps.push(Step::For { looping, next: 0 });
            }
            InstKind::While { initial, header, body } => {
                self.roles[header.index()] = Role::Header;
                self.roles[body.index()] = Role::WhileBody(id);
                self.define_carried(&kernel.block(*header).params, initial, &inst.results);
                self.begins.push(self.here());
                self.steps.push(Step::While);
            }
            _ => return Err(internal("an instruction that should have been refused")),
        }
        Ok(())
    }

    /// Gives registers to carried values, which are the loop's results too, and copies what they begin with.
    fn define_carried(&mut self, carried: &[ValueId], initial: &Operands, results: &Operands) {
        for ((param, from), result) in carried.iter().zip(initial).zip(results) {
            // The result's lifetime covers the loop.
            let to = self.define(*result);
            self.values[param.index()] = to;
            let from = self.value(*from);
            for component in 0..self.components(*param) {
                self.steps.push(Step::Copy { to: to[component], from: from[component] });
            }
        }
    }

    fn exit(&mut self, block: BlockId) -> Result<(), Error> {
        let kernel = self.kernel;
        let values: &[ValueId] = match &kernel.block(block).terminator {
            Terminator::Yield(values) => values,
            Terminator::Return | Terminator::Condition(_) => &[],
        };
        match self.roles[block.index()] {
            Role::Body | Role::Header => {}
            Role::Then(id) => {
                // The other lanes' results are overwritten by the other block.
                self.move_values(values, &kernel.inst(id).results, |to, from| Step::Copy { to, from });
                let position = self.here();
                self.steps.push(Step::Else { end: 0 });
                self.patch(|step| {
                    if let Step::If { otherwise, .. } = step {
                        *otherwise = position;
                    }
                });
                self.begins.push(position);
            }
            Role::Else(id) => {
                self.move_values(values, &kernel.inst(id).results, |to, from| Step::Blend { to, from });
                let position = self.here();
                self.steps.push(Step::EndIf);
                self.patch(|step| {
                    if let Step::Else { end } = step {
                        *end = position;
                    }
                });
            }
            Role::For => {
                let carried = kernel.block(block).params.get(1..).unwrap_or_default();
                self.move_values(values, carried, |to, from| Step::Blend { to, from });
                let position = self.here();
                let Some(begin) = self.begins.last().copied() else {
                    return Err(internal("a loop that ends before it begins"));
                };
                let Step::For { looping, .. } = self.steps[begin as usize] else {
                    return Err(internal("a loop that ends another"));
                };
                self.steps.push(Step::ForNext { looping, begin });
                self.patch(|step| {
                    if let Step::For { next, .. } = step {
                        *next = position;
                    }
                });
            }
            Role::WhileBody(id) => {
                let InstKind::While { header, .. } = kernel.inst(id).kind else {
                    return Err(internal("a body without its loop"));
                };
                self.move_values(values, &kernel.block(header).params, |to, from| Step::Blend { to, from });
                let position = self.here();
                self.patch(|step| {
                    if let Step::Condition { next, .. } = step {
                        *next = position;
                    }
                });
                let Some(begin) = self.begins.pop() else {
                    return Err(internal("a loop that ends before it begins"));
                };
                self.steps.push(Step::WhileNext { begin });
            }
        }
        Ok(())
    }

    /// Closes the innermost open step of control flow.
    fn patch(&mut self, change: impl FnOnce(&mut Step)) {
        if let Some(step) = self.begins.pop().and_then(|p| self.steps.get_mut(p as usize)) {
            change(step);
        }
    }

    /// Copies values to where others are kept, all at once.
    fn move_values(&mut self, from: &[ValueId], to: &[ValueId], step: fn(Register, Register) -> Step) {
        let mut moves: Vec<(Register, Register)> = Vec::new();
        for (from, to) in from.iter().zip(to) {
            let (source, target) = (self.value(*from), self.value(*to));
            moves.extend((0..self.components(*to)).map(|c| (target[c], source[c])).filter(|(t, s)| t != s));
        }
        // A source that an earlier move overwrites is saved first.
        let targets: HashMap<Register, usize> =
            moves.iter().enumerate().map(|(position, (to, _))| (*to, position)).collect();
        for (position, (_, from)) in moves.iter_mut().enumerate() {
            if targets.get(from).is_some_and(|overwritten| *overwritten < position) {
                let saved = self.temporary();
                self.steps.push(Step::Copy { to: saved, from: *from });
                *from = saved;
            }
        }
        self.steps.extend(moves.into_iter().map(|(to, from)| step(to, from)));
    }

    // Scalar ops.

    fn scalar_op(&mut self, op: Op, operands: &Operands, results: &Operands) -> Result<(), Error> {
        let Some(result) = results.first().copied() else {
            return Err(internal("an op without a result"));
        };
        let to = self.define(result);
        let types: Vec<Type> = operands.iter().map(|v| self.kernel.ty(*v)).collect();
        let args: Vec<[Register; 4]> = operands.iter().map(|v| self.value(*v)).collect();
        let main = main_type(op, &types).ok_or_else(|| internal("an op without operands"))?;
        let count = main.lanes.count();
        match (op, &args[..]) {
            (Op::Construct, _) => {
                for (to, from) in to.into_iter().zip(&args) {
                    self.steps.push(Step::Copy { to, from: from[0] });
                }
            }
            (Op::Extract, [vector, index]) => match self.kernel.literal(operands[1]) {
                Some(index) => {
                    let zero = self.fix(Fixed::Constant(0));
                    let inside = index.bits < u64::from(count);
                    let from = if inside { vector[index.bits as usize] } else { zero };
                    self.steps.push(Step::Copy { to: to[0], from });
                }
                None => {
                    let (components, index) = (*vector, index[0]);
                    self.steps.push(Step::Extract { to: to[0], components, count, index });
                }
            },
            (Op::Insert, [vector, index, value]) => {
                for component in 0..count {
                    let (to, from) = (to[component as usize], vector[component as usize]);
                    self.steps.push(match self.kernel.literal(operands[1]) {
                        Some(index) if index.bits == u64::from(component) => {
                            Step::Copy { to, from: value[0] }
                        }
                        Some(_) => Step::Copy { to, from },
                        None => Step::Insert { to, from, component, index: index[0], value: value[0] },
                    });
                }
            }
            (Op::Dot, [a, b]) => self.dot(main, to[0], *a, *b)?,
            _ => {
                let Semantics::Scalar { operands: kinds, .. } = op.info().semantics else {
                    return Err(internal("an op that is none of its operands' components"));
                };
                let apply = compute(op, main.scalar, self.kernel.ty(result).scalar)
                    .ok_or_else(|| internal("an op that its operands do not fit"))?;
                for component in 0..count as usize {
                    let mut registers = [0; 4];
                    for ((register, arg), kind) in registers.iter_mut().zip(&args).zip(kinds) {
                        *register = arg[if *kind == Operand::U32 { 0 } else { component }];
                    }
                    self.steps
                        .push(Step::Compute(apply, Args { result: to[component], operands: registers }));
                }
            }
        }
        Ok(())
    }

    /// Products, added left to right.
    fn dot(&mut self, main: Type, to: Register, a: [Register; 4], b: [Register; 4]) -> Result<(), Error> {
        let find = |op| {
            compute(op, main.scalar, main.scalar)
                .ok_or_else(|| internal("a dot product of what is no number"))
        };
        let (multiply, add) = (find(Op::Mul)?, find(Op::Add)?);
        let count = main.lanes.count() as usize;
        let mut sum = self.temporary();
        self.steps.push(Step::Compute(multiply, Args { result: sum, operands: [a[0], b[0], 0, 0] }));
        for component in 1..count {
            let product = self.temporary();
            let operands = [a[component], b[component], 0, 0];
            self.steps.push(Step::Compute(multiply, Args { result: product, operands }));
            let result = if component + 1 == count { to } else { self.temporary() };
            self.steps.push(Step::Compute(add, Args { result, operands: [sum, product, 0, 0] }));
            sum = result;
        }
        Ok(())
    }
}
