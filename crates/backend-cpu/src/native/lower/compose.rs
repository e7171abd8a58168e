//! Ops that build vectors of components and take them apart, which need no instruction.

use fulgurite_ir::{Operands, ValueId};
use fulgurite_spec::{ScalarOp, ScalarType};

use super::{Lowering, Part, component_words};
use crate::native::program::{Class, Input, Step, VectorOp2};

impl Lowering<'_> {
    /// Compiles `construct`, `extract` and `insert` at literal indices, and `dot`.
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
                let (index, to) = (self.kernel.literal(*index)?.bits, self.first(result));
                if index < self.count(*vector) as u64 {
                    self.alias_component(self.part(*vector, index as usize), to);
                } else {
                    self.define_zero(main, to);
                }
            }
            ScalarOp::Insert => {
                let [vector, index, value] = &**operands else { return None };
                let index = self.kernel.literal(*index)?.bits;
                for component in 0..self.count(*vector) {
                    let is_replaced = component as u64 == index;
                    let from = if is_replaced { self.first(*value) } else { self.part(*vector, component) };
                    self.alias_component(from, self.part(result, component));
                }
            }
            ScalarOp::Dot => self.dot(main, operands, result)?,
            ScalarOp::Bool(_)
            | ScalarOp::Integer(_)
            | ScalarOp::Float(_)
            | ScalarOp::Select
            | ScalarOp::Convert
            | ScalarOp::Bitcast
            | ScalarOp::Pack
            | ScalarOp::Unpack => return None,
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

    fn define_zero(&mut self, ty: ScalarType, to: Part) {
        if ty == ScalarType::Bool {
            let (mask, zero) = (self.reg(Class::Mask), self.input(Input::Constant(0)));
            self.push(Step::BroadcastMask { to: mask, from: zero });
            self.define_mask(to, mask);
        } else {
            let zero = self.splat(0);
            for word in self.words_of(to) {
                self.define_vector(word, zero);
            }
        }
    }

    /// Compiles a sum of products, added left to right.
    fn dot(&mut self, main: ScalarType, operands: &Operands, result: ValueId) -> Option<()> {
        let [a, b] = &**operands else { return None };
        let (multiply, add) = if main.is_float() {
            (VectorOp2::FloatMul, VectorOp2::FloatAdd)
        } else {
            (VectorOp2::Mul, VectorOp2::Add)
        };
        if component_words(main) == 2 {
            return self.wide_dot(*a, *b, result);
        }
        let mut sum = None;
        for (a, b) in self.components(*a).into_iter().zip(self.components(*b)) {
            let product = self.vector2(multiply, self.vector(a)?, self.vector(b)?);
            sum = Some(sum.map_or(product, |sum| self.vector2(add, sum, product)));
        }
        self.define_vector(self.first(result), sum?);
        Some(())
    }
}
