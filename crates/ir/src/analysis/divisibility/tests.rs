//! Tests of the divisors found for named values, and of those that must not be found.

use super::*;

/// Returns the divisor of each named value of a kernel with `body`.
fn divisors(body: &str) -> HashMap<String, u64> {
    let text = format!(
        "fulgurite 1\nkernel @k workgroup(64, 1, 1) {{\n  buffer %x: read f32[]\n  buffer %y: read_write f32[]\n  \
         param %n: u32\n  param %m: u32\n{body}\n}}\n"
    );
    let kernel = crate::verify(crate::text::parse(&text).unwrap()).unwrap();
    let map = DivisibilityMap::of(&kernel, &RangeMap::of(&kernel));
    let named = (0..kernel.values.len()).map(ValueId::new).filter_map(|id| {
        let name = kernel.value(id).name.as_deref()?;
        Some((name.to_owned(), map.divisor(id)))
    });
    named.collect()
}

fn check(body: &str, wanted: &[(&str, u64)]) {
    let found = divisors(body);
    for (name, divisor) in wanted {
        assert_eq!(found.get(*name), Some(divisor), "{name}");
    }
}

#[test]
fn preconditions_speak_of_parameters_lengths_and_the_grid() {
    let body = "  view %x4 = %x as f32x4[]
  view %bytes = %x as u8[]
  require and (eq (rem (len %x), 12u32), 0u32), (eq (and %n, 15u32), 0u32)
  require eq 0u32, (rem %n, 3u32)
  require eq (len %y), (len %x)
  require eq num_workgroups.x, 6u32
  require eq (rem %m, 0u32), 0u32
  %lx = len %x
  %ly = len %y
  %l4 = len %x4
  %lb = len %bytes
  %g = num_workgroups.x
  %gy = num_workgroups.y";
    let wanted = [("n", 48), ("m", 1), ("lx", 12), ("ly", 12), ("l4", 3), ("lb", 48), ("g", 6), ("gy", 1)];
    check(body, &wanted);
}

#[test]
fn preconditions_of_other_forms_say_nothing() {
    let body = "  require or (eq (rem %n, 4u32), 0u32), (eq (rem %m, 4u32), 0u32)
  require eq (rem %n, 4u32), 1u32
  require ne (rem %m, 4u32), 0u32
  require eq (and %m, 12u32), 0u32
  %sum = add %n, %m";
    check(body, &[("n", 1), ("m", 1), ("sum", 1)]);
}

#[test]
fn what_may_wrap_keeps_powers_of_two() {
    let body = "  %w = workgroup_id.x
  %l = local_index
  %a = mul %w, 12u32
  %b = mul %l, 12u32
  %c = add %a, 8u32
  %d = add %b, 18u32
  %e = sub %b, 6u32
  %f = shl %l, 3u32
  %g = shl %a, 31u32
  %h = neg %b
  %i = shl %w, %l
  %j = mul %a, %b";
    let wanted = [
        ("a", 4),
        ("b", 12),
        ("c", 4),
        ("d", 6),
        ("e", 2),
        ("f", 8),
        ("g", 1 << 33),
        ("h", 4),
        ("i", 1),
        ("j", 16),
    ];
    check(body, &wanted);
}

#[test]
fn bits_choices_and_quotients() {
    let body = "  require eq (rem %n, 24u32), 0u32
  %and = and %n, 4294967232u32
  %or = or %n, 4u32
  %shr = shr %n, 2u32
  %low = shr %n, 4u32
  %div = div %n, 6u32
  %by = div %n, %m
  %rem = rem %n, 36u32
  %min = min %n, 36u32
  %yes = lt %n, %m
  %select = select %yes, %n, 16u32
  %if = if %yes -> u32 {
    %t = mul %n, 2u32
    yield %n
  } else {
    yield 0u32
  }
  %region = region \"r\" -> u32 {
    yield %if
  }
  %wide = convert %n -> u64
  %narrow = convert %wide -> u32
  %signed = bitcast %n -> i32
  %back = bitcast %signed -> u32
  %minus = neg %signed
  %float = convert %n -> f32
  %from = convert %float -> u32
  %any = load %y[%n]
  %zero = local_id.y";
    let wanted = [
        ("and", 64),
        ("or", 4),
        ("shr", 6),
        ("low", 1),
        ("div", 4),
        ("by", 1),
        ("rem", 12),
        ("min", 12),
        ("select", 8),
        ("t", 16),
        ("if", 24),
        ("region", 24),
        ("wide", 24),
        ("narrow", 8),
        ("signed", 8),
        ("back", 8),
        ("minus", 8),
        ("float", 1),
        ("from", 1),
        ("any", 1),
        ("zero", 0),
    ];
    check(body, &wanted);
}

#[test]
fn loops_carry_what_begins_and_what_is_yielded() {
    let body = "  require eq (rem %n, 16u32), 0u32
  %r, %s, %t = for %i in 8u32 to %m step 12u32 carry(%a = %n, %b = 32u32, %c = 5u32) {
    %a1 = add %a, 24u32
    %b1 = for %j in 0u32 to %n step 1u32 carry(%p = %b) {
      %p1 = add %p, %a1
      yield %p1
    }
    yield %a1, %b1, %c
  }
  %w = while carry(%v = 64u32, %u = 0u32) {
    %go = lt %v, %m
    condition %go
  } do {
    %v1 = add %v, %u
    %u1 = add %u, 1u32
    yield %v1, %u1
  }";
    let body = body.replace("%w = while", "%w, %w1 = while");
    let wanted =
        [("i", 4), ("j", 1), ("a", 8), ("b", 8), ("c", 5), ("r", 8), ("s", 8), ("t", 5), ("v", 1), ("w", 1)];
    check(&body, &wanted);
}

#[test]
fn lanes_hand_on_what_they_have() {
    let body = "  %l = local_index
  %a = mul %l, 12u32
  %b = subgroup.shuffle %a, %l
  %c = subgroup.reduce[add] %a
  %d = subgroup.reduce[min] %a
  %e = workgroup_broadcast %a, 70u32
  %f = subgroup.exclusive_scan[min] %a
  %g = subgroup.reduce[or] %a";
    check(body, &[("a", 12), ("b", 12), ("c", 4), ("d", 12), ("e", 12), ("f", 1), ("g", 1)]);
}
