//! What was made of one kernel: entries name what they were made from, and a driver binary names an artifact.

use std::collections::{BTreeSet, HashSet};

use fulgurite_storage::Digest;

use super::DiskPipelineCache;
use crate::entry::Entry;
use crate::error::{CacheError, lock};
use crate::identity::{PayloadKind, PipelineCacheIdentity};

/// A kernel, and the entries that come from it, as far as they were noted.
#[derive(Debug)]
pub(crate) struct Family {
    kernel: Digest,
    members: BTreeSet<Digest>,
    artifacts: HashSet<Digest>,
    /// Binaries of any kernel: each with the artifact that it was made from, which may be noted later.
    binaries: Vec<(Digest, Digest)>,
}

impl Family {
    /// The family of the kernel with this digest, with nothing noted.
    pub(crate) fn of(kernel: &Digest) -> Self {
        let (members, artifacts, binaries) = Default::default();
        Self { kernel: *kernel, members, artifacts, binaries }
    }

    /// Notes an entry.
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

    /// Whether an entry of this identity may be a member: of a binary only its contents tell.
    fn may_have(&self, identity: &PipelineCacheIdentity) -> bool {
        match identity.kind() {
            PayloadKind::Artifact | PayloadKind::Kernel => identity.program() == self.kernel,
            PayloadKind::Binary => true,
            PayloadKind::Tuned => false,
        }
    }

    /// The digests of all members that were noted.
    pub(crate) fn members(mut self) -> Vec<Digest> {
        let made = self.binaries.iter().filter(|(_, artifact)| self.artifacts.contains(artifact));
        self.members.extend(made.map(|(digest, _)| *digest));
        self.members.into_iter().collect()
    }
}

impl DiskPipelineCache {
    /// Notes every good entry that may be of the family. Those of which the index says that they are not are not read.
    pub(crate) fn note_family(&self, family: &mut Family) -> Result<(), CacheError> {
        let scan = self.scan()?;
        let wanted: Vec<Digest> = {
            let mut state = lock(&self.state)?;
            // Without the index more is read.
            let _ = state.index.refresh(&*self.storage, &self.index_path());
            let is_wanted =
                |digest: &Digest| state.index.identity(digest).is_none_or(|id| family.may_have(&id));
            scan.entries.iter().map(|found| found.digest).filter(is_wanted).collect()
        };
        for digest in wanted {
            // What is damaged or gone is nobody's.
            if let Ok(Ok(entry)) = self.load(&digest) {
                family.note(&entry);
            }
        }
        Ok(())
    }
}
