//! The changes that make a kernel smaller. The result may be malformed; printed and parsed, it is as good as any text.

use std::collections::HashMap;

use fulgurite_ir::analysis::{instructions, used_values};
use fulgurite_ir::{
    BlockId, Const, Control, FloatMode, InstId, InstKind, Kernel, MatrixInst, Operands, Terminator, ValueDef,
    ValueId,
};
use fulgurite_spec::{Location, Op, ScalarType, Type, eval};

use super::bounding::yields;

/// A place where a value is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// An operand of an instruction, by its position among those that [`InstKind::change_operands`] calls with.
    Operand(InstId, usize),
    /// A value that a block yields, by its position.
    Yield(BlockId, usize),
}

/// The blocks of control flow that take its place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arm {
    /// The first one.
    First,
    /// The second one.
    Second,
    /// The first, then the second one.
    Both,
}

/// Replaces uses of some values everywhere.
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

fn constant(kernel: &mut Kernel, ty: ScalarType, bits: u64) -> ValueId {
    kernel.add_value(Type::scalar(ty), ValueDef::Const(Const(bits)), None)
}

/// Returns the bits of a small number.
fn small(ty: ScalarType, number: u64) -> u64 {
    match ty {
        ScalarType::Bool => number & 1,
        _ if ty.is_float() => eval::scalar(Op::Convert, ScalarType::U32, ty, &[number]).unwrap_or(0),
        _ => number,
    }
}

/// Returns a value whose components are all `number`, by an instruction at the end of `block` if it is no scalar.
fn filled(kernel: &mut Kernel, block: BlockId, ty: Type, number: u64) -> ValueId {
    let component = constant(kernel, ty.scalar, small(ty.scalar, number));
    let kind = if ty.is_matrix() {
        InstKind::CoopFill { value: component }
    } else if ty.is_scalar() {
        return component;
    } else {
        let operands = (0..ty.lanes.count()).map(|_| component).collect();
        InstKind::Scalar { op: Op::Construct, operands, mode: FloatMode::Default }
    };
    let id = kernel.add_inst(block, kind, &[ty], Location::Unknown);
    kernel.inst(id).results[0]
}

/// Removes instructions with the blocks in them. What loops carry becomes their results, and `number` the other results.
pub(super) fn remove(kernel: &mut Kernel, removed: &[InstId], number: u64) {
    let used = used_values(kernel);
    let mut by = HashMap::new();
    for block in (0..kernel.blocks.len()).map(BlockId::new) {
        for id in core::mem::take(&mut kernel.blocks[block.index()].insts) {
            if !removed.contains(&id) {
                kernel.blocks[block.index()].insts.push(id);
                continue;
            }
            let inst = kernel.inst(id).clone();
            let initial: &[ValueId] = match inst.kind.control() {
                Some(Control::For { initial, .. } | Control::While { initial, .. }) => initial,
                Some(Control::If { .. } | Control::Region { .. }) | None => &Operands::EMPTY,
            };
            for (at, result) in inst.results.iter().enumerate().filter(|(_, result)| used[result.index()]) {
                let ty = kernel.ty(*result);
                let value = match initial.get(at).copied() {
                    // Which may be removed itself.
                    Some(value) => by.get(&value).copied().unwrap_or(value),
                    None => filled(kernel, block, ty, number),
                };
                by.insert(*result, value);
            }
        }
    }
    resolve(&mut by);
    replace(kernel, &by);
}

/// Replaces the values that others are replaced by, if they are replaced as well.
fn resolve(by: &mut HashMap<ValueId, ValueId>) {
    let ends: Vec<(ValueId, ValueId)> = by
        .iter()
        .map(|(from, to)| {
            let mut end = *to;
            // Values come from earlier ones, so there is no circle; the count is only a limit.
            for _ in 0..by.len() {
                match by.get(&end) {
                    Some(next) => end = *next,
                    None => break,
                }
            }
            (*from, end)
        })
        .collect();
    by.extend(ends);
}

/// Removes an instruction whose only result `by` replaces.
pub(super) fn remove_for(kernel: &mut Kernel, id: InstId, by: ValueId) {
    if let [result] = kernel.inst(id).results[..] {
        kernel.blocks.iter_mut().for_each(|block| block.insts.retain(|other| *other != id));
        replace(kernel, &HashMap::from([(result, by)]));
    }
}

/// Returns the operands of an instruction that have the type of its only result, without literals.
pub(super) fn operands_like_result(kernel: &Kernel, id: InstId) -> Vec<ValueId> {
    let inst = kernel.inst(id);
    let ([result], None) = (&inst.results[..], inst.kind.control()) else { return Vec::new() };
    let mut same = operands(&inst.kind);
    same.retain(|value| kernel.ty(*value) == kernel.ty(*result) && kernel.literal(*value).is_none());
    same.dedup();
    same
}

/// Returns the operands in the order in which they are changed.
fn operands(kind: &InstKind) -> Vec<ValueId> {
    let mut all = Vec::new();
    kind.clone().change_operands(|value| all.push(*value));
    all
}

/// Removes instructions that have no effect and whose results nothing uses. Returns whether there were any.
pub(super) fn remove_dead(kernel: &mut Kernel) -> bool {
    let mut removed = false;
    loop {
        let used = used_values(kernel);
        let is_dead = |id: InstId| {
            let inst = kernel.inst(id);
            let has_effect = match (inst.kind.matrix(), inst.kind.pure()) {
                (Some(MatrixInst::Store { .. }), _) => true,
                (Some(_), _) | (_, Some(_)) => false,
                (None, None) => !matches!(inst.kind, InstKind::Load { .. }),
            };
            !has_effect && inst.results.iter().all(|result| !used[result.index()])
        };
        let mut dead = vec![false; kernel.insts.len()];
        instructions(kernel).for_each(|id| dead[id.index()] = is_dead(id));
        if !dead.contains(&true) {
            return removed;
        }
        removed = true;
        kernel.blocks.iter_mut().for_each(|block| block.insts.retain(|id| !dead[id.index()]));
    }
}

/// Puts the instructions of one arm of control flow in its place: of an `if`, a `region`, or one iteration of a loop.
pub(super) fn unwrap(kernel: &mut Kernel, id: InstId, arm: Arm) {
    let inst = kernel.inst(id).clone();
    let Some(control) = inst.kind.control() else { return };
    let blocks: Vec<BlockId> = match arm {
        Arm::First => control.blocks().take(1).collect(),
        Arm::Second => control.blocks().skip(1).collect(),
        Arm::Both => control.blocks().collect(),
    };
    let supplied: Vec<ValueId> = match control {
        Control::If { .. } | Control::Region { .. } => Vec::new(),
        Control::For { start, initial, .. } => [start].into_iter().chain(initial.iter().copied()).collect(),
        Control::While { initial, .. } => initial.to_vec(),
    };
    let params = blocks.first().map(|block| kernel.block(*block).params.clone()).unwrap_or_default();
    replace(kernel, &params.into_iter().zip(supplied).collect());
    let results: HashMap<ValueId, ValueId> = match blocks.last() {
        Some(last) => inst.results.iter().copied().zip(yields(kernel, *last).iter().copied()).collect(),
        None => HashMap::new(),
    };
    let mut inner = Vec::new();
    for block in blocks {
        inner.append(&mut kernel.blocks[block.index()].insts);
    }
    for block in &mut kernel.blocks {
        if let Some(at) = block.insts.iter().position(|other| *other == id) {
            block.insts.splice(at..=at, inner);
            break;
        }
    }
    replace(kernel, &results);
}

/// Makes a `for` count from 0 to `count` by 1.
pub(super) fn set_trips(kernel: &mut Kernel, id: InstId, count: u64) {
    let InstKind::For { start, .. } = kernel.inst(id).kind else { return };
    let ty = kernel.ty(start).scalar;
    let [first, last, by] = [0, count, 1].map(|number| constant(kernel, ty, number));
    if let InstKind::For { start, end, step, .. } = &mut kernel.insts[id.index()].kind {
        (*start, *end, *step) = (first, last, by);
    }
}

/// Removes a result of control flow, with what is carried and yielded for it.
pub(super) fn remove_result(kernel: &mut Kernel, id: InstId, at: usize) {
    let inst = kernel.inst(id).clone();
    let (Some(control), Some(result)) = (inst.kind.control(), inst.results.get(at).copied()) else { return };
    let mut gone = vec![result];
    let mut by = HashMap::new();
    let (first, initial) = match control {
        Control::For { body, initial, .. } => (Some((body, at + 1)), initial.get(at)),
        Control::While { header, initial, .. } => (Some((header, at)), initial.get(at)),
        Control::If { .. } | Control::Region { .. } => (None, None),
    };
    if let (Some((block, position)), Some(initial)) = (first, initial) {
        let param = kernel.blocks[block.index()].params.remove(position);
        gone.push(param);
        by.extend([(param, *initial), (result, *initial)]);
    } else {
        let home = kernel.blocks.iter().position(|block| block.insts.contains(&id)).unwrap_or_default();
        // In front of the instruction.
        let tail = kernel.blocks[home].insts.iter().position(|other| *other == id).unwrap_or_default();
        let rest = kernel.blocks[home].insts.split_off(tail);
        let value = filled(kernel, BlockId::new(home), kernel.ty(result), 0);
        kernel.blocks[home].insts.extend(rest);
        by.insert(result, value);
    }
    for block in control.blocks() {
        if let Terminator::Yield(values) = &mut kernel.blocks[block.index()].terminator {
            *values = without(values, at);
        }
    }
    let kept = &mut kernel.insts[id.index()];
    kept.results = without(&inst.results, at);
    if let InstKind::For { initial, .. } | InstKind::While { initial, .. } = &mut kept.kind {
        *initial = without(initial, at);
    }
    replace(kernel, &by);
    // Nothing defines these any more.
    for value in gone {
        kernel.values[value.index()].def = ValueDef::Const(Const(0));
    }
}

fn without(values: &[ValueId], at: usize) -> Operands {
    values.iter().enumerate().filter(|(position, _)| *position != at).map(|(_, value)| *value).collect()
}

/// Returns the places where values are used, in the order of instructions.
pub(super) fn uses(kernel: &Kernel) -> Vec<Place> {
    let mut places = Vec::new();
    for id in instructions(kernel) {
        let kind = &kernel.inst(id).kind;
        places.extend((0..operands(kind).len()).map(|at| Place::Operand(id, at)));
        for block in kind.control().into_iter().flat_map(Control::blocks) {
            places.extend((0..yields(kernel, block).len()).map(|at| Place::Yield(block, at)));
        }
    }
    places
}

/// Returns simpler values than that in a place, the simplest first. Literals among them are new values of the kernel that
/// [`set`] adds.
pub(super) fn simpler(kernel: &Kernel, place: Place) -> Vec<Simpler> {
    let value = match place {
        Place::Operand(id, at) => operands(&kernel.inst(id).kind)[at],
        Place::Yield(block, at) => yields(kernel, block)[at],
    };
    let ty = kernel.ty(value);
    if let Some(literal) = kernel.literal(value) {
        let mut all: Vec<u64> = [0, 1].map(|number| small(literal.ty, number)).into();
        if literal.ty.is_integer() {
            all.push(literal.bits / 2);
        }
        all.retain(|bits| *bits < literal.bits);
        return all.into_iter().map(Simpler::Literal).collect();
    }
    let mut all = Vec::new();
    if ty.is_scalar() {
        all.extend([0, 1].map(|number| Simpler::Literal(small(ty.scalar, number))));
    }
    if let ValueDef::Inst(id, _) = kernel.value(value).def {
        all.extend(operands_like_result(kernel, id).into_iter().map(Simpler::Value));
    }
    all
}

/// A value in the place of another.
#[derive(Clone, Copy, Debug)]
pub(super) enum Simpler {
    /// The bits of a literal.
    Literal(u64),
    /// A value of the kernel.
    Value(ValueId),
}

/// Uses another value in a place.
pub(super) fn set(kernel: &mut Kernel, place: Place, by: Simpler) {
    let change = |kernel: &mut Kernel, value: ValueId| match by {
        Simpler::Literal(bits) => constant(kernel, kernel.ty(value).scalar, bits),
        Simpler::Value(value) => value,
    };
    match place {
        Place::Operand(id, at) => {
            let value = change(kernel, operands(&kernel.inst(id).kind)[at]);
            let mut position = 0;
            kernel.insts[id.index()].kind.change_operands(|operand| {
                if position == at {
                    *operand = value;
                }
                position += 1;
            });
        }
        Place::Yield(block, at) => {
            let value = change(kernel, yields(kernel, block)[at]);
            if let Terminator::Yield(values) = &mut kernel.blocks[block.index()].terminator {
                values[at] = value;
            }
        }
    }
}
