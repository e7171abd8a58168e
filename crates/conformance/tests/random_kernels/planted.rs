//! Miscompilations that the comparison of optimized kernels must find: each is what a faulty pass would do.

use std::collections::HashMap;

use fulgurite_ir::analysis::{Event, Walk, instructions};
use fulgurite_ir::{
    BlockId, Const, Control, FloatMode, InstId, InstKind, Kernel, Memory, Operands, Terminator, ValueDef,
    ValueId, ViewId,
};
use fulgurite_spec::{Op, Type};

/// The name of a miscompilation, and what it does to a kernel.
pub(crate) type Planted = (&'static str, fn(&mut Kernel));

pub(crate) const PLANTED: &[Planted] = &[
    ("operands of a subtraction swapped", |k| {
        scalars(k, Op::Sub, |_, operands| operands.swap(0, 1));
    }),
    ("arms of a selection swapped", |k| {
        scalars(k, Op::Select, |_, operands| operands.swap(1, 2));
    }),
    ("lt taken for le", |k| scalars(k, Op::Lt, |op, _| *op = Op::Le)),
    ("and taken for or", |k| scalars(k, Op::And, |op, _| *op = Op::Or)),
    ("minimum taken for the first operand", |k| {
        scalars(k, Op::Min, |_, operands| operands[1] = operands[0]);
    }),
    ("products with a literal zero taken for zero", zero_products),
    ("loads of one place merged across stores", merge_loads),
    ("loads hoisted out of loops that store", hoist_loads),
    ("stores forwarded across barriers", |k| forward_stores(k, false)),
    ("stores forwarded out of bounds", |k| forward_stores(k, true)),
    ("carried values taken for their initial values", forget_iterations),
    ("loops with literal bounds run once too often", run_once_more),
    ("the else arm yields what the then arm does", forget_else),
    ("atomics whose result has no use removed", remove_atomics),
    ("last store of a block removed", remove_last_stores),
    ("components of vectors reversed", |k| scalars(k, Op::Construct, |_, operands| operands.reverse())),
    ("elements loaded as parts of vectors past the end", |k| load_vectors(k, false)),
    ("indices of vectors divided although they wrapped", |k| load_vectors(k, true)),
    ("stores moved down past loads and stores", sink_stores),
    ("loads moved up past stores", raise_loads),
    ("stores hoisted out of conditions", hoist_conditional_stores),
    ("conditions of arms taken for true everywhere", decide_everywhere),
    ("comparisons replaced by the negation of their opposites, even for NaNs", negate_earlier_comparisons),
    ("stores guarded by the bound of another access", guard_other_stores),
    ("what is computed from loads out of bounds taken for zero", zero_computed_words),
];

/// Calls `change` with every `op` and its operands.
fn scalars(kernel: &mut Kernel, op: Op, change: impl Fn(&mut Op, &mut [ValueId])) {
    for inst in &mut kernel.insts {
        match &mut inst.kind {
            InstKind::Scalar { op: found, operands, .. } if *found == op => change(found, operands),
            _ => {}
        }
    }
}

/// Replaces every use of some values.
fn replace(kernel: &mut Kernel, by: &HashMap<ValueId, ValueId>) {
    let change = |value: &mut ValueId| *value = by.get(value).copied().unwrap_or(*value);
    kernel.insts.iter_mut().for_each(|inst| inst.kind.change_operands(change));
    for block in &mut kernel.blocks {
        match &mut block.terminator {
            Terminator::Return => {}
            Terminator::Yield(values) => values.iter_mut().for_each(change),
            Terminator::Condition(go) => change(go),
        }
    }
}

/// Replaces products of floats with a literal zero by that zero, as if there were no infinities and NaNs.
fn zero_products(kernel: &mut Kernel) {
    let mut by = HashMap::new();
    for inst in &kernel.insts {
        let InstKind::Scalar { op: Op::Mul, operands, .. } = &inst.kind else { continue };
        let is_zero = |value: &&ValueId| {
            kernel.literal(**value).is_some_and(|literal| literal.ty.is_float() && literal.bits == 0)
        };
        if let Some(zero) = operands.iter().find(is_zero) {
            by.insert(inst.results[0], *zero);
        }
    }
    replace(kernel, &by);
}

fn merge_loads(kernel: &mut Kernel) {
    let mut by = HashMap::new();
    for block in &kernel.blocks {
        let mut first: HashMap<(Memory, ValueId), ValueId> = HashMap::new();
        for inst in block.insts.iter().map(|id| kernel.inst(*id)) {
            if let InstKind::Load { memory, index } = inst.kind {
                let result = inst.results[0];
                let earlier = *first.entry((memory, index)).or_insert(result);
                by.insert(result, earlier);
            }
        }
    }
    replace(kernel, &by);
}

/// Replaces each load by what the block stored last at the index, in bounds or not, and at barriers or stores at other indices
/// if it is not to stop there.
fn forward_stores(kernel: &mut Kernel, stops: bool) {
    let mut by: HashMap<ValueId, ValueId> = HashMap::new();
    for block in &kernel.blocks {
        let mut stored: HashMap<(Memory, ValueId), ValueId> = HashMap::new();
        for inst in block.insts.iter().map(|id| kernel.inst(*id)) {
            match inst.kind {
                InstKind::Store { memory, index, value } => {
                    if stops {
                        stored.retain(|(other, _), _| *other != memory);
                    }
                    stored.insert((memory, index), by.get(&value).copied().unwrap_or(value));
                }
                InstKind::Load { memory, index } => {
                    if let Some(value) = stored.get(&(memory, index)) {
                        by.insert(inst.results[0], *value);
                    }
                }
                InstKind::Barrier { .. } if !stops => {}
                _ if inst.kind.pure().is_none() => stored.clear(),
                _ => {}
            }
        }
    }
    replace(kernel, &by);
}

fn hoist_loads(kernel: &mut Kernel) {
    for outer in 0..kernel.blocks.len() {
        let mut list = Vec::new();
        for id in kernel.blocks[outer].insts.clone() {
            if let Some(Control::For { body, .. }) = kernel.inst(id).kind.control() {
                let insts = core::mem::take(&mut kernel.blocks[body.index()].insts);
                let inside: Vec<ValueId> =
                    insts.iter().flat_map(|id| kernel.inst(*id).results.to_vec()).collect();
                let counter = kernel.blocks[body.index()].params.clone();
                let (moved, kept): (Vec<InstId>, Vec<InstId>) = insts.into_iter().partition(|id| {
                    matches!(kernel.inst(*id).kind, InstKind::Load { index, .. }
                        if !inside.contains(&index) && !counter.contains(&index))
                });
                kernel.blocks[body.index()].insts = kept;
                list.extend(moved);
            }
            list.push(id);
        }
        kernel.blocks[outer].insts = list;
    }
}

fn forget_iterations(kernel: &mut Kernel) {
    let mut by = HashMap::new();
    for id in instructions(kernel) {
        let (params, initial) = match kernel.inst(id).kind.control() {
            // The counter comes first.
            Some(Control::For { initial, body, .. }) => (&kernel.block(body).params[1..], &initial[..]),
            // The last carried value bounds the iterations.
            Some(Control::While { initial, header, .. }) => {
                (&kernel.block(header).params[..], &initial[..initial.len() - 1])
            }
            Some(Control::If { .. } | Control::Region { .. }) | None => continue,
        };
        by.extend(params.iter().copied().zip(initial.iter().copied()));
    }
    // An initial value may be carried by an enclosing loop, and be replaced itself.
    let root = |mut value: ValueId| {
        while let Some(next) = by.get(&value) {
            value = *next;
        }
        value
    };
    let by = by.keys().map(|value| (*value, root(*value))).collect();
    replace(kernel, &by);
}

fn run_once_more(kernel: &mut Kernel) {
    for id in instructions(kernel).collect::<Vec<_>>() {
        let InstKind::For { end, step, .. } = kernel.inst(id).kind else { continue };
        let (Some(last), Some(by)) = (kernel.literal(end), kernel.literal(step)) else { continue };
        let bits = last.bits.wrapping_add(by.bits) & last.ty.mask();
        let later = kernel.add_value(kernel.ty(end), ValueDef::Const(Const(bits)), None);
        if let InstKind::For { end, .. } = &mut kernel.insts[id.index()].kind {
            *end = later;
        }
    }
}

fn forget_else(kernel: &mut Kernel) {
    let arms: Vec<_> = instructions(kernel)
        .filter_map(|id| match kernel.inst(id).kind.control() {
            Some(Control::If { then_block, else_block, .. }) => Some((then_block, else_block)),
            _ => None,
        })
        .collect();
    for (then_block, else_block) in arms {
        let own = &kernel.block(then_block).insts;
        let is_own = |value: &ValueId| own.iter().any(|id| kernel.inst(*id).results.contains(value));
        let yields = kernel.block(then_block).terminator.clone();
        // Values of the arm itself are not defined in the other one.
        if let Terminator::Yield(values) = &yields
            && !values.iter().any(is_own)
        {
            kernel.blocks[else_block.index()].terminator = yields;
        }
    }
}

fn remove_atomics(kernel: &mut Kernel) {
    let is_atomic = |id: &InstId| matches!(kernel.inst(*id).kind, InstKind::Atomic { .. });
    let mut unused: Vec<InstId> = instructions(kernel).filter(is_atomic).collect();
    for inst in kernel.insts.clone().iter_mut() {
        inst.kind.change_operands(|value| {
            unused.retain(|id| !kernel.inst(*id).results.contains(value));
        });
    }
    for block in &kernel.blocks {
        if let Terminator::Yield(values) = &block.terminator {
            unused.retain(|id| !kernel.inst(*id).results.iter().any(|result| values.contains(result)));
        }
    }
    for block in &mut kernel.blocks {
        block.insts.retain(|id| !unused.contains(id));
    }
}

fn remove_last_stores(kernel: &mut Kernel) {
    let blocks: Vec<_> = Walk::new(kernel)
        .filter_map(|event| if let Event::Enter(block) = event { Some(block) } else { None })
        .collect();
    for block in blocks {
        let insts = &kernel.block(block).insts;
        let last = insts.iter().rposition(|id| matches!(kernel.inst(*id).kind, InstKind::Store { .. }));
        if let Some(last) = last {
            kernel.blocks[block.index()].insts.remove(last);
        }
    }
}

/// Replaces loads of elements by those of vectors of four that contain them. The elements of an incomplete one at the end are lost;
/// or, at products with four, the factor is taken for the index of the vector, also if the product wraps.
fn load_vectors(kernel: &mut Kernel, at_factors: bool) {
    let Some(view) = kernel.views.iter().position(|view| view.name == "quads") else { return };
    let (view, base) = (Memory::View(ViewId::new(view)), kernel.views[view].base);
    for block in 0..kernel.blocks.len() {
        let block = BlockId::new(block);
        for id in core::mem::take(&mut kernel.blocks[block.index()].insts) {
            let InstKind::Load { memory, index } = kernel.inst(id).kind else {
                kernel.blocks[block.index()].insts.push(id);
                continue;
            };
            let factor = factor_of_four(kernel, index);
            if memory != base || at_factors && factor.is_none() {
                kernel.blocks[block.index()].insts.push(id);
                continue;
            }
            let (place, vector) = match factor.filter(|_| at_factors) {
                Some(factor) => (literal(kernel, 0), factor),
                None => {
                    let [mask, shift] = [3, 2].map(|bits| literal(kernel, bits));
                    let place = append(kernel, block, Op::And, [index, mask], Type::U32);
                    (place, append(kernel, block, Op::Shr, [index, shift], Type::U32))
                }
            };
            let ty = kernel.element(view);
            let load = kernel.add_inst(
                block,
                InstKind::Load { memory: view, index: vector },
                &[ty],
                kernel.inst(id).location,
            );
            let loaded = kernel.inst(load).results[0];
            let component = append(kernel, block, Op::Extract, [loaded, place], Type::U32);
            let result = kernel.inst(id).results[0];
            replace(kernel, &HashMap::from([(result, component)]));
        }
    }
}

/// Returns `x` of an index `x << 2`, or of that with 0 added.
fn factor_of_four(kernel: &Kernel, mut index: ValueId) -> Option<ValueId> {
    loop {
        let ValueDef::Inst(inst, _) = kernel.value(index).def else { return None };
        let InstKind::Scalar { op, operands, .. } = &kernel.inst(inst).kind else { return None };
        let [value, by] = operands[..] else { return None };
        match (op, kernel.literal(by)?.bits) {
            (Op::Add, 0) => index = value,
            (Op::Shl, 2) => return Some(value),
            _ => return None,
        }
    }
}

fn literal(kernel: &mut Kernel, bits: u64) -> ValueId {
    kernel.add_value(Type::U32, ValueDef::Const(Const(bits)), None)
}

fn append(kernel: &mut Kernel, block: BlockId, op: Op, operands: [ValueId; 2], ty: Type) -> ValueId {
    let kind = InstKind::Scalar { op, operands: Operands::new(&operands), mode: FloatMode::Default };
    let location = kernel.location;
    let inst = kernel.add_inst(block, kind, &[ty], location);
    kernel.inst(inst).results[0]
}

/// Moves each store in a block down to the next one to the same memory object that does not follow it at once.
fn sink_stores(kernel: &mut Kernel) {
    let stored = |kernel: &Kernel, id: InstId| match kernel.inst(id).kind {
        InstKind::Store { memory, .. } => Some(memory),
        _ => None,
    };
    for block in 0..kernel.blocks.len() {
        let insts = kernel.blocks[block].insts.clone();
        let mut list: Vec<InstId> = Vec::new();
        let mut waiting: Vec<InstId> = Vec::new();
        for id in insts {
            let kind = &kernel.inst(id).kind;
            if let Some(memory) = stored(kernel, id) {
                let (now, later) = waiting
                    .iter()
                    .partition::<Vec<InstId>, _>(|other| stored(kernel, **other) == Some(memory));
                (waiting, _) = (later, list.extend(now));
                waiting.push(id);
                continue;
            }
            if kind.pure().is_none() && !matches!(kind, InstKind::Load { .. }) {
                list.append(&mut waiting);
            }
            list.push(id);
        }
        list.append(&mut waiting);
        kernel.blocks[block].insts = list;
    }
}

/// Moves each load of a block up to where its index is computed.
fn raise_loads(kernel: &mut Kernel) {
    for block in 0..kernel.blocks.len() {
        let mut list: Vec<InstId> = Vec::new();
        for id in kernel.blocks[block].insts.clone() {
            let InstKind::Load { index, .. } = kernel.inst(id).kind else {
                list.push(id);
                continue;
            };
            let is_stop = |other: &InstId| {
                let inst = kernel.inst(*other);
                inst.results.contains(&index)
                    || inst.kind.pure().is_none()
                        && !matches!(inst.kind, InstKind::Load { .. } | InstKind::Store { .. })
            };
            let at = list.iter().rposition(is_stop).map_or(0, |stop| stop + 1);
            list.insert(at, id);
        }
        kernel.blocks[block].insts = list;
    }
}

/// Moves stores whose operands are computed elsewhere out of the arm of an `if` that runs where the condition is true.
fn hoist_conditional_stores(kernel: &mut Kernel) {
    for outer in 0..kernel.blocks.len() {
        let mut list = Vec::new();
        for id in kernel.blocks[outer].insts.clone() {
            if let Some(Control::If { then_block, .. }) = kernel.inst(id).kind.control() {
                let insts = core::mem::take(&mut kernel.blocks[then_block.index()].insts);
                let own: Vec<ValueId> =
                    insts.iter().flat_map(|id| kernel.inst(*id).results.to_vec()).collect();
                let (moved, kept): (Vec<InstId>, Vec<InstId>) = insts.into_iter().partition(|id| {
                    matches!(kernel.inst(*id).kind, InstKind::Store { index, value, .. }
                        if !own.contains(&index) && !own.contains(&value))
                });
                kernel.blocks[then_block.index()].insts = kept;
                list.extend(moved);
            }
            list.push(id);
        }
        kernel.blocks[outer].insts = list;
    }
}

/// Replaces the condition of each `if` by true where the `if` does not use it.
fn decide_everywhere(kernel: &mut Kernel) {
    let yes = kernel.add_value(Type::BOOL, ValueDef::Const(Const(1)), None);
    let ifs: Vec<(InstId, ValueId)> = instructions(kernel)
        .filter_map(|id| match kernel.inst(id).kind.control() {
            Some(Control::If { condition, .. }) => Some((id, condition)),
            _ => None,
        })
        .collect();
    replace(kernel, &ifs.iter().map(|(_, condition)| (*condition, yes)).collect());
    for (id, first) in ifs {
        if let InstKind::If { condition, .. } = &mut kernel.insts[id.index()].kind {
            *condition = first;
        }
    }
}

/// Replaces a second comparison of the same operands by what the first one says if no operand is a NaN.
fn negate_earlier_comparisons(kernel: &mut Kernel) {
    // The comparisons in the open blocks, by op and operands, and the blocks.
    let mut first: Vec<((Op, [ValueId; 2]), InstId, BlockId)> = Vec::new();
    let mut open = Vec::new();
    for event in Walk::new(kernel).collect::<Vec<_>>() {
        match event {
            Event::Enter(block) => open.push(block),
            Event::Exit(block) => {
                open.pop();
                first.retain(|(_, _, home)| *home != block);
            }
            Event::Inst(_) | Event::Done(_) => {}
        }
        let (Event::Inst(id), Some(home)) = (event, open.last()) else { continue };
        let InstKind::Scalar { op, operands, .. } = &kernel.inst(id).kind else { continue };
        let ([a, b], Op::Lt | Op::Le | Op::Gt | Op::Ge) = (&operands[..], op) else { continue };
        let (a, b) = (*a, *b);
        let opposites = match op {
            Op::Lt => [(Op::Ge, [a, b]), (Op::Le, [b, a])],
            Op::Le => [(Op::Gt, [a, b]), (Op::Lt, [b, a])],
            Op::Gt => [(Op::Le, [a, b]), (Op::Ge, [b, a])],
            _ => [(Op::Lt, [a, b]), (Op::Gt, [b, a])],
        };
        match first.iter().find(|(compared, _, _)| opposites.contains(compared)) {
            Some((_, earlier, _)) => {
                let operands = Operands::new(&[kernel.inst(*earlier).results[0]]);
                let mode = FloatMode::Default;
                kernel.insts[id.index()].kind = InstKind::Scalar { op: Op::Not, operands, mode };
            }
            None => first.push(((*op, [a, b]), id, *home)),
        }
    }
}

/// Selects, for what is stored elsewhere, the old element where the index of the last load of the block is out of bounds.
fn guard_other_stores(kernel: &mut Kernel) {
    for block in (0..kernel.blocks.len()).map(BlockId::new) {
        let mut last = None;
        for id in core::mem::take(&mut kernel.blocks[block.index()].insts) {
            last = loaded_word(kernel, id).or(last);
            if let (InstKind::Store { memory, index, value }, Some((guarding, guarded, _))) =
                (kernel.inst(id).kind.clone(), last)
                && index != guarded
            {
                let (ty, location) = (kernel.ty(value), kernel.location);
                let inside = append_bound(kernel, block, guarding, guarded);
                let old = kernel.add_inst(block, InstKind::Load { memory, index }, &[ty], location);
                let old = kernel.inst(old).results[0];
                let value = append_selection(kernel, block, [inside, value, old], ty);
                kernel.insts[id.index()].kind = InstKind::Store { memory, index, value };
            }
            kernel.blocks[block.index()].insts.push(id);
        }
    }
}

/// Selects zero for what is computed from the last loaded word where its index is out of bounds.
fn zero_computed_words(kernel: &mut Kernel) {
    for block in (0..kernel.blocks.len()).map(BlockId::new) {
        let mut last = None;
        for id in core::mem::take(&mut kernel.blocks[block.index()].insts) {
            last = loaded_word(kernel, id).or(last);
            kernel.blocks[block.index()].insts.push(id);
            if let (InstKind::Scalar { operands, .. }, Some((memory, index, loaded))) =
                (kernel.inst(id).kind.clone(), last)
                && let [result] = kernel.inst(id).results[..]
                && operands.contains(&loaded)
                && kernel.ty(result) == Type::U32
            {
                let inside = append_bound(kernel, block, memory, index);
                let zero = literal(kernel, 0);
                let selected = append_selection(kernel, block, [inside, result, zero], Type::U32);
                replace(kernel, &HashMap::from([(result, selected)]));
                // But for the selection itself.
                if let ValueDef::Inst(selection, _) = kernel.value(selected).def {
                    kernel.insts[selection.index()].kind.change_operands(|value| {
                        if *value == selected {
                            *value = result;
                        }
                    });
                }
            }
        }
    }
}

/// Returns the memory, index and result of a load of a word at a short index.
fn loaded_word(kernel: &Kernel, id: InstId) -> Option<(Memory, ValueId, ValueId)> {
    let InstKind::Load { memory, index } = kernel.inst(id).kind else { return None };
    let result = kernel.inst(id).results[0];
    let is_short = kernel.len_type(memory) == Type::U32 && kernel.ty(index) == Type::U32;
    (is_short && kernel.ty(result) == Type::U32).then_some((memory, index, result))
}

fn append_bound(kernel: &mut Kernel, block: BlockId, memory: Memory, index: ValueId) -> ValueId {
    let len = kernel.add_inst(block, InstKind::Len { memory }, &[Type::U32], kernel.location);
    append(kernel, block, Op::Lt, [index, kernel.inst(len).results[0]], Type::BOOL)
}

fn append_selection(kernel: &mut Kernel, block: BlockId, operands: [ValueId; 3], ty: Type) -> ValueId {
    let (operands, mode) = (Operands::new(&operands), FloatMode::Default);
    let kind = InstKind::Scalar { op: Op::Select, operands, mode };
    let selected = kernel.add_inst(block, kind, &[ty], kernel.location);
    kernel.inst(selected).results[0]
}
