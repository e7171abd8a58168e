//! Memory objects as variables: buffers, arrays and views, and access to their elements.

use fulgurite_ir::analysis::instructions;
use fulgurite_ir::{
    Initial, InstKind, Kernel, Memory, MemoryScopes, SharedId, VerifiedKernel, ViewId, alignment,
};
use fulgurite_spec::{IdOp, Lanes, Op, ScalarType, Type};

use super::Emitter;
use crate::assembler::Id;
use crate::contents::Contents;
use crate::layout::Layout;
use crate::profile::Profile;
use crate::spv::{decoration, op, storage_class};

/// Maximum number of stores by which an invocation zeroes its share of an array without a loop.
const STRAIGHT_ROUNDS: u32 = 8;

/// A declared memory object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object {
    pub(super) home: Home,
    /// The type of one access: the element or a piece of it.
    pub(super) stored: Type,
    /// Pieces per element; 1 if `stored` is the element.
    pub(super) pieces: u32,
}

/// Location of an object.
#[derive(Clone, Copy, Debug)]
pub(super) enum Home {
    /// A variable that is the only element.
    Alone { variable: Id },
    /// A variable that is an array.
    Array { variable: Id, class: u32 },
    /// A variable that is a block whose single member is an array. `before` is the number of pieces that precede the
    /// object.
    Block { variable: Id, class: u32, before: Option<Id> },
    /// A device address, a `u64`.
    Address(Id),
}

impl Object {
    /// Returns whether it is an array private to the invocation, whose elements have the types of registers.
    pub(super) fn is_private(self) -> bool {
        matches!(self.home, Home::Array { class: storage_class::Function, .. })
    }
}

/// Declaration of a shared array and its views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    /// The array alone: it has no views.
    Plain,
    /// Separate variables on the same bytes.
    Explicit,
    /// An array of pieces of this type, from which the elements of all are assembled.
    Pieces(ScalarType),
}

/// Returns whether the module states the layout of shared memory. It does so only for views, and then for all shared
/// memory.
fn lays_out_shared(kernel: &Kernel, profile: &Profile) -> bool {
    profile.explicit_shared_layout && kernel.views.iter().any(|v| matches!(v.base, Memory::Shared(_)))
}

fn sharing(kernel: &Kernel, profile: &Profile, contents: &Contents, id: SharedId) -> Sharing {
    let memory = Memory::Shared(id);
    let mut views = kernel.views_of(memory).peekable();
    if lays_out_shared(kernel, profile) {
        return Sharing::Explicit;
    }
    let base = kernel.shared[id.index()].element.scalar;
    if views.peek().is_none() {
        let words = words_of_floats(kernel, contents, memory);
        return words.map_or(Sharing::Plain, |words| Sharing::Pieces(words.scalar));
    }
    let scalars: Vec<ScalarType> = views.map(|v| v.element.scalar).chain([base]).collect();
    let mut all = (0..kernel.views.len()).map(|i| Memory::View(ViewId::new(i))).chain([memory]);
    let moved = all.any(|m| kernel.base(m) == memory && words_of_floats(kernel, contents, m).is_some());
    if !moved && scalars.iter().all(|s| *s == base) {
        return Sharing::Pieces(base);
    }
    let least = scalars.into_iter().min_by_key(|s| s.size()).unwrap_or(base);
    Sharing::Pieces(least.unsigned().unwrap_or(ScalarType::U32))
}

/// Returns the reason why `kernel` cannot be lowered for `profile`, if any: atomics on shared elements that are stored
/// in pieces.
pub(crate) fn unsupported(kernel: &VerifiedKernel, profile: &Profile) -> Option<String> {
    if kernel.shared.is_empty() {
        return None;
    }
    let contents = Contents::of(kernel);
    instructions(kernel).find_map(|id| {
        if let InstKind::CoopLoad { memory, .. } | InstKind::CoopStore { memory, .. } = kernel.inst(id).kind
            && let Memory::Shared(base) = kernel.base(memory)
            && let Sharing::Pieces(piece) = sharing(kernel, profile, &contents, base)
            && Type::scalar(piece) != kernel.element(memory)
        {
            return Some(format!(
                "matrices in `%{}`, whose shared memory is viewed as elements of another size \
                 (VK_KHR_workgroup_memory_explicit_layout)",
                kernel.memory_name(memory)
            ));
        }
        let InstKind::Atomic { op, memory, .. } = kernel.inst(id).kind else { return None };
        let Memory::Shared(base) = kernel.base(memory) else { return None };
        let Sharing::Pieces(piece) = sharing(kernel, profile, &contents, base) else { return None };
        let scalar = kernel.element(memory).scalar;
        let words = Type::scalar(piece).size() == scalar.size() && !piece.is_float();
        let whole = piece == scalar || (words && (scalar.is_integer() || op != Op::AtomicAdd));
        (!whole).then(|| {
            format!(
                "atomics on `%{}`, whose shared memory is viewed as elements of another size \
                 (VK_KHR_workgroup_memory_explicit_layout)",
                kernel.memory_name(memory)
            )
        })
    })
}

/// Returns the unsigned integer type that stores floats if atomics exchange but never add them: atomics on floats need
/// features that drivers lack.
fn words_of_floats(kernel: &Kernel, contents: &Contents, memory: Memory) -> Option<Type> {
    let words = match kernel.element(memory) {
        Type::F32 => Type::U32,
        Type::F64 => Type::U64,
        _ => return None,
    };
    let adds = *contents.atomics.get(&memory)?;
    (!adds).then_some(words)
}

/// Returns the type of one access, and the number of accesses per element. An element may be a packed vector of three,
/// which SPIR-V would align like a vector of four.
fn unpacked(element: Type) -> (Type, u32) {
    if element.lanes == Lanes::Three { (element.element(), 3) } else { (element, 1) }
}

/// Returns the same for the elements of `memory`.
fn stored_as(kernel: &Kernel, contents: &Contents, memory: Memory) -> (Type, u32) {
    match words_of_floats(kernel, contents, memory) {
        Some(words) => (words, 1),
        None => unpacked(kernel.element(memory)),
    }
}

/// Returns the same for the elements of a local array: NVIDIA's compiler crashes on some small arrays of `f16x3`.
pub(super) fn stored_locally(element: Type) -> (Type, u32) {
    if element.scalar == ScalarType::F16 { unpacked(element) } else { (element, 1) }
}

impl Emitter<'_> {
    pub(super) fn declare_buffers(&mut self, layout: &Layout) {
        let kernel = self.kernel;
        for (binding, buffer) in (0u32..).zip(&kernel.buffers) {
            let base = Memory::Buffer(fulgurite_ir::BufferId::new(binding as usize));
            if layout.by_address[binding as usize] {
                // Its address is in the parameter block.
                continue;
            }
            // An alias that is never accessed needs no variable. A single one is not aliased, because the host
            // guarantees that a buffer which is written is bound only once.
            let all: Vec<Memory> =
                kernel.aliases(base).filter(|memory| self.contents.reached.contains(memory)).collect();
            for memory in &all {
                let (stored, pieces) = stored_as(kernel, &self.contents, *memory);
                let block = self.asm.buffer_block(stored);
                let variable = self.bind(block, binding);
                let alias = if all.len() > 1 { decoration::Aliased } else { decoration::Restrict };
                self.asm.decorate(variable, &[alias]);
                if !buffer.access.can_write() && !self.profile.rules.repeated_loads {
                    self.asm.decorate(variable, &[decoration::NonWritable]);
                }
                if !buffer.access.can_read() {
                    self.asm.decorate(variable, &[decoration::NonReadable]);
                }
                let home = Home::Block { variable, class: storage_class::StorageBuffer, before: None };
                self.objects.insert(*memory, Object { home, stored, pieces });
                self.named.push((variable, kernel.memory_name(*memory).to_owned()));
            }
        }
    }

    /// Creates the objects of a buffer accessed by address, once the address is known.
    pub(super) fn place_at(&mut self, buffer: Memory, address: Id) {
        let kernel = self.kernel;
        for memory in kernel.aliases(buffer) {
            let (stored, pieces) = stored_as(kernel, &self.contents, memory);
            self.objects.insert(memory, Object { home: Home::Address(address), stored, pieces });
        }
    }

    /// Records that the bound range of a buffer begins `bytes` (a `u32`) into its descriptor.
    pub(super) fn begin_at(&mut self, buffer: Memory, bytes: Id) {
        let kernel = self.kernel;
        for memory in kernel.aliases(buffer) {
            let Some(mut object) = self.objects.get(&memory).copied() else { continue };
            if let Home::Block { before, .. } = &mut object.home {
                let size = self.asm.u32(object.stored.size());
                *before = Some(self.make(op::UDiv, Type::U32, &[bytes, size]));
            }
            self.objects.insert(memory, object);
        }
    }

    pub(super) fn declare_shared(&mut self) {
        let kernel = self.kernel;
        let (offsets, end) = kernel.shared_layout();
        self.shared_end = end;
        self.lays_out_shared = lays_out_shared(kernel, self.profile);
        for (i, array) in kernel.shared.iter().enumerate() {
            let id = SharedId::new(i);
            let base = Memory::Shared(id);
            let all = kernel.aliases(base);
            match sharing(kernel, self.profile, &self.contents, id) {
                Sharing::Explicit => {
                    for memory in all {
                        let (stored, pieces) = stored_as(kernel, &self.contents, memory);
                        let len = kernel.array_len(memory).unwrap_or(0) * pieces;
                        let object = self.explicit(stored, len, offsets[i] as u32);
                        self.objects.insert(memory, Object { pieces, ..object });
                    }
                }
                Sharing::Plain => {
                    let stored = array.element;
                    let variable = self.shared_array(stored, array.len);
                    let home = Home::Array { variable, class: storage_class::Workgroup };
                    self.objects.insert(base, Object { home, stored, pieces: 1 });
                    self.named.push((variable, array.name.clone()));
                }
                Sharing::Pieces(piece) => {
                    let stored = Type::scalar(piece);
                    let len = array.len * (array.element.size() / piece.size());
                    let variable = self.shared_array(stored, len);
                    let home = Home::Array { variable, class: storage_class::Workgroup };
                    for memory in all {
                        let pieces = kernel.element(memory).size() / piece.size();
                        self.objects.insert(memory, Object { home, stored, pieces });
                    }
                    self.named.push((variable, array.name.clone()));
                }
            }
        }
    }

    fn shared_array(&mut self, element: Type, len: u32) -> Id {
        let element = self.asm.memory_ty(element);
        let array = self.asm.array(element, len);
        self.asm.global(storage_class::Workgroup, array, None)
    }

    /// Declares a part of shared memory with an explicit offset.
    fn explicit(&mut self, stored: Type, len: u32, offset: u32) -> Object {
        let block = self.asm.shared_block(stored, len.max(1), offset);
        let variable = self.asm.global(storage_class::Workgroup, block, None);
        self.asm.decorate(variable, &[decoration::Aliased]);
        let home = Home::Block { variable, class: storage_class::Workgroup, before: None };
        Object { home, stored, pieces: 1 }
    }

    /// Declares an array of shared memory for the module's own use.
    pub(super) fn shared_scratch_array(&mut self, element: Type, len: u32) -> Object {
        let offset = self.shared_end.next_multiple_of(16);
        self.shared_end = offset + u64::from(element.size()) * u64::from(len);
        if self.lays_out_shared {
            return self.explicit(element, len, offset as u32);
        }
        let variable = self.shared_array(element, len);
        let home = Home::Array { variable, class: storage_class::Workgroup };
        Object { home, stored: element, pieces: 1 }
    }

    /// Declares shared memory for the module's own use that holds one value of `ty`, a storable type.
    pub(super) fn shared_scratch(&mut self, ty: Type) -> Object {
        let (stored, pieces) = unpacked(ty);
        let offset = self.shared_end.next_multiple_of(u64::from(alignment(ty)));
        self.shared_end = offset + u64::from(ty.size());
        if self.lays_out_shared {
            return Object { pieces, ..self.explicit(stored, pieces, offset as u32) };
        }
        let whole = self.asm.memory_ty(ty);
        let variable = self.asm.global(storage_class::Workgroup, whole, None);
        Object { home: Home::Alone { variable }, stored: ty, pieces: 1 }
    }

    /// Zeroes the shared arrays that are initially zero: each invocation stores its share, followed by a barrier.
    /// Explicitly laid out memory cannot have an initializer, and drivers were found to repeat an initializer's effect
    /// later.
    pub(super) fn zero_shared(&mut self) {
        let kernel = self.kernel;
        let invocations = kernel.workgroup_invocations();
        let mut any = false;
        for (i, _) in kernel.shared.iter().enumerate().filter(|(_, array)| array.initial == Initial::Zero) {
            let memory = Memory::Shared(SharedId::new(i));
            let Some(object) = self.objects.get(&memory).copied() else { continue };
            any = true;
            self.zero_object(object, kernel.shared[i].len * object.pieces, invocations);
        }
        if any {
            self.barrier(MemoryScopes { shared: true, buffers: false });
        }
    }

    /// Stores zero to `len` pieces of an object, divided among all invocations.
    fn zero_object(&mut self, object: Object, len: u32, invocations: u32) {
        let zero = self.asm.memory_constant(object.stored, 0);
        let store = |e: &mut Self, at: Id| {
            let pointer = e.piece_pointer(object, at);
            e.asm.effect(op::Store, &[pointer, zero, crate::spv::memory_access::NonPrivatePointer]);
        };
        let own = self.built_in(IdOp::LocalIndex);
        if len.div_ceil(invocations) > STRAIGHT_ROUNDS {
            let (len, step) = (self.asm.u32(len), self.asm.u32(invocations));
            self.strided(own, len, step, store);
            return;
        }
        for first in (0..len).step_by(invocations as usize) {
            let mut at = own;
            if first > 0 {
                let first = self.asm.u32(first);
                at = self.make(op::IAdd, Type::U32, &[own, first]);
            }
            if len - first >= invocations {
                store(self, at);
            } else {
                let len = self.asm.u32(len);
                let inside = self.make(op::ULessThan, Type::BOOL, &[at, len]);
                self.where_true(inside, |e| store(e, at));
            }
        }
    }

    /// Runs `body` for `first`, `first + step`, … below `len`.
    pub(super) fn strided(&mut self, first: Id, len: Id, step: Id, body: impl FnOnce(&mut Self, Id)) {
        let before = self.label;
        let [header, test, inside, next, merge] = core::array::from_fn(|_| self.asm.id());
        let following = self.asm.id();
        self.asm.effect(op::Branch, &[header]);
        self.begin(header);
        let at = self.make(op::Phi, Type::U32, &[first, before, following, next]);
        self.asm.effect(op::LoopMerge, &[merge, next, 0]);
        self.asm.effect(op::Branch, &[test]);
        self.begin(test);
        let go = self.make(op::ULessThan, Type::BOOL, &[at, len]);
        self.asm.effect(op::BranchConditional, &[go, inside, merge]);
        self.begin(inside);
        body(self, at);
        self.asm.effect(op::Branch, &[next]);
        self.begin(next);
        let word = self.asm.ty(Type::U32);
        self.asm.effect(op::IAdd, &[word, following, at, step]);
        self.asm.effect(op::Branch, &[header]);
        self.begin(merge);
    }
}
