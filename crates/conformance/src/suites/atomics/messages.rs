//! Memory order: plain stores before a release are visible after the acquire that reads it.
//!
//! The schedule is unspecified, so each reader has two allowed results; only sums over all invocations have a single
//! one.

use fulgurite_hal::LaunchOptions;
use fulgurite_ir::SyncScope;
use fulgurite_spec::Type;

use crate::harness::Harness;
use crate::suites::bytes;

/// Result of a reader that saw no message.
const NOTHING: u32 = 0xffff_ffff;
/// Number of workgroups, of 64 invocations each.
const GROUPS: usize = 16;

/// A way to publish a message and to detect it.
struct Way {
    name: &'static str,
    /// Scope of the order.
    scope: SyncScope,
    /// Text before the store of the flag, and the attributes of the store.
    publish: (&'static str, &'static str),
    /// Attributes of the load of the flag, and the text after it.
    notice: (&'static str, &'static str),
    /// A read-modify-write op that both publishes and detects, with the text before and after it.
    both: &'static str,
}

const WAYS: [Way; 5] = [
    Way {
        name: "atomics of the workgroup",
        scope: SyncScope::Workgroup,
        publish: ("", "[release, workgroup]"),
        notice: ("[acquire, workgroup]", ""),
        both: "[acquire_release, workgroup]",
    },
    Way {
        name: "atomics of the device",
        scope: SyncScope::Device,
        publish: ("", "[release, device]"),
        notice: ("[acquire, device]", ""),
        both: "[acquire_release, device]",
    },
    Way {
        name: "fences of the workgroup",
        scope: SyncScope::Workgroup,
        publish: ("fence[release, workgroup]", "[workgroup]"),
        notice: ("[workgroup]", "fence[acquire, workgroup]"),
        both: "[workgroup]",
    },
    Way {
        name: "fences of the device",
        scope: SyncScope::Device,
        publish: ("fence[release]", "[device]"),
        notice: ("[device]", "fence[acquire]"),
        both: "[device]",
    },
    Way {
        name: "full fences",
        scope: SyncScope::Device,
        publish: ("fence", "[device]"),
        notice: ("[device]", "fence"),
        both: "[device]",
    },
];

/// Location of data and flags, and the workgroup whose message a reader reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Shared,
    Buffer,
    OtherWorkgroup,
}

const PLACES: [(Place, &str); 3] = [
    (Place::Shared, "shared memory"),
    (Place::Buffer, "a buffer"),
    (Place::OtherWorkgroup, "a buffer, between workgroups"),
];

/// Progress steps of `run`.
pub(super) const COUNT: usize = PLACES.len() * WAYS.len() * 2;

pub(super) fn run(harness: &mut Harness<'_>, step: &mut dyn FnMut()) {
    for (place, place_name) in PLACES {
        for way in &WAYS {
            // An order of workgroup scope does not apply to other workgroups.
            if place == Place::OtherWorkgroup && way.scope == SyncScope::Workgroup {
                step();
                step();
                continue;
            }
            step();
            messages(harness, place, place_name, way);
            step();
            last_one_sums(harness, place, place_name, way);
        }
    }
}

/// The first 32 invocations of a workgroup publish one word each; the others poll a limited number of times for one
/// each.
fn messages(harness: &mut Harness<'_>, place: Place, place_name: &str, way: &Way) {
    let group = format!("message passing in {place_name} by {}", way.name);
    let (declarations, memory) = match place {
        Place::Shared => ("  shared %mem: u32[64]\n", "%mem"),
        _ => ("", "%cells"),
    };
    let base = if place == Place::Shared { "0u32" } else { "%start" };
    let from = match place {
        Place::Shared => "  %from = add 0u32, 0u32\n",
        Place::Buffer => "  %from = add %start, 0u32\n",
        Place::OtherWorkgroup => "  %from = xor %start, 64u32\n",
    };
    let (before, stored, loaded, after) = (way.publish.0, way.publish.1, way.notice.0, way.notice.1);
    let text = format!(
        "fulgurite 1
kernel @messages workgroup(64, 1, 1) {{
  buffer %x: read u32[]
  buffer %cells: read_write u32[]
  buffer %out: write u32[]
{declarations}  %i = global_id.x
  %l = local_index
  %g = workgroup_id.x
  %start = mul %g, 64u32
{from}  %v = load %x[%i]
  %writes = lt %l, 32u32
  if %writes {{
    %at = add {base}, %l
    %flag = add %at, 32u32
    store {memory}[%at], %v
    {before}
    atomic.store{stored} {memory}[%flag], 1u32
  }} else {{
    %flag = add %from, %l
    %at = sub %flag, 32u32
    %seen, %tries = while carry(%s = 0u32, %n = 0u32) {{
      %not = eq %s, 0u32
      %few = lt %n, 200u32
      %go = and %not, %few
      condition %go
    }} do {{
      %s1 = atomic.load{loaded} {memory}[%flag]
      %n1 = add %n, 1u32
      yield %s1, %n1
    }}
    {after}
    %got = ne %seen, 0u32
    %r = if %got -> u32 {{
      %message = load {memory}[%at]
      yield %message
    }} else {{
      yield {NOTHING}u32
    }}
    store %out[%i], %r
  }}
}}
"
    );
    let Some(executable) = harness.compile(&group, &text) else { return };
    let mut random = harness.random(&group);
    let count = GROUPS * 64;
    for round in 0..harness.random_count(2) {
        let input: Vec<u32> = (0..count).map(|_| random.word() | 1).collect();
        let contents = [bytes(&input), vec![0; count * 4], vec![0xa5; count * 4]];
        let options = LaunchOptions::workgroups([GROUPS as u32, 1, 1]);
        let Some(after) = harness.launch(&group, &executable, &contents, &[], &options) else { return };
        let out: Vec<u32> =
            after[2].chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect();
        for i in (0..count).filter(|i| i % 64 >= 32) {
            let writer = if place == Place::OtherWorkgroup { (i - 32) ^ 64 } else { i - 32 };
            let message = input[writer];
            let passed = out[i] == message || out[i] == NOTHING;
            harness.case(&group, passed, || {
                let wanted = format!("{message:#x}, or {NOTHING:#x} for no message yet");
                [format!("round {round}, reader {i}"), wanted, format!("{:#x}", out[i])]
            });
        }
    }
}

/// Every invocation stores its word and increments a counter; the invocation that increments it last sums all words.
fn last_one_sums(harness: &mut Harness<'_>, place: Place, place_name: &str, way: &Way) {
    let group = format!("the last one sums in {place_name} by {}", way.name);
    let (declarations, memory) = match place {
        Place::Shared => ("  shared %mem: u32[65]\n", "%mem"),
        _ => ("", "%cells"),
    };
    // Start of the words, index of the counter, and number of words.
    let (start, counter, all) = match place {
        Place::Shared => ("add 0u32, 0u32".to_owned(), "add 0u32, 64u32".to_owned(), 64),
        Place::Buffer => ("mul %g, 65u32".to_owned(), "add %start, 64u32".to_owned(), 64),
        Place::OtherWorkgroup => {
            ("add 0u32, 0u32".to_owned(), format!("add 0u32, {}u32", GROUPS * 64), GROUPS * 64)
        }
    };
    let own = if place == Place::OtherWorkgroup { "%i" } else { "%l" };
    let attributes = way.both;
    let (before, after) = (way.publish.0, way.notice.1);
    let text = format!(
        "fulgurite 1
kernel @last workgroup(64, 1, 1) {{
  buffer %x: read u32[]
  buffer %cells: read_write u32[]
  buffer %out: write u32[]
{declarations}  %i = global_id.x
  %l = local_index
  %g = workgroup_id.x
  %start = {start}
  %counter = {counter}
  %v = load %x[%i]
  %at = add %start, {own}
  store {memory}[%at], %v
  {before}
  %before = atomic.add{attributes} {memory}[%counter], 1u32
  {after}
  %last = eq %before, {}u32
  if %last {{
    %sum = for %j in 0u32 to {all}u32 step 1u32 carry(%s = 0u32) {{
      %from = add %start, %j
      %w = load {memory}[%from]
      %t = mul %s, 31u32
      %s1 = add %t, %w
      yield %s1
    }}
    %to = div %i, {all}u32
    store %out[%to], %sum
  }}
}}
",
        all - 1
    );
    let Some(executable) = harness.compile(&group, &text) else { return };
    let mut random = harness.random(&group);
    let count = GROUPS * 64;
    for round in 0..harness.random_count(8) {
        let input: Vec<u32> = (0..count).map(|_| random.word()).collect();
        let contents = [bytes(&input), vec![0; GROUPS * 65 * 4], vec![0xa5; count / all * 4]];
        let options = LaunchOptions::workgroups([GROUPS as u32, 1, 1]);
        let Some(after) = harness.launch(&group, &executable, &contents, &[], &options) else { return };
        let sum = |set: &[u32]| set.iter().fold(0u32, |s, w| s.wrapping_mul(31).wrapping_add(*w));
        let expected: Vec<u32> = input.chunks(all).map(sum).collect();
        harness.elements(&group, Type::U32, [&bytes(&expected), &after[2]], |i| {
            format!("round {round}, set {i}")
        });
    }
}
