//! Ops without a specialized loop: they evaluate the definition lane by lane.

use fulgurite_spec::eval;
use fulgurite_spec::{Op, ScalarType};

use super::{Args, Register, registers_of};
use crate::lanes::{Lanes, WIDTH};

/// A lane-by-lane op on given types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generic {
    op: Op,
    main: ScalarType,
    result: ScalarType,
    /// The types of the op's operands.
    operands: [Option<ScalarType>; 4],
}

impl Generic {
    /// Returns `op` with main type `main` on operands of the given types; `None` if the definition has no such op.
    pub(crate) fn new(
        op: Op,
        main: ScalarType,
        result: ScalarType,
        types: impl IntoIterator<Item = ScalarType>,
    ) -> Option<Self> {
        let mut operands = [None; 4];
        let mut count = 0;
        for ty in types {
            *operands.get_mut(count)? = Some(ty);
            count += 1;
        }
        eval::scalar(op, main, result, &[0; 4][..count])?;
        Some(Self { op, main, result, operands })
    }

    /// Applies the op to every lane.
    pub(crate) fn apply(&self, registers: &mut [Lanes], args: &Args) {
        let operands = || args.operands.iter().zip(&self.operands);
        let count = self.operands.iter().flatten().count();
        for lane in 0..WIDTH {
            let mut values = [0; 4];
            for (value, (register, ty)) in values.iter_mut().zip(operands()) {
                if let Some(ty) = ty {
                    *value = bits(registers, *register, *ty, lane);
                }
            }
            // Cannot fail: `new` evaluated the same op on the same types.
            let result = eval::scalar(self.op, self.main, self.result, &values[..count]).unwrap_or(0);
            set_bits(registers, args.result, self.result, lane, result);
        }
    }
}

/// Returns the bits of one lane of a scalar.
pub(crate) fn bits(registers: &[Lanes], register: Register, ty: ScalarType, lane: usize) -> u64 {
    let mut bits = 0;
    for word in 0..registers_of(ty) {
        bits |= u64::from(registers[(register + word) as usize].0[lane]) << (32 * word);
    }
    bits
}

/// Sets the bits of one lane of a scalar.
pub(crate) fn set_bits(registers: &mut [Lanes], register: Register, ty: ScalarType, lane: usize, bits: u64) {
    for word in 0..registers_of(ty) {
        registers[(register + word) as usize].0[lane] = (bits >> (32 * word)) as u32;
    }
}
