//! Emission of machine code for x86-64 with AVX2 or AVX-512.
//!
//! The code is a function with the System V calling convention: its argument is the address of a frame, which holds
//! inputs, constants and registers that did not fit; it returns 0, or 1 if the launch was stopped.
//!
//! Steps become instructions one by one. Three general-purpose registers, five vector registers and two mask registers
//! are not allocated: they hold operands that live in the frame, and intermediate results.

mod assembler;
mod atomic;
mod float;
mod integer;
mod masks;
mod memory;
mod narrow;
mod poll;
mod scalar;
mod tables;

use std::collections::HashMap;

use iced_x86::{Code, MemoryOperand, Register};

use super::program::{AREAS, Class, Input, MergeOp, Program, Reg, Step};
use super::registers::{Allocation, Location, Pools, allocate};
use assembler::Assembler;
use atomic::Operands;
#[cfg(test)]
pub(crate) use poll::weights;
pub(crate) use tables::FIXED;
use tables::{Constant, SLOT};

/// The instructions that code is generated for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// AVX2, FMA and BMI1 and 2, with 8 lanes.
    Avx2,
    /// AVX-512 F, BW, DQ and VL as well, with 16 lanes.
    Avx512,
}

impl Target {
    /// Returns the number of lanes of a vector.
    pub(crate) const fn lanes(self) -> u32 {
        match self {
            Self::Avx2 => 8,
            Self::Avx512 => 16,
        }
    }

    /// Returns the number of registers for vectors.
    pub(crate) fn vectors(self) -> u32 {
        self.pools().vectors.into()
    }

    fn pools(self) -> Pools {
        let scalars = SCALARS.len() as u8;
        match self {
            Self::Avx2 => Pools { scalars, vectors: 11, masks: 0 },
            Self::Avx512 => Pools { scalars, vectors: 27, masks: 5 },
        }
    }
}

/// The general-purpose registers that are allocated.
const SCALARS: [Register; 10] = [
    Register::RSI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
    Register::RBX,
    Register::RBP,
    Register::R12,
    Register::R13,
    Register::R14,
];
/// The address of the frame.
const FRAME: Register = Register::RDI;
/// The number of polls until the next call of the poll function.
const COUNTDOWN: Register = Register::R15D;
/// Registers that are not allocated.
const SCRATCH: [Register; 3] = [Register::RAX, Register::RCX, Register::RDX];
/// Mask registers that are not allocated.
const SCRATCH_MASKS: [Register; 2] = [Register::K6, Register::K7];

/// Offsets in the frame of what the code and its caller share.
pub(crate) mod offset {
    /// Address of the poll function, an `extern "sysv64" fn(*mut u8) -> u32`.
    pub(crate) const POLL: usize = 0;
    /// Argument of the poll function.
    pub(crate) const CONTEXT: usize = 8;
    /// The number of polls until the next call.
    pub(crate) const COUNTDOWN: usize = 16;
    /// The caller's control and status of float instructions (MXCSR).
    pub(crate) const CALLER_CONTROL: usize = 20;
    /// The same register's value in generated code, [`super::CONTROL`].
    pub(crate) const CONTROL: usize = 24;
    /// Fixed vectors, from [`super::FIXED`].
    pub(crate) const CONSTANTS: usize = 64;
    /// The lanes that each [`MergeOp`](super::MergeOp) takes, those of the second vector after those of the first one.
    pub(crate) const MERGE: usize = CONSTANTS + super::FIXED.len() * super::SLOT;
}

/// The control of float instructions in generated code: rounding to nearest even, subnormals kept, no exception traps.
pub(crate) const CONTROL: u32 = 0x1f80;

/// All choices of lanes, in the order of the frame.
pub(crate) const MERGE_OPS: [MergeOp; 4] = [MergeOp::Even, MergeOp::Odd, MergeOp::Low, MergeOp::High];

/// The number of polls between two calls of the poll function.
pub(crate) const POLLS: u32 = 256;

/// The layout of a frame: areas of slots, after [`FIXED`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameLayout {
    /// Offset of slots of vectors, then of masks, then of scalars.
    pub(crate) vectors: usize,
    pub(crate) masks: usize,
    pub(crate) scalars: usize,
    /// Offset of an area of 40 slots for intermediate results.
    save: usize,
    /// Offsets of the areas, by [`Area`](super::program::Area).
    pub(crate) areas: [usize; AREAS],
    /// Size in bytes.
    pub(crate) bytes: usize,
}

/// The number of slots of the save area.
const SAVED: usize = 40;

/// A generated function.
pub(crate) struct Machine {
    pub(crate) code: Vec<u8>,
    pub(crate) layout: FrameLayout,
    /// The inputs with the offsets in the frame that they are stored at, and whether they are vectors.
    pub(crate) inputs: Vec<(usize, Class, Input)>,
}

/// Generates machine code for `program`.
///
/// Returns `None` for programs that lowering never makes.
pub(crate) fn emit(program: &Program, target: Target) -> Option<Machine> {
    let mut immediates = HashMap::new();
    for (reg, input) in &program.inputs {
        if let (Class::Scalar, Input::Constant(bits)) = (program.class(*reg), *input) {
            immediates.insert(*reg, bits);
        }
    }
    let allocation = allocate(program, target.pools(), |reg| immediates.contains_key(&reg));
    let [scalars, vectors, masks] = allocation.slots.map(|count| count as usize);
    let vectors_at = offset::MERGE + MERGE_OPS.len() * SLOT;
    let masks_at = vectors_at + vectors * SLOT;
    let scalars_at = masks_at + masks * SLOT;
    let save = (scalars_at + scalars * 8).next_multiple_of(SLOT);
    let mut bytes = save + SAVED * SLOT;
    let areas = program.areas.map(|size| {
        let at = bytes;
        bytes += size.next_multiple_of(SLOT);
        at
    });
    let layout =
        FrameLayout { vectors: vectors_at, masks: masks_at, scalars: scalars_at, save, areas, bytes };
    // Displacements are signed and have 32 bits.
    if layout.bytes > 1 << 30 {
        return None;
    }
    let assembler = Assembler::new(program.labels as usize);
    let mut is_read = vec![false; program.classes.len()];
    let reads = program.steps.iter().flat_map(|step| step.uses().reads).flatten();
    reads.for_each(|reg| is_read[reg.index()] = true);
    let mut emitter = Emitter {
        program,
        target,
        allocation,
        layout,
        immediates,
        assembler,
        is_read,
        polls: Vec::new(),
        weights: poll::weights(program),
    };
    emitter.function()?;
    let mut next = [0; 3];
    let mut inputs = Vec::new();
    for (reg, input) in &program.inputs {
        let class = program.class(*reg);
        let position = &mut next[super::registers::class_index(class)];
        inputs.push((layout.slot(class, *position), class, *input));
        *position += 1;
    }
    Some(Machine { code: emitter.assembler.finish()?, layout, inputs })
}

impl FrameLayout {
    fn slot(&self, class: Class, position: u32) -> usize {
        let position = position as usize;
        match class {
            Class::Scalar => self.scalars + position * 8,
            Class::Vector => self.vectors + position * SLOT,
            Class::Mask => self.masks + position * SLOT,
        }
    }
}

/// A source operand: a register, or the frame.
#[derive(Clone, Copy)]
enum Source {
    Register(Register),
    Memory(MemoryOperand),
}

struct Emitter<'p> {
    program: &'p Program,
    target: Target,
    allocation: Allocation,
    layout: FrameLayout,
    /// Scalars that are constants.
    immediates: HashMap<Reg, u32>,
    assembler: Assembler,
    /// Whether a step reads each register.
    is_read: Vec<bool>,
    /// Polls, as labels of their slow path and of the code after them.
    polls: Vec<[usize; 2]>,
    /// The weights of polls, by their positions.
    weights: HashMap<usize, u32>,
}

/// Returns the address of an offset in the frame.
fn frame(offset: usize) -> MemoryOperand {
    MemoryOperand::with_base_displ(FRAME, offset as i64)
}

impl Emitter<'_> {
    fn is_wide(&self) -> bool {
        self.target == Target::Avx512
    }

    /// Returns the code of the wide or the narrow form of an instruction.
    fn pick(&self, wide: Code, narrow: Code) -> Code {
        if self.is_wide() { wide } else { narrow }
    }

    /// Returns the vector register with a number.
    fn vector_register(&self, number: u8) -> Register {
        if self.is_wide() { Register::ZMM0 + u32::from(number) } else { Register::YMM0 + u32::from(number) }
    }

    /// Returns a vector register that is not allocated.
    fn scratch(&self, position: u8) -> Register {
        self.vector_register(self.target.pools().vectors + position)
    }

    /// Returns whether a step reads a register.
    fn is_read(&self, reg: Reg) -> bool {
        self.is_read[reg.index()]
    }

    fn constant(&self, constant: Constant) -> MemoryOperand {
        frame(offset::CONSTANTS + constant as usize * SLOT)
    }

    fn location(&self, reg: Reg) -> Location {
        self.allocation.locations[reg.index()]
    }

    /// Returns the slot of a register that has one.
    fn slot(&self, reg: Reg, position: u32) -> MemoryOperand {
        frame(self.layout.slot(self.program.class(reg), position))
    }

    // Vector operands. Masks are vectors too without AVX-512.

    /// Returns where to read a vector.
    fn source(&self, reg: Reg) -> Source {
        match self.location(reg) {
            Location::Machine(number) => Source::Register(self.vector_register(number)),
            Location::Slot(position) => Source::Memory(self.slot(reg, position)),
            Location::Unused => Source::Register(self.scratch(0)),
        }
    }

    /// Returns a register that holds a vector: its own, or a scratch register that it is loaded into.
    fn vector(&mut self, reg: Reg, scratch: u8) -> Option<Register> {
        match self.source(reg) {
            Source::Register(register) => Some(register),
            Source::Memory(memory) => {
                let register = self.scratch(scratch);
                self.load_vector(register, memory)?;
                Some(register)
            }
        }
    }

    fn load_vector(&mut self, to: Register, from: MemoryOperand) -> Option<()> {
        let code = self.pick(Code::EVEX_Vmovups_zmm_k1z_zmmm512, Code::VEX_Vmovups_ymm_ymmm256);
        self.assembler.two(code, to, from)
    }

    fn store_vector(&mut self, to: MemoryOperand, from: Register) -> Option<()> {
        let code = self.pick(Code::EVEX_Vmovups_zmmm512_k1z_zmm, Code::VEX_Vmovups_ymmm256_ymm);
        self.assembler.two(code, to, from)
    }

    fn move_vector(&mut self, to: Register, from: Register) -> Option<()> {
        if to == from {
            return Some(());
        }
        let code = self.pick(Code::EVEX_Vmovaps_zmm_k1z_zmmm512, Code::VEX_Vmovaps_ymm_ymmm256);
        self.assembler.two(code, to, from)
    }

    /// Returns the register that a result is computed in: its own, or the last scratch register.
    fn target_vector(&self, reg: Reg) -> Register {
        match self.location(reg) {
            Location::Machine(number) => self.vector_register(number),
            Location::Slot(_) | Location::Unused => self.scratch(4),
        }
    }

    /// Stores a result whose register lives in the frame.
    fn finish_vector(&mut self, reg: Reg, from: Register) -> Option<()> {
        match self.location(reg) {
            Location::Machine(number) => self.move_vector(self.vector_register(number), from),
            Location::Slot(position) => self.store_vector(self.slot(reg, position), from),
            Location::Unused => Some(()),
        }
    }

    fn three(&mut self, code: Code, to: Register, a: Register, b: Source) -> Option<()> {
        match b {
            Source::Register(b) => self.assembler.three(code, to, a, b),
            Source::Memory(b) => self.assembler.three(code, to, a, b),
        }
    }

    fn two(&mut self, code: Code, to: Register, a: Source) -> Option<()> {
        match a {
            Source::Register(a) => self.assembler.two(code, to, a),
            Source::Memory(a) => self.assembler.two(code, to, a),
        }
    }

    /// Zeros a vector register.
    fn zero(&mut self, register: Register) -> Option<()> {
        let code = self.pick(Code::EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32, Code::VEX_Vpxor_ymm_ymm_ymmm256);
        self.assembler.three(code, register, register, register)
    }

    // The function.

    fn function(&mut self) -> Option<()> {
        const SAVED_BY_CALLEE: [Register; 6] =
            [Register::RBX, Register::RBP, Register::R12, Register::R13, Register::R14, Register::R15];
        for register in SAVED_BY_CALLEE {
            self.assembler.one(Code::Push_r64, register)?;
        }
        self.assembler.two(Code::Mov_r32_rm32, COUNTDOWN, frame(offset::COUNTDOWN))?;
        self.assembler.one_of_memory(Code::VEX_Vstmxcsr_m32, frame(offset::CALLER_CONTROL))?;
        self.assembler.one_of_memory(Code::VEX_Vldmxcsr_m32, frame(offset::CONTROL))?;
        self.load_inputs()?;
        let (exit, stopped) = (self.assembler.label(), self.assembler.label());
        let mut cold = Vec::new();
        let mut is_cold = false;
        for (at, step) in self.program.steps.iter().enumerate() {
            match step {
                Step::Cold => is_cold = true,
                Step::EndCold => is_cold = false,
                step if is_cold => cold.push((at, *step)),
                step => self.step(at, step, exit)?,
            }
        }
        self.assembler.bind(exit);
        self.assembler.two(Code::Xor_r32_rm32, Register::EAX, Register::EAX)?;
        let leave = self.assembler.label();
        self.assembler.bind(leave);
        self.assembler.two(Code::Mov_rm32_r32, frame(offset::COUNTDOWN), COUNTDOWN)?;
        self.assembler.one_of_memory(Code::VEX_Vldmxcsr_m32, frame(offset::CALLER_CONTROL))?;
        self.assembler.none(Code::VEX_Vzeroupper)?;
        for register in SAVED_BY_CALLEE.into_iter().rev() {
            self.assembler.one(Code::Pop_r64, register)?;
        }
        self.assembler.none(Code::Retnq)?;
        for (at, step) in cold {
            self.step(at, &step, exit)?;
        }
        self.poll_paths(stopped)?;
        self.assembler.bind(stopped);
        self.assembler.two(Code::Mov_r32_imm32, Register::EAX, 1i32)?;
        self.assembler.jump(Code::Jmp_rel32_64, leave)
    }

    /// Loads the inputs that have registers.
    fn load_inputs(&mut self) -> Option<()> {
        let mut next = [0; 3];
        for (reg, _) in &self.program.inputs {
            let class = self.program.class(*reg);
            let position = &mut next[super::registers::class_index(class)];
            let from = frame(self.layout.slot(class, *position));
            *position += 1;
            let Location::Machine(number) = self.location(*reg) else { continue };
            match class {
                Class::Scalar => {
                    self.assembler.two(Code::Mov_r64_rm64, SCALARS[usize::from(number)], from)?;
                }
                Class::Vector | Class::Mask => self.load_vector(self.vector_register(number), from)?,
            }
        }
        Some(())
    }

    fn step(&mut self, at: usize, step: &Step, exit: usize) -> Option<()> {
        #[cfg(test)]
        let step = &super::tests::planted::altered(*step);
        match *step {
            Step::Bind(label) => self.assembler.bind(label.0 as usize),
            Step::Jump(label) => self.assembler.jump(Code::Jmp_rel32_64, label.0 as usize)?,
            Step::Return => self.assembler.jump(Code::Jmp_rel32_64, exit)?,
            Step::Cold | Step::EndCold | Step::LoopBegin | Step::LoopEnd => {}
            Step::Poll => self.poll(self.weights.get(&at).copied().unwrap_or(1))?,
            Step::Move { to, from } => match self.program.class(to) {
                Class::Scalar => self.move_scalar(to, from)?,
                Class::Vector => self.copy_vector(to, from)?,
                Class::Mask => self.copy_mask(to, from)?,
            },
            Step::Scalar { op, to, a, b } => self.scalar2(op, to, a, b)?,
            Step::AddWide { to, a, b } => self.add_wide(to, a, b)?,
            Step::SubWide { to, a, b } => self.sub_wide(to, a, b)?,
            Step::MinWide { to, a, b } => self.min_wide(to, a, b)?,
            Step::CompareScalar { relation, kind, to, a, b } => {
                self.compare_scalar(relation, kind, to, [a, b])?;
            }
            Step::SelectScalar { to, condition, yes, no } => self.select_scalar(to, condition, [yes, no])?,
            Step::BranchWide { relation, a, b, to } => self.branch_wide(relation, [a, b], to)?,
            Step::Branch { relation, kind, a, b, to } => self.branch(relation, kind, [a, b], to)?,
            Step::CountDown { left, by, to } => self.count_down(left, by, to)?,
            Step::BranchNone { mask, to } => self.branch_mask(mask, Code::Je_rel32_64, to)?,
            Step::BranchAny { mask, to } => self.branch_mask(mask, Code::Jne_rel32_64, to)?,
            Step::BranchNotAll { mask, to } => self.branch_not_all(mask, to)?,
            Step::Vector1 { op, to, a } => self.vector1(op, to, a)?,
            Step::Vector2 { op, to, a, b } => self.vector2(op, to, a, b)?,
            Step::ShiftBy { op, to, a, by } => self.shift_by(op, to, a, by)?,
            Step::Vector2Row { op, to, a, words } => self.vector2_row(op, to, a, words)?,
            Step::Fma { to, a, b, c } => self.fma(to, [a, b, c])?,
            Step::Compare { relation, kind, to, a, b } => self.compare(relation, kind, to, [a, b])?,
            Step::Blend { to, mask, yes, no } => self.blend(to, mask, [yes, no])?,
            Step::Mask { op, to, a, b } => self.mask2(op, to, [a, b])?,
            Step::Broadcast { to, from } => self.broadcast(to, from)?,
            Step::LoadRowNarrow { to, words, width, is_signed } => {
                self.load_row_narrow(to, words, width, is_signed)?;
            }
            Step::StoreRowNarrow { from, words, width, mask } => {
                self.store_row_narrow(from, words, width, mask)?;
            }
            Step::ScatterNarrow { from, words, width, mask } => {
                self.scatter_narrow(from, words, width, mask)?;
            }
            Step::Permute { to, a, lanes } => self.permute(to, a, lanes)?,
            Step::MaskBits { to, mask } => self.mask_bits(to, mask)?,
            Step::Merge { op, to, a, b } => self.merge(op, to, [a, b])?,
            Step::BroadcastMask { to, from } => self.broadcast_mask(to, from)?,
            Step::LoadScalar { to, words, len } => self.load_scalar(to, words, len)?,
            Step::LoadBroadcast { to, words, len } => self.load_broadcast(to, words, len)?,
            Step::LoadRow { to, words } => self.load_row(to, words)?,
            Step::StoreScalar { from, words } => self.store_scalar(from, words)?,
            Step::StoreOne { from, words, mask } => self.store_one(from, words, mask)?,
            Step::StoreRow { from, words, mask } => self.store_row(from, words, mask)?,
            Step::Gather { to, words, mask } => self.gather(to, words, mask)?,
            Step::Atomic { update, to, words, mask, a, b, is_locked } => {
                self.atomic(update, to, &Operands { words, mask, a, b }, is_locked)?;
            }
            Step::UpdateRow { update, words, a, is_locked } => {
                self.update_row(update, words, a, is_locked)?;
            }
            Step::Scatter { from, words, mask, numbers } => self.scatter(from, words, mask, numbers)?,
        }
        Some(())
    }

    fn copy_vector(&mut self, to: Reg, from: Reg) -> Option<()> {
        let target = self.target_vector(to);
        match self.source(from) {
            Source::Register(register) => return self.finish_vector(to, register),
            Source::Memory(memory) => self.load_vector(target, memory)?,
        }
        self.finish_vector(to, target)
    }
}
