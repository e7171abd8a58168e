//! A compiled kernel: a flat list of steps over registers.
//!
//! A vector value takes one register per component, or two per 64-bit component. The first registers, one per element
//! of [`Code::fixed`], are filled before the first step, and no step writes them.

use std::ops::Range;
use std::sync::Arc;

use fulgurite_ir::{ArrayDecl, AtomicOrder, Initial, Memory, VerifiedKernel};
use fulgurite_spec::{IdOp, ScalarType, Type};

use crate::compute::{Args, Compute, Generic, Register};
use crate::matrix::MatrixStep;
use crate::memory::Atomic;
use crate::subgroup::{Broadcast, Scan, Shuffle, Vote};

/// A position in the list of steps.
pub(crate) type Position = u32;

/// The initial contents of a fixed register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fixed {
    /// Bits known at compile time.
    Constant(u32),
    /// One word of a component of a parameter.
    Param { index: usize, component: usize, word: u32 },
    /// One word of the length of a buffer, in elements of `stride` bytes.
    Len { binding: usize, stride: u32, word: u32 },
    /// An id along an axis.
    Id(IdOp, u8),
}

/// The layout of elements in memory: components are contiguous, and so are elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Size of a component in bytes: 1, 2, 4 or 8.
    pub(crate) size: u32,
    pub(crate) components: u32,
}

impl Layout {
    /// One word.
    pub(crate) const WORD: Self = Self { size: 4, components: 1 };

    pub(crate) fn of(ty: Type) -> Self {
        Self { size: ty.scalar.size(), components: ty.lanes.count() }
    }

    /// Returns the number of bytes from one element to the next.
    pub(crate) fn stride(self) -> usize {
        self.size as usize * self.components as usize
    }

    /// Returns the number of registers per component, which for whole words is also the number of memory words.
    pub(crate) fn words(self) -> u32 {
        self.size.div_ceil(4)
    }
}

/// The elements of a memory object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) space: Space,
    pub(crate) layout: Layout,
}

/// The location of a memory object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    /// A buffer binding.
    Buffer(u32),
    /// An array of `len` elements in shared memory, from word `base` on.
    Shared { base: u32, len: u32 },
    /// An array of `len` elements in local memory, from word `base` on, counted per lane.
    Local { base: u32, len: u32 },
}

/// A register that holds an index into memory.
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
    /// The number of iterations of each lane.
    pub(crate) trips: Register,
    /// Bits of the increment; not zero.
    pub(crate) step: u64,
    /// The counter's type, an integer. For a 64-bit counter, `trips` has 64 bits too.
    pub(crate) ty: ScalarType,
}

/// One step of all lanes. The tag is a separate byte, which is the fastest to branch on.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Step {
    /// A scalar op with a specialized loop.
    Compute(Compute, Args),
    /// Any other scalar op.
    Generic(Generic, Args),
    /// A copy of a register, in all lanes.
    Copy { to: Register, from: Register },
    /// A copy of a register, in active lanes.
    Blend { to: Register, from: Register },
    /// The component at a varying index; zero past the end.
    Extract { to: Register, components: [Register; 4], count: u32, index: Register },
    /// One register of component `component` of a vector after an `insert`.
    Insert { to: Register, from: Register, component: u32, index: Register, value: Register },
    /// A word packed from components, `bits` bits each.
    Pack { to: Register, components: [Register; 4], count: u32, bits: u32 },
    /// A component unpacked from a word.
    Unpack { to: Register, from: Register, shift: u32, mask: u32 },
    /// A load of an element.
    Load { place: Place, index: Index, to: [Register; 4] },
    /// A store of an element.
    Store { place: Place, index: Index, from: [Register; 4] },
    /// An atomic op on a scalar of one or two words; `to` receives the old value.
    Atomic { atomic: Atomic, index: Index, operands: [Register; 2], to: Register },
    /// A memory fence.
    Fence(AtomicOrder),
    /// A trap of the active lanes, whose global ids are in three registers.
    Trap { code: Register, ids: [Register; 3] },
    /// A reduction or scan across subgroups.
    Scan(Scan),
    /// A shuffle of values within subgroups.
    Shuffle(Shuffle),
    /// A vote, ballot or match within subgroups.
    Vote(Vote),
    /// Keeps the lanes for which the condition holds; jumps to `otherwise`, an `Else`, if there are none.
    If { condition: Register, otherwise: Position },
    /// Switches to the other lanes; jumps to `end`, an `EndIf`, if there are none.
    Else { end: Position },
    /// Restores the lanes from before the `If`.
    EndIf,
    /// Begins a counted loop; jumps past `next`, its `ForNext`, if no lane iterates.
    For { looping: ForLoop, next: Position },
    /// Starts the next iteration by a jump past `begin`, the loop's `For`.
    ForNext { looping: ForLoop, begin: Position },
    /// Begins a loop.
    While,
    /// Keeps the lanes for which the condition holds; if there are none, ends the loop and jumps past `next`.
    Condition { condition: Register, next: Position },
    /// Jumps past `begin`, the loop's `While`.
    WhileNext { begin: Position },
    /// A step on matrices, as an index into [`Code::matrix_steps`].
    Matrix(u32),
    /// Waits for the workgroup.
    Barrier,
    /// Waits for the workgroup, and receives the value of one of its invocations.
    Broadcast(Broadcast),
    /// The end of the kernel.
    End,
}

/// A compiled kernel.
pub(crate) struct Code {
    pub(crate) kernel: Arc<VerifiedKernel>,
    pub(crate) steps: Vec<Step>,
    pub(crate) matrix_steps: Vec<MatrixStep>,
    pub(crate) fixed: Vec<Fixed>,
    /// The number of matrix registers.
    pub(crate) matrices: usize,
    /// The number of components of the largest matrix.
    pub(crate) matrix_components: usize,
    /// The number of registers, including the fixed ones, which come first.
    pub(crate) registers: usize,
    pub(crate) shared_words: usize,
    /// The shared words that are zeroed for each workgroup.
    pub(crate) zeroed: Vec<Range<usize>>,
    /// The number of local words per lane.
    pub(crate) local_words: usize,
    /// The number of invocations per workgroup.
    pub(crate) invocations: usize,
    /// True if the invocations of a workgroup interact: through shared memory, a barrier, a broadcast, a subgroup op or
    /// a matrix. If false, lanes of different workgroups may run together.
    pub(crate) meets: bool,
    /// The number of lanes of a full subgroup.
    pub(crate) subgroup: usize,
}

/// Returns the number of words of an array.
fn words(array: &ArrayDecl) -> usize {
    (array.len as usize * array.element.size() as usize).div_ceil(4)
}

/// Returns the number of words of all arrays, each of which starts at a whole word.
pub(crate) fn words_of(arrays: &[ArrayDecl]) -> usize {
    arrays.iter().map(words).sum()
}

/// Returns the words of the shared arrays that are zero-initialized.
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

/// Returns the place of `memory`'s elements. A view shares the words of its base.
pub(crate) fn place(kernel: &VerifiedKernel, memory: Memory) -> Place {
    let base = |arrays: &[ArrayDecl], index: usize| words_of(&arrays[..index]) as u32;
    let len = kernel.array_len(memory).unwrap_or(0);
    let space = match kernel.base(memory) {
        Memory::Buffer(id) => Space::Buffer(id.index() as u32),
        Memory::Shared(id) => Space::Shared { base: base(&kernel.shared, id.index()), len },
        Memory::Local(id) => Space::Local { base: base(&kernel.locals, id.index()), len },
        // A base is never a view.
        Memory::View(_) => Space::Local { base: 0, len: 0 },
    };
    Place { space, layout: Layout::of(kernel.element(memory)) }
}
