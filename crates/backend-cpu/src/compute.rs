//! Scalar ops on whole registers: which function applies an op to every lane.
//!
//! Each function is one loop over the lanes around a typed function of [`fulgurite_spec::eval`], so that it means
//! the same and becomes vector code. All lanes are computed, active or not: ops are total.

mod convert;
mod float;
mod integer;

use fulgurite_spec::{Op, ScalarType};

use crate::lanes::{Lanes, WIDTH};

/// A register's position.
pub(crate) type Register = u32;

/// The registers of an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Args {
    /// Where the result goes; none of the operands.
    pub(crate) result: Register,
    /// Operands; those that the op does not have are 0.
    pub(crate) operands: [Register; 4],
}

/// Applies an op to every lane.
pub(crate) type Compute = fn(&mut [Lanes], &Args);

/// The function for `op` on components of type `main` that gives one of type `result`.
///
/// `None` if the op does not work component by component, or not on this type.
pub(crate) fn compute(op: Op, main: ScalarType, result: ScalarType) -> Option<Compute> {
    match op {
        Op::Convert => return convert::compute(main, result),
        Op::Bitcast => return Some(copy),
        Op::Select => return Some(|r, a| ternary(r, a, |c, x, y| if c & 1 != 0 { x } else { y })),
        _ => {}
    }
    match main {
        ScalarType::Bool => boolean(op),
        ScalarType::I32 => integer::signed(op),
        ScalarType::U32 => integer::unsigned(op),
        ScalarType::F32 => float::compute(op),
        _ => None,
    }
}

/// The function that copies its operand.
pub(crate) fn copy(registers: &mut [Lanes], args: &Args) {
    registers[args.result as usize] = registers[args.operands[0] as usize];
}

fn boolean(op: Op) -> Option<Compute> {
    Some(match op {
        Op::And => |r, a| binary(r, a, |x, y| x & y),
        Op::Or => |r, a| binary(r, a, |x, y| x | y),
        Op::Xor | Op::Ne => |r, a| binary(r, a, |x, y| x ^ y),
        Op::Eq => |r, a| binary(r, a, |x, y| x ^ y ^ 1),
        Op::Not => |r, a| unary(r, a, |x| x ^ 1),
        _ => return None,
    })
}

fn unary(registers: &mut [Lanes], args: &Args, op: impl Fn(u32) -> u32) {
    let [a, ..] = args.operands;
    if let Ok([to, a]) = registers.get_disjoint_mut([args.result as usize, a as usize]) {
        for lane in 0..WIDTH {
            to.0[lane] = op(a.0[lane]);
        }
    }
}

fn binary(registers: &mut [Lanes], args: &Args, op: impl Fn(u32, u32) -> u32) {
    let [a, b, ..] = args.operands;
    if a == b {
        return unary(registers, args, |x| op(x, x));
    }
    let positions = [args.result as usize, a as usize, b as usize];
    if let Ok([to, a, b]) = registers.get_disjoint_mut(positions) {
        for lane in 0..WIDTH {
            to.0[lane] = op(a.0[lane], b.0[lane]);
        }
    }
}

fn ternary(registers: &mut [Lanes], args: &Args, op: impl Fn(u32, u32, u32) -> u32) {
    let [a, b, c, _] = args.operands;
    if a == b {
        return binary(registers, &with(args, [a, c, 0, 0]), |x, y| op(x, x, y));
    }
    if a == c {
        return binary(registers, &with(args, [a, b, 0, 0]), |x, y| op(x, y, x));
    }
    if b == c {
        return binary(registers, &with(args, [a, b, 0, 0]), |x, y| op(x, y, y));
    }
    let positions = [args.result as usize, a as usize, b as usize, c as usize];
    if let Ok([to, a, b, c]) = registers.get_disjoint_mut(positions) {
        for lane in 0..WIDTH {
            to.0[lane] = op(a.0[lane], b.0[lane], c.0[lane]);
        }
    }
}

/// Four operands are rare: they are copied, and may coincide.
fn quaternary(registers: &mut [Lanes], args: &Args, op: impl Fn(u32, u32, u32, u32) -> u32) {
    let [a, b, c, d] = args.operands.map(|r| registers[r as usize]);
    let to = &mut registers[args.result as usize];
    for lane in 0..WIDTH {
        to.0[lane] = op(a.0[lane], b.0[lane], c.0[lane], d.0[lane]);
    }
}

fn with(args: &Args, operands: [Register; 4]) -> Args {
    Args { result: args.result, operands }
}

#[cfg(test)]
mod tests;
