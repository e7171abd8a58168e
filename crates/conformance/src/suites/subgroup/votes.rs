//! Votes, ballots and matches, and the ids of subgroups.

use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::{Op, ScalarType, Type};

use super::{Layout, normal};
use crate::harness::Harness;
use crate::suites::bytes;
use crate::values::{encode, show};

/// Returns 128 bits as four words, the low one first.
fn words(bits: u128) -> [u32; 4] {
    core::array::from_fn(|word| (bits >> (32 * word)) as u32)
}

fn set(lanes: impl Iterator<Item = bool>) -> u128 {
    lanes.enumerate().fold(0, |bits, (lane, holds)| bits | u128::from(holds) << lane)
}

fn read(bytes: &[u8], word: usize, count: usize) -> Vec<u32> {
    let bytes = &bytes[word * 4..(word + count) * 4];
    bytes.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()
}

/// The ops, the text that computes each result from `%b` as `u32` or `u32x4`, and the number of words of the result.
const OPS: [(Op, &str, usize); 10] = [
    (Op::SubgroupBallot, "subgroup.ballot %b", 4),
    (Op::SubgroupBallotCount, "subgroup.ballot_count %b", 1),
    (Op::SubgroupAny, "subgroup.any %b", 1),
    (Op::SubgroupAll, "subgroup.all %b", 1),
    (Op::SubgroupElect, "subgroup.elect", 1),
    (Op::LaneMaskLt, "lane_mask_lt", 4),
    (Op::Lane, "lane", 1),
    (Op::SubgroupId, "subgroup_id", 1),
    (Op::SubgroupSize, "subgroup_size", 1),
    (Op::NumSubgroups, "num_subgroups", 1),
];

fn expected(op: Op, layout: &Layout, truth: &[bool], i: usize) -> Vec<u32> {
    let own = &truth[layout.lanes(i)];
    let lane = layout.lane(i);
    match op {
        Op::SubgroupBallot => words(set(own.iter().copied())).to_vec(),
        Op::SubgroupBallotCount => vec![own.iter().filter(|b| **b).count() as u32],
        Op::SubgroupAny => vec![u32::from(own.contains(&true))],
        Op::SubgroupAll => vec![u32::from(!own.contains(&false))],
        Op::SubgroupElect => vec![u32::from(lane == 0)],
        Op::LaneMaskLt => words((1u128 << lane) - 1).to_vec(),
        Op::Lane => vec![lane as u32],
        Op::SubgroupId => vec![layout.subgroup(i) as u32],
        Op::SubgroupSize => vec![layout.size as u32],
        _ => vec![layout.subgroups() as u32],
    }
}

/// Votes on several kinds of booleans, one kind per workgroup, and subgroup ids.
pub(super) fn run(harness: &mut Harness<'_>, layout: &Layout) {
    let groups: Vec<String> = OPS.iter().map(|(op, ..)| op.mnemonic().to_owned()).collect();
    let all: usize = OPS.iter().map(|(.., words)| words).sum();
    let mut body = format!("  %to = mul %i, {all}u32\n  %w = load %x[%i]\n  %b = ne %w, 0u32\n");
    let mut word = 0;
    for (k, (op, text, count)) in OPS.iter().enumerate() {
        body += &format!("  %r{k} = {text}\n");
        let is_bool = matches!(op, Op::SubgroupAny | Op::SubgroupAll | Op::SubgroupElect);
        for c in 0..*count {
            body += &match (is_bool, count) {
                (true, _) => format!("  %v{word} = convert %r{k} -> u32\n"),
                (_, 4) => format!("  %v{word} = extract %r{k}, {c}u32\n"),
                _ => format!("  %v{word} = or %r{k}, 0u32\n"),
            };
            body += &format!("  %o{word} = add %to, {word}u32\n  store %out[%o{word}], %v{word}\n");
            word += 1;
        }
    }
    let text = layout.text("  buffer %x: read u32[]\n  buffer %out: write u32[]\n", &body);
    let Some(executable) = harness.compile_groups(&groups, &text) else { return };
    let mut random = harness.random(&format!("votes {:?}", layout.workgroup));
    let chosen: Vec<u32> = (0..layout.groups).map(|_| random.below(layout.count() as u32)).collect();
    let truth: Vec<bool> = (0..layout.all())
        .map(|i| {
            let is_chosen = layout.local(i) as u32 == chosen[i / layout.count()];
            match i / layout.count() {
                0 => true,
                1 => false,
                2 => is_chosen,
                3 => !is_chosen,
                4 => random.below(8) == 0,
                _ => random.below(2) == 0,
            }
        })
        .collect();
    // Any nonzero word is true.
    let input: Vec<u32> = truth.iter().map(|b| if *b { random.word() | 1 } else { 0 }).collect();
    let contents = [bytes(&input), vec![0xa5; layout.all() * all * 4]];
    let Some(after) = harness.launch(&groups[0], &executable, &contents, &[], &layout.options()) else {
        return;
    };
    for i in 0..layout.all() {
        let mut word = i * all;
        for ((op, _, count), group) in OPS.iter().zip(&groups) {
            let actual = read(&after[1], word, *count);
            word += count;
            if harness.wants(group) {
                let wanted = expected(*op, layout, &truth, i);
                harness.case(group, wanted == actual, || {
                    let lanes = words(set(truth[layout.lanes(i)].iter().copied()));
                    let input = format!("{}, true in {lanes:x?}", layout.name(i));
                    [input, format!("{wanted:x?}"), format!("{actual:x?}")]
                });
            }
        }
    }
}

/// `subgroup.match` on values with duplicates. NaNs and subnormals are left out because their bits may change.
pub(super) fn matches(harness: &mut Harness<'_>, layout: &Layout, scalar: ScalarType) {
    let group = format!("subgroup.match {scalar}");
    let body = "  %v = load %x[%i]\n  %r = subgroup.match %v\n  store %out[%i], %r\n";
    let declarations = format!("  buffer %x: read {scalar}[]\n  buffer %out: write u32x4[]\n");
    let Some(executable) = harness.compile(&group, &layout.text(&declarations, body)) else { return };
    let mut random = harness.random(&format!("{group} {:?}", layout.workgroup));
    // Few distinct values, more, all equal, all distinct as far as the type allows; of floats also both zeros.
    let palette: Vec<u64> = (0..5)
        .map(|k| match (FloatFormat::of(scalar), k) {
            (Some(format), 0) => format.sign_bit(),
            (_, 1) => 0,
            (Some(format), _) => normal(format, format.encode(f64::from(random.word() % 999) - 500.0)),
            (None, _) => random.next() & scalar.mask(),
        })
        .collect();
    let values: Vec<u64> = (0..layout.all())
        .map(|i| match i / layout.count() % super::GROUPS {
            0 => super::pick(&mut random, &palette[..2]),
            1 => super::pick(&mut random, &palette),
            2 => palette[2],
            _ => FloatFormat::of(scalar).map_or(layout.local(i) as u64, |f| f.encode(layout.local(i) as f64)),
        })
        .collect();
    let ty = Type::scalar(scalar);
    let components: Vec<_> = values.iter().map(|v| [*v, 0, 0, 0]).collect();
    let contents = [encode(ty, components.iter()), vec![0xa5; layout.all() * 16]];
    let Some(after) = harness.launch(&group, &executable, &contents, &[], &layout.options()) else { return };
    for i in 0..layout.all() {
        let wanted = words(set(layout.lanes(i).map(|lane| values[lane] == values[i])));
        let actual = read(&after[1], i * 4, 4);
        harness.case(&group, wanted[..] == actual[..], || {
            let shown: Vec<String> = layout.lanes(i).map(|lane| show(&components[lane], ty)).collect();
            let input = format!("{}: {}", layout.name(i), shown.join(", "));
            [input, format!("{wanted:x?}"), format!("{actual:x?}")]
        });
    }
}
