//! Lowering of integer arithmetic, with total shifts, unlike SPIR-V's.

use fulgurite_spec::{CompareOp, IntegerOp, ScalarType, Type};

use super::Emitter;
use super::divide::Part;
use super::narrow::unsigned;
use crate::assembler::Id;
use crate::spv::{capability, glsl, op};

/// The packed format of `OpSDot` and `OpUDot`: four bytes in a word.
const PACKED_VECTOR_FORMAT_4X8_BIT: u32 = 0;

/// The direction of a shift or rotation.
#[derive(Clone, Copy)]
pub(super) enum Direction {
    Left,
    Right,
}

/// Addition or subtraction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sum {
    Sum,
    Difference,
}

impl Emitter<'_> {
    pub(super) fn integer(&mut self, integer_op: IntegerOp, ty: Type, args: &[Id]) -> Id {
        let signed = ty.scalar.is_signed();
        let mask = ty.with_scalar(ScalarType::Bool);
        let pick = |if_signed: u32, if_unsigned: u32| if signed { if_signed } else { if_unsigned };
        match integer_op {
            IntegerOp::Add => self.wrapping(op::IAdd, ty, args),
            IntegerOp::Sub => self.wrapping(op::ISub, ty, args),
            IntegerOp::Mul => self.wrapping(op::IMul, ty, args),
            IntegerOp::MulHi => self.multiply_high(ty, args[0], args[1]),
            IntegerOp::AddSat => self.saturating(Sum::Sum, ty, args[0], args[1]),
            IntegerOp::SubSat => self.saturating(Sum::Difference, ty, args[0], args[1]),
            IntegerOp::DotPacked => self.dot_packed(ty, args[0], args[1]),
            IntegerOp::Div => self.division(Part::Quotient, ty, args[0], args[1]),
            IntegerOp::Rem => self.division(Part::Remainder, ty, args[0], args[1]),
            IntegerOp::Neg => {
                let negated = self.negated(ty, args[0]);
                self.wrapped(ty, negated)
            }
            IntegerOp::Abs if signed => {
                let zero = self.limit(ty, 0);
                let negative = self.make(op::SLessThan, mask, &[args[0], zero]);
                let negated = self.negated(ty, args[0]);
                let negated = self.wrapped(ty, negated);
                self.make(op::Select, ty, &[negative, negated, args[0]])
            }
            IntegerOp::Abs => args[0],
            IntegerOp::Sign if signed => {
                let (one, minus_one) = (self.asm.splat(ty, 1), self.asm.splat(ty, ty.scalar.mask()));
                let raised = self.glsl(glsl::SMax, ty, &[args[0], minus_one]);
                self.glsl(glsl::SMin, ty, &[raised, one])
            }
            IntegerOp::Sign => {
                let one = self.asm.splat(ty, 1);
                self.glsl(glsl::UMin, ty, &[args[0], one])
            }
            IntegerOp::Min => self.glsl(pick(glsl::SMin, glsl::UMin), ty, args),
            IntegerOp::Max => self.glsl(pick(glsl::SMax, glsl::UMax), ty, args),
            IntegerOp::Clamp => {
                let raised = self.glsl(pick(glsl::SMax, glsl::UMax), ty, &args[..2]);
                self.glsl(pick(glsl::SMin, glsl::UMin), ty, &[raised, args[2]])
            }
            IntegerOp::And => self.make(op::BitwiseAnd, ty, args),
            IntegerOp::Or => self.make(op::BitwiseOr, ty, args),
            IntegerOp::Xor => self.make(op::BitwiseXor, ty, args),
            IntegerOp::Not => self.wrapping(op::Not, ty, args),
            IntegerOp::Shl => {
                let amount = self.modulo_width(ty, args[1]);
                self.shift(Direction::Left, ty, args[0], amount)
            }
            IntegerOp::Shr => {
                let amount = self.modulo_width(ty, args[1]);
                self.shift(Direction::Right, ty, args[0], amount)
            }
            IntegerOp::RotateLeft => {
                let amount = self.modulo_width(ty, args[1]);
                self.rotate_left(ty, args[0], amount)
            }
            IntegerOp::RotateRight => {
                let amount = self.complement(ty, args[1]);
                self.rotate_left(ty, args[0], amount)
            }
            IntegerOp::PopCount => self.population(ty, args[0]),
            IntegerOp::ReverseBits => self.reverse_bits(ty, args[0]),
            IntegerOp::LeadingZeros => self.leading_zeros(ty, args[0]),
            IntegerOp::TrailingZeros => self.trailing_zeros(ty, args[0]),
            IntegerOp::ExtractBits => self.extract_bits(ty, args[0], args[1], args[2]),
            IntegerOp::InsertBits => self.insert_bits(ty, args),
            IntegerOp::Compare(op) => {
                let opcode = match op {
                    CompareOp::Eq => op::IEqual,
                    CompareOp::Ne => op::INotEqual,
                    CompareOp::Lt => pick(op::SLessThan, op::ULessThan),
                    CompareOp::Le => pick(op::SLessThanEqual, op::ULessThanEqual),
                    CompareOp::Gt => pick(op::SGreaterThan, op::UGreaterThan),
                    CompareOp::Ge => pick(op::SGreaterThanEqual, op::UGreaterThanEqual),
                };
                self.make(opcode, mask, args)
            }
        }
    }

    /// Emits an integer instruction whose result may exceed a narrow type.
    fn wrapping(&mut self, opcode: u32, ty: Type, args: &[Id]) -> Id {
        let word = self.make(opcode, ty, args);
        self.wrapped(ty, word)
    }

    fn modulo_width(&mut self, ty: Type, amount: Id) -> Id {
        let words = ty.with_scalar(ScalarType::U32);
        let mask = self.asm.splat(words, u64::from(ty.scalar.bits() - 1));
        let amount = self.make(op::BitwiseAnd, words, &[amount, mask]);
        if ty.scalar.bits() == 64 { self.keep_wide(words, amount) } else { amount }
    }

    /// Shifts by a literal amount, which stays a literal modulo the width.
    pub(super) fn shift_by(&mut self, direction: Direction, ty: Type, value: Id, amount: u32) -> Id {
        let words = ty.with_scalar(ScalarType::U32);
        let amount = self.asm.splat(words, u64::from(amount % ty.scalar.bits()));
        self.shift(direction, ty, value, amount)
    }

    /// Shifts by an amount below the width.
    fn shift(&mut self, direction: Direction, ty: Type, value: Id, amount: Id) -> Id {
        let opcode = match direction {
            Direction::Left => op::ShiftLeftLogical,
            Direction::Right if ty.scalar.is_signed() => op::ShiftRightArithmetic,
            Direction::Right => op::ShiftRightLogical,
        };
        self.wrapping(opcode, ty, &[value, amount])
    }

    /// Returns the width minus an amount, modulo the width.
    fn complement(&mut self, ty: Type, amount: Id) -> Id {
        let words = ty.with_scalar(ScalarType::U32);
        let negated = self.make(op::SNegate, words, &[amount]);
        self.modulo_width(ty, negated)
    }

    /// Rotates by a literal amount, whose complement is a literal as well.
    pub(super) fn rotate_by(&mut self, direction: Direction, ty: Type, value: Id, amount: u32) -> Id {
        let width = ty.scalar.bits();
        let left = match direction {
            Direction::Left => amount % width,
            Direction::Right => (width - amount % width) % width,
        };
        if left == 0 {
            return value;
        }
        let words = ty.with_scalar(ScalarType::U32);
        let amounts = [left, width - left].map(|n| self.asm.splat(words, u64::from(n)));
        self.shifted_both_ways(ty, value, amounts)
    }

    /// Shifts the bits left by one amount and right by another, and combines the results.
    fn shifted_both_ways(&mut self, ty: Type, value: Id, [left, right]: [Id; 2]) -> Id {
        let unsigned = unsigned(ty);
        let bits = self.as_type(ty, unsigned, value);
        let up = self.make(op::ShiftLeftLogical, unsigned, &[bits, left]);
        let down = self.make(op::ShiftRightLogical, unsigned, &[bits, right]);
        let both = self.make(op::BitwiseOr, unsigned, &[up, down]);
        let both = self.wrapped(unsigned, both);
        self.as_type(unsigned, ty, both)
    }

    /// Rotates left by an amount below the width; a right rotation is a left rotation by the complement.
    fn rotate_left(&mut self, ty: Type, value: Id, amount: Id) -> Id {
        if ty.scalar.bits() == 64 {
            // Shift right by one first, and then by the rest: an amount computed as the width minus another is folded
            // incorrectly by lavapipe if it equals 32.
            let words = ty.with_scalar(ScalarType::U32);
            let (one, most) = (self.asm.splat(words, 1), self.asm.splat(words, 63));
            let unsigned = ty.with_scalar(ScalarType::U64);
            let bits = self.as_type(ty, unsigned, value);
            let up = self.make(op::ShiftLeftLogical, unsigned, &[bits, amount]);
            let rest = self.make(op::BitwiseXor, words, &[amount, most]);
            let half = self.make(op::ShiftRightLogical, unsigned, &[bits, one]);
            let down = self.make(op::ShiftRightLogical, unsigned, &[half, rest]);
            let both = self.make(op::BitwiseOr, unsigned, &[up, down]);
            return self.as_type(unsigned, ty, both);
        }
        let rest = self.complement(ty, amount);
        self.shifted_both_ways(ty, value, [amount, rest])
    }

    /// Returns the high half of the double-width product.
    fn multiply_high(&mut self, ty: Type, a: Id, b: Id) -> Id {
        let signed = ty.scalar.is_signed();
        if ty.scalar.bits() >= 32 {
            let pair = self.asm.pair(ty);
            let opcode = if signed { op::SMulExtended } else { op::UMulExtended };
            let both = self.asm.value(opcode, pair, &[a, b]);
            let high = self.make(op::CompositeExtract, ty, &[both, 1]);
            return self.keep_wide(ty, high);
        }
        // A product of narrow integers fits a word.
        let words = ty.with_scalar(if signed { ScalarType::I32 } else { ScalarType::U32 });
        let [a, b] = [a, b].map(|v| self.convert(v, ty, words));
        let product = self.make(op::IMul, words, &[a, b]);
        let width = self.asm.splat(words.with_scalar(ScalarType::U32), u64::from(ty.scalar.bits()));
        let right = if signed { op::ShiftRightArithmetic } else { op::ShiftRightLogical };
        self.make(right, words, &[product, width])
    }

    /// Returns the sum or difference, clamped to the range of the type.
    fn saturating(&mut self, sum: Sum, ty: Type, a: Id, b: Id) -> Id {
        let mask = ty.with_scalar(ScalarType::Bool);
        let most = ty.scalar.mask();
        let signed = ty.scalar.is_signed();
        if !signed && sum == Sum::Difference {
            let larger = self.glsl(glsl::UMax, ty, &[a, b]);
            return self.make(op::ISub, ty, &[larger, b]);
        }
        if !signed {
            // The distance to the maximum is the most that can be added.
            let end = self.asm.splat(ty, most);
            let left = self.make(op::BitwiseXor, ty, &[b, end]);
            let less = self.glsl(glsl::UMin, ty, &[a, left]);
            return self.make(op::IAdd, ty, &[less, b]);
        }
        let plain = self.make(if sum == Sum::Sum { op::IAdd } else { op::ISub }, ty, &[a, b]);
        if ty.scalar.bits() < 32 {
            let (least, most) = (self.asm.splat(ty, most / 2 + 1), self.asm.splat(ty, most / 2));
            let raised = self.glsl(glsl::SMax, ty, &[plain, least]);
            return self.glsl(glsl::SMin, ty, &[raised, most]);
        }
        // A sum overflows if its sign differs from both operands'. A difference overflows if its sign and that of the
        // second operand differ from that of the first.
        let other = if sum == Sum::Sum { plain } else { b };
        let first = self.make(op::BitwiseXor, ty, &[a, plain]);
        let second = self.make(op::BitwiseXor, ty, &[if sum == Sum::Sum { b } else { a }, other]);
        let both = self.make(op::BitwiseAnd, ty, &[first, second]);
        let zero = self.limit(ty, 0);
        let passed = self.make(op::SLessThan, mask, &[both, zero]);
        let negative = self.make(op::SLessThan, mask, &[a, zero]);
        let (least, most) = (self.asm.splat(ty, most / 2 + 1), self.asm.splat(ty, most / 2));
        let end = self.make(op::Select, ty, &[negative, least, most]);
        self.make(op::Select, ty, &[passed, end, plain])
    }

    fn dot_packed(&mut self, ty: Type, a: Id, b: Id) -> Id {
        self.asm.capability(capability::DotProduct);
        self.asm.capability(capability::DotProductInput4x8BitPacked);
        let element = ty.element();
        let opcode = if ty.scalar.is_signed() { op::SDot } else { op::UDot };
        if ty.is_scalar() {
            return self.make(opcode, ty, &[a, b, PACKED_VECTOR_FORMAT_4X8_BIT]);
        }
        let parts: Vec<Id> = (0..ty.lanes.count())
            .map(|lane| {
                let [a, b] = [a, b].map(|v| self.make(op::CompositeExtract, element, &[v, lane]));
                self.make(opcode, element, &[a, b, PACKED_VECTOR_FORMAT_4X8_BIT])
            })
            .collect();
        self.make(op::CompositeConstruct, ty, &parts)
    }
}
