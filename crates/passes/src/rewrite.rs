//! What passes that add instructions share: the instructions, and the places in a block where they go.

use fulgurite_ir::{BlockId, Const, FloatMode, InstId, InstKind, Kernel, Operands, ValueDef, ValueId};
use fulgurite_spec::{Location, Op, Type};

use crate::scan::blocks;

pub(crate) fn constant(kernel: &mut Kernel, ty: Type, bits: u64) -> ValueId {
    kernel.add_value(ty, ValueDef::Const(Const(bits)), None)
}

/// Appends an instruction with one result, and returns that.
pub(crate) fn add(
    kernel: &mut Kernel,
    block: BlockId,
    kind: InstKind,
    ty: Type,
    location: Location,
) -> ValueId {
    let id = kernel.add_inst(block, kind, &[ty], location);
    kernel.inst(id).results[0]
}

/// Returns an op without a mode.
pub(crate) fn op(op: Op, operands: &[ValueId]) -> InstKind {
    InstKind::Scalar { op, operands: Operands::new(operands), mode: FloatMode::Default }
}

/// Appends an op and returns its result.
pub(crate) fn scalar(
    kernel: &mut Kernel,
    block: BlockId,
    scalar: Op,
    operands: &[ValueId],
    ty: Type,
    location: Location,
) -> ValueId {
    add(kernel, block, op(scalar, operands), ty, location)
}

/// Makes values the results of an instruction, which has none. They keep their ids, and so do all uses.
pub(crate) fn define(kernel: &mut Kernel, id: InstId, results: Operands) {
    for (position, result) in (0..).zip(results.iter()) {
        kernel.values[result.index()].def = ValueDef::Inst(id, position);
    }
    kernel.insts[id.index()].results = results;
}

/// Several instructions of a block that others replace.
pub(crate) trait Plan {
    /// Returns the instructions. None is part of another plan.
    fn members(&self) -> &[InstId];

    /// Returns the member whose place the others take.
    fn at(&self) -> Option<InstId>;

    /// Appends the others to the block.
    fn emit(&self, kernel: &mut Kernel, block: BlockId);
}

/// Carries out plans.
pub(crate) fn apply(kernel: &mut Kernel, plans: &[impl Plan]) {
    // For each instruction, the plan that it is a part of.
    let mut part_of: Vec<Option<usize>> = vec![None; kernel.insts.len()];
    for (number, plan) in plans.iter().enumerate() {
        plan.members().iter().for_each(|id| part_of[id.index()] = Some(number));
    }
    // Plans add blocks and instructions, which are no part of any.
    let plan_of =
        |id: InstId| part_of.get(id.index()).copied().flatten().and_then(|number| plans.get(number));
    for block in blocks(kernel) {
        if kernel.block(block).insts.iter().all(|id| plan_of(*id).is_none()) {
            continue;
        }
        for id in core::mem::take(&mut kernel.blocks[block.index()].insts) {
            match plan_of(id) {
                Some(plan) if plan.at() == Some(id) => plan.emit(kernel, block),
                Some(_) => {}
                None => kernel.blocks[block.index()].insts.push(id),
            }
        }
    }
}
