//! Ways in which passes look through a kernel.

use fulgurite_ir::analysis::{Event, Walk, instructions};
use fulgurite_ir::{BlockId, InstId, InstKind, Kernel};

/// Returns whether any instruction that the kernel runs is one of these.
pub(crate) fn any(kernel: &Kernel, is_one: impl Fn(InstId) -> bool) -> bool {
    let mut found = false;
    // Faster than `Iterator::any`, which cannot run through a block without looking for nested ones.
    instructions(kernel).for_each(|id| found = found || is_one(id));
    found
}

/// Returns whether the kernel has an instruction of these kinds, which it may not run. Much faster than [`any`]: most kernels
/// have none of what most passes look for.
pub(crate) fn has(kernel: &Kernel, is_one: impl Fn(&InstKind) -> bool) -> bool {
    kernel.insts.iter().any(|inst| is_one(&inst.kind))
}

/// Returns the events of a walk, for passes that change the kernel on the way. They must not change its blocks.
pub(crate) fn events(kernel: &Kernel) -> Vec<Event> {
    Walk::new(kernel).collect()
}

/// Returns the blocks that the kernel runs, outer ones first, for passes that change what is in them.
pub(crate) fn blocks(kernel: &Kernel) -> Vec<BlockId> {
    let entered = Walk::new(kernel)
        .filter_map(|event| if let Event::Enter(block) = event { Some(block) } else { None });
    entered.collect()
}

/// Returns the block of each instruction.
pub(crate) fn homes(kernel: &Kernel) -> Vec<BlockId> {
    let mut homes = vec![kernel.body; kernel.insts.len()];
    for (block, data) in kernel.blocks.iter().enumerate() {
        data.insts.iter().for_each(|inst| homes[inst.index()] = BlockId::new(block));
    }
    homes
}
