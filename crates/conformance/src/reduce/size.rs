//! The size of a kernel, by which one is smaller than another.

use fulgurite_ir::analysis::{instructions, operands};
use fulgurite_ir::{InstKind, Kernel, Terminator, ValueDef, ValueId};
use fulgurite_spec::Op;

/// The size of a kernel. The fields are compared in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size {
    /// Instructions. Those that stand for literals of vectors and matrices count less.
    instructions: usize,
    /// Invocations of a workgroup.
    invocations: u32,
    /// Results of control flow.
    results: usize,
    /// Declarations, and elements of arrays.
    declarations: u64,
    /// Uses of values that are no literals.
    uses: usize,
    /// Bits of the literals used.
    literals: u32,
    /// The sum of the numbers of the instructions whose results are used: less is nearer to the first.
    distance: usize,
}

impl Size {
    pub(super) fn of(kernel: &Kernel) -> Self {
        let arrays = kernel.shared.iter().chain(&kernel.locals);
        let declared =
            kernel.buffers.len() + kernel.params.len() + kernel.views.len() + kernel.requires.len();
        let mut size = Self {
            instructions: 0,
            invocations: kernel.workgroup_invocations(),
            results: 0,
            declarations: declared as u64 + arrays.map(|array| 1 + u64::from(array.len)).sum::<u64>(),
            uses: 0,
            literals: 0,
            distance: 0,
        };
        let mut numbers = vec![0; kernel.insts.len()];
        for (number, id) in (1..).zip(instructions(kernel)) {
            numbers[id.index()] = number;
        }
        for id in instructions(kernel) {
            let inst = kernel.inst(id);
            let is_literal = is_literal(&inst.kind);
            size.instructions += if is_literal { 1 } else { 2 };
            operands(&inst.kind).for_each(|value| size.add_use(kernel, value, &numbers));
            let Some(control) = inst.kind.control() else { continue };
            size.results += inst.results.len();
            for block in control.blocks() {
                match &kernel.block(block).terminator {
                    Terminator::Return => {}
                    Terminator::Yield(values) => {
                        values.iter().for_each(|value| size.add_use(kernel, *value, &numbers));
                    }
                    Terminator::Condition(go) => size.add_use(kernel, *go, &numbers),
                }
            }
        }
        size
    }

    fn add_use(&mut self, kernel: &Kernel, value: ValueId, numbers: &[usize]) {
        match kernel.value(value).def {
            ValueDef::Const(bits) => self.literals += u64::BITS - bits.0.leading_zeros(),
            ValueDef::Param(_) | ValueDef::BlockParam(..) => self.uses += 1,
            ValueDef::Inst(id, _) => {
                self.uses += 1;
                self.distance += numbers[id.index()];
            }
        }
    }
}

/// Returns whether an instruction puts components together, as it does in place of a literal.
fn is_literal(kind: &InstKind) -> bool {
    matches!(kind, InstKind::Scalar { op: Op::Construct, .. } | InstKind::CoopFill { .. })
}
