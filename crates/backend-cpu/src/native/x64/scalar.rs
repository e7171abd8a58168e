//! Steps on scalars, and jumps.
//!
//! A scalar is in its register, in the frame, or an immediate. A result that lives in the frame is computed in the first
//! scratch register.

use iced_x86::{Code, MemoryOperand, Register};

use super::{Emitter, SCALARS, SCRATCH};
use crate::native::program::{Kind, Label, Reg, Relation, ScalarOp2};
use crate::native::registers::Location;

/// Where a scalar is.
#[derive(Clone, Copy)]
pub(super) enum ScalarSource {
    /// A 64-bit register.
    Register(Register),
    Memory(MemoryOperand),
    Immediate(i32),
}

/// Returns the low half of a 64-bit register.
pub(super) fn low(register: Register) -> Register {
    Register::EAX + (register as u32).saturating_sub(Register::RAX as u32)
}

/// Returns the form of an instruction on an immediate of 32 bits for one that fits in 8 bits.
pub(super) fn in_few_bytes(code: Code, value: i32) -> Code {
    match code {
        _ if i8::try_from(value).is_err() => code,
        Code::Add_rm32_imm32 => Code::Add_rm32_imm8,
        Code::Sub_rm32_imm32 => Code::Sub_rm32_imm8,
        Code::And_rm32_imm32 => Code::And_rm32_imm8,
        Code::Or_rm32_imm32 => Code::Or_rm32_imm8,
        Code::Xor_rm32_imm32 => Code::Xor_rm32_imm8,
        Code::Cmp_rm32_imm32 => Code::Cmp_rm32_imm8,
        _ => code,
    }
}

impl Emitter<'_> {
    pub(super) fn scalar_source(&self, reg: Reg) -> ScalarSource {
        if let Some(bits) = self.immediates.get(&reg) {
            return ScalarSource::Immediate(*bits as i32);
        }
        match self.location(reg) {
            Location::Machine(number) => ScalarSource::Register(SCALARS[usize::from(number)]),
            Location::Slot(position) => ScalarSource::Memory(self.slot(reg, position)),
            Location::Unused => ScalarSource::Immediate(0),
        }
    }

    /// Loads a scalar into a register, zero-extended.
    pub(super) fn load_into(&mut self, to: Register, reg: Reg) -> Option<()> {
        match self.scalar_source(reg) {
            ScalarSource::Register(from) if from == to => Some(()),
            ScalarSource::Register(from) => self.assembler.two(Code::Mov_r64_rm64, to, from),
            ScalarSource::Memory(from) => self.assembler.two(Code::Mov_r64_rm64, to, from),
            ScalarSource::Immediate(0) => self.assembler.two(Code::Xor_r32_rm32, low(to), low(to)),
            ScalarSource::Immediate(value) => self.assembler.two(Code::Mov_r32_imm32, low(to), value),
        }
    }

    /// Returns a register that holds a scalar: its own, or a scratch register that it is loaded into.
    pub(super) fn scalar(&mut self, reg: Reg, scratch: Register) -> Option<Register> {
        if let ScalarSource::Register(register) = self.scalar_source(reg) {
            return Some(register);
        }
        self.load_into(scratch, reg)?;
        Some(scratch)
    }

    /// Returns the register that a result is computed in.
    pub(super) fn target_scalar(&self, reg: Reg) -> Register {
        match self.location(reg) {
            Location::Machine(number) => SCALARS[usize::from(number)],
            Location::Slot(_) | Location::Unused => SCRATCH[0],
        }
    }

    /// Moves a result to its place.
    pub(super) fn finish_scalar(&mut self, reg: Reg, from: Register) -> Option<()> {
        match self.location(reg) {
            Location::Machine(number) if SCALARS[usize::from(number)] == from => Some(()),
            Location::Machine(number) => {
                self.assembler.two(Code::Mov_r64_rm64, SCALARS[usize::from(number)], from)
            }
            Location::Slot(position) => {
                self.assembler.two(Code::Mov_rm64_r64, self.slot(reg, position), from)
            }
            Location::Unused => Some(()),
        }
    }

    pub(super) fn move_scalar(&mut self, to: Reg, from: Reg) -> Option<()> {
        let target = self.target_scalar(to);
        self.load_into(target, from)?;
        self.finish_scalar(to, target)
    }

    /// Adds an instruction on a 32-bit register and a scalar, in its form for registers and memory or for immediates.
    fn with_source(&mut self, [code, immediate]: [Code; 2], to: Register, b: Reg) -> Option<()> {
        match self.scalar_source(b) {
            ScalarSource::Register(b) => self.assembler.two(code, low(to), low(b)),
            ScalarSource::Memory(b) => self.assembler.two(code, low(to), b),
            ScalarSource::Immediate(b) => self.assembler.two(in_few_bytes(immediate, b), low(to), b),
        }
    }

    pub(super) fn scalar2(&mut self, op: ScalarOp2, to: Reg, a: Reg, b: Reg) -> Option<()> {
        let simple = match op {
            ScalarOp2::Add => [Code::Add_r32_rm32, Code::Add_rm32_imm32],
            ScalarOp2::Sub => [Code::Sub_r32_rm32, Code::Sub_rm32_imm32],
            ScalarOp2::And => [Code::And_r32_rm32, Code::And_rm32_imm32],
            ScalarOp2::Or => [Code::Or_r32_rm32, Code::Or_rm32_imm32],
            ScalarOp2::Xor => [Code::Xor_r32_rm32, Code::Xor_rm32_imm32],
            ScalarOp2::AddWide => {
                let b = self.scalar(b, SCRATCH[1])?;
                self.load_into(SCRATCH[0], a)?;
                self.assembler.two(Code::Add_r64_rm64, SCRATCH[0], b)?;
                return self.finish_scalar(to, SCRATCH[0]);
            }
            ScalarOp2::Mul => {
                let target = self.target_scalar(to);
                let (a, b) = if self.immediate(a).is_some() { (b, a) } else { (a, b) };
                if let Some(factor) = self.immediate(b) {
                    let a = self.scalar(a, SCRATCH[0])?;
                    self.multiply_by(target, a, factor)?;
                } else if self.scalar_register(b) == Some(target) {
                    self.with_source([Code::Imul_r32_rm32, Code::INVALID], target, a)?;
                } else {
                    self.load_into(target, a)?;
                    self.with_source([Code::Imul_r32_rm32, Code::INVALID], target, b)?;
                }
                return self.finish_scalar(to, target);
            }
            ScalarOp2::Shl | ScalarOp2::Shr | ScalarOp2::Sar if self.immediate(b).is_some() => {
                let code = match op {
                    ScalarOp2::Shl => Code::Shl_rm32_imm8,
                    ScalarOp2::Shr => Code::Shr_rm32_imm8,
                    _ => Code::Sar_rm32_imm8,
                };
                let (target, by) = (self.target_scalar(to), self.immediate(b)?);
                self.load_into(target, a)?;
                self.assembler.two(code, low(target), by & 31)?;
                return self.finish_scalar(to, target);
            }
            ScalarOp2::Shl | ScalarOp2::Shr | ScalarOp2::Sar => {
                let code = match op {
                    ScalarOp2::Shl => Code::VEX_Shlx_r32_rm32_r32,
                    ScalarOp2::Shr => Code::VEX_Shrx_r32_rm32_r32,
                    _ => Code::VEX_Sarx_r32_rm32_r32,
                };
                let (a, b) = (self.scalar(a, SCRATCH[0])?, self.scalar(b, SCRATCH[1])?);
                let target = self.target_scalar(to);
                self.assembler.three(code, low(target), low(a), low(b))?;
                return self.finish_scalar(to, target);
            }
            ScalarOp2::RotateLeft | ScalarOp2::RotateRight => {
                let left = op == ScalarOp2::RotateLeft;
                let code = if left { Code::Rol_rm32_CL } else { Code::Ror_rm32_CL };
                self.load_into(Register::RCX, b)?;
                self.load_into(SCRATCH[0], a)?;
                self.assembler.two(code, low(SCRATCH[0]), Register::CL)?;
                return self.finish_scalar(to, SCRATCH[0]);
            }
            ScalarOp2::MinUnsigned => return self.choose(Code::Cmova_r32_rm32, to, [a, b]),
            ScalarOp2::MaxUnsigned => return self.choose(Code::Cmovb_r32_rm32, to, [a, b]),
            ScalarOp2::MinSigned => return self.choose(Code::Cmovg_r32_rm32, to, [a, b]),
            ScalarOp2::MaxSigned => return self.choose(Code::Cmovl_r32_rm32, to, [a, b]),
            ScalarOp2::DivUnsigned | ScalarOp2::RemUnsigned => {
                return self.divide(op == ScalarOp2::RemUnsigned, to, [a, b]);
            }
        };
        let target = self.target_scalar(to);
        if let Some(sum) = self.sum(op, a, b)
            && self.scalar_register(a) != Some(target)
        {
            self.assembler.two(Code::Lea_r32_m, low(target), sum)?;
            return self.finish_scalar(to, target);
        }
        // The target may be the second operand's register.
        let is_clobbered = matches!(self.scalar_source(b), ScalarSource::Register(b) if b == target);
        let work = if is_clobbered && self.scalar_register(a) != Some(target) { SCRATCH[0] } else { target };
        self.load_into(work, a)?;
        self.with_source(simple, work, b)?;
        self.finish_scalar(to, work)
    }

    /// Returns a sum or difference as an address, if it can be one.
    fn sum(&self, op: ScalarOp2, a: Reg, b: Reg) -> Option<MemoryOperand> {
        let first = self.scalar_register(a)?;
        match (op, self.scalar_source(b)) {
            (ScalarOp2::Add, ScalarSource::Register(second)) => {
                Some(MemoryOperand::with_base_index_scale(first, second, 1))
            }
            (ScalarOp2::Add, ScalarSource::Immediate(bits)) => {
                Some(MemoryOperand::with_base_displ(first, bits.into()))
            }
            (ScalarOp2::Sub, ScalarSource::Immediate(bits)) => {
                Some(MemoryOperand::with_base_displ(first, bits.wrapping_neg().into()))
            }
            _ => None,
        }
    }

    fn immediate(&self, reg: Reg) -> Option<i32> {
        if let ScalarSource::Immediate(value) = self.scalar_source(reg) { Some(value) } else { None }
    }

    /// Multiplies a register by a constant.
    fn multiply_by(&mut self, to: Register, a: Register, factor: i32) -> Option<()> {
        if !factor.cast_unsigned().is_power_of_two() {
            return self.assembler.two_with(Code::Imul_r32_rm32_imm32, low(to), low(a), factor);
        }
        if to != a {
            self.assembler.two(Code::Mov_r32_rm32, low(to), low(a))?;
        }
        if factor == 1 {
            return Some(());
        }
        self.assembler.two(Code::Shl_rm32_imm8, low(to), factor.trailing_zeros() as i32)
    }

    fn scalar_register(&self, reg: Reg) -> Option<Register> {
        if let ScalarSource::Register(register) = self.scalar_source(reg) { Some(register) } else { None }
    }

    /// Takes the second operand if a condition on their comparison holds, else the first.
    fn choose(&mut self, code: Code, to: Reg, [a, b]: [Reg; 2]) -> Option<()> {
        let b = self.scalar(b, SCRATCH[1])?;
        self.load_into(SCRATCH[0], a)?;
        self.assembler.two(Code::Cmp_r32_rm32, low(SCRATCH[0]), low(b))?;
        self.assembler.two(code, low(SCRATCH[0]), low(b))?;
        self.finish_scalar(to, SCRATCH[0])
    }

    fn divide(&mut self, is_remainder: bool, to: Reg, [a, b]: [Reg; 2]) -> Option<()> {
        let done = self.assembler.label();
        let b = self.scalar(b, SCRATCH[1])?;
        self.load_into(Register::RAX, a)?;
        self.assembler.two(Code::Xor_r32_rm32, Register::EDX, Register::EDX)?;
        self.assembler.two(Code::Test_rm32_r32, low(b), low(b))?;
        self.assembler.jump(Code::Je_rel32_64, done)?;
        self.assembler.one(Code::Div_rm32, low(b))?;
        self.assembler.bind(done);
        self.finish_scalar(to, if is_remainder { Register::RDX } else { Register::RAX })
    }

    pub(super) fn add_wide(&mut self, to: Reg, a: Reg, b: i32) -> Option<()> {
        let target = self.target_scalar(to);
        if self.scalar_register(a) == Some(target) {
            let is_short = i8::try_from(b).is_ok();
            let code = if is_short { Code::Add_rm64_imm8 } else { Code::Add_rm64_imm32 };
            self.assembler.two(code, target, b)?;
        } else {
            let a = self.scalar(a, SCRATCH[1])?;
            let sum = MemoryOperand::with_base_displ(a, b.into());
            self.assembler.two(Code::Lea_r64_m, target, sum)?;
        }
        self.finish_scalar(to, target)
    }

    pub(super) fn sub_wide(&mut self, to: Reg, a: Reg, b: Reg) -> Option<()> {
        let b = self.scalar(b, SCRATCH[1])?;
        self.load_into(SCRATCH[0], a)?;
        self.assembler.two(Code::Sub_r64_rm64, SCRATCH[0], b)?;
        self.finish_scalar(to, SCRATCH[0])
    }

    pub(super) fn min_wide(&mut self, to: Reg, a: Reg, b: Reg) -> Option<()> {
        let b = self.scalar(b, SCRATCH[1])?;
        self.load_into(SCRATCH[0], a)?;
        self.assembler.two(Code::Cmp_r64_rm64, SCRATCH[0], b)?;
        self.assembler.two(Code::Cmova_r64_rm64, SCRATCH[0], b)?;
        self.finish_scalar(to, SCRATCH[0])
    }

    /// Compares two scalars of 32 bits.
    fn compare_words(&mut self, [a, b]: [Reg; 2]) -> Option<()> {
        let a = self.scalar(a, SCRATCH[0])?;
        self.with_source([Code::Cmp_r32_rm32, Code::Cmp_rm32_imm32], a, b)
    }

    pub(super) fn compare_scalar(
        &mut self,
        relation: Relation,
        kind: Kind,
        to: Reg,
        operands: [Reg; 2],
    ) -> Option<()> {
        self.compare_words(operands)?;
        let is_signed = kind == Kind::Signed;
        let code = match relation {
            Relation::Eq => Code::Sete_rm8,
            Relation::Ne => Code::Setne_rm8,
            Relation::Lt if is_signed => Code::Setl_rm8,
            Relation::Lt => Code::Setb_rm8,
            Relation::Le if is_signed => Code::Setle_rm8,
            Relation::Le => Code::Setbe_rm8,
            Relation::Gt if is_signed => Code::Setg_rm8,
            Relation::Gt => Code::Seta_rm8,
            Relation::Ge if is_signed => Code::Setge_rm8,
            Relation::Ge => Code::Setae_rm8,
        };
        self.assembler.one(code, Register::AL)?;
        let target = self.target_scalar(to);
        self.assembler.two(Code::Movzx_r32_rm8, low(target), Register::AL)?;
        self.finish_scalar(to, target)
    }

    pub(super) fn select_scalar(&mut self, to: Reg, condition: Reg, [yes, no]: [Reg; 2]) -> Option<()> {
        let condition = self.scalar(condition, SCRATCH[1])?;
        let yes = self.scalar(yes, SCRATCH[2])?;
        self.load_into(SCRATCH[0], no)?;
        self.assembler.two(Code::Test_rm32_r32, low(condition), low(condition))?;
        self.assembler.two(Code::Cmovne_r32_rm32, low(SCRATCH[0]), low(yes))?;
        self.finish_scalar(to, SCRATCH[0])
    }

    fn jump_if(&mut self, relation: Relation, is_signed: bool, to: Label) -> Option<()> {
        let code = match relation {
            Relation::Eq => Code::Je_rel32_64,
            Relation::Ne => Code::Jne_rel32_64,
            Relation::Lt if is_signed => Code::Jl_rel32_64,
            Relation::Lt => Code::Jb_rel32_64,
            Relation::Le if is_signed => Code::Jle_rel32_64,
            Relation::Le => Code::Jbe_rel32_64,
            Relation::Gt if is_signed => Code::Jg_rel32_64,
            Relation::Gt => Code::Ja_rel32_64,
            Relation::Ge if is_signed => Code::Jge_rel32_64,
            Relation::Ge => Code::Jae_rel32_64,
        };
        self.assembler.jump(code, to.0 as usize)
    }

    pub(super) fn branch_wide(&mut self, relation: Relation, [a, b]: [Reg; 2], to: Label) -> Option<()> {
        let a = self.scalar(a, SCRATCH[0])?;
        match self.scalar_source(b) {
            ScalarSource::Register(b) => self.assembler.two(Code::Cmp_r64_rm64, a, b)?,
            ScalarSource::Memory(b) => self.assembler.two(Code::Cmp_r64_rm64, a, b)?,
            ScalarSource::Immediate(_) => {
                self.load_into(SCRATCH[1], b)?;
                self.assembler.two(Code::Cmp_r64_rm64, a, SCRATCH[1])?;
            }
        }
        self.jump_if(relation, true, to)
    }

    pub(super) fn branch(
        &mut self,
        relation: Relation,
        kind: Kind,
        operands: [Reg; 2],
        to: Label,
    ) -> Option<()> {
        self.compare_words(operands)?;
        self.jump_if(relation, kind == Kind::Signed, to)
    }

    pub(super) fn count_down(&mut self, left: Reg, by: u32, to: Label) -> Option<()> {
        let target = self.target_scalar(left);
        self.load_into(target, left)?;
        self.assembler.two(in_few_bytes(Code::Sub_rm32_imm32, by as i32), low(target), by as i32)?;
        // Moves do not change the flags.
        self.finish_scalar(left, target)?;
        self.assembler.jump(Code::Ja_rel32_64, to.0 as usize)
    }
}
