//! Faults planted in the emitter: instead of a step, another one is emitted. The random kernels must find each.
//!
//! A fault changes results, not the places that code accesses, which would end the process rather than a test.

use std::cell::Cell;
use std::time::Duration;

use super::{difference, group, random, widths};
use crate::Native;
use crate::native::program::{
    Kind, MaskOp, Relation, ScalarOp2, ShiftOp, Step, Update, VectorOp1, VectorOp2,
};
use crate::tests::grid;

/// Returns the step that is emitted instead of another one.
type Fault = fn(Step) -> Option<Step>;

thread_local! {
    static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// Returns what is emitted for a step.
pub(in crate::native) fn altered(step: Step) -> Step {
    PLANTED.get().and_then(|fault| fault(step)).unwrap_or(step)
}

/// The maximum number of random kernels that may be needed to find a fault.
const MOST_KERNELS: u64 = 300;

/// Faults by what they do.
const FAULTS: &[(&str, Fault)] = &[
    ("a sum for a difference", |step| match step {
        Step::Vector2 { op: VectorOp2::Sub, to, a, b } => {
            Some(Step::Vector2 { op: VectorOp2::Add, to, a, b })
        }
        _ => None,
    }),
    ("the maximum for the minimum", |step| match step {
        Step::Vector2 { op: VectorOp2::MinSigned, to, a, b } => {
            Some(Step::Vector2 { op: VectorOp2::MaxSigned, to, a, b })
        }
        _ => None,
    }),
    ("the low half of a product for the high one", |step| match step {
        Step::Vector2 { op: VectorOp2::MulHighUnsigned, to, a, b } => {
            Some(Step::Vector2 { op: VectorOp2::Mul, to, a, b })
        }
        _ => None,
    }),
    ("a shift without copies of the sign", |step| match step {
        Step::ShiftBy { op: ShiftOp::RightSigned, to, a, by } => {
            Some(Step::ShiftBy { op: ShiftOp::Right, to, a, by })
        }
        _ => None,
    }),
    ("a shift by one bit less", |step| match step {
        Step::ShiftBy { op: ShiftOp::Left, to, a, by: by @ 1.. } => {
            Some(Step::ShiftBy { op: ShiftOp::Left, to, a, by: by - 1 })
        }
        _ => None,
    }),
    ("a rotation to the other side", |step| match step {
        Step::Vector2 { op: VectorOp2::Shift(ShiftOp::RotateLeft), to, a, b } => {
            Some(Step::Vector2 { op: VectorOp2::Shift(ShiftOp::RotateRight), to, a, b })
        }
        Step::ShiftBy { op: ShiftOp::RotateLeft, to, a, by } => {
            Some(Step::ShiftBy { op: ShiftOp::RotateRight, to, a, by })
        }
        _ => None,
    }),
    ("a quotient for a remainder", |step| match step {
        Step::Vector2 { op: VectorOp2::RemUnsigned, to, a, b } => {
            Some(Step::Vector2 { op: VectorOp2::DivUnsigned, to, a, b })
        }
        _ => None,
    }),
    ("floats rounded down, not to nearest", |step| match step {
        Step::Vector1 { op: VectorOp1::Round, to, a } => Some(Step::Vector1 { op: VectorOp1::Floor, to, a }),
        _ => None,
    }),
    ("unsigned integers of floats as signed ones", |step| match step {
        Step::Vector1 { op: VectorOp1::UnsignedOfFloat, to, a } => {
            Some(Step::Vector1 { op: VectorOp1::SignedOfFloat, to, a })
        }
        _ => None,
    }),
    ("a comparison that equal operands pass", |step| match step {
        Step::Compare { relation: Relation::Lt, kind, to, a, b } => {
            let relation = Relation::Le;
            (kind != Kind::Unsigned).then_some(Step::Compare { relation, kind, to, a, b })
        }
        _ => None,
    }),
    ("the choice of the other operand", |step| match step {
        Step::Blend { to, mask, yes, no } => Some(Step::Blend { to, mask, yes: no, no: yes }),
        _ => None,
    }),
    ("the choice of the other scalar", |step| match step {
        Step::SelectScalar { to, condition, yes, no } => {
            Some(Step::SelectScalar { to, condition, yes: no, no: yes })
        }
        _ => None,
    }),
    ("the union of masks for their difference", |step| match step {
        Step::Mask { op: MaskOp::Xor, to, a, b } => Some(Step::Mask { op: MaskOp::Or, to, a, b }),
        _ => None,
    }),
    ("a scalar sum for a bitwise one", |step| match step {
        Step::Scalar { op: ScalarOp2::Xor, to, a, b } => Some(Step::Scalar { op: ScalarOp2::Or, to, a, b }),
        _ => None,
    }),
    ("lanes as they are, not those asked for", |step| match step {
        Step::Permute { to, a, .. } => Some(Step::Move { to, from: a }),
        _ => None,
    }),
    ("the old word not replaced", |step| match step {
        Step::Atomic { update: Update::Exchange, to, words, mask, a, b, is_locked } => {
            Some(Step::Atomic { update: Update::Or, to, words, mask, a, b, is_locked })
        }
        _ => None,
    }),
    ("narrow values without their sign", |step| match step {
        Step::LoadRowNarrow { to, words, width, is_signed } => {
            Some(Step::LoadRowNarrow { to, words, width, is_signed: !is_signed })
        }
        _ => None,
    }),
];

/// Returns whether a random kernel gives another result with a fault.
fn is_found(native: Native, fault: Fault) -> bool {
    // The fault is planted for each compilation of native code, which the interpreter does not need.
    let differs = |(kernel, contents, params): (_, Vec<Vec<u32>>, Vec<u64>)| {
        // A loop that does not end is a difference as well.
        let options = grid(3).timeout(Duration::from_secs(5));
        PLANTED.set(Some(fault));
        let difference = difference(native, &kernel, &contents, &params, &options);
        PLANTED.set(None);
        difference.is_some()
    };
    (0..MOST_KERNELS).any(|seed| {
        differs(random::random_launch(seed))
            || differs(group::random_launch(seed))
            || differs(group::update_launch(seed))
    })
}

#[test]
fn every_planted_fault_is_found() {
    for native in widths() {
        let missed: Vec<&str> =
            FAULTS.iter().filter(|(_, fault)| !is_found(native, *fault)).map(|(name, _)| *name).collect();
        assert!(missed.is_empty(), "{native:?}: {missed:?}");
    }
}
