//! Memory: bounds, element types, zeroed arrays, lengths, parameters, views, and invalid launches.

mod huge;
mod parts;
mod views;
mod wide;

use fulgurite_hal::{Binding, Error, Launch, LaunchOptions};
use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::eval::{self, Components};
use fulgurite_spec::{Code, Type};

use crate::harness::Harness;
use crate::suites::bytes;
use crate::values::Random;

/// Elements of the indexed memory.
const LENGTH: u32 = 37;
/// Accesses per kernel.
const ACCESSES: usize = 160;

type Part = fn(&mut Harness<'_>, Type);

pub(super) fn run(harness: &mut Harness<'_>, progress: &mut dyn FnMut(usize, usize)) {
    let types: Vec<Type> = Type::all().filter(|t| t.is_storable()).collect();
    let parts: [Part; 5] = [loads, stores, zeroed, parameters, parts::run];
    let (pairs, wide, huge) = (views::pairs(harness), wide::types(), huge::places(harness));
    let all = types.len() * parts.len() + 3 + pairs.len() + wide.len() + huge.len();
    let mut done = 0;
    for ty in &types {
        for part in parts {
            progress(done, all);
            part(harness, *ty);
            done += 1;
        }
    }
    for part in [lengths, many_parameters, refusals] {
        progress(done, all);
        part(harness);
        done += 1;
    }
    for (base, view) in pairs {
        progress(done, all);
        views::run(harness, base, view);
        done += 1;
    }
    for ty in wide {
        progress(done, all);
        wide::run(harness, ty);
        done += 1;
    }
    for place in &huge {
        progress(done, all);
        huge::run(harness, place);
        done += 1;
    }
    progress(done, all);
}

/// Returns indices around every boundary, then random ones, about half of them in bounds.
fn indices(random: &mut Random) -> Vec<u32> {
    let n = LENGTH;
    let mut all = vec![0, 1, n - 1, n, n + 1, 2 * n, 0x3fff_ffff, 0x4000_0000, 0x4000_0001, 0x7fff_ffff];
    all.extend([0x8000_0000, 0x8000_0001, 0xc000_0001, 0xffff_fffe, 0xffff_ffff]);
    while all.len() < ACCESSES {
        all.push(if random.next() & 1 == 0 { random.below(n) } else { random.word() });
    }
    all
}

/// Returns `count` random elements of `ty`. Floats are finite and normal, so that bits can be compared.
fn elements(random: &mut Random, ty: Type, count: usize) -> Vec<u8> {
    let scalar = ty.scalar;
    let mut all = Vec::with_capacity(count * ty.size() as usize);
    for _ in 0..count * ty.lanes.count() as usize {
        let bits = match FloatFormat::of(scalar) {
            // Magnitude of at least 0.5 and below 1, of either sign.
            Some(format) => {
                let fraction = random.next() & ((1 << (format.precision - 1)) - 1);
                let sign = random.next() & format.sign_bit();
                format.encode(0.5) | fraction | sign
            }
            None => random.next() & scalar.mask(),
        };
        all.extend_from_slice(&bits.to_le_bytes()[..scalar.size() as usize]);
    }
    all
}

fn element(bytes: &[u8], ty: Type, index: u32) -> Vec<u8> {
    let size = ty.size() as usize;
    let start = index as usize * size;
    bytes.get(start..start + size).map_or_else(|| vec![0; size], <[u8]>::to_vec)
}

/// Returns the text that copies `%x` into the array `%a`, declared by `declaration`, with the synchronization it needs.
fn through_array(declaration: &str) -> String {
    if declaration.contains("shared") {
        format!(
            "  {declaration}
  %l = local_index
  %own = load %x[%l]
  store %a[%l], %own
  barrier[shared]
"
        )
    } else {
        format!(
            "  {declaration}
  for %j in 0u32 to {LENGTH}u32 step 1u32 {{
    %own = load %x[%j]
    store %a[%j], %own
  }}
"
        )
    }
}

fn loads(harness: &mut Harness<'_>, ty: Type) {
    let shared = format!("shared %a: {ty}[{LENGTH}]");
    let local = format!("local %a: {ty}[{LENGTH}]");
    let places = [
        ("read buffer", "read", String::new(), "%x"),
        ("read_write buffer", "read_write", String::new(), "%x"),
        ("shared array", "read", through_array(&shared), "%a"),
        ("local array", "read", through_array(&local), "%a"),
    ];
    for (place, access, setup, from) in places {
        let group = format!("load {ty}, {place}");
        let (declarations, setup) = split_declaration(&setup);
        let text = format!(
            "fulgurite 1
kernel @loads workgroup(64, 1, 1) {{
  buffer %x: {access} {ty}[]
  buffer %index: read u32[]
  buffer %out: read_write {ty}[]
{declarations}  %i = global_id.x
{setup}  %at = load %index[%i]
  %v = load {from}[%at]
  store %out[%i], %v
}}
"
        );
        let mut random = harness.random(&group);
        let (input, index) = (elements(&mut random, ty, LENGTH as usize), indices(&mut random));
        let poison = vec![0xa5; ACCESSES * ty.size() as usize];
        let options = LaunchOptions::invocations([ACCESSES as u32, 1, 1]);
        let contents = [input.clone(), bytes(&index), poison];
        let Some(after) = launch_with(harness, &group, &text, &contents, &[], &options) else { continue };
        let expected: Vec<u8> = index.iter().flat_map(|at| element(&input, ty, *at)).collect();
        harness.elements(&group, ty, [&expected, &after[2]], |i| format!("index {}", index[i]));
    }
}

/// Splits off a leading declaration line, which must precede the body.
fn split_declaration(setup: &str) -> (String, String) {
    match setup.split_once('\n') {
        Some((first, rest)) => (format!("{first}\n"), rest.to_owned()),
        None => (String::new(), String::new()),
    }
}

fn stores(harness: &mut Harness<'_>, ty: Type) {
    let places = [
        ("write buffer", "write", ""),
        ("read_write buffer", "read_write", ""),
        ("shared array", "write", "shared"),
        ("local array", "write", "local"),
    ];
    for (place, access, array) in places {
        let group = format!("store {ty}, {place}");
        let text = if array.is_empty() {
            format!(
                "fulgurite 1
kernel @stores workgroup(64, 1, 1) {{
  buffer %x: read {ty}[]
  buffer %index: read u32[]
  buffer %out: {access} {ty}[]
  %i = global_id.x
  %n = len %index
  %go = lt %i, %n
  if %go {{
    %at = load %index[%i]
    %v = load %x[%i]
    store %out[%at], %v
  }}
}}
"
            )
        } else {
            format!(
                "fulgurite 1
kernel @stores workgroup(1, 1, 1) {{
  buffer %x: read {ty}[]
  buffer %index: read u32[]
  buffer %out: {access} {ty}[]
  {array} %a: {ty}[{LENGTH}]
  %n = len %index
  for %i in 0u32 to %n step 1u32 {{
    %at = load %index[%i]
    %v = load %x[%i]
    store %a[%at], %v
  }}
  %m = len %a
  for %i in 0u32 to %m step 1u32 {{
    %v = load %a[%i]
    store %out[%i], %v
  }}
}}
"
            )
        };
        let mut random = harness.random(&group);
        // Every index in bounds except three once, in random order, interleaved with indices out of bounds.
        let mut inside: Vec<u32> = (0..LENGTH - 3).collect();
        for i in (1..inside.len()).rev() {
            inside.swap(i, random.below(i as u32 + 1) as usize);
        }
        let outside: Vec<u32> = indices(&mut random).into_iter().filter(|at| *at >= LENGTH).collect();
        let index: Vec<u32> = inside.iter().zip(outside.iter().cycle()).flat_map(|(a, b)| [*a, *b]).collect();
        let input = elements(&mut random, ty, index.len());
        let before = if array.is_empty() {
            elements(&mut random, ty, LENGTH as usize)
        } else {
            vec![0; LENGTH as usize * ty.size() as usize]
        };
        let mut expected = before.clone();
        let size = ty.size() as usize;
        for (i, at) in index.iter().enumerate() {
            if *at < LENGTH {
                let start = *at as usize * size;
                expected[start..start + size].copy_from_slice(&element(&input, ty, i as u32));
            }
        }
        let options = LaunchOptions::workgroups([if array.is_empty() { 2 } else { 1 }, 1, 1]);
        let contents = [input, bytes(&index), before];
        let Some(after) = launch_with(harness, &group, &text, &contents, &[], &options) else { continue };
        harness.elements(&group, ty, [&expected, &after[2]], |i| format!("element {i} after all stores"));
    }
}

/// Shared and local arrays are zero at the start of every workgroup, even after an earlier one left its data there.
fn zeroed(harness: &mut Harness<'_>, ty: Type) {
    for array in ["shared", "local"] {
        let group = format!("zero at start, {array} {ty}");
        let text = format!(
            "fulgurite 1
kernel @zeroed workgroup(32, 1, 1) {{
  buffer %x: read {ty}[]
  buffer %out: write {ty}[]
  {array} %a: {ty}[32]
  %i = global_id.x
  %l = local_index
  %v = load %a[%l]
  store %out[%i], %v
  barrier
  %dirt = load %x[%l]
  for %j in 0u32 to 32u32 step 1u32 {{
    store %a[%l], %dirt
  }}
  barrier
  %kept = load %a[%l]
  %n = len %x
  %never = ge %l, %n
  if %never {{
    store %out[%i], %kept
  }}
}}
"
        );
        let count = 32 * 40;
        let mut random = harness.random(&group);
        let contents = [elements(&mut random, ty, 32), vec![0xa5; count * ty.size() as usize]];
        let Some(after) = launch(harness, &group, &text, &contents, &[]) else { continue };
        let expected = vec![0; contents[1].len()];
        harness.elements(&group, ty, [&expected, &after[1]], |i| {
            format!("workgroup {}, element {}", i / 32, i % 32)
        });
    }
}

fn parameters(harness: &mut Harness<'_>, ty: Type) {
    let group = format!("parameter {ty}");
    let text = format!(
        "fulgurite 1
kernel @parameters workgroup(64, 1, 1) {{
  buffer %out: write {ty}[]
  param %before: u32
  param %p: {ty}
  param %after: u32
  %i = global_id.x
  %wanted = eq %before, %after
  if %wanted {{
    store %out[%i], %p
  }}
}}
"
    );
    let mut random = harness.random(&group);
    let value = elements(&mut random, ty, 1);
    let param = eval::read_bytes(&value, ty);
    let same = eval::splat_low(random.next() & 0xffff_ffff);
    let contents = [vec![0xa5; 128 * ty.size() as usize]];
    let Some(after) = launch(harness, &group, &text, &contents, &[same, param, same]) else { return };
    let expected = value.repeat(128);
    harness.elements(&group, ty, [&expected, &after[0]], |i| format!("invocation {i}"));
}

/// Passes more parameters than push constants can hold.
fn many_parameters(harness: &mut Harness<'_>) {
    let group = "60 parameters of four words";
    let mut text =
        "fulgurite 1\nkernel @many workgroup(1, 1, 1) {\n  buffer %out: write u32x4[]\n".to_owned();
    for i in 0..60 {
        text += &format!("  param %p{i}: u32x4\n");
    }
    for i in 0..60 {
        text += &format!("  store %out[{i}u32], %p{i}\n");
    }
    text += "}\n";
    let mut random = harness.random(group);
    let ty = Type::U32.with_lanes(fulgurite_spec::Lanes::Four);
    let expected = elements(&mut random, ty, 60);
    let params: Vec<Components> = expected.chunks_exact(16).map(|c| eval::read_bytes(c, ty)).collect();
    let options = LaunchOptions::workgroups([1, 1, 1]);
    let Some(after) = launch_with(harness, group, &text, &[vec![0xa5; 60 * 16]], &params, &options) else {
        return;
    };
    harness.elements(group, ty, [&expected, &after[0]], |i| format!("parameter {i}"));
}

fn lengths(harness: &mut Harness<'_>) {
    let group = "len of buffers of every size";
    let text = "fulgurite 1
kernel @lengths workgroup(1, 1, 1) {
  buffer %a: read f32[]
  buffer %b: read u32x2[]
  buffer %c: read_write i32x4[]
  buffer %out: write u32[]
  shared %s: u32[5]
  local %l: f32x4[7]
  %na = len %a
  %nb = len %b
  %nc = len %c
  %ns = len %s
  %nl = len %l
  store %out[0u32], %na
  store %out[1u32], %nb
  store %out[2u32], %nc
  store %out[3u32], %ns
  store %out[4u32], %nl
}
";
    let Some(executable) = harness.compile(group, text) else { return };
    for size in 0..40u32 {
        let [a, b, c] = [size, size * 3 % 7, size % 4];
        let contents =
            [vec![1; a as usize * 4], vec![2; b as usize * 8], vec![3; c as usize * 16], vec![0xa5; 20]];
        let options = LaunchOptions::workgroups([1, 1, 1]);
        let Some(after) = harness.launch(group, &executable, &contents, &[], &options) else { continue };
        let expected = bytes(&[a, b, c, 5, 7]);
        harness.elements(group, Type::U32, [&expected, &after[3]], |i| {
            format!("lengths {a}, {b}, {c}: word {i}")
        });
    }
}

/// Launches that must be refused, each with its code.
fn refusals(harness: &mut Harness<'_>) {
    let group = "refused launches";
    let text = "fulgurite 1
kernel @strict workgroup(64, 1, 1) {
  buffer %x: read f32x4[]
  buffer %y: read_write f32x4[]
  param %n: u32
  require eq (rem (len %x), 4u32), 0u32
  require le %n, len %x
}
";
    let Some(executable) = harness.compile(group, text) else { return };
    let backend = std::sync::Arc::clone(harness.backend());
    let limits = backend.snapshot().limits.clone();
    let param = |n: u64| [eval::splat_low(n)];
    let mut attempt = |sizes: &[u64],
                       same: &[usize],
                       params: &[Components],
                       options: &LaunchOptions,
                       wanted: Option<Code>| {
        let result = sizes.iter().map(|s| backend.allocate(*s)).collect::<Result<Vec<_>, _>>().and_then(
            |mut buffers| {
                for i in same {
                    buffers[*i] = std::sync::Arc::clone(&buffers[0]);
                }
                let launch =
                    Launch::check(executable.kernel(), &limits, Binding::each(&buffers), params, options)?;
                executable.launch(&launch).map(|_| ())
            },
        );
        let actual = result.as_ref().err().map(Error::code);
        let show = |code: Option<Code>| code.map_or_else(|| "no error".to_owned(), |c| c.to_string());
        harness.case(group, actual == wanted, || {
            [format!("sizes {sizes:?}, same {same:?}, {params:?}, {options:?}"), show(wanted), show(actual)]
        });
    };
    let default = LaunchOptions::default();
    attempt(&[64, 64], &[], &param(4), &default, None);
    attempt(&[0, 0], &[], &param(0), &default, None);
    attempt(&[64], &[], &param(4), &default, Some(Code::WrongArgumentCount));
    attempt(&[64, 64, 64], &[], &param(4), &default, Some(Code::WrongArgumentCount));
    attempt(&[64, 64], &[], &[], &default, Some(Code::WrongArgumentCount));
    attempt(&[60, 64], &[], &param(3), &default, Some(Code::BufferSize));
    attempt(&[64, 65], &[], &param(4), &default, Some(Code::BufferSize));
    attempt(&[64, 64], &[1], &param(4), &default, Some(Code::BufferOverlap));
    attempt(&[48, 64], &[], &param(3), &default, Some(Code::RequireFailed));
    attempt(&[64, 64], &[], &param(5), &default, Some(Code::RequireFailed));
    attempt(&[64, 64], &[], &param(4), &LaunchOptions::workgroups([0, 1, 1]), None);
    attempt(
        &[64, 64],
        &[],
        &param(4),
        &LaunchOptions::workgroups([u32::MAX, 1, 1]),
        Some(Code::GridTooLarge),
    );
    default_grids(harness, group);
}

/// Launches without a grid: checks which kernels have a default grid, and that the device's largest grid does not limit
/// it.
fn default_grids(harness: &mut Harness<'_>, group: &str) {
    let text = |workgroup: &str, body: &str| {
        format!("fulgurite 1\nkernel @default workgroup({workgroup}) {{\n{body}}}\n")
    };
    let map = "  buffer %x: read u32[]\n  buffer %y: write u32[]\n";
    let table = format!("{map}  require le (len %x), 256u32\n");
    let also = "  buffer %y: write u32[]\n  buffer %z: read_write u32[]\n";
    let backend = std::sync::Arc::clone(harness.backend());
    let limits = backend.snapshot().limits.clone();
    for (what, text, sizes, wanted) in [
        ("a kernel that writes nothing", text("1, 1, 1", "  buffer %x: read u32[]\n"), [4, 0], None),
        ("a workgroup of two dimensions", text("8, 8, 1", map), [64, 64], None),
        ("a workgroup along z", text("1, 1, 8", map), [64, 64], None),
        ("one that reads more", text("8, 1, 1", map), [68, 64], None),
        ("one that reads as much", text("8, 1, 1", map), [64, 64], Some([2, 1, 1])),
        ("one that reads less", text("8, 1, 1", map), [4, 68], Some([3, 1, 1])),
        ("one that reads a table", text("8, 1, 1", &table), [1024, 64], Some([2, 1, 1])),
        ("one that changes more than it writes first", text("8, 1, 1", also), [64, 68], None),
        ("one that writes nothing of no elements", text("8, 1, 1", map), [0, 0], Some([0, 1, 1])),
    ] {
        let Some(executable) = harness.compile(group, &text) else { continue };
        let kernel = executable.kernel();
        let sizes = &sizes[..kernel.buffers.len()];
        let buffers = sizes.iter().map(|size| backend.allocate(*size)).collect::<Result<Vec<_>, _>>();
        let checked = buffers.and_then(|buffers| {
            Launch::check(kernel, &limits, Binding::each(&buffers), &[], &LaunchOptions::default())
        });
        let actual = checked.map(|launch| launch.grid()).map_err(|error| error.code());
        let wanted = wanted.ok_or(Code::BadGrid);
        harness.case(group, actual == wanted, || {
            [format!("{what}, no grid"), format!("{wanted:?}"), format!("{actual:?}")]
        });
    }
    // More workgroups than many devices accept along x in one launch.
    let sevens = text("1, 1, 1", "  buffer %y: write u32[]\n  %i = global_id.x\n  store %y[%i], 7u32\n");
    let Some(after) = launch(harness, group, &sevens, &[vec![0; 4 * 70_000]], &[]) else { return };
    let expected = bytes(&vec![7; 70_000]);
    harness.elements(group, Type::U32, [&expected, &after[0]], |i| {
        format!("the default grid of 70,000 elements: word {i}")
    });
}

fn launch(
    harness: &mut Harness<'_>,
    group: &str,
    text: &str,
    contents: &[Vec<u8>],
    params: &[Components],
) -> Option<Vec<Vec<u8>>> {
    launch_with(harness, group, text, contents, params, &LaunchOptions::default())
}

fn launch_with(
    harness: &mut Harness<'_>,
    group: &str,
    text: &str,
    contents: &[Vec<u8>],
    params: &[Components],
    options: &LaunchOptions,
) -> Option<Vec<Vec<u8>>> {
    let executable = harness.compile(group, text)?;
    harness.launch(group, &executable, contents, params, options)
}
