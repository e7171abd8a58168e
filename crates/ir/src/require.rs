//! Preconditions of a launch: expressions over parameters, buffer lengths and the grid.
//!
//! An expression is a flat list of nodes in which each node refers only to earlier ones; the last node is the
//! condition. The host evaluates it before each launch through [`fulgurite_spec::eval`].

use fulgurite_spec::eval::{self, Components};
use fulgurite_spec::{Literal, Location, Op, Type};

use crate::kernel::{BufferId, Grid, Kernel, Memory, ParamId};

/// A precondition.
#[derive(Clone, Debug)]
pub struct Require {
    /// The nodes. Each refers only to earlier ones; the last is the condition, of type `bool`.
    pub nodes: Vec<RequireNode>,
    /// Source location.
    pub location: Location,
}

/// A node of a precondition.
#[derive(Clone, Debug)]
pub enum RequireNode {
    /// A constant.
    Literal(Literal),
    /// A parameter's value.
    Param(ParamId),
    /// The length of a buffer in elements: `u64` for a `large` buffer, `u32` otherwise.
    Len(BufferId),
    /// The grid size along x, y or z (0, 1 or 2), a `u32`.
    NumWorkgroups(u8),
    /// An elementwise op of the op table, except those with a stated result type.
    Op {
        /// The op.
        op: Op,
        /// Indices of the operands, which are earlier nodes.
        operands: Vec<u32>,
    },
}

/// The launch arguments that preconditions can refer to.
#[derive(Clone, Copy, Debug)]
pub struct LaunchFacts<'a> {
    /// The grid.
    pub grid: Grid,
    /// The number of elements in each buffer, in binding order.
    pub lengths: &'a [u64],
    /// Parameter values, in order.
    pub params: &'a [Components],
}

impl Require {
    /// Returns the type of each node, or `None` for a node that is badly typed or refers to an undeclared item or a
    /// later node.
    pub fn types(&self, kernel: &Kernel) -> Vec<Option<Type>> {
        let mut types: Vec<Option<Type>> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let ty = match node {
                RequireNode::Literal(literal) => Some(Type::scalar(literal.ty)),
                RequireNode::Param(id) => kernel.params.get(id.index()).map(|p| p.ty),
                RequireNode::Len(id) => {
                    (id.index() < kernel.buffers.len()).then(|| kernel.len_type(Memory::Buffer(*id)))
                }
                RequireNode::NumWorkgroups(axis) => (*axis < 3).then_some(Type::U32),
                RequireNode::Op { op, operands } => {
                    let operand_types: Option<Vec<Type>> =
                        operands.iter().map(|i| types.get(*i as usize).copied().flatten()).collect();
                    operand_types.and_then(|t| crate::typing::scalar_result(*op, &t, None).ok())
                }
            };
            types.push(ty);
        }
        types
    }

    /// Returns whether the precondition holds, or `None` if it is malformed, which is impossible in a verified
    /// kernel.
    pub fn holds(&self, kernel: &Kernel, facts: &LaunchFacts<'_>) -> Option<bool> {
        let types = self.types(kernel);
        let mut values: Vec<Components> = Vec::with_capacity(self.nodes.len());
        for (node, ty) in self.nodes.iter().zip(&types) {
            let value = match node {
                RequireNode::Literal(literal) => eval::splat_low(literal.bits),
                RequireNode::Param(id) => *facts.params.get(id.index())?,
                RequireNode::Len(id) => eval::splat_low(*facts.lengths.get(id.index())?),
                RequireNode::NumWorkgroups(axis) => {
                    eval::splat_low(u64::from(*facts.grid.get(usize::from(*axis))?))
                }
                RequireNode::Op { op, operands } => {
                    let operand_types: Vec<Type> = operands
                        .iter()
                        .map(|i| types.get(*i as usize).copied().flatten())
                        .collect::<Option<_>>()?;
                    let args: Vec<Components> =
                        operands.iter().map(|i| values.get(*i as usize).copied()).collect::<Option<_>>()?;
                    let main = crate::typing::main_type(*op, &operand_types)?;
                    eval::eval(*op, main, (*ty)?, &args)?
                }
            };
            values.push(value);
        }
        values.last().map(|v| v[0] & 1 != 0)
    }

    /// Returns whether the precondition refers to the length of `buffer`.
    pub fn speaks_of_len(&self, buffer: BufferId) -> bool {
        self.nodes.iter().any(|node| matches!(node, RequireNode::Len(id) if *id == buffer))
    }

    /// Formats the launch's value of each parameter, length and grid size in the precondition, without duplicates:
    /// "`%n` is 3u32, `len %y` is 5u32".
    fn stated(&self, kernel: &Kernel, facts: &LaunchFacts<'_>) -> String {
        let mut all = Vec::new();
        for (node, ty) in self.nodes.iter().zip(self.types(kernel)) {
            let (name, values) = match node {
                RequireNode::Param(id) => {
                    let name = format!("%{}", kernel.params[id.index()].name);
                    (name, facts.params.get(id.index()).copied().unwrap_or_default())
                }
                RequireNode::Len(id) => {
                    let length = facts.lengths.get(id.index()).copied().unwrap_or_default();
                    (format!("len %{}", kernel.buffers[id.index()].name), eval::splat_low(length))
                }
                RequireNode::NumWorkgroups(axis) => {
                    let (axis, name) = (usize::from(*axis), ["x", "y", "z"][usize::from(*axis)]);
                    (format!("num_workgroups.{name}"), eval::splat_low(u64::from(facts.grid[axis])))
                }
                RequireNode::Literal(_) | RequireNode::Op { .. } => continue,
            };
            let Some(ty) = ty else { continue };
            let each = values.iter().take(ty.lanes.count() as usize);
            let each: Vec<_> = each.map(|bits| Literal { ty: ty.scalar, bits: *bits }.to_string()).collect();
            let value =
                if let [one] = each.as_slice() { one.clone() } else { format!("({})", each.join(", ")) };
            let said = format!("`{name}` is {value}");
            if !all.contains(&said) {
                all.push(said);
            }
        }
        all.join(", ")
    }
}

impl Kernel {
    /// Returns the first precondition that `facts` do not satisfy, and the values of the parameters, lengths and grid
    /// sizes that it refers to, as text.
    pub fn failed_require(&self, facts: &LaunchFacts<'_>) -> Option<(&Require, String)> {
        let failed = self.requires.iter().find(|r| r.holds(self, facts) != Some(true))?;
        Some((failed, failed.stated(self, facts)))
    }
}
