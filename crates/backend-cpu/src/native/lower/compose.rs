//! Ops that build vectors of components and take them apart, which need no instruction.

use fulgurite_ir::{Operands, ValueId};
use fulgurite_spec::{Op, ScalarOp, ScalarType};

use super::{Lowering, Part, Value, component_words};
use crate::native::program::{Class, Input, Step};

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
}
