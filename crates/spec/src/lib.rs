//! The vocabulary that every other Fulgurite crate shares: types, the op table, the meaning of each
//! scalar op on bits, device facts and diagnostic codes.
//!
//! This crate owns *what things are and mean*. It does no I/O, holds no kernels, knows no backend and
//! depends on nothing.
#![forbid(unsafe_code)]

pub mod accuracy;
pub mod cache;
pub mod device;
pub mod diagnostic;
pub mod eval;
pub mod limits;
mod matrix;
mod ops;
mod types;
mod words;

pub use diagnostic::{Code, Diagnostic, Diagnostics, Location, Severity};
pub use matrix::{MatrixLayout, MatrixRole, MatrixScope, MatrixShape};
pub use ops::{Family, FloatContract, LaneRule, OPS, Op, OpInfo, Operand, Outcome, Semantics, Special};
pub use types::{Lanes, Literal, ScalarType, Type, TypeSet};

/// The version of what ops mean: raised whenever an input of any op gets another result. What was compiled under another
/// version does not hold.
pub const SPEC_VERSION: u32 = 1;
