//! Random kernels that verify, terminate, and have results that do not depend on scheduling: every op of the op table, every
//! type, nested and divergent control flow, carried values, every kind of memory, views.

mod exchange;
mod matrix;
mod memory;
mod run;
mod scalar;
mod types;
mod wrong;

pub use run::{Inputs, MATRICES, Results, reference_like, run};
pub use wrong::{Find, Wrong, shrink};

use fulgurite_spec::ScalarType;
use types::{TYPES, literal, plain, scalar_of};

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

/// Which ops on floats a random kernel may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accuracy {
    /// Those whose results are equal on the CPU backend and the reference.
    Equal,
    /// All: also those whose results may differ between backends within a tolerance.
    Any,
}

/// A random kernel.
#[derive(Clone, Debug)]
pub struct RandomKernel {
    /// Its text.
    pub text: String,
    /// The number of invocations of a workgroup.
    pub invocations: u32,
}

/// The operands of a comparison, with their type.
type Compared = (&'static str, [String; 2]);

/// Generates the text of a kernel.
struct Writer<'b> {
    numbers: Numbers<'b>,
    text: String,
    /// Names in scope, with their types. A uniform `u32` is also listed as `uniform`.
    values: Vec<(String, &'static str)>,
    next: u32,
    /// The operands of the last condition, if it is a comparison.
    compared: Option<Compared>,
    /// Types of values beyond [`TYPES`].
    more: Vec<&'static str>,
    accuracy: Accuracy,
    /// Whether it has nothing for which the CPU backend interprets kernels: matrices, traps, `f64`, indices of 64 bits and workgroups
    /// of few or several rows.
    is_simple: bool,
}

impl Writer<'_> {
    fn name(&mut self) -> String {
        self.next += 1;
        format!("%v{}", self.next)
    }

    /// Returns a scalar or vector type.
    fn any_type(&mut self) -> &'static str {
        let of_all = self.numbers.below(TYPES.len() + self.more.len());
        TYPES.iter().chain(&self.more).nth(of_all).copied().unwrap_or("u32")
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
        if ty == "uniform" {
            return self.numbers.pick(&["0u32", "1u32", "2u32", "0x40000000u32"]).to_owned();
        }
        let plain = plain(ty);
        if plain.is_scalar() {
            return literal(plain.scalar, &mut self.numbers);
        }
        let parts: Vec<String> = (0..plain.lanes.count()).map(|_| self.value(scalar_of(ty))).collect();
        self.define(ty, format!("construct {}", parts.join(", ")))
    }

    fn define(&mut self, ty: &'static str, instruction: String) -> String {
        let name = self.name();
        self.text += &format!("{name} = {instruction}\n");
        self.values.push((name.clone(), ty));
        name
    }

    fn condition(&mut self) -> String {
        self.compared = None;
        if self.numbers.below(3) == 0 {
            return self.value("bool");
        }
        let ty = ["u32", "i32", "f32"][self.numbers.below(3)];
        let mut operands = [self.value(ty), self.value(ty)];
        if ty == "f32" && self.numbers.below(2) == 0 {
            // A NaN, which few values are.
            operands[0] = self.define(ty, format!("add {}, nan:0x7fc00000:f32", operands[0]));
        }
        self.comparison(ty, &operands)
    }

    fn comparison(&mut self, ty: &'static str, [a, b]: &[String; 2]) -> String {
        self.compared = Some((ty, [a.clone(), b.clone()]));
        let op = self.numbers.pick(&["lt", "le", "gt", "ge", "eq", "ne"]);
        self.define("bool", format!("{op} {a}, {b}"))
    }

    /// Compares the operands of the condition of this arm again, in any order.
    fn compare_again(&mut self, compared: Option<Compared>) {
        if let Some((ty, [a, b])) = compared {
            let again = if self.numbers.below(2) == 0 { [a, b] } else { [b, a] };
            let result = self.comparison(ty, &again);
            if self.numbers.below(2) == 0 {
                self.text += &format!("if {result} {{\natomic.xor %kept[%flat], 0x9e3779b9u32\n}}\n");
            }
            if self.numbers.below(3) == 0 {
                self.define("bool", format!("not {result}"));
            }
        }
    }

    /// Writes an arm of an `if`.
    fn arm(&mut self, depth: u32, uniform: bool, results: &[&'static str], compared: Option<Compared>) {
        let outer = self.values.len();
        self.compare_again(compared);
        self.rest_of_region(outer, depth, uniform, results);
    }

    fn region(&mut self, depth: u32, uniform: bool, results: &[&'static str]) {
        self.rest_of_region(self.values.len(), depth, uniform, results);
    }

    /// Writes what follows in a region before which there were `outer` values.
    fn rest_of_region(&mut self, outer: usize, depth: u32, uniform: bool, results: &[&'static str]) {
        self.block(depth + 1, uniform);
        if self.numbers.below(2) == 0 {
            self.keep(outer);
        }
        let yields: Vec<String> = results.iter().map(|ty| self.value(ty)).collect();
        if !yields.is_empty() {
            self.text += &format!("yield {}\n", yields.join(", "));
        }
        self.values.truncate(outer);
    }

    /// Keeps a word that depends on values behind the first `outer`.
    fn keep(&mut self, outer: usize) {
        let word = self.digest(outer, 1, 4);
        self.text += &format!("atomic.xor %kept[%flat], {word}\n");
    }

    /// Returns types for the results of control flow; in uniform control flow, matrices as well.
    fn results(&mut self, uniform: bool) -> Vec<&'static str> {
        let mut types = Vec::new();
        for _ in 0..self.numbers.below(4) {
            types.push(match uniform && !self.is_simple && self.numbers.below(3) == 0 {
                true => matrix::TYPES[self.numbers.below(matrix::TYPES.len())],
                false => self.any_type(),
            });
        }
        types
    }

    /// Returns a condition that is uniform in the workgroup.
    fn uniform_condition(&mut self) -> String {
        let operands = [self.value("uniform"), self.value("uniform")];
        self.comparison("u32", &operands)
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
                let compared = self.compared.take();
                self.text += &format!("{equals}if {condition}{types} {{\n");
                self.arm(depth, uniform, &results, compared.clone());
                self.text += "} else {\n";
                self.arm(depth, uniform, &results, compared);
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
            match self.numbers.below(13) {
                0..=2 => self.scalar_op(),
                3 => self.convert(),
                4 => self.vector_op(),
                5 | 6 => self.memory(),
                7 | 10 if uniform => self.exchange(),
                8 | 9 if uniform && !self.is_simple => self.matrix_op(),
                _ if depth < 4 => self.control(depth, uniform),
                _ => self.scalar_op(),
            }
        }
    }
}

/// Generates a kernel.
pub fn kernel(mut numbers: Numbers<'_>, accuracy: Accuracy) -> RandomKernel {
    let is_simple = numbers.below(3) == 0;
    let mut more = types::more(&mut numbers);
    if is_simple {
        more.retain(|ty| plain(ty).scalar != ScalarType::F64);
    }
    let mut writer = Writer {
        numbers,
        text: String::new(),
        values: Vec::new(),
        next: 0,
        compared: None,
        more,
        accuracy,
        is_simple,
    };
    let sizes = [[1, 1, 1], [3, 1, 1], [5, 7, 1], [64, 1, 1], [33, 2, 2], [100, 1, 1]];
    let mut size = sizes[writer.numbers.below(sizes.len())];
    if is_simple {
        size = [size[0].max(32), 1, 1];
    }
    let [x, y, z] = size;
    let count = x * y * z;
    writer.text += &format!(
        "fulgurite 1\nkernel @random workgroup({x}, {y}, {z}) {{\nbuffer %in: read u32[]\n\
         buffer %vectors: read f32x4[]\nbuffer %out: read_write u32[]\nbuffer %sums: read_write u32[]\n\
         buffer %mins: read_write i32[]\nbuffer %maxs: read_write i32[]\nbuffer %matrices: read_write i32[]\n\
         buffer %floats: read_write f32[]\nbuffer %wide: read_write u32[]\nbuffer %kept: read_write u32[]\nparam %n: u32\nparam %f: f32x4\n\
         {}shared %tile: u32[{count}]\nshared %tally: u32[4]\n\
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
        // Often enough, though few of these are in a block.
        for _ in 0..2 {
            writer.exchange();
            if !writer.is_simple {
                writer.matrix_op();
            }
            writer.memory();
            let _: String = writer.id();
        }
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
    if writer.numbers.below(2) == 0 {
        // Where it is not loaded, the buffer is only tallied in, which backends may make use of.
        writer.define("u32", "load %kept[%flat]".to_owned());
    }
    let word = writer.digest(0, 2, usize::MAX);
    writer.text += &format!("atomic.xor %kept[%flat], {word}\n}}\n");
    RandomKernel { text: writer.text, invocations: count }
}
