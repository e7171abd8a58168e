//! The pass `common`: computes a value once that several instructions compute from the same operands.

use fulgurite_ir::analysis::{Event, Walk};
use fulgurite_ir::{BlockId, FloatMode, InstId, InstKind, Kernel, Memory, PureInst, ValueId};
use fulgurite_spec::limits::MAX_SCALAR_OPERANDS;
use fulgurite_spec::{Op, Type};

use crate::Pass;
use crate::replacement::Replacement;
use crate::scan::events;

pub(crate) const PASS: Pass = Pass { name: "common", fires, run };

/// The computation of an instruction without effects: equal forms have equal results. Unused places are the largest number.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Form {
    Scalar(Type, Op, FloatMode, [u32; MAX_SCALAR_OPERANDS]),
    Shuffle([u8; MAX_SCALAR_OPERANDS], [u32; 2]),
    Id(Op, u8),
    Len(Memory),
}

/// A hash table of the values that are visible at a point of a walk, by form. It holds instructions instead of forms, which
/// are found again in the kernel, so that the table of a large kernel stays small.
struct Known {
    /// A power of two, more than instructions are added. Probed linearly.
    slots: Vec<Slot>,
    /// The blocks of the instructions added.
    homes: Vec<BlockId>,
    /// The open blocks, by id.
    is_open: Vec<bool>,
    /// The same in order, the innermost last.
    open: Vec<BlockId>,
}

#[derive(Clone, Copy)]
struct Slot {
    /// The upper half of the hash.
    tag: u32,
    inst: InstId,
}

impl Slot {
    const EMPTY: Self = Self { tag: 0, inst: InstId::new(u32::MAX as usize) };
}

impl Known {
    fn new(kernel: &Kernel) -> Self {
        let (insts, blocks) = (kernel.insts.len(), kernel.blocks.len());
        Self {
            slots: vec![Slot::EMPTY; (insts + insts / 8 + 1).next_power_of_two()],
            homes: vec![kernel.body; insts],
            is_open: vec![false; blocks],
            open: Vec::new(),
        }
    }

    fn enter(&mut self, block: BlockId) {
        self.is_open[block.index()] = true;
        self.open.push(block);
    }

    fn exit(&mut self) {
        if let Some(block) = self.open.pop() {
            self.is_open[block.index()] = false;
        }
    }

    /// Returns the result of `inst` and the visible value that equals it, or adds the result.
    fn find(&mut self, kernel: &Kernel, inst: InstId) -> Option<(ValueId, ValueId)> {
        let block = *self.open.last()?;
        let (hash, result) = hash(kernel, inst)?;
        let (tag, mut at) = ((hash >> 32) as u32, hash as usize);
        loop {
            at &= self.slots.len() - 1;
            let slot = &mut self.slots[at];
            if slot.inst != Slot::EMPTY.inst {
                let equal = if slot.tag == tag { equal(kernel, slot.inst, inst) } else { None };
                let Some(value) = equal else {
                    at += 1;
                    continue;
                };
                if self.is_open[self.homes[slot.inst.index()].index()] {
                    return Some((result, value));
                }
                // A block that was left is not entered again, so this one takes the place.
            }
            *slot = Slot { tag, inst };
            self.homes[inst.index()] = block;
            return None;
        }
    }
}

fn fires(kernel: &Kernel) -> bool {
    let mut known = Known::new(kernel);
    let mut found = false;
    Walk::new(kernel).for_each(|event| match event {
        Event::Enter(block) => known.enter(block),
        Event::Exit(_) => known.exit(),
        Event::Inst(id) => found = found || known.find(kernel, id).is_some(),
        Event::Done(_) => {}
    });
    found
}

fn run(kernel: &mut Kernel) -> usize {
    let mut replacement = Replacement::none(kernel);
    let mut known = Known::new(kernel);
    let mut changes = 0;
    for event in events(kernel) {
        match event {
            Event::Enter(block) => known.enter(block),
            Event::Exit(_) => known.exit(),
            Event::Inst(id) => {
                replacement.in_operands(kernel, id);
                if let Some((result, first)) = known.find(kernel, id) {
                    replacement.replace(result, first);
                    changes += 1;
                }
            }
            Event::Done(_) => {}
        }
    }
    if changes > 0 {
        replacement.in_terminators(kernel);
    }
    changes
}

/// Returns the hash of an instruction's form, and its result.
fn hash(kernel: &Kernel, inst: InstId) -> Option<(u64, ValueId)> {
    let data = kernel.inst(inst);
    // Most instructions are ops, whose form is not needed yet.
    if let (InstKind::Scalar { op, operands, mode }, [result]) = (&data.kind, &*data.results) {
        return Some((hash_of_op(*op, *mode, ordered(*op, operands)?), *result));
    }
    form(kernel, inst).map(|(form, result)| (form.hash(), result))
}

/// Returns the result of `earlier` if `inst` has the same form.
fn equal(kernel: &Kernel, earlier: InstId, inst: InstId) -> Option<ValueId> {
    let [(earlier, result), (form, _)] = [form(kernel, earlier)?, form(kernel, inst)?];
    (earlier == form).then_some(result)
}

/// Returns the form and the result of an instruction whose result depends on its operands alone.
#[inline]
fn form(kernel: &Kernel, inst: InstId) -> Option<(Form, ValueId)> {
    let inst = kernel.inst(inst);
    let [result] = *inst.results else { return None };
    let form = match inst.kind.pure()? {
        PureInst::Scalar { op, operands, mode } => {
            Form::Scalar(kernel.ty(result), op, mode, ordered(op, operands)?)
        }
        PureInst::VecShuffle { components, vectors } => {
            let mut places = [u8::MAX; MAX_SCALAR_OPERANDS];
            places.get_mut(..components.len())?.copy_from_slice(components);
            Form::Shuffle(places, vectors.map(|value| value.index() as u32))
        }
        PureInst::Id { op, component } => Form::Id(op, component),
        PureInst::Len { memory } => Form::Len(memory),
    };
    Some((form, result))
}

/// Returns the operands, in one order where their order does not matter.
fn ordered(op: Op, operands: &[ValueId]) -> Option<[u32; MAX_SCALAR_OPERANDS]> {
    const NONE: u32 = u32::MAX;
    let number = |value: ValueId| value.index() as u32;
    // Most ops have two operands.
    Some(match *operands {
        [a, b] if a > b && is_commutative(op) => [number(b), number(a), NONE, NONE],
        [a, b] => [number(a), number(b), NONE, NONE],
        [a] => [number(a), NONE, NONE, NONE],
        [a, b, c] => [number(a), number(b), number(c), NONE],
        [a, b, c, d] => [a, b, c, d].map(number),
        _ => return None,
    })
}

fn is_commutative(op: Op) -> bool {
    matches!(op, Op::Add | Op::Mul | Op::And | Op::Or | Op::Xor | Op::Eq | Op::Ne)
}

impl Form {
    fn hash(&self) -> u64 {
        let hash = match *self {
            Self::Scalar(_, op, mode, operands) => return hash_of_op(op, mode, operands),
            Self::Shuffle(components, [a, b]) => mix(u64::from(u32::from_le_bytes(components)), pair(a, b)),
            Self::Id(op, component) => mix(pair(u32::from(op as u16), u32::from(component)), 0),
            Self::Len(memory) => {
                let (kind, index) = match memory {
                    Memory::Buffer(id) => (0, id.index()),
                    Memory::Shared(id) => (1, id.index()),
                    Memory::Local(id) => (2, id.index()),
                    Memory::View(id) => (3, id.index()),
                };
                mix(pair(index as u32, kind), 1)
            }
        };
        folded(hash)
    }
}

/// Returns the hash of the form of an op. The type is left out: equal ops on equal values nearly always have one result type.
fn hash_of_op(op: Op, mode: FloatMode, [a, b, c, d]: [u32; MAX_SCALAR_OPERANDS]) -> u64 {
    folded(mix(mix(pair(u32::from(op as u16), mode as u32), pair(a, b)), pair(c, d)))
}

/// Adds a word to a hash: a multiplication by the golden ratio's odd 64-bit number (Fibonacci hashing, Knuth, The Art of Computer
/// Programming, volume 3, section 6.4). Nobody gains by kernels that collide: the pass is slow for them.
fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// The table uses the lowest bits, and a product's lowest are the least mixed.
fn folded(hash: u64) -> u64 {
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use crate::tests::{after, unchanged};

    const TWICE: &str = "fulgurite 1
kernel @k workgroup(64, 1, 1) {
  buffer %b: read_write u32[]
  %i = global_id.x
  %j = global_id.x
  %x = load %b[%i]
  %p = mul %x, %i
  %q = mul %j, %x
  %s = add %p, %q
  store %b[%j], %s
}
";

    #[test]
    fn equal_values_are_computed_once() {
        let text = after(TWICE, &super::PASS);
        assert!(text.contains("%s = add %p, %p\n") && text.contains("store %b[%i], %s\n"), "{text}");
    }

    #[test]
    fn loads_and_values_of_other_blocks_are_not_merged() {
        unchanged(
            "fulgurite 1
kernel @k workgroup(1, 1, 1) {
  buffer %b: read_write u32[]
  %x = load %b[0u32]
  store %b[1u32], %x
  %y = load %b[0u32]
  %c = lt %x, %y
  if %c {
    %p = add %x, 1u32
    store %b[2u32], %p
  } else {
    %q = add %x, 1u32
    store %b[3u32], %q
  }
  %d = sub %x, %y
  %e = sub %y, %x
  %f = add %d, %e
  store %b[4u32], %f
}
",
            &super::PASS,
        );
    }
}
