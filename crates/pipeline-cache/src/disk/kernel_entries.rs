//! Finding the entries derived from a kernel: each names its source, and driver binaries name their artifact.

use std::collections::{BTreeSet, HashSet};

use fulgurite_storage::Digest;

use super::DiskPipelineCache;
use crate::entry::Entry;
use crate::error::{CacheError, lock};
use crate::identity::{PayloadKind, PipelineCacheIdentity};

/// A kernel and the entries derived from it, collected from the entries noted.
#[derive(Debug)]
pub(crate) struct KernelEntries {
    kernel: Digest,
    members: BTreeSet<Digest>,
    artifacts: HashSet<Digest>,
    /// All binaries, each with the artifact it was compiled from, which may be noted later.
    binaries: Vec<(Digest, Digest)>,
}

impl KernelEntries {
    /// Creates an empty collection for the kernel with this digest.
    pub(crate) fn of(kernel: &Digest) -> Self {
        let (members, artifacts, binaries) = Default::default();
        Self { kernel: *kernel, members, artifacts, binaries }
    }

    /// Adds an entry if it belongs to the kernel.
    pub(crate) fn note(&mut self, entry: &Entry) {
        let digest = entry.identity.digest();
        match entry.identity.kind() {
            PayloadKind::Binary => self.binaries.push((digest, entry.artifact)),
            kind if self.may_have(&entry.identity) => {
                self.members.insert(digest);
                if kind == PayloadKind::Artifact {
                    self.artifacts.insert(entry.artifact);
                }
            }
            _ => {}
        }
    }

    /// Returns whether an entry of this identity may belong to the kernel; for a binary, its contents decide.
    fn may_have(&self, identity: &PipelineCacheIdentity) -> bool {
        match identity.kind() {
            PayloadKind::Artifact | PayloadKind::Kernel => identity.program() == self.kernel,
            PayloadKind::Binary => true,
            PayloadKind::Tuned => false,
        }
    }

    /// Returns the digests of all entries of the kernel.
    pub(crate) fn members(mut self) -> Vec<Digest> {
        let made = self.binaries.iter().filter(|(_, artifact)| self.artifacts.contains(artifact));
        self.members.extend(made.map(|(digest, _)| *digest));
        self.members.into_iter().collect()
    }
}

impl DiskPipelineCache {
    /// Notes every undamaged entry that may belong to the kernel. Entries that the index rules out are not read.
    pub(crate) fn note_kernel_entries(&self, entries: &mut KernelEntries) -> Result<(), CacheError> {
        let scan = self.scan()?;
        let wanted: Vec<Digest> = {
            let mut state = lock(&self.state)?;
            // Without the index, more entries are read.
            let _ = state.index.refresh(&*self.storage, &self.index_path());
            let is_wanted =
                |digest: &Digest| state.index.identity(digest).is_none_or(|id| entries.may_have(&id));
            scan.entries.iter().map(|found| found.digest).filter(is_wanted).collect()
        };
        for digest in wanted {
            // Damaged and missing entries belong to no kernel.
            if let Ok(Ok(entry)) = self.load(&digest) {
                entries.note(&entry);
            }
        }
        Ok(())
    }
}
