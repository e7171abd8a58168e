//! Verified kernels: from typed Rust, from text, from bytes.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use fulgurite_driver_core::Error;
use fulgurite_ir::VerifiedKernel;
use fulgurite_ir::builder::{self, Args, Builder};

/// A verified kernel of arguments `A`. Cheap to clone.
pub struct Kernel<A> {
    verified: Arc<VerifiedKernel>,
    args: PhantomData<fn() -> A>,
}

/// Builds and verifies a kernel of arguments `A`, called `name`, whose arguments are called `names`, with
/// workgroups of `workgroup` invocations along x, y and z. `body` receives the builder and a handle for each
/// argument.
///
/// # Errors
/// [`Error::Invalid`] with everything that is wrong, each with its Rust position.
#[track_caller]
pub fn kernel<A: Args>(
    name: &str,
    names: A::Names,
    workgroup: [u32; 3],
    body: impl for<'k> FnOnce(&'k Builder, A::Handles<'k>),
) -> Result<Kernel<A>, Error> {
    let built = builder::kernel::<A>(name, names, workgroup, body)?;
    Ok(Kernel { verified: Arc::new(fulgurite_ir::verify(built)?), args: PhantomData })
}

/// Parses and verifies the text of a kernel, for [`Context::compile_dynamic`](crate::Context::compile_dynamic).
///
/// # Errors
/// [`Error::Invalid`] with everything that is wrong, each with its line and column;
/// [`render`](crate::render) shows them in the source.
pub fn parse(text: &str) -> Result<Arc<VerifiedKernel>, Error> {
    let kernel = fulgurite_ir::text::parse(text)?;
    Ok(Arc::new(fulgurite_ir::verify(kernel)?))
}

/// Reads and verifies the bytes of a kernel, for [`Context::compile_dynamic`](crate::Context::compile_dynamic).
/// The bytes may come from anywhere: whatever they are, they give a kernel that keeps every rule, or an error.
///
/// # Errors
/// [`Error::Invalid`]: `FG08xx` for bytes that are no kernel's, or everything that the verifier finds wrong.
pub fn decode(bytes: &[u8]) -> Result<Arc<VerifiedKernel>, Error> {
    let kernel = fulgurite_ir::wire::decode(bytes)?;
    Ok(Arc::new(fulgurite_ir::verify(kernel)?))
}

impl<A> Kernel<A> {
    /// The kernel as bytes, to store or send: [`decode`] reads them back. `ir::wire::encode` does the same for a
    /// kernel without Rust types.
    ///
    /// # Errors
    /// `FG0806` for a kernel that takes more than 64 MiB.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        Ok(fulgurite_ir::wire::encode(&self.verified)?)
    }

    /// The kernel without its Rust types. It prints as text.
    pub fn verified(&self) -> &Arc<VerifiedKernel> {
        &self.verified
    }
}

impl<A> Clone for Kernel<A> {
    fn clone(&self) -> Self {
        Self { verified: Arc::clone(&self.verified), args: PhantomData }
    }
}

impl<A> fmt::Debug for Kernel<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.verified, f)
    }
}
