//! A walk over a kernel's blocks in program order, without recursion.

use crate::kernel::{BlockId, Control, InstId, InstKind, Kernel, Terminator, ValueId};

/// A step of a [`Walk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The start of a block. Its parameters are now defined.
    Enter(BlockId),
    /// The start of an instruction, which reads its operands. Nested blocks follow.
    Inst(InstId),
    /// The end of an instruction. Its results are now defined.
    Done(InstId),
    /// The end of a block. The end of a `while` header follows its body, in which the header's values are visible.
    Exit(BlockId),
}

enum Pending<'a> {
    /// Continues a block at the first of these instructions.
    Resume(BlockId, core::slice::Iter<'a, InstId>),
    Begin(BlockId),
    Finish(InstId),
    /// Ends a block.
    End(BlockId),
}

/// An iterator over the events of a kernel in program order.
///
/// Ids must be in range and blocks must form a tree, as the structure pass of the verifier checks.
pub struct Walk<'a> {
    kernel: &'a Kernel,
    /// The current block, or `None` if the stack determines the next event.
    block: Option<BlockId>,
    /// The remaining instructions of the current block.
    rest: core::slice::Iter<'a, InstId>,
    /// An instruction without blocks that has begun and is completed next.
    begun: Option<InstId>,
    stack: Vec<Pending<'a>>,
    /// Bodies of `while` loops, entered after the instructions of their headers.
    bodies: Vec<(BlockId, BlockId)>,
}

impl<'a> Walk<'a> {
    /// Creates a walk over all of `kernel`.
    pub fn new(kernel: &'a Kernel) -> Self {
        let stack = vec![Pending::Begin(kernel.body)];
        Self { kernel, block: None, rest: [].iter(), begun: None, stack, bodies: Vec::new() }
    }

    /// Schedules the blocks of an instruction, its end, and the rest of the current block.
    fn descend(&mut self, id: InstId, blocks: &[BlockId]) {
        if let Some(block) = self.block.take() {
            self.stack.push(Pending::Resume(block, core::mem::take(&mut self.rest)));
        }
        self.stack.push(Pending::Finish(id));
        self.stack.extend(blocks.iter().rev().map(|block| Pending::Begin(*block)));
    }

    /// Returns the event before the first or after the last instruction of a block, or `None` if an instruction is
    /// next.
    fn turn(&mut self) -> Option<Event> {
        if let Some(block) = self.block.take() {
            self.stack.push(Pending::End(block));
            if self.bodies.last().is_some_and(|(header, _)| *header == block)
                && let Some((_, body)) = self.bodies.pop()
            {
                self.stack.push(Pending::Begin(body));
            }
        }
        match self.stack.pop()? {
            Pending::Begin(block) => {
                self.block = Some(block);
                self.rest = self.kernel.block(block).insts.iter();
                Some(Event::Enter(block))
            }
            Pending::Resume(block, rest) => {
                (self.block, self.rest) = (Some(block), rest);
                None
            }
            Pending::Finish(id) => Some(Event::Done(id)),
            Pending::End(block) => Some(Event::Exit(block)),
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if let Some(id) = self.begun.take() {
            return Some(Event::Done(id));
        }
        loop {
            let Some(id) = self.rest.next().copied() else {
                if self.block.is_none() && self.stack.is_empty() {
                    return None;
                }
                match self.turn() {
                    None => continue,
                    event => return event,
                }
            };
            match self.kernel.inst(id).kind.control() {
                None => self.begun = Some(id),
                Some(Control::If { then_block, else_block, .. }) => {
                    self.descend(id, &[then_block, else_block]);
                }
                Some(Control::For { body, .. } | Control::Region { body, .. }) => self.descend(id, &[body]),
                Some(Control::While { header, body, .. }) => {
                    self.bodies.push((header, body));
                    self.descend(id, &[header]);
                }
            }
            return Some(Event::Inst(id));
        }
    }

    /// Runs through instructions without blocks in a tight loop, so `for_each` is faster than a `for` over the walk.
    #[inline]
    fn fold<B, F: FnMut(B, Event) -> B>(mut self, init: B, mut each: F) -> B {
        let mut result = init;
        loop {
            while self.begun.is_none()
                && let [id, ..] = *self.rest.as_slice()
                && self.kernel.inst(id).kind.control().is_none()
            {
                self.rest.next();
                result = each(result, Event::Inst(id));
                result = each(result, Event::Done(id));
            }
            match self.next() {
                Some(event) => result = each(result, event),
                None => return result,
            }
        }
    }
}

/// Returns the instructions that a kernel runs, in program order. The arena may contain unreachable instructions,
/// which are not verified and must be ignored.
pub fn instructions(kernel: &Kernel) -> Instructions<'_> {
    Instructions { kernel, rest: kernel.block(kernel.body).insts.iter(), outer: Vec::new() }
}

/// An iterator over the instructions that a kernel runs, created by [`instructions`].
pub struct Instructions<'a> {
    kernel: &'a Kernel,
    rest: core::slice::Iter<'a, InstId>,
    /// The instructions left in other blocks; those visited next are last.
    outer: Vec<core::slice::Iter<'a, InstId>>,
}

impl Iterator for Instructions<'_> {
    type Item = InstId;

    fn next(&mut self) -> Option<InstId> {
        loop {
            if let Some(id) = self.rest.next().copied() {
                if let Some(control) = self.kernel.inst(id).kind.control() {
                    self.outer.push(core::mem::take(&mut self.rest));
                    let iter = |block: BlockId| self.kernel.block(block).insts.iter();
                    self.outer.extend(control.blocks().rev().map(iter));
                }
                return Some(id);
            }
            self.rest = self.outer.pop()?;
        }
    }

    /// Runs through instructions without blocks in a tight loop, as the walk does.
    #[inline]
    fn fold<B, F: FnMut(B, InstId) -> B>(mut self, init: B, mut each: F) -> B {
        let mut result = init;
        loop {
            while let [id, ..] = *self.rest.as_slice()
                && self.kernel.inst(id).kind.control().is_none()
            {
                self.rest.next();
                result = each(result, id);
            }
            match self.next() {
                Some(id) => result = each(result, id),
                None => return result,
            }
        }
    }
}

/// Returns the operands of an instruction, without those of its nested blocks.
#[inline]
pub fn operands(kind: &InstKind) -> OperandsOf<'_> {
    match kind {
        InstKind::Scalar { operands, .. } | InstKind::Subgroup { operands, .. } => {
            OperandsOf::new([], operands)
        }
        InstKind::Id { .. }
        | InstKind::Len { .. }
        | InstKind::Fence { .. }
        | InstKind::Barrier { .. }
        | InstKind::SubgroupBarrier { .. }
        | InstKind::Region { .. } => OperandsOf::new([], &[]),
        InstKind::VecShuffle { vectors, .. } => OperandsOf::new([], vectors),
        InstKind::WorkgroupBroadcast { value, index } => OperandsOf::new([*value, *index], &[]),
        InstKind::CoopLoad { offset, stride, .. } => OperandsOf::new([*offset, *stride], &[]),
        InstKind::CoopStore { offset, stride, value, .. } => OperandsOf::new([*offset, *stride, *value], &[]),
        InstKind::CoopFill { value } | InstKind::CoopConvert { value } => OperandsOf::new([*value], &[]),
        InstKind::CoopMulAdd { a, b, c } => OperandsOf::new([*a, *b, *c], &[]),
        InstKind::Trap { code } => OperandsOf::new([*code], &[]),
        InstKind::Load { index, .. } => OperandsOf::new([*index], &[]),
        InstKind::Store { index, value, .. } => OperandsOf::new([*index, *value], &[]),
        InstKind::Atomic { index, operands, .. } => OperandsOf::new([*index], operands),
        InstKind::If { condition, .. } => OperandsOf::new([*condition], &[]),
        InstKind::For { start, end, step, initial, .. } => OperandsOf::new([*start, *end, *step], initial),
        InstKind::While { initial, .. } => OperandsOf::new([], initial),
    }
}

/// Calls `each` with every operand of an instruction. Faster than [`operands`] for ops, which most instructions are.
#[inline]
pub(crate) fn for_each_operand(kind: &InstKind, each: impl FnMut(ValueId)) {
    if let InstKind::Scalar { operands, .. } = kind {
        operands.iter().copied().for_each(each);
    } else {
        operands(kind).for_each(each);
    }
}

/// The conditions that hold in the arms of the `if`s and the bodies of the `while`s of a walk.
#[derive(Default)]
pub struct Assumptions {
    /// The conditions of blocks that are entered later, and whether each is true or false; the next block last.
    later: Vec<(BlockId, ValueId, bool)>,
}

impl Assumptions {
    /// Notes the conditions of the blocks of an instruction, at its [`Event::Inst`].
    #[inline]
    pub fn note(&mut self, kernel: &Kernel, id: InstId) {
        match kernel.inst(id).kind.control() {
            Some(Control::If { condition, then_block, else_block }) => {
                self.later.extend([(else_block, condition, false), (then_block, condition, true)]);
            }
            Some(Control::While { header, body, .. }) => {
                if let Terminator::Condition(go) = kernel.block(header).terminator {
                    self.later.push((body, go, true));
                }
            }
            Some(Control::For { .. } | Control::Region { .. }) | None => {}
        }
    }

    /// Returns the condition that holds in a block, and whether it is true or false, at its [`Event::Enter`].
    pub fn enter(&mut self, block: BlockId) -> Option<(ValueId, bool)> {
        self.later.pop_if(|(next, ..)| *next == block).map(|(_, condition, holds)| (condition, holds))
    }
}

/// Returns for each value whether an instruction that runs, or the terminator of its blocks, uses it.
pub fn used_values(kernel: &Kernel) -> Vec<bool> {
    let mut used = vec![false; kernel.values.len()];
    instructions(kernel).for_each(|id| {
        let kind = &kernel.inst(id).kind;
        for_each_operand(kind, |value| used[value.index()] = true);
        // Not of all blocks: passes leave unreachable blocks behind.
        for block in kind.control().into_iter().flat_map(Control::blocks) {
            match &kernel.block(block).terminator {
                Terminator::Yield(values) => values.iter().for_each(|value| used[value.index()] = true),
                Terminator::Condition(value) => used[value.index()] = true,
                Terminator::Return => {}
            }
        }
    });
    used
}

/// An iterator over the operands of an instruction, created by [`operands`].
pub struct OperandsOf<'a> {
    /// The operands that are fields of their own; the first `count` are used, those before `next` were yielded.
    fixed: [ValueId; 3],
    next: u8,
    count: u8,
    list: core::slice::Iter<'a, ValueId>,
}

impl<'a> OperandsOf<'a> {
    #[inline]
    fn new<const N: usize>(fixed: [ValueId; N], list: &'a [ValueId]) -> Self {
        let mut all = [ValueId::new(0); 3];
        all[..N].copy_from_slice(&fixed);
        Self { fixed: all, next: 0, count: N as u8, list: list.iter() }
    }
}

impl Iterator for OperandsOf<'_> {
    type Item = ValueId;

    #[inline]
    fn next(&mut self) -> Option<ValueId> {
        if self.next < self.count {
            self.next += 1;
            return self.fixed.get(usize::from(self.next) - 1).copied();
        }
        self.list.next().copied()
    }

    #[inline]
    fn fold<B, F: FnMut(B, ValueId) -> B>(self, init: B, mut each: F) -> B {
        let fixed = self.fixed.get(usize::from(self.next)..usize::from(self.count)).unwrap_or_default();
        let result = fixed.iter().copied().fold(init, &mut each);
        self.list.copied().fold(result, each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_come_in_the_order_of_the_walk() {
        let text = "fulgurite 1
kernel @k workgroup(1, 1, 1) {
  buffer %x: read_write u32[]
  param %n: u32
  %a = add %n, 1u32
  %b = while carry(%i = 0u32) {
    %c = lt %i, %n
    condition %c
  } do {
    %d = add %i, 1u32
    %e = eq %d, 3u32
    if %e {
      store %x[0u32], %d
    } else {
      for %j in 0u32 to %d step 1u32 {
        store %x[%j], %a
      }
    }
    yield %d
  }
  store %x[1u32], %b
}
";
        let kernel = crate::text::parse(text).unwrap();
        let walked = Walk::new(&kernel).filter_map(|event| match event {
            Event::Inst(id) => Some(id),
            _ => None,
        });
        let walked: Vec<InstId> = walked.collect();
        assert_eq!(walked.len(), kernel.insts.len());
        // A loop takes one event at a time, `for_each` folds.
        let mut all = Vec::new();
        for event in Walk::new(&kernel) {
            all.push(event);
        }
        for begun in 0..all.len() {
            let mut rest = Walk::new(&kernel);
            let mut folded: Vec<Event> = rest.by_ref().take(begun).collect();
            rest.for_each(|event| folded.push(event));
            assert_eq!(folded, all);
        }
        assert_eq!(instructions(&kernel).collect::<Vec<_>>(), walked);
    }
}
