//! Encoding of instructions, and jumps to labels.

use iced_x86::{Code, Encoder, Instruction, MemoryOperand, Register};

/// An operand that instructions are created with.
#[derive(Clone, Copy)]
pub(super) enum Operand {
    Register(Register),
    Memory(MemoryOperand),
    Immediate(i32),
}

impl From<Register> for Operand {
    fn from(register: Register) -> Self {
        Self::Register(register)
    }
}

impl From<MemoryOperand> for Operand {
    fn from(memory: MemoryOperand) -> Self {
        Self::Memory(memory)
    }
}

impl From<i32> for Operand {
    fn from(value: i32) -> Self {
        Self::Immediate(value)
    }
}

/// Code under construction.
pub(super) struct Assembler {
    encoder: Encoder,
    /// The number of bytes encoded so far.
    at: usize,
    /// Positions of labels.
    labels: Vec<Option<usize>>,
    /// Jumps, as the position after each and its label.
    jumps: Vec<(usize, usize)>,
}

impl Assembler {
    /// Creates code with labels from 0 to below `labels`.
    pub(super) fn new(labels: usize) -> Self {
        Self { encoder: Encoder::new(64), at: 0, labels: vec![None; labels], jumps: Vec::new() }
    }

    /// Creates a label.
    pub(super) fn label(&mut self) -> usize {
        self.labels.push(None);
        self.labels.len() - 1
    }

    /// Places a label here.
    pub(super) fn bind(&mut self, label: usize) {
        self.labels[label] = Some(self.at);
    }

    fn push(&mut self, instruction: &Instruction) -> Option<()> {
        self.at += self.encoder.encode(instruction, self.at as u64).ok()?;
        Some(())
    }

    pub(super) fn none(&mut self, code: Code) -> Option<()> {
        self.push(&Instruction::with(code))
    }

    pub(super) fn one(&mut self, code: Code, a: Register) -> Option<()> {
        self.push(&Instruction::with1(code, a).ok()?)
    }

    pub(super) fn one_of_memory(&mut self, code: Code, a: MemoryOperand) -> Option<()> {
        self.push(&Instruction::with1(code, a).ok()?)
    }

    pub(super) fn two(&mut self, code: Code, a: impl Into<Operand>, b: impl Into<Operand>) -> Option<()> {
        self.push(&two(code, a.into(), b.into())?)
    }

    pub(super) fn three(
        &mut self,
        code: Code,
        a: impl Into<Operand>,
        b: Register,
        c: impl Into<Operand>,
    ) -> Option<()> {
        self.push(&three(code, a.into(), b, c.into())?)
    }

    /// Adds an instruction with a source register, a last source and an immediate.
    pub(super) fn three_with(
        &mut self,
        code: Code,
        a: Register,
        b: Register,
        c: impl Into<Operand>,
        immediate: i32,
    ) -> Option<()> {
        let instruction = match c.into() {
            Operand::Register(c) => Instruction::with4(code, a, b, c, immediate),
            Operand::Memory(c) => Instruction::with4(code, a, b, c, immediate),
            Operand::Immediate(_) => return None,
        };
        self.push(&instruction.ok()?)
    }

    /// Adds an instruction with one source and an immediate.
    pub(super) fn two_with(
        &mut self,
        code: Code,
        a: Register,
        b: impl Into<Operand>,
        immediate: i32,
    ) -> Option<()> {
        let instruction = match b.into() {
            Operand::Register(b) => Instruction::with3(code, a, b, immediate),
            Operand::Memory(b) => Instruction::with3(code, a, b, immediate),
            Operand::Immediate(_) => return None,
        };
        self.push(&instruction.ok()?)
    }

    /// Adds an instruction with four registers, of which the third may be in memory.
    pub(super) fn four(
        &mut self,
        code: Code,
        a: Register,
        b: Register,
        c: impl Into<Operand>,
        d: Register,
    ) -> Option<()> {
        let instruction = match c.into() {
            Operand::Register(c) => Instruction::with4(code, a, b, c, d),
            Operand::Memory(c) => Instruction::with4(code, a, b, c, d),
            Operand::Immediate(_) => return None,
        };
        self.push(&instruction.ok()?)
    }

    /// Adds an instruction with two operands under a mask; other lanes are zeroed or kept.
    pub(super) fn two_masked(
        &mut self,
        code: Code,
        a: impl Into<Operand>,
        b: impl Into<Operand>,
        mask: Register,
        others: Others,
    ) -> Option<()> {
        let mut instruction = two(code, a.into(), b.into())?;
        instruction.set_op_mask(mask);
        instruction.set_zeroing_masking(others == Others::Zeroed);
        self.push(&instruction)
    }

    /// Adds an instruction with three operands under a mask; other lanes are kept.
    pub(super) fn three_masked(
        &mut self,
        code: Code,
        a: Register,
        b: Register,
        c: impl Into<Operand>,
        mask: Register,
    ) -> Option<()> {
        let mut instruction = three(code, a.into(), b, c.into())?;
        instruction.set_op_mask(mask);
        self.push(&instruction)
    }

    /// Adds an instruction that reads and writes a word of memory, indivisibly if it is locked.
    pub(super) fn update(
        &mut self,
        code: Code,
        a: MemoryOperand,
        b: Register,
        is_locked: bool,
    ) -> Option<()> {
        let mut instruction = Instruction::with2(code, a, b).ok()?;
        instruction.set_has_lock_prefix(is_locked);
        self.push(&instruction)
    }

    /// Adds a gather, whose last operand is a vector of lanes to load.
    pub(super) fn gather(&mut self, code: Code, a: Register, b: MemoryOperand, c: Register) -> Option<()> {
        self.push(&Instruction::with3(code, a, b, c).ok()?)
    }

    /// Adds a jump or call to a label, whose displacement has 32 bits.
    pub(super) fn jump(&mut self, code: Code, label: usize) -> Option<()> {
        let instruction = Instruction::with_branch(code, self.at as u64).ok()?;
        self.push(&instruction)?;
        self.jumps.push((self.at, label));
        Some(())
    }

    /// Returns the code, with all jumps resolved.
    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        let mut bytes = self.encoder.take_buffer();
        for (after, label) in self.jumps {
            let to = self.labels[label]?;
            let displacement = i32::try_from(to as i64 - after as i64).ok()?;
            bytes.get_mut(after - 4..after)?.copy_from_slice(&displacement.to_le_bytes());
        }
        Some(bytes)
    }
}

/// The lanes that a mask excludes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    Kept,
    Zeroed,
}

fn two(code: Code, a: Operand, b: Operand) -> Option<Instruction> {
    let instruction = match (a, b) {
        (Operand::Register(a), Operand::Register(b)) => Instruction::with2(code, a, b),
        (Operand::Register(a), Operand::Memory(b)) => Instruction::with2(code, a, b),
        (Operand::Memory(a), Operand::Register(b)) => Instruction::with2(code, a, b),
        (Operand::Register(a), Operand::Immediate(b)) => Instruction::with2(code, a, b),
        (Operand::Memory(a), Operand::Immediate(b)) => Instruction::with2(code, a, b),
        (Operand::Memory(_), Operand::Memory(_)) | (Operand::Immediate(_), _) => return None,
    };
    instruction.ok()
}

fn three(code: Code, a: Operand, b: Register, c: Operand) -> Option<Instruction> {
    let instruction = match (a, c) {
        (Operand::Register(a), Operand::Register(c)) => Instruction::with3(code, a, b, c),
        (Operand::Register(a), Operand::Memory(c)) => Instruction::with3(code, a, b, c),
        (Operand::Memory(a), Operand::Register(c)) => Instruction::with3(code, a, b, c),
        (Operand::Register(a), Operand::Immediate(c)) => Instruction::with3(code, a, b, c),
        (Operand::Memory(_), Operand::Memory(_) | Operand::Immediate(_)) | (Operand::Immediate(_), _) => {
            return None;
        }
    };
    instruction.ok()
}
