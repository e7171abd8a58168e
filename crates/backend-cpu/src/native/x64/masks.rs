//! Steps on masks, which are mask registers with AVX-512, and vectors of zeros and ones without.

use iced_x86::{Code, Register};

use super::scalar::{ScalarSource, low};
use super::tables::Constant;
use super::{Emitter, SCRATCH, SCRATCH_MASKS, Source};
use crate::native::program::{Kind, Label, MaskOp, Reg, Relation};
use crate::native::registers::Location;

impl Emitter<'_> {
    /// Returns a register that holds a mask: its own, or a scratch register that it is loaded into.
    pub(super) fn mask(&mut self, reg: Reg, scratch: u8) -> Option<Register> {
        if !self.is_wide() {
            return self.vector(reg, scratch);
        }
        match self.location(reg) {
            Location::Machine(number) => Some(Register::K1 + u32::from(number)),
            Location::Slot(position) => {
                let register = SCRATCH_MASKS[usize::from(scratch)];
                self.assembler.two(Code::VEX_Kmovw_kr_km16, register, self.slot(reg, position))?;
                Some(register)
            }
            Location::Unused => Some(SCRATCH_MASKS[usize::from(scratch)]),
        }
    }

    /// Returns the register that a mask is computed in.
    fn target_mask(&self, reg: Reg) -> Register {
        match self.location(reg) {
            Location::Machine(number) if self.is_wide() => Register::K1 + u32::from(number),
            Location::Slot(_) | Location::Unused if self.is_wide() => SCRATCH_MASKS[1],
            Location::Machine(_) | Location::Slot(_) | Location::Unused => self.target_vector(reg),
        }
    }

    fn finish_mask(&mut self, reg: Reg, from: Register) -> Option<()> {
        if !self.is_wide() {
            return self.finish_vector(reg, from);
        }
        match self.location(reg) {
            Location::Slot(position) => {
                self.assembler.two(Code::VEX_Kmovw_m16_kr, self.slot(reg, position), from)
            }
            Location::Machine(_) | Location::Unused => Some(()),
        }
    }

    /// Stores a bit for each lane in a scalar.
    pub(super) fn mask_bits(&mut self, to: Reg, mask: Reg) -> Option<()> {
        let target = self.target_scalar(to);
        self.lanes_of(mask, target)?;
        self.finish_scalar(to, target)
    }

    /// Moves a mask to a register, a bit for each lane.
    pub(super) fn lanes_of(&mut self, mask: Reg, to: Register) -> Option<()> {
        let mask = self.mask(mask, 0)?;
        let code = self.pick(Code::VEX_Kmovw_r32_kr, Code::VEX_Vmovmskps_r32_ymm);
        self.assembler.two(code, low(to), mask)
    }

    pub(super) fn copy_mask(&mut self, to: Reg, from: Reg) -> Option<()> {
        if !self.is_wide() {
            return self.copy_vector(to, from);
        }
        let (from, target) = (self.mask(from, 0)?, self.target_mask(to));
        self.assembler.two(Code::VEX_Kmovw_kr_km16, target, from)?;
        self.finish_mask(to, target)
    }

    pub(super) fn mask2(&mut self, op: MaskOp, to: Reg, [a, b]: [Reg; 2]) -> Option<()> {
        let (a, b) = (self.mask(a, 0)?, self.mask(b, 1)?);
        let target = self.target_mask(to);
        // The instructions invert their first operand.
        let (a, b) = if op == MaskOp::AndNot { (b, a) } else { (a, b) };
        let code = match op {
            MaskOp::And => self.pick(Code::VEX_Kandw_kr_kr_kr, Code::VEX_Vpand_ymm_ymm_ymmm256),
            MaskOp::AndNot => self.pick(Code::VEX_Kandnw_kr_kr_kr, Code::VEX_Vpandn_ymm_ymm_ymmm256),
            MaskOp::Or => self.pick(Code::VEX_Korw_kr_kr_kr, Code::VEX_Vpor_ymm_ymm_ymmm256),
            MaskOp::Xor => self.pick(Code::VEX_Kxorw_kr_kr_kr, Code::VEX_Vpxor_ymm_ymm_ymmm256),
        };
        self.assembler.three(code, target, a, b)?;
        self.finish_mask(to, target)
    }

    pub(super) fn broadcast_mask(&mut self, to: Reg, from: Reg) -> Option<()> {
        let target = self.target_mask(to);
        let source = self.scalar_source(from);
        let is_wide = self.is_wide();
        match source {
            ScalarSource::Immediate(value) => {
                let code = match (value != 0, is_wide) {
                    (true, true) => Code::VEX_Kxnorw_kr_kr_kr,
                    (false, true) => Code::VEX_Kxorw_kr_kr_kr,
                    (true, false) => Code::VEX_Vpcmpeqd_ymm_ymm_ymmm256,
                    (false, false) => Code::VEX_Vpxor_ymm_ymm_ymmm256,
                };
                self.assembler.three(code, target, target, target)?;
            }
            ScalarSource::Register(_) | ScalarSource::Memory(_) => {
                self.load_into(SCRATCH[0], from)?;
                self.assembler.one(Code::Neg_rm32, low(SCRATCH[0]))?;
                if is_wide {
                    self.assembler.two(Code::VEX_Kmovw_kr_r32, target, low(SCRATCH[0]))?;
                } else {
                    self.broadcast_register(target, SCRATCH[0])?;
                }
            }
        }
        self.finish_mask(to, target)
    }

    pub(super) fn branch_mask(&mut self, mask: Reg, code: Code, to: Label) -> Option<()> {
        let mask = self.mask(mask, 0)?;
        let test = self.pick(Code::VEX_Kortestw_kr_kr, Code::VEX_Vtestps_ymm_ymmm256);
        self.assembler.two(test, mask, mask)?;
        self.assembler.jump(code, to.0 as usize)
    }

    pub(super) fn branch_not_all(&mut self, mask: Reg, to: Label) -> Option<()> {
        let mask = self.mask(mask, 0)?;
        // Both instructions set the carry flag if all bits are ones.
        if self.is_wide() {
            self.assembler.two(Code::VEX_Kortestw_kr_kr, mask, mask)?;
        } else {
            let ones = self.scratch(3);
            self.assembler.three(Code::VEX_Vpcmpeqd_ymm_ymm_ymmm256, ones, ones, ones)?;
            self.assembler.two(Code::VEX_Vtestps_ymm_ymmm256, mask, ones)?;
        }
        self.assembler.jump(Code::Jae_rel32_64, to.0 as usize)
    }

    pub(super) fn blend(&mut self, to: Reg, mask: Reg, [yes, no]: [Reg; 2]) -> Option<()> {
        if self.is_wide() {
            let (mask, yes, no) = (self.mask(mask, 0)?, self.source(yes), self.vector(no, 0)?);
            let target = self.target_vector(to);
            let code = Code::EVEX_Vpblendmd_zmm_k1z_zmm_zmmm512b32;
            match yes {
                Source::Register(yes) => self.assembler.three_masked(code, target, no, yes, mask)?,
                Source::Memory(yes) => self.assembler.three_masked(code, target, no, yes, mask)?,
            }
            return self.finish_vector(to, target);
        }
        let (mask, yes, no) = (self.vector(mask, 0)?, self.source(yes), self.vector(no, 1)?);
        let target = self.target_vector(to);
        let code = Code::VEX_Vblendvps_ymm_ymm_ymmm256_ymm;
        match yes {
            Source::Register(yes) => self.assembler.four(code, target, no, yes, mask)?,
            Source::Memory(yes) => self.assembler.four(code, target, no, yes, mask)?,
        }
        self.finish_vector(to, target)
    }

    pub(super) fn compare(
        &mut self,
        relation: Relation,
        kind: Kind,
        to: Reg,
        [a, b]: [Reg; 2],
    ) -> Option<()> {
        let a = self.vector(a, 0)?;
        let target = self.target_mask(to);
        if kind == Kind::Float {
            // Ordered and quiet, but for inequality, which is unordered.
            let immediate = match relation {
                Relation::Eq => 0x00,
                Relation::Ne => 0x04,
                Relation::Lt => 0x11,
                Relation::Le => 0x12,
                Relation::Gt => 0x1e,
                Relation::Ge => 0x1d,
            };
            let b = self.source(b);
            let code = self
                .pick(Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae, Code::VEX_Vcmpps_ymm_ymm_ymmm256_imm8);
            self.three_with(code, target, a, b, immediate)?;
        } else if self.is_wide() {
            let immediate = match relation {
                Relation::Eq => 0,
                Relation::Lt => 1,
                Relation::Le => 2,
                Relation::Ne => 4,
                Relation::Ge => 5,
                Relation::Gt => 6,
            };
            let code = if kind == Kind::Signed {
                Code::EVEX_Vpcmpd_kr_k1_zmm_zmmm512b32_imm8
            } else {
                Code::EVEX_Vpcmpud_kr_k1_zmm_zmmm512b32_imm8
            };
            let b = self.source(b);
            self.three_with(code, target, a, b, immediate)?;
        } else {
            let b = self.vector(b, 1)?;
            self.compare_narrow(relation, kind, target, [a, b])?;
        }
        self.finish_mask(to, target)
    }

    fn three_with(&mut self, code: Code, to: Register, a: Register, b: Source, immediate: i32) -> Option<()> {
        match b {
            Source::Register(b) => self.assembler.three_with(code, to, a, b, immediate),
            Source::Memory(b) => self.assembler.three_with(code, to, a, b, immediate),
        }
    }

    /// Compares integers by the two relations that AVX2 has: equal, and greater for signed operands.
    fn compare_narrow(
        &mut self,
        relation: Relation,
        kind: Kind,
        target: Register,
        [mut a, mut b]: [Register; 2],
    ) -> Option<()> {
        if kind == Kind::Unsigned && !matches!(relation, Relation::Eq | Relation::Ne) {
            let sign = self.constant(Constant::Sign);
            for (operand, scratch) in [(&mut a, 2), (&mut b, 3)] {
                let flipped = self.scratch(scratch);
                self.assembler.three(Code::VEX_Vpxor_ymm_ymm_ymmm256, flipped, *operand, sign)?;
                *operand = flipped;
            }
        }
        let (equal, greater) = (Code::VEX_Vpcmpeqd_ymm_ymm_ymmm256, Code::VEX_Vpcmpgtd_ymm_ymm_ymmm256);
        let (code, [a, b], is_inverted) = match relation {
            Relation::Eq => (equal, [a, b], false),
            Relation::Ne => (equal, [a, b], true),
            Relation::Gt => (greater, [a, b], false),
            Relation::Lt => (greater, [b, a], false),
            Relation::Le => (greater, [a, b], true),
            Relation::Ge => (greater, [b, a], true),
        };
        self.assembler.three(code, target, a, b)?;
        if is_inverted {
            let ones = self.scratch(3);
            self.assembler.three(equal, ones, ones, ones)?;
            self.assembler.three(Code::VEX_Vpxor_ymm_ymm_ymmm256, target, target, ones)?;
        }
        Some(())
    }
}
