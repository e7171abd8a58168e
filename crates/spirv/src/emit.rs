//! Emission of a kernel: declarations, then the body in one walk.

mod abort;
mod bits;
mod control;
mod convert;
mod divide;
mod halves;
mod hidden;
mod integer;
mod matrix;
mod memory;
mod narrow;
mod objects;
mod scalar;
mod subgroup;
mod sync;
mod transcendental;

use fulgurite_ir::analysis::{BoundsMap, Event, RangeMap, Walk};
use fulgurite_ir::{
    FloatMode, Initial, InstId, InstKind, LocalId, Memory, ValueDef, ValueId, VerifiedKernel,
};
use std::collections::HashMap;

use fulgurite_spec::eval::Components;
use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::{AtomicOp, IdOp, Lanes, Literal, ScalarType, SubgroupOp, Type, TypeSet};

use crate::assembler::{Assembler, Id, push};
use crate::contents::Contents;
use crate::emit::matrix::Tile;
use crate::emit::memory::Atomic;
use crate::emit::objects::{Home, Object};
use crate::layout::{BlockPlacement, Field, Layout};
use crate::polls::Poll;
use crate::profile::Profile;
use crate::spv::{addressing_model, built_in, capability, decoration, execution_mode, op, storage_class};
use crate::{Module, polls};

pub(crate) use objects::unsupported;

/// Emits `kernel` for a device described by `profile`. A pure function of both.
pub(crate) fn emit(kernel: &VerifiedKernel, profile: &Profile) -> Module {
    let (ranges, bounds) = match profile.optimize {
        true => {
            let ranges = RangeMap::of(kernel);
            let bounds = BoundsMap::of(kernel, &ranges);
            (ranges, bounds)
        }
        false => (RangeMap::unknown(kernel), BoundsMap::unknown(kernel)),
    };
    let contents = Contents::of(kernel);
    let mut polls = polls::polls(kernel, &ranges, &contents);
    if profile.driver_ends_loops {
        // Such a driver lets invocations leave loops separately in any case.
        polls.iter_mut().filter(|poll| **poll == Poll::Together).for_each(|poll| *poll = Poll::Alone);
    }
    let polled = polls.iter().any(|poll| *poll != Poll::Never);
    let control = polled || contents.traps || (contents.loops && profile.driver_ends_loops);
    let mut layout = Layout::of(kernel, profile, control, contents.reads_grid);
    let mut asm = Assembler::new();
    // Most instructions become one of five words or fewer.
    asm.code.reserve(kernel.insts.len() * 5);
    let main = asm.id();
    modes(&mut asm, main, kernel, profile, &contents);
    let mut emitter = Emitter {
        kernel,
        profile,
        polls,
        bounds,
        ranges: &ranges,
        ids: vec![0; kernel.values.len()],
        contents,
        objects: HashMap::new(),
        lengths: HashMap::new(),
        grid: None,
        shared_end: 0,
        lays_out_shared: false,
        broadcasts: HashMap::new(),
        tiles: HashMap::new(),
        named: Vec::new(),
        control: None,
        told: None,
        alone: None,
        together: None,
        hidden: None,
        known: HashMap::new(),
        choices: HashMap::new(),
        used_in_registers: match profile.rules.rounding {
            true => hidden::used_in_registers(kernel),
            false => Vec::new(),
        },
        built_ins: [0; 6],
        label: 0,
        frames: Vec::new(),
        mode: FloatMode::Default,
        asm,
    };
    emitter.declare(&layout);
    emitter.read_block(&layout);
    emitter.zero_shared();
    let end = emitter.begin_unless_aborted();
    layout.abortable = polled || end.is_some();
    emitter.body();
    layout.shared_bytes = emitter.shared_end;
    emitter.end_unless_aborted(end);
    emitter.asm.effect(op::Return, &[]);
    emitter.names();
    Module { words: emitter.asm.finish(main), layout }
}

fn modes(asm: &mut Assembler, main: Id, kernel: &VerifiedKernel, profile: &Profile, contents: &Contents) {
    asm.capability(capability::Shader);
    asm.capability(capability::VulkanMemoryModel);
    let [x, y, z] = local_size(kernel, contents);
    push(&mut asm.modes, op::ExecutionMode, &[main, execution_mode::LocalSize, x, y, z]);
    types(asm, main, kernel, profile);
    if kernel.buffers.iter().any(|b| b.large || profile.addresses) {
        asm.addressing = addressing_model::PhysicalStorageBuffer64;
        asm.capability(capability::PhysicalStorageBufferAddresses);
    }
    if contents.subgroup_ops && profile.subgroup_uniform_control_flow {
        asm.extension("SPV_KHR_subgroup_uniform_control_flow");
        push(&mut asm.modes, op::ExecutionMode, &[main, execution_mode::SubgroupUniformControlFlowKHR]);
    }
    if contents.subgroup_barriers {
        asm.capability(capability::GroupNonUniform);
    }
    explicit_layout(asm, kernel, profile);
}

/// Returns the workgroup size that the module declares: one-dimensional in a kernel that sees subgroups, because
/// drivers may start a new subgroup in each row of other shapes.
fn local_size(kernel: &VerifiedKernel, contents: &Contents) -> [u32; 3] {
    if contents.sees_subgroups { [kernel.workgroup_invocations(), 1, 1] } else { kernel.workgroup }
}

/// Declares the requirements of views of shared memory that are separate variables.
fn explicit_layout(asm: &mut Assembler, kernel: &VerifiedKernel, profile: &Profile) {
    let viewed = kernel.views.iter().any(|v| matches!(v.base, Memory::Shared(_)));
    if !viewed || !profile.explicit_shared_layout {
        return;
    }
    asm.extension("SPV_KHR_workgroup_memory_explicit_layout");
    asm.capability(capability::WorkgroupMemoryExplicitLayoutKHR);
    let views = kernel.views.iter().filter(|v| matches!(v.base, Memory::Shared(_))).map(|v| v.element);
    for element in kernel.shared.iter().map(|a| a.element).chain(views) {
        match element.scalar.size() {
            1 => asm.capability(capability::WorkgroupMemoryExplicitLayout8BitAccessKHR),
            2 => asm.capability(capability::WorkgroupMemoryExplicitLayout16BitAccessKHR),
            _ => {}
        }
    }
}

/// Declares capabilities for storing narrow types, and float controls for the widths that are used. `f32` is always
/// among them, because other widths are computed in it.
fn types(asm: &mut Assembler, main: Id, kernel: &VerifiedKernel, profile: &Profile) {
    let buffer_views = kernel.views.iter().filter(|v| matches!(v.base, Memory::Buffer(_)));
    let stored =
        kernel.buffers.iter().map(|b| b.element.scalar).chain(buffer_views.map(|v| v.element.scalar));
    let shared_views = kernel.views.iter().map(|v| v.element.scalar);
    let arrays = kernel.shared.iter().chain(&kernel.locals).map(|a| a.element.scalar);
    let params = kernel.params.iter().map(|p| p.ty.scalar);
    let values = kernel.values.iter().map(|v| v.ty.scalar);
    let used = stored.clone().chain(arrays).chain(shared_views).chain(params).chain(values);
    let used = used.fold(TypeSet::EMPTY, |all, ty| all.union(TypeSet::of(ty)));
    for ty in stored {
        match ty.size() {
            1 => asm.capability(capability::StorageBuffer8BitAccess),
            2 => asm.capability(capability::StorageBuffer16BitAccess),
            _ => {}
        }
    }
    let floats = [ScalarType::F16, ScalarType::F32, ScalarType::F64];
    for ty in floats.into_iter().filter(|ty| *ty == ScalarType::F32 || used.contains(*ty)) {
        let controls = profile.float_controls(ty);
        for (wanted, capability, mode) in [
            (
                controls.signed_zero_inf_nan_preserve,
                capability::SignedZeroInfNanPreserve,
                execution_mode::SignedZeroInfNanPreserve,
            ),
            (controls.rounding_mode_rte, capability::RoundingModeRTE, execution_mode::RoundingModeRTE),
            (controls.denorm_preserve, capability::DenormPreserve, execution_mode::DenormPreserve),
        ] {
            if wanted {
                asm.capability(capability);
                push(&mut asm.modes, op::ExecutionMode, &[main, mode, ty.bits()]);
            }
        }
    }
}

/// The state of emission.
struct Emitter<'a> {
    kernel: &'a VerifiedKernel,
    profile: &'a Profile,
    /// The way each instruction polls.
    polls: Vec<Poll>,
    /// The accesses that need no guard.
    bounds: BoundsMap,
    asm: Assembler,
    /// The id of each value; 0 for those not emitted yet.
    ids: Vec<Id>,
    /// The known range of each value.
    ranges: &'a RangeMap<'a>,
    contents: Contents,
    /// Buffers, arrays and views. (Maps are only used for lookups, so their order does not matter.)
    objects: HashMap<Memory, Object>,
    /// The length of each buffer and of each view of a buffer, from the parameter block.
    lengths: HashMap<Memory, Id>,
    /// The grid, from the parameter block, because a launch may be split.
    grid: Option<[Id; 3]>,
    /// Bytes of shared memory so far.
    shared_end: u64,
    /// Whether the module states the layout of shared memory.
    lays_out_shared: bool,
    /// Shared memory for broadcasts, by type.
    broadcasts: HashMap<Type, Object>,
    /// Shared memory for matrices that are partly out of bounds, by scalar type and size.
    tiles: HashMap<(Type, u32, usize), Object>,
    /// Names of variables.
    named: Vec<(Id, String)>,
    control: Option<Id>,
    /// A shared word by which one invocation tells the workgroup whether to stop.
    told: Option<Object>,
    /// Variables of loops in which each invocation polls separately, and of those that poll as a workgroup.
    alone: Option<abort::Watch>,
    together: Option<abort::Watch>,
    /// Values that drivers cannot constant-fold.
    hidden: Option<hidden::Hidden>,
    /// Values of ops on constants.
    known: HashMap<ValueId, Components>,
    /// The values that a compiler may know something of; collected if a rule needs that.
    choices: HashMap<ValueId, hidden::Choice>,
    /// Whether each value is used other than by stores; empty unless a rule needs it.
    used_in_registers: Vec<bool>,
    /// Built-in inputs loaded at the start, by [`built_in_slot`].
    built_ins: [Id; 6],
    /// The label of the current block, which a phi names as a parent.
    label: Id,
    frames: Vec<control::Frame>,
    /// Required accuracy of the current op.
    mode: FloatMode,
}

/// Returns the literal to emit: any NaN becomes a quiet one, because drivers compute `min` and `max` of signaling NaNs
/// incorrectly.
fn quiet(literal: Literal) -> Literal {
    match FloatFormat::of(literal.ty) {
        Some(format) if format.is_nan(literal.bits) => Literal::new(literal.ty, format.nan()),
        _ => literal,
    }
}

/// Returns the index of an id op in `built_ins`, and the built-in that it reads.
fn built_in_slot(op: IdOp) -> (usize, u32) {
    match op {
        IdOp::GlobalId => (0, built_in::GlobalInvocationId),
        IdOp::LocalId => (1, built_in::LocalInvocationId),
        IdOp::WorkgroupId => (2, built_in::WorkgroupId),
        IdOp::NumWorkgroups => (3, built_in::NumWorkgroups),
        // A driver knows that this id is uniform in the subgroup; the other subgroup ids are computed.
        IdOp::SubgroupId => (5, built_in::SubgroupId),
        // The others are computed from the local index.
        IdOp::LocalIndex | IdOp::Lane | IdOp::SubgroupSize | IdOp::NumSubgroups | IdOp::LaneMaskLt => {
            (4, built_in::LocalInvocationIndex)
        }
    }
}

/// Returns whether an id is loaded as one word instead of three.
fn loaded_as_word(op: IdOp) -> bool {
    built_in_slot(op).0 >= 4
}

impl Emitter<'_> {
    fn declare(&mut self, layout: &Layout) {
        let kernel = self.kernel;
        self.declare_buffers(layout);
        if let Some(binding) = layout.control {
            let block = self.asm.words_block((Layout::CONTROL_BYTES / 4) as u32);
            self.control = Some(self.bind(block, binding));
        }
        self.declare_shared();
        if self.polls.contains(&Poll::Together) {
            self.told = Some(self.shared_scratch(Type::U32));
        }
        self.alone = self.declare_watch(Poll::Alone);
        self.together = self.declare_watch(Poll::Together);
        for (i, local) in kernel.locals.iter().enumerate() {
            let (stored, pieces) = objects::stored_locally(local.element);
            let piece = self.asm.ty(stored);
            let array = self.asm.array(piece, local.len * pieces);
            let zero = self.asm.null(array);
            let variable = self.asm.local(array, Some(zero));
            let home = Home::Array { variable, class: storage_class::Function };
            let object = Object { home, stored, pieces };
            self.objects.insert(Memory::Local(LocalId::new(i)), object);
            self.named.push((variable, local.name.clone()));
        }
    }

    fn bind(&mut self, block: Id, binding: u32) -> Id {
        let id = self.asm.global(storage_class::StorageBuffer, block, None);
        self.asm.decorate(id, &[decoration::DescriptorSet, 0]);
        self.asm.decorate(id, &[decoration::Binding, binding]);
        id
    }

    /// Loads the lengths, parameters and built-ins that the kernel uses, once at its start.
    fn read_block(&mut self, layout: &Layout) {
        let kernel = self.kernel;
        let entry = self.asm.id();
        self.asm.effect(op::Branch, &[entry]);
        self.begin(entry);
        if layout.block_words > 0 {
            let block = self.asm.words_block(layout.block_words);
            let class = match layout.placement {
                BlockPlacement::PushConstants => storage_class::PushConstant,
                BlockPlacement::StorageBuffer { .. } => storage_class::StorageBuffer,
            };
            let variable = match layout.placement {
                BlockPlacement::PushConstants => self.asm.global(class, block, None),
                BlockPlacement::StorageBuffer { binding } => {
                    let id = self.bind(block, binding);
                    self.asm.decorate(id, &[decoration::NonWritable]);
                    id
                }
            };
            let mut position = 0;
            for field in &layout.fields {
                let count = field.words(kernel);
                let words: Vec<Id> =
                    (position..position + count).map(|at| self.block_word(variable, class, at)).collect();
                position += count;
                match *field {
                    Field::Length(memory) => {
                        let length = self.assemble(kernel.len_type(memory), &words);
                        self.lengths.insert(memory, length);
                    }
                    Field::Address(id) => {
                        let address = self.assemble(Type::U64, &words);
                        self.place_at(Memory::Buffer(id), address);
                    }
                    Field::Offset(id) => {
                        let bytes = self.assemble(Type::U32, &words);
                        self.begin_at(Memory::Buffer(id), bytes);
                    }
                    Field::Param(id) => {
                        let param = &kernel.params[id.index()];
                        self.ids[param.value.index()] = self.assemble(param.ty, &words);
                    }
                    Field::Zero => words.iter().for_each(|zero| self.hide_with(*zero)),
                    Field::Grid => self.grid = <[Id; 3]>::try_from(words).ok(),
                }
            }
        }
        for op in core::mem::take(&mut self.contents.inputs) {
            self.built_in(op);
        }
        if self.told.is_some() || kernel.shared.iter().any(|array| array.initial == Initial::Zero) {
            self.built_in(IdOp::LocalIndex);
        }
        if self.control.is_some() && self.profile.driver_ends_loops {
            self.load_invocation();
        }
    }

    /// Loads the ids of the faulting invocation for the fault record.
    fn load_invocation(&mut self) {
        self.built_in(IdOp::GlobalId);
        self.built_in(IdOp::NumWorkgroups);
    }

    fn block_word(&mut self, variable: Id, class: u32, position: u32) -> Id {
        let word = self.asm.ty(Type::U32);
        let pointer_type = self.asm.pointer(class, word);
        let (member, position) = (self.asm.u32(0), self.asm.u32(position));
        let pointer = self.asm.value(op::AccessChain, pointer_type, &[variable, member, position]);
        self.asm.value(op::Load, word, &[pointer])
    }

    /// Assembles a parameter from its words: one word per component of up to 32 bits, two for wider components.
    fn assemble(&mut self, ty: Type, words: &[Id]) -> Id {
        let element = ty.element();
        let per_component = words.len() / ty.lanes.count() as usize;
        let mut components = Vec::with_capacity(ty.lanes.count() as usize);
        for words in words.chunks(per_component) {
            components.push(match (words, element.size()) {
                ([word], 4) => self.as_type(Type::U32, element, *word),
                ([word], _) if element == Type::F16 => {
                    let pair = self.make(op::Bitcast, element.with_lanes(Lanes::Two), &[*word]);
                    self.make(op::CompositeExtract, element, &[pair, 0])
                }
                ([word], _) => {
                    let word = self.word_as(ScalarType::U32, element, *word);
                    self.wrapped(element, word)
                }
                _ => {
                    let pair = self.make(op::CompositeConstruct, Type::U32.with_lanes(Lanes::Two), words);
                    self.make(op::Bitcast, element, &[pair])
                }
            });
        }
        if let [one] = components.as_slice() {
            return *one;
        }
        self.make(op::CompositeConstruct, ty, &components)
    }

    fn built_in(&mut self, id_op: IdOp) -> Id {
        let (slot, number) = built_in_slot(id_op);
        if self.built_ins[slot] == 0 && local_size(self.kernel, &self.contents) != self.kernel.workgroup {
            match id_op {
                IdOp::LocalId => self.built_ins[slot] = self.local_id(),
                IdOp::GlobalId => self.built_ins[slot] = self.global_id(),
                IdOp::WorkgroupId
                | IdOp::NumWorkgroups
                | IdOp::LocalIndex
                | IdOp::Lane
                | IdOp::SubgroupId
                | IdOp::SubgroupSize
                | IdOp::NumSubgroups
                | IdOp::LaneMaskLt => {}
            }
        }
        if self.built_ins[slot] == 0 {
            let ty = if loaded_as_word(id_op) { self.asm.ty(Type::U32) } else { self.asm.uvec3() };
            if id_op == IdOp::SubgroupId {
                self.asm.capability(capability::GroupNonUniform);
            }
            let variable = self.asm.global(storage_class::Input, ty, None);
            self.asm.decorate(variable, &[decoration::BuiltIn, number]);
            self.built_ins[slot] = self.asm.value(op::Load, ty, &[variable]);
        }
        self.built_ins[slot]
    }

    /// Computes the local id in a workgroup that the module declares as one-dimensional.
    fn local_id(&mut self) -> Id {
        let [x, y, _] = self.kernel.workgroup;
        let index = self.built_in(IdOp::LocalIndex);
        let [x, y, layer] = [x, y, x * y].map(|size| self.asm.u32(size));
        let line = self.make(op::UDiv, Type::U32, &[index, x]);
        let before = self.make(op::IMul, Type::U32, &[line, x]);
        let column = self.make(op::ISub, Type::U32, &[index, before]);
        let depth = self.make(op::UDiv, Type::U32, &[index, layer]);
        let before = self.make(op::IMul, Type::U32, &[depth, y]);
        let row = self.make(op::ISub, Type::U32, &[line, before]);
        let ty = self.asm.uvec3();
        self.asm.value(op::CompositeConstruct, ty, &[column, row, depth])
    }

    /// Computes the global id in such a workgroup.
    fn global_id(&mut self) -> Id {
        let (local, workgroup) = (self.built_in(IdOp::LocalId), self.built_in(IdOp::WorkgroupId));
        let size = self.kernel.workgroup.map(|size| self.asm.u32(size));
        let ty = self.asm.uvec3();
        let size = self.asm.value(op::CompositeConstruct, ty, &size);
        let first = self.asm.value(op::IMul, ty, &[workgroup, size]);
        self.asm.value(op::IAdd, ty, &[first, local])
    }

    /// Returns one component of an id.
    fn built_in_component(&mut self, id_op: IdOp, component: u8) -> Id {
        let loaded = self.built_in(id_op);
        if loaded_as_word(id_op) {
            return loaded;
        }
        let word = self.asm.ty(Type::U32);
        self.asm.value(op::CompositeExtract, word, &[loaded, u32::from(component)])
    }

    /// Begins the block `label`.
    fn begin(&mut self, label: Id) {
        self.asm.effect(op::Label, &[label]);
        self.label = label;
    }

    /// Returns the id of a value; constants are created on first use.
    #[inline]
    fn id(&mut self, value: ValueId) -> Id {
        match self.ids[value.index()] {
            0 => self.constant_id(value),
            known => known,
        }
    }

    /// Emits a constant at its first use.
    fn constant_id(&mut self, value: ValueId) -> Id {
        debug_assert!(
            matches!(self.kernel.value(value).def, ValueDef::Const(_)),
            "{value:?} is used before it is made"
        );
        let id = match self.kernel.literal(value) {
            Some(literal) => self.asm.literal(quiet(literal)),
            None => {
                let ty = self.asm.ty(self.kernel.ty(value));
                self.asm.null(ty)
            }
        };
        self.ids[value.index()] = id;
        id
    }

    fn define(&mut self, inst: InstId, id: Id) {
        if let Some(result) = self.kernel.inst(inst).results.first() {
            self.ids[result.index()] = id;
        }
    }

    fn body(&mut self) {
        let kernel = self.kernel;
        Walk::new(kernel).for_each(|event| match event {
            Event::Enter(block) => self.enter(block),
            Event::Inst(id) => self.inst(id),
            Event::Done(id) => self.done(id),
            Event::Exit(block) => self.exit(block),
        });
    }

    fn inst(&mut self, id: InstId) {
        let kernel = self.kernel;
        let inst = kernel.inst(id);
        match &inst.kind {
            InstKind::Scalar { op, operands, mode } => {
                let (Some(result), operands) = (inst.results.first(), &**operands) else { return };
                if let Some(lanes) = self.fold(*op, operands, kernel.ty(*result)) {
                    let ty = kernel.ty(*result);
                    let value = self.asm.lanes(ty, &lanes[..ty.lanes.count() as usize]);
                    self.known.insert(*result, lanes);
                    self.define(id, value);
                    return;
                }
                self.mode = *mode;
                let value = self.scalar(*op, operands, kernel.ty(*result));
                let value = self.keep_rounding(*op, *result, value);
                self.mode = FloatMode::Default;
                self.note_choice(*op, operands, *result);
                self.ids[result.index()] = value;
            }
            InstKind::VecShuffle { components, vectors } => {
                let Some(result) = inst.results.first() else { return };
                let [a, b] = vectors.map(|v| self.id(v));
                let mut operands = vec![a, b];
                operands.extend(components.iter().map(|c| u32::from(*c)));
                let value = self.make(op::VectorShuffle, kernel.ty(*result), &operands);
                self.define(id, value);
            }
            InstKind::Id { op, component } => {
                let Some(op) = IdOp::of(*op) else { return };
                let value = match (op, self.grid) {
                    (IdOp::NumWorkgroups, Some(grid)) => grid[usize::from(*component).min(2)],
                    (op, _) if op.sees_subgroups() => self.subgroup_id(op),
                    (op, _) => self.built_in_component(op, *component),
                };
                self.define(id, value);
            }
            InstKind::Load { memory, index } => {
                let value = self.load(id, *memory, *index);
                self.define(id, value);
            }
            InstKind::Store { memory, index, value } => self.store(id, *memory, *index, *value),
            InstKind::Len { memory } => {
                let value = self.len(*memory);
                self.define(id, value);
            }
            InstKind::Atomic { op, order, scope, memory, index, operands } => {
                let Some(op) = AtomicOp::of(*op) else { return };
                let atomic = Atomic { op, order: *order, scope: *scope, operands };
                if let Some(value) = self.atomic(id, *memory, *index, &atomic) {
                    self.define(id, value);
                }
            }
            InstKind::Fence { order, scope } => self.fence(*order, *scope),
            InstKind::Barrier { scopes } => self.barrier(*scopes),
            InstKind::SubgroupBarrier { scopes } => self.subgroup_barrier(*scopes),
            InstKind::WorkgroupBroadcast { value, index } => {
                let value = self.workgroup_broadcast(*value, *index);
                self.define(id, value);
            }
            InstKind::Subgroup { op, combine, operands } => {
                let Some(op) = SubgroupOp::of(*op) else { return };
                let value = self.subgroup(op, *combine, operands);
                self.define(id, value);
            }
            InstKind::CoopLoad { layout, memory, offset, stride } => {
                let Some(result) = inst.results.first() else { return };
                let tile = Tile { layout: *layout, memory: *memory, offset: *offset, stride: *stride };
                let value = self.coop_load(id, kernel.ty(*result), tile);
                self.define(id, value);
            }
            InstKind::CoopStore { layout, memory, offset, stride, value } => {
                let tile = Tile { layout: *layout, memory: *memory, offset: *offset, stride: *stride };
                self.coop_store(id, tile, *value);
            }
            InstKind::CoopFill { value } => {
                let Some(result) = inst.results.first() else { return };
                let value = self.coop_fill(kernel.ty(*result), *value);
                self.define(id, value);
            }
            InstKind::CoopMulAdd { a, b, c } => {
                let Some(result) = inst.results.first() else { return };
                let value = self.coop_mul_add(kernel.ty(*result), [*a, *b], *c);
                self.define(id, value);
            }
            InstKind::CoopConvert { value } => {
                let Some(result) = inst.results.first() else { return };
                let value = self.coop_convert(*value, kernel.ty(*result));
                self.define(id, value);
            }
            InstKind::Trap { code } => self.trap(*code),
            InstKind::If { .. } | InstKind::For { .. } | InstKind::While { .. } | InstKind::Region { .. } => {
                self.begin_control(id);
            }
        }
    }

    /// Returns the length of a memory object.
    fn len(&mut self, memory: Memory) -> Id {
        match self.kernel.array_len(memory) {
            Some(len) => self.asm.u32(len),
            None => self.lengths.get(&memory).copied().unwrap_or_default(),
        }
    }

    fn names(&mut self) {
        if !self.profile.debug_names {
            return;
        }
        let kernel = self.kernel;
        for (value, id) in kernel.values.iter().zip(self.ids.clone()) {
            if let (Some(name), true) = (&value.name, id != 0 && !matches!(value.def, ValueDef::Const(_))) {
                self.asm.name(id, name);
            }
        }
        for (id, name) in core::mem::take(&mut self.named) {
            self.asm.name(id, &name);
        }
    }
}
