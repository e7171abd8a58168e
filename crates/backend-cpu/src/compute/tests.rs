//! Every op on edge values in every lane, against the definition.

use fulgurite_spec::eval;
use fulgurite_spec::{FloatContract, OPS, Operand, Outcome, Semantics};

use super::*;

const EDGES: [u32; 24] = [
    0,
    1,
    2,
    3,
    5,
    31,
    32,
    33,
    0x7fff_ffff,
    0x8000_0000,
    0x8000_0001,
    0xffff_fffe,
    0xffff_ffff,
    0x3f80_0000,
    0xbfc0_0000,
    0x4020_0000,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0x007f_ffff,
    0x0080_0000,
    0x7f7f_ffff,
    0x4f00_0000,
    0xcf80_0000,
];

/// The lanes of operand `position` in round `round`: over the rounds, edges meet edges.
fn operand(ty: ScalarType, position: u32, round: u32) -> Lanes {
    Lanes(core::array::from_fn(|lane| {
        let step = [1, 7, 11, 5][position as usize];
        let at = (lane as u32 * step + round * (position + 1)) as usize % EDGES.len();
        if ty == ScalarType::Bool { EDGES[at] & 1 } else { EDGES[at] }
    }))
}

fn same(ty: ScalarType, a: u32, b: u32) -> bool {
    a == b || ty == ScalarType::F32 && f32::from_bits(a).is_nan() && f32::from_bits(b).is_nan()
}

#[test]
fn every_op_means_what_the_table_says() {
    let mut checked = 0;
    for row in OPS {
        let Semantics::Scalar { domain, operands, outcome, float, .. } = row.semantics else { continue };
        if matches!(row.op, Op::Extract | Op::Insert | Op::Dot) {
            continue;
        }
        for main in domain.iter() {
            let results = match outcome {
                Outcome::Same | Outcome::Element => vec![main],
                Outcome::BoolLanes => vec![ScalarType::Bool],
                Outcome::U32Lanes => vec![ScalarType::U32],
                Outcome::Stated if row.op == Op::Bitcast => {
                    vec![ScalarType::I32, ScalarType::U32, ScalarType::F32]
                }
                Outcome::Stated => ScalarType::ALL.to_vec(),
            };
            for result in results {
                let apply =
                    compute(row.op, main, result).unwrap_or_else(|| panic!("{} {main}", row.mnemonic));
                let types = operands.iter().map(|kind| match kind {
                    Operand::Same | Operand::Element => main,
                    Operand::BoolLanes => ScalarType::Bool,
                    Operand::U32Lanes | Operand::U32 => ScalarType::U32,
                });
                for round in 0..EDGES.len() as u32 {
                    let mut registers = vec![Lanes::splat(0); 5];
                    for ((register, ty), position) in registers[1..].iter_mut().zip(types.clone()).zip(0..) {
                        *register = operand(ty, position, round);
                    }
                    apply(&mut registers, &Args { result: 0, operands: [1, 2, 3, 4] });
                    for lane in 0..WIDTH {
                        let args: Vec<u64> =
                            (1..=operands.len()).map(|r| u64::from(registers[r].0[lane])).collect();
                        let fused = eval::scalar(row.op, main, result, &args).unwrap() as u32;
                        let [x, y, z] = [1, 2, 3].map(|r| f32::from_bits(registers[r].0[lane]));
                        let found = registers[0].0[lane];
                        let unfused = float == FloatContract::FusedOrUnfused
                            && same(result, found, eval::float::fma_unfused(x, y, z).to_bits());
                        let zero = float == FloatContract::ExactEitherZero && (found | fused) << 1 == 0;
                        assert!(
                            same(result, found, fused) || unfused || zero,
                            "{} on {main}: {args:x?} gives {found:x}, not {fused:x}",
                            row.mnemonic
                        );
                        checked += 1;
                    }
                }
            }
        }
    }
    assert!(checked > 100_000, "{checked}");
}

#[test]
fn operands_may_coincide() {
    let apply = compute(Op::Clamp, ScalarType::U32, ScalarType::U32).unwrap();
    let insert = compute(Op::InsertBits, ScalarType::U32, ScalarType::U32).unwrap();
    for operands in [[1, 2, 3, 0], [1, 1, 2, 0], [1, 2, 1, 0], [1, 2, 2, 0], [1, 1, 1, 0]] {
        for (function, op, count) in [(apply, Op::Clamp, 3), (insert, Op::InsertBits, 4)] {
            let mut registers: Vec<Lanes> = (0..5).map(|p| operand(ScalarType::U32, p.min(3), 3)).collect();
            let before = registers.clone();
            function(&mut registers, &Args { result: 4, operands });
            for lane in 0..WIDTH {
                let args: Vec<u64> =
                    operands[..count].iter().map(|r| u64::from(before[*r as usize].0[lane])).collect();
                let wanted = eval::scalar(op, ScalarType::U32, ScalarType::U32, &args).unwrap();
                assert_eq!(u64::from(registers[4].0[lane]), wanted, "{op:?} {operands:?}");
            }
        }
    }
}
