//! Verified kernels from typed Rust, text and bytes.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use fulgurite_hal::Error;
use fulgurite_ir::VerifiedKernel;
use fulgurite_ir::builder::{self, Args, Builder};

/// A verified kernel with arguments `A`. Cheap to clone.
pub struct Kernel<A> {
    verified: Arc<VerifiedKernel>,
    args: PhantomData<fn() -> A>,
}

/// Builds and verifies the kernel `name` with arguments `A`, named `names`, and workgroups of `workgroup` invocations
/// along x, y and z. `body` receives the builder and a handle for each argument.
///
/// ```
/// use fulgurite::prelude::*;
///
/// // The sum of each workgroup of 64 elements; elements beyond the last are 0.
/// let sums = kernel::<(Read<u32>, Write<u32>)>("sums", ["x", "sums"], [64, 1, 1], |k, (x, sums)| {
///     let sum = k.shared::<u32>("sum", 1);
///     sum.atomic_add(0, x.load(k.global_id().x()));
///     k.barrier_shared();
///     k.if_(k.local_index().eq(0), |k| sums.store(k.workgroup_id().x(), sum.load(0)));
/// })?;
/// let ctx = Context::open()?;
/// let (x, mut y) = (ctx.buffer(&[1u32; 100])?, ctx.zeroed(2)?);
/// ctx.compile(&sums)?.launch_with(&LaunchOptions::invocations([100, 1, 1]), (&x, &mut y))?;
/// assert_eq!(y.read()?, [64, 36]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Invalid`] with every problem found, each with its position in the Rust source.
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
/// ```
/// let source = "fulgurite 1
/// kernel @seven workgroup(1, 1, 1) {
///   buffer %y: write u32[]
///   store %y[0u32], 7i32
/// }
/// ";
/// let error = fulgurite::parse(source).unwrap_err();
/// assert_eq!(error.code(), fulgurite::Code::TypeMismatch);
/// assert!(fulgurite::parse(&source.replace("7i32", "7u32")).is_ok());
/// ```
///
/// # Errors
/// [`Error::Invalid`] with every problem found, each with its line and column; [`render`](crate::render) shows them
/// in the source.
pub fn parse(text: &str) -> Result<Arc<VerifiedKernel>, Error> {
    let kernel = fulgurite_ir::text::parse(text)?;
    Ok(Arc::new(fulgurite_ir::verify(kernel)?))
}

/// Decodes and verifies the bytes of a kernel, for [`Context::compile_dynamic`](crate::Context::compile_dynamic).
/// Untrusted bytes give a valid kernel or an error.
///
/// ```
/// use fulgurite::prelude::*;
///
/// let seven = kernel::<(Write<u32>,)>("seven", ["y"], [1, 1, 1], |_, (y,)| y.store(0, 7))?;
/// let read_back = fulgurite::decode(&seven.to_bytes()?)?;
/// assert_eq!(read_back.digest(), seven.verified().digest());
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Invalid`]: `FG08xx` for malformed bytes, or the diagnostics of the verifier.
pub fn decode(bytes: &[u8]) -> Result<Arc<VerifiedKernel>, Error> {
    let kernel = fulgurite_ir::wire::decode(bytes)?;
    Ok(Arc::new(fulgurite_ir::verify(kernel)?))
}

impl<A> Kernel<A> {
    /// Encodes the kernel as bytes that [`decode`] reads. `ir::wire::encode` does the same for a kernel without Rust
    /// types.
    ///
    /// # Errors
    /// `FG0806` for a kernel that takes more than 64 MiB.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        Ok(fulgurite_ir::wire::encode(&self.verified)?)
    }

    /// Returns the kernel without its Rust types. `Display` prints its text.
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
