//! Lowering of ops that are functions of their operands, with the semantics of `fulgurite_spec::eval`.
//! `docs/spirv-lowering.md` lists the differences from SPIR-V's own instructions.

use fulgurite_ir::{FloatMode, ValueId, main_operand};
use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::eval::{self, Components};
use fulgurite_spec::limits::MAX_SCALAR_OPERANDS;
use fulgurite_spec::{
    BoolOp, CompareOp, ElementwiseOp, FloatContract, FloatOp, IntegerOp, Op, ScalarOp, ScalarType, Semantics,
    Type,
};

use super::Emitter;
use super::divide::Part;
use super::integer::Direction;
use super::narrow::unsigned;
use crate::assembler::Id;
use crate::spv::{decoration, glsl, op};

impl Emitter<'_> {
    pub(super) fn scalar(&mut self, scalar_op: Op, operands: &[ValueId], result: Type) -> Id {
        let main = self.main_type(scalar_op, operands, result);
        let mut ids = [0; MAX_SCALAR_OPERANDS];
        let args = &mut ids[..operands.len().min(MAX_SCALAR_OPERANDS)];
        for (arg, value) in args.iter_mut().zip(operands.iter()) {
            *arg = self.id(*value);
        }
        self.hide(scalar_op, main, operands, args);
        self.scalar_of(scalar_op, operands, args, main, result)
    }

    /// Returns the main type of an op.
    fn main_type(&self, scalar_op: Op, operands: &[ValueId], result: Type) -> Type {
        let main = main_operand(scalar_op).and_then(|position| operands.get(position));
        main.map_or(result, |value| self.kernel.ty(*value))
    }

    /// Lowers an op, given the ids of its operands.
    fn scalar_of(
        &mut self,
        scalar_op: Op,
        operands: &[ValueId],
        args: &[Id],
        main: Type,
        result: Type,
    ) -> Id {
        if result.is_matrix() {
            let Some(elementwise) = ElementwiseOp::of(scalar_op) else { return Id::default() };
            return self.coop_elementwise(elementwise, result, args);
        }
        let Some(known) = scalar_op.on(main.scalar.class()) else { return Id::default() };
        let arg = |i: usize| args.get(i).copied().unwrap_or_default();
        match known {
            ScalarOp::Construct => self.make(op::CompositeConstruct, result, args),
            ScalarOp::Extract => {
                let index = self.literal_index(operands);
                self.extract(main, args, index)
            }
            ScalarOp::Insert => {
                let index = self.literal_index(operands);
                self.insert(main, args, index)
            }
            ScalarOp::Dot => self.dot(main, arg(0), arg(1)),
            ScalarOp::Convert => self.convert_operand(operands[0], arg(0), main, result),
            ScalarOp::Bitcast => self.reinterpret_operand(operands[0], arg(0), main, result),
            ScalarOp::Pack => self.pack(main, result, arg(0)),
            ScalarOp::Unpack => self.unpack(main, result, arg(0)),
            ScalarOp::Select => self.make(op::Select, result, args),
            ScalarOp::Bool(op) => self.boolean(op, main, args),
            ScalarOp::Integer(op) => match self.integer_by_literal(op, main, operands, args) {
                Some(value) => value,
                None => self.integer(op, main, args),
            },
            ScalarOp::Float(op) if main.scalar == ScalarType::BF16 => self.brain_float(op, main, args),
            ScalarOp::Float(op) => self.float(op, main, args),
        }
    }

    /// Returns the second operand if it is a literal.
    fn literal_index(&self, operands: &[ValueId]) -> Option<u32> {
        operands.get(1).and_then(|v| self.kernel.literal(*v)).map(|l| l.bits as u32)
    }

    /// Lowers shifts, rotations and divisions by literals, if that differs from the lowering for variables.
    fn integer_by_literal(
        &mut self,
        op: IntegerOp,
        ty: Type,
        operands: &[ValueId],
        args: &[Id],
    ) -> Option<Id> {
        let part = match op {
            IntegerOp::Shl => {
                return self.literal_index(operands).map(|n| self.shift_by(Direction::Left, ty, args[0], n));
            }
            IntegerOp::Shr => {
                return self.literal_index(operands).map(|n| self.shift_by(Direction::Right, ty, args[0], n));
            }
            IntegerOp::RotateLeft => {
                return self.literal_index(operands).map(|n| self.rotate_by(Direction::Left, ty, args[0], n));
            }
            IntegerOp::RotateRight => {
                return self
                    .literal_index(operands)
                    .map(|n| self.rotate_by(Direction::Right, ty, args[0], n));
            }
            IntegerOp::Div => Part::Quotient,
            IntegerOp::Rem => Part::Remainder,
            IntegerOp::Compare(_)
            | IntegerOp::Add
            | IntegerOp::Sub
            | IntegerOp::Mul
            | IntegerOp::MulHi
            | IntegerOp::Neg
            | IntegerOp::Abs
            | IntegerOp::Sign
            | IntegerOp::Min
            | IntegerOp::Max
            | IntegerOp::Clamp
            | IntegerOp::AddSat
            | IntegerOp::SubSat
            | IntegerOp::And
            | IntegerOp::Or
            | IntegerOp::Xor
            | IntegerOp::Not
            | IntegerOp::PopCount
            | IntegerOp::LeadingZeros
            | IntegerOp::TrailingZeros
            | IntegerOp::ReverseBits
            | IntegerOp::ExtractBits
            | IntegerOp::InsertBits
            | IntegerOp::DotPacked => return None,
        };
        self.division_by_constant(part, ty, args[0], *operands.get(1)?)
    }

    /// Returns the constant value of a literal or of an exact op on constants.
    pub(super) fn constant(&self, value: ValueId) -> Option<Components> {
        match self.kernel.literal(value) {
            Some(literal) => Some(eval::splat_low(literal.bits)),
            None => self.known.get(&value).copied(),
        }
    }

    /// Evaluates an exact op on constants, because drivers fold some of them incorrectly.
    pub(super) fn fold(&self, scalar_op: Op, operands: &[ValueId], result: Type) -> Option<Components> {
        // Most ops have a non-constant operand.
        if operands.iter().any(|operand| self.constant(*operand).is_none()) {
            return None;
        }
        let values = operands.iter().map(|v| self.constant(*v)).collect::<Option<Vec<Components>>>()?;
        if result.is_matrix() || operands.iter().any(|v| self.kernel.ty(*v).is_matrix()) {
            return None;
        }
        let main = self.main_type(scalar_op, operands, result);
        let approximate = match scalar_op.info().semantics {
            Semantics::Scalar { float, .. } => main.scalar.is_float() && float == FloatContract::Approximate,
            Semantics::Special(_) => false,
        };
        if approximate {
            return None;
        }
        let mut lanes = eval::eval(scalar_op, main, result, &values)?;
        if let Some(format) = FloatFormat::of(result.scalar) {
            lanes.iter_mut().filter(|bits| format.is_nan(**bits)).for_each(|bits| *bits = format.nan());
        }
        Some(lanes)
    }

    /// Emits an instruction with a result of type `ty`.
    pub(super) fn make(&mut self, opcode: u32, ty: Type, args: &[Id]) -> Id {
        let ty = self.asm.ty(ty);
        self.asm.value(opcode, ty, args)
    }

    /// Emits an arithmetic instruction; on floats it must not be contracted or reassociated.
    pub(super) fn arithmetic(&mut self, opcode: u32, ty: Type, args: &[Id]) -> Id {
        let id = self.make(opcode, ty, args);
        if ty.scalar.is_float() && self.mode != FloatMode::Fast {
            self.asm.decorate(id, &[decoration::NoContraction]);
        }
        id
    }

    /// Returns a float constant in every lane of `ty`.
    pub(super) fn float_constant(&mut self, ty: Type, value: f64) -> Id {
        let bits = FloatFormat::of(ty.scalar).map_or(0, |format| format.encode(value));
        self.asm.splat(ty, bits)
    }

    /// Emits an instruction of `GLSL.std.450`.
    pub(super) fn glsl(&mut self, number: u32, ty: Type, args: &[Id]) -> Id {
        let mut words = vec![self.asm.glsl, number];
        words.extend_from_slice(args);
        self.make(op::ExtInst, ty, &words)
    }

    /// Returns a scalar in every lane of `ty`.
    pub(super) fn splat_value(&mut self, ty: Type, scalar: Id) -> Id {
        if ty.is_scalar() {
            return scalar;
        }
        let args = vec![scalar; ty.lanes.count() as usize];
        self.make(op::CompositeConstruct, ty, &args)
    }

    fn boolean(&mut self, bool_op: BoolOp, ty: Type, args: &[Id]) -> Id {
        let opcode = match bool_op {
            BoolOp::And => op::LogicalAnd,
            BoolOp::Or => op::LogicalOr,
            BoolOp::Not => op::LogicalNot,
            BoolOp::Eq => op::LogicalEqual,
            BoolOp::Xor | BoolOp::Ne => op::LogicalNotEqual,
        };
        self.make(opcode, ty, args)
    }

    fn extract(&mut self, vector: Type, args: &[Id], literal: Option<u32>) -> Id {
        let (element, value) = (vector.element(), args[0]);
        match literal {
            Some(index) if index < vector.lanes.count() => {
                return self.make(op::CompositeExtract, element, &[value, index]);
            }
            Some(_) => return self.asm.splat(element, 0),
            None => {}
        }
        let (inside, safe) = self.safe_component(vector, args[1]);
        let picked = self.make(op::VectorExtractDynamic, element, &[value, safe]);
        let nothing = match element.scalar.is_float() {
            true => self.unknown_zero(element),
            false => self.asm.splat(element, 0),
        };
        self.make(op::Select, element, &[inside, picked, nothing])
    }

    fn insert(&mut self, vector: Type, args: &[Id], literal: Option<u32>) -> Id {
        let (lanes, element, value) = (vector.lanes.count(), vector.element(), args[0]);
        match literal {
            Some(index) if index < lanes => {
                let parts: Vec<Id> = (0..lanes)
                    .map(|i| {
                        if i == index {
                            args[2]
                        } else {
                            self.make(op::CompositeExtract, element, &[value, i])
                        }
                    })
                    .collect();
                return self.make(op::CompositeConstruct, vector, &parts);
            }
            Some(_) => return value,
            None => {}
        }
        let (inside, safe) = self.safe_component(vector, args[1]);
        let changed = self.make(op::VectorInsertDynamic, vector, &[value, args[2], safe]);
        let mask = self.splat_value(vector.with_scalar(ScalarType::Bool), inside);
        self.make(op::Select, vector, &[mask, changed, value])
    }

    /// Returns whether the index is in bounds of the vector, and the index, or 0 if it is out of bounds.
    fn safe_component(&mut self, vector: Type, index: Id) -> (Id, Id) {
        let (count, zero) = (self.asm.u32(vector.lanes.count()), self.asm.u32(0));
        let inside = self.make(op::ULessThan, Type::BOOL, &[index, count]);
        let safe = self.make(op::Select, Type::U32, &[inside, index, zero]);
        (inside, safe)
    }

    fn dot(&mut self, vector: Type, a: Id, b: Id) -> Id {
        let element = vector.element();
        if element.scalar == ScalarType::BF16 {
            // Products and sums are each rounded.
            let products = self.brain_float(FloatOp::Mul, vector, &[a, b]);
            let mut sum = self.make(op::CompositeExtract, element, &[products, 0]);
            for lane in 1..vector.lanes.count() {
                let product = self.make(op::CompositeExtract, element, &[products, lane]);
                sum = self.brain_float(FloatOp::Add, element, &[sum, product]);
            }
            return sum;
        }
        let (multiply, add) =
            if element.scalar.is_float() { (op::FMul, op::FAdd) } else { (op::IMul, op::IAdd) };
        let products = self.arithmetic(multiply, vector, &[a, b]);
        let mut sum = self.make(op::CompositeExtract, element, &[products, 0]);
        for lane in 1..vector.lanes.count() {
            let product = self.make(op::CompositeExtract, element, &[products, lane]);
            sum = self.arithmetic(add, element, &[sum, product]);
        }
        self.wrapped(element, sum)
    }

    /// Lowers float ops that the device supports natively.
    pub(super) fn float(&mut self, float_op: FloatOp, ty: Type, args: &[Id]) -> Id {
        let mask = ty.with_scalar(ScalarType::Bool);
        match float_op {
            FloatOp::Add => self.arithmetic(op::FAdd, ty, args),
            FloatOp::Sub => self.arithmetic(op::FSub, ty, args),
            FloatOp::Mul => self.arithmetic(op::FMul, ty, args),
            FloatOp::Div => self.arithmetic(op::FDiv, ty, args),
            FloatOp::Neg => self.make(op::FNegate, ty, args),
            FloatOp::Abs => self.glsl(glsl::FAbs, ty, args),
            FloatOp::Min => self.glsl(glsl::NMin, ty, args),
            FloatOp::Max => self.glsl(glsl::NMax, ty, args),
            FloatOp::Clamp => {
                let raised = self.glsl(glsl::NMax, ty, &args[..2]);
                self.glsl(glsl::NMin, ty, &[raised, args[2]])
            }
            FloatOp::Fma => {
                // Undecorated, it might be split and its parts contracted with other ops.
                let id = self.glsl(glsl::Fma, ty, args);
                self.asm.decorate(id, &[decoration::NoContraction]);
                id
            }
            FloatOp::Sign => {
                // Computed on the bits: lavapipe turns two selections of ±1 into an instruction that returns signed
                // zeros.
                let unsigned = unsigned(ty);
                let format = FloatFormat::of(ty.scalar);
                let [one, sign] = format.map_or([0; 2], |format| [format.encode(1.0), format.sign_bit()]);
                let [one, sign] = [one, sign].map(|bits| self.asm.splat(unsigned, bits));
                // With a known sign this would be a selection of −1 or 0, which lavapipe turns into a negated boolean.
                let none = self.unknown_zero(unsigned);
                let zero = self.float_constant(ty, 0.0);
                let nonzero = self.make(op::FOrdNotEqual, mask, &[args[0], zero]);
                let bits = self.as_type(ty, unsigned, args[0]);
                let signed = self.make(op::BitwiseAnd, unsigned, &[bits, sign]);
                let signed = self.make(op::BitwiseOr, unsigned, &[signed, one]);
                let signed = self.make(op::Select, unsigned, &[nonzero, signed, none]);
                let signed = self.as_type(unsigned, ty, signed);
                let nan = self.make(op::IsNan, mask, args);
                self.make(op::Select, ty, &[nan, args[0], signed])
            }
            FloatOp::Floor => self.glsl(glsl::Floor, ty, args),
            FloatOp::Ceil => self.glsl(glsl::Ceil, ty, args),
            FloatOp::Trunc => self.glsl(glsl::Trunc, ty, args),
            FloatOp::Round => self.glsl(glsl::RoundEven, ty, args),
            FloatOp::Fract => {
                let floor = self.glsl(glsl::Floor, ty, args);
                self.arithmetic(op::FSub, ty, &[args[0], floor])
            }
            FloatOp::Sqrt => self.glsl(glsl::Sqrt, ty, args),
            FloatOp::Rsqrt => {
                let root = self.glsl(glsl::InverseSqrt, ty, args);
                if ty.scalar != ScalarType::F64 {
                    return root;
                }
                // NVIDIA's square root examines only the high word and mistakes some NaNs for infinities.
                let nan = self.make(op::IsNan, mask, args);
                self.make(op::Select, ty, &[nan, args[0], root])
            }
            FloatOp::Transcendental(op) => self.transcendental(op, ty, args),
            FloatOp::IsNan => self.make(op::IsNan, mask, args),
            FloatOp::IsInf => self.make(op::IsInf, mask, args),
            FloatOp::Compare(op) => {
                let opcode = match op {
                    CompareOp::Eq => op::FOrdEqual,
                    CompareOp::Ne => op::FUnordNotEqual,
                    CompareOp::Lt => op::FOrdLessThan,
                    CompareOp::Le => op::FOrdLessThanEqual,
                    CompareOp::Gt => op::FOrdGreaterThan,
                    CompareOp::Ge => op::FOrdGreaterThanEqual,
                };
                self.make(opcode, mask, args)
            }
        }
    }
}
