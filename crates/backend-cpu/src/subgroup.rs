//! Ops across the lanes of subgroups, of which the 64 lanes of a chunk form two or more.
//!
//! Control flow is uniform in a subgroup, so all of its lanes participate or none. Only lanes beyond the end of the
//! workgroup are missing; they are always the last ones.

use fulgurite_spec::ScalarType;

use crate::compute::{Args, Compute, Register, bits, registers_of, set_bits};
use crate::lanes::{Lanes, Mask, WIDTH, first_lanes, mask_of};

/// The kind of a reduction or scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScanKind {
    /// Combines all lanes.
    Reduce,
    /// Combines the lanes up to this one.
    Inclusive,
    /// Combines the lanes before this one.
    Exclusive,
}

/// A reduction or scan of a scalar.
#[derive(Clone, Copy)]
pub(crate) struct Scan {
    pub(crate) kind: ScanKind,
    /// Combines two values.
    pub(crate) combine: Compute,
    pub(crate) ty: ScalarType,
    /// Bits of the identity, with which an exclusive scan begins.
    pub(crate) identity: u64,
    pub(crate) value: Register,
    pub(crate) to: Register,
    /// Temporary registers of two scalars.
    pub(crate) scratch: [Register; 2],
}

/// The lane that a lane gets its value from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The lane given by the operand: `subgroup.broadcast` and `subgroup.shuffle`.
    Lane,
    /// The lane whose number is this one's exclusive-or the operand.
    Xor,
    /// The lane at the operand's distance below.
    Up,
    /// The lane at the operand's distance above.
    Down,
}

/// An op that moves values between lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shuffle {
    pub(crate) source: Source,
    pub(crate) ty: ScalarType,
    pub(crate) value: Register,
    /// The lane, mask or distance.
    pub(crate) other: Register,
    pub(crate) to: Register,
}

/// The result of a vote, ballot or match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VoteKind {
    /// The lanes where the operand is true.
    Ballot,
    /// The number of these.
    BallotCount,
    /// The lanes with the same value.
    Match,
    /// Whether the operand is true in any lane.
    Any,
    /// Whether it is true in all.
    All,
    /// Whether this is the first lane.
    Elect,
}

/// A vote, ballot or match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vote {
    pub(crate) kind: VoteKind,
    /// The type of the value.
    pub(crate) ty: ScalarType,
    pub(crate) value: Register,
    /// The result: one component, or four for a set of 128 lanes.
    pub(crate) to: [Register; 4],
}

/// Computes a scan in subgroups of `size` lanes, in steps of doubling distance.
pub(crate) fn scan(scan: &Scan, registers: &mut [Lanes], all: Mask, size: usize) {
    let words = 0..registers_of(scan.ty);
    let [shifted, combined] = scan.scratch;
    for word in words.clone() {
        registers[(scan.to + word) as usize] = registers[(scan.value + word) as usize];
    }
    let mut distance = 1;
    while distance < size {
        for word in words.clone() {
            let from = registers[(scan.to + word) as usize];
            registers[(shifted + word) as usize].0[distance..].copy_from_slice(&from.0[..WIDTH - distance]);
        }
        let args = Args { result: combined, operands: [shifted, scan.to, 0, 0] };
        (scan.combine)(registers, &args);
        for word in words.clone() {
            let from = registers[(combined + word) as usize];
            for (lane, to) in registers[(scan.to + word) as usize].0.iter_mut().enumerate() {
                *to = if lane % size >= distance { from.0[lane] } else { *to };
            }
        }
        distance *= 2;
    }
    for word in words {
        let to = &mut registers[(scan.to + word) as usize].0;
        let identity = (scan.identity >> (32 * word)) as u32;
        for (subgroup, lanes) in to.chunks_exact_mut(size).enumerate() {
            match scan.kind {
                ScanKind::Inclusive => {}
                ScanKind::Reduce => {
                    let count = (all >> (size * subgroup) & first_lanes(size)).count_ones() as usize;
                    let last = lanes[count.clamp(1, size) - 1];
                    lanes.fill(last);
                }
                ScanKind::Exclusive => {
                    lanes.copy_within(..size - 1, 1);
                    lanes[0] = identity;
                }
            }
        }
    }
}

/// Moves values between lanes; a lane whose source is missing keeps its own value.
pub(crate) fn shuffle(shuffle: &Shuffle, registers: &mut [Lanes], all: Mask, size: usize) {
    let others = registers[shuffle.other as usize];
    let mut sources = [0u8; WIDTH];
    for (lane, source) in sources.iter_mut().enumerate() {
        let (own, other) = ((lane % size) as u32, others.0[lane]);
        let wanted = match shuffle.source {
            Source::Lane => Some(other),
            Source::Xor => Some(own ^ other),
            Source::Up => own.checked_sub(other),
            Source::Down => own.checked_add(other),
        };
        let there = wanted
            .filter(|wanted| (*wanted as usize) < size)
            .map(|wanted| lane - lane % size + wanted as usize)
            .filter(|source| all >> source & 1 != 0);
        *source = there.unwrap_or(lane) as u8;
    }
    for word in 0..registers_of(shuffle.ty) {
        let from = registers[(shuffle.value + word) as usize];
        for (to, source) in registers[(shuffle.to + word) as usize].0.iter_mut().zip(sources) {
            *to = from.0[usize::from(source) % WIDTH];
        }
    }
}

/// Computes a vote, ballot or match.
pub(crate) fn vote(vote: &Vote, registers: &mut [Lanes], all: Mask, size: usize) {
    // Computes a result of the lanes of the same subgroup where the operand is true, and of all of its lanes.
    let counted = |result: fn(Mask, Mask) -> u32| -> [u32; WIDTH] {
        let holds = mask_of(&registers[vote.value as usize]) & all;
        core::array::from_fn(|lane| {
            let subgroup = |mask: Mask| mask >> (lane - lane % size) & first_lanes(size);
            result(subgroup(holds), subgroup(all))
        })
    };
    let lanes: [u32; WIDTH] = match vote.kind {
        VoteKind::Elect => core::array::from_fn(|lane| u32::from(lane % size == 0)),
        VoteKind::Match => core::array::from_fn(|lane| {
            let own = bits(registers, vote.value, vote.ty, lane);
            let first = lane - lane % size;
            let is_same =
                |other: &usize| all >> other & 1 != 0 && bits(registers, vote.value, vote.ty, *other) == own;
            (first..first + size).filter(is_same).fold(0, |set, other| set | 1 << (other % size))
        }),
        VoteKind::Ballot => counted(|holds, _| holds as u32),
        VoteKind::BallotCount => counted(|holds, _| holds.count_ones()),
        VoteKind::Any => counted(|holds, _| u32::from(holds != 0)),
        VoteKind::All => counted(|holds, all| u32::from(holds == all)),
    };
    registers[vote.to[0] as usize] = Lanes(lanes);
    if matches!(vote.kind, VoteKind::Ballot | VoteKind::Match) {
        // Subgroups of up to 32 lanes use only the first 32 of the 128 bits.
        for to in &vote.to[1..] {
            registers[*to as usize] = Lanes::splat(0);
        }
    }
}

/// `workgroup_broadcast` of a value of up to four components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broadcast {
    pub(crate) ty: ScalarType,
    pub(crate) count: u32,
    pub(crate) value: [Register; 4],
    /// The invocation whose value is taken; the same in all lanes.
    pub(crate) index: Register,
    pub(crate) to: [Register; 4],
}

impl Broadcast {
    /// Returns the bits of the value in one lane.
    pub(crate) fn get(&self, registers: &[Lanes], lane: usize) -> [u64; 4] {
        self.value.map(|register| bits(registers, register, self.ty, lane))
    }

    /// Copies a value to all lanes.
    pub(crate) fn set(&self, registers: &mut [Lanes], value: [u64; 4]) {
        for (register, bits) in self.to.into_iter().zip(value).take(self.count as usize) {
            for lane in 0..WIDTH {
                set_bits(registers, register, self.ty, lane, bits);
            }
        }
    }
}

#[cfg(test)]
mod tests;
