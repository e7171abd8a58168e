//! The input values of programs.

use std::collections::BTreeMap;

use fulgurite_spec::eval::{self, Components};
use fulgurite_spec::{Op, ScalarType, Type};

use super::program::{Column, INVOCATIONS, Source};
use crate::values::{Random, edges};

/// Loaded values per invocation and type.
pub(super) const SLOTS: usize = 8;

/// Values of every scalar type except `bool`: those in buffers, and a parameter.
#[derive(Clone, Debug)]
pub(super) struct Data {
    slots: BTreeMap<ScalarType, Vec<u64>>,
    params: BTreeMap<ScalarType, u64>,
}

impl Data {
    /// Generates edge values and random values.
    pub(super) fn new(random: &mut Random) -> Self {
        let (mut slots, mut params) = (BTreeMap::new(), BTreeMap::new());
        for ty in ScalarType::ALL.into_iter().filter(|ty| *ty != ScalarType::Bool) {
            let edges = edges(ty);
            let mut draw = || match random.below(8) {
                0 | 1 => random.value(ty),
                // The minimum of a signed type, or −0.
                2 => ty.mask() / 2 + 1,
                _ => edges[random.below(edges.len() as u32) as usize],
            };
            slots.insert(ty, (0..SLOTS * INVOCATIONS).map(|_| draw()).collect());
            params.insert(ty, draw());
        }
        Self { slots, params }
    }

    /// Returns the values of `ty` in memory, slot by slot.
    pub(super) fn slots(&self, ty: ScalarType) -> &[u64] {
        self.slots.get(&ty).map_or(&[], Vec::as_slice)
    }

    /// Returns the parameter of type `ty`.
    pub(super) fn param(&self, ty: ScalarType) -> u64 {
        self.params.get(&ty).copied().unwrap_or_default()
    }

    /// Returns an input of type `ty` for every invocation.
    pub(super) fn column(&self, ty: Type, source: Source) -> Column {
        let mut column = Column::ZERO;
        for (invocation, value) in column.values.iter_mut().enumerate() {
            let lanes = ty.lanes.count() as usize;
            for (lane, bits) in value.iter_mut().enumerate().take(lanes) {
                *bits = match source {
                    Source::Slot(slot) => self.slot(ty.scalar, slot + lane, invocation),
                    Source::Literal(bits) => bits & mask(ty.scalar),
                    Source::Param => self.param(ty.scalar),
                    Source::Id => of_word(ty.scalar, invocation as u64),
                };
            }
        }
        column
    }

    fn slot(&self, ty: ScalarType, slot: usize, invocation: usize) -> u64 {
        let at = slot % SLOTS * INVOCATIONS + invocation;
        match ty {
            // Loaded as a word; nonzero is true.
            ScalarType::Bool => of_word(ty, self.slots(ScalarType::U32)[at] & 1),
            ty => self.slots(ty)[at],
        }
    }
}

/// Converts a word to `ty`.
fn of_word(ty: ScalarType, word: u64) -> u64 {
    eval::scalar(Op::Convert, ScalarType::U32, ty, &[word]).unwrap_or_default()
}

fn mask(ty: ScalarType) -> u64 {
    if ty == ScalarType::Bool { 1 } else { ty.mask() }
}

/// Returns values as little-endian bytes of `ty`.
pub(super) fn bytes_of(ty: ScalarType, values: impl Iterator<Item = u64>) -> Vec<u8> {
    let size = ty.size() as usize;
    values.flat_map(|bits| bits.to_le_bytes().into_iter().take(size)).collect()
}

/// Reads one component back.
pub(super) fn component_at(bytes: &[u8], ty: ScalarType, index: usize) -> u64 {
    let size = ty.size() as usize;
    let value: Components = eval::read_bytes(&bytes[index * size..][..size], Type::scalar(ty));
    value[0]
}
