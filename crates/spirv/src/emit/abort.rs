//! Looking at the abort word, by which the host ends a launch, and leaving loops once it is set.

use fulgurite_ir::{InstId, MemoryScopes};
use fulgurite_spec::limits::POLL_INTERVAL;
use fulgurite_spec::{IdOp, Type};

use super::Emitter;
use super::objects::Object;
use crate::assembler::Id;
use crate::layout::ControlWord;
use crate::polls::Poll;
use crate::spv::op;

/// Variables of the function that all loops which poll in the same way share: loops that are short, but entered
/// often, must come to a poll too, and what one saw concerns those around it.
#[derive(Clone, Copy)]
pub(super) struct Watch {
    /// Iterations of such loops so far, modulo 2³².
    iterations: Id,
    /// The abort word, as the last poll saw it.
    seen: Id,
}

impl Emitter<'_> {
    /// At the kernel's start: skips all of it if the host wants the launch to end, so that what has not begun by
    /// then never does. The label to go on at, if there is such a test.
    ///
    /// There is none where invocations meet at barriers and no loop takes the means to tell a workgroup together.
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

    /// Where [`begin_unless_aborted`](Self::begin_unless_aborted) goes on to.
    pub(super) fn end_unless_aborted(&mut self, end: Option<Id>) {
        let Some(end) = end else { return };
        self.asm.effect(op::Branch, &[end]);
        self.begin(end);
    }

    /// The abort word: as each invocation sees it, or as the workgroup is told it.
    fn abort_word(&mut self, told: Option<Object>) -> Id {
        match told {
            Some(told) => self.abort_told(told),
            None => self.control_load(ControlWord::Abort),
        }
    }

    /// The variables for loops that poll in this way, if there are any.
    pub(super) fn declare_watch(&mut self, poll: Poll) -> Option<Watch> {
        if !self.polls.contains(&poll) {
            return None;
        }
        let (word, zero) = (self.asm.ty(Type::U32), self.asm.u32(0));
        Some(Watch { iterations: self.asm.local(word, Some(zero)), seen: self.asm.local(word, Some(zero)) })
    }

    /// At the top of a body that polls: looks every so many iterations, and leaves to `merge` if the host wants the
    /// launch to end, or did so when an earlier poll looked. The host has asked for it then, so this need not count
    /// as leaving by itself.
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

    /// The abort word as the workgroup's first invocation sees it, the same for all: the word may change between
    /// two loads, and then some would leave a loop that others stay in, past whose barriers neither get.
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
        // The next poll writes again only once all have read.
        self.barrier(scopes);
        wanted
    }
}
