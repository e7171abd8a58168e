//! Control flow: nested regions with carried values, divergence, loops with every kind of trip count, barriers, traps,
//! and launches of many workgroups.
//!
//! Each invocation of a kernel reads one tuple of words and writes one word. The expectation is a Rust function of the
//! same words, so backends are not compared with each other.

mod broadcast;
mod counted;
mod linear;
mod trap;

use fulgurite_hal::LaunchOptions;
use fulgurite_spec::Type;

use crate::harness::Harness;
use crate::suites::bytes;
use crate::values::{Random, show};

/// A kernel with `%x: read u32[]` and `%out: write u32[]`, and its expected results.
struct Subject {
    name: &'static str,
    /// Declarations after the two buffers, and the body. `%i` is the invocation.
    body: &'static str,
    /// Returns the words of `%x`, given the number of invocations.
    input: fn(&mut Random, usize) -> Vec<u32>,
    /// Returns word `i` of `%out`, given `%x` and `i`.
    expected: fn(&[u32], usize) -> u32,
    /// Number of invocations.
    count: usize,
}

pub(super) fn run(harness: &mut Harness<'_>, progress: &mut dyn FnMut(usize, usize)) {
    let (broadcasts, counted) = (broadcast::subjects(), counted::subjects());
    let all = SUBJECTS.len() + broadcasts.len() + counted.len() + trap::SUBJECTS.len() + linear::COUNT;
    let mut done = 0;
    let mut step = || {
        progress(done, all);
        done += 1;
    };
    for subject in SUBJECTS {
        step();
        check(harness, subject);
    }
    for subject in &broadcasts {
        step();
        broadcast::check(harness, subject);
    }
    for subject in &counted {
        step();
        counted::check(harness, subject);
    }
    for subject in trap::SUBJECTS {
        step();
        trap::check(harness, subject);
    }
    linear::run(harness, &mut step);
    progress(all, all);
}

fn text(subject: &Subject) -> String {
    format!(
        "fulgurite 1\nkernel @control workgroup(64, 1, 1) {{\n  buffer %x: read u32[]\n  buffer %out: write u32[]\n{}\n}}\n",
        subject.body
    )
}

fn check(harness: &mut Harness<'_>, subject: &Subject) {
    let Some(executable) = harness.compile(subject.name, &text(subject)) else { return };
    let mut random = harness.random(subject.name);
    let input = (subject.input)(&mut random, subject.count);
    let buffers = [bytes(&input), vec![0xa5; subject.count * 4]];
    let Some(after) = harness.launch(subject.name, &executable, &buffers, &[], &LaunchOptions::default())
    else {
        return;
    };
    let expected: Vec<u32> = (0..subject.count).map(|i| (subject.expected)(&input, i)).collect();
    harness.elements(subject.name, Type::U32, [&bytes(&expected), &after[1]], |i| {
        let word = input.get(i).copied().unwrap_or_default();
        format!("invocation {i}, %x[{i}] = {}", show(&[u64::from(word), 0, 0, 0], Type::U32))
    });
}

fn words(random: &mut Random, count: usize) -> Vec<u32> {
    (0..count).map(|_| random.word()).collect()
}

fn small(random: &mut Random, count: usize) -> Vec<u32> {
    (0..count).map(|_| random.below(200)).collect()
}

/// Returns end values of counted loops: near 0, near the maximum, and in between.
fn ends(random: &mut Random, count: usize) -> Vec<u32> {
    let bases = [0u32, 1, 100, 0x7fff_ff80, 0x8000_0000, 0xffff_ff00, 0xffff_ffff];
    (0..count).map(|i| bases[i % bases.len()].saturating_add(random.below(150))).collect()
}

static SUBJECTS: &[Subject] = &[
    Subject {
        name: "nested if with carried values",
        body: "  %i = global_id.x
  %v = load %x[%i]
  %b0 = and %v, 1u32
  %c0 = eq %b0, 0u32
  %b1 = and %v, 2u32
  %c1 = eq %b1, 0u32
  %b2 = and %v, 4u32
  %c2 = eq %b2, 0u32
  %r, %s = if %c0 -> u32, u32 {
    %p = if %c1 -> u32 {
      %q = add %v, 10u32
      yield %q
    } else {
      %w = if %c2 -> u32 {
        yield 7u32
      } else {
        yield %v
      }
      yield %w
    }
    yield %p, 1u32
  } else {
    %m = mul %v, 3u32
    if %c2 {
      store %out[%i], 99u32
    }
    yield %m, 2u32
  }
  %t = xor %r, %s
  store %out[%i], %t",
        input: words,
        expected: |x, i| {
            let v = x[i];
            let (r, s) = if v & 1 == 0 {
                (
                    if v & 2 == 0 {
                        v.wrapping_add(10)
                    } else if v & 4 == 0 {
                        7
                    } else {
                        v
                    },
                    1,
                )
            } else {
                (v.wrapping_mul(3), 2)
            };
            r ^ s
        },
        count: 256,
    },
    Subject {
        name: "for u32, step 1, any end",
        body: "  %i = global_id.x
  %end = load %x[%i]
  %start = sub %end, 37u32
  %s = for %j in %start to %end step 1u32 carry(%p = 1u32) {
    %m = mul %p, 31u32
    %a = add %m, %j
    yield %a
  }
  store %out[%i], %s",
        input: ends,
        expected: |x, i| {
            let (end, start) = (x[i], x[i].wrapping_sub(37));
            (start..end).fold(1u32, |p, j| p.wrapping_mul(31).wrapping_add(j))
        },
        count: 210,
    },
    Subject {
        name: "for u32, step 7, up to the greatest number",
        body: "  %i = global_id.x
  %end = load %x[%i]
  %below = lt %end, 150u32
  %near = sub %end, 149u32
  %start = select %below, 0u32, %near
  %s, %n = for %j in %start to %end step 7u32 carry(%p = 1u32, %c = 0u32) {
    %m = mul %p, 31u32
    %a = add %m, %j
    %c1 = add %c, 1u32
    yield %a, %c1
  }
  %r = xor %s, %n
  store %out[%i], %r",
        input: ends,
        expected: |x, i| {
            let end = x[i];
            let start = if end < 150 { 0 } else { end - 149 };
            let steps = (start..end).step_by(7);
            let count = steps.clone().count() as u32;
            steps.fold(1u32, |p, j| p.wrapping_mul(31).wrapping_add(j)) ^ count
        },
        count: 210,
    },
    Subject {
        name: "for i32, counting down by 5",
        body: "  %i = global_id.x
  %w = load %x[%i]
  %start = bitcast %w -> i32
  %end = sub %start, 123i32
  %s = for %j in %start to %end step -5i32 carry(%p = 1i32) {
    %m = mul %p, 31i32
    %a = add %m, %j
    yield %a
  }
  %r = bitcast %s -> u32
  store %out[%i], %r",
        input: ends,
        expected: |x, i| {
            let start = x[i] as i32;
            let end = start.wrapping_sub(123);
            let mut p = 1i32;
            let mut j = i64::from(start);
            while j > i64::from(end) {
                p = p.wrapping_mul(31).wrapping_add(j as i32);
                j -= 5;
            }
            p as u32
        },
        count: 210,
    },
    Subject {
        name: "for with no iterations",
        body: "  %i = global_id.x
  %v = load %x[%i]
  %same = for %j in %v to %v step 1u32 carry(%p = 5u32) {
    yield 6u32
  }
  %back = for %j in %v to 0u32 step 1u32 carry(%p = %same) {
    yield 8u32
  }
  store %out[%i], %back",
        input: words,
        expected: |_, _| 5,
        count: 128,
    },
    Subject {
        name: "carried values change places",
        body: "  %i = global_id.x
  %n = load %x[%i]
  %f, %g, %h = for %j in 0u32 to %n step 1u32 carry(%a = 0u32, %b = 1u32, %c = 2u32) {
    %sum = add %a, %b
    yield %b, %sum, %a
  }
  %r = xor %f, %h
  store %out[%i], %r",
        input: small,
        expected: |x, i| {
            let (f, _, h) = (0..x[i]).fold((0u32, 1u32, 2u32), |(a, b, _), _| (b, a.wrapping_add(b), a));
            f ^ h
        },
        count: 192,
    },
    Subject {
        name: "while: Collatz",
        body: "  %i = global_id.x
  %v = load %x[%i]
  %from = add %v, 1u32
  %last, %steps = while carry(%n = %from, %c = 0u32) {
    %more = gt %n, 1u32
    condition %more
  } do {
    %low = and %n, 1u32
    %even = eq %low, 0u32
    %next = if %even -> u32 {
      %half = shr %n, 1u32
      yield %half
    } else {
      %triple = mul %n, 3u32
      %odd = add %triple, 1u32
      yield %odd
    }
    %c1 = add %c, 1u32
    yield %next, %c1
  }
  %r = add %steps, %last
  store %out[%i], %r",
        input: small,
        expected: |x, i| {
            let (mut n, mut steps) = (x[i] + 1, 0);
            while n > 1 {
                n = if n % 2 == 0 { n / 2 } else { n * 3 + 1 };
                steps += 1;
            }
            steps + n
        },
        count: 200,
    },
    Subject {
        name: "while that leaves early, header with loads",
        body: "  %i = global_id.x
  %n = len %x
  %key = load %x[%i]
  %place = while carry(%p = 0u32) {
    %v = load %x[%p]
    %other = ne %v, %key
    %inside = lt %p, %n
    %go = and %other, %inside
    condition %go
  } do {
    %next = add %p, 1u32
    yield %next
  }
  store %out[%i], %place",
        input: |random, count| (0..count).map(|_| random.below(40)).collect(),
        expected: |x, i| x.iter().position(|v| *v == x[i]).unwrap_or(x.len()) as u32,
        count: 128,
    },
    Subject {
        name: "body of while sees the header's values",
        body: "  %i = global_id.x
  %v = load %x[%i]
  %sum, %left = while carry(%s = 0u32, %n = %v) {
    %digit = rem %n, 10u32
    %go = gt %n, 0u32
    condition %go
  } do {
    %s1 = add %s, %digit
    %n1 = div %n, 10u32
    yield %s1, %n1
  }
  %r = add %sum, %left
  store %out[%i], %r",
        input: words,
        expected: |x, i| {
            let (mut n, mut sum) = (x[i], 0);
            while n > 0 {
                sum += n % 10;
                n /= 10;
            }
            sum
        },
        count: 128,
    },
    Subject {
        name: "nested loops of varying length",
        body: "  %i = global_id.x
  %v = load %x[%i]
  %n = and %v, 15u32
  %t = for %a in 0u32 to %n step 1u32 carry(%p = 0u32) {
    %q = for %b in 0u32 to %a step 1u32 carry(%q0 = %p) {
      %z, %k = while carry(%z0 = %b, %k0 = %q0) {
        %go = gt %z0, 2u32
        condition %go
      } do {
        %z1 = shr %z0, 1u32
        %k1 = add %k0, %z0
        yield %z1, %k1
      }
      %m = mul %k, 3u32
      %m1 = add %m, %z
      yield %m1
    }
    %w = xor %q, %a
    yield %w
  }
  store %out[%i], %t",
        input: words,
        expected: |x, i| {
            let n = x[i] & 15;
            let mut p = 0u32;
            for a in 0..n {
                let mut q = p;
                for b in 0..a {
                    let (mut z, mut k) = (b, q);
                    while z > 2 {
                        k = k.wrapping_add(z);
                        z >>= 1;
                    }
                    q = k.wrapping_mul(3).wrapping_add(z);
                }
                p = q ^ a;
            }
            p
        },
        count: 128,
    },
    Subject {
        name: "divergence, then a barrier",
        body: "  shared %tile: u32[64]
  %i = global_id.x
  %l = local_index
  %v = load %x[%i]
  %n = and %v, 63u32
  %s = for %j in 0u32 to %n step 1u32 carry(%p = %v) {
    %m = mul %p, 5u32
    %a = add %m, 1u32
    yield %a
  }
  store %tile[%l], %s
  barrier
  %next = add %l, 1u32
  %turn = and %next, 63u32
  %other = load %tile[%turn]
  store %out[%i], %other",
        input: words,
        expected: |x, i| {
            let from = i / 64 * 64 + (i + 1) % 64;
            (0..x[from] & 63).fold(x[from], |p, _| p.wrapping_mul(5).wrapping_add(1))
        },
        count: 256,
    },
    Subject {
        name: "barriers inside a uniform loop",
        body: "  shared %tile: u32[64]
  %i = global_id.x
  %l = local_index
  %v = load %x[%i]
  store %tile[%l], %v
  barrier[shared]
  %end = for %round in 0u32 to 6u32 step 1u32 carry(%stride = 32u32) {
    %in = lt %l, %stride
    if %in {
      %far = add %l, %stride
      %a = load %tile[%l]
      %b = load %tile[%far]
      %sum = add %a, %b
      store %tile[%l], %sum
    }
    barrier[shared]
    %half = shr %stride, 1u32
    yield %half
  }
  %total = load %tile[%end]
  store %out[%i], %total",
        input: words,
        expected: |x, i| x[i / 64 * 64..i / 64 * 64 + 64].iter().fold(0, |s, v| s.wrapping_add(*v)),
        count: 256,
    },
    Subject {
        name: "regions amid loops and branches",
        body: "  %i = global_id.x
  %v = load %x[%i]
  %r, %s = region \"outer\" -> u32, u32 {
    %n = and %v, 15u32
    %sum = for %j in 0u32 to %n step 1u32 carry(%p = 0u32) {
      %q = region \"each round, says this name\" -> u32 {
        %odd = and %j, 1u32
        %is = eq %odd, 1u32
        %w = if %is -> u32 {
          %a = region \"\" -> u32 {
            %b = mul %j, 3u32
            yield %b
          }
          yield %a
        } else {
          region \"nothing comes of it\" {
            store %out[%i], 1u32
          }
          yield %j
        }
        yield %w
      }
      %p1 = add %p, %q
      yield %p1
    }
    region \"empty\" {
    }
    yield %sum, %n
  }
  %t = mul %s, 1000u32
  %u = add %t, %r
  store %out[%i], %u",
        input: words,
        expected: |x, i| {
            let n = x[i] & 15;
            n * 1000 + (0..n).map(|j| if j % 2 == 1 { j * 3 } else { j }).sum::<u32>()
        },
        count: 128,
    },
    Subject {
        name: "barriers in regions and uniform branches",
        body: "  shared %tile: u32[64]
  %i = global_id.x
  %l = local_index
  %v = load %x[%i]
  %g = workgroup_id.x
  %odd = and %g, 1u32
  %is = eq %odd, 1u32
  %r = if %is -> u32 {
    %a = region \"odd workgroups\" -> u32 {
      store %tile[%l], %v
      barrier[shared]
      %far = xor %l, 63u32
      %b = load %tile[%far]
      yield %b
    }
    yield %a
  } else {
    %c = mul %v, 3u32
    yield %c
  }
  barrier
  store %tile[%l], %r
  barrier
  %next = xor %l, 1u32
  %s = load %tile[%next]
  store %out[%i], %s",
        input: words,
        expected: |x, i| {
            let of = |i: usize| if i / 64 % 2 == 1 { x[i ^ 63] } else { x[i].wrapping_mul(3) };
            of(i ^ 1)
        },
        count: 256,
    },
    Subject {
        name: "for of 60,000 iterations",
        body: "  %i = global_id.x
  %v = load %x[%i]
  %n = select true, 60000u32, 1u32
  %s = for %j in 0u32 to %n step 1u32 carry(%p = %v) {
    %m = mul %p, 1664525u32
    %a = add %m, 1013904223u32
    yield %a
  }
  store %out[%i], %s",
        input: words,
        expected: |x, i| (0..60_000).fold(x[i], |p, _| p.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)),
        count: 100,
    },
    Subject {
        name: "for of 70,000 iterations, constant bounds",
        body: "  %i = global_id.x
  %v = load %x[%i]
  %s = for %j in 0u32 to 70000u32 step 1u32 carry(%p = %v) {
    %m = mul %p, 1664525u32
    %a = add %m, 1013904223u32
    yield %a
  }
  store %out[%i], %s",
        input: words,
        expected: |x, i| (0..70_000).fold(x[i], |p, _| p.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)),
        count: 100,
    },
    Subject {
        name: "while of 70,000 iterations",
        body: "  %i = global_id.x
  %v = load %x[%i]
  %low = and %v, 1u32
  %n = add %low, 70000u32
  %c, %s = while carry(%c0 = 0u32, %p = %v) {
    %go = lt %c0, %n
    condition %go
  } do {
    %m = mul %p, 1664525u32
    %a = add %m, 1013904223u32
    %c1 = add %c0, 1u32
    yield %c1, %a
  }
  %r = xor %c, %s
  store %out[%i], %r",
        input: words,
        expected: |x, i| {
            let n = 70_000 + (x[i] & 1);
            (0..n).fold(x[i], |p, _| p.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)) ^ n
        },
        count: 100,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_verifies() {
        for subject in SUBJECTS {
            let parsed = fulgurite_ir::text::parse(&text(subject)).and_then(fulgurite_ir::verify);
            assert!(parsed.is_ok(), "{}: {}", subject.name, parsed.unwrap_err());
        }
    }
}
