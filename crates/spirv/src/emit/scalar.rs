//! Lowering of the ops that are functions of their operands, so that each means what `fulgurite_spec::eval`
//! says. `docs/spirv-lowering.md` lists where SPIR-V's own instructions would not.

use fulgurite_ir::{Operands, main_type};
use fulgurite_spec::{Op, ScalarType, Type};

use super::Emitter;
use crate::assembler::Id;
use crate::spv::{decoration, glsl, op};

impl Emitter<'_> {
    pub(super) fn scalar(&mut self, scalar_op: Op, operands: &Operands, result: Type) -> Id {
        let types: Vec<Type> = operands.iter().map(|v| self.kernel.ty(*v)).collect();
        let main = main_type(scalar_op, &types).unwrap_or(result);
        let mut args: Vec<Id> = operands.iter().map(|v| self.id(*v)).collect();
        self.hide_known(scalar_op, main, operands, &mut args);
        let arg = |i: usize| args.get(i).copied().unwrap_or_default();
        match scalar_op {
            Op::Construct => self.make(op::CompositeConstruct, result, &args),
            Op::Extract | Op::Insert => {
                let index = operands.get(1).and_then(|v| self.kernel.literal(*v)).map(|l| l.bits as u32);
                self.component(scalar_op, main, &args, index)
            }
            Op::Dot => self.dot(main, arg(0), arg(1)),
            Op::Convert => self.convert(arg(0), main, result),
            Op::Bitcast if main == result => arg(0),
            Op::Bitcast => self.make(op::Bitcast, result, &args),
            Op::Select => self.make(op::Select, result, &args),
            _ => match main.scalar {
                ScalarType::Bool => self.boolean(scalar_op, main, &args),
                ScalarType::F32 => self.float(scalar_op, main, &args),
                _ => self.integer(scalar_op, main, &args),
            },
        }
    }

    /// An instruction of type `ty`.
    pub(super) fn make(&mut self, opcode: u32, ty: Type, args: &[Id]) -> Id {
        let ty = self.asm.ty(ty);
        self.asm.value(opcode, ty, args)
    }

    /// An arithmetic instruction; on floats it must not be contracted or reassociated.
    pub(super) fn arithmetic(&mut self, opcode: u32, ty: Type, args: &[Id]) -> Id {
        let id = self.make(opcode, ty, args);
        if ty.scalar.is_float() {
            self.asm.decorate(id, &[decoration::NoContraction]);
        }
        id
    }

    /// An instruction of `GLSL.std.450`.
    fn glsl(&mut self, number: u32, ty: Type, args: &[Id]) -> Id {
        let mut words = vec![self.asm.glsl, number];
        words.extend_from_slice(args);
        self.make(op::ExtInst, ty, &words)
    }

    /// A scalar in every lane of `ty`.
    pub(super) fn splat_value(&mut self, ty: Type, scalar: Id) -> Id {
        if ty.is_scalar() {
            return scalar;
        }
        let args = vec![scalar; ty.lanes.count() as usize];
        self.make(op::CompositeConstruct, ty, &args)
    }

    fn boolean(&mut self, scalar_op: Op, ty: Type, args: &[Id]) -> Id {
        let opcode = match scalar_op {
            Op::And => op::LogicalAnd,
            Op::Or => op::LogicalOr,
            Op::Not => op::LogicalNot,
            Op::Eq => op::LogicalEqual,
            // `xor` and `ne`.
            _ => op::LogicalNotEqual,
        };
        self.make(opcode, ty, args)
    }

    fn component(&mut self, scalar_op: Op, vector: Type, args: &[Id], literal: Option<u32>) -> Id {
        let lanes = vector.lanes.count();
        let (value, index) = (args[0], args[1]);
        let element = vector.element();
        if let Some(index) = literal {
            return match scalar_op {
                Op::Extract if index < lanes => self.make(op::CompositeExtract, element, &[value, index]),
                Op::Extract => self.asm.splat(element, 0),
                _ if index < lanes => {
                    let parts: Vec<Id> = (0..lanes)
                        .map(|i| {
                            if i == index {
                                args[2]
                            } else {
                                self.make(op::CompositeExtract, element, &[value, i])
                            }
                        })
                        .collect();
                    self.make(op::CompositeConstruct, vector, &parts)
                }
                _ => value,
            };
        }
        let (count, zero) = (self.asm.u32(lanes), self.asm.u32(0));
        let inside = self.make(op::ULessThan, Type::BOOL, &[index, count]);
        let safe = self.make(op::Select, Type::U32, &[inside, index, zero]);
        if scalar_op == Op::Extract {
            let picked = self.make(op::VectorExtractDynamic, element, &[value, safe]);
            let nothing = self.asm.splat(element, 0);
            return self.make(op::Select, element, &[inside, picked, nothing]);
        }
        let changed = self.make(op::VectorInsertDynamic, vector, &[value, args[2], safe]);
        let mask = self.splat_value(vector.with_scalar(ScalarType::Bool), inside);
        self.make(op::Select, vector, &[mask, changed, value])
    }

    fn dot(&mut self, vector: Type, a: Id, b: Id) -> Id {
        let element = vector.element();
        let (multiply, add) =
            if element.scalar.is_float() { (op::FMul, op::FAdd) } else { (op::IMul, op::IAdd) };
        let products = self.arithmetic(multiply, vector, &[a, b]);
        let mut sum = self.make(op::CompositeExtract, element, &[products, 0]);
        for lane in 1..vector.lanes.count() {
            let product = self.make(op::CompositeExtract, element, &[products, lane]);
            sum = self.arithmetic(add, element, &[sum, product]);
        }
        sum
    }

    fn float(&mut self, scalar_op: Op, ty: Type, args: &[Id]) -> Id {
        let mask = ty.with_scalar(ScalarType::Bool);
        match scalar_op {
            Op::Add => self.arithmetic(op::FAdd, ty, args),
            Op::Sub => self.arithmetic(op::FSub, ty, args),
            Op::Mul => self.arithmetic(op::FMul, ty, args),
            Op::Div => self.arithmetic(op::FDiv, ty, args),
            Op::Neg => self.make(op::FNegate, ty, args),
            Op::Abs => self.glsl(glsl::FAbs, ty, args),
            Op::Min => self.glsl(glsl::NMin, ty, args),
            Op::Max => self.glsl(glsl::NMax, ty, args),
            Op::Clamp => {
                let raised = self.glsl(glsl::NMax, ty, &args[..2]);
                self.glsl(glsl::NMin, ty, &[raised, args[2]])
            }
            Op::Fma => {
                // Undecorated, it may be taken apart and its halves contracted with others.
                let id = self.glsl(glsl::Fma, ty, args);
                self.asm.decorate(id, &[decoration::NoContraction]);
                id
            }
            Op::Sign => {
                let (zero, one) = (self.asm.splat(ty, 0), self.asm.splat(ty, u64::from(1f32.to_bits())));
                let minus_one = self.asm.splat(ty, u64::from((-1f32).to_bits()));
                let above = self.make(op::FOrdGreaterThan, mask, &[args[0], zero]);
                let below = self.make(op::FOrdLessThan, mask, &[args[0], zero]);
                let nan = self.make(op::IsNan, mask, args);
                let rest = self.make(op::Select, ty, &[nan, args[0], zero]);
                let rest = self.make(op::Select, ty, &[below, minus_one, rest]);
                self.make(op::Select, ty, &[above, one, rest])
            }
            Op::Floor => self.glsl(glsl::Floor, ty, args),
            Op::Ceil => self.glsl(glsl::Ceil, ty, args),
            Op::Trunc => self.glsl(glsl::Trunc, ty, args),
            Op::Round => self.glsl(glsl::RoundEven, ty, args),
            Op::Fract => {
                let floor = self.glsl(glsl::Floor, ty, args);
                self.arithmetic(op::FSub, ty, &[args[0], floor])
            }
            Op::Sqrt => self.glsl(glsl::Sqrt, ty, args),
            Op::Rsqrt => self.glsl(glsl::InverseSqrt, ty, args),
            Op::IsNan => self.make(op::IsNan, mask, args),
            Op::IsInf => self.make(op::IsInf, mask, args),
            Op::Eq => self.make(op::FOrdEqual, mask, args),
            Op::Ne => self.make(op::FUnordNotEqual, mask, args),
            Op::Lt => self.make(op::FOrdLessThan, mask, args),
            Op::Le => self.make(op::FOrdLessThanEqual, mask, args),
            Op::Gt => self.make(op::FOrdGreaterThan, mask, args),
            _ => self.make(op::FOrdGreaterThanEqual, mask, args),
        }
    }

    fn integer(&mut self, scalar_op: Op, ty: Type, args: &[Id]) -> Id {
        let signed = ty.scalar == ScalarType::I32;
        let mask = ty.with_scalar(ScalarType::Bool);
        let pick = |if_signed: u32, if_unsigned: u32| if signed { if_signed } else { if_unsigned };
        match scalar_op {
            Op::Add => self.make(op::IAdd, ty, args),
            Op::Sub => self.make(op::ISub, ty, args),
            Op::Mul => self.make(op::IMul, ty, args),
            Op::MulHi => {
                let pair = self.asm.pair(ty);
                let both = self.asm.value(pick(op::SMulExtended, op::UMulExtended), pair, args);
                self.make(op::CompositeExtract, ty, &[both, 1])
            }
            Op::Div => self.divide(ty, args[0], args[1]),
            Op::Rem => self.remainder(ty, args[0], args[1]),
            Op::Neg => self.make(op::SNegate, ty, args),
            Op::Abs if signed => {
                let zero = self.asm.splat(ty, 0);
                let negative = self.make(op::SLessThan, mask, &[args[0], zero]);
                let negated = self.make(op::SNegate, ty, args);
                self.make(op::Select, ty, &[negative, negated, args[0]])
            }
            Op::Abs => args[0],
            Op::Sign if signed => self.glsl(glsl::SSign, ty, args),
            Op::Sign => {
                let one = self.asm.splat(ty, 1);
                self.glsl(glsl::UMin, ty, &[args[0], one])
            }
            Op::Min => self.glsl(pick(glsl::SMin, glsl::UMin), ty, args),
            Op::Max => self.glsl(pick(glsl::SMax, glsl::UMax), ty, args),
            Op::Clamp => {
                let raised = self.glsl(pick(glsl::SMax, glsl::UMax), ty, &args[..2]);
                self.glsl(pick(glsl::SMin, glsl::UMin), ty, &[raised, args[2]])
            }
            Op::And => self.make(op::BitwiseAnd, ty, args),
            Op::Or => self.make(op::BitwiseOr, ty, args),
            Op::Xor => self.make(op::BitwiseXor, ty, args),
            Op::Not => self.make(op::Not, ty, args),
            Op::Shl | Op::Shr => {
                let amount = self.modulo_width(ty, args[1]);
                let right = pick(op::ShiftRightArithmetic, op::ShiftRightLogical);
                let opcode = if scalar_op == Op::Shl { op::ShiftLeftLogical } else { right };
                self.make(opcode, ty, &[args[0], amount])
            }
            Op::RotateLeft => self.rotate(ty, args[0], args[1], op::ShiftLeftLogical, op::ShiftRightLogical),
            Op::RotateRight => self.rotate(ty, args[0], args[1], op::ShiftRightLogical, op::ShiftLeftLogical),
            Op::PopCount => self.make(op::BitCount, ty, args),
            Op::ReverseBits => self.make(op::BitReverse, ty, args),
            Op::LeadingZeros => {
                // The highest one bit, or −1 for none.
                let words = ty.with_scalar(ScalarType::U32);
                let bits = self.as_type(ty, words, args[0]);
                let highest = self.glsl(glsl::FindUMsb, words, &[bits]);
                let top = self.asm.splat(words, 31);
                let zeros = self.make(op::ISub, words, &[top, highest]);
                self.as_type(words, ty, zeros)
            }
            Op::TrailingZeros => {
                // The lowest one bit, or −1 for none, which as an unsigned number is above the width.
                let words = ty.with_scalar(ScalarType::U32);
                let bits = self.as_type(ty, words, args[0]);
                let lowest = self.glsl(glsl::FindILsb, words, &[bits]);
                let width = self.asm.splat(words, 32);
                let zeros = self.glsl(glsl::UMin, words, &[lowest, width]);
                self.as_type(words, ty, zeros)
            }
            Op::ExtractBits => self.extract_bits(ty, args[0], args[1], args[2]),
            Op::InsertBits => self.insert_bits(ty, args),
            Op::Eq => self.make(op::IEqual, mask, args),
            Op::Ne => self.make(op::INotEqual, mask, args),
            Op::Lt => self.make(pick(op::SLessThan, op::ULessThan), mask, args),
            Op::Le => self.make(pick(op::SLessThanEqual, op::ULessThanEqual), mask, args),
            Op::Gt => self.make(pick(op::SGreaterThan, op::UGreaterThan), mask, args),
            _ => self.make(pick(op::SGreaterThanEqual, op::UGreaterThanEqual), mask, args),
        }
    }

    /// The same bits as another type of the same size.
    pub(super) fn as_type(&mut self, from: Type, to: Type, value: Id) -> Id {
        if from == to { value } else { self.make(op::Bitcast, to, &[value]) }
    }

    fn modulo_width(&mut self, ty: Type, amount: Id) -> Id {
        let words = ty.with_scalar(ScalarType::U32);
        let mask = self.asm.splat(words, 31);
        self.make(op::BitwiseAnd, words, &[amount, mask])
    }

    fn rotate(&mut self, ty: Type, value: Id, amount: Id, one_way: u32, other_way: u32) -> Id {
        let words = ty.with_scalar(ScalarType::U32);
        let amount = self.modulo_width(ty, amount);
        let negated = self.make(op::SNegate, words, &[amount]);
        let rest = self.modulo_width(ty, negated);
        let first = self.make(one_way, ty, &[value, amount]);
        let second = self.make(other_way, ty, &[value, rest]);
        self.make(op::BitwiseOr, ty, &[first, second])
    }

    /// The divisor, with 1 where division is not defined: then the quotient is the dividend.
    fn safe_divisor(&mut self, ty: Type, x: Id, y: Id) -> Id {
        let mask = ty.with_scalar(ScalarType::Bool);
        let (zero, one) = (self.asm.splat(ty, 0), self.asm.splat(ty, 1));
        let mut bad = self.make(op::IEqual, mask, &[y, zero]);
        if ty.scalar == ScalarType::I32 {
            let (least, minus_one) = (self.asm.splat(ty, 0x8000_0000), self.asm.splat(ty, 0xffff_ffff));
            let at_least = self.make(op::IEqual, mask, &[x, least]);
            let by_minus_one = self.make(op::IEqual, mask, &[y, minus_one]);
            let overflows = self.make(op::LogicalAnd, mask, &[at_least, by_minus_one]);
            bad = self.make(op::LogicalOr, mask, &[bad, overflows]);
        }
        self.make(op::Select, ty, &[bad, one, y])
    }

    fn divide(&mut self, ty: Type, x: Id, y: Id) -> Id {
        let divisor = self.safe_divisor(ty, x, y);
        self.quotient(ty, x, divisor)
    }

    fn quotient(&mut self, ty: Type, x: Id, divisor: Id) -> Id {
        let opcode = if ty.scalar == ScalarType::I32 { op::SDiv } else { op::UDiv };
        self.make(opcode, ty, &[x, divisor])
    }

    fn remainder(&mut self, ty: Type, x: Id, y: Id) -> Id {
        let divisor = self.safe_divisor(ty, x, y);
        let quotient = self.quotient(ty, x, divisor);
        let whole = self.make(op::IMul, ty, &[quotient, divisor]);
        self.make(op::ISub, ty, &[x, whole])
    }

    /// Offset and count, clamped to the width and to what is left of it.
    fn field(&mut self, offset: Id, count: Id) -> (Id, Id) {
        let width = self.asm.u32(32);
        let offset = self.glsl(glsl::UMin, Type::U32, &[offset, width]);
        let left = self.make(op::ISub, Type::U32, &[width, offset]);
        let count = self.glsl(glsl::UMin, Type::U32, &[count, left]);
        (offset, count)
    }

    fn extract_bits(&mut self, ty: Type, value: Id, offset: Id, count: Id) -> Id {
        let (offset, count) = self.field(offset, count);
        let (width, zero, top) = (self.asm.u32(32), self.asm.u32(0), self.asm.u32(31));
        // Up against the high end, then down with the sign or zeros; no shift is by the whole width.
        let unused = self.make(op::ISub, Type::U32, &[width, count]);
        let above = self.make(op::ISub, Type::U32, &[unused, offset]);
        let up = self.make(op::BitwiseAnd, Type::U32, &[above, top]);
        let down = self.make(op::BitwiseAnd, Type::U32, &[unused, top]);
        let words = ty.with_scalar(ScalarType::U32);
        let (up, down) = (self.splat_value(words, up), self.splat_value(words, down));
        let raised = self.make(op::ShiftLeftLogical, ty, &[value, up]);
        let signed = ty.scalar == ScalarType::I32;
        let right = if signed { op::ShiftRightArithmetic } else { op::ShiftRightLogical };
        let field = self.make(right, ty, &[raised, down]);
        let none = self.make(op::IEqual, Type::BOOL, &[count, zero]);
        let none = self.splat_value(ty.with_scalar(ScalarType::Bool), none);
        let nothing = self.asm.splat(ty, 0);
        self.make(op::Select, ty, &[none, nothing, field])
    }

    fn insert_bits(&mut self, ty: Type, args: &[Id]) -> Id {
        let (offset, count) = self.field(args[2], args[3]);
        let (width, zero, top) = (self.asm.u32(32), self.asm.u32(0), self.asm.u32(31));
        let all = self.asm.u32(u32::MAX);
        let unused = self.make(op::ISub, Type::U32, &[width, count]);
        let unused = self.make(op::BitwiseAnd, Type::U32, &[unused, top]);
        let low = self.make(op::ShiftRightLogical, Type::U32, &[all, unused]);
        let none = self.make(op::IEqual, Type::BOOL, &[count, zero]);
        let low = self.make(op::Select, Type::U32, &[none, zero, low]);
        let offset = self.make(op::BitwiseAnd, Type::U32, &[offset, top]);
        let mask = self.make(op::ShiftLeftLogical, Type::U32, &[low, offset]);
        let mask = self.as_type(Type::U32, ty.element(), mask);
        let mask = self.splat_value(ty, mask);
        let offset = self.splat_value(ty.with_scalar(ScalarType::U32), offset);
        let moved = self.make(op::ShiftLeftLogical, ty, &[args[1], offset]);
        let taken = self.make(op::BitwiseAnd, ty, &[moved, mask]);
        let kept_mask = self.make(op::Not, ty, &[mask]);
        let kept = self.make(op::BitwiseAnd, ty, &[args[0], kept_mask]);
        self.make(op::BitwiseOr, ty, &[kept, taken])
    }
}
