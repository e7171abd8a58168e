//! Every type in every kind of memory, compared with copies of bytes; atomics of every type under contention.

use std::sync::Arc;

use fulgurite_hal::{Binding, CompileOptions, Device as _, DeviceBuffer, Launch, LaunchOptions};
use fulgurite_ir::{VerifiedKernel, text, verify};
use fulgurite_spec::{ScalarType, Type};

use crate::CpuDevice;

fn kernel(source: &str) -> Arc<VerifiedKernel> {
    let parsed = text::parse(source).unwrap_or_else(|e| panic!("{e}"));
    Arc::new(verify(parsed).unwrap_or_else(|e| panic!("{e}")))
}

/// Launches `source` on buffers with the contents `bytes`, and returns their contents afterwards.
fn run(source: &str, bytes: &[&[u8]], workgroups: u32) -> Vec<Vec<u8>> {
    let (backend, kernel) = (CpuDevice::new(), kernel(source));
    let buffers: Vec<Arc<dyn DeviceBuffer>> = bytes
        .iter()
        .map(|bytes| {
            let buffer = backend.allocate(bytes.len() as u64).unwrap();
            buffer.write(0, bytes).unwrap();
            buffer
        })
        .collect();
    let executable = backend.compile(kernel.clone(), &CompileOptions::default()).unwrap();
    let options = LaunchOptions::workgroups([workgroups, 1, 1]);
    let limits = &backend.snapshot().limits;
    executable
        .launch(&Launch::check(&kernel, limits, Binding::each(&buffers), &[], &options).unwrap())
        .unwrap();
    let read = |buffer: &Arc<dyn DeviceBuffer>| {
        let mut bytes = vec![0; buffer.bytes() as usize];
        buffer.read(0, &mut bytes).unwrap();
        bytes
    };
    buffers.iter().map(read).collect()
}

fn random_bytes(count: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(0x915f_77f5).wrapping_add(12345);
        (state >> 24) as u8
    };
    (0..count).map(|_| next()).collect()
}

fn storable() -> impl Iterator<Item = Type> {
    Type::all().filter(|ty| ty.is_storable())
}

/// Returns three kinds of indices for `count` invocations: consecutive, scattered and past the end, and with some huge.
fn indices(count: usize, elements: usize) -> Vec<Vec<u64>> {
    let wild = |i: usize| (i * 37 + i * i / 3) as u64 % (elements as u64 + 9);
    vec![
        (0..count as u64).collect(),
        (0..count).map(wild).collect(),
        (0..count).map(|i| if i % 3 == 0 { u64::from(u32::MAX) - i as u64 % 5 } else { wild(i) }).collect(),
    ]
}

fn words(indices: &[u64]) -> Vec<u8> {
    indices.iter().flat_map(|i| (*i as u32).to_le_bytes()).collect()
}

/// Returns the element at `index` of `bytes`, or zeros.
fn element(bytes: &[u8], index: u64, size: usize) -> Vec<u8> {
    let start = (index as usize).saturating_mul(size);
    bytes.get(start..start.saturating_add(size)).map_or(vec![0; size], <[u8]>::to_vec)
}

#[test]
fn every_type_is_loaded_from_buffers_and_stored_in_a_row() {
    let (count, elements) = (256, 200);
    for ty in storable() {
        let size = ty.size() as usize;
        let source = format!(
            "fulgurite 1\nkernel @k workgroup(64, 1, 1) {{
  buffer %x: read {ty}[]\nbuffer %at: read u32[]\nbuffer %out: write {ty}[]
  %i = global_id.x\n%index = load %at[%i]\n%v = load %x[%index]\nstore %out[%i], %v\n}}"
        );
        for indices in indices(count, elements) {
            let x = random_bytes(elements * size, ty.size());
            let out = run(&source, &[&x, &words(&indices), &vec![0xaa; (count - 1) * size]], 4).remove(2);
            for (i, (found, index)) in out.chunks(size).zip(&indices).enumerate() {
                assert_eq!(found, element(&x, *index, size), "{ty} {i} {index}");
            }
        }
    }
}

#[test]
fn every_type_is_stored_anywhere_and_changes_nothing_else() {
    // The invocations of three workgroups, which run as one sequence, store to distinct elements; some are inactive.
    let count = 150;
    for ty in storable() {
        let size = ty.size() as usize;
        let source = format!(
            "fulgurite 1\nkernel @k workgroup(50, 1, 1) {{
  buffer %x: read {ty}[]\nbuffer %at: read u32[]\nbuffer %out: write {ty}[]
  %i = global_id.x\n%index = load %at[%i]\n%v = load %x[%i]
  %rest = rem %i, 7u32\n%go = ne %rest, 3u32\nif %go {{\nstore %out[%index], %v\n}}\n}}"
        );
        let x = random_bytes(count * size, 77);
        for stride in [1, 7, 67] {
            let indices: Vec<u64> = (0..count as u64).map(|i| i * stride % 151).collect();
            let before = vec![0x55; 140 * size];
            let mut wanted = before.clone();
            for (i, index) in indices.iter().enumerate().filter(|(i, _)| i % 7 != 3) {
                let start = *index as usize * size;
                if let Some(to) = wanted.get_mut(start..start + size) {
                    to.copy_from_slice(&x[i * size..][..size]);
                }
            }
            let out = run(&source, &[&x, &words(&indices), &before], 3).remove(2);
            assert_eq!(out, wanted, "{ty} {stride}");
        }
    }
}

#[test]
fn every_type_goes_through_shared_and_local_memory() {
    for ty in storable() {
        let size = ty.size() as usize;
        // A small array first, so that the second does not begin at a multiple of its element size.
        let source = format!(
            "fulgurite 1\nkernel @k workgroup(100, 1, 1) {{
  buffer %x: read {ty}[]\nbuffer %out: write {ty}[]
  shared %odd: u8[3]\nshared %s: {ty}[99]\nlocal %small: u8[1]\nlocal %l: {ty}[5]
  %i = local_index\n%v = load %x[%i]\n%r0 = mul %i, 31u32\n%r = rem %r0, 100u32\nstore %s[%r], %v
  store %odd[%i], 255u8\nstore %small[%i], 255u8\nbarrier
  %w = load %s[%i]\n%j = rem %i, 6u32\nstore %l[%j], %w\n%u = load %l[%j]\nstore %out[%i], %u\n}}"
        );
        let x = random_bytes(100 * size, 5);
        let out = run(&source, &[&x, &vec![0; 100 * size]], 1).remove(1);
        for i in 0..100usize {
            let from = (0..100).find(|from| from * 31 % 100 == i).unwrap();
            let inside = i != 99 && i % 6 != 5;
            let wanted = if inside { element(&x, from as u64, size) } else { vec![0; size] };
            assert_eq!(out[i * size..][..size], wanted, "{ty} {i}");
        }
    }
}

#[test]
fn atomics_of_every_type_lose_nothing() {
    for ty in ["i32", "u32", "i64", "u64", "f32", "f64"] {
        let scalar = Type::parse(ty).unwrap().scalar;
        // 10,000 invocations add 3 to each of two elements, in buffers and, per workgroup, in shared memory.
        let source = format!(
            "fulgurite 1\nkernel @k workgroup(100, 1, 1) {{
  buffer %sum: read_write {ty}[]\nshared %s: {ty}[3]
  %i = local_index\n%half = rem %i, 2u32\n%three = convert 3u32 -> {ty}
  %0 = atomic.add %sum[%half], %three\n%1 = atomic.add %s[%half], %three\n%2 = atomic.add %sum[9u32], %three
  barrier\n%first = eq %i, 0u32
  if %first {{\n%a = atomic.load %s[1u32]\n%3 = atomic.add %sum[2u32], %a\n}}\n}}"
        );
        let size = scalar.size() as usize;
        let bytes = run(&source, &[&vec![0; 3 * size]], 100).remove(0);
        for found in bytes.chunks(size) {
            let sum = match scalar {
                ScalarType::F32 => f64::from(f32::from_le_bytes(found.try_into().unwrap())),
                ScalarType::F64 => f64::from_le_bytes(found.try_into().unwrap()),
                _ => {
                    let mut whole = [0; 8];
                    whole[..size].copy_from_slice(found);
                    u64::from_le_bytes(whole) as f64
                }
            };
            assert_eq!(sum, 15_000.0, "{ty}");
        }
    }
}

#[test]
fn wide_atomics_are_indivisible_and_give_the_old_value() {
    // Each invocation draws a ticket whose words must match, by every op that moves 64 bits.
    let source = "fulgurite 1\nkernel @k workgroup(64, 1, 1) {
  buffer %next: read_write u64[]\nbuffer %seen: read_write u32[]\nbuffer %edges: read_write i64[]
  %i = global_id.x\n%wide = convert %i -> i64\n%n = neg %wide
  %t = atomic.add %next[0u32], 0x100000001u64\n%low = convert %t -> u32\n%h = shr %t, 32u32
  %high = convert %h -> u32\n%same = eq %low, %high
  if %same {\natomic.add %seen[%low], 1u32\n}
  atomic.min %edges[0u32], %n\natomic.max %edges[1u32], %wide
  %old = while carry(%guess = 0u64) {
    %was = atomic.compare_exchange %next[1u32], %guess, 0u64\n%go = ne %was, %guess\ncondition %go
  } do {\nyield %was\n}\n}";
    let bytes = run(source, &[&[0; 16], &vec![0; 4 * 6400], &[0; 16]], 100);
    assert_eq!(bytes[0][..8], (6400u64 << 32 | 6400).to_le_bytes());
    assert!(bytes[1].chunks(4).all(|count| count == 1u32.to_le_bytes()));
    assert_eq!(bytes[2][..8], (-6399i64).to_le_bytes());
    assert_eq!(bytes[2][8..], 6399i64.to_le_bytes());
}

#[test]
fn views_read_and_write_the_same_bytes() {
    // The bytes of a buffer as vectors, through shared memory viewed as two other types, and the length of a view whose
    // last element is incomplete.
    let source = "fulgurite 1\nkernel @k workgroup(16, 1, 1) {
  buffer %x: read u8[]\nbuffer %out: write u16[]\nbuffer %len: write u32[]
  shared %s: u32[16]\nview %x3 = %x as u16x3[]\nview %s2 = %s as u16x2[]\nview %s8 = %s as f64x2[]
  %i = local_index\n%n = len %x3\n%m = len %s8\nstore %len[0u32], %n\nstore %len[1u32], %m
  %v = load %x3[%i]\n%a = extract %v, 0u32\n%c = extract %v, 2u32\n%p = construct %c, %a\nstore %s2[%i], %p
  barrier[shared]\n%w = load %s[%i]\n%h = shr %w, 16u32\n%r = convert %h -> u16\nstore %out[%i], %r\n}";
    let x = random_bytes(77, 3);
    let bytes = run(source, &[&x, &[0; 32], &[0; 8]], 1);
    assert_eq!(bytes[2], words(&[77 / 6, 4]));
    for (i, found) in bytes[1].chunks(2).enumerate() {
        assert_eq!(found, &element(&x, i as u64, 6)[..2], "{i}");
    }
}

#[test]
fn wide_indices_reach_what_narrow_ones_do_and_nothing_more() {
    for ty in ["u8", "u32", "f64x3"].map(|name| Type::parse(name).unwrap()) {
        let size = ty.size() as usize;
        let source = format!(
            "fulgurite 1\nkernel @k workgroup(64, 1, 1) {{
  buffer %x: read {ty}[] large\nbuffer %at: read u64[]\nbuffer %out: write {ty}[]\nbuffer %len: write u64[]
  %i = global_id.x\n%index = load %at[%i]\n%v = load %x[%index]\n%n = len %x\nstore %len[0u32], %n
  %wide = convert %i -> u64\nstore %out[%wide], %v\n}}"
        );
        let x = random_bytes(50 * size, 9);
        for high in [0, 1 << 32, 1 << 63] {
            let indices: Vec<u64> =
                (0..128).map(|i| if i % 5 == 0 { (i % 60) | high } else { i % 60 }).collect();
            let at: Vec<u8> = indices.iter().flat_map(|i| i.to_le_bytes()).collect();
            let out = run(&source, &[&x, &at, &vec![0xaa; 127 * size], &[0; 8]], 2);
            assert_eq!(out[3], 50u64.to_le_bytes());
            for (i, (found, index)) in out[2].chunks(size).zip(&indices).enumerate() {
                assert_eq!(found, element(&x, *index, size), "{ty} {i} {index:#x}");
            }
        }
    }
}

#[test]
fn arrays_that_are_not_uninit_begin_as_zeros() {
    // Every workgroup leaves values behind; the next sees them only in memory that is not zero-initialized.
    let source = "fulgurite 1\nkernel @k workgroup(32, 1, 1) {
  buffer %sum: read_write u32[]\nshared %a: u32[32]\nshared %u: u32[32] uninit\nshared %b: u16[33]
  %i = local_index\n%x = load %a[%i]\n%y0 = load %b[%i]\n%y = convert %y0 -> u32\n%z = or %x, %y
  atomic.or %sum[0u32], %z\nstore %u[%i], 5u32\nbarrier[shared]\n%w = load %u[%i]\natomic.add %sum[1u32], %w
  store %a[%i], 1u32\nstore %b[%i], 1u16\n}";
    let sum = run(source, &[&[0; 8]], 50).remove(0);
    assert_eq!(sum, words(&[0, 50 * 32 * 5]));
}
