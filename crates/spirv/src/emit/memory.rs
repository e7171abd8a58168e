//! Loads, stores, atomics and barriers, with explicit bounds guards.
//!
//! Every access that is not proven in bounds compares its index with the length. A load from memory that
//! nothing writes needs no branch: it reads element 0 instead (hosts bind at least 16 bytes) and the result
//! is replaced by zero. All other accesses branch, so that what is out of bounds touches nothing.

use fulgurite_ir::{InstId, Memory, MemoryScopes, Operands, ValueId};
use fulgurite_spec::{Lanes, Op, ScalarType, Type};

use super::Emitter;
use crate::assembler::Id;
use crate::spv::{capability, memory_access, op, scope, semantics, storage_class};

/// What is known of an index before the program runs.
enum Bounds {
    Inside,
    /// The condition that decides.
    Unknown(Id),
}

impl Emitter<'_> {
    fn storage_class(memory: Memory) -> u32 {
        match memory {
            Memory::Buffer(_) | Memory::View(_) => storage_class::StorageBuffer,
            Memory::Shared(_) => storage_class::Workgroup,
            Memory::Local(_) => storage_class::Function,
        }
    }

    /// Whether other invocations may write this memory.
    fn is_contended(&self, memory: Memory) -> bool {
        match memory {
            Memory::Buffer(id) => self.kernel.buffers[id.index()].access.can_write(),
            Memory::Shared(_) | Memory::View(_) => true,
            Memory::Local(_) => false,
        }
    }

    /// The memory operands of a load or store: without `NonPrivatePointer`, barriers would not order it.
    fn access(&self, memory: Memory) -> &'static [u32] {
        if self.is_contended(memory) { &[memory_access::NonPrivatePointer] } else { &[] }
    }

    /// Whether `access` needs a guard, and the guard's condition.
    fn bounds(&mut self, access: InstId, memory: Memory, index: ValueId) -> Bounds {
        if self.bounds.is_inside(access) {
            return Bounds::Inside;
        }
        let (bool_type, index, len) = (self.asm.ty(Type::BOOL), self.id(index), self.len(memory));
        Bounds::Unknown(self.asm.value(op::ULessThan, bool_type, &[index, len]))
    }

    fn pointer(&mut self, memory: Memory, index: Id) -> Id {
        self.pointer_to(memory, self.kernel.element(memory), index)
    }

    fn pointer_to(&mut self, memory: Memory, element: Type, index: Id) -> Id {
        let class = Self::storage_class(memory);
        let element = self.asm.ty(element);
        let pointer_type = self.asm.pointer(class, element);
        match memory {
            Memory::Buffer(id) => {
                let (variable, member) = (self.buffers[id.index()], self.asm.u32(0));
                self.asm.value(op::AccessChain, pointer_type, &[variable, member, index])
            }
            Memory::Shared(id) => {
                let variable = self.shared[id.index()];
                self.asm.value(op::AccessChain, pointer_type, &[variable, index])
            }
            Memory::Local(id) => {
                let variable = self.locals[id.index()];
                self.asm.value(op::AccessChain, pointer_type, &[variable, index])
            }
            // Refused before emission.
            Memory::View(_) => self.asm.null(pointer_type),
        }
    }

    /// Whether elements are reached component by component: packed vectors of three in a buffer, which SPIR-V would
    /// align as vectors of four.
    fn is_packed(&self, memory: Memory) -> bool {
        matches!(memory, Memory::Buffer(_)) && self.kernel.element(memory).lanes == Lanes::Three
    }

    fn load_at(&mut self, memory: Memory, index: Id) -> Id {
        let element = self.kernel.element(memory);
        if self.is_packed(memory) {
            let parts: Vec<Id> = (0..3)
                .map(|part| {
                    let pointer = self.part_pointer(memory, index, part);
                    self.load_from(memory, element.element(), pointer)
                })
                .collect();
            return self.make(op::CompositeConstruct, element, &parts);
        }
        let pointer = self.pointer(memory, index);
        self.load_from(memory, element, pointer)
    }

    fn load_from(&mut self, memory: Memory, ty: Type, pointer: Id) -> Id {
        let mut operands = vec![pointer];
        operands.extend_from_slice(self.access(memory));
        self.make(op::Load, ty, &operands)
    }

    /// Where component `part` of the packed element `index` is.
    fn part_pointer(&mut self, memory: Memory, index: Id, part: u32) -> Id {
        let (three, part) = (self.asm.u32(3), self.asm.u32(part));
        let first = self.make(op::IMul, Type::U32, &[index, three]);
        let at = self.make(op::IAdd, Type::U32, &[first, part]);
        self.pointer_to(memory, self.kernel.element(memory).element(), at)
    }

    fn store_at(&mut self, memory: Memory, index: Id, value: Id) {
        let element = self.kernel.element(memory);
        if self.is_packed(memory) {
            for part in 0..3 {
                let component = self.make(op::CompositeExtract, element.element(), &[value, part]);
                let pointer = self.part_pointer(memory, index, part);
                self.store_to(memory, pointer, component);
            }
            return;
        }
        let pointer = self.pointer(memory, index);
        self.store_to(memory, pointer, value);
    }

    fn store_to(&mut self, memory: Memory, pointer: Id, value: Id) {
        let mut operands = vec![pointer, value];
        operands.extend_from_slice(self.access(memory));
        self.asm.effect(op::Store, &operands);
    }

    pub(super) fn load(&mut self, access: InstId, memory: Memory, index: ValueId) -> Id {
        let element = self.kernel.element(memory);
        let guard = self.bounds(access, memory, index);
        let index = self.id(index);
        let Bounds::Unknown(inside) = guard else { return self.load_at(memory, index) };
        if self.is_contended(memory) {
            return self.guarded(inside, element, |e| e.load_at(memory, index));
        }
        let (word, zero) = (self.asm.ty(Type::U32), self.asm.u32(0));
        let safe = self.asm.value(op::Select, word, &[inside, index, zero]);
        let loaded = self.load_at(memory, safe);
        let nothing = self.asm.splat(element, 0);
        let mask = self.splat_value(Type::BOOL.with_lanes(element.lanes), inside);
        let ty = self.asm.ty(element);
        self.asm.value(op::Select, ty, &[mask, loaded, nothing])
    }

    pub(super) fn store(&mut self, access: InstId, memory: Memory, index: ValueId, value: ValueId) {
        let guard = self.bounds(access, memory, index);
        let (index, value) = (self.id(index), self.id(value));
        let write = |e: &mut Self| e.store_at(memory, index, value);
        match guard {
            Bounds::Inside => write(self),
            Bounds::Unknown(inside) => self.where_true(inside, write),
        }
    }

    pub(super) fn atomic(
        &mut self,
        access: InstId,
        atomic: Op,
        memory: Memory,
        index: ValueId,
        operands: &Operands,
    ) -> Option<Id> {
        let element = self.kernel.element(memory);
        let guard = self.bounds(access, memory, index);
        let index = self.id(index);
        let values: Vec<Id> = operands.iter().map(|v| self.id(*v)).collect();
        let ty = self.asm.ty(element);
        match element.scalar {
            ScalarType::I64 | ScalarType::U64 => self.asm.capability(capability::Int64Atomics),
            ScalarType::F32 | ScalarType::F64 if atomic == Op::AtomicAdd => {
                self.asm.extension("SPV_EXT_shader_atomic_float_add");
                let double = element.scalar == ScalarType::F64;
                self.asm.capability(if double {
                    capability::AtomicFloat64AddEXT
                } else {
                    capability::AtomicFloat32AddEXT
                });
            }
            _ => {}
        }
        let signed = element.scalar.is_signed();
        let opcode = match atomic {
            Op::AtomicLoad => op::AtomicLoad,
            Op::AtomicStore => op::AtomicStore,
            Op::AtomicExchange => op::AtomicExchange,
            Op::AtomicCompareExchange => op::AtomicCompareExchange,
            Op::AtomicAdd if element.scalar.is_float() => op::AtomicFAddEXT,
            Op::AtomicAdd => op::AtomicIAdd,
            Op::AtomicMin if signed => op::AtomicSMin,
            Op::AtomicMin => op::AtomicUMin,
            Op::AtomicMax if signed => op::AtomicSMax,
            Op::AtomicMax => op::AtomicUMax,
            Op::AtomicAnd => op::AtomicAnd,
            Op::AtomicOr => op::AtomicOr,
            _ => op::AtomicXor,
        };
        // Device scope would need a capability of its own; one dispatch runs on one queue family.
        let reach = if matches!(memory, Memory::Shared(_)) { scope::Workgroup } else { scope::QueueFamily };
        let (reach, relaxed) = (self.asm.u32(reach), self.asm.u32(semantics::Relaxed));
        let perform = move |e: &mut Self| {
            let pointer = e.pointer(memory, index);
            let mut words = vec![pointer, reach, relaxed];
            match (atomic, values.as_slice()) {
                // SPIR-V wants the semantics of failure too, and the new value before the comparator.
                (Op::AtomicCompareExchange, [expected, value]) => words.extend([relaxed, *value, *expected]),
                (_, values) => words.extend_from_slice(values),
            }
            if atomic == Op::AtomicStore {
                e.asm.effect(opcode, &words);
                return 0;
            }
            e.asm.value(opcode, ty, &words)
        };
        match (guard, atomic) {
            (Bounds::Inside, Op::AtomicStore) => {
                perform(self);
                None
            }
            (Bounds::Unknown(inside), Op::AtomicStore) => {
                self.where_true(inside, |e| {
                    perform(e);
                });
                None
            }
            (Bounds::Inside, _) => Some(perform(self)),
            (Bounds::Unknown(inside), _) => Some(self.guarded(inside, element, perform)),
        }
    }

    /// Runs `then` where `condition` holds.
    pub(super) fn where_true(&mut self, condition: Id, then: impl FnOnce(&mut Self)) {
        let (inside, merge) = (self.asm.id(), self.asm.id());
        self.asm.effect(op::SelectionMerge, &[merge, 0]);
        self.asm.effect(op::BranchConditional, &[condition, inside, merge]);
        self.begin(inside);
        then(self);
        self.asm.effect(op::Branch, &[merge]);
        self.begin(merge);
    }

    /// What `then` gives where `condition` holds, zero elsewhere.
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

    pub(super) fn barrier(&mut self, scopes: MemoryScopes) {
        let mut ordered = 0;
        if scopes.shared {
            ordered |= semantics::WorkgroupMemory;
        }
        if scopes.buffers {
            ordered |= semantics::UniformMemory;
        }
        if ordered != 0 {
            ordered |= semantics::AcquireRelease | semantics::MakeAvailable | semantics::MakeVisible;
        }
        let (workgroup, ordered) = (self.asm.u32(scope::Workgroup), self.asm.u32(ordered));
        self.asm.effect(op::ControlBarrier, &[workgroup, workgroup, ordered]);
    }
}
