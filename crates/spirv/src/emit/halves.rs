//! Hiding of `f16`, which drivers keep in pairs.
//!
//! NVIDIA's compiler loses the second of a pair of constants when it is reinterpreted, and takes more for constant than
//! this crate does. So a vector of which it may know a component is never made of constants, and its components are
//! hidden one by one.

use fulgurite_ir::{InstKind, ValueDef, ValueId};
use fulgurite_spec::{Lanes, ScalarClass, ScalarOp, ScalarType, Type};

use super::Emitter;
use super::hidden::{DEPTH, is_arithmetic};
use crate::assembler::Id;
use crate::spv::op;

impl Emitter<'_> {
    /// Combines each component of an `f16` value with the hidden zero of one of an op's operands.
    pub(super) fn opaque_halves(&mut self, ty: Type, value: Id, operand: u32) -> Id {
        let words = ty.with_scalar(ScalarType::U16);
        let Some(zeros) = self.hidden_zero(words, operand) else { return value };
        self.opaque_halves_with(ty, value, zeros)
    }

    /// Copies the bits of `f16` of which one of two is selected, each operand by another zero, so that the copies stay
    /// apart. NVIDIA's compiler moves one half of a register over the other, which later ops may need.
    pub(super) fn keep_half(&mut self, ty: Type, value: Id, operand: u32) -> Id {
        if ty.scalar != ScalarType::F16 || ty.is_matrix() || !self.profile.rules.rounding {
            return value;
        }
        let Some(mut zero) = self.hidden_zero(Type::U32, 0) else { return value };
        if operand > 0 {
            let amount = self.asm.u32(operand);
            zero = self.make(op::ShiftLeftLogical, Type::U32, &[zero, amount]);
        }
        let zeros = self.splat_value(ty.with_scalar(ScalarType::U32), zero);
        self.opaque_halves_with(ty, value, zeros)
    }

    /// Combines each component of an `f16` value with a word of `zeros`.
    fn opaque_halves_with(&mut self, ty: Type, value: Id, zeros: Id) -> Id {
        let words = ty.with_scalar(ScalarType::U16);
        if ty.lanes == Lanes::One {
            return self.opaque_half(value, zeros);
        }
        let components: Vec<Id> = (0..ty.lanes.count())
            .map(|lane| {
                let component = self.make(op::CompositeExtract, ty.element(), &[value, lane]);
                let zero = self.make(op::CompositeExtract, words.element(), &[zeros, lane]);
                self.opaque_half(component, zero)
            })
            .collect();
        self.make(op::CompositeConstruct, ty, &components)
    }

    /// Combines the bits of a scalar with a zero word.
    fn opaque_half(&mut self, value: Id, zero: Id) -> Id {
        let (half, bits) = (Type::F16, Type::U16);
        let stored = self.asm.memory_ty(bits);
        let zero = self.truncated(bits, zero);
        let value = self.asm.value(op::Bitcast, stored, &[value]);
        let value = self.asm.value(op::BitwiseOr, stored, &[value, zero]);
        self.make(op::Bitcast, half, &[value])
    }

    /// Combines pairs of `f16`, of which no compiler knows a component, with the hidden zero, in words: NVIDIA's compiler
    /// loses the second of a pair that is combined with zeros of 16 bits.
    pub(super) fn opaque_pairs(&mut self, ty: Type, value: Id) -> Id {
        let four = ty.with_lanes(Lanes::Four);
        let (words, pairs) = match ty.lanes {
            Lanes::One => return self.opaque_halves(ty, value, 0),
            Lanes::Two => (Type::U32, value),
            Lanes::Three => {
                let nothing = self.asm.splat(ty.element(), 0);
                let four = self.make(op::CompositeConstruct, four, &[value, nothing]);
                (Type::U32.with_lanes(Lanes::Two), four)
            }
            Lanes::Four => (Type::U32.with_lanes(Lanes::Two), value),
        };
        let Some(zero) = self.hidden_zero(words, 0) else { return value };
        let bits = self.make(op::Bitcast, words, &[pairs]);
        let bits = self.make(op::BitwiseOr, words, &[bits, zero]);
        if ty.lanes != Lanes::Three {
            return self.make(op::Bitcast, ty, &[bits]);
        }
        let four = self.make(op::Bitcast, four, &[bits]);
        self.make(op::VectorShuffle, ty, &[four, four, 0, 1, 2])
    }

    /// Converts an operand. A vector of `f16` of which a compiler may know a component is made of `f32` that are hidden,
    /// one by one.
    pub(super) fn convert_operand(&mut self, operand: ValueId, arg: Id, from: Type, to: Type) -> Id {
        if !self.may_be_constant_pairs(to, operand) {
            return self.convert(arg, from, to);
        }
        let components: Vec<Id> = (0..to.lanes.count())
            .map(|lane| {
                let (from, to) = (from.element(), to.element());
                let mut component = self.make(op::CompositeExtract, from, &[arg, lane]);
                let mut through = from;
                if from.scalar == ScalarType::Bool {
                    through = Type::F32;
                    component = self.convert(component, from, through);
                }
                let component = self.opaque(through, component);
                self.convert(component, through, to)
            })
            .collect();
        self.make(op::CompositeConstruct, to, &components)
    }

    /// Reinterprets an operand, hidden if it may be pairs of constants, or one of few constants that become numbers of
    /// another kind: NVIDIA's compiler converts an integer of the bits of a float that is 0 or 1 to 0 or 1.
    pub(super) fn reinterpret_operand(&mut self, operand: ValueId, arg: Id, from: Type, to: Type) -> Id {
        let changes_kind = from.scalar.is_float() != to.scalar.is_float();
        let is_choice = self.profile.rules.signs && changes_kind && self.choices.contains_key(&operand);
        let hides = is_choice || self.may_be_constant_pairs(from, operand);
        let bits = if hides { self.opaque(from, arg) } else { arg };
        self.as_type(from, to, bits)
    }

    /// Returns whether `ty` is a vector of `f16`, and a compiler may know a component of one that is made of `value`.
    fn may_be_constant_pairs(&self, ty: Type, value: ValueId) -> bool {
        let is_vector = ty.scalar == ScalarType::F16 && ty.lanes != Lanes::One;
        is_vector && self.profile.rules.rounding && self.may_be_known(value)
    }

    /// Returns whether a compiler may know a component of a value: whether it is not given by the launch, nor made of
    /// such values, nor computed from one by arithmetic on floats.
    pub(super) fn may_be_known(&self, value: ValueId) -> bool {
        self.may_be_known_within(value, DEPTH)
    }

    fn may_be_known_within(&self, value: ValueId, depth: u32) -> bool {
        if depth == 0 || self.constant(value).is_some() {
            return true;
        }
        let may_be_known = |operand: &ValueId| self.may_be_known_within(*operand, depth - 1);
        let ValueDef::Inst(inst, _) = self.kernel.value(value).def else { return !self.is_given(value) };
        let InstKind::Scalar { op, operands, .. } = &self.kernel.inst(inst).kind else {
            return !self.is_given(value);
        };
        match op.on(ScalarClass::Float) {
            // Nothing is known of equal components, but that they are equal.
            Some(ScalarOp::Construct) => {
                let is_repeated = |lane: usize| operands[..lane].contains(&operands[lane]);
                (1..operands.len()).any(is_repeated) || operands.iter().any(may_be_known)
            }
            Some(ScalarOp::Convert) => operands.iter().any(may_be_known),
            Some(ScalarOp::Float(_) | ScalarOp::Dot)
                if self.kernel.ty(value).scalar.is_float() && is_arithmetic(*op) =>
            {
                operands.iter().all(may_be_known)
            }
            Some(
                ScalarOp::Bool(_)
                | ScalarOp::Integer(_)
                | ScalarOp::Float(_)
                | ScalarOp::Select
                | ScalarOp::Bitcast
                | ScalarOp::Pack
                | ScalarOp::Unpack
                | ScalarOp::Extract
                | ScalarOp::Insert
                | ScalarOp::Dot,
            )
            | None => true,
        }
    }
}
