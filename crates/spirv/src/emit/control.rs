//! Structured control flow: merges, phis, and the check for loops that a driver ends.
//!
//! A phi names the blocks that *end* regions. With nested control flow, these may differ from the blocks that begin
//! them.

use fulgurite_ir::{BlockId, Control, InstId, InstKind, Operands, Terminator, ValueId};
use fulgurite_spec::{IdOp, ScalarType, Type, eval};

use super::Emitter;
use crate::assembler::Id;
use crate::layout::{ControlWord, Layout};
use crate::spv::{glsl, op, scope, semantics, storage_class};

/// A control instruction whose blocks are being emitted.
pub(super) enum Frame {
    If(IfFrame),
    Loop(LoopFrame),
    /// A region, whose code is emitted inline.
    Region(InstId),
}

pub(super) struct IfFrame {
    then_block: BlockId,
    else_label: Id,
    merge: Id,
    /// Yields of each arm, and the label of the block that ends it.
    yielded: Vec<(Vec<Id>, Id)>,
}

pub(super) struct LoopFrame {
    inst: InstId,
    body: BlockId,
    header: Id,
    body_label: Id,
    continue_target: Id,
    merge: Id,
    /// Target of the loop's exit once its condition fails: the merge block, or a block that first records the exit.
    exit: Id,
    /// Number of iterations so far, a value in the header; and the next one, computed in the continue target. Both are
    /// 0 for a `while`, which does not count.
    iteration: Id,
    next_iteration: Id,
    /// The type of `iteration` and `next_iteration`.
    iteration_type: Type,
    /// Carried values in the header, as used by the body.
    carried: Vec<Id>,
    /// The carried values in the form in which the loop carries them; its results are converted from these.
    results: Vec<Id>,
    /// The way each carried value gets its next value.
    pending: Vec<Pending>,
    /// The flag that the loop sets when its condition fails, for drivers that end loops.
    left: Option<(Id, Id)>,
    /// For a `while`, the header block, which is emitted first in each iteration.
    condition_block: Option<BlockId>,
}

/// The way a carried value gets its next value.
enum Pending {
    /// A phi in the header, completed by a word of the code at `position`.
    Phi { position: usize },
    /// A variable: NVIDIA's compiler spills the parts of matrices that go through phis to memory.
    Variable(Id),
}

/// Returns the type in which loops carry values of type `ty`. NVIDIA's compiler crashes the process on a boolean that
/// is carried through a loop unchanged.
fn carried_as(ty: Type) -> Type {
    if ty.scalar == ScalarType::Bool { ty.with_scalar(ScalarType::U32) } else { ty }
}

/// Limits for loops that drivers are asked to unroll, in iterations and in instructions after unrolling.
const UNROLLED: (u64, u64) = (32, 4096);

/// The condition of a loop.
enum LoopHead {
    /// A count of iterations of this type.
    Counted(Type),
    /// A block that ends in a condition.
    Tested(BlockId),
}

impl Emitter<'_> {
    pub(super) fn begin_control(&mut self, inst: InstId) {
        let kernel = self.kernel;
        let Some(control) = kernel.inst(inst).kind.control() else { return };
        match control {
            Control::If { condition, then_block, .. } => {
                let condition = self.id(condition);
                let (then_label, else_label, merge) = (self.asm.id(), self.asm.id(), self.asm.id());
                self.asm.effect(op::SelectionMerge, &[merge, 0]);
                self.asm.effect(op::BranchConditional, &[condition, then_label, else_label]);
                self.begin(then_label);
                let (then_block, yielded) = (then_block, Vec::new());
                self.frames.push(Frame::If(IfFrame { then_block, else_label, merge, yielded }));
            }
            Control::For { start, end, step, initial, body } => {
                let trips = self.trips(start, end, step);
                let counted_in = Self::iteration_type(kernel.ty(start));
                let frame = self.begin_loop(inst, body, LoopHead::Counted(counted_in), initial);
                let first = self.asm.id();
                self.asm.effect(op::Branch, &[first]);
                self.begin(first);
                let bool_type = self.asm.ty(Type::BOOL);
                let go = self.asm.value(op::ULessThan, bool_type, &[frame.iteration, trips]);
                if frame.left.is_some() {
                    self.asm.effect(op::SelectionMerge, &[frame.body_label, 0]);
                }
                self.asm.effect(op::BranchConditional, &[go, frame.body_label, frame.exit]);
                self.leave_block(&frame);
                self.begin(frame.body_label);
                self.poll(frame.inst, frame.merge);
                let params = &kernel.block(body).params;
                let counter = self.counter(start, step, frame.iteration);
                if let Some((first, carried)) = params.split_first() {
                    self.ids[first.index()] = counter;
                    self.set(carried, &frame.carried);
                    self.note_carried_choices(initial, carried);
                }
                self.frames.push(Frame::Loop(frame));
            }
            Control::While { initial, header, body } => {
                let frame = self.begin_loop(inst, body, LoopHead::Tested(header), initial);
                let first = self.asm.id();
                self.asm.effect(op::Branch, &[first]);
                self.begin(first);
                self.set(&kernel.block(header).params, &frame.carried);
                self.note_carried_choices(initial, &kernel.block(header).params);
                self.frames.push(Frame::Loop(frame));
            }
            Control::Region { .. } => self.frames.push(Frame::Region(inst)),
        }
    }

    fn set(&mut self, values: &[ValueId], ids: &[Id]) {
        for (value, id) in values.iter().zip(ids) {
            self.ids[value.index()] = *id;
        }
    }

    fn note_yielded_choices(&mut self, inst: InstId, arms: [BlockId; 2]) {
        let kernel = self.kernel;
        let [Terminator::Yield(first), Terminator::Yield(second)] =
            arms.map(|block| &kernel.block(block).terminator)
        else {
            return;
        };
        for ((result, first), second) in kernel.inst(inst).results.iter().zip(first.iter()).zip(second.iter())
        {
            self.note_yielded_choice([*first, *second], *result);
        }
    }

    /// Converts values to the types in which a loop carries them.
    fn as_carried(&mut self, values: &[ValueId]) -> Vec<Id> {
        let carried = values.iter().map(|value| {
            let (id, ty) = (self.hide_carried(*value), self.kernel.ty(*value));
            self.convert(id, ty, carried_as(ty))
        });
        carried.collect()
    }

    /// Emits the loop's header: phis and the merge declaration.
    fn begin_loop(&mut self, inst: InstId, body: BlockId, head: LoopHead, initial: &Operands) -> LoopFrame {
        let initial_ids = self.as_carried(initial);
        let left = (self.profile.driver_ends_loops).then(|| self.clear_left());
        let mut variables: Vec<Option<Id>> = Vec::with_capacity(initial.len());
        for (value, id) in initial.iter().zip(&initial_ids) {
            let ty = self.kernel.ty(*value);
            variables.push(ty.is_matrix().then(|| {
                let ty = self.asm.ty(ty);
                let variable = self.asm.local(ty, None);
                self.asm.effect(op::Store, &[variable, *id]);
                variable
            }));
        }
        let entered_from = self.label;
        let [header, body_label, continue_target, merge] = core::array::from_fn(|_| self.asm.id());
        let exit = if left.is_some() { self.asm.id() } else { merge };
        self.asm.effect(op::Branch, &[header]);
        self.begin(header);
        let (mut iteration, mut next_iteration) = (0, 0);
        let (iteration_type, condition_block) = match head {
            LoopHead::Counted(ty) => (ty, None),
            LoopHead::Tested(block) => (Type::U32, Some(block)),
        };
        if condition_block.is_none() {
            let zero = self.asm.splat(iteration_type, 0);
            next_iteration = self.asm.id();
            let parents = [zero, entered_from, next_iteration, continue_target];
            iteration = self.make(op::Phi, iteration_type, &parents);
        }
        let mut pending = Vec::new();
        let mut carried = Vec::new();
        for ((value, id), variable) in initial.iter().zip(initial_ids).zip(&variables) {
            if variable.is_some() {
                carried.push(0);
                continue;
            }
            let ty = carried_as(self.kernel.ty(*value));
            carried.push(self.make(op::Phi, ty, &[id, entered_from, 0, continue_target]));
            pending.push(Pending::Phi { position: self.asm.code.len() - 2 });
        }
        let mut results = carried.clone();
        // Loads and conversions must follow all phis.
        for (value, id) in initial.iter().zip(&mut carried) {
            let ty = self.kernel.ty(*value);
            *id = self.convert(*id, carried_as(ty), ty);
        }
        for (position, variable) in variables.into_iter().enumerate() {
            let Some(variable) = variable else { continue };
            carried[position] = self.make(op::Load, self.kernel.ty(initial[position]), &[variable]);
            results[position] = carried[position];
            pending.insert(position, Pending::Variable(variable));
        }
        let unroll = u32::from(self.is_short(inst, body));
        self.asm.effect(op::LoopMerge, &[merge, continue_target, unroll]);
        LoopFrame {
            inst,
            body,
            header,
            body_label,
            continue_target,
            merge,
            exit,
            iteration,
            next_iteration,
            iteration_type,
            carried,
            results,
            pending,
            left,
            condition_block,
        }
    }

    /// Returns whether the driver is asked to unroll a loop: a `for` with a small known number of iterations, whose
    /// body contains no loops and is short.
    fn is_short(&self, inst: InstId, body: BlockId) -> bool {
        let kernel = self.kernel;
        let InstKind::For { start, end, step, .. } = kernel.inst(inst).kind else { return false };
        let trips = self.ranges.most_trips(start, end, step);
        if trips > UNROLLED.0 || self.profile.driver_ends_loops {
            return false;
        }
        let mut blocks = vec![body];
        let mut count = 0u64;
        while let Some(block) = blocks.pop() {
            for id in &kernel.block(block).insts {
                count += 1;
                let Some(control) = kernel.inst(*id).kind.control() else { continue };
                if control.is_loop() {
                    return false;
                }
                blocks.extend(control.blocks());
            }
        }
        count * trips <= UNROLLED.1
    }

    pub(super) fn enter(&mut self, block: BlockId) {
        match self.frames.last() {
            Some(Frame::If(frame)) if frame.then_block != block => {
                let label = frame.else_label;
                self.begin(label);
            }
            Some(Frame::Loop(frame)) if frame.condition_block.is_some() && frame.body == block => {
                self.header_done()
            }
            _ => {}
        }
    }

    pub(super) fn exit(&mut self, block: BlockId) {
        let kernel = self.kernel;
        let Terminator::Yield(values) = &kernel.block(block).terminator else { return };
        let yielded = match self.frames.last() {
            Some(Frame::Loop(_)) => self.as_carried(values),
            Some(Frame::If(frame)) => {
                let arm = frame.yielded.len() as u32;
                self.hide_yields(values, arm)
            }
            _ => values.iter().map(|v| self.id(*v)).collect(),
        };
        let label = self.label;
        match self.frames.last_mut() {
            Some(Frame::If(frame)) => {
                let merge = frame.merge;
                frame.yielded.push((yielded, label));
                self.asm.effect(op::Branch, &[merge]);
            }
            Some(Frame::Loop(frame)) => {
                let (header, continue_target) = (frame.header, frame.continue_target);
                let (iteration, next, counted_in) =
                    (frame.iteration, frame.next_iteration, frame.iteration_type);
                let pending = core::mem::take(&mut frame.pending);
                self.asm.effect(op::Branch, &[continue_target]);
                self.begin(continue_target);
                for (pending, id) in pending.into_iter().zip(yielded) {
                    match pending {
                        Pending::Phi { position } => self.asm.code[position] = id,
                        Pending::Variable(variable) => self.asm.effect(op::Store, &[variable, id]),
                    }
                }
                if next != 0 {
                    let (word, one) = (self.asm.ty(counted_in), self.asm.splat(counted_in, 1));
                    self.asm.effect(op::IAdd, &[word, next, iteration, one]);
                }
                self.asm.effect(op::Branch, &[header]);
            }
            Some(Frame::Region(inst)) => {
                let results = &kernel.inst(*inst).results;
                self.set(results, &yielded);
            }
            None => {}
        }
    }

    /// At the end of a `while` header: leaves the loop unless the condition holds, and begins the body.
    fn header_done(&mut self) {
        let kernel = self.kernel;
        let Some(Frame::Loop(frame)) = self.frames.pop() else { return };
        if let Some(header) = frame.condition_block
            && let Terminator::Condition(go) = kernel.block(header).terminator
        {
            let go = self.id(go);
            if frame.left.is_some() {
                // The exit is then a separate block, so this is a selection.
                self.asm.effect(op::SelectionMerge, &[frame.body_label, 0]);
            }
            self.asm.effect(op::BranchConditional, &[go, frame.body_label, frame.exit]);
            self.leave_block(&frame);
            self.begin(frame.body_label);
            self.poll(frame.inst, frame.merge);
        }
        self.frames.push(Frame::Loop(frame));
    }

    pub(super) fn done(&mut self, inst: InstId) {
        let kernel = self.kernel;
        match kernel.inst(inst).kind.control() {
            Some(Control::If { then_block, else_block, .. }) => {
                let Some(Frame::If(frame)) = self.frames.pop() else { return };
                self.begin(frame.merge);
                self.note_yielded_choices(inst, [then_block, else_block]);
                let [(then_values, then_end), (else_values, else_end)] = frame.yielded.as_slice() else {
                    return;
                };
                for (i, result) in kernel.inst(inst).results.iter().enumerate() {
                    let ty = self.asm.ty(kernel.ty(*result));
                    let parents = [then_values[i], *then_end, else_values[i], *else_end];
                    self.ids[result.index()] = self.asm.value(op::Phi, ty, &parents);
                }
            }
            Some(Control::For { initial, .. } | Control::While { initial, .. }) => {
                let Some(Frame::Loop(frame)) = self.frames.pop() else { return };
                self.begin(frame.merge);
                // After the loop, SwiftShader returns the value that the header computed from the phi in the previous iteration.
                for ((result, value), id) in
                    kernel.inst(inst).results.iter().zip(initial.iter()).zip(&frame.results)
                {
                    let ty = kernel.ty(*value);
                    self.ids[result.index()] = self.convert(*id, carried_as(ty), ty);
                }
                self.note_carried_choices(initial, &kernel.inst(inst).results);
                if let Some((variable, position)) = frame.left {
                    self.check_left(variable, position);
                }
            }
            Some(Control::Region { .. }) => {
                self.frames.pop();
            }
            None => {}
        }
    }

    /// Returns the type in which iterations of a `for` over `ty` are counted.
    fn iteration_type(ty: Type) -> Type {
        if ty.scalar.bits() == 64 { Type::U64 } else { Type::U32 }
    }

    /// Computes the number of iterations of a `for` before it begins.
    fn trips(&mut self, start: ValueId, end: ValueId, step: ValueId) -> Id {
        let ty = self.kernel.ty(start);
        let signed = ty.scalar.is_signed();
        let word = Self::iteration_type(ty);
        let step_bits = self.kernel.literal(step).map_or(1, |l| l.bits);
        // A constant here is not left to the driver: with a maximum of literals in its place, products of `f32` lost a
        // quarter of their speed on NVIDIA.
        let known = [start, end].map(|bound| self.constant(bound).map(|lanes| lanes[0]));
        if let [Some(start), Some(end)] = known {
            return self.asm.splat(word, eval::trip_count(ty.scalar, start, end, step_bits));
        }
        let down = signed && step_bits > ty.scalar.mask() / 2;
        let stride = if down { step_bits.wrapping_neg() & ty.scalar.mask() } else { step_bits };
        let (start, end) = (self.end_of_range(start), self.end_of_range(end));
        let (low, high) = if down { (end, start) } else { (start, end) };
        // Narrow integers are computed as words. As unsigned words the distance is correct even if the signed
        // difference overflows.
        // Zero if there are no iterations. Not selected by a comparison of the bounds: NVIDIA's compiler makes one
        // subtraction of both for 64 bits, whose borrow it loses.
        let larger = self.glsl(if signed { glsl::SMax } else { glsl::UMax }, ty, &[low, high]);
        let [low, larger] = [low, larger].map(|v| self.convert(v, ty, word));
        let distance = self.make(op::ISub, word, &[larger, low]);
        if stride == 1 {
            return distance;
        }
        let (zero, one) = (self.asm.splat(word, 0), self.asm.splat(word, 1));
        let last = self.make(op::ISub, word, &[distance, one]);
        let stride = self.asm.splat(word, stride);
        let whole = self.make(op::UDiv, word, &[last, stride]);
        let count = self.make(op::IAdd, word, &[whole, one]);
        let some = self.make(op::INotEqual, Type::BOOL, &[distance, zero]);
        self.make(op::Select, word, &[some, count, zero])
    }

    /// Computes `start + iteration * step`.
    fn counter(&mut self, start: ValueId, step: ValueId, iteration: Id) -> Id {
        let ty = self.kernel.ty(start);
        let (start, step) = (self.id(start), self.id(step));
        let iteration = self.convert(iteration, Self::iteration_type(ty), ty);
        let scaled = self.make(op::IMul, ty, &[iteration, step]);
        let sum = self.make(op::IAdd, ty, &[start, scaled]);
        self.wrapped(ty, sum)
    }

    fn control_pointer(&mut self, word: ControlWord) -> Option<Id> {
        let variable = self.control?;
        let word_type = self.asm.ty(Type::U32);
        let pointer_type = self.asm.pointer(storage_class::StorageBuffer, word_type);
        let (member, position) = (self.asm.u32(0), self.asm.u32(word as u32));
        Some(self.asm.value(op::AccessChain, pointer_type, &[variable, member, position]))
    }

    pub(super) fn control_load(&mut self, word: ControlWord) -> Id {
        let zero = self.asm.u32(0);
        let Some(pointer) = self.control_pointer(word) else { return zero };
        // Volatile because the host writes it: the load must be neither moved out of a loop nor merged with another.
        let (reach, volatile) = (self.asm.u32(scope::QueueFamily), self.asm.u32(semantics::Volatile));
        let word_type = self.asm.ty(Type::U32);
        self.asm.value(op::AtomicLoad, word_type, &[pointer, reach, volatile])
    }

    /// Clears the flag that records that a loop ended because its condition failed, for drivers that end loops.
    ///
    /// The flag is in an array with an index that the driver's compiler cannot know: of a plain variable it concludes
    /// that it is always set after the loop.
    fn clear_left(&mut self) -> (Id, Id) {
        let word = self.asm.ty(Type::U32);
        let array = self.asm.array(word, 2);
        let null = self.asm.null(array);
        let variable = self.asm.local(array, Some(null));
        let hidden = self.control_load(ControlWord::Zero);
        let (word, one, zero) = (self.asm.ty(Type::U32), self.asm.u32(1), self.asm.u32(0));
        let position = self.asm.value(op::BitwiseAnd, word, &[hidden, one]);
        let pointer = self.left_pointer(variable, position);
        self.asm.effect(op::Store, &[pointer, zero]);
        (variable, position)
    }

    fn left_pointer(&mut self, variable: Id, position: Id) -> Id {
        let word = self.asm.ty(Type::U32);
        let pointer_type = self.asm.pointer(storage_class::Function, word);
        self.asm.value(op::AccessChain, pointer_type, &[variable, position])
    }

    /// Emits the block that sets the flag when the loop's condition fails, if the driver ends loops.
    fn leave_block(&mut self, frame: &LoopFrame) {
        let Some((variable, position)) = frame.left else { return };
        self.begin(frame.exit);
        let pointer = self.left_pointer(variable, position);
        let one = self.asm.u32(1);
        self.asm.effect(op::Store, &[pointer, one]);
        self.asm.effect(op::Branch, &[frame.merge]);
    }

    /// After a loop: records a fault if the flag is not set.
    fn check_left(&mut self, variable: Id, position: Id) {
        let (word, bool_type, zero) = (self.asm.ty(Type::U32), self.asm.ty(Type::BOOL), self.asm.u32(0));
        let pointer = self.left_pointer(variable, position);
        let left = self.asm.value(op::Load, word, &[pointer]);
        let ended = self.asm.value(op::IEqual, bool_type, &[left, zero]);
        self.where_true(ended, |e| e.record_fault(Layout::FAULT_LOOP_ENDED, None));
    }

    /// Records a fault, the invocation and optional further data, if it is the first fault of the launch.
    pub(super) fn record_fault(&mut self, fault: u32, more: Option<(ControlWord, Id)>) {
        let Some(pointer) = self.control_pointer(ControlWord::Fault) else { return };
        let (word, bool_type) = (self.asm.ty(Type::U32), self.asm.ty(Type::BOOL));
        let (reach, relaxed) = (self.asm.u32(scope::QueueFamily), self.asm.u32(semantics::Relaxed));
        let (none, fault) = (self.asm.u32(0), self.asm.u32(fault));
        let before =
            self.asm.value(op::AtomicCompareExchange, word, &[pointer, reach, relaxed, relaxed, fault, none]);
        let first = self.asm.value(op::IEqual, bool_type, &[before, none]);
        self.where_true(first, |e| {
            let invocation = e.flat_invocation();
            let Some(pointer) = e.control_pointer(ControlWord::Invocation) else { return };
            e.asm.effect(op::AtomicStore, &[pointer, reach, relaxed, invocation]);
            if let Some((word, value)) = more
                && let Some(pointer) = e.control_pointer(word)
            {
                e.asm.effect(op::AtomicStore, &[pointer, reach, relaxed, value]);
            }
        });
    }

    /// Returns the flattened global invocation index, x fastest, modulo 2³².
    fn flat_invocation(&mut self) -> Id {
        let word = self.asm.ty(Type::U32);
        let [width, height, _] = self.kernel.workgroup;
        let extent = |e: &mut Self, component: u8, size: u32| {
            let (groups, size) = (e.built_in_component(IdOp::NumWorkgroups, component), e.asm.u32(size));
            e.asm.value(op::IMul, word, &[groups, size])
        };
        let (columns, rows) = (extent(self, 0, width), extent(self, 1, height));
        let [x, y, z] = [0, 1, 2].map(|c| self.built_in_component(IdOp::GlobalId, c));
        let layer = self.asm.value(op::IMul, word, &[z, rows]);
        let row = self.asm.value(op::IAdd, word, &[layer, y]);
        let before = self.asm.value(op::IMul, word, &[row, columns]);
        self.asm.value(op::IAdd, word, &[before, x])
    }
}
