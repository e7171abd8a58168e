//! The pass `forward`: replaces a load of what the invocation stored or loaded before, if nothing can have changed it since.
//!
//! Other invocations may write between two accesses only across a barrier, a fence or an atomic: without one they race, and
//! then the language leaves open which value is loaded. What a kernel only reads nobody writes, as a launch binds a written
//! buffer once.

use std::cell::OnceCell;
use std::collections::HashMap;

use fulgurite_ir::analysis::{BoundsMap, Event, RangeMap, Walk, instructions};
use fulgurite_ir::{
    AtomicOrder, BlockId, BufferId, Control, InstId, InstKind, Kernel, LocalId, Memory, SharedId, ValueId,
};

use crate::Pass;
use crate::replacement::Replacement;

pub(crate) const PASS: Pass = Pass { name: "forward", fires, run };

fn fires(kernel: &Kernel) -> bool {
    is_candidate(kernel) && Contents::of(kernel).loads(kernel).1 > 0
}

fn run(kernel: &mut Kernel) -> usize {
    if !is_candidate(kernel) {
        return 0;
    }
    let (replacement, changes) = Contents::of(kernel).loads(kernel);
    if changes > 0 {
        replacement.everywhere(kernel);
    }
    changes
}

/// Returns whether there are two accesses to one memory object, of which the last is a load.
fn is_candidate(kernel: &Kernel) -> bool {
    let mut accessed: Vec<Memory> = Vec::new();
    let mut found = false;
    instructions(kernel).for_each(|id| {
        let (InstKind::Load { memory, .. } | InstKind::Store { memory, .. }) = kernel.inst(id).kind else {
            return;
        };
        if !accessed.contains(&memory) {
            accessed.push(memory);
        } else if let InstKind::Load { .. } = kernel.inst(id).kind {
            found = true;
        }
    });
    found
}

/// An index: equal ones are the same element.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Index {
    Literal(u64),
    Value(ValueId),
}

/// An element's value, known in a block and those nested in it until the element may be written.
struct Known {
    value: ValueId,
    home: BlockId,
    /// The number of times that elements like this one had been forgotten.
    age: u32,
}

/// A memory object that is no view.
#[derive(Clone, Copy, Default)]
struct Object {
    /// The number of times that its elements at computed indices were forgotten, and those at literal ones.
    ages: [u32; 2],
    /// Whether it has views, whose elements overlap its own.
    has_views: bool,
    /// Whether other invocations may write to it.
    is_shared: bool,
}

/// The known values of memory elements at a point of a walk.
struct Contents {
    /// In the order of [`position`].
    objects: Vec<Object>,
    known: HashMap<(Memory, Index), Known>,
    is_open: Vec<bool>,
    open: Vec<BlockId>,
    writes: Writes,
}

impl Contents {
    fn of(kernel: &Kernel) -> Self {
        let mut objects = vec![Object::default(); count(kernel)];
        for (index, object) in objects.iter_mut().enumerate() {
            let memory = at_position(kernel, index);
            object.has_views = kernel.views_of(memory).next().is_some();
            object.is_shared = !matches!(memory, Memory::Local(_)) && kernel.access(memory).can_write();
        }
        Self {
            objects,
            known: HashMap::new(),
            is_open: vec![false; kernel.blocks.len()],
            open: Vec::new(),
            writes: Writes::of(kernel),
        }
    }

    /// Returns what replaces each load, and the number of loads that are replaced.
    fn loads(mut self, kernel: &Kernel) -> (Replacement, usize) {
        let mut replacement = Replacement::none(kernel);
        let bounds = OnceCell::new();
        let is_inside = |store: InstId| {
            bounds.get_or_init(|| BoundsMap::of(kernel, &RangeMap::of(kernel))).is_inside(store)
        };
        let mut changes = 0;
        Walk::new(kernel).for_each(|event| match event {
            Event::Enter(block) => {
                self.is_open[block.index()] = true;
                self.open.push(block);
            }
            Event::Exit(block) => {
                self.is_open[block.index()] = false;
                self.open.pop();
            }
            Event::Inst(id) => {
                let inst = kernel.inst(id);
                if let (&InstKind::Load { memory, index }, [result]) = (&inst.kind, &inst.results[..]) {
                    let index = index_of(kernel, replacement.of(index));
                    match self.value(kernel, memory, index) {
                        Some(value) => {
                            replacement.replace(*result, value);
                            changes += 1;
                        }
                        None => self.learn(kernel, memory, index, *result),
                    }
                    return;
                }
                self.forget_written(kernel, id);
                if let InstKind::Store { memory, index, value } = inst.kind {
                    let index = index_of(kernel, replacement.of(index));
                    // A store out of bounds stores nothing. Whether it is one matters only where a load follows.
                    if self.writes.is_loaded(kernel, memory) && is_inside(id) {
                        self.learn(kernel, memory, index, replacement.of(value));
                    }
                }
            }
            Event::Done(_) => {}
        });
        (replacement, changes)
    }

    fn value(&self, kernel: &Kernel, memory: Memory, index: Index) -> Option<ValueId> {
        let known = self.known.get(&(memory, index))?;
        let object = &self.objects[position(kernel, memory)];
        (known.age == age(object, index) && self.is_open[known.home.index()]).then_some(known.value)
    }

    fn learn(&mut self, kernel: &Kernel, memory: Memory, index: Index, value: ValueId) {
        let Some(home) = self.open.last().copied() else { return };
        let age = age(&self.objects[position(kernel, memory)], index);
        self.known.insert((memory, index), Known { value, home, age });
    }

    /// Forgets the elements that an instruction, or one nested in it, may write.
    fn forget_written(&mut self, kernel: &Kernel, id: InstId) {
        match &kernel.inst(id).kind {
            InstKind::Store { memory, index, .. } => match index_of(kernel, *index) {
                Index::Literal(_) if !self.objects[position(kernel, *memory)].has_views => {
                    let object = &mut self.objects[position(kernel, *memory)];
                    object.ages[0] += 1;
                    self.known.remove(&(*memory, index_of(kernel, *index)));
                }
                Index::Literal(_) | Index::Value(_) => self.forget(position(kernel, *memory)),
            },
            InstKind::Atomic { memory, order, .. } => {
                self.forget(position(kernel, *memory));
                if *order != AtomicOrder::Relaxed {
                    self.forget_shared();
                }
            }
            InstKind::CoopStore { memory, .. } => self.forget(position(kernel, *memory)),
            InstKind::Fence { .. }
            | InstKind::Barrier { .. }
            | InstKind::SubgroupBarrier { .. }
            | InstKind::WorkgroupBroadcast { .. } => self.forget_shared(),
            // An iteration may load what the previous one stored.
            InstKind::For { .. } | InstKind::While { .. } => {
                for index in 0..self.objects.len() {
                    if self.writes.are_in(id, index, self.objects[index].is_shared) {
                        self.forget(index);
                    }
                }
            }
            InstKind::Scalar { .. }
            | InstKind::VecShuffle { .. }
            | InstKind::Id { .. }
            | InstKind::Load { .. }
            | InstKind::Len { .. }
            | InstKind::Subgroup { .. }
            | InstKind::CoopLoad { .. }
            | InstKind::CoopFill { .. }
            | InstKind::CoopMulAdd { .. }
            | InstKind::CoopConvert { .. }
            | InstKind::Trap { .. }
            | InstKind::If { .. }
            | InstKind::Region { .. } => {}
        }
    }

    fn forget(&mut self, object: usize) {
        self.objects[object].ages.iter_mut().for_each(|age| *age += 1);
    }

    fn forget_shared(&mut self) {
        for object in self.objects.iter_mut().filter(|object| object.is_shared) {
            object.ages.iter_mut().for_each(|age| *age += 1);
        }
    }
}

fn age(object: &Object, index: Index) -> u32 {
    object.ages[usize::from(matches!(index, Index::Literal(_)))]
}

fn index_of(kernel: &Kernel, value: ValueId) -> Index {
    kernel.literal(value).map_or(Index::Value(value), |literal| Index::Literal(literal.bits))
}

/// Where in a walk memory is written.
struct Writes {
    /// For each object, the numbers of the instructions that write to it, in order.
    at: Vec<Vec<u32>>,
    /// The same of the instructions after which what others wrote may be seen.
    seen_at: Vec<u32>,
    /// For each loop, the numbers of the first instruction in it and of the first behind it.
    spans: HashMap<InstId, [u32; 2]>,
    /// Whether each object is loaded from.
    loaded: Vec<bool>,
}

impl Writes {
    fn of(kernel: &Kernel) -> Self {
        let objects = count(kernel);
        let mut writes = Self {
            at: vec![Vec::new(); objects],
            seen_at: Vec::new(),
            spans: HashMap::new(),
            loaded: vec![false; objects],
        };
        let mut number = 0;
        Walk::new(kernel).for_each(|event| match event {
            Event::Enter(_) | Event::Exit(_) => {}
            Event::Inst(id) => {
                writes.note(kernel, id, number);
                number += 1;
            }
            Event::Done(id) => {
                if let Some(span) = writes.spans.get_mut(&id) {
                    span[1] = number;
                }
            }
        });
        writes
    }

    fn note(&mut self, kernel: &Kernel, id: InstId, number: u32) {
        let kind = &kernel.inst(id).kind;
        match kind {
            InstKind::Store { memory, .. } | InstKind::CoopStore { memory, .. } => {
                self.at[position(kernel, *memory)].push(number);
            }
            InstKind::Atomic { memory, order, .. } => {
                self.at[position(kernel, *memory)].push(number);
                if *order != AtomicOrder::Relaxed {
                    self.seen_at.push(number);
                }
            }
            InstKind::Load { memory, .. } => self.loaded[position(kernel, *memory)] = true,
            InstKind::Fence { .. }
            | InstKind::Barrier { .. }
            | InstKind::SubgroupBarrier { .. }
            | InstKind::WorkgroupBroadcast { .. } => self.seen_at.push(number),
            InstKind::For { .. } | InstKind::While { .. } | InstKind::If { .. } | InstKind::Region { .. } => {
                if kind.control().is_some_and(Control::is_loop) {
                    self.spans.insert(id, [number + 1, number + 1]);
                }
            }
            InstKind::Scalar { .. }
            | InstKind::VecShuffle { .. }
            | InstKind::Id { .. }
            | InstKind::Len { .. }
            | InstKind::Subgroup { .. }
            | InstKind::CoopLoad { .. }
            | InstKind::CoopFill { .. }
            | InstKind::CoopMulAdd { .. }
            | InstKind::CoopConvert { .. }
            | InstKind::Trap { .. } => {}
        }
    }

    /// Returns whether the object may change within a loop.
    fn are_in(&self, id: InstId, object: usize, is_shared: bool) -> bool {
        let Some([from, to]) = self.spans.get(&id).copied() else { return true };
        let within = |numbers: &[u32]| {
            let first = numbers.partition_point(|number| *number < from);
            numbers.get(first).is_some_and(|number| *number < to)
        };
        within(&self.at[object]) || is_shared && within(&self.seen_at)
    }

    fn is_loaded(&self, kernel: &Kernel, memory: Memory) -> bool {
        self.loaded[position(kernel, memory)]
    }
}

/// Returns the number of memory objects that are no views.
fn count(kernel: &Kernel) -> usize {
    kernel.buffers.len() + kernel.shared.len() + kernel.locals.len()
}

/// Returns the position of a memory object, or of what it is a view of, among all that are no views.
fn position(kernel: &Kernel, memory: Memory) -> usize {
    let (buffers, arrays) = (kernel.buffers.len(), kernel.shared.len());
    match kernel.base(memory) {
        Memory::Buffer(id) => id.index(),
        Memory::Shared(id) => buffers + id.index(),
        Memory::Local(id) => buffers + arrays + id.index(),
        // A view's base is no view.
        Memory::View(_) => 0,
    }
}

/// The inverse of [`position`].
fn at_position(kernel: &Kernel, position: usize) -> Memory {
    let (buffers, arrays) = (kernel.buffers.len(), kernel.shared.len());
    match position {
        _ if position < buffers => Memory::Buffer(BufferId::new(position)),
        _ if position < buffers + arrays => Memory::Shared(SharedId::new(position - buffers)),
        _ => Memory::Local(LocalId::new(position - buffers - arrays)),
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::{after, unchanged};

    fn kernel(body: &str) -> String {
        format!(
            "fulgurite 1\nkernel @k workgroup(64, 1, 1) {{\n  buffer %r: read u32[]\n  buffer %b: read_write u32[]\n  \
             buffer %c: read_write u32[]\n  param %n: u32\n  shared %s: u32[64]\n  local %l: u32[4]\n  view %v = %c as u32x2[]\n  %i = local_index\n{body}}}\n"
        )
    }

    #[test]
    fn loads_repeat_until_the_element_may_be_written() {
        let text = after(
            &kernel(
                "  %x = load %b[%i]\n  store %c[%i], %x\n  barrier[shared]\n  %y = load %r[%n]\n  if true {\n    \
                 %z = load %r[%n]\n    store %b[%i], %z\n  }\n  %w = load %r[%n]\n  store %c[%w], %y\n",
            ),
            &super::PASS,
        );
        assert!(text.contains("store %b[%i], %y\n") && text.contains("store %c[%y], %y\n"), "{text}");
    }

    #[test]
    fn stores_are_forwarded_where_they_are_in_bounds() {
        let text = after(
            &kernel(
                "  store %l[1u32], %i\n  store %l[2u32], %n\n  store %s[%i], %n\n  %x = load %l[1u32]\n  %y = load %l[2u32]\n  \
                 %z = load %s[%i]\n  store %b[%x], %y\n  store %b[%y], %z\n",
            ),
            &super::PASS,
        );
        assert!(text.contains("store %b[%i], %n\n") && text.contains("store %b[%n], %n\n"), "{text}");
    }

    #[test]
    fn loops_keep_what_they_do_not_write() {
        let text = after(
            &kernel(
                "  %x = load %b[%i]\n  for %j in 0u32 to %n step 1u32 {\n    %y = load %b[%i]\n    store %c[%y], %x\n    \
                 %z = load %c[%j]\n    store %c[%z], %y\n  }\n",
            ),
            &super::PASS,
        );
        assert!(text.contains("store %c[%x], %x\n") && text.contains("store %c[%z], %x\n"), "{text}");
    }

    #[test]
    fn what_may_have_changed_is_loaded_again() {
        for between in [
            "store %b[%n], %i",
            "store %b[0u32], %i",
            "barrier[buffers]",
            "fence[acquire]",
            "%a = atomic.add %b[%n], 1u32",
            "%a = atomic.load[acquire] %c[%n]",
            "for %j in 0u32 to %n step 1u32 {\n    store %b[%j], %i\n  }",
            "if true {\n    store %b[%n], %i\n  }",
        ] {
            let body = format!("  %x = load %b[%i]\n  {between}\n  %y = load %b[%i]\n  store %c[%x], %y\n");
            unchanged(&kernel(&body), &super::PASS);
        }
        // A store out of bounds stores nothing.
        unchanged(&kernel("  store %b[%i], %n\n  %x = load %b[%i]\n  store %c[0u32], %x\n"), &super::PASS);
        // Elements of a view overlap.
        unchanged(
            &kernel(
                "  %x = load %c[1u32]\n  %p = construct %x, %n\n  store %v[0u32], %p\n  %y = load %c[1u32]\n  store %b[%x], %y\n",
            ),
            &super::PASS,
        );
        // The iteration before may have written.
        unchanged(
            &kernel(
                "  store %l[1u32], %i\n  for %j in 0u32 to %n step 1u32 {\n    %x = load %l[1u32]\n    store %b[%j], %x\n    \
                 store %l[1u32], %j\n  }\n",
            ),
            &super::PASS,
        );
        // Known in one arm only.
        unchanged(
            &kernel(
                "  %g = lt %i, %n\n  if %g {\n    %x = load %b[%i]\n    store %c[0u32], %x\n  } else {\n    %y = load %b[%i]\n    \
                 store %c[1u32], %y\n  }\n",
            ),
            &super::PASS,
        );
    }
}
