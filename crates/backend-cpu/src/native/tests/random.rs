//! Random kernels of the constructs that native code supports: nested control flow, divergent or not, values carried by
//! loops, and accesses in and out of bounds.

use core::fmt::Write as _;
use std::sync::Arc;

use fulgurite_ir::VerifiedKernel;

use super::{Numbers, same, words};
use crate::tests::{grid, kernel};

/// The number of kernels.
const KERNELS: u64 = 300;
/// The maximum depth of blocks.
const DEPTH: u32 = 4;

/// The types of values.
const TYPES: [&str; 8] = ["u32", "i32", "f32", "bool", "u64", "i64", "u8", "i16"];
/// The positions of all types.
const ALL: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

/// Writes a kernel.
struct Writer {
    numbers: Numbers,
    text: String,
    /// The number of names so far.
    names: u32,
    /// The values in scope, by type.
    scope: [Vec<String>; TYPES.len()],
    /// The number of lines that may still be written.
    left: i32,
}

impl Writer {
    fn below(&mut self, count: usize) -> usize {
        self.numbers.next() as usize % count.max(1)
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("%t{}", self.names)
    }

    fn literal(&mut self, ty: usize) -> String {
        let word = self.numbers.next() >> (self.numbers.next() % 32);
        match ty {
            0 => format!("{word}u32"),
            1 => format!("{}i32", word as i32),
            6 => format!("{}u8", word as u8),
            7 => format!("{}i16", word as i16),
            4 | 5 => {
                let wide = u64::from(word) << (self.numbers.next() % 33) | u64::from(word & 3);
                if ty == 4 { format!("{wide}u64") } else { format!("{}i64", wide as i64) }
            }
            2 => ["0.0f32", "1.5f32", "-2.25f32", "1e10f32", "-3e9f32", "inf:f32", "0.1f32"][self.below(7)]
                .into(),
            _ => ["true", "false"][self.below(2)].into(),
        }
    }

    /// Returns a value in scope, or a literal.
    fn operand(&mut self, ty: usize) -> String {
        let count = self.scope[ty].len();
        if count == 0 || self.below(6) == 0 {
            return self.literal(ty);
        }
        // Mostly recent values.
        let back = if self.below(2) == 0 { self.below(3.min(count)) } else { self.below(count) };
        self.scope[ty][count - 1 - back].clone()
    }

    fn operands(&mut self, ty: usize, count: usize) -> String {
        let operands: Vec<String> = (0..count).map(|_| self.operand(ty)).collect();
        operands.join(", ")
    }

    fn define(&mut self, ty: usize, right: &str) {
        let name = self.name();
        let _ = writeln!(self.text, "{name} = {right}");
        self.scope[ty].push(name);
    }

    fn pick<'a>(&mut self, names: &[&'a str]) -> &'a str {
        names[self.below(names.len())]
    }

    fn pure(&mut self) {
        let ty = self.below(TYPES.len());
        let right = match (self.below(10), ty) {
            (0, 0 | 1 | 4..=7) => format!(
                "{} {}, {}",
                self.pick(&["shl", "shr", "rotl", "rotr"]),
                self.operand(ty),
                self.operand(0)
            ),
            (1, 0 | 1 | 4..=7) => {
                let ops = ["add_sat", "sub_sat", "mul_hi", "extract_bits", "insert_bits", "dot_packed"];
                // The last one is on words only.
                let op = self.pick(&ops[..if ty < 2 { 6 } else { 5 }]);
                match op {
                    "extract_bits" => format!("{op} {}, {}", self.operand(ty), self.operands(0, 2)),
                    "insert_bits" => format!("{op} {}, {}", self.operands(ty, 2), self.operands(0, 2)),
                    _ => format!("{op} {}", self.operands(ty, 2)),
                }
            }
            (1, 2) | (8, 0 | 1 | 4..=7) => format!("clamp {}", self.operands(ty, 3)),
            (2, 2) => format!(
                "{} {}",
                self.pick(&["floor", "ceil", "trunc", "round", "neg", "abs"]),
                self.operand(2)
            ),
            (2, 0 | 1 | 4..=7) => format!(
                "{} {}",
                self.pick(&["not", "neg", "abs", "sign", "popcount", "clz", "ctz", "reverse_bits"]),
                self.operand(ty)
            ),
            (3 | 4, 0 | 1 | 4..=7) => {
                let from = self.below(TYPES.len());
                let from = if from == ty { 3 } else { from };
                format!("convert {} -> {}", self.operand(from), TYPES[ty])
            }
            (4, 2) => {
                let from = [0, 1, 3, 4, 5, 6, 7][self.below(7)];
                format!("convert {} -> f32", self.operand(from))
            }
            (5, _) => format!("select {}, {}", self.operand(3), self.operands(ty, 2)),
            (6, 3) => format!("{} {}", self.pick(&["is_nan", "is_inf"]), self.operand(2)),
            (7, 3) => format!("not {}", self.operand(3)),
            (0..=5, 3) => {
                let of = [0, 1, 2, 4, 5, 6, 7][self.below(7)];
                format!("{} {}", self.pick(&["eq", "ne", "lt", "le", "gt", "ge"]), self.operands(of, 2))
            }
            (_, 3) => format!("{} {}", self.pick(&["and", "or", "xor", "eq", "ne"]), self.operands(3, 2)),
            (_, 2) => {
                format!("{} {}", self.pick(&["add", "sub", "mul", "div", "min", "max"]), self.operands(2, 2))
            }
            (_, _) => {
                let op = self.pick(&[
                    "add", "sub", "mul", "div", "rem", "min", "max", "and", "or", "xor", "add", "sub",
                ]);
                format!("{op} {}", self.operands(ty, 2))
            }
        };
        self.define(ty, &right);
    }

    /// Returns an index, which often lies in bounds.
    fn index(&mut self) -> String {
        if self.below(2) == 0 {
            return self.operand(0);
        }
        let value = self.operand(0);
        self.define(0, &format!("and {value}, 63u32"));
        self.scope[0][self.scope[0].len() - 1].clone()
    }

    fn memory(&mut self) {
        let index = self.index();
        if self.below(3) == 0 {
            return self.local(&index);
        }
        match self.below(11) {
            6 => self.define(6, &format!("load %xb[{index}]")),
            7 => self.define(7, &format!("load %xh[{index}]")),
            8 => {
                let (op, whole) = (self.below(4), self.name());
                let _ = writeln!(self.text, "{whole} = load %xp[{index}]");
                self.define(6, &format!("extract {whole}, {op}u32"));
            }
            9 => {
                // One of the bytes of the own words.
                let (first, at) = (self.name(), self.name());
                let (slot, value) = (self.below(16), self.operand(6));
                let _ = writeln!(self.text, "{first} = shl %own, 2u32\n{at} = add {first}, {slot}u32");
                let _ = writeln!(self.text, "store %outb[{at}], {value}");
                self.define(0, "load %out[%own]");
            }
            10 => {
                let (first, at) = (self.name(), self.name());
                let (slot, value) = (self.below(8), self.operand(7));
                let _ = writeln!(self.text, "{first} = shl %own, 1u32\n{at} = add {first}, {slot}u32");
                let _ = writeln!(self.text, "store %outh[{at}], {value}");
                self.define(0, "load %out[%own]");
            }
            4 => self.define(4, &format!("load %xw[{index}]")),
            5 => {
                let (at, value) = (self.name(), self.operand(4));
                let _ = writeln!(self.text, "{at} = shr %own, 1u32\nstore %outw[{at}], {value}");
                self.define(5, &format!("load %outs[{at}]"));
            }
            0 => self.define(0, &format!("load %x[{index}]")),
            1 => self.define(2, &format!("load %f[{index}]")),
            2 => self.define(1, &format!("load %xi[{index}]")),
            // Each invocation has words of its own.
            _ => {
                let (at, slot, value) = (self.name(), self.below(4), self.operand(0));
                let _ = writeln!(self.text, "{at} = add %own, {slot}u32\nstore %out[{at}], {value}");
                let loaded = self.name();
                let _ = writeln!(self.text, "{loaded} = load %out[{at}]");
                self.scope[0].push(loaded);
            }
        }
    }

    /// Writes an access to a local array.
    fn local(&mut self, index: &str) {
        let small = self.name();
        let index = match self.below(3) {
            0 => format!("{}u32", self.below(7)),
            1 => index.to_owned(),
            _ => {
                let _ = writeln!(self.text, "{small} = and {index}, 7u32");
                small
            }
        };
        match self.below(6) {
            4 => self.define(5, &format!("load %lw[{index}]")),
            5 => {
                let value = self.operand(5);
                let _ = writeln!(self.text, "store %lw[{index}], {value}");
            }
            0 => self.define(0, &format!("load %la[{index}]")),
            1 => self.define(2, &format!("load %lf[{index}]")),
            2 => {
                let value = self.operand(2);
                let _ = writeln!(self.text, "store %lf[{index}], {value}");
            }
            _ => {
                let value = self.operand(0);
                let _ = writeln!(self.text, "store %la[{index}], {value}");
            }
        }
    }

    /// Writes the lines of a block, and the values that it yields.
    fn block(&mut self, depth: u32, yields: &[usize]) {
        let marks = ALL.map(|ty| self.scope[ty].len());
        for _ in 0..self.below(6) + 1 {
            self.line(depth);
        }
        if !yields.is_empty() {
            let values: Vec<String> = yields.iter().map(|ty| self.operand(*ty)).collect();
            let _ = writeln!(self.text, "yield {}", values.join(", "));
        }
        self.scope.iter_mut().zip(marks).for_each(|(scope, mark)| scope.truncate(mark));
    }

    fn line(&mut self, depth: u32) {
        self.left -= 1;
        if depth >= DEPTH || self.left < 0 {
            return self.pure();
        }
        match self.below(12) {
            0 => self.branch(depth),
            1 => self.count(depth),
            2 => self.repeat(depth),
            3..=5 => self.memory(),
            _ => self.pure(),
        }
    }

    fn types(&mut self) -> Vec<usize> {
        (0..self.below(4)).map(|_| self.below(TYPES.len())).collect()
    }

    /// Returns new names for values of some types.
    fn results(&mut self, types: &[usize]) -> (Vec<String>, String) {
        let names: Vec<String> = types.iter().map(|_| self.name()).collect();
        let left = if names.is_empty() { String::new() } else { format!("{} = ", names.join(", ")) };
        (names, left)
    }

    fn enter(&mut self, names: Vec<String>, types: &[usize]) {
        names.into_iter().zip(types).for_each(|(name, ty)| self.scope[*ty].push(name));
    }

    fn branch(&mut self, depth: u32) {
        let types = self.types();
        let (names, left) = self.results(&types);
        let shown: Vec<&str> = types.iter().map(|ty| TYPES[*ty]).collect();
        let arrow = if types.is_empty() { String::new() } else { format!(" -> {}", shown.join(", ")) };
        let condition = self.operand(3);
        let _ = writeln!(self.text, "{left}if {condition}{arrow} {{");
        self.block(depth + 1, &types);
        if !types.is_empty() || self.below(2) == 0 {
            let _ = writeln!(self.text, "}} else {{");
            self.block(depth + 1, &types);
        }
        let _ = writeln!(self.text, "}}");
        self.enter(names, &types);
    }

    /// Returns the clause of carried values, and their names.
    fn carry(&mut self, types: &[usize]) -> (Vec<String>, String) {
        let names: Vec<String> = types.iter().map(|_| self.name()).collect();
        let pairs: Vec<String> =
            names.iter().zip(types).map(|(name, ty)| format!("{name} = {}", self.operand(*ty))).collect();
        let clause = if names.is_empty() { String::new() } else { format!(" carry({})", pairs.join(", ")) };
        (names, clause)
    }

    fn count(&mut self, depth: u32) {
        let (types, ty) = (self.types(), self.below(2));
        let (start, end) = (self.operand(ty), self.name());
        let mask = if ty == 0 { "7u32" } else { "7i32" };
        // A short loop, from a start near any value.
        let (near, distance) = (self.name(), self.operand(ty));
        let _ = writeln!(self.text, "{near} = and {distance}, {mask}");
        let step = if ty == 0 {
            self.pick(&["1u32", "2u32", "3u32"])
        } else {
            self.pick(&["1i32", "-1i32", "3i32", "-2i32"])
        };
        let op = if step.starts_with('-') { "sub" } else { "add" };
        let _ = writeln!(self.text, "{end} = {op} {start}, {near}");
        let (names, left) = self.results(&types);
        let (carried, clause) = self.carry(&types);
        let counter = self.name();
        let _ = writeln!(self.text, "{left}for {counter} in {start} to {end} step {step}{clause} {{");
        let marks = ALL.map(|ty| self.scope[ty].len());
        self.enter(carried, &types);
        self.scope[ty].push(counter);
        self.block(depth + 1, &types);
        self.scope.iter_mut().zip(marks).for_each(|(scope, mark)| scope.truncate(mark));
        let _ = writeln!(self.text, "}}");
        self.enter(names, &types);
    }

    fn repeat(&mut self, depth: u32) {
        let mut types = self.types();
        // The number of rounds left, which is small.
        let rounds = self.operand(0);
        let (few, left_over, go, next) = (self.name(), self.name(), self.name(), self.name());
        let _ = writeln!(self.text, "{few} = and {rounds}, 3u32");
        let (carried, clause) = self.carry(&types);
        let clause = if carried.is_empty() {
            format!(" carry({left_over} = {few})")
        } else {
            clause.replacen(" carry(", &format!(" carry({left_over} = {few}, "), 1)
        };
        types.insert(0, 0);
        let (names, left) = self.results(&types);
        let _ = writeln!(self.text, "{left}while{clause} {{");
        let marks = ALL.map(|ty| self.scope[ty].len());
        self.enter(carried, &types[1..]);
        self.scope[0].push(left_over.clone());
        if self.below(2) == 0 {
            self.pure();
        }
        let _ = writeln!(
            self.text,
            "{go} = gt {left_over}, 0u32\ncondition {go}\n}} do {{\n{next} = sub {left_over}, 1u32"
        );
        for _ in 0..self.below(5) {
            self.line(depth + 1);
        }
        let mut values = vec![next];
        for ty in &types[1..] {
            values.push(self.operand(*ty));
        }
        let _ = writeln!(self.text, "yield {}\n}}", values.join(", "));
        self.scope.iter_mut().zip(marks).for_each(|(scope, mark)| scope.truncate(mark));
        self.enter(names, &types);
    }
}

/// Returns the lines of a kernel.
fn random_kernel(seed: u64) -> String {
    let mut writer = Writer {
        numbers: Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
        text: String::new(),
        names: 0,
        scope: Default::default(),
        left: 60,
    };
    writer.text += "buffer %x: read u32[]\nbuffer %f: read f32[]\nbuffer %out: read_write u32[]\nview %xi = %x as i32[]
param %p: u32\nparam %q: i32\nparam %r: u64\nview %xw = %x as u64[]\nview %outw = %out as u64[]\nview %outs = %out as i64[]\nview %xb = %x as u8[]\nview %xh = %x as i16[]\nview %xp = %x as u8x4[]\nview %outb = %out as u8[]\nview %outh = %out as i16[]\nlocal %la: u32[6]\nlocal %lw: i64[5]\nlocal %lf: f32[11]\n%i = global_id.x\n%own = mul %i, 12u32\n%n = len %x\n%in = lt %i, %n\n%g = num_workgroups.x\n";
    if seed.is_multiple_of(3) {
        writer.text += "%l = local_id.x\n%w = workgroup_id.x\n";
        writer.scope[0] = ["%l", "%w"].map(String::from).to_vec();
    }
    writer.scope[0].extend(["%i", "%n", "%g", "%p"].map(String::from));
    writer.scope[1].push(String::from("%q"));
    writer.scope[4].push(String::from("%r"));
    writer.scope[3].push(String::from("%in"));
    for _ in 0..24 {
        writer.line(0);
    }
    writer.text += "%last = add %own, 8u32\n%mix0 = load %la[0u32]\n";
    for k in 1..6 {
        let _ = writeln!(writer.text, "%la{k} = load %la[{k}u32]\n%rot{k} = rotl %mix{}, 5u32", k - 1);
        let _ = writeln!(writer.text, "%mix{k} = xor %rot{k}, %la{k}");
    }
    writer.text += "store %out[%last], %mix5\n";
    for ty in ALL {
        let (value, slot) = (writer.operand(ty), writer.name());
        let bits = match ty {
            0 => value,
            6 | 7 => {
                writer.define(0, &format!("convert {value} -> u32"));
                writer.scope[0][writer.scope[0].len() - 1].clone()
            }
            4 | 5 => {
                let (high, mixed) = (writer.name(), writer.name());
                let _ = writeln!(writer.text, "{high} = rotr {value}, 29u32\n{mixed} = xor {value}, {high}");
                writer.define(0, &format!("convert {mixed} -> u32"));
                writer.scope[0][writer.scope[0].len() - 1].clone()
            }
            1 => {
                writer.define(0, &format!("bitcast {value} -> u32"));
                writer.scope[0][writer.scope[0].len() - 1].clone()
            }
            // The bits of NaNs are not defined.
            2 => {
                writer.define(3, &format!("is_nan {value}"));
                let is_nan = writer.scope[3][writer.scope[3].len() - 1].clone();
                writer.define(2, &format!("select {is_nan}, 7.0f32, {value}"));
                let float = writer.scope[2][writer.scope[2].len() - 1].clone();
                writer.define(0, &format!("bitcast {float} -> u32"));
                writer.scope[0][writer.scope[0].len() - 1].clone()
            }
            _ => {
                writer.define(0, &format!("select {value}, 1u32, 0u32"));
                writer.scope[0][writer.scope[0].len() - 1].clone()
            }
        };
        let _ = writeln!(writer.text, "{slot} = add %own, {ty}u32\nstore %out[{slot}], {bits}");
    }
    writer.text
}

/// Returns a random kernel with the contents of its buffers and its parameters, for three workgroups.
pub(super) fn random_launch(seed: u64) -> (Arc<VerifiedKernel>, Vec<Vec<u32>>, Vec<u64>) {
    let size = [64, 32, 7][seed as usize % 3];
    let kernel = kernel(&format!("{size}, 1, 1"), &random_kernel(seed));
    let contents = vec![words(50 + seed as usize % 40, seed), words(40, seed + 1), vec![0; 12 * 3 * 64]];
    (kernel, contents, vec![seed % 20, 9, seed << 31 | 3])
}

#[test]
fn random_kernels_run_as_in_the_interpreter() {
    for seed in 0..KERNELS {
        let (kernel, contents, params) = random_launch(seed);
        let outcome = std::panic::catch_unwind(|| same(&kernel, &contents, &params, &grid(3)));
        assert!(outcome.is_ok(), "seed {seed}:\n{}", random_kernel(seed));
    }
}
