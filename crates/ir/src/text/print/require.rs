//! Printing of preconditions, with an explicit stack of tasks.

use core::fmt::Write;

use fulgurite_spec::limits::MAX_REQUIRE_NODES;

use super::{BAD, Printer, axis_name};
use crate::kernel::{Memory, ParamId};
use crate::require::{Require, RequireNode};

impl Printer<'_> {
    pub(super) fn require(&mut self, require: &Require) {
        enum Task<'t> {
            Node(usize),
            Text(&'t str),
        }
        self.out.push_str("require ");
        let Some(root) = require.nodes.len().checked_sub(1) else {
            self.out.push_str("<bad>");
            return;
        };
        let mut tasks = vec![Task::Node(root)];
        let mut printed = 0usize;
        while let Some(task) = tasks.pop() {
            let index = match task {
                Task::Node(index) => index,
                Task::Text(text) => {
                    self.out.push_str(text);
                    continue;
                }
            };
            printed += 1;
            match require.nodes.get(index).filter(|_| printed <= MAX_REQUIRE_NODES) {
                None => self.out.push_str("<bad>"),
                Some(RequireNode::Literal(literal)) => {
                    let _ = write!(self.out, "{literal}");
                }
                Some(RequireNode::Param(id)) => self.param(*id),
                Some(RequireNode::Len(id)) => {
                    self.out.push_str("(len ");
                    self.memory(Memory::Buffer(*id));
                    self.out.push(')');
                }
                Some(RequireNode::NumWorkgroups(axis)) => {
                    let _ = write!(self.out, "num_workgroups.{}", axis_name(*axis));
                }
                Some(RequireNode::Op { op, operands }) => {
                    if printed > 1 {
                        self.out.push('(');
                        tasks.push(Task::Text(")"));
                    }
                    self.out.push_str(op.mnemonic());
                    for (position, operand) in operands.iter().enumerate().rev() {
                        // Only earlier nodes are followed, so that printing terminates.
                        let operand = Some(*operand as usize).filter(|o| *o < index).unwrap_or(usize::MAX);
                        tasks.push(Task::Node(operand));
                        tasks.push(Task::Text(if position == 0 { " " } else { ", " }));
                    }
                }
            }
        }
    }

    fn param(&mut self, id: ParamId) {
        let value = self.kernel.params.get(id.index()).map(|p| p.value);
        match value.and_then(|v| self.names.get(v.index())).and_then(|n| n.as_deref()) {
            Some(name) => {
                let _ = write!(self.out, "%{name}");
            }
            None => self.out.push_str(BAD),
        }
    }
}
