//! The pass `implied`: replaces conditions that an enclosing `if` or `while` decides, and an `if` on a literal by its arm.
//!
//! In an arm, the condition of the `if` is true or false, and so are the parts of a conjunction that is true and of a
//! disjunction that is false. A comparison of the same operands is decided if all outcomes that remain possible give the same
//! result. Values never change, so what holds on entry to an arm holds in all blocks nested in it.

use std::collections::HashMap;

use fulgurite_ir::analysis::{Assumptions, Event, Walk, operands};
use fulgurite_ir::{BlockId, InstId, InstKind, Kernel, Terminator, ValueDef, ValueId};
use fulgurite_spec::{CompareOp, Op, Type};

use crate::Pass;
use crate::replacement::Replacement;
use crate::rewrite::constant;
use crate::scan::{any, blocks, events, has};

pub(crate) const PASS: Pass = Pass { name: "implied", fires, run };

/// The number of parts of one condition that are looked at.
const MOST_PARTS: usize = 64;

fn fires(kernel: &Kernel) -> bool {
    is_candidate(kernel) && (any(kernel, |id| taken(kernel, id).is_some()) || !Decided::of(kernel).is_empty())
}

fn run(kernel: &mut Kernel) -> usize {
    if !is_candidate(kernel) {
        return 0;
    }
    let decided = Decided::of(kernel);
    decided.replace(kernel);
    decided.count() + inline_taken(kernel)
}

/// Returns whether there may be something to decide: an `if` on a literal, or more than one branch and the comparison that it
/// depends on. A quick filter: what else counts may have conditions as operands or in its blocks, or not.
fn is_candidate(kernel: &Kernel) -> bool {
    if !has(kernel, |kind| matches!(kind, InstKind::If { .. } | InstKind::While { .. })) {
        return false;
    }
    let (mut branches, mut others) = (0, 0);
    for inst in &kernel.insts {
        match inst.kind {
            InstKind::If { condition, .. } if kernel.literal(condition).is_some() => return true,
            InstKind::If { .. } | InstKind::While { .. } => branches += 1,
            InstKind::Scalar { op, .. } => others += usize::from(takes_conditions(op)),
            InstKind::VecShuffle { .. }
            | InstKind::Id { .. }
            | InstKind::Len { .. }
            | InstKind::Load { .. } => {}
            InstKind::Store { .. } | InstKind::Atomic { .. } => {}
            InstKind::Fence { .. }
            | InstKind::Barrier { .. }
            | InstKind::SubgroupBarrier { .. }
            | InstKind::WorkgroupBroadcast { .. }
            | InstKind::Subgroup { .. }
            | InstKind::CoopLoad { .. }
            | InstKind::CoopStore { .. }
            | InstKind::CoopFill { .. }
            | InstKind::CoopMulAdd { .. }
            | InstKind::CoopConvert { .. }
            | InstKind::Trap { .. }
            | InstKind::For { .. }
            | InstKind::Region { .. } => others += 1,
        }
    }
    branches + others > 2
}

/// The possible outcomes of a comparison of two values, a bit each.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Outcomes(u8);

impl Outcomes {
    const LESS: u8 = 1;
    const EQUAL: u8 = 2;
    const GREATER: u8 = 4;
    /// An operand is a NaN.
    const UNORDERED: u8 = 8;
    const ALL: Self = Self(15);

    /// Returns the outcomes for which `op` gives `result`.
    fn of(op: CompareOp, result: bool) -> Self {
        let true_for = match op {
            CompareOp::Eq => Self::EQUAL,
            CompareOp::Ne => Self::LESS | Self::GREATER | Self::UNORDERED,
            CompareOp::Lt => Self::LESS,
            CompareOp::Le => Self::LESS | Self::EQUAL,
            CompareOp::Gt => Self::GREATER,
            CompareOp::Ge => Self::GREATER | Self::EQUAL,
        };
        Self(if result { true_for } else { Self::ALL.0 & !true_for })
    }

    /// Returns the outcomes of the comparison of the operands in the other order.
    fn swapped(self) -> Self {
        let less = if self.0 & Self::GREATER == 0 { 0 } else { Self::LESS };
        let greater = if self.0 & Self::LESS == 0 { 0 } else { Self::GREATER };
        Self(self.0 & (Self::EQUAL | Self::UNORDERED) | less | greater)
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the result of `op`, if it is the same for all of these outcomes.
    fn result(self, op: CompareOp) -> Option<bool> {
        [true, false].into_iter().find(|result| self.and(Self::of(op, !result)).0 == 0)
    }
}

/// A comparison of two scalars, with the operand that was defined first on the left.
struct Comparison {
    operands: [ValueId; 2],
    op: CompareOp,
    is_swapped: bool,
}

impl Comparison {
    fn of(kernel: &Kernel, id: InstId) -> Option<Self> {
        let InstKind::Scalar { op, operands, .. } = &kernel.inst(id).kind else { return None };
        let op = CompareOp::of(*op)?;
        let [a, b] = **operands else { return None };
        let is_swapped = b < a;
        kernel.ty(a).is_scalar().then_some(Self {
            operands: if is_swapped { [b, a] } else { [a, b] },
            op,
            is_swapped,
        })
    }

    /// Returns the outcomes, of the operands as they are here, for which it gives `result`.
    fn outcomes(&self, result: bool) -> Outcomes {
        let outcomes = Outcomes::of(self.op, result);
        if self.is_swapped { outcomes.swapped() } else { outcomes }
    }

    fn result(&self, left: Outcomes) -> Option<bool> {
        (if self.is_swapped { left.swapped() } else { left }).result(self.op)
    }
}

/// The facts that hold at a point of a walk.
struct Facts {
    /// Conditions that are decided.
    values: Vec<Option<bool>>,
    /// The outcomes of comparisons that remain possible.
    outcomes: HashMap<[ValueId; 2], Outcomes>,
    /// How to undo each fact when its block ends, the latest last.
    undo: Vec<Undo>,
}

enum Undo {
    Value(ValueId),
    Outcomes([ValueId; 2], Outcomes),
}

impl Facts {
    fn none(kernel: &Kernel) -> Self {
        Self { values: vec![None; kernel.values.len()], outcomes: HashMap::new(), undo: Vec::new() }
    }

    /// Adds what follows if `condition` is equal to `holds`.
    fn assume(&mut self, kernel: &Kernel, condition: ValueId, holds: bool) {
        let mut parts = vec![(condition, holds)];
        for _ in 0..MOST_PARTS {
            let Some((part, holds)) = parts.pop() else { return };
            if kernel.literal(part).is_some() || self.values[part.index()].is_some() {
                continue;
            }
            self.values[part.index()] = Some(holds);
            self.undo.push(Undo::Value(part));
            let ValueDef::Inst(inst, _) = kernel.value(part).def else { continue };
            if let Some(comparison) = Comparison::of(kernel, inst) {
                let before = self.left(&comparison);
                self.undo.push(Undo::Outcomes(comparison.operands, before));
                self.outcomes.insert(comparison.operands, before.and(comparison.outcomes(holds)));
            }
            let InstKind::Scalar { op, operands, .. } = &kernel.inst(inst).kind else { continue };
            match (*op, holds) {
                (Op::And, true) | (Op::Or, false) => parts.extend(operands.iter().map(|part| (*part, holds))),
                (Op::Not, _) => parts.extend(operands.iter().map(|part| (*part, !holds))),
                _ => {}
            }
        }
    }

    fn left(&self, comparison: &Comparison) -> Outcomes {
        self.outcomes.get(&comparison.operands).copied().unwrap_or(Outcomes::ALL)
    }

    fn forget(&mut self, mark: usize) {
        for undo in self.undo.drain(mark..).rev() {
            match undo {
                Undo::Value(value) => self.values[value.index()] = None,
                Undo::Outcomes(operands, before) => {
                    self.outcomes.insert(operands, before);
                }
            }
        }
    }
}

/// Uses and results of conditions whose value is known.
#[derive(Default)]
struct Decided {
    /// Operands of instructions.
    operands: Vec<(InstId, ValueId, bool)>,
    /// What blocks yield, and conditions of loops.
    terminators: Vec<(BlockId, ValueId, bool)>,
    /// Results of comparisons.
    results: Vec<(ValueId, bool)>,
}

impl Decided {
    fn of(kernel: &Kernel) -> Self {
        let mut decided = Self::default();
        let mut facts = Facts::none(kernel);
        let mut assumptions = Assumptions::default();
        // The number of facts before each open block.
        let mut marks = Vec::new();
        Walk::new(kernel).for_each(|event| match event {
            Event::Enter(block) => {
                marks.push(facts.undo.len());
                if let Some((condition, holds)) = assumptions.enter(block) {
                    facts.assume(kernel, condition, holds);
                }
            }
            Event::Exit(block) => {
                decided.terminator(kernel, &facts, block);
                facts.forget(marks.pop().unwrap_or_default());
            }
            Event::Inst(id) => {
                decided.inst(kernel, &facts, id);
                assumptions.note(kernel, id);
            }
            Event::Done(_) => {}
        });
        decided
    }

    fn inst(&mut self, kernel: &Kernel, facts: &Facts, id: InstId) {
        let inst = kernel.inst(id);
        let may_take = !matches!(inst.kind, InstKind::Scalar { op, .. } if !takes_conditions(op));
        if facts.undo.is_empty() || !may_take {
            return;
        }
        let decided =
            operands(&inst.kind).filter_map(|value| Some((id, value, facts.values[value.index()]?)));
        self.operands.extend(decided);
        if let (Some(comparison), [result]) = (Comparison::of(kernel, id), &*inst.results)
            && let Some(bits) = comparison.result(facts.left(&comparison))
        {
            self.results.push((*result, bits));
        }
    }

    /// Notes what `block` yields.
    fn terminator(&mut self, kernel: &Kernel, facts: &Facts, block: BlockId) {
        let mut note = |value: ValueId| {
            self.terminators.extend(facts.values[value.index()].map(|holds| (block, value, holds)));
        };
        match &kernel.block(block).terminator {
            Terminator::Return => {}
            Terminator::Yield(values) => values.iter().for_each(|value| note(*value)),
            Terminator::Condition(go) => note(*go),
        }
    }

    fn is_empty(&self) -> bool {
        self.count() == 0
    }

    fn count(&self) -> usize {
        self.operands.len() + self.terminators.len() + self.results.len()
    }

    /// Replaces what is decided by literals.
    fn replace(&self, kernel: &mut Kernel) {
        if self.is_empty() {
            return;
        }
        let [no, yes] = [0, 1].map(|bits| constant(kernel, Type::BOOL, bits));
        let literal = |holds: bool| if holds { yes } else { no };
        // What is known at a place, by value. All of a place is replaced at once, as it may have many operands.
        let mut known: Vec<Option<bool>> = vec![None; kernel.values.len()];
        let change = |known: &[Option<bool>], value: &mut ValueId| {
            if let Some(holds) = known[value.index()] {
                *value = literal(holds);
            }
        };
        for here in self.operands.chunk_by(|a, b| a.0 == b.0) {
            here.iter().for_each(|(_, value, holds)| known[value.index()] = Some(*holds));
            kernel.insts[here[0].0.index()].kind.change_operands(|value| change(&known, value));
            here.iter().for_each(|(_, value, _)| known[value.index()] = None);
        }
        for here in self.terminators.chunk_by(|a, b| a.0 == b.0) {
            here.iter().for_each(|(_, value, holds)| known[value.index()] = Some(*holds));
            match &mut kernel.blocks[here[0].0.index()].terminator {
                Terminator::Return => {}
                Terminator::Yield(values) => values.iter_mut().for_each(|value| change(&known, value)),
                Terminator::Condition(go) => change(&known, go),
            }
            here.iter().for_each(|(_, value, _)| known[value.index()] = None);
        }
        if !self.results.is_empty() {
            let mut replacement = Replacement::none(kernel);
            self.results.iter().for_each(|(result, holds)| replacement.replace(*result, literal(*holds)));
            replacement.everywhere(kernel);
        }
    }
}

/// Returns whether an op compares or may take conditions. Most do not.
fn takes_conditions(op: Op) -> bool {
    matches!(
        op,
        Op::Eq
            | Op::Ne
            | Op::Lt
            | Op::Le
            | Op::Gt
            | Op::Ge
            | Op::And
            | Op::Or
            | Op::Xor
            | Op::Not
            | Op::Select
            | Op::Convert
            | Op::Construct
            | Op::Insert
    )
}

/// Returns the arm that an `if` on a literal takes.
fn taken(kernel: &Kernel, id: InstId) -> Option<BlockId> {
    let InstKind::If { condition, then_block, else_block } = kernel.inst(id).kind else { return None };
    kernel.literal(condition).map(|literal| if literal.bits == 0 { else_block } else { then_block })
}

/// Replaces each `if` on a literal by the arm that it takes, and returns their number.
fn inline_taken(kernel: &mut Kernel) -> usize {
    if !any(kernel, |id| taken(kernel, id).is_some()) {
        return 0;
    }
    // Inner ones are done first, so what an arm yields is final. It may be a literal, which later conditions become.
    let mut replacement = Replacement::none(kernel);
    for event in events(kernel) {
        if let Event::Inst(id) = event {
            replacement.in_operands(kernel, id);
        }
        let Event::Done(id) = event else { continue };
        let Some(Terminator::Yield(values)) = taken(kernel, id).map(|arm| &kernel.block(arm).terminator)
        else {
            continue;
        };
        for (result, value) in kernel.inst(id).results.iter().zip(values) {
            replacement.replace(*result, replacement.of(*value));
        }
    }
    replacement.in_terminators(kernel);
    let mut inlined = 0;
    for block in blocks(kernel) {
        if !kernel.block(block).insts.iter().any(|id| taken(kernel, *id).is_some()) {
            continue;
        }
        // The instructions that are left, in reverse.
        let mut left = core::mem::take(&mut kernel.blocks[block.index()].insts);
        left.reverse();
        while let Some(id) = left.pop() {
            match taken(kernel, id) {
                Some(arm) => {
                    left.extend(core::mem::take(&mut kernel.blocks[arm.index()].insts).into_iter().rev());
                    inlined += 1;
                }
                None => kernel.blocks[block.index()].insts.push(id),
            }
        }
    }
    inlined
}

#[cfg(test)]
mod tests {
    use super::{CompareOp, Outcomes};
    use crate::tests::{after, unchanged};

    /// Returns a kernel that compares words `%i` and `%n` and floats `%x` and `%y`.
    fn kernel(body: &str) -> String {
        format!(
            "fulgurite 1\nkernel @k workgroup(64, 1, 1) {{\n  buffer %b: read_write u32[]\n  buffer %f: read f32[]\n  \
             param %n: u32\n  %i = local_index\n  %x = load %f[%i]\n  %y = load %f[%n]\n  %c = lt %i, %n\n  %d = lt %x, %y\n  \
             {body}\n}}\n"
        )
    }

    /// Returns a kernel whose second condition is `%e`, in one arm of the first one.
    fn nested(first: &str, arm: bool, second: &str) -> String {
        let inner = format!("{second}\n    if %e {{\n      store %b[%i], %n\n    }}");
        let arms =
            if arm { format!("    {inner}\n  }}") } else { format!("  }} else {{\n    {inner}\n  }}") };
        kernel(&format!("if {first} {{\n{arms}"))
    }

    #[test]
    fn conditions_of_enclosing_arms_are_decided() {
        for (first, arm, second, runs) in [
            ("%c", true, "%e = lt %i, %n", true),
            ("%c", true, "%e = gt %n, %i", true),
            ("%c", true, "%e = le %i, %n", true),
            ("%c", true, "%e = ne %n, %i", true),
            ("%c", true, "%e = ge %i, %n", false),
            ("%c", true, "%e = eq %i, %n", false),
            ("%c", false, "%e = lt %i, %n", false),
            ("%c", true, "%e = not %c", false),
            ("%c", true, "%e = and %c, %c", true),
            ("%d", true, "%e = ge %x, %y", false),
            ("%d", true, "%e = ne %x, %y", true),
            ("%d", false, "%e = lt %x, %y", false),
        ] {
            let mut text = after(&nested(first, arm, second), &super::PASS);
            // The op of a literal is left to `simplify`.
            if text.contains("not true") || text.contains("and true") {
                text = after(&after(&text, &crate::simplify::PASS), &super::PASS);
            }
            let inner = text.split_once(" if ").unwrap().1;
            assert!(!inner.contains("if "), "{first} {arm} {second}:\n{text}");
            assert_eq!(inner.contains("store"), runs, "{first} {arm} {second}:\n{text}");
        }
    }

    #[test]
    fn what_is_not_decided_stays() {
        for (first, arm, second) in [
            ("%c", false, "%e = eq %i, %n"),
            ("%c", true, "%e = lt %i, 5u32"),
            // A NaN is neither less nor greater.
            ("%d", false, "%e = ge %x, %y"),
            ("%d", false, "%e = le %y, %x"),
        ] {
            unchanged(&nested(first, arm, second), &super::PASS);
        }
        // After the arm nothing is known of its condition.
        unchanged(
            &kernel("if %c {\n    store %b[0u32], %n\n  }\n  if %c {\n    store %b[%i], %n\n  }"),
            &super::PASS,
        );
    }

    #[test]
    fn parts_of_conjunctions_and_disjunctions_are_decided() {
        for (op, arm, literal) in [("and", true, "true"), ("or", false, "false")] {
            let first = format!("%g = {op} %c, %d\n  if %g {{\n");
            let inner = "    %s = select %d, %i, %n\n    store %b[%i], %s\n  }";
            let text = after(
                &kernel(&if arm {
                    format!("{first}{inner}")
                } else {
                    format!("{first}    store %b[0u32], %n\n  }} else {{\n{inner}")
                }),
                &super::PASS,
            );
            assert!(text.contains(&format!("select {literal}, %i, %n")), "{text}");
        }
        unchanged(
            &kernel("%g = or %c, %d\n  if %g {\n    %s = select %d, %i, %n\n    store %b[%i], %s\n  }"),
            &super::PASS,
        );
    }

    #[test]
    fn the_condition_of_a_while_holds_in_its_body() {
        let text = after(
            &kernel(
                "%r = while carry(%k = 0u32) {\n    %go = lt %k, %n\n    condition %go\n  } do {\n    %m = add %k, 1u32\n    %e = ge %k, %n\n    %s = select %e, %i, %m\n    \
                 yield %s\n  }\n  store %b[%i], %r",
            ),
            &super::PASS,
        );
        assert!(text.contains("select false, %i, %m") && text.contains("condition %go"), "{text}");
    }

    #[test]
    fn what_is_decided_is_yielded_and_tested_as_a_literal() {
        let text = after(
            &kernel(
                "if %c {\n    %r, %s, %z = while carry(%u = %c, %v = true, %w = %i) {\n      %go = and %v, %u\n      condition %c\n    } do {\n      \
                 %m = add %w, 1u32\n      yield %c, %d, %m\n    }\n    store %b[%z], %n\n  }",
            ),
            &super::PASS,
        );
        assert!(text.contains("carry(%u = true, %v = true, %w = %i)"), "{text}");
        assert!(text.contains("condition true\n") && text.contains("yield true, %d, %m"), "{text}");
    }

    #[test]
    fn an_if_on_a_literal_becomes_its_arm() {
        let text = after(
            &kernel(
                "%r, %s = if true -> u32, u32 {\n    %p = if false -> u32 {\n      yield %n\n    } else {\n      %q = add %i, %n\n      \
                 yield %q\n    }\n    yield %p, %n\n  } else {\n    yield %n, %i\n  }\n  store %b[%s], %r",
            ),
            &super::PASS,
        );
        assert!(text.contains("  %q = add %i, %n\n  store %b[%n], %q\n") && !text.contains("if "), "{text}");
    }

    /// All ops, results, orders of operands and kinds of values that two comparisons can meet with.
    #[test]
    fn outcomes_agree_with_comparisons_of_numbers() {
        let ops = [CompareOp::Eq, CompareOp::Ne, CompareOp::Lt, CompareOp::Le, CompareOp::Gt, CompareOp::Ge];
        let compare = |op, a: f32, b: f32| match op {
            CompareOp::Eq => a == b,
            CompareOp::Ne => a != b,
            CompareOp::Lt => a < b,
            CompareOp::Le => a <= b,
            CompareOp::Gt => a > b,
            CompareOp::Ge => a >= b,
        };
        let pairs = [(1.0, 2.0), (2.0, 1.0), (1.0, 1.0), (f32::NAN, 1.0), (-0.0, 0.0)];
        for (known, holds, asked) in
            ops.iter().flat_map(|k| [true, false].map(|h| (*k, h))).flat_map(|(k, h)| ops.map(|a| (k, h, a)))
        {
            let outcomes = Outcomes::of(known, holds);
            let possible: Vec<_> = pairs.iter().filter(|(a, b)| compare(known, *a, *b) == holds).collect();
            for swapped in [false, true] {
                let results: Vec<bool> = possible
                    .iter()
                    .map(|(a, b)| if swapped { compare(asked, *b, *a) } else { compare(asked, *a, *b) })
                    .collect();
                let expected = results.windows(2).all(|pair| pair[0] == pair[1]).then(|| results[0]);
                let left = if swapped { outcomes.swapped() } else { outcomes };
                assert_eq!(left.result(asked), expected, "{known:?} {holds} {asked:?} {swapped}");
            }
        }
    }
}
