//! Packs: the entries that a context uses; code from untrusted packs is never run.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use fulgurite::prelude::*;
use fulgurite::{Code, Pack, packed_kernels};
use fulgurite_pipeline_cache::{
    Digest, DiskOptions, DiskPipelineCache, Durability, Entry, PackWriter, PayloadKind,
    PipelineCacheIdentity, PipelineDeviceFingerprint,
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
    let ctx = common::if_available("vulkan", vulkan(folder.path()).open())?;
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

/// A context has opened its cache folder; then a folder with another kernel's code takes its path.
#[cfg(unix)]
#[test]
fn a_folder_swapped_for_a_link_after_it_was_opened_is_not_followed() {
    let (Some(good), Some(other)) = (lowered(7), lowered(666)) else { return };
    let folder = tempfile::tempdir().unwrap();
    let [root, moved, planted] = ["cache", "moved", "planted"].map(|name| folder.path().join(name));
    let disk = DiskPipelineCache::open(&planted, DiskOptions::default()).unwrap();
    let evil = Entry::new(good.identity, Digest::ZERO, other.payload);
    disk.write(&evil, Durability::Immediate).unwrap();
    drop(disk);
    // Planted code would be run: this is what the swap must not reach.
    assert_eq!(stored(vulkan(&planted)), (666, 0));
    let ctx = vulkan(&root).open().unwrap();
    std::fs::rename(&root, &moved).unwrap();
    std::os::unix::fs::symlink(&planted, &root).unwrap();
    let mut y = ctx.zeroed::<u32>(1).unwrap();
    ctx.compile(&storing(7)).unwrap().launch((&mut y,)).unwrap();
    assert_eq!((y.read().unwrap()[0], ctx.cache_report().lowered), (7, 1));
    drop((ctx, y));
    // A context that is opened now refuses the link, and says so.
    let ctx = vulkan(&root).open().unwrap();
    let notices = ctx.cache_report().notices;
    assert!(notices.iter().any(|notice| notice.message.contains("symbolic link")), "{notices:?}");
    let mut y = ctx.zeroed::<u32>(1).unwrap();
    ctx.compile(&storing(7)).unwrap().launch((&mut y,)).unwrap();
    assert_eq!(y.read().unwrap(), [7]);
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
