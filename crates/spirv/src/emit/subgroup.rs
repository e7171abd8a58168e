//! Subgroup ops and lane ids.
//!
//! Lanes are numbered by [`fulgurite_spec::Op::Lane`]: the local index modulo the subgroup size, which the host
//! guarantees. The last subgroup of a workgroup may be partial.

use fulgurite_ir::{Combine, Operands, ValueId};
use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::{IdOp, Lanes, ScalarType, SubgroupOp, Type};

use super::Emitter;
use crate::assembler::Id;
use crate::spv::{capability, glsl, group_operation, op, scope};

impl Emitter<'_> {
    /// Returns an id for the position of an invocation in its subgroup, or for the size or number of subgroups.
    pub(super) fn subgroup_id(&mut self, id_op: IdOp) -> Id {
        let size = self.profile.subgroup_size;
        let invocations = self.kernel.workgroup_invocations();
        match id_op {
            IdOp::SubgroupSize => self.asm.u32(size),
            // Computed, because lavapipe is wrong for workgroups whose size is not a multiple of the subgroup size.
            IdOp::NumSubgroups => self.asm.u32(invocations.div_ceil(size)),
            IdOp::LaneMaskLt => self.lane_mask_lt(),
            IdOp::SubgroupId => self.built_in(IdOp::SubgroupId),
            IdOp::Lane => {
                let index = self.built_in(IdOp::LocalIndex);
                let mask = self.asm.u32(size - 1);
                self.make(op::BitwiseAnd, Type::U32, &[index, mask])
            }
            IdOp::GlobalId | IdOp::LocalId | IdOp::WorkgroupId | IdOp::NumWorkgroups | IdOp::LocalIndex => {
                self.built_in(id_op)
            }
        }
    }

    /// Returns a mask of the lanes below this one, in four words.
    fn lane_mask_lt(&mut self) -> Id {
        let lane = self.subgroup_id(IdOp::Lane);
        let size = self.profile.subgroup_size;
        let (zero, one, all) = (self.asm.u32(0), self.asm.u32(1), self.asm.u32(u32::MAX));
        let top = self.asm.u32(31);
        let words: Vec<Id> = (0..4)
            .map(|word| {
                let first = word * 32;
                if first >= size {
                    return zero;
                }
                let (first, end) = (self.asm.u32(first), self.asm.u32(first + 32));
                let within = self.make(op::BitwiseAnd, Type::U32, &[lane, top]);
                let bit = self.make(op::ShiftLeftLogical, Type::U32, &[one, within]);
                let below = self.make(op::ISub, Type::U32, &[bit, one]);
                let before = self.make(op::ULessThan, Type::BOOL, &[lane, first]);
                let mask = self.make(op::Select, Type::U32, &[before, zero, below]);
                let after = self.make(op::UGreaterThanEqual, Type::BOOL, &[lane, end]);
                self.make(op::Select, Type::U32, &[after, all, mask])
            })
            .collect();
        self.make(op::CompositeConstruct, Type::U32.with_lanes(Lanes::Four), &words)
    }

    pub(super) fn subgroup(
        &mut self,
        subgroup_op: SubgroupOp,
        combine: Option<Combine>,
        operands: &Operands,
    ) -> Id {
        let args: Vec<Id> = operands.iter().map(|v| self.id(*v)).collect();
        let ty = operands.first().map_or(Type::BOOL, |v| self.kernel.ty(*v));
        let reach = self.asm.u32(scope::Subgroup);
        self.asm.capability(capability::GroupNonUniform);
        let combined = |e: &mut Self, operation: u32| match combine {
            Some(combine) => e.combined(operation, combine, ty, args[0]),
            None => Id::default(),
        };
        match subgroup_op {
            SubgroupOp::Reduce => combined(self, group_operation::Reduce),
            SubgroupOp::InclusiveScan => combined(self, group_operation::InclusiveScan),
            SubgroupOp::ExclusiveScan => combined(self, group_operation::ExclusiveScan),
            SubgroupOp::Ballot => self.ballot(args[0]),
            SubgroupOp::BallotCount => {
                let ballot = self.ballot(args[0]);
                let reduce = group_operation::Reduce;
                self.make(op::GroupNonUniformBallotBitCount, Type::U32, &[reach, reduce, ballot])
            }
            SubgroupOp::Match => self.matching(operands[0], args[0]),
            SubgroupOp::Any => self.vote(op::GroupNonUniformAny, args[0]),
            SubgroupOp::All => self.vote(op::GroupNonUniformAll, args[0]),
            SubgroupOp::Elect => self.make(op::GroupNonUniformElect, Type::BOOL, &[reach]),
            SubgroupOp::Broadcast | SubgroupOp::Shuffle => self.moved(ty, &args, |_, _, lane| lane),
            SubgroupOp::ShuffleXor => {
                self.moved(ty, &args, |e, own, mask| e.make(op::BitwiseXor, Type::U32, &[own, mask]))
            }
            SubgroupOp::ShuffleUp => {
                self.moved(ty, &args, |e, own, distance| e.distant(op::ISub, own, distance))
            }
            SubgroupOp::ShuffleDown => {
                self.moved(ty, &args, |e, own, distance| e.distant(op::IAdd, own, distance))
            }
        }
    }

    fn vote(&mut self, opcode: u32, condition: Id) -> Id {
        self.asm.capability(capability::GroupNonUniformVote);
        let reach = self.asm.u32(scope::Subgroup);
        self.make(opcode, Type::BOOL, &[reach, condition])
    }

    /// Returns the lane at a distance. The distance is clamped to the subgroup size, so that the sum cannot wrap. A
    /// difference below the first lane wraps to a number above every lane.
    fn distant(&mut self, opcode: u32, own: Id, distance: Id) -> Id {
        let most = self.asm.u32(self.profile.subgroup_size);
        let distance = self.glsl(glsl::UMin, Type::U32, &[distance, most]);
        self.make(opcode, Type::U32, &[own, distance])
    }

    fn ballot(&mut self, condition: Id) -> Id {
        self.asm.capability(capability::GroupNonUniformBallot);
        let reach = self.asm.u32(scope::Subgroup);
        self.make(op::GroupNonUniformBallot, Type::U32.with_lanes(Lanes::Four), &[reach, condition])
    }

    /// Returns the value of the lane that `wanted` computes from this lane and the second operand, or this lane's value
    /// if there is no such lane.
    fn moved(&mut self, ty: Type, args: &[Id], wanted: impl FnOnce(&mut Self, Id, Id) -> Id) -> Id {
        self.asm.capability(capability::GroupNonUniformShuffle);
        let lane = self.subgroup_id(IdOp::Lane);
        let wanted = wanted(self, lane, args[1]);
        let count = self.lanes_here();
        let there = self.make(op::ULessThan, Type::BOOL, &[wanted, count]);
        let from = self.make(op::Select, Type::U32, &[there, wanted, lane]);
        // `bool` is moved as words and `bf16` as its bits, because the group ops accept both types.
        let kept = if ty.scalar == ScalarType::Bool { ty.with_scalar(ScalarType::U32) } else { ty };
        let value = self.convert(args[0], ty, kept);
        let reach = self.asm.u32(scope::Subgroup);
        let result = self.make(op::GroupNonUniformShuffle, kept, &[reach, value, from]);
        self.convert(result, kept, ty)
    }

    /// Returns the number of lanes of this subgroup.
    fn lanes_here(&mut self) -> Id {
        let (size, invocations) = (self.profile.subgroup_size, self.kernel.workgroup_invocations());
        if invocations % size == 0 {
            return self.asm.u32(size);
        }
        let subgroup = self.subgroup_id(IdOp::SubgroupId);
        let (shift, all, size) =
            (self.asm.u32(size.trailing_zeros()), self.asm.u32(invocations), self.asm.u32(size));
        let before = self.make(op::ShiftLeftLogical, Type::U32, &[subgroup, shift]);
        let left = self.make(op::ISub, Type::U32, &[all, before]);
        self.glsl(glsl::UMin, Type::U32, &[left, size])
    }

    fn combined(&mut self, operation: u32, combine: Combine, ty: Type, value: Id) -> Id {
        self.asm.capability(capability::GroupNonUniformArithmetic);
        if ty.scalar == ScalarType::BF16 {
            let wide = ty.with_scalar(ScalarType::F32);
            let value = self.convert(value, ty, wide);
            let result = self.combined(operation, combine, wide, value);
            return self.convert(result, wide, ty);
        }
        let (float, signed) = (ty.scalar.is_float(), ty.scalar.is_signed());
        let opcode = match combine {
            Combine::Add if float => op::GroupNonUniformFAdd,
            Combine::Add => op::GroupNonUniformIAdd,
            Combine::Mul if float => op::GroupNonUniformFMul,
            Combine::Mul => op::GroupNonUniformIMul,
            Combine::Min if float => op::GroupNonUniformFMin,
            Combine::Min if signed => op::GroupNonUniformSMin,
            Combine::Min => op::GroupNonUniformUMin,
            Combine::Max if float => op::GroupNonUniformFMax,
            Combine::Max if signed => op::GroupNonUniformSMax,
            Combine::Max => op::GroupNonUniformUMax,
            Combine::And => op::GroupNonUniformBitwiseAnd,
            Combine::Or => op::GroupNonUniformBitwiseOr,
            Combine::Xor => op::GroupNonUniformBitwiseXor,
        };
        let reach = self.asm.u32(scope::Subgroup);
        if !float || !matches!(combine, Combine::Min | Combine::Max) {
            let result = self.make(opcode, ty, &[reach, operation, value]);
            return self.within(combine, ty, result);
        }
        // The specification does not define the effect of a NaN on these ops. NaNs are replaced by the identity, and
        // the result is NaN only if all operands were.
        let mask = ty.with_scalar(ScalarType::Bool);
        let identity = self.asm.splat(ty, combine.identity(ty.scalar));
        let nan = self.make(op::IsNan, mask, &[value]);
        let known = self.make(op::Select, ty, &[nan, identity, value]);
        let result = self.make(opcode, ty, &[reach, operation, known]);
        let words = ty.with_scalar(ScalarType::U32);
        let (zero, one) = (self.asm.splat(words, 0), self.asm.splat(words, 1));
        let is_number = self.make(op::Select, words, &[nan, zero, one]);
        let numbers = self.make(op::GroupNonUniformUMax, words, &[reach, operation, is_number]);
        let mut none = self.make(op::IEqual, mask, &[numbers, zero]);
        if operation == group_operation::ExclusiveScan {
            // An exclusive scan has no operands in the first lane.
            let lane = self.subgroup_id(IdOp::Lane);
            let word_zero = self.asm.u32(0);
            let later = self.make(op::INotEqual, Type::BOOL, &[lane, word_zero]);
            let later = self.splat_value(mask, later);
            none = self.make(op::LogicalAnd, mask, &[none, later]);
        }
        let bits = FloatFormat::of(ty.scalar).map_or(0, FloatFormat::nan);
        let nothing = self.asm.splat(ty, bits);
        self.make(op::Select, ty, &[none, nothing, result])
    }

    /// Converts a combination of narrow integers, computed as words, to their type. An empty scan yields the identity
    /// of words, which may lie outside that type.
    fn within(&mut self, combine: Combine, ty: Type, result: Id) -> Id {
        if ty.scalar.bits() >= 32 {
            return result;
        }
        let signed = ty.scalar.is_signed();
        let identity = self.asm.splat(ty, combine.identity(ty.scalar));
        match combine {
            Combine::Add | Combine::Mul | Combine::And => self.wrapped(ty, result),
            Combine::Min => self.glsl(if signed { glsl::SMin } else { glsl::UMin }, ty, &[result, identity]),
            Combine::Max if signed => self.glsl(glsl::SMax, ty, &[result, identity]),
            Combine::Max | Combine::Or | Combine::Xor => result,
        }
    }

    /// Returns the lanes whose value has the same bits, by one ballot per bit of the value.
    fn matching(&mut self, value: ValueId, id: Id) -> Id {
        let ty = self.kernel.ty(value);
        let masks = Type::U32.with_lanes(Lanes::Four);
        let unsigned = match ty.scalar.unsigned() {
            Some(unsigned) => Type::scalar(unsigned),
            None => Type::U32,
        };
        let bits_id =
            if ty == Type::BOOL { self.convert(id, ty, unsigned) } else { self.as_type(ty, unsigned, id) };
        let width = match ty {
            Type::U32 => 32 - self.ranges.range(value).most.leading_zeros(),
            _ => ty.scalar.bits(),
        };
        let always = self.asm.splat(Type::BOOL, 1);
        let mut same = self.ballot(always);
        let (one, zero) = (self.asm.splat(unsigned, 1), self.asm.splat(unsigned, 0));
        for bit in 0..width {
            let amount = self.asm.u32(bit);
            let moved = self.make(op::ShiftRightLogical, unsigned, &[bits_id, amount]);
            let low = self.make(op::BitwiseAnd, unsigned, &[moved, one]);
            let set = self.make(op::INotEqual, Type::BOOL, &[low, zero]);
            let with = self.ballot(set);
            let without = self.make(op::Not, masks, &[with]);
            let set = self.splat_value(Type::BOOL.with_lanes(Lanes::Four), set);
            let alike = self.make(op::Select, masks, &[set, with, without]);
            same = self.make(op::BitwiseAnd, masks, &[same, alike]);
        }
        same
    }
}
