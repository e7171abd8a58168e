//! Atomic updates of words, lane by lane.

use iced_x86::{Code, MemoryOperand, Register};

use super::memory::xmm;
use super::scalar::{ScalarSource, low};
use super::tables::{SLOT, codes2};
use super::{Emitter, FRAME, frame};
use crate::native::program::{Reg, Update, VectorOp2, Words};

/// The slots of the save area: vectors, and the words of the current lane.
const INDICES: usize = 0;
const FIRST: usize = 1;
const SECOND: usize = 2;
const RESULTS: usize = 3;
const WORDS: usize = 4;

/// The registers of the loop over the lanes: the old value and intermediate results, the lane and the new value, and the
/// address.
const OLD: Register = Register::EAX;
pub(super) const LANE: Register = Register::RCX;
const NEW: Register = Register::ECX;
pub(super) const ADDRESS: Register = Register::RDX;

/// Returns the instruction on memory that makes a change, if there is one.
fn direct(update: Update) -> Option<Code> {
    match update.direct()? {
        VectorOp2::Add => Some(Code::Add_rm32_r32),
        VectorOp2::And => Some(Code::And_rm32_r32),
        VectorOp2::Or => Some(Code::Or_rm32_r32),
        VectorOp2::Xor => Some(Code::Xor_rm32_r32),
        _ => None,
    }
}

/// The operands of an update.
pub(super) struct Operands {
    pub(super) words: Words,
    /// The lanes that access memory; `None` if all do.
    pub(super) mask: Option<Reg>,
    pub(super) a: Reg,
    pub(super) b: Reg,
}

/// Returns the word of the current lane in a vector at an offset in the frame.
pub(super) fn of_lane(offset: usize) -> MemoryOperand {
    MemoryOperand::with_base_index_scale_displ_size(FRAME, LANE, 4, offset as i64, 8)
}

impl Emitter<'_> {
    pub(super) fn atomic(
        &mut self,
        update: Update,
        to: Reg,
        operands: &Operands,
        is_locked: bool,
    ) -> Option<()> {
        if let Some(code) = direct(update)
            && !self.is_read(to)
        {
            return self.atomic_without_result(code, operands, is_locked);
        }
        let at = |slot: usize| self.layout.save + slot * SLOT;
        let [indices, first, second, results, words] = [INDICES, FIRST, SECOND, RESULTS, WORDS].map(at);
        let [pending, lane, operand] = [0, 4, 8].map(|offset| frame(words + offset));
        self.spill(&[(operands.words.index, indices), (operands.a, first), (operands.b, second)])?;
        let zero = self.scratch(1);
        self.zero(zero)?;
        self.store_vector(frame(results), zero)?;
        self.active_lanes(operands.mask)?;
        self.assembler.two(Code::Mov_rm32_r32, pending, OLD)?;

        let (next, done) = (self.assembler.label(), self.assembler.label());
        self.assembler.bind(next);
        self.assembler.two(Code::Mov_r32_rm32, OLD, pending)?;
        self.assembler.two(Code::Tzcnt_r32_rm32, low(LANE), OLD)?;
        self.assembler.jump(Code::Jb_rel32_64, done)?;
        self.assembler.two(Code::VEX_Blsr_r32_rm32, OLD, OLD)?;
        self.assembler.two(Code::Mov_rm32_r32, pending, OLD)?;
        self.assembler.two(Code::Mov_r32_rm32, low(ADDRESS), of_lane(indices))?;
        let word = self.word(operands.words)?;
        match update {
            Update::Add | Update::Exchange => {
                self.assembler.two(Code::Mov_r32_rm32, OLD, of_lane(first))?;
                let is_add = update == Update::Add;
                let code = if is_add { Code::Xadd_rm32_r32 } else { Code::Xchg_rm32_r32 };
                self.assembler.update(code, word, OLD, is_locked && is_add)?;
            }
            Update::CompareExchange => {
                self.assembler.two(Code::Mov_rm32_r32, lane, low(LANE))?;
                self.assembler.two(Code::Mov_r32_rm32, OLD, of_lane(first))?;
                self.assembler.two(Code::Mov_r32_rm32, NEW, of_lane(second))?;
                self.assembler.update(Code::Cmpxchg_rm32_r32, word, NEW, is_locked)?;
                self.assembler.two(Code::Mov_r32_rm32, low(LANE), lane)?;
            }
            Update::And
            | Update::Or
            | Update::Xor
            | Update::MinUnsigned
            | Update::MaxUnsigned
            | Update::MinSigned
            | Update::MaxSigned
            | Update::FloatAdd => {
                self.assembler.two(Code::Mov_rm32_r32, lane, low(LANE))?;
                self.assembler.two(Code::Mov_r32_rm32, NEW, of_lane(first))?;
                self.assembler.two(Code::Mov_rm32_r32, operand, NEW)?;
                self.assembler.two(Code::Mov_r32_rm32, OLD, word)?;
                let retry = self.assembler.label();
                self.assembler.bind(retry);
                self.combine(update, operand)?;
                self.assembler.update(Code::Cmpxchg_rm32_r32, word, NEW, is_locked)?;
                self.assembler.jump(Code::Jne_rel32_64, retry)?;
                self.assembler.two(Code::Mov_r32_rm32, low(LANE), lane)?;
            }
        }
        self.assembler.two(Code::Mov_rm32_r32, of_lane(results), OLD)?;
        self.assembler.jump(Code::Jmp_rel32_64, next)?;
        self.assembler.bind(done);
        let target = self.target_vector(to);
        self.load_vector(target, frame(results))?;
        self.finish_vector(to, target)
    }

    /// Stores vectors at offsets in the frame.
    fn spill(&mut self, vectors: &[(Reg, usize)]) -> Option<()> {
        for (reg, offset) in vectors {
            let vector = self.vector(*reg, 0)?;
            self.store_vector(frame(*offset), vector)?;
        }
        Some(())
    }

    /// Moves a mask to the register of the old value, a bit for each lane.
    fn active_lanes(&mut self, mask: Option<Reg>) -> Option<()> {
        let Some(mask) = mask else {
            return self.assembler.two(Code::Mov_r32_imm32, OLD, self.all_lanes());
        };
        self.lanes_of(mask, Register::RAX)
    }

    /// Returns a bit for each lane.
    fn all_lanes(&self) -> i32 {
        (1 << self.target.lanes()) - 1
    }

    /// Returns the address of a word, whose index is in the register of the address.
    pub(super) fn word(&mut self, words: Words) -> Option<MemoryOperand> {
        self.word_at(words, ADDRESS)
    }

    /// Returns the address of a word, whose index is in a register; that of the address is overwritten.
    fn word_at(&mut self, words: Words, index: Register) -> Option<MemoryOperand> {
        let offset = i64::from(words.offset);
        let pointer = match self.scalar_source(words.pointer) {
            ScalarSource::Register(pointer) => pointer,
            ScalarSource::Memory(pointer) => {
                if index == ADDRESS {
                    self.assembler.two(Code::Shl_rm64_imm8, ADDRESS, 2)?;
                    self.assembler.two(Code::Add_r64_rm64, ADDRESS, pointer)?;
                    return Some(MemoryOperand::with_base_displ(ADDRESS, offset));
                }
                self.assembler.two(Code::Mov_r64_rm64, ADDRESS, pointer)?;
                ADDRESS
            }
            ScalarSource::Immediate(_) => return None,
        };
        Some(MemoryOperand::with_base_index_scale_displ_size(pointer, index, 4, offset, 8))
    }

    /// Emits updates that are one instruction, whose old words nothing reads.
    fn atomic_without_result(&mut self, code: Code, operands: &Operands, is_locked: bool) -> Option<()> {
        let [indices, values] = [INDICES, FIRST].map(|slot| self.layout.save + slot * SLOT);
        let constant = self.program.constant(operands.a).map(|bits| bits as i32);
        if constant.is_none() {
            self.spill(&[(operands.a, values)])?;
        }
        if operands.mask.is_none() {
            return self.update_all(code, operands, constant, is_locked);
        }
        self.active_lanes(operands.mask)?;
        let [next, some, done] = [0; 3].map(|_| self.assembler.label());
        self.assembler.two(Code::Cmp_rm32_imm32, OLD, self.all_lanes())?;
        self.assembler.jump(Code::Jne_rel32_64, some)?;
        self.update_all(code, operands, constant, is_locked)?;
        self.assembler.jump(Code::Jmp_rel32_64, done)?;
        self.assembler.bind(some);
        self.assembler.two(Code::Test_rm32_r32, OLD, OLD)?;
        self.assembler.jump(Code::Je_rel32_64, done)?;
        self.spill(&[(operands.words.index, indices)])?;
        self.assembler.bind(next);
        self.assembler.two(Code::Tzcnt_r32_rm32, low(LANE), OLD)?;
        self.assembler.two(Code::Mov_r32_rm32, low(ADDRESS), of_lane(indices))?;
        match constant {
            Some(bits) => self.assembler.two(Code::Mov_r32_imm32, NEW, bits)?,
            None => self.assembler.two(Code::Mov_r32_rm32, NEW, of_lane(values))?,
        }
        let word = self.word(operands.words)?;
        self.assembler.update(code, word, NEW, is_locked)?;
        // Sets the zero flag if this was the last lane.
        self.assembler.two(Code::VEX_Blsr_r32_rm32, OLD, OLD)?;
        self.assembler.jump(Code::Jne_rel32_64, next)?;
        self.assembler.bind(done);
        Some(())
    }

    /// Updates the words of all lanes, without a loop, by a constant or the words that were stored for the lanes.
    fn update_all(
        &mut self,
        code: Code,
        operands: &Operands,
        constant: Option<i32>,
        is_locked: bool,
    ) -> Option<()> {
        let values = self.layout.save + FIRST * SLOT;
        if let Some(bits) = constant {
            self.assembler.two(Code::Mov_r32_imm32, NEW, bits)?;
        }
        let index = self.vector(operands.words.index, 0)?;
        for lane in 0..self.target.lanes() as usize {
            let at = self.index_of_lane(index, lane)?;
            if constant.is_none() {
                self.assembler.two(Code::Mov_r32_rm32, NEW, frame(values + 4 * lane))?;
            }
            let word = self.word_at(operands.words, at)?;
            self.assembler.update(code, word, NEW, is_locked)?;
        }
        Some(())
    }

    /// Updates consecutive words: one after the other if other threads may access them, else all at once.
    pub(super) fn update_row(&mut self, update: Update, words: Words, a: Reg, is_locked: bool) -> Option<()> {
        if !is_locked {
            let [wide, narrow] = codes2(update.direct()?)?;
            let (a, address, result) = (self.vector(a, 0)?, self.address(words, None)?, self.scratch(1));
            self.assembler.three(self.pick(wide, narrow), result, a, address)?;
            return self.store_vector(address, result);
        }
        let (code, values) = (direct(update)?, self.layout.save + FIRST * SLOT);
        self.spill(&[(a, values)])?;
        for lane in 0..self.target.lanes() as usize {
            let offset = words.offset + 4 * lane as i32;
            let word = self.address(Words { offset, ..words }, None)?;
            self.assembler.two(Code::Mov_r32_rm32, OLD, frame(values + 4 * lane))?;
            self.assembler.update(code, word, OLD, true)?;
        }
        Some(())
    }

    /// Moves a lane of a vector of indices to a register, which is returned. To be called for lanes 0, 1, 2 and so on: RAX and
    /// the second scratch vector carry lanes to the next call.
    ///
    /// Not by way of memory: a load of what was stored just before waits until the addresses of all stores between are known,
    /// and these are the words of the lanes before, whose addresses would depend on such loads themselves.
    fn index_of_lane(&mut self, index: Register, lane: usize) -> Option<Register> {
        let (whole, part) = (Register::RAX, xmm(self.scratch(1)));
        let quarter = if lane < 4 { xmm(index) } else { part };
        if lane >= 4 && lane.is_multiple_of(4) {
            let extract = self
                .pick(Code::EVEX_Vextracti32x4_xmmm128_k1z_zmm_imm8, Code::VEX_Vextracti128_xmmm128_ymm_imm8);
            self.assembler.two_with(extract, part, index, lane as i32 / 4)?;
        }
        match lane % 4 {
            0 => self.assembler.two(
                self.pick(Code::EVEX_Vmovq_rm64_xmm, Code::VEX_Vmovq_rm64_xmm),
                whole,
                quarter,
            )?,
            2 => {
                let extract = self.pick(Code::EVEX_Vpextrq_rm64_xmm_imm8, Code::VEX_Vpextrq_rm64_xmm_imm8);
                self.assembler.two_with(extract, whole, quarter, 1)?;
            }
            _ => {
                self.assembler.two(Code::Shr_rm64_imm8, whole, 32)?;
                return Some(whole);
            }
        }
        self.assembler.two(Code::Mov_r32_rm32, low(ADDRESS), low(whole))?;
        Some(ADDRESS)
    }

    /// Computes the new value from the old one and an operand in the frame.
    fn combine(&mut self, update: Update, operand: MemoryOperand) -> Option<()> {
        let choice = match update {
            Update::And => return self.combine_bits(Code::And_r32_rm32, operand),
            Update::Or => return self.combine_bits(Code::Or_r32_rm32, operand),
            Update::Xor => return self.combine_bits(Code::Xor_r32_rm32, operand),
            Update::FloatAdd => {
                let sum = xmm(self.scratch(1));
                let to = self.pick(Code::EVEX_Vmovd_xmm_rm32, Code::VEX_Vmovd_xmm_rm32);
                let add = self.pick(Code::EVEX_Vaddss_xmm_k1z_xmm_xmmm32_er, Code::VEX_Vaddss_xmm_xmm_xmmm32);
                let from = self.pick(Code::EVEX_Vmovd_rm32_xmm, Code::VEX_Vmovd_rm32_xmm);
                self.assembler.two(to, sum, OLD)?;
                self.assembler.three(add, sum, sum, operand)?;
                return self.assembler.two(from, NEW, sum);
            }
            Update::MinUnsigned => Code::Cmovb_r32_rm32,
            Update::MaxUnsigned => Code::Cmova_r32_rm32,
            Update::MinSigned => Code::Cmovl_r32_rm32,
            Update::MaxSigned => Code::Cmovg_r32_rm32,
            Update::Add | Update::Exchange | Update::CompareExchange => return None,
        };
        self.assembler.two(Code::Mov_r32_rm32, NEW, operand)?;
        self.assembler.two(Code::Cmp_r32_rm32, OLD, NEW)?;
        self.assembler.two(choice, NEW, OLD)
    }

    fn combine_bits(&mut self, code: Code, operand: MemoryOperand) -> Option<()> {
        self.assembler.two(Code::Mov_r32_rm32, NEW, OLD)?;
        self.assembler.two(code, NEW, operand)
    }
}
