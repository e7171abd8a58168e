//! Evaluation of scalar steps whose operands are constants, and removal of those that return an operand.

use super::{Class, Input, Kind, Program, Reg, Relation, ScalarOp2, Step};

/// Facts about the registers, by their numbers.
struct Known {
    /// The number of steps that write the register.
    writes: Vec<u32>,
    /// The register that always has the same contents.
    same: Vec<Option<Reg>>,
    /// The operands of a sum of words.
    sums: Vec<Option<[Reg; 2]>>,
    /// True if the register may have more than 32 bits.
    is_wide: Vec<bool>,
}

impl Known {
    fn of(program: &Program) -> Self {
        let count = program.classes.len();
        let mut is_wide = vec![false; count];
        for (reg, input) in &program.inputs {
            is_wide[reg.index()] =
                matches!(input, Input::Begin | Input::End | Input::Pointer(_) | Input::Area(_));
        }
        for step in &program.steps {
            let Some(to) = step.uses().write else { continue };
            is_wide[to.index()] |= matches!(
                step,
                Step::AddWide { .. }
                    | Step::SubWide { .. }
                    | Step::MinWide { .. }
                    | Step::Move { .. }
                    | Step::Scalar { op: ScalarOp2::AddWide, .. }
            );
        }
        Self { writes: program.writes(), same: vec![None; count], sums: vec![None; count], is_wide }
    }

    /// Returns whether the register is written at most once. Constants that are created meanwhile have no entries.
    fn is_stable(&self, reg: Reg) -> bool {
        self.writes.get(reg.index()).is_none_or(|writes| *writes <= 1)
    }

    /// Returns whether the register is written at most once, and has 32 bits.
    fn is_word(&self, reg: Reg) -> bool {
        self.is_stable(reg) && self.is_wide.get(reg.index()).is_none_or(|is_wide| !is_wide)
    }
}

/// Returns whether a relation of two words holds.
fn holds(relation: Relation, kind: Kind, a: u32, b: u32) -> bool {
    let order = if kind == Kind::Signed { a.cast_signed().cmp(&b.cast_signed()) } else { a.cmp(&b) };
    match relation {
        Relation::Eq => order.is_eq(),
        Relation::Ne => order.is_ne(),
        Relation::Lt => order.is_lt(),
        Relation::Le => order.is_le(),
        Relation::Gt => order.is_gt(),
        Relation::Ge => order.is_ge(),
    }
}

/// Returns the result of an op on constants, unless it may be wide.
fn evaluate(op: ScalarOp2, a: u32, b: u32) -> Option<u32> {
    Some(match op {
        ScalarOp2::Add => a.wrapping_add(b),
        ScalarOp2::AddWide => return None,
        ScalarOp2::Sub => a.wrapping_sub(b),
        ScalarOp2::Mul => a.wrapping_mul(b),
        ScalarOp2::And => a & b,
        ScalarOp2::Or => a | b,
        ScalarOp2::Xor => a ^ b,
        ScalarOp2::Shl => a.wrapping_shl(b),
        ScalarOp2::Shr => a.wrapping_shr(b),
        ScalarOp2::Sar => a.cast_signed().wrapping_shr(b).cast_unsigned(),
        ScalarOp2::RotateLeft => a.rotate_left(b % 32),
        ScalarOp2::RotateRight => a.rotate_right(b % 32),
        ScalarOp2::MinUnsigned => a.min(b),
        ScalarOp2::MaxUnsigned => a.max(b),
        ScalarOp2::MinSigned => a.cast_signed().min(b.cast_signed()).cast_unsigned(),
        ScalarOp2::MaxSigned => a.cast_signed().max(b.cast_signed()).cast_unsigned(),
        ScalarOp2::DivUnsigned => a.checked_div(b).unwrap_or(a),
        ScalarOp2::RemUnsigned => a.checked_rem(b).unwrap_or(0),
    })
}

/// Returns the position of the operand that an op returns, if one of them is a constant that has it do so.
fn returned(op: ScalarOp2, a: Option<u32>, b: Option<u32>) -> Option<usize> {
    let neutral = match op {
        ScalarOp2::Add | ScalarOp2::Or | ScalarOp2::Xor => [Some(0), Some(0)],
        ScalarOp2::Mul => [Some(1), Some(1)],
        ScalarOp2::And => [Some(u32::MAX), Some(u32::MAX)],
        ScalarOp2::Sub
        | ScalarOp2::Shl
        | ScalarOp2::Shr
        | ScalarOp2::Sar
        | ScalarOp2::RotateLeft
        | ScalarOp2::RotateRight => [None, Some(0)],
        ScalarOp2::MaxUnsigned => [Some(0), Some(0)],
        ScalarOp2::MinUnsigned => [Some(u32::MAX), Some(u32::MAX)],
        ScalarOp2::DivUnsigned => [None, Some(1)],
        ScalarOp2::AddWide | ScalarOp2::MinSigned | ScalarOp2::MaxSigned | ScalarOp2::RemUnsigned => {
            [None, None]
        }
    };
    match neutral {
        [_, Some(bits)] if b == Some(bits) => Some(0),
        [Some(bits), _] if a == Some(bits) => Some(1),
        _ => None,
    }
}

impl Program {
    /// Replaces scalars that are known by constants and by the registers that they are equal to, and decides branches.
    pub(crate) fn fold(&mut self) {
        let mut known = Known::of(self);
        let steps = std::mem::take(&mut self.steps);
        for mut step in steps {
            step.replace_reads(&known.same);
            let Some(to) = step.uses().write else {
                self.steps.extend(self.decided(step));
                continue;
            };
            match self.equal(&known, &step) {
                Some(same) if known.writes[to.index()] == 1 => known.same[to.index()] = Some(same),
                Some(from) => self.steps.push(Step::Move { to, from }),
                None => self.steps.push(step),
            }
            if let Step::Scalar { op: ScalarOp2::Add, a, b, .. } = step
                && known.is_stable(to)
            {
                known.sums[to.index()] = Some([a, b]);
            }
        }
    }

    /// Returns the register that always has the same contents as the one that a step writes.
    fn equal(&mut self, known: &Known, step: &Step) -> Option<Reg> {
        match *step {
            Step::Scalar { op, a, b, .. } => {
                let [x, y] = [a, b].map(|reg| self.constant(reg));
                if let (Some(x), Some(y)) = (x, y)
                    && let Some(bits) = evaluate(op, x, y)
                {
                    return Some(self.input(Class::Scalar, Input::Constant(bits)));
                }
                if let Some(position) = returned(op, x, y) {
                    return Some([a, b][position]).filter(|reg| known.is_word(*reg));
                }
                // The rest of a sum from which an operand is subtracted.
                let (ScalarOp2::Sub, Some(Some(sum))) = (op, known.sums.get(a.index())) else { return None };
                let rest = match *sum {
                    [first, rest] if first == b && known.is_stable(b) => rest,
                    [rest, second] if second == b && known.is_stable(b) => rest,
                    _ => return None,
                };
                Some(rest).filter(|reg| known.is_word(*reg))
            }
            Step::CompareScalar { relation, kind, a, b, .. } => {
                let result = holds(relation, kind, self.constant(a)?, self.constant(b)?);
                Some(self.input(Class::Scalar, Input::Constant(result.into())))
            }
            Step::SelectScalar { condition, yes, no, .. } => {
                let chosen = if self.constant(condition)? == 0 { no } else { yes };
                Some(chosen).filter(|reg| known.is_word(*reg))
            }
            Step::Broadcast { from, .. } => {
                let bits = self.constant(from)?;
                Some(self.input(Class::Vector, Input::Constant(bits)))
            }
            _ => None,
        }
    }

    /// Returns a step without the branch that it may be, if constants decide about it.
    fn decided(&self, step: Step) -> Option<Step> {
        if let Step::Branch { relation, kind, a, b, to } = step
            && let (Some(a), Some(b)) = (self.constant(a), self.constant(b))
        {
            return holds(relation, kind, a, b).then_some(Step::Jump(to));
        }
        Some(step)
    }
}

#[cfg(test)]
mod tests {
    use fulgurite_spec::{Op, ScalarType, eval};

    use super::*;

    const ALL: [(ScalarOp2, Op, ScalarType); 15] = [
        (ScalarOp2::Add, Op::Add, ScalarType::U32),
        (ScalarOp2::Sub, Op::Sub, ScalarType::U32),
        (ScalarOp2::Mul, Op::Mul, ScalarType::U32),
        (ScalarOp2::And, Op::And, ScalarType::U32),
        (ScalarOp2::Or, Op::Or, ScalarType::U32),
        (ScalarOp2::Xor, Op::Xor, ScalarType::U32),
        (ScalarOp2::Shl, Op::Shl, ScalarType::U32),
        (ScalarOp2::Shr, Op::Shr, ScalarType::U32),
        (ScalarOp2::Sar, Op::Shr, ScalarType::I32),
        (ScalarOp2::MinUnsigned, Op::Min, ScalarType::U32),
        (ScalarOp2::MaxUnsigned, Op::Max, ScalarType::U32),
        (ScalarOp2::MinSigned, Op::Min, ScalarType::I32),
        (ScalarOp2::MaxSigned, Op::Max, ScalarType::I32),
        (ScalarOp2::DivUnsigned, Op::Div, ScalarType::U32),
        (ScalarOp2::RemUnsigned, Op::Rem, ScalarType::U32),
    ];

    #[test]
    fn constants_are_what_the_op_table_says() {
        let words = [0, 1, 2, 3, 31, 32, 33, 100, 1 << 31, i32::MAX as u32, u32::MAX - 1, u32::MAX];
        for (step, op, ty) in ALL {
            for a in words {
                for b in words {
                    let wanted = eval::scalar(op, ty, ty, &[a.into(), b.into()]).unwrap() as u32;
                    assert_eq!(evaluate(step, a, b), Some(wanted), "{step:?} {a} {b}");
                    for (known, operand) in [([Some(a), None], b), ([None, Some(b)], a)] {
                        if let Some(position) = returned(step, known[0], known[1]) {
                            assert_eq!([a, b][position], operand, "{step:?} {a} {b}");
                            assert_eq!(wanted, operand, "{step:?} {a} {b}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn known_scalars_and_branches_go_and_variables_stay() {
        let mut program = Program::default();
        let [three, four, one] = [3, 4, 1].map(|bits| program.input(Class::Scalar, Input::Constant(bits)));
        let given = program.input(Class::Scalar, Input::GlobalId(1));
        let [seven, sum, rest, variable, used] = [0; 5].map(|_| program.reg(Class::Scalar));
        let label = program.label();
        let scalar = |op, to, a, b| Step::Scalar { op, to, a, b };
        program.steps = vec![
            scalar(ScalarOp2::Add, seven, three, four),
            scalar(ScalarOp2::Add, sum, given, seven),
            scalar(ScalarOp2::Sub, rest, sum, seven),
            Step::Move { to: variable, from: three },
            scalar(ScalarOp2::Mul, variable, variable, one),
            Step::Branch { relation: Relation::Lt, kind: Kind::Unsigned, a: seven, b: four, to: label },
            scalar(ScalarOp2::Xor, used, rest, variable),
            Step::Bind(label),
        ];
        program.fold();
        let seven = program.input(Class::Scalar, Input::Constant(7));
        assert_eq!(
            program.steps,
            [
                scalar(ScalarOp2::Add, sum, given, seven),
                Step::Move { to: variable, from: three },
                scalar(ScalarOp2::Mul, variable, variable, one),
                scalar(ScalarOp2::Xor, used, given, variable),
                Step::Bind(label),
            ]
        );
    }
}
