//! Facts about a kernel's instructions that decide the declarations of its module, found in one pass.

use std::collections::{HashMap, HashSet};

use fulgurite_ir::analysis::instructions;
use fulgurite_ir::{InstKind, Memory, VerifiedKernel};
use fulgurite_spec::{IdOp, Op};

/// Facts about the instructions of a kernel.
#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) loops: bool,
    pub(crate) traps: bool,
    /// Whether there are subgroup ops.
    pub(crate) subgroup_ops: bool,
    pub(crate) subgroup_barriers: bool,
    /// Whether a result depends on the division of invocations into subgroups.
    pub(crate) sees_subgroups: bool,
    /// Whether the workgroup has barriers, so that its invocations must leave loops together.
    pub(crate) meets: bool,
    /// The memory objects that are loaded, stored or modified.
    pub(crate) reached: HashSet<Memory>,
    /// The memory objects of atomics, and whether one of the atomics is an addition.
    pub(crate) atomics: HashMap<Memory, bool>,
    /// Whether the size of the grid is read.
    pub(crate) reads_grid: bool,
    /// The ids that are built-in inputs, in the order of their first use.
    pub(crate) inputs: Vec<IdOp>,
}

impl Contents {
    pub(crate) fn of(kernel: &VerifiedKernel) -> Self {
        let mut contents = Self::default();
        instructions(kernel).for_each(|id| contents.note(&kernel.inst(id).kind));
        contents.meets &= kernel.workgroup_invocations() > 1;
        contents
    }

    fn note(&mut self, kind: &InstKind) {
        match kind {
            InstKind::Scalar { .. }
            | InstKind::VecShuffle { .. }
            | InstKind::Len { .. }
            | InstKind::If { .. }
            | InstKind::Region { .. }
            | InstKind::Fence { .. }
            | InstKind::CoopMulAdd { .. }
            | InstKind::CoopConvert { .. } => {}
            InstKind::Load { memory, .. } | InstKind::Store { memory, .. } => {
                self.reached.insert(*memory);
            }
            InstKind::Atomic { op, memory, .. } => {
                self.reached.insert(*memory);
                *self.atomics.entry(*memory).or_default() |= *op == Op::AtomicAdd;
            }
            InstKind::Id { op, .. } => {
                let Some(op) = IdOp::of(*op) else { return };
                self.sees_subgroups |= op.sees_subgroups();
                // The grid is in the parameter block.
                if op == IdOp::NumWorkgroups {
                    self.reads_grid = true;
                } else {
                    self.input(op);
                }
            }
            InstKind::For { .. } | InstKind::While { .. } => self.loops = true,
            InstKind::Barrier { .. } => self.meets = true,
            InstKind::WorkgroupBroadcast { .. } => {
                self.meets = true;
                self.input(IdOp::LocalIndex);
            }
            InstKind::Subgroup { .. } => {
                (self.subgroup_ops, self.sees_subgroups) = (true, true);
                self.input(IdOp::LocalIndex);
                self.input(IdOp::SubgroupId);
            }
            InstKind::SubgroupBarrier { .. } => {
                (self.subgroup_barriers, self.sees_subgroups) = (true, true);
            }
            InstKind::CoopLoad { memory, .. } | InstKind::CoopStore { memory, .. } => {
                self.sees_subgroups = true;
                self.reached.insert(*memory);
                self.input(IdOp::LocalIndex);
                self.input(IdOp::SubgroupId);
            }
            InstKind::CoopFill { .. } => self.sees_subgroups = true,
            InstKind::Trap { .. } => {
                self.traps = true;
                // Ids for the faulting invocation.
                self.input(IdOp::GlobalId);
                self.input(IdOp::NumWorkgroups);
            }
        }
    }

    fn input(&mut self, op: IdOp) {
        if !self.inputs.contains(&op) {
            self.inputs.push(op);
        }
    }
}
