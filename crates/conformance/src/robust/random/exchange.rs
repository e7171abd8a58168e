//! Values that invocations of random kernels exchange, in uniform control flow.

use super::Writer;

impl Writer<'_> {
    /// Exchanges a value between invocations.
    pub(super) fn exchange(&mut self) {
        match self.numbers.below(7) {
            0 => self.broadcast(),
            1 => {
                let ty = ["u32", "i32", "u32x2", "i32x4"][self.numbers.below(4)];
                let value = self.value(ty);
                let op = self.numbers.pick(&["reduce", "inclusive_scan", "exclusive_scan"]);
                let combine = self.numbers.pick(&["add", "mul", "min", "max", "and", "or", "xor"]);
                self.define(ty, format!("subgroup.{op}[{combine}] {value}"));
            }
            2 | 3 => {
                let (ty, index) = (self.any_type(), self.value("u32"));
                let (value, near) = (self.value(ty), self.define("u32", format!("and {index}, 47u32")));
                let op = self.numbers.pick(&["shuffle", "shuffle_xor", "shuffle_up", "shuffle_down"]);
                self.define(ty, format!("subgroup.{op} {value}, {near}"));
            }
            4 | 5 => self.vote(),
            _ => match self.numbers.below(2) {
                0 => self.tile(),
                _ => self.tally(),
            },
        }
    }

    /// Broadcasts a value to the subgroup or the workgroup.
    fn broadcast(&mut self) {
        let (ty, whose) = (self.any_type(), self.numbers.below(40));
        let value = self.value(ty);
        if self.numbers.below(2) == 0 {
            self.define(ty, format!("subgroup.broadcast {value}, {whose}u32"));
            return;
        }
        let told = self.define(ty, format!("workgroup_broadcast {value}, {whose}u32"));
        if ty == "u32" {
            self.values.push((told, "uniform"));
        }
    }

    /// Asks for which lanes something holds.
    fn vote(&mut self) {
        match self.numbers.below(6) {
            0 => {
                self.define("bool", "subgroup.elect".to_owned());
            }
            1 => {
                let ty = ["u32", "i32"][self.numbers.below(2)];
                let value = self.value(ty);
                self.define("u32x4", format!("subgroup.match {value}"));
            }
            which => {
                let condition = self.condition();
                let (ty, op) =
                    [("u32x4", "ballot"), ("u32", "ballot_count"), ("bool", "any"), ("bool", "all")]
                        [which - 2];
                self.define(ty, format!("subgroup.{op} {condition}"));
            }
        }
    }

    /// Stores a value of each invocation in shared memory, and loads another's.
    fn tile(&mut self) {
        let (value, index) = (self.value("u32"), self.value("u32"));
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
    pub(super) fn fill_tile(&mut self, value: &str) {
        self.text += &format!("barrier\nstore %tile[%lane], {value}\nbarrier[shared]\n");
    }

    /// Changes shared memory by atomics of one kind, which commute, and loads the result.
    fn tally(&mut self) {
        let (value, index, other) = (self.value("u32"), self.value("u32"), self.value("u32"));
        let op = self.numbers.pick(&["add", "min", "max", "and", "or", "xor"]);
        let [at, from] = [index, other].map(|index| self.define("u32", format!("and {index}, 3u32")));
        self.text += &format!("barrier\natomic.{op} %tally[{at}], {value}\nbarrier[shared]\n");
        self.define("u32", format!("load %tally[{from}]"));
        self.text += "barrier[shared]\n";
    }
}
