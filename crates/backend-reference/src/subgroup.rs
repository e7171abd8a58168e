//! Semantics of subgroup ops on the values of all lanes, independent of scheduling.

use fulgurite_ir::Combine;
use fulgurite_spec::eval::{self, Components};
use fulgurite_spec::{SubgroupOp, Type};

/// Splits 128 bits into four `u32`, low word first.
pub(crate) fn mask(bits: u128) -> Components {
    core::array::from_fn(|word| u64::from((bits >> (32 * word)) as u32))
}

/// Returns the result of `op` in each lane, from the first operand, of type `ty`, and the second operand of all lanes;
/// `None` if the operands do not fit, which verification rules out.
pub(crate) fn apply(
    op: SubgroupOp,
    combine: Option<Combine>,
    ty: Type,
    values: &[Components],
    others: &[Components],
) -> Option<Vec<Components>> {
    let count = values.len();
    let all = |value: Components| vec![value; count];
    let set = |lanes: &mut dyn Iterator<Item = bool>| {
        lanes.enumerate().fold(0u128, |bits, (lane, holds)| bits | u128::from(holds) << lane)
    };
    let is_true = |value: &Components| value[0] & 1 != 0;
    // The value of another lane, or the lane's own if that lane does not exist.
    let from = |lane: usize, other: Option<u64>| {
        let other = other.and_then(|other| values.get(usize::try_from(other).ok()?));
        other.copied().unwrap_or(values[lane])
    };
    let lanes = 0..count;
    Some(match op {
        SubgroupOp::Reduce => all(*scan(combine?, ty, values)?.last()?),
        SubgroupOp::InclusiveScan => scan(combine?, ty, values)?.split_off(1),
        SubgroupOp::ExclusiveScan => {
            let mut scanned = scan(combine?, ty, values)?;
            scanned.pop();
            scanned
        }
        SubgroupOp::Broadcast | SubgroupOp::Shuffle => {
            lanes.map(|lane| from(lane, Some(others[lane][0]))).collect()
        }
        SubgroupOp::ShuffleXor => lanes.map(|lane| from(lane, Some(lane as u64 ^ others[lane][0]))).collect(),
        SubgroupOp::ShuffleUp => {
            lanes.map(|lane| from(lane, (lane as u64).checked_sub(others[lane][0]))).collect()
        }
        SubgroupOp::ShuffleDown => {
            lanes.map(|lane| from(lane, (lane as u64).checked_add(others[lane][0]))).collect()
        }
        SubgroupOp::Ballot => all(mask(set(&mut values.iter().map(is_true)))),
        SubgroupOp::BallotCount => all(eval::splat_low(values.iter().filter(|v| is_true(v)).count() as u64)),
        SubgroupOp::Match => {
            values.iter().map(|own| mask(set(&mut values.iter().map(|v| v[0] == own[0])))).collect()
        }
        SubgroupOp::Any => all(eval::splat_low(u64::from(values.iter().any(is_true)))),
        SubgroupOp::All => all(eval::splat_low(u64::from(values.iter().all(is_true)))),
        SubgroupOp::Elect => lanes.map(|lane| eval::splat_low(u64::from(lane == 0))).collect(),
    })
}

/// Returns the identity, followed by the inclusive scan. The first value is not combined with the identity, which could
/// change the sign of a zero.
fn scan(combine: Combine, ty: Type, values: &[Components]) -> Option<Vec<Components>> {
    let mut identity = [0; 4];
    identity[..ty.lanes.count() as usize].fill(combine.identity(ty.scalar));
    let mut all = vec![identity];
    let mut before = None;
    for value in values {
        let next = match before {
            None => *value,
            Some(before) => eval::eval(combine.op(), ty, ty, &[before, *value])?,
        };
        before = Some(next);
        all.push(next);
    }
    Some(all)
}
