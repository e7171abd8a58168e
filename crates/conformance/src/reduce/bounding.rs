//! The values that bound loops: with others in their place, a loop might run for billions of iterations.

use fulgurite_ir::analysis::{instructions, operands};
use fulgurite_ir::{BlockId, Control, InstId, InstKind, Kernel, Operands, Terminator, ValueDef, ValueId};
use fulgurite_spec::Op;

use super::edit::Place;

/// The values that bound loops.
pub(super) struct Bounding {
    values: Vec<bool>,
    /// The instruction in which each block is nested.
    owners: Vec<Option<InstId>>,
}

/// Returns the instructions of `among` that may be removed: all but those that bound loops which are left.
pub(super) fn removable(kernel: &Kernel, among: &[InstId]) -> Vec<InstId> {
    let bounding = Bounding::of(kernel, among);
    let is_free = |id: &&InstId| {
        let inst = kernel.inst(**id);
        masked(kernel, &inst.kind) || !inst.results.iter().any(|result| bounding.values[result.index()])
    };
    among.iter().filter(is_free).copied().collect()
}

/// Returns whether an instruction's result is at most a literal mask.
fn masked(kernel: &Kernel, kind: &InstKind) -> bool {
    matches!(kind, InstKind::Scalar { op: Op::And, operands, .. }
        if operands.iter().any(|operand| kernel.literal(*operand).is_some()))
}

/// Returns what a block yields.
pub(super) fn yields(kernel: &Kernel, block: BlockId) -> &[ValueId] {
    match &kernel.block(block).terminator {
        Terminator::Yield(values) => values,
        Terminator::Return | Terminator::Condition(_) => &[],
    }
}

impl Bounding {
    /// Returns the values that bound loops, but for those that only bound the loops `without`.
    pub(super) fn of(kernel: &Kernel, without: &[InstId]) -> Self {
        let mut owners = vec![None; kernel.blocks.len()];
        let mut homes = vec![kernel.body; kernel.insts.len()];
        let mut is_left = vec![true; kernel.insts.len()];
        without.iter().for_each(|id| is_left[id.index()] = false);
        for (at, block) in kernel.blocks.iter().enumerate() {
            block.insts.iter().for_each(|id| homes[id.index()] = BlockId::new(at));
        }
        let mut pending: Vec<ValueId> = Vec::new();
        // Outer instructions come first.
        for id in instructions(kernel) {
            if let Some(outer) = owners[homes[id.index()].index()] {
                let outer: InstId = outer;
                is_left[id.index()] &= is_left[outer.index()];
            }
            let Some(control) = kernel.inst(id).kind.control() else { continue };
            control.blocks().for_each(|block| owners[block.index()] = Some(id));
            if !is_left[id.index()] {
                continue;
            }
            match control {
                Control::For { start, end, step, .. } => pending.extend([start, end, step]),
                Control::While { header, .. } => {
                    if let Terminator::Condition(go) = kernel.block(header).terminator {
                        pending.push(go);
                    }
                }
                Control::If { .. } | Control::Region { .. } => {}
            }
        }
        let mut bounding = Self { values: vec![false; kernel.values.len()], owners };
        while let Some(value) = pending.pop() {
            if !core::mem::replace(&mut bounding.values[value.index()], true) {
                bounding.sources(kernel, value, &mut pending);
            }
        }
        bounding
    }

    /// Adds the values that `value` is computed from. The result of `and` with a literal is at most that.
    fn sources(&self, kernel: &Kernel, value: ValueId, pending: &mut Vec<ValueId>) {
        match kernel.value(value).def {
            ValueDef::Const(_) | ValueDef::Param(_) => {}
            ValueDef::Inst(id, at) => {
                let kind = &kernel.inst(id).kind;
                match kind.control() {
                    None if masked(kernel, kind) => {}
                    None => pending.extend(operands(kind)),
                    Some(control) => pending.extend(carried(kernel, control, at as usize)),
                }
            }
            ValueDef::BlockParam(block, at) => {
                let owner = self.owners[block.index()].and_then(|id| kernel.inst(id).kind.control());
                match owner {
                    Some(Control::For { start, end, step, .. }) if at == 0 => {
                        pending.extend([start, end, step]);
                    }
                    Some(control @ Control::For { .. }) => {
                        pending.extend(carried(kernel, control, at as usize - 1));
                    }
                    Some(control) => pending.extend(carried(kernel, control, at as usize)),
                    None => {}
                }
            }
        }
    }

    /// Returns whether the result `at` of an instruction, or what a loop carries for it, bounds a loop.
    pub(super) fn is_carried(&self, kernel: &Kernel, id: InstId, at: usize) -> bool {
        let inst = kernel.inst(id);
        let param = match inst.kind.control() {
            Some(Control::For { body, .. }) => kernel.block(body).params.get(at + 1),
            Some(Control::While { header, .. }) => kernel.block(header).params.get(at),
            Some(Control::If { .. } | Control::Region { .. }) | None => None,
        };
        inst.results.get(at).into_iter().chain(param).any(|value| self.values[value.index()])
    }

    /// Returns whether another value may be used in a place.
    pub(super) fn allows(&self, kernel: &Kernel, place: Place) -> bool {
        match place {
            Place::Operand(id, at) => {
                let inst = kernel.inst(id);
                match inst.kind.control() {
                    // The counter's start, end and step come first.
                    Some(Control::For { .. }) => at >= 3 && !self.is_carried(kernel, id, at - 3),
                    Some(Control::While { .. }) => !self.is_carried(kernel, id, at),
                    Some(Control::If { .. } | Control::Region { .. }) => true,
                    None => {
                        masked(kernel, &inst.kind)
                            || !inst.results.iter().any(|result| self.values[result.index()])
                    }
                }
            }
            Place::Yield(block, at) => {
                self.owners[block.index()].is_some_and(|id| !self.is_carried(kernel, id, at))
            }
        }
    }
}

/// Returns the values that become the result `at` of control flow.
fn carried(kernel: &Kernel, control: Control<'_>, at: usize) -> Vec<ValueId> {
    let initial: &[ValueId] = match control {
        Control::For { initial, .. } | Control::While { initial, .. } => initial,
        Control::If { .. } | Control::Region { .. } => &Operands::EMPTY,
    };
    let yielded = control.blocks().filter_map(|block| yields(kernel, block).get(at));
    initial.get(at).into_iter().chain(yielded).copied().collect()
}
