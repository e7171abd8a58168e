//! Atomics, barriers, subgroup ops and overrides.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::Case;

#[test]
fn atomics_modify_and_return_the_old_value() {
    let source = "
        struct A { u: atomic<u32>, i: atomic<i32>, list: array<atomic<u32>, 8> }
        @group(0) @binding(0) var<storage, read_write> a: A;
        @group(0) @binding(1) var<storage, read_write> r: array<u32>;
        @compute @workgroup_size(1) fn main() {
          r[0] = atomicAdd(&a.u, 5u);
          r[1] = atomicSub(&a.u, 2u);
          r[2] = atomicMax(&a.u, 100u);
          r[3] = atomicMin(&a.u, 40u);
          r[4] = atomicAnd(&a.u, 0xf8u);
          r[5] = atomicOr(&a.u, 3u);
          r[6] = atomicXor(&a.u, 0xffu);
          r[7] = atomicExchange(&a.u, 11u);
          let weak = atomicCompareExchangeWeak(&a.u, 11u, 12u);
          r[8] = weak.old_value + select(0u, 1000u, weak.exchanged);
          let again = atomicCompareExchangeWeak(&a.u, 11u, 13u);
          r[9] = again.old_value + select(0u, 1000u, again.exchanged);
          r[10] = u32(atomicMin(&a.i, -3) + 100);
          atomicStore(&a.list[3], atomicLoad(&a.u));
          atomicAdd(&a.list[9u + r[0]], 1u);
        }";
    let case = Case::new(source).bind(0, &[10u32, 7, 0, 0, 0, 0, 0, 0, 0, 0]).bind(1, &[0u32; 11]);
    assert_eq!(case.run::<u32>(1), [10, 15, 13, 100, 40, 40, 43, 43 ^ 0xff, 1011, 12, 107]);
    assert_eq!(case.run::<u32>(0), [12, -3i32 as u32, 0, 0, 0, 12, 0, 0, 0, 0]);
}

#[test]
fn atomic_counters_give_each_invocation_its_own_number() {
    let source = "
        @group(0) @binding(0) var<storage, read_write> counter: atomic<u32>;
        @group(0) @binding(1) var<storage, read_write> seen: array<u32>;
        @compute @workgroup_size(64) fn main() { let n = atomicAdd(&counter, 1u); seen[n] = n + 1u; }";
    let case = Case::new(source).bind(0, &[0u32]).bind(1, &[0u32; 256]).grid([4, 1, 1]);
    assert_eq!(case.run::<u32>(1), (1..=256).collect::<Vec<u32>>());
    assert_eq!(case.run::<u32>(0), [256]);
}

const REDUCE: &str = "
    override SIZE: u32 = 64;
    override SCALE: f32 = 1.0;
    @group(0) @binding(0) var<storage, read> x: array<f32>;
    @group(0) @binding(1) var<storage, read_write> sums: array<f32>;
    var<workgroup> part: array<f32, SIZE>;
    @compute @workgroup_size(SIZE)
    fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) l: u32,
            @builtin(workgroup_id) g: vec3<u32>) {
      part[l] = x[id.x] * SCALE;
      workgroupBarrier();
      for (var stride = SIZE / 2u; stride > 0u; stride /= 2u) {
        if (l < stride) { part[l] += part[l + stride]; }
        workgroupBarrier();
      }
      if (l == 0u) { sums[g.x] = part[0]; }
    }";

#[test]
fn overrides_have_defaults_and_take_values() {
    let x: Vec<f32> = (0..256).map(|i| (i % 13) as f32).collect();
    let sums = |size: usize, scale: f32| -> Vec<f32> {
        x.chunks(size).map(|c| c.iter().sum::<f32>() * scale).collect()
    };
    let case = Case::new(REDUCE).bind(0, &x).bind(1, &[0f32; 4]).grid([4, 1, 1]);
    assert_eq!(case.run::<f32>(1), sums(64, 1.0));
    let case = Case::new(REDUCE)
        .bind(0, &x)
        .bind(1, &[0f32; 16])
        .grid([16, 1, 1])
        .set("SIZE", 16.0)
        .set("SCALE", 2.0);
    assert_eq!(case.run::<f32>(1), sums(16, 2.0));
    let imported = case.import();
    assert_eq!((imported.kernel.workgroup, imported.kernel.shared[0].len), ([16, 1, 1], 16));
}

#[test]
fn overrides_with_an_id_are_named_by_it() {
    let source = "@id(7) override n: i32; override twice = n * 2; override on = false;
        @group(0) @binding(0) var<storage, read_write> r: array<i32>;
        @compute @workgroup_size(1) fn main() { r[0] = twice + select(0, 100, on); }";
    let run = |on: f64| Case::new(source).bind(0, &[0i32]).set("7", -4.0).set("on", on).run::<i32>(0);
    assert_eq!((run(0.0), run(1.0)), (vec![-8], vec![92]));
}

#[test]
fn uniform_loads_and_control_flow_around_barriers() {
    let source = "
        @group(0) @binding(0) var<storage, read_write> r: array<u32>;
        var<workgroup> rounds: u32;
        var<workgroup> t: array<u32, 16>;
        @compute @workgroup_size(16)
        fn main(@builtin(local_invocation_index) l: u32) {
          if (l == 5u) { rounds = r[0]; }
          let n = workgroupUniformLoad(&rounds);
          t[l] = l;
          for (var k = 0u; k < n; k++) {
            workgroupBarrier();
            let next = t[(l + 1u) % 16u];
            workgroupBarrier();
            t[l] = next;
            if (k == 6u) { break; }
          }
          storageBarrier();
          r[l] = t[l];
        }";
    for (rounds, shift) in [(0, 0), (3, 3), (9, 7)] {
        let mut r = [0u32; 16];
        r[0] = rounds;
        let expected: Vec<u32> = (0..16).map(|l| (l + shift) % 16).collect();
        assert_eq!(Case::new(source).bind(0, &r).run::<u32>(0), expected);
    }
}

/// Lanes are those of the backend's subgroups, so that results are compared through the size and lane that the shader
/// itself reports.
#[test]
fn subgroup_ops_combine_lanes() {
    let source = "enable f16, subgroups;
        struct R { size: u32, lane: u32, sum: u32, before: u32, upto: u32, most: u32, ballot: u32, first: u32, xor: u32,
          down: u32, any: u32, all: u32, third: u32, quad: u32, swap: u32, groups: u32 }
        @group(0) @binding(0) var<storage, read_write> r: array<R>;
        @compute @workgroup_size(32)
        fn main(@builtin(local_invocation_index) l: u32, @builtin(subgroup_size) size: u32,
                @builtin(subgroup_invocation_id) lane: u32, @builtin(subgroup_id) group: u32,
                @builtin(num_subgroups) groups: u32) {
          var o: R;
          o.size = size; o.lane = lane + 1000u * group; o.groups = groups;
          let v = l * 3u + 1u;
          o.sum = subgroupAdd(v);
          o.before = subgroupExclusiveAdd(v);
          o.upto = subgroupInclusiveMul(v & 3u);
          o.most = subgroupMax(v ^ 5u);
          o.ballot = subgroupBallot(l % 3u == 0u).x;
          o.first = subgroupBroadcastFirst(v);
          o.xor = subgroupShuffleXor(v, 1u);
          o.down = subgroupShuffleDown(v, 1u);
          o.any = u32(subgroupAny(l == 9u));
          o.all = u32(subgroupAll(l < 8u));
          o.third = subgroupShuffle(v, 2u);
          o.quad = quadBroadcast(v, 3u);
          o.swap = quadSwapDiagonal(v);
          subgroupBarrier();
          r[l] = o;
        }";
    let case = Case::new(source).bind(0, &[0u32; 32 * 16]);
    for outputs in case.run_all() {
        let words: Vec<u32> = common::elements(&outputs[&(0, 0)]);
        let size = words[0];
        assert!(size.is_power_of_two() && size >= 4, "{size}");
        let v = |l: u32| l * 3 + 1;
        for l in 0..32u32 {
            let (group, lane) = (l / size, l % size);
            let start = group * size;
            let lanes = || start..(start + size).min(32);
            let below = || start..l;
            let clamp = |other: u32| if other < (start + size).min(32) { v(other) } else { v(l) };
            let expected = [
                size,
                lane + 1000 * group,
                lanes().map(v).sum(),
                below().map(v).sum(),
                (start..=l).map(|l| v(l) & 3).product(),
                lanes().map(|l| v(l) ^ 5).max().unwrap(),
                lanes().filter(|l| l % 3 == 0 && l - start < 32).map(|l| 1 << (l - start)).sum(),
                v(start),
                v(l ^ 1),
                clamp(l + 1),
                u32::from(lanes().any(|l| l == 9)),
                u32::from(lanes().all(|l| l < 8)),
                v(start + 2),
                v(l | 3),
                v(l ^ 3),
                32u32.div_ceil(size),
            ];
            assert_eq!(words[l as usize * 16..][..16], expected, "lane {l} of subgroups of {size}");
        }
    }
}

#[test]
fn atomics_work_on_floats_and_wide_integers() {
    let source = "
        struct A { sum: atomic<f32>, most: atomic<u64> }
        @group(0) @binding(0) var<storage, read_write> a: A;
        @compute @workgroup_size(32) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
          atomicAdd(&a.sum, f32(id.x));
          atomicMax(&a.most, u64(id.x) << 33u);
        }";
    // The sum of whole numbers does not depend on their order.
    let case = Case::new(source).bind(0, &[0u64, 5]).grid([3, 1, 1]);
    assert_eq!(case.run::<u64>(0), [u64::from(4560f32.to_bits()), 95 << 33]);
}

#[test]
fn narrow_integers_wrap() {
    let source = "enable wgpu_int16;
        @group(0) @binding(0) var<storage, read_write> x: array<i16>;
        @compute @workgroup_size(8) fn main(@builtin(local_invocation_index) l: u32) { x[l] = x[l] * i16(l) + x[l]; }";
    let x = [1u16, 2, 3, 0x7fff, 0x8000, 0xffff, 1000, 20000];
    let expected: Vec<u16> = (0..8).zip(x).map(|(l, x)| x.wrapping_mul(l).wrapping_add(x)).collect();
    assert_eq!(Case::new(source).bind(0, &x).run::<u16>(0), expected);
}
