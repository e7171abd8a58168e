//! The pass `hoist`: computes before a loop what is the same in each of its iterations.
//!
//! Every op is defined on every input, so an instruction without effects may be executed although the loop has no iteration.
//! Instructions that every iteration executes are moved. Those in an `if` are moved only if their results are equal in the
//! workgroup, because a device computes such values once for many invocations.

use std::cell::OnceCell;

use fulgurite_ir::analysis::{Event, Uniformity, UniformityMap, Walk, operands};
use fulgurite_ir::{BlockId, Control, Inst, InstId, InstKind, Kernel, ValueDef, ValueId};

use crate::Pass;
use crate::scan::{has, homes};

pub(crate) const PASS: Pass = Pass { name: "hoist", fires, run };

fn fires(kernel: &Kernel) -> bool {
    if !has(kernel, is_loop) {
        return false;
    }
    let places = Places::of(kernel);
    let uniformity = OnceCell::new();
    places.loops.iter().any(|inner| {
        let parts = parts(kernel, *inner);
        parts.iter().any(|part| {
            let mut insts = kernel.block(part.block).insts.iter();
            insts
                .any(|id| places.is_invariant(kernel, *inner, *id) && part.gives_up(kernel, *id, &uniformity))
        })
    })
}

fn run(kernel: &mut Kernel) -> usize {
    let mut places = Places::of(kernel);
    // Computed once: moving an instruction does not change how uniform its result is.
    let uniformity = OnceCell::from(UniformityMap::of(kernel));
    // For each loop, the instructions that are to stand before it.
    let mut before: Vec<Vec<InstId>> = vec![Vec::new(); kernel.insts.len()];
    let mut moved = 0;
    for inner in places.loops.clone() {
        let outside = places.homes[inner.index()];
        let mut hoisted = Vec::new();
        for part in parts(kernel, inner) {
            let insts = core::mem::take(&mut kernel.blocks[part.block.index()].insts);
            let mut keep = |id: InstId, hoisted: &mut Vec<InstId>| {
                let is_invariant =
                    places.is_invariant(kernel, inner, id) && part.gives_up(kernel, id, &uniformity);
                if is_invariant {
                    places.homes[id.index()] = outside;
                    hoisted.push(id);
                }
                !is_invariant
            };
            let mut kept = Vec::with_capacity(insts.len());
            for id in insts {
                // Instructions hoisted from an inner loop precede it, and may leave this one, too.
                before[id.index()].retain(|earlier| keep(*earlier, &mut hoisted));
                if keep(id, &mut hoisted) {
                    kept.push(id);
                }
            }
            kernel.blocks[part.block.index()].insts = kept;
        }
        moved += hoisted.len();
        before[inner.index()] = hoisted;
    }
    for block in &mut kernel.blocks {
        if block.insts.iter().any(|id| !before[id.index()].is_empty()) {
            let with_earlier = |id: InstId| core::mem::take(&mut before[id.index()]).into_iter().chain([id]);
            block.insts = core::mem::take(&mut block.insts).into_iter().flat_map(with_earlier).collect();
        }
    }
    moved
}

fn is_loop(kind: &InstKind) -> bool {
    kind.control().is_some_and(Control::is_loop)
}

/// Returns the blocks of a loop, without those nested in them.
fn blocks(kernel: &Kernel, inner: InstId) -> impl Iterator<Item = BlockId> + '_ {
    kernel.inst(inner).kind.control().into_iter().flat_map(Control::blocks)
}

/// A block that a loop may execute in each iteration.
struct Part {
    block: BlockId,
    /// Whether it is nested in an `if`.
    is_conditional: bool,
}

impl Part {
    /// Returns whether an instruction that has no effect is executed, or costs little, where the loop is.
    fn gives_up(&self, kernel: &Kernel, id: InstId, uniformity: &OnceCell<UniformityMap>) -> bool {
        !self.is_conditional || {
            let uniformity = uniformity.get_or_init(|| UniformityMap::of(kernel));
            kernel.inst(id).results.iter().all(|result| uniformity.level(*result) <= Uniformity::Workgroup)
        }
    }
}

/// Returns the blocks of a loop and those nested in them, outer ones first, without those of inner loops.
fn parts(kernel: &Kernel, inner: InstId) -> Vec<Part> {
    let mut parts: Vec<Part> =
        blocks(kernel, inner).map(|block| Part { block, is_conditional: false }).collect();
    let mut at = 0;
    while let Some(Part { block, is_conditional }) = parts.get(at) {
        let (block, is_conditional) = (*block, *is_conditional);
        for control in kernel.block(block).insts.iter().filter_map(|id| kernel.inst(*id).kind.control()) {
            let is_conditional = match control {
                Control::If { .. } => true,
                Control::Region { .. } => is_conditional,
                Control::For { .. } | Control::While { .. } => continue,
            };
            parts.extend(control.blocks().map(|block| Part { block, is_conditional }));
        }
        at += 1;
    }
    parts
}

/// Where instructions and blocks are.
struct Places {
    /// The block of each instruction.
    homes: Vec<BlockId>,
    /// For each block, its position in a walk, and the first position behind it and what is nested in it.
    spans: Vec<[u32; 2]>,
    /// The loops, inner ones first.
    loops: Vec<InstId>,
}

impl Places {
    fn of(kernel: &Kernel) -> Self {
        let spans = vec![[0; 2]; kernel.blocks.len()];
        let mut places = Self { homes: homes(kernel), spans, loops: Vec::new() };
        let mut entered = 0;
        Walk::new(kernel).for_each(|event| match event {
            Event::Enter(block) => {
                places.spans[block.index()][0] = entered;
                entered += 1;
            }
            Event::Exit(block) => places.spans[block.index()][1] = entered,
            Event::Inst(_) => {}
            Event::Done(id) => {
                if is_loop(&kernel.inst(id).kind) {
                    places.loops.push(id);
                }
            }
        });
        places
    }

    /// Returns whether an instruction in a loop has no effect and operands from outside of it only.
    fn is_invariant(&self, kernel: &Kernel, inner: InstId, id: InstId) -> bool {
        let inst = kernel.inst(id);
        is_movable(kernel, inst) && operands(&inst.kind).all(|value| self.is_outside(kernel, inner, value))
    }

    fn is_outside(&self, kernel: &Kernel, inner: InstId, value: ValueId) -> bool {
        let home = match kernel.value(value).def {
            ValueDef::Const(_) | ValueDef::Param(_) => return true,
            ValueDef::Inst(inst, _) => self.homes[inst.index()],
            ValueDef::BlockParam(block, _) => block,
        };
        let [at, _] = self.spans[home.index()];
        blocks(kernel, inner).all(|block| {
            let [from, to] = self.spans[block.index()];
            at < from || to <= at
        })
    }
}

/// Returns whether an instruction may be executed by any invocations. Ops on matrices are executed by all of a subgroup or
/// workgroup together.
fn is_movable(kernel: &Kernel, inst: &Inst) -> bool {
    inst.kind.pure().is_some() && inst.results.iter().all(|result| !kernel.ty(*result).is_matrix())
}

#[cfg(test)]
mod tests {
    use crate::tests::{after, unchanged};

    #[test]
    fn invariants_leave_all_loops_that_they_do_not_depend_on() {
        let text = after(
            "fulgurite 1
kernel @k workgroup(64, 1, 1) {
  buffer %b: read_write u32[]
  param %n: u32
  %i = global_id.x
  for %j in 0u32 to %n step 1u32 {
    %a = mul %i, 3u32
    for %k in 0u32 to %n step 1u32 {
      %c = add %a, 7u32
      %d = mul %j, 5u32
      %e = add %d, %c
      %f = add %e, %k
      store %b[%f], %k
    }
  }
}
",
            &super::PASS,
        );
        let body: Vec<&str> = text.lines().skip(5).map(str::trim).collect();
        let order = ["%i =", "%a =", "%c =", "for %j", "%d =", "%e =", "for %k", "%f ="];
        for (line, start) in body.iter().zip(order) {
            assert!(line.starts_with(start), "{start}:\n{text}");
        }
    }

    #[test]
    fn conditions_of_loops_are_hoisted_in_parts() {
        let text = after(
            "fulgurite 1
kernel @k workgroup(1, 1, 1) {
  buffer %b: read_write u32[]
  param %n: u32
  %x = while carry(%i = 0u32) {
    %m = mul %n, 2u32
    %c = lt %i, %m
    condition %c
  } do {
    %v = load %b[%i]
    %s = add %v, 1u32
    yield %s
  }
  store %b[0u32], %x
}
",
            &super::PASS,
        );
        let (before, inside) = text.split_once("while").unwrap();
        assert!(before.contains("%m = mul %n, 2u32") && inside.contains("%c = lt %i, %m"), "{text}");
    }

    #[test]
    fn regions_and_what_is_equal_in_the_workgroup_are_seen_into() {
        let text = after(
            "fulgurite 1
kernel @k workgroup(64, 1, 1) {
  buffer %b: read_write u32[]
  param %n: u32
  %i = global_id.x
  for %j in 0u32 to %n step 1u32 {
    %p = mul %n, 3u32
    region \"inner\" {
      %q = mul %i, %p
      %r = add %q, %j
      store %b[%r], %q
      if true {
        %s = len %b
        %t = div %s, %p
        %u = div %t, %i
        %w = workgroup_id.x
        store %b[%u], %w
        for %k in 0u32 to %j step 1u32 {
          %x = rem %s, %n
          %y = rem %s, %i
          store %b[%x], %y
        }
      }
    }
  }
}
",
            &super::PASS,
        );
        let starts = text.lines().skip(5).map(|line| line.trim().split(" =").next().unwrap());
        let order: Vec<&str> = starts.collect();
        let before = ["%i", "%p", "%q", "%s", "%t", "%w", "%x", "for %j in 0u32 to %n step 1u32 {"];
        assert_eq!(order[..8], before, "{text}");
        let within = ["%u", "store %b[%u], %w", "%y", "for %k in 0u32 to %j step 1u32 {"];
        let conditional = order.iter().skip_while(|line| **line != "if true {").skip(1).take(4);
        assert!(conditional.eq(&within), "{text}");
    }

    #[test]
    fn what_varies_or_has_effects_or_is_conditional_stays() {
        unchanged(
            "fulgurite 1
kernel @k workgroup(64, 1, 1) {
  buffer %b: read_write u32[]
  param %n: u32
  %i = global_id.x
  %t = for %j in 0u32 to %n step 1u32 carry(%s = 0u32) {
    %a = add %s, %j
    %v = load %b[%i]
    %r = subgroup.reduce[add] %i
    %c = lt %a, %r
    if %c {
      %e = mul %i, %i
      store %b[%e], %v
    }
    yield %a
  }
  store %b[%i], %t
}
",
            &super::PASS,
        );
    }
}
