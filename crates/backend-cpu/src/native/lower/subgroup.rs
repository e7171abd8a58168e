//! Ops across the lanes of a subgroup, which is a vector.
//!
//! Control flow is uniform in a subgroup, so that the active lanes are all that there are: all lanes of the vector, or the
//! first ones in the last subgroup of a workgroup.

use fulgurite_ir::{Combine, Kernel, Operands, ValueId};
use fulgurite_spec::{IntegerOp, Op, ScalarType, SubgroupOp};

use super::compose::Registers;
use super::{Lowering, Part, Row, Value};
use crate::native::program::{
    Class, Input, Kind, MaskOp, Reg, Relation, ScalarOp2, ShiftOp, Step, VectorOp2,
};

/// Returns whether the subgroups of `kernel` are vectors: invocations of one row along x whose local indices begin at a
/// multiple of the number of lanes.
pub(in crate::native) fn are_vectors(kernel: &Kernel, lanes: u32) -> bool {
    let [x, y, z] = kernel.workgroup;
    x.is_multiple_of(lanes) || (y == 1 && z == 1)
}

/// The kind of a reduction or scan.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scan {
    Reduce,
    Inclusive,
    Exclusive,
}

impl Lowering<'_> {
    pub(super) fn subgroup(
        &mut self,
        op: Op,
        combine: Option<Combine>,
        operands: &Operands,
        result: ValueId,
    ) -> Option<()> {
        match SubgroupOp::of(op)? {
            SubgroupOp::Reduce => self.scan(Scan::Reduce, combine?, *operands.first()?, result),
            SubgroupOp::InclusiveScan => self.scan(Scan::Inclusive, combine?, *operands.first()?, result),
            SubgroupOp::ExclusiveScan => self.scan(Scan::Exclusive, combine?, *operands.first()?, result),
            SubgroupOp::Broadcast | SubgroupOp::Shuffle => {
                let wanted = self.vector(self.first(*operands.get(1)?))?;
                let there = self.is_lane(wanted);
                self.take(*operands.first()?, wanted, there, result)
            }
            SubgroupOp::ShuffleXor => {
                let other = self.vector(self.first(*operands.get(1)?))?;
                let numbers = self.lane_numbers();
                let wanted = self.vector2(VectorOp2::Xor, numbers, other);
                let there = self.is_lane(wanted);
                self.take(*operands.first()?, wanted, there, result)
            }
            SubgroupOp::ShuffleUp => {
                let distance = self.vector(self.first(*operands.get(1)?))?;
                let numbers = self.lane_numbers();
                let wanted = self.vector2(VectorOp2::Sub, numbers, distance);
                let there = self.compare(Relation::Le, Kind::Unsigned, distance, numbers);
                self.take(*operands.first()?, wanted, there, result)
            }
            SubgroupOp::ShuffleDown => {
                let distance = self.vector(self.first(*operands.get(1)?))?;
                let (numbers, lanes) = (self.lane_numbers(), self.splat(self.lanes));
                let wanted = self.vector2(VectorOp2::Add, numbers, distance);
                let above = self.vector2(VectorOp2::Sub, lanes, numbers);
                let there = self.compare(Relation::Lt, Kind::Unsigned, distance, above);
                self.take(*operands.first()?, wanted, there, result)
            }
            SubgroupOp::Ballot => {
                let holds = self.mask(self.first(*operands.first()?))?;
                let bits = self.bits_of_active(holds);
                self.define_set(result, |lowering, part| lowering.define_scalar(part, bits));
                Some(())
            }
            SubgroupOp::BallotCount => {
                let holds = self.mask(self.first(*operands.first()?))?;
                let bits = self.bits_of_active(holds);
                let all = self.spread(bits);
                let count = self.bit_op(IntegerOp::PopCount, ScalarType::U32, &[all])?;
                self.define_vector(self.first(result), count);
                Some(())
            }
            SubgroupOp::Match => self.matching(*operands.first()?, result),
            SubgroupOp::Any => {
                let holds = self.mask(self.first(*operands.first()?))?;
                let bits = self.bits_of_active(holds);
                self.define_comparison(result, Relation::Ne, bits);
                Some(())
            }
            SubgroupOp::All => {
                let (all, holds) = (self.all_active(), self.mask(self.first(*operands.first()?))?);
                let fails = self.mask2(MaskOp::AndNot, all, holds);
                let bits = self.mask_bits(fails);
                self.define_comparison(result, Relation::Eq, bits);
                Some(())
            }
            SubgroupOp::Elect => {
                let (numbers, zero) = (self.lane_numbers(), self.splat(0));
                let first = self.compare(Relation::Eq, Kind::Unsigned, numbers, zero);
                self.define_mask(self.first(result), first);
                Some(())
            }
        }
    }

    // Ids.

    fn lane_numbers(&mut self) -> Reg {
        self.program.input(Class::Vector, Input::LaneNumbers)
    }

    pub(super) fn lane(&mut self, result: Part) {
        let (first, vector) = (self.input(Input::Constant(0)), self.lane_numbers());
        let row = Some(Row { first, when: None });
        self.values[result.0] = Value { vector: Some(vector), row, ..Value::default() };
    }

    pub(super) fn subgroup_id(&mut self, result: Part) {
        let (x, first) = (self.local_x(), self.row_index());
        let index = self.scalar2(ScalarOp2::Add, x, first);
        let width = self.input(Input::Constant(self.lanes.trailing_zeros()));
        let id = self.scalar2(ScalarOp2::Shr, index, width);
        self.define_scalar(result, id);
    }

    pub(super) fn lanes_before(&mut self, result: ValueId) {
        let (one, numbers) = (self.splat(1), self.lane_numbers());
        let bit = self.vector2(VectorOp2::Shift(ShiftOp::Left), one, numbers);
        let before = self.vector2(VectorOp2::Sub, bit, one);
        self.define_set(result, |lowering, part| lowering.define_vector(part, before));
    }

    /// Defines a set of lanes, of which there are at most 32: the first of its four words, and zeros.
    fn define_set(&mut self, result: ValueId, first: impl FnOnce(&mut Self, Part)) {
        let zero = self.splat(0);
        let parts = self.parts(&[result]);
        if let Some((low, others)) = parts.split_first() {
            first(self, *low);
            others.iter().for_each(|part| self.define_vector(*part, zero));
        }
    }

    // Votes.

    /// Returns a mask as the bits of a scalar.
    fn mask_bits(&mut self, mask: Reg) -> Reg {
        let to = self.reg(Class::Scalar);
        self.push(Step::MaskBits { to, mask });
        to
    }

    fn bits_of_active(&mut self, mask: Reg) -> Reg {
        let active = self.active(mask);
        self.mask_bits(active)
    }

    /// Returns a vector of copies of a scalar.
    fn spread(&mut self, from: Reg) -> Reg {
        let to = self.reg(Class::Vector);
        self.push(Step::Broadcast { to, from });
        to
    }

    /// Defines a bool as the relation of bits to 0.
    fn define_comparison(&mut self, result: ValueId, relation: Relation, bits: Reg) {
        let (to, zero) = (self.reg(Class::Scalar), self.input(Input::Constant(0)));
        self.push(Step::CompareScalar { relation, kind: Kind::Unsigned, to, a: bits, b: zero });
        self.define_scalar(self.first(result), to);
    }

    /// Compiles the set of lanes with the same value: compares the vector with each of its rotations.
    fn matching(&mut self, value: ValueId, result: ValueId) -> Option<()> {
        let ty = self.kernel.ty(value).scalar;
        let own = self.registers(self.first(value))?;
        let own = own.into_iter().map(|reg| self.as_vector(ty, reg)).collect::<Registers>();
        let (numbers, one, most) = (self.lane_numbers(), self.splat(1), self.splat(self.lanes - 1));
        let mut set = self.splat(0);
        for distance in 0..self.lanes {
            let distance = self.splat(distance);
            let moved = self.vector2(VectorOp2::Add, numbers, distance);
            let other = self.vector2(VectorOp2::And, moved, most);
            let mut same = self.is_there(other);
            for word in &own {
                let theirs = self.permute(*word, other);
                let equal = self.compare(Relation::Eq, Kind::Unsigned, *word, theirs);
                same = Some(same.map_or(equal, |same| self.mask2(MaskOp::And, same, equal)));
            }
            let bit = self.vector2(VectorOp2::Shift(ShiftOp::Left), one, other);
            let with = self.vector2(VectorOp2::Or, set, bit);
            set = self.blend(same?, with, set);
        }
        self.define_set(result, |lowering, part| lowering.define_vector(part, set));
        Some(())
    }

    // Values of other lanes.

    /// Returns a register of a component as a vector: bools as 0 or 1.
    fn as_vector(&mut self, ty: ScalarType, reg: Reg) -> Reg {
        if ty == ScalarType::Bool { self.word_of_mask(reg) } else { reg }
    }

    /// Returns the word of another lane in each lane; numbers of lanes count modulo their number.
    fn permute(&mut self, a: Reg, lanes: Reg) -> Reg {
        let to = self.reg(Class::Vector);
        self.push(Step::Permute { to, a, lanes });
        to
    }

    /// Returns the value of another lane in each lane.
    fn permuted(&mut self, ty: ScalarType, registers: &[Reg], lanes: Reg) -> Registers {
        let moved = |reg: &Reg, lowering: &mut Self| {
            let vector = lowering.as_vector(ty, *reg);
            let moved = lowering.permute(vector, lanes);
            if ty == ScalarType::Bool { lowering.mask_of_word(moved) } else { moved }
        };
        registers.iter().map(|reg| moved(reg, self)).collect()
    }

    /// Returns where a number is that of a lane.
    fn is_lane(&mut self, wanted: Reg) -> Reg {
        let lanes = self.splat(self.lanes);
        self.compare(Relation::Lt, Kind::Unsigned, wanted, lanes)
    }

    /// Returns where another lane is active; `None` if all lanes are.
    fn is_there(&mut self, lanes: Reg) -> Option<Reg> {
        let active = self.mask?;
        Some(self.permuted(ScalarType::Bool, &[active], lanes)[0])
    }

    /// Defines a value as that of another lane where there is one, and as its own elsewhere.
    fn take(&mut self, value: ValueId, wanted: Reg, there: Reg, result: ValueId) -> Option<()> {
        let ty = self.kernel.ty(value).scalar;
        let there = match self.is_there(wanted) {
            Some(active) => self.mask2(MaskOp::And, there, active),
            None => there,
        };
        for (from, to) in self.components(value).into_iter().zip(self.components(result)) {
            let own = self.registers(from)?;
            let theirs = self.permuted(ty, &own, wanted);
            let chosen = self.choice(ty, there, &theirs, &own);
            self.define_registers(to, &chosen);
        }
        Some(())
    }

    // Reductions and scans.

    /// Compiles a reduction or scan in steps of doubling distance.
    fn scan(&mut self, kind: Scan, combine: Combine, value: ValueId, result: ValueId) -> Option<()> {
        let ty = self.kernel.ty(value).scalar;
        let (numbers, zero) = (self.lane_numbers(), self.splat(0));
        for (from, to) in self.components(value).into_iter().zip(self.components(result)) {
            let mut sum = self.registers(from)?;
            let mut distance = 1;
            while distance < self.lanes {
                let by = self.splat(distance);
                // A reduction is complete in the first lane only: in a partial subgroup, others miss some lanes.
                let (other, there) = if kind == Scan::Reduce {
                    let other = self.vector2(VectorOp2::Xor, numbers, by);
                    (other, self.is_there(other))
                } else {
                    let other = self.vector2(VectorOp2::Sub, numbers, by);
                    (other, Some(self.compare(Relation::Le, Kind::Unsigned, by, numbers)))
                };
                let theirs = self.permuted(ty, &sum, other);
                let both = self.combined(combine, ty, value, [&theirs, &sum])?;
                sum = there.map_or(both.clone(), |there| self.choice(ty, there, &both, &sum));
                distance *= 2;
            }
            sum = match kind {
                Scan::Reduce => self.permuted(ty, &sum, zero),
                Scan::Inclusive => sum,
                Scan::Exclusive => {
                    let one = self.splat(1);
                    let before = self.vector2(VectorOp2::Sub, numbers, one);
                    let moved = self.permuted(ty, &sum, before);
                    let identity = self.constant_registers(ty, combine.identity(ty));
                    let is_first = self.compare(Relation::Eq, Kind::Unsigned, numbers, zero);
                    self.choice(ty, is_first, &identity, &moved)
                }
            };
            self.define_registers(to, &sum);
        }
        Some(())
    }

    /// Combines two values of the type of `like`, which is not a scalar.
    fn combined(
        &mut self,
        combine: Combine,
        ty: ScalarType,
        like: ValueId,
        operands: [&[Reg]; 2],
    ) -> Option<Registers> {
        let [a, b, result] = [0; 3].map(|_| self.temporary(like));
        self.define_registers(a, operands[0]);
        self.define_registers(b, operands[1]);
        self.vector_op(combine.op().on(ty.class())?, ty, &[a, b], result)?;
        self.registers(result)
    }
}
