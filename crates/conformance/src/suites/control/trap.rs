//! `trap`: the launch returns the code and the invocation; later launches are not affected.

use fulgurite_hal::{DeviceError, Error, LaunchOptions};
use fulgurite_spec::Type;

use crate::harness::Harness;
use crate::suites::bytes;

/// Number of invocations, in workgroups of 64.
const COUNT: usize = 256;

/// A kernel that reads a word per invocation and traps in some of them.
pub(super) struct Subject {
    name: &'static str,
    /// `%i` is the invocation, `%v` its word.
    body: &'static str,
    /// Returns the first code with which invocation `i` traps, if any, given its index and word.
    code: fn(u32, u32) -> Option<u32>,
}

pub(super) const SUBJECTS: &[Subject] = &[
    Subject {
        name: "trap in an if",
        body: "  %bad = gt %v, 1000u32
  if %bad {
    trap %v
  }
",
        code: |_, v| (v > 1000).then_some(v),
    },
    Subject {
        name: "trap with a literal code of zero",
        body: "  %bad = gt %v, 1000u32
  if %bad {
    trap 0u32
  }
",
        code: |_, v| (v > 1000).then_some(0),
    },
    Subject {
        name: "trap with the largest code",
        body: "  %bad = gt %v, 1000u32
  if %bad {
    trap 4294967295u32
  }
",
        code: |_, v| (v > 1000).then_some(u32::MAX),
    },
    Subject {
        name: "trap in a loop in a region",
        body: "  %n = and %v, 15u32
  region \"rounds\" {
    for %j in 0u32 to %n step 1u32 {
      %ninth = eq %j, 9u32
      %bad = gt %v, 1000u32
      %both = and %ninth, %bad
      if %both {
        %code = add %i, 5000u32
        trap %code
      }
    }
  }
",
        code: |i, v| (v > 1000 && v & 15 > 9).then_some(i + 5000),
    },
    Subject {
        name: "the first of an invocation's traps",
        body: "  %bad = gt %v, 1000u32
  if %bad {
    trap 11u32
    trap 12u32
  }
  %odd = and %v, 1u32
  %is = eq %odd, 1u32
  %both = and %bad, %is
  if %both {
    trap 13u32
  }
",
        code: |_, v| (v > 1000).then_some(11),
    },
    Subject {
        name: "trap before a barrier",
        body: "  %bad = gt %v, 1000u32
  if %bad {
    trap %i
  }
  barrier
",
        code: |i, v| (v > 1000).then_some(i),
    },
];

pub(super) fn check(harness: &mut Harness<'_>, subject: &Subject) {
    let text = format!(
        "fulgurite 1
kernel @trap workgroup(64, 1, 1) {{
  buffer %x: read u32[]
  buffer %out: write u32[]
  %i = global_id.x
  %v = load %x[%i]
{}  %w = add %v, 1u32
  store %out[%i], %w
}}
",
        subject.body
    );
    let group = subject.name;
    let Some(executable) = harness.compile(group, &text) else { return };
    let mut random = harness.random(group);
    // No invocation traps, one, some, all, and none again after each.
    for round in 0..harness.random_count(12) {
        let one = random.below(COUNT as u32) as usize;
        let input: Vec<u32> = (0..COUNT)
            .map(|i| {
                let traps = match round % 6 {
                    1 => i == one,
                    3 => random.below(16) == 0 || i == one,
                    5 => true,
                    _ => false,
                };
                // Words that make the invocation trap in every kernel.
                if traps { random.word() | 0x10_000f } else { random.below(1000) }
            })
            .collect();
        let contents = [bytes(&input), vec![0xa5; COUNT * 4]];
        let result = harness.try_launch(&executable, &contents, &[], &LaunchOptions::default());
        let codes: Vec<Option<u32>> = input.iter().zip(0..).map(|(v, i)| (subject.code)(i, *v)).collect();
        let trapping = codes.iter().filter(|c| c.is_some()).count();
        match result {
            Ok(after) if trapping == 0 => {
                let expected: Vec<u32> = input.iter().map(|v| v + 1).collect();
                harness.elements(group, Type::U32, [&bytes(&expected), &after[1]], |i| {
                    format!("round {round}, no invocation traps, invocation {i}")
                });
            }
            Err(error @ Error::Unsupported(_)) => return harness.error(group, "", error),
            result => {
                let who = match &result {
                    Err(Error::Device(DeviceError::Trap { code, invocation })) => Some((*invocation, *code)),
                    _ => None,
                };
                let passed = who.is_some_and(|(i, code)| codes.get(i as usize) == Some(&Some(code)));
                harness.case(group, passed, || {
                    let shown = codes.iter().enumerate().filter_map(|(i, c)| c.map(|c| (i, c)));
                    let some: Vec<_> = shown.take(8).collect();
                    let expected = format!("one of (invocation, code): {some:?} …");
                    let actual = result.map_or_else(|e| e.to_string(), |_| "no error".to_owned());
                    [format!("round {round}, {trapping} trap"), expected, actual]
                });
            }
        }
    }
}
