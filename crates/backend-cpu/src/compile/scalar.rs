//! Steps of scalar and vector ops.

use fulgurite_hal::Error;
use fulgurite_ir::{FloatMode, Operands, ValueId, main_type};
use fulgurite_spec::{Op, Operand, ScalarOp, ScalarType, Semantics, Type};

use super::{Compiler, internal};
use crate::code::Step;
use crate::compute::{Args, Generic, Register, compute, exact, registers_of};

impl Compiler<'_> {
    pub(super) fn scalar_op(
        &mut self,
        op: Op,
        mode: FloatMode,
        operands: &Operands,
        results: &Operands,
    ) -> Result<(), Error> {
        let Some(result) = results.first().copied() else {
            return Err(internal("an op without a result"));
        };
        let to = self.define(result);
        let types: Vec<Type> = operands.iter().map(|v| self.kernel.ty(*v)).collect();
        let args: Vec<[Register; 4]> = operands.iter().map(|v| self.value(*v)).collect();
        let main = main_type(op, &types).ok_or_else(|| internal("an op without operands"))?;
        let count = main.lanes.count();
        let words = 0..registers_of(main.scalar);
        let misfit = || internal("an op that its operands do not fit");
        match op.on(main.scalar.class()).ok_or_else(misfit)? {
            ScalarOp::Construct => {
                for (to, from) in to.into_iter().zip(&args) {
                    self.copy(main.scalar, to, from[0]);
                }
            }
            ScalarOp::Extract => {
                let [vector, index] = args[..] else { return Err(misfit()) };
                match self.kernel.literal(operands[1]) {
                    Some(index) => {
                        let zero = self.constant(main.scalar, 0);
                        let inside = index.bits < u64::from(count);
                        self.copy(
                            main.scalar,
                            to[0],
                            if inside { vector[index.bits as usize] } else { zero },
                        );
                    }
                    None => {
                        let (to, index) = (to[0], index[0]);
                        self.steps.extend(words.map(|word| {
                            let components = vector.map(|first| first + word);
                            Step::Extract { to: to + word, components, count, index }
                        }));
                    }
                }
            }
            ScalarOp::Insert => {
                let [vector, index, value] = args[..] else { return Err(misfit()) };
                let literal = self.kernel.literal(operands[1]);
                for component in 0..count {
                    let (to, from) = (to[component as usize], vector[component as usize]);
                    match literal {
                        Some(index) if index.bits == u64::from(component) => {
                            self.copy(main.scalar, to, value[0]);
                        }
                        Some(_) => self.copy(main.scalar, to, from),
                        None => self.steps.extend(words.clone().map(|word| Step::Insert {
                            to: to + word,
                            from: from + word,
                            component,
                            index: index[0],
                            value: value[0] + word,
                        })),
                    }
                }
            }
            ScalarOp::Dot => {
                let [a, b] = args[..] else { return Err(misfit()) };
                self.dot(main, to[0], a, b)?;
            }
            ScalarOp::Pack => {
                let [vector] = args[..] else { return Err(misfit()) };
                self.pack(main, to[0], vector);
            }
            ScalarOp::Unpack => {
                let [from] = args[..] else { return Err(misfit()) };
                self.unpack(self.kernel.ty(result), to, from[0]);
            }
            ScalarOp::Bool(_)
            | ScalarOp::Integer(_)
            | ScalarOp::Float(_)
            | ScalarOp::Select
            | ScalarOp::Convert
            | ScalarOp::Bitcast => {
                let Semantics::Scalar { operands: kinds, .. } = op.info().semantics else {
                    return Err(internal("an op that is none of its operands' components"));
                };
                let result = self.kernel.ty(result).scalar;
                for component in 0..count as usize {
                    let mut registers = [0; 4];
                    for ((register, arg), kind) in registers.iter_mut().zip(&args).zip(kinds) {
                        *register = arg[if *kind == Operand::U32 { 0 } else { component }];
                    }
                    let args = Args { result: to[component], operands: registers };
                    match (mode, exact(op, main.scalar)) {
                        (FloatMode::Exact, Some(function)) => {
                            self.steps.push(Step::Compute(function, args));
                        }
                        (FloatMode::Exact, None) => self.generic(op, main.scalar, result, &types, args)?,
                        (FloatMode::Default | FloatMode::Fast, _) => {
                            self.apply(op, main.scalar, result, &types, args)?
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn copy(&mut self, ty: ScalarType, to: Register, from: Register) {
        self.steps.extend((0..registers_of(ty)).map(|word| Step::Copy { to: to + word, from: from + word }));
    }

    /// Compiles an op on one component.
    fn apply(
        &mut self,
        op: Op,
        main: ScalarType,
        result: ScalarType,
        types: &[Type],
        args: Args,
    ) -> Result<(), Error> {
        match compute(op, main, result) {
            Some(function) => self.steps.push(Step::Compute(function, args)),
            None => self.generic(op, main, result, types, args)?,
        }
        Ok(())
    }

    fn generic(
        &mut self,
        op: Op,
        main: ScalarType,
        result: ScalarType,
        types: &[Type],
        args: Args,
    ) -> Result<(), Error> {
        let generic = Generic::new(op, main, result, types.iter().map(|ty| ty.scalar))
            .ok_or_else(|| internal("an op that its operands do not fit"))?;
        self.steps.push(Step::Generic(generic, args));
        Ok(())
    }

    /// Compiles a selection of components from two vectors.
    pub(super) fn vec_shuffle(&mut self, components: &[u8], vectors: [ValueId; 2], results: &Operands) {
        let Some(result) = results.first().copied() else { return };
        let to = self.define(result);
        let ty = self.kernel.ty(vectors[0]);
        let count = ty.lanes.count() as usize;
        let all: Vec<Register> =
            vectors.iter().flat_map(|v| self.value(*v).into_iter().take(count)).collect();
        for (to, component) in to.into_iter().zip(components) {
            if let Some(from) = all.get(usize::from(*component)) {
                self.copy(ty.scalar, to, *from);
            }
        }
    }

    /// Packs components: whole words are copied, smaller components are combined word by word.
    fn pack(&mut self, vector: Type, to: Register, from: [Register; 4]) {
        let (bits, count) = (vector.scalar.bits(), vector.lanes.count() as usize);
        let each = (32 / bits).max(1) as usize;
        for (to, components) in (to..).zip(from[..count].chunks(each)) {
            let mut registers = [0; 4];
            registers[..components.len()].copy_from_slice(components);
            let count = components.len() as u32;
            self.steps.push(Step::Pack { to, components: registers, count, bits });
        }
    }

    fn unpack(&mut self, vector: Type, to: [Register; 4], from: Register) {
        let bits = vector.scalar.bits();
        for (component, to) in (0..vector.lanes.count()).zip(to) {
            let (from, shift) = (from + component * bits / 32, component * bits % 32);
            self.steps.push(Step::Unpack { to, from, shift, mask: vector.scalar.mask() as u32 });
        }
    }

    /// Compiles a sum of products, added left to right.
    fn dot(&mut self, main: Type, to: Register, a: [Register; 4], b: [Register; 4]) -> Result<(), Error> {
        let (ty, types) = (main.scalar, [main, main]);
        let count = main.lanes.count() as usize;
        let mut sum = self.temporary(ty);
        self.apply(Op::Mul, ty, ty, &types, Args { result: sum, operands: [a[0], b[0], 0, 0] })?;
        for component in 1..count {
            let product = self.temporary(ty);
            let operands = [a[component], b[component], 0, 0];
            self.apply(Op::Mul, ty, ty, &types, Args { result: product, operands })?;
            let result = if component + 1 == count { to } else { self.temporary(ty) };
            self.apply(Op::Add, ty, ty, &types, Args { result, operands: [sum, product, 0, 0] })?;
            sum = result;
        }
        Ok(())
    }
}
