//! Hiding of values from driver compilers that would fold them incorrectly, by combining them with a zero that is known
//! only at launch.
//!
//! The profile's [`Rules`](crate::Rules) decide which values are hidden. A value that no compiler can fold is left as
//! it is.

use fulgurite_ir::analysis::{instructions, operands};
use fulgurite_ir::{InstKind, Kernel, Memory, Terminator, ValueDef, ValueId};
use fulgurite_spec::eval;
use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::{CompareOp, FloatOp, IntegerOp, Lanes, Op, ScalarClass, ScalarOp, ScalarType, Type};

use super::Emitter;
use super::narrow::unsigned;
use crate::assembler::{Id, register};
use crate::spv::op;

/// Number of definitions that are looked through for what a compiler may know of a value.
pub(super) const DEPTH: u32 = 5;

/// Words that drivers cannot constant-fold.
#[derive(Clone, Copy)]
pub(super) struct Hidden {
    zero: Id,
    /// All ones.
    ones: Id,
}

/// A compiler's possible knowledge of a value that is not constant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// It is one of a few constants.
    Constants,
    /// It is a constant on some of the ways to it.
    Mixed,
}

/// Returns whether the lowering of an op, here or in the driver, adds, subtracts, multiplies or divides floats.
pub(super) fn is_arithmetic(op: Op) -> bool {
    match op.on(ScalarClass::Float) {
        Some(ScalarOp::Dot) => true,
        Some(ScalarOp::Float(op)) => match op {
            FloatOp::Transcendental(_)
            | FloatOp::Add
            | FloatOp::Sub
            | FloatOp::Mul
            | FloatOp::Div
            | FloatOp::Fma
            | FloatOp::Fract
            | FloatOp::Abs => true,
            FloatOp::Compare(_)
            | FloatOp::Neg
            | FloatOp::Sign
            | FloatOp::Min
            | FloatOp::Max
            | FloatOp::Clamp
            | FloatOp::Floor
            | FloatOp::Ceil
            | FloatOp::Trunc
            | FloatOp::Round
            | FloatOp::Sqrt
            | FloatOp::Rsqrt
            | FloatOp::IsNan
            | FloatOp::IsInf => false,
        },
        Some(
            ScalarOp::Bool(_)
            | ScalarOp::Integer(_)
            | ScalarOp::Select
            | ScalarOp::Convert
            | ScalarOp::Bitcast
            | ScalarOp::Pack
            | ScalarOp::Unpack
            | ScalarOp::Construct
            | ScalarOp::Extract
            | ScalarOp::Insert,
        )
        | None => false,
    }
}

/// Returns whether the lowering of an op, here or in the driver, compares integers.
fn compares(op: IntegerOp) -> bool {
    match op {
        IntegerOp::Compare(_)
        | IntegerOp::Min
        | IntegerOp::Max
        | IntegerOp::Clamp
        | IntegerOp::AddSat
        | IntegerOp::SubSat => true,
        IntegerOp::Add
        | IntegerOp::Sub
        | IntegerOp::Mul
        | IntegerOp::MulHi
        | IntegerOp::Div
        | IntegerOp::Rem
        | IntegerOp::Neg
        | IntegerOp::Abs
        | IntegerOp::Sign
        | IntegerOp::And
        | IntegerOp::Or
        | IntegerOp::Xor
        | IntegerOp::Not
        | IntegerOp::Shl
        | IntegerOp::Shr
        | IntegerOp::RotateLeft
        | IntegerOp::RotateRight
        | IntegerOp::PopCount
        | IntegerOp::LeadingZeros
        | IntegerOp::TrailingZeros
        | IntegerOp::ReverseBits
        | IntegerOp::ExtractBits
        | IntegerOp::InsertBits
        | IntegerOp::DotPacked => false,
    }
}

/// Returns whether the lowering of an op, here or in the driver, takes the lesser or the greater of two integers.
fn bounds(op: IntegerOp) -> bool {
    compares(op) && !matches!(op, IntegerOp::Compare(_))
}

/// Returns whether the result of an op on floats may be a zero with the sign of an operand.
fn keeps_zeros(op: FloatOp) -> bool {
    match op {
        FloatOp::Abs
        | FloatOp::Floor
        | FloatOp::Ceil
        | FloatOp::Trunc
        | FloatOp::Round
        | FloatOp::Fract
        | FloatOp::Min
        | FloatOp::Max
        | FloatOp::Clamp => true,
        FloatOp::Compare(_)
        | FloatOp::Transcendental(_)
        | FloatOp::Add
        | FloatOp::Sub
        | FloatOp::Mul
        | FloatOp::Div
        | FloatOp::Neg
        | FloatOp::Sign
        | FloatOp::Fma
        | FloatOp::Sqrt
        | FloatOp::Rsqrt
        | FloatOp::IsNan
        | FloatOp::IsInf => false,
    }
}

/// Returns for each value whether it is used other than by a store to memory that other invocations can see.
pub(super) fn used_in_registers(kernel: &Kernel) -> Vec<bool> {
    let mut used = vec![false; kernel.values.len()];
    for id in instructions(kernel) {
        let mut stored = None;
        if let InstKind::Store { memory, value, .. } = kernel.inst(id).kind
            && !matches!(memory, Memory::Local(_))
        {
            stored = Some(value);
        }
        operands(&kernel.inst(id).kind)
            .filter(|value| Some(*value) != stored)
            .for_each(|value| used[value.index()] = true);
    }
    for block in &kernel.blocks {
        match &block.terminator {
            Terminator::Yield(values) => values.iter().for_each(|value| used[value.index()] = true),
            Terminator::Return | Terminator::Condition(_) => {}
        }
    }
    used
}

impl Emitter<'_> {
    /// Prepares hiding by `zero`, a word that only the launch knows to be zero.
    pub(super) fn hide_with(&mut self, zero: Id) {
        let one = self.asm.u32(1);
        // Shifted, so that no compiler sees the one as the complement of the other.
        let shifted = self.make(op::ShiftRightLogical, Type::U32, &[zero, one]);
        let ones = self.make(op::Not, Type::U32, &[shifted]);
        self.hidden = Some(Hidden { zero, ones });
    }

    /// Returns the hidden zero in every lane of the unsigned integer `ty`. With the rule `zeros`, each lane and operand
    /// of an op gets a different zero, shifted up: lavapipe moves a zero that is common to both sides of a selection
    /// behind the selection, and folds the rest.
    pub(super) fn hidden_zero(&mut self, ty: Type, operand: u32) -> Option<Id> {
        let zero = self.hidden?.zero;
        let (lanes, apart) = (ty.lanes.count(), self.profile.rules.zeros);
        let mut zero_of = |lane: u32| {
            let mut zero = zero;
            let place = operand * 4 + lane;
            if apart && place > 0 {
                let amount = self.asm.u32(place);
                zero = self.make(op::ShiftLeftLogical, Type::U32, &[zero, amount]);
            }
            // Not the pair of the word with itself: with that, NVIDIA's driver lost the device in loops that did not end.
            if ty.scalar.bits() == 64 {
                zero = self.make(op::UConvert, ty.element(), &[zero]);
            }
            zero
        };
        if !apart || lanes == 1 {
            let zero = zero_of(0);
            return Some(self.splat_value(ty, zero));
        }
        let zeros: Vec<Id> = (0..lanes).map(zero_of).collect();
        Some(self.make(op::CompositeConstruct, ty, &zeros))
    }

    /// Combines `value` with the hidden zero, so that no compiler can fold it.
    pub(super) fn opaque(&mut self, ty: Type, value: Id) -> Id {
        self.opaque_apart(ty, value, 0)
    }

    /// Combines `value` with the hidden zero of one of an op's operands.
    fn opaque_apart(&mut self, ty: Type, value: Id, operand: u32) -> Id {
        if ty.scalar == ScalarType::F16 {
            return self.opaque_halves(ty, value, operand);
        }
        // A narrow integer combined with zero needs no wrapping.
        let ty = register(ty);
        let unsigned = unsigned(ty);
        let Some(zero) = self.hidden_zero(unsigned, operand) else { return value };
        let bits = self.as_type(ty, unsigned, value);
        // Not an exclusive or: a compiler cancels two of them.
        let mut bits = self.make(op::BitwiseOr, unsigned, &[bits, zero]);
        // Bits that are known to be ones are not hidden by that, and a −1 has no others.
        if let Some(Hidden { ones, .. }) = self.hidden
            && ty.scalar.is_integer()
            && ty.scalar.bits() == 32
        {
            let ones = self.splat_value(unsigned, ones);
            bits = self.make(op::BitwiseAnd, unsigned, &[bits, ones]);
        }
        self.as_type(unsigned, ty, bits)
    }

    /// Hides a result rounded to `f16`, so that a conversion to a wider type cannot undo the rounding, and a double
    /// rounded to an integral value, so that a conversion to an integer is not combined with the rounding.
    pub(super) fn keep_rounding(&mut self, scalar_op: Op, result: ValueId, value: Id) -> Id {
        if !self.profile.rules.rounding {
            return value;
        }
        let ty = self.kernel.ty(result);
        let is_half = ty.scalar == ScalarType::F16;
        let rounds = if is_half {
            scalar_op == Op::Convert || scalar_op.is_transcendental()
        } else {
            ty.scalar == ScalarType::F64 && matches!(scalar_op, Op::Floor | Op::Ceil | Op::Trunc | Op::Round)
        };
        if !rounds || !self.used_in_registers.get(result.index()).copied().unwrap_or(true) {
            return value;
        }
        if is_half && !self.may_be_known(result) {
            self.opaque_pairs(ty, value)
        } else {
            self.opaque(ty, value)
        }
    }

    /// Hides a 64-bit integer widened from a narrower one, or its shift amount.
    pub(super) fn keep_wide(&mut self, ty: Type, value: Id) -> Id {
        if self.profile.rules.wide_integers { self.opaque(ty, value) } else { value }
    }

    /// Shifts a 64-bit integer that was converted from a float by a hidden zero. If only its low half is used, a driver
    /// would otherwise convert to a word, which saturates differently.
    pub(super) fn keep_high_half(&mut self, ty: Type, value: Id) -> Id {
        if !self.profile.rules.wide_integers {
            return value;
        }
        match self.hidden_zero(ty.with_scalar(ScalarType::U32), 0) {
            Some(amount) => self.make(op::ShiftRightLogical, ty, &[value, amount]),
            None => value,
        }
    }

    /// Returns a constant of an integer type, hidden where narrow integers are misfolded.
    pub(super) fn wrapping_constant(&mut self, ty: Type, bits: u64) -> Id {
        let constant = self.asm.splat(ty, bits);
        if self.profile.rules.narrow_integers { self.opaque(ty, constant) } else { constant }
    }

    /// Hides an integer that a compiler may know to be negative and might replace by a negation.
    pub(super) fn keep_sign(&mut self, ty: Type, value: Id) -> Id {
        if self.profile.rules.signs { self.opaque(ty, value) } else { value }
    }

    /// Hides 16 bits of an integer that are reinterpreted as a float.
    pub(super) fn keep_bits(&mut self, ty: Type, value: Id) -> Id {
        if self.profile.rules.narrow_integers { self.opaque(ty, value) } else { value }
    }

    /// Negates an integer.
    pub(super) fn negated(&mut self, ty: Type, value: Id) -> Id {
        let zero = if self.profile.rules.signs { self.hidden_zero(unsigned(ty), 0) } else { None };
        match zero {
            Some(zero) => self.make(op::ISub, ty, &[zero, value]),
            None => self.make(op::SNegate, ty, &[value]),
        }
    }

    /// Negates an integer where `condition` holds.
    pub(super) fn negated_where(&mut self, ty: Type, condition: Id, value: Id) -> Id {
        let negated = self.negated(ty, value);
        self.make(op::Select, ty, &[condition, negated, value])
    }

    /// Returns a constant for comparisons with integers of type `ty`.
    pub(super) fn limit(&mut self, ty: Type, bits: u64) -> Id {
        let constant = self.asm.splat(ty, bits);
        let is_wide = ty.scalar.is_integer() && ty.scalar.bits() == 64;
        if is_wide { self.keep_wide(ty, constant) } else { constant }
    }

    /// Returns a bound of a `for`, hidden if its comparison with the other bound would be misfolded.
    pub(super) fn end_of_range(&mut self, value: ValueId) -> Id {
        let (ty, id) = (self.kernel.ty(value), self.id(value));
        let is_wide = ty.scalar.bits() == 64 && self.constant(value).is_some();
        if is_wide { self.keep_wide(ty, id) } else { id }
    }

    /// Returns the yields of an arm of an `if`, hiding those that a driver would fold incorrectly as operands of a
    /// selection.
    pub(super) fn hide_yields(&mut self, values: &[ValueId], arm: u32) -> Vec<Id> {
        let yielded = values.iter().map(|value| {
            let (ty, id) = (self.kernel.ty(*value), self.id(*value));
            let hides = self.hidden.is_some() && !ty.is_matrix();
            match hides && self.is_misfolded(Op::Select, ty, &[], *value) {
                true => self.opaque_operand(*value, id, arm),
                false => self.keep_half(ty, id, arm),
            }
        });
        yielded.collect()
    }

    /// Returns a value that a loop carries, hidden if it is a −0 that a driver would fold incorrectly in the loop or after
    /// one without iterations.
    pub(super) fn hide_carried(&mut self, value: ValueId) -> Id {
        let id = self.id(value);
        let hides = self.hidden.is_some() && self.profile.rules.signs && self.is_minus_zero(value);
        if hides { self.opaque_operand(value, id, 0) } else { id }
    }

    /// Hides the operands that the driver's compiler would fold incorrectly.
    pub(super) fn hide(&mut self, scalar_op: Op, main: Type, operands: &[ValueId], args: &mut [Id]) {
        // Matrices have no bits to combine with a zero.
        if self.hidden.is_none() || main.is_matrix() {
            return;
        }
        for ((value, arg), place) in operands.iter().zip(args).zip(0..) {
            let ty = self.kernel.ty(*value);
            if self.is_misfolded(scalar_op, main, operands, *value) {
                *arg = self.opaque_operand(*value, *arg, place);
            } else if scalar_op == Op::Select {
                *arg = self.keep_half(ty, *arg, place);
            } else if scalar_op == Op::Insert && ty.lanes != Lanes::One && self.is_constant_half(*value) {
                *arg = self.opaque(ty, *arg);
            }
        }
    }

    /// Returns whether the driver's compiler would fold `value`, an operand of the op, incorrectly.
    fn is_misfolded(&self, scalar_op: Op, main: Type, operands: &[ValueId], value: ValueId) -> bool {
        let rules = self.profile.rules;
        let is_float = self.kernel.ty(value).scalar.is_float();
        let is_wide = main.scalar.is_integer() && main.scalar.bits() == 64;
        // A selection of −1 or 0 is arithmetic as well, because the driver converts and negates a boolean. A dynamic
        // component index is lowered by selections.
        let selects = match scalar_op.on(main.scalar.class()) {
            Some(ScalarOp::Select) => true,
            Some(ScalarOp::Extract | ScalarOp::Insert) => {
                operands.get(1).is_some_and(|index| self.constant(*index).is_none())
            }
            Some(
                ScalarOp::Bool(_)
                | ScalarOp::Integer(_)
                | ScalarOp::Float(_)
                | ScalarOp::Convert
                | ScalarOp::Bitcast
                | ScalarOp::Pack
                | ScalarOp::Unpack
                | ScalarOp::Construct
                | ScalarOp::Dot,
            )
            | None => false,
        };
        let sees_zeros = is_arithmetic(scalar_op) || selects;
        let compares = IntegerOp::of(scalar_op).is_some_and(compares);
        rules.wide_integers && is_wide && compares && self.constant(value).is_some()
            || rules.zeros && is_float && sees_zeros && !self.is_nonzero(value) && !self.is_unknown(value)
            || rules.zeros && selects && self.is_one_in_bits(value)
            || rules.signs && is_float && self.is_misjudged(scalar_op, operands, value)
            || rules.signs && main.scalar.is_integer() && self.negates(scalar_op, operands, value)
            || self.becomes_half_of_a_pair(scalar_op, value)
            || rules.narrow_integers && self.is_factor_of_a_bit(scalar_op, value)
            || rules.wide_integers && is_wide && self.is_foreseen_factor(scalar_op, value)
            || rules.signs && main.scalar.bits() == 32 && self.is_negated_bound(scalar_op, value)
    }

    /// Returns whether a value is a factor that a compiler may know to be 0 or 1, and replace the product by a selection.
    fn is_foreseen_factor(&self, scalar_op: Op, value: ValueId) -> bool {
        let multiplies = scalar_op == Op::Mul || scalar_op == Op::Dot;
        multiplies && self.constant(value).is_none() && !self.is_given(value)
    }

    /// Returns whether a value is a constant that becomes a component of a vector of `f16`.
    fn becomes_half_of_a_pair(&self, scalar_op: Op, value: ValueId) -> bool {
        let is_moved = scalar_op == Op::Construct || scalar_op == Op::Insert;
        is_moved && self.kernel.ty(value).lanes == Lanes::One && self.is_constant_half(value)
    }

    /// Returns whether a value is a constant of `f16` that a compiler would lose in a pair.
    fn is_constant_half(&self, value: ValueId) -> bool {
        let is_half = self.kernel.ty(value).scalar == ScalarType::F16;
        self.profile.rules.rounding && is_half && self.constant(value).is_some()
    }

    /// Returns whether a value is a factor that is 0 or 1, and a compiler may replace the product by a selection.
    fn is_factor_of_a_bit(&self, scalar_op: Op, value: ValueId) -> bool {
        let multiplies = scalar_op == Op::Mul || scalar_op == Op::Dot;
        multiplies && self.constant(value).is_none() && self.is_bit(value, DEPTH)
    }

    /// Returns whether a compiler may know that every component of an integer is 0 or 1.
    fn is_bit(&self, value: ValueId, depth: u32) -> bool {
        let ty = self.kernel.ty(value);
        if ty.scalar == ScalarType::Bool {
            return true;
        }
        let lanes = ty.lanes.count() as usize;
        if let Some(bits) = self.constant(value) {
            return ty.scalar.is_integer() && bits[..lanes].iter().all(|bits| *bits <= 1);
        }
        let ValueDef::Inst(inst, _) = self.kernel.value(value).def else { return false };
        let InstKind::Scalar { op, operands, .. } = &self.kernel.inst(inst).kind else { return false };
        let is_bit = |value: &ValueId| depth > 0 && self.is_bit(*value, depth - 1);
        let moves_last_bit = |amount: &ValueId| {
            let last = u64::from(ty.scalar.bits() - 1);
            self.constant(*amount).is_some_and(|amounts| amounts[..lanes].iter().all(|bits| *bits == last))
        };
        let is_lesser = *op == Op::And || *op == Op::Min && !ty.scalar.is_signed();
        let is_made_of_bits = [Op::Construct, Op::Insert, Op::Or, Op::Xor, Op::Mul, Op::Max].contains(op);
        ty.scalar.is_integer()
            && (is_lesser && operands.iter().any(is_bit)
                || [Op::Convert, Op::Bitcast, Op::Extract].contains(op)
                    && operands.first().is_some_and(is_bit)
                || *op == Op::Select && operands[1..].iter().all(is_bit)
                || *op == Op::Shr && operands.get(1).is_some_and(moves_last_bit)
                || is_made_of_bits && operands.iter().all(is_bit)
                || ty == Type::U32 && self.ranges.range(value).most <= 1)
    }

    /// Returns whether a value bounds another, or is bounded, and a compiler may take it for a negation: the product with
    /// a number that it knows to be −1, for instance.
    fn is_negated_bound(&self, scalar_op: Op, value: ValueId) -> bool {
        let is_bound = IntegerOp::of(scalar_op).is_some_and(bounds);
        is_bound && self.constant(value).is_none() && !self.is_given(value) && !self.is_combined(value)
    }

    /// Returns whether a value is loaded from a buffer or a parameter.
    pub(super) fn is_given(&self, value: ValueId) -> bool {
        match self.kernel.value(value).def {
            ValueDef::Param(_) => true,
            ValueDef::Inst(inst, _) => {
                matches!(self.kernel.inst(inst).kind, InstKind::Load { memory: Memory::Buffer(_), .. })
            }
            ValueDef::Const(_) | ValueDef::BlockParam(..) => false,
        }
    }

    /// Returns whether a value is an id, a length, or the result of an op that never amounts to a negation.
    fn is_combined(&self, value: ValueId) -> bool {
        let ValueDef::Inst(inst, _) = self.kernel.value(value).def else { return false };
        let kind = &self.kernel.inst(inst).kind;
        if let InstKind::Scalar { op, .. } = kind {
            return [Op::Min, Op::Max, Op::Clamp, Op::And, Op::Or, Op::Xor].contains(op);
        }
        matches!(kind, InstKind::Id { .. } | InstKind::Len { .. })
    }

    /// Returns whether a constant integer turns an op into a negation: 0 as a minuend, or a negative factor.
    fn negates(&self, scalar_op: Op, operands: &[ValueId], value: ValueId) -> bool {
        let ty = self.kernel.ty(value);
        let Some(lanes) = self.constant(value) else { return false };
        let mut lanes = lanes[..ty.lanes.count() as usize].iter();
        scalar_op == Op::Sub && operands.first() == Some(&value) && lanes.any(|bits| *bits == 0)
            || scalar_op == Op::Mul && lanes.any(|bits| *bits > ty.scalar.mask() / 2)
    }

    /// Returns whether a constant integer has the bits of the float 1 or −1; a compiler may confuse the two in a
    /// selection.
    fn is_one_in_bits(&self, value: ValueId) -> bool {
        let ty = self.kernel.ty(value);
        let float = match ty.scalar.bits() {
            32 => ScalarType::F32,
            64 => ScalarType::F64,
            _ => return false,
        };
        let (Some(lanes), Some(format)) = (self.constant(value), FloatFormat::of(float)) else {
            return false;
        };
        let ones = [1.0, -1.0].map(|one| format.encode(one));
        ty.scalar.is_integer() && lanes[..ty.lanes.count() as usize].iter().any(|bits| ones.contains(bits))
    }

    /// Returns whether the rule `signs` hides a float: a constant in a comparison, −0, 1 as an upper bound, a selection
    /// between constants in arithmetic, or one that may be a constant in an op that keeps the sign of zero.
    fn is_misjudged(&self, scalar_op: Op, operands: &[ValueId], value: ValueId) -> bool {
        if CompareOp::of(scalar_op).is_some() {
            return self.constant(value).is_some();
        }
        // Clamping from 0 to 1 is a hardware modifier, which is correct.
        let bounded = scalar_op == Op::Min
            || scalar_op == Op::Clamp
                && operands.get(1).is_some_and(|low| !self.has_lane(*low, |_, bits| bits == 0));
        let keeps_zeros = FloatOp::of(scalar_op).is_some_and(keeps_zeros);
        self.is_minus_zero(value)
            || bounded && self.has_lane(value, |format, bits| bits == format.encode(1.0))
            || keeps_zeros && self.choices.contains_key(&value)
            || is_arithmetic(scalar_op) && self.choices.get(&value) == Some(&Choice::Constants)
    }

    /// Combines an operand with the hidden zero. `f16` constants are hidden as `f32` and converted: NVIDIA's compiler
    /// loses the second of a pair of equal constants that are hidden as bits.
    fn opaque_operand(&mut self, value: ValueId, id: Id, operand: u32) -> Id {
        let ty = self.kernel.ty(value);
        let Some(lanes) = self.constant(value).filter(|_| ty.scalar == ScalarType::F16) else {
            return self.opaque_apart(ty, id, operand);
        };
        let wide = ty.with_scalar(ScalarType::F32);
        let widened =
            |bits: &u64| eval::scalar(Op::Convert, ty.scalar, wide.scalar, &[*bits]).unwrap_or_default();
        let lanes: Vec<u64> = lanes[..ty.lanes.count() as usize].iter().map(widened).collect();
        let constant = self.asm.lanes(wide, &lanes);
        let hidden = self.opaque_apart(wide, constant, operand);
        self.make(op::FConvert, ty, &[hidden])
    }

    /// Returns whether a value is a constant float with a component of −0.
    fn is_minus_zero(&self, value: ValueId) -> bool {
        self.has_lane(value, |format, bits| bits == format.sign_bit())
    }

    /// Returns whether a value is a constant float with a matching component.
    fn has_lane(&self, value: ValueId, is: impl Fn(FloatFormat, u64) -> bool) -> bool {
        let ty = self.kernel.ty(value);
        let (Some(lanes), Some(format)) = (self.constant(value), FloatFormat::of(ty.scalar)) else {
            return false;
        };
        lanes[..ty.lanes.count() as usize].iter().any(|bits| is(format, *bits))
    }

    /// Returns what a compiler may know of a float that is one of `values`.
    fn choice_of(&self, values: &[ValueId]) -> Option<Choice> {
        let is_known = |value: &ValueId| self.constant(*value).is_some();
        let is_sure =
            |value: &ValueId| is_known(value) || self.choices.get(value) == Some(&Choice::Constants);
        let is_choice = |value: &ValueId| is_known(value) || self.choices.contains_key(value);
        match () {
            () if values.iter().all(is_sure) => Some(Choice::Constants),
            () if values.iter().any(is_choice) => Some(Choice::Mixed),
            () => None,
        }
    }

    /// Records what a compiler may know of the result of an `if`.
    pub(super) fn note_yielded_choice(&mut self, yielded: [ValueId; 2], result: ValueId) {
        if self.profile.rules.signs
            && let Some(choice) = self.choice_of(&yielded)
        {
            self.choices.insert(result, choice);
        }
    }

    /// Records the carried values of a loop whose initial values are choices.
    pub(super) fn note_carried_choices(&mut self, initial: &[ValueId], carried: &[ValueId]) {
        for (value, carried) in initial.iter().zip(carried) {
            if self.choices.contains_key(value) {
                self.choices.insert(*carried, Choice::Mixed);
            }
        }
    }

    /// Records what a compiler may know of the result of an op.
    pub(super) fn note_choice(&mut self, scalar_op: Op, operands: &[ValueId], result: ValueId) {
        if !self.profile.rules.signs {
            return;
        }
        let is_known = |value: &ValueId| self.constant(*value).is_some();
        let is_chosen = |value: &ValueId| self.choices.contains_key(value);
        let choice = match scalar_op.on(ScalarClass::Float) {
            Some(ScalarOp::Select) => operands.get(1..).and_then(|values| self.choice_of(values)),
            Some(ScalarOp::Convert)
                if operands.iter().all(|from| self.kernel.ty(*from).scalar == ScalarType::Bool) =>
            {
                Some(Choice::Constants)
            }
            Some(ScalarOp::Construct | ScalarOp::Insert) if operands.iter().any(is_chosen) => {
                self.choice_of(operands)
            }
            Some(
                ScalarOp::Bool(_)
                | ScalarOp::Integer(_)
                | ScalarOp::Float(_)
                | ScalarOp::Convert
                | ScalarOp::Bitcast
                | ScalarOp::Pack
                | ScalarOp::Unpack
                | ScalarOp::Construct
                | ScalarOp::Extract
                | ScalarOp::Insert
                | ScalarOp::Dot,
            )
            | None => {
                let is_choice = operands.iter().any(is_chosen)
                    && operands.iter().all(|value| is_known(value) || is_chosen(value));
                if is_choice { self.choice_of(operands) } else { None }
            }
        };
        if let Some(choice) = choice {
            self.choices.insert(result, choice);
        }
    }

    /// Returns a zero that drivers which fold zeros cannot constant-fold.
    pub(super) fn unknown_zero(&mut self, ty: Type) -> Id {
        let zero = self.asm.splat(ty, 0);
        // With an operand number that no op uses.
        if self.profile.rules.zeros { self.opaque_apart(ty, zero, 3) } else { zero }
    }

    /// Returns whether a value is a constant without zero components.
    fn is_nonzero(&self, value: ValueId) -> bool {
        let is_float = self.kernel.ty(value).scalar.is_float();
        is_float
            && self.constant(value).is_some()
            && !self.has_lane(value, |format, bits| format.is_zero(bits))
    }

    /// Returns whether a compiler cannot know a value, because it comes from the host or is computed by arithmetic from
    /// such a value or a hidden one.
    fn is_unknown(&self, value: ValueId) -> bool {
        if self.known.contains_key(&value) {
            return false;
        }
        if let ValueDef::Inst(inst, _) = self.kernel.value(value).def
            && let InstKind::Scalar { op, operands, .. } = &self.kernel.inst(inst).kind
        {
            return is_arithmetic(*op) && operands.iter().any(|operand| !self.is_nonzero(*operand));
        }
        self.is_given(value)
    }
}
