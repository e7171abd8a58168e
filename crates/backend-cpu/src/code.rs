//! A compiled kernel: a flat list of steps over registers.
//!
//! A value of a vector type takes a register for each component, or two if components have 64 bits. Registers up to [`Code::fixed`]'s length are
//! filled before the first step and never written by one.

use std::ops::Range;
use std::sync::Arc;

use fulgurite_ir::{ArrayDecl, AtomicOrder, Initial, Memory, VerifiedKernel};
use fulgurite_spec::{Op, ScalarType, Type};

use crate::compute::{Args, Compute, Generic, Register};
use crate::matrix::MatrixStep;
use crate::memory::Atomic;
use crate::subgroup::{Broadcast, Scan, Shuffle, Vote};

/// A position in the list of steps.
pub(crate) type Position = u32;

/// What a register holds from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fixed {
    /// Bits known to the compiler.
    Constant(u32),
    /// A word of a component of a parameter.
    Param { index: usize, component: usize, word: u32 },
    /// A word of the length of a buffer in elements of so many bytes.
    Len { binding: usize, stride: u32, word: u32 },
    /// An id along an axis.
    Id(Op, u8),
}

/// How elements lie in memory: components one behind the other, elements too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Bytes of a component: 1, 2, 4 or 8.
    pub(crate) size: u32,
    pub(crate) components: u32,
}

impl Layout {
    /// One word.
    pub(crate) const WORD: Self = Self { size: 4, components: 1 };

    pub(crate) fn of(ty: Type) -> Self {
        Self { size: ty.scalar.size(), components: ty.lanes.count() }
    }

    /// Bytes from an element to the next.
    pub(crate) fn stride(self) -> usize {
        self.size as usize * self.components as usize
    }

    /// Registers, and words of memory if they are whole, of a component.
    pub(crate) fn words(self) -> u32 {
        self.size.div_ceil(4)
    }
}

/// Elements of a memory object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) space: Space,
    pub(crate) layout: Layout,
}

/// Where a memory object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    /// A binding.
    Buffer(u32),
    /// Shared memory, from a word on, with so many elements.
    Shared { base: u32, len: u32 },
    /// Local memory, from a word on, counted for one lane, with so many elements.
    Local { base: u32, len: u32 },
}

/// A register with an index into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Index {
    /// 32 bits.
    Narrow(Register),
    /// 64 bits, in this register and the next.
    Wide(Register),
}

/// The registers of a `for` loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ForLoop {
    pub(crate) start: Register,
    pub(crate) end: Register,
    pub(crate) counter: Register,
    /// Each lane's number of iterations.
    pub(crate) trips: Register,
    /// What the counter grows by, as bits; not zero.
    pub(crate) step: u64,
    /// The counter's type, an integer. A 64-bit counter's trips have 64 bits too.
    pub(crate) ty: ScalarType,
}

/// One step of all lanes. The tag stands by itself, which is quickest to branch on.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Step {
    /// A scalar op with a loop of its own.
    Compute(Compute, Args),
    /// Any other scalar op.
    Generic(Generic, Args),
    /// Copies a register, in all lanes.
    Copy { to: Register, from: Register },
    /// Copies a register, in active lanes.
    Blend { to: Register, from: Register },
    /// The register at a varying position, zero past the end.
    Extract { to: Register, components: [Register; 4], count: u32, index: Register },
    /// A register of component `component` of a vector after `insert`.
    Insert { to: Register, from: Register, component: u32, index: Register, value: Register },
    /// A register of narrow components side by side, so many bits from one to the next.
    Pack { to: Register, components: [Register; 4], count: u32, bits: u32 },
    /// A narrow component from a register.
    Unpack { to: Register, from: Register, shift: u32, mask: u32 },
    /// Reads an element.
    Load { place: Place, index: Index, to: [Register; 4] },
    /// Writes an element.
    Store { place: Place, index: Index, from: [Register; 4] },
    /// An atomic op on a scalar of one or two words; `to` gets the old value.
    Atomic { atomic: Atomic, index: Index, operands: [Register; 2], to: Register },
    /// Orders memory.
    Fence(AtomicOrder),
    /// Reports a fault of the active lanes, whose global ids are in three registers.
    Trap { code: Register, ids: [Register; 3] },
    /// A reduction or scan across subgroups.
    Scan(Scan),
    /// Values from other lanes of the subgroup.
    Shuffle(Shuffle),
    /// Counts lanes of the subgroup.
    Vote(Vote),
    /// Keeps the lanes where the condition holds; goes to `otherwise`, an `Else`, if there are none.
    If { condition: Register, otherwise: Position },
    /// Turns to the other lanes; goes to `end`, an `EndIf`, if there are none.
    Else { end: Position },
    /// All lanes from before the `If`.
    EndIf,
    /// Begins a counted loop; goes behind `next`, its `ForNext`, if no lane iterates.
    For { looping: ForLoop, next: Position },
    /// Next iteration, back behind `begin`, the loop's `For`.
    ForNext { looping: ForLoop, begin: Position },
    /// Begins a loop.
    While,
    /// Keeps the lanes where the condition holds; if there are none, ends the loop and goes behind `next`.
    Condition { condition: Register, next: Position },
    /// Back behind `begin`, the loop's `While`.
    WhileNext { begin: Position },
    /// A step on matrices, by its position among them.
    Matrix(u32),
    /// Waits for the workgroup.
    Barrier,
    /// Waits for the workgroup, and gets the value of one of its invocations.
    Broadcast(Broadcast),
    /// The kernel's end.
    End,
}

/// A compiled kernel.
pub(crate) struct Code {
    pub(crate) kernel: Arc<VerifiedKernel>,
    pub(crate) steps: Vec<Step>,
    pub(crate) matrix_steps: Vec<MatrixStep>,
    pub(crate) fixed: Vec<Fixed>,
    /// Registers of matrices.
    pub(crate) matrices: usize,
    /// Components that the largest matrix has.
    pub(crate) matrix_components: usize,
    /// All registers, the fixed ones first.
    pub(crate) registers: usize,
    pub(crate) shared_words: usize,
    /// The words of it that a workgroup finds zero.
    pub(crate) zeroed: Vec<Range<usize>>,
    /// Of one lane.
    pub(crate) local_words: usize,
    /// Invocations in a workgroup.
    pub(crate) invocations: usize,
    /// Whether invocations of a workgroup meet: at a barrier, or in shared memory. If not, lanes of different
    /// workgroups may run together.
    pub(crate) meets: bool,
}

/// The words that an array takes.
fn words(array: &ArrayDecl) -> usize {
    (array.len as usize * array.element.size() as usize).div_ceil(4)
}

/// The words that arrays take, each from a whole word on.
pub(crate) fn words_of(arrays: &[ArrayDecl]) -> usize {
    arrays.iter().map(words).sum()
}

/// The words of shared arrays that begin as zeros.
pub(crate) fn zeroed_words(arrays: &[ArrayDecl]) -> Vec<Range<usize>> {
    let mut zeroed: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    for array in arrays {
        let end = start + words(array);
        match zeroed.last_mut() {
            _ if array.initial == Initial::Uninit => {}
            Some(last) if last.end == start => last.end = end,
            _ => zeroed.push(start..end),
        }
        start = end;
    }
    zeroed
}

/// Where `memory`'s elements are. A view's are the words of what it views.
pub(crate) fn place(kernel: &VerifiedKernel, memory: Memory) -> Place {
    let base = |arrays: &[ArrayDecl], index: usize| words_of(&arrays[..index]) as u32;
    let len = kernel.array_len(memory).unwrap_or(0);
    let space = match kernel.base(memory) {
        Memory::Buffer(id) => Space::Buffer(id.index() as u32),
        Memory::Shared(id) => Space::Shared { base: base(&kernel.shared, id.index()), len },
        Memory::Local(id) => Space::Local { base: base(&kernel.locals, id.index()), len },
        // There is no view of a view.
        Memory::View(_) => Space::Local { base: 0, len: 0 },
    };
    Place { space, layout: Layout::of(kernel.element(memory)) }
}
