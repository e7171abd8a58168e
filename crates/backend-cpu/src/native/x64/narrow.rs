//! Loads and stores of values of 8 and 16 bits.

use iced_x86::{Code, MemoryOperand, Register};

use super::assembler::Others;
use super::atomic::{ADDRESS, LANE, of_lane};
use super::memory::xmm;
use super::scalar::{ScalarSource, low};
use super::tables::Constant;
use super::{Emitter, SCRATCH, frame};
use crate::native::program::{Reg, Words};

impl Emitter<'_> {
    /// Returns the address of bytes at a scalar index. May load the pointer and the index into the second and third scratch
    /// register.
    fn byte_address(&mut self, words: Words) -> Option<MemoryOperand> {
        let (pointer, index) =
            (self.scalar(words.pointer, SCRATCH[1])?, self.scalar(words.index, SCRATCH[2])?);
        Some(MemoryOperand::with_base_index_scale_displ_size(pointer, index, 1, words.offset.into(), 8))
    }

    pub(super) fn load_row_narrow(
        &mut self,
        to: Reg,
        words: Words,
        width: u32,
        is_signed: bool,
    ) -> Option<()> {
        let [wide, narrow] = match (width, is_signed) {
            (8, true) => [Code::EVEX_Vpmovsxbd_zmm_k1z_xmmm128, Code::VEX_Vpmovsxbd_ymm_xmmm64],
            (8, false) => [Code::EVEX_Vpmovzxbd_zmm_k1z_xmmm128, Code::VEX_Vpmovzxbd_ymm_xmmm64],
            (_, true) => [Code::EVEX_Vpmovsxwd_zmm_k1z_ymmm256, Code::VEX_Vpmovsxwd_ymm_xmmm128],
            (_, false) => [Code::EVEX_Vpmovzxwd_zmm_k1z_ymmm256, Code::VEX_Vpmovzxwd_ymm_xmmm128],
        };
        let (target, address) = (self.target_vector(to), self.byte_address(words)?);
        self.assembler.two(self.pick(wide, narrow), target, address)?;
        self.finish_vector(to, target)
    }

    pub(super) fn store_row_narrow(
        &mut self,
        from: Reg,
        words: Words,
        width: u32,
        mask: Option<Reg>,
    ) -> Option<()> {
        if self.is_wide() {
            let (from, address) = (self.vector(from, 0)?, self.byte_address(words)?);
            let code = if width == 8 {
                Code::EVEX_Vpmovdb_xmmm128_k1z_zmm
            } else {
                Code::EVEX_Vpmovdw_ymmm256_k1z_zmm
            };
            return match mask {
                None => self.assembler.two(code, address, from),
                Some(mask) => {
                    let mask = self.mask(mask, 0)?;
                    self.assembler.two_masked(code, address, from, mask, Others::Kept)
                }
            };
        }
        if let Some(mask) = mask {
            return self.store_row_by_lanes(from, words, width, mask);
        }
        let (from, packed) = (self.vector(from, 0)?, self.scratch(4));
        let low_bits = if width == 8 { Constant::Byte } else { Constant::Half };
        self.assembler.three(Code::VEX_Vpand_ymm_ymm_ymmm256, packed, from, self.constant(low_bits))?;
        self.pack_halves(packed, packed)?;
        let address = self.byte_address(words)?;
        if width == 8 {
            let packed = xmm(packed);
            self.assembler.three(Code::VEX_Vpackuswb_xmm_xmm_xmmm128, packed, packed, packed)?;
            self.assembler.two(Code::VEX_Vmovq_xmmm64_xmm, address, packed)
        } else {
            self.assembler.two(Code::VEX_Vmovdqu_xmmm128_xmm, address, xmm(packed))
        }
    }

    /// Stores a row in the lanes of a mask, one by one.
    fn store_row_by_lanes(&mut self, from: Reg, words: Words, width: u32, mask: Reg) -> Option<()> {
        let values = self.spill_lanes(from, mask)?;
        self.each_lane(|emitter| {
            // The index is loaded each time, as its scratch register is that of the address.
            let index = emitter.scalar(words.index, ADDRESS)?;
            let sum = MemoryOperand::with_base_index_scale_displ_size(index, LANE, width / 8, 0, 0);
            emitter.assembler.two(Code::Lea_r64_m, ADDRESS, sum)?;
            emitter.store_lane(values, words, width)
        })
    }

    pub(super) fn scatter_narrow(&mut self, from: Reg, words: Words, width: u32, mask: Reg) -> Option<()> {
        let indices = self.layout_save(1);
        let index = self.vector(words.index, 0)?;
        self.store_vector(frame(indices), index)?;
        let values = self.spill_lanes(from, mask)?;
        self.each_lane(|emitter| {
            emitter.assembler.two(Code::Mov_r32_rm32, low(ADDRESS), of_lane(indices))?;
            emitter.store_lane(values, words, width)
        })
    }

    /// Stores a vector in the save area, whose offset it returns, and a bit for each lane of a mask in the first scratch
    /// register.
    pub(super) fn spill_lanes(&mut self, from: Reg, mask: Reg) -> Option<usize> {
        let values = self.layout_save(0);
        let from = self.vector(from, 0)?;
        self.store_vector(frame(values), from)?;
        let mask = self.mask(mask, 0)?;
        let code = self.pick(Code::VEX_Kmovw_r32_kr, Code::VEX_Vmovmskps_r32_ymm);
        self.assembler.two(code, low(SCRATCH[0]), mask)?;
        Some(values)
    }

    /// Emits a loop over the lanes whose bits are in the first scratch register.
    pub(super) fn each_lane(&mut self, body: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        let lanes = low(SCRATCH[0]);
        let (next, done) = (self.assembler.label(), self.assembler.label());
        self.assembler.bind(next);
        self.assembler.two(Code::Tzcnt_r32_rm32, low(LANE), lanes)?;
        self.assembler.jump(Code::Jb_rel32_64, done)?;
        body(self)?;
        self.assembler.two(Code::VEX_Blsr_r32_rm32, lanes, lanes)?;
        self.assembler.jump(Code::Jmp_rel32_64, next)?;
        self.assembler.bind(done);
        Some(())
    }

    /// Stores the current lane of spilled values at the byte whose index is in the register of the address.
    fn store_lane(&mut self, values: usize, words: Words, width: u32) -> Option<()> {
        self.assembler.two(Code::Mov_r32_rm32, low(LANE), of_lane(values))?;
        let offset = i64::from(words.offset);
        let address = match self.scalar_source(words.pointer) {
            ScalarSource::Register(pointer) => {
                MemoryOperand::with_base_index_scale_displ_size(pointer, ADDRESS, 1, offset, 8)
            }
            ScalarSource::Memory(pointer) => {
                self.assembler.two(Code::Add_r64_rm64, ADDRESS, pointer)?;
                MemoryOperand::with_base_displ_size(ADDRESS, offset, 8)
            }
            ScalarSource::Immediate(_) => return None,
        };
        if width == 8 {
            self.assembler.two(Code::Mov_rm8_r8, address, Register::CL)
        } else {
            self.assembler.two(Code::Mov_rm16_r16, address, Register::CX)
        }
    }
}
