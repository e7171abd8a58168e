//! `workgroup_broadcast` of every type, from invocations in and out of range, in loops.

use fulgurite_hal::LaunchOptions;
use fulgurite_spec::eval::{self, Components};
use fulgurite_spec::{Lanes, ScalarType, Type};

use crate::compare::moved;
use crate::harness::Harness;
use crate::suites::bytes;
use crate::values::{edges, encode, memory_type, show};

/// Workgroups per launch, and broadcasts per invocation.
const GROUPS: usize = 4;
const ROUNDS: usize = 6;

pub(super) struct Subject {
    ty: Type,
    workgroup: [u32; 3],
}

/// Every type on one workgroup shape, and one type on all shapes.
pub(super) fn subjects() -> Vec<Subject> {
    let shapes = [[24, 1, 1], [100, 1, 1], [5, 3, 2], [64, 1, 1], [7, 7, 1]];
    let types = ScalarType::ALL.into_iter().flat_map(|s| Lanes::ALL.map(|l| Type::vector(s, l)));
    let every = types.enumerate().map(|(k, ty)| Subject { ty, workgroup: shapes[k % shapes.len()] });
    let more = [[1, 1, 1], [128, 1, 1], [2, 1, 1], [8, 4, 1]];
    every.chain(more.map(|workgroup| Subject { ty: Type::U32, workgroup })).collect()
}

pub(super) fn check(harness: &mut Harness<'_>, subject: &Subject) {
    let Subject { ty, workgroup: [x, y, z] } = *subject;
    let group = format!("workgroup_broadcast {ty}");
    let (count, stored) = ((x * y * z) as usize, memory_type(ty));
    let (widen, value, narrow, result) = match ty.scalar {
        ScalarType::Bool => (
            format!("    %b = convert %w -> {ty}\n"),
            "%b",
            format!("    %c = convert %r -> {stored}\n"),
            "%c",
        ),
        _ => (String::new(), "%w", String::new(), "%r"),
    };
    let text = format!(
        "fulgurite 1
kernel @broadcast workgroup({x}, {y}, {z}) {{
  buffer %x: read {stored}[]
  buffer %whose: read u32[]
  buffer %out: write {stored}[]
  %l = local_index
  %g = workgroup_id.x
  %base = mul %g, {count}u32
  %i = add %base, %l
  %row = mul %i, {ROUNDS}u32
  %from = mul %g, {ROUNDS}u32
  for %j in 0u32 to {ROUNDS}u32 step 1u32 {{
    %at = add %row, %j
    %w = load %x[%at]
{widen}    %k = add %from, %j
    %index = load %whose[%k]
    %r = workgroup_broadcast {value}, %index
{narrow}    store %out[%at], {result}
  }}
}}
"
    );
    let Some(executable) = harness.compile(&group, &text) else { return };
    let mut random = harness.random(&format!("{group} {:?}", subject.workgroup));
    let grid = edges(ty.scalar);
    let all = GROUPS * count;
    let values: Vec<Components> = (0..all * ROUNDS)
        .map(|_| {
            let mut value = [0; 4];
            for component in value.iter_mut().take(ty.lanes.count() as usize) {
                *component = match ty.scalar {
                    ScalarType::Bool => random.next() & 1,
                    _ if random.below(4) == 0 => grid[random.below(grid.len() as u32) as usize],
                    scalar => random.value(scalar),
                };
            }
            value
        })
        .collect();
    let whose: Vec<u32> = (0..GROUPS * ROUNDS)
        .map(|k| match k {
            2 => count as u32,
            7 => u32::MAX,
            9 => count as u32 - 1,
            11 => 0,
            16 => count as u32 + random.below(64),
            _ => random.below(count as u32),
        })
        .collect();
    let size = stored.size() as usize;
    let contents = [encode(ty, values.iter()), bytes(&whose), vec![0xa5; values.len() * size]];
    let options = LaunchOptions::workgroups([GROUPS as u32, 1, 1]);
    let Some(after) = harness.launch(&group, &executable, &contents, &[], &options) else { return };
    let kept = harness.kept_subnormals();
    let is_float = ty.scalar.is_float();
    for (k, word) in after[2].chunks_exact(size).enumerate() {
        let (i, round) = (k / ROUNDS, k % ROUNDS);
        let index = whose[i / count * ROUNDS + round] as usize;
        let source = (index < count).then(|| (i / count * count + index) * ROUNDS + round);
        let expected = source.map_or([0; 4], |source| values[source]);
        let actual = eval::read_bytes(word, stored);
        let passed = (0..ty.lanes.count() as usize).all(|c| {
            let (e, a) = (expected[c], actual[c]);
            if is_float { moved(ty.scalar, e, a, kept) } else { e == a }
        });
        harness.case(&group, passed, || {
            let place = format!("workgroup {} of {:?}", i / count, subject.workgroup);
            let input = format!("{place}, invocation {}, round {round}, of {index}", i % count);
            [input, show(&expected, stored), show(&actual, stored)]
        });
    }
}
