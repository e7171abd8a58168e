//! Forms of loops and accesses that are compiled for speed, against the interpreter.

use fulgurite_hal::LaunchOptions;
use fulgurite_ir::VerifiedKernel;

use super::{same, words};
use crate::native::lower::lower;
use crate::native::program::{Step, VectorOp2};
use crate::native::x64::Target;
use crate::tests::{grid, kernel};

#[test]
fn rounds_of_a_workgroup_are_run_for_all_vectors() {
    let lines = "buffer %x: read u32[]\nbuffer %out: read_write u32[]\nparam %n: u32\nparam %down: u32\nshared %t: u32[64]
  %l = local_index\n%g = workgroup_id.x\n%base = mul %g, 512u32\n%start = add %base, %l
  for %k in %down to %n step 1u32 {\n  %skip = mul %k, 128u32\n  %at = add %start, %skip\n  %v = load %x[%at]
    %b = and %v, 63u32\n  atomic.add %t[%b], %k\n  %w = add %v, %k\n  store %out[%at], %w\n}
  barrier\n%b = and %l, 63u32\n%c = load %t[%b]\n%first = lt %l, 64u32
  if %first {\n  atomic.add %out[%l], %c\n}";
    for size in ["64, 1, 1", "40, 1, 1", "20, 2, 3", "128, 1, 1"] {
        let kernel = kernel(size, lines);
        for [n, from] in [[0, 0], [1, 0], [4, 0], [9, 5], [4, 7]] {
            for count in [0, 60, 130, 2000] {
                same(&kernel, &[words(count, 5), vec![0; count]], &[n, from], &grid(3));
            }
        }
    }
}

#[test]
fn rounds_of_rows_end_and_wrap_in_any_lane() {
    let lines = "buffer %x: read u32[]\nbuffer %out: read_write u32[]\nparam %from: u32\nparam %to: u32\nshared %t: u32[64]
  %l = local_index\n%start = add %from, %l
  for %at in %start to %to step 128u32 {\n  %v = load %x[%at]\n  %near = add %at, %v\n  %b = and %near, 63u32
    atomic.add %t[%b], 1u32\n  %r = and %at, 1023u32\n  store %out[%r], %near\n}
  barrier\n%first = lt %l, 64u32\nif %first {\n  %c = load %t[%l]\n  atomic.add %out[%l], %c\n}";
    let most = u64::from(u32::MAX);
    // Counters that begin near the largest number wrap in some lanes, which then count through all numbers.
    let wide = kernel("64, 1, 1", &lines.replace("step 128u32", "step 0x1000000u32"));
    for from in [most - 300, most - 40, most - 20] {
        same(&wide, &[words(700, 7), vec![0; 1024]], &[from, most], &grid(1));
    }
    for size in ["64, 1, 1", "37, 1, 1", "128, 1, 1"] {
        let kernel = kernel(size, lines);
        for to in [0, 1, 17, 128, 300, 1000] {
            for from in [0, 5, 999, most - 3, most - 40] {
                same(&kernel, &[words(700, 7), vec![0; 1024]], &[from, to], &grid(1));
            }
        }
    }
}

/// A loop whose rounds depend on each other, with a load that all vectors share, and a choice by lane.
const HASH: &str = "buffer %x: read u32[]\nbuffer %k: read u32[]\nbuffer %out: write u32[]\nparam %rounds: u32
  require eq (len %x), (len %out)\n%i = global_id.x\n%n = len %x\n%in = lt %i, %n
  if %in {\n  %seed = load %x[%i]
    %h, %c = for %r in 0u32 to %rounds step 1u32 carry(%a = %seed, %odd = 0u32) {
      %key = load %k[%r]\n      %m = mul %a, 0x85ebca6bu32\n      %s = shr %m, 13u32\n      %y = xor %m, %s\n      %z = add %y, %key
      %bit = and %z, 1u32\n      %is = eq %bit, 1u32\n      %w = select %is, %y, %z\n      %o = add %odd, %bit\n      yield %w, %o
    }
    %both = xor %h, %c\n  store %out[%i], %both\n  }";

#[test]
fn vectors_that_run_a_loop_together_do_what_each_does() {
    let short = HASH.replace("yield %w, %o", "yield %y, %odd");
    for kernel in [kernel("64, 1, 1", HASH), kernel("64, 1, 1", &short)] {
        for count in [0usize, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 128, 129, 1000] {
            for rounds in [0, 1, 7] {
                let contents = [words(count, 3), words(5, 9), vec![0; count]];
                same(&kernel, &contents, &[rounds], &grid((count as u32).div_ceil(64) + 1));
            }
        }
    }
}

/// Returns the number of steps of a kernel that are of some kind.
fn steps(kernel: &VerifiedKernel, target: Target, is_counted: fn(&Step) -> bool) -> usize {
    let program = lower(kernel, target).expect("it is supported");
    program.steps.iter().filter(|step| is_counted(step)).count()
}

fn products(size: &str, lines: &str, target: Target) -> usize {
    steps(&kernel(size, lines), target, |step| matches!(step, Step::Vector2 { op: VectorOp2::Mul, .. }))
}

#[test]
fn only_loops_that_go_the_same_way_for_all_vectors_are_run_together() {
    // One product for each of the vectors that run together, one for a whole vector, and one for the rest. There are registers
    // for two vectors with AVX-512, for one with AVX2, and for more of a shorter loop.
    assert_eq!(products("64, 1, 1", HASH, Target::Avx512), 2 + 2);
    assert_eq!(products("64, 1, 1", HASH, Target::Avx2), 2);
    let short = HASH.replace("yield %w, %o", "yield %y, %odd");
    assert_eq!(products("64, 1, 1", &short, Target::Avx512), 4 + 2);
    assert_eq!(products("64, 1, 1", &short, Target::Avx2), 2 + 2);
    // The number of rounds depends on the lane.
    let varies = HASH.replace("0u32 to %rounds", "0u32 to %seed");
    assert_eq!(products("64, 1, 1", &varies, Target::Avx512), 2);
    // Vectors must not exchange their places in a local array.
    let local = HASH.replace("param %rounds: u32", "param %rounds: u32\nlocal %own: u32[4]");
    let local = local.replace(
        "%both = xor %h, %c",
        "store %own[1u32], %h\n%back = load %own[1u32]\n%both = xor %back, %c",
    );
    assert_eq!(products("64, 1, 1", &local, Target::Avx512), 2);
}

#[test]
fn rows_are_updated_by_themselves_and_by_other_threads() {
    for op in ["add", "and", "or", "xor"] {
        let lines = format!(
            "buffer %x: read u32[]\nbuffer %b: read_write u32[]\nbuffer %out: read_write u32[]\nshared %t: u32[64]
  require eq (len %b), 64u32\n%i = global_id.x\n%l = local_index\n%v = load %x[%i]\natomic.{op} %t[%l], %v
  atomic.{op} %t[%l], %l\n%o = atomic.add %b[%l], 1u32\n%back = sub 63u32, %l\nbarrier\n%s = load %t[%back]
  atomic.{op} %out[%l], %s\n%wide = add %s, %o\n%is_none = eq %wide, 1u32\nif %is_none {{\n  atomic.{op} %out[%i], 3u32\n}}"
        );
        // The old values of `b` are read, so that it is not only tallied in.
        let lines = lines.replace("%o = atomic.add %b[%l], 1u32", "%o = load %x[%l]\natomic.add %b[%l], %v");
        let kernel = kernel("64, 1, 1", &lines);
        // Two updates of the shared array, and one of a buffer; the others may be out of bounds.
        let updates = steps(&kernel, Target::Avx512, |step| matches!(step, Step::UpdateRow { .. }));
        assert_eq!(updates, 3);
        for groups in [1, 3, 500] {
            same(&kernel, &[words(32_000, 2), words(64, 3), words(64, 4)], &[], &grid(groups));
        }
    }
}

#[test]
fn one_lane_stores_where_all_have_the_same_index() {
    // The lane that stores is any, one of a later vector, or none; elements have one, two and three words.
    let lines = "buffer %x: read u32[]\nbuffer %a: write u32[]\nbuffer %b: write u32x2[]\nbuffer %c: write f32x3[]\nparam %one: u32
  %i = global_id.x\n%g = workgroup_id.x\n%v = load %x[%i]\n%is = eq %i, %one\n%f = convert %v -> f32
  %two = construct %v, %i\n%three = construct %f, 1.5f32, %f
  if %is {\n  store %a[%g], %v\n  store %b[%g], %two\n  %far = add %g, 3u32\n  store %c[%far], %three\n}
  store %a[40u32], 7u32\nstore %a[4000u32], 7u32";
    for size in ["64, 1, 1", "1, 1, 1", "24, 1, 1"] {
        let kernel = kernel(size, lines);
        assert!(steps(&kernel, Target::Avx512, |step| matches!(step, Step::StoreOne { .. })) >= 8);
        assert_eq!(steps(&kernel, Target::Avx512, |step| matches!(step, Step::Scatter { .. })), 0);
        for one in [0, 15, 16, 63, 64, 200, 1000] {
            let contents = [words(256, 1), vec![0; 41], vec![0; 6], vec![0; 18]];
            same(&kernel, &contents, &[one], &grid(5));
        }
    }
}

#[test]
fn kept_elements_are_stored_one_after_the_other() {
    let lines = "buffer %x: read u32[]\nbuffer %out: write u32[]\nparam %mask: u32\nparam %skip: u32
  %i = global_id.x\n%g = workgroup_id.x\n%sg = subgroup_id\n%v = load %x[%i]\n%bits = and %v, %mask\n%keep = eq %bits, 0u32
  %one = select %keep, 1u32, 0u32\n%before = subgroup.exclusive_scan[add] %one\n%lane = lane
  %part = mul %g, 512u32\n%own = mul %sg, 64u32\n%first0 = add %part, %own\n%first = add %first0, %before
  %is_late = gt %lane, 3u32\n%step = select %is_late, %skip, 0u32\n%to = add %first, %step
  if %keep {\n  store %out[%to], %v\n}";
    for size in ["64, 1, 1", "30, 1, 1"] {
        let kernel = kernel(size, lines);
        let packed = |step: &Step| matches!(step, Step::Scatter { numbers: Some(_), .. });
        assert!(steps(&kernel, Target::Avx512, packed) > 0);
        // Nearly all, half, few and none are kept; consecutive, with a gap, and beyond the end. Each has a place of its own.
        for mask in [1 << 30, 1, 7, u64::from(u32::MAX)] {
            for skip in [0, 1, 40] {
                for count in [0, 50, 700, 2048] {
                    same(&kernel, &[words(300, 8), vec![9; count]], &[mask, skip], &grid(4));
                }
            }
        }
    }
}

#[test]
fn elements_are_copied_whole_and_in_parts() {
    let lines = "buffer %x: read u32[]\nbuffer %out: write u32[]\nbuffer %sums: write u32[]\nparam %d: u32\nshared %t: u32[260]
  view %x4 = %x as u32x4[]\nview %o4 = %out as u32x4[]\n%i = global_id.x\n%l = local_index\n%at = add %i, %d\n%v = load %x4[%at]
  %a = extract %v, 0u32\n%b = extract %v, 1u32\n%c = extract %v, 2u32\n%e = extract %v, 3u32\n%to = mul %l, 4u32
  %t1 = add %to, 1u32\n%t2 = add %to, 2u32\n%t3 = add %to, 3u32
  store %t[%to], %a\nstore %t[%t1], %b\nstore %t[%t2], %c\nstore %t[%t3], %e\nstore %o4[%i], %v
  %ab = add %a, %b\n%ce = xor %c, %e\n%s = mul %ab, %ce\nbarrier\n%back = sub 255u32, %to\n%w = load %t[%back]\n%z = add %s, %w
  store %sums[%i], %z";
    let kernel = kernel("64, 1, 1", lines);
    for count in [0usize, 7, 250, 256, 300, 1024] {
        for distance in [0, 1, 60, 1 << 30, u64::from(u32::MAX)] {
            let contents = [words(count, 6), vec![0; count], vec![0; 256]];
            same(&kernel, &contents, &[distance], &grid(4));
        }
    }
}

#[test]
fn what_is_stored_as_it_was_loaded_is_not_taken_apart() {
    let lines = "buffer %x: read u32[]\nbuffer %out: write u32[]\nrequire eq (len %x), 4096u32\nrequire eq (len %out), 4096u32
  view %x4 = %x as u32x4[]\nview %o4 = %out as u32x4[]\n%l = local_index\n%v = load %x4[%l]\nstore %o4[%l], %v";
    let merges = |lines: &str| {
        let program = lower(&kernel("64, 1, 1", lines), Target::Avx512).expect("it is supported");
        let mut is_cold = false;
        let is_merge = |step: &&Step| {
            is_cold = match step {
                Step::Cold => true,
                Step::EndCold => false,
                _ => is_cold,
            };
            !is_cold && matches!(step, Step::Merge { .. })
        };
        program.steps.iter().filter(is_merge).count()
    };
    // The form for a part of a vector takes the words apart, eight steps, and scatters them.
    assert_eq!(merges(lines), 8);
    // The form for whole vectors does, too, and puts them together again.
    assert_eq!(
        merges(&lines.replace(
            "store %o4[%l], %v",
            "%one = construct 1u32, 1u32, 1u32, 1u32\n%w = add %v, %one\nstore %o4[%l], %w"
        )),
        24
    );
}

#[test]
fn loads_whose_bounds_are_left_share_a_form() {
    let lines = "buffer %x: read u32[]\nbuffer %out: write u32[]\nparam %w: u32\nparam %h: u32\n%i = global_id.x\n%j = global_id.y
  %in = lt %i, %w\n%jn = lt %j, %h\n%both = and %in, %jn\nif %both {\n  %p1 = add %i, 1u32\n  %p2 = add %i, 2u32\n  %p3 = add %i, 3u32
  %a = load %x[%p1]\n  %b = load %x[%p2]\n  %c = load %x[%p3]\n  %ab = add %a, %b\n  %abc = add %ab, %c\n  store %out[%i], %abc\n  }";
    let kernel = kernel("64, 1, 1", lines);
    // For whole vectors: three gathers where some lane may not load, and none where all may. For the rest: three.
    let gathers = steps(&kernel, Target::Avx512, |step| matches!(step, Step::Gather { .. }));
    assert_eq!(gathers, 6);
    for count in [0, 20, 66, 67, 68, 100] {
        let options = LaunchOptions::invocations([70, 2, 1]);
        same(&kernel, &[words(count, 3), vec![0; 64]], &[66, 1], &options);
    }
}

#[test]
fn what_is_done_before_a_row_leaves_its_bounds_is_done_once() {
    // The first loads may be repeated; nothing may that follows the change of the local array, the atomic or the loop.
    let lines = "buffer %x: read u32[]\nbuffer %n: read_write u32[]\nbuffer %out: read_write u32[]\nparam %w: u32\nparam %h: u32
  local %own: u32[2]\n%i = global_id.x\n%j = global_id.y\n%in = lt %i, %w\n%jn = lt %j, %h\n%both = and %in, %jn
  if %both {\n  %last = sub %w, 1u32\n  %up = add %i, 1u32\n  %right = min %up, %last\n  %le0 = max %i, 1u32\n  %left = sub %le0, 1u32
    %row = mul %j, %w\n  %p0 = add %row, %left\n  %p1 = add %row, %right\n  %a = load %x[%p0]\n  %b = load %x[%p1]
    %c = load %own[0u32]\n  %c1 = add %c, 1u32\n  store %own[0u32], %c1\n  %p2 = add %p1, 3u32\n  %d = load %x[%p2]
    atomic.add %n[0u32], 1u32\n  %p3 = add %p0, 7u32\n  %e = load %x[%p3]
    %s = for %k in 0u32 to 2u32 step 1u32 carry(%t = %e) {\n    %q0 = add %p3, %k\n    %q = load %x[%q0]\n    %u = add %t, %q\n    yield %u\n  }
    %f = load %own[0u32]\n  %ab = add %a, %b\n  %de = xor %d, %s\n  %g = mul %ab, %f\n  %r = add %g, %de\n  %p = add %row, %i
    store %out[%p], %r\n  }";
    for size in ["64, 2, 1", "16, 1, 1"] {
        let kernel = kernel(size, lines);
        for [w, h] in [[1, 1], [15, 3], [16, 4], [40, 5], [130, 2]] {
            for missing in [0, 1, 20, 1000] {
                let count = ((w * h) as usize).saturating_sub(missing);
                let contents = [words(count, 4), vec![0], vec![0; (w * h) as usize]];
                let options = LaunchOptions::invocations([w as u32, h as u32, 1]);
                same(&kernel, &contents, &[w, h], &options);
            }
        }
    }
}
