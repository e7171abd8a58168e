//! Compilation of a verified kernel to [`Code`]: one walk finds lifetimes, another assigns registers and emits steps.
//!
//! The flat form is correct under divergence because a value is read only by lanes that were active when it was
//! computed, so plain steps compute all lanes. The mask of active lanes matters only to writes to memory, traps, matrix
//! steps, results of the second block of an `if`, and values carried by loops, which must not change in lanes that have
//! left the loop. A loop's results share the registers of its carried values.

mod across;
mod lifetimes;
mod matrix;
mod registers;
mod scalar;

use std::collections::HashMap;
use std::sync::Arc;

use fulgurite_hal::Error;
use fulgurite_ir::analysis::{Event, Walk, instructions};
use fulgurite_ir::{
    BlockId, Const, InstId, InstKind, Memory, Operands, Terminator, ValueDef, ValueId, VerifiedKernel,
};
use fulgurite_spec::{AtomicOp, IdOp, Op, ScalarType, Type};

use crate::code::{Code, Fixed, ForLoop, Index, Position, Step, place, words_of, zeroed_words};
use crate::compute::{Register, registers_of};
use crate::matrix::MatrixStep;
use crate::memory::Atomic;
use lifetimes::Lifetimes;
use registers::Registers;

/// Compiles `kernel` for subgroups of `subgroup` lanes.
///
/// # Errors
/// [`Error::Internal`] for kernels that the verifier should have rejected.
pub(crate) fn compile(kernel: Arc<VerifiedKernel>, subgroup: usize) -> Result<Code, Error> {
    let mut compiler = Compiler {
        subgroup,
        lifetimes: Lifetimes::of(&kernel),
        kernel: &kernel,
        registers: Registers::default(),
        matrices: Registers::default(),
        matrix_steps: Vec::new(),
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
    let Compiler { registers, matrices, fixed, steps, matrix_steps, .. } = compiler;
    let components = |ty: Type| ty.matrix.map_or(0, |shape| shape.components() as usize);
    let matrix_components = kernel.values.iter().map(|v| components(v.ty)).max().unwrap_or(0);
    let meets = |step: &Step| {
        use Step::{Barrier, Broadcast, Matrix, Scan, Shuffle, Vote};
        matches!(step, Barrier | Broadcast(_) | Matrix(_) | Scan(_) | Shuffle(_) | Vote(_))
    };
    let meets = !kernel.shared.is_empty() || steps.iter().any(meets);
    Ok(Code {
        steps,
        fixed,
        registers: registers.count(),
        matrices: matrices.count(),
        matrix_components,
        matrix_steps,
        shared_words: words_of(&kernel.shared),
        zeroed: zeroed_words(&kernel.shared),
        local_words: words_of(&kernel.locals),
        invocations: kernel.workgroup_invocations() as usize,
        meets,
        subgroup,
        kernel,
    })
}

fn internal(what: &str) -> Error {
    Error::Internal(format!("cpu: {what}"))
}

/// The role of a block in its instruction.
#[derive(Clone, Copy)]
enum Role {
    Body,
    Region(InstId),
    Then(InstId),
    Else(InstId),
    For,
    Header,
    WhileBody(InstId),
}

struct Compiler<'k> {
    /// The number of lanes of a full subgroup.
    subgroup: usize,
    kernel: &'k VerifiedKernel,
    lifetimes: Lifetimes,
    registers: Registers,
    /// The registers of matrices.
    matrices: Registers,
    fixed: Vec<Fixed>,
    /// The first register of each sequence of fixed contents.
    known: HashMap<Vec<Fixed>, Register>,
    /// The first register of each component of each value.
    values: Vec<[Register; 4]>,
    steps: Vec<Step>,
    matrix_steps: Vec<MatrixStep>,
    roles: Vec<Role>,
    /// The steps of open control flow, whose targets are not known yet.
    begins: Vec<Position>,
    /// The current event.
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

    /// Returns the registers of a constant scalar.
    fn constant(&mut self, ty: ScalarType, bits: u64) -> Register {
        let words = 0..registers_of(ty);
        self.fix(words.map(|word| Fixed::Constant((bits >> (32 * word)) as u32)).collect())
    }

    /// Assigns registers to everything that is known before the first step.
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
            if let InstKind::Trap { .. } = inst.kind {
                for axis in 0..3 {
                    self.fix(vec![Fixed::Id(IdOp::GlobalId, axis)]);
                }
            }
            let Some(result) = inst.results.first().copied() else { continue };
            let ty = kernel.ty(result).scalar;
            let register = match &inst.kind {
                InstKind::Id { op, component } => match IdOp::of(*op) {
                    Some(IdOp::LaneMaskLt) => {
                        // Subgroups of up to 32 lanes use only the first 32 of the 128 bits.
                        let zero = self.constant(ty, 0);
                        self.values[result.index()] = [zero; 4];
                        self.fix(vec![Fixed::Id(IdOp::LaneMaskLt, 0)])
                    }
                    Some(IdOp::SubgroupSize) => self.constant(ty, self.subgroup as u64),
                    Some(IdOp::NumSubgroups) => {
                        let count = kernel.workgroup_invocations().div_ceil(self.subgroup as u32);
                        self.constant(ty, count.into())
                    }
                    Some(
                        op @ (IdOp::GlobalId
                        | IdOp::LocalId
                        | IdOp::WorkgroupId
                        | IdOp::NumWorkgroups
                        | IdOp::LocalIndex
                        | IdOp::Lane
                        | IdOp::SubgroupId),
                    ) => self.fix(vec![Fixed::Id(op, *component)]),
                    None => continue,
                },
                InstKind::Len { memory } => match (kernel.base(*memory), kernel.array_len(*memory)) {
                    (Memory::Buffer(id), _) => {
                        let (binding, stride) = (id.index(), kernel.element(*memory).size());
                        let words = 0..registers_of(ty);
                        self.fix(words.map(|word| Fixed::Len { binding, stride, word }).collect())
                    }
                    (_, len) => self.constant(ty, len.unwrap_or(0).into()),
                },
                // The result of an index out of bounds.
                InstKind::Scalar { op: Op::Extract, .. } => {
                    self.constant(ty, 0);
                    continue;
                }
                InstKind::Scalar { .. }
                | InstKind::VecShuffle { .. }
                | InstKind::Load { .. }
                | InstKind::Store { .. }
                | InstKind::Atomic { .. }
                | InstKind::Fence { .. }
                | InstKind::Barrier { .. }
                | InstKind::SubgroupBarrier { .. }
                | InstKind::WorkgroupBroadcast { .. }
                | InstKind::Subgroup { .. }
                | InstKind::CoopLoad { .. }
                | InstKind::CoopStore { .. }
                | InstKind::CoopFill { .. }
                | InstKind::CoopMulAdd { .. }
                | InstKind::CoopConvert { .. }
                | InstKind::Trap { .. }
                | InstKind::If { .. }
                | InstKind::For { .. }
                | InstKind::Region { .. }
                | InstKind::While { .. } => continue,
            };
            self.values[result.index()][0] = register;
        }
    }

    /// Assigns registers to a value until its lifetime ends.
    fn define(&mut self, value: ValueId) -> [Register; 4] {
        let mut registers = [0; 4];
        let end = self.lifetimes.end(value);
        let ty = self.kernel.ty(value);
        if ty.is_matrix() {
            registers[0] = self.matrices.take(1, end);
            self.values[value.index()] = registers;
            return registers;
        }
        for register in &mut registers[..ty.lanes.count() as usize] {
            *register = self.registers.take(registers_of(ty.scalar), end);
        }
        self.values[value.index()] = registers;
        registers
    }

    /// Returns the registers of a scalar that is used by the current step only.
    fn temporary(&mut self, ty: ScalarType) -> Register {
        self.registers.take(registers_of(ty), self.now)
    }

    fn value(&self, value: ValueId) -> [Register; 4] {
        self.values[value.index()]
    }

    fn scalar(&self, value: ValueId) -> Register {
        self.values[value.index()][0]
    }

    /// Returns all registers of a value; none for a matrix.
    fn all_registers(&self, value: ValueId) -> impl Iterator<Item = Register> + use<> {
        let (registers, ty) = (self.values[value.index()], self.kernel.ty(value));
        let count = if ty.is_matrix() { 0 } else { ty.lanes.count() as usize };
        let components = registers.into_iter().take(count);
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
            self.matrices.expire(now);
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
            InstKind::Scalar { .. } if inst.results.iter().any(|r| kernel.ty(*r).is_matrix()) => {
                self.matrix_op(inst)?;
            }
            InstKind::Scalar { op, operands, mode } => self.scalar_op(*op, *mode, operands, &inst.results)?,
            InstKind::VecShuffle { components, vectors } => {
                self.vec_shuffle(components, *vectors, &inst.results)
            }
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
            InstKind::Atomic { op, order, memory, index, operands, scope: _ } => {
                let mut args = [0; 2];
                for (arg, operand) in args.iter_mut().zip(operands) {
                    *arg = self.scalar(*operand);
                }
                let ty = kernel.element(*memory).scalar;
                let to = match inst.results.first() {
                    Some(result) => self.define(*result)[0],
                    None => self.temporary(ty),
                };
                let op = AtomicOp::of(*op).ok_or_else(|| internal("no atomic op"))?;
                let atomic = Atomic { op, order: *order, ty, place: place(kernel, *memory) };
                let index = self.index(*index);
                self.steps.push(Step::Atomic { atomic, index, operands: args, to });
            }
            InstKind::Fence { order, .. } => self.steps.push(Step::Fence(*order)),
            InstKind::Barrier { .. } => self.steps.push(Step::Barrier),
            // The lanes of a subgroup run in lockstep.
            InstKind::SubgroupBarrier { .. } => {}
            InstKind::WorkgroupBroadcast { value, index } => self.broadcast(*value, *index, &inst.results),
            InstKind::Subgroup { op, combine, operands } => {
                self.subgroup(*op, *combine, operands, &inst.results)?;
            }
            InstKind::CoopLoad { .. }
            | InstKind::CoopStore { .. }
            | InstKind::CoopFill { .. }
            | InstKind::CoopMulAdd { .. }
            | InstKind::CoopConvert { .. } => self.matrix_op(inst)?,
            InstKind::Trap { code } => {
                let code = self.scalar(*code);
                let ids = [0, 1, 2].map(|axis| self.fix(vec![Fixed::Id(IdOp::GlobalId, axis)]));
                self.steps.push(Step::Trap { code, ids });
            }
            InstKind::Region { body, .. } => {
                self.roles[body.index()] = Role::Region(id);
                for result in &inst.results {
                    self.define(*result);
                }
            }
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
        }
        Ok(())
    }

    /// Assigns registers to carried values, which are also the loop's results, and copies their initial values.
    fn define_carried(&mut self, carried: &[ValueId], initial: &Operands, results: &Operands) {
        for ((param, from), result) in carried.iter().zip(initial).zip(results) {
            // The lifetime of the result covers the loop.
            self.values[param.index()] = self.define(*result);
            let moves = self.all_registers(*param).zip(self.all_registers(*from));
            self.steps.extend(moves.map(|(to, from)| Step::Copy { to, from }));
            if self.kernel.ty(*param).is_matrix() {
                let (to, from) = (self.matrix(*param), self.matrix(*from));
                self.matrix_step(MatrixStep::Copy { to, from });
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
            Role::Region(id) => {
                self.move_values(values, &kernel.inst(id).results, Move::Copy);
            }
            Role::Then(id) => {
                // The other block overwrites the results of the other lanes.
                self.move_values(values, &kernel.inst(id).results, Move::Copy);
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
                self.move_values(values, &kernel.inst(id).results, Move::Blend);
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
                self.move_values(values, carried, Move::Blend);
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
                self.move_values(values, &kernel.block(header).params, Move::Blend);
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

    /// Copies values to the registers of other values, as if simultaneously.
    fn move_values(&mut self, from: &[ValueId], to: &[ValueId], how: Move) {
        let mut moves: Vec<(Register, Register)> = Vec::new();
        let mut matrices: Vec<(Register, Register)> = Vec::new();
        for (from, to) in from.iter().zip(to) {
            let pairs = self.all_registers(*to).zip(self.all_registers(*from));
            moves.extend(pairs.filter(|(to, from)| to != from));
            if self.kernel.ty(*to).is_matrix() && self.matrix(*to) != self.matrix(*from) {
                matrices.push((self.matrix(*to), self.matrix(*from)));
            }
        }
        for from in overwritten(&mut moves) {
            let saved = self.registers.take(1, self.now);
            self.steps.push(Step::Copy { to: saved, from: *from });
            *from = saved;
        }
        self.steps.extend(moves.into_iter().map(|(to, from)| match how {
            Move::Copy => Step::Copy { to, from },
            Move::Blend => Step::Blend { to, from },
        }));
        for from in overwritten(&mut matrices) {
            let saved = self.matrices.take(1, self.now);
            self.matrix_step(MatrixStep::Copy { to: saved, from: *from });
            *from = saved;
        }
        for (to, from) in matrices {
            self.matrix_step(match how {
                Move::Copy => MatrixStep::Copy { to, from },
                Move::Blend => MatrixStep::Blend { to, from },
            });
        }
    }
}

/// The lanes in which values are copied.
#[derive(Clone, Copy)]
enum Move {
    /// All lanes.
    Copy,
    /// Active lanes.
    Blend,
}

/// Returns the sources that an earlier move overwrites, and which must be saved first.
fn overwritten(moves: &mut [(Register, Register)]) -> impl Iterator<Item = &mut Register> {
    let targets: HashMap<Register, usize> =
        moves.iter().enumerate().map(|(position, (to, _))| (*to, position)).collect();
    moves.iter_mut().enumerate().filter_map(move |(position, (_, from))| {
        targets.get(from).is_some_and(|overwritten| *overwritten < position).then_some(from)
    })
}
