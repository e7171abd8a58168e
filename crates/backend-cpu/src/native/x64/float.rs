//! Steps on vectors of floats, and conversions.

use iced_x86::{Code, Register};

use super::memory::{xmm, ymm};
use super::tables::{Constant, codes1};
use super::{Emitter, SCRATCH_MASKS, Source};
use crate::native::program::{Reg, VectorOp1};
use crate::native::x64::assembler::Others;

/// The immediates of comparisons of floats.
const ORDERED: i32 = 7;
const UNORDERED: i32 = 3;
const GREATER_OR_EQUAL: i32 = 0x1d;

impl Emitter<'_> {
    pub(super) fn vector1(&mut self, op: VectorOp1, to: Reg, a: Reg) -> Option<()> {
        if let Some(([wide, narrow], immediate)) = codes1(op) {
            let (source, target) = (self.source(a), self.target_vector(to));
            let code = self.pick(wide, narrow);
            match (source, immediate) {
                (source, None) => self.two(code, target, source)?,
                (Source::Register(a), Some(immediate)) => {
                    self.assembler.two_with(code, target, a, immediate)?;
                }
                (Source::Memory(a), Some(immediate)) => {
                    self.assembler.two_with(code, target, a, immediate)?
                }
            }
            return self.finish_vector(to, target);
        }
        let a = self.vector(a, 0)?;
        let from = match (op, self.is_wide()) {
            (VectorOp1::FloatOfUnsigned, true) => {
                self.assembler.two(Code::EVEX_Vcvtudq2ps_zmm_k1z_zmmm512b32_er, self.scratch(4), a)?;
                self.scratch(4)
            }
            (VectorOp1::FloatOfUnsigned, false) => self.float_of_unsigned(a)?,
            (VectorOp1::SignedOfFloat, _) => self.signed_of_float(a)?,
            (VectorOp1::UnsignedOfFloat, true) => {
                // The maximum with 0 is 0 for NaN; the conversion gives the largest value above it.
                let result = self.scratch(4);
                self.zero(result)?;
                self.assembler.three(Code::EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae, result, a, result)?;
                self.assembler.two(Code::EVEX_Vcvttps2udq_zmm_k1z_zmmm512b32_sae, result, result)?;
                result
            }
            (VectorOp1::UnsignedOfFloat, false) => self.unsigned_of_float(a)?,
            (VectorOp1::FloatOfHalf, _) => self.float_of_half(a)?,
            (VectorOp1::HalfOfFloat, _) => self.half_of_float(a)?,
            (
                VectorOp1::Abs
                | VectorOp1::Sqrt
                | VectorOp1::Floor
                | VectorOp1::Ceil
                | VectorOp1::Trunc
                | VectorOp1::Round
                | VectorOp1::FloatOfSigned,
                _,
            ) => return None,
        };
        self.finish_vector(to, from)
    }

    /// Returns a minimum or maximum. The instruction gives its second operand if either is NaN or both are zeros, which
    /// is the first one here, and the other one is taken where that is NaN.
    pub(super) fn float_choice(&mut self, code: Code, [a, b]: [Register; 2]) -> Option<Register> {
        let result = self.scratch(4);
        self.assembler.three(code, result, b, a)?;
        self.replace_where(UNORDERED, [a, a], result, Source::Register(b))?;
        Some(result)
    }

    /// Replaces the lanes in which a comparison of floats holds.
    fn replace_where(
        &mut self,
        comparison: i32,
        [a, b]: [Register; 2],
        result: Register,
        by: Source,
    ) -> Option<()> {
        if self.is_wide() {
            let mask = SCRATCH_MASKS[0];
            let code = Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae;
            self.assembler.three_with(code, mask, a, b, comparison)?;
            let code = Code::EVEX_Vmovdqa32_zmm_k1z_zmmm512;
            return match by {
                Source::Register(by) => self.assembler.two_masked(code, result, by, mask, Others::Kept),
                Source::Memory(by) => self.assembler.two_masked(code, result, by, mask, Others::Kept),
            };
        }
        let mask = self.scratch(3);
        self.assembler.three_with(Code::VEX_Vcmpps_ymm_ymm_ymmm256_imm8, mask, a, b, comparison)?;
        let code = Code::VEX_Vblendvps_ymm_ymm_ymmm256_ymm;
        match by {
            Source::Register(by) => self.assembler.four(code, result, result, by, mask),
            Source::Memory(by) => self.assembler.four(code, result, result, by, mask),
        }
    }

    /// Converts to signed integers. The conversion gives the smallest integer for all values that do not fit.
    fn signed_of_float(&mut self, a: Register) -> Option<Register> {
        let (result, limit) = (self.scratch(4), self.scratch(2));
        let code = self.pick(Code::EVEX_Vcvttps2dq_zmm_k1z_zmmm512b32_sae, Code::VEX_Vcvttps2dq_ymm_ymmm256);
        self.assembler.two(code, result, a)?;
        self.load_vector(limit, self.constant(Constant::Limit))?;
        let largest = Source::Memory(self.constant(Constant::Largest));
        self.replace_where(GREATER_OR_EQUAL, [a, limit], result, largest)?;
        if self.is_wide() {
            let mask = SCRATCH_MASKS[0];
            let code = Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae;
            self.assembler.three_with(code, mask, a, a, ORDERED)?;
            let code = Code::EVEX_Vmovdqa32_zmm_k1z_zmmm512;
            self.assembler.two_masked(code, result, result, mask, Others::Zeroed)?;
        } else {
            self.assembler.three_with(Code::VEX_Vcmpps_ymm_ymm_ymmm256_imm8, limit, a, a, ORDERED)?;
            self.assembler.three(Code::VEX_Vpand_ymm_ymm_ymmm256, result, result, limit)?;
        }
        Some(result)
    }

    /// Converts to unsigned integers of 8 lanes, with the conversion to signed ones.
    fn unsigned_of_float(&mut self, a: Register) -> Option<Register> {
        let (result, positive, large) = (self.scratch(4), self.scratch(1), self.scratch(2));
        let convert = Code::VEX_Vcvttps2dq_ymm_ymmm256;
        self.zero(positive)?;
        // 0 for NaN.
        self.assembler.three(Code::VEX_Vmaxps_ymm_ymm_ymmm256, positive, a, positive)?;
        self.assembler.two(convert, result, positive)?;
        let limit = self.constant(Constant::Limit);
        self.assembler.three(Code::VEX_Vsubps_ymm_ymm_ymmm256, large, positive, limit)?;
        self.assembler.two(convert, large, large)?;
        self.assembler.three(Code::VEX_Vpxor_ymm_ymm_ymmm256, large, large, self.constant(Constant::Sign))?;
        for (limit, by) in [(Constant::Limit, Some(large)), (Constant::WideLimit, None)] {
            let mask = self.scratch(3);
            let (code, limit) = (Code::VEX_Vcmpps_ymm_ymm_ymmm256_imm8, self.constant(limit));
            self.assembler.three_with(code, mask, positive, limit, GREATER_OR_EQUAL)?;
            match by {
                Some(by) => {
                    let code = Code::VEX_Vblendvps_ymm_ymm_ymmm256_ymm;
                    self.assembler.four(code, result, result, by, mask)?;
                }
                None => self.assembler.three(Code::VEX_Vpor_ymm_ymm_ymmm256, result, result, mask)?,
            }
        }
        Some(result)
    }

    fn float_of_half(&mut self, a: Register) -> Option<Register> {
        let result = self.scratch(4);
        if self.is_wide() {
            self.assembler.two(Code::EVEX_Vpmovdw_ymmm256_k1z_zmm, ymm(result), a)?;
            self.assembler.two(Code::EVEX_Vcvtph2ps_zmm_k1z_ymmm256_sae, result, ymm(result))?;
        } else {
            self.pack_halves(result, a)?;
            self.assembler.two(Code::VEX_Vcvtph2ps_ymm_xmmm128, result, xmm(result))?;
        }
        Some(result)
    }

    /// Rounds to nearest even.
    fn half_of_float(&mut self, a: Register) -> Option<Register> {
        let result = self.scratch(4);
        if self.is_wide() {
            self.assembler.two_with(Code::EVEX_Vcvtps2ph_ymmm256_k1z_zmm_imm8_sae, ymm(result), a, 0)?;
            self.assembler.two(Code::EVEX_Vpmovzxwd_zmm_k1z_ymmm256, result, ymm(result))?;
        } else {
            self.assembler.two_with(Code::VEX_Vcvtps2ph_xmmm128_ymm_imm8, xmm(result), a, 0)?;
            self.assembler.two(Code::VEX_Vpmovzxwd_ymm_xmmm128, result, xmm(result))?;
        }
        Some(result)
    }

    /// Moves the low halves of 8 lanes to the low 128 bits; the high halves are 0.
    pub(super) fn pack_halves(&mut self, to: Register, a: Register) -> Option<()> {
        self.assembler.three(Code::VEX_Vpackusdw_ymm_ymm_ymmm256, to, a, a)?;
        // The instruction works on each half of 128 bits by itself.
        self.assembler.two_with(Code::VEX_Vpermq_ymm_ymmm256_imm8, to, to, 0x08)
    }

    /// Converts unsigned integers of 8 lanes: both halves exactly, then their sum, which is rounded once.
    fn float_of_unsigned(&mut self, a: Register) -> Option<Register> {
        let (high, low) = (self.scratch(4), self.scratch(2));
        let convert = Code::VEX_Vcvtdq2ps_ymm_ymmm256;
        self.assembler.two_with(Code::VEX_Vpsrld_ymm_ymm_imm8, high, a, 16)?;
        self.assembler.two(convert, high, high)?;
        self.assembler.three(Code::VEX_Vpand_ymm_ymm_ymmm256, low, a, self.constant(Constant::Half))?;
        self.assembler.two(convert, low, low)?;
        let width = self.constant(Constant::HalfWidth);
        self.assembler.three(Code::VEX_Vmulps_ymm_ymm_ymmm256, high, high, width)?;
        self.assembler.three(Code::VEX_Vaddps_ymm_ymm_ymmm256, high, high, low)?;
        Some(high)
    }

    pub(super) fn fma(&mut self, to: Reg, [a, b, c]: [Reg; 3]) -> Option<()> {
        let (a, b) = (self.vector(a, 0)?, self.vector(b, 1)?);
        let target = self.target_vector(to);
        let [by_addend, by_factor] = [
            self.pick(
                Code::EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er,
                Code::VEX_Vfmadd231ps_ymm_ymm_ymmm256,
            ),
            self.pick(
                Code::EVEX_Vfmadd213ps_zmm_k1z_zmm_zmmm512b32_er,
                Code::VEX_Vfmadd213ps_ymm_ymm_ymmm256,
            ),
        ];
        let c = self.source(c);
        // The result replaces one of the operands: the one that is in its register, if any is.
        if let Source::Register(c) = c
            && c == target
        {
            self.assembler.three(by_addend, target, a, b)?;
        } else if b == target {
            self.three(by_factor, target, a, c)?;
        } else {
            self.move_vector(target, a)?;
            self.three(by_factor, target, b, c)?;
        }
        self.finish_vector(to, target)
    }
}
