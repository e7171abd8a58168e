//! The parts of a pack that need no trust: kernels, which are verified again, and tuning records.

use std::sync::Arc;

use fulgurite_autotune::AutotuneStore;
use fulgurite_hal::Error;
use fulgurite_ir::VerifiedKernel;
use fulgurite_pipeline_cache::{
    Digest, DigestBuilder, Entry, Pack, PayloadKind, PipelineCacheIdentity, PipelineDeviceFingerprint,
};

use crate::kernel::decode;

/// Decodes and verifies the kernels of a pack.
///
/// ```no_run
/// use fulgurite::{Context, Pack, packed_kernels};
///
/// let pack = Pack::open("kernels.fgpack".as_ref()).expect("a pack");
/// // They are compiled when the context is opened.
/// let kernels = packed_kernels(&pack)?;
/// let ctx = Context::builder().prewarm(&kernels).pack(pack).open()?;
/// # Ok::<(), fulgurite::Error>(())
/// ```
///
/// # Errors
/// Those of [`decode`].
pub fn packed_kernels(pack: &Pack) -> Result<Vec<Arc<VerifiedKernel>>, Error> {
    let kernels = pack.entries().filter(|entry| entry.identity.kind() == PayloadKind::Kernel);
    kernels.map(|entry| decode(&entry.payload)).collect()
}

/// The separator of record files in a pack, which no text contains.
const BETWEEN: u8 = 0;

/// The name of the pack entry with the tuning records.
fn identity() -> PipelineCacheIdentity {
    let program = DigestBuilder::new("fulgurite tuning records 1").finish();
    PipelineCacheIdentity::new(PayloadKind::Tuned, program, Digest::ZERO, PipelineDeviceFingerprint::ANY)
}

/// Returns the records of `store` as a pack entry, and the number of its files.
///
/// # Errors
/// `FG1102` if the records cannot be read.
pub fn tuned_entry(store: &AutotuneStore) -> Result<(Entry, usize), Error> {
    let files = store.export()?;
    let texts: Vec<&[u8]> = files.iter().map(|(_, text)| text.as_bytes()).collect();
    Ok((Entry::new(identity(), Digest::ZERO, texts.join(&BETWEEN)), files.len()))
}

/// Returns the record files of a pack.
pub(crate) fn tuned_files(pack: &Pack) -> Vec<Vec<u8>> {
    let payload = pack.get(&identity()).map(|entry| entry.payload).unwrap_or_default();
    payload.split(|byte| *byte == BETWEEN).filter(|text| !text.is_empty()).map(<[u8]>::to_vec).collect()
}
