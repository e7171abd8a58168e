//! Loads and stores of words, and copies of a scalar to all lanes.

use iced_x86::{Code, MemoryOperand, Register};

use super::assembler::Others;
use super::atomic::{ADDRESS, LANE, of_lane};
use super::scalar::{ScalarSource, low};
use super::{Emitter, SCRATCH, SCRATCH_MASKS, frame, offset};
use crate::native::program::{MergeOp, Reg, VectorOp2, Words};
use crate::native::x64::tables::{SLOT, codes2};

impl Emitter<'_> {
    /// Returns the address of words at a scalar index, or at vector `index`. May load the pointer and the index into
    /// the second and third scratch register.
    pub(super) fn address(&mut self, words: Words, vector: Option<Register>) -> Option<MemoryOperand> {
        let pointer = self.scalar(words.pointer, SCRATCH[1])?;
        let index = match vector {
            Some(index) => index,
            None => self.scalar(words.index, SCRATCH[2])?,
        };
        let size = u32::from(words.offset != 0);
        Some(MemoryOperand::with_base_index_scale_displ_size(pointer, index, 4, words.offset.into(), size))
    }

    /// Copies the low half of a register to all lanes.
    pub(super) fn broadcast_register(&mut self, to: Register, from: Register) -> Option<()> {
        if self.is_wide() {
            return self.assembler.two(Code::EVEX_Vpbroadcastd_zmm_k1z_r32, to, low(from));
        }
        let low_lanes = xmm(to);
        self.assembler.two(Code::VEX_Vmovd_xmm_rm32, low_lanes, low(from))?;
        self.assembler.two(Code::VEX_Vpbroadcastd_ymm_xmmm32, to, low_lanes)
    }

    pub(super) fn broadcast(&mut self, to: Reg, from: Reg) -> Option<()> {
        let target = self.target_vector(to);
        match self.scalar_source(from) {
            ScalarSource::Memory(memory) => {
                let code =
                    self.pick(Code::EVEX_Vpbroadcastd_zmm_k1z_xmmm32, Code::VEX_Vpbroadcastd_ymm_xmmm32);
                self.assembler.two(code, target, memory)?;
            }
            ScalarSource::Register(_) | ScalarSource::Immediate(_) => {
                let from = self.scalar(from, SCRATCH[0])?;
                self.broadcast_register(target, from)?;
            }
        }
        self.finish_vector(to, target)
    }

    /// Jumps to a new label unless the index is in bounds.
    fn guard(&mut self, words: Words, len: Option<Reg>) -> Option<Option<usize>> {
        let Some(len) = len else { return Some(None) };
        let outside = self.assembler.label();
        let index = self.scalar(words.index, SCRATCH[2])?;
        let len = self.scalar(len, SCRATCH[1])?;
        self.assembler.two(Code::Cmp_r64_rm64, index, len)?;
        self.assembler.jump(Code::Jae_rel32_64, outside)?;
        Some(Some(outside))
    }

    pub(super) fn load_scalar(&mut self, to: Reg, words: Words, len: Option<Reg>) -> Option<()> {
        // The target may be the index's register.
        let target = SCRATCH[0];
        if len.is_some() {
            self.assembler.two(Code::Xor_r32_rm32, low(target), low(target))?;
        }
        let outside = self.guard(words, len)?;
        let address = self.address(words, None)?;
        self.assembler.two(Code::Mov_r32_rm32, low(target), address)?;
        if let Some(outside) = outside {
            self.assembler.bind(outside);
        }
        self.finish_scalar(to, target)
    }

    pub(super) fn load_broadcast(&mut self, to: Reg, words: Words, len: Option<Reg>) -> Option<()> {
        let target = self.target_vector(to);
        if len.is_some() {
            self.zero(target)?;
        }
        let outside = self.guard(words, len)?;
        let address = self.address(words, None)?;
        let code = self.pick(Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32, Code::VEX_Vbroadcastss_ymm_m32);
        self.assembler.two(code, target, address)?;
        if let Some(outside) = outside {
            self.assembler.bind(outside);
        }
        self.finish_vector(to, target)
    }

    pub(super) fn load_row(&mut self, to: Reg, words: Words) -> Option<()> {
        let (target, address) = (self.target_vector(to), self.address(words, None)?);
        self.load_vector(target, address)?;
        self.finish_vector(to, target)
    }

    pub(super) fn vector2_row(&mut self, op: VectorOp2, to: Reg, a: Reg, words: Words) -> Option<()> {
        let [wide, narrow] = codes2(op)?;
        let (a, address) = (self.vector(a, 0)?, self.address(words, None)?);
        let target = self.target_vector(to);
        self.assembler.three(self.pick(wide, narrow), target, a, address)?;
        self.finish_vector(to, target)
    }

    pub(super) fn merge(&mut self, op: MergeOp, to: Reg, [a, b]: [Reg; 2]) -> Option<()> {
        let (a, b, result) = (self.vector(a, 0)?, self.vector(b, 1)?, self.scratch(4));
        if self.is_wide() {
            self.load_vector(result, frame(offset::MERGE + op as usize * SLOT))?;
            self.assembler.three(Code::EVEX_Vpermi2d_zmm_k1z_zmm_zmmm512b32, result, a, b)?;
            return self.finish_vector(to, result);
        }
        // All of these work on each half of 128 bits by itself.
        let shuffle = Code::VEX_Vshufps_ymm_ymm_ymmm256_imm8;
        match op {
            MergeOp::Even => self.assembler.three_with(shuffle, result, a, b, 0x88)?,
            MergeOp::Odd => self.assembler.three_with(shuffle, result, a, b, 0xdd)?,
            MergeOp::Low | MergeOp::High => {
                let other = self.scratch(3);
                self.assembler.three(Code::VEX_Vpunpckldq_ymm_ymm_ymmm256, result, a, b)?;
                self.assembler.three(Code::VEX_Vpunpckhdq_ymm_ymm_ymmm256, other, a, b)?;
                let halves = if op == MergeOp::Low { 0x20 } else { 0x31 };
                let code = Code::VEX_Vperm2i128_ymm_ymm_ymmm256_imm8;
                self.assembler.three_with(code, result, result, other, halves)?;
                return self.finish_vector(to, result);
            }
        }
        // This swaps the middle quarters.
        self.assembler.two_with(Code::VEX_Vpermq_ymm_ymmm256_imm8, result, result, 0xd8)?;
        self.finish_vector(to, result)
    }

    pub(super) fn permute(&mut self, to: Reg, a: Reg, lanes: Reg) -> Option<()> {
        let (lanes, a, target) = (self.vector(lanes, 0)?, self.source(a), self.target_vector(to));
        let code = self.pick(Code::EVEX_Vpermd_zmm_k1z_zmm_zmmm512b32, Code::VEX_Vpermd_ymm_ymm_ymmm256);
        self.three(code, target, lanes, a)?;
        self.finish_vector(to, target)
    }

    pub(super) fn store_scalar(&mut self, from: Reg, words: Words) -> Option<()> {
        let (from, address) = (self.scalar(from, SCRATCH[0])?, self.address(words, None)?);
        self.assembler.two(Code::Mov_rm32_r32, address, low(from))
    }

    /// Stores the word of the first lane of a mask.
    pub(super) fn store_one(&mut self, from: Reg, words: Words, mask: Option<Reg>) -> Option<()> {
        let [value, lane] = [SCRATCH[0], SCRATCH[1]];
        let vector = self.vector(from, 0)?;
        let Some(mask) = mask else {
            let first = self.pick(Code::EVEX_Vmovd_rm32_xmm, Code::VEX_Vmovd_rm32_xmm);
            self.assembler.two(first, low(value), xmm(vector))?;
            let address = self.address(words, None)?;
            return self.assembler.two(Code::Mov_rm32_r32, address, low(value));
        };
        let (done, values) = (self.assembler.label(), self.layout_save(1));
        self.store_vector(frame(values), vector)?;
        self.lanes_of(mask, value)?;
        // Sets the carry flag if there is none.
        self.assembler.two(Code::Tzcnt_r32_rm32, low(lane), low(value))?;
        self.assembler.jump(Code::Jb_rel32_64, done)?;
        self.assembler.two(Code::Mov_r32_rm32, low(value), of_lane(values))?;
        let address = self.address(words, None)?;
        self.assembler.two(Code::Mov_rm32_r32, address, low(value))?;
        self.assembler.bind(done);
        Some(())
    }

    pub(super) fn store_row(&mut self, from: Reg, words: Words, mask: Option<Reg>) -> Option<()> {
        let (from, address) = (self.vector(from, 0)?, self.address(words, None)?);
        let Some(mask) = mask else { return self.store_vector(address, from) };
        if self.is_wide() {
            let mask = self.mask(mask, 0)?;
            let code = Code::EVEX_Vmovups_zmmm512_k1z_zmm;
            return self.assembler.two_masked(code, address, from, mask, Others::Kept);
        }
        let mask = self.vector(mask, 1)?;
        self.assembler.three(Code::VEX_Vmaskmovps_m256_ymm_ymm, address, mask, from)
    }

    pub(super) fn gather(&mut self, to: Reg, words: Words, mask: Reg) -> Option<()> {
        let index = self.vector(words.index, 0)?;
        // The result must differ from the index and the mask, and the instruction clears the mask.
        let target = self.scratch(4);
        self.zero(target)?;
        if self.is_wide() {
            let mask = self.mask(mask, 0)?;
            self.assembler.two(Code::VEX_Kmovw_kr_km16, SCRATCH_MASKS[1], mask)?;
            let address = self.address(words, Some(index))?;
            let code = Code::EVEX_Vpgatherdd_zmm_k1_vm32z;
            self.assembler.two_masked(code, target, address, SCRATCH_MASKS[1], Others::Kept)?;
        } else {
            let (copy, mask) = (self.scratch(3), self.vector(mask, 1)?);
            self.move_vector(copy, mask)?;
            let address = self.address(words, Some(index))?;
            self.assembler.gather(Code::VEX_Vpgatherdd_ymm_vm32y_ymm, target, address, copy)?;
        }
        self.finish_vector(to, target)
    }

    pub(super) fn scatter(&mut self, from: Reg, words: Words, mask: Reg, numbers: Option<Reg>) -> Option<()> {
        let index = self.vector(words.index, 1)?;
        if self.is_wide() {
            let from = self.vector(from, 0)?;
            let mask = self.mask(mask, 0)?;
            // The instruction clears the mask.
            self.assembler.two(Code::VEX_Kmovw_kr_km16, SCRATCH_MASKS[1], mask)?;
            let done = match numbers {
                Some(numbers) => Some(self.store_if_consecutive(from, words, index, numbers)?),
                None => None,
            };
            let address = self.address(words, Some(index))?;
            let code = Code::EVEX_Vpscatterdd_vm32z_k1_zmm;
            self.assembler.two_masked(code, address, from, SCRATCH_MASKS[1], Others::Kept)?;
            done.into_iter().for_each(|label| self.assembler.bind(label));
            return Some(());
        }
        let indices = self.layout_save(1);
        self.store_vector(frame(indices), index)?;
        let values = self.spill_lanes(from, mask)?;
        self.each_lane(|emitter| {
            emitter.assembler.two(Code::Mov_r32_rm32, low(ADDRESS), of_lane(indices))?;
            emitter.assembler.two(Code::Mov_r32_rm32, low(LANE), of_lane(values))?;
            let word = emitter.word(words)?;
            emitter.assembler.two(Code::Mov_rm32_r32, word, low(LANE))
        })
    }

    /// Stores the words of the lanes of the second scratch mask one after the other, and jumps to the label that is returned, if
    /// the indices of these lanes follow one another. That takes a quarter of the time of a scatter.
    fn store_if_consecutive(
        &mut self,
        from: Register,
        words: Words,
        index: Register,
        numbers: Reg,
    ) -> Option<usize> {
        let [others, lanes] = SCRATCH_MASKS;
        let [packed, first] = [4, 3].map(|position| self.scratch(position));
        let numbers = self.vector(numbers, 2)?;
        let [rest, done] = [0; 2].map(|_| self.assembler.label());
        let pack = Code::EVEX_Vpcompressd_zmmm512_k1z_zmm;
        self.assembler.two_masked(pack, packed, index, lanes, Others::Zeroed)?;
        let spread = Code::EVEX_Vpbroadcastd_zmm_k1z_xmmm32;
        self.assembler.two(spread, first, xmm(packed))?;
        // As many ones as there are lanes.
        self.assembler.two(Code::VEX_Kmovw_r32_kr, Register::ECX, lanes)?;
        self.assembler.two(Code::Popcnt_r32_rm32, Register::ECX, Register::ECX)?;
        self.assembler.two(Code::Mov_r32_imm32, Register::EAX, -1)?;
        self.assembler.three(Code::VEX_Bzhi_r32_rm32_r32, Register::EAX, Register::EAX, Register::ECX)?;
        self.assembler.three(Code::EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32, packed, packed, first)?;
        const NOT_EQUAL: i32 = 4;
        let compare = Code::EVEX_Vpcmpud_kr_k1_zmm_zmmm512b32_imm8;
        self.assembler.three_with(compare, others, packed, numbers, NOT_EQUAL)?;
        self.assembler.two(Code::VEX_Kmovw_r32_kr, Register::ECX, others)?;
        self.assembler.two(Code::Test_rm32_r32, Register::ECX, Register::EAX)?;
        self.assembler.jump(Code::Jne_rel32_64, rest)?;
        self.assembler.two(Code::VEX_Kmovw_kr_r32, others, Register::EAX)?;
        self.assembler.two_masked(pack, packed, from, lanes, Others::Zeroed)?;
        self.assembler.two(Code::EVEX_Vmovd_rm32_xmm, low(ADDRESS), xmm(first))?;
        let address = self.word(words)?;
        let store = Code::EVEX_Vmovups_zmmm512_k1z_zmm;
        self.assembler.two_masked(store, address, packed, others, Others::Kept)?;
        self.assembler.jump(Code::Jmp_rel32_64, done)?;
        self.assembler.bind(rest);
        Some(done)
    }

    /// Returns the offset of a slot of the save area.
    pub(super) fn layout_save(&self, position: usize) -> usize {
        self.layout.save + position * SLOT
    }
}

/// Returns the number of a vector register of any width.
fn number(register: Register) -> u32 {
    let first =
        if (register as u32) < Register::ZMM0 as u32 { Register::YMM0 as u32 } else { Register::ZMM0 as u32 };
    (register as u32).saturating_sub(first)
}

/// Returns the low 128 bits of a vector register of 256 or 512 bits.
pub(super) fn xmm(register: Register) -> Register {
    Register::XMM0 + number(register)
}

/// Returns the low 256 bits of a vector register of 256 or 512 bits.
pub(super) fn ymm(register: Register) -> Register {
    Register::YMM0 + number(register)
}
