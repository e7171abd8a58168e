//! Execution of workgroups: scheduling, and the effect of each step.

mod matrix;

use fulgurite_hal::{DeviceError, Error, Launch, LaunchReport};
use fulgurite_ir::{
    BlockId, Combine, Grid, InstId, InstKind, Kernel, Memory, MemoryScopes, Operands, Terminator, ValueId,
};
use fulgurite_spec::eval::{self, Components};
use fulgurite_spec::{IdOp, MatrixScope, Op, ScalarType, SubgroupOp, Type};

use crate::ReferenceOptions;
use crate::buffer::Bound;
use crate::clock::Deadline;
use crate::matrix::Matrix;
use crate::memory::Memories;
use crate::monitor::{Access, AccessKind, Monitor};
use crate::prepared::{PreparedKernel, ValueLocation};
use crate::subgroup;

/// Maximum size in bytes of the registers or local memory of a workgroup.
const MAX_STATE_BYTES: u64 = 8 << 30;

/// A block being executed by an invocation.
#[derive(Clone, Copy)]
struct Frame {
    block: BlockId,
    /// Index of the next instruction.
    next: usize,
    /// The instruction that owns the block; `None` for the kernel's body.
    owner: Option<InstId>,
    /// Remaining iterations of a `for`, after this one.
    remaining: u64,
}

/// The scheduling state of an invocation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Running,
    /// Waiting for all invocations at a barrier or collective op.
    Waiting(InstId),
    Done,
}

/// The effect of an instruction that invocations execute together.
enum Meeting<'k> {
    Barrier(MemoryScopes),
    Broadcast {
        value: ValueId,
        index: ValueId,
    },
    SubgroupBarrier(MemoryScopes),
    Subgroup {
        op: SubgroupOp,
        combine: Option<Combine>,
        operands: &'k Operands,
    },
    /// An op on matrices of this scope.
    Matrix(MatrixScope),
    /// None: each invocation executes the instruction alone.
    Nothing,
}

fn meeting(kernel: &Kernel, id: InstId) -> Meeting<'_> {
    let matrix = || self::matrix::scope(kernel, id).map_or(Meeting::Nothing, Meeting::Matrix);
    match &kernel.inst(id).kind {
        InstKind::Barrier { scopes } => Meeting::Barrier(*scopes),
        InstKind::WorkgroupBroadcast { value, index } => Meeting::Broadcast { value: *value, index: *index },
        InstKind::SubgroupBarrier { scopes } => Meeting::SubgroupBarrier(*scopes),
        InstKind::Subgroup { op, combine, operands } => match SubgroupOp::of(*op) {
            Some(op) => Meeting::Subgroup { op, combine: *combine, operands },
            None => Meeting::Nothing,
        },
        InstKind::Scalar { .. }
        | InstKind::CoopLoad { .. }
        | InstKind::CoopStore { .. }
        | InstKind::CoopFill { .. }
        | InstKind::CoopMulAdd { .. }
        | InstKind::CoopConvert { .. } => matrix(),
        InstKind::VecShuffle { .. }
        | InstKind::Id { .. }
        | InstKind::Load { .. }
        | InstKind::Store { .. }
        | InstKind::Len { .. }
        | InstKind::Atomic { .. }
        | InstKind::Fence { .. }
        | InstKind::Trap { .. }
        | InstKind::If { .. }
        | InstKind::For { .. }
        | InstKind::Region { .. }
        | InstKind::While { .. } => Meeting::Nothing,
    }
}

struct Invocation {
    frames: Vec<Frame>,
    standing: Standing,
}

/// The state of a launch.
pub(crate) struct Interpreter<'a, M> {
    program: &'a PreparedKernel,
    kernel: &'a Kernel,
    grid: Grid,
    params: &'a [Components],
    memory: Memories<'a>,
    monitor: &'a mut M,
    workgroup: Grid,
    invocations: Vec<Invocation>,
    /// Registers of all invocations, concatenated.
    registers: Vec<Components>,
    /// Buffer for values passed between blocks.
    moving: Vec<Components>,
    /// Matrices of all invocations, concatenated; holders share a matrix.
    matrices: Vec<Option<Matrix>>,
    /// Subgroup size.
    lanes: u32,
    /// Code and invocation of the first trap.
    trap: Option<(u32, u32)>,
    /// Cost of matrix ops, in steps, since this was last reset.
    matrix_steps: u64,
}

fn internal(what: &str) -> Error {
    Error::Internal(format!("reference: {what}"))
}

/// Runs a launch to completion.
pub(crate) fn launch<M: Monitor>(
    program: &PreparedKernel,
    launch: &Launch,
    options: ReferenceOptions,
    monitor: &mut M,
) -> Result<LaunchReport, Error> {
    let mut deadline = Deadline::start(launch.timeout(), options.step_budget);
    let kernel: &Kernel = program.kernel();
    let count = kernel.workgroup_invocations() as usize;
    let buffers = Bound::lock(launch.buffers())?;
    let registers = state(program.registers(), count, [0; 4])?;
    let local = state(program.local.bytes(), count, 0)?;
    // Each subgroup has its own matrices, and there may be as many subgroups as invocations.
    let matrix_bytes = program.matrix_bytes().saturating_mul(count.div_ceil(options.lanes() as usize) as u64);
    if matrix_bytes > MAX_STATE_BYTES {
        return Err(DeviceError::OutOfMemory { bytes: matrix_bytes }.into());
    }
    let matrices = state(program.matrices(), count, None)?;
    let invocations =
        (0..count).map(|_| Invocation { frames: Vec::new(), standing: Standing::Done }).collect();
    let mut interpreter = Interpreter {
        program,
        kernel,
        grid: launch.grid(),
        params: launch.params(),
        memory: Memories::new(program, launch, buffers, local, options.uninit_seed),
        monitor,
        workgroup: [0; 3],
        invocations,
        registers,
        moving: Vec::new(),
        matrices,
        lanes: options.lanes(),
        trap: None,
        matrix_steps: 0,
    };
    let [x, y, z] = launch.grid();
    if !launch.is_empty() {
        for z in 0..z {
            for y in 0..y {
                for x in 0..x {
                    interpreter.run([x, y, z], options.quantum.max(1), &mut deadline)?;
                }
            }
        }
    }
    if let Some((code, invocation)) = interpreter.trap {
        return Err(DeviceError::Trap { code, invocation }.into());
    }
    Ok(deadline.elapsed().map_or_else(LaunchReport::default, LaunchReport::timed))
}

/// Allocates `each` items for each of `count` invocations.
fn state<T: Clone>(each: usize, count: usize, zero: T) -> Result<Vec<T>, Error> {
    let items = each.saturating_mul(count);
    let bytes = (items as u64).saturating_mul(size_of::<T>() as u64);
    let mut all = Vec::new();
    if bytes > MAX_STATE_BYTES || all.try_reserve_exact(items).is_err() {
        return Err(DeviceError::OutOfMemory { bytes }.into());
    }
    all.resize(items, zero);
    Ok(all)
}

impl<M: Monitor> Interpreter<'_, M> {
    /// Runs a workgroup to completion, scheduling its invocations round-robin with a quantum of `quantum` steps.
    fn run(&mut self, workgroup: Grid, quantum: u32, deadline: &mut Deadline) -> Result<(), Error> {
        self.workgroup = workgroup;
        self.memory.reset();
        let first = Frame { block: self.kernel.body, next: 0, owner: None, remaining: 0 };
        for invocation in &mut self.invocations {
            invocation.frames.clear();
            invocation.frames.push(first);
            invocation.standing = Standing::Running;
        }
        loop {
            let mut running = false;
            for invocation in 0..self.invocations.len() {
                let mut steps = 0;
                while self.invocations[invocation].standing == Standing::Running && steps < quantum {
                    self.step(invocation)?;
                    steps += 1;
                }
                running |= self.invocations[invocation].standing == Standing::Running;
                deadline.hurry(core::mem::take(&mut self.matrix_steps));
                deadline.advance(u64::from(steps))?;
            }
            running |= self.release_subgroups()?;
            if !running && self.release()? {
                return Ok(());
            }
        }
    }

    /// Releases the barrier that all invocations wait at. Called when none can run. Returns true if all are done
    /// instead.
    fn release(&mut self) -> Result<bool, Error> {
        let first = self.invocations.first().map_or(Standing::Done, |i| i.standing);
        if self.invocations.iter().any(|i| i.standing != first) {
            return Err(internal("not all invocations of the workgroup reached the barrier"));
        }
        let Standing::Waiting(barrier) = first else { return Ok(true) };
        match meeting(self.kernel, barrier) {
            Meeting::Barrier(scopes) => self.monitor.barrier(self.workgroup, scopes),
            Meeting::Broadcast { value, index } => {
                self.monitor.barrier(self.workgroup, MemoryScopes { shared: false, buffers: false });
                let from = self.get_low(0, index) as usize;
                let value = if from < self.invocations.len() { self.get(from, value) } else { [0; 4] };
                for invocation in 0..self.invocations.len() {
                    self.set_result(invocation, barrier, value);
                }
            }
            Meeting::Matrix(MatrixScope::Workgroup) => {
                self.matrix_op(barrier, 0..self.invocations.len())?;
            }
            Meeting::Matrix(MatrixScope::Subgroup)
            | Meeting::SubgroupBarrier(_)
            | Meeting::Subgroup { .. }
            | Meeting::Nothing => {
                return Err(internal("a subgroup is still waiting after all its lanes arrived"));
            }
        }
        for invocation in &mut self.invocations {
            invocation.standing = Standing::Running;
        }
        Ok(false)
    }

    /// Releases each subgroup whose lanes all wait at the same subgroup op. Returns whether there was one.
    fn release_subgroups(&mut self) -> Result<bool, Error> {
        let mut any = false;
        let lanes = self.lanes as usize;
        for first in (0..self.invocations.len()).step_by(lanes) {
            let subgroup = first..(first + lanes).min(self.invocations.len());
            let standing = self.invocations[first].standing;
            let Standing::Waiting(inst) = standing else { continue };
            if self.invocations[subgroup.clone()].iter().any(|i| i.standing != standing) {
                continue;
            }
            match meeting(self.kernel, inst) {
                Meeting::SubgroupBarrier(scopes) => {
                    self.monitor.subgroup_barrier(self.workgroup, (first / lanes) as u32, scopes);
                }
                Meeting::Subgroup { op, combine, operands } => {
                    let ty = operands.first().map_or(Type::BOOL, |v| self.kernel.ty(*v));
                    let operand = |position: usize| -> Vec<Components> {
                        let value = operands.get(position);
                        subgroup.clone().map(|i| value.map_or([0; 4], |v| self.get(i, *v))).collect()
                    };
                    let results = subgroup::apply(op, combine, ty, &operand(0), &operand(1))
                        .ok_or_else(|| internal("operands do not fit the subgroup op"))?;
                    for (invocation, result) in subgroup.clone().zip(results) {
                        self.set_result(invocation, inst, result);
                    }
                }
                Meeting::Matrix(MatrixScope::Subgroup) => self.matrix_op(inst, subgroup.clone())?,
                Meeting::Matrix(MatrixScope::Workgroup)
                | Meeting::Barrier(_)
                | Meeting::Broadcast { .. }
                | Meeting::Nothing => continue,
            }
            for invocation in &mut self.invocations[subgroup] {
                invocation.standing = Standing::Running;
            }
            any = true;
        }
        Ok(any)
    }

    // Values.

    fn get(&self, invocation: usize, value: ValueId) -> Components {
        match self.program.location(value) {
            ValueLocation::Constant(components) => components,
            ValueLocation::Param(index) => self.params[index],
            ValueLocation::Register(index) => self.registers[invocation * self.program.registers() + index],
            // Never read for a matrix.
            ValueLocation::Matrix(_) => [0; 4],
        }
    }

    /// Returns a matrix; without components if it has not been computed.
    fn matrix(&self, invocation: usize, value: ValueId) -> Matrix {
        let slot = match self.program.location(value) {
            ValueLocation::Matrix(index) => self.matrices.get(invocation * self.program.matrices() + index),
            ValueLocation::Constant(_) | ValueLocation::Param(_) | ValueLocation::Register(_) => None,
        };
        slot.cloned().flatten().unwrap_or_else(|| Matrix::from([]))
    }

    fn set_matrix(&mut self, invocation: usize, value: ValueId, matrix: Matrix) {
        if let ValueLocation::Matrix(index) = self.program.location(value) {
            self.matrices[invocation * self.program.matrices() + index] = Some(matrix);
        }
    }

    /// Returns the low bits of a scalar.
    fn get_low(&self, invocation: usize, value: ValueId) -> u32 {
        self.get(invocation, value)[0] as u32
    }

    fn set(&mut self, invocation: usize, value: ValueId, components: Components) {
        if let ValueLocation::Register(index) = self.program.location(value) {
            self.monitor.value(value, components[0]);
            self.registers[invocation * self.program.registers() + index] = components;
        }
    }

    fn set_result(&mut self, invocation: usize, inst: InstId, components: Components) {
        if let Some(result) = self.kernel.inst(inst).results.first() {
            self.set(invocation, *result, components);
        }
    }

    /// Copies `from` to `to` simultaneously, since they may share registers.
    fn move_values(&mut self, invocation: usize, from: &[ValueId], to: &[ValueId]) {
        let mut moving = core::mem::take(&mut self.moving);
        moving.clear();
        moving.extend(from.iter().map(|value| self.get(invocation, *value)));
        let is_matrix = |value: &ValueId| matches!(self.program.location(*value), ValueLocation::Matrix(_));
        let matrices: Vec<(ValueId, Matrix)> = from
            .iter()
            .zip(to)
            .filter(|(_, to)| is_matrix(to))
            .map(|(from, to)| (*to, self.matrix(invocation, *from)))
            .collect();
        for (value, components) in to.iter().zip(&moving) {
            self.set(invocation, *value, *components);
        }
        for (value, matrix) in matrices {
            self.set_matrix(invocation, value, matrix);
        }
        self.moving = moving;
    }

    // Steps.

    /// Executes an instruction of an invocation, or the end of one of its blocks.
    fn step(&mut self, invocation: usize) -> Result<(), Error> {
        let Some(frame) = self.invocations[invocation].frames.last_mut() else {
            self.invocations[invocation].standing = Standing::Done;
            return Ok(());
        };
        match self.kernel.block(frame.block).insts.get(frame.next) {
            Some(inst) => {
                frame.next += 1;
                self.execute(invocation, *inst)
            }
            None => {
                let frame = *frame;
                self.end_block(invocation, frame)
            }
        }
    }

    fn enter(&mut self, invocation: usize, block: BlockId, owner: InstId, remaining: u64) {
        let frame = Frame { block, next: 0, owner: Some(owner), remaining };
        self.invocations[invocation].frames.push(frame);
    }

    fn leave(&mut self, invocation: usize) {
        self.invocations[invocation].frames.pop();
    }

    fn execute(&mut self, invocation: usize, id: InstId) -> Result<(), Error> {
        let kernel = self.kernel;
        let inst = kernel.inst(id);
        match &inst.kind {
            InstKind::Scalar { op: Op::Select, operands, .. } if self.program.is_matrix(inst) => {
                let [condition, yes, no] = **operands else {
                    return Err(internal("`select` without three operands"));
                };
                let holds = self.get_low(invocation, condition) & 1 != 0;
                let matrix = self.matrix(invocation, if holds { yes } else { no });
                inst.results.iter().for_each(|r| self.set_matrix(invocation, *r, matrix.clone()));
            }
            // Executed once for all holders of the matrix, when all have arrived.
            InstKind::Scalar { .. } if self.program.is_matrix(inst) => {
                self.invocations[invocation].standing = Standing::Waiting(id);
            }
            InstKind::Scalar { op, operands, .. } => {
                let mut args = [[0; 4]; 4];
                for (arg, operand) in args.iter_mut().zip(operands) {
                    *arg = self.get(invocation, *operand);
                }
                let result = inst.results.first().map_or(Type::U32, |r| kernel.ty(*r));
                let args = &args[..operands.len().min(4)];
                let value = eval::eval(*op, self.program.main_type(id), result, args)
                    .ok_or_else(|| internal("operands do not fit the op"))?;
                self.set_result(invocation, id, value);
            }
            InstKind::VecShuffle { components, vectors: [a, b] } => {
                let lanes = kernel.ty(*a).lanes.count() as usize;
                let (a, b) = (self.get(invocation, *a), self.get(invocation, *b));
                let mut value = [0; 4];
                for (slot, component) in value.iter_mut().zip(components) {
                    let position = usize::from(*component);
                    let from = if position < lanes { a.get(position) } else { b.get(position - lanes) };
                    *slot = from.copied().unwrap_or(0);
                }
                self.set_result(invocation, id, value);
            }
            InstKind::Id { op, component } => {
                let op = IdOp::of(*op).ok_or_else(|| internal("no id"))?;
                let value = self.id(invocation, op, usize::from(*component));
                self.set_result(invocation, id, value);
            }
            InstKind::Len { memory } => {
                let len = self.memory.len(*memory);
                self.set_result(invocation, id, eval::splat_low(len));
            }
            InstKind::Load { memory, index } => {
                let index = self.access(invocation, id, AccessKind::Load, *memory, *index);
                let value = self.memory.load(*memory, invocation, index);
                self.set_result(invocation, id, value);
            }
            InstKind::Store { memory, index, value } => {
                let index = self.access(invocation, id, AccessKind::Store, *memory, *index);
                let value = self.get(invocation, *value);
                self.memory.store(*memory, invocation, index, &value);
            }
            InstKind::Atomic { op, memory, index, operands, .. } => {
                let index = self.access(invocation, id, AccessKind::Atomic, *memory, *index);
                let old = self.memory.load(*memory, invocation, index);
                if *op != Op::AtomicLoad {
                    let mut args = [0; 2];
                    for (arg, operand) in args.iter_mut().zip(operands) {
                        *arg = self.get(invocation, *operand)[0];
                    }
                    let ty = kernel.element(*memory).scalar;
                    let new = eval::atomic(*op, ty, old[0], &args);
                    let new = new.ok_or_else(|| internal("operands do not fit the atomic op"))?;
                    self.memory.store(*memory, invocation, index, &eval::splat_low(new));
                }
                self.set_result(invocation, id, old);
            }
            InstKind::Fence { order, scope } => {
                self.monitor.fence(self.workgroup, invocation as u32, *order, *scope);
            }
            InstKind::Barrier { .. }
            | InstKind::SubgroupBarrier { .. }
            | InstKind::WorkgroupBroadcast { .. }
            | InstKind::Subgroup { .. }
            | InstKind::CoopLoad { .. }
            | InstKind::CoopStore { .. }
            | InstKind::CoopFill { .. }
            | InstKind::CoopMulAdd { .. }
            | InstKind::CoopConvert { .. } => {
                self.invocations[invocation].standing = Standing::Waiting(id);
            }
            InstKind::Trap { code } => {
                let code = self.get_low(invocation, *code);
                if self.trap.is_none() {
                    self.trap = Some((code, self.flat_index(invocation)));
                }
            }
            InstKind::Region { body, .. } => self.enter(invocation, *body, id, 0),
            InstKind::If { condition, then_block, else_block } => {
                let holds = self.get_low(invocation, *condition) & 1 != 0;
                self.enter(invocation, if holds { *then_block } else { *else_block }, id, 0);
            }
            InstKind::For { start, end, step, initial, body } => {
                let ty = kernel.ty(*start).scalar;
                let bits = |value: ValueId| self.get(invocation, value)[0];
                let (start_bits, trips) =
                    (bits(*start), eval::trip_count(ty, bits(*start), bits(*end), bits(*step)));
                if trips == 0 {
                    self.move_values(invocation, initial, &inst.results);
                    return Ok(());
                }
                if let Some((counter, carried)) = kernel.block(*body).params.split_first() {
                    self.move_values(invocation, initial, carried);
                    self.set(invocation, *counter, eval::splat_low(start_bits));
                }
                self.enter(invocation, *body, id, trips - 1);
            }
            InstKind::While { initial, header, .. } => {
                self.move_values(invocation, initial, &kernel.block(*header).params);
                self.enter(invocation, *header, id, 0);
            }
        }
        Ok(())
    }

    /// Executes the terminator of a block.
    fn end_block(&mut self, invocation: usize, frame: Frame) -> Result<(), Error> {
        let kernel = self.kernel;
        let block = kernel.block(frame.block);
        let Some(owner) = frame.owner else {
            self.leave(invocation);
            self.invocations[invocation].standing = Standing::Done;
            return Ok(());
        };
        let inst = kernel.inst(owner);
        match (&block.terminator, &inst.kind) {
            (Terminator::Yield(values), InstKind::If { .. } | InstKind::Region { .. }) => {
                self.move_values(invocation, values, &inst.results);
                self.leave(invocation);
            }
            (Terminator::Yield(values), InstKind::For { start, step, .. }) => {
                let Some(remaining) = frame.remaining.checked_sub(1) else {
                    self.move_values(invocation, values, &inst.results);
                    self.leave(invocation);
                    return Ok(());
                };
                if let Some((counter, carried)) = block.params.split_first() {
                    let ty = kernel.ty(*start).scalar;
                    let (now, step) = (self.get(invocation, *counter), self.get(invocation, *step));
                    self.move_values(invocation, values, carried);
                    self.set(invocation, *counter, eval::splat_low(next_counter(ty, now[0], step[0])?));
                }
                if let Some(frame) = self.invocations[invocation].frames.last_mut() {
                    frame.next = 0;
                    frame.remaining = remaining;
                }
            }
            (Terminator::Yield(values), InstKind::While { header, .. }) => {
                self.move_values(invocation, values, &kernel.block(*header).params);
                self.leave(invocation);
                self.enter(invocation, *header, owner, 0);
            }
            (Terminator::Condition(condition), InstKind::While { body, .. }) => {
                let holds = self.get_low(invocation, *condition) & 1 != 0;
                self.leave(invocation);
                if holds {
                    self.enter(invocation, *body, owner, 0);
                } else {
                    self.move_values(invocation, &block.params, &inst.results);
                }
            }
            _ => return Err(internal("terminator does not fit the owner of its block")),
        }
        Ok(())
    }

    /// Reports an access to the monitor and returns the element index.
    fn access(
        &mut self,
        invocation: usize,
        inst: InstId,
        kind: AccessKind,
        memory: Memory,
        index: ValueId,
    ) -> u64 {
        let index = self.get(invocation, index)[0];
        self.monitor.access(&Access {
            kind,
            memory,
            index,
            in_bounds: index < self.memory.len(memory),
            workgroup: self.workgroup,
            invocation: invocation as u32,
            inst,
        });
        index
    }

    /// Returns the flattened global id of an invocation, x fastest, modulo 2³².
    fn flat_index(&self, invocation: usize) -> u32 {
        let [x, y, z] = [0, 1, 2].map(|axis| self.global_id(invocation, axis));
        let [width, height] = [0, 1].map(|axis| self.grid[axis].wrapping_mul(self.kernel.workgroup[axis]));
        z.wrapping_mul(height).wrapping_add(y).wrapping_mul(width).wrapping_add(x)
    }

    fn local_id(&self, invocation: usize, axis: usize) -> u32 {
        let size = self.kernel.workgroup;
        let flat = invocation as u32;
        match axis {
            0 => flat % size[0],
            1 => flat / size[0] % size[1],
            _ => flat / size[0] / size[1],
        }
    }

    fn global_id(&self, invocation: usize, axis: usize) -> u32 {
        let first = self.workgroup[axis].wrapping_mul(self.kernel.workgroup[axis]);
        first.wrapping_add(self.local_id(invocation, axis))
    }

    fn id(&self, invocation: usize, op: IdOp, axis: usize) -> Components {
        let axis = axis.min(2);
        let flat = invocation as u32;
        let value = match op {
            IdOp::LocalIndex => flat,
            IdOp::Lane => flat % self.lanes,
            IdOp::SubgroupId => flat / self.lanes,
            IdOp::SubgroupSize => self.lanes,
            IdOp::NumSubgroups => self.kernel.workgroup_invocations().div_ceil(self.lanes),
            IdOp::LocalId => self.local_id(invocation, axis),
            IdOp::WorkgroupId => self.workgroup[axis],
            IdOp::NumWorkgroups => self.grid[axis],
            IdOp::GlobalId => self.global_id(invocation, axis),
            IdOp::LaneMaskLt => return subgroup::mask((1u128 << (flat % self.lanes)) - 1),
        };
        eval::splat_low(u64::from(value))
    }
}

/// Returns the counter of the next iteration.
fn next_counter(ty: ScalarType, counter: u64, step: u64) -> Result<u64, Error> {
    eval::scalar(Op::Add, ty, ty, &[counter, step]).ok_or_else(|| internal("loop counter is not an integer"))
}
