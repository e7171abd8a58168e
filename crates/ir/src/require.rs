//! Preconditions of a launch: expressions over parameters, lengths and the grid.
//!
//! An expression is a flat list in which every node refers only to earlier ones; the last node is the
//! condition. The host evaluates it before each launch through [`fulgurite_spec::eval`].

use fulgurite_spec::eval::{self, Components};
use fulgurite_spec::{Literal, Location, Op, Type};

use crate::kernel::{BufferId, Grid, Kernel, Memory, ParamId};

/// A precondition.
#[derive(Clone, Debug)]
pub struct Require {
    /// Nodes; each refers only to earlier ones; the last is the condition, of type `bool`.
    pub nodes: Vec<RequireNode>,
    /// Where it was written.
    pub location: Location,
}

/// A node of a precondition.
#[derive(Clone, Debug)]
pub enum RequireNode {
    /// A constant.
    Literal(Literal),
    /// A parameter's value.
    Param(ParamId),
    /// The length of a buffer in elements: `u32`, of a `large` one `u64`.
    Len(BufferId),
    /// The grid's size along x, y or z (0, 1 or 2), `u32`.
    NumWorkgroups(u8),
    /// A lane-by-lane op of the table that is not `Stated`.
    Op {
        /// The op.
        op: Op,
        /// Indices of earlier nodes.
        operands: Vec<u32>,
    },
}

/// What a launch gives its kernel, as far as preconditions can see.
#[derive(Clone, Copy, Debug)]
pub struct LaunchFacts<'a> {
    /// The grid.
    pub grid: Grid,
    /// Elements in each buffer, in binding order.
    pub lengths: &'a [u64],
    /// Parameter values, in order.
    pub params: &'a [Components],
}

impl Require {
    /// The type of each node, or `None` at a node that is badly typed or refers to what is not there.
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
                    operand_types.and_then(|t| crate::verify::scalar_result(*op, &t, None).ok())
                }
            };
            types.push(ty);
        }
        types
    }

    /// Whether the precondition holds; `None` if it is malformed, which a verified kernel's never is.
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
                    let main = crate::verify::main_type(*op, &operand_types)?;
                    eval::eval(*op, main, (*ty)?, &args)?
                }
            };
            values.push(value);
        }
        values.last().map(|v| v[0] & 1 != 0)
    }
}

impl Kernel {
    /// The first precondition that `facts` do not satisfy, as its text.
    pub fn failed_require(&self, facts: &LaunchFacts<'_>) -> Option<String> {
        self.requires
            .iter()
            .find(|r| r.holds(self, facts) != Some(true))
            .map(|r| crate::text::print_require(self, r))
    }
}
