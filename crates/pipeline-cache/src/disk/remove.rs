//! Removing entries from a disk tier, or moving damaged ones to the quarantine. An undamaged entry written meanwhile is
//! kept.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use fulgurite_spec::cache::EntryState;
use fulgurite_storage::{Digest, unique_name};

use super::{DiskPipelineCache, KernelEntries, Mode, digest_of, is_shard};
use crate::entry::Entry;
use crate::error::CacheError;
use crate::identity::PipelineCacheIdentity;
use crate::index::{Event, Record};

/// Maximum number of quarantined files.
const MAX_QUARANTINED_FILES: usize = 32;
/// Maximum total size of quarantined files in bytes.
const MAX_QUARANTINED_BYTES: u64 = 256 << 20;

/// Result of invalidating entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidateReport {
    /// Number of entries removed.
    pub removed: usize,
    /// Number of entries that did not exist.
    pub absent: usize,
    /// Number of entries removed from this process's memory.
    pub forgotten: usize,
    /// Number of entries in a read-only layer, which may serve them again.
    pub layered: usize,
    /// Entries that still exist or may reappear after a crash, with the error.
    pub failed: Vec<(Digest, CacheError)>,
}

/// Result of clearing the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClearReport {
    /// Number of entries removed.
    pub removed: usize,
    /// Size of the removed entries in bytes.
    pub bytes: u64,
    /// Errors for what could not be removed.
    pub failed: Vec<CacheError>,
}

impl DiskPipelineCache {
    /// Quarantines a damaged entry, if it is still damaged once its shard is locked. Too many of them switch the tier
    /// off, because entries are being damaged faster than they are rebuilt.
    pub(super) fn put_aside(&self, identity: &PipelineCacheIdentity, path: &Path) {
        if self.mode() == Mode::ReadOnly {
            return;
        }
        let Some(shard) = path.parent() else { return };
        let locked = self.lock_shard(shard);
        if !locked.is_held() {
            return;
        }
        let is_damaged = |state| matches!(state, EntryState::Corrupt | EntryState::OtherFormat);
        if !self.look(identity, path).is_err_and(is_damaged) {
            return;
        }
        self.move_aside(&identity.digest(), path);
        drop(locked);
        let met = self.quarantined.fetch_add(1, Ordering::Relaxed) + 1;
        if met >= self.options.max_quarantined {
            self.is_off.store(true, Ordering::Relaxed);
            self.notices.say(&CacheError::SwitchedOff);
        }
    }

    /// Moves a file to the quarantine, which is bounded. The shard is locked.
    fn move_aside(&self, digest: &Digest, path: &Path) {
        let folder = self.root.join("quarantine");
        let aside = unique_name(&folder, &format!("{digest}-"), ".bad");
        let moved = self.storage.create_dir(&folder).and_then(|_| self.storage.rename(path, &aside));
        if moved.is_err() {
            // Remove the file if it cannot be moved.
            let _ = self.storage.remove(path);
        }
        self.log(&[Record { event: Event::Quarantine, digest: *digest, identity: None }]);
        self.bound_quarantine(MAX_QUARANTINED_FILES, MAX_QUARANTINED_BYTES);
    }

    /// Removes the oldest quarantined files beyond the limits.
    pub(super) fn bound_quarantine(&self, files: usize, bytes: u64) {
        let folder = self.root.join("quarantine");
        let Ok(mut all) = self.storage.list(&folder) else { return };
        all.sort_by_key(|file| std::cmp::Reverse(file.modified));
        let mut kept = 0;
        for (place, file) in all.iter().enumerate() {
            kept += file.bytes;
            if place >= files || kept > bytes {
                let _ = self.storage.remove(&folder.join(&file.name));
            }
        }
    }

    /// Quarantines an entry that a driver did not survive, unless it has been replaced since it was read.
    pub(crate) fn condemn(&self, entry: &Entry) {
        if self.mode() == Mode::ReadOnly {
            return;
        }
        let digest = entry.identity.digest();
        let locked = self.lock_shard(&self.shard_of(&digest));
        let is_it = |there: &Entry| there.payload_digest == entry.payload_digest;
        if locked.is_held() && matches!(self.load(&digest), Ok(Ok(there)) if is_it(&there)) {
            self.condemn_locked(&digest);
        }
    }

    /// Quarantines an entry unconditionally. The shard is locked.
    pub(super) fn condemn_locked(&self, digest: &Digest) {
        let path = self.path_of(digest);
        if self.storage.info(&path).is_ok() {
            self.move_aside(digest, &path);
        }
    }

    /// Removes the entries of those `digests` for which `mask` is true, and syncs the removal. All are attempted.
    ///
    /// # Errors
    /// `FG1004` if `mask` and `digests` differ in length; `FG1001` if the cache is read-only; `FG1003` if the tier is
    /// switched off. Failures of single entries are in the report.
    pub fn invalidate(&self, mask: &[bool], digests: &[Digest]) -> Result<InvalidateReport, CacheError> {
        if mask.len() != digests.len() {
            return Err(CacheError::Selection { mask: mask.len(), digests: digests.len() });
        }
        self.check_writable()?;
        let mut report = InvalidateReport::default();
        let mut gone: BTreeMap<PathBuf, Vec<(Digest, bool)>> = BTreeMap::new();
        let selected = digests.iter().zip(mask).filter_map(|(digest, wanted)| wanted.then_some(digest));
        for digest in selected {
            match self.remove_entry(digest) {
                Ok(was_there) => gone.entry(self.shard_of(digest)).or_default().push((*digest, was_there)),
                Err(error) => report.failed.push((*digest, error)),
            }
        }
        // Absent entries may have been removed by another process without a sync.
        for (shard, all) in gone {
            let synced = match self.storage.sync_dir(&shard) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
            for (digest, was_there) in all {
                match &synced {
                    Ok(()) if was_there => report.removed += 1,
                    Ok(()) => report.absent += 1,
                    Err(error) => {
                        let path = self.path_of(&digest);
                        let error = CacheError::io("sync the removal of", &path, error);
                        report.failed.push((digest, error));
                    }
                }
            }
        }
        Ok(report)
    }

    /// Removes everything derived from the kernel with the digest `kernel`: see
    /// [`PipelineCache::invalidate_kernel`](crate::PipelineCache::invalidate_kernel).
    ///
    /// # Errors
    /// As for [`invalidate`](Self::invalidate), and `FG1001` if the folder cannot be listed.
    pub fn invalidate_kernel(&self, kernel: &Digest) -> Result<InvalidateReport, CacheError> {
        let mut entries = KernelEntries::of(kernel);
        self.note_kernel_entries(&mut entries)?;
        let members = entries.members();
        self.invalidate(&vec![true; members.len()], &members)
    }

    /// Removes an entry. Returns whether it existed.
    fn remove_entry(&self, digest: &Digest) -> Result<bool, CacheError> {
        let path = self.path_of(digest);
        let locked = self.lock_shard(&self.shard_of(digest));
        let removed = self.storage.remove(&path);
        drop(locked);
        match removed {
            Ok(()) => {
                self.log(&[Record { event: Event::Evict, digest: *digest, identity: None }]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(CacheError::io("remove", &path, &error)),
        }
    }

    /// Removes an entry last used at `modified`, unless it was used or replaced since. Returns whether it did.
    pub(super) fn evict(&self, digest: &Digest, modified: SystemTime) -> bool {
        let (path, shard) = (self.path_of(digest), self.shard_of(digest));
        let locked = self.lock_shard(&shard);
        let is_unused = self.storage.info(&path).is_ok_and(|info| info.modified == modified);
        locked.is_held() && is_unused && self.storage.remove(&path).is_ok()
    }

    /// Removes all entries, the quarantine, the index and the crash log.
    ///
    /// # Errors
    /// `FG1001` if a folder cannot be listed or the cache is read-only; `FG1003` if the tier is switched off.
    pub fn clear(&self) -> Result<ClearReport, CacheError> {
        self.check_writable()?;
        let mut report = ClearReport::default();
        let all = self.storage.list(&self.root).map_err(|e| CacheError::io("list", &self.root, &e))?;
        for shard in all.iter().filter(|found| is_shard(&found.name)) {
            let folder = self.root.join(&shard.name);
            let files = self.storage.list(&folder).map_err(|e| CacheError::io("list", &folder, &e))?;
            let locked = self.lock_shard(&folder);
            for file in files.iter().filter(|file| digest_of(&file.name).is_some()) {
                let path = folder.join(&file.name);
                match self.storage.remove(&path) {
                    Ok(()) => {
                        report.removed += 1;
                        report.bytes += file.bytes;
                    }
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => report.failed.push(CacheError::io("remove", &path, &error)),
                }
            }
            if let Err(error) = self.storage.sync_dir(&folder) {
                report.failed.push(CacheError::io("sync", &folder, &error));
            }
            drop(locked);
        }
        self.bound_quarantine(0, 0);
        // Suspected binaries and programs may be tried again.
        for log in [self.index_path(), crate::marks::log_path(&self.root)] {
            match self.storage.remove(&log) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    report.failed.push(CacheError::io("remove", &log, &error));
                }
                _ => {}
            }
        }
        Ok(report)
    }
}
