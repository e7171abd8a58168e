//! Places that pointers lead to: the variable, the path into it, and the index of an element.

use std::rc::Rc;

use fulgurite_ir::ValueId;
use fulgurite_spec::{Op, ScalarType, Type};

use super::{Item, Lower, Object, Value};
use crate::emit::OUTSIDE;
use crate::refusal::{Res, internal, unsupported};
use crate::types::Ty;

/// An index into an array on the way to a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// The index, a `u32`.
    pub(super) index: ValueId,
    /// The number of elements, `None` for a runtime-sized array.
    pub(super) len: Option<u32>,
    /// Distance of elements in bytes.
    pub(super) stride: u32,
}

/// A place in a variable.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) object: Object,
    pub(super) ty: Rc<Ty>,
    /// The first field of the variable that belongs to the place.
    pub(super) field: usize,
    /// Offset in bytes, without the steps.
    pub(super) offset: u32,
    pub(super) steps: Vec<Step>,
    /// A component of the vector that the place would otherwise be, and that vector's type.
    pub(super) lane: Option<(ValueId, Type)>,
}

impl Place {
    pub(super) fn of(object: Object, ty: Rc<Ty>) -> Self {
        Self { object, ty, field: 0, offset: 0, steps: Vec::new(), lane: None }
    }
}

impl Lower<'_> {
    /// Returns `index` as a `u32`; a negative one becomes larger than any array.
    pub(super) fn index(&mut self, index: ValueId) -> Res<ValueId> {
        let ty = self.emit.ty(index);
        if !ty.is_scalar() {
            return Err(internal(self.emit.at, format!("index of type {ty}")));
        }
        match ty.scalar {
            ScalarType::U32 => Ok(index),
            ScalarType::I32 => self.emit.cast(Op::Bitcast, index, Type::U32),
            ScalarType::I16 => {
                let wide = self.emit.cast(Op::Convert, index, Type::I32)?;
                self.emit.cast(Op::Bitcast, wide, Type::U32)
            }
            ScalarType::U16 => self.emit.cast(Op::Convert, index, Type::U32),
            ScalarType::I64 | ScalarType::U64 => {
                let unsigned = self.emit.cast(Op::Bitcast, index, Type::U64)?;
                let most = self.emit.number(ScalarType::U64, f64::from(OUTSIDE));
                let clamped = self.emit.op(Op::Min, &[unsigned, most])?;
                self.emit.cast(Op::Convert, clamped, Type::U32)
            }
            ScalarType::Bool
            | ScalarType::I8
            | ScalarType::U8
            | ScalarType::F16
            | ScalarType::BF16
            | ScalarType::F32
            | ScalarType::F64 => Err(internal(self.emit.at, format!("index of type {ty}"))),
        }
    }

    /// Returns the element, member or component of a place or value.
    pub(super) fn access(&mut self, base: Item, index: ValueId) -> Res<Item> {
        let index = self.index(index)?;
        match base {
            Item::Place(place) => self.place_in(place, index).map(Item::Place),
            Item::Value(value) => self.part(&value, index).map(Item::Value),
        }
    }

    fn place_in(&mut self, mut place: Place, index: ValueId) -> Res<Place> {
        if place.lane.is_some() {
            return Err(internal(self.emit.at, "index into a scalar"));
        }
        match &*Rc::clone(&place.ty) {
            Ty::Leaf { ty, .. } => {
                place.lane = Some((index, *ty));
                place.ty = Ty::leaf(ty.element());
            }
            Ty::Array { element, len, stride, .. } => {
                place.steps.push(Step { index, len: *len, stride: *stride });
                place.ty = Rc::clone(element);
            }
            Ty::Struct { members } => {
                let position = self.emit.known(index).map_or(usize::MAX, |i| i as usize);
                let Some(member) = members.get(position) else {
                    return Err(internal(self.emit.at, "dynamic index into a structure"));
                };
                place.field += members[..position].iter().map(|m| m.ty.fields()).sum::<usize>();
                place.offset += member.offset;
                place.ty = Rc::clone(&member.ty);
            }
        }
        Ok(place)
    }

    /// Returns the element, member or component of a value.
    fn part(&mut self, value: &Value, index: ValueId) -> Res<Value> {
        match &*value.ty {
            Ty::Leaf { ty, .. } => {
                let part = self.emit.op(Op::Extract, &[value.leaves[0], index])?;
                Ok(Value { ty: Ty::leaf(ty.element()), leaves: [part].into() })
            }
            Ty::Array { element, len, .. } => {
                let each = element.leaves() as usize;
                let ty = Rc::clone(element);
                if let Some(index) = self.emit.known(index) {
                    let start = index as usize * each;
                    return match value.leaves.get(start..start + each) {
                        Some(leaves) => Ok(Value { ty, leaves: leaves.into() }),
                        None => self.zero_value(&ty),
                    };
                }
                let len = len.unwrap_or(0);
                let leaves = (0..each)
                    .map(|leaf| self.element(&value.leaves, leaf, each, len, index))
                    .collect::<Res<_>>()?;
                Ok(Value { ty, leaves })
            }
            Ty::Struct { members } => {
                let position = self.emit.known(index).map_or(usize::MAX, |i| i as usize);
                let Some(member) = members.get(position) else {
                    return Err(internal(self.emit.at, "dynamic index into a structure"));
                };
                let start = members[..position].iter().map(|m| m.ty.leaves() as usize).sum::<usize>();
                let end = start + member.ty.leaves() as usize;
                Ok(Value { ty: Rc::clone(&member.ty), leaves: value.leaves[start..end].into() })
            }
        }
    }

    /// Returns leaf `leaf` of the element at a dynamic index of an array value, zero if it is out of bounds. Each
    /// element has `each` leaves.
    fn element(
        &mut self,
        leaves: &[ValueId],
        leaf: usize,
        each: usize,
        len: u32,
        index: ValueId,
    ) -> Res<ValueId> {
        const MOST_SELECTS: u32 = 8;
        let column: Vec<ValueId> = leaves.iter().skip(leaf).step_by(each).copied().collect();
        let ty = self.emit.ty(column[0]);
        if len > MOST_SELECTS {
            let memory = self.table(column)?;
            return self.load_array(memory, ty, index);
        }
        let mut result = self.emit.zero(ty)?;
        for (i, candidate) in column.into_iter().enumerate() {
            result = self.select_at(index, i as u32, candidate, result)?;
        }
        Ok(result)
    }

    /// Returns `here` if `index` is `position`, else `other`.
    pub(super) fn select_at(
        &mut self,
        index: ValueId,
        position: u32,
        here: ValueId,
        other: ValueId,
    ) -> Res<ValueId> {
        let position = self.emit.u32(position);
        let equal = self.emit.op(Op::Eq, &[index, position])?;
        self.select(equal, here, other)
    }

    /// Returns `select` by one `bool`, of scalars or vectors.
    pub(super) fn select(&mut self, condition: ValueId, yes: ValueId, no: ValueId) -> Res<ValueId> {
        if let Some(known) = self.emit.known_bool(condition) {
            return Ok(if known { yes } else { no });
        }
        let lanes = self.emit.ty(yes).lanes;
        let condition = if self.emit.ty(condition).lanes == lanes {
            condition
        } else {
            self.emit.splat(condition, lanes)?
        };
        self.emit.op(Op::Select, &[condition, yes, no])
    }

    /// Returns the position of an element in an array of `dims`, row by row, from `steps` into each dimension.
    /// [`OUTSIDE`] or more if one is out of bounds.
    pub(super) fn flat_index(&mut self, dims: &[u32], steps: &[ValueId]) -> Res<ValueId> {
        let mut flat = self.emit.u32(0);
        let mut valid = self.emit.bool(true);
        for (dim, step) in steps.iter().enumerate() {
            let inner = dims[dim + 1..].iter().fold(1u32, |product, n| product.saturating_mul(*n));
            let len = self.emit.u32(dims[dim]);
            let index = match self.emit.known(*step) {
                Some(known) if known < dims[dim] => *step,
                Some(_) => return Ok(self.emit.u32(OUTSIDE)),
                // A product past the end of the first dimension is past the end of the array, if it does not wrap.
                None if dim == 0 && inner == 1 => *step,
                None if dim == 0 => self.emit.op(Op::Min, &[*step, len])?,
                None => {
                    let within = self.emit.op(Op::Lt, &[*step, len])?;
                    valid = self.emit.op(Op::And, &[valid, within])?;
                    *step
                }
            };
            let inner = self.emit.u32(inner);
            let scaled = self.emit.op(Op::Mul, &[index, inner])?;
            flat = self.emit.op(Op::Add, &[flat, scaled])?;
        }
        let outside = self.emit.u32(OUTSIDE);
        self.select(valid, flat, outside)
    }

    /// Returns the index of the bytes of a place, in elements of `size` bytes at `more` bytes from its start.
    pub(super) fn byte_index(&mut self, place: &Place, size: u32, more: u32) -> Res<ValueId> {
        let bytes = place.offset + more;
        let mut flat = self.emit.u32(bytes / size);
        let mut valid = self.emit.bool(true);
        for step in &place.steps {
            if step.stride % size != 0 {
                return Err(internal(self.emit.at, "array stride is no multiple of its element"));
            }
            let scale = step.stride / size;
            let index = match (self.emit.known(step.index), step.len) {
                (Some(known), Some(len)) if known >= len => return Ok(self.emit.u32(OUTSIDE)),
                (Some(_), Some(_)) => step.index,
                (_, Some(len)) => {
                    let len = self.emit.u32(len);
                    let within = self.emit.op(Op::Lt, &[step.index, len])?;
                    valid = self.emit.op(Op::And, &[valid, within])?;
                    step.index
                }
                (_, None) if scale == 1 && bytes == 0 => step.index,
                // The largest index whose position does not wrap. Only a buffer of almost 2^32 elements has it.
                (_, None) => {
                    let most = self.emit.u32((OUTSIDE - bytes / size) / scale.max(1));
                    self.emit.op(Op::Min, &[step.index, most])?
                }
            };
            let scale = self.emit.u32(scale);
            let scaled = self.emit.op(Op::Mul, &[index, scale])?;
            flat = self.emit.op(Op::Add, &[flat, scaled])?;
        }
        let outside = self.emit.u32(OUTSIDE);
        self.select(valid, flat, outside)
    }

    /// Returns the number of elements of a runtime-sized array.
    pub(super) fn array_length(&mut self, place: &Place) -> Res<ValueId> {
        let (Object::Buffer(buffer), Ty::Array { len, stride, .. }) = (place.object, &*place.ty) else {
            let fix = "Apply `arrayLength` to a runtime-sized array in a storage buffer.";
            return Err(unsupported(self.emit.at, "length of an array outside of a storage buffer", fix));
        };
        if let Some(len) = len {
            return Ok(self.emit.u32(*len));
        }
        let memory = self.buffers[buffer].memory;
        let size = self.emit.kernel.element(memory).size();
        let all = self.emit.len(memory);
        let (before, stride) = (self.emit.u32(place.offset.div_ceil(size)), self.emit.u32(stride / size));
        let own = if self.emit.known(before) == Some(0) {
            all
        } else {
            self.emit.op(Op::SubSat, &[all, before])?
        };
        self.emit.op(Op::Div, &[own, stride])
    }
}
