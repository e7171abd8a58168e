//! `vec.shuffle` on every type: selects components of two vectors for a third one.

use fulgurite_hal::LaunchOptions;
use fulgurite_spec::eval::{self, Components};
use fulgurite_spec::{Lanes, ScalarType, Type};

use crate::compare::moved;
use crate::harness::Harness;
use crate::values::{Random, edges, encode, memory_type, show};

/// Pairs of vectors per kernel.
const PAIRS: usize = 48;
/// Random patterns for each number of results.
const PATTERNS: usize = 12;

pub(super) fn subjects() -> Vec<Type> {
    ScalarType::ALL
        .into_iter()
        .flat_map(|s| Lanes::ALL[1..].iter().map(move |l| Type::vector(s, *l)))
        .collect()
}

/// Returns position patterns: all pairs for two-component vectors, characteristic ones, and random ones.
fn patterns(random: &mut Random, lanes: u32) -> Vec<Vec<u32>> {
    let all = 2 * lanes;
    let mut patterns: Vec<Vec<u32>> = Vec::new();
    if lanes == 2 {
        patterns.extend((0..all * all).map(|k| vec![k / all, k % all]));
    }
    patterns.push((0..lanes).collect());
    patterns.push((lanes..all).collect());
    patterns.push((0..lanes).rev().collect());
    patterns.push((0..lanes).map(|k| if k % 2 == 0 { k } else { lanes + k }).collect());
    patterns.extend((2..=4).map(|count| vec![all - 1; count]));
    for count in 2..=4 {
        patterns.extend((0..PATTERNS).map(|_| (0..count).map(|_| random.below(all)).collect::<Vec<u32>>()));
    }
    patterns.sort_unstable();
    patterns.dedup();
    // Sort by the number of results, which determines the output buffer.
    patterns.sort_by_key(Vec::len);
    patterns
}

pub(super) fn check(harness: &mut Harness<'_>, ty: Type) {
    let group = format!("vec.shuffle {ty}");
    let mut random = harness.random(&group);
    let patterns = patterns(&mut random, ty.lanes.count());
    let of_length = |n: usize| patterns.iter().filter(move |p| p.len() == n).count();
    let stored = memory_type(ty);
    let of_lanes = |n: usize| stored.with_lanes(Lanes::from_count(n as u32).unwrap_or(Lanes::Four));
    let is_bool = ty.scalar == ScalarType::Bool;
    let mut text = format!(
        "fulgurite 1\nkernel @shuffles workgroup(64, 1, 1) {{\n  buffer %x: read {stored}[]\n  buffer %y: read {stored}[]\n"
    );
    for n in 2..=4 {
        text += &format!("  buffer %out{n}: write {}[]\n", of_lanes(n));
    }
    text += "  %i = global_id.x\n  %w0 = load %x[%i]\n  %w1 = load %y[%i]\n";
    for k in 0..2 {
        text += &if is_bool {
            format!("  %v{k} = convert %w{k} -> {ty}\n")
        } else {
            format!(
                "  %v{k} = vec.shuffle[{}] %w{k}, %w{k}\n",
                list(&(0..ty.lanes.count()).collect::<Vec<_>>())
            )
        };
    }
    for n in 2..=4 {
        text += &format!("  %base{n} = mul %i, {}u32\n", of_length(n));
    }
    let mut number = [0; 5];
    for (k, pattern) in patterns.iter().enumerate() {
        let n = pattern.len();
        text += &format!("  %r{k} = vec.shuffle[{}] %v0, %v1\n", list(pattern));
        let result = if is_bool {
            text += &format!("  %c{k} = convert %r{k} -> {}\n", of_lanes(n));
            format!("%c{k}")
        } else {
            format!("%r{k}")
        };
        let place = number[n];
        text += &format!("  %at{k} = add %base{n}, {place}u32\n  store %out{n}[%at{k}], {result}\n");
        number[n] += 1;
    }
    text += "}\n";
    let Some(executable) = harness.compile(&group, &text) else { return };
    let grid = edges(ty.scalar);
    let mut value = |_: usize| {
        let mut value: Components = [0; 4];
        for component in value.iter_mut().take(ty.lanes.count() as usize) {
            *component = match ty.scalar {
                ScalarType::Bool => random.next() & 1,
                _ if random.below(3) == 0 => grid[random.below(grid.len() as u32) as usize],
                scalar => random.value(scalar),
            };
        }
        value
    };
    let x: Vec<Components> = (0..PAIRS).map(&mut value).collect();
    let y: Vec<Components> = (0..PAIRS).map(&mut value).collect();
    let poison = |n: usize| vec![0xa5; PAIRS * of_length(n) * of_lanes(n).size() as usize];
    let contents = [encode(ty, x.iter()), encode(ty, y.iter()), poison(2), poison(3), poison(4)];
    let options = LaunchOptions::invocations([PAIRS as u32, 1, 1]);
    let Some(after) = harness.launch(&group, &executable, &contents, &[], &options) else { return };
    let kept = harness.kept_subnormals();
    for (a, (x, y)) in x.iter().zip(&y).enumerate() {
        let mut number = [0; 5];
        for pattern in &patterns {
            let (n, result) = (pattern.len(), of_lanes(pattern.len()));
            let size = result.size() as usize;
            let start = (a * of_length(n) + number[n]) * size;
            number[n] += 1;
            let actual = eval::read_bytes(&after[n][start..start + size], result);
            let lanes = ty.lanes.count() as usize;
            let mut expected = [0; 4];
            for (to, from) in expected.iter_mut().zip(pattern) {
                let from = *from as usize;
                *to = if from < lanes { x[from] } else { y[from - lanes] };
            }
            let passed = expected
                .iter()
                .zip(actual)
                .all(|(e, a)| if ty.scalar.is_float() { moved(ty.scalar, *e, a, kept) } else { *e == a });
            harness.case(&group, passed, || {
                let input = format!("[{}] of {} and {}", list(pattern), show(x, stored), show(y, stored));
                [input, show(&expected, result), show(&actual, result)]
            });
        }
    }
}

fn list(positions: &[u32]) -> String {
    positions.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}
