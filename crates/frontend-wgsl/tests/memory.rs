//! Buffers, uniforms, workgroup memory and variables: layouts, indices out of bounds, bindings.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Case, bytes};
use fulgurite_frontend_wgsl::{Resource, Uniforms};
use fulgurite_ir::Access;
use fulgurite_spec::Type;

/// The head of an entry point with one invocation along x, `i`.
const MAIN: &str = "@compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>, \
                    @builtin(local_invocation_index) l: u32) { let i = id.x;";

fn element(source: &str, binding: u32) -> Type {
    let imported = Case::new(source).import();
    match imported.binding(0, binding).unwrap().resource {
        Resource::Buffer { element, .. } => element,
        Resource::Parameters(_) => panic!("parameters"),
    }
}

#[test]
fn buffers_have_the_natural_element_type() {
    for (ty, expected) in [
        ("array<f32>", "f32"),
        ("array<vec4<u32>>", "u32x4"),
        ("array<vec2<i32>, 5>", "i32x2"),
        ("array<vec3<f32>>", "f32"),
        ("array<mat4x4<f32>>", "f32x4"),
        ("array<S>", "f32x4"),
        ("array<T>", "f32"),
        ("array<U>", "u32"),
        ("vec2<f32>", "f32x2"),
        ("atomic<u32>", "u32"),
    ] {
        let source = format!(
            "struct S {{ a: vec4<f32>, b: vec4<f32> }}\nstruct T {{ a: vec3<f32>, b: f32 }}\nstruct U {{ a: f32, b: i32 }}\n\
             @group(0) @binding(0) var<storage, read_write> x: {ty};\n\
             @compute @workgroup_size(1) fn main() {{ let p = &x; _ = p; }}"
        );
        // A variable that is only named is used.
        assert_eq!(element(&source, 0).to_string(), expected, "{ty}");
    }
}

#[test]
fn members_are_at_their_offsets() {
    let source = format!(
        "struct Inner {{ v: vec3<f32>, k: i32 }}
         struct P {{ a: u32, v: vec4<f32>, m: mat2x3<f32>, inner: array<Inner, 2>, w: vec2<u32> }}
         @group(0) @binding(0) var<storage, read_write> p: array<P>;
         {MAIN}
           p[i].w = vec2<u32>(p[i].a, u32(p[i].inner[1].k));
           p[i].v.y = p[i].m[1][2] + p[i].inner[0].v.z;
           p[i].inner[1].v = p[i].v.wzy;
         }}"
    );
    // a 0, v 16, m 32 (two columns of 16), inner 64 (two of 16), w 96; 112 bytes.
    let mut words: Vec<u32> = (0..3 * 28).map(|n| n * 7).collect();
    let float = |word: &mut u32, value: f32| *word = value.to_bits();
    for p in 0..3usize {
        let at = p * 28;
        float(&mut words[at + 8 + 4 + 2], p as f32 + 0.5);
        float(&mut words[at + 16 + 2], 10.0 * p as f32);
        for v in 4..8 {
            float(&mut words[at + v], (v * (p + 1)) as f32);
        }
    }
    let mut expected = words.clone();
    for p in 0..3usize {
        let at = p * 28;
        expected[at + 24] = words[at];
        expected[at + 25] = words[at + 23];
        expected[at + 5] = (p as f32 + 0.5 + 10.0 * p as f32).to_bits();
        expected[at + 20] = words[at + 7];
        expected[at + 21] = words[at + 6];
        expected[at + 22] = expected[at + 5];
    }
    assert_eq!(Case::new(&source).bind(0, &words).run::<u32>(0), expected);
}

#[test]
fn whole_structures_and_arrays_are_copied() {
    let source = format!(
        "struct P {{ a: u32, v: vec3<f32>, t: array<i32, 3> }}
         @group(0) @binding(0) var<storage, read> from_: array<P>;
         @group(0) @binding(1) var<storage, read_write> to: array<P>;
         {MAIN} var p = from_[i]; p.t[1] += 1; let q = p; to[7u - i] = q; }}"
    );
    // a 0, v 16, t 28; 48 bytes.
    let from: Vec<u32> = (0..8 * 12).collect();
    let mut expected = vec![0u32; 8 * 12];
    for p in 0..8 {
        for w in [0, 4, 5, 6, 7, 8, 9] {
            expected[(7 - p) * 12 + w] = from[p * 12 + w] + u32::from(w == 8);
        }
    }
    assert_eq!(Case::new(&source).bind(0, &from).bind(1, &vec![0u32; 96]).run::<u32>(1), expected);
}

#[test]
fn runtime_arrays_after_a_header_have_their_length() {
    let source = format!(
        "struct H {{ count: atomic<u32>, scale: f32, data: array<vec2<f32>> }}
         @group(0) @binding(0) var<storage, read_write> h: H;
         @group(0) @binding(1) var<storage, read_write> len: array<u32>;
         {MAIN} len[i] = arrayLength(&h.data);
           if (i < arrayLength(&h.data)) {{ h.data[i] *= h.scale; atomicAdd(&h.count, 1u); }} }}"
    );
    let mut h = bytes(&[0u32]);
    h.extend(bytes(&[2.0f32, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    let case = Case::new(&source).bind(0, &h).bind(1, &[0u32; 8]);
    assert_eq!(case.run::<u32>(1), [3; 8]);
    let mut expected = bytes(&[3u32]);
    expected.extend(bytes(&[2.0f32, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]));
    assert_eq!(case.run::<u8>(0), expected);
}

#[test]
fn accesses_out_of_bounds_do_nothing() {
    let source = format!(
        "struct S {{ rows: array<array<u32, 3>, 2>, tail: u32 }}
         @group(0) @binding(0) var<storage, read_write> s: S;
         @group(0) @binding(1) var<storage, read_write> r: array<u32>;
         @group(0) @binding(2) var<storage, read_write> x: array<u32>;
         @group(0) @binding(3) var<storage, read> n: array<i32>;
         var<workgroup> w: array<array<u32, 2>, 2>;
         {MAIN}
           if (l == 0u) {{ w[0][0] = 1u; w[0][1] = 2u; w[1][0] = 3u; w[1][1] = 4u; }}
           workgroupBarrier();
           var v = vec4<u32>(10u, 20u, 30u, 40u);
           var a = array<u32, 3>(5u, 6u, 7u);
           let k = n[i];
           r[i * 6u] = s.rows[0][k];
           r[i * 6u + 1u] = s.rows[k][1];
           r[i * 6u + 2u] = w[0][k];
           r[i * 6u + 3u] = v[k];
           r[i * 6u + 4u] = a[k];
           r[i * 6u + 5u] = x[k];
           x[k + 8] = 99u;
         }}"
    );
    let n = [0i32, 1, 2, 3, -1, i32::MAX, i32::MIN, 1 << 30];
    let within =
        |k: i32, list: &[u32]| usize::try_from(k).ok().and_then(|k| list.get(k)).copied().unwrap_or(0);
    let s: Vec<u32> = (1..8).collect();
    let x = [100u32, 101, 102];
    let mut expected = Vec::new();
    for k in n {
        expected.extend([
            within(k, &s[..3]),
            within(k, &[s[1], s[4]]),
            within(k, &[1, 2]),
            within(k, &[10, 20, 30, 40]),
            within(k, &[5, 6, 7]),
            within(k, &x),
        ]);
    }
    let case = Case::new(&source).bind(0, &s).bind(1, &[7u32; 48]).bind(2, &x).bind(3, &n);
    assert_eq!(case.run::<u32>(1), expected, "{}", case.text());
    assert_eq!(case.run::<u32>(2), x);
}

#[test]
fn large_indices_of_structures_do_not_wrap() {
    let source = format!(
        "struct P {{ a: u32, b: u32 }}
         @group(0) @binding(0) var<storage, read_write> p: array<P>;
         @group(0) @binding(1) var<storage, read> n: array<u32>;
         {MAIN} p[n[i]].b = 5u; }}"
    );
    // Twice the index wraps to 0, 2 and so on.
    let n = [0x8000_0000u32, 0x8000_0001, 0xffff_ffff, 0x7fff_ffff, 9, 4, 1, 1];
    let case = Case::new(&source).bind(0, &[1u32; 6]).bind(1, &n);
    assert_eq!(case.run::<u32>(0), [1, 1, 1, 5, 1, 1]);
}

#[test]
fn uniforms_are_parameters_or_buffers() {
    let source = format!(
        "struct U {{ a: f32, v: vec3<f32>, m: mat2x2<f32>, n: u32 }}
         struct W {{ t: array<vec4<f32>, 2> }}
         @group(0) @binding(0) var<uniform> u: U;
         @group(0) @binding(1) var<storage, read_write> r: array<f32>;
         @group(0) @binding(2) var<uniform> w: W;
         {MAIN} r[i] = u.a + u.v[i & 1u] + u.m[1].x + u.m[i & 1u][1] + f32(u.n) + w.t[i].y; }}"
    );
    // a 0, v 16, m 32 (columns of 8), n 48; 64 bytes.
    let mut u = vec![0u8; 64];
    let mut put = |at: usize, value: f32| u[at..at + 4].copy_from_slice(&value.to_le_bytes());
    put(0, 1.0);
    put(16, 2.0);
    put(20, 4.0);
    put(40, 8.0);
    put(36, 16.0);
    put(44, 32.0);
    u[48..52].copy_from_slice(&64u32.to_le_bytes());
    let w: Vec<f32> = (0..8).map(|n| n as f32 * 100.0).collect();
    let expected: Vec<f32> = (0..8usize)
        .map(|i| {
            let odd = i % 2 == 1;
            1.0 + if odd { 4.0 } else { 2.0 }
                + 8.0
                + if odd { 32.0 } else { 16.0 }
                + 64.0
                + if i < 2 { w[i * 4 + 1] } else { 0.0 }
        })
        .collect();
    for uniforms in [Uniforms::Parameters, Uniforms::Buffers] {
        let case = Case::new(&source).bind(0, &u).bind(1, &[0f32; 8]).bind(2, &w).uniforms(uniforms);
        assert_eq!(case.run::<f32>(1), expected, "{}", case.text());
        let imported = case.import();
        let is_parameters = |n| matches!(imported.binding(0, n).unwrap().resource, Resource::Parameters(_));
        assert_eq!(is_parameters(0), uniforms == Uniforms::Parameters);
        assert!(!is_parameters(2), "arrays are never parameters");
    }
    let Resource::Parameters(fields) = &Case::new(&source).import().binding(0, 0).unwrap().resource.clone()
    else {
        panic!("buffer");
    };
    let shown: Vec<_> = fields.iter().map(|f| (f.name.as_str(), f.offset, f.ty.to_string())).collect();
    let expected = [
        ("u.a", 0, "f32"),
        ("u.v", 16, "f32x3"),
        ("u.m.0", 32, "f32x2"),
        ("u.m.1", 40, "f32x2"),
        ("u.n", 48, "u32"),
    ];
    assert_eq!(shown, expected.map(|(name, offset, ty)| (name, offset, ty.to_owned())));
}

#[test]
fn bindings_are_in_order_and_only_those_that_are_used() {
    let source = "
        @group(1) @binding(0) var<storage, read_write> c: array<u32>;
        @group(0) @binding(9) var<storage, read> b: array<f32>;
        @group(0) @binding(2) var<uniform> a: vec2<f32>;
        @group(0) @binding(1) var<storage, read> unused: array<f32>;
        fn first() -> f32 { return b[0]; }
        @compute @workgroup_size(1) fn main() { c[0] = u32(first() + a.x); }";
    let case = Case::new(source).bind(9, &[2.5f32]).bind(2, &[4.0f32, 0.0]).bind_in(1, 0, &[0u32]);
    let imported = case.import();
    let shown: Vec<_> =
        imported.bindings.iter().map(|b| (b.slot.map(|s| (s.group, s.binding)), b.name.as_str())).collect();
    assert_eq!(shown, [(Some((0, 2)), "a"), (Some((0, 9)), "b"), (Some((1, 0)), "c")]);
    let buffer = |group, binding| match &imported.binding(group, binding).unwrap().resource {
        Resource::Buffer { position, access, least_bytes, .. } => (*position, *access, *least_bytes),
        Resource::Parameters(_) => panic!("parameters"),
    };
    assert_eq!(buffer(0, 9), (0, Access::Read, 0));
    assert_eq!(buffer(1, 0), (1, Access::ReadWrite, 0));
    assert!(imported.binding(0, 1).is_none());
    for outputs in case.run_all() {
        assert_eq!(common::elements::<u32>(&outputs[&(1, 0)]), [6]);
    }
}

#[test]
fn workgroup_memory_is_shared_and_begins_as_zeros() {
    let source = format!(
        "struct Cell {{ v: vec3<f32>, hit: bool, n: atomic<u32> }}
         @group(0) @binding(0) var<storage, read_write> r: array<f32>;
         var<workgroup> cells: array<Cell, 8>;
         var<workgroup> total: atomic<i32>;
         {MAIN}
           let before = cells[l].v.y;
           cells[l].v.x = f32(l);
           cells[(l + 1u) % 8u].v.z = before + 10.0 * f32(l);
           cells[l].hit = l % 3u == 0u;
           atomicAdd(&cells[l / 2u].n, l);
           atomicSub(&total, 2);
           workgroupBarrier();
           let c = (l + 3u) % 8u;
           r[i] = cells[c].v.x + cells[c].v.y + cells[c].v.z + select(0.0, 1000.0, cells[c].hit)
             + f32(atomicLoad(&cells[c].n)) * 0.5 + f32(atomicLoad(&total));
         }}"
    );
    let expected: Vec<f32> = (0..8)
        .map(|l| {
            let c = (l + 3) % 8;
            let n = if c < 4 { 4 * c + 1 } else { 0 };
            c as f32 + 10.0 * ((c + 7) % 8) as f32 + if c % 3 == 0 { 1000.0 } else { 0.0 } + n as f32 * 0.5
                - 16.0
        })
        .collect();
    assert_eq!(Case::new(&source).bind(0, &[0f32; 8]).run::<f32>(0), expected);
}

#[test]
fn arrays_of_an_invocation_are_indexed_dynamically() {
    let source = format!(
        "struct Item {{ key: u32, on: bool, v: vec2<f32> }}
         @group(0) @binding(0) var<storage, read_write> r: array<f32>;
         const PRIMES = array<u32, 12>(2u, 3u, 5u, 7u, 11u, 13u, 17u, 19u, 23u, 29u, 31u, 37u);
         fn fill(items: ptr<function, array<Item, 6>>, at: u32) {{
           var stack: array<u32, 10>;
           stack[at] += at;
           (*items)[at].key += PRIMES[at] + stack[at];
         }}
         {MAIN}
           var items: array<Item, 6>;
           for (var k = 0u; k < 6u; k++) {{ items[k].v[k & 1u] = f32(k); items[k].on = k != i; fill(&items, k); }}
           fill(&items, i % 6u);
           var sum = 0.0;
           for (var k = 0u; k < 6u; k++) {{
             let item = items[k];
             if (item.on) {{ sum += f32(item.key) + item.v.x * 10.0 + item.v.y * 100.0; }}
           }}
           r[i] = sum;
         }}"
    );
    let primes = [2u32, 3, 5, 7, 11, 13];
    let expected: Vec<f32> = (0..8u32)
        .map(|i| {
            (0..6u32)
                .filter(|k| *k != i)
                .map(|k| {
                    let times = if k == i % 6 { 2 } else { 1 };
                    let key = times * (primes[k as usize] + k);
                    key as f32 + k as f32 * if k % 2 == 0 { 10.0 } else { 100.0 }
                })
                .sum()
        })
        .collect();
    let case = Case::new(&source).bind(0, &[0f32; 8]);
    assert_eq!(case.run::<f32>(0), expected, "{}", case.text());
}

#[test]
fn array_values_are_indexed_dynamically() {
    let source = format!(
        "@group(0) @binding(0) var<storage, read_write> r: array<f32>;
         struct S {{ t: array<vec2<f32>, 10>, small: array<bool, 3> }}
         fn make(k: f32) -> S {{
           var s: S;
           for (var i = 0; i < 10; i++) {{ s.t[i] = vec2<f32>(f32(i) * k, k); }}
           s.small[1] = k > 3.0;
           return s;
         }}
         fn pick(t: array<vec2<f32>, 10>, i: u32) -> f32 {{ return t[i].x - t[9u - i].x + t[i + 5u].y; }}
         {MAIN} let s = make(f32(i)); let other = make(2.0);
           r[i] = pick(s.t, i) + pick(other.t, 9u - i) * 100.0 + select(0.0, 0.5, s.small[i % 4u]); }}"
    );
    let pick = |k: f32, i: u32| {
        let x = |i: u32| if i < 10 { i as f32 * k } else { 0.0 };
        x(i) - x(9 - i) + if i + 5 < 10 { k } else { 0.0 }
    };
    let expected: Vec<f32> = (0..8u32)
        .map(|i| {
            let small = i % 4 == 1 && i > 3;
            pick(i as f32, i) + pick(2.0, 9 - i) * 100.0 + if small { 0.5 } else { 0.0 }
        })
        .collect();
    let case = Case::new(&source).bind(0, &[0f32; 8]);
    assert_eq!(case.run::<f32>(0), expected, "{}", case.text());
}

#[test]
fn pointers_to_buffers_and_workgroup_memory_are_followed() {
    let source = format!(
        "@group(0) @binding(0) var<storage, read_write> r: array<vec4<f32>>;
         var<workgroup> w: array<f32, 8>;
         {MAIN} let q = &w; (*q)[l] = f32(l * l); workgroupBarrier(); let p = &r[i]; (*p).z += w[7u - l]; (*p).x = 1.0; }}"
    );
    let expected: Vec<f32> = (0..8).flat_map(|i| [1.0, 0.0, ((7 - i) * (7 - i)) as f32, 0.0]).collect();
    assert_eq!(Case::new(&source).bind(0, &[0f32; 32]).run::<f32>(0), expected);
}

#[test]
fn narrow_and_wide_types_have_their_size() {
    let source = format!(
        "enable f16;
         struct S {{ h: f16, v: vec2<f16>, l: i64, u: u64, d: f64 }}
         @group(0) @binding(0) var<storage, read_write> s: array<S>;
         {MAIN} s[i].v = s[i].v.yx * s[i].h; s[i].l = -s[i].l - 5li; s[i].u = s[i].u << 3u; s[i].d = s[i].d * 0.5lf; }}"
    );
    // h 0, v 4, l 8, u 16, d 24; 32 bytes.
    let record = |h: f32, v: [f32; 2], l: i64, u: u64, d: f64| {
        let half = |x: f32| half::f16::from_f32(x).to_bits().to_le_bytes();
        let mut out = half(h).to_vec();
        out.extend([0, 0]);
        out.extend(half(v[0]));
        out.extend(half(v[1]));
        out.extend(l.to_le_bytes());
        out.extend(u.to_le_bytes());
        out.extend(d.to_le_bytes());
        out
    };
    let s =
        [record(2.0, [1.5, 3.0], 1 << 40, u64::MAX, 3.0), record(-1.0, [0.25, 8.0], -7, 5, -1e300)].concat();
    let expected = [
        record(2.0, [6.0, 3.0], -(1 << 40) - 5, u64::MAX << 3, 1.5),
        record(-1.0, [-8.0, -0.25], 2, 40, -5e299),
    ];
    assert_eq!(Case::new(&source).bind(0, &s).run::<u8>(0), expected.concat());
}

#[test]
fn components_are_stored_alone_in_buffers() {
    let source = format!(
        "@group(0) @binding(0) var<storage, read_write> v: array<vec4<u32>>;
         @group(0) @binding(1) var<storage, read_write> t: array<vec3<u32>>;
         {MAIN} v[i / 4u][i % 4u] = i; t[i / 3u][i % 3u] = i; v[2][i + 2u] = 77u; }}"
    );
    // The last store is out of bounds for all but two invocations.
    let case = Case::new(&source).bind(0, &[9u32; 12]).bind(1, &[9u32; 12]);
    assert_eq!(case.run::<u32>(0), [0, 1, 2, 3, 4, 5, 6, 7, 9, 9, 77, 77]);
    assert_eq!(case.run::<u32>(1), [0, 1, 2, 9, 3, 4, 5, 9, 6, 7, 9, 9]);
}

#[test]
fn entry_points_take_structures_of_builtins_and_share_names() {
    let source = "
        struct In { @builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_id) l: vec3<u32> }
        @group(0) @binding(0) var<storage, read_write> r: array<u32>;
        @compute @workgroup_size(2, 3) fn main(in: In, @builtin(num_workgroups) n: vec3<u32>,
          @builtin(local_invocation_index) x: u32) {
          let r_ = &r; (*r_)[in.g.x * 6u + x] = in.l.x + 10u * in.l.y + 100u * in.g.x + 1000u * n.x; }";
    let expected: Vec<u32> = (0..12).map(|i| (i % 2) + 10 * (i % 6 / 2) + 100 * (i / 6) + 2000).collect();
    assert_eq!(Case::new(source).bind(0, &[0u32; 12]).grid([2, 1, 1]).run::<u32>(0), expected);
}

#[test]
fn buffers_that_are_not_written_are_read_only() {
    let source = format!(
        "@group(0) @binding(0) var<storage, read_write> n: array<u32>;
         @group(0) @binding(1) var<storage, read_write> r: array<u32>;
         {MAIN} if (n[0] > 3u) {{ workgroupBarrier(); }} r[i] = n[i]; }}"
    );
    // The barrier's condition is uniform, because nothing writes `n`.
    let case = Case::new(&source).bind(0, &[7u32, 8, 9]).bind(1, &[1u32; 4]);
    assert_eq!(case.run::<u32>(1), [7, 8, 9, 0]);
    let imported = case.import();
    let access = |n: u32| match imported.binding(0, n).unwrap().resource {
        Resource::Buffer { access, .. } => access,
        Resource::Parameters(_) => panic!("parameters"),
    };
    assert_eq!((access(0), access(1)), (Access::Read, Access::ReadWrite));
}

#[test]
fn immediates_are_parameters() {
    let source = format!(
        "struct I {{ a: u32, v: vec2<u32> }}
         var<immediate> im: I;
         @group(0) @binding(0) var<storage, read_write> r: array<u32>;
         {MAIN} r[i] = im.a + im.v[i & 1u]; }}"
    );
    let (group, binding) = common::IMMEDIATE;
    let case = Case::new(&source).bind(0, &[0u32; 4]).bind_in(group, binding, &[100u32, 0, 7, 9]);
    assert_eq!(case.run::<u32>(0), [107, 109, 107, 109]);
    let imported = case.import();
    assert_eq!((imported.bindings[0].slot, imported.bindings[0].name.as_str()), (None, "im"));
}

#[test]
fn indices_in_range_are_not_tested() {
    let source = "
        @group(0) @binding(0) var<storage, read_write> r: array<f32>;
        var<workgroup> t: array<array<f32, 16>, 8>;
        @compute @workgroup_size(16, 8) fn main(@builtin(local_invocation_id) l: vec3<u32>) {
          t[l.y][l.x] = f32(l.x * 8u + l.y);
          workgroupBarrier();
          var sum = 0.0;
          for (var i = 0; i < 16; i++) { sum += t[l.y][i]; }
          r[l.y * 16u + l.x] = sum;
        }";
    let case = Case::new(source).bind(0, &[0f32; 128]);
    let expected: Vec<f32> = (0..128).map(|i| (0..16).map(|x| (x * 8 + i / 16) as f32).sum()).collect();
    assert_eq!(case.run::<f32>(0), expected);
    let text = case.text();
    assert!(!text.contains("select") && !text.contains("min"), "{text}");
}
