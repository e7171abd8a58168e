//! Expressions other than math functions and products of matrices.

use std::rc::Rc;

use fulgurite_ir::ValueId;
use fulgurite_spec::{Lanes, Literal, Op, ScalarType, Type};
use naga::{BinaryOperator, Expression, Handle, RelationalFunction, ScalarKind, UnaryOperator};

use super::place::Place;
use super::{Item, Lower, Object, Value};
use crate::refusal::{Res, internal, resource, unsupported};
use crate::types::{Ty, lanes};

impl Lower<'_> {
    /// Returns the meaning of an expression, which was emitted before unless it is constant.
    pub(super) fn item(&mut self, handle: Handle<Expression>) -> Res<Item> {
        if let Some(item) = self.frame().cache.get(&handle) {
            return Ok(item.clone());
        }
        self.nested(|lower| lower.evaluate(handle))
    }

    /// Evaluates an expression at this point of the program.
    pub(super) fn emit_expression(&mut self, handle: Handle<Expression>) -> Res<()> {
        self.at(self.frame().function.expressions.get_span(handle));
        self.check_values()?;
        let item = self.evaluate(handle)?;
        if let (Item::Value(Value { leaves, .. }), Some(name)) =
            (&item, self.frame().function.named_expressions.get(&handle))
            && let [leaf] = **leaves
        {
            self.emit.name(leaf, name);
        }
        self.frame_mut().cache.insert(handle, item);
        Ok(())
    }

    /// Returns the value of an expression that is not a pointer.
    pub(super) fn value(&mut self, handle: Handle<Expression>) -> Res<Value> {
        match self.item(handle)? {
            Item::Value(value) => Ok(value),
            Item::Place(_) => Err(self.pointer_as_value()),
        }
    }

    /// Returns the scalar or vector that an expression evaluates to.
    pub(super) fn leaf(&mut self, handle: Handle<Expression>) -> Res<ValueId> {
        let value = self.value(handle)?;
        self.only(&value)
    }

    /// Returns the only scalar or vector of a value.
    pub(super) fn only(&self, value: &Value) -> Res<ValueId> {
        match (&*value.ty, &*value.leaves) {
            (Ty::Leaf { .. }, [leaf]) => Ok(*leaf),
            (_, _) => Err(internal(self.emit.at, "a scalar or vector was expected")),
        }
    }

    /// Returns a scalar or vector as a value.
    pub(super) fn wrap(&self, leaf: ValueId) -> Value {
        Value { ty: Ty::leaf(self.emit.ty(leaf)), leaves: [leaf].into() }
    }

    /// Returns the place that a pointer expression leads to.
    pub(super) fn place(&mut self, handle: Handle<Expression>) -> Res<Place> {
        match self.item(handle)? {
            Item::Place(place) => Ok(place),
            Item::Value(_) => Err(internal(self.emit.at, "a pointer was expected")),
        }
    }

    fn evaluate(&mut self, handle: Handle<Expression>) -> Res<Item> {
        let function = self.frame().function;
        let expression = &function.expressions[handle];
        if let Some(item) = self.pure(expression, &|lower: &mut Self, operand| lower.item(operand))? {
            return Ok(item);
        }
        match expression {
            Expression::FunctionArgument(index) => {
                let argument = self.frame().arguments.get(*index as usize).cloned();
                argument.ok_or_else(|| internal(self.emit.at, "argument that is not there"))
            }
            Expression::GlobalVariable(variable) => {
                let Some(object) = self.globals.get(variable).copied() else {
                    return Err(internal(self.emit.at, "variable that is not declared"));
                };
                let ty = self.ty(self.module.global_variables[*variable].ty)?;
                Ok(Item::Place(Place::of(object, ty)))
            }
            Expression::LocalVariable(variable) => {
                let Some(index) = self.frame().locals.get(variable).copied() else {
                    return Err(internal(self.emit.at, "variable that is not declared"));
                };
                let ty = Rc::clone(&self.variables[index].ty);
                Ok(Item::Place(Place::of(Object::Variable(index), ty)))
            }
            Expression::Load { pointer } => {
                let place = self.place(*pointer)?;
                self.load(&place).map(Item::Value)
            }
            Expression::ArrayLength(pointer) => {
                let place = self.place(*pointer)?;
                let len = self.array_length(&place)?;
                Ok(Item::Value(self.wrap(len)))
            }
            other => Err(self.refused(other)),
        }
    }

    /// Returns the meaning of an expression that is a function of its operands, which `get` returns. `None` for others.
    pub(super) fn pure(
        &mut self,
        expression: &Expression,
        get: &impl Fn(&mut Self, Handle<Expression>) -> Res<Item>,
    ) -> Res<Option<Item>> {
        let value = |lower: &mut Self, handle| match get(lower, handle)? {
            Item::Value(value) => Ok(value),
            Item::Place(_) => Err(lower.pointer_as_value()),
        };
        let leaf = |lower: &mut Self, handle| {
            let value = value(lower, handle)?;
            lower.only(&value)
        };
        Ok(Some(Item::Value(match expression {
            Expression::Literal(literal) => self.literal(*literal)?,
            Expression::Constant(constant) => {
                let init = self.module.constants[*constant].init;
                self.constant_expression(init)?
            }
            Expression::Override(handle) => self.override_value(*handle)?,
            Expression::ZeroValue(ty) => {
                let ty = self.ty(*ty)?;
                self.zero_value(&ty)?
            }
            Expression::Compose { ty, components } => {
                let ty = self.ty(*ty)?;
                let parts: Vec<Value> =
                    components.iter().map(|part| value(self, *part)).collect::<Res<_>>()?;
                self.compose(&ty, &parts)?
            }
            Expression::Access { base, index } => {
                let (base, index) = (get(self, *base)?, leaf(self, *index)?);
                return self.access(base, index).map(Some);
            }
            Expression::AccessIndex { base, index } => {
                let (base, index) = (get(self, *base)?, self.emit.u32(*index));
                return self.access(base, index).map(Some);
            }
            Expression::Splat { size, value: scalar } => {
                let scalar = value(self, *scalar)?;
                self.splat_value(&scalar, lanes(*size))?
            }
            Expression::Swizzle { size, vector, pattern } => {
                let vector = leaf(self, *vector)?;
                let positions: Vec<u8> = pattern[..*size as usize].iter().map(|c| *c as u8).collect();
                let picked = self.emit.swizzle(vector, &positions)?;
                self.wrap(picked)
            }
            Expression::Unary { op, expr } => {
                let operand = value(self, *expr)?;
                self.unary(*op, &operand)?
            }
            Expression::Binary { op, left, right } => {
                let (left, right) = (value(self, *left)?, value(self, *right)?);
                self.binary(*op, &left, &right)?
            }
            Expression::Select { condition, accept, reject } => {
                let condition = leaf(self, *condition)?;
                let (yes, no) = (value(self, *accept)?, value(self, *reject)?);
                let leaves = yes.leaves.iter().zip(&*no.leaves);
                let leaves = leaves.map(|(yes, no)| self.select(condition, *yes, *no)).collect::<Res<_>>()?;
                Value { ty: yes.ty, leaves }
            }
            Expression::Relational { fun, argument } => {
                let argument = leaf(self, *argument)?;
                let result = self.relational(*fun, argument)?;
                self.wrap(result)
            }
            Expression::Math { fun, arg, arg1, arg2, arg3 } => {
                let mut operands = vec![value(self, *arg)?];
                for more in [arg1, arg2, arg3].into_iter().flatten() {
                    operands.push(value(self, *more)?);
                }
                self.math(*fun, &operands)?
            }
            Expression::As { expr, kind, convert } => {
                let operand = value(self, *expr)?;
                self.convert(&operand, *kind, *convert)?
            }
            // Variables, and results of statements.
            _ => return Ok(None),
        })))
    }

    fn pointer_as_value(&self) -> crate::refusal::Refusal {
        unsupported(
            self.emit.at,
            "a pointer is used as a value",
            "Load what it points to, or pass the variable itself.",
        )
    }

    /// Returns the error of an expression that has no equivalent.
    fn refused(&self, expression: &Expression) -> crate::refusal::Refusal {
        let at = self.emit.at;
        match expression {
            Expression::ImageSample { .. } | Expression::ImageLoad { .. } | Expression::ImageQuery { .. } => {
                resource(at, "textures cannot be read in a kernel", "Pass the texels in a storage buffer.")
            }
            Expression::Derivative { .. } => unsupported(
                at,
                "derivatives exist in fragment shaders only",
                "Compute the difference from the values of neighbors.",
            ),
            Expression::RayQueryVertexPositions { .. }
            | Expression::RayQueryProceedResult
            | Expression::RayQueryGetIntersection { .. } => resource(
                at,
                "ray queries have no equivalent",
                "Traverse the scene in the shader, with its nodes in storage buffers.",
            ),
            Expression::CooperativeLoad { .. } | Expression::CooperativeMultiplyAdd { .. } => unsupported(
                at,
                "cooperative matrices are not imported",
                "Write that part of the kernel in Fulgurite, whose `coop` ops work on such matrices.",
            ),
            // The rest is defined by statements, which precede their uses.
            _ => internal(at, "result that is used before it is computed"),
        }
    }

    /// Returns the value of a literal.
    pub(super) fn literal(&mut self, literal: naga::Literal) -> Res<Value> {
        let (ty, bits) = match literal {
            naga::Literal::F64(value) => (ScalarType::F64, value.to_bits()),
            naga::Literal::F32(value) => (ScalarType::F32, u64::from(value.to_bits())),
            naga::Literal::F16(value) => (ScalarType::F16, u64::from(value.to_bits())),
            naga::Literal::U16(value) => (ScalarType::U16, u64::from(value)),
            naga::Literal::I16(value) => (ScalarType::I16, value as u64),
            naga::Literal::U32(value) => (ScalarType::U32, u64::from(value)),
            naga::Literal::I32(value) => (ScalarType::I32, value as u64),
            naga::Literal::U64(value) => (ScalarType::U64, value),
            naga::Literal::I64(value) => (ScalarType::I64, value as u64),
            naga::Literal::Bool(value) => (ScalarType::Bool, u64::from(value)),
            naga::Literal::AbstractInt(_) | naga::Literal::AbstractFloat(_) => {
                return Err(internal(self.emit.at, "literal without a type"));
            }
        };
        let leaf = self.emit.constant(Literal::new(ty, bits));
        Ok(self.wrap(leaf))
    }

    /// Returns the value that parts make up.
    pub(super) fn compose(&mut self, ty: &Rc<Ty>, parts: &[Value]) -> Res<Value> {
        let leaves: Vec<ValueId> = parts.iter().flat_map(|part| part.leaves.iter().copied()).collect();
        let leaves = match &**ty {
            Ty::Leaf { .. } => {
                let mut components = Vec::new();
                for leaf in leaves {
                    components.extend(self.emit.components(leaf)?);
                }
                vec![self.emit.construct(&components)?]
            }
            // A matrix of scalars, column by column.
            Ty::Array { element, is_matrix: true, .. } if leaves.len() as u64 != ty.leaves() => {
                let rows = match &**element {
                    Ty::Leaf { ty, .. } => ty.lanes.count() as usize,
                    Ty::Array { .. } | Ty::Struct { .. } => 1,
                };
                leaves.chunks(rows).map(|column| self.emit.construct(column)).collect::<Res<_>>()?
            }
            Ty::Array { .. } | Ty::Struct { .. } => leaves,
        };
        if leaves.len() as u64 != ty.leaves() {
            return Err(internal(self.emit.at, "composed value has parts of other types"));
        }
        Ok(Value { ty: Rc::clone(ty), leaves: leaves.into() })
    }

    pub(super) fn splat_value(&mut self, value: &Value, lanes: Lanes) -> Res<Value> {
        let leaf = self.only(value)?;
        let vector = self.emit.splat(leaf, lanes)?;
        Ok(self.wrap(vector))
    }

    fn unary(&mut self, op: UnaryOperator, value: &Value) -> Res<Value> {
        let op = match op {
            UnaryOperator::Negate => Op::Neg,
            UnaryOperator::LogicalNot | UnaryOperator::BitwiseNot => Op::Not,
        };
        let leaves = value.leaves.iter().map(|leaf| self.emit.op(op, &[*leaf])).collect::<Res<_>>()?;
        Ok(Value { ty: Rc::clone(&value.ty), leaves })
    }

    fn binary(&mut self, op: BinaryOperator, left: &Value, right: &Value) -> Res<Value> {
        if let Some(product) = self.matrix_binary(op, left, right)? {
            return Ok(product);
        }
        let (left, right) = (self.only(left)?, self.only(right)?);
        let result = self.binary_leaf(op, left, right)?;
        Ok(self.wrap(result))
    }

    /// Returns both with as many lanes as the wider one.
    pub(super) fn widen(&mut self, left: ValueId, right: ValueId) -> Res<(ValueId, ValueId)> {
        let (a, b) = (self.emit.ty(left).lanes, self.emit.ty(right).lanes);
        Ok(match (a, b) {
            (Lanes::One, wide) if wide != Lanes::One => (self.emit.splat(left, wide)?, right),
            (wide, Lanes::One) if wide != Lanes::One => (left, self.emit.splat(right, wide)?),
            (_, _) => (left, right),
        })
    }

    /// Applies an operator to scalars or vectors.
    pub(super) fn binary_leaf(&mut self, op: BinaryOperator, left: ValueId, right: ValueId) -> Res<ValueId> {
        let (left, right) = self.widen(left, right)?;
        let ty = self.emit.ty(left);
        let op = match op {
            BinaryOperator::Add => Op::Add,
            BinaryOperator::Subtract => Op::Sub,
            BinaryOperator::Multiply => Op::Mul,
            BinaryOperator::Divide => Op::Div,
            BinaryOperator::Modulo if ty.scalar.is_float() => {
                let quotient = self.emit.op(Op::Div, &[left, right])?;
                let whole = self.emit.op(Op::Trunc, &[quotient])?;
                let product = self.emit.op(Op::Mul, &[right, whole])?;
                return self.emit.op(Op::Sub, &[left, product]);
            }
            BinaryOperator::Modulo => Op::Rem,
            BinaryOperator::Equal => Op::Eq,
            BinaryOperator::NotEqual => Op::Ne,
            BinaryOperator::Less => Op::Lt,
            BinaryOperator::LessEqual => Op::Le,
            BinaryOperator::Greater => Op::Gt,
            BinaryOperator::GreaterEqual => Op::Ge,
            BinaryOperator::And | BinaryOperator::LogicalAnd => Op::And,
            BinaryOperator::ExclusiveOr => Op::Xor,
            BinaryOperator::InclusiveOr | BinaryOperator::LogicalOr => Op::Or,
            BinaryOperator::ShiftLeft => Op::Shl,
            BinaryOperator::ShiftRight => Op::Shr,
        };
        self.emit.op(op, &[left, right])
    }

    fn relational(&mut self, fun: RelationalFunction, argument: ValueId) -> Res<ValueId> {
        let op = match fun {
            RelationalFunction::IsNan => return self.emit.op(Op::IsNan, &[argument]),
            RelationalFunction::IsInf => return self.emit.op(Op::IsInf, &[argument]),
            RelationalFunction::All => Op::And,
            RelationalFunction::Any => Op::Or,
        };
        let mut components = self.emit.components(argument)?.into_iter();
        let Some(mut result) = components.next() else {
            return Err(internal(self.emit.at, "vector without components"));
        };
        for component in components {
            result = self.emit.op(op, &[result, component])?;
        }
        Ok(result)
    }

    fn convert(&mut self, value: &Value, kind: ScalarKind, width: Option<u8>) -> Res<Value> {
        let mut leaves = Vec::new();
        for leaf in value.leaves.iter() {
            let from = self.emit.ty(*leaf);
            let to = naga::Scalar { kind, width: width.unwrap_or(from.scalar.size() as u8) };
            let Some(to) = crate::types::scalar(to) else {
                return Err(internal(self.emit.at, "conversion to a type without an equivalent"));
            };
            let op = if width.is_some() { Op::Convert } else { Op::Bitcast };
            leaves.push(self.emit.cast(op, *leaf, from.with_scalar(to))?);
        }
        let ty = match &*value.ty {
            Ty::Array { len, is_matrix: true, .. } => {
                Ty::matrix(len.unwrap_or(0), leaves.first().map_or(Type::F32, |leaf| self.emit.ty(*leaf)))
            }
            Ty::Leaf { .. } | Ty::Array { .. } | Ty::Struct { .. } => {
                return Ok(self.wrap(leaves[0]));
            }
        };
        Ok(Value { ty, leaves: leaves.into() })
    }
}
