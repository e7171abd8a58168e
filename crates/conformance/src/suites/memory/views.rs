//! Views: the same bytes as elements of another type, each with separate length and bounds.
//!
//! The expectations work on bytes: a load through one type must find what a store through another left.

use fulgurite_hal::LaunchOptions;
use fulgurite_spec::{Lanes, ScalarType, Type};

use super::{element, launch_with};
use crate::Level;
use crate::harness::Harness;
use crate::suites::bytes;
use crate::values::Random;

use ScalarType::{BF16, F16, F32, F64, I8, I16, I32, I64, U8, U16, U32, U64};

/// Size of the viewed memory in bytes, rounded down to whole elements of its base: large elements of views leave tails.
const BYTES: u32 = 191;
/// Accesses per kernel.
const ACCESSES: usize = 64;

/// Base and view, with their lanes.
const PAIRS: [((ScalarType, u32), (ScalarType, u32)); 44] = [
    ((F32, 1), (F32, 4)),
    ((F32, 1), (F32, 3)),
    ((F32, 1), (F32, 2)),
    ((F32, 4), (F32, 1)),
    ((F32, 3), (F32, 1)),
    ((F32, 3), (F32, 2)),
    ((F32, 1), (U32, 1)),
    ((U32, 1), (F32, 4)),
    ((I32, 1), (U32, 2)),
    ((U32, 1), (U32, 4)),
    ((U32, 1), (U32, 3)),
    ((U32, 3), (U32, 4)),
    ((U32, 4), (U32, 1)),
    ((U8, 4), (U32, 1)),
    ((U32, 1), (U8, 4)),
    ((U32, 1), (U8, 1)),
    ((U8, 1), (U32, 1)),
    ((U8, 1), (U16, 1)),
    ((U8, 1), (U8, 3)),
    ((U8, 3), (U32, 1)),
    ((U8, 1), (U64, 1)),
    ((U64, 1), (U8, 4)),
    ((U64, 1), (U32, 1)),
    ((U32, 1), (U64, 1)),
    ((U32, 3), (U64, 1)),
    ((U64, 1), (U32, 2)),
    ((U64, 2), (U32, 4)),
    ((I64, 1), (I8, 1)),
    ((I8, 4), (I64, 1)),
    ((U16, 1), (U32, 1)),
    ((U32, 1), (U16, 3)),
    ((I16, 2), (U32, 1)),
    ((U16, 1), (U8, 2)),
    ((F16, 2), (U32, 1)),
    ((U32, 1), (F16, 2)),
    ((F16, 1), (U16, 1)),
    ((F16, 1), (F16, 4)),
    ((U32, 1), (BF16, 2)),
    ((BF16, 1), (U32, 1)),
    ((BF16, 4), (U16, 1)),
    ((F64, 1), (U64, 1)),
    ((F64, 1), (F32, 2)),
    ((U32, 1), (F64, 1)),
    ((U8, 1), (F64, 2)),
];

/// Returns the pairs of this level: a selection of characteristic ones and, at the full level, every pair of scalars.
pub(super) fn pairs(harness: &Harness<'_>) -> Vec<(Type, Type)> {
    let ty = |(scalar, lanes)| Type::vector(scalar, Lanes::from_count(lanes).unwrap_or(Lanes::One));
    let mut all: Vec<(Type, Type)> = PAIRS.iter().map(|(base, view)| (ty(*base), ty(*view))).collect();
    if harness.level() == Level::Full {
        let storable = || ScalarType::ALL.into_iter().filter(|s| *s != ScalarType::Bool).map(Type::scalar);
        for pair in storable().flat_map(|base| storable().map(move |view| (base, view))) {
            if !all.contains(&pair) {
                all.push(pair);
            }
        }
    }
    all
}

pub(super) fn run(harness: &mut Harness<'_>, base: Type, view: Type) {
    loads(harness, base, view);
    stores(harness, base, view);
    shared(harness, base, view);
}

/// Returns the number of whole elements of `ty` in the memory.
fn len(ty: Type) -> u32 {
    BYTES / ty.size()
}

/// Returns bytes that form neither a NaN nor a subnormal in the two types, even if they are floats of different widths.
fn contents(random: &mut Random, base: Type, view: Type, count: u32) -> Vec<u8> {
    let bytes = (count * base.size()) as usize;
    let is_float = base.scalar.is_float() || view.scalar.is_float();
    // Bytes from 0x40 to 0x4f: positive sign and a mid-range exponent, whichever bytes are combined.
    let byte = |random: &mut Random| {
        let any = random.next() as u8;
        if is_float { 0x40 | any & 0x0f } else { any }
    };
    (0..bytes).map(|_| byte(random)).collect()
}

/// Returns indices in bounds, at the end, in the tail, and far out of bounds.
fn indices(random: &mut Random, view: Type, base: Type) -> Vec<u32> {
    let (n, m) = (len(view), len(base));
    let mut all = vec![0, n - 1, n, n + 1, m - 1, m, BYTES, 0x3fff_ffff, 0x4000_0000, 0x4000_0001];
    all.extend([0x2000_0000, 0x2000_0001, 0x1000_0001, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, u32::MAX]);
    while all.len() < ACCESSES {
        all.push(random.below(n + 1));
    }
    all
}

/// Loads through views of buffers: elements, bounds and lengths.
fn loads(harness: &mut Harness<'_>, base: Type, view: Type) {
    for access in ["read", "read_write"] {
        let group = format!("load {view} of {base}, {access} buffer");
        let text = format!(
            "fulgurite 1
kernel @loads workgroup(64, 1, 1) {{
  buffer %x: {access} {base}[]
  buffer %index: read u32[]
  buffer %out: write {view}[]
  buffer %lens: write u32[]
  view %v = %x as {view}[]
  %i = global_id.x
  %at = load %index[%i]
  %r = load %v[%at]
  store %out[%i], %r
  %n = len %v
  store %lens[%i], %n
}}
"
        );
        let mut random = harness.random(&group);
        let input = contents(&mut random, base, view, len(base));
        let index = indices(&mut random, view, base);
        let size = view.size() as usize;
        let buffers = [input.clone(), bytes(&index), vec![0xa5; ACCESSES * size], vec![0xa5; ACCESSES * 4]];
        let options = LaunchOptions::invocations([ACCESSES as u32, 1, 1]);
        let Some(after) = launch_with(harness, &group, &text, &buffers, &[], &options) else { continue };
        let expected: Vec<u8> = index.iter().flat_map(|at| element(&input, view, *at)).collect();
        harness.elements(&group, view, [&expected, &after[2]], |i| format!("index {}", index[i]));
        let length = bytes(&[input.len() as u32 / view.size()]);
        harness.elements(&group, Type::U32, [&length, &after[3][..4]], |_| "len".to_owned());
    }
}

/// Runs a kernel that stores the elements of `%from` in a loop through the view and then loads through the base, and
/// one that stores through the base and loads through the view.
fn stores(harness: &mut Harness<'_>, base: Type, view: Type) {
    let ways =
        [("store through the view", view, "%v", base, "%x"), ("store by the base", base, "%x", view, "%v")];
    for (through, to, into, other, from) in ways {
        let group = format!("{view} of {base} in a buffer, {through}");
        // A single invocation, which sees its stores through both.
        let text = format!(
            "fulgurite 1
kernel @stores workgroup(1, 1, 1) {{
  buffer %x: read_write {base}[]
  buffer %index: read u32[]
  buffer %from: read {to}[]
  buffer %out: write {other}[]
  view %v = %x as {view}[]
  %n = len %index
  for %i in 0u32 to %n step 1u32 {{
    %at = load %index[%i]
    %a = load %from[%i]
    store {into}[%at], %a
  }}
  %m = len {from}
  for %i in 0u32 to %m step 1u32 {{
    %a = load {from}[%i]
    store %out[%i], %a
  }}
}}
"
        );
        let mut random = harness.random(&group);
        let before = contents(&mut random, base, view, len(base));
        // Some elements are not written, some are written twice.
        let index = indices(&mut random, to, other);
        let values = contents(&mut random, to, other, index.len() as u32);
        let mut expected = before.clone();
        write_all(&mut expected, to, &index, &values);
        let shown = before.len() / other.size() as usize * other.size() as usize;
        let buffers = [before, bytes(&index), values, vec![0xa5; shown]];
        let options = LaunchOptions::workgroups([1, 1, 1]);
        let Some(after) = launch_with(harness, &group, &text, &buffers, &[], &options) else { continue };
        let input = |i: usize| format!("element {i} of {other} after stores of {to} at {index:?}");
        harness.elements(&group, other, [&expected[..shown], &after[3]], input);
        // The buffer's contents afterwards, as the host sees them.
        harness.elements(&group, base, [&expected, &after[0]], |i| format!("element {i}, read by the host"));
    }
}

fn write_all(memory: &mut [u8], ty: Type, index: &[u32], values: &[u8]) {
    let size = ty.size() as usize;
    for (at, value) in index.iter().zip(values.chunks_exact(size)) {
        let start = *at as usize * size;
        if let Some(slot) = memory.get_mut(start..start + size) {
            slot.copy_from_slice(value);
        }
    }
}

/// Shared memory: many invocations store through one type, and others load through the other type after a barrier, in
/// both directions, in arrays with and without zero initialization.
fn shared(harness: &mut Harness<'_>, base: Type, view: Type) {
    for uninit in ["", " uninit"] {
        let group = format!("{view} of {base} in shared memory{uninit}");
        let (n, m) = (len(base), len(view));
        let text = format!(
            "fulgurite 1
kernel @shared workgroup(256, 1, 1) {{
  buffer %x: read {base}[]
  buffer %y: read {view}[]
  buffer %index: read u32[]
  buffer %loaded: write {view}[]
  buffer %out: write {base}[]
  shared %t: {base}[{n}]{uninit}
  view %v = %t as {view}[]
  %l = local_index
  %a = load %x[%l]
  store %t[%l], %a
  barrier[shared]
  %at = load %index[%l]
  %b = load %v[%at]
  store %loaded[%l], %b
  barrier[shared]
  %odd = and %l, 1u32
  %is = eq %odd, 1u32
  if %is {{
    %c = load %y[%l]
    store %v[%l], %c
  }}
  barrier[shared]
  %d = load %t[%l]
  store %out[%l], %d
}}
"
        );
        let mut random = harness.random(&group);
        let x = contents(&mut random, base, view, n);
        let y = contents(&mut random, view, base, m);
        let index = indices(&mut random, view, base);
        let poison = [vec![0xa5; ACCESSES * view.size() as usize], vec![0xa5; x.len()]];
        let [loaded, out] = poison;
        let buffers = [x.clone(), y.clone(), bytes(&index), loaded, out];
        let options = LaunchOptions::workgroups([1, 1, 1]);
        let Some(after) = launch_with(harness, &group, &text, &buffers, &[], &options) else { continue };
        let expected: Vec<u8> = index.iter().flat_map(|at| element(&x, view, *at)).collect();
        harness.elements(&group, view, [&expected, &after[3]], |i| format!("index {}", index[i]));
        let mut expected = x;
        let odd: Vec<u32> = (0..m).filter(|l| l % 2 == 1).collect();
        let values: Vec<u8> = odd.iter().flat_map(|l| element(&y, view, *l)).collect();
        write_all(&mut expected, view, &odd, &values);
        harness.elements(&group, base, [&expected, &after[4]], |i| format!("element {i} after stores"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fulgurite_spec::eval::float::FloatFormat;

    #[test]
    fn contents_are_normal_numbers_in_every_float_type() {
        let mut random = Random::new(1);
        let all = contents(&mut random, Type::F64, Type::U8, 1000);
        for (scalar, size) in [(F16, 2), (BF16, 2), (F32, 4), (F64, 8)] {
            let format = FloatFormat::of(scalar).unwrap();
            for chunk in all.chunks_exact(size) {
                let mut bits = [0; 8];
                bits[..size].copy_from_slice(chunk);
                let value = format.decode(u64::from_le_bytes(bits));
                assert!(value.is_finite() && value >= format.min_normal(), "{scalar} {value}");
            }
        }
    }

    #[test]
    fn no_pair_comes_twice_and_some_views_leave_a_tail() {
        let mut tails = 0;
        for (i, pair) in PAIRS.iter().enumerate() {
            assert!(!PAIRS[..i].contains(pair), "{pair:?}");
            let [base, view] = [pair.0, pair.1].map(|(scalar, lanes)| scalar.size() * lanes);
            tails += u32::from(!(BYTES / base * base).is_multiple_of(view));
        }
        assert!(tails >= 8, "{tails}");
    }
}
