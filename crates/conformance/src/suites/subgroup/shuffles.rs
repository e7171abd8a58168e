//! Broadcasts and shuffles, with operands from memory and as literals. Lanes that do not exist give the invocation's
//! own value.

use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::eval::{self, Components};
use fulgurite_spec::{Op, ScalarType, Type, TypeSet};

use super::Layout;
use crate::compare::moved;
use crate::harness::Harness;
use crate::suites::bytes;
use crate::values::{Random, edges, encode, memory_type, show};

/// In the order of the kernel's outputs. The operand of the first is uniform.
const OPS: [Op; 5] = [
    Op::SubgroupBroadcast,
    Op::SubgroupShuffle,
    Op::SubgroupShuffleXor,
    Op::SubgroupShuffleUp,
    Op::SubgroupShuffleDown,
];

/// Literal operands: 7 is the last lane of many subgroups, and exceeds smaller ones.
const LITERALS: [u32; 3] = [0, 1, 7];

/// Returns the lane that `lane` of `count` reads from.
fn source(op: Op, lane: usize, count: usize, operand: u32) -> usize {
    let operand = operand as usize;
    let wanted = match op {
        Op::SubgroupShuffleXor => Some(lane ^ operand),
        Op::SubgroupShuffleUp => lane.checked_sub(operand),
        Op::SubgroupShuffleDown => Some(lane + operand),
        _ => Some(operand),
    };
    wanted.filter(|w| *w < count).unwrap_or(lane)
}

/// Returns a lane, mask or distance: mostly one that leads to an existing lane, some at the limits, some far out of
/// range.
fn operand(random: &mut Random, layout: &Layout, i: usize) -> u32 {
    let (count, size) = (layout.lanes(i).len() as u32, layout.size as u32);
    match random.below(12) {
        0 => count,
        1 => count - 1,
        2 => size,
        3 => size - 1,
        4 => [0x7fff_ffff, 0x8000_0000, u32::MAX, 128, 64][random.below(5) as usize],
        5 => 0,
        6 => 1,
        7 => random.below(2 * size),
        _ => random.below(count),
    }
}

pub(super) fn run(harness: &mut Harness<'_>, layout: &Layout, ty: Type) {
    let mut groups: Vec<String> = OPS.iter().map(|op| format!("{} {ty}", op.mnemonic())).collect();
    groups.extend(OPS.iter().map(|op| format!("{} {ty} with literals", op.mnemonic())));
    let stored = memory_type(ty);
    let outs = OPS.len() * (1 + LITERALS.len());
    let is_bool = ty.scalar == ScalarType::Bool;
    let mut body = format!("  %row = mul %i, 4u32\n  %to = mul %i, {outs}u32\n  %w = load %x[%i]\n");
    body += &if is_bool { format!("  %v = convert %w -> {ty}\n") } else { String::new() };
    let value = if is_bool { "%v" } else { "%w" };
    body += "  %p0 = load %shared_operand[%g]\n";
    for k in 1..OPS.len() {
        body += &format!("  %a{k} = add %row, {}u32\n  %p{k} = load %operand[%a{k}]\n", k - 1);
    }
    let mut number = 0;
    for (k, op) in OPS.iter().enumerate() {
        let operands =
            std::iter::once(format!("%p{k}")).chain(LITERALS.iter().map(|literal| format!("{literal}u32")));
        for operand in operands {
            body += &format!("  %r{number} = {} {value}, {operand}\n", op.mnemonic());
            let mut result = format!("%r{number}");
            if is_bool {
                body += &format!("  %c{number} = convert {result} -> {stored}\n");
                result = format!("%c{number}");
            }
            body += &format!("  %o{number} = add %to, {number}u32\n  store %out[%o{number}], {result}\n");
            number += 1;
        }
    }
    let declarations = format!(
        "  buffer %x: read {stored}[]\n  buffer %shared_operand: read u32[]\n  buffer %operand: read u32[]\n  buffer %out: write {stored}[]\n"
    );
    let Some(executable) = harness.compile_groups(&groups, &layout.text(&declarations, &body)) else {
        return;
    };
    let mut random = harness.random(&format!("subgroup shuffles {ty} {:?}", layout.workgroup));
    let values: Vec<Components> = (0..layout.all()).map(|i| self::value(&mut random, i, ty)).collect();
    let common: Vec<u32> =
        (0..layout.groups).map(|g| operand(&mut random, layout, g * layout.count())).collect();
    let own: Vec<u32> = (0..layout.all() * 4).map(|k| operand(&mut random, layout, k / 4)).collect();
    let size = stored.size() as usize;
    let poison = vec![0xa5; layout.all() * outs * size];
    let contents = [encode(ty, values.iter()), bytes(&common), bytes(&own), poison];
    let Some(after) = harness.launch(&groups[0], &executable, &contents, &[], &layout.options()) else {
        return;
    };
    let kept = harness.kept_subnormals().union(TypeSet::of(ScalarType::Bool));
    for i in 0..layout.all() {
        for number in 0..outs {
            let (k, which) = (number / (1 + LITERALS.len()), number % (1 + LITERALS.len()));
            let (group, operand) = match (which, k) {
                (0, 0) => (&groups[k], common[i / layout.count()]),
                (0, _) => (&groups[k], own[i * 4 + k - 1]),
                _ => (&groups[OPS.len() + k], LITERALS[which - 1]),
            };
            if !harness.wants(group) {
                continue;
            }
            let lanes = layout.lanes(i);
            let from = lanes.start + source(OPS[k], layout.lane(i), lanes.len(), operand);
            let start = (i * outs + number) * size;
            let actual = eval::read_bytes(&after[3][start..start + size], stored);
            let expected = values[from];
            let passed = (0..ty.lanes.count() as usize).all(|c| {
                let plain = !ty.scalar.is_float();
                if plain { expected[c] == actual[c] } else { moved(ty.scalar, expected[c], actual[c], kept) }
            });
            harness.case(group, passed, || {
                let input = format!("{}, own {}, operand {operand}", layout.name(i), show(&values[i], ty));
                [input, show(&expected, stored), show(&actual, stored)]
            });
        }
    }
}

/// Returns edge values and random values that differ between neighbors.
fn value(random: &mut Random, i: usize, ty: Type) -> Components {
    let mut value = [0; 4];
    for component in value.iter_mut().take(ty.lanes.count() as usize) {
        *component = match ty.scalar {
            ScalarType::Bool => random.next() & 1,
            scalar if i.is_multiple_of(3) => super::pick(random, &edges(scalar)),
            scalar => {
                let bits = random.next() & scalar.mask();
                FloatFormat::of(scalar).map_or(bits, |format| super::normal(format, bits))
            }
        };
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_lanes_give_the_own_value() {
        assert_eq!(source(Op::SubgroupShuffle, 3, 8, 5), 5);
        assert_eq!(source(Op::SubgroupShuffle, 3, 8, 8), 3);
        assert_eq!(source(Op::SubgroupShuffleUp, 3, 8, 2), 1);
        assert_eq!(source(Op::SubgroupShuffleUp, 3, 8, 4), 3);
        assert_eq!(source(Op::SubgroupShuffleDown, 3, 8, 4), 7);
        assert_eq!(source(Op::SubgroupShuffleDown, 3, 8, u32::MAX), 3);
        assert_eq!(source(Op::SubgroupShuffleXor, 3, 4, 4), 3);
        assert_eq!(source(Op::SubgroupBroadcast, 3, 4, 0), 0);
    }
}
