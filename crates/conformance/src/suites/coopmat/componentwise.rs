//! Componentwise ops: arithmetic, selection, splats and conversion.

use fulgurite_hal::LaunchOptions;
use fulgurite_spec::eval::Components;
use fulgurite_spec::{Op, ScalarType, Type};

use super::{bytes, components, shape, tile_number, values, workgroup};
use crate::compare::Case;
use crate::harness::Harness;
use crate::values::{Random, edges, show};

/// Workgroups per launch.
const GROUPS: usize = 2;

pub(super) fn run(harness: &mut Harness<'_>, ty: Type, types: &[Type]) {
    for (op, count) in [(Op::Add, 2), (Op::Sub, 2), (Op::Mul, 2), (Op::Neg, 1), (Op::Div, 2)] {
        if op != Op::Div || ty.scalar.is_float() {
            arithmetic(harness, ty, op, count);
        }
    }
    select(harness, ty);
    fill(harness, ty);
    for to in types.iter().filter(|to| **to != ty && shape(**to).scope == shape(ty).scope) {
        let sides = |ty: Type| (shape(ty).rows, shape(ty).cols);
        if sides(*to) == sides(ty) {
            convert(harness, ty, *to);
        }
    }
}

/// Returns edge values and random values.
fn inputs(random: &mut Random, ty: ScalarType, count: usize) -> Vec<u64> {
    let grid = edges(ty);
    (0..count)
        .map(|_| match random.below(3) {
            0 => grid[random.below(grid.len() as u32) as usize],
            _ => random.value(ty),
        })
        .collect()
}

/// Returns a kernel that loads matrices from `inputs`, runs `body` on `%m0`, `%m1`, … and stores `%r`, a matrix of
/// `result`.
fn text(harness: &Harness<'_>, inputs: &[Type], body: &str, result: Type) -> (String, usize) {
    let (invocations, held) = workgroup(harness, shape(result).scope);
    let mut text = format!("fulgurite 1\nkernel @componentwise workgroup({invocations}, 1, 1) {{\n");
    for (i, ty) in inputs.iter().enumerate() {
        text += &format!("  buffer %x{i}: read {}[]\n", ty.scalar);
    }
    text += &format!("  buffer %out: write {}[]\nPARAMS", result.scalar);
    text += &tile_number(shape(result).scope);
    text += &format!("  %at = mul %t, {}u32\n", components(result));
    for (i, ty) in inputs.iter().enumerate() {
        text += &format!("  %m{i} = coop.load[row_major] %x{i}[%at], {}u32 -> {ty}\n", shape(*ty).cols);
    }
    text += body;
    text += &format!("  coop.store[row_major] %out[%at], {}u32, %r\n}}\n", shape(result).cols);
    (text, GROUPS * held as usize * components(result))
}

/// Counts each tile as a case, which passes if every component is the result of `op` on those of `operands`.
fn judge(
    harness: &mut Harness<'_>,
    group: &str,
    (op, main, result): (Op, Type, Type),
    operands: &[Vec<u64>],
    actual: &[u64],
) {
    let kept = harness.kept_subnormals();
    let tile = components(result);
    for first in (0..actual.len()).step_by(tile) {
        let wrong = (first..first + tile).find_map(|at| {
            let operands: Vec<Components> = operands.iter().map(|o| [o[at], 0, 0, 0]).collect();
            let (main, result) = (main.element(), result.element());
            let case = Case { op, main, result, operands: &operands, kept };
            let fine = !case.is_decided() || case.judge(&[actual[at], 0, 0, 0]).accepted;
            (!fine).then(|| {
                let shown: Vec<String> = operands.iter().map(|v| show(v, main)).collect();
                let expected = case.expected().map_or_else(String::new, |v| show(&v, result));
                [shown.join(", "), expected, show(&[actual[at], 0, 0, 0], result)]
            })
        });
        harness.case(group, wrong.is_none(), || wrong.unwrap_or_default());
    }
}

fn arithmetic(harness: &mut Harness<'_>, ty: Type, op: Op, count: usize) {
    let group = format!("{} {ty}", op.mnemonic());
    let operands: Vec<String> = (0..count).map(|i| format!("%m{i}")).collect();
    let body = format!("  %r = {} {}\n", op.mnemonic(), operands.join(", "));
    let (text, length) = text(harness, &vec![ty; count], &body, ty);
    let Some(executable) = harness.compile(&group, &text.replace("PARAMS", "")) else { return };
    let mut random = harness.random(&group);
    for _ in 0..harness.random_count(4) {
        let operands: Vec<Vec<u64>> = (0..count).map(|_| inputs(&mut random, ty.scalar, length)).collect();
        let mut contents: Vec<Vec<u8>> = operands.iter().map(|o| bytes(ty.scalar, o)).collect();
        contents.push(vec![0xa5; length * ty.scalar.size() as usize]);
        let options = LaunchOptions::workgroups([GROUPS as u32, 1, 1]);
        let Some(after) = harness.launch(&group, &executable, &contents, &[], &options) else { return };
        judge(harness, &group, (op, ty, ty), &operands, &values(ty.scalar, &after[count]));
    }
}

/// Selects a matrix by a condition that is uniform in the scope of the matrix.
fn select(harness: &mut Harness<'_>, ty: Type) {
    let group = format!("select {ty}");
    let body = "  %low = and %t, 1u32\n  %c = eq %low, %which\n  %r = select %c, %m0, %m1\n";
    let (text, length) = text(harness, &[ty, ty], body, ty);
    let text = text.replace("PARAMS", "  param %which: u32\n");
    let Some(executable) = harness.compile(&group, &text) else { return };
    let mut random = harness.random(&group);
    for which in 0..2 {
        // Values that no device may change when moving them.
        let operands: Vec<Vec<u64>> =
            (0..2).map(|_| (0..length).map(|_| super::component(&mut random, ty.scalar)).collect()).collect();
        let mut contents: Vec<Vec<u8>> = operands.iter().map(|o| bytes(ty.scalar, o)).collect();
        contents.push(vec![0xa5; length * ty.scalar.size() as usize]);
        let options = LaunchOptions::workgroups([GROUPS as u32, 1, 1]);
        let params = [[which as u64, 0, 0, 0]];
        let Some(after) = harness.launch(&group, &executable, &contents, &params, &options) else { return };
        let found = values(ty.scalar, &after[2]);
        for (t, tile) in found.chunks_exact(components(ty)).enumerate() {
            let chosen = &operands[usize::from(t % 2 != which)];
            let expected = &chosen[t * components(ty)..(t + 1) * components(ty)];
            harness.case(&group, tile == expected, || {
                let at = tile.iter().zip(expected).position(|(a, e)| a != e).unwrap_or_default();
                let [expected, actual] = [expected[at], tile[at]].map(|bits| super::show(ty.scalar, bits));
                [format!("tile {t}, condition {}, component {at}", t % 2 == which), expected, actual]
            });
        }
    }
}

fn fill(harness: &mut Harness<'_>, ty: Type) {
    let group = format!("coop.fill {ty}");
    let (text, length) = text(harness, &[], &format!("  %r = coop.fill %v -> {ty}\n"), ty);
    let text = text.replace("PARAMS", &format!("  param %v: {}\n", ty.scalar));
    let Some(executable) = harness.compile(&group, &text) else { return };
    let mut random = harness.random(&group);
    let kept = harness.kept_subnormals();
    for value in inputs(&mut random, ty.scalar, harness.random_count(12)) {
        let poison = vec![0xa5; length * ty.scalar.size() as usize];
        let options = LaunchOptions::workgroups([GROUPS as u32, 1, 1]);
        let params = [[value, 0, 0, 0]];
        let Some(after) = harness.launch(&group, &executable, &[poison], &params, &options) else { return };
        let found = values(ty.scalar, &after[0]);
        let wrong = found.iter().find(|bits| !crate::compare::moved(ty.scalar, value, **bits, kept));
        harness.case(&group, wrong.is_none(), || {
            let [input, actual] =
                [value, wrong.copied().unwrap_or_default()].map(|b| super::show(ty.scalar, b));
            [input.clone(), input, actual]
        });
    }
}

fn convert(harness: &mut Harness<'_>, from: Type, to: Type) {
    let group = format!("coop.convert {from} to {to}");
    let body = format!("  %r = coop.convert %m0 -> {to}\n");
    let (text, length) = text(harness, &[from], &body, to);
    let Some(executable) = harness.compile(&group, &text.replace("PARAMS", "")) else { return };
    let mut random = harness.random(&group);
    let operand = inputs(&mut random, from.scalar, length);
    let contents = [bytes(from.scalar, &operand), vec![0xa5; length * to.scalar.size() as usize]];
    let options = LaunchOptions::workgroups([GROUPS as u32, 1, 1]);
    let Some(after) = harness.launch(&group, &executable, &contents, &[], &options) else { return };
    let found = values(to.scalar, &after[1]);
    if from.scalar != to.scalar {
        judge(harness, &group, (Op::Convert, from, to), &[operand], &found);
        return;
    }
    // Only the role changes.
    let kept = harness.kept_subnormals();
    for (t, (expected, actual)) in
        operand.chunks_exact(components(to)).zip(found.chunks_exact(components(to))).enumerate()
    {
        let wrong =
            (0..expected.len()).find(|i| !crate::compare::moved(to.scalar, expected[*i], actual[*i], kept));
        harness.case(&group, wrong.is_none(), || {
            let at = wrong.unwrap_or_default();
            let [expected, actual] = [expected[at], actual[at]].map(|b| super::show(to.scalar, b));
            [format!("tile {t}, component {at}"), expected, actual]
        });
    }
}
