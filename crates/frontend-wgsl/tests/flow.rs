//! Control flow: branches, loops, early exits, calls.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::Case;

const OUT: &str = "@group(0) @binding(0) var<storage, read_write> out: array<i32>;\n";

/// Runs `body`, which computes `r` from `i`, for 64 values of `i`, and compares with `expected`.
fn check(functions: &str, body: &str, expected: impl Fn(i32) -> i32) {
    let source = format!(
        "{OUT}{functions}\n@compute @workgroup_size(32)\nfn main(@builtin(global_invocation_id) id: vec3<u32>) {{\n  \
         let i = i32(id.x);\n  var r = 0;\n{body}\n  out[i] = r;\n}}"
    );
    let case = Case::new(&source).bind(0, &[-77i32; 64]).grid([2, 1, 1]);
    let wanted: Vec<i32> = (0..64).map(expected).collect();
    assert_eq!(case.run::<i32>(0), wanted, "{}", case.text());
}

#[test]
fn branches_choose_values() {
    check("", "if (i > 10) { r = 1; } else if (i == 3) { r = 2; } else { r = i; }", |i| match i {
        11.. => 1,
        3 => 2,
        _ => i,
    });
}

#[test]
fn for_loops_count_up_and_down() {
    check("", "for (var k = 0; k < i; k++) { r += k; }", |i| (0..i).sum());
    check("", "for (var k = i; k > 3; k--) { r += k * 2; }", |i| (4..=i).map(|k| 2 * k).sum());
    check("", "for (var k = 0; k <= 20; k += 3) { r += k ^ i; }", |i| {
        (0..=20).step_by(3).map(|k| k ^ i).sum()
    });
    check("", "for (var k = 20; k >= 0; k -= 4) { r = r * 3 + k; }", |_| {
        (0..=20).rev().step_by(4).fold(0, |r, k| r * 3 + k)
    });
    // The step does not divide the way, and the bound is not a literal.
    check("", "for (var k = 0; k < i; k += 7) { r += k; }", |i| (0..i).step_by(7).sum());
    check("", "for (var k = 5u; k < u32(i); k++) { r += i32(k); }", |i| (5..i.max(5)).sum());
    check("", "for (var k = i; 30 >= k; k++) { r += k; }", |i| (i..=30).sum());
}

#[test]
fn counted_loops_become_for() {
    let text = |body: &str| {
        Case::new(&format!(
            "{OUT}@compute @workgroup_size(1) fn main() {{ var r = 0; let n = arrayLength(&out); {body} out[0] = r; }}"
        ))
        .text()
    };
    assert!(text("for (var k = 0u; k < n; k++) { r += i32(k); }").contains(" for "));
    assert!(text("for (var k = 0; k < 10; k += 3) { r += k; }").contains(" for "));
    assert!(text("for (var k = 0u; n > k; k++) { r += i32(k); }").contains(" for "));
    // The counter may wrap, changes in the body, or does not bound the loop.
    assert!(text("for (var k = 0u; k < n; k += 2u) { r += i32(k); }").contains(" while "));
    assert!(
        text("for (var k = 0u; k < n; k++) { r += i32(k); if (r == 9) { k += 5u; } }").contains(" while ")
    );
    assert!(text("for (var k = 0u; k < n; k++) { if (r > 9) { break; } r += i32(k); }").contains(" while "));
}

#[test]
fn counter_after_the_loop_has_its_last_value() {
    check("", "var k = 0; for (; k < i; k++) { } r = k;", |i| i.max(0));
    check("", "var k = 30; for (; k < i; k++) { } r = k;", |i| i.max(30));
    check("", "var k = i; for (; k < 40; k += 7) { } r = k;", |i| {
        let mut k = i;
        while k < 40 {
            k += 7;
        }
        k
    });
    check("", "var k = i - 20; for (; k >= -5; k -= 3) { } r = k;", |i| {
        let mut k = i - 20;
        while k >= -5 {
            k -= 3;
        }
        k
    });
}

#[test]
fn breaks_and_continues_leave_what_they_should() {
    check(
        "",
        "for (var k = 0; k < 50; k++) { if (k == i) { break; } if (k % 3 == 0) { continue; } r += k; }",
        |i| (0..50.min(i)).filter(|k| k % 3 != 0).sum(),
    );
    check(
        "",
        "var k = 0; loop { if (k >= 10) { break; } if (k == 4) { k += 2; continue; } r += k; if (r > i) { r = -r; break; } \
         continuing { k += 1; } }",
        |i| {
            let (mut r, mut k) = (0, 0);
            loop {
                if k >= 10 {
                    break;
                }
                if k == 4 {
                    k += 2;
                } else {
                    r += k;
                    if r > i {
                        r = -r;
                        break;
                    }
                }
                k += 1;
            }
            r
        },
    );
    check("", "var k = i; loop { r += k; continuing { k -= 5; break if k < 0; } }", |i| {
        (0..=i).rev().step_by(5).sum()
    });
}

#[test]
fn nested_loops_with_exits() {
    check(
        "",
        "for (var a = 0; a < 6; a++) { for (var b = 0; b < 6; b++) { if (a * b > i) { break; } if ((a + b) % 2 == 1) { continue; } \
         r += a * 10 + b; } if (r > 150) { break; } }",
        |i| {
            let mut r = 0;
            'outer: for a in 0..6 {
                for b in 0..6 {
                    if a * b > i {
                        break;
                    }
                    if (a + b) % 2 == 1 {
                        continue;
                    }
                    r += a * 10 + b;
                }
                if r > 150 {
                    break 'outer;
                }
            }
            r
        },
    );
}

#[test]
fn while_loops_run_until_their_condition_fails() {
    check(
        "",
        "var n = i + 1; while (n != 1) { if (n % 2 == 0) { n /= 2; } else { n = 3 * n + 1; } r++; }",
        |i| {
            let (mut n, mut r) = (i + 1, 0);
            while n != 1 {
                n = if n % 2 == 0 { n / 2 } else { 3 * n + 1 };
                r += 1;
            }
            r
        },
    );
}

#[test]
fn switches_choose_one_case() {
    check(
        "",
        "switch i { case 0, 5: { r = 1; } default: { r = -1; } case 7: { if (r == 0) { r = 3; break; } r = 4; } case 8, default_: { r = 5; } }"
            .replace("8, default_", "8")
            .as_str(),
        |i| match i {
            0 | 5 => 1,
            7 => 3,
            8 => 5,
            _ => -1,
        },
    );
    // A `continue` in a switch belongs to the loop around it.
    check(
        "",
        "for (var k = 0u; k < 9u; k++) { switch k { case 2u: { continue; } case 4u: { if (i < 20) { break; } r += 100; } \
         default: { r += 1; } } r += 1000; }",
        |i| {
            let mut r = 0;
            for k in 0..9 {
                match k {
                    2 => continue,
                    4 => {
                        if i >= 20 {
                            r += 100;
                        }
                    }
                    _ => r += 1,
                }
                r += 1000;
            }
            r
        },
    );
}

#[test]
fn early_returns_of_the_entry_point_skip_the_rest() {
    let source = format!(
        "{OUT}@compute @workgroup_size(32) fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
           let i = i32(id.x);
           if (i < 3) {{ return; }}
           out[i] = 1;
           for (var k = 0; k < 10; k++) {{ if (k == i) {{ out[i] = 2; return; }} out[i] += 1; if (k == 7) {{ return; }} }}
           out[i] = 9;
         }}"
    );
    let expected: Vec<i32> = (0..32)
        .map(|i| match i {
            0..3 => 0,
            3..=7 => 2,
            _ => 9,
        })
        .collect();
    assert_eq!(Case::new(&source).bind(0, &[0i32; 32]).run::<i32>(0), expected);
}

#[test]
fn functions_are_inlined_with_their_early_returns() {
    let functions = "
fn classify(x: i32, limit: i32) -> i32 {
  if (x < limit) { return -1; }
  var sum = 0;
  for (var k = 0; k < x; k++) {
    sum += k;
    if (sum > 100) { return sum; }
    if (k == 9) { continue; }
    sum += 1;
  }
  if (sum % 2 == 0) { return 0; }
  return 7;
}
fn add_to(p: ptr<function, i32>, v: i32) { if (v == 13) { return; } *p += v; }
fn twice(x: i32) -> i32 { return classify(x, 4) + classify(x + 1, 8); }";
    let classify = |x: i32, limit: i32| {
        if x < limit {
            return -1;
        }
        let mut sum = 0;
        for k in 0..x {
            sum += k;
            if sum > 100 {
                return sum;
            }
            if k != 9 {
                sum += 1;
            }
        }
        if sum % 2 == 0 { 0 } else { 7 }
    };
    check(functions, "r = twice(i); add_to(&r, i);", |i| {
        classify(i, 4) + classify(i + 1, 8) + if i == 13 { 0 } else { i }
    });
}

#[test]
fn returns_inside_nested_loops_end_all_of_them() {
    let functions = "
fn find(n: i32) -> i32 {
  for (var a = 0; a < 8; a++) {
    var b = 0;
    loop {
      if (b == 8) { break; }
      if (a * b == n) { return a * 100 + b; }
      b++;
    }
  }
  return -1;
}";
    check(functions, "r = find(i);", |i| {
        for a in 0..8 {
            for b in 0..8 {
                if a * b == i {
                    return a * 100 + b;
                }
            }
        }
        -1
    });
}

#[test]
fn variables_declared_in_loops_start_anew() {
    check("", "for (var k = 0; k < 4; k++) { var t: i32; t += k; var u = 5; u += t; r += u; }", |_| {
        (0..4).map(|k| 5 + k).sum()
    });
}

#[test]
fn private_variables_keep_their_values_across_calls() {
    let functions = "var<private> count: i32 = 3;\nvar<private> seen: array<i32, 4>;\n\
        fn note(k: i32) -> bool { count += k; seen[k & 3] = count; return count > 20; }";
    check(
        functions,
        "for (var k = 0; k < i; k++) { if (note(k)) { break; } } r = count * 100 + seen[i & 3];",
        |i| {
            let (mut count, mut seen) = (3, [0; 4]);
            for k in 0..i {
                count += k;
                seen[(k & 3) as usize] = count;
                if count > 20 {
                    break;
                }
            }
            count * 100 + seen[(i & 3) as usize]
        },
    );
}

#[test]
fn short_circuits_do_not_evaluate_effects() {
    let functions = "var<private> calls: i32;\nfn yes(b: bool) -> bool { calls += 1; return b; }";
    check(
        functions,
        "if (yes(i > 5) && yes(i > 50)) { r = 1000; } if (yes(i > 60) || yes(true)) { r += 10; } r += calls;",
        |i| {
            let first = if i > 5 { 2 } else { 1 };
            let second = if i > 60 { 1 } else { 2 };
            (if i > 50 { 1000 } else { 0 }) + 10 + first + second
        },
    );
}
