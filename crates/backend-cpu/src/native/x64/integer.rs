//! Steps on vectors of integers that take several instructions: shifts by varying amounts, and division.

use iced_x86::{Code, MemoryOperand, Register};

use super::memory::{xmm, ymm};
use super::tables::{Constant, by_literal, by_vector, codes2};
use super::{Emitter, SCRATCH_MASKS};
use crate::native::program::{Reg, ShiftOp, VectorOp2};
use crate::native::x64::assembler::Others;

impl Emitter<'_> {
    pub(super) fn vector2(&mut self, op: VectorOp2, to: Reg, a: Reg, b: Reg) -> Option<()> {
        if let Some([wide, narrow]) = codes2(op) {
            let (a, b, code) = (self.vector(a, 0)?, self.source(b), self.pick(wide, narrow));
            let target = self.target_vector(to);
            self.three(code, target, a, b)?;
            return self.finish_vector(to, target);
        }
        let (a, b) = (self.vector(a, 0)?, self.vector(b, 1)?);
        let from = match op {
            VectorOp2::Shift(op) => self.shift(op, [a, b])?,
            VectorOp2::MulHighUnsigned => self.multiply_high(false, [a, b])?,
            VectorOp2::MulHighSigned => self.multiply_high(true, [a, b])?,
            VectorOp2::DivUnsigned => self.divide_vectors(false, false, [a, b])?,
            VectorOp2::RemUnsigned => self.divide_vectors(false, true, [a, b])?,
            VectorOp2::DivSigned => self.divide_vectors(true, false, [a, b])?,
            VectorOp2::RemSigned => self.divide_vectors(true, true, [a, b])?,
            VectorOp2::FloatMin => self.float_choice(
                self.pick(Code::EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae, Code::VEX_Vminps_ymm_ymm_ymmm256),
                [a, b],
            )?,
            VectorOp2::FloatMax => self.float_choice(
                self.pick(Code::EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae, Code::VEX_Vmaxps_ymm_ymm_ymmm256),
                [a, b],
            )?,
            VectorOp2::Add
            | VectorOp2::Sub
            | VectorOp2::Mul
            | VectorOp2::And
            | VectorOp2::Or
            | VectorOp2::Xor
            | VectorOp2::MinUnsigned
            | VectorOp2::MaxUnsigned
            | VectorOp2::MinSigned
            | VectorOp2::MaxSigned
            | VectorOp2::FloatAdd
            | VectorOp2::FloatSub
            | VectorOp2::FloatMul
            | VectorOp2::FloatDiv => return None,
        };
        self.finish_vector(to, from)
    }

    /// Returns shift amounts modulo 32.
    fn amount(&mut self, b: Register) -> Option<Register> {
        let (amount, limit) = (self.scratch(2), self.constant(Constant::Amount));
        let code = self.pick(Code::EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32, Code::VEX_Vpand_ymm_ymm_ymmm256);
        self.assembler.three(code, amount, b, limit)?;
        Some(amount)
    }

    fn shift(&mut self, op: ShiftOp, [a, b]: [Register; 2]) -> Option<Register> {
        let result = self.scratch(4);
        let one = match op {
            ShiftOp::RotateLeft | ShiftOp::RotateRight if self.is_wide() => {
                self.assembler.three(by_vector(op)[0], result, a, b)?;
                return Some(result);
            }
            ShiftOp::RotateLeft => ShiftOp::Left,
            ShiftOp::RotateRight => ShiftOp::Right,
            ShiftOp::Left | ShiftOp::Right | ShiftOp::RightSigned => op,
        };
        let amount = self.amount(b)?;
        let code = self.pick(by_vector(one)[0], by_vector(one)[1]);
        self.assembler.three(code, result, a, amount)?;
        if one != op {
            let (other, back) =
                (self.scratch(3), if one == ShiftOp::Left { ShiftOp::Right } else { ShiftOp::Left });
            // A shift by 32 gives 0.
            self.load_vector(other, self.constant(Constant::Width))?;
            self.assembler.three(Code::VEX_Vpsubd_ymm_ymm_ymmm256, other, other, amount)?;
            self.assembler.three(by_vector(back)[1], other, a, other)?;
            self.assembler.three(Code::VEX_Vpor_ymm_ymm_ymmm256, result, result, other)?;
        }
        Some(result)
    }

    /// Shifts or rotates by an amount below 32.
    pub(super) fn shift_by(&mut self, op: ShiftOp, to: Reg, a: Reg, by: u32) -> Option<()> {
        let (a, target) = (self.vector(a, 0)?, self.target_vector(to));
        let by = by as i32;
        match op {
            ShiftOp::RotateLeft | ShiftOp::RotateRight if !self.is_wide() => {
                let (other, left) =
                    (self.scratch(1), if op == ShiftOp::RotateLeft { by } else { (32 - by) % 32 });
                // A shift by 32 gives 0.
                self.assembler.two_with(by_literal(ShiftOp::Right)[1], other, a, 32 - left)?;
                self.assembler.two_with(by_literal(ShiftOp::Left)[1], target, a, left)?;
                self.assembler.three(Code::VEX_Vpor_ymm_ymm_ymmm256, target, target, other)?;
            }
            ShiftOp::Left
            | ShiftOp::Right
            | ShiftOp::RightSigned
            | ShiftOp::RotateLeft
            | ShiftOp::RotateRight => {
                let [wide, narrow] = by_literal(op);
                self.assembler.two_with(self.pick(wide, narrow), target, a, by)?;
            }
        }
        self.finish_vector(to, target)
    }

    /// Returns the high halves of products: those of even lanes, and those of odd lanes, which are moved down first.
    fn multiply_high(&mut self, is_signed: bool, [a, b]: [Register; 2]) -> Option<Register> {
        let multiply = if is_signed {
            self.pick(Code::EVEX_Vpmuldq_zmm_k1z_zmm_zmmm512b64, Code::VEX_Vpmuldq_ymm_ymm_ymmm256)
        } else {
            self.pick(Code::EVEX_Vpmuludq_zmm_k1z_zmm_zmmm512b64, Code::VEX_Vpmuludq_ymm_ymm_ymmm256)
        };
        let down = self.pick(Code::EVEX_Vpsrlq_zmm_k1z_zmmm512b64_imm8, Code::VEX_Vpsrlq_ymm_ymm_imm8);
        let up = self.pick(Code::EVEX_Vpsllq_zmm_k1z_zmmm512b64_imm8, Code::VEX_Vpsllq_ymm_ymm_imm8);
        let or = self.pick(Code::EVEX_Vpord_zmm_k1z_zmm_zmmm512b32, Code::VEX_Vpor_ymm_ymm_ymmm256);
        let (odd, other, even) = (self.scratch(2), self.scratch(3), self.scratch(4));
        self.assembler.two_with(down, odd, a, 32)?;
        self.assembler.two_with(down, other, b, 32)?;
        self.assembler.three(multiply, odd, odd, other)?;
        self.assembler.two_with(down, odd, odd, 32)?;
        self.assembler.two_with(up, odd, odd, 32)?;
        self.assembler.three(multiply, even, a, b)?;
        self.assembler.two_with(down, even, even, 32)?;
        self.assembler.three(or, even, even, odd)?;
        Some(even)
    }

    /// Divides as doubles, which are exact enough: the quotient of two integers of 32 bits, rounded to 53 bits, is
    /// never rounded up to the next integer.
    fn divide_vectors(
        &mut self,
        is_signed: bool,
        is_remainder: bool,
        [a, b]: [Register; 2],
    ) -> Option<Register> {
        let quotient = if self.is_wide() {
            self.quotient_wide(is_signed, [a, b])?
        } else {
            self.quotient_narrow(is_signed, [a, b])?
        };
        let [multiply, subtract] = [VectorOp2::Mul, VectorOp2::Sub].map(codes2);
        let ([m, n], [s, t]) = (multiply?, subtract?);
        let result = self.scratch(4);
        if is_remainder {
            self.assembler.three(self.pick(m, n), result, quotient, b)?;
            self.assembler.three(self.pick(s, t), result, a, result)?;
        }
        // If the divisor is 0, the quotient is the dividend and the remainder is 0.
        let value = if is_remainder { result } else { quotient };
        if self.is_wide() {
            let [is_zero, other] = SCRATCH_MASKS;
            self.assembler.three(Code::EVEX_Vptestnmd_kr_k1_zmm_zmmm512b32, is_zero, b, b)?;
            let code = Code::EVEX_Vmovdqa32_zmm_k1z_zmmm512;
            if is_remainder {
                self.assembler.three(Code::EVEX_Vptestmd_kr_k1_zmm_zmmm512b32, other, b, b)?;
                self.assembler.two_masked(code, value, value, other, Others::Zeroed)?;
            } else {
                self.assembler.two_masked(code, value, a, is_zero, Others::Kept)?;
            }
        } else {
            let is_zero = self.scratch(3);
            self.zero(is_zero)?;
            self.assembler.three(Code::VEX_Vpcmpeqd_ymm_ymm_ymmm256, is_zero, is_zero, b)?;
            if is_remainder {
                self.assembler.three(Code::VEX_Vpandn_ymm_ymm_ymmm256, value, is_zero, value)?;
            } else {
                self.assembler.four(Code::VEX_Vblendvps_ymm_ymm_ymmm256_ymm, value, value, a, is_zero)?;
            }
        }
        Some(value)
    }

    /// Returns the quotient of 16 lanes in the third scratch register.
    fn quotient_wide(&mut self, is_signed: bool, [a, b]: [Register; 2]) -> Option<Register> {
        let (convert, truncate) = if is_signed {
            (Code::EVEX_Vcvtdq2pd_zmm_k1z_ymmm256b32_er, Code::EVEX_Vcvttpd2dq_ymm_k1z_zmmm512b64_sae)
        } else {
            (Code::EVEX_Vcvtudq2pd_zmm_k1z_ymmm256b32_er, Code::EVEX_Vcvttpd2udq_ymm_k1z_zmmm512b64_sae)
        };
        let divide = Code::EVEX_Vdivpd_zmm_k1z_zmm_zmmm512b64_er;
        let (low, high, divisor) = (self.scratch(2), self.scratch(3), self.scratch(4));
        self.assembler.two(convert, low, ymm(a))?;
        self.assembler.two(convert, divisor, ymm(b))?;
        self.assembler.three(divide, low, low, divisor)?;
        self.assembler.two(truncate, ymm(low), low)?;
        for (to, from) in [(high, a), (divisor, b)] {
            self.assembler.two_with(Code::EVEX_Vextracti64x4_ymmm256_k1z_zmm_imm8, ymm(to), from, 1)?;
            self.assembler.two(convert, to, ymm(to))?;
        }
        self.assembler.three(divide, high, high, divisor)?;
        self.assembler.two(truncate, ymm(high), high)?;
        self.assembler.three_with(
            Code::EVEX_Vinserti64x4_zmm_k1z_zmm_ymmm256_imm8,
            low,
            low,
            ymm(high),
            1,
        )?;
        Some(low)
    }

    /// Returns the quotient of 8 lanes in the third scratch register.
    fn quotient_narrow(&mut self, is_signed: bool, operands: [Register; 2]) -> Option<Register> {
        let (low, high, divisor) = (self.scratch(2), self.scratch(3), self.scratch(4));
        let (sign, limit) = (self.constant(Constant::Sign), self.constant(Constant::DoubleLimit));
        for (result, half) in [(low, 0), (high, 1)] {
            for (to, from) in [(result, operands[0]), (divisor, operands[1])] {
                self.assembler.two_with(Code::VEX_Vextracti128_xmmm128_ymm_imm8, xmm(to), from, half)?;
                self.convert_to_doubles(is_signed, to, sign, limit)?;
            }
            self.assembler.three(Code::VEX_Vdivpd_ymm_ymm_ymmm256, result, result, divisor)?;
            if !is_signed {
                // Unsigned integers are signed ones, moved by 2³¹.
                self.assembler.two_with(Code::VEX_Vroundpd_ymm_ymmm256_imm8, result, result, 11)?;
                self.assembler.three(Code::VEX_Vsubpd_ymm_ymm_ymmm256, result, result, limit)?;
            }
            self.assembler.two(Code::VEX_Vcvttpd2dq_xmm_ymmm256, xmm(result), result)?;
            if !is_signed {
                self.assembler.three(Code::VEX_Vpxor_xmm_xmm_xmmm128, xmm(result), xmm(result), sign)?;
            }
        }
        let code = Code::VEX_Vinserti128_ymm_ymm_xmmm128_imm8;
        self.assembler.three_with(code, low, low, xmm(high), 1)?;
        Some(low)
    }

    /// Converts the low four lanes of a register to doubles.
    fn convert_to_doubles(
        &mut self,
        is_signed: bool,
        register: Register,
        sign: MemoryOperand,
        limit: MemoryOperand,
    ) -> Option<()> {
        if !is_signed {
            self.assembler.three(Code::VEX_Vpxor_xmm_xmm_xmmm128, xmm(register), xmm(register), sign)?;
        }
        self.assembler.two(Code::VEX_Vcvtdq2pd_ymm_xmmm128, register, xmm(register))?;
        if !is_signed {
            self.assembler.three(Code::VEX_Vaddpd_ymm_ymm_ymmm256, register, register, limit)?;
        }
        Some(())
    }
}
