//! Kernels: one typed, structured SSA form, with its builder, text, wire format, verifier, analyses and digest.
//!
//! A [`Kernel`] comes from the [`builder`], from [`text::parse`] or from [`wire::decode`]; [`verify`] turns it into a
//! [`VerifiedKernel`], the only form that backends accept. This crate knows neither SPIR-V nor Vulkan nor
//! files nor threads. `docs/ir.md` describes the language.
#![forbid(unsafe_code)]

pub mod analysis;
pub mod builder;
mod digest;
pub mod kernel;
pub mod require;
pub mod text;
mod verify;
pub mod wire;

pub use digest::Digest;
pub use kernel::{
    Access, ArrayDecl, AtomicOrder, Block, BlockId, BufferDecl, BufferId, Combine, Const, FloatMode, Grid,
    Initial, Inst, InstId, InstKind, Kernel, LocalId, Memory, MemoryScopes, Operands, ParamDecl, ParamId,
    SharedId, SyncScope, Terminator, Value, ValueDef, ValueId, ViewDecl, ViewId, alignment,
};
pub use verify::{
    TypingError, VerifiedKernel, id_type, main_operand, main_type, mul_add_result, scalar_result,
    shuffle_result, subgroup_result, verify,
};

/// The version of what the analyses prove, and of what is done to a kernel before it is lowered: raised whenever any
/// kernel is lowered in another way for it.
pub const ANALYSIS_VERSION: u32 = 3;
