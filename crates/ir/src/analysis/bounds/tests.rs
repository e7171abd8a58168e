//! Where guards can go and where they cannot: each kernel's accesses in program order.

use super::*;

/// Whether each access of a kernel with `body` is shown to be in bounds.
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
            InstKind::Load { .. } | InstKind::Store { .. } | InstKind::Atomic { .. }
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
