//! Loads and stores of variables: values that blocks carry, arrays of an invocation or workgroup, and buffers.

use std::collections::HashMap;
use std::rc::Rc;

use fulgurite_ir::{ArrayDecl, Initial, InstKind, LocalId, Memory, SharedId, ValueId, ViewDecl, ViewId};
use fulgurite_spec::limits::MAX_DECLARATIONS;
use fulgurite_spec::{Op, ScalarType, Type};

use super::place::{Place, Step};
use super::{Lower, Object, Value};
use crate::emit::Emit;
use crate::refusal::{Res, internal, too_large};
use crate::types::{MAX_VALUE_LEAVES, Ty, in_memory};

/// A buffer that the kernel declares.
pub(super) struct Buffer {
    pub(super) memory: Memory,
    pub(super) name: String,
    /// The views of its bytes by element type, with the buffer itself.
    pub(super) views: HashMap<Type, Memory>,
}

/// Where the values of a field are.
#[derive(Clone, Debug)]
pub(super) enum Store {
    /// In slots, one for each element, from this one.
    Slots(usize),
    /// In a shared or local array. `bool` is stored as `u32`.
    Array(Memory),
}

/// A scalar or vector of a variable, for all elements of the arrays that contain it.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) store: Store,
    pub(super) ty: Type,
    pub(super) dims: Vec<u32>,
    /// The array is shared by the workgroup, so that a component must be stored without its neighbors.
    pub(super) is_shared: bool,
}

/// A variable of an invocation or workgroup.
#[derive(Clone, Debug)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) ty: Rc<Ty>,
    pub(super) fields: Vec<Field>,
}

/// Returns the type as which values of `ty` are stored in arrays.
pub(super) fn stored(ty: Type) -> Type {
    if ty.scalar == ScalarType::Bool { ty.with_scalar(ScalarType::U32) } else { ty }
}

impl Lower<'_> {
    /// Declares a shared or local array.
    pub(super) fn array(&mut self, name: &str, ty: Type, len: u32, is_shared: bool) -> Res<Memory> {
        let name = self.names.unique(name);
        let location = self.emit.at;
        let element = stored(ty);
        let array = ArrayDecl { name, element, len, initial: Initial::Zero, location };
        let list = if is_shared { &mut self.emit.kernel.shared } else { &mut self.emit.kernel.locals };
        if list.len() >= MAX_DECLARATIONS {
            let what = if is_shared { "workgroup variables" } else { "arrays that are indexed dynamically" };
            return Err(too_large(location, format!("more than {MAX_DECLARATIONS} fields of {what}")));
        }
        list.push(array);
        let last = list.len() - 1;
        Ok(if is_shared { Memory::Shared(SharedId::new(last)) } else { Memory::Local(LocalId::new(last)) })
    }

    /// Returns a local array with these contents: constant ones are stored when the kernel starts, others here.
    pub(super) fn table(&mut self, contents: Vec<ValueId>) -> Res<Memory> {
        if let Some(memory) = self.tables.get(&contents) {
            return Ok(*memory);
        }
        let ty = self.emit.ty(contents[0]);
        if contents.iter().all(|value| self.emit.kernel.literal(*value).is_some()) {
            let memory = self.array("table", ty, contents.len() as u32, false)?;
            self.emit.in_prologue(|emit| fill(emit, memory, &contents))?;
            self.tables.insert(contents, memory);
            return Ok(memory);
        }
        // Each use is preceded by its own stores.
        let memory = match self.scratch.get(&(ty, contents.len())) {
            Some(memory) => *memory,
            None => self.array("scratch", ty, contents.len() as u32, false)?,
        };
        self.scratch.insert((ty, contents.len()), memory);
        fill(&mut self.emit, memory, &contents)?;
        Ok(memory)
    }

    /// Loads an element of a shared or local array of values of `ty`.
    pub(super) fn load_array(&mut self, memory: Memory, ty: Type, index: ValueId) -> Res<ValueId> {
        let loaded = self.emit.single(InstKind::Load { memory, index }, stored(ty));
        self.emit.cast(Op::Convert, loaded, ty)
    }

    fn store_array(&mut self, memory: Memory, index: ValueId, value: ValueId) -> Res<()> {
        let value = {
            let ty = self.emit.ty(value);
            self.emit.cast(Op::Convert, value, stored(ty))?
        };
        self.emit.inst(InstKind::Store { memory, index, value }, &[]);
        Ok(())
    }

    /// Returns zero of any type.
    pub(super) fn zero_value(&mut self, ty: &Rc<Ty>) -> Res<Value> {
        self.check_leaves(ty)?;
        let mut leaves = Vec::new();
        self.zeros(ty, &mut leaves)?;
        Ok(Value { ty: Rc::clone(ty), leaves: leaves.into() })
    }

    fn zeros(&mut self, ty: &Ty, leaves: &mut Vec<ValueId>) -> Res<()> {
        match ty {
            Ty::Leaf { ty, .. } => leaves.push(self.emit.zero(*ty)?),
            Ty::Array { element, len, .. } => {
                let start = leaves.len();
                self.zeros(element, leaves)?;
                let one = leaves[start..].to_vec();
                for _ in 1..len.unwrap_or(0) {
                    leaves.extend(&one);
                }
            }
            Ty::Struct { members } => members.iter().try_for_each(|m| self.zeros(&m.ty, leaves))?,
        }
        Ok(())
    }

    /// Checks that a value of this type is not too large to be taken apart.
    pub(super) fn check_leaves(&self, ty: &Ty) -> Res<()> {
        if ty.leaves() > MAX_VALUE_LEAVES {
            let message = format!("a value of {} parts is loaded, stored or passed as a whole", ty.leaves());
            return Err(too_large(self.emit.at, message));
        }
        Ok(())
    }

    /// Loads the value at a place.
    pub(super) fn load(&mut self, place: &Place) -> Res<Value> {
        self.check_leaves(&place.ty)?;
        let mut leaves = Vec::new();
        self.load_parts(place, &mut leaves)?;
        Ok(Value { ty: Rc::clone(&place.ty), leaves: leaves.into() })
    }

    fn load_parts(&mut self, place: &Place, leaves: &mut Vec<ValueId>) -> Res<()> {
        if let Ty::Leaf { ty, atomic } = &*place.ty {
            let value = if *atomic { self.atomic_load(place)? } else { self.load_leaf(place, *ty)? };
            leaves.push(value);
            return Ok(());
        }
        for part in self.parts(place)? {
            self.load_parts(&part, leaves)?;
        }
        Ok(())
    }

    /// Stores a value at a place.
    pub(super) fn store(&mut self, place: &Place, value: &Value) -> Res<()> {
        self.check_leaves(&place.ty)?;
        let mut leaves = value.leaves.iter().copied();
        self.store_parts(place, &mut leaves)
    }

    fn store_parts(&mut self, place: &Place, leaves: &mut impl Iterator<Item = ValueId>) -> Res<()> {
        if let Ty::Leaf { atomic, .. } = &*place.ty {
            let Some(value) = leaves.next() else {
                return Err(internal(self.emit.at, "stored value has too few parts"));
            };
            return if *atomic { self.atomic_store(place, value) } else { self.store_leaf(place, value) };
        }
        for part in self.parts(place)? {
            self.store_parts(&part, leaves)?;
        }
        Ok(())
    }

    /// Returns the places of the members or elements of a place.
    fn parts(&mut self, place: &Place) -> Res<Vec<Place>> {
        let mut parts = Vec::new();
        match &*place.ty {
            Ty::Leaf { .. } => {}
            Ty::Array { element, len, stride, .. } => {
                for i in 0..len.unwrap_or(0) {
                    let mut part = place.clone();
                    part.steps.push(Step { index: self.emit.u32(i), len: *len, stride: *stride });
                    part.ty = Rc::clone(element);
                    parts.push(part);
                }
            }
            Ty::Struct { members } => {
                let mut field = place.field;
                for member in members {
                    let mut part = place.clone();
                    (part.field, part.ty) = (field, Rc::clone(&member.ty));
                    part.offset += member.offset;
                    field += member.ty.fields();
                    parts.push(part);
                }
            }
        }
        Ok(parts)
    }

    fn load_leaf(&mut self, place: &Place, ty: Type) -> Res<ValueId> {
        // A component of a vector is taken out of it.
        let whole = place.lane.map_or(ty, |(_, vector)| vector);
        let value = match place.object {
            Object::Buffer(buffer) => self.load_buffer(place, buffer, whole)?,
            Object::Variable(variable) => {
                let field = self.variables[variable].fields[place.field].clone();
                let index = self.field_index(&field, place)?;
                self.load_field(&field, index)?
            }
        };
        match place.lane {
            Some((lane, _)) => self.emit.op(Op::Extract, &[value, lane]),
            None => Ok(value),
        }
    }

    fn field_index(&mut self, field: &Field, place: &Place) -> Res<ValueId> {
        let steps: Vec<ValueId> = place.steps.iter().map(|step| step.index).collect();
        self.flat_index(&field.dims, &steps)
    }

    fn load_field(&mut self, field: &Field, index: ValueId) -> Res<ValueId> {
        let first = match field.store {
            Store::Array(memory) => return self.load_array(memory, field.ty, index),
            Store::Slots(first) => first,
        };
        let count = count(&field.dims);
        if let Some(known) = self.emit.known(index) {
            return if known < count {
                Ok(self.slots[first + known as usize])
            } else {
                self.emit.zero(field.ty)
            };
        }
        let mut result = self.emit.zero(field.ty)?;
        for i in 0..count {
            result = self.select_at(index, i, self.slots[first + i as usize], result)?;
        }
        Ok(result)
    }

    fn load_buffer(&mut self, place: &Place, buffer: usize, ty: Type) -> Res<ValueId> {
        let each = in_memory(ty);
        let memory = self.view(buffer, each)?;
        let step = if each == ty { 0 } else { each.size() };
        let mut parts = Vec::new();
        for i in 0..if step == 0 { 1 } else { ty.lanes.count() } {
            let index = self.byte_index(place, each.size(), i * step)?;
            parts.push(self.emit.single(InstKind::Load { memory, index }, each));
        }
        self.emit.construct(&parts)
    }

    fn store_leaf(&mut self, place: &Place, value: ValueId) -> Res<()> {
        match place.object {
            Object::Buffer(buffer) => self.store_buffer(place, buffer, value),
            Object::Variable(variable) => {
                let field = self.variables[variable].fields[place.field].clone();
                let index = self.field_index(&field, place)?;
                match (place.lane, &field.store) {
                    (None, _) => self.store_field(&field, index, value),
                    (Some((lane, vector)), Store::Array(memory)) if field.is_shared => {
                        self.store_component(*memory, index, lane, vector, value)
                    }
                    (Some((lane, _)), _) => {
                        let old = self.load_field(&field, index)?;
                        let new = self.insert(old, lane, value)?;
                        self.store_field(&field, index, new)
                    }
                }
            }
        }
    }

    /// Returns a vector with one component replaced.
    fn insert(&mut self, vector: ValueId, lane: ValueId, value: ValueId) -> Res<ValueId> {
        let Some(known) = self.emit.known(lane) else {
            return self.emit.op(Op::Insert, &[vector, lane, value]);
        };
        let mut components = self.emit.components(vector)?;
        if let Some(component) = components.get_mut(known as usize) {
            *component = value;
        }
        self.emit.construct(&components)
    }

    /// Stores one component of a vector in a shared array, without touching the others.
    fn store_component(
        &mut self,
        memory: Memory,
        index: ValueId,
        lane: ValueId,
        vector: Type,
        value: ValueId,
    ) -> Res<()> {
        let component = stored(vector.element());
        let existing = self.emit.kernel.views.iter().position(|v| v.base == memory && v.element == component);
        let view = match existing {
            Some(at) => Memory::View(ViewId::new(at)),
            None => {
                let name = format!("{}.{component}", self.emit.kernel.memory_name(memory));
                self.add_view(memory, &name, component)?
            }
        };
        let len = self.emit.kernel.array_len(memory).unwrap_or(0);
        let flat = self.flat_index(&[len, vector.lanes.count()], &[index, lane])?;
        self.store_array(view, flat, value)
    }

    fn store_field(&mut self, field: &Field, index: ValueId, value: ValueId) -> Res<()> {
        let first = match field.store {
            Store::Array(memory) => return self.store_array(memory, index, value),
            Store::Slots(first) => first,
        };
        let count = count(&field.dims);
        if let Some(known) = self.emit.known(index) {
            if known < count {
                self.slots[first + known as usize] = value;
            }
            return Ok(());
        }
        for i in 0..count {
            let slot = first + i as usize;
            self.slots[slot] = self.select_at(index, i, value, self.slots[slot])?;
        }
        Ok(())
    }

    fn store_buffer(&mut self, place: &Place, buffer: usize, value: ValueId) -> Res<()> {
        if let Some((lane, vector)) = place.lane {
            let component = vector.element();
            let memory = self.view(buffer, component)?;
            let mut place = place.clone();
            let len = Some(vector.lanes.count());
            place.steps.push(Step { index: lane, len, stride: component.size() });
            let index = self.byte_index(&place, component.size(), 0)?;
            self.emit.inst(InstKind::Store { memory, index, value }, &[]);
            return Ok(());
        }
        let ty = self.emit.ty(value);
        let each = in_memory(ty);
        let memory = self.view(buffer, each)?;
        let parts = if each == ty { vec![value] } else { self.emit.components(value)? };
        for (i, value) in (0..).zip(parts) {
            let index = self.byte_index(place, each.size(), i * each.size())?;
            self.emit.inst(InstKind::Store { memory, index, value }, &[]);
        }
        Ok(())
    }

    /// Returns the memory object and the index of an atomic.
    pub(super) fn atomic_place(&mut self, place: &Place, ty: Type) -> Res<(Memory, ValueId)> {
        match place.object {
            Object::Buffer(buffer) => Ok((self.view(buffer, ty)?, self.byte_index(place, ty.size(), 0)?)),
            Object::Variable(variable) => {
                let field = self.variables[variable].fields[place.field].clone();
                let index = self.field_index(&field, place)?;
                match field.store {
                    Store::Array(memory) => Ok((memory, index)),
                    Store::Slots(_) => Err(internal(self.emit.at, "atomic in a variable of an invocation")),
                }
            }
        }
    }

    /// Returns a buffer as elements of `ty`.
    pub(super) fn view(&mut self, buffer: usize, ty: Type) -> Res<Memory> {
        if let Some(memory) = self.buffers[buffer].views.get(&ty) {
            return Ok(*memory);
        }
        let (base, name) = (self.buffers[buffer].memory, format!("{}.{ty}", self.buffers[buffer].name));
        let view = self.add_view(base, &name, ty)?;
        self.buffers[buffer].views.insert(ty, view);
        Ok(view)
    }

    fn add_view(&mut self, base: Memory, name: &str, element: Type) -> Res<Memory> {
        let name = self.names.unique(name);
        let location = self.emit.at;
        let views = &mut self.emit.kernel.views;
        if views.len() >= MAX_DECLARATIONS {
            let message = format!("buffers are accessed as more than {MAX_DECLARATIONS} element types");
            return Err(too_large(location, message));
        }
        views.push(ViewDecl { name, base, element, location });
        Ok(Memory::View(ViewId::new(views.len() - 1)))
    }
}

/// Stores values in the elements of an array.
fn fill(emit: &mut Emit, memory: Memory, contents: &[ValueId]) -> Res<()> {
    for (i, value) in (0..).zip(contents) {
        let index = emit.u32(i);
        let value = emit.cast(Op::Convert, *value, stored(emit.ty(*value)))?;
        emit.inst(InstKind::Store { memory, index, value }, &[]);
    }
    Ok(())
}

/// Returns the number of elements of an array of these dimensions.
pub(super) fn count(dims: &[u32]) -> u32 {
    dims.iter().fold(1u32, |product, n| product.saturating_mul(*n))
}
