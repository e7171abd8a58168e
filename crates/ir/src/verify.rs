//! The verifier. A verified kernel is safe to interpret, optimize and lower.
//!
//! Five passes check declarations, the structure of the arenas, dominance and types, uniform control flow, and
//! alignment of matrices. Each pass reports all problems that it finds, except that the structure pass stops at the
//! first one and the uniformity pass at a limit. A malformed structure prevents later passes from running; any
//! problem in declarations or types prevents the alignment pass from running.

mod body;
mod declarations;
mod matrix;
mod special;
mod structure;
mod uniform;

pub(crate) use crate::typing::counted;
pub use crate::typing::{TypingError, main_operand, main_type, scalar_result};
pub use matrix::mul_add_result;
pub use special::{id_type, shuffle_result, subgroup_result};

use core::ops::Deref;
use std::sync::OnceLock;

use fulgurite_spec::Diagnostics;

use crate::analysis::UniformityMap;
use crate::digest::Digest;
use crate::kernel::Kernel;

/// A kernel accepted by the verifier. It is immutable. Its digest and the uniformity of its values are computed when they
/// are first asked for.
#[derive(Clone)]
pub struct VerifiedKernel {
    kernel: Kernel,
    digest: OnceLock<Digest>,
    uniformity: OnceLock<UniformityMap>,
}

/// Checks `kernel` against all rules of the language.
///
/// # Errors
/// All diagnostics found, with codes `FG0106`, `FG0107` and `FG0201` to `FG0224`.
pub fn verify(kernel: Kernel) -> Result<VerifiedKernel, Diagnostics> {
    let mut found = Vec::new();
    declarations::check(&kernel, &mut found);
    if let Err(malformed) = structure::check(&kernel) {
        let mut all = Diagnostics::from(malformed);
        all.extend(found);
        return Err(all);
    }
    body::check(&kernel, &mut found);
    let typed = found.is_empty();
    let uniformity = OnceLock::new();
    uniform::check(&kernel, &uniformity, &mut found);
    if typed {
        matrix::alignment(&kernel, &mut found);
    }
    Diagnostics::check(found)?;
    Ok(VerifiedKernel { kernel, digest: OnceLock::new(), uniformity })
}

impl VerifiedKernel {
    /// Returns the digest of the kernel as submitted.
    pub fn digest(&self) -> Digest {
        *self.digest.get_or_init(|| Digest::of(&self.kernel))
    }

    /// Returns the uniformity of all values.
    pub fn uniformity(&self) -> &UniformityMap {
        self.uniformity.get_or_init(|| UniformityMap::of(&self.kernel))
    }

    /// Returns the kernel for modification; it must be verified again.
    pub fn into_kernel(self) -> Kernel {
        self.kernel
    }
}

impl Deref for VerifiedKernel {
    type Target = Kernel;

    fn deref(&self) -> &Kernel {
        &self.kernel
    }
}

impl core::fmt::Debug for VerifiedKernel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(&self.kernel, f)
    }
}

#[cfg(test)]
mod tests;
