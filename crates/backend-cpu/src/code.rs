//! A compiled kernel: a flat list of steps over registers.
//!
//! A value of a vector type takes a register for each component. Registers up to [`Code::fixed`]'s length are
//! filled before the first step and never written by one.

use std::sync::Arc;

use fulgurite_ir::{Memory, VerifiedKernel};
use fulgurite_spec::Op;

use crate::compute::{Args, Compute, Register};

/// A position in the list of steps.
pub(crate) type Position = u32;

/// What a register holds from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fixed {
    /// Bits known to the compiler.
    Constant(u32),
    /// A component of a parameter.
    Param(usize, usize),
    /// The length of a buffer in elements.
    Len(usize),
    /// An id along an axis.
    Id(Op, u8),
}

/// Elements of a memory object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) space: Space,
    /// Number of elements; of buffers, only the launch knows.
    pub(crate) len: u32,
    /// Words of one element.
    pub(crate) components: u32,
}

/// Where a memory object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    /// A binding.
    Buffer(usize),
    /// Shared memory, from a word on.
    Shared(usize),
    /// Local memory, from a word on, counted for one lane.
    Local(usize),
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
    pub(crate) step: u32,
    pub(crate) is_signed: bool,
}

/// One step of all lanes.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    /// A scalar op.
    Compute(Compute, Args),
    /// Copies a register, in all lanes.
    Copy { to: Register, from: Register },
    /// Copies a register, in active lanes.
    Blend { to: Register, from: Register },
    /// The component at a varying position, zero past the end.
    Extract { to: Register, components: [Register; 4], count: u32, index: Register },
    /// Component `component` of a vector after `insert`.
    Insert { to: Register, from: Register, component: u32, index: Register, value: Register },
    /// Reads an element.
    Load { place: Place, index: Register, to: [Register; 4] },
    /// Writes an element.
    Store { place: Place, index: Register, from: [Register; 4] },
    /// An atomic op on a one-word element; `to` gets the old value.
    Atomic { op: Op, is_signed: bool, place: Place, index: Register, operands: [Register; 2], to: Register },
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
    /// Waits for the workgroup.
    Barrier,
    /// The kernel's end.
    End,
}

/// A compiled kernel.
pub(crate) struct Code {
    pub(crate) kernel: Arc<VerifiedKernel>,
    pub(crate) steps: Vec<Step>,
    pub(crate) fixed: Vec<Fixed>,
    /// All registers, the fixed ones first.
    pub(crate) registers: usize,
    pub(crate) shared_words: usize,
    /// Of one lane.
    pub(crate) local_words: usize,
    /// Invocations in a workgroup.
    pub(crate) invocations: usize,
    /// Whether invocations of a workgroup meet: at a barrier, or in shared memory. If not, lanes of different
    /// workgroups may run together.
    pub(crate) meets: bool,
}

impl Code {
    /// Where `memory`'s elements are; lengths of buffers are filled in by the launch.
    pub(crate) fn place(kernel: &VerifiedKernel, memory: Memory) -> Place {
        let offset = |arrays: &[fulgurite_ir::ArrayDecl], index: usize| {
            let words = |a: &fulgurite_ir::ArrayDecl| a.len as usize * (a.element.size() / 4) as usize;
            arrays[..index].iter().map(words).sum()
        };
        let (space, len) = match memory {
            Memory::Buffer(id) => (Space::Buffer(id.index()), 0),
            Memory::Shared(id) => {
                (Space::Shared(offset(&kernel.shared, id.index())), kernel.shared[id.index()].len)
            }
            Memory::Local(id) => {
                (Space::Local(offset(&kernel.locals, id.index())), kernel.locals[id.index()].len)
            }
            // Refused before compilation.
            Memory::View(_) => (Space::Local(0), 0),
        };
        Place { space, len, components: kernel.element(memory).size() / 4 }
    }
}
