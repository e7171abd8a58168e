//! Edits that change a digest and edits that do not, on kernels that use the whole language.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failure anywhere fails the test")]

use std::collections::BTreeMap;

use fulgurite_ir::{Digest, text, verify, wire};

/// A kernel with every kind of instruction, attribute and declaration.
const KERNEL: &str = r#"fulgurite 1
kernel @k workgroup(64, 1, 1) {
  buffer %x: read_write f32[]
  buffer %big: read_write u32[] large
  param %p: f32
  shared %t: f32[256] uninit
  shared %c: i32[4]
  view %x4 = %x as f32x4[]
  view %t3 = %t as f32x3[]
  require ge (len %big), 4u64

  %l = local_index
  %lane = lane
  %v = load %x4[%l]
  %w = load %t3[%l]
  %r, %s = region "phase" -> f32, u32 {
    %e = extract %v, 0u32
    region "inner" {
      trap 7u32
    }
    yield %e, %l
  }
  %a = add[fast] %r, %p
  %f = fma[exact] %a, %a, %a
  %g = vec.shuffle[0, 2, 5] %v, %v
  atomic.add[acquire_release, device] %c[0u32], 1i32
  %h = atomic.load[acquire] %c[0u32]
  atomic.max[device] %c[1u32], %h
  fence[acquire, workgroup]
  barrier[shared]
  subgroup_barrier[buffers]
  %i = workgroup_broadcast %w, 3u32
  %j = subgroup.reduce[add] %f
  %k = subgroup.inclusive_scan[min] %v
  %m = subgroup.shuffle_up %v, 1u32
  %even = lt %l, 5u32
  %n = subgroup.ballot %even
  %q = subgroup.ballot_count %even
  %u = subgroup.elect
  store %x[%s], %j
  %mf = coop.load[row_major] %x4[0u32], 4u32 -> coopmat<f32, 16x16, a, subgroup>
  %mg = coop.fill 1.0f32 -> coopmat<f32, 16x16, b, subgroup>
  %mh = coop.convert %mf -> coopmat<f32, 16x16, acc, subgroup>
  %mi0 = neg %mh
  %mi = coop.mul_add %mf, %mg, %mh
  coop.store[column_major] %x4[4u32], 8u32, %mi
}
"#;

/// Single edits: the replaced text and its replacement.
const EDITS: &[(&str, &str)] = &[
    ("f32[]\n  buffer", "f32[] large\n  buffer"),
    ("read_write f32[]\n", "read_write i32[]\n"),
    ("f32[256] uninit", "f32[256]"),
    ("i32[4]", "i32[4] uninit"),
    ("i32[4]", "i32[5]"),
    ("view %x4 = %x as", "view %x4 = %big as"),
    ("  view %t3 = %t as f32x3[]", "  view %unused = %t as u32[]\n  view %t3 = %t as f32x3[]"),
    ("ge (len %big), 4u64", "ge (len %big), 5u64"),
    ("ge (len %big), 4u64", "gt (len %big), 4u64"),
    ("trap 7u32", "trap 8u32"),
    ("yield %e, %l", "yield %e, %lane"),
    ("yield %e, %l", "yield 1.0f32, %l"),
    ("lane = lane", "lane = subgroup_id"),
    ("lane = lane", "lane = subgroup_size"),
    ("add[fast]", "add"),
    ("add[fast]", "sub[fast]"),
    ("fma[exact]", "fma"),
    ("fma[exact]", "fma[fast]"),
    ("[0, 2, 5]", "[0, 2, 4]"),
    ("add[acquire_release, device]", "add[acquire_release]"),
    ("add[acquire_release, device]", "add[release, device]"),
    ("add[acquire_release, device]", "add[device]"),
    ("load[acquire]", "load"),
    ("max[device]", "max"),
    ("max[device]", "min[device]"),
    ("fence[acquire, workgroup]", "fence[acquire]"),
    ("fence[acquire, workgroup]", "fence[release, workgroup]"),
    ("barrier[shared]", "barrier"),
    ("barrier[shared]\n  subgroup_barrier[buffers]", "barrier[shared]\n  barrier[buffers]"),
    ("subgroup_barrier[buffers]", "subgroup_barrier"),
    ("broadcast %w, 3u32", "broadcast %w, 4u32"),
    ("reduce[add]", "reduce[mul]"),
    ("reduce[add]", "inclusive_scan[add]"),
    ("inclusive_scan[min]", "exclusive_scan[min]"),
    ("shuffle_up %v, 1u32", "shuffle_down %v, 1u32"),
    ("shuffle_up %v, 1u32", "shuffle_up %v, 2u32"),
    ("ballot_count %even", "any %even"),
    ("store %x[%s], %j", "store %x[0u32], %j"),
    ("coop.load[row_major]", "coop.load[column_major]"),
    ("coop.load[row_major] %x4[0u32], 4u32", "coop.load[row_major] %x4[1u32], 4u32"),
    ("coop.load[row_major] %x4[0u32], 4u32", "coop.load[row_major] %x4[0u32], 5u32"),
    ("coop.load[row_major] %x4[0u32]", "coop.load[row_major] %big[0u32]"),
    ("fill 1.0f32", "fill 2.0f32"),
    ("mul_add %mf, %mg, %mh", "mul_add %mf, %mg, %mi0"),
    ("store[column_major]", "store[row_major]"),
    ("%x4[4u32], 8u32, %mi", "%x4[5u32], 8u32, %mi"),
    ("%x4[4u32], 8u32, %mi", "%x4[4u32], 9u32, %mi"),
    ("%x4[4u32], 8u32, %mi", "%x4[4u32], 8u32, %mh"),
];

/// Checks that every shape of a lone matrix has a different digest.
#[test]
fn shapes_roles_scopes_and_components_count() {
    let mut seen = BTreeMap::new();
    for shape in ["16x16, a, subgroup", "16x32, a, subgroup", "32x16, a, subgroup", "16x16, b, subgroup"]
        .into_iter()
        .chain(["16x16, acc, subgroup", "16x16, a, workgroup", "256x8, acc, workgroup", "8x8, a, subgroup"])
    {
        for component in ["f32", "i32"] {
            let value = if component == "f32" { "0.0f32" } else { "0i32" };
            let source = format!(
                "fulgurite 1\nkernel @k workgroup(64, 1, 1) {{\n  \
                 %m = coop.fill {value} -> coopmat<{component}, {shape}>\n}}\n"
            );
            let name = format!("{component} {shape}");
            if let Some(other) = seen.insert(digest(&source), name.clone()) {
                panic!("`{name}` and `{other}` share a digest");
            }
        }
    }
}

fn digest(source: &str) -> Digest {
    let kernel = text::parse(source).and_then(verify).unwrap_or_else(|e| panic!("{e}\n{source}"));
    let bytes = wire::encode(&kernel).unwrap();
    let again = verify(wire::decode(&bytes).unwrap()).unwrap();
    assert_eq!(again.digest(), kernel.digest(), "{source}");
    kernel.digest()
}

#[test]
fn every_edit_has_a_digest_of_its_own() {
    let mut seen: BTreeMap<Digest, String> = BTreeMap::new();
    seen.insert(digest(KERNEL), "nothing".to_owned());
    for (from, to) in EDITS {
        assert!(KERNEL.contains(from), "{from}");
        let mut edited = KERNEL.replacen(from, to, 1);
        if from.contains("read_write f32[]") {
            // The element type determines the type of the stored value.
            edited = edited.replace("store %x[%s], %j", "store %x[%s], 1i32");
        }
        let name = format!("{from} -> {to}");
        if let Some(other) = seen.insert(digest(&edited), name.clone()) {
            panic!("`{name}` and `{other}` share a digest");
        }
    }
}

#[test]
fn names_and_regions_do_not_count() {
    let base = digest(KERNEL);
    for (from, to) in
        [("%even", "%odd"), ("\"phase\"", "\"another\""), ("%x4", "%wide"), ("%t", "%tile"), ("@k ", "@q ")]
    {
        assert_eq!(digest(&KERNEL.replace(from, to)), base, "{from}");
    }
    let flat = KERNEL
        .replace("  %r, %s = region \"phase\" -> f32, u32 {\n", "")
        .replace("    region \"inner\" {\n", "")
        .replace("    }\n    yield %e, %l\n  }\n", "")
        .replace("%r,", "%e,")
        .replace("[%s]", "[%l]");
    assert!(!flat.contains("region"));
    assert_eq!(digest(&flat), base);
    // A region around the previous code that yields a constant, a parameter and another region's result.
    let body = "  %a = add 1u32, %p\n  store %x[0u32], %a\n";
    let kernel = |body: &str| {
        format!(
            "fulgurite 1\nkernel @k workgroup(1, 1, 1) {{\n  buffer %x: write u32[]\n  param %p: u32\n{body}}}\n"
        )
    };
    let wrapped = "  %c, %q = region \"a\" -> u32, u32 {\n    %i, %j = region \"b\" -> u32, u32 {\n      yield 1u32, %p\n    \
                   }\n    yield %i, %j\n  }\n  region \"c\" {\n    %a = add %c, %q\n    store %x[0u32], %a\n  }\n";
    assert_eq!(digest(&kernel(body)), digest(&kernel(wrapped)));
    assert_ne!(digest(&kernel(body)), digest(&kernel(&wrapped.replace("1u32, %p", "%p, 1u32"))));
}
