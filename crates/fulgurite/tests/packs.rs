//! Packs: the entries that a context uses; code from untrusted packs is never run.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use fulgurite::prelude::*;
use fulgurite::{Code, Pack, packed_kernels};
use fulgurite_pipeline_cache::{
    Digest, DiskOptions, DiskPipelineCache, Entry, PackWriter, PayloadKind, PipelineCacheIdentity,
    PipelineDeviceFingerprint,
};

/// Returns a kernel that stores one number.
fn storing(number: u32) -> fulgurite::Kernel<(Write<u32>,)> {
    kernel::<(Write<u32>,)>("storing", ["y"], [1, 1, 1], |_, (y,)| y.store(0, number)).unwrap()
}

/// Returns a context builder for the Vulkan device with a cache folder.
fn vulkan(folder: &Path) -> fulgurite::ContextBuilder {
    Context::builder().backend("vulkan").cache_directory(folder)
}

/// Returns the kernel as lowered by the Vulkan backend, or `None` if there is no such device.
fn lowered(number: u32) -> Option<Entry> {
    let folder = tempfile::tempdir().unwrap();
    let ctx = match vulkan(folder.path()).open() {
        Ok(ctx) => ctx,
        Err(error) => {
            let required = std::env::var("FULGURITE_REQUIRE_BACKENDS").unwrap_or_default();
            assert!(!required.contains("vulkan"), "{error}");
            println!("unavailable: {error}");
            return None;
        }
    };
    ctx.compile(&storing(number)).unwrap();
    drop(ctx);
    let disk = DiskPipelineCache::open(folder.path(), DiskOptions::default().read_only()).unwrap();
    let artifacts = disk.export(&|entry| entry.identity.kind() == PayloadKind::Artifact).unwrap();
    Pack::from_bytes(artifacts).unwrap().entries().next()
}

/// Returns the number that kernel 7 stores in a context with a pack, and the number of kernels that it lowered.
fn stored(builder: fulgurite::ContextBuilder) -> (u32, u64) {
    let ctx = builder.open().unwrap();
    let mut y = ctx.zeroed::<u32>(1).unwrap();
    ctx.compile(&storing(7)).unwrap().launch((&mut y,)).unwrap();
    (y.read().unwrap()[0], ctx.cache_report().lowered)
}

#[test]
fn a_pack_that_nobody_vouched_for_replaces_no_kernel() {
    let (Some(good), Some(other)) = (lowered(7), lowered(666)) else { return };
    // A pack that maps one kernel to the lowered form of another.
    let mut pack = PackWriter::new();
    pack.add(&Entry::new(good.identity, Digest::ZERO, other.payload));
    let pack = Pack::from_bytes(pack.finish()).unwrap();
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    assert_eq!(stored(vulkan(folders[0].path()).pack(pack.clone())), (7, 1));
    // SAFETY: the substituted kernel makes the same accesses as the one it replaces.
    let trusted = unsafe { pack.trust() };
    assert_eq!(stored(vulkan(folders[1].path()).trusted_pack(trusted)), (666, 0), "trust is what it costs");
}

#[test]
fn kernels_of_a_pack_are_verified_again() {
    let verified = storing(7).verified().clone();
    let any = PipelineDeviceFingerprint::ANY;
    let program = Digest::from_bytes(*verified.digest().as_bytes());
    let identity = PipelineCacheIdentity::new(PayloadKind::Kernel, program, Digest::ZERO, any);
    let packed = |bytes| {
        let mut pack = PackWriter::new();
        pack.add(&Entry::new(identity, Digest::ZERO, bytes));
        packed_kernels(&Pack::from_bytes(pack.finish()).unwrap())
    };
    let bytes = fulgurite::ir::wire::encode(&verified).unwrap();
    let kernels = packed(bytes.clone()).unwrap();
    assert_eq!(kernels.iter().map(|kernel| kernel.digest()).collect::<Vec<_>>(), [verified.digest()]);
    assert_eq!(common::code(packed(bytes[1..].to_vec())), Some(Code::NotAKernel));
}
