//! The components of a matrix in row-major order, in the type that they are computed in.

use fulgurite_spec::ScalarType;

use crate::compute::{narrowed, widened};

/// Components in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Components {
    /// `f16`, `bf16` and `f32`.
    Single(Vec<f32>),
    /// `f64`.
    Double(Vec<f64>),
    /// Integers; narrow ones are sign-extended or zero-extended.
    Word(Vec<i32>),
}

/// Extends the low bits of an integer, by its type.
pub(super) fn extended(ty: ScalarType, bits: i32) -> i32 {
    match ty {
        ScalarType::I8 => i32::from(bits as i8),
        ScalarType::U8 => i32::from(bits as u8),
        ScalarType::I32
        | ScalarType::U32
        | ScalarType::Bool
        | ScalarType::I16
        | ScalarType::I64
        | ScalarType::U16
        | ScalarType::U64
        | ScalarType::F16
        | ScalarType::BF16
        | ScalarType::F32
        | ScalarType::F64 => bits,
    }
}

impl Components {
    /// Returns `count` zeros.
    pub(super) fn zeros(ty: ScalarType, count: usize) -> Self {
        match ty {
            ScalarType::F64 => Self::Double(vec![0.0; count]),
            ScalarType::F16 | ScalarType::BF16 | ScalarType::F32 => Self::Single(vec![0.0; count]),
            ScalarType::Bool
            | ScalarType::I8
            | ScalarType::I16
            | ScalarType::I32
            | ScalarType::I64
            | ScalarType::U8
            | ScalarType::U16
            | ScalarType::U32
            | ScalarType::U64 => Self::Word(vec![0; count]),
        }
    }

    /// Maximum size of a component in bytes.
    pub(crate) const MAX_BYTES: usize = 8;

    /// Returns the number of components.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Single(all) => all.len(),
            Self::Double(all) => all.len(),
            Self::Word(all) => all.len(),
        }
    }

    /// Sets all components.
    pub(super) fn fill(&mut self, ty: ScalarType, bits: u64) {
        match self {
            Self::Single(all) => all.fill(widened(ty, bits as u32)),
            Self::Double(all) => all.fill(f64::from_bits(bits)),
            Self::Word(all) => all.fill(extended(ty, bits as i32)),
        }
    }

    /// Sets every `step`th component from `first` on.
    pub(super) fn set_bits(&mut self, ty: ScalarType, first: usize, step: usize, from: &[u64]) {
        match self {
            Self::Single(all) => {
                let to = all[first..].iter_mut().step_by(step);
                to.zip(from).for_each(|(to, bits)| *to = widened(ty, *bits as u32));
            }
            Self::Double(all) => {
                let to = all[first..].iter_mut().step_by(step);
                to.zip(from).for_each(|(to, bits)| *to = f64::from_bits(*bits));
            }
            Self::Word(all) => {
                let to = all[first..].iter_mut().step_by(step);
                to.zip(from).for_each(|(to, bits)| *to = extended(ty, *bits as i32));
            }
        }
    }

    /// Reads the bits of every `step`th component from `first` on.
    pub(super) fn bits(&self, ty: ScalarType, first: usize, step: usize, to: &mut [u64]) {
        match self {
            Self::Single(all) => {
                let from = all[first..].iter().step_by(step);
                to.iter_mut().zip(from).for_each(|(to, value)| *to = narrowed(ty, *value).into());
            }
            Self::Double(all) => {
                let from = all[first..].iter().step_by(step);
                to.iter_mut().zip(from).for_each(|(to, value)| *to = value.to_bits());
            }
            Self::Word(all) => {
                let from = all[first..].iter().step_by(step);
                let mask = ty.mask();
                to.iter_mut().zip(from).for_each(|(to, value)| *to = u64::from(*value as u32) & mask);
            }
        }
    }
}
