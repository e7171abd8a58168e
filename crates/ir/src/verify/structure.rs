//! The structure of a kernel's arenas: ids are in range, blocks form a tree, and definitions are consistent.
//!
//! Kernels from the builder and the parser always pass, except that the builder does not limit nesting. Later passes
//! index arenas without checks, which this pass makes safe for any kernel.

use fulgurite_spec::limits::MAX_NESTING;
use fulgurite_spec::{Code, Diagnostic, Literal, Location};

use crate::analysis::walk::{Event, Walk, operands};
use crate::kernel::{BlockId, Const, InstKind, Kernel, Memory, Terminator, ValueDef, ValueId};

fn malformed(location: Location, message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(Code::Malformed, location, message)
}

/// Returns an error for the first problem found.
pub(super) fn check(kernel: &Kernel) -> Result<(), Diagnostic> {
    ids(kernel)?;
    definitions(kernel)?;
    tree(kernel)?;
    depth(kernel)
}

fn depth(kernel: &Kernel) -> Result<(), Diagnostic> {
    // Blocks form a tree, so the depth is at most their number.
    if kernel.blocks.len() <= MAX_NESTING + 1 {
        return Ok(());
    }
    let mut depth = 0usize;
    let mut location = Location::Unknown;
    for event in Walk::new(kernel) {
        match event {
            Event::Enter(_) => depth += 1,
            Event::Exit(_) => depth -= 1,
            Event::Inst(id) => location = kernel.inst(id).location,
            Event::Done(_) => {}
        }
        if depth > MAX_NESTING + 1 {
            let message = format!("blocks nest more than {MAX_NESTING} deep");
            return Err(Diagnostic::new(Code::TooDeep, location, message));
        }
    }
    Ok(())
}

/// Checks that every id is an index into its arena.
fn ids(kernel: &Kernel) -> Result<(), Diagnostic> {
    let value = |id: &ValueId, location| {
        if id.index() < kernel.values.len() {
            Ok(())
        } else {
            Err(malformed(location, format!("no value {id:?}")))
        }
    };
    let block = |id: &BlockId, location| {
        if id.index() < kernel.blocks.len() {
            Ok(())
        } else {
            Err(malformed(location, format!("no block {id:?}")))
        }
    };
    block(&kernel.body, Location::Unknown)?;
    for param in &kernel.params {
        value(&param.value, param.location)?;
    }
    for view in &kernel.views {
        if !is_declared(kernel, view.base) {
            return Err(malformed(view.location, format!("no memory object {:?}", view.base)));
        }
    }
    for inst in &kernel.insts {
        let location = inst.location;
        inst.results.iter().try_for_each(|id| value(id, location))?;
        // Most instructions are ops, which have neither blocks nor memory.
        if let InstKind::Scalar { operands, .. } = &inst.kind {
            operands.iter().try_for_each(|id| value(id, location))?;
            continue;
        }
        operands(&inst.kind).try_for_each(|id| value(&id, location))?;
        if let Some(control) = inst.kind.control() {
            control.blocks().try_for_each(|id| block(&id, location))?;
        }
        let memory = inst.kind.memory();
        if memory.is_some_and(|memory| !is_declared(kernel, memory)) {
            return Err(malformed(location, format!("no memory object {memory:?}")));
        }
    }
    for block in &kernel.blocks {
        for inst in &block.insts {
            if inst.index() >= kernel.insts.len() {
                return Err(malformed(block.location, format!("no instruction {inst:?}")));
            }
        }
        block.params.iter().try_for_each(|id| value(id, block.location))?;
        match &block.terminator {
            Terminator::Return => {}
            Terminator::Yield(values) => values.iter().try_for_each(|id| value(id, block.location))?,
            Terminator::Condition(go) => value(go, block.location)?,
        }
    }
    Ok(())
}

fn is_declared(kernel: &Kernel, memory: Memory) -> bool {
    match memory {
        Memory::Buffer(id) => id.index() < kernel.buffers.len(),
        Memory::Shared(id) => id.index() < kernel.shared.len(),
        Memory::Local(id) => id.index() < kernel.locals.len(),
        Memory::View(id) => id.index() < kernel.views.len(),
    }
}

/// Checks that every value is defined once, by the definition that it names.
fn definitions(kernel: &Kernel) -> Result<(), Diagnostic> {
    for (id, data) in kernel.values.iter().enumerate() {
        let id = ValueId::new(id);
        let holds = match data.def {
            ValueDef::Const(Const(bits)) => {
                data.ty.is_scalar() && Literal::new(data.ty.scalar, bits).bits == bits
            }
            ValueDef::Param(param) => {
                kernel.params.get(param.index()).is_some_and(|p| p.value == id && p.ty == data.ty)
            }
            ValueDef::Inst(inst, i) => {
                kernel.insts.get(inst.index()).is_some_and(|k| k.results.get(i as usize) == Some(&id))
            }
            ValueDef::BlockParam(block, i) => {
                kernel.blocks.get(block.index()).is_some_and(|b| b.params.get(i as usize) == Some(&id))
            }
        };
        if !holds {
            return Err(malformed(
                Location::Unknown,
                format!("value {id:?} is not where it says it is defined"),
            ));
        }
    }
    let mut defined = vec![false; kernel.values.len()];
    let mut define = |id: ValueId, location: Location, what: &str| {
        // A value whose definition is elsewhere is defined twice here or, if it is a constant, once.
        if matches!(kernel.value(id).def, ValueDef::Const(_)) {
            return Err(malformed(location, format!("{what} is a constant")));
        }
        if core::mem::replace(&mut defined[id.index()], true) {
            return Err(malformed(location, format!("value {id:?} is defined twice")));
        }
        Ok(())
    };
    for inst in &kernel.insts {
        for result in &*inst.results {
            define(*result, inst.location, "a result")?;
        }
    }
    for block in &kernel.blocks {
        block.params.iter().try_for_each(|param| define(*param, block.location, "a block's parameter"))?;
    }
    kernel.params.iter().try_for_each(|param| define(param.value, param.location, "a parameter"))?;
    Ok(())
}

/// Checks that every block is nested in at most one instruction, and every instruction in at most one block.
fn tree(kernel: &Kernel) -> Result<(), Diagnostic> {
    let mut used = vec![false; kernel.blocks.len()];
    used[kernel.body.index()] = true;
    for inst in &kernel.insts {
        let Some(control) = inst.kind.control() else { continue };
        for block in control.blocks() {
            if core::mem::replace(&mut used[block.index()], true) {
                return Err(malformed(inst.location, format!("block {block:?} is nested twice")));
            }
        }
    }
    if !kernel.block(kernel.body).params.is_empty() {
        return Err(malformed(
            kernel.location,
            "the kernel's own block has parameters, which nothing supplies",
        ));
    }
    let mut listed = vec![false; kernel.insts.len()];
    for block in &kernel.blocks {
        for inst in &block.insts {
            if core::mem::replace(&mut listed[inst.index()], true) {
                return Err(malformed(block.location, format!("instruction {inst:?} stands in two places")));
            }
        }
    }
    Ok(())
}
