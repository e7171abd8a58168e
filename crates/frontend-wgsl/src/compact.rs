//! Rebuilds a lowered kernel without what nothing uses: values, carried values, and the `if` and `for` around them.

use fulgurite_ir::analysis::{Event, Walk, walk};
use fulgurite_ir::{
    Access, BlockId, Control, InstId, InstKind, Kernel, Memory, Operands, Terminator, ValueDef, ValueId,
};

/// Returns the kernel with only what has an effect, and arenas in program order. Buffers that it does not write are
/// declared `read`, so that loads from them count as uniform where their index is.
pub(crate) fn compact(kernel: Kernel) -> Kernel {
    let none = vec![None; kernel.values.len()];
    let mut kernel = rebuilt(kernel, none);
    let decided = crate::decide::decided(&mut kernel);
    if decided.iter().any(Option::is_some) {
        kernel = rebuilt(kernel, decided);
    }
    let mut written = vec![false; kernel.buffers.len()];
    for inst in &kernel.insts {
        if let InstKind::Store { memory, .. } | InstKind::Atomic { memory, .. } = &inst.kind
            && let Memory::Buffer(id) = kernel.base(*memory)
        {
            written[id.index()] = true;
        }
    }
    for (buffer, _) in kernel.buffers.iter_mut().zip(written).filter(|(_, written)| !written) {
        buffer.access = Access::Read;
    }
    kernel
}

/// Returns the kernel without what is dead once some values stand for others.
fn rebuilt(kernel: Kernel, decided: Vec<Option<ValueId>>) -> Kernel {
    let replaced = replaced(&kernel, decided);
    let live = Live::of(&kernel, &replaced);
    Rebuild::of(kernel, replaced, live)
}

/// Values that others stand for.
struct Replaced(Vec<Option<ValueId>>);

impl Replaced {
    fn get(&self, mut value: ValueId) -> ValueId {
        while let Some(next) = self.0[value.index()] {
            value = next;
        }
        value
    }
}

fn yields(kernel: &Kernel, block: BlockId) -> &[ValueId] {
    match &kernel.block(block).terminator {
        Terminator::Yield(values) => values,
        Terminator::Return | Terminator::Condition(_) => &[],
    }
}

/// The loop-carried values of an instruction: parameters, initial values and the block that yields the next ones.
fn carried<'k>(kernel: &'k Kernel, kind: &'k InstKind) -> Option<(&'k [ValueId], &'k Operands, BlockId)> {
    match kind {
        InstKind::For { initial, body, .. } => Some((&kernel.block(*body).params[1..], initial, *body)),
        InstKind::While { initial, header, body } => Some((&kernel.block(*header).params, initial, *body)),
        _ => None,
    }
}

/// Finds values that loops carry unchanged, and results that are the same in both branches of an `if`.
fn replaced(kernel: &Kernel, decided: Vec<Option<ValueId>>) -> Replaced {
    let mut replaced = Replaced(decided);
    // Inner loops end first, so that most need one pass.
    let mut changed = true;
    while changed {
        changed = false;
        let mut replace = |replaced: &mut Replaced, from: ValueId, to: ValueId| {
            // The end of the chain, so that chains stay short.
            let to = replaced.get(to);
            if replaced.0[from.index()].is_none() && to != from {
                replaced.0[from.index()] = Some(to);
                changed = true;
            }
        };
        for event in Walk::new(kernel) {
            let Event::Done(id) = event else { continue };
            let inst = kernel.inst(id);
            if let Some((params, initial, body)) = carried(kernel, &inst.kind) {
                for (i, next) in yields(kernel, body).iter().enumerate() {
                    let next = replaced.get(*next);
                    if next == replaced.get(params[i]) || next == replaced.get(initial[i]) {
                        replace(&mut replaced, params[i], initial[i]);
                        replace(&mut replaced, inst.results[i], initial[i]);
                    }
                }
            } else if let InstKind::If { then_block, else_block, .. } = &inst.kind {
                let pairs = yields(kernel, *then_block).iter().zip(yields(kernel, *else_block));
                for (result, (a, b)) in inst.results.iter().zip(pairs) {
                    if replaced.get(*a) == replaced.get(*b) {
                        replace(&mut replaced, *result, *a);
                    }
                }
            }
        }
    }
    replaced
}

/// The instructions and values that have an effect.
struct Live {
    insts: Vec<bool>,
    values: Vec<bool>,
}

/// Returns whether an instruction has an effect besides its results.
fn has_effect(kind: &InstKind) -> bool {
    match kind {
        // A `while` may not end.
        InstKind::While { .. }
        | InstKind::Store { .. }
        | InstKind::Atomic { .. }
        | InstKind::Fence { .. }
        | InstKind::Barrier { .. }
        | InstKind::SubgroupBarrier { .. }
        | InstKind::WorkgroupBroadcast { .. }
        | InstKind::CoopStore { .. }
        | InstKind::Trap { .. } => true,
        InstKind::Scalar { .. }
        | InstKind::VecShuffle { .. }
        | InstKind::Id { .. }
        | InstKind::Load { .. }
        | InstKind::Len { .. }
        | InstKind::Subgroup { .. }
        | InstKind::CoopLoad { .. }
        | InstKind::CoopFill { .. }
        | InstKind::CoopMulAdd { .. }
        | InstKind::CoopConvert { .. }
        | InstKind::If { .. }
        | InstKind::For { .. }
        | InstKind::Region { .. } => false,
    }
}

impl Live {
    fn of(kernel: &Kernel, replaced: &Replaced) -> Self {
        let mut owners: Vec<Option<InstId>> = vec![None; kernel.blocks.len()];
        let mut homes: Vec<Option<BlockId>> = vec![None; kernel.insts.len()];
        let mut roots = Vec::new();
        for (index, block) in kernel.blocks.iter().enumerate() {
            for id in &block.insts {
                homes[id.index()] = Some(BlockId::new(index));
                let kind = &kernel.inst(*id).kind;
                for inner in kind.control().into_iter().flat_map(Control::blocks) {
                    owners[inner.index()] = Some(*id);
                }
                if has_effect(kind) {
                    roots.push(*id);
                }
            }
        }
        let mut live =
            Self { insts: vec![false; kernel.insts.len()], values: vec![false; kernel.values.len()] };
        let mut work = Work { insts: roots, values: Vec::new() };
        loop {
            if let Some(id) = work.insts.pop() {
                if core::mem::replace(&mut live.insts[id.index()], true) {
                    continue;
                }
                let kind = &kernel.inst(id).kind;
                if let Some(owner) = homes[id.index()].and_then(|home| owners[home.index()]) {
                    work.insts.push(owner);
                }
                // Of control flow, only what decides; carried and yielded values follow from their uses.
                match kind.control() {
                    Some(Control::If { condition, .. }) => work.values.push(condition),
                    Some(Control::For { start, end, step, .. }) => work.values.extend([start, end, step]),
                    Some(Control::While { header, .. }) => {
                        if let Terminator::Condition(go) = kernel.block(header).terminator {
                            work.values.push(go);
                        }
                    }
                    Some(Control::Region { .. }) => {}
                    None => work.values.extend(walk::operands(kind)),
                }
            } else if let Some(value) = work.values.pop() {
                let value = replaced.get(value);
                if !core::mem::replace(&mut live.values[value.index()], true) {
                    define(kernel, value, &owners, &mut work);
                }
            } else {
                return live;
            }
        }
    }
}

struct Work {
    insts: Vec<InstId>,
    values: Vec<ValueId>,
}

/// Marks what a live value comes from.
fn define(kernel: &Kernel, value: ValueId, owners: &[Option<InstId>], work: &mut Work) {
    let (id, position) = match kernel.value(value).def {
        ValueDef::Const(_) | ValueDef::Param(_) => return,
        ValueDef::Inst(id, position) => (id, position as usize),
        ValueDef::BlockParam(block, position) => match owners[block.index()] {
            Some(owner) if matches!(kernel.inst(owner).kind, InstKind::For { .. }) => {
                let Some(position) = (position as usize).checked_sub(1) else { return };
                (owner, position)
            }
            Some(owner) => (owner, position as usize),
            None => return,
        },
    };
    work.insts.push(id);
    let inst = kernel.inst(id);
    if let Some((params, initial, body)) = carried(kernel, &inst.kind) {
        work.values.extend([params[position], initial[position], inst.results[position]]);
        work.values.push(yields(kernel, body)[position]);
    } else if let InstKind::If { then_block, else_block, .. } = inst.kind {
        work.values.extend([yields(kernel, then_block)[position], yields(kernel, else_block)[position]]);
    } else if let InstKind::Region { body, .. } = inst.kind {
        work.values.push(yields(kernel, body)[position]);
    }
}

/// Copies what is live into a new kernel.
struct Rebuild {
    old: Kernel,
    new: Kernel,
    replaced: Replaced,
    live: Live,
    values: Vec<Option<ValueId>>,
}

impl Rebuild {
    fn of(mut old: Kernel, replaced: Replaced, live: Live) -> Kernel {
        let mut new = Kernel::empty(core::mem::take(&mut old.name), old.workgroup);
        new.buffers = core::mem::take(&mut old.buffers);
        new.shared = core::mem::take(&mut old.shared);
        new.locals = core::mem::take(&mut old.locals);
        new.views = core::mem::take(&mut old.views);
        new.params = core::mem::take(&mut old.params);
        new.location = old.location;
        let mut values = vec![None; old.values.len()];
        for param in &mut new.params {
            let value = old.value(param.value).clone();
            let id = ValueId::new(new.values.len());
            new.values.push(value);
            values[param.value.index()] = Some(id);
            param.value = id;
        }
        let mut rebuild = Self { old, new, replaced, live, values };
        let (from, to) = (rebuild.old.body, rebuild.new.body);
        rebuild.block(from, to);
        rebuild.new
    }

    /// Returns the copy of a value that is defined already.
    fn value(&mut self, value: ValueId) -> ValueId {
        let value = self.replaced.get(value);
        if let Some(id) = self.values[value.index()] {
            return id;
        }
        // Only constants are defined nowhere.
        let id = ValueId::new(self.new.values.len());
        self.new.values.push(self.old.value(value).clone());
        self.values[value.index()] = Some(id);
        id
    }

    /// Returns the live values among `values` that have not been replaced.
    fn kept(&self, values: &[ValueId]) -> Vec<bool> {
        values.iter().map(|v| self.live.values[v.index()] && self.replaced.0[v.index()].is_none()).collect()
    }

    fn copied(&mut self, values: &[ValueId], kept: &[bool]) -> Operands {
        let chosen: Vec<ValueId> =
            values.iter().zip(kept).filter(|(_, keep)| **keep).map(|(value, _)| *value).collect();
        chosen.into_iter().map(|value| self.value(value)).collect()
    }

    /// Copies the instructions of a block. Nesting is bounded by what lowering allows.
    fn block(&mut self, from: BlockId, to: BlockId) {
        let insts = core::mem::take(&mut self.old.blocks[from.index()].insts);
        for id in insts {
            if self.live.insts[id.index()] {
                self.inst(id, to);
            }
        }
        self.new.blocks[to.index()].location = self.old.block(from).location;
    }

    /// Copies a block that yields the values at the positions that are kept.
    fn nested(&mut self, from: BlockId, kept: &[bool]) -> BlockId {
        let to = self.new.add_block();
        self.block(from, to);
        let terminator = core::mem::take(&mut self.old.blocks[from.index()].terminator);
        let terminator = match terminator {
            Terminator::Yield(values) => Terminator::Yield(self.copied(&values, kept)),
            Terminator::Condition(go) => Terminator::Condition(self.value(go)),
            Terminator::Return => Terminator::Return,
        };
        self.new.blocks[to.index()].terminator = terminator;
        to
    }

    fn param(&mut self, block: BlockId, param: ValueId) {
        let position = self.new.block(block).params.len() as u32;
        let old = self.old.value(param).clone();
        let id = self.new.add_value(old.ty, ValueDef::BlockParam(block, position), old.name);
        self.new.blocks[block.index()].params.push(id);
        self.values[param.index()] = Some(id);
    }

    fn inst(&mut self, id: InstId, to: BlockId) {
        let (mut kind, results) = (self.old.inst(id).kind.clone(), self.old.inst(id).results.clone());
        let location = self.old.inst(id).location;
        let mut kept = vec![true; results.len()];
        match &mut kind {
            InstKind::If { condition, then_block, else_block } => {
                *condition = self.value(*condition);
                kept = self.kept(&results);
                *then_block = self.nested(*then_block, &kept);
                *else_block = self.nested(*else_block, &kept);
            }
            InstKind::Region { body, .. } => {
                kept = self.kept(&results);
                *body = self.nested(*body, &kept);
            }
            InstKind::For { start, end, step, initial, body } => {
                for operand in [start, end, step] {
                    *operand = self.value(*operand);
                }
                kept = self.kept(&results);
                *initial = self.copied(&initial.clone(), &kept);
                let params = self.old.block(*body).params.clone();
                *body = self.with_params(*body, &params, &[&[true], &kept[..]].concat(), &kept);
            }
            InstKind::While { initial, header, body } => {
                kept = self.kept(&results);
                *initial = self.copied(&initial.clone(), &kept);
                let params = self.old.block(*header).params.clone();
                *header = self.with_params(*header, &params, &kept, &kept);
                *body = self.nested(*body, &kept);
            }
            other => {
                other.change_operands(|operand| *operand = self.value(*operand));
            }
        }
        let kept_results: Vec<ValueId> =
            results.iter().zip(&kept).filter(|(_, keep)| **keep).map(|(value, _)| *value).collect();
        let types: Vec<_> = kept_results.iter().map(|value| self.old.ty(*value)).collect();
        let new = self.new.add_inst(to, kind, &types, location);
        for (position, old) in kept_results.into_iter().enumerate() {
            let copy = self.new.inst(new).results[position];
            self.new.values[copy.index()].name = self.old.value(old).name.clone();
            self.values[old.index()] = Some(copy);
        }
    }

    /// Copies a block with the parameters that are kept.
    fn with_params(&mut self, from: BlockId, params: &[ValueId], kept: &[bool], yielded: &[bool]) -> BlockId {
        let to = self.new.add_block();
        for (param, _) in params.iter().zip(kept).filter(|(_, keep)| **keep) {
            self.param(to, *param);
        }
        self.block(from, to);
        let terminator = core::mem::take(&mut self.old.blocks[from.index()].terminator);
        let terminator = match terminator {
            Terminator::Yield(values) => Terminator::Yield(self.copied(&values, yielded)),
            Terminator::Condition(go) => Terminator::Condition(self.value(go)),
            Terminator::Return => Terminator::Return,
        };
        self.new.blocks[to.index()].terminator = terminator;
        to
    }
}
