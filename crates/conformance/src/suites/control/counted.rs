//! `for` over every integer type: steps of both signs and of maximum size, from and to the limits of the type.

use fulgurite_hal::LaunchOptions;
use fulgurite_spec::eval;
use fulgurite_spec::{Literal, Op, ScalarType, Type};

use crate::harness::Harness;
use crate::values::{Random, edges};

/// Maximum number of iterations of a loop.
const MOST_TRIPS: i128 = 260;
/// Pairs of bounds per kernel.
const PAIRS: usize = 320;

pub(super) struct Subject {
    scalar: ScalarType,
    step: Literal,
}

pub(super) fn subjects() -> Vec<Subject> {
    let integers = ScalarType::ALL.into_iter().filter(|s| s.is_integer());
    integers.flat_map(|scalar| steps(scalar).into_iter().map(move |step| Subject { scalar, step })).collect()
}

fn steps(scalar: ScalarType) -> Vec<Literal> {
    let most = if scalar.is_signed() { scalar.mask() >> 1 } else { scalar.mask() };
    let mut bits = vec![1, 7, most];
    if scalar.is_signed() {
        bits.extend([scalar.mask(), scalar.mask() - 4, most + 1]);
    }
    bits.into_iter().map(|b| Literal::new(scalar, b)).collect()
}

/// Returns the number that the bits of an integer type represent.
fn number(scalar: ScalarType, bits: u64) -> i128 {
    let wide = i128::from(bits);
    if scalar.is_signed() && bits > scalar.mask() >> 1 { wide - (1i128 << scalar.bits()) } else { wide }
}

fn trips(subject: &Subject, start: u64, end: u64) -> i128 {
    let [a, b, step] = [start, end, subject.step.bits].map(|bits| number(subject.scalar, bits));
    let distance = if step > 0 { b - a } else { a - b };
    if distance <= 0 { 0 } else { (distance + step.abs() - 1) / step.abs() }
}

fn pairs(subject: &Subject, random: &mut Random) -> Vec<[u64; 2]> {
    let (scalar, grid) = (subject.scalar, edges(subject.scalar));
    let fits = |[a, b]: &[u64; 2]| trips(subject, *a, *b) <= MOST_TRIPS;
    let mut all: Vec<[u64; 2]> =
        grid.iter().flat_map(|a| grid.iter().map(|b| [*a, *b])).filter(fits).collect();
    // The grid has more pairs than needed: keep a random subset.
    while all.len() > PAIRS / 2 {
        all.swap_remove(random.below(all.len() as u32) as usize);
    }
    while all.len() < PAIRS {
        let start = if random.next() & 1 == 0 {
            grid[random.below(grid.len() as u32) as usize]
        } else {
            random.next() & scalar.mask()
        };
        // Up to 199 steps from the start plus an offset below 9, possibly wrapped around.
        let whole = u64::from(random.below(200)).wrapping_mul(subject.step.bits);
        let end = start.wrapping_add(whole).wrapping_add(random.next() % 9) & scalar.mask();
        if fits(&[start, end]) {
            all.push([start, end]);
        }
    }
    all
}

pub(super) fn check(harness: &mut Harness<'_>, subject: &Subject) {
    let (scalar, step) = (subject.scalar, subject.step);
    let group = format!("for {scalar} step {step}");
    let text = format!(
        "fulgurite 1
kernel @counted workgroup(64, 1, 1) {{
  buffer %start: read {scalar}[]
  buffer %end: read {scalar}[]
  buffer %hash: write {scalar}[]
  buffer %count: write u32[]
  %i = global_id.x
  %a = load %start[%i]
  %b = load %end[%i]
  %one = convert 1u32 -> {scalar}
  %m = convert 31u32 -> {scalar}
  %h, %n = for %j in %a to %b step {step} carry(%p = %one, %c = 0u32) {{
    %q = mul %p, %m
    %r = add %q, %j
    %d = add %c, 1u32
    yield %r, %d
  }}
  store %hash[%i], %h
  store %count[%i], %n
}}
"
    );
    let Some(executable) = harness.compile(&group, &text) else { return };
    let mut random = harness.random(&group);
    let pairs = pairs(subject, &mut random);
    let ty = Type::scalar(scalar);
    let size = ty.size() as usize;
    let encoded = |which: usize| -> Vec<u8> {
        pairs.iter().flat_map(|p| p[which].to_le_bytes().into_iter().take(size)).collect()
    };
    let contents = [encoded(0), encoded(1), vec![0xa5; PAIRS * size], vec![0xa5; PAIRS * 4]];
    let options = LaunchOptions::invocations([PAIRS as u32, 1, 1]);
    let Some(after) = harness.launch(&group, &executable, &contents, &[], &options) else { return };
    let apply = |op: Op, a: u64, b: u64| eval::scalar(op, scalar, scalar, &[a, b]).unwrap_or_default();
    for (k, pair) in pairs.iter().enumerate() {
        let count = trips(subject, pair[0], pair[1]);
        let (mut hash, mut counter) = (1, pair[0]);
        for _ in 0..count {
            hash = apply(Op::Add, apply(Op::Mul, hash, 31), counter);
            counter = apply(Op::Add, counter, step.bits);
        }
        let actual = eval::read_bytes(&after[2][k * size..(k + 1) * size], ty)[0];
        let actual_count = eval::read_bytes(&after[3][k * 4..k * 4 + 4], Type::U32)[0];
        let passed = hash == actual && count == i128::from(actual_count);
        harness.case(&group, passed, || {
            let [from, to] = pair.map(|bits| Literal::new(scalar, bits).to_string());
            let shown = |count: i128, hash: u64| format!("{count} iterations, hash {hash:#x}");
            let actual = shown(i128::from(actual_count), actual);
            [format!("from {from} to {to}"), shown(count, hash), actual]
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trips_are_counted_without_wrapping() {
        let of = |scalar, step| Subject { scalar, step: Literal::new(scalar, step) };
        assert_eq!(trips(&of(ScalarType::U8, 255), 0, 255), 1);
        assert_eq!(trips(&of(ScalarType::I8, 0x80), 0x7f, 0x80), 2);
        assert_eq!(trips(&of(ScalarType::I8, 1), 0x80, 0x7f), 255);
        assert_eq!(trips(&of(ScalarType::I64, u64::MAX), 3, 9), 0);
    }
}
