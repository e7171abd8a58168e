//! Loads, stores and atomics, with explicit bounds guards.
//!
//! Every access that is not proven in bounds compares its index with the length, in the width of the index, and
//! branches, so that an access out of bounds touches nothing. Drivers turn the branch into predicated loads, which are
//! waited for only when their values are used; a selection of zero after the load would wait at once.

use fulgurite_ir::{AtomicOrder, InstId, Memory, Operands, SyncScope, ValueId, alignment};
use fulgurite_spec::{AtomicOp, Lanes, ScalarType, Type};

use super::Emitter;
use super::objects::{Home, Object};
use crate::assembler::Id;
use crate::spv::{capability, memory_access, op, scope, semantics, storage_class};

/// Static knowledge about an index.
enum Bounds {
    Inside,
    /// Not known; the id is the guard's condition.
    Unknown(Id),
}

/// An atomic op without its location.
pub(super) struct Atomic<'a> {
    pub(super) op: AtomicOp,
    pub(super) order: AtomicOrder,
    pub(super) scope: SyncScope,
    pub(super) operands: &'a Operands,
}

impl Emitter<'_> {
    /// Returns whether other invocations may write this memory.
    pub(super) fn is_contended(&self, memory: Memory) -> bool {
        match self.kernel.base(memory) {
            Memory::Buffer(id) => self.kernel.buffers[id.index()].access.can_write(),
            Memory::Shared(_) => true,
            Memory::Local(_) | Memory::View(_) => false,
        }
    }

    /// Returns whether `access` needs a guard, with the guard's condition.
    fn bounds(&mut self, access: InstId, memory: Memory, index: ValueId) -> Bounds {
        if self.bounds.is_inside(access) {
            return Bounds::Inside;
        }
        let (index_type, len_type) = (self.kernel.ty(index), self.kernel.len_type(memory));
        let (mut index, mut len) = (self.id(index), self.len(memory));
        if index_type != len_type {
            index = self.convert(index, index_type, Type::U64);
            len = self.convert(len, len_type, Type::U64);
        }
        Bounds::Unknown(self.make(op::ULessThan, Type::BOOL, &[index, len]))
    }

    /// Returns the object, and the index in the type that its pointers use: `u64` for addresses, otherwise `u32`, which
    /// holds every index in bounds.
    fn reach(&mut self, memory: Memory, index: ValueId) -> Option<(Object, Id)> {
        let object = self.objects.get(&memory).copied()?;
        let wanted = if matches!(object.home, Home::Address(_)) { Type::U64 } else { Type::U32 };
        let (id, ty) = (self.id(index), self.kernel.ty(index));
        Some((object, self.convert(id, ty, wanted)))
    }

    /// Returns a pointer to piece `at` of an object.
    pub(super) fn piece_pointer(&mut self, object: Object, at: Id) -> Id {
        let stored = self.stored_ty(object);
        match object.home {
            Home::Alone { variable } => variable,
            Home::Array { variable, class } => {
                let pointer = self.asm.pointer(class, stored);
                self.asm.value(op::AccessChain, pointer, &[variable, at])
            }
            Home::Block { variable, class, before } => {
                let at = self.after(before, at);
                let pointer = self.asm.pointer(class, stored);
                let member = self.asm.u32(0);
                self.asm.value(op::AccessChain, pointer, &[variable, member, at])
            }
            Home::Address(base) => {
                let size = self.asm.splat(Type::U64, u64::from(object.stored.size()));
                let offset = self.make(op::IMul, Type::U64, &[at, size]);
                let address = self.make(op::IAdd, Type::U64, &[base, offset]);
                let pointer = self.asm.pointer(storage_class::PhysicalStorageBuffer, stored);
                self.asm.value(op::ConvertUToPtr, pointer, &[address])
            }
        }
    }

    /// Returns a pointer to component `component` of vector `at` of an object.
    pub(super) fn component_pointer(&mut self, object: Object, at: Id, component: Id) -> Id {
        let scalar = self.asm.memory_ty(object.stored.element());
        let mut at = at;
        let (class, mut operands) = match object.home {
            Home::Array { variable, class } => (class, vec![variable]),
            Home::Block { variable, class, before } => {
                at = self.after(before, at);
                (class, vec![variable, self.asm.u32(0)])
            }
            // Components of these objects are never accessed separately.
            Home::Alone { variable } => return variable,
            Home::Address(base) => return base,
        };
        operands.extend([at, component]);
        let pointer = self.asm.pointer(class, scalar);
        self.asm.value(op::AccessChain, pointer, &operands)
    }

    /// Returns the index of piece `at` after `before` others.
    fn after(&mut self, before: Option<Id>, at: Id) -> Id {
        match before {
            Some(before) => self.make(op::IAdd, Type::U32, &[at, before]),
            None => at,
        }
    }

    /// Returns a pointer to piece `piece` of element `index`.
    fn pointer(&mut self, object: Object, index: Id, piece: u32) -> Id {
        if object.pieces == 1 {
            return self.piece_pointer(object, index);
        }
        let ty = if matches!(object.home, Home::Address(_)) { Type::U64 } else { Type::U32 };
        let (count, piece) =
            (self.asm.splat(ty, u64::from(object.pieces)), self.asm.splat(ty, u64::from(piece)));
        let first = self.make(op::IMul, ty, &[index, count]);
        let at = self.make(op::IAdd, ty, &[first, piece]);
        self.piece_pointer(object, at)
    }

    /// Returns the memory operands of a load or store. Without `NonPrivatePointer`, barriers would not order the
    /// access.
    pub(super) fn access(object: Object, contended: bool) -> Vec<u32> {
        let private = if contended { memory_access::NonPrivatePointer } else { 0 };
        match object.home {
            Home::Address(_) => vec![memory_access::Aligned | private, alignment(object.stored)],
            _ if contended => vec![private],
            _ => Vec::new(),
        }
    }

    /// Loads an element of type `ty`.
    pub(super) fn load_from(&mut self, object: Object, ty: Type, index: Id, contended: bool) -> Id {
        let mut pieces = Vec::with_capacity(object.pieces as usize);
        for piece in 0..object.pieces {
            let mut operands = vec![self.pointer(object, index, piece)];
            operands.extend(Self::access(object, contended));
            pieces.push(self.load_piece(object, &operands));
        }
        if let ([whole], true) = (pieces.as_slice(), object.stored == ty) {
            return *whole;
        }
        let per_component = pieces.len() / ty.lanes.count() as usize;
        let components: Vec<Id> =
            pieces.chunks(per_component).map(|p| self.join(p, object.stored, ty.element())).collect();
        match components.as_slice() {
            [one] => *one,
            all => self.make(op::CompositeConstruct, ty, all),
        }
    }

    pub(super) fn store_to(&mut self, object: Object, ty: Type, index: Id, value: Id, contended: bool) {
        let pieces = if object.pieces == 1 && object.stored == ty {
            vec![value]
        } else {
            let element = ty.element();
            let components: Vec<Id> = match ty.lanes {
                Lanes::One => vec![value],
                lanes => (0..lanes.count())
                    .map(|lane| self.make(op::CompositeExtract, element, &[value, lane]))
                    .collect(),
            };
            components.into_iter().flat_map(|c| self.split(c, element, object.stored)).collect()
        };
        for (piece, value) in (0..).zip(pieces) {
            let pointer = self.pointer(object, index, piece);
            self.store_piece(object, pointer, value, contended);
        }
    }

    /// Returns the type of a piece of an object in memory. Only private arrays of the invocation use register types.
    fn stored_ty(&mut self, object: Object) -> Id {
        if object.is_private() { self.asm.ty(object.stored) } else { self.asm.memory_ty(object.stored) }
    }

    /// Loads the piece at a pointer with the given memory operands, as a register value.
    pub(super) fn load_piece(&mut self, object: Object, operands: &[Id]) -> Id {
        let ty = self.stored_ty(object);
        let value = self.asm.value(op::Load, ty, operands);
        if object.is_private() { value } else { self.extended(object.stored, value) }
    }

    /// Stores a register value to the piece at `pointer`.
    pub(super) fn store_piece(&mut self, object: Object, pointer: Id, value: Id, contended: bool) {
        let value = if object.is_private() { value } else { self.truncated(object.stored, value) };
        let mut operands = vec![pointer, value];
        operands.extend(Self::access(object, contended));
        self.asm.effect(op::Store, &operands);
    }

    pub(super) fn load(&mut self, access: InstId, memory: Memory, index: ValueId) -> Id {
        let element = self.kernel.element(memory);
        let contended = self.is_contended(memory);
        let guard = self.bounds(access, memory, index);
        let Some((object, index)) = self.reach(memory, index) else { return self.asm.splat(element, 0) };
        let Bounds::Unknown(inside) = guard else {
            return self.load_from(object, element, index, contended);
        };
        self.guarded(inside, element, |e| e.load_from(object, element, index, contended))
    }

    pub(super) fn store(&mut self, access: InstId, memory: Memory, index: ValueId, value: ValueId) {
        let (element, contended) = (self.kernel.element(memory), self.is_contended(memory));
        let guard = self.bounds(access, memory, index);
        let value = self.id(value);
        let Some((object, index)) = self.reach(memory, index) else { return };
        let write = |e: &mut Self| e.store_to(object, element, index, value, contended);
        match guard {
            Bounds::Inside => write(self),
            Bounds::Unknown(inside) => self.where_true(inside, write),
        }
    }

    fn atomic_opcode(&mut self, atomic: AtomicOp, ty: ScalarType) -> u32 {
        match ty {
            ScalarType::I64 | ScalarType::U64 => self.asm.capability(capability::Int64Atomics),
            ScalarType::F32 if atomic == AtomicOp::Add => {
                self.asm.extension("SPV_EXT_shader_atomic_float_add");
                self.asm.capability(capability::AtomicFloat32AddEXT);
            }
            ScalarType::F64 if atomic == AtomicOp::Add => {
                self.asm.extension("SPV_EXT_shader_atomic_float_add");
                self.asm.capability(capability::AtomicFloat64AddEXT);
            }
            ScalarType::F64 => self.asm.capability(capability::Int64Atomics),
            ScalarType::F32
            | ScalarType::Bool
            | ScalarType::I8
            | ScalarType::I16
            | ScalarType::I32
            | ScalarType::U8
            | ScalarType::U16
            | ScalarType::U32
            | ScalarType::F16
            | ScalarType::BF16 => {}
        }
        let signed = ty.is_signed();
        match atomic {
            AtomicOp::Load => op::AtomicLoad,
            AtomicOp::Store => op::AtomicStore,
            AtomicOp::Exchange => op::AtomicExchange,
            AtomicOp::CompareExchange => op::AtomicCompareExchange,
            AtomicOp::Add if ty.is_float() => op::AtomicFAddEXT,
            AtomicOp::Add => op::AtomicIAdd,
            AtomicOp::Min if signed => op::AtomicSMin,
            AtomicOp::Min => op::AtomicUMin,
            AtomicOp::Max if signed => op::AtomicSMax,
            AtomicOp::Max => op::AtomicUMax,
            AtomicOp::And => op::AtomicAnd,
            AtomicOp::Or => op::AtomicOr,
            AtomicOp::Xor => op::AtomicXor,
        }
    }

    pub(super) fn atomic(
        &mut self,
        access: InstId,
        memory: Memory,
        index: ValueId,
        atomic: &Atomic<'_>,
    ) -> Option<Id> {
        let element = self.kernel.element(memory);
        let guard = self.bounds(access, memory, index);
        let values: Vec<Id> = atomic.operands.iter().map(|v| self.id(*v)).collect();
        let (object, index) = self.reach(memory, index)?;
        let opcode = self.atomic_opcode(atomic.op, element.scalar);
        // Signedness is that of the op and may differ from that of the pieces.
        let stored = object.stored;
        let reach = self.reach_of(atomic.scope, atomic.order);
        let ordered = self.asm.u32(order(atomic.order));
        // A failed comparison acts as a load.
        let acquire = atomic.order.acquires();
        let failed = self.asm.u32(order(if acquire { AtomicOrder::Acquire } else { AtomicOrder::Relaxed }));
        let kind = atomic.op;
        let perform = move |e: &mut Self| {
            let values: Vec<Id> = values.iter().map(|v| e.as_type(element, stored, *v)).collect();
            let mut words = vec![e.pointer(object, index, 0), reach, ordered];
            match (kind, values.as_slice()) {
                // SPIR-V requires the semantics of failure, and the new value before the comparator.
                (AtomicOp::CompareExchange, [expected, value]) => words.extend([failed, *value, *expected]),
                (_, values) => words.extend_from_slice(values),
            }
            if kind == AtomicOp::Store {
                e.asm.effect(opcode, &words);
                return 0;
            }
            let old = e.make(opcode, stored, &words);
            e.as_type(stored, element, old)
        };
        match (guard, kind) {
            (Bounds::Inside, AtomicOp::Store) => {
                perform(self);
                None
            }
            (Bounds::Unknown(inside), AtomicOp::Store) => {
                self.where_true(inside, |e| {
                    perform(e);
                });
                None
            }
            (Bounds::Inside, _) => Some(perform(self)),
            (Bounds::Unknown(inside), _) => Some(self.guarded(inside, element, perform)),
        }
    }

    /// Returns the scope that is ordered. Device scope would need another capability; a queue family suffices, because
    /// a dispatch runs on one.
    pub(super) fn reach_of(&mut self, scope: SyncScope, order: AtomicOrder) -> Id {
        let waits = self.profile.driver_waits_at_workgroup_fences && order != AtomicOrder::Relaxed;
        let wide = scope == SyncScope::Device || waits;
        self.asm.u32(if wide { scope::QueueFamily } else { scope::Workgroup })
    }

    /// Emits `then` under `condition`.
    pub(super) fn where_true(&mut self, condition: Id, then: impl FnOnce(&mut Self)) {
        let (inside, merge) = (self.asm.id(), self.asm.id());
        self.asm.effect(op::SelectionMerge, &[merge, 0]);
        self.asm.effect(op::BranchConditional, &[condition, inside, merge]);
        self.begin(inside);
        then(self);
        self.asm.effect(op::Branch, &[merge]);
        self.begin(merge);
    }

    /// Returns the result of `then` if `condition` holds, otherwise zero.
    pub(super) fn guarded(&mut self, condition: Id, ty: Type, then: impl FnOnce(&mut Self) -> Id) -> Id {
        let before = self.label;
        let mut made = (0, 0);
        self.where_true(condition, |e| {
            let id = then(e);
            made = (id, e.label);
        });
        let zero = self.asm.splat(ty, 0);
        let ty = self.asm.ty(ty);
        self.asm.value(op::Phi, ty, &[made.0, made.1, zero, before])
    }
}

/// Returns the memory semantics. Ordered atomics and fences order buffers and shared memory alike.
pub(super) fn order(order: AtomicOrder) -> u32 {
    let memory = semantics::UniformMemory | semantics::WorkgroupMemory;
    match order {
        AtomicOrder::Relaxed => semantics::Relaxed,
        AtomicOrder::Acquire => memory | semantics::Acquire | semantics::MakeVisible,
        AtomicOrder::Release => memory | semantics::Release | semantics::MakeAvailable,
        AtomicOrder::AcquireRelease => {
            memory | semantics::AcquireRelease | semantics::MakeAvailable | semantics::MakeVisible
        }
    }
}
