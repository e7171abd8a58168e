//! Ops that build vectors of components and take them apart. Those at literal indices need no instruction.

use fulgurite_ir::{Operands, ValueId};
use fulgurite_spec::{Op, ScalarOp, ScalarType};

use super::narrow::{extended, narrow_bits};
use super::{Lowering, Part, Value, component_words};
use crate::native::program::{Class, Input, Kind, MaskOp, Reg, Relation, ShiftOp, Step, VectorOp2};

/// The registers of one component: its words, or a mask.
pub(super) type Registers = Vec<Reg>;

impl Lowering<'_> {
    /// Compiles `construct`, `extract`, `insert`, `pack`, `unpack` and `dot`.
    pub(super) fn compose(
        &mut self,
        op: ScalarOp,
        main: ScalarType,
        operands: &Operands,
        result: ValueId,
    ) -> Option<()> {
        match op {
            ScalarOp::Construct => {
                for (component, value) in operands.iter().enumerate() {
                    self.alias_component(self.first(*value), self.part(result, component));
                }
            }
            ScalarOp::Extract => {
                let [vector, index] = &**operands else { return None };
                let to = self.first(result);
                let Some(literal) = self.kernel.literal(*index) else {
                    return self.extract_at(main, *vector, *index, to);
                };
                if literal.bits < self.count(*vector) as u64 {
                    self.alias_component(self.part(*vector, literal.bits as usize), to);
                } else {
                    let zeros = self.constant_registers(main, 0);
                    self.define_registers(to, &zeros);
                }
            }
            ScalarOp::Insert => {
                let [vector, index, value] = &**operands else { return None };
                let literal = self.kernel.literal(*index).map(|literal| literal.bits);
                let value = self.first(*value);
                for component in 0..self.count(*vector) {
                    let (from, to) = (self.part(*vector, component), self.part(result, component));
                    match literal {
                        Some(literal) if literal == component as u64 => self.alias_component(value, to),
                        Some(_) => self.alias_component(from, to),
                        None => {
                            let is_replaced = self.is_component(*index, component)?;
                            let (new, old) = (self.registers(value)?, self.registers(from)?);
                            let chosen = self.choice(main, is_replaced, &new, &old);
                            self.define_registers(to, &chosen);
                        }
                    }
                }
            }
            ScalarOp::Pack => {
                let parts = self.parts(&[*operands.first()?]);
                let words = self.vectors(&parts)?;
                let words = match narrow_bits(main) {
                    Some(width) => self.packed(width, &words),
                    None => words,
                };
                self.define_registers(self.first(result), &words);
            }
            ScalarOp::Unpack => {
                let words = self.registers(self.first(*operands.first()?))?;
                let (ty, parts) = (self.kernel.ty(result).scalar, self.parts(&[result]));
                let components = self.unpacked(ty, parts.len(), &words);
                for (part, component) in parts.into_iter().zip(components) {
                    self.define_vector(part, component);
                }
            }
            ScalarOp::Dot => self.dot(main, operands, result)?,
            ScalarOp::Bool(_)
            | ScalarOp::Integer(_)
            | ScalarOp::Float(_)
            | ScalarOp::Select
            | ScalarOp::Convert
            | ScalarOp::Bitcast => return None,
        }
        Some(())
    }

    pub(super) fn shuffle(&mut self, components: &[u8], vectors: [ValueId; 2], result: ValueId) {
        let all: Vec<Part> = vectors.into_iter().flat_map(|vector| self.components(vector)).collect();
        for (position, component) in components.iter().enumerate() {
            if let Some(from) = all.get(usize::from(*component)) {
                self.alias_component(*from, self.part(result, position));
            }
        }
    }

    /// Returns the lanes in which an index is that of a component.
    fn is_component(&mut self, index: ValueId, component: usize) -> Option<Reg> {
        let (index, number) = (self.vector(self.first(index))?, self.splat(component as u32));
        Some(self.compare(Relation::Eq, Kind::Unsigned, index, number))
    }

    /// Compiles the component at an index that varies; 0 if there is none.
    fn extract_at(&mut self, ty: ScalarType, vector: ValueId, index: ValueId, to: Part) -> Option<()> {
        let mut found = self.constant_registers(ty, 0);
        for (component, from) in self.components(vector).into_iter().enumerate() {
            let is_it = self.is_component(index, component)?;
            let own = self.registers(from)?;
            found = self.choice(ty, is_it, &own, &found);
        }
        self.define_registers(to, &found);
        Some(())
    }

    /// Returns the words that consist of components of 8 or 16 bits, the first one lowest.
    pub(super) fn packed(&mut self, width: u32, components: &[Reg]) -> Registers {
        let mut words = Vec::new();
        for components in components.chunks(32 / width as usize) {
            let mut word = self.splat(0);
            for (bit, component) in (0..).step_by(width as usize).zip(components) {
                let above = self.shift_by(ShiftOp::Left, *component, 32 - width);
                let moved = self.shift_by(ShiftOp::Right, above, 32 - width - bit);
                word = self.vector2(VectorOp2::Or, word, moved);
            }
            words.push(word);
        }
        words
    }

    /// Returns the words of components that others consist of.
    pub(super) fn unpacked(&mut self, ty: ScalarType, count: usize, words: &[Reg]) -> Registers {
        let Some(width) = narrow_bits(ty) else { return words.to_vec() };
        let bits = (0..).step_by(width as usize).take(count);
        let component = |bit: u32| {
            let moved = self.shift_by(ShiftOp::Right, words[bit as usize / 32], bit % 32);
            self.extend(ty, moved)
        };
        bits.map(component).collect()
    }

    /// Compiles a sum of products, added left to right.
    fn dot(&mut self, main: ScalarType, operands: &Operands, result: ValueId) -> Option<()> {
        let [a, b] = &**operands else { return None };
        let to = self.first(result);
        let mut sum = None;
        for (a, b) in self.components(*a).into_iter().zip(self.components(*b)) {
            let product = self.temporary(result);
            self.vector_op(Op::Mul.on(main.class())?, main, &[a, b], product)?;
            sum = Some(match sum {
                None => product,
                Some(sum) => {
                    let next = self.temporary(result);
                    self.vector_op(Op::Add.on(main.class())?, main, &[sum, product], next)?;
                    next
                }
            });
        }
        self.alias_component(sum?, to);
        Some(())
    }

    /// Creates a component of the type of `like`, which is not a scalar.
    pub(super) fn temporary(&mut self, like: ValueId) -> Part {
        let first = Part(self.values.len());
        for _ in 0..component_words(self.kernel.ty(like).scalar) {
            self.values.push(Value::default());
            self.owners.push(like);
        }
        first
    }

    /// Returns the registers of a component.
    pub(super) fn registers(&self, first: Part) -> Option<Registers> {
        if self.scalar_type(first) == ScalarType::Bool {
            return Some(vec![self.mask(first)?]);
        }
        self.words_of(first).map(|word| self.vector(word)).collect()
    }

    pub(super) fn define_registers(&mut self, first: Part, registers: &[Reg]) {
        if self.scalar_type(first) == ScalarType::Bool {
            registers.iter().for_each(|mask| self.define_mask(first, *mask));
            return;
        }
        for (part, vector) in self.words_of(first).zip(registers) {
            self.define_vector(part, *vector);
        }
    }

    /// Returns 1 in the lanes of a mask, and 0 in others.
    pub(super) fn word_of_mask(&mut self, mask: Reg) -> Reg {
        let (one, zero) = (self.splat(1), self.splat(0));
        self.blend(mask, one, zero)
    }

    /// Returns the lanes in which a word is not 0.
    pub(super) fn mask_of_word(&mut self, word: Reg) -> Reg {
        let zero = self.splat(0);
        self.compare(Relation::Ne, Kind::Unsigned, word, zero)
    }

    /// Returns `yes` where the mask is true, else `no`.
    pub(super) fn choice(&mut self, ty: ScalarType, mask: Reg, yes: &[Reg], no: &[Reg]) -> Registers {
        let chosen = |(yes, no): (&Reg, &Reg), lowering: &mut Self| {
            if ty != ScalarType::Bool {
                return lowering.blend(mask, *yes, *no);
            }
            let (yes, no) =
                (lowering.mask2(MaskOp::And, *yes, mask), lowering.mask2(MaskOp::AndNot, *no, mask));
            lowering.mask2(MaskOp::Or, yes, no)
        };
        yes.iter().zip(no).map(|pair| chosen(pair, self)).collect()
    }

    /// Returns the registers of a constant.
    pub(super) fn constant_registers(&mut self, ty: ScalarType, bits: u64) -> Registers {
        if ty == ScalarType::Bool {
            let (to, from) = (self.reg(Class::Mask), self.input(Input::Constant(bits as u32 & 1)));
            self.push(Step::BroadcastMask { to, from });
            return vec![to];
        }
        let words = 0..component_words(ty);
        words.map(|word| self.splat(extended(ty, (bits >> (32 * word)) as u32))).collect()
    }
}
