//! Rules of memory accesses (indices, access, atomic ops) and of attributes.

use fulgurite_spec::{AtomicOp, Code, Location, Op, Type, TypeSet};

use super::Checker;
use crate::analysis::uniformity::describe;
use crate::kernel::{AtomicOrder, FloatMode, Inst, Memory, Operands, ValueId};

/// Returns whether atomic op `op` also supports floats.
fn float_atomic(op: Op) -> bool {
    AtomicOp::of(op).is_some_and(AtomicOp::takes_floats)
}

/// Returns whether atomic op `op` supports elements of type `ty`.
fn is_atomic(op: Op, ty: Type) -> bool {
    let kind = ty.scalar.is_integer() || (ty.scalar.is_float() && float_atomic(op));
    ty.is_scalar() && kind && matches!(ty.size(), 4 | 8)
}

impl Checker<'_> {
    /// Checks that `fast` is used only for float ops and `exact` only for `fma`.
    pub(super) fn mode<'t>(
        &mut self,
        op: Op,
        mode: FloatMode,
        mut types: impl Iterator<Item = &'t Type>,
        at: Location,
    ) {
        let fits = match mode {
            FloatMode::Default => true,
            FloatMode::Fast => types.any(|t| t.scalar.is_float()),
            FloatMode::Exact => op == Op::Fma,
        };
        if !fits {
            let message = format!("`{}` cannot be `{}` here", op.mnemonic(), mode.name());
            self.report(Code::BadAttribute, at, message);
        }
    }

    pub(super) fn order(&mut self, op: Op, order: AtomicOrder, at: Location) {
        if !order.fits(op) {
            let message = format!("`{}` cannot be `{}`", op.mnemonic(), order.name());
            self.report(Code::BadOrder, at, message);
        }
    }

    pub(in crate::verify) fn index(&mut self, index: ValueId, at: Location) {
        let ty = self.kernel.ty(index);
        let fits = ty.is_scalar() && TypeSet::UNSIGNED.contains(ty.scalar) && ty.size() >= 4;
        if !fits {
            let message = format!("an index must be u32 or u64, {} is {ty}", describe(self.kernel, index));
            self.report(Code::TypeMismatch, at, message);
        }
    }

    pub(in crate::verify) fn readable(&mut self, memory: Memory, at: Location, op: &str) {
        if !self.kernel.access(memory).can_read() {
            let name = self.kernel.memory_name(memory);
            let message =
                format!("`{op}` reads `%{name}`, which is declared `write`; declare it `read_write`");
            self.report(Code::NotReadable, at, message);
        }
    }

    pub(in crate::verify) fn writable(&mut self, memory: Memory, at: Location, op: &str) {
        if !self.kernel.access(memory).can_write() {
            let name = self.kernel.memory_name(memory);
            let message = match op {
                // Includes `atomic.load`: devices have no atomic load of read-only buffers.
                _ if op.starts_with("atomic") => {
                    format!("`{op}` needs `%{name}` to be declared `read_write`, not `read`")
                }
                _ => format!("`{op}` writes `%{name}`, which is declared `read`; declare it `read_write`"),
            };
            self.report(Code::NotWritable, at, message);
        }
    }

    pub(super) fn atomic(
        &mut self,
        inst: &Inst,
        op: Op,
        memory: Memory,
        index: ValueId,
        operands: &Operands,
    ) {
        let at = inst.location;
        let element = self.kernel.element(memory);
        self.index(index, at);
        self.readable(memory, at, op.mnemonic());
        self.writable(memory, at, op.mnemonic());
        let (mnemonic, name) = (op.mnemonic(), self.kernel.memory_name(memory));
        if matches!(memory, Memory::Local(_)) {
            let message =
                format!("`{mnemonic}` on `%{name}`, which is local to an invocation: use `load` and `store`");
            self.report(Code::BadAtomic, at, message);
        } else if !is_atomic(op, element) {
            let kinds = if float_atomic(op) { "integers and floats" } else { "integers" };
            let message = format!(
                "`{mnemonic}` works on {kinds} of 32 or 64 bits, the elements of `%{name}` are {element}"
            );
            self.report(Code::BadAtomic, at, message);
        }
        let Some(member) = AtomicOp::of(op) else {
            self.report(Code::Malformed, at, format!("`{}` is no atomic op", op.mnemonic()));
            return;
        };
        let wanted = member.operands();
        if operands.len() != wanted {
            let message = format!("`{}` takes {wanted} values, got {}", op.mnemonic(), operands.len());
            self.report(Code::BadOperandCount, at, message);
        }
        for value in operands {
            self.expect(*value, element, at, "the value of an atomic op");
        }
        self.results(inst, if member == AtomicOp::Store { &[] } else { core::slice::from_ref(&element) });
    }
}
