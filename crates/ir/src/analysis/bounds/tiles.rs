//! Accesses within the workgroup's own part of a buffer: `workgroup_id · c + r` with `r < c`, where a precondition
//! states that the buffer has room for one part per workgroup.

use std::collections::HashMap;

use fulgurite_spec::{Op, Type};

use crate::analysis::numbering::conjuncts;
use crate::analysis::ranges::RangeMap;
use crate::kernel::{BufferId, InstKind, Kernel, Memory, ValueDef, ValueId};
use crate::require::{Require, RequireNode};

/// The maximum number of terms in a sum.
const MAX_TERMS: usize = 16;

/// Facts about parts, from preconditions.
pub(super) struct Tiles<'a> {
    kernel: &'a Kernel,
    ranges: &'a RangeMap<'a>,
    /// For a buffer and an axis, the number of bytes for each workgroup along the axis.
    parts: HashMap<(BufferId, u8), u64>,
    /// The maximum number of workgroups along each axis.
    most: [u64; 3],
}

impl<'a> Tiles<'a> {
    pub(super) fn of(kernel: &'a Kernel, ranges: &'a RangeMap<'a>) -> Self {
        let mut tiles = Self { kernel, ranges, parts: HashMap::new(), most: [u64::from(u32::MAX); 3] };
        for require in &kernel.requires {
            for position in conjuncts(require) {
                if let RequireNode::Op { op, operands } = &require.nodes[position as usize]
                    && let [a, b] = operands.as_slice()
                {
                    tiles.precondition(require, *op, [*a, *b]);
                }
            }
        }
        tiles
    }

    fn precondition(&mut self, require: &Require, op: Op, [a, b]: [u32; 2]) {
        let node = |i: u32| &require.nodes[i as usize];
        match (op, node(a), node(b)) {
            (Op::Le, RequireNode::NumWorkgroups(axis), RequireNode::Literal(most)) => {
                let known = &mut self.most[usize::from(*axis).min(2)];
                *known = most.bits.min(*known);
            }
            (Op::Eq | Op::Le, RequireNode::Op { op: Op::Mul, operands }, RequireNode::Len(buffer)) => {
                self.room(require, operands, *buffer);
            }
            (Op::Eq | Op::Ge, RequireNode::Len(buffer), RequireNode::Op { op: Op::Mul, operands }) => {
                self.room(require, operands, *buffer);
            }
            _ => {}
        }
    }

    /// Records that the product of `operands`, a number of workgroups and a literal, is at most the length of
    /// `buffer`.
    fn room(&mut self, require: &Require, operands: &[u32], buffer: BufferId) {
        let [a, b] = operands else { return };
        let (RequireNode::NumWorkgroups(axis), RequireNode::Literal(each)) =
            (&require.nodes[*a as usize], &require.nodes[*b as usize])
        else {
            return;
        };
        let size = u64::from(self.kernel.buffers[buffer.index()].element.size());
        self.parts.insert((buffer, *axis), each.bits * size);
    }

    /// Returns whether `index` lies in the part of `memory` that belongs to its workgroup.
    pub(super) fn is_inside(&self, memory: Memory, index: ValueId) -> bool {
        let Memory::Buffer(buffer) = self.kernel.base(memory) else { return false };
        let Some((axis, each, rest)) = self.part(index) else { return false };
        let Some(bytes) = self.parts.get(&(buffer, axis)) else { return false };
        let base = u64::from(self.kernel.element(Memory::Buffer(buffer)).size().max(1));
        let size = u64::from(self.kernel.element(memory).size());
        let most = self.most[usize::from(axis)];
        // Neither the product computed by the host, in elements of the buffer, nor this index may wrap.
        let whole = |elements: u64| elements.checked_mul(most).is_some_and(|n| n <= u64::from(u32::MAX));
        rest < each && each * size <= *bytes && whole(bytes / base) && whole(each)
    }

    /// Decomposes an index into an axis of the workgroup id, its literal factor, and the maximum of the remaining
    /// terms.
    fn part(&self, index: ValueId) -> Option<(u8, u64, u64)> {
        let (mut part, mut rest) = (None, 0u64);
        let mut terms = vec![index];
        let mut seen = 0;
        while let Some(term) = terms.pop() {
            seen += 1;
            if seen > MAX_TERMS || self.kernel.ty(term) != Type::U32 {
                return None;
            }
            if let Some((Op::Add, [a, b])) = self.op(term) {
                terms.extend([a, b]);
            } else if let (Some(found), None) = (self.scaled_id(term), part) {
                part = Some(found);
            } else {
                rest += u64::from(self.ranges.range(term).most);
            }
        }
        let (axis, each) = part?;
        Some((axis, each, rest))
    }

    fn op(&self, value: ValueId) -> Option<(Op, [ValueId; 2])> {
        let ValueDef::Inst(inst, _) = self.kernel.value(value).def else { return None };
        let InstKind::Scalar { op, operands, .. } = &self.kernel.inst(inst).kind else { return None };
        <[ValueId; 2]>::try_from(&**operands).ok().map(|operands| (*op, operands))
    }

    /// Matches the workgroup id along an axis, times a literal.
    fn scaled_id(&self, value: ValueId) -> Option<(u8, u64)> {
        let (op, [a, b]) = self.op(value)?;
        let literal = |v: ValueId| self.kernel.literal(v).map(|l| l.bits);
        let (id, each) = match (op, literal(a), literal(b)) {
            (Op::Mul, None, Some(each)) => (a, each),
            (Op::Mul, Some(each), None) => (b, each),
            (Op::Shl, None, Some(amount)) if amount < 32 => (a, 1 << amount),
            _ => return None,
        };
        let ValueDef::Inst(inst, _) = self.kernel.value(id).def else { return None };
        let InstKind::Id { op: Op::WorkgroupId, component } = self.kernel.inst(inst).kind else {
            return None;
        };
        Some((component, each))
    }
}
