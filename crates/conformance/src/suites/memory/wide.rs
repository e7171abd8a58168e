//! 64-bit indices, `large` buffers and `uninit` shared arrays.

use fulgurite_hal::LaunchOptions;
use fulgurite_spec::{Lanes, ScalarType, Type};

use super::{element, elements, launch_with, through_array};
use crate::harness::Harness;
use crate::values::Random;

/// Elements of the indexed memory.
const LENGTH: u32 = super::LENGTH;
/// Accesses per kernel.
const ACCESSES: usize = super::ACCESSES;

pub(super) fn types() -> Vec<Type> {
    let mut all: Vec<Type> =
        ScalarType::ALL.into_iter().filter(|s| *s != ScalarType::Bool).map(Type::scalar).collect();
    let (f32, u8, u64) = (ScalarType::F32, ScalarType::U8, ScalarType::U64);
    all.extend(Lanes::ALL[1..].iter().flat_map(|l| [f32, u8, u64].map(|s| Type::vector(s, *l))));
    all
}

pub(super) fn run(harness: &mut Harness<'_>, ty: Type) {
    loads(harness, ty);
    stores(harness, ty);
    uninit(harness, ty);
}

/// Returns indices that would wrap into bounds if truncated to 32 bits, or if their byte offset were computed in 32 or
/// 64 bits.
fn indices(random: &mut Random, size: u32) -> Vec<u64> {
    let (n, wrap) = (u64::from(LENGTH), 1u64 << 32);
    let mut all = vec![0, 1, n - 1, n, n + 1, wrap - 1, wrap, wrap + 1, wrap + n - 1, 3 * wrap + 2];
    all.extend([wrap >> 1, wrap >> 2, (wrap >> 2) + 1, 1 << 62, (1 << 62) + 1, (1 << 61) + 2, (1 << 60) + 3]);
    all.extend([1 << 63, (1 << 63) + 1, u64::MAX - 1, u64::MAX, wrap / u64::from(size) + 1]);
    all.push((u64::MAX / u64::from(size)).wrapping_add(2));
    while all.len() < ACCESSES {
        let inside = u64::from(random.below(LENGTH));
        all.push(match random.below(4) {
            0 => inside + (u64::from(random.word()) << 32),
            1 => random.next(),
            _ => inside,
        });
    }
    all
}

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// Returns the element at a 64-bit index, or zero.
fn at(bytes: &[u8], ty: Type, index: u64) -> Vec<u8> {
    element(bytes, ty, if index < u64::from(LENGTH) { index as u32 } else { u32::MAX })
}

/// Returns declarations, the text before the accesses, and the memory's name.
fn places(ty: Type) -> [(&'static str, String, String, &'static str); 5] {
    let array = |kind: &str| {
        let text = through_array(&format!("{kind} %a: {ty}[{LENGTH}]"));
        text.split_once('\n').map_or_else(Default::default, |(d, s)| (format!("{d}\n"), s.to_owned()))
    };
    let ((shared, fill_shared), (local, fill_local)) = (array("shared"), array("local"));
    [
        ("buffer", format!("  buffer %x: read_write {ty}[]\n"), String::new(), "%x"),
        ("large buffer", format!("  buffer %x: read_write {ty}[] large\n"), String::new(), "%x"),
        (
            "view of a large buffer",
            format!("  buffer %x: read_write {}[] large\n  view %view = %x as {ty}[]\n", ty.element()),
            String::new(),
            "%view",
        ),
        ("shared array", format!("  buffer %x: read_write {ty}[]\n{shared}"), fill_shared, "%a"),
        ("local array", format!("  buffer %x: read_write {ty}[]\n{local}"), fill_local, "%a"),
    ]
}

fn loads(harness: &mut Harness<'_>, ty: Type) {
    for (place, declarations, setup, from) in places(ty) {
        let group = format!("load {ty} at u64, {place}");
        let is_large = place.contains("large");
        let (length, widen) = if is_large { ("%n", "") } else { ("%w", "  %w = convert %n -> u64\n") };
        let text = format!(
            "fulgurite 1
kernel @loads workgroup(64, 1, 1) {{
{declarations}  buffer %index: read u64[]
  buffer %out: write {ty}[]
  buffer %lens: write u64[]
  %i = global_id.x
{setup}  %at = load %index[%i]
  %r = load {from}[%at]
  store %out[%i], %r
  %n = len {from}
{widen}  store %lens[%i], {length}
}}
"
        );
        let mut random = harness.random(&group);
        let (input, index) = (elements(&mut random, ty, LENGTH as usize), indices(&mut random, ty.size()));
        let out = vec![0xa5; ACCESSES * ty.size() as usize];
        let contents = [input.clone(), bytes(&index), out, vec![0xa5; ACCESSES * 8]];
        let options = LaunchOptions::invocations([ACCESSES as u32, 1, 1]);
        let Some(after) = launch_with(harness, &group, &text, &contents, &[], &options) else { continue };
        let expected: Vec<u8> = index.iter().flat_map(|i| at(&input, ty, *i)).collect();
        harness.elements(&group, ty, [&expected, &after[2]], |i| format!("index {:#x}", index[i]));
        let length = u64::from(LENGTH).to_le_bytes();
        harness.elements(&group, Type::U64, [&length, &after[3][..8]], |_| "len".to_owned());
    }
}

/// One invocation stores at indices in and out of bounds alternately, and copies all elements to the output.
fn stores(harness: &mut Harness<'_>, ty: Type) {
    for (place, declarations, _, to) in places(ty) {
        let group = format!("store {ty} at u64, {place}");
        let text = format!(
            "fulgurite 1
kernel @stores workgroup(1, 1, 1) {{
{declarations}  buffer %index: read u64[]
  buffer %from: read {ty}[]
  buffer %out: write {ty}[]
  %n = len %index
  for %i in 0u32 to %n step 1u32 {{
    %at = load %index[%i]
    %v = load %from[%i]
    store {to}[%at], %v
  }}
  for %i in 0u64 to {LENGTH}u64 step 1u64 {{
    %v = load {to}[%i]
    store %out[%i], %v
  }}
}}
"
        );
        let mut random = harness.random(&group);
        let size = ty.size() as usize;
        let is_array = place.ends_with("array");
        let before = elements(&mut random, ty, LENGTH as usize);
        let index = indices(&mut random, ty.size());
        let values = elements(&mut random, ty, index.len());
        let mut expected = if is_array { vec![0; before.len()] } else { before.clone() };
        for (i, value) in index.iter().zip(values.chunks_exact(size)) {
            if *i < u64::from(LENGTH) {
                let start = *i as usize * size;
                expected[start..start + size].copy_from_slice(value);
            }
        }
        let contents = [before, bytes(&index), values, vec![0xa5; expected.len()]];
        let options = LaunchOptions::workgroups([1, 1, 1]);
        let Some(after) = launch_with(harness, &group, &text, &contents, &[], &options) else { continue };
        harness.elements(&group, ty, [&expected, &after[3]], |i| format!("element {i} after all stores"));
    }
}

/// An `uninit` array that is written before it is read behaves like any other, in every workgroup and phase.
fn uninit(harness: &mut Harness<'_>, ty: Type) {
    let group = format!("uninit shared {ty}");
    let text = format!(
        "fulgurite 1
kernel @uninit workgroup(48, 1, 1) {{
  buffer %x: read {ty}[]
  buffer %out: write {ty}[]
  shared %a: {ty}[48] uninit
  %i = global_id.x
  %l = local_index
  %v = load %x[%i]
  store %a[%l], %v
  barrier[shared]
  %other = sub 47u32, %l
  %r = load %a[%other]
  barrier[shared]
  store %a[%other], %r
  barrier[shared]
  %s = load %a[%other]
  %far = add %l, 48u32
  %zero = load %a[%far]
  %odd = and %l, 1u32
  %is = eq %odd, 1u32
  %none = if %is -> {ty} {{
    yield %zero
  }} else {{
    yield %s
  }}
  store %out[%i], %none
}}
"
    );
    let (count, size) = (48 * 5usize, ty.size() as usize);
    let mut random = harness.random(&group);
    let input = elements(&mut random, ty, count);
    let contents = [input.clone(), vec![0xa5; input.len()]];
    let Some(after) = launch_with(
        harness,
        &group,
        &text,
        &contents,
        &[],
        &LaunchOptions::invocations([count as u32, 1, 1]),
    ) else {
        return;
    };
    let expected: Vec<u8> = (0..count)
        .flat_map(|i| {
            let from = i / 48 * 48 + (47 - i % 48);
            if i % 2 == 1 { vec![0; size] } else { element(&input, ty, from as u32) }
        })
        .collect();
    harness.elements(&group, ty, [&expected, &after[1]], |i| format!("invocation {i}"));
}
