//! Constants in the frame, and the steps that are a single instruction.

use iced_x86::Code;

use crate::native::program::{ShiftOp, VectorOp1, VectorOp2};

/// Size in bytes of a vector in the frame.
pub(super) const SLOT: usize = 64;

/// A vector of copies of a constant, as a position in [`FIXED`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Constant {
    /// The sign bit.
    Sign,
    /// The largest signed integer.
    Largest,
    /// 31.
    Amount,
    /// 32.
    Width,
    /// The low byte.
    Byte,
    /// The low half.
    Half,
    /// 2¹⁶ as a float.
    HalfWidth,
    /// 2³¹ as a float.
    Limit,
    /// 2³² as a float.
    WideLimit,
    /// The words of 2³¹ as a double.
    DoubleLimit,
}

/// Words of the constants, repeated, by [`Constant`].
pub(crate) const FIXED: [[u32; 2]; 10] = [
    [1 << 31; 2],
    [i32::MAX as u32; 2],
    [31; 2],
    [32; 2],
    [0xff; 2],
    [0xffff; 2],
    [65_536f32.to_bits(); 2],
    [2_147_483_648f32.to_bits(); 2],
    [4_294_967_296f32.to_bits(); 2],
    [0, (2_147_483_648f64.to_bits() >> 32) as u32],
];

/// Returns the wide and the narrow form of a step on two vectors that is one instruction.
pub(super) fn codes2(op: VectorOp2) -> Option<[Code; 2]> {
    Some(match op {
        VectorOp2::Add => [Code::EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32, Code::VEX_Vpaddd_ymm_ymm_ymmm256],
        VectorOp2::Sub => [Code::EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32, Code::VEX_Vpsubd_ymm_ymm_ymmm256],
        VectorOp2::Mul => [Code::EVEX_Vpmulld_zmm_k1z_zmm_zmmm512b32, Code::VEX_Vpmulld_ymm_ymm_ymmm256],
        VectorOp2::And => [Code::EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32, Code::VEX_Vpand_ymm_ymm_ymmm256],
        VectorOp2::Or => [Code::EVEX_Vpord_zmm_k1z_zmm_zmmm512b32, Code::VEX_Vpor_ymm_ymm_ymmm256],
        VectorOp2::Xor => [Code::EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32, Code::VEX_Vpxor_ymm_ymm_ymmm256],
        VectorOp2::MinUnsigned => {
            [Code::EVEX_Vpminud_zmm_k1z_zmm_zmmm512b32, Code::VEX_Vpminud_ymm_ymm_ymmm256]
        }
        VectorOp2::MaxUnsigned => {
            [Code::EVEX_Vpmaxud_zmm_k1z_zmm_zmmm512b32, Code::VEX_Vpmaxud_ymm_ymm_ymmm256]
        }
        VectorOp2::MinSigned => {
            [Code::EVEX_Vpminsd_zmm_k1z_zmm_zmmm512b32, Code::VEX_Vpminsd_ymm_ymm_ymmm256]
        }
        VectorOp2::MaxSigned => {
            [Code::EVEX_Vpmaxsd_zmm_k1z_zmm_zmmm512b32, Code::VEX_Vpmaxsd_ymm_ymm_ymmm256]
        }
        VectorOp2::FloatAdd => {
            [Code::EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er, Code::VEX_Vaddps_ymm_ymm_ymmm256]
        }
        VectorOp2::FloatSub => {
            [Code::EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er, Code::VEX_Vsubps_ymm_ymm_ymmm256]
        }
        VectorOp2::FloatMul => {
            [Code::EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er, Code::VEX_Vmulps_ymm_ymm_ymmm256]
        }
        VectorOp2::FloatDiv => {
            [Code::EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er, Code::VEX_Vdivps_ymm_ymm_ymmm256]
        }
        VectorOp2::MulHighUnsigned
        | VectorOp2::MulHighSigned
        | VectorOp2::Shift(_)
        | VectorOp2::DivUnsigned
        | VectorOp2::RemUnsigned
        | VectorOp2::DivSigned
        | VectorOp2::RemSigned
        | VectorOp2::FloatMin
        | VectorOp2::FloatMax => return None,
    })
}

/// Returns the wide and the narrow form of a step on one vector that is one instruction, and its immediate if it has
/// one.
pub(super) fn codes1(op: VectorOp1) -> Option<([Code; 2], Option<i32>)> {
    // The rounding mode, and no exception for inexact results.
    let round = |mode: i32| {
        let codes = [Code::EVEX_Vrndscaleps_zmm_k1z_zmmm512b32_imm8_sae, Code::VEX_Vroundps_ymm_ymmm256_imm8];
        Some((codes, Some(mode | 8)))
    };
    match op {
        VectorOp1::Abs => Some(([Code::EVEX_Vpabsd_zmm_k1z_zmmm512b32, Code::VEX_Vpabsd_ymm_ymmm256], None)),
        VectorOp1::Sqrt => {
            Some(([Code::EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er, Code::VEX_Vsqrtps_ymm_ymmm256], None))
        }
        VectorOp1::FloatOfSigned => {
            Some(([Code::EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er, Code::VEX_Vcvtdq2ps_ymm_ymmm256], None))
        }
        VectorOp1::Round => round(0),
        VectorOp1::Floor => round(1),
        VectorOp1::Ceil => round(2),
        VectorOp1::Trunc => round(3),
        VectorOp1::FloatOfUnsigned
        | VectorOp1::SignedOfFloat
        | VectorOp1::UnsignedOfFloat
        | VectorOp1::FloatOfHalf
        | VectorOp1::HalfOfFloat => None,
    }
}

/// Returns the wide and the narrow form of a shift by an amount for each lane. There is no narrow form of rotations.
pub(super) fn by_vector(op: ShiftOp) -> [Code; 2] {
    match op {
        ShiftOp::Left => [Code::EVEX_Vpsllvd_zmm_k1z_zmm_zmmm512b32, Code::VEX_Vpsllvd_ymm_ymm_ymmm256],
        ShiftOp::Right => [Code::EVEX_Vpsrlvd_zmm_k1z_zmm_zmmm512b32, Code::VEX_Vpsrlvd_ymm_ymm_ymmm256],
        ShiftOp::RightSigned => {
            [Code::EVEX_Vpsravd_zmm_k1z_zmm_zmmm512b32, Code::VEX_Vpsravd_ymm_ymm_ymmm256]
        }
        ShiftOp::RotateLeft => [Code::EVEX_Vprolvd_zmm_k1z_zmm_zmmm512b32, Code::INVALID],
        ShiftOp::RotateRight => [Code::EVEX_Vprorvd_zmm_k1z_zmm_zmmm512b32, Code::INVALID],
    }
}

/// Returns the wide and the narrow form of a shift by a literal. There is no narrow form of rotations.
pub(super) fn by_literal(op: ShiftOp) -> [Code; 2] {
    match op {
        ShiftOp::Left => [Code::EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8, Code::VEX_Vpslld_ymm_ymm_imm8],
        ShiftOp::Right => [Code::EVEX_Vpsrld_zmm_k1z_zmmm512b32_imm8, Code::VEX_Vpsrld_ymm_ymm_imm8],
        ShiftOp::RightSigned => [Code::EVEX_Vpsrad_zmm_k1z_zmmm512b32_imm8, Code::VEX_Vpsrad_ymm_ymm_imm8],
        ShiftOp::RotateLeft => [Code::EVEX_Vprold_zmm_k1z_zmmm512b32_imm8, Code::INVALID],
        ShiftOp::RotateRight => [Code::EVEX_Vprord_zmm_k1z_zmmm512b32_imm8, Code::INVALID],
    }
}
