//! Ops across subgroups and workgroups, in workgroups of many sizes, compared with models over all values.

use std::ops::Range;
use std::sync::Arc;

use fulgurite_hal::{CompileOptions, Device as _};
use fulgurite_ir::VerifiedKernel;
use fulgurite_spec::ScalarType;

use crate::tests::{grid, interpreted, kernel, launched};
use crate::{CpuDevice, CpuOptions, Native, machine_code};

const SIZES: [u32; 13] = [1, 5, 7, 8, 9, 16, 17, 31, 32, 33, 64, 100, 200];

/// Returns the value of invocation `i`, as the kernels compute it.
fn value(i: u32) -> u32 {
    i.wrapping_mul(0x9e37_79b9) >> 20
}

/// Runs `lines`, which compute `%r` from `%v`, in two workgroups of each size, and compares with `wanted`, a function
/// of the invocation and the range of its subgroup.
fn check(lines: &str, wanted: impl Fn(u32, Range<u32>) -> u32) {
    check_numbered(lines, |i, subgroup, _| wanted(i, subgroup));
}

/// Does what [`check`] does, and also passes the subgroup's number in its workgroup to `wanted`.
fn check_numbered(lines: &str, wanted: impl Fn(u32, Range<u32>, u32) -> u32) {
    for size in SIZES {
        let source = format!(
            "buffer %out: write u32[]\n%i = global_id.x\n%l = local_index\n%lane = lane
  %h = mul %i, 0x9e3779b9u32\n%v = shr %h, 20u32\n{lines}\nstore %out[%i], %r"
        );
        each_form(&kernel(&format!("{size}, 1, 1"), &source), 2, |form, lanes, words| {
            for (i, found) in (0..).zip(words) {
                let (workgroup, local) = (i / size, i % size);
                let first = local / lanes * lanes;
                let last = (first + lanes).min(size);
                let subgroup = workgroup * size + first..workgroup * size + last;
                let wanted = wanted(i, subgroup, local / lanes);
                assert_eq!(*found, wanted, "{form}: {i} of {size}, {lanes} lanes: {lines}");
            }
        });
    }
}

/// Runs a kernel of one buffer in the interpreter, with subgroups of each size, and as native code that this machine runs.
fn each_form(kernel: &Arc<VerifiedKernel>, workgroups: u32, judge: impl Fn(&str, u32, &[u32])) {
    let sizes = [workgroups as usize * kernel.workgroup_invocations() as usize];
    for lanes in [8, 16, 32] {
        let words = interpreted(kernel, lanes as usize, &sizes, &grid(workgroups)).unwrap();
        judge("interpreter", lanes, &words[0]);
    }
    for native in [Native::Avx2, Native::Avx512].into_iter().filter(|native| native.is_available()) {
        let device = CpuDevice::with(CpuOptions { native });
        let executable = device.compile(kernel.clone(), &CompileOptions::default()).unwrap();
        // One of the kernels has a type that native code does not have.
        let has_doubles = kernel.values.iter().any(|v| v.ty.scalar == ScalarType::F64);
        assert_eq!(machine_code(kernel, CpuOptions { native }).is_ok(), !has_doubles, "{native}");
        let words = launched(&device, &executable, &sizes, &grid(workgroups)).unwrap();
        judge("native code", native.subgroup_size(), &words[0]);
    }
}

#[test]
fn scans_combine_what_is_there() {
    type Combine = fn(u32, u32) -> u32;
    let all: [(&str, u32, Combine); 7] = [
        ("add", 0, u32::wrapping_add),
        ("mul", 1, u32::wrapping_mul),
        ("min", u32::MAX, u32::min),
        ("max", 0, u32::max),
        ("and", u32::MAX, |a, b| a & b),
        ("or", 0, |a, b| a | b),
        ("xor", 0, |a, b| a ^ b),
    ];
    for (name, identity, combine) in all {
        let over = |range: Range<u32>| range.map(value).fold(identity, combine);
        check(&format!("%r = subgroup.reduce[{name}] %v"), |_, s| over(s));
        check(&format!("%r = subgroup.inclusive_scan[{name}] %v"), |i, s| over(s.start..i + 1));
        check(&format!("%r = subgroup.exclusive_scan[{name}] %v"), |i, s| over(s.start..i));
    }
}

#[test]
fn scans_take_vectors_and_wide_types() {
    let lines =
        "%w = convert %v -> u64\n%w2 = shl %w, 30u32\n%z = construct %w2, %w\n%s = subgroup.reduce[add] %z
  %a = extract %s, 0u32\n%b = extract %s, 1u32\n%a2 = shr %a, 30u32\n%same = eq %a2, %b
  %low = convert %b -> u32\n%r = select %same, %low, 0u32";
    check(lines, |_, s| s.map(value).sum());
    let lines = "%f = convert %v -> f64\n%n = neg %f\n%s = subgroup.inclusive_scan[min] %n\n%p = neg %s
  %r = convert %p -> u32";
    check(lines, |i, s| (s.start..i + 1).map(value).max().unwrap_or(0));
    // Small integers wrap.
    let lines = "%b = convert %v -> u8\n%s = subgroup.exclusive_scan[add] %b\n%r = convert %s -> u32";
    check(lines, |i, s| (s.start..i).map(value).sum::<u32>() & 0xff);
}

#[test]
fn shuffles_keep_the_own_value_where_no_lane_is() {
    let or_own = |i: u32, s: &Range<u32>, other: Option<u32>| {
        let other = other.and_then(|lane| s.start.checked_add(lane)).filter(|other| s.contains(other));
        value(other.unwrap_or(i))
    };
    for by in [0u32, 1, 7, 31, 32, u32::MAX] {
        let lane = |i: u32, s: &Range<u32>| i - s.start;
        let source = |op: &str| format!("%r = subgroup.{op} %v, {by}u32");
        check(&source("broadcast"), |i, s| or_own(i, &s, Some(by)));
        check(&source("shuffle"), |i, s| or_own(i, &s, Some(by)));
        check(&source("shuffle_xor"), |i, s| or_own(i, &s, Some(lane(i, &s) ^ by)));
        check(&source("shuffle_up"), |i, s| or_own(i, &s, lane(i, &s).checked_sub(by)));
        check(&source("shuffle_down"), |i, s| or_own(i, &s, lane(i, &s).checked_add(by)));
    }
    let lines = "%m = mul %lane, 5u32\n%to = rem %m, 37u32\n%w = convert %v -> i64\n%n = neg %w
  %s = subgroup.shuffle %n, %to\n%p = neg %s\n%r = convert %p -> u32";
    check(lines, |i, s| or_own(i, &s, Some((i - s.start) * 5 % 37)));
}

#[test]
fn votes_count_the_lanes_there_are() {
    let holds = |i: u32| value(i).is_multiple_of(3);
    let set = |s: Range<u32>, test: &dyn Fn(u32) -> bool| {
        s.clone().filter(|i| test(*i)).fold(0u32, |set, i| set | 1 << (i - s.start))
    };
    let vote = |op: &str| format!("%m = rem %v, 3u32\n%h3 = eq %m, 0u32\n%x = subgroup.{op} %h3\n");
    let bits = "%a = extract %x, 0u32\n%b = extract %x, 1u32\n%c = extract %x, 2u32\n%d = extract %x, 3u32
  %bc = or %b, %c\n%bcd = or %bc, %d\n%zero = eq %bcd, 0u32\n%r = select %zero, %a, 0xdeadu32";
    let flag = "%r = convert %x -> u32";
    check(&(vote("ballot") + bits), |_, s| set(s, &holds));
    check(&(vote("ballot_count") + "%r = add %x, 0u32"), |_, s| s.filter(|i| holds(*i)).count() as u32);
    check(&(vote("any") + flag), |_, mut s| u32::from(s.any(holds)));
    check(&(vote("all") + flag), |_, mut s| u32::from(s.all(holds)));
    check(&format!("%x = subgroup.elect\n{flag}"), |i, s| u32::from(i == s.start));
    check(&format!("%k = rem %v, 5u32\n%x = subgroup.match %k\n{bits}"), |i, s| {
        set(s, &|other| value(other) % 5 == value(i) % 5)
    });
    check(&format!("%x = lane_mask_lt\n{bits}"), |i, s| (1 << (i - s.start)) - 1);
}

#[test]
fn lanes_are_counted_from_the_workgroups_first() {
    let lines =
        "%s = subgroup_id\n%z = subgroup_size\n%n = num_subgroups\n%a = mul %s, 100u32\n%b = add %a, %lane
  %c = mul %n, 10000u32\n%d = add %b, %c\n%e = mul %z, 1000000u32\n%r = add %d, %e";
    // Without and with a barrier.
    for more in ["", "\nsubgroup_barrier", "\nbarrier"] {
        for size in SIZES {
            let source = format!(
                "buffer %out: write u32[]\n%i = global_id.x\n%lane = lane\n{lines}\nstore %out[%i], %r{more}"
            );
            each_form(&kernel(&format!("{size}, 1, 1"), &source), 3, |form, lanes, words| {
                for (i, found) in (0..).zip(words) {
                    let local = i % size;
                    let wanted = lanes * 1_000_000
                        + size.div_ceil(lanes) * 10_000
                        + local / lanes * 100
                        + local % lanes;
                    assert_eq!(*found, wanted, "{form}: {i} of {size}{more}");
                }
            });
        }
    }
}

#[test]
fn subgroups_may_part() {
    // Each subgroup loops one time more than its number; reductions inside are separate per subgroup.
    let lines =
        "%s = subgroup_id\n%n = add %s, 1u32\n%r = for %j in 0u32 to %n step 1u32 carry(%sum = 0u32) {
    %t = subgroup.reduce[add] %v\n%u = add %sum, %t\nyield %u\n}";
    check_numbered(lines, |_, s, number| s.map(value).sum::<u32>() * (number + 1));
}

#[test]
fn one_invocations_value_goes_to_the_workgroup() {
    for size in SIZES {
        for from in [0, 1, 30, 63, 64, 99, 199, 200, u32::MAX] {
            let source = format!(
                "buffer %out: write u32[]
%i = global_id.x
%w = convert %i -> u64
%big = shl %w, 33u32
  %pair = construct %big, %w
%got = workgroup_broadcast %pair, {from}u32
%a = extract %got, 0u32
  %b = extract %got, 1u32
%a33 = shr %a, 33u32
%same = eq %a33, %b
%low = convert %b -> u32
  %r = select %same, %low, 0xffffffffu32
store %out[%i], %r"
            );
            each_form(&kernel(&format!("{size}, 1, 1"), &source), 3, |form, _, words| {
                for (i, found) in (0..).zip(words) {
                    let wanted = if from < size { i / size * size + from } else { 0 };
                    assert_eq!(*found, wanted, "{form}: {i} of {size} from {from}");
                }
            });
        }
    }
}
