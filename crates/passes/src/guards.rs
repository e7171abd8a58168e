//! The pass `guards`: puts loads and stores at one index, of memory of one length, under one guard.
//!
//! An access out of bounds loads zero or stores nothing, so lowering guards each access that is not proven to be in bounds. An
//! `if` on the index guards several, and what is computed in between: in its arm each of them is proven. All of them move down to
//! the last access, as do the computations that depend on their loads. Nothing after the last access may use those computations;
//! what is loaded is a result of the `if`. Loads and stores move down past pure instructions and past loads; stores not past loads
//! of the same object.

use std::cell::OnceCell;

use fulgurite_ir::analysis::{Assumptions, BoundsMap, Event, RangeMap, Walk, equal_lengths, operands};
use fulgurite_ir::{
    BlockId, BufferId, InstId, InstKind, Kernel, Memory, Operands, Terminator, ValueDef, ValueId,
};
use fulgurite_spec::{Op, ScalarType, Type};

use crate::Pass;
use crate::rewrite::{self, add, apply, constant, define, scalar};

pub(crate) const PASS: Pass = Pass { name: "guards", fires, run };

/// The number of groups that are open at once: the bits of a mask.
const MOST_GROUPS: usize = 8;
const _: () = assert!(MOST_GROUPS <= u8::BITS as usize);
/// The number of instructions that move, so that an `if` stays small.
const MOST_MOVED: usize = 64;
/// The number of other computations that a load moves past, during which the load could already be in flight.
const MOST_PASSED: usize = 16;
/// The number of loaded values that an `if` has as results.
const MOST_RESULTS: usize = 8;

fn fires(kernel: &Kernel) -> bool {
    !plans(kernel).is_empty()
}

fn run(kernel: &mut Kernel) -> usize {
    let plans = plans(kernel);
    apply(kernel, &plans);
    plans.len()
}

/// The comparison that tells whether an access is in bounds: its index is below a length.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Bound {
    length: Length,
    index: ValueId,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    Known(u32),
    /// The length of a buffer, and of every other buffer that a precondition states to be equally long.
    Buffer(BufferId),
    View(Memory),
}

/// A load or store.
struct Access {
    memory: Memory,
    index: ValueId,
    is_store: bool,
}

impl Access {
    fn of(kernel: &Kernel, id: InstId) -> Option<Self> {
        let kind = &kernel.inst(id).kind;
        if let InstKind::Load { memory, index } = *kind {
            return Some(Self { memory, index, is_store: false });
        }
        let InstKind::Store { memory, index, .. } = *kind else { return None };
        Some(Self { memory, index, is_store: true })
    }

    fn bound(&self, kernel: &Kernel, equal: &[BufferId]) -> Bound {
        let length = match (kernel.array_len(self.memory), self.memory) {
            (Some(len), _) => Length::Known(len),
            (None, Memory::Buffer(buffer)) => Length::Buffer(equal[buffer.index()]),
            (None, memory) => Length::View(memory),
        };
        Bound { length, index: self.index }
    }
}

/// Accesses with one bound, and what depends on them.
struct Group {
    bound: Bound,
    /// The accesses and the instructions that depend on their loads, in order.
    moved: Vec<InstId>,
    accesses: usize,
    /// The number of computations that do not depend on the loads.
    passed: usize,
    /// The objects that are stored to.
    stored: Vec<Memory>,
    /// The group up to the last access after which no value computed in the group is used, other than loaded ones.
    complete: Complete,
}

/// The part of a group that can be put under a guard.
#[derive(Clone, Copy, Default)]
struct Complete {
    moved: usize,
    accesses: usize,
}

impl Group {
    fn of(bound: Bound) -> Self {
        Self {
            bound,
            moved: Vec::new(),
            accesses: 0,
            passed: 0,
            stored: Vec::new(),
            complete: Complete::default(),
        }
    }
}

/// Accesses to put under one guard.
struct Plan {
    /// The accesses and what is computed in between, in order. The last one is an access.
    moved: Vec<InstId>,
    /// The results of loads that are used later.
    results: Vec<ValueId>,
}

/// Returns the plans of a kernel.
fn plans(kernel: &Kernel) -> Vec<Plan> {
    if !may_share(kernel) {
        return Vec::new();
    }
    let equal = equal_lengths(kernel);
    let mut finder: Option<Finder<'_>> = None;
    let mut stated = Stated::default();
    Walk::new(kernel).for_each(|event| match event {
        Event::Enter(block) => {
            stated.enter(kernel, &equal, block);
            if stated.has_two_of_one_bound(kernel, &equal, block) {
                finder.get_or_insert_with(|| Finder::of(kernel, &equal)).block(block);
            }
        }
        Event::Exit(_) => stated.exit(),
        Event::Inst(id) => stated.assumptions.note(kernel, id),
        Event::Done(_) => {}
    });
    finder.map(|finder| finder.plans).unwrap_or_default()
}

/// Returns whether two accesses have the same index. In many kernels none have.
fn may_share(kernel: &Kernel) -> bool {
    let mut recent = Recent::default();
    kernel.insts.iter().any(|inst| {
        let (InstKind::Load { index, .. } | InstKind::Store { index, .. }) = inst.kind else { return false };
        recent.repeats(index)
    })
}

/// The last few different things seen.
struct Recent<T> {
    seen: [Option<T>; MOST_GROUPS],
    next: usize,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { seen: [const { None }; MOST_GROUPS], next: 0 }
    }
}

impl<T: PartialEq> Recent<T> {
    /// Returns whether it was seen.
    fn repeats(&mut self, thing: T) -> bool {
        let found = self.seen.iter().flatten().any(|seen| *seen == thing);
        if !found {
            self.seen[self.next % MOST_GROUPS] = Some(thing);
            self.next += 1;
        }
        found
    }
}

/// The bounds that enclosing `if`s state directly, so that accesses with these are known not to need a guard. A quick filter, which
/// most kernels stop at; [`Finder::is_inside`] decides about what is left.
#[derive(Default)]
struct Stated {
    assumptions: Assumptions,
    bounds: Vec<Bound>,
    /// For each open block, the number of bounds before it.
    marks: Vec<usize>,
}

impl Stated {
    fn enter(&mut self, kernel: &Kernel, equal: &[BufferId], block: BlockId) {
        self.marks.push(self.bounds.len());
        if let Some((condition, true)) = self.assumptions.enter(block) {
            self.bounds.extend(bound_of(kernel, equal, condition));
        }
    }

    fn exit(&mut self) {
        self.bounds.truncate(self.marks.pop().unwrap_or_default());
    }

    /// Returns whether two accesses in a block have the same bound. Most blocks have none.
    fn has_two_of_one_bound(&self, kernel: &Kernel, equal: &[BufferId], block: BlockId) -> bool {
        let mut recent = Recent::default();
        let accesses = kernel.block(block).insts.iter().filter_map(|id| Access::of(kernel, *id));
        let mut bounds = accesses.map(|access| access.bound(kernel, equal));
        bounds.any(|bound| !self.bounds.contains(&bound) && recent.repeats(bound))
    }
}

/// Returns the bound that a comparison of an index with the length of a buffer or array states.
fn bound_of(kernel: &Kernel, equal: &[BufferId], condition: ValueId) -> Option<Bound> {
    let ValueDef::Inst(inst, _) = kernel.value(condition).def else { return None };
    let InstKind::Scalar { op: Op::Lt, operands, .. } = &kernel.inst(inst).kind else { return None };
    let [index, length] = **operands else { return None };
    let ValueDef::Inst(inst, _) = kernel.value(length).def else { return None };
    let InstKind::Len { memory } = kernel.inst(inst).kind else { return None };
    Some(Access { memory, index, is_store: false }.bound(kernel, equal))
}

/// The search for accesses with one bound.
struct Finder<'k> {
    kernel: &'k Kernel,
    equal: &'k [BufferId],
    order: OnceCell<Order>,
    bounds: OnceCell<BoundsMap>,
    groups: [Option<Group>; MOST_GROUPS],
    /// A bit for each group that there is.
    open: u8,
    /// The group that makes room for another one.
    oldest: usize,
    /// For each value, a bit for each group on whose loads it depends.
    depends: Vec<u8>,
    /// The instructions that plans move.
    is_moved: Vec<bool>,
    plans: Vec<Plan>,
}

impl<'k> Finder<'k> {
    fn of(kernel: &'k Kernel, equal: &'k [BufferId]) -> Self {
        Self {
            kernel,
            equal,
            order: OnceCell::new(),
            bounds: OnceCell::new(),
            groups: [const { None }; MOST_GROUPS],
            open: 0,
            oldest: 0,
            depends: vec![0; kernel.values.len()],
            is_moved: vec![false; kernel.insts.len()],
            plans: Vec::new(),
        }
    }

    fn block(&mut self, block: BlockId) {
        let kernel = self.kernel;
        for id in &kernel.block(block).insts {
            match Access::of(kernel, *id) {
                Some(access) => self.access(*id, &access),
                None if kernel.inst(*id).kind.pure().is_some() => self.compute(*id),
                None => self.close(|_, _| true),
            }
        }
        self.close(|_, _| true);
    }

    /// Returns a bit for each group on which an operand of an instruction depends.
    fn needs(&self, id: InstId) -> u8 {
        operands(&self.kernel.inst(id).kind).fold(0, |all, value| all | self.depends[value.index()])
    }

    /// Adds a pure instruction to the groups on which it depends.
    fn compute(&mut self, id: InstId) {
        if self.open == 0 {
            return;
        }
        let needs = self.needs(id);
        self.close(|bit, group| {
            if needs & bit == 0 {
                group.passed += 1;
            } else {
                group.moved.push(id);
            }
            group.passed > MOST_PASSED || group.moved.len() >= MOST_MOVED
        });
        self.depend(id, needs & self.open);
    }

    /// Marks the results of an instruction as depending on groups.
    fn depend(&mut self, id: InstId, groups: u8) {
        if groups != 0 {
            self.kernel.inst(id).results.iter().for_each(|result| self.depends[result.index()] |= groups);
        }
    }

    fn access(&mut self, id: InstId, access: &Access) {
        let kernel = self.kernel;
        let bound = access.bound(kernel, self.equal);
        let object = kernel.base(access.memory);
        let needs = self.needs(id);
        // An access that does not depend on a group may stay before it if their order does not matter.
        self.close(|bit, group| {
            let stays = needs & bit == 0 && !access.is_store && !group.stored.contains(&object);
            group.bound != bound && !stays
        });
        let is_own = |slot: &Option<Group>| slot.as_ref().is_some_and(|group| group.bound == bound);
        let slot = match self.groups.iter().position(is_own) {
            Some(slot) => slot,
            None => {
                let slot = self.groups.iter().position(Option::is_none).unwrap_or_else(|| {
                    let oldest = self.oldest % MOST_GROUPS;
                    self.oldest += 1;
                    self.end(oldest);
                    oldest
                });
                self.groups[slot] = Some(Group::of(bound));
                self.open |= 1 << slot;
                slot
            }
        };
        // If it depends on another group, that one was closed.
        self.depend(id, 1 << slot);
        let Some(group) = &mut self.groups[slot] else { return };
        group.moved.push(id);
        group.accesses += 1;
        if access.is_store {
            group.stored.push(object);
        }
        if group.accesses > 1 {
            let order = self.order.get_or_init(|| Order::of(kernel));
            let at = order.of[id.index()];
            let is_over = |moved: &InstId| {
                Access::of(kernel, *moved).is_some() || order.last_use_of(kernel, *moved) <= at
            };
            if group.moved.iter().all(is_over) {
                group.complete = Complete { moved: group.moved.len(), accesses: group.accesses };
            }
        }
        if group.moved.len() >= MOST_MOVED {
            self.end(slot);
        }
    }

    /// Ends the groups for which `ends` returns true, which is given the bit of each.
    fn close(&mut self, ends: impl Fn(u8, &mut Group) -> bool) {
        let mut left = self.open;
        while left != 0 {
            let number = left.trailing_zeros() as usize;
            left &= left - 1;
            if self.groups[number].as_mut().is_some_and(|group| ends(1 << number, group)) {
                self.end(number);
            }
        }
    }

    /// Ends a group, and plans to put its accesses under one guard if there are several.
    fn end(&mut self, number: usize) {
        let Some(mut group) = self.groups[number].take() else { return };
        self.open &= !(1 << number);
        for result in group.moved.iter().flat_map(|id| &*self.kernel.inst(*id).results) {
            self.depends[result.index()] &= !(1 << number);
        }
        let Complete { moved, accesses } = group.complete;
        group.moved.truncate(moved);
        let Some(last) = group.moved.last().copied().filter(|_| accesses > 1) else { return };
        let (kernel, order) = (self.kernel, self.order.get_or_init(|| Order::of(self.kernel)));
        let at = order.of[last.index()];
        let loaded =
            group.moved.iter().filter(|id| Access::of(kernel, **id).is_some_and(|access| !access.is_store));
        let results: Vec<ValueId> = loaded
            .flat_map(|id| kernel.inst(*id).results.iter())
            .filter(|result| order.last_use[result.index()] > at)
            .copied()
            .collect();
        let is_taken = |id: &InstId| self.is_moved[id.index()];
        if results.len() > MOST_RESULTS || group.moved.iter().any(is_taken) || self.is_inside(&group.moved) {
            return;
        }
        group.moved.iter().for_each(|id| self.is_moved[id.index()] = true);
        self.plans.push(Plan { moved: group.moved, results });
    }

    /// Returns whether any access is proven to be in bounds, and then all others with its bound.
    fn is_inside(&self, moved: &[InstId]) -> bool {
        let bounds = self.bounds.get_or_init(|| BoundsMap::of(self.kernel, &RangeMap::of(self.kernel)));
        moved.iter().any(|id| Access::of(self.kernel, *id).is_some() && bounds.is_inside(*id))
    }
}

/// The order of a kernel's instructions.
struct Order {
    /// The position of each instruction.
    of: Vec<u32>,
    /// The position of the last use of each value.
    last_use: Vec<u32>,
}

impl Order {
    fn of(kernel: &Kernel) -> Self {
        let mut order = Self { of: vec![0; kernel.insts.len()], last_use: vec![0; kernel.values.len()] };
        let mut position = 0;
        Walk::new(kernel).for_each(|event| match event {
            Event::Inst(id) => {
                position += 1;
                order.of[id.index()] = position;
                operands(&kernel.inst(id).kind).for_each(|value| order.last_use[value.index()] = position);
            }
            Event::Exit(block) => {
                position += 1;
                match &kernel.block(block).terminator {
                    Terminator::Return => {}
                    Terminator::Yield(values) => {
                        values.iter().for_each(|value| order.last_use[value.index()] = position);
                    }
                    Terminator::Condition(go) => order.last_use[go.index()] = position,
                }
            }
            Event::Enter(_) | Event::Done(_) => {}
        });
        order
    }

    /// Returns the position of the last use of the results of an instruction.
    fn last_use_of(&self, kernel: &Kernel, id: InstId) -> u32 {
        kernel.inst(id).results.iter().map(|result| self.last_use[result.index()]).max().unwrap_or_default()
    }
}

impl rewrite::Plan for Plan {
    fn members(&self) -> &[InstId] {
        &self.moved
    }

    fn at(&self) -> Option<InstId> {
        self.moved.last().copied()
    }

    fn emit(&self, kernel: &mut Kernel, block: BlockId) {
        let mut accesses = self.moved.iter().filter_map(|id| Some((*id, Access::of(kernel, *id)?)));
        let Some((first, access)) = accesses.next() else { return };
        let location = kernel.inst(first).location;
        let len_type = kernel.len_type(access.memory);
        let mut length = match kernel.array_len(access.memory) {
            Some(len) => constant(kernel, len_type, len.into()),
            None => add(kernel, block, InstKind::Len { memory: access.memory }, len_type, location),
        };
        let mut index = access.index;
        if kernel.ty(index) != len_type {
            let wide = Type::scalar(ScalarType::U64);
            for value in [&mut index, &mut length] {
                if kernel.ty(*value) != wide {
                    *value = scalar(kernel, block, Op::Convert, &[*value], wide, location);
                }
            }
        }
        let condition = scalar(kernel, block, Op::Lt, &[index, length], Type::BOOL, location);
        let [then_block, else_block] = [(); 2].map(|()| kernel.add_block());
        for arm in [then_block, else_block] {
            kernel.blocks[arm.index()].location = location;
        }
        // The results keep their ids, and so do their later uses; in the arm there are others.
        let (mut inner, mut zeros) = (Vec::new(), Vec::new());
        for result in &self.results {
            let ty = kernel.ty(*result);
            inner.push(kernel.add_value(ty, kernel.value(*result).def, None));
            let zero = constant(kernel, ty.element(), 0);
            zeros.push(if ty.is_scalar() {
                zero
            } else {
                let zeros = vec![zero; ty.lanes.count() as usize];
                scalar(kernel, else_block, Op::Construct, &zeros, ty, location)
            });
        }
        let in_arm = |value: ValueId| {
            let place = self.results.iter().position(|result| *result == value);
            place.and_then(|place| inner.get(place).copied()).unwrap_or(value)
        };
        for id in &self.moved {
            let inst = &mut kernel.insts[id.index()];
            inst.kind.change_operands(|value| *value = in_arm(*value));
            inst.results = inst.results.iter().map(|value| in_arm(*value)).collect();
        }
        kernel.blocks[then_block.index()].insts.clone_from(&self.moved);
        kernel.blocks[then_block.index()].terminator = Terminator::Yield(Operands::new(&inner));
        kernel.blocks[else_block.index()].terminator = Terminator::Yield(Operands::new(&zeros));
        let added = kernel.add_inst(block, InstKind::If { condition, then_block, else_block }, &[], location);
        define(kernel, added, Operands::new(&self.results));
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::{after, unchanged};

    /// Returns a kernel with buffers `%x`, `%y` and `%z`, of which the last two have one length.
    fn kernel(body: &str) -> String {
        format!(
            "fulgurite 1\nkernel @k workgroup(64, 1, 1) {{\n  buffer %x: read f32[]\n  buffer %y: read_write f32[]\n  \
             buffer %z: read_write f32[]\n  require eq (len %y), (len %z)\n  param %n: u32\n  %i = global_id.x\n{body}}}\n"
        )
    }

    /// Returns the lines of the only guard that the pass makes in a kernel, and those after it.
    fn guarded(body: &str) -> (Vec<String>, Vec<String>) {
        let text = after(&kernel(body), &super::PASS);
        let lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        let begin = lines.iter().position(|line| line.contains("if %")).unwrap_or_else(|| panic!("{text}"));
        assert!(lines[begin - 1].contains("= lt %i, "), "{text}");
        assert_eq!(text.matches("if %").count(), 1, "{text}");
        let end = begin + lines[begin..].iter().position(|line| line == "}").unwrap();
        let end = lines[begin..end].iter().position(|line| line == "} else {").map_or(end, |at| begin + at);
        (lines[begin..end].to_vec(), lines[end..].to_vec())
    }

    #[test]
    fn a_load_and_a_store_of_one_element_share_a_guard() {
        let (arm, rest) =
            guarded("  %a = load %y[%i]\n  %b = load %x[%i]\n  %c = fma %a, %b, %a\n  store %y[%i], %c\n");
        assert_eq!(arm[1..], ["%a = load %y[%i]", "%c = fma %a, %b, %a", "store %y[%i], %c"]);
        assert!(!rest.iter().any(|line| line.contains("load")), "{rest:?}");
    }

    #[test]
    fn lengths_that_a_precondition_states_to_be_equal_share_a_guard() {
        let (arm, _) = guarded("  %a = load %y[%i]\n  store %z[%i], %a\n");
        assert_eq!(arm[1..], ["%a = load %y[%i]", "store %z[%i], %a"]);
    }

    #[test]
    fn what_is_used_later_is_a_result_or_stays() {
        let (arm, rest) = guarded(
            "  %a = load %y[%i]\n  %c = neg %a\n  store %y[%i], %c\n  %d = add %a, 1.0f32\n  store %z[%n], %d\n",
        );
        assert_eq!(arm[1..], ["%2 = load %y[%i]", "%c = neg %2", "store %y[%i], %c", "yield %2"]);
        assert!(arm[0].starts_with("%a = if %"), "{arm:?}");
        let expected = ["} else {", "yield 0.0f32", "}", "%d = add %a, 1.0f32", "store %z[%n], %d", "}"];
        assert_eq!(rest, expected);
        // A computed value would be another one where the index is out of bounds.
        unchanged(
            &kernel("  %a = load %y[%i]\n  %c = add %a, 1.0f32\n  store %y[%i], %c\n  store %z[%n], %c\n"),
            &super::PASS,
        );
    }

    #[test]
    fn lengths_and_values_of_other_types_share_guards() {
        // A long index and an array, a `large` buffer, and vectors, of which one is a result.
        let text = after(
            "fulgurite 1\nkernel @k workgroup(64, 1, 1) {\n  shared %t: u32[64]\n  buffer %l: read_write u32[] large\n  \
             buffer %v: read_write f32x2[]\n  %i = global_id.x\n  %w = convert %i -> u64\n  %a = load %t[%w]\n  store %t[%w], %a\n  \
             %b = load %l[%i]\n  store %l[%i], %b\n  %c = load %v[%i]\n  %d = neg %c\n  store %v[%i], %d\n  barrier\n  \
             store %v[0u32], %c\n}\n",
            &super::PASS,
        );
        assert_eq!(text.matches("if %").count(), 3, "{text}");
        assert!(text.contains("= convert 64u32 -> u64\n") && text.contains("= len %l\n"), "{text}");
        assert!(text.contains("= construct 0.0f32, 0.0f32\n"), "{text}");
        crate::tests::unchanged(&text, &super::PASS);
    }

    #[test]
    fn what_needs_no_guard_or_would_wait_long_stays() {
        // Both are proven to be in bounds.
        unchanged(
            &kernel(
                "  %l = len %y\n  %c = lt %i, %l\n  if %c {\n    %a = load %y[%i]\n    %b = neg %a\n    store %z[%i], %b\n  }\n",
            ),
            &super::PASS,
        );
        let computed = |count: usize| {
            let between: String = (0..count).map(|n| format!("  %o{n} = add %n, {n}u32\n")).collect();
            kernel(&format!("  %a = load %y[%i]\n{between}  store %y[%i], %a\n"))
        };
        after(&computed(super::MOST_PASSED), &super::PASS);
        unchanged(&computed(super::MOST_PASSED + 1), &super::PASS);
    }

    #[test]
    fn groups_beyond_the_most_make_room_for_each_other() {
        let loads: String = (0..20)
            .map(|n| {
                format!("  %j{n} = add %i, {n}u32\n  %a{n} = load %x[%j{n}]\n  %b{n} = load %y[%j{n}]\n")
            })
            .collect();
        let stores: String = (13..20).map(|n| format!("  %c{n} = load %z[%j{n}]\n")).collect();
        let text = after(&kernel(&format!("{loads}{stores}")), &super::PASS);
        assert!((1..=7).contains(&text.matches("if %").count()), "{text}");
    }

    #[test]
    fn long_runs_of_accesses_get_several_guards() {
        let accesses: String =
            (0..1000).map(|n| format!("  %a{n} = load %y[%i]\n  store %z[%i], %a{n}\n")).collect();
        let text = after(&kernel(&accesses), &super::PASS);
        assert_eq!(text.matches("if %").count(), 2000_usize.div_ceil(super::MOST_MOVED));
    }

    #[test]
    fn a_guard_ends_before_what_must_not_move() {
        let barred = [
            "barrier[shared]",
            "store %z[%n], 1.0f32",
            "%t = lt %n, 5u32\n  if %t {\n    store %z[%n], 1.0f32\n  }",
        ];
        for between in barred {
            let body = format!("  %a = load %y[%i]\n  {between}\n  store %y[%i], %a\n");
            unchanged(&kernel(&body), &super::PASS);
        }
        // The load may be of what was stored.
        unchanged(
            &kernel(
                "  store %y[%i], 1.0f32\n  %a = load %y[%n]\n  store %y[%i], 2.0f32\n  store %z[%n], %a\n",
            ),
            &super::PASS,
        );
    }
}
