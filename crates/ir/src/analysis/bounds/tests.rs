//! Tests of the accesses proven and not proven to be in bounds, in program order.

use super::*;
use crate::analysis::walk::instructions;

/// Returns whether each access of a kernel with `body` is proven to be in bounds.
fn inside(body: &str) -> Vec<bool> {
    let text = format!(
        "fulgurite 1\nkernel @k workgroup(64, 1, 1) {{\n  buffer %x: read u32[]\n  buffer %y: read_write u32[]\n  \
         param %n: u32\n{body}\n}}\n"
    );
    let kernel = crate::verify(crate::text::parse(&text).unwrap()).unwrap();
    let map = BoundsMap::of(&kernel, &RangeMap::of(&kernel));
    let mut found = Vec::new();
    for event in Walk::new(&kernel) {
        let Event::Inst(id) = event else { continue };
        let accesses = matches!(
            kernel.inst(id).kind,
            InstKind::Load { .. }
                | InstKind::Store { .. }
                | InstKind::Atomic { .. }
                | InstKind::CoopLoad { .. }
                | InstKind::CoopStore { .. }
        );
        if accesses {
            found.push(map.is_inside(id));
        }
    }
    found
}

#[test]
fn a_comparison_with_the_length_guards_what_is_inside() {
    let body = "  %i = global_id.x
  %a = load %y[%i]
  %len = len %y
  %in = lt %i, %len
  if %in {
    %b = load %y[%i]
    %c = load %x[%i]
    store %y[%i], %b
  } else {
    store %y[%i], 0u32
  }
  store %y[%i], 1u32";
    assert_eq!(inside(body), [false, true, false, true, false, false]);
}

#[test]
fn the_else_of_the_opposite_comparison_guards_too() {
    let body = "  %i = global_id.x
  %len = len %y
  %out = ge %i, %len
  if %out {
    store %y[%i], 0u32
  } else {
    store %y[%i], 1u32
  }
  %far = gt %i, %len
  if %far {
  } else {
    store %y[%i], 2u32
  }";
    assert_eq!(inside(body), [false, true, false], "at most the length is not below it");
}

#[test]
fn preconditions_relate_lengths_and_parameters() {
    let body = "  require eq (len %x), (len %y)
  require le %n, (len %x)
  %i = global_id.x
  %in = lt %i, %n
  if %in {
    %a = load %x[%i]
    store %y[%i], %a
  }
  %len = len %y
  for %j in 0u32 to %len step 3u32 {
    %b = load %x[%j]
    %k = add %j, 1u32
    %c = load %x[%k]
  }";
    assert_eq!(inside(body), [true, true, true, false]);
}

#[test]
fn a_length_of_at_least_a_literal_is_enough_for_small_indices() {
    let body = "  require ge (len %x), 64u32
  %l = local_index
  %a = load %x[%l]
  %l1 = add %l, 1u32
  %b = load %x[%l1]
  %c = load %x[63u32]
  %d = load %x[64u32]";
    assert_eq!(inside(body), [true, false, true, false]);
}

#[test]
fn what_is_clamped_to_the_last_element_is_inside_if_there_is_one() {
    let clamped = "  %i = global_id.x
  %len = len %x
  %last = sub %len, 1u32
  %at = min %i, %last
  %a = load %x[%at]
  %other = min %last, %i
  %b = load %x[%other]
  %third = sub %len, 3u32
  %c = load %x[%third]
  %beyond = max %i, %last
  %d = load %x[%beyond]
  %e = load %x[%len]";
    let inside_if = |require: &str| inside(&format!("{require}\n{clamped}"));
    assert_eq!(inside_if("  require ge (len %x), 1u32"), [true, true, false, false, false]);
    assert_eq!(inside_if("  require gt (len %x), 2u32"), [true, true, true, false, false]);
    assert_eq!(inside_if("  require eq (len %x), 64u32"), [true, true, true, false, false]);
    // For a view, the buffer must have room for one of its elements.
    let of_view = "  view %x4 = %x as u32x4[]
  %i = global_id.x
  %len = len %x4
  %last = sub %len, 1u32
  %at = min %i, %last
  %a = load %x4[%at]";
    for (least, expected) in [(3, false), (4, true), (5, true)] {
        assert_eq!(inside(&format!("  require ge (len %x), {least}u32\n{of_view}")), [expected]);
    }
    // Without a precondition, `len - 1` may wrap to the largest number.
    assert_eq!(inside_if(""), [false; 5]);
    assert_eq!(inside_if("  require le (len %x), 64u32"), [false; 5]);
    assert_eq!(inside_if("  require ge (len %x), 0u32"), [false; 5]);
}

#[test]
fn conditions_together_and_conditions_undone() {
    let body = "  %i = global_id.x
  %len = len %x
  %in = lt %i, %len
  %other = lt %n, %len
  %both = and %in, %other
  %either = or %in, %other
  if %both {
    %a = load %x[%i]
    %b = load %x[%n]
  }
  if %either {
    %c = load %x[%i]
  }
  %not = not %either
  if %not {
  } else {
    %d = load %x[%i]
  }";
    assert_eq!(inside(body), [true, true, false, false]);
}

#[test]
fn ranges_prove_arrays() {
    let body = "  shared %s: u32[64]
  local %p: u32[16]
  %l = local_index
  store %s[%l], 1u32
  %i = global_id.x
  %m = and %i, 63u32
  %a = load %s[%m]
  %r = rem %i, 16u32
  %b = load %p[%r]
  %q = rem %i, 17u32
  %c = load %p[%q]
  for %j in 0u32 to 16u32 step 1u32 {
    store %p[%j], %j
    %t = add %j, 48u32
    %d = load %s[%t]
    %u = add %j, 49u32
    %e = load %s[%u]
  }
  %wrap = sub %l, 1u32
  %f = load %s[%wrap]
  %z = rem %i, %n
  %g = load %p[%z]";
    assert_eq!(inside(body), [true, true, true, false, true, true, false, false, false]);
}

#[test]
fn a_condition_of_while_holds_in_its_body_for_this_iteration_only() {
    let body = "  %len = len %x
  %end = while carry(%p = 0u32) {
    %go = lt %p, %len
    condition %go
  } do {
    %a = load %x[%p]
    %next = add %p, 1u32
    %b = load %x[%next]
    yield %next
  }
  %c = load %x[%end]";
    assert_eq!(inside(body), [true, false, false]);
}

#[test]
fn signed_comparisons_say_nothing_of_indices() {
    let body = "  %i = global_id.x
  %len = len %x
  %si = bitcast %i -> i32
  %sl = bitcast %len -> i32
  %in = lt %si, %sl
  if %in {
    %a = load %x[%i]
  }";
    assert_eq!(inside(body), [false]);
}

#[test]
fn views_have_lengths_of_their_own() {
    let body = "  shared %t: u32[256]
  view %y4 = %y as u32x4[]
  view %yi = %y as i32[]
  view %t4 = %t as u32x4[]
  %i = local_index
  %len = len %y
  %in = lt %i, %len
  if %in {
    %a = load %yi[%i]
    %b = load %y4[%i]
  }
  %len4 = len %y4
  %in4 = lt %i, %len4
  if %in4 {
    %c = load %y4[%i]
    %d = load %y[%i]
  }
  %e = load %t4[%i]
  %far = add %i, 1u32
  %f = load %t4[%far]
  %g = load %t[%far]";
    assert_eq!(inside(body), [true, false, true, false, true, false, true]);
}

#[test]
fn a_region_is_seen_through() {
    let body = "  %i = global_id.x
  %len = region \"r\" -> u32 {
    %count = len %y
    yield %count
  }
  %in = region \"c\" -> bool {
    %c = lt %i, %len
    yield %c
  }
  if %in {
    %j = region \"index\" -> u32 {
      yield %i
    }
    store %y[%j], 1u32
  }
  store %y[%i], 1u32";
    assert_eq!(inside(body), [true, false]);
}

#[test]
fn wide_indices_are_compared_as_they_are() {
    let body = "  buffer %big: read_write u32[] large
  shared %t: u32[8]
  require ge (len %big), 64u64
  %l = local_index
  %w = convert %l -> u64
  %a = load %big[%w]
  %b = load %big[4294967301u64]
  %c = load %t[5u64]
  %d = load %t[4294967301u64]
  %count = len %big
  %g = global_id.x
  %i = convert %g -> u64
  %j = mul %i, 4u64
  %in = lt %j, %count
  if %in {
    %e = load %big[%j]
  }
  for %k in 0u64 to %count step 1u64 {
    %f = load %big[%k]
  }
  %len = len %y
  %small = lt %g, %len
  if %small {
    %h = load %y[%i]
  }";
    assert_eq!(inside(body), [true, false, true, false, true, true, true]);
}

#[test]
fn lanes_know_how_many_there_are() {
    let body = "  shared %t: u32[64]
  %lane = lane
  %a = load %t[%lane]
  %id = subgroup_id
  %b = load %t[%id]
  %yes = eq %lane, 0u32
  %count = subgroup.ballot_count %yes
  %c = load %t[%count]
  %below = sub %count, 1u32
  %l = local_index
  %other = subgroup.shuffle_xor %l, 5u32
  %d = load %t[%other]
  %size = subgroup_size
  %e = load %t[%size]";
    assert_eq!(inside(body), [true, true, false, true, false]);
}

#[test]
fn what_is_below_by_a_multiple_has_room_for_less() {
    let body = "  require eq (rem (len %x), 4u32), 0u32
  %i = local_index
  %i4 = mul %i, 4u32
  %len = len %x
  %in = lt %i4, %len
  if %in {
    %i3 = add %i4, 3u32
    %a = load %x[%i3]
    %i1 = or %i4, 1u32
    %b = load %x[%i1]
    %next = add %i4, 4u32
    %c = load %x[%next]
    %i5 = or %i4, 5u32
    %d = load %x[%i5]
    %wide = convert %i3 -> u64
    %e = load %x[%wide]
    %f = load %y[%i3]
  }
  %leny = len %y
  %iny = lt %i4, %leny
  if %iny {
    %i3 = add %i4, 3u32
    %g = load %y[%i3]
  }
  for %j in 0u32 to %len step 2u32 {
    %j1 = add %j, 1u32
    %h = load %x[%j1]
    %j2 = add %j, 2u32
    %k = load %x[%j2]
  }
  for %j in 1u32 to %len step 2u32 {
    %j1 = add %j, 1u32
    %l = load %x[%j1]
  }
  %g12 = mul %i, 12u32
  %in12 = lt %g12, %len
  if %in12 {
    %m3 = add %g12, 3u32
    %m = load %x[%m3]
    %g5 = add %g12, 5u32
    %o = load %x[%g5]
  }";
    let wanted = [true, true, false, false, true, false, false, true, false, false, true, false];
    assert_eq!(inside(body), wanted);
}

#[test]
fn an_element_of_a_wide_view_is_as_many_narrow_ones() {
    let body = "  view %y4 = %y as u32x4[]
  view %bytes = %y as u8[]
  shared %t: u32[66] uninit
  %i = global_id.x
  %len = len %y4
  %in = lt %i, %len
  if %in {
    %i4 = mul %i, 4u32
    %a = load %y[%i4]
    %i3 = add %i4, 3u32
    %b = load %y[%i3]
    %s4 = shl %i, 2u32
    %s1 = add 1u32, %s4
    %c = load %y[%s1]
    %next = add %i4, 4u32
    %d = load %y[%next]
    %i3x = mul %i, 3u32
    %e = load %y[%i3x]
    %i16 = mul %i, 16u32
    %last = add %i16, 15u32
    %f = load %bytes[%last]
    %far = add %i16, 16u32
    %g = load %bytes[%far]
    %h = load %x[%i3]
  }
  %small = lt %i, 16u32
  if %small {
    %i4 = mul %i, 4u32
    %i3 = add %i4, 3u32
    %j = load %t[%i3]
    %i6 = add %i4, 6u32
    %k = load %t[%i6]
  }
  %rest = lt %i, 17u32
  if %rest {
    %i4 = mul %i, 4u32
    %l = load %t[%i4]
  }";
    let wanted = [true, true, true, false, false, true, false, false, true, false, false];
    assert_eq!(inside(body), wanted);
}

#[test]
fn a_quotient_is_inside_with_the_last_of_its_narrow_elements() {
    let body = "  view %y4 = %y as u32x4[]
  view %y2 = %y as u32x2[]
  view %x4 = %x as u32x4[]
  shared %t: u32[64] uninit
  view %t4 = %t as u32x4[]
  require eq (rem (len %y), 8u32), 0u32
  %g = global_id.x
  %i = mul %g, 4u32
  %len = len %y
  %in = lt %i, %len
  if %in {
    %q = shr %i, 2u32
    %a = load %y4[%q]
    %b = load %x4[%q]
    %d = div %i, 4u32
    %c = load %y4[%d]
    %h = shr %i, 1u32
    %e = load %y2[%h]
    %f = load %y4[%h]
    %s = shr %i, 3u32
    %j = load %y4[%s]
    %next = add %i, 4u32
    %qn = shr %next, 2u32
    %k = load %y4[%qn]
    %g1 = shr %g, 2u32
    %l = load %y4[%g1]
  }
  %w = mul %g, 8u32
  %in_w = lt %w, %len
  if %in_w {
    %w4 = add %w, 4u32
    %q = shr %w4, 2u32
    %within = load %y4[%q]
    %w8 = add %w, 8u32
    %q8 = shr %w8, 2u32
    %after = load %y4[%q8]
  }
  %len4 = len %x4
  %in4 = lt %g, %len4
  if %in4 {
    %q = shr %i, 2u32
    %o = load %x4[%q]
    %p = load %y4[%q]
  }
  %l0 = local_index
  %l4 = and %l0, 60u32
  %ql = shr %l4, 2u32
  %r = load %t4[%ql]";
    let wanted = [true, false, true, true, false, false, false, false, true, false, true, false, true];
    assert_eq!(inside(body), wanted);
}

#[test]
fn a_larger_sum_that_is_inside_and_does_not_wrap_proves_smaller_ones() {
    let body = "  view %y4 = %y as u32x4[]
  %g = global_id.x
  %b = mul %g, 4u32
  %b1 = add %b, 1u32
  %b2 = add %b, 2u32
  %b3 = add %b, 3u32
  %b4 = add %b, 4u32
  %q = shr %b, 2u32
  %g1 = add %g, 1u32
  %len = len %y
  %in3 = lt %b3, %len
  if %in3 {
    %a = load %y[%b]
    %c = load %y[%b2]
    %d = load %y[%b4]
    %e = load %y4[%q]
    %f = load %x[%b]
  }
  %in2 = lt %b2, %len
  if %in2 {
    %h = load %y[%b1]
    %i = load %y[%b3]
    %j = load %y4[%q]
  }
  %in4 = lt %b4, %len
  if %in4 {
    %k = load %y[%b]
  }
  %in1 = lt %g1, %len
  if %in1 {
    %l = load %y[%g]
  }";
    let wanted = [true, true, false, true, false, true, false, false, false, false];
    assert_eq!(inside(body), wanted);
}

#[test]
fn matrices_are_inside_if_their_last_component_is() {
    let matrix = "coopmat<u32, 8x16, acc, subgroup>";
    let body = "  shared %t: u32[256] uninit
  view %t4 = %t as u32x4[]
  view %bytes = %y as u8[]
  require ge (len %x), 512u32
  %l = subgroup_id
  %a = coop.load[row_major] %t[0u32], 32u32 -> M
  %b = coop.load[row_major] %t[16u32], 32u32 -> M
  %c = coop.load[row_major] %t[20u32], 32u32 -> M
  %d = coop.load[column_major] %t[0u32], 16u32 -> M
  %e = coop.load[column_major] %t[8u32], 16u32 -> M
  %f = coop.load[column_major] %t[12u32], 16u32 -> M
  %g = coop.load[row_major] %t4[60u32], 0u32 -> M
  %h = coop.load[row_major] %t4[61u32], 0u32 -> M
  %at = min %l, 4u32
  %at4 = mul %at, 4u32
  %i = coop.load[row_major] %t4[%at4], 4u32 -> M
  %j = coop.load[row_major] %t4[%at], 9u32 -> M
  %k = coop.load[row_major] %x[384u32], 16u32 -> M
  %m = coop.load[row_major] %x[388u32], 16u32 -> M
  coop.store[row_major] %y[0u32], 16u32, %a
  coop.store[row_major] %bytes[0u32], 64u32, %a
  coop.store[row_major] %t[128u64], 16u32, %a
  coop.store[row_major] %t[132u64], 16u32, %a";
    let wanted = [
        true, true, false, true, true, false, true, false, true, false, true, false, false, false, true,
        false,
    ];
    assert_eq!(inside(&body.replace('M', matrix)), wanted);
}

/// Returns whether each load of a kernel with `body` and these preconditions is proven to be in bounds, in order.
fn in_tiles(requires: &str, body: &str) -> Vec<bool> {
    let text = format!(
        "fulgurite 1\nkernel @k workgroup(64, 1, 1) {{\n  buffer %x: read f32[]\n  buffer %y: write f32[]\n  view %x4 = %x as f32x4[]\n  \
         {requires}\n  %l = local_index\n  %w = workgroup_id.x\n{body}\n}}\n"
    );
    let kernel = crate::text::parse(&text).and_then(crate::verify).unwrap_or_else(|e| panic!("{e}"));
    let bounds = BoundsMap::of(&kernel, &RangeMap::of(&kernel));
    instructions(&kernel)
        .filter(|id| matches!(kernel.inst(*id).kind, InstKind::Load { .. }))
        .map(|id| bounds.is_inside(id))
        .collect()
}

#[test]
fn a_workgroups_own_part_is_inside() {
    let room =
        "require eq (mul num_workgroups.x, 256u32), (len %x)\n  require le num_workgroups.x, 16777215u32";
    let own = "  %a = mul %w, 256u32\n  %b = add %a, %l\n  %c = add %b, 192u32\n  %v = load %x[%c]";
    assert_eq!(in_tiles(room, own), [true]);
    let wide = "  %a = mul %w, 64u32\n  %b = add %l, %a\n  %v = load %x4[%b]";
    assert_eq!(in_tiles(room, wide), [true]);
    let shifted = "  %a = shl %w, 8u32\n  %b = add %a, %l\n  %v = load %x[%b]";
    assert_eq!(in_tiles(room, shifted), [true]);
    let at_most =
        "require ge (len %x), (mul num_workgroups.x, 256u32)\n  require le num_workgroups.x, 16777215u32";
    assert_eq!(in_tiles(at_most, own), [true]);
}

#[test]
fn what_may_leave_its_workgroups_part_is_not_inside() {
    let room =
        "require eq (mul num_workgroups.x, 256u32), (len %x)\n  require le num_workgroups.x, 16777215u32";
    for outside in [
        // One past the part; another workgroup's part twice; a part larger than the room for it.
        "  %a = mul %w, 256u32\n  %b = add %a, %l\n  %c = add %b, 193u32\n  %v = load %x[%c]",
        "  %a = mul %w, 256u32\n  %b = add %a, %a\n  %v = load %x[%b]",
        "  %a = mul %w, 257u32\n  %b = add %a, %l\n  %v = load %x[%b]",
        "  %a = mul %w, 65u32\n  %b = add %a, %l\n  %v = load %x4[%b]",
        "  %g = workgroup_id.y\n  %a = mul %g, 256u32\n  %b = add %a, %l\n  %v = load %x[%b]",
    ] {
        assert_eq!(in_tiles(room, outside), [false], "{outside}");
    }
    let own = "  %a = mul %w, 256u32\n  %b = add %a, %l\n  %v = load %x[%b]";
    // The host's product may have wrapped, or the stated size is too small.
    let wraps = "require eq (mul num_workgroups.x, 256u32), (len %x)";
    let enough =
        "require eq (mul num_workgroups.x, 256u32), (len %x)\n  require le num_workgroups.x, 16777216u32";
    let less =
        "require ge (mul num_workgroups.x, 256u32), (len %x)\n  require le num_workgroups.x, 16777215u32";
    for short in [wraps, enough, less] {
        assert_eq!(in_tiles(short, own), [false], "{short}");
    }
}

/// Returns the number of facts that proofs examine in a kernel with `body`.
fn facts(body: &str) -> usize {
    let text = format!(
        "fulgurite 1\nkernel @k workgroup(64, 1, 1) {{\n  buffer %y: read_write u32[]\n  param %q: u32\n{body}}}\n"
    );
    let kernel = crate::verify(crate::text::parse(&text).unwrap()).unwrap();
    BoundsMap::of(&kernel, &RangeMap::of(&kernel)).facts
}

#[test]
fn many_facts_and_many_accesses_take_their_sum_not_their_product() {
    use core::fmt::Write as _;

    let lines = |count: usize, line: &dyn Fn(usize) -> String| {
        (0..count).fold(String::new(), |mut text, k| {
            let _ = writeln!(text, "{}", line(k));
            text
        })
    };
    // One index that is below many numbers, with many accesses.
    let below_many = |n: usize| {
        let ends = lines(n, &|k| format!("  %p{k} = add %q, {k}u32\n  %c{k} = lt %i, %p{k}"));
        let all = lines(n - 1, &|k| format!("  %a{} = and %a{k}, %c{}", k + 1, k + 1));
        let stores = lines(n, &|k| format!("    store %y[%i], {k}u32"));
        format!(
            "  %i = global_id.x\n  %n = len %y\n{ends}  %known = lt %q, %n\n  %a0 = and %c0, %known\n{all}  if %a{} {{\n{stores}  }}\n",
            n - 1
        )
    };
    // Many indices, each below the same number, which is below many others.
    let through_one = |n: usize| {
        let ends = lines(n, &|k| format!("  %p{k} = add %q, {k}u32\n  %c{k} = lt %q, %p{k}"));
        let all = lines(n - 1, &|k| format!("  %a{} = and %a{k}, %c{}", k + 1, k + 1));
        let stores = lines(n, &|k| {
            format!("    %i{k} = add %i, {k}u32\n    %j{k} = min %i{k}, %q\n    store %y[%j{k}], {k}u32")
        });
        format!(
            "  %i = global_id.x\n  %n = len %y\n{ends}  %known = lt %q, %n\n  %a0 = and %c0, %known\n{all}  if %a{} {{\n{stores}  }}\n",
            n - 1
        )
    };
    // Many literals in preconditions, and many accesses that may be below each.
    let literals = |n: usize| {
        let requires = lines(n.min(60), &|k| format!("  require ge (len %y), {}u32", k + 1));
        let stores = lines(n, &|k| format!("  %i{k} = rem %i, {}u32\n  store %y[%i{k}], {k}u32", k % 60 + 1));
        format!("{requires}  %i = global_id.x\n{stores}")
    };
    for (name, body) in [
        ("below many", &below_many as &dyn Fn(usize) -> String),
        ("through one", &through_one),
        ("literals", &literals),
    ] {
        let counts = [500, 1000, 2000].map(|n| facts(&body(n)));
        assert!(counts[2] < 5 * counts[0] && counts[2] < 2000 * 2 * MAX_FACTS, "{name}: {counts:?}");
    }
}

#[test]
fn conditions_that_are_shared_are_looked_at_once() {
    // Each condition uses the previous one twice: 2^200 conditions as a tree.
    let mut body = String::from("  %i = global_id.x\n  %len = len %y\n  %a0 = lt %i, %len\n");
    for k in 0..200 {
        body += &format!("  %a{} = and %a{k}, %a{k}\n", k + 1);
    }
    body += "  if %a200 {\n    store %y[%i], 0u32\n  }";
    assert_eq!(inside(&body), [true]);
}
