//! Typing rules that the op table does not contain: ids, `vec.shuffle` and subgroup ops. Used by the builder, the
//! parser and the verifier.

use fulgurite_spec::{Code, IdOp, Lanes, Op, SubgroupOp, Type, TypeSet};

use crate::kernel::Combine;
use crate::typing::{TypingError, counted, error};

/// The type of lane masks: 128 bits, one for each possible lane of a subgroup.
const MASK: Type = Type::vector(fulgurite_spec::ScalarType::U32, Lanes::Four);

/// Returns the type of an id.
pub const fn id_type(op: Op) -> Type {
    match IdOp::of(op) {
        Some(IdOp::LaneMaskLt) => MASK,
        Some(
            IdOp::GlobalId
            | IdOp::LocalId
            | IdOp::WorkgroupId
            | IdOp::NumWorkgroups
            | IdOp::LocalIndex
            | IdOp::Lane
            | IdOp::SubgroupId
            | IdOp::SubgroupSize
            | IdOp::NumSubgroups,
        )
        | None => Type::U32,
    }
}

/// Returns the result type of `vec.shuffle` with these positions on vectors of these types.
///
/// # Errors
/// The broken rule.
pub fn shuffle_result(components: &[u8], a: Type, b: Type) -> Result<Type, TypingError> {
    if !a.is_vector() {
        return Err(error(
            Code::TypeMismatch,
            Some(0),
            format!("`vec.shuffle` works on vectors, not on {a}"),
        ));
    }
    if a != b {
        let message = format!("operand 2 of `vec.shuffle` must be {a} here, is {b}");
        return Err(error(Code::TypeMismatch, Some(1), message));
    }
    let lanes = Lanes::from_count(components.len() as u32).filter(|l| *l != Lanes::One);
    let Some(lanes) = lanes else {
        let message = format!("`vec.shuffle` picks 2 to 4 components, not {}", components.len());
        return Err(error(Code::BadAttribute, None, message));
    };
    let most = 2 * a.lanes.count() - 1;
    if let Some(bad) = components.iter().find(|c| u32::from(**c) > most) {
        let message = format!("two vectors of {a} have components 0 to {most}, not {bad}");
        return Err(error(Code::BadAttribute, None, message));
    }
    Ok(a.with_lanes(lanes))
}

/// Returns the result type of a subgroup op on operands of these types.
///
/// # Errors
/// The broken rule.
pub fn subgroup_result(op: Op, combine: Option<Combine>, operands: &[Type]) -> Result<Type, TypingError> {
    let name = op.mnemonic();
    let member = SubgroupOp::of(op);
    let combines = member.is_some_and(SubgroupOp::combines);
    if combines != combine.is_some() {
        let message = if combines {
            format!("`{name}` states how it combines: `{name}[add]`")
        } else {
            format!("`{name}` combines no values")
        };
        return Err(error(Code::BadAttribute, None, message));
    }
    let Some(op) = member else {
        return Err(error(Code::Malformed, None, format!("`{name}` does not work across a subgroup")));
    };
    let any = TypeSet::NUMERIC.union(TypeSet::BOOL);
    // The scalar types allowed for the value, whether it may be a vector, and whether a `u32` operand follows.
    let (wanted, vectors, follows) = match op {
        SubgroupOp::Reduce | SubgroupOp::InclusiveScan | SubgroupOp::ExclusiveScan => {
            (combine.map_or(TypeSet::EMPTY, Combine::domain), true, false)
        }
        SubgroupOp::Broadcast
        | SubgroupOp::Shuffle
        | SubgroupOp::ShuffleXor
        | SubgroupOp::ShuffleUp
        | SubgroupOp::ShuffleDown => (any, true, true),
        SubgroupOp::Ballot | SubgroupOp::BallotCount | SubgroupOp::Any | SubgroupOp::All => {
            (TypeSet::BOOL, false, false)
        }
        SubgroupOp::Match => (TypeSet::NUMERIC, false, false),
        SubgroupOp::Elect => (TypeSet::EMPTY, false, false),
    };
    let count = if op == SubgroupOp::Elect { 0 } else { 1 + usize::from(follows) };
    if operands.len() != count {
        let message = format!("`{name}` takes {}, got {}", counted(count, "operand"), operands.len());
        return Err(error(Code::BadOperandCount, None, message));
    }
    let Some(value) = operands.first().copied() else { return Ok(Type::BOOL) };
    if !wanted.contains(value.scalar) || !(value.is_scalar() || vectors && value.is_vector()) {
        let name = combine.map_or_else(|| name.to_owned(), |c| format!("{name}[{}]", c.name()));
        let scalars = if vectors { "" } else { "scalars of " };
        let message = format!("`{name}` works on {scalars}{wanted}, not on {value}");
        return Err(error(Code::TypeMismatch, Some(0), message));
    }
    if let Some(second) = operands.get(1)
        && *second != Type::U32
    {
        let message = format!("operand 2 of `{name}` must be u32, is {second}");
        return Err(error(Code::TypeMismatch, Some(1), message));
    }
    Ok(match op {
        SubgroupOp::Ballot | SubgroupOp::Match => MASK,
        SubgroupOp::BallotCount => Type::U32,
        SubgroupOp::Any | SubgroupOp::All | SubgroupOp::Elect => Type::BOOL,
        SubgroupOp::Reduce
        | SubgroupOp::InclusiveScan
        | SubgroupOp::ExclusiveScan
        | SubgroupOp::Broadcast
        | SubgroupOp::Shuffle
        | SubgroupOp::ShuffleXor
        | SubgroupOp::ShuffleUp
        | SubgroupOp::ShuffleDown => value,
    })
}
