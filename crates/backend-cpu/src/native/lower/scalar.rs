//! Pure ops on integers, floats and bools.

use fulgurite_ir::{Operands, ValueId, main_type};
use fulgurite_spec::{BoolOp, CompareOp, IntegerOp, Op, ScalarOp, ScalarType, Type};

use super::half::is_half;
use super::narrow::narrow_bits;
use super::{Lowering, Part, component_words};
use crate::native::program::{
    Class, Input, Kind, MaskOp, Reg, Relation, ScalarOp2, ShiftOp, Step, VectorOp1, VectorOp2,
};

pub(super) const ONE: u32 = 1f32.to_bits();

pub(super) fn relation(op: CompareOp) -> Relation {
    match op {
        CompareOp::Eq => Relation::Eq,
        CompareOp::Ne => Relation::Ne,
        CompareOp::Lt => Relation::Lt,
        CompareOp::Le => Relation::Le,
        CompareOp::Gt => Relation::Gt,
        CompareOp::Ge => Relation::Ge,
    }
}

pub(super) fn kind(ty: ScalarType) -> Kind {
    if ty.is_float() {
        Kind::Float
    } else if ty.is_signed() {
        Kind::Signed
    } else {
        Kind::Unsigned
    }
}

impl Lowering<'_> {
    pub(super) fn op(&mut self, op: Op, operands: &Operands, result: ValueId) -> Option<()> {
        let types: Vec<Type> = operands.iter().map(|value| self.kernel.ty(*value)).collect();
        let main = main_type(op, &types)?;
        let op = op.on(main.scalar.class())?;
        match op {
            ScalarOp::Construct
            | ScalarOp::Extract
            | ScalarOp::Insert
            | ScalarOp::Pack
            | ScalarOp::Unpack
            | ScalarOp::Dot => return self.compose(op, main.scalar, operands, result),
            ScalarOp::Bool(_)
            | ScalarOp::Integer(_)
            | ScalarOp::Float(_)
            | ScalarOp::Select
            | ScalarOp::Convert
            | ScalarOp::Bitcast => {}
        }
        for component in 0..self.count(result) {
            // An operand that is a scalar applies to all components.
            let parts: Vec<Part> = operands
                .iter()
                .map(|value| self.part(*value, component.min(self.count(*value) - 1)))
                .collect();
            self.component_op(op, main.scalar, &parts, self.part(result, component))?;
        }
        Some(())
    }

    /// Compiles an op on one component.
    pub(super) fn component_op(
        &mut self,
        op: ScalarOp,
        main: ScalarType,
        operands: &[Part],
        result: Part,
    ) -> Option<()> {
        if self.scalars.is_scalar(self.owners[result.0]) {
            let scalars = operands.iter().map(|part| self.scalar(*part)).collect::<Option<Vec<_>>>()?;
            let to = self.scalar_op(op, main, &scalars, result)?;
            self.define_scalar(result, to);
            return Some(());
        }
        self.vector_op(op, main, operands, result)
    }

    /// Compiles an op on one component whose result is not a scalar.
    pub(super) fn vector_op(
        &mut self,
        op: ScalarOp,
        main: ScalarType,
        operands: &[Part],
        result: Part,
    ) -> Option<()> {
        match op {
            ScalarOp::Bool(op) => {
                let masks = operands.iter().map(|part| self.mask(*part)).collect::<Option<Vec<_>>>()?;
                let to = self.bool_op(op, &masks)?;
                self.define_mask(result, to);
            }
            ScalarOp::Integer(op) if component_words(main) == 2 => {
                self.wide_integer(op, main, operands, result)?;
            }
            ScalarOp::Integer(op) => match narrow_bits(main) {
                Some(width) => self.narrow_integer(op, main, width, operands, result)?,
                None => self.integer_op(op, main, operands, result)?,
            },
            ScalarOp::Float(op) if is_half(main) => self.half_op(op, main, operands, result)?,
            ScalarOp::Float(op) => {
                let vectors = self.vectors(operands)?;
                self.float_op(op, &vectors, result)?;
            }
            ScalarOp::Select => self.select(operands, result)?,
            ScalarOp::Convert => self.convert(main, *operands.first()?, result)?,
            ScalarOp::Bitcast => self.bitcast(*operands.first()?, result)?,
            ScalarOp::Pack
            | ScalarOp::Unpack
            | ScalarOp::Construct
            | ScalarOp::Extract
            | ScalarOp::Insert
            | ScalarOp::Dot => return None,
        }
        Some(())
    }

    /// Defines a component as another one, whose bits it has.
    pub(super) fn alias(&mut self, from: Part, to: Part) {
        self.values[to.0] = super::Value { scalar: None, ..self.values[from.0] };
    }

    /// Defines the words of a component as those of another one.
    pub(super) fn alias_component(&mut self, from: Part, to: Part) {
        for (word, to) in self.words_of(to).enumerate() {
            self.alias(Part(from.0 + word), to);
        }
    }

    fn bitcast(&mut self, from: Part, to: Part) -> Option<()> {
        let ty = self.scalar_type(to);
        if narrow_bits(ty).is_none() {
            self.alias_component(from, to);
            return Some(());
        }
        let extended = self.extend(ty, self.vector(from)?);
        self.define_vector(to, extended);
        Some(())
    }

    pub(super) fn vectors(&self, operands: &[Part]) -> Option<Vec<Reg>> {
        operands.iter().map(|part| self.vector(*part)).collect()
    }

    pub(super) fn vector1(&mut self, op: VectorOp1, a: Reg) -> Reg {
        let to = self.reg(Class::Vector);
        self.push(Step::Vector1 { op, to, a });
        to
    }

    pub(super) fn blend(&mut self, mask: Reg, yes: Reg, no: Reg) -> Reg {
        let to = self.reg(Class::Vector);
        self.push(Step::Blend { to, mask, yes, no });
        to
    }

    // Scalars.

    fn scalar_op(&mut self, op: ScalarOp, main: ScalarType, args: &[Reg], result: Part) -> Option<Reg> {
        let (zero, one) = (self.input(Input::Constant(0)), self.input(Input::Constant(1)));
        let (a, b) = (*args.first()?, args.get(1).copied().unwrap_or(zero));
        let compare = |relation: Relation, a: Reg, b: Reg, lowering: &mut Self| {
            let to = lowering.reg(Class::Scalar);
            lowering.push(Step::CompareScalar { relation, kind: kind(main), to, a, b });
            to
        };
        Some(match op {
            ScalarOp::Bool(op) => match op {
                BoolOp::And => self.scalar2(ScalarOp2::And, a, b),
                BoolOp::Or => self.scalar2(ScalarOp2::Or, a, b),
                BoolOp::Xor | BoolOp::Ne => self.scalar2(ScalarOp2::Xor, a, b),
                BoolOp::Not => self.scalar2(ScalarOp2::Xor, a, one),
                BoolOp::Eq => compare(Relation::Eq, a, b, self),
            },
            ScalarOp::Integer(IntegerOp::Compare(op)) => compare(relation(op), a, b, self),
            ScalarOp::Integer(IntegerOp::Neg) => self.scalar2(ScalarOp2::Sub, zero, a),
            ScalarOp::Integer(IntegerOp::Not) => {
                let ones = self.input(Input::Constant(u32::MAX));
                self.scalar2(ScalarOp2::Xor, a, ones)
            }
            ScalarOp::Integer(IntegerOp::Clamp) => {
                let [max, min] = [IntegerOp::Max, IntegerOp::Min].map(|op| scalar_step(op, main));
                let raised = self.scalar2(max?, a, b);
                self.scalar2(min?, raised, *args.get(2)?)
            }
            ScalarOp::Integer(op) => self.scalar2(scalar_step(op, main)?, a, b),
            ScalarOp::Select => {
                let to = self.reg(Class::Scalar);
                self.push(Step::SelectScalar { to, condition: a, yes: b, no: *args.get(2)? });
                to
            }
            ScalarOp::Convert if self.scalar_type(result) == ScalarType::Bool && main != ScalarType::Bool => {
                let to = self.reg(Class::Scalar);
                self.push(Step::CompareScalar {
                    relation: Relation::Ne,
                    kind: Kind::Unsigned,
                    to,
                    a,
                    b: zero,
                });
                to
            }
            ScalarOp::Convert | ScalarOp::Bitcast => a,
            ScalarOp::Float(_)
            | ScalarOp::Pack
            | ScalarOp::Unpack
            | ScalarOp::Construct
            | ScalarOp::Extract
            | ScalarOp::Insert
            | ScalarOp::Dot => return None,
        })
    }

    // Masks.

    fn bool_op(&mut self, op: BoolOp, args: &[Reg]) -> Option<Reg> {
        let a = *args.first()?;
        let b = args.get(1).copied().unwrap_or(a);
        Some(match op {
            BoolOp::And => self.mask2(MaskOp::And, a, b),
            BoolOp::Or => self.mask2(MaskOp::Or, a, b),
            BoolOp::Xor | BoolOp::Ne => self.mask2(MaskOp::Xor, a, b),
            BoolOp::Not => self.not(a),
            BoolOp::Eq => {
                let differs = self.mask2(MaskOp::Xor, a, b);
                self.not(differs)
            }
        })
    }

    fn not(&mut self, mask: Reg) -> Reg {
        let (all, one) = (self.reg(Class::Mask), self.input(Input::Constant(1)));
        self.push(Step::BroadcastMask { to: all, from: one });
        self.mask2(MaskOp::AndNot, all, mask)
    }

    fn select(&mut self, operands: &[Part], result: Part) -> Option<()> {
        let [condition, yes, no] = operands else { return None };
        let (mask, yes, no) = (self.mask(*condition)?, self.registers(*yes)?, self.registers(*no)?);
        let chosen = self.choice(self.scalar_type(result), mask, &yes, &no);
        self.define_registers(result, &chosen);
        Some(())
    }
}

/// Returns the steps of an integer op that is one step: on scalars, if there is one, and on vectors.
pub(super) fn steps(op: IntegerOp, ty: ScalarType) -> Option<(Option<ScalarOp2>, VectorOp2)> {
    let is_signed = ty.is_signed();
    Some(match op {
        IntegerOp::Add => (Some(ScalarOp2::Add), VectorOp2::Add),
        IntegerOp::Sub => (Some(ScalarOp2::Sub), VectorOp2::Sub),
        IntegerOp::Mul => (Some(ScalarOp2::Mul), VectorOp2::Mul),
        IntegerOp::Div if is_signed => (None, VectorOp2::DivSigned),
        IntegerOp::Div => (Some(ScalarOp2::DivUnsigned), VectorOp2::DivUnsigned),
        IntegerOp::Rem if is_signed => (None, VectorOp2::RemSigned),
        IntegerOp::Rem => (Some(ScalarOp2::RemUnsigned), VectorOp2::RemUnsigned),
        IntegerOp::Min if is_signed => (Some(ScalarOp2::MinSigned), VectorOp2::MinSigned),
        IntegerOp::Min => (Some(ScalarOp2::MinUnsigned), VectorOp2::MinUnsigned),
        IntegerOp::Max if is_signed => (Some(ScalarOp2::MaxSigned), VectorOp2::MaxSigned),
        IntegerOp::Max => (Some(ScalarOp2::MaxUnsigned), VectorOp2::MaxUnsigned),
        IntegerOp::And => (Some(ScalarOp2::And), VectorOp2::And),
        IntegerOp::Or => (Some(ScalarOp2::Or), VectorOp2::Or),
        IntegerOp::Xor => (Some(ScalarOp2::Xor), VectorOp2::Xor),
        IntegerOp::Shl => (Some(ScalarOp2::Shl), VectorOp2::Shift(ShiftOp::Left)),
        IntegerOp::Shr if is_signed => (Some(ScalarOp2::Sar), VectorOp2::Shift(ShiftOp::RightSigned)),
        IntegerOp::Shr => (Some(ScalarOp2::Shr), VectorOp2::Shift(ShiftOp::Right)),
        IntegerOp::RotateLeft => (Some(ScalarOp2::RotateLeft), VectorOp2::Shift(ShiftOp::RotateLeft)),
        IntegerOp::RotateRight => (Some(ScalarOp2::RotateRight), VectorOp2::Shift(ShiftOp::RotateRight)),
        IntegerOp::Compare(_)
        | IntegerOp::Neg
        | IntegerOp::Abs
        | IntegerOp::Sign
        | IntegerOp::Clamp
        | IntegerOp::Not
        | IntegerOp::MulHi
        | IntegerOp::AddSat
        | IntegerOp::SubSat
        | IntegerOp::PopCount
        | IntegerOp::LeadingZeros
        | IntegerOp::TrailingZeros
        | IntegerOp::ReverseBits
        | IntegerOp::ExtractBits
        | IntegerOp::InsertBits
        | IntegerOp::DotPacked => return None,
    })
}

pub(super) fn scalar_step(op: IntegerOp, ty: ScalarType) -> Option<ScalarOp2> {
    steps(op, ty)?.0
}
