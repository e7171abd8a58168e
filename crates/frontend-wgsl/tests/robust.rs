//! Damaged and random sources: the importer returns kernels or problems and never panics, and kernels print and parse.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the environment states the number of programs"
)]

mod common;

use fulgurite_frontend_wgsl::{ImportOptions, import};
use fulgurite_spec::Code;

/// Sources with most constructs.
const SOURCES: [&str; 3] = [
    "override N: u32 = 8u;
    struct P { a: u32, v: vec3<f32>, m: mat2x2<f32>, t: array<i32, 3> }
    @group(0) @binding(0) var<storage, read_write> p: array<P>;
    @group(0) @binding(1) var<uniform> u: vec4<f32>;
    var<workgroup> w: array<atomic<u32>, N>;
    var<private> seen: bool;
    fn f(x: ptr<function, array<f32, 4>>, k: i32) -> f32 {
      for (var i = 0; i < 4; i++) { if (i == k) { return (*x)[i]; } (*x)[i] += f32(k); }
      return -1.0;
    }
    @compute @workgroup_size(N) fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) l: u32) {
      var a = array<f32, 4>(1.0, 2.0, u.x, 4.0);
      if (id.x >= arrayLength(&p)) { return; }
      let old = atomicAdd(&w[l], p[id.x].a);
      loop { if (seen) { break; } seen = f(&a, i32(id.y)) > 2.0; continuing { break if a[1] > 9.0; } }
      p[id.x].v = p[id.x].v.zyx * u.w + vec3<f32>(p[id.x].m * u.xy, a[l & 3u]);
      switch p[id.x].t[2] { case 1, 2: { p[id.x].t[0] = 5; } default: { p[id.x].t[l % 3u] -= i32(old); } }
    }",
    "@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;
    const T = array<vec2<u32>, 3>(vec2(1u, 2u), vec2(3u, 4u), vec2(5u, 6u));
    @compute @workgroup_size(4, 2, 1) fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(subgroup_size) s: u32) {
      let sum = subgroupAdd(x[g.x].x); let k = subgroupBallot(true);
      x[T[s % 3u].y] = select(vec4<f32>(sum), normalize(x[0]), x[1] < vec4<f32>(f32(k.x)));
      x[1].w = pow(abs(x[2].z), 2.0) % 3.0 + length(x[3].xyz) + f32(firstLeadingBit(s)) + fract(x[4].y);
    }",
    "fn a(x: i32) -> i32 { if (x > 3) { return x * 2; } else if (x < -3) { return -x; } return x; }
    fn b(x: i32) -> vec2<i32> { var v = vec2<i32>(x, a(x)); v.y += a(v.x - 1); v[x & 1] <<= 2u; return v; }
    @group(1) @binding(7) var<storage, read> input: array<i32, 16>;
    @group(1) @binding(9) var<storage, read_write> output: array<i32>;
    @compute @workgroup_size(16) fn one(@builtin(local_invocation_id) l: vec3<u32>) {
      var r = b(input[l.x]); while (r.x > 0) { r.x -= 7; if (r.x == 3) { continue; } r.y ^= r.x; } output[l.x] = r.y;
      workgroupBarrier();
    }
    @compute @workgroup_size(1) fn two() { output[0] = dot(b(1), b(2)) / (input[0] - input[0]); }",
];

/// A generator by multiplication, after Lehmer.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(0xda94_2042_e4dd_58b5).wrapping_add(1);
        ((self.0 >> 33) as usize) % n
    }
}

fn tokens(source: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut is_word = false;
    for c in source.chars() {
        let word = c.is_alphanumeric() || c == '_' || c == '.';
        match found.last_mut() {
            Some(last) if word && is_word => last.push(c),
            _ => found.push(c.to_string()),
        }
        is_word = word;
    }
    found
}

#[test]
fn damaged_sources_give_kernels_or_problems() {
    let rounds = std::env::var("FULGURITE_WGSL_MUTATIONS").map_or(3000, |n| n.parse().unwrap());
    let mut random = Random(0x5eed);
    let (mut imported, mut refused) = (0, 0);
    for source in SOURCES {
        assert!(import(source, &ImportOptions::default()).is_ok(), "{source}");
    }
    for round in 0..rounds {
        let mut text = tokens(SOURCES[round % SOURCES.len()]);
        for _ in 0..=random.below(2) {
            let (at, other) = (random.below(text.len()), random.below(text.len()));
            match random.below(4) {
                0 => drop(text.remove(at)),
                1 => text.swap(at, other),
                2 => text[at] = text[other].clone(),
                _ => {
                    let odd = [
                        "0",
                        "1u",
                        "-1",
                        "4294967295u",
                        "true",
                        "x",
                        "1e30",
                        "vec2<u32>",
                        "arrayLength",
                        "return",
                        "break",
                    ];
                    text[at] = odd[random.below(odd.len())].to_owned();
                }
            }
        }
        let text = text.concat();
        match import(&text, &ImportOptions::default()) {
            Ok(all) => {
                imported += all.len();
                all.iter().for_each(|one| common::prints_and_parses(&one.kernel));
            }
            Err(all) => {
                refused += 1;
                all.all().iter().for_each(|one| assert_ne!(one.code, Code::Internal, "{one}\n{text}"));
            }
        }
    }
    // Both happen, or the test would say little.
    assert!(imported > rounds / 20 && refused > rounds / 20, "{imported} {refused}");
}

/// Sources that nest as deep as the importer or the parser allows are imported or refused on the stack of a thread.
#[test]
fn deep_sources_do_not_exhaust_the_stack() {
    let nest = |open: &str, close: &str, n: usize| format!("{}{}", open.repeat(n), close.repeat(n));
    let mut calls = "fn g0(x: i32) -> i32 { return x; }\n".to_owned();
    for i in 1..60 {
        calls.push_str(&format!(
            "fn g{i}(x: i32) -> i32 {{ if (x > {i}) {{ return g{}(x - 1); }} return x; }}\n",
            i - 1
        ));
    }
    let bodies = [20, 45, 90, 120, 250].into_iter().flat_map(|n| {
        [
            nest("if (x > 1) { x += 1; ", "} ", n),
            nest("loop { x += 1; if (x > 5) { break; } ", "} ", n),
            nest("switch x { case 1: { x += 2; } default: { ", "} } ", n),
            "if (x == 3) { return; } x += 1; ".repeat(n),
            format!("x = {};", nest("(1 + ", "x)", n).replace("x)", ")").replacen("+ )", "+ x)", 1)),
            format!("x = {};", nest("max(x, ", ")", n).replacen(", )", ", 1)", 1)),
            format!("x = g{}(x);", n.min(59)),
        ]
    });
    let sources: Vec<String> = bodies
        .map(|body| {
            format!(
                "{calls}@group(0) @binding(0) var<storage, read_write> out: array<i32>;\n\
                 @compute @workgroup_size(1) fn main() {{ var x = out[0]; {body} out[0] = x; }}"
            )
        })
        .collect();
    let work = move || {
        let imported = sources.iter().filter(|text| import(text, &ImportOptions::default()).is_ok()).count();
        // Those of 20 and most of 45.
        assert!(imported >= 12, "{imported} of {}", sources.len());
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
fn random_statements_compute_what_they_say() {
    let rounds = std::env::var("FULGURITE_WGSL_RANDOM").map_or(150, |n| n.parse().unwrap());
    let mut random = Random(0xf1a5);
    for _ in 0..rounds {
        let program = Program::random(&mut random);
        let source = format!(
            "@group(0) @binding(0) var<storage, read_write> out: array<i32>;\n{}\n\
             @compute @workgroup_size(32) fn main(@builtin(local_invocation_index) l: u32) {{\n  \
             out[l] = work(i32(l) - 16);\n}}",
            program.text()
        );
        let case = common::Case::new(&source).bind(0, &[0i32; 32]);
        let expected: Vec<i32> = (-16..16).map(|x| program.run(x)).collect();
        assert_eq!(case.run::<i32>(0), expected, "{source}\n{}", case.text());
    }
}

/// A statement over variables `v0` to `v3`.
enum Statement {
    /// `v[a] = v[b] op constant` or `v[a] = v[b] op v[c]`.
    Assign(usize, Operand, usize, Operand),
    If(Condition, Vec<Statement>, Vec<Statement>),
    /// Runs up to so many times.
    For(i32, Vec<Statement>),
    /// Runs while a counter is below so many, counting after the body.
    Loop(i32, Vec<Statement>, Condition),
    Switch(usize, Vec<Statement>, Vec<Statement>, Vec<Statement>),
    Break,
    Continue,
    Return(Operand),
}

#[derive(Clone, Copy)]
enum Operand {
    Variable(usize),
    Constant(i32),
}

struct Condition(usize, usize, Operand);

struct Program(Vec<Statement>);

enum Exit {
    Break,
    Continue,
    Return(i32),
}

const OPERATORS: [&str; 6] = ["+", "-", "*", "&", "^", "/"];
const COMPARISONS: [&str; 3] = ["<", "==", ">="];

impl Operand {
    fn random(random: &mut Random) -> Self {
        match random.below(2) {
            0 => Self::Variable(random.below(4)),
            _ => Self::Constant(random.below(9) as i32 - 3),
        }
    }

    fn text(self) -> String {
        match self {
            Self::Variable(v) => format!("v{v}"),
            Self::Constant(c) => format!("({c})"),
        }
    }

    fn value(self, v: &[i32; 4]) -> i32 {
        match self {
            Self::Variable(at) => v[at],
            Self::Constant(c) => c,
        }
    }
}

impl Condition {
    fn random(random: &mut Random) -> Self {
        Self(random.below(4), random.below(3), Operand::random(random))
    }

    fn text(&self) -> String {
        format!("v{} {} {}", self.0, COMPARISONS[self.1], self.2.text())
    }

    fn holds(&self, v: &[i32; 4]) -> bool {
        let (a, b) = (v[self.0], self.2.value(v));
        match self.1 {
            0 => a < b,
            1 => a == b,
            _ => a >= b,
        }
    }
}

impl Program {
    fn random(random: &mut Random) -> Self {
        Self(list(random, 0, false, false))
    }

    fn text(&self) -> String {
        let mut out =
            "fn work(x: i32) -> i32 {\n  var v0 = x; var v1 = 1; var v2 = x * 3; var v3 = -2;\n".to_owned();
        write(&self.0, &mut out, &mut 0);
        out.push_str("  return v0 ^ (v1 * 5) ^ (v2 << 3u) ^ (v3 * 77);\n}");
        out
    }

    fn run(&self, x: i32) -> i32 {
        let mut v = [x, 1, x.wrapping_mul(3), -2];
        match execute(&self.0, &mut v) {
            Err(Exit::Return(value)) => value,
            _ => v[0] ^ v[1].wrapping_mul(5) ^ (v[2] << 3) ^ v[3].wrapping_mul(77),
        }
    }
}

/// Returns random statements. `in_loop` allows `continue`, `in_any` allows `break`.
fn list(random: &mut Random, depth: u32, in_any: bool, in_loop: bool) -> Vec<Statement> {
    let count = 1 + random.below(3);
    (0..count)
        .map(|_| match random.below(if depth < 3 { 12 } else { 7 }) {
            0..4 => {
                let (a, op, b) = (Operand::random(random), random.below(6), Operand::random(random));
                // WGSL refuses to divide by a constant zero.
                let b = if matches!(b, Operand::Constant(0)) { Operand::Constant(3) } else { b };
                Statement::Assign(random.below(4), a, op, b)
            }
            4 if in_any => Statement::If(Condition::random(random), vec![Statement::Break], Vec::new()),
            5 if in_loop => Statement::If(Condition::random(random), vec![Statement::Continue], Vec::new()),
            6 => Statement::If(
                Condition::random(random),
                vec![Statement::Return(Operand::random(random))],
                Vec::new(),
            ),
            4 | 5 => Statement::Assign(random.below(4), Operand::Variable(0), 0, Operand::Constant(1)),
            7 | 8 => {
                let (yes, no) =
                    (list(random, depth + 1, in_any, in_loop), list(random, depth + 1, in_any, in_loop));
                Statement::If(Condition::random(random), yes, no)
            }
            9 => Statement::For(random.below(6) as i32, list(random, depth + 1, true, true)),
            10 => {
                let body = list(random, depth + 1, true, true);
                Statement::Loop(1 + random.below(5) as i32, body, Condition::random(random))
            }
            _ => {
                let mut case = || list(random, depth + 1, true, in_loop);
                let (one, two, others) = (case(), case(), case());
                Statement::Switch(random.below(4), one, two, others)
            }
        })
        .collect()
}

fn write(list: &[Statement], out: &mut String, counters: &mut u32) {
    for statement in list {
        match statement {
            Statement::Assign(to, a, op, b) => {
                out.push_str(&format!("  v{to} = {} {} {};\n", a.text(), OPERATORS[*op], b.text()));
            }
            Statement::If(condition, yes, no) => {
                out.push_str(&format!("  if ({}) {{\n", condition.text()));
                write(yes, out, counters);
                out.push_str("  } else {\n");
                write(no, out, counters);
                out.push_str("  }\n");
            }
            Statement::For(count, body) => {
                *counters += 1;
                let k = format!("k{counters}");
                out.push_str(&format!("  for (var {k} = 0; {k} < {count}; {k}++) {{\n  v1 += {k};\n"));
                write(body, out, counters);
                out.push_str("  }\n");
            }
            Statement::Loop(count, body, until) => {
                *counters += 1;
                let k = format!("k{counters}");
                out.push_str(&format!("  var {k} = 0;\n  loop {{\n  if ({k} >= {count}) {{ break; }}\n"));
                write(body, out, counters);
                out.push_str(&format!(
                    "  continuing {{ {k} += 1; v2 += {k}; break if {}; }}\n  }}\n",
                    until.text()
                ));
            }
            Statement::Switch(on, one, two, others) => {
                out.push_str(&format!("  switch v{on} {{\n  case 1: {{\n"));
                write(one, out, counters);
                out.push_str("  }\n  case -3, 2: {\n");
                write(two, out, counters);
                out.push_str("  }\n  default: {\n");
                write(others, out, counters);
                out.push_str("  }\n  }\n");
            }
            Statement::Break => out.push_str("  break;\n"),
            Statement::Continue => out.push_str("  continue;\n"),
            Statement::Return(value) => out.push_str(&format!("  return {};\n", value.text())),
        }
    }
}

fn execute(list: &[Statement], v: &mut [i32; 4]) -> Result<(), Exit> {
    for statement in list {
        match statement {
            Statement::Assign(to, a, op, b) => {
                let (a, b) = (a.value(v), b.value(v));
                v[*to] = match op {
                    0 => a.wrapping_add(b),
                    1 => a.wrapping_sub(b),
                    2 => a.wrapping_mul(b),
                    3 => a & b,
                    4 => a ^ b,
                    _ => a.checked_div(b).unwrap_or(a),
                };
            }
            Statement::If(condition, yes, no) => execute(if condition.holds(v) { yes } else { no }, v)?,
            Statement::For(count, body) => {
                for k in 0..*count {
                    v[1] = v[1].wrapping_add(k);
                    match execute(body, v) {
                        Err(Exit::Break) => break,
                        Err(Exit::Return(value)) => return Err(Exit::Return(value)),
                        Ok(()) | Err(Exit::Continue) => {}
                    }
                }
            }
            Statement::Loop(count, body, until) => {
                let mut k = 0;
                while k < *count {
                    match execute(body, v) {
                        Err(Exit::Break) => break,
                        Err(Exit::Return(value)) => return Err(Exit::Return(value)),
                        Ok(()) | Err(Exit::Continue) => {}
                    }
                    k += 1;
                    v[2] = v[2].wrapping_add(k);
                    if until.holds(v) {
                        break;
                    }
                }
            }
            Statement::Switch(on, one, two, others) => {
                let body = match v[*on] {
                    1 => one,
                    -3 | 2 => two,
                    _ => others,
                };
                match execute(body, v) {
                    Ok(()) | Err(Exit::Break) => {}
                    Err(other) => return Err(other),
                }
            }
            Statement::Break => return Err(Exit::Break),
            Statement::Continue => return Err(Exit::Continue),
            Statement::Return(value) => return Err(Exit::Return(value.value(v))),
        }
    }
    Ok(())
}
