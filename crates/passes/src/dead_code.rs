//! The pass `dead_code`: removes instructions that have no effect and whose results nothing uses.

use fulgurite_ir::analysis::{instructions, operands, used_values};
use fulgurite_ir::{BlockId, Control, InstId, InstKind, Kernel, Terminator, Value, ValueDef, ValueId};

use crate::Pass;
use crate::scan::{blocks, has, homes};

pub(crate) const PASS: Pass = Pass { name: "dead_code", fires, run };

/// Looks for an instruction whose results nothing uses, which is the last of every dead chain. Whether one with blocks is dead
/// depends on what is in them.
fn fires(kernel: &Kernel) -> bool {
    let used = used_values(kernel);
    // Every instruction without results has an effect, except control flow.
    let is_unused = |(value, used): (&Value, &bool)| !used && matches!(value.def, ValueDef::Inst(..));
    if !has(kernel, |kind| kind.control().is_some()) && !kernel.values.iter().zip(&used).any(is_unused) {
        return false;
    }
    let (mut is_dead, mut may_be) = (false, false);
    instructions(kernel).for_each(|id| {
        let inst = kernel.inst(id);
        if inst.results.iter().all(|result| !used[result.index()]) && !has_effect(&inst.kind) {
            let has_blocks = inst.kind.control().is_some();
            (is_dead, may_be) = (is_dead || !has_blocks, may_be || has_blocks);
        }
    });
    is_dead
        || may_be && {
            let live = live(kernel);
            instructions(kernel).any(|id| !live[id.index()])
        }
}

fn run(kernel: &mut Kernel) -> usize {
    let live = live(kernel);
    let mut removed = 0;
    for block in blocks(kernel) {
        let insts = &mut kernel.blocks[block.index()].insts;
        let before = insts.len();
        insts.retain(|inst| live[inst.index()]);
        removed += before - insts.len();
    }
    removed
}

/// Returns whether each instruction has an effect, or a live one uses it or is nested in it.
fn live(kernel: &Kernel) -> Vec<bool> {
    let mut search = Search {
        kernel,
        live: vec![false; kernel.insts.len()],
        owners: vec![None; kernel.blocks.len()],
        homes: homes(kernel),
        pending: Vec::new(),
    };
    instructions(kernel).for_each(|id| {
        let kind = &kernel.inst(id).kind;
        for block in kind.control().into_iter().flat_map(Control::blocks) {
            search.owners[block.index()] = Some(id);
        }
        if has_effect(kind) {
            search.pending.push(id);
        }
    });
    while let Some(id) = search.pending.pop() {
        search.visit(id);
    }
    search.live
}

/// The search for live instructions.
struct Search<'k> {
    kernel: &'k Kernel,
    live: Vec<bool>,
    /// The instruction in which each block is nested.
    owners: Vec<Option<InstId>>,
    /// The block of each instruction.
    homes: Vec<BlockId>,
    pending: Vec<InstId>,
}

impl Search<'_> {
    /// Marks an instruction, and schedules those that it needs.
    fn visit(&mut self, id: InstId) {
        if core::mem::replace(&mut self.live[id.index()], true) {
            return;
        }
        let kernel = self.kernel;
        let kind = &kernel.inst(id).kind;
        operands(kind).for_each(|value| self.need(value));
        for block in kind.control().into_iter().flat_map(Control::blocks) {
            match &kernel.block(block).terminator {
                Terminator::Return => {}
                Terminator::Yield(values) => values.iter().for_each(|value| self.need(*value)),
                Terminator::Condition(go) => self.need(*go),
            }
        }
        self.pending.extend(self.owners[self.homes[id.index()].index()]);
    }

    fn need(&mut self, value: ValueId) {
        match self.kernel.value(value).def {
            ValueDef::Inst(id, _) => self.pending.push(id),
            ValueDef::BlockParam(block, _) => self.pending.extend(self.owners[block.index()]),
            ValueDef::Const(_) | ValueDef::Param(_) => {}
        }
    }
}

/// Returns whether an instruction does more than compute its results. A `while` may not end, and subgroup ops and
/// broadcasts of a workgroup involve other invocations.
fn has_effect(kind: &InstKind) -> bool {
    match kind {
        InstKind::Store { .. }
        | InstKind::Atomic { .. }
        | InstKind::Fence { .. }
        | InstKind::Barrier { .. }
        | InstKind::SubgroupBarrier { .. }
        | InstKind::WorkgroupBroadcast { .. }
        | InstKind::Subgroup { .. }
        | InstKind::CoopStore { .. }
        | InstKind::Trap { .. }
        | InstKind::While { .. } => true,
        InstKind::Scalar { .. }
        | InstKind::VecShuffle { .. }
        | InstKind::Id { .. }
        | InstKind::Load { .. }
        | InstKind::Len { .. }
        | InstKind::CoopLoad { .. }
        | InstKind::CoopFill { .. }
        | InstKind::CoopMulAdd { .. }
        | InstKind::CoopConvert { .. }
        | InstKind::If { .. }
        | InstKind::For { .. }
        | InstKind::Region { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::{after, unchanged};

    #[test]
    fn what_nothing_uses_is_removed() {
        let text = after(
            "fulgurite 1
kernel @k workgroup(64, 1, 1) {
  buffer %b: read_write u32[]
  %i = global_id.x
  %x = load %b[%i]
  %y = mul %x, 3u32
  %z = add %y, 1u32
  %s = for %k in 0u32 to 9u32 step 1u32 carry(%t = %z) {
    %u = add %t, %k
    yield %u
  }
  %c = lt %x, 5u32
  if %c {
    %w = add %s, 1u32
  }
  store %b[%i], 7u32
}
",
            &super::PASS,
        );
        let body: Vec<&str> = text.lines().skip(3).collect();
        assert_eq!(body, ["", "  %i = global_id.x", "  store %b[%i], 7u32", "}"], "{text}");
    }

    #[test]
    fn what_only_blocks_left_behind_use_is_removed() {
        let text = "fulgurite 1
kernel @k workgroup(64, 1, 1) {
  buffer %b: read_write u32[]
  %i = global_id.x
  %x = mul %i, 3u32
  %s = for %j in 0u32 to 1u32 step 1u32 carry(%p = 0u32) {
    store %b[%j], %i
    yield %x
  }
}
";
        let mut kernel = fulgurite_ir::text::parse(text).unwrap();
        assert_eq!((crate::unroll::PASS.run)(&mut kernel), 1);
        assert!((super::PASS.fires)(&kernel));
        assert_eq!((super::PASS.run)(&mut kernel), 1);
        assert!(!fulgurite_ir::text::print(&kernel).contains("mul"));
    }

    #[test]
    fn effects_and_what_they_need_stay() {
        unchanged(
            "fulgurite 1
kernel @k workgroup(64, 1, 1) {
  buffer %b: read_write u32[]
  param %n: u32
  %i = global_id.x
  %o = while carry(%k = 0u32) {
    %c = lt %k, %n
    condition %c
  } do {
    %m = add %k, 1u32
    yield %m
  }
  %s = subgroup.reduce[add] %i
  %d = lt %i, 5u32
  if %d {
    %v = for %j in 0u32 to %n step 1u32 carry(%t = 0u32) {
      %w = add %t, %j
      yield %w
    }
    store %b[%i], %v
  }
  barrier
}
",
            &super::PASS,
        );
    }
}
