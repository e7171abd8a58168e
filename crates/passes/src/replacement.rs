//! Values that stand for others: what passes that merge or simplify values share. Changes no instruction's op.

use fulgurite_ir::{InstId, Kernel, Terminator, ValueId};

/// For each value, the value that replaces it: itself, or one that is defined wherever the value is.
pub(crate) struct Replacement {
    values: Vec<ValueId>,
}

impl Replacement {
    /// Returns the replacement of each value of `kernel` by itself.
    pub(crate) fn none(kernel: &Kernel) -> Self {
        Self { values: (0..kernel.values.len()).map(ValueId::new).collect() }
    }

    /// Lets `by` replace `value`. `by` must not be replaced itself.
    pub(crate) fn replace(&mut self, value: ValueId, by: ValueId) {
        self.values[value.index()] = by;
    }

    /// Returns the value that replaces `value`. Values added since the replacement was made are not replaced.
    pub(crate) fn of(&self, value: ValueId) -> ValueId {
        self.values.get(value.index()).copied().unwrap_or(value)
    }

    /// Replaces the operands of an instruction.
    pub(crate) fn in_operands(&self, kernel: &mut Kernel, id: InstId) {
        kernel.insts[id.index()].kind.change_operands(|value| *value = self.of(*value));
    }

    /// Replaces the operands of all instructions, what blocks yield, and the conditions of loops.
    pub(crate) fn everywhere(&self, kernel: &mut Kernel) {
        for id in 0..kernel.insts.len() {
            self.in_operands(kernel, InstId::new(id));
        }
        self.in_terminators(kernel);
    }

    /// Replaces what blocks yield and the conditions of loops.
    pub(crate) fn in_terminators(&self, kernel: &mut Kernel) {
        for block in &mut kernel.blocks {
            match &mut block.terminator {
                Terminator::Return => {}
                Terminator::Yield(values) => values.iter_mut().for_each(|value| *value = self.of(*value)),
                Terminator::Condition(go) => *go = self.of(*go),
            }
        }
    }
}
