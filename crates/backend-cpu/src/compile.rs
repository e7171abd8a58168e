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

use crate::code::{Code, Fixed, ForLoop, Index, Position, Step, place, words_of};
use crate::compute::{Args, Generic, Register, compute, registers_of};
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
    let meets = !kernel.shared.is_empty() || steps.iter().any(|s| matches!(s, Step::Barrier));
    Ok(Code {
        steps,
        fixed,
        registers: registers.count(),
        shared_words: words_of(&kernel.shared),
        local_words: words_of(&kernel.locals),
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
    /// The first of the fixed registers that hold the same.
    known: HashMap<Vec<Fixed>, Register>,
    /// Each value's registers, by component the first.
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

    fn fix(&mut self, fixed: Vec<Fixed>) -> Register {
        if let Some(register) = self.known.get(&fixed) {
            return *register;
        }
        let register = self.registers.fix(fixed.len() as u32);
        self.fixed.extend(&fixed);
        self.known.insert(fixed, register);
        register
    }

    /// A scalar known now.
    fn constant(&mut self, ty: ScalarType, bits: u64) -> Register {
        let words = 0..registers_of(ty);
        self.fix(words.map(|word| Fixed::Constant((bits >> (32 * word)) as u32)).collect())
    }

    /// Gives registers to all that is known before the first step.
    fn fix_registers(&mut self) {
        let kernel = self.kernel;
        for (position, value) in kernel.values.iter().enumerate() {
            let words = 0..registers_of(value.ty.scalar);
            match value.def {
                ValueDef::Const(Const(bits)) => {
                    self.values[position][0] = self.constant(value.ty.scalar, bits);
                }
                ValueDef::Param(id) => {
                    let index = id.index();
                    for component in 0..value.ty.lanes.count() as usize {
                        let param = words.clone().map(|word| Fixed::Param { index, component, word });
                        self.values[position][component] = self.fix(param.collect());
                    }
                }
                ValueDef::Inst(..) | ValueDef::BlockParam(..) => {}
            }
        }
        for inst in instructions(kernel).map(|id| kernel.inst(id)) {
            let Some(result) = inst.results.first().copied() else { continue };
            let words = 0..registers_of(kernel.ty(result).scalar);
            let register = match &inst.kind {
                InstKind::Id { op, component } => self.fix(vec![Fixed::Id(*op, *component)]),
                InstKind::Len { memory } => match *memory {
                    Memory::Buffer(id) => {
                        self.fix(words.map(|word| Fixed::Len { binding: id.index(), word }).collect())
                    }
                    Memory::Shared(id) => {
                        self.constant(kernel.ty(result).scalar, kernel.shared[id.index()].len.into())
                    }
                    Memory::Local(id) => {
                        self.constant(kernel.ty(result).scalar, kernel.locals[id.index()].len.into())
                    }
                    // Refused before compilation.
                    Memory::View(_) => continue,
                },
                // A component that there is not.
                InstKind::Scalar { op: Op::Extract, .. } => {
                    self.constant(kernel.ty(result).scalar, 0);
                    continue;
                }
                _ => continue,
            };
            self.values[result.index()][0] = register;
        }
    }

    /// Gives registers to a value, until its lifetime ends.
    fn define(&mut self, value: ValueId) -> [Register; 4] {
        let mut registers = [0; 4];
        let end = self.lifetimes.end(value);
        let ty = self.kernel.ty(value);
        for register in &mut registers[..ty.lanes.count() as usize] {
            *register = self.registers.take(registers_of(ty.scalar), end);
        }
        self.values[value.index()] = registers;
        registers
    }

    /// A scalar's registers for the step at hand only.
    fn temporary(&mut self, ty: ScalarType) -> Register {
        self.registers.take(registers_of(ty), self.now)
    }

    fn value(&self, value: ValueId) -> [Register; 4] {
        self.values[value.index()]
    }

    fn scalar(&self, value: ValueId) -> Register {
        self.values[value.index()][0]
    }

    /// All of a value's registers.
    fn all_registers(&self, value: ValueId) -> impl Iterator<Item = Register> + use<> {
        let (registers, ty) = (self.values[value.index()], self.kernel.ty(value));
        let components = registers.into_iter().take(ty.lanes.count() as usize);
        components.flat_map(move |first| first..first + registers_of(ty.scalar))
    }

    fn index(&self, value: ValueId) -> Index {
        match registers_of(self.kernel.ty(value).scalar) {
            1 => Index::Narrow(self.scalar(value)),
            _ => Index::Wide(self.scalar(value)),
        }
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
                let place = place(kernel, *memory);
                let index = self.index(*index);
                for result in &inst.results {
                    let to = self.define(*result);
                    self.steps.push(Step::Load { place, index, to });
                }
            }
            InstKind::Store { memory, index, value } => {
                let place = place(kernel, *memory);
                let (index, from) = (self.index(*index), self.value(*value));
                self.steps.push(Step::Store { place, index, from });
            }
            InstKind::Atomic { op, memory, index, operands, .. } => {
                let mut args = [0; 2];
                for (arg, operand) in args.iter_mut().zip(operands) {
                    *arg = self.scalar(*operand);
                }
                let ty = kernel.element(*memory).scalar;
                let to = match inst.results.first() {
                    Some(result) => self.define(*result)[0],
                    None => self.temporary(ty),
                };
                self.steps.push(Step::Atomic {
                    op: *op,
                    ty,
                    place: place(kernel, *memory),
                    index: self.index(*index),
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
                let ty = kernel.ty(*counter).scalar;
                let trips = self.registers.take(registers_of(ty), self.lifetimes.end(*counter));
                let Some(step) = kernel.literal(*step) else {
                    return Err(internal("a `for` whose step is no literal"));
                };
                let looping = ForLoop {
                    start: self.scalar(*start),
                    end: self.scalar(*end),
                    counter: counter_register,
                    trips,
                    step: step.bits,
                    ty,
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
            self.values[param.index()] = self.define(*result);
            let moves = self.all_registers(*param).zip(self.all_registers(*from));
            self.steps.extend(moves.map(|(to, from)| Step::Copy { to, from }));
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
            let pairs = self.all_registers(*to).zip(self.all_registers(*from));
            moves.extend(pairs.filter(|(to, from)| to != from));
        }
        // A source that an earlier move overwrites is saved first.
        let targets: HashMap<Register, usize> =
            moves.iter().enumerate().map(|(position, (to, _))| (*to, position)).collect();
        for (position, (_, from)) in moves.iter_mut().enumerate() {
            if targets.get(from).is_some_and(|overwritten| *overwritten < position) {
                let saved = self.registers.take(1, self.now);
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
        let words = 0..registers_of(main.scalar);
        match (op, &args[..]) {
            (Op::Construct, _) => {
                for (to, from) in to.into_iter().zip(&args) {
                    self.copy(main.scalar, to, from[0]);
                }
            }
            (Op::Extract, [vector, index]) => match self.kernel.literal(operands[1]) {
                Some(index) => {
                    let zero = self.constant(main.scalar, 0);
                    let inside = index.bits < u64::from(count);
                    self.copy(main.scalar, to[0], if inside { vector[index.bits as usize] } else { zero });
                }
                None => {
                    let (to, index) = (to[0], index[0]);
                    self.steps.extend(words.map(|word| {
                        let components = vector.map(|first| first + word);
                        Step::Extract { to: to + word, components, count, index }
                    }));
                }
            },
            (Op::Insert, [vector, index, value]) => {
                let literal = self.kernel.literal(operands[1]);
                for component in 0..count {
                    let (to, from) = (to[component as usize], vector[component as usize]);
                    match literal {
                        Some(index) if index.bits == u64::from(component) => {
                            self.copy(main.scalar, to, value[0]);
                        }
                        Some(_) => self.copy(main.scalar, to, from),
                        None => self.steps.extend(words.clone().map(|word| Step::Insert {
                            to: to + word,
                            from: from + word,
                            component,
                            index: index[0],
                            value: value[0] + word,
                        })),
                    }
                }
            }
            (Op::Dot, [a, b]) => self.dot(main, to[0], *a, *b)?,
            (Op::Pack, [vector]) => self.pack(main, to[0], *vector),
            (Op::Unpack, [from]) => self.unpack(self.kernel.ty(result), to, from[0]),
            _ => {
                let Semantics::Scalar { operands: kinds, .. } = op.info().semantics else {
                    return Err(internal("an op that is none of its operands' components"));
                };
                let result = self.kernel.ty(result).scalar;
                for component in 0..count as usize {
                    let mut registers = [0; 4];
                    for ((register, arg), kind) in registers.iter_mut().zip(&args).zip(kinds) {
                        *register = arg[if *kind == Operand::U32 { 0 } else { component }];
                    }
                    let args = Args { result: to[component], operands: registers };
                    self.apply(op, main.scalar, result, &types, args)?;
                }
            }
        }
        Ok(())
    }

    fn copy(&mut self, ty: ScalarType, to: Register, from: Register) {
        self.steps.extend((0..registers_of(ty)).map(|word| Step::Copy { to: to + word, from: from + word }));
    }

    /// An op on one component.
    fn apply(
        &mut self,
        op: Op,
        main: ScalarType,
        result: ScalarType,
        types: &[Type],
        args: Args,
    ) -> Result<(), Error> {
        let step = match compute(op, main, result) {
            Some(function) => Step::Compute(function, args),
            None => Generic::new(op, main, result, types.iter().map(|ty| ty.scalar))
                .map(|generic| Step::Generic(generic, args))
                .ok_or_else(|| internal("an op that its operands do not fit"))?,
        };
        self.steps.push(step);
        Ok(())
    }

    /// Components side by side: those of a word are copied, smaller ones put together word by word.
    fn pack(&mut self, vector: Type, to: Register, from: [Register; 4]) {
        let (bits, count) = (vector.scalar.bits(), vector.lanes.count() as usize);
        let each = (32 / bits).max(1) as usize;
        for (to, components) in (to..).zip(from[..count].chunks(each)) {
            let mut registers = [0; 4];
            registers[..components.len()].copy_from_slice(components);
            let count = components.len() as u32;
            self.steps.push(Step::Pack { to, components: registers, count, bits });
        }
    }

    fn unpack(&mut self, vector: Type, to: [Register; 4], from: Register) {
        let bits = vector.scalar.bits();
        for (component, to) in (0..vector.lanes.count()).zip(to) {
            let (from, shift) = (from + component * bits / 32, component * bits % 32);
            self.steps.push(Step::Unpack { to, from, shift, mask: vector.scalar.mask() as u32 });
        }
    }

    /// Products, added left to right.
    fn dot(&mut self, main: Type, to: Register, a: [Register; 4], b: [Register; 4]) -> Result<(), Error> {
        let (ty, types) = (main.scalar, [main, main]);
        let count = main.lanes.count() as usize;
        let mut sum = self.temporary(ty);
        self.apply(Op::Mul, ty, ty, &types, Args { result: sum, operands: [a[0], b[0], 0, 0] })?;
        for component in 1..count {
            let product = self.temporary(ty);
            let operands = [a[component], b[component], 0, 0];
            self.apply(Op::Mul, ty, ty, &types, Args { result: product, operands })?;
            let result = if component + 1 == count { to } else { self.temporary(ty) };
            self.apply(Op::Add, ty, ty, &types, Args { result, operands: [sum, product, 0, 0] })?;
            sum = result;
        }
        Ok(())
    }
}
