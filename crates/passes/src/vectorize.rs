//! The pass `vectorize`: makes loads or stores of consecutive elements one access of a vector, through a view.
//!
//! It accesses exactly the elements that the kernel does: those of a vector whose index is proven to be a whole number, and
//! which are all in bounds, or all out of bounds, by their length or because each is proven to be inside. Loads move up to
//! the first of them and stores down to the last, past nothing that may write, or for stores read, the same memory object, and
//! past nothing that orders accesses of several invocations. The vector is no larger than an element of a view that the
//! object has: each launch aligns its buffers for the views that a kernel declares, and a larger one would refuse launches
//! that the given kernel allows.

use std::cell::OnceCell;

use fulgurite_ir::analysis::{BoundsMap, DivisibilityMap, RangeMap};
use fulgurite_ir::{
    BlockId, InstId, InstKind, Kernel, Memory, Operands, ValueDef, ValueId, ViewDecl, ViewId, alignment,
};
use fulgurite_spec::limits::{MAX_DECLARATIONS, MAX_NAME_BYTES};
use fulgurite_spec::{Lanes, Location, Op, ScalarType, Type};

use crate::Pass;
use crate::rewrite::{self, add, apply, constant, define, scalar};
use crate::scan::blocks;

pub(crate) const PASS: Pass = Pass { name: "vectorize", fires, run };

/// The numbers of elements of a vector, the largest first. One of three cannot be a power of two in size.
const WIDTHS: [Lanes; 2] = [Lanes::Four, Lanes::Two];
/// The number of groups of accesses that are open at once, and of accesses in one, so that the pass takes linear time.
const MOST_GROUPS: usize = 32;
const MOST_ACCESSES: usize = 64;
/// The size of the largest vector in bytes: the widest load of a device.
const MOST_BYTES: u32 = 16;

fn fires(kernel: &Kernel) -> bool {
    !Plan::all(kernel).is_empty()
}

fn run(kernel: &mut Kernel) -> usize {
    let plans = Plan::all(kernel);
    apply(kernel, &plans);
    plans.len()
}

/// A literal offset from a value, or from zero, in the type of the index.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    base: Option<ValueId>,
    offset: u64,
}

impl Place {
    /// Splits an index into a value and the literals added to it.
    fn of(kernel: &Kernel, index: ValueId) -> Self {
        let mask = kernel.ty(index).scalar.mask();
        let mut place = Self { base: Some(index), offset: 0 };
        while let Some(value) = place.base {
            if let Some(literal) = kernel.literal(value) {
                return Self { base: None, offset: place.offset.wrapping_add(literal.bits) & mask };
            }
            let Some((Op::Add, [a, b])) = op(kernel, value) else { break };
            let (rest, literal) = match (kernel.literal(a), kernel.literal(b)) {
                (_, Some(literal)) => (a, literal),
                (Some(literal), _) => (b, literal),
                (None, None) => break,
            };
            place = Self { base: Some(rest), offset: place.offset.wrapping_add(literal.bits) & mask };
        }
        place
    }
}

/// Returns the op of two operands that computes a value.
fn op(kernel: &Kernel, value: ValueId) -> Option<(Op, [ValueId; 2])> {
    let ValueDef::Inst(inst, _) = kernel.value(value).def else { return None };
    let InstKind::Scalar { op, operands, .. } = &kernel.inst(inst).kind else { return None };
    <[ValueId; 2]>::try_from(&operands[..]).ok().map(|operands| (*op, operands))
}

/// An access of one scalar.
#[derive(Clone, Copy)]
struct Access {
    id: InstId,
    memory: Memory,
    /// The value that a store stores.
    stored: Option<ValueId>,
    index: ValueId,
}

impl Access {
    fn of(kernel: &Kernel, id: InstId) -> Option<Self> {
        let kind = &kernel.inst(id).kind;
        if let InstKind::Load { memory, index } = *kind {
            return Some(Self { id, memory, stored: None, index });
        }
        let InstKind::Store { memory, index, value } = *kind else { return None };
        Some(Self { id, memory, stored: Some(value), index })
    }

    fn is_store(&self) -> bool {
        self.stored.is_some()
    }
}

/// Accesses of one kind at literal offsets from one value, between which nothing happens that their order matters to.
struct Group {
    memory: Memory,
    base: Option<ValueId>,
    is_store: bool,
    /// In program order, each at another offset.
    accesses: Vec<(u64, Access)>,
}

/// An access of a vector.
struct Plan {
    /// The instruction whose place it takes.
    at: InstId,
    /// The accesses that it replaces, by component.
    members: Vec<InstId>,
    memory: Memory,
    wide: Type,
    index: Index,
}

/// The index of a vector: a value with a literal added, divided by the number of components.
struct Index {
    ty: Type,
    base: Option<ValueId>,
    added: u64,
    step: Step,
}

/// An op on an index, exact on the numbers that it is applied to.
#[derive(Clone, Copy)]
enum Step {
    /// None: the literal is the index, or the value is.
    Nothing,
    /// The op with a literal as its second operand.
    By(Op, u64),
}

impl Plan {
    /// Returns the plans of a kernel.
    fn all(kernel: &Kernel) -> Vec<Self> {
        let widest = |memory| self::widest(kernel, memory);
        // Most kernels have no object that qualifies.
        let objects = (0..kernel.views.len()).map(|view| kernel.base(Memory::View(ViewId::new(view))));
        let mut qualify = objects.flat_map(|base| kernel.aliases(base));
        if !qualify.any(|memory| widest(memory) >= 2 * kernel.element(memory).size()) {
            return Vec::new();
        }
        let mut finder = Finder { kernel, facts: OnceCell::new(), groups: Vec::new(), plans: Vec::new() };
        blocks(kernel).into_iter().for_each(|block| finder.block(block));
        finder.plans
    }
}

impl rewrite::Plan for Plan {
    fn members(&self) -> &[InstId] {
        &self.members
    }

    fn at(&self) -> Option<InstId> {
        Some(self.at)
    }

    fn emit(&self, kernel: &mut Kernel, block: BlockId) {
        let location = kernel.inst(self.at).location;
        let memory = view(kernel, self.memory, self.wide, location);
        let index = self.index.emit(kernel, block, location);
        let members: Vec<Access> = self.members.iter().filter_map(|id| Access::of(kernel, *id)).collect();
        if let Some(stored) = members.iter().map(|access| access.stored).collect::<Option<Vec<_>>>() {
            let value = scalar(kernel, block, Op::Construct, &stored, self.wide, location);
            let _ = kernel.add_inst(block, InstKind::Store { memory, index, value }, &[], location);
            return;
        }
        let vector = add(kernel, block, InstKind::Load { memory, index }, self.wide, location);
        for (component, id) in self.members.iter().enumerate() {
            let place = constant(kernel, Type::U32, component as u64);
            let results = core::mem::replace(&mut kernel.insts[id.index()].results, Operands::new(&[]));
            let added = kernel.add_inst(block, rewrite::op(Op::Extract, &[vector, place]), &[], location);
            define(kernel, added, results);
        }
    }
}

impl Index {
    fn emit(&self, kernel: &mut Kernel, block: BlockId, location: Location) -> ValueId {
        let Some(mut value) = self.base else { return constant(kernel, self.ty, self.added) };
        if self.added != 0 {
            let added = constant(kernel, self.ty, self.added);
            value = scalar(kernel, block, Op::Add, &[value, added], self.ty, location);
        }
        match self.step {
            Step::Nothing => value,
            Step::By(op, by) => {
                let ty = if op == Op::Mul { self.ty } else { Type::U32 };
                let by = constant(kernel, ty, by);
                scalar(kernel, block, op, &[value, by], self.ty, location)
            }
        }
    }
}

/// Returns the name of an object by which it has elements of type `wide`.
fn alias(kernel: &Kernel, memory: Memory, wide: Type) -> Option<Memory> {
    kernel.aliases(kernel.base(memory)).find(|alias| kernel.element(*alias) == wide)
}

/// Does the same, and adds a view if there is none.
fn view(kernel: &mut Kernel, memory: Memory, wide: Type, location: Location) -> Memory {
    if let Some(alias) = alias(kernel, memory, wide) {
        return alias;
    }
    let base = kernel.base(memory);
    let is_free = |name: &String| {
        let views = kernel.views.iter().map(|view| &view.name);
        let arrays = kernel.shared.iter().chain(&kernel.locals).map(|array| &array.name);
        let buffers = kernel.buffers.iter().map(|buffer| &buffer.name);
        let params = kernel.params.iter().map(|param| &param.name);
        name.len() <= MAX_NAME_BYTES && !views.chain(arrays).chain(buffers).chain(params).any(|n| n == name)
    };
    let own = format!("{}.x{}", kernel.memory_name(memory), wide.lanes.count());
    // At most 320 names are taken.
    let others = (0..=5 * MAX_DECLARATIONS).map(|number| format!("vectors{number}"));
    let name = core::iter::once(own).chain(others).find(is_free).unwrap_or_default();
    kernel.views.push(ViewDecl { name, base, element: wide, location });
    Memory::View(ViewId::new(kernel.views.len() - 1))
}

/// Returns the size in bytes of the largest vector of elements of `memory`: such vectors are aligned wherever the object begins,
/// as the views that the kernel declares demand it, and another view leaves the layout of shared memory as it is.
fn widest(kernel: &Kernel, memory: Memory) -> u32 {
    let element = kernel.element(memory);
    let base = kernel.base(memory);
    if !element.is_scalar() || kernel.views_of(base).next().is_none() {
        return 0;
    }
    let sizes = kernel.aliases(base).map(|alias| {
        let ty = kernel.element(alias);
        match base {
            // A range of a buffer begins at a multiple of the sizes of all elements.
            Memory::Buffer(_) | Memory::View(_) => ty.size() & ty.size().wrapping_neg(),
            Memory::Shared(_) | Memory::Local(_) => alignment(ty),
        }
    });
    sizes.max().unwrap_or(0).min(MOST_BYTES)
}

/// The analyses of the kernel's values.
struct Facts<'k> {
    ranges: RangeMap<'k>,
    divisors: DivisibilityMap,
    bounds: OnceCell<BoundsMap>,
}

/// The search for accesses that are components of a vector.
struct Finder<'k> {
    kernel: &'k Kernel,
    facts: OnceCell<Facts<'k>>,
    /// The groups that may grow.
    groups: Vec<Group>,
    plans: Vec<Plan>,
}

impl<'k> Finder<'k> {
    fn block(&mut self, block: BlockId) {
        let kernel = self.kernel;
        for id in &kernel.block(block).insts {
            match &kernel.inst(*id).kind {
                InstKind::Load { .. } | InstKind::Store { .. } => {
                    if let Some(access) = Access::of(kernel, *id) {
                        self.access(access);
                    }
                }
                InstKind::Scalar { .. }
                | InstKind::VecShuffle { .. }
                | InstKind::Id { .. }
                | InstKind::Len { .. }
                | InstKind::CoopFill { .. }
                | InstKind::CoopMulAdd { .. }
                | InstKind::CoopConvert { .. }
                | InstKind::Trap { .. } => {}
                InstKind::Atomic { .. }
                | InstKind::Fence { .. }
                | InstKind::Barrier { .. }
                | InstKind::SubgroupBarrier { .. }
                | InstKind::WorkgroupBroadcast { .. }
                | InstKind::Subgroup { .. }
                | InstKind::CoopLoad { .. }
                | InstKind::CoopStore { .. }
                | InstKind::If { .. }
                | InstKind::For { .. }
                | InstKind::Region { .. }
                | InstKind::While { .. } => self.close(|_| true),
            }
        }
        self.close(|_| true);
    }

    /// Adds an access to its group, and closes the groups that it may not move past.
    fn access(&mut self, access: Access) {
        let kernel = self.kernel;
        let Access { memory, index, .. } = access;
        let Place { base, offset } = Place::of(kernel, index);
        let is_store = access.is_store();
        let object = kernel.base(memory);
        let is_own = |group: &Group| {
            let is_apart = group.accesses.iter().all(|(other, _)| *other != offset);
            group.memory == memory && group.base == base && (!is_store || is_apart)
        };
        // Loads do not depend on each other, and stores at other offsets from the same value are to other elements.
        self.close(|group| {
            (group.is_store || is_store)
                && kernel.base(group.memory) == object
                && !(group.is_store && is_store && is_own(group))
        });
        if widest(kernel, memory) < 2 * kernel.element(memory).size() {
            return;
        }
        let is_open = |group: &&mut Group| {
            group.is_store == is_store && is_own(group) && group.accesses.len() < MOST_ACCESSES
        };
        match self.groups.iter_mut().find(is_open) {
            Some(group) => group.accesses.push((offset, access)),
            None => {
                if self.groups.len() == MOST_GROUPS {
                    let oldest = self.groups.remove(0);
                    self.vectors(oldest);
                }
                self.groups.push(Group { memory, base, is_store, accesses: vec![(offset, access)] });
            }
        }
    }

    /// Plans vectors for the groups that end here.
    fn close(&mut self, ends: impl Fn(&Group) -> bool) {
        let (ended, open) = core::mem::take(&mut self.groups).into_iter().partition(|group| ends(group));
        self.groups = open;
        for group in ended {
            self.vectors(group);
        }
    }

    fn vectors(&mut self, mut group: Group) {
        let element = self.kernel.element(group.memory);
        let widest = widest(self.kernel, group.memory);
        for lanes in WIDTHS {
            if lanes.count() * element.size() > widest {
                continue;
            }
            let count = u64::from(lanes.count());
            let mut starts: Vec<u64> = group.accesses.iter().map(|(offset, _)| *offset).collect();
            starts.retain(|offset| offset % count == 0);
            for start in starts {
                let component = |at: u64| {
                    group.accesses.iter().find(|(offset, _)| *offset == start + at).map(|(_, access)| *access)
                };
                let Some(members) = (0..count).map(component).collect::<Option<Vec<Access>>>() else {
                    continue;
                };
                if let Some(plan) = self.plan(&group, start, &members, element.with_lanes(lanes)) {
                    self.plans.push(plan);
                    group.accesses.retain(|(offset, _)| !(start..start + count).contains(offset));
                }
            }
        }
    }

    /// Plans the access of a vector of type `wide` whose components are `members`, at offsets from `start`, if it is one.
    fn plan(&self, group: &Group, start: u64, members: &[Access], wide: Type) -> Option<Plan> {
        let kernel = self.kernel;
        let facts = self.facts.get_or_init(|| {
            let ranges = RangeMap::of(kernel);
            Facts { divisors: DivisibilityMap::of(kernel, &ranges), ranges, bounds: OnceCell::new() }
        });
        let count = wide.lanes.count();
        // A sum that wraps is a multiple still, as the number of components is a power of two.
        let is_whole = group.base.is_none_or(|base| facts.divisors.is_multiple(base, 1, count));
        let bounds = |access: &Access| {
            facts.bounds.get_or_init(|| BoundsMap::of(kernel, &facts.ranges)).is_inside(access.id)
        };
        let is_one = is_whole
            && (facts.divisors.length(kernel, group.memory).is_multiple_of(count.into())
                || members.iter().all(bounds));
        if !is_one || !self.has_view(group.memory, wide) {
            return None;
        }
        let mut in_order = group.accesses.iter().map(|(_, access)| access.id);
        let mut is_member = |id: &InstId| members.iter().any(|access| access.id == *id);
        let at = if group.is_store { in_order.rfind(&mut is_member) } else { in_order.find(is_member) }?;
        // The index of the first component, unless it is computed too late.
        let [first, ..] = members else { return None };
        let value = match group.base {
            _ if group.is_store || at == first.id => Some(first.index),
            base => base.filter(|_| start == 0),
        };
        let index = match (group.base, value) {
            (None, _) => {
                let added = start / u64::from(count);
                Index { ty: kernel.ty(first.index), base: None, added, step: Step::Nothing }
            }
            (Some(_), Some(value)) => {
                let step = divided(kernel, &facts.ranges, value, count);
                let base = match step {
                    Step::Nothing | Step::By(Op::Mul | Op::Shl, _) => {
                        op(kernel, value).map(|(_, [a, _])| a)?
                    }
                    Step::By(..) => value,
                };
                Index { ty: kernel.ty(value), base: Some(base), added: 0, step }
            }
            (Some(base), None) => {
                let step = Step::By(Op::Shr, u64::from(count.trailing_zeros()));
                Index { ty: kernel.ty(base), base: Some(base), added: start, step }
            }
        };
        let members = members.iter().map(|access| access.id).collect();
        Some(Plan { at, members, memory: group.memory, wide, index })
    }

    /// Returns whether the object has elements of type `wide` by some name, or may get a view.
    fn has_view(&self, memory: Memory, wide: Type) -> bool {
        let kernel = self.kernel;
        let is_new = |plan: &&Plan| alias(kernel, plan.memory, plan.wide).is_none();
        alias(kernel, memory, wide).is_some()
            || kernel.views.len() + self.plans.iter().filter(is_new).count() < MAX_DECLARATIONS
    }
}

/// Returns the step from an index, a multiple of `count`, to its quotient: from the value itself by a shift, or from the first
/// operand of a product that does not wrap.
fn divided(kernel: &Kernel, ranges: &RangeMap<'_>, value: ValueId, count: u32) -> Step {
    let (shift, count) = (u64::from(count.trailing_zeros()), u64::from(count));
    let by_shift = Step::By(Op::Shr, shift);
    if kernel.ty(value) != Type::scalar(ScalarType::U32) {
        return by_shift;
    }
    let Some((op, [a, b])) = op(kernel, value) else { return by_shift };
    let Some(literal) = kernel.literal(b).map(|literal| literal.bits) else { return by_shift };
    let is_product = op == Op::Mul;
    let factor = if is_product { literal } else { 1 << (literal % 32) };
    let wraps = u64::from(ranges.range(a).most) * factor > u64::from(u32::MAX);
    if !(is_product || op == Op::Shl) || wraps || !factor.is_multiple_of(count) {
        return by_shift;
    }
    match factor == count {
        true => Step::Nothing,
        false if is_product => Step::By(Op::Mul, factor / count),
        false => Step::By(Op::Shl, literal % 32 - shift),
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::{after, unchanged};

    /// Returns a kernel whose `%x`, `%y` and `%s` have vectors of four, `%p` of two, and `%z` none.
    fn kernel(body: &str) -> String {
        format!(
            "fulgurite 1\nkernel @k workgroup(64, 1, 1) {{\n  buffer %x: read f32[]\n  buffer %y: read_write f32[]\n  \
             buffer %z: read_write u32[]\n  buffer %p: read_write u32[]\n  param %n: u32\n  shared %s: u32[64]\n  \
             view %x4 = %x as f32x4[]\n  view %y4 = %y as u32x4[]\n  view %p2 = %p as u32x2[]\n  view %s4 = %s as u32x4[]\n  \
             require eq (rem (len %x), 4u32), 0u32\n  require eq (rem (len %y), 8u32), 0u32\n  \
             require eq (rem (len %z), 4u32), 0u32\n  %i = local_index\n  %b = mul %i, 4u32\n  %g = global_id.x\n  \
             %w = mul %g, 8u32\n  %b1 = add %b, 1u32\n  %b2 = add 2u32, %b\n  %b3 = add %b1, 2u32\n  %w4 = add %w, 4u32\n  \
             %w5 = add %w, 5u32\n  %w6 = add %w, 6u32\n  %w7 = add %w, 7u32\n{body}}}\n"
        )
    }

    /// Returns the lines of a kernel after the pass that access memory, or compute an index of such an access.
    fn lines(body: &str) -> Vec<String> {
        let text = after(&kernel(body), &super::PASS);
        let lines = text.lines().map(|line| line.trim().to_owned());
        lines.skip_while(|line| !line.starts_with("%w7 =")).skip(1).filter(|line| line != "}").collect()
    }

    const LOADS: &str = "  %c = load %x[%b2]\n  %a = load %x[%b]\n  %d = load %x[%b3]\n  %e = load %x[%b1]\n";

    #[test]
    fn loads_become_one_at_the_place_of_the_first() {
        let found = lines(&format!("{LOADS}  store %y[%g], %d\n  store %y[%n], %e\n"));
        assert!(found[0].ends_with(" = load %x4[%i]"), "{found:?}");
        let vector = found[0].split(' ').next().unwrap();
        let components = ["%a", "%e", "%c", "%d"].iter().zip(0..);
        let expected = components.map(|(name, place)| format!("{name} = extract {vector}, {place}u32"));
        assert_eq!(found[1..5], expected.collect::<Vec<_>>());
        assert_eq!(found[5..], ["store %y[%g], %d", "store %y[%n], %e"]);
    }

    #[test]
    fn stores_become_one_at_the_place_of_the_last() {
        let found = lines(
            "  store %y[%w5], 5.0f32\n  store %y[%w7], 7.0f32\n  %a = load %x[%n]\n  store %y[%w4], %a\n  store %z[%n], %n\n  \
             store %y[%w6], 6.0f32\n  %d = load %y[%n]\n  store %y[%n], %d\n",
        );
        // The product may wrap, so the sum is divided. `%y` has no view of floats yet.
        assert_eq!(found[..2], ["%a = load %x[%n]", "store %z[%n], %n"]);
        let [index, vector] = [2, 3].map(|line: usize| found[line].split_once(" = ").unwrap());
        assert_eq!([index.1, vector.1], ["shr %w4, 2u32", "construct %a, 5.0f32, 6.0f32, 7.0f32"]);
        assert_eq!(found[4], format!("store %y.x4[{}], {}", index.0, vector.0));
        assert_eq!(found.len(), 7);
    }

    #[test]
    fn literals_pairs_and_arrays_count() {
        let text = after(
            &kernel(
                "  %a = load %s[4u32]\n  %c = load %s[5u32]\n  %d = load %s[6u32]\n  %e = load %s[7u32]\n  %f = load %s[11u32]\n  \
                 %h = load %s[10u32]\n  store %z[%a], %c\n  store %z[%d], %e\n  store %z[%f], %h\n",
            ),
            &super::PASS,
        );
        assert!(text.contains(" = load %s4[1u32]\n") && text.contains(" = load %s.x2[5u32]\n"), "{text}");
        assert!(text.contains("view %s.x2 = %s as u32x2[]\n") && !text.contains("load %s["), "{text}");
    }

    #[test]
    fn accesses_that_are_inside_need_no_length() {
        let body = "  %m = len %p2\n  %c = lt %i, %m\n  %q = mul %i, 2u32\n  %r = add %q, 1u32\n  if %c {\n    \
                    store %p[%q], 1u32\n    store %p[%r], 2u32\n  }\n";
        let text = after(&kernel(body), &super::PASS);
        assert!(text.contains("store %p2[%i], "), "{text}");
        unchanged(&kernel(&body.replace("lt %i, %m", "le %i, %m")), &super::PASS);
        // One guard for both.
        let body = "  %q = mul %g, 2u32\n  %r = add %q, 1u32\n  %m = len %p\n  %c = lt %r, %m\n  if %c {\n    \
                    store %p[%q], 1u32\n    store %p[%r], 2u32\n  }\n";
        let text = after(&kernel(body), &super::PASS);
        assert!(text.contains("= shr %q, 1u32\n") && text.contains("store %p2["), "{text}");
        unchanged(&kernel(&body.replace("lt %r, %m", "lt %q, %m")), &super::PASS);
    }

    #[test]
    fn what_orders_or_observes_accesses_separates_them() {
        let halves =
            ["  %a = load %y[%b]\n  %c = load %y[%b1]\n  ", "  %d = load %y[%b2]\n  %e = load %y[%b3]\n"];
        let uses = "  store %y[%g], %a\n  store %y[%g], %c\n  store %y[%g], %d\n  store %y[%g], %e\n";
        let between = [
            ("store %y[%n], 1.0f32\n", false),
            ("store %y4[%n], %v\n", false),
            ("barrier[buffers]\n", false),
            ("fence[acquire]\n", false),
            ("%o = atomic.add %z[0u32], 1u32\n", false),
            ("%o = workgroup_broadcast %n, 0u32\n", false),
            ("if true {\n    store %y[%n], 1.0f32\n  }\n", false),
            ("for %j in 0u32 to %n step 1u32 {\n    store %y[%j], 1.0f32\n  }\n", false),
            ("store %z[%n], %n\n", true),
            ("%o = load %y[%n]\n", true),
            ("%o = load %y4[%n]\n", true),
            ("%o = mul %n, 3u32\n", true),
        ];
        let vector = "  %v = construct %n, %n, %n, %n\n";
        for (line, may_pass) in between {
            let loads = kernel(&format!("{vector}{}{line}{}{uses}", halves[0], halves[1]));
            let stores = "  store %y[%b], 1.0f32\n  store %y[%b1], 2.0f32\n  ";
            let rest = "  store %y[%b2], 3.0f32\n  store %y[%b3], 4.0f32\n";
            let stores = kernel(&format!("{vector}{stores}{line}{rest}"));
            let may_pass_stores = may_pass && !line.contains("load");
            for (text, may_pass) in [(loads, may_pass), (stores, may_pass_stores)] {
                let text = after(&text, &super::PASS);
                let (four, two) = (text.contains(" as f32x4[]\n  view"), text.contains(" as f32x2[]"));
                let four = four || text.contains("view %y.x4 =");
                let expected = if may_pass { (true, false) } else { (false, true) };
                assert_eq!((four && text.contains("%y.x4["), two), expected, "{line}{text}");
            }
        }
    }

    #[test]
    fn other_accesses_stay() {
        let uses = "  store %z[0u32], %n\n";
        for body in [
            // Three of four.
            "  store %y[%b1], 1.0f32\n  store %y[%b2], 2.0f32\n  %o = load %y[%b3]\n  store %z[%n], %n\n  store %y[%g], %o\n",
            // No multiple.
            "  %j = add %g, 1u32\n  store %y[%g], 1.0f32\n  store %y[%j], 2.0f32\n",
            // Next to each other, but not in one vector.
            "  store %y[%b1], 1.0f32\n  store %y[%b2], 2.0f32\n",
            // Not necessarily aligned wherever the buffer begins.
            "  store %z[%b], 1u32\n  store %z[%b1], 2u32\n",
            // One may be inside, and the other one not.
            "  store %p[%b], 1u32\n  store %p[%b1], 2u32\n",
            // The same element twice.
            "  store %y[%b], 1.0f32\n  store %y[%b], 2.0f32\n",
            // Larger than any vector that the object has.
            "  store %p[%b], 1u32\n  store %p[%b2], 2u32\n  store %p[%b3], 2u32\n  store %z[%b1], 2u32\n",
        ] {
            unchanged(&kernel(&format!("{body}{uses}")), &super::PASS);
        }
    }

    #[test]
    fn the_last_of_two_stores_to_an_element_wins() {
        let found = lines(
            "  store %y[%b], 1.0f32\n  store %y[%b], 2.0f32\n  store %y[%b1], 3.0f32\n  store %y[%b], 4.0f32\n",
        );
        let kinds: Vec<&str> = found.iter().map(|line| line.rsplit(" = ").next().unwrap()).collect();
        assert_eq!(kinds[..3], ["store %y[%b], 1.0f32", "mul %i, 2u32", "construct 2.0f32, 3.0f32"]);
        assert!(kinds[3].starts_with("store %y.x2[") && kinds[4] == "store %y[%b], 4.0f32", "{kinds:?}");
    }

    #[test]
    fn there_are_no_more_views_than_allowed() {
        let views = |count: usize| -> String {
            (0..count).map(|number| format!("  view %u{number} = %y as u32[]\n")).collect()
        };
        let body = "  store %y[%b], 1.0f32\n  store %y[%b1], 2.0f32\n";
        let with =
            |count: usize| kernel(body).replacen("  view %x4", &format!("{}  view %x4", views(count)), 1);
        unchanged(&with(60), &super::PASS);
        assert!(after(&with(59), &super::PASS).contains("store %y.x2["));
        let taken = with(1).replace("%u0 =", "%y.x2 =");
        assert!(after(&taken, &super::PASS).contains("store %vectors0["));
    }
}
