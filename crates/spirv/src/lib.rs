//! Lowering of verified kernels to SPIR-V 1.6 with the Vulkan memory model: [`emit`], a pure function.
//!
//! This crate knows no device: the facts that emission depends on are in its [`Profile`]. The lowering rules and
//! their reasons are in `docs/spirv-lowering.md`.
#![forbid(unsafe_code)]

mod assembler;
mod contents;
mod emit;
mod layout;
mod polls;
mod profile;
mod rules;
mod spv;
mod stored;

pub use layout::{BlockFacts, BlockPlacement, ControlWord, Field, Layout};
pub use profile::{FloatControls, Profile};
pub use rules::Rules;

/// The version of code generation, raised whenever the emitted words of any kernel change. Facts and cache entries
/// about words of another version are invalid.
pub const CODEGEN_VERSION: u32 = 15;

/// The versions of everything that decides how a kernel is lowered: op semantics, analyses, code generation.
const SEMANTICS: [u32; 3] = [fulgurite_spec::SPEC_VERSION, fulgurite_ir::ANALYSIS_VERSION, CODEGEN_VERSION];

/// A SPIR-V module and its layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The module's words. The entry point is `main`, a `GLCompute` shader.
    pub words: Vec<u32>,
    /// Bindings and the parameter block.
    pub layout: Layout,
}

impl Module {
    /// The largest [`id_bound`](Module::id_bound) that every driver must take (SPIR-V, "Universal Limits").
    pub const MAX_ID_BOUND: u32 = 0x3f_ffff;

    /// Returns the bound of the ids: one more than the largest. A host refuses a module whose bound is too large.
    pub fn id_bound(&self) -> u32 {
        self.words.get(3).copied().unwrap_or_default()
    }
}

/// Returns the reason why `kernel` cannot be lowered for `profile`, if there is one. A host checks it before
/// [`emit`].
pub fn unsupported(kernel: &fulgurite_ir::VerifiedKernel, profile: &Profile) -> Option<String> {
    emit::unsupported(kernel, profile)
}

/// Emits `kernel` for a device described by `profile`. A pure function: equal inputs give equal words.
pub fn emit(kernel: &fulgurite_ir::VerifiedKernel, profile: &Profile) -> Module {
    emit::emit(kernel, profile)
}
