//! Emission of a kernel: declarations, then the body in one walk.

mod abort;
mod bits;
mod control;
mod convert;
mod integer;
mod memory;
mod scalar;
mod transcendental;
mod zeros;

use fulgurite_ir::analysis::{BoundsMap, Event, RangeMap, Walk, instructions};
use fulgurite_ir::{InstId, InstKind, Memory, ValueDef, ValueId, VerifiedKernel};
use std::collections::BTreeSet;

use fulgurite_spec::{Lanes, Op, ScalarType, Type};

use crate::assembler::{Assembler, Id, push};
use crate::layout::{BlockPlacement, Layout};
use crate::polls::Poll;
use crate::profile::Profile;
use crate::spv::{built_in, capability, decoration, execution_mode, op, storage_class};
use crate::{Module, polls};

/// Emits `kernel` for a device described by `profile`: a pure function of both.
pub(crate) fn emit(kernel: &VerifiedKernel, profile: &Profile) -> Module {
    let ranges = RangeMap::of(kernel);
    let mut polls = polls::polls(kernel, &ranges);
    if profile.driver_ends_loops {
        // Such a driver lets invocations leave loops apart anyway.
        polls.iter_mut().filter(|poll| **poll == Poll::Together).for_each(|poll| *poll = Poll::Alone);
    }
    let loops = instructions(kernel)
        .any(|id| matches!(kernel.inst(id).kind, InstKind::For { .. } | InstKind::While { .. }));
    let polled = polls.iter().any(|poll| *poll != Poll::Never);
    let control = polled || (loops && profile.driver_ends_loops);
    let mut layout = Layout::new(kernel, profile.push_constant_bytes, control);
    if polls.contains(&Poll::Together) {
        layout.shared_bytes += 4;
    }
    let mut asm = Assembler::new();
    let main = asm.id();
    modes(&mut asm, main, kernel, profile);
    let mut emitter = Emitter {
        kernel,
        profile,
        polls,
        bounds: BoundsMap::of(kernel, &ranges),
        ids: vec![0; kernel.values.len()],
        buffers: Vec::new(),
        shared: Vec::new(),
        locals: Vec::new(),
        lengths: vec![0; kernel.buffers.len()],
        control: None,
        told: None,
        alone: None,
        together: None,
        hidden: None,
        built_ins: [0; 5],
        label: 0,
        frames: Vec::new(),
        asm,
    };
    emitter.declare(&layout);
    emitter.read_block(&layout);
    let end = emitter.begin_unless_aborted();
    layout.abortable = polled || end.is_some();
    emitter.body();
    emitter.end_unless_aborted(end);
    emitter.asm.effect(op::Return, &[]);
    emitter.names();
    Module { words: emitter.asm.finish(main), layout }
}

fn modes(asm: &mut Assembler, main: Id, kernel: &VerifiedKernel, profile: &Profile) {
    asm.capability(capability::Shader);
    asm.capability(capability::VulkanMemoryModel);
    let [x, y, z] = kernel.workgroup;
    push(&mut asm.modes, op::ExecutionMode, &[main, execution_mode::LocalSize, x, y, z]);
    types(asm, main, kernel, profile);
}

/// The capabilities of the types that the module uses, and what it demands of floats of those widths. `f32` is always
/// there: other widths are computed in it.
fn types(asm: &mut Assembler, main: Id, kernel: &VerifiedKernel, profile: &Profile) {
    let stored = kernel.buffers.iter().map(|b| b.element.scalar);
    let arrays = kernel.shared.iter().chain(&kernel.locals).map(|a| a.element.scalar);
    let params = kernel.params.iter().map(|p| p.ty.scalar);
    let values = kernel.values.iter().map(|v| v.ty.scalar);
    let used: BTreeSet<ScalarType> = stored.clone().chain(arrays).chain(params).chain(values).collect();
    // A float's bits are looked at as an integer where a driver folds zeros; the integers of a narrow float's
    // width serve its conversions.
    for ty in &used {
        match ty {
            ScalarType::I8 | ScalarType::U8 => asm.capability(capability::Int8),
            ScalarType::I16 | ScalarType::U16 | ScalarType::BF16 => asm.capability(capability::Int16),
            ScalarType::I64 | ScalarType::U64 => asm.capability(capability::Int64),
            ScalarType::F16 => asm.capability(capability::Float16),
            ScalarType::F64 => asm.capability(capability::Float64),
            ScalarType::Bool | ScalarType::I32 | ScalarType::U32 | ScalarType::F32 => {}
            _ => {}
        }
    }
    for ty in stored {
        match ty.size() {
            1 => asm.capability(capability::StorageBuffer8BitAccess),
            2 => asm.capability(capability::StorageBuffer16BitAccess),
            _ => {}
        }
    }
    let floats = [ScalarType::F16, ScalarType::F32, ScalarType::F64];
    for ty in floats.into_iter().filter(|ty| *ty == ScalarType::F32 || used.contains(ty)) {
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
    /// For each instruction, how it polls.
    polls: Vec<Poll>,
    /// Which accesses need no guard.
    bounds: BoundsMap,
    asm: Assembler,
    /// The id of each value; 0 for those not emitted yet.
    ids: Vec<Id>,
    buffers: Vec<Id>,
    shared: Vec<Id>,
    locals: Vec<Id>,
    /// The length of each buffer, from the parameter block.
    lengths: Vec<Id>,
    control: Option<Id>,
    /// A shared word in which one invocation tells the workgroup whether to stop.
    told: Option<Id>,
    /// Of loops that poll each invocation on its own, and of those that poll as a workgroup.
    alone: Option<abort::Watch>,
    together: Option<abort::Watch>,
    /// A word that is 0, which no compiler can tell.
    hidden: Option<Id>,
    /// Built-in inputs as loaded at the start, by [`built_in_slot`].
    built_ins: [Id; 5],
    /// The label of the block that code goes to: the parent that a phi names.
    label: Id,
    frames: Vec<control::Frame>,
}

/// Where an id op is kept in `built_ins`, and which built-in it reads.
fn built_in_slot(op: Op) -> (usize, u32) {
    match op {
        Op::GlobalId => (0, built_in::GlobalInvocationId),
        Op::LocalId => (1, built_in::LocalInvocationId),
        Op::WorkgroupId => (2, built_in::WorkgroupId),
        Op::NumWorkgroups => (3, built_in::NumWorkgroups),
        _ => (4, built_in::LocalInvocationIndex),
    }
}

impl Emitter<'_> {
    fn declare(&mut self, layout: &Layout) {
        let kernel = self.kernel;
        for (binding, buffer) in (0u32..).zip(&kernel.buffers) {
            // Packed vectors of three are reached by components.
            let element =
                if buffer.element.lanes == Lanes::Three { buffer.element.element() } else { buffer.element };
            let block = self.asm.buffer_block(element);
            let id = self.bind(block, binding);
            if !buffer.access.can_write() {
                self.asm.decorate(id, &[decoration::NonWritable]);
            }
            if !buffer.access.can_read() {
                self.asm.decorate(id, &[decoration::NonReadable]);
            }
            self.buffers.push(id);
        }
        if let Some(binding) = layout.control {
            let block = self.asm.words_block(4);
            self.control = Some(self.bind(block, binding));
        }
        if self.polls.contains(&Poll::Together) {
            let word = self.asm.ty(Type::U32);
            self.told = Some(self.asm.global(storage_class::Workgroup, word, None));
        }
        self.alone = self.declare_watch(Poll::Alone);
        self.together = self.declare_watch(Poll::Together);
        for shared in &kernel.shared {
            let array = self.asm.array(shared.element, shared.len);
            let zero = self.asm.null(array);
            let id = self.asm.global(storage_class::Workgroup, array, Some(zero));
            self.shared.push(id);
        }
        for local in &kernel.locals {
            let array = self.asm.array(local.element, local.len);
            let zero = self.asm.null(array);
            let id = self.asm.local(array, zero);
            self.locals.push(id);
        }
    }

    fn bind(&mut self, block: Id, binding: u32) -> Id {
        let id = self.asm.global(storage_class::StorageBuffer, block, None);
        self.asm.decorate(id, &[decoration::DescriptorSet, 0]);
        self.asm.decorate(id, &[decoration::Binding, binding]);
        id
    }

    /// Reads lengths, parameters and built-ins that the kernel uses, once, at its start.
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
            for i in 0..kernel.buffers.len() {
                self.lengths[i] = self.block_word(variable, class, i as u32);
            }
            let mut position = kernel.buffers.len() as u32;
            for param in &kernel.params {
                let count = Layout::words(param.ty);
                let words: Vec<Id> =
                    (position..position + count).map(|at| self.block_word(variable, class, at)).collect();
                position += count;
                let id = self.assemble(param.ty, &words);
                self.ids[param.value.index()] = id;
            }
        }
        for inst in instructions(kernel).map(|id| kernel.inst(id)) {
            if let InstKind::Id { op, .. } = inst.kind {
                self.built_in(op);
            }
        }
        if self.told.is_some() {
            self.built_in(Op::LocalIndex);
        }
        self.hide_zero();
        if self.control.is_some() && self.profile.driver_ends_loops {
            // The fault word wants the invocation that met it.
            self.built_in(Op::GlobalId);
            self.built_in(Op::NumWorkgroups);
        }
    }

    fn block_word(&mut self, variable: Id, class: u32, position: u32) -> Id {
        let word = self.asm.ty(Type::U32);
        let pointer_type = self.asm.pointer(class, word);
        let (member, position) = (self.asm.u32(0), self.asm.u32(position));
        let pointer = self.asm.value(op::AccessChain, pointer_type, &[variable, member, position]);
        self.asm.value(op::Load, word, &[pointer])
    }

    /// A parameter from its words: one for each component of up to 32 bits, two for wider ones.
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
                ([word], 1) => {
                    let byte = self.make(op::UConvert, Type::U8, &[*word]);
                    self.as_type(Type::U8, element, byte)
                }
                ([word], _) => {
                    let half = self.make(op::UConvert, Type::U16, &[*word]);
                    self.as_type(Type::U16, element, half)
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

    fn built_in(&mut self, id_op: Op) -> Id {
        let (slot, number) = built_in_slot(id_op);
        if self.built_ins[slot] == 0 {
            let ty = if id_op == Op::LocalIndex { self.asm.ty(Type::U32) } else { self.asm.uvec3() };
            let variable = self.asm.global(storage_class::Input, ty, None);
            self.asm.decorate(variable, &[decoration::BuiltIn, number]);
            self.built_ins[slot] = self.asm.value(op::Load, ty, &[variable]);
        }
        self.built_ins[slot]
    }

    /// One component of an id.
    fn built_in_component(&mut self, id_op: Op, component: u8) -> Id {
        let loaded = self.built_in(id_op);
        if id_op == Op::LocalIndex {
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

    /// The id of a value; constants are made when first used.
    fn id(&mut self, value: ValueId) -> Id {
        let known = self.ids[value.index()];
        if known != 0 {
            return known;
        }
        debug_assert!(
            matches!(self.kernel.value(value).def, ValueDef::Const(_)),
            "{value:?} is used before it is made"
        );
        let id = match self.kernel.literal(value) {
            Some(literal) => self.asm.literal(literal),
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
        for event in Walk::new(kernel) {
            match event {
                Event::Enter(block) => self.enter(block),
                Event::Inst(id) => self.inst(id),
                Event::Done(id) => self.done(id),
                Event::Exit(block) => self.exit(block),
            }
        }
    }

    fn inst(&mut self, id: InstId) {
        let kernel = self.kernel;
        let inst = kernel.inst(id);
        match &inst.kind {
            InstKind::Scalar { op, operands, .. } => {
                let Some(result) = inst.results.first() else { return };
                let value = self.scalar(*op, operands, kernel.ty(*result));
                self.define(id, value);
            }
            InstKind::Id { op, component } => {
                let value = self.built_in_component(*op, *component);
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
            InstKind::Atomic { op, memory, index, operands, .. } => {
                if let Some(value) = self.atomic(id, *op, *memory, *index, operands) {
                    self.define(id, value);
                }
            }
            InstKind::Barrier { scopes } => self.barrier(*scopes),
            InstKind::If { .. } | InstKind::For { .. } | InstKind::While { .. } => self.begin_control(id),
            // Refused before emission: see `recent_feature`.
            _ => {}
        }
    }

    /// The length of a memory object.
    fn len(&mut self, memory: Memory) -> Id {
        match memory {
            Memory::Buffer(id) => self.lengths[id.index()],
            Memory::Shared(id) => self.asm.u32(self.kernel.shared[id.index()].len),
            Memory::Local(id) => self.asm.u32(self.kernel.locals[id.index()].len),
            // Refused before emission.
            Memory::View(_) => self.asm.u32(0),
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
        let declared = kernel.buffers.iter().map(|b| &b.name).zip(self.buffers.clone());
        let shared = kernel.shared.iter().map(|a| &a.name).zip(self.shared.clone());
        let locals = kernel.locals.iter().map(|a| &a.name).zip(self.locals.clone());
        for (name, id) in declared.chain(shared).chain(locals) {
            self.asm.name(id, name);
        }
    }
}
