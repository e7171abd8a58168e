//! Cooperative matrices in random kernels, in uniform control flow. Sums of floats are small integers and never
//! rounded, so backends may add in any order.

use super::Writer;

const LEFT: &str = "coopmat<i8, 8x16, a, subgroup>";
const RIGHT: &str = "coopmat<i8, 16x8, b, subgroup>";
const SUM: &str = "coopmat<i32, 8x8, acc, subgroup>";
const FLOATS: &str = "coopmat<f32, 8x8, acc, subgroup>";
const WIDE_LEFT: &str = "coopmat<u8, 8x8, a, workgroup>";
const WIDE_RIGHT: &str = "coopmat<u8, 8x8, b, workgroup>";
const WIDE_SUM: &str = "coopmat<u32, 8x8, acc, workgroup>";

/// The types of matrices that are carried and selected.
pub(super) const TYPES: [&str; 7] = [LEFT, RIGHT, SUM, FLOATS, WIDE_LEFT, WIDE_RIGHT, WIDE_SUM];

impl Writer<'_> {
    fn matrix_type(&mut self) -> &'static str {
        TYPES[self.numbers.below(TYPES.len())]
    }

    fn layout(&mut self) -> &'static str {
        self.numbers.pick(&["row_major", "column_major"])
    }

    /// Fills a matrix with one number.
    pub(super) fn filled(&mut self, ty: &'static str) -> String {
        let (mut value, name) = (self.value("uniform"), self.name());
        let scalar = ty.trim_start_matches("coopmat<").split(',').next().unwrap_or_default();
        if scalar != "u32" {
            self.text += &format!("{name} = convert {value} -> {scalar}\n");
            value = name;
        }
        self.define(ty, format!("coop.fill {value} -> {ty}"))
    }

    pub(super) fn matrix_op(&mut self) {
        match self.numbers.below(9) {
            0 => {
                // At any offset, with overlapping lines or lines beyond the end.
                let (ty, layout) = (self.matrix_type(), self.layout());
                let (at, stride) = (self.value("uniform"), self.value("uniform"));
                self.define(ty, format!("coop.load[{layout}] %vectors[{at}], {stride} -> {ty}"));
            }
            1 => {
                let value = self.value("u32");
                self.fill_tile(&value);
                let (ty, layout) = (self.matrix_type(), self.layout());
                let (at, stride) = (4 * self.numbers.below(5), 4 * self.numbers.below(4));
                self.define(ty, format!("coop.load[{layout}] %tile[{at}u32], {stride}u32 -> {ty}"));
            }
            2 => {
                let types = [[LEFT, RIGHT, SUM], [WIDE_LEFT, WIDE_RIGHT, WIDE_SUM]][self.numbers.below(2)];
                let [a, b, c] = types.map(|ty| self.value(ty));
                self.define(types[2], format!("coop.mul_add {a}, {b}, {c}"));
            }
            3 => self.float_product(),
            4 => {
                let ty = self.matrix_type();
                let (a, b) = (self.value(ty), self.value(ty));
                let count = if ty == FLOATS { 5 } else { 4 };
                match ["neg", "add", "sub", "mul", "div"][..count][self.numbers.below(count)] {
                    "neg" => self.define(ty, format!("neg {a}")),
                    op => self.define(ty, format!("{op} {a}, {b}")),
                };
            }
            5 => {
                let (from, to) = if self.numbers.below(3) == 0 { (FLOATS, SUM) } else { (SUM, FLOATS) };
                let a = self.value(from);
                self.define(to, format!("coop.convert {a} -> {to}"));
            }
            6 => {
                let ty = self.matrix_type();
                let (choice, a, b) = (self.uniform_condition(), self.value(ty), self.value(ty));
                self.define(ty, format!("select {choice}, {a}, {b}"));
            }
            _ => self.store_matrix(),
        }
    }

    /// Writes a product of floats that were converted from small integers.
    fn float_product(&mut self) {
        let factors = [(LEFT, "coopmat<f16, 8x16, a, subgroup>"), (RIGHT, "coopmat<f16, 16x8, b, subgroup>")];
        let [a, b] = factors.map(|(ty, float)| {
            let (integers, name) = (self.value(ty), self.name());
            self.text += &format!("{name} = coop.convert {integers} -> {float}\n");
            name
        });
        let addend = self.numbers.below(9);
        let addend = self.define(FLOATS, format!("coop.fill {addend}.0f32 -> {FLOATS}"));
        self.define(FLOATS, format!("coop.mul_add {a}, {b}, {addend}"));
    }

    /// Stores a matrix in memory of its scope, and loads a component or a gap between lines in each invocation.
    fn store_matrix(&mut self) {
        let (ty, layout, index) = (self.matrix_type(), self.layout(), self.value("u32"));
        let matrix = self.value(ty);
        let (memory, element, place) = match ty {
            FLOATS => ("floats", "f32", "matrix_place"),
            LEFT | RIGHT | SUM => ("matrices", "i32", "matrix_place"),
            _ => ("wide", "u32", "wide_place"),
        };
        let barrier = if memory == "wide" { "barrier" } else { "subgroup_barrier" };
        // With these strides every matrix fits in 64 words.
        let stride = if ty.contains("acc") { 8 } else { 4 };
        self.text += &format!(
            "{barrier}\ncoop.store[{layout}] %{memory}[%{place}], {stride}u32, {matrix}\n{barrier}\n"
        );
        let near = self.define("u32", format!("and {index}, 63u32"));
        let at = self.define("u32", format!("add %{place}, {near}"));
        self.define(element, format!("load %{memory}[{at}]"));
    }
}
