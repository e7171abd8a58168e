//! Every op on every type, with edge values in every lane, compared with the definition.

use fulgurite_spec::accuracy::{self, Tolerance};
use fulgurite_spec::eval;
use fulgurite_spec::eval::float::{self, FloatFormat};
use fulgurite_spec::{FloatContract, OPS, Operand, Outcome, Semantics};

use super::*;
use crate::lanes::WIDTH;

/// Patterns of at most 32 bits, and of 64.
const EDGES: [u64; 40] = [
    0,
    1,
    2,
    3,
    5,
    7,
    8,
    15,
    16,
    31,
    32,
    33,
    63,
    64,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    0x3c00,
    0x7bff,
    0xfc00,
    0x7e00,
    0x3f80,
    0x7fff_ffff,
    0x8000_0000,
    0x8000_0001,
    0xffff_ffff,
    0x3f80_0000,
    0xbfc0_0000,
    0x7f80_0000,
    0x7fc0_0000,
    0x007f_ffff,
    0x4f00_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_ffff,
    0x3ff8_0000_0000_0001,
    0x7ff0_0000_0000_0000,
];

fn edge(ty: ScalarType, position: usize) -> u64 {
    let bits = EDGES[position % EDGES.len()];
    match ty.size() {
        0 => bits & 1,
        8 => bits,
        size => bits & ((1 << (8 * size)) - 1),
    }
}

/// Returns the first register of operand `position`, with room for two registers each after those of the result.
fn place(position: usize) -> Register {
    2 + 2 * position as Register
}

/// Returns the registers of operands; over the rounds, they combine edge values.
fn operands(types: &[ScalarType], round: usize) -> Vec<Lanes> {
    let mut registers = vec![Lanes::splat(0); 12];
    for (position, ty) in types.iter().enumerate() {
        for lane in 0..WIDTH {
            let at = lane * [1, 7, 11, 5, 3][position] + round * (position + 1);
            set_bits(&mut registers, place(position), *ty, lane, edge(*ty, at));
        }
    }
    registers
}

/// Applies `op` as the compiler does.
fn apply(
    registers: &mut [Lanes],
    op: Op,
    main: ScalarType,
    result: ScalarType,
    types: &[ScalarType],
    args: &Args,
) {
    match compute(op, main, result) {
        Some(function) => function(registers, args),
        None => Generic::new(op, main, result, types.iter().copied())
            .unwrap_or_else(|| panic!("{} {main} {result}", op.mnemonic()))
            .apply(registers, args),
    }
}

fn is_nan(ty: ScalarType, bits: u64) -> bool {
    ty.is_float() && eval::scalar(Op::IsNan, ty, ScalarType::Bool, &[bits]) == Some(1)
}

fn same(ty: ScalarType, a: u64, b: u64) -> bool {
    a == b || is_nan(ty, a) && is_nan(ty, b)
}

/// Returns whether the accuracy table allows an approximate result.
fn near(op: Op, ty: ScalarType, args: &[u64], found: u64) -> bool {
    let Some(format) = FloatFormat::of(ty) else { return false };
    let args: Vec<f64> = args.iter().map(|bits| format.decode(*bits)).collect();
    let truth = float::truth(op, &args).unwrap();
    let found = format.decode(found);
    match accuracy::tolerance(op, ty, &args, truth) {
        Tolerance::Any { least, most } => found.is_nan() || (least..=most).contains(&found),
        Tolerance::Within { ulp, absolute } => {
            let room = (ulp * accuracy::unit(ty, truth)).max(absolute);
            (found - truth).abs() <= room
        }
    }
}

#[test]
fn every_op_means_what_the_table_says() {
    let mut checked = 0;
    for row in OPS {
        let Semantics::Scalar { domain, operands: kinds, outcome, float, .. } = row.semantics else {
            continue;
        };
        if matches!(row.op, Op::Extract | Op::Insert | Op::Dot | Op::Pack | Op::Unpack) {
            continue;
        }
        for main in domain.iter() {
            let results: Vec<ScalarType> = match outcome {
                Outcome::Same | Outcome::Element => vec![main],
                Outcome::BoolLanes => vec![ScalarType::Bool],
                Outcome::U32Lanes => vec![ScalarType::U32],
                Outcome::Packed | Outcome::Unpacked => continue,
                Outcome::Stated if row.op == Op::Bitcast => {
                    ScalarType::ALL.into_iter().filter(|ty| ty.size() == main.size()).collect()
                }
                Outcome::Stated => ScalarType::ALL.to_vec(),
            };
            let types: Vec<ScalarType> = kinds
                .iter()
                .map(|kind| match kind {
                    Operand::Same | Operand::Element => main,
                    Operand::BoolLanes => ScalarType::Bool,
                    Operand::U32Lanes | Operand::U32 => ScalarType::U32,
                })
                .collect();
            for result in results {
                for round in 0..EDGES.len() {
                    let mut registers = operands(&types, round);
                    let args = Args { result: 0, operands: [0, 1, 2, 3].map(place) };
                    apply(&mut registers, row.op, main, result, &types, &args);
                    for lane in 0..WIDTH {
                        let args: Vec<u64> = types
                            .iter()
                            .enumerate()
                            .map(|(position, ty)| bits(&registers, place(position), *ty, lane))
                            .collect();
                        let wanted = eval::scalar(row.op, main, result, &args).unwrap();
                        let found = bits(&registers, 0, result, lane);
                        let unfused = || {
                            let product = eval::scalar(Op::Mul, main, main, &args[..2])?;
                            eval::scalar(Op::Add, main, main, &[product, args[2]])
                        };
                        let zero = || {
                            let zero = |bits| eval::scalar(Op::Eq, main, ScalarType::Bool, &[bits, 0]);
                            zero(found) == Some(1) && zero(wanted) == Some(1)
                        };
                        let fits = same(result, found, wanted)
                            || float == FloatContract::FusedOrUnfused
                                && unfused().is_some_and(|other| same(result, found, other))
                            || float == FloatContract::ExactEitherZero && zero()
                            || float == FloatContract::Approximate && near(row.op, main, &args, found);
                        assert!(
                            fits,
                            "{} on {main}: {args:x?} gives {found:x}, not {wanted:x}, of {result}",
                            row.mnemonic
                        );
                        checked += 1;
                    }
                }
            }
        }
    }
    assert!(checked > 1_000_000, "{checked}");
}

#[test]
fn operands_may_coincide() {
    for (op, count) in [(Op::Clamp, 3), (Op::InsertBits, 4), (Op::Sub, 2), (Op::Not, 1)] {
        for ty in [ScalarType::U32, ScalarType::I8, ScalarType::U64, ScalarType::I64] {
            let types = &[ty, ty, ty, ty][..count];
            for operands in [[1, 2, 3, 0], [1, 1, 2, 0], [1, 2, 1, 0], [1, 2, 2, 0], [3, 3, 3, 3]] {
                let before = super::tests::operands(&[ty; 5], 3);
                // The result lies between the operands' registers.
                let args = Args { result: place(2), operands: operands.map(|p| place([0, 1, 3, 4][p])) };
                let mut registers = before.clone();
                apply(&mut registers, op, ty, ty, types, &args);
                for lane in 0..WIDTH {
                    let values: Vec<u64> =
                        args.operands[..count].iter().map(|r| bits(&before, *r, ty, lane)).collect();
                    let wanted = eval::scalar(op, ty, ty, &values).unwrap();
                    assert_eq!(bits(&registers, args.result, ty, lane), wanted, "{op:?} {operands:?}");
                }
            }
        }
    }
}
