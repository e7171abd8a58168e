//! Random kernels that verify, terminate, and have results that do not depend on scheduling: nested and divergent control
//! flow, carried values, vectors, every kind of memory, views, ops across subgroups and workgroups, cooperative matrices.

mod matrix;
mod run;

pub use run::{MATRICES, reference_like, run};

/// Words that each invocation may write.
pub const OWN: u32 = 4;

/// Preconditions by which vectors of four elements are in bounds as a whole, or out of them.
const WHOLE_QUADS: &str = "require eq (rem (len %in), 4u32), 0u32\nrequire eq (rem (len %out), 4u32), 0u32\nrequire ge (len %in), 32u32\n";

/// A stream of numbers: of bytes while there are any, and of a generator (xorshift64*) afterwards.
#[derive(Clone, Debug)]
pub struct Numbers<'b> {
    bytes: &'b [u8],
    state: u64,
}

impl<'b> Numbers<'b> {
    /// Starts the generator with `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self { bytes: &[], state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    /// Takes numbers from `bytes` first.
    pub fn of(bytes: &'b [u8]) -> Self {
        Self { bytes, ..Self::seeded(0) }
    }

    /// Returns the next number.
    pub fn next_u32(&mut self) -> u32 {
        if let Some((word, rest)) = self.bytes.split_first_chunk() {
            self.bytes = rest;
            return u32::from_le_bytes(*word);
        }
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    /// Returns a number below `count`, of one byte where that suffices.
    pub fn below(&mut self, count: usize) -> usize {
        match self.bytes.split_first() {
            Some((byte, rest)) if count <= 256 => {
                self.bytes = rest;
                usize::from(*byte) % count
            }
            _ => self.next_u32() as usize % count,
        }
    }

    /// Returns one of `all`.
    pub fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

/// A random kernel.
#[derive(Clone, Debug)]
pub struct RandomKernel {
    /// Its text.
    pub text: String,
    /// The number of invocations of a workgroup.
    pub invocations: u32,
}

/// Generates the text of a kernel.
struct Writer<'b> {
    numbers: Numbers<'b>,
    text: String,
    /// Names in scope, with their types. A uniform `u32` is also listed as `uniform`.
    values: Vec<(String, &'static str)>,
    next: u32,
}

const TYPES: [&str; 7] = ["u32", "i32", "f32", "bool", "u32x2", "f32x4", "i32x4"];

/// Returns the type of a component of a scalar or vector type of [`TYPES`].
fn scalar_of(ty: &str) -> &'static str {
    TYPES.into_iter().find(|scalar| ty.split('x').next() == Some(scalar)).unwrap_or("u32")
}

impl Writer<'_> {
    fn name(&mut self) -> String {
        self.next += 1;
        format!("%v{}", self.next)
    }

    fn literal(&mut self, ty: &str) -> String {
        match ty {
            "uniform" => self.numbers.pick(&["0u32", "1u32", "2u32", "0x40000000u32"]),
            "u32" => self.numbers.pick(&["0u32", "1u32", "3u32", "31u32", "0x80000000u32", "0xffffffffu32"]),
            "i32" => self.numbers.pick(&["0i32", "1i32", "-1i32", "7i32", "-0x80000000i32", "0x7fffffffi32"]),
            "f32" => self.numbers.pick(&["0.0f32", "-0.0f32", "1.5f32", "-3e9f32", "1e-40f32", "inf:f32"]),
            _ => self.numbers.pick(&["true", "false"]),
        }
        .to_owned()
    }

    /// Returns a value of type `ty`, usually an existing one.
    fn value(&mut self, ty: &'static str) -> String {
        let fitting: Vec<usize> = (0..self.values.len()).filter(|i| self.values[*i].1 == ty).collect();
        if !fitting.is_empty() && self.numbers.below(6) != 0 {
            // Prefer recent values.
            let (a, b) = (self.numbers.below(fitting.len()), self.numbers.below(fitting.len()));
            return self.values[fitting[a.max(b)]].0.clone();
        }
        if matrix::TYPES.contains(&ty) {
            return self.filled(ty);
        }
        let Some((element, lanes)) = ty.split_once('x') else { return self.literal(ty) };
        let count = if lanes == "4" { 4 } else { 2 };
        let parts: Vec<String> = (0..count).map(|_| self.value(scalar_of(element))).collect();
        self.define(ty, format!("construct {}", parts.join(", ")))
    }

    /// Returns a value that depends on several integers of type `ty`.
    fn several(&mut self, ty: &'static str) -> String {
        let first = self.value(ty);
        (0..8).fold(first, |all, _| {
            let other = self.value(ty);
            let all = self.define(ty, format!("add {all}, {other}"));
            self.define(ty, format!("mul {all}, 5{ty}"))
        })
    }

    fn define(&mut self, ty: &'static str, instruction: String) -> String {
        let name = self.name();
        self.text += &format!("{name} = {instruction}\n");
        self.values.push((name.clone(), ty));
        name
    }

    fn condition(&mut self) -> String {
        if self.numbers.below(3) == 0 {
            return self.value("bool");
        }
        let ty = ["u32", "i32", "f32"][self.numbers.below(3)];
        let (a, b) = (self.value(ty), self.value(ty));
        let op = self.numbers.pick(&["lt", "le", "gt", "ge", "eq", "ne"]);
        self.define("bool", format!("{op} {a}, {b}"))
    }

    fn scalar_op(&mut self) {
        let ty = TYPES[self.numbers.below(TYPES.len())];
        let (a, b) = (self.value(ty), self.value(ty));
        if !ty.contains('x') && self.numbers.below(5) == 0 {
            let choice = self.value("bool");
            self.define(ty, format!("select {choice}, {a}, {b}"));
            return;
        }
        match scalar_of(ty) {
            "bool" => {
                let op = self.numbers.pick(&["and", "or", "xor", "eq", "ne"]);
                self.define(ty, format!("{op} {a}, {b}"));
            }
            "f32" => {
                let op = self.numbers.pick(&["add", "sub", "mul", "div", "min", "max"]);
                let c = self.define(ty, format!("{op} {a}, {b}"));
                let op = self.numbers.pick(&["neg", "abs", "sqrt", "floor", "fract", "round", "sign"]);
                self.define(ty, format!("{op} {c}"));
            }
            _ => {
                let binary = ["add", "sub", "mul", "mul_hi", "div", "rem", "min", "max", "and", "or", "xor"];
                let op = self.numbers.pick(&binary);
                // Passes treat these divisors in their own way.
                let b = match op {
                    "div" | "rem" if !ty.contains('x') && self.numbers.below(2) == 0 => {
                        format!("{}{ty}", 1u32 << self.numbers.below(31))
                    }
                    _ => b,
                };
                let c = self.define(ty, format!("{op} {a}, {b}"));
                let op = self.numbers.pick(&["neg", "abs", "not", "popcount", "clz", "ctz", "reverse_bits"]);
                self.define(ty, format!("{op} {c}"));
            }
        }
    }

    fn convert(&mut self) {
        let (from, to) = (TYPES[self.numbers.below(4)], TYPES[self.numbers.below(4)]);
        let a = self.value(from);
        self.define(to, format!("convert {a} -> {to}"));
    }

    fn vector_op(&mut self) {
        let ty = TYPES[4 + self.numbers.below(3)];
        let element = scalar_of(ty);
        let (vector, index) = (self.value(ty), self.value("u32"));
        match self.numbers.below(4) {
            3 => {
                let (other, lanes) = (self.value(ty), if ty.ends_with('2') { 2 } else { 4 });
                let places: Vec<String> =
                    (0..lanes).map(|_| self.numbers.below(2 * lanes).to_string()).collect();
                self.define(ty, format!("vec.shuffle[{}] {vector}, {other}", places.join(", ")))
            }
            0 => self.define(element, format!("extract {vector}, {index}")),
            1 => {
                let part = self.value(element);
                self.define(ty, format!("insert {vector}, {index}, {part}"))
            }
            _ => {
                let other = self.value(ty);
                self.define(element, format!("dot {vector}, {other}"))
            }
        };
    }

    fn memory(&mut self) {
        let index = self.value("u32");
        match self.numbers.below(12) {
            0 => self.define("u32", format!("load %in[{index}]")),
            10 => self.consecutive_loads(&index),
            11 => self.consecutive_stores(),
            7 => self.define("u32x2", format!("load %in2[{index}]")),
            8 => {
                let (wide, high) = (self.name(), self.numbers.below(2) * 32);
                self.text +=
                    &format!("{wide}.n = convert {index} -> u64\n{wide} = shl {wide}.n, {high}u32\n");
                self.define("i32", format!("load %ini[{wide}]"))
            }
            9 => {
                // The invocation's words, stored through one type and loaded through another.
                let value = self.value("u32x2");
                let at = self.define("u32", "shr %own, 1u32".to_owned());
                self.text += &format!("store %out2[{at}], {value}\n");
                self.define("u32", "load %out[%own]".to_owned())
            }
            1 => self.define("f32x4", format!("load %vectors[{index}]")),
            2 => {
                let value = self.value("i32");
                // The same place before and after, which a loop may not change, and another one that may be out of bounds.
                let near = match self.numbers.below(2) {
                    0 => format!("{}u32", self.numbers.below(4)),
                    _ => self.define("u32", format!("and {index}, 3u32")),
                };
                self.define("i32", format!("load %array[{near}]"));
                let place = if self.numbers.below(2) == 0 { &index } else { &near };
                self.text += &format!("store %array[{place}], {value}\n");
                let place = if self.numbers.below(2) == 0 { place } else { &near };
                self.define("i32", format!("load %array[{place}]"))
            }
            3 => {
                let (value, near) = (self.value("u32x2"), self.define("u32", format!("and {index}, 1u32")));
                self.text += &format!("store %pairs[{near}], {value}\n");
                self.define("u32x2", format!("load %pairs[{near}]"))
            }
            4 => {
                let (value, slot) = (self.value("u32"), self.numbers.below(OWN as usize));
                let at = self.define("u32", format!("add %own, {slot}u32"));
                self.text += &format!("store %out[{at}], {value}\n");
                at
            }
            5 => {
                // The final values of commutative atomics do not depend on the order, but the old values that they
                // return do.
                let (value, near) = (self.value("u32"), self.define("u32", format!("and {index}, 7u32")));
                self.text += &format!("atomic.add %sums[{near}], {value}\n");
                near
            }
            _ => {
                let (value, near) = (self.value("i32"), self.define("u32", format!("and {index}, 7u32")));
                let op = self.numbers.pick(&["min", "max"]);
                self.text += &format!("atomic.{op} %{op}s[{near}], {value}\n");
                near
            }
        };
    }

    /// Returns the positions of two or four elements in some order.
    fn positions(&mut self) -> Vec<usize> {
        let mut positions: Vec<usize> = (0..2 << self.numbers.below(2)).collect();
        let last = positions.len() - 1;
        positions.swap(0, self.numbers.below(last + 1));
        positions.swap(last, self.numbers.below(last + 1));
        positions
    }

    /// Returns the index that is `distance` behind another one.
    fn behind(&mut self, index: &str, distance: usize) -> String {
        match distance {
            0 => index.to_owned(),
            _ => self.define("u32", format!("add {index}, {distance}u32")),
        }
    }

    /// Loads elements next to each other. The first is a multiple of four, and may be out of bounds.
    fn consecutive_loads(&mut self, index: &str) -> String {
        let first = match self.numbers.below(3) {
            0 => self.define("u32", format!("and {index}, 28u32")),
            1 => self.define("u32", format!("and {index}, 60u32")),
            _ => self.define("u32", format!("shl {index}, 2u32")),
        };
        let positions = self.positions();
        if self.numbers.below(3) != 0 {
            return self.load_each(&first, &positions);
        }
        // Under one guard, for the last of them or the one before.
        let last = positions.len() - 1 - self.numbers.below(2);
        let last = self.define("u32", format!("add {first}, {last}u32"));
        let count = self.define("u32", "len %in".to_owned());
        let inside = self.define("bool", format!("lt {last}, {count}"));
        let (result, outer) = (self.name(), self.values.len());
        self.text += &format!("{result} = if {inside} -> u32 {{\n");
        let loaded = self.load_each(&first, &positions);
        self.text += &format!("yield {loaded}\n}} else {{\nyield {first}\n}}\n");
        self.values.truncate(outer);
        self.values.push((result.clone(), "u32"));
        result
    }

    /// Loads the elements at some positions from `first`, and returns one of them.
    fn load_each(&mut self, first: &str, positions: &[usize]) -> String {
        let mut loaded = String::new();
        for position in positions {
            let at = self.behind(first, *position);
            loaded = self.define("u32", format!("load %in[{at}]"));
        }
        loaded
    }

    /// Stores words of the invocation next to each other, some with loads or stores of others between them.
    fn consecutive_stores(&mut self) -> String {
        let mut last = "%own".to_owned();
        for position in self.positions() {
            let (value, other) = (self.value("u32"), self.numbers.below(OWN as usize));
            let at = self.behind("%own", position);
            match self.numbers.below(8) {
                0 | 1 => {
                    let place = self.behind("%own", other);
                    last = self.define("u32", format!("load %out[{place}]"));
                }
                2 => self.text += &format!("store %out[{at}], {last}\n"),
                3 => {
                    let (pair, pairs) =
                        (self.value("u32x2"), self.define("u32", "shr %own, 1u32".to_owned()));
                    self.text += &format!("store %out2[{pairs}], {pair}\n");
                }
                _ => {}
            }
            self.text += &format!("store %out[{at}], {value}\n");
        }
        last
    }

    /// Exchanges a value between invocations.
    fn exchange(&mut self) {
        let (value, index) = (self.value("u32"), self.value("u32"));
        match self.numbers.below(5) {
            0 => {
                let ty = TYPES[self.numbers.below(TYPES.len())];
                let (value, whose) = (self.value(ty), self.numbers.below(40));
                let told = self.define(ty, format!("workgroup_broadcast {value}, {whose}u32"));
                if ty == "u32" {
                    self.values.push((told, "uniform"));
                }
                return;
            }
            1 => {
                let ty = ["u32", "i32", "u32x2", "i32x4"][self.numbers.below(4)];
                let value = self.value(ty);
                let op = self.numbers.pick(&["reduce", "inclusive_scan", "exclusive_scan"]);
                let combine = self.numbers.pick(&["add", "mul", "min", "max", "and", "or", "xor"]);
                self.define(ty, format!("subgroup.{op}[{combine}] {value}"));
                return;
            }
            2 => {
                let ty = TYPES[self.numbers.below(TYPES.len())];
                let (value, near) = (self.value(ty), self.define("u32", format!("and {index}, 47u32")));
                let op = self.numbers.pick(&["shuffle", "shuffle_xor", "shuffle_up", "shuffle_down"]);
                self.define(ty, format!("subgroup.{op} {value}, {near}"));
                return;
            }
            3 => {
                let condition = self.condition();
                let (ty, op) =
                    [("u32", "ballot_count"), ("bool", "any"), ("bool", "all")][self.numbers.below(3)];
                self.define(ty, format!("subgroup.{op} {condition}"));
                return;
            }
            _ => {}
        }
        self.fill_tile(&value);
        let count = self.define("u32", "len %tile".to_owned());
        let at = self.define("u32", format!("rem {index}, {count}"));
        self.define("u32", format!("load %tile[{at}]"));
        if self.numbers.below(2) == 0 {
            // Another invocation's element, and its own, which another one has stored to.
            let value = self.value("u32");
            let next = self.define("u32", "add %lane, 1u32".to_owned());
            let next = self.define("u32", format!("rem {next}, {count}"));
            self.text += &format!("barrier[shared]\nstore %tile[{next}], {value}\nbarrier[shared]\n");
            self.define("u32", "load %tile[%lane]".to_owned());
        }
    }

    /// Stores a value of each invocation in shared memory.
    fn fill_tile(&mut self, value: &str) {
        self.text += &format!("barrier\nstore %tile[%lane], {value}\nbarrier[shared]\n");
    }

    fn region(&mut self, depth: u32, uniform: bool, results: &[&'static str]) {
        let outer = self.values.len();
        self.block(depth + 1, uniform);
        let yields: Vec<String> = results.iter().map(|ty| self.value(ty)).collect();
        if !yields.is_empty() {
            self.text += &format!("yield {}\n", yields.join(", "));
        }
        self.values.truncate(outer);
    }

    /// Returns types for the results of control flow; in uniform control flow, matrices as well.
    fn results(&mut self, uniform: bool) -> Vec<&'static str> {
        let mut types = Vec::new();
        for _ in 0..self.numbers.below(4) {
            let all = if uniform && self.numbers.below(3) == 0 { &matrix::TYPES[..] } else { &TYPES[..] };
            types.push(all[self.numbers.below(all.len())]);
        }
        types
    }

    /// Returns a condition that is uniform in the workgroup.
    fn uniform_condition(&mut self) -> String {
        let (a, b) = (self.value("uniform"), self.value("uniform"));
        let op = self.numbers.pick(&["lt", "le", "eq", "ne"]);
        self.define("bool", format!("{op} {a}, {b}"))
    }

    fn control(&mut self, depth: u32, uniform: bool) {
        let form = self.numbers.below(5);
        // Whether this construct is uniform in the workgroup as well.
        let uniform = uniform
            && match form {
                0..=2 => self.numbers.below(2) == 0,
                3 => false,
                _ => true,
            };
        let results = self.results(uniform);
        let names: Vec<String> = results.iter().map(|_| self.name()).collect();
        let initial: Vec<String> = results.iter().map(|ty| self.value(ty)).collect();
        let params: Vec<String> = results.iter().map(|_| self.name()).collect();
        let carried: Vec<String> = params.iter().zip(&initial).map(|(p, v)| format!("{p} = {v}")).collect();
        let carry =
            if carried.is_empty() { String::new() } else { format!(" carry({})", carried.join(", ")) };
        let (mut over, mut left) = (None, None);
        let equals = if names.is_empty() { String::new() } else { format!("{} = ", names.join(", ")) };
        let outer = self.values.len();
        match form {
            4 => {
                let types =
                    if results.is_empty() { String::new() } else { format!(" -> {}", results.join(", ")) };
                self.text += &format!("{equals}region \"at depth {depth}\"{types} {{\n");
                self.region(depth, uniform, &results);
            }
            0 | 1 => {
                let condition = if uniform { self.uniform_condition() } else { self.condition() };
                let types =
                    if results.is_empty() { String::new() } else { format!(" -> {}", results.join(", ")) };
                self.text += &format!("{equals}if {condition}{types} {{\n");
                self.region(depth, uniform, &results);
                self.text += "} else {\n";
                self.region(depth, uniform, &results);
            }
            2 => {
                let trips = if uniform {
                    format!("{}u32", self.numbers.below(4))
                } else {
                    let n = self.value("u32");
                    self.define("u32", format!("and {n}, 3u32"))
                };
                let (counter, step) = (self.name(), 1 + self.numbers.below(2));
                self.text += &format!("{equals}for {counter} in 0u32 to {trips} step {step}u32{carry} {{\n");
                if uniform {
                    self.values.push((counter.clone(), "uniform"));
                }
                self.values.push((counter, "u32"));
                self.values.extend(params.into_iter().zip(results.iter().copied()));
                if self.numbers.below(2) == 0 {
                    // An element that each iteration changes.
                    let (before, by) =
                        (self.define("i32", "load %array[1u32]".to_owned()), self.value("i32"));
                    let sum = self.define("i32", format!("add {before}, {by}"));
                    self.text += &format!("store %array[1u32], {sum}\n");
                    left = Some(("i32", "load %array[1u32]"));
                }
                self.region(depth, uniform, &results);
            }
            _ => {
                let (limit, budget, left_over) = (self.value("u32"), self.name(), self.name());
                let limit = self.define("u32", format!("and {limit}, 3u32"));
                let comma = if carried.is_empty() { "" } else { ", " };
                let names = if names.is_empty() {
                    left_over.clone()
                } else {
                    format!("{}, {left_over}", names.join(", "))
                };
                self.text +=
                    &format!("{names} = while carry({}{comma}{budget} = 0u32) {{\n", carried.join(", "));
                self.values.push((budget.clone(), "u32"));
                self.values.extend(params.into_iter().zip(results.iter().copied()));
                let go = self.define("bool", format!("lt {budget}, {limit}"));
                self.text += &format!("condition {go}\n}} do {{\n");
                self.block(depth + 1, false);
                let mut yields: Vec<String> = results.iter().map(|ty| self.value(ty)).collect();
                yields.push(self.define("u32", format!("add {budget}, 1u32")));
                self.text += &format!("yield {}\n", yields.join(", "));
                over = Some(left_over);
            }
        }
        self.text += "}\n";
        self.values.truncate(outer);
        self.values.extend(over.map(|name| (name, "u32")));
        self.values.extend(names.into_iter().zip(results));
        if let Some((ty, load)) = left {
            self.define(ty, load.to_owned());
        }
    }

    fn block(&mut self, depth: u32, uniform: bool) {
        for _ in 0..2 + self.numbers.below(5) {
            match self.numbers.below(12) {
                0..=2 => self.scalar_op(),
                3 => self.convert(),
                4 => self.vector_op(),
                5 | 6 => self.memory(),
                7 if uniform => self.exchange(),
                8 | 9 if uniform => self.matrix_op(),
                _ if depth < 4 => self.control(depth, uniform),
                _ => self.scalar_op(),
            }
        }
    }
}

/// Generates a kernel.
pub fn kernel(numbers: Numbers<'_>) -> RandomKernel {
    let mut writer = Writer { numbers, text: String::new(), values: Vec::new(), next: 0 };
    let sizes = [[1, 1, 1], [3, 1, 1], [5, 7, 1], [64, 1, 1], [33, 2, 2], [100, 1, 1]];
    let [x, y, z] = sizes[writer.numbers.below(sizes.len())];
    let count = x * y * z;
    writer.text += &format!(
        "fulgurite 1\nkernel @random workgroup({x}, {y}, {z}) {{\nbuffer %in: read u32[]\n\
         buffer %vectors: read f32x4[]\nbuffer %out: read_write u32[]\nbuffer %sums: read_write u32[]\n\
         buffer %mins: read_write i32[]\nbuffer %maxs: read_write i32[]\nbuffer %matrices: read_write i32[]\n\
         buffer %floats: read_write f32[]\nbuffer %wide: read_write u32[]\nparam %n: u32\nparam %f: f32x4\n\
         {}shared %tile: u32[{count}]\n\
         view %quads = %in as u32x4[]\nview %own_quads = %out as u32x4[]\n\
         view %in2 = %in as u32x2[]\nview %ini = %in as i32[]\nview %out2 = %out as u32x2[]\nlocal %array: i32[4]\nlocal %pairs: u32x2[2]\n",
        if writer.numbers.below(2) == 0 { WHOLE_QUADS } else { "" }
    );
    writer.values = vec![("%n".to_owned(), "u32"), ("%f".to_owned(), "f32x4")];
    writer.text += &format!(
        "%lane = local_index\n%group = workgroup_id.x\n%base = mul %group, {count}u32\n\
         %flat = add %base, %lane\n%own = mul %flat, {OWN}u32\n\
         %subgroup = subgroup_id\n%subgroups = num_subgroups\n%before = mul %group, %subgroups\n\
         %holder = add %before, %subgroup\n%matrix_place = mul %holder, 64u32\n%wide_place = mul %group, 64u32\n"
    );
    for name in ["%n", "%group"] {
        writer.values.push((name.to_owned(), "uniform"));
    }
    for name in ["%lane", "%group", "%flat"] {
        writer.values.push((name.to_owned(), "u32"));
    }
    for _ in 0..3 {
        writer.block(0, true);
    }
    // An element that may be out of bounds: then it is 0 whatever is stored.
    let (index, value) = (writer.value("u32"), writer.value("i32"));
    writer.text += &format!("store %array[{index}], {value}\n");
    writer.define("i32", format!("load %array[{index}]"));
    // Values left in registers must agree as well.
    for slot in 0..OWN {
        let value = match slot {
            0 => writer.several("u32"),
            1 => {
                let a = writer.several("i32");
                writer.define("u32", format!("convert {a} -> u32"))
            }
            2 => {
                let a = writer.value("f32");
                writer.define("u32", format!("convert {a} -> u32"))
            }
            _ => {
                let a = writer.value("bool");
                writer.define("u32", format!("convert {a} -> u32"))
            }
        };
        let at = writer.define("u32", format!("add %own, {slot}u32"));
        writer.text += &format!("store %out[{at}], {value}\n");
    }
    writer.text += "}\n";
    RandomKernel { text: writer.text, invocations: count }
}
