//! The vocabulary shared by all other Fulgurite crates: types, the op table, the semantics of each scalar op, device
//! facts and diagnostic codes.
//!
//! Defines what things are and mean. Does no I/O, contains no kernels or backends, and has no dependencies.
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
pub use ops::{
    AtomicOp, BoolOp, CompareOp, ElementwiseOp, Family, FloatContract, FloatOp, IdOp, IntegerOp, LaneRule,
    MatrixOp, MemoryOp, OPS, Op, OpClass, OpInfo, Operand, Outcome, ScalarOp, Semantics, Special, SubgroupOp,
    TranscendentalOp,
};
pub use types::{Lanes, Literal, ScalarClass, ScalarType, Type, TypeSet};

/// Version of the op semantics, raised whenever an op's result changes for any input. Kernels compiled under another
/// version are invalid.
pub const SPEC_VERSION: u32 = 1;
