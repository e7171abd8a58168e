//! The pass `common`: computes a value once that several instructions compute from the same operands.

use fulgurite_ir::analysis::{Event, Walk};
use fulgurite_ir::{BlockId, FloatMode, InstId, Kernel, Memory, PureInst, ValueId};
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
        let (form, result) = form(kernel, inst)?;
        let block = *self.open.last()?;
        let hash = form.hash();
        let (tag, mut at) = ((hash >> 32) as u32, hash as usize);
        loop {
            at &= self.slots.len() - 1;
            let slot = &mut self.slots[at];
            if slot.inst != Slot::EMPTY.inst {
                let earlier = if slot.tag == tag { self::form(kernel, slot.inst) } else { None };
                let Some((_, value)) = earlier.filter(|(earlier, _)| *earlier == form) else {
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
    let mut ordered = [u32::MAX; MAX_SCALAR_OPERANDS];
    for (place, value) in ordered.get_mut(..operands.len())?.iter_mut().zip(operands) {
        *place = value.index() as u32;
    }
    if let ([a, b, _, _], Op::Add | Op::Mul | Op::And | Op::Or | Op::Xor | Op::Eq | Op::Ne) =
        (&mut ordered, op)
        && a > b
    {
        core::mem::swap(a, b);
    }
    Some(ordered)
}

impl Form {
    /// Returns a hash: a multiplication by the golden ratio's odd 64-bit number after each word (Fibonacci hashing, Knuth, The Art
    /// of Computer Programming, volume 3, section 6.4). Nobody gains by kernels that collide: the pass is slow for them.
    fn hash(&self) -> u64 {
        let mix = |hash: u64, word: u64| (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let pair = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
        let hash = match *self {
            // The type is left out: operands of equal ops on equal values nearly always have one result type.
            Self::Scalar(_, op, mode, [a, b, c, d]) => {
                mix(mix(pair(u32::from(op as u16), mode as u32), pair(a, b)), pair(c, d))
            }
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
        // The table uses the lowest bits, and a product's lowest are the least mixed.
        hash ^ hash >> 32
    }
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
