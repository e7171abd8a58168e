//! The loop over the vectors of a row.

use fulgurite_ir::{Control, InstId, PureInst, ValueDef};
use fulgurite_spec::{CompareOp, Op};

use super::Lowering;
use crate::native::program::{Class, Input, Kind, Reg, Relation, Step};

impl Lowering<'_> {
    /// Compiles the kernel. `vectors` is the number of registers for vectors.
    pub(super) fn rows(&mut self, vectors: u32) -> Option<()> {
        self.define_inputs();
        let (begin, end) = (self.input(Input::Begin), self.input(Input::End));
        let lanes = self.lanes as i32;
        self.x = self.reg(Class::Scalar);
        let x = self.x;
        self.push(Step::Move { to: x, from: begin });
        let mut most = end;
        let assumed = self.assumable();
        if let Some((_, bound)) = assumed {
            most = self.reg(Class::Scalar);
            self.push(Step::MinWide { to: most, a: end, b: bound });
        }
        // The last value of x for which all lanes are active; it may be negative.
        let last = self.reg(Class::Scalar);
        self.push(Step::AddWide { to: last, a: most, b: -lanes });

        let (partial, done) = (self.label(), self.label());
        let before = self.program.steps.len();
        self.assumed = assumed.map(|(id, _)| id);
        self.zero_locals();
        self.block(self.kernel.body)?;
        self.assumed = None;
        let body = self.program.steps.split_off(before);
        // Local arrays have room for one vector only.
        if self.kernel.locals.is_empty()
            && let Some((count, jammed)) = self.program.jam(&body, x, self.lanes, vectors)
        {
            let last = self.reg(Class::Scalar);
            self.push(Step::AddWide { to: last, a: most, b: -lanes * count as i32 });
            self.while_up_to(last, lanes * count as i32, jammed);
        }
        self.while_up_to(last, lanes, body);

        self.push(Step::LoopBegin);
        self.push(Step::Bind(partial));
        self.push(Step::BranchWide { relation: Relation::Ge, a: x, b: end, to: done });
        let (left, count) = (self.reg(Class::Scalar), self.reg(Class::Scalar));
        let width = self.input(Input::Constant(self.lanes));
        self.push(Step::SubWide { to: left, a: end, b: x });
        self.push(Step::MinWide { to: count, a: left, b: width });
        let counts = self.reg(Class::Vector);
        self.push(Step::Broadcast { to: counts, from: count });
        let numbers = self.program.input(Class::Vector, Input::LaneNumbers);
        self.mask = Some(self.compare(Relation::Lt, Kind::Unsigned, numbers, counts));
        self.zero_locals();
        self.block(self.kernel.body)?;
        self.mask = None;
        self.push(Step::AddWide { to: x, a: x, b: lanes });
        self.push(Step::Jump(partial));
        self.push(Step::LoopEnd);
        self.push(Step::Bind(done));
        self.push(Step::Return);
        Some(())
    }

    /// Adds a loop over a row that runs `body` and goes on by `step` as long as `x` is at most `last`.
    fn while_up_to(&mut self, last: Reg, step: i32, body: Vec<Step>) {
        let (x, top, done) = (self.x, self.label(), self.label());
        self.push(Step::BranchWide { relation: Relation::Gt, a: x, b: last, to: done });
        self.push(Step::LoopBegin);
        self.push(Step::Bind(top));
        self.program.steps.extend(body);
        self.push(Step::AddWide { to: x, a: x, b: step });
        self.push(Step::BranchWide { relation: Relation::Le, a: x, b: last, to: top });
        self.push(Step::LoopEnd);
        self.push(Step::Bind(done));
    }

    /// Returns the first `if` of the body whose condition is that the global id along x is below an input, with that
    /// bound.
    fn assumable(&mut self) -> Option<(InstId, Reg)> {
        let kernel = self.kernel;
        for id in kernel.block(kernel.body).insts.iter().copied() {
            let Some(Control::If { condition, .. }) = kernel.inst(id).kind.control() else { continue };
            let PureInst::Scalar { op, operands, .. } = self.definition(condition)? else { return None };
            let (index, bound) = match (CompareOp::of(op)?, &**operands) {
                (CompareOp::Lt, [index, bound]) | (CompareOp::Gt, [bound, index]) => (*index, *bound),
                _ => return None,
            };
            let PureInst::Id { op: Op::GlobalId, component: 0 } = self.definition(index)? else {
                return None;
            };
            let bound = match kernel.value(bound).def {
                ValueDef::Const(_) | ValueDef::Param(_) => self.scalar(self.first(bound))?,
                ValueDef::Inst(..) => match self.definition(bound)? {
                    PureInst::Len { memory } => self.len(memory),
                    PureInst::Scalar { .. } | PureInst::VecShuffle { .. } | PureInst::Id { .. } => {
                        return None;
                    }
                },
                ValueDef::BlockParam(..) => return None,
            };
            return Some((id, bound));
        }
        None
    }
}
