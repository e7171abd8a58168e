//! Ops on scalars and vectors in random kernels, and the words by which their results are told apart.

use fulgurite_spec::{
    FloatContract, LaneRule, OPS, Op, OpInfo, Operand, Outcome, ScalarType, Semantics, Type, eval,
};

use super::types::{SCALARS, TYPES, name_of, plain, scalar_of};
use super::{Accuracy, Writer};

impl Writer<'_> {
    /// Returns a value that depends on several integers of type `ty`.
    pub(super) fn several(&mut self, ty: &'static str) -> String {
        let first = self.value(ty);
        (0..8).fold(first, |all, _| {
            let other = self.value(ty);
            let all = self.define(ty, format!("add {all}, {other}"));
            self.define(ty, format!("mul {all}, 5{ty}"))
        })
    }

    /// Writes an op on scalars or vectors: one of those that passes change most, or any of the op table.
    pub(super) fn scalar_op(&mut self) {
        if self.numbers.below(3) != 0 {
            return self.any_op();
        }
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

    /// Converts a scalar.
    pub(super) fn convert(&mut self) {
        let [from, to] = [0; 2].map(|_| TYPES[self.numbers.below(SCALARS)]);
        let a = self.value(from);
        self.define(to, format!("convert {a} -> {to}"));
    }

    /// Takes a vector apart, replaces a component, selects components, or multiplies.
    pub(super) fn vector_op(&mut self) {
        let ty = TYPES[SCALARS + self.numbers.below(TYPES.len() - SCALARS)];
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

    /// Writes any op of the op table, on a type of the kernel if there is one for it.
    fn any_op(&mut self) {
        let (accuracy, is_simple) = (self.accuracy, self.is_simple);
        let all = || Type::all().filter(|ty| !is_simple || ty.scalar != ScalarType::F64);
        let is_scalar = |row: &&OpInfo| all().any(|ty| fits(row, ty, accuracy));
        let rows: Vec<&OpInfo> = OPS.iter().filter(is_scalar).collect();
        let row = rows[self.numbers.below(rows.len())];
        let Semantics::Scalar { operands, outcome, .. } = row.semantics else { return };
        let mut types: Vec<Type> = TYPES.iter().chain(&self.more).map(|ty| plain(ty)).collect();
        types.retain(|ty| fits(row, *ty, accuracy));
        if types.is_empty() {
            types = all().filter(|ty| fits(row, *ty, accuracy)).collect();
        }
        let main = types[self.numbers.below(types.len())];
        let ty = name_of(main);
        let operands: Vec<String> = operands
            .iter()
            .map(|operand| match operand {
                Operand::Same => self.operand(row.op, ty),
                Operand::U32Lanes => self.value(name_of(main.with_scalar(ScalarType::U32))),
                Operand::BoolLanes => self.value(name_of(main.with_scalar(ScalarType::Bool))),
                Operand::U32 => self.value("u32"),
                Operand::Element => self.value(name_of(main.element())),
            })
            .collect();
        let mut results = results(row.op, outcome, main);
        results.retain(|ty| !is_simple || ty.scalar != ScalarType::F64);
        let mut instruction = format!("{} {}", row.mnemonic, operands.join(", "));
        let result = if row.op.states_result() {
            let stated = name_of(results[self.numbers.below(results.len())]);
            instruction += &format!(" -> {stated}");
            stated
        } else {
            name_of(results[0])
        };
        self.define(result, instruction);
    }

    /// Returns an operand of `op`, whose bits it may show.
    fn operand(&mut self, op: Op, ty: &'static str) -> String {
        let value = self.value(ty);
        if matches!(op, Op::Bitcast | Op::Pack) { self.with_certain_bits(value, ty) } else { value }
    }

    /// Returns a value whose bits are the same on every backend: any NaN may replace another, and `min` and `max` may return either
    /// zero. A NaN becomes 1.75, which is rare otherwise.
    fn with_certain_bits(&mut self, value: String, ty: &'static str) -> String {
        let plain = plain(ty);
        if !plain.scalar.is_float() {
            return value;
        }
        let [zero, instead] = ["0.0", "1.75"].map(|number| {
            let number = format!("{number}{}", plain.scalar.name());
            match plain.lanes.count() {
                1 => number,
                count => self.define(ty, format!("construct {}", vec![number; count as usize].join(", "))),
            }
        });
        let sum = self.define(ty, format!("add {value}, {zero}"));
        let truth = name_of(plain.with_scalar(ScalarType::Bool));
        let is_nan = self.define(truth, format!("is_nan {sum}"));
        self.define(ty, format!("select {is_nan}, {instead}, {sum}"))
    }

    /// Returns a `u32` that depends on every bit of a scalar or vector, but for the signs of zeros and the bits of NaNs.
    fn word_of(&mut self, value: &str, ty: &'static str) -> String {
        let plain = plain(ty);
        let element = scalar_of(ty);
        let mut all: Option<String> = None;
        for lane in 0..plain.lanes.count() {
            let part = match plain.lanes.count() {
                1 => value.to_owned(),
                _ => self.define(element, format!("extract {value}, {lane}u32")),
            };
            let part = self.scalar_word(part, plain.scalar);
            all = Some(match all {
                None => part,
                Some(all) => self.mixed(&all, &part),
            });
        }
        all.unwrap_or_default()
    }

    /// Does for a scalar what [`word_of`](Self::word_of) does.
    fn scalar_word(&mut self, value: String, ty: ScalarType) -> String {
        let name = name_of(Type::scalar(ty));
        let value = self.with_certain_bits(value, name);
        let (value, ty) = match ty.unsigned() {
            Some(bits) if ty.is_float() => {
                let name = name_of(Type::scalar(bits));
                (self.define(name, format!("bitcast {value} -> {name}")), bits)
            }
            _ => (value, ty),
        };
        if ty == ScalarType::U32 {
            return value;
        }
        let low = self.define("u32", format!("convert {value} -> u32"));
        if ty.bits() <= 32 {
            return low;
        }
        let high = self.define(name_of(Type::scalar(ty)), format!("shr {value}, 32u32"));
        let high = self.define("u32", format!("convert {high} -> u32"));
        self.mixed(&low, &high)
    }

    /// Returns a `u32` that depends on two others and their order.
    fn mixed(&mut self, all: &str, next: &str) -> String {
        let all = self.define("u32", format!("mul {all}, 5u32"));
        self.define("u32", format!("add {all}, {next}"))
    }

    /// Returns a `u32` that depends on the last `count` values of each type among those behind the first `outer`, of at most
    /// `types` types.
    pub(super) fn digest(&mut self, outer: usize, count: usize, types: usize) -> String {
        let mut chosen: Vec<(&'static str, Vec<String>)> = Vec::new();
        for (name, ty) in self.values[outer.min(self.values.len())..].iter().rev() {
            let known = chosen.len();
            match chosen.iter_mut().find(|(of, _)| of == ty) {
                Some((_, names)) if names.len() < count => names.push(name.clone()),
                None if known < types && name_of(plain(ty)) == *ty => chosen.push((*ty, vec![name.clone()])),
                Some(_) | None => {}
            }
        }
        let visible = self.values.len();
        let mut all = "%flat".to_owned();
        for (ty, names) in chosen {
            for name in names {
                let word = self.word_of(&name, ty);
                all = self.mixed(&all, &word);
            }
        }
        self.values.truncate(visible);
        all
    }
}

/// Returns whether the op takes a main type, and gives results that can be told apart.
fn fits(row: &OpInfo, main: Type, accuracy: Accuracy) -> bool {
    let Semantics::Scalar { domain, lanes, outcome, float, .. } = row.semantics else { return false };
    let is_equal = match float {
        FloatContract::Exact
        | FloatContract::ExactEitherZero
        | FloatContract::Rounded
        | FloatContract::RoundedDot => true,
        FloatContract::FusedOrUnfused => accuracy == Accuracy::Any || !main.scalar.is_float(),
        // Both of these are rounded correctly where random kernels run.
        FloatContract::Approximate => {
            accuracy == Accuracy::Any || !main.scalar.is_float() || matches!(row.op, Op::Div | Op::Sqrt)
        }
    };
    let has_lanes = match lanes {
        LaneRule::Any => true,
        LaneRule::VectorOnly => main.is_vector(),
        LaneRule::ScalarOnly => main.is_scalar(),
    };
    domain.contains(main.scalar) && has_lanes && is_equal && !results(row.op, outcome, main).is_empty()
}

/// Returns the types that a result of `op` on the main type may have.
fn results(op: Op, outcome: Outcome, main: Type) -> Vec<Type> {
    if !op.states_result() {
        return eval::result_type(outcome, main, None).into_iter().collect();
    }
    let keeps_bits = |to: Type| to.scalar != ScalarType::Bool && to.size() == main.size();
    Type::all()
        .filter(|to| {
            eval::result_type(outcome, main, Some(*to)).is_some() && (op == Op::Convert || keeps_bits(*to))
        })
        .collect()
}
