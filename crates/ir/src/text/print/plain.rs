//! Printing of instructions without blocks.

use core::fmt::Write;

use fulgurite_spec::{Op, Semantics, Special};

use super::{Printer, axis_name};
use crate::kernel::{AtomicOrder, FloatMode, InstKind, MemoryScopes, SyncScope};

/// Formats the attributes after an op, or returns an empty string if there are none.
fn attributes(parts: &[Option<&str>]) -> String {
    let parts: Vec<&str> = parts.iter().copied().flatten().collect();
    if parts.is_empty() { String::new() } else { format!("[{}]", parts.join(", ")) }
}

fn scopes(scopes: MemoryScopes) -> &'static str {
    match scopes {
        MemoryScopes { shared: true, buffers: true } => "",
        MemoryScopes { shared: true, buffers: false } => "[shared]",
        MemoryScopes { shared: false, buffers: true } => "[buffers]",
        MemoryScopes { shared: false, buffers: false } => "[]",
    }
}

impl Printer<'_> {
    fn op(&mut self, op: Op, parts: &[Option<&str>]) {
        let _ = write!(self.out, "{}{}", op.mnemonic(), attributes(parts));
    }

    /// Prints an instruction without blocks.
    pub(super) fn plain(&mut self, kind: &InstKind) {
        match kind {
            InstKind::Scalar { op, operands, mode } => {
                self.op(*op, &[Some(mode.name()).filter(|_| *mode != FloatMode::Default)]);
                self.list(operands);
            }
            InstKind::VecShuffle { components, vectors } => {
                let components: Vec<String> = components.iter().map(ToString::to_string).collect();
                let _ = write!(self.out, "{}[{}]", Op::VecShuffle.mnemonic(), components.join(", "));
                self.list(vectors);
            }
            InstKind::Id { op, component } => {
                self.op(*op, &[]);
                if op.info().semantics == Semantics::Special(Special::Id) {
                    let _ = write!(self.out, ".{}", axis_name(*component));
                }
            }
            InstKind::Load { memory, index } => {
                self.op(Op::Load, &[]);
                self.element(*memory, *index);
            }
            InstKind::Store { memory, index, value } => {
                self.op(Op::Store, &[]);
                self.element(*memory, *index);
                self.out.push_str(", ");
                self.value(*value);
            }
            InstKind::Len { memory } => {
                self.out.push_str("len ");
                self.memory(*memory);
            }
            InstKind::Atomic { op, order, scope, memory, index, operands } => {
                let is_default = *scope == self.kernel.default_scope(*memory);
                let order = Some(order.name()).filter(|_| *order != AtomicOrder::Relaxed);
                self.op(*op, &[order, Some(scope.name()).filter(|_| !is_default)]);
                self.element(*memory, *index);
                for operand in operands {
                    self.out.push_str(", ");
                    self.value(*operand);
                }
            }
            InstKind::Fence { order, scope } => {
                let whole = (*order, *scope) == (AtomicOrder::AcquireRelease, SyncScope::Device);
                let parts = [order.name(), scope.name()].map(Some);
                self.op(Op::Fence, if whole { &[] } else { &parts });
            }
            InstKind::Barrier { scopes: which } => {
                self.op(Op::Barrier, &[]);
                self.out.push_str(scopes(*which));
            }
            InstKind::SubgroupBarrier { scopes: which } => {
                self.op(Op::SubgroupBarrier, &[]);
                self.out.push_str(scopes(*which));
            }
            InstKind::WorkgroupBroadcast { value, index } => {
                self.op(Op::WorkgroupBroadcast, &[]);
                self.list(&[*value, *index]);
            }
            InstKind::Subgroup { op, combine, operands } => {
                self.op(*op, &[combine.map(|c| c.name())]);
                self.list(operands);
            }
            InstKind::CoopLoad { layout, memory, offset, stride } => {
                self.op(Op::CoopLoad, &[Some(layout.name())]);
                self.element(*memory, *offset);
                self.out.push_str(", ");
                self.value(*stride);
            }
            InstKind::CoopStore { layout, memory, offset, stride, value } => {
                self.op(Op::CoopStore, &[Some(layout.name())]);
                self.element(*memory, *offset);
                for operand in [stride, value] {
                    self.out.push_str(", ");
                    self.value(*operand);
                }
            }
            InstKind::CoopFill { value } => {
                self.op(Op::CoopFill, &[]);
                self.list(&[*value]);
            }
            InstKind::CoopMulAdd { a, b, c } => {
                self.op(Op::CoopMulAdd, &[]);
                self.list(&[*a, *b, *c]);
            }
            InstKind::CoopConvert { value } => {
                self.op(Op::CoopConvert, &[]);
                self.list(&[*value]);
            }
            InstKind::Trap { code } => {
                self.op(Op::Trap, &[]);
                self.list(&[*code]);
            }
            InstKind::If { .. } | InstKind::For { .. } | InstKind::While { .. } | InstKind::Region { .. } => {
            }
        }
    }
}
