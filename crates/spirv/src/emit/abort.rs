//! Polls of the abort word, by which the host ends a launch, and the exit from loops once it is set.

use fulgurite_ir::{InstId, MemoryScopes};
use fulgurite_spec::limits::POLL_INTERVAL;
use fulgurite_spec::{IdOp, Type};

use super::Emitter;
use super::objects::Object;
use crate::assembler::Id;
use crate::layout::ControlWord;
use crate::polls::Poll;
use crate::spv::op;

/// Function variables that all loops with the same way of polling share: short loops that are entered often must reach
/// a poll as well, and the result of a poll also ends the enclosing loops.
#[derive(Clone, Copy)]
pub(super) struct Watch {
    /// Iterations of these loops so far, modulo 2³².
    iterations: Id,
    /// The value of the abort word at the last poll.
    seen: Id,
}

impl Emitter<'_> {
    /// At the start of the kernel: skips all of it if the launch was aborted, so that invocations that have not begun
    /// never do. Returns the label at which to continue, or `None` if there is no such test.
    ///
    /// There is none if invocations meet at barriers and no loop declares the shared word by which a workgroup is told
    /// to stop.
    pub(super) fn begin_unless_aborted(&mut self) -> Option<Id> {
        if self.control.is_none() || (self.told.is_none() && self.contents.meets) {
            return None;
        }
        let wanted = self.abort_word(self.told);
        let (bool_type, zero) = (self.asm.ty(Type::BOOL), self.asm.u32(0));
        let stop = self.asm.value(op::INotEqual, bool_type, &[wanted, zero]);
        let (begin, end) = (self.asm.id(), self.asm.id());
        self.asm.effect(op::SelectionMerge, &[end, 0]);
        self.asm.effect(op::BranchConditional, &[stop, end, begin]);
        self.begin(begin);
        Some(end)
    }

    /// Begins the block at which [`begin_unless_aborted`](Self::begin_unless_aborted) continues.
    pub(super) fn end_unless_aborted(&mut self, end: Option<Id>) {
        let Some(end) = end else { return };
        self.asm.effect(op::Branch, &[end]);
        self.begin(end);
    }

    /// Loads the abort word, for each invocation or once for the workgroup.
    fn abort_word(&mut self, told: Option<Object>) -> Id {
        match told {
            Some(told) => self.abort_told(told),
            None => self.control_load(ControlWord::Abort),
        }
    }

    /// Declares the variables for loops that poll in this way, if there are any.
    pub(super) fn declare_watch(&mut self, poll: Poll) -> Option<Watch> {
        if !self.polls.contains(&poll) {
            return None;
        }
        let (word, zero) = (self.asm.ty(Type::U32), self.asm.u32(0));
        Some(Watch { iterations: self.asm.local(word, Some(zero)), seen: self.asm.local(word, Some(zero)) })
    }

    /// At the start of a loop body that polls: tests the abort word at intervals, and branches to `merge` if the launch
    /// was aborted, also if an earlier poll found that. This does not set the flag of a loop whose condition failed,
    /// because the host requested the exit.
    pub(super) fn poll(&mut self, inst: InstId, merge: Id) {
        let (watch, told) = match self.polls[inst.index()] {
            Poll::Never => return,
            Poll::Alone => (self.alone, None),
            Poll::Together => (self.together, self.told),
        };
        let Some(Watch { iterations, seen }) = watch else { return };
        let (word, bool_type) = (self.asm.ty(Type::U32), self.asm.ty(Type::BOOL));
        let (zero, one, last) = (self.asm.u32(0), self.asm.u32(1), self.asm.u32(POLL_INTERVAL - 1));
        let count = self.asm.value(op::Load, word, &[iterations]);
        let next = self.asm.value(op::IAdd, word, &[count, one]);
        self.asm.effect(op::Store, &[iterations, next]);
        let phase = self.asm.value(op::BitwiseAnd, word, &[count, last]);
        let due = self.asm.value(op::IEqual, bool_type, &[phase, last]);
        self.where_true(due, |e| {
            let wanted = e.abort_word(told);
            e.asm.effect(op::Store, &[seen, wanted]);
        });
        let wanted = self.asm.value(op::Load, word, &[seen]);
        let stop = self.asm.value(op::INotEqual, bool_type, &[wanted, zero]);
        let go_on = self.asm.id();
        self.asm.effect(op::BranchConditional, &[stop, merge, go_on]);
        self.begin(go_on);
    }

    /// Returns the abort word as loaded by the workgroup's first invocation. The word may change between two loads;
    /// invocations that load it separately could then diverge, and wait forever at different barriers.
    fn abort_told(&mut self, told: Object) -> Id {
        let (bool_type, zero) = (self.asm.ty(Type::BOOL), self.asm.u32(0));
        let index = self.built_in(IdOp::LocalIndex);
        let first = self.asm.value(op::IEqual, bool_type, &[index, zero]);
        self.where_true(first, |e| {
            let wanted = e.control_load(ControlWord::Abort);
            e.store_to(told, Type::U32, zero, wanted, true);
        });
        let scopes = MemoryScopes { shared: true, buffers: false };
        self.barrier(scopes);
        let wanted = self.load_from(told, Type::U32, zero, true);
        // The next poll may write only after all invocations have read.
        self.barrier(scopes);
        wanted
    }
}
