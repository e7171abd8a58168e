//! Kernels in a typed, structured SSA form: data structure, builder, text, wire format, verifier, analyses and
//! digest.
//!
//! A [`Kernel`] comes from the [`builder`], from [`text::parse`] or from [`wire::decode`]; [`verify`] turns it into a
//! [`VerifiedKernel`], the only form that backends accept. The front ends, [`builder`] and [`text`], stand on the rest,
//! which knows neither. This crate does not depend on SPIR-V, Vulkan, files or threads. `docs/ir.md` describes the
//! language.
#![forbid(unsafe_code)]

pub mod analysis;
pub mod builder;
mod digest;
pub mod kernel;
mod lint;
pub mod require;
pub mod text;
mod typing;
mod verify;
pub mod wire;

pub use digest::Digest;
pub use kernel::{
    Access, ArrayDecl, AtomicOrder, Block, BlockId, BufferDecl, BufferId, Combine, Const, Control, FloatMode,
    Grid, Initial, Inst, InstId, InstKind, Kernel, LocalId, MatrixInst, Memory, MemoryScopes, Operands,
    ParamDecl, ParamId, PureInst, SharedId, SyncScope, Terminator, Value, ValueDef, ValueId, ViewDecl,
    ViewId, alignment,
};
pub use lint::lint;
pub use verify::{
    TypingError, VerifiedKernel, id_type, main_operand, main_type, mul_add_result, scalar_result,
    shuffle_result, subgroup_result, verify,
};

/// The version of the analyses and of the transformations before lowering. It is raised whenever a change makes any
/// kernel lower differently.
pub const ANALYSIS_VERSION: u32 = 4;
