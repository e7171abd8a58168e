//! Subgroup ops under control flow: after divergence of their lanes, and in branches that are uniform within a subgroup
//! but not across subgroups.
//!
//! Each invocation of a kernel reads one word and writes one. The expectation is a Rust function of the words of its
//! subgroup.

use fulgurite_spec::Type;

use super::Layout;
use crate::harness::Harness;
use crate::suites::bytes;

/// Workgroups per launch.
const GROUPS: usize = 6;

/// Workgroup shapes.
const SHAPES: [[u32; 3]; 6] = [[12, 1, 1], [40, 1, 1], [64, 1, 1], [8, 4, 1], [7, 7, 1], [128, 1, 1]];

/// A kernel with `%x: read u32[]` and `%out: read_write u32[]`, and its expected results.
pub(super) struct Subject {
    name: &'static str,
    /// Declarations after the two buffers. `COUNT` is the number of invocations.
    declarations: &'static str,
    /// `%i` is the invocation, `%l` its index in the workgroup, `%lane` its index in the subgroup, `%v` its word.
    body: &'static str,
    /// Returns the result of invocation `i`.
    expected: fn(&Layout, &[u32], usize) -> u32,
}

pub(super) fn check(harness: &mut Harness<'_>, subject: &Subject) {
    for shape in SHAPES {
        let layout = Layout::new(harness, shape, GROUPS);
        let Some(executable) = harness.compile(subject.name, &text(subject, &layout)) else { return };
        let mut random = harness.random(&format!("{} {shape:?}", subject.name));
        // Small numbers, zeros, mostly zeros so that few lanes are active, and arbitrary words.
        let input: Vec<u32> = (0..layout.all())
            .map(|i| match i / layout.count() {
                0 | 1 => random.below(200),
                2 => 0,
                3 => random.below(9).saturating_sub(6) * random.below(50),
                _ => random.word(),
            })
            .collect();
        let contents = [bytes(&input), vec![0xa5; layout.all() * 4]];
        let Some(after) = harness.launch(subject.name, &executable, &contents, &[], &layout.options()) else {
            return;
        };
        let expected: Vec<u32> = (0..layout.all()).map(|i| (subject.expected)(&layout, &input, i)).collect();
        harness.elements(subject.name, Type::U32, [&bytes(&expected), &after[1]], |i| {
            format!("{}: {:?}", layout.name(i), &input[layout.lanes(i)])
        });
    }
}

fn text(subject: &Subject, layout: &Layout) -> String {
    let declarations =
        format!("  buffer %x: read u32[]\n  buffer %out: read_write u32[]\n{}", subject.declarations);
    let count = layout.count().to_string();
    let body = format!("  %lane = lane\n  %v = load %x[%i]\n{}", subject.body);
    layout.text(&declarations, &body).replace("COUNT", &count)
}

/// Applies a function to each lane's word in the subgroup of `i`.
fn lanes<T>(layout: &Layout, x: &[u32], i: usize, of: impl Fn(u32) -> T) -> Vec<T> {
    layout.lanes(i).map(|lane| of(x[lane])).collect()
}

fn sum(values: &[u32]) -> u32 {
    values.iter().fold(0, |sum, v| sum.wrapping_add(*v))
}

/// Returns the invocation in lane `lane ^ 1`, or `i` if there is none.
fn neighbor(layout: &Layout, i: usize) -> usize {
    let lanes = layout.lanes(i);
    let other = lanes.start + (layout.lane(i) ^ 1);
    if lanes.contains(&other) { other } else { i }
}

pub(super) const SUBJECTS: &[Subject] = &[
    Subject {
        name: "after a divergent if",
        declarations: "",
        body: "  %low = and %v, 1u32
  %odd = eq %low, 1u32
  %w = if %odd -> u32 {
    %a = mul %v, 3u32
    yield %a
  } else {
    %b = add %v, 7u32
    yield %b
  }
  %s = subgroup.reduce[add] %w
  %here = subgroup.ballot_count true
  %t = mul %here, 1000u32
  %r = add %s, %t
  store %out[%i], %r
",
        expected: |layout, x, i| {
            let all = lanes(layout, x, i, |v| if v & 1 == 1 { v.wrapping_mul(3) } else { v.wrapping_add(7) });
            sum(&all).wrapping_add(all.len() as u32 * 1000)
        },
    },
    Subject {
        name: "after a divergent if that stores",
        declarations: "",
        body: "  %first = eq %lane, 0u32
  if %first {
    store %out[%i], 5u32
  } else {
    %odd = and %v, 1u32
    %is = eq %odd, 1u32
    if %is {
      store %out[%i], 6u32
    }
  }
  %all = subgroup.ballot true
  %bits = popcount %all
  %b0 = extract %bits, 0u32
  %b1 = extract %bits, 1u32
  %b2 = extract %bits, 2u32
  %b3 = extract %bits, 3u32
  %s0 = add %b0, %b1
  %s1 = add %b2, %b3
  %n = add %s0, %s1
  store %out[%i], %n
",
        expected: |layout, _, i| layout.lanes(i).len() as u32,
    },
    Subject {
        name: "after a divergent for",
        declarations: "",
        body: "  %n = and %v, 31u32
  %w = for %j in 0u32 to %n step 1u32 carry(%p = %v) {
    %m = mul %p, 5u32
    %a = add %m, %j
    yield %a
  }
  %s = subgroup.inclusive_scan[add] %w
  store %out[%i], %s
",
        expected: |layout, x, i| {
            let own = |v: u32| (0..v & 31).fold(v, |p, j| p.wrapping_mul(5).wrapping_add(j));
            sum(&lanes(layout, x, i, own)[..=layout.lane(i)])
        },
    },
    Subject {
        name: "after a divergent while in a divergent if",
        declarations: "",
        body: "  %bit = and %v, 4u32
  %enter = eq %bit, 0u32
  %w = if %enter -> u32 {
    %small = and %v, 63u32
    %last, %steps = while carry(%n = %small, %c = 0u32) {
      %go = gt %n, 2u32
      condition %go
    } do {
      %odd = and %n, 1u32
      %is = eq %odd, 1u32
      %next = if %is -> u32 {
        %down = sub %n, 3u32
        yield %down
      } else {
        %half = shr %n, 1u32
        yield %half
      }
      %c1 = add %c, 1u32
      yield %next, %c1
    }
    %t = mul %steps, 8u32
    %u = add %t, %last
    yield %u
  } else {
    yield 1u32
  }
  %other = subgroup.shuffle_xor %w, 1u32
  %most = subgroup.reduce[max] %w
  %m = mul %most, 65536u32
  %r = add %m, %other
  store %out[%i], %r
",
        expected: |layout, x, i| {
            let own = |v: u32| {
                if v & 4 != 0 {
                    return 1;
                }
                let (mut n, mut steps) = (v & 63, 0);
                while n > 2 {
                    n = if n & 1 == 1 { n - 3 } else { n / 2 };
                    steps += 1;
                }
                steps * 8 + n
            };
            let most = lanes(layout, x, i, own).into_iter().max().unwrap_or(0);
            most.wrapping_mul(65536).wrapping_add(own(x[neighbor(layout, i)]))
        },
    },
    Subject {
        name: "in an if on the subgroup's number",
        declarations: "",
        body: "  %sg = subgroup_id
  %low = and %sg, 1u32
  %even = eq %low, 0u32
  %r = if %even -> u32 {
    %a = subgroup.reduce[max] %v
    yield %a
  } else {
    %b = subgroup.exclusive_scan[add] %v
    yield %b
  }
  store %out[%i], %r
",
        expected: |layout, x, i| {
            let all = lanes(layout, x, i, |v| v);
            if layout.subgroup(i) & 1 == 0 {
                all.into_iter().max().unwrap_or(0)
            } else {
                sum(&all[..layout.lane(i)])
            }
        },
    },
    Subject {
        name: "in an if on a vote",
        declarations: "",
        body: "  %few = lt %v, 5u32
  %any = subgroup.any %few
  %r = if %any -> u32 {
    %n = subgroup.ballot_count %few
    %w = select %few, %v, 0u32
    %s = subgroup.reduce[add] %w
    %m = mul %n, 1000u32
    %t = add %m, %s
    yield %t
  } else {
    %least = subgroup.reduce[min] %v
    yield %least
  }
  store %out[%i], %r
",
        expected: |layout, x, i| {
            let all = lanes(layout, x, i, |v| v);
            let few: Vec<u32> = all.iter().copied().filter(|v| *v < 5).collect();
            if few.is_empty() {
                all.into_iter().min().unwrap_or(0)
            } else {
                few.len() as u32 * 1000 + sum(&few)
            }
        },
    },
    Subject {
        name: "in a for with the subgroup's own count",
        declarations: "",
        body: "  %few = and %v, 7u32
  %n = subgroup.reduce[max] %few
  %r = for %j in 0u32 to %n step 1u32 carry(%s = 1u32) {
    %t = add %v, %j
    %m = subgroup.shuffle_xor %t, 1u32
    %k = mul %s, 31u32
    %s1 = add %k, %m
    yield %s1
  }
  store %out[%i], %r
",
        expected: |layout, x, i| {
            let n = lanes(layout, x, i, |v| v & 7).into_iter().max().unwrap_or(0);
            let other = x[neighbor(layout, i)];
            (0..n).fold(1, |s: u32, j| s.wrapping_mul(31).wrapping_add(other.wrapping_add(j)))
        },
    },
    Subject {
        name: "in a while until no lane is left",
        declarations: "",
        body: "  %few = and %v, 15u32
  %rest, %seen = while carry(%n = %few, %s = 0u32) {
    %has = gt %n, 0u32
    %go = subgroup.any %has
    condition %go
  } do {
    %k = subgroup.ballot_count %has
    %down = sub %n, 1u32
    %n1 = select %has, %down, 0u32
    %t = mul %s, 3u32
    %s1 = add %t, %k
    yield %n1, %s1
  }
  %r = add %seen, %rest
  store %out[%i], %r
",
        expected: |layout, x, i| {
            let mut rest = lanes(layout, x, i, |v| v & 15);
            let mut seen = 0u32;
            while rest.iter().any(|n| *n > 0) {
                seen = seen.wrapping_mul(3).wrapping_add(rest.iter().filter(|n| **n > 0).count() as u32);
                rest.iter_mut().for_each(|n| *n = n.saturating_sub(1));
            }
            seen
        },
    },
    Subject {
        name: "between divergent ifs in a loop",
        declarations: "",
        body: "  %r = for %j in 0u32 to 6u32 step 1u32 carry(%a = %v) {
    %w = shr %v, %j
    %low = and %w, 1u32
    %is = eq %low, 1u32
    %b = if %is -> u32 {
      %m = mul %j, 5u32
      %c = add %a, %m
      yield %c
    } else {
      yield %a
    }
    %all = subgroup.reduce[xor] %b
    %d = add %b, %all
    yield %d
  }
  store %out[%i], %r
",
        expected: |layout, x, i| {
            let words = lanes(layout, x, i, |v| v);
            let mut all = words.clone();
            for j in 0..6 {
                for (a, v) in all.iter_mut().zip(&words) {
                    *a = if v >> j & 1 == 1 { a.wrapping_add(j * 5) } else { *a };
                }
                let together = all.iter().fold(0, |t, a| t ^ a);
                all.iter_mut().for_each(|a| *a = a.wrapping_add(together));
            }
            all[layout.lane(i)]
        },
    },
    Subject {
        name: "in nested loops that subgroups leave at different times",
        declarations: "",
        body: "  %sg = subgroup_id
  %n = add %sg, 2u32
  %r = for %j in 0u32 to %n step 1u32 carry(%a = 0u32) {
    %few = and %v, 3u32
    %m = subgroup.reduce[max] %few
    %b = for %k in 0u32 to %m step 1u32 carry(%c = %a) {
      %inside = le %k, %few
      %d = if %inside -> u32 {
        %e = add %c, 1u32
        yield %e
      } else {
        yield %c
      }
      %f = subgroup.inclusive_scan[max] %d
      yield %f
    }
    %s = subgroup.reduce[add] %b
    %t = add %s, %j
    yield %t
  }
  store %out[%i], %r
",
        expected: |layout, x, i| {
            let few = lanes(layout, x, i, |v| v & 3);
            let most = few.iter().copied().max().unwrap_or(0);
            let mut all = vec![0u32; few.len()];
            for j in 0..layout.subgroup(i) as u32 + 2 {
                for k in 0..most {
                    let mut before = 0;
                    for (c, own) in all.iter_mut().zip(&few) {
                        before = before.max(c.wrapping_add(u32::from(k <= *own)));
                        *c = before;
                    }
                }
                let total = sum(&all).wrapping_add(j);
                all.fill(total);
            }
            all[layout.lane(i)]
        },
    },
    Subject {
        name: "subgroup_barrier, shared memory",
        declarations: "  shared %t: u32[COUNT]\n",
        body: "  store %t[%l], %v
  subgroup_barrier[shared]
  %flip = xor %lane, 1u32
  %away = sub %flip, %lane
  %at = add %l, %away
  %there = subgroup.shuffle_xor %l, 1u32
  %alone = eq %there, %l
  %from = select %alone, %l, %at
  %w = load %t[%from]
  %m = mul %w, 3u32
  subgroup_barrier[shared]
  store %t[%l], %m
  subgroup_barrier[shared]
  %u = load %t[%from]
  %r = add %u, %w
  store %out[%i], %r
",
        expected: |layout, x, i| x[i].wrapping_mul(3).wrapping_add(x[neighbor(layout, i)]),
    },
    Subject {
        name: "subgroup_barrier, buffers",
        declarations: "",
        body: "  store %out[%i], %v
  subgroup_barrier[buffers]
  %from = subgroup.shuffle_down %i, 1u32
  %w = load %out[%from]
  subgroup_barrier[buffers]
  %m = mul %w, 3u32
  %r = add %m, %v
  store %out[%i], %r
",
        expected: |layout, x, i| {
            let next = if layout.lanes(i).end == i + 1 { i } else { i + 1 };
            x[next].wrapping_mul(3).wrapping_add(x[i])
        },
    },
    Subject {
        name: "elected lanes count the subgroups",
        declarations: "  shared %n: u32[1]\n",
        body: "  %odd = and %v, 1u32
  %is = eq %odd, 1u32
  %w = if %is -> u32 {
    %d = div %v, 3u32
    yield %d
  } else {
    yield 0u32
  }
  %e = subgroup.elect
  if %e {
    atomic.add %n[0u32], 1u32
  }
  barrier[shared]
  %all = load %n[0u32]
  %up = mul %w, 64u32
  %r = add %up, %all
  store %out[%i], %r
",
        expected: |layout, x, i| {
            let w = if x[i] & 1 == 1 { x[i] / 3 } else { 0 };
            w.wrapping_mul(64).wrapping_add(layout.subgroups() as u32)
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_verifies() {
        for subject in SUBJECTS {
            for workgroup in SHAPES {
                let text = text(subject, &Layout { workgroup, groups: GROUPS, size: 32 });
                let parsed = fulgurite_ir::text::parse(&text).and_then(fulgurite_ir::verify);
                assert!(parsed.is_ok(), "{}: {}", subject.name, parsed.unwrap_err());
            }
        }
    }
}
