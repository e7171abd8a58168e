//! Accesses to memory in random kernels, the ids of invocations, and traps. What invocations may write at the same time they
//! change by atomics that commute, or do not share.

use super::{OWN, Writer};

impl Writer<'_> {
    /// Loads or stores somewhere.
    pub(super) fn memory(&mut self) {
        let index = self.value("u32");
        match self.numbers.below(15) {
            0 => self.define("u32", format!("load %in[{index}]")),
            12 => self.own_atomic(),
            13 => self.id(),
            14 => self.trap_or_fence(),
            10 => self.consecutive_loads(&index),
            11 => self.consecutive_stores(),
            7 => self.define("u32x2", format!("load %in2[{index}]")),
            8 if self.is_simple => self.define("i32", format!("load %ini[{index}]")),
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
                let op = self.numbers.below(4);
                let at = self.define("u32", format!("add {near}, {}u32", 8 * op));
                let op = ["add", "and", "or", "xor"][op];
                self.text += &format!("atomic.{op} %sums[{at}], {value}\n");
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

    /// Updates one of the invocation's own words atomically. No other invocation accesses it, so the old value is deterministic.
    fn own_atomic(&mut self) -> String {
        let (value, slot) = (self.value("u32"), self.numbers.below(OWN as usize));
        let at = self.behind("%own", slot);
        match self.numbers.below(4) {
            0 => {
                let op = self.numbers.pick(&["add", "min", "max", "and", "or", "xor"]);
                self.define("u32", format!("atomic.{op} %out[{at}], {value}"))
            }
            1 => self.define("u32", format!("atomic.exchange %out[{at}], {value}")),
            2 => {
                // Often the value that is there.
                let expected = match self.numbers.below(2) {
                    0 => self.value("u32"),
                    _ => self.define("u32", format!("load %out[{at}]")),
                };
                self.define("u32", format!("atomic.compare_exchange %out[{at}], {expected}, {value}"))
            }
            _ => {
                self.text += &format!("atomic.store %out[{at}], {value}\n");
                let slot = self.numbers.below(OWN as usize);
                let at = self.behind("%own", slot);
                self.define("u32", format!("atomic.load %out[{at}]"))
            }
        }
    }

    /// Asks where the invocation is, or in how large a launch.
    pub(super) fn id(&mut self) -> String {
        let component = self.numbers.pick(&["x", "y", "z"]);
        match self.numbers.below(8) {
            0 => self.define("u32", format!("global_id.{component}")),
            1 => self.define("u32", format!("local_id.{component}")),
            2 => self.define("u32", format!("num_workgroups.{component}")),
            3 => self.define("u32", format!("workgroup_id.{component}")),
            4 => self.define("u32", "lane".to_owned()),
            5 => self.define("u32", "subgroup_size".to_owned()),
            6 => self.define("u32x4", "lane_mask_lt".to_owned()),
            _ => {
                let id = self.numbers.pick(&["local_index", "subgroup_id", "num_subgroups"]);
                self.define("u32", id.to_owned())
            }
        }
    }

    /// Writes a fence or a trap, which is usually unreachable, but not provably so.
    fn trap_or_fence(&mut self) -> String {
        if self.is_simple || self.numbers.below(2) == 0 {
            self.text += self.numbers.pick(&["fence\n", "fence[acquire, workgroup]\n", "fence[release]\n"]);
            return "%flat".to_owned();
        }
        let count = self.define("u32", "len %in".to_owned());
        let condition = match self.numbers.below(64) {
            0 => self.condition(),
            _ => self.define("bool", format!("gt {count}, 1000u32")),
        };
        self.text += &format!("if {condition} {{\ntrap {}u32\n}}\n", self.numbers.below(3));
        count
    }
}
