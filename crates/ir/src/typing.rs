//! The typing rule of scalar ops, derived from the op table. Used by the builder, the parser and the verifier.

use core::fmt;

use fulgurite_spec::eval::{self, result_type};
use fulgurite_spec::{Code, ElementwiseOp, LaneRule, Op, Operand, Outcome, Semantics, Type};

/// The error when operands do not match an op.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypingError {
    /// Diagnostic code.
    pub code: Code,
    /// The position of the operand at fault, if it is an operand.
    pub operand: Option<usize>,
    message: String,
}

impl fmt::Display for TypingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

pub(crate) fn error(code: Code, operand: Option<usize>, message: String) -> TypingError {
    TypingError { code, operand, message }
}

/// Returns the main type of a scalar op: the type of its first `Same` operand in the op table, or the component type
/// for `construct`. Returns `None` if there is no such operand.
pub fn main_type(op: Op, operands: &[Type]) -> Option<Type> {
    operands.get(main_operand(op)?).copied()
}

/// Returns the position of the operand whose type is the [`main_type`].
pub fn main_operand(op: Op) -> Option<usize> {
    match op.info().semantics {
        Semantics::Scalar { alike: true, .. } => Some(0),
        Semantics::Scalar { operands: kinds, .. } => kinds.iter().position(|k| *k == Operand::Same),
        Semantics::Special(_) => Some(0),
    }
}

/// Returns the result type of scalar op `op` on operands of the given types. `stated` is the result type in the
/// program: `convert`, `bitcast` and `unpack` require one; for other ops it must agree if present.
///
/// # Errors
/// The broken rule of the op table.
pub fn scalar_result(op: Op, operands: &[Type], stated: Option<Type>) -> Result<Type, TypingError> {
    if let Some(first) = operands.first()
        && stated.is_none_or(|stated| stated == *first)
        && is_of_equals(op, operands.iter().copied(), *first)
    {
        return Ok(*first);
    }
    let name = op.mnemonic();
    if op == Op::Construct {
        return construct_result(operands, stated);
    }
    if operands.iter().chain(&stated).any(|t| t.is_matrix()) {
        return match elementwise_result(op, operands) {
            Ok(result) if stated.is_some_and(|s| s != result) => {
                Err(error(Code::BadResultType, None, format!("`{name}` yields {result} here")))
            }
            other => other,
        };
    }
    let Semantics::Scalar { domain, operands: kinds, outcome, .. } = op.info().semantics else {
        return Err(error(
            Code::UnknownOp,
            None,
            format!("`{name}` is not a function of its operands alone"),
        ));
    };
    if kinds.len() != operands.len() {
        return Err(error(
            Code::BadOperandCount,
            None,
            format!("`{name}` takes {}, got {}", counted(kinds.len(), "operand"), operands.len()),
        ));
    }
    let Some(main) = main_type(op, operands) else {
        return Err(error(Code::BadOperandCount, None, format!("`{name}` has no operands")));
    };
    let main_position = kinds.iter().position(|k| *k == Operand::Same);
    if !domain.contains(main.scalar) {
        return Err(error(
            Code::TypeMismatch,
            main_position,
            format!("`{name}` works on {domain}, not on {main}"),
        ));
    }
    if !eval::lane_counts(op).any(|l| l == main.lanes) {
        return Err(error(
            Code::TypeMismatch,
            main_position,
            format!(
                "`{name}` works on {}, not on {main}",
                if main.is_scalar() { "vectors" } else { "scalars" }
            ),
        ));
    }
    for (position, (kind, actual)) in kinds.iter().zip(operands).enumerate() {
        let wanted = match kind {
            Operand::Same => main,
            Operand::U32Lanes => Type::U32.with_lanes(main.lanes),
            Operand::BoolLanes => Type::BOOL.with_lanes(main.lanes),
            Operand::U32 => Type::U32,
            Operand::Element => main.element(),
        };
        if wanted != *actual {
            return Err(error(
                Code::TypeMismatch,
                Some(position),
                format!("operand {} of `{name}` must be {wanted} here, is {actual}", position + 1),
            ));
        }
    }
    let Some(result) = result_type(outcome, main, stated) else {
        return Err(error(
            Code::BadResultType,
            None,
            match stated {
                _ if outcome == Outcome::Packed => {
                    format!("`{name}` cannot put {main} into one integer: it has {} bits", main.size() * 8)
                }
                Some(stated) if outcome == Outcome::Unpacked => {
                    format!("`{name}` cannot turn {main} into {stated}: that is no vector of the same width")
                }
                Some(stated) => format!("`{name}` cannot turn {main} into {stated}: the lane counts differ"),
                None => format!("`{name}` needs a stated result type: `{name} … -> type`"),
            },
        ));
    };
    if op == Op::Bitcast && result.size() != main.size() {
        return Err(error(
            Code::BadResultType,
            None,
            format!("`bitcast` cannot turn {main} into {result}: the sizes differ"),
        ));
    }
    if !matches!(outcome, Outcome::Stated | Outcome::Unpacked) && stated.is_some_and(|s| s != result) {
        return Err(error(Code::BadResultType, None, format!("`{name}` yields {result} here")));
    }
    Ok(result)
}

/// Returns whether a scalar op is typed correctly in the most common case: operands and result are scalars of one type.
pub(crate) fn is_of_equals(op: Op, mut operands: impl ExactSizeIterator<Item = Type>, result: Type) -> bool {
    let Semantics::Scalar { domain, operands: kinds, alike: true, lanes: LaneRule::Any, .. } =
        &op.info().semantics
    else {
        return false;
    };
    result.is_scalar()
        && domain.contains(result.scalar)
        && kinds.len() == operands.len()
        && operands.all(|operand| operand.is_scalar() && operand.scalar == result.scalar)
}

/// Formats a count with a noun in the singular or plural.
pub(crate) fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

fn construct_result(operands: &[Type], stated: Option<Type>) -> Result<Type, TypingError> {
    let lanes = fulgurite_spec::Lanes::from_count(operands.len() as u32).filter(|_| operands.len() > 1);
    let (Some(lanes), Some(first)) = (lanes, operands.first().copied()) else {
        return Err(error(
            Code::BadOperandCount,
            None,
            format!("`construct` takes 2 to 4 scalars, got {}", operands.len()),
        ));
    };
    if let Some(position) = operands.iter().position(|t| *t != first || !t.is_scalar()) {
        return Err(error(
            Code::TypeMismatch,
            Some(position),
            format!("`construct` takes scalars of one type, got {} and {first}", operands[position]),
        ));
    }
    let result = first.with_lanes(lanes);
    match stated {
        Some(stated) if stated != result => {
            Err(error(Code::BadResultType, None, format!("`construct` yields {result} here")))
        }
        _ => Ok(result),
    }
}

/// Returns the result type of an op of the op table with a matrix operand: elementwise arithmetic or a selection.
fn elementwise_result(op: Op, operands: &[Type]) -> Result<Type, TypingError> {
    let name = op.mnemonic();
    let Some(op) = ElementwiseOp::of(op) else {
        let position = operands.iter().position(|t| t.is_matrix());
        let message = format!("`{name}` does not work on cooperative matrices");
        return Err(error(Code::TypeMismatch, position, message));
    };
    let floats_only = op == ElementwiseOp::Div;
    let (skipped, count) = match op {
        ElementwiseOp::Neg => (0, 1),
        ElementwiseOp::Add | ElementwiseOp::Sub | ElementwiseOp::Mul | ElementwiseOp::Div => (0, 2),
        ElementwiseOp::Select => (1, 3),
    };
    if operands.len() != count {
        let message = format!("`{name}` takes {}, got {}", counted(count, "operand"), operands.len());
        return Err(error(Code::BadOperandCount, None, message));
    }
    let main = operands[skipped];
    if floats_only && !main.scalar.is_float() {
        let message = format!("`{name}` works on matrices of floats, not on {main}");
        return Err(error(Code::TypeMismatch, Some(0), message));
    }
    for (position, actual) in operands.iter().enumerate() {
        let wanted = if position < skipped { Type::BOOL } else { main };
        if *actual != wanted {
            let message = format!("operand {} of `{name}` must be {wanted} here, is {actual}", position + 1);
            return Err(error(Code::TypeMismatch, Some(position), message));
        }
    }
    Ok(main)
}
