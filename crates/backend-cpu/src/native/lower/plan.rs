//! The division of a kernel at its barriers.
//!
//! All vectors of a workgroup run a segment before any runs the next one. Control flow around barriers is the same for
//! the whole workgroup, and is between segments.

use std::collections::{HashMap, HashSet};

use fulgurite_ir::analysis::operands;
use fulgurite_ir::{BlockId, Control, InstId, InstKind, Kernel, Terminator, ValueDef, ValueId};

use super::order::Rounds;
use crate::native::shape::{Scalars, yielded};

/// A part of a segment.
#[derive(Debug)]
pub(super) enum Item {
    Inst(InstId),
    /// The results of a region that ends here, and their values.
    Results(Vec<ValueId>, Vec<ValueId>),
    /// The value of a broadcast, which the next segment takes from one invocation.
    Publish(InstId, ValueId),
}

/// Instructions without a barrier between them.
#[derive(Debug, Default)]
pub(super) struct Segment {
    /// The position among all segments of the kernel, in the order of the text.
    number: u32,
    pub(super) items: Vec<Item>,
    /// Values of other segments that this one reads, and variables.
    pub(super) reads: Vec<ValueId>,
    /// Values of this segment that others read.
    pub(super) kept: Vec<ValueId>,
    /// Variables, with the values that are assigned to them at the end.
    pub(super) assigned: Vec<(ValueId, ValueId)>,
}

/// Segments and the control flow around them.
#[derive(Debug)]
pub(super) enum Node {
    Segment(Segment),
    /// A `for`. Its variables are the carried values.
    For(InstId, Vec<Node>),
    /// A `for` without carried values, whose counters are a row; see [`Rounds::Row`].
    Rounds(InstId, Segment),
    /// An `if`. Its variables are the results.
    If(InstId, [Vec<Node>; 2]),
}

/// Returns whether `kernel` has to be run by whole workgroups.
pub(crate) fn needs_whole_workgroups(kernel: &Kernel) -> bool {
    !kernel.shared.is_empty()
        || fulgurite_ir::analysis::instructions(kernel).any(|id| divides(&kernel.inst(id).kind))
}

/// Returns whether all invocations have to come here before any goes on.
fn divides(kind: &InstKind) -> bool {
    matches!(kind, InstKind::Barrier { .. } | InstKind::WorkgroupBroadcast { .. })
}

/// The maximum number of segments. Each is a loop, which takes a dozen steps even if nothing is in it.
const MAX_SEGMENTS: u32 = 1024;

/// Returns whether `kernel` can be divided: it has few barriers, none in a `while`, and what decides about barriers is a
/// scalar.
pub(crate) fn is_divisible(kernel: &Kernel) -> bool {
    divide(kernel, &Scalars::of(kernel)).is_some()
}

/// Divides a kernel. Returns `None` if it is not divisible.
pub(super) fn divide(kernel: &Kernel, scalars: &Scalars) -> Option<Vec<Node>> {
    let mut planner =
        Planner { kernel, scalars, segment: Segment::default(), number: 0, origins: HashMap::new() };
    let mut nodes = Vec::new();
    planner.block(kernel.body, &mut nodes)?;
    planner.finish(&mut nodes)?;
    let mut read = HashSet::new();
    find_reads(&nodes, &mut read);
    let mut kept = vec![Vec::new(); planner.number as usize];
    for value in read {
        if let Some(origin) = planner.origins.get(&value) {
            kept[*origin as usize].push(value);
        }
    }
    set_kept(&mut nodes, &mut kept);
    Some(nodes)
}

struct Planner<'k> {
    kernel: &'k Kernel,
    scalars: &'k Scalars,
    /// The segment under construction.
    segment: Segment,
    number: u32,
    /// The segments that define values.
    origins: HashMap<ValueId, u32>,
}

impl Planner<'_> {
    /// Ends a segment.
    fn finish(&mut self, nodes: &mut Vec<Node>) -> Option<()> {
        let mut segment = std::mem::take(&mut self.segment);
        segment.number = self.number;
        let origins = &self.origins;
        segment.reads.sort();
        segment.reads.dedup();
        segment.reads.retain(|value| {
            let is_input = match self.kernel.value(*value).def {
                ValueDef::Const(_) | ValueDef::Param(_) => true,
                ValueDef::Inst(..) | ValueDef::BlockParam(..) => false,
            };
            !is_input && origins.get(value) != Some(&self.number)
        });
        nodes.push(Node::Segment(segment));
        self.number += 1;
        (self.number <= MAX_SEGMENTS).then_some(())
    }

    fn define(&mut self, values: &[ValueId]) {
        for value in values {
            self.origins.insert(*value, self.number);
        }
    }

    /// Adds what an instruction and its nested blocks read and define.
    fn collect(&mut self, id: InstId) {
        let kernel = self.kernel;
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            let inst = kernel.inst(id);
            self.segment.reads.extend(operands(&inst.kind));
            self.define(&inst.results);
            for block in inst.kind.control().into_iter().flat_map(Control::blocks) {
                let block = kernel.block(block);
                self.define(&block.params);
                open.extend(&block.insts);
                match &block.terminator {
                    Terminator::Yield(values) => self.segment.reads.extend(values),
                    Terminator::Condition(value) => self.segment.reads.push(*value),
                    Terminator::Return => {}
                }
            }
        }
    }

    /// Returns whether an instruction is a barrier or a broadcast, or has one.
    fn has_barrier(&self, id: InstId) -> bool {
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            let kind = &self.kernel.inst(id).kind;
            if divides(kind) {
                return true;
            }
            for block in kind.control().into_iter().flat_map(Control::blocks) {
                open.extend(&self.kernel.block(block).insts);
            }
        }
        false
    }

    fn add(&mut self, id: InstId) {
        self.collect(id);
        self.segment.items.push(Item::Inst(id));
    }

    fn assign(&mut self, variables: &[ValueId], values: &[ValueId]) {
        self.segment.reads.extend(values);
        self.segment.assigned.extend(variables.iter().copied().zip(values.iter().copied()));
    }

    fn block(&mut self, block: BlockId, nodes: &mut Vec<Node>) -> Option<()> {
        let kernel = self.kernel;
        for id in kernel.block(block).insts.iter().copied() {
            let inst = kernel.inst(id);
            let has_barrier = self.has_barrier(id);
            let rounds = if has_barrier { None } else { Rounds::of(kernel, self.scalars, id) };
            if let (Some(Rounds::Row), Some(Control::For { start, end, body, .. })) =
                (rounds, inst.kind.control())
            {
                self.finish(nodes)?;
                self.segment.reads.extend([start, end]);
                self.define(&kernel.block(body).params);
                kernel.block(body).insts.iter().for_each(|id| self.add(*id));
                let mut inner = Vec::new();
                self.finish(&mut inner)?;
                let Some(Node::Segment(segment)) = inner.pop() else { return None };
                nodes.push(Node::Rounds(id, segment));
                continue;
            }
            if !has_barrier && rounds.is_none() {
                self.add(id);
                continue;
            }
            match inst.kind.control() {
                None => {
                    if let InstKind::WorkgroupBroadcast { value, .. } = inst.kind {
                        self.segment.reads.push(value);
                        self.segment.items.push(Item::Publish(id, value));
                    }
                    self.finish(nodes)?;
                    if let InstKind::WorkgroupBroadcast { index, .. } = inst.kind {
                        self.segment.reads.push(index);
                        self.define(&inst.results);
                        self.segment.items.push(Item::Inst(id));
                    }
                }
                Some(Control::Region { body, .. }) => {
                    self.block(body, nodes)?;
                    let yields = yielded(kernel, body);
                    self.segment.reads.extend(yields);
                    self.define(&inst.results);
                    self.segment.items.push(Item::Results(inst.results.to_vec(), yields.to_vec()));
                }
                Some(Control::For { start, end, initial, body, .. }) => {
                    if !self.scalars.is_scalar(start) || !self.scalars.is_scalar(end) {
                        return None;
                    }
                    let (_, carried) = kernel.block(body).params.split_first()?;
                    self.segment.reads.extend([start, end]);
                    self.assign(carried, initial);
                    self.finish(nodes)?;
                    let mut inner = Vec::new();
                    self.block(body, &mut inner)?;
                    self.assign(carried, yielded(kernel, body));
                    self.finish(&mut inner)?;
                    nodes.push(Node::For(id, inner));
                }
                Some(Control::If { condition, then_block, else_block }) => {
                    if !self.scalars.is_scalar(condition) {
                        return None;
                    }
                    self.segment.reads.push(condition);
                    self.finish(nodes)?;
                    let mut blocks = [Vec::new(), Vec::new()];
                    for (inner, block) in blocks.iter_mut().zip([then_block, else_block]) {
                        self.block(block, inner)?;
                        self.assign(&inst.results, yielded(kernel, block));
                        self.finish(inner)?;
                    }
                    nodes.push(Node::If(id, blocks));
                }
                Some(Control::While { .. }) => return None,
            }
        }
        Some(())
    }
}

/// Collects the values that segments read from others.
fn find_reads(nodes: &[Node], read: &mut HashSet<ValueId>) {
    for node in nodes {
        match node {
            Node::Segment(segment) | Node::Rounds(_, segment) => read.extend(&segment.reads),
            Node::For(_, body) => find_reads(body, read),
            Node::If(_, blocks) => blocks.iter().for_each(|block| find_reads(block, read)),
        }
    }
}

/// Sets the values that each segment keeps for others, given by its number.
fn set_kept(nodes: &mut [Node], kept: &mut [Vec<ValueId>]) {
    for node in nodes {
        match node {
            Node::Segment(segment) | Node::Rounds(_, segment) => {
                segment.kept = std::mem::take(&mut kept[segment.number as usize]);
                segment.kept.sort();
            }
            Node::For(_, body) => set_kept(body, kept),
            Node::If(_, blocks) => blocks.iter_mut().for_each(|block| set_kept(block, kept)),
        }
    }
}
