//! Executable memory, and calls of the code in it. This file has all unsafe code of the crate.
//!
//! Memory is writable or executable, never both: code is copied to a fresh mapping, which is then made executable and
//! not changed until it is unmapped.
//!
//! # Why generated code cannot corrupt the host
//!
//! - Generated code reads and writes its stack, its [`Frame`] and the words that are bound for buffers only. Offsets in the
//!   frame are constants below the size that the frame was allocated with. Addresses in buffers, and in the areas
//!   of the frame, are a pointer plus an index that is below the length, which the code compares, or which the
//!   bounds analysis proved for a launch whose preconditions hold. [`Function::bind`] takes pointer and length from
//!   one slice of words, so they belong together, and the slices outlive the call. Lengths count whole elements of
//!   the bytes in these words. An element of less than a word is read with the word that it is in, and written by
//!   itself. No index depends on a value that was loaded before the comparison and is loaded again after it,
//!   whatever other threads write: a value stays in a register, or is kept across barriers in the frame, which one
//!   thread has to itself, and there an index and what it was compared with belong to the same vector.
//! - Atomic ops on buffers are locked instructions, unless the worker updates its own copy of the buffer's words
//!   (`tally.rs`). No other thread accesses a copy, and it lives until the calls have returned. Atomic ops on shared
//!   arrays are not locked: a shared array is in the frame of the one thread that runs its workgroup.
//! - Other threads may access the same words: other workers of the launch, and readers of a buffer that the launch
//!   reads. Rust code accesses them atomically only. Generated code uses plain instructions of the machine, which is no
//!   data race in the sense of Rust: those are the accesses that the optimizer of the Rust compiler may assume things
//!   about, and it does not see generated code. On x86-64 an aligned access to a word is indivisible, so a racing
//!   kernel reads words that were written, in some order, and nothing else changes.
//! - Generated code does not unwind, and neither does the poll function that it calls.

use std::io;
use std::ptr::{self, NonNull};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use super::program::{Class, Input, MergeOp, Stored};
use super::x64::{CONTROL, FIXED, FrameLayout, MERGE_OPS, Machine, POLLS, offset};
use crate::memory::NativeBuffer;
use crate::poll::{Poll, Stopped};

/// A line of 64 bytes, the alignment of vectors.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u64; 8]);

/// The memory that one run of generated code works in: inputs, constants and registers.
pub(crate) struct Frame {
    lines: Vec<Line>,
    /// The address of the code whose constants are in the frame.
    code: usize,
}

impl Frame {
    /// Stores a word.
    fn set_word(&mut self, at: usize, bits: u32) {
        let word = &mut self.lines[at / 64].0[at % 64 / 8];
        let shift = at % 8 * 8;
        *word = *word & !(u64::from(u32::MAX) << shift) | u64::from(bits) << shift;
    }

    /// Stores a 64-bit scalar, by one store: a load of what two stores have written waits for both.
    fn set_scalar(&mut self, at: usize, value: u64) {
        self.lines[at / 64].0[at % 64 / 8] = value;
    }

    fn set_vector(&mut self, at: usize, words: impl Fn(u32) -> u32) {
        for (two, lane) in self.lines[at / 64].0.iter_mut().zip((0..).step_by(2)) {
            *two = u64::from(words(lane)) | u64::from(words(lane + 1)) << 32;
        }
    }
}

/// A mapping of executable memory.
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping is not written after it was made, and unmapping may happen on any thread.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps a copy of `code`.
    fn new(code: &[u8]) -> io::Result<Self> {
        let bytes = code.len().max(1);
        // SAFETY: an anonymous mapping at an address that the kernel chooses overlaps no other memory.
        let start = unsafe {
            mmap_anonymous(ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        }?;
        let start = NonNull::new(start.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let mapping = Self { start, bytes };
        // SAFETY: the mapping has at least `code.len()` bytes, is writable, and nothing else refers to it.
        unsafe { ptr::copy_nonoverlapping(code.as_ptr(), start.as_ptr(), code.len()) };
        // SAFETY: the range is this mapping, to which there are no references.
        unsafe { mprotect(start.as_ptr().cast(), bytes, MprotectFlags::READ | MprotectFlags::EXEC) }?;
        Ok(mapping)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping, and no call is running, because calls borrow it.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// A generated function.
pub(crate) struct Function {
    mapping: Mapping,
    layout: FrameLayout,
    /// The places of the inputs in the frame, in the order of [`Stored`].
    inputs: Vec<(usize, Class, Input)>,
    /// The number of inputs that are bound, and of those that are bound or launched.
    ends: [usize; 2],
}

impl Function {
    /// Maps generated code.
    ///
    /// # Errors
    /// The operating system's error.
    pub(crate) fn new(machine: Machine) -> io::Result<Self> {
        let Machine { code, layout, mut inputs } = machine;
        inputs.sort_by_key(|(_, _, input)| input.stored());
        let ends = [Stored::Bound, Stored::Launched]
            .map(|stored| inputs.partition_point(|(_, _, input)| input.stored() <= stored));
        Ok(Self { mapping: Mapping::new(&code)?, layout, inputs, ends })
    }

    /// Returns the size of a frame in bytes.
    pub(crate) fn frame_bytes(&self) -> u64 {
        self.layout.bytes as u64
    }

    /// Creates a frame, with its constants and the lane numbers. Returns `None` if memory is short.
    pub(crate) fn frame(&self) -> Option<Frame> {
        let mut lines = Vec::new();
        let count = self.layout.bytes.div_ceil(64);
        lines.try_reserve_exact(count).ok()?;
        lines.resize(count, Line([0; 8]));
        let mut frame = Frame { lines, code: 0 };
        for (position, [even, odd]) in FIXED.into_iter().enumerate() {
            let at = offset::CONSTANTS + position * 64;
            frame.set_vector(at, |lane| if lane % 2 == 0 { even } else { odd });
        }
        for (position, op) in MERGE_OPS.into_iter().enumerate() {
            // Only vectors of 16 lanes use these numbers. Those of the second vector's lanes begin with 16.
            frame.set_vector(offset::MERGE + position * 64, |lane| match op {
                MergeOp::Even => 2 * lane,
                MergeOp::Odd => 2 * lane + 1,
                MergeOp::Low => lane / 2 + lane % 2 * 16,
                MergeOp::High => 8 + lane / 2 + lane % 2 * 16,
            });
        }
        frame.set_word(offset::COUNTDOWN, POLLS);
        frame.set_word(offset::CONTROL, CONTROL);
        Some(frame)
    }

    /// Returns the places of the inputs that are stored at a time.
    fn inputs(&self, stored: Stored) -> &[(usize, Class, Input)] {
        let [bound, launched] = self.ends;
        match stored {
            Stored::Bound => &self.inputs[..bound],
            Stored::Launched => &self.inputs[bound..launched],
            Stored::Placed => &self.inputs[launched..],
        }
    }

    fn set(&self, frame: &mut Frame, at: usize, class: Class, input: Input, value: u64) {
        match (class, input) {
            (_, Input::LaneNumbers) => frame.set_vector(at, |lane| lane),
            (Class::Scalar, _) => frame.set_scalar(at, value),
            (Class::Vector | Class::Mask, _) => frame.set_vector(at, |_| value as u32),
        }
    }

    /// Binds the words of the buffers, in order of their bindings, for the calls until the frame is bound again.
    pub(crate) fn bind<'f>(&'f self, frame: &'f mut Frame, buffers: &'f [NativeBuffer<'f>]) -> Callable<'f> {
        // A frame of another function may be too short.
        let count = self.layout.bytes.div_ceil(64).max(frame.lines.len());
        frame.lines.resize(count, Line([0; 8]));
        let code = self.mapping.start.as_ptr() as usize;
        let has_constants = std::mem::replace(&mut frame.code, code) == code;
        for (at, class, input) in self.inputs(Stored::Bound) {
            let words = |binding: usize| buffers.get(binding).map_or(&[][..], |buffer| buffer.words);
            let bytes = |binding: usize| {
                buffers.get(binding).map_or(0, |buffer| buffer.bytes.min(4 * buffer.words.len() as u64))
            };
            let value = match *input {
                Input::Pointer(binding) => words(binding).as_ptr() as u64,
                Input::Area(area) => frame.lines.as_ptr() as u64 + self.layout.areas[area as usize] as u64,
                Input::Len { binding, stride } => bytes(binding) / u64::from(stride.max(1)),
                Input::Whole { binding, stride } => {
                    let stride = u64::from(stride.max(1));
                    bytes(binding) / stride * stride / 4
                }
                Input::Constant(_) | Input::LaneNumbers if has_constants => continue,
                Input::Constant(bits) => bits.into(),
                Input::LaneNumbers => 0,
                Input::Param { .. }
                | Input::Begin
                | Input::End
                | Input::GroupBegin
                | Input::GlobalId(_)
                | Input::LocalId(_)
                | Input::WorkgroupId(_)
                | Input::NumWorkgroups(_)
                | Input::LocalIndex => continue,
            };
            self.set(frame, *at, *class, *input, value);
        }
        Callable { function: self, frame }
    }
}

/// A frame that refers to buffers.
pub(crate) struct Callable<'f> {
    function: &'f Function,
    frame: &'f mut Frame,
}

impl Callable<'_> {
    /// Stores the inputs of a launch or of a part of it; not those that are stored when the frame is bound.
    pub(crate) fn set_inputs(&mut self, stored: Stored, value: impl Fn(Input) -> Option<u64>) {
        if stored == Stored::Bound {
            return;
        }
        for (at, class, input) in self.function.inputs(stored) {
            if let Some(value) = value(*input) {
                self.function.set(self.frame, *at, *class, *input, value);
            }
        }
    }

    /// Runs the function.
    ///
    /// # Errors
    /// [`Stopped`] if `poll` said that the launch was stopped.
    pub(crate) fn call(&mut self, poll: &mut Poll<'_>) -> Result<(), Stopped> {
        self.frame.set_scalar(offset::POLL, poll_function as *const () as u64);
        self.frame.set_scalar(offset::CONTEXT, ptr::from_mut(poll) as u64);
        let start = self.function.mapping.start.as_ptr();
        // SAFETY: the mapping holds a function with this signature, made by the emitter for a frame of this layout.
        let function = unsafe { std::mem::transmute::<*mut u8, extern "sysv64" fn(*mut Line) -> u32>(start) };
        // The function accesses what the documentation of this module lists: the frame, which is borrowed mutably, and
        // the words of the buffers, which are borrowed as long as the frame is bound.
        if function(self.frame.lines.as_mut_ptr()) == 0 { Ok(()) } else { Err(Stopped) }
    }
}

/// Asks whether to stop. Returns 1 to stop.
extern "sysv64" fn poll_function(context: *mut Poll<'_>) -> u32 {
    // SAFETY: the context is the address of the poll state that `call` borrows mutably while this function runs.
    let poll = unsafe { &mut *context };
    u32::from(poll.count_many(POLLS).is_err())
}

/// Calls `call` with other control bits of float instructions (MXCSR) in this thread.
#[cfg(test)]
pub(super) fn with_control<T>(bits: u32, call: impl FnOnce() -> T) -> T {
    let set = |bits: u32| {
        // SAFETY: the instruction reads the word, and no reserved bit of it is set.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const bits, options(nostack)) }
    };
    set(bits);
    let result = call();
    set(CONTROL);
    result
}
