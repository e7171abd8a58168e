//! Kernels with shared memory and barriers, against the interpreter.

use core::fmt::Write as _;
use std::sync::Arc;

use fulgurite_hal::LaunchOptions;
use fulgurite_ir::VerifiedKernel;

use super::{Numbers, same, widths, words};
use crate::native::lower::lower;
use crate::native::program::Step;
use crate::native::x64::Target;
use crate::tests::{grid, kernel};
use crate::{CpuOptions, machine_code};

/// The number of random kernels.
const KERNELS: u64 = 200;

#[test]
fn values_of_all_classes_live_across_barriers() {
    let lines = "buffer %x: read u32[]\nbuffer %out: write u32[]\nparam %p: u32\nshared %t: u32[100]
  shared %w: f32x3[9] uninit\nlocal %a: u32[3]\nview %ti = %t as i32x2[]
  %i = global_id.x\n%gy = global_id.y\n%l = local_index\n%ly = local_id.y\n%wx = workgroup_id.x\n%nx = num_workgroups.x
  %sx = mul %nx, 10u32\n%own0 = mul %gy, %sx\n%own = add %own0, %i\n%v = load %x[%own]\n%b = and %v, 1u32\n%odd = ne %b, 0u32
  %s = mul %ly, 3u32\n%u = load %x[%wx]\n%far = add %i, 90u32\n%edge = min %far, 95u32\n%f = convert %v -> f32
  %q = construct %f, 1.5f32, %f\nstore %a[%b], %v\nstore %t[%l], %v\nstore %w[%ly], %q\nbarrier
  %n = sub 29u32, %l\n%m = load %t[%n]\n%r = load %w[%ly]\n%r1 = extract %r, 1u32\n%rb = bitcast %r1 -> u32\n%e = load %t[%edge]
  %k = load %a[%b]\n%c0 = add %k, %m\n%c1 = xor %c0, %e\n%c2 = add %c1, %rb\n%c3 = select %odd, %c2, %s
  barrier\nif %odd {\n  store %t[%n], %c3\n  }\n%uu = add %u, %s\nbarrier
  %z = load %t[%l]\n%y = load %ti[%s]\n%y1 = extract %y, 1u32\n%yb = bitcast %y1 -> u32\n%d = dot %q, %q\n%db = bitcast %d -> u32
  %o0 = add %z, %uu\n%o1 = xor %o0, %c3\n%o2 = add %o1, %yb\n%o3 = xor %o2, %db\n%o4 = add %o3, %p\nstore %out[%own], %o4";
    for size in ["10, 3, 1", "10, 1, 3"] {
        let kernel = kernel(size, lines);
        same(&kernel, &[words(400, 8), vec![0; 400]], &[5], &LaunchOptions::workgroups([4, 3, 2]));
    }
}

#[test]
fn barriers_in_loops_and_branches() {
    // Sums of a workgroup, by halves, and a uniform branch with values of each class.
    let lines = "buffer %x: read u32[]\nbuffer %out: write u32[]\nparam %p: u32\nparam %q: i32\nshared %t: u32[64]
  %i = global_id.x\n%l = local_index\n%v = load %x[%i]\nstore %t[%l], %v\n%even0 = and %v, 1u32\n%even = eq %even0, 0u32
  %last, %half, %sw, %other, %flag = for %k in 0u32 to %p step 1u32 carry(%acc = %v, %h = 32u32, %one = %v, %two = %l, %fl = %even) {
    barrier\n    %in = lt %l, %h\n    if %in {\n      %j = add %l, %h\n      %a = load %t[%l]\n      %b = load %t[%j]\n      %c = add %a, %b
      store %t[%l], %c\n    }\n    barrier\n    %z = load %t[0u32]\n    %acc1 = add %acc, %z\n    %h1 = shr %h, 1u32\n    %nf = xor %fl, %in
    yield %acc1, %h1, %two, %one, %nf
  }
  %down = for %k in %q to -3i32 step -2i32 carry(%s = %half) {\n    %kb = bitcast %k -> u32\n    %s1 = add %s, %kb\n    barrier[shared]
    %at = and %s1, 63u32\n    %g = load %t[%at]\n    store %t[%l], %g\n    yield %s1\n  }
  %big = gt %p, 3u32\n  %r, %w = if %big -> u32, u32 {\n    barrier\n    %e = load %t[1u32]\n    yield %e, %p\n  } else {\n    %e = mul %l, 5u32\n    yield %e, %half\n  }
  %fs = select %flag, 1u32, 0u32\n  %o1 = add %last, %sw\n  %o2 = mul %o1, 31u32\n  %o3 = add %o2, %other\n  %o4 = xor %o3, %r\n  %o5 = add %o4, %w
  %o6 = add %o5, %fs\n  %o7 = xor %o6, %down\n  store %out[%i], %o7";
    for size in [64, 40, 16] {
        let kernel = kernel(&format!("{size}, 1, 1"), lines);
        for (p, q) in [(0, 0), (1, -4), (5, 1), (6, 10)] {
            same(&kernel, &[words(200, 11), vec![0; 192]], &[p, q as u64], &grid(3));
        }
    }
}

#[test]
fn shared_arrays_begin_as_zeros_in_each_workgroup() {
    let lines = "buffer %out: write u32[]\nshared %t: u32x3[70]\nshared %z: u32[5]\n%i = global_id.x\n%l = local_index
  %a = load %t[%l]\n%a1 = extract %a, 1u32\n%b = load %z[%l]\n%s = add %a1, %b\nstore %out[%i], %s\nbarrier
  %i1 = add %i, 1u32\n%q = construct %i1, %i1, %i1\nstore %t[%l], %q\nstore %z[%l], %i1";
    same(&kernel("33, 1, 1", lines), &[vec![7; 33 * 50]], &[], &grid(50));
}

#[test]
fn buffers_that_are_only_tallied_in_hold_what_all_workers_counted() {
    for op in ["add", "and", "or", "xor", "min", "max"] {
        for (view, value) in [("%b", "%v"), ("%bi", "%vi")] {
            let lines = format!(
                "buffer %x: read u32[]\nbuffer %b: read_write u32[]\nview %bi = %b as i32[]\n%i = global_id.x
  %v = load %x[%i]\n%vi = bitcast %v -> i32\n%bin = and %v, 31u32\natomic.{op} {view}[%bin], {value}"
            );
            // A launch of one workgroup is too short for copies. With 31 words, some indices are out of bounds.
            let kernel = kernel("64, 1, 1", &lines);
            for (groups, count) in [(1, 32), (1, 31), (400, 32), (400, 31)] {
                same(&kernel, &[words(25_600, 9), words(count, 3)], &[], &grid(groups));
            }
        }
    }
}

/// Writes the lines of a random kernel in which invocations exchange words of a shared array.
struct Writer {
    numbers: Numbers,
    text: String,
    names: u32,
    /// Values in scope, and those of them that are equal in the workgroup.
    values: Vec<String>,
    equal: Vec<String>,
    /// Whether subgroups are vectors.
    has_subgroups: bool,
}

impl Writer {
    fn below(&mut self, count: usize) -> usize {
        self.numbers.next() as usize % count
    }

    fn define(&mut self, right: &str) -> String {
        self.names += 1;
        let name = format!("%t{}", self.names);
        let _ = writeln!(self.text, "{name} = {right}");
        name
    }

    fn value(&mut self) -> String {
        let at = self.below(self.values.len());
        self.values[at].clone()
    }

    fn equal(&mut self) -> String {
        let at = self.below(self.equal.len());
        self.equal[at].clone()
    }

    fn combine(&mut self, a: &str, b: &str) -> String {
        let op = ["add", "sub", "xor", "mul", "max", "and", "min"][self.below(7)];
        self.define(&format!("{op} {a}, {b}"))
    }

    fn line(&mut self, depth: u32) {
        if self.has_subgroups && self.below(6) == 0 {
            return self.across();
        }
        match self.below(if depth < 3 { 10 } else { 8 }) {
            0 | 1 => {
                let (a, b) = (self.value(), self.value());
                let name = self.combine(&a, &b);
                self.values.push(name);
            }
            2 => {
                let (a, b) = (self.equal(), self.equal());
                let name = self.combine(&a, &b);
                self.values.push(name.clone());
                self.equal.push(name);
            }
            3 => {
                let value = self.value();
                let _ = writeln!(self.text, "store %sh[%l], {value}");
            }
            4 | 5 => {
                // Between two barriers, so that no invocation reads what another one writes meanwhile.
                let _ = writeln!(self.text, "barrier");
                let value = self.value();
                let at = self.define(&format!("and {value}, 63u32"));
                let name = self.define(&format!("load %sh[{at}]"));
                let _ = writeln!(self.text, "barrier");
                self.values.push(name);
            }
            6 => {
                let (a, b, c, d) = (self.value(), self.value(), self.value(), self.value());
                let is = self.define(&format!("lt {a}, {b}"));
                let name = self.define(&format!("select {is}, {c}, {d}"));
                self.values.push(name);
            }
            7 => {
                let (value, index) = (self.value(), self.value());
                let at = self.define(&format!("and {index}, 7u32"));
                let _ = writeln!(self.text, "store %la[{at}], {value}");
                let other = self.value();
                let at = self.define(&format!("and {other}, 7u32"));
                let name = self.define(&format!("load %la[{at}]"));
                self.values.push(name);
            }
            8 => self.count(depth),
            _ => self.branch(depth),
        }
    }

    /// Writes an op across a subgroup or the workgroup.
    fn across(&mut self) {
        let (value, other) = (self.value(), self.value());
        if self.below(6) == 0 {
            let index = self.equal();
            let index = self.define(&format!("and {index}, 63u32"));
            let name = self.define(&format!("workgroup_broadcast {value}, {index}"));
            self.values.push(name.clone());
            self.equal.push(name);
            return;
        }
        let lane = self.define(&format!("and {other}, 31u32"));
        let name = match self.below(10) {
            how @ 0..=2 => {
                let scan = ["reduce", "inclusive_scan", "exclusive_scan"][how];
                let combine = ["add", "min", "max", "xor", "and", "or", "mul"][self.below(7)];
                self.define(&format!("subgroup.{scan}[{combine}] {value}"))
            }
            how @ 3..=6 => {
                let op = ["shuffle", "shuffle_xor", "shuffle_up", "shuffle_down"][how - 3];
                self.define(&format!("subgroup.{op} {value}, {lane}"))
            }
            7 => {
                let set = self.define(&format!("subgroup.match {lane}"));
                self.define(&format!("extract {set}, 0u32"))
            }
            _ => {
                let holds = self.define(&format!("lt {value}, {other}"));
                let op = ["ballot", "any", "all", "ballot_count"][self.below(4)];
                let result = self.define(&format!("subgroup.{op} {holds}"));
                match op {
                    "ballot" => self.define(&format!("extract {result}, 0u32")),
                    "ballot_count" => result,
                    _ => self.define(&format!("select {result}, {value}, 5u32")),
                }
            }
        };
        self.values.push(name);
    }

    fn block(&mut self, depth: u32, yields: [bool; 2]) {
        for _ in 0..=self.below(5) {
            self.line(depth + 1);
        }
        let values = yields.map(|is_equal| if is_equal { self.equal() } else { self.value() });
        let _ = writeln!(self.text, "yield {}", values.join(", "));
    }

    fn count(&mut self, depth: u32) {
        let (start, distance) = (self.equal(), self.equal());
        let few = self.define(&format!("and {distance}, 3u32"));
        let end = self.define(&format!("add {start}, {few}"));
        self.names += 5;
        let [r, s, k, a, b] = [0, 1, 2, 3, 4].map(|back| format!("%t{}", self.names - back));
        let (first, second) = (self.value(), self.equal());
        let _ = writeln!(
            self.text,
            "{r}, {s} = for {k} in {start} to {end} step 1u32 carry({a} = {first}, {b} = {second}) {{"
        );
        let marks = (self.values.len(), self.equal.len());
        self.values.extend([k.clone(), a, b.clone()]);
        self.equal.extend([k, b]);
        self.block(depth, [false, true]);
        let _ = writeln!(self.text, "}}");
        self.leave(marks, r, s);
    }

    fn branch(&mut self, depth: u32) {
        let (x, y) = (self.equal(), self.equal());
        let is = self.define(&format!("lt {x}, {y}"));
        self.names += 2;
        let [r, s] = [0, 1].map(|back| format!("%t{}", self.names - back));
        let _ = writeln!(self.text, "{r}, {s} = if {is} -> u32, u32 {{");
        let marks = (self.values.len(), self.equal.len());
        self.block(depth, [false, true]);
        self.values.truncate(marks.0);
        self.equal.truncate(marks.1);
        let _ = writeln!(self.text, "}} else {{");
        self.block(depth, [false, true]);
        let _ = writeln!(self.text, "}}");
        self.leave(marks, r, s);
    }

    fn leave(&mut self, marks: (usize, usize), value: String, equal: String) {
        self.values.truncate(marks.0);
        self.equal.truncate(marks.1);
        self.values.extend([value, equal.clone()]);
        self.equal.push(equal);
    }
}

/// Returns the size of the workgroups of a random kernel with barriers, their number of invocations, and the lines.
fn random_kernel(seed: u64) -> (&'static str, usize, String) {
    let (group, invocations, has_subgroups) = [
        ("64, 1, 1", 64, true),
        ("9, 5, 1", 45, false),
        ("16, 3, 1", 48, true),
        ("8, 2, 2", 32, false),
        ("43, 1, 1", 43, true),
    ][seed as usize % 5];
    let names = |all: &[&str]| all.iter().map(|name| String::from(*name)).collect();
    let mut writer = Writer {
                numbers: Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
                text: String::from(
                    "buffer %x: read u32[]\nbuffer %out: write u32[]\nparam %p: u32\nshared %sh: u32[50]\nlocal %la: u32[6]
    %i = global_id.x\n%l = local_index\n%y = local_id.y\n%w = workgroup_id.x\n%v = load %x[%i]\n%u = load %x[%w]\n%c = add %p, 0u32\n",
                ),
                names: 0,
                values: names(&["%i", "%l", "%y", "%v", "%u", "%p"]),
                equal: names(&["%w", "%u", "%p", "%c"]),
                has_subgroups,
            };
    for _ in 0..14 {
        writer.line(0);
    }
    let all = writer.values.clone();
    let mut sum = String::from("%l");
    for value in all {
        let turned = writer.define(&format!("rotl {sum}, 7u32"));
        sum = writer.define(&format!("add {turned}, {value}"));
    }
    let _ = writeln!(
        writer.text,
        "%o0 = mul %w, {invocations}u32\n%own = add %o0, %l\nstore %out[%own], {sum}\nbarrier"
    );
    (group, invocations, writer.text)
}

/// Returns a random kernel with barriers, the contents of its buffers and its parameters, for three workgroups.
pub(super) fn random_launch(seed: u64) -> (Arc<VerifiedKernel>, Vec<Vec<u32>>, Vec<u64>) {
    let (group, invocations, text) = random_kernel(seed);
    (kernel(group, &text), vec![words(100, seed), vec![0; invocations * 3]], vec![seed % 6])
}

#[test]
fn random_kernels_with_barriers_run_as_in_the_interpreter() {
    for seed in 0..KERNELS {
        let (kernel, contents, params) = random_launch(seed);
        let outcome = std::panic::catch_unwind(|| same(&kernel, &contents, &params, &grid(3)));
        assert!(outcome.is_ok(), "seed {seed}:\n{}", random_kernel(seed).2);
    }
}

/// The atomic ops on integers.
const UPDATES: [&str; 8] = ["add", "and", "or", "xor", "min", "max", "exchange", "compare_exchange"];

/// Returns the lines of a kernel that updates a word per invocation, in a buffer or a shared array.
fn updates(op: &str, ty: &str, is_shared: bool) -> String {
    let base = if is_shared { "%s" } else { "%words" };
    let operands = if op == "compare_exchange" { "%a, %b" } else { "%a" };
    let (into, from) = if ty == "u32" { (["add", ", 0u32"], ", 0u32") } else { (["bitcast", " -> u32"], "") };
    let [cast, to_word] = into;
    let to_value = if ty == "u32" { String::from(from) } else { format!(" -> {ty}") };
    format!(
        "buffer %x: read u32[]\nbuffer %words: read_write u32[]\nbuffer %out: write u32[]\nshared %s: u32[40]
  view %v = {base} as {ty}[]\n%l = local_index\n%a0 = load %x[%l]\n%k = sub 47u32, %l\n%b0 = load %x[%k]\n%w = load %words[%l]
  store %s[%l], %w\n%a = {cast} %a0{to_value}\n%b = {cast} %b0{to_value}\n%bit = and %b0, 4u32\n%is = eq %bit, 0u32
  %r = if %is -> {ty} {{\n  %old = atomic.{op} %v[%l], {operands}\n  yield %old\n}} else {{\n  yield %a\n}}
  %r0 = {cast} %r{to_word}\nstore %out[%l], %r0\n%now = atomic.load %v[%l]\n%far = add %l, 1000u32\natomic.store %v[%far], %now
  atomic.store %v[%l], %a\n%now0 = {cast} %now{to_word}\n%t = load %s[%l]\n%m = xor %now0, %t\n%at = add %l, 64u32\nstore %out[%at], %m"
    )
}

/// Returns the contents of the buffers of [`updates`].
fn updated_contents(seed: u64) -> Vec<Vec<u32>> {
    // Finite floats of both signs. Every third pair of words is equal.
    let near = |seed| words(45, seed).into_iter().zip(words(45, seed + 9));
    let near = |seed| near(seed).map(|(a, b)| a >> 2 ^ b << 31).collect::<Vec<u32>>();
    let (operands, mut old) = (near(seed), near(seed + 20));
    (0..45).step_by(3).for_each(|at| old[at] = operands[at]);
    vec![operands, old, vec![0; 120]]
}

/// Returns a kernel that updates words, the contents of its buffers and its parameters.
pub(super) fn update_launch(seed: u64) -> (Arc<VerifiedKernel>, Vec<Vec<u32>>, Vec<u64>) {
    let op = UPDATES[seed as usize % UPDATES.len()];
    let lines = updates(op, ["u32", "i32"][seed as usize / 8 % 2], seed / 16 % 2 == 1);
    (kernel("50, 1, 1", &lines), updated_contents(seed), Vec::new())
}

#[test]
fn atomics_return_the_old_word() {
    for ty in ["u32", "i32", "f32"] {
        for op in UPDATES.into_iter().filter(|op| ty != "f32" || matches!(*op, "add" | "exchange")) {
            for is_shared in [false, true] {
                let kernel = kernel("50, 1, 1", &updates(op, ty, is_shared));
                (0..6).for_each(|seed| same(&kernel, &updated_contents(seed), &[], &grid(1)));
            }
        }
    }
}

#[test]
fn atomics_of_many_invocations_lose_no_update() {
    let lines = "buffer %x: read u32[]\nbuffer %bins: read_write u32[]\nbuffer %seen: read_write u32[]\nshared %s: u32[16]
  %i = global_id.x\n%l = local_index\n%v = load %x[%i]\n%b = and %v, 7u32\natomic.add %s[%b], 1u32\n%b8 = add %b, 8u32
  atomic.xor %s[%b8], %v\nbarrier\n%in = lt %l, 16u32\nif %in {\n  %c = load %s[%l]\n  atomic.add %bins[%l], %c\n  }
  %at = add %b, 16u32\natomic.max %bins[%at], %v\n%at1 = add %b, 24u32\natomic.or %bins[%at1], %v\n%ticket = atomic.add %bins[32u32], 1u32
  atomic.add %seen[%ticket], 1u32";
    for size in [64, 20] {
        let kernel = kernel(&format!("{size}, 1, 1"), lines);
        same(&kernel, &[words(size * 100, 3), vec![0; 33], vec![0; size * 100]], &[], &grid(100));
    }
}

/// Lines of a kernel whose invocations pass `count` barriers.
fn barriers(count: usize) -> String {
    let body = "barrier\n".repeat(count);
    format!("buffer %out: write u32[]\n%l = local_index\n{body}store %out[%l], %l")
}

fn is_native(size: &str, lines: &str) -> bool {
    let kernel = kernel(size, lines);
    widths().all(|native| machine_code(&kernel, CpuOptions { native }).is_ok())
}

#[test]
fn workgroups_that_would_take_much_time_or_memory_are_interpreted() {
    if widths().next().is_none() {
        return;
    }
    assert!(is_native("64, 1, 1", &barriers(1000)));
    assert!(!is_native("64, 1, 1", &barriers(1024)));
    // Half of the lanes and fewer; one vector has no others beside it.
    assert!(is_native("8, 32, 1", &barriers(1)));
    assert!(is_native("1, 1, 1", &barriers(1)));
    assert!(!is_native("1, 64, 1", &barriers(1)));
    let local = |words: u32| format!("local %a: u32[{words}]\n{}", barriers(1));
    assert!(is_native("4096, 1, 1", &local(4096)));
    assert!(!is_native("4, 1024, 1", &local(4096)));
}

#[test]
fn every_loop_over_the_vectors_of_a_workgroup_polls() {
    let kernel = kernel("64, 64, 1", &barriers(5));
    let program = lower(&kernel, Target::Avx512).expect("it is supported");
    let polls = program.steps.iter().filter(|step| matches!(step, Step::Poll)).count();
    assert_eq!(polls, 6, "one for each segment");
}

#[test]
fn parts_of_local_indices_are_those_of_each_lane() {
    let mut body = String::from(
        "buffer %x: read u32[]\nbuffer %y: read_write u32[]\nparam %n: u32\nshared %tile: u32[256]\n%t = local_index\n%lx = local_id.x\n\
         %g = global_id.x\n%later = add %t, 32u32\n%odd = add %t, 3u32\n%w = workgroup_id.x\n",
    );
    let mut results = Vec::new();
    for index in ["%t", "%lx", "%g", "%later", "%odd"] {
        for (op, literals) in [
            ("and", &[31, 15, 47, 7, 16, 0xffff_fff0_u32, u32::MAX][..]),
            ("rem", &[16, 32, 48, 20, 1, 0]),
            ("div", &[16, 32, 48, 20, 1, 0]),
            ("shr", &[4, 5, 3, 31, 36]),
        ] {
            for literal in literals {
                let result = format!("%r{}", results.len());
                body += &format!("{result} = {op} {index}, {literal}u32\n");
                results.push(result);
            }
        }
    }
    // As indices, in arithmetic, and behind a barrier.
    for (number, result) in results.iter().enumerate() {
        body += &format!(
            "%s{number} = mul {result}, %n\n%l{number} = load %x[{result}]\n%p{number} = add {result}, %s{number}\n\
             %q{number} = load %x[%p{number}]\n%u{number} = xor %l{number}, %q{number}\n"
        );
    }
    body += "%c = rem %t, 256u32\nstore %tile[%c], %t\nbarrier[shared]\n";
    let count = results.len();
    body += &format!("%flat = mul %w, 512u32\n%own = add %flat, %t\n%base = mul %own, {count}u32\n");
    for (number, result) in results.iter().enumerate() {
        body += &format!(
            "%m{number} = load %tile[{result}]\n%v{number} = add %m{number}, %u{number}\n%z{number} = add %base, {number}u32\n\
             store %y[%z{number}], %v{number}\n"
        );
    }
    // Quotients by whole vectors are the same in all lanes, so that one word is loaded for them, if rows are whole vectors.
    let broadcasts = |size: &str| {
        let program = lower(&kernel(size, &body), Target::Avx512).unwrap();
        program.steps.iter().filter(|step| matches!(step, Step::LoadBroadcast { .. })).count()
    };
    assert!(broadcasts("64, 1, 1") > broadcasts("40, 1, 1"));
    for size in ["64, 1, 1", "48, 1, 1", "16, 3, 1", "40, 1, 1", "32, 2, 2"] {
        let kernel = kernel(size, &body);
        let contents = [words(200, 3), vec![0; 2 * 512 * count]];
        same(&kernel, &contents, &[3], &grid(2));
    }
}
