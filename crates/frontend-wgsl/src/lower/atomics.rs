//! Atomics, barriers and loads that are uniform in the workgroup.

use std::rc::Rc;

use fulgurite_ir::{AtomicOrder, InstKind, MemoryScopes, Operands, SyncScope, ValueId};
use fulgurite_spec::{Op, Type};
use naga::{AtomicFunction, Barrier, Expression, Handle};

use super::declare::is_word;
use super::place::Place;
use super::{Item, Lower, Object, Value};
use crate::refusal::{Res, internal, unsupported};
use crate::types::{Member, Ty};

impl Lower<'_> {
    fn atomic_inst(&mut self, op: Op, place: &Place, ty: Type, operands: &[ValueId]) -> Res<Option<ValueId>> {
        if !is_word(ty) {
            let fix = "Use `atomic<u32>` or `atomic<i32>`.";
            return Err(unsupported(self.emit.at, format!("atomic of type {ty}"), fix));
        }
        if ty.scalar.is_float()
            && !matches!(op, Op::AtomicAdd | Op::AtomicLoad | Op::AtomicStore | Op::AtomicExchange)
        {
            let what = format!("`{}` of type {ty}", op.mnemonic());
            let fix = "Use `atomicAdd`, or compare and exchange the bits as `u32`.";
            return Err(unsupported(self.emit.at, what, fix));
        }
        let (memory, index) = self.atomic_place(place, ty)?;
        let scope = match place.object {
            Object::Buffer(_) => SyncScope::Device,
            Object::Variable(_) => SyncScope::Workgroup,
        };
        let kind = InstKind::Atomic {
            op,
            order: AtomicOrder::Relaxed,
            scope,
            memory,
            index,
            operands: Operands::new(operands),
        };
        let results: &[Type] = if op == Op::AtomicStore { &[] } else { &[ty] };
        Ok(self.emit.inst(kind, results).first().copied())
    }

    fn atomic_type(&self, place: &Place) -> Res<Type> {
        match &*place.ty {
            Ty::Leaf { ty, .. } => Ok(*ty),
            Ty::Array { .. } | Ty::Struct { .. } => Err(internal(self.emit.at, "atomic of a composite")),
        }
    }

    pub(super) fn atomic_load(&mut self, place: &Place) -> Res<ValueId> {
        let ty = self.atomic_type(place)?;
        let loaded = self.atomic_inst(Op::AtomicLoad, place, ty, &[])?;
        loaded.ok_or_else(|| internal(self.emit.at, "atomic without a result"))
    }

    pub(super) fn atomic_store(&mut self, place: &Place, value: ValueId) -> Res<()> {
        let ty = self.atomic_type(place)?;
        self.atomic_inst(Op::AtomicStore, place, ty, &[value]).map(drop)
    }

    /// Lowers a read-modify-write atomic.
    pub(super) fn atomic(
        &mut self,
        pointer: Handle<Expression>,
        fun: AtomicFunction,
        value: Handle<Expression>,
        result: Option<Handle<Expression>>,
    ) -> Res<()> {
        let (place, value) = (self.place(pointer)?, self.leaf(value)?);
        let ty = self.atomic_type(&place)?;
        let (op, operands) = match fun {
            AtomicFunction::Add => (Op::AtomicAdd, vec![value]),
            AtomicFunction::Subtract => (Op::AtomicAdd, vec![self.emit.op(Op::Neg, &[value])?]),
            AtomicFunction::And => (Op::AtomicAnd, vec![value]),
            AtomicFunction::ExclusiveOr => (Op::AtomicXor, vec![value]),
            AtomicFunction::InclusiveOr => (Op::AtomicOr, vec![value]),
            AtomicFunction::Min => (Op::AtomicMin, vec![value]),
            AtomicFunction::Max => (Op::AtomicMax, vec![value]),
            AtomicFunction::Exchange { compare: None } => (Op::AtomicExchange, vec![value]),
            AtomicFunction::Exchange { compare: Some(compare) } => {
                (Op::AtomicCompareExchange, vec![self.leaf(compare)?, value])
            }
        };
        let old = self.atomic_inst(op, &place, ty, &operands)?;
        let (Some(result), Some(old)) = (result, old) else { return Ok(()) };
        let value = match fun {
            AtomicFunction::Exchange { compare: Some(_) } => {
                let exchanged = self.emit.op(Op::Eq, &[old, operands[0]])?;
                let member = |name: &str, ty| Member { name: name.to_owned(), offset: 0, ty: Ty::leaf(ty) };
                let members = vec![member("old_value", ty), member("exchanged", Type::BOOL)];
                Value { ty: Rc::new(Ty::Struct { members }), leaves: [old, exchanged].into() }
            }
            _ => self.wrap(old),
        };
        self.frame_mut().cache.insert(result, Item::Value(value));
        Ok(())
    }

    pub(super) fn barrier(&mut self, barrier: Barrier) {
        if barrier.contains(Barrier::SUB_GROUP) {
            self.emit.inst(InstKind::SubgroupBarrier { scopes: MemoryScopes::ALL }, &[]);
            return;
        }
        let scopes = MemoryScopes {
            shared: barrier.contains(Barrier::WORK_GROUP),
            buffers: barrier.contains(Barrier::STORAGE),
        };
        self.emit.inst(InstKind::Barrier { scopes }, &[]);
    }

    pub(super) fn fence(&mut self, barrier: Barrier) {
        let scope = if barrier.contains(Barrier::STORAGE) { SyncScope::Device } else { SyncScope::Workgroup };
        self.emit.inst(InstKind::Fence { order: AtomicOrder::AcquireRelease, scope }, &[]);
    }

    /// Lowers `workgroupUniformLoad`: the first invocation's value, between barriers.
    pub(super) fn workgroup_uniform_load(
        &mut self,
        pointer: Handle<Expression>,
        result: Handle<Expression>,
    ) -> Res<()> {
        let place = self.place(pointer)?;
        self.barrier(Barrier::WORK_GROUP);
        let loaded = self.load(&place)?;
        let first = self.emit.u32(0);
        let mut leaves = Vec::new();
        for leaf in loaded.leaves.iter() {
            let ty = self.emit.ty(*leaf);
            leaves.push(self.emit.single(InstKind::WorkgroupBroadcast { value: *leaf, index: first }, ty));
        }
        self.barrier(Barrier::WORK_GROUP);
        let value = Value { ty: loaded.ty, leaves: leaves.into() };
        self.frame_mut().cache.insert(result, Item::Value(value));
        Ok(())
    }
}
