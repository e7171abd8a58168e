//! The pass `unroll`: repeats the body of a `for` with few iterations, whose number is known, in place of the loop.
//!
//! Its counter becomes a literal in each copy: then addresses fold, and elements of arrays are known. Loops that contain others
//! are left until those are gone, and those with atomics as they are: an atomic takes longer than a round of a loop costs.

use fulgurite_ir::{BlockId, Control, InstId, InstKind, Kernel, Terminator, ValueId};

use crate::Pass;
use crate::replacement::Replacement;
use crate::rewrite::constant;
use crate::scan;

pub(crate) const PASS: Pass = Pass { name: "unroll", fires, run };

/// The largest number of instructions that a loop becomes. Bodies of tens of instructions gain little: a driver, or a processor,
/// does the same with theirs.
const MOST_INSTRUCTIONS: usize = 128;
/// The largest number of iterations.
const MOST_TRIPS: usize = 16;

fn fires(kernel: &Kernel) -> bool {
    scan::has(kernel, |kind| matches!(kind, InstKind::For { .. }))
        && scan::any(kernel, |id| Loop::short(kernel, id).is_some())
}

fn run(kernel: &mut Kernel) -> usize {
    let mut replacement = Replacement::none(kernel);
    let mut unrolled = 0;
    for block in scan::blocks(kernel) {
        if !kernel.block(block).insts.iter().any(|id| Loop::short(kernel, *id).is_some()) {
            continue;
        }
        let insts = core::mem::take(&mut kernel.blocks[block.index()].insts);
        for id in insts {
            match Loop::short(kernel, id) {
                Some(short) => {
                    let last = short.repeat(kernel, block, &replacement);
                    let results = kernel.inst(id).results.clone();
                    results.iter().zip(last).for_each(|(result, by)| replacement.replace(*result, by));
                    unrolled += 1;
                }
                None => kernel.blocks[block.index()].insts.push(id),
            }
        }
    }
    if unrolled > 0 {
        replacement.everywhere(kernel);
    }
    unrolled
}

/// A `for` that is worth unrolling.
struct Loop {
    body: BlockId,
    initial: Vec<ValueId>,
    /// The counter in each iteration.
    counters: Vec<u64>,
}

impl Loop {
    fn short(kernel: &Kernel, id: InstId) -> Option<Self> {
        let Some(Control::For { start, end, step, initial, body }) = kernel.inst(id).kind.control() else {
            return None;
        };
        let insts = &kernel.block(body).insts;
        let stays = |kind: &InstKind| kind.control().is_some() || matches!(kind, InstKind::Atomic { .. });
        if insts.iter().any(|id| stays(&kernel.inst(*id).kind)) {
            return None;
        }
        let most = MOST_TRIPS.min(MOST_INSTRUCTIONS / insts.len().max(1));
        let counters = counters(kernel, [start, end, step], most)?;
        Some(Self { body, initial: initial.to_vec(), counters })
    }

    /// Appends the body to `block` once for each iteration, and returns what the last one yields.
    fn repeat(&self, kernel: &mut Kernel, block: BlockId, replacement: &Replacement) -> Vec<ValueId> {
        let Some((counter, carried)) = kernel.block(self.body).params.split_first() else {
            return Vec::new();
        };
        let (counter, carried) = (*counter, carried.to_vec());
        let insts = kernel.block(self.body).insts.clone();
        let Terminator::Yield(yields) = kernel.block(self.body).terminator.clone() else { return Vec::new() };
        let mut current: Vec<ValueId> = self.initial.iter().map(|value| replacement.of(*value)).collect();
        for bits in &self.counters {
            // Each value of the body, with the value that stands for it in this iteration.
            let mut copies: Vec<(ValueId, ValueId)> = carried.iter().copied().zip(current).collect();
            let number = constant(kernel, kernel.ty(counter), *bits);
            copies.push((counter, number));
            for id in &insts {
                let inst = kernel.inst(*id).clone();
                let types: Vec<_> = inst.results.iter().map(|result| kernel.ty(*result)).collect();
                let mut kind: InstKind = inst.kind;
                kind.change_operands(|value| *value = copied(&copies, *value, replacement));
                let copy = kernel.add_inst(block, kind, &types, inst.location);
                copies.extend(inst.results.iter().copied().zip(kernel.inst(copy).results.iter().copied()));
            }
            current = yields.iter().map(|value| copied(&copies, *value, replacement)).collect();
        }
        current
    }
}

fn copied(copies: &[(ValueId, ValueId)], value: ValueId, replacement: &Replacement) -> ValueId {
    let copy = copies.iter().rev().find(|(of, _)| *of == value);
    copy.map_or_else(|| replacement.of(value), |(_, copy)| *copy)
}

/// Returns the counter of a `for` with literal bounds in each iteration, if there are no more than `most`.
fn counters(kernel: &Kernel, [start, end, step]: [ValueId; 3], most: usize) -> Option<Vec<u64>> {
    let ty = kernel.ty(start).scalar;
    let number = |value: ValueId| {
        let bits = kernel.literal(value)?.bits;
        let is_negative = ty.is_signed() && bits > ty.mask() / 2;
        Some(i128::from(bits) - if is_negative { i128::from(ty.mask()) + 1 } else { 0 })
    };
    let (start, end, step) = (number(start)?, number(end)?, number(step)?);
    let goes_on = |counter: i128| if step > 0 { counter < end } else { counter > end };
    let mut counters = Vec::new();
    let mut counter = start;
    while goes_on(counter) {
        if counters.len() == most {
            return None;
        }
        counters.push(counter as u64 & ty.mask());
        counter += step;
    }
    Some(counters)
}

#[cfg(test)]
mod tests {
    use crate::tests::{after, unchanged};

    fn kernel(body: &str) -> String {
        format!(
            "fulgurite 1\nkernel @k workgroup(64, 1, 1) {{\n  buffer %b: read_write u32[]\n  param %n: u32\n  \
             local %l: i8[4]\n  %i = local_index\n{body}}}\n"
        )
    }

    #[test]
    fn bodies_are_repeated_with_the_values_that_loops_carry() {
        let text = after(
            &kernel(
                "  %s, %p = for %j in -2i8 to 4i8 step 2i8 carry(%x = %i, %y = %n) {\n    store %l[%x], %j\n    \
                 %z = add %x, %y\n    yield %y, %z\n  }\n  store %b[%s], %p\n",
            ),
            &super::PASS,
        );
        let stores: Vec<&str> = text.lines().filter(|line| line.contains("store")).map(str::trim).collect();
        assert_eq!(stores[..2], ["store %l[%i], -2i8", "store %l[%n], 0i8"], "{text}");
        assert!(stores[2].ends_with("], 2i8") && stores[2] != "store %l[%x], 2i8", "{text}");
        assert!(!text.contains("for ") && text.matches(" = add ").count() == 3, "{text}");
    }

    #[test]
    fn loops_without_iterations_give_what_they_begin_with() {
        let text = after(
            &kernel(
                "  %s = for %j in 7u32 to 3u32 step 1u32 carry(%x = %i) {\n    yield %n\n  }\n  \
                 %t = for %j in 5i32 to 3i32 step -2i32 carry(%x = %s) {\n    %y = add %x, %n\n    yield %y\n  }\n  \
                 store %b[%s], %t\n",
            ),
            &super::PASS,
        );
        assert!(text.contains("add %i, %n") && text.contains("store %b[%i], "), "{text}");
    }

    #[test]
    fn long_and_unknown_and_outer_loops_and_those_with_atomics_stay() {
        for body in [
            "  for %j in 0u32 to 17u32 step 1u32 {\n    store %b[%j], %i\n  }\n",
            "  for %j in 0u32 to %n step 1u32 {\n    store %b[%j], %i\n  }\n",
            "  for %j in 0u32 to 2u32 step 1u32 {\n    %c = lt %j, %n\n    if %c {\n      store %b[%j], %i\n    }\n  }\n",
            "  for %j in 0u32 to 2u32 step 1u32 {\n    atomic.add %b[%j], %i\n  }\n",
        ] {
            unchanged(&kernel(body), &super::PASS);
        }
    }
}
