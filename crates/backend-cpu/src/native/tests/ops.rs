//! Every op that native code supports, on values with a special meaning and random ones, against `spec::eval`.

use fulgurite_spec::accuracy::{Tolerance, tolerance, unit};
use fulgurite_spec::eval;
use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::{OPS, Op, Operand, ScalarType, Semantics, Type};

use super::{Numbers, run, widths};
use crate::tests::{grid, kernel};
use crate::{CpuOptions, machine_code};

/// Bits with a special meaning as integers or floats.
const EDGES: [u32; 36] = [
    0,
    1,
    2,
    3,
    5,
    31,
    32,
    33,
    100,
    0x7fff_ffff,
    0x7fff_fffe,
    0x8000_0000,
    0x8000_0001,
    0xffff_ffff,
    0xffff_fffe,
    0xffff_0000,
    0x0001_0000,
    0x3f80_0000,
    0xbf80_0000,
    0x3f00_0000,
    0x3fc0_0000,
    0xc020_0000,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0xffc0_0001,
    0x7f80_0001,
    0x7f7f_ffff,
    0x0080_0000,
    0x007f_ffff,
    0x4f00_0000,
    0x4eff_ffff,
    0xcf00_0000,
    0x4f80_0000,
    0x4f7f_ffff,
    0xcf00_0001,
];

/// The types that are tried.
const TYPES: [ScalarType; 12] = [
    ScalarType::Bool,
    ScalarType::I8,
    ScalarType::I16,
    ScalarType::I32,
    ScalarType::I64,
    ScalarType::U8,
    ScalarType::U16,
    ScalarType::U32,
    ScalarType::U64,
    ScalarType::F16,
    ScalarType::BF16,
    ScalarType::F32,
];
/// The most operands of an op.
const OPERANDS: usize = 4;

/// Returns all pairs of edges, and some random values.
fn values(seed: u64) -> [Vec<u64>; OPERANDS] {
    let mut numbers = Numbers(seed);
    let mut all: [Vec<u64>; OPERANDS] = Default::default();
    for a in EDGES {
        for b in EDGES {
            let [c, d] = [0; 2].map(|_| EDGES[numbers.next() as usize % EDGES.len()]);
            for (values, low) in all.iter_mut().zip([a, b, c, d]) {
                let high = match numbers.next() % 4 {
                    0 => 0,
                    1 => u32::MAX,
                    2 => low,
                    _ => EDGES[numbers.next() as usize % EDGES.len()],
                };
                values.push(u64::from(high) << 32 | u64::from(low));
            }
        }
    }
    for _ in 0..2000 {
        for values in &mut all {
            let wide = u64::from(numbers.next()) << 32 | u64::from(numbers.next());
            values.push(wide >> (numbers.next() % 64));
        }
    }
    all
}

fn is_nan(ty: ScalarType, bits: u64) -> bool {
    FloatFormat::of(ty).is_some_and(|format| format.is_nan(bits))
}

/// Returns whether a result is within the bound of the op.
fn is_near(op: Op, ty: ScalarType, args: &[u64], found: u64) -> bool {
    let format = FloatFormat::of(ty).unwrap();
    let value = |bits: u64| format.decode(bits);
    let (args, found) = (args.iter().map(|bits| value(*bits)).collect::<Vec<_>>(), value(found));
    let truth = eval::float::truth(op, &args).unwrap();
    match tolerance(op, ty, &args, truth) {
        Tolerance::Any { least, most } => found.is_nan() || (least..=most).contains(&found),
        Tolerance::Within { ulp, absolute } => {
            let room = (ulp * unit(ty, truth)).max(absolute);
            // Results beyond the largest value are rounded to infinity.
            let is_beyond = truth.abs() + room >= value(format.infinity() - 1);
            let is_infinite = found.is_infinite() && is_beyond && found.is_sign_positive() == (truth > 0.0);
            found.is_nan() && truth.is_nan() || found == truth || (found - truth).abs() <= room || is_infinite
        }
    }
}

/// Returns the type of unsigned integers of the width of `ty`.
fn unsigned(ty: ScalarType) -> ScalarType {
    match ty.size() {
        1 => ScalarType::U8,
        2 => ScalarType::U16,
        4 => ScalarType::U32,
        _ => ScalarType::U64,
    }
}

/// Returns the lines that define `%{to}` as the low bits of `%{from}`, a `u64`.
fn narrowed(from: &str, to: &str, ty: ScalarType) -> String {
    match ty {
        ScalarType::Bool => format!("%o{to} = and %{from}, 1u64\n%{to} = ne %o{to}, 0u64\n"),
        ScalarType::U64 => format!("%{to} = xor %{from}, 0u64\n"),
        ScalarType::I64 | ScalarType::F64 => format!("%{to} = bitcast %{from} -> {ty}\n"),
        ScalarType::U8 | ScalarType::U16 | ScalarType::U32 => {
            format!("%{to} = convert %{from} -> {ty}\n")
        }
        ScalarType::I8
        | ScalarType::I16
        | ScalarType::I32
        | ScalarType::F16
        | ScalarType::BF16
        | ScalarType::F32 => {
            let bits = unsigned(ty);
            format!("%o{to} = convert %{from} -> {bits}\n%{to} = bitcast %o{to} -> {ty}\n")
        }
    }
}

/// Returns the lines that define `%{to}` as the bits of `%{from}`, as a `u64`.
fn widened(from: &str, to: &str, ty: ScalarType) -> String {
    let bits = unsigned(ty);
    let convert = |from: &str| match bits {
        ScalarType::U64 => format!("%{to} = xor %{from}, 0u64\n"),
        _ => format!("%{to} = convert %{from} -> u64\n"),
    };
    match ty {
        ScalarType::Bool => format!("%{to} = select %{from}, 1u64, 0u64\n"),
        ScalarType::U8 | ScalarType::U16 | ScalarType::U32 | ScalarType::U64 => convert(from),
        ScalarType::I8
        | ScalarType::I16
        | ScalarType::I32
        | ScalarType::I64
        | ScalarType::F16
        | ScalarType::BF16
        | ScalarType::F32
        | ScalarType::F64 => {
            format!("%w{to} = bitcast %{from} -> {bits}\n{}", convert(&format!("w{to}")))
        }
    }
}

/// Returns the lines of a kernel that applies an op to values of four buffers, the ones at `%i`.
fn application(op: Op, types: &[Type], result: ScalarType, is_uniform: bool) -> String {
    let name = op.info().mnemonic;
    let mut lines = String::new();
    for letter in ["a", "b", "c", "d"] {
        lines += &format!("buffer %{letter}: read u64[]\n");
    }
    lines += "buffer %out: write u64[]\n";
    let index = if is_uniform { "workgroup_id.x" } else { "global_id.x" };
    lines += &format!("%i = {index}\n");
    let mut operands = Vec::new();
    for (letter, ty) in ["a", "b", "c", "d"].into_iter().zip(types) {
        lines += &format!("%l{letter} = load %{letter}[%i]\n");
        lines += &narrowed(&format!("l{letter}"), &format!("v{letter}"), ty.scalar);
        operands.push(format!("%v{letter}"));
    }
    let stated =
        if matches!(op, Op::Convert | Op::Bitcast) { format!(" -> {result}") } else { String::new() };
    lines += &format!("%r = {name} {}{stated}\n", operands.join(", "));
    lines += &widened("r", "s", result);
    lines + "store %out[%i], %s"
}

#[test]
fn every_op_has_the_meaning_of_the_op_table() {
    let inputs = values(7);
    let mut native_ops = 0;
    for row in OPS {
        let Semantics::Scalar { domain, operands: kinds, .. } = row.semantics else { continue };
        let is_of_vectors =
            matches!(row.op, Op::Pack | Op::Unpack | Op::Extract | Op::Insert | Op::Dot | Op::Construct);
        if kinds.len() > OPERANDS || is_of_vectors {
            continue;
        }
        for ty in TYPES.into_iter().filter(|ty| domain.contains(*ty)) {
            for result in TYPES {
                let types: Vec<Type> = kinds
                    .iter()
                    .map(|kind| match kind {
                        Operand::Same | Operand::Element => Type::scalar(ty),
                        Operand::U32 | Operand::U32Lanes => Type::U32,
                        Operand::BoolLanes => Type::BOOL,
                    })
                    .collect();
                let stated = matches!(row.op, Op::Convert | Op::Bitcast).then_some(Type::scalar(result));
                if fulgurite_ir::scalar_result(row.op, &types, stated) != Ok(Type::scalar(result)) {
                    continue;
                }
                for is_uniform in [false, true] {
                    native_ops += check(row.op, ty, &types, result, &inputs, is_uniform);
                }
            }
        }
    }
    let widths = widths().count();
    assert!(native_ops >= 1180 * widths, "only {native_ops} ops are compiled to native code");
}

/// Checks an op in native code of each width that supports it. Returns their number.
fn check(
    op: Op,
    ty: ScalarType,
    types: &[Type],
    result: ScalarType,
    inputs: &[Vec<u64>; OPERANDS],
    is_uniform: bool,
) -> usize {
    let count = inputs[0].len();
    let workgroup = if is_uniform { "1, 1, 1" } else { "64, 1, 1" };
    let kernel = kernel(workgroup, &application(op, types, result, is_uniform));
    let groups = if is_uniform { count as u32 } else { count.div_ceil(64) as u32 };
    let words = |values: &Vec<u64>| values.iter().flat_map(|v| [*v as u32, (v >> 32) as u32]).collect();
    let mut contents: Vec<Vec<u32>> = inputs.iter().map(words).collect();
    contents.push(vec![0; 2 * count]);
    let mut native_ops = 0;
    for native in widths() {
        if machine_code(&kernel, CpuOptions { native }).is_err() {
            continue;
        }
        native_ops += 1;
        let found = &run(native, &kernel, &contents, &[], &grid(groups))[OPERANDS];
        for (at, found) in found.chunks_exact(2).enumerate() {
            let found = u64::from(found[1]) << 32 | u64::from(found[0]);
            let args: Vec<u64> =
                types.iter().zip(inputs).map(|(ty, values)| values[at] & ty.scalar.mask()).collect();
            let wanted = eval::scalar(op, ty, result, &args).unwrap();
            let is_same = match op {
                // Either rounded once or after the product, too.
                Op::Fma => {
                    let step = |op, args: &[u64]| eval::scalar(op, ty, ty, args).unwrap();
                    let sum = step(Op::Add, &[step(Op::Mul, &args[..2]), args[2]]);
                    found == wanted || found == sum || is_nan(ty, found) && is_nan(ty, sum)
                }
                Op::Div | Op::Sqrt if ty.is_float() => is_near(op, ty, &args, found),
                Op::Rsqrt => is_near(op, ty, &args, found),
                op if op.is_transcendental() => is_near(op, ty, &args, found),
                _ => found == wanted,
            };
            assert!(
                is_same || is_nan(result, found) && is_nan(result, wanted),
                "{native:?} {op:?} {ty} {result} {args:x?}: {found:#x}, not {wanted:#x}"
            );
        }
    }
    native_ops
}
