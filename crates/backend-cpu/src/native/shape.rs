//! The values that native code keeps in scalar registers: integers and bools that are equal in all lanes and that
//! scalar instructions compute.
//!
//! All other values are vectors or masks, even if they are uniform. The analysis starts from the assumption that every
//! integer is a scalar, and drops those whose operands or control flow contradict it until nothing changes.

use fulgurite_ir::analysis::instructions;
use fulgurite_ir::{
    BlockId, Control, Inst, InstKind, Kernel, Memory, Operands, PureInst, Terminator, ValueId, main_type,
};
use fulgurite_spec::{IdOp, IntegerOp, Op, ScalarOp, ScalarType, Type};

/// The values of a kernel that are scalars.
pub(super) struct Scalars {
    is_scalar: Vec<bool>,
}

impl Scalars {
    /// Analyzes `kernel`.
    pub(super) fn of(kernel: &Kernel) -> Self {
        let is_integer =
            |ty: Type| ty == Type::U32 || ty == Type::BOOL || ty == Type::scalar(ScalarType::I32);
        let mut scalars =
            Self { is_scalar: kernel.values.iter().map(|value| is_integer(value.ty)).collect() };
        let mut changed = true;
        while changed {
            changed = false;
            for id in instructions(kernel) {
                changed |= scalars.visit(kernel, kernel.inst(id));
            }
        }
        scalars
    }

    /// Returns whether the value is a scalar.
    pub(super) fn is_scalar(&self, value: ValueId) -> bool {
        self.is_scalar[value.index()]
    }

    fn all(&self, values: &[ValueId]) -> bool {
        values.iter().all(|value| self.is_scalar(*value))
    }

    /// Drops a value unless `keep`. Returns whether that changed anything.
    fn restrict(&mut self, value: ValueId, keep: bool) -> bool {
        let changed = self.is_scalar(value) && !keep;
        self.is_scalar[value.index()] &= keep;
        changed
    }

    fn visit(&mut self, kernel: &Kernel, inst: &Inst) -> bool {
        let Some(control) = inst.kind.control() else {
            let keep = self.computed(kernel, inst);
            let mut changed = false;
            for result in &inst.results {
                changed |= self.restrict(*result, keep);
            }
            return changed;
        };
        match control {
            Control::If { condition, then_block, else_block } => {
                let blocks = [then_block, else_block].map(|block| yielded(kernel, block));
                self.join(&inst.results, self.is_scalar(condition), &blocks)
            }
            Control::Region { body, .. } => self.join(&inst.results, true, &[yielded(kernel, body)]),
            Control::For { start, end, initial, body, .. } => {
                let is_uniform = self.is_scalar(start) && self.is_scalar(end);
                let Some((counter, carried)) = kernel.block(body).params.split_first() else { return false };
                let changed = self.restrict(*counter, is_uniform);
                self.carry(inst, carried, is_uniform, [initial, yielded(kernel, body)]) || changed
            }
            Control::While { initial, header, body } => {
                let is_uniform = match kernel.block(header).terminator {
                    Terminator::Condition(condition) => self.is_scalar(condition),
                    Terminator::Return | Terminator::Yield(_) => false,
                };
                let carried = &kernel.block(header).params;
                self.carry(inst, carried, is_uniform, [initial, yielded(kernel, body)])
            }
        }
    }

    /// Restricts results that are yielded by one of some blocks.
    fn join(&mut self, results: &Operands, is_uniform: bool, blocks: &[&[ValueId]]) -> bool {
        let mut changed = false;
        for (position, result) in results.iter().enumerate() {
            let keep =
                is_uniform && blocks.iter().filter_map(|b| b.get(position)).all(|v| self.is_scalar(*v));
            changed |= self.restrict(*result, keep);
        }
        changed
    }

    /// Restricts the carried values of a loop and its results, which share registers.
    fn carry(
        &mut self,
        inst: &Inst,
        carried: &[ValueId],
        is_uniform: bool,
        [initial, next]: [&[ValueId]; 2],
    ) -> bool {
        let mut changed = false;
        for (position, param) in carried.iter().enumerate() {
            let sources = [initial, next].into_iter().filter_map(|values| values.get(position));
            let result = inst.results.get(position).copied();
            let keep = is_uniform
                && sources.copied().all(|value| self.is_scalar(value))
                && self.is_scalar(*param)
                && result.is_none_or(|result| self.is_scalar(result));
            changed |= self.restrict(*param, keep);
            changed |= result.is_some_and(|result| self.restrict(result, keep));
        }
        changed
    }

    /// Returns whether scalar instructions compute the result of an instruction without nested blocks.
    fn computed(&self, kernel: &Kernel, inst: &Inst) -> bool {
        if let Some(pure) = inst.kind.pure() {
            return match pure {
                PureInst::Scalar { op, operands, .. } => {
                    self.all(operands) && is_scalar_op(kernel, op, operands)
                }
                PureInst::Id { op, component } => match IdOp::of(op) {
                    Some(IdOp::GlobalId | IdOp::LocalId) => component > 0,
                    Some(
                        IdOp::WorkgroupId
                        | IdOp::NumWorkgroups
                        | IdOp::SubgroupId
                        | IdOp::SubgroupSize
                        | IdOp::NumSubgroups,
                    ) => true,
                    Some(IdOp::LocalIndex | IdOp::Lane | IdOp::LaneMaskLt) | None => false,
                },
                PureInst::Len { .. } => true,
                PureInst::VecShuffle { .. } => false,
            };
        }
        if let InstKind::WorkgroupBroadcast { index, .. } = inst.kind {
            return self.is_scalar(index);
        }
        let InstKind::Load { memory, index } = inst.kind else { return false };
        // Each invocation has local arrays of its own.
        let is_shared = match kernel.base(memory) {
            Memory::Buffer(_) | Memory::Shared(_) => true,
            Memory::Local(_) | Memory::View(_) => false,
        };
        is_shared && self.is_scalar(index)
    }
}

/// Returns the values that a block yields.
pub(super) fn yielded(kernel: &Kernel, block: BlockId) -> &[ValueId] {
    match &kernel.block(block).terminator {
        Terminator::Yield(values) => values,
        Terminator::Return | Terminator::Condition(_) => &[],
    }
}

/// Returns whether scalar instructions compute an op on integers or bools.
fn is_scalar_op(kernel: &Kernel, op: Op, operands: &Operands) -> bool {
    let types: Vec<Type> = operands.iter().map(|value| kernel.ty(*value)).collect();
    let Some(main) = main_type(op, &types) else { return false };
    match op.on(main.scalar.class()) {
        Some(ScalarOp::Bool(_) | ScalarOp::Select | ScalarOp::Convert | ScalarOp::Bitcast) => true,
        Some(ScalarOp::Integer(op)) => match op {
            IntegerOp::Compare(_)
            | IntegerOp::Add
            | IntegerOp::Sub
            | IntegerOp::Mul
            | IntegerOp::Neg
            | IntegerOp::Min
            | IntegerOp::Max
            | IntegerOp::Clamp
            | IntegerOp::And
            | IntegerOp::Or
            | IntegerOp::Xor
            | IntegerOp::Not
            | IntegerOp::Shl
            | IntegerOp::Shr
            | IntegerOp::RotateLeft
            | IntegerOp::RotateRight => true,
            IntegerOp::Div | IntegerOp::Rem => !main.scalar.is_signed(),
            IntegerOp::Abs
            | IntegerOp::Sign
            | IntegerOp::MulHi
            | IntegerOp::AddSat
            | IntegerOp::SubSat
            | IntegerOp::PopCount
            | IntegerOp::LeadingZeros
            | IntegerOp::TrailingZeros
            | IntegerOp::ReverseBits
            | IntegerOp::ExtractBits
            | IntegerOp::InsertBits
            | IntegerOp::DotPacked => false,
        },
        Some(
            ScalarOp::Float(_)
            | ScalarOp::Pack
            | ScalarOp::Unpack
            | ScalarOp::Construct
            | ScalarOp::Extract
            | ScalarOp::Insert
            | ScalarOp::Dot,
        )
        | None => false,
    }
}
