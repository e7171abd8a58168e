//! A walk over a kernel's blocks in program order, without recursion.

use crate::kernel::{BlockId, InstId, InstKind, Kernel};

/// A step of a [`Walk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A block begins; its parameters are defined from here on.
    Enter(BlockId),
    /// An instruction begins; its operands are read. Nested blocks follow.
    Inst(InstId),
    /// An instruction is complete; its results are defined from here on.
    Done(InstId),
    /// A block ends. A `while` header's end comes after its body, which sees the header's values.
    Exit(BlockId),
}

enum Pending<'a> {
    /// Continue a block at the first of these instructions.
    Resume(BlockId, core::slice::Iter<'a, InstId>),
    Begin(BlockId),
    Finish(InstId),
    /// End of a block whose instructions are done.
    End(BlockId),
}

/// The events of a kernel in program order.
///
/// Ids must be in range and blocks form a tree, which the verifier's first pass establishes.
pub struct Walk<'a> {
    kernel: &'a Kernel,
    /// The block that the walk is in, and what is left of it; `None` where the stack says what comes next.
    here: Option<(BlockId, core::slice::Iter<'a, InstId>)>,
    /// An instruction without blocks, which is complete once it has begun.
    begun: Option<InstId>,
    stack: Vec<Pending<'a>>,
    /// Bodies of `while` loops, entered when their header's instructions are done.
    bodies: Vec<(BlockId, BlockId)>,
}

impl<'a> Walk<'a> {
    /// A walk over all of `kernel`.
    pub fn new(kernel: &'a Kernel) -> Self {
        let stack = vec![Pending::Begin(kernel.body)];
        Self { kernel, here: None, begun: None, stack, bodies: Vec::new() }
    }

    /// What is left to do of a block when an instruction with blocks has begun: those blocks, its end, and the rest.
    fn descend(&mut self, id: InstId, blocks: &[BlockId]) {
        if let Some((block, rest)) = self.here.take() {
            self.stack.push(Pending::Resume(block, rest));
        }
        self.stack.push(Pending::Finish(id));
        self.stack.extend(blocks.iter().rev().map(|block| Pending::Begin(*block)));
    }
}

impl Iterator for Walk<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if let Some(id) = self.begun.take() {
            return Some(Event::Done(id));
        }
        loop {
            let Some((block, rest)) = &mut self.here else {
                match self.stack.pop()? {
                    Pending::Begin(block) => {
                        self.here = Some((block, self.kernel.block(block).insts.iter()));
                        return Some(Event::Enter(block));
                    }
                    Pending::Resume(block, rest) => self.here = Some((block, rest)),
                    Pending::Finish(id) => return Some(Event::Done(id)),
                    Pending::End(block) => return Some(Event::Exit(block)),
                }
                continue;
            };
            let Some(id) = rest.next().copied() else {
                let block = *block;
                self.here = None;
                self.stack.push(Pending::End(block));
                if self.bodies.last().is_some_and(|(header, _)| *header == block)
                    && let Some((_, body)) = self.bodies.pop()
                {
                    self.stack.push(Pending::Begin(body));
                }
                continue;
            };
            match self.kernel.inst(id).kind {
                InstKind::If { then_block, else_block, .. } => self.descend(id, &[then_block, else_block]),
                InstKind::For { body, .. } | InstKind::Region { body, .. } => self.descend(id, &[body]),
                InstKind::While { header, body, .. } => {
                    self.bodies.push((header, body));
                    self.descend(id, &[header]);
                }
                _ => self.begun = Some(id),
            }
            return Some(Event::Inst(id));
        }
    }
}

/// The instructions that a kernel runs, in program order. Its arena may hold others, which stand in no block: they
/// are not verified, and nothing may come of them.
pub fn instructions(kernel: &Kernel) -> impl Iterator<Item = InstId> + '_ {
    Walk::new(kernel).filter_map(|event| match event {
        Event::Inst(id) => Some(id),
        Event::Enter(_) | Event::Done(_) | Event::Exit(_) => None,
    })
}

/// The operands that an instruction reads itself, not counting those of its nested blocks.
pub fn operands(kind: &InstKind) -> impl Iterator<Item = crate::ValueId> + '_ {
    let (fixed, list): ([Option<crate::ValueId>; 3], &[crate::ValueId]) = match kind {
        InstKind::Scalar { operands, .. } | InstKind::Subgroup { operands, .. } => ([None; 3], operands),
        InstKind::Id { .. }
        | InstKind::Len { .. }
        | InstKind::Fence { .. }
        | InstKind::Barrier { .. }
        | InstKind::SubgroupBarrier { .. }
        | InstKind::Region { .. } => ([None; 3], &[]),
        InstKind::VecShuffle { vectors, .. } => ([None; 3], vectors),
        InstKind::WorkgroupBroadcast { value, index } => ([Some(*value), Some(*index), None], &[]),
        InstKind::CoopLoad { offset, stride, .. } => ([Some(*offset), Some(*stride), None], &[]),
        InstKind::CoopStore { offset, stride, value, .. } => {
            ([Some(*offset), Some(*stride), Some(*value)], &[])
        }
        InstKind::CoopFill { value } | InstKind::CoopConvert { value } => ([Some(*value), None, None], &[]),
        InstKind::CoopMulAdd { a, b, c } => ([Some(*a), Some(*b), Some(*c)], &[]),
        InstKind::Trap { code } => ([Some(*code), None, None], &[]),
        InstKind::Load { index, .. } => ([Some(*index), None, None], &[]),
        InstKind::Store { index, value, .. } => ([Some(*index), Some(*value), None], &[]),
        InstKind::Atomic { index, operands, .. } => ([Some(*index), None, None], operands),
        InstKind::If { condition, .. } => ([Some(*condition), None, None], &[]),
        InstKind::For { start, end, step, initial, .. } => ([Some(*start), Some(*end), Some(*step)], initial),
        InstKind::While { initial, .. } => ([None; 3], initial),
    };
    fixed.into_iter().flatten().chain(list.iter().copied())
}
